/* Extents never move: a chunk that needs more room first grows in place, when the pages behind its last run
 * are free, and otherwise gets another run. So memory under a transfer in flight needs no pinning against
 * growth, and growth copies nothing.
 *
 * Room is taken ahead in powers of two (the caller's goal), which keeps the runs of a file that is written in
 * small steps few and mostly one. Near the end of the capacity the goal is dropped and any pages will do: a
 * chunk may have as many runs as it takes, so every free page is usable.
 *
 * A hole that gets memory again asks for the pages between those of its neighbours: mostly nobody has taken
 * them, and the chunk is one run again. Runs that adjoin in memory are joined. */
#include "store/extents.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct extent *items(struct extents *extents)
{
    return extents->capacity == 0 ? &extents->one : extents->many;
}

/* Room for so many more extents. */
static int make_places(struct extents *extents, uint32_t more)
{
    uint32_t room = extents->capacity == 0 ? 1 : extents->capacity;
    if (extents->count + more <= room)
        return 0;
    while (room < extents->count + more)
        room *= 4;
    struct extent *many = extents->capacity == 0 ? NULL : extents->many;
    struct extent only = extents->one;
    many = realloc(many, room * sizeof(*many));
    if (many == NULL)
        return -ENOMEM;
    if (extents->capacity == 0)
        many[0] = only;
    extents->many = many;
    extents->capacity = room;
    return 0;
}

static int append(struct extents *extents, uint32_t first, uint32_t pages)
{
    int status = make_places(extents, 1);
    if (status != 0)
        return status;
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
    if (last->first == PAGES_NONE)
        return;
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
        if (last->first == PAGES_NONE)
            extents->holes -= part;
        else
            pages_give(pages, last->first + last->pages, part);
        if (last->pages == 0)
            extents->count--;
    }
    if (extents->count == 0 && extents->capacity != 0) {
        free(extents->many);
        extents->capacity = 0;
    }
}

/* ---- holes ---- */

int extents_grow_hole(struct extents *extents, uint32_t end)
{
    if (end <= extents->pages)
        return 0;
    uint32_t pages = end - extents->pages;
    struct extent *last = extents->count == 0 ? NULL : &items(extents)[extents->count - 1];
    if (last != NULL && last->first == PAGES_NONE) {
        last->pages += pages;
        extents->pages += pages;
    } else {
        int status = append(extents, PAGES_NONE, pages);
        if (status != 0)
            return status;
    }
    extents->holes += pages;
    return 0;
}

/* Makes `page` (inside or at the end) the beginning of an extent; returns its place. Room for one more is
 * there. */
static uint32_t split(struct extents *extents, uint32_t page)
{
    struct extent *item = items(extents);
    uint32_t place = 0;
    for (; place < extents->count && page >= item[place].pages; place++)
        page -= item[place].pages;
    if (page == 0)
        return place;
    memmove(item + place + 1, item + place, (extents->count - place) * sizeof(*item));
    extents->count++;
    item[place].pages = page;
    item[place + 1].pages -= page;
    if (item[place + 1].first != PAGES_NONE)
        item[place + 1].first += page;
    return place + 1;
}

/* Joins neighbours that adjoin in memory, and holes. */
static void join(struct extents *extents)
{
    struct extent *item = items(extents);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < extents->count; i++) {
        bool holes = item[kept].first == PAGES_NONE && item[i].first == PAGES_NONE;
        bool adjoin = item[kept].first != PAGES_NONE && item[i].first == item[kept].first + item[kept].pages;
        if (holes || adjoin)
            item[kept].pages += item[i].pages;
        else
            item[++kept] = item[i];
    }
    if (extents->count > 0)
        extents->count = kept + 1;
}

int extents_punch(struct extents *extents, struct pages *pages, uint32_t start, uint32_t end)
{
    if (end > extents->pages)
        end = extents->pages;
    if (start >= end)
        return 0;
    int status = make_places(extents, 2);
    if (status != 0)
        return status;
    uint32_t first = split(extents, start);
    uint32_t last = split(extents, end);
    for (struct extent *item = items(extents) + first; item < items(extents) + last; item++) {
        if (item->first == PAGES_NONE)
            continue;
        pages_give(pages, item->first, item->pages);
        extents->holes += item->pages;
        item->first = PAGES_NONE;
    }
    join(extents);
    return 0;
}

