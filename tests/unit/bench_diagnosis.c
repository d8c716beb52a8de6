/* Explanations: a delay in each stage is found and named, from made-up figures and from calls over the
 * simulated network; what the data do not tell is not made up. */
#include "unit/unit.h"

#include "unit/rpc_fixture.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/diagnosis.h"
#include "bench/stages.h"
#include "net/sim.h"

#define SECOND 1000000000.0

static struct diagnosis diagnosis;

/* ---- made up ---- */

/* A result of `operations` that were one request each, with so many ns in each stage. */
struct made {
    struct result result;
    struct result_run run;
    json_t *line;
};

struct times {
    uint64_t library, client_queue, wire, server_queue, handler, storage, reply;
};

static json_t *histogram_of(uint64_t value, uint64_t count)
{
    static struct histogram histogram;
    histogram_init(&histogram);
    for (uint64_t i = 0; i < count; i++)
        histogram_record(&histogram, value);
    return result_latency_json(&histogram);
}

static void make(struct made *made, const struct times *times, uint64_t count, uint64_t bytes)
{
    uint64_t wire = times->wire + times->reply; /* which is a part of it */
    uint64_t total = times->client_queue + wire + times->server_queue + times->handler + times->storage;
    memset(made, 0, sizeof(*made));
    result_init(&made->result);
    made->result.run = "0123456789abcdef";
    made->result.benchmark = "io";
    made->result.target = "benchfs:";
    made->result.phase = "write";
    made->result.latency = malloc(sizeof(*made->result.latency));
    histogram_init(made->result.latency);
    for (uint64_t i = 0; i < count; i++)
        histogram_record(made->result.latency, total + times->library);
    if (bytes > 0)
        result_number(&made->result, "size", bytes);
    if (count > 0)
        result_add_repeat(&made->result, (double)(count * (total + times->library + 1)) / SECOND, count,
                          count * bytes, 0);
    result_settle(&made->result);
    made->result.stages =
        json_pack("{so so so so so so so}", "total", histogram_of(total, count), "client_queue",
                  histogram_of(times->client_queue, count), "wire", histogram_of(wire, count), "server_queue",
                  histogram_of(times->server_queue, count), "handler", histogram_of(times->handler, count),
                  "storage", histogram_of(times->storage, count), "reply", histogram_of(times->reply, count));
    made->result.operations_by_rpc =
        json_pack("{s{sI}}", bytes > 0 ? "WRITE_CHUNK" : "LOOKUP", "count", (json_int_t)count);
    made->line = json_pack("{s[s] s{s{s{ss}}}}", "transports", "shm", "configuration", "benchfs:", "store",
                           "engine", "mem");
    made->run.json = made->line;
}

static void unmake(struct made *made)
{
    result_free(&made->result);
    json_decref(made->line);
}

static const struct result_limit some_limits[] = {
    {.name = "memcpy",
     .unit = "B/s",
     .transport = "",
     .size = 4096,
     .depth = 1,
     .value = 50e9,
     .low = 40e9,
     .high = 50e9},
    {.name = "memcpy",
     .unit = "B/s",
     .transport = "",
     .size = 1 << 20,
     .depth = 1,
     .value = 10e9,
     .low = 9e9,
     .high = 10e9},
    {.name = "network-latency",
     .unit = "ns",
     .transport = "shm",
     .size = 64,
     .depth = 1,
     .value = 1000,
     .low = 1000,
     .high = 1200},
    {.name = "network-latency",
     .unit = "ns",
     .transport = "ucx",
     .size = 64,
     .depth = 1,
     .value = 8000,
     .low = 8000,
     .high = 8100},
    {.name = "device-iops-write",
     .unit = "op/s",
     .transport = "",
     .size = 4096,
     .depth = 1,
     .value = 20000,
     .low = 20000,
     .high = 20000},
    {.name = "fsync",
     .unit = "ns",
     .transport = "",
     .size = 4096,
     .depth = 1,
     .value = 200000,
     .low = 200000,
     .high = 200000},
    {.name = "wakeup", .unit = "ns", .transport = "", .value = 30000, .low = 30000, .high = 30000},
};
static const struct limits limits = {sizeof(some_limits) / sizeof(some_limits[0]), some_limits};
static const struct limits none;

