/* PING to one server of the target through the client core: --size bytes there, --reply bytes back, --depth
 * of them under way. How the bytes travel is the cluster's choice: with the message below
 * rpc.rendezvous_threshold, fetched by their receiver from there on; `rendezvous` tells which share was. With
 * --raw also what UCX alone does with the same sizes, in turns with ours, with a server of its own:
 *
 *   raw-eager   active messages that carry their bytes, up to 64 KiB
 *   raw-fetch   the greater of both sizes fetched by its receiver, from 1 KiB on
 *
 * A call is finished in the order in which it was started, so at a depth the latency of one that was answered
 * early includes its waiting for those before. */
#include "bench/rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "bench/raw_peer.h"
#include "client/client.h"
#include "metrics/metrics.h"
#include "net/net.h"
#include "rpc/operations.h"

enum phase { PING, EAGER, RENDEZVOUS };

#define SMALL_BYTES 64u /* a message without bulk, headers included */
#define RAW_EAGER_MAX 65536u
#define RAW_RENDEZVOUS_MIN 1024u

static const struct suite_phase phases[] = {
    {.name = "ping"}, {.name = "raw-eager"}, {.name = "raw-fetch"}, {0}};
static const char *const lists[] = {"size", "0,512,4KiB,32KiB,256KiB,1MiB", "depth", "1,8", NULL};

static uint64_t size, reply_size, depth = 1, trips = 20000, server;
static uint64_t processor = 1, raw_processor;
static bool raw;

static const struct bench_option options[] = {
    {"size", BENCH_SIZE, &size, 0, UINT64_C(64) << 20, "SIZE", "bulk bytes of a request"},
    {"reply", BENCH_SIZE, &reply_size, 0, UINT64_C(64) << 20, "SIZE", "bulk bytes of a reply"},
    {"depth", BENCH_NUMBER, &depth, 1, RAW_DEPTH_MAX, "N", "requests under way at once"},
    {"count", BENCH_NUMBER, &trips, 1, 100000000, "N", "round trips of a repeat (fewer for large messages)"},
    {"server", BENCH_NUMBER, &server, 0, 65535, "N", "which server, by place in the cluster"},
    {"raw", BENCH_FLAG, &raw, 0, 0, NULL, "also the same through UCX alone, in turns"},
    {"processor", BENCH_NUMBER, &processor, 0, 65535, "N", "bind a single client to processor N"},
    {"raw-processor", BENCH_NUMBER, &raw_processor, 0, 65535, "N", "bind the raw server to processor N"},
    {0},
};

/* Of all members together. */
struct found {
    _Atomic uint64_t eager, rendezvous; /* transfers */
};

struct flight {
    struct rpc_call call;
    struct ping_reply answer;
    uint64_t started;
};

struct session {
    struct suite_member *member;
    struct client *client;
    struct rpc_peer *peer;
    uint8_t *request_bulk, *reply_bulk; /* of all calls under way */
    struct iovec send, receive;
    struct ping_request body;
    struct flight flights[RAW_DEPTH_MAX];
    struct raw_peer raw;
    uint64_t *latency;
};

/* As many as take about as long as `count` small ones. */
static uint64_t count_trips(void)
{
    uint64_t divided = trips / (1 + (size + reply_size) / 16384), least = 4 * depth;
    return divided < 16 || divided < least ? (least < 16 ? 16 : least) : divided;
}

/* ---- through BenchFS ---- */

static void start_call(struct session *session, struct flight *flight)
{
    flight->call = (struct rpc_call){.operation = RPC_PING,
                                     .body = &session->body,
                                     .body_length = sizeof(session->body),
                                     .send = &session->send,
                                     .send_count = size > 0,
                                     .receive = &session->receive,
                                     .receive_count = reply_size > 0,
                                     .reply = &flight->answer,
                                     .reply_size = sizeof(flight->answer)};
    flight->started = crew_now();
    rpc_start(session->peer, &flight->call);
}

static int finish_call(struct session *session, struct flight *flight)
{
    int status = rpc_finish(&flight->call);
    if (status == 0 && flight->call.received != reply_size)
        status = -EIO;
    return status < 0 ? suite_fail(session->member, "ping", "server", status) : 0;
}

/* part: NULL for calls that do not count. After a failure no call is under way, either. */
static int ping(struct session *session, uint64_t count, struct crew_part *part)
{
    int status = 0;
    uint64_t started = 0;
    for (; started < count && started < depth; started++)
        start_call(session, &session->flights[started]);
    for (uint64_t i = 0; i < started; i++) {
        struct flight *flight = &session->flights[i % depth];
        int finished = finish_call(session, flight);
        status = status == 0 ? finished : status;
        if (status == 0 && part != NULL) {
            histogram_record(&part->latency, crew_now() - flight->started);
            part->operations++;
            part->bytes += size + reply_size;
        }
        if (status == 0 && i % 64 == 0 && crew_stopping(session->member->crew))
            status = -ECANCELED;
        if (status == 0 && started < count) {
            start_call(session, flight);
            started++;
        }
    }
    return status;
}

