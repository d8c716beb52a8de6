/* Histories of operations that ran at once, and the question whether they can have happened one after the
 * other: is there an order, in which none begins before another has ended that it precedes, and in which
 * every result is the model's (linearizability; Herlihy and Wing 1990, checked as by Wing and Gong 1993)? */
#pragma once

#include "model.h"
#include "rpc/operations.h"

#define HISTORY_WORKERS 4
#define HISTORY_MAX 24 /* second halves included */
#define HISTORY_PATH 64
#define HISTORY_BYTES 12000

enum event_kind {
    EVENT_OPEN, /* also makes the worker's handle, when it opens a file */
    EVENT_READ,
    EVENT_WRITE,
    EVENT_TRUNCATE_FILE,
    EVENT_FSTAT,
    EVENT_STAT,
    EVENT_TRUNCATE,
    EVENT_CHMOD,
    EVENT_MKDIR,
    EVENT_RMDIR,
    EVENT_UNLINK,
    EVENT_RENAME,
    EVENT_SYMLINK,
    EVENT_READLINK,
    EVENT_LINK,
    /* The second halves of EVENT_TRUNCATE, EVENT_CHMOD, EVENT_LINK, and EVENT_OPEN (which truncates, or tells
     * the size): POSIX lets others in after the file is found. */
    EVENT_TRUNCATE_FOUND,
    EVENT_CHMOD_FOUND,
    EVENT_LINK_FOUND,
    EVENT_SIZE_FOUND,
};

struct event {
    enum event_kind kind;
    uint32_t worker;
    bool second;           /* of the event before it in the history */
    uint64_t began, ended; /* in steps of one counter */
    uint64_t file;         /* inode of the worker's open file, for history_print */
    int64_t before, after; /* wall clock */
    /* How many renames were under way meanwhile: each lets go of what it replaced after its names are free,
     * so a link count may still be higher by so much. */
    uint32_t renames;
    char path[HISTORY_PATH];
    char path2[HISTORY_PATH]; /* or a target */
    int flags;
    uint32_t mode;
    uint64_t offset; /* or a size */
    uint32_t length;
    int64_t status;
    bool opened;                  /* EVENT_OPEN: a regular file */
    struct attributes attributes; /* of EVENT_OPEN only inode and size */
    uint8_t bytes[HISTORY_BYTES]; /* written or read */
};

struct history {
    uint32_t count;
    struct event events[HISTORY_MAX];
};

/* What a walk over the whole tree found. */
struct found {
    char path[HISTORY_PATH];
    struct attributes attributes;
    char target[HISTORY_PATH];
    uint8_t *bytes; /* attributes.size of a file */
};
#define SNAPSHOT_MAX 256
struct snapshot {
    uint32_t count;
    struct found found[SNAPSHOT_MAX];
    struct found
        open[HISTORY_WORKERS]; /* the workers' open files, which may have no name. bytes NULL: none */
};

/* The model, the workers' open files, and what the first half of a worker's event found. */
struct state {
    struct model model;
    struct node *held[2 * HISTORY_WORKERS];
};
int state_create(struct state *state);
void state_destroy(struct state *state);

/* Looks for an order of the events that leads from *state to what the snapshot shows; if there is one, that
 * is the new *state. Returns 0; -EINVAL: there is none; -EAGAIN: gave up. */
int history_explain(struct history *history, const struct snapshot *snapshot, struct state *state);
/* Adds the second half of the event added last, if it has one. */
void history_split(struct history *history);
/* One line per event into text. */
void history_print(const struct history *history, char *text, size_t size);
void snapshot_clear(struct snapshot *snapshot);
