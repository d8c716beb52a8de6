/* Three passes over what was read.
 *
 * First every entry becomes a slice with its time on this host's clock, and slices are sorted by start. Then
 * they are joined: a request at its server with the call of the same correlation and operation, a transfer of
 * the disk with the request at the same server, a call with the call of the library whose range of
 * correlations it lies in. A joined request may seem to begin at its server before its caller says so,
 * because a caller looks at the clock only once the transport has taken the request; its slice then begins
 * when the server's does.
 *
 * Then slices are laid on tracks. A viewer draws slices of one track as a stack, so they must nest: a slice
 * goes to the first lane of its kind in which it does. A thread that makes one call at a time has one lane,
 * with its requests inside its calls.
 *
 * At last slices and the two ends of each join (a flow, numbered) are sorted by time once more and written.
 */
#include "cli/trace_export.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "cli/observe.h"
#include "client/application.h"
#include "metrics/region.h"

#define RECORDS_MAX (UINT64_C(4) << 20) /* 300 MB */
#define NONE UINT32_MAX
#define LANES_MAX 512u
#define DEPTH_MAX 8u

enum lane_kind { LANE_THREAD, LANE_SERVED, LANE_CALLS, LANE_DISK, LANE_KINDS };

int trace_export_track(struct trace *trace, const struct metrics_header *header, uint32_t *index)
{
    struct trace_track *tracks = reallocarray(trace->tracks, trace->track_count + 1, sizeof(*tracks));
    if (tracks == NULL)
        return -ENOMEM;
    trace->tracks = tracks;
    tracks[trace->track_count] = (struct trace_track){.header = *header};
    *index = trace->track_count++;
    return 0;
}

int trace_export_add(struct trace *trace, uint32_t track, const struct metrics_entry *entries, uint32_t count)
{
    if (trace->record_count + count > trace->record_room) {
        uint64_t room = 2 * trace->record_room + count + 4096;
        if (trace->record_count + count > RECORDS_MAX) {
            trace->dropped += count;
            return 0;
        }
        struct trace_record *records = reallocarray(trace->records, room, sizeof(*records));
        if (records == NULL)
            return -ENOMEM;
        trace->records = records;
        trace->record_room = room;
    }
    for (uint32_t i = 0; i < count; i++)
        trace->records[trace->record_count++] = (struct trace_record){entries[i], track};
    return 0;
}

void trace_export_free(struct trace *trace)
{
    free(trace->tracks);
    free(trace->records);
}

/* ---- slices ---- */

struct slice {
    int64_t start, end; /* ns of this host's clock */
    int64_t shift;      /* what was added to both since they contradicted its cause */
    const struct trace_record *record;
    uint32_t parent; /* the slice that it comes from; NONE */
    uint32_t lane;
};

struct export
{
    struct trace *trace;
    struct slice *slices;
    uint32_t count;
    uint64_t *order; /* scratch */
    struct trace_summary *summary;
};

static int by_start(const void *left, const void *right)
{
    const struct slice *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    if (a->end != b->end)
        return a->end > b->end ? -1 : 1; /* the outer one first */
    return a->record < b->record ? -1 : a->record > b->record;
}

static int make_slices(struct export *export)
{
    struct trace *trace = export->trace;
    export->slices = calloc(trace->record_count + 1, sizeof(*export->slices));
    if (export->slices == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < trace->record_count; i++) {
        const struct trace_record *record = &trace->records[i];
        int64_t start = (int64_t)record->entry.started + trace->tracks[record->track].offset;
        int64_t end = start + record->entry.total_ns;
        if (record->entry.kind == METRICS_SERVED)
            start += record->entry.server_queue_ns; /* it is not known better than "at most" when it came */
        export->slices[export->count++] =
            (struct slice){.start = start, .end = end, .record = record, .parent = NONE};
    }
    qsort(export->slices, export->count, sizeof(*export->slices), by_start);
    return 0;
}

/* ---- joining ---- */

static const struct metrics_entry *entry_of(const struct slice *slice)
{
    return &slice->record->entry;
}

/* Correlations of one kind, to slices: numbers of them, counted from 1, as pointers. */
static int index_kind(const struct export *export, enum metrics_kind kind, struct map *map)
{
    map_init(map);
    for (uint32_t i = 0; i < export->count; i++) {
        const struct metrics_entry *entry = entry_of(&export->slices[i]);
        if (entry->kind != kind || entry->correlation == 0)
            continue;
        if (map_put(map, entry->correlation, (void *)(uintptr_t)(i + 1)) != 0)
            return -ENOMEM;
    }
    return 0;
}

