/* Reading and writing: a transfer is cut into pieces, one per chunk; up to WINDOW of them are under way at
 * once, each moving straight between the caller's memory and the chunk's.
 *
 * Reading. A piece that comes back short met a hole or the end of the file; only the size tells which. The
 * inode's own server sends the size along; for other chunks the client asks for it, once per read, after the
 * short answer. What lies below the size reads as zeros. Nor does another server know where the file ends:
 * the chunks of a growing write are there before the size covers them. What comes from beyond the size that
 * the client knows is therefore believed only once the inode's server has been asked.
 *
 * Small files are read from the board of the inode's server, if it has their bytes (board.c).
 *
 * Writing. Every piece carries the file's generation; after a shrinking truncation by anybody the servers
 * refuse old ones, and the whole write starts over with the new generation. A write of one piece that arrives
 * at the inode's server grows the file there and then. Any other growing write first places all its pieces
 * and then says so with EXTEND, so the size never covers bytes that are not there, and a write that fails in
 * the middle grows the file exactly to what it reports; pieces beyond the failed one are dropped again by a
 * truncation to the size that the file has.
 *
 * Appending asks the inode's server for a range at the end of the file (EXTEND_APPEND) and writes into it.
 *
 * Memory in several ranges (readv, writev) travels as it lies: once the offset is known the ranges are cut at
 * the chunks' boundaries into one array, of which each piece takes its part. */
#include "client/core.h"

/* Storage that takes longer than the one, but less than the other, is worth polling for. */
#define STORAGE_QUICK (5 * NSEC_PER_USEC)
#define STORAGE_SLOW (300 * NSEC_PER_USEC)
#define WINDOW 16u

struct piece {
    struct rpc_call call;
    union {
        struct chunk_read_request read;
        struct chunk_write_request write;
        struct copy_request copy;
    } body;
    struct chunk_reply reply;
    struct iovec one;           /* a piece in one range */
    const struct iovec *vector; /* &one, or a part of transfer.cut */
    uint32_t vector_count;
    uint64_t position; /* in the transfer */
    uint32_t length;
    uint32_t server;
};

struct transfer {
    struct client *client;
    struct client_file *file;
    const struct client_file *source; /* of a copy between files; then there is no memory */
    uint64_t source_offset;
    const struct iovec *vector; /* the caller's memory */
    uint32_t vector_count;
    uint32_t cut_next; /* where in `cut` the next piece begins */
    struct iovec *cut; /* of a vector of several ranges: the same, but none crosses a chunk's boundary */
    uint64_t offset;
    uint64_t length;
    uint32_t generation;
    uint8_t flags; /* CHUNK_* of writes */
    bool write;
    bool whole;       /* a read that fails in the middle fails */
    uint64_t give_up; /* loop_now ns: when a write that keeps being refused ends; 0: never refused so far */
};

static uint64_t least(uint64_t first, uint64_t second)
{
    return first < second ? first : second;
}

static void transfer_init(struct transfer *transfer, struct client *client, struct client_file *file,
                          const struct iovec *vector, uint32_t vector_count, uint64_t length, uint64_t offset,
                          bool write)
{
    transfer->client = client;
    transfer->file = file;
    transfer->source = NULL;
    transfer->vector = vector;
    transfer->vector_count = vector_count;
    transfer->cut = NULL;
    transfer->offset = offset;
    transfer->length = length;
    transfer->flags = 0;
    transfer->write = write;
    transfer->whole = false;
    transfer->give_up = 0;
}

static void transfer_end(struct transfer *transfer)
{
    if (__builtin_expect(transfer->cut != NULL, 0))
        free(transfer->cut);
}

/* ---- memory in several ranges ---- */

