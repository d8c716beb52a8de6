/* The power fails at every point of a small workload in turn, with snapshots and recycled logs: afterwards
 * the world is as it was at some group, and at none before the last that was told to be durable. */
#include "unit/journal_model.h"

#include "base/log.h"

enum { CLIENTS = 3, ROUNDS = 5, LIVES = 3, SEEDS = 3, LOSSES = 2, POINTS_MAX = 5000 };

struct workload {
    struct model *model;
    struct random random;
    struct wait_group running;
    bool done;
};

static void client_run(void *argument)
{
    struct workload *workload = argument;
    struct model *model = workload->model;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        for (uint64_t count = random_below(&workload->random, 6); count > 0; count--)
            model_change(model, random_below(&workload->random, MODEL_OBJECTS),
                         random_below(&workload->random, 4) == 0);
        if (random_below(&workload->random, 4) == 0)
            task_sleep(model->loop, random_below(&workload->random, 1000000));
        else
            journal_commit(model->journal);
    }
    wait_group_done(model->loop, &workload->running);
}

static void kill_run(void *argument)
{
    struct workload *workload = argument;
    task_sleep(workload->model->loop, random_below(&workload->random, 4000000));
    disk_sim_kill(workload->model->disk);
    wait_group_done(workload->model->loop, &workload->running);
}

/* A few lives. Those before the last end by themselves or by a kill, so that recovery is a part of it. */
static void workload_run(void *argument)
{
    struct workload *workload = argument;
    struct model *model = workload->model;
    for (uint32_t life = 0; life < LIVES; life++) {
        if (life > 0)
            model_attach(model);
        if (model_start(model) != 0)
            break;
        wait_group_init(&workload->running);
        wait_group_add(&workload->running, CLIENTS);
        bool killed = life + 1 < LIVES && random_below(&workload->random, 4) > 0;
        if (killed) {
            wait_group_add(&workload->running, 1);
            assert_int_equal(task_spawn(model->loop, kill_run, workload), 0);
        }
        for (uint32_t i = 0; i < CLIENTS; i++)
            assert_int_equal(task_spawn(model->loop, client_run, workload), 0);
        journal_snapshot_take(model->journal);
        wait_group_wait(model->loop, &workload->running, 0);
        if (life + 1 == LIVES || (!killed && journal_status(model->journal) != 0))
            break;
        journal_close(model->journal, random_below(&workload->random, 2) == 0);
        model->journal = NULL;
        disk_close(model->disk);
    }
    workload->done = true;
}

/* Runs it, up to a point. Returns the points of a whole run. */
static uint64_t run_until(struct model *model, uint64_t seed, uint64_t point)
{
    struct workload workload = {.model = model};
    bool stopped = false;
    random_seed(&workload.random, seed);
    model_create(model, seed);
    model->options.limit = 64 << 10;
    model->value_max = 1000;
    model_attach(model);
    model_remember(model);
    disk_sim_stop_at(model->device, point, &stopped);
    assert_int_equal(task_spawn(model->loop, workload_run, &workload), 0);
    for (uint32_t turn = 0; !workload.done; turn++) {
        assert_true(turn < 1000000);
        loop_poll(model->loop);
        if (stopped) {
            disk_sim_kill(model->disk);
            stopped = false;
        }
    }
    if (model->journal != NULL) {
        disk_sim_kill(model->disk);
        journal_close(model->journal, true);
    }
    disk_close(model->disk);
    disk_sim_stop_at(model->device, UINT64_MAX, NULL);
    return disk_sim_points(model->device);
}

static void check_point(uint64_t seed, uint64_t point, uint64_t loss)
{
    struct model model;
    struct random random;
    random_seed(&random, loss);
    run_until(&model, seed, point);
    disk_sim_power_loss(model.device, &random);
    model_reopen(&model);

    /* And the journal works. */
    model_change(&model, 1, false);
    model_change(&model, MODEL_OBJECTS - 1, false);
    assert_int_equal(journal_commit(model.journal), 0);
    model_kill(&model);
    disk_sim_power_loss(model.device, &random);
    model_reopen(&model);
    assert_int_equal(model_close(&model), 0);
    disk_sim_power_loss(model.device, &random);
    model_reopen(&model);
    model_kill(&model);
    model_destroy(&model);
}

static void test_power_loss_at_every_point(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct model whole;
        uint64_t points = run_until(&whole, seed, UINT64_MAX);
        model_destroy(&whole);
        assert_in_range(points, 50, POINTS_MAX);
        for (uint64_t point = 0; point <= points; point++) {
            for (uint64_t loss = 0; loss < LOSSES; loss++)
                check_point(seed, point, loss);
        }
        print_message("# seed %u: %u points\n", (unsigned)seed, (unsigned)points);
    }
}

static int fail_names(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    uint32_t *countdown = owner;
    (void)name;
    (void)offset;
    (void)length;
    return strcmp(what, "names") == 0 && (*countdown)-- == 0 ? -EIO : 0;
}

/* A snapshot has its name, but that is not durable when the server dies. The next one finds it and removes
 * what lies before it: then the name must last. */
static void test_names_last_before_files_go(void **state)
{
    (void)state;
    for (uint64_t loss = 0; loss < 64; loss++) {
        struct model model;
        struct random random;
        uint32_t countdown = 1; /* the first is that of the new log */
        random_seed(&random, loss);
        model_create(&model, loss);
        model_open(&model);
        for (uint64_t object = 0; object < MODEL_OBJECTS; object++)
            model_change(&model, object, false);
        assert_int_equal(journal_commit(model.journal), 0);
        disk_set_fault(model.disk, fail_names, &countdown);
        assert_int_equal(journal_snapshot_take(model.journal), -EIO);
        assert_int_equal(journal_status(model.journal), 0);
        model_kill(&model);
        model_reopen(&model);
        assert_int_equal(model.recovery.snapshot_records, MODEL_OBJECTS);
        model_kill(&model);
        disk_sim_power_loss(model.device, &random);
        model_reopen(&model);
        model_kill(&model);
        model_destroy(&model);
    }
}

static int fail_sync(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    (void)owner;
    (void)name;
    (void)offset;
    (void)length;
    return strcmp(what, "sync") == 0 ? -EIO : 0;
}

/* A group was written and not synchronised when the server died. The next one finds it whole: then it lasts.
 */
static void test_what_recovery_found_lasts(void **state)
{
    (void)state;
    for (uint64_t loss = 0; loss < 64; loss++) {
        struct model model;
        struct random random;
        random_seed(&random, loss);
        model_create(&model, loss);
        model_open(&model);
        model_change(&model, 1, false);
        assert_int_equal(journal_commit(model.journal), 0);
        disk_set_fault(model.disk, fail_sync, NULL);
        model_change(&model, 2, false);
        struct model_world expected = model.world;
        assert_int_equal(journal_commit(model.journal), -EIO);
        model_kill(&model);
        model_reopen(&model);
        assert_memory_equal(&model.world, &expected, sizeof(expected));
        model_kill(&model);
        disk_sim_power_loss(model.device, &random);
        model_reopen(&model);
        model_kill(&model);
        model_destroy(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_loss_at_every_point),
        cmocka_unit_test(test_names_last_before_files_go),
        cmocka_unit_test(test_what_recovery_found_lasts),
    };
    log_open("journal_power", "/dev/null"); /* every failure says so */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