static uint32_t find_slice(const struct map *map, uint64_t correlation)
{
    uintptr_t found = (uintptr_t)map_get(map, correlation);
    return found == 0 ? NONE : (uint32_t)(found - 1);
}

static int join_servers(struct export *export)
{
    struct map calls, served;
    int status = index_kind(export, METRICS_CALL, &calls);
    if (status == 0)
        status = index_kind(export, METRICS_SERVED, &served);
    else
        map_init(&served);
    for (uint32_t i = 0; status == 0 && i < export->count; i++) {
        struct slice *slice = &export->slices[i];
        const struct metrics_entry *entry = entry_of(slice);
        uint32_t from = NONE;
        if (entry->kind == METRICS_SERVED)
            from = find_slice(&calls, entry->correlation);
        else if (entry->kind == METRICS_DISK)
            from = find_slice(&served, entry->correlation);
        if (from == NONE)
            continue;
        struct slice *source = &export->slices[from];
        bool disk = entry->kind == METRICS_DISK;
        if (disk ? source->record->track != slice->record->track
                 : entry_of(source)->operation != entry->operation)
            continue;
        if (disk &&
            (slice->start + source->shift < source->start || slice->start + source->shift > source->end))
            continue; /* of an earlier life of that number */
        slice->parent = from;
        /* The clocks of two processes differ by some nanoseconds, those of two hosts by the bound of their
         * offset. */
        slice->shift = disk ? source->shift : slice->start < source->start ? source->start - slice->start : 0;
        slice->start += slice->shift;
        slice->end += slice->shift;
        export->summary->joined[disk ? 2 : 1]++;
    }
    map_free(&calls);
    map_free(&served);
    return status;
}

static bool made_request(const struct metrics_entry *application, uint64_t correlation)
{
    uint64_t before = application->correlation >> RPC_GENERATION_SHIFT;
    uint64_t sent = application->correlation & METRICS_CALLS_MAX;
    uint64_t generation = correlation >> RPC_GENERATION_SHIFT;
    return generation > before && (sent == METRICS_CALLS_MAX || generation - before <= sent);
}

/* Transfers that run beside others have no range: there the inode tells. */
static bool is_cause(const struct slice *application, const struct slice *call)
{
    const struct metrics_entry *cause = entry_of(application);
    if (cause->correlation != 0)
        return made_request(cause, entry_of(call)->correlation);
    return cause->subject == entry_of(call)->subject && application->start <= call->start &&
           call->start <= application->end;
}

#define RECENT 64u /* calls of the library of one thread that a request may belong to */

static int join_applications(struct export *export)
{
    struct trace *trace = export->trace;
    struct recent {
        uint32_t slices[RECENT];
        uint32_t count;
    } *recent = calloc(trace->track_count + 1, sizeof(*recent));
    if (recent == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < export->count; i++) {
        struct slice *slice = &export->slices[i];
        struct recent *of_thread = &recent[slice->record->track];
        if (entry_of(slice)->kind == METRICS_APPLICATION_CALL)
            of_thread->slices[of_thread->count++ % RECENT] = i;
        if (entry_of(slice)->kind != METRICS_CALL)
            continue;
        for (uint32_t k = 0; k < of_thread->count && k < RECENT; k++) {
            uint32_t at = of_thread->slices[(of_thread->count - 1 - k) % RECENT];
            if (!is_cause(&export->slices[at], slice))
                continue;
            slice->parent = at;
            export->summary->joined[0]++;
            if (slice->start < export->slices[at].start)
                slice->start = export->slices[at].start;
            break;
        }
    }
    free(recent);
    return 0;
}

/* ---- lanes ---- */

struct lane {
    uint32_t track;
    enum lane_kind kind;
    uint32_t number;         /* among those of its track and kind */
    int64_t ends[DEPTH_MAX]; /* of the slices that are open, the outermost first */
    uint32_t depth;
    uint32_t next; /* of the same track and kind; NONE */
};

struct lanes {
    struct lane *list;
    uint32_t count, room;
    uint32_t *first; /* [track * LANE_KINDS + kind] */
};

static enum lane_kind kind_of(const struct trace *trace, const struct slice *slice)
{
    bool server = trace->tracks[slice->record->track].header.role == METRICS_ROLE_SERVER;
    switch (entry_of(slice)->kind) {
    case METRICS_SERVED:
        return LANE_SERVED;
    case METRICS_DISK:
        return LANE_DISK;
    case METRICS_CALL:
        return server ? LANE_CALLS : LANE_THREAD;
    default:
        return LANE_THREAD;
    }
}

