/* The Koyama hash, by which CHFS (Tatebe, Obata, Hiraga and Ohtsuji: "CHFS: Parallel Consistent Hashing File
 * System for Node-local Persistent Memory", HPC Asia 2022; https://github.com/otatebe/chfs) places files on
 * servers.
 *
 * A name that ends in a number is worth that number more than the same name without it: modulo the number of
 * servers, the files file.1, file.2, file.3 of a parallel program lie on one server after the other,
 * perfectly even. It does not spread: similar names have similar values, and many names have the same. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The sum, modulo 2^32, of the numbers that the runs of decimal digits spell, and of the values of all other
 * bytes, as signed ones. */
uint32_t koyama_hash(const void *bytes, size_t length);
