/* A UCX context and worker in the configuration that BenchFS uses everywhere: by the ucx transport and by the
 * raw reference measurement, so that the two differ in nothing below the active message. */
#pragma once

#include <ucp/api/ucp.h>

#include "net/net.h"

struct ucx_context {
    ucp_context_h context;
    ucp_worker_h worker;
    uint8_t *address; /* framed worker address, what ucx_endpoint_create takes */
    size_t address_length;
};

/* request_size: bytes of each UCX request for the caller's own use; init (may be NULL) is called when UCX
 * makes one. Returns 0 or -errno (logged). */
int ucx_context_create(const struct net_ucx_options *options, size_t request_size,
                       ucp_request_init_callback_t init, struct ucx_context *ucx);
/* Calls handler(owner, ...) for messages with that id; without one they are dropped. Returns 0 or -errno. */
int ucx_handler_set(struct ucx_context *ucx, unsigned id, ucp_am_recv_callback_t handler, void *owner);

/* Drops the endpoints that are left. */
void ucx_context_destroy(struct ucx_context *ucx);

/* Checks the frame around a worker address from outside and makes an endpoint; failed(owner, ...) is called
 * from progress when UCX finds the peer dead. Returns 0, -EINVAL (malformed) or -errno. */
int ucx_endpoint_create(struct ucx_context *ucx, const void *address, size_t length,
                        ucp_err_handler_cb_t failed, void *owner, ucp_ep_h *endpoint);

/* Discards an endpoint without waiting for its peer: what has not been sent is dropped. */
void ucx_endpoint_destroy(ucp_ep_h endpoint);

/* The negative errno value for a UCX status. */
int ucx_status(ucs_status_t status);

/* Page-aligned zeroed memory for bulk, on huge pages where the system has them. Returns NULL when there is
 * none. */
void *ucx_memory_allocate(size_t length);
void ucx_memory_free(void *memory, size_t length);

/* Around the making or destroying of a context: no fork happens meanwhile. made: 1, -1, or 0 (it failed). */
void ucx_fork_hold(void);
void ucx_fork_release(int made);
