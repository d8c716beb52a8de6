/* Connections of the shm transport: the sender's side.
 *
 * A message is written straight into the ring of its connection: the record's lines, a zero where the next
 * mark will be, and last the mark, which makes it visible. A small one costs the lines that it has, and no
 * system call, unless the receiver is armed. What its sender learns only when it has left goes into a word
 * beside the ring, the postscript.
 *
 * Bulk beyond SHM_INLINE_MAX, or if so flagged, stays where it is. The record says where that is - in a
 * region which the receiver has mapped, or in our address space - and names a slot of the segment, in which
 * the receiver tells when it needs the memory no longer. A receiver that may not read our memory asks for the
 * bulk: it then goes through the ring in fragments, between other messages.
 *
 * What finds no room, or no slot, joins the connection's queue and goes as soon as there is some. Nothing
 * waits for the peer but its own connection; closing it completes what is left, at once. */
#include "net/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define RING_MASK (SHM_RING_BYTES - 1)
#define PAGE 4096u /* at most a page of memory: each is touched */

static struct shm_net *net_of(const struct shm_outbound *outbound)
{
    return container_of(outbound->base.net, struct shm_net, base);
}

static struct shm_outbound *outbound_of(struct net_connection *connection)
{
    return container_of(connection, struct shm_outbound, base);
}

/* ---- the ring ---- */

static _Atomic uint32_t *mark_at(const struct shm_outbound *outbound, uint64_t position)
{
    return (_Atomic uint32_t *)(void *)&outbound->segment->ring[position & RING_MASK];
}

/* How far the receiver has read. One that cannot be believed has read nothing more, and gets nothing more. */
static uint64_t consumed_now(const struct shm_outbound *outbound)
{
    uint64_t consumed = atomic_load_explicit(&outbound->segment->consumed, memory_order_acquire);
    return consumed < outbound->consumed || consumed > outbound->position ? outbound->consumed : consumed;
}

/* How much of the ring's end a record of so many bytes leaves unused. */
static inline uint32_t skipped(const struct shm_outbound *outbound, uint32_t bytes)
{
    uint32_t left = SHM_RING_BYTES - (uint32_t)(outbound->position & RING_MASK);
    return left < bytes ? left : 0;
}

/* Finds room for a record of so many bytes and the mark behind it. Returns whether there is some, and how
 * many bytes of the ring have to be skipped. */
static bool find_room(struct shm_outbound *outbound, uint32_t bytes, uint32_t *skip)
{
    *skip = skipped(outbound, bytes);
    uint64_t end = outbound->position + *skip + bytes + SHM_LINE;
    if (__builtin_expect(end - outbound->consumed <= SHM_RING_BYTES, 1))
        return true;
    outbound->consumed = consumed_now(outbound);
    return end - outbound->consumed <= SHM_RING_BYTES;
}

static uint8_t *record_begin(const struct shm_outbound *outbound, uint32_t skip)
{
    return &outbound->segment->ring[(outbound->position + skip) & RING_MASK];
}

static __attribute__((noinline)) void wake_receiver(struct shm_outbound *outbound)
{
    if (atomic_exchange(&outbound->segment->armed, SHM_POLLING) == SHM_ARMED)
        shm_socket_wake(outbound->socket.fd);
}

/* Makes the record visible. The fence orders the mark before the look at `armed`, as the receiver's orders
 * the opposite: one of the two sees what the other wrote. */
static inline void publish(struct shm_outbound *outbound, uint32_t mark, uint32_t bytes, uint32_t skip)
{
    uint64_t at = outbound->position + skip;
    uint64_t next = at + bytes;
    atomic_store_explicit(mark_at(outbound, next), 0, memory_order_relaxed);
    atomic_store_explicit(mark_at(outbound, at), mark, memory_order_release);
    if (__builtin_expect(skip != 0, 0))
        atomic_store_explicit(mark_at(outbound, outbound->position), shm_mark(SHM_SKIP, 0, 0),
                              memory_order_release);
    outbound->position = next;
    atomic_thread_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&outbound->segment->armed, memory_order_relaxed) != SHM_POLLING,
                         0))
        wake_receiver(outbound);
    /* The lines of the next record come while this one travels; its first is the receiver's to look at. */
    __builtin_prefetch(mark_at(outbound, next + SHM_LINE), 1);
    __builtin_prefetch(mark_at(outbound, next + 2 * SHM_LINE), 1);
}

