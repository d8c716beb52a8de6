/* What every disk must do, as cases over an open one. The including test defines disk_setup and
 * disk_teardown, which set and end `loop` and `disk`, and puts DISK_CASES into its list, each
 * made a case by a macro of its own. */
#pragma once

#include "unit/unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "runtime/disk.h"
#include "runtime/sync.h"
#include "runtime/task.h"

static struct loop *loop;
static struct disk *disk;

static int disk_setup(void **state);
static int disk_teardown(void **state);

static struct disk_file *open_file(const char *name, unsigned flags)
{
    struct disk_file *file = NULL;
    assert_int_equal(disk_file_open(disk, name, flags, &file), 0);
    return file;
}

static uint64_t size_of(struct disk_file *file)
{
    uint64_t size = UINT64_MAX;
    assert_int_equal(disk_file_size(file, &size), 0);
    return size;
}

static uint8_t *aligned(size_t length)
{
    uint8_t *bytes = aligned_alloc(DISK_ALIGNMENT, length);
    assert_non_null(bytes);
    memset(bytes, 0, length);
    return bytes;
}

/* Text that holds the names of a directory, sorted: "d/ e f ". */
struct listing {
    char names[32][DISK_NAME_MAX + 2];
    int count;
};

static int collect_name(void *owner, const char *name, bool is_directory)
{
    struct listing *listing = owner;
    assert_true(listing->count < 32);
    snprintf(listing->names[listing->count++], DISK_NAME_MAX + 2, "%s%s", name, is_directory ? "/" : "");
    return 0;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(left, right);
}

static void assert_names(const char *directory, const char *expected)
{
    struct listing listing = {.count = 0};
    assert_int_equal(disk_list(disk, directory, collect_name, &listing), 0);
    qsort(listing.names, (size_t)listing.count, sizeof(listing.names[0]), compare_names);
    char found[1024] = "";
    for (int i = 0; i < listing.count; i++) {
        strcat(found, listing.names[i]);
        strcat(found, " ");
    }
    assert_string_equal(found, expected);
}

static void names_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/./b", "lock"};
    struct disk_file *file;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(disk_file_open(disk, bad[i], DISK_CREATE, &file), -EINVAL);
        assert_int_equal(disk_make_directory(disk, bad[i]), -EINVAL);
        assert_int_equal(disk_rename(disk, "a", bad[i]), -EINVAL);
    }
    char name[DISK_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[DISK_NAME_MAX + 1] = '\0';
    assert_int_equal(disk_file_open(disk, name, DISK_CREATE, &file), -ENAMETOOLONG);
    name[DISK_NAME_MAX] = '\0';
    assert_int_equal(disk_file_open(disk, name, DISK_CREATE, &file), 0);
    disk_file_close(file);
    assert_int_equal(disk_file_open(disk, "...", DISK_CREATE, &file), 0);
    disk_file_close(file);
    assert_int_equal(disk_file_open(disk, ".lock", DISK_CREATE, &file), 0);
    disk_file_close(file);
}

