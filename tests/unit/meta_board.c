/* The attribute board by itself: what an entry says, and all that must silence it. */
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "meta/board.h"
#include "net/sim.h"

#define CONTENT_BYTES (12 * sizeof(struct board_content)) /* three sets */

static struct loop *loop;
static struct sim_network *network;
static struct net *server, *client;
static struct board *board;
static struct net_view *memory;
static struct board_view view;

static void open_board(uint64_t bytes)
{
    struct loop_options options = {.simulated = true, .seed = 3};
    struct sim_options sim = {.delay_min_ns = 1000, .delay_max_ns = 1000};
    assert_int_equal(loop_create(&options, &loop), 0);
    assert_int_equal(sim_network_create(loop, &sim, &network), 0);
    assert_int_equal(net_sim_create(network, "server", &server), 0);
    assert_int_equal(net_sim_create(network, "client", &client), 0);
    assert_int_equal(board_create(server, bytes, CONTENT_BYTES, &board), 0);
    board_set_epochs(board, 1, 1);
    assert_int_equal(net_view(client, &board->shown->place, &memory), 0);
    assert_int_equal(board_view_open(memory, &view), 0);
}

static void close_board(void)
{
    net_view_end(memory);
    board_destroy(board);
    net_destroy(client);
    net_destroy(server);
    sim_network_destroy(network);
    loop_destroy(loop);
}

/* Attributes all of whose fields follow from inode and value. */
static struct attributes made(uint64_t inode, uint64_t value)
{
    return (struct attributes){.inode = inode,
                               .size = value,
                               .access_time = (int64_t)value,
                               .modify_time = (int64_t)value,
                               .change_time = (int64_t)value,
                               .links = (uint32_t)value,
                               .generation = (uint32_t)value,
                               .blocks = value,
                               .parent = value};
}

static bool put(uint64_t directory, const char *name, const struct attributes *attributes)
{
    return board_answer(board, dentry_hash(directory, name, strlen(name)), directory, name,
                        (uint32_t)strlen(name), attributes);
}

/* As if it had been asked for twice. */
static void put_twice(uint64_t directory, const char *name, const struct attributes *attributes)
{
    put(directory, name, attributes);
    assert_true(put(directory, name, attributes));
}

static enum board_answer get(uint64_t directory, const char *name, struct attributes *attributes)
{
    return board_read(&view, dentry_hash(directory, name, strlen(name)), directory, name,
                      (uint32_t)strlen(name), 1, 1, attributes);
}

static void says(uint64_t directory, const char *name, enum board_answer expected, uint64_t value)
{
    struct attributes found, wanted = {0};
    assert_int_equal(get(directory, name, &found), expected);
    if (expected == BOARD_FOUND) {
        wanted = made(found.inode, value);
        assert_memory_equal(&found, &wanted, sizeof(found));
    }
}

static void answers(void **state)
{
    (void)state;
    open_board(64 << 10);
    struct attributes a = made(77, 5);
    says(1, "a", BOARD_SILENT, 0);
    assert_false(put(1, "a", &a)); /* asked for once */
    says(1, "a", BOARD_SILENT, 0);
    assert_true(put(1, "a", &a));
    says(1, "a", BOARD_FOUND, 5);
    says(2, "a", BOARD_SILENT, 0);
    says(1, "b", BOARD_SILENT, 0);
    put_twice(1, "b", NULL);
    says(1, "b", BOARD_MISSING, 0);
    a = made(77, 6);
    assert_true(put(1, "a", &a)); /* in its own place */
    says(1, "a", BOARD_FOUND, 6);

    /* Readers look at a set's entries in turn, so what stands alone stands in the first. */
    uint64_t hash = dentry_hash(1, "a", 1);
    assert_int_equal(board->head->entries[(hash & board->mask) * BOARD_WAYS].hash, hash);

    struct attributes found;
    hash = board_inode_hash(77);
    assert_int_equal(board_read(&view, hash, 77, NULL, 0, 1, 1, &found), BOARD_SILENT);
    board_answer(board, hash, 77, NULL, 0, &a);
    assert_true(board_answer(board, hash, 77, NULL, 0, &a));
    assert_int_equal(board_read(&view, hash, 77, NULL, 0, 1, 1, &found), BOARD_FOUND);
    assert_memory_equal(&found, &a, sizeof(a));
    close_board();
}