static void copy_vector(uint8_t *to, const struct iovec *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (from[i].iov_len != 0)
            memcpy(to, from[i].iov_base, from[i].iov_len);
        to += from[i].iov_len;
    }
}

/* As copy_vector, of the bytes from `offset` on. */
static void copy_vector_part(uint8_t *to, const struct iovec *from, uint64_t offset, uint32_t bytes)
{
    while (offset >= from->iov_len)
        offset -= from++->iov_len;
    while (bytes > 0) {
        size_t part = from->iov_len - (size_t)offset;
        if (part > bytes)
            part = bytes;
        if (part != 0)
            memcpy(to, (const uint8_t *)from->iov_base + offset, part);
        to += part;
        bytes -= (uint32_t)part;
        offset = 0;
        from++;
    }
}

static bool write_message(struct shm_outbound *outbound, const void *header, uint32_t header_length,
                          const struct iovec *bulk, uint32_t bulk_count, uint32_t length)
{
    uint32_t bytes = shm_record_bytes(SHM_MESSAGE, header_length, length);
    uint32_t skip;
    if (!find_room(outbound, bytes, &skip))
        return false;
    uint8_t *record = record_begin(outbound, skip);
    memcpy(record + SHM_MARK_BYTES, header, header_length);
    if (length != 0)
        copy_vector(record + shm_body(SHM_MESSAGE, header_length), bulk, bulk_count);
    publish(outbound, shm_mark(SHM_MESSAGE, header_length, length), bytes, skip);
    return true;
}

/* ---- bulk that stays where it is ---- */

/* The region of ours in which these bytes lie; NULL: none. */
static const struct shm_region *region_of(const struct shm_net *net, const struct iovec *bytes)
{
    const uint8_t *begin = bytes->iov_base;
    list_for_each (node, &net->regions) {
        const struct shm_region *region = container_of(node, struct shm_region, link);
        if (begin >= region->memory && begin + bytes->iov_len <= region->memory + region->length)
            return region;
    }
    return NULL;
}

/* The same if it is shared, and known to the peer from now on. */
static const struct shm_region *shared_region(struct shm_outbound *outbound, const struct iovec *bytes)
{
    const struct shm_region *region = region_of(net_of(outbound), bytes);
    if (region == NULL || region->id == 0)
        return NULL;
    uint32_t bit = 1u << (region->id - 1);
    if ((outbound->announced & bit) == 0) {
        if (shm_socket_send_region(outbound->socket.fd, region) != 0)
            return NULL;
        outbound->announced |= bit;
    }
    return region;
}

/* Memory of our caller's may be a file's, and its pages not there. Whoever reads it waits until they are:
 * that must not be the receiver, who may be the one who has to bring them. */
static void touch_pages(const struct shm_net *net, const struct iovec *bulk, uint32_t bulk_count)
{
    for (uint32_t i = 0; i < bulk_count; i++) {
        const volatile uint8_t *bytes = bulk[i].iov_base;
        if (bulk[i].iov_len == 0 || region_of(net, &bulk[i]) != NULL)
            continue;
        (void)bytes[0];
        for (size_t at = PAGE - ((uintptr_t)bytes & (PAGE - 1)); at < bulk[i].iov_len; at += PAGE)
            (void)bytes[at];
    }
}

static uint32_t describe(struct shm_outbound *outbound, const struct iovec *bulk, uint32_t bulk_count,
                         struct shm_piece *pieces)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < bulk_count; i++) {
        if (bulk[i].iov_len == 0)
            continue;
        if (count == SHM_PIECES_MAX)
            return 0; /* too many to name: it is asked for */
        const struct shm_region *region = shared_region(outbound, &bulk[i]);
        uintptr_t address = (uintptr_t)bulk[i].iov_base;
        pieces[count++] = (struct shm_piece){
            .address = region == NULL ? address : address - (uintptr_t)region->memory,
            .length = bulk[i].iov_len,
            .region = region == NULL ? 0 : region->id,
        };
    }
    return count;
}

