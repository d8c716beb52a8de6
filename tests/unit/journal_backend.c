/* A journal whose groups go to a backend that keeps the newest record of each object. */
#include "unit/journal_model.h"

#include "base/log.h"

struct kept {
    struct journal_record record; /* kind 0: none */
    uint64_t key;
    uint8_t *value;
};

struct backend {
    struct model *model;
    struct journal_backend calls;
    struct kept kept[MODEL_OBJECTS];
    uint32_t writes;
    uint32_t synchronised;
    int status;
    bool tight;
};

static void keep(struct backend *backend, const struct journal_record *record)
{
    uint64_t object;
    assert_int_equal(record->key_length, sizeof(object));
    memcpy(&object, record->key, sizeof(object));
    assert_true(object < MODEL_OBJECTS);
    struct kept *kept = &backend->kept[object];
    free(kept->value);
    *kept = (struct kept){0};
    if (record->removed)
        return;
    kept->value = malloc(record->value_length);
    assert_non_null(kept->value);
    memcpy(kept->value, record->value, record->value_length);
    kept->key = object;
    kept->record = *record;
    kept->record.key = &kept->key;
    kept->record.value = kept->value;
}

static int backend_write(void *owner, const void *group, size_t length, bool synchronise)
{
    struct backend *backend = owner;
    struct journal_record record;
    size_t at = 0;
    int status = task_sleep(backend->model->loop, 1000);
    if (status != 0 || backend->status != 0)
        return status != 0 ? status : backend->status;
    while (journal_group_next(group, length, &at, &record))
        keep(backend, &record);
    assert_int_equal(at, length);
    backend->writes++;
    backend->synchronised += synchronise;
    return 0;
}

static int backend_replay(void *owner, int (*take)(void *taker, const struct journal_record *record),
                          void *taker)
{
    struct backend *backend = owner;
    int status = task_sleep(backend->model->loop, 1000);
    for (uint64_t object = 0; object < MODEL_OBJECTS && status == 0; object++) {
        if (backend->kept[object].record.kind != 0)
            status = take(taker, &backend->kept[object].record);
    }
    return status;
}

static int backend_room(void *owner)
{
    return ((struct backend *)owner)->tight ? -ENOSPC : 0;
}

static void backend_init(struct backend *backend, struct model *model)
{
    *backend = (struct backend){
        .model = model,
        .calls = {.owner = backend, .replay = backend_replay, .write = backend_write, .room = backend_room},
    };
    model_create(model, 1);
    model->options.backend = &backend->calls;
    model->options.limit = 1;
}

static void backend_exit(struct backend *backend)
{
    for (uint64_t object = 0; object < MODEL_OBJECTS; object++)
        free(backend->kept[object].value);
}

static int refuse_all(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    (void)owner;
    (void)what;
    (void)name;
    (void)offset;
    (void)length;
    fail(); /* a journal with a backend has no files */
    return -EIO;
}

static void test_records_come_back(void **state)
{
    (void)state;
    struct model model;
    struct backend backend;
    struct random random;
    backend_init(&backend, &model);
    random_seed(&random, 1);
    model_attach(&model);
    disk_set_fault(model.disk, refuse_all, NULL);
    for (uint32_t life = 0; life < 10; life++) {
        assert_int_equal(model_start(&model), 0);
        for (uint32_t i = 0; i < 50; i++) {
            model_change(&model, random_below(&random, MODEL_OBJECTS), random_below(&random, 4) == 0);
            if (random_below(&random, 5) == 0)
                assert_int_equal(journal_commit(model.journal), 0);
        }
        assert_int_equal(journal_snapshot_take(model.journal), 0); /* nothing to do */
        bool killed = random_below(&random, 2) == 0;
        struct model_world expected = killed ? model.history[model.durable] : model.world;
        assert_int_equal(journal_close(model.journal, killed), 0);
        assert_int_equal(model_start(&model), 0);
        assert_memory_equal(&model.world, &expected, sizeof(expected));
        assert_int_equal(model.recovery.snapshot_records, 0);
        assert_int_equal(journal_close(model.journal, true), 0);
    }
    assert_true(backend.writes > 10);
    assert_int_equal(backend.writes, backend.synchronised);
    disk_close(model.disk);
    backend_exit(&backend);
    model_destroy(&model);
}

static void test_failures_are_final(void **state)
{
    (void)state;
    struct model model;
    struct backend backend;
    backend_init(&backend, &model);
    model.options.synchronise = false;
    model_attach(&model);
    assert_int_equal(model_start(&model), 0);
    model_change(&model, 1, false);
    assert_int_equal(journal_commit(model.journal), 0);
    assert_int_equal(backend.synchronised, 0);
    backend.status = -EIO;
    model_change(&model, 2, false);
    assert_int_equal(journal_commit(model.journal), -EIO);
    backend.status = 0;
    model_change(&model, 3, false);
    assert_int_equal(journal_commit(model.journal), -EIO);
    assert_int_equal(backend.writes, 1);
    assert_int_equal(journal_close(model.journal, false), -EIO);
    model.replay_refuses = true;
    assert_int_equal(model_start(&model), -EBADMSG);
    disk_close(model.disk);
    backend_exit(&backend);
    model_destroy(&model);
}

/* A group that finds no room is handed over again, with what came meanwhile behind it. */
static void test_a_full_one_is_asked_again(void **state)
{
    (void)state;
    struct model model;
    struct backend backend;
    backend_init(&backend, &model);
    model_attach(&model);
    assert_int_equal(model_start(&model), 0);
    assert_int_equal(journal_room(model.journal), 0);
    backend.tight = true;
    assert_int_equal(journal_room(model.journal), -ENOSPC);
    assert_int_equal(journal_admit(model.journal), -ENOSPC);
    backend.status = -ENOSPC;
    model_change(&model, 1, false);
    assert_int_equal(journal_commit(model.journal), -ENOSPC);
    model_change(&model, 2, false);
    assert_int_equal(journal_commit(model.journal), -ENOSPC);
    assert_int_equal(journal_status(model.journal), 0);
    assert_int_equal(backend.writes, 0);
    backend.tight = false;
    backend.status = 0;
    assert_int_equal(journal_room(model.journal), 0);
    assert_int_equal(journal_commit(model.journal), 0);
    assert_int_equal(journal_committed(model.journal), journal_position(model.journal));
    assert_int_not_equal(backend.kept[1].record.kind, 0);
    assert_int_not_equal(backend.kept[2].record.kind, 0);
    assert_int_equal(journal_close(model.journal, false), 0);
    disk_close(model.disk);
    backend_exit(&backend);
    model_destroy(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_back),
        cmocka_unit_test(test_failures_are_final),
        cmocka_unit_test(test_a_full_one_is_asked_again),
    };
    log_open("journal_backend", "/dev/null"); /* every failure says so */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
