/* The simulated device: as every disk, and what lasts when a server is killed or the power fails. */
#include "unit/runtime_disk_cases.h"

static struct disk_sim_device *device;
static struct random fortune;

static void make_device(const struct disk_sim_options *options)
{
    assert_int_equal(disk_sim_device_create(options, &device), 0);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
}

static void destroy_device(void)
{
    if (disk != NULL)
        disk_close(disk);
    disk = NULL;
    disk_sim_device_destroy(device);
}

static int disk_setup(void **state)
{
    (void)state;
    struct loop_options options = {.simulated = true, .seed = 1};
    if (loop_create(&options, &loop) != 0)
        return -1;
    make_device(&(struct disk_sim_options){.latency_ns = 100 * NSEC_PER_USEC, .direct = true});
    random_seed(&fortune, 1);
    return 0;
}

static int disk_teardown(void **state)
{
    (void)state;
    destroy_device();
    loop_destroy(loop);
    return 0;
}

/* Ends the disk and lets the power fail; then it is open again. */
static void lose_power(void)
{
    disk_close(disk);
    disk_sim_power_loss(device, &fortune);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
}

static void fresh_device(void)
{
    destroy_device();
    make_device(&(struct disk_sim_options){.latency_ns = 100 * NSEC_PER_USEC});
}

static void one_server_at_a_time(void **state)
{
    (void)state;
    struct disk *other = NULL;
    assert_int_equal(disk_sim_open(loop, device, &other), -EBUSY);
    disk_close(disk);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
}

static void closing_keeps_everything(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_write(file, "kept", 4, 0), 4);
    disk_file_close(file);
    disk_close(disk);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
    file = open_file("a", 0);
    char bytes[4];
    assert_int_equal(disk_read(file, bytes, 4, 0), 4);
    assert_memory_equal(bytes, "kept", 4);
    disk_file_close(file);
}

static void capacity_is_the_end(void **state)
{
    (void)state;
    destroy_device();
    make_device(&(struct disk_sim_options){.capacity = 10 * BLOCK});
    uint64_t available;
    uint64_t total;
    static uint8_t bytes[12 * BLOCK];
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_write(file, bytes, 11 * BLOCK, 0), -ENOSPC);
    assert_int_equal(size_of(file), 0);
    assert_int_equal(disk_write(file, bytes, 6 * BLOCK, 0), 6 * BLOCK);
    assert_int_equal(disk_write(file, bytes, 6 * BLOCK, 0), 6 * BLOCK);
    assert_int_equal(disk_file_allocate(file, 6 * BLOCK, 5 * BLOCK), -ENOSPC);
    assert_int_equal(disk_file_allocate(file, 6 * BLOCK, 4 * BLOCK), 0);
    assert_int_equal(disk_space(disk, &available, &total), 0);
    assert_int_equal(available, 0);
    assert_int_equal(total, 10 * BLOCK);
    assert_int_equal(disk_write(file, bytes, 4 * BLOCK, 6 * BLOCK), 4 * BLOCK);
    assert_int_equal(disk_file_punch(file, 0, BLOCK), 0);
    assert_int_equal(disk_space(disk, &available, &total), 0);
    assert_int_equal(available, BLOCK);
    assert_int_equal(disk_unlink(disk, "a"), 0);
    struct disk_file *other = open_file("b", DISK_CREATE);
    assert_int_equal(disk_write(other, bytes, 2 * BLOCK, 0), -ENOSPC);
    disk_file_close(file);
    assert_int_equal(disk_write(other, bytes, 10 * BLOCK, 0), 10 * BLOCK);
    assert_int_equal(disk_file_truncate(other, BLOCK + 1), 0);
    assert_int_equal(disk_space(disk, &available, &total), 0);
    assert_int_equal(available, 8 * BLOCK);
    disk_file_close(other);
    lose_power();
    assert_int_equal(disk_space(disk, &available, &total), 0);
    assert_true(available <= total);
}