static void files_come_and_go(void **state)
{
    (void)state;
    struct disk_file *file;
    assert_int_equal(disk_file_open(disk, "a", 0, &file), -ENOENT);
    assert_int_equal(disk_file_open(disk, "d/a", DISK_CREATE, &file), -ENOENT);
    disk_file_close(open_file("a", DISK_CREATE));
    assert_int_equal(disk_file_open(disk, "a", DISK_CREATE | DISK_EXCLUSIVE, &file), -EEXIST);
    assert_int_equal(disk_file_open(disk, "a/b", DISK_CREATE, &file), -ENOTDIR);
    disk_file_close(open_file("a", 0));
    assert_int_equal(disk_make_directory(disk, "d"), 0);
    assert_int_equal(disk_make_directory(disk, "d"), -EEXIST);
    assert_int_equal(disk_make_directory(disk, "d/e"), 0);
    assert_int_equal(disk_file_open(disk, "d", 0, &file), -EISDIR);
    disk_file_close(open_file("d/e/f", DISK_CREATE | DISK_EXCLUSIVE));
    assert_names("", "a d/ ");
    assert_names("d", "e/ ");
    assert_names("d/e", "f ");
    assert_int_equal(disk_list(disk, "none", collect_name, NULL), -ENOENT);
    assert_int_equal(disk_list(disk, "a", collect_name, NULL), -ENOTDIR);

    assert_int_equal(disk_rename(disk, "a", "b"), 0);
    assert_int_equal(disk_rename(disk, "a", "c"), -ENOENT);
    assert_int_equal(disk_rename(disk, "b", "d/b"), -EXDEV);
    assert_int_equal(disk_rename(disk, "b", "b"), 0);
    assert_int_equal(disk_rename(disk, "b", "d"), -EISDIR);
    assert_int_equal(disk_rename(disk, "d", "b"), -ENOTDIR);
    disk_file_close(open_file("c", DISK_CREATE));
    assert_int_equal(disk_rename(disk, "c", "b"), 0);
    assert_int_equal(disk_rename(disk, "d/e/f", "d/e/g"), 0);
    assert_names("d/e", "g ");
    assert_names("", "b d/ ");

    assert_int_equal(disk_sync_names(disk, ""), 0);
    assert_int_equal(disk_sync_names(disk, "d/e"), 0);
    assert_int_equal(disk_sync_names(disk, "none"), -ENOENT);
    assert_int_equal(disk_unlink(disk, "none"), -ENOENT);
    assert_int_equal(disk_unlink(disk, "d/e"), -ENOTEMPTY);
    assert_int_equal(disk_unlink(disk, "d/e/g"), 0);
    assert_int_equal(disk_unlink(disk, "d/e"), 0);
    assert_int_equal(disk_unlink(disk, "d"), 0);
    assert_int_equal(disk_unlink(disk, "b"), 0);
    assert_names("", "");
}

static int stop_at_second(void *owner, const char *name, bool is_directory)
{
    (void)name;
    (void)is_directory;
    return ++*(int *)owner == 2 ? 7 : 0;
}

static void listing_can_be_stopped(void **state)
{
    (void)state;
    for (char name[2] = "a"; name[0] < 'e'; name[0]++)
        disk_file_close(open_file(name, DISK_CREATE));
    int seen = 0;
    assert_int_equal(disk_list(disk, "", stop_at_second, &seen), 7);
    assert_int_equal(seen, 2);
}

static void transfers_are_whole(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_false(disk_file_is_direct(file));
    char bytes[32] = "";
    assert_int_equal(disk_read(file, bytes, sizeof(bytes), 0), 0);
    assert_int_equal(disk_write(file, "hello", 5, 5000), 5);
    assert_int_equal(size_of(file), 5005);
    assert_int_equal(disk_read(file, bytes, 20, 4995), 10);
    assert_memory_equal(bytes, "\0\0\0\0\0hello", 10);
    assert_int_equal(disk_read(file, bytes, 20, 5005), 0);
    assert_int_equal(disk_write(file, "", 0, 9000), 0);
    assert_int_equal(size_of(file), 5005);
    assert_int_equal(disk_sync(file), 0);

    struct iovec out[3] = {{"abc", 3}, {NULL, 0}, {"defgh", 5}};
    struct disk_io io = {.file = file, .call = DISK_WRITE, .vector = out, .count = 3, .offset = 4998};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), 8);
    char left[4];
    char right[9];
    struct iovec in[2] = {{left, 4}, {right, 9}};
    io = (struct disk_io){.file = file, .call = DISK_READ, .vector = in, .count = 2, .offset = 4998};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), 8);
    assert_memory_equal(left, "abcd", 4);
    assert_memory_equal(right, "efgh", 4);

    int64_t time = 0;
    assert_int_equal(disk_file_time(file, &time), 0);
    bool simulated = strcmp(disk_path(disk), "simulated device") == 0;
    int64_t now = simulated ? loop_realtime(loop) : clock_realtime();
    assert_in_range(now - time + 10 * (int64_t)NSEC_PER_SEC, 0, 20 * NSEC_PER_SEC);
    assert_int_equal(disk_file_truncate(file, 4999), 0);
    assert_int_equal(disk_file_truncate(file, 5001), 0);
    assert_int_equal(disk_read(file, bytes, 20, 4998), 3);
    assert_memory_equal(bytes, "a\0\0", 3);
    disk_file_close(file);

    file = open_file("a", DISK_READ_ONLY);
    assert_int_equal(size_of(file), 5001);
    assert_int_equal(disk_read(file, bytes, 20, 4998), 3);
    assert_int_equal(disk_write(file, "x", 1, 0), -EBADF);
    assert_int_equal(disk_file_truncate(file, 0), -EBADF);
    disk_file_close(file);
}

