/* Names on three servers: what each operation answers, listing across servers, permissions, epochs, full
 * servers. */
#include "server_fixture.h"

static struct fixture f;

static int open_three(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3});
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void test_create_and_look_up(void **state)
{
    (void)state;
    struct attributes made = {0}, found = {0};
    for (uint32_t server = 0; server < 3; server++) {
        char name[64];
        name_on(&f, INODE_ROOT, server, "file", name);
        assert_int_equal(lookup(&f, INODE_ROOT, name, NULL), -ENOENT);
        struct create what = {.parent = INODE_ROOT, .name = name, .uid = 7, .mode = 0640};
        assert_int_equal(create(&f, &what, &made), 0);
        assert_int_equal(server_of(&f, made.inode), server);
        assert_int_equal(made.mode, S_IFREG | 0640);
        assert_int_equal(made.uid, 7);
        assert_int_equal(made.links, 1);
        assert_int_equal(made.layout.chunk_shift, SHIFT);
        assert_int_equal(lookup(&f, INODE_ROOT, name, &found), 0);
        assert_memory_equal(&made, &found, sizeof(made));
    }
}

static void test_create_existing(void **state)
{
    (void)state;
    struct attributes again = {0};
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    make_directory(&f, INODE_ROOT, "directory");
    struct create what = {.parent = INODE_ROOT, .name = "file", .flags = CREATE_EXCLUSIVE};
    assert_int_equal(create(&f, &what, NULL), -EEXIST);
    what.flags = 0;
    assert_int_equal(create(&f, &what, &again), 0);
    assert_int_equal(again.inode, inode);
    what.name = "directory";
    assert_int_equal(create(&f, &what, NULL), -EISDIR);
    what.operation = RPC_CREATE_DIRECTORY;
    assert_int_equal(create(&f, &what, NULL), -EEXIST);

    struct create link = {.parent = INODE_ROOT,
                          .name = "link",
                          .operation = RPC_CREATE_SYMLINK,
                          .target = "file",
                          .mode = 0777};
    assert_int_equal(create(&f, &link, NULL), 0);
    what = (struct create){.parent = INODE_ROOT, .name = "link"};
    assert_int_equal(create(&f, &what, &again), 0);
    assert_true(S_ISLNK(again.mode));
}

static void test_create_truncates(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    assert_int_equal(
        write_chunk(&f, &(struct chunk_write){.inode = inode, .bytes = "hello", .length = 5}, NULL), 0);
    struct create what = {.parent = INODE_ROOT, .name = "file", .uid = 5, .flags = CREATE_TRUNCATE};
    assert_int_equal(create(&f, &what, NULL), -EACCES);
    what.uid = 0;
    assert_int_equal(create(&f, &what, &attributes), 0);
    assert_int_equal(attributes.size, 0);
    assert_int_equal(attributes.inode, inode);
    assert_int_equal(attributes.generation, 1);
}

static void test_bad_names(void **state)
{
    (void)state;
    assert_int_equal(create(&f, &(struct create){.parent = INODE_ROOT, .name = "."}, NULL), -EINVAL);
    assert_int_equal(create(&f, &(struct create){.parent = INODE_ROOT, .name = ".."}, NULL), -EINVAL);
    assert_int_equal(create(&f, &(struct create){.parent = 0, .name = "x"}, NULL), -EINVAL);
    assert_int_equal(rename_name(&f, INODE_ROOT, ".", INODE_ROOT, "x", 0), -EBUSY);
}

static void test_wrong_server(void **state)
{
    (void)state;
    struct operation_call c;
    struct name_request *body = (void *)c.body;
    char name[64];
    name_on(&f, INODE_ROOT, 0, "n", name);
    *body = (struct name_request){.parent = INODE_ROOT, .name_length = (uint8_t)strlen(name)};
    memcpy(body->name, name, strlen(name));
    call_prepare(&f, &c, RPC_LOOKUP, sizeof(*body) + strlen(name), sizeof(struct attributes_reply));
    rpc_start(f.client.peers[1], &c.call);
    assert_int_equal(finish(&c), -STATUS_WRONG_EPOCH);

    uint64_t inode = make_file(&f, INODE_ROOT, name);
    char byte;
    assert_int_equal(read_chunk(&f, 1, inode, 0, 0, &byte, 1, NULL), -STATUS_WRONG_EPOCH);
}

