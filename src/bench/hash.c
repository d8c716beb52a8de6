/* Speed depends on a key's length, how names spread on their pattern. So each function has a phase `speed`
 * for every --size, and, once, one phase for each pattern and one for the avalanche:
 *
 *   file       file.0000000, file.0000001, ... as programs write them, a file a rank or step
 *   mdtest     file.mdtest.RANK.NUMBER as mdtest makes them, a thousand a rank
 *   random     16 random letters
 *   avalanche  how often a bit of the hash changes when one bit of a 16-byte key does: always, it should be
 * 1/2
 *
 * A pattern's names are counted by partition, which are the first 14 bits of the hash as in a directory of
 * BenchFS, and modulo the number of partitions, as CHFS does with servers. Keys are made before the clock
 * runs; names of patterns in batches in between, so their rate is no measure of speed. */
#include "bench/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash_function.h"
#include "base/random.h"
#include "bench/spread.h"
#include "cluster/partition.h"

enum phase { SPEED, FILES, MDTEST, RANDOM, AVALANCHE, PHASES };

#define POOL_BYTES                                                                                           \
    (UINT64_C(128) << 10) /* keys that are hashed in turn: within a core's cache, if they fit */
#define POOL_KEYS_MAX UINT64_C(4096)
#define KEYS_MIN UINT64_C(64)
#define KEYS_MAX UINT64_C(4000000)
#define AVALANCHE_BYTES 16u
#define AVALANCHE_KEYS 4096u
#define RANK_FILES 1000u

static const struct suite_phase phases[] = {{.name = "speed"},  {.name = "file"},      {.name = "mdtest"},
                                            {.name = "random"}, {.name = "avalanche"}, {0}};
static const char *const lists[] = {"hash", "xxhash64,murmur3,md5,koyama", "size",
                                    "8,16,32,64,256,4KiB,64KiB,1MiB", NULL};

static const char *function_name = "xxhash64";
static uint64_t size = 16, total_size = UINT64_C(64) << 20, names = 1048576;
static uint64_t least_size = UINT64_MAX; /* of all combinations: with it patterns are measured */

static const struct bench_option options[] = {
    {"hash", BENCH_TEXT, &function_name, 0, 0, "NAME", "xxhash64, murmur3, md5 or koyama"},
    {"size", BENCH_SIZE, &size, 1, UINT64_C(64) << 20, "SIZE", "bytes of a key"},
    {"total", BENCH_SIZE, &total_size, 1, UINT64_C(1) << 40, "SIZE",
     "bytes hashed in a repeat; at most 4000000 keys"},
    {"names", BENCH_NUMBER, &names, 1000, 100000000, "N", "names of each pattern"},
    {0},
};

/* What a run found out, for describe. */
struct found {
    double flips_mean, flips_least, flips_most; /* of the avalanche */
    struct spread high, modulo;
};

/* ---- speed ---- */

static uint64_t keys_for(uint64_t bytes)
{
    uint64_t keys = total_size / bytes;
    return keys < KEYS_MIN ? KEYS_MIN : keys > KEYS_MAX ? KEYS_MAX : keys;
}

static uint64_t hash_keys(enum hash_function function, const uint8_t *pool, uint64_t pooled, uint64_t count)
{
    uint64_t sum = 0;
    for (uint64_t i = 0, at = 0; i < count; i++) {
        sum ^= hash_apply(function, pool + at * size, size);
        at = at + 1 == pooled ? 0 : at + 1;
    }
    return sum;
}

static int measure_speed(struct suite_member *member, enum hash_function function)
{
    uint64_t pooled = POOL_BYTES / size, keys = keys_for(size), batch = keys / 64 + 1;
    pooled = pooled < 1 ? 1 : pooled > POOL_KEYS_MAX ? POOL_KEYS_MAX : pooled;
    uint8_t *pool = malloc(pooled * size);
    if (pool == NULL)
        return -ENOMEM;
    struct random random;
    random_seed(&random, 1);
    for (uint64_t i = 0; i < pooled * size; i++)
        pool[i] = (uint8_t)('a' + random_below(&random, 26));
    hash_keys(function, pool, pooled, pooled);
    struct crew_part *part = crew_phase(member->crew, SPEED);
    for (uint64_t done = 0; part != NULL && done < keys && !crew_stopping(member->crew);) {
        uint64_t count = keys - done < batch ? keys - done : batch;
        uint64_t sum = hash_keys(function, pool, pooled, count);
        __asm__ volatile("" : : "r"(sum)); /* somebody wants to know */
        done += count;
        part->operations += count;
        part->bytes += count * size;
    }
    if (part != NULL)
        crew_phase_end(member->crew, SPEED);
    free(pool);
    return part == NULL || crew_stopping(member->crew) ? -ECANCELED : 0;
}

/* ---- how names spread ---- */

static int make_name(enum phase pattern, struct random *random, uint64_t number, char name[64])
{
    if (pattern == FILES)
        return snprintf(name, 64, "file.%07llu", (unsigned long long)number);
    if (pattern == MDTEST)
        return snprintf(name, 64, "file.mdtest.%llu.%llu", (unsigned long long)(number / RANK_FILES),
                        (unsigned long long)(number % RANK_FILES));
    for (int i = 0; i < 16; i++)
        name[i] = (char)('a' + random_below(random, 26));
    return 16;
}

