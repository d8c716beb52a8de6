/* On whose behalf a thread calls.
 *
 * The kernel checks files by the file system ids of the calling thread, which follow the effective ids. When
 * they change, by a function of the C library for all threads or by a system call for one, the threads
 * concerned tell libbenchfs at their next call. */
#include <grp.h>
#include <stdlib.h>
#include <sys/fsuid.h>

#include "preload/preload.h"

_Atomic uint32_t credentials_changes;
THREAD uint32_t credentials_known;

void credentials_tell(void)
{
    credentials_known = atomic_load(&credentials_changes);
    int before = errno;
    gid_t few[64], *groups = few;
    inside++;
    int count = getgroups(0, NULL);
    if (count > (int)(sizeof few / sizeof few[0]))
        groups = malloc((size_t)count * sizeof(*groups));
    count = groups == NULL ? -1 : getgroups(count, groups);
    /* An id that cannot be is not set, but the one in force is returned. */
    uid_t uid = (uid_t)real(setfsuid)((uid_t)-1);
    gid_t gid = (gid_t)real(setfsgid)((gid_t)-1);
    if (count < 0 || remote->set_credentials(uid, gid, count, groups) < 0)
        remote->set_credentials(uid, gid, 0, NULL); /* fewer rights, never more */
    inside--;
    if (groups != few)
        free(groups);
    errno = before;
}

void credentials_changed_here(void)
{
    credentials_known = atomic_load(&credentials_changes) - 1;
}

#define CHANGING(name, parameters, arguments)                                                                \
    EXPORT int name parameters                                                                               \
    {                                                                                                        \
        int result = real(name) arguments;                                                                   \
        atomic_fetch_add(&credentials_changes, 1);                                                           \
        return result;                                                                                       \
    }
CHANGING(setuid, (uid_t uid), (uid))
CHANGING(seteuid, (uid_t uid), (uid))
CHANGING(setreuid, (uid_t ruid, uid_t euid), (ruid, euid))
CHANGING(setresuid, (uid_t ruid, uid_t euid, uid_t suid), (ruid, euid, suid))
CHANGING(setgid, (gid_t gid), (gid))
CHANGING(setegid, (gid_t gid), (gid))
CHANGING(setregid, (gid_t rgid, gid_t egid), (rgid, egid))
CHANGING(setresgid, (gid_t rgid, gid_t egid, gid_t sgid), (rgid, egid, sgid))
CHANGING(setgroups, (size_t count, const gid_t *groups), (count, groups))
CHANGING(initgroups, (const char *user, gid_t group), (user, group))

/* These two are of one thread. */
EXPORT int setfsuid(uid_t uid)
{
    int result = real(setfsuid)(uid);
    credentials_changed_here();
    return result;
}

EXPORT int setfsgid(gid_t gid)
{
    int result = real(setfsgid)(gid);
    credentials_changed_here();
    return result;
}
