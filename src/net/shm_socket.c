/* How parties of the shm transport find each other, and hand memory from process to process.
 *
 * A party listens on a socket in the kernel's abstract namespace, which lives as long as the process. Its
 * name is random. An address says which host that is - by the kernel's boot id and the network namespace, to
 * which such names belong - the name, and a secret: whoever does not know it was not told the address and is
 * refused. In a frame with length and hash, so that a damaged address is noticed.
 *
 * To connect is to connect the socket and to send one packet with the segment's descriptor: the peer need not
 * run meanwhile. The socket stays: its end tells each side that the other went, further packets hand over
 * regions, and a packet of one byte wakes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "net/shm.h"

#define ADDRESS_MAGIC 0x31534442u /* "BDS1" */
#define HELLO_MAGIC 0x31484842u
#define REGION_MAGIC 0x31524742u
#define GREETING_MAX 128u
#define INBOUNDS_MAX 65536u
#define ACCEPT_BATCH 64u
#define PACKETS_PER_READ 64u
#define FAR_MAX 8000u

struct address_frame {
    uint32_t magic;
    uint32_t length; /* of everything behind the frame */
    uint64_t checksum;
};

struct address_body {
    uint8_t boot[SHM_NAME_BYTES];
    uint64_t namespace_device;
    uint64_t namespace_inode;
    uint8_t name[SHM_NAME_BYTES];
    uint8_t cookie[SHM_NAME_BYTES];
};
static_assert(sizeof(struct address_frame) == 16 && sizeof(struct address_body) == 64, "wire size");

struct hello {
    uint32_t magic;
    uint32_t reserved;
    uint8_t cookie[SHM_NAME_BYTES];
    uint8_t sender[SHM_NAME_BYTES];
};

struct region_notice {
    uint32_t magic;
    uint32_t region;
    uint64_t length;
};

/* ---- addresses ---- */

/* The boot id, without its hyphens and as bytes. */
static int read_boot_id(uint8_t id[SHM_NAME_BYTES])
{
    char text[64];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t length = read(fd, text, sizeof(text));
    close(fd);
    uint32_t digits = 0;
    memset(id, 0, SHM_NAME_BYTES);
    for (ssize_t i = 0; i < length && digits < 2 * SHM_NAME_BYTES; i++) {
        char digit = text[i];
        if (digit >= '0' && digit <= '9')
            digit = (char)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            digit = (char)(digit - 'a' + 10);
        else
            continue;
        id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
        digits++;
    }
    return digits == 2 * SHM_NAME_BYTES ? 0 : -ENOTSUP;
}

static int read_host(struct address_body *body)
{
    struct stat status;
    if (stat("/proc/self/ns/net", &status) != 0)
        return -errno;
    body->namespace_device = status.st_dev;
    body->namespace_inode = status.st_ino;
    return read_boot_id(body->boot);
}

int shm_make_address(struct shm_net *net)
{
    struct address_body body;
    int status = read_host(&body);
    if (status != 0)
        return status;
    memcpy(body.name, net->name, sizeof(body.name));
    memcpy(body.cookie, net->cookie, sizeof(body.cookie));
    size_t far = net->far != NULL ? net->far->address_length : 0;
    size_t length = sizeof(body) + far;
    if (far > FAR_MAX)
        return -EMSGSIZE;
    uint8_t *address = malloc(sizeof(struct address_frame) + length);
    if (address == NULL)
        return -ENOMEM;
    uint8_t *content = address + sizeof(struct address_frame);
    memcpy(content, &body, sizeof(body));
    if (far != 0)
        memcpy(content + sizeof(body), net->far->address, far);
    const struct address_frame frame = {ADDRESS_MAGIC, (uint32_t)length,
                                        hash64(content, length, ADDRESS_MAGIC)};
    memcpy(address, &frame, sizeof(frame));
    free(net->address);
    net->address = address;
    net->base.address = address;
    net->base.address_length = sizeof(frame) + length;
    return 0;
}

/* Checks the frame. Returns 0 and the content; -ENOMSG: no address of ours; -EINVAL: a damaged one. */
static int open_frame(const void *address, size_t length, struct address_body *body, const void **far,
                      size_t *far_length)
{
    struct address_frame frame;
    if (length < sizeof(frame))
        return -EINVAL;
    memcpy(&frame, address, sizeof(frame));
    if (frame.magic != ADDRESS_MAGIC)
        return -ENOMSG;
    const uint8_t *content = (const uint8_t *)address + sizeof(frame);
    if (length < sizeof(frame) + sizeof(*body) || frame.length != length - sizeof(frame) ||
        frame.checksum != hash64(content, frame.length, ADDRESS_MAGIC))
        return -EINVAL;
    memcpy(body, content, sizeof(*body));
    *far = content + sizeof(*body);
    *far_length = frame.length - sizeof(*body);
    return 0;
}

int shm_address_far(const void *address, size_t length, const void **far, size_t *far_length)
{
    struct address_body body;
    int status = open_frame(address, length, &body, far, far_length);
    if (status == -ENOMSG) {
        *far = address;
        *far_length = length;
        return 0;
    }
    return status != 0 || *far_length != 0 ? status : -EHOSTUNREACH;
}

