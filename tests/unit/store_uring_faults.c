/* The uring engine when things go wrong or crowd: every call of the disk failing in turn, the power failing
 * at every point, writers of the same blocks at once, too little memory for all, snapshots under change,
 * tasks that are cancelled. All on simulated devices. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_mirror.h"

#include "runtime/sync.h"
#include "runtime/task.h"
#include "store/uring_segments.h"

static const struct store_options conformance_options = {
    .engine = "uring", .capacity = CONFORMANCE_CAPACITY, .checksum = true};

/* ---- failing calls ---- */

struct fault {
    bool armed;
    bool hit;
    bool torn; /* a write does half of its work */
    uint64_t count;
    uint64_t at;
};

static int fail_once(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    struct fault *fault = owner;
    (void)name;
    (void)offset;
    if (!fault->armed || fault->count++ != fault->at)
        return 0;
    fault->hit = true;
    if (fault->torn && strcmp(what, "write") == 0) {
        *length /= 2;
        return 0;
    }
    return -EIO;
}

static void expect_eio(int status, bool *failed)
{
    if (status != 0)
        assert_int_equal(status, -EIO);
    *failed |= status != 0;
}

/* Changes, commits, a snapshot and reads; one of the calls that they make fails. What fails changes nothing,
 * and all else goes on. */
static bool scenario(struct mirror *mirror)
{
    bool failed = false;
    for (uint32_t i = 0; i < 40; i++) {
        expect_eio(mirror_step(mirror), &failed);
        if (i % 8 == 7)
            expect_eio(conformance_commit(), &failed);
        if (i == 20)
            expect_eio(journal_snapshot_take(conformance.journal), &failed);
        if (i % 10 == 9)
            expect_eio(mirror_check(mirror), &failed);
        uint64_t held = mirror->store->operations->held(mirror->store, MIRROR_INODE);
        assert_int_equal(conformance_used(mirror->store), held);
    }
    return failed;
}

static void scenario_with_fault(struct fault *fault, uint64_t seed)
{
    static struct mirror mirror;
    conformance.options = conformance_options;
    conformance.options.capacity = 400u << 10;
    conformance.fault = fail_once;
    conformance.fault_owner = fault;
    conformance_medium_make();
    fault->armed = true;
    int status = conformance_mount();
    if (status != 0) {
        assert_int_equal(status, -EIO);
        assert_true(fault->hit);
        assert_int_equal(conformance_mount(), 0);
    }
    mirror_init(&mirror, conformance.store, seed);
    bool failed = scenario(&mirror);
    fault->armed = false;
    assert_true(!failed || fault->hit);
    if (journal_status(conformance.journal) == 0) {
        assert_int_equal(mirror_check(&mirror), 0);
        assert_int_equal(conformance_commit(), 0);
        mirror.store = conformance_crash(NULL);
        assert_int_equal(mirror_check(&mirror), 0);
    } else {
        /* The journal stays failed, so nothing new is taken; what it has is sound. */
        assert_true(fault->hit);
        assert_int_not_equal(conformance_write(mirror.store, 9, 0, 0, 1, 1), 0);
        mirror.store = conformance_crash(NULL);
        mirror_read(&mirror);
    }
    assert_int_equal(conformance_write(mirror.store, 1, 0, 0, 1, 1), 0);
    assert_int_equal(mirror.store->operations->remove(mirror.store, MIRROR_INODE, 0), 0);
    assert_int_equal(mirror.store->operations->remove(mirror.store, 1, 0), 0);
    assert_int_equal(conformance_used(mirror.store), 0);
    conformance_close(mirror.store);
    conformance.fault = NULL;
}

static void every_call_fails(void **state)
{
    (void)state;
    for (int torn = 0; torn < 2; torn++) {
        uint64_t at = 0;
        for (bool hit = true; hit; at++) {
            struct fault fault = {.torn = torn != 0, .at = at};
            scenario_with_fault(&fault, 7);
            hit = fault.hit;
            assert_true(at < 5000);
        }
        assert_true(at > 100);
    }
}

/* ---- power ---- */

#define HISTORY 160

struct workload {
    struct mirror mirror;
    uint64_t history[HISTORY]; /* hashes of what the file was after each step */
    uint32_t steps;
    uint32_t committed; /* steps that are durable for sure */
    uint32_t most;
    bool ended;
    bool beside; /* another task commits, all the time */
    bool committer_ended;
};

