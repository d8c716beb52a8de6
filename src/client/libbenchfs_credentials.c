/* On whose behalf the calls of libbenchfs are made.
 *
 * By default it is the process: its effective user and group and its supplementary groups when it connected,
 * or, in a child after a fork, when the child made its first call - between the two it may have become
 * another user. A thread may choose others for itself, as a daemon that acts for many users does for each
 * request. What a thread has chosen is with its worker; the fast path finds it in the client core and never
 * looks here. */
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/application.h"
#include "client/library.h"

int identity_of_process(struct identity *identity)
{
    static_assert(sizeof(gid_t) == sizeof identity->groups[0], "groups as the kernel gives them");
    identity->uid = geteuid();
    identity->gid = getegid();
    identity->real_uid = getuid();
    identity->real_gid = getgid();
    int count = getgroups((int)RPC_GROUPS_MAX, identity->groups);
    identity->count = count < 0 ? 0 : (uint32_t)count;
    return count < 0 ? -E2BIG : 0;
}

static int use(struct worker *worker, const struct identity *identity)
{
    worker->real_differs = identity->uid != identity->real_uid || identity->gid != identity->real_gid;
    return client_set_credentials(worker->client, identity->uid, identity->gid, identity->groups,
                                  identity->count);
}

int worker_inherit(struct worker *worker, const struct worker *older)
{
    while (older != NULL && older->fs_id != worker->fs_id)
        older = older->next;
    if (older == NULL || older->identity == NULL)
        return 0;
    worker->identity = malloc(sizeof *worker->identity);
    if (worker->identity == NULL)
        return -ENOMEM;
    memcpy(worker->identity, older->identity, sizeof *worker->identity);
    return 0;
}

int worker_identify(struct worker *worker)
{
    struct benchfs *fs = worker->fs;
    if (worker->identity != NULL)
        return use(worker, worker->identity);
    int status = 0;
    pthread_mutex_lock(&fs->mutex);
    if (fs->identity_forks != worker->forks) {
        status = identity_of_process(&fs->identity);
        fs->identity_forks = worker->forks;
    }
    if (status == 0)
        status = use(worker, &fs->identity);
    pthread_mutex_unlock(&fs->mutex);
    return status;
}

/* Back to the process's own, as they are now. */
static int unchoose(struct worker *worker)
{
    struct benchfs *fs = worker->fs;
    pthread_mutex_lock(&fs->mutex);
    int status = identity_of_process(&fs->identity);
    pthread_mutex_unlock(&fs->mutex);
    free(worker->identity);
    worker->identity = NULL;
    return status < 0 ? status : worker_identify(worker);
}

static int choose(struct worker *worker, uid_t uid, gid_t gid, const gid_t *groups, uint32_t count)
{
    struct identity *identity = worker->identity;
    if (identity == NULL)
        identity = malloc(sizeof *identity);
    if (identity == NULL)
        return -ENOMEM;
    worker->identity = identity;
    identity->uid = identity->real_uid = uid;
    identity->gid = identity->real_gid = gid;
    identity->count = count;
    if (count > 0)
        memcpy(identity->groups, groups, count * sizeof *groups);
    return use(worker, identity);
}

int benchfs_set_credentials(benchfs *fs, uid_t uid, gid_t gid, int ngroups, const gid_t *groups)
{
    struct worker *worker = worker_get(fs);
    if (worker == NULL)
        return -1;
    bool own = uid == (uid_t)-1 && gid == (gid_t)-1;
    if (ngroups < 0 || ngroups > (int)RPC_GROUPS_MAX ||
        (own ? ngroups > 0 : uid == (uid_t)-1 || gid == (gid_t)-1)) {
        errno = EINVAL;
        return -1;
    }
    return finish(own ? unchoose(worker) : choose(worker, uid, gid, groups, (uint32_t)ngroups));
}

/* ---- access ---- */

/* access(2) asks for the real user, everything else for the effective one. */
static int access_as_real(struct worker *worker, uint64_t directory, const char *path, int mode, bool follow)
{
    struct identity real, effective;
    struct benchfs *fs = worker->fs;
    pthread_mutex_lock(&fs->mutex);
    effective = fs->identity;
    pthread_mutex_unlock(&fs->mutex);
    real = effective;
    real.uid = real.real_uid;
    real.gid = real.real_gid;
    int status = use(worker, &real);
    if (status == 0)
        status = client_access(worker->client, directory, path, mode, follow);
    int restored = use(worker, &effective);
    return status < 0 ? status : restored;
}

int benchfs_faccessat(benchfs *fs, int dirfd, const char *path, int mode, int flags)
{
    APPLICATION_CALL(FACCESSAT, fs, -1, path);
    uint64_t directory;
    struct worker *worker = worker_get(fs);
    if (worker == NULL)
        return -1;
    if ((flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) || (mode & ~(R_OK | W_OK | X_OK))) {
        errno = EINVAL;
        return -1;
    }
    if ((flags & AT_EMPTY_PATH) && path[0] == '\0') {
        struct open_file *slot = dirfd == AT_FDCWD ? NULL : open_file_acquire(fs, dirfd);
        if (dirfd != AT_FDCWD && slot == NULL)
            return -1;
        uint64_t inode = slot == NULL ? INODE_ROOT : slot->file.inode;
        if (slot != NULL)
            open_file_release(fs, slot);
        return finish(client_access_inode(worker->client, inode, (uint32_t)mode));
    }
    if (start_directory(fs, dirfd, path, &directory) < 0)
        return -1;
    bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
    return finish(worker->real_differs && !(flags & AT_EACCESS)
                      ? access_as_real(worker, directory, path, mode, follow)
                      : client_access(worker->client, directory, path, mode, follow));
}

int benchfs_access(benchfs *fs, const char *path, int mode)
{
    return benchfs_faccessat(fs, AT_FDCWD, path, mode, 0);
}

int benchfs_euidaccess(benchfs *fs, const char *path, int mode)
{
    return benchfs_faccessat(fs, AT_FDCWD, path, mode, AT_EACCESS);
}
