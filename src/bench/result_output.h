/* A file that results go to. What was in it before stays until there is something to write, so that a run
 * that does not come about costs nobody his last one. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

struct result_output {
    FILE *file; /* NULL: none is open */
    const char *path;
    bool made; /* it was not there before */
    bool begun;
    int status; /* -errno: it could not be emptied */
};

/* path: borrowed. 0, or -errno: it cannot be written. */
int result_output_open(struct result_output *output, const char *path);
/* To write to; empties it the first time. NULL when none is open. */
FILE *result_output_file(struct result_output *output);
/* A file that was made and never written is removed. 0, or -errno: not all could be written. Harmless when
 * none is open. */
int result_output_close(struct result_output *output);
