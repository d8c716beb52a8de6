/* Contents. All calls walk over the pieces that the multiples of 512 cut out of [offset, offset + length):
 * a transfer may begin and end anywhere. */
#include "bench/content.h"

#include <string.h>

#include "base/hash.h"

/* What stamps of the file begin with. */
static uint64_t mix_seed(uint64_t seed)
{
    return hash_mix(seed + UINT64_C(0x9e3779b97f4a7c15));
}

/* The word at an offset that is a multiple of 8. */
static uint64_t word_at(const struct content *content, uint64_t mixed, uint64_t offset)
{
    if (!content->every_word && offset % CONTENT_PERIOD != 0)
        return content->period[offset % CONTENT_PERIOD / 8];
    return hash_mix(mixed + offset);
}

void content_init(struct content *content, bool every_word)
{
    content->every_word = every_word;
    for (uint64_t i = 0; i < CONTENT_PERIOD / 8; i++)
        content->period[i] = hash_mix(i + 1);
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* What a walk does with each piece of at most one word. Returns false to end it. */
typedef bool (*visit_word)(unsigned char *bytes, const unsigned char *right, size_t length);

static bool put(unsigned char *bytes, const unsigned char *right, size_t length)
{
    memcpy(bytes, right, length);
    return true;
}

static bool wipe(unsigned char *bytes, const unsigned char *right, size_t length)
{
    (void)right;
    memset(bytes, 0, length);
    return true;
}

static bool compare(unsigned char *bytes, const unsigned char *right, size_t length)
{
    return memcmp(bytes, right, length) == 0;
}

static bool compare_sparse(unsigned char *bytes, const unsigned char *right, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != right[i] && bytes[i] != 0)
            return false;
    }
    return true;
}

/* Visits words, `step` bytes from one to the next: 8 for all, CONTENT_PERIOD for the stamps. */
static inline __attribute__((always_inline)) bool walk(const struct content *content, uint64_t seed,
                                                       unsigned char *bytes, size_t length, uint64_t offset,
                                                       uint64_t step, visit_word visit)
{
    uint64_t end = offset + length, mixed = mix_seed(seed);
    for (uint64_t at = offset / step * step; at < end; at += step) {
        uint64_t word = word_at(content, mixed, at);
        if (at >= offset && end - at >= 8) {
            if (!visit(bytes + (at - offset), (const unsigned char *)&word, 8))
                return false;
            continue;
        }
        uint64_t from = at < offset ? offset : at;
        if (from >= at + 8)
            continue;
        size_t count = smaller((size_t)(at + 8 - from), (size_t)(end - from));
        if (!visit(bytes + (from - offset), (const unsigned char *)&word + (from - at), count))
            return false;
    }
    return true;
}

void content_fill(const struct content *content, uint64_t seed, void *bytes, size_t length, uint64_t offset)
{
    if (content->every_word) {
        walk(content, seed, bytes, length, offset, 8, put);
        return;
    }
    for (size_t done = 0; done < length;) {
        size_t in_period = (size_t)((offset + done) % CONTENT_PERIOD);
        size_t count = smaller(CONTENT_PERIOD - in_period, length - done);
        memcpy((char *)bytes + done, (const char *)content->period + in_period, count);
        done += count;
    }
    walk(content, seed, bytes, length, offset, CONTENT_PERIOD, put);
}

void content_stamp(const struct content *content, uint64_t seed, void *bytes, size_t length, uint64_t offset)
{
    walk(content, seed, bytes, length, offset, content->every_word ? 8 : CONTENT_PERIOD, put);
}

void content_wipe(const struct content *content, void *bytes, size_t length, uint64_t offset, bool all)
{
    if (all)
        memset(bytes, 0, length);
    else
        walk(content, 0, bytes, length, offset, CONTENT_PERIOD, wipe);
}

/* What lies between two stamps, of the plain kind. */
static bool check_rest(const struct content *content, const char *bytes, size_t length, uint64_t offset)
{
    for (size_t done = 0; done < length;) {
        size_t in_period = (size_t)((offset + done) % CONTENT_PERIOD);
        size_t count = smaller(CONTENT_PERIOD - in_period, length - done);
        size_t stamp = in_period < 8 ? smaller(8 - in_period, count) : 0;
        if (memcmp(bytes + done + stamp, (const char *)content->period + in_period + stamp, count - stamp) !=
            0)
            return false;
        done += count;
    }
    return true;
}

bool content_check(const struct content *content, uint64_t seed, const void *bytes, size_t length,
                   uint64_t offset, bool all)
{
    unsigned char *read = (unsigned char *)(uintptr_t)bytes;
    if (content->every_word)
        return walk(content, seed, read, length, offset, all ? 8 : CONTENT_PERIOD, compare);
    return walk(content, seed, read, length, offset, CONTENT_PERIOD, compare) &&
           (!all || check_rest(content, bytes, length, offset));
}

bool content_check_sparse(const struct content *content, uint64_t seed, const void *bytes, size_t length,
                          uint64_t offset)
{
    return walk(content, seed, (unsigned char *)(uintptr_t)bytes, length, offset, 8, compare_sparse);
}
