/* The client core over a double of rpc (unit/rpc_double.h): how many requests a call costs, to which servers,
 * and what the client does with each refusal. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "unit/rpc_double.h"

/* ---- the frame ---- */

/* The requests since the last look, in order. */
static void expect(const char *requests)
{
    if (strcmp(world.log, requests) != 0)
        fail_msg("requests: %s; expected: %s", world.log, requests);
    world.log[0] = '\0';
}

static void forget_requests(void)
{
    world.log[0] = '\0';
}

static int set_up(void **state)
{
    static const char *const addresses[] = {"s0:1"};
    static const uint8_t key[CLUSTER_KEY_BYTES];
    struct cluster_server servers[SERVERS] = {{0, "s0:1"}, {1, "s1:1"}, {2, "s2:1"}};
    struct loop_options loop_options = {.simulated = true, .seed = 1};
    struct client_options options = {
        .cluster_key = key,
        .addresses = addresses,
        .address_count = 1,
        .rpc_deadline_ns = UINT64_C(1000000000),
        .umask = 022,
        .placement = PLACEMENT_ROUND_ROBIN,
        .chunk_shift = CHUNK_SHIFT,
    };
    static const struct net_operations operations;
    static struct net net = {.operations = &operations};
    (void)state;
    memset(&world, 0, sizeof world);
    world.epoch = 5;
    world.map_epoch = 1;
    world.full_at = -1;
    assert_int_equal(loop_create(&loop_options, &loop), 0);
    net.loop = loop;
    assert_int_equal(cluster_map_create(1, servers, SERVERS, &map), 0);
    node_make(0, "", 0, S_IFDIR | 0755);
    assert_int_equal(client_create(&net, &options, &client), 0);
    expect("GET_MAP");
    assert_int_equal(client_mkdir(client, INODE_ROOT, "/dir", 0755), 0);
    expect("GET_ATTRIBUTES CREATE_DIRECTORY");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(world.under_way, 0);
    client_destroy(client);
    cluster_map_destroy(map);
    loop_destroy(loop);
    for (unsigned i = 0; i < NODES; i++)
        free(world.nodes[i].bytes);
    return 0;
}

static struct client_file create(const char *path, int flags)
{
    struct client_file file;
    assert_int_equal(client_open(client, INODE_ROOT, path, O_CREAT | flags, 0644, &file), 0);
    return file;
}

/* ---- what calls cost ---- */

static void one_request(void **state)
{
    struct attributes attributes;
    struct client_file file;
    char bytes[4000] = "data";
    (void)state;
    file = create("/dir/file", O_RDWR);
    expect("CREATE_FILE");
    assert_int_equal(client_write(client, &file, bytes, 3901, 0), 3901);
    expect("WRITE_CHUNK");
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/file", true, &attributes), 0);
    expect("LOOKUP");
    assert_int_equal(attributes.size, 3901);
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/none", true, &attributes), -ENOENT);
    expect("LOOKUP");
    assert_int_equal(client_read(client, &file, bytes, 4000, 0),
                     3901); /* the inode's server tells the size */
    expect("READ_CHUNK");
    assert_int_equal(client_read(client, &file, bytes, 4000, 3901), 0);
    expect("READ_CHUNK");
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/file", O_RDWR, 0, &file), 0);
    expect("OPEN");
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/file", O_RDWR | O_CREAT | O_EXCL, 0644, &file),
                     -EEXIST);
    expect("CREATE_FILE");
}

static int holds_of(const struct client_file *file)
{
    return node_of(file->inode)->holds;
}

