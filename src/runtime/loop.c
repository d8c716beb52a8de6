/* The event loop.
 *
 * A turn that finds nothing must cost little more than the reactors' own polls, because a reply that arrives
 * a microsecond later is found by the next one. So an idle turn reads no clock and makes no system call;
 * timers, descriptors and the accounts are looked at after every sixteenth turn, a turn that found work
 * counting as several; but not right behind such a turn as long as that can wait.
 *
 * Waiting. An idle loop first only polls, for the 10 us in which an answer from another core usually comes.
 * It goes on with a sched_yield between polls until spin_ns have passed, then arms the reactors and blocks in
 * epoll. A yield that takes longer than a bare system call has run somebody else; after two of them in a row
 * (one may have been an interrupt) the loop is "crowded" for 20 ms and yields from its first idle turn on,
 * because the peer that it waits for may need this very core; sixteen yields in a row that met nobody end it.
 * A yield of more than 1 ms has met a process that computes: for the next 1 to 20 ms, longer each time, the
 * loop is "contended" and blocks after 2 us without any yield, since a process that was asleep is scheduled
 * at once while one that yields waits for the other's time slice, 3 ms and more. Where several yield to each
 * other and none computes, a yield takes a tenth of that at most; to block there would cost each request two
 * wake-ups. Without these rules more processes than cores collapse. A loop that may be moved leaves a crowded
 * processor if another one is idle (processor.c).
 *
 * Blocking is safe against lost wake-ups because each reactor's arm says -EBUSY when work came in after its
 * last poll, because descriptors are level-triggered, and because nothing else can make a task ready while
 * this thread sleeps.
 *
 * A simulated loop has a clock of its own, which jumps to the next timer when a turn found nothing to do. It
 * has no descriptors and never blocks, and everything it does is in the order of its own queues: the same
 * inputs give the same run.
 *
 * Real time is the monotonic clock plus an offset measured once a millisecond; and in a callback it is the
 * moment that loop_now last told in this round of callbacks, if it was asked. So a request's changes are
 * dated with its arrival, a moment ago, and cost no reading of their own. Tasks that are resumed ask anew.
 *
 * Measurements are made ready for readers (metrics_fold) where a turn has found nothing, and all of them
 * before blocking.
 *
 * How long the loop was kept from looking (loop_kept) costs no reading of the clock: it is told by those that
 * others took meanwhile. A period of work begins with the first message that is found after a round of polls
 * that found nothing, or with the first turn that was at work on something else.
 *
 * Accounts: the time between two looks at the clock is idle when no turn in between found work; otherwise
 * it is busy, less what the idle turns in it cost by the latest measurement. */
#include "runtime/loop.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "metrics/files.h"
#include "runtime/processor.h"
#include "runtime/scheduler.h"
#include "runtime/timer.h"

enum {
    TURNS_PER_LOOK = 16,         /* turns without work between two looks at the clock */
    TURNS_PER_LOOK_AT_WORK = 64, /* a turn that found work has somebody waiting for it */
    BUSY_TURN_WEIGHT = 4,
    ROUNDS_PER_TURN = 8, /* of polling, while nothing comes */
    EVENTS_PER_WAIT = 64,
};

#define SPIN_DEFAULT (50 * NSEC_PER_USEC)
#define SPIN_CONTENDED (2 * NSEC_PER_USEC)
#define SPIN_WITHOUT_YIELD (10 * NSEC_PER_USEC)
#define YIELD_CROWDED (2 * NSEC_PER_USEC) /* a yield this long has run another process */
#define YIELD_CONTENDED NSEC_PER_MSEC     /* ... one that computes */
#define CROWD_MEMORY (20 * NSEC_PER_MSEC) /* how long either is remembered */
#define YIELDS_ALONE 16u                  /* so many that run nobody: there is no crowd (any more) */
#define CONTENTION_FIRST NSEC_PER_MSEC    /* ... the latter at first, then twice as long each time */
/* Between two looks at descriptors while busy: a look costs half a microsecond, so where nothing comes of
 * them they become rarer. */
#define WATCH_INTERVAL (50 * NSEC_PER_USEC)
#define WATCH_INTERVAL_MAX NSEC_PER_MSEC
/* Between two attempts to leave a crowded processor: twice as long each time, until a yield has met nobody.
 */
