/* The metadata engine agrees with a plain array of entries and inodes under random operations, with hashes
 * that collide; walks are complete under changes; memory comes back; a failed allocation changes nothing. */
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/random.h"
#include "meta/bench.h"
#include "meta/lookup.h"
#include "meta/memory.h"
#include "meta/meta.h"

enum { PARENTS = 6, NAMES = 400, PARENT_FIRST = 100 };

/* What should be there. */
static struct {
    bool present;
    uint64_t inode;
    uint32_t type;
} entries[PARENTS][NAMES];

enum { INODES_MAX = 40000 };
static struct {
    struct inode *inode;
    uint64_t number;
    uint32_t mode;
    unsigned char fill;
    uint32_t length;
} inodes[INODES_MAX];
static uint32_t inode_count;

typedef uint64_t (*hash_maker)(uint64_t parent, const char *name, size_t length);

static uint64_t hash_real(uint64_t parent, const char *name, size_t length)
{
    return dentry_hash(parent, name, length);
}

static uint64_t hash_three(uint64_t parent, const char *name, size_t length)
{
    return (dentry_hash(parent, name, length) % 3) << 62 | 5;
}

static uint64_t hash_one(uint64_t parent, const char *name, size_t length)
{
    (void)name;
    return parent + length * 0;
}

static const hash_maker makers[] = {hash_real, hash_three, hash_one};

/* Lengths from 3 to 255. */
static size_t make_name(size_t number, char *name)
{
    size_t length = (size_t)sprintf(name, "%03zu", number);
    size_t wanted = number % 10 == 0 ? 255 : 3 + number % 40;
    while (length < wanted)
        name[length++] = '-';
    return length;
}

static uint32_t random_mode(struct random *random)
{
    static const uint32_t types[] = {S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777};
    return types[random_below(random, 3)];
}

static void remember(struct inode *inode, uint32_t mode)
{
    assert_true(inode_count < INODES_MAX);
    inodes[inode_count].inode = inode;
    inodes[inode_count].number = inode->number;
    inodes[inode_count].mode = mode;
    inodes[inode_count].length = 0;
    inode_count++;
}

static void check_inode(struct meta *meta, uint32_t i)
{
    struct inode *inode = meta_inode_find(meta, inodes[i].number);
    assert_ptr_equal(inode, inodes[i].inode);
    assert_int_equal(inode->number, inodes[i].number);
    assert_int_equal(inode->mode, inodes[i].mode);
    assert_int_equal(inode->inline_length, inodes[i].length);
    for (uint32_t k = 0; k < inodes[i].length; k++)
        assert_int_equal(((unsigned char *)inode->inline_data)[k], inodes[i].fill);
}

static void forget(struct meta *meta, uint32_t i)
{
    uint64_t number = inodes[i].number;
    check_inode(meta, i);
    meta_inode_remove(meta, inodes[i].inode);
    assert_null(meta_inode_find(meta, number));
    inodes[i] = inodes[--inode_count];
}

static struct inode *model_inode(uint64_t number)
{
    for (uint32_t i = 0; i < inode_count; i++) {
        if (inodes[i].number == number)
            return inodes[i].inode;
    }
    return NULL;
}

struct walked {
    uint64_t parent;
    uint64_t last_hash;
    char last_name[256];
    size_t last_length;
    uint64_t count;
    uint64_t subdirectories;
    hash_maker hash;
};

static bool visit_checked(void *owner, uint64_t hash, const char *name, size_t length, uint64_t inode,
                          uint32_t type)
{
    struct walked *walked = owner;
    size_t number = (size_t)(name[0] - '0') * 100 + (size_t)(name[1] - '0') * 10 + (size_t)(name[2] - '0');
    assert_int_equal(hash, walked->hash(walked->parent, name, length));
    assert_true(hash >= walked->last_hash);
    if (hash == walked->last_hash && walked->count > 0) {
        size_t shorter = length < walked->last_length ? length : walked->last_length;
        int order = memcmp(walked->last_name, name, shorter);
        assert_true(order < 0 || (order == 0 && walked->last_length < length));
    }
    assert_true(entries[walked->parent - PARENT_FIRST][number].present);
    assert_int_equal(entries[walked->parent - PARENT_FIRST][number].inode, inode);
    assert_int_equal(entries[walked->parent - PARENT_FIRST][number].type, type);
    walked->last_hash = hash;
    memcpy(walked->last_name, name, length);
    walked->last_length = length;
    walked->count++;
    walked->subdirectories += S_ISDIR(type);
    return true;
}

