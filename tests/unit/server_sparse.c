/* ALLOCATE, SEEK_CHUNKS and COPY_CHUNK as requests: what they refuse, who may send what, and that a late copy
 * does not get past a truncation. */
#include "unit/server_fixture.h"

#include <errno.h>

#define CHUNK (1u << SHIFT)

static struct fixture f;
static uint8_t bytes[CHUNK], back[CHUNK];

static int open_three(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3, .store_capacity = 4u << 20});
    for (unsigned i = 0; i < CHUNK; i++)
        bytes[i] = (uint8_t)(1 + i % 251);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static int ask(uint32_t server, uint16_t operation, const void *body, size_t length, void *reply, size_t size)
{
    struct operation_call c;
    memcpy(c.body, body, length);
    call_prepare(&f, &c, operation, length, size);
    rpc_start(f.client.peers[server], &c.call);
    int status = finish(&c);
    if (status == 0 && size > 0)
        memcpy(reply, c.reply, size);
    return status;
}

static int allocate(uint64_t inode, uint8_t kind, uint8_t flags, uint64_t offset, uint64_t length,
                    struct attributes_reply *reply)
{
    struct allocate_request body = {
        .inode = inode, .offset = offset, .length = length, .kind = kind, .flags = flags};
    return ask(server_of(&f, inode), RPC_ALLOCATE, &body, sizeof(body), reply, sizeof(*reply));
}

static struct layout layout_of(uint64_t inode)
{
    struct attributes attributes;
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    return attributes.layout;
}

static void put(uint64_t inode, const struct layout *layout, uint64_t index, uint32_t generation)
{
    struct chunk_write write = {.inode = inode,
                                .index = index,
                                .bytes = bytes,
                                .length = CHUNK,
                                .generation = generation,
                                .server = placement_server(f.map, inode, layout, index)};
    assert_int_equal(write_chunk(&f, &write, NULL), 0);
    assert_int_equal(extend(&f, inode, (index + 1) * CHUNK, generation, 0, NULL), 0);
}

static void allocating(void **state)
{
    (void)state;
    struct attributes_reply reply;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    assert_int_equal(allocate(inode, 3, 0, 0, 10, &reply), -EINVAL);
    assert_int_equal(allocate(inode, ALLOCATE_RESERVE, 0, 0, 0, &reply), -EINVAL);
    assert_int_equal(allocate(inode, ALLOCATE_RESERVE, 0, INT64_MAX, 1, &reply), -EFBIG);
    assert_int_equal(allocate(inode, ALLOCATE_RESERVE, 0, UINT64_MAX, UINT64_MAX, &reply), -EFBIG);
    assert_int_equal(allocate(directory, ALLOCATE_RESERVE, 0, 0, 10, &reply), -EISDIR);
    assert_int_equal(allocate(inode + 1000, ALLOCATE_RESERVE, 0, 0, 10, &reply), -ESTALE);
    assert_int_equal(allocate(inode, ALLOCATE_RESERVE, 0, 10, 90, &reply), 0);
    assert_int_equal(reply.attributes.size, 100);
    assert_int_equal(used_bytes(&f), 0); /* it is inline */
    assert_int_equal(allocate(inode, ALLOCATE_RESERVE, ALLOCATE_KEEP_SIZE, 0, 6 * CHUNK, &reply), 0);
    assert_int_equal(reply.attributes.size, 100);
    assert_int_equal(used_bytes(&f), 6 * CHUNK);
    assert_int_equal(truncate_file(&f, inode, 50, UINT64_MAX), 0); /* on all servers */
    assert_int_equal(used_bytes(&f), 4096);
    assert_int_equal(allocate(inode, ALLOCATE_RESERVE, 0, 0, INT64_MAX, &reply), -ENOSPC);
    assert_int_equal(used_bytes(&f), 4096);
    assert_int_equal(allocate(inode, ALLOCATE_ZERO, ALLOCATE_KEEP_SIZE, 0, 6 * CHUNK, &reply), 0);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    assert_int_equal(used_bytes(&f), 0);
}

/* What servers say to each other is not for clients. */
static void servers_only(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    struct chunk_shape_request shape = {
        .inode = inode, .end = CHUNK, .layout = layout_of(inode), .kind = ALLOCATE_PUNCH};
    struct inode_request held = {inode};
    struct chunks_held_reply reply;
    assert_true(ask(0, RPC_SHAPE_CHUNKS, &shape, sizeof(shape), NULL, 0) < 0);
    assert_true(ask(0, RPC_CHUNKS_HELD, &held, sizeof(held), &reply, sizeof(reply)) < 0);
}

