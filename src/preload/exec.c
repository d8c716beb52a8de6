/* Programs that take the place of this one.
 *
 * Open descriptors survive in the kernel as placeholders, and their descriptions in shared memory; the
 * current directory, and where that memory is, go in one environment variable, BENCHFS_PRELOAD =
 * "TABLE,ANCHOR:DIRECTORY". It is there only when there is something to hand on, and taken out of the
 * environment again before the new program sees it.
 *
 * A program inside BenchFS is unknown to the kernel: its bytes are copied to a memfd, which is executed. For
 * a script the interpreter is executed with the script's path, as the kernel would. */
#include <stdlib.h>

#include "preload/preload.h"

#define VARIABLE "BENCHFS_PRELOAD="
#define INTERPRETERS_MAX 5 /* scripts that interpret scripts */

extern char **environ;

/* ---- the environment ---- */

static bool is_variable(const char *entry)
{
    return strncmp(entry, VARIABLE, sizeof VARIABLE - 1) == 0;
}

char **environment_make(char *const *environment)
{
    static char *const empty[] = {NULL};
    if (environment == NULL)
        environment = empty;
    const char *current = paths_current_saved();
    if (current == NULL && !descriptors_any())
        return (char **)(uintptr_t)environment;
    descriptors_save();
    size_t count = 0;
    while (environment[count] != NULL)
        count++;
    /* Vector and text in one piece. */
    char **made = malloc((count + 2) * sizeof(*made) + sizeof VARIABLE + 32 + PATH_MAX);
    if (made == NULL)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_variable(environment[i]))
            made[used++] = environment[i];
    char *text = (char *)(made + count + 2);
    sprintf(text, VARIABLE "%d,%d:%s", family_table, family_anchor, current != NULL ? current : "");
    made[used++] = text;
    made[used] = NULL;
    return made;
}

void environment_free(char **made, char *const *environment)
{
    if (made == environment || environment == NULL)
        return;
    int error = errno;
    free(made);
    errno = error;
}

void environment_adopt(void)
{
    char **at = environ;
    while (at != NULL && *at != NULL && !is_variable(*at))
        at++;
    if (at == NULL || *at == NULL)
        return;
    const char *state = *at + sizeof VARIABLE - 1;
    const char *directory = strchr(state, ':');
    descriptors_adopt(state);
    if (directory != NULL && directory[1] != '\0')
        paths_current_restore(directory + 1);
    do
        at[0] = at[1];
    while (*at++ != NULL);
}

/* ---- copies ---- */

int copy_to_memory(int remote_fd, const char *name)
{
    enum { BLOCK = 1 << 20 };
    int memory = descriptor_hide(real(memfd_create)(name, MFD_CLOEXEC));
    char *block = malloc(BLOCK);
    if (memory < 0 || block == NULL)
        goto fail;
    off_t offset = 0;
    for (ssize_t got; (got = REMOTE(ssize_t, pread(remote_fd, block, BLOCK, offset))) != 0; offset += got) {
        if (got < 0)
            goto fail;
        for (ssize_t put = 0, part; put < got; put += part)
            if ((part = real(write)(memory, block + put, (size_t)(got - put))) < 0)
                goto fail;
    }
    free(block);
    return memory;
fail:;
    int error = errno;
    free(block);
    if (memory >= 0) {
        inside++;
        close(memory);
        inside--;
    }
    errno = error;
    return -1;
}

/* ---- execution ---- */

static int execute(const char *path, char *const *argv, char *const *environment, int depth);

static size_t count_arguments(char *const *argv)
{
    size_t count = 0;
    while (argv != NULL && argv[count] != NULL)
        count++;
    return count;
}

