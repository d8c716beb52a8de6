/* `bench store`: storage engines alone, beside plain system calls in the same directory. */
#pragma once

#include "bench/options.h"

extern const struct bench_verb bench_store;
