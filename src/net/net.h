/* The transport interface: messages between peers, each a small header plus optional bulk. Three
 * implementations: `shm` (rings in shared memory, between processes of one host), `ucx` (UCP active messages:
 * RDMA, TCP, shared memory as UCX finds them) and `sim` (a simulated network).
 *
 * A `struct net` belongs to one loop and is one addressable party. Connections are one-way: the other side
 * connects back to the address it is told. Messages carry no sender; the layer above identifies it by what is
 * in the header. */
#pragma once

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "runtime/loop.h"

#define NET_HEADER_MAX 1024u /* bytes of header that every transport carries */
#define NET_HEADER_BEFORE 24u
#define NET_SENDER_BYTES 32u

struct net;
struct net_connection;
struct net_stream;
struct net_listener;

/* An arrived message. header is valid during the receive callback only; bulk until the callback returns,
 * unless held. */
struct net_message {
    struct net *net;
    const void *header;
    uint32_t header_length;
    bool bulk_here; /* bulk bytes arrived with the message at `bulk`; otherwise they are fetched */
    bool held;
    const void *bulk;
    uint64_t bulk_length; /* 0: no bulk */
    uint64_t looked; /* *loop_latest when it was not there yet, or loop_now when it came; see loop_kept */
    void *transport; /* the transport's own */
    /* NET_SENDER_BYTES for the owner to remember what it wants of whoever sends over this connection, 0 at
     * first. Its messages arrive in order, and none is missing. NULL: the transport cannot tell. */
    void *sender;
    /* What its sender writes here after it has left; NULL: nothing. May be read until net->forget. */
    const _Atomic uint64_t *postscript;
};

typedef void (*net_receiver)(void *owner, struct net_message *message);

/* Where memory is shown: what somebody on the same host must be told to find and to recognise it. */
struct net_place {
    uint64_t length;     /* bytes */
    uint32_t process;    /* who shows it */
    uint32_t descriptor; /* by which one, there */
    uint8_t id[16];      /* random */
};

enum net_shown_by {
    NET_SHOWN_BY_THREAD,  /* by the calling one, which must also hide it: net_view_alive tells when it has
                             ended */
    NET_SHOWN_BY_PROCESS, /* net_view_alive says nothing of it; net and its thread may end before */
};

/* Memory of ours that others may read. */
struct net_shown {
    struct net *net;
    const struct net_operations *operations;
    void *memory; /* zeroed, page-aligned */
    struct net_place place;
};

/* Memory of another party, to be read by atomic loads: its owner writes at any time. */
struct net_view {
    struct net *net;
    const void *memory;
    size_t length;
    const _Atomic uint32_t *owner; /* net_view_alive */
};
#define NET_OWNER_MASK 0x3fffffffu /* FUTEX_TID_MASK */

enum net_send_flags {
    /* Announce the bulk; the receiver fetches it straight from the sender's memory. Without it the transport
     * decides. */
    NET_SEND_RENDEZVOUS = 1,
};

struct net_operations {
    void (*destroy)(struct net *net);
    int (*connect)(struct net *net, const void *address, size_t length, struct net_connection **connection);
    void (*close)(struct net_connection *connection);
    uint32_t (*peer_process)(struct net_connection *connection);
    int (*send)(struct net_connection *connection, const void *header, uint32_t header_length,
                const struct iovec *bulk, uint32_t bulk_count, unsigned flags, struct completion *sent);
    void *(*room)(struct net_connection *connection, uint32_t header_length); /* NULL: net_room has none */
    _Atomic uint64_t *(*post)(struct net_connection *connection, uint32_t header_length);
    void (*hold)(struct net_message *message);
    int (*receive)(struct net_message *message, const struct iovec *into, uint32_t count,
                   struct completion *received);
    void (*release)(struct net_message *message);
    int (*memory_allocate)(struct net *net, size_t length, void **memory, void **region);
    void (*memory_free)(struct net *net, void *region);
    int (*show)(struct net *net, size_t length, enum net_shown_by by, struct net_shown **shown);
    void (*hide)(struct net_shown *shown);
    int (*view)(struct net *net, const struct net_place *place, struct net_view **view);
    void (*view_end)(struct net_view *view);
    int (*stream_listen)(struct net *net, const char *address,
                         void (*accept)(void *owner, struct net_stream *stream), void *owner,
                         struct net_listener **listener);
    int (*stream_connect)(struct net *net, const char *address, uint64_t deadline,
                          struct net_stream **stream);
};

