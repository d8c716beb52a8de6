/* Traces: a table of paths, each once, and events that name them by number. What is read is checked here and
 * nowhere else: whoever has a struct trace can rely on paths that stay below the directory that they are put
 * into, on lengths and offsets within bounds, and on the order of time. Whether the events make sense
 * together (an fd that was never opened, a file that is there and was not made) is for replay_plan.c. */
#include "bench/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "bench/options.h"
#include "bench/result.h"
#include "bench/strace.h"

#define TRACE_FILE_MAX ((size_t)8 << 30)

const char *const trace_operation_names[TRACE_OPERATION_COUNT] = {
#define X(id, name) name,
    TRACE_OPERATIONS(X)
#undef X
};

/* ---- the table of paths and the list of events ---- */

void trace_init(struct trace *trace)
{
    memset(trace, 0, sizeof(*trace));
    map_init(&trace->by_path);
}

void trace_free(struct trace *trace)
{
    for (uint32_t i = 0; i < trace->path_count; i++)
        free(trace->paths[i]);
    free(trace->paths);
    free(trace->events);
    map_free(&trace->by_path);
    trace_init(trace);
}

/* Writes the path without "." and empty parts; false: it cannot be one. */
static bool normalise(const char *text, char path[TRACE_PATH_MAX])
{
    size_t length = 0;
    if (text[0] != '/')
        return false;
    while (*text != 0) {
        size_t part = strcspn(text, "/");
        if (part == 2 && strncmp(text, "..", 2) == 0)
            return false;
        if (part > 0 && !(part == 1 && text[0] == '.')) {
            if (length + 1 + part >= TRACE_PATH_MAX)
                return false;
            path[length++] = '/';
            memcpy(path + length, text, part);
            length += part;
        }
        text += part;
        text += *text == '/';
    }
    path[length] = 0;
    return true;
}

/* Whether it is there; else *key is where it would be. */
static bool find(const struct trace *trace, const char *path, uint32_t *found, uint64_t *key)
{
    void *value;
    for (*key = hash64(path, strlen(path), 0); (value = map_get(&trace->by_path, *key)) != NULL; ++*key) {
        *found = (uint32_t)((uintptr_t)value - 1);
        if (strcmp(trace->paths[*found], path) == 0)
            return true;
    }
    return false;
}

bool trace_find_path(const struct trace *trace, const char *text, uint32_t *found)
{
    char path[TRACE_PATH_MAX];
    uint64_t key;
    return normalise(text, path) && find(trace, path, found, &key);
}

int trace_path(struct trace *trace, const char *text, uint32_t *found)
{
    char path[TRACE_PATH_MAX];
    uint64_t key;
    if (!normalise(text, path))
        return -EINVAL;
    if (find(trace, path, found, &key))
        return 0;
    if (trace->path_count == trace->path_room) {
        uint32_t room = 2 * trace->path_room + 64;
        char **paths = realloc(trace->paths, room * sizeof(*paths));
        if (paths == NULL)
            return -ENOMEM;
        trace->paths = paths;
        trace->path_room = room;
    }
    json_t *text_of_json = json_string(path);
    if (text_of_json == NULL) /* no UTF-8 */
        return -EINVAL;
    json_decref(text_of_json);
    char *copy = strdup(path);
    if (copy == NULL || map_put(&trace->by_path, key, (void *)((uintptr_t)trace->path_count + 1)) < 0) {
        free(copy);
        return -ENOMEM;
    }
    trace->paths[trace->path_count] = copy;
    *found = trace->path_count++;
    return 0;
}

int trace_add(struct trace *trace, const struct trace_event *event)
{
    if (trace->event_count == TRACE_EVENTS_MAX)
        return -E2BIG;
    if (trace->event_count == trace->event_room) {
        uint32_t room = 2 * trace->event_room + 64;
        struct trace_event *events = realloc(trace->events, room * sizeof(*events));
        if (events == NULL)
            return -ENOMEM;
        trace->events = events;
        trace->event_room = room;
    }
    struct trace_event *added = &trace->events[trace->event_count++];
    *added = *event;
    added->called = added->through = added->new_called = added->new_through = TRACE_NO_PATH;
    return 0;
}

