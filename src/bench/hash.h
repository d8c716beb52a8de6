/* `bench hash`: how fast hash functions are, and how they spread names. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_hash;
