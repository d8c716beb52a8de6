/* Inside libbenchfs: the mounted file system, its workers (one per calling thread) and its descriptors. */
#pragma once

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/map.h"
#include "base/status.h"
#include "benchfs.h"
#include "client/client.h"
#include "client/shared_locks.h"

/* ---- descriptors ---- */

#define FD_FIRST 3 /* 0, 1 and 2 never belong to this library, so mixing them up is EBADF */
#define FD_CHUNK_BITS 8
#define FD_CHUNK (1u << FD_CHUNK_BITS)
#define FD_CHUNKS 4096u
#define FD_MAX (FD_CHUNK * FD_CHUNKS) /* 1,048,576 */

#define OPEN_FILE_OPEN 0x80000000u
#define OPEN_FILE_ENDING                                                                                     \
    0x40000000u /* nobody holds it any more; what it has on the servers is given back                        \
                 */

/* The forks that handed an open file on to a child: numbers, 0: none. */
struct handed_on {
    uint64_t first, last;
};

struct file_cache;

/* An open file description: what descriptors share that are duplicates of each other. Never freed while the
 * file system is connected, only used again, so that a call may touch one that is just being closed. */
struct open_file {
    _Atomic uint32_t state;      /* OPEN_FILE_*, and how many descriptors and calls under way hold it */
    _Atomic uint32_t locked;     /* 1 << LOCK_FLOCK, 1 << LOCK_DESCRIPTION: it may have such locks */
    _Atomic uint64_t lock_owner; /* as whom it locks; 0: not chosen yet */
    pthread_mutex_t lock;        /* of offset: read, write and lseek of threads that share the description */
    uint64_t offset;
    struct open_file *next_spare;
    struct open_file *next_free_spare;
    bool spare; /* not the one that comes with a descriptor: see libbenchfs_descriptors.c */
    struct client_file file;
    struct file_cache
        *cache; /* what the process keeps of the file; NULL: nothing, as always under `strict` */
    _Atomic(struct shared_locks *) shared; /* NULL: no other process has the description */
    /* libbenchfs_inherit.c */
    bool inherited; /* over a fork, and not held by this process yet */
    struct handed_on forks;
} __attribute__((aligned(64)));

/* A slot of the table, never freed while the file system is connected, so that looking it up needs no lock.
 */
struct descriptor {
    _Atomic(struct open_file *) file; /* NULL: not open */
    _Atomic int flags;                /* FD_CLOEXEC: kept for F_GETFD */
};

struct descriptor_chunk;

/* ---- file locks ---- */

/* What this process has locked. */
struct file_locks {
    _Atomic uint32_t records;      /* inodes with record locks: closing any descriptor of one ends them */
    _Atomic uint32_t descriptions; /* that may have locks of their own */
    _Atomic bool shared;           /* false: of a parent's, which the servers have not been told yet */
    pthread_mutex_t mutex;
    struct map inodes; /* those of `records`; values are this very struct */
};

/* ---- credentials ---- */

/* On whose behalf a thread calls. */
struct identity {
    uid_t uid, gid;           /* effective */
    uid_t real_uid, real_gid; /* what access asks for */
    uint32_t count;
    uint32_t groups[RPC_GROUPS_MAX];
};

/* The process's own, as they are now. 0, or -E2BIG: it is in more groups than a request can speak of. */
int identity_of_process(struct identity *identity);

/* A close that the servers are told later: a child may still need the file. */
struct kept_close {
    uint64_t inode;
    struct client_hold hold;
    struct handed_on forks;
};

/* ---- the file system ---- */

#define CACHE_BUCKETS 256u

