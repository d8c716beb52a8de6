/* Groups and headers of journal files: what was written is read again, and nothing else is. */
#include "unit/unit.h"

#include "base/crc32c.h"
#include "base/random.h"
#include "journal/group.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct journal_place place = {.file = 7, .salt = 0x1234567890abcdef};

/* A record whose key and value are a function of its number. */
struct sample {
    struct journal_record record;
    uint8_t key[JOURNAL_KEY_MAX];
    uint8_t *value;
};

static void sample_make(struct sample *sample, uint64_t number)
{
    struct random random;
    random_seed(&random, number);
    bool removed = random_below(&random, 4) == 0;
    uint32_t value_max = random_below(&random, 50) == 0 ? JOURNAL_VALUE_MAX : 200;
    sample->record = (struct journal_record){
        .kind = (uint8_t)(1 + random_below(&random, 9)),
        .removed = removed,
        .partition = (uint16_t)random_next(&random),
        .key_length = (uint32_t)random_below(&random, JOURNAL_KEY_MAX + 1),
        .value_length = removed ? 0 : (uint32_t)random_below(&random, value_max + 1),
    };
    sample->value = malloc(sample->record.value_length + 1);
    assert_non_null(sample->value);
    for (uint32_t i = 0; i < sample->record.key_length; i++)
        sample->key[i] = (uint8_t)random_next(&random);
    memset(sample->value, (int)random_below(&random, 256), sample->record.value_length);
    sample->record.key = sample->key;
    sample->record.value = sample->value;
}

static void group_add(struct journal_group *group, uint64_t number)
{
    struct sample sample;
    void *value;
    sample_make(&sample, number);
    assert_int_equal(journal_group_append(group, &sample.record, &value), 0);
    assert_int_equal((uintptr_t)value % 8, 0);
    memcpy(value, sample.value, sample.record.value_length);
    free(sample.value);
}

static void check_record(const struct journal_record *record, uint64_t number)
{
    struct sample sample;
    sample_make(&sample, number);
    assert_int_equal(record->kind, sample.record.kind);
    assert_int_equal(record->removed, sample.record.removed);
    assert_int_equal(record->partition, sample.record.partition);
    assert_int_equal(record->key_length, sample.record.key_length);
    assert_int_equal(record->value_length, sample.record.value_length);
    assert_int_equal((uintptr_t)record->value % 8, 0);
    assert_memory_equal(record->key, sample.key, record->key_length);
    if (record->value_length > 0)
        assert_memory_equal(record->value, sample.value, record->value_length);
    free(sample.value);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct journal_group group;
    assert_int_equal(journal_group_create(&group), 0);
    for (uint64_t round = 0; round < 3; round++) {
        uint64_t count = round * 500 + 1;
        for (uint64_t i = 0; i < count; i++)
            group_add(&group, round << 32 | i);
        size_t size = journal_group_seal(&group, JOURNAL_GROUP_RECORDS, &place, 12 + round), peeked;
        assert_int_equal(size % JOURNAL_BLOCK, 0);
        assert_int_equal(journal_group_peek(group.bytes, size, &place, &peeked), 0);
        assert_int_equal(peeked, size);
        struct journal_group_header header;
        assert_int_equal(journal_group_verify(group.bytes, size, &header), 0);
        assert_int_equal(header.sequence, 12 + round);
        assert_int_equal(header.records, count);
        assert_int_equal(header.length, journal_group_content(&group));
        struct journal_record record;
        size_t at = 0;
        for (uint64_t i = 0; i < count; i++) {
            assert_true(journal_group_next(journal_group_records(&group), header.length, &at, &record));
            check_record(&record, round << 32 | i);
        }
        assert_int_equal(journal_group_take(journal_group_records(&group), header.length, &at, &record), 0);
        assert_false(journal_group_next(journal_group_records(&group), header.length, &at, &record));
        journal_group_clear(&group);
        assert_int_equal(journal_group_content(&group), 0);
        assert_true(group.capacity <= 8u << 20);
    }
    journal_group_destroy(&group);
}

/* What memory held before does not get into a group. */
static void test_no_leftovers(void **state)
{
    (void)state;
    struct journal_group clean, dirty;
    assert_int_equal(journal_group_create(&clean), 0);
    assert_int_equal(journal_group_create(&dirty), 0);
    memset(dirty.bytes, 0xee, dirty.capacity);
    for (uint64_t i = 0; i < 100; i++) {
        group_add(&clean, i);
        group_add(&dirty, i);
    }
    size_t size = journal_group_seal(&clean, JOURNAL_GROUP_RECORDS, &place, 1);
    assert_int_equal(journal_group_seal(&dirty, JOURNAL_GROUP_RECORDS, &place, 1), size);
    assert_memory_equal(clean.bytes, dirty.bytes, size);
    journal_group_destroy(&clean);
    journal_group_destroy(&dirty);
}

static bool whole(const uint8_t *bytes, size_t size)
{
    struct journal_group_header header;
    size_t peeked;
    return journal_group_peek(bytes, size, &place, &peeked) == 0 && peeked == size &&
           journal_group_verify(bytes, peeked, &header) == 0;
}

