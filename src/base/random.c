/* Random numbers of two kinds that must not be confused.
 *
 * random_next is xoshiro256** (David Blackman and Sebastiano Vigna, "Scrambled linear pseudorandom number
 * generators", 2018): fast, of good quality, and a pure function of its seed, so a simulated run can be
 * repeated bit for bit. The 256 bits of state are filled from the 64-bit seed with SplitMix64, as its authors
 * recommend, which also makes the forbidden all-zero state impossible. It is predictable: never use it for a
 * key.
 *
 * random_secure asks the kernel. Without a source of unpredictable bytes nothing that needs a key can go on,
 * and there is no weaker substitute; getrandom(2) cannot fail with valid arguments on the kernels we support
 * except while it is interrupted before its pool is initialised. */
#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t split_mix(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t value = *state;
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

void random_seed(struct random *random, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        random->state[i] = split_mix(&seed);
}

static inline uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

uint64_t random_next(struct random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Daniel Lemire, "Fast random integer generation in an interval", 2019: the high half of a 128-bit product is
 * uniform once the 2^64 mod bound low halves that would be counted twice are rejected. */
uint64_t random_below(struct random *random, uint64_t bound)
{
    assert(bound > 0);
    unsigned __int128 product = (unsigned __int128)random_next(random) * bound;

    if ((uint64_t)product < bound) {
        uint64_t reject = (0 - bound) % bound;
        while ((uint64_t)product < reject)
            product = (unsigned __int128)random_next(random) * bound;
    }
    return (uint64_t)(product >> 64);
}

void random_secure(void *bytes, size_t length)
{
    unsigned char *at = bytes;

    while (length > 0) {
        ssize_t got = getrandom(at, length, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            abort();
        }
        at += got;
        length -= (size_t)got;
    }
}