static int measure_pattern(struct suite_member *member, enum hash_function function, enum phase pattern)
{
    struct found *found = &((struct found *)member->shared)[pattern];
    uint32_t *high = calloc(2 * PARTITION_COUNT, sizeof(*high)), *modulo = high + PARTITION_COUNT;
    if (high == NULL)
        return -ENOMEM;
    struct random random;
    random_seed(&random, 2);
    struct crew_part *part = crew_phase(member->crew, pattern);
    for (uint64_t i = 0; part != NULL && i < names; i++) {
        char name[64];
        int length = make_name(pattern, &random, i, name);
        uint64_t hash = hash_apply(function, name, (size_t)length);
        high[hash_partition(hash)]++;
        modulo[hash % PARTITION_COUNT]++;
        part->operations++;
        part->bytes += (uint64_t)length;
    }
    if (part != NULL)
        crew_phase_end(member->crew, pattern);
    spread_measure(high, PARTITION_COUNT, &found->high);
    spread_measure(modulo, PARTITION_COUNT, &found->modulo);
    free(high);
    return part == NULL ? -ECANCELED : 0;
}

/* ---- avalanche ---- */

static void count_flips(enum hash_function function, uint8_t *key, uint32_t (*flips)[64])
{
    uint64_t before = hash_apply(function, key, AVALANCHE_BYTES);
    for (uint32_t in = 0; in < 8 * AVALANCHE_BYTES; in++) {
        key[in / 8] ^= (uint8_t)(1u << in % 8);
        uint64_t changed = before ^ hash_apply(function, key, AVALANCHE_BYTES);
        key[in / 8] ^= (uint8_t)(1u << in % 8);
        for (uint32_t out = 0; out < 64; out++)
            flips[in][out] += (uint32_t)(changed >> out & 1);
    }
}

static int measure_avalanche(struct suite_member *member, enum hash_function function)
{
    static uint32_t flips[8 * AVALANCHE_BYTES][64];
    struct found *found = &((struct found *)member->shared)[AVALANCHE];
    uint64_t sum = 0;
    uint32_t least = UINT32_MAX, most = 0;
    struct random random;
    random_seed(&random, 3);
    struct crew_part *part = crew_phase(member->crew, AVALANCHE);
    if (part == NULL)
        return -ECANCELED;
    for (uint32_t i = 0; i < AVALANCHE_KEYS; i++) {
        uint64_t key[AVALANCHE_BYTES / 8] = {random_next(&random), random_next(&random)};
        count_flips(function, (uint8_t *)key, flips);
        part->operations += 8 * AVALANCHE_BYTES + 1;
        part->bytes += (8 * AVALANCHE_BYTES + 1) * AVALANCHE_BYTES;
    }
    crew_phase_end(member->crew, AVALANCHE);
    for (uint32_t in = 0; in < 8 * AVALANCHE_BYTES; in++) {
        for (uint32_t out = 0; out < 64; out++) {
            sum += flips[in][out];
            least = flips[in][out] < least ? flips[in][out] : least;
            most = flips[in][out] > most ? flips[in][out] : most;
        }
    }
    found->flips_mean = (double)sum / (8.0 * AVALANCHE_BYTES * 64 * AVALANCHE_KEYS);
    found->flips_least = (double)least / AVALANCHE_KEYS;
    found->flips_most = (double)most / AVALANCHE_KEYS;
    return 0;
}

/* ---- all together ---- */

static int run(struct suite_member *member)
{
    enum hash_function function = (enum hash_function)hash_function_from_name(function_name);
    int status = measure_speed(member, function);
    for (enum phase pattern = FILES; pattern <= RANDOM && status == 0 && size == least_size; pattern++)
        status = measure_pattern(member, function, pattern);
    if (status == 0 && size == least_size)
        status = measure_avalanche(member, function);
    if (status == -ENOMEM)
        bench_error("out of memory for keys");
    return status;
}

static int check(void)
{
    least_size = size < least_size ? size : least_size;
    if (hash_function_from_name(function_name) >= 0)
        return 0;
    bench_error("option --hash takes xxhash64, murmur3, md5 or koyama, not \"%s\"", function_name);
    return BENCH_USAGE;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct found *found = &((const struct found *)shared)[phase];
    if (phase == SPEED) {
        if (result->operation_rate.median > 0.0)
            result_measure(result, "ns_per_key", 1e9 / result->operation_rate.median);
        return;
    }
    if (phase == AVALANCHE) {
        result_number(result, "size", AVALANCHE_BYTES);
        result_measure(result, "flips_mean", found->flips_mean);
        result_measure(result, "flips_least", found->flips_least);
        result_measure(result, "flips_most", found->flips_most);
        return;
    }
    result_drop_parameter(result, "size");
    result_measure(result, "surplus", found->high.surplus);
    result_measure(result, "max_mean", found->high.most_of_mean);
    result_measure(result, "modulo_surplus", found->modulo.surplus);
    result_measure(result, "modulo_max_mean", found->modulo.most_of_mean);
}

const struct suite_workload bench_hash = {
    .name = "hash",
    .help = "Hash functions: speed by key length, and how they spread names",
    .options = options,
    .lists = lists,
    .phases = phases,
    .subject = "hash",
    .serial = true,
    .shared_size = PHASES * sizeof(struct found),
    .check = check,
    .run = run,
    .describe = describe,
};
