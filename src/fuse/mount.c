/* The life of a mount: the session with the kernel, the threads that serve it, and its end.
 *
 * Threads. Each takes one request at a time from the device, serves it to its end and takes the next; while
 * there is none it sleeps in read(2) and uses no processor. The kernel hands a request to the thread that has
 * waited longest, so two threads at the device would take turns for a single caller, each with cold caches
 * and a cold connection. Hence as few are at the device as keep up, and the others are parked:
 *
 *   - Before every fourth reply for which nobody is left at the device, the device is asked whether a
 *     request waits. If that was so for most of the latest of them, one more thread is called.
 *   - A thread that takes a request sees whether another one stays at the device. If that was so for nearly
 *     all of the latest requests, it parks itself after the reply.
 *   - A request that takes long must not keep the others. While requests come, the main thread looks every
 *     TICK_MS; when all threads at work still serve what they served before, it calls one more.
 *
 * A caller waits for its reply, and often makes its next request some microseconds later; to wake a thread
 * that sleeps, perhaps on an idle processor, takes several times as long. So a thread that is alone at the
 * device watches it for a while before it sleeps there, and yields the processor between two looks, which
 * also keeps awake the processor on which the caller is to go on. If somebody who computes takes it, it
 * sleeps at once for the next 20 ms: who has slept is scheduled before who has yielded.
 *
 * A thread is called from the parked ones, or else started, up to options.threads. Each connects to the
 * servers before it takes its first request.
 *
 * The end. When the directory is unmounted the kernel closes the session and every read says so. A signal
 * unmounts it: at once where nothing is in use; otherwise the directory is empty again immediately and those
 * who have files open may finish, for a while. All the time requests are served as before, because unmounting
 * itself writes back what memory mappings have changed. What is still open when the time is up gets
 * "Transport endpoint is not connected". */
#include "fuse/mount.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "fuse/filesystem.h"

#define GRACE_MS 5000 /* for those who use the directory when a signal ends the mount */
#define TICK_MS 1
#define TICK_STUCK_MS 20 /* when there is nobody left to call */
#define TICKS_QUIET 100u /* without a request: the main thread stops looking */

/* How a thread watches the device. */
#define WATCH_NS (50 * NSEC_PER_USEC)
#define YIELD_CONTENDED NSEC_PER_MSEC /* a yield this long has met a process that computes */
#define CONTENTION_MEMORY (20 * NSEC_PER_MSEC)

/* A share of the latest events, of SHARE_ALL. */
#define SHARE_ALL 4096u
#define SHARE_WINDOW 32u
#define REPLIES_BETWEEN 4u              /* each so many-th reply looks whether a request waits */
#define SHARE_BEHIND (SHARE_ALL / 2)    /* of replies behind which a request waited: call a thread */
#define SHARE_SPARE (SHARE_ALL / 8 * 7) /* of requests that left a thread at the device: park one */

struct mount {
    struct filesystem filesystem;
    struct fuse_session *session;
    char *directory;
    uint32_t threads_max;
    pthread_mutex_t mutex; /* of those up to ids */
    pthread_cond_t called; /* calls, or over */
    uint32_t threads;      /* running */
    uint32_t started;      /* in ids */
    uint32_t parked;
    uint32_t calls;  /* 1: a parked thread was called and has not woken yet */
    uint32_t coming; /* started, and not at the device yet */
    bool over;       /* parked threads are to end */
    pthread_t ids[MOUNT_THREADS_MAX];
    _Atomic uint32_t waiting; /* threads at the device */
    _Atomic uint64_t taken;   /* requests */
    _Atomic uint32_t behind;  /* share */
    _Atomic uint32_t spare;   /* share */
    _Atomic bool watched;     /* the main thread looks */
    int active;               /* eventfd: it is to look */
    uint64_t seen;            /* the main thread's: taken at its last look */
    uint32_t quiet;           /* ... looks since taken changed */
    bool mounted;             /* with a session */
    bool left;                /* unmounted while somebody has files open: the directory is no longer ours */
    int ended;                /* eventfd: the session is over */
};

/* ---- what the kernel and we agree on ---- */

