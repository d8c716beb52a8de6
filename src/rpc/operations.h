/* Every operation on the wire: one table, and one packed little-endian struct per request and reply body.
 *
 * Reply number = request number + 100. Flags: MUTATES - applied at most once, by (session, correlation), the
 * reply is remembered and repeated; otherwise the operation is idempotent and simply executed again. SERVERS
 * - accepted only on a session whose peer proved to be a server of this cluster. OTHER - the body does not
 * begin with the inode that it is about.
 *
 * A body that ends in `char name[]` is followed by exactly name_length bytes, without NUL. Inode numbers,
 * hashes and partitions are defined in cluster/partition.h; times are nanoseconds since 1970 UTC. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "net/net.h"

#define RPC_PROTOCOL_VERSION 1
#define RPC_MUTATES 1u
#define RPC_SERVERS 2u
#define RPC_OTHER 4u

/*      id  name                  request body    reply body     flags */
#define OPERATION_TABLE(OP)                                                                                  \
    OP(10, READ_CHUNK, chunk_read_request, chunk_reply, 0)             /* bulk out: the bytes */             \
    OP(11, WRITE_CHUNK, chunk_write_request, chunk_reply, RPC_MUTATES) /* bulk in: the bytes */              \
    OP(12, TRUNCATE_CHUNKS, chunk_truncate_request, empty_body, RPC_MUTATES | RPC_SERVERS)                   \
    OP(13, SYNC_CHUNKS, inode_request, empty_body, 0)                                                        \
    OP(14, SHAPE_CHUNKS, chunk_shape_request, empty_body, RPC_MUTATES | RPC_SERVERS)                         \
    OP(15, SEEK_CHUNKS, chunk_seek_request, chunk_seek_reply, 0)                                             \
    OP(16, CHUNKS_HELD, inode_request, chunks_held_reply, RPC_SERVERS)                                       \
    OP(17, COPY_CHUNK, copy_request, chunk_reply, RPC_MUTATES)                                               \
    OP(18, PIN_CHUNKS, pin_request, empty_body, RPC_MUTATES | RPC_SERVERS)                                   \
    OP(20, LOOKUP, name_request, attributes_reply, 0)                                                        \
    OP(21, CREATE_FILE, create_request, attributes_reply, RPC_MUTATES)                                       \
    OP(22, CREATE_DIRECTORY, create_request, attributes_reply, RPC_MUTATES)                                  \
    OP(23, UNLINK, name_request, unlink_reply, RPC_MUTATES)                                                  \
    OP(24, REMOVE_DIRECTORY, name_request, empty_body, RPC_MUTATES)                                          \
    OP(25, OPEN, open_request, open_reply, RPC_MUTATES) /* bulk out: inline data */                          \
    OP(26, GET_ATTRIBUTES, attributes_request, attributes_reply, 0)                                          \
    OP(27, SET_ATTRIBUTES, set_attributes_request, attributes_reply, RPC_MUTATES)                            \
    OP(28, EXTEND, extend_request, extend_reply, RPC_MUTATES)                                                \
    OP(29, TRUNCATE, truncate_request, attributes_reply, RPC_MUTATES)                                        \
    OP(30, LIST, list_request, list_reply, 0)                             /* bulk out: list_entry records */ \
    OP(31, CREATE_SYMLINK, create_request, attributes_reply, RPC_MUTATES) /* bulk in: the target */          \
    OP(32, READ_LINK, inode_request, empty_body, 0)                       /* bulk out: the target */         \
    OP(33, RENAME, rename_request, unlink_reply, RPC_MUTATES)                                                \
    OP(34, KEY_LOCK, key_lock_request, key_lock_reply, RPC_MUTATES | RPC_SERVERS | RPC_OTHER)                \
    OP(35, KEY_FINISH, key_finish_request, empty_body, RPC_MUTATES | RPC_SERVERS | RPC_OTHER)                \
    OP(36, DIRECTORY_FREEZE, directory_request, directory_reply, RPC_MUTATES | RPC_SERVERS)                  \
    OP(37, DIRECTORY_FINISH, directory_request, empty_body, RPC_MUTATES | RPC_SERVERS)                       \
    OP(38, NAMESPACE_BUMP, epoch_request, empty_body, RPC_SERVERS)                                           \
    OP(39, INODE_UNLINK, inode_unlink_request, unlink_reply, RPC_MUTATES | RPC_SERVERS)                      \
    OP(40, GET_MAP, empty_body, empty_body, 0) /* bulk out: encoded cluster map */                           \
    OP(50, PING, ping_request, ping_reply, 0)  /* bulk both ways, as asked */                                \
    OP(51, SERVER_STATUS, empty_body, server_status_reply, 0)                                                \
    OP(52, SHUT_DOWN, empty_body, empty_body, 0)                                                             \
    OP(53, STATFS, empty_body, statfs_reply, 0)                                                              \
    OP(54, DIRECTORY_STATUS, directory_request, directory_reply, 0)                                          \
    OP(55, SET_PARENT, parent_request, empty_body, RPC_SERVERS)                                              \
    OP(56, READ_METRICS, metrics_request, metrics_reply, RPC_OTHER) /* bulk out: bytes of the region */      \
    OP(57, SET_METRICS, metrics_set_request, empty_body, RPC_OTHER)                                          \
    OP(58, GET_BOARD, board_request, board_reply, RPC_OTHER)                                                 \
    OP(59, NAME_OF, inode_request, name_of_reply, 0)                                                         \
    OP(60, LINK, link_request, attributes_reply, RPC_MUTATES)                                                \
    OP(61, INODE_LINK, inode_link_request, attributes_reply, RPC_MUTATES | RPC_SERVERS)                      \
    OP(62, HOLD, hold_request, attributes_reply, RPC_MUTATES)                                                \
    OP(63, RELEASE, empty_body, empty_body, RPC_MUTATES) /* only brings notices */                           \
    OP(64, MAKE_NODE, node_request, attributes_reply, RPC_MUTATES | RPC_OTHER)                               \
    OP(65, CREATE_UNNAMED, unnamed_request, attributes_reply, RPC_MUTATES)                                   \
    OP(66, OLDEST_INTENT, empty_body, oldest_intent_reply, RPC_SERVERS)                                      \
    OP(67, TAKE_TURN, turn_request, empty_body, RPC_OTHER)                                                   \
    OP(70, ALLOCATE, allocate_request, attributes_reply, RPC_MUTATES)                                        \
    OP(71, GET_XATTR, xattr_request, xattr_reply, 0)          /* bulk out: the value */                      \
    OP(72, SET_XATTR, xattr_request, empty_body, RPC_MUTATES) /* bulk in: the value */                       \
    OP(73, LIST_XATTRS, xattr_request, xattr_reply, 0)        /* bulk out: the names, a NUL behind each */   \
    OP(74, REMOVE_XATTR, xattr_request, empty_body, RPC_MUTATES)                                             \
    OP(80, SET_GROUPS, groups_request, empty_body, 0) /* bulk in: the groups, uint32_t each, ascending */    \
    OP(81, LOCK, lock_request, empty_body, RPC_MUTATES)                                                      \
    OP(82, LOCK_TEST, lock_request, lock_reply, 0)                                                           \
    OP(83, LOCK_SHARE, lock_owner_request, empty_body, RPC_MUTATES)                                          \
    OP(84, LOCK_RELEASE, lock_owner_request, empty_body, RPC_MUTATES)                                        \
    OP(85, INODE_TOUCH, inode_request, empty_body, RPC_SERVERS)        /* its change time becomes now */     \
    OP(90, CHECK_INODES, check_inodes_request, check_reply, RPC_OTHER) /* bulk out: check_inode records */   \
    OP(91, CHECK_NAMES, check_names_request, check_reply, 0)           /* bulk out: check_name records */    \
    OP(92, CHECK_CHUNKS, check_chunks_request, check_reply, 0)         /* bulk out: check_chunks records */  \
    OP(93, CHECK_SETTLED, check_settled_request, check_settled_reply, RPC_OTHER)                             \
    OP(94, REPAIR_INODE, repair_inode_request, empty_body, RPC_MUTATES)                                      \
    OP(95, REPAIR_NAME, repair_name_request, empty_body, RPC_MUTATES)                                        \
    OP(96, SCRUB, scrub_request, scrub_reply, 0) /* bulk out: scrub_damage records */

