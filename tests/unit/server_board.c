/* What a server shows on its attribute board: after every step, whatever it was, each answer that stands
 * there is the one that the server would give. */
#include "board_fixture.h"

#include "meta/holds.h"

static unsigned contents_shown;

/* Asks twice, so that the answer is put up if it can be. */
static enum board_answer put_up(uint64_t parent, const char *name)
{
    struct attributes found;
    lookup(&f, parent, name, NULL);
    lookup(&f, parent, name, NULL);
    return name_on_board(parent, name, &found);
}

static enum board_answer put_up_inode(uint64_t inode)
{
    struct attributes found;
    get_attributes(&f, inode, &found);
    get_attributes(&f, inode, &found);
    return inode_on_board(inode, &found);
}

static ssize_t content_on_board(uint64_t inode, void *bytes, size_t length)
{
    return board_read_content(&views[server_of(&f, inode)], inode, f.map->epoch, loop_realtime(f.loop), 0,
                              bytes, length);
}

static ssize_t put_up_content(uint64_t inode)
{
    char bytes[INLINE_DATA_MAX];
    for (unsigned i = 0; i < 3; i++) /* the first changes the access time */
        read_chunk(&f, server_of(&f, inode), inode, 0, 0, bytes, sizeof(bytes), NULL);
    return content_on_board(inode, bytes, sizeof(bytes));
}

static void compare_content(uint64_t inode, const char *after)
{
    char on_board[INLINE_DATA_MAX], found[INLINE_DATA_MAX + 1];
    ssize_t length = content_on_board(inode, on_board, sizeof(on_board));
    if (length < 0)
        return;
    shown++;
    if (read_chunk(&f, server_of(&f, inode), inode, 0, 0, found, sizeof(found), NULL) != length ||
        memcmp(found, on_board, (size_t)length) != 0)
        fail_msg("after %s the board is wrong about what is in %llx", after, (unsigned long long)inode);
}

/* ---- single rules ---- */

static void asked_twice(void **state)
{
    (void)state;
    struct attributes found;
    begin(1);
    uint64_t inode = make_file(&f, INODE_ROOT, "a");
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_SILENT);
    assert_int_equal(lookup(&f, INODE_ROOT, "a", NULL), 0);
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_SILENT);
    assert_int_equal(put_up(INODE_ROOT, "a"), BOARD_FOUND);
    assert_int_equal(put_up(INODE_ROOT, "b"), BOARD_MISSING);
    assert_int_equal(put_up_inode(inode), BOARD_FOUND);
    compare_name(INODE_ROOT, "a", "lookups");
    compare_inode(inode, "lookups");

    end();
}

/* A directory's attributes are gathered from all servers, so that they are shown only if there is but one. */
static void of_directories(void **state)
{
    (void)state;
    struct attributes found;
    begin(3);
    uint64_t d = make_directory(&f, INODE_ROOT, "d");
    assert_int_equal(put_up(INODE_ROOT, "d"), BOARD_SILENT);
    assert_int_equal(put_up_inode(d), BOARD_SILENT);
    end();

    begin(1);
    d = make_directory(&f, INODE_ROOT, "d");
    for (unsigned step = 0; step < 6; step++) {
        struct set_attributes_request narrower = {.inode = d, .fields = SET_MODE, .mode = 0700};
        assert_int_equal(put_up(INODE_ROOT, "d"), BOARD_FOUND);
        assert_int_equal(put_up_inode(d), BOARD_FOUND);
        compare_name(INODE_ROOT, "d", "lookups");
        compare_inode(d, "lookups");
        assert_int_equal(inode_on_board(d, &found), BOARD_FOUND);
        assert_int_equal(found.links, step == 2 || step == 3 ? 3 : 2);
        switch (step) { /* the first with no entry ever, the last with none any more */
        case 0:
            make_file(&f, d, "file");
            break;
        case 1:
            make_directory(&f, d, "below");
            break;
        case 2:
            assert_int_equal(rename_name(&f, d, "file", INODE_ROOT, "file", 0), 0);
            break;
        case 3:
            assert_int_equal(remove_directory(&f, d, "below"), 0);
            break;
        case 4:
            assert_int_equal(set_attributes(&f, &narrower), 0);
            break;
        default:
            assert_int_equal(remove_directory(&f, INODE_ROOT, "d"), 0);
        }
        assert_int_equal(name_on_board(INODE_ROOT, "d", &found), BOARD_SILENT);
        assert_int_equal(inode_on_board(d, &found), BOARD_SILENT);
    }
    end();
}

