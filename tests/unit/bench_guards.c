/* Warnings come where a result is doubtful, and nowhere else. */
#include "unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/guards.h"

#define MIB (UINT64_C(1) << 20)
#define BEYOND_MEMORY (UINT64_C(1) << 60)

static struct result result;
static struct target_facts facts;

static bool warned(const char *what)
{
    for (uint32_t i = 0; i < result.warning_count; i++) {
        if (strstr(result.warnings[i], what) != NULL)
            return true;
    }
    return false;
}

static void guard(uint64_t working_set, bool reads)
{
    result_init(&result);
    guards_of_target(&result, &facts, working_set, reads);
}

/* Reads of so many bytes from 8 MiB. */
static void guard_size(uint64_t size)
{
    result_init(&result);
    result_number(&result, "size", size);
    guards_of_target(&result, &facts, 8 * MIB, true);
}

static void make_cluster(const char *engine)
{
    memset(&facts, 0, sizeof(facts));
    facts.servers = 1000;
    facts.configured = true;
    config_defaults(&facts.configuration);
    strcpy(facts.configuration.store.engine, engine);
    facts.in_memory = strcmp(engine, "mem") == 0;
}

static void reads_that_a_cache_can_answer(void **state)
{
    (void)state;
    facts = (struct target_facts){.page_cache = true};
    guard(8 * MIB, true);
    assert_true(warned("page cache: 8.0 MiB were just written"));
    guard(8 * MIB, false);
    assert_int_equal(result.warning_count, 0);
    guard(BEYOND_MEMORY, true);
    assert_int_equal(result.warning_count, 0);
    guard(0, true);
    assert_int_equal(result.warning_count, 0);
    facts = (struct target_facts){.page_cache = true, .alignment = 4096};
    guard_size(8192);
    assert_int_equal(result.warning_count, 0);
    guard_size(3901);
    assert_true(warned("page cache, as their size is not aligned: 8.0 MiB were just written"));
    guard(8 * MIB, true); /* nothing tells the size */
    assert_true(warned("page cache, as their size is not aligned"));
    facts = (struct target_facts){.page_cache = true, .through_mount = true};
    guard(BEYOND_MEMORY, true);
    assert_true(warned("FUSE mount"));
    facts = (struct target_facts){.in_memory = true};
    guard(8 * MIB, true);
    assert_int_equal(result.warning_count, 0);
    make_cluster("mem");
    facts.client_cache = true;
    guard(8 * MIB, true);
    assert_true(warned("relaxed"));
}

static void working_sets_that_fit_in_memory(void **state)
{
    (void)state;
    make_cluster("file");
    guard(8 * MIB, true);
    assert_true(warned("fits in the memory of one node"));
    guard(BEYOND_MEMORY, true);
    assert_int_equal(result.warning_count, 0);
    make_cluster("uring"); /* reads past the page cache */
    guard(8 * MIB, true);
    assert_int_equal(result.warning_count, 0);
    make_cluster("tiered");
    guard(8 * MIB, true);
    assert_true(warned("fits in the fast tier"));
    guard(facts.configuration.store.fast_capacity + 1, true);
    assert_int_equal(result.warning_count, 0);
}

static void misconfigured_targets(void **state)
{
    (void)state;
    make_cluster("mem");
    guard(8 * MIB, true);
    assert_int_equal(result.warning_count, 0);
    facts.configuration.store.checksum = false; /* mem has none */
    guard(0, false);
    assert_int_equal(result.warning_count, 0);
    make_cluster("null");
    guard(0, false);
    assert_true(warned("keeps no contents"));
    make_cluster("uring");
    facts.configuration.store.checksum = false;
    facts.configuration.rpc.rendezvous_threshold = 64 * MIB;
    strcpy(facts.configuration.server.log_level, "debug");
    guard(0, false);
    assert_true(warned("checksums are off") && warned("rendezvous") && warned("log everything"));
    make_cluster("mem");
    facts.servers = 1;
    guard(0, false);
    assert_int_equal(warned("1 server on a host of"), sysconf(_SC_NPROCESSORS_ONLN) > 1);
    facts.servers = 0;
    guard(0, false);
    assert_int_equal(result.warning_count, 0);
}

#define LIMIT(name, size, depth, value)                                                                      \
    "{\"type\":\"limit\",\"run\":\"aa\",\"name\":\"" name "\",\"unit\":\"B/s\",\"size\":" size               \
    ",\"depth\":" depth ",\"value\":" value "}\n"

/* Of a result with `rate` B/s by `members`. */
static void limit(const struct result_file *limits, double rate, uint32_t members, bool reads)
{
    result_init(&result);
    result_number(&result, "size", 4096);
    result_number(&result, "depth", 8);
    result.byte_rate.median = rate;
    guards_of_limits(&result, &facts, limits, members, reads);
}

static void figures_that_limits_do_not_allow(void **state)
{
    (void)state;
    static const char text[] =
        "{\"type\":\"run\",\"format\":1,\"id\":\"aa\",\"benchmark\":\"calibrate\"}\n"                 //
        LIMIT("memcpy", "4096", "1", "1e10") LIMIT("memcpy", "1048576", "1", "1e6")                   //
        LIMIT("network-bandwidth", "4096", "1", "1e9") LIMIT("network-bandwidth", "4096", "4", "2e9") //
        LIMIT("network-bandwidth", "4096", "4", "1.5e9")                                              //
        LIMIT("network-bandwidth", "4096", "16", "8e9") LIMIT("device-read", "4096", "1", "1e8");
    struct result_file limits;
    char error[256];
    assert_int_equal(result_file_parse(text, sizeof(text) - 1, &limits, error, sizeof(error)), 0);
    make_cluster("mem");
    limit(&limits, 1.9e9, 1, true); /* below 2e9: of depth 4, the nearest that is not greater */
    assert_int_equal(result.warning_count, 0);
    limit(&limits, 2.1e9, 1, true); /* within what measuring twice may differ */
    assert_int_equal(result.warning_count, 0);
    limit(&limits, 2.5e9, 1, true);
    assert_true(warned("impossible") && warned("network-bandwidth"));
    limit(&limits, 2.5e9, 2, true);
    assert_int_equal(result.warning_count, 0);
    limit(&limits, 1.9e8, 1, true);
    assert_true(warned("only 9.5 % of the measured limit network-bandwidth"));
    limit(&limits, 0.0, 1, true);
    assert_int_equal(result.warning_count, 0);
    facts = (struct target_facts){.page_cache = true};
    limit(&limits, 5e8, 1, true);
    assert_true(warned("impossible") && warned("device-read"));
    limit(&limits, 5e9, 1, false); /* no limit for writing to the device: that of memory */
    assert_int_equal(result.warning_count, 0);
    limit(&limits, 5e8, 1, false); /* little of what memory gives is nothing to warn of */
    assert_int_equal(result.warning_count, 0);
    result_number(&result, "size", 12345);
    guards_of_limits(&result, &facts, &limits, 1, true);
    assert_int_equal(result.warning_count, 0);
    result_file_free(&limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_that_a_cache_can_answer),
        cmocka_unit_test(working_sets_that_fit_in_memory),
        cmocka_unit_test(misconfigured_targets),
        cmocka_unit_test(figures_that_limits_do_not_allow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
