/* What peers write: the receiver's side of the shm transport.
 *
 * Rings that were active lately are hot: every turn looks at the mark of each one's next record, which is in
 * this processor's cache until its sender writes it. The others are cold, of which every turn looks at a few
 * in rotation, so that a thousand silent peers cost next to nothing. A cold ring is armed: its sender wakes
 * us with a byte on the socket, which makes the ring hot. Before we sleep all rings become cold.
 *
 * A header is copied before anybody looks at it, since its sender could still change it. Bulk in the record
 * is lent to the callback where it lies; it is nobody's business but the sender's what is in it.
 *
 * Other bulk is fetched when it is asked for: copied from a region of the sender's that we have mapped, or by
 * process_vm_readv from its memory, at most SLICE of it in one turn. Afterwards we make sure that the sender
 * is still there and has not given the memory back meanwhile: otherwise what was copied may be anything, and
 * the fetch has failed. Where the kernel forbids it we ask the sender for fragments through the ring.
 *
 * Whoever writes what cannot be loses the connection, and nobody else anything. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "net/shm.h"

#define RING_MASK (SHM_RING_BYTES - 1)
#define RECORDS_PER_TURN 16u /* of one ring: the others have their turn too */
#define COLD_PER_TURN 4u
#define HOT_FREE 8u /* so many rings stay hot however silent they are */
#define TURNS_PER_COOLING 4096u
#define SLICE (UINT64_C(1) << 20)
#define VECTOR_MAX 16u
#define LOOKS_PER_TURN 8u

/* ---- which rings are looked at ---- */

static void place(struct shm_inbound *inbound, bool hot)
{
    struct shm_net *net = inbound->net;
    inbound->hot = hot;
    inbound->index = hot ? net->hot_count++ : net->cold_count++;
    (hot ? net->hot : net->cold)[inbound->index] = inbound;
}

static void displace(struct shm_inbound *inbound)
{
    struct shm_net *net = inbound->net;
    struct shm_inbound **table = inbound->hot ? net->hot : net->cold;
    uint32_t last = inbound->hot ? --net->hot_count : --net->cold_count;
    table[inbound->index] = table[last];
    table[inbound->index]->index = inbound->index;
}

static uint32_t mark_of(const struct shm_inbound *inbound)
{
    return atomic_load_explicit(
        (_Atomic uint32_t *)(void *)&inbound->segment->ring[inbound->position & RING_MASK],
        memory_order_acquire);
}

/* Most messages have two lines. The second is kept here, as the look keeps the first, so that when the sender
 * writes both they come together and not one after the other. */
static inline void want_second_line(const struct shm_inbound *inbound)
{
    __builtin_prefetch(&inbound->segment->ring[(inbound->position + SHM_LINE) & RING_MASK]);
}

void shm_inbound_heat(struct shm_inbound *inbound)
{
    if (inbound->segment == NULL || inbound->hot)
        return;
    displace(inbound);
    place(inbound, true);
    atomic_store_explicit(&inbound->segment->armed, SHM_POLLING, memory_order_relaxed);
}

/* A sender that wrote before it could see the flag has sent no byte: such a ring stays hot. */
static void cool(struct shm_inbound *inbound)
{
    atomic_store_explicit(&inbound->segment->armed, SHM_ARMED, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (mark_of(inbound) != 0) {
        atomic_store_explicit(&inbound->segment->armed, SHM_POLLING, memory_order_relaxed);
        return;
    }
    displace(inbound);
    place(inbound, false);
}

static void cool_silent_ones(struct shm_net *net)
{
    for (uint32_t i = net->hot_count; i-- > 0 && net->hot_count > HOT_FREE;) {
        struct shm_inbound *inbound = net->hot[i];
        if (inbound->messages == inbound->messages_before)
            cool(inbound);
        else
            inbound->messages_before = inbound->messages;
    }
}

/* ---- telling the sender ---- */

static void tell(struct shm_inbound *inbound)
{
    struct shm_segment *segment = inbound->segment;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&segment->waiting, memory_order_relaxed) != 0 &&
        atomic_exchange(&segment->waiting, 0) != 0)
        shm_socket_wake(inbound->socket.fd);
}

static void publish_position(struct shm_inbound *inbound)
{
    inbound->published = inbound->position;
    atomic_store_explicit(&inbound->segment->consumed, inbound->position, memory_order_release);
    tell(inbound);
}