static void check_directory(struct meta *meta, size_t p, hash_maker hash)
{
    struct walked walked = {.parent = PARENT_FIRST + p, .hash = hash};
    uint64_t expected = 0;
    for (size_t n = 0; n < NAMES; n++)
        expected += entries[p][n].present;
    meta_directory_walk(meta, PARENT_FIRST + p, 0, visit_checked, &walked);
    assert_int_equal(walked.count, expected);
    struct meta_directory_status status;
    meta_directory_status(meta, PARENT_FIRST + p, &status);
    assert_int_equal(status.entries, expected);
    assert_int_equal(status.subdirectories, walked.subdirectories);
}

static void step(struct meta *meta, struct random *random, hash_maker make_hash, int64_t now)
{
    char name[256];
    size_t p = random_below(random, PARENTS);
    size_t n = random_below(random, NAMES);
    uint64_t parent = PARENT_FIRST + p;
    size_t length = make_name(n, name);
    uint64_t hash = make_hash(parent, name, length);
    bool present = entries[p][n].present;
    uint32_t mode = random_mode(random);
    struct inode *inode = NULL;
    struct meta_directory_status status;

    switch (random_below(random, 10)) {
    case 0:
    case 1:
    case 2: {
        int result = meta_create_entry(meta, parent, hash, name, length, mode, now, &inode);
        assert_int_equal(result, present ? -EEXIST : 0);
        if (present)
            break;
        assert_int_equal(inode_partition(inode->number), hash_partition(hash));
        assert_int_equal(inode->links, S_ISDIR(mode) ? 2 : 1);
        assert_int_equal(inode->modify_time, now);
        assert_int_equal(inode->size, 0);
        assert_int_equal(inode->parent, S_ISDIR(mode) ? parent : 0);
        remember(inode, mode);
        entries[p][n].present = true;
        entries[p][n].inode = inode->number;
        entries[p][n].type = mode & S_IFMT;
        meta_directory_status(meta, parent, &status);
        assert_int_equal(status.modify_time, now);
        break;
    }
    case 3: {
        uint64_t number = inode_count > 0 ? inodes[random_below(random, inode_count)].number : 77;
        int result = meta_dentry_insert(meta, parent, hash, name, length, number, mode & S_IFMT, now);
        assert_int_equal(result, present ? -EEXIST : 0);
        if (present)
            break;
        entries[p][n].present = true;
        entries[p][n].inode = number;
        entries[p][n].type = mode & S_IFMT;
        break;
    }
    case 4: {
        uint64_t number = inode_count > 0 ? inodes[random_below(random, inode_count)].number : 77;
        assert_int_equal(meta_dentry_set(meta, parent, hash, name, length, number, mode & S_IFMT, now), 0);
        entries[p][n].present = true;
        entries[p][n].inode = number;
        entries[p][n].type = mode & S_IFMT;
        break;
    }
    case 5:
    case 6:
        assert_int_equal(meta_dentry_remove(meta, parent, hash, name, length, now), present ? 0 : -ENOENT);
        entries[p][n].present = false;
        break;
    case 7:
        if (inode_count > 0)
            forget(meta, (uint32_t)random_below(random, inode_count));
        break;
    case 8:
        if (inode_count > 0) {
            uint32_t i = (uint32_t)random_below(random, inode_count);
            char bytes[INLINE_DATA_MAX];
            uint32_t size =
                (uint32_t)random_below(random, random_below(random, 2) ? 100 : INLINE_DATA_MAX + 1);
            inodes[i].fill = (unsigned char)random_next(random);
            memset(bytes, inodes[i].fill, sizeof(bytes));
            assert_int_equal(meta_inline_set(meta, inodes[i].inode, bytes, size), 0);
            inodes[i].length = size;
            check_inode(meta, i);
        }
        break;
    default: {
        struct dentry dentry, quick;
        assert_int_equal(meta_dentry_find(meta, parent, hash, name, length, &dentry), present ? 0 : -ENOENT);
        assert_int_equal(meta_lookup(meta, parent, hash, name, length, &quick), present ? 0 : -ENOENT);
        if (present) {
            assert_int_equal(dentry.inode, entries[p][n].inode);
            assert_int_equal(dentry.type, entries[p][n].type);
            assert_ptr_equal(dentry.local, model_inode(dentry.inode));
            assert_int_equal(quick.inode, dentry.inode);
            assert_int_equal(quick.type, dentry.type);
            assert_ptr_equal(quick.local, dentry.local);
        }
        break;
    }
    }
}

