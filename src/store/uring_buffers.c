/* Runs come from the buddy allocator of pages.h, so what was used last is used next and stays in the
 * processor's cache. The first waiter is served as soon as a run of its length is free, and nobody overtakes
 * it: so a large transfer is not starved by small ones.
 *
 * A holder must not wait here for more. That is why reads and writes have a region each: whoever copies holds
 * memory of a write while it waits for that of a read. */
#include "store/uring_buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "runtime/task.h"

struct waiter {
    struct list link;
    uint32_t pages;
    uint32_t first;
    struct completion granted;
};

static int memory_take(struct uring_buffers *buffers)
{
    size_t length = (size_t)buffers->count << PAGE_SHIFT;
    void *memory = NULL;
    if (buffers->net != NULL) {
        int status = net_memory_allocate(buffers->net, length, &memory, &buffers->handle);
        if (status != 0)
            return status;
    } else {
        memory =
            mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            return -ENOMEM;
        /* Only advice: without huge pages everything works, slower. */
        madvise(memory, length, MADV_HUGEPAGE);
    }
    buffers->memory = memory;
    /* Without this, too. */
    disk_remember(buffers->disk, memory, length);
    return 0;
}

int uring_buffers_init(struct uring_buffers *buffers, struct loop *loop, struct disk *disk, struct net *net,
                       uint32_t pages)
{
    *buffers = (struct uring_buffers){.loop = loop, .disk = disk, .net = net, .count = pages};
    /* The longest run that is sure to come free. */
    buffers->largest = 1u << (31 - __builtin_clz(pages));
    if (buffers->largest > PAGES_RUN_MAX)
        buffers->largest = PAGES_RUN_MAX;
    list_init(&buffers->waiters);
    int status = pages_create(pages, &buffers->pages);
    return status == 0 ? memory_take(buffers) : status;
}

void uring_buffers_free(struct uring_buffers *buffers)
{
    if (buffers->pages != NULL)
        pages_destroy(buffers->pages);
    if (buffers->memory == NULL)
        return;
    disk_forget(buffers->disk, buffers->memory);
    if (buffers->net != NULL)
        net_memory_free(buffers->net, buffers->handle);
    else
        munmap(buffers->memory, (size_t)buffers->count << PAGE_SHIFT);
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
    *memory = buffers->memory + ((size_t)first << PAGE_SHIFT);
    return 0;
}

void uring_buffers_give(struct uring_buffers *buffers, char *memory, uint32_t pages)
{
    if (pages > buffers->largest) {
        free(memory);
        return;
    }
    pages_give(buffers->pages, (uint32_t)((size_t)(memory - buffers->memory) >> PAGE_SHIFT), pages);
    serve(buffers);
}
