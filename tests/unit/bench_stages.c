/* Where the time of a phase went: only what was gained in it counts, of the cluster's servers alone, and what
 * could not be looked at is told. */
#include "unit/unit.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/stages.h"
#include "metrics/files.h"
#include "rpc/operations.h"

#define CLUSTER "127.0.0.1:4711"

static char top[] = "/tmp/bench-stages.XXXXXX";
static struct metrics *client, *server, *stranger;
static struct stages *stages;
static struct sources sources;

static int set_up(void **state)
{
    (void)state;
    strcpy(top + sizeof(top) - 7, "XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(metrics_create(NULL, 64, &client, NULL), 0);
    assert_int_equal(metrics_create(top, 64, &server, NULL), 0);
    assert_int_equal(metrics_create(top, 64, &stranger, NULL), 0);
    metrics_identify(client, METRICS_ROLE_CLIENT, UINT32_MAX, CLUSTER);
    metrics_identify(server, METRICS_ROLE_SERVER, 3, CLUSTER);
    metrics_identify(stranger, METRICS_ROLE_SERVER, 4, "127.0.0.1:1");
    assert_int_equal(stages_create(2, &stages), 0);
    static const char *const addresses[] = {CLUSTER};
    static const uint32_t ids[] = {3};
    const struct sources_options options = {.directory = top, .addresses = addresses, .ids = ids, .count = 1};
    assert_int_equal(sources_open(&options, &sources), 0);
    return 0;
}

static int tear_down(void **state)
{
    char path[METRICS_PATH_MAX];
    (void)state;
    stages_free(stages);
    sources_close(&sources);
    metrics_destroy(client);
    metrics_destroy(server);
    metrics_destroy(stranger);
    metrics_directory(top, path);
    rmdir(path);
    return rmdir(top);
}

static struct sources *look(void)
{
    assert_int_equal(sources_refresh(&sources), 0);
    return &sources;
}

static void call(struct metrics *metrics, uint8_t operation, uint32_t bytes, uint32_t handler)
{
    metrics_record(metrics, &(struct metrics_entry){.operation = operation,
                                                    .kind = METRICS_CALL,
                                                    .total_ns = 10000,
                                                    .server_queue_ns = 1000,
                                                    .handler_ns = handler,
                                                    .bytes = bytes});
    metrics_settle(metrics);
}

static void serve(struct metrics *metrics, uint8_t operation, uint32_t bytes, uint32_t reply)
{
    metrics_record(metrics, &(struct metrics_entry){.operation = operation,
                                                    .kind = METRICS_SERVED,
                                                    .total_ns = 5000,
                                                    .reply_ns = reply,
                                                    .bytes = bytes});
    metrics_settle(metrics);
}

static int64_t number(const json_t *json, const char *name)
{
    assert_true(json_is_integer(json_object_get(json, name)));
    return json_integer_value(json_object_get(json, name));
}

static void only_what_a_phase_gained_counts(void **state)
{
    (void)state;
    struct stages_before *before = NULL;
    struct result result;
    for (int i = 0; i < 5; i++) {
        call(client, RPC_WRITE_CHUNK, 4096, 7);
        serve(server, RPC_WRITE_CHUNK, 4096, 7);
    }
    stages_come(stages, 1, client, &before);
    stages_begin(stages, 1, look());
    for (int i = 0; i < 3; i++) {
        call(client, RPC_WRITE_CHUNK, 4096, 2000);
        serve(server, RPC_WRITE_CHUNK, 4096, 100);
        serve(stranger, RPC_WRITE_CHUNK, 4096, 100);
        serve(server, RPC_READ_METRICS, 4096, 100);
    }
    metrics_add(client, METRIC_LEASE_HITS, 9);
    metrics_add(server, METRIC_LOOP_BUSY, 300);
    metrics_add(server, METRIC_LOOP_IDLE, 700);
    stages_leave(stages, 1, client, &before);
    assert_null(before);
    stages_end(stages, 1, look());
    assert_int_equal(stages_settle(stages), 0);
    call(client, RPC_WRITE_CHUNK, 4096, 7);

    result_init(&result);
    stages_describe(stages, 0, &result);
    assert_null(result.stages);
    assert_null(result.servers);
    result.bytes = 3 * 4096;
    stages_describe(stages, 1, &result);
    assert_int_equal(result.warning_count, 0);
    struct histogram histogram;
    assert_int_equal(result_latency_parse(json_object_get(result.stages, "handler"), &histogram), 0);
    assert_int_equal(histogram.count, 3);
    assert_in_range(histogram.minimum, 1980, 2020);
    assert_int_equal(result_latency_parse(json_object_get(result.stages, "storage"), &histogram), 0);
    assert_int_equal(histogram.count, 3); /* of nothing */
    assert_int_equal(histogram.maximum, 0);
    assert_int_equal(result_latency_parse(json_object_get(result.stages, "wire"), &histogram), 0);
    assert_in_range(histogram_quantile(&histogram, 0.5), 6930, 7070);
    assert_int_equal(result_latency_parse(json_object_get(result.stages, "reply"), &histogram), 0);
    assert_int_equal(histogram.count, 3);
    assert_int_equal(histogram.maximum, 100);
    const json_t *write = json_object_get(result.operations_by_rpc, "WRITE_CHUNK");
    assert_int_equal(number(write, "count"), 3);
    assert_int_equal(number(write, "bytes"), 3 * 4096);
    assert_int_equal(json_array_size(result.servers), 1);
    const json_t *one = json_array_get(result.servers, 0);
    assert_int_equal(number(one, "id"), 3);
    assert_int_equal(number(one, "requests"), 3);
    assert_true(json_real_value(json_object_get(one, "busy")) > 0.299 &&
                json_real_value(json_object_get(one, "busy")) < 0.301);
    assert_int_equal(number(json_object_get(result.counters, "client"), "lease_hits"), 9);
    result_free(&result);
}

/* A phase that moves data is told by its transfers, unless other requests take a tenth of the time. */
static void transfers_tell_of_a_phase_that_moves_data(void **state)
{
    struct result result;
    (void)state;
    for (uint32_t phase = 0; phase < 2; phase++) {
        struct stages_before *before = NULL;
        stages_come(stages, phase, client, &before);
        for (int i = 0; i < 20; i++)
            call(client, RPC_READ_CHUNK, 4096, 1);
        for (uint32_t i = 0; i < 1 + 2 * phase; i++)
            call(client, RPC_OPEN, 0, 1);
        stages_leave(stages, phase, client, &before);
        result_init(&result);
        result.bytes = 20 * 4096;
        stages_describe(stages, phase, &result);
        assert_int_equal(number(json_object_get(result.stages, "total"), "count"), phase == 0 ? 20 : 23);
        assert_int_equal(json_object_size(result.operations_by_rpc), 2);
        result_free(&result);
    }
    stages_clear(stages);
    result_init(&result);
    stages_describe(stages, 0, &result);
    assert_null(result.stages);
    result_free(&result);
}

static void a_server_that_ended_is_missed(void **state)
{
    struct result result;
    (void)state;
    stages_begin(stages, 0, look());
    metrics_destroy(server);
    server = NULL;
    stages_end(stages, 0, look());
    result_init(&result);
    stages_describe(stages, 0, &result);
    assert_int_equal(result.warning_count, 1);
    assert_non_null(strstr(result.warnings[0], "do not tell all"));
    result_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_what_a_phase_gained_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transfers_tell_of_a_phase_that_moves_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_ended_is_missed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
