/* What several servers do together: rename, rmdir, removal of what lives elsewhere; alone, racing with each
 * other, and on a network that loses messages. */
#include "server_fixture.h"

static struct fixture f;

static int open_three(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3});
    return 0;
}

static int open_lossy(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3, .loss_per_million = 100000});
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void test_rename_file(void **state)
{
    (void)state;
    /* Every pair of servers of the two names; the inode stays where it was made. */
    for (uint32_t from = 0; from < 3; from++) {
        for (uint32_t to = 0; to < 3; to++) {
            char old[64], new[64], stem[16];
            struct attributes attributes = {0};
            snprintf(stem, sizeof(stem), "r%u%u_", from, to);
            uint64_t inode = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, from, stem, old));
            snprintf(stem, sizeof(stem), "t%u%u_", from, to);
            name_on(&f, INODE_ROOT, to, stem, new);
            assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, new, 0), 0);
            assert_int_equal(lookup(&f, INODE_ROOT, old, NULL), -ENOENT);
            assert_int_equal(lookup(&f, INODE_ROOT, new, &attributes), 0);
            assert_int_equal(attributes.inode, inode);
            assert_int_equal(attributes.links, 1);
            assert_int_equal(unlink_name(&f, INODE_ROOT, new), 0);
            assert_int_equal(get_attributes(&f, inode, &attributes), -ESTALE);
        }
    }
    assert_int_equal(f.epoch, 1); /* files leave cached lookups alone */
    assert_int_equal(rename_name(&f, INODE_ROOT, "absent", INODE_ROOT, "x", 0), -ENOENT);
}

/* The inode changes last: never before the directories, wherever the three are. */
static void test_renamed_inode_changes_last(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 27; i++) {
        char old[64], new[64], other[64], stem[16];
        struct attributes directory, file;
        snprintf(stem, sizeof(stem), "made%u_", i);
        uint64_t inode = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, i % 3, stem, old));
        snprintf(stem, sizeof(stem), "old%u_", i);
        name_on(&f, INODE_ROOT, i / 3 % 3, stem, other);
        assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, other, 0), 0);
        snprintf(stem, sizeof(stem), "new%u_", i);
        name_on(&f, INODE_ROOT, i / 9, stem, new);
        uint64_t second = i % 2 == 0 ? 0 : make_file(&f, INODE_ROOT, new);
        assert_int_equal(
            rename_name(&f, INODE_ROOT, other, INODE_ROOT, new, second != 0 ? RENAME_FLAG_EXCHANGE : 0), 0);
        assert_int_equal(get_attributes(&f, INODE_ROOT, &directory), 0);
        assert_int_equal(get_attributes(&f, inode, &file), 0);
        assert_true(file.change_time >= directory.modify_time);
        if (second == 0)
            continue;
        assert_int_equal(get_attributes(&f, second, &file), 0);
        assert_true(file.change_time >= directory.modify_time);
    }
}

/* Directories that change places need to be writable, both; only if their parents change. */
static void test_exchange_needs_both_writable(void **state)
{
    (void)state;
    char mine[64], theirs[64], moved[64];
    uint64_t here = make_directory(&f, INODE_ROOT, "here"), there = make_directory(&f, INODE_ROOT, "there");
    f.uid = 1000;
    for (uint32_t i = 0; i < 9; i++) {
        struct create own = {.parent = here,
                             .operation = RPC_CREATE_DIRECTORY,
                             .mode = 0755,
                             .uid = 1000,
                             .name = name_on(&f, here, i % 3, "mine", mine)};
        struct create foreign = {.parent = there,
                                 .operation = RPC_CREATE_DIRECTORY,
                                 .mode = 0755,
                                 .name = name_on(&f, there, i / 3, "theirs", theirs)};
        assert_int_equal(create(&f, &own, NULL), 0);
        assert_int_equal(create(&f, &foreign, NULL), 0);
        assert_int_equal(rename_name(&f, here, mine, there, theirs, RENAME_FLAG_EXCHANGE), -EACCES);
        assert_int_equal(rename_name(&f, there, theirs, here, mine, RENAME_FLAG_EXCHANGE), -EACCES);
        assert_int_equal(rename_name(&f, there, theirs, there, name_on(&f, there, i % 3, "moved", moved), 0),
                         0);
        foreign.name = theirs;
        foreign.uid = 1000;
        assert_int_equal(create(&f, &foreign, NULL), 0);
        assert_int_equal(rename_name(&f, here, mine, there, theirs, RENAME_FLAG_EXCHANGE), 0);
        assert_int_equal(remove_directory(&f, here, mine), 0);
        assert_int_equal(remove_directory(&f, there, theirs), 0);
        assert_int_equal(remove_directory(&f, there, moved), 0);
    }
}

