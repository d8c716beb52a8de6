/* What the subjects share: the order of blocks, and bytes by which each block and generation is recognised.
 *
 * A stamp is 8 bytes that depend on their position and on the generation, one at each 4 KiB of a transfer or
 * (verify) all of it. So a read that brings the bytes of another block, of an earlier pass, or none at all is
 * noticed, at the price of a look at one cache line in 64. */
#include "bench/subject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "bench/options.h"
#include "store/store.h"

#define STAMP_STEP 4096u
#define WORD sizeof(uint64_t)

const struct subject_operations *subject_find(const char *name)
{
    if (strcmp(name, "pwrite") == 0)
        return &subject_pwrite;
    if (strcmp(name, "direct") == 0)
        return &subject_direct;
    return store_engine(name) != NULL ? &subject_engine : NULL;
}

const char *subject_impossible(const struct subject_plan *plan)
{
    if (strcmp(plan->name, "direct") == 0 && plan->size % STAMP_STEP != 0)
        return "transfers past the page cache are multiples of 4 KiB";
    if (strcmp(plan->name, "pwrite") == 0 && plan->depth > 1)
        return "pwrite does one transfer at a time";
    return NULL;
}

int subject_init(struct subject *subject, const struct subject_operations *operations,
                 const struct subject_plan *plan)
{
    *subject = (struct subject){.operations = operations, .plan = plan};
    subject->generations = calloc(plan->blocks, 1);
    return subject->generations == NULL ? -ENOMEM : 0;
}

void subject_end(struct subject *subject)
{
    free(subject->generations);
}

bool subject_next(const struct subject *subject, struct subject_pass *pass, uint64_t *block)
{
    if (pass->failure == 0 && pass->worker != NULL && crew_stopping(pass->worker))
        pass->failure = -ECANCELED;
    if (pass->started == pass->count || pass->failure < 0)
        return false;
    uint64_t n = pass->started++;
    *block =
        (pass->random ? hash_mix(n + ((uint64_t)pass->generation << 40) + 1) : n) % subject->plan->blocks;
    return true;
}

static uint64_t word_at(const struct subject *subject, uint64_t block, uint8_t generation, uint64_t at)
{
    return hash_mix(block * subject->plan->size + at + 1) + generation;
}

static uint64_t step_of(const struct subject *subject)
{
    return subject->plan->verify ? WORD : STAMP_STEP;
}

void subject_stamp(const struct subject *subject, uint64_t block, uint8_t generation, uint64_t at,
                   void *bytes, uint64_t length)
{
    uint64_t step = step_of(subject), end = at + length;
    for (uint64_t place = (at + step - 1) / step * step; place + WORD <= end; place += step) {
        uint64_t word = word_at(subject, block, generation, place);
        memcpy((char *)bytes + (place - at), &word, WORD);
    }
}

bool subject_check(const struct subject *subject, uint64_t block, uint64_t at, const void *bytes,
                   uint64_t length)
{
    uint64_t step = step_of(subject), end = at + length;
    for (uint64_t stamp = (at + step - 1) / step * step; stamp + WORD <= end; stamp += step) {
        uint64_t word = word_at(subject, block, subject->generations[block], stamp);
        if (memcmp((const char *)bytes + (stamp - at), &word, WORD) != 0)
            return false;
    }
    return true;
}

int subject_complain(const struct subject *subject, const char *what, uint64_t block, int status)
{
    bench_error("%s: %s transfer %llu of %llu bytes: %s", subject->plan->name, what,
                (unsigned long long)block, (unsigned long long)subject->plan->size,
                status == -EBADMSG ? "wrong bytes" : status_text(status));
    return status;
}
