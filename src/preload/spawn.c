/* posix_spawn, system, popen, vfork.
 *
 * posix_spawn's child shares this process's memory and acts by system calls of its own. That does for a
 * program and actions that concern BenchFS by descriptors alone, once the environment says where the
 * descriptions are; the library is told whose child it is, so that files without a name stay until it has
 * taken them over. Where a path of BenchFS is involved, or descriptors are closed wholesale, the child is
 * forked and acts through the functions of this library. The order of the actions is read from the C
 * library's own structure, whose layout has not changed since glibc 2.34 and is checked below.
 *
 * vfork's child may do almost nothing by the book, but programs do much in it: it is a fork here, for what
 * the child does to its descriptors must not happen to the tables of its parent. */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "preload/preload.h"

extern char **environ;

enum action_kind {
    ACTION_CLOSE,
    ACTION_DUP2,
    ACTION_OPEN,
    ACTION_CHDIR,
    ACTION_FCHDIR,
    ACTION_CLOSE_FROM,
    ACTION_FOREGROUND,
};

/* struct __spawn_action of glibc. */
struct action {
    enum action_kind kind;
    union {
        int fd; /* CLOSE, FCHDIR, CLOSE_FROM, FOREGROUND */
        struct {
            int from, to;
        } dup2;
        struct {
            int fd;
            char *path;
            int flags;
            mode_t mode;
        } open;
        char *directory;
    };
};
static_assert(sizeof(struct action) == 32, "as in the C library");

static size_t action_count(const posix_spawn_file_actions_t *actions)
{
    return actions == NULL ? 0 : (size_t)actions->__used;
}

static const struct action *action_at(const posix_spawn_file_actions_t *actions, size_t index)
{
    return (const struct action *)(const void *)actions->__actions + index;
}

/* ---- whether the C library's own child will do ---- */

static bool path_is_remote(const char *path)
{
    struct place place;
    return place_of(AT_FDCWD, path, &place) != ROUTE_REAL;
}

static bool path_list_is_remote(void)
{
    const char *list = getenv("PATH");
    for (const char *at = list; at != NULL && *at != '\0'; at += strcspn(at, ":"), at += *at == ':')
        if (*at == '/' && path_is_remote(at))
            return true;
    return false;
}

static bool actions_need_us(const posix_spawn_file_actions_t *actions)
{
    for (size_t i = 0; i < action_count(actions); i++) {
        const struct action *action = action_at(actions, i);
        switch (action->kind) {
        case ACTION_OPEN:
            if (path_is_remote(action->open.path))
                return true;
            break;
        case ACTION_CHDIR:
            if (path_is_remote(action->directory))
                return true;
            break;
        case ACTION_FCHDIR:
            if (descriptor_is_remote(action->fd))
                return true;
            break;
        case ACTION_CLOSE_FROM:
            return true; /* would close what holds the descriptions */
        default:
            break;
        }
    }
    return false;
}

/* ---- a child of our own ---- */

static int act(const struct action *action)
{
    switch (action->kind) {
    case ACTION_CLOSE:
        close(action->fd); /* need not be open */
        return 0;
    case ACTION_DUP2:
        if (action->dup2.from != action->dup2.to)
            return dup2(action->dup2.from, action->dup2.to);
        return fcntl(action->dup2.from, F_SETFD, fcntl(action->dup2.from, F_GETFD) & ~FD_CLOEXEC);
    case ACTION_OPEN: {
        close(action->open.fd);
        int fd = open(action->open.path, action->open.flags, action->open.mode);
        if (fd < 0 || fd == action->open.fd)
            return fd;
        int result = dup2(fd, action->open.fd);
        close(fd);
        return result;
    }
    case ACTION_CHDIR:
        return chdir(action->directory);
    case ACTION_FCHDIR:
        return fchdir(action->fd);
    case ACTION_CLOSE_FROM:
        closefrom(action->fd);
        return 0;
    case ACTION_FOREGROUND:
        return tcsetpgrp(action->fd, getpgid(0));
    default:
        errno = EINVAL;
        return -1;
    }
}

