/* `bench ring`: how strategies give partitions to servers. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_ring;
