/* `bench compare`: results beside each other. */
#pragma once

#include "bench/options.h"

extern const struct bench_verb bench_compare;
