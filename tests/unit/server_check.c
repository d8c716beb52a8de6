/* Walks over what a server holds, the wait for what is under way, and repairs that find something else than
 * they were told. */
#include "server_fixture.h"

static struct fixture f;

static int open_two(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 2, .instances = true});
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static uint8_t bulk[1 << 20];

/* One page; the reply's bulk is in `bulk`. */
static int page(uint32_t server, uint16_t operation, const void *body, size_t length,
                struct check_reply *reply, size_t *received)
{
    struct operation_call c;
    memcpy(c.body, body, length);
    call_prepare(&f, &c, operation, length, sizeof(*reply));
    call_receive(&c, bulk, sizeof(bulk));
    rpc_start(f.client.peers[server], &c.call);
    int status = finish(&c);
    if (status == 0) {
        memcpy(reply, c.reply, sizeof(*reply));
        *received = c.call.received;
    }
    return status;
}

/* ---- inodes ---- */

#define SOME 40

static void test_inodes_in_pages(void **state)
{
    (void)state;
    uint64_t made[SOME];
    for (unsigned i = 0; i < SOME; i++) {
        char name[32];
        snprintf(name, sizeof(name), "f%u", i);
        made[i] = make_file(&f, INODE_ROOT, name);
    }
    for (uint32_t most = 1; most < 2 * SOME; most += 7) {
        unsigned found = 0, roots = 0;
        for (uint32_t server = 0; server < 2; server++) {
            struct check_inodes_request body = {.entries_max = most};
            struct check_reply reply = {.more = 1};
            uint64_t last = 0;
            size_t received;
            while (reply.more != 0) {
                assert_int_equal(page(server, RPC_CHECK_INODES, &body, sizeof(body), &reply, &received), 0);
                assert_int_equal(received, reply.entries * sizeof(struct check_inode));
                assert_true(reply.entries <= most);
                const struct check_inode *inodes = (const void *)bulk;
                for (uint32_t i = 0; i < reply.entries; i++) {
                    assert_true(inodes[i].inode > last);
                    last = inodes[i].inode;
                    assert_int_equal(server_of(&f, last), server);
                    roots += last == INODE_ROOT && S_ISDIR(inodes[i].mode) && inodes[i].links == 2;
                    for (unsigned k = 0; k < SOME; k++)
                        found += made[k] == last && S_ISREG(inodes[i].mode) && inodes[i].links == 1;
                }
                body.from = reply.next[0];
            }
        }
        assert_int_equal(found, SOME);
        assert_int_equal(roots, 1);
    }
}

static void test_bodies_that_make_no_sense(void **state)
{
    (void)state;
    struct check_reply reply;
    size_t received;
    struct check_inodes_request inodes = {0};
    struct check_names_request names = {0};
    struct check_chunks_request chunks = {0};
    assert_int_equal(page(0, RPC_CHECK_INODES, &inodes, sizeof(inodes), &reply, &received), -EINVAL);
    assert_int_equal(page(0, RPC_CHECK_NAMES, &names, sizeof(names), &reply, &received), -EINVAL);
    assert_int_equal(page(0, RPC_CHECK_CHUNKS, &chunks, sizeof(chunks), &reply, &received), -EINVAL);
    inodes = (struct check_inodes_request){.from = UINT64_MAX, .entries_max = UINT32_MAX};
    assert_int_equal(page(0, RPC_CHECK_INODES, &inodes, sizeof(inodes), &reply, &received), 0);
    assert_int_equal(reply.entries, 0);
    names = (struct check_names_request){.directory = UINT64_MAX, .hash = UINT64_MAX, .bytes_max = 1};
    assert_int_equal(page(0, RPC_CHECK_NAMES, &names, sizeof(names), &reply, &received), 0);
    chunks = (struct check_chunks_request){.inode = UINT64_MAX, .index = UINT64_MAX, .entries_max = 1};
    assert_int_equal(page(0, RPC_CHECK_CHUNKS, &chunks, sizeof(chunks), &reply, &received), 0);
    assert_int_equal(reply.entries, 0);
}

