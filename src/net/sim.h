/* The simulated network: any number of parties in one process on one simulated loop. Messages take random
 * time, may be lost and overtake one another between different connections (never within one), all drawn from
 * the loop's seeded generator. Every event is folded into a trace hash, so two runs can be compared bit for
 * bit. */
#pragma once

#include "net/net.h"

struct sim_options {
    uint64_t delay_min_ns; /* of every message */
    uint64_t delay_max_ns;
    uint32_t loss_per_million; /* of active messages; streams lose nothing */
};

struct sim_network;

int sim_network_create(struct loop *loop, const struct sim_options *options, struct sim_network **network);
void sim_network_destroy(struct sim_network *network);
void sim_network_options(struct sim_network *network, const struct sim_options *options);

/* A party named `host`; stream addresses are "host:port". Returns 0 or -errno. */
int net_sim_create(struct sim_network *network, const char *host, struct net **net);

/* Cuts a party off as kill -9 does: its streams are closed, its messages vanish both ways. */
void net_sim_kill(struct net *net);
/* A party that computes for so long from now on: what comes meanwhile is delivered afterwards, in its order.
 * Whoever computes is a task that sleeps for the same time. */
void net_sim_busy(struct net *net, uint64_t ns);
/* Breaks all streams of a party that lives on, as a network does that fails for a moment. */
void net_sim_disconnect(struct net *net);

/* Folds arbitrary bytes into the trace (results of operations, for instance). */
void sim_trace(struct sim_network *network, const void *bytes, size_t length);
uint64_t sim_trace_hash(const struct sim_network *network);
