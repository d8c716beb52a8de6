/* The content of a simulated device.
 *
 * Each file has two images, the live one and the durable one, as tables of pages; a page that both (or both
 * tables of a device full of reserved space) hold is shared and copied when one of them writes. Between the
 * images lie the changes: whole writes with their bytes, truncations, reservations, punched holes, in the
 * order in which they took effect. A synchronisation applies those that it covers, always the oldest ones, to
 * the durable image and drops them. When the power fails, each change that is left is applied to the durable
 * image, or not, or only in some of its sectors, and the result is what everybody sees from then on. That a
 * write made the file longer is chosen on its own: a size may last without the bytes and bytes without the
 * size, which then are past the end and gone.
 *
 * Names likewise: a directory's entry says what it names now and what it would name after a loss of power.
 * A change of names assigns one or two entries of one directory (two: a rename, which lasts as a whole or not
 * at all). Since changes are lost independently, a later one may outlive an earlier one: a file whose
 * creation was lost may still appear under the name that it was given afterwards. A directory whose own entry
 * is lost takes along all that is in it.
 *
 * Used space is that of the living: pages of nodes that an entry names or a handle holds. */
#include "runtime/disk_content.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"

struct content_page {
    uint32_t references;
    uint8_t bytes[CONTENT_PAGE];
};

struct content_entry {
    struct content_entry *next; /* another name of the same hash */
    struct content_node *live;
    struct content_node *durable;
    uint32_t changes; /* that refer to it */
    char name[];
};

/* One change of a directory: entries[i] names nodes[i] (NULL: nothing) from then on. */
struct content_names {
    struct list link;
    uint64_t sequence;
    uint32_t count;
    struct content_entry *entries[2];
    struct content_node *nodes[2];
};

static void *memory(void *allocated)
{
    if (allocated == NULL) {
        log_error("the simulated device is out of memory");
        abort();
    }
    return allocated;
}

/* ---- images ---- */

static void page_release(struct content_page *page)
{
    if (page != NULL && --page->references == 0)
        free(page);
}

static void image_free(struct content_image *image)
{
    for (uint64_t i = 0; i < image->slots; i++)
        page_release(image->pages[i]);
    free(image->pages);
    *image = (struct content_image){0};
}

static void image_reach(struct content_image *image, uint64_t slots)
{
    if (slots <= image->slots)
        return;
    if (slots < 2 * image->slots)
        slots = 2 * image->slots;
    image->pages = memory(reallocarray(image->pages, slots, sizeof(struct content_page *)));
    memset(image->pages + image->slots, 0, (slots - image->slots) * sizeof(struct content_page *));
    image->slots = slots;
}

/* A page that belongs to this image alone. whole: every byte of it will be written. */
static uint8_t *image_page(struct content_image *image, uint64_t index, bool whole)
{
    image_reach(image, index + 1);
    struct content_page *page = image->pages[index];
    if (page != NULL && page->references == 1)
        return page->bytes;
    struct content_page *own = memory(malloc(sizeof(*own)));
    own->references = 1;
    if (page == NULL) {
        image->held++;
        if (!whole)
            memset(own->bytes, 0, CONTENT_PAGE);
    } else {
        if (!whole)
            memcpy(own->bytes, page->bytes, CONTENT_PAGE);
        page_release(page);
    }
    image->pages[index] = own;
    return own->bytes;
}

static void image_write(struct content_image *image, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
    while (length > 0) {
        uint64_t at = offset % CONTENT_PAGE;
        uint64_t part = CONTENT_PAGE - at < length ? CONTENT_PAGE - at : length;
        memcpy(image_page(image, offset / CONTENT_PAGE, part == CONTENT_PAGE) + at, bytes, part);
        bytes += part;
        offset += part;
        length -= part;
    }
}

