/* Time from the processor's time stamp counter where it is constant, else from clock_gettime.
 *
 * Reading CLOCK_MONOTONIC costs 20-60 ns, and in some virtual machines a system call; every request is
 * stamped several times, so it would show. On x86-64 with an invariant counter (CPUID 80000007h, EDX bit 8)
 * and on aarch64 (CNTVCT is constant by architecture) clock_now reads the counter and scales it:
 *
 *     ns = base_ns + ((counter - base_counter) * multiplier) >> 32
 *
 * The product is formed in 128 bits, so there is no wrap-around to handle. On x86-64 the multiplier is
 * measured against CLOCK_MONOTONIC over some milliseconds; a pair (counter, clock) is taken as the tightest
 * of several bracketed readings, so that an interrupt in between does not spoil it. The error is of the order
 * of 50 ns / 2 ms = 25 ppm, which within a minute would be a millisecond, while the processes of one host
 * compare their times to see where a request was. So whoever waits calls clock_follow, which takes another
 * pair from time to time: the longer since the first one, the better the multiplier, and what the clock is
 * off by is made good, by a step when it is late and by running slower for a while when it is early, so that
 * it never goes back. aarch64 tells its frequency, and is followed in the same way.
 *
 * Linux itself decides whether the counters of all processors agree: only if its own clock source is the
 * counter (or a paravirtual clock made of it) is it used. Before clock_prepare, clock_now uses clock_gettime;
 * the counter's base is a reading of the same clock, so the switch moves time by no more than the width of
 * the bracket. */
#include "base/clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

enum {
    CALIBRATION_NSEC = 2000000,
    NOTICE_NSEC = 200000,
    BRACKET_ATTEMPTS = 32,
    FOLLOW_ATTEMPTS = 8,
    SLEW_SHIFT = 3, /* an early clock runs slower by an eighth */
    SEGMENTS = 4,
    ANNOUNCED = 1,
};

#define FOLLOW_MIN (10 * NSEC_PER_MSEC) /* after the calibration; then twice as long each time */
#define FOLLOW_MAX NSEC_PER_SEC
#define RATE_MEMORY (64 * NSEC_PER_SEC) /* the system's clock may be steered, so its rate is not for ever */

/* Time from a moment on. Until the counter is at steady it is early, by less and less. */
struct segment {
    _Atomic uint64_t counter;
    _Atomic uint64_t ns;         /* at counter, but for that */
    _Atomic uint64_t multiplier; /* nanoseconds per tick, 32.32 fixed point */
    _Atomic uint64_t steady;
};

/* Readers look at turn, take the segment with its number, or the one before while it has not begun, and look
 * whether turn is still the same. Meanwhile a writer fills the next one, never one that they may be reading:
 * turn has moved on twice before a segment is filled again.
 *
 * A segment has to be known before it begins, or a thread would have seen the old one's time, which may be
 * later. The writer may be kept from its processor at any moment, so it announces first (ANNOUNCED), then
 * looks at the counter, and only then has it count. Who finds it announced when it should have begun takes
 * the announcement back. */
static struct {
    struct segment segments[SEGMENTS];
    _Atomic uint64_t turn; /* number of the last segment * 2, + ANNOUNCED; 0: the counter is not used */
    _Atomic uint64_t due;  /* when the clock is to be compared again */
    atomic_flag busy;
    uint64_t first_counter, first_ns; /* pair from which the rate is measured; of who is busy */
    uint64_t recent_counter, recent_ns;
} scale = {.segments[0].steady = UINT64_MAX, .busy = ATOMIC_FLAG_INIT};

static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static uint64_t gettime(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

#if defined(__x86_64__)

static inline uint64_t counter_read(void)
{
    return __rdtsc();
}

/* The kernel marks the counter unstable by not offering it (or a paravirtual clock made of it) as its clock
 * source. */
static bool counter_trusted_by_kernel(void)
{
    char name[32] = "";
    int descriptor =
        open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    ssize_t length = read(descriptor, name, sizeof name - 1);
    close(descriptor);
    if (length <= 0)
        return false;
    name[strcspn(name, "\n")] = '\0';
    return strcmp(name, "tsc") == 0 || strcmp(name, "kvm-clock") == 0 ||
           strcmp(name, "hyperv_clocksource_tsc_page") == 0;
}

static bool counter_is_constant(void)
{
    unsigned eax, ebx, ecx, edx;

    if (__get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) == 0 || (edx & (1U << 8)) == 0)
        return false;
    return counter_trusted_by_kernel();
}

/* Reads counter and clock at (nearly) the same moment: of several attempts, the one with the tightest
 * bracket. */