static void test_unlink(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    make_directory(&f, INODE_ROOT, "directory");
    assert_int_equal(unlink_name(&f, INODE_ROOT, "directory"), -EISDIR);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "absent"), -ENOENT);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), 0);
    assert_int_equal(lookup(&f, INODE_ROOT, "file", NULL), -ENOENT);
    assert_int_equal(get_attributes(&f, inode, &attributes), -ESTALE);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "file"), -ENOENT);
}

static void test_symbolic_link(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    struct operation_call c;
    char target[64] = {0};
    struct create link = {.parent = INODE_ROOT,
                          .name = "link",
                          .operation = RPC_CREATE_SYMLINK,
                          .target = "/some/where",
                          .mode = 0777};
    assert_int_equal(create(&f, &link, &attributes), 0);
    assert_int_equal(attributes.size, strlen(link.target));
    struct inode_request *body = (void *)c.body;
    body->inode = attributes.inode;
    call_prepare(&f, &c, RPC_READ_LINK, sizeof(*body), 0);
    call_receive(&c, target, sizeof(target));
    rpc_start(f.client.peers[server_of(&f, attributes.inode)], &c.call);
    assert_int_equal(finish(&c), 0);
    assert_int_equal(c.call.received, strlen(link.target));
    assert_string_equal(target, link.target);

    uint64_t file = make_file(&f, INODE_ROOT, "file");
    body->inode = file;
    call_prepare(&f, &c, RPC_READ_LINK, sizeof(*body), 0);
    rpc_start(f.client.peers[server_of(&f, file)], &c.call);
    assert_int_equal(finish(&c), -EINVAL);
}

static int open_as(uint32_t uid, uint8_t groups, uint8_t access, const char *name)
{
    struct operation_call c;
    struct open_request *body = (void *)c.body;
    *body = (struct open_request){
        .parent = INODE_ROOT, .uid = uid, .gid = uid, .access = access, .name_length = (uint8_t)strlen(name)};
    memcpy(body->name, name, strlen(name));
    call_prepare(&f, &c, RPC_OPEN, sizeof(*body) + strlen(name), sizeof(struct open_reply));
    c.call.groups = groups;
    rpc_start(f.client.peers[server_of_name(&f, INODE_ROOT, name)], &c.call);
    return finish(&c);
}

static int open_name(uint32_t uid, uint8_t access, const char *name)
{
    return open_as(uid, 0, access, name);
}

/* At the server of the root's entry "file". */
static int set_groups(uint8_t set, const void *groups, size_t bytes)
{
    struct operation_call c;
    ((struct groups_request *)c.body)->set = set;
    call_prepare(&f, &c, RPC_SET_GROUPS, sizeof(struct groups_request), 0);
    if (bytes > 0)
        call_send(&c, groups, bytes);
    rpc_start(f.client.peers[server_of_name(&f, INODE_ROOT, "file")], &c.call);
    return finish(&c);
}

