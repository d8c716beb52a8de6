/* A disk over another one that is only read: what is changed stays in memory and is forgotten in the end.
 *
 * What a name leads to is found in a table of names first: to a node, to nothing (it was removed here), or,
 * without an entry, to what the disk below has. A node is a file or a directory of this disk. It has pages
 * for the bytes that were written here, each with a bit for every byte that counts, so that a write reads
 * nothing; below `below_size` the other bytes are those of the file below, beyond they are zeros. A file
 * that was opened and not changed leaves no node.
 *
 * A read asks the file below for its part of the range and then lays the pages over it, as they are when the
 * answer comes: so a write that came meanwhile is seen, as on any disk. Writes are over at once. Files are
 * never direct, here and below: their owners need not align what is only memory.
 *
 * Not done: directories are not renamed (-EOPNOTSUPP). */
#include "runtime/disk_operations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/map.h"

enum { PAGE = 4096 };

struct page {
    uint8_t written[PAGE / 8]; /* a bit a byte */
    uint8_t bytes[PAGE];
};

/* All of it is zeros that were written; never changed. */
static struct page hole = {.written = {[0 ... PAGE / 8 - 1] = 0xff}};

struct node {
    char *below;            /* name of the file on the disk below; NULL: it is not there */
    struct disk_file *file; /* that file, while there are handles */
    bool directory;
    uint32_t handles;
    uint32_t names; /* 0 or 1 */
    bool changed;
    uint64_t below_size; /* bytes of the file below that still count */
    uint64_t size;
    int64_t time;
    struct map pages; /* number -> struct page; sparse */
};

struct name {
    struct list link;  /* in overlay.names */
    struct name *next; /* of the same hash */
    struct node *node; /* NULL: there is nothing of that name */
    char text[];
};

struct overlay {
    struct disk disk;
    struct disk *below;
    struct map table; /* hash of a name -> chain of names */
    struct list names;
};

struct overlay_file {
    struct disk_file file;
    struct node *node;
};

static struct overlay *overlay_of(struct disk *disk)
{
    return container_of(disk, struct overlay, disk);
}

static struct overlay_file *file_of(struct disk_file *file)
{
    return container_of(file, struct overlay_file, file);
}

/* ---- nodes ---- */

static void pages_free(struct node *node)
{
    size_t cursor = 0;
    for (void *page; (page = map_next(&node->pages, &cursor, NULL)) != NULL;) {
        if (page != &hole)
            free(page);
    }
    map_free(&node->pages);
    map_init(&node->pages);
}

static void node_free(struct node *node)
{
    if (node->handles > 0 || node->names > 0)
        return;
    pages_free(node);
    free(node->below);
    free(node);
}

static struct node *node_make(const char *below, bool directory)
{
    struct node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->directory = directory;
    map_init(&node->pages);
    if (below != NULL && (node->below = strdup(below)) == NULL) {
        free(node);
        return NULL;
    }
    return node;
}

/* ---- names ---- */

static struct name *name_find(struct overlay *overlay, const char *text)
{
    struct name *name = map_get(&overlay->table, hash64(text, strlen(text), 0));
    while (name != NULL && strcmp(name->text, text) != 0)
        name = name->next;
    return name;
}

/* The name leads to the node from now on (NULL: to nothing); what it led to before may be freed. */
static int name_set(struct overlay *overlay, const char *text, struct node *node)
{
    struct name *name = name_find(overlay, text);
    if (name == NULL) {
        size_t size = strlen(text) + 1;
        uint64_t hash = hash64(text, size - 1, 0);
        name = calloc(1, sizeof(*name) + size);
        if (name == NULL)
            return -ENOMEM;
        memcpy(name->text, text, size);
        name->next = map_get(&overlay->table, hash);
        if (map_put(&overlay->table, hash, name) != 0) {
            free(name);
            return -ENOMEM;
        }
        list_push_back(&overlay->names, &name->link);
    }
    struct node *before = name->node;
    if (node != NULL)
        node->names++;
    name->node = node;
    if (before != NULL) {
        before->names--;
        node_free(before);
    }
    return 0;
}

