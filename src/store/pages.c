/* A binary buddy allocator (Knowlton 1965) that hands out runs of any length.
 *
 * Free memory is kept as blocks of 2^order pages, aligned to their size, in one list per order, up to 64 MiB.
 * A run of n pages is cut from a block of the next power of two and the rest goes back at once, so nothing is
 * lost to rounding; a run that is given back is cut into aligned blocks, and each merges with its buddy as
 * long as that is free too. Hence any sequence that gives back everything restores the largest blocks.
 *
 * Invariants: `order[p]` is k + 1 exactly when a free block of order k begins at page p, else 0; a free block
 * and its free buddy never coexist below the largest order; `next` and `prev` hold page numbers + 1 (0:
 * none), so that fresh zeroed memory needs no initialisation and a big region costs nothing before it is
 * used. */
#include "store/pages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ORDER_MAX 14
#define ORDERS (ORDER_MAX + 1)

static_assert(PAGES_RUN_MAX == 1u << ORDER_MAX, "the largest run is one block");

struct links {
    uint32_t next;
    uint32_t prev;
};

struct pages {
    uint32_t count;
    uint64_t available;
    uint32_t heads[ORDERS]; /* page + 1 */
    struct links *links;
    uint8_t *order;
};

static void *reserve(size_t length)
{
    void *memory =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void push(struct pages *pages, uint32_t page, uint32_t order)
{
    uint32_t head = pages->heads[order];
    pages->links[page] = (struct links){.next = head, .prev = 0};
    if (head != 0)
        pages->links[head - 1].prev = page + 1;
    pages->heads[order] = page + 1;
    pages->order[page] = (uint8_t)(order + 1);
}

static void unlink_block(struct pages *pages, uint32_t page)
{
    uint32_t order = pages->order[page] - 1u;
    struct links links = pages->links[page];
    if (links.prev != 0)
        pages->links[links.prev - 1].next = links.next;
    else
        pages->heads[order] = links.next;
    if (links.next != 0)
        pages->links[links.next - 1].prev = links.prev;
    pages->order[page] = 0;
}

static void give_block(struct pages *pages, uint32_t page, uint32_t order)
{
    while (order < ORDER_MAX) {
        uint32_t buddy = page ^ (1u << order);
        if (buddy >= pages->count || pages->order[buddy] != order + 1)
            break;
        unlink_block(pages, buddy);
        page &= ~(1u << order);
        order++;
    }
    push(pages, page, order);
}

void pages_give(struct pages *pages, uint32_t first, uint32_t count)
{
    pages->available += count;
    while (count > 0) {
        uint32_t order = first == 0 ? ORDER_MAX : (uint32_t)__builtin_ctz(first);
        if (order > ORDER_MAX)
            order = ORDER_MAX;
        while ((1u << order) > count)
            order--;
        give_block(pages, first, order);
        first += 1u << order;
        count -= 1u << order;
    }
}

/* Takes a listed block and gives back what lies beyond count pages. */
static void take_block(struct pages *pages, uint32_t page, uint32_t count)
{
    uint32_t size = 1u << (pages->order[page] - 1u);
    unlink_block(pages, page);
    pages->available -= size;
    if (size > count)
        pages_give(pages, page + count, size - count);
}

uint32_t pages_take(struct pages *pages, uint32_t count)
{
    uint32_t least = count <= 1 ? 0 : 32u - (uint32_t)__builtin_clz(count - 1);
    for (uint32_t order = least; order <= ORDER_MAX; order++) {
        if (pages->heads[order] == 0)
            continue;
        uint32_t page = pages->heads[order] - 1;
        take_block(pages, page, count);
        return page;
    }
    return PAGES_NONE;
}

uint32_t pages_take_some(struct pages *pages, uint32_t count, uint32_t *taken)
{
    uint32_t page = pages_take(pages, count);
    if (page != PAGES_NONE) {
        *taken = count;
        return page;
    }
    for (uint32_t order = ORDERS; order-- > 0;) {
        if (pages->heads[order] == 0)
            continue;
        page = pages->heads[order] - 1;
        *taken = 1u << order < count ? 1u << order : count;
        take_block(pages, page, *taken);
        return page;
    }
    return PAGES_NONE;
}

/* The page before `first` is not free, so a free block that contains `first` begins there; the same holds for
 * every following step. */
uint32_t pages_take_at(struct pages *pages, uint32_t first, uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count && first + taken < pages->count && pages->order[first + taken] != 0) {
        uint32_t page = first + taken;
        uint32_t size = 1u << (pages->order[page] - 1u);
        uint32_t part = size < count - taken ? size : count - taken;
        take_block(pages, page, part);
        taken += part;
    }
    return taken;
}

uint32_t pages_take_from(struct pages *pages, uint32_t first, uint32_t count)
{
    if (first >= pages->count)
        return 0;
    for (uint32_t order = 0; order <= ORDER_MAX; order++) {
        uint32_t block = first & ~((1u << order) - 1);
        if (pages->order[block] != order + 1)
            continue;
        /* The block is cut before `first`; what lies behind is a matter of pages_take_at. */
        uint32_t size = 1u << order;
        unlink_block(pages, block);
        pages->available -= size;
        uint32_t here = block + size - first;
        uint32_t taken = here < count ? here : count;
        if (first > block)
            pages_give(pages, block, first - block);
        if (here > taken)
            pages_give(pages, first + taken, here - taken);
        return taken < count ? taken + pages_take_at(pages, first + taken, count - taken) : taken;
    }
    return 0;
}

uint64_t pages_available(const struct pages *pages)
{
    return pages->available;
}

int pages_create(uint32_t count, struct pages **result)
{
    struct pages *pages = calloc(1, sizeof(*pages));
    if (pages == NULL)
        return -ENOMEM;
    pages->count = count;
    pages->links = reserve((size_t)count * sizeof(*pages->links));
    pages->order = reserve(count);
    if (pages->links == NULL || pages->order == NULL) {
        pages_destroy(pages);
        return -ENOMEM;
    }
    pages_give(pages, 0, count);
    *result = pages;
    return 0;
}

void pages_destroy(struct pages *pages)
{
    if (pages->links != NULL)
        munmap(pages->links, (size_t)pages->count * sizeof(*pages->links));
    if (pages->order != NULL)
        munmap(pages->order, pages->count);
    free(pages);
}
