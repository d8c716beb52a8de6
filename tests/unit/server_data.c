/* Bytes on three servers: inline data, chunks, sizes, truncation and its fence, leases, full stores. */
#include "server_fixture.h"

#define CHUNK (1u << SHIFT)

static struct fixture f;
static char bytes[CHUNK];
static char back[CHUNK];

static int open_three(void **state)
{
    (void)state;
    memset(bytes, 'b', sizeof(bytes));
    fixture_open(&f, &(struct fixture_options){.servers = 3});
    return 0;
}

static int open_patient(void **state)
{
    (void)state;
    memset(bytes, 'b', sizeof(bytes));
    fixture_open(&f, &(struct fixture_options){.servers = 3, .rpc_deadline_ns = 60 * NSEC_PER_SEC});
    return 0;
}

static int open_leasing(void **state)
{
    (void)state;
    memset(bytes, 'b', sizeof(bytes));
    fixture_open(&f, &(struct fixture_options){.servers = 1, .lease_ns = NSEC_PER_MSEC});
    return 0;
}

static int open_small(void **state)
{
    (void)state;
    memset(bytes, 'b', sizeof(bytes));
    fixture_open(&f, &(struct fixture_options){.servers = 1, .store_capacity = 1 << 20});
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static uint64_t size_of(uint64_t inode)
{
    struct attributes attributes = {0};
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    return attributes.size;
}

static int write_at(uint64_t inode, uint64_t index, uint32_t offset, size_t length, struct chunk_reply *reply)
{
    struct chunk_write write = {
        .inode = inode, .index = index, .offset = offset, .bytes = bytes, .length = length};
    return write_chunk(&f, &write, reply);
}

static void test_inline(void **state)
{
    (void)state;
    struct chunk_reply reply;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    uint32_t home = server_of(&f, inode);
    assert_int_equal(write_at(inode, 0, 10, 100, &reply), 0);
    assert_int_equal(reply.owner, 1);
    assert_int_equal(reply.size, 110);
    assert_int_equal(used_bytes(&f), 0); /* no chunk */
    assert_int_equal(read_chunk(&f, home, inode, 0, 5, back, 1000, &reply), 105);
    assert_int_equal(reply.size, 110);
    assert_memory_equal(back, "\0\0\0\0\0bbb", 8);
    assert_int_equal(read_chunk(&f, home, inode, 0, 110, back, 10, NULL), 0);

    /* The first write beyond 4 KiB moves it to a chunk; nothing of it changes. */
    assert_int_equal(write_at(inode, 0, 4000, 200, &reply), 0);
    assert_int_equal(reply.size, 4200);
    assert_true(used_bytes(&f) > 0);
    assert_int_equal(read_chunk(&f, home, inode, 0, 0, back, CHUNK, NULL), 4200);
    for (unsigned i = 0; i < 4200; i++)
        assert_int_equal(back[i], (i >= 10 && i < 110) || i >= 4000 ? 'b' : 0);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    assert_int_equal(used_bytes(&f), 0);
}

static void test_write_checks(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    assert_int_equal(write_at(inode, 0, CHUNK - 10, 20, NULL), -EINVAL);
    assert_int_equal(write_at(directory, 0, 0, 20, NULL), -EISDIR);
    assert_int_equal(write_at(inode + 1000, 0, 0, 20, NULL), -ESTALE);
    assert_int_equal(write_at(0, 0, 0, 20, NULL), -EINVAL);
    struct chunk_write write = {.inode = inode, .bytes = bytes, .length = 5, .generation = 3};
    assert_int_equal(write_chunk(&f, &write, NULL), -STATUS_STALE_GENERATION);
    assert_int_equal(size_of(inode), 0);
}

/* While a large write into an empty file is under way, small changes must not make the file inline again. */
static void test_small_changes_beside_a_large_write(void **state)
{
    (void)state;
    static char mine[CHUNK];
    memset(mine, 'm', sizeof(mine));
    for (unsigned round = 0; round < 2; round++) {
        uint64_t inode = make_file(&f, INODE_ROOT, "file");
        struct chunk_write large = {.inode = inode, .bytes = mine, .length = CHUNK, .flags = CHUNK_KEEP_SIZE};
        assert_int_equal(write_chunk(&f, &large, NULL), 0);
        if (round == 0)
            assert_int_equal(write_at(inode, 0, 3000, 10, NULL), 0);
        else
            assert_int_equal(truncate_file(&f, inode, 3010, UINT64_MAX), 0);
        assert_int_equal(size_of(inode), 3010);
        assert_int_equal(extend(&f, inode, CHUNK, 0, 0, NULL), 0);
        assert_int_equal(read_chunk(&f, server_of(&f, inode), inode, 0, 0, back, CHUNK, NULL), CHUNK);
        assert_memory_equal(back, mine, 3000);
        assert_memory_equal(back + 3000, round == 0 ? bytes : mine, 10);
        assert_memory_equal(back + 3010, mine, CHUNK - 3010);

        /* Once it is empty again it may be inline. */
        assert_int_equal(truncate_file(&f, inode, 0, UINT64_MAX), 0);
        struct chunk_write small = {.inode = inode, .bytes = bytes, .length = 100, .generation = 1};
        assert_int_equal(write_chunk(&f, &small, NULL), 0);
        assert_int_equal(used_bytes(&f), 0);
        assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    }
}

/* A chunk whose inode is elsewhere says nothing about the size; EXTEND does. */
static void test_chunks_elsewhere(void **state)
{
    (void)state;
    struct chunk_reply reply;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    uint32_t home = server_of(&f, inode);
    struct chunk_write write = {
        .inode = inode, .index = 1, .bytes = bytes, .length = 1000, .server = (home + 1) % 3};
    assert_int_equal(write_chunk(&f, &write, &reply), 0);
    assert_int_equal(reply.owner, 0);
    assert_int_equal(size_of(inode), 0);
    assert_int_equal(extend(&f, inode, CHUNK + 1000, 0, 0, NULL), 0);
    assert_int_equal(size_of(inode), CHUNK + 1000);
    assert_int_equal(read_chunk(&f, write.server, inode, 1, 500, back, 1000, &reply), 500);
    assert_int_equal(read_chunk(&f, home, inode, 0, 0, back, 1000, &reply), 0); /* a hole */
    assert_int_equal(reply.size, CHUNK + 1000);
    assert_int_equal(extend(&f, inode, CHUNK, 5, 0, NULL), -STATUS_STALE_GENERATION);

    struct extend_reply extended;
    assert_int_equal(extend(&f, inode, 50, 0, EXTEND_APPEND, &extended), 0);
    assert_int_equal(extended.offset, CHUNK + 1000);
    assert_int_equal(extended.size, CHUNK + 1050);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    assert_int_equal(used_bytes(&f), 0);
}

static void test_kept_size(void **state)
{
    (void)state;
    struct chunk_reply reply;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    uint32_t home = server_of(&f, inode);
    struct chunk_write write = {.inode = inode, .bytes = bytes, .length = CHUNK, .flags = CHUNK_KEEP_SIZE};
    assert_int_equal(write_chunk(&f, &write, &reply), 0);
    assert_int_equal(reply.size, 0);
    assert_int_equal(read_chunk(&f, home, inode, 0, 0, back, CHUNK, NULL), 0);
    assert_int_equal(extend(&f, inode, 5000, 0, 0, NULL), 0);
    assert_int_equal(read_chunk(&f, home, inode, 0, 0, back, CHUNK, NULL), 5000);
    assert_memory_equal(back, bytes, 5000);
    /* Taking back what a failed write left beyond the size. */
    assert_int_equal(truncate_file(&f, inode, 5001, 5001), -EAGAIN);
    assert_int_equal(truncate_file(&f, inode, 5000, 5000), 0);
    assert_int_equal(truncate_file(&f, inode, CHUNK, UINT64_MAX), 0);
    assert_int_equal(read_chunk(&f, home, inode, 0, 0, back, CHUNK, NULL), 5000);
}

static void test_truncate(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    uint32_t home = server_of(&f, inode);
    assert_int_equal(truncate_file(&f, inode, 100, UINT64_MAX), 0); /* inline, zeros */
    assert_int_equal(read_chunk(&f, home, inode, 0, 0, back, 1000, NULL), 100);
    assert_int_equal(write_at(inode, 0, 0, CHUNK, NULL), 0);
    struct attributes attributes = {0};
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    struct layout layout = attributes.layout;
    for (uint64_t index = 1; index < 6; index++) {
        struct chunk_write write = {.inode = inode, .index = index, .bytes = bytes, .length = CHUNK};
        write.server = placement_server(f.map, inode, &layout, index);
        assert_int_equal(write_chunk(&f, &write, NULL), 0);
    }
    assert_int_equal(extend(&f, inode, 6 * CHUNK, 0, 0, NULL), 0);
    uint64_t full = used_bytes(&f);
    assert_int_equal(truncate_file(&f, inode, 3 * CHUNK + 10, UINT64_MAX), 0);
    assert_int_equal(size_of(inode), 3 * CHUNK + 10);
    assert_true(used_bytes(&f) < full);
    uint32_t third = placement_server(f.map, inode, &layout, 3);
    assert_int_equal(read_chunk(&f, third, inode, 3, 0, back, CHUNK, NULL), 10);

    /* A write that set out before the truncation resurrects nothing, on any server. */
    for (uint64_t index = 0; index < 6; index++) {
        struct chunk_write late = {.inode = inode, .index = index, .bytes = bytes, .length = 100};
        late.server = placement_server(f.map, inode, &layout, index);
        int status = write_chunk(&f, &late, NULL);
        if (index == 0 || index > 3)
            assert_int_equal(status, -STATUS_STALE_GENERATION);
        late.generation = 1;
        assert_int_equal(write_chunk(&f, &late, NULL), 0);
    }
    /* Growing again shows zeros. */
    assert_int_equal(truncate_file(&f, inode, 0, UINT64_MAX), 0);
    assert_int_equal(used_bytes(&f), 0);
    assert_int_equal(truncate_file(&f, inode, 2 * CHUNK, UINT64_MAX), 0);
    assert_int_equal(read_chunk(&f, home, inode, 0, 0, back, CHUNK, NULL), 0);

    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    struct chunk_write dead = {.inode = inode, .index = 1, .bytes = bytes, .length = 100, .generation = 2};
    dead.server = placement_server(f.map, inode, &layout, 1);
    assert_int_equal(write_chunk(&f, &dead, NULL), -ESTALE);
    assert_int_equal(used_bytes(&f), 0);
}

/* Truncation and writes of all chunks at once: what a write acknowledged before the truncation is cut, what
 * it was refused is nowhere. */
static void test_truncate_races_with_writes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        struct attributes attributes = {0};
        char name[64];
        snprintf(name, sizeof(name), "file%u", round);
        uint64_t inode = make_file(&f, INODE_ROOT, name);
        assert_int_equal(extend(&f, inode, 6 * CHUNK, 0, 0, NULL), 0);
        assert_int_equal(get_attributes(&f, inode, &attributes), 0);
        struct operation_call cut, writes[6];
        for (unsigned i = 0; i <= 6; i++) {
            if (i == round % 7)
                start_truncate(&f, &f.second, &cut, inode, 0, UINT64_MAX);
            if (i == 6)
                break;
            struct chunk_write write = {.inode = inode, .index = i, .bytes = bytes, .length = CHUNK};
            write.server = placement_server(f.map, inode, &attributes.layout, i);
            start_write(&f, &f.client, &writes[i], &write);
        }
        assert_int_equal(finish(&cut), 0);
        for (unsigned i = 0; i < 6; i++) {
            int status = finish(&writes[i]);
            assert_true(status == 0 || status == -STATUS_STALE_GENERATION);
        }
        assert_int_equal(size_of(inode), 0);
        assert_int_equal(used_bytes(&f), 0);
        assert_int_equal(unlink_name(&f, INODE_ROOT, name), 0);
    }
}

