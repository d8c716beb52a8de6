/* `bench md`: metadata operations, as mdtest does them. */
#pragma once

#include "bench/options.h"

extern const struct bench_verb bench_md;
