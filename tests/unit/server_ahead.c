/* What servers put up before it is asked for: the next few of a series of questions, and each of them is the
 * answer that the server would give. */
#include "board_fixture.h"

#include "base/random.h"

#define FILES 120u

static const char *name_of(unsigned number)
{
    static char name[32];
    snprintf(name, sizeof(name), "file.%04u", number);
    return name;
}

static void make_files(uint64_t parent, bool directories)
{
    for (unsigned i = 0; i < FILES; i++) {
        if (directories)
            make_directory(&f, parent, name_of(i));
        else
            make_file(&f, parent, name_of(i));
    }
}

static bool stands(uint64_t parent, unsigned number)
{
    struct attributes found;
    return name_on_board(parent, name_of(number), &found) == BOARD_FOUND;
}

/* How many names stand, which may not all be right. */
static unsigned standing(uint64_t parent)
{
    unsigned count = 0;
    for (unsigned i = 0; i < FILES; i++)
        count += stands(parent, i);
    return count;
}

static void compare_names(uint64_t parent, const char *after)
{
    for (unsigned i = 0; i < FILES; i++)
        compare_name(parent, name_of(i), after);
}

/* Asks as a client does, which looks at the board first. Returns whether it had to send a request. */
static bool ask(uint64_t parent, unsigned number)
{
    if (stands(parent, number))
        return false;
    lookup(&f, parent, name_of(number), NULL);
    return true;
}

/* ---- series ---- */

static void next_ones(void **state)
{
    (void)state;
    begin(1);
    make_files(INODE_ROOT, false);
    assert_true(ask(INODE_ROOT, 0) && ask(INODE_ROOT, 1));
    assert_int_equal(standing(INODE_ROOT), 0);
    assert_true(ask(INODE_ROOT, 2)); /* as far apart as the two before */
    for (unsigned i = 2; i < 7; i++)
        assert_true(stands(INODE_ROOT, i));
    assert_int_equal(standing(INODE_ROOT), 5);
    assert_true(ask(INODE_ROOT, 7)); /* from behind all that: twice as many */
    assert_int_equal(standing(INODE_ROOT), 5 + 9);
    unsigned requests = 4;
    for (unsigned i = 8; i < FILES; i++)
        requests += ask(INODE_ROOT, i);
    assert_in_range(requests, 7, 8); /* 16, 32 and 32 more */
    compare_names(INODE_ROOT, "a series");
    requests = 0;
    for (unsigned i = 0; i < FILES; i++)
        requests += ask(INODE_ROOT, i);
    assert_int_equal(requests, 2); /* the first two, before it was one */
    end();
}

static unsigned walk(uint64_t parent, unsigned first, int step, unsigned count)
{
    unsigned requests = 0;
    for (unsigned i = 0; i < count; i++)
        requests += ask(parent, (unsigned)((int)first + (int)i * step));
    return requests;
}

static void any_distance(void **state)
{
    (void)state;
    begin(1);
    uint64_t d = make_directory(&f, INODE_ROOT, "d"), e = make_directory(&f, INODE_ROOT, "e");
    make_files(d, false);
    make_files(e, false);
    assert_in_range(walk(d, FILES - 1, -1, FILES), 6, 9);
    assert_in_range(walk(e, 1, 3, FILES / 3), 4, 6);
    compare_names(d, "a walk backwards");
    compare_names(e, "a walk in steps");
    end();
}

static void no_series(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    begin(1);
    make_files(INODE_ROOT, false);
    for (unsigned i = 0; i < 40; i++) /* never two steps of the same length in a row */
        lookup(&f, INODE_ROOT, name_of(i * i % 97), NULL);
    unsigned asked_twice = standing(INODE_ROOT);
    assert_true(asked_twice < 20);
    /* The same one again and again, and two in turns. */
    for (unsigned i = 0; i < 10; i++)
        lookup(&f, INODE_ROOT, name_of(100), NULL);
    for (unsigned i = 0; i < 10; i++)
        lookup(&f, INODE_ROOT, name_of(110 + i % 2), NULL);
    assert_int_equal(standing(INODE_ROOT), asked_twice + 3);
    end();
}

/* Two clients whose questions alternate have a series each; by name and by number are two as well. */
static void of_each(void **state)
{
    (void)state;
    struct operation_call c;
    struct attributes found;
    uint64_t inodes[FILES];
    begin(1);
    for (unsigned i = 0; i < FILES; i++)
        inodes[i] = make_file(&f, INODE_ROOT, name_of(i));
    for (unsigned i = 0; i < 3; i++) {
        lookup(&f, INODE_ROOT, name_of(i), NULL);
        start_name(&f, &f.second, &c, RPC_LOOKUP, INODE_ROOT, name_of(60 + i),
                   sizeof(struct attributes_reply));
        assert_int_equal(finish(&c), 0);
        assert_int_equal(get_attributes(&f, inodes[90 + i], &found), 0);
    }
    assert_true(stands(INODE_ROOT, 6) && stands(INODE_ROOT, 66) && !stands(INODE_ROOT, 96));
    assert_int_equal(inode_on_board(inodes[96], &found), BOARD_FOUND);
    assert_int_equal(inode_on_board(inodes[6], &found), BOARD_SILENT);
    for (unsigned i = 0; i < FILES; i++)
        compare_inode(inodes[i], "series");
    compare_names(INODE_ROOT, "series");
    end();
}

