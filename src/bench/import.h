/* `bench import`: the output of other benchmarks as results of ours. */
#pragma once

#include "bench/options.h"

extern const struct bench_verb bench_import;