/* Cuts the ranges for the transfer's offset, anew for every attempt. */
static int cut_slow(struct transfer *transfer)
{
    uint32_t shift = transfer->file->layout.chunk_shift;
    uint64_t at = transfer->offset, end = at + transfer->length;
    uint64_t most = transfer->vector_count + ((end - 1) >> shift) - (at >> shift);
    struct iovec *cut = realloc(transfer->cut, most * sizeof *cut);
    if (cut == NULL)
        return -ENOMEM;
    transfer->cut = cut;
    transfer->cut_next = 0;
    for (const struct iovec *range = transfer->vector; at < end; range++) {
        uint8_t *bytes = range->iov_base;
        uint64_t left = range->iov_len < end - at ? range->iov_len : end - at;
        while (left > 0) {
            uint64_t room = (UINT64_C(1) << shift) - (at & ((UINT64_C(1) << shift) - 1));
            size_t here = left < room ? left : room;
            *cut++ = (struct iovec){bytes, here};
            bytes += here;
            at += here;
            left -= here;
        }
    }
    return 0;
}

static inline int transfer_cut(struct transfer *transfer)
{
    return __builtin_expect(transfer->vector_count == 1, 1) ? 0 : cut_slow(transfer);
}

/* Gives the piece its memory; pieces are started in order. */
static void piece_memory(struct transfer *transfer, struct piece *piece)
{
    if (__builtin_expect(transfer->vector_count == 1, 1)) {
        piece->one = (struct iovec){(uint8_t *)transfer->vector->iov_base + piece->position, piece->length};
        piece->vector = &piece->one;
        piece->vector_count = 1;
        return;
    }
    piece->vector = &transfer->cut[transfer->cut_next];
    uint32_t left = piece->length;
    for (; left > 0; transfer->cut_next++)
        left -= (uint32_t)transfer->cut[transfer->cut_next].iov_len;
    piece->vector_count = (uint32_t)(&transfer->cut[transfer->cut_next] - piece->vector);
}

/* Fills `length` bytes from position on with bytes, or (NULL) with zeros. */
static void transfer_fill(const struct transfer *transfer, uint64_t position, uint64_t length,
                          const uint8_t *bytes)
{
    for (const struct iovec *range = transfer->vector; length > 0; range++) {
        if (position >= range->iov_len) {
            position -= range->iov_len;
            continue;
        }
        size_t here = range->iov_len - position < length ? range->iov_len - position : length;
        uint8_t *into = (uint8_t *)range->iov_base + position;
        if (bytes == NULL) {
            memset(into, 0, here);
        } else {
            memcpy(into, bytes, here);
            bytes += here;
        }
        position = 0;
        length -= here;
    }
}

/* ---- pieces ---- */

/* Makes a copy of a write that was prepared without bytes. */
static void copy_prepare(const struct transfer *transfer, struct piece *piece)
{
    const struct client_file *source = transfer->source;
    uint64_t from = transfer->source_offset + piece->position;
    uint32_t shift = source->layout.chunk_shift;
    piece->body.copy.from = source->inode;
    piece->body.copy.from_index = from >> shift;
    piece->body.copy.from_offset = (uint32_t)(from & ((UINT64_C(1) << shift) - 1));
    piece->body.copy.from_layout = source->layout;
    piece->call.operation = RPC_COPY_CHUNK;
    piece->call.body_length = sizeof piece->body.copy;
}
static_assert(offsetof(struct copy_request, to) == 0, "a copy begins as the write that it is");

