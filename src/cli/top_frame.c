/* Drawing.
 *
 * A frame is cut to the terminal: the head and each section's title always have their lines, and what is left
 * is shared out, servers first (up to a third of it), then operations (up to half of what is left), the rest
 * half and half to what is hot and what is slow. Every line is composed plain, cut to the width, and only
 * then coloured as a whole, so that no escape sequence is ever cut. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/status.h"
#include "base/terminal.h"
#include "cli/top.h"

/* ---- numbers ---- */

#define TEXTS 32u

static char *next_text(void)
{
    static __thread char texts[TEXTS][16];
    static __thread unsigned next;
    return texts[next++ % TEXTS];
}

static const char *scaled(double value, double step, const char *space, const char *const *units,
                          unsigned count)
{
    char *text = next_text();
    unsigned unit = 0;
    while (unit + 1 < count && value >= step * 0.9995) {
        value /= step;
        unit++;
    }
    int digits = value >= 99.95 || (unit == 0 && value == (double)(uint64_t)value) ? 0
                 : value >= 9.995                                                  ? 1
                                                                                   : 2;
    snprintf(text, 16, "%.*f%s%s", digits, value, units[unit][0] == '\0' ? "" : space, units[unit]);
    return text;
}

const char *top_count(double value)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    return scaled(value, 1000, " ", units, 5);
}

const char *top_bytes(double value)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    return value < 0.5 ? "0" : scaled(value, 1024, " ", units, 6);
}

const char *top_time(uint64_t ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    return ns == 0 ? "-" : scaled((double)ns, 1000, "", units, 4);
}

/* ---- lines ---- */

enum style { PLAIN, TITLE, HEAD, WARNING };

static void append(struct top_text *text, const char *bytes, size_t length)
{
    if (text->length + length + 1 > text->room) {
        size_t room = 2 * (text->length + length) + 4096;
        char *grown = realloc(text->bytes, room);
        if (grown == NULL) {
            text->failed = true;
            return;
        }
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

/* As much as fits into the columns; a file's name may hold anything. Returns the columns that it takes. */
static uint32_t append_shown(struct top_text *text, const char *bytes, uint32_t columns)
{
    uint32_t used = 0;
    for (struct terminal_character next; (next = terminal_character(bytes)).bytes != 0; bytes += next.bytes) {
        if (used + next.columns > columns)
            break;
        append(text, next.shown ? bytes : "?", next.shown ? next.bytes : 1);
        used += next.columns;
    }
    return used;
}

struct page {
    const struct top_view *view;
    struct top_text *text;
    uint32_t left; /* lines */
};

__attribute__((format(printf, 3, 4))) static void line(struct page *page, enum style style,
                                                       const char *format, ...)
{
    static const char *const begins[] = {"", "\033[7m", "\033[1m", "\033[1;31m"};
    char bytes[512];
    va_list list;
    if (page->left == 0)
        return;
    page->left--;
    va_start(list, format);
    int length = vsnprintf(bytes, sizeof(bytes), format, list);
    va_end(list);
    bool coloured = page->view->colours && style != PLAIN;
    if (coloured)
        append(page->text, begins[style], strlen(begins[style]));
    uint32_t used = append_shown(page->text, length < 0 ? "" : bytes, page->view->columns);
    if (coloured && style == TITLE)
        for (; used < page->view->columns; used++)
            append(page->text, " ", 1);
    if (coloured)
        append(page->text, "\033[0m", 4);
    append(page->text, "\n", 1);
}

/* ---- the head ---- */

struct totals {
    double requests, bytes, errors;
    uint64_t memory, used, capacity;
    uint32_t up, servers, clients;
};

static double per_second(uint64_t value, double seconds)
{
    return seconds > 0 ? (double)value / seconds : 0;
}

static bool is_shown(const struct source *source)
{
    return source->own != NULL && watched_of(source)->fresh;
}

static struct totals add_up(const struct observer *observer)
{
    struct totals totals = {.servers = observer->sources.options.count};
    for (uint32_t i = 0; i < observer->sources.count; i++) {
        const struct source *source = observer->sources.list[i];
        if (!is_shown(source))
            continue;
        const struct watched *watched = watched_of(source);
        const uint64_t *counters = watched->now.counters;
        if (!is_server(source)) {
            totals.clients++;
            continue;
        }
        totals.up++;
        totals.requests += per_second(watched->requests, watched->seconds);
        totals.bytes += per_second(watched->bytes, watched->seconds);
        totals.errors += per_second(watched->errors, watched->seconds);
        totals.memory += counters[METRIC_PROCESS_MEMORY];
        totals.used += counters[METRIC_STORE_USED];
        totals.capacity += counters[METRIC_STORE_CAPACITY];
    }
    return totals;
}

static uint32_t count_elsewhere(const struct observer *observer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < observer->load_count; i++)
        count += !observer->loads[i].here;
    return count;
}

/* The time that rates of operations refer to. */
static double seconds_of(const struct observer *observer, bool clients)
{
    double seconds = 0;
    for (uint32_t i = 0; i < observer->sources.count; i++) {
        const struct source *source = observer->sources.list[i];
        if (is_shown(source) && is_server(source) != clients && watched_of(source)->seconds > seconds)
            seconds = watched_of(source)->seconds;
    }
    return seconds;
}

/* What the frame is of: the first one of everything so far. */
static void write_period(const struct observer *observer, const struct top_view *view, char *text,
                         size_t size)
{
    if (observer->again)
        snprintf(text, size, "every %.1f s", (double)view->interval / NSEC_PER_SEC);
    else
        snprintf(text, size, "since the start, %.1f s", seconds_of(observer, false));
}

static void draw_head(struct page *page, const struct observer *observer)
{
    const struct top_view *view = page->view;
    struct totals totals = add_up(observer);
    char when[16] = "";
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local) != NULL)
        strftime(when, sizeof(when), "%H:%M:%S", &local);
    char elsewhere[32] = "";
    if (count_elsewhere(observer) > 0)
        snprintf(elsewhere, sizeof(elsewhere), " + %u elsewhere", count_elsewhere(observer));
    char period[48];
    write_period(observer, view, period, sizeof(period));
    line(page, TITLE, "benchfs top  %s  %u of %u servers  %u client threads%s  %s%s", when, totals.up,
         totals.servers, totals.clients, elsewhere, period, view->paused ? "  PAUSED" : "");
    line(page, HEAD, "%s req/s  %s/s  %s refused/s  %s of %s used  mem %s", top_count(totals.requests),
         top_bytes(totals.bytes), top_count(totals.errors), top_bytes((double)totals.used),
         top_bytes((double)totals.capacity), top_bytes((double)totals.memory));
    line(page, observer->requests.imbalance > 1.5 ? WARNING : PLAIN,
         "imbalance, cv: requests %.2f %.2f  busy %.2f %.2f  used %.2f %.2f  part %.1f%%",
         observer->requests.imbalance, observer->requests.variation, observer->busy.imbalance,
         observer->busy.variation, observer->used.imbalance, observer->used.variation,
         100 * observer->partition_share);
}