static void made_up_delays_are_named(void **state)
{
    (void)state;
    static const struct {
        struct times times;
        uint64_t bytes;
        enum diagnosis_stage stage;
        enum diagnosis_resource resource;
        const char *words;
    } cases[] = {
        {{90000, 1, 1000, 0, 500, 0, 100},
         0,
         DIAGNOSIS_LIBRARY,
         RESOURCE_CLIENT_PROCESSOR,
         "outside of requests"},
        {{500, 90000, 1000, 0, 500, 0, 100}, 0, DIAGNOSIS_CLIENT_QUEUE, RESOURCE_CREDITS, "client's queue"},
        {{500, 0, 90000, 0, 500, 0, 100}, 0, DIAGNOSIS_WIRE, RESOURCE_LATENCY, "way there and back"},
        {{500, 0, 1000, 90000, 500, 0, 100},
         0,
         DIAGNOSIS_SERVER_QUEUE,
         RESOURCE_SERVER_QUEUE,
         "server's queue"},
        {{500, 0, 1000, 0, 90000, 0, 100}, 0, DIAGNOSIS_HANDLER, RESOURCE_SERVER_PROCESSOR, "handler"},
        {{500, 0, 1000, 0, 500, 90000, 100}, 1 << 20, DIAGNOSIS_STORAGE, RESOURCE_MEMORY, "storage"},
        {{500, 0, 1000, 0, 500, 0, 90000}, 1 << 20, DIAGNOSIS_REPLY, RESOURCE_MEMORY, "sending the reply"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct made made;
        make(&made, &cases[i].times, 1000, cases[i].bytes);
        assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
        assert_int_equal(diagnosis.outcome, DIAGNOSIS_DECIDED);
        assert_int_equal(diagnosis.top, cases[i].stage);
        assert_int_equal(diagnosis.tail, cases[i].stage);
        assert_int_equal(diagnosis.resource, cases[i].resource);
        assert_non_null(strstr(diagnosis.verdict, cases[i].words));
        assert_true(diagnosis.parts[cases[i].stage].share50 > 0.9 &&
                    diagnosis.parts[cases[i].stage].share50 <= 1.0);
        unmake(&made);
    }
}

/* Processes that wait for processors make every stage longer but those that wait for something else. */
static void more_processes_than_processors_are_named(void **state)
{
    (void)state;
    static const struct {
        struct times times;
        enum diagnosis_resource client, server; /* who waits */
    } cases[] = {
        {{.library = 90000, .wire = 1000}, RESOURCE_PROCESSORS, RESOURCE_CLIENT_PROCESSOR},
        {{.wire = 90000, .handler = 1000}, RESOURCE_PROCESSORS, RESOURCE_PROCESSORS},
        {{.wire = 1000, .handler = 90000}, RESOURCE_SERVER_PROCESSOR, RESOURCE_PROCESSORS},
        {{.client_queue = 90000, .wire = 1000}, RESOURCE_CREDITS, RESOURCE_CREDITS},
    };
    for (size_t i = 0; i < 3 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct made made;
        bool server = i % 3 == 1, enough = i % 3 != 2;
        make(&made, &cases[i / 3].times, 1000, 0);
        made.result.counters =
            json_pack("{s{sIsI}}", server ? "server" : "client", "processor_ns", (json_int_t)1000000,
                      "processor_wait_ns", (json_int_t)(enough ? 3000000 : 900000));
        assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
        enum diagnosis_resource named = server ? cases[i / 3].server : cases[i / 3].client;
        if (enough)
            assert_int_equal(diagnosis.resource, named);
        else
            assert_int_not_equal(diagnosis.resource, RESOURCE_PROCESSORS);
        if (diagnosis.resource == RESOURCE_PROCESSORS)
            assert_non_null(strstr(diagnosis.verdict, "for 75 % of the time"));
        unmake(&made);
    }
}

static bool noted(const char *words)
{
    bool found = false;
    for (uint32_t i = 0; i < diagnosis.note_count; i++)
        found = found || strstr(diagnosis.notes[i], words) != NULL;
    return found;
}

static void the_distance_to_the_limit_is_right(void **state)
{
    (void)state;
    struct made made;
    /* 1 MiB in 200 us: 5.2 of 10 GB/s. */
    make(&made, &(struct times){.handler = 180000, .wire = 20000}, 1000, 1 << 20);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.resource, RESOURCE_MEMORY);
    assert_true(diagnosis.held && diagnosis.limit_exact);
    assert_true(diagnosis.ratio > 0.51 && diagnosis.ratio < 0.54);
    assert_non_null(strstr(diagnosis.verdict, "0.52 of what this memory copies"));
    /* What is left of it is as well a matter of memory: nothing follows. */
    assert_int_equal(diagnosis.next, RESOURCE_UNKNOWN);
    assert_int_equal(diagnosis.ceiling_count, 2);
    assert_string_equal(diagnosis.ceilings[0].name, "network-latency");
    assert_true(diagnosis.ceilings[0].ops_per_s > 0.99e6 && diagnosis.ceilings[0].ops_per_s < 1.01e6);
    assert_true(diagnosis.ceilings[1].ops_per_s > 9500 && diagnosis.ceilings[1].ops_per_s < 9600);
    unmake(&made);

    make(&made, &(struct times){.wire = 2000, .handler = 1000}, 1000, 0);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.resource, RESOURCE_LATENCY);
    assert_true(diagnosis.ratio > 0.49 && diagnosis.ratio < 0.51);
    assert_int_equal(diagnosis.next, RESOURCE_SERVER_PROCESSOR);
    assert_true(diagnosis.gain > 2.9 && diagnosis.gain < 3.1);
    assert_true(noted("next limit would be"));
    assert_int_equal(diagnose(&made.result, &made.run, &none, &diagnosis), 0);
    assert_false(diagnosis.held);
    assert_non_null(strstr(diagnosis.verdict, "not known"));
    unmake(&made);

    /* What takes less than 1 % is next, but nobody wants to hear of it. */
    make(&made, &(struct times){.wire = 20000, .handler = 100}, 1000, 0);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.next, RESOURCE_SERVER_PROCESSOR);
    assert_false(noted("next limit would be"));
    unmake(&made);
}

