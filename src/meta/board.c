/* The attribute board; board.h tells what it promises.
 *
 * Order. The one writer makes an entry's sequence odd, then changes the words, then makes it even; every
 * store releases, so whoever sees a new word also sees that the sequence has moved. A reader acquires with
 * every load and looks at the sequence again at the end. Counts, epochs and the owner are looked at in
 * between: none of them ever goes back.
 *
 * A change and the reply that tells of it are stores of one thread, in that order; whoever acts on the reply,
 * or on the word of somebody who does, has acquired it and so finds the entry gone. */
#include "meta/board.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ASKED_SHIFT 32
#define PAGE_BYTES 4096u /* or less than a page */

static uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> ASKED_SHIFT | 1);
}

/* ---- reading ---- */

int board_view_open(const struct net_view *memory, struct board_view *view)
{
    const struct board_head *head = memory->memory;
    if (memory->length < sizeof(*head) || head->magic != BOARD_MAGIC)
        return -EPROTO;
    uint64_t sets = head->sets;
    if (sets == 0 || (sets & (sets - 1)) != 0 ||
        sets > (memory->length - sizeof(*head)) / (BOARD_WAYS * sizeof(struct board_entry)))
        return -EPROTO;
    uint64_t content_sets = head->content_sets;
    const struct board_entry *end = &head->entries[sets * BOARD_WAYS];
    uint64_t left = memory->length - sizeof(*head) - sets * BOARD_WAYS * sizeof(*end);
    if (content_sets > left / (BOARD_WAYS * sizeof(struct board_content)) || content_sets > UINT32_MAX)
        return -EPROTO;
    *view = (struct board_view){.head = head,
                                .memory = memory,
                                .mask = sets - 1,
                                .contents = (const struct board_content *)(const void *)end,
                                .content_sets = content_sets};
    return 0;
}

static inline uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static inline bool names_equal(const struct board_entry *entry, const uint64_t *words, uint32_t length)
{
    uint64_t differing = 0;
    for (uint32_t i = 0; i < (length + 7) / 8; i++)
        differing |= load(&entry->name[i]) ^ words[i];
    return differing == 0;
}

/* Whether what the entry depends on is as it was when it was written. */
static inline bool is_current(const struct board_view *view, const struct board_entry *entry, uint64_t number,
                              bool named, bool missing, uint64_t inode, uint64_t inode_count)
{
    const struct board_head *head = view->head;
    if (named && load(&head->directory_counts[board_directory_slot(number)]) != load(&entry->directory_count))
        return false;
    return missing || load(&head->inode_counts[board_inode_slot(inode)]) == inode_count;
}

static inline enum board_answer read_entry(const struct board_view *view, const struct board_entry *entry,
                                           uint64_t sequence, uint64_t number, const uint64_t *words,
                                           uint32_t length, struct attributes *attributes, uint64_t *stamp)
{
    uint64_t shape = load(&entry->shape);
    if (load(&entry->number) != number || (shape & ~(uint64_t)BOARD_SHAPE_MISSING) != length ||
        !names_equal(entry, words, length))
        return BOARD_SILENT;
    bool missing = (shape & BOARD_SHAPE_MISSING) != 0;
    uint64_t copy[BOARD_ATTRIBUTES_WORDS];
    if (!missing)
        for (uint32_t i = 0; i < BOARD_ATTRIBUTES_WORDS; i++)
            copy[i] = load(&entry->attributes[i]);
    uint64_t inode_count = load(&entry->inode_count);
    if (!is_current(view, entry, number, length != 0, missing, missing ? 0 : copy[0], inode_count) ||
        load(&entry->sequence) != sequence)
        return BOARD_SILENT;
    if (missing)
        return BOARD_MISSING;
    memcpy(attributes, copy, sizeof(*attributes));
    *stamp = view->head->stamp + inode_count;
    return BOARD_FOUND;
}
static_assert(offsetof(struct attributes, inode) == 0, "the first word of attributes is the inode's number");

