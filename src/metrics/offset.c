/* The interval is kept for the moment of the last pair. Before a new one is intersected with it, it widens on
 * both sides by what the clocks may have parted since: so a constant drift moves the interval along and never
 * empties it. When it comes out empty all the same, one of the clocks was set, or the host was suspended, and
 * what was known before is worth nothing: the new pair begins anew, and is counted. */
#include "metrics/offset.h"

#include "base/clock.h"

static int64_t drift(const struct clock_offset *offset, uint64_t now)
{
    uint64_t elapsed = now > offset->at ? now - offset->at : 0;
    return (int64_t)(elapsed / NSEC_PER_MSEC * CLOCK_OFFSET_DRIFT +
                     elapsed % NSEC_PER_MSEC * CLOCK_OFFSET_DRIFT / NSEC_PER_MSEC + 1);
}

void clock_offset_pair(struct clock_offset *offset, uint64_t sent, uint64_t arrived, uint64_t answered,
                       uint64_t received)
{
    if (received < sent || answered < arrived || answered - arrived > received - sent)
        return;
    int64_t low = (int64_t)(sent - arrived), high = (int64_t)(received - answered);
    if (offset->pairs++ > 0) {
        int64_t wider = drift(offset, received);
        int64_t old_low = offset->low - wider, old_high = offset->high + wider;
        if (low > old_high || high < old_low) {
            offset->contradictions++;
        } else {
            low = old_low > low ? old_low : low;
            high = old_high < high ? old_high : high;
        }
    }
    offset->low = low;
    offset->high = high;
    offset->at = received;
}

bool clock_offset_estimate(const struct clock_offset *offset, uint64_t now, int64_t *estimate,
                           uint64_t *error)
{
    if (offset->pairs == 0)
        return false;
    uint64_t width = (uint64_t)(offset->high - offset->low);
    *estimate = offset->low + (int64_t)(width / 2);
    *error = width - width / 2 + (uint64_t)drift(offset, now);
    return true;
}
