/* COPY_CHUNK: bytes go from one chunk to another without passing through the client.
 *
 * The request comes to the server of the chunk that is written and is in everything a WRITE_CHUNK, but that
 * the bytes come from a chunk here, or by READ_CHUNK from the server that has it, straight into the store's
 * memory. What the source does not have (any more) is zero: the client asks only for what lies below the
 * source's size. While it fetches, the handler holds no lock and no busy inode, so two servers that copy from
 * each other wait for nothing but reads. */
#include <errno.h>

#include "data/placement.h"
#include "server/state.h"

/* Copies `length` bytes into the vector from byte `at` of it on; bytes NULL: zeros. */
static void vector_fill(const struct iovec *into, uint32_t count, uint64_t at, const char *bytes,
                        uint64_t length)
{
    for (uint32_t i = 0; i < count && length > 0; i++) {
        if (at >= into[i].iov_len) {
            at -= into[i].iov_len;
            continue;
        }
        uint64_t here = into[i].iov_len - at < length ? into[i].iov_len - at : length;
        if (bytes == NULL) {
            memset((char *)into[i].iov_base + at, 0, here);
        } else {
            memcpy((char *)into[i].iov_base + at, bytes, here);
            bytes += here;
        }
        at = 0;
        length -= here;
    }
}

/* The source is on this server. */
static int fetch_here(struct server *server, struct rpc_request *request, const struct copy_request *body,
                      const struct iovec *into, uint32_t count)
{
    const struct store_operations *store = server->store->operations;
    uint32_t length = body->to.length, got = 0;
    if (server_of_inode(server, body->from) == server->self) {
        struct inode *inode;
        int status = readable_file(server, request, body->from, &inode);
        if (status != 0)
            return status;
        chunk_note_access(server, inode);
        length = chunk_below_size(inode, body->from_index, body->from_offset, length);
        if (inode_is_inline(inode)) {
            vector_fill(into, count, 0, (const char *)inode->inline_data + body->from_offset, length);
            vector_fill(into, count, length, NULL, body->to.length - length);
            return 0;
        }
    }
    struct store_io io = {
        .inode = body->from, .index = body->from_index, .offset = body->from_offset, .length = length};
    int status = length == 0 ? 0 : store->read_begin(server->store, &io);
    if (status != 0)
        return status;
    if (length > 0 && io.length > 0) {
        for (uint32_t i = 0; i < io.count; got += (uint32_t)io.vector[i++].iov_len)
            vector_fill(into, count, got, io.vector[i].iov_base, io.vector[i].iov_len);
        store->read_end(server->store, &io);
    }
    vector_fill(into, count, got, NULL, body->to.length - got);
    return 0;
}

static int fetch_elsewhere(struct server *server, uint32_t from, const struct copy_request *body,
                           const struct iovec *into, uint32_t count, uint64_t deadline)
{
    struct chunk_read_request read = {
        .inode = body->from,
        .index = body->from_index,
        .offset = body->from_offset,
        .length = body->to.length,
    };
    struct chunk_reply reply;
    struct rpc_call call = {
        .operation = RPC_READ_CHUNK,
        .body = &read,
        .body_length = sizeof(read),
        .reply = &reply,
        .reply_size = sizeof(reply),
        .receive = into,
        .receive_count = count,
        .namespace_epoch = server->namespace_epoch,
        .deadline = deadline,
    };
    int status = rpc_call(server_peer(server, from, RPC_READ_CHUNK), &call);
    server_adopt_epoch(server, call.reply_namespace_epoch);
    if (status == 0)
        vector_fill(into, count, call.received, NULL, body->to.length - call.received);
    return status == -EHOSTDOWN ? -EIO : status;
}

int copy_fetch(struct server *server, struct rpc_request *request, const struct copy_request *body,
               const struct iovec *into, uint32_t count)
{
    uint32_t from = placement_server(server->map, body->from, &body->from_layout, body->from_index);
    return from == server->self ? fetch_here(server, request, body, into, count)
                                : fetch_elsewhere(server, from, body, into, count, request->deadline);
}

bool copy_valid(const struct copy_request *body)
{
    if (!inode_valid(body->from) || !layout_valid(&body->from_layout))
        return false;
    uint32_t size = 1u << body->from_layout.chunk_shift;
    return body->from_index <= (uint64_t)INT64_MAX >> body->from_layout.chunk_shift &&
           body->from_offset <= size && body->to.length <= size - body->from_offset;
}
