/* Running fio.
 *
 * It is a process of ours like any other: it dies with us, it is killed when it takes too long, and what it
 * says on standard error is shown only if it fails. Its file is laid out by a job of its own (the caller runs
 * a writing one first), so that no measured transfer allocates blocks. Nothing in its output is taken for
 * granted: a member that is missing, of another type or without sense makes the whole result invalid. */
#include "bench/fio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/options.h"

#define OUTPUT_MAX (256u << 10)
#define POLL_MS 50

/* ---- its output ---- */

/* A member of the object that is a finite number above zero, or 0. */
static double positive(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);
    double value = json_is_number(member) ? json_number_value(member) : 0.0;
    return value > 0.0 && value < 1e18 ? value : 0.0;
}

static int read_direction(const json_t *direction, struct fio_result *result)
{
    const json_t *median = json_object_get(json_object_get(direction, "lat_ns"), "percentile");
    const json_t *operations = json_object_get(direction, "total_ios");
    if (!json_is_integer(operations) || json_integer_value(operations) <= 0)
        return -EBADMSG;
    *result = (struct fio_result){.operations = (uint64_t)json_integer_value(operations),
                                  .bytes_per_second = positive(direction, "bw_bytes"),
                                  .operations_per_second = positive(direction, "iops"),
                                  .median_ns = positive(median, "50.000000")};
    return result->bytes_per_second > 0.0 && result->operations_per_second > 0.0 && result->median_ns > 0.0
               ? 0
               : -EBADMSG;
}

int fio_parse(const char *text, size_t length, bool writing, struct fio_result *result)
{
    struct fio_result found;
    json_t *root = json_loadb(text, length, 0, NULL);
    const json_t *jobs = json_object_get(root, "jobs");
    const json_t *job = json_array_size(jobs) == 1 ? json_array_get(jobs, 0) : NULL;
    const json_t *error = json_object_get(job, "error");
    int status = -EBADMSG;
    if (json_is_integer(error))
        status = json_integer_value(error) != 0
                     ? -EIO
                     : read_direction(json_object_get(job, writing ? "write" : "read"), &found);
    json_decref(root);
    if (status == 0)
        *result = found;
    return status;
}

/* ---- the process ---- */

bool fio_found(void)
{
    const char *path = getenv("PATH");
    char *copy = strdup(path != NULL ? path : "/usr/bin:/bin");
    bool found = false;
    char *rest = copy;
    for (char *directory; !found && rest != NULL && (directory = strsep(&rest, ":")) != NULL;) {
        char program[4096];
        int length = snprintf(program, sizeof(program), "%s/fio", directory);
        found = length > 0 && (size_t)length < sizeof(program) && access(program, X_OK) == 0;
    }
    free(copy);
    return found;
}

/* In the child. */
static void become_fio(const struct fio_job *job, int output, int errors)
{
    char file[300], kind[32], block[48], size[48], depth[32], runtime[48];
    snprintf(file, sizeof(file), "--filename=%s", job->file);
    snprintf(kind, sizeof(kind), "--rw=%s%s", job->random ? "rand" : "", job->writing ? "write" : "read");
    snprintf(block, sizeof(block), "--bs=%" PRIu64, job->block);
    snprintf(size, sizeof(size), "--size=%" PRIu64, job->size);
    snprintf(depth, sizeof(depth), "--iodepth=%" PRIu32, job->depth);
    snprintf(runtime, sizeof(runtime), "--runtime=%" PRIu64 "ms", job->duration / NSEC_PER_MSEC);
    const char *arguments[] = {"fio",
                               "--name=reference",
                               file,
                               kind,
                               block,
                               size,
                               depth,
                               "--ioengine=io_uring",
                               "--direct=1",
                               "--thread",
                               "--norandommap",
                               "--eta=never",
                               "--output-format=json",
                               "--lat_percentiles=1",
                               job->duration > 0 ? "--time_based" : NULL,
                               runtime,
                               NULL};
    interrupt_default();
    dup2(output, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    if (chdir(job->directory) == 0) /* a name with a colon would be two; and it leaves files where it is */
        execvp("fio", (char *const *)arguments);
    dprintf(STDERR_FILENO, "cannot run fio: %s", strerror(errno));
    _exit(127);
}

/* Reads what it writes until it ends it. Bytes, or -errno. */
static ssize_t read_output(int output, uint64_t deadline, char *text, size_t size)
{
    size_t length = 0;
    for (;;) {
        struct pollfd ready = {.fd = output, .events = POLLIN};
        if (interrupted())
            return -EINTR;
        if (crew_now() > deadline)
            return -ETIMEDOUT;
        if (length == size)
            return -EMSGSIZE;
        if (poll(&ready, 1, POLL_MS) <= 0)
            continue;
        ssize_t count = read(output, text + length, size - length);
        if (count == 0)
            return (ssize_t)length;
        if (count < 0 && errno != EINTR)
            return -errno;
        length += count > 0 ? (size_t)count : 0;
    }
}

/* Waits for its end; killed if it was given up. Its exit status, or -1. */
static int await_fio(pid_t pid, bool given_up)
{
    int state;
    if (given_up)
        kill(pid, SIGKILL);
    while (waitpid(pid, &state, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

/* The first line of what it said. */
static void show_errors(int errors, const char *what)
{
    char text[512];
    ssize_t length = pread(errors, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    bench_error("fio: %s%s%s", what, text[0] != 0 ? ": " : "", text);
}

static int conclude(const struct fio_job *job, const char *text, ssize_t length, int exit_status, int errors,
                    struct fio_result *result)
{
    if (length == -EINTR)
        return -EINTR;
    if (length < 0) {
        show_errors(errors, length == -ETIMEDOUT ? "did not end in time" : "cannot read its output");
        return (int)length;
    }
    if (exit_status != 0) {
        show_errors(errors, "failed");
        return exit_status == 127 ? -ENOENT : -EIO;
    }
    int status = fio_parse(text, (size_t)length, job->writing, result);
    if (status < 0)
        show_errors(errors, status == -EIO ? "failed" : "its output is not understood");
    return status;
}

int fio_run(const struct fio_job *job, uint64_t patience, struct fio_result *result)
{
    int ends[2] = {-1, -1}, status;
    pid_t pid, parent = getpid();
    char *text = malloc(OUTPUT_MAX);
    int errors = memfd_create("fio errors", MFD_CLOEXEC);
    if (text == NULL || errors < 0 || pipe2(ends, O_CLOEXEC) < 0) {
        status = text == NULL ? -ENOMEM : -errno;
        bench_error("cannot run fio: %s", strerror(-status));
        goto out;
    }
    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        status = -errno;
        bench_error("cannot start a process: %s", strerror(errno));
        goto out;
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        become_fio(job, ends[1], errors);
    }
    close(ends[1]);
    ends[1] = -1;
    ssize_t length = read_output(ends[0], crew_now() + patience, text, OUTPUT_MAX);
    status = conclude(job, text, length, await_fio(pid, length < 0), errors, result);
out:
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
    }
    if (errors >= 0)
        close(errors);
    free(text);
    return status;
}
