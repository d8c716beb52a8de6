/* Random operations and their comparison.
 *
 * Each operation first asks the file system, then the model, with the virtual time before and after as bounds
 * for the times that it sets. All results go into the trace. Names carry the region's number, so that regions
 * never meet, wherever a path with ".." or a symbolic link leads.
 *
 * An open file lives on when its name is gone, and works as before, with a link count of 0. */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"

#define BYTES_MAX (256u << 10)
#define OFFSET_MAX (400u << 10)

static uint32_t below(struct region *region, uint32_t bound)
{
    return (uint32_t)random_below(region->random, bound);
}

static bool one_in(struct region *region, uint32_t bound)
{
    return below(region, bound) == 0;
}

/* ---- comparing ---- */

static bool is_powerless(const struct region *region)
{
    return region->powerless != NULL && *region->powerless;
}

__attribute__((format(printf, 2, 3))) static void wrong(struct region *region, const char *format, ...)
{
    if (is_powerless(region))
        return;
    char text[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cluster_fail(region->cluster, "region %u, operation %u: %s", region->number, region->operations, text);
}

static const char *status_name(int64_t status)
{
    static char text[2][48];
    static unsigned turn;
    char *out = text[turn++ % 2];
    if (status >= 0)
        snprintf(out, sizeof text[0], "%lld", (long long)status);
    else if (strerrorname_np((int)-status) != NULL)
        snprintf(out, sizeof text[0], "-%s", strerrorname_np((int)-status));
    else
        snprintf(out, sizeof text[0], "-%lld (%s)", (long long)-status, status_text((int)status));
    return out;
}

/* Counts, traces and compares one operation. */
__attribute__((format(printf, 4, 5))) static bool same(struct region *region, int64_t got, int64_t wanted,
                                                       const char *format, ...)
{
    char what[700];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    sim_trace(region->cluster->network, &got, sizeof got);
    region->cluster->operations++;
    region->operations++;
    if (getenv("BENCHFS_SIM_SHOW") != NULL)
        fprintf(stderr, "%.6f region %u: %s = %s\n", (double)loop_now(region->cluster->loop) * 1e-9,
                region->number, what, status_name(got));
    if (is_powerless(region))
        return true;
    /* A loop that makes the path longer may make it too long first. */
    if (wanted == -ELOOP && got == -ENAMETOOLONG)
        return true;
    /* Forty links in a slow network take longer than it takes others to rename a directory, which makes the
     * walk begin again. */
    if (wanted == -ELOOP && got == -ETIMEDOUT && region->cluster->weather.delay_max_ns > 50 * MILLISECOND)
        return true;
    if (got != wanted)
        wrong(region, "%s: %s, expected %s", what, status_name(got), status_name(wanted));
    return got == wanted;
}

static void before(struct region *region)
{
    region->model.before = loop_realtime(region->cluster->loop);
}

static void after(struct region *region)
{
    region->model.now = loop_realtime(region->cluster->loop);
}

static void same_bytes(struct region *region, const char *what, size_t length)
{
    if (is_powerless(region))
        return;
    sim_trace(region->cluster->network, region->bytes, length);
    for (size_t i = 0; i < length; i++) {
        if (region->bytes[i] != region->expected[i]) {
            wrong(region, "%s: byte %zu of %zu is %02x, expected %02x", what, i, length, region->bytes[i],
                  region->expected[i]);
            return;
        }
    }
}

/* What the other model has at that path, if it is of the same type. */
static struct node *mixed_node(struct region *region, const char *path)
{
    struct node *node, *other;
    if (region->mixed == NULL || model_find(region->mixed, region->mixed->root, path, false, &other) != 0 ||
        model_find(&region->model, region->model.root, path, false, &node) != 0 ||
        (node->mode & S_IFMT) != (other->mode & S_IFMT))
        return NULL;
    return other;
}

static void same_attributes(struct region *region, struct node *node, const struct attributes *attributes,
                            const char *path)
{
    if (attributes->inode == 0 || (node->inode != 0 && node->inode != attributes->inode)) {
        wrong(region, "%s: inode %llx, expected %llx", path, (unsigned long long)attributes->inode,
              (unsigned long long)node->inode);
        return;
    }
    node->inode = attributes->inode;
    if (node == region->model.root)
        return; /* others change it */
    if (attributes->mode != node->mode)
        wrong(region, "%s: mode %o, expected %o", path, attributes->mode, node->mode);
    const struct node *other = mixed_node(region, path);
    uint64_t least = node->size, most = node->size;
    int64_t earliest = node->modify_min, latest = node->modify_max;
    if (other != NULL) {
        least = other->size < least ? other->size : least;
        most = other->size > most ? other->size : most;
        earliest = other->modify_min < earliest ? other->modify_min : earliest;
        latest = other->modify_max > latest ? other->modify_max : latest;
        int64_t now = loop_realtime(region->cluster->loop);
        if (other->modify_max != node->modify_max && latest < now)
            latest = now; /* perhaps it was finished after a restart */
    }
    if (!S_ISDIR(node->mode) && (attributes->size < least || attributes->size > most))
        wrong(region, "%s: size %llu, expected %llu", path, (unsigned long long)attributes->size,
              (unsigned long long)node->size);
    if (attributes->links != node_links(&region->model, node))
        wrong(region, "%s: %u links, expected %u", path, attributes->links, node_links(&region->model, node));
    if (attributes->modify_time < earliest || attributes->modify_time > latest)
        wrong(region, "%s: modify time %lld, expected %lld to %lld", path, (long long)attributes->modify_time,
              (long long)node->modify_min, (long long)node->modify_max);
}

/* ---- choosing ---- */

static void append_name(struct region *region, char *path, const char *name)
{
    size_t length = strlen(path);
    if (length + 1 + strlen(name) >= sizeof region->path)
        return;
    if (length > 0 && path[length - 1] != '/')
        path[length++] = '/';
    strcpy(path + length, name);
}

static void random_name(struct region *region, char *name)
{
    uint32_t kind = below(region, 400);
    if (kind == 0)
        snprintf(name, 260, "%0256u", region->number); /* too long */
    else if (kind < 4)
        snprintf(name, 260, "%0255u", region->number);
    else
        snprintf(name, 260, "%c%u", 'a' + (char)below(region, 6), region->number);
}

static struct node *random_child(struct region *region, const struct node *directory)
{
    uint32_t count = 0;
    list_for_each (link, &directory->children)
        count++;
    if (count == 0)
        return NULL;
    uint32_t chosen = below(region, count);
    list_for_each (link, &directory->children) {
        if (chosen-- == 0)
            return container_of(link, struct node, link);
    }
    return NULL;
}

/* A path that mostly exists; fresh: mostly with a last component that may not. Returns where it starts. */
static struct node *random_path(struct region *region, char *path, bool fresh)
{
    struct node *here = region->model.root;
    struct node *from = here;
    strcpy(path, "/");
    if (one_in(region, 4)) {
        struct node *top = random_child(region, here);
        struct node *inner = top != NULL ? random_child(region, top) : NULL;
        for (struct node *node = one_in(region, 2) ? top : inner; node != NULL; node = NULL) {
            if (!S_ISDIR(node->mode) || node->inode == 0)
                continue;
            from = here = node;
            path[0] = '\0';
        }
    }
    for (unsigned depth = 0;; depth++) {
        char name[260];
        struct node *child = random_child(region, here);
        uint32_t kind = below(region, 100);
        /* Nearly everything happens below the region's own directory. */
        bool entering = here == region->model.root && depth == 0;
        bool stop = depth > 0 && (depth > 4 || below(region, 100) < 45);
        if (!entering && kind < 3)
            strcpy(name, "..");
        else if (!entering && kind < 5)
            strcpy(name, ".");
        else if (child != NULL && !(fresh && stop && kind < 70) && (entering || kind < 85))
            strcpy(name, child->name);
        else
            random_name(region, name);
        append_name(region, path, name);
        if (stop)
            return from;
        struct node *next = strcmp(name, "..") == 0  ? here->parent
                            : strcmp(name, ".") == 0 ? here
                                                     : node_child(here, name);
        if (next == NULL || !S_ISDIR(next->mode)) {
            if (depth > 0 && below(region, 100) < 80)
                return from;
        } else {
            here = next;
        }
    }
}

static uint64_t start_of(const struct node *from, const struct region *region)
{
    return from == region->model.root ? INODE_ROOT : from->inode;
}

static uint32_t random_length(struct region *region)
{
    uint32_t kind = below(region, 100);
    if (kind < 40)
        return 1 + below(region, 200);
    if (kind < 60)
        return 1 + below(region, 4096);
    if (kind < 72)
        return 4093 + below(region, 7);
    if (kind < 92)
        return 1 + below(region, 70000);
    return 1 + below(region, 200000);
}

static uint64_t random_offset(struct region *region, const struct node *node)
{
    uint32_t kind = below(region, 100);
    uint64_t offset = 0;
    if (kind < 30)
        offset = 0;
    else if (kind < 55)
        offset = node->size;
    else if (kind < 75)
        offset = random_below(region->random, node->size + 5000);
    else if (kind < 85)
        offset = 4090 + below(region, 10);
    else if (kind < 95)
        offset = (below(region, 5) << CHUNK_SHIFT_MIN) + 65530 + below(region, 12);
    else
        offset = below(region, OFFSET_MAX);
    return offset < OFFSET_MAX ? offset : OFFSET_MAX;
}

static void random_bytes(struct region *region, size_t length)
{
    for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
        uint64_t word = random_next(region->random);
        memcpy(region->bytes + i, &word, sizeof word);
    }
}