static void piece_send(const struct transfer *transfer, struct piece *piece)
{
    struct client *client = transfer->client;
    const struct client_file *file = transfer->file;
    uint64_t at = transfer->offset + piece->position;
    uint32_t shift = file->layout.chunk_shift;
    uint64_t index = at >> shift;
    uint32_t within = (uint32_t)(at & ((UINT64_C(1) << shift) - 1));
    piece->server = index == 0 ? client_inode_server(client, file->inode)
                               : placement_server(client->map, file->inode, &file->layout, index);
    piece->call = (struct rpc_call){
        .operation = transfer->write ? RPC_WRITE_CHUNK : RPC_READ_CHUNK,
        .body = &piece->body,
        .reply = &piece->reply,
        .reply_size = sizeof piece->reply,
        .namespace_epoch = client->namespace_epoch,
    };
    if (transfer->write) {
        piece->body.write = (struct chunk_write_request){
            .inode = file->inode,
            .index = index,
            .offset = within,
            .length = piece->length,
            .generation = transfer->generation,
            .chunk_shift = file->layout.chunk_shift,
            .flags = (uint8_t)(transfer->flags | (client->caller.uid == 0 ? 0 : CHUNK_CLEAR_IDS)),
        };
        piece->call.body_length = sizeof piece->body.write;
        if (__builtin_expect(transfer->source != NULL, 0)) {
            copy_prepare(transfer, piece);
        } else {
            piece->call.send = piece->vector;
            piece->call.send_count = piece->vector_count;
        }
    } else {
        piece->body.read = (struct chunk_read_request){
            .inode = file->inode,
            .index = index,
            .offset = within,
            .length = piece->length,
            .flags = file->flags & O_NOATIME ? CHUNK_NO_ACCESS_TIME : 0,
        };
        piece->call.body_length = sizeof piece->body.read;
        piece->call.receive = piece->vector;
        piece->call.receive_count = piece->vector_count;
    }
    if (__builtin_expect(client->storage_ns > STORAGE_QUICK && client->storage_ns < STORAGE_SLOW, 0))
        loop_expect(client->loop, 2 * client->storage_ns);
    rpc_start(client->peers[piece->server], &piece->call);
}

/* Where storage is a device, answers come later than an idle loop polls for: see piece_send. */
static void note_storage(struct client *client, uint64_t storage_ns)
{
    client->storage_ns += storage_ns / 4 - client->storage_ns / 4;
}

static void piece_start(struct transfer *transfer, struct piece *piece, uint64_t position, uint64_t end)
{
    uint64_t chunk = UINT64_C(1) << transfer->file->layout.chunk_shift;
    uint64_t room = chunk - ((transfer->offset + position) & (chunk - 1));
    if (__builtin_expect(transfer->source != NULL, 0)) {
        uint64_t source_chunk = UINT64_C(1) << transfer->source->layout.chunk_shift;
        room = least(room, source_chunk - ((transfer->source_offset + position) & (source_chunk - 1)));
    }
    piece->position = position;
    piece->length = (uint32_t)(end - position < room ? end - position : room);
    if (transfer->source == NULL)
        piece_memory(transfer, piece);
    piece_send(transfer, piece);
}

/* Waits for the piece, sending it again as long as the server asks for that. */
static int piece_finish(struct transfer *transfer, struct piece *piece)
{
    struct client *client = transfer->client;
    struct operation operation = {0};
    int status;
    for (;;) {
        status = rpc_finish(&piece->call);
        client_observe(client, &piece->call);
        if (__builtin_expect(status == 0, 1))
            break;
        if (operation.attempts == 0)
            operation_begin(client, &operation);
        if (!operation_again(client, &operation, &status))
            return status;
        piece_send(transfer, piece);
    }
    note_storage(client, piece->call.timing.storage_ns);
    if (piece->reply.length > piece->length ||
        (!transfer->write && piece->call.received != piece->reply.length) ||
        (transfer->write && piece->reply.length != piece->length))
        return -EPROTO;
    if (piece->reply.owner)
        file_learn(transfer->file, piece->reply.generation, piece->reply.size);
    return 0;
}

/* ---- reading ---- */

/* The size of the file once a piece came back short: told by the reply, or asked for. */
static int size_now(struct transfer *transfer, const struct piece *piece, bool *known, uint64_t *size)
{
    if (*known)
        return 0;
    if (piece->reply.owner) {
        *size = piece->reply.size;
    } else {
        struct attributes attributes;
        int status = client_file_attributes(transfer->client, transfer->file->inode, &attributes);
        if (status < 0)
            return status;
        *size = attributes.size;
        file_learn(transfer->file, attributes.generation, attributes.size);
    }
    *known = true;
    return 0;
}

/* A piece that came in full, and from below the end of the file as far as the client knows. */
static bool complete(const struct transfer *transfer, const struct piece *piece)
{
    uint64_t end = transfer->offset + piece->position + piece->length;
    return piece->reply.length == piece->length &&
           (piece->reply.owner || end <= atomic_load_explicit(&transfer->file->size, memory_order_relaxed));
}

/* Reads [0, end) of the transfer; what lies at or beyond the returned length is not defined. A failure behind
 * the first piece ends it there, unless it is to be whole. */
