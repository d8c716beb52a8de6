/* Which file it is: of those that --library names the first that has the kind's first call, else the one that
 * the environment names, else the one that the loader finds. It stays loaded; workers inherit it by fork and
 * initialise it themselves, so that every worker is a client of its own. */
#include "bench/target_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/crew.h"
#include "bench/options.h"
#include "bench/target.h"

#define PATIENCE UINT64_C(40000000000) /* ns; some wait half a minute for a server */

struct bench_list target_libraries;

/* Loads what the library needs and does not name, from where the loader looks, or from beside it. Whether it
 * is missed shows when the library itself is loaded. */
static void *open_with_needed(const struct target_library *library, const char *path)
{
    char beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (library->needed != NULL && dlopen(library->needed, RTLD_NOW | RTLD_GLOBAL) == NULL && slash != NULL) {
        snprintf(beside, sizeof(beside), "%.*s/%s", (int)(slash - path), path, library->needed);
        dlopen(beside, RTLD_NOW | RTLD_GLOBAL);
    }
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void *open_given(const struct target_library *library, const char **path)
{
    for (uint32_t i = 0; i < target_libraries.count; i++) {
        void *handle = open_with_needed(library, target_libraries.texts[i]);
        if (handle != NULL && dlsym(handle, library->symbols[0].name) != NULL) {
            *path = target_libraries.texts[i];
            return handle;
        }
        if (handle != NULL)
            dlclose(handle);
    }
    return NULL;
}

static void *open_found(const struct target_library *library, const char **path)
{
    const char *named = getenv(library->variable);
    *path = named != NULL && named[0] != 0 ? named : library->file;
    void *handle = open_with_needed(library, *path);
    if (handle == NULL)
        bench_error("target %s cannot load %s: %s: name it with --library or %s", library->scheme, *path,
                    dlerror(), library->variable);
    return handle;
}

int target_library_load(const struct target_library *library, void *calls)
{
    const char *path;
    void *handle = open_given(library, &path);
    if (handle == NULL)
        handle = open_found(library, &path);
    if (handle == NULL)
        return -ENOENT;
    for (const struct target_symbol *symbol = library->symbols; symbol->name != NULL; symbol++) {
        void *address = dlsym(handle, symbol->name);
        if (address == NULL) {
            bench_error("target %s %s has no call %s: it is another library, or too old", library->scheme,
                        path, symbol->name);
            dlclose(handle);
            return -ENOSYS;
        }
        memcpy((char *)calls + symbol->offset, &address, sizeof(address));
    }
    return 0;
}

/* Reads to its end what a process writes, keeping the beginning. false: the time is up. */
static bool read_all(int fd, char *text, size_t size)
{
    uint64_t deadline = crew_now() + PATIENCE;
    char rest[512];
    size_t length = 0;
    for (;;) {
        uint64_t now = crew_now();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (now >= deadline || poll(&ready, 1, (int)((deadline - now) / 1000000) + 1) == 0)
            return false;
        bool full = length + 1 >= size;
        ssize_t count = full ? read(fd, rest, sizeof(rest)) : read(fd, text + length, size - 1 - length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return true;
        length += full ? 0 : (size_t)count;
        text[length] = 0;
    }
}

/* Its last line, without what cannot be printed. */
static char *last_line(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = 0;
    char *line = strrchr(text, '\n');
    line = line != NULL ? line + 1 : text;
    for (char *at = line; *at != 0; at++) {
        if ((unsigned char)*at < 0x20)
            *at = '?';
    }
    return line;
}

static pid_t start_trial(bool (*connect)(void), int *output)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        _exit(connect() ? 0 : 1);
    }
    close(ends[1]);
    if (pid < 0)
        close(ends[0]);
    *output = ends[0];
    return pid;
}

int target_library_try(const struct target_library *library, bool (*connect)(void))
{
    char text[4096] = "";
    int output, state = 0;
    pid_t pid = start_trial(connect, &output);
    if (pid < 0) {
        bench_error("cannot start a process: %s", strerror(errno));
        return -EAGAIN;
    }
    bool ended = read_all(output, text, sizeof(text));
    if (!ended)
        kill(pid, SIGKILL);
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
        continue;
    close(output);
    if (ended && WIFEXITED(state) && WEXITSTATUS(state) == 0)
        return 0;
    const char *said = last_line(text);
    bench_error("target %s no server answers: its library %s%s%s", library->scheme,
                ended ? "gave up" : "had not connected after 40 s", said[0] != 0 ? ": " : "", said);
    return -EHOSTDOWN;
}

/* ---- what these libraries have in common ---- */

static const struct library_calls *calls_of(const struct target *target)
{
    return ((const struct library_target *)target)->calls;
}

int library_result(int returned)
{
    return returned >= 0 ? returned : errno > 0 ? -errno : -EIO;
}

int library_file_open(struct target *target, const char *path, int flags, mode_t mode)
{
    errno = 0;
    return library_result(flags & O_CREAT ? calls_of(target)->create(path, flags, mode)
                                          : calls_of(target)->open(path, flags));
}

int library_file_close(struct target *target, int fd)
{
    errno = 0;
    return library_result(calls_of(target)->close(fd));
}

ssize_t library_read(struct target *target, int fd, void *bytes, size_t length, off_t offset)
{
    errno = 0;
    ssize_t count = calls_of(target)->pread(fd, bytes, length, offset);
    return count < 0 ? library_result(-1) : count;
}

ssize_t library_write(struct target *target, int fd, const void *bytes, size_t length, off_t offset)
{
    errno = 0;
    ssize_t count = calls_of(target)->pwrite(fd, bytes, length, offset);
    return count < 0 ? library_result(-1) : count;
}

int library_sync(struct target *target, int fd)
{
    errno = 0;
    return library_result(calls_of(target)->fsync(fd));
}

int library_path_stat(struct target *target, const char *path, struct stat *status)
{
    memset(status, 0, sizeof(*status));
    errno = 0;
    return library_result(calls_of(target)->stat(path, status));
}

int library_unlink(struct target *target, const char *path)
{
    errno = 0;
    return library_result(calls_of(target)->unlink(path));
}

int library_mkdir(struct target *target, const char *path, mode_t mode)
{
    errno = 0;
    return library_result(calls_of(target)->mkdir(path, mode));
}

int library_rmdir(struct target *target, const char *path)
{
    errno = 0;
    return library_result(calls_of(target)->rmdir(path));
}
