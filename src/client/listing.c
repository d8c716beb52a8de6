/* Listing a directory: its entries are spread over all servers, each holds its own in (hash, name) order.
 *
 * A listing has one source per server: a batch being consumed and, while there is more, the next one under
 * way. All servers are asked at once, and the sources are merged by (hash, name), so the order is total and
 * the same for every client, and the hash of an entry is a cursor that stays good whatever is created or
 * removed meanwhile: going on at hash + 1 neither repeats nor skips an entry that existed all the time.
 * Memory: two batches per server.
 *
 * With attributes wanted, the entry's server sends them when it has the inode; the others (after renames),
 * and directories, whose times and link counts are gathered from all servers, are asked for one by one as
 * they are returned. */
#include "client/core.h"

#include <fnmatch.h>

#define BATCH_FIRST (16u * 1024)
#define BATCH_NEXT                                                                                           \
    (30u * 1024) /* below rpc.rendezvous_threshold as it is mostly: within a host it comes at one go */
#define PATTERN_MAX 255u

struct source {
    struct rpc_call call;
    uint8_t body[sizeof(struct list_request) + PATTERN_MAX]; /* struct list_request and the pattern */
    struct list_reply reply;
    struct iovec into;
    uint8_t *incoming; /* where the call under way lands */
    uint32_t incoming_size;
    bool asking;    /* a call is under way */
    bool finished;  /* nothing after what `ready` holds */
    uint8_t *ready; /* batch being consumed */
    size_t length;
    size_t offset; /* of the next entry in ready */
    uint32_t server;
};

struct client_listing {
    struct client *client;
    uint64_t directory;
    bool want_attributes;
    bool filtered;
    struct list_filter filter;
    char pattern[PATTERN_MAX + 1];
    uint32_t count;
    struct source sources[];
};

static void source_send(struct client_listing *listing, struct source *source)
{
    struct client *client = listing->client;
    source->call = (struct rpc_call){
        .operation = RPC_LIST,
        .body = source->body,
        .body_length = (uint32_t)sizeof(struct list_request) + listing->filter.pattern_length,
        .receive = &source->into,
        .receive_count = 1,
        .reply = &source->reply,
        .reply_size = sizeof source->reply,
        .namespace_epoch = client->namespace_epoch,
    };
    rpc_start(client->peers[source->server], &source->call);
    source->asking = true;
}

static int source_ask(struct client_listing *listing, struct source *source, uint64_t cursor, uint32_t size)
{
    if (source->incoming_size < size) {
        uint8_t *memory = realloc(source->incoming, size);
        if (memory == NULL)
            return -ENOMEM;
        source->incoming = memory;
        source->incoming_size = size;
    }
    source->into = (struct iovec){source->incoming, source->incoming_size};
    struct list_request *request = (struct list_request *)source->body;
    *request = (struct list_request){
        .directory = listing->directory,
        .cursor = cursor,
        .bytes_max = source->incoming_size,
        .flags = (uint8_t)((listing->want_attributes ? LIST_ATTRIBUTES : 0) |
                           (listing->filtered ? LIST_FILTER : 0)),
        .filter = listing->filter,
    };
    memcpy(request->pattern, listing->pattern, listing->filter.pattern_length);
    source_send(listing, source);
    return 0;
}

/* Waits for the batch under way and makes it the one to consume; asks for the next. */
static int source_take(struct client_listing *listing, struct source *source)
{
    struct client *client = listing->client;
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    for (;;) {
        status = rpc_finish(&source->call);
        source->asking = false;
        client_observe(client, &source->call);
        if (!operation_again(client, &operation, &status))
            break;
        source_send(listing, source);
    }
    if (status < 0)
        return status;
    const struct list_request *asked = (const struct list_request *)source->body;
    if (source->reply.next != 0 && source->reply.next <= asked->cursor)
        return -EPROTO; /* it would go round for ever */
    uint8_t *consumed = source->ready;
    source->ready = source->incoming;
    source->length = source->call.received;
    source->offset = 0;
    source->incoming = consumed;
    source->incoming_size = 0;
    if (source->reply.next == 0) {
        source->finished = true;
        return 0;
    }
    return source_ask(listing, source, source->reply.next, BATCH_NEXT);
}

