/* Any bytes as a page of names from a server: what is taken from it lies in it, and it ends. */
#include <stdlib.h>

#include "client/checking.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Everything is read, so that a sanitizer sees what is not there. */
static volatile uint64_t sum_of_all;

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    /* A block of the exact size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = malloc(length == 0 ? 1 : length);
    memcpy(copy, bytes, length);
    struct check_page page = {.bytes = copy, .length = length};
    size_t offset = 0, before = 0;
    uint64_t sum = 0;
    for (const struct check_name *name; (name = check_next_name(&page, &offset)) != NULL; before = offset) {
        require(offset > before && offset <= length && name->name_length > 0);
        require((const uint8_t *)name == copy + before);
        sum += dentry_hash(name->directory, name->name, name->name_length) + name->inode;
    }
    require(offset == before);
    free(copy);
    sum_of_all += sum;
    return 0;
}
