/* Regions of measurements: what is recorded is what a reader finds, whatever happens to the writer meanwhile.
 */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "metrics/files.h"
#include "metrics/metrics.h"
#include "metrics/reader.h"

enum { TRACE = 256, OPERATION = 20, VALUES = 5000 };

static char directory[] = "/tmp/metrics-XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL ? -1 : 0;
}

/* Which is empty, as every region is gone, and the last has taken the user's directory along. */
static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

static struct metrics *make_shared(void)
{
    struct metrics *metrics;
    int shared = -1;
    assert_int_equal(metrics_create(directory, TRACE, &metrics, &shared), 0);
    assert_int_equal(shared, 0);
    return metrics;
}

/* The only region there is. */
static struct metrics_source *open_only(void)
{
    char **paths;
    uint32_t count;
    struct metrics_source *source;
    assert_int_equal(metrics_list(directory, &paths, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(metrics_source_open(paths[0], &source), 0);
    free(paths[0]);
    free(paths);
    return source;
}

static uint32_t region_count(void)
{
    char **paths;
    uint32_t count;
    assert_int_equal(metrics_list(directory, &paths, &count), 0);
    for (uint32_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
    return count;
}

static int by_value(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static struct histogram histogram;
static uint64_t buckets[HISTOGRAM_BUCKETS];

static void read_stage(struct metrics_source *source, uint32_t operation, enum metrics_stage stage,
                       uint64_t count)
{
    histogram_init(&histogram);
    assert_int_equal(metrics_buckets_read(source, operation, stage, buckets), 0);
    metrics_histogram_add(&histogram, buckets, NULL, count);
    assert_int_equal(histogram.count, count);
}

static void assert_quantiles(uint32_t *values)
{
    static const double quantiles[] = {0.01, 0.5, 0.99, 1.0};
    qsort(values, VALUES, sizeof(values[0]), by_value);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        double exact = values[(size_t)ceil(quantiles[i] * VALUES) - 1];
        double told = (double)histogram_quantile(&histogram, quantiles[i]);
        assert_true(fabs(told - exact) <= exact * 0.01);
    }
}

static void stages_are_told_within_one_percent(void **state)
{
    (void)state;
    static uint32_t totals[VALUES], wires[VALUES], handlers[VALUES], storages[VALUES];
    struct random random;
    random_seed(&random, 11);
    struct metrics *metrics = make_shared();
    uint64_t total_sum = 0, wire_sum = 0;
    for (uint32_t i = 0; i < VALUES; i++) {
        wires[i] = (uint32_t)random_below(&random, 100000) + 300;
        handlers[i] = (uint32_t)random_below(&random, 3000) + 1;
        storages[i] = i % 4 == 0 ? (uint32_t)random_below(&random, UINT64_C(1) << 30) : 0;
        totals[i] = wires[i] + handlers[i] + storages[i];
        total_sum += totals[i];
        wire_sum += wires[i];
        metrics_record(metrics, &(struct metrics_entry){.operation = OPERATION,
                                                        .kind = METRICS_CALL,
                                                        .transfer = METRICS_EAGER,
                                                        .bytes = 10,
                                                        .status = i == 7 ? -5 : 0,
                                                        .total_ns = totals[i],
                                                        .handler_ns = handlers[i],
                                                        .storage_ns = storages[i]});
    }
    metrics_settle(metrics);
    struct metrics_source *source = open_only();
    struct metrics_snapshot snapshot;
    assert_int_equal(metrics_snapshot_read(source, &snapshot), 0);
    const struct metrics_operation *called = &snapshot.operations[METRICS_CALLED + OPERATION];
    assert_int_equal(called->count, VALUES);
    assert_int_equal(called->errors, 1);
    assert_int_equal(called->bytes, 10 * VALUES);
    assert_int_equal(called->sums[STAGE_TOTAL], total_sum);
    assert_int_equal(called->sums[STAGE_WIRE], wire_sum);
    assert_int_equal(snapshot.operations[OPERATION].count, 0); /* nobody served it here */
    assert_int_equal(snapshot.counters[METRIC_BULK_EAGER], VALUES);
    read_stage(source, METRICS_CALLED + OPERATION, STAGE_TOTAL, VALUES);
    assert_quantiles(totals);
    read_stage(source, METRICS_CALLED + OPERATION, STAGE_WIRE, VALUES);
    assert_quantiles(wires);
    read_stage(source, METRICS_CALLED + OPERATION, STAGE_HANDLER, VALUES);
    assert_quantiles(handlers);
    read_stage(source, METRICS_CALLED + OPERATION, STAGE_STORAGE, VALUES); /* three in four are zero */
    assert_quantiles(storages);
    read_stage(source, METRICS_CALLED + OPERATION, STAGE_CLIENT_QUEUE, VALUES);
    assert_int_equal(histogram.maximum, 0);
    metrics_source_close(source);
    metrics_destroy(metrics);
    assert_int_equal(region_count(), 0);
}

/* A call whose handler's time is told at word, or never. */
static void record_untold(struct metrics *metrics, uint64_t correlation, const _Atomic uint64_t *word)
{
    struct metrics_entry *entry = metrics_begin(metrics);
    METRICS_PUT(entry, correlation, correlation);
    METRICS_PUT(entry, operation, OPERATION);
    METRICS_PUT(entry, about, METRICS_ABOUT(METRICS_CALL, METRICS_NO_BULK));
    METRICS_PUT(entry, total_ns, 1000);
    METRICS_PUT(entry, handler_ns, METRICS_UNTOLD);
    metrics_handler_later(metrics, word);
    metrics_commit(metrics, entry);
}

static void the_handlers_time_may_follow(void **state)
{
    (void)state;
    struct metrics *metrics;
    assert_int_equal(metrics_create(NULL, TRACE, &metrics, NULL), 0);
    const struct metrics_operation *called = &metrics->operations[METRICS_CALLED + OPERATION];
    const struct metrics_entry *entries = metrics->trace;
    _Atomic uint64_t words[3] = {metrics_handler(7, 300), metrics_handler(7, 300), 0};
    record_untold(metrics, 7, &words[0]);
    record_untold(metrics, UINT64_C(0x900000008), &words[1]); /* the word is another's yet */
    record_untold(metrics, 9, &words[2]);
    assert_int_equal(metrics_fold(metrics, 3), 1);
    assert_int_equal(entries[0].handler_ns, 300);
    assert_int_equal(metrics_fold(metrics, 3), 0);
    assert_int_equal(entries[1].handler_ns, METRICS_UNTOLD);
    words[1] = metrics_handler(UINT64_C(0x900000008), UINT64_MAX);
    assert_int_equal(metrics_fold(metrics, 3), 1);
    assert_int_equal(entries[1].handler_ns, 1000); /* no longer than the whole */
    assert_int_equal(called->sums[STAGE_HANDLER], 1300);
    assert_int_equal(called->sums[STAGE_WIRE], 700);
    assert_int_equal(metrics->counters[METRIC_UNTOLD], 0);
    record_untold(metrics, 10, NULL);
    assert_int_equal(metrics_fold(metrics, UINT32_MAX), 0); /* others wait for it */
    metrics_fold_untold(metrics);
    assert_false(metrics_unfolded(metrics));
    assert_int_equal(entries[2].handler_ns, METRICS_UNTOLD);
    assert_int_equal(metrics->counters[METRIC_UNTOLD], 2);
    assert_int_equal(called->count, 4);
    assert_int_equal(called->sums[STAGE_TOTAL], 4000);
    assert_int_equal(called->sums[STAGE_HANDLER], 1300);
    assert_int_equal(called->sums[STAGE_WIRE], 700);
    for (uint64_t i = 0; i < 3 * METRICS_LATE; i++) {
        record_untold(metrics, i, &words[2]);
        assert_true(metrics->head - metrics->folded <= METRICS_BACKLOG + 1);
    }
    metrics_destroy(metrics);
}

static void differences_of_two_readings_are_what_happened_between(void **state)
{
    (void)state;
    static uint64_t earlier[HISTOGRAM_BUCKETS];
    struct metrics *metrics = make_shared();
    struct metrics_source *source = open_only();
    struct metrics_entry entry = {
        .operation = OPERATION, .kind = METRICS_SERVED, .total_ns = 1000, .bytes = 1};
    struct metrics_snapshot before, after;
    metrics_record(metrics, &entry);
    metrics_set(metrics, METRIC_SESSIONS, 5);
    metrics_settle(metrics);
    assert_int_equal(metrics_snapshot_read(source, &before), 0);
    assert_int_equal(metrics_buckets_read(source, OPERATION, STAGE_TOTAL, earlier), 0);
    entry.total_ns = 5000;
    metrics_record(metrics, &entry);
    metrics_record(metrics, &entry);
    metrics_set(metrics, METRIC_SESSIONS, 4);
    metrics_settle(metrics);
    assert_int_equal(metrics_snapshot_read(source, &after), 0);
    metrics_snapshot_subtract(&after, &before);
    assert_int_equal(after.operations[OPERATION].count, 2);
    assert_int_equal(after.operations[OPERATION].bytes, 2);
    assert_int_equal(after.operations[OPERATION].sums[STAGE_TOTAL], 10000);
    assert_int_equal(after.counters[METRIC_SESSIONS], 4); /* a gauge */
    assert_int_equal(metrics_buckets_read(source, OPERATION, STAGE_TOTAL, buckets), 0);
    histogram_init(&histogram);
    metrics_histogram_add(&histogram, buckets, earlier, 2);
    assert_int_equal(histogram.count, 2);
    assert_true(fabs((double)histogram.minimum - 5000) <= 50);
    metrics_source_close(source);
    metrics_destroy(metrics);
}

static void an_entry_is_made_in_its_place(void **state)
{
    (void)state;
    struct metrics *metrics;
    assert_int_equal(metrics_create(NULL, TRACE, &metrics, NULL), 0);
    metrics_record(metrics, &(struct metrics_entry){.kind = METRICS_SERVED, .transfer = METRICS_EAGER});
    const struct metrics_entry *first = &metrics->trace[0];
    assert_int_equal(first->about, METRICS_ABOUT(METRICS_SERVED, METRICS_EAGER));
    struct metrics_entry *entry = metrics_begin(metrics);
    assert_ptr_equal(entry, first + 1);
    METRICS_PUT(entry, total_ns, 7);
    METRICS_PUT(entry, about, METRICS_ABOUT(METRICS_DISK, METRICS_RENDEZVOUS));
    assert_int_equal(metrics->header->trace_head, 1); /* nobody is told yet */
    assert_int_equal(entry->sequence, 0);
    metrics_commit(metrics, entry);
    assert_int_equal(metrics->header->trace_head, 2);
    assert_int_equal(entry->sequence, 2);
    assert_int_equal(entry->kind, METRICS_DISK);
    assert_int_equal(entry->transfer, METRICS_RENDEZVOUS);
    metrics_destroy(metrics);
}

static void a_backlog_is_folded_as_it_grows(void **state)
{
    (void)state;
    struct metrics *metrics;
    assert_int_equal(metrics_create(NULL, TRACE, &metrics, NULL), 0);
    struct metrics_entry entry = {.operation = OPERATION, .kind = METRICS_SERVED, .total_ns = 1};
    for (uint32_t i = 0; i < 10 * TRACE; i++) {
        metrics_record(metrics, &entry);
        assert_true(metrics->head - metrics->folded <= METRICS_BACKLOG);
    }
    metrics_settle(metrics);
    assert_int_equal(metrics->operations[OPERATION].count, 10 * TRACE);
    metrics_destroy(metrics);
}

static void a_trace_tells_what_it_lost(void **state)
{
    (void)state;
    static struct metrics_entry entries[2 * TRACE];
    struct metrics *metrics = make_shared();
    struct metrics_source *source = open_only();
    uint64_t position = 0, lost = 0;
    struct metrics_entry entry = {.operation = OPERATION, .kind = METRICS_SERVED};
    for (uint32_t i = 0; i < 100; i++) {
        entry.correlation = i;
        metrics_record(metrics, &entry);
    }
    assert_int_equal(metrics_trace_read(source, &position, entries, 60, &lost), 60);
    assert_int_equal(metrics_trace_read(source, &position, entries + 60, 2 * TRACE - 60, &lost), 40);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(entries[i].correlation, i);
    assert_int_equal(lost, 0);
    for (uint32_t i = 100; i < 100 + 3 * TRACE; i++) {
        entry.correlation = i;
        metrics_record(metrics, &entry);
    }
    /* The oldest place is the next to be written over, so nobody can be sure of it. */
    int count = metrics_trace_read(source, &position, entries, 2 * TRACE, &lost);
    assert_int_equal(count, TRACE - 1);
    assert_int_equal(lost, 2 * TRACE + 1);
    assert_int_equal(entries[count - 1].correlation, 100 + 3 * TRACE - 1);
    assert_int_equal(position, 100 + 3 * TRACE);
    assert_int_equal(metrics_trace_read(source, &position, entries, 2 * TRACE, &lost), 0);
    metrics_source_close(source);
    metrics_destroy(metrics);
}

static void requests_of_partitions_are_counted(void **state)
{
    (void)state;
    struct metrics *metrics = make_shared();
    const uint32_t last = METRICS_PARTITIONS - 1, each = METRICS_NOTED + 1;
    for (uint32_t i = 0; i < each; i++) {
        metrics_count_partition(metrics, 0);
        metrics_count_partition(metrics, last);
    }
    metrics_settle(metrics);
    metrics->header->paused = 1;
    metrics_count_partition(metrics, last);
    metrics->header->paused = 0;
    metrics_settle(metrics);
    assert_int_equal(metrics->partitions[0], each);
    assert_int_equal(metrics->partitions[1], 0);
    assert_int_equal(metrics->partitions[last], each);
    metrics_destroy(metrics);
}

static void slow_requests_are_remembered(void **state)
{
    (void)state;
    static struct metrics_entry entries[METRICS_SLOW];
    struct metrics *metrics = make_shared();
    struct metrics_source *source = open_only();
    metrics->header->slow_ns = 1000;
    for (uint32_t i = 0; i < 3 * METRICS_SLOW; i++)
        metrics_record(metrics, &(struct metrics_entry){.operation = OPERATION,
                                                        .kind = METRICS_SERVED,
                                                        .correlation = i,
                                                        .total_ns = i % 2 == 0 ? 1000 : 999});
    metrics_settle(metrics);
    assert_int_equal(metrics_slow_read(source, entries), METRICS_SLOW);
    for (uint32_t i = 0; i < METRICS_SLOW; i++)
        assert_int_equal(entries[i].correlation, METRICS_SLOW + 2 * i);
    metrics_source_close(source);
    metrics_destroy(metrics);
}

/* A writer that never stops, in another process; every entry that is read must be of one piece. */
static void a_busy_writer_is_read_whole(void **state)
{
    (void)state;
    static struct metrics_entry entries[TRACE];
    struct metrics *metrics = make_shared();
    pid_t child = fork();
    if (child == 0) {
        for (uint64_t i = 1; i < 100000000; i++) /* until it is killed */
            metrics_record(metrics, &(struct metrics_entry){.operation = OPERATION,
                                                            .kind = METRICS_DISK,
                                                            .started = i,
                                                            .correlation = i * 3,
                                                            .subject = ~i,
                                                            .total_ns = (uint32_t)i,
                                                            .bytes = (uint32_t)i});
        _exit(0);
    }
    assert_true(child > 0);
    struct metrics_source *source = open_only();
    uint64_t position = 0, lost = 0, seen = 0;
    for (uint32_t round = 0; round < 200000 && seen < 100000; round++) {
        int count = metrics_trace_read(source, &position, entries, TRACE, &lost);
        assert_true(count >= 0);
        for (int i = 0; i < count; i++) {
            const struct metrics_entry *entry = &entries[i];
            assert_true(entry->correlation == entry->started * 3 && entry->subject == ~entry->started);
            assert_true(entry->total_ns == (uint32_t)entry->started && entry->bytes == entry->total_ns);
        }
        seen += (uint64_t)count;
    }
    assert_true(seen >= 1000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    metrics_source_close(source);
    metrics_destroy(metrics);
}

static void what_a_dead_process_left_can_be_read_and_is_removed_later(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct metrics *metrics;
        if (metrics_create(directory, TRACE, &metrics, NULL) != 0)
            _exit(1);
        metrics_identify(metrics, METRICS_ROLE_SERVER, 3, "127.0.0.1:4711");
        metrics_record(metrics, &(struct metrics_entry){.operation = OPERATION, .correlation = 99});
        raise(SIGKILL);
    }
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(metrics_process_start((uint32_t)child), 0); /* nobody has asked about it yet */
    waitpid(child, NULL, 0);
    struct metrics *living = make_shared(); /* is not touched */
    assert_true(living->header->process_start != 0);
    assert_true(metrics_process_lives(living->header));
    assert_int_equal(region_count(), 2);
    metrics_prune(directory, NULL, UINT64_C(3600) * 1000000000, 100);
    metrics_prune(directory, "127.0.0.1:1", 0, 100);
    assert_int_equal(region_count(), 2); /* too young; of another cluster */
    metrics_prune(directory, "", 0, 100);
    assert_int_equal(region_count(), 2); /* its process lives */
    metrics_destroy(living);
    struct metrics_source *source = open_only();
    struct metrics_entry entry;
    uint64_t position = 0, lost = 0;
    assert_int_equal(source->header.pid, child);
    assert_int_equal(source->header.server, 3);
    assert_string_equal(source->header.cluster, "127.0.0.1:4711");
    assert_false(metrics_process_lives(&source->header));
    assert_int_equal(source->header.ended, 0);
    assert_int_equal(metrics_trace_read(source, &position, &entry, 1, &lost), 1);
    assert_int_equal(entry.correlation, 99);
    metrics_source_close(source);
    metrics_prune(directory, "127.0.0.1:4711", 0, 100);
    assert_int_equal(region_count(), 0);
}

static void of_the_dead_only_the_latest_are_kept(void **state)
{
    (void)state;
    pid_t last = 0;
    for (unsigned i = 0; i < 5; i++) {
        last = fork();
        if (last == 0) {
            struct metrics *metrics;
            if (metrics_create(directory, TRACE, &metrics, NULL) != 0)
                _exit(1);
            raise(SIGKILL);
        }
        waitpid(last, NULL, 0);
    }
    assert_int_equal(region_count(), 5);
    metrics_prune(directory, NULL, UINT64_C(3600) * 1000000000, 3);
    assert_int_equal(region_count(), 3);
    metrics_prune(directory, NULL, UINT64_C(3600) * 1000000000, 1);
    struct metrics_source *source = open_only();
    assert_int_equal(source->header.pid, last);
    metrics_source_close(source);
    metrics_prune(directory, NULL, 0, 100);
    assert_int_equal(region_count(), 0);
}

static void files_are_the_users_alone(void **state)
{
    (void)state;
    char place[METRICS_PATH_MAX];
    struct stat status;
    struct metrics *metrics = make_shared(), *private;
    assert_int_equal(stat(metrics->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    metrics_directory(directory, place);
    assert_int_equal(stat(place, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(chmod(place, 0777), 0);
    int shared = 0;
    assert_int_equal(metrics_create(directory, TRACE, &private, &shared), 0); /* works, for itself */
    assert_int_equal(shared, -EPERM);
    assert_null(private->path);
    metrics_destroy(private);
    assert_int_equal(chmod(place, 0700), 0);
    metrics_destroy(metrics);
}

static void recording_can_be_paused(void **state)
{
    (void)state;
    struct metrics *metrics = make_shared();
    uint32_t *paused = NULL;
    assert_int_equal(metrics_switch_open(metrics->path, &paused), 0);
    assert_false(metrics_paused(metrics));
    __atomic_store_n(paused, 1, __ATOMIC_RELAXED);
    assert_true(metrics_paused(metrics));
    __atomic_store_n(paused, 0, __ATOMIC_RELAXED);
    assert_false(metrics_paused(metrics));
    metrics_switch_close(paused);
    assert_int_equal(metrics_switch_open("/dev/null", &paused),
                     -EPROTO); /* what is no region stays as it is */
    metrics_destroy(metrics);
}

static void foreign_files_are_refused(void **state)
{
    (void)state;
    struct metrics *metrics = make_shared();
    struct metrics_source *source;
    struct metrics_header good = *metrics->header;
    uint64_t *words = (uint64_t *)metrics->header;
    for (size_t i = 0; i < offsetof(struct metrics_header, trace_head) / 8; i++) {
        bool free_text = i * 8 >= offsetof(struct metrics_header, role) &&
                         i * 8 < offsetof(struct metrics_header, metric_count);
        words[i] ^= UINT64_C(0x0000010000000100);
        int result = metrics_source_open(metrics->path, &source);
        if (free_text)
            metrics_source_close(source);
        assert_int_equal(result, free_text ? 0 : -EPROTO);
        *metrics->header = good;
    }
    assert_int_equal(truncate(metrics->path, 100), 0);
    assert_int_equal(metrics_source_open(metrics->path, &source), -EPROTO);
    assert_int_equal(metrics_source_open("/nonexistent", &source), -ENOENT);
    assert_int_equal(truncate(metrics->path, METRICS_BYTES(TRACE)), 0);
    metrics_destroy(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_are_told_within_one_percent),
        cmocka_unit_test(differences_of_two_readings_are_what_happened_between),
        cmocka_unit_test(an_entry_is_made_in_its_place),
        cmocka_unit_test(the_handlers_time_may_follow),
        cmocka_unit_test(a_backlog_is_folded_as_it_grows),
        cmocka_unit_test(a_trace_tells_what_it_lost),
        cmocka_unit_test(requests_of_partitions_are_counted),
        cmocka_unit_test(slow_requests_are_remembered),
        cmocka_unit_test(a_busy_writer_is_read_whole),
        cmocka_unit_test(what_a_dead_process_left_can_be_read_and_is_removed_later),
        cmocka_unit_test(of_the_dead_only_the_latest_are_kept),
        cmocka_unit_test(files_are_the_users_alone),
        cmocka_unit_test(recording_can_be_paused),
        cmocka_unit_test(foreign_files_are_refused),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