static void what_the_servers_did_decides(void **state)
{
    (void)state;
    struct made made;
    const struct times times = {.wire = 50000, .handler = 1000};
    make(&made, &times, 1000, 0);
    made.result.servers =
        json_pack("[{sIsIsf}{sIsIsf}]", "id", (json_int_t)0, "requests", (json_int_t)500, "busy", 0.97, "id",
                  (json_int_t)1, "requests", (json_int_t)500, "busy", 0.95);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.resource, RESOURCE_SERVER_PROCESSOR);
    assert_true(diagnosis.ratio > 0.96 && diagnosis.ratio < 0.98);
    json_decref(made.result.servers);
    made.result.servers =
        json_pack("[{sIsIsf}{sIsIsf}]", "id", (json_int_t)0, "requests", (json_int_t)900, "busy", 0.97, "id",
                  (json_int_t)1, "requests", (json_int_t)100, "busy", 0.1);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.resource, RESOURCE_IMBALANCE);
    assert_true(diagnosis.measured > 1.79 && diagnosis.measured < 1.81);
    json_decref(made.result.servers);
    made.result.servers = NULL;
    made.result.counters = json_pack("{s{sI}}", "client", "loop_blocks", (json_int_t)900);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.resource, RESOURCE_WAKEUP);
    unmake(&made);

    make(&made, &(struct times){.wire = 1000, .handler = 50000}, 1000, 0);
    made.result.servers =
        json_pack("[{sIsIsf}]", "id", (json_int_t)0, "requests", (json_int_t)2000, "busy", 0.3);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.resource, RESOURCE_SYNCHRONISATION);
    unmake(&made);

    make(&made, &(struct times){.wire = 1000, .storage = 100000}, 1000, 4096);
    json_decref(made.line);
    made.run.json = made.line = json_pack("{s[s] s{s{s{ss}}}}", "transports", "tcp", "configuration",
                                          "benchfs:", "store", "engine", "uring");
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.resource, RESOURCE_DEVICE_OPERATIONS);
    assert_true(diagnosis.ratio > 0.48 && diagnosis.ratio < 0.51);
    unmake(&made);
}

