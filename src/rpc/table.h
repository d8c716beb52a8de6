/* What rpc knows about every operation, made from OPERATION_TABLE, and the check of request bodies that it
 * allows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rpc/operations.h"

/* What follows the fixed struct of a request body. */
enum body_shape {
    BODY_FIXED,     /* nothing */
    BODY_NAME,      /* name_length (the struct's last byte) bytes of a name */
    BODY_TWO_NAMES, /* old_length, new_length (the struct's last bytes): two names */
    BODY_PATTERN,   /* pattern_length (the struct's last byte) bytes of a pattern, perhaps none */
};

struct operation {
    const char *name; /* NULL: no such operation */
    uint16_t request_size;
    uint16_t reply_size;
    uint8_t flags; /* RPC_MUTATES, RPC_SERVERS, RPC_OTHER */
    uint8_t shape; /* enum body_shape */
};

/* The inode that a valid request is about, or the directory of the name; 0: none. */
static inline uint64_t operation_subject(const struct operation *operation, const void *body)
{
    uint64_t subject = 0;
    if (operation->request_size >= sizeof(subject) && (operation->flags & RPC_OTHER) == 0)
        memcpy(&subject, body, sizeof(subject));
    return subject;
}

extern const struct operation operation_table[RPC_OPERATION_MAX];

/* Returns NULL for a number that is no operation. */
static inline const struct operation *operation_find(unsigned operation)
{
    if (operation >= RPC_OPERATION_MAX || operation_table[operation].name == NULL)
        return NULL;
    return &operation_table[operation];
}

/* Whether the body has exactly the length that it claims and well-formed names (at least one byte, no '/', no
 * NUL). */
bool operation_body_valid(const struct operation *operation, const void *body, size_t length);
