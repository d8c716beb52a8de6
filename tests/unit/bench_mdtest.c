/* The phases of mdtest: trees of every shape are made, found complete and removed, and what a file system
 * does wrong ends it. */
#include "unit/bench_session.h"

#include "bench/mdtest.h"

enum phase { TREE, MKDIR, DIR_STAT, RMDIR, CREATE, STAT, LIST, READ, REMOVE, TREE_GONE, PHASES };

static uint64_t duration;

static int run_phase(struct mdtest *test, uint32_t phase, struct crew_part *part)
{
    bool expired = false;
    int status;
    switch (phase) {
    case TREE:
        return mdtest_make_tree(test, part);
    case MKDIR:
        return mdtest_make_directories(test, part);
    case DIR_STAT:
        return mdtest_stat_directories(test, part);
    case RMDIR:
        return mdtest_remove_directories(test, part);
    case CREATE:
        status = mdtest_make_files(test, part, duration, &expired);
        return status == 0 && expired != (duration > 0) ? -EBADMSG : status;
    case STAT:
        return mdtest_stat_files(test, part);
    case LIST:
        return mdtest_list_files(test, part);
    case READ:
        return mdtest_read_files(test, part);
    case REMOVE:
        return mdtest_remove_files(test, part);
    default:
        return mdtest_remove_tree(test, part);
    }
}

static int run_all(struct crew_member *worker)
{
    struct session session;
    struct mdtest test;
    const struct mdtest_shape *shape = worker->argument;
    int status = session_open_here(&session, worker);
    if (status < 0)
        return status;
    status = mdtest_init(&test, &session, shape, "names");
    for (uint32_t phase = 0; phase < PHASES && status == 0; phase++) {
        struct crew_part *part;
        if (duration > 0 && phase >= MKDIR && phase <= RMDIR)
            continue;
        part = crew_phase(worker, phase);
        status = part == NULL ? -ECANCELED : run_phase(&test, phase, part);
        if (status == 0)
            crew_phase_end(worker, phase);
    }
    mdtest_free(&test);
    return session_close(&session, status);
}

static void trees_are_counted(void **state)
{
    (void)state;
    assert_int_equal(mdtest_directories(0, 5), 1);
    assert_int_equal(mdtest_directories(3, 2), 15);
    assert_int_equal(mdtest_directories(4, 1), 5);
    assert_int_equal(mdtest_directories(16, 1000), 0);
}

static void names_are_taken_apart(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "file.1",    "file.1.",   "file..1",           "file.01.2",
        "file.1.02", "file.1.2x", "file.1.2.3",        "file.-1.2",
        "file. 1.2", "tree.1.2",  "file.4294967296.1", "file.1.18446744073709551616",
        "",          "file."};
    static const uint64_t numbers[] = {0, 1, 10, 4294967295, 18446744073709551615u};
    uint32_t worker;
    uint64_t number;
    for (unsigned i = 0; i < 14; i++)
        assert_false(mdtest_parse_name(wrong[i], &worker, &number));
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned k = 0; k < 5; k++) {
            char name[64];
            mdtest_name(name, sizeof(name), (uint32_t)numbers[i], numbers[k]);
            assert_true(mdtest_parse_name(name, &worker, &number));
            assert_int_equal(worker, numbers[i]);
            assert_true(number == numbers[k]);
        }
    }
}

static void every_shape_is_made_and_removed(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 16; flags++) {
        struct mdtest_shape shape = {.files = 23, .branch = 1, .shift = 1};
        shape.shared = flags & 1;
        shape.size = flags & 2 ? 3901 : 0;
        if (flags & 4)
            shape.levels = 2, shape.branch = 3;
        shape.verify = flags & 8;
        uint32_t threads = flags % 3 == 0 ? 2 : 1;
        assert_int_equal(session_run(2, threads, PHASES, run_all, &shape), 0);
        for (int phase = MKDIR; phase <= REMOVE; phase++)
            assert_int_equal(session_totals[phase].operations, 2 * threads * shape.files);
        assert_int_equal(session_totals[TREE].operations,
                         (shape.shared ? 1 : 2 * threads) * (flags & 4 ? 13 : 1));
        assert_int_equal(session_totals[TREE_GONE].operations, session_totals[TREE].operations);
        assert_int_equal(session_totals[CREATE].bytes, 2 * threads * shape.files * shape.size);
        assert_int_equal(session_totals[READ].bytes, session_totals[CREATE].bytes);
    }
}