static void what_is_not_known_is_not_made_up(void **state)
{
    (void)state;
    struct made made;
    make(&made, &(struct times){.wire = 5000, .handler = 4900}, 1000, 0); /* as good as equal */
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_UNDECIDED);
    assert_non_null(strstr(diagnosis.verdict, "do not decide"));
    unmake(&made);

    make(&made, &(struct times){.wire = 5000}, 1, 0); /* one sample */
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_UNDECIDED);
    assert_non_null(strstr(diagnosis.verdict, "1 requests are too few"));
    unmake(&made);

    make(&made, &(struct times){.storage = 5000}, 1000,
         0); /* a reply that was longer than the way it is a part of */
    json_object_set_new(made.result.stages, "reply", histogram_of(4000, 1000));
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.top, DIAGNOSIS_STORAGE);
    assert_int_equal(diagnosis.parts[DIAGNOSIS_REPLY].p50, 0);
    unmake(&made);

    make(&made, &(struct times){0}, 1000, 0); /* nothing took any time */
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_UNDECIDED);
    for (int stage = 0; stage < DIAGNOSIS_STAGES; stage++)
        assert_true(diagnosis.parts[stage].share50 >= 0.0 && diagnosis.parts[stage].share50 <= 1.0);
    unmake(&made);

    make(&made, &(struct times){.wire = 5000}, 0, 0); /* nothing happened */
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_NOTHING);
    unmake(&made);

    struct result plain;
    result_init(&plain);
    plain.target = "posix:/x";
    plain.phase = "read";
    assert_int_equal(diagnose(&plain, NULL, &none, &diagnosis), 0);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_NOTHING);
    assert_non_null(strstr(diagnosis.verdict, "not BenchFS"));
    result_free(&plain);
}

static void a_noisy_rate_is_told(void **state)
{
    (void)state;
    struct made made;
    make(&made, &(struct times){.wire = 5000}, 1000, 0);
    for (int i = 0; i < 4; i++)
        result_add_repeat(&made.result, 0.001 * (1 + 3 * i), 1000, 0, 0);
    result_settle(&made.result);
    assert_int_equal(diagnose(&made.result, &made.run, &limits, &diagnosis), 0);
    assert_true(noted("within noise"));
    unmake(&made);
}

static void limits_are_found_between_sizes(void **state)
{
    (void)state;
    struct result_limit limit;
    bool exact;
    assert_true(
        limits_find(&limits, &(struct limit_query){.name = "memcpy", .size = 1 << 20}, &limit, &exact));
    assert_true(exact && limit.value > 9.99e9 && limit.value < 10.01e9);
    assert_true(
        limits_find(&limits, &(struct limit_query){.name = "memcpy", .size = 1 << 16}, &limit, &exact));
    assert_true(!exact && limit.value > 22.3e9 && limit.value < 22.5e9); /* the geometric mean */
    assert_true(
        limits_find(&limits, &(struct limit_query){.name = "memcpy", .size = 1 << 25}, &limit, &exact));
    assert_true(!exact && limit.value < 10.1e9);
    assert_true(limits_find(&limits,
                            &(struct limit_query){.name = "network-latency", .transport = "ucx", .size = 64},
                            &limit, &exact));
    assert_true(limit.value > 7999);
    assert_false(limits_find(&limits, &(struct limit_query){.name = "network-latency", .transport = "roce"},
                             &limit, &exact));
    assert_false(limits_find(&none, &(struct limit_query){.name = "memcpy"}, &limit, &exact));
}

/* ---- calls over the simulated network ---- */

#define CALLS 200u

struct world {
    struct fixture fixture;
    struct sim_network *network;
    uint64_t storage_ns;
    uint32_t running;
};

static struct world *world;

static void slow_handler(void *owner, struct rpc_request *request)
{
    (void)owner;
    struct empty_body nothing;
    task_sleep(world->fixture.loop, 1000 + world->fixture.delay_ns);
    rpc_storage_begin(request);
    task_sleep(world->fixture.loop, 1000 + world->storage_ns);
    rpc_storage_end(request);
    rpc_reply(request, 0, &nothing, 0, NULL, 0);
}

static int open_world(void **state)
{
    (void)state;
    const struct sim_options calm = {.delay_min_ns = 1000, .delay_max_ns = 2000};
    world = calloc(1, sizeof(*world));
    struct fixture *fixture = &world->fixture;
    log_threshold = LOG_ERROR;
    assert_int_equal(loop_create(&(struct loop_options){.simulated = true, .seed = 4711}, &fixture->loop), 0);
    assert_int_equal(sim_network_create(fixture->loop, &calm, &world->network), 0);
    assert_int_equal(net_sim_create(world->network, "server", &fixture->server_net), 0);
    assert_int_equal(net_sim_create(world->network, "client", &fixture->client_net), 0);
    fixture_serve(fixture, fixture_key);
    rpc_register(fixture->server, RPC_SHUT_DOWN, slow_handler);
    assert_int_equal(rpc_listen(fixture->server, "server:0", fixture->address), 0);
    fixture_call(fixture, fixture_key, UINT32_MAX);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    rpc_destroy(world->fixture.client);
    rpc_destroy(world->fixture.server);
    net_destroy(world->fixture.client_net);
    net_destroy(world->fixture.server_net);
    sim_network_destroy(world->network);
    loop_destroy(world->fixture.loop);
    free(world);
    return 0;
}

