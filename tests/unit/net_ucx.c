/* The ucx transport carries headers and bulk by every path, and a dead or hostile peer costs nothing but
 * itself. */
#include "unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/net.h"
#include "net/ucx_context.h"

#define PATIENCE (5 * NSEC_PER_SEC)

enum { BULK_MAX = 4 << 20, MESSAGES_MAX = 1024 };

/* What the receiving side does with bulk. */
enum intake { IGNORE, TAKE_AT_ONCE, HOLD };

struct party {
    struct loop *loop;
    struct net *net;
    struct net_connection *connection; /* to the other party */
    enum intake intake;
    struct net_message held;
    uint8_t header[NET_HEADER_MAX];
    uint32_t header_length;
    uint64_t bulk_length;
    bool bulk_here;
    uint8_t *into;
    uint32_t into_pieces;
    struct completion received;
    int receive_status;
    unsigned messages;
};

static struct iovec pieces[8];

/* Cuts memory into uneven pieces. */
static uint32_t cut(void *memory, size_t length, uint32_t count)
{
    uint8_t *next = memory;
    for (uint32_t i = 0; i < count; i++) {
        size_t share = i == count - 1 ? length : length / (count - i + 1) + i;
        pieces[i] = (struct iovec){next, share};
        next += share;
        length -= share;
    }
    return count;
}

static void note_message(void *owner, struct net_message *message)
{
    struct party *party = owner;
    party->messages++;
    memcpy(party->header, message->header, message->header_length);
    party->header_length = message->header_length;
    party->bulk_length = message->bulk_length;
    party->bulk_here = message->bulk_here;
    switch (party->intake) {
    case IGNORE:
        break;
    case TAKE_AT_ONCE:
        party->received = COMPLETION_INIT;
        party->receive_status = net_receive(
            message, pieces, cut(party->into, message->bulk_length, party->into_pieces), &party->received);
        break;
    case HOLD:
        net_hold(message);
        party->held = *message;
        break;
    }
}

static const struct net_ucx_options *options; /* NULL: UCX's choice, which is shared memory */

static void party_open(struct party *party, struct loop *loop)
{
    memset(party, 0, sizeof *party);
    party->loop = loop;
    party->into_pieces = 1;
    assert_int_equal(net_ucx_create(loop, options, &party->net), 0);
    party->net->receiver = note_message;
    party->net->owner = party;
}

static struct loop *loop;
static struct party left, right;
static uint8_t *source, *target;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(loop_create(&(struct loop_options){0}, &loop), 0);
    party_open(&left, loop);
    party_open(&right, loop);
    assert_int_equal(net_connect(left.net, right.net->address, right.net->address_length, &left.connection),
                     0);
    assert_int_equal(net_connect(right.net, left.net->address, left.net->address_length, &right.connection),
                     0);
    source = malloc(BULK_MAX);
    target = calloc(1, BULK_MAX);
    for (size_t i = 0; i < BULK_MAX; i++)
        source[i] = (uint8_t)(i * 31 + i / 509);
    right.into = target;
    return 0;
}

static const struct net_ucx_options tcp = {.transports = "tcp", .devices = "lo"};

static int set_up_tcp(void **state)
{
    options = &tcp;
    return set_up(state);
}

static int tear_down(void **state)
{
    (void)state;
    options = NULL;
    net_destroy(left.net);
    net_destroy(right.net);
    loop_destroy(loop);
    free(source);
    free(target);
    return 0;
}

/* Turns the loop until the condition holds, for a bounded time. */
#define until(condition)                                                                                     \
    do {                                                                                                     \
        uint64_t end = loop_now(loop) + PATIENCE;                                                            \
        while (!(condition) && loop_now(loop) < end)                                                         \
            loop_poll(loop);                                                                                 \
        assert_true(condition);                                                                              \
    } while (0)

static int send_and_wait(struct net_connection *connection, const void *header, uint32_t length,
                         const struct iovec *bulk, uint32_t count, unsigned flags)
{
    struct completion sent = COMPLETION_INIT;
    int status = net_send(connection, header, length, bulk, count, flags, &sent);
    return status == -EINPROGRESS ? await(loop, &sent) : status;
}