/* ---- loss of power ---- */

enum { ROUNDS = 300 };

static void what_was_synchronised_lasts(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(disk_make_directory(disk, "d"), 0);
        struct disk_file *file = open_file("d/a", DISK_CREATE);
        static uint8_t bytes[3 * BLOCK];
        memset(bytes, 'a', sizeof(bytes));
        assert_int_equal(disk_write(file, bytes, sizeof(bytes), 100), sizeof(bytes));
        assert_int_equal(disk_file_truncate(file, 2 * BLOCK), 0);
        assert_int_equal(disk_sync(file), 0);
        assert_int_equal(disk_rename(disk, "d/a", "d/b"), 0);
        if (round % 2 == 0) {
            assert_int_equal(disk_sync_names(disk, "d"), 0);
            assert_int_equal(disk_sync_names(disk, ""), 0);
        } else {
            memset(bytes, 'a', sizeof(bytes));
            assert_int_equal(disk_write(file, bytes, BLOCK, 500), BLOCK);
            assert_int_equal(disk_sync_all(disk), 0);
        }
        disk_file_close(file);
        disk_file_close(open_file("d/c", DISK_CREATE));
        lose_power();
        file = open_file("d/b", 0);
        assert_int_equal(size_of(file), 2 * BLOCK);
        assert_int_equal(disk_read(file, bytes, sizeof(bytes), 0), 2 * BLOCK);
        for (size_t i = 0; i < 2 * BLOCK; i++)
            assert_int_equal(bytes[i], i < 100 ? 0 : 'a');
        disk_file_close(file);
        struct disk_file *gone;
        assert_int_equal(disk_file_open(disk, "d/a", 0, &gone), -ENOENT);
        fresh_device();
    }
}

static void unsynchronised_writes_are_kept_lost_or_torn(void **state)
{
    (void)state;
    int kept = 0;
    int lost = 0;
    int torn = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct disk_file *file = open_file("a", DISK_CREATE);
        uint8_t bytes[BLOCK];
        memset(bytes, 'o', BLOCK);
        assert_int_equal(disk_write(file, bytes, BLOCK, 0), BLOCK);
        assert_int_equal(disk_sync(file), 0);
        assert_int_equal(disk_sync_names(disk, ""), 0);
        memset(bytes, 'n', BLOCK);
        assert_int_equal(disk_write(file, bytes, BLOCK, 0), BLOCK);
        disk_file_close(file);
        lose_power();
        file = open_file("a", 0);
        assert_int_equal(disk_read(file, bytes, BLOCK, 0), BLOCK);
        unsigned fresh = 0;
        for (size_t i = 0; i < BLOCK; i++) {
            assert_true(bytes[i] == 'o' || bytes[i] == 'n');
            assert_int_equal(bytes[i], bytes[i / 512 * 512]);
            fresh += bytes[i] == 'n';
        }
        kept += fresh == BLOCK;
        lost += fresh == 0;
        torn += fresh != 0 && fresh != BLOCK;
        disk_file_close(file);
    }
    assert_true(kept > ROUNDS / 10 && lost > ROUNDS / 10 && torn > ROUNDS / 20);
}