static void test_rename_replaces(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    char old[64], new[64];
    uint64_t moved = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 0, "old", old));
    uint64_t replaced = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 1, "new", new));
    make_directory(&f, INODE_ROOT, "directory");
    assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, new, RENAME_FLAG_NOREPLACE), -EEXIST);
    assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, "directory", 0), -EISDIR);
    assert_int_equal(rename_name(&f, INODE_ROOT, "directory", INODE_ROOT, new, 0), -ENOTDIR);
    assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, old, 0), 0);
    assert_int_equal(lookup(&f, INODE_ROOT, old, NULL), 0);
    assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, new, 0), 0);
    assert_int_equal(lookup(&f, INODE_ROOT, new, &attributes), 0);
    assert_int_equal(attributes.inode, moved);
    assert_int_equal(get_attributes(&f, replaced, &attributes), -ESTALE);
    assert_int_equal(lookup(&f, INODE_ROOT, old, NULL), -ENOENT);
}

/* A renamed file's entry and inode live apart: everything still works by name. */
static void test_renamed_file_by_name(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    char old[64], new[64];
    uint64_t inode = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 0, "old", old));
    assert_int_equal(
        write_chunk(&f, &(struct chunk_write){.inode = inode, .bytes = "abc", .length = 3}, NULL), 0);
    assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, name_on(&f, INODE_ROOT, 2, "new", new), 0),
                     0);
    struct create what = {.parent = INODE_ROOT, .name = new, .flags = CREATE_EXCLUSIVE};
    assert_int_equal(create(&f, &what, NULL), -EEXIST);
    what.flags = 0;
    assert_int_equal(create(&f, &what, &attributes), 0);
    assert_int_equal(attributes.inode, inode);
    assert_int_equal(attributes.size, 3);
    what.flags = CREATE_TRUNCATE; /* is the client's to do here, once it holds the file */
    assert_int_equal(create(&f, &what, &attributes), 0);
    assert_int_equal(attributes.size, 3);
    assert_int_equal(unlink_name(&f, INODE_ROOT, new), 0);
    assert_int_equal(get_attributes(&f, inode, &attributes), -ESTALE);
}

/* A name that is replaced again and again is never missing, not even when its inode is asked for on another
 * server while it goes. */
static void test_replaced_name_is_never_missing(void **state)
{
    (void)state;
    enum { LOOKUPS = 6 };
    static struct operation_call lookups[LOOKUPS];
    char name[64], temporary[64];
    name_on(&f, INODE_ROOT, 0, "name", name);
    name_on(&f, INODE_ROOT, 1, "temporary", temporary);
    make_file(&f, INODE_ROOT, name);
    for (unsigned round = 0; round < 60; round++) {
        make_file(&f, INODE_ROOT, temporary);
        struct operation_call replace;
        for (unsigned i = 0; i < LOOKUPS; i++) {
            if (i == 2)
                start_rename(&f, &f.second, &replace, INODE_ROOT, temporary, INODE_ROOT, name, 0);
            start_name(&f, &f.client, &lookups[i], RPC_LOOKUP, INODE_ROOT, name,
                       sizeof(struct attributes_reply));
            struct completion sleep = COMPLETION_INIT;
            await_until(f.loop, &sleep, loop_now(f.loop) + round % 8 * 3000);
        }
        assert_int_equal(finish(&replace), 0);
        for (unsigned i = 0; i < LOOKUPS; i++)
            assert_int_equal(finish(&lookups[i]), 0);
    }
}

