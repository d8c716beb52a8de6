/* PING to the first server of the current cluster through libbenchfs' own client core: `--size` bytes there,
 * `--reply` bytes back, one at a time. With --raw also (and without a cluster only) the same sizes through
 * UCX alone, in turns with ours, with a server of its own; what is eager there goes up to 64 KiB, beyond that
 * it is a rendezvous. */
#include "bench/rpc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/quantity.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/raw_peer.h"
#include "bench/report.h"
#include "client/library.h"

#define SMALL_BYTES 64u /* a message without bulk, headers included */
#define RAW_EAGER_MAX 65536u

static struct bench_list sizes = {.count = 4, .sizes = {0, 4096, 65536, 1048576}};
static uint64_t reply_size, count = 20000, server, repeats = 5;
static uint64_t processor = 1, server_processor;
static bool raw, raw_only, json;

static const struct bench_option options[] = {
    {"size", BENCH_SIZES, &sizes, 0, UINT64_C(64) << 20, "SIZE,...", "bulk bytes of a request"},
    {"reply", BENCH_SIZE, &reply_size, 0, UINT64_C(64) << 20, "SIZE", "bulk bytes of a reply"},
    {"count", BENCH_NUMBER, &count, 1, 100000000, "N", "round trips of a repeat (fewer for large messages)"},
    {"server", BENCH_NUMBER, &server, 0, 65535, "N", "which server, by place in the cluster"},
    {"raw", BENCH_FLAG, &raw, 0, 0, NULL, "also the same through UCX alone, in turns"},
    {"raw-only", BENCH_FLAG, &raw_only, 0, 0, NULL, "only through UCX alone; needs no cluster"},
    {"processor", BENCH_NUMBER, &processor, 0, 65535, "N", "bind this process to processor N"},
    {"raw-processor", BENCH_NUMBER, &server_processor, 0, 65535, "N", "bind the raw server to processor N"},
    {"repeats", BENCH_NUMBER, &repeats, 1, SAMPLE_MAX, "N", "how often"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {0},
};

struct session {
    benchfs *fs;
    struct rpc_peer *peer;
    uint8_t *request_bulk;
    uint8_t *reply_bulk;
    struct raw_peer raw;
    uint64_t *latency;
};

/* As many as take about as long as `count` small ones. */
static uint64_t count_for(uint64_t size)
{
    uint64_t divided = count / (1 + (size + reply_size) / 16384);
    return divided < 16 ? 16 : divided;
}

static int ping(struct session *session, uint64_t size, struct report_row *row)
{
    struct iovec send = {.iov_base = session->request_bulk, .iov_len = size};
    struct iovec receive = {.iov_base = session->reply_bulk, .iov_len = reply_size};
    struct ping_request body = {.reply_bytes = (uint32_t)reply_size, .discard = 1};
    uint64_t trips = count_for(size);
    uint64_t begin = 0;
    for (uint64_t i = 0; i < trips + trips / 10; i++) {
        struct ping_reply answer;
        struct rpc_call call = {.operation = RPC_PING,
                                .body = &body,
                                .body_length = sizeof(body),
                                .send = &send,
                                .send_count = size > 0,
                                .receive = &receive,
                                .receive_count = reply_size > 0,
                                .reply = &answer,
                                .reply_size = sizeof(answer)};
        uint64_t start = crew_now();
        if (i == trips / 10)
            begin = start;
        int status = rpc_call(session->peer, &call);
        if (status == 0 && call.received != reply_size)
            status = -EIO;
        if (status < 0) {
            bench_error("ping of server %llu: %s", (unsigned long long)server, status_text(status));
            return status;
        }
        if (i >= trips / 10)
            histogram_record(&row->latency, crew_now() - start);
    }
    double seconds = (double)(crew_now() - begin) / 1e9;
    row->operations += trips;
    sample_add(&row->rate, (double)trips / seconds);
    sample_add(&row->bandwidth, (double)(trips * (size + reply_size)) / seconds);
    return 0;
}

static int raw_trips(struct session *session, uint64_t size, struct report_row *row)
{
    uint64_t trips = count_for(size);
    uint64_t there = size < SMALL_BYTES ? SMALL_BYTES : size;
    uint64_t back = reply_size < SMALL_BYTES ? SMALL_BYTES : reply_size;
    uint64_t elapsed = 0;
    int status;
    raw_peer_resume(&session->raw);
    if (size <= RAW_EAGER_MAX && reply_size <= RAW_EAGER_MAX)
        status =
            raw_round_trips(session->raw.client, (uint32_t)there, (uint32_t)back, trips, session->latency);
    else if (reply_size > size)
        status = raw_read(session->raw.client, reply_size, reply_size, 1, trips, session->latency, &elapsed);
    else
        status = raw_write(session->raw.client, size, size, 1, trips, session->latency, &elapsed);
    raw_peer_pause(&session->raw);
    if (status < 0) {
        bench_error("raw UCX: %s", status_text(status));
        return status;
    }
    uint64_t sum = 0;
    for (uint64_t i = 0; i < trips; i++) {
        histogram_record(&row->latency, session->latency[i]);
        sum += session->latency[i];
    }
    row->operations += trips;
    sample_add(&row->rate, (double)trips * 1e9 / (double)sum);
    sample_add(&row->bandwidth, (double)(trips * (size + reply_size)) * 1e9 / (double)sum);
    return 0;
}

static int session_open(struct session *session)
{
    uint64_t largest = 1;
    for (uint32_t i = 0; i < sizes.count; i++)
        largest = sizes.sizes[i] > largest ? sizes.sizes[i] : largest;
    session->request_bulk = calloc(1, largest);
    session->reply_bulk = calloc(1, reply_size + 1);
    session->latency = calloc(count + 16, sizeof(uint64_t));
    if (session->request_bulk == NULL || session->reply_bulk == NULL || session->latency == NULL) {
        bench_error("out of memory");
        return -ENOMEM;
    }
    int status = 0;
    if (raw)
        status = raw_peer_start(&session->raw, (int)server_processor);
    crew_pin((unsigned)processor);
    if (status == 0 && raw)
        status = raw_peer_connect(&session->raw);
    if (status < 0) {
        bench_error("cannot start raw UCX: %s", status_text(status));
        return status;
    }
    if (raw)
        raw_peer_pause(&session->raw);
    if (raw_only)
        return 0;
    session->fs = benchfs_connect(NULL);
    if (session->fs == NULL) {
        bench_error("%s", benchfs_error());
        return -errno;
    }
    struct client *client = client_get(session->fs);
    if (client == NULL) {
        bench_error("cannot connect: %s", strerror(errno));
        return -errno;
    }
    if (server >= client_map(client)->server_count) {
        bench_error("option --server: the cluster has %u servers", client_map(client)->server_count);
        return -EINVAL;
    }
    session->peer = client_peer(client, (uint32_t)server);
    return 0;
}

static void session_close(struct session *session)
{
    if (session->fs != NULL)
        benchfs_disconnect(session->fs);
    raw_peer_stop(&session->raw);
    free(session->request_bulk);
    free(session->reply_bulk);
    free(session->latency);
}

static int measure(struct session *session, uint64_t size)
{
    static struct report_row ours, theirs;
    ours = (struct report_row){.target = "benchfs", .phase = "ping", .size = size, .depth = 1};
    theirs = (struct report_row){.target = "raw UCX", .phase = "ping", .size = size, .depth = 1};
    histogram_init(&ours.latency);
    histogram_init(&theirs.latency);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        if (raw && raw_trips(session, size, &theirs) < 0)
            return BENCH_FAILED;
        if (!raw_only && ping(session, size, &ours) < 0)
            return BENCH_FAILED;
    }
    if (!raw_only)
        report_row(&ours, json);
    if (raw)
        report_row(&theirs, json);
    return BENCH_OK;
}

static int run(void)
{
    struct session session = {.raw.socket = -1};
    raw = raw || raw_only;
    int status = session_open(&session) == 0 ? BENCH_OK : BENCH_FAILED;
    if (status == BENCH_OK)
        report_begin(&bench_rpc, NULL, json);
    for (uint32_t i = 0; i < sizes.count && status == BENCH_OK; i++)
        status = measure(&session, sizes.sizes[i]);
    session_close(&session);
    return status;
}

const struct bench_verb bench_rpc = {
    .name = "rpc",
    .help = "Round trips to a server by message size",
    .options = options,
    .run = run,
};