static void remove_all(struct meta *meta, hash_maker make_hash)
{
    char name[256];
    for (size_t p = 0; p < PARENTS; p++) {
        for (size_t n = 0; n < NAMES; n++) {
            size_t length = make_name(n, name);
            uint64_t hash = make_hash(PARENT_FIRST + p, name, length);
            if (entries[p][n].present)
                assert_int_equal(meta_dentry_remove(meta, PARENT_FIRST + p, hash, name, length, 1), 0);
            entries[p][n].present = false;
        }
        meta_directory_forget(meta, PARENT_FIRST + p);
    }
    while (inode_count > 0)
        forget(meta, inode_count - 1);
}

static void agrees_with_an_array(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof(makers) / sizeof(makers[0]); kind++) {
        struct meta *meta;
        struct random random;
        struct meta_statistics before, after;
        random_seed(&random, kind + 10);
        memset(entries, 0, sizeof(entries));
        inode_count = 0;
        assert_int_equal(meta_create(&meta), 0);
        meta_statistics(meta, &before);
        for (int64_t now = 1; now <= 16000; now++) {
            step(meta, &random, makers[kind], now);
            if (now % 2000 == 0) {
                check_directory(meta, (size_t)random_below(&random, PARENTS), makers[kind]);
                for (uint32_t i = 0; i < inode_count; i++)
                    check_inode(meta, i);
            }
        }
        uint64_t dentries = 0, directories = 0;
        for (size_t p = 0; p < PARENTS; p++) {
            uint64_t here = 0;
            for (size_t n = 0; n < NAMES; n++)
                here += entries[p][n].present;
            dentries += here;
            directories += here > 0;
        }
        meta_statistics(meta, &after);
        assert_int_equal(after.inodes, inode_count);
        assert_int_equal(after.dentries, dentries);
        assert_int_equal(after.directories, directories);
        assert_true(after.bytes > before.bytes);
        remove_all(meta, makers[kind]);
        meta_statistics(meta, &after);
        assert_int_equal(after.inodes, 0);
        assert_int_equal(after.dentries, 0);
        assert_int_equal(after.directories, 0);
        assert_int_equal(after.bytes, before.bytes);
        meta_destroy(meta);
    }
}

/* Walks in steps of a few entries while others come and go: entries that stay are seen exactly once. */
struct paged {
    uint64_t limit;
    uint64_t seen[3000];
    uint64_t cursor;
    uint64_t count;
};

static bool visit_page(void *owner, uint64_t hash, const char *name, size_t length, uint64_t inode,
                       uint32_t type)
{
    struct paged *paged = owner;
    (void)length;
    (void)inode;
    (void)type;
    if (paged->count >= paged->limit && hash != paged->cursor - 1)
        return false;
    unsigned number = 0;
    assert_int_equal(sscanf(name + 1, "%u", &number), 1);
    if (name[0] == 's')
        paged->seen[number]++;
    paged->cursor = hash + 1;
    paged->count++;
    return true;
}