static int open_slowly(struct target *target, const char *path, int flags, mode_t mode)
{
    usleep(100);
    return target_posix.file_open(target, path, flags, mode);
}

static void the_clock_ends_making(void **state)
{
    (void)state;
    struct mdtest_shape shape = {.files = 1000000, .branch = 1, .shift = 1, .shared = true, .size = 3901};
    session_calls.file_open = open_slowly;
    duration = 2000000;
    assert_int_equal(session_run(2, 1, PHASES, run_all, &shape), 0);
    assert_int_equal(session_totals[CREATE].operations % 2, 0);
    assert_true(session_totals[CREATE].operations > 0);
    for (int phase = CREATE; phase <= REMOVE; phase++)
        assert_int_equal(session_totals[phase].operations, session_totals[CREATE].operations);
    duration = 0;
}

/* ---- what goes wrong ---- */

static uint32_t calls; /* of this process */

static ssize_t write_wrong(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    char copy[4096];
    memcpy(copy, data, length);
    if (calls++ == 7)
        copy[length / 2] = (char)~copy[length / 2];
    return target_posix.write(target, fd, copy, length, offset);
}

static ssize_t write_less(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    ssize_t count = target_posix.write(target, fd, data, length - (calls++ == 7), offset);
    return count < 0 ? count : (ssize_t)length;
}

static int stat_wrong(struct target *target, const char *path, struct stat *status)
{
    int result = target_posix.stat(target, path, status);
    if (calls++ == 30)
        status->st_mode = S_IFIFO;
    return result;
}

static int unlink_not(struct target *target, const char *path)
{
    return calls++ == 7 ? 0 : target_posix.unlink(target, path);
}

static int mkdir_a_file(struct target *target, const char *path, mode_t mode)
{
    if (strstr(path, "directory.1.7") == NULL)
        return target_posix.mkdir(target, path, mode);
    return target_posix.file_close(target, target_posix.file_open(target, path, O_CREAT | O_WRONLY, mode));
}

static target_entry true_each;

static int pass_other(void *argument, const char *name, mode_t type)
{
    return strcmp(name, "file.1.7") == 0 ? true_each(argument, "file.1.8", type)
                                         : true_each(argument, name, type);
}

static int pass_less(void *argument, const char *name, mode_t type)
{
    return strcmp(name, "file.1.7") == 0 ? 0 : true_each(argument, name, type);
}

static int list_other(struct target *target, const char *path, target_entry each, void *argument)
{
    true_each = each;
    return target_posix.list(target, path, pass_other, argument);
}

static int list_less(struct target *target, const char *path, target_entry each, void *argument)
{
    true_each = each;
    return target_posix.list(target, path, pass_less, argument);
}

static void what_is_wrong_ends_the_run(void **state)
{
    (void)state;
    struct mdtest_shape shape = {.files = 23, .size = 3901, .branch = 1, .shift = 1};
#define SPOILED(call, wrong)                                                                                 \
    do {                                                                                                     \
        session_calls = target_posix;                                                                        \
        session_calls.call = wrong;                                                                          \
        assert_int_equal(session_run(2, 1, PHASES, run_all, &shape), -EIO);                                  \
    } while (0)
    for (int shared = 0; shared < 2; shared++) {
        shape.shared = shared;
        SPOILED(write, write_wrong);
        SPOILED(write, write_less);
        SPOILED(stat, stat_wrong);
        SPOILED(unlink, unlink_not);
        SPOILED(mkdir, mkdir_a_file);
        SPOILED(list, list_other);
        SPOILED(list, list_less);
    }
#undef SPOILED
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_are_counted),
        cmocka_unit_test(names_are_taken_apart),
        cmocka_unit_test_setup_teardown(every_shape_is_made_and_removed, session_setup, session_teardown),
        cmocka_unit_test_setup_teardown(the_clock_ends_making, session_setup, session_teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_ends_the_run, session_setup, session_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