static struct shm_send *send_take(struct shm_net *net)
{
    struct list *node = list_pop_front(&net->sends_free);
    if (node != NULL)
        return container_of(node, struct shm_send, link);
    struct shm_send *made = malloc(sizeof(*made));
    if (made != NULL)
        list_init(&made->link);
    return made;
}

static void send_finish(struct shm_net *net, struct shm_send *send, int status)
{
    struct completion *sent = send->sent;
    list_remove(&send->link);
    list_push_front(&net->sends_free, &send->link);
    completion_fire(sent, status);
}

static void wait_for_peer(struct shm_outbound *outbound)
{
    if (list_empty(&outbound->waiting))
        list_push_back(&net_of(outbound)->waiting, &outbound->waiting);
}

/* Announces the bulk of send, which is in no list. Returns 0, -EAGAIN (no room, or no slot) or -ENOMEM. */
static int write_bulk(struct shm_outbound *outbound, struct shm_send *send)
{
    if (outbound->slots == NULL) {
        outbound->slots = calloc(SHM_SLOTS, sizeof(outbound->slots[0]));
        if (outbound->slots == NULL)
            return -ENOMEM;
    }
    if (outbound->used == UINT64_MAX)
        return -EAGAIN;
    struct {
        struct shm_transfer transfer;
        struct shm_piece pieces[SHM_PIECES_MAX];
    } body;
    uint32_t slot = (uint32_t)__builtin_ctzll(~outbound->used);
    uint32_t count = describe(outbound, send->bulk, send->bulk_count, body.pieces);
    uint32_t bytes = shm_record_bytes(SHM_BULK, send->header_length, count);
    uint32_t skip;
    if (!find_room(outbound, bytes, &skip))
        return -EAGAIN;
    body.transfer = (struct shm_transfer){.length = send->length, .slot = slot};
    uint8_t *record = record_begin(outbound, skip);
    memcpy(record + SHM_MARK_BYTES, send->header, send->header_length);
    memcpy(record + shm_body(SHM_BULK, send->header_length), &body,
           sizeof(body.transfer) + count * sizeof(body.pieces[0]));
    send->slot = slot;
    send->pushed = 0;
    outbound->used |= UINT64_C(1) << slot;
    outbound->slots[slot] = send;
    atomic_store_explicit(&outbound->segment->slots[slot], SHM_SLOT_BUSY, memory_order_relaxed);
    publish(outbound, shm_mark(SHM_BULK, send->header_length, count), bytes, skip);
    wait_for_peer(outbound);
    loop_expect(net_of(outbound)->base.loop, send->length / SHM_PATIENCE_PER_BYTE_DIVISOR);
    return 0;
}

/* ---- sending ---- */

static bool goes_inline(uint64_t length, unsigned flags)
{
    return length <= SHM_INLINE_MAX && ((flags & NET_SEND_RENDEZVOUS) == 0 || length == 0);
}

/* What the ring has no room for now, and all bulk that is not sent inline. */
static int send_later(struct shm_outbound *outbound, const struct shm_send *what)
{
    struct shm_net *net = net_of(outbound);
    struct shm_send *send = send_take(net);
    if (send == NULL)
        return -ENOMEM;
    *send = *what;
    list_init(&send->link);
    if (!goes_inline(send->length, send->flags))
        touch_pages(net, send->bulk, send->bulk_count);
    int status = -EAGAIN;
    if (list_empty(&outbound->queue) && !goes_inline(send->length, send->flags))
        status = write_bulk(outbound, send);
    if (status == -EAGAIN) {
        list_push_back(&outbound->queue, &send->link);
        wait_for_peer(outbound);
    } else if (status != 0) {
        list_push_front(&net->sends_free, &send->link);
        return status;
    }
    return -EINPROGRESS;
}

