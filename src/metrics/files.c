/* Names of regions, and whether their processes live. A number of a process is used again after a while, so
 * it is only believed together with the time at which the process started. */
#include "metrics/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTEMPTS 16u

void metrics_directory(const char *directory, char *path)
{
    snprintf(path, METRICS_PATH_MAX, "%s/benchfs-%u", directory, (unsigned)geteuid());
}

static int directory_make(const char *path)
{
    struct stat status;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return -errno;
    if (lstat(path, &status) != 0)
        return -errno;
    return S_ISDIR(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 077) == 0 ? 0 : -EPERM;
}

int metrics_file_make(const char *directory, char **path)
{
    static _Atomic uint32_t count;
    char place[METRICS_PATH_MAX];
    metrics_directory(directory, place);
    int status = 0;
    for (uint32_t attempt = 0; status == 0 && attempt < ATTEMPTS; attempt++) {
        char *name;
        status = directory_make(place);
        if (status != 0)
            break;
        if (asprintf(&name, "%s/%d-%u", place, (int)getpid(), atomic_fetch_add(&count, 1)) < 0)
            return -ENOMEM;
        int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0) {
            *path = name;
            return fd;
        }
        /* A process of the same number has died; or somebody has just removed the empty directory. */
        status = errno == EEXIST || errno == ENOENT ? 0 : -errno;
        free(name);
    }
    return status != 0 ? status : -EEXIST;
}

/* The first bytes of a file of /proc. Returns whether there are any. */
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

uint64_t metrics_process_memory(void)
{
    char text[128];
    if (!read_text("/proc/self/statm", text, sizeof(text)))
        return 0;
    const char *second = strchr(text, ' ');
    return second == NULL ? 0 : strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool metrics_thread_processor(struct metrics_processor *processor)
{
    char text[128], *end;
    if (!read_text("/proc/thread-self/schedstat", text, sizeof(text)))
        return false;
    processor->run_ns = strtoull(text, &end, 10);
    processor->wait_ns = strtoull(end, NULL, 10);
    return true;
}

void metrics_file_remove(const char *path)
{
    char place[METRICS_PATH_MAX];
    unlink(path);
    const char *slash = strrchr(path, '/');
    if (slash == NULL || (size_t)(slash - path) >= sizeof(place))
        return;
    snprintf(place, sizeof(place), "%.*s", (int)(slash - path), path);
    rmdir(place);
}

uint64_t metrics_process_start(uint32_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    if (!read_text(path, text, sizeof(text)))
        return 0;
    /* The second field is a name in parentheses, which may hold anything; the start is field 22. */
    const char *at = strrchr(text, ')');
    /* One that has ended and that nobody has asked about yet does not live. */
    if (at != NULL && (at[2] == 'Z' || at[2] == 'X'))
        return 0;
    for (unsigned field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : strtoull(at, NULL, 10);
}

bool metrics_process_lives(const struct metrics_header *header)
{
    char host[sizeof(header->host)] = "";
    gethostname(host, sizeof(host) - 1);
    if (strncmp(host, header->host, sizeof(host)) != 0)
        return true; /* nobody can tell from here */
    uint64_t start = metrics_process_start(header->pid);
    return start != 0 && start == header->process_start;
}