/* Where requests may live long, fences do too. */
static void test_fence_outlives_requests(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    assert_int_equal(extend(&f, inode, 6 * CHUNK, 0, 0, NULL), 0);
    assert_int_equal(truncate_file(&f, inode, 0, UINT64_MAX), 0);
    struct completion sleep = COMPLETION_INIT;
    await_until(f.loop, &sleep, loop_now(f.loop) + 100 * NSEC_PER_SEC);
    struct chunk_write late = {
        .inode = inode, .index = 1, .bytes = bytes, .length = 100, .server = (server_of(&f, inode) + 1) % 3};
    assert_int_equal(write_chunk(&f, &late, NULL), -STATUS_STALE_GENERATION);
}

/* Whoever learns the generation of a truncation learns its size too: with the new generation and before all
 * servers have cut their chunks it could write what the truncation then takes away. */
static void test_truncate_hides_its_generation(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    assert_int_equal(extend(&f, inode, 6 * CHUNK, 0, 0, NULL), 0);
    struct operation_call cut, look[2];
    start_truncate(&f, &f.client, &cut, inode, 10, UINT64_MAX);
    struct attributes_request *body = (void *)look[0].body;
    *body = (struct attributes_request){.inode = inode};
    call_prepare(&f, &look[0], RPC_GET_ATTRIBUTES, sizeof(*body), sizeof(struct attributes_reply));
    rpc_start(f.client.peers[server_of(&f, inode)], &look[0].call);
    start_name(&f, &f.client, &look[1], RPC_LOOKUP, INODE_ROOT, "file", sizeof(struct attributes_reply));
    for (unsigned i = 0; i < 2; i++) {
        struct attributes attributes;
        assert_int_equal(finish(&look[i]), 0);
        memcpy(&attributes, look[i].reply, sizeof(attributes));
        assert_int_equal(attributes.generation, 1);
        assert_int_equal(attributes.size, 10);
    }
    assert_int_equal(finish(&cut), 0);
}

