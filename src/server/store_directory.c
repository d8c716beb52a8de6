/* A server's store directories and whose they are.
 *
 * There is one, in store.path, that has the journal, and with the engine tiered and store.fast_path another
 * for its upper engine. Both have an identity. The first says which engines there are, and whether the upper
 * one is elsewhere, so that a server that is told of no other directory, or of a wrong one, does not start
 * without what is there. Of a new pair the second gets its identity first: a start that came to no end
 * between the two leaves a directory that is refused and has nothing in it. */
#include "server/store_directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/status.h"
#include "store/store.h"

static bool is_persistent(const char *name)
{
    const struct store_operations *engine = store_engine(name);
    return engine != NULL && engine->persistent;
}

static bool is_tiered(const struct config *config)
{
    return strcmp(config->store.engine, "tiered") == 0;
}

/* The upper engine has a directory of its own. */
static bool is_apart(const struct config *config)
{
    return is_tiered(config) && is_persistent(config->store.fast) && config->store.fast_path[0] != 0;
}

void store_directory_engine(const struct config *config, char engine[IDENTITY_ENGINE_MAX])
{
    bool lasts = is_tiered(config) && is_persistent(config->store.fast);
    if (!is_tiered(config))
        snprintf(engine, IDENTITY_ENGINE_MAX, "%.15s", config->store.engine);
    else
        snprintf(engine, IDENTITY_ENGINE_MAX, "tiered:%.8s%s%.8s%s", lasts ? config->store.fast : "",
                 lasts ? ":" : "", config->store.slow, is_apart(config) ? ":apart" : "");
}

static int complain(const char *option, const char *path, int status)
{
    char holder[DISK_HOLDER_MAX];
    if (status == -EBUSY) {
        disk_lock_holder(path, holder);
        log_error("store directory \"%s\" is used by %s: stop that server, or set %s to another directory",
                  path, holder, option);
    } else {
        log_error("cannot use store directory \"%s\": %s: set %s to a directory that this user can write",
                  path, status_text(status), option);
    }
    return status;
}

/* Opens and locks it; makes it unless nothing is to be changed. */
static int open_disk(struct loop *loop, const struct config *config, const char *option, const char *top,
                     uint32_t id, struct disk **disk)
{
    const struct disk_options options = {.depth = (uint32_t)config->store.queue_depth,
                                         .read_only = config->store.discard};
    char path[CONFIG_STRING_SIZE + 16];
    snprintf(path, sizeof(path), "%s/%" PRIu32, top, id);
    if (!config->store.discard && mkdir(top, 0700) != 0 && errno != EEXIST)
        return complain(option, top, -errno);
    int status = disk_open(loop, path, &options, disk);
    if (status != 0)
        return complain(option, path, status);
    if (!config->store.discard)
        return 0;
    struct disk *below = *disk;
    status = disk_overlay_open(below, disk);
    if (status == 0)
        log_info("\"%s\" is left as it is (store.discard)", path);
    else
        *disk = below;
    return status;
}

/* It has to be as new as the first. */
static int open_fast(struct store_directory *directory, struct loop *loop, const struct config *config,
                     uint32_t id)
{
    struct identity found;
    int status =
        open_disk(loop, config, "store.fast_path", config->store.fast_path, id, &directory->fast_disk);
    if (status != 0)
        return status;
    const char *path = disk_path(directory->fast_disk);
    status = identity_read(directory->fast_disk, &found);
    if (status == 0 && directory->is_new) {
        log_error(
            "store directory \"%s\" is in use, but \"%s\" is not: they belong together; set store.path or "
            "store.fast_path to another directory, or empty \"%s\" if nothing in it is needed",
            path, disk_path(directory->disk), path);
        return -EEXIST;
    }
    if (status == -ENOENT && !directory->is_new) {
        log_error("store directory \"%s\" is empty, but \"%s\" is in use, and what its upper engine has is "
                  "elsewhere: set store.fast_path to that directory",
                  path, disk_path(directory->disk));
        return -ENOENT;
    }
    return status == -ENOENT ? identity_begin(directory->fast_disk) : status;
}

int store_directory_open(struct store_directory *directory, struct loop *loop, const struct config *config,
                         uint32_t id)
{
    if (!is_persistent(config->store.engine)) {
        if (config->store.path[0] != 0)
            log_warning("store.path is set, but the engine %s keeps nothing on disk", config->store.engine);
        return 0;
    }
    if (config->store.path[0] == 0) {
        log_error("store.path is not set: the engine %s needs a directory", config->store.engine);
        return -EINVAL;
    }
    if (config->store.fast_path[0] != 0 && !is_apart(config))
        log_warning("store.fast_path is set, but there is no persistent engine over another one");
    int status = open_disk(loop, config, "store.path", config->store.path, id, &directory->disk);
    if (status != 0)
        return status;
    status = identity_read(directory->disk, &directory->identity);
    directory->is_new = status == -ENOENT;
    if (directory->is_new) {
        directory->identity = (struct identity){0};
        status = identity_begin(directory->disk);
    }
    if (status != 0)
        return status;
    directory->identity.server = id;
    store_directory_engine(config, directory->identity.engine);
    return is_apart(config) ? open_fast(directory, loop, config, id) : 0;
}

static int settle(struct disk *disk, const struct identity *identity, bool is_new)
{
    return is_new ? identity_write(disk, identity) : identity_check(disk, identity, NULL);
}

int store_directory_settle(struct store_directory *directory, const struct config *config, uint32_t servers,
                           int64_t now)
{
    struct identity *identity = &directory->identity;
    identity->servers = servers;
    snprintf(identity->ring, sizeof(identity->ring), "%.15s", config->cluster.ring);
    snprintf(identity->hash, sizeof(identity->hash), "%.15s", config->cluster.hash);
    if (directory->is_new)
        identity->created = now;
    int status = 0;
    if (directory->fast_disk != NULL) {
        struct identity fast = *identity;
        snprintf(fast.engine, sizeof(fast.engine), "upper:%.15s", config->store.fast);
        status = settle(directory->fast_disk, &fast, directory->is_new);
    }
    return status == 0 ? settle(directory->disk, identity, directory->is_new) : status;
}

void store_directory_close(struct store_directory *directory)
{
    if (directory->fast_disk != NULL)
        disk_close(directory->fast_disk);
    if (directory->disk != NULL)
        disk_close(directory->disk);
}
