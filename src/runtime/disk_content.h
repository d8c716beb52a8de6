/* What is on a simulated device: files and directories as a running system sees them, and as they would be
 * after a loss of power. Private to runtime/disk_sim.c. Nothing here knows of time or of transfers; memory
 * that is not there ends the simulation. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/random.h"

enum { CONTENT_PAGE = 4096, CONTENT_SECTOR = 512 };

struct content_page;

/* The bytes of a file. A page that is missing reads as zeros and takes no space. Past the size all bytes are
 * zero. */
struct content_image {
    struct content_page **pages;
    uint64_t slots; /* of pages */
    uint64_t held;  /* pages that are not missing */
    uint64_t size;
    int64_t time;
};

/* A file or a directory. Referenced by entries, by changes of names and by open handles. */
struct content_node {
    struct list link; /* in the device's nodes, oldest first */
    uint32_t references;
    uint32_t anchors; /* of these, from living entries and handles: its pages count as used */
    bool directory;

    struct content_image live;
    struct content_image durable;
    struct list changes; /* unsynchronised: the live image is the durable one and these, in order */

    struct map entries; /* hash of the name -> chain of entries */
    struct list names;  /* unsynchronised changes of entries, in order */
};

struct content {
    struct list nodes;
    struct content_node *root;
    struct content_page *zero; /* what reserved pages hold */
    uint64_t sequence;         /* of the latest change */
    uint64_t limit;            /* pages that may be used */
    uint64_t used;
};

void content_init(struct content *content, uint64_t capacity);
void content_exit(struct content *content);

/* Returns 0 and the node, or -ENOENT, -ENOTDIR. "": the root. */
int content_find(struct content *content, const char *name, struct content_node **node);
/* An open handle. */
void content_hold(struct content *content, struct content_node *node);
void content_release(struct content *content, struct content_node *node);

/* Changes of names. Errors as of the system calls. */
int content_create(struct content *content, const char *name, bool directory, struct content_node **node);
int content_remove(struct content *content, const char *name);
int content_rename(struct content *content, const char *from, const char *to);
/* Stops when visit returns non-zero, and returns that. */
int content_list(struct content_node *directory,
                 int (*visit)(void *owner, const char *name, bool is_directory), void *owner);

enum content_kind { CONTENT_WRITE, CONTENT_TRUNCATE, CONTENT_ALLOCATE, CONTENT_PUNCH };

/* One change of a file. */
struct content_change {
    struct list link;
    uint64_t sequence;
    enum content_kind kind;
    uint64_t offset; /* TRUNCATE: the new size */
    uint64_t length;
    int64_t time;
    uint8_t bytes[]; /* WRITE */
};

/* bytes: room for that many. */
struct content_change *content_change_make(enum content_kind kind, uint64_t offset, uint64_t length);
/* Applies it to the live file and takes it over. -ENOSPC: nothing has changed, and it is freed. */
int content_change(struct content *content, struct content_node *node, struct content_change *change,
                   int64_t time);
/* Lowers length to what there is. */
uint64_t content_read(const struct content_node *node, uint64_t offset, void *bytes, uint64_t length);
/* Writes the pages in which memory, so many bytes from the file's start, differs from it. */
void content_take(struct content *content, struct content_node *node, const uint8_t *memory, uint64_t bytes,
                  int64_t time);

/* Changes up to that sequence last. */
void content_sync(struct content *content, struct content_node *node, uint64_t sequence);
void content_sync_names(struct content *content, struct content_node *directory, uint64_t sequence);
void content_sync_all(struct content *content, uint64_t sequence);

/* See disk_sim_power_loss. No handle is open. */
void content_power_loss(struct content *content, struct random *random);