static void session_init(void *userdata, struct fuse_conn_info *connection)
{
    const struct filesystem *filesystem = userdata;
    uint32_t unwanted = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE;
    uint32_t wanted =
        FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS;
    /* Attributes of entries that are not kept would be thrown away. */
    if (filesystem->lifetime > 0)
        wanted |= FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;
    else
        unwanted |= FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;
    /* close promises nothing of what others write while a file is open here, so reads need not ask. */
    if (filesystem->consistency == CONSISTENCY_CLOSE)
        unwanted |= FUSE_CAP_AUTO_INVAL_DATA;
    else
        wanted |= FUSE_CAP_AUTO_INVAL_DATA;
    connection->want &= ~unwanted;
    connection->want |= wanted & connection->capable;
    connection->max_write = TRANSFER_MAX;
    connection->max_readahead = TRANSFER_MAX;
    connection->max_background = 64;
    connection->time_gran = 1;
}

/* ---- serving ---- */

static void *serve(void *argument);

/* Adds an event; returns the share. Threads may overwrite each other's: it is an estimate. */
static uint32_t share_add(_Atomic uint32_t *share, bool happened)
{
    uint32_t now = atomic_load_explicit(share, memory_order_relaxed);
    now = happened ? now + (SHARE_ALL - now) / SHARE_WINDOW : now - now / SHARE_WINDOW;
    atomic_store_explicit(share, now, memory_order_relaxed);
    return now;
}

/* One more, which goes to the device, if there may be. 0 or -errno. The mutex is held. */
static int start_thread(struct mount *mount)
{
    if (mount->started == mount->threads_max || fuse_session_exited(mount->session))
        return 0;
    int status = -pthread_create(&mount->ids[mount->started], NULL, serve, mount);
    mount->started += status == 0;
    mount->threads += status == 0;
    mount->coming += status == 0;
    return status;
}

/* One more to the device, if there may be and none is on its way. */
static void call_thread(struct mount *mount)
{
    pthread_mutex_lock(&mount->mutex);
    if (mount->parked > 0) {
        mount->calls = 1;
        pthread_cond_signal(&mount->called);
    } else if (mount->coming == 0) {
        start_thread(mount);
    }
    pthread_mutex_unlock(&mount->mutex);
    atomic_store_explicit(&mount->behind, 0, memory_order_relaxed);
    atomic_store_explicit(&mount->spare, 0, memory_order_relaxed);
}

/* Two: one that serves, and one that is connected when it is needed. */
static int start_threads(struct mount *mount)
{
    pthread_mutex_lock(&mount->mutex);
    int status = start_thread(mount);
    if (status == 0)
        start_thread(mount); /* or not until it is */
    pthread_mutex_unlock(&mount->mutex);
    return status;
}

/* Stays away from the device until called, unless nobody else is there. */
static void park(struct mount *mount)
{
    struct client *client = client_get(mount->filesystem.fs);
    if (client != NULL) /* what it has let go of should not wait until it is back */
        client_release_last(client);
    pthread_mutex_lock(&mount->mutex);
    if (atomic_load(&mount->waiting) > 0 && !mount->over) {
        atomic_store_explicit(&mount->spare, 0, memory_order_relaxed);
        mount->parked++;
        while (mount->calls == 0 && !mount->over)
            pthread_cond_wait(&mount->called, &mount->mutex);
        mount->parked--;
        mount->calls = 0;
    }
    atomic_fetch_add(&mount->waiting, 1);
    pthread_mutex_unlock(&mount->mutex);
}

static void request_taken(struct mount *mount)
{
    bool another = atomic_fetch_sub(&mount->waiting, 1) > 1;
    share_add(&mount->spare, another);
    atomic_fetch_add(&mount->taken, 1);
    if (!atomic_load(&mount->watched) && !atomic_exchange(&mount->watched, true))
        eventfd_write(mount->active, 1);
}

void mount_before_reply(struct filesystem *filesystem, int device)
{
    static __thread unsigned replies;
    struct mount *mount = container_of(filesystem, struct mount, filesystem);
    if (++replies % REPLIES_BETWEEN != 0 || atomic_load(&mount->waiting) > 0)
        return;
    struct pollfd next = {.fd = device, .events = POLLIN};
    bool another = poll(&next, 1, 0) > 0 && (next.revents & POLLIN);
    if (share_add(&mount->behind, another) >= SHARE_BEHIND)
        call_thread(mount);
}