enum board_answer board_read_stamped(const struct board_view *view, uint64_t hash, uint64_t number,
                                     const char *name, uint32_t length, uint32_t map_epoch,
                                     uint32_t namespace_epoch, struct attributes *attributes, uint64_t *stamp)
{
    uint64_t words[BOARD_NAME_WORDS];
    if (length > BOARD_NAME_MAX)
        return BOARD_SILENT;
    if (length != 0)
        board_name_words(name, length, words);
    const struct board_head *head = view->head;
    const struct board_entry *set = &head->entries[(hash & view->mask) * BOARD_WAYS];
    for (uint32_t way = 0; way < BOARD_WAYS; way++) {
        const struct board_entry *entry = &set[way];
        uint64_t sequence = load(&entry->sequence);
        if ((sequence & 1) != 0 || load(&entry->hash) != hash)
            continue;
        enum board_answer answer =
            read_entry(view, entry, sequence, number, words, length, attributes, stamp);
        if (answer == BOARD_SILENT)
            continue;
        bool valid = atomic_load_explicit(&head->namespace_epoch, memory_order_acquire) == namespace_epoch &&
                     atomic_load_explicit(&head->map_epoch, memory_order_acquire) == map_epoch &&
                     net_view_alive(view->memory);
        return valid ? answer : BOARD_SILENT;
    }
    return BOARD_SILENT;
}

static inline uint64_t content_set(uint64_t sets, uint64_t inode)
{
    return (board_inode_hash(inode) >> 32) * sets >> 32;
}

#define LINE_BYTES 64u

/* Copies length bytes from offset on, all of them within words. Whole lines are not loaded by atomic words,
 * which would take three times as long: whoever reads half of one and half of another finds so by the
 * sequence, which is looked at behind the fence. */
static void copy_words(const _Atomic uint64_t *words, uint64_t offset, uint8_t *to, size_t length)
{
    const _Atomic uint64_t *from = &words[offset / 8];
    uint64_t word;
    size_t before = -offset % 8;
    if (before != 0 && length != 0) {
        word = load(from++);
        before = before < length ? before : length;
        memcpy(to, (const uint8_t *)&word + offset % 8, before);
        to += before;
        length -= before;
    }
    for (; length >= LINE_BYTES; length -= LINE_BYTES, to += LINE_BYTES, from += LINE_BYTES / 8) {
        memcpy(to, (const void *)from, LINE_BYTES);
        atomic_signal_fence(memory_order_acquire); /* a line after the other, by vector instructions */
    }
    for (; length > 0; length -= before, to += before) {
        word = load(from++);
        before = length < 8 ? length : 8;
        memcpy(to, &word, before);
    }
    atomic_thread_fence(memory_order_acquire);
}

static ssize_t read_content(const struct board_view *view, const struct board_content *content,
                            uint64_t sequence, uint64_t inode, int64_t now, uint64_t offset, void *bytes,
                            size_t length)
{
    uint64_t size = load(&content->length), count = load(&content->inode_count);
    if (size > INLINE_DATA_MAX || (int64_t)load(&content->until) <= now)
        return -1;
    size_t got = offset >= size ? 0 : size - offset < length ? size - offset : length;
    if (got > 0)
        copy_words(content->words, offset, bytes, got);
    bool valid = load(&view->head->inode_counts[board_inode_slot(inode)]) == count &&
                 load(&content->sequence) == sequence;
    return valid ? (ssize_t)got : -1;
}

ssize_t board_read_content(const struct board_view *view, uint64_t inode, uint32_t map_epoch, int64_t now,
                           uint64_t offset, void *bytes, size_t length)
{
    if (view->content_sets == 0)
        return -1;
    const struct board_content *set = &view->contents[content_set(view->content_sets, inode) * BOARD_WAYS];
    for (uint32_t way = 0; way < BOARD_WAYS; way++) {
        uint64_t sequence = load(&set[way].sequence);
        if ((sequence & 1) != 0 || load(&set[way].inode) != inode)
            continue;
        ssize_t got = read_content(view, &set[way], sequence, inode, now, offset, bytes, length);
        bool valid = atomic_load_explicit(&view->head->map_epoch, memory_order_acquire) == map_epoch &&
                     net_view_alive(view->memory);
        return valid ? got : -1;
    }
    return -1;
}

/* ---- the server's side ---- */

static uint64_t sets_in(uint64_t bytes)
{
    uint64_t sets = bytes > sizeof(struct board_head)
                        ? (bytes - sizeof(struct board_head)) / (BOARD_WAYS * sizeof(struct board_entry))
                        : 0;
    while ((sets & (sets - 1)) != 0)
        sets &= sets - 1;
    return sets;
}

/* The first touch of a page takes as long as writing ten entries, and those of one directory are spread over
 * all pages: better at the start than in between. Where the kernel cannot (before Linux 5.14) it comes then.
 */
