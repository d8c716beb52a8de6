/* How far the clocks of two hosts are apart, from the times at which requests went and came.
 *
 * A request that leaves here at a, arrives there at b, is answered there at c, and whose answer is here at d,
 * says of the offset o (here minus there): a <= b + o, since nothing arrives before it was sent, and
 * c + o <= d. So o lies in [a - b, d - c], whatever the network did; and the intersection of what all
 * requests say is smaller than what the best of them says. That is the bound of F. Cristian, "Probabilistic
 * clock synchronization", Distributed Computing 3 (1989), and of RFC 5905 (NTP), section 8, applied to many
 * requests as in K. Marzullo and S. Owicki, "Maintaining the time in a distributed system", PODC 1983. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* How fast two clocks may part, in ns a ms (ppm): a crystal is off by some 50, and what is left to correct of
 * a clock that is disciplined is less. */
#define CLOCK_OFFSET_DRIFT 200u

/* All zeros: nothing is known. */
struct clock_offset {
    int64_t low, high; /* the offset lies between; ns to be added to a time there */
    uint64_t at;    /* time here at which that was so; it grows by CLOCK_OFFSET_DRIFT on both sides after */
    uint64_t pairs; /* that were taken */
    uint64_t contradictions; /* of which had nothing in common with what was known: a clock was set */
};

/* sent, received: times here; arrived, answered: times there. All ns, of clocks that only go forward. A pair
 * in which time runs backwards is not looked at. */
void clock_offset_pair(struct clock_offset *offset, uint64_t sent, uint64_t arrived, uint64_t answered,
                       uint64_t received);
/* The estimate, and by how much it may be wrong at that time here. false: no pair was taken. */
bool clock_offset_estimate(const struct clock_offset *offset, uint64_t now, int64_t *estimate,
                           uint64_t *error);
