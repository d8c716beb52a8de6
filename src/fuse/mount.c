/* The life of a mount: the session with the kernel, the threads that serve it, and its end.
 *
 * Threads. Each takes one request at a time from the device, serves it to its end and takes the next; while
 * there is none it sleeps in read(2) and uses no processor. There are as many as requests were ever under way
 * at once, at most options.threads: whoever takes a request and leaves nobody waiting at the device starts
 * another one. Each connects to the servers before it takes its first request.
 *
 * The end. When the directory is unmounted the kernel closes the session and every read says so. A signal
 * unmounts it: at once where nothing is in use; otherwise the directory is empty again immediately and those
 * who have files open may finish, for a while. All the time requests are served as before, because unmounting
 * itself writes back what memory mappings have changed. What is still open when the time is up gets
 * "Transport endpoint is not connected". */
#include "fuse/mount.h"

#include <poll.h>
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

#include "base/log.h"
#include "fuse/filesystem.h"

#define GRACE_MS 5000 /* for those who use the directory when a signal ends the mount */

struct mount {
    struct filesystem filesystem;
    struct fuse_session *session;
    char *directory;
    uint32_t threads_max;
    pthread_mutex_t mutex; /* of the three below */
    uint32_t threads;      /* running */
    uint32_t started;      /* in ids */
    pthread_t ids[MOUNT_THREADS_MAX];
    _Atomic uint32_t waiting; /* threads at the device */
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

/* One more, if there may be: 0 or -EAGAIN. */
static int start_thread(struct mount *mount)
{
    int status = 0;
    pthread_mutex_lock(&mount->mutex);
    if (mount->started < mount->threads_max && !fuse_session_exited(mount->session)) {
        status = -pthread_create(&mount->ids[mount->started], NULL, serve, mount);
        mount->started += status == 0;
        mount->threads += status == 0;
    }
    pthread_mutex_unlock(&mount->mutex);
    return status;
}

static void *serve(void *argument)
{
    struct mount *mount = argument;
    struct fuse_buf buffer = {.mem = request_memory()};
    client_get(mount->filesystem.fs); /* if it fails, requests try again */
    atomic_fetch_add(&mount->waiting, 1);
    while (buffer.mem != NULL && !fuse_session_exited(mount->session)) {
        int got = fuse_session_receive_buf(mount->session, &buffer);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            break;
        if (atomic_fetch_sub(&mount->waiting, 1) == 1)
            start_thread(mount);
        fuse_session_process_buf(mount->session, &buffer);
        atomic_fetch_add(&mount->waiting, 1);
    }
    pthread_mutex_lock(&mount->mutex);
    bool last = --mount->threads == 0;
    pthread_mutex_unlock(&mount->mutex);
    if (last)
        eventfd_write(mount->ended, 1);
    return NULL;
}

/* Waits for the end of the session, at most so long (-1: for ever), or for a signal. */
enum wake { WAKE_ENDED, WAKE_SIGNAL, WAKE_TIMEOUT };
static enum wake wait_for_end(const struct mount *mount, int signals, int timeout)
{
    struct pollfd waiting[] = {{.fd = mount->ended, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    int count;
    do {
        count = poll(waiting, 2, timeout);
    } while (count < 0 && errno == EINTR);
    if (waiting[0].revents != 0)
        return WAKE_ENDED;
    if (count > 0 && waiting[1].revents != 0) {
        struct signalfd_siginfo ignored;
        (void)!read(signals, &ignored, sizeof ignored);
        return WAKE_SIGNAL;
    }
    return WAKE_TIMEOUT;
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
    int status = start_thread(mount);
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
    fuse_set_log_func(keep_message);
    mount->ended = eventfd(0, EFD_CLOEXEC);
    mount->directory = strdup(directory);
    int status = 0;
    if (mount->ended < 0 || mount->directory == NULL)
        status = fail(mount->ended < 0 ? -errno : -ENOMEM, error, "out of memory or descriptors");
    if (status == 0)
        status = mount_locks_create(fs, &mount->filesystem.locks);
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

void mount_destroy(struct mount *mount)
{
    if (mount->session != NULL) {
        for (uint32_t i = 0; i < mount->started; i++)
            pthread_join(mount->ids[i], NULL);
        mount_locks_destroy(mount->filesystem.locks); /* who waits is answered while there is a session */
        mount->filesystem.locks = NULL;
        if (mount->mounted && !mount->left) /* nothing, if the kernel has closed the session */
            fuse_session_unmount(mount->session);
        fuse_session_destroy(mount->session);
    }
    mount_locks_destroy(mount->filesystem.locks);
    versions_destroy(mount->filesystem.versions);
    if (mount->ended >= 0)
        close(mount->ended);
    pthread_mutex_destroy(&mount->mutex);
    free(mount->directory);
    free(mount);
}
