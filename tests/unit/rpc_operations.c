/* The operation table and the check of request bodies. */
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/rpc.h"
#include "rpc/table.h"

static void every_operation_is_named(void **state)
{
    (void)state;
    assert_string_equal(rpc_operation_name(RPC_LOOKUP), "LOOKUP");
    assert_string_equal(rpc_operation_name(RPC_READ_CHUNK), "READ_CHUNK");
    assert_null(rpc_operation_name(0));
    assert_null(rpc_operation_name(RPC_OPERATION_MAX));
    assert_null(rpc_operation_name(RPC_LOOKUP + RPC_REPLY_OFFSET));
    assert_null(operation_find(UINT32_MAX));
    assert_int_equal(operation_find(RPC_KEY_LOCK)->flags, RPC_MUTATES | RPC_SERVERS | RPC_OTHER);
    assert_int_equal(operation_find(RPC_LOOKUP)->reply_size, sizeof(struct attributes_reply));
}

/* A block of exactly that size, so that a sanitizer sees a read beyond it. */
static bool valid(unsigned operation, const void *bytes, size_t length)
{
    uint8_t *copy = malloc(length == 0 ? 1 : length);
    memcpy(copy, bytes, length);
    bool result = operation_body_valid(operation_find(operation), copy, length);
    free(copy);
    return result;
}

static void fixed_bodies_have_their_size(void **state)
{
    (void)state;
    const uint8_t zeros[64] = {0};
    size_t size = sizeof(struct chunk_read_request);
    assert_true(valid(RPC_READ_CHUNK, zeros, size));
    assert_false(valid(RPC_READ_CHUNK, zeros, size - 1));
    assert_false(valid(RPC_READ_CHUNK, zeros, size + 1));
    assert_true(valid(RPC_GET_MAP, zeros, 0));
    assert_false(valid(RPC_GET_MAP, zeros, 1));
    assert_true(operation_body_valid(operation_find(RPC_GET_MAP), NULL, 0));
}

static size_t put_name(uint8_t *bytes, const char *name, size_t length, uint8_t claimed)
{
    struct name_request request = {.parent = 1, .name_length = claimed};
    memcpy(bytes, &request, sizeof(request));
    memcpy(bytes + sizeof(request), name, length);
    return sizeof(request) + length;
}

static void names_are_as_long_as_they_claim(void **state)
{
    (void)state;
    uint8_t bytes[sizeof(struct name_request) + NAME_LENGTH_MAX];
    char longest[NAME_LENGTH_MAX];
    memset(longest, 'n', sizeof(longest));
    assert_true(valid(RPC_LOOKUP, bytes, put_name(bytes, "abc", 3, 3)));
    assert_true(valid(RPC_LOOKUP, bytes, put_name(bytes, longest, sizeof(longest), 255)));
    assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, "abc", 3, 2)));
    assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, "abc", 3, 4)));
    assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, "", 0, 0)));
    assert_false(valid(RPC_LOOKUP, bytes, sizeof(struct name_request) - 1));
    assert_false(valid(RPC_LOOKUP, bytes, 0));
}

static void names_hold_no_slash_and_no_nul(void **state)
{
    (void)state;
    uint8_t bytes[sizeof(struct name_request) + NAME_LENGTH_MAX];
    assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, "a/c", 3, 3)));
    assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, "ab/", 3, 3)));
    assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, "a\0c", 3, 3)));
    assert_true(valid(RPC_LOOKUP, bytes, put_name(bytes, "\xff\x01 ", 3, 3)));
    for (uint8_t length = 1; length < 40; length++) {
        char name[40];
        memset(name, 'n', sizeof(name));
        assert_true(valid(RPC_LOOKUP, bytes, put_name(bytes, name, length, length)));
        for (uint8_t at = 0; at < length; at++) {
            name[at] = '/';
            assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, name, length, length)));
            name[at] = '\0';
            assert_false(valid(RPC_LOOKUP, bytes, put_name(bytes, name, length, length)));
            name[at] = 'n';
        }
    }
}

static bool rename_valid(const char *names, uint8_t old_length, uint8_t new_length)
{
    uint8_t bytes[sizeof(struct rename_request) + 2 * NAME_LENGTH_MAX];
    struct rename_request request = {.old_parent = 1, .old_length = old_length, .new_length = new_length};
    memcpy(bytes, &request, sizeof(request));
    memcpy(bytes + sizeof(request), names, 6);
    return valid(RPC_RENAME, bytes, sizeof(request) + 6);
}

static void both_names_of_a_rename_are_checked(void **state)
{
    (void)state;
    assert_true(rename_valid("abcdef", 2, 4));
    assert_false(rename_valid("abcdef", 2, 3));
    assert_false(rename_valid("abcdef", 6, 0));
    assert_false(rename_valid("abcdef", 0, 6));
    assert_false(rename_valid("a/cdef", 2, 4));
    assert_false(rename_valid("abcd/f", 2, 4));
}

static void a_pattern_may_be_empty_and_hold_slashes(void **state)
{
    (void)state;
    uint8_t bytes[sizeof(struct list_request) + 4];
    struct list_request request = {.directory = 1};
    memcpy(bytes, &request, sizeof(request));
    assert_true(valid(RPC_LIST, bytes, sizeof(request)));
    request.filter.pattern_length = 3;
    memcpy(bytes, &request, sizeof(request));
    memcpy(bytes + sizeof(request), "a/*", 3);
    assert_true(valid(RPC_LIST, bytes, sizeof(request) + 3));
    assert_false(valid(RPC_LIST, bytes, sizeof(request) + 2));
    bytes[sizeof(request) + 1] = 0;
    assert_false(valid(RPC_LIST, bytes, sizeof(request) + 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_is_named),
        cmocka_unit_test(fixed_bodies_have_their_size),
        cmocka_unit_test(names_are_as_long_as_they_claim),
        cmocka_unit_test(names_hold_no_slash_and_no_nul),
        cmocka_unit_test(both_names_of_a_rename_are_checked),
        cmocka_unit_test(a_pattern_may_be_empty_and_hold_slashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