static void test_damage(void **state)
{
    (void)state;
    struct journal_group group;
    assert_int_equal(journal_group_create(&group), 0);
    for (uint64_t i = 0; i < 3; i++)
        group_add(&group, i);
    size_t size = journal_group_seal(&group, JOURNAL_GROUP_RECORDS, &place, 3);
    assert_true(whole(group.bytes, size));
    for (size_t bit = 0; bit < 8 * group.length; bit++) {
        group.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(whole(group.bytes, size));
        group.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* Any of its sectors as it was before. */
    for (size_t sector = 0; sector * 512 < group.length; sector++) {
        uint8_t saved[512];
        memcpy(saved, group.bytes + sector * 512, 512);
        memset(group.bytes + sector * 512, 0, 512);
        assert_false(whole(group.bytes, size));
        memcpy(group.bytes + sector * 512, saved, 512);
    }
    assert_true(whole(group.bytes, size));
    journal_group_destroy(&group);
}

static void test_place(void **state)
{
    (void)state;
    struct journal_group group;
    size_t peeked;
    assert_int_equal(journal_group_create(&group), 0);
    group_add(&group, 1);
    size_t size = journal_group_seal(&group, JOURNAL_GROUP_RECORDS, &place, 3);
    struct journal_place other = place;
    other.salt++;
    assert_int_equal(journal_group_peek(group.bytes, size, &other, &peeked), -ENOENT);
    other = place;
    other.file++;
    assert_int_equal(journal_group_peek(group.bytes, size, &other, &peeked), -ENOENT);
    for (size_t available = 0; available < size; available += 512)
        assert_int_equal(journal_group_peek(group.bytes, available, &place, &peeked), -ENOENT);
    struct journal_group_header *header = (struct journal_group_header *)group.bytes;
    const uint64_t lengths[] = {size, UINT64_MAX, UINT64_MAX - 63, UINT64_MAX - 64, UINT64_MAX - 4096};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        header->length = lengths[i];
        assert_int_equal(journal_group_peek(group.bytes, size, &place, &peeked), -ENOENT);
    }
    journal_group_destroy(&group);
}

static int take_one(uint8_t kind, uint8_t removed, uint32_t lengths, size_t length)
{
    static uint8_t bytes[4 << 20] __attribute__((aligned(8)));
    struct journal_record_header header = {.kind = kind, .removed = removed, .lengths = lengths};
    struct journal_record record;
    size_t at = 0;
    memcpy(bytes, &header, sizeof(header));
    return journal_group_take(bytes, length, &at, &record);
}

static void test_records_that_make_no_sense(void **state)
{
    (void)state;
    const uint32_t key = UINT32_C(1) << JOURNAL_VALUE_BITS;
    assert_int_equal(take_one(1, 0, 8 * key + 8, 24), 1);
    assert_int_equal(take_one(1, 0, 0, 8), 1);
    assert_int_equal(take_one(1, 1, 8 * key, 16), 1);
    assert_int_equal(take_one(1, 0, JOURNAL_KEY_MAX * key + JOURNAL_VALUE_MAX, 4 << 20), 1);

    assert_int_equal(take_one(0, 0, 8 * key + 8, 24), -EBADMSG);
    assert_int_equal(take_one(1, 2, 8 * key, 24), -EBADMSG);
    assert_int_equal(take_one(1, 1, 8 * key + 8, 24), -EBADMSG);
    assert_int_equal(take_one(1, 0, 8 * key + 9, 24), -EBADMSG);
    assert_int_equal(take_one(1, 0, 9 * key + 8, 24), -EBADMSG);
    assert_int_equal(take_one(1, 0, 0, 7), -EBADMSG);
    assert_int_equal(take_one(1, 0, (JOURNAL_KEY_MAX + 1) * key, 4 << 20), -EBADMSG);
    assert_int_equal(take_one(1, 0, JOURNAL_VALUE_MAX + 1, 4 << 20), -EBADMSG);
    assert_int_equal(take_one(1, 0, UINT32_C(1) << 31, 4 << 20), -EBADMSG);
}

static void test_end_mark(void **state)
{
    (void)state;
    struct journal_group group;
    const struct journal_end end = {.records = 5, .groups = 2};
    struct journal_end read;
    struct journal_group_header header;
    assert_int_equal(journal_group_create(&group), 0);
    group_add(&group, 1);
    journal_group_end(&group, &end);
    size_t size = journal_group_seal(&group, JOURNAL_GROUP_END, &place, 3);
    assert_int_equal(size, JOURNAL_BLOCK);
    assert_int_equal(journal_group_verify(group.bytes, size, &header), 0);
    assert_int_equal(journal_group_end_read(group.bytes, &header, &read), 0);
    assert_memory_equal(&read, &end, sizeof(end));
    struct journal_group_header other = header;
    other.kind = JOURNAL_GROUP_RECORDS;
    assert_int_equal(journal_group_end_read(group.bytes, &other, &read), -EBADMSG);
    other = header;
    other.length = 8;
    assert_int_equal(journal_group_end_read(group.bytes, &other, &read), -EBADMSG);
    journal_group_destroy(&group);
}

static void test_file_header(void **state)
{
    (void)state;
    uint8_t block[JOURNAL_BLOCK];
    const struct journal_file_header header = {
        .kind = JOURNAL_FILE_SNAPSHOT, .sequence = 9, .salt = 5, .group = 77};
    struct journal_file_header read;
    journal_file_header_encode(&header, block);
    assert_int_equal(journal_file_header_decode(block, JOURNAL_FILE_SNAPSHOT, 9, &read), 0);
    assert_int_equal(read.salt, 5);
    assert_int_equal(read.group, 77);
    assert_int_equal(journal_file_header_decode(block, JOURNAL_FILE_SNAPSHOT, 8, &read), -EBADMSG);
    assert_int_equal(journal_file_header_decode(block, JOURNAL_FILE_LOG, 9, &read), -EBADMSG);
    for (size_t bit = 0; bit < 8 * sizeof(header); bit++) {
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int status = journal_file_header_decode(block, JOURNAL_FILE_SNAPSHOT, 9, &read);
        bool version = bit / 32 == 2;
        assert_int_equal(status, version ? -EPROTONOSUPPORT : -EBADMSG);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_no_leftovers),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_records_that_make_no_sense),
        cmocka_unit_test(test_end_mark),
        cmocka_unit_test(test_file_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