static void slot_set(struct shm_inbound *inbound, uint32_t slot, enum shm_slot state)
{
    atomic_store_explicit(&inbound->segment->slots[slot], (uint32_t)state, memory_order_release);
    tell(inbound);
}

/* ---- fetching bulk ---- */

static struct shm_fetch *fetch_take(struct shm_net *net)
{
    struct list *node = list_pop_front(&net->fetches_free);
    struct shm_fetch *fetch =
        node != NULL ? container_of(node, struct shm_fetch, link) : malloc(sizeof(*fetch));
    if (fetch == NULL)
        return NULL;
    list_init(&fetch->link);
    fetch->net = net;
    fetch->piece = 0;
    fetch->piece_offset = 0;
    fetch->into_offset = 0;
    fetch->landed = 0;
    fetch->received = NULL;
    fetch->read_process = false;
    fetch->asked = false;
    fetch->started = false;
    fetch->held = false;
    return fetch;
}

/* The message's holder is done with it. */
static void fetch_free(struct shm_fetch *fetch)
{
    list_remove(&fetch->link);
    list_push_front(&fetch->net->fetches_free, &fetch->link);
}

/* The connection has nothing more to do with it; the sender's memory is not touched again. */
static void fetch_detach(struct shm_fetch *fetch)
{
    struct shm_inbound *inbound = fetch->inbound;
    fetch->inbound = NULL;
    list_remove(&fetch->link);
    inbound->slots[fetch->transfer.slot] = NULL;
    slot_set(inbound, fetch->transfer.slot, SHM_SLOT_DONE);
}

static int fetch_finish(struct shm_fetch *fetch, int status)
{
    struct completion *received = fetch->received;
    fetch->received = NULL;
    if (fetch->inbound != NULL)
        fetch_detach(fetch);
    if (!fetch->held)
        fetch_free(fetch);
    if (received != NULL)
        completion_fire(received, status);
    return status;
}

/* Whether what was copied is what the sender meant: it holds on to its memory until it closes. */
static bool fetch_trusted(const struct shm_fetch *fetch)
{
    const struct shm_inbound *inbound = fetch->inbound;
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&inbound->segment->closed, memory_order_acquire) != 0)
        return false;
    /* A process that died may have had a successor of the same number. */
    return !fetch->read_process || shm_socket_open(inbound->socket.fd);
}

static void into_advance(struct shm_fetch *fetch, uint64_t bytes)
{
    fetch->landed += bytes;
    fetch->into_offset += bytes;
    while (fetch->into_count > 0 && fetch->into_offset >= fetch->into->iov_len) {
        fetch->into_offset -= fetch->into->iov_len;
        fetch->into++;
        fetch->into_count--;
    }
}

static void land(struct shm_fetch *fetch, const uint8_t *from, uint64_t bytes)
{
    while (bytes > 0) {
        uint64_t part = fetch->into->iov_len - fetch->into_offset;
        if (part > bytes)
            part = bytes;
        if (part != 0)
            memcpy((uint8_t *)fetch->into->iov_base + fetch->into_offset, from, part);
        into_advance(fetch, part);
        from += part;
        bytes -= part;
    }
}

/* Copies up to `bytes` from the sender's memory. Returns how many, or -errno. */
static ssize_t read_process(struct shm_fetch *fetch, uint64_t address, uint64_t bytes)
{
    struct iovec local[VECTOR_MAX];
    uint64_t total = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; count < VECTOR_MAX && i < fetch->into_count && total < bytes; i++) {
        uint64_t offset = i == 0 ? fetch->into_offset : 0;
        uint64_t part = fetch->into[i].iov_len - offset;
        if (part > bytes - total)
            part = bytes - total;
        if (part == 0)
            continue;
        local[count++] = (struct iovec){(uint8_t *)fetch->into[i].iov_base + offset, part};
        total += part;
    }
    const struct iovec remote = {(void *)(uintptr_t)address, total};
    ssize_t got = process_vm_readv(fetch->inbound->pid, local, count, &remote, 1, 0);
    if (got < 0)
        return -errno;
    if (got == 0)
        return -EFAULT;
    into_advance(fetch, (uint64_t)got);
    return got;
}

