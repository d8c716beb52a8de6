/* A crew.
 *
 * Processes, because that is what jobs are; threads in them when asked for. All share one mapping with a
 * barrier and a part per worker and phase, so nothing is sent and a worker that dies takes nothing along: its
 * parent sees its exit status, raises `failed`, and whoever waits at the barrier gives up. The barrier sleeps
 * in short steps rather than spin: there may be more workers than processors. A phase lasts from the first
 * worker's start to the last one's end. The last worker to come opens the barrier, so what it does before
 * that (CREW_BEGINS) it does while nobody works.
 *
 * Under MPI every rank has such a crew, and its parent goes to meetings of all ranks (bench/ranks.h) for it:
 * the last of its workers at a barrier asks for one, and the barrier opens when all ranks have come. Workers
 * know nothing of MPI.
 *
 * Who looks on reads the workers' own counters, which nobody adds up for him and nobody locks: a look costs a
 * worker a cache line that it has to fetch again. */
#include "bench/crew.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/ranks.h"

#define BARRIER_STEP_NS 20000L
#define ATTEND_STEP_NS 2000000L /* the parent's */

struct crew {
    uint32_t workers; /* of this rank */
    uint32_t phases;
    size_t length; /* of the mapping */
    void *argument;
    crew_run run;
    _Atomic uint32_t failed;
    void (*edge)(struct crew_member *worker, uint32_t phase, enum crew_edge edge); /* NULL: none */
    _Atomic uint64_t arrived;                   /* at barriers, all in all */
    _Atomic uint64_t opened;                    /* barriers */
    _Atomic uint32_t beginning;                 /* phases that the next one begins */
    _Atomic uint32_t in_phase[CREW_PHASES_MAX]; /* workers */
    /* Meetings of all ranks, at each of which the workers of this one wait: the last of them asks for it, the
     * parent goes there. Not used when there is one rank. */
    _Atomic uint64_t meetings_wanted, meetings_held;
    /* Of crew_maximum, used in turn: one is read, one filled, and the next emptied. */
    _Atomic uint64_t maxima[3];
    struct crew_part parts[]; /* [worker][phase] */
};

struct thread {
    pthread_t thread;
    struct crew_member worker;
    uint64_t barriers; /* passed */
    uint64_t maxima;   /* found */
    int status;
};

static __thread struct thread *current;

uint64_t crew_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void crew_pin(unsigned number)
{
    static cpu_set_t allowed; /* those that the program began with: its children may be bound already */
    cpu_set_t one;
    if (CPU_COUNT(&allowed) == 0 && sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return;
    unsigned skip = number % (unsigned)CPU_COUNT(&allowed);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof(one), &one);
        return;
    }
}

/* As the last one to come: until the last ones of all ranks have come. */
static void meet(struct crew *crew)
{
    if (ranks_count() == 1)
        return;
    uint64_t wanted = atomic_fetch_add(&crew->meetings_wanted, 1) + 1;
    while (atomic_load(&crew->meetings_held) < wanted && !atomic_load(&crew->failed))
        nanosleep(&(struct timespec){.tv_nsec = BARRIER_STEP_NS}, NULL);
}

/* As the last one to come. What is looked at when a phase begins is looked at while nobody does anything, in
 * any rank. */
static void open_barrier(struct crew_member *worker, uint64_t barrier)
{
    struct crew *crew = worker->crew;
    uint32_t phases = atomic_exchange(&crew->beginning, 0);
    meet(crew);
    for (uint32_t phase = 0; phase < crew->phases && crew->edge != NULL; phase++) {
        if ((phases >> phase & 1) != 0)
            crew->edge(worker, phase, CREW_BEGINS);
    }
    if (phases != 0 && crew->edge != NULL)
        meet(crew);
    atomic_store(&crew->opened, barrier);
}

