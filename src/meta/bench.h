/* Measures the metadata engine alone, for `benchfs bench meta`, `benchfs bench targets` and developers. */
#pragma once

#include <stdint.h>

#include "metrics/histogram.h"

/* Steps over the files of an engine. */
enum meta_bench_step {
    META_BENCH_CREATE, /* meta_create_entry, in ascending order of names; the first step, and only once */
    META_BENCH_LOOKUP, /* meta_lookup of a random existing name, inode read */
    META_BENCH_STAT,   /* meta_inode_find of a random number */
    META_BENCH_LIST,   /* meta_directory_walk of all directories; one operation is one entry */
    META_BENCH_REMOVE, /* meta_lookup, meta_dentry_remove and meta_inode_remove in random order; of all
                          files it is the last step */
};

/* Time is the thread's processor time in the engine: neither the making of names nor what else the machine
 * does is in it. */
struct meta_bench_timing {
    uint64_t *progress; /* NULL, or counted up by the operations that are done */
    struct histogram
        *latency; /* NULL, or gets the ns of single operations, of 4096 in every 32768; not of list */
    uint64_t operations;
    double mean_ns;
    uint64_t worst_ns; /* of those in `latency` */
};

struct meta_bench;

/* An empty engine for `files` files spread over `directories` directories, with memory reserved. Returns 0;
 * -EINVAL when files < 1 or directories < 1; -ENOMEM. */
int meta_bench_create(uint64_t files, uint64_t directories, struct meta_bench **bench);
void meta_bench_destroy(struct meta_bench *bench);
/* Does a step with `count` of the files (list: with all). timing is added to. Returns 0; -ENOMEM; -EIO when
 * the engine answered wrongly. */
int meta_bench_run(struct meta_bench *bench, enum meta_bench_step step, uint64_t count,
                   struct meta_bench_timing *timing);
/* Memory for each file beyond its name, once all are there: by meta_statistics, and by the kernel. */
void meta_bench_memory(const struct meta_bench *bench, double *bytes, double *resident);

struct meta_bench_result {
    uint64_t files;
    uint64_t directories;
    double create_ns; /* means of the steps */
    double lookup_ns;
    double inode_ns;
    double remove_ns;
    uint64_t worst_ns; /* longest single operation */
    double bytes_per_file;
    double resident_bytes_per_file;
};

/* All steps but list; of lookup and stat a million. Takes about 1.5 us and 160 bytes a file. Results as
 * above. */
int meta_bench(uint64_t files, uint64_t directories, struct meta_bench_result *result);
