/* `bench meta`: the metadata engine alone, without servers and network. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_meta;
