/* The ucx transport: messages as UCP active messages.
 *
 * Sending. A message without bulk travels as active message payload with no active message header: UCX's
 * shortest path, which for up to 200 bytes over shared memory is one copy into the peer's FIFO, without
 * request, lock or system call. With bulk, our header is the active message's header. UCX copies nothing of a
 * send that cannot finish at once, so header and bulk belong to it until `sent` fires.
 *
 * A send that stays pending has a UCX request, and in the space that UCX reserves there a struct operation:
 * which completion to fire, linked into its connection. Closing the connection fires the completions that are
 * left and clears the pointers, so that a late callback of UCX finds nothing to touch. Nothing is allocated
 * per message by us.
 *
 * Receiving. A message without active message header is a header alone; otherwise payload is bulk: with the
 * message (eager) or still in the sender's memory (rendezvous). UCX lets us keep its descriptor, except when
 * a small message lies in the FIFO itself: holding that one copies it.
 *
 * Failure. Endpoints run in UCX's peer error mode (see ucx_context.c), in which an endpoint to a dead peer
 * can be discarded at once and what hangs on it is completed. A failed endpoint refuses sends until the owner
 * closes the connection. UCX itself notices a dead peer over TCP but not over shared memory; liveness is the
 * layer above's, by its streams. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "net/net.h"
#include "net/shown.h"
#include "net/stream.h"
#include "net/ucx_context.h"

#define MESSAGE_ID 1u
#define EAGER_MAX (32u << 10)
#define DESTROY_POLLS 100000 /* bounds the wait for UCX to let go of endpoints and requests */
#define DESTROY_NS (100 * UINT64_C(1000000))

struct ucx_net {
    struct net base;
    struct reactor reactor;
    bool polled;            /* the reactor is the loop's */
    const uint64_t *latest; /* loop_latest */
    uint64_t looked;        /* what it was when nothing was there */
    struct ucx_context ucx;
    struct list connections;
    struct list receives; /* struct operation.link */
    uint32_t operations;  /* requests that UCX still has */
};

struct ucx_connection {
    struct net_connection base;
    ucp_ep_h endpoint;
    struct list link;
    struct list sends; /* struct operation.link */
    int failure;       /* 0, or what UCX said about the endpoint */
};

/* Lives in the UCX request. net is NULL until we know that UCX keeps the request, which tells a callback from
 * within the call that started the operation from a later one. */
struct operation {
    struct list link;
    struct completion *completion; /* NULL: nobody waits any more */
    struct ucx_net *net;
};

struct region {
    void *memory;
    size_t length;
};

/* ---- operations under way ---- */

static void operation_init(void *request)
{
    struct operation *operation = request;
    operation->net = NULL;
}

static void operation_start(struct ucx_net *net, void *request, struct list *owner,
                            struct completion *completion)
{
    struct operation *operation = request;
    operation->net = net;
    operation->completion = completion;
    list_push_back(owner, &operation->link);
    net->operations++;
}

static void operation_finish(void *request, ucs_status_t status)
{
    struct operation *operation = request;
    struct completion *completion = operation->completion;
    list_remove(&operation->link);
    operation->net->operations--;
    operation->net = NULL;
    ucp_request_free(request);
    if (completion != NULL)
        completion_fire(completion, ucx_status(status));
}

/* Completes everything in the list for those who wait; UCX's callbacks will find nobody. */
static void operations_abandon(struct list *operations)
{
    struct list *link;
    while ((link = list_pop_front(operations)) != NULL) {
        struct operation *operation = container_of(link, struct operation, link);
        struct completion *completion = operation->completion;
        operation->completion = NULL;
        if (completion != NULL)
            completion_fire(completion, -ECONNRESET);
    }
}

/* ---- connections ---- */

static void endpoint_failed(void *owner, ucp_ep_h endpoint, ucs_status_t status)
{
    struct ucx_connection *connection = owner;
    (void)endpoint;
    log_debug("UCX endpoint failed: %s", ucs_status_string(status));
    connection->failure = -ECONNRESET;
}

