/* One connection of libbenchfs, made when the first name is asked for; what was found, and what was not,
 * stays for a while. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "cli/cli.h"
#include "cli/observe.h"
#include "client/check.h"
#include "client/inode_path.h"

#define NAMES_MAX 100000u               /* in the file system, that are walked over */
#define FOUND_LIFE (30 * NSEC_PER_SEC)  /* a name may change */
#define MISSING_LIFE (5 * NSEC_PER_SEC) /* an inode may get one */
#define FIND_MAX 64u                    /* at a time */
#define REMEMBERED_MAX 10000u

struct inode_name {
    char *path; /* NULL: it was not found */
    uint64_t until;
};

struct inode_names {
    struct session session;
    bool connected;
    uint64_t retry; /* clock_now: when to connect again after a failure */
    struct map known;
};

int inode_names_create(struct inode_names **created)
{
    struct inode_names *names = calloc(1, sizeof(*names));
    if (names == NULL)
        return -ENOMEM;
    map_init(&names->known);
    *created = names;
    return 0;
}

static void forget_all(struct inode_names *names)
{
    size_t cursor = 0;
    uint64_t key;
    for (struct inode_name *name; (name = map_next(&names->known, &cursor, &key)) != NULL;) {
        free(name->path);
        free(name);
    }
    map_free(&names->known);
    map_init(&names->known);
}

void inode_names_destroy(struct inode_names *names)
{
    if (names == NULL)
        return;
    forget_all(names);
    if (names->connected)
        session_close(&names->session);
    free(names);
}

const char *inode_name(const struct inode_names *names, uint64_t inode)
{
    const struct inode_name *name = map_get(&names->known, inode);
    return name == NULL ? NULL : name->path;
}

/* Takes the path over. */
static void remember(struct inode_names *names, uint64_t inode, char *path, uint64_t now)
{
    struct inode_name *name = map_get(&names->known, inode);
    if (name == NULL) {
        name = calloc(1, sizeof(*name));
        if (name == NULL || map_put(&names->known, inode, name) != 0) {
            free(name);
            free(path);
            return;
        }
    }
    free(name->path);
    name->path = path;
    name->until = now + (path != NULL ? FOUND_LIFE : MISSING_LIFE);
}

static bool connect_quietly(struct inode_names *names, uint64_t now)
{
    if (names->connected || now < names->retry)
        return names->connected;
    names->retry = now + MISSING_LIFE;
    names->connected = session_try(&names->session) == 0;
    return names->connected;
}

/* Those that no server knows the name of. */
static void walk_for(struct inode_names *names, struct check_path *paths, uint32_t count, uint64_t now)
{
    if (count == 0 || client_check_paths(names->session.client, paths, count) != 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        remember(names, paths[i].inode, paths[i].path, now);
}

void inode_names_find(struct inode_names *names, const uint64_t *inodes, uint32_t count, uint64_t dentries)
{
    struct check_path unnamed[FIND_MAX];
    uint32_t asked = 0, unnamed_count = 0;
    uint64_t now = clock_now();
    if (names->known.count > REMEMBERED_MAX)
        forget_all(names);
    for (uint32_t i = 0; i < count && asked < FIND_MAX; i++) {
        const struct inode_name *name = map_get(&names->known, inodes[i]);
        if (name != NULL && now < name->until)
            continue;
        if (!connect_quietly(names, now))
            return;
        char *path = NULL;
        int status = client_inode_path(names->session.client, inodes[i], &path);
        asked++;
        if (status == -ENOENT && dentries <= NAMES_MAX)
            unnamed[unnamed_count++] = (struct check_path){.inode = inodes[i]};
        else
            remember(names, inodes[i], path, now);
    }
    walk_for(names, unnamed, unnamed_count, now);
}
