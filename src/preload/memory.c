/* Mapping files into memory.
 *
 * A mapping that cannot change the file, private or read-only, is memory with the file's contents as of the
 * call. A shared writable mapping would have to be seen by every other process that maps or reads the file;
 * there is no way to do that without the kernel, so it is refused with ENODEV, as by file systems that cannot
 * map at all (through benchfs mount it works). */
#include "preload/preload.h"

/* Fills memory from the file; what is behind its end stays zero. */
static bool fill(int remote_fd, char *memory, size_t length, off_t offset)
{
    for (size_t done = 0; done < length;) {
        ssize_t got = REMOTE(ssize_t, pread(remote_fd, memory + done, length - done, offset + (off_t)done));
        if (got < 0)
            return false;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return true;
}

static bool may_map(const struct description *description, int protection, int flags)
{
    int mode = atomic_load(&description->flags) & (O_ACCMODE | O_PATH);
    int kind = flags & MAP_TYPE;
    if (mode & O_PATH)
        errno = EBADF;
    else if ((mode & O_ACCMODE) == O_WRONLY)
        errno = EACCES;
    else if (kind == MAP_PRIVATE)
        return true;
    else if (kind != MAP_SHARED && kind != MAP_SHARED_VALIDATE)
        errno = EINVAL;
    else if ((protection & PROT_WRITE) == 0)
        return true;
    else
        errno = mode == O_RDONLY ? EACCES : ENODEV;
    return false;
}

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (likely(fd < 0) || (flags & MAP_ANONYMOUS) != 0)
        return real(mmap)(address, length, protection, flags, fd, offset);
    ROUTE_FD(number, fd, MAP_FAILED, real(mmap)(address, length, protection, flags, fd, offset));
    if (!may_map(&descriptions[number], protection, flags))
        return MAP_FAILED;
    if (offset < 0 || offset % sysconf(_SC_PAGESIZE) != 0 || length == 0) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    /* MAP_FIXED must not replace anything before the data is there, so memory is filled elsewhere first. */
    void *memory = real(mmap)(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return MAP_FAILED;
    int error = 0;
    if (!fill(opened[number].remote, memory, length, offset)) {
        error = errno == EISDIR ? ENODEV : errno;
    } else if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        void *place = address;
        if ((flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE)
            place = real(mmap)(address, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                               -1, 0);
        if (place != address ||
            mremap(memory, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, address) == MAP_FAILED)
            error = errno;
        else
            memory = address;
    }
    if (error == 0 && protection != (PROT_READ | PROT_WRITE) && mprotect(memory, length, protection) < 0)
        error = errno;
    if (error == 0)
        return memory;
    munmap(memory, length);
    errno = error;
    return MAP_FAILED;
}
ALIAS(mmap64, mmap);