/* Gives the pages in the range back, with the bytes of those that are in it in part. */
static void image_zero(struct content_image *image, uint64_t start, uint64_t end)
{
    if (end > image->slots * CONTENT_PAGE)
        end = image->slots * CONTENT_PAGE;
    while (start < end) {
        uint64_t index = start / CONTENT_PAGE;
        uint64_t at = start % CONTENT_PAGE;
        uint64_t part = CONTENT_PAGE - at < end - start ? CONTENT_PAGE - at : end - start;
        if (image->pages[index] != NULL && part == CONTENT_PAGE) {
            page_release(image->pages[index]);
            image->pages[index] = NULL;
            image->held--;
        } else if (image->pages[index] != NULL) {
            memset(image_page(image, index, false) + at, 0, part);
        }
        start += part;
    }
}

static void image_reserve(struct content_image *image, struct content_page *zero, uint64_t start,
                          uint64_t end)
{
    uint64_t last = (end + CONTENT_PAGE - 1) / CONTENT_PAGE;
    image_reach(image, last);
    for (uint64_t i = start / CONTENT_PAGE; i < last; i++) {
        if (image->pages[i] != NULL)
            continue;
        image->pages[i] = zero;
        zero->references++;
        image->held++;
    }
}

static void image_cut(struct content_image *image, uint64_t size)
{
    image_zero(image, size, UINT64_MAX);
    image->size = size;
}

static void image_copy(struct content_image *to, const struct content_image *from)
{
    image_free(to);
    *to = *from;
    if (from->slots == 0)
        return;
    to->pages = memory(malloc(from->slots * sizeof(struct content_page *)));
    memcpy(to->pages, from->pages, from->slots * sizeof(struct content_page *));
    for (uint64_t i = 0; i < to->slots; i++) {
        if (to->pages[i] != NULL)
            to->pages[i]->references++;
    }
}

static uint64_t change_end(const struct content_change *change)
{
    return change->offset + change->length;
}

static void image_change(struct content *content, struct content_image *image,
                         const struct content_change *change)
{
    image->time = change->time;
    switch (change->kind) {
    case CONTENT_WRITE:
        image_write(image, change->offset, change->bytes, change->length);
        break;
    case CONTENT_TRUNCATE:
        image_cut(image, change->offset);
        return;
    case CONTENT_ALLOCATE:
        image_reserve(image, content->zero, change->offset, change_end(change));
        break;
    case CONTENT_PUNCH:
        image_zero(image, change->offset, change_end(change));
        return;
    }
    if (change_end(change) > image->size)
        image->size = change_end(change);
}

/* ---- nodes ---- */

static struct content_node *node_create(struct content *content, bool directory)
{
    struct content_node *node = memory(calloc(1, sizeof(*node)));
    node->directory = directory;
    list_push_back(&content->nodes, &node->link);
    list_init(&node->changes);
    list_init(&node->names);
    map_init(&node->entries);
    return node;
}

static void node_release(struct content *content, struct content_node *node);

static void names_free(struct content *content, struct content_names *change)
{
    list_remove(&change->link);
    for (uint32_t i = 0; i < change->count; i++) {
        change->entries[i]->changes--;
        if (change->nodes[i] != NULL)
            node_release(content, change->nodes[i]);
    }
    free(change);
}

static void node_anchor(struct content *content, struct content_node *node)
{
    if (node->anchors++ == 0)
        content->used += node->live.held;
}

static void node_unanchor(struct content *content, struct content_node *node)
{
    if (--node->anchors == 0)
        content->used -= node->live.held;
}

static void entry_free(struct content *content, struct content_entry *entry)
{
    if (entry->live != NULL) {
        node_unanchor(content, entry->live);
        node_release(content, entry->live);
    }
    if (entry->durable != NULL)
        node_release(content, entry->durable);
    free(entry);
}

static void node_free(struct content *content, struct content_node *node)
{
    list_remove(&node->link);
    for (struct list *link; (link = list_pop_front(&node->changes)) != NULL;)
        free(container_of(link, struct content_change, link));
    image_free(&node->live);
    image_free(&node->durable);
    list_for_each_safe (link, &node->names)
        names_free(content, container_of(link, struct content_names, link));
    struct content_entry *entry;
    for (size_t cursor = 0; (entry = map_next(&node->entries, &cursor, NULL)) != NULL;) {
        for (struct content_entry *next; entry != NULL; entry = next) {
            next = entry->next;
            entry_free(content, entry);
        }
    }
    map_free(&node->entries);
    free(node);
}