/* A close costs no request of its own: it goes along with a later one, or in company with others. */
static void closes_go_along(void **state)
{
    (void)state;
    struct client_file file, other;
    struct completion never = COMPLETION_INIT;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(client_open(client, INODE_ROOT, "/dir/file", O_RDWR | O_CREAT, 0644, &file), 0);
        assert_int_equal(holds_of(&file), 1);
        client_close(client, &file);
        client_close(client, &file); /* it is closed */
        assert_int_equal(holds_of(&file), 0);
        if (i == 0)
            expect("CREATE_FILE");
        node_of(file.inode)->gone = true; /* so that it is made anew */
        node_of(file.inode)->name[0] = '\0';
    }
    expect("CREATE_FILE CREATE_FILE");
    /* What nothing takes along goes by itself after a while. */
    await_until(loop, &never, loop_now(loop) + 20000000);
    expect("RELEASE");
    await_until(loop, &never, loop_now(loop) + 20000000);
    expect("");
    /* So it does when too much waits. */
    other = create("/dir/other", O_RDWR);
    forget_requests();
    for (unsigned i = 0; i < RPC_NOTICES_MAX; i++) {
        struct client_file again = other;
        client_close(client, &again);
    }
    expect("");
    client_close(client, &other);
    expect("RELEASE");
    /* The close of a file without a name is told at once. */
    file = create("/dir/gone", O_RDWR);
    assert_int_equal(client_unlink(client, INODE_ROOT, "/dir/gone"), 0);
    expect("CREATE_FILE UNLINK");
    client_close(client, &file);
    expect("RELEASE");
}

static void wait_ms(uint64_t milliseconds)
{
    struct completion never = COMPLETION_INIT;
    await_until(loop, &never, loop_now(loop) + milliseconds * 1000000);
}

/* A close while others are on their way goes by itself too, and nothing is left when the client ends. */
static void closes_while_others_go(void **state)
{
    (void)state;
    struct client_file first = create("/dir/first", O_RDWR), second = create("/dir/second", O_RDWR),
                       third = create("/dir/third", O_RDWR);
    forget_requests();
    world.release_ns = 30000000;
    client_close(client, &first);
    wait_ms(15);
    expect("RELEASE");
    client_close(client, &second); /* due before the first is done */
    wait_ms(100);
    expect("RELEASE");
    wait_ms(100);
    expect("");
    client_close(client, &third);
    wait_ms(15);
    struct client_file again = second;
    again.held = true;
    client_close(client, &again);
    wait_ms(11);
    expect("RELEASE");
    client_release_last(client);
    expect("RELEASE");
    wait_ms(100);
    expect("");
}

/* Every open that fails after the server held the file lets go of it. */
static void failed_opens_let_go(void **state)
{
    (void)state;
    struct client_file file = create("/dir/file", O_RDWR), other;
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/file", O_RDONLY | O_DIRECTORY, 0, &other),
                     -ENOTDIR);
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/file/", O_RDONLY, 0, &other), -ENOTDIR);
    world.refuse = RPC_TRUNCATE;
    world.refuse_times = 1;
    world.refuse_status = -EIO;
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/file", O_WRONLY | O_TRUNC, 0, &other), -EIO);
    assert_int_equal(client_open(client, INODE_ROOT, "/dir", O_WRONLY, 0, &other), -EISDIR);
    assert_int_equal(holds_of(&file), 1);
    assert_int_equal(client_open(client, INODE_ROOT, "/dir", O_RDONLY | O_DIRECTORY, 0, &other), 0);
    assert_int_equal(holds_of(&other), 1);
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/.", O_RDONLY, 0, &file), 0);
    assert_int_equal(file.inode, other.inode);
    assert_int_equal(holds_of(&other), 2);
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/.", O_WRONLY, 0, &file), -EISDIR);
    assert_int_equal(holds_of(&other), 2);
}

