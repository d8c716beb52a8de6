#include "base/descriptor.h"

#include <errno.h>
#include <unistd.h>

int descriptor_write(int descriptor, const void *bytes, size_t length)
{
    for (const char *at = bytes; length > 0;) {
        ssize_t written = write(descriptor, at, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

ssize_t descriptor_read(int descriptor, void *bytes, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t got = read(descriptor, (char *)bytes + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}