static void test_rename_directory(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    uint64_t a = make_directory(&f, INODE_ROOT, "a");
    uint64_t b = make_directory(&f, a, "b");
    uint64_t c = make_directory(&f, b, "c");
    make_file(&f, c, "file");
    assert_int_equal(rename_name(&f, INODE_ROOT, "a", a, "x", 0), -EINVAL);
    assert_int_equal(rename_name(&f, INODE_ROOT, "a", c, "x", 0), -EINVAL);
    assert_int_equal(rename_name(&f, a, "b", INODE_ROOT, "a", 0), -ENOTEMPTY);
    uint32_t before = f.epoch;
    assert_int_equal(rename_name(&f, a, "b", INODE_ROOT, "moved", 0), 0);
    assert_true(f.epoch > before);
    assert_int_equal(get_attributes(&f, b, &attributes), 0);
    assert_int_equal(attributes.parent, INODE_ROOT);
    assert_int_equal(lookup(&f, INODE_ROOT, "moved", &attributes), 0);
    assert_int_equal(attributes.inode, b);
    /* Now a may go into what was inside it. */
    assert_int_equal(rename_name(&f, INODE_ROOT, "a", c, "a", 0), 0);
    assert_int_equal(rename_name(&f, INODE_ROOT, "moved", a, "x", 0), -EINVAL);
    uint32_t newest = f.epoch;
    f.epoch = before;
    for (uint32_t server = 0; server < 3; server++) {
        char name[64];
        assert_int_equal(lookup(&f, a, name_on(&f, a, server, "n", name), NULL), -STATUS_STALE_NAMESPACE);
    }
    struct operation_call stale;
    start_rename(&f, &f.client, &stale, b, "c", INODE_ROOT, "c", 0);
    assert_int_equal(finish(&stale), -STATUS_STALE_NAMESPACE);
    f.epoch = newest;
}

/* Clients cache ".." under the epoch of the reply: with the new epoch nobody gets the old parent. */
static void test_parent_and_epoch_change_together(void **state)
{
    (void)state;
    char name[64];
    uint64_t into = make_directory(&f, INODE_ROOT, "into");
    for (uint32_t server = 0; server < 3; server++) {
        uint64_t moved = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, server, "d", name));
        uint32_t before = f.epoch, epoch = before, looks = 0;
        struct operation_call rename;
        start_rename(&f, &f.second, &rename, INODE_ROOT, name, into, name, 0);
        while (!rename.call.done.fired) {
            struct operation_call look;
            struct attributes_request *body = (void *)look.body;
            *body = (struct attributes_request){.inode = moved};
            call_prepare(&f, &look, RPC_GET_ATTRIBUTES, sizeof(*body), sizeof(struct attributes_reply));
            look.call.namespace_epoch = epoch;
            rpc_start(f.client.peers[server_of(&f, moved)], &look.call);
            int status = finish(&look);
            epoch = look.call.reply_namespace_epoch;
            if (status == -STATUS_STALE_NAMESPACE)
                continue;
            struct attributes attributes;
            assert_int_equal(status, 0);
            memcpy(&attributes, look.reply, sizeof(attributes));
            if (epoch != before)
                assert_int_equal(attributes.parent, into);
            looks++;
        }
        assert_int_equal(finish(&rename), 0);
        assert_true(looks > 0);
        f.epoch = rename.call.reply_namespace_epoch;
    }
}

static void test_rename_replaces_directory(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    for (uint32_t server = 0; server < 3; server++) {
        char old[64], new[64];
        uint64_t moved = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, server, "old", old));
        uint64_t replaced =
            make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, (server + 1) % 3, "new", new));
        make_file(&f, replaced, "file");
        assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, new, 0), -ENOTEMPTY);
        assert_int_equal(unlink_name(&f, replaced, "file"), 0);
        assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, new, 0), 0);
        assert_int_equal(lookup(&f, INODE_ROOT, new, &attributes), 0);
        assert_int_equal(attributes.inode, moved);
        assert_int_equal(get_attributes(&f, replaced, &attributes), -ESTALE);
        assert_int_equal(create(&f, &(struct create){.parent = replaced, .name = "x"}, NULL), -ESTALE);
    }
}

