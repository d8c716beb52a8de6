/* Servers with attribute boards, and what a client of theirs reads there. */
#pragma once

#include "server_fixture.h"

#include "meta/board.h"

static struct fixture f;
static struct net_view *memory[SERVERS_MAX];
static struct board_view views[SERVERS_MAX];
static unsigned shown; /* answers that stood when they were compared */

/* ---- boards ---- */

static inline int board_place(uint32_t server, struct net_place *place)
{
    struct operation_call c;
    call_prepare(&f, &c, RPC_GET_BOARD, sizeof(struct board_request), sizeof(struct board_reply));
    rpc_start(f.client.peers[server], &c.call);
    int status = finish(&c);
    const struct board_reply *reply = (const void *)c.reply;
    if (status != 0)
        return status;
    *place = (struct net_place){.length = reply->board.length,
                                .process = reply->board.process,
                                .descriptor = reply->board.descriptor};
    memcpy(place->id, reply->board.id, sizeof(place->id));
    return 0;
}

static inline void begin(uint32_t servers)
{
    fixture_open(&f,
                 &(struct fixture_options){.servers = servers, .board_bytes = 1 << 20, .instances = true});
    for (uint32_t i = 0; i < servers; i++) {
        struct net_place place;
        assert_int_equal(board_place(i, &place), 0);
        assert_int_equal(net_view(f.client.net, &place, &memory[i]), 0);
        assert_int_equal(board_view_open(memory[i], &views[i]), 0);
    }
    shown = 0;
}

static inline void end(void)
{
    for (uint32_t i = 0; i < f.count; i++)
        net_view_end(memory[i]);
    fixture_close(&f);
}

static inline enum board_answer name_on_board(uint64_t parent, const char *name,
                                              struct attributes *attributes)
{
    return board_read(&views[server_of_name(&f, parent, name)], dentry_hash(parent, name, strlen(name)),
                      parent, name, (uint32_t)strlen(name), f.map->epoch, f.epoch, attributes);
}

static inline enum board_answer inode_on_board(uint64_t inode, struct attributes *attributes)
{
    return board_read(&views[server_of(&f, inode)], board_inode_hash(inode), inode, NULL, 0, f.map->epoch,
                      f.epoch, attributes);
}

static inline void compare_name(uint64_t parent, const char *name, const char *after)
{
    struct attributes on_board, found;
    enum board_answer answer = name_on_board(parent, name, &on_board);
    if (answer == BOARD_SILENT)
        return;
    shown++;
    int status = lookup(&f, parent, name, &found);
    if (status != (answer == BOARD_MISSING ? -ENOENT : 0) ||
        (status == 0 && memcmp(&found, &on_board, sizeof(found)) != 0))
        fail_msg("after %s the board is wrong about \"%s\" in %llx", after, name, (unsigned long long)parent);
}

static inline void compare_inode(uint64_t inode, const char *after)
{
    struct attributes on_board, found;
    if (inode_on_board(inode, &on_board) != BOARD_FOUND)
        return;
    shown++;
    if (get_attributes(&f, inode, &found) != 0 || memcmp(&found, &on_board, sizeof(found)) != 0)
        fail_msg("after %s the board is wrong about inode %llx", after, (unsigned long long)inode);
}
