/* `bench rpc`: round trips to a server. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_rpc;