static void read_pair(int attempts, uint64_t *counter, uint64_t *ns)
{
    uint64_t tightest = UINT64_MAX;

    *counter = 0;
    *ns = 0;
    for (int i = 0; i < attempts; i++) {
        uint64_t before = counter_read();
        uint64_t clock = gettime(CLOCK_MONOTONIC);
        uint64_t after = counter_read();
        if (after - before < tightest) {
            tightest = after - before;
            *counter = before + (after - before) / 2;
            *ns = clock;
        }
    }
}

static uint64_t rate(uint64_t counter, uint64_t ns)
{
    if (counter <= scale.first_counter || ns <= scale.first_ns)
        return 0;
    unsigned __int128 passed = (unsigned __int128)(ns - scale.first_ns) << 32;
    return (uint64_t)(passed / (counter - scale.first_counter));
}

static uint64_t measure_multiplier(void)
{
    uint64_t last_counter, last_ns;

    read_pair(BRACKET_ATTEMPTS, &scale.first_counter, &scale.first_ns);
    struct timespec pause = {.tv_nsec = CALIBRATION_NSEC};
    nanosleep(&pause, NULL); /* cut short by a signal, the calibration is only less exact */
    read_pair(BRACKET_ATTEMPTS, &last_counter, &last_ns);
    return rate(last_counter, last_ns);
}

#elif defined(__aarch64__)

static inline uint64_t counter_read(void)
{
    uint64_t value;

    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value)::"memory");
    return value;
}

static bool counter_is_constant(void)
{
    return true;
}

static void read_pair(int attempts, uint64_t *counter, uint64_t *ns)
{
    (void)attempts;
    *counter = counter_read();
    *ns = gettime(CLOCK_MONOTONIC);
}

static uint64_t measure_multiplier(void)
{
    uint64_t frequency;

    __asm__("mrs %0, cntfrq_el0" : "=r"(frequency));
    return frequency == 0 ? 0 : (uint64_t)(((unsigned __int128)NSEC_PER_SEC << 32) / frequency);
}

#else

static inline uint64_t counter_read(void)
{
    return 0;
}

static bool counter_is_constant(void)
{
    return false;
}

static void read_pair(int attempts, uint64_t *counter, uint64_t *ns)
{
    (void)attempts;
    *counter = 0;
    *ns = 0;
}

static uint64_t measure_multiplier(void)
{
    return 0;
}

#endif

static uint64_t scaled(uint64_t ticks, uint64_t multiplier)
{
    return (uint64_t)(((unsigned __int128)ticks * multiplier) >> 32);
}

static uint64_t segment_time(const struct segment *segment, uint64_t counter)
{
    uint64_t begin = atomic_load_explicit(&segment->counter, memory_order_acquire);
    uint64_t ns = atomic_load_explicit(&segment->ns, memory_order_acquire);
    uint64_t multiplier = atomic_load_explicit(&segment->multiplier, memory_order_acquire);
    uint64_t steady = atomic_load_explicit(&segment->steady, memory_order_acquire);
    /* Another processor's counter may lag by a few ticks just after the first segment began. */
    if (counter < begin)
        counter = begin;
    uint64_t early = counter < steady ? (steady - counter) >> SLEW_SHIFT : 0;
    return ns + scaled(counter - begin + early, multiplier);
}

static struct segment *segment_of(uint64_t number)
{
    return &scale.segments[number % SEGMENTS];
}

/* False: turn is not what it was any more. */
static __attribute__((noinline)) bool time_of_turn(uint64_t turn, uint64_t counter, uint64_t *now)
{
    uint64_t number = turn / 2;
    bool begun = counter >= atomic_load_explicit(&segment_of(number)->counter, memory_order_acquire);
    if (!begun || (turn & ANNOUNCED) != 0) {
        if (begun) {
            atomic_compare_exchange_strong(&scale.turn, &turn, turn - ANNOUNCED - 2);
            return false;
        }
        /* Another processor's counter may lag by a few ticks just after the first one began. */
        if (number > 1)
            number--;
    }
    *now = segment_time(segment_of(number), counter);
    return atomic_load_explicit(&scale.turn, memory_order_relaxed) == turn;
}

static void segment_fill(uint64_t number, uint64_t counter, uint64_t ns, uint64_t multiplier, uint64_t steady)
{
    struct segment *segment = segment_of(number);
    atomic_store_explicit(&segment->counter, counter, memory_order_release);
    atomic_store_explicit(&segment->ns, ns, memory_order_release);
    atomic_store_explicit(&segment->multiplier, multiplier, memory_order_release);
    atomic_store_explicit(&segment->steady, steady, memory_order_release);
}

/* At counter, ns of the system's clock will have passed, but the clock will tell early ns more: from then on
 * it runs slower until that is made good. latest: if the counter is there already, nothing changes. */
