/* What a network gives without BenchFS: UCX alone between two processes that poll (net/raw.h), and shared
 * memory between two processes that poll, without any transport. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/calibrate.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/raw_peer.h"
#include "bench/targets.h"

#define PATIENCE (60 * NSEC_PER_SEC)
#define FOOTPRINT (UINT64_C(64) << 20)
#define REPLY 64u
#define TRIAL 64u /* operations from which the count of a measurement is derived */
#define COUNT_MAX UINT64_C(1000000)
#define SPINS 4000u
#define LATENCIES 3u
#define BANDWIDTHS 3u
#define DEPTHS 2u

static const uint64_t latency_sizes[LATENCIES] = {64, 4096, 16384};
static const uint64_t bandwidth_sizes[BANDWIDTHS] = {65536, 1 << 20, 4 << 20};
static const uint32_t depths[DEPTHS] = {1, 8};

/* What one pair of processes found; shared with the child that measures. */
struct network {
    const struct calibration *calibration;
    struct sample latency[LATENCIES];
    struct sample bandwidth[BANDWIDTHS][DEPTHS];
};

/* ---- UCX ---- */

static uint64_t count_for(const struct calibration *calibration, uint64_t elapsed)
{
    uint64_t count = elapsed == 0 ? COUNT_MAX : calibration->duration * TRIAL / elapsed;
    return count < TRIAL / 4 ? TRIAL / 4 : count > COUNT_MAX ? COUNT_MAX : count;
}

static int measure_latency(struct network *network, struct raw_client *client, uint32_t i)
{
    uint32_t size = (uint32_t)latency_sizes[i];
    uint64_t start = crew_now();
    int status = raw_round_trips(client, size, REPLY, 1, TRIAL, NULL, NULL);
    uint64_t count = count_for(network->calibration, crew_now() - start);
    uint64_t *single = calloc(count, sizeof(*single));
    if (single == NULL)
        return -ENOMEM;
    for (uint32_t repeat = 0; repeat < network->calibration->repeats && status == 0; repeat++) {
        static struct histogram histogram;
        status = raw_round_trips(client, size, REPLY, 1, count, single, NULL);
        histogram_init(&histogram);
        for (uint64_t k = 0; k < count && status == 0; k++)
            histogram_record(&histogram, single[k]);
        if (status == 0)
            sample_add(&network->latency[i], (double)histogram_quantile(&histogram, 0.5));
    }
    free(single);
    return status;
}

static int measure_bandwidth(struct network *network, struct raw_client *client, uint32_t i, uint32_t k)
{
    uint64_t size = bandwidth_sizes[i], elapsed;
    int status = raw_write(client, size, FOOTPRINT, depths[k], TRIAL, NULL, &elapsed);
    uint64_t count = status == 0 ? count_for(network->calibration, elapsed) : 0;
    for (uint32_t repeat = 0; repeat < network->calibration->repeats && status == 0; repeat++) {
        status = raw_write(client, size, FOOTPRINT, depths[k], count, NULL, &elapsed);
        if (status == 0 && elapsed > 0)
            sample_add(&network->bandwidth[i][k], (double)(count * size) * 1e9 / (double)elapsed);
    }
    return status;
}

static int measure_ucx(void *argument)
{
    struct network *network = argument;
    struct raw_peer peer;
    int status = raw_peer_start(&peer, 0);
    if (status < 0)
        return status;
    status = raw_peer_connect(&peer);
    for (uint32_t i = 0; i < LATENCIES && status == 0; i++)
        status = measure_latency(network, peer.client, i);
    for (uint32_t i = 0; i < BANDWIDTHS * DEPTHS && status == 0; i++)
        status = measure_bandwidth(network, peer.client, i / DEPTHS, i % DEPTHS);
    raw_peer_stop(&peer);
    return status;
}

/* ---- shared memory ---- */

#define STOP UINT64_MAX

struct channel {
    struct network *network;
    uint64_t size;
    _Alignas(128) _Atomic uint64_t request; /* number of the latest one; STOP: no more */
    _Alignas(128) _Atomic uint64_t reply;
    _Alignas(4096) uint8_t bytes[];
};

/* Waits until it is not `old` any more. 0: somebody failed. */
static uint64_t await_change(const struct crew_member *member, const _Atomic uint64_t *word, uint64_t old)
{
    for (uint32_t spins = 0;; spins++) {
        uint64_t now = atomic_load_explicit(word, memory_order_acquire);
        if (now != old)
            return now;
        if (spins >= SPINS) {
            if (crew_stopping(member))
                return 0;
            sched_yield();
        }
    }
}

