/* The frame of a simulator test program: runs cases under seeds.
 *
 *     PROGRAM                fixed seeds, the ones that once failed among them
 *     PROGRAM SEED           that seed (also BENCHFS_SEED=SEED)
 *     PROGRAM FIRST COUNT    a campaign: COUNT seeds from FIRST on, telling only failures and a summary
 *
 * A failure names the seed and the command that replays it. Also understood: BENCHFS_SIM_REPORT=1 tells what
 * each run did, BENCHFS_SIM_SHOW=1 every operation, BENCHFS_SIM_LOG=1 shows what the servers log. */
#pragma once

#include "cluster.h"

struct outcome {
    bool failed;
    char failure[1024];
    uint64_t operations;
    uint64_t trace;        /* hash of everything that happened */
    uint64_t virtual_time; /* that the run took */
};

struct sim_case {
    const char *name;
    void (*run)(uint64_t seed, uint32_t servers, struct outcome *outcome);
    uint32_t servers[4]; /* counts to run with; 0 ends */
};

/* A case's whole run: opens a cluster, lets body work on it, closes it. */
void sim_run(const struct cluster_options *options, void (*body)(struct cluster *cluster),
             struct outcome *outcome);

int sim_main(int argc, char **argv, const struct sim_case *cases, uint32_t case_count, const uint64_t *seeds,
             uint32_t seed_count);
#define SIM_MAIN(argc, argv, cases, seeds)                                                                   \
    sim_main(argc, argv, cases, sizeof(cases) / sizeof *(cases), seeds, sizeof(seeds) / sizeof *(seeds))
