/* Servers that poll take processors away from whoever else has its turn. Stopped while another target is
 * measured, they leave the machine to it.
 */
#pragma once

/* Stops (SIGSTOP) this user's processes on this host that serve chfs: and finchfs: targets, but those of the
 * program `server` (NULL: none), which go on. Returns 0, or -errno after one line on standard error; then
 * nothing stays stopped. */
int suspension_turn(const char *server);
/* Lets all go on that suspension_turn has stopped. Harmless when there are none. */
void suspension_end(void);
