/* What UCX alone can do between two processes on this host without the other's doing, beside what a copy
 * costs here:
 *
 *   copy  memcpy within this process, over as much memory
 *   put   ucp_put of --size bytes into memory that the other process has registered, --depth at a time
 *   get   ucp_get of them
 *
 * All cycle through --footprint bytes on either side, because how fast memory is depends on how much of it is
 * used. What was put is what is got: the bytes are compared. */
#include "bench/rma.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "bench/raw_peer.h"
#include "net/rma.h"
#include "net/ucx_context.h"

enum phase { COPY, PUT, GET };

#define COUNT_MIN UINT64_C(16)
#define COUNT_MAX UINT64_C(2000000)
#define BATCH UINT64_C(1000) /* transfers, less of large ones: between looks at the clock */
#define BATCH_BYTES (UINT64_C(16) << 20)

static const struct suite_phase phases[] = {{.name = "copy"}, {.name = "put"}, {.name = "get"}, {0}};
static const char *const lists[] = {"size", "8,64,512,4KiB,32KiB,256KiB,1MiB", "depth", "1,8", NULL};

static uint64_t size = 4096, depth = 1, footprint = UINT64_C(8) << 20, total_size = UINT64_C(128) << 20;
static uint64_t duration = UINT64_C(1000000000), processor = 1, peer_processor;
static const char *transports;
static uint64_t least_depth = UINT64_MAX; /* of all combinations: with it the copy is measured */

static const struct bench_option options[] = {
    {"size", BENCH_SIZE, &size, 1, UINT64_C(1) << 30, "SIZE", "bytes of a transfer"},
    {"depth", BENCH_NUMBER, &depth, 1, RMA_DEPTH_MAX, "N", "transfers under way at once"},
    {"footprint", BENCH_SIZE, &footprint, 4096, UINT64_C(1) << 36, "SIZE",
     "memory of each process that transfers cycle through"},
    {"total", BENCH_SIZE, &total_size, 1, UINT64_C(1) << 44, "SIZE",
     "bytes transferred in a repeat, in 16 to 2000000 transfers"},
    {"time", BENCH_DURATION, &duration, 1000000, UINT64_C(3600000000000), "TIME",
     "a repeat of put or get ends after that, whatever is left"},
    {"transports", BENCH_TEXT, &transports, 0, 0, "NAME", "UCX transport, as in UCX_TLS [shared memory]"},
    {"processor", BENCH_NUMBER, &processor, 0, 65535, "N", "bind this process to processor N"},
    {"peer-processor", BENCH_NUMBER, &peer_processor, 0, 65535, "N", "bind the other process to processor N"},
    {0},
};

static struct net_ucx_options ucx_options(void)
{
    return (struct net_ucx_options){.transports = transports, .one_host = true};
}

static uint64_t transfers(void)
{
    uint64_t count = total_size / size;
    return count < COUNT_MIN ? COUNT_MIN : count > COUNT_MAX ? COUNT_MAX : count;
}

static void fill(uint8_t *memory)
{
    for (uint64_t i = 0; i < footprint; i++)
        memory[i] = (uint8_t)hash_mix(i + 1);
}

static bool check_bytes(const uint8_t *memory, uint64_t length)
{
    for (uint64_t i = 0; i < length; i++)
        if (memory[i] != (uint8_t)hash_mix(i + 1))
            return false;
    return true;
}

/* ---- memcpy ---- */

static void copy_all(struct crew_part *part, struct suite_member *member, const uint8_t *from, uint8_t *to)
{
    uint64_t count = transfers(), offset = 0;
    for (uint64_t i = 0; i < count; i++) {
        bool timed = size >= RMA_TIMED || i % 16 == 0;
        uint64_t before = timed ? crew_now() : 0;
        memcpy(to + offset, from + offset, size);
        __asm__ volatile("" : : : "memory");
        if (timed)
            histogram_record(&part->latency, crew_now() - before);
        part->operations++;
        part->bytes += size;
        offset = offset + 2 * size > footprint ? 0 : offset + size;
        if (i % 4096 == 0 && crew_stopping(member->crew))
            return;
    }
}

static int measure_copy(struct suite_member *member)
{
    uint8_t *memory = ucx_memory_allocate(2 * footprint);
    if (memory == NULL) {
        bench_error("out of memory for twice %llu bytes", (unsigned long long)footprint);
        return -ENOMEM;
    }
    fill(memory);
    memset(memory + footprint, 0, footprint);
    struct crew_part *part = crew_phase(member->crew, COPY);
    if (part != NULL) {
        copy_all(part, member, memory, memory + footprint);
        crew_phase_end(member->crew, COPY);
    }
    ucx_memory_free(memory, 2 * footprint);
    return part == NULL || crew_stopping(member->crew) ? -ECANCELED : 0;
}