/* A client dies at every moment of a large write: the chunk is as before, or as after, and nothing stays
 * held. */
static void test_writer_dies(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    unsigned untouched = 0;
    for (unsigned round = 0; round < 12; round++) {
        struct party writer;
        char host[16];
        snprintf(host, sizeof(host), "w%u", round);
        party_open(&f, &writer, host);
        assert_int_equal(rpc_peer_connect(writer.peers[server_of(&f, inode)], 0), 0);
        struct operation_call c;
        start_write(&f, &writer, &c, &(struct chunk_write){.inode = inode, .bytes = bytes, .length = CHUNK});
        struct completion sleep = COMPLETION_INIT;
        await_until(f.loop, &sleep, loop_now(f.loop) + round * 4 * NSEC_PER_USEC);
        net_sim_kill(writer.net);
        int status = finish(&c);
        party_close(&f, &writer);
        await_until(f.loop, &sleep, loop_now(f.loop) + 40 * NSEC_PER_SEC);
        uint64_t size = size_of(inode);
        assert_true(size == CHUNK || (size == 0 && status != 0));
        int length = read_chunk(&f, server_of(&f, inode), inode, 0, 0, back, CHUNK, NULL);
        assert_int_equal(length, size);
        assert_memory_equal(back, bytes, (size_t)length);
        untouched += size == 0;
        assert_int_equal(truncate_file(&f, inode, 0, UINT64_MAX), 0);
        assert_int_equal(used_bytes(&f), 0);
        assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
        inode = make_file(&f, INODE_ROOT, "file");
    }
    assert_true(untouched > 1);
}

