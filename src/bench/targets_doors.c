/* The ways in that need no change of a program: the preload library and mounts, each beside what it is
 * measured against.
 *
 *   preload   a process with the library and one that calls libbenchfs itself, the same loop (caller.c); and
 *             on a file outside, in one process with the library, the library's functions and the C library's
 *   FUSE      a strict and a relaxed mount of one server, and a FUSE file system in memory that is as small
 *             as one can be (reference_mount.c), all mounted for the whole run and called in turns
 *   untar     tar itself: into tmpfs, with the library, into the strict mount, into the one in memory; what
 *             was extracted is compared with the archive by tar
 *
 * Server and callers of the preload rows are bound to a processor each, as those of targets_single.c. Mounts
 * put a third process between them, so with mounts only the server is bound. Whatever happens, a signal
 * included, mounts end before their servers, and what was made is removed; a mount whose benchmark was killed
 * ends by itself. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/caller.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/private_cluster.h"
#include "bench/reference_mount.h"
#include "bench/targets.h"

#define SERVER_PROCESSOR 0
#define CALLER_PROCESSOR 1
#define CAPACITY (UINT64_C(1) << 30)
#define PATIENCE (60 * NSEC_PER_SEC)
#define MOUNT_PATIENCE (10 * NSEC_PER_SEC)
#define CALLS 50000u
#define TRANSFERS 512u
#define ARCHIVE_DIRECTORIES 50u
#define ARCHIVE_FILES 100u /* in each */
#define ARCHIVE_FILE_MAX 8192u
#define PREFIX "/benchfs"
#define TMPFS "/dev/shm"
#define ARGUMENTS_MAX 16

enum { MOUNT_REFERENCE, MOUNT_OF_STRICT, MOUNT_OF_RELAXED, MOUNTS };

struct door_mount {
    pid_t pid; /* 0: not mounted */
    char path[192];
};

struct doors {
    struct target_run *run;
    struct private_cluster cluster;
    struct door_mount mounts[MOUNTS];
    char library[PATH_MAX]; /* libbenchfs_preload.so; "" if there is none */
    char directory[128];    /* of mount points, and of a file outside */
    char memory[128];       /* a directory in tmpfs; "" if there is none */
};

/* ---- children ---- */

struct program {
    const struct doors *doors;
    const char *const *argv; /* argv[0]: "benchfs": this program */
    bool preload;
    int output; /* its standard output goes here; -1: where ours goes */
};

static void environment_set(const struct doors *doors, bool preload)
{
    setenv("BENCHFS_CLUSTER", doors->cluster.file, 1);
    unsetenv("BENCHFS_SERVERS");
    unsetenv("LD_PRELOAD");
    if (preload) {
        setenv("LD_PRELOAD", doors->library, 1);
        setenv("BENCHFS_PREFIX", PREFIX, 1);
    }
}

/* Becomes the program. Returns only if that fails. */
static int become(void *argument)
{
    const struct program *program = argument;
    char *argv[ARGUMENTS_MAX + 1] = {0};
    for (unsigned i = 0; i < ARGUMENTS_MAX && program->argv[i] != NULL; i++)
        argv[i] = (char *)(uintptr_t)program->argv[i];
    environment_set(program->doors, program->preload);
    if (program->output >= 0)
        dup2(program->output, STDOUT_FILENO);
    execvp(strcmp(argv[0], "benchfs") == 0 ? "/proc/self/exe" : argv[0], argv);
    int status = -errno;
    bench_error("cannot run %s: %s", argv[0], strerror(-status));
    return status;
}

/* What target_child says of a program: its exit status is no errno value. */
static int program_status(int status)
{
    return status >= 0 || status == -EINTR || status == -ETIMEDOUT ? status : -EIO;
}

static int run_program(const struct doors *doors, bool preload, const char *const *argv)
{
    struct program program = {.doors = doors, .argv = argv, .preload = preload, .output = -1};
    return program_status(target_child(-1, PATIENCE, become, &program));
}

