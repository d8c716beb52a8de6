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

/* Returns whether all was well; otherwise says what was not, and how to see it again. */
static bool run_once(const struct run *run, uint64_t *operations)
{
    struct outcome outcome = {0};
    run->sim_case->run(run->seed, run->servers, &outcome);
    *operations += outcome.operations;
    if (getenv("BENCHFS_SIM_REPORT") != NULL)
        fprintf(stderr, "# %s: %llu operations, %.3f s of virtual time, trace %016llx\n", run->name,
                (unsigned long long)outcome.operations, (double)outcome.virtual_time * 1e-9,
                (unsigned long long)outcome.trace);
    if (outcome.failed)
        fprintf(stderr, "%s: %s\nreplay with: %s %llu\n", run->name, outcome.failure, run->program,
                (unsigned long long)run->seed);
    return !outcome.failed;
}

static void run_test_case(void **state)
{
    uint64_t operations = 0;
    assert_true(run_once(*state, &operations));
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 0);
}

static void run_name(struct run *run, const char *program, const struct sim_case *sim_case, uint64_t seed,
                     uint32_t servers)
{
    *run = (struct run){.sim_case = sim_case, .program = program, .seed = seed, .servers = servers};
    snprintf(run->name, sizeof run->name, "%s, servers=%u, seed=%llu", sim_case->name, servers,
             (unsigned long long)seed);
}

static int campaign(const char *program, const struct sim_case *cases, uint32_t case_count, uint64_t first,
                    uint64_t count)
{
    uint64_t runs = 0, failed = 0, operations = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        for (uint32_t c = 0; c < case_count; c++) {
            for (uint32_t n = 0; n < 4 && cases[c].servers[n] != 0; n++) {
                struct run run;
                run_name(&run, program, &cases[c], seed, cases[c].servers[n]);
                runs++;
                failed += !run_once(&run, &operations);
            }
        }
    }
    printf("%s: seeds %llu to %llu: %llu runs, %llu operations, %llu failed\n", program,
           (unsigned long long)first, (unsigned long long)(first + count - 1), (unsigned long long)runs,
           (unsigned long long)operations, (unsigned long long)failed);
    return failed != 0;
}

/* Under ASan every third seed, for it is several times as slow. */
#ifdef __SANITIZE_ADDRESS__
#define SEED_STRIDE 3
#else
#define SEED_STRIDE 1
#endif

int sim_main(int argc, char **argv, const struct sim_case *cases, uint32_t case_count, const uint64_t *seeds,
             uint32_t seed_count)
{
    const char *chosen = argc > 1 ? argv[1] : getenv("BENCHFS_SEED");
    uint64_t seed = chosen != NULL ? number(chosen) : 0;
    /* Servers report killed peers and refused requests; here that is what is being tried. */
    if (getenv("BENCHFS_SIM_LOG") == NULL)
        log_open("sim", "/dev/null");
    if (argc > 2)
        return campaign(argv[0], cases, case_count, seed, number(argv[2]));

    size_t most = (size_t)seed_count * case_count * 4 + 4 * (size_t)case_count;
    struct run *runs = calloc(most, sizeof *runs);
    struct CMUnitTest *tests = calloc(most, sizeof *tests);
    size_t made = 0;
    if (runs == NULL || tests == NULL)
        return 99;
    for (uint32_t s = 0; s < (chosen != NULL ? 1 : seed_count); s += SEED_STRIDE) {
        for (uint32_t c = 0; c < case_count; c++) {
            for (uint32_t n = 0; n < 4 && cases[c].servers[n] != 0; n++) {
                struct run *run = &runs[made];
                run_name(run, argv[0], &cases[c], chosen != NULL ? seed : seeds[s], cases[c].servers[n]);
                tests[made++] =
                    (struct CMUnitTest){.name = run->name, .test_func = run_test_case, .initial_state = run};
            }
        }
    }
    int failed = _cmocka_run_group_tests(cases[0].name, tests, made, NULL, NULL);
    free(tests);
    free(runs);
    return failed != 0;
}
