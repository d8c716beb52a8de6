/* The path walk.
 *
 * A path is walked in place: no copy, no allocation, one component at a time. Directories on the way come
 * from the cache or cost one LOOKUP; the last component is left to the operation, which usually does its work
 * on it in one request. "." and ".." are taken as the kernel does: ".." is the parent of the directory
 * reached, which after a symbolic link is not what precedes it in the text. Only following a link allocates:
 * the rest of the path behind the target.
 *
 * Search permission is checked here on every directory walked through, from attributes that the namespace
 * epoch keeps from being too permissive; being too strict is possible (a directory's permissions may have
 * been widened), so a refusal is confirmed with fresh attributes first. */
#include "client/core.h"

#define LINKS_MAX 40u
#define STORAGE_MAX (2 * (PATH_LENGTH_MAX + 1))

static int directory_fetch(struct walk *walk, uint64_t inode)
{
    struct attributes attributes;
    struct client *client = walk->client;
    int status = client_get_attributes(client, walk->operation, inode, 0, &attributes);
    if (status < 0)
        return status;
    if (!is_directory(attributes.mode))
        return -ENOTDIR;
    directory_of(&attributes, &walk->here);
    walk->removed = attributes.links == 0;
    if (walk->operation->epoch == client->namespace_epoch && !walk->removed)
        cache_insert_inode(&client->cache, &walk->here);
    return 0;
}

static int directory_enter(struct walk *walk, uint64_t inode)
{
    const struct directory *known = cache_find_inode(&walk->client->cache, inode);
    if (known == NULL)
        return directory_fetch(walk, inode);
    walk->here = *known;
    return 0;
}

/* What is remembered may be stricter than the truth. */
static int permits_slow(struct walk *walk, uint32_t access)
{
    struct client *client = walk->client;
    struct directory before = walk->here;
    int status = directory_fetch(walk, before.inode);
    if (status < 0)
        return status;
    if (walk->here.mode != before.mode || walk->here.uid != before.uid || walk->here.gid != before.gid)
        cache_clear(&client->cache); /* else every walk through here would have to ask */
    return client_permits(client, walk->here.mode, walk->here.uid, walk->here.gid, access);
}

int walk_permits(struct walk *walk, uint32_t access)
{
    const struct directory *here = &walk->here;
    if (client_permits(walk->client, here->mode, here->uid, here->gid, access) == 0)
        return 0;
    return permits_slow(walk, access);
}

int walk_lookup(struct walk *walk, struct attributes *attributes)
{
    struct client *client = walk->client;
    uint32_t server = client_hash_server(client, walk->hash);
    enum board_answer answer = client_board_ask(client, walk->operation, server, walk->hash, walk->here.inode,
                                                walk->name, walk->name_length, attributes);
    if (answer != BOARD_SILENT)
        return answer == BOARD_FOUND ? 0 : -ENOENT;
    union named_request named;
    struct attributes_reply reply;
    size_t length = walk_named_request(walk, &named);
    int status =
        client_request(client, walk->operation, server, RPC_LOOKUP, &named, length, &reply, sizeof reply);
    if (status == 0)
        *attributes = reply.attributes;
    client_board_missed(client, walk->operation, server, status);
    return status;
}

int walk_lookup_follow(struct walk *walk, struct attributes *attributes)
{
    for (;;) {
        if (walk->last != WALK_NAME)
            return client_get_attributes(walk->client, walk->operation, walk->here.inode, 0, attributes);
        int status = walk_lookup(walk, attributes);
        if (status < 0)
            return status;
        if (!is_link(attributes->mode))
            return walk->slash && !is_directory(attributes->mode) ? -ENOTDIR : 0;
        status = walk_follow(walk, attributes);
        if (status < 0)
            return status;
    }
}

/* The path goes on outside: first, then rest. */
static int leave(struct walk *walk, const char *first, size_t length, const char *rest)
{
    size_t rest_length = strlen(rest);
    char *left = malloc(length + rest_length + 2);
    if (left == NULL)
        return -ENOMEM;
    memcpy(left, first, length);
    if (rest_length > 0)
        left[length++] = '/';
    memcpy(left + length, rest, rest_length + 1);
    free(walk->client->left);
    walk->client->left = left;
    return -STATUS_OUTSIDE;
}

