/* The journal on a device that is full: what makes room is recorded as long as the reserve lasts, then
 * commits say so, and nothing is lost when there is room again. */
#include "unit/journal_model.h"

#include "base/clock.h"
#include "base/log.h"

enum { CAPACITY = 4 << 20, SEEDS = 60, PIECE = 64 << 10, BATCH = 4, COMMITS = 10 };

static uint8_t piece[PIECE];

/* A file of somebody else's that takes all room there is. */
static void fill(struct model *model)
{
    struct disk_file *hog;
    uint64_t size = 0;
    assert_int_equal(disk_file_open(model->disk, "hog", DISK_CREATE, &hog), 0);
    assert_int_equal(disk_file_size(hog, &size), 0);
    for (size_t length = PIECE; length >= 4096; length /= 2) {
        while (disk_write(hog, piece, length, size) > 0)
            size += length;
    }
    disk_file_close(hog);
}

static void make_room(struct model *model)
{
    int status = disk_unlink(model->disk, "hog");
    assert_true(status == 0 || status == -ENOENT);
}

static void create(struct model *model, uint64_t seed)
{
    const struct disk_sim_options device = {.latency_ns = 200000, .direct = true, .capacity = CAPACITY};
    model_create(model, seed);
    disk_sim_device_destroy(model->device);
    assert_int_equal(disk_sim_device_create(&device, &model->device), 0);
    model->options.limit = 256 << 10;
    model_open(model);
}

static void change(struct model *model, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        model_change(model, model->version % MODEL_OBJECTS, false);
}

static void test_the_reserve_is_for_removals(void **state)
{
    (void)state;
    struct model model;
    create(&model, 1);
    fill(&model);
    uint32_t batches = 0;
    while (journal_room(model.journal) == 0) {
        assert_true(batches++ < 1000);
        change(&model, BATCH);
        assert_int_equal(journal_commit(model.journal), 0);
    }
    for (uint64_t object = 0; object < COMMITS; object++) {
        model_change(&model, object, true);
        assert_int_equal(journal_commit(model.journal), 0);
        assert_int_equal(journal_room(model.journal), -ENOSPC);
        assert_int_equal(journal_admit(model.journal), -ENOSPC);
        assert_int_equal(journal_throttle(model.journal), 0);
    }
    /* Asking is enough to have it looked for. */
    make_room(&model);
    uint64_t end = loop_now(model.loop) + NSEC_PER_SEC;
    while (journal_room(model.journal) != 0 && loop_now(model.loop) < end)
        task_sleep(model.loop, 1000000);
    assert_int_equal(journal_room(model.journal), 0);
    assert_int_equal(journal_admit(model.journal), 0);
    change(&model, 100);
    assert_int_equal(journal_commit(model.journal), 0);
    model_kill(&model);
    model_reopen(&model);
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

/* Changes until the reserve is used up, too. */
static void use_up(struct model *model)
{
    int status = 0;
    for (uint32_t batch = 0; status == 0; batch++) {
        assert_true(batch < 1000);
        change(model, BATCH);
        status = journal_commit(model->journal);
    }
    assert_int_equal(status, -ENOSPC);
    assert_int_equal(journal_status(model->journal), 0);
    assert_true(journal_committed(model->journal) < journal_position(model->journal));
}

static void test_nothing_is_lost_meanwhile(void **state)
{
    (void)state;
    struct model model;
    create(&model, 2);
    fill(&model);
    use_up(&model);
    change(&model, 20);
    assert_int_equal(journal_commit(model.journal), -ENOSPC);
    make_room(&model);
    assert_int_equal(journal_commit(model.journal), 0);
    assert_int_equal(journal_committed(model.journal), journal_position(model.journal));
    assert_int_equal(journal_room(model.journal), 0);
    struct model_world before = model.world;
    model_kill(&model);
    model_reopen(&model);
    assert_memory_equal(&model.world, &before, sizeof(before));
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

/* Without anybody's asking. */
static void test_it_goes_on_by_itself(void **state)
{
    (void)state;
    struct model model;
    create(&model, 3);
    fill(&model);
    use_up(&model);
    change(&model, 20);
    task_sleep(model.loop, NSEC_PER_SEC);
    assert_true(journal_committed(model.journal) < journal_position(model.journal));
    make_room(&model);
    task_sleep(model.loop, NSEC_PER_SEC);
    assert_int_equal(journal_committed(model.journal), journal_position(model.journal));
    assert_int_equal(model_close(&model), 0);
    model_destroy(&model);
}

static void test_memory_stays_bounded(void **state)
{
    (void)state;
    struct model model;
    create(&model, 4);
    journal_close(model.journal, true);
    model.options.buffer = 64 << 10;
    assert_int_equal(model_start(&model), 0);
    fill(&model);
    use_up(&model);
    int status = 0;
    for (uint32_t i = 0; i < 1000 && status == 0; i++) {
        change(&model, 1);
        status = journal_throttle(model.journal);
    }
    assert_int_equal(status, -ENOSPC);
    assert_int_equal(model_close(&model), -ENOSPC);
    model_reopen(&model);
    model_kill(&model);
    model_destroy(&model);
}

static void step(struct model *model, struct random *random)
{
    switch (random_below(random, 16)) {
    case 0:
        fill(model);
        break;
    case 1:
        make_room(model);
        break;
    case 2: {
        int status = journal_snapshot_take(model->journal);
        assert_true(status == 0 || status == -ENOSPC);
        break;
    }
    case 3:
        model_kill(model);
        model_reopen(model);
        break;
    case 4:
        task_sleep(model->loop, random_below(random, 500000000));
        break;
    case 5:
    case 6: {
        int status = journal_commit(model->journal);
        assert_true(status == 0 || status == -ENOSPC);
        assert_int_equal(status == 0, journal_committed(model->journal) == journal_position(model->journal));
        break;
    }
    default:
        for (uint64_t i = random_below(random, 60); i > 0; i--)
            model_change(model, random_below(random, MODEL_OBJECTS), random_below(random, 3) == 0);
    }
}

static void test_any_sequence(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct model model;
        struct random random;
        random_seed(&random, seed);
        create(&model, seed);
        model.options.interval_ns = random_below(&random, 2) * 2000000;
        for (int i = 0; i < 150; i++)
            step(&model, &random);
        assert_int_equal(journal_status(model.journal), 0);
        make_room(&model);
        assert_int_equal(journal_commit(model.journal), 0);
        struct model_world before = model.world;
        assert_int_equal(model_close(&model), 0);
        model_open(&model);
        assert_memory_equal(&model.world, &before, sizeof(before));
        assert_int_equal(model_close(&model), 0);
        model_destroy(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_reserve_is_for_removals),
        cmocka_unit_test(test_nothing_is_lost_meanwhile),
        cmocka_unit_test(test_it_goes_on_by_itself),
        cmocka_unit_test(test_memory_stays_bounded),
        cmocka_unit_test(test_any_sequence),
    };
    log_open("journal_full", "/dev/null"); /* a full device says so */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