static int compare_times(const void *one, const void *other)
{
    const struct trace_event *a = one, *b = other;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return a->line < b->line ? -1 : a->line > b->line;
}

void trace_order(struct trace *trace)
{
    if (trace->event_count == 0)
        return;
    qsort(trace->events, trace->event_count, sizeof(*trace->events), compare_times);
    uint64_t first = trace->events[0].time;
    for (uint32_t i = 0; i < trace->event_count; i++)
        trace->events[i].time -= first;
}

/* ---- open's flags as letters ---- */

static const struct {
    char letter;
    int flag;
} letters[] = {{'c', O_CREAT}, {'x', O_EXCL}, {'t', O_TRUNC}, {'a', O_APPEND}};

static void flags_to_text(int flags, char text[8])
{
    size_t length = 0;
    int mode = flags & O_ACCMODE;
    if (mode == O_RDONLY || mode == O_RDWR)
        text[length++] = 'r';
    if (mode == O_WRONLY || mode == O_RDWR)
        text[length++] = 'w';
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if (flags & letters[i].flag)
            text[length++] = letters[i].letter;
    }
    text[length] = 0;
}

static bool flags_of_text(const char *text, int *flags)
{
    bool reads = false, writes = false;
    *flags = 0;
    for (; *text != 0; text++) {
        size_t i = 0;
        while (i < sizeof(letters) / sizeof(letters[0]) && letters[i].letter != *text)
            i++;
        if (*text == 'r')
            reads = true;
        else if (*text == 'w')
            writes = true;
        else if (i < sizeof(letters) / sizeof(letters[0]))
            *flags |= letters[i].flag;
        else
            return false;
    }
    *flags |= reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
    return reads || writes;
}

/* ---- errors by name ---- */

#define ERRNO_MAX 133

static int error_of_name(const char *name)
{
    for (int error = 1; error <= ERRNO_MAX; error++) {
        const char *known = strerrorname_np(error);
        if (known != NULL && strcmp(known, name) == 0)
            return error;
    }
    return 0;
}

/* ---- writing ---- */

/* A string of JSON; bytes that are no ASCII go as they are: paths may be of any encoding but must be UTF-8
 * for a reader to take them. */
static size_t format_text(char *out, const char *text)
{
    size_t length = 0;
    out[length++] = '"';
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            out[length++] = '\\';
            out[length++] = (char)byte;
        } else if (byte < 0x20) {
            length += (size_t)sprintf(out + length, "\\u%04x", byte);
        } else {
            out[length++] = (char)byte;
        }
    }
    out[length++] = '"';
    return length;
}

size_t trace_format_head(char line[TRACE_LINE_MAX])
{
    return (size_t)snprintf(line, TRACE_LINE_MAX, "{\"type\":\"trace\",\"format\":%d}\n", TRACE_FORMAT);
}

static size_t format_path(char *out, const char *name, const char *path)
{
    size_t length = (size_t)sprintf(out, ",\"%s\":", name);
    return length + format_text(out + length, path[0] == 0 ? "/" : path);
}

static bool has_fd(enum trace_operation operation)
{
    return operation <= TRACE_FSYNC;
}

size_t trace_format(char line[TRACE_LINE_MAX], const struct trace_event *event, const char *path,
                    const char *new_path)
{
    size_t length =
        (size_t)sprintf(line, "{\"t\":%llu,\"process\":%llu,\"op\":\"%s\"", (unsigned long long)event->time,
                        (unsigned long long)event->process, trace_operation_names[event->operation]);
    if (path != NULL)
        length += format_path(line + length, "path", path);
    if (new_path != NULL)
        length += format_path(line + length, "new_path", new_path);
    if (has_fd(event->operation) && (event->operation != TRACE_OPEN || event->error == 0))
        length += (size_t)sprintf(line + length, ",\"fd\":%llu", (unsigned long long)event->fd);
    if (event->operation == TRACE_OPEN) {
        char flags[8];
        flags_to_text(event->flags, flags);
        length += (size_t)sprintf(line + length, ",\"flags\":\"%s\"", flags);
    }
    if (event->operation == TRACE_READ || event->operation == TRACE_WRITE)
        length += (size_t)sprintf(line + length, ",\"offset\":%llu,\"length\":%llu",
                                  (unsigned long long)event->offset, (unsigned long long)event->length);
    if (event->operation == TRACE_READ)
        length += (size_t)sprintf(line + length, ",\"moved\":%llu", (unsigned long long)event->moved);
    if (event->operation == TRACE_TRUNCATE)
        length += (size_t)sprintf(line + length, ",\"length\":%llu", (unsigned long long)event->offset);
    if (event->directory)
        length += (size_t)sprintf(line + length, ",\"directory\":true");
    if (event->link)
        length += (size_t)sprintf(line + length, ",\"link\":true");
    if (event->error != 0)
        length +=
            (size_t)sprintf(line + length, ",\"error\":\"%s\"",
                            strerrorname_np(event->error) != NULL ? strerrorname_np(event->error) : "EIO");
    length += (size_t)sprintf(line + length, "}\n");
    return length;
}

