/* Files on a local device, reached through one directory: the only way in which anything persistent touches a
 * disk, so that the simulator can put its own device underneath and tests can make every call fail.
 *
 * disk_open (disk_local.c) is the real one: io_uring for transfers and synchronisation, plain system calls
 * for names. disk_sim_open (disk_sim.c) keeps files in memory under a simulated clock, knows which writes
 * were synchronised, and loses or tears the others when the power fails. disk_overlay_open (disk_overlay.c)
 * lies over another disk, which it leaves as it is.
 *
 * Names are paths below the directory ("journal-3", "7f/1a/0"), of at most DISK_NAME_MAX bytes, without empty
 * components, "." and "..". "lock" is the disk's own: it cannot be opened and is not listed.
 * All calls return 0 (or a count) or -errno. A transfer is whole: short reads happen only at the end of the
 * file, short writes never (the rest is written, or the error is told). Calls that say so may suspend; the
 * others block for as long as a system call on names takes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "runtime/loop.h"

#define DISK_NAME_MAX 200
#define DISK_ALIGNMENT 4096u /* of memory, offset and length of direct transfers */
#define DISK_VECTOR_MAX 64u
#define DISK_TRANSFER_MAX (1u << 30) /* bytes in one transfer; -EINVAL beyond */

struct disk;
struct disk_file;

struct disk_options {
    uint32_t depth; /* transfers in the kernel at a time; more wait in order of arrival. 0: 128 */
    bool read_only; /* nothing is created or changed; shares the directory with others that only read */
};

/* Opens the directory, made if it is missing (its parent must exist), and locks it against other servers.
 * -EBUSY: another process has it. -EROFS, -EACCES, -ENOSPC, -ENOTDIR as the system says. Nothing is logged:
 * the caller knows what the directory is for. */
int disk_open(struct loop *loop, const char *path, const struct disk_options *options, struct disk **disk);
/* Who has the directory, for the message after -EBUSY ("process 1234 on node7"; "another process" if that
 * cannot be told). */
#define DISK_HOLDER_MAX 100
void disk_lock_holder(const char *path, char holder[DISK_HOLDER_MAX]);
/* No transfer is under way and every file is closed. */
void disk_close(struct disk *disk);
/* A disk that shows what `below` has, which is only read; what is changed is kept in memory and forgotten
 * with disk_close, which closes below, too. Nothing is direct, and directories cannot be renamed. 0 or
 * -ENOMEM: below is still the caller's. */
int disk_overlay_open(struct disk *below, struct disk **disk);
/* Whether changes are forgotten: for those who reach files in other ways than through the disk. */
bool disk_discards(const struct disk *disk);
/* For messages: the directory as it was named. */
const char *disk_path(const struct disk *disk);

/* Memory that transfers use often; those that lie wholly in it, in one element of the vector, are quicker. It
 * stays until disk_forget or disk_close. Failure (say, too little lockable memory) is no reason not to go on.
 * It had better be huge pages (madvise before it is first touched): a device takes so many segments in one
 * request, and 1 MiB in small pages may be more, which costs a third of the bandwidth. */
int disk_remember(struct disk *disk, void *memory, size_t length);
void disk_forget(struct disk *disk, void *memory);

#define DISK_CREATE 1u    /* made if missing */
#define DISK_EXCLUSIVE 2u /* with DISK_CREATE: -EEXIST */
#define DISK_DIRECT 4u    /* past the page cache if the file system can: see disk_file_is_direct */
#define DISK_READ_ONLY 8u

int disk_file_open(struct disk *disk, const char *name, unsigned flags, struct disk_file **file);
void disk_file_close(struct disk_file *file);
/* Whether transfers have to be aligned to DISK_ALIGNMENT (-EINVAL otherwise). */
bool disk_file_is_direct(const struct disk_file *file);
int disk_file_size(struct disk_file *file, uint64_t *size);
/* Modification time, ns since 1970. */
int disk_file_time(struct disk_file *file, int64_t *time);
int disk_file_truncate(struct disk_file *file, uint64_t size);
/* Takes blocks for [offset, offset + length) and grows the file to its end. 0; -ENOSPC; where the file system
 * cannot reserve, the size alone changes. May suspend. */
int disk_file_allocate(struct disk_file *file, uint64_t offset, uint64_t length);
/* Gives the blocks of the range back; it reads as zeros. -EOPNOTSUPP. May suspend. */
int disk_file_punch(struct disk_file *file, uint64_t offset, uint64_t length);

enum disk_call { DISK_READ, DISK_WRITE, DISK_SYNC }; /* in the order of METRICS_DISK_READ, ... */

/* A transfer under way. Zero it, fill the first part, disk_start, disk_finish. */
struct disk_io {
    struct disk_file *file;
    enum disk_call call;        /* DISK_SYNC: data and what is needed to read them (fdatasync) */
    const struct iovec *vector; /* until finished; at most DISK_VECTOR_MAX elements */
    uint32_t count;
    uint64_t offset;
    struct completion done; /* fired with bytes or -errno; `notify` may be set: never called in disk_start */
    uint64_t started;       /* this and the rest: the implementation's own */
    uint64_t tag;
    void *private[8];
};
/* Never suspends: what finds the queue full waits in it. All that one turn of the loop starts enters the
 * kernel together. */
