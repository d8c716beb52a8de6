/* The raw server never sleeps, so between its measurements it is stopped by a signal: it would take half of
 * the processor that the BenchFS server is bound to. */
#include "bench/raw_peer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/crew.h"

#define END_STEPS 5000
#define END_STEP_USEC 1000

static const struct net_ucx_options here = {.one_host = true};

int raw_peer_fork(int processor, int (*serve)(int socket, void *argument), void *argument, pid_t *pid,
                  int *socket)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    fflush(NULL);
    pid_t parent = getpid();
    *pid = fork();
    if (*pid < 0) {
        int status = -errno;
        close(sockets[0]);
        close(sockets[1]);
        return status;
    }
    if (*pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(sockets[0]);
        if (processor >= 0)
            crew_pin((unsigned)processor);
        _exit(serve(sockets[1], argument) == 0 ? 0 : 1);
    }
    close(sockets[1]);
    *socket = sockets[0];
    return 0;
}

static int serve_messages(int socket, void *argument)
{
    (void)argument;
    return raw_server_run(socket, &here);
}

int raw_peer_start(struct raw_peer *peer, int processor)
{
    *peer = (struct raw_peer){.socket = -1};
    return raw_peer_fork(processor, serve_messages, NULL, &peer->pid, &peer->socket);
}

int raw_peer_connect(struct raw_peer *peer)
{
    int socket = peer->socket;
    peer->socket = -1;
    return raw_client_create(socket, &here, &peer->client);
}

void raw_peer_pause(const struct raw_peer *peer)
{
    kill(peer->pid, SIGSTOP);
}

void raw_peer_resume(const struct raw_peer *peer)
{
    kill(peer->pid, SIGCONT);
}

/* It ends by itself when its socket does, unless its client was ended in the middle of something. */
static void end(pid_t pid)
{
    for (int i = 0; i < END_STEPS; i++) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR))
            return;
        usleep(END_STEP_USEC);
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

void raw_peer_stop(struct raw_peer *peer)
{
    if (peer->pid <= 0)
        return;
    raw_peer_resume(peer);
    if (peer->client != NULL)
        raw_client_destroy(peer->client);
    if (peer->socket >= 0)
        close(peer->socket);
    end(peer->pid);
    *peer = (struct raw_peer){.socket = -1};
}