enum rpc_operation {
#define OP(id, name, request, reply, flags) RPC_##name = (id),
    OPERATION_TABLE(OP)
#undef OP
};

#define RPC_REPLY_OFFSET 100
#define RPC_OPERATION_MAX 97 /* operation numbers are below this */
#define NAME_LENGTH_MAX 255u
#define PATH_LENGTH_MAX 4095u
#define SYMLINK_LENGTH_MAX 4095u
#define INLINE_DATA_MAX 4096u
#define INODE_LINKS_MAX 65000u /* names of one file: -EMLINK beyond */

#define WIRE __attribute__((packed))

struct WIRE rpc_request_header {
    uint8_t version;
    uint8_t flags; /* RPC_HEADER_* */
    uint16_t operation;
    uint32_t session;     /* the receiver's session slot */
    uint64_t token;       /* proves that the session is the sender's */
    uint64_t correlation; /* unique within the session, never reused; the reply repeats it */
    uint32_t map_epoch;
    uint32_t namespace_epoch;
    uint32_t deadline_us; /* time left; 0 means it has passed */
    uint16_t body_length; /* bytes after this header */
    uint16_t notices;     /* behind the body: so many uint64_t, see rpc_peer_notice */
};
static_assert(sizeof(struct rpc_request_header) == 40, "wire size");

/* The same in one line of memory less, where messages of a connection arrive in order and none is missing:
 * what is not here is as in the full header that came before, no notices follow, and the body is the rest. */