struct benchfs {
    uint64_t id;               /* never reused in this process, unlike the address */
    _Atomic uint64_t instance; /* what the servers know this process by; a child after fork gets its own */
    uint8_t key[CLUSTER_KEY_BYTES];
    char (*addresses)[64];
    const char **address_pointers;
    uint32_t address_count;
    char transports[256];
    char devices[256];
    uint64_t deadline_ns;
    uint64_t spin_ns;
    bool metrics_shared;
    uint32_t trace_entries;
    uint32_t rendezvous_threshold;
    struct identity identity; /* of threads that did not choose another; under mutex */
    uint32_t identity_forks;  /* value of library_forks when it was read */
    uint8_t placement;
    uint8_t chunk_shift;
    _Atomic mode_t umask;
    uint64_t device; /* st_dev */
    struct client_orphans orphans;
    struct client_holds holds;
    const char *prefix;          /* where the preload library shows the root, or NULL */
    char cluster_file[PATH_MAX]; /* absolute; "": servers and key were named by the environment */

    enum consistency consistency;
    enum durability durability;
    uint64_t attribute_lifetime_ns;
    pthread_mutex_t cache_mutex;
    struct list caches[CACHE_BUCKETS]; /* struct file_cache by inode */
    _Atomic uint32_t dirty_files;      /* caches with something to publish */
    _Atomic uint64_t changes; /* relaxed: counts this process's changes, each ends what is remembered */
    struct {
        _Atomic uint64_t buffered_writes, published, cached_reads, read_ahead, cached_attributes;
    } counters;

    bool inherits;           /* there are inherited files that are not held yet; under mutex */
    uint64_t inherited_from; /* the instance that holds them */
    struct kept_close *kept; /* libbenchfs_inherit.c */
    _Atomic uint32_t kept_count;
    uint32_t kept_room;
    _Atomic uint64_t kept_looked; /* when it was last looked whether they can be told; monotonic ns */
    bool *announced;              /* by server: inherit_announce */
    uint32_t announced_count;

    pthread_mutex_t mutex; /* of the lists below; not held while transfers end: the last one of a closed file
                              takes it */
    struct list workers;
    struct list idle; /* workers whose threads have ended */
    struct list link; /* in the list of all file systems */
    _Atomic(struct descriptor_chunk *) chunks[FD_CHUNKS];
    struct file_locks locks;
    struct open_file *spares;           /* all of them */
    struct open_file *free_spares;      /* not in use; both under mutex */
    _Atomic uint64_t used[FD_MAX / 64]; /* bitmap of descriptors */
};

/* What one thread needs to call the servers. */
struct worker {
    struct benchfs *fs; /* valid while client is not NULL */
    uint64_t fs_id;
    uint32_t forks;          /* value of library_forks when it was made */
    struct metrics *metrics; /* the loop's */
    struct loop *loop;
    struct net *net;
    struct client *client;     /* NULL: the file system was disconnected */
    struct identity *identity; /* chosen for this thread; NULL: fs->identity */
    bool real_differs;         /* access asks for other ids than everything else */
    struct list link;          /* in fs->workers or fs->idle */
    struct worker *next;       /* the thread's next worker */
    struct list listings;      /* benchfs_dir that list through this worker */
    struct list finished;      /* benchfs_io that are done */
    uint32_t under_way;        /* benchfs_io not done */
    uint32_t finished_count;
    uint32_t wanted; /* benchfs_wait: fire arrival when so many are finished; 0: nobody waits */
    struct completion arrival;
    struct remembered *remembered; /* relaxed: attributes seen */
};

/* Counts forks of this process: a worker of another count belongs to the parent. */
extern _Atomic uint32_t library_forks;

/* The calling thread's worker for fs, made at its first call. NULL with errno set when that fails. */
struct worker *worker_get_slow(struct benchfs *fs);

struct worker_current {
    uint64_t fs_id;
    uint32_t forks;
    struct worker *worker;
    const uint64_t *detail_until; /* of the worker's region: 0 while nobody traces calls */
    int64_t told;                 /* what the last finish() was told */
};
extern const uint64_t application_untraced; /* 0 */
extern __thread struct worker_current worker_current
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline struct worker *worker_get(struct benchfs *fs)
{
    if (__builtin_expect(worker_current.fs_id == fs->id &&
                             worker_current.forks ==
                                 atomic_load_explicit(&library_forks, memory_order_relaxed),
                         1))
        return worker_current.worker;
    return worker_get_slow(fs);
}
static inline struct client *client_get(struct benchfs *fs)
{
    struct worker *worker = worker_get(fs);
    return worker == NULL ? NULL : worker->client;
}

