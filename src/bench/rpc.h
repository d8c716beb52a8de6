/* `bench rpc`: round trips. */
#pragma once

#include "bench/options.h"

extern const struct bench_verb bench_rpc;
