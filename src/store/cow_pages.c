/* A page is free, in use, retired, or merely pinned.
 *
 * Retired pages are linked through an array, so that retiring never allocates and cannot fail. They pass two
 * lists: `open` collects, and when the journal cuts a group (cow_pages_seal, called from the engine's flush)
 * all of it moves to `sealed`, with the position of the cut; when that position is durable all of `sealed` is
 * free. Should a group be cut while an earlier one is not durable yet, both wait for the later. The lists
 * keep the order of retirement, in which neighbours mostly follow one another, so they go back in runs.
 *
 * A page that becomes free while it is pinned is marked instead, and the last reader frees it. */
#include "store/cow_pages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PIN_FREE (UINT32_C(1) << 31) /* with the count of pins: the last one frees the page */

struct retired {
    uint32_t first; /* page; valid with count > 0 */
    uint32_t last;
    uint64_t count;
};

struct cow_pages {
    struct pages *pages;
    uint32_t count;
    uint32_t *next; /* per page, in a list of retired ones */
    uint32_t *pins; /* per page */
    struct retired open;
    struct retired sealed;
    uint64_t position; /* that frees `sealed` */
};

static uint32_t *array_reserve(uint32_t count)
{
    void *memory = mmap(NULL, (size_t)count * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void array_release(uint32_t *array, uint32_t count)
{
    if (array != NULL)
        munmap(array, (size_t)count * sizeof(uint32_t));
}

int cow_pages_create(uint32_t count, struct cow_pages **result)
{
    struct cow_pages *cow = calloc(1, sizeof(*cow));
    if (cow == NULL)
        return -ENOMEM;
    cow->count = count;
    cow->next = array_reserve(count);
    cow->pins = array_reserve(count);
    if (cow->next == NULL || cow->pins == NULL || pages_create(count, &cow->pages) != 0) {
        cow_pages_destroy(cow);
        return -ENOMEM;
    }
    *result = cow;
    return 0;
}

void cow_pages_destroy(struct cow_pages *cow)
{
    if (cow->pages != NULL)
        pages_destroy(cow->pages);
    array_release(cow->next, cow->count);
    array_release(cow->pins, cow->count);
    free(cow);
}

bool cow_pages_claim(struct cow_pages *cow, uint32_t first, uint32_t count)
{
    while (count > 0) {
        uint32_t taken = pages_take_from(cow->pages, first, count);
        if (taken == 0)
            return false;
        first += taken;
        count -= taken;
    }
    return true;
}

uint64_t cow_pages_available(const struct cow_pages *cow)
{
    return pages_available(cow->pages);
}

uint64_t cow_pages_retired(const struct cow_pages *cow)
{
    return cow->open.count + cow->sealed.count;
}

uint32_t cow_pages_take(struct cow_pages *cow, uint32_t count, uint32_t *taken)
{
    return pages_take_some(cow->pages, count, taken);
}

void cow_pages_discard(struct cow_pages *cow, uint32_t first, uint32_t count)
{
    pages_give(cow->pages, first, count);
}

static void append(struct cow_pages *cow, struct retired *list, uint32_t first, uint32_t last, uint64_t count)
{
    if (count == 0)
        return;
    if (list->count > 0)
        cow->next[list->last] = first;
    else
        list->first = first;
    list->last = last;
    list->count += count;
}

void cow_pages_retire(struct cow_pages *cow, uint32_t page)
{
    append(cow, &cow->open, page, page, 1);
}

void cow_pages_seal(struct cow_pages *cow, uint64_t position)
{
    append(cow, &cow->sealed, cow->open.first, cow->open.last, cow->open.count);
    cow->open.count = 0;
    cow->position = position;
}

void cow_pages_committed(struct cow_pages *cow, uint64_t position)
{
    if (position < cow->position)
        return;
    uint32_t page = cow->sealed.first, start = page, length = 0;
    for (uint64_t left = cow->sealed.count; left > 0; left--, page = cow->next[page]) {
        if (length > 0 && page != start + length) {
            pages_give(cow->pages, start, length);
            length = 0;
        }
        if (cow->pins[page] > 0) {
            cow->pins[page] |= PIN_FREE;
            if (length > 0)
                pages_give(cow->pages, start, length);
            length = 0;
            continue;
        }
        if (length == 0)
            start = page;
        length++;
    }
    if (length > 0)
        pages_give(cow->pages, start, length);
    cow->sealed.count = 0;
}

void cow_pages_pin(struct cow_pages *cow, uint32_t first, uint32_t count)
{
    for (uint32_t page = first; page < first + count; page++)
        cow->pins[page]++;
}

void cow_pages_unpin(struct cow_pages *cow, uint32_t first, uint32_t count)
{
    for (uint32_t page = first; page < first + count; page++) {
        assert((cow->pins[page] & ~PIN_FREE) > 0);
        if (--cow->pins[page] == PIN_FREE) {
            cow->pins[page] = 0;
            pages_give(cow->pages, page, 1);
        }
    }
}
