/* Warnings about results that are not what they look like: reads that a cache can have answered, targets that
 * are set up in a way that nobody would measure on purpose, and figures that the machine cannot have given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/result.h"
#include "bench/target.h"

/* Adds to the result what can be said before it is known how fast it was. working_set: bytes of contents at
 * once, 0: none; reads: the phase reads contents. */
void guards_of_target(struct result *result, const struct target_facts *facts, uint64_t working_set,
                      bool reads);
/* And what the calibrated limits of a file say about a settled result: members: how many had a share. */
void guards_of_limits(struct result *result, const struct target_facts *facts,
                      const struct result_file *limits, uint32_t members, bool reads);
