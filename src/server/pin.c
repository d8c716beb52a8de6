/* Where a file's contents are to be, with the engine tiered: the extended attribute user.benchfs.tier.
 *
 * The attribute belongs to the file and lasts as any other. Whenever it is set or removed, the file's server
 * tells all servers (PIN_CHUNKS), because a file's chunks lie anywhere and new ones may come. Each tells its
 * engine, and keeps a record of its own in its journal, so that after a start it asks nobody. Of two changes
 * at the same time the servers may see either last; setting it again settles that, as it does after a call
 * that failed. A file that is removed takes its pins along. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "server/state.h"

#define PIN_NAME "user.benchfs.tier"
#define PIN_NAME_LENGTH (sizeof(PIN_NAME) - 1)

static const char *const tier_names[] = {
    [STORE_TIER_ANY] = "any", [STORE_TIER_FAST] = "fast", [STORE_TIER_SLOW] = "slow"};

static bool has_tiers(const struct server *server)
{
    return server->store->operations->pin != NULL;
}

/* ---- here ---- */

static int pin_keep(struct server *server, uint64_t inode, enum store_tier tier)
{
    if (tier != STORE_TIER_ANY)
        return map_put(&server->pins, inode, (void *)(uintptr_t)tier);
    map_remove(&server->pins, inode);
    return 0;
}

static void pin_record(struct server *server, uint64_t inode, enum store_tier tier)
{
    if (server->journal == NULL)
        return;
    if (tier == STORE_TIER_ANY)
        journal_append_removal(server->journal, JOURNAL_PIN, inode_partition(inode), &inode, sizeof(inode));
    else
        *(uint8_t *)journal_append(server->journal, JOURNAL_PIN, inode_partition(inode), &inode,
                                   sizeof(inode), 1) = (uint8_t)tier;
}

void serve_PIN_CHUNKS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct pin_request *body = request->body;
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0 && body->tier > STORE_TIER_SLOW)
        status = -EINVAL;
    enum store_tier tier = (enum store_tier)body->tier;
    bool known = map_get(&server->pins, body->inode) != NULL;
    if (status == 0 && has_tiers(server) && (known || tier != STORE_TIER_ANY)) {
        status = pin_keep(server, body->inode, tier);
        if (status == 0)
            status = server->store->operations->pin(server->store, body->inode, tier);
        if (status == 0)
            pin_record(server, body->inode, tier);
    }
    answer(request, status, NULL, 0);
}

/* ---- everywhere ---- */

bool pin_is_name(const char *name, uint32_t length)
{
    return length == PIN_NAME_LENGTH && memcmp(name, PIN_NAME, length) == 0;
}

int pin_check(const struct server *server, const struct inode *inode, const void *value, uint32_t length)
{
    if (!has_tiers(server))
        return 0;
    if (!S_ISREG(inode->mode))
        return -EINVAL;
    for (enum store_tier tier = STORE_TIER_FAST; tier <= STORE_TIER_SLOW; tier++) {
        if (length == strlen(tier_names[tier]) && memcmp(value, tier_names[tier], length) == 0)
            return 0;
    }
    return -EINVAL;
}

static enum store_tier tier_of(const struct server *server, uint64_t inode)
{
    const void *value;
    uint32_t length;
    if (xattr_get(meta_xattrs(server->meta), inode, PIN_NAME, PIN_NAME_LENGTH, &value, &length) != 0 ||
        length == 0)
        return STORE_TIER_ANY;
    return *(const char *)value == tier_names[STORE_TIER_FAST][0] ? STORE_TIER_FAST : STORE_TIER_SLOW;
}

static int tell_all(struct server *server, uint64_t inode, enum store_tier tier, uint64_t deadline)
{
    const struct pin_request body = {.inode = inode, .tier = (uint8_t)tier};
    return server_call_many(server, NULL, RPC_PIN_CHUNKS, &body, sizeof(body), NULL, 0, deadline);
}

int pin_changed(struct server *server, uint64_t inode, uint64_t deadline)
{
    return has_tiers(server) ? tell_all(server, inode, tier_of(server, inode), deadline) : 0;
}

bool pin_exists(const struct server *server, uint64_t inode)
{
    return has_tiers(server) && tier_of(server, inode) != STORE_TIER_ANY;
}

void pin_drop(struct server *server, uint64_t inode, uint64_t deadline)
{
    int status = tell_all(server, inode, STORE_TIER_ANY, deadline);
    if (status != 0)
        log_info("another server keeps in mind where removed file %llx was to be: %s",
                 (unsigned long long)inode, status_text(status));
}

/* ---- life ---- */

int pins_replay(struct server *server, const struct journal_record *record)
{
    uint64_t inode;
    if (record->key_length != sizeof(inode) || (!record->removed && record->value_length != 1))
        return -EBADMSG;
    memcpy(&inode, record->key, sizeof(inode));
    uint8_t tier = record->removed ? STORE_TIER_ANY : *(const uint8_t *)record->value;
    if (tier > STORE_TIER_SLOW || (!record->removed && tier == STORE_TIER_ANY))
        return -EBADMSG;
    return pin_keep(server, inode, (enum store_tier)tier);
}

int pins_start(struct server *server)
{
    size_t cursor = 0;
    uint64_t inode;
    int status = 0;
    for (const void *value; status == 0 && (value = map_next(&server->pins, &cursor, &inode)) != NULL;)
        status = has_tiers(server)
                     ? server->store->operations->pin(server->store, inode, (enum store_tier)(uintptr_t)value)
                     : 0;
    return status;
}

int pins_snapshot(struct server *server, struct journal_snapshot *into)
{
    /* Adding may suspend, and the map may change meanwhile: what is missed or met twice is in the log. So a
     * copy. */
    size_t count = server->pins.count, cursor = 0, length = 0;
    uint64_t *inodes = count == 0 ? NULL : malloc(count * sizeof(*inodes));
    if (count > 0 && inodes == NULL)
        return -ENOMEM;
    while (length < count && map_next(&server->pins, &cursor, &inodes[length]) != NULL)
        length++;
    int status = 0;
    for (size_t i = 0; i < length && status == 0; i++) {
        uint8_t tier = (uint8_t)(uintptr_t)map_get(&server->pins, inodes[i]);
        const struct journal_record record = {.kind = JOURNAL_PIN,
                                              .partition = (uint16_t)inode_partition(inodes[i]),
                                              .key = &inodes[i],
                                              .key_length = sizeof(inodes[i]),
                                              .value = &tier,
                                              .value_length = 1};
        if (tier != STORE_TIER_ANY)
            status = journal_snapshot_add(into, &record);
    }
    free(inodes);
    return status;
}