static void leased(void **state)
{
    struct client_file file, writer = create("/dir/small", O_RDWR);
    char bytes[100];
    (void)state;
    world.lease_us = 1000;
    assert_int_equal(client_write(client, &writer, "0123456789", 10, 0), 10);
    forget_requests();
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/small", O_RDONLY, 0, &file), 0);
    assert_int_equal(client_read(client, &file, bytes, 100, 0), 10);
    assert_memory_equal(bytes, "0123456789", 10);
    assert_int_equal(client_read(client, &file, bytes, 3, 8), 2);
    assert_memory_equal(bytes, "89", 2);
    assert_int_equal(client_read(client, &file, bytes, 3, 10), 0);
    expect("OPEN");
    /* An own write ends it, through whatever descriptor; so does time. */
    assert_int_equal(client_write(client, &writer, "x", 1, 0), 1);
    assert_int_equal(client_read(client, &file, bytes, 1, 0), 1);
    assert_int_equal(bytes[0], 'x');
    expect("WRITE_CHUNK READ_CHUNK");
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/small", O_RDONLY, 0, &file), 0);
    struct completion never = COMPLETION_INIT;
    await_until(loop, &never, loop_now(loop) + 999000);
    assert_int_equal(client_read(client, &file, bytes, 1, 0), 1);
    expect("OPEN");
    await_until(loop, &never, loop_now(loop) + 1001);
    assert_int_equal(client_read(client, &file, bytes, 1, 0), 1);
    expect("READ_CHUNK");
    /* Who may write asks for none. */
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/small", O_RDWR, 0, &file), 0);
    assert_int_equal(client_read(client, &file, bytes, 1, 0), 1);
    expect("OPEN READ_CHUNK");
}

static void walks(void **state)
{
    struct attributes attributes;
    (void)state;
    assert_int_equal(client_mkdir(client, INODE_ROOT, "/dir/a", 0755), 0);
    assert_int_equal(client_mkdir(client, INODE_ROOT, "/dir/a/b", 0755), 0);
    create("/dir/a/b/f", 0);
    expect("CREATE_DIRECTORY CREATE_DIRECTORY CREATE_FILE"); /* made directories are known */
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/a/./b/.//f", true, &attributes), 0);
    expect("LOOKUP");
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/a/b/../b/f", true, &attributes), 0);
    expect("GET_ATTRIBUTES LOOKUP"); /* ".." of a remembered directory: does it still exist? */
    /* A new epoch empties the cache: every directory is looked up again, once. */
    world.epoch++;
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/a/b/f", true, &attributes), 0);
    expect("LOOKUP GET_ATTRIBUTES LOOKUP LOOKUP LOOKUP LOOKUP");
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/a/b/f", true, &attributes), 0);
    expect("LOOKUP");
    struct node *link = node_make(INODE_ROOT, "link", 4, S_IFLNK | 0777);
    strcpy(link->target, "dir/a");
    assert_int_equal(client_stat(client, INODE_ROOT, "/link/b/f", true, &attributes), 0);
    expect("LOOKUP READ_LINK LOOKUP");
    assert_int_equal(client_stat(client, INODE_ROOT, "/link", false, &attributes), 0);
    expect("LOOKUP");
    /* A directory that is gone: out of the cache with it; then the truth. */
    node_named(node_named(node_named(INODE_ROOT, "dir", 3)->inode, "a", 1)->inode, "b", 1)->gone = true;
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/a/b/f", true, &attributes), -ENOENT);
    expect("LOOKUP GET_ATTRIBUTES LOOKUP LOOKUP LOOKUP");
}

/* ---- refusals ---- */

static void refuse(unsigned operation, int status, unsigned times)
{
    world.refuse = operation;
    world.refuse_status = status;
    world.refuse_times = times;
}

static void refusals(void **state)
{
    struct attributes attributes;
    struct client_file file = create("/dir/f", O_RDWR);
    (void)state;
    forget_requests();
    refuse(RPC_LOOKUP, -STATUS_BUSY_RETRY, 3);
    uint64_t before = loop_now(loop);
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/f", true, &attributes), 0);
    expect("LOOKUP LOOKUP LOOKUP LOOKUP");
    assert_true(loop_now(loop) - before > 150000 && loop_now(loop) - before < 3000000); /* it backed off */
    refuse(RPC_LOOKUP, -STATUS_WRONG_EPOCH, 1);
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/f", true, &attributes), 0);
    expect("LOOKUP GET_MAP LOOKUP");
    /* Not for ever. */
    static const int endless[] = {STATUS_BUSY_RETRY, STATUS_WRONG_EPOCH, STATUS_STALE_NAMESPACE};
    for (unsigned i = 0; i < 3; i++) {
        refuse(RPC_LOOKUP, -endless[i], UINT32_MAX);
        before = loop_now(loop);
        assert_int_equal(client_stat(client, INODE_ROOT, "/dir/f", true, &attributes), -ETIMEDOUT);
        assert_true(loop_now(loop) - before < UINT64_C(1100000000));
        forget_requests();
    }
    for (unsigned i = 0; i < 3; i++) {
        refuse(RPC_WRITE_CHUNK, -endless[i], UINT32_MAX);
        assert_int_equal(client_write(client, &file, "x", 1, 0), -ETIMEDOUT);
        forget_requests();
    }
    refuse(0, 0, 0);
    assert_int_equal(client_stat(client, INODE_ROOT, "/dir/f", true, &attributes), 0);
    forget_requests();
    refuse(RPC_CREATE_FILE, -EHOSTDOWN, 1);
    assert_int_equal(client_open(client, INODE_ROOT, "/dir/g", O_CREAT | O_RDWR, 0644, &file), -EHOSTDOWN);
    expect("CREATE_FILE"); /* what may have been carried out is not tried again here */
}

