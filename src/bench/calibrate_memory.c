/* Memory copies: the yardstick of everything that moves bytes within a host. A copy's speed depends on where
 * its bytes are, so each size is copied from one buffer, which stays in cache like a client's, into a place
 * that is either one buffer again or the next one of a large area, like a server's memory. */
#include "bench/calibrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/crew.h"
#include "bench/interrupt.h"

#define AREA (UINT64_C(128) << 20)
#define BATCH (UINT64_C(4) << 20) /* bytes between two looks at the clock */

struct copies {
    const struct calibration *calibration;
    uint64_t size, footprint;
};

static void *memory(uint64_t length)
{
    void *bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return NULL;
    madvise(bytes, length, MADV_HUGEPAGE);
    memset(bytes, 1, length);
    return bytes;
}

static int copy(struct crew_member *member)
{
    const struct copies *copies = member->argument;
    char *from = memory(copies->size), *to = memory(copies->footprint); /* until the process ends */
    if (from == NULL || to == NULL) {
        bench_error("no memory to measure copies");
        return -ENOMEM;
    }
    uint64_t at = 0;
    for (uint32_t repeat = 0; repeat < copies->calibration->repeats; repeat++) {
        struct crew_part *part = crew_phase(member, repeat);
        if (part == NULL)
            return -ECANCELED;
        for (uint64_t until = crew_now() + copies->calibration->duration; crew_now() < until;) {
            for (uint64_t done = 0; done < BATCH; done += copies->size) {
                memcpy(to + at, from, copies->size);
                __asm__ volatile("" : : "r"(to) : "memory"); /* somebody wants them */
                at = at + 2 * copies->size <= copies->footprint ? at + copies->size : 0;
                part->bytes += copies->size;
                part->operations++;
            }
        }
        crew_phase_end(member, repeat);
    }
    return 0;
}

static int measure(const struct calibration *calibration, uint64_t size, uint64_t footprint,
                   uint32_t processes)
{
    static struct crew_total totals[CREW_PHASES_MAX];
    struct copies copies = {calibration, size, footprint};
    struct sample values = {0};
    int pin[CREW_MAX];
    for (int i = 0; i < (int)processes; i++)
        pin[i] = i;
    int status = crew_execute(processes, 1, pin, calibration->repeats, copy, &copies, totals);
    for (uint32_t i = 0; i < calibration->repeats && status == 0; i++)
        sample_add(&values, (double)totals[i].bytes / totals[i].seconds);
    if (status == 0)
        calibrate_tell(calibration,
                       (struct result_limit){.name = "memcpy",
                                             .unit = "B/s",
                                             .size = size,
                                             .depth = 1,
                                             .footprint = footprint,
                                             .processes = processes,
                                             .transport = ""},
                       &values);
    return status;
}

int calibrate_memory(const struct calibration *calibration)
{
    static const uint64_t sizes[] = {4096, 65536, 1 << 20, 4 << 20};
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t all = online > (long)CREW_MAX ? CREW_MAX : (uint32_t)online;
    int status = 0;
    for (uint32_t processes = all; status == 0; processes = 1) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && status == 0; i++) {
            status = interrupted() ? -EINTR : measure(calibration, sizes[i], AREA, processes);
            if (status == 0)
                status = measure(calibration, sizes[i], sizes[i], processes);
        }
        if (processes == 1)
            break;
    }
    return status;
}
