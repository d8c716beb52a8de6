/* Servers and a client party in one process over the simulated network, and one function per operation that a
 * server test sends. No client layer: requests are built by hand and sent to the server that they are for. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "cluster/map.h"
#include "data/placement.h"
#include "net/sim.h"
#include "rpc/rpc.h"
#include "server/server.h"

#define SERVERS_MAX 3
#define SHIFT 16 /* chunks of 64 KiB */

struct party {
    struct net *net;
    struct rpc *rpc;
    struct rpc_peer *peers[SERVERS_MAX];
};

struct fixture {
    struct loop *loop;
    struct sim_network *network;
    uint32_t count;
    struct net *nets[SERVERS_MAX];
    struct server *servers[SERVERS_MAX];
    struct cluster_map *map; /* the test's own copy */
    struct party client;
    struct party second; /* another client, with its own session */
    uint32_t epoch;      /* namespace epoch that requests carry */
    uint32_t uid;        /* who renames */
    bool instances;      /* clients are instances: they can hold locks and open files */
};

struct fixture_options {
    uint32_t servers;
    uint64_t store_capacity;
    uint64_t metadata_capacity;
    uint64_t lease_ns;
    uint32_t loss_per_million;
    uint64_t rpc_deadline_ns;
    bool instances;
    uint64_t board_bytes;
};