static void sizes_and_names_fare_alone(void **state)
{
    (void)state;
    enum { SIZE = 1, BYTES = 2, OLD = 4, NEW = 8 };
    unsigned seen[16] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        struct disk_file *file = open_file("old", DISK_CREATE);
        assert_int_equal(disk_sync_names(disk, ""), 0);
        assert_int_equal(disk_write(file, "x", 1, BLOCK - 1), 1);
        assert_int_equal(disk_rename(disk, "old", "new"), 0);
        disk_file_close(file);
        lose_power();
        struct disk_file *old = NULL;
        struct disk_file *new = NULL;
        bool is_old = disk_file_open(disk, "old", 0, &old) == 0;
        bool is_new = disk_file_open(disk, "new", 0, &new) == 0;
        assert_true(is_old != is_new);
        file = is_old ? old : new;
        char byte = 'y';
        uint64_t size = size_of(file);
        if (size != 0)
            assert_int_equal(disk_read(file, &byte, 1, BLOCK - 1), 1);
        assert_true(size == 0 || size == BLOCK);
        /* What was past the end is gone. */
        assert_int_equal(disk_file_truncate(file, BLOCK), 0);
        char after = 'y';
        assert_int_equal(disk_read(file, &after, 1, BLOCK - 1), 1);
        assert_int_equal(after, byte == 'x' ? 'x' : 0);
        seen[(size != 0 ? SIZE : 0) | (byte == 'x' ? BYTES : 0) | (is_old ? OLD : NEW)]++;
        disk_file_close(file);
        fresh_device();
    }
    assert_true(seen[OLD] > 0 && seen[NEW] > 0);
    assert_true(seen[OLD | SIZE] > 0 && seen[NEW | SIZE] > 0);
    assert_true(seen[OLD | SIZE | BYTES] > 0 && seen[NEW | SIZE | BYTES] > 0);
}

static void names_need_their_directory(void **state)
{
    (void)state;
    int found = 0;
    int lost = 0;
    int back = 0;
    for (int round = 0; round < ROUNDS; round++) {
        disk_file_close(open_file("gone", DISK_CREATE));
        assert_int_equal(disk_sync_names(disk, ""), 0);
        assert_int_equal(disk_unlink(disk, "gone"), 0);
        struct disk_file *file = open_file("a", DISK_CREATE);
        assert_int_equal(disk_write(file, "bytes", 5, 0), 5);
        assert_int_equal(disk_sync(file), 0);
        disk_file_close(file);
        assert_int_equal(disk_make_directory(disk, "d"), 0);
        disk_file_close(open_file("d/b", DISK_CREATE));
        assert_int_equal(disk_sync_names(disk, "d"), 0);
        lose_power();
        if (disk_file_open(disk, "a", 0, &file) == 0) {
            found++;
            assert_int_equal(size_of(file), 5);
            disk_file_close(file);
        }
        struct listing listing = {.count = 0};
        int status = disk_list(disk, "d", collect_name, &listing);
        assert_true(status == -ENOENT || (status == 0 && listing.count == 1));
        lost += status != 0;
        if (disk_file_open(disk, "gone", 0, &file) == 0) {
            back++;
            disk_file_close(file);
        }
        fresh_device();
    }
    assert_true(found > 0 && found < ROUNDS);
    assert_true(lost > 0 && lost < ROUNDS);
    assert_true(back > 0 && back < ROUNDS);
}

static void a_sync_covers_what_was_told_before_it(void **state)
{
    (void)state;
    int lost = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct disk_file *file = open_file("a", DISK_CREATE);
        assert_int_equal(disk_sync_names(disk, ""), 0);
        assert_int_equal(disk_write(file, "1", 1, 0), 1);
        struct iovec vector = {"2", 1};
        struct disk_io write = {.file = file, .call = DISK_WRITE, .vector = &vector, .count = 1, .offset = 1};
        struct disk_io sync = {.file = file, .call = DISK_SYNC};
        disk_start(&write);
        disk_start(&sync);
        assert_int_equal(disk_finish(&sync), 0);
        bool told = write.done.fired;
        assert_int_equal(disk_finish(&write), 1);
        disk_file_close(file);
        lose_power();
        file = open_file("a", 0);
        char bytes[2] = "  ";
        assert_true(disk_read(file, bytes, 2, 0) >= 1);
        assert_int_equal(bytes[0], '1');
        lost += told && bytes[1] != '2'; /* though written before the synchronisation was over */
        disk_file_close(file);
        fresh_device();
    }
    assert_true(lost > 0 && lost < ROUNDS / 2);
}

/* ---- files as memory ---- */

