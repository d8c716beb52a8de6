/* What a diagnosis says: to people, and as a line among results. */
#pragma once

#include "bench/diagnosis.h"

struct json_t;

/* The sentence, the stages, the limit and the notes, to standard output. setting: what tells it from others
 * of the same target and phase, as in "depth=8"; "": nothing has to. */
void explanation_print(const struct diagnosis *diagnosis, const char *setting);
/* A line of type "explanation" (docs/results.md). A new object. */
struct json_t *explanation_json(const struct result *result, const struct diagnosis *diagnosis);
