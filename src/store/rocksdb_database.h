/* A RocksDB database and the one thread that calls it, because its calls block.
 *
 * A full device does not end it. Some of the device is left to what makes room: database_room says -ENOSPC to
 * all who would add something once only that is left. If others use that up as well, RocksDB refuses all
 * further writes, for good; then calls that write answer -ENOSPC, reads go on, and when there is room the
 * database is closed and opened again. */
#pragma once

#include <rocksdb/c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "metrics/region.h"
#include "runtime/loop.h"

struct database;

/* Work for the thread. Calls run one after another, in the order in which they were made. */
struct database_call {
    /* On the thread; returns what database_run returns. Must not touch what belongs to the loop. */
    int (*work)(struct database_call *call, rocksdb_t *rocksdb);
    bool writes; /* it changes something. -ENOSPC: the device is full; nothing, or all of it was written */
    bool adds;   /* above all, something that takes room */
    bool frees;  /* it deletes something that takes room */
    /* As what it is among the measurements: METRICS_DISK_READ, _WRITE or _SYNC (0: as nothing), and bytes. */
    uint8_t measured;
    uint32_t bytes;
    uint64_t started; /* loop_now */
    struct list link;
    int status;
    struct completion done;
};

/* Opens or makes the database in a directory of that path. buffer: bytes for block cache and write buffers.
 * discard: what is written is forgotten with database_close, and no file of the directory changes. Errors are
 * logged. */
int database_open(struct loop *loop, const char *path, uint64_t buffer, bool discard,
                  struct database **database);
/* 0, or -ENOSPC: what is left of the device is for what makes room. Looks after that room every 200 ms, which
 * may make the thread compact the database. Never suspends. */
int database_room(struct database *database);
/* What was there has been read: from now on RocksDB compacts when it likes. Before, that would take a
 * processor from those who wait for the start. May suspend. */
void database_recovered(struct database *database);
/* Bytes that its block cache holds at present. */
uint64_t database_cached(const struct database *database);
/* No call is under way. */
void database_close(struct database *database);

/* Has the thread do it and waits; the thread has let go of everything when this returns. May suspend. A task
 * that was cancelled meanwhile is told by its next await. */
int database_run(struct database *database, struct database_call *call);
/* The same in two steps, between which the caller does something else. What was begun has to be ended. */
void database_begin(struct database *database, struct database_call *call);
int database_end(struct database *database, struct database_call *call);

/* Turns RocksDB's message into 0 (NULL), -ENOSPC, -EBADMSG or -EIO, and frees it; logs it, but for -ENOSPC.
 * For any thread. doing: "read", ... */
int database_status(char *error, const char *doing);
/* The same for a write of the batch, which is never -EBADMSG. synchronise: it, and every write before it, has
 * reached the device. */
int database_write(rocksdb_t *rocksdb, rocksdb_writebatch_t *batch, bool synchronise);