#define MOVE_FIRST (300 * NSEC_PER_USEC)
#define MOVE_LAST (20 * NSEC_PER_MSEC)
#define EXPECTED_MAX (5 * NSEC_PER_MSEC)
#define METRICS_INTERVAL (100 * NSEC_PER_MSEC) /* between two refreshments of gauges */
#define PROCESSOR_INTERVAL                                                                                   \
    (20 * NSEC_PER_MSEC) /* between two questions to the system, also if it blocks more often */
#define FOLD_AT_IDLE 4u
#define OFFSET_LIFE NSEC_PER_MSEC /* the two clocks drift apart by some 50 ns in it */

/* A simulation starts at 2026-01-01 00:00:00 UTC. */
#define SIMULATED_REALTIME (INT64_C(1767225600) * (int64_t)NSEC_PER_SEC)
#define SIMULATED_START NSEC_PER_SEC

struct loop {
    struct scheduler scheduler;
    struct list reactors;
    struct list *next_reactor; /* where this turn's round continues */
    uint32_t polled;           /* reactors that have a poll function */
    uint32_t idle_turns;       /* since the last look at the clock */
    uint32_t busy_turns;       /* since then */
    bool look;                 /* the next turn looks at the clock whatever it finds */
    bool looked;               /* the last turn looked at the clock */
    bool simulated;
    bool stopping;
    bool turning;          /* callbacks are running: neither poll nor drive */
    bool yield_crowded;    /* the last yield ran another process */
    uint32_t yields_alone; /* yields since one did */

    struct timer_heap timers;
    uint64_t clock; /* when last looked at, 0: the loop was left since; the virtual time when simulated */
    uint64_t stamp; /* the latest loop_now in this turn's callbacks, or in its tasks; 0: none yet */
    int64_t realtime_offset; /* of the system's clock from ours */
    uint64_t offset_until;   /* clock_now: when it is to be measured anew */

    int epoll;
    uint32_t watches;
    uint64_t watches_seen; /* clock when last looked at */
    uint64_t watch_interval;
    struct epoll_event events[EVENTS_PER_WAIT];
    int event;       /* being handled */
    int event_count; /* of the last wait */

    uint64_t spin_ns;
    uint64_t idle_since;    /* first look at the clock in this idle period; 0: none yet */
    uint64_t expected_ns;   /* something is expected to take so long */
    uint64_t crowded_until; /* 0: not crowded */
    uint64_t contended_until;
    uint64_t contention; /* how long the next one is remembered */
    uint64_t move_after;
    uint64_t move_interval;
    bool moves;

    struct metrics *metrics;
    bool metrics_own;
    uint64_t metrics_refreshed;                /* clock */
    uint64_t processor_seen;                   /* clock when last asked for */
    struct metrics_processor processor_before; /* what the thread had had when the loop was made */
    uint64_t idle_turn_ns;                     /* what an idle turn costs */
    struct loop_statistics statistics;
    struct random random;
    uint64_t latest;     /* loop_now since a round of polls found nothing; 0: none */
    uint64_t work_since; /* the first of them that is remembered; 0: none */
};

static_assert(offsetof(struct loop, scheduler) == 0, "loop_scheduler relies on it");

int loop_create(const struct loop_options *options, struct loop **created)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return -ENOMEM;
    scheduler_init(&loop->scheduler, options->stack_size);
    list_init(&loop->reactors);
    loop->simulated = options->simulated;
    loop->moves = options->moves;
    loop->contention = CONTENTION_FIRST;
    loop->move_interval = MOVE_FIRST;
    loop->spin_ns = options->spin_ns != 0 ? options->spin_ns : SPIN_DEFAULT;
    loop->metrics = options->metrics;
    if (loop->metrics == NULL) {
        if (metrics_create(NULL, METRICS_TRACE_DEFAULT, &loop->metrics, NULL) != 0) {
            free(loop);
            return -ENOMEM;
        }
        loop->metrics_own = true;
    }
    if (!loop->simulated)
        metrics_thread_processor(&loop->processor_before);
    uint64_t seed = options->seed;
    if (loop->simulated) {
        loop->epoll = -1;
        loop->clock = SIMULATED_START;
    } else {
        loop->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (loop->epoll < 0) {
            int status = -errno;
            log_error("event loop: epoll_create1: %s", strerror(errno));
            if (loop->metrics_own)
                metrics_destroy(loop->metrics);
            free(loop);
            return status;
        }
        clock_prepare();
        loop->clock = clock_now();
        random_secure(&seed, sizeof(seed));
    }
    random_seed(&loop->random, seed);
    *created = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    assert(list_empty(&loop->reactors) && loop->watches == 0);
    scheduler_close(&loop->scheduler);
    if (loop->epoll >= 0)
        close(loop->epoll);
    if (loop->metrics_own)
        metrics_destroy(loop->metrics);
    free(loop);
}

