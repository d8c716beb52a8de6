/* Raw UCX: the yardstick. The same messages as ours through UCP active messages alone: two processes with one
 * thread each, both polling without pause, in the UCX configuration of the ucx transport, and no layer of
 * ours in between.
 *
 * The two sides meet over a connected stream socket, whose end of file also ends them. The caller pins them
 * to different cores. All calls are blocking; none may share a thread with a loop that has work. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "net/net.h"

#define RAW_DEPTH_MAX 32u

struct raw_client;

/* Serves one client until the socket ends. Closes socket. Returns 0 or -errno. */
int raw_server_run(int socket, const struct net_ucx_options *options);

/* Takes over socket, also when it fails. Returns 0 or -errno. */
int raw_client_create(int socket, const struct net_ucx_options *options, struct raw_client **client);
/* Ends the server too. */
void raw_client_destroy(struct raw_client *client);

/* count round trips, depth (1..RAW_DEPTH_MAX) under way at a time: request_bytes there, reply_bytes back
 * (each 8 bytes to 64 KiB), both eager. A message of more than 256 bytes is bulk: its receiver copies it from
 * UCX's buffer into memory of its own. *elapsed_ns (may be NULL): from first request to last answer.
 * latency_ns (may be NULL): count values. Returns 0 or -errno (-ECONNRESET: the server ended). */
int raw_round_trips(struct raw_client *client, uint32_t request_bytes, uint32_t reply_bytes, uint32_t depth,
                    uint64_t count, uint64_t *latency_ns, uint64_t *elapsed_ns);

/* count rendezvous transfers of size bytes, depth (1..RAW_DEPTH_MAX) at a time, each acknowledged by (write)
 * or asked for with (read) an 8-byte message. The server's memory is footprint bytes (at least size;
 * pre-faulted) through which it cycles; the client uses depth buffers of size bytes. *elapsed_ns: from first
 * request to last answer. latency_ns (may be NULL): count values. Returns 0 or -errno. */
int raw_write(struct raw_client *client, size_t size, size_t footprint, uint32_t depth, uint64_t count,
              uint64_t *latency_ns, uint64_t *elapsed_ns);
int raw_read(struct raw_client *client, size_t size, size_t footprint, uint32_t depth, uint64_t count,
             uint64_t *latency_ns, uint64_t *elapsed_ns);
