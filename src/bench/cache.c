/* Each member makes --directories directories, each --tree-depth below its own, with a file in each, and asks
 * for the attributes of files by path, --calls times a phase:
 *
 *   cold   each path once, in random order, after the client has forgotten everything
 *   walk   paths drawn by Zipf's law with exponent --skew (0: all alike), the most wanted ones anywhere in
 * the tree hit    16 paths in turns: every directory on them is known miss   the same, but the client forgets
 * everything before each call: every directory is looked up
 *
 * The last component is always asked for at its server, so a hit is one round trip, and a miss one more for
 * every directory. The client counts hits and misses (metrics/region.h); the directory walked last is one
 * hit, however deep. `hit_rate` is that of directories, `misses_per_call` what they cost in round trips, and
 * `attribute_hits` the share of calls that needed no server at all, as there are under cluster.consistency =
 * relaxed. */
#include "bench/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "client/core.h"

enum phase { COLD, WALK, HIT, MISS, PHASES };

#define HOT 16u /* paths of hit and miss */
#define DEPTH_MAX 32u

static const struct suite_phase phases[] = {
    {.name = "cold"}, {.name = "walk"}, {.name = "hit"}, {.name = "miss"}, {0}};
static const char *const lists[] = {"directories", "64,1024,4096", "tree-depth", "1,4",
                                    "skew",        "0,0.99",       NULL};

static uint64_t directories = 1024, depth = 4, calls = 20000;
static const char *skew = "0";
static const char
    *first_skew; /* of all combinations: with it the phases are measured that it does not matter to */

static const struct bench_option options[] = {
    {"directories", BENCH_NUMBER, &directories, 1, 1000000, "N", "directories with a file, of each member"},
    {"tree-depth", BENCH_NUMBER, &depth, 1, DEPTH_MAX, "N", "directories on the way to each"},
    {"skew", BENCH_TEXT, &skew, 0, 0, "S", "exponent of Zipf's law, 0 to 10"},
    {"calls", BENCH_NUMBER, &calls, 1, 100000000, "N", "calls of each member in walk, hit and miss"},
    {0},
};

/* Of all members, by phase. */
struct found {
    _Atomic uint64_t hits, misses, attribute_hits, calls;
};

struct tree {
    struct suite_member *member;
    const struct target_operations *call;
    struct client *client;
    char top[SUITE_DIRECTORY_SIZE + 16];
    uint64_t fan;     /* directories in a directory */
    uint32_t *order;  /* of directories, at random */
    uint32_t *chosen; /* for each call of walk */
};

/* ---- the tree ---- */

/* The least number whose depth-th power is at least `directories`. */
static uint64_t fan_out(void)
{
    for (uint64_t fan = 1;; fan++) {
        uint64_t leaves = 1;
        for (uint64_t level = 0; level < depth && leaves < directories; level++)
            leaves *= fan;
        if (leaves >= directories)
            return fan;
    }
}

/* The directory at `level` (1 to depth) on the way to the leaf; the path is "top/3/1/2". */
static void name_directory(const struct tree *tree, uint64_t leaf, uint64_t level, char *path, size_t size)
{
    uint64_t digits[DEPTH_MAX];
    for (uint64_t i = depth; i-- > 0; leaf /= tree->fan)
        digits[i] = leaf % tree->fan;
    size_t length = (size_t)snprintf(path, size, "%s", tree->top);
    for (uint64_t i = 0; i < level && length < size; i++)
        length += (size_t)snprintf(path + length, size - length, "/%llu", (unsigned long long)digits[i]);
}

static void name_file(const struct tree *tree, uint64_t leaf, char *path, size_t size)
{
    name_directory(tree, leaf, depth, path, size);
    size_t length = strlen(path);
    snprintf(path + length, size - length, "/f");
}

/* Leaves come in the order of their paths: a directory is new for the first leaf below it. */
static uint64_t first_new_level(const struct tree *tree, uint64_t leaf)
{
    uint64_t level = depth;
    for (uint64_t below = tree->fan; level > 1 && leaf % below == 0 && (tree->fan > 1 || leaf == 0);
         below *= tree->fan)
        level--;
    return level;
}

#define PATH_SIZE (SUITE_DIRECTORY_SIZE + 16 + DEPTH_MAX * 8 + 8)

