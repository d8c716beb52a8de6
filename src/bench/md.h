/* `bench md`: metadata operations, as mdtest does them. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_md;