static void node_release(struct content *content, struct content_node *node)
{
    if (--node->references == 0)
        node_free(content, node);
}

void content_hold(struct content *content, struct content_node *node)
{
    node->references++;
    node_anchor(content, node);
}

void content_release(struct content *content, struct content_node *node)
{
    node_unanchor(content, node);
    node_release(content, node);
}

void content_init(struct content *content, uint64_t capacity)
{
    list_init(&content->nodes);
    content->sequence = 0;
    content->limit = capacity == 0 ? UINT64_MAX : capacity / CONTENT_PAGE;
    content->used = 0;
    content->zero = memory(calloc(1, sizeof(struct content_page)));
    content->zero->references = 1;
    content->root = node_create(content, true);
    content->root->references = 1;
}

void content_exit(struct content *content)
{
    node_release(content, content->root);
    assert(list_empty(&content->nodes));
    page_release(content->zero);
}

/* ---- entries ---- */

static struct content_entry *entry_find(const struct content_node *directory, const char *name, size_t length)
{
    struct content_entry *entry = map_get(&directory->entries, hash64(name, length, 0));
    while (entry != NULL && (strncmp(entry->name, name, length) != 0 || entry->name[length] != '\0'))
        entry = entry->next;
    return entry;
}

static struct content_entry *entry_make(struct content_node *directory, const char *name)
{
    size_t length = strlen(name);
    struct content_entry *entry = entry_find(directory, name, length);
    if (entry != NULL)
        return entry;
    entry = memory(calloc(1, sizeof(*entry) + length + 1));
    memcpy(entry->name, name, length);
    uint64_t hash = hash64(name, length, 0);
    entry->next = map_get(&directory->entries, hash);
    if (map_put(&directory->entries, hash, entry) != 0)
        memory(NULL);
    return entry;
}

/* Forgets an entry that neither names anything nor will. */
static void entry_drop(struct content *content, struct content_node *directory, struct content_entry *entry)
{
    if (entry->live != NULL || entry->durable != NULL || entry->changes != 0)
        return;
    uint64_t hash = hash64(entry->name, strlen(entry->name), 0);
    struct content_entry *first = map_get(&directory->entries, hash);
    if (first != entry) {
        while (first->next != entry)
            first = first->next;
        first->next = entry->next;
    } else if (entry->next != NULL) {
        map_put(&directory->entries, hash, entry->next);
    } else {
        map_remove(&directory->entries, hash);
    }
    entry_free(content, entry);
}

static void entry_set_live(struct content *content, struct content_entry *entry, struct content_node *node)
{
    struct content_node *old = entry->live;
    entry->live = node;
    if (node != NULL)
        content_hold(content, node);
    if (old != NULL)
        content_release(content, old);
}

static void entry_set_durable(struct content *content, struct content_entry *entry, struct content_node *node)
{
    struct content_node *old = entry->durable;
    entry->durable = node;
    if (node != NULL)
        node->references++;
    if (old != NULL)
        node_release(content, old);
}

/* Finds the directory that a name is in, and the name's last component. */
static int find_parent(struct content *content, const char *name, struct content_node **parent,
                       const char **last)
{
    struct content_node *node = content->root;
    for (const char *slash; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        struct content_entry *entry = entry_find(node, name, (size_t)(slash - name));
        if (entry == NULL || entry->live == NULL)
            return -ENOENT;
        node = entry->live;
        if (!node->directory)
            return -ENOTDIR;
    }
    *parent = node;
    *last = name;
    return 0;
}

