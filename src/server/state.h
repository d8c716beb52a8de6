/* What the files of server/ share: the server's state, the gate that every namespace request passes, and the
 * local steps that handlers are composed of. Nothing outside server/ includes this.
 *
 * A handler runs in a task of the one loop, so what it does between two suspensions is atomic. Whatever a
 * handler learnt before a suspension (an inode's address, a dentry, the epoch) has to be looked up again
 * after it. */
#pragma once

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/status.h"
#include "journal/journal.h"
#include "meta/meta.h"
#include "runtime/sync.h"
#include "server/lock.h"
#include "server/server.h"

/* A dentry key that a transaction holds. Two keys of equal hash share a lock: the same transaction may lock
 * it twice. */
struct key_lock {
    uint64_t hash;
    uint64_t parent;
    uint64_t transaction;
    uint32_t depth;
    struct wait_queue waiters;
    struct timer expiry;
    struct server *server;
};

/* A directory that is frozen by a transaction, or (transaction 0) removed. */
struct directory_mark {
    uint64_t directory;
    uint64_t transaction;
    uint32_t epoch; /* tombstones: the namespace epoch at removal */
    struct wait_queue waiters;
    struct timer expiry;
    struct list link; /* tombstones, oldest first */
    struct server *server;
};

/* An inode under a truncation, a conversion or a change of permissions; lives on the stack of the task that
 * does it. While inode.busy is set, the inode is not removed and its data are neither read nor written by
 * others. */
struct inode_busy {
    struct wait_queue waiters;
    bool hides_attributes; /* lookups wait too */
};

/* Refuses chunk writes that a truncation or removal has overtaken. */
struct fence {
    uint64_t inode;
    uint32_t generation;
    bool removed;
    uint64_t until;   /* loop_now ns */
    struct list link; /* oldest first */
};

/* Two sessions to each server. A call that may wait there for a transaction to end goes by `patient`; all
 * that a transaction needs to end goes by `prompt`, where no call stays longer than KEY_LOCK_WAIT_NS. On one
 * session the waiting ones would use up the credits (or hold the window of unfinished mutations) that the
 * awaited ones need: a deadlock. */
struct server_peers {
    struct rpc_peer *prompt;
    struct rpc_peer *patient;
};

/* How long KEY_LOCK waits before it answers -STATUS_BUSY_RETRY. */
#define KEY_LOCK_WAIT_NS (20 * NSEC_PER_MSEC)

#define FENCE_LIFE_MIN_NS (20 * NSEC_PER_SEC)
#define FENCES_MAX 262144u
#define TOMBSTONES_MAX 65536u
/* inode.lease_session: a writer waits for the leases to end, so no new one is granted. */
#define LEASE_REFUSED UINT32_MAX
/* As which a request's session is noted there; the server's own requests hold no lease. */
static inline uint32_t lease_session_of(const struct rpc_request *request)
{
    uint32_t slot = request->header->session;
    return slot == UINT32_MAX ? LEASE_REFUSED - 1 : slot + 1;
}

#define RECENT_MAX 512u /* writes in flight, counted by inodes */

/* ahead.c: a session's latest question about an inode, of one kind. */
#define AHEAD_SERIES 64u /* sessions share them */
struct ahead_series {
    uint64_t place;   /* of the inode: meta_inode_place */
    int32_t distance; /* from the one before it; 0: far away, or unknown */
    uint32_t window;  /* as many were put up the last time */
    uint32_t left;    /* of these, those that lie behind the place */
};

struct server {
    struct net *net;
    struct loop *loop;
    struct metrics *metrics;  /* the loop's */
    uint64_t memory_measured; /* loop_now: when the process's memory last was */
    struct rpc *rpc;
    struct store *store;
    struct meta *meta;
    struct board *board; /* what clients of this host may read; NULL: there is none */
    struct ahead_series ahead[AHEAD_SERIES];
    struct server_options options;

