/* A signal sets a flag, and whoever waits for something looks at it. System calls are interrupted. That
 * nobody reads the table any more ("| head") ends a benchmark like an interrupt. */
#include "bench/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t noted;

static void note(int signal_number)
{
    (void)signal_number;
    noted = 1;
}

static void handle(void (*handler)(int))
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct sigaction action = {.sa_handler = handler};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &action, NULL);
}

void interrupt_catch(void)
{
    handle(note);
}

void interrupt_default(void)
{
    handle(SIG_DFL);
}

void interrupt_ignore(void)
{
    handle(SIG_IGN);
}

bool interrupted(void)
{
    return noted != 0;
}
