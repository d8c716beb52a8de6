/* Whose a store directory is: the file `identity` in it, written once, before anything else, and compared at
 * every start, so that no server takes another one's files for its own or writes over them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "runtime/disk.h"

#define IDENTITY_ENGINE_MAX 32
#define IDENTITY_RING_MAX 16
#define IDENTITY_BYTES_MAX 512

struct identity {
    uint8_t cluster[16]; /* its uuid */
    uint32_t server;     /* id */
    uint32_t servers;    /* in the cluster */
    char engine[IDENTITY_ENGINE_MAX];
    char ring[IDENTITY_RING_MAX]; /* cluster.ring and cluster.hash: whose partitions are on which server */
    char hash[IDENTITY_RING_MAX];
    int64_t created; /* ns since 1970; not compared */
};

/* The directory's identity. -ENOENT: it has none, and holds nothing else either, or what a first start left
 * that came to no end, so it may get one. Logged are: -ENOTEMPTY, it has none but is not empty;
 * -EPROTONOSUPPORT, of another version; -EBADMSG, damaged; others from the disk. May suspend. */
int identity_read(struct disk *disk, struct identity *identity);
/* Before anything is made in a directory without an identity: whatever is in it until it has one may be used
 * or removed by the next start. Errors are logged. May suspend. */
int identity_begin(struct disk *disk);
/* Gives the directory an identity; after a crash it is there as a whole or not at all. Errors are logged. May
 * suspend. */
int identity_write(struct disk *disk, const struct identity *identity);
/* As identity_read, and compares: -EEXIST, logged: the directory belongs to another cluster, another server
 * of it, a cluster of another size or ring, or another engine. found may be NULL. May suspend. */
int identity_check(struct disk *disk, const struct identity *expected, struct identity *found);

/* The file's text; bytes holds IDENTITY_BYTES_MAX. Returns its length. */
size_t identity_encode(const struct identity *identity, char *bytes);
/* 0; -EPROTONOSUPPORT; -EBADMSG. */
int identity_decode(const char *bytes, size_t length, struct identity *identity);
