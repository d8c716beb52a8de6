/* A crew.
 *
 * Processes, because that is what jobs are; threads in them when asked for. All share one mapping with a
 * barrier and a part per worker and phase, so nothing is sent and a worker that dies takes nothing along: its
 * parent sees its exit status, raises `failed`, and whoever waits at the barrier gives up. The barrier sleeps
 * in short steps rather than spin: there may be more workers than processors. A phase lasts from the first
 * worker's start to the last one's end. The last worker to come opens the barrier, so what it does before
 * that (CREW_BEGINS) it does while nobody works.
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

#define BARRIER_STEP_NS 20000L

struct crew {
    uint32_t workers;
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
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
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

/* As the last one to come. */
static void open_barrier(struct crew_member *worker, uint64_t barrier)
{
    struct crew *crew = worker->crew;
    uint32_t phases = atomic_exchange(&crew->beginning, 0);
    for (uint32_t phase = 0; phase < crew->phases && crew->edge != NULL; phase++) {
        if ((phases >> phase & 1) != 0)
            crew->edge(worker, phase, CREW_BEGINS);
    }
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

bool crew_stopping(const struct crew_member *worker)
{
    return atomic_load_explicit(&worker->crew->failed, memory_order_relaxed) != 0;
}

static struct crew_part *part_of(struct crew *crew, uint32_t worker, uint32_t phase)
{
    return &crew->parts[worker * crew->phases + phase];
}

struct crew_part *crew_phase(struct crew_member *worker, uint32_t phase)
{
    struct crew_part *part = part_of(worker->crew, worker->number, phase);
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
    part_of(crew, worker->number, phase)->ended = crew_now();
    if (crew->edge != NULL)
        crew->edge(worker, phase, CREW_LEAVES);
    if (atomic_fetch_sub(&crew->in_phase[phase], 1) == 1 && crew->edge != NULL)
        crew->edge(worker, phase, CREW_ENDS);
}

struct crew_part *crew_phase_within(struct crew_member *worker, uint32_t phase, uint32_t outer)
{
    struct crew_part *part = part_of(worker->crew, worker->number, phase);
    histogram_init(&part->latency);
    part->started = part_of(worker->crew, worker->number, outer)->started;
    return part;
}

void crew_phase_end_within(struct crew_member *worker, uint32_t phase, uint32_t outer)
{
    part_of(worker->crew, worker->number, phase)->ended = part_of(worker->crew, worker->number, outer)->ended;
}

void crew_phase_took(struct crew_member *worker, uint32_t phase, uint64_t ns)
{
    struct crew_part *part = part_of(worker->crew, worker->number, phase);
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
        members[i].worker = (struct crew_member){
            .crew = crew, .number = first + i, .count = crew->workers, .argument = crew->argument};
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

/* Until all have ended. 0, or what went wrong. */
static int attend(struct crew *crew, pid_t *pids, uint32_t started, const struct crew_watch *watch)
{
    int status = 0;
    uint64_t next_look = crew_now() + (watch != NULL ? watch->interval : 0);
    uint64_t give_up = 0;
    for (uint32_t left = started; left > 0;) {
        int state = 0;
        if (one_that_ended(pids, started, &state) >= 0) {
            left--;
            if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
                continue;
            if (WIFSIGNALED(state) && !interrupted())
                bench_error("a worker was ended by signal %d", WTERMSIG(state));
            atomic_store(&crew->failed, 1);
            status = status < 0 ? status : interrupted() ? -EINTR : -EIO;
            continue;
        }
        uint64_t now = crew_now();
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
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return status;
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
    int status = attend(crew, pids, started, watch);
    if (status == 0 && started < processes)
        status = -EAGAIN;
    if (status == 0)
        add_up(crew, totals);
    munmap(crew, length);
    return status;
}

int crew_execute(uint32_t processes, uint32_t threads, const int *pin, uint32_t phases, crew_run run,
                 void *argument, struct crew_total *totals)
{
    return crew_execute_watched(processes, threads, pin, phases, run, argument, NULL, totals);
}