struct WIRE rpc_short_header {
    uint8_t version; /* RPC_SHORT_VERSION */
    uint8_t flags;
    uint16_t operation;
    uint32_t deadline_us;
    uint64_t correlation;
};
static_assert(sizeof(struct rpc_short_header) == 16, "wire size");
#define RPC_SHORT_VERSION (0x80 | RPC_PROTOCOL_VERSION)

#define RPC_HEADER_RETRY 1u /* an earlier attempt may have been applied */
/* The other bits of flags: which of the session's sets of groups are the caller's, 0: none. */
#define RPC_HEADER_GROUPS_SHIFT 3
#define RPC_GROUP_SETS 32u   /* of a session, number 0 included */
#define RPC_GROUPS_MAX 1024u /* in a set */

struct WIRE rpc_reply_header {
    uint8_t version;
    uint8_t flags;
    uint16_t operation; /* request + RPC_REPLY_OFFSET */
    int32_t status;     /* 0 or a negative status */
    uint64_t correlation;
    uint32_t map_epoch; /* the server's */
    uint32_t namespace_epoch;
    uint32_t queue_ns;   /* for which it can have waited because the server was at work, at most */
    uint32_t handler_ns; /* handler, less storage; METRICS_UNTOLD: the message's postscript tells
                            (metrics_handler) */
    uint32_t storage_ns;
    uint32_t body_length;
};
static_assert(sizeof(struct rpc_reply_header) == 40, "wire size");

struct WIRE empty_body {
    uint8_t nothing[0];
};

/* How a file's bytes are laid out; fixed at creation. */
struct WIRE layout {
    uint8_t placement;   /* enum placement (data/placement.h) */
    uint8_t chunk_shift; /* log2 of the chunk size: 16..26 */
    uint16_t reserved;
    uint32_t base; /* placement local: partition of all chunks but chunk 0 */
};
static_assert(sizeof(struct layout) == 8, "wire size");

struct WIRE attributes {
    uint64_t inode;
    uint64_t size;
    int64_t access_time;
    int64_t modify_time;
    int64_t change_time;
    uint32_t mode; /* type and permission bits as in struct stat */
    uint32_t uid;
    uint32_t gid;
    uint32_t links;
    uint32_t generation; /* counts shrinking truncations */
    struct layout layout;
    uint64_t blocks; /* 512-byte units held; BLOCKS_UNKNOWN: GET_ATTRIBUTES with ATTRIBUTES_GATHER counts */
    /* Of a directory: the inode that contains it (root: itself), so that a client can walk "..". Of a device
     * node: the device's number. */
    uint64_t parent;
};
static_assert(sizeof(struct attributes) == 84, "wire size");
#define BLOCKS_UNKNOWN UINT64_MAX

struct WIRE attributes_reply {
    struct attributes attributes;
};

/* Registers a set of supplementary groups in the session, or replaces it. Requests with a set that the
 * session does not know are refused with STATUS_UNKNOWN_GROUPS, if the answer depends on it. */
struct WIRE groups_request {
    uint8_t set; /* 1 .. RPC_GROUP_SETS - 1 */
};

/* The directory's inode and a name in it; uid and gid of the caller. */
struct WIRE name_request {
    uint64_t parent;
    uint32_t uid;
    uint32_t gid;
    uint8_t flags;
    uint8_t name_length;
    char name[];
};
static_assert(sizeof(struct name_request) == 18, "wire size");

#define CREATE_EXCLUSIVE                                                                                     \
    1u /* an existing entry is -EEXIST; otherwise its attributes are returned (files only) */
#define CREATE_TRUNCATE 2u /* an existing file whose inode is on the same server is truncated to 0 */
#define CREATE_READ 4u     /* access wanted of an existing file, checked against its permissions */
#define CREATE_WRITE 8u

struct WIRE create_request {
    uint64_t parent;
    uint32_t uid;   /* the caller's, and of what is made */
    uint32_t gid;   /* the caller's */
    uint32_t group; /* of what is made */
    uint32_t mode;  /* permission bits after umask */
    uint32_t layout_base;
    uint8_t placement;
    uint8_t chunk_shift;
    uint8_t flags; /* CREATE_* */
    uint8_t name_length;
    char name[];
};
static_assert(sizeof(struct create_request) == 32, "wire size");

/* A regular file that is not opened, a fifo, a socket or a device node. */
struct WIRE node_request {
    uint64_t device; /* of a device node */
    uint32_t type;   /* S_IFMT bits */
    struct create_request create;
};

/* A file without a name (O_TMPFILE), held by the caller from the start. */
struct WIRE unnamed_request {
    uint64_t parent; /* the directory that it could have been in */
    uint64_t hash;   /* any: the server of this hash makes it */
    uint32_t uid;
    uint32_t gid;
    uint32_t group;
    uint32_t mode;
    uint32_t layout_base;
    uint8_t placement;
    uint8_t chunk_shift;
    uint8_t linkable; /* 1: LINK may give it a name */
};

