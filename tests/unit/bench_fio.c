/* fio's output: what is taken from it, and that nothing is taken from what is not it. The real program is run
 * where there is one. */
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "bench/fio.h"
#include "bench/private_cluster.h"

#define READ                                                                                                 \
    "\"read\":{\"bw_bytes\":771366252,\"iops\":735.632184,\"total_ios\":256,\"lat_ns\":{\"mean\":3.5,"       \
    "\"percentile\":{\"50.000000\":10813440}}}"
#define WRITE "\"write\":{\"bw_bytes\":0,\"iops\":0.0,\"total_ios\":0,\"lat_ns\":{\"mean\":0.0}}"
#define OUTPUT(error, read)                                                                                  \
    "{\"fio version\":\"fio-3.33\",\"jobs\":[{\"jobname\":\"reference\",\"error\":" error "," read "," WRITE \
    "}]}\n"

static int parse(const char *text, bool writing, struct fio_result *result)
{
    return fio_parse(text, strlen(text), writing, result);
}

static void a_result_is_read(void **state)
{
    (void)state;
    struct fio_result result;
    assert_int_equal(parse(OUTPUT("0", READ), false, &result), 0);
    assert_int_equal(result.operations, 256);
    assert_true(result.bytes_per_second == 771366252.0);
    assert_true(result.operations_per_second == 735.632184);
    assert_true(result.median_ns == 10813440.0);
}

static void a_failed_job_is_no_result(void **state)
{
    (void)state;
    struct fio_result result = {.operations = 7};
    assert_int_equal(parse(OUTPUT("28", READ), false, &result), -EIO);
    assert_int_equal(result.operations, 7);
}

/* The other direction transferred nothing. */
static void nothing_transferred_is_no_result(void **state)
{
    (void)state;
    struct fio_result result;
    assert_int_equal(parse(OUTPUT("0", READ), true, &result), -EBADMSG);
}

static void other_texts_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "fio: engine not found",
        "[]",
        "{}",
        "{\"jobs\":[]}",
        "{\"jobs\":{}}",
        "{\"jobs\":[1]}",
        "{\"jobs\":[{\"error\":\"0\"," READ "}]}",
        "{\"jobs\":[{" READ "}]}",
        "{\"jobs\":[{\"error\":0," READ "},{\"error\":0," READ "}]}",
        "note: something\n" OUTPUT("0", READ),
        OUTPUT("0", READ) "more",
        OUTPUT("0", "\"read\":3"),
        OUTPUT("0", "\"read\":{\"bw_bytes\":1,\"iops\":1.5,\"total_ios\":1,\"lat_ns\":{\"mean\":1}}"),
        OUTPUT("0", "\"read\":{\"bw_bytes\":1,\"iops\":1.5,\"total_ios\":1.5,\"lat_ns\":{\"percentile\":"
                    "{\"50.000000\":1}}}"),
        OUTPUT("0", "\"read\":{\"bw_bytes\":\"1\",\"iops\":1.5,\"total_ios\":1,\"lat_ns\":{\"percentile\":"
                    "{\"50.000000\":1}}}"),
        OUTPUT("0", "\"read\":{\"bw_bytes\":-1,\"iops\":1.5,\"total_ios\":1,\"lat_ns\":{\"percentile\":"
                    "{\"50.000000\":1}}}"),
    };
    struct fio_result result;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse(texts[i], false, &result) != -EBADMSG)
            fail_msg("taken for a result: %s", texts[i]);
    }
    /* Cut off anywhere it is refused, too. */
    const char *whole = OUTPUT("0", READ);
    for (size_t length = 0; length + 1 < strlen(whole); length++)
        assert_int_equal(fio_parse(whole, length, false, &result), -EBADMSG);
}

static void the_program_transfers(void **state)
{
    (void)state;
    if (!fio_found())
        skip();
    char directory[128];
    struct stat found;
    char path[160];
    struct fio_result result;
    assert_int_equal(private_directory_make(directory, sizeof(directory)), 0);
    struct fio_job job = {.directory = directory,
                          .file = "reference",
                          .writing = true,
                          .block = 4096,
                          .size = 1 << 20,
                          .depth = 4};
    int status = fio_run(&job, 60 * NSEC_PER_SEC, &result);
    if (status == -EIO) { /* a file system without direct transfers, or a kernel without io_uring */
        private_directory_remove(directory);
        skip();
    }
    assert_int_equal(status, 0);
    assert_int_equal(result.operations, 256);
    assert_true(result.median_ns > 0.0 && result.bytes_per_second > 0.0);
    snprintf(path, sizeof(path), "%s/reference", directory);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_size, 1 << 20);
    job.writing = false;
    job.random = true;
    job.duration = 100 * NSEC_PER_MSEC;
    assert_int_equal(fio_run(&job, 60 * NSEC_PER_SEC, &result), 0);
    assert_true(result.operations > 0);
    job.directory = "/nonexistent";
    assert_true(fio_run(&job, 60 * NSEC_PER_SEC, &result) < 0);
    private_directory_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_read),
        cmocka_unit_test(a_failed_job_is_no_result),
        cmocka_unit_test(nothing_transferred_is_no_result),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(the_program_transfers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