struct net {
    const struct net_operations *operations;
    struct loop *loop;
    const char *name;    /* "shm", "ucx" or "sim" */
    bool reliable;       /* a message is lost only when the connection is; sim: false */
    uint32_t eager_max;  /* default: largest bulk that is sent eagerly when no flag says otherwise, bytes */
    const void *address; /* what a peer passes to net_connect */
    size_t address_length;
    net_receiver receiver; /* set by the owner before the first loop turn */
    void *owner;
    /* The owner's, may be NULL: postscripts of messages that came are going to be memory no more. */
    void (*forget)(void *owner);
    /* The owner's, may be NULL: where it would like the header of the next message, if that is no longer than
     * `space`; what is in front of it is as `copies_headers` says. A transport that has to copy headers
     * copies it there, and says so by message->header. */
    void *header_space;
    uint32_t space;
    /* A header has been copied when it is delivered, and NET_HEADER_BEFORE bytes in front of it are free,
     * too. Messages have a sender. */
    bool copies_headers;
};

struct net_ucx_options {
    const char *transports; /* UCX_TLS; NULL: UCX's choice or the environment's */
    const char *devices;    /* UCX_NET_DEVICES; NULL likewise */
    bool one_host;          /* every peer runs on this host: without transports, shared memory alone */
    bool lazy;              /* costs the loop nothing before it has made a connection */
    bool one_sided;         /* also reads and writes of a peer's memory (net/rma.h) */
};

struct net_shm_options {
    bool without_fetch; /* never read a peer's memory, as if the kernel forbade it */
    bool share_memory;  /* let peers map net_memory_allocate's, also where that cannot have huge pages */
};

/* Around a fork of this process (ucx_fork.c). Before: waits until no thread makes a party, and UCX's own
 * thread, if it runs, does nothing; followed by one of the others. In the child: parties of the parent are
 * not to be touched any more, new ones can be made. */
void net_ucx_before_fork(void);
void net_ucx_after_fork(void);
void net_ucx_after_fork_in_child(void);

/* Creates a party that reaches those of its own host by shm and others by UCX; by UCX alone if options, or
 * UCX_TLS in the environment, name transports. When options say one_host there is no UCX, unless a peer turns
 * out to have nothing else. Strings in options must live as long as the party. Returns 0 or -errno. */
int net_create(struct loop *loop, const struct net_ucx_options *options, struct net **net);

/* Creates a UCX context and worker driven by loop. Returns 0 or -errno. */
int net_ucx_create(struct loop *loop, const struct net_ucx_options *options, struct net **net);

/* Creates a party that is reached through shared memory, and reaches others through UCX when it must. Returns
 * 0 or -errno. */
int net_shm_create(struct loop *loop, const struct net_shm_options *options, struct net **net);

/* The part of an address that is for UCX: within it, or all of it. Returns 0, -EHOSTUNREACH (none) or
 * -EINVAL. */
int shm_address_far(const void *address, size_t length, const void **far, size_t *far_length);

/* Closes what connections are left; streams and listeners must be closed before. */
static inline void net_destroy(struct net *net)
{
    net->operations->destroy(net);
}

/* Makes a connection to the party with that address. Does not wait for the peer. Returns 0 or -errno
 * (-EINVAL: the address is malformed). */
static inline int net_connect(struct net *net, const void *address, size_t length,
                              struct net_connection **connection)
{
    return net->operations->connect(net, address, length, connection);
}

/* A transport's connection begins with this. */
struct net_connection {
    struct net *net;
};

/* Closes; sends under way complete (with -ECONNRESET if need be). Never blocks, even if the peer is dead. */
static inline void net_close(struct net_connection *connection)
{
    connection->net->operations->close(connection);
}

/* Sends header and bulk. Returns 0: done, buffers reusable, `sent` untouched; -EINPROGRESS: `sent` fires when
 * header and bulk may be reused (for a rendezvous: when the peer has fetched them); other -errno: not sent.
 * The header is copied before return unless -EINPROGRESS. */
