/* The search for an order: depth first over the events that may come next, those that no other pending event
 * ended before, each on a copy of the state so far. A result that the model does not give ends a branch, so
 * few are followed, and none twice from the same state (as Lowe 2017); the snapshot taken at rest decides
 * between orders that all results allow. */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "base/status.h"

#define STEPS_MAX 400000u
#define SEEN_BITS 20 /* far more than STEPS_MAX */

static void unhold(struct node **held)
{
    if (*held != NULL)
        node_release(*held);
    *held = NULL;
}

int state_create(struct state *state)
{
    *state = (struct state){0};
    return model_create(&state->model);
}

void state_destroy(struct state *state)
{
    for (uint32_t i = 0; i < 2 * HISTORY_WORKERS; i++)
        unhold(&state->held[i]);
    model_destroy(&state->model);
}

static void state_copy(const struct state *from, struct state *to)
{
    memcpy(to->held, from->held, sizeof to->held);
    model_copy(&from->model, &to->model, to->held, 2 * HISTORY_WORKERS);
}

static void hold(struct node **held, struct node *node)
{
    unhold(held);
    *held = node_hold(node);
}

static struct node **file_of(struct state *state, const struct event *event)
{
    return &state->held[event->worker];
}

static struct node **found_by(struct state *state, const struct event *event)
{
    return &state->held[HISTORY_WORKERS + event->worker];
}

/* ---- one event ---- */

static bool same_inode(struct node *node, uint64_t inode)
{
    if (node->inode == 0)
        node->inode = inode;
    return node->inode == inode;
}

static bool same_attributes(const struct model *model, struct node *node, const struct attributes *attributes,
                            uint32_t renames)
{
    uint32_t links = node_links(model, node);
    if (!same_inode(node, attributes->inode) || attributes->mode != node->mode)
        return false;
    /* Counts and times of a directory are gathered from servers one by one. */
    if (S_ISDIR(node->mode))
        return true;
    return attributes->size == node->size && attributes->links >= links &&
           attributes->links <= links + renames && attributes->modify_time >= node->modify_min &&
           attributes->modify_time <= node->modify_max;
}

static bool apply_open(struct state *state, const struct event *event)
{
    struct model *model = &state->model;
    struct node *node = NULL;
    int flags = event->flags & ~O_TRUNC;
    if (event->flags & O_TRUNC && (flags & O_ACCMODE) == O_RDONLY)
        flags |= O_RDWR;
    int status = model_open(model, model->root, event->path, flags, event->mode, &node);
    if (event->status != status)
        return false;
    if (status != 0)
        return true;
    if (!same_inode(node, event->attributes.inode))
        return false;
    if (!S_ISREG(node->mode))
        return true;
    hold(file_of(state, event), node);
    hold(found_by(state, event), node);
    return true;
}

/* An operation on the worker's open file. */
static bool apply_file(struct state *state, const struct event *event)
{
    struct node *node = *file_of(state, event);
    if (node == NULL)
        return false;
    uint8_t *bytes;
    switch (event->kind) {
    case EVENT_READ:
        bytes = malloc(event->length);
        bool same = bytes != NULL &&
                    (int64_t)model_read(node, bytes, event->length, event->offset) == event->status &&
                    memcmp(bytes, event->bytes, (size_t)event->status) == 0;
        free(bytes);
        return same;
    case EVENT_WRITE:
        if (event->status != event->length)
            return false;
        model_write(&state->model, node, event->bytes, event->length, event->offset);
        return true;
    case EVENT_TRUNCATE_FILE:
        if (event->status != 0)
            return false;
        model_truncate(&state->model, node, event->offset);
        return true;
    default:
        return event->status == 0 && same_attributes(&state->model, node, &event->attributes, event->renames);
    }
}

