/* Contents can be told from each other, and random orders visit each number once. */
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "bench/content.h"
#include "bench/permutation.h"

static struct content content;
static unsigned char bytes[5000], whole[6000];

static void each_kind(void (*check)(void))
{
    for (int every_word = 0; every_word < 2; every_word++) {
        content_init(&content, every_word);
        check();
    }
}

static void check_pieces(void)
{
    content_fill(&content, 7, whole, sizeof(whole), 0);
    for (size_t offset = 0; offset < 1100; offset += 37) {
        for (size_t length = 0; length < 1100; length += 1 + length / 7) {
            memset(bytes, 0xee, sizeof(bytes));
            content_fill(&content, 7, bytes, length, offset);
            assert_memory_equal(bytes, whole + offset, length);
            assert_int_equal(bytes[length], 0xee);
            assert_true(content_check(&content, 7, bytes, length, offset, true));
            assert_true(content_check(&content, 7, bytes, length, offset, false));
        }
    }
}

static void bytes_follow_from_the_offset_alone(void **state)
{
    (void)state;
    each_kind(check_pieces);
}

static void check_single_bytes(void)
{
    content_fill(&content, 7, bytes, 2000, 100);
    for (size_t i = 0; i < 2000; i++) {
        bytes[i] ^= 0x10;
        assert_false(content_check(&content, 7, bytes, 2000, 100, true));
        assert_false(content_check_sparse(&content, 7, bytes, 2000, 100) && bytes[i] != 0);
        bytes[i] ^= 0x10;
    }
    assert_true(content_check(&content, 7, bytes, 2000, 100, true));
}

static void one_wrong_byte_is_found(void **state)
{
    (void)state;
    each_kind(check_single_bytes);
}

static void check_places(void)
{
    content_fill(&content, 7, bytes, 4096, 4096);
    assert_false(content_check(&content, 8, bytes, 4096, 4096, false));
    assert_false(content_check(&content, 7, bytes, 4096, 8192, false));
    content_stamp(&content, 9, bytes, 4096, 0);
    assert_true(content_check(&content, 9, bytes, 4096, 0, true));
    content_wipe(&content, bytes, 4096, 0, false);
    assert_false(content_check(&content, 9, bytes, 4096, 0, false));
    assert_true(content_check_sparse(&content, 9, bytes, 4096, 0));
}

static void other_files_and_places_are_found_by_stamps(void **state)
{
    (void)state;
    each_kind(check_places);
}

static void random_orders_visit_each_once(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 4, 5, 17, 64, 65, 1000, 4096, 5003};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint64_t count = counts[i], moved = 0;
        char *seen = calloc(count, 1);
        for (uint64_t n = 0; n < count; n++) {
            uint64_t at = permutation_at(i, count, n);
            assert_true(at < count);
            assert_false(seen[at]++);
            moved += at != n;
        }
        assert_true(count < 17 || moved > count * 3 / 4);
        free(seen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_follow_from_the_offset_alone),
        cmocka_unit_test(one_wrong_byte_is_found),
        cmocka_unit_test(other_files_and_places_are_found_by_stamps),
        cmocka_unit_test(random_orders_visit_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