/* line: what follows "#!", without the newline. */
static int execute_script(const char *path, char *line, char *const *argv, char *const *environment,
                          int depth)
{
    char *interpreter = line + strspn(line, " \t");
    char *argument = interpreter + strcspn(interpreter, " \t");
    if (*argument != '\0') {
        *argument++ = '\0';
        argument += strspn(argument, " \t");
        for (char *end = argument + strlen(argument); end > argument && (end[-1] == ' ' || end[-1] == '\t');)
            *--end = '\0';
    }
    if (*interpreter == '\0') {
        errno = ENOEXEC;
        return -1;
    }
    if (depth >= INTERPRETERS_MAX) {
        errno = ELOOP;
        return -1;
    }
    size_t count = count_arguments(argv), used = 0;
    char **longer = malloc((count + 4) * sizeof(*longer));
    if (longer == NULL)
        return -1;
    longer[used++] = interpreter;
    if (*argument != '\0')
        longer[used++] = argument;
    longer[used++] = (char *)(uintptr_t)path;
    for (size_t i = 1; i < count; i++)
        longer[used++] = argv[i];
    longer[used] = NULL;
    int result = execute(interpreter, longer, environment, depth + 1);
    int error = errno;
    free(longer);
    errno = error;
    return result;
}

static int execute_memory(int remote_fd, const char *path, char *const *argv, char *const *environment)
{
    const char *slash = strrchr(path, '/');
    int memory = copy_to_memory(remote_fd, slash != NULL ? slash + 1 : path);
    if (memory < 0)
        return -1;
    char **made = environment_make(environment);
    if (made != NULL) {
        real(execveat)(memory, "", argv, made, AT_EMPTY_PATH);
        environment_free(made, environment);
    }
    int error = errno;
    inside++;
    close(memory);
    inside--;
    errno = error;
    return -1;
}

/* The program is open as remote_fd; path is what a script's interpreter opens. */
static int execute_remote(int remote_fd, const char *path, char *const *argv, char *const *environment,
                          int depth)
{
    char start[256 + 1];
    struct stat status;
    if (REMOTE(int, fstat(remote_fd, &status)) < 0)
        return -1;
    if (!S_ISREG(status.st_mode)) {
        errno = EACCES;
        return -1;
    }
    ssize_t length = REMOTE(ssize_t, pread(remote_fd, start, sizeof start - 1, 0));
    if (length < 0)
        return -1;
    start[length] = '\0';
    if (start[0] == '#' && start[1] == '!') {
        start[2 + strcspn(start + 2, "\n")] = '\0';
        return execute_script(path, start + 2, argv, environment, depth);
    }
    return execute_memory(remote_fd, path, argv, environment);
}

static int execute_real(const char *path, char *const *argv, char *const *environment)
{
    char **made = environment_make(environment);
    if (made == NULL)
        return -1;
    real(execve)(path, argv, made);
    environment_free(made, environment);
    return -1;
}

static int execute(const char *path, char *const *argv, char *const *environment, int depth)
{
    char text[PATH_MAX];
    ROUTE(place, AT_FDCWD, path, -1, execute_real(path, argv, environment));
    if (REMOTE_PATH(int, accessat(place.directory, place.path, X_OK, AT_EACCESS),
                    execute_real(left, argv, environment)) < 0)
        return -1;
    int fd = REMOTE(int, open(place.directory, place.path, O_RDONLY | O_CLOEXEC, 0));
    if (fd < 0)
        return -1;
    int result = -1;
    if (place_text(&place, text))
        result = execute_remote(fd, text, argv, environment, depth);
    int error = errno;
    REMOTE(int, close(fd));
    errno = error;
    return result;
}

EXPORT int execve(const char *path, char *const argv[], char *const environment[])
{
    if (inside > 0)
        return real(execve)(path, argv, environment);
    descriptors_drop_reserved();
    return execute(path, argv, environment, 0);
}

EXPORT int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const environment[])
{
    char path[32];
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    uint32_t number;
    switch (descriptor_of(fd, &number)) {
    case ROUTE_REAL:
        descriptors_drop_reserved();
        char **made = environment_make(environment);
        if (made != NULL) {
            real(execveat)(fd, "", argv, made, AT_EMPTY_PATH);
            environment_free(made, environment);
        }
        return -1;
    case ROUTE_FAILED:
        return -1;
    case ROUTE_REMOTE:
        break;
    }
    return execute_remote(opened[number].remote, path, argv, environment, 0);
}

EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const environment[], int flags)
{
    if (!no_path(path) && path[0] == '\0' && (flags & AT_EMPTY_PATH) != 0)
        return fexecve(dirfd, argv, environment);
    struct place place;
    char text[PATH_MAX];
    switch (place_of(dirfd, path, &place)) {
    case ROUTE_REAL:
        descriptors_drop_reserved();
        char **made = environment_make(environment);
        if (made != NULL) {
            real(execveat)(dirfd, path, argv, made, flags);
            environment_free(made, environment);
        }
        return -1;
    case ROUTE_FAILED:
        return -1;
    case ROUTE_REMOTE:
        break;
    }
    return place_text(&place, text) ? execve(text, argv, environment) : -1;
}

/* ---- search in PATH ---- */

/* A file that is neither binary nor has an interpreter is the shell's. */
static int execute_or_shell(const char *path, char *const argv[], char *const environment[])
{
    execve(path, argv, environment);
    if (errno != ENOEXEC)
        return -1;
    size_t count = count_arguments(argv);
    char **longer = malloc((count + 3) * sizeof(*longer));
    if (longer == NULL)
        return -1;
    longer[0] = (char *)(uintptr_t) "/bin/sh";
    longer[1] = (char *)(uintptr_t)path;
    for (size_t i = 1; i <= count; i++)
        longer[i + 1] = argv[i];
    longer[count == 0 ? 2 : count + 1] = NULL;
    execve(longer[0], longer, environment);
    free(longer);
    return -1;
}

EXPORT int execvpe(const char *file, char *const argv[], char *const environment[])
{
    if (strchr(file, '/') != NULL)
        return execute_or_shell(file, argv, environment);
    if (*file == '\0') {
        errno = ENOENT;
        return -1;
    }
    const char *at = getenv("PATH");
    bool denied = false;
    if (at == NULL)
        at = "/bin:/usr/bin";
    for (;;) {
        char path[PATH_MAX];
        int part = (int)strcspn(at, ":");
        if (snprintf(path, sizeof path, "%.*s%s%s", part, at, part > 0 ? "/" : "", file) < PATH_MAX) {
            execute_or_shell(path, argv, environment);
            denied = denied || errno == EACCES;
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ESTALE &&
                errno != ENODEV && errno != ETIMEDOUT)
                return -1;
        }
        at += part;
        if (*at++ == '\0')
            break;
    }
    errno = denied ? EACCES : ENOENT;
    return -1;
}

EXPORT int execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

/* ---- arguments one by one ---- */

/* The vector of first and what follows it, on the caller's stack; environment gets what follows the NULL. */
#define COLLECT(first, argv, list)                                                                           \
    size_t count_ = 1;                                                                                       \
    va_start(list, first);                                                                                   \
    while (va_arg(list, char *) != NULL)                                                                     \
        count_++;                                                                                            \
    va_end(list);                                                                                            \
    char *argv[count_ + 1];                                                                                  \
    va_start(list, first);                                                                                   \
    argv[0] = (char *)(uintptr_t)first;                                                                      \
    for (size_t i_ = 1; i_ <= count_; i_++)                                                                  \
    argv[i_] = va_arg(list, char *)

EXPORT int execl(const char *path, const char *first, ...)
{
    va_list list;
    COLLECT(first, argv, list);
    va_end(list);
    return execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
    va_list list;
    COLLECT(first, argv, list);
    va_end(list);
    return execvpe(file, argv, environ);
}

EXPORT int execle(const char *path, const char *first, ...)
{
    va_list list;
    COLLECT(first, argv, list);
    char *const *environment = va_arg(list, char *const *);
    va_end(list);
    return execve(path, argv, environment);
}
