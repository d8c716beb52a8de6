/* Replaying.
 *
 * The bytes of a file follow from which file of the trace it is and from the offset, so every read can be
 * checked, whatever order writers and readers took: each byte is the right one, or 0 where nothing was
 * written. An fd that a process had from another (by fork) is opened when it is first used, which is not
 * timed. */
#include "bench/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "bench/arrivals.h"
#include "bench/content.h"
#include "bench/relay.h"

#define PREPARE_SIZE 1048576u /* of a write that prepares */
#define CHECK_EVERY 16u
#define WRONG_BYTE 0xee
#define YIELDS 50u
#define NAP_NS 20000L

struct replayer {
    struct session *session;
    const struct replay_plan *plan;
    double speed;
    bool verify;
    struct relay *done; /* operations, by path */
    struct replay_outcome *outcome;
    struct content content;
    int *fds; /* of the plan's files, in this worker; -1: not open */
    char *bytes;
    size_t room;
    uint64_t reads;
    bool check;                                  /* the bytes of this read */
    struct crew_part *parts[REPLAY_PHASE_COUNT]; /* NULL: does not occur */
    char path[SESSION_PATH_MAX], new_path[SESSION_PATH_MAX];
};

static const char *place(const struct replayer *replayer, uint32_t path, char text[SESSION_PATH_MAX])
{
    snprintf(text, SESSION_PATH_MAX, "%s%s", replayer->session->directory,
             replayer->plan->trace->paths[path]);
    return text;
}

static uint64_t seed_of(uint32_t inode)
{
    return hash_mix(inode + UINT64_C(1));
}

static int fail(const struct replayer *replayer, const struct trace_event *event, int status)
{
    const char *name = trace_operation_names[event->operation];
    if (status == -ECANCELED)
        return status;
    bench_error("target %s%s: line %u of the trace: %s %s: %s", replayer->session->call->scheme,
                replayer->session->target->root, event->line, name, replayer->path, strerror(-status));
    return status;
}

/* ---- before it ---- */

/* The directory and those above it; each once. */
static int make_directory(struct replayer *replayer, uint32_t path, bool *made)
{
    const struct replay_plan *plan = replayer->plan;
    struct session *session = replayer->session;
    if (made[path] || plan->parents[path] == UINT32_MAX)
        return 0;
    made[path] = true;
    int status = make_directory(replayer, plan->parents[path], made);
    if (status == 0 &&
        (status = session->call->mkdir(session->target, place(replayer, path, replayer->path), 0755)) < 0)
        session_fail(session, "mkdir", replayer->path, status);
    return status;
}

static int make_directories(struct replayer *replayer)
{
    const struct replay_plan *plan = replayer->plan;
    bool *made = calloc(plan->trace->path_count + 1u, sizeof(*made));
    int status = made == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; i < plan->trace->path_count && status == 0; i++) {
        if (plan->prepared[i].kind == REPLAY_DIRECTORY)
            status = make_directory(replayer, i, made);
    }
    free(made);
    return status;
}

