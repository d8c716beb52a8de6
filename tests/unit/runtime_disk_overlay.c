/* The disk over another one: as every disk; and the one below keeps every byte. */
#include "unit/runtime_disk_cases.h"

#include <sys/stat.h>
#include <unistd.h>

static char path[64];
static const struct disk_options reading = {.read_only = true};

static int over(const struct disk_options *options)
{
    struct disk *below;
    int status = disk_open(loop, path, options, &below);
    return status != 0 ? status : disk_overlay_open(below, &disk);
}

static int disk_setup(void **state)
{
    (void)state;
    struct loop_options options = {0};
    snprintf(path, sizeof(path), "/tmp/benchfs-disk-XXXXXX");
    if (mkdtemp(path) == NULL || loop_create(&options, &loop) != 0)
        return -1;
    return over(&reading);
}

static int disk_teardown(void **state)
{
    (void)state;
    if (disk != NULL)
        disk_close(disk);
    disk = NULL;
    loop_destroy(loop);
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    return system(command);
}

/* ---- changes at random, here and on a directory ---- */

enum { FILES = 6, LENGTH_MAX = 3 * DISK_ALIGNMENT, STEPS_BEFORE = 200, STEPS = 2000 };
static const char *const names[FILES] = {"a", "b", "d/a", "d/b", "d/e/a", "d/e/b"};

static uint8_t bytes_of[3][LENGTH_MAX + 1];

/* A change of a file that is open; what is drawn is the same for every disk. */
static int64_t change_file(struct disk_file *file, struct random *random)
{
    uint64_t offset = random_below(random, LENGTH_MAX);
    uint64_t length = random_below(random, LENGTH_MAX - offset) + 1;
    switch (random_below(random, 6)) {
    case 0:
        return disk_file_truncate(file, offset);
    case 1:
        return disk_file_punch(file, offset, length);
    case 2:
        return disk_file_allocate(file, offset, length);
    case 3: /* whole pages */
        return disk_file_punch(file, offset / DISK_ALIGNMENT * DISK_ALIGNMENT, DISK_ALIGNMENT);
    default:
        memset(bytes_of[2], 1 + (int)random_below(random, 255), length);
        return disk_write(file, bytes_of[2], length, offset);
    }
}

static int64_t change(struct disk *on, struct random *random)
{
    const char *name = names[random_below(random, FILES)];
    const char *directory = random_below(random, 2) == 0 ? "d" : "d/e";
    struct disk_file *file;
    int status;
    switch (random_below(random, 12)) {
    case 0:
        return disk_unlink(on, name);
    case 1: {
        const char *slash = strrchr(name, '/');
        char other[16];
        snprintf(other, sizeof(other), "%.*s%s", slash == NULL ? 0 : (int)(slash + 1 - name), name,
                 random_below(random, 2) == 0 ? "a" : "b");
        return disk_rename(on, name, other);
    }
    case 2:
        return disk_unlink(on, directory);
    case 3:
    case 4:
        return disk_make_directory(on, directory);
    case 5:
        status = disk_file_open(on, name, DISK_CREATE | DISK_EXCLUSIVE, &file);
        break;
    case 6:
        status = disk_file_open(on, name, 0, &file);
        break;
    default:
        status = disk_file_open(on, name, DISK_CREATE, &file);
        break;
    }
    if (status != 0)
        return status;
    int64_t result = 0;
    for (uint64_t i = random_below(random, 4); i > 0; i--)
        result = result * 31 + change_file(file, random);
    disk_file_close(file);
    return result;
}

static void compare_file(struct disk *one, struct disk *other, const char *name)
{
    struct disk *disks[2] = {one, other};
    int64_t length[2];
    for (int i = 0; i < 2; i++) {
        struct disk_file *file;
        length[i] = disk_file_open(disks[i], name, DISK_READ_ONLY, &file);
        if (length[i] != 0)
            continue;
        memset(bytes_of[i], 0xee, sizeof(bytes_of[i]));
        struct iovec parts[3] = {
            {bytes_of[i], 1000}, {NULL, 0}, {bytes_of[i] + 1000, sizeof(bytes_of[i]) - 1000}};
        struct disk_io io = {.file = file, .call = DISK_READ, .vector = parts, .count = 3};
        disk_start(&io);
        length[i] = disk_finish(&io);
        assert_true(length[i] >= 0);
        uint64_t size = 0;
        assert_int_equal(disk_file_size(file, &size), 0);
        assert_int_equal(size, length[i]);
        disk_file_close(file);
    }
    assert_int_equal(length[0], length[1]);
    assert_memory_equal(bytes_of[0], bytes_of[1], sizeof(bytes_of[0]));
}

