/* What the system takes for a call, and to run a process that was asleep: what an idle server or a client
 * that waits pays when a message comes. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/calibrate.h"
#include "bench/crew.h"

#define BATCH 100u

struct waking {
    const struct calibration *calibration;
    int ask, answer; /* eventfds */
};

static void measure_calls(const struct calibration *calibration)
{
    struct sample values = {0};
    for (uint32_t i = 0; i < calibration->repeats; i++) {
        uint64_t started = crew_now(), until = started + calibration->duration, count = 0;
        for (; crew_now() < until; count += BATCH) {
            for (uint32_t k = 0; k < BATCH; k++)
                syscall(SYS_getppid);
        }
        sample_add(&values, (double)(crew_now() - started) / (double)count);
    }
    calibrate_tell(calibration, (struct result_limit){.name = "syscall", .unit = "ns", .transport = ""},
                   &values);
}

/* The first asks, the other answers; a value above 1 ends it. */
static int wake_each_other(struct crew_member *member)
{
    const struct waking *waking = member->argument;
    for (uint32_t repeat = 0; repeat < waking->calibration->repeats; repeat++) {
        uint64_t one = 1, got = 0;
        struct crew_part *part = crew_phase(member, repeat);
        if (part == NULL)
            return -ECANCELED;
        uint64_t until = crew_now() + waking->calibration->duration;
        while (member->number == 0 && one == 1) {
            one = crew_now() < until ? 1 : 2;
            if (write(waking->ask, &one, sizeof(one)) < 0 || read(waking->answer, &got, sizeof(got)) < 0)
                return -errno;
            part->operations++;
        }
        while (member->number == 1 && got < 2) {
            if (read(waking->ask, &got, sizeof(got)) < 0 || write(waking->answer, &one, sizeof(one)) < 0)
                return -errno;
        }
        crew_phase_end(member, repeat);
    }
    return 0;
}

static int measure_wakeups(const struct calibration *calibration)
{
    static struct crew_total totals[CREW_PHASES_MAX];
    static const int pin[] = {0, 1};
    struct waking waking = {calibration, eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
    struct sample values = {0};
    int status = waking.ask < 0 || waking.answer < 0 ? -errno : 0;
    if (status == 0)
        status = crew_execute(2, 1, pin, calibration->repeats, wake_each_other, &waking, totals);
    for (uint32_t i = 0; i < calibration->repeats && status == 0; i++)
        sample_add(&values, totals[i].seconds * 1e9 / (double)(2 * totals[i].operations));
    if (status == 0)
        calibrate_tell(calibration, (struct result_limit){.name = "wakeup", .unit = "ns", .transport = ""},
                       &values);
    else
        bench_error("cannot measure how long it takes to wake a process: %s", strerror(-status));
    close(waking.ask);
    close(waking.answer);
    return status;
}

int calibrate_system(const struct calibration *calibration)
{
    measure_calls(calibration);
    return measure_wakeups(calibration);
}