static void workload_run(void *argument)
{
    struct workload *workload = argument;
    workload->history[0] = mirror_hash(&workload->mirror);
    while (workload->steps < workload->most) {
        if (mirror_step(&workload->mirror) != 0)
            break;
        workload->history[++workload->steps] = mirror_hash(&workload->mirror);
        if (!workload->beside && workload->steps % 6 == 0) {
            if (conformance_commit() != 0)
                break;
            workload->committed = workload->steps;
        }
        if (!workload->beside && workload->steps % 25 == 0 && journal_snapshot_take(conformance.journal) != 0)
            break;
    }
    workload->ended = true;
}

static void commit_beside(void *argument)
{
    struct workload *workload = argument;
    while (!workload->ended) {
        uint32_t steps = workload->steps;
        if (conformance_commit() != 0)
            break;
        workload->committed = steps;
        if (task_sleep(conformance.loop, 3000) != 0)
            break;
    }
    workload->committer_ended = true;
}

static void loop_until(const bool *end)
{
    for (uint32_t turns = 0; !*end && loop_poll(conformance.loop) > 0; turns++)
        assert_true(turns < 1000000);
}

static void loop_until_still(void)
{
    static const bool never;
    loop_until(&never);
}

/* Runs the workload until the power fails at that point; what is there then is what some step left, and no
 * step before the last one that was committed. */
static bool power_fails_at(uint64_t point, uint64_t seed, bool beside)
{
    static struct workload workload;
    bool stopped = false;
    struct random random;
    random_seed(&random, point);
    conformance.options = conformance_options;
    conformance.options.capacity = 400u << 10;
    conformance_medium_make();
    assert_int_equal(conformance_mount(), 0);
    memset(&workload, 0, sizeof(workload));
    mirror_init(&workload.mirror, conformance.store, seed);
    workload.beside = beside;
    workload.most = beside ? HISTORY - 1 : 60;
    disk_sim_stop_at(conformance.device, disk_sim_points(conformance.device) + point, &stopped);
    assert_int_equal(task_spawn(conformance.loop, workload_run, &workload), 0);
    if (beside)
        assert_int_equal(task_spawn(conformance.loop, commit_beside, &workload), 0);
    loop_until(&stopped);
    assert_true(stopped || workload.ended);
    bool reached = stopped;
    if (!reached) {
        disk_sim_stop_at(conformance.device, UINT64_MAX, &stopped);
    } else {
        disk_sim_kill(conformance.disk);
        loop_until_still();
        assert_true(workload.ended);
    }
    assert_true(!beside || workload.committer_ended);
    conformance_unmount(true);
    disk_sim_power_loss(conformance.device, &random);
    assert_int_equal(conformance_mount(), 0);
    workload.mirror.store = conformance.store;
    mirror_read(&workload.mirror);
    uint64_t found = mirror_hash(&workload.mirror);
    uint32_t step = workload.committed;
    while (step <= workload.steps && workload.history[step] != found)
        step++;
    if (step > workload.steps)
        fail_msg("point %lu: neither the state of step %u nor a later one", (unsigned long)point,
                 workload.committed);
    /* And it goes on from there. */
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(mirror_step(&workload.mirror), 0);
    assert_int_equal(mirror_check(&workload.mirror), 0);
    conformance_close(conformance.store);
    return reached;
}

static void power_fails_everywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        uint64_t point = 0;
        while (power_fails_at(point, seed, false))
            point++;
        assert_true(point > 60);
    }
}

/* Steps go on while groups are written, and blocks are used again as soon as they may be. */
static void power_fails_beside_commits(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint64_t point = seed;
        while (power_fails_at(point, seed, true))
            point += 5;
        assert_true(point > 100);
    }
}

/* ---- crowds ---- */

#define PIECE 47008u
#define PIECES 90u
#define CROWD 30u

struct crowd {
    struct store *store;
    struct random random;
    struct wait_group left;
    uint32_t next;
    bool reading;
};

static uint8_t crowd_byte(uint64_t at)
{
    return (uint8_t)(1 + (at / PIECE * 7 + at / 997) % 255);
}