static int set_attributes(const posix_spawnattr_t *attributes, sigset_t *mask)
{
    short flags = 0;
    if (attributes == NULL || posix_spawnattr_getflags(attributes, &flags) != 0)
        return 0;
    if (flags & POSIX_SPAWN_SETSIGDEF) {
        sigset_t set;
        struct sigaction action = {.sa_handler = SIG_DFL};
        posix_spawnattr_getsigdefault(attributes, &set);
        for (int number = 1; number < NSIG; number++)
            if (sigismember(&set, number) == 1)
                sigaction(number, &action, NULL);
    }
    if (flags & POSIX_SPAWN_SETSIGMASK)
        posix_spawnattr_getsigmask(attributes, mask);
    if ((flags & POSIX_SPAWN_SETSID) != 0 && setsid() < 0)
        return -1;
    if (flags & POSIX_SPAWN_SETPGROUP) {
        pid_t group;
        posix_spawnattr_getpgroup(attributes, &group);
        if (setpgid(0, group) < 0)
            return -1;
    }
    if (flags & POSIX_SPAWN_SETSCHEDPARAM || flags & POSIX_SPAWN_SETSCHEDULER) {
        struct sched_param parameters;
        int policy;
        posix_spawnattr_getschedparam(attributes, &parameters);
        posix_spawnattr_getschedpolicy(attributes, &policy);
        if ((flags & POSIX_SPAWN_SETSCHEDULER ? sched_setscheduler(0, policy, &parameters)
                                              : sched_setparam(0, &parameters)) < 0)
            return -1;
    }
    if ((flags & POSIX_SPAWN_RESETIDS) != 0 && (setegid(getgid()) < 0 || seteuid(getuid()) < 0))
        return -1;
    return 0;
}

struct order {
    const char *file;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *attributes;
    char *const *argv;
    char *const *environment;
    bool search;
};

static _Noreturn void become(const struct order *order, int report, sigset_t *mask)
{
    int result = set_attributes(order->attributes, mask);
    for (size_t i = 0; i < action_count(order->actions) && result >= 0; i++) {
        const struct action *action = action_at(order->actions, i);
        /* The way to report a failure must stay open. */
        int taken = action->kind == ACTION_DUP2   ? action->dup2.to
                    : action->kind == ACTION_OPEN ? action->open.fd
                                                  : -1;
        if (taken == report || (action->kind == ACTION_CLOSE_FROM && report >= action->fd)) {
            int moved = descriptor_hide(real(dup)(report));
            real(fcntl)(moved, F_SETFD, FD_CLOEXEC);
            real(close)(report);
            report = moved;
        }
        result = act(action);
    }
    if (result >= 0) {
        sigprocmask(SIG_SETMASK, mask, NULL);
        if (order->search)
            execvpe(order->file, order->argv, order->environment);
        else
            execve(order->file, order->argv, order->environment);
    }
    int error = errno;
    real(write)(report, &error, sizeof error);
    _exit(127);
}

static int spawn_by_fork(pid_t *pid, const struct order *order)
{
    int report[2], error = 0;
    sigset_t all, before;
    if (real(pipe2)(report, O_CLOEXEC) < 0)
        return errno;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t child = fork();
    if (child == 0) {
        real(close)(report[0]);
        become(order, report[1], &before);
    }
    if (child < 0)
        error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    real(close)(report[1]);
    if (child > 0) {
        ssize_t got;
        while ((got = real(read)(report[0], &error, sizeof error)) < 0 && errno == EINTR)
            continue;
        if (got == (ssize_t)sizeof error)
            waitpid(child, NULL, 0);
        else
            error = 0;
    }
    real(close)(report[0]);
    if (error == 0 && pid != NULL)
        *pid = child;
    return error;
}