int crew_wait(struct crew_member *worker)
{
    struct crew *crew = worker->crew;
    uint64_t barrier = ++current->barriers;
    if (atomic_fetch_add(&crew->arrived, 1) + 1 == barrier * crew->workers)
        open_barrier(worker, barrier);
    while (atomic_load(&crew->opened) < barrier) {
        if (atomic_load(&crew->failed))
            return -ECANCELED;
        nanosleep(&(struct timespec){.tv_nsec = BARRIER_STEP_NS}, NULL);
    }
    return atomic_load(&crew->failed) ? -ECANCELED : 0;
}

int crew_maximum(struct crew_member *worker, uint64_t value, uint64_t *maximum)
{
    struct crew *crew = worker->crew;
    _Atomic uint64_t *greatest = &crew->maxima[current->maxima % 3];
    atomic_store(&crew->maxima[++current->maxima % 3], 0);
    uint64_t seen = atomic_load(greatest);
    while (seen < value && !atomic_compare_exchange_weak(greatest, &seen, value))
        ;
    int status = crew_wait(worker);
    if (status == 0)
        *maximum = atomic_load(greatest);
    return status;
}

int crew_sum(struct crew_member *worker, uint64_t value, uint64_t *sum)
{
    uint64_t added = 0, one = 0;
    for (uint32_t i = 0; i < worker->count; i++) {
        int status = crew_maximum(worker, i == worker->number ? value : 0, &one);
        if (status < 0)
            return status;
        added += one;
    }
    *sum = added;
    return 0;
}

bool crew_first(const struct crew_member *worker)
{
    return worker->number % worker->crew->workers == 0;
}

bool crew_stopping(const struct crew_member *worker)
{
    return atomic_load_explicit(&worker->crew->failed, memory_order_relaxed) != 0;
}

/* worker: its number within the rank. */
static struct crew_part *part_of(struct crew *crew, uint32_t worker, uint32_t phase)
{
    return &crew->parts[worker * crew->phases + phase];
}

static struct crew_part *own_part(const struct crew_member *worker, uint32_t phase)
{
    return part_of(worker->crew, worker->number % worker->crew->workers, phase);
}

struct crew_part *crew_phase(struct crew_member *worker, uint32_t phase)
{
    struct crew_part *part = own_part(worker, phase);
    histogram_init(&part->latency);
    if (worker->crew->edge != NULL)
        worker->crew->edge(worker, phase, CREW_COMES);
    atomic_fetch_or(&worker->crew->beginning, 1u << phase);
    atomic_fetch_add(&worker->crew->in_phase[phase], 1);
    if (crew_wait(worker) < 0)
        return NULL;
    part->started = crew_now();
    return part;
}

void crew_phase_end(struct crew_member *worker, uint32_t phase)
{
    struct crew *crew = worker->crew;
    own_part(worker, phase)->ended = crew_now();
    if (crew->edge != NULL)
        crew->edge(worker, phase, CREW_LEAVES);
    if (atomic_fetch_sub(&crew->in_phase[phase], 1) == 1 && crew->edge != NULL)
        crew->edge(worker, phase, CREW_ENDS);
}

struct crew_part *crew_phase_within(struct crew_member *worker, uint32_t phase, uint32_t outer)
{
    struct crew_part *part = own_part(worker, phase);
    histogram_init(&part->latency);
    part->started = own_part(worker, outer)->started;
    return part;
}

void crew_phase_end_within(struct crew_member *worker, uint32_t phase, uint32_t outer)
{
    own_part(worker, phase)->ended = own_part(worker, outer)->ended;
}

void crew_phase_took(struct crew_member *worker, uint32_t phase, uint64_t ns)
{
    struct crew_part *part = own_part(worker, phase);
    part->ended = part->started + (ns > 0 ? ns : 1);
}

static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    current = thread;
    thread->status = thread->worker.crew->run(&thread->worker);
    if (thread->status < 0)
        atomic_store(&thread->worker.crew->failed, 1);
    return NULL;
}

