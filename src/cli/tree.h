/* A tree of files that cp reads from or writes to: the local file system or BenchFS, behind the same calls.
 * All paths are absolute or as the user gave them; all calls return 0 or -errno unless said otherwise. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "client/client.h"

struct tree_status {
    uint32_t mode;
    uint64_t size;
    int64_t access_time; /* ns since 1970 */
    int64_t modify_time;
    uint64_t identity[2]; /* of the file, within its tree */
};

struct tree_entry {
    char *name;
    struct tree_status status;
};

struct tree_listing {
    struct tree_entry *entries;
    size_t count;
    size_t capacity;
};

struct tree_file {
    uint64_t size;             /* after open: what there is to read; UINT64_MAX: read until the end */
    int fd;                    /* local */
    struct client_file remote; /* BenchFS */
};

struct tree {
    const struct tree_operations *operations;
    struct client *client; /* BenchFS */
};

struct tree_operations {
    const char *prefix; /* for messages */
    int (*status)(struct tree *tree, const char *path, bool follow, struct tree_status *status);
    /* Entries with status, without "." and "..". */
    int (*list)(struct tree *tree, const char *path, struct tree_listing *listing);
    int (*make_directory)(struct tree *tree, const char *path);
    int (*read_link)(struct tree *tree, const char *path, char *target, size_t size);
    int (*make_link)(struct tree *tree, const char *target, const char *path);
    int (*open)(struct tree *tree, const char *path, struct tree_file *file);
    int (*create)(struct tree *tree, const char *path, struct tree_file *file); /* or truncate */
    /* Bytes, 0 at the end. */
    ssize_t (*read)(struct tree *tree, struct tree_file *file, void *bytes, size_t length, uint64_t offset);
    /* All bytes or -errno. */
    int (*write)(struct tree *tree, struct tree_file *file, const void *bytes, size_t length,
                 uint64_t offset);
    int (*close)(struct tree *tree, struct tree_file *file);
    int (*remove)(struct tree *tree, const char *path);
    /* Permissions and times of a file or directory; of a link only times. */
    int (*finish)(struct tree *tree, const char *path, const struct tree_status *status);
};

extern const struct tree_operations tree_local_operations;
extern const struct tree_operations tree_remote_operations;

/* Adds a copy of name. 0 or -ENOMEM. */
int tree_listing_add(struct tree_listing *listing, const char *name, const struct tree_status *status);
void tree_listing_free(struct tree_listing *listing);