/* ---- servers, clients ---- */

static enum top_order sort_order;

static double sort_value(const struct source *source)
{
    const struct watched *watched = watched_of(source);
    switch (sort_order) {
    case TOP_BY_RATE:
        return per_second(watched->requests, watched->seconds);
    case TOP_BY_BUSY:
        return watched_busy(watched);
    case TOP_BY_BANDWIDTH:
        return per_second(watched->bytes, watched->seconds);
    default:
        return 0;
    }
}

/* Those that say nothing come first: they need to be looked at. */
static int by_order(const void *left, const void *right)
{
    const struct source *a = *(struct source *const *)left, *b = *(struct source *const *)right;
    bool shown_a = is_shown(a), shown_b = is_shown(b);
    if (shown_a != shown_b)
        return shown_a ? 1 : -1;
    double value_a = shown_a ? sort_value(a) : 0, value_b = shown_b ? sort_value(b) : 0;
    if (value_a != value_b)
        return value_a < value_b ? 1 : -1;
    if (is_server(a) || !shown_a)
        return a->server < b->server ? -1 : a->server > b->server;
    return a->reader->header.pid < b->reader->header.pid ? -1 : 1;
}

#define WAITING_MUCH                                                                                         \
    0.2 /* share of the time that a server waits for its processor, from which on it is marked */