static void walk_under_changes(void **state)
{
    (void)state;
    struct meta *meta;
    struct random random;
    struct inode *inode;
    static struct paged paged;
    static bool temporary[3000];
    enum { STAY = 3000 };
    char name[16];
    random_seed(&random, 4);
    assert_int_equal(meta_create(&meta), 0);
    for (unsigned i = 0; i < STAY; i++) {
        size_t length = (size_t)sprintf(name, "s%05u", i) + 1;
        assert_int_equal(
            meta_create_entry(meta, 7, dentry_hash(7, name, length), name, length, S_IFREG, 1, &inode), 0);
    }
    for (int round = 0; round < 5; round++) {
        memset(&paged, 0, sizeof(paged));
        for (uint64_t last = UINT64_MAX; last != paged.cursor;) {
            last = paged.cursor;
            paged.count = 0;
            paged.limit = 1 + random_below(&random, 100);
            meta_directory_walk(meta, 7, paged.cursor, visit_page, &paged);
            for (int change = 0; change < 60; change++) {
                unsigned i = (unsigned)random_below(&random, 3000);
                size_t length = (size_t)sprintf(name, "t%05u", i) + 1;
                uint64_t hash = dentry_hash(7, name, length);
                if (temporary[i])
                    assert_int_equal(meta_dentry_remove(meta, 7, hash, name, length, 1), 0);
                else
                    assert_int_equal(meta_dentry_insert(meta, 7, hash, name, length, 9, S_IFREG, 1), 0);
                temporary[i] = !temporary[i];
            }
        }
        for (unsigned i = 0; i < STAY; i++)
            assert_int_equal(paged.seen[i], 1);
    }
    meta_destroy(meta);
}

static bool refuse_at(void *owner, size_t size)
{
    (void)size;
    int *left = owner;
    return (*left)-- <= 0;
}

static void failed_allocation_changes_nothing(void **state)
{
    (void)state;
    struct meta *meta;
    struct meta_statistics before, after;
    int left = 0;
    int failures = 0;
    char name[16];
    assert_int_equal(meta_create(&meta), 0);
    struct memory *memory = meta_memory(meta);
    memory->refuse_owner = &left;
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t parent = i % 3 == 0 ? 1000 + i : 50;
        size_t length = (size_t)sprintf(name, "%u", i);
        uint64_t hash = dentry_hash(parent, name, length);
        struct meta_directory_status status;
        struct dentry dentry;
        struct inode *inode = NULL;
        int result = -ENOMEM;
        for (int allowed = 0; result == -ENOMEM; allowed++) {
            meta_statistics(meta, &before);
            left = allowed;
            memory->refuse = refuse_at;
            if (i % 2 == 0)
                result = meta_create_entry(meta, parent, hash, name, length, S_IFREG, 1, &inode);
            else
                result = meta_dentry_insert(meta, parent, hash, name, length, 5, S_IFREG, 1);
            memory->refuse = NULL;
            if (result == 0)
                break;
            assert_int_equal(result, -ENOMEM);
            failures++;
            assert_int_equal(meta_dentry_find(meta, parent, hash, name, length, &dentry), -ENOENT);
            meta_statistics(meta, &after);
            assert_int_equal(after.inodes, before.inodes);
            assert_int_equal(after.dentries, before.dentries);
            assert_int_equal(after.directories, before.directories);
            meta_directory_status(meta, parent, &status);
            assert_int_equal(status.entries, parent == 50 ? before.dentries - (i + 2) / 3 : 0);
        }
        assert_int_equal(meta_dentry_find(meta, parent, hash, name, length, &dentry), 0);
        assert_int_equal(dentry.inode, i % 2 == 0 ? inode->number : 5);
        if (i % 2 == 0) {
            left = 0;
            assert_int_equal(meta_inline_set(meta, inode, "abc", 3), 0);
            memory->refuse = refuse_at;
            assert_int_equal(meta_inline_set(meta, inode, NULL, 4000), -ENOMEM);
            assert_int_equal(meta_inline_resize(meta, inode, 300), -ENOMEM);
            memory->refuse = NULL;
            assert_int_equal(inode->inline_length, 3);
            assert_memory_equal(inode->inline_data, "abc", 3);
        }
    }
    assert_true(failures > 2000);
    meta_destroy(meta);
}

