/* "PID (PROGRAM) STATE ..." in /proc/PID/stat; a program's name may have anything in it, so its end is the
 * last parenthesis. The file belongs to the process's user. */
#include "bench/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KERNEL_THREAD 0x00200000u /* PF_KTHREAD */

bool process_read(pid_t pid, struct process *process)
{
    char path[64], line[1024];
    unsigned flags;
    unsigned long long user, system, started;
    struct stat status;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool owned = fstat(fileno(file), &status) == 0;
    size_t length = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[length] = '\0';
    const char *begin = strchr(line, '('), *end = strrchr(line, ')');
    if (!owned || begin == NULL || end == NULL)
        return false;
    *process = (struct process){.pid = pid, .user = status.st_uid};
    if (sscanf(end + 1, " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu",
               &process->state, &flags, &user, &system, &started) != 5)
        return false;
    process->kernel = (flags & KERNEL_THREAD) != 0;
    process->started = started;
    process->used = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    size_t name = (size_t)(end - begin - 1);
    memcpy(process->program, begin + 1, name < PROCESS_PROGRAM ? name : PROCESS_PROGRAM - 1);
    for (char *at = process->program; *at != '\0'; at++)
        *at = isprint((unsigned char)*at) ? *at : '?';
    return true;
}

int process_each(int (*each)(void *argument, const struct process *process), void *argument)
{
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    int status = directory == NULL ? -errno : 0;
    while (status == 0 && (entry = readdir(directory)) != NULL) {
        struct process process;
        if (isdigit((unsigned char)entry->d_name[0]) && process_read((pid_t)atoi(entry->d_name), &process))
            status = each(argument, &process);
    }
    if (directory != NULL)
        closedir(directory);
    return status;
}
