/* `bench cache`: what the client remembers of directories. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_cache;
