/* `bench io`: reading and writing. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_io;
