/* Reliable byte streams for bootstrap, authentication and liveness: TCP in production, simulated under `sim`.
 * A stream that stays open says that the peer process lives; its end of file says that it died.
 * All calls that wait suspend the task (or drive the loop outside any task). */
#pragma once

#include "net/net.h"

struct net_stream_operations {
    int (*read)(struct net_stream *stream, void *bytes, size_t length, uint64_t deadline);
    int (*write)(struct net_stream *stream, const void *bytes, size_t length, uint64_t deadline);
    void (*on_close)(struct net_stream *stream, void (*closed)(void *owner), void *owner);
    int (*parting)(struct net_stream *stream);
    void (*close)(struct net_stream *stream);
};

struct net_stream {
    const struct net_stream_operations *operations;
    struct net *net;
    char peer[64]; /* "127.0.0.1:40112" */
};

struct net_listener {
    char address[64]; /* "host:port" actually bound; a given port 0 is replaced */
    void (*close)(struct net_listener *listener);
};

/* address "host:port", port 0: any. accept is called in a fresh task per connection and owns the stream.
 * Returns 0 or -errno. */
static inline int net_stream_listen(struct net *net, const char *address,
                                    void (*accept)(void *owner, struct net_stream *stream), void *owner,
                                    struct net_listener **listener)
{
    return net->operations->stream_listen(net, address, accept, owner, listener);
}

/* Returns 0 and *stream, or -errno (-ECONNREFUSED, -ETIMEDOUT, -ENOENT for a name that does not resolve). */
static inline int net_stream_connect(struct net *net, const char *address, uint64_t deadline,
                                     struct net_stream **stream)
{
    return net->operations->stream_connect(net, address, deadline, stream);
}

/* Exactly length bytes. Returns 0, -ECONNRESET (end of file included), -ETIMEDOUT or -ECANCELED. */
static inline int net_stream_read(struct net_stream *stream, void *bytes, size_t length, uint64_t deadline)
{
    return stream->operations->read(stream, bytes, length, deadline);
}

static inline int net_stream_write(struct net_stream *stream, const void *bytes, size_t length,
                                   uint64_t deadline)
{
    return stream->operations->write(stream, bytes, length, deadline);
}

/* Calls closed(owner) once when the peer's end closes (or sends anything unasked: the stream is then spent).
 * Replaces an earlier registration; NULL removes it. Runs on the loop's stack: must not await. */
static inline void net_stream_on_close(struct net_stream *stream, void (*closed)(void *owner), void *owner)
{
    stream->operations->on_close(stream, closed, owner);
}

/* For who was told by on_close: how the other end left. Returns the byte that it sent before (0 to 255; each
 * once); -EPIPE: it was closed, and whatever it had sent was taken; -ECONNRESET: the connection broke, and
 * nobody knows why; -EAGAIN: neither yet. Does not suspend. */
static inline int net_stream_parting(struct net_stream *stream)
{
    return stream->operations->parting(stream);
}

static inline void net_stream_close(struct net_stream *stream)
{
    stream->operations->close(stream);
}

/* Whether "host:port" can only be reached from this host. */
bool net_address_is_local(const char *address);

/* TCP streams over loop_watch; used by the ucx transport and by nothing else. */
int net_tcp_listen(struct net *net, const char *address,
                   void (*accept)(void *owner, struct net_stream *stream), void *owner,
                   struct net_listener **listener);
int net_tcp_connect(struct net *net, const char *address, uint64_t deadline, struct net_stream **stream);