static void inline_data_is_resized_with_zeros(void **state)
{
    (void)state;
    struct meta *meta;
    struct inode *inode;
    static const char zeros[INLINE_DATA_MAX];
    assert_int_equal(meta_create(&meta), 0);
    assert_int_equal(meta_inode_create(meta, INODE_ROOT, S_IFDIR | 0755, 1, &inode), 0);
    assert_int_equal(meta_inode_create(meta, INODE_ROOT, S_IFDIR | 0755, 1, &inode), -EEXIST);
    assert_int_equal(meta_inline_set(meta, inode, "0123456789", 10), 0);
    assert_int_equal(meta_inline_resize(meta, inode, 5), 0);
    assert_int_equal(meta_inline_resize(meta, inode, 4096), 0);
    assert_int_equal(inode->inline_length, 4096);
    assert_memory_equal(inode->inline_data, "01234", 5);
    assert_memory_equal((char *)inode->inline_data + 5, zeros, 4091);
    assert_int_equal(meta_inline_resize(meta, inode, 3), 0);
    assert_memory_equal(inode->inline_data, "012", 3);
    assert_int_equal(meta_inline_set(meta, inode, (char *)inode->inline_data + 1, 2), 0);
    assert_memory_equal(inode->inline_data, "12", 2);
    assert_int_equal(meta_inline_set(meta, inode, NULL, 100), 0);
    assert_memory_equal(inode->inline_data, zeros, 100);
    assert_int_equal(meta_inline_resize(meta, inode, 0), 0);
    assert_null(inode->inline_data);
    meta_destroy(meta);
}

static void inode_numbers_are_never_made_twice(void **state)
{
    (void)state;
    struct meta *meta;
    struct inode *inode;
    uint64_t last = 0;
    assert_int_equal(meta_create(&meta), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(meta_create_entry(meta, 1, 9, "a", 1, S_IFREG, 1, &inode), 0);
        assert_true(inode->number > last && inode->number != INODE_ROOT);
        last = inode->number;
        if (i == 50) {
            struct inode *given;
            last = inode_make(0, 1000);
            assert_int_equal(meta_inode_create(meta, last, S_IFREG, 1, &given), 0);
        }
        assert_int_equal(meta_dentry_remove(meta, 1, 9, "a", 1, 1), 0);
        meta_inode_remove(meta, inode);
    }
    assert_int_equal(
        meta_inode_create(meta, inode_make(0, (UINT64_C(1) << INODE_COUNTER_BITS) - 1), S_IFREG, 1, &inode),
        0);
    assert_int_equal(meta_create_entry(meta, 1, 9, "a", 1, S_IFREG, 1, &inode), -ENOSPC);
    meta_destroy(meta);
}

static void many_small_directories_cost_little(void **state)
{
    (void)state;
    struct meta *meta;
    struct inode *inode;
    struct meta_statistics statistics;
    enum { DIRECTORIES = 50000 };
    assert_int_equal(meta_create(&meta), 0);
    for (uint64_t parent = 1; parent <= DIRECTORIES; parent++)
        assert_int_equal(
            meta_create_entry(meta, parent, dentry_hash(parent, "a", 1), "a", 1, S_IFREG, 1, &inode), 0);
    meta_statistics(meta, &statistics);
    assert_int_equal(statistics.directories, DIRECTORIES);
    /* A file, its directory and the directory's index: at most 400 bytes. */
    assert_true(statistics.bytes < DIRECTORIES * UINT64_C(400));
    meta_destroy(meta);
}

static void expect_name(struct meta *meta, uint64_t inode, uint64_t parent, const char *name)
{
    char found[NAME_LENGTH_MAX];
    uint64_t directory = 0;
    uint8_t length = 0;
    int status = meta_name_find(meta, inode, &directory, found, &length);
    if (name == NULL) {
        assert_int_equal(status, -ENOENT);
        return;
    }
    assert_int_equal(status, 0);
    assert_int_equal(directory, parent);
    assert_int_equal(length, strlen(name));
    assert_memory_equal(found, name, length);
}