#define VECTOR_MAX 12u

/* The region's bytes [0, length) as a vector: one range or several. Returns how many. */
static uint32_t random_vector(struct region *region, struct iovec *vector, size_t length)
{
    uint32_t count = one_in(region, 2) ? 1 : 1 + below(region, VECTOR_MAX);
    uint8_t *at = region->bytes;
    for (uint32_t i = 0; i < count; i++) {
        size_t part = i == count - 1 ? length : (size_t)random_below(region->random, length + 1) / 2;
        vector[i] = (struct iovec){at, part};
        at += part;
        length -= part;
    }
    return count;
}

/* An open file, or NULL when the slot drawn holds none. */
static struct open_file *random_file(struct region *region)
{
    struct open_file *open_file = &region->files[below(region, REGION_FILES)];
    return open_file->node != NULL ? open_file : NULL;
}

/* ---- operations on open files ---- */

static void do_close(struct region *region, struct open_file *open_file)
{
    client_close(region->client, &open_file->file);
    node_release(open_file->node);
    open_file->node = NULL;
}

static void do_open(struct region *region)
{
    static const int accesses[] = {O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
    struct client_file file;
    struct node *node = NULL;
    int flags = accesses[below(region, 5)];
    mode_t mode = (mode_t)below(region, 01000);
    bool fresh = one_in(region, 2);
    if (fresh)
        flags |= O_CREAT | (one_in(region, 3) ? O_EXCL : 0);
    if (one_in(region, 8))
        flags |= O_TRUNC;
    if (one_in(region, 10))
        flags |= O_NOFOLLOW;
    if (one_in(region, 12) && !(flags & O_CREAT))
        flags |= O_DIRECTORY;
    struct node *from = random_path(region, region->path, fresh);
    before(region);
    int status = client_open(region->client, start_of(from, region), region->path, flags, mode, &file);
    after(region);
    int wanted = model_open(&region->model, from, region->path, flags, mode, &node);
    if (!same(region, status, wanted, "open %s flags %o", region->path, (unsigned)flags) || status != 0)
        return;
    struct attributes attributes = {.inode = file.inode};
    if (node->inode != 0 && node->inode != attributes.inode)
        wrong(region, "open %s: inode %llx, expected %llx", region->path,
              (unsigned long long)attributes.inode, (unsigned long long)node->inode);
    node->inode = attributes.inode;
    if (!S_ISREG(node->mode)) {
        client_close(region->client, &file);
        return;
    }
    struct open_file *open_file = &region->files[below(region, REGION_FILES)];
    if (open_file->node != NULL)
        do_close(region, open_file);
    open_file->node = node_hold(node);
    open_file->file = file;
}

static void do_read(struct region *region, struct open_file *open_file)
{
    struct node *node = open_file->node;
    uint64_t offset = random_offset(region, node);
    size_t length = random_length(region);
    struct iovec vector[VECTOR_MAX];
    uint32_t count = random_vector(region, vector, length);
    memset(region->bytes, 0xee, length);
    ssize_t got = client_read_vector(region->client, &open_file->file, vector, count, length, offset);
    bool linked = node_linked(&region->model, node);
    ssize_t wanted = (ssize_t)model_read(node, region->expected, length, offset);
    if (same(region, got, wanted, "read %llx%s %zu at %llu", (unsigned long long)node->inode,
             linked ? "" : " (unlinked)", length, (unsigned long long)offset) &&
        got > 0)
        same_bytes(region, "read", (size_t)got);
}

/* A write that the stores had no room for, or only for its first `written` bytes: those are there, what lies
 * beyond is as it was, in the file's size too. Only where bytes existed before, behind the first that did not
 * fit, each is the old or the new one. */
static void check_cut_short(struct region *region, struct open_file *open_file, size_t length,
                            uint64_t offset, size_t written)
{
    struct node *node = open_file->node;
    struct attributes attributes;
    uint8_t *new = malloc(length);
    if (new == NULL)
        return;
    memcpy(new, region->bytes, length);
    if (written > 0)
        model_write(&region->model, node, new, written, offset);
    int status = client_attributes(region->client, open_file->file.inode, &attributes);
    if (status != 0 || attributes.size != node->size)
        wrong(region, "a write of %zu at %llu ended after %zu: size %llu (%s), expected %llu", length,
              (unsigned long long)offset, written, (unsigned long long)attributes.size, status_name(status),
              (unsigned long long)node->size);
    for (uint64_t at = 0; at < node->size && !region->cluster->failed; at += BYTES_MAX) {
        ssize_t wanted = (ssize_t)model_read(node, region->expected, BYTES_MAX, at);
        ssize_t got = client_read(region->client, &open_file->file, region->bytes, BYTES_MAX, at);
        if (!same(region, got, wanted, "read after a write cut short"))
            break;
        for (uint64_t i = at; i < at + (uint64_t)got; i++) {
            if (i >= offset + written && i < offset + length && region->bytes[i - at] == new[i - offset])
                node->bytes[i] = region->expected[i - at] = new[i - offset];
        }
        same_bytes(region, "read after a write cut short", (size_t)got);
    }
    /* The times may be those of an attempt, or as they were. */
    if (node->modify_min > region->model.before)
        node->modify_min = region->model.before;
    if (node->modify_max < region->model.now)
        node->modify_max = region->model.now;
    free(new);
}

static void do_write(struct region *region, struct open_file *open_file, bool append)
{
    struct node *node = open_file->node;
    uint64_t offset = append ? node->size : random_offset(region, node);
    uint64_t placed = offset;
    size_t length = random_length(region);
    if (append && node->size > OFFSET_MAX)
        return;
    bool linked = node_linked(&region->model, node);
    struct iovec vector[VECTOR_MAX];
    uint32_t count = random_vector(region, vector, length);
    random_bytes(region, length);
    before(region);
    ssize_t got = append
                      ? client_append_vector(region->client, &open_file->file, vector, count, length, &placed)
                      : client_write_vector(region->client, &open_file->file, vector, count, length, offset);
    after(region);
    bool cut_short = region->tight && (got == -ENOSPC || (got > 0 && got < (ssize_t)length));
    ssize_t wanted = (ssize_t)length;
    if (cut_short || (region->tight && got == -ENOSPC))
        wanted = got;
    if (!same(region, got, wanted, "%s %llx%s %zu at %llu (size %llu)", append ? "append" : "write",
              (unsigned long long)node->inode, linked ? "" : " (unlinked)", length,
              (unsigned long long)offset, (unsigned long long)node->size))
        return;
    if (placed != offset && got > 0)
        wrong(region, "append went to %llu, expected %llu", (unsigned long long)placed,
              (unsigned long long)offset);
    else if (cut_short)
        check_cut_short(region, open_file, length, offset, got > 0 ? (size_t)got : 0);
    else
        model_write(&region->model, node, region->bytes, length, offset);
}

static uint64_t random_size(struct region *region, const struct node *node)
{
    return one_in(region, 4)                     ? 0
           : one_in(region, 2) && node->size > 0 ? random_below(region->random, node->size)
                                                 : random_offset(region, node);
}

static void do_truncate_file(struct region *region, struct open_file *open_file)
{
    struct node *node = open_file->node;
    uint64_t size = random_size(region, node);
    before(region);
    int status = one_in(region, 4) ? client_truncate_inode(region->client, open_file->file.inode, size)
                                   : client_truncate_file(region->client, &open_file->file, size);
    after(region);
    int wanted = region->tight && status == -ENOSPC ? status : 0;
    if (same(region, status, wanted, "ftruncate %llx from %llu to %llu", (unsigned long long)node->inode,
             (unsigned long long)node->size, (unsigned long long)size) &&
        wanted == 0)
        model_truncate(&region->model, node, size);
}

static void do_allocate(struct region *region, struct open_file *open_file)
{
    static const char *const names[] = {"reserve", "punch", "zero"};
    struct node *node = open_file->node;
    uint64_t offset = random_offset(region, node), length = random_length(region);
    uint8_t kind = (uint8_t)below(region, region->tight ? 2 : 3);
    bool keep = kind == ALLOCATE_PUNCH || one_in(region, 2);
    before(region);
    int status = client_allocate(region->client, &open_file->file, kind, keep, offset, length);
    after(region);
    int wanted = region->tight && status == -ENOSPC ? status : 0;
    if (same(region, status, wanted, "%s%s %llx at %llu for %llu (size %llu)", names[kind],
             keep ? " (size kept)" : "", (unsigned long long)node->inode, (unsigned long long)offset,
             (unsigned long long)length, (unsigned long long)node->size) &&
        wanted == 0)
        model_allocate(&region->model, node, offset, length, kind != ALLOCATE_RESERVE, keep);
}

/* From one data to the next hole and so on: what lies between a hole and the next data is zero. */
static void do_seek(struct region *region, struct open_file *open_file)
{
    struct node *node = open_file->node;
    uint64_t at = random_offset(region, node);
    for (bool hole = one_in(region, 2); at < node->size; hole = !hole) {
        uint64_t next = 0;
        int status = client_seek(region->client, &open_file->file, at, hole, &next);
        if (!same(region, status, status == -ENXIO && !hole ? status : 0, "seek %s in %llx at %llu",
                  hole ? "hole" : "data", (unsigned long long)node->inode, (unsigned long long)at))
            return;
        if (status != 0)
            next = node->size;
        if (next < at || next > node->size)
            wrong(region, "found %s at %llu from %llu of %llu", hole ? "a hole" : "data",
                  (unsigned long long)next, (unsigned long long)at, (unsigned long long)node->size);
        for (uint64_t i = at; !hole && i < next && i < node->size; i++) {
            if (node->bytes[i] != 0) {
                wrong(region, "byte %llu is data, but the next data is said to be at %llu",
                      (unsigned long long)i, (unsigned long long)next);
                return;
            }
        }
        at = next;
        if (status != 0)
            return;
    }
}

/* Copies a range of one open file into another, or within one. */
static void do_copy(struct region *region, struct open_file *from)
{
    struct open_file *to = random_file(region);
    if (to == NULL || region->tight || !node_linked(&region->model, from->node) ||
        !node_linked(&region->model, to->node))
        return;
    uint64_t source = random_offset(region, from->node), target = random_offset(region, to->node);
    uint64_t length = random_length(region);
    uint64_t there = from->node->size > source ? from->node->size - source : 0;
    uint64_t wanted = there < length ? there : length;
    before(region);
    ssize_t got = client_copy(region->client, &from->file, source, &to->file, target, length);
    after(region);
    bool meet = from->node == to->node && source < target + wanted && target < source + wanted;
    if (!same(region, got, wanted > 0 && meet ? -EINVAL : (int64_t)wanted,
              "copy %llx at %llu to %llx at %llu, %llu", (unsigned long long)from->node->inode,
              (unsigned long long)source, (unsigned long long)to->node->inode, (unsigned long long)target,
              (unsigned long long)length) ||
        wanted == 0 || meet)
        return;
    model_read(from->node, region->bytes, wanted, source);
    model_write(&region->model, to->node, region->bytes, wanted, target);
}

static void do_sync(struct region *region, struct open_file *open_file)
{
    int status = client_sync(region->client, &open_file->file);
    same(region, status, 0, "sync %llx", (unsigned long long)open_file->node->inode);
}

static void do_attributes(struct region *region, struct open_file *open_file)
{
    struct attributes attributes;
    int status = client_attributes(region->client, open_file->file.inode, &attributes);
    if (same(region, status, 0, "fstat %llx", (unsigned long long)open_file->file.inode))
        same_attributes(region, open_file->node, &attributes, "fstat");
}

/* ---- operations on paths ---- */

static void do_stat(struct region *region)
{
    struct attributes attributes;
    struct node *node;
    bool follow = one_in(region, 2);
    struct node *from = random_path(region, region->path, false);
    int status = client_stat(region->client, start_of(from, region), region->path, follow, &attributes);
    int wanted = model_find(&region->model, from, region->path, follow, &node);
    if (same(region, status, wanted, "%s %s", follow ? "stat" : "lstat", region->path) && status == 0)
        same_attributes(region, node, &attributes, region->path);
}

static void do_truncate(struct region *region)
{
    struct node *node = NULL;
    struct node *from = random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, true, &node);
    if (wanted == 0 && S_ISDIR(node->mode))
        wanted = -EISDIR;
    uint64_t size = wanted == 0 ? random_size(region, node) : 17;
    before(region);
    int status = client_truncate(region->client, start_of(from, region), region->path, size);
    after(region);
    if (region->tight && status == -ENOSPC && wanted == 0)
        wanted = status;
    if (same(region, status, wanted, "truncate %s to %llu", region->path, (unsigned long long)size) &&
        wanted == 0)
        model_truncate(&region->model, node, size);
}