/* Writes one piece, which lies across the ends of chunks. */
static void crowd_write(struct crowd *crowd, uint32_t piece)
{
    static uint8_t bytes[PIECES][PIECE];
    uint64_t at = (uint64_t)piece * PIECE, end = at + PIECE;
    for (uint32_t i = 0; i < PIECE; i++)
        bytes[piece][i] = crowd_byte(at + i);
    while (at < end) {
        uint64_t index = at / CONFORMANCE_CHUNK;
        uint32_t offset = (uint32_t)(at % CONFORMANCE_CHUNK);
        uint32_t length =
            CONFORMANCE_CHUNK - offset < end - at ? CONFORMANCE_CHUNK - offset : (uint32_t)(end - at);
        struct store_io io = conformance_io(1, index, offset, length);
        assert_int_equal(crowd->store->operations->write_begin(crowd->store, &io, CONFORMANCE_CHUNK), 0);
        conformance_land(&io, bytes[piece] + (at - (uint64_t)piece * PIECE));
        assert_int_equal(task_sleep(conformance.loop, random_below(&crowd->random, 30000)), 0);
        assert_int_equal(crowd->store->operations->write_commit(crowd->store, &io), 0);
        at += length;
    }
}

static void crowd_writer(void *argument)
{
    struct crowd *crowd = argument;
    while (crowd->next < PIECES) {
        /* Neighbours at the same time. */
        uint32_t piece = crowd->next++;
        crowd_write(crowd, piece);
    }
    wait_group_done(conformance.loop, &crowd->left);
}

/* Sees of each byte what was written, or nothing yet. */
static void crowd_read(struct crowd *crowd, uint64_t index, bool complete)
{
    static uint8_t bytes[CONFORMANCE_CHUNK];
    struct store_io io = conformance_io(1, index, 0, CONFORMANCE_CHUNK);
    assert_int_equal(crowd->store->operations->read_begin(crowd->store, &io), 0);
    conformance_gather(&io, bytes);
    for (uint32_t i = 0; i < io.length; i++) {
        uint64_t at = index * CONFORMANCE_CHUNK + i;
        uint8_t expected = at < (uint64_t)PIECES * PIECE ? crowd_byte(at) : 0;
        if (bytes[i] != expected && (complete || bytes[i] != 0))
            fail_msg("byte %lu is %u, not %u", (unsigned long)at, bytes[i], expected);
    }
    crowd->store->operations->read_end(crowd->store, &io);
}

static void crowd_reader(void *argument)
{
    struct crowd *crowd = argument;
    while (crowd->reading) {
        crowd_read(crowd, random_below(&crowd->random, PIECES * PIECE / CONFORMANCE_CHUNK), false);
        assert_int_equal(task_sleep(conformance.loop, 5000), 0);
    }
    wait_group_done(conformance.loop, &crowd->left);
}

/* Somebody overwrites other chunks all the while, so that blocks change hands; and snapshots are taken. */
static void crowd_disturber(void *argument)
{
    struct crowd *crowd = argument;
    for (uint32_t round = 0; crowd->reading; round++) {
        uint64_t index = random_below(&crowd->random, 8);
        assert_int_equal(conformance_write(crowd->store, 2, index, 0, CONFORMANCE_CHUNK, (uint8_t)round), 0);
        if (round % 16 == 15)
            assert_int_equal(journal_snapshot_take(conformance.journal), 0);
        else if (round % 4 == 3)
            assert_int_equal(conformance_commit(), 0);
    }
    wait_group_done(conformance.loop, &crowd->left);
}

static void stop_reading(void *argument)
{
    struct crowd *crowd = argument;
    while (crowd->next < PIECES)
        assert_int_equal(task_sleep(conformance.loop, 100000), 0);
    crowd->reading = false;
    wait_group_done(conformance.loop, &crowd->left);
}