/* The life of one process. */
static int run_process(struct crew *crew, uint32_t first, uint32_t threads)
{
    struct thread members[CREW_MAX];
    memset(members, 0, sizeof(members));
    uint32_t started = 1;
    int status = 0;
    for (uint32_t i = 0; i < threads; i++)
        members[i].worker = (struct crew_member){.crew = crew,
                                                 .number = ranks_number() * crew->workers + first + i,
                                                 .count = ranks_count() * crew->workers,
                                                 .argument = crew->argument};
    for (; started < threads && status == 0; started++)
        status = -pthread_create(&members[started].thread, NULL, run_thread, &members[started]);
    if (status < 0) {
        bench_error("cannot start a thread: %s", strerror(-status));
        atomic_store(&crew->failed, 1);
        started--;
    } else {
        run_thread(&members[0]);
        status = members[0].status;
    }
    for (uint32_t i = 1; i < started; i++) {
        pthread_join(members[i].thread, NULL);
        if (members[i].status < 0)
            status = members[i].status;
    }
    return status;
}

static void add_up(struct crew *crew, struct crew_total *totals)
{
    for (uint32_t phase = 0; phase < crew->phases; phase++) {
        struct crew_total *total = &totals[phase];
        uint64_t started = UINT64_MAX, ended = 0;
        memset(total, 0, sizeof(*total));
        histogram_init(&total->latency);
        for (uint32_t i = 0; i < crew->workers; i++) {
            const struct crew_part *part = part_of(crew, i, phase);
            if (part->started == 0)
                continue;
            total->operations += part->operations;
            total->bytes += part->bytes;
            total->errors += part->errors;
            if (part->started < started)
                started = part->started;
            if (part->ended > ended)
                ended = part->ended;
            uint64_t p99 = histogram_quantile(&part->latency, 0.99);
            if (p99 > total->worst_p99)
                total->worst_p99 = p99;
            histogram_merge(&total->latency, &part->latency);
        }
        total->seconds = ended > started ? (double)(ended - started) / 1e9 : 0.0;
    }
}

/* The same of all ranks. A phase takes as long as in the rank in which it took longest: hosts have clocks of
 * their own, and all have begun together. Returns 0 or -ECANCELED. */
static int add_up_ranks(uint32_t phases, struct crew_total *totals)
{
    int status = 0;
    for (uint32_t phase = 0; phase < phases && ranks_count() > 1 && status == 0; phase++) {
        struct crew_total *total = &totals[phase];
        struct histogram *latency = &total->latency;
        uint64_t sums[] = {total->operations, total->bytes, total->errors, latency->count, latency->sum};
        uint64_t maxima[] = {(uint64_t)(total->seconds * 1e9), total->worst_p99, latency->maximum,
                             ~latency->minimum};
        status = ranks_sum(sums, sizeof(sums) / sizeof(sums[0]));
        if (status == 0)
            status = ranks_sum(latency->buckets, HISTOGRAM_BUCKETS);
        if (status == 0)
            status = ranks_maximum(maxima, sizeof(maxima) / sizeof(maxima[0]));
        total->operations = sums[0];
        total->bytes = sums[1];
        total->errors = sums[2];
        latency->count = sums[3];
        latency->sum = sums[4];
        total->seconds = (double)maxima[0] / 1e9;
        total->worst_p99 = maxima[1];
        latency->maximum = maxima[2];
        latency->minimum = ~maxima[3];
    }
    return status;
}

/* The phase that has begun and not ended, if there is one. */
static void look_on(struct crew *crew, const struct crew_watch *watch)
{
    for (uint32_t phase = 0; phase < crew->phases; phase++) {
        uint64_t started = UINT64_MAX, operations = 0, bytes = 0;
        bool ended = true;
        for (uint32_t i = 0; i < crew->workers; i++) {
            const struct crew_part *part = part_of(crew, i, phase);
            uint64_t began = __atomic_load_n(&part->started, __ATOMIC_RELAXED);
            started = began > 0 && began < started ? began : started;
            ended = ended && __atomic_load_n(&part->ended, __ATOMIC_RELAXED) > 0;
            operations += __atomic_load_n(&part->operations, __ATOMIC_RELAXED);
            bytes += __atomic_load_n(&part->bytes, __ATOMIC_RELAXED);
        }
        if (started < UINT64_MAX && !ended) {
            watch->look(watch->argument, phase, (double)(crew_now() - started) / 1e9, operations, bytes);
            return;
        }
    }
}

