/* IO500: the score by its published formula, and all phases over a directory, checked. */
#include "unit/bench_session.h"

#include <math.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "bench/io500.h"
#include "bench/io500_find.h"

/* Results that programs of IO500 printed with their scores. */
static const struct {
    double values[IO500_PHASE_COUNT]; /* in the order of the phases */
    double bandwidth, metadata, score, tolerance;
} published[] = {
    /* io500-sc20_v3, a valid run of 300 s and more a phase. */
    {{6.173493, 21.002955, 0.328757, 9.818279, 255.641154, 6.647157, 63.395256, 0.902677, 27.472745,
      11.505903, 10.385374, 7.021386},
     1.868072,
     22.952705,
     6.548076,
     2e-6},
    /* ISC26, 10 nodes; given with three digits. */
    {{501.974, 1332.374, 63.183, 585.279, 578.934, 858.680, 4429.501, 72.513, 4309.644, 3178.453, 1239.699,
      3252.880},
     210.806,
     1800.536,
     616.087,
     2e-3},
};

static void scores_are_those_that_were_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        struct io500_score score = io500_score(published[i].values);
        assert_true(fabs(score.bandwidth - published[i].bandwidth) <= published[i].tolerance);
        assert_true(fabs(score.metadata - published[i].metadata) <= 10 * published[i].tolerance);
        assert_true(fabs(score.score - published[i].score) <= 10 * published[i].tolerance);
    }
    double values[IO500_PHASE_COUNT] = {0};
    assert_true(io500_score(values).score == 0.0);
}

static void phases_are_in_the_published_order(void **state)
{
    (void)state;
    static const char *const order[] = {
        "ior-easy-write",   "mdtest-easy-write", "ior-hard-write", "mdtest-hard-write", "find",
        "ior-easy-read",    "mdtest-easy-stat",  "ior-hard-read",  "mdtest-hard-stat",  "mdtest-easy-delete",
        "mdtest-hard-read", "mdtest-hard-delete"};
    for (int i = 0; i < IO500_PHASE_COUNT; i++) {
        assert_string_equal(io500_phase_names[i], order[i]);
        assert_string_equal(bench_io500.phases[i].name, order[i]);
    }
}

/* The member's run as the suite calls it, with the options' defaults but for what main sets. */
static void *shared;

static int run(struct crew_member *worker)
{
    struct session session;
    struct suite_member member = {.crew = worker, .number = worker->number, .count = worker->count};
    int status = session_open_here(&session, worker);
    if (status < 0)
        return status;
    member.target = session.target;
    member.shared = shared;
    snprintf(member.directory, sizeof(member.directory), "%.*s", (int)sizeof(member.directory) - 1,
             session.directory);
    return session_close(&session, bench_io500.run(&member));
}

static void set_option(const char *name, uint64_t value)
{
    for (const struct bench_option *option = bench_io500.options; option->name != NULL; option++) {
        if (strcmp(option->name, name) == 0)
            *(uint64_t *)option->value = value;
    }
}

static int setup(void **state)
{
    shared = calloc(1, bench_io500.shared_size);
    set_option("time", 10000000000);
    set_option("total", 500000);
    set_option("size", 65536);
    set_option("files", 250);
    return session_setup(state);
}

static int teardown(void **state)
{
    free(shared);
    return session_teardown(state);
}

static void all_phases_do_what_they_count(void **state)
{
    (void)state;
    assert_int_equal(session_run(2, 1, IO500_PHASE_COUNT, run, NULL), 0);
    for (int phase = 0; phase < IO500_PHASE_COUNT; phase++)
        assert_true(session_totals[phase].seconds > 0.0);
    assert_int_equal(session_totals[IO500_IOR_EASY_WRITE].bytes, 2 * 7 * 65536);
    assert_int_equal(session_totals[IO500_IOR_EASY_READ].bytes, 2 * 7 * 65536);
    assert_int_equal(session_totals[IO500_IOR_HARD_WRITE].bytes, 2 * 10 * 47008);
    assert_int_equal(session_totals[IO500_IOR_HARD_READ].bytes, 2 * 10 * 47008);
    assert_int_equal(session_totals[IO500_MDTEST_HARD_WRITE].bytes, 2 * 250 * 3901);
    for (int phase = 0; phase < IO500_PHASE_COUNT; phase++) {
        if (strncmp(io500_phase_names[phase], "mdtest", 6) == 0)
            assert_int_equal(session_totals[phase].operations, 500);
    }
    assert_int_equal(session_totals[IO500_FIND].operations, 500 + 500 + 3);
}

