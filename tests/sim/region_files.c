/* Operations on open files. An open file lives on when its name is gone, and works as before, with a link
 * count of 0. */
#include "region_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void region_close(struct region *region, struct open_file *open_file)
{
    client_close(region->client, &open_file->file);
    node_release(open_file->node);
    open_file->node = NULL;
}

void region_open(struct region *region)
{
    static const int accesses[] = {O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
    struct client_file file;
    struct node *node = NULL;
    int flags = accesses[region_below(region, 5)];
    mode_t mode = (mode_t)region_below(region, 01000);
    bool fresh = region_one_in(region, 2);
    if (fresh)
        flags |= O_CREAT | (region_one_in(region, 3) ? O_EXCL : 0);
    if (region_one_in(region, 8))
        flags |= O_TRUNC;
    if (region_one_in(region, 10))
        flags |= O_NOFOLLOW;
    if (region_one_in(region, 12) && !(flags & O_CREAT))
        flags |= O_DIRECTORY;
    struct node *from = region_random_path(region, region->path, fresh);
    region_before(region);
    int status = client_open(region->client, region_start(region, from), region->path, flags, mode, &file);
    region_after(region);
    int wanted = model_open(&region->model, from, region->path, flags, mode, &node);
    if (!region_same(region, status, wanted, "open %s flags %o", region->path, (unsigned)flags) ||
        status != 0)
        return;
    struct attributes attributes = {.inode = file.inode};
    if (node->inode != 0 && node->inode != attributes.inode)
        region_wrong(region, "open %s: inode %llx, expected %llx", region->path,
                     (unsigned long long)attributes.inode, (unsigned long long)node->inode);
    node->inode = attributes.inode;
    if (!S_ISREG(node->mode)) {
        client_close(region->client, &file);
        return;
    }
    struct open_file *open_file = &region->files[region_below(region, REGION_FILES)];
    if (open_file->node != NULL)
        region_close(region, open_file);
    open_file->node = node_hold(node);
    open_file->file = file;
}

static void do_read(struct region *region, struct open_file *open_file)
{
    struct node *node = open_file->node;
    uint64_t offset = region_random_offset(region, node);
    size_t length = region_random_length(region);
    struct iovec vector[VECTOR_MAX];
    uint32_t count = region_random_vector(region, vector, length);
    memset(region->bytes, 0xee, length);
    ssize_t got = client_read_vector(region->client, &open_file->file, vector, count, length, offset);
    bool linked = node_linked(&region->model, node);
    ssize_t wanted = (ssize_t)model_read(node, region->expected, length, offset);
    if (region_same(region, got, wanted, "read %llx%s %zu at %llu", (unsigned long long)node->inode,
                    linked ? "" : " (unlinked)", length, (unsigned long long)offset) &&
        got > 0)
        region_same_bytes(region, "read", (size_t)got);
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
        region_wrong(region, "a write of %zu at %llu ended after %zu: size %llu (%s), expected %llu", length,
                     (unsigned long long)offset, written, (unsigned long long)attributes.size,
                     region_status_name(status), (unsigned long long)node->size);
    for (uint64_t at = 0; at < node->size && !region->cluster->failed; at += BYTES_MAX) {
        ssize_t wanted = (ssize_t)model_read(node, region->expected, BYTES_MAX, at);
        ssize_t got = client_read(region->client, &open_file->file, region->bytes, BYTES_MAX, at);
        if (!region_same(region, got, wanted, "read after a write cut short"))
            break;
        for (uint64_t i = at; i < at + (uint64_t)got; i++) {
            if (i >= offset + written && i < offset + length && region->bytes[i - at] == new[i - offset])
                node->bytes[i] = region->expected[i - at] = new[i - offset];
        }
        region_same_bytes(region, "read after a write cut short", (size_t)got);
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
    uint64_t offset = append ? node->size : region_random_offset(region, node);
    uint64_t placed = offset;
    size_t length = region_random_length(region);
    if (append && node->size > OFFSET_MAX)
        return;
    bool linked = node_linked(&region->model, node);
    struct iovec vector[VECTOR_MAX];
    uint32_t count = region_random_vector(region, vector, length);
    region_random_bytes(region, length);
    region_before(region);
    ssize_t got = append
                      ? client_append_vector(region->client, &open_file->file, vector, count, length, &placed)
                      : client_write_vector(region->client, &open_file->file, vector, count, length, offset);
    region_after(region);
    bool cut_short = region->tight && (got == -ENOSPC || (got > 0 && got < (ssize_t)length));
    ssize_t wanted = (ssize_t)length;
    if (cut_short || (region->tight && got == -ENOSPC))
        wanted = got;
    if (!region_same(region, got, wanted, "%s %llx%s %zu at %llu (size %llu)", append ? "append" : "write",
                     (unsigned long long)node->inode, linked ? "" : " (unlinked)", length,
                     (unsigned long long)offset, (unsigned long long)node->size))
        return;
    if (placed != offset && got > 0)
        region_wrong(region, "append went to %llu, expected %llu", (unsigned long long)placed,
                     (unsigned long long)offset);
    else if (cut_short)
        check_cut_short(region, open_file, length, offset, got > 0 ? (size_t)got : 0);
    else
        model_write(&region->model, node, region->bytes, length, offset);
}

static void do_truncate_file(struct region *region, struct open_file *open_file)
{
    struct node *node = open_file->node;
    uint64_t size = region_random_size(region, node);
    region_before(region);
    int status = region_one_in(region, 4) ? client_truncate_inode(region->client, open_file->file.inode, size)
                                          : client_truncate_file(region->client, &open_file->file, size);
    region_after(region);
    int wanted = region->tight && status == -ENOSPC ? status : 0;
    if (region_same(region, status, wanted, "ftruncate %llx from %llu to %llu",
                    (unsigned long long)node->inode, (unsigned long long)node->size,
                    (unsigned long long)size) &&
        wanted == 0)
        model_truncate(&region->model, node, size);
}

static void do_allocate(struct region *region, struct open_file *open_file)
{
    static const char *const names[] = {"reserve", "punch", "zero"};
    struct node *node = open_file->node;
    uint64_t offset = region_random_offset(region, node), length = region_random_length(region);
    uint8_t kind = (uint8_t)region_below(region, region->tight ? 2 : 3);
    bool keep = kind == ALLOCATE_PUNCH || region_one_in(region, 2);
    region_before(region);
    int status = client_allocate(region->client, &open_file->file, kind, keep, offset, length);
    region_after(region);
    int wanted = region->tight && status == -ENOSPC ? status : 0;
    if (region_same(region, status, wanted, "%s%s %llx at %llu for %llu (size %llu)", names[kind],
                    keep ? " (size kept)" : "", (unsigned long long)node->inode, (unsigned long long)offset,
                    (unsigned long long)length, (unsigned long long)node->size) &&
        wanted == 0)
        model_allocate(&region->model, node, offset, length, kind != ALLOCATE_RESERVE, keep);
}

/* From one data to the next hole and so on: what lies between a hole and the next data is zero. */
static void do_seek(struct region *region, struct open_file *open_file)
{
    struct node *node = open_file->node;
    uint64_t at = region_random_offset(region, node);
    for (bool hole = region_one_in(region, 2); at < node->size; hole = !hole) {
        uint64_t next = 0;
        int status = client_seek(region->client, &open_file->file, at, hole, &next);
        if (!region_same(region, status, status == -ENXIO && !hole ? status : 0, "seek %s in %llx at %llu",
                         hole ? "hole" : "data", (unsigned long long)node->inode, (unsigned long long)at))
            return;
        if (status != 0)
            next = node->size;
        if (next < at || next > node->size)
            region_wrong(region, "found %s at %llu from %llu of %llu", hole ? "a hole" : "data",
                         (unsigned long long)next, (unsigned long long)at, (unsigned long long)node->size);
        for (uint64_t i = at; !hole && i < next && i < node->size; i++) {
            if (node->bytes[i] != 0) {
                region_wrong(region, "byte %llu is data, but the next data is said to be at %llu",
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
    struct open_file *to = region_random_file(region);
    if (to == NULL || region->tight || !node_linked(&region->model, from->node) ||
        !node_linked(&region->model, to->node))
        return;
    uint64_t source = region_random_offset(region, from->node),
             target = region_random_offset(region, to->node);
    uint64_t length = region_random_length(region);
    uint64_t there = from->node->size > source ? from->node->size - source : 0;
    uint64_t wanted = there < length ? there : length;
    region_before(region);
    ssize_t got = client_copy(region->client, &from->file, source, &to->file, target, length);
    region_after(region);
    bool meet = from->node == to->node && source < target + wanted && target < source + wanted;
    if (!region_same(region, got, wanted > 0 && meet ? -EINVAL : (int64_t)wanted,
                     "copy %llx at %llu to %llx at %llu, %llu", (unsigned long long)from->node->inode,
                     (unsigned long long)source, (unsigned long long)to->node->inode,
                     (unsigned long long)target, (unsigned long long)length) ||
        wanted == 0 || meet)
        return;
    model_read(from->node, region->bytes, wanted, source);
    model_write(&region->model, to->node, region->bytes, wanted, target);
}

static void do_sync(struct region *region, struct open_file *open_file)
{
    int status = client_sync(region->client, &open_file->file);
    region_same(region, status, 0, "sync %llx", (unsigned long long)open_file->node->inode);
}

static void do_attributes(struct region *region, struct open_file *open_file)
{
    struct attributes attributes;
    int status = client_attributes(region->client, open_file->file.inode, &attributes);
    if (region_same(region, status, 0, "fstat %llx", (unsigned long long)open_file->file.inode))
        region_same_attributes(region, open_file->node, &attributes, "fstat");
}

void region_file(struct region *region)
{
    struct open_file *open_file = region_random_file(region);
    if (open_file == NULL)
        return;
    uint32_t kind = region_below(region, 122);
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
        region_close(region, open_file);
}
