/* The identity of a store directory: written as a whole or not at all, and whoever does not match is refused
 * without a byte being changed. */
#include "unit/unit.h"

#include "base/log.h"
#include "base/random.h"
#include "journal/identity.h"

#include <errno.h>
#include <string.h>

static const struct identity ours = {
    .cluster = {0x9f, 0x86, 0xd0, 0x81, 0x88, 0x4c, 0x7d, 0x65, 0x9a, 0x2f, 0xea, 0xa0, 0xc5, 0x5a, 0xd0,
                0x15},
    .server = 3,
    .servers = 4,
    .engine = "tiered:uring+file",
    .ring = "consistent",
    .hash = "xxhash64",
    .created = 1764111057000000000,
};

struct fixture {
    struct loop *loop;
    struct disk_sim_device *device;
    struct disk *disk;
};

static void fixture_create(struct fixture *fixture)
{
    const struct loop_options loop = {.simulated = true, .seed = 1};
    const struct disk_sim_options device = {0};
    assert_int_equal(loop_create(&loop, &fixture->loop), 0);
    assert_int_equal(disk_sim_device_create(&device, &fixture->device), 0);
    assert_int_equal(disk_sim_open(fixture->loop, fixture->device, &fixture->disk), 0);
}

static void fixture_destroy(struct fixture *fixture)
{
    disk_close(fixture->disk);
    disk_sim_device_destroy(fixture->device);
    loop_destroy(fixture->loop);
}

static void put_file(struct disk *disk, const char *name, const void *bytes, size_t length)
{
    struct disk_file *file;
    assert_int_equal(disk_file_open(disk, name, DISK_CREATE, &file), 0);
    assert_int_equal(disk_file_truncate(file, 0), 0);
    assert_int_equal(disk_write(file, bytes, length, 0), length);
    disk_file_close(file);
}

static void test_text(void **state)
{
    (void)state;
    char bytes[IDENTITY_BYTES_MAX];
    struct identity read;
    size_t length = identity_encode(&ours, bytes);
    static const char expected[] = "benchfs store 1\n"
                                   "cluster 9f86d081884c7d659a2feaa0c55ad015\n"
                                   "server 3 of 4\n"
                                   "engine tiered:uring+file\n"
                                   "created 1764111057000000000\n"
                                   "checksum ";
    assert_memory_equal(bytes, expected, sizeof(expected) - 1);
    assert_int_equal(length, sizeof(expected) - 1 + 9);
    assert_int_equal(identity_decode(bytes, length, &read), 0);
    assert_memory_equal(&read, &ours, sizeof(ours));
    for (size_t cut = 0; cut < length; cut++)
        assert_int_equal(identity_decode(bytes, cut, &read), -EBADMSG);
    for (size_t bit = 0; bit < 8 * length; bit++) {
        bytes[bit / 8] ^= (char)(1u << bit % 8);
        int status = identity_decode(bytes, length, &read);
        assert_true(status == -EBADMSG || status == -EPROTONOSUPPORT);
        bytes[bit / 8] ^= (char)(1u << bit % 8);
    }
    bytes[14] = '3';
    assert_int_equal(identity_decode(bytes, length, &read), -EPROTONOSUPPORT);
}

/* How partitions are given to servers is told where it is not the usual way, and by another version. */
static void test_ring(void **state)
{
    (void)state;
    char bytes[IDENTITY_BYTES_MAX];
    struct identity other = ours, read;
    strcpy(other.ring, "rendezvous");
    strcpy(other.hash, "murmur3");
    size_t length = identity_encode(&other, bytes);
    static const char expected[] = "benchfs store 2\n"
                                   "cluster 9f86d081884c7d659a2feaa0c55ad015\n"
                                   "server 3 of 4\n"
                                   "engine tiered:uring+file\n"
                                   "ring rendezvous murmur3\n"
                                   "created 1764111057000000000\n"
                                   "checksum ";
    assert_memory_equal(bytes, expected, sizeof(expected) - 1);
    assert_int_equal(identity_decode(bytes, length, &read), 0);
    assert_memory_equal(&read, &other, sizeof(other));
    for (size_t cut = 0; cut < length; cut++)
        assert_int_equal(identity_decode(bytes, cut, &read), -EBADMSG);
    bytes[14] = '1';
    assert_int_equal(identity_decode(bytes, length, &read), -EBADMSG);
}

static void test_empty_directory_gets_one(void **state)
{
    (void)state;
    struct fixture fixture;
    struct identity found;
    fixture_create(&fixture);
    assert_int_equal(identity_read(fixture.disk, &found), -ENOENT);
    assert_int_equal(identity_check(fixture.disk, &ours, &found), -ENOENT);
    put_file(fixture.disk, "identity.tmp", "bench", 5); /* what a crash left */
    assert_int_equal(identity_check(fixture.disk, &ours, &found), -ENOENT);
    assert_int_equal(identity_write(fixture.disk, &ours), 0);
    assert_int_equal(identity_check(fixture.disk, &ours, &found), 0);
    assert_memory_equal(&found, &ours, sizeof(ours));
    assert_int_equal(identity_check(fixture.disk, &ours, NULL), 0);
    fixture_destroy(&fixture);
}

/* What an engine made before a first start came to an end does not keep the next one away. */
static void test_begun_directory_gets_one(void **state)
{
    (void)state;
    struct fixture fixture;
    struct identity found;
    fixture_create(&fixture);
    assert_int_equal(identity_begin(fixture.disk), 0);
    put_file(fixture.disk, "segment", "bytes", 5);
    assert_int_equal(identity_read(fixture.disk, &found), -ENOENT);
    assert_int_equal(identity_write(fixture.disk, &ours), 0);
    assert_int_equal(disk_unlink(fixture.disk, "identity"), 0);
    assert_int_equal(identity_read(fixture.disk, &found), -ENOTEMPTY);
    fixture_destroy(&fixture);
}

