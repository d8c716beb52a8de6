/* Seeds to tests: every case under every seed with every number of servers is one cmocka test, so that the
 * one that fails is named and counted alone. */
#include "seeds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct run {
    const struct sim_case *sim_case;
    const char *program;
    uint64_t seed;
    uint32_t servers;
    char name[128];
};

void sim_run(const struct cluster_options *options, void (*body)(struct cluster *cluster),
             struct outcome *outcome)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    if (cluster == NULL) {
        outcome->failed = true;
        return;
    }
    cluster_open(cluster, options);
    uint64_t started = loop_now(cluster->loop);
    if (!cluster->failed)
        body(cluster);
    outcome->trace = sim_trace_hash(cluster->network);
    outcome->virtual_time = loop_now(cluster->loop) - started;
    cluster_close(cluster);
    outcome->operations = cluster->operations;
    outcome->failed = cluster->failed;
    memcpy(outcome->failure, cluster->failure, sizeof outcome->failure);
    free(cluster);
}

static void run_case(void **state)
{
    const struct run *run = *state;
    struct outcome outcome = {0};
    run->sim_case->run(run->seed, run->servers, &outcome);
    if (getenv("BENCHFS_SIM_REPORT") != NULL)
        fprintf(stderr, "# %s: %llu operations, %.3f s of virtual time, trace %016llx\n", run->name,
                (unsigned long long)outcome.operations, (double)outcome.virtual_time * 1e-9,
                (unsigned long long)outcome.trace);
    if (outcome.failed) {
        print_error("%s: %s\nreplay with: %s %llu\n", run->name, outcome.failure, run->program,
                    (unsigned long long)run->seed);
        fail();
    }
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 0);
}

int sim_main(int argc, char **argv, const struct sim_case *cases, uint32_t case_count, const uint64_t *seeds,
             uint32_t seed_count)
{
    const char *first = argc > 1 ? argv[1] : getenv("BENCHFS_SEED");
    const char *many = argc > 2 ? argv[2] : getenv("BENCHFS_SEEDS");
    uint32_t count = seed_count;
    if (many != NULL)
        count = (uint32_t)number(many);
    else if (first != NULL)
        count = 1;
    bool given = first != NULL || many != NULL;
    uint64_t from = first != NULL ? number(first) : 1;

    struct run *runs = calloc((size_t)count * case_count * 4 + 1, sizeof *runs);
    struct CMUnitTest *tests = calloc((size_t)count * case_count * 4 + 1, sizeof *tests);
    size_t made = 0;
    if (runs == NULL || tests == NULL)
        return 99;
    for (uint32_t s = 0; s < count; s++) {
        for (uint32_t c = 0; c < case_count; c++) {
            for (uint32_t n = 0; n < 4 && cases[c].servers[n] != 0; n++) {
                struct run *run = &runs[made];
                run->sim_case = &cases[c];
                run->program = argv[0];
                run->seed = given ? from + s : seeds[s];
                run->servers = cases[c].servers[n];
                snprintf(run->name, sizeof run->name, "%s, servers=%u, seed=%llu", cases[c].name,
                         run->servers, (unsigned long long)run->seed);
                tests[made++] =
                    (struct CMUnitTest){.name = run->name, .test_func = run_case, .initial_state = run};
            }
        }
    }
    /* Servers report killed peers and refused requests; here that is what is being tried. */
    if (getenv("BENCHFS_SIM_LOG") == NULL)
        log_open("sim", "/dev/null");
    log_threshold = LOG_INFO;
    int failed = _cmocka_run_group_tests(cases[0].name, tests, made, NULL, NULL);
    free(tests);
    free(runs);
    return failed != 0;
}
