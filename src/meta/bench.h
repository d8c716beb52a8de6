/* Measures the metadata engine alone, for `benchfs bench targets` and for developers. */
#pragma once

#include <stdint.h>

struct meta_bench_result {
    uint64_t files;
    uint64_t directories;
    double create_ns;               /* mean of meta_create_entry */
    double lookup_ns;               /* mean of meta_dentry_find of a random existing name, inode read */
    double inode_ns;                /* mean of meta_inode_find of a random number */
    double remove_ns;               /* mean of meta_dentry_remove + meta_inode_remove in random order */
    uint64_t worst_ns;              /* longest single operation */
    double bytes_per_file;          /* by meta_statistics, beyond the name */
    double resident_bytes_per_file; /* by the kernel, beyond the name */
};

/* Creates `files` files spread over `directories` directories in a fresh engine, finds a million of them in
 * random order, removes all. Takes about 1.5 us and 160 bytes a file. Returns 0; -EINVAL when files < 1 or
 * directories < 1; -ENOMEM; -EIO when the engine answered wrongly. */
int meta_bench(uint64_t files, uint64_t directories, struct meta_bench_result *result);
