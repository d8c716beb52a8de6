/* What the files of the check share. Nothing outside client/check*.c includes this. */
#pragma once

#include "client/check.h"
#include "client/core.h"

/* ---- check_walk.c: pages of all servers ---- */

enum check_walk { WALK_INODES, WALK_NAMES, WALK_CHUNKS, WALKS };

struct check_page {
    uint32_t server;
    uint32_t entries;
    const uint8_t *bytes;
    size_t length;
};

/* Hands every page of every server to visit, whose status other than 0 ends the walk. All servers are asked
 * at once. */
int check_walk_all(struct client *client, enum check_walk walk,
                   int (*visit)(void *owner, const struct check_page *page), void *owner);
/* The next record of a page of names after *offset, which moves on. NULL: the end, or (with *offset not at
 * the length) a record that makes no sense. */
const struct check_name *check_next_name(const struct check_page *page, size_t *offset);

/* Whether what a server says of an inode can be calculated with. */
static inline bool check_inode_valid(const struct check_inode *inode)
{
    return inode_valid(inode->inode) && inode->layout.chunk_shift <= CHUNK_SHIFT_MAX;
}

/* Single questions. 1: *entry is filled; 0: there is no such thing; or a status. */
int check_ask_inode(struct client *client, uint64_t number, struct check_inode *entry);
/* name_length 0: any name in the directory. */
int check_ask_name(struct client *client, uint32_t server, uint64_t directory, uint64_t hash,
                   const char *name, uint8_t name_length, uint64_t *inode, uint32_t *type);
/* All chunks of the inode on the server, added up. */
int check_ask_chunks(struct client *client, uint32_t server, uint64_t inode, struct check_chunks *sum);
/* Waits until all that was under way on any server has ended. */
int check_settle(struct client *client);

/* ---- findings ---- */

struct findings {
    struct check_finding *list;
    size_t count;
    size_t room;
};
/* A copy; path is taken over. 0 or -ENOMEM. */
int findings_add(struct findings *findings, const struct check_finding *finding);
void findings_free(struct findings *findings);

/* ---- check_repair.c ---- */

/* Mends what was found, in the order of kinds, and tells each finding its outcome. */
int check_repair(struct client *client, struct findings *findings);