#define OPEN_WANT_INLINE 1u /* return inline data and take a read lease for it */
#define OPEN_LINK 2u        /* a symbolic link itself is opened, not to be followed */

struct WIRE open_request {
    uint64_t parent;
    uint32_t uid;
    uint32_t gid;
    uint8_t flags;  /* OPEN_* */
    uint8_t access; /* bits 4 read, 2 write: checked against the inode's permissions */
    uint8_t name_length;
    char name[];
};

struct WIRE open_reply {
    struct attributes attributes;
    uint32_t
        lease_us; /* for so long after the request was sent the returned data may be served; 0: no data */
};

/* Where memory is shown to others on the same host: a struct net_place. */
struct WIRE shown_place {
    uint64_t length; /* bytes; 0: there is none */
    uint32_t process;
    uint32_t descriptor;
    uint8_t id[16];
};

static inline void shown_place_fill(const struct net_place *place, struct shown_place *told)
{
    told->length = place->length;
    told->process = place->process;
    told->descriptor = place->descriptor;
    memcpy(told->id, place->id, sizeof(told->id));
}

static inline struct net_place shown_place_of(const struct shown_place *told)
{
    struct net_place place = {
        .length = told->length, .process = told->process, .descriptor = told->descriptor};
    memcpy(place.id, told->id, sizeof(place.id));
    return place;
}

/* Where the caller's instance shows what it holds (meta/holds.h), and where the server shows its attribute
 * board (meta/board.h), for clients on the same host. */
struct WIRE board_request {
    struct shown_place holds;
};

struct WIRE board_reply {
    struct shown_place board;
    uint8_t holds_seen; /* the server looks at the instance's holds from now on */
    uint8_t reserved[7];
};

struct WIRE inode_request {
    uint64_t inode;
};

/* What an inode is called: a name that the asked server knows of. -ENOENT: none. */
struct WIRE name_of_reply {
    uint64_t parent;
    uint8_t name_length;
    char name[NAME_LENGTH_MAX];
};

/* A directory's link count and times, and the memory that a large file takes, are spread over all servers.
 * Without GATHER the reply has what the inode's server alone knows, which is all that a path walk needs. */
#define ATTRIBUTES_GATHER 1u

struct WIRE attributes_request {
    uint64_t inode;
    uint8_t flags; /* ATTRIBUTES_* */
};

#define SET_MODE 1u
#define SET_UID 2u
#define SET_GID 4u
#define SET_ACCESS_TIME 8u
#define SET_MODIFY_TIME 16u
#define SET_ACCESS_TIME_NOW 32u
#define SET_MODIFY_TIME_NOW 64u
#define SET_CLEAR_IDS 128u /* a file loses its set-user-id and set-group-id bits, as by chown */

struct WIRE set_attributes_request {
    uint64_t inode;
    uint32_t caller_uid;
    uint32_t caller_gid;
    uint32_t fields; /* SET_* */
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    int64_t access_time;
    int64_t modify_time;
};

#define EXTEND_APPEND 1u    /* allocate [size, size + length) and return its offset */
#define EXTEND_CLEAR_IDS 2u /* as CHUNK_CLEAR_IDS */

/* Tells the inode's server about a write elsewhere: size grows to at least `end`, times are set. */
struct WIRE extend_request {
    uint64_t inode;
    uint64_t end;        /* with EXTEND_APPEND: the length */
    uint32_t generation; /* mismatch: -STATUS_STALE_GENERATION */
    uint8_t flags;
};
struct WIRE extend_reply {
    uint64_t offset;
    uint64_t size;
    uint32_t generation;
};

struct WIRE truncate_request {
    uint64_t inode;
    uint64_t size;
    uint32_t uid;
    uint32_t gid;
    uint8_t
        checked; /* 1: the caller holds a descriptor open for writing, permissions are not checked again */
    /* UINT64_MAX, or the size the file must have, else -EAGAIN: takes back what a failed write left. Then
     * size == expected is allowed and still drops chunk data beyond the size (and counts the generation up).
     */
    uint64_t expected;
};

struct WIRE chunk_read_request {
    uint64_t inode;
    uint64_t index;
    uint32_t offset; /* within the chunk */
    uint32_t length;
    uint8_t flags; /* CHUNK_NO_ACCESS_TIME */
};

#define CHUNK_NO_ACCESS_TIME 1u /* of a read: leaves the access time alone */

#define CHUNK_KEEP_SIZE                                                                                      \
    1u /* do not grow the file here: an EXTEND follows when all chunks of the write are there */

#define CHUNK_CLEAR_IDS 2u /* the writer is not root: clear the set-user-id and set-group-id bits */

struct WIRE chunk_write_request {
    uint64_t inode;
    uint64_t index;
    uint32_t offset;
    uint32_t length; /* = bulk length */
    uint32_t generation;
    uint8_t chunk_shift;
    uint8_t flags; /* CHUNK_* */
};

