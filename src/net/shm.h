/* The inside of the shm transport: what its files share. Nothing outside net/ and its tests includes this.
 *
 *   shm.c          the party: creation, polling, sleeping, memory
 *   shm_send.c     connections: records written, bulk announced, what waits for room
 *   shm_receive.c  what others write: records read, bulk fetched
 *   shm_socket.c   addresses, and descriptors handed from process to process
 *   shm_ring.c     the layout of a connection's memory, and the check of what is in it */
#pragma once

#include "net/shm_ring.h"

#define SHM_NAME_BYTES 16u

/* Memory of ours that peers may map to read. */
struct shm_region {
    struct list link;
    uint8_t *memory;
    size_t length;
    int fd;      /* -1: cannot be shared */
    uint32_t id; /* 0: is not shared */
};

struct shm_net {
    struct net base;
    struct reactor reactor;
    struct net *far; /* for peers that cannot be reached here; NULL: none was needed yet */
    struct net_ucx_options far_options;
    struct net_shm_options options;

    struct list outbounds;
    struct list
        waiting; /* struct shm_outbound.waiting: with something that has not left or not been fetched */
    struct list sends_free;

    struct list inbounds;
    struct shm_inbound **hot;  /* looked at in every turn */
    struct shm_inbound **cold; /* armed; a few are looked at in every turn */
    uint32_t hot_count, cold_count, cold_next;
    uint32_t inbound_count, inbound_space;
    uint32_t greeting;      /* accepted, and have not said what they want: so many are in `strangers` */
    struct list strangers;  /* struct shm_inbound.stranger, oldest first */
    uint32_t ending;        /* inbounds to be freed */
    const uint64_t *latest; /* loop_latest */
    uint32_t polls;
    struct list fetches_free;
    struct list copying; /* struct shm_fetch.link: long bulk of which a part is copied in each turn */

    struct list regions;
    uint32_t region_count; /* ids given out */

    struct watch listener;
    uint8_t name[SHM_NAME_BYTES];
    uint8_t cookie[SHM_NAME_BYTES]; /* whoever knows it was told our address */
    uint8_t *address;
    alignas(SHM_LINE) uint8_t made[NET_HEADER_MAX]; /* the message that is being made: shm_room */
    alignas(SHM_LINE) uint8_t
        scratch[SHM_LINE + NET_HEADER_MAX]; /* a header being delivered for which its owner has no space */
};

/* ---- sending ---- */

/* A message that waits for room, or bulk that waits to be fetched. Header and bulk are the caller's. */
struct shm_send {
    struct list link; /* in outbound->queue, outbound->pushing or net->sends_free */
    const void *header;
    uint32_t header_length;
    uint32_t bulk_count;
    const struct iovec *bulk;
    uint64_t length; /* of the bulk */
    uint64_t pushed; /* of it, through the ring */
    struct completion *sent;
    uint32_t slot;
    unsigned flags;
};

struct shm_outbound {
    struct net_connection base;
    struct shm_segment *segment;
    uint64_t position; /* of the next record, ever */
    uint64_t consumed; /* as last seen */
    int failure;
    struct list queue;       /* struct shm_send, waiting for room */
    struct list pushing;     /* struct shm_send, whose bulk goes through the ring */
    uint64_t used;           /* slots, a bit each */
    struct shm_send **slots; /* NULL: none was ever used */
    struct list link;
    struct list waiting; /* in net->waiting */
    struct watch socket;
    uint32_t announced; /* regions that the peer has been given, a bit each */
    uint8_t peer[SHM_NAME_BYTES];
};

/* Makes net->far if there is none yet. Returns 0 or -errno. */
int shm_far_open(struct shm_net *net);

int shm_connect(struct net *net, const void *address, size_t length, struct net_connection **connection);
void shm_close(struct net_connection *connection);
uint32_t shm_peer_process(struct net_connection *connection);
int shm_send(struct net_connection *connection, const void *header, uint32_t header_length,
             const struct iovec *bulk, uint32_t bulk_count, unsigned flags, struct completion *sent);
/* net_room and net_post. */
void *shm_room(struct net_connection *connection, uint32_t header_length);
_Atomic uint64_t *shm_post(struct net_connection *connection, uint32_t header_length);
/* Goes on with everything in net->waiting. Returns how much happened. */
int shm_send_progress(struct shm_net *net);
/* Says to the receivers that we sleep. Returns whether there is something to do after all; to be called once
 * before the fence and once after it, with say = false. */
bool shm_send_arm(struct shm_net *net, bool say);
void shm_send_free_all(struct shm_net *net);