void disk_start(struct disk_io *io);
/* What was started enters the kernel now: for one who is about to compute for longer than that takes,
 * meanwhile. */
void disk_push(struct disk *disk);
/* Waits; a cancelled task is told only after the device has let go of the memory. Bytes or -errno. */
ssize_t disk_finish(struct disk_io *io);

/* The same in one call. May suspend. */
ssize_t disk_read(struct disk_file *file, void *bytes, size_t length, uint64_t offset);
ssize_t disk_write(struct disk_file *file, const void *bytes, size_t length, uint64_t offset);
int disk_sync(struct disk_file *file);

/* Whether files can be mapped through the disk: on a simulated device. Who has another one maps them by
 * himself, by their path. */
bool disk_maps(const struct disk *disk);
/* So many bytes of the file, which it has (-EINVAL otherwise), as memory: what mmap does with an ordinary
 * file. Once for each open file; the memory is there until disk_file_close. -EOPNOTSUPP. */
int disk_file_map(struct disk_file *file, uint64_t bytes, void **memory);
/* What lies in that part of the memory now has been written to the file, as if by disk_write, and disk_sync
 * makes it last. Of stores that nobody tells of, a loss of power keeps, loses or tears what is there then. */
void disk_file_stored(struct disk_file *file, uint64_t offset, uint64_t length);

/* Names. */
int disk_make_directory(struct disk *disk, const char *name);         /* -EEXIST */
int disk_unlink(struct disk *disk, const char *name);                 /* files and empty directories */
int disk_rename(struct disk *disk, const char *from, const char *to); /* in one directory, else -EXDEV */
/* Makes changes of names in a directory ("": the disk's own) durable. May suspend. */
int disk_sync_names(struct disk *disk, const char *directory);
/* Makes everything durable that has been written so far, bytes and names, by whomever: for one who goes on
 * where a process stopped that was killed. Takes as long as the system has to write, and may block for that.
 * May suspend. */
int disk_sync_all(struct disk *disk);
/* Calls visit for each entry of a directory ("": the disk's own), in any order, until it returns non-zero,
 * which is then returned. */
int disk_list(struct disk *disk, const char *directory,
              int (*visit)(void *owner, const char *name, bool is_directory), void *owner);
/* Bytes free for use and in all. */
int disk_space(struct disk *disk, uint64_t *available, uint64_t *total);

/* ---- tests ---- */

/* Asked before every call that touches the device; may put an error in its place (< 0), or for DISK_WRITE
 * lower *length: so much is written (in a direct file, rounded down to DISK_ALIGNMENT), then the call fails
 * with -EIO. what: "read", "write", "sync", "open", "size", "time", "truncate", "allocate", "punch",
 * "directory", "unlink", "rename", "names" (their synchronisation), "list", "space". */
typedef int (*disk_fault)(void *owner, const char *what, const char *name, uint64_t offset, size_t *length);
void disk_set_fault(struct disk *disk, disk_fault fault, void *owner);

/* ---- the simulated device ---- */

struct disk_sim_options {
    uint64_t capacity;   /* bytes; beyond: -ENOSPC. 0: unlimited */
    uint64_t latency_ns; /* a transfer takes up to so long, drawn from loop_random */
    bool direct;         /* grants DISK_DIRECT */
};
/* A device outlives the loops and servers that use it: */
struct disk_sim_device;
int disk_sim_device_create(const struct disk_sim_options *options, struct disk_sim_device **device);
void disk_sim_device_destroy(struct disk_sim_device *device);
/* Opens it for one server; -EBUSY while it is open. disk_close closes it: what was not synchronised stays, as
 * after kill -9. */
int disk_sim_open(struct loop *loop, struct disk_sim_device *device, struct disk **disk);
/* The power fails: of every write, change of size and change of names since the last synchronisation that
 * covers it, the generator chooses whether it is kept, lost, or (writes) kept in some of its 512-byte sectors
 * only. Writes that were under way count as not synchronised. The disk must be closed, or abandoned by a
 * server that was killed (disk_sim_abandon). */
void disk_sim_power_loss(struct disk_sim_device *device, struct random *random);
/* A server died with the disk open: transfers under way never complete, memory of the handle and of its files
 * is freed. A write that was under way has reached the device or not, as loop_random says. */
void disk_sim_abandon(struct disk *disk);
/* The same for a server whose tasks are still to be unwound: from now on nothing of it reaches the device,
 * which others may open at once; what is under way and every later call fails with -EIO. Its files and the
 * disk are then closed as usual. */
void disk_sim_kill(struct disk *disk);
/* Number of writes, synchronisations and changes of names and sizes since it was made: the points at which a
 * test may let the power fail. stop_at: from that point on (the calls before it, `point` in number, have
 * reached it) nothing reaches the device any more, transfers never complete and other calls fail with -EIO;
 * then *stopped is set. Then comes disk_sim_kill or disk_sim_abandon; the next disk_sim_open resets it.
 * UINT64_MAX: never. */
uint64_t disk_sim_points(const struct disk_sim_device *device);
void disk_sim_stop_at(struct disk_sim_device *device, uint64_t point, bool *stopped);