int content_find(struct content *content, const char *name, struct content_node **found)
{
    *found = content->root;
    if (*name == '\0')
        return 0;
    struct content_node *parent;
    int status = find_parent(content, name, &parent, &name);
    if (status != 0)
        return status;
    struct content_entry *entry = entry_find(parent, name, strlen(name));
    if (entry == NULL || entry->live == NULL)
        return -ENOENT;
    *found = entry->live;
    return 0;
}

/* Adds a change to the directory's; the caller assigns its entries. */
static struct content_names *names_make(struct content *content, struct content_node *directory)
{
    struct content_names *change = memory(calloc(1, sizeof(*change)));
    change->sequence = ++content->sequence;
    list_push_back(&directory->names, &change->link);
    return change;
}

static void names_assign(struct content *content, struct content_names *change, struct content_entry *entry,
                         struct content_node *node)
{
    change->entries[change->count] = entry;
    change->nodes[change->count++] = node;
    entry->changes++;
    if (node != NULL)
        node->references++;
    entry_set_live(content, entry, node);
}

int content_create(struct content *content, const char *name, bool directory, struct content_node **created)
{
    struct content_node *parent;
    int status = find_parent(content, name, &parent, &name);
    if (status != 0)
        return status;
    struct content_entry *entry = entry_find(parent, name, strlen(name));
    if (entry != NULL && entry->live != NULL)
        return -EEXIST;
    struct content_node *node = node_create(content, directory);
    names_assign(content, names_make(content, parent), entry_make(parent, name), node);
    *created = node;
    return 0;
}

static bool directory_empty(const struct content_node *directory)
{
    struct content_entry *entry;
    for (size_t cursor = 0; (entry = map_next(&directory->entries, &cursor, NULL)) != NULL;) {
        for (; entry != NULL; entry = entry->next) {
            if (entry->live != NULL)
                return false;
        }
    }
    return true;
}

int content_remove(struct content *content, const char *name)
{
    struct content_node *parent;
    int status = find_parent(content, name, &parent, &name);
    if (status != 0)
        return status;
    struct content_entry *entry = entry_find(parent, name, strlen(name));
    if (entry == NULL || entry->live == NULL)
        return -ENOENT;
    if (entry->live->directory && !directory_empty(entry->live))
        return -ENOTEMPTY;
    names_assign(content, names_make(content, parent), entry, NULL);
    return 0;
}

int content_rename(struct content *content, const char *from, const char *to)
{
    struct content_node *parent;
    int status = find_parent(content, from, &parent, &from);
    if (status != 0)
        return status;
    to += strlen(to) - strlen(strrchr(to, '/') == NULL ? to : strrchr(to, '/') + 1);
    struct content_entry *source = entry_find(parent, from, strlen(from));
    if (source == NULL || source->live == NULL)
        return -ENOENT;
    struct content_node *node = source->live;
    struct content_entry *target = entry_make(parent, to);
    if (target->live == node)
        return 0;
    if (target->live != NULL && target->live->directory != node->directory)
        return node->directory ? -ENOTDIR : -EISDIR;
    if (target->live != NULL && node->directory && !directory_empty(target->live))
        return -ENOTEMPTY;
    struct content_names *change = names_make(content, parent);
    names_assign(content, change, target, node);
    names_assign(content, change, source, NULL);
    return 0;
}

int content_list(struct content_node *directory,
                 int (*visit)(void *owner, const char *name, bool is_directory), void *owner)
{
    struct content_entry *entry;
    for (size_t cursor = 0; (entry = map_next(&directory->entries, &cursor, NULL)) != NULL;) {
        for (; entry != NULL; entry = entry->next) {
            int status = entry->live == NULL ? 0 : visit(owner, entry->name, entry->live->directory);
            if (status != 0)
                return status;
        }
    }
    return 0;
}

/* ---- changes of files ---- */

struct content_change *content_change_make(enum content_kind kind, uint64_t offset, uint64_t length)
{
    struct content_change *change = memory(malloc(sizeof(*change) + (kind == CONTENT_WRITE ? length : 0)));
    change->kind = kind;
    change->offset = offset;
    change->length = length;
    return change;
}