uint64_t loop_now(struct loop *loop)
{
    if (loop->simulated)
        return loop->clock;
    return loop->stamp = loop->latest = clock_now();
}

const uint64_t *loop_latest(const struct loop *loop)
{
    return &loop->latest;
}

uint64_t loop_kept(struct loop *loop, uint64_t latest, uint64_t now)
{
    if (loop->work_since == 0)
        loop->work_since = now;
    uint64_t since = latest > loop->work_since ? latest : loop->work_since;
    return since < now ? now - since : 0;
}

int64_t loop_realtime(struct loop *loop)
{
    if (loop->simulated)
        return SIMULATED_REALTIME + (int64_t)(loop->clock - SIMULATED_START);
    uint64_t now = loop->turning && loop->stamp != 0 ? loop->stamp : loop_now(loop);
    if (__builtin_expect(now >= loop->offset_until, 0)) {
        now = loop_now(loop);
        loop->realtime_offset = clock_realtime() - (int64_t)now;
        loop->offset_until = now + OFFSET_LIFE;
    }
    return (int64_t)now + loop->realtime_offset;
}

struct random *loop_random(struct loop *loop)
{
    return &loop->random;
}

bool loop_simulated(const struct loop *loop)
{
    return loop->simulated;
}

struct metrics *loop_metrics(const struct loop *loop)
{
    return loop->metrics;
}

/* Reactors and watches share one epoll set; the lowest bit of the user data tells a reactor, which needs no
 * call: its next poll finds the work. */
static uint64_t reactor_data(const struct reactor *reactor)
{
    return (uint64_t)(uintptr_t)reactor | 1;
}

int loop_reactor_add(struct loop *loop, struct reactor *reactor)
{
    if (reactor->fd >= 0 && !loop->simulated) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = reactor_data(reactor)};
        if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, reactor->fd, &event) != 0) {
            int status = -errno;
            log_error("event loop: cannot watch descriptor %d of %s: %s", reactor->fd, reactor->name,
                      strerror(errno));
            return status;
        }
    }
    list_push_back(&loop->reactors, &reactor->link);
    loop->polled++;
    return 0;
}

void loop_reactor_remove(struct loop *loop, struct reactor *reactor)
{
    if (loop->next_reactor == &reactor->link)
        loop->next_reactor = reactor->link.next;
    list_remove(&reactor->link);
    loop->polled--;
    if (reactor->fd >= 0 && !loop->simulated)
        epoll_ctl(loop->epoll, EPOLL_CTL_DEL, reactor->fd, NULL);
}

int loop_watch_add(struct loop *loop, struct watch *watch, uint32_t events)
{
    if (loop->simulated)
        return -ENOSYS;
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)(uintptr_t)watch};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, watch->fd, &event) != 0)
        return -errno;
    loop->watches++;
    loop->watch_interval = WATCH_INTERVAL; /* whoever asks to be told expects something soon */
    return 0;
}

int loop_watch_change(struct loop *loop, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)(uintptr_t)watch};
    return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, watch->fd, &event) == 0 ? 0 : -errno;
}

void loop_watch_remove(struct loop *loop, struct watch *watch)
{
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    loop->watches--;
    /* It may still have an event in the batch that is being handled. */
    for (int i = loop->event; i < loop->event_count; i++) {
        if (loop->events[i].data.u64 == (uint64_t)(uintptr_t)watch)
            loop->events[i].data.u64 = 0;
    }
}

void loop_expect(struct loop *loop, uint64_t duration)
{
    if (duration > loop->expected_ns)
        loop->expected_ns = duration < EXPECTED_MAX ? duration : EXPECTED_MAX;
}

void timer_set(struct loop *loop, struct timer *timer, uint64_t deadline)
{
    timer_heap_set(&loop->timers, timer, deadline);
}

void timer_clear(struct loop *loop, struct timer *timer)
{
    timer_heap_clear(&loop->timers, timer);
}