/* The file was removed while a write of several chunks was under way: its client asks to have the rest
 * dropped. */
static void test_remains_of_removed_file(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    for (uint32_t server = 0; server < 3; server++) {
        if (server == server_of(&f, inode))
            continue;
        struct chunk_write write = {
            .inode = inode, .index = 1, .bytes = bytes, .length = 1000, .server = server};
        write.flags = CHUNK_KEEP_SIZE;
        assert_int_equal(write_chunk(&f, &write, NULL), 0);
    }
    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    assert_true(used_bytes(&f) > 0); /* nobody could know of them */
    assert_int_equal(extend(&f, inode, 2000, 0, 0, NULL), -ESTALE);
    assert_int_equal(truncate_file(&f, inode, 0, 0), -ESTALE);
    assert_int_equal(used_bytes(&f), 0);
}

static void test_full_store(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    uint64_t small = make_file(&f, INODE_ROOT, "small");
    assert_int_equal(write_at(small, 0, 0, 3000, NULL), 0);
    int status = 0;
    uint64_t index = 0;
    while ((status = write_at(inode, index, 0, CHUNK, NULL)) == 0 && index < 100)
        index++;
    assert_int_equal(status, -ENOSPC);
    assert_int_equal(size_of(inode), index * CHUNK); /* nothing of the failed write */
    /* An inline file that would need a chunk stays as it is. */
    assert_int_equal(write_at(small, 0, 3000, 5000, NULL), -ENOSPC);
    assert_int_equal(size_of(small), 3000);
    assert_int_equal(read_chunk(&f, 0, small, 0, 0, back, CHUNK, NULL), 3000);
    assert_memory_equal(back, bytes, 3000);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    assert_int_equal(used_bytes(&f), 0);
    assert_int_equal(write_at(small, 0, 3000, 5000, NULL), 0);
}

/* ---- leases ---- */

