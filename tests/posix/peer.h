/* A second process for a test, which does what it is told, turn by turn. */
#pragma once

#include <sys/wait.h>

#include "check.h"

/* A peer process that runs `turn` with numbers it is sent and answers each with the result (0: good). */
struct peer {
    pid_t pid;
    int to, from;
};

static inline void peer_start(struct peer *peer, int (*turn)(benchfs *mine, int number))
{
    int in[2], out[2], number;
    assert_int_equal(pipe(in) | pipe(out), 0);
    peer->pid = fork();
    if (peer->pid == 0) {
        close(in[1]);
        close(out[0]);
        benchfs *mine = benchfs_connect(NULL);
        while (read(in[0], &number, sizeof number) == sizeof number) {
            int result = mine == NULL ? -1 : turn(mine, number);
            if (write(out[1], &result, sizeof result) != sizeof result)
                _exit(1);
        }
        benchfs_disconnect(mine);
        _exit(0);
    }
    close(in[0]);
    close(out[1]);
    peer->to = in[1];
    peer->from = out[0];
}

static inline void peer_turn(const struct peer *peer, int number)
{
    int result = -1;
    assert_int_equal(write(peer->to, &number, sizeof number), sizeof number);
    if (read(peer->from, &result, sizeof result) != sizeof result || result != 0)
        fail_msg("turn %d: the other process failed (%d)", number, result);
}

static inline void peer_stop(struct peer *peer)
{
    int status;
    close(peer->to);
    close(peer->from);
    assert_int_equal(waitpid(peer->pid, &status, 0), peer->pid);
    assert_int_equal(status, 0);
}

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "other process, turn %d: %s (%s)\n", number, #condition, strerror(errno));       \
            return __LINE__;                                                                                 \
        }                                                                                                    \
    } while (0)
