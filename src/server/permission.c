/* Who may do what with an inode.
 *
 * Directories on the way are the client's to check, from attributes that the namespace epoch keeps current;
 * the inode at the end is checked here, where it cannot change between check and use. Requests say who asks:
 * the cluster key is the authority, as it is over everything else. Root may do all.
 *
 * The rules are POSIX's, and Linux's where POSIX leaves a choice: only the owner changes a mode or sets a
 * time, only root gives a file away, an owner gives it to groups that he is in; whoever may write may set
 * both times to now; a set-group-id bit for a group that one is not in is dropped silently. */
#include <errno.h>

#include "server/state.h"

int permission_check(const struct rpc_request *request, uint32_t uid, uint32_t gid, uint32_t mode,
                     uint32_t owner, uint32_t group, unsigned access)
{
    access &= 7;
    if (uid == 0)
        return 0;
    unsigned granted = uid == owner ? mode >> 6 : gid == group ? mode >> 3 : mode;
    if (uid != owner && gid != group) {
        /* Only a set of groups could make a difference, and only if the classes differ. */
        int member = ((mode >> 3 ^ mode) & access) == 0 ? 0 : rpc_request_in_group(request, group);
        if (member < 0)
            return member;
        if (member > 0)
            granted = mode >> 3;
    }
    return (granted & access) == access ? 0 : -EACCES;
}

/* 1 when the group is the caller's, 0, or -STATUS_UNKNOWN_GROUPS. */
static int in_group(const struct rpc_request *request, const struct set_attributes_request *set,
                    uint32_t group)
{
    return set->caller_gid == group ? 1 : rpc_request_in_group(request, group);
}

static int may_give_away(const struct rpc_request *request, const struct inode *inode,
                         const struct set_attributes_request *set)
{
    bool owner = set->caller_uid == inode->uid;
    if ((set->fields & SET_UID) != 0 && (!owner || set->uid != inode->uid))
        return -EPERM;
    if ((set->fields & SET_GID) != 0) {
        if (!owner)
            return -EPERM;
        int member = set->gid == inode->gid ? 1 : in_group(request, set, set->gid);
        if (member <= 0)
            return member < 0 ? member : -EPERM;
    }
    bool clears = (set->fields & SET_CLEAR_IDS) != 0 && (inode->mode & (S_ISUID | S_ISGID)) != 0;
    return clears && !owner ? -EPERM : 0;
}

static int may_set_times(const struct rpc_request *request, const struct inode *inode,
                         const struct set_attributes_request *set)
{
    const uint32_t now = SET_ACCESS_TIME_NOW | SET_MODIFY_TIME_NOW;
    const uint32_t times = now | SET_ACCESS_TIME | SET_MODIFY_TIME;
    if ((set->fields & times) == 0 || set->caller_uid == inode->uid)
        return 0;
    if ((set->fields & times) != now)
        return -EPERM;
    return permission_check(request, set->caller_uid, set->caller_gid, inode->mode, inode->uid, inode->gid,
                            2);
}

int permission_set(const struct rpc_request *request, const struct inode *inode,
                   struct set_attributes_request *set)
{
    if (set->caller_uid == 0)
        return 0;
    int status = may_give_away(request, inode, set);
    if (status == 0)
        status = may_set_times(request, inode, set);
    if (status != 0 || (set->fields & SET_MODE) == 0)
        return status;
    if (set->caller_uid != inode->uid)
        return -EPERM;
    if ((set->mode & S_ISGID) != 0) {
        int member = in_group(request, set, inode->gid);
        if (member < 0)
            return member;
        if (member == 0)
            set->mode &= ~(uint32_t)S_ISGID;
    }
    return 0;
}

void serve_SET_GROUPS(void *owner, struct rpc_request *request)
{
    (void)owner;
    const struct groups_request *body = request->body;
    uint32_t groups[RPC_GROUPS_MAX];
    int status = 0;
    if (request->bulk_length == 0 || request->bulk_length > sizeof(groups) ||
        request->bulk_length % sizeof(groups[0]) != 0)
        status = -EINVAL;
    if (status == 0)
        status = rpc_request_receive(request, &(struct iovec){groups, request->bulk_length}, 1);
    if (status == 0)
        status = rpc_request_set_groups(request, body->set, groups,
                                        (uint32_t)(request->bulk_length / sizeof(groups[0])));
    answer(request, status, NULL, 0);
}