/* Whoever has no connection is sent nothing: peers connect both ways before they talk. */
static int begin_polling(struct ucx_net *net)
{
    if (net->polled)
        return 0;
    int error = loop_reactor_add(net->base.loop, &net->reactor);
    net->polled = error == 0;
    return error;
}

static int connection_open(struct net *base, const void *address, size_t length, struct net_connection **out)
{
    struct ucx_net *net = container_of(base, struct ucx_net, base);
    int error = shm_address_far(address, length, &address, &length);
    if (error == 0)
        error = begin_polling(net);
    if (error != 0)
        return error;
    struct ucx_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return -ENOMEM;
    error =
        ucx_endpoint_create(&net->ucx, address, length, endpoint_failed, connection, &connection->endpoint);
    if (error != 0) {
        free(connection);
        return error;
    }
    connection->base.net = base;
    list_init(&connection->sends);
    list_push_back(&net->connections, &connection->link);
    *out = &connection->base;
    return 0;
}

static void connection_close(struct net_connection *base)
{
    struct ucx_connection *connection = container_of(base, struct ucx_connection, base);
    list_remove(&connection->link);
    connection->failure = -ECONNRESET;
    ucx_endpoint_destroy(connection->endpoint);
    operations_abandon(&connection->sends);
    free(connection);
}

/* ---- sending ---- */

static void send_finished(void *request, ucs_status_t status, void *owner)
{
    (void)owner;
    operation_finish(request, status);
}

static int message_send(struct net_connection *base, const void *header, uint32_t header_length,
                        const struct iovec *bulk, uint32_t bulk_count, unsigned flags,
                        struct completion *sent)
{
    struct ucx_connection *connection = container_of(base, struct ucx_connection, base);
    if (__builtin_expect(header_length - 1 >= NET_HEADER_MAX || connection->failure != 0, 0))
        return connection->failure != 0 ? connection->failure : -EINVAL;

    ucp_request_param_t parameters = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK,
        .flags = UCP_AM_SEND_FLAG_EAGER,
        .cb.send = send_finished,
    };
    void *request;
    if (bulk_count == 0) {
        request =
            ucp_am_send_nbx(connection->endpoint, MESSAGE_ID, NULL, 0, header, header_length, &parameters);
    } else {
        const void *buffer = bulk[0].iov_base;
        size_t count = bulk[0].iov_len;
        size_t length = count;
        if (bulk_count > 1) {
            /* An iovec has the layout of UCX's own vector. */
            buffer = bulk;
            count = bulk_count;
            parameters.op_attr_mask |= UCP_OP_ATTR_FIELD_DATATYPE;
            parameters.datatype = UCP_DATATYPE_IOV;
            for (uint32_t i = 1; i < bulk_count; i++)
                length += bulk[i].iov_len;
        }
        if ((flags & NET_SEND_RENDEZVOUS) != 0 && length != 0)
            parameters.flags = UCP_AM_SEND_FLAG_RNDV;
        request = ucp_am_send_nbx(connection->endpoint, MESSAGE_ID, header, header_length, buffer, count,
                                  &parameters);
    }
    if (__builtin_expect(request == NULL, 1))
        return 0;
    if (UCS_PTR_IS_ERR(request))
        return ucx_status(UCS_PTR_STATUS(request));
    operation_start(container_of(base->net, struct ucx_net, base), request, &connection->sends, sent);
    return -EINPROGRESS;
}
static_assert(sizeof(struct iovec) == sizeof(ucp_dt_iov_t) &&
                  offsetof(struct iovec, iov_base) == offsetof(ucp_dt_iov_t, buffer) &&
                  offsetof(struct iovec, iov_len) == offsetof(ucp_dt_iov_t, length),
              "bulk vectors are handed to UCX as they are");

/* ---- receiving ---- */

/* transport: UCX's descriptor, which may be kept or received from; NULL when the bulk lies in the FIFO, when
 * a kept copy of it is ours, or when a rendezvous was started and the descriptor is UCX's again. */
