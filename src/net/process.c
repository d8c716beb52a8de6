/* Whether a process of this host has ended. Its connections end first, while the kernel still takes it apart,
 * so whoever asks because of that asks a few times. */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/net.h"

bool net_process_ended(uint32_t process)
{
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)process, 0);
    if (fd < 0)
        return errno == ESRCH;
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    bool yes = poll(&ended, 1, 0) > 0;
    close(fd);
    return yes;
}
