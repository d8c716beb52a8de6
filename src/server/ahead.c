/* Answers before they are asked for.
 *
 * Programs look at many files one after the other, mostly in the order in which they were made: a listing in
 * time order, an archive, a copy, the next step of a job that reads what the one before wrote. Each question
 * alone costs a request, since the attribute board (meta/board.h) shows what was asked for twice. Files made
 * one after the other lie one behind the other in memory, so such a series shows by its addresses, as a
 * processor's prefetcher sees it: when two questions of a session in a row are as far apart as the two
 * before, in one slab, the next few answers are put up on the board, as far apart again. The client finds
 * them there and asks nobody; its next question comes from behind them, and finds twice as many.
 *
 * A series goes on within one slab (64 KiB, some 400 files); in the next one two questions are enough, if
 * they are as far apart. Directions and distances follow from the allocator: backwards where freed blocks
 * are used again, in steps of several where files of two kinds were made in turns.
 *
 * What is put up is as good as any answer there: found in this very step, in a handler that has passed the
 * gate, of an inode that is here under the name that it was made with. What a handler would have to wait for
 * - an inode that is busy, any name while anything is locked - is left out. A few are put up before the
 * reply, the others behind it. */
#include "meta/memory.h"
#include "server/state.h"

#define AHEAD_FIRST 4u
#define AHEAD_MOST 32u  /* 0.1 us each, during which nobody is served */
#define AHEAD_BEFORE 3u /* of them before the reply, or the client comes for the first before it is there */
#define AHEAD_EARLY 2u  /* so many steps before one is written its memory is asked for */
#define AHEAD_DISTANCE 2048u /* between two of a series, bytes */

/* Whether the question about the inode at `place` comes from behind all that was put up for its series. */
static bool series_continues(struct ahead_series *series, uint64_t place)
{
    int64_t distance = (int64_t)(place - series->place);
    bool same_slab = (place ^ series->place) < MEMORY_SLAB;
    series->place = place;
    if (!same_slab) {
        series->left = 0; /* it may go on there */
        return false;
    }
    if (series->distance != 0 && distance % series->distance == 0) {
        int64_t steps = distance / series->distance;
        if (steps >= 1 && steps <= (int64_t)series->left + 1) {
            series->left -= steps <= series->left ? (uint32_t)steps : series->left;
            return series->left == 0;
        }
    }
    bool near = distance != 0 && distance <= (int64_t)AHEAD_DISTANCE && distance >= -(int64_t)AHEAD_DISTANCE;
    *series = (struct ahead_series){.place = place, .distance = near ? (int32_t)distance : 0};
    return false;
}

/* May bring into the cache what put_up will write. */
static void expect(struct server *server, const struct inode *inode, bool by_name)
{
    if (by_name)
        meta_expect_name(server->meta, inode);
    else
        meta_expect_inode(server->meta, inode);
}

static void put_up(struct server *server, struct inode *inode, bool by_name)
{
    struct attributes attributes;
    if (inode->busy != NULL || (inode->state & INODE_PUBLISHED) != 0)
        return;
    inode_attributes(server, inode, &attributes);
    if (!attributes_keep(server, inode, &attributes))
        return;
    if (by_name)
        meta_publish_name_ahead(server->meta, inode, &attributes);
    else
        meta_publish_inode_ahead(server->meta, inode, &attributes);
}

/* Puts up those from number `first` to `last` behind the inode. */
static void put_up_some(struct server *server, const struct ahead *ahead, const struct inode *inode,
                        uint32_t first, uint32_t last)
{
    struct inode *found[AHEAD_EARLY] = {NULL};
    /* Tombstones of directories that are gone stand in nobody's way here. */
    if (ahead->by_name && server->obstacles != server->tombstone_count)
        return;
    for (uint32_t i = first; i <= last + AHEAD_EARLY; i++) {
        struct inode **place = &found[i % AHEAD_EARLY];
        if (*place != NULL)
            put_up(server, *place, ahead->by_name);
        *place = i > last ? NULL : meta_inode_beside(server->meta, inode, (ptrdiff_t)i * ahead->distance);
        if (*place != NULL)
            expect(server, *place, ahead->by_name);
    }
}

struct ahead ahead_begin(struct server *server, const struct rpc_request *request, const struct inode *inode,
                         bool by_name)
{
    struct ahead_series *series =
        &server->ahead[(request->header->session * 2 + (by_name ? 1 : 0)) % AHEAD_SERIES];
    struct ahead ahead = {.by_name = by_name};
    if (__builtin_expect(!board_is_watched(server, request), 0) ||
        __builtin_expect(!series_continues(series, meta_inode_place(inode)), 1))
        return ahead;
    series->window = series->window == 0               ? AHEAD_FIRST
                     : 2 * series->window < AHEAD_MOST ? 2 * series->window
                                                       : AHEAD_MOST;
    series->left = series->window;
    ahead.inode = inode->number;
    ahead.distance = series->distance;
    ahead.window = series->window;
    put_up_some(server, &ahead, inode, 1, AHEAD_BEFORE);
    return ahead;
}

void ahead_go_on(struct server *server, const struct rpc_request *request, const struct ahead *ahead)
{
    struct inode *inode =
        board_is_watched(server, request) ? meta_inode_find(server->meta, ahead->inode) : NULL;
    if (inode == NULL)
        return;
    put_up_some(server, ahead, inode, AHEAD_BEFORE + 1, ahead->window);
    /* Who goes through all of them again need not ask for this one either. */
    put_up_some(server, ahead, inode, 0, 0);
}