static void compare(struct disk *one, struct disk *other)
{
    static const char *const directories[] = {"", "d", "d/e"};
    for (int i = 0; i < FILES; i++)
        compare_file(one, other, names[i]);
    for (int i = 0; i < 3; i++) {
        struct listing listing[2] = {0};
        int status = disk_list(one, directories[i], collect_name, &listing[0]);
        assert_int_equal(disk_list(other, directories[i], collect_name, &listing[1]), status);
        assert_int_equal(listing[0].count, listing[1].count);
        for (int j = 0; j < 2; j++)
            qsort(listing[j].names, (size_t)listing[j].count, sizeof(listing[j].names[0]), compare_names);
        assert_memory_equal(listing[0].names, listing[1].names, sizeof(listing[0].names));
    }
}

/* Two devices with the same on them; over one lies a disk. Both are changed alike. */
static void changes_as_on_a_directory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct disk_sim_options options = {0};
        struct disk_sim_device *devices[3];
        struct disk *disks[3], *shown;
        struct random fortune[3];
        for (int i = 0; i < 3; i++) {
            assert_int_equal(disk_sim_device_create(&options, &devices[i]), 0);
            assert_int_equal(disk_sim_open(loop, devices[i], &disks[i]), 0);
            random_seed(&fortune[i], seed);
            for (int step = 0; step < STEPS_BEFORE; step++)
                change(disks[i], &fortune[i]);
        }
        compare(disks[0], disks[1]);
        assert_int_equal(disk_overlay_open(disks[0], &shown), 0);
        compare(shown, disks[1]);
        for (int step = 0; step < STEPS; step++) {
            assert_int_equal(change(shown, &fortune[0]), change(disks[1], &fortune[1]));
            if (step % 10 == 0)
                compare(shown, disks[1]);
        }
        disk_close(shown);
        assert_int_equal(disk_sim_open(loop, devices[0], &disks[0]), 0);
        compare(disks[0], disks[2]); /* which nobody has changed */
        for (int i = 0; i < 3; i++) {
            disk_close(disks[i]);
            disk_sim_device_destroy(devices[i]);
        }
    }
}

/* ---- the one below ---- */

static void the_directory_is_not_touched(void **state)
{
    (void)state;
    assert_true(disk_discards(disk));
    disk_close(disk);
    struct disk_options writing = {0};
    assert_int_equal(disk_open(loop, path, &writing, &disk), 0);
    assert_false(disk_discards(disk));
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_write(file, "below", 5, 0), 5);
    disk_file_close(file);
    assert_int_equal(over(&reading), -EBUSY); /* it is being written to */
    disk_close(disk);
    assert_int_equal(chmod(path, 0500), 0);
    assert_int_equal(over(&reading), 0);
    struct disk *other;
    assert_int_equal(disk_open(loop, path, &writing, &other), -EBUSY); /* and being read */
    assert_int_equal(disk_open(loop, path, &reading, &other), 0);
    disk_close(other);
    file = open_file("a", 0);
    assert_int_equal(disk_write(file, "above", 5, 2), 5);
    char bytes[8] = "";
    assert_int_equal(disk_read(file, bytes, 8, 0), 7);
    assert_string_equal(bytes, "beabove");
    assert_int_equal(disk_unlink(disk, "a"), 0);
    assert_int_equal(disk_read(file, bytes, 8, 0), 7);
    disk_file_close(file);
    assert_names("", "");
    disk_close(disk);
    assert_int_equal(over(&reading), 0);
    assert_names("", "a ");
    file = open_file("a", 0);
    assert_int_equal(disk_read(file, bytes, 8, 0), 5);
    assert_memory_equal(bytes, "below", 5);
    disk_file_close(file);
    assert_int_equal(chmod(path, 0700), 0);
}

static void directories_keep_their_names(void **state)
{
    (void)state;
    assert_int_equal(disk_make_directory(disk, "d"), 0);
    assert_int_equal(disk_rename(disk, "d", "e"), -EOPNOTSUPP);
    assert_names("", "d/ ");
}

#define OVER(case)                                                                                           \
    {                                                                                                        \
#case, case, disk_setup, disk_teardown, NULL                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_CASES(OVER),
        OVER(changes_as_on_a_directory),
        OVER(the_directory_is_not_touched),
        OVER(directories_keep_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
