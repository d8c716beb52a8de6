/* Two processes that measure UCX alone, for the references of net/raw.h and net/rma.h: over a socket each
 * tells the other the address of its worker; from then on the socket only says that the other is still there.
 */
#pragma once

#include "net/ucx_context.h"

struct ucx_pair {
    struct ucx_context ucx;
    ucp_ep_h endpoint; /* to the other */
    int socket;
    int error; /* the first that the transport reported: 0 or -errno */
};

/* Makes a context and takes the socket, which is closed also on failure. Returns 0 or -errno. */
int ucx_pair_open(struct ucx_pair *pair, int socket, const struct net_ucx_options *options);
/* Exchanges addresses; blocks until the other has sent its own. Returns 0, -ECONNRESET (it has ended) or
 * -errno. */
int ucx_pair_meet(struct ucx_pair *pair);
void ucx_pair_close(struct ucx_pair *pair);

/* Exactly so many bytes over the socket; block. Return 0 or -ECONNRESET. */
int ucx_pair_read(const struct ucx_pair *pair, void *bytes, size_t length);
int ucx_pair_write(const struct ucx_pair *pair, const void *bytes, size_t length);

#define UCX_PAIR_POLLS (1u << 14) /* between two looks whether the other is there */

/* Polls until something was done, but not for long: then the caller asks ucx_pair_ended, which is a system
 * call, so that neither outlives the other. */
static inline bool ucx_pair_progress(struct ucx_pair *pair)
{
    for (uint32_t polls = 0; polls < UCX_PAIR_POLLS; polls++)
        if (ucp_worker_progress(pair->ucx.worker) != 0)
            return true;
    return false;
}

bool ucx_pair_ended(const struct ucx_pair *pair);