/* An operation that first finds what the path names. */
static bool apply_found(struct state *state, const struct event *event)
{
    struct model *model = &state->model;
    struct node *node = NULL;
    int status = model_find(model, model->root, event->path, false, &node);
    if (status == 0 && event->kind == EVENT_TRUNCATE && !S_ISREG(node->mode))
        status = S_ISDIR(node->mode) ? -EISDIR : -ENOENT; /* links lead nowhere */
    if (status == 0 && event->kind == EVENT_CHMOD && S_ISLNK(node->mode))
        status = -EOPNOTSUPP;
    if (status == 0 && event->kind == EVENT_READLINK)
        status = S_ISLNK(node->mode) ? (int)node->size : -EINVAL;
    if (status != event->status)
        return false;
    if (status < 0)
        return true;
    hold(found_by(state, event), node);
    switch (event->kind) {
    case EVENT_TRUNCATE:
    case EVENT_CHMOD:
        return true;
    case EVENT_READLINK:
        return memcmp(node->target, event->bytes, node->size) == 0;
    default:
        return same_attributes(&state->model, node, &event->attributes, event->renames);
    }
}

/* Finds what gets another name. It may have lost its last one until the second half: a rename lets go of what
 * it replaced after its names are free. */
static bool apply_link(struct state *state, const struct event *event)
{
    struct model *model = &state->model;
    struct node *node = NULL;
    int status = model_find(model, model->root, event->path, false, &node);
    if (status < 0) {
        unhold(found_by(state, event));
        return event->status == status;
    }
    hold(found_by(state, event), node);
    return true;
}

static bool apply_link_found(struct state *state, const struct event *event)
{
    struct model *model = &state->model;
    struct node *node = *found_by(state, event);
    if (node == NULL)
        return true; /* that was the result */
    return event->status == model_link_node(model, node, model->root, event->path2);
}

static bool apply_second(struct state *state, const struct event *event)
{
    struct node *node = *found_by(state, event);
    if (event->kind == EVENT_LINK_FOUND)
        return apply_link_found(state, event);
    if (event->kind == EVENT_SIZE_FOUND)
        return event->attributes.size == node->size;
    if (event->kind == EVENT_TRUNCATE_FOUND)
        model_truncate(&state->model, node, event->offset);
    else
        node->mode = (node->mode & S_IFMT) | event->mode;
    return true;
}

static bool apply_name(struct state *state, const struct event *event)
{
    struct model *model = &state->model;
    switch (event->kind) {
    case EVENT_MKDIR:
        return event->status == model_mkdir(model, model->root, event->path, event->mode);
    case EVENT_RMDIR:
        return event->status == model_rmdir(model, model->root, event->path);
    case EVENT_UNLINK:
        return event->status == model_unlink(model, model->root, event->path);
    case EVENT_SYMLINK:
        return event->status == model_symlink(model, event->path2, model->root, event->path);
    case EVENT_LINK:
        return apply_link(state, event);
    default: {
        int status = model_rename(model, model->root, event->path, model->root, event->path2,
                                  (event->flags & (int)RENAME_FLAG_NOREPLACE) == 0);
        return event->status == status || (status < 0 && event->status == model->also);
    }
    }
}

/* Would the model have given this result? Changes the state. */
static bool apply(struct state *state, const struct event *event)
{
    state->model.before = event->before;
    state->model.now = event->after;
    switch (event->kind) {
    case EVENT_OPEN:
        return apply_open(state, event);
    case EVENT_READ:
    case EVENT_WRITE:
    case EVENT_TRUNCATE_FILE:
    case EVENT_FSTAT:
        return apply_file(state, event);
    case EVENT_STAT:
    case EVENT_TRUNCATE:
    case EVENT_CHMOD:
    case EVENT_READLINK:
        return apply_found(state, event);
    case EVENT_TRUNCATE_FOUND:
    case EVENT_CHMOD_FOUND:
    case EVENT_LINK_FOUND:
    case EVENT_SIZE_FOUND:
        return apply_second(state, event);
    default:
        return apply_name(state, event);
    }
}

/* ---- at rest ---- */

