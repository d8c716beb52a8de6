/* Choosing the benchmark. */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

#include "bench/cache.h"
#include "bench/calibrate.h"
#include "bench/caller.h"
#include "bench/compare.h"
#include "bench/hash.h"
#include "bench/import.h"
#include "bench/io.h"
#include "bench/io500.h"
#include "bench/ior.h"
#include "bench/iozone.h"
#include "bench/md.h"
#include "bench/mdtest.h"
#include "bench/meta.h"
#include "bench/mixed.h"
#include "bench/replay.h"
#include "bench/result.h"
#include "bench/ring.h"
#include "bench/rma.h"
#include "bench/ranks.h"
#include "bench/rpc.h"
#include "bench/store.h"
#include "bench/targets.h"

/* Benchmarks of the suite (bench/suite.h), and those that run a loop of their own. */
static const struct suite_workload *const workloads[] = {
    &bench_io,    &bench_md,    &bench_ior,    &bench_mdtest, &bench_iozone,
    &bench_io500, &bench_mixed, &bench_replay, &bench_cache,  &bench_hash,
    &bench_ring,  &bench_rma,   &bench_rpc,    &bench_meta,   &bench_store,
};
static const struct bench_verb *const verbs[] = {
    &bench_targets, &bench_calibrate, &bench_compare, &bench_import, &bench_convert,
};
#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

bool bench_is_workload(const char *name)
{
    for (size_t i = 0; i < WORKLOADS; i++) {
        if (strcmp(name, workloads[i]->name) == 0)
            return true;
    }
    return false;
}

static void print_overview(FILE *out)
{
    fputs("Usage: benchfs bench BENCHMARK [OPTION...]\n\n", out);
    for (size_t i = 0; i < WORKLOADS; i++)
        fprintf(out, "  %-10s %s\n", workloads[i]->name, workloads[i]->help);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->help);
    fputs("\n\"benchfs bench BENCHMARK --help\" lists the options.\n", out);
}

static bool has_argument(int argc, char **argv, const char *wanted)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], wanted) == 0)
            return true;
    }
    return false;
}

/* By all ranks together, if there are any. */
static int run_workload(const struct suite_workload *workload, int argc, char **argv)
{
    bool targets = workload->subject == NULL && !workload->serial;
    bench_error_name(workload->name);
    if (!targets && ranks_expected())
        return ranks_refuse("measures one process: start it without mpirun");
    if (targets && ranks_start(has_argument(argc, argv, "--mpi")) < 0)
        return BENCH_USAGE;
    return ranks_finish(suite_main(workload, argc, argv));
}

int bench_main(int argc, char **argv)
{
    bench_error_name("");
    result_set_command(argc, argv);
    if (argc < 2) {
        bench_error("which benchmark? try \"benchfs bench --help\"");
        return BENCH_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_overview(stdout);
        return BENCH_OK;
    }
    if (strcmp(argv[1], CALLER_VERB) == 0) /* for `targets` alone */
        return caller_main(argc - 1, argv + 1);
    for (size_t i = 0; i < WORKLOADS; i++) {
        if (strcmp(argv[1], workloads[i]->name) == 0)
            return run_workload(workloads[i], argc - 1, argv + 1);
    }
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(argv[1], verbs[i]->name) != 0)
            continue;
        if (ranks_expected())
            return ranks_refuse("this one runs in one process: start it without mpirun");
        int status = bench_options_parse(verbs[i], argc - 1, argv + 1);
        if (status < 0)
            status = verbs[i]->run_with != NULL ? verbs[i]->run_with(argc - 1, argv + 1) : verbs[i]->run();
        return status;
    }
    bench_error("unknown benchmark \"%s\": try \"benchfs bench --help\"", argv[1]);
    return BENCH_USAGE;
}
