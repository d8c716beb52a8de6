/* Finding the C library's functions. */
#include "preload/real.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct real_calls real_calls;

void *real_find(void *entry, const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) {
        static const char text[] = "libbenchfs_preload.so: the C library has no function ";
        struct iovec parts[] = {
            {(void *)(uintptr_t)text, sizeof text - 1}, {(void *)(uintptr_t)name, strlen(name)}, {"\n", 1}};
        ssize_t (*print)(int, const struct iovec *, int) =
            (__typeof__(print))(uintptr_t)dlsym(RTLD_NEXT, "writev");
        if (print != NULL)
            print(STDERR_FILENO, parts, 3);
        abort();
    }
    memcpy(entry, &function, sizeof function);
    return function;
}
