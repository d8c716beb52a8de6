/* The attribute board: what a server answers to LOOKUP and GET_ATTRIBUTES, in memory that clients on its host
 * read, so that a stat needs no message.
 *
 * A set-associative table. An entry is the answer to one question - what is the name N in directory D; what
 * are the attributes of inode I - and is believed only while it is as good as a reply that the server would
 * give at that very moment:
 *
 * - An entry has a sequence number, odd while it says nothing or is being written. Who has copied an entry
 * reads the number again.
 * - It carries two counts, of its inode and of its directory, as they were when it was written, and is void
 * as soon as they differ from those on the board (BOARD_INODES and BOARD_DIRECTORIES of each, by hash). So a
 *   change of an inode ends all entries that tell of it, under whatever names, by one store.
 * - The bytes of small files stand beside, by inode, under the same count and a sequence number of their own.
 * - The board has the server's epochs, and an owner that the kernel takes away when the server ends
 *   (net_view_alive).
 *
 * All of these only move on while an entry stands, so if all are as they should be when they are looked at,
 * one after the other, they were so together when the first of them was: that is the moment of the answer.
 *
 * The server changes them before anybody can know of the change: in the same step, before a reply leaves or
 * the handler suspends. It writes an entry when it has just given that answer to a client, from the same
 * memory; what a handler would wait for (a locked name, hidden attributes) or would have to ask other servers
 * for is not written. A question is put on the board when it is asked for the second time within a while, so
 * what is asked once costs nothing; or when others of the same series were asked (server/ahead.c). */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cluster/partition.h"
#include "net/net.h"
#include "rpc/operations.h"

#define BOARD_MAGIC UINT64_C(0x32445241424c5442)
#define BOARD_WAYS 4u
#define BOARD_NAME_MAX 56u /* bytes of a name that has room in an entry */
#define BOARD_NAME_WORDS (BOARD_NAME_MAX / 8)
#define BOARD_ATTRIBUTES_WORDS ((sizeof(struct attributes) + 7) / 8)
#define BOARD_INODES 4096u
#define BOARD_DIRECTORIES 1024u

/* board_entry.shape: length of the name (0: the entry is about an inode), and flags. */
#define BOARD_SHAPE_MISSING 0x100u /* there is no such name */

struct board_entry {
    _Atomic uint64_t sequence;
    _Atomic uint64_t hash;
    _Atomic uint64_t number; /* the directory, or the inode that the entry is about */
    _Atomic uint64_t shape;
    _Atomic uint64_t directory_count;
    _Atomic uint64_t inode_count;
    _Atomic uint64_t
        name[BOARD_NAME_WORDS]; /* zero-filled; of most names all that counts is in the first line */
    _Atomic uint64_t attributes[BOARD_ATTRIBUTES_WORDS];
};
static_assert(sizeof(struct board_entry) == 192, "three cache lines");

/* A small file's bytes. */
#define BOARD_CONTENT_WORDS (INLINE_DATA_MAX / 8)
struct board_content {
    _Atomic uint64_t sequence;
    _Atomic uint64_t inode;
    _Atomic uint64_t inode_count;
    _Atomic uint64_t length;
    _Atomic uint64_t until; /* ns since 1970: when the next read will change the access time, so has to ask */
    uint64_t reserved[3];
    _Atomic uint64_t words[BOARD_CONTENT_WORDS];
};
static_assert(sizeof(struct board_content) == 64 + INLINE_DATA_MAX, "whole cache lines");

struct board_head {
    uint64_t magic;
    uint64_t sets;         /* a power of two */
    uint64_t content_sets; /* of BOARD_WAYS struct board_content, behind the entries */
    uint64_t stamp;        /* random: see board_stamp */
    _Atomic uint32_t namespace_epoch;
    _Atomic uint32_t map_epoch;
    uint8_t reserved[24];
    _Atomic uint64_t inode_counts[BOARD_INODES];
    _Atomic uint64_t directory_counts[BOARD_DIRECTORIES];
    struct board_entry entries[]; /* sets * BOARD_WAYS */
};
static_assert(offsetof(struct board_head, entries) % 64 == 0, "entries begin with a cache line");

/* The hash of the question for an inode's attributes; that for a name is its dentry_hash. */
static inline uint64_t board_inode_hash(uint64_t inode)
{
    return hash_mix(inode);
}

static inline uint32_t board_inode_slot(uint64_t inode)
{
    return (uint32_t)(hash_mix(inode) >> 32) % BOARD_INODES;
}

static inline uint32_t board_directory_slot(uint64_t directory)
{
    return (uint32_t)(hash_mix(directory) >> 32) % BOARD_DIRECTORIES;
}

/* A name as entries have it. */
static inline void board_name_words(const char *name, uint32_t length, uint64_t words[BOARD_NAME_WORDS])
{
    words[(length - 1) / 8] = 0;
    memcpy(words, name, length);
}

/* ---- reading ---- */

/* A board of another process, or one of the simulator's parties. */
struct board_view {
    const struct board_head *head; /* NULL: there is none */
    const struct net_view *memory;
    uint64_t mask; /* sets - 1 */
    const struct board_content *contents;
    uint64_t content_sets;
};

/* Checks what is shown. 0 or -EPROTO. */
int board_view_open(const struct net_view *memory, struct board_view *view);