static void segment_announce(uint64_t counter, uint64_t ns, uint64_t multiplier, uint64_t early,
                             uint64_t latest)
{
    uint64_t turn = atomic_load_explicit(&scale.turn, memory_order_relaxed);
    uint64_t announced = turn + 2 + ANNOUNCED;
    uint64_t slew = (uint64_t)(((unsigned __int128)early << (32 + SLEW_SHIFT)) / multiplier);
    segment_fill(announced / 2, counter, ns, multiplier, counter + slew);
    atomic_store(&scale.turn, announced);
    atomic_compare_exchange_strong(&scale.turn, &announced,
                                   counter_read() < latest ? announced - ANNOUNCED : turn);
}

static void prepare(void)
{
    uint64_t counter, ns;
    if (!counter_is_constant())
        return;
    uint64_t multiplier = measure_multiplier();
    if (multiplier == 0)
        return;
    read_pair(BRACKET_ATTEMPTS, &counter, &ns);
    segment_fill(1, counter, ns, multiplier, counter);
    atomic_store_explicit(&scale.turn, 2, memory_order_release);
    atomic_store_explicit(&scale.due, ns + FOLLOW_MIN, memory_order_relaxed);
}

void clock_prepare(void)
{
    pthread_once(&prepared, prepare);
}

/* The clock will meet the system's, soon. */
static void follow(uint64_t now)
{
    uint64_t counter, ns;
    read_pair(FOLLOW_ATTEMPTS, &counter, &ns);
    const struct segment *segment = segment_of(atomic_load_explicit(&scale.turn, memory_order_relaxed) / 2);
    uint64_t multiplier = atomic_load_explicit(&segment->multiplier, memory_order_relaxed);
    uint64_t notice = ((uint64_t)NOTICE_NSEC << 32) / multiplier;
    if (atomic_load_explicit(&segment->counter, memory_order_relaxed) - counter <= notice)
        return; /* the last one has not begun */
    uint64_t measured = rate(counter, ns);
    if (measured != 0) {
        multiplier = measured;
    } else {
        /* The counter was set back, as when a virtual machine moves: what it told before is of no use. */
        scale.first_counter = scale.recent_counter = counter;
        scale.first_ns = scale.recent_ns = ns;
    }
    uint64_t begin = counter + notice, begin_ns = ns + NOTICE_NSEC;
    uint64_t ours = segment_time(segment, begin);
    segment_announce(begin, begin_ns, multiplier, ours > begin_ns ? ours - begin_ns : 0,
                     counter + notice / 2);
    if (ns - scale.first_ns > RATE_MEMORY) {
        scale.first_counter = scale.recent_counter;
        scale.first_ns = scale.recent_ns;
    }
    if (ns - scale.recent_ns > RATE_MEMORY / 2) {
        scale.recent_counter = counter;
        scale.recent_ns = ns;
    }
    uint64_t wait = ns - scale.first_ns;
    wait = wait < FOLLOW_MIN ? FOLLOW_MIN : wait > FOLLOW_MAX ? FOLLOW_MAX : wait;
    atomic_store_explicit(&scale.due, now + wait, memory_order_relaxed);
}

void clock_follow(uint64_t now)
{
    if (now < atomic_load_explicit(&scale.due, memory_order_relaxed))
        return;
    if (atomic_load_explicit(&scale.turn, memory_order_acquire) == 0)
        return;
    if (atomic_flag_test_and_set_explicit(&scale.busy, memory_order_acquire))
        return; /* another thread does it */
    follow(now);
    atomic_flag_clear_explicit(&scale.busy, memory_order_release);
}

/* All that is not as nearly always. */
static __attribute__((noinline)) uint64_t clock_now_carefully(void)
{
    for (;;) {
        uint64_t now, turn = atomic_load_explicit(&scale.turn, memory_order_acquire);
        if (turn == 0)
            return gettime(CLOCK_MONOTONIC);
        if (time_of_turn(turn, counter_read(), &now))
            return now;
    }
}

uint64_t clock_now(void)
{
    uint64_t turn = atomic_load_explicit(&scale.turn, memory_order_acquire);
    const struct segment *segment = segment_of(turn / 2);
    uint64_t counter = counter_read();
    /* Where turn is 0 nothing is ever steady. */
    if (__builtin_expect(counter >= atomic_load_explicit(&segment->steady, memory_order_acquire) &&
                             (turn & ANNOUNCED) == 0,
                         1)) {
        uint64_t ticks = counter - atomic_load_explicit(&segment->counter, memory_order_acquire);
        uint64_t multiplier = atomic_load_explicit(&segment->multiplier, memory_order_acquire);
        uint64_t now = atomic_load_explicit(&segment->ns, memory_order_acquire) + scaled(ticks, multiplier);
        if (__builtin_expect(atomic_load_explicit(&scale.turn, memory_order_relaxed) == turn, 1))
            return now;
    }
    return clock_now_carefully();
}

int64_t clock_realtime(void)
{
    return (int64_t)gettime(CLOCK_REALTIME);
}
