/* The model tree. Slow and obvious: names in a list, contents in one block, every path walked anew. */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LINKS_MAX 40

/* ---- nodes ---- */

static void touch(const struct model *model, struct node *node)
{
    node->modify_min = model->before;
    node->modify_max = model->now;
}

/* Gives the node, or a new reference to it, a name. */
static void entry_make(struct model *model, struct node *directory, const char *name, struct node *node)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        abort();
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->node = node_hold(node);
    node->names++;
    if (S_ISDIR(node->mode))
        node->parent = directory;
    list_push_back(&directory->entries, &entry->link);
    touch(model, directory);
}

static void entry_remove(struct entry *entry)
{
    struct node *node = entry->node;
    list_remove(&entry->link);
    free(entry);
    node->parent = NULL;
    node->names--;
    node_release(node);
}

static struct node *node_make(struct model *model, uint32_t mode)
{
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL)
        abort();
    list_init(&node->entries);
    node->mode = mode;
    node->references = 1;
    touch(model, node);
    return node;
}

/* A new node with one name. */
static struct node *node_add(struct model *model, struct node *directory, const char *name, uint32_t mode)
{
    struct node *node = node_make(model, mode);
    entry_make(model, directory, name, node);
    node_release(node); /* the entry holds it */
    return node;
}

struct node *node_hold(struct node *node)
{
    node->references++;
    return node;
}

void node_release(struct node *node)
{
    if (--node->references > 0)
        return;
    free(node->bytes);
    free(node->target);
    free(node);
}

static void node_unlink(struct model *model, struct node *directory, const char *name)
{
    touch(model, directory);
    entry_remove(node_entry(directory, name));
}

