/* run: a file system for one command.
 *
 * The cluster lives in a directory of its own and is started, filled, emptied and stopped by this same
 * program's other verbs as child processes, so that each does what it does elsewhere, with the same messages.
 * They have a process group of their own: what a terminal's interrupt key sends reaches the command, which
 * decides what it means, and this process, which passes signals on, waits, and cleans up in any case. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/cli.h"

#define NOT_EXECUTABLE 126
#define NOT_FOUND 127
#define DEFAULT_PREFIX "/benchfs"

struct stage {
    char *from;
    char *to;
};

struct run {
    char **start; /* arguments of benchfs start */
    size_t start_count;
    struct stage *in, *out;
    size_t in_count, out_count;
    const char *prefix;
    char **command;
    char directory[PATH_MAX];
    char program[PATH_MAX]; /* benchfs */
    char library[PATH_MAX]; /* libbenchfs_preload.so */
};

/* ---- signals ---- */

static volatile sig_atomic_t child;     /* whom signals go on to; 0: nobody */
static volatile sig_atomic_t signalled; /* the first signal that came */
static volatile sig_atomic_t finishing; /* staging out and stopping are not to be interrupted by one */

static void on_signal(int number, siginfo_t *information, void *context)
{
    (void)context;
    int error = errno;
    if (signalled == 0)
        signalled = number;
    else if (finishing && child != 0)
        kill(child, number); /* twice: they mean it */
    /* What a terminal sends goes to the command too. */
    bool from_terminal = information->si_code == SI_KERNEL;
    if (!finishing && child != 0 && !from_terminal)
        kill(child, number);
    errno = error;
}

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void catch_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
        sigaction(caught[i], &action, NULL);
}

static void signals_block(sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
        sigaddset(&set, caught[i]);
    sigprocmask(SIG_BLOCK, &set, before);
}

/* ---- children ---- */

static void become(struct run *run, char **argv, bool own, int report, const sigset_t *mask)
{
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
        signal(caught[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (own) {
        setpgid(0, 0);
        int null = open("/dev/null", O_RDWR);
        if (null >= 0) {
            dup2(null, STDIN_FILENO);
            dup2(null, STDOUT_FILENO);
        }
        execv(run->program, argv);
    } else {
        execvp(argv[0], argv);
    }
    int error = errno;
    if (write(report, &error, sizeof(error)) < 0)
        _exit(NOT_FOUND);
    _exit(NOT_FOUND);
}

/* Runs a program and waits for it. own: one of our verbs, else the command. Its status as of waitpid, or
 * -errno when it could not be started. */
static int run_child(struct run *run, char **argv, bool own)
{
    int report[2], status = 0, error = 0;
    sigset_t before;
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    signals_block(&before); /* until `child` says whom they go to */
    if (signalled != 0 && !finishing) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        close(report[0]);
        close(report[1]);
        return -EINTR;
    }
    pid_t pid = fork();
    if (pid == 0)
        become(run, argv, own, report[1], &before);
    if (pid < 0)
        error = errno;
    child = pid > 0 ? pid : 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (pid > 0) {
        ssize_t got;
        while ((got = read(report[0], &error, sizeof(error))) < 0 && errno == EINTR)
            continue;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
        child = 0;
    }
    close(report[0]);
    return error != 0 ? -error : status;
}

/* One of our verbs, which reports its own failures. Returns a cli_exit. */
static int run_verb(struct run *run, char **argv)
{
    int status = run_child(run, argv, true);
    if (status < 0 && status != -EINTR)
        cli_error("cannot run \"%s %s\": %s", run->program, argv[1], status_text(status));
    return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED;
}

/* ---- stages ---- */

/* SRC:DST; the side inside BenchFS is an absolute path without a colon. */
static int parse_stage(const char *text, bool in, struct stage *stage)
{
    const char *option = in ? "--stage-in" : "--stage-out";
    const char *colon = in ? strrchr(text, ':') : strchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0')
        return cli_usage("%s \"%s\" is not SRC:DST", option, text);
    stage->from = strndup(text, (size_t)(colon - text));
    stage->to = strdup(colon + 1);
    if (stage->from == NULL || stage->to == NULL)
        return CLI_FAILED;
    const char *inside = in ? stage->to : stage->from;
    if (inside[0] != '/')
        return cli_usage("%s \"%s\": \"%s\" is inside BenchFS and must be an absolute path", option, text,
                         inside);
    if (in && access(stage->from, R_OK) != 0) {
        cli_error("cannot stage in \"%s\": %s", stage->from, strerror(errno));
        return CLI_FAILED;
    }
    return CLI_OK;
}

/* "benchfs:" before the path. */
static char *marked(const char *path)
{
    char *text = malloc(sizeof(CLI_PREFIX) + strlen(path));
    if (text != NULL)
        sprintf(text, CLI_PREFIX "%s", path);
    return text;
}

/* A local name that cp cannot take for one inside BenchFS or for an option. */
static char *local(const char *path)
{
    char *text = malloc(strlen(path) + 3);
    if (text != NULL)
        sprintf(text, "%s%s", path[0] == '/' ? "" : "./", path);
    return text;
}

static bool make_parent(struct run *run, const char *path)
{
    char parent[CLI_PATH_SIZE];
    const char *slash = strrchr(path, '/'); /* a path that ends in one is the directory to copy into */
    if (slash == path)
        return true;
    snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    char *argv[] = {run->program, "mkdir", "-p", parent, NULL};
    return run_verb(run, argv) == CLI_OK;
}

static bool copy(struct run *run, char *from, char *to)
{
    char *argv[] = {run->program, "cp", "-r", from, to, NULL};
    bool done = from != NULL && to != NULL && run_verb(run, argv) == CLI_OK;
    free(from);
    free(to);
    return done;
}

static bool stage_in(struct run *run, const struct stage *stage)
{
    return make_parent(run, stage->to) && copy(run, local(stage->from), marked(stage->to));
}

static bool stage_out(struct run *run, const struct stage *stage)
{
    if (copy(run, marked(stage->from), local(stage->to)))
        return true;
    cli_error("could not stage out \"%s\" to \"%s\": what of it is not there is lost", stage->from,
              stage->to);
    return false;
}

/* ---- the command ---- */

/* The library lies in lib beside bin, or beside cli in a build directory. */
static int find_library(struct run *run)
{
    static const char *const places[] = {"../lib/libbenchfs_preload.so", "../preload/libbenchfs_preload.so"};
    ssize_t length = readlink("/proc/self/exe", run->program, sizeof(run->program) - 1);
    if (length <= 0)
        return -errno;
    run->program[length] = '\0';
    int directory = (int)(strrchr(run->program, '/') - run->program);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[2 * PATH_MAX];
        snprintf(path, sizeof(path), "%.*s/%s", directory, run->program, places[i]);
        if (realpath(path, run->library) != NULL)
            return 0;
    }
    cli_error("cannot find libbenchfs_preload.so in ../lib from \"%.*s\": install it", directory,
              run->program);
    return -ENOENT;
}