/* A file that was not changed is again what the disk below has. */
static void name_forget(struct overlay *overlay, struct node *node)
{
    struct name *name = name_find(overlay, node->below);
    uint64_t hash = hash64(name->text, strlen(name->text), 0);
    struct name *first = map_get(&overlay->table, hash);
    if (first == name && name->next == NULL) {
        map_remove(&overlay->table, hash);
    } else if (first == name) {
        map_put(&overlay->table, hash, name->next); /* in its place: needs no memory */
    } else {
        while (first->next != name)
            first = first->next;
        first->next = name->next;
    }
    list_remove(&name->link);
    free(name);
    node->names = 0;
}

enum kind { KIND_FILE = 0, KIND_DIRECTORY = 1 };

/* What the disk below has of that name; -ENOENT and others. */
static int kind_below(struct overlay *overlay, const char *text)
{
    struct disk_file *file;
    int status = disk_file_open(overlay->below, text, DISK_READ_ONLY, &file);
    if (status == 0)
        disk_file_close(file);
    return status == 0 ? KIND_FILE : status == -EISDIR ? KIND_DIRECTORY : status;
}

static int kind_of(struct overlay *overlay, const char *text)
{
    if (*text == '\0')
        return KIND_DIRECTORY;
    const struct name *name = name_find(overlay, text);
    if (name == NULL)
        return kind_below(overlay, text);
    return name->node == NULL ? -ENOENT : name->node->directory ? KIND_DIRECTORY : KIND_FILE;
}

/* 0: the directory that a new name would be in is there. */
static int check_parent(struct overlay *overlay, const char *text)
{
    char parent[DISK_NAME_MAX + 1] = "";
    const char *slash = strrchr(text, '/');
    if (slash != NULL)
        memcpy(parent, text, (size_t)(slash - text));
    int kind = kind_of(overlay, parent);
    return kind == KIND_FILE ? -ENOTDIR : kind < 0 ? kind : 0;
}

/* ---- pages ---- */

static bool page_has(const struct page *page, size_t at)
{
    return (page->written[at / 8] >> at % 8 & 1) != 0;
}

/* A page to be written to. */
static struct page *page_take(struct node *node, uint64_t number)
{
    struct page *page = map_get(&node->pages, number);
    if (page != NULL && page != &hole)
        return page;
    struct page *made = page == NULL ? calloc(1, sizeof(*made)) : malloc(sizeof(*made));
    if (made == NULL)
        return NULL;
    if (page != NULL)
        *made = *page;
    if (map_put(&node->pages, number, made) != 0) {
        free(made);
        return NULL;
    }
    return made;
}

/* bytes NULL: zeros. */
static int page_write(struct node *node, uint64_t number, size_t at, const uint8_t *bytes, size_t length)
{
    if (bytes == NULL && length == PAGE) {
        struct page *page = map_get(&node->pages, number);
        int status = map_put(&node->pages, number, &hole);
        if (status == 0 && page != &hole)
            free(page);
        return status;
    }
    struct page *page = page_take(node, number);
    if (page == NULL)
        return -ENOMEM;
    if (bytes != NULL)
        memcpy(page->bytes + at, bytes, length);
    else
        memset(page->bytes + at, 0, length);
    for (size_t i = at; i < at + length; i++)
        page->written[i / 8] |= (uint8_t)(1u << i % 8);
    return 0;
}

static int node_write(struct node *node, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
    int status = 0;
    while (length > 0 && status == 0) {
        size_t at = (size_t)(offset % PAGE);
        size_t part = PAGE - at < length ? PAGE - at : (size_t)length;
        status = page_write(node, offset / PAGE, at, bytes, part);
        bytes = bytes == NULL ? NULL : bytes + part;
        offset += part;
        length -= part;
    }
    return status;
}

/* What the pages have of a range, over bytes that came from below. */
static void node_lay(const struct node *node, uint64_t offset, uint8_t *bytes, size_t length)
{
    while (length > 0) {
        size_t at = (size_t)(offset % PAGE);
        size_t part = PAGE - at < length ? PAGE - at : length;
        const struct page *page = map_get(&node->pages, offset / PAGE);
        for (size_t i = 0; page != NULL && i < part; i++) {
            if (page_has(page, at + i))
                bytes[i] = page->bytes[at + i];
        }
        bytes += part;
        offset += part;
        length -= part;
    }
}