/* A write (to, of `to.length` bytes without bulk) whose bytes the servers fetch from one chunk of a file, the
 * same or another. What lies beyond the end there is zero. */
struct WIRE copy_request {
    struct chunk_write_request to;
    uint64_t from; /* inode */
    uint64_t from_index;
    uint32_t from_offset;
    struct layout from_layout;
};

/* length: bytes written, or bytes of the chunk that exist in the asked range (less than asked: hole or end of
 * file). Where the inode is on the same server (any index): owner = 1, size and generation are the file's,
 * and a write has set size and times; otherwise 0. */
struct WIRE chunk_reply {
    uint32_t length;
    uint32_t generation;
    uint64_t size;
    uint8_t owner; /* 1: size and generation are valid */
};

/* Drops what lies at or beyond `size` on the receiver, and fences writes of older generations.
 * remove = 1: the file is gone. */
struct WIRE chunk_truncate_request {
    uint64_t inode;
    uint64_t size;
    uint32_t generation;
    uint8_t chunk_shift;
    uint8_t remove;
};

enum allocation {
    ALLOCATE_RESERVE = 0, /* take memory for what is written there later */
    ALLOCATE_PUNCH = 1,   /* make it a hole */
    ALLOCATE_ZERO = 2,    /* make it zeros that have memory */
};

#define ALLOCATE_KEEP_SIZE 1u /* the size does not grow */
#define ALLOCATE_CLEAR_IDS 2u /* as CHUNK_CLEAR_IDS */

/* fallocate, served by the inode's server, which has the others shape their chunks. */
struct WIRE allocate_request {
    uint64_t inode;
    uint64_t offset;
    uint64_t length; /* > 0; offset + length <= INT64_MAX */
    uint8_t kind;    /* enum allocation */
    uint8_t flags;   /* ALLOCATE_* */
};

/* Shapes bytes [start, end) of a file in the receiver's chunks. */
struct WIRE chunk_shape_request {
    uint64_t inode;
    uint64_t start;
    uint64_t end;
    uint32_t generation;
    struct layout layout;
    uint8_t kind; /* enum allocation */
};

/* Where the chunks of a file are to be from now on. */
struct WIRE pin_request {
    uint64_t inode;
    uint8_t tier; /* enum store_tier */
};

/* Where the next data (hole = 0) or the next hole is at or after `offset`, in the chunks that belong to the
 * receiver. */
struct WIRE chunk_seek_request {
    uint64_t inode;
    uint64_t offset;
    struct layout layout;
    uint8_t hole;
};
struct WIRE chunk_seek_reply {
    uint64_t position; /* UINT64_MAX: there is none here */
    uint64_t size;     /* with owner */
    uint32_t generation;
    uint8_t found; /* 0: not before position; ask again from there */
    uint8_t owner; /* 1: size and generation are valid; position takes the size into account */
};

struct WIRE chunks_held_reply {
    uint64_t bytes; /* that the receiver's chunks of the file take */
};

#define LIST_ATTRIBUTES 1u /* entries bring attributes where the inode is on the same server */
#define LIST_FILTER 2u     /* return only entries that match the filter, and all directories */

/* find's predicate, evaluated by the servers. Zero fields do not filter. */
struct WIRE list_filter {
    uint64_t size_min;
    uint64_t size_max;      /* 0: none */
    int64_t newer;          /* modify_time > newer; INT64_MIN: none */
    uint32_t type;          /* S_IFMT bits; 0: any */
    uint8_t pattern_length; /* fnmatch(3) pattern for the name; 0: any */
};

/* One directory's entries on the receiving server, in ascending (hash, name) order after the cursor. */
struct WIRE list_request {
    uint64_t directory;
    uint64_t cursor;    /* entries with hash >= cursor; 0 from the start */
    uint32_t bytes_max; /* of bulk; at least one entry is returned if there is one */
    uint8_t flags;
    struct list_filter filter;
    char pattern[];
};
struct WIRE list_reply {
    uint64_t next; /* cursor to go on with; 0: no more. Entries of equal hash are never split */
    uint32_t entries;
};
struct WIRE list_entry {
    uint16_t record_length; /* of this entry with all that is behind it, padded to 8 */
    uint8_t name_length;
    uint8_t flags; /* LIST_ENTRY_* */
    uint32_t type; /* S_IFMT bits */
    uint64_t hash;
    uint64_t inode;
    char rest[]; /* with LIST_ENTRY_ATTRIBUTES struct attributes; then the name */
};
#define LIST_ENTRY_ATTRIBUTES 1u /* the inode's attributes are there */
#define LIST_ENTRY_MATCHES 2u    /* matches the filter (a directory may be returned without matching) */
#define LIST_ENTRY_UNDECIDED 4u  /* the inode is elsewhere: the caller evaluates the filter */
/* Of the entry without padding. */
static inline size_t list_entry_length(uint8_t flags, size_t name_length)
{
    return sizeof(struct list_entry) +
           ((flags & LIST_ENTRY_ATTRIBUTES) != 0 ? sizeof(struct attributes) : 0) + name_length;
}
static inline char *list_entry_name(struct list_entry *entry)
{
    return (char *)entry + list_entry_length(entry->flags, 0);
}

