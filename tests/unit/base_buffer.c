/* What a buffer writes a reader reads; a reader never leaves its input. */
#include "unit/unit.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

static void round_trip(void **state)
{
    (void)state;
    struct buffer buffer;
    struct reader reader;
    char text[16];

    buffer_init(&buffer);
    buffer_put_u8(&buffer, 0xab);
    buffer_put_u16(&buffer, 0x1234);
    buffer_put_u32(&buffer, 0xdeadbeef);
    buffer_put_u64(&buffer, UINT64_C(0x0123456789abcdef));
    buffer_put_string(&buffer, "grüße");
    buffer_append(&buffer, "tail", 4);
    assert_false(buffer.failed);

    reader_init(&reader, buffer.bytes, buffer.length);
    assert_int_equal(reader_u8(&reader), 0xab);
    assert_int_equal(reader_u16(&reader), 0x1234);
    assert_int_equal(reader_u32(&reader), 0xdeadbeef);
    assert_int_equal(reader_u64(&reader), UINT64_C(0x0123456789abcdef));
    reader_string(&reader, text, sizeof text);
    assert_string_equal(text, "grüße");
    assert_memory_equal(reader_bytes(&reader, 4), "tail", 4);
    assert_false(reader.failed);
    assert_int_equal(reader.offset, reader.length);
    buffer_free(&buffer);
}

static void integers_are_little_endian(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_put_u32(&buffer, 0x04030201);
    assert_memory_equal(buffer.bytes, "\1\2\3\4", 4);
    buffer_free(&buffer);
}

static void grows_and_keeps_contents(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer);
    for (uint32_t i = 0; i < 100000; i++)
        buffer_put_u32(&buffer, i);
    assert_int_equal(buffer.length, 400000);
    struct reader reader;
    reader_init(&reader, buffer.bytes, buffer.length);
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(reader_u32(&reader), i);
    size_t capacity = buffer.capacity;
    buffer_clear(&buffer);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer.capacity, capacity);
    buffer_free(&buffer);
}

static void impossible_growth_fails_and_sticks(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_put_u8(&buffer, 1);
    assert_null(buffer_extend(&buffer, SIZE_MAX));
    assert_true(buffer.failed);
    buffer_put_u8(&buffer, 2);
    assert_int_equal(buffer.length, 1);
    buffer_free(&buffer);
}

static void string_longer_than_its_length_field_fails(void **state)
{
    (void)state;
    struct buffer buffer;
    char *text = malloc(70000);
    memset(text, 'x', 69999);
    text[69999] = '\0';
    buffer_init(&buffer);
    buffer_put_string(&buffer, text);
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 0);
    buffer_free(&buffer);
    free(text);
}

static void reading_past_the_end_fails_and_sticks(void **state)
{
    (void)state;
    struct reader reader;
    reader_init(&reader, "\1\2\3", 3);
    assert_int_equal(reader_u32(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(reader_u8(&reader), 0); /* although a byte would be there */
    reader_init(&reader, "\1\2\3", 3);
    assert_int_equal(reader_u16(&reader), 0x0201);
    assert_null(reader_bytes(&reader, SIZE_MAX));
    assert_true(reader.failed);
}

static void unfit_strings_are_refused(void **state)
{
    (void)state;
    struct reader reader;
    char text[4];

    reader_init(&reader, "\4\0abcd", 6); /* needs five bytes with its NUL */
    reader_string(&reader, text, sizeof text);
    assert_true(reader.failed);
    assert_string_equal(text, "");

    reader_init(&reader, "\3\0a\0c", 5);
    reader_string(&reader, text, sizeof text);
    assert_true(reader.failed);

    reader_init(&reader,
                "\xff\xff"
                "abc",
                5);
    reader_string(&reader, text, sizeof text);
    assert_true(reader.failed);

    reader_init(&reader, "\3\0abc", 5);
    reader_string(&reader, text, sizeof text);
    assert_false(reader.failed);
    assert_string_equal(text, "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(grows_and_keeps_contents),
        cmocka_unit_test(impossible_growth_fails_and_sticks),
        cmocka_unit_test(string_longer_than_its_length_field_fails),
        cmocka_unit_test(reading_past_the_end_fails_and_sticks),
        cmocka_unit_test(unfit_strings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
