/* A journal on a simulated device, and a small world of objects that it keeps.
 *
 * An object is a number with a version; 0 means that it does not exist. Its value is a function of both, so
 * that replay can check every byte. The lower half of the objects is recorded when it changes, the upper half
 * is only noted and recorded by collect. The world is remembered as it was at each cut: after a crash it must
 * be as it was at one of them, and at none before the last that was told to be durable. */
#pragma once

#include "unit/unit.h"

#include "base/random.h"
#include "journal/journal.h"
#include "journal/state.h"
#include "runtime/disk.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_OBJECTS = 40, MODEL_VALUE_MAX = 3000 };

struct model_world {
    uint32_t versions[MODEL_OBJECTS];
};

struct model {
    struct loop *loop;
    struct disk_sim_device *device;
    struct disk *disk;
    struct journal *journal;
    struct journal_recovery recovery;
    struct journal_options options;
    struct model_world world;
    bool noted[MODEL_OBJECTS];
    uint32_t version;
    uint32_t value_max;
    struct model_world *history; /* at each cut; the first is what was opened */
    size_t cuts;
    size_t durable;     /* the last cut that is known to be durable */
    uint64_t committed; /* its position */
    uint32_t flushes;
    int flush_status;
    bool replay_refuses;
};

/* ---- objects ---- */

static inline uint32_t model_value(const struct model *model, uint64_t object, uint32_t version,
                                   uint8_t *bytes)
{
    struct random random;
    random_seed(&random, object << 32 | version);
    uint32_t length = (uint32_t)(sizeof(version) + random_below(&random, model->value_max));
    if (bytes == NULL)
        return length;
    memset(bytes, (int)random_below(&random, 256), length);
    memcpy(bytes, &version, sizeof(version));
    return length;
}

static inline enum journal_kind model_kind(uint64_t object)
{
    return object < MODEL_OBJECTS / 2 ? JOURNAL_DENTRY : JOURNAL_INODE;
}

static inline void model_record(struct model *model, uint64_t object)
{
    uint32_t version = model->world.versions[object], partition = (uint32_t)object + 100;
    if (version == 0) {
        journal_append_removal(model->journal, model_kind(object), partition, &object, sizeof(object));
        return;
    }
    uint32_t length = model_value(model, object, version, NULL);
    model_value(
        model, object, version,
        journal_append(model->journal, model_kind(object), partition, &object, sizeof(object), length));
}

/* Gives an object a new version, or removes it. */
static inline void model_change(struct model *model, uint64_t object, bool remove)
{
    model->world.versions[object] = remove ? 0 : ++model->version;
    if (object < MODEL_OBJECTS / 2) {
        model_record(model, object);
    } else {
        model->noted[object] = true;
        journal_touch(model->journal);
    }
}

/* ---- the source ---- */

static inline void model_remember(struct model *model)
{
    model->history = realloc(model->history, (model->cuts + 1) * sizeof(model->history[0]));
    assert_non_null(model->history);
    model->history[model->cuts++] = model->world;
}

static inline void model_collect(void *owner)
{
    struct model *model = owner;
    for (uint64_t object = 0; object < MODEL_OBJECTS; object++) {
        if (model->noted[object])
            model_record(model, object);
        model->noted[object] = false;
    }
    model_remember(model);
}

static inline int model_flush(void *owner)
{
    struct model *model = owner;
    model->flushes++;
    int status = task_yield(model->loop);
    return status != 0 ? status : model->flush_status;
}

static inline void model_committed(void *owner, uint64_t position)
{
    struct model *model = owner;
    assert_true(position >= model->committed);
    model->committed = position;
    model->durable = model->cuts - 1;
}