static void do_mkdir(struct region *region)
{
    mode_t mode = (mode_t)below(region, 02000);
    struct node *from = random_path(region, region->path, true);
    before(region);
    int status = client_mkdir(region->client, start_of(from, region), region->path, mode);
    after(region);
    same(region, status, model_mkdir(&region->model, from, region->path, mode), "mkdir %s", region->path);
}

static void do_rmdir(struct region *region)
{
    struct node *from = random_path(region, region->path, false);
    before(region);
    int status = client_rmdir(region->client, start_of(from, region), region->path);
    after(region);
    same(region, status, model_rmdir(&region->model, from, region->path), "rmdir %s", region->path);
}

static void do_unlink(struct region *region)
{
    struct node *from = random_path(region, region->path, false);
    before(region);
    int status = client_unlink(region->client, start_of(from, region), region->path);
    after(region);
    same(region, status, model_unlink(&region->model, from, region->path), "unlink %s", region->path);
}

static void do_rename(struct region *region)
{
    bool replace = !one_in(region, 5);
    struct node *from = random_path(region, region->path, false);
    struct node *to = random_path(region, region->path2, true);
    before(region);
    int status = client_rename(region->client, start_of(from, region), region->path, start_of(to, region),
                               region->path2, replace ? 0 : RENAME_FLAG_NOREPLACE);
    after(region);
    int wanted = model_rename(&region->model, from, region->path, to, region->path2, replace);
    if (wanted < 0 && status == region->model.also)
        wanted = status;
    same(region, status, wanted, "rename %s to %s%s", region->path, region->path2,
         replace ? "" : " without replacing");
}