static void test_remove_directory(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    for (uint32_t server = 0; server < 3; server++) {
        char name[64];
        uint64_t directory = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, server, "d", name));
        make_file(&f, directory, "file");
        assert_int_equal(remove_directory(&f, INODE_ROOT, name), -ENOTEMPTY);
        make_file(&f, directory, "second"); /* thawed again */
        assert_int_equal(remove_directory(&f, directory, "file"), -ENOTDIR);
        assert_int_equal(unlink_name(&f, directory, "file"), 0);
        assert_int_equal(unlink_name(&f, directory, "second"), 0);
        assert_int_equal(remove_directory(&f, INODE_ROOT, name), 0);
        assert_int_equal(remove_directory(&f, INODE_ROOT, name), -ENOENT);
        assert_int_equal(get_attributes(&f, directory, &attributes), -ESTALE);
        /* A client that still has it cached is told on every server. */
        for (uint32_t other = 0; other < 3; other++) {
            char entry[64];
            struct create what = {.parent = directory, .name = name_on(&f, directory, other, "x", entry)};
            assert_int_equal(create(&f, &what, NULL), -ESTALE);
            assert_int_equal(lookup(&f, directory, entry, NULL), -ESTALE);
            assert_int_equal(rename_name(&f, INODE_ROOT, "absent", directory, entry, 0), -ENOENT);
        }
        uint64_t again = make_directory(&f, INODE_ROOT, name);
        assert_true(again != directory);
        assert_int_equal(remove_directory(&f, INODE_ROOT, name), 0);
    }
}

/* A directory whose entry is on one server and whose inode on another. */
static void test_remove_renamed_directory(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    char old[64], new[64];
    uint64_t directory = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 0, "old", old));
    assert_int_equal(rename_name(&f, INODE_ROOT, old, INODE_ROOT, name_on(&f, INODE_ROOT, 1, "new", new), 0),
                     0);
    assert_int_equal(remove_directory(&f, INODE_ROOT, new), 0);
    assert_int_equal(get_attributes(&f, directory, &attributes), -ESTALE);
}

/* Tombstones are bounded: when there are too many the namespace epoch is bumped, which makes the older ones
 * superfluous. */
static void test_many_removed_directories(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 1});
    uint64_t first = make_directory(&f, INODE_ROOT, "d");
    assert_int_equal(remove_directory(&f, INODE_ROOT, "d"), 0);
    unsigned bumped = 0;
    for (unsigned i = 0; i < 65540; i++) {
        struct operation_call c;
        struct create what = {
            .parent = INODE_ROOT, .name = "d", .operation = RPC_CREATE_DIRECTORY, .mode = 0755};
        start_create(&f, &f.client, &c, &what);
        int status = finish(&c);
        if (status == -STATUS_STALE_NAMESPACE) {
            bumped++;
            f.epoch = c.call.reply_namespace_epoch;
            continue;
        }
        assert_int_equal(status, 0);
        assert_int_equal(remove_directory(&f, INODE_ROOT, "d"), 0);
    }
    assert_int_equal(bumped, 1);
    assert_int_equal(f.epoch, 2);
    /* Only a request of the old epoch could take the first one for a directory that is there. */
    f.epoch = 1;
    assert_int_equal(create(&f, &(struct create){.parent = first, .name = "x"}, NULL),
                     -STATUS_STALE_NAMESPACE);
}

/* Creations and the removal of their directory at the same time: either the removal finds an entry, or the
 * creation finds no directory. */
static void test_remove_races_with_create(void **state)
{
    (void)state;
    unsigned removed = 0, kept = 0;
    for (unsigned round = 0; round < 60; round++) {
        char name[64];
        snprintf(name, sizeof(name), "d%u", round);
        uint64_t directory = make_directory(&f, INODE_ROOT, name);
        struct operation_call remove, creations[4];
        char entries[4][64];
        for (unsigned i = 0; i < 4; i++)
            snprintf(entries[i], sizeof(entries[i]), "e%u_%u", round, i);
        unsigned first = round % 5;
        for (unsigned i = 0; i <= 4; i++) {
            if (i == first)
                start_name(&f, &f.second, &remove, RPC_REMOVE_DIRECTORY, INODE_ROOT, name, 0);
            if (i < 4)
                start_create(
                    &f, &f.client, &creations[i],
                    &(struct create){.parent = directory, .name = entries[i], .flags = CREATE_EXCLUSIVE});
        }
        int status = finish(&remove);
        unsigned made = 0;
        for (unsigned i = 0; i < 4; i++) {
            int created = finish(&creations[i]);
            assert_true(created == 0 || created == -ESTALE);
            made += created == 0;
        }
        if (status == 0) {
            assert_int_equal(made, 0);
            removed++;
        } else {
            assert_int_equal(status, -ENOTEMPTY);
            assert_int_equal(made, 4);
            kept++;
        }
    }
    assert_true(removed > 0 && kept > 0);
}