static void headers_arrive_whole(void **state)
{
    (void)state;
    const uint32_t lengths[] = {1, 8, 64, 92, 93, 110, 220, 221, 222, 512, NET_HEADER_MAX};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(send_and_wait(left.connection, source + i, lengths[i], NULL, 0, 0), 0);
        until(right.messages == i + 1);
        assert_int_equal(right.header_length, lengths[i]);
        assert_memory_equal(right.header, source + i, lengths[i]);
        assert_int_equal(right.bulk_length, 0);
    }
    struct completion sent = COMPLETION_INIT;
    assert_int_equal(net_send(left.connection, source, 0, NULL, 0, 0, &sent), -EINVAL);
    assert_int_equal(net_send(left.connection, source, NET_HEADER_MAX + 1, NULL, 0, 0, &sent), -EINVAL);
}

static void exchange(size_t length, unsigned flags, uint32_t send_pieces, uint32_t receive_pieces,
                     enum intake intake)
{
    unsigned before = right.messages;
    struct completion sent = COMPLETION_INIT;
    memset(target, 0, length + 1);
    right.intake = intake;
    right.into_pieces = receive_pieces;
    struct iovec bulk[8];
    memcpy(bulk, pieces, sizeof bulk);
    cut(source, length, send_pieces);
    memcpy(bulk, pieces, sizeof bulk);
    int status = net_send(left.connection, "twelve bytes", 12, bulk, send_pieces, flags, &sent);
    until(right.messages == before + 1);
    assert_int_equal(right.header_length, 12);
    assert_memory_equal(right.header, "twelve bytes", 12);
    assert_int_equal(right.bulk_length, length);
    assert_int_equal(right.bulk_here, (flags & NET_SEND_RENDEZVOUS) == 0);
    int received = right.receive_status;
    if (intake == HOLD) {
        /* What was held must survive other traffic. */
        right.intake = IGNORE;
        for (unsigned i = 0; i < 200; i++) {
            assert_int_equal(send_and_wait(left.connection, source + 100, 100, NULL, 0, 0), 0);
        }
        until(right.messages == before + 201);
        right.received = COMPLETION_INIT;
        received = net_receive(&right.held, pieces, cut(target, length, receive_pieces), &right.received);
    }
    if (received == -EINPROGRESS)
        received = await_until(loop, &right.received, loop_now(loop) + PATIENCE);
    assert_int_equal(received, 0);
    if (intake == HOLD)
        net_release(&right.held);
    if (status == -EINPROGRESS)
        status = await_until(loop, &sent, loop_now(loop) + PATIENCE);
    assert_int_equal(status, 0);
    assert_memory_equal(target, source, length);
    assert_int_equal(target[length], 0);
}

static void bulk_arrives_by_every_path(void **state)
{
    (void)state;
    const size_t eager[] = {16, 100, 300, 4096, 8192, 40000, 200000};
    const size_t rendezvous[] = {100, 4096, 65536, 1 << 20, BULK_MAX - 1};
    for (uint32_t shape = 0; shape < 8; shape++) {
        uint32_t from = (shape & 1) != 0 ? 3 : 1, into = (shape & 2) != 0 ? 4 : 1;
        enum intake intake = (shape & 4) != 0 ? HOLD : TAKE_AT_ONCE;
        for (size_t i = 0; i < sizeof eager / sizeof eager[0]; i++)
            exchange(eager[i], 0, from, into, intake);
        for (size_t i = 0; i < sizeof rendezvous / sizeof rendezvous[0]; i++)
            exchange(rendezvous[i], NET_SEND_RENDEZVOUS, from, into, intake);
    }
}

