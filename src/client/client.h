/* The client core: one per thread and loop, everything by inode and path, statuses instead of errno.
 * libbenchfs wraps one per calling thread; the simulator runs many on one loop. Calls suspend the task (or
 * drive the loop). */
#pragma once

#include <sys/stat.h>

#include "cluster/map.h"
#include "data/placement.h"
#include "rpc/rpc.h"

struct client;

/* Inodes that were seen to lose their last name while open, as a set of hashes. Shared by the clients of one
 * instance, zeroed before use. */
#define CLIENT_ORPHAN_WORDS 16u
struct client_orphans {
    _Atomic uint64_t bits[CLIENT_ORPHAN_WORDS];
};

/* Where the clients of one instance show the servers of their host what they have opened without a message
 * (meta/holds.h), made when it is first needed. Zeroed before use. */
struct net_shown;
struct client_holds {
    _Atomic(struct net_shown *) shown;
};
/* After the last of these clients, or in the child after a fork: its own memory starts empty. */
void client_holds_end(struct client_holds *holds);

/* How an open file is held: by its server's count, or by what the instance shows. */
struct client_hold {
    uint32_t slot;  /* of the latter; 0: the former */
    uint64_t stamp; /* what the server's board said of the inode then */
};

struct client_options {
    const uint8_t *cluster_key;
    const char *const *addresses; /* bootstrap addresses to ask for the map, tried in turn */
    uint32_t address_count;
    uint64_t rpc_deadline_ns;
    uint32_t rendezvous_threshold;
    uint64_t instance; /* of the process, the same for all its clients; 0: this client is one by itself */
    struct client_orphans *orphans; /* of the instance; NULL: this client is one by itself */
    struct client_holds *holds;     /* likewise */
    uint32_t uid, gid;              /* credentials of requests */
    uint32_t umask;
    uint8_t placement; /* for created files */
    uint8_t chunk_shift;
    const char *prefix; /* where programs see the root, or NULL: see client_left */
};

/* Fetches the map from the first address that answers. Errors: -EACCES (key refused), -STATUS_BAD_VERSION,
 * -EHOSTDOWN, -ETIMEDOUT (servers answer but have no map yet). Suspends. */
int client_create(struct net *net, const struct client_options *options, struct client **client);
void client_destroy(struct client *client);

/* On whose behalf the client asks from now on. groups: the supplementary ones, in any order, at most
 * RPC_GROUPS_MAX. Calls no server; costs a few ns when nothing changes. 0, -EINVAL (too many), -ENOMEM. */
int client_set_credentials(struct client *client, uint32_t uid, uint32_t gid, const uint32_t *groups,
                           uint32_t count);
/* With a prefix ("/benchfs"), the target of an absolute symbolic link is a path of the program's: below the
 * prefix the walk goes on from the root, elsewhere it ends with -STATUS_OUTSIDE. So does ".." from the root.
 * Returns the path that the program meant, valid until the client's next path, or NULL when the last one did
 * not lead out. */
const char *client_left(const struct client *client);

/* Has every request of this client that changes something count *changes up, when it has ended. */
void client_count_changes(struct client *client, _Atomic uint64_t *changes);

/* An open file. May be used by several clients (threads) at once: what changes after open is atomic. Small
 * files' data that came with open stays in the client (a lease), not here. */
struct client_file {
    uint64_t inode;
    uint64_t parent; /* of a directory */
    struct layout layout;
    uint32_t mode;
    _Atomic int flags;           /* O_* */
    bool held;                   /* until client_close */
    struct client_hold hold;     /* while it is */
    _Atomic uint32_t generation; /* last seen */
    _Atomic uint64_t size;       /* last seen: a hint, valid for this generation */
};

/* directory: inode to start relative paths from (INODE_ROOT for absolute ones). Statuses are negative errno.
 * An open file is held at its inode's server, so that it stays when its last name goes, until client_close
 * was called as often as it was opened by this instance, or the instance ends. */
int client_open(struct client *client, uint64_t directory, const char *path, int flags, mode_t mode,
                struct client_file *file);
/* The same, also tells what was opened or made. */
int client_open_entry(struct client *client, uint64_t directory, const char *path, int flags, mode_t mode,
                      struct client_file *file, struct attributes *attributes);
/* Sends nothing by itself (hold.c); suspends only if the file has lost its name or much was closed. */
void client_close(struct client *client, struct client_file *file);
/* Lets go of one hold of the inode, as client_close does. */
void client_release(struct client *client, uint64_t inode, const struct client_hold *hold);
/* Tells the server that other processes may take over what this instance holds, even after its own has
 * ended. 0 or a negative status. */