static void the_clock_ends_the_phases(void **state)
{
    (void)state;
    set_option("time", 3000000);
    set_option("total", UINT64_C(1) << 40);
    set_option("files", 10000000);
    assert_int_equal(session_run(2, 1, IO500_PHASE_COUNT, run, NULL), 0);
    assert_int_equal(session_totals[IO500_IOR_EASY_READ].bytes, session_totals[IO500_IOR_EASY_WRITE].bytes);
    assert_int_equal(session_totals[IO500_MDTEST_HARD_DELETE].operations,
                     session_totals[IO500_MDTEST_HARD_WRITE].operations);
}

/* ---- who looks at what ---- */

static _Atomic uint32_t *listed; /* names, by part; shared by the workers */

static int count_listed(void *argument, const char *name, mode_t type)
{
    (void)name, (void)type;
    atomic_fetch_add(&listed[*(uint32_t *)argument], 1);
    return 0;
}

/* As if the target could do so itself. */
static int list_part(struct target *target, const char *path, uint32_t part, uint32_t parts,
                     target_entry each, void *argument)
{
    struct target_operations whole = target_posix;
    struct session session = {.target = target, .call = &whole};
    int status = session_list_part(&session, path, part, parts, each, argument);
    if (status == 0 && strstr(path, "/mdtest-hard") != NULL && parts == 4)
        status = session_list_part(&session, path, part, parts, count_listed, &part);
    return status;
}

/* 4 x 250 names: each worker looks at about a quarter, and all together at each once. */
static void one_big_directory_is_shared_out(void **state)
{
    (void)state;
    listed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(listed != MAP_FAILED);
    session_calls.list_part = list_part;
    assert_int_equal(session_run(4, 1, IO500_PHASE_COUNT, run, NULL), 0);
    uint32_t sum = 0;
    for (int part = 0; part < 4; part++) {
        assert_in_range(listed[part], 200, 300);
        sum += listed[part];
    }
    assert_int_equal(sum, 1000);
    assert_int_equal(session_totals[IO500_FIND].operations, 1000 + 1000 + 5);
    munmap((void *)listed, 4096);
}

/* ---- what goes wrong in the search ---- */

static int stat_other_size(struct target *target, const char *path, struct stat *status)
{
    int result = target_posix.stat(target, path, status);
    if (strstr(path, "/mdtest-hard/file.1.101") != NULL)
        status->st_size = 3902;
    return result;
}

static target_entry true_each;

static int pass_less(void *argument, const char *name, mode_t type)
{
    return strcmp(name, "file.1.77") == 0 ? 0 : true_each(argument, name, type);
}

static int list_less(struct target *target, const char *path, target_entry each, void *argument)
{
    true_each = each;
    return target_posix.list(target, path, pass_less, argument);
}

/* What one finds twice does not make up for what another does not find. */
static int pass_other(void *argument, const char *name, mode_t type)
{
    return true_each(argument, strcmp(name, "file.1.77") == 0 ? "file.1.78" : name, type);
}

static int list_other(struct target *target, const char *path, target_entry each, void *argument)
{
    true_each = each;
    return target_posix.list(target, path, strstr(path, "/mdtest-hard") != NULL ? pass_other : each,
                             argument);
}

static void what_is_not_found_ends_the_run(void **state)
{
    (void)state;
    session_calls.list = list_other;
    assert_int_equal(session_run(2, 1, IO500_PHASE_COUNT, run, NULL), -EIO);
    session_calls = target_posix;
    session_calls.stat = stat_other_size;
    assert_int_equal(session_run(2, 1, IO500_PHASE_COUNT, run, NULL), -EIO);
    session_calls = target_posix;
    session_calls.list = list_less;
    assert_int_equal(session_run(2, 1, IO500_PHASE_COUNT, run, NULL), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_that_were_published),
        cmocka_unit_test(phases_are_in_the_published_order),
        cmocka_unit_test_setup_teardown(all_phases_do_what_they_count, setup, teardown),
        cmocka_unit_test_setup_teardown(the_clock_ends_the_phases, setup, teardown),
        cmocka_unit_test_setup_teardown(one_big_directory_is_shared_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_found_ends_the_run, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
