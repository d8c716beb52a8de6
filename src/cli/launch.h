/* Starting server processes, here or on other hosts through ssh, and telling them about one another. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/config.h"
#include "cli/cluster.h"

struct launch_server {
    uint32_t id;
    char host[64];  /* "localhost": a child of this process; otherwise through ssh */
    pid_t pid;      /* of the child: the server, or ssh */
    int to;         /* its standard input; -1: not started or ended */
    int from;       /* its standard output */
    char line[256]; /* what it wrote, up to a newline */
    size_t line_length;
    char address[64]; /* once it is ready */
    char store[33];   /* then also: the cluster its store's directory belongs to, "new", or "": it has none */
    bool serving;
};

struct launch {
    const struct cluster_paths *paths;
    const char *program; /* benchfsd on this host */
    const char *listen;  /* address for local servers, host:port */
    struct launch_server *servers;
    uint32_t count;
    bool bound; /* local servers end with this process, whatever ends it; signals are not held back */
};

/* Finds benchfsd: where this program lies, or, as long as neither is installed, in its own folder of the
 * build; or in PATH. 0, or -ENOENT with the reason printed. */
int launch_find_program(char *program, size_t size);
/* Writes the cluster file of servers that were started with this configuration. 0 or -errno. */
int launch_write_file(const struct launch *launch, const struct config *config);

/* Starts all servers, waits until each has said where it listens, sends every one the whole list and waits
 * until all serve; servers with persistent stores for as long as they recover. 0, or -errno with the reason
 * printed and every started process ended. From the moment when the servers would stay, signals that end this
 * process are held back. */
int launch_all(struct launch *launch, uint64_t patience);

/* Lets the servers go on without this process. */
void launch_release(struct launch *launch);