    struct cluster_map *map; /* NULL until server_set_map */
    uint32_t self;           /* index into map->servers */
    uint32_t namespace_epoch;
    struct server_peers *peers; /* by map index; [self] calls this very server */
    struct buffer encoded_map;

    /* Locked keys and marked directories together: 0 lets the gate pass without looking. */
    uint64_t obstacles;
    struct map key_locks;       /* by hash: struct key_lock */
    struct map directory_marks; /* by inode: struct directory_mark */
    struct list tombstones;
    uint32_t tombstone_count;
    bool retiring;             /* tombstones are being dropped */
    uint64_t transactions;     /* counter of transaction numbers */
    struct mutex rename_mutex; /* coordinator: one directory rename at a time */
    uint64_t turn_until;       /* coordinator: loop_now until which it is somebody else's turn */

    struct map fences; /* by inode: struct fence */
    struct list fence_ages;
    uint32_t fence_count;

    struct map holders;            /* by inode: struct holders, of those that inode.holder cannot tell */
    struct seen_holds *seen_holds; /* what instances show that they hold (meta/holds.h) */
    uint32_t seen_holds_count, seen_holds_room;
    struct map orphans; /* inodes without a name, which somebody holds open */
    struct lock_table locks;

    struct journal *journal;          /* NULL: nothing lasts */
    struct journal_recovery recovery; /* what the start had to replay */
    bool abandoned;
    struct map intents;          /* by transaction: what this server coordinates */
    struct map applied;          /* by transaction: what it has done on this server */
    struct list applied_ages;    /* the same, oldest first */
    bool asking_coordinators;    /* a task finds out which of these are not needed any more */
    uint32_t intents_left;       /* of the intents, those that wait to be tried again */
    struct timer intent_timer;   /* for them */
    uint64_t intent_pause;       /* until it fires next */
    bool retrying;               /* a task is at it */
    struct map pins;             /* inode -> enum store_tier, as a pointer: pin.c */
    struct map leftovers;        /* while it starts: inodes whose chunks were written last */
    uint64_t recent[RECENT_MAX]; /* inodes whose chunks were written last; 0: none */
    uint32_t recent_next;        /* its place, counted around */
    uint64_t starts;             /* how often the server has been started with this directory */

    const char *next_bytes; /* behind those of the latest small write to a chunk: a hint */

    struct wait_group background; /* tasks that are no request's */
    struct list collections;      /* those of them that free what a close let go, oldest first */
    struct wait_queue collected;  /* one of them is done */
    uint64_t collection_count;    /* that ever began */
    bool collecting_all;          /* the task that looks through all orphans runs */
    bool collect_again;           /* and is to do so once more */
    bool stopping;
    uint64_t started;
    uint8_t *ping_memory;
    void *ping_region;
    void (*shut_down)(void *owner);
    void *shut_down_owner;
};

/* ---- server.c ---- */

/* Starts a task that is no request's, one at a time: *running says that there is one, until it calls
 * background_end; it suspends no more after that. Returns whether there was memory for it. */
bool background_begin(struct server *server, bool *running, void (*task)(void *server));
void background_end(struct server *server, bool *running);
/* Takes over a newer namespace epoch. */
void server_adopt_epoch(struct server *server, uint32_t epoch);
/* Raises the namespace epoch on every server; any server may ask. Returns when all have it. May suspend. */
int server_bump_namespace(struct server *server, uint64_t deadline);
uint64_t server_transaction(struct server *server);
/* The session by which an operation goes to a server. */
struct rpc_peer *server_peer(const struct server *server, uint32_t index, uint16_t operation);
/* Calls one server (by map index). Statuses of rpc_finish. May suspend. */
int server_call(struct server *server, uint32_t index, uint16_t operation, const void *body,
                uint32_t body_length, void *reply, uint32_t reply_size, uint64_t deadline);
/* Calls every server whose bit is set in `wanted` (NULL: every server), all at once. replies (may be NULL):
 * server_count elements of reply_size bytes. Returns the first failure in map order, after all have finished.
 */
