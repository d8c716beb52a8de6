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
 * of 100 ns / 2 ms = 50 ppm; durations within a process are what it is for, and nothing compares these times
 * between machines. aarch64 tells its frequency.
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

enum { CALIBRATION_NSEC = 2000000, BRACKET_ATTEMPTS = 32 };

static struct {
    atomic_bool use_counter; /* set last: the other members are constant once it is seen */
    uint64_t base_counter;
    uint64_t base_ns;
    uint64_t multiplier; /* nanoseconds per tick, 32.32 fixed point */
} scale;

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
static void read_pair(uint64_t *counter, uint64_t *ns)
{
    uint64_t tightest = UINT64_MAX;

    *counter = 0;
    *ns = 0;
    for (int i = 0; i < BRACKET_ATTEMPTS; i++) {
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

static uint64_t measure_multiplier(void)
{
    uint64_t first_counter, first_ns, last_counter, last_ns;

    read_pair(&first_counter, &first_ns);
    struct timespec pause = {.tv_nsec = CALIBRATION_NSEC};
    nanosleep(&pause, NULL); /* cut short by a signal, the calibration is only less exact */
    read_pair(&last_counter, &last_ns);
    if (last_counter <= first_counter || last_ns <= first_ns)
        return 0;
    unsigned __int128 ns = (unsigned __int128)(last_ns - first_ns) << 32;
    return (uint64_t)(ns / (last_counter - first_counter));
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

static void read_pair(uint64_t *counter, uint64_t *ns)
{
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

static void read_pair(uint64_t *counter, uint64_t *ns)
{
    *counter = 0;
    *ns = 0;
}

static uint64_t measure_multiplier(void)
{
    return 0;
}

#endif

static void prepare(void)
{
    if (!counter_is_constant())
        return;
    scale.multiplier = measure_multiplier();
    if (scale.multiplier == 0)
        return;
    read_pair(&scale.base_counter, &scale.base_ns);
    atomic_store_explicit(&scale.use_counter, true, memory_order_release);
}

void clock_prepare(void)
{
    pthread_once(&prepared, prepare);
}

uint64_t clock_now(void)
{
    if (!atomic_load_explicit(&scale.use_counter, memory_order_acquire))
        return gettime(CLOCK_MONOTONIC);
    uint64_t counter = counter_read();
    /* Another processor's counter may lag by a few ticks just after the calibration. */
    uint64_t ticks = counter > scale.base_counter ? counter - scale.base_counter : 0;
    return scale.base_ns + (uint64_t)(((unsigned __int128)ticks * scale.multiplier) >> 32);
}

int64_t clock_realtime(void)
{
    return (int64_t)gettime(CLOCK_REALTIME);
}
