/* Random paths, names, offsets and bytes, such that they often meet what is there. */
#include "region_parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

uint32_t region_below(struct region *region, uint32_t bound)
{
    return (uint32_t)random_below(region->random, bound);
}

bool region_one_in(struct region *region, uint32_t bound)
{
    return region_below(region, bound) == 0;
}

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
    uint32_t kind = region_below(region, 400);
    if (kind == 0)
        snprintf(name, 260, "%0256u", region->number); /* too long */
    else if (kind < 4)
        snprintf(name, 260, "%0255u", region->number);
    else
        snprintf(name, 260, "%c%u", 'a' + (char)region_below(region, 6), region->number);
}

static const struct entry *random_entry(struct region *region, const struct node *directory)
{
    uint32_t count = 0;
    list_for_each (link, &directory->entries)
        count++;
    if (count == 0)
        return NULL;
    uint32_t chosen = region_below(region, count);
    list_for_each (link, &directory->entries) {
        if (chosen-- == 0)
            return container_of(link, struct entry, link);
    }
    return NULL;
}

static struct node *random_child(struct region *region, const struct node *directory)
{
    const struct entry *entry = random_entry(region, directory);
    return entry == NULL ? NULL : entry->node;
}

/* A path that mostly exists; fresh: mostly with a last component that may not. Returns where it starts. */
struct node *region_random_path(struct region *region, char *path, bool fresh)
{
    struct node *here = region->model.root;
    struct node *from = here;
    strcpy(path, "/");
    if (region_one_in(region, 4)) {
        struct node *top = random_child(region, here);
        struct node *inner = top != NULL ? random_child(region, top) : NULL;
        for (struct node *node = region_one_in(region, 2) ? top : inner; node != NULL; node = NULL) {
            if (!S_ISDIR(node->mode) || node->inode == 0)
                continue;
            from = here = node;
            path[0] = '\0';
        }
    }
    for (unsigned depth = 0;; depth++) {
        char name[260];
        const struct entry *entry = random_entry(region, here);
        uint32_t kind = region_below(region, 100);
        /* Nearly everything happens below the region's own directory. */
        bool entering = here == region->model.root && depth == 0;
        bool stop = depth > 0 && (depth > 4 || region_below(region, 100) < 45);
        if (!entering && kind < 3)
            strcpy(name, "..");
        else if (!entering && kind < 5)
            strcpy(name, ".");
        else if (entry != NULL && !(fresh && stop && kind < 70) && (entering || kind < 85))
            strcpy(name, entry->name);
        else
            random_name(region, name);
        append_name(region, path, name);
        if (stop)
            return from;
        struct node *next = strcmp(name, "..") == 0  ? here->parent
                            : strcmp(name, ".") == 0 ? here
                                                     : node_child(here, name);
        if (next == NULL || !S_ISDIR(next->mode)) {
            if (depth > 0 && region_below(region, 100) < 80)
                return from;
        } else {
            here = next;
        }
    }
}

uint64_t region_start(const struct region *region, const struct node *from)
{
    return from == region->model.root ? INODE_ROOT : from->inode;
}

uint32_t region_random_length(struct region *region)
{
    uint32_t kind = region_below(region, 100);
    if (kind < 40)
        return 1 + region_below(region, 200);
    if (kind < 60)
        return 1 + region_below(region, 4096);
    if (kind < 72)
        return 4093 + region_below(region, 7);
    if (kind < 92)
        return 1 + region_below(region, 70000);
    return 1 + region_below(region, 200000);
}

uint64_t region_random_offset(struct region *region, const struct node *node)
{
    uint32_t kind = region_below(region, 100);
    uint64_t offset = 0;
    if (kind < 30)
        offset = 0;
    else if (kind < 55)
        offset = node->size;
    else if (kind < 75)
        offset = random_below(region->random, node->size + 5000);
    else if (kind < 85)
        offset = 4090 + region_below(region, 10);
    else if (kind < 95)
        offset = (region_below(region, 5) << CHUNK_SHIFT_MIN) + 65530 + region_below(region, 12);
    else
        offset = region_below(region, OFFSET_MAX);
    return offset < OFFSET_MAX ? offset : OFFSET_MAX;
}

uint64_t region_random_size(struct region *region, const struct node *node)
{
    return region_one_in(region, 4)                     ? 0
           : region_one_in(region, 2) && node->size > 0 ? random_below(region->random, node->size)
                                                        : region_random_offset(region, node);
}

void region_random_bytes(struct region *region, size_t length)
{
    for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
        uint64_t word = random_next(region->random);
        memcpy(region->bytes + i, &word, sizeof word);
    }
}

/* The region's bytes [0, length) as a vector: one range or several. Returns how many. */
uint32_t region_random_vector(struct region *region, struct iovec *vector, size_t length)
{
    uint32_t count = region_one_in(region, 2) ? 1 : 1 + region_below(region, VECTOR_MAX);
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
struct open_file *region_random_file(struct region *region)
{
    struct open_file *open_file = &region->files[region_below(region, REGION_FILES)];
    return open_file->node != NULL ? open_file : NULL;
}
