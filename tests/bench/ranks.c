/* A crew over the ranks of MPI; started by mpi.sh under mpirun, as `ranks WHAT`. Rank 0 says what came out.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/crew.h"
#include "bench/options.h"
#include "bench/ranks.h"

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
