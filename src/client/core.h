/* Inside the client core: the client's state and the calls its modules share. */
#pragma once

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "client/client.h"
#include "meta/board.h"

/* ---- directories known to the client ---- */

/* What a walk needs of a directory. */
struct directory {
    uint64_t inode;
    uint64_t parent;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
};

struct cached_entry;
struct cached_directory;

#define WALKED_MAX 255u

/* The directory part of the path walked last, its final slash included, and where it led. */
struct walked_prefix {
    uint32_t tag; /* valid while it equals the cache's */
    uint32_t length;
    uint64_t start; /* the directory that the walk began at */
    struct directory directory;
    char path[WALKED_MAX];
};

/* Two tables, both bounded and emptied at once by counting `tag` up: (parent, name) -> directory, and inode
 * -> directory. */
#define CACHE_WAYS 2u

struct directory_cache {
    uint16_t (*marks)[CACHE_WAYS]; /* of the entries, by set; see cache.c */
    struct cached_entry *entries;
    struct cached_directory *directories;
    uint32_t tag;
    struct walked_prefix walked;
};

int cache_create(struct directory_cache *cache); /* 0 or -ENOMEM */
void cache_destroy(struct directory_cache *cache);
void cache_clear(struct directory_cache *cache);
const struct directory *cache_find(struct directory_cache *cache, uint64_t parent, uint64_t hash,
                                   const char *name, uint32_t length);
void cache_insert(struct directory_cache *cache, uint64_t parent, uint64_t hash, const char *name,
                  uint32_t length, const struct directory *directory);
void cache_forget(struct directory_cache *cache, uint64_t parent, uint64_t hash, const char *name,
                  uint32_t length);
const struct directory *cache_find_inode(struct directory_cache *cache, uint64_t inode);
void cache_insert_inode(struct directory_cache *cache, const struct directory *directory);
void cache_forget_inode(struct directory_cache *cache, uint64_t inode);

/* ---- data that came with open ---- */

#define LEASE_SLOTS 32u
#define LEASE_BUFFERS (LEASE_SLOTS + 8u)

/* The whole contents of a small file, true until `until`. */
struct lease {
    uint64_t inode; /* 0: empty */
    uint64_t until; /* loop_now ns */
    uint32_t length;
    uint8_t *bytes;
};

struct lease_table {
    struct lease slots[LEASE_SLOTS];
    uint8_t *memory;
    uint8_t *spare[LEASE_BUFFERS]; /* buffers that no slot holds */
    uint32_t spare_count;
    uint64_t mutations; /* writes and truncations begun or ended by this client */
};

static inline struct lease *lease_slot(struct lease_table *leases, uint64_t inode)
{
    return &leases->slots[hash_mix(inode) % LEASE_SLOTS];
}

/* ---- credentials ---- */

/* A set of supplementary groups, ascending, by the number that servers know it by. */
struct group_set {
    uint32_t count; /* 0: unused */
    uint32_t *groups;
    uint64_t used; /* when it last became the current one: a counter */
};

/* On whose behalf the client asks. Requests carry uid and gid; the other groups are registered at a server
 * before the first request that goes there with them. */
struct credentials {
    uint32_t uid;
    uint32_t gid;
    uint8_t set; /* the current one; 0: no groups but gid, or none that count */
    struct group_set sets[RPC_GROUP_SETS];
    uint32_t *known; /* by server: the sets that it was told, one bit each */
    uint64_t changes;
};

/* ---- servers' attribute boards (board.c) ---- */

/* What this client has of one server's board. */
struct client_board {
    struct board_view view; /* view.head NULL: nothing (yet) */
    struct net_view *memory;
    uint32_t questions; /* that the server had to answer, until the board is asked for */
    bool asking;
    bool refused;     /* there is none for us */
    uint64_t session; /* in which the server saw what we hold; 0: it does not look */
};

/* ---- the client ---- */

