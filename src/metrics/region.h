/* What a thread of a client, or a server, measures about itself: one region of memory, shared with whoever
 * wants to read it. This header is its layout; metrics/metrics.h writes it, metrics/reader.h reads it.
 *
 *   header        who this is, where the parts are
 *   counters      METRIC_TABLE, one 64-bit number each
 *   operations    for each operation: how many, errors, bytes, and the sum of each stage
 *   histograms    for each operation and stage: buckets as in metrics/histogram.h
 *   slow          the last requests that took longer than `slow_ns`
 *   partitions    requests by partition of the namespace (a server's)
 *   sessions      requests and bytes by session, with who is at its other end (a server's)
 *   trace         a ring of fixed-size entries, one for each operation that ended
 *
 * One thread writes, with plain stores; anybody may read at any time and sees each number whole, but not all
 * of one moment. A trace entry tells by its sequence whether it was whole. The file is sparse: a page exists
 * once something was recorded in it. All numbers are of the machine's byte order; a region is read on its
 * host, or sent by its server to a host of the same order. */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics/histogram.h"

#define METRICS_MAGIC UINT64_C(0x3143495254454d42) /* "BMETRIC1" */
#define METRICS_VERSION 2u
#define METRICS_OPERATIONS 256u
#define METRICS_CALLED 128u /* requests at their caller are counted as this + their number */
#define METRICS_PARTITIONS 16384u
#define METRICS_SESSIONS 4096u /* of those beyond nothing is told */
#define METRICS_SLOW 128u
#define METRICS_TRACE_DEFAULT 4096u

/* S(id, name): where the time of an operation goes. TOTAL is the whole, the others are its parts. A client
 * knows all but REPLY, which is part of its WIRE; a server all but the first two. */
#define METRICS_STAGE_TABLE(S)                                                                               \
    S(TOTAL, "total")               /* call to result; at a server arrival to reply */                       \
    S(CLIENT_QUEUE, "client_queue") /* waiting for credits and connection */                                 \
    S(WIRE, "wire")                 /* what is left of the total: both ways, and being noticed */            \
    S(SERVER_QUEUE, "server_queue") /* while the server was busy with others; at a server: at most */        \
    S(HANDLER, "handler")           /* less storage */                                                       \
    S(STORAGE, "storage")           /* in the storage engine, and moving bulk to or from it */               \
    S(REPLY, "reply")               /* sending the reply: of every 16th request, and of all with bulk */

enum metrics_stage {
#define S(id, name) STAGE_##id,
    METRICS_STAGE_TABLE(S)
#undef S
        METRICS_STAGES
};

/* Operations are numbered as on the wire (rpc/operations.h); what is none has a number of its own. A server
 * calls others, too, so what a region calls and what it serves are two operations. */
enum metrics_operation_number {
    METRICS_DISK_READ = 100,
    METRICS_DISK_WRITE = 101,
    METRICS_DISK_SYNC = 102,
    METRICS_APPLICATION = 110, /* all of the library's calls, while they are recorded: client/application.h */
};

/* M(id, name, kind, unit, help). Kind: COUNTER only grows, GAUGE is a present value. Names are those of the
 * Prometheus endpoint, without prefix. */
