/* The ucx transport carries headers and bulk by every path, and a dead or hostile peer costs nothing but
 * itself. */
#include "net_conformance.h"

#include "net/ucx_context.h"

static const struct net_ucx_options *options; /* NULL: UCX's choice, which is shared memory */
static const struct net_ucx_options tcp = {.transports = "tcp", .devices = "lo"};

static int transport_create(struct loop *on, struct net **net)
{
    return net_ucx_create(on, options, net);
}

static void transport_reset(void)
{
    options = NULL;
}

static bool comes_at_once(size_t length)
{
    (void)length;
    return true;
}

static int set_up_tcp(void **state)
{
    options = &tcp;
    return set_up(state);
}

/* ---- another process ---- */

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
