/* The index agrees with a sorted array, whatever the keys look like, and returns all of its memory. */
#include "unit/unit.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "meta/index.h"

enum { ELEMENTS_MAX = 6000 };

typedef uint64_t (*key_maker)(struct random *random);

static uint64_t key_uniform(struct random *random)
{
    return random_next(random);
}

static uint64_t key_few(struct random *random)
{
    return hash_mix(random_below(random, 5));
}

static uint64_t key_dense(struct random *random)
{
    return random_below(random, 20000);
}

static uint64_t key_one_end(struct random *random)
{
    return UINT64_MAX - random_below(random, 300);
}

/* As on one server of many: a few partitions of the hash space. */
static uint64_t key_lumps(struct random *random)
{
    return (random_below(random, 7) * 1237) << 50 | random_next(random) >> 14;
}

/* Keys that share one more bit each: the deepest tree. */
static uint64_t key_nested(struct random *random)
{
    return random_next(random) >> random_below(random, 64);
}

static uint64_t key_equal(struct random *random)
{
    return random_below(random, 10) == 0 ? random_next(random) : UINT64_C(0x123456789abcdef);
}

static const key_maker makers[] = {key_uniform, key_few,    key_dense, key_one_end,
                                   key_lumps,   key_nested, key_equal};

struct model {
    uint64_t keys[ELEMENTS_MAX];
    char *values[ELEMENTS_MAX];
    uint32_t count;
};

static struct model model;
static char names[ELEMENTS_MAX * 8]; /* their addresses are the values */

static uint32_t model_first(uint64_t key)
{
    uint32_t left = 0;
    for (uint32_t right = model.count; left < right;) {
        uint32_t middle = (left + right) / 2;
        if (model.keys[middle] < key)
            left = middle + 1;
        else
            right = middle;
    }
    return left;
}

static uint32_t model_equals(uint32_t first, uint64_t key)
{
    uint32_t count = 0;
    while (first + count < model.count && model.keys[first + count] == key)
        count++;
    return count;
}

static uint64_t near_count; /* how often the quick look was enough */

static uint32_t find(const struct index *index, uint64_t key, struct index_path *path)
{
    index_descend(index, key, path);
    uint32_t equals = index_search(path, key);
    void *near = index_find_near(index, key);
    if (near != NULL) {
        assert_true(equals > 0);
        assert_ptr_equal(near, path->leaf->slots[path->slot].value);
        near_count++;
    }
    return equals;
}

static void insert(struct index *index, uint64_t key, struct random *random, char *value)
{
    struct index_path path;
    uint32_t equals = find(index, key, &path);
    uint32_t first = model_first(key);
    assert_int_equal(equals, model_equals(first, key));
    uint32_t place = (uint32_t)random_below(random, equals + 1);
    path.slot += place;
    assert_int_equal(index_insert(index, &path, key, value), 0);
    first += place;
    memmove(model.keys + first + 1, model.keys + first, (model.count - first) * sizeof(model.keys[0]));
    memmove(model.values + first + 1, model.values + first, (model.count - first) * sizeof(model.values[0]));
    model.keys[first] = key;
    model.values[first] = value;
    model.count++;
}

static void remove_at(struct index *index, uint32_t position)
{
    struct index_path path;
    uint64_t key = model.keys[position];
    uint32_t equals = find(index, key, &path);
    uint32_t first = model_first(key);
    assert_int_equal(equals, model_equals(first, key));
    path.slot += position - first;
    assert_ptr_equal(path.leaf->slots[path.slot].value, model.values[position]);
    index_remove(index, &path);
    model.count--;
    memmove(model.keys + position, model.keys + position + 1,
            (model.count - position) * sizeof(model.keys[0]));
    memmove(model.values + position, model.values + position + 1,
            (model.count - position) * sizeof(model.values[0]));
}

static void check_walk(const struct index *index, uint64_t cursor)
{
    struct index_path path;
    struct index_slot *element;
    uint32_t position = model_first(cursor);
    find(index, cursor, &path);
    for (; (element = index_element(&path)) != NULL; path.slot++, position++) {
        assert_true(position < model.count);
        assert_int_equal(element->key, model.keys[position]);
        assert_ptr_equal(element->value, model.values[position]);
    }
    assert_int_equal(position, model.count);
}

