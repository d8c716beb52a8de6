/* A board whose bytes are anything: looked at and read, or refused, and nothing beyond its end.
 *
 * Input: u8 length of a name, the name, then the memory that is shown. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "meta/board.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void ask(const struct board_view *view, const char *name, uint32_t name_length)
{
    struct attributes attributes;
    uint64_t hash = name_length != 0 ? dentry_hash(INODE_ROOT, name, name_length) : board_inode_hash(7);
    board_read(view, hash, name_length != 0 ? INODE_ROOT : 7, name, name_length, 0, 0, &attributes);
    /* Whatever hash stands in the entries, too, so that they are read to their end. */
    for (uint64_t i = 0; i < (view->mask + 1) * BOARD_WAYS && i < 64; i++) {
        const struct board_entry *entry = &view->head->entries[i];
        board_read(view, entry->hash, entry->number, name, name_length, view->head->map_epoch,
                   view->head->namespace_epoch, &attributes);
    }
    uint8_t *read = malloc(INLINE_DATA_MAX);
    for (uint64_t i = 0; read != NULL && i < view->content_sets * BOARD_WAYS && i < 64; i++) {
        const struct board_content *content = &view->contents[i];
        for (uint64_t offset = 0; offset <= INLINE_DATA_MAX; offset = 3 * offset + 1)
            board_read_content(view, content->inode, view->head->map_epoch, INT64_MIN + 1, offset, read,
                               INLINE_DATA_MAX);
    }
    free(read);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const _Atomic uint32_t owner = 1;
    if (length < 1 || length - 1 < bytes[0])
        return 0;
    char name[NAME_LENGTH_MAX];
    uint32_t name_length = bytes[0];
    memcpy(name, bytes + 1, name_length);
    /* A head is long, and most of it counts: those are zero. The memory ends where the entries end, so that a
     * sanitizer sees who reads on. */
    size_t shown = length - 1 - name_length;
    size_t front = offsetof(struct board_head, inode_counts);
    if (shown < front)
        front = shown;
    size_t size = sizeof(struct board_head) + (shown - front);
    uint8_t *memory = calloc(1, size);
    if (memory == NULL)
        return 0;
    memcpy(memory, bytes + 1 + name_length, front);
    memcpy(memory + sizeof(struct board_head), bytes + 1 + name_length + front, shown - front);
    struct net_view view = {.memory = memory, .length = size, .owner = &owner};
    struct board_view board;
    if (board_view_open(&view, &board) == 0)
        ask(&board, name, name_length);
    free(memory);
    return 0;
}