static void do_symlink(struct region *region)
{
    struct node *target = random_path(region, region->path2, one_in(region, 3));
    struct node *from = random_path(region, region->path, true);
    before(region);
    int status = client_symlink(region->client, region->path2, start_of(from, region), region->path);
    after(region);
    same(region, status, model_symlink(&region->model, region->path2, from, region->path), "symlink %s to %s",
         region->path, region->path2);
    (void)target;
}

static void do_readlink(struct region *region)
{
    struct node *node = NULL;
    struct node *from = random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, false, &node);
    if (wanted == 0)
        wanted = S_ISLNK(node->mode) ? (int)node->size : -EINVAL;
    ssize_t got = client_readlink(region->client, start_of(from, region), region->path, (char *)region->bytes,
                                  BYTES_MAX);
    if (same(region, got, wanted, "readlink %s", region->path) && got > 0) {
        memcpy(region->expected, node->target, (size_t)got);
        same_bytes(region, "readlink", (size_t)got);
    }
}

/* chmod and utimens */
static void do_set(struct region *region)
{
    struct node *node = NULL;
    bool follow = !one_in(region, 4);
    struct node *from = random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, follow, &node);
    if (node == region->model.root)
        return;
    struct set_attributes_request set = {
        .mode = (uint32_t)below(region, 02000),
        .modify_time = (int64_t)random_below(region->random, INT64_MAX),
        .access_time = (int64_t)random_below(region->random, INT64_MAX),
    };
    if (one_in(region, 2))
        set.fields |= SET_MODE;
    if (one_in(region, 2))
        set.fields |= SET_MODIFY_TIME | SET_ACCESS_TIME;
    else if (one_in(region, 3))
        set.fields |= SET_MODIFY_TIME_NOW;
    uint32_t fields = set.fields;
    if (wanted == 0 && S_ISLNK(node->mode) && (fields & SET_MODE))
        wanted = -EOPNOTSUPP;
    before(region);
    int status = client_set_attributes(region->client, start_of(from, region), region->path, follow, &set);
    after(region);
    if (!same(region, status, wanted, "set attributes of %s: fields %x, mode %o", region->path, fields,
              set.mode) ||
        wanted != 0)
        return;
    if (fields & SET_MODE)
        node->mode = (node->mode & S_IFMT) | set.mode;
    if (fields & SET_MODIFY_TIME)
        node->modify_min = node->modify_max = set.modify_time;
    if (fields & SET_MODIFY_TIME_NOW) {
        node->modify_min = region->model.before;
        node->modify_max = region->model.now;
    }
}