static int prepare_environment(const struct run *run)
{
    const char *before = getenv("LD_PRELOAD");
    char *preload = NULL;
    if (strpbrk(run->library, ": ") != NULL) {
        cli_error("\"%s\" has a space or colon in its name, which LD_PRELOAD cannot take: install elsewhere",
                  run->library);
        return -EINVAL;
    }
    if (asprintf(&preload, "%s%s%s", run->library, before != NULL ? ":" : "", before != NULL ? before : "") <
        0)
        return -ENOMEM;
    setenv("LD_PRELOAD", preload, 1);
    setenv("BENCHFS_PREFIX", run->prefix, 1);
    free(preload);
    return 0;
}

/* What kind of exit status a shell would make of it. */
static int exit_status(const struct run *run, int status)
{
    if (status == -EINTR)
        return 128 + signalled;
    if (status < 0) {
        cli_error("cannot run \"%s\": %s", run->command[0], strerror(-status));
        return status == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_command(struct run *run)
{
    /* A program inside BenchFS can only be found by one that is preloaded: a shell, whose exit codes are the
     * same. */
    size_t count = 0;
    while (run->command[count] != NULL)
        count++;
    char **argv = calloc(count + 4, sizeof(*argv));
    if (argv == NULL)
        return exit_status(run, -ENOMEM);
    size_t used = 0, length = strlen(run->prefix);
    if (strncmp(run->command[0], run->prefix, length) == 0 && run->command[0][length] == '/') {
        argv[used++] = "/bin/sh";
        argv[used++] = "-c";
        argv[used++] = "exec \"$0\" \"$@\"";
    }
    memcpy(argv + used, run->command, count * sizeof(*argv));
    const char *before = getenv("LD_PRELOAD");
    char *kept = before != NULL ? strdup(before) : NULL;
    int status = prepare_environment(run);
    if (status == 0)
        status = run_child(run, argv, false);
    if (kept != NULL)
        setenv("LD_PRELOAD", kept, 1);
    else
        unsetenv("LD_PRELOAD");
    free(kept);
    free(argv);
    return exit_status(run, status);
}

/* ---- all of it ---- */

static int run_started(struct run *run)
{
    int result = CLI_OK;
    for (size_t i = 0; i < run->in_count && result == CLI_OK; i++)
        if (!stage_in(run, &run->in[i]))
            result = CLI_FAILED;
    if (result == CLI_OK)
        result = run_command(run);
    else if (signalled != 0)
        result = 128 + signalled;
    finishing = 1;
    for (size_t i = 0; i < run->out_count; i++)
        if (!stage_out(run, &run->out[i]) && result == CLI_OK)
            result = CLI_FAILED;
    return result;
}

static int run_all(struct run *run)
{
    char cluster[PATH_MAX + 16];
    const char *top = getenv("TMPDIR");
    int length = snprintf(run->directory, sizeof(run->directory), "%s/benchfs-run.XXXXXX",
                          top != NULL && top[0] == '/' ? top : "/tmp");
    if (length >= (int)sizeof(run->directory) || mkdtemp(run->directory) == NULL) {
        cli_error("cannot make a directory for the cluster in \"%s\": %s", top != NULL ? top : "/tmp",
                  strerror(errno));
        return CLI_FAILED;
    }
    snprintf(cluster, sizeof(cluster), "%s/cluster.json", run->directory);
    setenv("BENCHFS_CLUSTER", cluster, 1);
    unsetenv("BENCHFS_SERVERS");
    unsetenv("BENCHFS_KEY");
    int result = run_verb(run, run->start);
    bool started = result == CLI_OK;
    if (started)
        result = run_started(run);
    else if (signalled != 0)
        result = 128 + signalled;
    finishing = 1;
    if (started || access(cluster, F_OK) == 0) {
        char *stop[] = {run->program, "stop", NULL};
        if (run_verb(run, stop) != CLI_OK && result == CLI_OK)
            result = CLI_FAILED;
    }
    if (rmdir(run->directory) != 0)
        cli_error("\"%s\" holds the servers' logs", run->directory);
    return result;
}

static int parse_options(struct run *run, int argc, char **argv)
{
    static const struct option options[] = {
        {"servers", required_argument, NULL, 'n'},
        {"store", required_argument, NULL, 's'},
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 'S'},
        {"stage-in", required_argument, NULL, 'i'},
        {"stage-out", required_argument, NULL, 'o'},
        {"prefix", required_argument, NULL, 'p'},
        CLI_HELP,
        {0},
    };
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, "+:n:c:", options, &result)) != -1;)
        switch (option) {
        case 'n':
        case 's':
        case 'c':
        case 'S':
            run->start[run->start_count++] = option == 'n'   ? "-n"
                                             : option == 's' ? "--store"
                                             : option == 'c' ? "-c"
                                                             : "--set";
            run->start[run->start_count++] = optarg;
            break;
        case 'i':
            result = parse_stage(optarg, true, &run->in[run->in_count++]);
            break;
        case 'o':
            result = parse_stage(optarg, false, &run->out[run->out_count++]);
            break;
        case 'p':
            run->prefix = optarg;
            break;
        default:
            return result == CLI_OK ? -1 : result;
        }
    if (result != CLI_OK)
        return result;
    size_t length = strlen(run->prefix);
    if (run->prefix[0] != '/' || length < 2 || run->prefix[length - 1] == '/')
        return cli_usage("prefix \"%s\" is not an absolute path below the root", run->prefix);
    if (optind == argc)
        return cli_usage("no command given");
    run->command = argv + optind;
    return CLI_OK;
}

