/* A warning says what is doubtful and why; it never changes a figure, and a benchmark with warnings succeeds.
 *
 * Limits are compared with results of the same transfer size only, and of the nearest depth that is not
 * greater, because a limit of large transfers says nothing about small ones. A limit was measured by one
 * process, so `members` of them may reach so many times as much. Nothing is slow for reaching little of what
 * memory gives: system calls and checksums cost more than copies of what a cache holds. */
#include "bench/guards.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RENDEZVOUS_OFF (UINT64_C(64) << 20) /* the greatest that the option takes */
#define TOO_FAST 1.1
#define TOO_SLOW 0.1

/* As it was when it was first asked for, so that one warning does not become many. */
static uint64_t available_memory(void)
{
    static unsigned long long kibibytes;
    char line[256];
    FILE *file = kibibytes > 0 ? NULL : fopen("/proc/meminfo", "re");
    if (file == NULL)
        return (uint64_t)kibibytes << 10;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kibibytes) == 1)
            break;
    }
    fclose(file);
    return (uint64_t)kibibytes << 10;
}

/* "1.5 GiB" */
static void format_size(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024.0;
    snprintf(text, size, unit == 0 || value >= 99.5 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static bool engine_is(const struct target_facts *facts, const char *name)
{
    return facts->configured && strcmp(facts->configuration.store.engine, name) == 0;
}

static uint64_t number_of(const struct result *result, const char *name)
{
    const struct result_parameter *parameter = result_parameter(result, name);
    return parameter != NULL && parameter->kind == RESULT_NUMBER ? parameter->number : 0;
}

/* Whether what is read goes through the page cache. Where no parameter tells the size of a read, it is that
 * of small files, or whatever a trace has. */
static bool through_page_cache(const struct result *result, const struct target_facts *facts)
{
    uint64_t size = number_of(result, "size");
    return facts->page_cache && (facts->alignment == 0 || size == 0 || size % facts->alignment != 0);
}

static void guard_reads(struct result *result, const struct target_facts *facts, uint64_t working_set)
{
    char size[32], memory[32];
    uint64_t available = available_memory();
    format_size(working_set, size, sizeof(size));
    format_size(available, memory, sizeof(memory));
    if (facts->through_mount)
        result_warn(result,
                    "reads go through a FUSE mount: the kernel may have answered them from its cache");
    else if (through_page_cache(result, facts) && working_set < available)
        result_warn(result,
                    "reads may come from the page cache%s: %s were just written and %s of memory are free",
                    facts->alignment > 0 ? ", as their size is not aligned" : "", size, memory);
    if (facts->client_cache)
        result_warn(result, "consistency is relaxed: reads may come from the client's own cache");
    bool cached = engine_is(facts, "file") || engine_is(facts, "rocksdb");
    if (cached && working_set < available)
        result_warn(
            result,
            "the working set of %s fits in the memory of one node (%s free): the store \"%s\" may not "
            "have read its device",
            size, memory, facts->configuration.store.engine);
    if (engine_is(facts, "tiered") && working_set <= facts->configuration.store.fast_capacity)
        result_warn(result, "the working set of %s fits in the fast tier", size);
}

static void guard_configuration(struct result *result, const struct target_facts *facts)
{
    const struct config *config = &facts->configuration;
    if (engine_is(facts, "null"))
        result_warn(result, "the store \"null\" keeps no contents: this is the speed of everything else");
    if (!config->store.checksum && !facts->in_memory)
        result_warn(result, "checksums are off (store.checksum)");
    if (config->rpc.rendezvous_threshold >= RENDEZVOUS_OFF)
        result_warn(result, "rendezvous is as good as off (rpc.rendezvous_threshold is at its greatest)");
    if (strcmp(config->server.log_level, "debug") == 0)
        result_warn(result, "the servers log everything (server.log_level is debug)");
}

void guards_of_target(struct result *result, const struct target_facts *facts, uint64_t working_set,
                      bool reads)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (reads && working_set > 0)
        guard_reads(result, facts, working_set);
    if (facts->configured)
        guard_configuration(result, facts);
    if (facts->servers > 0 && facts->servers < (uint64_t)processors &&
        strstr(facts->transports, "ucx") == NULL)
        result_warn(result, "%u server%s on a host of %ld processors", facts->servers,
                    facts->servers == 1 ? "" : "s", processors);
}

/* ---- limits ---- */

static bool applies(const struct result_limit *limit, const struct target_facts *facts, bool reads)
{
    if (strcmp(limit->unit, "B/s") != 0)
        return false;
    if (strcmp(limit->name, "network-bandwidth") == 0)
        return facts->servers > 0;
    if (strcmp(limit->name, "memcpy") == 0)
        return true;
    return !facts->in_memory && strcmp(limit->name, reads ? "device-read" : "device-write") == 0;
}

/* The limit with this name, of the result's size and the depth that is nearest below its own; of several,
 * such as those of other footprints and transports, the greatest. NULL: none. */
static const struct result_limit *nearest(const struct result_file *limits, const char *name,
                                          const struct result *result)
{
    const struct result_limit *best = NULL;
    uint64_t size = number_of(result, "size"), depth = number_of(result, "depth");
    for (uint32_t i = 0; i < limits->limit_count; i++) {
        const struct result_limit *limit = &limits->limits[i];
        if (strcmp(limit->name, name) != 0 || limit->size != size || (depth > 0 && limit->depth > depth))
            continue;
        if (best == NULL || limit->depth > best->depth ||
            (limit->depth == best->depth && limit->value > best->value))
            best = limit;
    }
    return best;
}

void guards_of_limits(struct result *result, const struct target_facts *facts,
                      const struct result_file *limits, uint32_t members, bool reads)
{
    static const char *const names[] = {"memcpy", "network-bandwidth", "device-read", "device-write"};
    double measured = result->byte_rate.median, least = 0.0;
    const struct result_limit *limiting = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && measured > 0.0; i++) {
        const struct result_limit *limit = nearest(limits, names[i], result);
        if (limit == NULL || !applies(limit, facts, reads))
            continue;
        double most = limit->high > 0.0 ? limit->high : limit->value;
        if (limiting == NULL || most < least) {
            limiting = limit;
            least = most;
        }
    }
    if (limiting == NULL || least <= 0.0)
        return;
    if (measured > least * members * TOO_FAST)
        result_warn(result,
                    "impossible: %.0f MB/s, but the measured limit %s gives %.0f MB/s to each of %u: was it "
                    "answered by a cache, or are the limits of another machine?",
                    measured / 1e6, limiting->name, least / 1e6, members);
    else if (measured < limiting->value * TOO_SLOW && strcmp(limiting->name, "memcpy") != 0)
        result_warn(result, "only %.1f %% of the measured limit %s (%.0f MB/s): is the target set up well?",
                    measured / limiting->value * 100.0, limiting->name, limiting->value / 1e6);
}