static void impossible_transfers(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    char bytes[8] = "";
    assert_int_equal(disk_write(file, bytes, DISK_TRANSFER_MAX + 1ul, 0), -EINVAL);
    assert_int_equal(disk_write(file, bytes, 1, UINT64_MAX), -EFBIG);
    assert_int_equal(disk_file_truncate(file, UINT64_MAX), -EFBIG);
    assert_int_equal(disk_file_allocate(file, UINT64_MAX, UINT64_MAX), -EFBIG);
    struct iovec many[DISK_VECTOR_MAX + 1];
    for (uint32_t i = 0; i <= DISK_VECTOR_MAX; i++)
        many[i] = (struct iovec){bytes, 1};
    struct disk_io io = {.file = file, .call = DISK_WRITE, .vector = many, .count = DISK_VECTOR_MAX + 1};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), -EINVAL);
    io = (struct disk_io){.file = file, .call = DISK_WRITE, .vector = many, .count = DISK_VECTOR_MAX};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), DISK_VECTOR_MAX);
    disk_file_close(file);
}

static void direct_transfers(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE | DISK_DIRECT);
    uint8_t *bytes = aligned(4 * DISK_ALIGNMENT);
    assert_int_equal(disk_remember(disk, bytes, 4 * DISK_ALIGNMENT), 0);
    memset(bytes, 'd', 2 * DISK_ALIGNMENT);
    for (int pass = 0; pass < 40; pass++) {
        uint64_t offset = (uint64_t)pass * 2 * DISK_ALIGNMENT;
        assert_int_equal(disk_write(file, bytes, 2 * DISK_ALIGNMENT, offset), 2 * DISK_ALIGNMENT);
    }
    assert_int_equal(disk_sync(file), 0);
    assert_int_equal(disk_read(file, bytes + 2 * DISK_ALIGNMENT, 2 * DISK_ALIGNMENT, 78 * DISK_ALIGNMENT),
                     2 * DISK_ALIGNMENT);
    assert_memory_equal(bytes, bytes + 2 * DISK_ALIGNMENT, 2 * DISK_ALIGNMENT);
    assert_int_equal(disk_read(file, bytes, 2 * DISK_ALIGNMENT, 79 * DISK_ALIGNMENT), DISK_ALIGNMENT);
    struct iovec parts[2] = {{bytes + 3 * DISK_ALIGNMENT, DISK_ALIGNMENT}, {bytes, DISK_ALIGNMENT}};
    struct disk_io io = {.file = file, .call = DISK_READ, .vector = parts, .count = 2};
    memset(bytes, 0, 4 * DISK_ALIGNMENT);
    disk_start(&io);
    assert_int_equal(disk_finish(&io), 2 * DISK_ALIGNMENT);
    assert_int_equal(bytes[DISK_ALIGNMENT - 1], 'd');
    assert_int_equal(bytes[DISK_ALIGNMENT], 0);
    assert_int_equal(bytes[3 * DISK_ALIGNMENT], 'd');
    int unaligned = disk_file_is_direct(file) ? -EINVAL : 1;
    assert_int_equal(disk_write(file, bytes, 1, 0), unaligned);
    assert_int_equal(disk_write(file, bytes + 1, DISK_ALIGNMENT, 0), unaligned < 0 ? -EINVAL : 4096);
    assert_int_equal(disk_read(file, bytes, DISK_ALIGNMENT, 512), unaligned < 0 ? -EINVAL : 4096);
    disk_forget(disk, bytes);
    assert_int_equal(disk_read(file, bytes, DISK_ALIGNMENT, 0), DISK_ALIGNMENT);
    free(bytes);
    disk_file_close(file);
}

