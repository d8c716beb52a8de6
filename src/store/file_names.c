/* Paths, open files and directories of the file engine.
 *
 * chunks/<fan-out>/<inode>/<index>: 256 directories, two hexadecimal digits of a hash, so that none grows
 * beyond measure; inode and index in decimal, as ls -i shows them. Directories are made when a file is to be
 * made and they are missing, and removed with their last file. Which of them have new names is remembered
 * until flush has synchronised them.
 *
 * Files stay open after use, the least recently used being closed when there are too many. One whose name is
 * gone belongs to no chunk any more: its last user closes it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "store/file_state.h"

#define OPEN_MAX 1000u

static unsigned fan_of(uint64_t inode)
{
    return (unsigned)hash_mix(inode) & 0xff;
}

static void fan_path(char *path, unsigned fan)
{
    snprintf(path, DISK_NAME_MAX, "chunks/%02x", fan);
}

static void directory_path(char *path, uint64_t inode)
{
    snprintf(path, DISK_NAME_MAX, "chunks/%02x/%" PRIu64, fan_of(inode), inode);
}

static void chunk_path(char *path, uint64_t inode, uint64_t index)
{
    snprintf(path, DISK_NAME_MAX, "chunks/%02x/%" PRIu64 "/%" PRIu64, fan_of(inode), inode, index);
}

/* ---- open files ---- */

static void really_close(struct file_store *store, struct open_file *open)
{
    list_remove(&open->link);
    store->open_count--;
    if (open->chunk != NULL)
        open->chunk->open = NULL;
    disk_file_close(open->file);
    free(open);
}

static void close_unused(struct file_store *store)
{
    list_for_each_safe (node, &store->open_files) {
        if (store->open_count < OPEN_MAX)
            return;
        struct open_file *open = container_of(node, struct open_file, link);
        if (open->users == 0)
            really_close(store, open);
    }
}

void file_close(struct file_store *store, struct open_file *open)
{
    if (--open->users == 0 && open->chunk == NULL)
        really_close(store, open);
}

void file_forget(struct file_store *store, struct file_chunk *chunk)
{
    struct open_file *open = chunk->open;
    if (open == NULL)
        return;
    chunk->open = NULL;
    open->chunk = NULL;
    if (open->users == 0)
        really_close(store, open);
}

void file_close_all(struct file_store *store)
{
    list_for_each_safe (node, &store->open_files)
        really_close(store, container_of(node, struct open_file, link));
}

/* ---- making files ---- */

static int make_directory(struct file_store *store, uint64_t inode)
{
    char path[DISK_NAME_MAX + 1];
    unsigned fan = fan_of(inode);
    directory_path(path, inode);
    int status = disk_make_directory(store->disk, path);
    if (status == -ENOENT) {
        fan_path(path, fan);
        status = disk_make_directory(store->disk, path);
        if (status == 0)
            store->fresh_root = true;
        directory_path(path, inode);
        if (status == 0 || status == -EEXIST)
            status = disk_make_directory(store->disk, path);
    }
    if (status == 0)
        store->fresh_fans[fan / 32] |= UINT32_C(1) << fan % 32;
    return status == -EEXIST ? 0 : status;
}

/* What is there from before the start need not last: a server that was killed may have made it. */
static void distrust(struct file_store *store, unsigned fan)
{
    store->fresh_fans[fan / 32] |= (UINT32_C(1) << fan % 32) & ~store->synced_fans[fan / 32];
}

/* There is no file of this name that anything durable speaks of: what there is was left by a crash. */
static int make_file(struct file_store *store, struct file_chunk *chunk, const char *path,
                     struct disk_file **file)
{
    uint64_t inode = chunk->entry.node.inode;
    int status = map_put(&store->fresh_directories, inode, store);
    if (status != 0)
        return status;
    distrust(store, fan_of(inode));
    unsigned flags = DISK_CREATE | DISK_EXCLUSIVE;
    status = disk_file_open(store->disk, path, flags, file);
    if (status == -ENOENT) {
        status = make_directory(store, inode);
        if (status == 0)
            status = disk_file_open(store->disk, path, flags, file);
    }
    if (status == -EEXIST) {
        status = disk_file_open(store->disk, path, DISK_CREATE, file);
        if (status == 0 && (status = disk_file_truncate(*file, 0)) != 0)
            disk_file_close(*file);
    }
    return status;
}

static int open_file(struct file_store *store, struct file_chunk *chunk, bool make, struct disk_file **file)
{
    char path[DISK_NAME_MAX + 1];
    chunk_path(path, chunk->entry.node.inode, chunk->entry.node.index);
    int status = -ENOENT;
    if (chunk->has_file)
        status = disk_file_open(store->disk, path, 0, file);
    if (status != -ENOENT || !make)
        return status;
    status = make_file(store, chunk, path, file);
    if (status == 0)
        chunk->has_file = chunk->exact = true;
    else
        log_error("engine file: cannot make \"%s/%s\": %s", disk_path(store->disk), path,
                  status_text(status));
    return status;
}

int file_open(struct file_store *store, struct file_chunk *chunk, bool make, struct open_file **result)
{
    struct open_file *open = chunk->open;
    if (open == NULL) {
        close_unused(store);
        open = calloc(1, sizeof(*open));
        if (open == NULL)
            return -ENOMEM;
        int status = open_file(store, chunk, make, &open->file);
        if (status != 0) {
            free(open);
            return status;
        }
        open->chunk = chunk;
        chunk->open = open;
        store->open_count++;
    } else {
        list_remove(&open->link);
    }
    list_push_back(&store->open_files, &open->link);
    open->users++;
    *result = open;
    return 0;
}

