/* On whose behalf a client asks: user, group, supplementary groups.
 *
 * A client mostly asks for one user; one that serves many switches for each of their calls. So sets of groups
 * are kept, as many as a session of a server knows: coming back to one costs a search through the few that
 * there are, and no message. A new one takes the place of the one that was not used for longest, and every
 * server is told when the first request goes there.
 *
 * Root needs no groups: nothing depends on them. */
#include "client/core.h"

static int compare_groups(const void *first, const void *second)
{
    const uint32_t *one = first, *other = second;
    return (*one > *other) - (*one < *other);
}

static uint32_t unique(uint32_t *groups, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || groups[kept - 1] != groups[i])
            groups[kept++] = groups[i];
    return kept;
}

static uint8_t set_find(const struct credentials *caller, const uint32_t *groups, uint32_t count)
{
    for (uint8_t set = 1; set < RPC_GROUP_SETS; set++)
        if (caller->sets[set].count == count &&
            memcmp(caller->sets[set].groups, groups, count * sizeof *groups) == 0)
            return set;
    return 0;
}

static int set_make(struct client *client, const uint32_t *groups, uint32_t count, uint8_t *made)
{
    struct credentials *caller = &client->caller;
    uint8_t oldest = 1;
    for (uint8_t set = 2; set < RPC_GROUP_SETS; set++)
        if (caller->sets[set].used < caller->sets[oldest].used)
            oldest = set;
    uint32_t *copy = malloc(count * sizeof *copy);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, groups, count * sizeof *copy);
    free(caller->sets[oldest].groups);
    caller->sets[oldest] = (struct group_set){.count = count, .groups = copy};
    for (uint32_t server = 0; server < client->map->server_count; server++)
        caller->known[server] &= ~(UINT32_C(1) << oldest);
    *made = oldest;
    return 0;
}

int client_set_credentials(struct client *client, uint32_t uid, uint32_t gid, const uint32_t *groups,
                           uint32_t count)
{
    struct credentials *caller = &client->caller;
    uint8_t set = 0;
    if (count > RPC_GROUPS_MAX)
        return -EINVAL;
    if (uid != 0 && count > 0) {
        uint32_t sorted[RPC_GROUPS_MAX];
        memcpy(sorted, groups, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare_groups);
        count = unique(sorted, count);
        set = set_find(caller, sorted, count);
        int status = set == 0 ? set_make(client, sorted, count, &set) : 0;
        if (status < 0)
            return status;
        caller->sets[set].used = ++caller->changes;
    }
    if (uid == caller->uid && gid == caller->gid && set == caller->set)
        return 0;
    caller->uid = uid;
    caller->gid = gid;
    caller->set = set;
    /* Whoever walked that path last may not have been allowed to: see walk_as_before. */
    client->cache.walked.tag = client->cache.tag - 1;
    return 0;
}

int credentials_register(struct client *client, uint32_t server, uint64_t deadline)
{
    struct credentials *caller = &client->caller;
    const struct group_set *set = &caller->sets[caller->set];
    struct groups_request request = {.set = caller->set};
    struct iovec bulk = {set->groups, set->count * sizeof *set->groups};
    struct rpc_call call = {
        .operation = RPC_SET_GROUPS,
        .body = &request,
        .body_length = sizeof request,
        .send = &bulk,
        .send_count = 1,
        .namespace_epoch = client->namespace_epoch,
        .deadline = deadline,
    };
    int status = rpc_call(client->peers[server], &call);
    client_observe(client, &call);
    if (status == 0 && server < client->map->server_count)
        caller->known[server] |= UINT32_C(1) << request.set;
    return status;
}

void credentials_forget(struct client *client)
{
    memset(client->caller.known, 0, client->map->server_count * sizeof *client->caller.known);
}

void credentials_destroy(struct credentials *caller)
{
    for (unsigned set = 0; set < RPC_GROUP_SETS; set++)
        free(caller->sets[set].groups);
    free(caller->known);
}

bool credentials_in_group(const struct credentials *caller, uint32_t group)
{
    const struct group_set *set = &caller->sets[caller->set];
    if (group == caller->gid)
        return true;
    return set->count > 0 && bsearch(&group, set->groups, set->count, sizeof group, compare_groups) != NULL;
}

int client_permits(const struct client *client, uint32_t mode, uint32_t uid, uint32_t gid, uint32_t access)
{
    const struct credentials *caller = &client->caller;
    if (caller->uid == 0) {
        bool may_search = is_directory(mode) || (mode & 0111) != 0;
        return (access & MAY_SEARCH) && !may_search ? -EACCES : 0;
    }
    uint32_t granted = mode;
    if (caller->uid == uid)
        granted = mode >> 6;
    else if (credentials_in_group(caller, gid))
        granted = mode >> 3;
    return (granted & access) == access ? 0 : -EACCES;
}
