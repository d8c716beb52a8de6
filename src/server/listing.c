/* Listing a directory: this server's share of its entries, in ascending order of (hash, name).
 *
 * The hash is the cursor: a listing goes on from the hash of the first entry that did not fit, so entries of
 * equal hash are never split, and an entry that stays is returned exactly once whatever happens around it. A
 * request visits a bounded number of entries, so a filter that rejects all of ten million does not stop the
 * loop; its reply may then hold no entry and still a cursor.
 *
 * find's filter is evaluated here where the inode is here too. What only the whole cluster knows - a
 * directory's modification time, an inode on another server - is left undecided for the caller. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>

#include "server/state.h"

#define LIST_BYTES_MAX (1u << 20)
#define LIST_VISITS_MAX 8192u

struct listing {
    struct server *server;
    uint8_t flags;
    struct list_filter filter;
    char pattern[NAME_LENGTH_MAX + 1];
    char *bytes;
    uint32_t length;
    uint32_t capacity;
    uint32_t entries;
    uint32_t visits;
    /* where the entries of the hash at hand begin */
    uint64_t hash;
    uint32_t hash_length;
    uint32_t hash_entries;
    uint64_t next;
    int status;
};

enum verdict { REJECTED, MATCHES, UNDECIDED };

static enum verdict judge(const struct listing *listing, const char *name, size_t length, uint32_t type,
                          const struct inode *inode)
{
    const struct list_filter *filter = &listing->filter;
    if (filter->type != 0 && filter->type != type)
        return REJECTED;
    if (filter->pattern_length != 0) {
        char text[NAME_LENGTH_MAX + 1];
        memcpy(text, name, length);
        text[length] = 0;
        if (fnmatch(listing->pattern, text, 0) != 0)
            return REJECTED;
    }
    bool by_size = filter->size_min != 0 || filter->size_max != 0;
    bool by_time = filter->newer != INT64_MIN;
    if (!by_size && !by_time)
        return MATCHES;
    if (inode == NULL || S_ISDIR(type))
        return UNDECIDED;
    if (inode->size < filter->size_min || (filter->size_max != 0 && inode->size > filter->size_max))
        return REJECTED;
    return by_time && inode->modify_time <= filter->newer ? REJECTED : MATCHES;
}

/* Space for one record. false: the listing ends before the hash at hand, or failed. */
static bool make_room(struct listing *listing, uint32_t record)
{
    if (listing->length + record <= listing->capacity)
        return true;
    if (listing->hash_length > 0) {
        listing->length = listing->hash_length;
        listing->entries = listing->hash_entries;
        listing->next = listing->hash;
        return false;
    }
    /* Nothing but this hash: it has to fit. */
    uint32_t capacity = listing->length + record;
    char *bytes = realloc(listing->bytes, capacity);
    if (bytes == NULL) {
        listing->status = -ENOMEM;
        return false;
    }
    listing->bytes = bytes;
    listing->capacity = capacity;
    return true;
}

static bool visit(void *owner, uint64_t hash, const char *name, size_t length, uint64_t number, uint32_t type)
{
    struct listing *listing = owner;
    if (hash != listing->hash) {
        if (listing->visits >= LIST_VISITS_MAX) {
            listing->next = hash;
            return false;
        }
        listing->hash = hash;
        listing->hash_length = listing->length;
        listing->hash_entries = listing->entries;
    }
    listing->visits++;

    struct inode *inode = listing->flags != 0 ? meta_inode_find(listing->server->meta, number) : NULL;
    enum verdict verdict = MATCHES;
    if ((listing->flags & LIST_FILTER) != 0) {
        verdict = judge(listing, name, length, type, inode);
        if (verdict == REJECTED && !S_ISDIR(type))
            return true;
    }
    uint8_t flags = 0;
    /* A directory's times and links are known only to all servers together. */
    if (inode != NULL && !S_ISDIR(type))
        flags |= LIST_ENTRY_ATTRIBUTES;
    if ((listing->flags & LIST_FILTER) != 0)
        flags |= verdict == MATCHES ? LIST_ENTRY_MATCHES : verdict == UNDECIDED ? LIST_ENTRY_UNDECIDED : 0;
    uint32_t used = (uint32_t)list_entry_length(flags, length), record = (used + 7) & ~7u;
    if (!make_room(listing, record))
        return false;
    struct list_entry *entry = (void *)(listing->bytes + listing->length);
    *entry = (struct list_entry){.record_length = (uint16_t)record,
                                 .name_length = (uint8_t)length,
                                 .flags = flags,
                                 .type = type,
                                 .hash = hash,
                                 .inode = number};
    if ((flags & LIST_ENTRY_ATTRIBUTES) != 0) {
        struct attributes attributes;
        inode_attributes(listing->server, inode, &attributes);
        memcpy(entry->rest, &attributes, sizeof(attributes));
    }
    memcpy(list_entry_name(entry), name, length);
    memset((char *)entry + used, 0, record - used);
    listing->length += record;
    listing->entries++;
    return true;
}

static int list_gate(struct server *server, const struct rpc_request *request,
                     const struct list_request *body)
{
    if (server->map == NULL)
        return -EAGAIN;
    if (!inode_valid(body->directory))
        return -EINVAL;
    int status;
    do {
        status = gate_epoch(server, request);
        if (status == 0 && server->obstacles != 0)
            status = obstacles_pass(server, body->directory, 0, GATE_LOOK, request->deadline);
    } while (status == LOOK_AGAIN);
    if (status == 0 && server_of_inode(server, body->directory) == server->self) {
        const struct inode *directory = meta_inode_find(server->meta, body->directory);
        if (directory == NULL)
            return -ESTALE;
        if (!S_ISDIR(directory->mode))
            return -ENOTDIR;
    }
    return status;
}

void serve_LIST(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct list_request *body = request->body;
    int status = list_gate(server, request, body);
    if (status != 0) {
        answer(request, status, NULL, 0);
        return;
    }
    struct inode *directory;
    if (body->cursor == 0 && gate_inode(server, body->directory, &directory) == 0) {
        directory->access_time = loop_realtime(server->loop); /* relatime would have to ask all servers */
        inode_changed(server, directory);
    }
    struct listing listing = {.server = server, .flags = body->flags, .filter = body->filter};
    memcpy(listing.pattern, body->pattern, body->filter.pattern_length);
    struct meta_directory_status here;
    meta_directory_status(server->meta, body->directory, &here);
    uint64_t most = here.entries * (list_entry_length(LIST_ENTRY_ATTRIBUTES, NAME_LENGTH_MAX) + 8);
    uint32_t limit = body->bytes_max < LIST_BYTES_MAX ? body->bytes_max : LIST_BYTES_MAX;
    listing.capacity = most < limit ? (uint32_t)most : limit;
    listing.bytes = malloc(listing.capacity > 0 ? listing.capacity : 1);
    if (listing.bytes == NULL)
        listing.status = -ENOMEM;
    else
        meta_directory_walk(server->meta, body->directory, body->cursor, visit, &listing);
    if (listing.status == 0) {
        struct list_reply reply = {.next = listing.next, .entries = listing.entries};
        struct iovec bulk = {listing.bytes, listing.length};
        rpc_reply(request, 0, &reply, sizeof(reply), &bulk, listing.length > 0 ? 1 : 0);
    } else {
        answer(request, listing.status, NULL, 0);
    }
    free(listing.bytes);
}
