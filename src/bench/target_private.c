/* From a line of options to servers.
 *
 * Options are those of the table, checked by it; what is added here is what a benchmark cannot mean: options
 * that have no effect with the chosen engine would be measured in vain, and some belong to servers that stay
 * when a benchmark has ended. The servers are children of the process that starts the workers, which inherit
 * the list of clusters by fork. */
#include "bench/target_private.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/option.h"
#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/private_cluster.h"
#include "bench/ranks.h"
#include "cluster/strategy.h"
#include "store/store.h"

#define TEXT_MAX 2048u

/* ---- options ---- */

static const struct {
    const char *name, *table, *key;
} aliases[] = {{"servers", "cluster", "server_count"}, {"store", "store", "engine"}};

/* Options that are read, but by nobody here or in vain. */
static const struct {
    const char *table, *key, *why;
} refused[] = {
    {"server", "listen", "servers of a benchmark listen on this host alone"},
    {"server", "log_level", "servers of a benchmark only tell what is wrong, on standard error"},
    {"server", "log_file", "servers of a benchmark only tell what is wrong, on standard error"},
    {"store", "discard", "the directory is new, and goes with the cluster"},
    {"store", "fast_path", "all of a server's files are in one directory, which is new"},
};

/* Options of [store] that only persistent engines have, and those that only "tiered" has. */
static const char *const persistent_keys[] = {"path",     "durability", "interval",   "journal_limit",
                                              "checksum", "buffer",     "queue_depth"};
static const char *const tiered_keys[] = {"fast", "slow", "fast_capacity"};

bool target_private_is(const char *place)
{
    return place[0] != 0 && place[0] != '/';
}

static const struct option_entry *find(const char *table, const char *key)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        if (entry->key != NULL && strcmp(entry->table, table) == 0 && strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}

static const struct option_entry *find_named(const char *name)
{
    char table[64];
    const char *dot = strchr(name, '.');
    if (dot != NULL) {
        snprintf(table, sizeof(table), "%.*s", (int)(dot - name), name);
        return find(table, dot + 1);
    }
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(aliases[i].name, name) == 0)
            return find(aliases[i].table, aliases[i].key);
    }
    const struct option_entry *entry = find("cluster", name);
    return entry != NULL ? entry : find("store", name);
}

static int set(struct config *config, char *text, bool *given)
{
    char error[512];
    char *value = strchr(text, '=');
    if (value == NULL) {
        bench_error(
            "target benchfs: takes a directory from / on, or options KEY=VALUE,...: \"%s\" is neither", text);
        return -EINVAL;
    }
    *value++ = 0;
    const struct option_entry *entry = find_named(text);
    if (entry == NULL) {
        bench_error(
            "target benchfs: unknown option \"%s\": benchfs.toml(5) lists them, those of other tables "
            "than [cluster] and [store] are named TABLE.KEY",
            text);
        return -EINVAL;
    }
    if (given[entry - option_entries]) {
        bench_error("target benchfs: option %s is given twice", text);
        return -EINVAL;
    }
    given[entry - option_entries] = true;
    if (config_set(config, entry->table, entry->key, value, error, sizeof(error)) == 0)
        return 0;
    bench_error("target benchfs: option %s", error);
    return -EINVAL;
}

static int refuse(const char *table, const char *key, const char *why)
{
    bench_error("target benchfs: option %s.%s makes no sense: %s", table, key, why);
    return -EINVAL;
}

/* Whether one of these options of [store] was given. */
static const char *find_given(const char *const *keys, size_t count, const bool *given)
{
    for (size_t i = 0; i < count; i++) {
        const struct option_entry *entry = find("store", keys[i]);
        if (entry != NULL && given[entry - option_entries])
            return keys[i];
    }
    return NULL;
}

static int check_store(struct config *config, const bool *given)
{
    char why[128], path[PATH_MAX];
    struct stat found;
    const struct store_operations *engine = store_engine(config->store.engine);
    if (engine == NULL) {
        bench_error("target benchfs: option store.engine: \"%s\" was left out when this program was built",
                    config->store.engine);
        return -EINVAL;
    }
    snprintf(why, sizeof(why), "the engine %.64s has no such thing", config->store.engine);
    const char *key = NULL;
    if (strcmp(config->store.engine, "tiered") != 0)
        key = find_given(tiered_keys, sizeof(tiered_keys) / sizeof(tiered_keys[0]), given);
    if (key == NULL && !engine->persistent)
        key = find_given(persistent_keys, sizeof(persistent_keys) / sizeof(persistent_keys[0]), given);
    if (key != NULL)
        return refuse("store", key, why);
    if (config->store.path[0] == 0)
        return 0;
    errno = ENOTDIR;
    if (realpath(config->store.path, path) == NULL || stat(path, &found) != 0 || !S_ISDIR(found.st_mode)) {
        bench_error("target benchfs: option store.path: \"%s\": %s", config->store.path, strerror(errno));
        return -EINVAL;
    }
    return 0;
}