#define METRIC_TABLE(M)                                                                                      \
    M(BULK_EAGER, "bulk_eager", COUNTER, "", "Transfers that travelled with their message")                  \
    M(BULK_RENDEZVOUS, "bulk_rendezvous", COUNTER, "", "Transfers that the receiver fetched")                \
    M(RESENT, "requests_resent", COUNTER, "", "Requests sent again")                                         \
    M(REJECTED, "messages_rejected", COUNTER, "", "Messages with a bad token, version, length or name")      \
    M(EXPIRED, "requests_expired", COUNTER, "", "Requests dropped because their deadline had passed")        \
    M(REPLAYED, "requests_replayed", COUNTER, "", "Requests answered from remembered replies")               \
    M(CREDIT_WAITS, "credit_waits", COUNTER, "", "Calls that waited for credits or a connection")            \
    M(ATTEMPTS_AGAIN, "attempts_again", COUNTER, "", "Attempts of a client that servers refused")            \
    M(MAP_FETCHES, "map_fetches", COUNTER, "", "Cluster maps fetched")                                       \
    M(DIRECTORY_HITS, "directory_cache_hits", COUNTER, "", "Directories of paths found in the cache")        \
    M(DIRECTORY_MISSES, "directory_cache_misses", COUNTER, "", "Directories of paths looked up")             \
    M(LEASE_HITS, "lease_hits", COUNTER, "", "Reads served from data that came with open")                   \
    M(ATTRIBUTE_HITS, "attribute_cache_hits", COUNTER, "", "Attributes served from the cache (relaxed)")     \
    M(BOARD_HITS, "board_hits", COUNTER, "", "Attributes and missing names read on servers' boards")         \
    M(BOARD_MISSES, "board_misses", COUNTER, "", "Questions to boards that servers had to answer")           \
    M(BOARD_OPENS, "board_opens", COUNTER, "", "Files opened by what servers' boards say, without asking")   \
    M(BOARD_READS, "board_reads", COUNTER, "", "Reads of small files' contents on servers' boards")          \
    M(BOARD_ANSWERS, "board_answers", COUNTER, "", "Answers that a server has put on its board")             \
    M(SERVING, "requests_serving", GAUGE, "", "Requests being served")                                       \
    M(SERVING_PEAK, "requests_serving_peak", GAUGE, "", "Most requests ever served at a time")               \
    M(SESSIONS, "sessions", GAUGE, "", "Sessions open")                                                      \
    M(URING_SUBMITS, "uring_submits", COUNTER, "", "System calls that submitted to io_uring")                \
    M(URING_ENTRIES, "uring_entries", COUNTER, "", "Submissions handed to io_uring")                         \
    M(URING_FLIGHT, "uring_in_flight", GAUGE, "", "Requests in io_uring")                                    \
    M(URING_FLIGHT_PEAK, "uring_in_flight_peak", GAUGE, "", "Most requests ever in io_uring at a time")      \
    M(LOOP_BUSY, "loop_busy_ns", COUNTER, "ns", "Time in polls that found work")                             \
    M(LOOP_IDLE, "loop_idle_ns", COUNTER, "ns", "Time polling without work, or blocked")                     \
    M(LOOP_BLOCKED, "loop_blocked_ns", COUNTER, "ns", "Of which blocked in the kernel")                      \
    M(LOOP_BLOCKS, "loop_blocks", COUNTER, "", "Times blocked in the kernel")                                \
    M(PROCESSOR, "processor_ns", COUNTER, "ns", "Time of the loop's thread on a processor")                  \
    M(PROCESSOR_WAIT, "processor_wait_ns", COUNTER, "ns",                                                    \
      "Time in which the loop's thread could run, but others had the processor")                             \
    M(STORE_USED, "store_used_bytes", GAUGE, "bytes", "Bytes of file contents held")                         \
    M(STORE_CAPACITY, "store_capacity_bytes", GAUGE, "bytes", "Bytes of file contents accepted")             \
    M(STORE_MEMORY, "store_memory_bytes", GAUGE, "bytes", "Memory of the storage engine")                    \
    M(STORE_FAST_USED, "store_fast_used_bytes", GAUGE, "bytes",                                              \
      "Of which in the upper engine of a tiered one")                                                        \
    M(STORE_HITS, "store_fast_hits", COUNTER, "", "Reads that the upper engine of a tiered one served")      \
    M(STORE_MISSES, "store_fast_misses", COUNTER, "", "Reads that the lower engine of a tiered one served")  \
    M(STORE_PROMOTIONS, "store_promotions", COUNTER, "", "Chunks copied to the upper engine")                \
    M(STORE_DEMOTIONS, "store_demotions", COUNTER, "", "Chunks taken out of the upper engine")               \
    M(STORE_SPILLS, "store_spills", COUNTER, "", "New chunks that the upper engine had no room for")         \
    M(STORE_WRITE_BACKS, "store_write_backs", COUNTER, "", "Chunks whose changes were copied down")          \
    M(JOURNAL_RECORDS, "journal_records", COUNTER, "", "Records written to the journal")                     \
    M(JOURNAL_GROUPS, "journal_groups", COUNTER, "", "Groups of records written and synchronised together")  \
    M(JOURNAL_BYTES, "journal_bytes", COUNTER, "bytes", "Bytes of groups written")                           \
    M(JOURNAL_LOG, "journal_log_bytes", GAUGE, "bytes", "Bytes that a recovery now would replay")            \
    M(STORE_TAKEN, "store_taken_bytes", GAUGE, "bytes",                                                      \
      "Memory that the storage engine has of the system, in use or kept")                                    \
    M(META_MEMORY, "meta_memory_bytes", GAUGE, "bytes", "Memory of the namespace")                           \
    M(META_TAKEN, "meta_taken_bytes", GAUGE, "bytes",                                                        \
      "Memory that the namespace has of the system, in use or kept")                                         \
    M(BOARD_MEMORY, "board_memory_bytes", GAUGE, "bytes",                                                    \
      "Memory that the board shows to clients of this host")                                                 \
    M(META_INODES, "meta_inodes", GAUGE, "", "Inodes held")                                                  \
    M(META_DENTRIES, "meta_dentries", GAUGE, "", "Names held")                                               \
    M(RPC_MEMORY, "rpc_memory_bytes", GAUGE, "bytes",                                                        \
      "Memory of requests under way, being served and remembered")                                           \
    M(TASK_MEMORY, "task_memory_bytes", GAUGE, "bytes", "Address space of tasks' stacks")                    \
    M(TASKS, "tasks", GAUGE, "", "Tasks under way")                                                          \
    M(METRICS_MEMORY, "metrics_memory_bytes", GAUGE, "bytes",                                                \
      "Memory that the file of this region takes, 0 of a private one")                                       \
    M(UNTOLD, "handlers_untold", COUNTER, "", "Requests whose handler's time the server did not tell")       \
    M(PROCESS_MEMORY, "process_memory_bytes", GAUGE, "bytes", "Resident memory of the whole process")