int shm_address_read(const void *address, size_t length, uint8_t name[SHM_NAME_BYTES],
                     uint8_t cookie[SHM_NAME_BYTES])
{
    struct address_body body, here;
    const void *far;
    size_t far_length;
    int status = open_frame(address, length, &body, &far, &far_length);
    if (status == 0)
        status = read_host(&here);
    if (status != 0)
        return status == -ENOMSG ? -EHOSTUNREACH : status;
    memcpy(name, body.name, sizeof(body.name));
    memcpy(cookie, body.cookie, sizeof(body.cookie));
    bool same = memcmp(body.boot, here.boot, sizeof(body.boot)) == 0 &&
                body.namespace_device == here.namespace_device &&
                body.namespace_inode == here.namespace_inode;
    return same ? 0 : -EHOSTUNREACH;
}

static socklen_t socket_address(const uint8_t name[SHM_NAME_BYTES], struct sockaddr_un *address)
{
    static const char prefix[] = "benchfs";
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, prefix, sizeof(prefix) - 1);
    for (uint32_t i = 0; i < SHM_NAME_BYTES; i++) {
        address->sun_path[sizeof(prefix) + 2 * i] = "0123456789abcdef"[name[i] >> 4];
        address->sun_path[sizeof(prefix) + 2 * i + 1] = "0123456789abcdef"[name[i] & 15];
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(prefix) + 2 * SHM_NAME_BYTES);
}

/* ---- packets ---- */

static int send_packet(int socket, const void *packet, size_t length, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec vector = {(void *)(uintptr_t)packet, length};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &fd, sizeof(fd));
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)length ? 0 : sent < 0 ? -errno : -EIO;
}

/* Reads one packet into at most size bytes. Returns its length, 0 at the end, or -errno; *fd is -1 or a
 * descriptor that came along. */
static ssize_t receive_packet(int socket, void *packet, size_t size, int *fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec vector = {packet, size};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    *fd = -1;
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part != NULL; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int came;
            memcpy(&came, CMSG_DATA(part) + i * sizeof(came), sizeof(came));
            if (*fd < 0)
                *fd = came;
            else
                close(came);
        }
    }
    return got;
}