/* What `bench calls` printed, by call. */
static int read_values(int descriptor, double values[CALLER_CALLS])
{
    FILE *file = fdopen(descriptor, "r");
    if (file == NULL) {
        close(descriptor);
        return -ENOMEM;
    }
    char name[32];
    double value;
    for (unsigned i = 0; i < CALLER_CALLS; i++)
        values[i] = 0;
    while (fscanf(file, "%31s %lf", name, &value) == 2) {
        for (unsigned i = 0; i < CALLER_CALLS; i++) {
            if (strcmp(name, caller_names[i]) == 0)
                values[i] = value;
        }
    }
    fclose(file);
    return 0;
}

/* Runs the named calls (up to NULL) in a process of their own. */
static int call(const struct doors *doors, int processor, const char *door, bool preload,
                const char *directory, unsigned count, const char *const *names, double values[CALLER_CALLS])
{
    char number[16];
    int ends[2];
    const char *argv[ARGUMENTS_MAX + 1] = {"benchfs", "bench", CALLER_VERB, door, directory, number};
    snprintf(number, sizeof(number), "%u", count);
    for (unsigned i = 6; i < ARGUMENTS_MAX && *names != NULL; i++)
        argv[i] = *names++;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    struct program program = {.doors = doors, .argv = argv, .preload = preload, .output = ends[1]};
    int status = program_status(target_child(processor, PATIENCE, become, &program));
    close(ends[1]);
    if (status < 0) {
        close(ends[0]);
        return status;
    }
    return read_values(ends[0], values);
}

/* ---- preload ---- */

/* The library lies in lib beside bin, or beside cli in a build directory. */
static void find_library(struct doors *doors)
{
    static const char *const places[] = {"../lib", "../preload"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length < 0)
        return;
    program[length] = 0;
    char *slash = strrchr(program, '/');
    if (slash != NULL)
        *slash = 0;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s/libbenchfs_preload.so", program, places[i]);
        if (realpath(path, doors->library) != NULL)
            return;
    }
    doors->library[0] = 0;
    bench_error("there is no libbenchfs_preload.so in ../lib from \"%s\"", program);
}

static int preload_inside(struct doors *doors)
{
    static const char *const names[] = {"stat", "open", "pread", "pwrite", NULL};
    static const enum target_id rows[] = {TARGET_PRELOAD_STAT, TARGET_PRELOAD_OPEN, TARGET_PRELOAD_PREAD,
                                          TARGET_PRELOAD_PWRITE};
    double own[CALLER_CALLS], library[CALLER_CALLS];
    unsigned count = doors->run->quick ? CALLS / 5 : CALLS;
    int status = call(doors, CALLER_PROCESSOR, "library", false, "", count, names, library);
    if (status == 0)
        status = call(doors, CALLER_PROCESSOR, "libc", true, PREFIX, count, names, own);
    for (unsigned i = 0; i < 4 && status == 0; i++)
        target_difference(doors->run, rows[i], own[i], library[i], "ns");
    return status;
}

/* stat of a path, and reads by a descriptor, that are not BenchFS's. */
static int preload_outside(struct doors *doors)
{
    static const char *const names[] = {"stat", "stat-plain", "pread", "pread-plain", NULL};
    double values[CALLER_CALLS];
    unsigned count = doors->run->quick ? CALLS : 5 * CALLS;
    int status = call(doors, CALLER_PROCESSOR, "libc", true, doors->directory, count, names, values);
    if (status < 0)
        return status;
    target_difference(doors->run, TARGET_OUTSIDE_PATH, values[CALLER_STAT], values[CALLER_STAT_PLAIN], "ns");
    target_difference(doors->run, TARGET_OUTSIDE_FD, values[CALLER_PREAD], values[CALLER_PREAD_PLAIN], "ns");
    return 0;
}

/* ---- mounts ---- */

static bool is_mounted(const char *path)
{
    char line[4096], point[1024];
    bool found = false;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = sscanf(line, "%*s %*s %*s %*s %1023s", point) == 1 && strcmp(point, path) == 0;
    if (file != NULL)
        fclose(file);
    return found;
}