static void draw_server(struct page *page, const struct source *source)
{
    if (!is_shown(source)) {
        line(page, WARNING, "%3u %-20.20s does not answer: %s", source->server, source->address,
             status_text(source->status));
        return;
    }
    const struct watched *watched = watched_of(source);
    const uint64_t *counters = watched->now.counters;
    line(page, watched_waiting(watched) > WAITING_MUCH ? WARNING : PLAIN,
         "%3u %-9.9s%c %5.1f %5.1f %7s %9s %6s %6s %3" PRIu64 " %8s %8s", source->server,
         source->reader->header.host, source->remote ? '*' : ' ', 100 * watched_busy(watched),
         100 * watched_waiting(watched), top_count(per_second(watched->requests, watched->seconds)),
         top_bytes(per_second(watched->bytes, watched->seconds)),
         top_time(histogram_quantile(&watched->all, 0.5)), top_time(histogram_quantile(&watched->all, 0.99)),
         counters[METRIC_SERVING], top_bytes((double)counters[METRIC_STORE_USED]),
         top_bytes((double)counters[METRIC_PROCESS_MEMORY]));
}

static void draw_client(struct page *page, const struct source *source)
{
    if (!is_shown(source))
        return;
    const struct watched *watched = watched_of(source);
    const struct metrics_header *header = &source->reader->header;
    char who[40];
    snprintf(who, sizeof(who), "%u/%u", header->pid, header->thread);
    line(page, PLAIN, "%-15.15s %-12.12s %7s %9s %6s %6s %7s", who, header->program,
         top_count(per_second(watched->requests, watched->seconds)),
         top_bytes(per_second(watched->bytes, watched->seconds)),
         top_time(histogram_quantile(&watched->all, 0.5)), top_time(histogram_quantile(&watched->all, 0.99)),
         top_count((double)watched->errors));
}

/* Clients of other hosts, by what servers know of them. */
static void draw_elsewhere(struct page *page, const struct observer *observer, uint32_t room)
{
    uint32_t count = count_elsewhere(observer), drawn = 0;
    for (uint32_t i = 0; i < observer->load_count && drawn < room; i++) {
        const struct client_load *load = &observer->loads[i];
        if (load->here)
            continue;
        if (++drawn == room && drawn < count) {
            line(page, PLAIN, "     ... %u more on other hosts, by requests", count - drawn + 1);
            return;
        }
        char who[32];
        snprintf(who, sizeof(who), "uid %u x%u", load->uid, load->sessions);
        line(page, PLAIN, "%-15.15s %-12.12s %7s %9s %6s %6s %7s", load->host, who,
             top_count(load->requests_per_s), top_bytes(load->bytes_per_s), "-", "-", "-");
    }
}

static void draw_parties(struct page *page, const struct observer *observer, uint32_t room)
{
    static const char *const orders[TOP_ORDERS] = {"number", "requests", "busy", "bytes"};
    const struct top_view *view = page->view;
    struct source **list = calloc(observer->sources.count + 1, sizeof(struct source *));
    uint32_t count = 0;
    for (uint32_t i = 0; list != NULL && i < observer->sources.count; i++) {
        struct source *source = observer->sources.list[i];
        if (view->clients ? !is_server(source) && is_shown(source) : i < observer->sources.options.count)
            list[count++] = source;
    }
    sort_order = view->order;
    if (list != NULL)
        qsort(list, count, sizeof(struct source *), by_order);
    if (view->clients)
        line(page, TITLE, "%-15s %-12s %7s %9s %6s %6s %7s by %s", "PROCESS/THREAD", "PROGRAM", "CALLS/S",
             "BYTES/S", "P50", "P99", "REFUSED", orders[view->order]);
    else
        line(page, TITLE, "%3s %-10s %5s %5s %7s %9s %6s %6s %3s %8s %8s", "SRV", "HOST", "BUSY%", "WAIT%",
             "REQ/S", "BYTES/S", "P50", "P99", "NOW", "USED", "MEMORY");
    uint32_t elsewhere = view->clients ? count_elsewhere(observer) : 0;
    uint32_t kept = elsewhere < (room + 1) / 2 || count + elsewhere <= room ? elsewhere : (room + 1) / 2;
    room -= kept;
    uint32_t shown = count <= room ? count : room > 0 ? room - 1 : 0;
    for (uint32_t i = 0; i < shown; i++)
        (view->clients ? draw_client : draw_server)(page, list[i]);
    if (shown < count)
        line(page, PLAIN, "     ... %u more, by %s", count - shown, orders[view->order]);
    if (kept > 0)
        draw_elsewhere(page, observer, kept);
    free(list);
}

/* ---- operations ---- */

#define OPERATION_COLUMNS 64u /* behind the name */
#define OPERATION_NAME_MIN 15u
#define OPERATION_NAME_MAX 24u