int shm_send(struct net_connection *connection, const void *header, uint32_t header_length,
             const struct iovec *bulk, uint32_t bulk_count, unsigned flags, struct completion *sent)
{
    struct shm_outbound *outbound = outbound_of(connection);
    if (__builtin_expect(header_length - 1 >= NET_HEADER_MAX || outbound->failure != 0, 0))
        return outbound->failure != 0 ? outbound->failure : -EINVAL;
    uint64_t length = 0;
    for (uint32_t i = 0; i < bulk_count; i++)
        length += bulk[i].iov_len;
    if (goes_inline(length, flags) && list_empty(&outbound->queue) &&
        __builtin_expect(write_message(outbound, header, header_length, bulk, bulk_count, (uint32_t)length),
                         1))
        return 0;
    return send_later(outbound, &(struct shm_send){.header = header,
                                                   .header_length = header_length,
                                                   .bulk = bulk,
                                                   .bulk_count = bulk_count,
                                                   .length = length,
                                                   .sent = sent,
                                                   .flags = flags});
}

void *shm_room(struct net_connection *connection, uint32_t header_length)
{
    struct shm_outbound *outbound = outbound_of(connection);
    uint32_t skip;
    if (__builtin_expect(header_length - 1 >= NET_HEADER_MAX || outbound->failure != 0 ||
                             !list_empty(&outbound->queue) ||
                             !find_room(outbound, shm_record_bytes(SHM_MESSAGE, header_length, 0), &skip),
                         0))
        return NULL;
    return net_of(outbound)->made;
}

/* The receiver looks at the lines all the time and takes them back from whoever writes slowly: they are
 * written at one go. */
_Atomic uint64_t *shm_post(struct net_connection *connection, uint32_t header_length)
{
    struct shm_outbound *outbound = outbound_of(connection);
    uint32_t bytes = shm_record_bytes(SHM_MESSAGE, header_length, 0);
    uint32_t skip = skipped(outbound, bytes);
    uint64_t at = (outbound->position + skip) & RING_MASK;
    memcpy(&outbound->segment->ring[at + SHM_MARK_BYTES], net_of(outbound)->made, header_length);
    publish(outbound, shm_mark(SHM_MESSAGE, header_length, 0), bytes, skip);
    return &outbound->segment->postscripts[at / SHM_LINE];
}

/* ---- what waits for the peer ---- */

static int drain_queue(struct shm_outbound *outbound)
{
    int work = 0;
    while (!list_empty(&outbound->queue)) {
        struct shm_send *send = container_of(outbound->queue.next, struct shm_send, link);
        if (!goes_inline(send->length, send->flags)) {
            list_remove(&send->link);
            int status = write_bulk(outbound, send);
            if (status == -EAGAIN) {
                list_push_front(&outbound->queue, &send->link);
                break;
            }
            if (status != 0)
                send_finish(net_of(outbound), send, status);
        } else if (write_message(outbound, send->header, send->header_length, send->bulk, send->bulk_count,
                                 (uint32_t)send->length)) {
            send_finish(net_of(outbound), send, 0);
        } else {
            break;
        }
        work++;
    }
    return work;
}

/* Returns whether the ring was full. */
static bool push_fragment(struct shm_outbound *outbound, struct shm_send *send)
{
    uint64_t left = send->length - send->pushed;
    uint32_t part = left < SHM_INLINE_MAX ? (uint32_t)left : SHM_INLINE_MAX;
    uint32_t bytes = shm_record_bytes(SHM_FRAGMENT, sizeof(struct shm_fragment), part);
    uint32_t skip;
    if (!find_room(outbound, bytes, &skip))
        return true;
    const struct shm_fragment fragment = {.slot = send->slot, .offset = send->pushed};
    uint8_t *record = record_begin(outbound, skip);
    memcpy(record + SHM_MARK_BYTES, &fragment, sizeof(fragment));
    copy_vector_part(record + shm_body(SHM_FRAGMENT, sizeof(fragment)), send->bulk, send->pushed, part);
    publish(outbound, shm_mark(SHM_FRAGMENT, sizeof(fragment), part), bytes, skip);
    send->pushed += part;
    if (send->pushed == send->length)
        list_remove(&send->link);
    return false;
}

