/* The benchfs command: what its verbs share. */
#pragma once

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/client.h"

/* Exit codes: all was done; something failed; the command line makes no sense. fsck has its own. */
enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct verb {
    const char *name;
    const char *usage;                 /* arguments, after "benchfs name" */
    const char *help;                  /* one line for the overview */
    const char *text;                  /* the rest of its --help */
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns a cli_exit */
};

extern const struct verb verb_start, verb_stop, verb_status, verb_top, verb_trace;
extern const struct verb verb_ls, verb_find, verb_stat, verb_cat;
extern const struct verb verb_mkdir, verb_rmdir, verb_rm, verb_cp, verb_pin;
extern const struct verb verb_mount, verb_run;
extern const struct verb verb_fsck, verb_scrub;
extern const struct verb verb_bench, verb_report, verb_explain;

/* ---- messages (message.c) ---- */

/* The verb that runs, for messages. */
extern const struct verb *cli_verb;

/* "benchfs VERB: text" on standard error, above a progress bar if there is one. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with a hint at --help; returns CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A whole number as the argument of an option. CLI_OK and *number, or CLI_USAGE after a message. */
int cli_number(const char *option, const char *text, uint64_t most, uint64_t *number);
void cli_print_help(const struct verb *verb);

struct option;
/* getopt_long that reports unknown options and missing arguments, and answers --help (-h unless short_options
 * has it). Returns an option, -1 at the end, or '?' when the verb must return *result. Declare --help in
 * long_options by CLI_HELP. */
int cli_option(int argc, char **argv, const char *short_options, const struct option *long_options,
               int *result);
#define CLI_OPTION_HELP 1000
#define CLI_HELP                                                                                             \
    {                                                                                                        \
        "help", no_argument, NULL, CLI_OPTION_HELP                                                           \
    }

/* Flushes standard output; CLI_FAILED with a message when it could not be written. */
int cli_finish_output(int result);

/* ---- paths (path.c) ---- */

#define CLI_PREFIX "benchfs:"
#define CLI_PATH_SIZE (PATH_LENGTH_MAX + 1)

bool path_has_prefix(const char *argument);
/* The absolute path inside BenchFS that an argument names, with or without prefix; NULL after a usage
 * message. */
const char *path_parse(const char *argument);
/* directory/name in path (CLI_PATH_SIZE bytes). 0 or -ENAMETOOLONG. */
int path_join(const char *directory, const char *name, char *path);
/* Last component, "/" for the root; trailing slashes do not count. Returns its length. */
size_t path_base(const char *path, const char **base);

/* "-rwxr-xr-x" from mode bits. */
void mode_text(uint32_t mode, char text[11]);

/* ---- a connection to the file system (session.c) ---- */

struct benchfs;

struct session {
    struct benchfs *fs;
    struct client *client;
    struct loop *loop;
};

/* Connects by BENCHFS_SERVERS, BENCHFS_CLUSTER or the default path. 0, or -errno with the reason printed. */
int session_open(struct session *session);
/* The same without a word. */
int session_try(struct session *session);
void session_close(struct session *session);

/* Calls `each` for every argument from optind on, in one session; all have to be paths, and there has to be
 * one: else "no WHAT given". `each` returns a cli_exit and has said why it failed; the others are tried all
 * the same. Returns a cli_exit. */
int session_for_each(int argc, char **argv, const char *what,
                     int (*each)(const struct session *session, const char *path, void *argument),
                     void *argument);

/* ---- many operations at once (pool.c) ---- */

/* Runs jobs as tasks, at most `width` at a time, on the session's loop. */
struct pool {
    struct loop *loop;
    struct semaphore room;
    struct wait_group running;
};

void pool_init(struct pool *pool, struct loop *loop, uint32_t width);
/* Waits for room, then starts run(argument) as a task. 0, or -ENOMEM: it will not run. */
int pool_start(struct pool *pool, void (*run)(void *argument), void *argument);
void pool_wait(struct pool *pool);