static void put(struct meta *meta, uint64_t parent, const char *name, uint64_t inode)
{
    uint64_t hash = dentry_hash(parent, name, strlen(name));
    assert_int_equal(meta_dentry_set(meta, parent, hash, name, strlen(name), inode, S_IFREG, 1), 0);
}

static void drop(struct meta *meta, uint64_t parent, const char *name)
{
    uint64_t hash = dentry_hash(parent, name, strlen(name));
    assert_int_equal(meta_dentry_remove(meta, parent, hash, name, strlen(name), 1), 0);
}

static void inodes_lead_to_their_names(void **state)
{
    (void)state;
    struct meta *meta;
    struct inode *one, *other;
    assert_int_equal(meta_create(&meta), 0);
    uint64_t hash = dentry_hash(7, "made", 4), hash_other = dentry_hash(7, "other", 5);
    assert_int_equal(meta_create_entry(meta, 7, hash, "made", 4, S_IFREG | 0644, 1, &one), 0);
    assert_int_equal(meta_create_entry(meta, 7, hash_other, "other", 5, S_IFREG | 0644, 1, &other), 0);
    uint64_t number = one->number, elsewhere = inode_make(9, 12345);
    expect_name(meta, number, 7, "made");
    expect_name(meta, elsewhere, 0, NULL);
    put(meta, 8, "renamed", number);
    expect_name(meta, number, 7, "made"); /* of two names the first */
    drop(meta, 7, "made");
    expect_name(meta, number, 8, "renamed");
    put(meta, 8, "renamed", other->number); /* replaced */
    expect_name(meta, number, 0, NULL);
    expect_name(meta, other->number, 7, "other");
    put(meta, 7, "other", elsewhere); /* a block whose dentry names another inode */
    expect_name(meta, other->number, 8, "renamed");
    expect_name(meta, elsewhere, 7, "other");
    drop(meta, 7, "other");
    expect_name(meta, elsewhere, 0, NULL);
    meta_inode_remove(meta, one);
    expect_name(meta, number, 0, NULL);
    /* More names than are remembered: forgotten perhaps, but never wrong. */
    char name[16];
    uint32_t known = 0;
    for (uint64_t i = 1; i <= 40000; i++) {
        sprintf(name, "n%05u", (unsigned)i);
        put(meta, 9, name, inode_make(1, i));
    }
    for (uint64_t i = 1; i <= 40000; i++) {
        char found[NAME_LENGTH_MAX];
        uint64_t parent;
        uint8_t length;
        if (meta_name_find(meta, inode_make(1, i), &parent, found, &length) != 0)
            continue;
        known++;
        sprintf(name, "n%05u", (unsigned)i);
        assert_int_equal(length, strlen(name));
        assert_memory_equal(found, name, length);
    }
    assert_in_range(known, 8000, 16384);
    meta_destroy(meta);
}

static void benchmark_answers(void **state)
{
    (void)state;
    struct meta_bench_result result = {0};
    assert_int_equal(meta_bench(0, 1, &result), -EINVAL);
    assert_int_equal(meta_bench(1, 0, &result), -EINVAL);
    for (uint64_t directories = 1; directories <= 1000; directories *= 1000) {
        assert_int_equal(meta_bench(40000, directories, &result), 0);
        assert_int_equal(result.files, 40000);
        assert_true(result.create_ns > 0 && result.lookup_ns > 0 && result.remove_ns > 0 &&
                    result.worst_ns > 0);
        assert_true(result.bytes_per_file > 100 && result.bytes_per_file <= 256);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(walk_under_changes),
        cmocka_unit_test(failed_allocation_changes_nothing),
        cmocka_unit_test(inline_data_is_resized_with_zeros),
        cmocka_unit_test(inode_numbers_are_never_made_twice),
        cmocka_unit_test(many_small_directories_cost_little),
        cmocka_unit_test(inodes_lead_to_their_names),
        cmocka_unit_test(benchmark_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