static int push_fragments(struct shm_outbound *outbound)
{
    int work = 0;
    while (!list_empty(&outbound->pushing) &&
           !push_fragment(outbound, container_of(outbound->pushing.next, struct shm_send, link)))
        work++;
    return work;
}

/* What the receiver says about a transfer under way. The word is its to write: one that makes no sense, or no
 * sense any more, is as none. */
static enum shm_slot slot_said(const struct shm_outbound *outbound, uint32_t slot)
{
    uint32_t state = atomic_load_explicit(&outbound->segment->slots[slot], memory_order_acquire);
    const struct shm_send *send = outbound->slots[slot];
    if (state == SHM_SLOT_DONE)
        return SHM_SLOT_DONE;
    return state == SHM_SLOT_SEND && send->pushed == 0 && list_empty(&send->link) ? SHM_SLOT_SEND
                                                                                  : SHM_SLOT_BUSY;
}

static int look_at_slots(struct shm_outbound *outbound)
{
    int work = 0;
    for (uint64_t left = outbound->used; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(left);
        enum shm_slot said = slot_said(outbound, slot);
        struct shm_send *send = outbound->slots[slot];
        if (said == SHM_SLOT_DONE) {
            outbound->used &= ~(UINT64_C(1) << slot);
            outbound->slots[slot] = NULL;
            send_finish(net_of(outbound), send, 0);
            work++;
        } else if (said == SHM_SLOT_SEND) {
            atomic_store_explicit(&outbound->segment->slots[slot], SHM_SLOT_BUSY, memory_order_relaxed);
            list_push_back(&outbound->pushing, &send->link);
            work++;
        }
    }
    return work;
}

static bool waits(const struct shm_outbound *outbound)
{
    return outbound->used != 0 || !list_empty(&outbound->queue);
}

int shm_send_progress(struct shm_net *net)
{
    int work = 0;
    list_for_each_safe (node, &net->waiting) {
        struct shm_outbound *outbound = container_of(node, struct shm_outbound, waiting);
        work += look_at_slots(outbound);
        work += push_fragments(outbound);
        work += drain_queue(outbound);
        if (!waits(outbound))
            list_remove(&outbound->waiting);
    }
    return work;
}

bool shm_send_arm(struct shm_net *net, bool say)
{
    list_for_each (node, &net->waiting) {
        struct shm_outbound *outbound = container_of(node, struct shm_outbound, waiting);
        struct shm_segment *segment = outbound->segment;
        if (say) {
            atomic_store_explicit(&segment->waiting, 1, memory_order_relaxed);
            continue;
        }
        if (consumed_now(outbound) != outbound->consumed &&
            (!list_empty(&outbound->queue) || !list_empty(&outbound->pushing)))
            return true;
        for (uint64_t left = outbound->used; left != 0; left &= left - 1)
            if (slot_said(outbound, (uint32_t)__builtin_ctzll(left)) != SHM_SLOT_BUSY)
                return true;
    }
    return false;
}

/* ---- opening and closing ---- */

/* Completes everything that has not finished, for whoever waits. */
static void abandon_sends(struct shm_outbound *outbound)
{
    struct shm_net *net = net_of(outbound);
    while (outbound->used != 0) {
        uint32_t slot = (uint32_t)__builtin_ctzll(outbound->used);
        outbound->used &= outbound->used - 1;
        send_finish(net, outbound->slots[slot], -ECONNRESET);
    }
    while (!list_empty(&outbound->queue))
        send_finish(net, container_of(outbound->queue.next, struct shm_send, link), -ECONNRESET);
    list_remove(&outbound->waiting);
}

/* Bytes wake us, that is all they do; an end means that the receiver went or does not want us any more. */
static void socket_ready(struct watch *watch, uint32_t events)
{
    struct shm_outbound *outbound = container_of(watch, struct shm_outbound, socket);
    char byte;
    (void)events;
    ssize_t got = read(watch->fd, &byte, sizeof(byte));
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    log_debug("shm: the peer closed a connection");
    outbound->failure = -ECONNRESET;
    loop_watch_remove(outbound->base.net->loop, watch);
    watch->ready = NULL;
    atomic_store(&outbound->segment->closed, 1);
    abandon_sends(outbound);
}