static void touch(void *begin, const void *end)
{
    uintptr_t first = (uintptr_t)begin & ~(uintptr_t)(PAGE_BYTES - 1);
    madvise((void *)first, (uintptr_t)end - first, MADV_POPULATE_WRITE);
}

int board_create(struct net *net, uint64_t bytes, uint64_t content_bytes, struct board **result)
{
    uint64_t sets = sets_in(bytes),
             content_sets = content_bytes / (BOARD_WAYS * sizeof(struct board_content));
    if (content_sets > UINT32_MAX)
        content_sets = UINT32_MAX;
    if (sets == 0)
        return -EINVAL;
    struct board *board = calloc(1, sizeof(*board));
    if (board == NULL)
        return -ENOMEM;
    board->tags = calloc(sets, sizeof(board->tags[0]));
    board->asked = calloc(sets, sizeof(board->asked[0]));
    board->content_asked = calloc(content_sets + 1, sizeof(board->content_asked[0]));
    int status = -ENOMEM;
    if (board->tags != NULL && board->asked != NULL && board->content_asked != NULL)
        status = net_show(net,
                          sizeof(struct board_head) + sets * BOARD_WAYS * sizeof(struct board_entry) +
                              content_sets * BOARD_WAYS * sizeof(struct board_content),
                          NET_SHOWN_BY_THREAD, &board->shown);
    if (status != 0) {
        board_destroy(board);
        return status;
    }
    /* Entries that were never written have sequence 0, and no question has hash and number 0. */
    board->head = board->shown->memory;
    if (!loop_simulated(net->loop))
        touch(board->head, &board->head->entries[sets * BOARD_WAYS]);
    board->head->sets = sets;
    board->head->content_sets = content_sets;
    board->contents = (struct board_content *)(void *)&board->head->entries[sets * BOARD_WAYS];
    board->content_sets = content_sets;
    board->head->stamp = random_next(loop_random(net->loop));
    board->head->magic = BOARD_MAGIC;
    board->mask = sets - 1;
    *result = board;
    return 0;
}