/* Pages that the change would take. */
static uint64_t missing(const struct content_image *image, const struct content_change *change)
{
    if (change->kind != CONTENT_WRITE && change->kind != CONTENT_ALLOCATE)
        return 0;
    uint64_t count = 0;
    uint64_t end = (change_end(change) + CONTENT_PAGE - 1) / CONTENT_PAGE;
    for (uint64_t i = change->offset / CONTENT_PAGE; i < end; i++)
        count += i >= image->slots || image->pages[i] == NULL;
    return count;
}

int content_change(struct content *content, struct content_node *node, struct content_change *change,
                   int64_t time)
{
    if (content->limit != UINT64_MAX && content->used + missing(&node->live, change) > content->limit) {
        free(change);
        return -ENOSPC;
    }
    change->sequence = ++content->sequence;
    change->time = time;
    if (node->anchors != 0)
        content->used -= node->live.held;
    image_change(content, &node->live, change);
    if (node->anchors != 0)
        content->used += node->live.held;
    list_push_back(&node->changes, &change->link);
    return 0;
}

uint64_t content_read(const struct content_node *node, uint64_t offset, void *to, uint64_t length)
{
    const struct content_image *image = &node->live;
    if (offset >= image->size)
        return 0;
    if (length > image->size - offset)
        length = image->size - offset;
    uint8_t *bytes = to;
    for (uint64_t left = length; left > 0;) {
        uint64_t index = offset / CONTENT_PAGE;
        uint64_t at = offset % CONTENT_PAGE;
        uint64_t part = CONTENT_PAGE - at < left ? CONTENT_PAGE - at : left;
        if (index < image->slots && image->pages[index] != NULL)
            memcpy(bytes, image->pages[index]->bytes + at, part);
        else
            memset(bytes, 0, part);
        bytes += part;
        offset += part;
        left -= part;
    }
    return length;
}

void content_take(struct content *content, struct content_node *node, const uint8_t *from, uint64_t bytes,
                  int64_t time)
{
    uint8_t page[CONTENT_PAGE];
    for (uint64_t at = 0; at < bytes; at += CONTENT_PAGE) {
        uint64_t part = bytes - at < CONTENT_PAGE ? bytes - at : CONTENT_PAGE;
        if (content_read(node, at, page, part) == part && memcmp(page, from + at, part) == 0)
            continue;
        struct content_change *change = content_change_make(CONTENT_WRITE, at, part);
        memcpy(change->bytes, from + at, part);
        content_change(content, node, change, time); /* what is mapped has its pages */
    }
}

/* ---- what lasts ---- */

void content_sync(struct content *content, struct content_node *node, uint64_t sequence)
{
    list_for_each_safe (link, &node->changes) {
        struct content_change *change = container_of(link, struct content_change, link);
        if (change->sequence > sequence)
            break;
        image_change(content, &node->durable, change);
        list_remove(link);
        free(change);
    }
}

static void names_apply(struct content *content, struct content_names *change)
{
    for (uint32_t i = 0; i < change->count; i++)
        entry_set_durable(content, change->entries[i], change->nodes[i]);
}

static void names_end(struct content *content, struct content_node *directory, struct content_names *change)
{
    struct content_entry *entries[2] = {change->entries[0], change->entries[1]};
    uint32_t count = change->count;
    names_free(content, change);
    for (uint32_t i = 0; i < count; i++)
        entry_drop(content, directory, entries[i]);
}

void content_sync_names(struct content *content, struct content_node *directory, uint64_t sequence)
{
    list_for_each_safe (link, &directory->names) {
        struct content_names *change = container_of(link, struct content_names, link);
        if (change->sequence > sequence)
            break;
        names_apply(content, change);
        names_end(content, directory, change);
    }
}

/* A directory whose names have changed up to then, or NULL. */
static struct content_node *unsynchronised_directory(struct content *content, uint64_t sequence)
{
    list_for_each (link, &content->nodes) {
        struct content_node *node = container_of(link, struct content_node, link);
        if (node->directory && !list_empty(&node->names) &&
            container_of(node->names.next, struct content_names, link)->sequence <= sequence)
            return node;
    }
    return NULL;
}

