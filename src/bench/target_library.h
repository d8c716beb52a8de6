/* Client libraries of other file systems, loaded when they are measured: this program neither needs them to
 * be built nor to run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A call of the library, and where its address goes. */
struct target_symbol {
    const char *name;
    size_t offset; /* in the caller's struct of function pointers */
};

struct target_library {
    const char *scheme;                  /* for messages: "chfs:" */
    const char *file;                    /* "libchfs.so": looked for where the loader looks */
    const char *variable;                /* of the environment: a path that goes before that */
    const char *needed;                  /* a library whose calls it uses without naming it; or NULL */
    const struct target_symbol *symbols; /* all of them are needed; the first tells which library of
                                          * --library is meant; ends with name NULL */
};

/* Loads the library, once, and fills in `calls`. 0, or -errno after one line on standard error: it is missing
 * (-ENOENT) or lacks a call (-ENOSYS). */
int target_library_load(const struct target_library *library, void *calls);

/* Whether `connect` succeeds, tried in a process of its own, because such libraries end the process when no
 * server answers. 0, or -EHOSTDOWN after one line on standard error with what the library said last. */
int target_library_try(const struct target_library *library, bool (*connect)(void));
