/* Runs come from the buddy allocator of pages.h, so what was used last is used next and stays in the
 * processor's cache. The first waiter is served as soon as a run of its length is free, and nobody overtakes
 * it: so a large transfer is not starved by small ones.
 *
 * A holder must not wait here for more. That is why reads and writes have a region each: whoever copies holds
 * memory of a write while it waits for that of a read. */
#include "store/uring_buffers.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/task.h"

struct waiter {
    struct list link;
    uint32_t pages;
    uint32_t first;
    struct completion granted;
};

int uring_buffers_init(struct uring_buffers *buffers, struct loop *loop, struct disk *disk, struct net *net,
                       uint32_t pages)
{
    *buffers = (struct uring_buffers){.loop = loop, .disk = disk, .count = pages};
    /* The longest run that is sure to come free. */
    buffers->largest = 1u << (31 - __builtin_clz(pages));
    if (buffers->largest > PAGES_RUN_MAX)
        buffers->largest = PAGES_RUN_MAX;
    list_init(&buffers->waiters);
    int status = pages_create(pages, &buffers->pages);
    if (status == 0)
        status = region_make(&buffers->region, net, (size_t)pages << PAGE_SHIFT);
    if (status == 0) /* only advice, too */
        disk_remember(disk, buffers->region.bytes, buffers->region.length);
    return status;
}

void uring_buffers_free(struct uring_buffers *buffers)
{
    if (buffers->pages != NULL)
        pages_destroy(buffers->pages);
    if (buffers->region.bytes != NULL)
        disk_forget(buffers->disk, buffers->region.bytes);
    region_free(&buffers->region);
}

/* Serves waiters as far as there is memory. */
static void serve(struct uring_buffers *buffers)
{
    while (!list_empty(&buffers->waiters)) {
        struct waiter *waiter = container_of(buffers->waiters.next, struct waiter, link);
        waiter->first = pages_take(buffers->pages, waiter->pages);
        if (waiter->first == PAGES_NONE)
            return;
        list_remove(&waiter->link);
        completion_fire(&waiter->granted, 0);
    }
}

int uring_buffers_take(struct uring_buffers *buffers, uint32_t pages, char **memory)
{
    if (pages > buffers->largest) {
        *memory = aligned_alloc(PAGE_BYTES, (size_t)pages << PAGE_SHIFT);
        return *memory == NULL ? -ENOMEM : 0;
    }
    uint32_t first = list_empty(&buffers->waiters) ? pages_take(buffers->pages, pages) : PAGES_NONE;
    if (first == PAGES_NONE) {
        struct waiter waiter = {.pages = pages, .granted = COMPLETION_INIT};
        list_push_back(&buffers->waiters, &waiter.link);
        int status = await(buffers->loop, &waiter.granted);
        if (status != 0) {
            list_remove(&waiter.link);
            serve(buffers);
            return status;
        }
        first = waiter.first;
    }
    *memory = buffers->region.bytes + ((size_t)first << PAGE_SHIFT);
    return 0;
}

void uring_buffers_give(struct uring_buffers *buffers, char *memory, uint32_t pages)
{
    if (pages > buffers->largest) {
        free(memory);
        return;
    }
    pages_give(buffers->pages, (uint32_t)((size_t)(memory - buffers->region.bytes) >> PAGE_SHIFT), pages);
    serve(buffers);
}