static void node_changed(struct overlay *overlay, struct node *node)
{
    node->changed = true;
    node->time = loop_realtime(overlay->disk.loop);
}

/* ---- files ---- */

static int open_below(struct overlay *overlay, struct node *node)
{
    if (node->below == NULL || node->file != NULL)
        return 0;
    int status = disk_file_open(overlay->below, node->below, DISK_READ_ONLY, &node->file);
    if (status != 0 || node->changed || node->handles > 0)
        return status;
    status = disk_file_size(node->file, &node->size);
    if (status == 0)
        status = disk_file_time(node->file, &node->time);
    node->below_size = node->size;
    if (status != 0) {
        disk_file_close(node->file);
        node->file = NULL;
    }
    return status;
}

/* Makes the file of a name that leads to nothing, or the node of one that is below. */
static int node_enter(struct overlay *overlay, const char *text, bool below, struct node **entered)
{
    struct node *node = node_make(below ? text : NULL, false);
    if (node == NULL)
        return -ENOMEM;
    int status = open_below(overlay, node);
    if (!below)
        node_changed(overlay, node);
    if (status == 0)
        status = name_set(overlay, text, node);
    if (status != 0) {
        if (node->file != NULL)
            disk_file_close(node->file);
        node_free(node);
        return status;
    }
    *entered = node;
    return 0;
}

/* The node of a name, which is a file's; made if it is to be. */
static int node_find(struct overlay *overlay, const char *text, unsigned flags, struct node **found)
{
    int kind = kind_of(overlay, text);
    bool create = (flags & DISK_CREATE) != 0;
    if (kind == KIND_DIRECTORY)
        return create && (flags & DISK_EXCLUSIVE) != 0 ? -EEXIST : -EISDIR;
    if (kind == KIND_FILE && create && (flags & DISK_EXCLUSIVE) != 0)
        return -EEXIST;
    if (kind < 0) {
        int status = check_parent(overlay, text);
        if (status != 0 || kind != -ENOENT || !create)
            return status != 0 ? status : kind;
    }
    struct name *name = name_find(overlay, text);
    if (name == NULL || name->node == NULL)
        return node_enter(overlay, text, kind == KIND_FILE, found);
    *found = name->node;
    return open_below(overlay, name->node);
}

static int overlay_file_open(struct disk *common, const char *text, unsigned flags, struct disk_file **opened)
{
    struct overlay_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return -ENOMEM;
    int status = node_find(overlay_of(common), text, flags, &file->node);
    if (status != 0) {
        free(file);
        return status;
    }
    file->node->handles++;
    disk_file_init(&file->file, common, text, flags);
    *opened = &file->file;
    return 0;
}

static void overlay_file_close(struct disk_file *common)
{
    struct node *node = file_of(common)->node;
    if (--node->handles == 0) {
        if (node->file != NULL)
            disk_file_close(node->file);
        node->file = NULL;
        if (!node->changed && node->names > 0)
            name_forget(overlay_of(common->disk), node);
        node_free(node);
    }
    free(file_of(common));
}

static int overlay_file_size(struct disk_file *file, uint64_t *size)
{
    *size = file_of(file)->node->size;
    return 0;
}

static int overlay_file_time(struct disk_file *file, int64_t *time)
{
    *time = file_of(file)->node->time;
    return 0;
}

/* Cuts what the pages hold to size bytes. */
static int pages_cut(struct node *node, uint64_t size)
{
    struct map kept;
    map_init(&kept);
    size_t cursor = 0;
    uint64_t number;
    int status = 0;
    for (void *page; status == 0 && (page = map_next(&node->pages, &cursor, &number)) != NULL;) {
        if (number * PAGE < size)
            status = map_put(&kept, number, page);
    }
    if (status != 0) {
        map_free(&kept);
        return status;
    }
    cursor = 0;
    for (void *page; (page = map_next(&node->pages, &cursor, &number)) != NULL;) {
        if (number * PAGE >= size && page != &hole)
            free(page);
    }
    map_free(&node->pages);
    node->pages = kept;
    struct page *last = size % PAGE == 0 ? NULL : map_get(&node->pages, size / PAGE);
    if (last != NULL && last != &hole)
        memset(last->bytes + size % PAGE, 0, PAGE - size % PAGE);
    return 0;
}

