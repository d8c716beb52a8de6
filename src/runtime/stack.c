/* Stacks of tasks.
 *
 * A stack is one private mapping: an inaccessible guard page, then the usable bytes, of which the kernel
 * provides only those that are touched. An overflow therefore ends in SIGSEGV at the guard instead of in a
 * neighbour's data.
 *
 * A guard made by mprotect splits the mapping in two, and the kernel allows a process 65,530 mappings by
 * default: some 32,000 tasks. Kernels from 6.13 on can guard pages inside a mapping (MADV_GUARD_INSTALL);
 * adjacent stacks then merge into one mapping and memory is the only limit. Huge pages are declined: one
 * touched page of a stack must not cost 2 MiB. Mapping takes microseconds, so the callers pool stacks. */
#include "runtime/stack.h"

#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static size_t guard_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

char *stack_map(size_t size)
{
    size_t guard = guard_size();
    char *mapping = mmap(NULL, guard + size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (mapping == MAP_FAILED)
        return NULL;
    /* Where transparent huge pages are not compiled in this fails, and there is nothing to decline. */
    madvise(mapping, guard + size, MADV_NOHUGEPAGE);
    if (madvise(mapping, guard, MADV_GUARD_INSTALL) != 0 && mprotect(mapping, guard, PROT_NONE) != 0) {
        munmap(mapping, guard + size);
        return NULL;
    }
    return mapping + guard;
}

void stack_unmap(char *base, size_t size)
{
    size_t guard = guard_size();
    /* To cut a hole into merged stacks takes one mapping more, of which there may be none left. Then at least
     * the memory goes back. */
    if (munmap(base - guard, guard + size) != 0)
        madvise(base, size, MADV_DONTNEED);
}