#define XATTR_SET_CREATE 1u  /* -EEXIST if there is one */
#define XATTR_SET_REPLACE 2u /* -ENODATA if there is none */

/* The name may contain slashes, and is empty for LIST_XATTRS. */
struct WIRE xattr_request {
    uint64_t inode;
    uint32_t uid;
    uint32_t gid;
    uint32_t size; /* SET_XATTR: = bulk length; else: room for the answer, 0: only its size is wanted */
    uint8_t flags; /* XATTR_SET_* */
    uint8_t name_length;
    char name[];
};
struct WIRE xattr_reply {
    uint32_t size; /* of the value or of the names; = bulk length if the request had room */
};

#define RENAME_FLAG_NOREPLACE 1u
#define RENAME_FLAG_COORDINATE 2u /* server to server: the receiver is the namespace coordinator */
#define RENAME_FLAG_EXCHANGE 4u   /* both names exist and change places */
#define RENAME_FLAG_TURN 8u       /* by one who has had TAKE_TURN: does not wait for turns */

/* To the namespace coordinator: renames of directories have overtaken the caller's operation again and again.
 * Answered when those under way are through; then others wait for a while, which the caller needs to resolve
 * its path and to be served. It cannot keep them off: each waits once, and the coordinator bounds the time.
 */
struct WIRE turn_request {
    uint64_t hold_ns;
};

struct WIRE rename_request {
    uint64_t old_parent;
    uint64_t new_parent;
    uint32_t uid;
    uint32_t gid;
    uint8_t flags;
    uint8_t old_length;
    uint8_t new_length;
    char names[]; /* old name, then new name */
};

/* A further name for an inode that is no directory; sent to the server of the new name. */
struct WIRE link_request {
    uint64_t inode;
    uint64_t parent;
    uint32_t uid;
    uint32_t gid;
    uint8_t name_length;
    char name[];
};

/* Locks one dentry key, existing or not, for the transaction; other operations on it wait. */
struct WIRE key_lock_request {
    uint64_t transaction;
    uint64_t parent;
    uint8_t name_length;
    char name[];
};
struct WIRE key_lock_reply {
    uint64_t inode; /* 0: no such entry */
    uint32_t type;
    uint8_t applied; /* 1: this transaction has changed the entry before */
};

enum key_action {
    KEY_UNLOCK = 0,
    KEY_REMOVE = 1, /* remove the entry and unlock */
    KEY_SET = 2,    /* point the entry at (inode, type), creating it if need be, and unlock */
};
struct WIRE key_finish_request {
    uint64_t transaction;
    uint64_t parent;
    uint64_t inode;
    uint32_t type;
    uint8_t action;
    uint8_t name_length;
    char name[];
};

enum directory_action {
    DIRECTORY_THAW = 0,
    DIRECTORY_REMOVE = 1, /* leave a tombstone: later creates in it are -ENOENT */
};
struct WIRE directory_request {
    uint64_t directory;
    uint64_t transaction;
    uint8_t action;
};
struct WIRE directory_reply {
    uint64_t entries; /* of this directory on the replying server */
    uint64_t subdirectories;
    int64_t modify_time; /* newest change of entries; 0: never */
};

/* A directory was renamed into another one: what `..` means in it. */
struct WIRE parent_request {
    uint64_t directory;
    uint64_t parent;
};

struct WIRE epoch_request {
    uint32_t epoch; /* 0, to the namespace coordinator: please bump */
};

/* Opens an inode by number: whoever may, and an inode without a name only who holds it already. CREATE_FILE
 * and OPEN hold what is on the server that they go to; for what is elsewhere this follows.
 *
 * Every successful open counts one hold of the caller's instance. A notice with the inode's number takes one
 * back; so does the end of the instance. NOTICE_HEIRS in its place: processes that the caller makes may ask
 * for what it holds later than it ends. */
#define NOTICE_HEIRS UINT64_C(0)
/* With an inode's number: a hold that the caller had shown (meta/holds.h) is gone, and the server may have
 * kept the inode for it. */
#define NOTICE_LEFT (UINT64_C(1) << 63)
struct WIRE hold_request {
    uint64_t inode;
    uint64_t from; /* instance that holds it, on whose behalf the caller goes on (after fork or exec); 0:
                      none. Then permissions are not checked again */
    uint32_t uid;
    uint32_t gid;
    uint8_t access; /* as in open_request */
};

/* Drops one link of an inode; at zero the inode and its chunks go, as soon as nobody holds it open. */
struct WIRE inode_unlink_request {
    uint64_t inode;
    uint64_t transaction; /* 0: none */
    uint8_t undoes;       /* 1: the transaction's INODE_LINK */
    uint8_t linkable;     /* 1: which would have given the inode its first name */
    uint8_t asks;         /* 1: nothing is to be done; -ENODATA unless the transaction has dropped the link */
};