/* Copies up to `budget` bytes. Returns 0 when all have landed, -EINPROGRESS, or -errno. */
static int fetch_copy(struct shm_fetch *fetch, uint64_t budget)
{
    while (fetch->landed < fetch->transfer.length) {
        if (budget == 0)
            return -EINPROGRESS;
        const struct shm_piece *piece = &fetch->pieces[fetch->piece];
        uint64_t part = piece->length - fetch->piece_offset;
        if (part > budget)
            part = budget;
        if (piece->region != 0) {
            land(fetch,
                 fetch->inbound->mappings[piece->region - 1].memory + piece->address + fetch->piece_offset,
                 part);
        } else if (part != 0) {
            ssize_t got = read_process(fetch, piece->address + fetch->piece_offset, part);
            if (got < 0)
                return (int)got;
            fetch->read_process = true;
            part = (uint64_t)got;
        }
        budget -= part;
        fetch->piece_offset += part;
        if (fetch->piece_offset == piece->length) {
            fetch->piece++;
            fetch->piece_offset = 0;
        }
    }
    return fetch_trusted(fetch) ? 0 : -ECONNRESET;
}

static bool is_forbidden(int status)
{
    return status == -EPERM || status == -ENOSYS || status == -EACCES;
}

static int fetch_ask(struct shm_fetch *fetch)
{
    fetch->asked = true;
    slot_set(fetch->inbound, fetch->transfer.slot, SHM_SLOT_SEND);
    return -EINPROGRESS;
}

static bool is_readable(const struct shm_fetch *fetch)
{
    if (fetch->piece_count == 0)
        return false;
    const struct shm_inbound *inbound = fetch->inbound;
    if (!inbound->without_fetch && !fetch->net->options.without_fetch && inbound->pid != 0)
        return true;
    for (uint32_t i = 0; i < fetch->piece_count; i++)
        if (fetch->pieces[i].region == 0)
            return false;
    return true;
}

static int fetch_start(struct shm_fetch *fetch, const struct iovec *into, uint32_t count,
                       struct completion *received)
{
    if (fetch->started)
        return -EALREADY;
    if (fetch->inbound == NULL)
        return -ECONNRESET;
    fetch->started = true;
    fetch->into = into;
    fetch->into_count = count;
    int status = is_readable(fetch) ? fetch_copy(fetch, SLICE) : -EPERM;
    if (status == -EINPROGRESS) {
        list_push_back(&fetch->net->copying, &fetch->link);
    } else if (is_forbidden(status) && fetch->landed == 0) {
        if (fetch->piece_count != 0)
            fetch->inbound->without_fetch = true;
        status = fetch_ask(fetch);
    }
    if (status == -EINPROGRESS) {
        fetch->received = received;
        return status;
    }
    if (fetch->inbound != NULL)
        fetch_detach(fetch);
    /* Who has sent that much often sends the same again when its memory is filled anew. */
    loop_expect(fetch->net->base.loop, fetch->transfer.length / SHM_PATIENCE_PER_BYTE_DIVISOR);
    return status == 0 || status == -ECONNRESET ? status : -EIO;
}

/* ---- messages, as their owner sees them ---- */

void shm_hold(struct net_message *message)
{
    if (message->held || message->bulk_length == 0)
        return;
    message->held = true;
    if (message->bulk_here) {
        void *copy = malloc(message->bulk_length);
        if (copy != NULL)
            memcpy(copy, message->bulk, message->bulk_length);
        message->bulk = copy;
    } else {
        ((struct shm_fetch *)message->transport)->held = true;
    }
}

int shm_receive(struct net_message *message, const struct iovec *into, uint32_t count,
                struct completion *received)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += into[i].iov_len;
    if (total != message->bulk_length)
        return -EINVAL;
    if (total == 0)
        return 0;
    if (!message->bulk_here)
        return fetch_start(message->transport, into, count, received);
    if (message->bulk == NULL)
        return -ENOMEM;
    const uint8_t *from = message->bulk;
    for (uint32_t i = 0; i < count; i++) {
        if (into[i].iov_len != 0)
            memcpy(into[i].iov_base, from, into[i].iov_len);
        from += into[i].iov_len;
    }
    return 0;
}

void shm_release(struct net_message *message)
{
    if (!message->held)
        return;
    message->held = false;
    if (message->bulk_here) {
        free((void *)(uintptr_t)message->bulk);
        message->bulk = NULL;
        return;
    }
    struct shm_fetch *fetch = message->transport;
    message->transport = NULL;
    fetch->held = false;
    if (fetch->received != NULL)
        return; /* fetch_finish frees it */
    if (fetch->inbound != NULL)
        fetch_detach(fetch);
    fetch_free(fetch);
}

/* ---- records ---- */