static void ask(void *argument)
{
    (void)argument;
    struct rpc_call call = {.operation = RPC_SHUT_DOWN};
    assert_int_equal(rpc_call(world->fixture.peer, &call), 0);
    world->running--;
}

/* CALLS requests, so many at a time; what they say. */
static void explain_calls(uint32_t at_a_time)
{
    struct stages *stages;
    struct stages_before *before = NULL;
    struct result result;
    struct loop *loop = world->fixture.loop;
    assert_int_equal(stages_create(1, &stages), 0);
    world->running = 1;
    assert_int_equal(task_spawn(loop, ask, NULL), 0); /* connects */
    fixture_until(&world->fixture, world->running == 0);
    stages_come(stages, 0, loop_metrics(loop), &before);
    for (uint32_t i = 0; i < CALLS; i += at_a_time) {
        for (uint32_t k = 0; k < at_a_time; k++, world->running++)
            assert_int_equal(task_spawn(loop, ask, NULL), 0);
        fixture_until(&world->fixture, world->running == 0);
    }
    metrics_settle(loop_metrics(loop));
    stages_leave(stages, 0, loop_metrics(loop), &before);
    result_init(&result);
    result.target = "benchfs:";
    result.phase = "calls";
    result.operations = CALLS;
    stages_describe(stages, 0, &result);
    assert_non_null(result.stages);
    assert_int_equal(diagnose(&result, NULL, &none, &diagnosis), 0);
    result_free(&result);
    stages_free(stages);
}

static void a_slow_network_is_found(void **state)
{
    (void)state;
    const struct sim_options slow = {.delay_min_ns = 500000, .delay_max_ns = 900000};
    sim_network_options(world->network, &slow);
    explain_calls(1);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_DECIDED);
    assert_int_equal(diagnosis.top, DIAGNOSIS_WIRE);
}

static void exhausted_credits_are_found(void **state)
{
    (void)state;
    world->fixture.delay_ns = 100000;
    explain_calls(CALLS); /* so that most of them wait for several others */
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_DECIDED);
    assert_int_equal(diagnosis.top, DIAGNOSIS_CLIENT_QUEUE);
    assert_int_equal(diagnosis.resource, RESOURCE_CREDITS);
}

static void a_slow_handler_is_found(void **state)
{
    (void)state;
    world->fixture.delay_ns = 300000;
    explain_calls(1);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_DECIDED);
    assert_int_equal(diagnosis.top, DIAGNOSIS_HANDLER);
}

static void a_slow_store_is_found(void **state)
{
    (void)state;
    world->storage_ns = 300000;
    explain_calls(1);
    assert_int_equal(diagnosis.outcome, DIAGNOSIS_DECIDED);
    assert_int_equal(diagnosis.top, DIAGNOSIS_STORAGE);
}

static void a_pause_leaves_nothing_behind(void **state)
{
    (void)state;
    struct metrics *metrics = loop_metrics(world->fixture.loop);
    __atomic_store_n(&metrics->header->paused, 1, __ATOMIC_RELAXED);
    world->running = 1;
    assert_int_equal(task_spawn(world->fixture.loop, ask, NULL), 0);
    fixture_until(&world->fixture, world->running == 0);
    assert_int_equal(metrics->head, 0);
    __atomic_store_n(&metrics->header->paused, 0, __ATOMIC_RELAXED);
    world->running = 1;
    assert_int_equal(task_spawn(world->fixture.loop, ask, NULL), 0);
    fixture_until(&world->fixture, world->running == 0);
    assert_int_equal(metrics->head, 2); /* at either end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_up_delays_are_named),
        cmocka_unit_test(more_processes_than_processors_are_named),
        cmocka_unit_test(the_distance_to_the_limit_is_right),
        cmocka_unit_test(what_the_servers_did_decides),
        cmocka_unit_test(what_is_not_known_is_not_made_up),
        cmocka_unit_test(a_noisy_rate_is_told),
        cmocka_unit_test(limits_are_found_between_sizes),
        cmocka_unit_test_setup_teardown(a_slow_network_is_found, open_world, close_world),
        cmocka_unit_test_setup_teardown(exhausted_credits_are_found, open_world, close_world),
        cmocka_unit_test_setup_teardown(a_slow_handler_is_found, open_world, close_world),
        cmocka_unit_test_setup_teardown(a_slow_store_is_found, open_world, close_world),
        cmocka_unit_test_setup_teardown(a_pause_leaves_nothing_behind, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
