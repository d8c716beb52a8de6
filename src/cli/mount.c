/* mount: the file system as a directory. A process of its own serves it in the background; the command
 * returns when the directory can be used, or says why it cannot.
 *
 * The process is forked before it has connections or threads, which a fork would not carry over. It says in
 * one byte through a pipe that all is well; its messages go to the terminal until then. */
#include <dirent.h>
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
#include "benchfs.h"
#include "cli/cli.h"
#include "cluster/map.h"
#include "fuse/mount.h"

#define LIFETIME_DEFAULT 1.0
#define THREADS_DEFAULT 8u
#define KERNEL_OPTIONS_SIZE 160

struct request {
    const char *directory;
    char path[PATH_MAX]; /* of directory, absolute */
    struct mount_options options;
    bool foreground;
    bool nonempty;
    int consistency;         /* enum consistency; -1: the file system's */
    int default_permissions; /* -1: as the mode suggests */
    char kernel[KERNEL_OPTIONS_SIZE];
};

/* ---- options ---- */

static bool parse_consistency(struct request *request, const char *value)
{
    request->consistency = consistency_from_name(value);
    if (request->consistency < 0)
        cli_usage("consistency \"%s\" is none of strict, close, relaxed", value);
    return request->consistency >= 0;
}

static bool parse_lifetime(struct request *request, const char *value)
{
    char *end;
    double lifetime = strtod(value, &end);
    if (end == value || *end != '\0' || !(lifetime > 0) || lifetime > 3600) {
        cli_usage("lifetime \"%s\" is not a number of seconds up to 3600", value);
        return false;
    }
    request->options.lifetime = lifetime;
    return true;
}

static bool parse_threads(struct request *request, const char *value)
{
    char *end;
    long threads = strtol(value, &end, 10);
    if (end == value || *end != '\0' || threads < 1 || threads > (long)MOUNT_THREADS_MAX) {
        cli_usage("threads \"%s\" is not a number from 1 to %u", value, MOUNT_THREADS_MAX);
        return false;
    }
    request->options.threads = (uint32_t)threads;
    return true;
}

/* One word of -o. */
static bool parse_word(struct request *request, const char *word)
{
    static const char *const for_kernel[] = {"ro",    "rw",   "allow_other", "suid",    "nosuid", "dev",
                                             "nodev", "exec", "noexec",      "noatime", "sync"};
    static const struct {
        const char *name;
        bool (*parse)(struct request *request, const char *value);
    } valued[] = {
        {"consistency=", parse_consistency}, {"lifetime=", parse_lifetime}, {"threads=", parse_threads}};
    for (unsigned i = 0; i < sizeof valued / sizeof *valued; i++)
        if (strncmp(word, valued[i].name, strlen(valued[i].name)) == 0)
            return valued[i].parse(request, word + strlen(valued[i].name));
    if (strcmp(word, "nonempty") == 0) {
        request->nonempty = true;
        return true;
    }
    if (strcmp(word, "default_permissions") == 0 || strcmp(word, "nodefault_permissions") == 0) {
        request->default_permissions = word[0] == 'd';
        return true;
    }
    for (unsigned i = 0; i < sizeof for_kernel / sizeof *for_kernel; i++) {
        size_t length = strlen(request->kernel);
        if (strcmp(word, for_kernel[i]) != 0 || length + strlen(word) + 2 > sizeof request->kernel)
            continue;
        snprintf(request->kernel + length, sizeof request->kernel - length, "%s%s", length > 0 ? "," : "",
                 word);
        return true;
    }
    cli_usage("unknown mount option \"%s\"", word);
    return false;
}

static bool parse_words(struct request *request, char *words)
{
    char *rest = words;
    for (char *word; (word = strsep(&rest, ",")) != NULL;)
        if (*word != '\0' && !parse_word(request, word))
            return false;
    return true;
}

/* ---- the directory ---- */

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return true; /* whoever cannot list it sees nothing that the mount hides */
    int names = 0;
    while (names <= 2 && readdir(dir) != NULL)
        names++;
    closedir(dir);
    return names <= 2;
}

static int check_directory(struct request *request)
{
    const char *directory = request->directory;
    struct stat status;
    if (stat(directory, &status) < 0) {
        if (errno == ENOTCONN)
            cli_error("\"%s\" is a mount whose server is gone: unmount it first (fusermount3 -u %s)",
                      directory, directory);
        else
            cli_error("cannot mount on \"%s\": %s", directory, strerror(errno));
        return CLI_FAILED;
    }
    if (!S_ISDIR(status.st_mode)) {
        cli_error("cannot mount on \"%s\": it is not a directory", directory);
        return CLI_FAILED;
    }
    if (!request->nonempty && !is_empty(directory)) {
        cli_error(
            "cannot mount on \"%s\": the directory is not empty, and a mount hides what is in it: choose "
            "another one, or use -o nonempty",
            directory);
        return CLI_FAILED;
    }
    if (realpath(directory, request->path) == NULL) {
        cli_error("cannot mount on \"%s\": %s", directory, strerror(errno));
        return CLI_FAILED;
    }
    return CLI_OK;
}

/* ---- serving ---- */

/* Lets go of the terminal and of the directory that the command was called in. */
static int leave(void)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0 || chdir("/") < 0)
        return -errno;
    for (int fd = 0; fd <= 2; fd++)
        if (dup2(nothing, fd) < 0)
            return -errno;
    if (nothing > 2)
        close(nothing);
    return 0;
}