void mount_before_read(struct filesystem *filesystem, int device)
{
    static __thread uint64_t contended_until;
    struct mount *mount = container_of(filesystem, struct mount, filesystem);
    uint64_t start = clock_now(), now = start;
    if (atomic_load(&mount->waiting) > 1 || now < contended_until)
        return;
    struct pollfd next = {.fd = device, .events = POLLIN};
    while (now - start < WATCH_NS && poll(&next, 1, 0) == 0) {
        uint64_t before = now;
        sched_yield();
        now = clock_now();
        if (now - before > YIELD_CONTENDED) {
            contended_until = now + CONTENTION_MEMORY;
            return;
        }
    }
}

/* Lets parked threads end. */
static void dismiss(struct mount *mount)
{
    pthread_mutex_lock(&mount->mutex);
    mount->over = true;
    pthread_cond_broadcast(&mount->called);
    pthread_mutex_unlock(&mount->mutex);
}

/* Until the session ends, or the device fails. */
static void serve_requests(struct mount *mount, struct fuse_buf *buffer)
{
    atomic_fetch_add(&mount->waiting, 1);
    while (!fuse_session_exited(mount->session)) {
        int got = fuse_session_receive_buf(mount->session, buffer);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            break;
        request_taken(mount);
        struct application_call call = {.worker = NULL};
        traced_begin(&call, mount->filesystem.fs, buffer);
        fuse_session_process_buf(mount->session, buffer);
        application_end(&call);
        if (atomic_load_explicit(&mount->spare, memory_order_relaxed) >= SHARE_SPARE)
            park(mount);
        else
            atomic_fetch_add(&mount->waiting, 1);
    }
    atomic_fetch_sub(&mount->waiting, 1);
    dismiss(mount);
}

static void *serve(void *argument)
{
    struct mount *mount = argument;
    struct fuse_buf buffer = {.mem = request_memory()};
    client_get(mount->filesystem.fs); /* if it fails, requests try again */
    pthread_mutex_lock(&mount->mutex);
    mount->coming--;
    pthread_mutex_unlock(&mount->mutex);
    if (buffer.mem != NULL)
        serve_requests(mount, &buffer);
    pthread_mutex_lock(&mount->mutex);
    bool last = --mount->threads == 0;
    pthread_mutex_unlock(&mount->mutex);
    if (last)
        eventfd_write(mount->ended, 1);
    return NULL;
}

/* Looks whether requests are kept by those under way. Returns how long to wait before the next look, ms; -1:
 * until somebody says so. */
static int look(struct mount *mount)
{
    if (!atomic_load(&mount->watched))
        return -1;
    uint64_t taken = atomic_load(&mount->taken);
    bool unchanged = taken == mount->seen, kept = unchanged && atomic_load(&mount->waiting) == 0;
    mount->seen = taken;
    mount->quiet = unchanged ? mount->quiet + 1 : 0;
    if (kept)
        call_thread(mount);
    bool noted = retries_expire(&mount->filesystem);
    if (mount->quiet < TICKS_QUIET)
        return TICK_MS;
    if (kept || noted)
        return TICK_STUCK_MS;
    atomic_store(&mount->watched, false);
    if (atomic_load(&mount->taken) == taken || atomic_exchange(&mount->watched, true))
        return -1;
    return TICK_MS;
}

