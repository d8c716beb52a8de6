/* The endpoint that Prometheus scrapes: http://HOST:PORT/metrics.
 *
 * It has a thread of its own, which only reads the server's region, as another process would: so a scrape
 * costs the server's loop nothing, and a server that hangs can still be looked at. */
#pragma once

#include "metrics/metrics.h"

struct exporter;

/* listen: "HOST:PORT" or "[HOST]:PORT"; port 0: any; else the server with number n takes PORT + n, because
 * all servers of a host have one configuration. *bound (64 bytes): what it became. metrics must outlive it.
 * Signals that must not reach its thread are blocked before. 0, or -errno: -EINVAL: no such address. */
int exporter_start(const char *listen, uint32_t server, const struct metrics *metrics, char *bound,
                   struct exporter **exporter);
/* Waits for answers under way. NULL is harmless. */
void exporter_stop(struct exporter *exporter);