static ssize_t read_pieces(struct transfer *transfer)
{
    struct piece ring[WINDOW];
    unsigned head = 0, tail = 0;
    uint64_t end = transfer->length, started = 0, size = 0;
    bool size_known = false;
    int error = 0;
    while (true) {
        while (started < end && tail - head < WINDOW) {
            struct piece *piece = &ring[tail++ % WINDOW];
            piece_start(transfer, piece, started, end);
            started += piece->length;
        }
        if (head == tail)
            break;
        struct piece *piece = &ring[head++ % WINDOW];
        int status = piece_finish(transfer, piece);
        if (piece->position >= end)
            continue;
        if (status == 0 && complete(transfer, piece))
            continue;
        if (status == 0)
            status = size_now(transfer, piece, &size_known, &size);
        if (status < 0) {
            error = piece->position == 0 || transfer->whole ? status : 0;
            end = piece->position;
            continue;
        }
        uint64_t at = transfer->offset + piece->position;
        uint64_t exists = size > at ? least(size - at, piece->length) : 0;
        if (exists > piece->reply.length)
            transfer_fill(transfer, piece->position + piece->reply.length, exists - piece->reply.length,
                          NULL);
        end = least(end, size > transfer->offset ? size - transfer->offset : 0);
    }
    return error < 0 ? error : (ssize_t)end;
}

/* Reads of one chunk: no ring. */
static ssize_t read_piece(struct transfer *transfer)
{
    struct piece piece;
    uint64_t size = 0;
    bool size_known = false;
    piece_start(transfer, &piece, 0, transfer->length);
    int status = piece_finish(transfer, &piece);
    if (status < 0)
        return status;
    if (complete(transfer, &piece))
        return (ssize_t)piece.length;
    status = size_now(transfer, &piece, &size_known, &size);
    if (status < 0)
        return status;
    uint64_t exists = size > transfer->offset ? least(size - transfer->offset, piece.length) : 0;
    if (exists > piece.reply.length)
        transfer_fill(transfer, piece.reply.length, exists - piece.reply.length, NULL);
    return (ssize_t)exists;
}

static bool one_chunk(const struct client_file *file, uint64_t offset, uint64_t length)
{
    return offset >> file->layout.chunk_shift == (offset + length - 1) >> file->layout.chunk_shift;
}

/* Reads what the server's board has of a small file; -1: it has nothing. */
static ssize_t read_shown(const struct transfer *transfer)
{
    struct client *client = transfer->client;
    uint64_t inode = transfer->file->inode;
    if (transfer->vector_count == 1)
        return client_board_read(client, inode, transfer->vector->iov_base, transfer->length,
                                 transfer->offset);
    uint8_t bytes[INLINE_DATA_MAX];
    size_t length = least(transfer->length, sizeof bytes);
    ssize_t got = client_board_read(client, inode, bytes, length, transfer->offset);
    if (got > 0)
        transfer_fill(transfer, 0, (uint64_t)got, bytes);
    return got;
}

static ssize_t read_file(struct client *client, struct client_file *file, const struct iovec *vector,
                         uint32_t vector_count, size_t length, uint64_t offset, bool whole)
{
    if (is_directory(file->mode))
        return -EISDIR;
    if (length == 0)
        return 0;
    if (offset > INT64_MAX || length > (uint64_t)INT64_MAX - offset)
        return -EINVAL;

    struct transfer transfer;
    transfer_init(&transfer, client, file, vector, vector_count, length, offset, false);
    transfer.whole = whole;
    if (atomic_load_explicit(&file->size, memory_order_relaxed) <= INLINE_DATA_MAX) {
        ssize_t shown = read_shown(&transfer);
        if (shown >= 0)
            return shown;
    }
    struct lease *lease = lease_slot(&client->leases, file->inode);
    if (lease->inode == file->inode) {
        if (loop_now(client->loop) < lease->until) {
            metrics_add(client->metrics, METRIC_LEASE_HITS, 1);
            size_t got = offset < lease->length ? least(lease->length - offset, length) : 0;
            transfer_fill(&transfer, 0, got, lease->bytes + (got > 0 ? offset : 0));
            return (ssize_t)got;
        }
        lease->inode = 0;
    }
    ssize_t got = transfer_cut(&transfer);
    if (got == 0)
        got = one_chunk(file, offset, length) ? read_piece(&transfer) : read_pieces(&transfer);
    transfer_end(&transfer);
    return got;
}