static int make_leaf(const struct tree *tree, uint64_t leaf)
{
    char path[PATH_SIZE];
    struct target *target = tree->member->target;
    for (uint64_t level = first_new_level(tree, leaf); level <= depth; level++) {
        name_directory(tree, leaf, level, path, sizeof(path));
        int status = tree->call->mkdir(target, path, 0755);
        if (status < 0)
            return suite_fail(tree->member, "mkdir", path, status);
    }
    name_file(tree, leaf, path, sizeof(path));
    int fd = tree->call->file_open(target, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    int status = fd < 0 ? fd : tree->call->file_close(target, fd);
    return status < 0 ? suite_fail(tree->member, "create", path, status) : 0;
}

/* What of the leaf is there; a directory goes with its first leaf, the last to be removed. */
static int remove_leaf(const struct tree *tree, uint64_t leaf)
{
    char path[PATH_SIZE];
    struct target *target = tree->member->target;
    name_file(tree, leaf, path, sizeof(path));
    int status = tree->call->unlink(target, path);
    if (status < 0)
        return suite_fail(tree->member, "unlink", path, status);
    for (uint64_t level = depth, first = first_new_level(tree, leaf); level >= first; level--) {
        name_directory(tree, leaf, level, path, sizeof(path));
        status = tree->call->rmdir(target, path);
        if (status < 0)
            return suite_fail(tree->member, "rmdir", path, status);
    }
    return 0;
}

/* ---- which paths ---- */

static int compare_double(const void *key, const void *element)
{
    const double *share = key, *sums = element; /* sums[0] and sums[1] around the rank */
    return *share < sums[0] ? -1 : *share >= sums[1];
}

/* Draws calls by rank: rank r has the weight 1 / (r + 1)^s. */
static int draw(const struct tree *tree, struct random *random)
{
    double exponent = strtod(skew, NULL), *sums = malloc((directories + 1) * sizeof(*sums));
    if (sums == NULL)
        return -ENOMEM;
    sums[0] = 0.0;
    for (uint64_t rank = 0; rank < directories; rank++)
        sums[rank + 1] = sums[rank] + pow((double)(rank + 1), -exponent);
    for (uint64_t i = 0; i < calls; i++) {
        double share = (double)(random_next(random) >> 11) * 0x1p-53 * sums[directories];
        const double *found = bsearch(&share, sums, directories, sizeof(*sums), compare_double);
        tree->chosen[i] = tree->order[found == NULL ? directories - 1 : (uint64_t)(found - sums)];
    }
    free(sums);
    return 0;
}

static int choose_paths(struct tree *tree)
{
    struct random random;
    random_seed(&random, 1000 + tree->member->number);
    tree->order = malloc(directories * sizeof(*tree->order));
    tree->chosen = malloc(calls * sizeof(*tree->chosen));
    if (tree->order == NULL || tree->chosen == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < directories; i++) {
        uint64_t other = random_below(&random, i + 1);
        tree->order[i] = tree->order[other];
        tree->order[other] = i;
    }
    return draw(tree, &random);
}

/* ---- phases ---- */

static int look_at(const struct tree *tree, uint64_t leaf, struct crew_part *part)
{
    char path[PATH_SIZE];
    struct stat status;
    name_file(tree, leaf, path, sizeof(path));
    uint64_t before = crew_now();
    int result = tree->call->stat(tree->member->target, path, &status);
    if (result < 0)
        return suite_fail(tree->member, "stat", path, result);
    if (part != NULL) {
        histogram_record(&part->latency, crew_now() - before);
        part->operations++;
    }
    return 0;
}

static uint64_t leaf_of(const struct tree *tree, enum phase phase, uint64_t i)
{
    switch (phase) {
    case COLD:
        return tree->order[i];
    case WALK:
        return tree->chosen[i];
    default:
        return tree->order[i % (directories < HOT ? directories : HOT)];
    }
}

/* So that all that the phase takes for granted is so. */
static int prepare_phase(const struct tree *tree, enum phase phase)
{
    cache_clear(&tree->client->cache);
    int status = 0;
    for (uint64_t i = 0; i < HOT && phase == HIT && status == 0; i++)
        status = look_at(tree, leaf_of(tree, HIT, i), NULL);
    for (uint64_t i = 0; i < calls / 2 && phase == WALK && status == 0; i++)
        status = look_at(tree, leaf_of(tree, WALK, i), NULL);
    return status;
}

static int run_phase(const struct tree *tree, enum phase phase)
{
    struct found *found = &((struct found *)tree->member->shared)[phase];
    struct crew_member *crew = tree->member->crew;
    uint64_t count = phase == COLD ? directories : calls;
    int status = prepare_phase(tree, phase);
    if (status < 0)
        return status;
    struct crew_part *part = crew_phase(crew, phase);
    if (part == NULL)
        return -ECANCELED;
    const uint64_t *counters = tree->client->metrics->counters;
    uint64_t hits = counters[METRIC_DIRECTORY_HITS], misses = counters[METRIC_DIRECTORY_MISSES];
    uint64_t attributes = counters[METRIC_ATTRIBUTE_HITS];
    for (uint64_t i = 0; i < count && status == 0; i++) {
        if (phase == MISS)
            cache_clear(&tree->client->cache);
        status =
            i % 64 == 0 && crew_stopping(crew) ? -ECANCELED : look_at(tree, leaf_of(tree, phase, i), part);
    }
    crew_phase_end(crew, phase);
    found->hits += counters[METRIC_DIRECTORY_HITS] - hits;
    found->misses += counters[METRIC_DIRECTORY_MISSES] - misses;
    found->attribute_hits += counters[METRIC_ATTRIBUTE_HITS] - attributes;
    found->calls += part->operations;
    return status;
}

static int run_in_tree(struct tree *tree)
{
    uint64_t made = 0;
    int status = choose_paths(tree);
    if (status < 0)
        return suite_fail(tree->member, "prepare", "paths", status);
    for (; made < directories && status == 0; made += status == 0) {
        status = made % 64 == 0 && crew_stopping(tree->member->crew) ? -ECANCELED : 0;
        if (status == 0)
            status = make_leaf(tree, made);
    }
    for (enum phase phase = COLD; phase < PHASES && status == 0; phase++) {
        if (phase == WALK || strcmp(skew, first_skew) == 0)
            status = run_phase(tree, phase);
    }
    while (made-- > 0 && status == 0)
        status = remove_leaf(tree, made);
    return status;
}

static int run(struct suite_member *member)
{
    struct tree tree = {.member = member, .call = member->target->operations, .fan = fan_out()};
    tree.client = tree.call->client(member->target);
    if (tree.client == NULL)
        return suite_fail(member, "connect", "client", -errno);
    snprintf(tree.top, sizeof(tree.top), "%s/%u", member->directory, member->number);
    int status = tree.call->mkdir(member->target, tree.top, 0755);
    if (status < 0)
        return suite_fail(member, "mkdir", tree.top, status);
    status = run_in_tree(&tree);
    free(tree.order);
    free(tree.chosen);
    int removed = status == 0 ? tree.call->rmdir(member->target, tree.top) : 0;
    return removed < 0 ? suite_fail(member, "rmdir", tree.top, removed) : status;
}

static int check(void)
{
    char *end;
    double exponent = strtod(skew, &end);
    first_skew = first_skew == NULL ? skew : first_skew;
    if (end != skew && *end == 0 && exponent >= 0.0 && exponent <= 10.0)
        return 0;
    bench_error("option --skew takes a number from 0 to 10, not \"%s\"", skew);
    return BENCH_USAGE;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct found *found = &((const struct found *)shared)[phase];
    uint64_t directories_walked = found->hits + found->misses;
    if (phase != WALK)
        result_drop_parameter(result, "skew");
    if (directories_walked > 0)
        result_measure(result, "hit_rate", (double)found->hits / (double)directories_walked);
    if (found->calls == 0)
        return;
    result_measure(result, "misses_per_call", (double)found->misses / (double)found->calls);
    result_measure(result, "attribute_hits", (double)found->attribute_hits / (double)found->calls);
}

const struct suite_workload bench_cache = {
    .name = "cache",
    .help = "The client's directory cache: hit rates, and what hit and miss cost",
    .options = options,
    .lists = lists,
    .phases = phases,
    .client_only = true,
    .shared_size = PHASES * sizeof(struct found),
    .shared_sums = PHASES * sizeof(struct found) / sizeof(uint64_t),
    .check = check,
    .run = run,
    .describe = describe,
};