int client_announce_heirs(struct client *client, uint32_t server);
/* Tells the servers of all files closed so far. */
void client_release_last(struct client *client);
/* Holds an inode that another instance (from) holds, or that has a name. -ESTALE: it is gone. */
int client_hold(struct client *client, uint64_t inode, uint64_t from, struct attributes *attributes);
ssize_t client_read(struct client *client, struct client_file *file, void *bytes, size_t length,
                    uint64_t offset);
/* The same for who takes less than `length` for the end of the file: what fails in the middle fails. */
ssize_t client_read_whole(struct client *client, struct client_file *file, void *bytes, size_t length,
                          uint64_t offset);
ssize_t client_write(struct client *client, struct client_file *file, const void *bytes, size_t length,
                     uint64_t offset);
/* O_APPEND write; *offset gets the place of what was written. */
ssize_t client_append(struct client *client, struct client_file *file, const void *bytes, size_t length,
                      uint64_t *offset);
/* The same with memory in several ranges, `length` bytes of them (the ranges hold at least as many), moved as
 * one transfer. */
ssize_t client_read_vector(struct client *client, struct client_file *file, const struct iovec *vector,
                           uint32_t vector_count, size_t length, uint64_t offset);
ssize_t client_write_vector(struct client *client, struct client_file *file, const struct iovec *vector,
                            uint32_t vector_count, size_t length, uint64_t offset);
ssize_t client_append_vector(struct client *client, struct client_file *file, const struct iovec *vector,
                             uint32_t vector_count, size_t length, uint64_t *offset);
/* ---- file locks ---- */

struct client_lock {
    uint64_t inode;
    uint64_t owner; /* see struct lock_request */
    uint64_t start, end;
    uint32_t pid;
    uint8_t kind; /* enum lock_kind */
    uint8_t type; /* enum lock_type */
};
/* Locks or unlocks. wait: until it is granted; then give_up (may be NULL) is asked now and then whether to
 * stop, and -EINTR comes of it. Otherwise -EAGAIN when the lock is taken; -EDEADLK, -ENOLCK. */
int client_lock(struct client *client, const struct client_lock *lock, bool wait,
                bool (*give_up)(void *argument), void *argument);
/* What is in the way of the lock: *found, of type LOCK_NONE when nothing is. */
int client_lock_test(struct client *client, const struct client_lock *lock, struct lock_reply *found);
/* An instance holds a description's locks too, or lets go of an owner's. holder: 0 for this client's; another
 * (-ESTALE: it is gone, or has not opened the file) may get a share of a description's. */
int client_lock_share(struct client *client, uint64_t inode, uint8_t kind, uint64_t owner, uint64_t holder);
int client_lock_release(struct client *client, uint64_t inode, uint8_t kind, uint64_t owner, uint64_t holder);

/* Waits until what this and others have written to the file, and its attributes and name, outlive the
 * servers; a directory's entries. */
int client_sync(struct client *client, struct client_file *file);
/* The same for everything. */
int client_sync_all(struct client *client);
/* fallocate: kind is an enum allocation. */
int client_allocate(struct client *client, struct client_file *file, uint8_t kind, bool keep_size,
                    uint64_t offset, uint64_t length);
/* copy_file_range: the servers move the bytes among themselves; holes of some size stay holes. Returns how
 * many bytes were copied, fewer than asked for at the source's end or when it failed after some. */
ssize_t client_copy(struct client *client, struct client_file *source, uint64_t source_offset,
                    struct client_file *file, uint64_t offset, uint64_t length);
/* *result: the first data, or with hole the first hole, at or after offset; the end of the file is a hole.
 * -ENXIO: offset is not below the size, or there is no more data. */
int client_seek(struct client *client, struct client_file *file, uint64_t offset, bool hole,
                uint64_t *result);
int client_attributes(struct client *client, uint64_t inode, struct attributes *attributes);
/* The same as the inode's server alone knows them, which suffices for a file's size: blocks may be
 * BLOCKS_UNKNOWN. */
int client_file_attributes(struct client *client, uint64_t inode, struct attributes *attributes);
int client_stat(struct client *client, uint64_t directory, const char *path, bool follow,
                struct attributes *attributes);
int client_access(struct client *client, uint64_t directory, const char *path, int mode, bool follow);
int client_mkdir(struct client *client, uint64_t directory, const char *path, mode_t mode);
int client_create_directory(struct client *client, uint64_t directory, const char *path, mode_t mode,
                            struct attributes *attributes);
/* mode: with S_IFMT bits, of anything but a directory or symbolic link. */
int client_make_node(struct client *client, uint64_t directory, const char *path, mode_t mode,
                     uint64_t device, struct attributes *attributes);
int client_rmdir(struct client *client, uint64_t directory, const char *path);
int client_unlink(struct client *client, uint64_t directory, const char *path);
/* flags: RENAME_FLAG_NOREPLACE or RENAME_FLAG_EXCHANGE. */
int client_rename(struct client *client, uint64_t old_directory, const char *old_path, uint64_t new_directory,
                  const char *new_path, unsigned flags);