static void unwanted_bulk_is_discarded(void **state)
{
    (void)state;
    const enum intake intakes[] = {IGNORE, HOLD};
    for (unsigned i = 0; i < 2; i++) {
        right.intake = intakes[i];
        const size_t lengths[] = {64, 4096, 1 << 20};
        for (unsigned j = 0; j < 3; j++)
            for (unsigned flags = 0; flags <= NET_SEND_RENDEZVOUS; flags++) {
                unsigned before = right.messages;
                struct completion sent = COMPLETION_INIT;
                struct iovec bulk = {source, lengths[j]};
                int status = net_send(left.connection, "header", 6, &bulk, 1, flags, &sent);
                until(right.messages == before + 1);
                if (intakes[i] == HOLD) {
                    struct iovec wrong = {target, lengths[j] - 1};
                    assert_int_equal(net_receive(&right.held, &wrong, 1, &right.received), -EINVAL);
                    net_release(&right.held);
                }
                if (status == -EINPROGRESS)
                    status = await_until(loop, &sent, loop_now(loop) + PATIENCE);
                assert_int_equal(status, 0);
            }
    }
}

static void malformed_addresses_are_refused(void **state)
{
    (void)state;
    struct net_connection *connection;
    size_t length = right.net->address_length;
    uint8_t *address = malloc(length);
    for (size_t i = 0; i < length; i++) {
        memcpy(address, right.net->address, length);
        address[i] ^= 0x40;
        assert_int_equal(net_connect(left.net, address, length, &connection), -EINVAL);
        assert_int_equal(net_connect(left.net, right.net->address, i, &connection), -EINVAL);
    }
    free(address);
}

static void allocated_memory_is_zeroed_and_carries_bulk(void **state)
{
    (void)state;
    void *memory, *region;
    assert_int_equal(net_memory_allocate(right.net, 3 << 20, &memory, &region), 0);
    assert_int_equal((uintptr_t)memory % 4096, 0);
    for (size_t i = 0; i < 3 << 20; i += 4096)
        assert_int_equal(((uint8_t *)memory)[i], 0);
    uint8_t *usual = target;
    target = right.into = memory;
    exchange(1 << 20, NET_SEND_RENDEZVOUS, 1, 1, TAKE_AT_ONCE);
    target = right.into = usual;
    net_memory_free(right.net, region);
}

static void closing_completes_what_is_under_way_once(void **state)
{
    (void)state;
    right.intake = HOLD;
    struct completion sent = COMPLETION_INIT;
    struct iovec bulk = {source, 1 << 20};
    assert_int_equal(net_send(left.connection, "header", 6, &bulk, 1, NET_SEND_RENDEZVOUS, &sent),
                     -EINPROGRESS);
    until(right.messages == 1);
    net_close(left.connection);
    assert_true(sent.fired);
    assert_int_equal(sent.status, -ECONNRESET);
    right.received = COMPLETION_INIT;
    struct iovec into = {target, 1 << 20};
    int status = net_receive(&right.held, &into, 1, &right.received);
    if (status == -EINPROGRESS)
        await_until(loop, &right.received, loop_now(loop) + 50 * NSEC_PER_MSEC);
    net_release(&right.held);
    for (int i = 0; i < 1000; i++)
        loop_poll(loop);
}

/* ---- another process ---- */

struct remote {
    pid_t pid;
    int socket;
};

/* A process that connects back, then (behaviour 'e') answers each header with itself, or (behaviour 's')
 * sends one rendezvous. */
static void remote_main(int fd, char behaviour)
{
    struct party party;
    uint8_t address[4096];
    uint32_t length;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (loop_create(&(struct loop_options){0}, &loop) != 0)
        _exit(1);
    party_open(&party, loop);
    length = (uint32_t)party.net->address_length;
    if (write(fd, &length, sizeof length) != sizeof length ||
        write(fd, party.net->address, length) != length ||
        read(fd, &length, sizeof length) != sizeof length || read(fd, address, length) != length ||
        net_connect(party.net, address, length, &party.connection) != 0)
        _exit(2);
    static uint8_t bytes[1 << 20];
    struct iovec bulk = {bytes, sizeof bytes};
    struct completion sent = COMPLETION_INIT;
    if (behaviour == 's') {
        if (net_send(party.connection, "fetch", 5, &bulk, 1, NET_SEND_RENDEZVOUS, &sent) != -EINPROGRESS)
            _exit(3);
        if (write(fd, "s", 1) != 1)
            _exit(4);
        for (;;)
            loop_poll(loop);
    }
    if (write(fd, "e", 1) != 1)
        _exit(5);
    for (unsigned answered = 0;;) {
        loop_poll(loop);
        for (; answered < party.messages; answered++)
            if (send_and_wait(party.connection, party.header, party.header_length, NULL, 0, 0) != 0)
                _exit(6);
    }
}