struct client {
    struct net *net;
    struct loop *loop;
    struct metrics *metrics; /* the loop's */
    struct rpc *rpc;
    struct cluster_map *map;
    struct rpc_peer **peers;     /* by index in map->servers */
    struct client_board *boards; /* likewise */
    uint32_t board_hits;         /* counted around: see board.c */
    uint32_t namespace_epoch;
    uint64_t deadline_ns;
    struct credentials caller;
    uint32_t umask;
    uint32_t layout_base;
    uint8_t placement;
    uint8_t chunk_shift;
    const char *prefix; /* NULL: the root is the root of everything */
    char *left;         /* where the last path led to, outside */
    struct directory_cache cache;
    struct lease_table leases;
    struct client_orphans *orphans;
    struct client_orphans own_orphans; /* if none were given */
    struct client_holds *holds;
    struct client_holds own_holds; /* likewise */
    uint64_t release_due; /* loop_now ns at which notices of closed files are sent; UINT64_MAX: none wait */
    struct timer release_timer;
    uint64_t storage_ns; /* how long transfers spent in the servers' storage lately: a moving average */
    uint64_t commit_ns;  /* the same for other calls, which wait there for the journal */
    bool releasing;      /* a task sends them; released fires when it is done */
    bool release_again;  /* others were due meanwhile */
    struct completion released;
    _Atomic uint64_t *changes; /* NULL: nobody counts */
    bool refreshing;           /* a task fetches the map */
    struct wait_queue refreshed;
    struct rpc_peer **retired; /* peers of servers that left the map; calls may still be under way on them */
    uint32_t retired_count;
};

/* The state of one operation over its attempts. */
struct operation {
    uint64_t deadline; /* loop_now ns; 0 before the first request: rpc's deadline counts from its own start */
    uint32_t epoch;    /* namespace epoch under which the current attempt resolves its path */
    uint32_t attempts;
    uint32_t gone;           /* attempts that found gone what a lookup or the cache had named */
    bool by_path;            /* resolves a path: a directory that is gone means that the path leads nowhere */
    bool used_cache;         /* the current attempt took a directory from the cache */
    uint64_t held;           /* inode that the current attempt holds open; 0: none */
    struct client_hold hold; /* how */
    uint64_t missing;        /* inode that the latest attempt found gone; 0: not known */
    uint64_t missed;         /* ... the attempt before it */
    uint64_t again;          /* loop_now when the current attempt began, if it is not the first */
};

/* So many attempts, and the operation asks for a turn (TAKE_TURN). */
#define OPERATION_OVERTAKEN 16u

static inline void operation_begin(struct client *client, struct operation *operation)
{
    operation->deadline = 0;
    operation->epoch = client->namespace_epoch;
    operation->attempts = 0;
    operation->gone = 0;
    operation->by_path = false;
    operation->used_cache = false;
    operation->held = 0;
    operation->hold.slot = 0;
    operation->missing = 0;
    operation->missed = 0;
}

/* Decides after a failed attempt: true to try again (everything that the status asks for is done: map
 * fetched, cache dropped, waited), false with the final *status. */
bool operation_again_slow(struct client *client, struct operation *operation, int *status);
static inline bool operation_again(struct client *client, struct operation *operation, int *status)
{
    if (__builtin_expect(*status >= 0, 1))
        return false;
    return operation_again_slow(client, operation, status);
}

/* After an operation on an inode that a path led to: true, at most so often, when the inode was removed in
 * between, for the path may name another one by now. */
bool operation_gone_again(unsigned *attempts, int *status);

static inline void client_changed(struct client *client)
{
    if (__builtin_expect(client->changes != NULL, 0))
        atomic_fetch_add(client->changes, 1);
}

/* One attempt of one request: sets epoch and deadline, calls, and takes over a newer namespace epoch. */
int client_call(struct client *client, struct operation *operation, uint32_t server, struct rpc_call *call);
/* Before a call whose answer may have to wait for a server's journal: has the loop poll for about as long as
 * such answers took lately, since to be woken would cost both sides more. */