ssize_t client_read_vector(struct client *client, struct client_file *file, const struct iovec *vector,
                           uint32_t vector_count, size_t length, uint64_t offset)
{
    return read_file(client, file, vector, vector_count, length, offset, false);
}

ssize_t client_read(struct client *client, struct client_file *file, void *bytes, size_t length,
                    uint64_t offset)
{
    struct iovec vector = {bytes, length};
    return read_file(client, file, &vector, 1, length, offset, false);
}

ssize_t client_read_whole(struct client *client, struct client_file *file, void *bytes, size_t length,
                          uint64_t offset)
{
    struct iovec vector = {bytes, length};
    return read_file(client, file, &vector, 1, length, offset, true);
}

/* ---- writing ---- */

static int refresh(struct transfer *transfer)
{
    struct attributes attributes;
    int status = client_file_attributes(transfer->client, transfer->file->inode, &attributes);
    if (status == 0)
        file_learn(transfer->file, attributes.generation, attributes.size);
    return status;
}

static void extend_prepare(const struct transfer *transfer, struct extend_request *request, uint64_t end,
                           uint8_t flags)
{
    *request = (struct extend_request){
        .inode = transfer->file->inode,
        .end = end,
        .generation = transfer->generation,
        .flags = (uint8_t)(flags | (transfer->client->caller.uid == 0 ? 0 : EXTEND_CLEAR_IDS)),
    };
}

static int extend(struct transfer *transfer, uint64_t end, uint8_t flags, struct extend_reply *reply)
{
    struct client *client = transfer->client;
    struct extend_request request;
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    extend_prepare(transfer, &request, end, flags);
    do {
        status = client_request(client, &operation, client_inode_server(client, request.inode), RPC_EXTEND,
                                &request, sizeof request, reply, sizeof *reply);
    } while (operation_again(client, &operation, &status));
    if (status == 0)
        file_learn(transfer->file, reply->generation, reply->size);
    return status;
}

/* After a write to a file that was removed meanwhile: its server has everything dropped that the write left
 * on the others. */
static void drop_orphans(struct transfer *transfer)
{
    struct attributes ignored;
    if (transfer->client->map->server_count > 1)
        client_truncate_checked(transfer->client, transfer->file->inode, 0, true, 0, &ignored);
}

/* After a write that failed: drops what it left beyond the end of the file. If the file has changed meanwhile
 * somebody else's write covers it or it is dropped already; a failure here changes nothing that can be read.
 */
static void drop_beyond_end(struct transfer *transfer)
{
    struct attributes attributes;
    int status = client_file_attributes(transfer->client, transfer->file->inode, &attributes);
    if (status == -ESTALE)
        drop_orphans(transfer);
    if (status < 0)
        return;
    if (client_truncate_checked(transfer->client, attributes.inode, attributes.size, true, attributes.size,
                                &attributes) == 0)
        file_learn(transfer->file, attributes.generation, attributes.size);
}

/* One piece; if it goes past the inode's server and grows nothing, EXTEND (for the times) goes along with it.
 */
static ssize_t write_piece(struct transfer *transfer, bool grows)
{
    struct client *client = transfer->client;
    struct piece piece;
    struct extend_request request;
    struct extend_reply reply;
    struct rpc_call call;
    uint32_t owner = client_inode_server(client, transfer->file->inode);
    piece_start(transfer, &piece, 0, transfer->length);
    bool beside = !grows && piece.server != owner;
    if (beside) {
        extend_prepare(transfer, &request, transfer->offset + transfer->length, 0);
        call = (struct rpc_call){
            .operation = RPC_EXTEND,
            .body = &request,
            .body_length = sizeof request,
            .reply = &reply,
            .reply_size = sizeof reply,
            .namespace_epoch = client->namespace_epoch,
        };
        rpc_start(client->peers[owner], &call);
    }
    int status = piece_finish(transfer, &piece);
    bool extended = false;
    if (beside) {
        int told = rpc_finish(&call);
        client_observe(client, &call);
        extended = told == 0;
        if (told == -STATUS_STALE_GENERATION)
            return told;
    }
    if (status == 0 && !extended && !piece.reply.owner) {
        status = extend(transfer, transfer->offset + transfer->length, 0, &reply);
        if (status < 0 && status != -STATUS_STALE_GENERATION)
            drop_beyond_end(transfer);
    }
    return status < 0 ? status : (ssize_t)transfer->length;
}