static int handle_events(struct loop *loop, int count)
{
    int handled = 0;
    loop->event_count = count;
    for (loop->event = 0; loop->event < loop->event_count; loop->event++) {
        const struct epoll_event *event = &loop->events[loop->event];
        if (event->data.u64 == 0 || (event->data.u64 & 1) != 0)
            continue;
        struct watch *watch = (struct watch *)(uintptr_t)event->data.u64;
        watch->ready(watch, event->events);
        handled++;
    }
    loop->event = loop->event_count = 0;
    return handled;
}

/* Books the time since the last look at the clock, unless part of it was not the loop's. */
static void account(struct loop *loop, uint64_t now)
{
    if (loop->clock != 0) {
        uint64_t elapsed = now - loop->clock;
        uint64_t idle = elapsed;
        if (loop->busy_turns != 0) {
            idle = loop->idle_turns * loop->idle_turn_ns;
            if (idle > elapsed)
                idle = elapsed;
        } else if (loop->idle_turns != 0) {
            loop->idle_turn_ns = elapsed / loop->idle_turns;
        }
        loop->statistics.idle_ns += idle;
        loop->statistics.busy_ns += elapsed - idle;
    }
    loop->clock = now;
    loop->idle_turns = 0;
    loop->busy_turns = 0;
}

/* What the thread had of its processor. A busy loop may have been kept waiting by others: the clock alone
 * does not tell. */
static void refresh_processor(struct loop *loop, uint64_t now)
{
    struct metrics_processor processor;
    const struct metrics_processor *before = &loop->processor_before;
    loop->processor_seen = now;
    if (loop->simulated || !metrics_thread_processor(&processor))
        return;
    if (processor.run_ns < before->run_ns || processor.wait_ns < before->wait_ns)
        return; /* another thread made the loop */
    metrics_set(loop->metrics, METRIC_PROCESSOR, processor.run_ns - before->run_ns);
    metrics_set(loop->metrics, METRIC_PROCESSOR_WAIT, processor.wait_ns - before->wait_ns);
}

/* Gauges, and what the loop itself has done. */
static void refresh_metrics(struct loop *loop, uint64_t now)
{
    if (now - loop->processor_seen >= PROCESSOR_INTERVAL)
        refresh_processor(loop, now);
    struct metrics *metrics = loop->metrics;
    loop->metrics_refreshed = now;
    metrics_set(metrics, METRIC_LOOP_BUSY, loop->statistics.busy_ns);
    metrics_set(metrics, METRIC_LOOP_IDLE, loop->statistics.idle_ns);
    metrics_set(metrics, METRIC_LOOP_BLOCKED, loop->statistics.blocked_ns);
    metrics_set(metrics, METRIC_LOOP_BLOCKS, loop->statistics.blocks);
    metrics_set(metrics, METRIC_TASKS, loop->scheduler.live);
    metrics_set(metrics, METRIC_TASK_MEMORY,
                (uint64_t)(loop->scheduler.live + loop->scheduler.pooled) * loop->scheduler.stack_size);
    metrics_settle(metrics);
}

void loop_settle(struct loop *loop)
{
    loop->processor_seen = 0;
    refresh_metrics(loop, loop_now(loop));
}

static int poll_reactors(struct loop *loop)
{
    int work = 0;
    for (struct list *node = loop->reactors.next; node != &loop->reactors; node = loop->next_reactor) {
        loop->next_reactor = node->next;
        struct reactor *reactor = container_of(node, struct reactor, link);
        work += reactor->poll(reactor);
    }
    return work;
}

/* Looks at the clock, and at what waits for it. */
static int look(struct loop *loop)
{
    uint64_t now = clock_now();
    clock_follow(now);
    account(loop, now);
    loop->look = false;
    loop->looked = true;
    if (now - loop->metrics_refreshed >= METRICS_INTERVAL)
        refresh_metrics(loop, now);
    int work = 0;
    if (loop->watches != 0 && now - loop->watches_seen >= loop->watch_interval) {
        loop->watches_seen = now;
        int count = epoll_wait(loop->epoll, loop->events, EVENTS_PER_WAIT, 0);
        work = handle_events(loop, count);
        if (count != 0)
            loop->watch_interval = WATCH_INTERVAL;
        else if (loop->watch_interval < WATCH_INTERVAL_MAX)
            loop->watch_interval *= 2;
    }
    return work + timer_heap_fire(&loop->timers, now);
}