static void crowded(void **state)
{
    (void)state;
    static struct crowd crowd;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct store_options options = conformance_options;
        options.capacity = 6u << 20;
        options.buffer = seed % 2 == 0 ? 1 : 0; /* as little as there can be: most wait for memory */
        crowd = (struct crowd){.store = conformance_open_with(&options), .reading = true};
        random_seed(&crowd.random, seed);
        wait_group_init(&crowd.left);
        wait_group_add(&crowd.left, CROWD + 5);
        for (uint32_t i = 0; i < CROWD; i++)
            assert_int_equal(task_spawn(conformance.loop, crowd_writer, &crowd), 0);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(task_spawn(conformance.loop, crowd_reader, &crowd), 0);
        assert_int_equal(task_spawn(conformance.loop, crowd_disturber, &crowd), 0);
        assert_int_equal(task_spawn(conformance.loop, stop_reading, &crowd), 0);
        assert_int_equal(wait_group_wait(conformance.loop, &crowd.left, 0), 0);
        uint64_t chunks = ((uint64_t)PIECES * PIECE + CONFORMANCE_CHUNK - 1) / CONFORMANCE_CHUNK;
        for (uint64_t i = 0; i < chunks; i++)
            crowd_read(&crowd, i, true);
        assert_int_equal(conformance_commit(), 0);
        crowd.store = conformance_crash(&crowd.random);
        for (uint64_t i = 0; i < chunks; i++)
            crowd_read(&crowd, i, true);
        conformance_close(crowd.store);
    }
}

/* ---- changes within a commit ---- */

struct written {
    struct store_io io;
    int status;
    bool ended;
};

static void commit_written(void *argument)
{
    struct written *written = argument;
    written->status = conformance.store->operations->write_commit(conformance.store, &written->io);
    written->ended = true;
}

static void write_neighbour(void *argument)
{
    (void)argument;
    assert_int_equal(conformance_write(conformance.store, 1, 0, 4096, 100, 3), 0);
}

enum { CLEAR, CUT, REMOVE, WRITE, CHANGES };

static void change(int kind)
{
    const struct store_operations *call = conformance.store->operations;
    if (kind == CLEAR) {
        conformance_clear(conformance.store, 1, 4096, 4196);
        conformance_clear(conformance.store, 1, 9500, 9600);
    } else if (kind == CUT) {
        assert_int_equal(call->truncate(conformance.store, 1, 0, 9500), 0);
    } else if (kind == REMOVE) {
        assert_int_equal(call->remove(conformance.store, 1, 0), 0);
    } else {
        assert_int_equal(task_spawn(conformance.loop, write_neighbour, NULL), 0);
    }
}

/* A write of bytes [5000, 9000) of 1s is being committed, and after some turns of the loop something else
 * happens to the same blocks. False: it was over by then. */
static bool interleave(int kind, uint32_t turns)
{
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 20000, 1), 0);
    struct written written = {.io = conformance_io(1, 0, 5000, 4000)};
    assert_int_equal(store->operations->write_begin(store, &written.io, CONFORMANCE_CHUNK), 0);
    memset(written.io.vector[0].iov_base, 2, 4000);
    assert_int_equal(task_spawn(conformance.loop, commit_written, &written), 0);
    for (uint32_t i = 0; i < turns && !written.ended; i++)
        loop_poll(conformance.loop);
    bool within = !written.ended;
    change(kind);
    loop_until_still();
    assert_true(written.ended);
    assert_int_equal(written.status, kind == REMOVE && within ? -ESTALE : 0);
    if (kind == CUT)
        assert_int_equal(conformance_write(store, 1, 0, 30000, 1, 1), 0);
    for (int reopened = 0; kind != REMOVE && reopened < 2; reopened++) {
        assert_int_equal(conformance_read(store, 1, 0, 0, 4096, 1), 4096);
        assert_int_equal(conformance_read(store, 1, 0, 4096, 100,
                                          kind == CLEAR   ? 0
                                          : kind == WRITE ? 3
                                                          : 1),
                         100);
        assert_int_equal(conformance_read(store, 1, 0, 4196, 804, 1), 804);
        assert_int_equal(conformance_read(store, 1, 0, 5000, 4000, 2), 4000);
        assert_int_equal(conformance_read(store, 1, 0, 9000, 500, 1), 500);
        assert_int_equal(conformance_read(store, 1, 0, 9500, 100, kind == CLEAR || kind == CUT ? 0 : 1), 100);
        assert_int_equal(conformance_read(store, 1, 0, 9600, 400, kind == CUT ? 0 : 1), 400);
        store = conformance_reopen();
    }
    if (kind == REMOVE)
        assert_int_equal(conformance_used(store), 0);
    conformance_close(store);
    return within;
}

static void changed_within_a_commit(void **state)
{
    (void)state;
    for (int kind = 0; kind < CHANGES; kind++) {
        uint32_t turns = 0;
        while (interleave(kind, turns))
            turns++;
        assert_true(turns >= 2);
    }
}

/* ---- reads that take long ---- */

struct taker {
    struct uring_segments *segments;
    bool ended;
};

