/* `bench mdtest`. Each worker makes, looks at and removes --files directories and then as many files, in a
 * tree of its own or in one that all share. Two modes give what IO500's phases of these names do:
 *
 *   easy   empty files, a tree of each worker's own
 *   hard   files of 3,901 bytes, one tree for all */
#include "bench/mdtest.h"

#include <errno.h>
#include <string.h>

static const char *mode = "easy";
static uint64_t files = 1000, size, levels, branch = 1, in_each, shift = 1;
static bool shared_tree, verify;

static const struct bench_option options[] = {
    {"mode", BENCH_TEXT, &mode, 0, 0, "MODE", "easy, hard: what is not given otherwise [easy]"},
    {"files", BENCH_NUMBER, &files, 1, 100000000, "N", "files, and directories, of each worker"},
    {"files-per-directory", BENCH_NUMBER, &in_each, 0, 100000000, "N",
     "instead: of each worker in each directory of the tree; 0: --files counts"},
    {"size", BENCH_SIZE, &size, 0, UINT64_C(1) << 30, "SIZE", "bytes of a file; 0: as the mode has it"},
    {"tree-depth", BENCH_NUMBER, &levels, 0, MDTEST_LEVELS_MAX, "N", "levels of the tree below its root"},
    {"branch", BENCH_NUMBER, &branch, 1, 10000, "N", "directories in each directory of the tree"},
    {"shared", BENCH_FLAG, &shared_tree, 0, 0, NULL, "one tree for all workers (hard: always)"},
    {"reorder", BENCH_NUMBER, &shift, 0, CREW_MAX, "N",
     "stat and read what the worker N numbers on has made"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "give every byte of the files a value of its own"},
    {0},
};

typedef int (*phase_run)(struct mdtest *test, struct crew_part *part);

static int make_files(struct mdtest *test, struct crew_part *part)
{
    return mdtest_make_files(test, part, 0, NULL);
}

static const struct suite_phase phases[] = {{.name = "tree-create"},
                                            {.name = "directory-create"},
                                            {.name = "directory-stat"},
                                            {.name = "directory-remove"},
                                            {.name = "file-create"},
                                            {.name = "file-stat"},
                                            {.name = "readdir"},
                                            {.name = "file-read", .reads = true},
                                            {.name = "file-remove"},
                                            {.name = "tree-remove"},
                                            {0}};

static const phase_run runs[] = {
    mdtest_make_tree,    mdtest_make_directories, mdtest_stat_directories, mdtest_remove_directories,
    make_files,          mdtest_stat_files,       mdtest_list_files,       mdtest_read_files,
    mdtest_remove_files, mdtest_remove_tree};

#define PHASES (sizeof(runs) / sizeof(runs[0]))
#define FILE_READ 7u

static struct mdtest_shape shape_of_options(void)
{
    bool hard = strcmp(mode, "hard") == 0;
    struct mdtest_shape shape = {.size = size > 0 || !hard ? size : 3901,
                                 .levels = levels,
                                 .branch = branch,
                                 .shift = shift,
                                 .shared = shared_tree || hard,
                                 .verify = verify};
    shape.files = in_each == 0 ? files : in_each * mdtest_directories(levels, branch);
    return shape;
}

static int check(void)
{
    if (strcmp(mode, "easy") != 0 && strcmp(mode, "hard") != 0) {
        bench_error("option --mode takes easy or hard, not \"%s\"", mode);
        return BENCH_USAGE;
    }
    if (mdtest_directories(levels, branch) == 0) {
        bench_error("--tree-depth %llu with --branch %llu is more than %llu directories",
                    (unsigned long long)levels, (unsigned long long)branch,
                    (unsigned long long)MDTEST_DIRECTORIES_MAX);
        return BENCH_USAGE;
    }
    return BENCH_OK;
}

static uint64_t working_set(uint32_t members)
{
    struct mdtest_shape shape = shape_of_options();
    return shape.files * shape.size * members;
}

static int run(struct suite_member *member)
{
    struct mdtest_shape shape = shape_of_options();
    struct session session;
    struct mdtest test;
    session_begin(&session, member);
    int status = mdtest_init(&test, &session, &shape, "tree");
    if (status < 0)
        return status;
    for (uint32_t phase = 0; phase < PHASES && status == 0; phase++) {
        if (phase == FILE_READ && shape.size == 0)
            continue;
        struct crew_part *part = crew_phase(member->crew, phase);
        status = part == NULL ? -ECANCELED : runs[phase](&test, part);
        if (status == 0)
            crew_phase_end(member->crew, phase);
    }
    mdtest_free(&test);
    return status;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    (void)shared;
    struct mdtest_shape shape = shape_of_options();
    result_number(result, "size", shape.size);
    result_number(result, "files", shape.files);
    result_flag(result, "shared", shape.shared);
    if (strstr(phases[phase].name, "-stat") != NULL && shape.shift % suite_members() == 0)
        result_warn(result,
                    "workers look at what they made themselves: start several and leave --reorder at 1");
}

const struct suite_workload bench_mdtest = {
    .name = "mdtest",
    .help = "Files and directories as mdtest makes, looks at and removes them",
    .options = options,
    .phases = phases,
    .check = check,
    .working_set = working_set,
    .run = run,
    .describe = describe,
};
