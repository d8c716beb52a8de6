/* Slabs in arenas.
 *
 * An arena is 2 MiB of address space aligned to 2 MiB, so that the kernel can back it with one huge page:
 * with tens of millions of records the translation misses of small pages would cost more than the records'
 * own cache misses. It is cut into 32 slabs of 64 KiB. The slabs' headers sit together at the start of the
 * arena (slab 0 is that much shorter): in the slabs themselves, all 64 KiB apart, they would fight for the
 * same cache sets.
 *
 * A slab hands out blocks of one size class, first by moving a mark, later from a list threaded through its
 * freed blocks. Slabs with a free block are linked per class; the newest is used first. A slab that becomes
 * empty goes back to its arena, and an empty arena back to the system, but for one that is kept against
 * thrashing at the border.
 *
 * The first arena takes small pages: a server with a few thousand files stays small, and zeroing of a huge
 * page does not delay its start. One fault of a huge page (zeroing 2 MiB) is the longest that an allocation
 * takes: 0.2 ms, but several in a virtual machine that has to get the memory from its host. Whoever minds
 * reserves: such arenas are touched ahead and stay.
 *
 * Under AddressSanitizer freed blocks are poisoned, so a stale inode pointer is found as with malloc. */
#include "meta/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define MEMORY_POISONING 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_POISONING 1
#endif
#ifdef MEMORY_POISONING
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define ARENA_SIZE ((size_t)2 << 20)
#define SLAB_SHIFT 16
#define SLAB_SIZE ((size_t)1 << SLAB_SHIFT)
#define ARENA_SLABS (ARENA_SIZE / SLAB_SIZE)
#define FINE_MAX 512u /* classes 16 bytes apart up to here, 128 bytes apart beyond */

struct free_block {
    struct free_block *next;
};

struct slab {
    struct slab *next; /* in memory.partial */
    struct slab *prev;
    struct free_block *freed;
    uint32_t mark; /* bytes handed out so far, from the start of the slab */
    uint16_t live;
    uint8_t class;
    bool listed;
};

/* In front of a large block; keeps its alignment. */
struct large {
    _Alignas(MEMORY_ALIGNMENT) struct list link;
};

struct arena {
    struct arena *next; /* in memory.arenas */
    struct arena *prev;
    struct arena *next_open;
    struct arena *prev_open;
    uint64_t serial;
    uint32_t free_slabs; /* bit set: slab not in use */
    struct slab slabs[ARENA_SLABS];
};

/* Slab 0 starts behind the headers, at a cache line. */
#define ARENA_HEADER ((sizeof(struct arena) + 63) & ~(size_t)63)
static_assert(ARENA_SLABS == 32, "one bit a slab");
static_assert(SLAB_SIZE == MEMORY_SLAB, "memory_place tells of slabs");
static_assert(ARENA_HEADER + MEMORY_BLOCK_MAX < SLAB_SIZE, "slab 0 holds a block of every class");

static unsigned class_of(size_t size)
{
    if (size <= FINE_MAX)
        return size == 0 ? 0 : (unsigned)((size - 1) / 16);
    return (unsigned)(FINE_MAX / 16 + (size - FINE_MAX - 1) / 128);
}

static uint32_t class_size(unsigned class)
{
    return class < FINE_MAX / 16 ? (class + 1) * 16 : FINE_MAX + (class - FINE_MAX / 16 + 1) * 128;
}

static size_t large_size(size_t size)
{
    return sizeof(struct large) + ((size + MEMORY_ALIGNMENT - 1) & ~(size_t)(MEMORY_ALIGNMENT - 1));
}

static struct arena *arena_of(const void *block)
{
    return (struct arena *)((uintptr_t)block & ~(ARENA_SIZE - 1));
}

static unsigned slab_number(const struct slab *slab)
{
    return (unsigned)(slab - arena_of(slab)->slabs);
}

static char *slab_start(const struct slab *slab)
{
    return (char *)arena_of(slab) + (size_t)slab_number(slab) * SLAB_SIZE;
}

static void arena_open(struct memory *memory, struct arena *arena)
{
    arena->prev_open = NULL;
    arena->next_open = memory->open;
    if (memory->open != NULL)
        memory->open->prev_open = arena;
    memory->open = arena;
}