static int check(struct config *config, const bool *given)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct option_entry *entry = find(refused[i].table, refused[i].key);
        if (entry != NULL && given[entry - option_entries])
            return refuse(entry->table, entry->key, refused[i].why);
    }
    if (config->cluster.server_count > PRIVATE_SERVERS_MAX) {
        bench_error("target benchfs: option cluster.server_count: a benchmark starts at most %u servers",
                    PRIVATE_SERVERS_MAX);
        return -EINVAL;
    }
    if (strategy_check((enum ring_strategy)strategy_from_name(config->cluster.ring),
                       (enum hash_function)hash_function_from_name(config->cluster.hash)) < 0) {
        bench_error("target benchfs: option cluster.ring = %s does not work with cluster.hash = %s",
                    config->cluster.ring, config->cluster.hash);
        return -EINVAL;
    }
    return check_store(config, given);
}

int target_private_parse(const char *place, struct config *config)
{
    char text[TEXT_MAX];
    int status = 0;
    if (strlen(place) >= sizeof(text)) {
        bench_error("target benchfs: the options are too long");
        return -EINVAL;
    }
    strcpy(text, place);
    bool *given = calloc(option_count, sizeof(*given));
    if (given == NULL) {
        bench_error("out of memory");
        return -ENOMEM;
    }
    config_defaults(config);
    char *rest = text;
    for (char *item; status == 0 && (item = strsep(&rest, ",")) != NULL;)
        status = set(config, item, given);
    if (status == 0)
        status = check(config, given);
    free(given);
    return status;
}

/* ---- clusters ---- */

struct started {
    struct private_cluster cluster;
    char *place;
};

static struct started *clusters[BENCH_LIST_MAX]; /* NULL: free */
static pid_t starter;                            /* the process whose children the servers are */

static struct started **look_up(const char *place)
{
    for (size_t i = 0; i < BENCH_LIST_MAX; i++) {
        if (place == NULL ? clusters[i] == NULL
                          : clusters[i] != NULL && strcmp(clusters[i]->place, place) == 0)
            return &clusters[i];
    }
    return NULL;
}

static void stop(struct started **slot)
{
    private_cluster_stop(&(*slot)->cluster);
    free((*slot)->place);
    free(*slot);
    *slot = NULL;
}

/* At exit of the starter; of a worker, too, if a library ends it. */
static void stop_all(void)
{
    for (size_t i = 0; i < BENCH_LIST_MAX && getpid() == starter; i++) {
        if (clusters[i] != NULL)
            stop(&clusters[i]);
    }
}

static int start(struct private_cluster *cluster, const struct config *config)
{
    interrupt_catch(); /* the servers' directories are not to be left */
    if (starter == 0)
        atexit(stop_all);
    starter = getpid();
    return private_cluster_start_configured(cluster, config);
}

/* Rank 0 starts the servers; the others learn where they are. */
static int start_of_ranks(struct private_cluster *cluster, const struct config *config)
{
    int status = ranks_number() == 0 ? start(cluster, config) : 0;
    if (status == 0 && !ranks_together()) {
        bench_error("target benchfs: servers of a benchmark cannot be reached by ranks on other hosts: use a "
                    "running cluster");
        status = -EINVAL;
    }
    status = ranks_agree(status);
    return status == 0 ? ranks_broadcast(cluster->file, sizeof(cluster->file)) : status;
}

int target_private_start(const char *place)
{
    static struct config config;
    int status = target_private_parse(place, &config);
    if (status < 0 || look_up(place) != NULL)
        return status;
    struct started **slot = look_up(NULL);
    struct started *made = calloc(1, sizeof(*made));
    if (slot == NULL || made == NULL || (made->place = strdup(place)) == NULL) {
        bench_error("target benchfs: no room for another cluster");
        free(made);
        return -ENOMEM;
    }
    *slot = made;
    status = start_of_ranks(&made->cluster, &config);
    if (status < 0)
        stop(slot);
    return status;
}

const char *target_private_file(const char *place)
{
    struct started **slot = look_up(place);
    return slot != NULL ? (*slot)->cluster.file : NULL;
}

void target_private_stop(const char *place)
{
    struct started **slot = look_up(place);
    if (slot != NULL)
        stop(slot);
}