static int overlay_file_truncate(struct disk_file *file, uint64_t size)
{
    struct node *node = file_of(file)->node;
    int status = size < node->size ? pages_cut(node, size) : 0;
    if (status != 0)
        return status;
    if (size < node->below_size)
        node->below_size = size;
    node->size = size;
    node_changed(overlay_of(file->disk), node);
    return 0;
}

static int overlay_file_allocate(struct disk_file *file, uint64_t offset, uint64_t length)
{
    struct node *node = file_of(file)->node;
    if (offset + length > node->size)
        node->size = offset + length;
    node_changed(overlay_of(file->disk), node);
    return 0;
}

static int overlay_file_punch(struct disk_file *file, uint64_t offset, uint64_t length)
{
    struct node *node = file_of(file)->node;
    node_changed(overlay_of(file->disk), node);
    if (offset >= node->size)
        return 0;
    return node_write(node, offset, NULL, length < node->size - offset ? length : node->size - offset);
}

/* ---- transfers ---- */

/* A read of the file below, on behalf of one here. */
struct reading {
    struct disk_io below;
    struct disk_io *io;
    uint32_t length; /* to be answered */
    struct iovec vector[DISK_VECTOR_MAX];
};

/* Zeros beyond what came from below, and what was written here. */
static void lay_over(struct disk_io *io, uint32_t from_below, uint32_t length)
{
    const struct node *node = file_of(io->file)->node;
    uint32_t at = 0;
    for (uint32_t i = 0; i < io->count && at < length; i++) {
        uint8_t *bytes = io->vector[i].iov_base;
        uint32_t part = (uint32_t)io->vector[i].iov_len;
        if (part > length - at)
            part = length - at;
        uint32_t kept = from_below <= at ? 0 : from_below - at < part ? from_below - at : part;
        if (part > kept)
            memset(bytes + kept, 0, part - kept);
        if (part > 0)
            node_lay(node, io->offset + at, bytes, part);
        at += part;
    }
}

static void reading_over(struct completion *completion)
{
    struct reading *reading = container_of(completion, struct reading, below.done);
    struct disk_io *io = reading->io;
    int status = completion->status;
    if (status >= 0) {
        lay_over(io, (uint32_t)status, reading->length);
        status = (int)reading->length;
    }
    free(reading);
    completion_fire(&io->done, status);
}

/* Starts the part of a read that the file below has. */
static int read_below(struct disk_io *io, uint32_t length, uint32_t from_below)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL)
        return -ENOMEM;
    reading->io = io;
    reading->length = length;
    uint32_t count = 0;
    for (uint32_t left = from_below; left > 0; count++) {
        uint32_t part =
            (uint32_t)io->vector[count].iov_len < left ? (uint32_t)io->vector[count].iov_len : left;
        reading->vector[count] = (struct iovec){io->vector[count].iov_base, part};
        left -= part;
    }
    reading->below = (struct disk_io){.file = file_of(io->file)->node->file,
                                      .call = DISK_READ,
                                      .vector = reading->vector,
                                      .count = count,
                                      .offset = io->offset,
                                      .done = {.notify = reading_over}};
    disk_start(&reading->below);
    return 0;
}

static void start_read(struct disk_io *io)
{
    const struct node *node = file_of(io->file)->node;
    uint32_t length = disk_transfer(io)->length;
    if (io->offset >= node->size)
        length = 0;
    else if (length > node->size - io->offset)
        length = (uint32_t)(node->size - io->offset);
    uint32_t from_below = io->offset >= node->below_size ? 0 : length;
    if (from_below > node->below_size - io->offset)
        from_below = (uint32_t)(node->below_size - io->offset);
    int status = from_below > 0 ? read_below(io, length, from_below) : 0;
    if (status == 0 && from_below > 0)
        return;
    if (status == 0)
        lay_over(io, 0, length);
    disk_answer(io, status != 0 ? status : (int)length, false);
}