static void serve_mount(const struct doors *doors, unsigned kind)
{
    static const char *const words[] = {
        [MOUNT_OF_STRICT] = "consistency=strict", [MOUNT_OF_RELAXED] = "consistency=relaxed"};
    const char *path = doors->mounts[kind].path;
    if (kind == MOUNT_REFERENCE) {
        int status = reference_mount_serve(path);
        if (status < 0)
            bench_error("reference mount: %s", status_text(status));
        _exit(status == 0 ? 0 : 1);
    }
    const char *const argv[] = {"benchfs", "mount", "-f", "-o", words[kind], path, NULL};
    struct program program = {.doors = doors, .argv = argv, .output = -1};
    become(&program);
    _exit(1);
}

static int mount_begin(struct doors *doors, unsigned kind)
{
    static const char *const names[MOUNTS] = {"reference", "strict", "relaxed"};
    struct door_mount *mounted = &doors->mounts[kind];
    snprintf(mounted->path, sizeof(mounted->path), "%s/%s", doors->directory, names[kind]);
    if (mkdir(mounted->path, 0755) < 0)
        return -errno;
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        setpgid(0, 0); /* a terminal's interrupt is for the parent to handle */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(1);
        interrupt_default();
        serve_mount(doors, kind);
    }
    mounted->pid = pid;
    for (uint64_t deadline = crew_now() + MOUNT_PATIENCE; !is_mounted(mounted->path); usleep(2000)) {
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            mounted->pid = 0;
            return -EIO;
        }
        if (interrupted() || crew_now() > deadline)
            return interrupted() ? -EINTR : -ETIMEDOUT;
    }
    return 0;
}

static void mount_end(struct door_mount *mounted)
{
    if (mounted->path[0] == 0)
        return;
    uint64_t deadline = crew_now() + MOUNT_PATIENCE;
    for (unsigned turn = 0; mounted->pid > 0; turn++) {
        if (turn % 100 == 0)
            kill(mounted->pid, SIGTERM);
        if (waitpid(mounted->pid, NULL, WNOHANG) == mounted->pid)
            break;
        if (crew_now() > deadline) {
            kill(mounted->pid, SIGKILL);
            waitpid(mounted->pid, NULL, 0);
            break;
        }
        usleep(5000);
    }
    mounted->pid = 0;
    if (is_mounted(mounted->path))
        umount2(mounted->path, MNT_DETACH | UMOUNT_NOFOLLOW);
    rmdir(mounted->path);
}

static bool wanted_any(const struct target_run *run, enum target_id first, enum target_id last)
{
    for (unsigned row = first; row <= last; row++) {
        if (run->wanted[row])
            return true;
    }
    return false;
}

static int mount_all(struct doors *doors)
{
    const struct target_run *run = doors->run;
    bool compared = wanted_any(run, TARGET_FUSE_WRITE, TARGET_FUSE_STAT_STRICT);
    const bool needed[MOUNTS] = {
        [MOUNT_REFERENCE] = compared || run->wanted[TARGET_UNTAR_FUSE_MEMORY],
        [MOUNT_OF_STRICT] = compared || wanted_any(run, TARGET_UNTAR_FUSE, TARGET_UNTAR_FUSE_MEMORY),
        [MOUNT_OF_RELAXED] = run->wanted[TARGET_FUSE_STAT_RELAXED],
    };
    int status = 0;
    for (unsigned kind = 0; kind < MOUNTS && status == 0; kind++) {
        if (!needed[kind])
            continue;
        status = mount_begin(doors, kind);
        if (status < 0 && status != -EINTR)
            bench_error("cannot mount on \"%s\": %s", doors->mounts[kind].path, status_text(status));
    }
    return status;
}