static void agrees_with_a_sorted_array(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof(makers) / sizeof(makers[0]); kind++) {
        struct memory memory;
        struct index index;
        struct random random;
        memory_init(&memory);
        index_init(&index, &memory);
        random_seed(&random, kind);
        model.count = 0;
        char *name = names;
        for (int phase = 0; phase < 4; phase++) {
            uint64_t growth = phase % 2 == 0 ? 75 : 25; /* insertions of 100 steps */
            for (int step = 0; step < 5000; step++) {
                bool grow = random_below(&random, 100) < growth;
                if (grow && model.count < ELEMENTS_MAX)
                    insert(&index, makers[kind](&random), &random, name++);
                else if (!grow && model.count > 0)
                    remove_at(&index, (uint32_t)random_below(&random, model.count));
                if (step % 1250 == 0)
                    check_walk(&index, makers[kind](&random));
            }
            check_walk(&index, 0);
        }
        while (model.count > 0)
            remove_at(&index, (uint32_t)random_below(&random, model.count));
        check_walk(&index, 0);
        assert_int_equal(index.root, INDEX_PACKED); /* nothing */
        assert_int_equal(memory.bytes, 0);
        memory_free_all(&memory);
    }
}

static void clear_frees_all(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof(makers) / sizeof(makers[0]); kind++) {
        struct memory memory;
        struct index index;
        struct random random;
        memory_init(&memory);
        index_init(&index, &memory);
        random_seed(&random, kind);
        model.count = 0;
        for (int step = 0; step < 3000; step++)
            insert(&index, makers[kind](&random), &random, names + step);
        index_clear(&index);
        assert_int_equal(memory.bytes, 0);
        memory_free_all(&memory);
    }
}

static bool refuse_now(void *owner, size_t size)
{
    (void)size;
    int *left = owner;
    return (*left)-- <= 0;
}

static void failed_allocation_changes_nothing(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof(makers) / sizeof(makers[0]); kind++) {
        struct memory memory;
        struct index index;
        struct random random;
        int left = 0;
        int failures = 0;
        memory_init(&memory);
        memory.refuse_owner = &left;
        index_init(&index, &memory);
        random_seed(&random, kind);
        model.count = 0;
        for (int step = 0; step < 3000; step++) {
            uint64_t key = makers[kind](&random);
            for (int allowed = 0; allowed < 3; allowed++) {
                struct index_path path;
                left = allowed;
                memory.refuse = refuse_now;
                find(&index, key, &path);
                int status = index_insert(&index, &path, key, names + step);
                memory.refuse = NULL;
                if (status == 0) {
                    find(&index, key, &path);
                    index_remove(&index, &path);
                    break;
                }
                assert_int_equal(status, -ENOMEM);
                failures++;
                check_walk(&index, key);
            }
            insert(&index, key, &random, names + step);
        }
        check_walk(&index, 0);
        assert_true(failures > 0);
        index_clear(&index);
        assert_int_equal(memory.bytes, 0);
        memory_free_all(&memory);
    }
}

static bool refuse_always(void *owner, size_t size)
{
    (void)owner;
    (void)size;
    return true;
}

/* Half a million evenly spread keys, enough for two levels of nodes: less than 45 bytes each, so leaves are
 * well filled. Removing them needs no memory, and leaves none. */
static void spread_keys_are_stored_densely(void **state)
{
    (void)state;
    struct memory memory;
    struct index index;
    struct index_path path;
    memory_init(&memory);
    index_init(&index, &memory);
    for (uint64_t i = 0; i < 500000; i++) {
        uint64_t key = hash_mix(i);
        assert_int_equal(find(&index, key, &path), 0);
        assert_int_equal(index_insert(&index, &path, key, names), 0);
    }
    assert_true(memory.bytes < 500000 * 45);
    uint64_t full = memory.bytes;
    memory.refuse = refuse_always;
    near_count = 0;
    for (uint64_t i = 0; i < 500000; i++) {
        if (i == 250000)
            memory.refuse = NULL;
        if (i == 490000)
            assert_true(memory.bytes < full / 5);
        assert_int_equal(find(&index, hash_mix(i), &path), 1);
        index_remove(&index, &path);
    }
    assert_int_equal(memory.bytes, 0);
    assert_true(near_count > 450000);
    memory_free_all(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_sorted_array),
        cmocka_unit_test(clear_frees_all),
        cmocka_unit_test(failed_allocation_changes_nothing),
        cmocka_unit_test(spread_keys_are_stored_densely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
