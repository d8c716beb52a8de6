/* Pages out of one region. Who finds none waits; all that wait try again, in order, whenever something is
 * given back, and nobody overtakes them: so a large request gets its run once those before it have drained.
 * What is larger than an eighth of the region is allocated for itself: it would keep everybody else waiting.
 */
#include "store/staging.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/sync.h"
#include "store/pages.h"
#include "store/region.h"

struct staging {
    struct loop *loop;
    struct region region;
    struct pages *pages;
    uint32_t page_count;
    uint32_t writing;      /* pages taken for writes */
    struct mutex lines[2]; /* [for_write]: who holds it is next */
    struct wait_queue given;
};

int staging_create(struct loop *loop, struct net *net, uint64_t length, struct staging **staging)
{
    uint64_t pages = length >> PAGE_SHIFT;
    if (length < (1u << 20) || pages >= PAGES_NONE)
        return -EINVAL;
    struct staging *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->loop = loop;
    made->page_count = (uint32_t)pages;
    mutex_init(&made->lines[0]);
    mutex_init(&made->lines[1]);
    wait_queue_init(&made->given);
    int status = pages_create(made->page_count, &made->pages);
    if (status == 0)
        status = region_make(&made->region, net, (size_t)pages << PAGE_SHIFT);
    if (status != 0) {
        staging_destroy(made);
        return status;
    }
    *staging = made;
    return 0;
}

uint64_t staging_bytes(const struct staging *staging)
{
    return (uint64_t)staging->page_count << PAGE_SHIFT;
}

void staging_destroy(struct staging *staging)
{
    region_free(&staging->region);
    if (staging->pages != NULL)
        pages_destroy(staging->pages);
    free(staging);
}

static bool take(struct staging *staging, bool for_write, struct staging_memory *memory)
{
    if (for_write && staging->writing + memory->pages > staging->page_count / 4 * 3)
        return false;
    memory->first = pages_take(staging->pages, memory->pages);
    if (memory->first == PAGES_NONE)
        return false;
    if (for_write)
        staging->writing += memory->pages;
    memory->bytes = staging->region.bytes + ((size_t)memory->first << PAGE_SHIFT);
    return true;
}

int staging_take(struct staging *staging, uint64_t length, bool for_write, struct staging_memory *memory)
{
    *memory = (struct staging_memory){.pages = (uint32_t)((length + PAGE_BYTES - 1) >> PAGE_SHIFT),
                                      .first = PAGES_NONE};
    if (memory->pages > staging->page_count / 8) {
        memory->bytes = aligned_alloc(PAGE_BYTES, (size_t)memory->pages << PAGE_SHIFT);
        return memory->bytes == NULL ? -ENOMEM : 0;
    }
    struct mutex *line = &staging->lines[for_write];
    int status = mutex_lock(staging->loop, line, 0);
    if (status != 0)
        return status;
    while (status == 0 && !take(staging, for_write, memory))
        status = wait_queue_wait(staging->loop, &staging->given, 0);
    mutex_unlock(staging->loop, line);
    return status;
}

void staging_give(struct staging *staging, struct staging_memory *memory, bool for_write)
{
    if (memory->first == PAGES_NONE) {
        free(memory->bytes);
    } else {
        pages_give(staging->pages, memory->first, memory->pages);
        if (for_write)
            staging->writing -= memory->pages;
        wait_queue_wake_all(staging->loop, &staging->given);
    }
    memory->bytes = NULL;
}
