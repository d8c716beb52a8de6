/* The operation table in memory, and the one place where request bodies are checked.
 *
 * A body is a fixed struct, possibly followed by names whose lengths are the struct's last bytes. The shape
 * is a property of the struct, so it is written down once per struct below; the table then derives it for
 * each operation. A new request struct without a shape does not compile. Handlers can rely on the result:
 * whatever name_length says is there, and a name can be used as a directory entry as it stands. */
#include "rpc/operations.h"

#include <string.h>

#include "rpc/rpc.h"
#include "rpc/table.h"

enum {
    SHAPE_empty_body = BODY_FIXED,
    SHAPE_chunk_read_request = BODY_FIXED,
    SHAPE_chunk_write_request = BODY_FIXED,
    SHAPE_chunk_truncate_request = BODY_FIXED,
    SHAPE_copy_request = BODY_FIXED,
    SHAPE_chunk_shape_request = BODY_FIXED,
    SHAPE_pin_request = BODY_FIXED,
    SHAPE_chunk_seek_request = BODY_FIXED,
    SHAPE_allocate_request = BODY_FIXED,
    SHAPE_xattr_request = BODY_PATTERN,
    SHAPE_inode_request = BODY_FIXED,
    SHAPE_attributes_request = BODY_FIXED,
    SHAPE_name_request = BODY_NAME,
    SHAPE_create_request = BODY_NAME,
    SHAPE_open_request = BODY_NAME,
    SHAPE_set_attributes_request = BODY_FIXED,
    SHAPE_extend_request = BODY_FIXED,
    SHAPE_truncate_request = BODY_FIXED,
    SHAPE_list_request = BODY_PATTERN,
    SHAPE_rename_request = BODY_TWO_NAMES,
    SHAPE_turn_request = BODY_FIXED,
    SHAPE_link_request = BODY_NAME,
    SHAPE_key_lock_request = BODY_NAME,
    SHAPE_key_finish_request = BODY_NAME,
    SHAPE_directory_request = BODY_FIXED,
    SHAPE_parent_request = BODY_FIXED,
    SHAPE_epoch_request = BODY_FIXED,
    SHAPE_metrics_request = BODY_FIXED,
    SHAPE_metrics_set_request = BODY_FIXED,
    SHAPE_groups_request = BODY_FIXED,
    SHAPE_lock_request = BODY_FIXED,
    SHAPE_lock_owner_request = BODY_FIXED,
    SHAPE_inode_unlink_request = BODY_FIXED,
    SHAPE_inode_link_request = BODY_FIXED,
    SHAPE_hold_request = BODY_FIXED,
    SHAPE_board_request = BODY_FIXED,
    SHAPE_node_request = BODY_NAME,
    SHAPE_unnamed_request = BODY_FIXED,
    SHAPE_ping_request = BODY_FIXED,
    SHAPE_check_inodes_request = BODY_FIXED,
    SHAPE_check_names_request = BODY_FIXED,
    SHAPE_check_chunks_request = BODY_FIXED,
    SHAPE_check_settled_request = BODY_FIXED,
    SHAPE_repair_inode_request = BODY_FIXED,
    SHAPE_repair_name_request = BODY_NAME,
    SHAPE_scrub_request = BODY_FIXED,
};

#define LAST_BYTE_IS(type, member)                                                                           \
    static_assert(offsetof(struct type, member) == sizeof(struct type) - 1,                                  \
                  "the length is the last fixed byte")
LAST_BYTE_IS(name_request, name_length);
LAST_BYTE_IS(create_request, name_length);
LAST_BYTE_IS(open_request, name_length);
LAST_BYTE_IS(link_request, name_length);
LAST_BYTE_IS(node_request, create.name_length);
LAST_BYTE_IS(key_lock_request, name_length);
LAST_BYTE_IS(key_finish_request, name_length);
LAST_BYTE_IS(rename_request, new_length);
LAST_BYTE_IS(xattr_request, name_length);
LAST_BYTE_IS(repair_name_request, name_length);
LAST_BYTE_IS(list_request, filter.pattern_length);
static_assert(offsetof(struct rename_request, old_length) == sizeof(struct rename_request) - 2,
              "old_length, new_length");
static_assert(sizeof(struct rename_request) + 2 * NAME_LENGTH_MAX <= RPC_BODY_MAX,
              "the largest request body");

#define OP(id, name, request, reply, flags)                                                                  \
    static_assert((id) < RPC_OPERATION_MAX, "operation number");                                             \
    static_assert(sizeof(struct request) <= RPC_BODY_MAX && sizeof(struct reply) <= RPC_BODY_MAX,            \
                  "body size");
OPERATION_TABLE(OP)
#undef OP

const struct operation operation_table[RPC_OPERATION_MAX] = {
#define OP(id, operation_name, request, reply, operation_flags)                                              \
    [id] = {                                                                                                 \
        .name = #operation_name,                                                                             \
        .request_size = sizeof(struct request),                                                              \
        .reply_size = sizeof(struct reply),                                                                  \
        .flags = (operation_flags),                                                                          \
        .shape = SHAPE_##request,                                                                            \
    },
    OPERATION_TABLE(OP)
#undef OP
};

bool rpc_operation_mutates(unsigned operation)
{
    const struct operation *found = operation_find(operation);
    return found != NULL && (found->flags & RPC_MUTATES) != 0;
}

const char *rpc_operation_name(unsigned operation)
{
    const struct operation *found = operation_find(operation);
    return found == NULL ? NULL : found->name;
}

/* Whether one of the eight bytes is zero (Mycroft 1987). */
static inline bool has_zero(uint64_t word)
{
    return ((word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080)) != 0;
}

static inline bool has_slash_or_zero(uint64_t word)
{
    return has_zero(word) || has_zero(word ^ UINT64_C(0x2f2f2f2f2f2f2f2f));
}

/* Both ends check every name, so this does without calls: eight bytes at a time, the last of which may have
 * been looked at before. */
static bool name_valid(const uint8_t *name, size_t length)
{
    uint64_t word;
    if (length < sizeof(word)) {
        for (size_t i = 0; i < length; i++)
            if (name[i] == '\0' || name[i] == '/')
                return false;
        return length != 0;
    }
    for (size_t at = 0; at < length - sizeof(word); at += sizeof(word)) {
        memcpy(&word, name + at, sizeof(word));
        if (has_slash_or_zero(word))
            return false;
    }
    memcpy(&word, name + length - sizeof(word), sizeof(word));
    return !has_slash_or_zero(word);
}

bool operation_body_valid(const struct operation *operation, const void *body, size_t length)
{
    size_t fixed = operation->request_size;
    if (operation->shape == BODY_FIXED)
        return length == fixed;
    if (length < fixed)
        return false;
    const uint8_t *tail = (const uint8_t *)body + fixed;
    size_t rest = length - fixed;
    switch (operation->shape) {
    case BODY_NAME:
        return rest == tail[-1] && name_valid(tail, rest);
    case BODY_TWO_NAMES:
        return rest == (size_t)tail[-2] + tail[-1] && name_valid(tail, tail[-2]) &&
               name_valid(tail + tail[-2], tail[-1]);
    case BODY_PATTERN:
        return rest == tail[-1] && memchr(tail, '\0', rest) == NULL;
    default:
        return false;
    }
}