void client_expect_commit(struct client *client);
/* After it. */
static inline void client_note_commit(struct client *client, const struct rpc_call *call)
{
    if (__builtin_expect(call->timing.storage_ns != 0, 0))
        client->commit_ns += call->timing.storage_ns / 4 - client->commit_ns / 4;
}
/* The same for a call started with rpc_start: what to do once rpc_finish returned. */
void client_observe(struct client *client, const struct rpc_call *call);

static inline uint32_t client_hash_server(const struct client *client, uint64_t hash)
{
    return cluster_map_owner(client->map, hash_partition(hash));
}
static inline uint32_t client_inode_server(const struct client *client, uint64_t inode)
{
    return cluster_map_owner(client->map, inode_partition(inode));
}

/* The request in body (of that length) to a server; the reply's body to reply. */
static inline int client_request(struct client *client, struct operation *operation, uint32_t server,
                                 uint16_t number, const void *body, size_t body_length, void *reply,
                                 size_t reply_size)
{
    struct rpc_call call = {
        .operation = number,
        .body_length = (uint32_t)body_length,
        .body = body,
        .reply = reply,
        .reply_size = (uint32_t)reply_size,
    };
    return client_call(client, operation, server, &call);
}

/* Asks the inode's server for its attributes, one attempt. */
int client_get_attributes(struct client *client, struct operation *operation, uint64_t inode, uint8_t flags,
                          struct attributes *attributes);

/* Reads a symbolic link's target, one attempt. Returns its length, cut at size. */
ssize_t client_read_link(struct client *client, struct operation *operation, uint64_t inode, char *target,
                         size_t size);

/* ---- servers' attribute boards (board.c) ---- */

/* The operation asks that server: what is the name (number: directory; hash: dentry_hash), or with length 0,
 * what are the attributes of the inode (number)? BOARD_SILENT: send the request. Never suspends inside a
 * task; outside the loop may turn. */
enum board_answer client_board_ask(struct client *client, const struct operation *operation, uint32_t server,
                                   uint64_t hash, uint64_t number, const char *name, uint32_t length,
                                   struct attributes *attributes);
/* The same for one that opens the file of that name with `access` (MAY_*): what it has found is held, as
 * *hold tells, unless it is a symbolic link. BOARD_SILENT also when the caller may not, or when it is neither
 * file nor link: the server decides. */
enum board_answer client_board_open(struct client *client, const struct operation *operation, uint32_t server,
                                    uint64_t hash, uint64_t directory, const char *name, uint32_t length,
                                    uint32_t access, struct attributes *attributes, struct client_hold *hold);
/* Reads from a small file. Returns the count, or -1: send the request. */
ssize_t client_board_read(struct client *client, uint64_t inode, void *bytes, size_t length, uint64_t offset);
/* Ends a hold that is shown. Returns whether the inode's server is to be told, since it may have kept the
 * file for it. */
bool client_board_leave(struct client *client, uint64_t inode, const struct client_hold *hold);
/* The server had to answer such a question, and did, with that status: perhaps it is time to ask it for its
 * board. May suspend. */
void client_board_missed(struct client *client, const struct operation *operation, uint32_t server,
                         int status);
/* Lets go of all boards of the map's servers. */
void client_boards_drop(struct client *client);

/* ---- permissions ---- */

#define MAY_READ 4u
#define MAY_WRITE 2u
#define MAY_SEARCH 1u

/* Tells the server the current set of groups if it does not know it. Statuses of rpc_call. */
int credentials_register(struct client *client, uint32_t server, uint64_t deadline);
/* Whether every request to the server would find the current set there. */
static inline bool credentials_known(const struct client *client, uint32_t server)
{
    const struct credentials *caller = &client->caller;
    return __builtin_expect(caller->set == 0, 1) || (caller->known[server] >> caller->set & 1) != 0;
}
/* Some server's session is new: all are told again. */
void credentials_forget(struct client *client);
void credentials_destroy(struct credentials *caller);
bool credentials_in_group(const struct credentials *caller, uint32_t group);