/* follow: a symbolic link at the end of old_path. */
int client_link(struct client *client, uint64_t old_directory, const char *old_path, uint64_t new_directory,
                const char *new_path, bool follow);
int client_link_inode(struct client *client, uint64_t inode, uint64_t directory, const char *path,
                      struct attributes *attributes);
int client_symlink(struct client *client, const char *target, uint64_t directory, const char *path);
int client_create_symlink(struct client *client, const char *target, uint64_t directory, const char *path,
                          struct attributes *attributes);
ssize_t client_readlink(struct client *client, uint64_t directory, const char *path, char *target,
                        size_t size);
int client_truncate(struct client *client, uint64_t directory, const char *path, uint64_t size);
int client_truncate_inode(struct client *client, uint64_t inode, uint64_t size);
/* As client_truncate_inode for an open file: keeps what it knows of its size up to date. */
int client_truncate_file(struct client *client, struct client_file *file, uint64_t size);
/* What a call on an inode is about: the inode itself, or what a path leads to. */
struct client_place {
    uint64_t inode;   /* path: where relative ones start */
    const char *path; /* NULL: the inode */
    bool follow;      /* a link at the end of path */
};

/* Extended attributes, with the errors of their namesakes on Linux. size 0: only the size is wanted. flags:
 * XATTR_SET_*. */
ssize_t client_getxattr(struct client *client, const struct client_place *place, const char *name,
                        void *value, size_t size);
int client_setxattr(struct client *client, const struct client_place *place, const char *name,
                    const void *value, size_t size, uint8_t flags);
ssize_t client_listxattr(struct client *client, const struct client_place *place, char *names, size_t size);
int client_removexattr(struct client *client, const struct client_place *place, const char *name);

/* set->inode is filled in by the path form. */
int client_set_attributes(struct client *client, uint64_t directory, const char *path, bool follow,
                          struct set_attributes_request *set);
int client_set_attributes_inode(struct client *client, struct set_attributes_request *set);

/* ---- what has a number instead of a path (inodes.c) ----
 *
 * For callers that walk paths themselves and name what they found by inode. All of them answer -ESTALE for an
 * inode that is gone. */

/* One LOOKUP of a name in a directory, whatever the cache knows: what it says held during the call. Of a
 * directory the attributes are those of its own inode (see ATTRIBUTES_GATHER). */
int client_lookup(struct client *client, uint64_t directory, const char *name, struct attributes *attributes);
/* Opens an inode that is there: flags without O_CREAT. With CLIENT_OPEN_EXECUTE the caller needs permission
 * to execute the file, not to read it. */
#define CLIENT_OPEN_EXECUTE 040
int client_open_inode(struct client *client, uint64_t inode, int flags, struct client_file *file,
                      struct attributes *attributes);
/* access: bits 4 read, 2 write, 1 execute or search. 0 or -EACCES. */
/* 0 for root and the inode's owner, else -EPERM. */
int client_owns(struct client *client, uint64_t inode);
int client_access_inode(struct client *client, uint64_t inode, uint32_t access);
/* The target, not terminated, cut at size. Returns its length. */
ssize_t client_readlink_inode(struct client *client, uint64_t inode, char *target, size_t size);
/* As client_set_attributes_inode, and tells the attributes after it. */
int client_change_inode(struct client *client, struct set_attributes_request *set,
                        struct attributes *attributes);
/* Sets the size of a file that is not open, so write permission is checked. */
int client_resize_inode(struct client *client, uint64_t inode, uint64_t size, struct attributes *attributes);

/* Listing: entries of all servers merged in (hash, name) order. */
struct client_entry {
    uint64_t hash;                /* cursor of this entry: go on with hash + 1 */
    uint8_t matches;              /* with a filter: 1 matches, 0 a directory that does not */
    struct attributes attributes; /* with want_attributes or filter complete, else inode and type only */
    uint8_t name_length;
    char name[256];
};
struct client_listing;
/* filter may be NULL; pattern belongs to it. Starts at cursor (0: beginning). */
int client_list_open(struct client *client, uint64_t directory, uint64_t cursor, bool want_attributes,
                     const struct list_filter *filter, const char *pattern, struct client_listing **listing);
/* 1 and *entry, 0 at the end, or a negative status. */
int client_list_next(struct client_listing *listing, struct client_entry *entry);
void client_list_close(struct client_listing *listing);

int client_statfs(struct client *client, struct statfs_reply *reply); /* summed over servers */
const struct cluster_map *client_map(const struct client *client);
/* The peer of server index, for status, ping and shutdown. */
struct rpc_peer *client_peer(struct client *client, uint32_t server);
struct loop *client_loop(struct client *client);
