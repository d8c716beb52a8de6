/* The phases of ior: every shape moves and checks what it should, and what a file system does wrong ends it.
 */
#include "unit/bench_session.h"

#include "bench/ior.h"

static bool expire;

static int write_and_read(struct crew_member *worker)
{
    struct session session;
    struct ior ior;
    int status = session_open_here(&session, worker);
    if (status < 0)
        return status;
    status = ior_init(&ior, &session, worker->argument, "data");
    for (uint32_t phase = 0; phase < 2 && status == 0; phase++) {
        bool expired = false;
        struct crew_part *part = crew_phase(worker, phase);
        if (part == NULL)
            status = -ECANCELED;
        else
            status =
                phase == 0 ? ior_write(&ior, part, expire ? 2000000 : 0, &expired) : ior_read(&ior, part);
        if (status == 0 && expired != expire && phase == 0)
            status = -EBADMSG;
        if (status == 0)
            crew_phase_end(worker, phase);
    }
    if (status == 0)
        status = ior_remove(&ior);
    ior_free(&ior);
    return session_close(&session, status);
}

static struct ior_shape small(void)
{
    return (struct ior_shape){.transfer = 4096, .block = 32768, .segments = 3, .depth = 1, .shift = 1};
}

static void check_moved(const struct ior_shape *shape, uint32_t workers)
{
    for (int phase = 0; phase < 2; phase++) {
        assert_int_equal(session_totals[phase].bytes, shape->block * shape->segments * workers);
        assert_int_equal(session_totals[phase].operations,
                         shape->block / shape->transfer * shape->segments * workers);
        assert_int_equal(session_totals[phase].latency.count, session_totals[phase].operations);
    }
}

static void every_shape_moves_all(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 32; flags++) {
        struct ior_shape shape = small();
        shape.shared = flags & 1;
        shape.random = flags & 2;
        shape.verify = flags & 4;
        shape.depth = flags & 8 ? 4 : 1;
        shape.sync = flags == 0;
        if (flags & 16)
            shape.transfer = shape.block = 47008;
        assert_int_equal(session_run(2, flags % 3 == 0 ? 2 : 1, 2, write_and_read, &shape), 0);
        check_moved(&shape, flags % 3 == 0 ? 4 : 2);
    }
}

static ssize_t write_slowly(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    usleep(100);
    return target_posix.write(target, fd, data, length, offset);
}

static void the_clock_ends_writing(void **state)
{
    (void)state;
    session_calls.write = write_slowly;
    expire = true;
    for (unsigned flags = 0; flags < 4; flags++) {
        struct ior_shape shape = small();
        shape.segments = 1000000;
        shape.shared = flags & 1;
        shape.random = flags & 2;
        assert_int_equal(session_run(2, 1, 2, write_and_read, &shape), 0);
        assert_true(session_totals[0].bytes > 0);
        assert_int_equal(session_totals[0].bytes % (2 * shape.transfer), 0); /* all as much as the one */
        assert_int_equal(session_totals[1].bytes, session_totals[0].bytes);
    }
    expire = false;
}

/* ---- what goes wrong ---- */

static uint32_t calls; /* of this process */

static ssize_t write_wrong(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    char copy[65536];
    memcpy(copy, data, length);
    if (calls++ == 0)
        copy[length - 5] = (char)~copy[length - 5];
    return target_posix.write(target, fd, copy, length, offset);
}

static ssize_t write_elsewhere(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    return target_posix.write(target, fd, data, length, calls++ == 5 ? offset - (off_t)length : offset);
}

static ssize_t write_nothing(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    if (calls++ == 5)
        return (ssize_t)length;
    return target_posix.write(target, fd, data, length, offset);
}

static ssize_t write_less(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    return target_posix.write(target, fd, data, length - (calls++ == 5), offset);
}

static ssize_t read_nothing(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    if (calls++ == 5)
        return (ssize_t)length;
    return target_posix.read(target, fd, data, length, offset);
}

static ssize_t read_less(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    return target_posix.read(target, fd, data, length - (calls++ == 5), offset);
}

static int sync_not(struct target *target, int fd)
{
    (void)target, (void)fd;
    return -EIO;
}

static int unlink_not(struct target *target, const char *path)
{
    (void)target, (void)path;
    return 0;
}

static void what_is_wrong_ends_the_run(void **state)
{
    (void)state;
    struct ior_shape shape = small();
    assert_int_equal(session_run(2, 1, 2, write_and_read, &shape), 0);
#define SPOILED(call, wrong, expected)                                                                       \
    do {                                                                                                     \
        session_calls = target_posix;                                                                        \
        session_calls.call = wrong;                                                                          \
        assert_int_equal(session_run(2, 1, 2, write_and_read, &shape), expected);                            \
    } while (0)
    SPOILED(write, write_elsewhere, -EIO);
    SPOILED(write, write_nothing, -EIO);
    SPOILED(write, write_less, -EIO);
    SPOILED(read, read_nothing, -EIO);
    SPOILED(read, read_less, -EIO);
    SPOILED(unlink, unlink_not, -ENOTEMPTY);
    SPOILED(write, write_wrong, -EIO); /* in a transfer that is compared byte by byte, the first */
    shape.verify = true;
    SPOILED(write, write_wrong, -EIO);
    SPOILED(read, read_nothing, -EIO);
    shape.sync = true;
    SPOILED(sync, sync_not, -EIO);
#undef SPOILED
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_shape_moves_all, session_setup, session_teardown),
        cmocka_unit_test_setup_teardown(the_clock_ends_writing, session_setup, session_teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_ends_the_run, session_setup, session_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
