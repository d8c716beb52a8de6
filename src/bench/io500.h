/* `bench io500`: IO500's phases in their order, and the score by its formula. Never a submission: that takes
 * IO500's own program, 300 seconds a phase, and its rules. */
#pragma once

#include "bench/suite.h"

extern const struct suite_workload bench_io500;

/* X(id, name, what of it counts in the score: BANDWIDTH or RATE) in IO500's order. */
#define IO500_PHASES(X)                                                                                      \
    X(IOR_EASY_WRITE, "ior-easy-write", BANDWIDTH)                                                           \
    X(MDTEST_EASY_WRITE, "mdtest-easy-write", RATE)                                                          \
    X(IOR_HARD_WRITE, "ior-hard-write", BANDWIDTH)                                                           \
    X(MDTEST_HARD_WRITE, "mdtest-hard-write", RATE)                                                          \
    X(FIND, "find", RATE)                                                                                    \
    X(IOR_EASY_READ, "ior-easy-read", BANDWIDTH)                                                             \
    X(MDTEST_EASY_STAT, "mdtest-easy-stat", RATE)                                                            \
    X(IOR_HARD_READ, "ior-hard-read", BANDWIDTH)                                                             \
    X(MDTEST_HARD_STAT, "mdtest-hard-stat", RATE)                                                            \
    X(MDTEST_EASY_DELETE, "mdtest-easy-delete", RATE)                                                        \
    X(MDTEST_HARD_READ, "mdtest-hard-read", RATE)                                                            \
    X(MDTEST_HARD_DELETE, "mdtest-hard-delete", RATE)

enum io500_phase {
#define X(id, name, kind) IO500_##id,
    IO500_PHASES(X)
#undef X
        IO500_PHASE_COUNT
};

extern const char *const io500_phase_names[IO500_PHASE_COUNT];

struct io500_score {
    double bandwidth; /* GiB/s: geometric mean of the four bandwidths */
    double metadata;  /* 1,000 operations/s: geometric mean of the eight rates */
    double score;     /* geometric mean of these two */
};

/* values: GiB/s or 1,000 operations/s of each phase. All 0 if one of them is not greater than 0. */
struct io500_score io500_score(const double values[IO500_PHASE_COUNT]);
