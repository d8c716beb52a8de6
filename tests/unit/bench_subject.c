/* What `bench store` measures: each block and generation is told from every other, and wrong bytes are found
 * wherever they are read. */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/private_cluster.h"
#include "bench/subject.h"

#define SIZE 12288u
#define BLOCKS 10u

static struct subject_plan plan = {
    .size = SIZE, .blocks = BLOCKS, .depth = 4, .chunk_size = 65536, .capacity = 16u << 20, .sync = true};

static void names_are_found(void **state)
{
    (void)state;
    assert_ptr_equal(subject_find("pwrite"), &subject_pwrite);
    assert_ptr_equal(subject_find("direct"), &subject_direct);
    assert_ptr_equal(subject_find("mem"), &subject_engine);
    assert_null(subject_find("Mem"));
    assert_null(subject_find(""));
}

static void what_cannot_be_measured_says_why(void **state)
{
    (void)state;
    struct subject_plan odd = {.name = "direct", .size = 47008, .depth = 1};
    assert_non_null(subject_impossible(&odd));
    odd.name = "file";
    assert_null(subject_impossible(&odd));
    odd.name = "pwrite";
    assert_null(subject_impossible(&odd));
    odd.depth = 2;
    assert_non_null(subject_impossible(&odd));
}

static void passes_visit_blocks(void **state)
{
    (void)state;
    struct subject subject;
    assert_int_equal(subject_init(&subject, &subject_pwrite, &plan), 0);
    struct subject_pass pass = {.count = BLOCKS};
    uint64_t block, count = 0;
    while (subject_next(&subject, &pass, &block))
        assert_int_equal(block, count++);
    assert_int_equal(count, BLOCKS);
    pass = (struct subject_pass){.random = true, .count = 1000};
    bool seen[BLOCKS] = {false};
    for (count = 0; subject_next(&subject, &pass, &block); count++) {
        assert_true(block < BLOCKS);
        seen[block] = true;
    }
    assert_int_equal(count, 1000);
    for (unsigned i = 0; i < BLOCKS; i++)
        assert_true(seen[i]);
    pass = (struct subject_pass){.count = 5, .failure = -EIO};
    assert_false(subject_next(&subject, &pass, &block));
    subject_end(&subject);
}

static void stamps_differ(void **state)
{
    (void)state;
    for (int verify = 0; verify <= 1; verify++) {
        struct subject subject;
        struct subject_plan own = plan;
        char bytes[SIZE];
        own.verify = verify;
        assert_int_equal(subject_init(&subject, &subject_pwrite, &own), 0);
        memset(bytes, 'b', sizeof(bytes));
        subject_stamp(&subject, 3, 2, 0, bytes, 4096);
        subject_stamp(&subject, 3, 2, 4096, bytes + 4096, SIZE - 4096); /* in parts, as vectors hold it */
        assert_false(subject_check(&subject, 3, 0, bytes, SIZE));       /* nothing was written yet */
        subject.generations[3] = subject.generations[4] = 2;
        assert_true(subject_check(&subject, 3, 0, bytes, SIZE));
        assert_true(subject_check(&subject, 3, 4000, bytes + 4000, 5000)); /* a part, as a vector holds it */
        assert_false(subject_check(&subject, 4, 0, bytes, SIZE));
        assert_false(subject_check(&subject, 3, 0, bytes + 4096, SIZE - 4096));
        subject.generations[3] = 3;
        assert_false(subject_check(&subject, 3, 0, bytes, SIZE));
        subject.generations[3] = 2;
        bytes[8192 + (verify ? 100 : 7)] ^= 1;
        assert_false(subject_check(&subject, 3, 0, bytes, SIZE));
        subject_end(&subject);
    }
}

static int run(struct subject *subject, struct subject_pass pass)
{
    static struct crew_part part;
    histogram_init(&part.latency);
    part.operations = part.bytes = 0;
    pass.count = BLOCKS;
    int status = subject->operations->run(subject, &pass, &part);
    if (status == 0) {
        assert_int_equal(part.operations, BLOCKS);
        assert_int_equal(part.bytes, BLOCKS * SIZE);
    }
    return status;
}

/* Through each of them; a file that something else changes is noticed. */
static void wrong_bytes_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {"mem", "null", "file", "pwrite", "direct"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char directory[128], path[160];
        struct subject *subject;
        assert_int_equal(private_directory_make(directory, sizeof(directory)), 0);
        plan.name = names[i];
        plan.directory = directory;
        int status = subject_find(names[i])->open(&plan, &subject);
        if (status == -EINVAL && strcmp(names[i], "direct") == 0) { /* not on this file system */
            private_directory_remove(directory);
            continue;
        }
        assert_int_equal(status, 0);
        assert_int_equal(run(subject, (struct subject_pass){.writing = true, .generation = 1}), 0);
        assert_int_equal(run(subject, (struct subject_pass){0}), 0);
        assert_int_equal(
            run(subject, (struct subject_pass){.writing = true, .random = true, .generation = 2}), 0);
        assert_int_equal(run(subject, (struct subject_pass){.random = true}), 0);
        snprintf(path, sizeof(path), "%s/plain", directory);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            assert_int_equal(pwrite(fd, "wrong", 5, 5 * SIZE), 5);
            assert_int_equal(fdatasync(fd), 0);
            close(fd);
            assert_int_equal(run(subject, (struct subject_pass){0}), -EBADMSG);
        }
        assert_int_equal(fd >= 0, i >= 3);
        subject->operations->close(subject);
        private_directory_remove(directory);
        assert_int_equal(access(directory, F_OK), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),       cmocka_unit_test(what_cannot_be_measured_says_why),
        cmocka_unit_test(passes_visit_blocks),   cmocka_unit_test(stamps_differ),
        cmocka_unit_test(wrong_bytes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