int server_call_many(struct server *server, const uint64_t *wanted, uint16_t operation, const void *body,
                     uint32_t body_length, void *replies, uint32_t reply_size, uint64_t deadline);
/* 0 if `extra` more bytes of metadata fit, and records of them into the journal; else -ENOSPC. */
int server_metadata_room(struct server *server, uint64_t extra);

static inline bool server_single(const struct server *server)
{
    return server->map->server_count == 1;
}

static inline uint32_t server_of_hash(const struct server *server, uint64_t hash)
{
    return cluster_map_owner(server->map, hash_partition(hash));
}

static inline uint32_t server_of_inode(const struct server *server, uint64_t inode)
{
    return cluster_map_owner(server->map, inode_partition(inode));
}

static inline uint32_t server_coordinator(const struct server *server)
{
    return server->map->owner[0];
}

/* Names that no entry may have. */
static inline bool name_is_dots(const char *name, uint8_t length)
{
    return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

/* An internal status: the call waited, what was found before may be gone, so look at everything again. */
#define LOOK_AGAIN 1

/* ---- the gate (obstacle.c has its slow path) ---- */

enum gate_intent {
    GATE_LOOK,   /* frozen directories let it pass: it adds nothing */
    GATE_CREATE, /* waits while the directory is frozen */
};

/* Waits for what stands in the way of (parent, hash). 0: the way was free; LOOK_AGAIN; -ESTALE: the directory
 * was removed; other: refuse. */
int obstacles_pass(struct server *server, uint64_t parent, uint64_t hash, enum gate_intent intent,
                   uint64_t deadline);

/* Compares the request's namespace epoch with ours. */
static inline int gate_epoch(struct server *server, const struct rpc_request *request)
{
    uint32_t theirs = request->header->namespace_epoch;
    if (__builtin_expect(theirs == server->namespace_epoch, 1))
        return 0;
    if ((int32_t)(theirs - server->namespace_epoch) < 0)
        return -STATUS_STALE_NAMESPACE;
    server_adopt_epoch(server, theirs);
    return 0;
}

/* Every request about (parent, name) passes here before it looks at anything. May suspend. */
static inline int gate_dentry(struct server *server, const struct rpc_request *request, uint64_t parent,
                              uint64_t hash, enum gate_intent intent)
{
    for (;;) {
        if (__builtin_expect(server->map == NULL, 0))
            return -EAGAIN;
        int status = gate_epoch(server, request);
        if (status != 0)
            return status;
        if (server_of_hash(server, hash) != server->self)
            return -STATUS_WRONG_EPOCH;
        metrics_count_partition(server->metrics, hash_partition(hash));
        if (__builtin_expect(server->obstacles == 0, 1))
            return 0;
        status = obstacles_pass(server, parent, hash, intent, request->deadline);
        if (status != LOOK_AGAIN)
            return status;
    }
}

/* Every request about an inode by number passes here. *inode on success. -ESTALE: removed. Never suspends. */
static inline int gate_inode(struct server *server, uint64_t number, struct inode **inode)
{
    if (__builtin_expect(server->map == NULL, 0))
        return -EAGAIN;
    if (!inode_valid(number))
        return -EINVAL;
    if (server_of_inode(server, number) != server->self)
        return -STATUS_WRONG_EPOCH;
    metrics_count_partition(server->metrics, inode_partition(number));
    *inode = meta_inode_find(server->meta, number);
    return *inode != NULL ? 0 : -ESTALE;
}

/* ---- the attribute board (meta/board.h) ---- */

/* Whether the answer to this request may be of use to somebody on the board. A server is none of those who
 * read it; and a call of this server to itself may go on, and change things, inside the reply. */
static inline bool board_is_watched(const struct server *server, const struct rpc_request *request)
{
    return server->board != NULL && server->board->watched && !request->peer_is_server &&
           request->session != NULL;
}

/* ahead.c. A client that may read the board is told, in this step, of an inode that is here: what it will
 * probably ask for next, by name or by number, is put up, a little before the reply and the rest behind it.
 * Neither suspends; in between anything may happen. */
struct ahead {
    uint64_t inode;   /* 0: nothing is to be put up */
    int32_t distance; /* from one inode to the next */
    uint32_t window;  /* how many */
    bool by_name;
};
struct ahead ahead_begin(struct server *server, const struct rpc_request *request, const struct inode *inode,
                         bool by_name);
void ahead_go_on(struct server *server, const struct rpc_request *request, const struct ahead *ahead);
static inline void ahead_end(struct server *server, const struct rpc_request *request,
                             const struct ahead *ahead)
{
    if (__builtin_expect(ahead->inode != 0, 0))
        ahead_go_on(server, request, ahead);
}

/* ---- obstacle.c: locked keys and marked directories ---- */

/* Locks a key of this server, waiting while another transaction holds it or its directory is frozen. -ESTALE:
 * the directory was removed. The lock frees itself after server_lock_life, should its transaction vanish. */
int key_lock(struct server *server, uint64_t transaction, uint64_t parent, uint64_t hash, uint64_t deadline);
/* Undoes one key_lock. -ESTALE: the transaction does not hold it (any more). */
int key_unlock(struct server *server, uint64_t transaction, uint64_t hash);
bool key_locked_by(struct server *server, uint64_t transaction, uint64_t hash);
/* How long a key or directory stays with a transaction that says nothing more. */
static inline uint64_t server_lock_life(const struct server *server)
{
    return 3 * server->options.rpc_deadline_ns;
}
/* Wakes and frees everything; the server ends. */
void obstacles_clear(struct server *server);

/* ---- inode.c ---- */

void inode_attributes(struct server *server, const struct inode *inode, struct attributes *attributes);
/* Attributes of an inode on another server. -ENOENT: removed meanwhile. May suspend. */
int attributes_elsewhere(struct server *server, uint64_t inode, uint64_t deadline,
                         struct attributes *attributes);

static inline bool inode_is_inline(const struct inode *inode)
{
    return inode->chunked == 0;
}

void inode_busy_begin(struct inode *inode, struct inode_busy *busy, bool hides_attributes);
void inode_busy_end(struct server *server, struct inode *inode);
/* Waits until the inode may have changed its mind; it must be looked up again afterwards. */
int inode_busy_wait(struct server *server, struct inode *inode, uint64_t deadline);
static inline bool inode_hides_attributes(const struct inode *inode)
{
    return inode->busy != NULL && ((struct inode_busy *)inode->busy)->hides_attributes;
}

/* Makes the inode ready for a change of its data by this request's session: waits for a truncation under way
 * and for other sessions' read leases. generation (NULL: not asked) must match. *inode is looked up last, so
 * no suspension lies between it and the return. */
int inode_prepare_change(struct server *server, const struct rpc_request *request, uint64_t number,
                         const uint32_t *generation, struct inode **inode);
/* Lets a file's size become at least end: a file that would no longer be inline turns to chunks, and its data
 * move to chunk 0. Changes no size. May suspend on a persistent store; the inode stays valid (it is busy
 * meanwhile). */
int inode_prepare_growth(struct server *server, struct inode *inode, uint64_t end);
/* Sets the size of a regular file, in either direction. *inode is valid and not busy; afterwards it is still
 * valid. */
int inode_truncate(struct server *server, struct inode *inode, uint64_t size, uint64_t deadline);
/* Drops one link, of a directory its only one; the last one frees inode and chunks everywhere, unless the
 * inode is held open. Returns whether it lives on without a name. The inode must not be busy. */
bool inode_drop_link(struct server *server, struct inode *inode, uint64_t deadline);
/* Frees inode and chunks everywhere. Suspends only if other servers may hold chunks. */
void inode_free(struct server *server, struct inode *inode, uint64_t deadline);
/* Drops a link of an inode on another server, for a transaction (0: none). *orphan (may be NULL): as in
 * struct unlink_reply. -EIO when that server cannot be reached. */
int inode_unlink_elsewhere(struct server *server, uint64_t transaction, uint64_t inode, uint64_t deadline,
                           uint64_t *orphan);
/* Whether the transaction has dropped that link: 0 (also when the inode is gone); -ENODATA: no; -EIO. */
int inode_unlink_ask(struct server *server, uint64_t transaction, uint64_t inode, uint64_t deadline);
/* Takes back the transaction's INODE_LINK, if it was done: the inode is as it was, and one that gets no name
 * by that may (linkable) still get one. 0 or -EIO. */
int inode_link_undo(struct server *server, uint64_t transaction, uint64_t inode, bool linkable);

/* ---- hold.c: open files ---- */

#define HOLD_COUNT_BITS 8
#define HOLD_COUNT_MAX ((1u << HOLD_COUNT_BITS) - 1)
#define HOLD_SEVERAL UINT32_MAX

int inode_hold_slow(struct server *server, struct inode *inode, uint32_t serial);
/* The instance of that serial (0: nobody, which is no instance's) opens the inode once more. 0 or -ENOMEM. */
static inline int inode_hold(struct server *server, struct inode *inode, uint32_t serial)
{
    if (serial == 0)
        return 0;
    if (__builtin_expect(inode->holder == 0 && serial < HOLD_SEVERAL >> HOLD_COUNT_BITS, 1)) {
        inode->holder = serial << HOLD_COUNT_BITS | 1;
        return 0;
    }
    if (inode->holder >> HOLD_COUNT_BITS == serial && (inode->holder & HOLD_COUNT_MAX) < HOLD_COUNT_MAX) {
        inode->holder++;
        return 0;
    }
    return inode_hold_slow(server, inode, serial);
}
/* Takes one open back; an inode without a name goes with its last one. */
void inode_release(struct server *server, uint64_t number, uint32_t serial);
/* The instance has taken back a hold that it showed: an inode without a name goes with its last one. */
void inode_left(struct server *server, uint64_t number, uint32_t serial);
/* Looks from now on at what the request's instance shows that it holds. Returns whether it does. */
bool holds_see(struct server *server, const struct rpc_request *request, const struct shown_place *place);
/* The instance is gone. */
void holds_unsee(struct server *server, uint64_t instance);
/* Whether any instance that lives has it open; that one. Takes from the board what it told of an inode that
 * may be held without anybody having said so. */
bool inode_is_held(struct server *server, struct inode *inode);
bool inode_is_held_by(struct server *server, struct inode *inode, uint32_t serial);
/* The inode has lost its last name (or never had one) and is held. linkable: it may be given a name again. 0
 * or -ENOMEM. */
int orphan_add(struct server *server, struct inode *inode, bool linkable);
bool orphan_is_linkable(const struct server *server, const struct inode *inode);
/* It has a name again, or is about to be freed. */
void orphan_remove(struct server *server, uint64_t number);
/* Frees, soon, the orphans that were held by instances that are gone. */
void orphans_collect(struct server *server);
void holds_forget(struct server *server, struct inode *inode);
void holds_clear(struct server *server);

/* ---- durable.c: what lasts ---- */

static inline void inode_changed(struct server *server, struct inode *inode)
{
    meta_inode_changed(server->meta, inode);
}
/* Before a request is answered: its changes are committed if its sender is promised that. status, or why they
 * could not be. May suspend. */
int durable_answer(struct server *server, struct rpc_request *request, int status);
/* Waits until everything that was changed here so far lasts. 0 without a journal. May suspend. */
int durable_commit(struct server *server);
/* Ends the journal, after committing everything unless the server was abandoned. May suspend. */
void durable_end(struct server *server);
/* A chunk of the inode is about to be written. */
void durable_note_write(struct server *server, uint64_t inode);
/* The inodes noted last, in a snapshot's record, and back. 0, -EBADMSG or -ENOMEM. May suspend; never. */
int durable_snapshot_recent(struct server *server, struct journal_snapshot *into);
int durable_replay_recent(struct server *server, const struct journal_record *record);
/* After recovery, when the other servers can be reached: frees what had no name any more, and drops what
 * writes that never finished have left beyond the ends of files. May suspend. */
int durable_clean(struct server *server);

/* ---- intent.c: transactions that survive ---- */

enum intent_kind {
    INTENT_RENAME = 0,
    INTENT_UNLINK = 1,           /* of an inode elsewhere */
    INTENT_REMOVE_DIRECTORY = 2, /* old: its name */
    INTENT_LINK = 3,             /* of an inode elsewhere; new: the name that it gets */
    INTENT_FREE = 4,             /* the inode is gone, its chunks elsewhere may not be */
    INTENT_TRUNCATE = 5,         /* to `size` */
};

/* Keys of INTENT records that are no transaction's: how often the server has started, a u64; inodes whose
 * chunks were written before a snapshot, u64 each. */
#define INTENT_KEY_START UINT64_C(0)
#define INTENT_KEY_RECENT UINT64_C(1)

/* What a transaction is about, as the journal has it: all that is needed to do it again. */
struct WIRE intent {
    uint64_t transaction;
    uint64_t inode;
    uint64_t other; /* rename: what the new name pointed to; 0: nothing */
    uint64_t old_parent;
    uint64_t new_parent;
    uint64_t size;
    uint32_t type;
    uint32_t other_type;
    uint8_t kind;
    uint8_t flags;       /* RENAME_FLAG_* */
    uint8_t coordinated; /* rename: a directory takes part */
    uint8_t uncertain;   /* a server did not say whether it did its step; the caller has been told */
    uint8_t reserved[2];
    uint8_t old_length;
    uint8_t new_length;
    char names[]; /* old, new */
};
static_assert(sizeof(struct intent) == 64, "disk format");

/* Notes of one transaction on one server at most. */
#define APPLIED_MAX 8u

/* Before the first step. elsewhere: other servers take part, so the intent lasts when this returns; it may
 * suspend then. 0, -ENOMEM, or why the journal failed. Nothing without a journal. */
int intent_begin(struct server *server, const struct intent *intent, const char *old_name,
                 const char *new_name, bool elsewhere);
/* Waits, unless nothing is promised, until all intents so far last, and what was changed before. 0, or why
 * the journal failed. May suspend. */
int intent_lasts(struct server *server);
/* In the same step as the transaction's last change, or after everything was undone. */
void intent_end(struct server *server, uint64_t transaction);
/* Ends it unless status says that nobody knows whether a step was done: then that is found out and put in
 * order in the background, for as long as it takes, and by the next start. */
void intent_end_with(struct server *server, uint64_t transaction, int status);
/* What is left to do of it, which does no harm however late it comes, is tried again in the background. */
void intent_retry(struct server *server, uint64_t transaction);
/* The transaction of that kind that such a name waits for, or 0. */
uint64_t intent_find(const struct server *server, enum intent_kind kind, uint64_t parent, const char *name,
                     uint8_t name_length);
/* Whether that transaction's step was done here before, and that it was done now, in this step. object: any
 * number that tells its steps on one server apart. transaction 0: there is none. */
bool is_applied(const struct server *server, uint64_t transaction, uint64_t object);
int mark_applied(struct server *server, uint64_t transaction, uint64_t object);
/* It was taken back. */
void unmark_applied(struct server *server, uint64_t transaction, uint64_t object);
enum applied_step { APPLIED_KEY = 1, APPLIED_UNLINK = 2, APPLIED_LINK = 3 };
static inline uint64_t applied_object(enum applied_step step, uint64_t number)
{
    return hash_mix(number ^ (uint64_t)step << 60);
}

int intents_replay(struct server *server, const struct journal_record *record);
/* Counts the start, so that no transaction number is used twice. May suspend. */
int intents_start(struct server *server);
int intents_snapshot(struct server *server, struct journal_snapshot *snapshot);
void intents_clear(struct server *server);
/* Each finishes one transaction of that kind, whatever of it was done; an uncertain one only if something
 * that others can see was, else it takes back the rest. 0, or why not. May suspend. */
int rename_redo(struct server *server, const struct intent *intent);
int unlink_redo(struct server *server, const struct intent *intent);
int remove_directory_redo(struct server *server, const struct intent *intent);
int link_redo(struct server *server, const struct intent *intent);
int free_redo(struct server *server, const struct intent *intent);
int truncate_redo(struct server *server, const struct intent *intent);

/* ---- permission.c ---- */

/* Whether the caller that the request names may have access (bits 4 read, 2 write, 1 execute) to an inode of
 * this mode, owner and group. 0, -EACCES, or -STATUS_UNKNOWN_GROUPS. */
int permission_check(const struct rpc_request *request, uint32_t uid, uint32_t gid, uint32_t mode,
                     uint32_t owner, uint32_t group, unsigned access);
/* The same with what an inode or its attributes say. */
#define permission(request, body, inode, access)                                                             \
    permission_check(request, (body)->uid, (body)->gid, (inode)->mode, (inode)->uid, (inode)->gid, access)
/* Whether SET_ATTRIBUTES may do what it asks for. Takes the set-group-id bit out of a new mode that the
 * caller may not set. 0, -EPERM, -EACCES or -STATUS_UNKNOWN_GROUPS. */
int permission_set(const struct rpc_request *request, const struct inode *inode,
                   struct set_attributes_request *set);
/* Takes the set-user-id and set-group-id bits from a regular file, because its contents or owner changed. */
static inline void inode_clear_ids(struct inode *inode)
{
    if (__builtin_expect((inode->mode & (S_ISUID | S_ISGID)) != 0 && !S_ISDIR(inode->mode), 0))
        inode->mode &= ~(S_ISUID | (inode->mode & S_IXGRP ? S_ISGID : 0u));
}

/* ---- chunk.c ---- */

/* How long a fence stands: longer than a request that set out before it may live. */
static inline uint64_t server_fence_life(const struct server *server)
{
    uint64_t life = 2 * server->options.rpc_deadline_ns;
    return life > FENCE_LIFE_MIN_NS ? life : FENCE_LIFE_MIN_NS;
}
/* Cuts this server's chunks of a file to `size`. */
int chunks_truncate_here(struct server *server, uint64_t inode, uint64_t size, uint8_t chunk_shift);
/* Whether the file's size leaves no chunk to other servers: chunks_truncate_elsewhere has nothing to do then.
 */
bool chunks_all_here(const struct server *server, const struct inode *inode);
/* Tells the other servers that may hold chunks of [size, old_size). */
int chunks_truncate_elsewhere(struct server *server, const struct inode *inode, uint64_t size,
                              uint64_t old_size, bool remove, uint64_t deadline);
void fences_clear(struct server *server);
/* May chunks of this server still be changed under that generation? 0, -ESTALE (the file was removed),
 * -STATUS_STALE_GENERATION. */
int fence_check(struct server *server, uint64_t inode, uint32_t generation);
/* The regular file of that number, waiting while it is busy. */
int readable_file(struct server *server, const struct rpc_request *request, uint64_t number,
                  struct inode **inode);
/* A read of the file is noted in its access time. */
void chunk_note_access(struct server *server, struct inode *inode);
/* A client that may read the board has read a file, in this step: the bytes may stand there if it is small.
 */
void chunk_publish(struct server *server, const struct rpc_request *request, struct inode *inode);
/* How many of length bytes from offset in chunk index lie below the file's size. */
uint32_t chunk_below_size(const struct inode *inode, uint64_t index, uint32_t offset, uint32_t length);
/* The other servers that may hold chunks [first, last], as a set for server_call_many; the caller frees it.
 * NULL: no memory. */
uint64_t *chunks_elsewhere(const struct server *server, uint64_t inode, const struct layout *layout,
                           uint64_t first, uint64_t last);

/* ---- copy.c ---- */

/* Whether the source makes sense; the rest is a write's. */
bool copy_valid(const struct copy_request *body);
/* Fills the vector, body->to.length bytes, from the source. May suspend. */
int copy_fetch(struct server *server, struct rpc_request *request, const struct copy_request *body,
               const struct iovec *into, uint32_t count);

/* ---- directory.c ---- */

/* Freezes a directory everywhere and checks that it has no entries. 0: frozen. Otherwise it is thawed again:
 * -ENOTEMPTY, -STATUS_BUSY_RETRY (a conflicting transaction), or why a server was not reached. */
int directory_freeze_empty(struct server *server, uint64_t directory, uint64_t transaction,
                           uint64_t deadline);
/* Thaws or buries it everywhere; takes its own time, since a transaction that has begun to end must end. */
int directory_finish(struct server *server, uint64_t directory, uint64_t transaction, uint8_t action);
/* Until when the ending of a transaction may take: a deadline of its own, beyond the request's. */
static inline uint64_t transaction_end(struct server *server)
{
    return loop_now(server->loop) + server->options.rpc_deadline_ns;
}
/* Sleeps for a random time that grows with attempt; -ETIMEDOUT: there is no time left. */
int transaction_back_off(struct server *server, unsigned attempt, uint64_t deadline);

/* ---- what others need too ---- */

/* namespace.c. What an open may find: a directory for writing is refused, a file asks its permission bits; a
 * symbolic link is for the client to follow. */
int check_open(const struct rpc_request *request, const struct attributes *attributes, uint32_t uid,
               uint32_t gid, unsigned access);
/* inode.c. Whether these attributes, which the inode has just been found to have, hold until a change of it
 * is noted: not what is gathered, what others are responsible for, or what no name leads to any more. */
bool attributes_keep(const struct server *server, const struct inode *inode,
                     const struct attributes *attributes);
/* inode.c. Finds an inode whose attributes may be shown, waiting while they are hidden. */
int visible_inode(struct server *server, const struct rpc_request *request, uint64_t number,
                  struct inode **inode);

/* ---- pin.c: where a file's contents are to be ---- */

/* The attribute that says it. */
bool pin_is_name(const char *name, uint32_t length);
/* Whether it may have that value: 0 or -EINVAL. */
int pin_check(const struct server *server, const struct inode *inode, const void *value, uint32_t length);
/* It was set or removed: tells all servers. Suspends. */
int pin_changed(struct server *server, uint64_t inode, uint64_t deadline);
bool pin_exists(const struct server *server, uint64_t inode);
/* The file is gone. Suspends. */
void pin_drop(struct server *server, uint64_t inode, uint64_t deadline);
int pins_replay(struct server *server, const struct journal_record *record);
/* The engine has started. */
int pins_start(struct server *server);
int pins_snapshot(struct server *server, struct journal_snapshot *into);

/* ---- what comes next ---- */

/* Small transfers mostly go through a file from front to back, and through small files in the order of their
 * creation; and fetching bytes from memory that this processor has not touched lately takes a good part of
 * one. So once a reply is on its way, the bytes behind are brought into the cache. An address beyond the
 * engine's memory does no harm. */
#define NEXT_BYTES 4096u

static inline void expect_reading(const char *bytes)
{
    for (uint32_t at = 0; at < NEXT_BYTES; at += 64)
        __builtin_prefetch(bytes + at);
}

static inline void expect_writing(const char *bytes)
{
    for (uint32_t at = 0; at < NEXT_BYTES; at += 64)
        __builtin_prefetch(bytes + at, 1);
}

/* ---- handlers ---- */

/* The end of a handler that may have changed something: does what store.durability asks for, and answers. May
 * suspend if there is a journal. */
static inline void answer(struct rpc_request *request, int status, const void *body, uint32_t body_length)
{
    if (__builtin_expect(((struct server *)request->owner)->journal != NULL, 0))
        status = durable_answer(request->owner, request, status);
    rpc_reply(request, status, status == 0 ? body : NULL, status == 0 ? body_length : 0, NULL, 0);
}

#define OP(id, name, request, reply, flags) void serve_##name(void *owner, struct rpc_request *request_);
OPERATION_TABLE(OP)
#undef OP