struct entry *node_entry(const struct node *directory, const char *name)
{
    list_for_each (link, &directory->entries) {
        struct entry *entry = container_of(link, struct entry, link);
        if (strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

struct node *node_child(const struct node *directory, const char *name)
{
    const struct entry *entry = node_entry(directory, name);
    return entry == NULL ? NULL : entry->node;
}

uint32_t node_links(const struct model *model, const struct node *node)
{
    if (!node_linked(model, node))
        return 0;
    if (!S_ISDIR(node->mode))
        return node->names;
    uint32_t links = 2;
    list_for_each (link, &node->entries) {
        if (S_ISDIR(container_of(link, struct entry, link)->node->mode))
            links++;
    }
    return links;
}

int model_create(struct model *model)
{
    *model = (struct model){0};
    model->root = node_make(model, S_IFDIR | 0755);
    return 0;
}

static void destroy_entries(struct node *directory)
{
    list_for_each_safe (link, &directory->entries) {
        struct entry *entry = container_of(link, struct entry, link);
        destroy_entries(entry->node);
        entry_remove(entry);
    }
}

void model_destroy(struct model *model)
{
    destroy_entries(model->root);
    node_release(model->root);
}

static void forget_copies(struct node *node)
{
    node->copy = NULL;
    list_for_each (link, &node->entries)
        forget_copies(container_of(link, struct entry, link)->node);
}

/* With everything below it, as far as it has not been copied yet. The caller has a reference to what it gets,
 * names none. */
static struct node *node_copy(struct node *from)
{
    if (from->copy != NULL)
        return node_hold(from->copy);
    struct node *node = malloc(sizeof *node);
    if (node == NULL)
        abort();
    *node = *from;
    from->copy = node;
    node->copy = NULL;
    node->references = 1;
    node->parent = NULL;
    list_init(&node->entries);
    if (from->bytes != NULL) {
        node->room = from->size;
        node->bytes = malloc(from->size + 1);
        if (node->bytes == NULL)
            abort();
        memcpy(node->bytes, from->bytes, from->size);
    }
    if (from->target != NULL)
        node->target = strdup(from->target);
    list_for_each (link, &from->entries) {
        const struct entry *entry = container_of(link, struct entry, link);
        struct entry *copy = malloc(sizeof *copy);
        if (copy == NULL)
            abort();
        *copy = *entry;
        copy->node = node_copy(entry->node);
        if (S_ISDIR(copy->node->mode))
            copy->node->parent = node;
        list_push_back(&node->entries, &copy->link);
    }
    return node;
}

void model_copy(const struct model *from, struct model *to, struct node **held, uint32_t held_count)
{
    *to = *from;
    for (uint32_t i = 0; i < held_count; i++)
        if (held[i] != NULL)
            held[i]->copy = NULL;
    forget_copies(from->root);
    to->root = node_copy(from->root);
    for (uint32_t i = 0; i < held_count; i++)
        if (held[i] != NULL)
            held[i] = node_copy(held[i]);
}

/* ---- walking ---- */

int model_walk(struct model *model, struct node *from, const char *path, bool follow, struct place *place)
{
    /* Too large for a task's stack; nothing suspends in here. */
    static char rest[2 * PATH_MAX], next[2 * PATH_MAX];
    unsigned links = 0;
    struct node *here = *path == '/' ? model->root : from;
    snprintf(rest, sizeof rest, "%s", path);
    *place = (struct place){.directory = here, .node = here, .last = LAST_ROOT};
    for (;;) {
        char *at = rest + strspn(rest, "/");
        if (*at == '\0')
            return 0;
        size_t length = strcspn(at, "/");
        if (!S_ISDIR(here->mode))
            return -ENOTDIR;
        if (length > NAME_MAX)
            return -ENAMETOOLONG;
        char name[NAME_MAX + 1];
        memcpy(name, at, length);
        name[length] = '\0';
        const char *after = at + length;
        bool last = after[strspn(after, "/")] == '\0';
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            if (name[1] == '.' && here->parent != NULL)
                here = here->parent;
            *place = (struct place){
                .directory = here, .node = here, .last = name[1] == '.' ? LAST_DOT_DOT : LAST_DOT};
            snprintf(next, sizeof next, "%s", after);
            strcpy(rest, next);
            continue;
        }
        struct node *node = node_child(here, name);
        if (node != NULL && S_ISLNK(node->mode) && (!last || follow)) {
            if (++links > LINKS_MAX)
                return -ELOOP;
            snprintf(next, sizeof next, "%s%s", node->target, after);
            strcpy(rest, next);
            if (rest[0] == '/')
                here = model->root;
            *place = (struct place){.directory = here, .node = here, .last = LAST_ROOT};
            continue;
        }
        if (last) {
            *place = (struct place){.directory = here, .node = node, .last = LAST_NAME};
            memcpy(place->name, name, length + 1);
            return 0;
        }
        if (node == NULL)
            return -ENOENT;
        if (!S_ISDIR(node->mode))
            return -ENOTDIR;
        here = node;
        snprintf(next, sizeof next, "%s", after);
        strcpy(rest, next);
    }
}

int model_find(struct model *model, struct node *from, const char *path, bool follow, struct node **node)
{
    struct place place;
    int status = model_walk(model, from, path, follow, &place);
    if (status < 0)
        return status;
    if (place.node == NULL)
        return -ENOENT;
    *node = place.node;
    return 0;
}

/* ---- names ---- */

int model_open(struct model *model, struct node *from, const char *path, int flags, mode_t mode,
               struct node **node)
{
    struct place place;
    bool exclusive = (flags & O_CREAT) && (flags & O_EXCL);
    int status = model_walk(model, from, path, !exclusive && !(flags & O_NOFOLLOW), &place);
    if (status < 0)
        return status;
    if (place.node == NULL) {
        if (!(flags & O_CREAT))
            return -ENOENT;
        *node = node_add(model, place.directory, place.name, S_IFREG | (mode & 07777));
        return 0;
    }
    if (exclusive)
        return -EEXIST;
    if (S_ISLNK(place.node->mode))
        return flags & O_DIRECTORY ? -ENOTDIR : -ELOOP;
    if (S_ISDIR(place.node->mode)) {
        if ((flags & (O_CREAT | O_TRUNC)) || (flags & O_ACCMODE) != O_RDONLY)
            return -EISDIR;
    } else if (flags & O_DIRECTORY) {
        return -ENOTDIR;
    }
    if (flags & O_TRUNC)
        model_truncate(model, place.node, 0);
    *node = place.node;
    return 0;
}

/* The place of a name that is not there yet. */
static int walk_to_new(struct model *model, struct node *from, const char *path, struct place *place)
{
    int status = model_walk(model, from, path, false, place);
    return status == 0 && place->node != NULL ? -EEXIST : status;
}

int model_mkdir(struct model *model, struct node *from, const char *path, mode_t mode)
{
    struct place place;
    int status = walk_to_new(model, from, path, &place);
    if (status < 0)
        return status;
    node_add(model, place.directory, place.name, S_IFDIR | (mode & 01777));
    return 0;
}

int model_symlink(struct model *model, const char *target, struct node *from, const char *path)
{
    struct place place;
    int status = walk_to_new(model, from, path, &place);
    if (status < 0)
        return status;
    struct node *link = node_add(model, place.directory, place.name, S_IFLNK | 0777);
    link->target = strdup(target);
    link->size = strlen(target);
    return 0;
}

int model_link_node(struct model *model, struct node *node, struct node *from, const char *path)
{
    struct place place;
    int status = walk_to_new(model, from, path, &place);
    if (status < 0)
        return status;
    if (S_ISDIR(node->mode))
        return -EPERM;
    entry_make(model, place.directory, place.name, node);
    return 0;
}

int model_link(struct model *model, struct node *old_from, const char *old_path, bool follow,
               struct node *new_from, const char *new_path)
{
    struct node *node;
    int status = model_find(model, old_from, old_path, follow, &node);
    return status < 0 ? status : model_link_node(model, node, new_from, new_path);
}

int model_rmdir(struct model *model, struct node *from, const char *path)
{
    static const int refusals[] = {[LAST_ROOT] = -EBUSY, [LAST_DOT] = -EINVAL, [LAST_DOT_DOT] = -ENOTEMPTY};
    struct place place;
    int status = model_walk(model, from, path, false, &place);
    if (status < 0)
        return status;
    if (place.last != LAST_NAME)
        return refusals[place.last];
    if (place.node == NULL)
        return -ENOENT;
    if (!S_ISDIR(place.node->mode))
        return -ENOTDIR;
    if (!list_empty(&place.node->entries))
        return -ENOTEMPTY;
    node_unlink(model, place.directory, place.name);
    return 0;
}

int model_unlink(struct model *model, struct node *from, const char *path)
{
    struct place place;
    int status = model_walk(model, from, path, false, &place);
    if (status < 0)
        return status;
    if (place.last != LAST_NAME)
        return -EISDIR;
    if (place.node == NULL)
        return -ENOENT;
    if (S_ISDIR(place.node->mode))
        return -EISDIR;
    node_unlink(model, place.directory, place.name);
    return 0;
}

/* Is ancestor the directory itself or above it? */
static bool above(const struct node *ancestor, const struct node *directory)
{
    for (; directory != NULL; directory = directory->parent)
        if (directory == ancestor)
            return true;
    return false;
}

static int wrong_type(const struct node *source, const struct node *target)
{
    if (S_ISDIR(source->mode) == S_ISDIR(target->mode))
        return 0;
    return S_ISDIR(source->mode) ? -ENOTDIR : -EISDIR;
}

/* May source replace what stands in its way, if anything? */
static int may_replace(struct model *model, const struct node *source, const struct place *new, bool replace)
{
    const struct node *target = new->node;
    if (target != NULL && !replace)
        return -EEXIST;
    if (target != NULL)
        model->also = wrong_type(source, target);
    if (above(source, new->directory))
        return -EINVAL;
    if (target == NULL || target == source)
        return 0;
    if (above(target, source))
        return -ENOTEMPTY;
    if (model->also != 0)
        return model->also;
    return list_empty(&target->entries) ? 0 : -ENOTEMPTY;
}

int model_rename(struct model *model, struct node *old_from, const char *old_path, struct node *new_from,
                 const char *new_path, bool replace)
{
    struct place old, new;
    model->also = 0;
    int status = model_walk(model, old_from, old_path, false, &old);
    int new_status = model_walk(model, new_from, new_path, false, &new);
    if (status < 0) {
        model->also = new_status;
        return status;
    }
    if (new_status < 0) {
        model->also = old.node == NULL ? -ENOENT : 0;
        return new_status;
    }
    if (old.last != LAST_NAME)
        return -EBUSY;
    if (new.last != LAST_NAME)
        return replace ? -EBUSY : -EEXIST;
    if (old.node == NULL)
        return -ENOENT;
    status = may_replace(model, old.node, &new, replace);
    if (status < 0 || new.node == old.node)
        return status;
    struct node *node = node_hold(old.node);
    node_unlink(model, old.directory, old.name);
    if (new.node != NULL)
        node_unlink(model, new.directory, new.name);
    entry_make(model, new.directory, new.name, node);
    node_release(node);
    return 0;
}

/* ---- contents ---- */

size_t model_read(const struct node *node, void *bytes, size_t length, uint64_t offset)
{
    if (offset >= node->size)
        return 0;
    if (length > node->size - offset)
        length = node->size - offset;
    memcpy(bytes, node->bytes + offset, length);
    return length;
}

static void resize(struct node *node, uint64_t size)
{
    if (size > node->room) {
        node->room = 2 * size;
        node->bytes = realloc(node->bytes, node->room);
        if (node->bytes == NULL)
            abort();
    }
    if (size > node->size)
        memset(node->bytes + node->size, 0, size - node->size);
    node->size = size;
}

void model_write(struct model *model, struct node *node, const void *bytes, size_t length, uint64_t offset)
{
    if (offset + length > node->size)
        resize(node, offset + length);
    memcpy(node->bytes + offset, bytes, length);
    touch(model, node);
}

void model_truncate(struct model *model, struct node *node, uint64_t size)
{
    resize(node, size);
    touch(model, node);
}

void model_allocate(struct model *model, struct node *node, uint64_t offset, uint64_t length, bool zero,
                    bool keep_size)
{
    uint64_t end = offset + length;
    if (!keep_size && end > node->size)
        model_truncate(model, node, end);
    uint64_t zero_end = end < node->size ? end : node->size;
    if (zero && offset < zero_end)
        memset(node->bytes + offset, 0, zero_end - offset);
    if (zero) {
        node->modify_min = model->before;
        node->modify_max = model->now;
    }
}