/* Compares one entry; returns its node. */
static struct node *same_entry(struct region *region, struct node *directory,
                               const struct client_entry *entry, bool complete)
{
    struct node *node = node_child(directory, entry->name);
    if (node == NULL) {
        wrong(region, "an entry \"%s\" is listed that does not exist", entry->name);
        return NULL;
    }
    uint32_t mask = complete ? ~0u : (uint32_t)S_IFMT;
    if ((entry->attributes.mode & mask) != (node->mode & mask))
        wrong(region, "entry \"%s\": mode %o, expected %o", entry->name, entry->attributes.mode, node->mode);
    if (node->inode != 0 && node->inode != entry->attributes.inode)
        wrong(region, "entry \"%s\": inode %llx, expected %llx", entry->name,
              (unsigned long long)entry->attributes.inode, (unsigned long long)node->inode);
    node->inode = entry->attributes.inode;
    if (complete && !S_ISDIR(node->mode) && entry->attributes.size != node->size && region->mixed == NULL)
        wrong(region, "entry \"%s\": size %llu, expected %llu", entry->name,
              (unsigned long long)entry->attributes.size, (unsigned long long)node->size);
    return node;
}

/* Lists a directory, now and then going on from a cursor with a new listing. */
static void list_directory(struct region *region, struct client *client, struct node *directory,
                           uint64_t inode, const char *path)
{
    struct client_listing *listing = NULL;
    struct client_entry entry;
    uint64_t last = 0;
    uint32_t count = 0;
    bool complete = one_in(region, 2);
    int status = client_list_open(client, inode, 0, complete, NULL, NULL, &listing);
    while (status == 0 && (status = client_list_next(listing, &entry)) == 1) {
        status = 0;
        if (directory == region->model.root) {
            char suffix[16];
            snprintf(suffix, sizeof suffix, "%u", region->number);
            if (!region->alone && strcmp(entry.name + strcspn(entry.name, "0123456789"), suffix) != 0)
                continue;
        }
        if (entry.hash <= last)
            wrong(region, "entry \"%s\" of %s is out of order", entry.name, path);
        last = entry.hash;
        sim_trace(region->cluster->network, entry.name, entry.name_length);
        if (same_entry(region, directory, &entry, complete) == NULL)
            break;
        count++;
        if (one_in(region, 8)) {
            client_list_close(listing);
            listing = NULL;
            status = client_list_open(client, inode, last + 1, complete, NULL, NULL, &listing);
        }
    }
    if (listing != NULL)
        client_list_close(listing);
    uint32_t wanted = 0;
    list_for_each (link, &directory->children)
        wanted++;
    if (same(region, status, 0, "list %s", path) && count != wanted)
        wrong(region, "%u entries of %s are listed, expected %u", count, path, wanted);
}

