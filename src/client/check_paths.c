/* Paths of inodes. Nothing leads from an inode to its name, so names are looked for: one walk over all names
 * finds where the inodes are, the parents of their directories are asked for one by one up to the root, and a
 * second walk finds what those are called. */
#include "client/checking.h"

#include "base/map.h"

/* A directory on the way to the root. */
struct step {
    uint64_t number;
    uint64_t parent;
    char *name; /* NULL: not found */
};

struct search {
    struct client *client;
    struct check_path *paths;
    uint32_t count;
    struct map wanted; /* by inode: struct check_path, the first of several */
    struct map steps;  /* by number: struct step */
    char **names;      /* by path: those found here */
};

static char *copy_name(const struct check_name *name)
{
    char *copy = malloc(name->name_length + 1u);
    if (copy != NULL) {
        memcpy(copy, name->name, name->name_length);
        copy[name->name_length] = '\0';
    }
    return copy;
}

static int visit_inodes_names(void *owner, const struct check_page *page)
{
    struct search *search = owner;
    size_t offset = 0;
    for (const struct check_name *name; (name = check_next_name(page, &offset)) != NULL;) {
        struct check_path *path = map_get(&search->wanted, name->inode);
        if (path == NULL || path->directory != 0)
            continue;
        char *copy = copy_name(name);
        if (copy == NULL)
            return -ENOMEM;
        search->names[path - search->paths] = copy;
        path->directory = name->directory;
        path->name = copy;
    }
    return 0;
}

static int visit_steps_names(void *owner, const struct check_page *page)
{
    struct search *search = owner;
    size_t offset = 0;
    for (const struct check_name *name; (name = check_next_name(page, &offset)) != NULL;) {
        struct step *step = map_get(&search->steps, name->inode);
        if (step != NULL && step->name == NULL && step->parent == name->directory &&
            (step->name = copy_name(name)) == NULL)
            return -ENOMEM;
    }
    return 0;
}

/* Notes the directory and all above it. */
static int climb(struct search *search, uint64_t number)
{
    while (number != INODE_ROOT && number != 0 && map_get(&search->steps, number) == NULL) {
        struct check_inode inode;
        int there = check_ask_inode(search->client, number, &inode);
        if (there != 1)
            return there;
        struct step *step = calloc(1, sizeof(*step));
        int status = step == NULL ? -ENOMEM : map_put(&search->steps, number, step);
        if (status != 0) {
            free(step);
            return status;
        }
        *step = (struct step){.number = number, .parent = S_ISDIR(inode.mode) ? inode.parent : 0};
        number = step->parent;
    }
    return 0;
}

/* From its end to its beginning. false: it does not lead to the root, or is too long. */
static bool compose(struct search *search, const struct check_path *path, char *end, char **begin)
{
    const char *name = path->name;
    uint64_t number = path->directory;
    char *at = end;
    *at = '\0';
    for (;;) {
        size_t length = strlen(name);
        if ((size_t)(at - (end - PATH_LENGTH_MAX)) < length + 1)
            return false;
        at -= length;
        memcpy(at, name, length);
        *--at = '/';
        if (number == INODE_ROOT)
            break;
        const struct step *step = map_get(&search->steps, number);
        if (step == NULL || step->name == NULL)
            return false;
        name = step->name;
        number = step->parent;
    }
    *begin = at;
    return true;
}

static int find(struct search *search)
{
    int status = 0;
    bool unnamed = false;
    for (uint32_t i = 0; status == 0 && i < search->count; i++) {
        if (search->paths[i].directory != 0 || map_get(&search->wanted, search->paths[i].inode) != NULL)
            continue;
        unnamed = true;
        status = map_put(&search->wanted, search->paths[i].inode, &search->paths[i]);
    }
    if (status == 0 && unnamed)
        status = check_walk_all(search->client, WALK_NAMES, visit_inodes_names, search);
    for (uint32_t i = 0; status == 0 && i < search->count; i++) {
        struct check_path *path = &search->paths[i];
        const struct check_path *same = map_get(&search->wanted, path->inode);
        if (path->directory == 0 && same != NULL) {
            path->directory = same->directory;
            path->name = same->name;
        }
        if (path->directory != 0)
            status = climb(search, path->directory);
    }
    if (status == 0 && search->steps.count > 0)
        status = check_walk_all(search->client, WALK_NAMES, visit_steps_names, search);
    return status;
}

int client_check_paths(struct client *client, struct check_path *paths, uint32_t count)
{
    struct search search = {.client = client, .paths = paths, .count = count};
    map_init(&search.wanted);
    map_init(&search.steps);
    search.names = calloc(count, sizeof(*search.names));
    char *room = malloc(PATH_LENGTH_MAX + 1);
    int status = search.names == NULL || room == NULL ? -ENOMEM : find(&search);
    for (uint32_t i = 0; i < count; i++) {
        char *begin;
        paths[i].path = NULL;
        if (status == 0 && paths[i].inode == INODE_ROOT)
            paths[i].path = strdup("/");
        else if (status == 0 && paths[i].name != NULL &&
                 compose(&search, &paths[i], room + PATH_LENGTH_MAX, &begin))
            paths[i].path = strdup(begin);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (search.names != NULL && search.names[i] != NULL)
            paths[i].name = NULL;
    }
    for (uint32_t i = 0; search.names != NULL && i < count; i++)
        free(search.names[i]);
    free(search.names);
    free(room);
    size_t cursor = 0;
    uint64_t key;
    for (struct step *step; (step = map_next(&search.steps, &cursor, &key)) != NULL;) {
        free(step->name);
        free(step);
    }
    map_free(&search.wanted);
    map_free(&search.steps);
    return status;
}