static uint32_t open_inline(struct party *party, const char *name, uint64_t *received)
{
    struct operation_call c;
    struct open_reply reply;
    struct open_request *body = (void *)c.body;
    *body = (struct open_request){
        .parent = INODE_ROOT, .flags = OPEN_WANT_INLINE, .access = 4, .name_length = (uint8_t)strlen(name)};
    memcpy(body->name, name, strlen(name));
    call_prepare(&f, &c, RPC_OPEN, sizeof(*body) + strlen(name), sizeof(reply));
    call_receive(&c, back, 4096);
    rpc_start(party->peers[0], &c.call);
    assert_int_equal(finish(&c), 0);
    memcpy(&reply, c.reply, sizeof(reply));
    *received = c.call.received;
    return reply.lease_us;
}

static uint64_t time_of_write(struct party *party, uint64_t inode)
{
    struct operation_call c;
    uint64_t before = loop_now(f.loop);
    start_write(&f, party, &c, &(struct chunk_write){.inode = inode, .bytes = "x", .length = 1});
    assert_int_equal(finish(&c), 0);
    return loop_now(f.loop) - before;
}

static void test_lease_delays_foreign_write(void **state)
{
    (void)state;
    uint64_t received;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    assert_int_equal(open_inline(&f.client, "file", &received), 0); /* empty: nothing to lease */
    assert_int_equal(write_at(inode, 0, 0, 3901, NULL), 0);
    assert_int_equal(open_inline(&f.client, "file", &received), 1000);
    assert_int_equal(received, 3901);
    assert_memory_equal(back, bytes, 3901);
    assert_true(time_of_write(&f.client, inode) < NSEC_PER_MSEC / 2); /* the holder's own */
    assert_true(time_of_write(&f.second, inode) > NSEC_PER_MSEC);
    assert_true(time_of_write(&f.second, inode) < NSEC_PER_MSEC / 2); /* over */

    /* Two holders: each waits for the other. */
    assert_int_equal(open_inline(&f.client, "file", &received), 1000);
    assert_int_equal(open_inline(&f.second, "file", &received), 1000);
    assert_true(time_of_write(&f.client, inode) > NSEC_PER_MSEC);

    /* While a writer waits nobody gets a new lease, so it waits once. */
    assert_int_equal(open_inline(&f.client, "file", &received), 1000);
    struct operation_call c;
    start_write(&f, &f.second, &c, &(struct chunk_write){.inode = inode, .bytes = "y", .length = 1});
    struct completion sleep = COMPLETION_INIT;
    await_until(f.loop, &sleep, loop_now(f.loop) + NSEC_PER_MSEC / 2);
    assert_int_equal(open_inline(&f.client, "file", &received), 0);
    assert_int_equal(received, 0);
    assert_int_equal(finish(&c), 0);
    assert_int_equal(open_inline(&f.client, "file", &received), 1000);
    assert_int_equal(back[0], 'y');

    start_truncate(&f, &f.second, &c, inode, 0, UINT64_MAX);
    uint64_t before = loop_now(f.loop);
    assert_int_equal(finish(&c), 0);
    assert_true(loop_now(f.loop) - before > NSEC_PER_MSEC);
}

static void test_access_time(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    assert_int_equal(write_at(inode, 0, 0, 10, NULL), 0);
    assert_int_equal(read_chunk(&f, server_of(&f, inode), inode, 0, 0, back, 10, NULL), 10);
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    int64_t first = attributes.access_time;
    assert_true(first > attributes.modify_time);
    assert_int_equal(read_chunk(&f, server_of(&f, inode), inode, 0, 0, back, 10, NULL), 10);
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    assert_int_equal(attributes.access_time, first);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_three, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_inline),
        CASE(test_write_checks),
        CASE(test_small_changes_beside_a_large_write),
        CASE(test_chunks_elsewhere),
        CASE(test_kept_size),
        CASE(test_truncate),
        CASE(test_truncate_races_with_writes),
        CASE(test_truncate_hides_its_generation),
        cmocka_unit_test_setup_teardown(test_fence_outlives_requests, open_patient, close_all),
        CASE(test_writer_dies),
        CASE(test_remains_of_removed_file),
        cmocka_unit_test_setup_teardown(test_full_store, open_small, close_all),
        cmocka_unit_test_setup_teardown(test_lease_delays_foreign_write, open_leasing, close_all),
        CASE(test_access_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