struct WIRE oldest_intent_reply {
    uint64_t transaction; /* those of the answering server with lower numbers have ended */
};

struct WIRE inode_link_request {
    uint64_t inode;
    uint64_t transaction;
};

struct WIRE unlink_reply {
    uint64_t orphan; /* the inode, if it has no name any more but is still held open; 0: not so */
};

/* ---- locks: server/lock.h says what they mean ---- */

enum lock_kind {
    LOCK_FLOCK = 0,       /* whole files, of open file descriptions */
    LOCK_PROCESS = 1,     /* records */
    LOCK_DESCRIPTION = 2, /* records, of open file descriptions */
    LOCK_KINDS,
};
enum lock_type { LOCK_NONE = 0, LOCK_SHARED = 1, LOCK_EXCLUSIVE = 2, LOCK_TYPES };

#define LOCK_OFFSET_MAX ((uint64_t)INT64_MAX)

#define LOCK_WAIT 1u    /* -STATUS_LOCK_WAIT after wait_ms: ask again with the same ticket */
#define LOCK_GIVE_UP 2u /* the waiter with this ticket leaves the queue; nothing is locked */

/* -EAGAIN: in the way of another lock. */
struct WIRE lock_request {
    uint64_t inode;
    uint64_t owner; /* a description's random number; a process's choice, which the instance makes unique */
    uint64_t start; /* first and last byte, up to LOCK_OFFSET_MAX; flock: 0 and LOCK_OFFSET_MAX */
    uint64_t end;
    uint64_t ticket; /* of a waiter: unique in its instance */
    uint32_t pid;    /* whom to name to others */
    uint16_t wait_ms;
    uint8_t kind; /* enum lock_kind */
    uint8_t type; /* enum lock_type; LOCK_NONE unlocks */
    uint8_t flags;
};
/* What is in the way; type LOCK_NONE: nothing. */
struct WIRE lock_reply {
    uint64_t start;
    uint64_t end;
    uint32_t pid;
    uint8_t kind;
    uint8_t type;
};
struct WIRE lock_owner_request {
    uint64_t inode;
    uint64_t owner;
    uint64_t
        holder; /* the instance that is to hold or let go; 0: the caller's. Another has to hold the inode */
    uint8_t kind;
};

/* ---- checking: server/check.c; what is made of it: client/check.h ----
 *
 * Walks over all that a server holds, one page a request. A page begins at the cursor and ends after a
 * bounded number of steps, so it may be empty and yet not the last; what is there all the while is met
 * exactly once, whatever else changes. */

/* Inodes in ascending order of their numbers, from `from` on. */
struct WIRE check_inodes_request {
    uint64_t from;
    uint32_t entries_max; /* > 0 */
};
/* Names: those of one directory in ascending order of (hash, name), the directories in an order of the
 * server's own. Names of one hash are never split, so at least those of one are returned. */
struct WIRE check_names_request {
    uint64_t directory; /* 0: the first */
    uint64_t hash;
    uint32_t bytes_max; /* > 0 */
};
/* Chunks in the order of the engine (store.h, next), from there on. */
struct WIRE check_chunks_request {
    uint64_t inode;
    uint64_t index;
    uint32_t entries_max; /* > 0 */
    uint8_t only;         /* 1: of this inode alone */
};
struct WIRE check_reply {
    uint64_t next[2]; /* what the next page begins with, in the order of the request's members */
    uint32_t entries;
    uint8_t more; /* 0: this was the last page */
};

#define CHECK_CHUNKED 1u /* bytes are in chunks */
#define CHECK_BEYOND 2u  /* memory was reserved beyond the size */
#define CHECK_HELD 4u    /* somebody has it open */
#define CHECK_BUSY 8u    /* a truncation or conversion is under way */

struct WIRE check_inode {
    uint64_t inode;
    uint64_t size;
    uint64_t parent; /* of a directory, else 0 */
    int64_t change_time;
    uint32_t mode;
    uint32_t links; /* of a directory 2; 0: it has no name any more */
    struct layout layout;
    uint16_t inline_length;
    uint8_t flags; /* CHECK_* */
};
struct WIRE check_name {
    uint16_t record_length; /* of this record with its name, padded to 8 */
    uint8_t name_length;
    uint8_t reserved;
    uint32_t type; /* S_IFMT bits */
    uint64_t directory;
    uint64_t hash; /* where it stands */
    uint64_t inode;
    char name[];
};
static_assert(sizeof(struct check_name) == 32, "wire size");
/* What a page says of one file's chunks; the next one may go on with it. Chunks without bytes are memory that
 * was reserved. */
struct WIRE check_chunks {
    uint64_t inode;
    uint64_t chunks;
    uint64_t last;        /* index of the last chunk that has bytes */
    uint32_t last_length; /* of that; 0: there is none */
    uint32_t longest;     /* length of the longest */
};

/* Waits, for a tenth of a second at most, until nothing is under way any more that had begun when `since` was
 * told: no request and nothing that follows from one. */
