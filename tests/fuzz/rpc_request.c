/* Any bytes as an active message to a party that serves and has a call under way: whatever arrives, a handler
 * sees only requests whose names are as long as they claim, a call gets only a reply of its own, and nothing
 * is leaked.
 *
 * The first byte says what of the rest is made right, so that random bytes get beyond the first checks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "rpc/party.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum {
    RIGHT_SESSION = 1,
    RIGHT_LENGTH = 2,
    RIGHT_CORRELATION = 4,
    WITH_BULK = 8,
    BULK_BY_RENDEZVOUS = 16,
    DELAYED = 32,      /* the handler suspends before it replies */
    WITH_NOTICES = 64, /* the end of the body is notices */
    SHORT = 128,       /* the header is a short one */
};

static const uint8_t key[CLUSTER_KEY_BYTES];
static const char bulk[64];

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- a transport that goes nowhere ---- */

static int stub_connect(struct net *net, const void *address, size_t length,
                        struct net_connection **connection)
{
    (void)address, (void)length;
    *connection = malloc(sizeof(**connection));
    (*connection)->net = net;
    return 0;
}

static void stub_close(struct net_connection *connection)
{
    free(connection);
}

static int stub_send(struct net_connection *connection, const void *header, uint32_t header_length,
                     const struct iovec *vector, uint32_t count, unsigned flags, struct completion *sent)
{
    (void)connection, (void)vector, (void)count, (void)flags, (void)sent;
    const struct rpc_reply_header *reply = header;
    require(header_length >= sizeof(*reply) && header_length <= NET_HEADER_MAX);
    require(reply->body_length == header_length - sizeof(*reply));
    return 0;
}

static void stub_hold(struct net_message *message)
{
    message->held = true;
}

static int stub_receive(struct net_message *message, const struct iovec *into, uint32_t count,
                        struct completion *received)
{
    (void)received;
    require(iovec_bytes(into, count) == message->bulk_length);
    const char *from = bulk;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(into[i].iov_base, from, into[i].iov_len);
        from += into[i].iov_len;
    }
    return 0;
}

static void stub_release(struct net_message *message)
{
    message->held = false;
}

static const struct net_operations stub_operations = {
    .connect = stub_connect,
    .close = stub_close,
    .send = stub_send,
    .hold = stub_hold,
    .receive = stub_receive,
    .release = stub_release,
};

/* ---- the party ---- */

static uint8_t mode;

static void check_name(const char *name, size_t length)
{
    require(length > 0 && memchr(name, '/', length) == NULL && memchr(name, '\0', length) == NULL);
}

static void handle(void *owner, struct rpc_request *request)
{
    struct loop *loop = owner;
    const struct operation *operation = operation_find(request->header->operation);
    require(operation != NULL && request->body_length >= operation->request_size);
    if ((mode & DELAYED) != 0)
        task_yield(loop);
    if (request->header->operation == RPC_LOOKUP) {
        const struct name_request *body = request->body;
        require(request->body_length == sizeof(*body) + body->name_length);
        check_name(body->name, body->name_length);
    } else if (request->header->operation == RPC_RENAME) {
        const struct rename_request *body = request->body;
        require(request->body_length == sizeof(*body) + body->old_length + body->new_length);
        check_name(body->names, body->old_length);
        check_name(body->names + body->old_length, body->new_length);
    } else if (request->header->operation == RPC_REPAIR_NAME) {
        const struct repair_name_request *body = request->body;
        require(request->body_length == sizeof(*body) + body->name_length);
        check_name(body->name, body->name_length);
    }
    if (request->bulk_length > 0) {
        char landed[sizeof(bulk)];
        struct iovec into = {landed, request->bulk_length};
        require(rpc_request_receive(request, &into, 1) == 0);
    }
    uint8_t reply[RPC_BODY_MAX] = {0};
    rpc_reply(request, 0, reply, operation->reply_size, NULL, 0);
}

/* Every notice is read, so that a sanitizer sees one that is not there. */
static volatile uint64_t notice_sum;

static void take_notice(void *owner, uint32_t serial, uint64_t notice)
{
    require(owner != NULL && serial != 0);
    notice_sum += notice;
}