/* ---- transfers ---- */

static char written[FILE_BYTES], back[FILE_BYTES];

static void transfers(void **state)
{
    (void)state;
    struct client_file file = create("/dir/f", O_RDWR);
    for (size_t i = 0; i < sizeof written; i++)
        written[i] = (char)(i * 31 + i / CHUNK);
    forget_requests();
    size_t length = 30 * CHUNK + 17;
    assert_int_equal(client_write(client, &file, written, length, 0), length);
    assert_int_equal(world.most_under_way, 16); /* all at once, but bounded */
    assert_string_equal(world.log + strlen(world.log) - 18, "WRITE_CHUNK EXTEND"); /* the size comes last */
    assert_int_equal(node_of(file.inode)->attributes.size, length);
    forget_requests();
    assert_int_equal(client_read(client, &file, back, sizeof back, 0), length);
    assert_memory_equal(back, written, length);
    forget_requests();
    /* Overwriting far away: the times go along with the data, one message each. */
    uint64_t far = 0;
    while (placement_server(map, file.inode, &file.layout, far / CHUNK) ==
           cluster_map_owner(map, inode_partition(file.inode)))
        far += CHUNK;
    assert_int_equal(client_write(client, &file, "x", 1, far), 1);
    expect("WRITE_CHUNK EXTEND");
    assert_int_equal(client_read(client, &file, back, 1, far), 1);
    expect("READ_CHUNK");
}

static void holes(void **state)
{
    (void)state;
    struct client_file file = create("/dir/f", O_RDWR);
    size_t end = 7 * CHUNK + 100;
    assert_int_equal(client_write(client, &file, "z", 1, end - 1), 1);
    memset(back, 'g', sizeof back);
    assert_int_equal(client_read(client, &file, back, sizeof back, 0), end);
    for (size_t i = 0; i < end - 1; i++)
        assert_int_equal(back[i], 0);
    assert_int_equal(back[end - 1], 'z');
    assert_int_equal(back[end], 'g');
    assert_int_equal(client_read(client, &file, back, 10, end), 0);
    assert_int_equal(client_read(client, &file, back, 10, 20 * (uint64_t)CHUNK), 0);
    assert_int_equal(client_read(client, &file, back, 10, end - 5), 5);
}

/* A short read may be one that met a failure; where it must not be taken for the end of the file, it fails.
 */
static void failure_is_no_end(void **state)
{
    (void)state;
    struct client_file file = create("/dir/f", O_RDWR);
    size_t length = 5 * CHUNK + 100;
    assert_int_equal(client_write(client, &file, written, length, 0), length);
    assert_int_equal(client_read_whole(client, &file, back, sizeof back, 0), length);
    assert_int_equal(client_read_whole(client, &file, back, 1000, length - 10), 10);
    assert_int_equal(client_read_whole(client, &file, back, 1000, length), 0);
    for (unsigned i = 0; i < 5; i++) {
        refuse(RPC_READ_CHUNK, -EIO, 1);
        world.refuse_not = i;
        assert_int_equal(client_read(client, &file, back, sizeof back, 0),
                         i == 0 ? -EIO : (ssize_t)(i * CHUNK));
        refuse(RPC_READ_CHUNK, -EIO, 1);
        world.refuse_not = i;
        assert_int_equal(client_read_whole(client, &file, back, sizeof back, 0), -EIO);
    }
    /* Behind the end nothing fails that matters. */
    refuse(RPC_READ_CHUNK, -EIO, 1);
    world.refuse_not = 6;
    assert_int_equal(client_read_whole(client, &file, back, sizeof back, 0), length);
    refuse(0, 0, 0);
    world.refuse_not = 0;
}

