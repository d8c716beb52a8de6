/* How it reasons.
 *
 * 1. Stages. The stage with the largest part of the p50 is the answer to "where is the time", unless another
 * is as good as equal, or so few requests were seen that a quantile means nothing. What the p99 is made of is
 *    told when that is another stage.
 * 2. Resources. A stage is a place, not a cause: what is behind it follows from the kind of request (bytes or
 *    none), the transport, the storage engine, and from what the servers and the clients' loops did
 * meanwhile. The first rule of choose_* that holds is taken; they are ordered from what leaves no doubt (a
 * server that is never idle) to what is left over.
 * 3. Limits. The resource's calibrated limit for this size and depth tells how much is left. A limit of a
 * time is divided by the time that was measured, a rate by the limit: 1 is as good as it gets.
 * 4. What next. Without the first stage the second one is first, and nothing gets faster by more than the
 *    first one's part.
 * 5. The roofline: what each limit alone would allow at this many bytes an operation. */
#include "bench/diagnosis.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/region.h"
#include "rpc/rpc.h"

#define FEW 20u         /* requests of which no quantile is believed */
#define EQUAL 0.05      /* of the p50: two stages that are no further apart take the same */
#define BUSY 0.85       /* a server's loop that is never idle but for noise */
#define CROWDED 0.5     /* of the time in which processes could have run, that they waited for a processor */
#define UNEVEN 1.5      /* busiest server / mean */
#define ASLEEP 0.5      /* times that a client slept for a request */
#define SLOW 3.0        /* that many round trips are no round trip any more */
#define CHATTY 1.3      /* requests between servers for one of a client's */
#define BULK 32768.0    /* bytes of an operation from which on bytes are what it is about */
#define MANY_COPIES 8.0 /* a storage engine in memory does not take so much longer than to copy */
#define NOISE 0.3       /* width of the rate's interval, relative */
#define TELLING 0.01    /* share of the time from which on a next limit is worth a line */
#define LONG_TAIL 10.0  /* p99 / p50 */
#define SMALL_MESSAGE 64u
#define IN_CACHE (UINT64_C(8) << 20) /* bytes of a phase that stay in cache */

#define S(id, name, words) name,
const char *const diagnosis_stage_names[DIAGNOSIS_STAGES] = {DIAGNOSIS_STAGE_TABLE(S)};
#undef S
#define S(id, name, words) words,
static const char *const stage_words[DIAGNOSIS_STAGES] = {DIAGNOSIS_STAGE_TABLE(S)};
#undef S
#define R(id, name, words) name,
const char *const diagnosis_resource_names[DIAGNOSIS_RESOURCES] = {DIAGNOSIS_RESOURCE_TABLE(R)};
#undef R
#define R(id, name, words) words,
static const char *const resource_words[DIAGNOSIS_RESOURCES] = {DIAGNOSIS_RESOURCE_TABLE(R)};
#undef R

/* All that the rules look at. */
struct facts {
    const struct result *result;
    const struct limits *limits;
    uint64_t requests;    /* of clients, of all kinds */
    double per_operation; /* requests */
    double bytes;         /* an operation */
    double members, concurrency;
    bool writes, syncs;
    const char *engine;    /* "": not known */
    const char *transport; /* of limits: "shm", "ucx", NULL: not known */
    uint32_t servers;
    double busiest, mean_busy, uneven; /* load of servers: requests or bytes, busiest / mean */
    double chatter;                    /* requests of servers for one of a client */
    double sleeps, credit_waits;       /* of clients, for each request */
    double client_waits, server_waits; /* for a processor, share of the time in which they could run */
};