/* 0 or -EACCES for the caller's credentials. */
int client_permits(const struct client *client, uint32_t mode, uint32_t uid, uint32_t gid, uint32_t access);

/* What opening with flags needs of an existing inode. */
static inline uint32_t open_access(int flags)
{
    if (flags & O_PATH)
        return 0;
    uint32_t access = (flags & O_ACCMODE) == O_RDONLY   ? MAY_READ
                      : (flags & O_ACCMODE) == O_WRONLY ? MAY_WRITE
                                                        : MAY_READ | MAY_WRITE;
    return flags & O_TRUNC ? access | MAY_WRITE : access;
}

/* ---- path walk ---- */

enum walk_last {
    WALK_NAME,    /* walk.name in walk.here */
    WALK_ROOT,    /* the path is "/": walk.here */
    WALK_DOT,     /* ends in ".": walk.here */
    WALK_DOT_DOT, /* ends in "..": walk.here, already the parent */
};

struct walk {
    struct client *client;
    struct operation *operation;
    struct directory here; /* the directory reached */
    const char *rest;      /* not walked yet */
    char *storage;         /* holds rest once a symbolic link was followed, else NULL */
    const char *name;      /* the last component */
    uint32_t name_length;
    uint32_t links; /* followed so far */
    bool upward;    /* there was a ".." */
    bool removed;   /* here has no name any more: nothing is in it */
    enum walk_last last;
    bool slash;    /* the path ends in a slash: only a directory will do */
    uint64_t hash; /* dentry_hash of the last component */
};

/* Begins at directory (INODE_ROOT when path is absolute) and walks to the last component. Whatever it
 * returns, end with walk_end. One attempt. */
int walk_path(struct walk *walk, struct client *client, struct operation *operation, uint64_t directory,
              const char *path);
/* Follows the symbolic link that the last component turned out to be, to the last component of its target. */
int walk_follow(struct walk *walk, const struct attributes *link);
static inline void walk_end(struct walk *walk)
{
    if (__builtin_expect(walk->storage != NULL, 0))
        free(walk->storage);
}
/* One operation on what a path leads to: walks there and does `step` with `walk`, an expression that is a
 * status, until the operation is decided. */
#define WALK_TO(client_, directory_, path_, walk, step)                                                      \
    ({                                                                                                       \
        struct operation operation_;                                                                         \
        int status_;                                                                                         \
        operation_begin(client_, &operation_);                                                               \
        do {                                                                                                 \
            struct walk walk;                                                                                \
            status_ = walk_path(&walk, client_, &operation_, directory_, path_);                             \
            if (__builtin_expect(status_ == 0, 1))                                                           \
                status_ = step;                                                                              \
            walk_end(&walk);                                                                                 \
        } while (operation_again(client_, &operation_, &status_));                                           \
        status_;                                                                                             \
    })
/* A directory that a path led to through the cache, and whose name is gone: only descriptors still lead to
 * it.
 */
static inline bool walk_is_gone(const struct walk *walk, const struct attributes *attributes)
{
    return attributes->links == 0 && walk->operation->used_cache;
}
/* Search and more permissions on walk.here; fetches its attributes anew before it refuses. */
int walk_permits(struct walk *walk, uint32_t access);
/* Group and mode of what the caller creates in walk->here. */
uint32_t walk_new_group(const struct walk *walk);
uint32_t walk_new_mode(const struct walk *walk, mode_t mode);
/* Looks the last component up (whatever it is), without following it. Directories: attributes as its own
 * inode has them. */
int walk_lookup(struct walk *walk, struct attributes *attributes);
/* The same, but follows a link at the end, and ENOTDIR when the path says directory and it is none. */
int walk_lookup_follow(struct walk *walk, struct attributes *attributes);

static inline bool is_directory(uint32_t mode)
{
    return (mode & S_IFMT) == S_IFDIR;
}
static inline bool is_link(uint32_t mode)
{
    return (mode & S_IFMT) == S_IFLNK;
}

