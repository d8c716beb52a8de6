/* The phases of iozone visit each record once, and what is lost between them ends the run. */
#include "unit/bench_session.h"

#include "bench/iozone.h"

static int run_all(struct crew_member *worker)
{
    const struct iozone_shape *shape = worker->argument;
    struct session session;
    int status = session_open_here(&session, worker);
    if (status < 0)
        return status;
    return session_close(&session, iozone_run(&session, shape));
}

static void each_record_is_visited_once(void **state)
{
    (void)state;
    for (uint64_t count = 1; count < 100; count++) {
        for (enum iozone_phase phase = 0; phase < IOZONE_PHASE_COUNT; phase++) {
            char seen[100] = {0};
            for (uint64_t n = 0; n < count; n++) {
                uint64_t record = iozone_record(phase, count, n);
                assert_true(record < count);
                assert_false(seen[record]++);
            }
        }
    }
    assert_int_equal(iozone_record(IOZONE_STRIDE_READ, 40, 1), 17);
    assert_int_equal(iozone_record(IOZONE_BACKWARD_READ, 40, 0), 39);
}

static void every_phase_moves_the_file(void **state)
{
    (void)state;
    static const struct iozone_shape sizes[] = {{4096, 65536, 1, false, true},
                                                {4096, 65536, 5, false, true},
                                                {3000, 100000, 64, true, false},
                                                {65536, 65536, 1, false, false}};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(session_run(2, 1, IOZONE_PHASE_COUNT, run_all, (void *)(uintptr_t)&sizes[i]), 0);
        for (int phase = 0; phase < IOZONE_PHASE_COUNT; phase++)
            assert_int_equal(session_totals[phase].bytes,
                             2 * (sizes[i].file / sizes[i].record) * sizes[i].record);
    }
}

static uint32_t calls, lost;

static ssize_t lose_one(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    if (calls++ == lost)
        return (ssize_t)length;
    return target_posix.write(target, fd, data, length, offset);
}

static ssize_t read_behind(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    if (calls++ == lost)
        offset = offset == 0 ? (off_t)length : 0;
    return target_posix.read(target, fd, data, length, offset);
}

static ssize_t read_nothing(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    if (calls++ == lost)
        return (ssize_t)length;
    return target_posix.read(target, fd, data, length, offset);
}

/* Though the buffer holds what the phase before has read from the same place. */
static void a_read_that_does_nothing_is_found(void **state)
{
    (void)state;
    struct iozone_shape size = {65536, 65536, 1, false, false};
    for (lost = 0; lost < 5; lost++) {
        session_calls = target_posix;
        session_calls.read = read_nothing;
        assert_int_equal(session_run(1, 1, IOZONE_PHASE_COUNT, run_all, &size), -EIO);
    }
}

static void a_write_that_is_lost_is_found(void **state)
{
    (void)state;
    struct iozone_shape size = {4096, 40960, 1, false, false};
    for (lost = 1; lost < 30; lost += 5) { /* of the file's first, second and third bytes */
        session_calls = target_posix;
        session_calls.write = lose_one;
        assert_int_equal(session_run(1, 1, IOZONE_PHASE_COUNT, run_all, &size), -EIO);
    }
    for (lost = 1; lost < 60; lost += 9) { /* in each of the six times that it is read */
        session_calls = target_posix;
        session_calls.read = read_behind;
        assert_int_equal(session_run(1, 1, IOZONE_PHASE_COUNT, run_all, &size), -EIO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_record_is_visited_once),
        cmocka_unit_test_setup_teardown(every_phase_moves_the_file, session_setup, session_teardown),
        cmocka_unit_test_setup_teardown(a_read_that_does_nothing_is_found, session_setup, session_teardown),
        cmocka_unit_test_setup_teardown(a_write_that_is_lost_is_found, session_setup, session_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
