/* What the file system should be: a plain tree in memory, with the errors that Linux gives to root.
 *
 * Times are bounds, since a call only knows before and after: modify_min <= modify time <= modify_max. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

struct node {
    struct node *parent; /* of a directory; NULL: removed, and of the root */
    struct list entries; /* of a directory */
    uint32_t names;      /* entries that lead here */
    uint32_t mode;       /* type and permissions */
    uint32_t references; /* entries and open files */
    uint64_t inode;      /* what the file system calls it; 0: not known yet */
    uint64_t size;
    uint8_t *bytes;
    uint64_t room;
    char *target;
    uint32_t value_length; /* of the extended attribute "user.model"; 0: there is none */
    uint64_t value;
    int64_t modify_min, modify_max;
    struct node *copy; /* while model_copy runs */
};

/* A name. A file may have several. */
struct entry {
    struct list link; /* in the directory's entries */
    struct node *node;
    char name[256];
};

struct model {
    struct node *root;
    int64_t before, now; /* of the call under way: bounds of the times that it sets */
    int also;            /* another error of the last rename that is as right, or 0 */
};

enum last_component { LAST_NAME, LAST_ROOT, LAST_DOT, LAST_DOT_DOT };

/* Where a path leads. */
struct place {
    struct node *directory;
    struct node *node; /* NULL: there is nothing of that name */
    enum last_component last;
    char name[256];
};

int model_create(struct model *model);
void model_destroy(struct model *model);
/* A deep copy. held: nodes (or NULL) with a reference of their own, in the tree or not; each is replaced by
 * its copy, with a reference. */
void model_copy(const struct model *from, struct model *to, struct node **held, uint32_t held_count);

struct node *node_hold(struct node *node);
void node_release(struct node *node);
struct entry *node_entry(const struct node *directory, const char *name);
/* Where that entry leads, or NULL. */
struct node *node_child(const struct node *directory, const char *name);
static inline bool node_linked(const struct model *model, const struct node *node)
{
    return node->names > 0 || node == model->root;
}
uint32_t node_links(const struct model *model, const struct node *node);

/* Each starts at `from` when path is relative, and returns 0 or a negative errno value. */
int model_walk(struct model *model, struct node *from, const char *path, bool follow, struct place *place);
int model_find(struct model *model, struct node *from, const char *path, bool follow, struct node **node);
int model_open(struct model *model, struct node *from, const char *path, int flags, mode_t mode,
               struct node **node);
int model_mkdir(struct model *model, struct node *from, const char *path, mode_t mode);
int model_symlink(struct model *model, const char *target, struct node *from, const char *path);
int model_link(struct model *model, struct node *old_from, const char *old_path, bool follow,
               struct node *new_from, const char *new_path);
/* The second half of model_link: gives the node another name. */
int model_link_node(struct model *model, struct node *node, struct node *from, const char *path);
int model_rmdir(struct model *model, struct node *from, const char *path);
int model_unlink(struct model *model, struct node *from, const char *path);
int model_rename(struct model *model, struct node *old_from, const char *old_path, struct node *new_from,
                 const char *new_path, bool replace);

size_t model_read(const struct node *node, void *bytes, size_t length, uint64_t offset);
void model_write(struct model *model, struct node *node, const void *bytes, size_t length, uint64_t offset);
/* fallocate: zero says whether the bytes become zeros. */
void model_allocate(struct model *model, struct node *node, uint64_t offset, uint64_t length, bool zero,
                    bool keep_size);
void model_truncate(struct model *model, struct node *node, uint64_t size);