/* ---- receiving ---- */

/* Bulk of a message, in the sender's memory. */
struct shm_fetch {
    struct list link; /* in net->copying or net->fetches_free */
    struct shm_net *net;
    struct shm_inbound *inbound; /* NULL: fetched, discarded, or the connection went */
    struct shm_transfer transfer;
    uint32_t piece_count;
    uint32_t piece; /* to be copied next */
    uint64_t piece_offset;
    const struct iovec *into;
    uint32_t into_count;
    uint64_t into_offset; /* in the first of into */
    uint64_t landed;
    struct completion *received; /* NULL: nobody waits */
    bool read_process;           /* not only regions */
    bool asked;                  /* the sender pushes it */
    bool started;
    bool held;
    struct shm_piece pieces[SHM_PIECES_MAX];
};

struct shm_mapping {
    uint8_t *memory;
    int fd;
};

/* Aligned to a line: what every turn looks at lies in the first one. */
struct shm_inbound {
    struct shm_segment *segment;
    uint64_t position;
    uint64_t published;
    uint64_t looked; /* *net->latest when nothing was there */
    uint32_t index;  /* in hot or cold */
    bool hot;
    bool ended;  /* the sender went: what it published is still read */
    bool failed; /* it misbehaved: nothing is read any more */
    uint32_t messages;
    uint32_t messages_before; /* at the last look for silent ones */
    struct shm_net *net;
    struct watch socket;
    pid_t pid; /* 0: not to be seen from here */
    bool greeted;
    bool without_fetch;       /* the kernel does not let us read its memory */
    struct shm_fetch **slots; /* NULL: none was ever used */
    struct shm_mapping *mappings;
    uint64_t region_lengths[SHM_REGIONS_MAX];
    struct list link;
    struct list stranger; /* in net->strangers, or in no list */
    uint8_t peer[SHM_NAME_BYTES];
    alignas(8) uint8_t sender[NET_SENDER_BYTES]; /* the owner's */
};

void shm_hold(struct net_message *message);
int shm_receive(struct net_message *message, const struct iovec *into, uint32_t count,
                struct completion *received);
void shm_release(struct net_message *message);

/* Takes over fd, the segment of a connection that a peer has made. Returns 0 or -errno. */
int shm_inbound_attach(struct shm_inbound *inbound, int fd);
/* Takes over fd, memory of the peer's. Returns 0 or -errno. */
int shm_inbound_map(struct shm_inbound *inbound, uint32_t region, uint64_t length, int fd);
/* The ring is to be looked at: a byte came for it. */
void shm_inbound_heat(struct shm_inbound *inbound);
/* It is no stranger any more: it has greeted, or goes. */
void shm_inbound_known(struct shm_inbound *inbound);
void shm_inbound_end(struct shm_inbound *inbound, bool failed);
void shm_inbound_free(struct shm_inbound *inbound);
/* Ends transfers that depend on the named peer. */
void shm_inbound_abandon(struct shm_net *net, const uint8_t peer[SHM_NAME_BYTES]);
int shm_receive_progress(struct shm_net *net);
/* As shm_send_arm; the second time all rings become cold unless there is something to do. */
bool shm_receive_arm(struct shm_net *net, bool say);
void shm_receive_free_all(struct shm_net *net);

/* ---- sockets ---- */

/* Listens and makes the address. Returns 0 or -errno. */
int shm_socket_listen(struct shm_net *net);
void shm_socket_unlisten(struct shm_net *net);

/* Makes the address anew, with that of net->far. Returns 0 or -errno. */
int shm_make_address(struct shm_net *net);

/* The name in an address. Returns 0; -EHOSTUNREACH: it is not of this host, or of another transport; or
 * -EINVAL. */
int shm_address_read(const void *address, size_t length, uint8_t name[SHM_NAME_BYTES],
                     uint8_t cookie[SHM_NAME_BYTES]);
/* Connects to the named party and hands it the segment. Returns the socket or -errno. */
int shm_socket_connect(struct shm_net *net, const uint8_t name[SHM_NAME_BYTES],
                       const uint8_t cookie[SHM_NAME_BYTES], int segment);
/* Hands memory over. Returns 0 or -errno. */
int shm_socket_send_region(int socket, const struct shm_region *region);
/* One byte, which wakes whoever waits at the other end. */
void shm_socket_wake(int socket);
/* Reads everything that the peer said; ends the inbound when it misbehaved or went. */
void shm_socket_read(struct shm_inbound *inbound);
/* Whether the process at the other end still has its end. */
bool shm_socket_open(int socket);