static inline int model_snapshot(void *owner, struct journal_snapshot *snapshot)
{
    struct model *model = owner;
    for (uint64_t object = 0; object < MODEL_OBJECTS; object++) {
        uint8_t value[sizeof(uint32_t) + MODEL_VALUE_MAX];
        uint32_t version = model->world.versions[object];
        if (version == 0)
            continue;
        const struct journal_record record = {
            .kind = (uint8_t)model_kind(object),
            .partition = (uint16_t)(object + 100),
            .key = &object,
            .key_length = sizeof(object),
            .value = value,
            .value_length = model_value(model, object, version, value),
        };
        int status = journal_snapshot_add(snapshot, &record);
        if (status == 0 && object % 4 == 0)
            status = task_sleep(model->loop, 100000);
        if (status != 0)
            return status;
    }
    return 0;
}

static inline int model_replay(void *owner, const struct journal_record *record)
{
    struct model *model = owner;
    uint8_t value[sizeof(uint32_t) + MODEL_VALUE_MAX];
    uint64_t object;
    uint32_t version = 0;
    if (model->replay_refuses)
        return -EBADMSG;
    assert_int_equal(record->key_length, sizeof(object));
    memcpy(&object, record->key, sizeof(object));
    assert_true(object < MODEL_OBJECTS);
    assert_int_equal(record->kind, model_kind(object));
    assert_int_equal(record->partition, object + 100);
    if (!record->removed) {
        memcpy(&version, record->value, sizeof(version));
        assert_int_equal(record->value_length, model_value(model, object, version, value));
        assert_memory_equal(record->value, value, record->value_length);
    }
    model->world.versions[object] = version;
    if (version > model->version)
        model->version = version;
    return 0;
}

/* ---- life ---- */

static inline void model_create(struct model *model, uint64_t seed)
{
    const struct disk_sim_options device = {.latency_ns = 200000, .direct = true};
    const struct loop_options loop = {.simulated = true, .seed = seed};
    *model = (struct model){.value_max = MODEL_VALUE_MAX};
    assert_int_equal(loop_create(&loop, &model->loop), 0);
    assert_int_equal(disk_sim_device_create(&device, &model->device), 0);
    model->options = (struct journal_options){
        .loop = model->loop,
        .source = {.owner = model,
                   .collect = model_collect,
                   .flush = model_flush,
                   .committed = model_committed,
                   .snapshot = model_snapshot,
                   .replay = model_replay},
        .limit = 1 << 20,
        .synchronise = true,
    };
}

static inline void model_destroy(struct model *model)
{
    free(model->history);
    disk_sim_device_destroy(model->device);
    loop_destroy(model->loop);
}

static inline void model_attach(struct model *model)
{
    assert_int_equal(disk_sim_open(model->loop, model->device, &model->disk), 0);
    model->options.disk = model->disk;
}

/* Opens the journal on the disk that is attached. What was noted before is forgotten. */
static inline int model_start(struct model *model)
{
    memset(&model->world, 0, sizeof(model->world));
    memset(model->noted, 0, sizeof(model->noted));
    model->journal = NULL;
    int status = journal_open(&model->options, &model->recovery, &model->journal);
    if (status != 0)
        return status;
    model->cuts = 0;
    model->durable = 0;
    model->committed = 0;
    model_remember(model);
    return 0;
}

static inline void model_open(struct model *model)
{
    model_attach(model);
    assert_int_equal(model_start(model), 0);
}

static inline int model_close(struct model *model)
{
    int status = journal_close(model->journal, false);
    disk_close(model->disk);
    return status;
}

/* As after kill -9: what has reached the device stays. */
static inline void model_kill(struct model *model)
{
    disk_sim_kill(model->disk);
    journal_close(model->journal, true);
    disk_close(model->disk);
}

/* The world is as it was at a cut, and at none before what was durable. */
static inline bool model_is_past(const struct model *model, const struct model_world *history, size_t durable,
                                 size_t cuts)
{
    for (size_t i = durable; i < cuts; i++) {
        if (memcmp(&history[i], &model->world, sizeof(model->world)) == 0)
            return true;
    }
    return false;
}

/* Opens again after a crash and compares. */
static inline void model_reopen(struct model *model)
{
    struct model_world *history = model->history;
    size_t durable = model->durable, cuts = model->cuts;
    model->history = NULL;
    model_open(model);
    assert_true(model_is_past(model, history, durable, cuts));
    free(history);
}
