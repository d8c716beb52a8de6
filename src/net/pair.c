#include "net/pair.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_MAX 4096u

int ucx_pair_read(const struct ucx_pair *pair, void *bytes, size_t length)
{
    ssize_t got = recv(pair->socket, bytes, length, MSG_WAITALL);
    return got == (ssize_t)length ? 0 : -ECONNRESET;
}

int ucx_pair_write(const struct ucx_pair *pair, const void *bytes, size_t length)
{
    ssize_t put = send(pair->socket, bytes, length, MSG_NOSIGNAL);
    return put == (ssize_t)length ? 0 : -ECONNRESET;
}

bool ucx_pair_ended(const struct ucx_pair *pair)
{
    sched_yield(); /* in case the peer needs this very core */
    char byte;
    ssize_t got = recv(pair->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static void peer_failed(void *owner, ucp_ep_h endpoint, ucs_status_t status)
{
    struct ucx_pair *pair = owner;
    (void)endpoint;
    pair->error = ucx_status(status);
}

int ucx_pair_open(struct ucx_pair *pair, int socket, const struct net_ucx_options *options)
{
    *pair = (struct ucx_pair){.socket = socket};
    int error = ucx_context_create(options, 0, NULL, &pair->ucx);
    if (error != 0)
        close(socket);
    return error;
}

int ucx_pair_meet(struct ucx_pair *pair)
{
    uint8_t address[ADDRESS_MAX];
    uint32_t length = (uint32_t)pair->ucx.address_length;
    int error = ucx_pair_write(pair, &length, sizeof(length));
    if (error == 0)
        error = ucx_pair_write(pair, pair->ucx.address, length);
    if (error == 0)
        error = ucx_pair_read(pair, &length, sizeof(length));
    if (error == 0)
        error = length > sizeof(address) ? -EMSGSIZE : ucx_pair_read(pair, address, length);
    return error != 0 ? error
                      : ucx_endpoint_create(&pair->ucx, address, length, peer_failed, pair, &pair->endpoint);
}

void ucx_pair_close(struct ucx_pair *pair)
{
    if (pair->endpoint != NULL)
        ucx_endpoint_destroy(pair->endpoint);
    ucx_context_destroy(&pair->ucx);
    close(pair->socket);
}
