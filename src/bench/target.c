/* Choosing a target by the scheme in front of its place. */
#include "bench/target.h"

#include <errno.h>
#include <string.h>

#include "bench/options.h"

static const struct target_operations *const kinds[] = {&target_benchfs, &target_posix, &target_chfs,
                                                        &target_finchfs, &target_record};

static const struct target_operations *find(const char *specification)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strncmp(specification, kinds[i]->scheme, strlen(kinds[i]->scheme)) == 0)
            return kinds[i];
    }
    return NULL;
}

const char *target_unrecorded(const char *specification)
{
    return find(specification) == &target_record
               ? target_record_inner(specification + strlen(target_record.scheme))
               : specification;
}

const struct target_operations *target_kind(const char *specification)
{
    const char *inner = target_unrecorded(specification);
    return inner != NULL ? find(inner) : &target_record;
}

int target_check_directory(const char *scheme, const char *place)
{
    if (place[0] != 0 && place[0] != '/') {
        bench_error("target %s takes a directory from / on, not \"%s\"", scheme, place);
        return -EINVAL;
    }
    if (strlen(place) >= sizeof(((struct target *)0)->root)) {
        bench_error("target %s the directory's path is too long", scheme);
        return -EINVAL;
    }
    return 0;
}

int target_check(const char *specification)
{
    const struct target_operations *kind = find(specification);
    if (kind == NULL) {
        bench_error("option --target takes " TARGET_SYNTAX ", not \"%s\"", specification);
        return -EINVAL;
    }
    return kind->check(specification + strlen(kind->scheme));
}

bool target_has_client(const char *specification)
{
    return find(specification)->client != NULL;
}

int target_prepare(const char *specification)
{
    const struct target_operations *kind = find(specification);
    return kind->prepare != NULL ? kind->prepare(specification + strlen(kind->scheme)) : 0;
}

void target_release(const char *specification)
{
    const struct target_operations *kind = find(specification);
    if (kind->release != NULL)
        kind->release(specification + strlen(kind->scheme));
}

int target_open(const char *specification, struct target **target)
{
    int status = target_check(specification);
    if (status < 0)
        return status;
    const struct target_operations *kind = find(specification);
    return kind->open(specification + strlen(kind->scheme), target);
}
