/* Operations on paths. */
#include "region_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void region_stat(struct region *region)
{
    struct attributes attributes;
    struct node *node;
    bool follow = region_one_in(region, 2);
    struct node *from = region_random_path(region, region->path, false);
    int status = client_stat(region->client, region_start(region, from), region->path, follow, &attributes);
    int wanted = model_find(&region->model, from, region->path, follow, &node);
    if (region_same(region, status, wanted, "%s %s", follow ? "stat" : "lstat", region->path) && status == 0)
        region_same_attributes(region, node, &attributes, region->path);
}

void region_truncate(struct region *region)
{
    struct node *node = NULL;
    struct node *from = region_random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, true, &node);
    if (wanted == 0 && S_ISDIR(node->mode))
        wanted = -EISDIR;
    uint64_t size = wanted == 0 ? region_random_size(region, node) : 17;
    region_before(region);
    int status = client_truncate(region->client, region_start(region, from), region->path, size);
    region_after(region);
    if (region->tight && status == -ENOSPC && wanted == 0)
        wanted = status;
    if (region_same(region, status, wanted, "truncate %s to %llu", region->path, (unsigned long long)size) &&
        wanted == 0)
        model_truncate(&region->model, node, size);
}

void region_mkdir(struct region *region)
{
    mode_t mode = (mode_t)region_below(region, 02000);
    struct node *from = region_random_path(region, region->path, true);
    region_before(region);
    int status = client_mkdir(region->client, region_start(region, from), region->path, mode);
    region_after(region);
    region_same(region, status, model_mkdir(&region->model, from, region->path, mode), "mkdir %s",
                region->path);
}

void region_rmdir(struct region *region)
{
    struct node *from = region_random_path(region, region->path, false);
    region_before(region);
    int status = client_rmdir(region->client, region_start(region, from), region->path);
    region_after(region);
    region_same(region, status, model_rmdir(&region->model, from, region->path), "rmdir %s", region->path);
}

void region_unlink(struct region *region)
{
    struct node *from = region_random_path(region, region->path, false);
    region_before(region);
    int status = client_unlink(region->client, region_start(region, from), region->path);
    region_after(region);
    region_same(region, status, model_unlink(&region->model, from, region->path), "unlink %s", region->path);
}

void region_rename(struct region *region)
{
    bool replace = !region_one_in(region, 5);
    struct node *from = region_random_path(region, region->path, false);
    struct node *to = region_random_path(region, region->path2, true);
    region_before(region);
    int status = client_rename(region->client, region_start(region, from), region->path,
                               region_start(region, to), region->path2, replace ? 0 : RENAME_FLAG_NOREPLACE);
    region_after(region);
    int wanted = model_rename(&region->model, from, region->path, to, region->path2, replace);
    if (wanted < 0 && status == region->model.also)
        wanted = status;
    region_same(region, status, wanted, "rename %s to %s%s", region->path, region->path2,
                replace ? "" : " without replacing");
}

void region_link(struct region *region)
{
    bool follow = region_one_in(region, 3);
    struct node *from = region_random_path(region, region->path, false);
    struct node *to = region_random_path(region, region->path2, true);
    region_before(region);
    int status = client_link(region->client, region_start(region, from), region->path,
                             region_start(region, to), region->path2, follow);
    region_after(region);
    int wanted = model_link(&region->model, from, region->path, follow, to, region->path2);
    region_same(region, status, wanted, "link %s to %s%s", region->path, region->path2,
                follow ? ", following" : "");
}

void region_symlink(struct region *region)
{
    struct node *target = region_random_path(region, region->path2, region_one_in(region, 3));
    struct node *from = region_random_path(region, region->path, true);
    region_before(region);
    int status = client_symlink(region->client, region->path2, region_start(region, from), region->path);
    region_after(region);
    region_same(region, status, model_symlink(&region->model, region->path2, from, region->path),
                "symlink %s to %s", region->path, region->path2);
    (void)target;
}

void region_readlink(struct region *region)
{
    struct node *node = NULL;
    struct node *from = region_random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, false, &node);
    if (wanted == 0)
        wanted = S_ISLNK(node->mode) ? (int)node->size : -EINVAL;
    ssize_t got = client_readlink(region->client, region_start(region, from), region->path,
                                  (char *)region->bytes, BYTES_MAX);
    if (region_same(region, got, wanted, "readlink %s", region->path) && got > 0) {
        memcpy(region->expected, node->target, (size_t)got);
        region_same_bytes(region, "readlink", (size_t)got);
    }
}

