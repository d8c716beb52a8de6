/* The open loop: requests arrive as they should, wait for each other when the target stalls, and are told
 * when they are more than it does. */
#include "unit/bench_session.h"

#include <math.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/arrivals.h"
#include "bench/mixed.h"

static struct mixed_outcome *outcome; /* shared with the workers */

static int run(struct crew_member *worker)
{
    struct session session;
    int status = session_open_here(&session, worker);
    if (status < 0)
        return status;
    return session_close(&session, mixed_run(&session, worker->argument, outcome));
}

static int setup(void **state)
{
    outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(outcome != MAP_FAILED);
    return session_setup(state);
}

static int teardown(void **state)
{
    munmap(outcome, sizeof(*outcome));
    return session_teardown(state);
}

static struct mixed_shape small(void)
{
    return (struct mixed_shape){.rate = 2000,
                                .shares = {4, 3, 2, 1},
                                .depth = 1,
                                .size = 4096,
                                .total = 65536,
                                .files = 10,
                                .duration = 200000000,
                                .seed = 1};
}

static void arrivals_keep_the_rate(void **state)
{
    (void)state;
    for (int poisson = 0; poisson < 2; poisson++) {
        struct arrivals arrivals;
        uint64_t last = 0, count = 100000;
        double squares = 0.0, mean = 1e9 * 4 / 1000.0;
        arrivals_init(&arrivals, poisson, 1000.0, 3, 4, 7);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t next = arrivals_next(&arrivals);
            assert_true(next >= last);
            squares += pow(((double)(next - last) - mean) / mean, 2.0);
            last = next;
        }
        assert_true(fabs((double)last / (double)count / mean - 1.0) < 0.02);
        /* The deviation of an exponential distribution is its mean. */
        assert_true(fabs(sqrt(squares / (double)count) - poisson) < 0.02);
    }
}

static void operations_come_in_shares(void **state)
{
    (void)state;
    for (int poisson = 0; poisson < 2; poisson++) {
        struct mixed_shape shape = small();
        shape.poisson = poisson;
        shape.verify = poisson;
        shape.depth = poisson ? 16 : 1; /* as many as there are blocks */
        memset(outcome, 0, sizeof(*outcome));
        assert_int_equal(session_run(2, 1, MIXED_PHASE_COUNT, run, &shape), 0);
        uint64_t all = session_totals[MIXED_ALL].operations, sum = 0;
        assert_in_range(all, 300, 500); /* 400 were to arrive */
        assert_int_equal(session_totals[MIXED_ALL].latency.count, atomic_load(&outcome->arrived));
        for (int i = 0; i < MIXED_OPERATIONS; i++) {
            assert_true(session_totals[i].operations > 0);
            sum += session_totals[i].operations;
        }
        assert_int_equal(sum, all);
        assert_true(session_totals[MIXED_READ].operations > session_totals[MIXED_CREATE].operations);
        assert_int_equal(session_totals[MIXED_READ].bytes, session_totals[MIXED_READ].operations * 4096);
        assert_int_equal(session_totals[MIXED_STAT].bytes, 0);
    }
}

static void what_does_not_occur_is_no_phase(void **state)
{
    (void)state;
    struct mixed_shape shape = small();
    shape.shares[MIXED_WRITE] = shape.shares[MIXED_CREATE] = 0;
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run, &shape), 0);
    assert_int_equal(session_totals[MIXED_WRITE].latency.count, 0);
    assert_int_equal(session_totals[MIXED_READ].operations + session_totals[MIXED_STAT].operations,
                     session_totals[MIXED_ALL].operations);
}

static int calls;

/* Stalls once, for 200 ms. */
static ssize_t read_with_stall(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    if (calls++ == 100)
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    return target_posix.read(target, fd, data, length, offset);
}

static void a_stall_holds_up_all_that_were_due(void **state)
{
    (void)state;
    struct mixed_shape shape = small();
    memset(shape.shares, 0, sizeof(shape.shares));
    shape.shares[MIXED_READ] = 1;
    shape.rate = 1000;
    shape.duration = 400000000;
    session_calls.read = read_with_stall;
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run, &shape), 0);
    const struct histogram *latency = &session_totals[MIXED_ALL].latency;
    assert_int_equal(latency->count, 400);
    assert_true(latency->maximum >= 199000000);
    /* Of the 400 requests 200 were due in the stall, a millisecond apart: those in its first half waited for
     * more than the other half. */
    uint64_t waited = 0, waited_long = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        waited += i > histogram_bucket(10000000) ? latency->buckets[i] : 0;
        waited_long += i > histogram_bucket(100000000) ? latency->buckets[i] : 0;
    }
    assert_true(waited >= 185);
    assert_true(waited_long >= 95);
}

/* 1,000 a second at most. */
static ssize_t read_slowly(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return target_posix.read(target, fd, data, length, offset);
}

static void saturation_is_told(void **state)
{
    (void)state;
    struct mixed_shape shape = small();
    memset(shape.shares, 0, sizeof(shape.shares));
    shape.shares[MIXED_READ] = 1;
    shape.rate = 10000;
    shape.duration = 100000000;
    memset(outcome, 0, sizeof(*outcome));
    session_calls.read = read_slowly;
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run, &shape), 0);
    assert_int_equal(atomic_load(&outcome->arrived), 1000);
    assert_true(atomic_load(&outcome->backlog) >= 890);
    assert_true(atomic_load(&outcome->given_up) >= 790);
    assert_int_equal(session_totals[MIXED_ALL].operations + atomic_load(&outcome->given_up), 1000);
    assert_int_equal(session_totals[MIXED_ALL].latency.count, 1000);
    assert_int_equal(session_totals[MIXED_ALL].errors, atomic_load(&outcome->given_up));
    assert_true(histogram_quantile(&session_totals[MIXED_ALL].latency, 0.5) > 50000000);
}

