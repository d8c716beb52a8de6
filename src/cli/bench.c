/* bench: handed on to the benchmark suite. */
#include "bench/bench.h"
#include "cli/cli.h"

const struct verb verb_bench = {
    .name = "bench",
    .usage = "rpc|io|md|store|targets [OPTION...]",
    .help = "Measure",
    .text = "\"benchfs bench --help\" lists the benchmarks.\n",
    .run = bench_main,
};