/* Binds all threads of a mount to a processor; -1: lets them run anywhere. */
static int mount_bind(const struct door_mount *mounted, int processor)
{
    char path[64];
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (processor < 0 || i == processor)
            CPU_SET((size_t)i, &set);
    }
    snprintf(path, sizeof(path), "/proc/%d/task", (int)mounted->pid);
    DIR *threads = opendir(path);
    if (threads == NULL)
        return -errno;
    int status = 0;
    for (struct dirent *entry; status == 0 && (entry = readdir(threads)) != NULL;) {
        int thread = atoi(entry->d_name);
        if (thread > 0 && sched_setaffinity(thread, sizeof(set), &set) < 0 && errno != ESRCH)
            status = -errno;
    }
    closedir(threads);
    return status;
}

/* Caller and mount on one processor: what is compared are a few microseconds, and to wake a processor that
 * has fallen idle takes more, or nothing, as the scheduler places them. */
static int stat_beside(const struct doors *doors, unsigned kind, unsigned count, double values[CALLER_CALLS])
{
    static const char *const stats[] = {"stat", NULL};
    const struct door_mount *mounted = &doors->mounts[kind];
    int status = mount_bind(mounted, CALLER_PROCESSOR);
    if (status == 0)
        status = call(doors, CALLER_PROCESSOR, "libc", false, mounted->path, count, stats, values);
    int freed = mount_bind(mounted, -1);
    return status < 0 ? status : freed;
}

static int mounts_compared(struct doors *doors)
{
    static const char *const transfers[] = {"write-big", "read-big", NULL};
    const char *reference_path = doors->mounts[MOUNT_REFERENCE].path;
    const char *path = doors->mounts[MOUNT_OF_STRICT].path;
    double own[CALLER_CALLS], reference[CALLER_CALLS];
    struct target_run *run = doors->run;
    unsigned count = run->quick ? TRANSFERS / 2 : TRANSFERS, calls = run->quick ? CALLS / 10 : CALLS / 5;
    int status = 0;
    if (run->wanted[TARGET_FUSE_WRITE] || run->wanted[TARGET_FUSE_READ]) {
        status = call(doors, -1, "libc", false, reference_path, count, transfers, reference);
        if (status == 0)
            status = call(doors, -1, "libc", false, path, count, transfers, own);
        if (status < 0)
            return status;
        target_ratio(run, TARGET_FUSE_WRITE, own[CALLER_WRITE_BIG], reference[CALLER_WRITE_BIG], "GB/s");
        target_ratio(run, TARGET_FUSE_READ, own[CALLER_READ_BIG], reference[CALLER_READ_BIG], "GB/s");
    }
    if (!run->wanted[TARGET_FUSE_STAT_STRICT])
        return 0;
    status = stat_beside(doors, MOUNT_REFERENCE, calls, reference);
    if (status == 0)
        status = stat_beside(doors, MOUNT_OF_STRICT, calls, own);
    if (status == 0)
        target_difference(run, TARGET_FUSE_STAT_STRICT, own[CALLER_STAT], reference[CALLER_STAT], "ns");
    return status;
}

static int mount_relaxed(struct doors *doors)
{
    static const char *const names[] = {"stat", NULL};
    double own[CALLER_CALLS];
    unsigned count = doors->run->quick ? CALLS / 5 : CALLS;
    int status = call(doors, -1, "libc", false, doors->mounts[MOUNT_OF_RELAXED].path, count, names, own);
    if (status == 0)
        target_value(doors->run, TARGET_FUSE_STAT_RELAXED, own[CALLER_STAT]);
    return status;
}

/* ---- untar ---- */

static int write_file(const char *path, uint32_t length, uint32_t seed)
{
    char bytes[ARCHIVE_FILE_MAX];
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (char)((i * 31 + seed) >> 3);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    ssize_t written = write(fd, bytes, length);
    int status = written == (ssize_t)length ? 0 : written < 0 ? -errno : -ENOSPC;
    close(fd);
    return status;
}