enum metric {
#define M(id, name, kind, unit, help) METRIC_##id,
    METRIC_TABLE(M)
#undef M
        METRICS
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

enum metrics_role { METRICS_ROLE_NONE, METRICS_ROLE_SERVER, METRICS_ROLE_CLIENT };

struct metrics_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes; /* sizeof, so that a reader of another build notices */
    uint64_t bytes;        /* of the whole region */
    uint32_t role;         /* enum metrics_role */
    uint32_t server;       /* its number; UINT32_MAX: a client */
    uint32_t pid;
    uint32_t thread;
    uint64_t
        process_start; /* of the process, clock ticks after boot: a number may be used again, both are not */
    uint64_t started_ns; /* monotonic, when the region was made */
    int64_t realtime_ns; /* at the same moment */
    char host[64];
    char program[32];
    char cluster[64];  /* bootstrap address of the cluster's first server; empty: not known (yet) */
    char exporter[64]; /* where Prometheus reads it, host:port; empty: nowhere */
    uint32_t metric_count;
    uint32_t operation_count;
    uint32_t stage_count;
    uint32_t bucket_count;
    uint32_t slow_count;
    uint32_t partition_count;
    uint32_t trace_count; /* a power of two */
    uint32_t session_count;
    uint64_t counters_at; /* offsets of the parts */
    uint64_t operations_at;
    uint64_t histograms_at;
    uint64_t slow_at;
    uint64_t partitions_at;
    uint64_t sessions_at;
    uint64_t trace_at;

    /* Written while it lives. */
    uint64_t trace_head;    /* entries ever written */
    uint64_t slow_head;     /* slow ones ever noted */
    uint64_t updated_ns;    /* when counters that are only refreshed now and then were */
    uint64_t ended;         /* 1: closed in order */
    uint64_t sessions_used; /* those behind were never opened */

    /* Written by readers. */
    uint64_t slow_ns;      /* requests from this on are noted; 0: none */
    uint64_t detail_until; /* monotonic ns until which application calls are recorded, too */
    uint32_t paused;       /* 1: nothing is recorded, to find out what recording costs */
    uint32_t unused;
};

struct metrics_operation {
    uint64_t count;
    uint64_t errors;
    uint64_t bytes;
    uint64_t sums[METRICS_STAGES]; /* ns */
};