#define MAPPED (3u * 4096)

/* A mapped file of that many zeros, which last. */
static uint8_t *map_new_file(struct disk_file **file)
{
    void *memory = NULL;
    *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_sync_names(disk, ""), 0);
    assert_int_equal(disk_file_map(*file, MAPPED, &memory), -EINVAL);
    assert_int_equal(disk_file_allocate(*file, 0, MAPPED), 0);
    assert_int_equal(disk_sync(*file), 0);
    assert_int_equal(disk_file_map(*file, MAPPED, &memory), 0);
    return memory;
}

static uint8_t byte_at(uint64_t offset)
{
    struct disk_file *file = open_file("a", 0);
    uint8_t byte = 0xff;
    assert_int_equal(disk_read(file, &byte, 1, offset), 1);
    disk_file_close(file);
    return byte;
}

static void memory_is_the_file(void **state)
{
    (void)state;
    struct disk_file *file;
    void *again;
    assert_true(disk_maps(disk));
    uint8_t *memory = map_new_file(&file);
    memory[5] = 1;
    disk_file_stored(file, 5, 1);
    assert_int_equal(byte_at(5), 1);
    memory[MAPPED - 1] = 2; /* told by nobody: there at the latest when the file is closed */
    disk_file_close(file);
    assert_int_equal(byte_at(MAPPED - 1), 2);
    file = open_file("a", 0);
    assert_int_equal(disk_file_map(file, MAPPED, &again), 0);
    assert_int_equal(((uint8_t *)again)[5], 1);
    ((uint8_t *)again)[6] = 3;
    struct disk *dead = disk;
    disk_sim_kill(disk);
    ((uint8_t *)again)[7] = 4; /* the dead write nothing */
    disk_file_stored(file, 7, 1);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
    assert_int_equal(byte_at(6), 3);
    assert_int_equal(byte_at(7), 0);
    disk_file_close(file);
    disk_close(dead);
    assert_int_equal(byte_at(7), 0);
}

static void stores_last_when_they_were_told_and_synchronised(void **state)
{
    (void)state;
    int kept[2] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        struct disk_file *file;
        uint8_t *memory = map_new_file(&file);
        memory[0] = memory[4096] = 1;
        disk_file_stored(file, 0, 1);
        assert_int_equal(disk_sync(file), 0);
        memory[8192] = 1;
        disk_file_stored(file, 8192, 1);
        disk_file_close(file);
        lose_power();
        assert_int_equal(byte_at(0), 1);
        kept[0] += byte_at(4096);
        kept[1] += byte_at(8192);
        fresh_device();
    }
    for (int i = 0; i < 2; i++)
        assert_true(kept[i] > 0 && kept[i] < ROUNDS);
}

static void a_stop_is_the_end_of_stores(void **state)
{
    (void)state;
    struct disk_file *file;
    uint8_t *memory = map_new_file(&file);
    bool stopped = false;
    disk_sim_stop_at(device, disk_sim_points(device) + 1, &stopped);
    memory[0] = 1;
    disk_file_stored(file, 0, 1);
    assert_false(stopped);
    memory[1] = 1;
    disk_file_stored(file, 1, 1);
    assert_true(stopped);
    memory[2] = 1;
    disk_file_stored(file, 2, 1);
    disk_sim_abandon(disk);
    disk_sim_stop_at(device, UINT64_MAX, NULL);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
    assert_int_equal(byte_at(0), 1);
    assert_int_equal(byte_at(1), 1); /* stored before, like what is under way */
    assert_int_equal(byte_at(2), 0);
}

/* ---- the server dies ---- */

struct victim {
    struct disk_io io;
    struct iovec vector;
    int *told;
};

static void victim_told(struct completion *completion)
{
    struct victim *victim = container_of(completion, struct victim, io.done);
    assert_int_equal(completion->status, -EIO);
    ++*victim->told;
}