static struct remote remote_start(char behaviour)
{
    int sockets[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    struct remote remote = {.pid = fork(), .socket = sockets[0]};
    assert_true(remote.pid >= 0);
    if (remote.pid == 0) {
        close(sockets[0]);
        remote_main(sockets[1], behaviour);
        _exit(9);
    }
    close(sockets[1]);
    return remote;
}

static void remote_connect(const struct remote *remote, struct party *party)
{
    uint8_t address[4096];
    uint32_t length;
    assert_int_equal(read(remote->socket, &length, sizeof length), sizeof length);
    assert_true(length <= sizeof address);
    assert_int_equal(recv(remote->socket, address, length, MSG_WAITALL), length);
    assert_int_equal(net_connect(party->net, address, length, &party->connection), 0);
    length = (uint32_t)party->net->address_length;
    assert_int_equal(write(remote->socket, &length, sizeof length), sizeof length);
    assert_int_equal(write(remote->socket, party->net->address, length), length);
    char ready;
    for (;;) {
        ssize_t got = recv(remote->socket, &ready, 1, MSG_DONTWAIT);
        if (got == 1)
            break;
        assert_true(got < 0 && errno == EAGAIN);
        loop_poll(loop);
    }
}

static void remote_kill(const struct remote *remote)
{
    kill(remote->pid, SIGKILL);
    waitpid(remote->pid, NULL, 0);
    close(remote->socket);
}

static int set_up_loop(void **state)
{
    (void)state;
    assert_int_equal(loop_create(&(struct loop_options){0}, &loop), 0);
    return 0;
}

static int tear_down_loop(void **state)
{
    (void)state;
    loop_destroy(loop);
    return 0;
}

static void another_process_answers(void **state)
{
    (void)state;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    remote_connect(&remote, &left);
    for (unsigned i = 0; i < 100; i++) {
        uint8_t header[64] = {(uint8_t)i, 1, 2, 3};
        assert_int_equal(send_and_wait(left.connection, header, sizeof header, NULL, 0, 0), 0);
        until(left.messages == i + 1);
        assert_memory_equal(left.header, header, sizeof header);
    }
    remote_kill(&remote);
    net_destroy(left.net);
}

/* kill -9 of the peer: its 64-entry FIFO fills up, sends stay pending, and closing must neither wait nor lose
 * one. */
static void a_dead_peer_with_a_full_queue_can_be_closed(void **state)
{
    (void)state;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    remote_connect(&remote, &left);
    static struct completion sent[MESSAGES_MAX];
    unsigned pending = 0;
    uint8_t *headers = calloc(MESSAGES_MAX, 64);
    memset(sent, 0, sizeof sent);
    struct iovec first = {headers, 4096}; /* attaches to the memory for larger messages while it can be */
    assert_int_equal(send_and_wait(left.connection, headers, 64, &first, 1, 0), 0);
    until(left.messages == 1);
    remote_kill(&remote);
    for (unsigned i = 0; i < MESSAGES_MAX; i++) {
        struct iovec bulk = {headers, 4096};
        int status =
            net_send(left.connection, headers + 64 * (size_t)i, 64, &bulk, i % 3 == 2, 0, &sent[pending]);
        assert_true(status == 0 || status == -EINPROGRESS || status == -ECONNRESET);
        pending += status == -EINPROGRESS;
        loop_poll(loop);
    }
    assert_true(pending > 500);
    struct iovec bulk = {headers, 64 << 10};
    struct completion rendezvous = COMPLETION_INIT;
    int status = net_send(left.connection, "header", 6, &bulk, 1, NET_SEND_RENDEZVOUS, &rendezvous);
    assert_true(status == -EINPROGRESS);
    uint64_t start = loop_now(loop);
    net_close(left.connection);
    assert_true(loop_now(loop) - start < 100 * NSEC_PER_MSEC);
    for (unsigned i = 0; i < pending; i++) {
        assert_true(sent[i].fired);
        assert_int_equal(sent[i].status, -ECONNRESET);
    }
    assert_true(rendezvous.fired);
    memset(sent, 0xee, sizeof sent); /* a second firing would be noticed here */
    free(headers);
    for (int i = 0; i < 10000; i++)
        loop_poll(loop);
    for (size_t i = 0; i < sizeof sent; i++)
        assert_int_equal(((uint8_t *)sent)[i], 0xee);
    start = loop_now(loop);
    net_destroy(left.net);
    assert_true(loop_now(loop) - start < 500 * NSEC_PER_MSEC);
}

/* Over TCP the kernel tells UCX, which tells us: sends under way fail and later ones are refused. */
static void over_tcp_a_dead_peer_is_noticed(void **state)
{
    (void)state;
    options = &tcp;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    remote_connect(&remote, &left);
    uint8_t header[64] = {0};
    assert_int_equal(send_and_wait(left.connection, header, sizeof header, NULL, 0, 0), 0);
    until(left.messages == 1);
    remote_kill(&remote);
    uint64_t end = loop_now(loop) + PATIENCE;
    int status = 0;
    while (status == 0 && loop_now(loop) < end)
        status = send_and_wait(left.connection, header, sizeof header, NULL, 0, 0);
    assert_int_equal(status, -ECONNRESET);
    net_close(left.connection);
    net_destroy(left.net);
    options = NULL;
}

/* ---- strangers ---- */

/* A worker of ours that was not made by net_ucx_create can send to any active message id, in any form. */
static void strange_messages_reach_nobody_or_are_bounded(void **state)
{
    (void)state;
    struct ucx_context stranger;
    ucp_ep_h endpoint;
    assert_int_equal(ucx_context_create(NULL, 0, NULL, &stranger), 0);
    assert_int_equal(
        ucx_endpoint_create(&stranger, right.net->address, right.net->address_length, NULL, NULL, &endpoint),
        0);
    right.intake = IGNORE;
    const struct {
        uint32_t header, bulk, flags;
        bool heard;
    } forms[] = {
        {NET_HEADER_MAX + 1, 0, UCP_AM_SEND_FLAG_EAGER, false},
        {NET_HEADER_MAX + 1, 10, UCP_AM_SEND_FLAG_EAGER, false},
        {0, 0, UCP_AM_SEND_FLAG_EAGER, false},
        {0, NET_HEADER_MAX + 1, UCP_AM_SEND_FLAG_EAGER, false},
        {0, 100000, UCP_AM_SEND_FLAG_EAGER, false},
        {0, 100, UCP_AM_SEND_FLAG_RNDV, false},
        {0, 100, UCP_AM_SEND_FLAG_EAGER, true}, /* is a header */
        {100, 100, UCP_AM_SEND_FLAG_RNDV, true},
    };
    const unsigned ids[] = {0, 1, 2, 63, 1000, UINT16_MAX};
    for (unsigned k = 0; k < sizeof ids / sizeof ids[0]; k++)
        for (unsigned i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            unsigned before = right.messages;
            const ucp_request_param_t parameters = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                                    .flags = forms[i].flags};
            void *request = ucp_am_send_nbx(endpoint, ids[k], source, forms[i].header, source, forms[i].bulk,
                                            &parameters);
            assert_false(UCS_PTR_IS_ERR(request));
            for (unsigned j = 0;
                 j < 1000 || (request != NULL && ucp_request_check_status(request) == UCS_INPROGRESS); j++) {
                assert_true(j < 1000000);
                ucp_worker_progress(stranger.worker);
                loop_poll(loop);
            }
            if (request != NULL)
                ucp_request_free(request);
            assert_int_equal(right.messages - before, ids[k] == 1 && forms[i].heard);
        }
    ucx_endpoint_destroy(endpoint);
    ucx_context_destroy(&stranger);
    exchange(4096, 0, 1, 1, TAKE_AT_ONCE);
}

