/* A raw UCX server (net/raw.h, net/rma.h) in a child process, and the client for it. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "net/raw.h"

/* Forks a process, bound to processor `processor` (-1: any), that ends with what serve(socket, argument)
 * returns, and with this one. Before this process has used UCX. The caller closes *socket and waits for *pid.
 * 0 or -errno. */
int raw_peer_fork(int processor, int (*serve)(int socket, void *argument), void *argument, pid_t *pid,
                  int *socket);

struct raw_peer {
    pid_t pid;
    int socket;                /* until the client has it; -1 after */
    struct raw_client *client; /* NULL before raw_peer_connect */
};

/* Forks the server, bound to processor `processor` (-1: any). Before this process has used UCX. 0 or -errno.
 */
int raw_peer_start(struct raw_peer *peer, int processor);
/* In this process or in a child of it: makes the client. 0 or -errno. */
int raw_peer_connect(struct raw_peer *peer);
/* The server polls without pause. Stopped, it leaves its processor to others. */
void raw_peer_pause(const struct raw_peer *peer);
void raw_peer_resume(const struct raw_peer *peer);
/* Ends client and server. */
void raw_peer_stop(struct raw_peer *peer);