/* A hash alone is no name: the same hash with another name, directory or length is another question. */
static void names(void **state)
{
    (void)state;
    open_board(64 << 10);
    char name[NAME_LENGTH_MAX + 1];
    struct attributes found, a = made(9, 9);
    for (uint32_t length = 1; length <= NAME_LENGTH_MAX; length++) {
        memset(name, 'x', sizeof(name));
        uint64_t hash = 1000 + length;
        board_answer(board, hash, 5, name, length, &a);
        bool stands = board_answer(board, hash, 5, name, length, &a);
        assert_int_equal(stands, length <= BOARD_NAME_MAX);
        enum board_answer answer = board_read(&view, hash, 5, name, length, 1, 1, &found);
        assert_int_equal(answer, stands ? BOARD_FOUND : BOARD_SILENT);
        assert_int_equal(board_read(&view, hash, 6, name, length, 1, 1, &found), BOARD_SILENT);
        assert_int_equal(board_read(&view, hash, 5, name, length + 1, 1, 1, &found), BOARD_SILENT);
        if (length > 1)
            assert_int_equal(board_read(&view, hash, 5, name, length - 1, 1, 1, &found), BOARD_SILENT);
        for (uint32_t at = 0; at < length && length <= BOARD_NAME_MAX; at++) {
            name[at] = 'y';
            assert_int_equal(board_read(&view, hash, 5, name, length, 1, 1, &found), BOARD_SILENT);
            name[at] = 'x';
        }
    }
    close_board();
}

static void changes(void **state)
{
    (void)state;
    open_board(64 << 10);
    struct attributes a = made(77, 5), b = made(78, 6);
    uint64_t hash = board_inode_hash(77);
    put_twice(1, "a", &a);
    put_twice(2, "other name of a", &a);
    put_twice(1, "b", &b);
    board_answer(board, hash, 77, NULL, 0, &a);
    board_answer(board, hash, 77, NULL, 0, &a);

    board_changed(board, dentry_hash(1, "a", 1));
    says(1, "a", BOARD_SILENT, 0);
    says(2, "other name of a", BOARD_FOUND, 5);
    put(1, "a", &a);
    says(1, "a", BOARD_FOUND, 5);

    board_inode_changed(board, 77);
    struct attributes found;
    says(1, "a", BOARD_SILENT, 0);
    says(2, "other name of a", BOARD_SILENT, 0);
    assert_int_equal(board_read(&view, hash, 77, NULL, 0, 1, 1, &found), BOARD_SILENT);
    says(1, "b", BOARD_FOUND, 6);
    a = made(77, 50);
    put(1, "a", &a);
    says(1, "a", BOARD_FOUND, 50);
    says(2, "other name of a", BOARD_SILENT, 0);

    put_twice(3, "missing", NULL);
    board_directory_changed(board, 1);
    says(1, "a", BOARD_SILENT, 0);
    says(1, "b", BOARD_SILENT, 0);
    says(3, "missing", BOARD_MISSING, 0);
    board_directory_changed(board, 3);
    says(3, "missing", BOARD_SILENT, 0);
    close_board();
}

static void epochs(void **state)
{
    (void)state;
    open_board(64 << 10);
    struct attributes found, a = made(77, 5);
    uint64_t hash = dentry_hash(1, "a", 1);
    put_twice(1, "a", &a);
    board_set_epochs(board, 1, 2);
    assert_int_equal(board_read(&view, hash, 1, "a", 1, 1, 1, &found), BOARD_SILENT);
    assert_int_equal(board_read(&view, hash, 1, "a", 1, 1, 2, &found), BOARD_FOUND);
    assert_int_equal(board_read(&view, hash, 1, "a", 1, 1, 3, &found), BOARD_SILENT);
    assert_int_equal(board_read(&view, hash, 1, "a", 1, 2, 2, &found), BOARD_SILENT);
    board_set_epochs(board, 2, 2);
    assert_int_equal(board_read(&view, hash, 1, "a", 1, 2, 2, &found), BOARD_FOUND);
    close_board();
}

