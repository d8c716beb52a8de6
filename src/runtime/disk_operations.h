/* What the implementations of runtime/disk.h are made of, and what disk.c does for all of them: checking
 * names and transfers, faults, answers. Private to runtime/disk*.c. */
#pragma once

#include <assert.h>

#include "base/list.h"
#include "runtime/disk.h"
#include "runtime/uring.h"

/* As the calls in disk.h, after disk.c has checked the arguments and asked for a fault. */
struct disk_operations {
    void (*close)(struct disk *disk);
    int (*remember)(struct disk *disk, void *memory, size_t length);
    void (*forget)(struct disk *disk, void *memory);
    /* Fills the common part by disk_file_init. */
    int (*file_open)(struct disk *disk, const char *name, unsigned flags, struct disk_file **file);
    void (*file_close)(struct disk_file *file);
    int (*file_size)(struct disk_file *file, uint64_t *size);
    int (*file_time)(struct disk_file *file, int64_t *time);
    int (*file_truncate)(struct disk_file *file, uint64_t size);
    int (*file_allocate)(struct disk_file *file, uint64_t offset, uint64_t length);
    int (*file_punch)(struct disk_file *file, uint64_t offset, uint64_t length);
    /* NULL: files cannot be mapped. */
    int (*file_map)(struct disk_file *file, uint64_t bytes, void **memory);
    void (*file_stored)(struct disk_file *file, uint64_t offset, uint64_t length);
    /* Ends in disk_answer. disk_transfer(io)->length says how many bytes to transfer. */
    void (*start)(struct disk_io *io);
    void (*push)(struct disk *disk); /* may be NULL */
    int (*make_directory)(struct disk *disk, const char *name);
    int (*unlink)(struct disk *disk, const char *name);
    int (*rename)(struct disk *disk, const char *from, const char *to);
    int (*sync_names)(struct disk *disk, const char *directory);
    int (*sync_all)(struct disk *disk);
    int (*list)(struct disk *disk, const char *directory,
                int (*visit)(void *owner, const char *name, bool is_directory), void *owner);
    int (*space)(struct disk *disk, uint64_t *available, uint64_t *total);
};

/* The common part, at the start of each implementation's own. */
struct disk {
    const struct disk_operations *operations;
    struct loop *loop;
    char *path;
    bool read_only;
    bool discards;  /* see disk_overlay_open */
    uint32_t files; /* open */
    disk_fault fault;
    void *fault_owner;
    struct list answered; /* transfers that the next turn tells of */
    struct reactor answers;
    uint64_t at_once; /* bytes of transfers that were told at once since the last turn */
};

struct disk_file {
    struct disk *disk;
    unsigned flags;
    bool direct;
    char name[DISK_NAME_MAX + 1];
};

/* What lies in disk_io.private. */
struct __attribute__((may_alias)) disk_transfer {
    struct uring_request request; /* also links the transfer and holds its result while it is to be told */
    uint32_t length; /* to be transferred: less than the vector holds when a fault cut it short */
    uint32_t done;
    bool cut;
    bool direct; /* when it was last given to the kernel */
};

static_assert(sizeof(struct disk_transfer) <= sizeof(((struct disk_io *)0)->private), "see disk.h");

static inline struct disk_transfer *disk_transfer(struct disk_io *io)
{
    return (struct disk_transfer *)(void *)io->private;
}

static inline struct disk_io *disk_transfer_io(struct disk_transfer *transfer)
{
    return container_of((void *)transfer, struct disk_io, private);
}

/* 0 or -errno, logged. path is copied. */
int disk_init(struct disk *disk, struct loop *loop, const struct disk_operations *operations,
              const char *path);
void disk_exit(struct disk *disk);
void disk_file_init(struct disk_file *file, struct disk *disk, const char *name, unsigned flags);

/* Records that the transfer is over with this result, for the request that the starting task served; to be
 * called by who fires io->done itself. */
void disk_record(const struct disk_io *io, int status);
/* The same, and tells. At once, so that whoever waits does not suspend; `later`: by the next turn, as always
 * when `notify` is set. */
void disk_answer(struct disk_io *io, int status, bool later);

/* Waits for something that cannot be given up. A cancellation that comes meanwhile is passed on to the task's
 * next await. */
int disk_await(struct loop *loop, struct completion *done);
