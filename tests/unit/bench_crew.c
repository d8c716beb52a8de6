/* Crews: everybody runs every phase, parts add up, and a worker that fails or dies ends the run, not hangs
 * it. */
#include "unit/unit.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/crew.h"

static struct crew_total totals[2];

static int count_up(struct crew_member *member)
{
    for (uint32_t phase = 0; phase < 2; phase++) {
        struct crew_part *part = crew_phase(member, phase);
        if (part == NULL)
            return -ECANCELED;
        for (uint32_t i = 0; i <= member->number; i++)
            histogram_record(&part->latency, (member->number + 1) * 100);
        part->operations = member->number + 1;
        part->bytes = phase * 10;
        crew_phase_end(member, phase);
    }
    return crew_wait(member);
}

static void parts_add_up(void **state)
{
    (void)state;
    assert_int_equal(crew_execute(3, 2, NULL, 2, count_up, NULL, totals), 0);
    for (int phase = 0; phase < 2; phase++) {
        assert_int_equal(totals[phase].operations, 1 + 2 + 3 + 4 + 5 + 6);
        assert_int_equal(totals[phase].latency.count, 21);
        assert_int_equal(totals[phase].bytes, phase * 60);
        assert_int_equal(totals[phase].latency.maximum, 600);
        assert_in_range(totals[phase].worst_p99, 594, 606);
        assert_true(totals[phase].seconds > 0.0);
    }
}

static int share(struct crew_member *member)
{
    struct crew_part *outer = crew_phase(member, 1);
    if (outer == NULL)
        return -ECANCELED;
    struct crew_part *part = crew_phase_within(member, 0, 1);
    part->operations = 1;
    outer->operations = 3;
    crew_phase_end(member, 1);
    crew_phase_end_within(member, 0, 1);
    return 0;
}

static void a_share_lasts_as_long_as_the_whole(void **state)
{
    (void)state;
    assert_int_equal(crew_execute(2, 2, NULL, 2, share, NULL, totals), 0);
    assert_int_equal(totals[0].operations, 4);
    assert_int_equal(totals[1].operations, 12);
    assert_true(totals[0].seconds > 0.0 && totals[0].seconds == totals[1].seconds);
}

/* Each round another worker has the greatest value, and a smaller one than the round before. */
static int compare_values(struct crew_member *member)
{
    for (uint64_t round = 0; round < 100; round++) {
        uint64_t value = (200 - round) * 10 + (member->number + round) % member->count, maximum;
        if (crew_maximum(member, value, &maximum) < 0)
            return -ECANCELED;
        if (maximum != (200 - round) * 10 + member->count - 1)
            return -EBADMSG;
        uint64_t sum;
        if (crew_sum(member, round - member->number, &sum) < 0)
            return -ECANCELED;
        if (sum != 4 * round - (0 + 1 + 2 + 3))
            return -EBADMSG;
    }
    return 0;
}

static void everybody_is_told_the_greatest_value_and_the_sum(void **state)
{
    (void)state;
    assert_int_equal(crew_execute(2, 2, NULL, 0, compare_values, NULL, totals), 0);
}

/* What the edges saw, in the order in which they were called; shared by the workers. */
static struct edges {
    _Atomic uint32_t coming, beginning, leaving, ending;
    _Atomic uint32_t wrong;
} * edges;

static void note_edge(struct crew_member *worker, uint32_t phase, enum crew_edge edge)
{
    uint32_t all = worker->count * (phase + 1);
    switch (edge) {
    case CREW_COMES:
        edges->coming++;
        break;
    case CREW_BEGINS:
        edges->wrong += edges->coming != all || edges->leaving != worker->count * phase;
        edges->beginning++;
        break;
    case CREW_LEAVES:
        edges->wrong += edges->beginning != phase + 1;
        edges->leaving++;
        break;
    case CREW_ENDS:
        edges->wrong += edges->leaving < all;
        edges->ending++;
        break;
    }
}

static int count_and_wait(struct crew_member *member)
{
    for (uint32_t phase = 0; phase < 2; phase++) {
        if (crew_phase(member, phase) == NULL)
            return -ECANCELED;
        crew_phase_end(member, phase);
        if (crew_wait(member) < 0)
            return -ECANCELED;
    }
    return 0;
}

/* A phase begins once, when all have come and nobody works, and ends once, when all have left. */
static void edges_are_where_they_should_be(void **state)
{
    (void)state;
    const struct crew_watch watch = {.interval = UINT64_MAX / 2, .edge = note_edge};
    edges = mmap(NULL, sizeof(*edges), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(edges != MAP_FAILED);
    assert_int_equal(crew_execute_watched(2, 2, NULL, 2, count_and_wait, NULL, &watch, totals), 0);
    assert_int_equal(edges->coming, 8);
    assert_int_equal(edges->leaving, 8);
    assert_int_equal(edges->beginning, 2);
    assert_int_equal(edges->ending, 2);
    assert_int_equal(edges->wrong, 0);
    munmap(edges, sizeof(*edges));
}

static int fail_in_second(struct crew_member *member)
{
    if (crew_phase(member, 0) == NULL)
        return -ECANCELED;
    if (member->number == 1)
        return -EIO;
    return crew_phase(member, 1) == NULL ? -ECANCELED : 0;
}

static int die_in_second(struct crew_member *member)
{
    if (crew_phase(member, 0) == NULL)
        return -ECANCELED;
    if (member->number == 1)
        raise(SIGKILL);
    return crew_phase(member, 1) == NULL ? -ECANCELED : 0;
}

static void failure_ends_all(void **state)
{
    (void)state;
    assert_int_equal(crew_execute(2, 1, NULL, 2, fail_in_second, NULL, totals), -EIO);
    assert_int_equal(crew_execute(1, 3, NULL, 2, fail_in_second, NULL, totals), -EIO);
    assert_int_equal(crew_execute(3, 1, NULL, 2, die_in_second, NULL, totals), -EIO);
}

static void sizes_are_checked(void **state)
{
    (void)state;
    assert_int_equal(crew_execute(0, 1, NULL, 1, count_up, NULL, totals), -EINVAL);
    assert_int_equal(crew_execute(CREW_MAX, 2, NULL, 1, count_up, NULL, totals), -EINVAL);
    assert_int_equal(crew_execute(1, 1, NULL, CREW_PHASES_MAX + 1, count_up, NULL, totals), -EINVAL);
}

static int bound_to(void)
{
    cpu_set_t now;
    CPU_ZERO(&now);
    sched_getaffinity(0, sizeof(now), &now);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&now) == 1; cpu++)
        if (CPU_ISSET(cpu, &now))
            return (int)cpu;
    return -1;
}

static int bind_twice(struct crew_member *member)
{
    int first = bound_to();
    crew_pin(0);
    int second = bound_to();
    crew_pin(1);
    int third = bound_to();
    return first >= 0 && second >= 0 && second != first && third == first ? crew_wait(member) : -EINVAL;
}

/* A worker that is bound starts another that is bound elsewhere. */
static void who_is_bound_can_bind_elsewhere(void **state)
{
    static const int pin[] = {1};
    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        skip();
    assert_int_equal(crew_execute(1, 1, pin, 1, bind_twice, NULL, totals), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(a_share_lasts_as_long_as_the_whole),
        cmocka_unit_test(everybody_is_told_the_greatest_value_and_the_sum),
        cmocka_unit_test(edges_are_where_they_should_be),
        cmocka_unit_test(failure_ends_all),
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(who_is_bound_can_bind_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
