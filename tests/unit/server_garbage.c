/* Requests that are well formed and make no sense, from a client and from a server that have the key: every
 * one is answered, none stops a server or makes it touch memory that is not its own (run under the sanitizers
 * to see that), and afterwards the servers still work. */
#include "server_fixture.h"

#include "base/random.h"
#include "rpc/table.h"

static struct fixture f;
static struct random generator;
static uint64_t inodes[8];

static int open_two(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 2, .store_capacity = 4 << 20, .lease_ns = 1000});
    random_seed(&generator, 11);
    log_threshold = (enum log_level) - 1; /* what a lying server leads to is logged as an error */
    char name[64];
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "%c", (int)('a' + i));
        inodes[i] = i % 2 == 0 ? make_file(&f, INODE_ROOT, name) : make_directory(&f, INODE_ROOT, name);
    }
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static uint64_t pick(uint64_t bound)
{
    return random_below(&generator, bound);
}

/* Noise, but with numbers in it that mean something. */
static void fill_body(uint8_t *body, size_t length)
{
    static const uint64_t edges[] = {0, 1, 4096, 65535, 65536, UINT32_MAX, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < length; i++)
        body[i] = pick(2) == 0 ? 0 : (uint8_t)pick(256);
    for (unsigned i = 0; i < 3 && length >= 8; i++) {
        uint64_t value = pick(2) == 0 ? edges[pick(8)] : pick(3) == 0 ? INODE_ROOT : inodes[pick(8)];
        size_t width = pick(2) == 0 ? 8 : 4;
        memcpy(body + (pick(2) == 0 ? 0 : pick(length - width + 1)), &value, width);
    }
}

/* Appends the names that the struct's last bytes tell of. */
static size_t append_names(const struct operation *operation, uint8_t *body)
{
    size_t length = operation->request_size;
    unsigned names = operation->shape == BODY_TWO_NAMES ? 2 : operation->shape == BODY_FIXED ? 0 : 1;
    for (unsigned i = 0; i < names; i++) {
        size_t size = pick(4) == 0 ? 1 + pick(NAME_LENGTH_MAX) : 1;
        body[operation->request_size - names + i] = (uint8_t)size;
        for (size_t at = 0; at < size; at++)
            body[length++] = (uint8_t)('a' + pick(10));
    }
    return length;
}

static void send_garbage(struct rpc *rpc, struct rpc_peer *peer)
{
    static char bulk[70000];
    struct operation_call c;
    unsigned number;
    const struct operation *operation;
    do {
        number = (unsigned)pick(RPC_OPERATION_MAX);
        operation = operation_find(number);
    } while (operation == NULL);
    fill_body(c.body, operation->request_size);
    size_t length = append_names(operation, c.body);
    call_prepare(&f, &c, (uint16_t)number, length, operation->reply_size);
    c.call.deadline = loop_now(rpc_loop(rpc)) + 50 * NSEC_PER_MSEC;
    c.call.namespace_epoch = pick(10) == 0 ? (uint32_t)pick(UINT32_MAX) : f.epoch;
    if (pick(3) == 0) {
        static const size_t lengths[] = {1, 100, 4096, 5000, 65536, 70000};
        call_send(&c, bulk, lengths[pick(6)]);
        if (number == RPC_WRITE_CHUNK && pick(4) != 0)
            ((struct chunk_write_request *)c.body)->length = (uint32_t)c.send.iov_len;
    }
    static char space[1 << 20];
    call_receive(&c, space, sizeof(space));
    rpc_start(peer, &c.call);
    finish(&c);
    f.epoch = c.call.reply_namespace_epoch != 0 ? c.call.reply_namespace_epoch : f.epoch;
}

static void test_client(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6000; i++)
        send_garbage(f.client.rpc, f.client.peers[pick(2)]);
    for (unsigned server = 0; server < 2; server++) {
        struct operation_call c;
        struct server_status_reply status;
        call_prepare(&f, &c, RPC_SERVER_STATUS, 0, sizeof(status));
        rpc_start(f.client.peers[server], &c.call);
        assert_int_equal(finish(&c), 0);
        if ((int32_t)(c.call.reply_namespace_epoch - f.epoch) > 0)
            f.epoch = c.call.reply_namespace_epoch; /* garbage told each server another one */
    }
    char name[64];
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    make_file(&f, directory, name_on(&f, directory, 1, "file", name));
    assert_int_equal(unlink_name(&f, directory, name), 0);
    assert_int_equal(remove_directory(&f, INODE_ROOT, "directory"), 0);
}

/* One that holds the key and calls itself a server. */
static void test_server(void **state)
{
    (void)state;
    struct net *net;
    struct rpc *rpc;
    struct rpc_peer *peers[2];
    struct rpc_options options = {.cluster_key = fixture_key, .server_id = 77};
    assert_int_equal(net_sim_create(f.network, "liar", &net), 0);
    assert_int_equal(rpc_create(net, &options, &rpc), 0);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(rpc_peer_create(rpc, f.map->servers[i].address, &peers[i]), 0);
    for (unsigned i = 0; i < 6000; i++)
        send_garbage(rpc, peers[pick(2)]);
    for (uint32_t i = 0; i < 2; i++)
        rpc_peer_destroy(peers[i]);
    rpc_destroy(rpc);
    net_destroy(net);
    for (unsigned server = 0; server < 2; server++) {
        struct operation_call c;
        struct server_status_reply status;
        call_prepare(&f, &c, RPC_SERVER_STATUS, 0, sizeof(status));
        rpc_start(f.client.peers[server], &c.call);
        assert_int_equal(finish(&c), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_client, open_two, close_all),
        cmocka_unit_test_setup_teardown(test_server, open_two, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
