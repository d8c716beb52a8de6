/* Byte streams over TCP: non-blocking sockets, waited for through the loop's descriptor watch.
 *
 * A stream is watched only while somebody waits for it: a reader (for EPOLLIN), a writer (for EPOLLOUT), or
 * the function given to on_close (for anything from the peer: its end of file, a reset, or bytes that nobody
 * asked for). A reader takes precedence over on_close, so the two can be used together: what the reader does
 * not take is on_close's. Readiness is level-triggered, hence the watch is removed, not left with an empty
 * mask, when nobody waits: EPOLLHUP is reported under any mask.
 *
 * The completions of readers and writers live on their stacks, and only the waiter itself takes its out of
 * the stream. A stream that is closed while somebody waits is freed by the last waiter on its way out.
 *
 * A listener stops watching when it has ACCEPTED_MAX streams open, until one is closed, and for ACCEPT_PAUSE
 * when the process or the system is out of descriptors or memory: pending connections stay in the kernel's
 * queue meanwhile. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/stream.h"

#define ACCEPTED_MAX 65536u
#define ACCEPT_BATCH 64u
#define ACCEPT_PAUSE (100 * UINT64_C(1000000))
#define FROM_PEER ((uint32_t)(EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))

struct tcp_listener {
    struct net_listener base;
    struct net *net;
    struct watch watch; /* fd -1: not added */
    int fd;
    struct timer pause;
    bool paused;
    struct list streams; /* accepted and open */
    uint32_t stream_count;
    void (*accept)(void *owner, struct net_stream *stream);
    void *owner;
};

struct tcp_stream {
    struct net_stream base;
    int fd; /* -1: closed, waiters are leaving */
    struct watch watch;
    uint32_t events;           /* as watched; 0: not watched */
    struct completion *reader; /* NULL, or awaited, or fired and about to be taken out */
    struct completion *writer;
    uint32_t waiters;
    void (*closed)(void *owner);
    void *closed_owner;
    struct list link; /* in the listener's streams */
    struct tcp_listener *listener;
    void (*accept)(void *owner, struct net_stream *stream);
    void *accept_owner;
};

/* ---- addresses ---- */

/* Splits "host:port" or "[host]:port"; an empty host or * means any address. */
static int resolve(const char *address, bool passive, struct addrinfo **list)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0')
        return -EINVAL;
    size_t length = (size_t)(colon - address);
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    }
    if (length >= sizeof host || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strtoul(colon + 1, NULL, 10) > 65535)
        return -EINVAL;
    memcpy(host, address, length);
    host[length] = '\0';
    bool any = host[0] == '\0' || strcmp(host, "*") == 0;
    if (any && !passive)
        return -EINVAL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_family = any ? AF_INET : AF_UNSPEC,
                             .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)};
    switch (getaddrinfo(any ? NULL : host, colon + 1, &hints, list)) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return -ENOMEM;
    default:
        return -ENOENT;
    }
}

static void print_address(const struct sockaddr *address, socklen_t length, char *text, size_t size)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo(address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) !=
        0) {
        snprintf(text, size, "unknown");
        return;
    }
    const char *format = address->sa_family == AF_INET6 ? "[%.48s]:%.5s" : "%.48s:%.5s";
    snprintf(text, size, format, host, port);
}

static void set_options(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, 10},
        {IPPROTO_TCP, TCP_KEEPINTVL, 5}, {IPPROTO_TCP, TCP_KEEPCNT, 3},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

/* ---- streams ---- */

static bool waiting(const struct completion *completion)
{
    return completion != NULL && !completion->fired;
}

static void wake(struct completion *completion, int status)
{
    if (waiting(completion))
        completion_fire(completion, status);
}

static int update_watch(struct tcp_stream *stream)
{
    struct loop *loop = stream->base.net->loop;
    uint32_t events = 0;
    if (waiting(stream->reader) || stream->closed != NULL)
        events |= EPOLLIN | EPOLLRDHUP;
    if (waiting(stream->writer))
        events |= EPOLLOUT;
    if (events == stream->events)
        return 0;
    int error = 0;
    if (events == 0)
        loop_watch_remove(loop, &stream->watch);
    else if (stream->events == 0)
        error = loop_watch_add(loop, &stream->watch, events);
    else
        error = loop_watch_change(loop, &stream->watch, events);
    if (error == 0)
        stream->events = events;
    return error;
}