static void destroying_with_a_dead_peer_is_bounded(void **state)
{
    (void)state;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    remote_connect(&remote, &left);
    remote_kill(&remote);
    static struct completion sent[300];
    static uint8_t header[64];
    memset(sent, 0, sizeof sent);
    unsigned pending = 0;
    for (unsigned i = 0; i < 300; i++)
        pending +=
            net_send(left.connection, header, sizeof header, NULL, 0, 0, &sent[pending]) == -EINPROGRESS;
    assert_true(pending > 100);
    uint64_t start = loop_now(loop);
    net_destroy(left.net);
    assert_true(loop_now(loop) - start < 500 * NSEC_PER_MSEC);
    for (unsigned i = 0; i < pending; i++)
        assert_int_equal(sent[i].status, -ECONNRESET);
}

static void fetching_from_a_dead_sender_fails_or_waits_for_close(void **state)
{
    (void)state;
    struct remote remote = remote_start('s');
    party_open(&left, loop);
    left.intake = HOLD;
    remote_connect(&remote, &left);
    until(left.messages == 1);
    assert_int_equal(left.bulk_length, 1 << 20);
    assert_false(left.bulk_here);
    remote_kill(&remote);
    uint8_t *into = malloc(1 << 20);
    struct iovec vector = {into, 1 << 20};
    left.received = COMPLETION_INIT;
    int status = net_receive(&left.held, &vector, 1, &left.received);
    if (status == -EINPROGRESS) {
        status = await_until(loop, &left.received, loop_now(loop) + 200 * NSEC_PER_MSEC);
        net_close(left.connection);
        if (!left.received.fired)
            status = await_until(loop, &left.received, loop_now(loop) + 200 * NSEC_PER_MSEC);
    } else {
        net_close(left.connection);
    }
    net_release(&left.held);
    assert_int_not_equal(status, 0);
    assert_int_not_equal(status, -ETIMEDOUT);
    net_destroy(left.net);
    free(into);
}