/* A session of the server, while it is there and until its place is taken. */
struct metrics_session {
    uint64_t since; /* monotonic ns, when it was opened; 0: never. Another one is another session */
    uint64_t requests;
    uint64_t bytes;    /* of bulk */
    uint64_t instance; /* all sessions of one process of clients have the same; 0: not known */
    uint32_t server;   /* the peer's number; UINT32_MAX: a client */
    uint32_t process;  /* on this host; 0: it is on another one, or not known */
    uint32_t uid;
    uint32_t taken; /* 0: it is over */
    char peer[64];  /* where it came from, host:port */
    uint64_t unused[2];
};
static_assert(sizeof(struct metrics_session) == 128, "two cache lines, of which one is written");

/* What a trace entry is about. */
enum metrics_kind {
    METRICS_CALL,             /* a request, at the caller */
    METRICS_SERVED,           /* a request, at the server */
    METRICS_DISK,             /* a transfer or flush of a device */
    METRICS_APPLICATION_CALL, /* a call of the library; recorded while somebody traces */
};

/* A call of the library carries in the upper 48 bits of its correlation those of the last request that the
 * thread had sent before, and in the lower 16 how many it sent until its end, this many or more. */
#define METRICS_CALLS_MAX UINT16_MAX

enum metrics_transfer { METRICS_NO_BULK, METRICS_EAGER, METRICS_RENDEZVOUS };

#define METRICS_UNTOLD UINT32_MAX

struct metrics_entry {
    uint64_t sequence;    /* 1 + its number; 0: being written */
    uint64_t started;     /* monotonic ns */
    uint64_t correlation; /* the same at both ends of a request, and of what a request has the disk do; of a
                             call of the library see METRICS_CALLS_MAX */
    uint64_t subject;     /* inode, or the directory of a name; of a call of the library the inode, or a hash
                             of the path; 0: none */
    uint32_t total_ns;
    uint32_t client_queue_ns;
    uint32_t server_queue_ns;
    uint32_t handler_ns; /* METRICS_UNTOLD: not known, or not yet */
    uint32_t storage_ns;
    uint32_t reply_ns;
    uint32_t bytes; /* of bulk, UINT32_MAX: that many or more */
    uint8_t operation;
    union {
        struct {
            uint8_t kind : 4;     /* enum metrics_kind */
            uint8_t transfer : 4; /* enum metrics_transfer */
        };
        uint8_t about; /* both: METRICS_ABOUT */
    };
    int16_t status; /* 0 or negative */
};
static_assert(sizeof(struct metrics_entry) == 64, "a cache line");
/* Bit fields begin with the lowest bit where bytes do. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "METRICS_ABOUT");
#define METRICS_ABOUT(kind, transfer) ((uint8_t)((kind) | (transfer) << 4))

/* Where the parts of a region lie, all on pages of their own. */
#define METRICS_PAGE UINT64_C(4096)
#define METRICS_PAGES(bytes) (((uint64_t)(bytes) + METRICS_PAGE - 1) / METRICS_PAGE * METRICS_PAGE)
#define METRICS_COUNTERS_AT METRICS_PAGES(sizeof(struct metrics_header))
#define METRICS_OPERATIONS_AT (METRICS_COUNTERS_AT + METRICS_PAGES(METRICS * sizeof(uint64_t)))
#define METRICS_SLOW_AT                                                                                      \
    (METRICS_OPERATIONS_AT + METRICS_PAGES(METRICS_OPERATIONS * sizeof(struct metrics_operation)))
#define METRICS_PARTITIONS_AT (METRICS_SLOW_AT + METRICS_PAGES(METRICS_SLOW * sizeof(struct metrics_entry)))
#define METRICS_SESSIONS_AT (METRICS_PARTITIONS_AT + METRICS_PAGES(METRICS_PARTITIONS * sizeof(uint64_t)))
#define METRICS_TRACE_AT                                                                                     \
    (METRICS_SESSIONS_AT + METRICS_PAGES(METRICS_SESSIONS * sizeof(struct metrics_session)))
#define METRICS_HISTOGRAMS_AT(trace_count)                                                                   \
    (METRICS_TRACE_AT + METRICS_PAGES((trace_count) * sizeof(struct metrics_entry)))
#define METRICS_HISTOGRAM_BYTES (HISTOGRAM_BUCKETS * sizeof(uint64_t))
#define METRICS_BYTES(trace_count)                                                                           \
    (METRICS_HISTOGRAMS_AT(trace_count) +                                                                    \
     METRICS_PAGES((uint64_t)METRICS_OPERATIONS * METRICS_STAGES * METRICS_HISTOGRAM_BYTES))