static void seeking(void **state)
{
    (void)state;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    struct layout layout = layout_of(inode);
    struct chunk_seek_request body = {.inode = inode, .layout = layout};
    struct chunk_seek_reply reply;
    for (uint64_t index = 0; index < 8; index++)
        if (index != 5)
            put(inode, &layout, index, 0);
    uint64_t data = UINT64_MAX, hole = UINT64_MAX;
    for (uint32_t server = 0; server < 3; server++) {
        body.hole = 1;
        body.offset = 100;
        assert_int_equal(ask(server, RPC_SEEK_CHUNKS, &body, sizeof(body), &reply, sizeof(reply)), 0);
        assert_int_equal(reply.owner, server == server_of(&f, inode));
        hole = reply.found && reply.position < hole ? reply.position : hole;
        body.hole = 0;
        body.offset = 5 * CHUNK;
        assert_int_equal(ask(server, RPC_SEEK_CHUNKS, &body, sizeof(body), &reply, sizeof(reply)), 0);
        data = reply.found && reply.position < data ? reply.position : data;
    }
    assert_int_equal(hole, 5 * CHUNK);
    assert_int_equal(data, 6 * CHUNK);
    body.hole = 2;
    assert_int_equal(ask(0, RPC_SEEK_CHUNKS, &body, sizeof(body), &reply, sizeof(reply)), -EINVAL);
    body.hole = 1;
    body.layout.chunk_shift = 63;
    assert_int_equal(ask(0, RPC_SEEK_CHUNKS, &body, sizeof(body), &reply, sizeof(reply)), -EINVAL);
    body.layout = layout;
    body.offset = INT64_MAX;
    assert_int_equal(ask(0, RPC_SEEK_CHUNKS, &body, sizeof(body), &reply, sizeof(reply)), -EINVAL);
}

static void copying(void **state)
{
    (void)state;
    uint64_t from = make_file(&f, INODE_ROOT, "from"), to = make_file(&f, INODE_ROOT, "to");
    struct layout layout = layout_of(from), to_layout = layout_of(to);
    struct chunk_reply reply;
    for (uint64_t index = 0; index < 4; index++)
        put(from, &layout, index, 0);
    for (uint64_t source = 0; source < 5; source++)
        for (uint64_t target = 0; target < 4; target++) {
            struct copy_request copy = {
                .to = {.inode = to, .index = target, .length = CHUNK, .chunk_shift = SHIFT},
                .from = from,
                .from_index = source,
                .from_layout = layout,
            };
            uint32_t server = placement_server(f.map, to, &to_layout, target);
            assert_int_equal(ask(server, RPC_COPY_CHUNK, &copy, sizeof(copy), &reply, sizeof(reply)), 0);
            assert_int_equal(extend(&f, to, (target + 1) * CHUNK, 0, 0, NULL), 0);
            assert_int_equal(read_chunk(&f, server, to, target, 0, back, CHUNK, NULL), CHUNK);
            for (unsigned i = 0; i < CHUNK; i++) /* beyond the source's end there are zeros */
                assert_int_equal(back[i], source < 4 ? bytes[i] : 0);
        }
    struct copy_request copy = {
        .to = {.inode = to, .index = 1, .length = CHUNK, .chunk_shift = SHIFT},
        .from = from,
        .from_offset = 1,
        .from_layout = layout,
    };
    uint32_t server = placement_server(f.map, to, &to_layout, 1);
    assert_int_equal(ask(server, RPC_COPY_CHUNK, &copy, sizeof(copy), &reply, sizeof(reply)), -EINVAL);
    copy.from_offset = 0;
    copy.from_layout.placement = 77;
    assert_int_equal(ask(server, RPC_COPY_CHUNK, &copy, sizeof(copy), &reply, sizeof(reply)), -EINVAL);
    copy.from_layout = layout;
    copy.from = from + 1000;
    assert_int_equal(ask(server, RPC_COPY_CHUNK, &copy, sizeof(copy), &reply, sizeof(reply)), -ESTALE);
    copy.from = from;
    assert_int_equal(truncate_file(&f, to, 10, UINT64_MAX), 0);
    assert_int_equal(ask(server, RPC_COPY_CHUNK, &copy, sizeof(copy), &reply, sizeof(reply)),
                     -STATUS_STALE_GENERATION);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_three, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(allocating), CASE(servers_only), CASE(seeking), CASE(copying)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
