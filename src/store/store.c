/* The engine registry: one table from which the name in a configuration finds its engine. */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* clang-format off */
static const struct store_operations *const engines[] = {
    &store_mem_operations,
    &store_null_operations,
    &store_file_operations,
    &store_tiered_operations,
    &store_uring_operations,
#ifdef STORE_ROCKSDB
    &store_rocksdb_operations,
#endif
#ifdef STORE_PMEM
    &store_pmem_operations,
#endif
};

/* clang-format on */

#define ENGINES (sizeof(engines) / sizeof(engines[0]))

const struct store_operations *store_engine(const char *name)
{
    for (size_t i = 0; i < ENGINES; i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    return NULL;
}

/* Engines that the build was configured without. */
static const struct absent {
    const char *name;
    const char *library;
} absent[] = {
#ifndef STORE_ROCKSDB
    {"rocksdb", "librocksdb"},
#endif
#ifndef STORE_PMEM
    {"pmem", "libpmem2"},
#endif
    {NULL, NULL},
};

int store_create(const struct store_options *options, struct store **store)
{
    const struct store_operations *engine = store_engine(options->engine);
    if (engine != NULL)
        return engine->create(options, store);
    char known[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < ENGINES; i++) {
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ",
                                 engines[i]->name);
    }
    for (const struct absent *left_out = absent; left_out->name != NULL; left_out++)
        if (strcmp(left_out->name, options->engine) == 0) {
            log_error(
                "this build has no storage engine %s: configure it with -D%s=enabled (needs %s), or set "
                "store.engine to one of: %s",
                left_out->name, left_out->name, left_out->library, known);
            return -EINVAL;
        }
    log_error("unknown storage engine \"%s\": set store.engine to one of: %s", options->engine, known);
    return -EINVAL;
}

const struct store_operations *store_engine_at(unsigned number)
{
    return number < ENGINES ? engines[number] : NULL;
}