static int write_now(struct disk_io *io)
{
    struct node *node = file_of(io->file)->node;
    const struct disk_transfer *transfer = disk_transfer(io);
    uint64_t offset = io->offset;
    uint32_t left = transfer->length;
    for (uint32_t i = 0; left > 0; i++) {
        uint32_t part = (uint32_t)io->vector[i].iov_len < left ? (uint32_t)io->vector[i].iov_len : left;
        int status = part == 0 ? 0 : node_write(node, offset, io->vector[i].iov_base, part);
        if (status != 0)
            return status;
        offset += part;
        left -= part;
    }
    if (offset > node->size)
        node->size = offset;
    node_changed(overlay_of(io->file->disk), node);
    return transfer->cut ? -EIO : (int)transfer->length;
}

static void overlay_start(struct disk_io *io)
{
    if (io->call == DISK_READ)
        start_read(io);
    else
        disk_answer(io, io->call == DISK_WRITE ? write_now(io) : 0, false);
}

/* ---- changes of names ---- */

static int overlay_make_directory(struct disk *common, const char *text)
{
    struct overlay *overlay = overlay_of(common);
    int kind = kind_of(overlay, text);
    if (kind >= 0)
        return -EEXIST;
    int status = kind == -ENOENT ? check_parent(overlay, text) : kind;
    struct node *node = status == 0 ? node_make(NULL, true) : NULL;
    if (node == NULL)
        return status != 0 ? status : -ENOMEM;
    status = name_set(overlay, text, node);
    node_free(node);
    return status;
}

static int refuse_any(void *owner, const char *name, bool is_directory)
{
    (void)owner;
    (void)name;
    (void)is_directory;
    return -ENOTEMPTY;
}

static int overlay_unlink(struct disk *common, const char *text)
{
    struct overlay *overlay = overlay_of(common);
    int kind = kind_of(overlay, text);
    int status = kind == KIND_DIRECTORY ? disk_list(common, text, refuse_any, NULL) : kind;
    return status != 0 ? status : name_set(overlay, text, NULL);
}

static int overlay_rename(struct disk *common, const char *from, const char *to)
{
    struct overlay *overlay = overlay_of(common);
    int kind = kind_of(overlay, from);
    int other = kind_of(overlay, to);
    if (kind < 0 || (other < 0 && other != -ENOENT))
        return kind < 0 ? kind : other;
    if (other >= 0 && kind != other)
        return other == KIND_DIRECTORY ? -EISDIR : -ENOTDIR;
    if (strcmp(from, to) == 0)
        return 0;
    if (kind == KIND_DIRECTORY)
        return -EOPNOTSUPP;
    struct disk_file *held; /* so that the node stays, with or without a name */
    int status = overlay_file_open(common, from, 0, &held);
    if (status != 0)
        return status;
    struct node *node = file_of(held)->node;
    node->changed = true; /* its name below leads to it no longer */
    status = name_set(overlay, to, node);
    if (status == 0)
        status = name_set(overlay, from, NULL);
    overlay_file_close(held);
    return status;
}

static int overlay_sync_names(struct disk *disk, const char *directory)
{
    int kind = kind_of(overlay_of(disk), directory);
    return kind == KIND_FILE ? -ENOTDIR : kind < 0 ? kind : 0;
}

/* Below nothing has changed, and what has changed above never lasts. */
static int overlay_sync_all(struct disk *disk)
{
    (void)disk;
    return 0;
}

/* ---- listing ---- */

struct listing {
    struct overlay *overlay;
    const char *directory;
    char **names; /* "f" or "d", and the name */
    size_t count;
};

static int listing_add(struct listing *listing, const char *text, bool is_directory)
{
    if ((listing->count & (listing->count - 1)) == 0) {
        size_t room = listing->count == 0 ? 1 : 2 * listing->count;
        char **names = realloc(listing->names, room * sizeof(*names));
        if (names == NULL)
            return -ENOMEM;
        listing->names = names;
    }
    char *name = malloc(strlen(text) + 2);
    if (name == NULL)
        return -ENOMEM;
    name[0] = is_directory ? 'd' : 'f';
    strcpy(name + 1, text);
    listing->names[listing->count++] = name;
    return 0;
}