/* Takes over what the thread had chosen before a fork, from the first of its workers for the same file
 * system. 0 or -ENOMEM. */
int worker_inherit(struct worker *worker, const struct worker *older);
/* Gives the worker's client its thread's credentials. 0 or a negative status. */
int worker_identify(struct worker *worker);
/* Builds a worker that belongs to no thread yet. Returns 0 or a negative status. */
int worker_create(struct benchfs *fs, struct worker **worker);
/* Makes it the calling thread's. 0 or -ENOMEM. */
int worker_adopt(struct worker *worker);
/* Ends what the worker has; the struct stays until its thread ends. Nobody else may use the worker or put it
 * away; fs->mutex is not held. */
void worker_shut_down(struct worker *worker);
/* Directory streams that list through the worker lose their listing; fs->mutex held. */
void directory_detach_all(struct worker *worker);

/* Around posix_spawn, whose child makes no call of ours before it is another program, which may take over
 * what is open (file_take_over). What is written is published, and announced, before. after: 0, it failed. */
void library_before_spawn(void);
void library_after_spawn(pid_t child);

/* benchfs_connect for the preload library: prefix as in client_options, kept by the caller. */
struct benchfs *library_connect(const char *cluster_file, const char *prefix);
/* Called around what runs without a call of ours: handlers of fork, of exit, and of a thread's end. To be set
 * before the first connection. */
void library_set_guard(void (*guard)(bool enter));

/* ---- results ---- */

/* A server that cannot be reached has lost what was asked of it: EIO, as a disk would say. */
static inline int public_errno(int status)
{
    int error = status_errno(status);
    return error == EHOSTDOWN ? EIO : error;
}

/* Turns a status into the POSIX convention. */
static inline int finish(int status)
{
    worker_current.told = status;
    if (__builtin_expect(status >= 0, 1))
        return status;
    errno = public_errno(status);
    return -1;
}
static inline ssize_t finish_size(ssize_t result)
{
    worker_current.told = result;
    if (__builtin_expect(result >= 0, 1))
        return result;
    errno = public_errno((int)result);
    return -1;
}

/* ---- descriptors ---- */

/* Opens it, and returns a descriptor or a negative status. Takes no lock while it waits for servers. Before
 * O_TRUNC callers publish what was written to any file. */
int library_open(struct benchfs *fs, uint64_t directory, const char *path, int flags, mode_t mode);
/* Takes the lowest free descriptor and a description for it, which the caller fills, then publishes. -EMFILE,
 * -ENOMEM. */
int open_file_reserve(struct benchfs *fs, int *fd, struct open_file **file);
void open_file_publish(struct benchfs *fs, int fd, struct open_file *file);
void open_file_cancel(struct benchfs *fs, int fd, struct open_file *file);
/* The open file, protected from close until open_file_release. NULL (errno EBADF) when fd is not open. */
struct open_file *open_file_acquire(struct benchfs *fs, int fd);
/* The last one has let go of it. Keeps errno. */
void open_file_end(struct benchfs *fs, struct open_file *file);
static inline void open_file_release(struct benchfs *fs, struct open_file *file)
{
    uint32_t old = atomic_fetch_sub_explicit(&file->state, 1, memory_order_acq_rel);
    if (__builtin_expect(old == (OPEN_FILE_OPEN | 1), 0))
        open_file_end(fs, file);
}
/* The slot of a number, open or not; NULL when there never was one. */
struct descriptor *descriptor_find(struct benchfs *fs, int fd);
/* Another descriptor for the acquired file, at least `least`; takes over the caller's hold. Returns it, or
 * -EMFILE, -ENOMEM: then the hold stays the caller's. */
