/* Counters over ranks.
 *
 * A worker adds to the counter in its rank's memory, which the others of the rank see at once, and under MPI
 * puts the counter's number into a ring in that memory. The parent, which alone speaks MPI, empties the ring
 * into a message to all other ranks, whose parents add it to their counters. Nobody waits for an answer:
 * counters only grow, so that one who waits for a value sees it sooner or later.
 *
 * A message may arrive when the counters have been cleared since. So each number goes with the count of
 * clearings, and what is of another one is dropped. None comes too early: between clearing and the first
 * addition lies a barrier of all ranks. */
#include "bench/relay.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/ranks.h"

#define RING 65536u
#define NAP_NS 20000L

struct relay {
    uint32_t count;
    size_t length; /* of the mapping */
    _Atomic uint32_t clearings;
    _Atomic uint64_t put, taken; /* numbers in the ring, all in all */
    _Atomic uint64_t ring[RING]; /* clearings << 32 | counter + 1; 0: not there yet */
    _Atomic uint32_t counters[];
};

int relay_create(uint32_t counters, struct relay **created)
{
    size_t length = sizeof(struct relay) + counters * sizeof(_Atomic uint32_t);
    struct relay *relay = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (relay == MAP_FAILED)
        return -ENOMEM;
    relay->count = counters;
    relay->length = length;
    *created = relay;
    return 0;
}

void relay_destroy(struct relay *relay)
{
    if (relay != NULL)
        munmap(relay, relay->length);
}

void relay_clear(struct relay *relay)
{
    atomic_fetch_add(&relay->clearings, 1);
    for (uint32_t i = 0; i < relay->count; i++)
        atomic_store(&relay->counters[i], 0);
}

int relay_add(struct relay *relay, uint32_t counter, bool (*stopping)(const void *argument),
              const void *argument)
{
    atomic_fetch_add(&relay->counters[counter], 1);
    if (ranks_count() == 1)
        return 0;
    uint64_t place = atomic_fetch_add(&relay->put, 1);
    while (place - atomic_load(&relay->taken) >= RING) {
        if (stopping(argument))
            return -ECANCELED;
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
    atomic_store(&relay->ring[place % RING], (uint64_t)atomic_load(&relay->clearings) << 32 | (counter + 1));
    return 0;
}

uint32_t relay_count(const struct relay *relay, uint32_t counter)
{
    return atomic_load(&relay->counters[counter]);
}

/* What workers have put there, at most RANKS_TELL_MAX; it stays in the ring. */
static uint32_t look_into_ring(struct relay *relay, uint64_t *numbers)
{
    uint64_t taken = atomic_load(&relay->taken);
    uint32_t count = 0;
    while (count < RANKS_TELL_MAX) {
        uint64_t number = atomic_load(&relay->ring[(taken + count) % RING]);
        if (number == 0)
            break;
        numbers[count++] = number;
    }
    return count;
}

static void take_from_ring(struct relay *relay, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        atomic_store(&relay->ring[atomic_load(&relay->taken) % RING], 0);
        atomic_fetch_add(&relay->taken, 1);
    }
}

static void add_numbers(struct relay *relay, const uint64_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t counter = (uint32_t)numbers[i] - 1;
        if (numbers[i] >> 32 == atomic_load(&relay->clearings) && counter < relay->count)
            atomic_fetch_add(&relay->counters[counter], 1);
    }
}

int relay_carry(struct relay *relay)
{
    uint64_t numbers[RANKS_TELL_MAX];
    uint32_t count;
    int status;
    if (ranks_count() == 1)
        return 0;
    while ((count = look_into_ring(relay, numbers)) > 0 && (status = ranks_tell(numbers, count)) != -EAGAIN) {
        if (status < 0)
            return status;
        take_from_ring(relay, count);
    }
    do {
        status = ranks_hear(numbers, &count);
        if (status == 0)
            add_numbers(relay, numbers, count);
    } while (status == 0 && count > 0);
    return status;
}