/* A target that does each operation in SERVICE ns, as many at once as there are. */
#define SERVICE 10000000u

static struct {
    struct benchfs_io *io;
    uint64_t done;
} service[TARGET_DEPTH_MAX];
static unsigned served_count, served_most;

static int submit_slowly(struct target *target, struct benchfs_io *const *ios, unsigned count)
{
    (void)target;
    for (unsigned i = 0; i < count; i++) {
        service[served_count].io = ios[i];
        service[served_count++].done = crew_now() + SERVICE;
    }
    served_most = served_count > served_most ? served_count : served_most;
    return 0;
}

static int wait_slowly(struct target *target, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                       uint64_t patience)
{
    uint64_t now = crew_now(), deadline = patience == TARGET_FOR_EVER ? patience : now + patience;
    unsigned count = 0;
    assert_true(minimum == 1 && maximum == served_count);
    while (now < service[0].done && now < deadline) {
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        now = crew_now();
    }
    while (count < served_count && service[count].done <= now) {
        struct benchfs_io *io = done[count] = service[count].io;
        switch (io->kind) {
        case BENCHFS_IO_READ:
            io->result = target_posix.read(target, io->fd, io->buffer, io->count, io->offset);
            break;
        case BENCHFS_IO_WRITE:
            io->result = target_posix.write(target, io->fd, io->buffer, io->count, io->offset);
            break;
        case BENCHFS_IO_STAT:
            io->result = target_posix.stat(target, io->path, io->buffer);
            break;
        case BENCHFS_IO_OPEN:
            io->result = target_posix.file_open(target, io->path, io->flags, io->mode);
            break;
        }
        count++;
    }
    served_count -= count;
    memmove(service, service + count, served_count * sizeof(service[0]));
    return (int)count;
}

static int run_and_count(struct crew_member *worker)
{
    int status = run(worker);
    if (status == 0)
        atomic_store(&outcome->given_up, served_most);
    return status;
}

/* 500 a second of 10 ms each: five at a time. With that many under way nobody waits; with fewer, the queue
 * grows. */
static void several_are_under_way_at_once(void **state)
{
    (void)state;
    struct mixed_shape shape = small();
    shape.rate = 500;
    shape.duration = 200000000;
    shape.verify = true;
    session_calls.submit = submit_slowly;
    session_calls.wait = wait_slowly;
    const struct histogram *latency = &session_totals[MIXED_ALL].latency;
    shape.depth = 16;
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run_and_count, &shape), 0);
    assert_int_equal(session_totals[MIXED_ALL].operations, 100);
    for (int i = 0; i < MIXED_OPERATIONS; i++)
        assert_true(session_totals[i].latency.minimum >= SERVICE);
    uint64_t median = histogram_quantile(latency, 0.5);
    assert_true(atomic_load(&outcome->given_up) >= 5);
    shape.depth = 2;
    memset(outcome, 0, sizeof(*outcome));
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run_and_count, &shape), 0);
    assert_int_equal(atomic_load(&outcome->given_up), 2);
    assert_true(atomic_load(&outcome->backlog) >= 40);
    assert_true(latency->maximum > 10 * SERVICE);
    assert_true(median < histogram_quantile(latency, 0.5) / 2);
}

static ssize_t wrong_answer;

static int wait_and_spoil(struct target *target, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                          uint64_t patience)
{
    int count = wait_slowly(target, done, minimum, maximum, patience);
    for (int i = 0; i < count; i++) {
        if (wrong_answer == 0 && done[i]->kind == BENCHFS_IO_STAT)
            ((struct stat *)done[i]->buffer)->st_size++;
        if (wrong_answer < 0 && done[i]->kind == BENCHFS_IO_OPEN)
            done[i]->result = wrong_answer;
    }
    return count;
}

static void wrong_answers_about_names_end_the_run(void **state)
{
    (void)state;
    struct mixed_shape shape = small();
    shape.rate = 500;
    shape.duration = 100000000;
    shape.depth = 2;
    session_calls.submit = submit_slowly;
    session_calls.wait = wait_and_spoil;
    for (wrong_answer = -EEXIST; wrong_answer <= 0; wrong_answer += EEXIST)
        assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run, &shape), -EIO);
}

static ssize_t lose_one(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    return calls++ == 50 ? (ssize_t)length : target_posix.write(target, fd, data, length, offset);
}

static void a_lost_write_is_found(void **state)
{
    (void)state;
    struct mixed_shape shape = small();
    memset(shape.shares, 0, sizeof(shape.shares));
    shape.shares[MIXED_WRITE] = 1;
    shape.total = UINT64_C(1) << 20;
    session_calls.write = lose_one; /* 512 writes make the files; this is one of that which is read */
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run, &shape), 0);
    calls = 50 - 512 - 390; /* one of the loop's last, of 400 */
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run, &shape), -EIO);
    calls = 50 - 256; /* what is not written in the loop is compared as well: of the first 50, one is not */
    shape.rate = 10;
    assert_int_equal(session_run(1, 1, MIXED_PHASE_COUNT, run, &shape), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrivals_keep_the_rate),
        cmocka_unit_test_setup_teardown(operations_come_in_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_occur_is_no_phase, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stall_holds_up_all_that_were_due, setup, teardown),
        cmocka_unit_test_setup_teardown(saturation_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(several_are_under_way_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_answers_about_names_end_the_run, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_write_is_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