static inline int net_send(struct net_connection *connection, const void *header, uint32_t header_length,
                           const struct iovec *bulk, uint32_t bulk_count, unsigned flags,
                           struct completion *sent)
{
    return connection->net->operations->send(connection, header, header_length, bulk, bulk_count, flags,
                                             sent);
}

/* A place of the transport's in which to make a message of that length without bulk, to be handed over by
 * net_post before anything else is done with the transport; or left alone. NULL: there is none, so net_send.
 * With it nobody has to keep the message, for it leaves at once. */
static inline void *net_room(struct net_connection *connection, uint32_t header_length)
{
    const struct net_operations *operations = connection->net->operations;
    return operations->room == NULL ? NULL : operations->room(connection, header_length);
}

/* Returns the message's postscript, a word that its receiver sees, too: what is written there now, before
 * anything else is sent, need not be known when the message leaves. It holds what it held, so what is written
 * must say of which message it speaks; and it stays until some hundred messages have followed. */
static inline _Atomic uint64_t *net_post(struct net_connection *connection, uint32_t header_length)
{
    return connection->net->operations->post(connection, header_length);
}

/* Inside the receive callback: keeps the message's bulk (not its header) until net_release. Copies *message
 * by the caller's own means afterwards: the struct passed to the callback dies with it. */
static inline void net_hold(struct net_message *message)
{
    message->net->operations->hold(message);
}

/* Moves the bulk into the given memory (total = bulk_length). Message must be in its callback or held.
 * Returns 0: done; -EINPROGRESS: `received` fires with 0 or -errno; other -errno. Once done (or failed),
 * still net_release a held message. */
static inline int net_receive(struct net_message *message, const struct iovec *into, uint32_t count,
                              struct completion *received)
{
    return message->net->operations->receive(message, into, count, received);
}

/* Drops a held message; its bulk, if not received, is discarded. */
static inline void net_release(struct net_message *message)
{
    message->net->operations->release(message);
}

/* Memory that the transport registered: bulk lands in it and is sent from it without a copy, and io_uring can
 * use it. Zeroed, page-aligned, huge pages where the system gives them. Returns 0 or -ENOMEM. */
static inline int net_memory_allocate(struct net *net, size_t length, void **memory, void **region)
{
    return net->operations->memory_allocate(net, length, memory, region);
}

static inline void net_memory_free(struct net *net, void *region)
{
    net->operations->memory_free(net, region);
}

/* The process at the other end, as the kernel of this host numbers it. 0: it is not known, or elsewhere. */
static inline uint32_t net_peer_process(struct net_connection *connection)
{
    const struct net_operations *operations = connection->net->operations;
    return operations->peer_process == NULL ? 0 : operations->peer_process(connection);
}

/* Whether that process has ended, be it that its parent does not know yet. Another that was given its number
 * since passes for it. */
bool net_process_ended(uint32_t process);

/* Memory that parties on the same host, and of the same user, may map to read (shown.c). The kernel says in
 * it when a thread that shows it has ended, by whatever means. Returns 0, -ENOTSUP or another -errno. */
static inline int net_show(struct net *net, size_t length, enum net_shown_by by, struct net_shown **shown)
{
    return net->operations->show == NULL ? -ENOTSUP : net->operations->show(net, length, by, shown);
}

/* No view of it is alive from now on. Views stay readable until they end. */
static inline void net_hide(struct net_shown *shown)
{
    shown->operations->hide(shown);
}

/* Maps what a party of this host shows at that place. Returns 0; -ENOENT: nothing like it is there, or it may
 * not be read from here; -ENOTSUP; other -errno. */
static inline int net_view(struct net *net, const struct net_place *place, struct net_view **view)
{
    return net->operations->view == NULL ? -ENOTSUP : net->operations->view(net, place, view);
}

static inline void net_view_end(struct net_view *view)
{
    view->net->operations->view_end(view);
}

/* Whether the one who shows it had neither ended nor hidden it at the time of the call. */
static inline bool net_view_alive(const struct net_view *view)
{
    return (atomic_load_explicit(view->owner, memory_order_acquire) & NET_OWNER_MASK) != 0;
}