/* What the file system's mode and the options come to. */
static int settle_options(struct request *request, benchfs *fs)
{
    int consistency = consistency_from_name(benchfs_consistency(fs));
    if (request->consistency >= 0 && request->consistency < consistency) {
        cli_error("the file system was started with cluster.consistency = %s: a mount can only weaken that",
                  benchfs_consistency(fs));
        return CLI_FAILED;
    }
    if (request->consistency >= 0)
        consistency = request->consistency;
    request->options.consistency = (enum consistency)consistency;
    /* Where the kernel answers from what it remembers, only it can check; and only it sees the steps "." and
     * ".." of a path. */
    bool suggested = consistency == CONSISTENCY_RELAXED || strstr(request->kernel, "allow_other") != NULL;
    request->options.default_permissions =
        request->default_permissions >= 0 ? request->default_permissions : suggested;
    return CLI_OK;
}

/* Connects, mounts and serves. ready: told with one byte when the directory can be used; -1: nobody waits. */
static int serve(struct request *request, int ready)
{
    char error[MOUNT_ERROR_SIZE];
    struct mount *mount;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before there are threads: they inherit it */
    signal(SIGPIPE, SIG_IGN);
    benchfs *fs = benchfs_connect(NULL);
    if (fs == NULL) {
        cli_error("%s", benchfs_error());
        return CLI_FAILED;
    }
    int result = settle_options(request, fs);
    if (result != CLI_OK)
        goto disconnect;
    result = CLI_FAILED;
    if (mount_create(fs, request->path, &request->options, &mount, error) < 0) {
        cli_error("%s", error);
        goto disconnect;
    }
    int status = ready < 0 ? 0 : leave();
    if (status == 0 && ready >= 0 && write(ready, "", 1) != 1)
        status = -EPIPE; /* nobody would know that it is there */
    if (status == 0)
        status = mount_serve(mount);
    if (status == 0)
        result = CLI_OK;
    else
        cli_error("cannot serve \"%s\": %s", request->path, status_text(status));
    mount_destroy(mount);
disconnect:
    benchfs_disconnect(fs);
    return result;
}

static int serve_in_background(struct request *request)
{
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0) {
        cli_error("cannot make a pipe: %s", strerror(errno));
        return CLI_FAILED;
    }
    pid_t pid = fork();
    if (pid < 0) {
        cli_error("cannot start a process: %s", strerror(errno));
        return CLI_FAILED;
    }
    if (pid == 0) {
        close(ready[0]);
        setsid();
        _exit(serve(request, ready[1]));
    }
    close(ready[1]);
    ssize_t got;
    do {
        got = read(ready[0], &byte, 1);
    } while (got < 0 && errno == EINTR);
    close(ready[0]);
    if (got == 1)
        return CLI_OK;
    int status;
    if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
        cli_error("the serving process ended by signal %d", WTERMSIG(status));
    return CLI_FAILED;
}

static int run_mount(int argc, char **argv)
{
    static const struct option options[] = {
        {"options", required_argument, NULL, 'o'}, {"foreground", no_argument, NULL, 'f'}, CLI_HELP, {0}};
    static struct request request = {
        .options = {.lifetime = LIFETIME_DEFAULT, .threads = THREADS_DEFAULT},
        .consistency = -1,
        .default_permissions = -1,
    };
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":o:f", options, &result)) != -1;)
        switch (option) {
        case 'o':
            if (!parse_words(&request, optarg))
                return CLI_USAGE;
            break;
        case 'f':
            request.foreground = true;
            break;
        default:
            return result;
        }
    if (optind + 1 != argc)
        return cli_usage(optind == argc ? "no directory given" : "more than one directory given");
    request.directory = argv[optind];
    request.options.kernel = request.kernel;
    result = check_directory(&request);
    if (result != CLI_OK)
        return result;
    return request.foreground ? serve(&request, -1) : serve_in_background(&request);
}

const struct verb verb_mount = {
    .name = "mount",
    .usage = "[-f] [-o OPTION[,OPTION...]] DIRECTORY",
    .help = "Make the file system a directory of this machine (FUSE)",
    .text =
        "Returns when the directory can be used. It ends with \"umount DIRECTORY\" (root) or \"fusermount3 "
        "-u\n"
        "DIRECTORY\" (who mounted it), or when the serving process gets SIGINT, SIGTERM or SIGHUP.\n\n"
        "  -f, --foreground          serve in this process\n"
        "  -o consistency=strict     the kernel caches nothing (the default is the file system's own mode, "
        "which\n"
        "                            a mount can only weaken)\n"
        "  -o consistency=close      it caches contents, and checks them when a file is opened\n"
        "  -o consistency=relaxed    it also caches names and attributes, for\n"
        "  -o lifetime=SECONDS       so long (default 1)\n"
        "  -o threads=N              requests served at once (default 8)\n"
        "  -o allow_other            other users may use it too\n"
        "  -o [no]default_permissions  whether the kernel checks permissions before the servers do (default\n"
        "                            only with relaxed)\n"
        "  -o nonempty               hide what is in DIRECTORY\n"
        "  -o ro, rw, [no]suid, [no]dev, [no]exec, noatime, sync  as mount(8)\n",
    .run = run_mount,
};