/* Room for the names of operations. */
static int name_columns(const struct page *page)
{
    uint32_t columns = page->view->columns;
    return (int)(columns < OPERATION_COLUMNS + OPERATION_NAME_MIN   ? OPERATION_NAME_MIN
                 : columns > OPERATION_COLUMNS + OPERATION_NAME_MAX ? OPERATION_NAME_MAX
                                                                    : columns - OPERATION_COLUMNS);
}

static const struct observer *sorted_observer;

static int by_time(const void *left, const void *right)
{
    const struct observed_operation *operations = sorted_observer->operations;
    uint64_t a = operations[*(const uint32_t *)left].sums.sums[STAGE_TOTAL];
    uint64_t b = operations[*(const uint32_t *)right].sums.sums[STAGE_TOTAL];
    return a < b ? 1 : a > b ? -1 : 0;
}

/* Mean of a stage, over those of which it was measured. */
static const char *mean(const struct observed_operation *operation, enum metrics_stage stage)
{
    uint64_t count = stage == STAGE_REPLY ? operation->replies : operation->sums.count;
    return top_time(count == 0 ? 0 : operation->sums.sums[stage] / count);
}

static void draw_operation(struct page *page, const struct observer *observer, uint32_t number,
                           double seconds)
{
    const struct observed_operation *operation = &observer->operations[number];
    const struct metrics_operation *sums = &operation->sums;
    bool called = number >= METRICS_CALLED;
    int width = name_columns(page);
    line(page, PLAIN, "%-*.*s %7s %9s %6s %6s %7s %7s %7s %7s", width, width, observed_name(number),
         top_count(per_second(sums->count, seconds)), top_bytes(per_second(sums->bytes, seconds)),
         top_time(histogram_quantile(&operation->total, 0.5)),
         top_time(histogram_quantile(&operation->total, 0.99)),
         mean(operation, called ? STAGE_WIRE : STAGE_SERVER_QUEUE),
         mean(operation, called ? STAGE_SERVER_QUEUE : STAGE_HANDLER),
         mean(operation, called ? STAGE_HANDLER : STAGE_STORAGE),
         mean(operation, called ? STAGE_STORAGE : STAGE_REPLY));
}

static uint32_t collect_operations(const struct observer *observer, bool called, uint32_t *numbers)
{
    uint32_t count = 0;
    for (uint32_t i = called ? METRICS_CALLED : 0; i < (called ? METRICS_OPERATIONS : METRICS_CALLED); i++)
        if (observer->operations[i].sums.count > 0 && observed_name(i) != NULL)
            numbers[count++] = i;
    sorted_observer = observer;
    qsort(numbers, count, sizeof(numbers[0]), by_time);
    return count;
}

static void draw_operations(struct page *page, const struct observer *observer, uint32_t room)
{
    uint32_t numbers[METRICS_OPERATIONS];
    bool called = page->view->clients;
    uint32_t count = collect_operations(observer, called, numbers);
    double seconds = seconds_of(observer, called);
    if (called)
        line(page, TITLE, "%-*s %7s %9s %6s %6s %7s %7s %7s %7s", name_columns(page), "CALL", "CALLS/S",
             "BYTES/S", "P50", "P99", "WIRE", "QUEUE", "HANDLER", "STORAGE");
    else
        line(page, TITLE, "%-*s %7s %9s %6s %6s %7s %7s %7s %7s", name_columns(page), "OPERATION", "REQ/S",
             "BYTES/S", "P50", "P99", "QUEUE", "HANDLER", "STORAGE", "REPLY");
    if (count == 0)
        line(page, PLAIN, "     nothing was %s", called ? "called by clients of this host" : "asked");
    for (uint32_t i = 0; i < count && i < room; i++)
        draw_operation(page, observer, numbers[i], seconds);
}

/* ---- hot and slow ---- */

#define HOT_COLUMNS 24u  /* in front of the name */
#define HOT_LEAST 0.0005 /* of the requests: less is shown as 0.0 % */
#define SLOW_COLUMNS 43u /* between the name of the operation and that of the file */
#define SLOW_WIDE 120u   /* columns of the page from which on names of operations are not cut */
#define LISTED_MAX 16u   /* however high the page is */

static uint32_t room_behind(const struct page *page, uint32_t columns)
{
    return page->view->columns > columns ? page->view->columns - columns : 0;
}