/* The rest of the path begins with a slash, as the program sees paths. */
static int enter_absolute(struct walk *walk)
{
    const char *prefix = walk->client->prefix;
    if (prefix != NULL) {
        size_t length = strlen(prefix);
        const char *path = walk->rest;
        if (strncmp(path, prefix, length) != 0 || (path[length] != '/' && path[length] != '\0'))
            return leave(walk, path, strlen(path), "");
        walk->rest += length;
    }
    return directory_enter(walk, INODE_ROOT);
}

/* Puts the link's target before what is left of the path. */
static int splice_link(struct walk *walk, const struct attributes *link)
{
    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    size_t rest = strlen(walk->rest);
    if (rest + SYMLINK_LENGTH_MAX + 2 > STORAGE_MAX)
        return -ENAMETOOLONG;
    char *storage = malloc(SYMLINK_LENGTH_MAX + rest + 2);
    if (storage == NULL)
        return -ENOMEM;
    struct inode_request request = {.inode = link->inode};
    struct iovec into = {storage, SYMLINK_LENGTH_MAX};
    struct rpc_call call = {
        .operation = RPC_READ_LINK,
        .body = &request,
        .body_length = sizeof request,
        .receive = &into,
        .receive_count = 1,
    };
    int status =
        client_call(walk->client, walk->operation, client_inode_server(walk->client, link->inode), &call);
    if (status == 0 && call.received == 0)
        status = -ENOENT;
    if (status == -ESTALE)
        status = -STATUS_BUSY_RETRY; /* replaced since it was found: look again */
    if (status < 0) {
        free(storage);
        return status;
    }
    /* A slash that followed the link demands a directory of the target too. */
    size_t target = call.received;
    if (rest > 0 || walk->slash)
        storage[target++] = '/';
    memcpy(storage + target, walk->rest, rest + 1);
    free(walk->storage);
    walk->storage = storage;
    walk->rest = storage;
    return storage[0] == '/' ? enter_absolute(walk) : 0;
}

/* Enters the directory (or link) that a component in the middle of the path names. */
static int step(struct walk *walk)
{
    struct client *client = walk->client;
    const struct directory *known =
        cache_find(&client->cache, walk->here.inode, walk->hash, walk->name, walk->name_length);
    if (known != NULL) {
        metrics_add(client->metrics, METRIC_DIRECTORY_HITS, 1);
        walk->here = *known;
        walk->operation->used_cache = true;
        return 0;
    }
    metrics_add(client->metrics, METRIC_DIRECTORY_MISSES, 1);
    struct attributes attributes;
    int status = walk_lookup(walk, &attributes);
    if (status < 0)
        return status;
    if (is_link(attributes.mode))
        return splice_link(walk, &attributes);
    if (!is_directory(attributes.mode))
        return -ENOTDIR;
    uint64_t parent = walk->here.inode;
    directory_of(&attributes, &walk->here);
    if (walk->operation->epoch == client->namespace_epoch)
        cache_insert(&client->cache, parent, walk->hash, walk->name, walk->name_length, &walk->here);
    return 0;
}

/* "..". Every other use of a remembered directory asks a server that knows when it was removed; this one
 * leads past it, so it is looked at first. */
static int leave_upward(struct walk *walk)
{
    const char *prefix = walk->client->prefix;
    if (prefix != NULL && walk->here.inode == INODE_ROOT) {
        size_t length = (size_t)(strrchr(prefix, '/') - prefix);
        return leave(walk, prefix, length > 0 ? length : 1, walk->rest);
    }
    if (walk->operation->used_cache) {
        int status = directory_fetch(walk, walk->here.inode);
        if (status < 0)
            return status;
        if (walk->removed)
            return -ESTALE; /* somebody has it open, but no path leads here */
    }
    walk->removed = false;
    return directory_enter(walk, walk->here.parent);
}

