/* What a running cluster did between two moments, as results that can be explained: where the requests of the
 * clients on this host spent their time, or, if most requests came from elsewhere, what of that its servers
 * saw. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/result.h"
#include "client/sources.h"

struct interval;

struct interval_summary {
    double seconds;
    uint32_t servers, clients; /* that were read; clients that sent anything */
    uint64_t requests;         /* of clients, wherever they are, as servers counted them */
    uint64_t called;           /* of which by clients on this host */
    bool at_servers;           /* results are what servers saw: without the way there */
    double busiest;            /* loop of a server, 0..1 */
};

int interval_create(struct interval **interval);  /* 0 or -ENOMEM */
void interval_destroy(struct interval *interval); /* NULL is harmless */

/* Reads all sources (opened with clients). Takes `own` of each. begin: once, and so is end. Suspend when
 * servers have to be asked. 0, -ENOMEM, or -ESTALE: a server was started again, or could not be read; its
 * number in *server. */
int interval_begin(struct interval *interval, struct sources *sources, uint32_t *server);
int interval_end(struct interval *interval, struct sources *sources, uint32_t *server);
void interval_summarise(const struct interval *interval, struct interval_summary *summary);

/* Makes results: of all requests together, then of those kinds that took a tenth of the time or more, by
 * time; at most `most`. Names are constants, and those that were given. Returns how many; 0: nothing was
 * requested. */
uint32_t interval_results(const struct interval *interval, const char *run, const char *target,
                          struct result *results, uint32_t most);
