/* A region is made by another process, maybe on another host: whatever its bytes are, a reader stays within
 * them. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "metrics/reader.h"

struct memory_source {
    struct metrics_source source;
    const uint8_t *bytes;
    size_t size;
};

/* Zeros behind the input, as in a sparse file, up to where the header says that the region ends. */
static int memory_read(struct metrics_source *source, uint64_t offset, void *bytes, uint64_t length)
{
    const struct memory_source *memory = (const struct memory_source *)source;
    uint64_t end = memory->source.header.bytes;
    if (offset > 0 && (offset > end || length > end - offset))
        __builtin_trap(); /* beyond the region */
    memset(bytes, 0, length);
    if (offset < memory->size)
        memcpy(bytes, memory->bytes + offset,
               memory->size - offset < length ? memory->size - offset : length);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct metrics_snapshot snapshot;
    static struct metrics_entry entries[METRICS_SLOW];
    static uint64_t buckets[HISTOGRAM_BUCKETS];
    static struct histogram histogram;
    struct memory_source memory = {.source.read = memory_read, .bytes = bytes, .size = size};
    if (metrics_source_check(&memory.source) != 0)
        return 0;
    uint64_t position = size, lost = 0;
    metrics_snapshot_read(&memory.source, &snapshot);
    metrics_trace_read(&memory.source, &position, entries, METRICS_SLOW, &lost);
    metrics_slow_read(&memory.source, entries);
    histogram_init(&histogram);
    if (metrics_buckets_read(&memory.source, METRICS_OPERATIONS - 1, METRICS_STAGES - 1, buckets) == 0)
        metrics_histogram_add(&histogram, buckets, NULL, snapshot.operations[METRICS_OPERATIONS - 1].count);
    return 0;
}