/* Room for a request that ends in one name. */
union named_request {
    struct name_request request;
    uint8_t room[sizeof(struct name_request) + NAME_LENGTH_MAX];
};
static inline size_t walk_named_request(const struct walk *walk, union named_request *named)
{
    named->request.parent = walk->here.inode;
    named->request.uid = walk->client->caller.uid;
    named->request.gid = walk->client->caller.gid;
    named->request.flags = 0;
    named->request.name_length = (uint8_t)walk->name_length;
    memcpy(named->request.name, walk->name, walk->name_length);
    return sizeof(struct name_request) + walk->name_length;
}

static inline void directory_of(const struct attributes *attributes, struct directory *directory)
{
    directory->inode = attributes->inode;
    directory->parent = attributes->parent;
    directory->mode = attributes->mode;
    directory->uid = attributes->uid;
    directory->gid = attributes->gid;
}

/* What a path leads to, for an operation on the inode; of a directory only inode and mode are sure. One
 * operation with its own retries. */
int client_find(struct client *client, uint64_t directory, const char *path, bool follow,
                struct attributes *attributes);

/* ---- leases ---- */

int lease_create(struct lease_table *leases); /* 0 or -ENOMEM */
void lease_destroy(struct lease_table *leases);
uint8_t *lease_take_buffer(struct lease_table *leases); /* NULL: all are in use */
void lease_return_buffer(struct lease_table *leases, uint8_t *buffer);
/* Takes over the buffer. */
void lease_install(struct lease_table *leases, uint64_t inode, uint8_t *buffer, uint32_t length,
                   uint64_t until);
/* Called when a write or truncation of the inode begins and again when it ends. */
static inline void lease_revoke(struct lease_table *leases, uint64_t inode)
{
    leases->mutations++;
    struct lease *lease = lease_slot(leases, inode);
    if (lease->inode == inode)
        lease->inode = 0;
}

/* ---- holding files open (hold.c) ---- */

/* One attempt to hold an inode; operation->held says that it is. from: an instance on whose behalf, or 0. */
int client_hold_once(struct client *client, struct operation *operation, uint64_t inode, uint64_t from,
                     struct attributes *attributes);
/* Lets go of what the attempt holds. */
static inline void operation_let_go(struct client *client, struct operation *operation)
{
    if (operation->held != 0)
        client_release(client, operation->held, &operation->hold);
    operation->held = 0;
    operation->hold.slot = 0;
}
/* A server says that the inode has lost its last name but is held open. */
void client_note_orphan(struct client *client, uint64_t inode);
void client_release_overdue(struct client *client);
void client_release_timer(struct timer *timer);

/* ---- between open and io ---- */

/* Fills in file from what OPEN or CREATE_FILE told. -EPROTO: the layout makes no sense. */
int client_file_set(struct client_file *file, const struct attributes *attributes, int flags);

/* Takes over size and generation that the inode's server told. A size is believed for its generation only. */
static inline void file_learn(struct client_file *file, uint32_t generation, uint64_t size)
{
    uint32_t known = atomic_load_explicit(&file->generation, memory_order_acquire);
    if ((int32_t)(generation - known) < 0)
        return;
    if (atomic_load_explicit(&file->size, memory_order_relaxed) != size)
        atomic_store_explicit(&file->size, size, memory_order_relaxed);
    if (generation != known)
        atomic_store_explicit(&file->generation, generation, memory_order_release);
}

/* Has the servers copy a range that is not empty, lies below the source's size as far as that is known, and
 * ends within what a file may have. Returns as client_write does. */
ssize_t client_copy_range(struct client *client, const struct client_file *source, uint64_t source_offset,
                          struct client_file *file, uint64_t offset, uint64_t length);
/* Makes a file's size at least `end`, as a write there would. */
int client_extend(struct client *client, struct client_file *file, uint64_t end);
/* Cuts or extends; one operation with its own retries. checked: see struct truncate_request. */
int client_truncate_checked(struct client *client, uint64_t inode, uint64_t size, bool checked,
                            uint64_t expected, struct attributes *attributes);
