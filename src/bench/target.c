/* Choosing a target by the scheme in front of its place. */
#include "bench/target.h"

#include <errno.h>
#include <string.h>

#include "bench/options.h"

static const struct target_operations *const kinds[] = {&target_benchfs, &target_posix, &target_record};

static const struct target_operations *find(const char *specification)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strncmp(specification, kinds[i]->scheme, strlen(kinds[i]->scheme)) == 0)
            return kinds[i];
    }
    return NULL;
}

int target_check(const char *specification)
{
    const struct target_operations *kind = find(specification);
    if (kind == NULL) {
        bench_error(
            "option --target takes benchfs:[DIRECTORY], posix:DIRECTORY or record:FILE:TARGET, not \"%s\"",
            specification);
        return -EINVAL;
    }
    const char *place = specification + strlen(kind->scheme);
    if (strlen(place) >= sizeof(((struct target *)0)->root)) {
        bench_error("option --target: directory too long");
        return -EINVAL;
    }
    if (kind == &target_posix && place[0] == 0) {
        bench_error("option --target posix: needs a directory, as in posix:/dev/shm");
        return -EINVAL;
    }
    return kind == &target_record ? target_record_check(place) : 0;
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