static void nobody_asked(void **state)
{
    (void)state;
    struct net_place place;
    struct net_view *view;
    struct board_view board;
    struct attributes found;
    fixture_open(&f, &(struct fixture_options){.servers = 1, .board_bytes = 1 << 20});
    make_file(&f, INODE_ROOT, "a");
    for (int i = 0; i < 4; i++)
        assert_int_equal(lookup(&f, INODE_ROOT, "a", NULL), 0);
    assert_int_equal(board_place(0, &place), 0);
    assert_int_equal(net_view(f.client.net, &place, &view), 0);
    assert_int_equal(board_view_open(view, &board), 0);
    uint64_t hash = dentry_hash(INODE_ROOT, "a", 1);
    assert_int_equal(board_read(&board, hash, INODE_ROOT, "a", 1, f.map->epoch, f.epoch, &found),
                     BOARD_SILENT);
    net_view_end(view);
    fixture_close(&f);

    fixture_open(&f, &(struct fixture_options){.servers = 1}); /* meta.board = 0 */
    assert_int_equal(board_place(0, &place), -EOPNOTSUPP);
    fixture_close(&f);
}

/* The whole life of names and of the inodes behind them. */
static void each_change(void **state)
{
    (void)state;
    struct attributes found;
    begin(1);
    uint64_t a = make_file(&f, INODE_ROOT, "a");
#define PUT_UP()                                                                                             \
    assert_int_equal(put_up(INODE_ROOT, "a"), BOARD_FOUND);                                                  \
    assert_int_equal(put_up_inode(a), BOARD_FOUND)
#define GONE()                                                                                               \
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_SILENT);                                  \
    assert_int_equal(inode_on_board(a, &found), BOARD_SILENT)
    PUT_UP();
    assert_int_equal(write_chunk(&f, &(struct chunk_write){.inode = a, .bytes = "1234", .length = 4}, NULL),
                     0);
    GONE();
    PUT_UP();
    assert_int_equal(truncate_file(&f, a, 2, UINT64_MAX), 0);
    GONE();
    PUT_UP();
    struct set_attributes_request mode = {.inode = a, .fields = SET_MODE, .mode = 0600};
    assert_int_equal(set_attributes(&f, &mode), 0);
    GONE();
    PUT_UP();
    assert_int_equal(link_inode(&f, a, INODE_ROOT, "b"), 0);
    GONE();
    PUT_UP();
    assert_int_equal(put_up(INODE_ROOT, "b"), BOARD_FOUND);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "b"), 0);
    GONE();
    assert_int_equal(name_on_board(INODE_ROOT, "b", &found), BOARD_SILENT);
    PUT_UP();
    assert_int_equal(rename_name(&f, INODE_ROOT, "a", INODE_ROOT, "c", 0), 0);
    GONE();
    assert_int_equal(put_up(INODE_ROOT, "a"), BOARD_MISSING);
    make_file(&f, INODE_ROOT, "a");
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_SILENT);

    /* Missing in a directory that is removed is not the same as missing. */
    uint64_t directory = make_directory(&f, INODE_ROOT, "d");
    assert_int_equal(put_up(directory, "x"), BOARD_MISSING);
    assert_int_equal(remove_directory(&f, INODE_ROOT, "d"), 0);
    assert_int_equal(name_on_board(directory, "x", &found), BOARD_SILENT);
    assert_int_equal(put_up(directory, "x"), BOARD_SILENT);
    end();
}