static int ask(struct crew_member *member, struct channel *channel, struct crew_part *part)
{
    uint64_t number = 0, until = crew_now() + channel->network->calibration->duration;
    while (number % 16 != 0 || crew_now() < until) {
        atomic_store_explicit(&channel->request, ++number, memory_order_release);
        if (await_change(member, &channel->reply, number - 1) != number)
            return -ECANCELED;
        part->operations++;
        part->bytes += channel->size;
    }
    atomic_store_explicit(&channel->request, STOP, memory_order_release);
    return 0;
}

static int answer(struct crew_member *member, struct channel *channel, uint8_t *into)
{
    uint64_t at = 0;
    for (uint64_t number = 0, next; (next = await_change(member, &channel->request, number)) != STOP;) {
        if (next == 0)
            return -ECANCELED;
        memcpy(into + at, channel->bytes, channel->size);
        at = at + 2 * channel->size <= FOOTPRINT ? at + channel->size : 0;
        number = next;
        atomic_store_explicit(&channel->reply, number, memory_order_release);
    }
    return 0;
}

static int talk(struct crew_member *member)
{
    struct channel *channel = member->argument;
    uint8_t *into = member->number == 1 ? malloc(FOOTPRINT) : channel->bytes;
    int status = into == NULL ? -ENOMEM : 0;
    if (status == 0)
        memset(into, 1, member->number == 1 ? FOOTPRINT : channel->size);
    for (uint32_t repeat = 0; repeat < channel->network->calibration->repeats && status == 0; repeat++) {
        if (member->number == 0) {
            atomic_store(&channel->request, 0);
            atomic_store(&channel->reply, 0);
        }
        struct crew_part *part = crew_phase(member, repeat);
        if (part == NULL)
            status = -ECANCELED;
        else
            status = member->number == 0 ? ask(member, channel, part) : answer(member, channel, into);
        crew_phase_end(member, repeat);
        if (status == 0)
            status = crew_wait(member);
    }
    if (member->number == 1)
        free(into);
    return status;
}

static int measure_shm(struct network *network)
{
    static struct crew_total totals[CREW_PHASES_MAX];
    static const int pin[] = {1, 0};
    size_t length = sizeof(struct channel) + bandwidth_sizes[BANDWIDTHS - 1];
    struct channel *channel = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (channel == MAP_FAILED)
        return -ENOMEM;
    channel->network = network;
    int status = 0;
    for (uint32_t i = 0; i < LATENCIES + BANDWIDTHS && status == 0; i++) {
        channel->size = i < LATENCIES ? latency_sizes[i] : bandwidth_sizes[i - LATENCIES];
        status = crew_execute(2, 1, pin, network->calibration->repeats, talk, channel, totals);
        for (uint32_t k = 0; k < network->calibration->repeats && status == 0; k++) {
            if (i < LATENCIES)
                sample_add(&network->latency[i], totals[k].seconds * 1e9 / (double)totals[k].operations);
            else
                sample_add(&network->bandwidth[i - LATENCIES][0],
                           (double)totals[k].bytes / totals[k].seconds);
        }
    }
    munmap(channel, length);
    return status;
}

/* ---- both ---- */

static void tell(const struct network *network, const char *transport)
{
    struct result_limit limit = {.transport = transport};
    for (uint32_t i = 0; i < LATENCIES; i++) {
        struct sample bandwidth = {0};
        limit.size = latency_sizes[i];
        limit.depth = 1;
        limit.name = "network-latency";
        limit.unit = "ns";
        calibrate_tell(network->calibration, limit, &network->latency[i]);
        for (uint32_t k = 0; k < network->latency[i].count; k++)
            sample_add(&bandwidth, (double)limit.size * 1e9 / network->latency[i].values[k]);
        limit.name = "network-bandwidth";
        limit.unit = "B/s";
        calibrate_tell(network->calibration, limit, &bandwidth);
    }
    for (uint32_t i = 0; i < BANDWIDTHS * DEPTHS; i++) {
        limit.size = bandwidth_sizes[i / DEPTHS];
        limit.depth = depths[i % DEPTHS];
        if (network->bandwidth[i / DEPTHS][i % DEPTHS].count > 0)
            calibrate_tell(network->calibration, limit, &network->bandwidth[i / DEPTHS][i % DEPTHS]);
    }
}

int calibrate_network(const struct calibration *calibration)
{
    struct network *network =
        mmap(NULL, sizeof(*network), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (network == MAP_FAILED) {
        bench_error("no memory to measure the network");
        return -ENOMEM;
    }
    network->calibration = calibration;
    int status = target_child(1, PATIENCE, measure_ucx, network);
    if (status == 0)
        tell(network, "ucx");
    memset(network->latency, 0, sizeof(network->latency));
    memset(network->bandwidth, 0, sizeof(network->bandwidth));
    if (status == 0 && !interrupted() && (status = measure_shm(network)) == 0)
        tell(network, "shm");
    if (status < 0 && !interrupted())
        bench_error("cannot measure the network: %s", status_text(status));
    munmap(network, sizeof(*network));
    return interrupted() ? -EINTR : status;
}