/* ---- the parent ---- */

/* In a new process. */
static _Noreturn void be_worker(struct crew *crew, uint32_t number, uint32_t threads, int pin, bool graceful)
{
    if (graceful)
        interrupt_ignore(); /* the parent says when */
    else
        interrupt_default();
    if (pin >= 0)
        crew_pin((unsigned)pin);
    int result = run_process(crew, number * threads, threads);
    fflush(NULL);
    _exit(result == 0 ? 0 : 1);
}

/* Returns how many were started. */
static uint32_t start_processes(struct crew *crew, uint32_t processes, uint32_t threads, const int *pin,
                                bool graceful, pid_t *pids)
{
    pid_t parent = getpid();
    fflush(NULL);
    for (uint32_t started = 0; started < processes; started++) {
        pids[started] = fork();
        if (pids[started] < 0) {
            bench_error("cannot start a process: %s", strerror(errno));
            atomic_store(&crew->failed, 1);
            return started;
        }
        if (pids[started] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(1);
            be_worker(crew, started, threads, pin != NULL ? pin[started] : -1, graceful);
        }
    }
    return processes;
}

/* Only own children: other processes of this one may be servers. -1: none has ended. */
static pid_t one_that_ended(pid_t *pids, uint32_t count, int *state)
{
    for (uint32_t i = 0; i < count; i++) {
        pid_t pid = pids[i];
        if (pid > 0 && waitpid(pid, state, WNOHANG) == pid) {
            pids[i] = 0;
            return pid;
        }
    }
    return -1;
}

static void kill_all(const pid_t *pids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (pids[i] > 0)
            kill(pids[i], SIGKILL);
    }
}

/* The parent's part in meetings of all ranks. */
struct meetings {
    uint64_t crew;  /* number of this one */
    uint64_t count; /* of its meetings so far */
    bool under_way;
    bool elsewhere; /* another rank has failed: what its workers give up for is not their failure */
    struct ranks_meeting meeting;
};

static void go_to_meeting(struct meetings *meetings, struct crew *crew, bool failed)
{
    meetings->meeting =
        (struct ranks_meeting){.place = meetings->crew << 32 | meetings->count++, .failed = failed};
    for (size_t i = 0; i < sizeof(crew->maxima) / sizeof(crew->maxima[0]); i++)
        meetings->meeting.maxima[i] = atomic_load(&crew->maxima[i]);
    meetings->under_way = true;
    if (ranks_meet(&meetings->meeting) < 0)
        atomic_store(&crew->failed, 1);
}

/* Goes to the meeting that the workers wait for, and lets them go on when all have come. */
static void look_after_ranks(struct meetings *meetings, struct crew *crew)
{
    if (!meetings->under_way) {
        if (ranks_alarmed()) {
            meetings->elsewhere = true;
            atomic_store(&crew->failed, 1);
        }
        if (atomic_load(&crew->meetings_wanted) == atomic_load(&crew->meetings_held) ||
            atomic_load(&crew->failed))
            return;
        go_to_meeting(meetings, crew, false);
    }
    int met = ranks_met(&meetings->meeting);
    if (met == 0)
        return;
    meetings->under_way = false;
    if (met < 0) {
        meetings->elsewhere = true;
        atomic_store(&crew->failed, 1);
        return;
    }
    for (size_t i = 0; i < sizeof(crew->maxima) / sizeof(crew->maxima[0]); i++)
        atomic_store(&crew->maxima[i], meetings->meeting.maxima[i]);
    atomic_fetch_add(&crew->meetings_held, 1);
}

/* When the workers have ended: the last meeting, at which it shows whether all ranks are well. Returns
 * status, or -ECANCELED when another rank has failed. */