/* A client under an older epoch has to hear of it, one under a newer has to tell. */
static void another_epoch(void **state)
{
    (void)state;
    struct attributes found;
    begin(1);
    make_file(&f, INODE_ROOT, "a");
    make_directory(&f, INODE_ROOT, "d");
    assert_int_equal(put_up(INODE_ROOT, "a"), BOARD_FOUND);
    uint32_t before = f.epoch;
    assert_int_equal(rename_name(&f, INODE_ROOT, "d", INODE_ROOT, "e", 0), 0);
    uint32_t after = f.epoch;
    assert_true(after > before);
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_FOUND);
    f.epoch = before;
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_SILENT);
    f.epoch = after + 1;
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_SILENT);
    f.epoch = after;
    end();
}

/* While a rename from one server to another is under way its names are not on the boards, so nobody finds the
 * file under both, or under none. */
static void under_way(void **state)
{
    (void)state;
    char old_name[64], new_name[64];
    begin(3);
    name_on(&f, INODE_ROOT, 0, "old", old_name);
    name_on(&f, INODE_ROOT, 1, "new", new_name);
    make_file(&f, INODE_ROOT, old_name);
    assert_int_equal(put_up(INODE_ROOT, old_name), BOARD_FOUND);
    assert_int_equal(put_up(INODE_ROOT, new_name), BOARD_MISSING);
    struct operation_call c;
    start_rename(&f, &f.second, &c, INODE_ROOT, old_name, INODE_ROOT, new_name, 0);
    bool moved_on = false, both_silent = false;
    while (!c.call.done.fired) {
        struct attributes found;
        assert_true(loop_poll(f.loop) > 0);
        enum board_answer is_old = name_on_board(INODE_ROOT, old_name, &found);
        enum board_answer is_new = name_on_board(INODE_ROOT, new_name, &found);
        moved_on |= is_old == BOARD_SILENT || is_new == BOARD_SILENT;
        both_silent |= is_old == BOARD_SILENT && is_new == BOARD_SILENT;
        if (moved_on)
            assert_true(is_old == BOARD_SILENT || (!both_silent && is_old == BOARD_FOUND));
        if (both_silent)
            assert_true(is_old == BOARD_SILENT && is_new == BOARD_SILENT);
    }
    assert_true(both_silent);
    assert_int_equal(finish(&c), 0);
    assert_int_equal(put_up(INODE_ROOT, old_name), BOARD_MISSING);
    assert_int_equal(put_up(INODE_ROOT, new_name), BOARD_SILENT); /* its inode stayed where it was */
    end();
}

/* Renames a file from one server to another while somebody asks for the new name, again and again: once that
 * is there, no board tells of the old one, although it is removed last. */
static void rename_and_ask(unsigned round)
{
    char old_name[64], new_name[64], stem[16];
    struct operation_call c, question;
    bool asking = false, there = false;
    snprintf(stem, sizeof(stem), "old%u.", round);
    name_on(&f, INODE_ROOT, 0, stem, old_name);
    snprintf(stem, sizeof(stem), "new%u.", round);
    name_on(&f, INODE_ROOT, 1, stem, new_name);
    make_file(&f, INODE_ROOT, old_name);
    assert_int_equal(put_up(INODE_ROOT, old_name), BOARD_FOUND);
    start_rename(&f, &f.second, &c, INODE_ROOT, old_name, INODE_ROOT, new_name, 0);
    while (!c.call.done.fired || asking) {
        struct attributes found;
        if (!asking && !there) {
            start_name(&f, &f.client, &question, RPC_LOOKUP, INODE_ROOT, new_name,
                       sizeof(struct attributes_reply));
            asking = true;
        }
        assert_true(loop_poll(f.loop) > 0);
        if (asking && question.call.done.fired) {
            there = finish(&question) == 0;
            asking = false;
        }
        assert_false(there && name_on_board(INODE_ROOT, old_name, &found) == BOARD_FOUND);
    }
    assert_int_equal(finish(&c), 0);
}

