/* Why a result is what it is: the stage that takes the time, the resource behind it, how far that is from its
 * measured limit, and what would limit next. Of one result alone, without reading or writing anything. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/limit.h"
#include "bench/result.h"

/* S(id, name, words). Parts of an operation's time; in their order. */
#define DIAGNOSIS_STAGE_TABLE(S)                                                                             \
    S(LIBRARY, "library", "the client outside of requests")                                                  \
    S(CLIENT_QUEUE, "client_queue", "the client's queue")                                                    \
    S(WIRE, "wire", "the way there and back")                                                                \
    S(SERVER_QUEUE, "server_queue", "the server's queue")                                                    \
    S(HANDLER, "handler", "the server's handler")                                                            \
    S(STORAGE, "storage", "the storage engine")                                                              \
    S(REPLY, "reply", "sending the reply")

enum diagnosis_stage {
#define S(id, name, words) DIAGNOSIS_##id,
    DIAGNOSIS_STAGE_TABLE(S)
#undef S
        DIAGNOSIS_STAGES
};

/* R(id, name, words) */
#define DIAGNOSIS_RESOURCE_TABLE(R)                                                                          \
    R(UNKNOWN, "unknown", "nothing that was measured")                                                       \
    R(MEMORY, "memory-copy", "copying memory")                                                               \
    R(LATENCY, "network-latency", "the network's round trip")                                                \
    R(BANDWIDTH, "network-bandwidth", "the network's bandwidth")                                             \
    R(DEVICE_BANDWIDTH, "device-bandwidth", "the device's bandwidth")                                        \
    R(DEVICE_OPERATIONS, "device-operations", "the device's operations a second")                            \
    R(DEVICE_SYNC, "device-sync", "the device's flushes")                                                    \
    R(SERVER_PROCESSOR, "server-processor", "the servers' processors")                                       \
    R(CLIENT_PROCESSOR, "client-processor", "the client's processor")                                        \
    R(CREDITS, "client-credits", "the credits of the client's connections")                                  \
    R(SERVER_QUEUE, "server-queue", "requests that wait at the server")                                      \
    R(IMBALANCE, "imbalance", "the busiest server")                                                          \
    R(SYNCHRONISATION, "synchronisation", "servers that wait for each other")                                \
    R(WAKEUP, "wakeup", "waking processes that sleep")                                                       \
    R(PROCESSORS, "processors", "processors: more processes are at work than there are")

enum diagnosis_resource {
#define R(id, name, words) RESOURCE_##id,
    DIAGNOSIS_RESOURCE_TABLE(R)
#undef R
        DIAGNOSIS_RESOURCES
};

extern const char *const diagnosis_stage_names[DIAGNOSIS_STAGES];
extern const char *const diagnosis_resource_names[DIAGNOSIS_RESOURCES];

enum diagnosis_outcome {
    DIAGNOSIS_NOTHING,   /* no stages were measured */
    DIAGNOSIS_UNDECIDED, /* the data do not tell */
    DIAGNOSIS_DECIDED,
};

struct diagnosis_part {
    bool known;
    uint64_t p50, p99;              /* ns */
    double share, share50, share99; /* of the mean, the p50 and the p99 of the whole; 0..1 */
};

#define DIAGNOSIS_CEILINGS_MAX 8u
#define DIAGNOSIS_NOTES_MAX 8u
#define DIAGNOSIS_TEXT 640u

/* What a resource allows. */
struct diagnosis_ceiling {
    const char *name;   /* of the limit */
    double ops_per_s;   /* at this result's bytes an operation */
    double bytes_per_s; /* 0: it does not depend on bytes */
};

struct diagnosis {
    enum diagnosis_outcome outcome;
    uint64_t whole50,
        whole99; /* ns: of what the shares are: an operation, or a request if it takes several */
    bool per_request;
    struct diagnosis_part parts[DIAGNOSIS_STAGES];
    enum diagnosis_stage top, tail, second; /* most of the p50, of the p99; next to most of the p50 */
    enum diagnosis_resource resource;
    bool held; /* against a limit: the next ones are known */
    bool limit_exact;
    const char *unit;
    double measured, limit, limit_low, limit_high;
    double ratio; /* 1: at the limit, less: below it */
    enum diagnosis_resource
        next; /* what limits when that does not any more; RESOURCE_UNKNOWN: nothing seen */
    enum diagnosis_stage next_stage;
    double gain; /* at most so many times as fast then */
    double bytes_per_operation, operations_per_s;
    uint32_t ceiling_count, note_count;
    struct diagnosis_ceiling ceilings[DIAGNOSIS_CEILINGS_MAX];
    char verdict[DIAGNOSIS_TEXT];
    char notes[DIAGNOSIS_NOTES_MAX][DIAGNOSIS_TEXT];
};

/* limits->count may be 0. Returns 0 or -ENOMEM. */
int diagnose(const struct result *result, const struct result_run *run, const struct limits *limits,
             struct diagnosis *diagnosis);
