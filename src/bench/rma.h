/* `bench rma`: one-sided transfers between two processes. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_rma;
