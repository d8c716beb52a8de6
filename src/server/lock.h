/* The file locks of one server: which owner holds what of which inode, and who waits. Local, never suspends;
 * server/lock_serve.c makes requests of it.
 *
 * Three kinds. flock locks whole files and knows nothing of the others. Record locks of processes and of open
 * file descriptions exclude each other by ranges of bytes. A process owns by (instance, owner); an open file
 * description by a random number alone, since processes share it after a fork: it is held by one or more
 * instances, and ends with the last of them. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "rpc/rpc.h"
#include "runtime/loop.h"

#define LOCKS_MAX 262144u /* locks, waiters and holders together: some 100 bytes each */
/* How long a waiter keeps its place while nobody asks for it. */
#define LOCK_PLACE_NS (2 * NSEC_PER_SEC)

struct lock_table {
    struct loop *loop;
    struct map files;     /* by inode: struct lock_file */
    struct map owners;    /* by a hash of kind, instance and number: struct lock_owner */
    struct map instances; /* by number: struct lock_instance */
    uint32_t count;
    uint32_t most;
};

struct lock_owner;
struct lock_file;

/* Somebody in the queue of a file. */
struct lock_waiter {
    struct list in_file;  /* in order of arrival */
    struct list in_owner; /* what its owner waits for */
    struct lock_file *file;
    struct lock_owner *owner;
    uint64_t instance;
    struct lock_request request;
    /* Of the request that waits at present; NULL: there is none, the place is kept for a while. */
    struct completion *attached;
    const struct rpc_request *asking;
    struct timer expiry;
    struct lock_table *table;
};

void locks_init(struct lock_table *table, struct loop *loop);
/* No request may be attached. */
void locks_destroy(struct lock_table *table);

/* The first lock that stands in the request's way: true and *conflict, whose `start` is 0 and `end` is
 * UINT64_MAX for flock. */
bool locks_conflict(const struct lock_table *table, uint64_t instance, const struct lock_request *request,
                    struct lock_reply *conflict);
/* Locks, changes or unlocks what the request says, which nothing stands in the way of; wakes who waits for
 * what became free. 0 or -ENOLCK with nothing changed (never for unlocking a whole range). */
int locks_apply(struct lock_table *table, uint64_t instance, const struct lock_request *request);

/* The waiter with the request's ticket, or NULL. */
struct lock_waiter *locks_find_waiter(const struct lock_table *table, uint64_t instance,
                                      const struct lock_request *request);
/* 0 and a new waiter at the end of the queue, -ENOLCK, or -EDEADLK: what is in the way waits, itself or
 * through others on this server, for this very owner (processes only). */
int locks_wait(struct lock_table *table, uint64_t instance, const struct lock_request *request,
               struct lock_waiter **waiter);
/* Whoever attaches hears by the completion: 0, the lock is its; -ENOLCK; -EINTR, given up; -ECANCELED. By
 * then the waiter is gone. */
void locks_attach(struct lock_waiter *waiter, const struct rpc_request *request,
                  struct completion *completion);
/* Nobody waits at present; the place is kept for LOCK_PLACE_NS. */
void locks_detach(struct lock_waiter *waiter);
/* Ends it; an attached request hears the status. */
void locks_give_up(struct lock_waiter *waiter, int status);

/* The instance holds the description's locks as well from now on. No locks, nothing to hold: 0. 0 or -ENOLCK.
 */
int locks_share(struct lock_table *table, uint64_t instance, const struct lock_owner_request *request);
/* The instance lets go: of a process's locks on the inode, or of a description, whose locks go with the last
 * holder. */
void locks_release(struct lock_table *table, uint64_t instance, const struct lock_owner_request *request);
/* The instance has ended. */
void locks_end_instance(struct lock_table *table, uint64_t instance);