/* Clients know directories by number and ask for the attributes, then for the name. */
static void of_directories(void **state)
{
    (void)state;
    struct attributes found;
    uint64_t inodes[FILES];
    begin(1);
    for (unsigned i = 0; i < FILES; i++)
        inodes[i] = make_directory(&f, INODE_ROOT, name_of(i));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(get_attributes(&f, inodes[i], &found), 0);
    assert_int_equal(standing(INODE_ROOT), 5);
    make_file(&f, inodes[5], "file");
    assert_false(stands(INODE_ROOT, 5));
    assert_true(stands(INODE_ROOT, 6));
    assert_int_equal(remove_directory(&f, INODE_ROOT, name_of(6)), 0);
    assert_false(stands(INODE_ROOT, 6));
    compare_names(INODE_ROOT, "changes");
    end();

    begin(3); /* what is gathered from all servers stands on no board */
    make_files(INODE_ROOT, true);
    walk(INODE_ROOT, 0, 1, FILES);
    assert_int_equal(standing(INODE_ROOT), 0);
    end();
}

static int open_name(unsigned number, uint8_t access)
{
    struct operation_call c;
    const char *name = name_of(number);
    struct open_request *body = (void *)c.body;
    *body = (struct open_request){.parent = INODE_ROOT,
                                  .access = access,
                                  .flags = OPEN_WANT_INLINE,
                                  .name_length = (uint8_t)strlen(name)};
    memcpy(body->name, name, strlen(name));
    char bytes[INLINE_DATA_MAX];
    call_prepare(&f, &c, RPC_OPEN, sizeof(*body) + strlen(name), sizeof(struct open_reply));
    call_receive(&c, bytes, sizeof(bytes));
    rpc_start(f.client.peers[server_of_name(&f, INODE_ROOT, name)], &c.call);
    return finish(&c);
}

/* An open for reading is a question, one for writing asks the server in any case, and one that brings the
 * contents is worth a request. */