static void test_opposite_renames(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        struct attributes attributes = {0};
        char one[64], two[64];
        uint64_t a = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, round % 3, "one", one));
        uint64_t b = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, (round + 1) % 3, "two", two));
        struct operation_call there, back;
        start_rename(&f, &f.client, &there, INODE_ROOT, one, INODE_ROOT, two, 0);
        start_rename(&f, &f.second, &back, INODE_ROOT, two, INODE_ROOT, one, 0);
        assert_int_equal(finish(&there), 0);
        assert_int_equal(finish(&back), 0);
        /* Whichever came first moved over the other; then it was moved back. */
        bool left = lookup(&f, INODE_ROOT, one, &attributes) == 0;
        assert_int_not_equal(left, lookup(&f, INODE_ROOT, two, &attributes) == 0);
        lookup(&f, INODE_ROOT, left ? one : two, &attributes);
        assert_true(attributes.inode == a || attributes.inode == b);
        assert_int_equal(get_attributes(&f, attributes.inode == a ? b : a, &attributes), -ESTALE);
        assert_int_equal(unlink_name(&f, INODE_ROOT, left ? one : two), 0);
    }
}

/* Two directories, each to be moved into the other: one must fail, or both would be lost to the root. */
static void test_opposite_directory_renames(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        char one[64], two[64];
        snprintf(one, sizeof(one), "one%u", round);
        snprintf(two, sizeof(two), "two%u", round);
        uint64_t a = make_directory(&f, INODE_ROOT, one);
        uint64_t b = make_directory(&f, INODE_ROOT, two);
        struct operation_call there, back;
        start_rename(&f, &f.client, &there, INODE_ROOT, one, b, "x", 0);
        start_rename(&f, &f.second, &back, INODE_ROOT, two, a, "x", 0);
        int first = finish(&there);
        int second = finish(&back);
        uint32_t epoch = there.call.reply_namespace_epoch;
        f.epoch = epoch > back.call.reply_namespace_epoch ? epoch : back.call.reply_namespace_epoch;
        assert_true((first == 0) != (second == 0));
        /* The loser learns that its paths are out of date, or that it would close a cycle. */
        int loser = first == 0 ? second : first;
        assert_true(loser == -STATUS_STALE_NAMESPACE || loser == -EINVAL);
    }
}

/* Renames that form a ring of waiting transactions if locks were not taken in order. */
static void test_rename_ring(void **state)
{
    (void)state;
    enum { RING = 8, ROUNDS = 10 };
    char names[RING][64];
    for (unsigned i = 0; i < RING; i++) {
        snprintf(names[i], sizeof(names[i]), "ring%u", i);
        make_file(&f, INODE_ROOT, names[i]);
    }
    static struct operation_call calls[RING];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < RING; i++)
            start_rename(&f, i % 2 == 0 ? &f.client : &f.second, &calls[i], INODE_ROOT, names[i], INODE_ROOT,
                         names[(i + 1) % RING], 0);
        for (unsigned i = 0; i < RING; i++) {
            int status = finish(&calls[i]);
            assert_true(status == 0 || status == -ENOENT);
        }
    }
    unsigned left = 0;
    for (unsigned i = 0; i < RING; i++)
        left += lookup(&f, INODE_ROOT, names[i], NULL) == 0;
    assert_in_range(left, 1, RING);
}

/* More transactions wait for one name than a session between two servers has credits: those that end them
 * must still get through. */