static void start_writes(struct victim *victims, int count, struct disk_file *file, int *told)
{
    for (int i = 0; i < count; i++) {
        victims[i] = (struct victim){
            .io = {.file = file, .call = DISK_WRITE, .count = 1, .offset = (uint64_t)i},
            .vector = {"w", 1},
            .told = told,
        };
        victims[i].io.vector = &victims[i].vector;
        victims[i].io.done.notify = victim_told;
        disk_start(&victims[i].io);
    }
}

static void abandoned_transfers_are_never_told(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_write(file, "0", 1, 99), 1);
    struct victim victims[60];
    int told = 0;
    start_writes(victims, 60, file, &told);
    disk_sim_abandon(disk);
    memset(victims, 0xa5, sizeof(victims));
    assert_int_equal(task_sleep(loop, NSEC_PER_SEC), 0);
    assert_int_equal(told, 0);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
    file = open_file("a", 0);
    char bytes[100];
    assert_int_equal(disk_read(file, bytes, 100, 0), 100);
    assert_int_equal(bytes[99], '0');
    int arrived = 0;
    for (int i = 0; i < 60; i++)
        arrived += bytes[i] == 'w';
    assert_true(arrived > 10 && arrived < 50);
    disk_file_close(file);
}

struct sleeper {
    struct disk_file *file;
    int status;
    bool ended;
};

static void allocate(void *argument)
{
    struct sleeper *sleeper = argument;
    sleeper->status = disk_file_allocate(sleeper->file, 0, 4096);
    sleeper->ended = true;
}

static void killed_servers_unwind(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    struct victim victims[4];
    struct sleeper sleeper = {.file = file};
    int told = 0;
    start_writes(victims, 4, file, &told);
    assert_int_equal(task_spawn(loop, allocate, &sleeper), 0);
    disk_sim_kill(disk);
    struct disk *dead = disk;
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
    disk_file_close(open_file("b", DISK_CREATE));
    assert_int_equal(disk_write(file, "x", 1, 5000), -EIO);
    uint64_t size;
    assert_int_equal(disk_file_size(file, &size), -EIO);
    assert_int_equal(disk_file_truncate(file, 1), -EIO);
    assert_int_equal(disk_unlink(dead, "a"), -EIO);
    assert_int_equal(disk_sync_names(dead, ""), -EIO);
    assert_int_equal(disk_file_open(dead, "c", DISK_CREATE, &file), -EIO);
    assert_int_equal(task_sleep(loop, NSEC_PER_SEC), 0);
    assert_int_equal(told, 4);
    assert_true(sleeper.ended);
    assert_int_equal(sleeper.status, -EIO);
    disk_file_close(sleeper.file);
    disk_close(dead);
    file = open_file("a", 0);
    assert_true(size_of(file) <= 4096);
    disk_file_close(file);
}

static void stopping_at_each_point(void **state)
{
    (void)state;
    for (uint64_t stop = 0; stop < 7; stop++) {
        fresh_device();
        bool stopped = false;
        disk_sim_stop_at(device, stop, &stopped);
        struct disk_file *file = NULL;
        int opened = disk_file_open(disk, "a", DISK_CREATE, &file);
        assert_int_equal(opened, stop == 0 ? -EIO : 0);
        if (opened == 0) {
            struct victim victim;
            int told = 0;
            for (uint64_t i = 1; i <= 3; i++) {
                start_writes(&victim, 1, file, &told);
                victim.io.done.notify = NULL;
                int status = await_until(loop, &victim.io.done, loop_now(loop) + NSEC_PER_SEC);
                assert_int_equal(status, stop > i ? 1 : -ETIMEDOUT);
            }
            assert_int_equal(disk_file_truncate(file, 10), stop > 4 ? 0 : -EIO);
            assert_int_equal(disk_unlink(disk, "a"), stop > 5 ? 0 : -EIO);
        }
        assert_int_equal(stopped, stop < 6);
        assert_int_equal(disk_sim_points(device), stop < 6 ? stop : 6);
        disk_sim_abandon(disk);
        disk_sim_stop_at(device, UINT64_MAX, NULL);
        assert_int_equal(disk_sim_open(loop, device, &disk), 0);
        disk_file_close(open_file("after", DISK_CREATE));
    }
}

