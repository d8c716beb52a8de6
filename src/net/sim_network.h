/* What the two halves of the simulated network share: sim.c (parties and messages) and sim_stream.c
 * (streams). */
#pragma once

#include <xxhash.h>

#include "base/list.h"
#include "net/sim.h"
#include "net/stream.h"

struct sim_network {
    struct loop *loop;
    struct sim_options options;
    struct list parties;
    struct list messages; /* under way or held */
    struct list sends;    /* whose completion is still to fire, or whose connection closed meanwhile */
    struct list shown;    /* struct sim_shown */
    uint64_t shown_count; /* ever */
    uint64_t party_count; /* ever made: the last one's id */
    XXH64_state_t *trace;
};

struct sim_party {
    struct net base;
    struct list link;
    struct sim_network *network;
    uint64_t id; /* never reused: what an address holds */
    char host[48];
    bool dead;
    uint64_t busy_until; /* what comes before is looked at then */
    struct list connections;
    struct list streams;
    struct list listeners;
    uint16_t last_port;
    uint8_t address[16];
};

enum sim_event {
    SIM_MESSAGE, /* delivered */
    SIM_FETCH,   /* a rendezvous' bulk moved */
    SIM_LOST,
    SIM_CONNECT, /* a stream was accepted */
    SIM_BYTES,   /* arrived on a stream */
    SIM_END,     /* of a stream arrived */
    SIM_KILL,
    SIM_DISCONNECT,
    SIM_NOTE, /* sim_trace */
};

/* Folds the virtual time, the kind and the two parties into the trace; bytes follow with sim_fold. */
void sim_event(struct sim_network *network, enum sim_event event, uint64_t from, uint64_t to);
void sim_fold(struct sim_network *network, const void *bytes, size_t length);

/* A random delay from now, as loop_now time, not before `after` (0: no bound). */
uint64_t sim_arrival(struct sim_network *network, uint64_t after);

/* The live party of that name, or NULL. */
struct sim_party *sim_party_find(struct sim_network *network, const char *host, size_t length);

/* streams */
int sim_stream_listen(struct net *net, const char *address,
                      void (*accept)(void *owner, struct net_stream *stream), void *owner,
                      struct net_listener **listener);
int sim_stream_connect(struct net *net, const char *address, uint64_t deadline, struct net_stream **stream);
/* Ends all streams of a party. broken: as a network does; otherwise as the kernel of a process that ends. */
void sim_streams_end(struct sim_party *party, bool broken);

/* shown memory */
int sim_show(struct net *net, size_t length, enum net_shown_by by, struct net_shown **shown);
void sim_hide(struct net_shown *shown);
int sim_view(struct net *net, const struct net_place *place, struct net_view **view);
void sim_view_end(struct net_view *view);
/* The party was killed: none of its memory has an owner any more. */
void sim_shown_orphan(struct sim_party *party);