int trace_write(const struct trace *trace, FILE *out)
{
    char line[TRACE_LINE_MAX];
    fwrite(line, 1, trace_format_head(line), out);
    for (uint32_t i = 0; i < trace->event_count; i++) {
        const struct trace_event *event = &trace->events[i];
        const char *path = event->path == TRACE_NO_PATH ? NULL : trace->paths[event->path];
        const char *new_path = event->new_path == TRACE_NO_PATH ? NULL : trace->paths[event->new_path];
        fwrite(line, 1, trace_format(line, event, path, new_path), out);
    }
    errno = EIO;
    return fflush(out) != 0 || ferror(out) ? -errno : 0;
}

/* ---- reading our format ---- */

struct reader {
    struct trace *trace;
    uint32_t line;
    char *error;
    size_t error_size;
};

static int refuse(struct reader *reader, const char *what, const char *name)
{
    snprintf(reader->error, reader->error_size, "line %u: %s%s%s", reader->line, what,
             name[0] != 0 ? " " : "", name);
    return -EINVAL;
}

/* A member that is a number from 0 to maximum. */
static int read_number(struct reader *reader, const json_t *object, const char *name, uint64_t maximum,
                       uint64_t *number)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > maximum)
        return refuse(reader, "missing, or no number in bounds:", name);
    *number = (uint64_t)json_integer_value(value);
    return 0;
}

static int read_path(struct reader *reader, const json_t *object, const char *name, uint32_t *path)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL)
        return refuse(reader, "missing, or no text:", name);
    int status = trace_path(reader->trace, text, path);
    return status == -EINVAL ? refuse(reader, "no absolute path of bounded length without \"..\":", name)
                             : status;
}

static int read_error(struct reader *reader, const json_t *object, struct trace_event *event)
{
    const json_t *value = json_object_get(object, "error");
    if (value == NULL)
        return 0;
    event->error = json_is_string(value) ? error_of_name(json_string_value(value)) : 0;
    return event->error == 0 ? refuse(reader, "no name of an error:", "error") : 0;
}

static int read_transfer(struct reader *reader, const json_t *object, struct trace_event *event)
{
    int status = read_number(reader, object, "offset", TRACE_OFFSET_MAX, &event->offset);
    if (status == 0)
        status = read_number(reader, object, "length", TRACE_LENGTH_MAX, &event->length);
    event->moved = event->length;
    if (status == 0 && event->operation == TRACE_READ && json_object_get(object, "moved") != NULL)
        status = read_number(reader, object, "moved", event->length, &event->moved);
    return status;
}

/* What this operation needs beside time and process. */
static int read_members(struct reader *reader, const json_t *object, struct trace_event *event)
{
    const char *flags = json_string_value(json_object_get(object, "flags"));
    int status = read_error(reader, object, event);
    event->directory = json_is_true(json_object_get(object, "directory"));
    event->link = event->operation == TRACE_STAT && json_is_true(json_object_get(object, "link"));
    if (status == 0 && (event->operation == TRACE_OPEN || !has_fd(event->operation)))
        status = read_path(reader, object, "path", &event->path);
    if (status == 0 && has_fd(event->operation) && (event->operation != TRACE_OPEN || event->error == 0))
        status = read_number(reader, object, "fd", INT64_MAX, &event->fd);
    if (status < 0)
        return status;
    switch (event->operation) {
    case TRACE_OPEN:
        return flags != NULL && flags_of_text(flags, &event->flags)
                   ? 0
                   : refuse(reader, "missing, or no letters of r, w, c, x, t and a:", "flags");
    case TRACE_READ:
    case TRACE_WRITE:
        return read_transfer(reader, object, event);
    case TRACE_RENAME:
    case TRACE_LINK:
    case TRACE_SYMLINK:
        return read_path(reader, object, "new_path", &event->new_path);
    case TRACE_READLINK:
        return json_object_get(object, "new_path") == NULL
                   ? 0
                   : read_path(reader, object, "new_path", &event->new_path);
    case TRACE_TRUNCATE:
        return read_number(reader, object, "length", TRACE_OFFSET_MAX, &event->offset);
    default:
        return 0;
    }
}