/* Names come from the wire, and programs make paths of them. */
static bool name_valid(const char *name, size_t length)
{
    return memchr(name, '/', length) == NULL && memchr(name, '\0', length) == NULL &&
           !(name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')));
}

/* The next entry of a source, NULL at its end. Fetches when the batch is used up. */
static int source_entry(struct client_listing *listing, struct source *source, struct list_entry **entry)
{
    *entry = NULL;
    while (source->offset == source->length) {
        if (!source->asking)
            return source->finished ? 0 : -EPROTO;
        int status = source_take(listing, source);
        if (status < 0)
            return status;
    }
    struct list_entry *here = (struct list_entry *)(source->ready + source->offset);
    size_t left = source->length - source->offset;
    if (left < sizeof *here || here->record_length > left ||
        here->record_length < list_entry_length(here->flags, here->name_length) || here->name_length == 0)
        return -EPROTO;
    *entry = here;
    return 0;
}

static int entry_order(struct list_entry *first, struct list_entry *second)
{
    if (first->hash != second->hash)
        return first->hash < second->hash ? -1 : 1;
    size_t common = first->name_length < second->name_length ? first->name_length : second->name_length;
    int order = memcmp(list_entry_name(first), list_entry_name(second), common);
    return order != 0 ? order : (int)first->name_length - (int)second->name_length;
}

/* The filter, where the servers could not decide: the counterpart of theirs. */
static bool filter_matches(const struct client_listing *listing, const struct client_entry *entry)
{
    const struct list_filter *filter = &listing->filter;
    const struct attributes *attributes = &entry->attributes;
    if (filter->type != 0 && (attributes->mode & S_IFMT) != filter->type)
        return false;
    if (attributes->size < filter->size_min || (filter->size_max != 0 && attributes->size > filter->size_max))
        return false;
    if (filter->newer != INT64_MIN && attributes->modify_time <= filter->newer)
        return false;
    return filter->pattern_length == 0 || fnmatch(listing->pattern, entry->name, 0) == 0;
}

/* Fills in what the servers' entry lacks. Returns 0 (skip: it is gone), 1, or a negative status. */
static int entry_complete(struct client_listing *listing, const struct list_entry *from,
                          struct client_entry *entry)
{
    bool complete = from->flags & LIST_ENTRY_ATTRIBUTES;
    bool undecided = listing->filtered && (from->flags & LIST_ENTRY_UNDECIDED);
    bool gathered = listing->want_attributes &&
                    (is_directory(from->type) || (complete && entry->attributes.blocks == BLOCKS_UNKNOWN));
    if (undecided || gathered || (listing->want_attributes && !complete)) {
        int status = client_attributes(listing->client, from->inode, &entry->attributes);
        if (status == -ENOENT || status == -ESTALE)
            return 0;
        if (status < 0)
            return status;
    } else if (!complete) {
        entry->attributes = (struct attributes){.inode = from->inode, .mode = from->type};
    }
    entry->matches = !listing->filtered ||
                     (undecided ? filter_matches(listing, entry) : (from->flags & LIST_ENTRY_MATCHES) != 0);
    return entry->matches || is_directory(entry->attributes.mode);
}

int client_list_next(struct client_listing *listing, struct client_entry *entry)
{
    for (;;) {
        struct list_entry *first = NULL;
        struct source *from = NULL;
        for (uint32_t i = 0; i < listing->count; i++) {
            struct list_entry *candidate;
            int status = source_entry(listing, &listing->sources[i], &candidate);
            if (status < 0)
                return status;
            if (candidate != NULL && (first == NULL || entry_order(candidate, first) < 0)) {
                first = candidate;
                from = &listing->sources[i];
            }
        }
        if (first == NULL)
            return 0;
        const char *name = list_entry_name(first);
        if (!name_valid(name, first->name_length))
            return -EPROTO;
        entry->hash = first->hash;
        if ((first->flags & LIST_ENTRY_ATTRIBUTES) != 0)
            memcpy(&entry->attributes, first->rest, sizeof entry->attributes);
        entry->name_length = first->name_length;
        memcpy(entry->name, name, first->name_length);
        entry->name[first->name_length] = '\0';
        from->offset += first->record_length;
        int status = entry_complete(listing, first, entry);
        if (status != 0)
            return status;
    }
}

int client_list_open(struct client *client, uint64_t directory, uint64_t cursor, bool want_attributes,
                     const struct list_filter *filter, const char *pattern, struct client_listing **result)
{
    uint32_t count = client->map->server_count;
    if (filter != NULL && filter->pattern_length > 0 && strlen(pattern) != filter->pattern_length)
        return -EINVAL;
    struct client_listing *listing = calloc(1, sizeof *listing + count * sizeof(struct source));
    if (listing == NULL)
        return -ENOMEM;
    listing->client = client;
    listing->directory = directory;
    listing->want_attributes = want_attributes;
    listing->filter.newer = INT64_MIN;
    if (filter != NULL) {
        listing->filtered = true;
        listing->filter = *filter;
        memcpy(listing->pattern, filter->pattern_length > 0 ? pattern : "", filter->pattern_length);
    }
    listing->count = count;
    for (uint32_t server = 0; server < count; server++) {
        listing->sources[server].server = server;
        int status = source_ask(listing, &listing->sources[server], cursor, BATCH_FIRST);
        if (status < 0) {
            client_list_close(listing);
            return status;
        }
    }
    *result = listing;
    return 0;
}

void client_list_close(struct client_listing *listing)
{
    for (uint32_t i = 0; i < listing->count; i++) {
        struct source *source = &listing->sources[i];
        if (source->asking)
            rpc_finish(&source->call);
        free(source->incoming);
        free(source->ready);
    }
    free(listing);
}