static void owner(void **state)
{
    (void)state;
    open_board(64 << 10);
    struct attributes a = made(77, 5);
    put_twice(1, "a", &a);
    says(1, "a", BOARD_FOUND, 5);
    net_sim_kill(server);
    says(1, "a", BOARD_SILENT, 0);
    close_board();

    open_board(64 << 10);
    put_twice(1, "a", &a);
    struct net_place place = board->shown->place;
    board_destroy(board);
    board = NULL;
    says(1, "a", BOARD_SILENT, 0);
    struct net_view *again;
    assert_int_equal(net_view(client, &place, &again), -ENOENT);
    close_board();
}

/* A set that is full makes room, and never mixes up what is in it. */
static void crowded(void **state)
{
    (void)state;
    open_board(sizeof(struct board_head) + 2 * BOARD_WAYS * sizeof(struct board_entry));
    assert_int_equal(view.mask, 1);
    uint32_t found_count = 0;
    char name[16];
    for (uint64_t i = 1; i <= 1000; i++) {
        struct attributes found, a = made(i, i);
        snprintf(name, sizeof(name), "n%u", (unsigned)i);
        put_twice(1, name, &a);
        for (uint64_t j = i > 16 ? i - 16 : 1; j <= i; j++) {
            snprintf(name, sizeof(name), "n%u", (unsigned)j);
            if (get(1, name, &found) == BOARD_SILENT)
                continue;
            struct attributes wanted = made(j, j);
            assert_memory_equal(&found, &wanted, sizeof(found));
            found_count++;
        }
        snprintf(name, sizeof(name), "n%u", (unsigned)i);
        assert_int_equal(get(1, name, &found), BOARD_FOUND);
        if (i % 3 == 0)
            board_changed(board, dentry_hash(1, name, strlen(name)));
    }
    assert_true(found_count > 3000);
    close_board();
}

/* A thousand names that are asked for in turns: nearly all have room. */
static void in_turns(void **state)
{
    (void)state;
    open_board(8 << 20);
    unsigned standing = 0;
    char name[16];
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(name, sizeof(name), "n%u", i);
            standing += put(1, name, NULL);
        }
    assert_true(standing >= 1990);
    close_board();
}

/* ---- contents ---- */

static bool put_content(uint64_t inode, const void *bytes, uint32_t length)
{
    board_content(board, inode, bytes, length, 1000);
    return board_content(board, inode, bytes, length, 1000);
}

static ssize_t get_content(uint64_t inode, uint64_t offset, void *bytes, size_t length)
{
    return board_read_content(&view, inode, 1, 999, offset, bytes, length);
}

static void contents(void **state)
{
    (void)state;
    char bytes[INLINE_DATA_MAX], found[INLINE_DATA_MAX + 8];
    open_board(64 << 10);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7 + i / 256);
    assert_int_equal(get_content(5, 0, found, sizeof(found)), -1);
    assert_false(board_content(board, 5, bytes, sizeof(bytes), 1000)); /* asked for once */
    assert_int_equal(get_content(5, 0, found, sizeof(found)), -1);
    static const uint32_t lengths[] = {1, 7, 8, 9, 63, 3901, INLINE_DATA_MAX};
    for (unsigned l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
        uint32_t size = lengths[l];
        assert_true(put_content(5, bytes, size));
        for (uint32_t offset = 0; offset < size + 20; offset = offset < 40 ? offset + 1 : offset + 97)
            for (uint32_t length = 0; length < 30; length++) {
                memset(found, 'x', sizeof(found));
                uint32_t wanted = offset >= size ? 0 : size - offset < length ? size - offset : length;
                assert_int_equal(get_content(5, offset, found, length), wanted);
                assert_memory_equal(found, bytes + offset, wanted);
                assert_int_equal(found[wanted], 'x');
            }
        assert_int_equal(get_content(5, 0, found, sizeof(found)), size);
        assert_memory_equal(found, bytes, size);
    }
    assert_int_equal(get_content(6, 0, found, 1), -1);
    assert_int_equal(get_content(5, UINT64_MAX, found, 1), 0);
    assert_int_equal(board_read_content(&view, 5, 2, 999, 0, found, 1), -1);  /* another map */
    assert_int_equal(board_read_content(&view, 5, 1, 1000, 0, found, 1), -1); /* the access time is due */
    board_inode_changed(board, 5);
    assert_int_equal(get_content(5, 0, found, 1), -1);
    assert_true(put_content(5, bytes, 10));
    assert_int_equal(get_content(5, 0, found, 100), 10);
    board_inode_leaves(board, 5);
    assert_int_equal(get_content(5, 0, found, 1), -1);

    /* However many files there are, those that stand are right. */
    unsigned standing = 0;
    for (uint64_t inode = 1; inode <= 200; inode++) {
        memset(bytes, (int)inode, sizeof(bytes));
        assert_true(put_content(inode, bytes, sizeof(bytes)));
        for (uint64_t other = 1; other <= inode; other++)
            if (get_content(other, 0, found, sizeof(found)) != -1) {
                memset(bytes, (int)other, sizeof(bytes));
                assert_memory_equal(found, bytes, sizeof(bytes));
                standing++;
            }
    }
    assert_true(standing > 200 && standing <= 200 * 12);
    net_sim_kill(server);
    assert_int_equal(get_content(200, 0, found, 1), -1);
    close_board();
}