/* ---- names ---- */

static void test_names_in_pages(void **state)
{
    (void)state;
    uint64_t directories[4] = {INODE_ROOT};
    uint32_t expected = 0;
    for (unsigned d = 1; d < 4; d++, expected++) {
        char name[32];
        snprintf(name, sizeof(name), "d%u", d);
        directories[d] = make_directory(&f, INODE_ROOT, name);
    }
    for (unsigned i = 0; i < SOME; i++, expected++) {
        char name[32];
        snprintf(name, sizeof(name), "%*u", 1 + (int)i / 2, i);
        make_file(&f, directories[i % 4], name);
    }
    for (uint32_t bytes = 1; bytes < 4000; bytes = bytes * 3 + 1) {
        uint32_t found = 0;
        for (uint32_t server = 0; server < 2; server++) {
            struct check_names_request body = {.bytes_max = bytes};
            struct check_reply reply = {.more = 1};
            uint64_t directory = 0, hash = 0;
            size_t received;
            while (reply.more != 0) {
                assert_int_equal(page(server, RPC_CHECK_NAMES, &body, sizeof(body), &reply, &received), 0);
                size_t at = 0;
                for (uint32_t i = 0; i < reply.entries; i++, found++) {
                    const struct check_name *name = (const void *)(bulk + at);
                    at += name->record_length;
                    assert_int_equal(name->hash, dentry_hash(name->directory, name->name, name->name_length));
                    assert_true(name->directory != directory || name->hash > hash);
                    directory = name->directory;
                    hash = name->hash;
                }
                assert_int_equal(at, received);
                body.directory = reply.next[0];
                body.hash = reply.next[1];
            }
        }
        assert_int_equal(found, expected);
    }
}

/* ---- chunks ---- */

static void test_chunks_in_pages(void **state)
{
    (void)state;
    uint64_t files[3];
    char bytes[100] = {0};
    for (unsigned i = 0; i < 3; i++) {
        char name[64];
        name_on(&f, INODE_ROOT, 0, i == 0 ? "a" : i == 1 ? "b" : "c", name);
        files[i] = make_file(&f, INODE_ROOT, name);
        for (uint64_t index = 0; index <= i; index++) {
            struct chunk_write write = {.inode = files[i],
                                        .index = 2 * index,
                                        .bytes = bytes,
                                        .length = sizeof(bytes) - i,
                                        .flags = CHUNK_KEEP_SIZE,
                                        .offset = INLINE_DATA_MAX};
            assert_int_equal(write_chunk(&f, &write, NULL), 0);
        }
    }
    for (uint32_t most = 1; most < 5; most++) {
        struct check_chunks_request body = {.entries_max = most};
        struct check_reply reply = {.more = 1};
        uint64_t chunks = 0;
        size_t received;
        while (reply.more != 0) {
            assert_int_equal(page(0, RPC_CHECK_CHUNKS, &body, sizeof(body), &reply, &received), 0);
            const struct check_chunks *entries = (const void *)bulk;
            for (uint32_t i = 0; i < reply.entries; i++) {
                unsigned k = 0;
                while (k < 3 && files[k] != entries[i].inode)
                    k++;
                assert_true(k < 3);
                assert_int_equal(entries[i].chunks, k + 1);
                assert_int_equal(entries[i].last, 2 * k);
                assert_int_equal(entries[i].last_length, INLINE_DATA_MAX + sizeof(bytes) - k);
                chunks += entries[i].chunks;
            }
            body.inode = reply.next[0];
            body.index = reply.next[1];
        }
        assert_int_equal(chunks, 6);
    }
    struct check_chunks_request only = {.inode = files[2], .index = 1, .entries_max = 4, .only = 1};
    struct check_reply reply;
    size_t received;
    assert_int_equal(page(0, RPC_CHECK_CHUNKS, &only, sizeof(only), &reply, &received), 0);
    assert_int_equal(reply.entries, 1);
    assert_int_equal(((const struct check_chunks *)(const void *)bulk)->chunks, 2);
}