static ssize_t write_pieces(struct transfer *transfer, bool grows)
{
    struct piece ring[WINDOW];
    unsigned head = 0, tail = 0;
    uint64_t end = transfer->length, started = 0, furthest = 0;
    uint64_t size = 0; /* as the inode's server told; 0: it took no piece */
    bool stale = false;
    int error = 0;
    while (true) {
        while (started < end && tail - head < WINDOW) {
            struct piece *piece = &ring[tail++ % WINDOW];
            piece_start(transfer, piece, started, end);
            started += piece->length;
        }
        if (head == tail)
            break;
        struct piece *piece = &ring[head++ % WINDOW];
        int status = piece_finish(transfer, piece);
        if (status == 0) {
            if (piece->reply.owner)
                size = piece->reply.size;
            furthest = piece->position + piece->length;
        } else {
            stale |= status == -STATUS_STALE_GENERATION;
            if (piece->position < end) {
                end = piece->position;
                error = status;
            }
        }
    }
    if (stale)
        return -STATUS_STALE_GENERATION;
    /* `grows` is what this client believed; threads that share the file may have misled it. */
    if (end > 0 && (grows || size < transfer->offset + end)) {
        struct extend_reply reply;
        int status = extend(transfer, transfer->offset + end, 0, &reply);
        if (status < 0) {
            if (status != -STATUS_STALE_GENERATION)
                drop_beyond_end(transfer);
            return status;
        }
    }
    if (grows && furthest > end)
        drop_beyond_end(transfer);
    return end > 0 ? (ssize_t)end : error;
}

/* Places the transfer's bytes at its offset under the generation known; one try. */
static ssize_t write_range(struct transfer *transfer, bool grows)
{
    bool single =
        one_chunk(transfer->file, transfer->offset, transfer->length) &&
        (transfer->source == NULL || one_chunk(transfer->source, transfer->source_offset, transfer->length));
    int status = transfer_cut(transfer);
    if (status < 0)
        return status;
    transfer->flags = grows && !single ? CHUNK_KEEP_SIZE : 0;
    return single ? write_piece(transfer, grows) : write_pieces(transfer, grows);
}

/* After STATUS_STALE_GENERATION: learns the new one. Returns 0 to go on, or what ends the write. */
static int start_over(struct transfer *transfer)
{
    uint64_t now = loop_now(transfer->client->loop);
    if (transfer->give_up == 0)
        transfer->give_up = now + transfer->client->deadline_ns;
    return now < transfer->give_up ? refresh(transfer) : -ETIMEDOUT;
}

/* Places a transfer's bytes, starting over as often as truncations want it. */
static ssize_t write_transfer(struct transfer *transfer)
{
    struct client *client = transfer->client;
    struct client_file *file = transfer->file;
    uint64_t end = transfer->offset + transfer->length;
    ssize_t written;
    lease_revoke(&client->leases, file->inode);
    for (;;) {
        transfer->generation = atomic_load_explicit(&file->generation, memory_order_acquire);
        bool grows = end > atomic_load_explicit(&file->size, memory_order_relaxed);
        written = write_range(transfer, grows);
        if (__builtin_expect(written != -STATUS_STALE_GENERATION, 1))
            break;
        int status = start_over(transfer);
        if (status < 0) {
            written = status;
            break;
        }
    }
    if (written == -ESTALE)
        drop_orphans(transfer);
    lease_revoke(&client->leases, file->inode);
    client_changed(client);
    transfer_end(transfer);
    return written;
}

