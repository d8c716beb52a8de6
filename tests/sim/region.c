/* Random operations and their comparison.
 *
 * Each operation first asks the file system, then the model, with the virtual time before and after as bounds
 * for the times that it sets. Names carry the region's number, so that regions never meet, wherever a path
 * with ".." or a symbolic link leads. What is compared is in region_compare.c, what is chosen at random in
 * region_choose.c, and operations in region_files.c and region_paths.c. */
#include "region_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Long enough now and then that leases, fences and locks run out. */
static void do_sleep(struct region *region)
{
    uint64_t longest = region_one_in(region, 10) ? 40 * SECOND : 20 * MILLISECOND;
    task_sleep(region->cluster->loop, random_below(region->random, longest));
}

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
            region_close(region, &region->files[i]);
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
        region_open,    region_open,     region_open,   region_open,   region_stat,
        region_stat,    region_stat,     region_mkdir,  region_mkdir,  region_rmdir,
        region_unlink,  region_unlink,   region_rename, region_rename, region_rename,
        region_symlink, region_readlink, region_set,    region_set,    region_truncate,
        region_list,    region_list,     region_xattr,  region_link,   region_link,
    };
    if (region_one_in(region, 60))
        do_sleep(region);
    else if (region_one_in(region, 2))
        region_file(region);
    else
        named[region_below(region, sizeof named / sizeof *named)](region);
}

void region_begin(struct region *region)
{
    char path[32];
    snprintf(path, sizeof path, "/top%u", region->number);
    region_before(region);
    int status = client_mkdir(region->client, INODE_ROOT, path, 0755);
    region_after(region);
    region_same(region, status, model_mkdir(&region->model, region->model.root, path, 0755), "mkdir %s",
                path);
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
            region_wrong(region, "read %s at %llu: %s", path, (unsigned long long)offset,
                         region_status_name(got));
            return;
        }
        for (ssize_t i = 0; i < got; i++) {
            uint64_t at = offset + (uint64_t)i;
            uint8_t one = at < node->size ? node->bytes[at] : 0,
                    two = at < other->size ? other->bytes[at] : 0;
            if (region->bytes[i] != one && region->bytes[i] != two) {
                region_wrong(region, "%s: byte %llu is %02x, neither %02x nor %02x", path,
                             (unsigned long long)at, region->bytes[i], one, two);
                return;
            }
        }
    }
}

static void read_whole(struct region *region, struct client *client, struct node *node, const char *path)
{
    struct client_file file;
    int status = client_open(client, INODE_ROOT, path, O_RDONLY | O_NOFOLLOW, 0, &file);
    if (!region_same(region, status, 0, "open %s", path))
        return;
    const struct node *other = region_mixed_node(region, path);
    if (other != NULL) {
        read_mixed(region, client, &file, node, other, path);
        client_close(client, &file);
        return;
    }
    for (uint64_t offset = 0; offset <= node->size && !region->cluster->failed; offset += BYTES_MAX) {
        ssize_t wanted = (ssize_t)model_read(node, region->expected, BYTES_MAX, offset);
        ssize_t got = client_read(client, &file, region->bytes, BYTES_MAX, offset);
        if (region_same(region, got, wanted, "read %s at %llu", path, (unsigned long long)offset))
            region_same_bytes(region, path, (size_t)got);
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
    if (region_same(region, status, 0, "lstat %s", path))
        region_same_attributes(region, node, &attributes, path);
    struct client_place place = {INODE_ROOT, path, false};
    uint64_t value = 0;
    ssize_t got = client_getxattr(client, &place, "user.model", &value, sizeof value);
    int64_t wanted = node->value_length != 0 ? (int64_t)node->value_length : -ENODATA;
    if (region_same(region, got, wanted, "getxattr %s", path) && got > 0 && value != node->value)
        region_wrong(region, "getxattr %s: another value", path);
    if (S_ISREG(node->mode))
        read_whole(region, client, node, path);
    if (!S_ISDIR(node->mode) || region->cluster->failed)
        return;
    region_list_directory(region, client, node, attributes.inode, path);
    list_for_each (link, &node->entries) {
        const struct entry *entry = container_of(link, struct entry, link);
        if (length + strlen(entry->name) + 2 > PATH_LENGTH_MAX)
            continue;
        snprintf(path + length, PATH_LENGTH_MAX - length, "/%s", entry->name);
        verify_tree(region, client, entry->node, path);
        path[length] = '\0';
    }
}

void region_verify(struct region *region, struct client *client)
{
    char path[PATH_LENGTH_MAX];
    if (region->alone)
        region_list_directory(region, client, region->model.root, INODE_ROOT, "/");
    list_for_each (link, &region->model.root->entries) {
        const struct entry *entry = container_of(link, struct entry, link);
        snprintf(path, sizeof path, "/%s", entry->name);
        verify_tree(region, client, entry->node, path);
    }
}

static void remove_tree(struct region *region, struct node *node, char *path)
{
    size_t length = strlen(path);
    while (!list_empty(&node->entries) && !region->cluster->failed) {
        const struct entry *entry = container_of(node->entries.next, struct entry, link);
        bool directory = S_ISDIR(entry->node->mode);
        snprintf(path + length, PATH_LENGTH_MAX - length, "/%s", entry->name);
        if (directory)
            remove_tree(region, entry->node, path);
        region_before(region);
        int status = directory ? client_rmdir(region->client, INODE_ROOT, path)
                               : client_unlink(region->client, INODE_ROOT, path);
        region_after(region);
        int wanted = directory ? model_rmdir(&region->model, region->model.root, path)
                               : model_unlink(&region->model, region->model.root, path);
        region_same(region, status, wanted, "remove %s", path);
        path[length] = '\0';
    }
}

void region_remove(struct region *region)
{
    char path[PATH_LENGTH_MAX] = "";
    for (uint32_t i = 0; i < REGION_FILES; i++)
        if (region->files[i].node != NULL)
            region_close(region, &region->files[i]);
    remove_tree(region, region->model.root, path);
}
