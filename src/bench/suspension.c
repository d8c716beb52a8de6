/* Which processes serve whom is known by the names of their programs (target_operations.server). They are
 * looked for anew for every turn, since a user may start one meanwhile. Only what was stopped here is told to
 * go on: whoever stopped a server himself has his reasons. */
#include "bench/suspension.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/options.h"
#include "bench/target.h"

#define SERVERS_MAX 64u
#define PROGRAM_SIZE 32

static pid_t stopped[SERVERS_MAX];
static uint32_t stopped_count;

/* The program that a process runs, and its state, if it is this user's. */
static bool look_at(pid_t pid, char program[PROGRAM_SIZE], char *state)
{
    char path[64], line[256];
    struct stat status;
    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    if (stat(path, &status) != 0 || status.st_uid != geteuid())
        return false;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    const char *begin = strchr(line, '('), *end = strrchr(line, ')');
    if (!read || begin == NULL || end == NULL || end[1] != ' ' || end - begin > PROGRAM_SIZE)
        return false;
    snprintf(program, PROGRAM_SIZE, "%.*s", (int)(end - begin - 1), begin + 1);
    *state = end[2];
    return true;
}

static bool is_peer(const char *program)
{
    return strcmp(program, target_chfs.server) == 0 || strcmp(program, target_finchfs.server) == 0;
}

/* A number may have been given to another process since; that one is left alone. */
static void go_on(const char *server)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < stopped_count; i++) {
        char program[PROGRAM_SIZE], state;
        bool peer = look_at(stopped[i], program, &state) && is_peer(program);
        if (peer && server != NULL && strcmp(program, server) != 0)
            stopped[left++] = stopped[i];
        else if (peer)
            kill(stopped[i], SIGCONT);
    }
    stopped_count = left;
}

int suspension_turn(const char *server)
{
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    int status = directory == NULL ? -errno : 0;
    if (server != NULL)
        go_on(server);
    while (status == 0 && (entry = readdir(directory)) != NULL) {
        char program[PROGRAM_SIZE], state;
        pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)atoi(entry->d_name) : 0;
        if (pid == 0 || !look_at(pid, program, &state) || state == 'T' || !is_peer(program) ||
            (server != NULL && strcmp(program, server) == 0))
            continue;
        if (stopped_count == SERVERS_MAX)
            status = -E2BIG;
        else if (kill(pid, SIGSTOP) == 0)
            stopped[stopped_count++] = pid;
        else if (errno != ESRCH)
            status = -errno;
    }
    if (directory != NULL)
        closedir(directory);
    if (status < 0) {
        bench_error("--suspend: cannot stop the servers of other targets: %s", strerror(-status));
        suspension_end();
    }
    return status;
}

void suspension_end(void)
{
    go_on(NULL);
}
