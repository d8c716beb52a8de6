/* CHFS (Tatebe et al., HPC Asia 2022) by its client library: the servers that CHFS_SERVER names.
 *
 * The library is one client for a whole process, with locks of its own: threads share it. It has no rename
 * and nothing that goes on while the caller does something else. It makes a file whether there was one or not
 * (no O_EXCL), and ends the process when no server answers, which is tried beforehand in another one. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/crew.h"
#include "bench/options.h"
#include "bench/target.h"
#include "bench/target_library.h"

#define RMDIR_PATIENCE UINT64_C(2000000000) /* ns */

typedef int (*chfs_filler)(void *argument, const char *name, const struct stat *status, off_t offset);

#define CHFS_CALLS(CALL)                                                                                     \
    CALL(int, init, (const char *server))                                                                    \
    CALL(int, term, (void))                                                                                  \
    CALL(int, size, (void))                                                                                  \
    CALL(int, truncate, (const char *path, off_t length))                                                    \
    CALL(int, readdir, (const char *path, void *argument, chfs_filler filler))

static struct chfs_calls {
    struct library_calls common;
#define CALL(result, name, parameters) result(*name) parameters;
    CHFS_CALLS(CALL)
#undef CALL
} chfs;

static const struct target_symbol symbols[] = {
#define CALL(result, name, parameters) {"chfs_" #name, offsetof(struct chfs_calls, name)},
    CHFS_CALLS(CALL)
#undef CALL
#define CALL(result, name, parameters) {"chfs_" #name, offsetof(struct chfs_calls, common.name)},
        LIBRARY_CALLS(CALL)
#undef CALL
            {0}};

static const struct target_library library = {.scheme = "chfs:",
                                              .file = "libchfs.so",
                                              .variable = "BENCHFS_CHFS_LIBRARY",
                                              .needed = "libmargo.so",
                                              .symbols = symbols};

/* How many targets of this process use the client. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;

static bool try_to_connect(void)
{
    return chfs.init(NULL) == 0;
}

static int check(const char *place)
{
    return target_check_directory(library.scheme, place);
}

static int prepare(const char *place)
{
    (void)place;
    const char *servers = getenv("CHFS_SERVER");
    if (servers == NULL || servers[0] == 0) {
        bench_error("target chfs: CHFS_SERVER is not set: start CHFS and set what chfsctl prints");
        return -EHOSTDOWN;
    }
    int status = target_library_load(&library, &chfs);
    return status == 0 ? target_library_try(&library, try_to_connect) : status;
}

static int open_target(const char *place, struct target **target)
{
    int status = chfs.init == NULL ? target_library_load(&library, &chfs) : 0;
    struct library_target *made = status == 0 ? calloc(1, sizeof(*made)) : NULL;
    if (made == NULL)
        return status < 0 ? status : -ENOMEM;
    pthread_mutex_lock(&mutex);
    errno = 0;
    if (users == 0)
        status = library_result(chfs.init(NULL));
    users += status == 0;
    pthread_mutex_unlock(&mutex);
    if (status < 0) {
        bench_error("target chfs: no server answers: %s", strerror(-status));
        free(made);
        return status;
    }
    made->target.operations = &target_chfs;
    made->calls = &chfs.common;
    snprintf(made->target.root, sizeof(made->target.root), "%s", place[0] != 0 ? place : "/");
    *target = &made->target;
    return 0;
}

static void close_target(struct target *target)
{
    pthread_mutex_lock(&mutex);
    if (--users == 0)
        chfs.term();
    pthread_mutex_unlock(&mutex);
    free(target);
}

static int describe(struct target *target, struct target_facts *facts)
{
    (void)target;
    int servers = chfs.size();
    const char *buffered = getenv("CHFS_BUF_SIZE"), *named = getenv("CHFS_SERVER");
    facts->servers = servers > 0 ? (uint32_t)servers : 0;
    facts->client_cache = buffered != NULL && atoi(buffered) > 0;
    /* "ofi+tcp://..." */
    if (named != NULL)
        snprintf(facts->transports, sizeof(facts->transports), "%.*s", (int)strcspn(named, ":"), named);
    return 0;
}

static int path_rmdir(struct target *target, const char *path)
{
    (void)target;
    uint64_t deadline = crew_now() + RMDIR_PATIENCE;
    for (;;) {
        errno = 0;
        int status = library_result(chfs.common.rmdir(path));
        if (status != -EPERM || crew_now() > deadline)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static int path_truncate(struct target *target, const char *path, off_t length)
{
    (void)target;
    errno = 0;
    return library_result(chfs.truncate(path, length));
}

struct listing {
    target_entry each;
    void *argument;
    int status;
};

/* Several servers have entries: the library goes on with the next whatever this returns. */
static int take_entry(void *argument, const char *name, const struct stat *status, off_t offset)
{
    struct listing *listing = argument;
    (void)offset;
    if (listing->status == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        listing->status =
            listing->each(listing->argument, name, status != NULL ? status->st_mode & S_IFMT : 0);
    return listing->status != 0;
}

static int path_list(struct target *target, const char *path, target_entry each, void *argument)
{
    struct listing listing = {.each = each, .argument = argument};
    (void)target;
    errno = 0;
    int status = library_result(chfs.readdir(path, &listing, take_entry));
    return status < 0 ? status : listing.status;
}

const struct target_operations target_chfs = {
    .scheme = "chfs:",
    .server = "chfsd",
    .help = "CHFS, by its client library",
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
    .rmdir = path_rmdir,
    .list = path_list,
    .truncate = path_truncate,
};