/* ---- what is under way ---- */

static struct check_settled_reply settled(uint32_t server, uint64_t since)
{
    struct operation_call c;
    struct check_settled_request *body = (void *)c.body;
    body->since = since;
    call_prepare(&f, &c, RPC_CHECK_SETTLED, sizeof(*body), sizeof(struct check_settled_reply));
    rpc_start(f.client.peers[server], &c.call);
    assert_int_equal(finish(&c), 0);
    return *(struct check_settled_reply *)c.reply;
}

/* A second lock on the same file waits for the first one to go, which is a request under way. */
static void start_lock(struct party *party, struct operation_call *c, uint64_t inode, uint8_t type)
{
    struct lock_request *body = (void *)c->body;
    *body = (struct lock_request){.inode = inode,
                                  .owner = party == &f.client ? 5 : 6,
                                  .end = LOCK_OFFSET_MAX,
                                  .ticket = 1,
                                  .wait_ms = 500,
                                  .kind = LOCK_FLOCK,
                                  .type = type,
                                  .flags = LOCK_WAIT};
    call_prepare(&f, c, RPC_LOCK, sizeof(*body), 0);
    rpc_start(party->peers[server_of(&f, inode)], &c->call);
}

static void test_settled_waits_for_requests(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "f");
    uint32_t server = server_of(&f, inode);
    assert_int_equal(settled(server, 0).settled, 1);

    struct operation_call lock, blocked;
    start_lock(&f.client, &lock, inode, LOCK_EXCLUSIVE);
    assert_int_equal(finish(&lock), 0);
    start_lock(&f.second, &blocked, inode, LOCK_EXCLUSIVE);
    uint64_t started = loop_now(f.loop);
    while (loop_now(f.loop) < started + NSEC_PER_MSEC)
        assert_true(loop_poll(f.loop) != 0);
    assert_false(blocked.call.done.fired);
    assert_int_equal(settled(1 - server, 0).settled, 1);
    assert_false(blocked.call.done.fired);
    struct check_settled_reply reply = settled(server, 0);
    while (reply.settled == 0)
        reply = settled(server, reply.since);
    assert_true(loop_now(f.loop) > started + 10 * NSEC_PER_MSEC);
    assert_int_equal(finish(&blocked), -STATUS_LOCK_WAIT);
    assert_int_equal(settled(server, 0).settled, 1);
}

/* ---- repairs ---- */

static int repair_inode(uint32_t server, const struct repair_inode_request *repair)
{
    struct operation_call c;
    memcpy(c.body, repair, sizeof(*repair));
    call_prepare(&f, &c, RPC_REPAIR_INODE, sizeof(*repair), 0);
    rpc_start(f.client.peers[server], &c.call);
    int status = finish(&c);
    f.epoch = c.call.reply_namespace_epoch;
    return status;
}

static int repair_name(uint32_t server, uint8_t action, uint64_t directory, const char *name, uint64_t inode,
                       uint32_t type)
{
    struct operation_call c;
    struct repair_name_request *body = (void *)c.body;
    *body = (struct repair_name_request){.directory = directory,
                                         .hash = dentry_hash(directory, name, strlen(name)),
                                         .inode = inode,
                                         .type = type,
                                         .action = action,
                                         .name_length = (uint8_t)strlen(name)};
    memcpy(body->name, name, strlen(name));
    call_prepare(&f, &c, RPC_REPAIR_NAME, sizeof(*body) + strlen(name), 0);
    rpc_start(f.client.peers[server], &c.call);
    return finish(&c);
}

