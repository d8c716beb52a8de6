/* Seeded pseudo-random numbers (xoshiro256**, Blackman and Vigna 2018) and unpredictable bytes for keys. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);
uint64_t random_next(struct random *random);

/* Uniform in [0, bound); bound > 0. Unbiased (Lemire 2019). */
uint64_t random_below(struct random *random, uint64_t bound);

/* Fills bytes from the kernel's generator: for keys, nonces and tokens, never for simulated behaviour. */
void random_secure(void *bytes, size_t length);