/* Walks rest up to its last component. */
static int walk_rest(struct walk *walk)
{
    walk->last = WALK_ROOT;
    walk->slash = false;
    for (;;) {
        const char *name = walk->rest;
        while (*name == '/')
            name++;
        if (*name == '\0')
            return 0;
        const char *end = name;
        while (*end != '/' && *end != '\0')
            end++;
        size_t length = (size_t)(end - name);
        if (length > NAME_LENGTH_MAX)
            return -ENAMETOOLONG;
        const char *next = end;
        while (*next == '/')
            next++;
        bool last = *next == '\0';
        walk->slash = last && end != next;
        walk->rest = next;

        int status = walk_permits(walk, MAY_SEARCH);
        if (status < 0)
            return status;
        if (name[0] == '.' && length == 1) {
            walk->last = WALK_DOT;
            continue;
        }
        if (name[0] == '.' && name[1] == '.' && length == 2) {
            walk->upward = true;
            status = leave_upward(walk);
            if (status < 0)
                return status;
            walk->last = WALK_DOT_DOT;
            continue;
        }
        if (walk->removed)
            return -ENOENT;
        walk->last = WALK_NAME;
        walk->name = name;
        walk->name_length = (uint32_t)length;
        walk->hash = dentry_hash(walk->here.inode, name, length);
        if (last)
            return 0;
        status = step(walk);
        if (status < 0)
            return status;
    }
}

/* ---- the path walked last ---- */

/* Programs work on one file after the other of a directory: if the path differs from the one before in its
 * last component only, the walk is done but for that. */
static bool walk_as_before(struct walk *walk, uint64_t start, const char *path, size_t length)
{
    const struct directory_cache *cache = &walk->client->cache;
    const struct walked_prefix *walked = &cache->walked;
    if (walked->tag != cache->tag || walked->start != start || length <= walked->length ||
        memcmp(path, walked->path, walked->length) != 0)
        return false;
    const char *name = path + walked->length;
    size_t name_length = length - walked->length;
    bool dots = name[0] == '.' && (name_length == 1 || (name_length == 2 && name[1] == '.'));
    if (dots || name_length > NAME_LENGTH_MAX || memchr(name, '/', name_length) != NULL)
        return false;
    metrics_add(walk->client->metrics, METRIC_DIRECTORY_HITS, 1);
    walk->here = walked->directory;
    walk->last = WALK_NAME;
    walk->slash = false;
    walk->name = name;
    walk->name_length = (uint32_t)name_length;
    walk->rest = path + length;
    walk->hash = dentry_hash(walk->here.inode, name, name_length);
    walk->operation->used_cache = true;
    return true;
}

/* What a link led to is not remembered: links may change at any time. Nor is a way through "..": see
 * leave_upward. */
static void remember_prefix(const struct walk *walk, uint64_t start, const char *path)
{
    struct directory_cache *cache = &walk->client->cache;
    if (walk->last != WALK_NAME || walk->slash || walk->links != 0 || walk->upward ||
        walk->operation->epoch != walk->client->namespace_epoch)
        return;
    size_t length = (size_t)(walk->name - path);
    if (length == 0 || length > WALKED_MAX)
        return;
    struct walked_prefix *walked = &cache->walked;
    walked->tag = cache->tag;
    walked->start = start;
    walked->length = (uint32_t)length;
    walked->directory = walk->here;
    memcpy(walked->path, path, length);
}

int walk_path(struct walk *walk, struct client *client, struct operation *operation, uint64_t directory,
              const char *path)
{
    walk->client = client;
    walk->operation = operation;
    walk->storage = NULL;
    walk->links = 0;
    walk->upward = false;
    walk->removed = false;
    walk->rest = path;
    operation->by_path = true;
    if (__builtin_expect(client->left != NULL, 0)) {
        free(client->left);
        client->left = NULL;
    }
    if (*path == '\0')
        return -ENOENT;
    size_t length = strnlen(path, PATH_LENGTH_MAX + 1);
    if (length > PATH_LENGTH_MAX)
        return -ENAMETOOLONG;
    uint64_t start = *path == '/' ? INODE_ROOT : directory;
    if (walk_as_before(walk, start, path, length))
        return walk_permits(walk, MAY_SEARCH);
    int status = directory_enter(walk, start);
    if (status == 0)
        status = walk_rest(walk);
    if (status == 0)
        remember_prefix(walk, start, path);
    return status;
}

int walk_follow(struct walk *walk, const struct attributes *link)
{
    int status = splice_link(walk, link);
    return status < 0 ? status : walk_rest(walk);
}