int descriptor_duplicate(struct benchfs *fs, struct open_file *file, int least, int flags);
/* The same with this number, closing what it was. -EBUSY: it is just being opened by another thread. */
int descriptor_replace(struct benchfs *fs, struct open_file *file, int fd, int flags);
/* As open_file_acquire, but EBADF too for what O_PATH opened: that is a place, not an open file. */
static inline struct open_file *open_file_acquire_opened(struct benchfs *fs, int fd)
{
    struct open_file *slot = open_file_acquire(fs, fd);
    if (slot == NULL || !(slot->file.flags & O_PATH))
        return slot;
    open_file_release(fs, slot);
    errno = EBADF;
    return NULL;
}
/* Lets go of an open file on the servers, in this thread. forks may be NULL: none. Keeps errno. */
void file_let_go(struct benchfs *fs, const struct handed_on *forks, struct client_file *file);
/* In the child after a fork: calls of other threads are not under way here. */
void open_files_after_fork(struct benchfs *fs);
void open_files_destroy(struct benchfs *fs);
/* Visits every open description; fs->mutex is held. */
void open_files_each(struct benchfs *fs,
                     void (*visit)(struct benchfs *fs, struct open_file *file, void *context), void *context);

/* ---- what a process keeps: libbenchfs_cache.c, libbenchfs_remembered.c ---- */

/* The memory of one transfer. */
struct memory {
    const struct iovec *vector;
    uint32_t count;
    size_t length; /* to move; the ranges hold at least as much */
};

void file_caches_init(struct benchfs *fs);
void file_caches_destroy(struct benchfs *fs);
void file_caches_after_fork(struct benchfs *fs);
/* A file was opened, a descriptor is gone. 0 or -ENOMEM. */
int file_cache_open(struct benchfs *fs, struct open_file *slot);
void file_cache_close(struct benchfs *fs, struct open_file *slot);
/* As client_read_vector and write_at. slot->cache is not NULL. */
ssize_t file_cache_read(struct benchfs *fs, struct client *client, struct open_file *slot,
                        const struct memory *memory, uint64_t offset);
ssize_t file_cache_write(struct benchfs *fs, struct client *client, struct open_file *slot,
                         const struct memory *memory, bool append, uint64_t *offset);
/* Brings the file's delayed writes to the servers. tell: returns, once, why one of them failed, else whether
 * this one did. */
int file_cache_publish(struct benchfs *fs, struct client *client, struct open_file *slot, bool tell);
/* The file was changed past the cache. */
void file_cache_changed(struct open_file *slot);
/* What was read ahead of that inode's file, and attributes that were seen, are not to be gone by any more. */
void file_cache_forget_slow(struct benchfs *fs, uint64_t inode);
static inline void file_cache_forget(struct benchfs *fs, uint64_t inode)
{
    if (__builtin_expect(fs->consistency != CONSISTENCY_STRICT, 0))
        file_cache_forget_slow(fs, inode);
}
/* The same of all files: which one was changed only the servers know. */
void file_caches_forget_slow(struct benchfs *fs);
static inline void file_caches_forget(struct benchfs *fs)
{
    if (__builtin_expect(fs->consistency != CONSISTENCY_STRICT, 0))
        file_caches_forget_slow(fs);
}
/* As file_cache_publish for the file of that inode, or (0) for all files that are dirty now. Returns of how
 * many there was something; *status: the first failure, which fsync or close of that file tells again. */
/* Publishes what the process has written so far, of all files. 0, or -1 and errno: the first that failed. */
int library_publish(struct benchfs *fs);
unsigned file_caches_publish_slow(struct benchfs *fs, struct client *client, uint64_t inode, int *status);
static inline unsigned file_caches_publish(struct benchfs *fs, struct client *client, uint64_t inode)
{
    int ignored;
    if (__builtin_expect(atomic_load_explicit(&fs->dirty_files, memory_order_relaxed) == 0, 1))
        return 0;
    return file_caches_publish_slow(fs, client, inode, &ignored);
}

