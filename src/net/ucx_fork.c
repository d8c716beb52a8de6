/* Forks of a process that uses UCX.
 *
 * UCX runs one thread per process, which waits for descriptors with epoll, above all those on which others
 * connect over TCP, and calls their handlers. A child has this thread's book-keeping, but not the thread: UCX
 * would believe that it runs, and nobody would accept the child's connections; what the child registers would
 * even go to the set of descriptors of its parent's thread, since an epoll descriptor is the same set in
 * both. And a lock that the thread held at the fork would stay locked in the child for ever.
 *
 * So, with the first context a handler of our own is registered, a bell. Before a fork it is rung, and UCX's
 * thread waits in it, where it holds no lock, until the fork is over. In the child
 *  - the epoll descriptor is replaced by one of the child's own. It is the one that has the bell in it, as
 * the kernel tells in /proc/self/fdinfo;
 *  - every handler that was registered is removed. With the last of them UCX stops its thread, which in the
 * child means to forget it, and the next context starts another one.
 * Threads of ours that make or destroy a context are kept waiting meanwhile, for UCX's locks are theirs, too.
 *
 * Without /proc the child is left as it is: it does not reach peers that it needs UCX for. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <ucs/async/async_fwd.h>
#include <unistd.h>

#include "net/ucx_context.h"

#define WATCHED_MAX 4096
#define PATIENCE_S 1
/* Handlers are known by their descriptors, those of timers by numbers from here on; TCP has none. */
#define TIMER_FIRST 1000000
#define TIMERS_MAX 4096

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER; /* of all below but `rest` */
static uint32_t contexts;
static int bell = -1; /* an eventfd, while there are contexts */

/* What UCX's thread waits for, as of the fork that is under way. */
static struct {
    int set; /* -1: not known */
    uint32_t count;
    int descriptors[WATCHED_MAX];
} watched = {.set = -1};

/* UCX's thread waits here during a fork. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool wanted, here;
} rest = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- the bell ---- */

static void rest_here(int id, ucs_event_set_types_t events, void *argument)
{
    uint64_t rung;
    (void)events;
    (void)argument;
    if (read(id, &rung, sizeof rung) != sizeof rung)
        return;
    pthread_mutex_lock(&rest.lock);
    rest.here = true;
    pthread_cond_broadcast(&rest.changed);
    while (rest.wanted)
        pthread_cond_wait(&rest.changed, &rest.lock);
    rest.here = false;
    pthread_mutex_unlock(&rest.lock);
}

static void bell_install(void)
{
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell < 0)
        return;
    if (ucs_async_set_event_handler(UCS_ASYNC_MODE_THREAD_SPINLOCK, bell, UCS_EVENT_SET_EVREAD, rest_here,
                                    NULL, NULL) == UCS_OK)
        return;
    close(bell);
    bell = -1;
}

static void bell_remove(void)
{
    if (bell < 0)
        return;
    ucs_async_remove_handler(bell, 1);
    close(bell);
    bell = -1;
}

void ucx_fork_hold(void)
{
    pthread_mutex_lock(&making);
}

void ucx_fork_release(int made)
{
    contexts += (uint32_t)made;
    if (contexts > 0 && bell < 0)
        bell_install();
    else if (contexts == 0)
        bell_remove();
    pthread_mutex_unlock(&making);
}

/* ---- what the thread waits for ---- */

/* Notes what is in the set, if it is one. Whether the bell is among it. */
static bool note_watched(int set)
{
    char path[64], line[256];
    bool found = false;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", set);
    FILE *file = fopen(path, "re");
    watched.count = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        int *descriptor = &watched.descriptors[watched.count];
        if (watched.count == WATCHED_MAX || sscanf(line, "tfd: %d", descriptor) != 1)
            continue;
        found |= *descriptor == bell;
        watched.count++;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static int find_set(void)
{
    static const char eventpoll[] = "anon_inode:[eventpoll]";
    DIR *directory = opendir("/proc/self/fd");
    int found = -1;
    for (struct dirent *entry; found < 0 && directory != NULL && (entry = readdir(directory)) != NULL;) {
        char target[sizeof eventpoll] = "";
        if (readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1) > 0 &&
            strcmp(target, eventpoll) == 0 && note_watched(atoi(entry->d_name)))
            found = atoi(entry->d_name);
    }
    if (directory != NULL)
        closedir(directory);
    return found;
}

/* ---- around a fork ---- */

/* Whether UCX's thread came to rest. */
static bool ring(void)
{
    const uint64_t one = 1;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&rest.lock);
    rest.wanted = write(bell, &one, sizeof one) == sizeof one;
    while (rest.wanted && !rest.here && pthread_cond_timedwait(&rest.changed, &rest.lock, &until) == 0)
        continue;
    bool here = rest.here;
    pthread_mutex_unlock(&rest.lock);
    return here;
}

void net_ucx_before_fork(void)
{
    pthread_mutex_lock(&making);
    watched.set = -1;
    if (bell >= 0 && ring())
        watched.set = find_set();
}

void net_ucx_after_fork(void)
{
    pthread_mutex_lock(&rest.lock);
    rest.wanted = false;
    pthread_cond_broadcast(&rest.changed);
    pthread_mutex_unlock(&rest.lock);
    pthread_mutex_unlock(&making);
}

static void forget_thread(void)
{
    int own = epoll_create1(EPOLL_CLOEXEC);
    if (own < 0)
        return;
    if (dup3(own, watched.set, O_CLOEXEC) == watched.set) {
        for (uint32_t i = 0; i < watched.count; i++) {
            struct epoll_event nothing = {0};
            epoll_ctl(own, EPOLL_CTL_ADD, watched.descriptors[i], &nothing); /* UCX wants to remove it */
            ucs_async_remove_handler(watched.descriptors[i], 0);
        }
        for (int timer = TIMER_FIRST; timer < TIMER_FIRST + TIMERS_MAX; timer++)
            ucs_async_remove_handler(timer, 0);
    }
    close(own);
}

void net_ucx_after_fork_in_child(void)
{
    pthread_mutex_init(&rest.lock, NULL);
    pthread_cond_init(&rest.changed, NULL);
    rest.wanted = rest.here = false;
    if (watched.set >= 0)
        forget_thread();
    watched.set = -1;
    if (bell >= 0)
        close(bell);
    bell = -1;
    contexts = 0;
    pthread_mutex_unlock(&making);
}