static int meet_at_end(struct meetings *meetings, struct crew *crew, int status)
{
    int met = 1;
    if (ranks_count() == 1)
        return status;
    /* First one that is under way: the workers were killed while they waited for it. */
    for (bool last = false; met > 0 && !last;) {
        last = !meetings->under_way;
        if (last)
            go_to_meeting(meetings, crew, status < 0 && !meetings->elsewhere);
        while ((met = ranks_met(&meetings->meeting)) == 0)
            nanosleep(&(struct timespec){.tv_nsec = BARRIER_STEP_NS}, NULL);
        meetings->under_way = false;
    }
    return status < 0 ? status : met < 0 ? -ECANCELED : 0;
}

/* Takes note of a process that has ended, if there is one. */
static bool take_ended(struct crew *crew, pid_t *pids, uint32_t count, int *status)
{
    int state = 0;
    if (one_that_ended(pids, count, &state) < 0)
        return false;
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
        return true;
    if (WIFSIGNALED(state) && !interrupted())
        bench_error("a worker was ended by signal %d", WTERMSIG(state));
    atomic_store(&crew->failed, 1);
    *status = *status < 0 ? *status : interrupted() ? -EINTR : -EIO;
    return true;
}

/* Until all have ended. Returns status, or what went wrong. */
static int attend(struct crew *crew, pid_t *pids, uint32_t started, const struct crew_watch *watch,
                  int status)
{
    static uint64_t crews;
    struct meetings meetings = {.crew = ++crews};
    long step = ranks_count() > 1 ? BARRIER_STEP_NS : ATTEND_STEP_NS;
    uint64_t next_look = crew_now() + (watch != NULL ? watch->interval : 0);
    uint64_t give_up = 0;
    for (uint32_t left = started; left > 0;) {
        if (take_ended(crew, pids, started, &status)) {
            left--;
            continue;
        }
        uint64_t now = crew_now();
        if (ranks_count() > 1)
            look_after_ranks(&meetings, crew);
        if (ranks_count() > 1 && watch != NULL && watch->carry != NULL && status == 0 &&
            (status = watch->carry(watch->argument)) < 0) {
            bench_error("cannot reach other ranks: %s", strerror(-status));
            atomic_store(&crew->failed, 1);
        }
        if (interrupted() && give_up == 0) {
            atomic_store(&crew->failed, 1);
            give_up = now + (watch != NULL ? watch->grace : 0);
        }
        if (give_up > 0 && now >= give_up)
            kill_all(pids, started);
        if (watch != NULL && now >= next_look) {
            look_on(crew, watch);
            next_look += watch->interval;
        }
        nanosleep(&(struct timespec){.tv_nsec = step}, NULL);
    }
    return meet_at_end(&meetings, crew, status);
}

int crew_execute_watched(uint32_t processes, uint32_t threads, const int *pin, uint32_t phases, crew_run run,
                         void *argument, const struct crew_watch *watch, struct crew_total *totals)
{
    if (processes == 0 || threads == 0 || processes * threads > CREW_MAX || phases > CREW_PHASES_MAX)
        return -EINVAL;
    uint32_t workers = processes * threads;
    size_t length = sizeof(struct crew) + (size_t)workers * phases * sizeof(struct crew_part);
    struct crew *crew = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (crew == MAP_FAILED)
        return -ENOMEM;
    crew->workers = workers;
    crew->phases = phases;
    crew->run = run;
    crew->argument = argument;
    crew->edge = watch != NULL ? watch->edge : NULL;
    pid_t pids[CREW_MAX];
    uint32_t started = start_processes(crew, processes, threads, pin, watch != NULL, pids);
    int status = attend(crew, pids, started, watch, started < processes ? -EAGAIN : 0);
    if (status == 0)
        add_up(crew, totals);
    if (status == 0)
        status = add_up_ranks(phases, totals);
    munmap(crew, length);
    return status;
}

int crew_execute(uint32_t processes, uint32_t threads, const int *pin, uint32_t phases, crew_run run,
                 void *argument, struct crew_total *totals)
{
    return crew_execute_watched(processes, threads, pin, phases, run, argument, NULL, totals);
}