/* Copies the header out of the sender's reach. */
static inline const void *take_header(struct shm_net *net, const uint8_t *begin,
                                      const struct shm_record *record)
{
    void *space = record->header_length <= net->base.space ? net->base.header_space : net->scratch + SHM_LINE;
    memcpy(space, begin + SHM_MARK_BYTES, record->header_length);
    return space;
}

static void deliver_bulk(struct shm_inbound *inbound, const void *header, const struct shm_record *record,
                         struct shm_fetch *fetch)
{
    struct shm_net *net = inbound->net;
    struct net_message message = {
        .net = &net->base,
        .header = header,
        .header_length = record->header_length,
        .bulk_length = fetch->transfer.length,
        .looked = inbound->looked,
        .transport = fetch,
        .sender = inbound->sender,
    };
    net->base.receiver(net->base.owner, &message);
    if (!fetch->held && fetch->received == NULL) {
        if (fetch->inbound != NULL)
            fetch_detach(fetch); /* nobody wanted it */
        fetch_free(fetch);
    }
}

static int slots_prepare(struct shm_inbound *inbound)
{
    if (inbound->slots == NULL)
        inbound->slots = calloc(SHM_SLOTS, sizeof(inbound->slots[0]));
    return inbound->slots != NULL ? 0 : -ENOMEM;
}

static int take_bulk(struct shm_inbound *inbound, const uint8_t *begin, const struct shm_record *record)
{
    struct shm_fetch *fetch = slots_prepare(inbound) == 0 ? fetch_take(inbound->net) : NULL;
    if (fetch == NULL) {
        log_error("shm: no memory for a message: its connection is closed");
        return -ENOMEM;
    }
    int status = shm_transfer_read(begin, record, inbound->region_lengths, &fetch->transfer, fetch->pieces);
    if (status == -ENOENT) {
        shm_socket_read(inbound);
        status = shm_transfer_read(begin, record, inbound->region_lengths, &fetch->transfer, fetch->pieces);
    }
    if (status == 0 && inbound->slots[fetch->transfer.slot] != NULL)
        status = -EPROTO;
    if (status != 0) {
        fetch_free(fetch);
        return -EPROTO;
    }
    fetch->piece_count = record->amount;
    fetch->inbound = inbound;
    inbound->slots[fetch->transfer.slot] = fetch;
    deliver_bulk(inbound, take_header(inbound->net, begin, record), record, fetch);
    return 0;
}

static int take_fragment(struct shm_inbound *inbound, const uint8_t *begin, const struct shm_record *record)
{
    struct shm_fragment fragment;
    memcpy(&fragment, begin + SHM_MARK_BYTES, sizeof(fragment));
    struct shm_fetch *fetch =
        fragment.slot < SHM_SLOTS && inbound->slots != NULL ? inbound->slots[fragment.slot] : NULL;
    if (fetch == NULL)
        return 0; /* of a transfer that was given up meanwhile */
    if (!fetch->asked || fragment.offset != fetch->landed ||
        record->amount > fetch->transfer.length - fetch->landed)
        return -EPROTO;
    land(fetch, begin + record->body, record->amount);
    if (fetch->landed == fetch->transfer.length)
        fetch_finish(fetch, 0);
    return 0;
}

static inline void take_message(struct shm_inbound *inbound, uint32_t at, const struct shm_record *record)
{
    const uint8_t *begin = &inbound->segment->ring[at];
    struct shm_net *net = inbound->net;
    struct net_message message = {
        .net = &net->base,
        .header = take_header(net, begin, record),
        .header_length = record->header_length,
        .looked = inbound->looked,
        .sender = inbound->sender,
        .postscript = &inbound->segment->postscripts[at / SHM_LINE],
    };
    if (record->amount != 0) {
        message.bulk_here = true;
        message.bulk = begin + record->body;
        message.bulk_length = record->amount;
    }
    net->base.receiver(net->base.owner, &message);
    if (message.held)
        return; /* whoever held it has its own copy of the struct */
}

static int take_record(struct shm_inbound *inbound, uint32_t mark)
{
    uint32_t at = (uint32_t)(inbound->position & RING_MASK);
    const uint8_t *begin = &inbound->segment->ring[at];
    struct shm_record record;
    int status =
        __builtin_expect(shm_record_small(mark, at, &record), 1) ? 0 : shm_record_read(mark, at, &record);
    if (__builtin_expect(status != 0, 0))
        return status;
    if (__builtin_expect(record.kind == SHM_MESSAGE, 1))
        take_message(inbound, at, &record);
    else if (record.kind == SHM_BULK)
        status = take_bulk(inbound, begin, &record);
    else if (record.kind == SHM_FRAGMENT)
        status = take_fragment(inbound, begin, &record);
    inbound->position += record.bytes;
    return status;
}