static void take_one(void *argument)
{
    struct taker *taker = argument;
    struct uring_run run;
    assert_int_equal(uring_segments_take(taker->segments, 1, &run), 0);
    assert_int_equal(run.first, 17);
    taker->ended = true;
}

/* A block that was retired is not handed out before its record is durable, nor before a read ends that began
 * earlier; a read that began later holds nothing up. */
static void retired_block_waits_for_reads(void **state)
{
    (void)state;
    conformance_open();
    struct uring_segments *segments = NULL;
    assert_int_equal(uring_segments_open(conformance.loop, conformance.disk, 64, 64, &segments), 0);
    uring_segments_start(segments, conformance.journal);
    struct uring_run run;
    assert_int_equal(uring_segments_take(segments, 64, &run), 0);
    assert_int_equal(run.count, 64);
    assert_int_equal(uring_segments_take(segments, 1, &run), -ENOSPC);

    struct uring_reading before, after;
    struct taker taker = {.segments = segments};
    uring_segments_read_begin(segments, &before);
    assert_int_equal(uring_segments_retire_prepare(segments, 1), 0);
    uring_segments_retire(segments, 17);
    assert_int_equal(task_spawn(conformance.loop, take_one, &taker), 0);
    loop_until_still();
    assert_false(taker.ended);
    uring_segments_read_begin(segments, &after);
    loop_until_still();
    assert_false(taker.ended);
    uring_segments_read_end(segments, &before);
    loop_until_still();
    assert_true(taker.ended);
    uring_segments_read_end(segments, &after);
    assert_int_equal(uring_segments_take(segments, 1, &run), -ENOSPC);
    uring_segments_close(segments);
    conformance_close(conformance.store);
}

/* ---- cancelling ---- */

struct cancelled {
    struct store *store;
    struct task *task;
    uint32_t number;
    bool ended;
};

static void cancelled_run(void *argument)
{
    struct cancelled *cancelled = argument;
    struct store *store = cancelled->store;
    struct store_io io = conformance_io(1, cancelled->number % 3, 100 * cancelled->number, 30001);
    int status = store->operations->write_begin(store, &io, CONFORMANCE_CHUNK);
    if (status == 0) {
        for (uint32_t i = 0; i < io.count; i++)
            memset(io.vector[i].iov_base, 7, io.vector[i].iov_len);
        status = store->operations->write_commit(store, &io);
    }
    if (status == 0) {
        io = conformance_io(1, cancelled->number % 3, 0, CONFORMANCE_CHUNK);
        status = store->operations->read_begin(store, &io);
        if (status == 0)
            store->operations->read_end(store, &io);
    }
    assert_true(status == 0 || status == -ECANCELED);
    cancelled->ended = true;
}

/* Whatever a task waits for when it is cancelled, it gives back what it had. */
static void tasks_cancelled(void **state)
{
    (void)state;
    struct cancelled tasks[12];
    struct random random;
    random_seed(&random, 5);
    struct store_options options = conformance_options;
    options.buffer = 1;
    struct store *store = conformance_open_with(&options);
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 12; i++) {
            tasks[i] = (struct cancelled){.store = store, .number = i};
            assert_int_equal(task_spawn_later(conformance.loop, cancelled_run, &tasks[i], &tasks[i].task), 0);
        }
        for (uint32_t turn = 0; turn < 60; turn++) {
            struct cancelled *victim = &tasks[random_below(&random, 12)];
            if (turn < 30 && !victim->ended && random_below(&random, 3) == 0)
                task_cancel(victim->task);
            loop_poll(conformance.loop);
        }
        loop_until_still();
        for (uint32_t i = 0; i < 12; i++)
            assert_true(tasks[i].ended);
    }
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(conformance_write(store, 1, i, 0, CONFORMANCE_CHUNK, 7), 0);
    assert_int_equal(store->operations->remove(store, 1, 0), 0);
    assert_int_equal(conformance_used(store), 0);
    conformance_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_fails),
        cmocka_unit_test(power_fails_everywhere),
        cmocka_unit_test(power_fails_beside_commits),
        cmocka_unit_test(crowded),
        cmocka_unit_test(changed_within_a_commit),
        cmocka_unit_test(retired_block_waits_for_reads),
        cmocka_unit_test(tasks_cancelled),
    };
    return cmocka_run_group_tests(tests, conformance_simulated, NULL);
}
