/* Extents never move: a chunk that needs more room first grows in place, when the pages behind its last run
 * are free, and otherwise gets another run. So memory under a transfer in flight needs no pinning against
 * growth, and growth copies nothing.
 *
 * Room is taken ahead in powers of two (the caller's goal), which keeps the runs of a file that is written in
 * small steps few and mostly one. Near the end of the capacity the goal is dropped and any pages will do: a
 * chunk may have as many runs as it takes, so every free page is usable. */
#include "store/extents.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct extent *items(struct extents *extents)
{
    return extents->capacity == 0 ? &extents->one : extents->many;
}

static int append(struct extents *extents, uint32_t first, uint32_t pages)
{
    uint32_t room = extents->capacity == 0 ? 1 : extents->capacity;
    if (extents->count == room) {
        struct extent *many = extents->capacity == 0 ? NULL : extents->many;
        struct extent only = extents->one;
        many = realloc(many, room * 4 * sizeof(*many));
        if (many == NULL)
            return -ENOMEM;
        if (extents->capacity == 0)
            many[0] = only;
        extents->many = many;
        extents->capacity = room * 4;
    }
    items(extents)[extents->count++] = (struct extent){first, pages};
    extents->pages += pages;
    return 0;
}

/* Extends the last run in place by up to count pages. */
static void extend(struct extents *extents, struct pages *pages, uint32_t count)
{
    if (extents->count == 0)
        return;
    struct extent *last = &items(extents)[extents->count - 1];
    uint32_t taken = pages_take_at(pages, last->first + last->pages, count);
    last->pages += taken;
    extents->pages += taken;
}

int extents_grow(struct extents *extents, struct pages *pages, uint32_t needed, uint32_t goal)
{
    uint32_t before = extents->pages;
    if (needed - before > pages_available(pages))
        return -ENOSPC;
    extend(extents, pages, goal - before);
    if (extents->pages < needed) {
        uint32_t piece = goal - extents->pages;
        uint32_t first = pages_take(pages, piece);
        int status = 0;
        if (first != PAGES_NONE) {
            status = append(extents, first, piece);
            if (status != 0)
                pages_give(pages, first, piece);
        }
        while (status == 0 && extents->pages < needed) {
            first = pages_take_some(pages, needed - extents->pages, &piece);
            status = append(extents, first, piece);
            if (status != 0)
                pages_give(pages, first, piece);
        }
        if (status != 0) {
            extents_shrink(extents, pages, before);
            return status;
        }
    }
    return 0;
}

void extents_shrink(struct extents *extents, struct pages *pages, uint32_t keep)
{
    while (extents->pages > keep) {
        struct extent *last = &items(extents)[extents->count - 1];
        uint32_t surplus = extents->pages - keep;
        uint32_t part = surplus < last->pages ? surplus : last->pages;
        last->pages -= part;
        extents->pages -= part;
        pages_give(pages, last->first + last->pages, part);
        if (last->pages == 0)
            extents->count--;
    }
    if (extents->count == 0 && extents->capacity != 0) {
        free(extents->many);
        extents->capacity = 0;
    }
}

/* The runs of a byte range, one after another. */
struct walk {
    const struct extent *extent;
    char *region;
    uint32_t skip; /* bytes into the extent */
    uint32_t left;
};

static struct walk walk_begin(const struct extents *extents, char *region, uint32_t offset, uint32_t length)
{
    const struct extent *extent = extents->capacity == 0 ? &extents->one : extents->many;
    while (length > 0 && offset >> PAGE_SHIFT >= extent->pages) {
        offset -= extent->pages << PAGE_SHIFT;
        extent++;
    }
    return (struct walk){extent, region, offset, length};
}

static bool walk_next(struct walk *walk, struct iovec *run)
{
    if (walk->left == 0)
        return false;
    uint32_t here = (walk->extent->pages << PAGE_SHIFT) - walk->skip;
    run->iov_base = walk->region + ((uint64_t)walk->extent->first << PAGE_SHIFT) + walk->skip;
    run->iov_len = here < walk->left ? here : walk->left;
    walk->left -= (uint32_t)run->iov_len;
    walk->skip = 0;
    walk->extent++;
    return true;
}

uint32_t extents_map(const struct extents *extents, char *region, uint32_t offset, uint32_t length,
                     struct iovec *vector, uint32_t max)
{
    struct walk walk = walk_begin(extents, region, offset, length);
    struct iovec run;
    uint32_t count = 0;
    while (walk_next(&walk, &run)) {
        if (count > 0 && (char *)vector[count - 1].iov_base + vector[count - 1].iov_len == run.iov_base) {
            vector[count - 1].iov_len += run.iov_len;
            continue;
        }
        if (count == max)
            return 0;
        vector[count++] = run;
    }
    return count;
}

void extents_zero(const struct extents *extents, char *region, uint32_t start, uint32_t end)
{
    struct walk walk = walk_begin(extents, region, start, start < end ? end - start : 0);
    struct iovec run;
    while (walk_next(&walk, &run))
        memset(run.iov_base, 0, run.iov_len);
}

void extents_read(const struct extents *extents, char *region, uint32_t offset, uint32_t length, void *into)
{
    struct walk walk = walk_begin(extents, region, offset, length);
    struct iovec run;
    for (char *place = into; walk_next(&walk, &run); place += run.iov_len)
        memcpy(place, run.iov_base, run.iov_len);
}

void extents_write(const struct extents *extents, char *region, uint32_t offset, uint32_t length,
                   const void *from)
{
    struct walk walk = walk_begin(extents, region, offset, length);
    struct iovec run;
    for (const char *place = from; walk_next(&walk, &run); place += run.iov_len)
        memcpy(run.iov_base, place, run.iov_len);
}
