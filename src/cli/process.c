/* Server processes and the files around them.
 *
 * A process id from a file may long belong to another process. So a process counts as ours only if its
 * command line runs benchfsd with the cluster's own key file; and it is held by a pidfd, opened before that
 * is checked, so that what is signalled is what was looked at. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/cluster.h"

/* Whether /proc/PID/cmdline holds "--key-file" followed by this path. */
static bool uses_key(pid_t pid, const char *key_path)
{
    char name[64];
    char words[3 * PATH_MAX];
    snprintf(name, sizeof(name), "/proc/%d/cmdline", (int)pid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t length = 0;
    for (ssize_t count; length < sizeof(words) - 1; length += (size_t)count)
        if ((count = read(fd, words + length, sizeof(words) - 1 - length)) <= 0)
            break;
    close(fd);
    words[length] = '\0';
    const char *previous = "";
    for (const char *word = words; word < words + length; previous = word, word += strlen(word) + 1)
        if (strcmp(previous, "--key-file") == 0 && strcmp(word, key_path) == 0)
            return true;
    return false;
}

int process_open(pid_t pid, const char *key_path)
{
    if (pid <= 0)
        return -1;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0 && uses_key(pid, key_path))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool process_wait(int pidfd, uint64_t patience)
{
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    uint64_t deadline = clock_now() + patience;
    for (uint64_t now; (now = clock_now()) <= deadline;) {
        int ready = poll(&ended, 1, (int)((deadline - now) / NSEC_PER_MSEC) + 1);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
    return false;
}

int process_signal(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

/* ---- files ---- */

int cluster_lock(const struct cluster_paths *paths)
{
    for (int attempt = 0; attempt < 10; attempt++) {
        if (mkdir(paths->directory, 0700) != 0 && errno != EEXIST) {
            int status = -errno;
            cli_error("cannot make directory \"%s\": %s: make its parent, or set BENCHFS_CLUSTER",
                      paths->directory, status_text(status));
            return status;
        }
        int fd = open(paths->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        struct stat status;
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || fstat(fd, &status) != 0 || status.st_uid != geteuid()) {
            cli_error("\"%s\" is not a directory of yours", paths->directory);
            if (fd >= 0)
                close(fd);
            return -EPERM;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            close(fd);
            cli_error("another start or stop of this cluster is under way (\"%s\" is locked)",
                      paths->directory);
            return -EBUSY;
        }
        /* A stop may have removed the directory between open and lock. */
        if (fstat(fd, &status) == 0 && status.st_nlink > 0)
            return fd;
        close(fd);
    }
    cli_error("\"%s\" keeps vanishing: another start or stop is under way", paths->directory);
    return -EBUSY;
}

static void remove_contents(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
}

void cluster_remove(const struct cluster_paths *paths, bool keep_logs)
{
    unlink(paths->file);
    unlink(paths->key);
    remove_contents(paths->fifos);
    rmdir(paths->fifos);
    if (keep_logs)
        return;
    remove_contents(paths->directory);
    rmdir(paths->directory);
}
