/* Walks that found something gone, and their repetition.
 *
 * The kernel asks for a name, gets a node, and then asks for something to be done with the node: OPEN,
 * GETATTR. In between another file may be renamed over it, and the node is gone: ESTALE. The kernel then
 * walks the path once more, asking for every name anew. Should the same happen again, the program gets the
 * error, and beside somebody who replaces a file all the time that does happen.
 *
 * So the second walk is made to succeed. A caller that was told ESTALE is noted here, and for a while
 * (MARK_NS) what its lookups find is held as if it were open: it stays, whatever becomes of its name. The
 * same then as if the walk had taken no time. As long as nobody is noted all of this is one look at a number.
 *
 * Notes and holds end by time. The thread that looks after the mount sees to it, should no request come. */
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fuse/filesystem.h"

#define CALLERS 64u
#define HELD 8u /* by one caller: the latest components of its path */
#define MARK_NS (200 * NSEC_PER_MSEC)

struct caller {
    pid_t thread;
    bool noted;
    uint64_t until; /* clock_now() */
    uint32_t count; /* ever held since it was noted */
    struct client_file held[HELD];
};

struct mount_retries {
    pthread_mutex_t mutex;
    _Atomic uint32_t noted;
    struct caller callers[CALLERS];
};

int retries_create(struct mount_retries **result)
{
    struct mount_retries *retries = calloc(1, sizeof *retries);
    if (retries == NULL)
        return -ENOMEM;
    pthread_mutex_init(&retries->mutex, NULL);
    *result = retries;
    return 0;
}

void retries_destroy(struct mount_retries *retries)
{
    if (retries == NULL)
        return;
    pthread_mutex_destroy(&retries->mutex);
    free(retries);
}

static struct caller *slot_of(struct mount_retries *retries, pid_t thread)
{
    return &retries->callers[(uint32_t)thread % CALLERS];
}

/* What is to be let go is moved out: letting go may suspend. */
static void forget(struct mount_retries *retries, struct caller *caller, struct caller *gone)
{
    *gone = *caller;
    *caller = (struct caller){0};
    atomic_fetch_sub(&retries->noted, 1);
}

static void let_go(struct client *client, struct caller *gone)
{
    for (unsigned i = 0; i < HELD; i++)
        client_close(client, &gone->held[i]);
}

void retries_note(fuse_req_t request)
{
    struct mount_retries *retries = request_filesystem(request)->retries;
    struct client *client = client_get(request_filesystem(request)->fs);
    pid_t thread = fuse_req_ctx(request)->pid;
    struct caller gone = {0}, *caller = slot_of(retries, thread);
    if (client == NULL)
        return;
    pthread_mutex_lock(&retries->mutex);
    if (caller->noted && caller->thread != thread)
        forget(retries, caller, &gone);
    if (!caller->noted)
        atomic_fetch_add(&retries->noted, 1);
    caller->noted = true;
    caller->thread = thread;
    caller->until = clock_now() + MARK_NS;
    pthread_mutex_unlock(&retries->mutex);
    let_go(client, &gone);
}

bool retries_noted(fuse_req_t request)
{
    struct mount_retries *retries = request_filesystem(request)->retries;
    if (__builtin_expect(atomic_load_explicit(&retries->noted, memory_order_relaxed) == 0, 1))
        return false;
    pid_t thread = fuse_req_ctx(request)->pid;
    const struct caller *caller = slot_of(retries, thread);
    pthread_mutex_lock(&retries->mutex);
    bool noted = caller->noted && caller->thread == thread;
    pthread_mutex_unlock(&retries->mutex);
    return noted;
}

int retries_lookup(fuse_req_t request, struct client *client, uint64_t directory, const char *name,
                   struct attributes *attributes)
{
    struct mount_retries *retries = request_filesystem(request)->retries;
    pid_t thread = fuse_req_ctx(request)->pid;
    struct client_file file, oldest = {0};
    int status = client_open_entry(client, directory, name, O_PATH | O_NOFOLLOW, 0, &file, attributes);
    if (status < 0)
        return status;
    struct caller *caller = slot_of(retries, thread);
    pthread_mutex_lock(&retries->mutex);
    if (caller->noted && caller->thread == thread) {
        struct client_file *place = &caller->held[caller->count++ % HELD];
        oldest = *place;
        *place = file;
        file.held = false;
    }
    pthread_mutex_unlock(&retries->mutex);
    client_close(client, &oldest);
    client_close(client, &file);
    return 0;
}

bool retries_expire(struct filesystem *filesystem)
{
    struct mount_retries *retries = filesystem->retries;
    if (atomic_load_explicit(&retries->noted, memory_order_relaxed) == 0)
        return false;
    struct client *client = client_get(filesystem->fs);
    if (client == NULL)
        return true;
    uint64_t now = clock_now();
    bool any = false;
    for (unsigned i = 0; i < CALLERS; i++) {
        struct caller gone = {0};
        pthread_mutex_lock(&retries->mutex);
        if (retries->callers[i].noted && now >= retries->callers[i].until)
            forget(retries, &retries->callers[i], &gone);
        pthread_mutex_unlock(&retries->mutex);
        let_go(client, &gone);
        any |= gone.count > 0;
    }
    if (any)
        client_release_last(client);
    return atomic_load(&retries->noted) != 0;
}