/* Leaves what this core can do to whom it shares the core with, who may be the one that is waited for. */
static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* rounds: how often to poll as long as nothing comes, before the rest of the turn. */
static int real_turn(struct loop *loop, uint32_t rounds)
{
    loop->looked = false;
    loop->stamp = 0;
    int work = poll_reactors(loop);
    if (work == 0 && metrics_unfolded(loop->metrics))
        metrics_fold(loop->metrics, FOLD_AT_IDLE);
    if (work == 0)
        loop->latest = loop->work_since = 0;
    for (; work == 0 && rounds > 1; rounds--) {
        loop->idle_turns++;
        relax();
        work = poll_reactors(loop);
    }
    uint32_t turns = loop->idle_turns + loop->busy_turns * BUSY_TURN_WEIGHT;
    if (turns >= (work == 0 ? TURNS_PER_LOOK : TURNS_PER_LOOK_AT_WORK) || loop->look)
        work += look(loop);
    if (loop->scheduler.ready_count != 0) {
        loop->stamp = 0;
        work += scheduler_run(&loop->scheduler);
    }
    if (work == 0)
        loop->idle_turns++;
    else
        loop->busy_turns++;
    if (loop->work_since == 0)
        loop->work_since = loop->latest; /* no message began it */
    return work;
}

static int simulated_turn(struct loop *loop)
{
    int work = poll_reactors(loop);
    work += timer_heap_fire(&loop->timers, loop->clock);
    work += scheduler_run(&loop->scheduler);
    metrics_fold(loop->metrics, UINT32_MAX);
    if (work == 0 && loop->timers.first != NULL) {
        loop->clock = loop->timers.first->deadline;
        work += timer_heap_fire(&loop->timers, loop->clock);
        work += scheduler_run(&loop->scheduler);
    }
    return work;
}

static int poll_rounds(struct loop *loop, uint32_t rounds)
{
    assert(!loop->turning && task_current() == NULL);
    loop->turning = true;
    loop->statistics.polls++;
    int work = loop->simulated ? simulated_turn(loop) : real_turn(loop, rounds);
    loop->turning = false;
    return work;
}

int loop_poll(struct loop *loop)
{
    return poll_rounds(loop, 1);
}

/* Sleeps until a descriptor or a timer needs attention, unless a reactor has found work meanwhile. */
static void loop_block(struct loop *loop)
{
    loop->look = true;
    list_for_each (node, &loop->reactors) {
        struct reactor *reactor = container_of(node, struct reactor, link);
        if (reactor->arm != NULL && reactor->arm(reactor) != 0)
            return;
    }
    uint64_t before = clock_now();
    struct timespec wait;
    const struct timespec *timeout = NULL;
    if (loop->timers.first != NULL) {
        uint64_t deadline = loop->timers.first->deadline;
        if (deadline <= before)
            return;
        wait.tv_sec = (time_t)((deadline - before) / NSEC_PER_SEC);
        wait.tv_nsec = (long)((deadline - before) % NSEC_PER_SEC);
        timeout = &wait;
    }
    account(loop, before);
    refresh_metrics(loop, before);
    int count = epoll_pwait2(loop->epoll, loop->events, EVENTS_PER_WAIT, timeout, NULL);
    if (count < 0 && errno == ENOSYS) {
        int milliseconds = -1;
        if (timeout != NULL)
            milliseconds =
                wait.tv_sec > 1000000 ? 1000000000 : (int)(wait.tv_sec * 1000 + wait.tv_nsec / 1000000 + 1);
        count = epoll_wait(loop->epoll, loop->events, EVENTS_PER_WAIT, milliseconds);
    }
    uint64_t after = clock_now();
    clock_follow(after);
    account(loop, after);
    loop->expected_ns = 0;
    loop->statistics.blocked_ns += after - before;
    loop->statistics.blocks++;
    loop->idle_since = 0;
    loop->watches_seen = after;
    loop->watch_interval = WATCH_INTERVAL;
    loop->turning = true;
    loop->stamp = after;
    if (handle_events(loop, count) != 0)
        loop->busy_turns++;
    loop->turning = false;
}

static void leave_crowd(struct loop *loop, uint64_t now)
{
    loop->move_after = now + loop->move_interval;
    loop->move_interval = 2 * loop->move_interval < MOVE_LAST ? 2 * loop->move_interval : MOVE_LAST;
    if (processor_move() > 0)
        loop->crowded_until = loop->contended_until = 0;
}