/* 5,000 files of up to 8 KiB, 4 KiB on average, in 50 directories below "files", and an archive of them. */
static int make_archive(const struct doors *doors)
{
    char path[256], archive[192];
    snprintf(path, sizeof(path), "%s/files", doors->memory);
    int status = mkdir(path, 0755) < 0 ? -errno : 0;
    for (unsigned d = 0; d < ARCHIVE_DIRECTORIES && status == 0; d++) {
        snprintf(path, sizeof(path), "%s/files/directory.%02u", doors->memory, d);
        status = mkdir(path, 0755) < 0 ? -errno : 0;
        for (unsigned f = 0; f < ARCHIVE_FILES && status == 0; f++) {
            uint32_t seed = d * ARCHIVE_FILES + f;
            snprintf(path, sizeof(path), "%s/files/directory.%02u/file.%02u", doors->memory, d, f);
            status = write_file(path, seed * 2633 % (ARCHIVE_FILE_MAX + 1), seed);
        }
    }
    if (status < 0)
        return status;
    snprintf(archive, sizeof(archive), "%s/archive.tar", doors->memory);
    const char *const argv[] = {"tar", "cf", archive, "-C", doors->memory, "files", NULL};
    return run_program(doors, false, argv);
}

struct untar {
    struct program program;
    double *seconds; /* shared with the child */
};