static void connecting_to_a_dead_process_fails_or_stays_silent(void **state)
{
    (void)state;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    uint8_t address[4096];
    uint32_t length;
    assert_int_equal(read(remote.socket, &length, sizeof length), sizeof length);
    assert_int_equal(recv(remote.socket, address, length, MSG_WAITALL), length);
    remote_kill(&remote);
    int status = net_connect(left.net, address, length, &left.connection);
    if (status == 0) {
        struct completion sent = COMPLETION_INIT;
        net_send(left.connection, "anybody", 7, NULL, 0, 0, &sent);
        for (int i = 0; i < 1000; i++)
            loop_poll(loop);
        net_close(left.connection);
    }
    net_destroy(left.net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(headers_arrive_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bulk_arrives_by_every_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers_arrive_whole, set_up_tcp, tear_down),
        cmocka_unit_test_setup_teardown(bulk_arrives_by_every_path, set_up_tcp, tear_down),
        cmocka_unit_test_setup_teardown(strange_messages_reach_nobody_or_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_tcp_a_dead_peer_is_noticed, set_up_loop, tear_down_loop),
        cmocka_unit_test_setup_teardown(unwanted_bulk_is_discarded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed_addresses_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(allocated_memory_is_zeroed_and_carries_bulk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_completes_what_is_under_way_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_process_answers, set_up_loop, tear_down_loop),
        cmocka_unit_test_setup_teardown(a_dead_peer_with_a_full_queue_can_be_closed, set_up_loop,
                                        tear_down_loop),
        cmocka_unit_test_setup_teardown(destroying_with_a_dead_peer_is_bounded, set_up_loop, tear_down_loop),
        cmocka_unit_test_setup_teardown(fetching_from_a_dead_sender_fails_or_waits_for_close, set_up_loop,
                                        tear_down_loop),
        cmocka_unit_test_setup_teardown(connecting_to_a_dead_process_fails_or_stays_silent, set_up_loop,
                                        tear_down_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