static int make_file(struct replayer *replayer, uint32_t path)
{
    struct session *session = replayer->session;
    const struct replay_prepared *prepared = &replayer->plan->prepared[path];
    place(replayer, path, replayer->path);
    int fd = session->call->file_open(session->target, replayer->path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        return session_fail(session, "create", replayer->path, fd);
    int status = 0;
    for (uint64_t offset = 0; offset < prepared->size && status == 0; offset += PREPARE_SIZE) {
        size_t size =
            prepared->size - offset < PREPARE_SIZE ? (size_t)(prepared->size - offset) : PREPARE_SIZE;
        content_fill(&replayer->content, seed_of(prepared->inode), replayer->bytes, size, offset);
        ssize_t count = session->call->write(session->target, fd, replayer->bytes, size, (off_t)offset);
        if (count != (ssize_t)size)
            status = session_fail(session, "write", replayer->path, count < 0 ? (int)count : -EIO);
    }
    int closed = session->call->file_close(session->target, fd);
    return status == 0 && closed < 0 ? session_fail(session, "close", replayer->path, closed) : status;
}

static int make_link(struct replayer *replayer, uint32_t path)
{
    struct session *session = replayer->session;
    place(replayer, path, replayer->path);
    place(replayer, replayer->plan->prepared[path].target, replayer->new_path);
    int status = session->call->symlink(session->target, replayer->new_path, replayer->path);
    return status < 0 ? session_fail(session, "symlink", replayer->path, status) : 0;
}

static int prepare(struct replayer *replayer)
{
    const struct replay_plan *plan = replayer->plan;
    struct crew_member *worker = replayer->session->worker;
    int status = 0;
    if (crew_first(worker))
        relay_clear(replayer->done);
    if (worker->number == 0)
        status = make_directories(replayer);
    if (status == 0)
        status = crew_wait(worker);
    for (uint32_t i = worker->number; i < plan->trace->path_count && status == 0; i += worker->count) {
        if (plan->prepared[i].kind == REPLAY_FILE)
            status = make_file(replayer, i);
        else if (plan->prepared[i].kind == REPLAY_LINK)
            status = make_link(replayer, i);
    }
    return status == 0 ? crew_wait(worker) : status;
}

/* ---- one operation ---- */

static int wait_for(struct replayer *replayer, const struct replay_ticket *ticket)
{
    for (unsigned looks = 0; relay_count(replayer->done, ticket->path) < ticket->needs; looks++) {
        if (crew_stopping(replayer->session->worker))
            return -ECANCELED;
        if (looks < YIELDS)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
    return 0;
}

/* Opens what another worker opened. 0, -ECANCELED, or the status of the open. */
static int open_here(struct replayer *replayer, uint32_t file)
{
    const struct replay_file *opened = &replayer->plan->files[file];
    struct session *session = replayer->session;
    if (replayer->fds[file] >= 0)
        return 0;
    int status = wait_for(replayer, &(struct replay_ticket){opened->path, opened->opened});
    if (status < 0)
        return status;
    place(replayer, opened->path, replayer->path);
    int fd = session->call->file_open(session->target, replayer->path, opened->wrote ? O_RDWR : O_RDONLY, 0);
    if (fd >= 0)
        replayer->fds[file] = fd;
    return fd < 0 ? fd : 0;
}

static int count_entry(void *argument, const char *name, mode_t type)
{
    (void)argument, (void)name, (void)type;
    return 0;
}

/* Calls the target, which has the calls that the plan needs. Returns what it returned. */
static ssize_t call_target(struct replayer *replayer, const struct replay_step *step)
{
    const struct trace_event *event = step->event;
    const struct target_operations *call = replayer->session->call;
    struct target *target = replayer->session->target;
    int fd = step->file != UINT32_MAX && event->operation != TRACE_OPEN ? replayer->fds[step->file] : -1;
    struct stat found;
    switch (event->operation) {
    case TRACE_OPEN:
        return call->file_open(target, replayer->path, event->flags & ~O_APPEND, 0644);
    case TRACE_CLOSE:
        return call->file_close(target, fd);
    case TRACE_READ:
        return call->read(target, fd, replayer->bytes, event->moved > 0 ? event->moved : event->length,
                          (off_t)event->offset);
    case TRACE_WRITE:
        return call->write(target, fd, replayer->bytes, event->length, (off_t)event->offset);
    case TRACE_FSYNC:
        return call->sync(target, fd);
    case TRACE_STAT:
        return (event->link ? call->lstat : call->stat)(target, replayer->path, &found);
    case TRACE_MKDIR:
        return call->mkdir(target, replayer->path, 0755);
    case TRACE_RMDIR:
        return call->rmdir(target, replayer->path);
    case TRACE_UNLINK:
        return call->unlink(target, replayer->path);
    case TRACE_READDIR:
        return call->list(target, replayer->path, count_entry, NULL);
    case TRACE_RENAME:
        return call->rename(target, replayer->path, replayer->new_path);
    case TRACE_LINK:
        return call->link(target, replayer->path, replayer->new_path);
    case TRACE_SYMLINK:
        return call->symlink(target, replayer->new_path, replayer->path);
    case TRACE_READLINK:
        return call->readlink(target, replayer->path, replayer->bytes, replayer->room);
    default: /* TRACE_TRUNCATE */
        return call->truncate(target, replayer->path, (off_t)event->offset);
    }
}

/* Prepares what the call needs: paths, bytes, the open file. 1: it cannot be done here. */
static int before(struct replayer *replayer, const struct replay_step *step)
{
    const struct trace_event *event = step->event;
    uint64_t length = event->operation == TRACE_READ && event->moved > 0 ? event->moved : event->length;
    replayer->path[0] = 0;
    if (length > replayer->room) {
        free(replayer->bytes);
        replayer->room = (size_t)((length + 4095) & ~UINT64_C(4095));
        replayer->bytes = aligned_alloc(4096, replayer->room);
        if (replayer->bytes == NULL)
            return -ENOMEM;
    }
    if (event->path != TRACE_NO_PATH)
        place(replayer, event->called != TRACE_NO_PATH ? event->called : event->path, replayer->path);
    else if (step->file != UINT32_MAX)
        place(replayer, replayer->plan->files[step->file].path, replayer->path);
    if (event->new_path != TRACE_NO_PATH)
        place(replayer, event->new_called != TRACE_NO_PATH ? event->new_called : event->new_path,
              replayer->new_path);
    if (event->operation == TRACE_CLOSE && replayer->fds[step->file] < 0)
        return 1; /* it is open elsewhere */
    if (event->operation == TRACE_WRITE)
        content_fill(&replayer->content, seed_of(step->inode), replayer->bytes, event->length, event->offset);
    if (event->operation == TRACE_READ)
        replayer->check = replayer->verify || replayer->reads++ % CHECK_EVERY == 0;
    if (event->operation == TRACE_READ && replayer->check)
        memset(replayer->bytes, WRONG_BYTE, length); /* 0 would be right in a hole */
    if (event->operation <= TRACE_FSYNC && event->operation != TRACE_OPEN) {
        int status = open_here(replayer, step->file);
        if (status < 0 && status != -ECANCELED) {
            atomic_fetch_add(&replayer->outcome->lost, 1);
            return 1;
        }
        return status;
    }
    return 0;
}

/* Looks at what the call returned. 0: it counts; 1: it is an error that does not end the run; or -errno. */
static int after(struct replayer *replayer, const struct replay_step *step, ssize_t result)
{
    const struct trace_event *event = step->event;
    if (event->operation == TRACE_OPEN && step->file != UINT32_MAX && result >= 0)
        replayer->fds[step->file] = (int)result;
    if (event->operation == TRACE_CLOSE)
        replayer->fds[step->file] = -1;
    if (event->error != 0) {
        if (result < 0)
            return 0;
        if (event->operation == TRACE_OPEN)
            replayer->session->call->file_close(replayer->session->target, (int)result);
        atomic_fetch_add(&replayer->outcome->differed, 1);
        return 1;
    }
    if (result < 0)
        return fail(replayer, event, (int)result);
    if (event->operation == TRACE_WRITE && result != (ssize_t)event->length)
        return fail(replayer, event, -EIO);
    if (event->operation == TRACE_READLINK && event->new_path != TRACE_NO_PATH &&
        ((size_t)result != strlen(replayer->new_path) ||
         memcmp(replayer->bytes, replayer->new_path, (size_t)result) != 0))
        return fail(replayer, event, -EBADMSG);
    if (event->operation == TRACE_READ) {
        if (replayer->check && !content_check_sparse(&replayer->content, seed_of(step->inode),
                                                     replayer->bytes, (size_t)result, event->offset))
            return fail(replayer, event, -EBADMSG);
        if (result < (ssize_t)event->moved) {
            atomic_fetch_add(&replayer->outcome->less, 1);
            return 1;
        }
    }
    return 0;
}

static void record(struct replayer *replayer, const struct trace_event *event, uint64_t elapsed,
                   ssize_t result, bool good)
{
    struct crew_part *parts[] = {replayer->parts[event->operation], replayer->parts[REPLAY_ALL]};
    for (int i = 0; i < 2; i++) {
        histogram_record(&parts[i]->latency, elapsed);
        parts[i]->operations += good;
        parts[i]->errors += !good;
        if (good && result > 0 && (event->operation == TRACE_READ || event->operation == TRACE_WRITE))
            parts[i]->bytes += (uint64_t)result;
    }
}

static void count_error(struct replayer *replayer, const struct trace_event *event)
{
    replayer->parts[event->operation]->errors++;
    replayer->parts[REPLAY_ALL]->errors++;
}

static void wait_for_time(struct replayer *replayer, const struct trace_event *event)
{
    uint64_t due = replayer->parts[REPLAY_ALL]->started + (uint64_t)((double)event->time / replayer->speed);
    uint64_t now = crew_now();
    if (now < due) {
        arrivals_wait(due);
        return;
    }
    uint64_t late = atomic_load(&replayer->outcome->late);
    while (late < now - due && !atomic_compare_exchange_weak(&replayer->outcome->late, &late, now - due))
        ;
}

static bool is_stopping(const void *worker)
{
    return crew_stopping(worker);
}

static int do_step(struct replayer *replayer, const struct replay_step *step)
{
    const struct trace_event *event = step->event;
    int status = 0;
    if (replayer->speed > 0.0)
        wait_for_time(replayer, event);
    for (unsigned i = 0; i < step->ticket_count && status == 0; i++)
        status = wait_for(replayer, &step->tickets[i]);
    if (status == 0)
        status = before(replayer, step);
    if (status < 0)
        return status;
    if (status > 0 && event->operation != TRACE_CLOSE)
        count_error(replayer, event);
    if (status == 0) {
        uint64_t start = crew_now();
        ssize_t result = call_target(replayer, step);
        uint64_t elapsed = crew_now() - start;
        status = after(replayer, step, result);
        if (status < 0)
            return status;
        record(replayer, event, elapsed, result, status == 0);
    }
    status = 0;
    for (unsigned i = 0; i < step->ticket_count && status == 0; i++)
        status = relay_add(replayer->done, step->tickets[i].path, is_stopping, replayer->session->worker);
    return status;
}

/* ---- all of them ---- */

static int run_steps(struct replayer *replayer)
{
    const struct replay_plan *plan = replayer->plan;
    const struct crew_member *worker = replayer->session->worker;
    int status = 0;
    for (uint32_t i = 0; i < plan->step_count && status == 0; i++) {
        if (plan->processes[i] % worker->count != worker->number)
            continue;
        status = crew_stopping(worker) ? -ECANCELED : do_step(replayer, &plan->steps[i]);
    }
    return status;
}

static int run_phases(struct replayer *replayer)
{
    struct crew_member *worker = replayer->session->worker;
    replayer->parts[REPLAY_ALL] = crew_phase(worker, REPLAY_ALL);
    if (replayer->parts[REPLAY_ALL] == NULL)
        return -ECANCELED;
    for (uint32_t phase = 0; phase < REPLAY_ALL; phase++) {
        if (replayer->plan->operations[phase] > 0)
            replayer->parts[phase] = crew_phase_within(worker, phase, REPLAY_ALL);
    }
    int status = run_steps(replayer);
    if (status < 0)
        return status;
    crew_phase_end(worker, REPLAY_ALL);
    for (uint32_t phase = 0; phase < REPLAY_ALL; phase++) {
        if (replayer->parts[phase] != NULL)
            crew_phase_end_within(worker, phase, REPLAY_ALL);
    }
    return 0;
}

/* What the trace left open, and what it left behind. */
static int clear(struct replayer *replayer)
{
    struct session *session = replayer->session;
    int status = 0;
    for (uint32_t i = 0; i < replayer->plan->file_count && status == 0; i++) {
        if (replayer->fds[i] < 0)
            continue;
        status = session->call->file_close(session->target, replayer->fds[i]);
        if (status < 0)
            session_fail(session, "close", place(replayer, replayer->plan->files[i].path, replayer->path),
                         status);
    }
    if (status == 0)
        status = crew_wait(session->worker);
    if (status == 0 && session->worker->number == 0)
        status = session_remove_all(session);
    return status;
}

int replay_run(struct session *session, const struct replay_plan *plan, double speed, bool verify,
               struct relay *done, struct replay_outcome *outcome)
{
    struct replayer replayer = {.session = session,
                                .plan = plan,
                                .speed = speed,
                                .verify = verify,
                                .done = done,
                                .outcome = outcome,
                                .room = PREPARE_SIZE};
    int status = -ENOMEM;
    content_init(&replayer.content, verify);
    replayer.fds = malloc((plan->file_count + 1u) * sizeof(*replayer.fds));
    replayer.bytes = aligned_alloc(4096, replayer.room);
    if (replayer.fds != NULL && replayer.bytes != NULL) {
        memset(replayer.fds, 0xff, (plan->file_count + 1u) * sizeof(*replayer.fds));
        status = prepare(&replayer);
    }
    if (status == 0)
        status = run_phases(&replayer);
    if (status == 0)
        status = clear(&replayer);
    if (status == -ENOMEM)
        bench_error("out of memory to replay the trace");
    free(replayer.bytes);
    free(replayer.fds);
    return status;
}