static void refused(void **state)
{
    (void)state;
    struct board *none;
    struct board_view bad;
    open_board(64 << 10);
    assert_int_equal(board_create(server, sizeof(struct board_head), 0, &none), -EINVAL);
    assert_int_equal(board_create(server, 0, CONTENT_BYTES, &none), -EINVAL);
    board->head->content_sets++;
    assert_int_equal(board_view_open(memory, &bad), -EPROTO);
    board->head->content_sets = UINT64_MAX;
    assert_int_equal(board_view_open(memory, &bad), -EPROTO);
    board->head->content_sets = 3;
    assert_int_equal(board_view_open(memory, &bad), 0);
    board->head->sets++;
    assert_int_equal(board_view_open(memory, &bad), -EPROTO);
    board->head->sets = 1 << 20; /* beyond its end */
    assert_int_equal(board_view_open(memory, &bad), -EPROTO);
    board->head->sets = 0;
    assert_int_equal(board_view_open(memory, &bad), -EPROTO);
    board->head->sets = 1;
    assert_int_equal(board_view_open(memory, &bad), 0);
    board->head->magic++;
    assert_int_equal(board_view_open(memory, &bad), -EPROTO);
    struct net_view small = *memory;
    small.length = 64;
    assert_int_equal(board_view_open(&small, &bad), -EPROTO);
    close_board();
}

/* ---- a reader beside the writer ---- */

#define ROUNDS 200000u

static _Atomic uint64_t told; /* the value that everybody may know */
static _Atomic bool done;

static void *read_on(void *argument)
{
    uint64_t *torn = argument;
    while (!atomic_load(&done)) {
        struct attributes found;
        uint64_t known = atomic_load_explicit(&told, memory_order_acquire);
        if (get(1, "a", &found) != BOARD_FOUND)
            continue;
        struct attributes wanted = made(77, found.size);
        if (memcmp(&found, &wanted, sizeof(found)) != 0 || found.size < known)
            ++*torn;
    }
    return NULL;
}

/* Whoever is told of a change never reads what was before it, and nobody reads half of one. */
static void strict(void **state)
{
    (void)state;
    open_board(64 << 10);
    pthread_t reader;
    uint64_t torn = 0;
    struct attributes a = made(77, 0);
    put_twice(1, "a", &a);
    atomic_store(&told, 0);
    atomic_store(&done, false);
    assert_int_equal(pthread_create(&reader, NULL, read_on, &torn), 0);
    for (uint64_t value = 1; value <= ROUNDS; value++) {
        if (value % 2 == 0)
            board_inode_changed(board, 77);
        else
            board_changed(board, dentry_hash(1, "a", 1));
        atomic_store_explicit(&told, value, memory_order_release);
        a = made(77, value);
        put(1, "a", &a);
    }
    atomic_store(&done, true);
    pthread_join(reader, NULL);
    assert_int_equal(torn, 0);
    close_board();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),  cmocka_unit_test(names),    cmocka_unit_test(changes),
        cmocka_unit_test(epochs),   cmocka_unit_test(owner),    cmocka_unit_test(crowded),
        cmocka_unit_test(in_turns), cmocka_unit_test(contents), cmocka_unit_test(refused),
        cmocka_unit_test(strict),
    };
    return cmocka_run_group_tests_name("meta/board", tests, NULL, NULL);
}