/* Sets, reads or removes an extended attribute. */
static void do_xattr(struct region *region)
{
    struct node *node = NULL;
    bool follow = one_in(region, 2);
    struct node *from = random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, follow, &node);
    struct client_place place = {start_of(from, region), region->path, follow};
    if (wanted == 0 && node == region->model.root)
        return;
    uint32_t kind = below(region, 4);
    bool link = wanted == 0 && S_ISLNK(node->mode);
    bool there = wanted == 0 && node->value_length != 0;
    if (kind < 2) {
        uint64_t value = random_next(region->random);
        uint32_t length = 1 + below(region, sizeof value);
        uint8_t flags = (uint8_t)(one_in(region, 3)   ? XATTR_SET_CREATE
                                  : one_in(region, 3) ? XATTR_SET_REPLACE
                                                      : 0);
        if (wanted == 0)
            wanted = link                                         ? -EPERM
                     : there && (flags & XATTR_SET_CREATE) != 0   ? -EEXIST
                     : !there && (flags & XATTR_SET_REPLACE) != 0 ? -ENODATA
                                                                  : 0;
        int status = client_setxattr(region->client, &place, "user.model", &value, length, flags);
        if (same(region, status, wanted, "setxattr %s flags %u", region->path, flags) && wanted == 0) {
            node->value = value & (UINT64_MAX >> (64 - 8 * length));
            node->value_length = length;
        }
    } else if (kind == 2) {
        if (wanted == 0)
            wanted = link ? -EPERM : there ? 0 : -ENODATA;
        int status = client_removexattr(region->client, &place, "user.model");
        if (same(region, status, wanted, "removexattr %s", region->path) && wanted == 0)
            node->value_length = 0;
    } else {
        uint64_t value = 0;
        ssize_t got = client_getxattr(region->client, &place, "user.model", &value, sizeof value);
        if (wanted == 0)
            wanted = there ? (int)node->value_length : -ENODATA;
        if (same(region, got, wanted, "getxattr %s", region->path) && got > 0 && value != node->value)
            wrong(region, "getxattr %s: %llx, expected %llx", region->path, (unsigned long long)value,
                  (unsigned long long)node->value);
    }
}