/* Another client's growing write has placed its chunks but not said so yet: they are not part of the file. */
static void beyond_the_end(void **state)
{
    (void)state;
    struct client_file file = create("/dir/f", O_RDWR);
    struct node *node = node_of(file.inode);
    uint64_t far = 1;
    while (placement_server(map, file.inode, &file.layout, far) ==
           cluster_map_owner(map, inode_partition(file.inode)))
        far++;
    for (uint64_t i = 0; i <= far; i++)
        node->lengths[i] = CHUNK;
    node->attributes.size = far * CHUNK - 10;
    forget_requests();
    assert_int_equal(client_read(client, &file, back, 100, far * CHUNK), 0);
    expect("READ_CHUNK GET_ATTRIBUTES");
    assert_int_equal(client_read(client, &file, back, CHUNK, far * CHUNK - 20), 10);
    node->attributes.size = far * CHUNK + 60;
    assert_int_equal(client_read(client, &file, back, 100, far * CHUNK), 60);
    forget_requests();
    assert_int_equal(client_read(client, &file, back, 60, far * CHUNK), 60);
    expect("READ_CHUNK"); /* the size is known by now */
}

/* Somebody cuts the file between the client's writes: it learns the generation and writes again, all of it.
 */
static void cut_meanwhile(void **state)
{
    (void)state;
    struct client_file file = create("/dir/f", O_RDWR);
    assert_int_equal(client_write(client, &file, written, 5 * CHUNK, 0), 5 * CHUNK);
    struct attributes_reply reply;
    struct truncate_request cut = {.inode = file.inode, .size = 0, .expected = UINT64_MAX};
    serve_truncate(&cut, &reply);
    forget_requests();
    assert_int_equal(client_write(client, &file, "y", 1, 2 * CHUNK), 1);
    assert_int_equal(node_of(file.inode)->attributes.size, 2 * CHUNK + 1);
    assert_non_null(strstr(world.log, "GET_ATTRIBUTES WRITE_CHUNK"));
    serve_truncate(&cut, &reply);
    uint64_t offset;
    assert_int_equal(client_append(client, &file, written, 3 * CHUNK, &offset), 3 * CHUNK);
    assert_int_equal(offset, 0);
    assert_int_equal(client_read(client, &file, back, sizeof back, 0), 3 * CHUNK);
    assert_memory_equal(back, written, 3 * CHUNK);
}

/* No room in the middle: what is reported is there, and nothing else. */
static void no_room(void **state)
{
    (void)state;
    struct client_file file = create("/dir/f", O_RDWR);
    memset(written, 'w', sizeof written);
    world.full_at = 6 * CHUNK + 10;
    ssize_t done = client_write(client, &file, written, 9 * CHUNK, 50);
    assert_int_equal(done, 6 * CHUNK - 50);
    assert_int_equal(node_of(file.inode)->attributes.size, 6 * CHUNK);
    assert_int_equal(client_write(client, &file, written, 9 * CHUNK, 6 * CHUNK + 5), -ENOSPC);
    assert_int_equal(node_of(file.inode)->attributes.size, 6 * CHUNK);
    uint64_t offset = 77;
    assert_int_equal(client_append(client, &file, written, CHUNK, &offset), -ENOSPC);
    assert_int_equal(offset, 77);
    assert_int_equal(node_of(file.inode)->attributes.size, 6 * CHUNK);
    for (unsigned i = 6; i < CHUNKS; i++)
        assert_int_equal(node_of(file.inode)->lengths[i], 0);
    world.full_at = -1;
    assert_int_equal(client_truncate_file(client, &file, 12 * CHUNK), 0);
    assert_int_equal(client_read(client, &file, back, 6 * CHUNK, 6 * CHUNK), 6 * CHUNK);
    for (size_t i = 0; i < 6 * CHUNK; i++)
        assert_int_equal(back[i], 0);
}