uint32_t extents_holes(const struct extents *extents, uint32_t start, uint32_t end)
{
    const struct extent *item = extents->capacity == 0 ? &extents->one : extents->many;
    uint32_t found = 0;
    for (uint32_t i = 0, at = 0; extents->holes > 0 && i < extents->count && at < end;
         at += item[i++].pages) {
        uint32_t from = at > start ? at : start;
        uint32_t to = at + item[i].pages < end ? at + item[i].pages : end;
        if (item[i].first == PAGES_NONE && from < to)
            found += to - from;
    }
    return found;
}

uint32_t extents_seek(const struct extents *extents, uint32_t start, bool hole)
{
    const struct extent *item = extents->capacity == 0 ? &extents->one : extents->many;
    for (uint32_t i = 0, at = 0; i < extents->count; at += item[i++].pages)
        if (at + item[i].pages > start && (item[i].first == PAGES_NONE) == hole)
            return at > start ? at : start;
    return extents->pages;
}

/* The page that would make the hole at `place` one with its neighbours. */
static uint32_t wanted_page(const struct extent *item, uint32_t place, uint32_t count)
{
    if (place > 0 && item[place - 1].first != PAGES_NONE)
        return item[place - 1].first + item[place - 1].pages;
    uint32_t before = item[place].pages; /* up to the next run that has memory */
    for (uint32_t next = place + 1; next < count; before += item[next++].pages)
        if (item[next].first != PAGES_NONE)
            return item[next].first >= before ? item[next].first - before : PAGES_NONE;
    return PAGES_NONE;
}

int extents_fill(struct extents *extents, struct pages *pages, char *region, uint32_t start, uint32_t end)
{
    uint32_t missing = extents_holes(extents, start, end);
    if (missing > pages_available(pages))
        return -ENOSPC;
    int status = 0;
    while (missing > 0 && (status = make_places(extents, 3)) == 0) {
        uint32_t page = extents_seek(extents, start, true);
        uint32_t place = split(extents, page);
        uint32_t hole = items(extents)[place].pages < end - page ? items(extents)[place].pages : end - page;
        split(extents, page + hole);
        uint32_t wanted = wanted_page(items(extents), place, extents->count);
        uint32_t first = wanted, taken = 0;
        if (wanted != PAGES_NONE)
            taken = pages_take_from(pages, wanted, hole);
        if (taken == 0)
            first = pages_take_some(pages, hole, &taken);
        if (taken < hole)
            split(extents, page + taken);
        struct extent *item = &items(extents)[place];
        item->first = first;
        extents->holes -= taken;
        missing -= taken;
        memset(region + ((uint64_t)first << PAGE_SHIFT), 0, (size_t)taken << PAGE_SHIFT);
    }
    join(extents);
    return status;
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
    run->iov_base = walk->extent->first == PAGES_NONE
                        ? NULL
                        : walk->region + ((uint64_t)walk->extent->first << PAGE_SHIFT) + walk->skip;
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
        if (run.iov_base == NULL)
            return 0;
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
        if (run.iov_base != NULL)
            memset(run.iov_base, 0, run.iov_len);
}

void extents_read(const struct extents *extents, char *region, uint32_t offset, uint32_t length, void *into)
{
    struct walk walk = walk_begin(extents, region, offset, length);
    struct iovec run;
    for (char *place = into; walk_next(&walk, &run); place += run.iov_len) {
        if (run.iov_base != NULL)
            memcpy(place, run.iov_base, run.iov_len);
        else
            memset(place, 0, run.iov_len);
    }
}

void extents_write(const struct extents *extents, char *region, uint32_t offset, uint32_t length,
                   const void *from)
{
    struct walk walk = walk_begin(extents, region, offset, length);
    struct iovec run;
    for (const char *place = from; walk_next(&walk, &run); place += run.iov_len)
        memcpy(run.iov_base, place, run.iov_len);
}