static void note(struct diagnosis *diagnosis, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(struct diagnosis *diagnosis, const char *format, ...)
{
    va_list arguments;
    if (diagnosis->note_count == DIAGNOSIS_NOTES_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(diagnosis->notes[diagnosis->note_count++], DIAGNOSIS_TEXT, format, arguments);
    va_end(arguments);
}

/* ---- facts ---- */

static uint64_t parameter(const struct result *result, const char *name, uint64_t otherwise)
{
    const struct result_parameter *found = result_parameter(result, name);
    return found != NULL && found->kind == RESULT_NUMBER && found->number > 0 ? found->number : otherwise;
}

static double counter(const struct result *result, const char *side, const char *name)
{
    return json_number_value(json_object_get(json_object_get(result->counters, side), name));
}

static double processor_waits(const struct result *result, const char *side)
{
    double ran = counter(result, side, "processor_ns"), waited = counter(result, side, "processor_wait_ns");
    return waited > 0.0 ? waited / (waited + ran) : 0.0;
}

static void gather_servers(struct facts *facts)
{
    size_t i;
    const json_t *server;
    double most = 0.0, sum = 0.0, requests = 0.0, busy = 0.0;
    json_array_foreach(facts->result->servers, i, server)
    {
        double share = json_number_value(json_object_get(server, "busy"));
        double bytes = json_number_value(json_object_get(server, "bytes"));
        double served = json_number_value(json_object_get(server, "requests"));
        double load = facts->bytes >= BULK ? bytes : served;
        most = load > most ? load : most;
        sum += load;
        requests += served;
        busy += share;
        facts->busiest = share > facts->busiest ? share : facts->busiest;
        facts->servers++;
    }
    if (facts->servers == 0)
        return;
    facts->mean_busy = busy / facts->servers;
    facts->uneven = sum > 0.0 ? most * facts->servers / sum : 1.0;
    facts->chatter = facts->requests > 0 ? requests / (double)facts->requests : 0.0;
}

static void gather_run(struct facts *facts, const struct result_run *run)
{
    size_t i;
    const json_t *name;
    const json_t *json = run != NULL ? run->json : NULL;
    const json_t *target = json_object_get(json_object_get(json, "configuration"), facts->result->target);
    const char *engine = json_string_value(json_object_get(json_object_get(target, "store"), "engine"));
    facts->engine = engine != NULL ? engine : "";
    json_array_foreach(json_object_get(json, "transports"), i, name)
    {
        const char *text = json_string_value(name);
        facts->transport =
            text != NULL && strcmp(text, "shm") == 0 && facts->transport == NULL ? "shm" : "ucx";
    }
}

static void gather(struct facts *facts, const struct result_run *run)
{
    const struct result *result = facts->result;
    const char *name;
    json_t *calls;
    json_object_foreach(result->operations_by_rpc, name, calls)
    {
        uint64_t count = (uint64_t)json_integer_value(json_object_get(calls, "count"));
        facts->requests += count;
        facts->writes = facts->writes || strcmp(name, "WRITE_CHUNK") == 0;
        facts->syncs = facts->syncs || (strcmp(name, "SYNC_CHUNKS") == 0 && count >= result->operations / 2);
    }
    if (result->operations > 0) {
        facts->per_operation = (double)facts->requests / (double)result->operations;
        facts->bytes = (double)result->bytes / (double)result->operations;
    }
    facts->members = (double)parameter(result, "processes", 1) * (double)parameter(result, "threads", 1);
    facts->concurrency = facts->members * (double)parameter(result, "depth", 1);
    double requests = facts->requests > 0 ? (double)facts->requests : 1.0;
    facts->sleeps = counter(result, "client", "loop_blocks") / requests;
    facts->credit_waits = counter(result, "client", "credit_waits") / requests;
    facts->client_waits = processor_waits(result, "client");
    facts->server_waits = processor_waits(result, "server");
    gather_servers(facts);
    gather_run(facts, run);
}

/* ---- stages ---- */

static double share_of(double part, double whole)
{
    return whole <= 0.0 || part <= 0.0 ? 0.0 : part >= whole ? 1.0 : part / whole;
}

/* Takes a part out of a stage. Both were measured at different ends, and the part is not longer than the
 * whole. */
static void cut(struct diagnosis_part *from, double *mean, struct diagnosis_part *part, double *part_mean)
{
    part->p50 = part->p50 < from->p50 ? part->p50 : from->p50;
    part->p99 = part->p99 < from->p99 ? part->p99 : from->p99;
    *part_mean = *part_mean < *mean ? *part_mean : *mean;
    from->p50 -= part->p50;
    from->p99 -= part->p99;
    *mean -= *part_mean;
}

/* Reads the stages. Returns whether there are any. */
static bool read_stages(const struct facts *facts, struct diagnosis *diagnosis, struct histogram *histogram)
{
    const struct result *result = facts->result;
    double means[DIAGNOSIS_STAGES] = {0}, whole = 0.0;
    if (result_latency_parse(json_object_get(result->stages, "total"), histogram) < 0 ||
        histogram->count == 0)
        return false;
    diagnosis->whole50 = histogram_quantile(histogram, 0.5);
    diagnosis->whole99 = histogram_quantile(histogram, 0.99);
    whole = histogram_mean(histogram);
    for (uint32_t stage = DIAGNOSIS_CLIENT_QUEUE; stage < DIAGNOSIS_STAGES; stage++) {
        struct diagnosis_part *part = &diagnosis->parts[stage];
        const json_t *json = json_object_get(result->stages, diagnosis_stage_names[stage]);
        if (json == NULL || result_latency_parse(json, histogram) < 0)
            continue;
        part->known = true;
        part->p50 = histogram_quantile(histogram, 0.5);
        part->p99 = histogram_quantile(histogram, 0.99);
        means[stage] = histogram_mean(histogram);
    }
    cut(&diagnosis->parts[DIAGNOSIS_WIRE], &means[DIAGNOSIS_WIRE], &diagnosis->parts[DIAGNOSIS_REPLY],
        &means[DIAGNOSIS_REPLY]);
    diagnosis->per_request =
        facts->per_operation > 1.5 || result->latency == NULL || result->latency->count == 0;
    if (!diagnosis->per_request) {
        struct diagnosis_part *library = &diagnosis->parts[DIAGNOSIS_LIBRARY];
        uint64_t p50 = histogram_quantile(result->latency, 0.5),
                 p99 = histogram_quantile(result->latency, 0.99);
        double mean = histogram_mean(result->latency), inside = whole * facts->per_operation;
        bool few = facts->per_operation < 0.5; /* most operations have no request: it is all the library */
        library->known = true;
        library->p50 = few ? p50 : p50 > diagnosis->whole50 ? p50 - diagnosis->whole50 : 0;
        library->p99 = p99 > diagnosis->whole99 ? p99 - diagnosis->whole99 : 0;
        means[DIAGNOSIS_LIBRARY] = mean > inside ? mean - inside : 0.0;
        for (uint32_t stage = DIAGNOSIS_CLIENT_QUEUE; stage < DIAGNOSIS_STAGES; stage++)
            means[stage] *= facts->per_operation;
        diagnosis->whole50 = p50;
        diagnosis->whole99 = p99;
        whole = mean;
    }
    for (uint32_t stage = 0; stage < DIAGNOSIS_STAGES; stage++) {
        struct diagnosis_part *part = &diagnosis->parts[stage];
        part->share = share_of(means[stage], whole);
        part->share50 = share_of((double)part->p50, (double)diagnosis->whole50);
        part->share99 = share_of((double)part->p99, (double)diagnosis->whole99);
    }
    return true;
}

/* By shares of the p50; where those are all 0 (most operations took no time that could be measured, or each
 * stage is rarely entered) of the mean. */
static double weight(const struct diagnosis *diagnosis, uint32_t stage, bool by_mean)
{
    return by_mean ? diagnosis->parts[stage].share : diagnosis->parts[stage].share50;
}

static void rank(struct diagnosis *diagnosis)
{
    double sum = 0.0;
    for (uint32_t stage = 0; stage < DIAGNOSIS_STAGES; stage++)
        sum += diagnosis->parts[stage].share50;
    bool by_mean = sum < 0.5;
    diagnosis->top = diagnosis->tail = DIAGNOSIS_LIBRARY;
    for (uint32_t stage = 1; stage < DIAGNOSIS_STAGES; stage++) {
        if (weight(diagnosis, stage, by_mean) > weight(diagnosis, diagnosis->top, by_mean))
            diagnosis->top = stage;
        if (diagnosis->parts[stage].share99 > diagnosis->parts[diagnosis->tail].share99)
            diagnosis->tail = stage;
    }
    diagnosis->second = diagnosis->top == 0 ? 1 : 0;
    for (uint32_t stage = 0; stage < DIAGNOSIS_STAGES; stage++) {
        if (stage != diagnosis->top &&
            weight(diagnosis, stage, by_mean) > weight(diagnosis, diagnosis->second, by_mean))
            diagnosis->second = stage;
    }
    double first = weight(diagnosis, diagnosis->top, by_mean),
           second = weight(diagnosis, diagnosis->second, by_mean);
    diagnosis->outcome = first > 0.0 && first - second >= EQUAL ? DIAGNOSIS_DECIDED : DIAGNOSIS_UNDECIDED;
}

/* ---- limits ---- */

static bool find(const struct facts *facts, const char *name, uint64_t size, struct result_limit *limit,
                 bool *exact)
{
    bool network = strncmp(name, "network", 7) == 0;
    uint64_t once = facts->result->repeats > 0 ? facts->result->bytes / facts->result->repeats : 0;
    double copying = facts->servers > 0 && facts->servers < facts->members ? facts->servers : facts->members;
    const struct limit_query query = {
        .name = name,
        .transport = network ? facts->transport : NULL,
        .size = size,
        .depth = parameter(facts->result, "depth", 1),
        .footprint = once > IN_CACHE ? once : size,
        .processes = (uint64_t)copying,
    };
    return limits_find(facts->limits, &query, limit, exact);
}

/* A rate that was measured against a limit of rates, or a time (ns) against one of times. */
static void hold(const struct facts *facts, struct diagnosis *diagnosis, const char *name, uint64_t size,
                 double measured)
{
    struct result_limit limit;
    bool exact;
    diagnosis->measured = measured;
    if (measured <= 0.0 || !find(facts, name, size, &limit, &exact))
        return;
    bool time = strcmp(limit.unit, "ns") == 0;
    diagnosis->held = true;
    diagnosis->limit_exact = exact;
    diagnosis->unit = time ? "ns" : strcmp(limit.unit, "op/s") == 0 ? "op/s" : "B/s";
    diagnosis->limit = limit.value;
    diagnosis->limit_low = limit.low;
    diagnosis->limit_high = limit.high;
    diagnosis->ratio = time ? limit.value / measured : measured / limit.value;
}

static void hold_share(struct diagnosis *diagnosis, double measured, double ratio)
{
    diagnosis->held = true;
    diagnosis->limit_exact = true;
    diagnosis->unit = "";
    diagnosis->measured = measured;
    diagnosis->limit = diagnosis->limit_low = diagnosis->limit_high = 1.0;
    diagnosis->ratio = ratio;
}

static void hold_resource(const struct facts *facts, struct diagnosis *diagnosis)
{
    const struct result *result = facts->result;
    uint64_t size = parameter(result, "size", (uint64_t)facts->bytes);
    uint64_t time = diagnosis->parts[diagnosis->top].p50;
    switch (diagnosis->resource) {
    case RESOURCE_MEMORY:
        hold(facts, diagnosis, "memcpy", size, result->byte_rate.median);
        break;
    case RESOURCE_LATENCY:
        hold(facts, diagnosis, "network-latency", size > SMALL_MESSAGE ? size : SMALL_MESSAGE, (double)time);
        break;
    case RESOURCE_BANDWIDTH:
        hold(facts, diagnosis, "network-bandwidth", size, result->byte_rate.median);
        break;
    case RESOURCE_DEVICE_BANDWIDTH:
        hold(facts, diagnosis, facts->writes ? "device-write" : "device-read", size,
             result->byte_rate.median);
        break;
    case RESOURCE_DEVICE_OPERATIONS:
        hold(facts, diagnosis, facts->writes ? "device-iops-write" : "device-iops-read", size,
             result->operation_rate.median);
        break;
    case RESOURCE_DEVICE_SYNC:
        hold(facts, diagnosis, "fsync", 0, (double)time);
        break;
    case RESOURCE_WAKEUP:
        hold(facts, diagnosis, "wakeup", 0, (double)time / 2.0); /* both ends sleep */
        break;
    case RESOURCE_SERVER_PROCESSOR:
        hold_share(diagnosis, facts->busiest, facts->busiest);
        break;
    case RESOURCE_PROCESSORS:
        diagnosis->measured = fmax(facts->client_waits, facts->server_waits);
        hold_share(diagnosis, diagnosis->measured, 1.0 - diagnosis->measured);
        break;
    case RESOURCE_IMBALANCE:
        hold_share(diagnosis, facts->uneven, 1.0 / facts->uneven);
        break;
    default:
        diagnosis->measured = (double)time;
    }
}

/* ---- resources ---- */

static bool in_memory(const struct facts *facts)
{
    return strcmp(facts->engine, "mem") == 0 || strcmp(facts->engine, "null") == 0;
}

/* A server that has no time left. */
static enum diagnosis_resource busy_server(const struct facts *facts)
{
    if (facts->busiest < BUSY)
        return RESOURCE_UNKNOWN;
    return facts->servers > 1 && facts->uneven >= UNEVEN ? RESOURCE_IMBALANCE : RESOURCE_SERVER_PROCESSOR;
}

static enum diagnosis_resource choose_wire(const struct facts *facts, const struct diagnosis_part *part)
{
    struct result_limit limit;
    bool exact;
    if (facts->bytes >= BULK) {
        bool here = facts->transport != NULL && strcmp(facts->transport, "shm") == 0;
        const char *name = here ? "memcpy" : "network-bandwidth";
        bool bytes = !find(facts, name, (uint64_t)facts->bytes, &limit, &exact) ||
                     (double)part->p50 < SLOW * facts->bytes * 1e9 / limit.value;
        return facts->sleeps >= ASLEEP && !bytes ? RESOURCE_WAKEUP
               : here                            ? RESOURCE_MEMORY
                                                 : RESOURCE_BANDWIDTH;
    }
    enum diagnosis_resource busy = busy_server(facts);
    if (busy != RESOURCE_UNKNOWN)
        return busy;
    bool slow = !find(facts, "network-latency", SMALL_MESSAGE, &limit, &exact) ||
                (double)part->p50 >= SLOW * limit.value;
    return facts->sleeps >= ASLEEP && slow ? RESOURCE_WAKEUP : RESOURCE_LATENCY;
}

static enum diagnosis_resource choose_handler(const struct facts *facts)
{
    enum diagnosis_resource busy = busy_server(facts);
    if (facts->bytes >= BULK)
        return RESOURCE_MEMORY; /* the bytes are moved by the handler where the engine lends its memory */
    if (facts->chatter >= CHATTY)
        return RESOURCE_SYNCHRONISATION;
    return busy != RESOURCE_UNKNOWN ? busy : RESOURCE_SERVER_PROCESSOR;
}

static enum diagnosis_resource choose_storage(const struct facts *facts, const struct diagnosis_part *part)
{
    struct result_limit limit;
    bool exact;
    uint64_t size = parameter(facts->result, "size", (uint64_t)facts->bytes);
    bool memory = in_memory(facts);
    if (facts->engine[0] == 0 && size > 0 &&
        find(facts, "memcpy", size, &limit, &exact)) /* guess by its speed */
        memory = (double)part->p50 < MANY_COPIES * (double)size * 1e9 / limit.value;
    if (memory)
        return RESOURCE_MEMORY;
    if (facts->syncs)
        return RESOURCE_DEVICE_SYNC;
    return facts->bytes >= BULK ? RESOURCE_DEVICE_BANDWIDTH
           : facts->bytes > 0.0 ? RESOURCE_DEVICE_OPERATIONS
                                : RESOURCE_DEVICE_SYNC;
}

/* Whether whoever the stage is about had to wait for a processor most of the time. */
static bool crowded(const struct facts *facts, enum diagnosis_stage stage)
{
    bool client = facts->client_waits >= CROWDED, server = facts->server_waits >= CROWDED;
    switch (stage) {
    case DIAGNOSIS_LIBRARY:
        return client;
    case DIAGNOSIS_SERVER_QUEUE:
    case DIAGNOSIS_HANDLER:
        return server;
    case DIAGNOSIS_WIRE:
    case DIAGNOSIS_REPLY:
        return client || server;
    default:
        return false;
    }
}

static enum diagnosis_resource choose(const struct facts *facts, const struct diagnosis *diagnosis,
                                      enum diagnosis_stage stage)
{
    const struct diagnosis_part *part = &diagnosis->parts[stage];
    enum diagnosis_resource busy = busy_server(facts);
    if (crowded(facts, stage))
        return RESOURCE_PROCESSORS;
    switch (stage) {
    case DIAGNOSIS_LIBRARY:
        return RESOURCE_CLIENT_PROCESSOR;
    case DIAGNOSIS_CLIENT_QUEUE:
        return RESOURCE_CREDITS;
    case DIAGNOSIS_SERVER_QUEUE:
        return busy != RESOURCE_UNKNOWN ? busy : RESOURCE_SERVER_QUEUE;
    case DIAGNOSIS_HANDLER:
        return choose_handler(facts);
    case DIAGNOSIS_STORAGE:
        return choose_storage(facts, part);
    default: /* the wire, and the reply on it */
        return choose_wire(facts, part);
    }
}

/* What is left when the resource is no limit any more. Shares come from sums of both ends, which need not
 * make up exactly the whole. */
static void look_further(const struct facts *facts, struct diagnosis *diagnosis)
{
    double whole = 0.0, rest = 0.0, most = 0.0;
    for (uint32_t stage = 0; stage < DIAGNOSIS_STAGES; stage++) {
        const struct diagnosis_part *part = &diagnosis->parts[stage];
        enum diagnosis_resource resource = choose(facts, diagnosis, stage);
        whole += part->share;
        if (resource == diagnosis->resource)
            continue;
        rest += part->share;
        if (part->share > most) {
            most = part->share;
            diagnosis->next = resource;
            diagnosis->next_stage = stage;
        }
    }
    diagnosis->gain = rest > 0.001 * whole ? whole / rest : 1000.0;
}

/* ---- the roofline ---- */

static void add_ceiling(struct diagnosis *diagnosis, const char *name, double operations, double bytes)
{
    if (diagnosis->ceiling_count < DIAGNOSIS_CEILINGS_MAX && operations > 0.0)
        diagnosis->ceilings[diagnosis->ceiling_count++] = (struct diagnosis_ceiling){name, operations, bytes};
}

static void add_ceilings(const struct facts *facts, struct diagnosis *diagnosis)
{
    static const char *const bandwidths[] = {"memcpy", "network-bandwidth"};
    struct result_limit limit;
    bool exact;
    uint64_t size = parameter(facts->result, "size", (uint64_t)facts->bytes);
    diagnosis->bytes_per_operation = facts->bytes;
    diagnosis->operations_per_s = facts->result->operation_rate.median;
    double trips = facts->per_operation > 1.0 ? facts->per_operation : 1.0;
    if (find(facts, "network-latency", SMALL_MESSAGE, &limit, &exact))
        add_ceiling(diagnosis, "network-latency", facts->concurrency * 1e9 / (limit.value * trips), 0.0);
    for (size_t i = 0; i < sizeof(bandwidths) / sizeof(bandwidths[0]) && facts->bytes > 0.0; i++) {
        if (find(facts, bandwidths[i], size, &limit, &exact))
            add_ceiling(diagnosis, bandwidths[i], limit.value / facts->bytes, limit.value);
    }
    if (facts->bytes <= 0.0 || in_memory(facts))
        return;
    const char *device = facts->writes ? "device-write" : "device-read";
    const char *operations = facts->writes ? "device-iops-write" : "device-iops-read";
    if (find(facts, device, size, &limit, &exact))
        add_ceiling(diagnosis, device, limit.value / facts->bytes, limit.value);
    if (facts->bytes < BULK && find(facts, operations, size, &limit, &exact))
        add_ceiling(diagnosis, operations, limit.value, 0.0);
}

/* ---- words ---- */

/* "write of 1 MiB (benchfs:)" */
static void name_phase(const struct result *result, char *text, size_t size)
{
    char bytes[32] = "";
    uint64_t transfer = parameter(result, "size", 0);
    if (transfer > 0 && result->bytes > 0)
        limits_format_size(transfer, bytes, sizeof(bytes));
    snprintf(text, size, "%s%s%s (%s)", result->phase, bytes[0] != 0 ? " of " : "", bytes, result->target);
}

static void say_limit(const struct diagnosis *diagnosis, char *text, size_t size)
{
    char limit[64];
    if (!diagnosis->held) {
        snprintf(text, size, "how far it is from its limit is not known");
        return;
    }
    limits_format_value(diagnosis->limit, diagnosis->unit, limit, sizeof(limit));
    if (diagnosis->resource == RESOURCE_SERVER_PROCESSOR)
        snprintf(text, size, "the busiest is at work %.0f %% of the time", diagnosis->measured * 100.0);
    else if (diagnosis->resource == RESOURCE_PROCESSORS)
        snprintf(text, size, "for %.0f %% of the time in which they could run they wait for one",
                 diagnosis->measured * 100.0);
    else if (diagnosis->resource == RESOURCE_IMBALANCE)
        snprintf(text, size, "it has %.2f times its share of the load", diagnosis->measured);
    else if (diagnosis->resource == RESOURCE_MEMORY)
        snprintf(text, size, "it runs at %.2f of what this memory copies (%s)", diagnosis->ratio, limit);
    else if (strcmp(diagnosis->unit, "ns") == 0) {
        char measured[64];
        limits_format_value(diagnosis->measured, diagnosis->unit, measured, sizeof(measured));
        snprintf(text, size, "it takes %s where %s are the least (%.2f of the limit)", measured, limit,
                 diagnosis->ratio);
    } else
        snprintf(text, size, "it runs at %.2f of the measured limit (%s)", diagnosis->ratio, limit);
}

static void say_verdict(const struct result *result, uint64_t requests, struct diagnosis *diagnosis)
{
    char phase[256], limit[256];
    const struct diagnosis_part *top = &diagnosis->parts[diagnosis->top];
    const struct diagnosis_part *second = &diagnosis->parts[diagnosis->second];
    name_phase(result, phase, sizeof(phase));
    say_limit(diagnosis, limit, sizeof(limit));
    if (diagnosis->outcome == DIAGNOSIS_DECIDED)
        snprintf(
            diagnosis->verdict, sizeof(diagnosis->verdict),
            "%s: most time goes to %s (%.0f %% of the p50, %.0f %% of the p99); what limits it is %s: %s",
            phase, stage_words[diagnosis->top], top->share50 * 100.0, top->share99 * 100.0,
            resource_words[diagnosis->resource], limit);
    else if (diagnosis->outcome == DIAGNOSIS_UNDECIDED && requests < FEW)
        snprintf(
            diagnosis->verdict, sizeof(diagnosis->verdict),
            "%s: %llu requests are too few to decide; of those most time went to %s (%.0f %% of the p50)",
            phase, (unsigned long long)requests, stage_words[diagnosis->top], top->share50 * 100.0);
    else if (diagnosis->outcome == DIAGNOSIS_UNDECIDED)
        snprintf(diagnosis->verdict, sizeof(diagnosis->verdict),
                 "%s: the data do not decide: %s takes %.0f %% of the p50 and %s %.0f %%", phase,
                 stage_words[diagnosis->top], top->share50 * 100.0, stage_words[diagnosis->second],
                 second->share50 * 100.0);
    else
        snprintf(diagnosis->verdict, sizeof(diagnosis->verdict), "%s: stages unknown: %s", phase,
                 strncmp(result->target, "benchfs", 7) == 0 ? "none were measured"
                                                            : "the target is not BenchFS");
}

static void say_more(const struct facts *facts, struct diagnosis *diagnosis)
{
    const struct result *result = facts->result;
    const struct result_interval *rate = &result->operation_rate;
    const struct diagnosis_part *top = &diagnosis->parts[diagnosis->top];
    if (diagnosis->outcome == DIAGNOSIS_DECIDED && diagnosis->next != RESOURCE_UNKNOWN &&
        diagnosis->parts[diagnosis->next_stage].share >= TELLING)
        note(diagnosis,
             "without it the next limit would be %s (%s, %.0f %% of the time), and nothing gets more than "
             "%.1f times as fast",
             resource_words[diagnosis->next], stage_words[diagnosis->next_stage],
             diagnosis->parts[diagnosis->next_stage].share * 100.0, diagnosis->gain);
    if (diagnosis->tail != diagnosis->top)
        note(diagnosis, "the slowest 1 %% spend most of their time in %s (%.0f %%)",
             stage_words[diagnosis->tail], diagnosis->parts[diagnosis->tail].share99 * 100.0);
    if (diagnosis->whole50 > 0 && (double)diagnosis->whole99 >= LONG_TAIL * (double)diagnosis->whole50)
        note(diagnosis, "the p99 is %.0f times the p50: something stops it now and then",
             (double)diagnosis->whole99 / (double)diagnosis->whole50);
    if (rate->median > 0.0 && (rate->high - rate->low) / rate->median > NOISE)
        note(diagnosis, "within noise: the rate itself is only known to lie between %.0f and %.0f op/s",
             rate->low, rate->high);
    if (diagnosis->held && !diagnosis->limit_exact)
        note(diagnosis, "the limit was measured at other sizes");
    if (diagnosis->held && diagnosis->outcome == DIAGNOSIS_DECIDED && diagnosis->ratio > 1.1)
        note(diagnosis,
             "better than the limit: that was measured while the machine was busier, or for another pattern");
    if (facts->requests > 0 && facts->per_operation < 0.5)
        note(diagnosis, "most operations sent no request (%.2f each): the client answered them",
             facts->per_operation);
    if (facts->sleeps >= ASLEEP)
        note(diagnosis,
             "clients went to sleep %.1f times for each request: there are more processes at work than "
             "processors, or servers answer late",
             facts->sleeps);
    if (facts->servers > 1 && facts->uneven >= UNEVEN && diagnosis->resource != RESOURCE_IMBALANCE)
        note(diagnosis, "load is uneven: the busiest server has %.2f times its share", facts->uneven);
    if (top->share > top->share50 + 0.25)
        note(diagnosis, "on the average it is more (%.0f %%): it happens to some operations",
             top->share * 100.0);
}

int diagnose(const struct result *result, const struct result_run *run, const struct limits *limits,
             struct diagnosis *diagnosis)
{
    struct facts facts = {.result = result, .limits = limits};
    struct histogram *histogram = malloc(sizeof(*histogram));
    if (histogram == NULL)
        return -ENOMEM;
    memset(diagnosis, 0, sizeof(*diagnosis));
    diagnosis->unit = "";
    gather(&facts, run);
    add_ceilings(&facts, diagnosis);
    if (read_stages(&facts, diagnosis, histogram)) {
        rank(diagnosis);
        if (facts.requests < FEW)
            diagnosis->outcome = DIAGNOSIS_UNDECIDED;
        diagnosis->resource = choose(&facts, diagnosis, diagnosis->top);
        look_further(&facts, diagnosis);
        hold_resource(&facts, diagnosis);
        say_more(&facts, diagnosis);
    }
    say_verdict(result, facts.requests, diagnosis);
    free(histogram);
    return 0;
}
