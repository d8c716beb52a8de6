/* fsck: compares what all servers hold, and mends it. Walks the inodes, then the names, then the chunks of
 * every server in pages, and joins them in memory: 24 bytes an inode (240 MB for ten million), two pages of
 * 256 KiB a server, and some for each thing that looks odd. The file system may be in use meanwhile: what
 * looks odd is looked at again until it is sure (check.c says how), so nothing that is only under way is ever
 * reported. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"

/* What can be wrong. In the comment: found / expected, and how it is mended. */
enum check_kind {
    CHECK_NO_DIRECTORY,  /* names in a directory that does not exist; it is made, in /lost+found */
    CHECK_CYCLE,         /* directories that only lead to one another; one of them goes to /lost+found */
    CHECK_UNREACHABLE,   /* an inode without a name; goes to /lost+found */
    CHECK_SEVERAL_NAMES, /* of a directory; those where its ".." does not lead are removed, all but one */
    CHECK_DANGLING,      /* a name without inode; removed */
    CHECK_TYPE,          /* of name / of inode; the name's is set */
    CHECK_PLACE,         /* a name on the server, or at the hash, found; where lookups ask: moved */
    CHECK_PARENT,        /* what ".." says / where the directory's name is; set */
    CHECK_LINKS,         /* link count / names; set */
    CHECK_SIZE,          /* of what is inline / of its data; set */
    CHECK_BYTES_BEYOND,  /* end of chunks / size; cut */
    CHECK_ORPHAN_CHUNKS, /* chunks of an inode that does not exist: how many; dropped */
    CHECK_KINDS,
};

enum check_outcome {
    CHECK_FOUND,
    CHECK_REPAIRED,
    CHECK_LEFT, /* it was to be repaired, but: status */
};

struct check_finding {
    enum check_kind kind;
    enum check_outcome outcome;
    int status;
    uint32_t server;    /* index in the map: where it was found */
    uint64_t inode;     /* what it is about; of CHECK_NO_DIRECTORY the directory */
    uint64_t directory; /* with a name: where that is */
    uint64_t hash;
    uint64_t found, expected;
    int64_t change_time; /* of the inode */
    uint32_t mode;       /* of the inode; 0: there is none */
    uint32_t type;       /* S_IFMT bits as the name says */
    char *path;          /* of the name, or of the inode; NULL: not known */
    uint8_t name_length; /* 0: no name */
    char name[NAME_LENGTH_MAX + 1];
};

struct check_options {
    bool repair;
    /* Each finding, once its outcome is known. May be NULL. */
    void (*report)(void *owner, const struct check_finding *finding);
    /* Now and then: the walk that is under way, and how many records it has read. May be NULL. */
    void (*progress)(void *owner, const char *walk, uint64_t records);
    void *owner;
};

struct check_result {
    uint64_t inodes;
    uint64_t names;
    uint64_t chunks;
    uint64_t findings;
    uint64_t repaired;
    uint64_t left;      /* not repaired, though it was asked for */
    uint64_t undecided; /* looked odd, but kept changing: in use */
};

/* 0, whatever was found; or why the file system could not be looked at (a server out of reach, -ENOMEM).
 * Repairs go through until nothing more is found, three times at most. Suspends. */
int client_check(struct client *client, const struct check_options *options, struct check_result *result);

/* Paths of inodes, by walking over all names: twice. */
struct check_path {
    uint64_t inode;
    uint64_t directory; /* with name: where it is; 0: to be found by inode */
    const char *name;
    char *path; /* result: to be freed; NULL: it has no name, or none that leads to the root */
};
int client_check_paths(struct client *client, struct check_path *paths, uint32_t count);