static void holes_and_reserved_space(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_file_allocate(file, 0, 1 << 20), 0);
    assert_int_equal(size_of(file), 1 << 20);
    static uint8_t bytes[1 << 16];
    assert_int_equal(disk_read(file, bytes, sizeof(bytes), 0), sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], 0);
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(disk_write(file, bytes, sizeof(bytes), 0), sizeof(bytes));
    assert_int_equal(disk_file_punch(file, 4096, 8192), 0);
    assert_int_equal(disk_file_punch(file, 20000, 10), 0);
    assert_int_equal(size_of(file), 1 << 20);
    assert_int_equal(disk_read(file, bytes, sizeof(bytes), 0), sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bool hole = (i >= 4096 && i < 12288) || (i >= 20000 && i < 20010);
        assert_int_equal(bytes[i], hole ? 0 : 'x');
    }
    uint64_t available = 0;
    uint64_t total = 0;
    assert_int_equal(disk_space(disk, &available, &total), 0);
    assert_true(available > 0 && available <= total);
    disk_file_close(file);
}

/* ---- many at a time ---- */

enum { MANY = 500, BLOCK = 4096 };

struct writer {
    struct disk_file *file;
    uint64_t index;
    bool good;
    struct wait_group *group;
};

static void write_and_read_back(void *argument)
{
    struct writer *writer = argument;
    uint8_t bytes[BLOCK];
    memset(bytes, (int)(writer->index % 251), BLOCK);
    bool good = disk_write(writer->file, bytes, BLOCK, writer->index * BLOCK) == BLOCK;
    if (writer->index % 50 == 0)
        good &= disk_sync(writer->file) == 0;
    memset(bytes, 255, BLOCK);
    good &= disk_read(writer->file, bytes, BLOCK, writer->index * BLOCK) == BLOCK;
    for (size_t i = 0; i < BLOCK; i++)
        good &= bytes[i] == writer->index % 251;
    writer->good = good;
    wait_group_done(loop, writer->group);
}

static void many_in_flight(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    static struct writer writers[MANY];
    struct wait_group group;
    wait_group_init(&group);
    wait_group_add(&group, MANY);
    for (uint64_t i = 0; i < MANY; i++) {
        writers[i] = (struct writer){.file = file, .index = i, .group = &group};
        assert_int_equal(task_spawn(loop, write_and_read_back, &writers[i]), 0);
    }
    assert_int_equal(wait_group_wait(loop, &group, loop_now(loop) + 30 * NSEC_PER_SEC), 0);
    for (uint64_t i = 0; i < MANY; i++)
        assert_true(writers[i].good);
    disk_file_close(file);
}

struct notified {
    struct disk_io io;
    struct iovec vector;
    uint32_t *left;
    struct completion *all;
};

static bool starting;

static void count_down(struct completion *completion)
{
    assert_false(starting);
    struct notified *notified = container_of(completion, struct notified, io.done);
    if (--*notified->left == 0)
        completion_fire(notified->all, 0);
}

static void notified_transfers(void **state, unsigned flags)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE | flags);
    static struct notified transfers[MANY];
    uint8_t *bytes = aligned(MANY * BLOCK);
    for (enum disk_call call = DISK_READ; call <= DISK_SYNC; call++) {
        if (call == DISK_READ)
            assert_int_equal(disk_file_truncate(file, (uint64_t)MANY * BLOCK), 0);
        uint32_t left = MANY;
        struct completion all = COMPLETION_INIT;
        starting = true;
        for (uint32_t i = 0; i < MANY; i++) {
            transfers[i] = (struct notified){
                .io = {.file = file, .call = call, .count = 1, .offset = (uint64_t)i * BLOCK},
                .vector = {bytes + (size_t)i * BLOCK, BLOCK},
                .left = &left,
                .all = &all,
            };
            transfers[i].io.vector = &transfers[i].vector;
            transfers[i].io.done.notify = count_down;
            disk_start(&transfers[i].io);
        }
        starting = false;
        assert_int_equal(await_until(loop, &all, loop_now(loop) + 30 * NSEC_PER_SEC), 0);
        for (uint32_t i = 0; i < MANY; i++)
            assert_int_equal(transfers[i].io.done.status, call == DISK_SYNC ? 0 : BLOCK);
    }
    free(bytes);
    disk_file_close(file);
}

static void notifications(void **state)
{
    notified_transfers(state, 0);
}

static void notifications_of_direct_transfers(void **state)
{
    notified_transfers(state, DISK_DIRECT);
}

struct cancelled {
    struct disk_file *file;
    uint8_t *bytes;
    ssize_t result;
    int next;
    bool ended;
};

