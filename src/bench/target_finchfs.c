/* FINCHFS (Koyama et al., CLUSTER 2024) by its client library: the servers whose addresses are in
 * /tmp/finchfsd.
 *
 * The library is one client for a whole process, without locks: one worker a process. It has no truncate and
 * nothing that goes on while the caller does something else, makes a file whether there was one or not (no
 * O_EXCL), and tells others the size of a file when it is closed or synchronised. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/options.h"
#include "bench/target.h"
#include "bench/target_library.h"

#define LISTING_SIZE 65536u

#define FINCHFS_CALLS(CALL)                                                                                  \
    CALL(int, init, (const char *address_file))                                                              \
    CALL(int, term, (void))                                                                                  \
    CALL(int, rename, (const char *path, const char *new_path))                                              \
    CALL(ssize_t, getdents, (int fd, void *entries, size_t size))

/* How getdents lays entries out. */
struct finchfs_entry {
    uint64_t inode;
    uint64_t next;
    uint16_t length; /* of this one */
    uint8_t unused;
    char name[];
};
static_assert(offsetof(struct finchfs_entry, name) == 19, "as the library has it");

static struct finchfs_calls {
    struct library_calls common;
#define CALL(result, name, parameters) result(*name) parameters;
    FINCHFS_CALLS(CALL)
#undef CALL
} finchfs;

static const struct target_symbol symbols[] = {
#define CALL(result, name, parameters) {"finchfs_" #name, offsetof(struct finchfs_calls, name)},
    FINCHFS_CALLS(CALL)
#undef CALL
#define CALL(result, name, parameters) {"finchfs_" #name, offsetof(struct finchfs_calls, common.name)},
        LIBRARY_CALLS(CALL)
#undef CALL
            {0}};

static const struct target_library library = {
    .scheme = "finchfs:", .file = "libfinchfs.so", .variable = "BENCHFS_FINCHFS_LIBRARY", .symbols = symbols};

static _Atomic bool in_use; /* the client, by a target of this process */

static bool try_to_connect(void)
{
    return finchfs.init(NULL) == 0;
}

static int check(const char *place)
{
    return target_check_directory(library.scheme, place);
}

static int prepare(const char *place)
{
    (void)place;
    int status = target_library_load(&library, &finchfs);
    return status == 0 ? target_library_try(&library, try_to_connect) : status;
}

static int open_target(const char *place, struct target **target)
{
    int status = finchfs.init == NULL ? target_library_load(&library, &finchfs) : 0;
    struct library_target *made = status == 0 ? calloc(1, sizeof(*made)) : NULL;
    if (made == NULL)
        return status < 0 ? status : -ENOMEM;
    if (atomic_exchange(&in_use, true)) {
        bench_error("target finchfs: its library can be used by one thread a process: use --processes");
        free(made);
        return -EBUSY;
    }
    errno = 0;
    status = library_result(finchfs.init(NULL));
    if (status < 0) {
        bench_error("target finchfs: no server answers: %s", strerror(-status));
        atomic_store(&in_use, false);
        free(made);
        return status;
    }
    made->target.operations = &target_finchfs;
    made->calls = &finchfs.common;
    snprintf(made->target.root, sizeof(made->target.root), "%s", place[0] != 0 ? place : "/");
    *target = &made->target;
    return 0;
}

static void close_target(struct target *target)
{
    finchfs.term();
    atomic_store(&in_use, false);
    free(target);
}

static int describe(struct target *target, struct target_facts *facts)
{
    (void)target;
    const char *chosen = getenv("UCX_TLS");
    snprintf(facts->transports, sizeof(facts->transports), "%s", chosen != NULL ? chosen : "ucx");
    return 0;
}

static int path_rename(struct target *target, const char *path, const char *new_path)
{
    (void)target;
    errno = 0;
    return library_result(finchfs.rename(path, new_path));
}

/* The entries of one call of getdents. */
static int take_entries(const char *bytes, size_t length, target_entry each, void *argument)
{
    int status = 0;
    for (size_t at = 0; at < length && status == 0;) {
        const size_t head = offsetof(struct finchfs_entry, name);
        uint16_t size;
        if (length - at <= head)
            return -EPROTO;
        memcpy(&size, bytes + at + offsetof(struct finchfs_entry, length), sizeof(size));
        const char *name = bytes + at + head;
        if (size <= head || size > length - at || memchr(name, 0, size - head) == NULL)
            return -EPROTO;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            status = each(argument, name, 0);
        at += size;
    }
    return status;
}

static int path_list(struct target *target, const char *path, target_entry each, void *argument)
{
    char *bytes = malloc(LISTING_SIZE);
    if (bytes == NULL)
        return -ENOMEM;
    errno = 0;
    int fd = library_result(finchfs.common.open(path, O_RDONLY | O_DIRECTORY));
    int status = fd < 0 ? fd : 0;
    while (status == 0) {
        errno = 0;
        ssize_t length = finchfs.getdents(fd, bytes, LISTING_SIZE);
        if (length <= 0) {
            status = length < 0 ? library_result(-1) : 0;
            break;
        }
        status = take_entries(bytes, (size_t)length, each, argument);
    }
    if (fd >= 0)
        library_file_close(target, fd);
    free(bytes);
    return status;
}

const struct target_operations target_finchfs = {
    .scheme = "finchfs:",
    .server = "finchfsd",
    .help = "FINCHFS, by its client library",
    .check = check,
    .prepare = prepare,
    .open = open_target,
    .close = close_target,
    .describe = describe,
    .file_open = library_file_open,
    .file_close = library_file_close,
    .read = library_read,
    .write = library_write,
    .sync = library_sync,
    .stat = library_path_stat,
    .unlink = library_unlink,
    .mkdir = library_mkdir,
    .rmdir = library_rmdir,
    .list = path_list,
    .rename = path_rename,
};
