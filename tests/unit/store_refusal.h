/* A persistent engine when memory is refused: its sources are compiled into the test with an allocator of
 * which every single call fails once. The failure must surface as -ENOMEM, change nothing, leak nothing, and
 * not come back. Included before the sources; behind them comes store_refusal_cases.h. */
#pragma once

#include <stdatomic.h>

#include "unit/store_mirror.h"

static atomic_uint_fast64_t allocations; /* engines have threads */
static uint64_t failing;                 /* the one that fails */

static bool refused(void)
{
    return allocations++ == failing;
}

static inline void *failing_malloc(size_t size)
{
    return refused() ? NULL : malloc(size);
}

static inline void *failing_calloc(size_t count, size_t size)
{
    return refused() ? NULL : calloc(count, size);
}

static inline void *failing_realloc(void *old, size_t size)
{
    return refused() ? NULL : realloc(old, size);
}

static inline void *failing_aligned_alloc(size_t alignment, size_t size)
{
    return refused() ? NULL : aligned_alloc(alignment, size);
}

static inline char *failing_strdup(const char *string)
{
    return refused() ? NULL : strdup(string);
}

#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc
#define aligned_alloc failing_aligned_alloc
#define strdup failing_strdup