static void write_cancelled(void *argument)
{
    struct cancelled *cancelled = argument;
    cancelled->result = disk_write(cancelled->file, cancelled->bytes, BLOCK, 0);
    cancelled->next = task_yield(loop);
    cancelled->ended = true;
}

static void a_cancelled_task_waits_for_the_device(void **state)
{
    (void)state;
    struct cancelled cancelled = {.file = open_file("a", DISK_CREATE | DISK_DIRECT), .bytes = aligned(BLOCK)};
    struct task *task;
    assert_int_equal(task_spawn_later(loop, write_cancelled, &cancelled, &task), 0);
    loop_poll(loop);
    task_cancel(task);
    uint64_t end = loop_now(loop) + 10 * NSEC_PER_SEC;
    while (!cancelled.ended && loop_now(loop) < end)
        loop_poll(loop);
    assert_true(cancelled.ended);
    assert_int_equal(cancelled.result, BLOCK);
    assert_int_equal(cancelled.next, -ECANCELED);
    free(cancelled.bytes);
    disk_file_close(cancelled.file);
}

/* ---- faults ---- */

struct faults {
    const char *what; /* to fail */
    int status;
    size_t length; /* of a write that is cut */
    int calls;
    char last[16];
    char name[DISK_NAME_MAX + 1];
    uint64_t offset;
};

static int fault(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    struct faults *faults = owner;
    faults->calls++;
    strcpy(faults->last, what);
    strcpy(faults->name, name);
    faults->offset = offset;
    if (faults->what == NULL || strcmp(what, faults->what) != 0)
        return 0;
    if (faults->status == 0)
        *length = faults->length;
    return faults->status;
}

static void every_call_can_fail(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    struct disk_file *other;
    struct faults faults = {.status = -EIO};
    disk_set_fault(disk, fault, &faults);
    uint64_t number;
    int64_t time;
    char bytes[8] = "1234567";
#define FAILS(name, call)                                                                                    \
    do {                                                                                                     \
        int calls = faults.calls;                                                                            \
        faults.what = name;                                                                                  \
        assert_int_equal((call), -EIO);                                                                      \
        assert_string_equal(faults.last, name);                                                              \
        assert_int_equal(faults.calls, calls + 1);                                                           \
    } while (0)
    FAILS("open", disk_file_open(disk, "b", DISK_CREATE, &other));
    FAILS("size", disk_file_size(file, &number));
    FAILS("time", disk_file_time(file, &time));
    FAILS("truncate", disk_file_truncate(file, 10));
    FAILS("allocate", disk_file_allocate(file, 0, 10));
    FAILS("punch", disk_file_punch(file, 0, 10));
    FAILS("write", (int)disk_write(file, bytes, 8, 77));
    assert_int_equal(faults.offset, 77);
    assert_string_equal(faults.name, "a");
    FAILS("read", (int)disk_read(file, bytes, 8, 0));
    FAILS("sync", disk_sync(file));
    FAILS("directory", disk_make_directory(disk, "d"));
    FAILS("unlink", disk_unlink(disk, "a"));
    FAILS("rename", disk_rename(disk, "a", "b"));
    FAILS("names", disk_sync_names(disk, ""));
    FAILS("list", disk_list(disk, "", collect_name, NULL));
    FAILS("space", disk_space(disk, &number, &number));
#undef FAILS
    disk_set_fault(disk, NULL, NULL);
    assert_int_equal(size_of(file), 0);
    assert_names("", "a ");
    disk_file_close(file);
}