static void test_groups(void **state)
{
    (void)state;
    struct create what = {.parent = INODE_ROOT, .name = "file", .uid = 7, .mode = 0640}; /* gid 7 too */
    assert_int_equal(create(&f, &what, NULL), 0);
    const uint32_t wrong_order[] = {7, 7}, groups[] = {3, 7, 9}, others[] = {3, 8};
    static uint32_t many[RPC_GROUPS_MAX + 1];
    for (uint32_t i = 0; i <= RPC_GROUPS_MAX; i++)
        many[i] = i;

    assert_int_equal(open_as(8, 5, 4, "file"), -STATUS_UNKNOWN_GROUPS);
    assert_int_equal(open_as(7, 5, 4, "file"), 0);       /* the owner: groups do not matter */
    assert_int_equal(open_as(8, 5, 1, "file"), -EACCES); /* group and others have the same */
    assert_int_equal(set_groups(0, groups, sizeof(groups)), -EINVAL);
    assert_int_equal(set_groups(RPC_GROUP_SETS, groups, sizeof(groups)), -EINVAL);
    assert_int_equal(set_groups(5, groups, 0), -EINVAL);
    assert_int_equal(set_groups(5, groups, 7), -EINVAL);
    assert_int_equal(set_groups(5, wrong_order, sizeof(wrong_order)), -EINVAL);
    assert_int_equal(set_groups(5, many, sizeof(many)), -EINVAL);
    assert_int_equal(open_as(8, 5, 4, "file"), -STATUS_UNKNOWN_GROUPS);
    assert_int_equal(set_groups(5, groups, sizeof(groups)), 0);
    assert_int_equal(set_groups(31, many, sizeof(many) - sizeof(many[0])), 0);
    assert_int_equal(open_as(8, 5, 4, "file"), 0);
    assert_int_equal(open_as(8, 5, 2, "file"), -EACCES);
    assert_int_equal(open_as(8, 31, 4, "file"), 0);
    assert_int_equal(open_as(8, 6, 4, "file"), -STATUS_UNKNOWN_GROUPS);
    assert_int_equal(open_as(8, 0, 4, "file"), -EACCES);
    assert_int_equal(set_groups(5, others, sizeof(others)), 0);
    assert_int_equal(open_as(8, 5, 4, "file"), -EACCES);
}

static void test_open_permissions(void **state)
{
    (void)state;
    struct create what = {.parent = INODE_ROOT, .name = "file", .uid = 7, .mode = 0640};
    assert_int_equal(create(&f, &what, NULL), 0);
    make_directory(&f, INODE_ROOT, "directory");
    assert_int_equal(open_name(7, 4 | 2, "file"), 0);
    assert_int_equal(open_name(8, 4, "file"), -EACCES);
    assert_int_equal(open_name(0, 4 | 2, "file"), 0);
    assert_int_equal(open_name(0, 2, "directory"), -EISDIR);
    assert_int_equal(open_name(8, 4, "directory"), 0);
    assert_int_equal(open_name(8, 4, "absent"), -ENOENT);

    what = (struct create){.parent = INODE_ROOT, .name = "file", .uid = 8, .flags = CREATE_READ};
    assert_int_equal(create(&f, &what, NULL), -EACCES);
}

static void test_set_attributes(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    struct create what = {.parent = INODE_ROOT, .name = "file", .uid = 7, .mode = 0640};
    assert_int_equal(create(&f, &what, &attributes), 0);
    struct set_attributes_request set = {
        .inode = attributes.inode, .caller_uid = 8, .caller_gid = 8, .fields = SET_MODE, .mode = 0777};
    assert_int_equal(set_attributes(&f, &set), -EPERM);
    set.caller_uid = set.caller_gid = 7;
    assert_int_equal(set_attributes(&f, &set), 0);
    set.fields = SET_UID;
    set.uid = 9;
    assert_int_equal(set_attributes(&f, &set), -EPERM);
    set.caller_uid = 0;
    set.fields = SET_UID | SET_MODIFY_TIME;
    set.modify_time = 12345;
    assert_int_equal(set_attributes(&f, &set), 0);
    assert_int_equal(get_attributes(&f, attributes.inode, &attributes), 0);
    assert_int_equal(attributes.mode, S_IFREG | 0777);
    assert_int_equal(attributes.uid, 9);
    assert_int_equal(attributes.modify_time, 12345);
    set.caller_uid = 8;
    set.fields = SET_MODIFY_TIME;
    assert_int_equal(set_attributes(&f, &set), -EPERM);
    set.fields = SET_MODIFY_TIME_NOW; /* not both */
    assert_int_equal(set_attributes(&f, &set), -EPERM);
    set.fields = SET_ACCESS_TIME_NOW | SET_MODIFY_TIME_NOW; /* 0777: everybody may write */
    assert_int_equal(set_attributes(&f, &set), 0);
}