static int measure_ping(struct session *session)
{
    struct found *found = session->member->shared;
    const struct metrics *metrics = session->member->target->operations->metrics(session->member->target);
    uint64_t count = count_trips();
    int status = ping(session, count / 10 + 1, NULL);
    if (status < 0)
        return status;
    uint64_t eager = metrics->counters[METRIC_BULK_EAGER],
             fetched = metrics->counters[METRIC_BULK_RENDEZVOUS];
    struct crew_part *part = crew_phase(session->member->crew, PING);
    if (part == NULL)
        return -ECANCELED;
    status = ping(session, count, part);
    crew_phase_end(session->member->crew, PING);
    found->eager += metrics->counters[METRIC_BULK_EAGER] - eager;
    found->rendezvous += metrics->counters[METRIC_BULK_RENDEZVOUS] - fetched;
    return status;
}

/* ---- through UCX alone ---- */

static int trip_raw(struct session *session, enum phase phase, uint64_t count, uint64_t *elapsed)
{
    struct raw_client *client = session->raw.client;
    uint64_t there = size < SMALL_BYTES ? SMALL_BYTES : size;
    uint64_t back = reply_size < SMALL_BYTES ? SMALL_BYTES : reply_size;
    if (phase == EAGER)
        return raw_round_trips(client, (uint32_t)there, (uint32_t)back, (uint32_t)depth, count,
                               session->latency, elapsed);
    if (reply_size > size)
        return raw_read(client, reply_size, reply_size * depth, (uint32_t)depth, count, session->latency,
                        elapsed);
    return raw_write(client, size, size * depth, (uint32_t)depth, count, session->latency, elapsed);
}

static int measure_raw(struct session *session, enum phase phase)
{
    uint64_t count = count_trips(), elapsed;
    struct crew_member *crew = session->member->crew;
    raw_peer_resume(&session->raw);
    int status = trip_raw(session, phase, count / 10 + 1, &elapsed);
    struct crew_part *part = status == 0 ? crew_phase(crew, phase) : NULL;
    if (status == 0)
        status = part == NULL ? -ECANCELED : trip_raw(session, phase, count, &elapsed);
    if (status == 0) {
        part->operations = count;
        part->bytes = count * (size + reply_size);
        crew_phase_took(crew, phase, elapsed);
        for (uint64_t i = 0; i < count; i++)
            histogram_record(&part->latency, session->latency[i]);
    }
    raw_peer_pause(&session->raw);
    if (status < 0 && status != -ECANCELED)
        bench_error("raw UCX: %s", status_text(status));
    return status;
}

static int measure_both_raw(struct session *session)
{
    uint64_t greater = size > reply_size ? size : reply_size;
    int status = 0;
    if (greater <= RAW_EAGER_MAX)
        status = measure_raw(session, EAGER);
    if (status == 0 && greater >= RAW_RENDEZVOUS_MIN)
        status = measure_raw(session, RENDEZVOUS);
    return status;
}

/* ---- a run ---- */

static int open_raw(struct session *session)
{
    int status = raw_peer_start(&session->raw, (int)raw_processor);
    if (status == 0)
        status = raw_peer_connect(&session->raw);
    if (status < 0)
        bench_error("cannot start raw UCX: %s", status_text(status));
    else
        raw_peer_pause(&session->raw);
    return status;
}

static int session_open(struct session *session, struct suite_member *member)
{
    session->member = member;
    session->raw.socket = -1;
    session->client = member->target->operations->client(member->target);
    session->request_bulk = calloc(1, size + 1);
    session->reply_bulk = calloc(1, reply_size + 1);
    session->latency = calloc(count_trips(), sizeof(uint64_t));
    if (session->request_bulk == NULL || session->reply_bulk == NULL || session->latency == NULL)
        return suite_fail(member, "prepare", "messages", -ENOMEM);
    if (session->client == NULL)
        return suite_fail(member, "connect", "client", -errno);
    session->send = (struct iovec){.iov_base = session->request_bulk, .iov_len = size};
    session->receive = (struct iovec){.iov_base = session->reply_bulk, .iov_len = reply_size};
    session->body = (struct ping_request){.reply_bytes = (uint32_t)reply_size, .discard = 1};
    session->peer = client_peer(session->client, (uint32_t)server);
    if (member->count == 1)
        crew_pin((unsigned)processor);
    return raw ? open_raw(session) : 0;
}

static void session_close(struct session *session)
{
    raw_peer_stop(&session->raw);
    free(session->request_bulk);
    free(session->reply_bulk);
    free(session->latency);
}

static int run(struct suite_member *member)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return -ENOMEM;
    int status = session_open(session, member);
    if (status == 0)
        status = measure_ping(session);
    if (status == 0 && raw)
        status = measure_both_raw(session);
    session_close(session);
    free(session);
    return status;
}

static int check(void)
{
    if (!raw || suite_members() == 1)
        return 0;
    bench_error("--raw has one client: give no --processes and --threads");
    return BENCH_USAGE;
}

static int suits(const struct target_facts *facts)
{
    if (server < facts->servers)
        return 0;
    bench_error("option --server: the cluster has %u servers, numbered from 0", facts->servers);
    return BENCH_USAGE;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct found *found = shared;
    uint64_t transfers = found->eager + found->rendezvous;
    if (phase == PING && transfers > 0)
        result_measure(result, "rendezvous", (double)found->rendezvous / (double)transfers);
}

const struct suite_workload bench_rpc = {
    .name = "rpc",
    .help = "Round trips to a server: latency and rate by size and depth",
    .options = options,
    .lists = lists,
    .phases = phases,
    .client_only = true,
    .shared_size = sizeof(struct found),
    .shared_sums = 2,
    .check = check,
    .suits = suits,
    .run = run,
    .describe = describe,
};