static void do_list(struct region *region)
{
    struct client_file file;
    struct node *node = NULL;
    struct node *from = random_path(region, region->path, false);
    int wanted = model_open(&region->model, from, region->path, O_RDONLY | O_DIRECTORY, 0, &node);
    int status =
        client_open(region->client, start_of(from, region), region->path, O_RDONLY | O_DIRECTORY, 0, &file);
    if (!same(region, status, wanted, "opendir %s", region->path) || status != 0)
        return;
    node->inode = file.inode;
    /* The region's own names in "/" all begin with a letter; long ones there are not told apart. */
    if (node != region->model.root)
        list_directory(region, region->client, node, file.inode, region->path);
    client_close(region->client, &file);
}

/* Long enough now and then that leases, fences and locks run out. */
static void do_sleep(struct region *region)
{
    uint64_t longest = one_in(region, 10) ? 40 * SECOND : 20 * MILLISECOND;
    task_sleep(region->cluster->loop, random_below(region->random, longest));
}

static void do_file(struct region *region)
{
    struct open_file *open_file = random_file(region);
    if (open_file == NULL)
        return;
    uint32_t kind = below(region, 122);
    if (kind < 38)
        do_write(region, open_file, false);
    else if (kind >= 115)
        do_copy(region, open_file);
    else if (kind >= 105)
        do_allocate(region, open_file);
    else if (kind >= 100)
        do_seek(region, open_file);
    else if (kind < 48)
        do_write(region, open_file, true);
    else if (kind < 76)
        do_read(region, open_file);
    else if (kind < 85)
        do_truncate_file(region, open_file);
    else if (kind < 92)
        do_attributes(region, open_file);
    else if (kind < 95)
        do_sync(region, open_file);
    else
        do_close(region, open_file);
}

/* ---- the whole ---- */

int region_create(struct region *region, struct worker *worker, uint32_t number)
{
    *region = (struct region){
        .worker = worker,
        .cluster = worker->cluster,
        .client = worker->client,
        .random = &worker->random,
        .number = number,
        .bytes = malloc(BYTES_MAX + 8),
        .expected = malloc(BYTES_MAX + 8),
    };
    if (region->bytes == NULL || region->expected == NULL)
        return -ENOMEM;
    return model_create(&region->model);
}

void region_destroy(struct region *region)
{
    for (uint32_t i = 0; i < REGION_FILES; i++)
        if (region->files[i].node != NULL)
            do_close(region, &region->files[i]);
    region_discard(region);
}

void region_discard(struct region *region)
{
    for (uint32_t i = 0; i < REGION_FILES; i++)
        if (region->files[i].node != NULL)
            node_release(region->files[i].node);
    model_destroy(&region->model);
    free(region->bytes);
    free(region->expected);
}

void region_step(struct region *region)
{
    static void (*const named[])(struct region * region) = {
        do_open,     do_open,  do_open,   do_open,     do_stat,   do_stat,   do_stat,   do_mkdir,
        do_mkdir,    do_rmdir, do_unlink, do_unlink,   do_rename, do_rename, do_rename, do_symlink,
        do_readlink, do_set,   do_set,    do_truncate, do_list,   do_list,   do_xattr,
    };
    if (one_in(region, 60))
        do_sleep(region);
    else if (one_in(region, 2))
        do_file(region);
    else
        named[below(region, sizeof named / sizeof *named)](region);
}

void region_begin(struct region *region)
{
    char path[32];
    snprintf(path, sizeof path, "/top%u", region->number);
    before(region);
    int status = client_mkdir(region->client, INODE_ROOT, path, 0755);
    after(region);
    same(region, status, model_mkdir(&region->model, region->model.root, path, 0755), "mkdir %s", path);
}