static int read_event(struct reader *reader, const json_t *object)
{
    struct trace_event event = {.line = reader->line, .path = TRACE_NO_PATH, .new_path = TRACE_NO_PATH};
    const char *name = json_string_value(json_object_get(object, "op"));
    int operation = 0;
    if (name == NULL)
        return refuse(reader, "missing, or no text:", "op");
    while (operation < TRACE_OPERATION_COUNT && strcmp(name, trace_operation_names[operation]) != 0)
        operation++;
    if (operation == TRACE_OPERATION_COUNT)
        return refuse(reader, "unknown operation", "");
    event.operation = (enum trace_operation)operation;
    int status = read_number(reader, object, "t", INT64_MAX, &event.time);
    if (status == 0)
        status = read_number(reader, object, "process", INT64_MAX, &event.process);
    if (status == 0)
        status = read_members(reader, object, &event);
    return status < 0 ? status : trace_add(reader->trace, &event);
}

static int read_line(struct reader *reader, const char *bytes, size_t length)
{
    json_error_t wrong;
    json_t *object = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &wrong);
    int status;
    if (!json_is_object(object)) {
        status = refuse(reader, "no JSON object", "");
    } else if (json_object_get(object, "type") != NULL) {
        const char *type = json_string_value(json_object_get(object, "type"));
        uint64_t format = 0;
        status = type == NULL || strcmp(type, "trace") != 0
                     ? refuse(reader, "no trace", "")
                     : read_number(reader, object, "format", TRACE_FORMAT, &format);
        if (status == 0 && format != TRACE_FORMAT)
            status = refuse(reader, "a format of another version", "");
    } else if (reader->line == 1) {
        status = refuse(reader, "does not begin as a trace", "");
    } else {
        status = read_event(reader, object);
    }
    json_decref(object);
    return status;
}

static int parse_lines(const char *bytes, size_t length, struct trace *trace, char *error, size_t size)
{
    struct reader reader = {.trace = trace, .error = error, .error_size = size};
    int status = 0;
    while (length > 0 && status == 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t line = end != NULL ? (size_t)(end - bytes) : length;
        reader.line++;
        status = read_line(&reader, bytes, line);
        line += end != NULL;
        bytes += line;
        length -= line;
    }
    return status;
}

int trace_parse(const char *bytes, size_t length, struct trace *trace, uint64_t *ignored, char *error,
                size_t size)
{
    int status;
    trace_init(trace);
    *ignored = 0;
    snprintf(error, size, "out of memory");
    if (length == 0) {
        snprintf(error, size, "it is empty");
        return -EINVAL;
    }
    if (bytes[0] == '{')
        status = parse_lines(bytes, length, trace, error, size);
    else
        status = strace_parse(bytes, length, trace, ignored, error, size);
    if (status == -E2BIG)
        snprintf(error, size, "more than %u operations", TRACE_EVENTS_MAX);
    if (status < 0)
        trace_free(trace);
    else
        trace_order(trace);
    return status;
}

int trace_read(const char *path, struct trace *trace, uint64_t *ignored)
{
    char error[256], *bytes = NULL;
    size_t length = 0;
    int status = result_read_bytes(path, TRACE_FILE_MAX, &bytes, &length);
    if (status < 0) {
        bench_error("cannot read trace \"%s\": %s", path, strerror(-status));
        return status;
    }
    status = trace_parse(bytes, length, trace, ignored, error, sizeof(error));
    if (status < 0)
        bench_error("trace \"%s\": %s", path, error);
    free(bytes);
    return status;
}