static const uint8_t fixture_key[CLUSTER_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static inline void party_open(struct fixture *f, struct party *party, const char *host)
{
    struct rpc_options options = {
        .cluster_key = fixture_key,
        .server_id = UINT32_MAX,
        .instance = f->instances ? 1 + (uint64_t)(unsigned char)host[1] : 0,
    };
    assert_int_equal(net_sim_create(f->network, host, &party->net), 0);
    assert_int_equal(rpc_create(party->net, &options, &party->rpc), 0);
    for (uint32_t i = 0; i < f->count; i++)
        assert_int_equal(rpc_peer_create(party->rpc, f->map->servers[i].address, &party->peers[i]), 0);
}

static inline void party_close(struct fixture *f, struct party *party)
{
    for (uint32_t i = 0; i < f->count; i++)
        rpc_peer_destroy(party->peers[i]);
    rpc_destroy(party->rpc);
    net_destroy(party->net);
}

static inline void fixture_open(struct fixture *f, const struct fixture_options *options)
{
    log_threshold = LOG_ERROR;
    *f = (struct fixture){.count = options->servers, .epoch = 1, .instances = options->instances};
    struct loop_options loop = {.simulated = true, .seed = 7};
    struct sim_options sim = {.delay_min_ns = 1000, .delay_max_ns = 20000};
    assert_int_equal(loop_create(&loop, &f->loop), 0);
    assert_int_equal(sim_network_create(f->loop, &sim, &f->network), 0);

    struct cluster_server members[SERVERS_MAX] = {0};
    for (uint32_t i = 0; i < f->count; i++) {
        char host[16];
        char listen[32];
        snprintf(host, sizeof(host), "s%u", i);
        snprintf(listen, sizeof(listen), "s%u:0", i);
        assert_int_equal(net_sim_create(f->network, host, &f->nets[i]), 0);
        struct server_options server = {
            .id = i + 10,
            .cluster_key = fixture_key,
            .listen = listen,
            .store = {.engine = "mem",
                      .capacity = options->store_capacity != 0 ? options->store_capacity : 8u << 20},
            .lease_ns = options->lease_ns,
            .rpc_deadline_ns = options->rpc_deadline_ns,
            .metadata_capacity = options->metadata_capacity,
            .board_bytes = options->board_bytes,
            .content_bytes = options->board_bytes,
        };
        members[i].id = i + 10;
        assert_int_equal(server_create(f->nets[i], &server, &f->servers[i], members[i].address), 0);
    }
    for (uint32_t i = 0; i < f->count; i++) {
        struct cluster_map *map;
        assert_int_equal(cluster_map_create(1, members, f->count, &map), 0);
        assert_int_equal(server_set_map(f->servers[i], map), 0);
    }
    assert_int_equal(cluster_map_create(1, members, f->count, &f->map), 0);
    party_open(f, &f->client, "c0");
    party_open(f, &f->second, "c1");
    sim.loss_per_million = options->loss_per_million;
    sim_network_options(f->network, &sim);
}

static inline void fixture_close(struct fixture *f)
{
    party_close(f, &f->client);
    party_close(f, &f->second);
    for (uint32_t i = 0; i < f->count; i++) {
        server_destroy(f->servers[i]);
        net_destroy(f->nets[i]);
    }
    cluster_map_destroy(f->map);
    sim_network_destroy(f->network);
    loop_destroy(f->loop);
}

/* ---- where things are ---- */

static inline uint32_t server_of_name(const struct fixture *f, uint64_t parent, const char *name)
{
    return cluster_map_owner(f->map, hash_partition(dentry_hash(parent, name, strlen(name))));
}

static inline uint32_t server_of(const struct fixture *f, uint64_t inode)
{
    return cluster_map_owner(f->map, inode_partition(inode));
}

/* A name in parent that the given server holds; number makes different ones. */
static inline const char *name_on(const struct fixture *f, uint64_t parent, uint32_t server, const char *stem,
                                  char *name)
{
    for (unsigned i = 0;; i++) {
        snprintf(name, 64, "%s%u", stem, i);
        if (server_of_name(f, parent, name) == server)
            return name;
    }
}

/* ---- requests ---- */

/* A call with room for every body. */
struct operation_call {
    struct rpc_call call;
    struct iovec send;
    struct iovec receive;
    uint8_t body[RPC_BODY_MAX];
    uint8_t reply[RPC_BODY_MAX];
};

static inline struct operation_call *call_prepare(const struct fixture *f, struct operation_call *c,
                                                  uint16_t operation, size_t body_length, size_t reply_size)
{
    assert_true(reply_size <= sizeof(c->reply));
    c->call = (struct rpc_call){
        .operation = operation,
        .body = c->body,
        .body_length = (uint32_t)body_length,
        .reply = c->reply,
        .reply_size = (uint32_t)reply_size,
        .namespace_epoch = f->epoch,
    };
    return c;
}

static inline void call_send(struct operation_call *c, const void *bytes, size_t length)
{
    c->send = (struct iovec){(void *)(uintptr_t)bytes, length};
    c->call.send = &c->send;
    c->call.send_count = 1;
}

static inline void call_receive(struct operation_call *c, void *bytes, size_t length)
{
    c->receive = (struct iovec){bytes, length};
    c->call.receive = &c->receive;
    c->call.receive_count = 1;
}

static inline int finish(struct operation_call *c)
{
    return rpc_finish(&c->call);
}

static inline void start_name(struct fixture *f, struct party *party, struct operation_call *c,
                              uint16_t operation, uint64_t parent, const char *name, size_t reply_size)
{
    struct name_request *body = (void *)c->body;
    *body = (struct name_request){.parent = parent, .name_length = (uint8_t)strlen(name)};
    memcpy(body->name, name, strlen(name));
    call_prepare(f, c, operation, sizeof(*body) + strlen(name), reply_size);
    rpc_start(party->peers[server_of_name(f, parent, name)], &c->call);
}

static inline int lookup(struct fixture *f, uint64_t parent, const char *name, struct attributes *attributes)
{
    struct operation_call c;
    start_name(f, &f->client, &c, RPC_LOOKUP, parent, name, sizeof(struct attributes_reply));
    int status = finish(&c);
    if (status == 0 && attributes != NULL)
        memcpy(attributes, c.reply, sizeof(*attributes));
    return status;
}

static inline int unlink_name(struct fixture *f, uint64_t parent, const char *name)
{
    struct operation_call c;
    start_name(f, &f->client, &c, RPC_UNLINK, parent, name, sizeof(struct unlink_reply));
    return finish(&c);
}

static inline int remove_directory(struct fixture *f, uint64_t parent, const char *name)
{
    struct operation_call c;
    start_name(f, &f->client, &c, RPC_REMOVE_DIRECTORY, parent, name, 0);
    return finish(&c);
}

struct create {
    uint64_t parent;
    const char *name;
    uint16_t operation; /* 0: CREATE_FILE */
    uint32_t mode;
    uint32_t uid;
    uint8_t flags;
    const char *target; /* of a symbolic link */
};

static inline void start_create(struct fixture *f, struct party *party, struct operation_call *c,
                                const struct create *create)
{
    struct create_request *body = (void *)c->body;
    *body = (struct create_request){
        .parent = create->parent,
        .uid = create->uid,
        .gid = create->uid,
        .group = create->uid,
        .mode = create->mode != 0 ? create->mode : 0644,
        .placement = PLACEMENT_ROUND_ROBIN,
        .chunk_shift = SHIFT,
        .flags = create->flags,
        .name_length = (uint8_t)strlen(create->name),
    };
    memcpy(body->name, create->name, strlen(create->name));
    call_prepare(f, c, create->operation != 0 ? create->operation : RPC_CREATE_FILE,
                 sizeof(*body) + strlen(create->name), sizeof(struct attributes_reply));
    if (create->target != NULL)
        call_send(c, create->target, strlen(create->target));
    rpc_start(party->peers[server_of_name(f, create->parent, create->name)], &c->call);
}

static inline int create(struct fixture *f, const struct create *what, struct attributes *attributes)
{
    struct operation_call c;
    start_create(f, &f->client, &c, what);
    int status = finish(&c);
    if (status == 0 && attributes != NULL)
        memcpy(attributes, c.reply, sizeof(*attributes));
    return status;
}

/* Creates what must not exist yet; returns the inode. */
static inline uint64_t make_file(struct fixture *f, uint64_t parent, const char *name)
{
    struct attributes attributes = {0};
    assert_int_equal(
        create(f, &(struct create){.parent = parent, .name = name, .flags = CREATE_EXCLUSIVE}, &attributes),
        0);
    return attributes.inode;
}

static inline uint64_t make_directory(struct fixture *f, uint64_t parent, const char *name)
{
    struct attributes attributes = {0};
    struct create what = {.parent = parent, .name = name, .operation = RPC_CREATE_DIRECTORY, .mode = 0755};
    assert_int_equal(create(f, &what, &attributes), 0);
    return attributes.inode;
}

static inline int get_attributes(struct fixture *f, uint64_t inode, struct attributes *attributes)
{
    struct operation_call c;
    struct attributes_request *body = (void *)c.body;
    body->inode = inode;
    body->flags = ATTRIBUTES_GATHER;
    call_prepare(f, &c, RPC_GET_ATTRIBUTES, sizeof(*body), sizeof(*attributes));
    rpc_start(f->client.peers[server_of(f, inode)], &c.call);
    int status = finish(&c);
    if (status == 0)
        memcpy(attributes, c.reply, sizeof(*attributes));
    return status;
}

static inline int set_attributes(struct fixture *f, const struct set_attributes_request *set)
{
    struct operation_call c;
    memcpy(c.body, set, sizeof(*set));
    call_prepare(f, &c, RPC_SET_ATTRIBUTES, sizeof(*set), sizeof(struct attributes_reply));
    rpc_start(f->client.peers[server_of(f, set->inode)], &c.call);
    int status = finish(&c);
    if (status == 0)
        f->epoch = c.call.reply_namespace_epoch;
    return status;
}

static inline void start_rename(struct fixture *f, struct party *party, struct operation_call *c,
                                uint64_t old_parent, const char *old_name, uint64_t new_parent,
                                const char *new_name, uint8_t flags)
{
    struct rename_request *body = (void *)c->body;
    *body = (struct rename_request){
        .old_parent = old_parent,
        .new_parent = new_parent,
        .uid = f->uid,
        .gid = f->uid,
        .flags = flags,
        .old_length = (uint8_t)strlen(old_name),
        .new_length = (uint8_t)strlen(new_name),
    };
    memcpy(body->names, old_name, strlen(old_name));
    memcpy(body->names + strlen(old_name), new_name, strlen(new_name));
    call_prepare(f, c, RPC_RENAME, sizeof(*body) + strlen(old_name) + strlen(new_name),
                 sizeof(struct unlink_reply));
    rpc_start(party->peers[server_of_name(f, old_parent, old_name)], &c->call);
}

static inline int rename_name(struct fixture *f, uint64_t old_parent, const char *old_name,
                              uint64_t new_parent, const char *new_name, uint8_t flags)
{
    struct operation_call c;
    start_rename(f, &f->client, &c, old_parent, old_name, new_parent, new_name, flags);
    int status = finish(&c);
    if (status == 0)
        f->epoch = c.call.reply_namespace_epoch;
    return status;
}

static inline void start_link(struct fixture *f, struct party *party, struct operation_call *c,
                              uint64_t inode, uint64_t parent, const char *name)
{
    struct link_request *body = (void *)c->body;
    *body = (struct link_request){.inode = inode, .parent = parent, .name_length = (uint8_t)strlen(name)};
    memcpy(body->name, name, strlen(name));
    call_prepare(f, c, RPC_LINK, sizeof(*body) + strlen(name), sizeof(struct attributes_reply));
    rpc_start(party->peers[server_of_name(f, parent, name)], &c->call);
}

static inline int link_inode(struct fixture *f, uint64_t inode, uint64_t parent, const char *name)
{
    struct operation_call c;
    start_link(f, &f->client, &c, inode, parent, name);
    return finish(&c);
}

struct chunk_write {
    uint64_t inode;
    uint64_t index;
    uint32_t offset;
    const void *bytes;
    size_t length;
    uint32_t generation;
    uint8_t flags;
    uint32_t server; /* with index > 0 */
};

static inline void start_write(struct fixture *f, struct party *party, struct operation_call *c,
                               const struct chunk_write *write)
{
    struct chunk_write_request *body = (void *)c->body;
    *body = (struct chunk_write_request){
        .inode = write->inode,
        .index = write->index,
        .offset = write->offset,
        .length = (uint32_t)write->length,
        .generation = write->generation,
        .chunk_shift = SHIFT,
        .flags = write->flags,
    };
    call_prepare(f, c, RPC_WRITE_CHUNK, sizeof(*body), sizeof(struct chunk_reply));
    call_send(c, write->bytes, write->length);
    rpc_start(party->peers[write->index == 0 ? server_of(f, write->inode) : write->server], &c->call);
}

static inline int write_chunk(struct fixture *f, const struct chunk_write *write, struct chunk_reply *reply)
{
    struct operation_call c;
    start_write(f, &f->client, &c, write);
    int status = finish(&c);
    if (status == 0 && reply != NULL)
        memcpy(reply, c.reply, sizeof(*reply));
    return status;
}

/* Returns the bytes read, or a negative status. */
static inline int read_chunk(struct fixture *f, uint32_t server, uint64_t inode, uint64_t index,
                             uint32_t offset, void *bytes, uint32_t length, struct chunk_reply *reply)
{
    struct operation_call c;
    struct chunk_reply ignored;
    struct chunk_read_request *body = (void *)c.body;
    *body = (struct chunk_read_request){.inode = inode, .index = index, .offset = offset, .length = length};
    call_prepare(f, &c, RPC_READ_CHUNK, sizeof(*body), sizeof(*reply));
    call_receive(&c, bytes, length);
    rpc_start(f->client.peers[server], &c.call);
    int status = finish(&c);
    if (status != 0)
        return status;
    reply = reply != NULL ? reply : &ignored;
    memcpy(reply, c.reply, sizeof(*reply));
    assert_int_equal(reply->length, c.call.received);
    return (int)reply->length;
}

static inline int extend(struct fixture *f, uint64_t inode, uint64_t end, uint32_t generation, uint8_t flags,
                         struct extend_reply *reply)
{
    struct operation_call c;
    struct extend_request *body = (void *)c.body;
    *body = (struct extend_request){.inode = inode, .end = end, .generation = generation, .flags = flags};
    call_prepare(f, &c, RPC_EXTEND, sizeof(*body), sizeof(*reply));
    rpc_start(f->client.peers[server_of(f, inode)], &c.call);
    int status = finish(&c);
    if (status == 0 && reply != NULL)
        memcpy(reply, c.reply, sizeof(*reply));
    return status;
}

static inline void start_truncate(struct fixture *f, struct party *party, struct operation_call *c,
                                  uint64_t inode, uint64_t size, uint64_t expected)
{
    struct truncate_request *body = (void *)c->body;
    *body = (struct truncate_request){.inode = inode, .size = size, .checked = 1, .expected = expected};
    call_prepare(f, c, RPC_TRUNCATE, sizeof(*body), sizeof(struct attributes_reply));
    rpc_start(party->peers[server_of(f, inode)], &c->call);
}

static inline int truncate_file(struct fixture *f, uint64_t inode, uint64_t size, uint64_t expected)
{
    struct operation_call c;
    start_truncate(f, &f->client, &c, inode, size, expected);
    return finish(&c);
}

/* Bytes in use by the stores of all servers. */
static inline uint64_t used_bytes(struct fixture *f)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        struct operation_call c;
        struct statfs_reply reply;
        call_prepare(f, &c, RPC_STATFS, 0, sizeof(reply));
        rpc_start(f->client.peers[i], &c.call);
        assert_int_equal(finish(&c), 0);
        memcpy(&reply, c.reply, sizeof(reply));
        used += reply.used;
    }
    return used;
}
