/* Texts of status codes and their translation to what callers of the public API see.
 *
 * A status is a negative errno value of Linux' generic numbering, which travels over the wire as it is, or a
 * condition of the protocol itself, numbered far above errno. The client layer resolves the latter (it
 * refreshes its map or cache and tries again); if it gives up, or if a peer sends a number that nobody knows,
 * the caller sees EIO. So whatever arrives from outside, errno is always set to a value that strerror can
 * name. */
#include "base/status.h"

#include <string.h>

enum { ERRNO_LAST = 133 }; /* EHWPOISON, the highest value of Linux' generic table */

const char *status_text(int status)
{
    switch (-(long)status) {
    case 0:
        return "Success";
    case STATUS_WRONG_EPOCH:
        return "cluster map out of date";
    case STATUS_STALE_NAMESPACE:
        return "cached namespace out of date";
    case STATUS_NO_SESSION:
        return "session unknown to the server";
    case STATUS_BAD_VERSION:
        return "protocol versions differ";
    case STATUS_BUSY_RETRY:
        return "a conflicting operation is in progress";
    case STATUS_STALE_GENERATION:
        return "file was truncated meanwhile";
    case STATUS_UNKNOWN_GROUPS:
        return "groups of the caller unknown to the server";
    case STATUS_OUTSIDE:
        return "path leads out of the file system";
    case STATUS_LOCK_WAIT:
        return "file lock still taken";
    default:
        break;
    }
    const char *text = status < 0 && status >= -ERRNO_LAST ? strerrordesc_np(-status) : NULL;
    return text != NULL ? text : "unknown status";
}

int status_errno(int status)
{
    if (status == 0)
        return 0;
    if (status == -STATUS_OUTSIDE)
        return EXDEV;
    return status < 0 && status >= -ERRNO_LAST ? -status : EIO;
}
