/* Files are found by looking at every region of this user: its header says whose it is, of which cluster, and
 * the cluster is named by the bootstrap address of its first server. A region that does not know its cluster
 * yet is looked at again the next time.
 *
 * A reader that asks a server cuts what is wanted into requests. Each of them, its reply telling the time
 * there, is one more bound on how far the clocks are apart. */
#include "client/sources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/files.h"

/* ---- asking a server ---- */

struct remote_source {
    struct metrics_source reader;
    struct source *source;
};

static int remote_read(struct metrics_source *reader, uint64_t offset, void *bytes, uint64_t length)
{
    struct source *source = ((struct remote_source *)reader)->source;
    const struct sources_options *options = &source->sources->options;
    struct loop *loop = rpc_loop(options->rpc);
    for (char *to = bytes; length > 0;) {
        uint32_t part = length < METRICS_READ_MAX ? (uint32_t)length : METRICS_READ_MAX;
        struct metrics_request body = {.offset = offset, .length = part};
        struct metrics_reply reply;
        struct iovec into = {to, part};
        uint64_t sent = loop_now(loop);
        struct rpc_call call = {
            .operation = RPC_READ_METRICS,
            .body = &body,
            .body_length = sizeof(body),
            .reply = &reply,
            .reply_size = sizeof(reply),
            .receive = &into,
            .receive_count = 1,
            .deadline = sent + options->patience,
            .timing.started = sent,
        };
        int status = rpc_call(source->peer, &call);
        if (status == 0 && call.received != part)
            status = -EPROTO;
        if (status != 0)
            return status;
        clock_offset_pair(&source->clock, sent, reply.server_time, reply.server_time, loop_now(loop));
        to += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int remote_control(struct metrics_source *reader, const struct metrics_control *control)
{
    struct source *source = ((struct remote_source *)reader)->source;
    const struct sources_options *options = &source->sources->options;
    if (control->slow_ns == METRICS_LEAVE)
        return 0;
    struct metrics_set_request body = {.slow_ns = control->slow_ns};
    struct rpc_call call = {
        .operation = RPC_SET_METRICS,
        .body = &body,
        .body_length = sizeof(body),
        .deadline = loop_now(rpc_loop(options->rpc)) + options->patience,
    };
    return rpc_call(source->peer, &call);
}

static void remote_close(struct metrics_source *reader)
{
    free(reader);
}

static int remote_open(struct source *source)
{
    int status = 0;
    if (source->peer == NULL)
        status = rpc_peer_create(source->sources->options.rpc, source->address, &source->peer);
    if (status != 0)
        return status;
    struct remote_source *remote = calloc(1, sizeof(*remote));
    if (remote == NULL)
        return -ENOMEM;
    remote->reader =
        (struct metrics_source){.read = remote_read, .control = remote_control, .close = remote_close};
    remote->source = source;
    status = metrics_source_check(&remote->reader);
    if (status != 0) {
        free(remote);
        return status;
    }
    source->remote = true;
    source->reader = &remote->reader;
    return 0;
}

/* ---- the list ---- */

static struct source *source_add(struct sources *sources)
{
    struct source **list = reallocarray(sources->list, sources->count + 1, sizeof(struct source *));
    if (list == NULL)
        return NULL;
    sources->list = list;
    struct source *source = calloc(1, sizeof(*source));
    if (source == NULL)
        return NULL;
    source->sources = sources;
    list[sources->count++] = source;
    return source;
}

static bool is_of_cluster(const struct sources_options *options, const struct metrics_header *header)
{
    for (uint32_t i = 0; i < options->count; i++)
        if (strcmp(header->cluster, options->addresses[i]) == 0)
            return true;
    return false;
}

static struct source *server_find(const struct sources *sources, uint32_t id)
{
    for (uint32_t i = 0; i < sources->options.count; i++)
        if (sources->options.ids[i] == id)
            return sources->list[i];
    return NULL;
}

static bool path_is_known(const struct sources *sources, const char *path)
{
    for (uint32_t i = 0; i < sources->count; i++)
        if (sources->list[i]->path != NULL && strcmp(sources->list[i]->path, path) == 0)
            return true;
    return false;
}

static void source_drop_reader(struct source *source)
{
    metrics_source_close(source->reader);
    source->reader = NULL;
    free(source->path);
    source->path = NULL;
    source->remote = false;
    source->ended = false;
    source->clock = (struct clock_offset){0};
}

/* Takes the region if it is one of the cluster that nobody else stands for; else it is closed. path belongs
 * to the source afterwards, or is freed. */
static int take_region(struct sources *sources, struct metrics_source *reader, char *path)
{
    const struct metrics_header *header = &reader->header;
    bool ended = !metrics_process_lives(header);
    bool is_server = header->role == METRICS_ROLE_SERVER;
    struct source *source = NULL;
    int status = 0;
    if (is_of_cluster(&sources->options, header) && (!ended || sources->options.ended)) {
        if (is_server && !ended) {
            source = server_find(sources, header->server);
            if (source != NULL)
                source_drop_reader(source);
        } else if (ended || sources->options.clients) {
            source = source_add(sources);
            status = source == NULL ? -ENOMEM : 0;
        }
    }
    if (source == NULL) {
        metrics_source_close(reader);
        free(path);
        return status;
    }
    source->reader = reader;
    source->status = 0;
    source->server = is_server ? header->server : UINT32_MAX;
    source->ended = ended;
    source->path = path;
    return 0;
}

static int look_at_files(struct sources *sources)
{
    const char *directory = sources->options.directory;
    char **paths;
    uint32_t count;
    int status = metrics_list(directory != NULL ? directory : METRICS_DIRECTORY_DEFAULT, &paths, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct metrics_source *reader;
        if (status != 0 || path_is_known(sources, paths[i]) || metrics_source_open(paths[i], &reader) != 0)
            free(paths[i]);
        else
            status = take_region(sources, reader, paths[i]);
    }
    free(paths);
    return status;
}

/* Whoever has ended says nothing more; a server may be started again. */
static void look_for_ends(struct sources *sources)
{
    for (uint32_t i = 0; i < sources->count; i++) {
        struct source *source = sources->list[i];
        if (source->reader == NULL || source->ended || source->path == NULL)
            continue;
        uint64_t ended = 0;
        source->reader->read(source->reader, offsetof(struct metrics_header, ended), &ended, sizeof(ended));
        source->ended = ended != 0 || !metrics_process_lives(&source->reader->header);
        if (source->ended && i < sources->options.count) {
            source_drop_reader(source);
            source->status = -EHOSTDOWN;
        }
    }
}

static void ask_servers(struct sources *sources)
{
    for (uint32_t i = 0; i < sources->options.count; i++) {
        struct source *source = sources->list[i];
        if (source->remote && source->status != 0)
            source_drop_reader(source);
        if (source->reader == NULL && sources->options.rpc != NULL)
            source->status = remote_open(source);
        else if (source->reader == NULL && source->status == 0)
            source->status = -ENOENT;
    }
}

int sources_look(struct sources *sources)
{
    look_for_ends(sources);
    return look_at_files(sources);
}

int sources_refresh(struct sources *sources)
{
    int status = sources_look(sources);
    if (status == 0)
        ask_servers(sources);
    return status;
}

int sources_open(const struct sources_options *options, struct sources *sources)
{
    *sources = (struct sources){.options = *options};
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < options->count; i++) {
        struct source *source = source_add(sources);
        status = source == NULL ? -ENOMEM : 0;
        if (source == NULL)
            break;
        source->server = options->ids[i];
        source->address = options->addresses[i];
    }
    if (status == 0)
        status = sources_refresh(sources);
    if (status != 0)
        sources_close(sources);
    return status;
}

void sources_close(struct sources *sources)
{
    for (uint32_t i = 0; i < sources->count; i++) {
        struct source *source = sources->list[i];
        source_drop_reader(source);
        if (source->peer != NULL)
            rpc_peer_destroy(source->peer);
        free(source);
    }
    free(sources->list);
    *sources = (struct sources){0};
}