static int look(struct shm_inbound *inbound)
{
    int work = 0;
    for (uint32_t i = 0; i < RECORDS_PER_TURN; i++) {
        uint32_t mark = mark_of(inbound);
        if (mark == 0) {
            want_second_line(inbound);
            inbound->looked = *inbound->net->latest;
            break;
        }
        if (take_record(inbound, mark) != 0) {
            log_warning("shm: a peer wrote what is no message: its connection is closed");
            shm_inbound_end(inbound, true);
            return work;
        }
        inbound->messages++;
        work++;
    }
    if (inbound->position - inbound->published >= SHM_PUBLISH_BYTES)
        publish_position(inbound);
    return work;
}

static int look_at_cold_ones(struct shm_net *net)
{
    int work = 0;
    for (uint32_t i = 0; i < COLD_PER_TURN && i < net->cold_count; i++) {
        if (net->cold_next >= net->cold_count)
            net->cold_next = 0;
        struct shm_inbound *inbound = net->cold[net->cold_next++];
        if (inbound->failed)
            continue;
        if (mark_of(inbound) != 0)
            shm_inbound_heat(inbound);
        work += look(inbound);
    }
    return work;
}

static int go_on_copying(struct shm_net *net)
{
    int work = 0;
    list_for_each_safe (node, &net->copying) {
        struct shm_fetch *fetch = container_of(node, struct shm_fetch, link);
        int status = fetch_copy(fetch, SLICE);
        work++;
        if (status != -EINPROGRESS)
            fetch_finish(fetch, status == 0 || status == -ECONNRESET ? status : -EIO);
    }
    return work;
}

/* Those that failed, and those whose sender went and of which everything was read. */
static void free_ended(struct shm_net *net)
{
    list_for_each_safe (node, &net->inbounds) {
        struct shm_inbound *inbound = container_of(node, struct shm_inbound, link);
        if (inbound->failed || (inbound->ended && (inbound->segment == NULL || mark_of(inbound) == 0)))
            shm_inbound_free(inbound);
    }
}

static int look_at_all(struct shm_net *net)
{
    int work = 0;
    for (uint32_t i = 0; i < net->hot_count; i++)
        if (!net->hot[i]->failed)
            work += look(net->hot[i]);
    if (net->cold_count != 0)
        work += look_at_cold_ones(net);
    if (!list_empty(&net->copying))
        work += go_on_copying(net);
    if (net->ending != 0)
        free_ended(net);
    if (++net->polls % TURNS_PER_COOLING == 0 && net->hot_count > HOT_FREE)
        cool_silent_ones(net);
    return work;
}

/* A single peer, which is whom a client that calls waits for, is looked at as fast as can be. */
int shm_receive_progress(struct shm_net *net)
{
    if (net->hot_count == 1) {
        const struct shm_inbound *inbound = net->hot[0];
        for (uint32_t i = 0; i < LOOKS_PER_TURN && mark_of(inbound) == 0; i++)
            want_second_line(inbound);
    }
    return look_at_all(net);
}

bool shm_receive_arm(struct shm_net *net, bool say)
{
    if (!list_empty(&net->copying) || net->ending != 0)
        return true;
    if (say) {
        for (uint32_t i = 0; i < net->hot_count; i++) {
            if (net->hot[i]->published != net->hot[i]->position)
                publish_position(net->hot[i]);
            atomic_store_explicit(&net->hot[i]->segment->armed, SHM_ARMED, memory_order_relaxed);
        }
        return false;
    }
    bool found = false;
    for (uint32_t i = 0; i < net->hot_count; i++)
        found |= mark_of(net->hot[i]) != 0;
    for (uint32_t i = 0; i < net->hot_count && found; i++)
        atomic_store_explicit(&net->hot[i]->segment->armed, SHM_POLLING, memory_order_relaxed);
    while (!found && net->hot_count > 0) {
        struct shm_inbound *inbound = net->hot[net->hot_count - 1];
        displace(inbound);
        place(inbound, false);
    }
    return found;
}

/* ---- beginning and end ---- */