/* Of what is below counts what has no entry here. */
static int listing_visit(void *owner, const char *text, bool is_directory)
{
    struct listing *listing = owner;
    char name[DISK_NAME_MAX + 1];
    size_t above = strlen(listing->directory), length = strlen(text);
    if (above + 1 + length > DISK_NAME_MAX)
        return 0; /* no name of a disk */
    memcpy(name, listing->directory, above);
    if (above > 0)
        name[above++] = '/';
    memcpy(name + above, text, length + 1);
    return name_find(listing->overlay, name) != NULL ? 0 : listing_add(listing, text, is_directory);
}

static int listing_fill(struct listing *listing)
{
    struct overlay *overlay = listing->overlay;
    const struct name *self = name_find(overlay, listing->directory);
    int status = 0;
    if (self == NULL)
        status = disk_list(overlay->below, listing->directory, listing_visit, listing);
    size_t length = strlen(listing->directory);
    list_for_each (link, &overlay->names) {
        const struct name *name = container_of(link, struct name, link);
        const char *last = strrchr(name->text, '/');
        size_t above = last == NULL ? 0 : (size_t)(last - name->text);
        if (status == 0 && name->node != NULL && above == length &&
            memcmp(name->text, listing->directory, length) == 0)
            status = listing_add(listing, last == NULL ? name->text : last + 1, name->node->directory);
    }
    return status;
}

/* Collected first, because visit may change names. */
static int overlay_list(struct disk *disk, const char *directory,
                        int (*visit)(void *owner, const char *name, bool is_directory), void *owner)
{
    struct listing listing = {.overlay = overlay_of(disk), .directory = directory};
    int kind = kind_of(listing.overlay, directory);
    if (kind != KIND_DIRECTORY)
        return kind == KIND_FILE ? -ENOTDIR : kind;
    int status = listing_fill(&listing);
    for (size_t i = 0; i < listing.count; i++) {
        if (status == 0)
            status = visit(owner, listing.names[i] + 1, listing.names[i][0] == 'd');
        free(listing.names[i]);
    }
    free(listing.names);
    return status;
}

static int overlay_space(struct disk *disk, uint64_t *available, uint64_t *total)
{
    return disk_space(overlay_of(disk)->below, available, total);
}

/* ---- the disk ---- */

static int overlay_remember(struct disk *disk, void *memory, size_t length)
{
    (void)disk;
    (void)memory;
    (void)length;
    return 0;
}

static void overlay_forget(struct disk *disk, void *memory)
{
    (void)disk;
    (void)memory;
}

static void overlay_close(struct disk *common)
{
    struct overlay *overlay = overlay_of(common);
    for (struct list *link; (link = list_pop_front(&overlay->names)) != NULL;) {
        struct name *name = container_of(link, struct name, link);
        if (name->node != NULL) {
            name->node->names--;
            node_free(name->node);
        }
        free(name);
    }
    map_free(&overlay->table);
    disk_close(overlay->below);
    disk_exit(common);
    free(overlay);
}

static const struct disk_operations overlay_operations = {
    .close = overlay_close,
    .remember = overlay_remember,
    .forget = overlay_forget,
    .file_open = overlay_file_open,
    .file_close = overlay_file_close,
    .file_size = overlay_file_size,
    .file_time = overlay_file_time,
    .file_truncate = overlay_file_truncate,
    .file_allocate = overlay_file_allocate,
    .file_punch = overlay_file_punch,
    .start = overlay_start,
    .make_directory = overlay_make_directory,
    .unlink = overlay_unlink,
    .rename = overlay_rename,
    .sync_names = overlay_sync_names,
    .sync_all = overlay_sync_all,
    .list = overlay_list,
    .space = overlay_space,
};

int disk_overlay_open(struct disk *below, struct disk **opened)
{
    struct overlay *overlay = calloc(1, sizeof(*overlay));
    if (overlay == NULL)
        return -ENOMEM;
    int status = disk_init(&overlay->disk, below->loop, &overlay_operations, below->path);
    if (status != 0) {
        free(overlay);
        return status;
    }
    overlay->disk.discards = true;
    overlay->below = below;
    map_init(&overlay->table);
    list_init(&overlay->names);
    *opened = &overlay->disk;
    return 0;
}