static void writes_can_be_cut(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    struct faults faults = {.what = "write", .length = 5};
    disk_set_fault(disk, fault, &faults);
    struct iovec parts[3] = {{"abc", 3}, {"def", 3}, {"ghi", 3}};
    struct disk_io io = {.file = file, .call = DISK_WRITE, .vector = parts, .count = 3};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), -EIO);
    assert_int_equal(size_of(file), 5);
    faults.length = 100;
    io = (struct disk_io){.file = file, .call = DISK_WRITE, .vector = parts, .count = 3, .offset = 5};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), 9);
    faults.length = 0;
    assert_int_equal(disk_write(file, "xyz", 3, 0), -EIO);
    disk_set_fault(disk, NULL, NULL);
    char bytes[20];
    assert_int_equal(disk_read(file, bytes, 20, 0), 14);
    assert_memory_equal(bytes, "abcdeabcdefghi", 14);
    disk_file_close(file);

    file = open_file("b", DISK_CREATE | DISK_DIRECT);
    uint8_t *block = aligned(2 * BLOCK);
    disk_set_fault(disk, fault, &faults);
    faults.length = BLOCK + 5;
    assert_int_equal(disk_write(file, block, 2 * BLOCK, 0), -EIO);
    disk_set_fault(disk, NULL, NULL);
    assert_int_equal(size_of(file), disk_file_is_direct(file) ? BLOCK : BLOCK + 5);
    free(block);
    disk_file_close(file);
}

/* ---- a file against plain memory ---- */

enum { MODEL_SIZE = 200000 };

struct model {
    uint8_t bytes[MODEL_SIZE];
    uint64_t size;
};

static void model_write(struct model *model, struct disk_file *file, struct random *random, uint64_t offset,
                        uint64_t length)
{
    static uint8_t bytes[MODEL_SIZE];
    for (uint64_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)random_next(random);
    uint64_t middle = random_below(random, length + 1);
    struct iovec parts[2] = {{bytes, middle}, {bytes + middle, length - middle}};
    struct disk_io io = {.file = file, .call = DISK_WRITE, .vector = parts, .count = 2, .offset = offset};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), length);
    memcpy(model->bytes + offset, bytes, length);
    if (length > 0 && offset + length > model->size)
        model->size = offset + length;
}

static void model_check(const struct model *model, struct disk_file *file)
{
    static uint8_t bytes[MODEL_SIZE];
    assert_int_equal(size_of(file), model->size);
    assert_int_equal(disk_read(file, bytes, MODEL_SIZE, 0), model->size);
    assert_memory_equal(bytes, model->bytes, model->size);
}

static void random_changes(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    struct random random;
    random_seed(&random, 20260101);
    struct model *model = calloc(1, sizeof(*model));
    for (int i = 0; i < 500; i++) {
        uint64_t offset = random_below(&random, MODEL_SIZE);
        uint64_t length = random_below(&random, random_below(&random, MODEL_SIZE - offset) + 1);
        switch (random_below(&random, 6)) {
        case 0:
            assert_int_equal(disk_file_truncate(file, offset), 0);
            if (offset < model->size)
                memset(model->bytes + offset, 0, model->size - offset);
            model->size = offset;
            break;
        case 1:
            assert_int_equal(disk_file_punch(file, offset, length), 0);
            memset(model->bytes + offset, 0, length);
            break;
        case 2:
            assert_int_equal(disk_file_allocate(file, offset, length), 0);
            if (length > 0 && offset + length > model->size)
                model->size = offset + length;
            break;
        default:
            model_write(model, file, &random, offset, length);
        }
        if (i % 10 == 0)
            model_check(model, file);
        if (i % 50 == 0)
            assert_int_equal(disk_sync(file), 0);
    }
    model_check(model, file);
    free(model);
    disk_file_close(file);
}

static void unlinked_files_stay_readable(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_write(file, "old", 3, 0), 3);
    assert_int_equal(disk_unlink(disk, "a"), 0);
    struct disk_file *other = open_file("a", DISK_CREATE | DISK_EXCLUSIVE);
    assert_int_equal(size_of(other), 0);
    char bytes[3];
    assert_int_equal(disk_read(file, bytes, 3, 0), 3);
    assert_memory_equal(bytes, "old", 3);
    disk_file_close(file);
    disk_file_close(other);
}

/* clang-format off */
#define DISK_CASES(CASE)                                                                                     \
    CASE(names_are_checked), CASE(files_come_and_go), CASE(listing_can_be_stopped),                          \
    CASE(transfers_are_whole), CASE(impossible_transfers), CASE(direct_transfers),                           \
    CASE(holes_and_reserved_space), CASE(many_in_flight), CASE(notifications),                               \
    CASE(notifications_of_direct_transfers), CASE(a_cancelled_task_waits_for_the_device),                    \
    CASE(every_call_can_fail), CASE(writes_can_be_cut), CASE(random_changes),                                \
    CASE(unlinked_files_stay_readable)
/* clang-format on */