/* Whether the slice nests in what is open in the lane; then it is open, too. */
static bool lane_take(struct lane *lane, const struct slice *slice)
{
    while (lane->depth > 0 && lane->ends[lane->depth - 1] <= slice->start)
        lane->depth--;
    if (lane->depth == DEPTH_MAX || (lane->depth > 0 && lane->ends[lane->depth - 1] < slice->end))
        return false;
    lane->ends[lane->depth++] = slice->end;
    return true;
}

static int lane_find(struct lanes *lanes, const struct trace *trace, struct slice *slice)
{
    enum lane_kind kind = kind_of(trace, slice);
    uint32_t *link = &lanes->first[slice->record->track * LANE_KINDS + kind];
    uint32_t number = 0;
    for (; *link != NONE; link = &lanes->list[*link].next, number++) {
        slice->lane = *link;
        if (lane_take(&lanes->list[*link], slice))
            return 0;
    }
    if (lanes->count == lanes->room) {
        uint32_t room = 2 * lanes->room + 64;
        ptrdiff_t at = link - lanes->first; /* in lanes->first, or the next of a lane */
        uint32_t holder = slice->lane;
        struct lane *list = reallocarray(lanes->list, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        lanes->list = list;
        lanes->room = room;
        link = number == 0 ? &lanes->first[at] : &list[holder].next;
    }
    struct lane *lane = &lanes->list[lanes->count];
    *lane = (struct lane){.track = slice->record->track, .kind = kind, .number = number, .next = NONE};
    *link = slice->lane = lanes->count++;
    lane_take(lane, slice);
    return 0;
}

static int lay_out(struct export *export, struct lanes *lanes)
{
    uint32_t firsts = export->trace->track_count * LANE_KINDS;
    lanes->first = malloc((firsts + 1) * sizeof(*lanes->first));
    if (lanes->first == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < firsts; i++)
        lanes->first[i] = NONE;
    /* Joining has moved some, and others refer to them by number: they are visited in order, not sorted. */
    uint64_t *order = calloc(export->count + 1, sizeof(*order));
    struct slice *sorted = malloc((export->count + 1) * sizeof(*sorted));
    int status = order == NULL || sorted == NULL ? -ENOMEM : 0;
    if (status == 0) {
        memcpy(sorted, export->slices, export->count * sizeof(*sorted));
        for (uint32_t i = 0; i < export->count; i++)
            sorted[i].lane = i; /* where it came from */
        qsort(sorted, export->count, sizeof(*sorted), by_start);
    }
    for (uint32_t i = 0; status == 0 && i < export->count; i++)
        status = lane_find(lanes, export->trace, &export->slices[sorted[i].lane]);
    free(order);
    free(sorted);
    return status;
}

/* ---- writing ---- */

enum event_kind { EVENT_SLICE, EVENT_FLOW_BEGIN, EVENT_FLOW_END };

struct event {
    int64_t time;
    uint32_t slice; /* of a flow: where it ends */
    uint8_t kind;
};

static int by_time(const void *left, const void *right)
{
    const struct event *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind - b->kind; /* a slice before what is bound to it, a flow's begin before its end */
    return a->slice < b->slice ? -1 : a->slice > b->slice;
}

static const char *name_of(const struct metrics_entry *entry)
{
    const char *name = entry->kind == METRICS_APPLICATION_CALL ? application_name(entry->operation)
                                                               : observed_name(entry->operation);
    return name != NULL ? name : "?";
}

/* Names of hosts and programs come from outside. */
static void write_text(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', out);
        putc((unsigned char)*text < ' ' || (unsigned char)*text > '~' ? '?' : *text, out);
    }
    putc('"', out);
}

static void write_time(FILE *out, const char *key, int64_t ns)
{
    fprintf(out, ",\"%s\":%" PRId64 ".%03" PRId64, key, ns / 1000, ns % 1000);
}

/* Threads of one process are tracks of one process. */
static uint32_t process_of(const struct trace *trace, uint32_t track)
{
    const struct metrics_header *header = &trace->tracks[track].header;
    for (uint32_t i = 0; i < track; i++) {
        const struct metrics_header *other = &trace->tracks[i].header;
        if (other->pid == header->pid && other->process_start == header->process_start &&
            strcmp(other->host, header->host) == 0)
            return i + 1;
    }
    return track + 1;
}

static void write_place(FILE *out, const struct trace *trace, const struct lane *lane, uint32_t number)
{
    fprintf(out, ",\"pid\":%u,\"tid\":%u", process_of(trace, lane->track), number + 1);
}