struct WIRE check_settled_request {
    uint64_t since; /* 0: begin now */
};
struct WIRE check_settled_reply {
    uint64_t since;  /* to ask again with */
    uint8_t settled; /* 1: so it is */
};

enum repair_action {
    /* REPAIR_INODE */
    REPAIR_LINKS = 1,  /* the link count becomes value */
    REPAIR_PARENT = 2, /* a directory's parent becomes value */
    REPAIR_SIZE = 3,   /* of what is inline: as long as its data */
    REPAIR_CHUNKS = 4, /* the receiver drops its chunks of an inode that does not exist */
    REPAIR_MAKE = 5,   /* makes the directory of that number, in directory `value` */
    /* REPAIR_NAME */
    REPAIR_REMOVE = 6, /* drops the name; the inode knows nothing of it */
    REPAIR_TYPE = 7,   /* the name's type becomes `type` */
    REPAIR_INSERT = 8, /* gives the inode a name; its count stays. -EEXIST */
};

/* Changes one thing of an inode that was found wrong: -EAGAIN if it has changed since. */
struct WIRE repair_inode_request {
    uint64_t inode;
    uint64_t value;
    int64_t change_time; /* which it must have */
    uint8_t action;      /* enum repair_action */
};
/* The same of a name: -EAGAIN if it does not lead to the inode (any more). */
struct WIRE repair_name_request {
    uint64_t directory;
    uint64_t hash; /* where it stands */
    uint64_t inode;
    uint32_t type;
    uint8_t action;
    uint8_t name_length;
    char name[];
};

/* Reads chunks from the device and compares them with their checksums, from (inode, index) on, for a while.
 * -EOPNOTSUPP: the receiver's engine keeps nothing that lasts. */
struct WIRE scrub_request {
    uint64_t inode;
    uint64_t index;
    uint64_t bytes_max; /* ends after the chunk that reaches it */
    uint8_t only;       /* 1: of this inode alone */
};
struct WIRE scrub_reply {
    uint64_t next[2]; /* inode and index of the next request */
    uint64_t chunks;
    uint64_t bytes; /* that match */
    uint32_t damaged;
    uint8_t more;
};
struct WIRE scrub_damage {
    uint64_t inode;
    uint64_t index;
    uint32_t offset; /* in the chunk, of the first block that does not match */
    uint32_t blocks; /* that do not */
    int32_t status;  /* 0, or why the chunk could not be looked at */
};

struct WIRE ping_request {
    uint32_t reply_bytes; /* bulk to send back, at most 64 MiB */
    uint32_t discard;     /* 1: fetch the bulk that came, then drop it */
};
struct WIRE ping_reply {
    uint64_t server_time;
};

struct WIRE server_status_reply {
    uint32_t server;
    uint32_t pid;
    uint64_t used; /* bytes of chunk storage */
    uint64_t capacity;
    uint64_t inodes;
    uint64_t dentries;
    uint64_t sessions;
    uint64_t requests; /* served since start */
    uint64_t busy_ns;
    uint64_t idle_ns;
    uint64_t uptime_ns;
    uint64_t metadata_bytes;
    uint64_t dispatch_ns; /* of rpc_counters: receive callback to reply sent, summed */
    uint64_t dispatched;
    uint64_t journal_records; /* these and the rest: 0 without a journal */
    uint64_t journal_groups;
    uint64_t journal_bytes;     /* of groups */
    uint64_t journal_log_bytes; /* that a recovery now would replay */
    uint64_t recovered_records; /* by the start, */
    uint64_t recovery_ns;       /* in so long */
    uint64_t tier_used;         /* of the engine tiered: bytes in the fast engine, and as in store_tiers */
    uint64_t tier_hits;
    uint64_t tier_misses;
    uint64_t tier_promotions;
    uint64_t tier_demotions;
    uint64_t tier_spills;
    uint64_t tier_write_backs;
};
/* A piece of the server's region of measurements (metrics/region.h), at most METRICS_READ_MAX bytes. A read
 * of its beginning has the server bring everything up to date. */
#define METRICS_READ_MAX (256u << 10)
struct WIRE metrics_request {
    uint64_t offset;
    uint32_t length;
};
struct WIRE metrics_reply {
    uint64_t server_time; /* loop_now */
};
struct WIRE metrics_set_request {
    uint64_t slow_ns; /* requests from this on are noted and logged; 0: none */
};
struct WIRE statfs_reply {
    uint64_t used; /* bytes of chunk storage */
    uint64_t capacity;
    uint64_t inodes;
    uint64_t metadata_used;     /* bytes of metadata and inline data */
    uint64_t metadata_capacity; /* UINT64_MAX: as much as there is memory */
};

/* Whether the operation changes something (RPC_MUTATES). */
bool rpc_operation_mutates(unsigned operation);
/* Name of an operation ("LOOKUP"), or NULL. */
const char *rpc_operation_name(unsigned operation);