/* Attributes that a call may answer from memory (relaxed alone). */
struct remember {
    uint64_t key[2];
    uint64_t changes;
};
/* To be called before the request goes. path NULL: `directory` is the inode itself. */
void remember_begin(struct worker *worker, struct remember *what, uint64_t directory, const char *path,
                    bool follow);
bool remember_find(struct worker *worker, const struct remember *what, struct attributes *attributes,
                   int *status);
void remember_set(struct worker *worker, const struct remember *what, const struct attributes *attributes,
                  int status);
/* client_stat and client_attributes, with all that the modes do about them. */
int library_stat(struct benchfs *fs, uint64_t directory, const char *path, bool follow,
                 struct attributes *attributes);
int library_attributes(struct benchfs *fs, struct open_file *slot, struct attributes *attributes);

/* ---- file locks ---- */

/* Ends the locks of a description that nobody holds here any more. */
void description_unlock(struct benchfs *fs, struct open_file *file);
/* Ends the process's record locks on the inode. */
void records_unlock(struct benchfs *fs, uint64_t inode);
void file_locks_after_fork(struct benchfs *fs);
/* Other processes may have the description from now on. shared lives as long as they; one that is handed on
 * again keeps its own. */
void description_share(struct benchfs *fs, struct open_file *file, struct shared_locks *shared);
/* The description, just opened here, came from another process, or from what this process was before it
 * executed this program: the instance `before`, or 0. */
void description_adopt(struct worker *worker, struct open_file *file, struct shared_locks *shared,
                       uint64_t before);
/* This process has closed it; before description_unlock. */
void description_leave(struct benchfs *fs, struct open_file *file);
/* In a child after fork, by its first worker: it holds the locks of descriptions that it shares. */
void descriptions_share_locks(struct benchfs *fs, struct client *client);
/* Whether the process may hold locks, which end with its last connection to a server. */
static inline bool locks_held(struct benchfs *fs)
{
    return atomic_load(&fs->locks.records) != 0 || atomic_load(&fs->locks.descriptions) != 0;
}
/* fcntl's F_[OFD_]SETLK[W] and F_[OFD_]GETLK. A status. */
int record_lock(struct benchfs *fs, struct worker *worker, struct open_file *file, int command,
                struct flock *lock);

/* benchfs_truncate from a directory: -1 with errno set. */
int library_truncate(struct benchfs *fs, int dirfd, const char *path, off_t length);

/* The directory that a *at call starts from. 0 or -1 with errno. */
int start_directory(struct benchfs *fs, int dirfd, const char *path, uint64_t *inode);

void fill_stat(const struct benchfs *fs, const struct attributes *attributes, struct stat *status);

/* ---- fork and exec (libbenchfs_inherit.c) ---- */

/* Before a fork or exec, with no lock held: the servers at which files are open learn that others may come
 * for them. Each learns it once. */
void inherit_announce(struct benchfs *fs);
/* Around a fork, with library_mutex and fs->mutex held; in the child before fs->instance is cleared. */
void inherit_before_fork(struct benchfs *fs);
void inherit_after_fork(void);
/* In place of it when the child is another program already; 0: there is no child. */
void inherit_after_spawn(pid_t child);
void inherit_in_child(struct benchfs *fs);
/* Whether any file system of this process has inherited files that are not held yet. */
bool library_inherits(void);
/* Holds what was inherited, if anything; the worker is the calling thread's. */
void inherit_at_first_call(struct benchfs *fs, struct worker *worker);
/* Keeps a close back while a child may need the file. false: it does not, tell the servers. */
bool inherit_keep_back(struct benchfs *fs, const struct client_file *file, const struct handed_on *forks);
/* While fs->kept_count is not 0: tells what need not be kept back any more. */
void inherit_tell_kept(struct benchfs *fs, struct client *client);
/* For a program that hands its open files to the one that takes its place: the instance that holds the file,
 * and there, within 30 s, the hold on its behalf. 0; -ESTALE: it is gone; or another negative status. */
uint64_t file_holder(struct benchfs *fs, const struct open_file *slot);
int file_take_over(struct client *client, struct client_file *file, uint64_t from);