/* ---- one-sided ---- */

static int measure_transfers(struct suite_member *member, struct rma_client *client, enum phase phase,
                             uint64_t *count)
{
    struct crew_part *part = crew_phase(member->crew, phase);
    if (part == NULL)
        return -ECANCELED;
    struct rma_progress progress = {.latency = &part->latency};
    uint64_t deadline = crew_now() + duration, left = transfers();
    uint64_t batch = BATCH_BYTES / size < BATCH ? BATCH_BYTES / size + 1 : BATCH;
    int status = 0;
    while (left > 0 && status == 0 && crew_now() < deadline) {
        uint64_t next = left < batch ? left : batch;
        status =
            rma_transfer(client, phase == PUT ? RMA_PUT : RMA_GET, size, (uint32_t)depth, next, &progress);
        part->operations = progress.operations;
        part->bytes = progress.bytes;
        left -= next;
        if (status == 0 && crew_stopping(member->crew))
            status = -ECANCELED;
    }
    crew_phase_end(member->crew, phase);
    *count = progress.operations;
    if (status < 0 && status != -ECANCELED)
        bench_error("%s: %s", phases[phase].name, status_text(status));
    return status;
}

static int measure_client(struct suite_member *member, struct rma_client *client)
{
    uint8_t *memory = rma_client_memory(client);
    uint64_t blocks = footprint / size, put = 0, got = 0;
    fill(memory);
    int status = measure_transfers(member, client, PUT, &put);
    if (status != 0)
        return status;
    memset(memory, 0, footprint);
    status = measure_transfers(member, client, GET, &got);
    blocks = put < blocks ? put : blocks;
    blocks = got < blocks ? got : blocks;
    if (status == 0 && !check_bytes(memory, blocks * size)) {
        bench_error("what was got is not what was put");
        return -EBADMSG;
    }
    return status;
}

/* The other process tells what is wrong. */
static void be_silent(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0)
        return;
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
}

static int serve(int socket, void *argument)
{
    const struct net_ucx_options ucx = ucx_options();
    (void)argument;
    be_silent();
    return rma_server_run(socket, &ucx, footprint);
}

static int run(struct suite_member *member)
{
    const struct net_ucx_options ucx = ucx_options();
    struct rma_client *client;
    pid_t pid;
    int socket;
    log_threshold = LOG_ERROR;
    int status = raw_peer_fork((int)peer_processor, serve, NULL, &pid, &socket);
    if (status < 0) {
        bench_error("cannot start the other process: %s", status_text(status));
        return status;
    }
    crew_pin((unsigned)processor);
    if (depth == least_depth)
        status = measure_copy(member);
    if (status < 0) {
        close(socket);
    } else {
        status = rma_client_create(socket, &ucx, footprint, &client);
        if (status < 0)
            bench_error("cannot connect by UCX: %s", status_text(status));
    }
    if (status == 0) {
        status = measure_client(member, client);
        rma_client_destroy(client);
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static int try_transports(int socket, void *argument)
{
    const struct net_ucx_options ucx = ucx_options();
    struct ucx_context context;
    (void)socket;
    (void)argument;
    be_silent();
    return ucx_context_create(&ucx, 0, NULL, &context) == 0 ? 0 : 1;
}

/* Only UCX knows, and this process must not have used it before it forks. */
static bool has_transports(void)
{
    static const char *known; /* by the combination before */
    pid_t pid;
    int socket, ended = 0;
    if (transports == NULL || transports == known ||
        raw_peer_fork(-1, try_transports, NULL, &pid, &socket) < 0)
        return true;
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        continue;
    close(socket);
    known = transports;
    return WIFEXITED(ended) && WEXITSTATUS(ended) == 0;
}

static int check(void)
{
    least_depth = depth < least_depth ? depth : least_depth;
    if (size > footprint) {
        bench_error("--footprint is less than one transfer of --size %llu", (unsigned long long)size);
        return BENCH_USAGE;
    }
    if (!has_transports()) {
        bench_error("option --transports: UCX has no transport \"%s\" here", transports);
        return BENCH_USAGE;
    }
    return 0;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    (void)shared;
    if (phase == COPY) {
        result_drop_parameter(result, "depth");
        result_drop_parameter(result, "transports");
    }
}

const struct suite_workload bench_rma = {
    .name = "rma",
    .help = "One-sided put and get between processes, beside memcpy",
    .options = options,
    .lists = lists,
    .phases = phases,
    .subject = "UCX",
    .serial = true,
    .check = check,
    .run = run,
    .describe = describe,
};