/* A directory's links and times are those of its entries on all servers. */
static void test_directory_status(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    assert_int_equal(get_attributes(&f, directory, &attributes), 0);
    assert_int_equal(attributes.links, 2);
    assert_int_equal(attributes.parent, INODE_ROOT);
    int64_t before = attributes.modify_time;
    for (uint32_t server = 0; server < 3; server++) {
        char name[64];
        make_directory(&f, directory, name_on(&f, directory, server, "d", name));
    }
    assert_int_equal(get_attributes(&f, directory, &attributes), 0);
    assert_int_equal(attributes.links, 5);
    assert_true(attributes.modify_time > before);

    struct set_attributes_request set = {.inode = directory, .fields = SET_MODIFY_TIME, .modify_time = 99};
    assert_int_equal(set_attributes(&f, &set), 0);
    assert_int_equal(get_attributes(&f, directory, &attributes), 0);
    assert_int_equal(attributes.modify_time, 99);
    make_file(&f, directory, "later");
    assert_int_equal(get_attributes(&f, directory, &attributes), 0);
    assert_true(attributes.modify_time > before);
}

/* Taking permissions away from a directory makes every cached lookup of it useless at once. */
static void test_narrowing_bumps(void **state)
{
    (void)state;
    for (uint32_t server = 0; server < 3; server++) {
        char name[64];
        uint64_t directory = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, server, "narrow", name));
        uint32_t old = f.epoch;
        struct set_attributes_request set = {.inode = directory, .fields = SET_MODE, .mode = 0777};
        assert_int_equal(set_attributes(&f, &set), 0);
        assert_int_equal(f.epoch, old); /* wider: nothing to forget */
        set.mode = 0700;
        assert_int_equal(set_attributes(&f, &set), 0);
        assert_int_equal(f.epoch, old + 1);
        uint32_t newest = f.epoch;
        f.epoch = old;
        for (uint32_t other = 0; other < 3; other++) {
            char any[64];
            assert_int_equal(lookup(&f, directory, name_on(&f, directory, other, "x", any), NULL),
                             -STATUS_STALE_NAMESPACE);
        }
        f.epoch = newest;
    }
}

static void test_newer_epoch_is_adopted(void **state)
{
    (void)state;
    f.epoch = 5;
    assert_int_equal(lookup(&f, INODE_ROOT, "x", NULL), -ENOENT);
    f.epoch = 4;
    assert_int_equal(lookup(&f, INODE_ROOT, "x", NULL), -STATUS_STALE_NAMESPACE);
}

/* ---- listing ---- */

struct listed {
    unsigned entries;
    unsigned replies;
    uint64_t last_hash;
    unsigned with_attributes;
    unsigned matching;
    unsigned undecided;
    unsigned directories;
};

static int list_server(uint32_t server, uint64_t directory, uint32_t bytes_max, uint8_t flags,
                       const struct list_filter *filter, const char *pattern, struct listed *listed)
{
    static uint64_t space[(1 << 20) / 8];
    uint64_t cursor = 0;
    do {
        struct operation_call c;
        struct list_request *body = (void *)c.body;
        *body = (struct list_request){.directory = directory,
                                      .cursor = cursor,
                                      .bytes_max = bytes_max,
                                      .flags = flags,
                                      .filter = {.newer = INT64_MIN}};
        if (filter != NULL)
            body->filter = *filter;
        body->filter.pattern_length = (uint8_t)strlen(pattern);
        memcpy(body->pattern, pattern, strlen(pattern));
        call_prepare(&f, &c, RPC_LIST, sizeof(*body) + strlen(pattern), sizeof(struct list_reply));
        call_receive(&c, space, sizeof(space));
        rpc_start(f.client.peers[server], &c.call);
        int status = finish(&c);
        if (status != 0)
            return status;
        struct list_reply reply;
        memcpy(&reply, c.reply, sizeof(reply));
        char *at = (char *)space;
        for (uint32_t i = 0; i < reply.entries; i++) {
            struct list_entry *entry = (void *)at;
            assert_true(entry->hash > listed->last_hash);
            assert_int_equal(entry->hash, dentry_hash(directory, list_entry_name(entry), entry->name_length));
            listed->last_hash = entry->hash;
            listed->entries++;
            listed->with_attributes += (entry->flags & LIST_ENTRY_ATTRIBUTES) != 0;
            listed->matching += (entry->flags & LIST_ENTRY_MATCHES) != 0;
            listed->undecided += (entry->flags & LIST_ENTRY_UNDECIDED) != 0;
            listed->directories += S_ISDIR(entry->type);
            at += entry->record_length;
        }
        assert_int_equal(at - (char *)space, c.call.received);
        assert_true(reply.next == 0 || reply.next > listed->last_hash);
        cursor = reply.next;
        listed->replies++;
    } while (cursor != 0);
    return 0;
}