static void never_under_both(void **state)
{
    (void)state;
    begin(3);
    for (unsigned round = 0; round < 50; round++)
        rename_and_ask(round);
    end();
}

/* ---- open without having said so ---- */

/* Has server 0 look at what the first client's instance holds, and let go of what it has created. */
static struct net_shown *show_holds(void)
{
    struct net_shown *shown_holds;
    struct operation_call c;
    assert_int_equal(net_show(f.client.net, sizeof(struct holds), NET_SHOWN_BY_PROCESS, &shown_holds), 0);
    struct board_request *body = (void *)c.body;
    *body = (struct board_request){.holds.length = shown_holds->place.length,
                                   .holds.process = shown_holds->place.process,
                                   .holds.descriptor = shown_holds->place.descriptor};
    memcpy(body->holds.id, shown_holds->place.id, sizeof(body->holds.id));
    call_prepare(&f, &c, RPC_GET_BOARD, sizeof(*body), sizeof(struct board_reply));
    rpc_start(f.client.peers[0], &c.call);
    assert_int_equal(finish(&c), 0);
    assert_true(((const struct board_reply *)(const void *)c.reply)->holds_seen);
    return shown_holds;
}

static void notice(uint64_t what)
{
    struct operation_call c;
    assert_true(rpc_peer_notice(f.client.peers[0], what));
    call_prepare(&f, &c, RPC_RELEASE, 0, 0);
    rpc_start(f.client.peers[0], &c.call);
    assert_int_equal(finish(&c), 0);
}

/* A file that is on the board and that nobody holds; *stamp as a client reads it. */
static uint64_t make_let_go(const char *name, uint64_t *stamp)
{
    struct attributes found;
    uint64_t inode = make_file(&f, INODE_ROOT, name);
    notice(inode);
    assert_int_equal(put_up(INODE_ROOT, name), BOARD_FOUND);
    assert_int_equal(board_read_stamped(&views[0], dentry_hash(INODE_ROOT, name, strlen(name)), INODE_ROOT,
                                        name, (uint32_t)strlen(name), f.map->epoch, f.epoch, &found, stamp),
                     BOARD_FOUND);
    assert_int_equal(found.inode, inode);
    assert_true(board_stamp(&views[0], inode) == *stamp);
    return inode;
}

static void shown_holds(void **state)
{
    (void)state;
    struct attributes found;
    uint64_t stamp;
    begin(1);
    struct net_shown *mine = show_holds();
    struct holds *holds = mine->memory;

    uint64_t a = make_let_go("a", &stamp);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "a"), 0);
    assert_true(board_stamp(&views[0], a) != stamp);
    assert_int_equal(get_attributes(&f, a, &found), -ESTALE);

    /* Changed in between, so that nothing of it stands on the board when it goes. */
    uint64_t b = make_let_go("b", &stamp);
    uint32_t slot = holds_enter(holds, b);
    struct set_attributes_request mode = {.inode = b, .fields = SET_MODE, .mode = 0600};
    assert_int_equal(set_attributes(&f, &mode), 0);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "b"), 0);
    assert_true(board_stamp(&views[0], b) != stamp);
    assert_int_equal(get_attributes(&f, b, &found), 0);
    assert_int_equal(found.links, 0);
    notice(b | NOTICE_LEFT); /* too early: it is still entered */
    assert_int_equal(get_attributes(&f, b, &found), 0);
    holds_leave(holds, slot);
    assert_int_equal(get_attributes(&f, b, &found), 0);
    notice(b | NOTICE_LEFT);
    assert_int_equal(get_attributes(&f, b, &found), -ESTALE);

    uint64_t c = make_let_go("c", &stamp), d = make_let_go("d", &stamp);
    slot = holds_enter(holds, d);
    assert_int_equal(rename_name(&f, INODE_ROOT, "c", INODE_ROOT, "d", 0), 0);
    assert_true(board_stamp(&views[0], d) != stamp);
    assert_int_equal(get_attributes(&f, d, &found), 0);
    assert_int_equal(get_attributes(&f, c, &found), 0);
    holds_leave(holds, slot);
    notice(d | NOTICE_LEFT);
    assert_int_equal(get_attributes(&f, d, &found), -ESTALE);

    /* A notice of what has names, or was never there, frees nothing. */
    notice(c | NOTICE_LEFT);
    notice(NOTICE_LEFT | 12345);
    assert_int_equal(get_attributes(&f, c, &found), 0);
    net_hide(mine);
    end();
}

