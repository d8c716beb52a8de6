/* Supplementary groups. A caller may have many, and few requests ask for them, so they do not travel with
 * each: a client registers a set once in its session and its requests name the set by number, in bits of the
 * header that were free. A session knows RPC_GROUP_SETS - 1 sets, for clients that act for many users.
 *
 * Sets live as long as their session. A client whose session was lost does not know; its requests that depend
 * on the set are refused, and it registers the set again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "rpc/party.h"

static_assert(RPC_GROUP_SETS << RPC_HEADER_GROUPS_SHIFT == 256, "the number of a set fits");

void session_free_groups(struct rpc_session *session)
{
    for (unsigned set = 0; session->groups != NULL && set < RPC_GROUP_SETS; set++)
        free(session->groups[set]);
    free(session->groups);
}

int rpc_request_set_groups(const struct rpc_request *request, unsigned set, const uint32_t *groups,
                           uint32_t count)
{
    struct rpc_session *session = request->session;
    if (session == NULL || set == 0 || set >= RPC_GROUP_SETS || count == 0 || count > RPC_GROUPS_MAX)
        return -EINVAL;
    for (uint32_t i = 1; i < count; i++) {
        if (groups[i - 1] >= groups[i])
            return -EINVAL;
    }
    if (session->groups == NULL) {
        session->groups = calloc(RPC_GROUP_SETS, sizeof(struct rpc_groups *));
        if (session->groups == NULL)
            return -ENOMEM;
    }
    struct rpc_groups *made = malloc(sizeof(*made) + count * sizeof(groups[0]));
    if (made == NULL)
        return -ENOMEM;
    made->count = count;
    memcpy(made->groups, groups, count * sizeof(groups[0]));
    free(session->groups[set]);
    session->groups[set] = made;
    return 0;
}

static int compare_groups(const void *first, const void *second)
{
    const uint32_t *one = first, *other = second;
    return (*one > *other) - (*one < *other);
}

int rpc_request_in_group(const struct rpc_request *request, uint32_t group)
{
    unsigned set = request->header->flags >> RPC_HEADER_GROUPS_SHIFT;
    if (set == 0)
        return 0;
    const struct rpc_session *session = request->session;
    if (session == NULL || session->groups == NULL || session->groups[set] == NULL)
        return -STATUS_UNKNOWN_GROUPS;
    const struct rpc_groups *known = session->groups[set];
    return bsearch(&group, known->groups, known->count, sizeof(group), compare_groups) != NULL;
}
