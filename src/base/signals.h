/* Signals that a loop waits for like for anything else. */
#pragma once

/* Blocks the signals (numbers, ended by 0) for the calling thread and those that it starts from then on.
 * Returns a descriptor (signalfd, not blocking) that becomes readable when one has come, the caller's to
 * close; or -1 with errno. */
int signals_open(const int *numbers);
