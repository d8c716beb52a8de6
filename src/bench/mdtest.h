/* `bench mdtest`: making, looking at and removing many files and directories in a tree, as mdtest does. */
#pragma once

#include <stdbool.h>

#include "bench/content.h"
#include "bench/session.h"
#include "bench/suite.h"

extern const struct suite_workload bench_mdtest;

#define MDTEST_DIRECTORIES_MAX UINT64_C(1000000) /* of a tree */
#define MDTEST_LEVELS_MAX 16u                    /* below its root */

struct mdtest_shape {
    uint64_t files;  /* and directories that each worker makes */
    uint64_t size;   /* bytes written to each file; 0: none, only made */
    uint64_t levels; /* of the tree below its root */
    uint64_t branch; /* directories in each directory but the last level's */
    uint64_t shift;  /* a worker looks at what the one `shift` numbers on has made */
    bool shared;     /* one tree for all, otherwise one for each */
    bool verify;     /* every byte has its own value */
};

/* One worker's part. Files are dealt out to the tree's directories in turn. */
struct mdtest {
    struct session *session;
    const struct mdtest_shape *shape;
    const char *name;     /* of the tree */
    uint64_t directories; /* of a tree, its root among them */
    uint64_t made;        /* files that each worker has made */
    struct content content;
    char *bytes; /* of one file */
    char path[SESSION_PATH_MAX];
};

/* Directories of a tree; 0: more than MDTEST_DIRECTORIES_MAX. */
uint64_t mdtest_directories(uint64_t levels, uint64_t branch);

/* name: of the tree. 0, or -errno after one line on standard error. */
int mdtest_init(struct mdtest *test, struct session *session, const struct mdtest_shape *shape,
                const char *name);
void mdtest_free(struct mdtest *test);

/* Phases, to be called by all workers between crew_phase and crew_phase_end. Each counts what it did and
 * found to be right, in part. 0, or -errno after one line on standard error. */
int mdtest_make_tree(struct mdtest *test, struct crew_part *part);
int mdtest_remove_tree(struct mdtest *test, struct crew_part *part);
int mdtest_make_directories(struct mdtest *test, struct crew_part *part);
int mdtest_stat_directories(struct mdtest *test, struct crew_part *part);
int mdtest_remove_directories(struct mdtest *test, struct crew_part *part);
/* duration, ns: as ior_write's. */
int mdtest_make_files(struct mdtest *test, struct crew_part *part, uint64_t duration, bool *expired);
int mdtest_stat_files(struct mdtest *test, struct crew_part *part);
int mdtest_read_files(struct mdtest *test, struct crew_part *part);
/* Lists the directories and finds each file in them, no more and no less. Counts entries. */
int mdtest_list_files(struct mdtest *test, struct crew_part *part);
int mdtest_remove_files(struct mdtest *test, struct crew_part *part);

/* For those who look for the files: of the tree of that worker (any if it is shared), the path of directory
 * `number`, from 0, its root. */
void mdtest_directory(const struct mdtest *test, uint32_t worker, uint64_t number,
                      char path[SESSION_PATH_MAX]);
/* The name of a worker's file in it. */
void mdtest_name(char *name, size_t size, uint32_t worker, uint64_t number);
/* Takes the name of a file of a tree apart; false: it is none. */
bool mdtest_parse_name(const char *name, uint32_t *worker, uint64_t *number);