ssize_t client_write_vector(struct client *client, struct client_file *file, const struct iovec *vector,
                            uint32_t vector_count, size_t length, uint64_t offset)
{
    if (length == 0)
        return 0;
    if (offset > INT64_MAX || length > (uint64_t)INT64_MAX - offset)
        return -EINVAL;
    struct transfer transfer;
    transfer_init(&transfer, client, file, vector, vector_count, length, offset, true);
    return write_transfer(&transfer);
}

ssize_t client_copy_range(struct client *client, const struct client_file *source, uint64_t source_offset,
                          struct client_file *file, uint64_t offset, uint64_t length)
{
    struct transfer transfer;
    transfer_init(&transfer, client, file, NULL, 1, length, offset, true);
    transfer.source = source;
    transfer.source_offset = source_offset;
    return write_transfer(&transfer);
}

int client_extend(struct client *client, struct client_file *file, uint64_t end)
{
    struct transfer transfer;
    struct extend_reply reply;
    int status;
    transfer_init(&transfer, client, file, NULL, 1, 0, 0, true);
    lease_revoke(&client->leases, file->inode);
    for (;;) {
        transfer.generation = atomic_load_explicit(&file->generation, memory_order_acquire);
        status = extend(&transfer, end, 0, &reply);
        if (status != -STATUS_STALE_GENERATION)
            break;
        status = start_over(&transfer);
        if (status < 0)
            break;
    }
    lease_revoke(&client->leases, file->inode);
    return status;
}

ssize_t client_write(struct client *client, struct client_file *file, const void *bytes, size_t length,
                     uint64_t offset)
{
    struct iovec vector = {(void *)(uintptr_t)bytes, length};
    return client_write_vector(client, file, &vector, 1, length, offset);
}

/* Writes into the range that EXTEND_APPEND gave. If the file was cut below it meanwhile the range is no
 * longer ours: -EAGAIN, for a new one. */
static ssize_t write_appended(struct transfer *transfer)
{
    for (;;) {
        ssize_t written = write_range(transfer, false);
        if (written != -STATUS_STALE_GENERATION)
            return written;
        int status = start_over(transfer);
        if (status < 0)
            return status;
        transfer->generation = atomic_load_explicit(&transfer->file->generation, memory_order_acquire);
        if (atomic_load_explicit(&transfer->file->size, memory_order_relaxed) <
            transfer->offset + transfer->length)
            return -EAGAIN;
    }
}

ssize_t client_append_vector(struct client *client, struct client_file *file, const struct iovec *vector,
                             uint32_t vector_count, size_t length, uint64_t *offset)
{
    if (length == 0)
        return 0;
    struct transfer transfer;
    ssize_t written;
    transfer_init(&transfer, client, file, vector, vector_count, length, 0, true);
    lease_revoke(&client->leases, file->inode);
    do {
        struct extend_reply reply;
        transfer.generation = atomic_load_explicit(&file->generation, memory_order_acquire);
        written = extend(&transfer, length, EXTEND_APPEND, &reply);
        if (written == -STATUS_STALE_GENERATION) {
            int status = start_over(&transfer);
            written = status < 0 ? status : -EAGAIN;
            continue;
        }
        if (written < 0)
            break;
        transfer.offset = reply.offset;
        transfer.generation = reply.generation;
        written = write_appended(&transfer);
        if (written != -EAGAIN && written < (ssize_t)length) {
            /* Gives back the rest of the range, if it still is the end of the file. */
            struct attributes attributes;
            uint64_t done = written > 0 ? (uint64_t)written : 0;
            if (client_truncate_checked(client, file->inode, reply.offset + done, true, reply.offset + length,
                                        &attributes) == 0)
                file_learn(file, attributes.generation, attributes.size);
        }
    } while (written == -EAGAIN);
    if (written == -ESTALE)
        drop_orphans(&transfer);
    lease_revoke(&client->leases, file->inode);
    client_changed(client);
    transfer_end(&transfer);
    if (written > 0)
        *offset = transfer.offset;
    return written;
}