/* chmod and utimens */
void region_set(struct region *region)
{
    struct node *node = NULL;
    bool follow = !region_one_in(region, 4);
    struct node *from = region_random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, follow, &node);
    if (node == region->model.root)
        return;
    struct set_attributes_request set = {
        .mode = (uint32_t)region_below(region, 02000),
        .modify_time = (int64_t)random_below(region->random, INT64_MAX),
        .access_time = (int64_t)random_below(region->random, INT64_MAX),
    };
    if (region_one_in(region, 2))
        set.fields |= SET_MODE;
    if (region_one_in(region, 2))
        set.fields |= SET_MODIFY_TIME | SET_ACCESS_TIME;
    else if (region_one_in(region, 3))
        set.fields |= SET_MODIFY_TIME_NOW;
    uint32_t fields = set.fields;
    if (wanted == 0 && S_ISLNK(node->mode) && (fields & SET_MODE))
        wanted = -EOPNOTSUPP;
    region_before(region);
    int status =
        client_set_attributes(region->client, region_start(region, from), region->path, follow, &set);
    region_after(region);
    if (!region_same(region, status, wanted, "set attributes of %s: fields %x, mode %o", region->path, fields,
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

/* Sets, reads or removes an extended attribute. */
void region_xattr(struct region *region)
{
    struct node *node = NULL;
    bool follow = region_one_in(region, 2);
    struct node *from = region_random_path(region, region->path, false);
    int wanted = model_find(&region->model, from, region->path, follow, &node);
    struct client_place place = {region_start(region, from), region->path, follow};
    if (wanted == 0 && node == region->model.root)
        return;
    uint32_t kind = region_below(region, 4);
    bool link = wanted == 0 && S_ISLNK(node->mode);
    bool there = wanted == 0 && node->value_length != 0;
    if (kind < 2) {
        uint64_t value = random_next(region->random);
        uint32_t length = 1 + region_below(region, sizeof value);
        uint8_t flags = (uint8_t)(region_one_in(region, 3)   ? XATTR_SET_CREATE
                                  : region_one_in(region, 3) ? XATTR_SET_REPLACE
                                                             : 0);
        if (wanted == 0)
            wanted = link                                         ? -EPERM
                     : there && (flags & XATTR_SET_CREATE) != 0   ? -EEXIST
                     : !there && (flags & XATTR_SET_REPLACE) != 0 ? -ENODATA
                                                                  : 0;
        int status = client_setxattr(region->client, &place, "user.model", &value, length, flags);
        if (region_same(region, status, wanted, "setxattr %s flags %u", region->path, flags) && wanted == 0) {
            node->value = value & (UINT64_MAX >> (64 - 8 * length));
            node->value_length = length;
        }
    } else if (kind == 2) {
        if (wanted == 0)
            wanted = link ? -EPERM : there ? 0 : -ENODATA;
        int status = client_removexattr(region->client, &place, "user.model");
        if (region_same(region, status, wanted, "removexattr %s", region->path) && wanted == 0)
            node->value_length = 0;
    } else {
        uint64_t value = 0;
        ssize_t got = client_getxattr(region->client, &place, "user.model", &value, sizeof value);
        if (wanted == 0)
            wanted = there ? (int)node->value_length : -ENODATA;
        if (region_same(region, got, wanted, "getxattr %s", region->path) && got > 0 && value != node->value)
            region_wrong(region, "getxattr %s: %llx, expected %llx", region->path, (unsigned long long)value,
                         (unsigned long long)node->value);
    }
}

void region_list(struct region *region)
{
    struct client_file file;
    struct node *node = NULL;
    struct node *from = region_random_path(region, region->path, false);
    int wanted = model_open(&region->model, from, region->path, O_RDONLY | O_DIRECTORY, 0, &node);
    int status = client_open(region->client, region_start(region, from), region->path, O_RDONLY | O_DIRECTORY,
                             0, &file);
    if (!region_same(region, status, wanted, "opendir %s", region->path) || status != 0)
        return;
    node->inode = file.inode;
    /* The region's own names in "/" all begin with a letter; long ones there are not told apart. */
    if (node != region->model.root)
        region_list_directory(region, region->client, node, file.inode, region->path);
    client_close(region->client, &file);
}
