/* Plain memory is asked to lie in huge pages, as the transport's is. */
#include "store/region.h"

#include <errno.h>
#include <sys/mman.h>

int region_make(struct region *region, struct net *net, size_t length)
{
    void *memory = NULL;
    *region = (struct region){.length = length, .net = net};
    if (net != NULL) {
        int status = net_memory_allocate(net, length, &memory, &region->handle);
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
    region->bytes = memory;
    return 0;
}

void region_free(struct region *region)
{
    if (region->bytes == NULL)
        return;
    if (region->net != NULL)
        net_memory_free(region->net, region->handle);
    else
        munmap(region->bytes, region->length);
    region->bytes = NULL;
}