static ucs_status_t message_arrived(void *owner, const void *header, size_t header_length, void *data,
                                    size_t length, const ucp_am_recv_param_t *parameters)
{
    struct ucx_net *net = owner;
    struct net_message message = {.net = &net->base, .looked = net->looked};
    if (header_length == 0) {
        /* Nothing of ours sends a rendezvous or nothing at all without a header. */
        if ((parameters->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0 || length == 0 ||
            length > NET_HEADER_MAX)
            return UCS_OK;
        message.header = data;
        message.header_length = (uint32_t)length;
        net->base.receiver(net->base.owner, &message);
        return UCS_OK;
    }
    if (header_length > NET_HEADER_MAX)
        return UCS_OK;
    message.header = header;
    message.header_length = (uint32_t)header_length;
    message.bulk_length = length;
    if ((parameters->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0) {
        message.transport = data;
    } else {
        message.bulk_here = true;
        message.bulk = data;
        if ((parameters->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) != 0)
            message.transport = data;
    }
    net->base.receiver(net->base.owner, &message);
    /* A rendezvous that was started here needs no hold: UCX knows. */
    return message.held && message.transport != NULL ? UCS_INPROGRESS : UCS_OK;
}

static void message_hold(struct net_message *message)
{
    if (message->held || message->bulk_length == 0)
        return;
    if (message->bulk_here && message->transport == NULL) {
        void *copy = malloc(message->bulk_length);
        if (copy != NULL)
            memcpy(copy, message->bulk, message->bulk_length);
        message->bulk = copy;
    }
    message->held = true;
}

static void receive_finished(void *request, ucs_status_t status, size_t length, void *owner)
{
    (void)length;
    struct operation *operation = request;
    if (operation->net == NULL) {
        int *at_once = owner;
        *at_once = ucx_status(status);
        ucp_request_free(request);
    } else {
        operation_finish(request, status);
    }
}

static int message_receive(struct net_message *message, const struct iovec *into, uint32_t count,
                           struct completion *received)
{
    struct ucx_net *net = container_of(message->net, struct ucx_net, base);
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += into[i].iov_len;
    if (total != message->bulk_length)
        return -EINVAL;
    if (total == 0)
        return 0;
    if (message->bulk_here) {
        if (message->bulk == NULL)
            return -ENOMEM;
        const uint8_t *from = message->bulk;
        for (uint32_t i = 0; i < count; i++) {
            memcpy(into[i].iov_base, from, into[i].iov_len);
            from += into[i].iov_len;
        }
        return 0;
    }
    if (message->transport == NULL)
        return -EALREADY;
    int at_once = -EINPROGRESS;
    ucp_request_param_t parameters = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.recv_am = receive_finished,
        .user_data = &at_once,
    };
    const void *buffer = into[0].iov_base;
    size_t elements = into[0].iov_len;
    if (count > 1) {
        buffer = into;
        elements = count;
        parameters.op_attr_mask |= UCP_OP_ATTR_FIELD_DATATYPE;
        parameters.datatype = UCP_DATATYPE_IOV;
    }
    void *request = ucp_am_recv_data_nbx(net->ucx.worker, message->transport, (void *)(uintptr_t)buffer,
                                         elements, &parameters);
    message->transport = NULL;
    if (!UCS_PTR_IS_PTR(request))
        return ucx_status(UCS_PTR_STATUS(request));
    if (at_once != -EINPROGRESS)
        return at_once;
    operation_start(net, request, &net->receives, received);
    return -EINPROGRESS;
}

static void message_release(struct net_message *message)
{
    if (!message->held)
        return;
    message->held = false;
    if (message->transport != NULL)
        ucp_am_data_release(container_of(message->net, struct ucx_net, base)->ucx.worker, message->transport);
    else if (message->bulk_here)
        free((void *)(uintptr_t)message->bulk);
    message->transport = NULL;
    message->bulk = NULL;
}

/* ---- memory ---- */

static int memory_allocate(struct net *net, size_t length, void **memory, void **out)
{
    (void)net;
    struct region *region = malloc(sizeof *region);
    if (region == NULL)
        return -ENOMEM;
    region->length = length;
    region->memory = ucx_memory_allocate(length);
    if (region->memory == NULL) {
        free(region);
        return -ENOMEM;
    }
    *memory = region->memory;
    *out = region;
    return 0;
}

static void memory_free(struct net *net, void *out)
{
    (void)net;
    struct region *region = out;
    ucx_memory_free(region->memory, region->length);
    free(region);
}

/* ---- the party ---- */

/* One progress call handles up to 16 messages per transport; the loop comes back as long as there is work. */
static int poll_worker(struct reactor *reactor)
{
    struct ucx_net *net = container_of(reactor, struct ucx_net, reactor);
    int work = (int)ucp_worker_progress(net->ucx.worker);
    if (work == 0)
        net->looked = *net->latest;
    return work;
}

static int arm_worker(struct reactor *reactor)
{
    struct ucx_net *net = container_of(reactor, struct ucx_net, reactor);
    return ucx_status(ucp_worker_arm(net->ucx.worker));
}

static void drop_message(void *owner, struct net_message *message)
{
    (void)owner, (void)message;
}

static void destroy(struct net *base)
{
    struct ucx_net *net = container_of(base, struct ucx_net, base);
    base->receiver = drop_message;
    while (!list_empty(&net->connections))
        connection_close(&container_of(net->connections.next, struct ucx_connection, link)->base);
    operations_abandon(&net->receives);
    uint64_t deadline = loop_now(base->loop) + DESTROY_NS;
    for (int i = 0; i < DESTROY_POLLS; i++)
        if (ucp_worker_progress(net->ucx.worker) == 0 &&
            (net->operations == 0 || loop_now(base->loop) > deadline))
            break;
    if (net->polled)
        loop_reactor_remove(base->loop, &net->reactor);
    ucx_context_destroy(&net->ucx);
    free(net);
}

static const struct net_operations ucx_operations = {
    .destroy = destroy,
    .connect = connection_open,
    .close = connection_close,
    .send = message_send,
    .hold = message_hold,
    .receive = message_receive,
    .release = message_release,
    .memory_allocate = memory_allocate,
    .memory_free = memory_free,
    .show = shown_create,
    .hide = shown_destroy,
    .view = shown_view,
    .view_end = shown_view_end,
    .stream_listen = net_tcp_listen,
    .stream_connect = net_tcp_connect,
};

int net_ucx_create(struct loop *loop, const struct net_ucx_options *options, struct net **out)
{
    struct ucx_net *net = calloc(1, sizeof *net);
    if (net == NULL)
        return -ENOMEM;
    list_init(&net->connections);
    list_init(&net->receives);
    int error = ucx_context_create(options, sizeof(struct operation), operation_init, &net->ucx);
    if (error != 0)
        goto fail_net;
    error = ucx_handler_set(&net->ucx, MESSAGE_ID, message_arrived, net);
    if (error == 0)
        error = ucx_status(ucp_worker_get_efd(net->ucx.worker, &net->reactor.fd));
    if (error != 0)
        goto fail_context;
    net->latest = loop_latest(loop);
    net->reactor.name = "ucx";
    net->reactor.poll = poll_worker;
    net->reactor.arm = arm_worker;
    net->base = (struct net){
        .operations = &ucx_operations,
        .loop = loop,
        .name = "ucx",
        .reliable = true,
        .eager_max = EAGER_MAX,
        .address = net->ucx.address,
        .address_length = net->ucx.address_length,
        .receiver = drop_message,
    };
    if (options == NULL || !options->lazy)
        error = begin_polling(net);
    if (error != 0)
        goto fail_context;
    *out = &net->base;
    return 0;

fail_context:
    ucx_context_destroy(&net->ucx);
fail_net:
    free(net);
    return error;
}