/* ---- removing ---- */

int file_unlink(struct file_store *store, struct file_chunk *chunk)
{
    char path[DISK_NAME_MAX + 1];
    uint64_t inode = chunk->entry.node.inode;
    chunk_path(path, inode, chunk->entry.node.index);
    int status = disk_unlink(store->disk, path);
    if (status != 0 && status != -ENOENT) {
        log_error("engine file: cannot remove \"%s/%s\": %s", disk_path(store->disk), path,
                  status_text(status));
        return status;
    }
    file_forget(store, chunk);
    chunk->doomed = chunk->has_file = false;
    chunk->epoch = 0;
    const struct chunk_file *others = chunk_index_file(&store->index, inode);
    if (others == NULL || others->count == 1) {
        directory_path(path, inode);
        disk_unlink(store->disk, path); /* it may well hold something */
    }
    return 0;
}

/* ---- names that last ---- */

static int sync_directory(struct file_store *store, const char *path)
{
    int status = disk_sync_names(store->disk, path);
    return status == -ENOENT ? 0 : status; /* it is gone, and its files with it */
}

static int sync_inodes(struct file_store *store, const struct map *inodes)
{
    size_t cursor = 0;
    uint64_t inode;
    while (map_next(inodes, &cursor, &inode) != NULL) {
        char path[DISK_NAME_MAX + 1];
        directory_path(path, inode);
        int status = sync_directory(store, path);
        if (status != 0)
            return status;
    }
    return 0;
}

int file_sync_names(struct file_store *store)
{
    /* What comes meanwhile is for the next time. */
    struct map inodes = store->fresh_directories;
    uint32_t fans[8];
    memcpy(fans, store->fresh_fans, sizeof(fans));
    bool root = store->fresh_root, base = store->fresh_base;
    map_init(&store->fresh_directories);
    memset(store->fresh_fans, 0, sizeof(store->fresh_fans));
    store->fresh_root = store->fresh_base = false;

    int status = base ? disk_sync_names(store->disk, "") : 0;
    if (status == 0 && root)
        status = disk_sync_names(store->disk, "chunks");
    for (unsigned fan = 0; fan < 256 && status == 0; fan++) {
        char path[DISK_NAME_MAX + 1];
        fan_path(path, fan);
        if ((fans[fan / 32] & UINT32_C(1) << fan % 32) != 0)
            status = sync_directory(store, path);
    }
    for (unsigned i = 0; i < 8 && status == 0; i++)
        store->synced_fans[i] |= fans[i];
    if (status == 0)
        status = sync_inodes(store, &inodes);
    map_free(&inodes);
    return status;
}

/* ---- strays ---- */

/* Numbers that name the entries of a directory. */
struct numbers {
    uint64_t *items;
    size_t count;
    size_t capacity;
    unsigned base;
    bool directories;
};

/* Names that are not made here are left alone. */
static int take_number(void *owner, const char *name, bool is_directory)
{
    struct numbers *numbers = owner;
    char *end;
    if (is_directory != numbers->directories || name[0] < '0' || name[0] > 'f')
        return 0;
    errno = 0;
    uint64_t number = strtoull(name, &end, (int)numbers->base);
    if (*end != 0 || errno != 0)
        return 0;
    if (numbers->count == numbers->capacity) {
        size_t capacity = numbers->capacity == 0 ? 64 : numbers->capacity * 2;
        uint64_t *items = realloc(numbers->items, capacity * sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        numbers->items = items;
        numbers->capacity = capacity;
    }
    numbers->items[numbers->count++] = number;
    return 0;
}

static int list_numbers(struct file_store *store, const char *path, unsigned base, bool directories,
                        struct numbers *numbers)
{
    *numbers = (struct numbers){.base = base, .directories = directories};
    int status = disk_list(store->disk, path, take_number, numbers);
    if (status != 0 && status != -ENOENT)
        log_warning("engine file: cannot look through \"%s/%s\" for files that nothing names: %s",
                    disk_path(store->disk), path, status_text(status));
    return status;
}

static uint64_t remove_inode_strays(struct file_store *store, uint64_t inode)
{
    char path[DISK_NAME_MAX + 1];
    struct numbers indices;
    uint64_t removed = 0;
    directory_path(path, inode);
    int status = list_numbers(store, path, 10, false, &indices);
    for (size_t i = 0; i < indices.count && status == 0; i++) {
        const struct file_chunk *chunk = file_chunk_find(store, inode, indices.items[i]);
        if (chunk != NULL && chunk->has_file)
            continue;
        chunk_path(path, inode, indices.items[i]);
        removed += disk_unlink(store->disk, path) == 0;
    }
    free(indices.items);
    if (chunk_index_file(&store->index, inode) == NULL) {
        directory_path(path, inode);
        disk_unlink(store->disk, path);
    }
    return removed;
}

void file_remove_strays(struct file_store *store)
{
    struct numbers fans;
    uint64_t removed = 0;
    int status = list_numbers(store, "chunks", 16, true, &fans);
    for (size_t i = 0; i < fans.count && status == 0; i++) {
        char path[DISK_NAME_MAX + 1];
        struct numbers inodes;
        fan_path(path, (unsigned)fans.items[i] & 0xff);
        status = list_numbers(store, path, 10, true, &inodes);
        for (size_t j = 0; j < inodes.count && status == 0; j++) {
            removed += remove_inode_strays(store, inodes.items[j]);
            if (task_yield(store->store.loop) != 0 || store->stopping)
                status = -ECANCELED;
        }
        free(inodes.items);
    }
    free(fans.items);
    if (removed > 0)
        log_info("engine file: removed %" PRIu64 " files that nothing durable names", removed);
}
