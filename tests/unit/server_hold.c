/* Open files on the servers: what RELEASE waits for. */
#include "server_fixture.h"

static struct fixture f;

static int open_three(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3, .instances = true});
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void hold(struct party *party, uint64_t inode)
{
    struct operation_call c;
    struct hold_request *body = (void *)c.body;
    *body = (struct hold_request){.inode = inode, .access = 4};
    call_prepare(&f, &c, RPC_HOLD, sizeof(*body), sizeof(struct attributes_reply));
    rpc_start(party->peers[server_of(&f, inode)], &c.call);
    assert_int_equal(finish(&c), 0);
}

static void start_release(struct party *party, struct operation_call *c, uint64_t inode)
{
    assert_true(rpc_peer_notice(party->peers[0], inode));
    call_prepare(&f, c, RPC_RELEASE, 0, 0);
    rpc_start(party->peers[0], &c->call);
}

/* A file on server 0 that `party` alone holds, once: its creation has held it for the first client. */
static uint64_t make_held(struct party *party, const char *stem, char *name)
{
    struct operation_call release;
    uint64_t inode = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 0, stem, name));
    hold(party, inode);
    start_release(&f.client, &release, inode);
    assert_int_equal(finish(&release), 0);
    return inode;
}

/* The same, without a name and as large as three chunks. */
static uint64_t make_orphan(struct party *party, const char *stem)
{
    char name[64];
    struct operation_call c;
    uint64_t inode = make_held(party, stem, name);
    struct truncate_request *body = (void *)c.body;
    *body = (struct truncate_request){.inode = inode, .size = 3u << SHIFT, .expected = UINT64_MAX};
    call_prepare(&f, &c, RPC_TRUNCATE, sizeof(*body), sizeof(struct attributes_reply));
    rpc_start(f.client.peers[0], &c.call);
    assert_int_equal(finish(&c), 0);
    assert_int_equal(unlink_name(&f, INODE_ROOT, name), 0);
    return inode;
}

/* Freeing a file may take as long as a server needs that does not answer: whoever let it go waits for that,
 * nobody else. */
static void test_release_waits_for_its_own(void **state)
{
    (void)state;
    struct operation_call first, second;
    struct attributes attributes;
    uint64_t large = make_orphan(&f.client, "large");
    char name[64];
    uint64_t small = make_held(&f.second, "small", name);
    assert_int_equal(unlink_name(&f, INODE_ROOT, name), 0);
    net_sim_kill(f.nets[1]);
    start_release(&f.client, &first, large);
    /* Until the server is busy with it. */
    for (unsigned i = 0; i < 1000 && get_attributes(&f, large, &attributes) != -ESTALE; i++)
        continue;
    start_release(&f.second, &second, small);
    assert_int_equal(finish(&second), 0);
    assert_int_equal(get_attributes(&f, small, &attributes), -ESTALE);
    assert_false(first.call.done.fired);
    assert_int_equal(finish(&first), 0);
    assert_int_equal(get_attributes(&f, large, &attributes), -ESTALE);
}

static uint64_t bytes_used(void)
{
    uint64_t used = 0;
    for (uint32_t server = 0; server < 3; server++) {
        struct operation_call c;
        call_prepare(&f, &c, RPC_STATFS, 0, sizeof(struct statfs_reply));
        rpc_start(f.client.peers[server], &c.call);
        assert_int_equal(finish(&c), 0);
        used += ((struct statfs_reply *)c.reply)->used;
    }
    return used;
}

/* What the last close let go is free, on all servers, when RELEASE returns. */
static void test_release_waits_until_it_is_free(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        char stem[16];
        struct operation_call release;
        snprintf(stem, sizeof(stem), "r%u_", round);
        uint64_t inode = make_orphan(&f.client, stem);
        for (uint32_t server = 1; server < 3; server++) {
            struct chunk_write write = {.inode = inode,
                                        .index = server,
                                        .server = server,
                                        .bytes = "x",
                                        .length = 1,
                                        .flags = CHUNK_KEEP_SIZE};
            assert_int_equal(write_chunk(&f, &write, NULL), 0);
        }
        assert_int_not_equal(bytes_used(), 0);
        start_release(&f.client, &release, inode);
        assert_int_equal(finish(&release), 0);
        assert_int_equal(bytes_used(), 0);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_three, close_all)
    const struct CMUnitTest tests[] = {
        CASE(test_release_waits_for_its_own),
        CASE(test_release_waits_until_it_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