/* The root is one, too. */
static uint32_t count_names(const struct node *node)
{
    uint32_t count = 1;
    list_for_each (link, &node->entries)
        count += count_names(container_of(link, struct entry, link)->node);
    return count;
}

/* Of files of the same size. */
static bool same_bytes(const struct node *node, const struct found *found)
{
    return node->size == 0 || memcmp(found->bytes, node->bytes, node->size) == 0;
}

static bool matches(struct state *state, const struct snapshot *snapshot)
{
    if (count_names(state->model.root) != snapshot->count + 1)
        return false;
    for (uint32_t i = 0; i < snapshot->count; i++) {
        const struct found *found = &snapshot->found[i];
        struct node *node;
        if (model_find(&state->model, state->model.root, found->path, false, &node) != 0 ||
            !same_attributes(&state->model, node, &found->attributes, 0))
            return false;
        if (S_ISDIR(node->mode) && found->attributes.links != node_links(&state->model, node))
            return false;
        if (S_ISLNK(node->mode) && strcmp(found->target, node->target) != 0)
            return false;
        if (S_ISREG(node->mode) && !same_bytes(node, found))
            return false;
    }
    for (uint32_t i = 0; i < HISTORY_WORKERS; i++) {
        const struct found *found = &snapshot->open[i];
        if (found->bytes != NULL && (state->held[i] == NULL ||
                                     !same_attributes(&state->model, state->held[i], &found->attributes, 0) ||
                                     !same_bytes(state->held[i], found)))
            return false;
    }
    return true;
}

void snapshot_clear(struct snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->count; i++)
        free(snapshot->found[i].bytes);
    snapshot->count = 0;
    for (uint32_t i = 0; i < HISTORY_WORKERS; i++) {
        free(snapshot->open[i].bytes);
        snapshot->open[i].bytes = NULL;
    }
}

/* ---- the search ---- */

struct search {
    const struct history *history;
    const struct snapshot *snapshot;
    uint32_t steps;
    uint64_t *seen; /* hash table of (events done, state) that lead nowhere; 0: free */
    struct state result;
};

static uint64_t node_hash(const struct node *node)
{
    const int64_t numbers[] = {(int64_t)node->inode, node->mode,       node->names,
                               (int64_t)node->size,  node->modify_min, node->modify_max};
    uint64_t hash = XXH64(numbers, sizeof numbers, 1);
    if (node->size > 0 && node->bytes != NULL)
        hash = XXH64(node->bytes, node->size, hash);
    if (node->target != NULL)
        hash = XXH64(node->target, strlen(node->target), hash);
    uint64_t entries = 0; /* in any order */
    list_for_each (link, &node->entries) {
        const struct entry *entry = container_of(link, struct entry, link);
        entries += XXH64(entry->name, strlen(entry->name), node_hash(entry->node));
    }
    return XXH64(&entries, sizeof entries, hash);
}

static uint64_t state_hash(const struct state *state, uint32_t done)
{
    uint64_t hash = XXH64(&done, sizeof done, node_hash(state->model.root));
    for (uint32_t i = 0; i < 2 * HISTORY_WORKERS; i++) {
        const struct node *node = state->held[i];
        uint64_t held[2] = {0};
        if (node != NULL) {
            held[0] = node->inode;
            held[1] = node_linked(&state->model, node) ? 1 : node_hash(node);
        }
        hash = XXH64(held, sizeof held, hash);
    }
    return hash == 0 ? 1 : hash;
}

/* Remembers it; true if it was known. */
static bool seen(struct search *search, uint64_t hash)
{
    for (uint64_t at = hash;; at++) {
        uint64_t *slot = &search->seen[at & ((1u << SEEN_BITS) - 1)];
        if (*slot == hash)
            return true;
        if (*slot == 0) {
            *slot = hash;
            return false;
        }
    }
}

static bool may_be_next(const struct history *history, uint32_t done, uint32_t candidate)
{
    if (history->events[candidate].second && !(done & 1u << (candidate - 1)))
        return false;
    for (uint32_t i = 0; i < history->count; i++)
        if (!(done & 1u << i) && history->events[i].ended < history->events[candidate].began)
            return false;
    return true;
}