static int segment_create(struct shm_segment **segment)
{
    int fd = memfd_create("benchfs connection", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, sizeof(struct shm_segment)) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        goto fail;
    *segment = mmap(NULL, sizeof(struct shm_segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*segment == MAP_FAILED)
        goto fail;
    (*segment)->magic = SHM_SEGMENT_MAGIC;
    atomic_store(&(*segment)->armed, SHM_ARMED);
    return fd;

fail:;
    int error = -errno;
    close(fd);
    return error;
}

static int connect_far(struct shm_net *net, const void *address, size_t length,
                       struct net_connection **connection)
{
    const void *far;
    size_t far_length;
    int status = shm_address_far(address, length, &far, &far_length);
    if (status == 0)
        status = shm_far_open(net);
    return status == 0 ? net_connect(net->far, far, far_length, connection) : status;
}

int shm_connect(struct net *base, const void *address, size_t length, struct net_connection **connection)
{
    struct shm_net *net = container_of(base, struct shm_net, base);
    uint8_t name[SHM_NAME_BYTES], cookie[SHM_NAME_BYTES];
    int status = shm_address_read(address, length, name, cookie);
    if (status == -EHOSTUNREACH)
        return connect_far(net, address, length, connection);
    if (status != 0)
        return status;
    struct shm_outbound *outbound = calloc(1, sizeof(*outbound));
    if (outbound == NULL)
        return -ENOMEM;
    memcpy(outbound->peer, name, sizeof(name));
    int fd = segment_create(&outbound->segment);
    if (fd < 0) {
        status = fd;
        goto fail;
    }
    outbound->socket.fd = shm_socket_connect(net, outbound->peer, cookie, fd);
    close(fd);
    if (outbound->socket.fd < 0) {
        status = outbound->socket.fd;
        goto fail_segment;
    }
    outbound->socket.ready = socket_ready;
    status = loop_watch_add(base->loop, &outbound->socket, EPOLLIN | EPOLLRDHUP);
    if (status != 0)
        goto fail_socket;
    outbound->base.net = base;
    list_init(&outbound->queue);
    list_init(&outbound->pushing);
    list_init(&outbound->waiting);
    list_push_back(&net->outbounds, &outbound->link);
    *connection = &outbound->base;
    return 0;

fail_socket:
    close(outbound->socket.fd);
fail_segment:
    munmap(outbound->segment, sizeof(*outbound->segment));
fail:
    free(outbound);
    return status;
}

uint32_t shm_peer_process(struct net_connection *connection)
{
    struct ucred peer = {0};
    socklen_t length = sizeof(peer);
    int fd = outbound_of(connection)->socket.fd;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid > 0 ? (uint32_t)peer.pid
                                                                                        : 0;
}

void shm_close(struct net_connection *connection)
{
    struct shm_outbound *outbound = outbound_of(connection);
    struct shm_net *net = net_of(outbound);
    outbound->failure = -ECONNRESET;
    list_remove(&outbound->link);
    if (outbound->socket.ready != NULL)
        loop_watch_remove(net->base.loop, &outbound->socket);
    /* First the receiver can see it, then the memory is its owner's again. */
    atomic_store(&outbound->segment->closed, 1);
    close(outbound->socket.fd);
    shm_inbound_abandon(net, outbound->peer);
    abandon_sends(outbound);
    munmap(outbound->segment, sizeof(*outbound->segment));
    free(outbound->slots);
    free(outbound);
}

void shm_send_free_all(struct shm_net *net)
{
    while (!list_empty(&net->outbounds))
        shm_close(&container_of(net->outbounds.next, struct shm_outbound, link)->base);
    for (struct list *node; (node = list_pop_front(&net->sends_free)) != NULL;)
        free(container_of(node, struct shm_send, link));
}