static void yield_processor(struct loop *loop, uint64_t before)
{
    sched_yield();
    uint64_t after = clock_now();
    bool crowded = after - before > YIELD_CROWDED;
    if (crowded && loop->yield_crowded)
        loop->crowded_until = after + CROWD_MEMORY;
    loop->yield_crowded = crowded;
    /* In a crowd each idle turn yields, a system call, and so finds out soon whether there is one. Without
     * this, interrupts alone would keep up what they had once begun. */
    loop->yields_alone = crowded ? 0 : loop->yields_alone + 1;
    if (loop->yields_alone >= YIELDS_ALONE)
        loop->crowded_until = 0;
    if (after - before > YIELD_CONTENDED) {
        loop->contended_until = after + loop->contention;
        loop->contention = 2 * loop->contention < CROWD_MEMORY ? 2 * loop->contention : CROWD_MEMORY;
    } else if (!crowded) {
        loop->contention = CONTENTION_FIRST;
        loop->move_interval = MOVE_FIRST;
    }
}

/* Called after each turn that found nothing. */
static void loop_idle(struct loop *loop)
{
    if (!loop->looked && loop->crowded_until == 0 && loop->polled != 0)
        return;
    uint64_t now = loop->looked ? loop->clock : clock_now();
    if (loop->idle_since == 0)
        loop->idle_since = now;
    if (now >= loop->crowded_until)
        loop->crowded_until = 0;
    if (loop->moves && now >= loop->move_after && (loop->crowded_until != 0 || now < loop->contended_until))
        leave_crowd(loop, now);
    uint64_t idle = now - loop->idle_since;
    bool contended = now < loop->contended_until;
    uint64_t spin = contended ? SPIN_CONTENDED : loop->spin_ns + loop->expected_ns;
    if (idle >= spin || loop->polled == 0)
        loop_block(loop);
    else if (!contended && (loop->crowded_until != 0 || idle >= SPIN_WITHOUT_YIELD))
        yield_processor(loop, now);
}

/* One turn and, if it found nothing, one step of waiting. Returns 0, or -EDEADLK when nothing can happen any
 * more. */
static int loop_turn(struct loop *loop)
{
    /* Where polls alone wait, several make one turn; a task that is ready is not kept waiting. */
    bool spins = loop->polled != 0 && loop->crowded_until == 0 && loop->scheduler.ready_count == 0;
    if (poll_rounds(loop, spins ? ROUNDS_PER_TURN : 1) != 0) {
        loop->idle_since = 0;
        return 0;
    }
    if (loop->simulated)
        return -EDEADLK;
    loop_idle(loop);
    return 0;
}

/* Time between two calls that drive the loop belongs to the caller. */
static void loop_enter(struct loop *loop)
{
    if (!loop->simulated)
        loop->clock = 0;
    loop->idle_since = 0;
}

void loop_run(struct loop *loop)
{
    loop_enter(loop);
    while (!loop->stopping) {
        if (loop_turn(loop) != 0) {
            log_warning("simulated loop: no task is ready and no timer is set");
            break;
        }
    }
    loop->stopping = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

struct drive_timeout {
    struct timer timer;
    bool expired;
};

static void drive_timed_out(struct timer *timer)
{
    container_of(timer, struct drive_timeout, timer)->expired = true;
}

int loop_drive(struct loop *loop, struct completion *completion, uint64_t deadline)
{
    struct drive_timeout timeout = {.timer.fire = drive_timed_out};
    if (deadline != 0)
        timer_set(loop, &timeout.timer, deadline);
    loop_enter(loop);
    int status = 0;
    while (!completion->fired && !timeout.expired && status == 0)
        status = loop_turn(loop);
    timer_clear(loop, &timeout.timer);
    if (completion->fired)
        return completion->status;
    if (timeout.expired)
        return -ETIMEDOUT;
    log_error("simulated loop: awaiting what can never happen: no task is ready and no timer is set");
    return status;
}

void loop_statistics(struct loop *loop, struct loop_statistics *statistics)
{
    if (!loop->simulated) {
        /* Who asks in a callback is at work. */
        if (loop->turning)
            loop->busy_turns++;
        account(loop, clock_now());
    }
    *statistics = loop->statistics;
}