/* Runs the program in a child of this child: the time until it has ended. */
static int timed_program(void *argument)
{
    const struct untar *untar = argument;
    int state;
    uint64_t start = crew_now();
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            become((void *)(uintptr_t)&untar->program);
        _exit(127);
    }
    while (waitpid(pid, &state, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    *untar->seconds = (double)(crew_now() - start) / 1e9;
    return WIFEXITED(state) && WEXITSTATUS(state) == 0 ? 0 : -EIO;
}

/* Extracts the archive into a fresh directory, compares, removes. Returns seconds or -errno. */
static double untar(const struct doors *doors, const char *directory, bool preload, double *shared)
{
    char archive[192];
    snprintf(archive, sizeof(archive), "%s/archive.tar", doors->memory);
    const char *const make[] = {"mkdir", directory, NULL};
    const char *const extract[] = {"tar", "xf", archive, "-C", directory, NULL};
    const char *const compare[] = {"tar", "df", archive, "-C", directory, NULL};
    const char *const clear[] = {"rm", "-rf", directory, NULL};
    struct untar timed = {.program = {.doors = doors, .argv = extract, .preload = preload, .output = -1},
                          .seconds = shared};
    int status = run_program(doors, preload, make);
    if (status == 0)
        status = target_child(-1, PATIENCE, timed_program, &timed);
    if (status == 0)
        status = run_program(doors, preload, compare);
    if (status == 0)
        status = run_program(doors, preload, clear);
    if (status < 0 && status != -EINTR)
        bench_error("untar into \"%s\": %s", directory, status_text(status));
    return status < 0 ? status : *shared;
}

static int untars(struct doors *doors, double *shared)
{
    char memory[192], mounted[256];
    struct target_run *run = doors->run;
    snprintf(memory, sizeof(memory), "%s/extracted", doors->memory);
    snprintf(mounted, sizeof(mounted), "%s/extracted", doors->mounts[MOUNT_OF_STRICT].path);
    double reference = untar(doors, memory, false, shared);
    if (reference < 0)
        return (int)reference;
    if (run->wanted[TARGET_UNTAR_PRELOAD] && doors->library[0] != 0) {
        double own = untar(doors, PREFIX "/extracted", true, shared);
        if (own < 0)
            return (int)own;
        target_ratio(run, TARGET_UNTAR_PRELOAD, own, reference, "s");
    }
    bool compared = run->wanted[TARGET_UNTAR_FUSE_MEMORY] && doors->mounts[MOUNT_REFERENCE].pid > 0;
    if ((!compared && !run->wanted[TARGET_UNTAR_FUSE]) || doors->mounts[MOUNT_OF_STRICT].pid <= 0)
        return 0;
    double own = untar(doors, mounted, false, shared);
    if (own < 0)
        return (int)own;
    if (run->wanted[TARGET_UNTAR_FUSE])
        target_ratio(run, TARGET_UNTAR_FUSE, own, reference, "s");
    if (!compared)
        return 0;
    snprintf(mounted, sizeof(mounted), "%s/extracted", doors->mounts[MOUNT_REFERENCE].path);
    double in_memory = untar(doors, mounted, false, shared);
    if (in_memory < 0)
        return (int)in_memory;
    target_ratio(run, TARGET_UNTAR_FUSE_MEMORY, own, in_memory, "s");
    return 0;
}

/* ---- all of it ---- */

/* One part after the other, so that one that fails leaves the others their figures. */
static int repeats(struct doors *doors, bool mounted, bool archived, double *shared)
{
    const struct target_run *run = doors->run;
    bool preload = doors->library[0] != 0;
    const struct {
        bool wanted;
        int (*measure)(struct doors *doors);
    } parts[] = {
        {preload && wanted_any(run, TARGET_PRELOAD_STAT, TARGET_PRELOAD_PWRITE), preload_inside},
        {preload && wanted_any(run, TARGET_OUTSIDE_PATH, TARGET_OUTSIDE_FD), preload_outside},
        {mounted && wanted_any(run, TARGET_FUSE_WRITE, TARGET_FUSE_STAT_STRICT), mounts_compared},
        {mounted && run->wanted[TARGET_FUSE_STAT_RELAXED], mount_relaxed},
    };
    bool failed[sizeof(parts) / sizeof(parts[0]) + 1] = {0};
    int first = 0;
    for (uint32_t repeat = 0; repeat < run->repeats; repeat++) {
        for (size_t i = 0; i <= sizeof(parts) / sizeof(parts[0]); i++) {
            bool last = i == sizeof(parts) / sizeof(parts[0]);
            if (interrupted())
                return -EINTR;
            if (failed[i] || !(last ? archived : parts[i].wanted))
                continue;
            int status = last ? untars(doors, shared) : parts[i].measure(doors);
            failed[i] = status < 0;
            first = first < 0 ? first : status;
        }
    }
    return first;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    remove(path);
    return 0;
}

static int measure(struct doors *doors, double *shared)
{
    const struct target_run *run = doors->run;
    if (wanted_any(run, TARGET_PRELOAD_STAT, TARGET_OUTSIDE_FD) || run->wanted[TARGET_UNTAR_PRELOAD])
        find_library(doors);
    int mounted = mount_all(doors);
    if (mounted == -EINTR)
        return mounted;
    int archived = 0;
    bool tars = wanted_any(run, TARGET_UNTAR_PRELOAD, TARGET_UNTAR_FUSE_MEMORY);
    if (tars && access(TMPFS, W_OK) == 0) {
        snprintf(doors->memory, sizeof(doors->memory), "%s/benchfs-bench.XXXXXX", TMPFS);
        if (mkdtemp(doors->memory) == NULL) {
            archived = -errno;
            doors->memory[0] = 0;
        } else {
            archived = make_archive(doors);
        }
        if (archived < 0 && archived != -EINTR)
            bench_error("an archive in %s: %s", TMPFS, status_text(archived));
    } else if (tars) {
        bench_error("there is no tmpfs at %s to compare with", TMPFS);
        archived = -ENOENT;
    }
    int status = repeats(doors, mounted == 0, tars && archived == 0, shared);
    return status < 0 ? status : mounted < 0 ? mounted : archived;
}

int targets_doors(struct target_run *run)
{
    static struct doors doors;
    static const int pin[] = {SERVER_PROCESSOR};
    doors = (struct doors){.run = run};
    double *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -ENOMEM;
    int status = private_directory_make(doors.directory, sizeof(doors.directory));
    if (status < 0)
        bench_error("cannot make a temporary directory: %s", status_text(status));
    else
        status = private_cluster_start(&doors.cluster, 1, pin, CAPACITY);
    if (status == 0)
        status = measure(&doors, shared);
    for (unsigned kind = 0; kind < MOUNTS; kind++)
        mount_end(&doors.mounts[kind]);
    private_cluster_stop(&doors.cluster);
    if (doors.memory[0] != 0)
        nftw(doors.memory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (doors.directory[0] != 0)
        nftw(doors.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    munmap(shared, sizeof(*shared));
    return status;
}