static unsigned list_all(uint64_t directory, uint32_t bytes_max, uint8_t flags,
                         const struct list_filter *filter, const char *pattern, struct listed *listed)
{
    *listed = (struct listed){0};
    for (uint32_t server = 0; server < f.count; server++) {
        listed->last_hash = 0;
        assert_int_equal(list_server(server, directory, bytes_max, flags, filter, pattern, listed), 0);
    }
    return listed->entries;
}

static void test_list(void **state)
{
    (void)state;
    struct listed listed;
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    assert_int_equal(list_all(directory, 1 << 16, 0, NULL, "", &listed), 0);
    for (int i = 0; i < 200; i++) {
        char name[64];
        snprintf(name, sizeof(name), "entry%d", i);
        make_file(&f, directory, name);
    }
    assert_int_equal(list_all(directory, 1 << 16, LIST_ATTRIBUTES, NULL, "", &listed), 200);
    assert_int_equal(listed.with_attributes, 200);
    assert_int_equal(listed.replies, 3);
    /* One entry at a time, and a space that holds none: nothing is lost or repeated. */
    assert_int_equal(list_all(directory, 70, 0, NULL, "", &listed), 200);
    assert_int_equal(listed.with_attributes, 0);
    assert_true(listed.replies > 60);
    assert_int_equal(list_all(directory, 1, 0, NULL, "", &listed), 200);
    assert_int_equal(listed.replies, 200);
    uint64_t file = make_file(&f, INODE_ROOT, "file");
    assert_int_equal(list_server(server_of(&f, file), file, 1000, 0, NULL, "", &listed), -ENOTDIR);
}

static void test_list_filter(void **state)
{
    (void)state;
    struct listed listed;
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    make_directory(&f, directory, "a.d");
    make_directory(&f, directory, "b.txt");
    uint64_t small = make_file(&f, directory, "small.txt");
    uint64_t large = make_file(&f, directory, "large.txt");
    make_file(&f, directory, "other.c");
    assert_int_equal(write_chunk(&f, &(struct chunk_write){.inode = small, .bytes = "1", .length = 1}, NULL),
                     0);
    assert_int_equal(truncate_file(&f, large, 5000, UINT64_MAX), 0);
    /* Directories come along, so that the caller can descend. */
    assert_int_equal(list_all(directory, 1 << 16, LIST_FILTER, NULL, "*.txt", &listed), 4);
    assert_int_equal(listed.matching, 3);
    assert_int_equal(listed.directories, 2);
    struct list_filter files = {.type = S_IFREG, .size_min = 2, .newer = INT64_MIN};
    list_all(directory, 1 << 16, LIST_FILTER, &files, "", &listed);
    assert_int_equal(listed.matching, 1);
    assert_int_equal(listed.entries, 3);
    struct list_filter newer = {.newer = 1};
    list_all(directory, 1 << 16, LIST_FILTER, &newer, "", &listed);
    assert_int_equal(listed.matching, 3);
    assert_int_equal(listed.undecided, 2);
}

/* ---- limits ---- */

static void test_metadata_capacity(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 1, .metadata_capacity = 1 << 20});
    int status = 0;
    char name[64];
    char bytes[4096] = {1};
    unsigned made = 0;
    for (; made < 10000 && status == 0; made++) {
        struct attributes attributes = {0};
        snprintf(name, sizeof(name), "file%u", made);
        status = create(&f, &(struct create){.parent = INODE_ROOT, .name = name}, &attributes);
        if (status != 0)
            break;
        struct chunk_write write = {.inode = attributes.inode, .bytes = bytes, .length = sizeof(bytes)};
        status = write_chunk(&f, &write, NULL);
    }
    assert_int_equal(status, -ENOSPC);
    assert_in_range(made, 10, 5000);
    /* What is there stays usable, and removal makes room. */
    assert_int_equal(create(&f, &(struct create){.parent = INODE_ROOT, .name = "file0"}, NULL), 0);
    for (unsigned i = 0; i < made; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        assert_int_equal(unlink_name(&f, INODE_ROOT, name), 0);
    }
    make_file(&f, INODE_ROOT, "again");
}

