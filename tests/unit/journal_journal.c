/* The journal on a simulated device: that what it says is durable is there again, and what it costs. */
#include "unit/journal_model.h"

#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

enum { SEEDS = 40 };

/* ---- recovery ---- */

static void change_at_random(struct model *model, struct random *random, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        model_change(model, random_below(random, MODEL_OBJECTS), random_below(random, 4) == 0);
}

/* Any sequence of changes, commits, snapshots, ends and kills: what comes back is what was there. */
static void run_seed(uint64_t seed)
{
    struct model model;
    struct random random;
    random_seed(&random, seed);
    model_create(&model, seed);
    model.options.limit = UINT64_C(64) << random_below(&random, 12);
    model.options.interval_ns = random_below(&random, 2) * 2000000;
    model_open(&model);
    for (int step = 0; step < 150; step++) {
        switch (random_below(&random, 20)) {
        case 0:
            assert_int_equal(journal_snapshot_take(model.journal), 0);
            break;
        case 1: {
            struct model_world before = model.world;
            assert_int_equal(model_close(&model), 0);
            model_open(&model);
            assert_memory_equal(&model.world, &before, sizeof(before));
            assert_false(model.recovery.torn);
            break;
        }
        case 2:
            model_kill(&model);
            model_reopen(&model);
            break;
        case 3:
            task_sleep(model.loop, random_below(&random, 5000000));
            break;
        case 4:
        case 5:
        case 6:
            assert_int_equal(journal_commit(model.journal), 0);
            assert_int_equal(journal_committed(model.journal), journal_position(model.journal));
            assert_int_equal(model.committed, journal_position(model.journal));
            break;
        default:
            change_at_random(&model, &random, random_below(&random, 20));
        }
    }
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

static void test_recovery_equals_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

static void test_clean_end_leaves_a_snapshot(void **state)
{
    (void)state;
    struct model model;
    model_create(&model, 1);
    model_open(&model);
    assert_int_equal(model.recovery.snapshot_records + model.recovery.log_records, 0);
    for (uint64_t i = 0; i < 10; i++)
        model_change(&model, i, false);
    assert_int_equal(model_close(&model), 0);
    model_open(&model);
    assert_int_equal(model.recovery.snapshot_records, 10);
    assert_int_equal(model.recovery.log_records, 0);
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

/* ---- commits ---- */

struct calls {
    uint32_t writes;
    uint32_t syncs;
    uint32_t others;
    size_t written;
};

static int count_call(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    struct calls *calls = owner;
    (void)name;
    (void)offset;
    if (strcmp(what, "write") == 0) {
        calls->writes++;
        calls->written += *length;
    } else if (strcmp(what, "sync") == 0) {
        calls->syncs++;
    } else {
        calls->others++;
    }
    return 0;
}

static void test_a_group_is_one_write_and_one_sync(void **state)
{
    (void)state;
    struct model model;
    struct calls calls = {0};
    model_create(&model, 1);
    model_open(&model);
    model.value_max = 10;
    disk_set_fault(model.disk, count_call, &calls);
    for (uint32_t i = 1; i <= 10; i++) {
        model_change(&model, 1, false);
        model_change(&model, MODEL_OBJECTS - 1, false);
        assert_int_equal(journal_commit(model.journal), 0);
        assert_int_equal(calls.writes, i);
        assert_int_equal(calls.syncs, i);
        assert_int_equal(calls.others, 0);
        assert_int_equal(calls.written, i * JOURNAL_BLOCK);
    }
    /* Nothing has changed: nothing is written. */
    assert_int_equal(journal_commit(model.journal), 0);
    assert_int_equal(calls.writes, 10);
    struct journal_statistics statistics;
    journal_statistics(model.journal, &statistics);
    assert_int_equal(statistics.groups, 10);
    assert_int_equal(statistics.records, 20);
    assert_int_equal(statistics.bytes, 10 * JOURNAL_BLOCK);
    assert_int_equal(statistics.log_bytes, 10 * JOURNAL_BLOCK);
    disk_set_fault(model.disk, NULL, NULL);
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

struct client {
    struct model *model;
    uint64_t object;
    uint32_t rounds;
    uint64_t pause; /* between two commits, ns */
    int status;
    struct wait_group *running;
};

static void client_run(void *argument)
{
    struct client *client = argument;
    for (uint32_t i = 0; i < client->rounds && client->status == 0; i++) {
        model_change(client->model, client->object, false);
        uint64_t position = journal_position(client->model->journal);
        client->status = journal_commit(client->model->journal);
        if (client->status == 0)
            assert_true(journal_committed(client->model->journal) >= position);
        if (client->pause > 0)
            task_sleep(client->model->loop,
                       client->pause + random_below(loop_random(client->model->loop), 1000));
    }
    wait_group_done(client->model->loop, client->running);
}

static void run_clients(struct model *model, struct client *clients, uint32_t count, uint32_t rounds,
                        uint64_t pause)
{
    struct wait_group running;
    wait_group_init(&running);
    wait_group_add(&running, count);
    for (uint32_t i = 0; i < count; i++) {
        clients[i] = (struct client){
            .model = model, .object = i, .rounds = rounds, .pause = pause, .running = &running};
        assert_int_equal(task_spawn(model->loop, client_run, &clients[i]), 0);
    }
    assert_int_equal(wait_group_wait(model->loop, &running, 0), 0);
}

static void test_commits_share_groups(void **state)
{
    (void)state;
    enum { CLIENTS = 30, ROUNDS = 50 };
    struct client clients[CLIENTS];
    struct model model;
    struct journal_statistics statistics;
    model_create(&model, 1);
    model.options.limit = 64 << 20;
    model_open(&model);
    run_clients(&model, clients, CLIENTS, ROUNDS, 0);
    for (uint32_t i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].status, 0);
    journal_statistics(model.journal, &statistics);
    assert_int_equal(statistics.records, CLIENTS * ROUNDS);
    assert_in_range(statistics.groups, ROUNDS, ROUNDS + 5);
    assert_true(statistics.waiters >= CLIENTS * ROUNDS - statistics.groups);

    /* Also when they take a while to come again. */
    uint64_t before = statistics.groups;
    run_clients(&model, clients, CLIENTS, ROUNDS, 20000);
    journal_statistics(model.journal, &statistics);
    assert_in_range(statistics.groups - before, ROUNDS, ROUNDS + ROUNDS / 2);

    /* When they take longer than a group, nobody waits for them: */
    before = loop_now(model.loop);
    run_clients(&model, clients, 2, ROUNDS, 5000000);
    assert_in_range((loop_now(model.loop) - before) / ROUNDS, 5000000, 5600000);
    model_kill(&model);
    model_reopen(&model);
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

static void test_interval(void **state)
{
    (void)state;
    struct model model;
    model_create(&model, 1);
    model.options.interval_ns = 10000000;
    model_open(&model);
    for (uint64_t object = 0; object < MODEL_OBJECTS; object += MODEL_OBJECTS / 2) {
        size_t cuts = model.cuts;
        task_sleep(model.loop, 50000000);
        assert_int_equal(model.cuts, cuts); /* no change, no group */
        model_change(&model, object, false);
        task_sleep(model.loop, 9000000);
        model_change(&model, object, false);
        assert_int_equal(model.cuts, cuts);
        task_sleep(model.loop, 2000000);
        assert_int_equal(model.cuts, cuts + 1);
        assert_int_equal(journal_committed(model.journal), journal_position(model.journal));
    }
    model_kill(&model);
    model_reopen(&model);
    model.options.interval_ns = 0;
    model_kill(&model);
    model_reopen(&model);
    model_change(&model, 1, false);
    task_sleep(model.loop, 10000000000);
    assert_int_equal(model.durable, 0); /* on demand only */
    model_kill(&model);
    model_destroy(&model);
}

static void test_groups_of_any_size(void **state)
{
    (void)state;
    struct model model;
    model_create(&model, 1);
    model.options.limit = 64 << 10;
    model_open(&model);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 10000; i++)
            model_change(&model, i % (MODEL_OBJECTS / 2), false);
        assert_int_equal(journal_commit(model.journal), 0);
        model_change(&model, 1, false);
        assert_int_equal(journal_commit(model.journal), 0);
        model_kill(&model);
        model_reopen(&model);
    }
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

/* Appending faster than the device writes takes no more memory than it may. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    enum { BUFFER = 1 << 20 };
    struct model model;
    size_t most = 0;
    model_create(&model, 1);
    model.options.buffer = BUFFER;
    model.options.limit = 1 << 30;
    model_open(&model);
    for (uint32_t i = 0; i < 20000; i++) {
        assert_int_equal(journal_throttle(model.journal), 0);
        model_change(&model, i % (MODEL_OBJECTS / 2), false);
        size_t held =
            journal_group_content(model.journal->open) + journal_group_content(model.journal->writing);
        if (held > most)
            most = held;
    }
    assert_in_range(most, BUFFER, BUFFER + 2 * MODEL_VALUE_MAX);
    assert_true(model.journal->groups[0].capacity + model.journal->groups[1].capacity <= 8 * BUFFER);
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

/* ---- snapshots and recycling ---- */

static int count_names(void *owner, const char *name, bool is_directory)
{
    uint32_t *count = owner;
    (void)is_directory;
    assert_null(strstr(name, ".tmp"));
    ++*count;
    return 0;
}

static uint32_t files(struct model *model)
{
    uint32_t count = 0;
    assert_int_equal(disk_list(model->disk, "", count_names, &count), 0);
    return count;
}

static void test_the_log_is_bounded(void **state)
{
    (void)state;
    enum { LIMIT = 256 << 10 };
    struct model model;
    struct journal_statistics statistics;
    model_create(&model, 1);
    model.options.limit = LIMIT;
    model_open(&model);
    for (uint32_t i = 0; i < 2000; i++) {
        model_change(&model, i * 7 % MODEL_OBJECTS, false);
        assert_int_equal(journal_commit(model.journal), 0);
        journal_statistics(model.journal, &statistics);
        assert_in_range(statistics.log_bytes, 0, 2 * LIMIT);
    }
    assert_true(statistics.snapshots > 10);
    task_sleep(model.loop, 1000000000);
    assert_int_equal(files(&model), 3); /* snapshot, log, and one prepared */
    model_kill(&model);
    model_reopen(&model);
    assert_in_range(model.recovery.bytes, 1, 4 * LIMIT);
    assert_int_equal(files(&model), 3);
    model_kill(&model);
    model_destroy(&model);
}

/* A recycled log is not written beyond its size, so it keeps its blocks. */
static void test_recycled_logs_do_not_grow(void **state)
{
    (void)state;
    struct model model;
    struct calls calls = {0};
    model_create(&model, 1);
    model.value_max = 10;
    model_open(&model);
    for (uint32_t i = 0; i < 40; i++) {
        model_change(&model, 1, false);
        assert_int_equal(journal_commit(model.journal), 0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(journal_snapshot_take(model.journal), 0);
        model_change(&model, 1, false);
        assert_int_equal(journal_commit(model.journal), 0);
    }
    assert_int_equal(model.journal->log.place.file, 3); /* which was 1 */
    disk_set_fault(model.disk, count_call, &calls);
    for (uint32_t i = 0; i < 39; i++) {
        model_change(&model, 1, false);
        assert_int_equal(journal_commit(model.journal), 0);
    }
    assert_int_equal(calls.written, 39 * JOURNAL_BLOCK);
    disk_set_fault(model.disk, NULL, NULL);
    model_kill(&model);
    model_reopen(&model);
    model_kill(&model);
    model_destroy(&model);
}

/* A log that grew far beyond its limit does not keep that for ever. */
static void test_recycled_logs_shrink(void **state)
{
    (void)state;
    enum { LIMIT = 64 << 10 };
    struct model model;
    model_create(&model, 1);
    model.options.limit = LIMIT;
    model_open(&model);
    for (uint32_t i = 0; i < 10000; i++)
        model_change(&model, i % (MODEL_OBJECTS / 2), false);
    assert_int_equal(journal_commit(model.journal), 0);
    assert_true(model.journal->log.size > 10 << 20);
    task_sleep(model.loop, 1000000000); /* for the snapshot that this makes due */
    assert_int_equal(model.journal->log.place.file, 2);
    assert_int_equal(model.journal->spare.place.file, 3);
    assert_in_range(model.journal->spare.size, LIMIT, 4 * LIMIT);
    model_kill(&model);
    model_reopen(&model);
    model_kill(&model);
    model_destroy(&model);
}

/* ---- failures ---- */

struct failure {
    uint32_t countdown; /* calls until the one that fails */
    int status;
    const char *only; /* of that kind */
    bool failed;
    size_t partial; /* a write writes so much */
};

static int fail_call(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    struct failure *failure = owner;
    (void)name;
    (void)offset;
    if (failure->failed || (failure->only != NULL && strcmp(what, failure->only) != 0))
        return 0;
    if (failure->countdown-- > 0)
        return 0;
    failure->failed = true;
    if (failure->partial > 0 && strcmp(what, "write") == 0) {
        if (*length > failure->partial)
            *length = failure->partial;
        return 0;
    }
    return failure->status;
}

/* Lines that the log has so far. */
static uint32_t lines(const char *path)
{
    uint32_t count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int byte; (byte = fgetc(file)) != EOF;)
        count += byte == '\n';
    fclose(file);
    return count;
}

static void check_sticky(const char *what, size_t partial)
{
    char path[] = "/tmp/journal_journal.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(log_open("journal_journal", path), 0);
    struct model model;
    struct failure failure = {.status = -EIO, .only = what, .partial = partial};
    struct calls calls = {0};
    model_create(&model, 1);
    model_open(&model);
    model_change(&model, 1, false);
    assert_int_equal(journal_commit(model.journal), 0);
    assert_int_equal(journal_status(model.journal), 0);
    uint64_t committed = journal_committed(model.journal);
    disk_set_fault(model.disk, fail_call, &failure);
    for (uint32_t i = 0; i < 4; i++) /* more than a block, so that a part of it is less */
        model_change(&model, i, false);
    assert_int_equal(journal_commit(model.journal), -EIO);
    assert_int_equal(journal_status(model.journal), -EIO);
    disk_set_fault(model.disk, count_call, &calls);
    for (uint32_t i = 0; i < 20000; i++)
        model_change(&model, i % 7, false);
    assert_int_equal(journal_commit(model.journal), -EIO);
    assert_int_equal(journal_throttle(model.journal), -EIO);
    assert_int_equal(journal_snapshot_take(model.journal), -EIO);
    assert_int_equal(journal_committed(model.journal), committed);
    assert_int_equal(calls.writes + calls.syncs, 0);
    assert_true(model.journal->groups[0].capacity + model.journal->groups[1].capacity <= 8 << 20);
    disk_set_fault(model.disk, NULL, NULL);
    assert_int_equal(model_close(&model), -EIO);
    assert_int_equal(lines(path), 1); /* which says all */
    assert_int_equal(log_open("journal_journal", "/dev/null"), 0);
    unlink(path);
    model_reopen(&model);
    model_kill(&model);
    model_destroy(&model);
}

static void test_failures_are_final(void **state)
{
    (void)state;
    check_sticky("write", 0);
    check_sticky("write", 512);
    check_sticky("write", 4096);
    check_sticky("sync", 0);
}

static void test_flush_that_fails(void **state)
{
    (void)state;
    enum { CLIENTS = 5 };
    struct client clients[CLIENTS];
    struct model model;
    model_create(&model, 1);
    model_open(&model);
    model.flush_status = -ENOSPC;
    run_clients(&model, clients, CLIENTS, 3, 0);
    for (uint32_t i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].status, -ENOSPC);
    assert_int_equal(journal_status(model.journal), -ENOSPC);
    model.flush_status = 0;
    assert_int_equal(model_close(&model), -ENOSPC);
    model_reopen(&model);
    model_kill(&model);
    model_destroy(&model);
}

/* One life, in which nobody minds errors. Returns whether the journal could be opened. */
static bool live(struct model *model, struct random *random)
{
    if (model_start(model) != 0)
        return false;
    for (uint32_t i = 0; i < 6; i++) {
        change_at_random(model, random, 10);
        journal_commit(model->journal);
        if (i % 2 == 1)
            journal_snapshot_take(model->journal);
    }
    return true;
}

/* Every call to the device fails in turn: nothing that was durable is lost, and nothing hangs. */
static void test_every_call_fails_in_turn(void **state)
{
    (void)state;
    const int statuses[] = {-EIO, -ENOSPC};
    for (uint32_t call = 0;; call++) {
        struct model model;
        struct random random;
        struct failure failure = {.countdown = call, .status = statuses[call % 2]};
        assert_true(call < 1000);
        random_seed(&random, call);
        model_create(&model, call);
        model_open(&model);
        change_at_random(&model, &random, 30);
        assert_int_equal(journal_commit(model.journal), 0);
        model_kill(&model);

        struct model_world before = model.history[model.durable];
        model_attach(&model);
        disk_set_fault(model.disk, fail_call, &failure);
        bool opened = live(&model, &random);
        disk_set_fault(model.disk, NULL, NULL);
        if (opened) {
            int status = journal_status(model.journal);
            assert_int_equal(journal_close(model.journal, false), status);
            if (status == 0)
                model_collect(&model);
        } else {
            assert_true(failure.failed);
        }
        disk_close(model.disk);

        if (opened) {
            model_reopen(&model);
        } else {
            model_open(&model);
            assert_memory_equal(&model.world, &before, sizeof(before));
        }
        model_kill(&model);
        model_destroy(&model);
        if (!failure.failed)
            break;
    }
}

/* ---- damage ---- */

static void corrupt(struct model *model, const char *name, uint64_t offset, size_t length)
{
    struct disk_file *file;
    uint8_t bytes[512];
    assert_true(length <= sizeof(bytes));
    model_attach(model);
    assert_int_equal(disk_file_open(model->disk, name, 0, &file), 0);
    assert_int_equal(disk_read(file, bytes, length, offset), length);
    for (size_t i = 0; i < length; i++)
        bytes[i] ^= 0x55;
    assert_int_equal(disk_write(file, bytes, length, offset), length);
    disk_file_close(file);
    disk_close(model->disk);
}

static void prepare_groups(struct model *model, uint32_t groups)
{
    model_create(model, 1);
    model->value_max = 100;
    model_open(model);
    for (uint32_t i = 0; i < groups; i++) {
        model_change(model, i, false);
        assert_int_equal(journal_commit(model->journal), 0);
    }
    model_kill(model);
}

/* Opening says so, twice, because nothing has been changed. */
static void check_refused(struct model *model, int expected)
{
    for (int i = 0; i < 2; i++) {
        model_attach(model);
        uint64_t points = disk_sim_points(model->device);
        assert_int_equal(model_start(model), expected);
        assert_int_equal(disk_sim_points(model->device), points);
        disk_close(model->disk);
    }
}

static void test_damage_in_the_middle_is_refused(void **state)
{
    (void)state;
    for (uint64_t offset = 0; offset < 64 + 40; offset += 4) {
        for (uint64_t group = 1; group < 5; group++) {
            struct model model;
            prepare_groups(&model, 5);
            corrupt(&model, "journal-1", group * JOURNAL_BLOCK + offset, 4);
            check_refused(&model, -EBADMSG);
            corrupt(&model, "journal-1", group * JOURNAL_BLOCK + offset, 4);
            model_open(&model);
            assert_int_equal(model.recovery.log_records, 5);
            model_kill(&model);
            model_destroy(&model);
        }
    }
}

static void test_torn_end_is_cut_off(void **state)
{
    (void)state;
    for (uint64_t offset = 0; offset < 64 + 40; offset += 4) {
        struct model model;
        prepare_groups(&model, 5);
        struct model_world before = model.history[4];
        corrupt(&model, "journal-1", 5 * JOURNAL_BLOCK + offset, 4);
        model_open(&model);
        assert_memory_equal(&model.world, &before, sizeof(before));
        assert_int_equal(model.recovery.groups, 4);
        if (offset >= 64)
            assert_true(model.recovery.torn);
        /* The log goes on in its place. */
        model_change(&model, 9, false);
        assert_int_equal(journal_commit(model.journal), 0);
        before = model.world;
        model_kill(&model);
        model_open(&model);
        assert_false(model.recovery.torn);
        assert_memory_equal(&model.world, &before, sizeof(before));
        model_kill(&model);
        model_destroy(&model);
    }
}

static void test_missing_files_are_refused(void **state)
{
    (void)state;
    struct model model;
    /* A snapshot whose log is missing. */
    prepare_groups(&model, 5);
    model_open(&model);
    assert_int_equal(journal_snapshot_take(model.journal), 0);
    model_kill(&model);
    model_attach(&model);
    assert_int_equal(disk_rename(model.disk, "journal-2", "hidden"), 0);
    disk_close(model.disk);
    check_refused(&model, -EBADMSG);
    model_attach(&model);
    assert_int_equal(disk_rename(model.disk, "hidden", "journal-2"), 0);
    /* A log whose snapshot is missing. */
    assert_int_equal(disk_rename(model.disk, "snapshot-2", "hidden"), 0);
    disk_close(model.disk);
    check_refused(&model, -EBADMSG);
    model_destroy(&model);
}

static void test_damaged_snapshots_are_refused(void **state)
{
    (void)state;
    for (uint64_t block = 0; block < 3; block++) { /* header, records, end mark */
        struct model model;
        prepare_groups(&model, 5);
        model_open(&model);
        assert_int_equal(journal_snapshot_take(model.journal), 0);
        model_change(&model, 1, false);
        assert_int_equal(journal_commit(model.journal), 0);
        model_kill(&model);
        corrupt(&model, "snapshot-2", block * JOURNAL_BLOCK + 32, 4);
        check_refused(&model, -EBADMSG);
        model_destroy(&model);
    }
}

static void test_other_versions_are_refused(void **state)
{
    (void)state;
    struct model model;
    prepare_groups(&model, 1);
    corrupt(&model, "journal-1", offsetof(struct journal_file_header, version), 1);
    check_refused(&model, -EPROTONOSUPPORT);
    model_destroy(&model);
}

static void test_records_that_the_source_refuses(void **state)
{
    (void)state;
    struct model model;
    prepare_groups(&model, 3);
    model.replay_refuses = true;
    check_refused(&model, -EBADMSG);
    model.replay_refuses = false;
    model_open(&model);
    model_kill(&model);
    model_destroy(&model);
}

struct choice {
    struct random *random;
    uint32_t seen;
    char name[JOURNAL_NAME_MAX];
};

static int choose_name(void *owner, const char *name, bool is_directory)
{
    struct choice *choice = owner;
    (void)is_directory;
    if (random_below(choice->random, ++choice->seen) == 0)
        strcpy(choice->name, name);
    return 0;
}

/* A random sector of a random file is changed. It is refused, or it was of no importance, or the last group
 * is gone: never is the world another than it once was. */
static void damage_at_random(uint64_t seed, uint32_t *refused, uint32_t *accepted)
{
    struct model model;
    struct random random;
    uint64_t size;
    struct disk_file *file;
    random_seed(&random, seed);
    model_create(&model, seed);
    model.options.limit = 32 << 10;
    model.value_max = 500;
    model_open(&model);
    for (uint64_t groups = 1 + random_below(&random, 30); groups > 0; groups--) {
        change_at_random(&model, &random, 1 + random_below(&random, 10));
        assert_int_equal(journal_commit(model.journal), 0);
    }
    model_kill(&model);

    struct choice choice = {.random = &random};
    model_attach(&model);
    assert_int_equal(disk_list(model.disk, "", choose_name, &choice), 0);
    assert_int_equal(disk_file_open(model.disk, choice.name, 0, &file), 0);
    assert_int_equal(disk_file_size(file, &size), 0);
    disk_file_close(file);
    disk_close(model.disk);
    if (size >= 512) /* what was just being made may be empty */
        corrupt(&model, choice.name, random_below(&random, size / 512) * 512, 512);

    struct model_world *history = model.history;
    size_t durable = model.durable, cuts = model.cuts;
    model.history = NULL;
    model_attach(&model);
    int status = model_start(&model);
    if (status == 0) {
        assert_true(model_is_past(&model, history, durable - 1, cuts));
        model_kill(&model);
    } else {
        assert_true(status == -EBADMSG || status == -EPROTONOSUPPORT);
        disk_close(model.disk);
    }
    *refused += status != 0;
    *accepted += status == 0;
    free(history);
    model_destroy(&model);
}

static void test_damage_at_random(void **state)
{
    (void)state;
    uint32_t refused = 0, accepted = 0;
    for (uint64_t seed = 1; seed <= 400; seed++)
        damage_at_random(seed, &refused, &accepted);
    assert_true(refused > 40 && accepted > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recovery_equals_the_model),
        cmocka_unit_test(test_clean_end_leaves_a_snapshot),
        cmocka_unit_test(test_a_group_is_one_write_and_one_sync),
        cmocka_unit_test(test_commits_share_groups),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_groups_of_any_size),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_the_log_is_bounded),
        cmocka_unit_test(test_recycled_logs_do_not_grow),
        cmocka_unit_test(test_recycled_logs_shrink),
        cmocka_unit_test(test_failures_are_final),
        cmocka_unit_test(test_flush_that_fails),
        cmocka_unit_test(test_every_call_fails_in_turn),
        cmocka_unit_test(test_damage_in_the_middle_is_refused),
        cmocka_unit_test(test_torn_end_is_cut_off),
        cmocka_unit_test(test_missing_files_are_refused),
        cmocka_unit_test(test_damaged_snapshots_are_refused),
        cmocka_unit_test(test_damage_at_random),
        cmocka_unit_test(test_other_versions_are_refused),
        cmocka_unit_test(test_records_that_the_source_refuses),
    };
    log_open("journal_journal", "/dev/null"); /* every failure says so */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