ssize_t client_append(struct client *client, struct client_file *file, const void *bytes, size_t length,
                      uint64_t *offset)
{
    struct iovec vector = {(void *)(uintptr_t)bytes, length};
    return client_append_vector(client, file, &vector, 1, length, offset);
}

/* ---- truncation and synchronisation ---- */

int client_truncate_checked(struct client *client, uint64_t inode, uint64_t size, bool checked,
                            uint64_t expected, struct attributes *attributes)
{
    if (size > INT64_MAX)
        return -EINVAL;
    struct truncate_request request = {
        .inode = inode,
        .size = size,
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .checked = checked,
        .expected = expected,
    };
    struct operation operation;
    struct attributes_reply reply;
    int status;
    lease_revoke(&client->leases, inode);
    operation_begin(client, &operation);
    do {
        status = client_request(client, &operation, client_inode_server(client, inode), RPC_TRUNCATE,
                                &request, sizeof request, &reply, sizeof reply);
    } while (operation_again(client, &operation, &status));
    lease_revoke(&client->leases, inode);
    if (status == 0)
        *attributes = reply.attributes;
    return status;
}

int client_truncate_inode(struct client *client, uint64_t inode, uint64_t size)
{
    struct attributes attributes;
    return client_truncate_checked(client, inode, size, true, UINT64_MAX, &attributes);
}

int client_truncate_file(struct client *client, struct client_file *file, uint64_t size)
{
    struct attributes attributes;
    int status = client_truncate_checked(client, file->inode, size, true, UINT64_MAX, &attributes);
    if (status == 0)
        file_learn(file, attributes.generation, attributes.size);
    return status;
}

/* SYNC_CHUNKS to `count` servers at once; the first failure counts. */
static int sync_servers(struct client *client, uint64_t inode, const uint32_t *servers, uint32_t count)
{
    struct inode_request request = {.inode = inode};
    struct rpc_call calls[WINDOW];
    int result = 0;
    for (uint32_t i = 0; i < count; i++) {
        calls[i] = (struct rpc_call){
            .operation = RPC_SYNC_CHUNKS,
            .body = &request,
            .body_length = sizeof request,
            .namespace_epoch = client->namespace_epoch,
        };
        rpc_start(client->peers[servers[i]], &calls[i]);
    }
    client_expect_commit(client);
    struct operation operation;
    operation_begin(client, &operation);
    for (uint32_t i = 0; i < count; i++) {
        int status = rpc_finish(&calls[i]);
        client_observe(client, &calls[i]);
        client_note_commit(client, &calls[i]);
        while (operation_again(client, &operation, &status))
            status = client_request(client, &operation, servers[i], RPC_SYNC_CHUNKS, &request, sizeof request,
                                    NULL, 0);
        if (status < 0 && result == 0)
            result = status;
    }
    return result;
}

/* All servers, but `owner` (UINT32_MAX: none). */
static int sync_all_but(struct client *client, uint64_t inode, uint32_t owner)
{
    uint32_t servers[WINDOW], count = 0;
    int result = 0;
    for (uint32_t server = 0; server < client->map->server_count; server++) {
        if (server != owner)
            servers[count++] = server;
        if (count < WINDOW && server + 1 < client->map->server_count)
            continue;
        int status = sync_servers(client, inode, servers, count);
        if (status < 0 && result == 0)
            result = status;
        count = 0;
    }
    return result;
}

int client_sync_all(struct client *client)
{
    return sync_all_but(client, INODE_ROOT, UINT32_MAX);
}

int client_sync(struct client *client, struct client_file *file)
{
    uint32_t owner = client_inode_server(client, file->inode);
    int result = sync_servers(client, file->inode, &owner, 1);
    if (result < 0 || client->map->server_count == 1)
        return result;
    if (S_ISDIR(file->mode))
        return sync_all_but(client, file->inode, owner);
    if (!S_ISREG(file->mode))
        return 0;
    struct attributes attributes;
    result = client_file_attributes(client, file->inode, &attributes);
    if (result < 0 || attributes.size <= UINT64_C(1) << file->layout.chunk_shift)
        return result;
    return sync_all_but(client, file->inode, owner);
}
