/* `bench io`: reading and writing. */
#pragma once

#include "bench/options.h"

extern const struct bench_verb bench_io;