/* As many opens of one file as a line has room for. */
static void room_for_holds(void **state)
{
    (void)state;
    static struct holds holds;
    uint32_t slots[HOLDS_WAYS];
    for (unsigned i = 0; i < HOLDS_WAYS; i++) {
        slots[i] = holds_enter(&holds, 77);
        assert_true(slots[i] != 0);
    }
    assert_int_equal(holds_enter(&holds, 77), 0);
    for (unsigned i = 0; i < HOLDS_WAYS; i++) {
        assert_true(holds_have(&holds, 77));
        holds_leave(&holds, slots[i]);
    }
    assert_false(holds_have(&holds, 77));
    assert_true(holds_enter(&holds, 77) != 0);
}

static void server_gone(void **state)
{
    (void)state;
    struct attributes found;
    begin(1);
    make_file(&f, INODE_ROOT, "a");
    assert_int_equal(put_up(INODE_ROOT, "a"), BOARD_FOUND);
    net_sim_kill(f.nets[0]);
    assert_int_equal(name_on_board(INODE_ROOT, "a", &found), BOARD_SILENT);
    end();
}

/* ---- anything ---- */

#define NAMES 5u
#define DIRECTORIES 3u
#define STEPS 6000u

static uint64_t directories[DIRECTORIES];
static uint64_t inodes[16]; /* that were seen lately */

static const char *some_step(struct random *random)
{
    static const char *const names[NAMES] = {"a", "b", "c", "a name of middling length", "e"};
    const char *name = names[random_below(random, NAMES)], *other = names[random_below(random, NAMES)];
    uint64_t parent = directories[random_below(random, DIRECTORIES)];
    uint64_t other_parent = directories[random_below(random, DIRECTORIES)];
    uint64_t inode = inodes[random_below(random, 16)];
    struct attributes found = {0};
    static uint8_t bytes[3 << SHIFT];
    for (unsigned i = 0; i < 16; i++)
        bytes[i * 400] = (uint8_t)random_below(random, 256);
    switch (random_below(random, 14)) {
    case 0:
    case 1: {
        struct create what = {.parent = parent, .name = name, .flags = CREATE_EXCLUSIVE};
        if (create(&f, &what, &found) == 0)
            inodes[random_below(random, 16)] = found.inode;
        return "create";
    }
    case 2: {
        struct create what = {
            .parent = parent, .name = name, .operation = RPC_CREATE_SYMLINK, .target = "target"};
        create(&f, &what, &found);
        return "symlink";
    }
    case 3: {
        struct create what = {
            .parent = parent, .name = name, .operation = RPC_CREATE_DIRECTORY, .mode = 0755};
        create(&f, &what, &found);
        return "mkdir";
    }
    case 4:
        remove_directory(&f, parent, name);
        return "rmdir";
    case 5:
        unlink_name(&f, parent, name);
        return "unlink";
    case 6:
    case 7:
        rename_name(&f, parent, name, other_parent, other, 0);
        return "rename";
    case 8:
        if (inode != 0)
            link_inode(&f, inode, parent, name);
        return "link";
    case 9:
    case 10: {
        struct chunk_write write = {.inode = inode,
                                    .bytes = bytes,
                                    .offset = (uint32_t)random_below(random, 6000),
                                    .length = 1 + random_below(random, 5000)};
        if (inode != 0 && get_attributes(&f, inode, &found) == 0) {
            write.generation = found.generation;
            write_chunk(&f, &write, NULL);
        }
        return "write";
    }
    case 11:
        if (inode != 0)
            truncate_file(&f, inode, random_below(random, 2) * random_below(random, 9000), UINT64_MAX);
        return "truncate";
    case 12: {
        struct set_attributes_request set = {
            .inode = inode, .fields = SET_MODE, .mode = (uint32_t)random_below(random, 01000)};
        if (inode != 0)
            set_attributes(&f, &set);
        return "chmod";
    }
    default: {
        struct create what = {.parent = parent, .name = name, .flags = CREATE_TRUNCATE | CREATE_WRITE};
        create(&f, &what, &found);
        return "create or truncate";
    }
    }
}

