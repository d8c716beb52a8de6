/* The benchmarks of single parts: that they tell what is true of each, and count what they did.
 */
#include "unit/unit.h"

#include <math.h>
#include <stdbool.h>

#include "bench/private_cluster.h"
#include "bench/spread.h"
#include "unit/bench_run.h"

/* cmocka compares floats, not doubles. */
static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.12g is not %.12g", value, expected);
}

static void evenness_of_counts(void **state)
{
    (void)state;
    struct spread spread;
    spread_measure((const uint32_t[]){3, 3, 3, 3}, 4, &spread);
    assert_near(spread.most_of_mean, 1.0, 1e-12);
    assert_near(spread.deviation, 0.0, 1e-12);
    assert_near(spread.surplus, -3.0 / 2.449489743, 1e-6); /* (0 - 3) / sqrt(6) */
    assert_int_equal(spread.empty, 0);
    spread_measure((const uint32_t[]){0, 2, 4, 2}, 4, &spread);
    assert_near(spread.mean, 2.0, 1e-12);
    assert_near(spread.most_of_mean, 2.0, 1e-12);
    assert_near(spread.least_of_mean, 0.0, 1e-12);
    assert_near(spread.deviation, 0.70710678, 1e-6); /* sqrt(8 / 4) / 2 */
    assert_near(spread.surplus, (4.0 - 3.0) / 2.449489743, 1e-6);
    assert_int_equal(spread.empty, 1);
}

static void hashes_are_told_apart(void **state)
{
    (void)state;
    json_t *results = bench_results(
        "hash --hash xxhash64,md5,koyama --size 8,64 --total 64KiB --names 65536 --repeats 2 --json");
    assert_int_equal(json_array_size(results), 3 * (2 + 4));
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "xxhash64" : "md5";
        const json_t *files = bench_result(results, "file", "hash", name);
        assert_true(bench_measure(files, "surplus") < 4.0 && bench_measure(files, "surplus") > -4.0);
        assert_true(bench_measure(files, "modulo_surplus") < 4.0);
        assert_int_equal(bench_number(files, "operations"), 2 * 65536);
        const json_t *flips = bench_result(results, "avalanche", "hash", name);
        assert_near(bench_measure(flips, "flips_mean"), 0.5, 0.005);
        assert_true(bench_measure(flips, "flips_least") > 0.45 && bench_measure(flips, "flips_most") < 0.55);
    }
    /* Files in a row are even modulo anything, and everything is in the first partition. */
    const json_t *files = bench_result(results, "file", "hash", "koyama");
    assert_near(bench_measure(files, "modulo_max_mean"), 1.0, 1e-9);
    assert_near(bench_measure(files, "max_mean"), 16384.0, 1e-9);
    const json_t *speed = bench_result(results, "speed", "hash", "md5");
    assert_int_equal(bench_number(speed, "operations"), 2 * 8192);
    assert_int_equal(bench_number(speed, "bytes"), 2 * 65536);
    assert_true(bench_measure(speed, "ns_per_key") > 0.0);
    json_decref(results);
}

static void rings_are_told_apart(void **state)
{
    (void)state;
    json_t *results = bench_results("ring --hash xxhash64,koyama --servers 16 --time 0 --repeats 1 --json");
    /* consistent and bounded without koyama, round_robin once */
    assert_int_equal(json_array_size(results), 1 + 1 + 2 + 2 + 1);
    const json_t *consistent = bench_result(results, "build", "ring", "consistent");
    assert_true(bench_measure(consistent, "max_mean") > 1.02 && bench_measure(consistent, "max_mean") < 1.3);
    assert_near(bench_measure(consistent, "leave_excess"), 1.0, 1e-9);
    assert_true(bench_measure(consistent, "join_moved") < 0.09);
    assert_int_equal(bench_number(consistent, "operations"), 1);
    const json_t *turns = bench_result(results, "build", "ring", "round_robin");
    assert_near(bench_measure(turns, "max_mean"), 1.0, 1e-9);
    assert_true(bench_measure(turns, "leave_moved") > 0.9);
    assert_null(json_object_get(json_object_get(turns, "parameters"), "hash"));
    assert_true(bench_measure(turns, "map_bytes") > bench_measure(consistent, "map_bytes"));
    json_decref(results);
}

static void metadata_is_counted(void **state)
{
    (void)state;
    json_t *results = bench_results("meta --files 20000 --directories 3 --lookups 100 --repeats 2 --json");
    static const struct {
        const char *phase;
        uint64_t operations;
    } expected[] = {{"create", 40000}, {"lookup", 200}, {"stat", 200}, {"list", 40000}, {"remove", 40000}};
    assert_int_equal(json_array_size(results), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *result = bench_result(results, expected[i].phase, NULL, NULL);
        assert_non_null(result);
        assert_int_equal(bench_number(result, "operations"), expected[i].operations);
        assert_true(bench_measure(result, "ns_per_operation") > 0.0);
    }
    const json_t *create = bench_result(results, "create", NULL, NULL);
    assert_true(bench_measure(create, "bytes_per_file") > 100.0);
    assert_true(bench_measure(create, "worst_ns") > 0.0 && bench_number(create, "p50_ns") > 0.0);
    json_decref(results);
}