/* ---- the same again ---- */

/* A device's whole content after random changes and a loss of power, as one number. */
static uint64_t run(uint64_t seed)
{
    struct loop *before = loop;
    struct loop_options options = {.simulated = true, .seed = seed};
    assert_int_equal(loop_create(&options, &loop), 0);
    struct disk_sim_device *outer = device;
    struct disk *outer_disk = disk;
    make_device(&(struct disk_sim_options){.latency_ns = NSEC_PER_MSEC});
    struct random random;
    random_seed(&random, seed);
    for (int i = 0; i < 200; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%c", 'a' + (char)random_below(&random, 8));
        if (random_below(&random, 8) == 0) {
            disk_unlink(disk, name);
            continue;
        }
        struct disk_file *file = open_file(name, DISK_CREATE);
        uint8_t bytes[3000];
        for (size_t j = 0; j < sizeof(bytes); j++)
            bytes[j] = (uint8_t)random_next(&random);
        struct iovec vector = {bytes, random_below(&random, sizeof(bytes)) + 1};
        struct disk_io ios[3];
        for (int j = 0; j < 3; j++) {
            ios[j] = (struct disk_io){.file = file, .call = DISK_WRITE, .vector = &vector, .count = 1};
            ios[j].offset = random_below(&random, 10000);
            disk_start(&ios[j]);
        }
        for (int j = 0; j < 3; j++)
            disk_finish(&ios[j]);
        if (random_below(&random, 4) == 0)
            disk_sync(file);
        if (random_below(&random, 10) == 0)
            disk_sync_names(disk, "");
        disk_file_close(file);
    }
    disk_close(disk);
    disk_sim_power_loss(device, &random);
    assert_int_equal(disk_sim_open(loop, device, &disk), 0);
    uint64_t number = loop_now(loop) + disk_sim_points(device);
    for (char name[2] = "a"; name[0] < 'i'; name[0]++) {
        struct disk_file *file;
        if (disk_file_open(disk, name, 0, &file) != 0)
            continue;
        static uint8_t bytes[20000];
        ssize_t length = disk_read(file, bytes, sizeof(bytes), 0);
        for (ssize_t i = 0; i < length; i++)
            number = number * 31 + bytes[i];
        disk_file_close(file);
    }
    destroy_device();
    loop_destroy(loop);
    loop = before;
    device = outer;
    disk = outer_disk;
    return number;
}

static void the_same_seed_gives_the_same_device(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 10; seed++)
        assert_true(run(seed) == run(seed));
    assert_true(run(1) != run(2));
}

#define DISK_CASE(name) cmocka_unit_test_setup_teardown(name, disk_setup, disk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_CASES(DISK_CASE),
        DISK_CASE(one_server_at_a_time),
        DISK_CASE(closing_keeps_everything),
        DISK_CASE(capacity_is_the_end),
        DISK_CASE(what_was_synchronised_lasts),
        DISK_CASE(unsynchronised_writes_are_kept_lost_or_torn),
        DISK_CASE(sizes_and_names_fare_alone),
        DISK_CASE(names_need_their_directory),
        DISK_CASE(a_sync_covers_what_was_told_before_it),
        DISK_CASE(memory_is_the_file),
        DISK_CASE(stores_last_when_they_were_told_and_synchronised),
        DISK_CASE(a_stop_is_the_end_of_stores),
        DISK_CASE(abandoned_transfers_are_never_told),
        DISK_CASE(killed_servers_unwind),
        DISK_CASE(stopping_at_each_point),
        DISK_CASE(the_same_seed_gives_the_same_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