void content_sync_all(struct content *content, uint64_t sequence)
{
    list_for_each (link, &content->nodes)
        content_sync(content, container_of(link, struct content_node, link), sequence);
    /* Nodes may go with their last names. */
    for (struct content_node *node; (node = unsynchronised_directory(content, sequence)) != NULL;)
        content_sync_names(content, node, sequence);
}

enum fate { LOST, KEPT, TORN };

/* How changes of one power loss fare: sometimes all are lost, or all kept, mostly each on its own. */
static enum fate fate(struct random *random, uint64_t mood, bool tears)
{
    if (mood == 0)
        return LOST;
    if (mood == 1)
        return KEPT;
    return (enum fate)random_below(random, tears ? 3 : 2);
}

static void write_torn(struct content_image *image, const struct content_change *change,
                       struct random *random)
{
    for (uint64_t at = 0; at < change->length;) {
        uint64_t part = CONTENT_SECTOR - (change->offset + at) % CONTENT_SECTOR;
        if (part > change->length - at)
            part = change->length - at;
        if (random_below(random, 2) == 0)
            image_write(image, change->offset + at, change->bytes + at, part);
        at += part;
    }
}

static void file_power_loss(struct content *content, struct content_node *node, struct random *random,
                            uint64_t mood)
{
    struct content_image *image = &node->durable;
    list_for_each_safe (link, &node->changes) {
        struct content_change *change = container_of(link, struct content_change, link);
        bool tears = change->kind == CONTENT_WRITE;
        bool grows = (tears || change->kind == CONTENT_ALLOCATE) && change_end(change) > image->size;
        uint64_t size = image->size;
        enum fate bytes = fate(random, mood, tears);
        if (bytes == KEPT)
            image_change(content, image, change);
        else if (bytes == TORN)
            write_torn(image, change, random);
        if (grows)
            image->size = fate(random, mood, false) == KEPT ? change_end(change) : size;
        list_remove(link);
        free(change);
    }
    image_cut(image, image->size);
    image_copy(&node->live, image);
}

static void directory_power_loss(struct content *content, struct content_node *directory,
                                 struct random *random, uint64_t mood)
{
    list_for_each (link, &directory->names) {
        struct content_names *change = container_of(link, struct content_names, link);
        if (fate(random, mood, false) == KEPT)
            names_apply(content, change);
    }
    struct content_entry *entry;
    for (size_t cursor = 0; (entry = map_next(&directory->entries, &cursor, NULL)) != NULL;) {
        for (; entry != NULL; entry = entry->next)
            entry_set_live(content, entry, entry->durable);
    }
    list_for_each_safe (link, &directory->names)
        names_end(content, directory, container_of(link, struct content_names, link));
}

void content_power_loss(struct content *content, struct random *random)
{
    uint64_t mood = random_below(random, 6);
    /* Held, so that none goes while the list is walked. */
    list_for_each (link, &content->nodes)
        container_of(link, struct content_node, link)->references++;
    list_for_each (link, &content->nodes) {
        struct content_node *node = container_of(link, struct content_node, link);
        if (node->directory)
            directory_power_loss(content, node, random, mood);
        else
            file_power_loss(content, node, random, mood);
    }
    /* Each release may free others, all of them younger or older, but never one that is still held. */
    struct list held;
    list_init(&held);
    for (struct list *link; (link = list_pop_front(&content->nodes)) != NULL;)
        list_push_back(&held, link);
    for (struct list *link; (link = list_pop_front(&held)) != NULL;) {
        list_push_back(&content->nodes, link);
        node_release(content, container_of(link, struct content_node, link));
    }
    content->used = 0;
    list_for_each (link, &content->nodes) {
        struct content_node *node = container_of(link, struct content_node, link);
        if (node->anchors != 0)
            content->used += node->live.held;
    }
}
