/* What benchmarks write, so that whoever reads it can tell whether it is right: every byte follows from the
 * seed of its file and its offset in it, whatever the transfers were. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTENT_PERIOD 512u

/* Two kinds. Of the plain kind every 512 bytes begin with a stamp of 8 bytes made from seed and offset, and
 * the rest repeats: it is filled at the speed of memcpy and tells a block of another file, of another place
 * or from before from the right one. Of the other kind every 8 bytes are made from seed and offset. */
struct content {
    bool every_word;
    uint64_t period[CONTENT_PERIOD / 8];
};

void content_init(struct content *content, bool every_word);
/* The bytes of the file with this seed at offset. */
void content_fill(const struct content *content, uint64_t seed, void *bytes, size_t length, uint64_t offset);
/* The same, in a buffer that held bytes of some seed at an offset that is the same modulo 512: writes only
 * what differs. */
void content_stamp(const struct content *content, uint64_t seed, void *bytes, size_t length, uint64_t offset);
/* Makes the buffer one that content_check refuses, so that a read that did not fill it is noticed. all: in
 * each byte, for a check of all of them; otherwise in the stamps. */
void content_wipe(const struct content *content, void *bytes, size_t length, uint64_t offset, bool all);
/* Whether they are that file's bytes. all: compares each; otherwise the stamps. */
bool content_check(const struct content *content, uint64_t seed, const void *bytes, size_t length,
                   uint64_t offset, bool all);
/* The same of all bytes where each may also be 0, as it is in a hole. */
bool content_check_sparse(const struct content *content, uint64_t seed, const void *bytes, size_t length,
                          uint64_t offset);