/* Waits for the end of the session, at most so long (-1: for ever), or for a signal. */
enum wake { WAKE_ENDED, WAKE_SIGNAL, WAKE_TIMEOUT };
static enum wake wait_for_end(struct mount *mount, int signals, int timeout)
{
    struct pollfd waiting[] = {{.fd = mount->ended, .events = POLLIN},
                               {.fd = signals, .events = POLLIN},
                               {.fd = mount->active, .events = POLLIN}};
    uint64_t start = clock_now(), limit = (uint64_t)timeout * NSEC_PER_MSEC;
    for (;;) {
        int next = look(mount);
        if (timeout >= 0) {
            uint64_t passed = clock_now() - start;
            if (passed >= limit)
                return WAKE_TIMEOUT;
            int left = (int)((limit - passed) / NSEC_PER_MSEC) + 1;
            next = next < 0 || next > left ? left : next;
        }
        int count = poll(waiting, 3, next);
        if (count <= 0)
            continue;
        if (waiting[0].revents != 0)
            return WAKE_ENDED;
        if (waiting[1].revents != 0) {
            struct signalfd_siginfo ignored;
            (void)!read(signals, &ignored, sizeof ignored);
            return WAKE_SIGNAL;
        }
        eventfd_t ignored;
        eventfd_read(mount->active, &ignored);
        mount->quiet = 0;
    }
}