static void deliver(struct rpc *rpc, const struct rpc_call *call, const uint8_t *bytes, size_t length)
{
    /* A block of the exact size, so that a sanitizer sees a read beyond it. */
    uint8_t *block = malloc(NET_HEADER_BEFORE + length);
    uint8_t *header = block + NET_HEADER_BEFORE;
    memcpy(header, bytes, length);
    alignas(8) uint8_t sender[NET_SENDER_BYTES] = {0};
    struct rpc_told told = {.token = rpc->sessions[0]->token, .valid = true};
    if ((mode & SHORT) != 0 && (mode & RIGHT_SESSION) != 0)
        memcpy(sender, &told, sizeof(told));
    struct rpc_request_header *request = (struct rpc_request_header *)header;
    if ((mode & SHORT) != 0 && length > 0) {
        header[0] = RPC_SHORT_VERSION;
    } else if (length >= sizeof(*request)) {
        bool is_reply = request->operation >= RPC_REPLY_OFFSET;
        struct rpc_reply_header *reply = (struct rpc_reply_header *)header;
        if ((mode & RIGHT_SESSION) != 0)
            request->version = RPC_PROTOCOL_VERSION;
        if ((mode & RIGHT_SESSION) != 0 && !is_reply) {
            request->session = 0;
            request->token = rpc->sessions[0]->token;
        }
        if ((mode & RIGHT_CORRELATION) != 0 && is_reply)
            reply->correlation = call->flight->correlation;
        uint32_t body = (uint32_t)(length - sizeof(*request));
        uint32_t notices = (mode & WITH_NOTICES) == 0 ? 0 : body / 64;
        if ((mode & RIGHT_LENGTH) != 0 && is_reply)
            reply->body_length = body;
        else if ((mode & RIGHT_LENGTH) != 0)
            request->body_length = (uint16_t)(body - sizeof(uint64_t) * notices);
        if ((mode & RIGHT_LENGTH) != 0 && !is_reply)
            request->notices = (uint16_t)notices;
    }
    struct net_message message = {
        .net = rpc->net,
        .header = header,
        .header_length = (uint32_t)length,
        .bulk_here = (mode & BULK_BY_RENDEZVOUS) == 0,
        .bulk = bulk,
        .bulk_length = (mode & WITH_BULK) != 0 ? sizeof(bulk) : 0,
        .sender = sender,
    };
    rpc->net->receiver(rpc->net->owner, &message);
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct loop *loop;
    log_threshold = LOG_ERROR; /* one warning per malformed request is a million here */
    if (loop == NULL)
        require(loop_create(&(struct loop_options){.simulated = true, .seed = 1}, &loop) == 0);
    if (length == 0 || length > NET_HEADER_MAX + 1)
        return 0;
    mode = bytes[0];

    struct net net = {
        .operations = &stub_operations, .loop = loop, .name = "stub", .reliable = true, .address = ""};
    struct rpc *rpc;
    struct rpc_options options = {.cluster_key = key, .server_id = 3, .owner = loop, .notice = take_notice};
    require(rpc_create(&net, &options, &rpc) == 0);
    for (unsigned operation = 0; operation < RPC_OPERATION_MAX; operation++) {
        if (operation_find(operation) != NULL)
            rpc_register(rpc, operation, handle);
    }
    struct handshake_hello *hello = calloc(1, sizeof(*hello));
    struct handshake_welcome *welcome = calloc(1, sizeof(*welcome));
    hello->role = HANDSHAKE_ROLE_SERVER;
    hello->instance = 5;
    require(session_admit(rpc, hello, welcome) == 0);
    free(hello);
    free(welcome);

    struct rpc_peer *peer;
    require(rpc_peer_create(rpc, "nowhere:1", &peer) == 0);
    require(net_connect(&net, "", 0, &peer->connection) == 0);
    peer->up = true;
    char landing[sizeof(bulk) / 2];
    struct iovec receive[2] = {{landing, 5}, {landing + 5, sizeof(landing) - 5}};
    struct chunk_reply reply;
    struct rpc_call call = {
        .operation = RPC_READ_CHUNK,
        .body = &(struct chunk_read_request){.inode = 1},
        .body_length = sizeof(struct chunk_read_request),
        .reply = &reply,
        .reply_size = sizeof(reply),
        .receive = receive,
        .receive_count = 2,
    };
    rpc_start(peer, &call);
    require(call.flight != NULL);

    deliver(rpc, &call, bytes + 1, length - 1);
    for (unsigned turn = 0; turn < 3; turn++)
        loop_poll(loop);

    rpc_destroy(rpc);
    require(call.done.fired && (call.done.status <= 0));
    return 0;
}