/* 1: found, and search->result holds the end state. */
static int explore(struct search *search, struct state *state, uint32_t done)
{
    const struct history *history = search->history;
    if (done == (1u << history->count) - 1) {
        if (!matches(state, search->snapshot))
            return 0;
        state_copy(state, &search->result);
        return 1;
    }
    for (uint32_t i = 0; i < history->count; i++) {
        if (done & 1u << i || !may_be_next(history, done, i))
            continue;
        if (++search->steps > STEPS_MAX)
            return -EAGAIN;
        struct state next;
        state_copy(state, &next);
        int status = 0;
        if (apply(&next, &history->events[i]) && !seen(search, state_hash(&next, done | 1u << i)))
            status = explore(search, &next, done | 1u << i);
        state_destroy(&next);
        if (status != 0)
            return status;
    }
    return 0;
}

static void count_renames(struct history *history)
{
    for (uint32_t i = 0; i < history->count; i++) {
        struct event *event = &history->events[i];
        event->renames = 0;
        for (uint32_t j = 0; j < history->count; j++) {
            const struct event *other = &history->events[j];
            event->renames += other->kind == EVENT_RENAME && other->status == 0 &&
                              other->began < event->ended && other->ended > event->began;
        }
    }
}

int history_explain(struct history *history, const struct snapshot *snapshot, struct state *state)
{
    struct search search = {.history = history, .snapshot = snapshot};
    count_renames(history);
    search.seen = calloc(1u << SEEN_BITS, sizeof *search.seen);
    int status = search.seen == NULL ? -ENOMEM : explore(&search, state, 0);
    free(search.seen);
    if (status == 1) {
        state_destroy(state);
        *state = search.result;
        return 0;
    }
    return status == 0 ? -EINVAL : status;
}

void history_split(struct history *history)
{
    const struct event *first = &history->events[history->count - 1];
    struct event *second = &history->events[history->count];
    if (first->status != 0 && first->kind != EVENT_LINK)
        return;
    *second = *first;
    second->second = true;
    switch (first->kind) {
    case EVENT_OPEN:
        if (!(first->flags & O_TRUNC) && !first->opened)
            return;
        second->offset = 0;
        second->kind = first->flags & O_TRUNC ? EVENT_TRUNCATE_FOUND : EVENT_SIZE_FOUND;
        break;
    case EVENT_TRUNCATE:
        second->kind = EVENT_TRUNCATE_FOUND;
        break;
    case EVENT_CHMOD:
        second->kind = EVENT_CHMOD_FOUND;
        break;
    case EVENT_LINK:
        second->kind = EVENT_LINK_FOUND;
        break;
    default:
        return;
    }
    history->count++;
}

/* ---- telling ---- */

void history_print(const struct history *history, char *text, size_t size)
{
    static const char *const names[] = {"open",           "read",        "write",      "ftruncate", "fstat",
                                        "stat",           "truncate",    "chmod",      "mkdir",     "rmdir",
                                        "unlink",         "rename",      "symlink",    "readlink",  "link",
                                        "truncate found", "chmod found", "link found", "size found"};
    size_t length = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < history->count && length < size; i++) {
        const struct event *event = &history->events[i];
        length += (size_t)snprintf(
            text + length, size - length,
            "\n  [%llu, %llu] worker %u (file %llx): %s %s %s flags %o mode %o offset %llu length %u = "
            "%lld%s%s (inode %llx, size %llu)",
            (unsigned long long)event->began, (unsigned long long)event->ended, event->worker,
            (unsigned long long)event->file, names[event->kind], event->path, event->path2,
            (unsigned)event->flags, event->mode, (unsigned long long)event->offset, event->length,
            (long long)event->status, event->status < 0 ? " " : "",
            event->status < 0 ? status_text((int)event->status) : "",
            (unsigned long long)event->attributes.inode, (unsigned long long)event->attributes.size);
    }
}