/* umount -l, which an ordinary user does through fusermount3. */
static void detach(const struct mount *mount)
{
    if (umount2(mount->directory, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno != EPERM)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", mount->directory, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

static void interrupt_nothing(int signal)
{
    (void)signal;
}

/* Ends the session although the directory is in use: each thread finishes what it serves. A signal wakes
 * those that sleep at the device; it is sent again because it may come just before they do. */
static void stop_threads(struct mount *mount, int signals)
{
    struct sigaction action = {.sa_handler = interrupt_nothing};
    sigaction(SIGUSR1, &action, NULL);
    fuse_session_exit(mount->session);
    dismiss(mount);
    do {
        pthread_mutex_lock(&mount->mutex);
        for (uint32_t i = 0; i < mount->started; i++)
            pthread_kill(mount->ids[i], SIGUSR1);
        pthread_mutex_unlock(&mount->mutex);
    } while (wait_for_end(mount, signals, 20) != WAKE_ENDED);
}

int mount_serve(struct mount *mount)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (signals < 0)
        return -errno;
    int status = start_threads(mount);
    if (status == 0 && wait_for_end(mount, signals, -1) == WAKE_SIGNAL) {
        detach(mount);
        mount->left = wait_for_end(mount, signals, GRACE_MS) != WAKE_ENDED;
        if (mount->left)
            stop_threads(mount, signals);
    }
    close(signals);
    return status;
}

/* ---- mounting ---- */

static char library_message[256]; /* what libfuse said last */

static void keep_message(enum fuse_log_level level, const char *format, va_list arguments)
{
    (void)level;
    vsnprintf(library_message, sizeof library_message, format, arguments);
    library_message[strcspn(library_message, "\n")] = '\0';
}

static int fail(int status, char error[MOUNT_ERROR_SIZE], const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(int status, char error[MOUNT_ERROR_SIZE], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, MOUNT_ERROR_SIZE, format, arguments);
    va_end(arguments);
    return status;
}

static int session_make(struct mount *mount, const struct mount_options *options,
                        char error[MOUNT_ERROR_SIZE])
{
    char text[256];
    snprintf(text, sizeof text, "fsname=benchfs,subtype=benchfs%s%s%s",
             options->default_permissions ? ",default_permissions" : "",
             options->kernel[0] != '\0' ? "," : "", options->kernel);
    char *arguments[] = {(char[]){"benchfs"}, (char[]){"-o"}, text, NULL};
    struct fuse_args list = FUSE_ARGS_INIT(3, arguments);
    struct fuse_lowlevel_ops operations = {.init = session_init};
    names_operations(&operations);
    attributes_operations(&operations);
    locks_operations(&operations);
    xattrs_operations(&operations);
    files_operations(&operations);
    directories_operations(&operations);
    mount->session = fuse_session_new(&list, &operations, sizeof operations, &mount->filesystem);
    fuse_opt_free_args(&list);
    if (mount->session == NULL)
        return fail(-EINVAL, error, "mount options \"%s\" are refused: %s", options->kernel, library_message);
    return 0;
}

/* INIT, in which the kernel and libfuse agree on how to talk. */
static int first_request(struct mount *mount)
{
    struct fuse_buf buffer = {0};
    int got = fuse_session_receive_buf(mount->session, &buffer);
    if (got > 0)
        fuse_session_process_buf(mount->session, &buffer);
    free(buffer.mem);
    return got < 0 ? got : got == 0 || fuse_session_exited(mount->session) ? -EPROTO : 0;
}

static int session_mount(struct mount *mount, char error[MOUNT_ERROR_SIZE])
{
    if (access("/dev/fuse", F_OK) < 0)
        return fail(
            -ENOENT, error,
            "there is no /dev/fuse: load the kernel's fuse module (modprobe fuse), or, in a container, "
            "pass the device in");
    if (access("/dev/fuse", R_OK | W_OK) < 0)
        return fail(-errno, error, "cannot open /dev/fuse: %s: ask for access to the device",
                    strerror(errno));
    library_message[0] = '\0';
    if (fuse_session_mount(mount->session, mount->directory) != 0)
        return fail(-EPERM, error, "cannot mount on \"%s\": %s", mount->directory,
                    library_message[0] != '\0' ? library_message
                                               : "fusermount3 (package fuse3) refused or is not installed");
    mount->mounted = true;
    int status = negotiate_begin(mount->session);
    if (status == 0)
        status = first_request(mount);
    if (status < 0)
        return fail(status, error, "cannot mount on \"%s\": %s", mount->directory, strerror(-status));
    return 0;
}

int mount_create(benchfs *fs, const char *directory, const struct mount_options *options,
                 struct mount **result, char error[MOUNT_ERROR_SIZE])
{
    struct mount *mount = calloc(1, sizeof *mount);
    if (mount == NULL)
        return fail(-ENOMEM, error, "out of memory");
    mount->filesystem = (struct filesystem){
        .fs = fs,
        .consistency = options->consistency,
        .lifetime = options->consistency == CONSISTENCY_RELAXED ? options->lifetime : 0,
        .default_permissions = options->default_permissions,
    };
    mount->threads_max = options->threads < MOUNT_THREADS_MAX ? options->threads : MOUNT_THREADS_MAX;
    pthread_mutex_init(&mount->mutex, NULL);
    pthread_cond_init(&mount->called, NULL);
    fuse_set_log_func(keep_message);
    mount->ended = eventfd(0, EFD_CLOEXEC);
    mount->active = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mount->directory = strdup(directory);
    int status = 0;
    if (mount->ended < 0 || mount->active < 0 || mount->directory == NULL)
        status = fail(mount->directory != NULL ? -errno : -ENOMEM, error, "out of memory or descriptors");
    if (status == 0)
        status = mount_locks_create(fs, &mount->filesystem.locks);
    if (status == 0)
        status = retries_create(&mount->filesystem.retries);
    if (status == 0 && options->consistency != CONSISTENCY_STRICT)
        status = versions_create(&mount->filesystem.versions);
    if (status == 0)
        status = session_make(mount, options, error);
    if (status == 0)
        status = session_mount(mount, error);
    if (status < 0) {
        mount_destroy(mount);
        return status;
    }
    *result = mount;
    return 0;
}

/* A thread that has not been joined may start one more. */
static uint32_t threads_started(struct mount *mount)
{
    pthread_mutex_lock(&mount->mutex);
    uint32_t started = mount->started;
    pthread_mutex_unlock(&mount->mutex);
    return started;
}

void mount_destroy(struct mount *mount)
{
    if (mount->session != NULL) {
        for (uint32_t i = 0; i < threads_started(mount); i++)
            pthread_join(mount->ids[i], NULL);
        mount_locks_destroy(mount->filesystem.locks); /* who waits is answered while there is a session */
        mount->filesystem.locks = NULL;
        if (mount->mounted && !mount->left) /* nothing, if the kernel has closed the session */
            fuse_session_unmount(mount->session);
        fuse_session_destroy(mount->session);
    }
    mount_locks_destroy(mount->filesystem.locks);
    retries_destroy(mount->filesystem.retries);
    versions_destroy(mount->filesystem.versions);
    if (mount->ended >= 0)
        close(mount->ended);
    if (mount->active >= 0)
        close(mount->active);
    pthread_cond_destroy(&mount->called);
    pthread_mutex_destroy(&mount->mutex);
    free(mount->directory);
    free(mount);
}