static int run_run(int argc, char **argv)
{
    static struct run run;
    size_t most = (size_t)argc + 4;
    const char *prefix = getenv("BENCHFS_PREFIX");
    run.prefix = prefix != NULL && *prefix != '\0' ? prefix : DEFAULT_PREFIX;
    run.start = calloc(2 * most, sizeof(*run.start));
    run.in = calloc(most, sizeof(*run.in));
    run.out = calloc(most, sizeof(*run.out));
    int result = CLI_FAILED;
    if (run.start == NULL || run.in == NULL || run.out == NULL) {
        cli_error("out of memory");
        goto out;
    }
    run.start[run.start_count++] = run.program;
    run.start[run.start_count++] = "start";
    result = parse_options(&run, argc, argv);
    if (result != CLI_OK) {
        result = result < 0 ? CLI_OK : result; /* --help */
        goto out;
    }
    result = CLI_FAILED;
    if (find_library(&run) == 0) {
        catch_signals();
        result = run_all(&run);
    }
out:
    for (size_t i = 0; i < run.in_count; i++) {
        free(run.in[i].from);
        free(run.in[i].to);
    }
    for (size_t i = 0; i < run.out_count; i++) {
        free(run.out[i].from);
        free(run.out[i].to);
    }
    free(run.start);
    free(run.in);
    free(run.out);
    return result;
}

const struct verb verb_run = {
    .name = "run",
    .usage = "[-n SERVERS] [--store ENGINE] [-c CONFIG] [--set TABLE.KEY=VALUE]... [--prefix PREFIX]\n"
             "                   [--stage-in SRC:DST]... [--stage-out SRC:DST]... -- COMMAND [ARGUMENT...]",
    .help = "Run a command with a file system of its own",
    .text =
        "Starts servers, copies data in, runs COMMAND, which sees the file system below /benchfs through\n"
        "libbenchfs_preload.so, copies data out, even when COMMAND failed, and stops the servers.\n"
        "  -n, --servers, --store, -c, --config, --set   as for \"benchfs start\"\n"
        "      --stage-in SRC:DST   copy the local SRC to the absolute path DST inside BenchFS; into it if\n"
        "                           DST ends in a slash\n"
        "      --stage-out SRC:DST  copy the absolute path SRC inside BenchFS to the local DST\n"
        "      --prefix PREFIX      show the file system below PREFIX instead of /benchfs\n"
        "Exit code: COMMAND's, 128 + N when signal N ended it, 127 not found, 126 not executable; when\n"
        "COMMAND succeeded but data could not be copied, 1. SIGINT, SIGTERM and SIGHUP go on to COMMAND.\n",
    .run = run_run,
};