/* Entries of three servers, merged in the order of their hashes, each once. */
static void listing(void **state)
{
    char path[32];
    bool seen[40] = {false};
    struct client_listing *entries;
    struct client_entry entry;
    uint64_t last = 0, middle = 0;
    unsigned count = 0, after = 0;
    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "/dir/%d", i);
        create(path, 0);
    }
    forget_requests();
    uint64_t directory = node_named(INODE_ROOT, "dir", 3)->inode;
    assert_int_equal(client_list_open(client, directory, 0, false, NULL, NULL, &entries), 0);
    expect("LIST LIST LIST"); /* all servers at once */
    while (client_list_next(entries, &entry) == 1) {
        int number = atoi(entry.name);
        assert_true(entry.hash > last && number < 40 && !seen[number]);
        assert_int_equal(entry.hash, dentry_hash(directory, entry.name, entry.name_length));
        last = entry.hash;
        seen[number] = true;
        if (++count == 17)
            middle = entry.hash;
    }
    assert_int_equal(count, 40);
    client_list_close(entries);
    assert_int_equal(client_list_open(client, directory, middle + 1, false, NULL, NULL, &entries), 0);
    while (client_list_next(entries, &entry) == 1)
        after++;
    assert_int_equal(after, 40 - 17);
    client_list_close(entries);
    /* Closed with requests under way. */
    assert_int_equal(client_list_open(client, directory, 0, false, NULL, NULL, &entries), 0);
    assert_int_equal(client_list_next(entries, &entry), 1);
    client_list_close(entries);
    assert_int_equal(world.under_way, 0);

    static const char *const names[] = {"a/b", "..", ".", ""};
    for (unsigned i = 0; i < 4; i++) {
        world.lie_name = names[i];
        assert_int_equal(client_list_open(client, directory, 0, false, NULL, NULL, &entries), 0);
        assert_int_equal(client_list_next(entries, &entry), -EPROTO);
        client_list_close(entries);
    }
    world.lie_name = NULL;
    world.lie_flags = LIST_ENTRY_ATTRIBUTES;
    assert_int_equal(client_list_open(client, directory, 0, false, NULL, NULL, &entries), 0);
    assert_int_equal(client_list_next(entries, &entry), -EPROTO);
    client_list_close(entries);
    world.lie_flags = 0;
    world.lie_cursor = true;
    assert_int_equal(client_list_open(client, directory, 5, false, NULL, NULL, &entries), 0);
    int status;
    for (count = 0; (status = client_list_next(entries, &entry)) == 1 && count < 1000; count++)
        ;
    assert_int_equal(status, -EPROTO);
    client_list_close(entries);
}

/* A server that answers nonsense is not believed. */
static void nonsense(void **state)
{
    (void)state;
    struct client_file file = create("/dir/f", O_RDWR);
    assert_int_equal(client_write(client, &file, written, 100, 0), 100);
    world.lie_length = 1000;
    assert_int_equal(client_read(client, &file, back, 50, 0), -EPROTO);
    assert_int_equal(client_write(client, &file, written, 50, 0), -EPROTO);
    assert_int_equal(client_read(client, &file, back, 3 * CHUNK, 0), -EPROTO);
    static const uint8_t shifts[] = {1, 15, 27, 64, 255};
    for (unsigned i = 0; i < sizeof shifts; i++) {
        world.lie_shift = shifts[i];
        assert_int_equal(client_open(client, INODE_ROOT, "/dir/f", O_CREAT | O_RDWR, 0644, &file), -EPROTO);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        TEST(closes_go_along),
        TEST(failed_opens_let_go),
        TEST(closes_while_others_go),
        TEST(one_request),
        TEST(leased),
        TEST(walks),
        TEST(refusals),
        TEST(transfers),
        TEST(holes),
        TEST(cut_meanwhile),
        TEST(no_room),
        TEST(listing),
        TEST(nonsense),
        TEST(beyond_the_end),
        TEST(failure_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
