/* `bench store`: storage engines alone, beside plain system calls in the same directory. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_store;