enum board_answer {
    BOARD_SILENT, /* it does not say: ask the server */
    BOARD_FOUND,
    BOARD_MISSING,
};

/* What it says to the question (hash; number; name, of length 0 for an inode), for a caller that has seen
 * these epochs. On BOARD_FOUND *attributes, and *stamp: what board_stamp said of the inode when that was
 * true. */
enum board_answer board_read_stamped(const struct board_view *view, uint64_t hash, uint64_t number,
                                     const char *name, uint32_t length, uint32_t map_epoch,
                                     uint32_t namespace_epoch, struct attributes *attributes,
                                     uint64_t *stamp);
static inline enum board_answer board_read(const struct board_view *view, uint64_t hash, uint64_t number,
                                           const char *name, uint32_t length, uint32_t map_epoch,
                                           uint32_t namespace_epoch, struct attributes *attributes)
{
    uint64_t stamp;
    return board_read_stamped(view, hash, number, name, length, map_epoch, namespace_epoch, attributes,
                              &stamp);
}

/* Reads from the small file of that inode at `offset` into `length` bytes, as a caller that has seen this
 * epoch and reads it at that time (ns since 1970). Returns how many bytes there were, or -1: it does not say;
 * then what the bytes are now is not defined. */
ssize_t board_read_content(const struct board_view *view, uint64_t inode, uint32_t map_epoch, int64_t now,
                           uint64_t offset, void *bytes, size_t length);

/* Differs from what it was, on this board or another, once an answer about the inode that stood then was
 * withdrawn. In the total order of meta/holds.h. */
static inline uint64_t board_stamp(const struct board_view *view, uint64_t inode)
{
    return view->head->stamp + atomic_load(&view->head->inode_counts[board_inode_slot(inode)]);
}

/* ---- the server's side ---- */

struct board {
    struct net_shown *shown;
    struct board_head *head;
    uint64_t mask;
    uint16_t (
        *tags)[BOARD_WAYS]; /* of the entries that stand, so that others need not be looked at; 0: none */
    uint16_t (*asked)[BOARD_WAYS]; /* tags of questions that were asked lately and are not answered there */
    struct board_content *contents;
    uint64_t content_sets;
    uint16_t (*content_asked)[BOARD_WAYS]; /* likewise, of inodes whose bytes were asked for */
    uint32_t turn;
    bool watched;     /* some client has asked for it */
    uint64_t entries; /* written so far */
};

/* Shows a board of at most `bytes`, and at most content_bytes of files' contents. 0, -ENOTSUP, -EINVAL (too
 * small for one set), -ENOMEM, or the system's.
 */
int board_create(struct net *net, uint64_t bytes, uint64_t content_bytes, struct board **board);
/* Bytes of physical memory that it takes where others see it; 0: the system does not tell. */
uint64_t board_memory(const struct board *board);
/* By the thread that made it. Nobody believes it any more; harmless with NULL. */
void board_destroy(struct board *board);
void board_set_epochs(struct board *board, uint32_t map_epoch, uint32_t namespace_epoch);

/* Puts the answer on the board: attributes, or NULL for a name that does not exist. To be called in the step
 * in which it was found, whether the reply has left or not. Returns whether it stands there now. */
bool board_answer(struct board *board, uint64_t hash, uint64_t number, const char *name, uint32_t length,
                  const struct attributes *attributes);
/* The same, though nobody has asked for it. */
bool board_put(struct board *board, uint64_t hash, uint64_t number, const char *name, uint32_t length,
               const struct attributes *attributes);

/* Soon before: brings what that mostly writes into the cache. */
static inline void board_expect(const struct board *board, uint64_t hash)
{
    uint64_t set = hash & board->mask;
    const char *entry = (const char *)&board->head->entries[set * BOARD_WAYS];
    __builtin_prefetch(board->tags[set], 1);
    for (size_t at = 0; at < sizeof(struct board_entry); at += 64)
        __builtin_prefetch(entry + at, 1);
}

/* The same for a small file's bytes, for reads before `until`. length <= INLINE_DATA_MAX. */
bool board_content(struct board *board, uint64_t inode, const void *bytes, uint32_t length, int64_t until);

void board_forget(struct board *board, uint64_t hash);
/* The answer to the question is about to change, or just has. */
static inline void board_changed(struct board *board, uint64_t hash)
{
    uint64_t tags;
    memcpy(&tags, board->tags[hash & board->mask], sizeof(tags));
    if (__builtin_expect(tags != 0, 0))
        board_forget(board, hash);
}

/* The same of all that tells of the inode, and of all names in the directory. */
static inline void board_inode_changed(struct board *board, uint64_t inode)
{
    _Atomic uint64_t *count = &board->head->inode_counts[board_inode_slot(inode)];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_release);
}
/* The same, in the total order of meta/holds.h: who enters the inode there and does not see this is seen. */
static inline void board_inode_leaves(struct board *board, uint64_t inode)
{
    atomic_fetch_add(&board->head->inode_counts[board_inode_slot(inode)], 1);
}
static inline void board_directory_changed(struct board *board, uint64_t directory)
{
    _Atomic uint64_t *count = &board->head->directory_counts[board_directory_slot(directory)];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_release);
}
