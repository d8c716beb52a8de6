/* The index of chunks: a walk while the tables grow, against a plain list. */
#include "unit/unit.h"

#include <stdlib.h>

#include "base/random.h"
#include "store/chunk_index.h"

enum { FILES = 20000, CHUNKS = 2 };

struct item {
    struct chunk_entry entry;
    uint32_t met;
    bool here;
};

static struct item items[FILES][CHUNKS];

static uint64_t inode_of(uint32_t file)
{
    return (uint64_t)(file % 7) << 44 | (1 + file);
}

static void enter(struct chunk_index *index, uint32_t file)
{
    for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) {
        struct item *item = &items[file][chunk];
        assert_int_equal(chunk_index_insert(index, &item->entry, inode_of(file), chunk * 5), 0);
        item->here = true;
    }
}

static void leave(struct chunk_index *index, uint32_t file)
{
    for (uint32_t chunk = 0; chunk < CHUNKS; chunk++)
        if (items[file][chunk].here) {
            chunk_index_remove(index, &items[file][chunk].entry);
            items[file][chunk].here = false;
        }
}

static void forget(void *owner, struct chunk_entry *entry)
{
    (void)owner;
    (void)entry;
}

/* What stays is met once, whatever comes and goes; positions never fall; no step is long. */
static void walks_while_it_grows(void **state)
{
    (void)state;
    struct chunk_index index;
    struct random random;
    random_seed(&random, 5);
    assert_int_equal(chunk_index_init(&index), 0);
    struct store_cursor cursor = {0}, before = {0};
    assert_null(chunk_index_advance(&index, &cursor));
    for (uint32_t file = 0; file < FILES / 10; file++)
        enter(&index, file);
    uint32_t next = FILES / 10, steps = 0;
    for (struct chunk_entry *entry; (entry = chunk_index_advance(&index, &cursor)) != NULL; steps++) {
        struct item *item = container_of(entry, struct item, entry);
        assert_int_equal(cursor.inode, entry->node.inode);
        assert_int_equal(cursor.index, entry->node.index);
        assert_int_equal(item->met++, 0);
        if (before.inode != 0)
            assert_true(chunk_cursor_precedes(&before, &cursor));
        before = cursor;
        for (int i = 0; i < 10 && next < FILES; i++)
            enter(&index, next++);
        /* One in eight of the first files goes, perhaps the one where the walk stands. */
        leave(&index, (uint32_t)random_below(&random, FILES / 80) * 8);
    }
    assert_int_equal(next, FILES);
    for (uint32_t file = 0; file < FILES / 10; file++)
        for (uint32_t chunk = 0; chunk < CHUNKS; chunk++)
            if (file % 8 != 0)
                assert_int_equal(items[file][chunk].met, 1);
    assert_true(steps > FILES / 2); /* most that came meanwhile lay ahead */
    chunk_index_free(&index, forget, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_while_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