static int spawn_any(pid_t *pid, const struct order *order)
{
    descriptors_drop_reserved();
    bool program = strchr(order->file, '/') != NULL || !order->search ? path_is_remote(order->file)
                                                                      : path_list_is_remote();
    if (program || actions_need_us(order->actions))
        return spawn_by_fork(pid, order);
    char **made = environment_make(order->environment);
    if (made == NULL)
        return ENOMEM;
    pid_t child = 0;
    bool hands_on = remote != NULL && descriptors_any_kept();
    if (hands_on)
        REMOTE(int, before_spawn());
    int error = (order->search ? real(posix_spawnp) : real(posix_spawn))(
        &child, order->file, order->actions, order->attributes, order->argv, made);
    if (hands_on)
        REMOTE(int, after_spawn(error == 0 ? child : 0));
    if (error == 0 && pid != NULL)
        *pid = child;
    environment_free(made, order->environment);
    return error;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const environment[])
{
    if (inside > 0)
        return real(posix_spawn)(pid, path, actions, attributes, argv, environment);
    return spawn_any(pid, &(struct order){path, actions, attributes, argv, environment, false});
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const argv[], char *const environment[])
{
    if (inside > 0)
        return real(posix_spawnp)(pid, file, actions, attributes, argv, environment);
    return spawn_any(pid, &(struct order){file, actions, attributes, argv, environment, true});
}

EXPORT pid_t vfork(void)
{
    return fork();
}
ALIAS(__vfork, vfork);

/* ---- the shell ---- */

static bool hands_something_on(void)
{
    return inside == 0 && (descriptors_any() || paths_current_saved() != NULL);
}

EXPORT int system(const char *command)
{
    if (command == NULL || !hands_something_on())
        return real(system)(command);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt, quit;
    sigset_t child_signal, mask;
    sigaction(SIGINT, &ignore, &interrupt);
    sigaction(SIGQUIT, &ignore, &quit);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, &mask);
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    if (interrupt.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGINT);
    if (quit.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGQUIT);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &mask);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
    pid_t pid;
    int status = 127 << 8;
    int error = posix_spawn(&pid, "/bin/sh", NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    if (error == 0)
        while (waitpid(pid, &status, 0) < 0)
            if (errno != EINTR) {
                status = -1;
                break;
            }
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return status;
}

/* Streams that popen made here. */
struct piped {
    struct piped *next;
    FILE *stream;
    pid_t pid;
};
static struct piped *all_piped;
static pthread_mutex_t piped_lock = PTHREAD_MUTEX_INITIALIZER;

/* Starts the shell with one end of the pipe. An errno value. */
static int start_shell(struct piped *piped, const char *command, int theirs, int standard)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, standard);
    pthread_mutex_lock(&piped_lock);
    for (const struct piped *other = all_piped; other != NULL; other = other->next)
        if (fileno(other->stream) != standard)
            posix_spawn_file_actions_addclose(&actions, fileno(other->stream));
    pthread_mutex_unlock(&piped_lock);
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
    int error = posix_spawn(&piped->pid, "/bin/sh", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

EXPORT FILE *popen(const char *command, const char *mode)
{
    if (!hands_something_on())
        return real(popen)(command, mode);
    bool reading = strchr(mode, 'r') != NULL;
    int ends[2];
    if (reading == (strchr(mode, 'w') != NULL)) {
        errno = EINVAL;
        return NULL;
    }
    struct piped *piped = malloc(sizeof *piped);
    if (piped == NULL || pipe2(ends, O_CLOEXEC) < 0) {
        free(piped);
        return NULL;
    }
    int ours = ends[reading ? 0 : 1], theirs = ends[reading ? 1 : 0];
    if (strchr(mode, 'e') == NULL)
        fcntl(ours, F_SETFD, 0);
    piped->stream = fdopen(ours, reading ? "r" : "w");
    int error = piped->stream == NULL
                    ? errno
                    : start_shell(piped, command, theirs, reading ? STDOUT_FILENO : STDIN_FILENO);
    close(theirs);
    if (error != 0) {
        if (piped->stream != NULL)
            fclose(piped->stream);
        else
            close(ours);
        free(piped);
        errno = error;
        return NULL;
    }
    pthread_mutex_lock(&piped_lock);
    piped->next = all_piped;
    all_piped = piped;
    pthread_mutex_unlock(&piped_lock);
    return piped->stream;
}

EXPORT int pclose(FILE *stream)
{
    pthread_mutex_lock(&piped_lock);
    struct piped **link = &all_piped;
    while (*link != NULL && (*link)->stream != stream)
        link = &(*link)->next;
    struct piped *piped = *link;
    if (piped != NULL)
        *link = piped->next;
    pthread_mutex_unlock(&piped_lock);
    if (piped == NULL)
        return real(pclose)(stream);
    pid_t pid = piped->pid;
    int status;
    free(piped);
    fclose(stream);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}