static void test_inode_repairs_need_what_was_seen(void **state)
{
    (void)state;
    struct attributes attributes;
    uint64_t inode = make_file(&f, INODE_ROOT, "f"), directory = make_directory(&f, INODE_ROOT, "d");
    uint32_t server = server_of(&f, inode);
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    struct repair_inode_request repair = {
        .inode = inode, .value = 3, .change_time = attributes.change_time - 1, .action = REPAIR_LINKS};
    assert_int_equal(repair_inode(server, &repair), -EAGAIN);
    repair.change_time++;
    assert_int_equal(repair_inode(1 - server, &repair), -STATUS_WRONG_EPOCH);
    assert_int_equal(repair_inode(server, &repair), 0);
    assert_int_equal(repair_inode(server, &repair), -EAGAIN); /* that changed it */
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    assert_int_equal(attributes.links, 3);
    repair.change_time = attributes.change_time;
    repair.value = 0;
    assert_int_equal(repair_inode(server, &repair), -EINVAL);
    repair.value = INODE_LINKS_MAX + 1;
    assert_int_equal(repair_inode(server, &repair), -EINVAL);
    repair.action = REPAIR_PARENT;
    repair.value = directory;
    assert_int_equal(repair_inode(server, &repair), -EINVAL); /* no directory */
    repair.action = 200;
    assert_int_equal(repair_inode(server, &repair), -EINVAL);

    /* What exists keeps its chunks, and is not made again. */
    repair = (struct repair_inode_request){.inode = inode, .action = REPAIR_CHUNKS};
    assert_int_equal(repair_inode(server, &repair), -EEXIST);
    repair = (struct repair_inode_request){.inode = inode, .value = INODE_ROOT, .action = REPAIR_MAKE};
    assert_int_equal(repair_inode(server, &repair), -EEXIST);
    repair.inode = 0;
    assert_int_equal(repair_inode(server, &repair), -EINVAL);
}

static void test_name_repairs_need_what_was_seen(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "f");
    uint32_t server = server_of_name(&f, INODE_ROOT, "f");
    assert_int_equal(repair_name(server, REPAIR_REMOVE, INODE_ROOT, "f", inode + 1, S_IFREG), -EAGAIN);
    assert_int_equal(repair_name(server, REPAIR_TYPE, INODE_ROOT, "f", inode + 1, S_IFLNK), -EAGAIN);
    assert_int_equal(repair_name(server, REPAIR_INSERT, INODE_ROOT, "f", inode, S_IFREG), -EEXIST);
    assert_int_equal(repair_name(1 - server, REPAIR_INSERT, INODE_ROOT, "f", inode, S_IFREG),
                     -STATUS_WRONG_EPOCH);
    assert_int_equal(
        repair_name(server_of_name(&f, INODE_ROOT, ".."), REPAIR_INSERT, INODE_ROOT, "..", inode, S_IFREG),
        -EINVAL);
    assert_int_equal(repair_name(server, REPAIR_LINKS, INODE_ROOT, "f", inode, S_IFREG), -EINVAL);
    assert_int_equal(repair_name(server, REPAIR_REMOVE, INODE_ROOT, "f", inode, S_IFREG), 0);
    assert_int_equal(lookup(&f, INODE_ROOT, "f", NULL), -ENOENT);
    assert_int_equal(repair_name(server, REPAIR_INSERT, INODE_ROOT, "f", inode, S_IFREG), 0);
    struct attributes attributes;
    assert_int_equal(lookup(&f, INODE_ROOT, "f", &attributes), 0);
    assert_int_equal(attributes.inode, inode);
}

static void test_nothing_to_scrub_in_memory(void **state)
{
    (void)state;
    struct operation_call c;
    struct scrub_request *body = (void *)c.body;
    *body = (struct scrub_request){.bytes_max = 1};
    call_prepare(&f, &c, RPC_SCRUB, sizeof(*body), sizeof(struct scrub_reply));
    call_receive(&c, bulk, sizeof(bulk));
    rpc_start(f.client.peers[0], &c.call);
    assert_int_equal(finish(&c), -EOPNOTSUPP);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_two, close_all)
    const struct CMUnitTest tests[] = {
        CASE(test_inodes_in_pages),
        CASE(test_bodies_that_make_no_sense),
        CASE(test_names_in_pages),
        CASE(test_chunks_in_pages),
        CASE(test_settled_waits_for_requests),
        CASE(test_inode_repairs_need_what_was_seen),
        CASE(test_name_repairs_need_what_was_seen),
        CASE(test_nothing_to_scrub_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