int shm_inbound_attach(struct shm_inbound *inbound, int fd)
{
    struct stat status;
    int error = -EPROTO;
    struct shm_segment *segment = MAP_FAILED;
    int seals = fcntl(fd, F_GET_SEALS);
    if (fstat(fd, &status) == 0 && status.st_size == (off_t)sizeof(struct shm_segment) && seals >= 0 &&
        (seals & F_SEAL_SHRINK) != 0) {
        segment = mmap(NULL, sizeof(*segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (segment == MAP_FAILED)
            error = -errno;
    }
    close(fd);
    if (segment == MAP_FAILED)
        return error;
    if (segment->magic != SHM_SEGMENT_MAGIC) {
        munmap(segment, sizeof(*segment));
        return -EPROTO;
    }
    inbound->segment = segment;
    place(inbound, true);
    atomic_store_explicit(&segment->armed, SHM_POLLING, memory_order_relaxed);
    return 0;
}

int shm_inbound_map(struct shm_inbound *inbound, uint32_t region, uint64_t length, int fd)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    void *memory = MAP_FAILED;
    if (inbound->mappings == NULL)
        inbound->mappings = calloc(SHM_REGIONS_MAX, sizeof(inbound->mappings[0]));
    if (inbound->mappings != NULL && region >= 1 && region <= SHM_REGIONS_MAX &&
        inbound->region_lengths[region - 1] == 0 && length != 0 && fstat(fd, &status) == 0 &&
        status.st_size >= 0 && (uint64_t)status.st_size >= length && seals >= 0 &&
        (seals & F_SEAL_SHRINK) != 0)
        memory = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED)
        return -EPROTO;
    madvise(memory, length, MADV_HUGEPAGE);
    inbound->mappings[region - 1].memory = memory;
    inbound->region_lengths[region - 1] = length;
    return 0;
}

void shm_inbound_known(struct shm_inbound *inbound)
{
    if (!list_empty(&inbound->stranger))
        inbound->net->greeting--;
    list_remove(&inbound->stranger);
}

void shm_inbound_end(struct shm_inbound *inbound, bool failed)
{
    if (!inbound->ended && !inbound->failed)
        inbound->net->ending++;
    inbound->ended = true;
    inbound->failed |= failed;
    shm_inbound_heat(inbound);
}

void shm_inbound_free(struct shm_inbound *inbound)
{
    struct shm_net *net = inbound->net;
    for (uint32_t i = 0; i < SHM_SLOTS && inbound->slots != NULL; i++)
        if (inbound->slots[i] != NULL) {
            struct shm_fetch *fetch = inbound->slots[i];
            if (fetch->started)
                fetch_finish(fetch, -ECONNRESET);
            else
                fetch_detach(fetch);
        }
    if (inbound->ended || inbound->failed)
        net->ending--;
    shm_inbound_known(inbound);
    if (inbound->socket.ready != NULL)
        loop_watch_remove(net->base.loop, &inbound->socket);
    close(inbound->socket.fd);
    for (uint32_t i = 0; i < SHM_REGIONS_MAX; i++)
        if (inbound->region_lengths[i] != 0)
            munmap(inbound->mappings[i].memory, inbound->region_lengths[i]);
    if (inbound->segment != NULL) {
        displace(inbound);
        if (net->base.forget != NULL)
            net->base.forget(net->base.owner);
        munmap(inbound->segment, sizeof(*inbound->segment));
    }
    list_remove(&inbound->link);
    net->inbound_count--;
    free(inbound->mappings);
    free(inbound->slots);
    free(inbound);
}

/* A sender that was stopped would never push what it was asked for. */
void shm_inbound_abandon(struct shm_net *net, const uint8_t peer[SHM_NAME_BYTES])
{
    list_for_each (node, &net->inbounds) {
        struct shm_inbound *inbound = container_of(node, struct shm_inbound, link);
        if (inbound->slots == NULL || memcmp(inbound->peer, peer, SHM_NAME_BYTES) != 0)
            continue;
        for (uint32_t i = 0; i < SHM_SLOTS; i++)
            if (inbound->slots[i] != NULL && inbound->slots[i]->asked)
                fetch_finish(inbound->slots[i], -ECONNRESET);
    }
}

void shm_receive_free_all(struct shm_net *net)
{
    while (!list_empty(&net->inbounds))
        shm_inbound_free(container_of(net->inbounds.next, struct shm_inbound, link));
    for (struct list *node; (node = list_pop_front(&net->fetches_free)) != NULL;)
        free(container_of(node, struct shm_fetch, link));
    free(net->hot);
    free(net->cold);
}