static void write_names(FILE *out, const struct trace *trace, const struct lanes *lanes)
{
    static const char *const kinds[LANE_KINDS] = {"thread", "requests", "requests to servers", "disk"};
    const char *comma = "";
    for (uint32_t i = 0; i < trace->track_count; i++) {
        const struct metrics_header *header = &trace->tracks[i].header;
        if (process_of(trace, i) != i + 1)
            continue;
        char name[160];
        if (header->role == METRICS_ROLE_SERVER)
            snprintf(name, sizeof(name), "server %u (%s, process %u)", header->server, header->host,
                     header->pid);
        else
            snprintf(name, sizeof(name), "%s (%s, process %u)", header->program, header->host, header->pid);
        fprintf(out, "%s\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%u,\"args\":{\"name\":", comma,
                i + 1);
        write_text(out, name);
        fprintf(out,
                "}},\n{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":%u,\"args\":{\"sort_index\":%u}}",
                i + 1, header->role == METRICS_ROLE_SERVER ? 1000 + header->server : i);
        comma = ",";
    }
    for (uint32_t i = 0; i < lanes->count; i++) {
        const struct lane *lane = &lanes->list[i];
        char name[64];
        int length = snprintf(name, sizeof(name), "%s", kinds[lane->kind]);
        if (lane->kind == LANE_THREAD)
            length += snprintf(name + length, sizeof(name) - (size_t)length, " %u",
                               trace->tracks[lane->track].header.thread);
        if (lane->number > 0)
            snprintf(name + length, sizeof(name) - (size_t)length, " (%u)", lane->number + 1);
        fprintf(out, "%s\n{\"ph\":\"M\",\"name\":\"thread_name\"", comma);
        write_place(out, trace, lane, i);
        fputs(",\"args\":{\"name\":", out);
        write_text(out, name);
        fputs("}},\n{\"ph\":\"M\",\"name\":\"thread_sort_index\"", out);
        write_place(out, trace, lane, i);
        fprintf(out, ",\"args\":{\"sort_index\":%u}}",
                lane->track * 10000 + (uint32_t)lane->kind * 1000 + lane->number);
        comma = ",";
    }
}

static void write_arguments(FILE *out, const struct metrics_entry *entry)
{
    static const char *const transfers[] = {"none", "eager", "rendezvous"};
    bool call = entry->kind == METRICS_CALL;
    fprintf(out, ",\"args\":{\"result\":%d,\"bytes\":%u", entry->status, entry->bytes);
    if (entry->subject != 0)
        fprintf(out, ",\"%s\":\"%016" PRIx64 "\"",
                entry->kind == METRICS_APPLICATION_CALL ? "inode_or_path_hash" : "inode", entry->subject);
    if (entry->kind != METRICS_APPLICATION_CALL)
        fprintf(out, ",\"correlation\":\"%" PRIx64 "\"", entry->correlation);
    if (call || entry->kind == METRICS_SERVED) {
        if (call)
            fprintf(out, ",\"client_queue_ns\":%u", entry->client_queue_ns);
        fprintf(out, ",\"server_queue_ns\":%u,\"storage_ns\":%u", entry->server_queue_ns, entry->storage_ns);
        if (entry->handler_ns != METRICS_UNTOLD)
            fprintf(out, ",\"handler_ns\":%u", entry->handler_ns);
        if (!call)
            fprintf(out, ",\"reply_ns\":%u", entry->reply_ns);
        if (entry->transfer <= METRICS_RENDEZVOUS)
            fprintf(out, ",\"transfer\":\"%s\"", transfers[entry->transfer]);
    }
    putc('}', out);
}

static void write_slice(FILE *out, const struct export *export, const struct lanes *lanes,
                        const struct slice *slice, int64_t base)
{
    static const char *const categories[] = {"request", "served", "disk", "application"};
    const struct metrics_entry *entry = entry_of(slice);
    fputs("{\"ph\":\"X\",\"name\":", out);
    write_text(out, name_of(entry));
    fprintf(out, ",\"cat\":\"%s\"", entry->kind <= METRICS_APPLICATION_CALL ? categories[entry->kind] : "?");
    write_place(out, export->trace, &lanes->list[slice->lane], slice->lane);
    write_time(out, "ts", slice->start - base);
    write_time(out, "dur", slice->end - slice->start);
    write_arguments(out, entry);
    putc('}', out);
}

static void write_flow(FILE *out, const struct export *export, const struct lanes *lanes, uint32_t number,
                       bool begin, int64_t time)
{
    const struct slice *to = &export->slices[number];
    const struct slice *at = begin ? &export->slices[to->parent] : to;
    fprintf(out, "{\"ph\":\"%s\",\"name\":\"%s\",\"cat\":\"flow\",\"id\":%u%s", begin ? "s" : "f",
            entry_of(to)->kind == METRICS_CALL   ? "call"
            : entry_of(to)->kind == METRICS_DISK ? "disk"
                                                 : "request",
            number + 1, begin ? "" : ",\"bp\":\"e\"");
    write_place(out, export->trace, &lanes->list[at->lane], at->lane);
    write_time(out, "ts", time);
    putc('}', out);
}