void shm_socket_wake(int socket)
{
    /* A socket that is full has bytes enough to wake the other end; one that is closed is noticed elsewhere.
     */
    while (send(socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

bool shm_socket_open(int socket)
{
    struct pollfd poll_for = {.fd = socket, .events = POLLRDHUP};
    int found;
    do
        found = poll(&poll_for, 1, 0);
    while (found < 0 && errno == EINTR);
    return found == 0;
}

int shm_socket_send_region(int socket, const struct shm_region *region)
{
    const struct region_notice notice = {REGION_MAGIC, region->id, region->length};
    return send_packet(socket, &notice, sizeof(notice), region->fd);
}

/* ---- what peers say ---- */

static int take_hello(struct shm_inbound *inbound, const struct hello *hello, int fd)
{
    struct shm_net *net = inbound->net;
    if (hello->magic != HELLO_MAGIC || memcmp(hello->cookie, net->cookie, sizeof(net->cookie)) != 0) {
        close(fd);
        return -EACCES;
    }
    int status = shm_inbound_attach(inbound, fd);
    if (status != 0)
        return status;
    memcpy(inbound->peer, hello->sender, sizeof(inbound->peer));
    inbound->greeted = true;
    shm_inbound_known(inbound);
    return 0;
}

/* One packet. Returns 0, or -errno when the connection is to be closed. */
static int take_packet(struct shm_inbound *inbound, const void *packet, size_t length, int fd)
{
    if (fd < 0)
        return inbound->greeted && length == 1 ? 0 : -EPROTO;
    if (!inbound->greeted && length == sizeof(struct hello)) {
        struct hello hello;
        memcpy(&hello, packet, sizeof(hello));
        return take_hello(inbound, &hello, fd);
    }
    struct region_notice notice;
    if (inbound->greeted && length == sizeof(notice)) {
        memcpy(&notice, packet, sizeof(notice));
        if (notice.magic == REGION_MAGIC)
            return shm_inbound_map(inbound, notice.region, notice.length, fd);
    }
    close(fd);
    return -EPROTO;
}

static void read_packets(struct shm_inbound *inbound, uint32_t count)
{
    uint8_t packet[64];
    for (uint32_t i = 0; i < count && !inbound->failed && !inbound->ended; i++) {
        int fd;
        ssize_t length = receive_packet(inbound->socket.fd, packet, sizeof(packet), &fd);
        if (length == -EAGAIN)
            return;
        int status = length > 0 ? take_packet(inbound, packet, (size_t)length, fd) : 0;
        if (length <= 0) {
            if (fd >= 0)
                close(fd);
            shm_inbound_end(inbound, false);
        } else if (status != 0) {
            log_warning("shm: a peer was refused: %s", strerror(-status));
            shm_inbound_end(inbound, true);
        }
    }
    /* What is left of an ended connection is in its ring. */
    if ((inbound->failed || inbound->ended) && inbound->socket.ready != NULL) {
        loop_watch_remove(inbound->net->base.loop, &inbound->socket);
        inbound->socket.ready = NULL;
    }
}

void shm_socket_read(struct shm_inbound *inbound)
{
    read_packets(inbound, PACKETS_PER_READ);
}

/* Most often there is one byte; should there be more, we are called again. */
static void inbound_ready(struct watch *watch, uint32_t events)
{
    struct shm_inbound *inbound = container_of(watch, struct shm_inbound, socket);
    (void)events;
    shm_inbound_heat(inbound);
    read_packets(inbound, 1);
}

/* ---- listening and connecting ---- */

static int make_space(struct shm_net *net)
{
    if (net->inbound_count < net->inbound_space)
        return 0;
    uint32_t space = net->inbound_space == 0 ? 16 : 2 * net->inbound_space;
    struct shm_inbound **hot = realloc(net->hot, space * sizeof(hot[0]));
    if (hot == NULL)
        return -ENOMEM;
    net->hot = hot;
    struct shm_inbound **cold = realloc(net->cold, space * sizeof(cold[0]));
    if (cold == NULL)
        return -ENOMEM;
    net->cold = cold;
    net->inbound_space = space;
    return 0;
}

/* A peer greets as soon as it is connected, so of too many that have not the oldest is not going to. */
static void make_room_for_a_stranger(struct shm_net *net)
{
    if (net->greeting < GREETING_MAX)
        return;
    struct shm_inbound *oldest = container_of(net->strangers.next, struct shm_inbound, stranger);
    shm_inbound_known(oldest);
    shm_inbound_end(oldest, true);
}

/* Takes over fd. */
static void accepted(struct shm_net *net, int fd)
{
    struct ucred peer = {0};
    socklen_t length = sizeof(peer);
    struct shm_inbound *inbound = NULL;
    make_room_for_a_stranger(net);
    if (net->inbound_count < INBOUNDS_MAX && make_space(net) == 0)
        inbound = aligned_alloc(SHM_LINE, shm_lines(sizeof(*inbound)));
    if (inbound != NULL)
        memset(inbound, 0, sizeof(*inbound));
    if (inbound == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        log_warning("shm: no room for another connection");
        goto fail;
    }
    inbound->net = net;
    inbound->pid = peer.pid;
    inbound->socket.fd = fd;
    inbound->socket.ready = inbound_ready;
    if (loop_watch_add(net->base.loop, &inbound->socket, EPOLLIN | EPOLLRDHUP) != 0)
        goto fail;
    net->inbound_count++;
    net->greeting++;
    list_push_back(&net->strangers, &inbound->stranger);
    list_push_back(&net->inbounds, &inbound->link);
    read_packets(inbound, PACKETS_PER_READ);
    return;

fail:
    free(inbound);
    close(fd);
}

static void listener_ready(struct watch *watch, uint32_t events)
{
    struct shm_net *net = container_of(watch, struct shm_net, listener);
    (void)events;
    for (uint32_t i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            accepted(net, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

int shm_socket_listen(struct shm_net *net)
{
    struct sockaddr_un address;
    random_secure(net->name, sizeof(net->name));
    random_secure(net->cookie, sizeof(net->cookie));
    int status = shm_make_address(net);
    if (status != 0)
        return status;
    socklen_t length = socket_address(net->name, &address);
    net->listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (net->listener.fd < 0) {
        status = -errno;
        goto fail;
    }
    net->listener.ready = listener_ready;
    if (bind(net->listener.fd, (struct sockaddr *)&address, length) != 0 ||
        listen(net->listener.fd, SOMAXCONN) != 0)
        status = -errno;
    else
        status = loop_watch_add(net->base.loop, &net->listener, EPOLLIN);
    if (status == 0)
        return 0;
    close(net->listener.fd);

fail:
    free(net->address);
    return status;
}

void shm_socket_unlisten(struct shm_net *net)
{
    loop_watch_remove(net->base.loop, &net->listener);
    close(net->listener.fd);
    free(net->address);
}

int shm_socket_connect(struct shm_net *net, const uint8_t name[SHM_NAME_BYTES],
                       const uint8_t cookie[SHM_NAME_BYTES], int segment)
{
    struct sockaddr_un address;
    socklen_t length = socket_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct hello hello = {.magic = HELLO_MAGIC};
    memcpy(hello.cookie, cookie, sizeof(hello.cookie));
    memcpy(hello.sender, net->name, sizeof(hello.sender));
    int status = connect(fd, (struct sockaddr *)&address, length) != 0 ? -errno : 0;
    if (status == -ECONNREFUSED)
        status = -ECONNRESET; /* its process is gone */
    if (status == 0)
        status = send_packet(fd, &hello, sizeof(hello), segment);
    if (status == 0)
        return fd;
    close(fd);
    return status;
}