static void of_opens(void **state)
{
    (void)state;
    begin(1);
    make_files(INODE_ROOT, false);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(open_name(i, 6), 0);
    assert_int_equal(standing(INODE_ROOT), 0);
    for (unsigned i = 0; i < 3; i++) {
        struct attributes found;
        assert_int_equal(lookup(&f, INODE_ROOT, name_of(50 + (i + 2) % 3), &found), 0);
        struct chunk_write write = {
            .inode = found.inode, .bytes = "1234", .length = 4, .generation = found.generation};
        assert_int_equal(write_chunk(&f, &write, NULL), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(open_name(20 + i, 4), 0);
    assert_int_equal(standing(INODE_ROOT), 5);
    for (unsigned i = 50; i < 53; i++)
        assert_int_equal(open_name(i, 4), 0);
    assert_int_equal(standing(INODE_ROOT), 5 + 3); /* these for the second time */
    compare_names(INODE_ROOT, "opens");
    end();
}

/* ---- what stands in the way ---- */

/* Names that were given, taken and replaced since the files were made. */
static void other_names(void **state)
{
    (void)state;
    struct attributes found;
    char kept[16];
    begin(1);
    make_files(INODE_ROOT, false);
    for (unsigned i = 3; i < 8; i++) {
        assert_int_equal(lookup(&f, INODE_ROOT, name_of(i), &found), 0);
        assert_int_equal(link_inode(&f, found.inode, INODE_ROOT, "linked"), 0);
        if (i % 2 == 0) {
            make_file(&f, INODE_ROOT, "other");
            assert_int_equal(rename_name(&f, INODE_ROOT, "other", INODE_ROOT, name_of(i), 0), 0);
        } else {
            assert_int_equal(unlink_name(&f, INODE_ROOT, name_of(i)), 0);
        }
        snprintf(kept, sizeof(kept), "kept%u", i);
        assert_int_equal(rename_name(&f, INODE_ROOT, "linked", INODE_ROOT, kept, 0), 0);
    }
    assert_int_equal(unlink_name(&f, INODE_ROOT, name_of(8)), 0);
    for (unsigned i = 0; i < 3; i++)
        lookup(&f, INODE_ROOT, name_of(i), NULL);
    for (unsigned i = 9; i < 12; i++)
        lookup(&f, INODE_ROOT, name_of(i), NULL);
    assert_true(stands(INODE_ROOT, 12));
    for (unsigned i = 3; i < 9; i++)
        assert_false(stands(INODE_ROOT, i));
    compare_names(INODE_ROOT, "changes");
    end();
}

/* Renames a file from one server to another while one client asks for the new name, again and again, and
 * another for all that were made around the old one: once the new name is there, no board tells of the old,
 * although it is removed last. */
static void rename_among(unsigned round)
{
    char old_name[64], new_name[64], stem[16];
    struct operation_call c, question, next;
    bool asking = false, there = false, walking = false;
    unsigned at = FILES / 2 - 10;
    snprintf(stem, sizeof(stem), "d%u", round);
    uint64_t parent = make_directory(&f, INODE_ROOT, stem);
    snprintf(stem, sizeof(stem), "old%u.", round);
    name_on(&f, parent, 0, stem, old_name);
    snprintf(stem, sizeof(stem), "new%u.", round);
    name_on(&f, parent, 1, stem, new_name);
    for (unsigned i = 0; i < FILES; i++) {
        if (i == FILES / 2)
            make_file(&f, parent, old_name);
        make_file(&f, parent, name_of(i));
    }
    start_rename(&f, &f.second, &c, parent, old_name, parent, new_name, 0);
    while (!c.call.done.fired || asking || walking) {
        struct attributes found;
        if (!asking && !there) {
            start_name(&f, &f.second, &question, RPC_LOOKUP, parent, new_name,
                       sizeof(struct attributes_reply));
            asking = true;
        }
        while (!walking && at < FILES && stands(parent, at))
            at++;
        if (!walking && at < FILES) {
            start_name(&f, &f.client, &next, RPC_LOOKUP, parent, name_of(at++),
                       sizeof(struct attributes_reply));
            walking = true;
        }
        assert_true(loop_poll(f.loop) > 0);
        if (asking && question.call.done.fired) {
            there = finish(&question) == 0;
            asking = false;
        }
        if (walking && next.call.done.fired) {
            assert_int_equal(finish(&next), 0);
            walking = false;
        }
        enum board_answer old_answer = name_on_board(parent, old_name, &found);
        shown += old_answer == BOARD_FOUND;
        assert_false(there && old_answer == BOARD_FOUND);
    }
    assert_int_equal(finish(&c), 0);
}

static void under_way(void **state)
{
    (void)state;
    begin(2);
    for (unsigned round = 0; round < 50; round++)
        rename_among(round);
    assert_true(shown > 0); /* before the rename had locked it */
    end();
}

/* ---- anything ---- */

#define STEPS 1500u

static const char *some_step(struct random *random, const uint64_t *directories)
{
    uint64_t parent = directories[random_below(random, 2)], other = directories[random_below(random, 2)];
    unsigned number = (unsigned)random_below(random, FILES);
    char name[32], second[32];
    snprintf(name, sizeof(name), "%s", name_of(number));
    snprintf(second, sizeof(second), "%s", name_of((unsigned)random_below(random, FILES)));
    struct attributes found;
    switch (random_below(random, 8)) {
    case 0:
    case 1: {
        struct create what = {.parent = parent, .name = name, .flags = CREATE_EXCLUSIVE};
        create(&f, &what, &found);
        return "create";
    }
    case 2:
        unlink_name(&f, parent, name);
        return "unlink";
    case 3:
        rename_name(&f, parent, name, other, second, 0);
        return "rename";
    case 4:
        if (lookup(&f, parent, name, &found) == 0)
            link_inode(&f, found.inode, other, second);
        return "link";
    case 5:
        if (lookup(&f, parent, name, &found) == 0) {
            struct set_attributes_request set = {
                .inode = found.inode, .fields = SET_MODE, .mode = (uint32_t)random_below(random, 01000)};
            set_attributes(&f, &set);
        }
        return "chmod";
    case 6: {
        struct create what = {
            .parent = parent, .name = name, .operation = RPC_CREATE_DIRECTORY, .mode = 0755};
        create(&f, &what, &found);
        return "mkdir";
    }
    default:
        if (lookup(&f, parent, name, &found) == 0 && S_ISREG(found.mode)) {
            struct chunk_write write = {
                .inode = found.inode, .bytes = "1234", .length = 4, .generation = found.generation};
            write_chunk(&f, &write, NULL);
        }
        return "write";
    }
}

static void any_changes(uint32_t servers)
{
    struct random random;
    random_seed(&random, 7 + servers);
    begin(servers);
    uint64_t directories[2] = {make_directory(&f, INODE_ROOT, "d"), make_directory(&f, INODE_ROOT, "e")};
    make_files(directories[0], false);
    unsigned sent = 0, asked = 0;
    for (unsigned step = 0; step < STEPS / servers; step++) {
        const char *what = some_step(&random, directories);
        for (unsigned d = 0; d < 2; d++) {
            if (step % 16 == 0)
                compare_names(directories[d], what);
            unsigned first = (unsigned)random_below(&random, FILES - 12);
            sent += walk(directories[d], first, 1, 12);
            asked += 12;
            for (unsigned i = first; i < first + 12; i++)
                compare_name(directories[d], name_of(i), what);
        }
    }
    assert_true(sent < asked / 2);
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
        cmocka_unit_test(next_ones),     cmocka_unit_test(any_distance),   cmocka_unit_test(no_series),
        cmocka_unit_test(of_each),       cmocka_unit_test(of_directories), cmocka_unit_test(of_opens),
        cmocka_unit_test(other_names),   cmocka_unit_test(under_way),      cmocka_unit_test(any_changes_1),
        cmocka_unit_test(any_changes_3),
    };
    return cmocka_run_group_tests_name("server/ahead", tests, NULL, NULL);
}