static void stream_ready(struct watch *watch, uint32_t events)
{
    struct tcp_stream *stream = container_of(watch, struct tcp_stream, watch);
    void (*closed)(void *owner) = NULL;
    void *owner = stream->closed_owner;
    if ((events & FROM_PEER) != 0) {
        if (stream->reader != NULL) {
            wake(stream->reader, 0);
        } else {
            closed = stream->closed;
            stream->closed = NULL;
        }
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        wake(stream->writer, 0);
    update_watch(stream);
    if (closed != NULL)
        closed(owner); /* may close the stream */
}

/* Waits until the slot (reader or writer) is woken. On -ECONNRESET the stream may be gone. */
static int wait_ready(struct tcp_stream *stream, struct completion **slot, uint64_t deadline)
{
    if (*slot != NULL)
        return -EBUSY;
    struct completion ready = COMPLETION_INIT;
    *slot = &ready;
    stream->waiters++;
    int error = update_watch(stream);
    if (error == 0)
        error = await_until(stream->base.net->loop, &ready, deadline);
    *slot = NULL;
    stream->waiters--;
    if (stream->fd >= 0) {
        update_watch(stream);
        return error;
    }
    if (stream->waiters == 0)
        free(stream);
    return -ECONNRESET;
}

static int stream_read(struct net_stream *base, void *bytes, size_t length, uint64_t deadline)
{
    struct tcp_stream *stream = container_of(base, struct tcp_stream, base);
    uint8_t *next = bytes;
    while (length != 0) {
        ssize_t got = recv(stream->fd, next, length, MSG_DONTWAIT);
        if (got > 0) {
            next += got;
            length -= (size_t)got;
        } else if (got < 0 && errno == EAGAIN) {
            int error = wait_ready(stream, &stream->reader, deadline);
            if (error != 0)
                return error;
        } else if (got == 0 || errno != EINTR) {
            return -ECONNRESET;
        }
    }
    return 0;
}

static int stream_write(struct net_stream *base, const void *bytes, size_t length, uint64_t deadline)
{
    struct tcp_stream *stream = container_of(base, struct tcp_stream, base);
    const uint8_t *next = bytes;
    while (length != 0) {
        ssize_t put = send(stream->fd, next, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put >= 0) {
            next += put;
            length -= (size_t)put;
        } else if (errno == EAGAIN) {
            int error = wait_ready(stream, &stream->writer, deadline);
            if (error != 0)
                return error;
        } else if (errno != EINTR) {
            return -ECONNRESET;
        }
    }
    return 0;
}

static void stream_on_close(struct net_stream *base, void (*closed)(void *owner), void *owner)
{
    struct tcp_stream *stream = container_of(base, struct tcp_stream, base);
    stream->closed = closed;
    stream->closed_owner = owner;
    int error = update_watch(stream);
    if (error != 0)
        log_error("cannot watch the connection to %s: %s", base->peer, strerror(-error));
}

/* The kernel of whoever closes a stream, or ends with it open, sends an end of file. One that was cut off, or
 * that the other side's kernel knows nothing of any more, ends in an error. */
static int stream_parting(struct net_stream *base)
{
    const struct tcp_stream *stream = container_of(base, struct tcp_stream, base);
    uint8_t byte;
    ssize_t got;
    do
        got = recv(stream->fd, &byte, 1, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got == 1 ? byte : got == 0 ? -EPIPE : errno == EAGAIN ? -EAGAIN : -ECONNRESET;
}

static void listener_resume(struct tcp_listener *listener);

static void stream_close(struct net_stream *base)
{
    struct tcp_stream *stream = container_of(base, struct tcp_stream, base);
    if (stream->events != 0)
        loop_watch_remove(base->net->loop, &stream->watch);
    close(stream->fd);
    stream->fd = -1;
    struct tcp_listener *listener = stream->listener;
    if (listener != NULL) {
        list_remove(&stream->link);
        listener->stream_count--;
        listener_resume(listener);
    }
    wake(stream->reader, -ECONNRESET);
    wake(stream->writer, -ECONNRESET);
    if (stream->waiters == 0)
        free(stream);
}

static const struct net_stream_operations tcp_operations = {
    .read = stream_read,
    .write = stream_write,
    .on_close = stream_on_close,
    .parting = stream_parting,
    .close = stream_close,
};

/* Takes over fd, also when it fails. */
static struct tcp_stream *stream_create(struct net *net, int fd, const struct sockaddr *peer,
                                        socklen_t length)
{
    struct tcp_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        close(fd);
        return NULL;
    }
    stream->base.operations = &tcp_operations;
    stream->base.net = net;
    stream->fd = fd;
    stream->watch.fd = fd;
    stream->watch.ready = stream_ready;
    set_options(fd);
    print_address(peer, length, stream->base.peer, sizeof stream->base.peer);
    return stream;
}

/* ---- connecting ---- */

/* A connection to a free port of this host may meet itself when the kernel picks that very port for its near
 * end. */
static bool connected_to_itself(int fd)
{
    struct sockaddr_storage near = {0}, far = {0};
    socklen_t near_length = sizeof near, far_length = sizeof far;
    return getsockname(fd, (struct sockaddr *)&near, &near_length) == 0 &&
           getpeername(fd, (struct sockaddr *)&far, &far_length) == 0 && near_length == far_length &&
           memcmp(&near, &far, near_length) == 0;
}

static int connect_one(struct net *net, const struct addrinfo *to, uint64_t deadline, struct tcp_stream **out)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct tcp_stream *stream = stream_create(net, fd, to->ai_addr, to->ai_addrlen);
    if (stream == NULL)
        return -ENOMEM;
    int error = 0;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        error = -errno;
        if (error == -EINPROGRESS) {
            error = wait_ready(stream, &stream->writer, deadline);
            socklen_t length = sizeof error;
            if (error == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0)
                error = -error;
        }
    }
    if (error == 0 && connected_to_itself(fd))
        error = -ECONNREFUSED;
    if (error != 0) {
        stream_close(&stream->base);
        return error;
    }
    *out = stream;
    return 0;
}