static void write_other(FILE *out, const struct trace *trace)
{
    fprintf(out,
            "\n],\"displayTimeUnit\":\"ns\",\"otherData\":{\"program\":\"benchfs %s\",\"dropped\":%" PRIu64
            ",\"regions\":[",
            BENCHFS_VERSION, trace->dropped);
    for (uint32_t i = 0; i < trace->track_count; i++) {
        const struct trace_track *track = &trace->tracks[i];
        fprintf(out, "%s\n{\"host\":", i == 0 ? "" : ",");
        write_text(out, track->header.host);
        fprintf(out, ",\"process\":%u,\"thread\":%u,\"server\":%d,\"lost\":%" PRIu64, track->header.pid,
                track->header.thread,
                track->header.role == METRICS_ROLE_SERVER ? (int)track->header.server : -1, track->lost);
        if (track->remote)
            fprintf(out,
                    ",\"clock_offset_ns\":%" PRId64 ",\"clock_error_ns\":%" PRIu64 ",\"clock_pairs\":%" PRIu64
                    ",\"clock_contradictions\":%" PRIu64,
                    track->offset, track->offset_error, track->pairs, track->contradictions);
        putc('}', out);
    }
    fputs("\n]}}\n", out);
}

/* The time in the slice that is next to it. The ends of a flow belong into their slices, and where a clock's
 * offset is only known within a bound, a server may seem to begin before it was asked. */
static int64_t within(int64_t time, const struct slice *slice)
{
    return time < slice->start ? slice->start : time > slice->end ? slice->end : time;
}

static int write_events(struct export *export, const struct lanes *lanes, FILE *out)
{
    struct event *events = calloc(3 * (size_t) export->count + 1, sizeof(*events));
    if (events == NULL)
        return -ENOMEM;
    size_t count = 0;
    int64_t base = INT64_MAX;
    for (uint32_t i = 0; i < export->count; i++) {
        const struct slice *slice = &export->slices[i];
        base = slice->start < base ? slice->start : base;
        events[count++] = (struct event){slice->start, i, EVENT_SLICE};
        if (slice->parent == NONE)
            continue;
        const struct slice *from = &export->slices[slice->parent];
        int64_t begin = within(slice->start, from), end = within(begin, slice);
        events[count++] = (struct event){begin, i, EVENT_FLOW_BEGIN};
        events[count++] = (struct event){end, i, EVENT_FLOW_END};
    }
    qsort(events, count, sizeof(*events), by_time);
    fputs("{\"traceEvents\":[", out);
    write_names(out, export->trace, lanes);
    for (size_t i = 0; i < count; i++) {
        fputs(",\n", out);
        if (events[i].kind == EVENT_SLICE)
            write_slice(out, export, lanes, &export->slices[events[i].slice], base);
        else
            write_flow(out, export, lanes, events[i].slice, events[i].kind == EVENT_FLOW_BEGIN,
                       events[i].time - base);
    }
    free(events);
    write_other(out, export->trace);
    return ferror(out) ? -EIO : 0;
}

static void count_slices(const struct export *export)
{
    struct trace_summary *summary = export->summary;
    for (uint32_t i = 0; i < export->count; i++) {
        switch (entry_of(&export->slices[i])->kind) {
        case METRICS_CALL:
            summary->calls++;
            break;
        case METRICS_SERVED:
            summary->served++;
            break;
        case METRICS_DISK:
            summary->disk++;
            break;
        default:
            summary->applications++;
        }
    }
    for (uint32_t i = 0; i < export->trace->track_count; i++)
        summary->lost += export->trace->tracks[i].lost;
    summary->lost += export->trace->dropped;
}

int trace_export_write(struct trace *trace, FILE *out, struct trace_summary *summary)
{
    struct export export = {.trace = trace, .summary = summary};
    struct lanes lanes = {0};
    *summary = (struct trace_summary){0};
    int status = make_slices(&export);
    if (status == 0)
        status = join_servers(&export);
    if (status == 0)
        status = join_applications(&export);
    if (status == 0)
        status = lay_out(&export, &lanes);
    if (status == 0) {
        count_slices(&export);
        status = write_events(&export, &lanes, out);
    }
    free(export.slices);
    free(lanes.list);
    free(lanes.first);
    return status;
}