static void test_crowd_at_one_name(void **state)
{
    (void)state;
    enum { CROWD = 60 };
    static struct operation_call calls[CROWD];
    static char names[CROWD][64];
    char target[64], stem[16];
    name_on(&f, INODE_ROOT, 1, "target", target);
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(stem, sizeof(stem), "c%u_", i);
        make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 0, stem, names[i]));
    }
    uint64_t before = loop_now(f.loop);
    for (unsigned i = 0; i < CROWD; i++)
        start_rename(&f, i % 2 == 0 ? &f.client : &f.second, &calls[i], INODE_ROOT, names[i], INODE_ROOT,
                     target, 0);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(finish(&calls[i]), 0);
    assert_true(loop_now(f.loop) - before < 2 * NSEC_PER_SEC);
    assert_int_equal(lookup(&f, INODE_ROOT, target, NULL), 0);
}

/* A rename out of a directory that is being replaced by the rename's own target: no deadlock, both end. */
static void test_replace_directory_while_its_entry_moves(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        char p[64], t[64];
        snprintf(p, sizeof(p), "p%u", round);
        snprintf(t, sizeof(t), "t%u", round);
        make_directory(&f, INODE_ROOT, p);
        uint64_t target = make_directory(&f, INODE_ROOT, t);
        make_file(&f, target, "entry");
        struct operation_call replace, move;
        start_rename(&f, &f.client, &replace, INODE_ROOT, p, INODE_ROOT, t, 0);
        start_rename(&f, &f.second, &move, target, "entry", INODE_ROOT, p, 0);
        int replaced = finish(&replace);
        int moved = finish(&move);
        uint32_t epoch = replace.call.reply_namespace_epoch;
        f.epoch = epoch > move.call.reply_namespace_epoch ? epoch : move.call.reply_namespace_epoch;
        assert_true(replaced == 0 || replaced == -ENOTEMPTY);
        assert_true(moved == 0 || moved == -EISDIR || moved == -ESTALE || moved == -STATUS_STALE_NAMESPACE);
        assert_true(replaced == 0 || moved != 0);
    }
}

/* Messages are lost and sent again: each operation still happens exactly once. */
static void test_at_most_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 150; i++) {
        char name[64], new[64];
        snprintf(name, sizeof(name), "file%u", i);
        snprintf(new, sizeof(new), "new%u", i);
        uint64_t inode = make_file(&f, INODE_ROOT, name); /* exclusive: a second execution would be -EEXIST */
        struct extend_reply extended;
        assert_int_equal(extend(&f, inode, 10, 0, EXTEND_APPEND, &extended), 0);
        assert_int_equal(extended.size, 10);
        assert_int_equal(rename_name(&f, INODE_ROOT, name, INODE_ROOT, new, 0), 0);
        assert_int_equal(unlink_name(&f, INODE_ROOT, new), 0);
        make_directory(&f, INODE_ROOT, name);
        assert_int_equal(remove_directory(&f, INODE_ROOT, name), 0);
    }
}

/* A coordinator dies between its locks and their release: whoever waits goes on after three deadlines. */
static void test_abandoned_transaction(void **state)
{
    (void)state;
    struct party coordinator;
    struct rpc_options options = {.cluster_key = fixture_key, .server_id = 77};
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    char entry[64];
    name_on(&f, directory, 0, "entry", entry);
    make_file(&f, INODE_ROOT, "locked");
    uint32_t owner = server_of_name(&f, INODE_ROOT, "locked");

    assert_int_equal(net_sim_create(f.network, "coordinator", &coordinator.net), 0);
    assert_int_equal(rpc_create(coordinator.net, &options, &coordinator.rpc), 0);
    for (uint32_t i = 0; i < f.count; i++)
        assert_int_equal(rpc_peer_create(coordinator.rpc, f.map->servers[i].address, &coordinator.peers[i]),
                         0);
    struct operation_call lock, freeze;
    struct key_lock_request *key = (void *)lock.body;
    *key = (struct key_lock_request){.transaction = 5, .parent = INODE_ROOT, .name_length = 6};
    memcpy(key->name, "locked", 6);
    call_prepare(&f, &lock, RPC_KEY_LOCK, sizeof(*key) + 6, sizeof(struct key_lock_reply));
    rpc_start(coordinator.peers[owner], &lock.call);
    struct directory_request *frozen = (void *)freeze.body;
    *frozen = (struct directory_request){.directory = directory, .transaction = 5};
    call_prepare(&f, &freeze, RPC_DIRECTORY_FREEZE, sizeof(*frozen), sizeof(struct directory_reply));
    rpc_start(coordinator.peers[0], &freeze.call);
    assert_int_equal(finish(&lock), 0);
    assert_int_equal(finish(&freeze), 0);
    uint64_t begin = loop_now(f.loop);
    net_sim_kill(coordinator.net);
    party_close(&f, &coordinator);

    assert_int_equal(lookup(&f, INODE_ROOT, "locked", NULL), -ETIMEDOUT);
    assert_int_equal(create(&f, &(struct create){.parent = directory, .name = entry}, NULL), -ETIMEDOUT);
    assert_int_equal(lookup(&f, directory, entry, NULL), -ENOENT); /* frozen: looking is allowed */
    while (loop_now(f.loop) - begin < 30 * NSEC_PER_SEC) {
        struct completion sleep = COMPLETION_INIT;
        await_until(f.loop, &sleep, begin + 30 * NSEC_PER_SEC);
    }
    assert_int_equal(lookup(&f, INODE_ROOT, "locked", NULL), 0);
    assert_int_equal(create(&f, &(struct create){.parent = directory, .name = entry}, NULL), 0);
}