/* The other identity is refused, and the device has not been touched. */
static void check_refused(struct fixture *fixture, const struct identity *other, int expected)
{
    uint64_t points = disk_sim_points(fixture->device);
    assert_int_equal(identity_check(fixture->disk, other, NULL), expected);
    assert_int_equal(disk_sim_points(fixture->device), points);
}

static void test_others_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture);
    assert_int_equal(identity_write(fixture.disk, &ours), 0);
    struct identity other = ours;
    other.created++;
    check_refused(&fixture, &other, 0);
    other = ours;
    other.cluster[15] ^= 1;
    check_refused(&fixture, &other, -EEXIST);
    other = ours;
    other.server = 2;
    check_refused(&fixture, &other, -EEXIST);
    other = ours;
    other.servers = 5;
    check_refused(&fixture, &other, -EEXIST);
    other = ours;
    strcpy(other.engine, "uring");
    check_refused(&fixture, &other, -EEXIST);
    other = ours;
    strcpy(other.ring, "rendezvous");
    check_refused(&fixture, &other, -EEXIST);
    other = ours;
    strcpy(other.hash, "md5");
    check_refused(&fixture, &other, -EEXIST);
    check_refused(&fixture, &ours, 0);
    put_file(fixture.disk, "identity", "benchfs store 3\nand more\n", 25);
    check_refused(&fixture, &ours, -EPROTONOSUPPORT);
    put_file(fixture.disk, "identity", "", 0);
    check_refused(&fixture, &ours, -EBADMSG);
    fixture_destroy(&fixture);
}

static void test_files_without_identity_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture);
    put_file(fixture.disk, "journal-1", "x", 1);
    check_refused(&fixture, &ours, -ENOTEMPTY);
    fixture_destroy(&fixture);

    fixture_create(&fixture);
    assert_int_equal(disk_make_directory(fixture.disk, "photos"), 0);
    check_refused(&fixture, &ours, -ENOTEMPTY);
    fixture_destroy(&fixture);
}

struct failure {
    uint32_t countdown;
    bool failed;
};

static int fail_call(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    struct failure *failure = owner;
    (void)what;
    (void)name;
    (void)offset;
    (void)length;
    if (failure->failed || failure->countdown-- > 0)
        return 0;
    failure->failed = true;
    return -EIO;
}

static void test_every_call_fails_in_turn(void **state)
{
    (void)state;
    for (uint32_t call = 0;; call++) {
        struct fixture fixture;
        struct failure failure = {.countdown = call};
        assert_true(call < 100);
        fixture_create(&fixture);
        disk_set_fault(fixture.disk, fail_call, &failure);
        int status = identity_check(fixture.disk, &ours, NULL);
        if (status == -ENOENT)
            status = identity_write(fixture.disk, &ours);
        if (status == 0)
            status = identity_check(fixture.disk, &ours, NULL);
        assert_int_equal(status, failure.failed ? -EIO : 0);
        disk_set_fault(fixture.disk, NULL, NULL);
        status = identity_check(fixture.disk, &ours, NULL);
        assert_true(status == 0 || status == -ENOENT);
        fixture_destroy(&fixture);
        if (!failure.failed)
            break;
    }
}

struct writing {
    struct fixture *fixture;
    int status;
    bool done;
};

static void write_run(void *argument)
{
    struct writing *writing = argument;
    writing->status = identity_write(writing->fixture->disk, &ours);
    writing->done = true;
}

static void test_power_loss_at_every_point(void **state)
{
    (void)state;
    for (uint64_t point = 0;; point++) {
        bool whole = false;
        for (uint64_t loss = 0; loss < 20; loss++) {
            struct fixture fixture;
            struct writing writing = {.fixture = &fixture};
            struct random random;
            struct identity found;
            bool stopped = false;
            random_seed(&random, loss);
            fixture_create(&fixture);
            disk_sim_stop_at(fixture.device, point, &stopped);
            assert_int_equal(task_spawn(fixture.loop, write_run, &writing), 0);
            for (int turn = 0; !writing.done; turn++) {
                assert_true(turn < 10000);
                loop_poll(fixture.loop);
                if (stopped)
                    disk_sim_kill(fixture.disk);
                stopped = false;
            }
            disk_close(fixture.disk);
            disk_sim_stop_at(fixture.device, UINT64_MAX, NULL);
            disk_sim_power_loss(fixture.device, &random);
            assert_int_equal(disk_sim_open(fixture.loop, fixture.device, &fixture.disk), 0);
            int status = identity_check(fixture.disk, &ours, &found);
            assert_true(status == 0 || (status == -ENOENT && writing.status != 0));
            if (status == -ENOENT) {
                assert_int_equal(identity_write(fixture.disk, &ours), 0);
                assert_int_equal(identity_check(fixture.disk, &ours, &found), 0);
            }
            whole = writing.status == 0;
            fixture_destroy(&fixture);
        }
        if (whole)
            break;
        assert_true(point < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_empty_directory_gets_one),
        cmocka_unit_test(test_begun_directory_gets_one),
        cmocka_unit_test(test_others_are_refused),
        cmocka_unit_test(test_files_without_identity_are_refused),
        cmocka_unit_test(test_every_call_fails_in_turn),
        cmocka_unit_test(test_power_loss_at_every_point),
    };
    log_open("journal_identity", "/dev/null"); /* every refusal says why */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
