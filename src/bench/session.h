/* One worker's work on one target: what the phases of benchmarks are written against. */
#pragma once

#include <stdint.h>

#include "bench/crew.h"
#include "bench/target.h"

#define SESSION_DIRECTORY_MAX 640u
#define SESSION_PATH_MAX 1280u

struct session {
    struct crew_member *worker;
    struct target *target;                 /* open */
    const struct target_operations *call;  /* the target's */
    char directory[SESSION_DIRECTORY_MAX]; /* in it, all workers': to be left as empty as it was */
};

struct suite_member;

/* That of a member of a crew. */
void session_begin(struct session *session, const struct suite_member *member);
/* Says on one line that `what` failed on path; returns status. -ECANCELED is not told: another worker said
 * why. */
int session_fail(const struct session *session, const char *what, const char *path, int status);
/* Writes a path in the directory. */
void session_path(const struct session *session, char path[SESSION_PATH_MAX], const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Calls `each` for the entries of one of `parts` parts of a directory, numbered from 0, which together are
 * all of it. A target that lists directories as a whole is asked for all of it, and the names' hashes say
 * whose they are: so what is done with entries is shared out, the listing itself is not. As the target's
 * `list`. */
int session_list_part(const struct session *session, const char *path, uint32_t part, uint32_t parts,
                      target_entry each, void *argument);
/* Removes all that is in the directory. 0, or -errno after one line on standard error. */
int session_remove_all(const struct session *session);