uint64_t board_memory(const struct board *board)
{
    struct stat status;
    return fstat((int)board->shown->place.descriptor, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

void board_destroy(struct board *board)
{
    if (board == NULL)
        return;
    if (board->shown != NULL)
        net_hide(board->shown);
    free(board->content_asked);
    free(board->asked);
    free(board->tags);
    free(board);
}

void board_set_epochs(struct board *board, uint32_t map_epoch, uint32_t namespace_epoch)
{
    atomic_store_explicit(&board->head->map_epoch, map_epoch, memory_order_release);
    atomic_store_explicit(&board->head->namespace_epoch, namespace_epoch, memory_order_release);
}

static inline void store(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* Makes the entry say nothing. Returns its sequence, which is odd. */
static uint64_t silence(struct board_entry *entry)
{
    uint64_t sequence = atomic_load_explicit(&entry->sequence, memory_order_relaxed) | 1;
    store(&entry->sequence, sequence);
    return sequence;
}

void board_forget(struct board *board, uint64_t hash)
{
    uint64_t set = hash & board->mask;
    uint16_t tag = tag_of(hash);
    for (uint32_t way = 0; way < BOARD_WAYS; way++) {
        struct board_entry *entry = &board->head->entries[set * BOARD_WAYS + way];
        if (board->tags[set][way] != tag || atomic_load_explicit(&entry->hash, memory_order_relaxed) != hash)
            continue;
        silence(entry);
        board->tags[set][way] = 0;
    }
}

/* Which entry of the set to write: the one that answers this question already, the first free one (readers
 * look at them in this order, so at no more lines than necessary), or one in turn. */
static uint32_t choose(struct board *board, uint64_t set, uint64_t hash)
{
    uint16_t tag = tag_of(hash);
    uint32_t chosen = BOARD_WAYS;
    for (uint32_t way = 0; way < BOARD_WAYS; way++) {
        const struct board_entry *entry = &board->head->entries[set * BOARD_WAYS + way];
        if (board->tags[set][way] == tag && atomic_load_explicit(&entry->hash, memory_order_relaxed) == hash)
            return way;
        if (board->tags[set][way] == 0 && chosen == BOARD_WAYS)
            chosen = way;
    }
    return chosen < BOARD_WAYS ? chosen : board->turn++ % BOARD_WAYS;
}

static void write_entry(struct board *board, struct board_entry *entry, uint64_t hash, uint64_t number,
                        const char *name, uint32_t length, const struct attributes *attributes)
{
    const struct board_head *head = board->head;
    uint64_t sequence = silence(entry);
    store(&entry->hash, hash);
    store(&entry->number, number);
    store(&entry->shape, length | (attributes == NULL ? BOARD_SHAPE_MISSING : 0));
    if (length != 0) {
        uint64_t words[BOARD_NAME_WORDS];
        board_name_words(name, length, words);
        for (uint32_t i = 0; i < (length + 7) / 8; i++)
            store(&entry->name[i], words[i]);
        store(&entry->directory_count, load(&head->directory_counts[board_directory_slot(number)]));
    }
    if (attributes != NULL) {
        uint64_t words[BOARD_ATTRIBUTES_WORDS] = {0};
        memcpy(words, attributes, sizeof(*attributes));
        for (uint32_t i = 0; i < BOARD_ATTRIBUTES_WORDS; i++)
            store(&entry->attributes[i], words[i]);
        store(&entry->inode_count, load(&head->inode_counts[board_inode_slot(attributes->inode)]));
    }
    store(&entry->sequence, sequence + 1);
}

/* Whether the question was asked before; notes that it was. As many of a set are remembered as it answers:
 * were it fewer, questions that are asked in turns would put each other off for ever. */
static bool was_asked(uint16_t *asked, uint16_t tag)
{
    for (uint32_t way = 0; way < BOARD_WAYS; way++)
        if (asked[way] == tag)
            return true;
    memmove(asked + 1, asked, (BOARD_WAYS - 1) * sizeof(asked[0]));
    asked[0] = tag;
    return false;
}

bool board_answer(struct board *board, uint64_t hash, uint64_t number, const char *name, uint32_t length,
                  const struct attributes *attributes)
{
    return length <= BOARD_NAME_MAX && was_asked(board->asked[hash & board->mask], tag_of(hash)) &&
           board_put(board, hash, number, name, length, attributes);
}

bool board_put(struct board *board, uint64_t hash, uint64_t number, const char *name, uint32_t length,
               const struct attributes *attributes)
{
    if (length > BOARD_NAME_MAX)
        return false;
    uint64_t set = hash & board->mask;
    uint32_t way = choose(board, set, hash);
    write_entry(board, &board->head->entries[set * BOARD_WAYS + way], hash, number, name, length, attributes);
    board->tags[set][way] = tag_of(hash);
    board->entries++;
    return true;
}

/* ---- contents ---- */

/* Where the inode's bytes are already, or the first that is void, or one in turn. */
static struct board_content *choose_content(struct board *board, struct board_content *set, uint64_t inode)
{
    struct board_content *chosen = NULL;
    for (uint32_t way = 0; way < BOARD_WAYS; way++) {
        uint64_t other = atomic_load_explicit(&set[way].inode, memory_order_relaxed);
        if (other == inode)
            return &set[way];
        if (chosen == NULL && (other == 0 || load(&set[way].inode_count) !=
                                                 load(&board->head->inode_counts[board_inode_slot(other)])))
            chosen = &set[way];
    }
    return chosen != NULL ? chosen : &set[board->turn++ % BOARD_WAYS];
}

bool board_content(struct board *board, uint64_t inode, const void *bytes, uint32_t length, int64_t until)
{
    if (board->content_sets == 0)
        return false;
    uint64_t set = content_set(board->content_sets, inode);
    if (!was_asked(board->content_asked[set], tag_of(board_inode_hash(inode))))
        return false;
    struct board_content *content = choose_content(board, &board->contents[set * BOARD_WAYS], inode);
    uint64_t sequence = atomic_load_explicit(&content->sequence, memory_order_relaxed) | 1;
    store(&content->sequence, sequence);
    store(&content->inode, inode);
    store(&content->inode_count, load(&board->head->inode_counts[board_inode_slot(inode)]));
    store(&content->length, length);
    store(&content->until, (uint64_t)until);
    for (uint32_t at = 0; at < length; at += 8) {
        uint64_t word = 0;
        memcpy(&word, (const uint8_t *)bytes + at, length - at < 8 ? length - at : 8);
        store(&content->words[at / 8], word);
    }
    store(&content->sequence, sequence + 1);
    board->entries++;
    return true;
}