/* A dead server: no call hangs, and what did not happen is not reported as done. */
static void test_dead_server(void **state)
{
    (void)state;
    char here[64], there[64], name[64];
    uint64_t kept = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 0, "kept", name));
    make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, 2, "old", there));
    assert_int_equal(
        rename_name(&f, INODE_ROOT, there, INODE_ROOT, name_on(&f, INODE_ROOT, 0, "new", here), 0), 0);
    net_sim_kill(f.nets[2]);
    assert_int_equal(unlink_name(&f, INODE_ROOT, here), -EIO);
    assert_int_not_equal(remove_directory(&f, INODE_ROOT, name), 0);
    assert_int_equal(lookup(&f, INODE_ROOT, name, NULL), 0);
    char entry[64];
    make_file(&f, kept, name_on(&f, kept, 0, "e", entry)); /* not left frozen */
}

/* A rename that cannot bump the epoch everywhere leaves the parent as it was. */
static void test_failed_rename_restores_parent(void **state)
{
    (void)state;
    char name[64], to[64];
    uint32_t coordinator = cluster_map_owner(f.map, 0);
    uint64_t into = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, coordinator, "into", name));
    uint64_t moved = make_directory(&f, INODE_ROOT, name_on(&f, INODE_ROOT, coordinator, "moved", name));
    net_sim_kill(f.nets[(coordinator + 1) % 3]);
    assert_int_not_equal(rename_name(&f, INODE_ROOT, name, into, name_on(&f, into, coordinator, "to", to), 0),
                         0);
    struct attributes attributes = {0};
    int status;
    do {
        struct operation_call c;
        start_name(&f, &f.client, &c, RPC_LOOKUP, INODE_ROOT, name, sizeof(struct attributes_reply));
        status = finish(&c);
        f.epoch = c.call.reply_namespace_epoch;
        memcpy(&attributes, c.reply, sizeof(attributes));
    } while (status == -STATUS_STALE_NAMESPACE);
    assert_int_equal(status, 0);
    assert_int_equal(attributes.inode, moved);
    assert_int_equal(attributes.parent, INODE_ROOT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_three, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_rename_file),
        CASE(test_renamed_inode_changes_last),
        CASE(test_exchange_needs_both_writable),
        CASE(test_rename_replaces),
        CASE(test_renamed_file_by_name),
        CASE(test_replaced_name_is_never_missing),
        CASE(test_rename_directory),
        CASE(test_parent_and_epoch_change_together),
        CASE(test_rename_replaces_directory),
        CASE(test_remove_directory),
        CASE(test_remove_renamed_directory),
        cmocka_unit_test_teardown(test_many_removed_directories, close_all),
        CASE(test_remove_races_with_create),
        CASE(test_opposite_renames),
        CASE(test_opposite_directory_renames),
        CASE(test_rename_ring),
        CASE(test_crowd_at_one_name),
        CASE(test_replace_directory_while_its_entry_moves),
        cmocka_unit_test_setup_teardown(test_at_most_once, open_lossy, close_all),
        CASE(test_abandoned_transaction),
        CASE(test_dead_server),
        CASE(test_failed_rename_restores_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