int net_tcp_connect(struct net *net, const char *address, uint64_t deadline, struct net_stream **out)
{
    struct addrinfo *list;
    int error = resolve(address, false, &list);
    if (error != 0)
        return error;
    struct tcp_stream *stream = NULL;
    error = -ENOENT;
    for (const struct addrinfo *to = list; to != NULL && stream == NULL; to = to->ai_next) {
        error = connect_one(net, to, deadline, &stream);
        if (error == -ETIMEDOUT || error == -ECANCELED)
            break;
    }
    freeaddrinfo(list);
    if (error == 0)
        *out = &stream->base;
    return error;
}

/* ---- listening ---- */

static void accept_task(void *argument)
{
    struct tcp_stream *stream = argument;
    stream->accept(stream->accept_owner, &stream->base);
}

static void accepted(struct tcp_listener *listener, int fd, const struct sockaddr *peer, socklen_t length)
{
    struct tcp_stream *stream = stream_create(listener->net, fd, peer, length);
    if (stream == NULL)
        return;
    stream->accept = listener->accept;
    stream->accept_owner = listener->owner;
    stream->listener = listener;
    list_push_back(&listener->streams, &stream->link);
    listener->stream_count++;
    if (task_spawn_later(listener->net->loop, accept_task, stream, NULL) != 0)
        stream_close(&stream->base);
}

static void listener_suspend(struct tcp_listener *listener)
{
    if (listener->watch.fd < 0)
        return;
    loop_watch_remove(listener->net->loop, &listener->watch);
    listener->watch.fd = -1;
}

static void listener_pause(struct tcp_listener *listener)
{
    listener_suspend(listener);
    listener->paused = true;
    timer_set(listener->net->loop, &listener->pause, loop_now(listener->net->loop) + ACCEPT_PAUSE);
}

static void listener_resume(struct tcp_listener *listener)
{
    if (listener->watch.fd >= 0 || listener->paused || listener->stream_count >= ACCEPTED_MAX)
        return;
    listener->watch.fd = listener->fd;
    if (loop_watch_add(listener->net->loop, &listener->watch, EPOLLIN) != 0) {
        listener->watch.fd = -1;
        listener_pause(listener);
    }
}

static void pause_over(struct timer *timer)
{
    struct tcp_listener *listener = container_of(timer, struct tcp_listener, pause);
    listener->paused = false;
    listener_resume(listener);
}

static void listener_ready(struct watch *watch, uint32_t events)
{
    struct tcp_listener *listener = container_of(watch, struct tcp_listener, watch);
    (void)events;
    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        if (listener->stream_count >= ACCEPTED_MAX) {
            listener_suspend(listener);
            return;
        }
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        int fd = accept4(listener->fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(listener, fd, (struct sockaddr *)&peer, length);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            log_warning("cannot accept a connection at %s: %s: trying again in 100 ms",
                        listener->base.address, strerror(errno));
            listener_pause(listener);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void listener_close(struct net_listener *base)
{
    struct tcp_listener *listener = container_of(base, struct tcp_listener, base);
    struct list *link;
    while ((link = list_pop_front(&listener->streams)) != NULL)
        container_of(link, struct tcp_stream, link)->listener = NULL;
    listener_suspend(listener);
    timer_clear(listener->net->loop, &listener->pause);
    close(listener->fd);
    free(listener);
}

static int bind_one(const struct addrinfo *at, struct tcp_listener *listener)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int on = 1;
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &length) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    print_address((struct sockaddr *)&bound, length, listener->base.address, sizeof listener->base.address);
    listener->fd = fd;
    listener->watch.fd = fd;
    return 0;
}

int net_tcp_listen(struct net *net, const char *address,
                   void (*accept)(void *owner, struct net_stream *stream), void *owner,
                   struct net_listener **out)
{
    struct addrinfo *list;
    int error = resolve(address, true, &list);
    if (error != 0)
        return error;
    struct tcp_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        freeaddrinfo(list);
        return -ENOMEM;
    }
    listener->base.close = listener_close;
    listener->net = net;
    listener->watch.ready = listener_ready;
    listener->pause.fire = pause_over;
    listener->accept = accept;
    listener->owner = owner;
    list_init(&listener->streams);
    error = -ENOENT;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        error = bind_one(at, listener);
        if (error == 0)
            break;
    }
    freeaddrinfo(list);
    if (error == 0) {
        error = loop_watch_add(net->loop, &listener->watch, EPOLLIN);
        if (error != 0)
            close(listener->fd);
    }
    if (error != 0) {
        free(listener);
        return error;
    }
    *out = &listener->base;
    return 0;
}

bool net_address_is_local(const char *address)
{
    static const char *const local[] = {"127.", "localhost:", "[::1]:"};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        if (strncmp(address, local[i], strlen(local[i])) == 0)
            return true;
    return false;
}