/* Puts up whatever can be, so that the next step has something to make wrong; then looks at all of it. */
static void compare_all(struct random *random, const char *after)
{
    static const char *const names[NAMES] = {"a", "b", "c", "a name of middling length", "e"};
    for (unsigned d = 0; d < DIRECTORIES; d++)
        for (unsigned n = 0; n < NAMES; n++)
            compare_name(directories[d], names[n], after);
    for (unsigned i = 0; i < 16; i++)
        if (inodes[i] != 0)
            compare_inode(inodes[i], after);
    for (unsigned i = 0; i < 16; i++)
        if (inodes[i] != 0)
            compare_content(inodes[i], after);
    for (unsigned d = 0; d < DIRECTORIES; d++) {
        compare_inode(directories[d], after);
        compare_name(INODE_ROOT, d == 1 ? "d1" : "d2", after);
    }
    put_up(INODE_ROOT, random_below(random, 2) == 0 ? "d1" : "d2");
    put_up_inode(directories[random_below(random, DIRECTORIES)]);
    for (unsigned i = 0; i < 6; i++)
        put_up(directories[random_below(random, DIRECTORIES)], names[random_below(random, NAMES)]);
    uint64_t inode = inodes[random_below(random, 16)];
    if (inode != 0)
        put_up_inode(inode);
    inode = inodes[random_below(random, 16)];
    if (inode != 0 && put_up_content(inode) > 0)
        contents_shown++;
}

static void any_changes(uint32_t servers)
{
    struct random random;
    random_seed(&random, servers);
    begin(servers);
    contents_shown = 0;
    memset(inodes, 0, sizeof(inodes));
    directories[0] = INODE_ROOT;
    directories[1] = make_directory(&f, INODE_ROOT, "d1");
    directories[2] = make_directory(&f, INODE_ROOT, "d2");
    for (unsigned step = 0; step < STEPS / servers; step++) {
        const char *what = some_step(&random);
        compare_all(&random, what);
    }
    if (shown < STEPS / servers)
        fail_msg("only %u answers stood on the boards", shown);
    if (contents_shown < STEPS / servers / 20)
        fail_msg("only %u contents stood on the boards", contents_shown);
    end();
}

static void any_changes_1(void **state)
{
    (void)state;
    any_changes(1);
}

static void any_changes_3(void **state)
{
    (void)state;
    any_changes(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_twice),    cmocka_unit_test(of_directories),
        cmocka_unit_test(nobody_asked),   cmocka_unit_test(each_change),
        cmocka_unit_test(another_epoch),  cmocka_unit_test(under_way),
        cmocka_unit_test(server_gone),    cmocka_unit_test(shown_holds),
        cmocka_unit_test(room_for_holds), cmocka_unit_test(never_under_both),
        cmocka_unit_test(any_changes_1),  cmocka_unit_test(any_changes_3),
    };
    return cmocka_run_group_tests_name("server/board", tests, NULL, NULL);
}