static void one_sided_transfers_are_counted(void **state)
{
    (void)state;
    json_t *results =
        bench_results("rma --size 8,64KiB --depth 1,4 --total 1MiB --footprint 256KiB --repeats 2 --time 10s "
                      "--json");
    assert_int_equal(json_array_size(results), 2 * (2 + 2 + 1));
    size_t i;
    const json_t *result;
    json_array_foreach(results, i, result)
    {
        const json_t *parameters = json_object_get(result, "parameters");
        double size = bench_number(parameters, "size");
        assert_true(bench_number(result, "bytes") == 2.0 * (1 << 20));
        assert_true(bench_number(result, "operations") == 2.0 * (1 << 20) / size);
        assert_true(bench_number(result, "p50_ns") > 0.0);
        bool copy = strcmp(json_string_value(json_object_get(result, "phase")), "copy") == 0;
        assert_true((json_object_get(parameters, "depth") == NULL) == copy);
    }
    json_decref(results);
}

static void round_trips_are_counted(void)
{
    json_t *results =
        bench_results("rpc --size 0,100,70000 --depth 1,4 --count 200 --raw --repeats 1 --json");
    /* ping; eager up to 64 KiB; fetched from 1 KiB on */
    assert_int_equal(json_array_size(results), 2 * (3 + 2 + 1));
    size_t i;
    const json_t *result;
    json_array_foreach(results, i, result)
    {
        const json_t *parameters = json_object_get(result, "parameters");
        double operations = bench_number(result, "operations"), size = bench_number(parameters, "size");
        assert_true(operations >= 16.0 && (size > 100.0 || operations == 200.0));
        assert_true(bench_number(result, "bytes") == operations * size);
        assert_true(bench_number(result, "p50_ns") > 0.0);
        if (strcmp(json_string_value(json_object_get(result, "phase")), "ping") == 0 && size > 0.0)
            assert_true(bench_measure(result, "rendezvous") == (size > 32768.0));
    }
    json_decref(results);
    bench_fails("rpc --target posix:/tmp", 2, "benchfs:");
    bench_fails("rpc --raw --processes 2", 2, "--raw");
}

/* 20 directories two deep below that of the member, which is one deep: "/bench-cache.X/0/3/1/f". */
static void hits_and_misses_are_counted(void)
{
    json_t *results =
        bench_results("cache --directories 20 --tree-depth 2 --skew 0,0.9 --calls 300 --repeats 1 --json");
    assert_int_equal(json_array_size(results), 4 + 1);
    const json_t *cold = bench_result(results, "cold", NULL, NULL);
    assert_int_equal(bench_number(cold, "operations"), 20);
    /* 20 leaves in directories of 5 (4 are used), and the two above. */
    assert_near(bench_measure(cold, "misses_per_call"), (20.0 + 4.0 + 2.0) / 20.0, 1e-9);
    const json_t *hit = bench_result(results, "hit", NULL, NULL);
    assert_near(bench_measure(hit, "hit_rate"), 1.0, 1e-9);
    assert_int_equal(bench_number(hit, "operations"), 300);
    const json_t *miss = bench_result(results, "miss", NULL, NULL);
    assert_near(bench_measure(miss, "hit_rate"), 0.0, 1e-9);
    assert_near(bench_measure(miss, "misses_per_call"), 4.0, 1e-9);
    const json_t *walk = bench_result(results, "walk", "skew", "0.9");
    assert_true(bench_measure(walk, "hit_rate") > 0.9);
    assert_non_null(bench_result(results, "walk", "skew", "0"));
    json_decref(results);
    bench_fails("cache --skew x", 2, "--skew");
    bench_fails("cache --target posix:/tmp", 2, "benchfs:");
}

static void a_cluster_is_measured(void **state)
{
    (void)state;
    struct private_cluster cluster;
    const int pin[] = {-1, -1};
    assert_int_equal(private_cluster_start(&cluster, 2, pin, UINT64_C(32) << 20), 0);
    setenv("BENCHFS_CLUSTER", cluster.file, 1);
    unsetenv("BENCHFS_SERVERS");
    round_trips_are_counted();
    hits_and_misses_are_counted();
    private_cluster_stop(&cluster);
}

static void wrong_names_are_refused(void **state)
{
    (void)state;
    bench_fails("hash --hash sha1", 2, "not \"sha1\"");
    bench_fails("ring --ring star", 2, "not \"star\"");
    bench_fails("ring --hash sha1", 2, "not \"sha1\"");
    bench_fails("meta --files 2 --directories 3", 2, "--directories");
    bench_fails("rma --size 1MiB --footprint 64KiB", 2, "--footprint");
    bench_fails("rma --size 8 --transports tcp,pigeon", 2, "no transport \"pigeon\"");
    bench_fails("ring --servers 0", 2, "--servers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evenness_of_counts),
        cmocka_unit_test(hashes_are_told_apart),
        cmocka_unit_test(rings_are_told_apart),
        cmocka_unit_test(metadata_is_counted),
        cmocka_unit_test(one_sided_transfers_are_counted),
        cmocka_unit_test(a_cluster_is_measured),
        cmocka_unit_test(wrong_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
