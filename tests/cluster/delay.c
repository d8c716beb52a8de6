/* Preloaded into a server: every write of its storage engine takes DELAY_US microseconds more, as on a slow
 * device. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>

/* With 64-bit offsets, which the servers are built with, it is called so. */
#define NAME "pwritev64v2"

__attribute__((visibility("default"))) ssize_t pwritev2(int fd, const struct iovec *vector, int count,
                                                        off_t offset, int flags)
{
    const char *text = getenv("DELAY_US");
    long us = text != NULL ? strtol(text, NULL, 10) : 0;
    void *address = dlsym(RTLD_NEXT, NAME);
    nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
    ssize_t (*next)(int, const struct iovec *, int, off_t, int);
    *(void **)&next = address;
    return next(fd, vector, count, offset, flags);
}