static void test_before_the_map(void **state)
{
    (void)state;
    struct net *net;
    struct server *server;
    char bound[64];
    assert_int_equal(net_sim_create(f.network, "late", &net), 0);
    struct server_options options = {.id = 99,
                                     .cluster_key = fixture_key,
                                     .listen = "late:0",
                                     .store = {.engine = "mem", .capacity = 8u << 20}};
    assert_int_equal(server_create(net, &options, &server, bound), 0);
    struct rpc_peer *peer;
    assert_int_equal(rpc_peer_create(f.client.rpc, bound, &peer), 0);
    struct operation_call c;
    struct attributes_request *body = (void *)c.body;
    body->inode = INODE_ROOT;
    body->flags = ATTRIBUTES_GATHER;
    call_prepare(&f, &c, RPC_GET_ATTRIBUTES, sizeof(*body), sizeof(struct attributes_reply));
    rpc_start(peer, &c.call);
    assert_int_equal(finish(&c), -EAGAIN);
    struct cluster_map *map;
    assert_int_equal(cluster_map_create(1, f.map->servers, f.count, &map), 0);
    assert_int_equal(server_set_map(server, map), -EINVAL); /* not a member */
    rpc_peer_destroy(peer);
    server_destroy(server);
    net_destroy(net);
}

static void ended(void *owner)
{
    *(bool *)owner = true;
}

static void test_administration(void **state)
{
    (void)state;
    struct operation_call c;
    struct server_status_reply status;
    call_prepare(&f, &c, RPC_SERVER_STATUS, 0, sizeof(status));
    rpc_start(f.client.peers[1], &c.call);
    assert_int_equal(finish(&c), 0);
    memcpy(&status, c.reply, sizeof(status));
    assert_int_equal(status.server, 11);
    assert_true(status.capacity >= 8u << 20);

    static char map_bytes[1 << 17];
    call_prepare(&f, &c, RPC_GET_MAP, 0, 0);
    call_receive(&c, map_bytes, sizeof(map_bytes));
    rpc_start(f.client.peers[2], &c.call);
    assert_int_equal(finish(&c), 0);
    struct cluster_map *map;
    assert_int_equal(cluster_map_decode(map_bytes, c.call.received, &map), 0);
    assert_int_equal(map->server_count, 3);
    cluster_map_destroy(map);

    static char bulk[100000];
    struct ping_request *ping = (void *)c.body;
    *ping = (struct ping_request){.reply_bytes = 50000, .discard = 1};
    call_prepare(&f, &c, RPC_PING, sizeof(*ping), sizeof(struct ping_reply));
    call_send(&c, bulk, sizeof(bulk));
    call_receive(&c, bulk, sizeof(bulk));
    rpc_start(f.client.peers[0], &c.call);
    assert_int_equal(finish(&c), 0);
    assert_int_equal(c.call.received, 50000);
    *ping = (struct ping_request){.reply_bytes = UINT32_MAX};
    call_prepare(&f, &c, RPC_PING, sizeof(*ping), sizeof(struct ping_reply));
    rpc_start(f.client.peers[0], &c.call);
    assert_int_equal(finish(&c), -EINVAL);

    bool asked = false;
    server_on_shut_down(f.servers[2], ended, &asked);
    call_prepare(&f, &c, RPC_SHUT_DOWN, 0, 0);
    rpc_start(f.client.peers[2], &c.call);
    assert_int_equal(finish(&c), 0);
    assert_true(asked);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_three, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_create_and_look_up),
        CASE(test_create_existing),
        CASE(test_create_truncates),
        CASE(test_bad_names),
        CASE(test_wrong_server),
        CASE(test_unlink),
        CASE(test_symbolic_link),
        CASE(test_open_permissions),
        CASE(test_set_attributes),
        CASE(test_directory_status),
        CASE(test_narrowing_bumps),
        CASE(test_newer_epoch_is_adopted),
        CASE(test_list),
        CASE(test_list_filter),
        CASE(test_groups),
        cmocka_unit_test_teardown(test_metadata_capacity, close_all),
        CASE(test_before_the_map),
        CASE(test_administration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