static void arena_shut(struct memory *memory, struct arena *arena)
{
    if (arena->prev_open != NULL)
        arena->prev_open->next_open = arena->next_open;
    else
        memory->open = arena->next_open;
    if (arena->next_open != NULL)
        arena->next_open->prev_open = arena->prev_open;
}

static struct arena *arena_create(struct memory *memory, bool huge)
{
    char *area = mmap(NULL, 2 * ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return NULL;
    char *start = (char *)(((uintptr_t)area + ARENA_SIZE - 1) & ~(ARENA_SIZE - 1));
    if (start > area)
        munmap(area, (size_t)(start - area));
    munmap(start + ARENA_SIZE, (size_t)(area + ARENA_SIZE - start));
    if (huge)
        madvise(start, ARENA_SIZE, MADV_HUGEPAGE);

    struct arena *arena = (struct arena *)start;
    arena->serial = memory->arenas_made++;
    arena->free_slabs = UINT32_MAX;
    arena->next = memory->arenas;
    if (memory->arenas != NULL)
        memory->arenas->prev = arena;
    memory->arenas = arena;
    memory->arena_count++;
    arena_open(memory, arena);
    return arena;
}

static void arena_destroy(struct memory *memory, struct arena *arena)
{
    arena_shut(memory, arena);
    if (arena->prev != NULL)
        arena->prev->next = arena->next;
    else
        memory->arenas = arena->next;
    if (arena->next != NULL)
        arena->next->prev = arena->prev;
    memory->arena_count--;
    ASAN_UNPOISON_MEMORY_REGION(arena, ARENA_SIZE);
    munmap(arena, ARENA_SIZE);
}

static void slab_list(struct memory *memory, struct slab *slab)
{
    slab->prev = NULL;
    slab->next = memory->partial[slab->class];
    if (slab->next != NULL)
        slab->next->prev = slab;
    memory->partial[slab->class] = slab;
    slab->listed = true;
}

static void slab_unlist(struct memory *memory, struct slab *slab)
{
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        memory->partial[slab->class] = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    slab->listed = false;
}

static struct slab *slab_create(struct memory *memory, unsigned class)
{
    struct arena *arena = memory->open != NULL ? memory->open : arena_create(memory, memory->arena_count > 0);
    if (arena == NULL)
        return NULL;
    unsigned number = (unsigned)__builtin_ctz(arena->free_slabs);
    arena->free_slabs &= ~(UINT32_C(1) << number);
    if (arena->free_slabs == 0)
        arena_shut(memory, arena);
    struct slab *slab = &arena->slabs[number];
    *slab = (struct slab){.class = (uint8_t) class, .mark = number == 0 ? (uint32_t)ARENA_HEADER : 0};
    ASAN_UNPOISON_MEMORY_REGION(slab_start(slab) + slab->mark, SLAB_SIZE - slab->mark);
    slab_list(memory, slab);
    memory->bytes += SLAB_SIZE;
    return slab;
}

static void slab_destroy(struct memory *memory, struct slab *slab)
{
    struct arena *arena = arena_of(slab);
    slab_unlist(memory, slab);
    if (arena->free_slabs == 0)
        arena_open(memory, arena);
    arena->free_slabs |= UINT32_C(1) << slab_number(slab);
    memory->bytes -= SLAB_SIZE;
    /* Another open arena keeps room for the next slab, so this one may go. */
    if (arena->free_slabs == UINT32_MAX && memory->arena_count > memory->reserved &&
        (memory->open != arena || arena->next_open != NULL))
        arena_destroy(memory, arena);
}

void memory_init(struct memory *memory)
{
    *memory = (struct memory){0};
    list_init(&memory->large);
}

void memory_free_all(struct memory *memory)
{
    struct arena *next;
    for (struct arena *arena = memory->arenas; arena != NULL; arena = next) {
        next = arena->next;
        ASAN_UNPOISON_MEMORY_REGION(arena, ARENA_SIZE);
        munmap(arena, ARENA_SIZE);
    }
    list_for_each_safe (link, &memory->large)
        free(container_of(link, struct large, link));
    memory_init(memory);
}

int memory_reserve(struct memory *memory, uint64_t bytes)
{
    uint64_t wanted = (bytes + ARENA_SIZE - 1) / ARENA_SIZE;
    while (memory->arena_count < wanted) {
        struct arena *arena = arena_create(memory, true);
        if (arena == NULL)
            return -ENOMEM;
        memory->reserved = memory->arena_count;
        if (madvise(arena, ARENA_SIZE, MADV_POPULATE_WRITE) == 0)
            continue;
        if (errno != EINVAL)
            return -ENOMEM;
        for (size_t at = 0; at < ARENA_SIZE; at += 4096) /* before Linux 5.14 */
            ((volatile char *)arena)[at] = ((volatile char *)arena)[at];
    }
    return 0;
}

uint64_t memory_taken(const struct memory *memory)
{
    return memory->arena_count * ARENA_SIZE + memory->large_bytes;
}

size_t memory_rounded(size_t size)
{
    return size <= MEMORY_BLOCK_MAX ? class_size(class_of(size)) : large_size(size);
}

void *memory_allocate(struct memory *memory, size_t size)
{
    if (memory->refuse != NULL && memory->refuse(memory->refuse_owner, size))
        return NULL;
    if (size > MEMORY_BLOCK_MAX) {
        struct large *large = aligned_alloc(MEMORY_ALIGNMENT, large_size(size));
        if (large == NULL)
            return NULL;
        list_push_back(&memory->large, &large->link);
        memory->bytes += large_size(size);
        memory->large_bytes += large_size(size);
        return large + 1;
    }
    unsigned class = class_of(size);
    uint32_t block_size = class_size(class);
    struct slab *slab = memory->partial[class];
    if (slab == NULL) {
        slab = slab_create(memory, class);
        if (slab == NULL)
            return NULL;
    }
    void *block;
    if (slab->freed != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(slab->freed, block_size);
        block = slab->freed;
        slab->freed = slab->freed->next;
    } else {
        block = slab_start(slab) + slab->mark;
        slab->mark += block_size;
    }
    slab->live++;
    if (slab->freed == NULL && slab->mark + block_size > SLAB_SIZE)
        slab_unlist(memory, slab);
    return block;
}

void memory_expect(const struct memory *memory, size_t size)
{
    const struct slab *slab = size <= MEMORY_BLOCK_MAX ? memory->partial[class_of(size)] : NULL;
    if (slab == NULL)
        return;
    const char *block = slab->freed != NULL ? (const char *)slab->freed : slab_start(slab) + slab->mark;
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch(block + at, 1);
}

uint64_t memory_place(const void *block)
{
    return arena_of(block)->serial * ARENA_SIZE + ((uintptr_t)block & (ARENA_SIZE - 1));
}

static const struct slab *slab_of(const void *block)
{
    return &arena_of(block)->slabs[((uintptr_t)block & (ARENA_SIZE - 1)) >> SLAB_SHIFT];
}

void *memory_beside(const void *block, ptrdiff_t distance)
{
    const struct slab *slab = slab_of(block);
    char *start = slab_start(slab), *beside = (char *)block + distance;
    ptrdiff_t first = slab_number(slab) == 0 ? (ptrdiff_t)ARENA_HEADER : 0, at = beside - start;
    if (at < first || at >= (ptrdiff_t)slab->mark || distance % (ptrdiff_t)class_size(slab->class) != 0)
        return NULL;
#ifdef MEMORY_POISONING
    if (__asan_address_is_poisoned(beside))
        return NULL; /* free */
#endif
    return beside;
}

void memory_release(struct memory *memory, void *block, size_t size)
{
    if (size > MEMORY_BLOCK_MAX) {
        struct large *large = (struct large *)block - 1;
        list_remove(&large->link);
        memory->bytes -= large_size(size);
        memory->large_bytes -= large_size(size);
        free(large);
        return;
    }
    struct slab *slab = (struct slab *)slab_of(block);
    assert(slab->class == class_of(size) && slab->live > 0);
    struct free_block *freed = block;
    freed->next = slab->freed;
    slab->freed = freed;
    ASAN_POISON_MEMORY_REGION(block, class_size(slab->class));
    slab->live--;
    if (!slab->listed)
        slab_list(memory, slab);
    if (slab->live == 0)
        slab_destroy(memory, slab);
}
