/* `benchfs bench`: the benchmark suite. */
#pragma once

#include <stdbool.h>

/* Runs `benchfs bench rpc|io|md|targets ...`; argv[0] is "bench". Returns the exit status: 0, 1 (something
 * failed, or a target is missed), 2 (the command line makes no sense; one line says why). */
int bench_main(int argc, char **argv);
/* Whether a benchmark of the suite has this name. */
bool bench_is_workload(const char *name);
