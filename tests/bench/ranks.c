/* A crew over the ranks of MPI; started by mpi.sh under mpirun, as `ranks WHAT`. Rank 0 says what came out.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/crew.h"
#include "bench/gather.h"
#include "bench/options.h"
#include "bench/ranks.h"
#include "bench/relay.h"

#define PHASES 2u

static const char *what;

/* Members bring what their number says. */
static int count_up(struct crew_member *member)
{
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        uint64_t maximum = 0;
        struct crew_part *part = crew_phase(member, phase);
        if (part == NULL)
            return -ECANCELED;
        for (uint32_t i = 0; i <= member->number; i++)
            histogram_record(&part->latency, (member->number + 1) * 100);
        part->operations = member->number + 1;
        part->bytes = phase * 10;
        crew_phase_end(member, phase);
        if (crew_maximum(member, member->number + phase * 100, &maximum) < 0)
            return -ECANCELED;
        if (maximum != member->count - 1 + phase * 100) {
            bench_error("member %u: the greatest is %llu", member->number, (unsigned long long)maximum);
            return -EIO;
        }
        uint64_t sum = 0;
        if (crew_sum(member, member->number, &sum) < 0)
            return -ECANCELED;
        if (sum != (uint64_t)member->count * (member->count - 1) / 2) {
            bench_error("member %u: the sum is %llu", member->number, (unsigned long long)sum);
            return -EIO;
        }
    }
    return 0;
}

/* Member 3 of six fails; the others wait for it, or work until they are told. */
static int fail(struct crew_member *member)
{
    if (crew_phase(member, 0) == NULL)
        return -ECANCELED;
    if (member->number == 3 && strcmp(what, "die") == 0)
        raise(SIGKILL);
    if (member->number == 3) {
        bench_error("member 3 has had enough");
        return -EIO;
    }
    uint64_t deadline = crew_now() + UINT64_C(30000000000);
    while (strcmp(what, "alarm") == 0 && member->number == 0 && !crew_stopping(member)) {
        if (crew_now() > deadline)
            abort();
    }
    return crew_phase(member, 1) == NULL ? -ECANCELED : 0;
}

/* Each rank has a warning of its own between two that all have, and has done as much every 100 ms as its
 * number says, and then 1,000 more. */
static int gather(void)
{
    struct result result;
    uint64_t numbers[] = {ranks_number(), ranks_number() * 10};
    double rate = 10.0 * (ranks_number() + 1);
    result_init(&result);
    result_warn(&result, "all first");
    result_warn(&result, "rank %u", ranks_number());
    result_warn(&result, "all last");
    result.series = calloc(4, sizeof(*result.series));
    for (uint32_t i = 0; result.series != NULL && i < 4; i++)
        result.series[result.moment_count++] = (struct result_moment){0.1 * i + 0.05, rate, rate * 4096};
    const struct gather_phase phase = {0.1, 0.47, 21 + 3000, (21 + 3000) * UINT64_C(4096)};
    int status = gather_numbers(numbers, 1, 1);
    if (status == 0)
        status = gather_warnings(&result);
    if (status == 0)
        status = gather_series(&result, &phase);
    printf("%llu %llu", (unsigned long long)numbers[0], (unsigned long long)numbers[1]);
    for (uint32_t i = 0; i < result.warning_count; i++)
        printf(", %s", result.warnings[i]);
    for (uint32_t i = 0; i < result.moment_count; i++)
        printf("; %.2f s: %.0f op/s, %.0f KiB/s", result.series[i].t, result.series[i].ops_per_s,
               result.series[i].bytes_per_s / 1024);
    printf("\n");
    result_free(&result);
    return status;
}

/* Each member adds to all counters, waits for what all have added, and again after they were cleared. */
#define RELAYED 300u
#define RELAY_ROUNDS 3u

static struct relay *relay;

static bool is_stopping(const void *member)
{
    return crew_stopping(member);
}

static int add_and_wait(struct crew_member *member)
{
    for (uint32_t round = 0; round < RELAY_ROUNDS; round++) {
        int status = 0;
        if (crew_first(member))
            relay_clear(relay);
        if (crew_wait(member) < 0)
            return -ECANCELED;
        for (uint32_t i = 0; i < RELAYED * (member->number + 1) && status == 0; i++)
            status = relay_add(relay, i % RELAYED, is_stopping, member);
        uint32_t expected = member->count * (member->count + 1) / 2;
        for (uint32_t i = 0; i < RELAYED && status == 0; i++) {
            while (relay_count(relay, i) < expected && !crew_stopping(member))
                sched_yield();
            if (relay_count(relay, i) != expected) {
                bench_error("member %u: %u of %u", member->number, relay_count(relay, i), expected);
                status = -EIO;
            }
        }
        if (status == 0 && crew_wait(member) < 0)
            status = -ECANCELED;
        if (status < 0)
            return status;
    }
    return 0;
}

static void ignore(void *argument, uint32_t phase, double seconds, uint64_t operations, uint64_t bytes)
{
    (void)argument, (void)phase, (void)seconds, (void)operations, (void)bytes;
}

static int carry(void *argument)
{
    (void)argument;
    return relay_carry(relay);
}

static int run_relay(void)
{
    const struct crew_watch watch = {.interval = UINT64_C(1000000000), .look = ignore, .carry = carry};
    int status = relay_create(RELAYED, &relay);
    if (status == 0)
        status = crew_execute_watched(1, 2, NULL, 0, add_and_wait, NULL, &watch, NULL);
    if (status == 0)
        printf("all was relayed\n");
    return status;
}

int main(int argc, char **argv)
{
    static struct crew_total totals[PHASES];
    what = argc > 1 ? argv[1] : "";
    bench_error_name("test");
    if (ranks_start(strcmp(what, "forced") == 0) < 0)
        return 2;
    if (strcmp(what, "different") == 0 && ranks_number() == 1) {
        bench_error("rank 1 goes another way");
        return ranks_finish(2);
    }
    if (strcmp(what, "gather") == 0)
        return ranks_finish(gather() == 0 ? 0 : 1);
    if (strcmp(what, "relay") == 0)
        return ranks_finish(run_relay() == 0 ? 0 : 1);
    bool good = strcmp(what, "totals") == 0 || strcmp(what, "forced") == 0 || strcmp(what, "different") == 0;
    int status = crew_execute(1, 2, NULL, PHASES, good ? count_up : fail, NULL, totals);
    for (uint32_t phase = 0; phase < PHASES && status == 0; phase++) {
        const struct crew_total *total = &totals[phase];
        printf("%u ranks: %llu operations, %llu bytes, %llu latencies from %llu to %llu, median %llu%s\n",
               ranks_count(), (unsigned long long)total->operations, (unsigned long long)total->bytes,
               (unsigned long long)total->latency.count, (unsigned long long)total->latency.minimum,
               (unsigned long long)total->latency.maximum,
               (unsigned long long)histogram_quantile(&total->latency, 0.5) / 10 * 10,
               total->seconds > 0.0 && ranks_together() ? "" : ", wrong");
    }
    fflush(stdout);
    return ranks_finish(status == 0 ? 0 : 1);
}
