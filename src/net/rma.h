/* One-sided transfers through UCX alone: a client writes into and reads from memory that another process has
 * registered and told it about, without that process's doing, where the transport can. Beside net/raw.h,
 * which measures messages.
 *
 * The two sides meet over a connected stream socket, whose end of file also ends them. All calls are
 * blocking; none may share a thread with a loop that has work. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "metrics/histogram.h"
#include "net/net.h"

#define RMA_DEPTH_MAX 256u
#define RMA_TIMED 16384u

struct rma_client;

/* Registers `footprint` bytes for one client until the socket ends, and makes progress for transports that
 * need it. Closes socket. Returns 0 or -errno. */
int rma_server_run(int socket, const struct net_ucx_options *options, size_t footprint);

/* Takes over socket, also when it fails. footprint: as the server's. Returns 0 or -errno; -EPROTO: the server
 * said something else. */
int rma_client_create(int socket, const struct net_ucx_options *options, size_t footprint,
                      struct rma_client **client);
/* Ends the server too. */
void rma_client_destroy(struct rma_client *client);

/* Memory of the client, registered, of as many bytes as the server's. */
uint8_t *rma_client_memory(struct rma_client *client);

enum rma_kind { RMA_PUT, RMA_GET };

/* What is done, counted while it goes on. */
struct rma_progress {
    uint64_t operations;
    uint64_t bytes;
    size_t offset; /* of the next transfer in both memories */
    /* ns of single transfers, of less than RMA_TIMED bytes every sixteenth, because reading the clock takes
     * as long as they do. A put ends when its bytes may be changed again. */
    struct histogram *latency;
};

/* count transfers of size bytes (1 to the footprint), depth (1 to RMA_DEPTH_MAX) at a time, each from or to
 * the same offset of both memories, one behind the other from progress->offset on, through all again and
 * again. Returns when all are complete at the server: 0 or -errno (-ECONNRESET: the server ended). */
int rma_transfer(struct rma_client *client, enum rma_kind kind, size_t size, uint32_t depth, uint64_t count,
                 struct rma_progress *progress);
