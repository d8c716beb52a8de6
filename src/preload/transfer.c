/* Data from descriptor to descriptor: sendfile, splice, copy_file_range.
 *
 * The kernel cannot read or write BenchFS, so the bytes go through this process, except between two files of
 * BenchFS. */
#include <stdlib.h>

#include "preload/preload.h"

#define BLOCK ((size_t)1 << 20)

static ssize_t read_from(int fd, void *buffer, size_t count, const off64_t *offset)
{
    return offset == NULL ? read(fd, buffer, count) : pread(fd, buffer, count, *offset);
}

static ssize_t write_to(int fd, const void *buffer, size_t count, const off64_t *offset)
{
    return offset == NULL ? write(fd, buffer, count) : pwrite(fd, buffer, count, *offset);
}

/* What was read but could not be written is given back to a source that can seek. */
static void give_back(int in, const off64_t *offset, size_t count)
{
    if (offset == NULL && count > 0)
        lseek(in, -(off_t)count, SEEK_CUR);
}

/* Moves up to count bytes; offsets, where given, move along instead of the descriptors' own. */
static ssize_t transfer(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count)
{
    size_t block = count < BLOCK ? count : BLOCK;
    char *buffer = malloc(block > 0 ? block : 1);
    if (buffer == NULL)
        return -1;
    size_t done = 0;
    bool failed = false;
    while (done < count && !failed) {
        size_t wanted = count - done < block ? count - done : block;
        ssize_t got = read_from(in, buffer, wanted, in_offset);
        failed = got < 0;
        if (got <= 0)
            break;
        ssize_t put = write_to(out, buffer, (size_t)got, out_offset);
        failed = put < 0;
        size_t moved = put < 0 ? 0 : (size_t)put;
        give_back(in, in_offset, (size_t)got - moved);
        if (in_offset != NULL)
            *in_offset += (off64_t)moved;
        if (out_offset != NULL)
            *out_offset += (off64_t)moved;
        done += moved;
        if (moved < (size_t)got || (size_t)got < wanted)
            break;
    }
    int error = errno;
    free(buffer);
    errno = error;
    return done == 0 && failed ? -1 : (ssize_t)done;
}

static bool either_remote(int in, int out)
{
    return descriptor_is_remote(in) || descriptor_is_remote(out);
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
    if (likely(!either_remote(in, out)))
        return real(sendfile)(out, in, offset, count);
    return transfer(in, offset, out, NULL, count < 0x7ffff000 ? count : 0x7ffff000);
}
ALIAS(sendfile64, sendfile);

EXPORT ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags)
{
    if (likely(!either_remote(in, out)))
        return real(splice)(in, in_offset, out, out_offset, count, flags);
    /* One end is a pipe, whose reader gets what there is and no more. */
    return transfer(in, in_offset, out, out_offset, count < 65536 ? count : 65536);
}

EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count,
                               unsigned flags)
{
    if (likely(!either_remote(in, out)))
        return real(copy_file_range)(in, in_offset, out, out_offset, count, flags);
    if (!descriptor_is_remote(in) || !descriptor_is_remote(out)) {
        errno = EXDEV;
        return -1;
    }
    uint32_t from, to;
    if (descriptor_of(in, &from) != ROUTE_REMOTE || descriptor_of(out, &to) != ROUTE_REMOTE)
        return -1;
    /* The servers copy among themselves. */
    off_t from_offset = in_offset != NULL ? *in_offset : atomic_load(&descriptions[from].offset);
    off_t to_offset = out_offset != NULL ? *out_offset : atomic_load(&descriptions[to].offset);
    ssize_t copied = REMOTE(ssize_t, copy_file_range(opened[from].remote, &from_offset, opened[to].remote,
                                                     &to_offset, count, flags));
    if (copied <= 0)
        return copied;
    if (in_offset != NULL)
        *in_offset = from_offset;
    else
        atomic_store(&descriptions[from].offset, from_offset);
    if (out_offset != NULL)
        *out_offset = to_offset;
    else
        atomic_store(&descriptions[to].offset, to_offset);
    return copied;
}