/* What the inode is called, or its number; of a long path the end. */
static const char *inode_text(const struct inode_names *names, uint64_t inode, uint32_t columns, char *text,
                              size_t size)
{
    const char *name = names == NULL ? NULL : inode_name(names, inode);
    size_t needed = name == NULL ? 0 : terminal_columns(name);
    if (inode == 0)
        snprintf(text, size, "-");
    else if (needed > columns && columns > 3) {
        for (size_t room = columns - 3; needed > room;) {
            struct terminal_character first = terminal_character(name);
            needed -= first.columns;
            name += first.bytes;
        }
        snprintf(text, size, "...%s", name);
    } else if (name != NULL)
        snprintf(text, size, "%s", name);
    else
        snprintf(text, size, "inode %" PRIx64, inode);
    return text;
}

/* The first has most. */
static uint32_t count_hot(const struct observer *observer)
{
    uint32_t count = 0;
    while (count < observer->hot_count &&
           (double)observer->hot[count].requests >= HOT_LEAST * (double)observer->traced)
        count++;
    return count;
}

static void draw_hot(struct page *page, const struct observer *observer, const struct inode_names *names,
                     uint32_t room)
{
    char text[256];
    line(page, TITLE, "HOTTEST (share of the last %s requests, and their bytes)",
         top_count((double)observer->traced));
    for (uint32_t i = 0; i < observer->hot_count && i < room; i++) {
        const struct hot *hot = &observer->hot[i];
        line(page, PLAIN, "%5.1f %% %9s  %-4s %s",
             observer->traced == 0 ? 0 : 100.0 * (double)hot->requests / (double)observer->traced,
             top_bytes((double)hot->bytes), hot->directory ? "dir" : "file",
             inode_text(names, hot->inode, room_behind(page, HOT_COLUMNS), text, sizeof(text)));
    }
}

static void draw_slow(struct page *page, const struct observer *observer, const struct inode_names *names,
                      uint32_t room)
{
    char text[256], noted[64] = "";
    if (observer->slow_noted > 0)
        snprintf(noted, sizeof(noted), "; %" PRIu64 " noted", observer->slow_noted);
    else
        snprintf(noted, sizeof(noted), " IN A MINUTE");
    int width = page->view->columns < SLOW_WIDE ? OPERATION_NAME_MIN + 1 : OPERATION_NAME_MAX;
    line(page, TITLE, "%-*s %3s %6s %6s %7s %7s %6s  SLOWEST%s", width, "OPERATION", "SRV", "TOTAL", "QUEUE",
         "HANDLER", "STORAGE", "REPLY", noted);
    for (uint32_t i = 0; i < observer->slow_count && i < room; i++) {
        const struct slow_request *slow = &observer->slow[i];
        const struct metrics_entry *entry = &slow->entry;
        const char *name = observed_name(entry->operation);
        line(page, PLAIN, "%-*.*s %3u %6s %6s %7s %7s %6s  %s", width, width, name != NULL ? name : "?",
             slow->server, top_time(entry->total_ns), top_time(entry->server_queue_ns),
             top_time(entry->handler_ns), top_time(entry->storage_ns), top_time(entry->reply_ns),
             inode_text(names, entry->subject, room_behind(page, SLOW_COLUMNS + (uint32_t)width), text,
                        sizeof(text)));
    }
}

/* ---- the whole ---- */

static uint32_t smaller_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void top_frame(const struct observer *observer, const struct top_view *view, const struct inode_names *names,
               struct top_text *text)
{
    struct page page = {.view = view, .text = text, .left = view->rows};
    text->length = 0;
    draw_head(&page, observer);
    uint32_t numbers[METRICS_OPERATIONS];
    uint32_t titles = view->stages ? 2 : 4;
    uint32_t room = page.left > titles + 1 ? page.left - titles - 1 : 0; /* the last line is help */
    uint32_t parties = view->clients ? add_up(observer).clients + count_elsewhere(observer)
                                     : observer->sources.options.count;
    parties = smaller_of(parties, view->stages ? room / 3 : room / 3 + 1);
    uint32_t operations = collect_operations(observer, view->clients, numbers);
    if (operations == 0)
        operations = 1;
    operations = smaller_of(operations, view->stages ? room - parties : (room - parties) / 2);
    draw_parties(&page, observer, parties);
    draw_operations(&page, observer, operations);
    if (!view->stages) {
        uint32_t rest = room - parties - operations;
        uint32_t hot = smaller_of(smaller_of(count_hot(observer), LISTED_MAX), (rest + 1) / 2);
        draw_hot(&page, observer, names, hot);
        draw_slow(&page, observer, names, smaller_of(rest - hot, LISTED_MAX));
    }
}