void region_work(struct region *region, uint32_t operations)
{
    region_begin(region);
    uint32_t end = region->operations + operations;
    while (region->operations < end && !region->cluster->failed)
        region_step(region);
}

/* As it is in one model or the other, byte by byte. */
static void read_mixed(struct region *region, struct client *client, struct client_file *file,
                       const struct node *node, const struct node *other, const char *path)
{
    uint64_t most = node->size > other->size ? node->size : other->size;
    for (uint64_t offset = 0; offset <= most && !region->cluster->failed; offset += BYTES_MAX) {
        ssize_t got = client_read(client, file, region->bytes, BYTES_MAX, offset);
        if (got < 0) {
            wrong(region, "read %s at %llu: %s", path, (unsigned long long)offset, status_name(got));
            return;
        }
        for (ssize_t i = 0; i < got; i++) {
            uint64_t at = offset + (uint64_t)i;
            uint8_t one = at < node->size ? node->bytes[at] : 0,
                    two = at < other->size ? other->bytes[at] : 0;
            if (region->bytes[i] != one && region->bytes[i] != two) {
                wrong(region, "%s: byte %llu is %02x, neither %02x nor %02x", path, (unsigned long long)at,
                      region->bytes[i], one, two);
                return;
            }
        }
    }
}

static void read_whole(struct region *region, struct client *client, struct node *node, const char *path)
{
    struct client_file file;
    int status = client_open(client, INODE_ROOT, path, O_RDONLY | O_NOFOLLOW, 0, &file);
    if (!same(region, status, 0, "open %s", path))
        return;
    const struct node *other = mixed_node(region, path);
    if (other != NULL) {
        read_mixed(region, client, &file, node, other, path);
        client_close(client, &file);
        return;
    }
    for (uint64_t offset = 0; offset <= node->size && !region->cluster->failed; offset += BYTES_MAX) {
        ssize_t wanted = (ssize_t)model_read(node, region->expected, BYTES_MAX, offset);
        ssize_t got = client_read(client, &file, region->bytes, BYTES_MAX, offset);
        if (same(region, got, wanted, "read %s at %llu", path, (unsigned long long)offset))
            same_bytes(region, path, (size_t)got);
    }
    client_close(client, &file);
}

static void verify_tree(struct region *region, struct client *client, struct node *node, char *path)
{
    struct attributes attributes;
    size_t length = strlen(path);
    if (region->cluster->failed)
        return;
    int status = client_stat(client, INODE_ROOT, path, false, &attributes);
    if (same(region, status, 0, "lstat %s", path))
        same_attributes(region, node, &attributes, path);
    struct client_place place = {INODE_ROOT, path, false};
    uint64_t value = 0;
    ssize_t got = client_getxattr(client, &place, "user.model", &value, sizeof value);
    int64_t wanted = node->value_length != 0 ? (int64_t)node->value_length : -ENODATA;
    if (same(region, got, wanted, "getxattr %s", path) && got > 0 && value != node->value)
        wrong(region, "getxattr %s: another value", path);
    if (S_ISREG(node->mode))
        read_whole(region, client, node, path);
    if (!S_ISDIR(node->mode) || region->cluster->failed)
        return;
    list_directory(region, client, node, attributes.inode, path);
    list_for_each (link, &node->children) {
        struct node *child = container_of(link, struct node, link);
        if (length + strlen(child->name) + 2 > PATH_LENGTH_MAX)
            continue;
        snprintf(path + length, PATH_LENGTH_MAX - length, "/%s", child->name);
        verify_tree(region, client, child, path);
        path[length] = '\0';
    }
}

void region_verify(struct region *region, struct client *client)
{
    char path[PATH_LENGTH_MAX];
    if (region->alone)
        list_directory(region, client, region->model.root, INODE_ROOT, "/");
    list_for_each (link, &region->model.root->children) {
        struct node *node = container_of(link, struct node, link);
        snprintf(path, sizeof path, "/%s", node->name);
        verify_tree(region, client, node, path);
    }
}

static void remove_tree(struct region *region, struct node *node, char *path)
{
    size_t length = strlen(path);
    while (!list_empty(&node->children) && !region->cluster->failed) {
        struct node *child = container_of(node->children.next, struct node, link);
        snprintf(path + length, PATH_LENGTH_MAX - length, "/%s", child->name);
        if (S_ISDIR(child->mode))
            remove_tree(region, child, path);
        before(region);
        int status = S_ISDIR(child->mode) ? client_rmdir(region->client, INODE_ROOT, path)
                                          : client_unlink(region->client, INODE_ROOT, path);
        after(region);
        int wanted = S_ISDIR(child->mode) ? model_rmdir(&region->model, region->model.root, path)
                                          : model_unlink(&region->model, region->model.root, path);
        same(region, status, wanted, "remove %s", path);
        path[length] = '\0';
    }
}

void region_remove(struct region *region)
{
    char path[PATH_LENGTH_MAX] = "";
    for (uint32_t i = 0; i < REGION_FILES; i++)
        if (region->files[i].node != NULL)
            do_close(region, &region->files[i]);
    remove_tree(region, region->model.root, path);
}
