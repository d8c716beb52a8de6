/* What is done about findings. Each repair is one request to the server where the thing is, or a few; the
 * order is such that a repair that ends in the middle leaves nothing worse than it was: what has no name gets
 * one first, and a name goes last.
 *
 * Nothing that has a name is ever removed. What goes: names that lead nowhere, names of a directory that has
 * another one, bytes beyond the end of a file, and chunks of files that do not exist. */
#include "client/checking.h"

#include <inttypes.h>
#include <stdio.h>

#define NAMES_TRIED 100u

struct repair {
    struct client *client;
    struct findings *findings;
    uint64_t lost_found; /* 0: not looked up yet */
};

static int request(struct client *client, uint32_t server, uint16_t number, const void *body, size_t length)
{
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    do {
        status = client_request(client, &operation, server, number, body, length, NULL, 0);
    } while (operation_again(client, &operation, &status));
    return status;
}

static int repair_inode(struct repair *repair, const struct check_finding *finding, uint8_t action,
                        uint64_t value)
{
    struct repair_inode_request body = {
        .inode = finding->inode, .value = value, .change_time = finding->change_time, .action = action};
    uint32_t server =
        action == REPAIR_CHUNKS ? finding->server : client_inode_server(repair->client, finding->inode);
    return request(repair->client, server, RPC_REPAIR_INODE, &body, sizeof(body));
}

struct name {
    uint32_t server;
    uint64_t directory;
    uint64_t hash;
    uint64_t inode;
    uint32_t type;
    const char *name;
};

static int repair_name(struct repair *repair, const struct name *name, uint8_t action)
{
    uint8_t bytes[sizeof(struct repair_name_request) + NAME_LENGTH_MAX];
    struct repair_name_request *body = (void *)bytes;
    size_t length = strlen(name->name);
    if (length == 0 || strchr(name->name, '/') != NULL)
        return -EINVAL; /* not to be said to a server */
    *body = (struct repair_name_request){.directory = name->directory,
                                         .hash = name->hash,
                                         .inode = name->inode,
                                         .type = name->type,
                                         .action = action,
                                         .name_length = (uint8_t)length};
    memcpy(body->name, name->name, length);
    return request(repair->client, name->server, RPC_REPAIR_NAME, body, sizeof(*body) + length);
}

/* The finding's own name. */
static struct name found_name(const struct check_finding *finding)
{
    return (struct name){.server = finding->server,
                         .directory = finding->directory,
                         .hash = finding->hash,
                         .inode = finding->inode,
                         .type = finding->type,
                         .name = finding->name};
}

/* A new name where it belongs. */
static int insert_name(struct repair *repair, uint64_t directory, const char *text, uint64_t inode,
                       uint32_t type)
{
    struct name name = {.directory = directory,
                        .hash = dentry_hash(directory, text, strlen(text)),
                        .inode = inode,
                        .type = type,
                        .name = text};
    name.server = client_hash_server(repair->client, name.hash);
    return repair_name(repair, &name, REPAIR_INSERT);
}

/* ---- /lost+found ---- */

static int find_lost_found(struct repair *repair)
{
    struct attributes attributes;
    if (repair->lost_found != 0)
        return 0;
    int status = client_mkdir(repair->client, INODE_ROOT, "lost+found", 0700);
    if (status != 0 && status != -EEXIST)
        return status;
    status = client_stat(repair->client, INODE_ROOT, "lost+found", false, &attributes);
    if (status == 0 && !S_ISDIR(attributes.mode))
        status = -ENOTDIR;
    if (status == 0)
        repair->lost_found = attributes.inode;
    return status;
}

/* The inode's number is its name there; if that is taken, with a number behind it. */
static int name_in_lost_found(struct repair *repair, uint64_t inode, uint32_t type)
{
    int status = find_lost_found(repair);
    char text[48];
    snprintf(text, sizeof(text), "%" PRIu64, inode);
    if (status == 0)
        status = insert_name(repair, repair->lost_found, text, inode, type);
    for (unsigned i = 1; status == -EEXIST && i < NAMES_TRIED; i++) {
        snprintf(text, sizeof(text), "%" PRIu64 ".%u", inode, i);
        status = insert_name(repair, repair->lost_found, text, inode, type);
    }
    return status;
}

/* ---- one function a kind ---- */

/* A name that leads to the directory that is missing, and is itself a finding. */
static struct check_finding *dangling_name(struct repair *repair, uint64_t directory)
{
    for (size_t i = 0; i < repair->findings->count; i++) {
        struct check_finding *finding = &repair->findings->list[i];
        if (finding->kind == CHECK_DANGLING && finding->inode == directory && S_ISDIR(finding->type) &&
            finding->directory != directory)
            return finding;
    }
    return NULL;
}

static int make_directory(struct repair *repair, const struct check_finding *finding)
{
    if (finding->mode != 0) /* something else has that number */
        return -ENOTDIR;
    struct check_finding *name = dangling_name(repair, finding->inode);
    if (name != NULL) {
        /* It does not dangle any more. */
        name->status = repair_inode(repair, finding, REPAIR_MAKE, name->directory);
        name->outcome = name->status == 0 ? CHECK_REPAIRED : CHECK_LEFT;
        return name->status;
    }
    int status = find_lost_found(repair);
    if (status == 0)
        status = repair_inode(repair, finding, REPAIR_MAKE, repair->lost_found);
    return status == 0 ? name_in_lost_found(repair, finding->inode, S_IFDIR) : status;
}

static int adopt(struct repair *repair, const struct check_finding *finding)
{
    struct check_inode inode;
    int status = name_in_lost_found(repair, finding->inode, finding->mode & S_IFMT);
    if (status != 0)
        return status;
    if (S_ISDIR(finding->mode))
        return repair_inode(repair, finding, REPAIR_PARENT, repair->lost_found);
    int there = check_ask_inode(repair->client, finding->inode, &inode);
    if (there != 1)
        return there == 0 ? -EAGAIN : there;
    return inode.links == 1 ? 0 : repair_inode(repair, finding, REPAIR_LINKS, 1);
}

static int break_cycle(struct repair *repair, const struct check_finding *finding)
{
    struct name name = found_name(finding);
    int status = adopt(repair, finding);
    return status == 0 ? repair_name(repair, &name, REPAIR_REMOVE) : status;
}

static int set_type(struct repair *repair, const struct check_finding *finding)
{
    struct name name = found_name(finding);
    name.type = finding->mode & S_IFMT;
    return repair_name(repair, &name, REPAIR_TYPE);
}

static int move_name(struct repair *repair, const struct check_finding *finding)
{
    struct name name = found_name(finding);
    int status = insert_name(repair, finding->directory, finding->name, finding->inode, finding->type);
    if (status == -EEXIST) {
        /* There is one, of the same inode or not. Of another: the inode is not lost, it goes beside it. */
        uint64_t hash = dentry_hash(finding->directory, finding->name, finding->name_length), inode;
        uint32_t type;
        int there =
            check_ask_name(repair->client, client_hash_server(repair->client, hash), finding->directory, hash,
                           finding->name, finding->name_length, &inode, &type);
        if (there == 1 && inode != finding->inode)
            there = finding->mode == 0 ? 0 : -EEXIST;
        status = there < 0 ? there : 0;
    }
    return status == 0 ? repair_name(repair, &name, REPAIR_REMOVE) : status;
}

static int cut(struct repair *repair, const struct check_finding *finding)
{
    struct attributes attributes;
    return client_truncate_checked(repair->client, finding->inode, finding->expected, true, finding->expected,
                                   &attributes);
}

static int mend(struct repair *repair, const struct check_finding *finding)
{
    struct name name = found_name(finding);
    switch (finding->kind) {
    case CHECK_NO_DIRECTORY:
        return make_directory(repair, finding);
    case CHECK_CYCLE:
        return break_cycle(repair, finding);
    case CHECK_UNREACHABLE:
        return adopt(repair, finding);
    case CHECK_SEVERAL_NAMES:
    case CHECK_DANGLING:
        return repair_name(repair, &name, REPAIR_REMOVE);
    case CHECK_TYPE:
        return set_type(repair, finding);
    case CHECK_PLACE:
        return move_name(repair, finding);
    case CHECK_PARENT:
        return repair_inode(repair, finding, REPAIR_PARENT, finding->expected);
    case CHECK_LINKS:
        return repair_inode(repair, finding, REPAIR_LINKS, finding->expected);
    case CHECK_SIZE:
        return repair_inode(repair, finding, REPAIR_SIZE, 0);
    case CHECK_BYTES_BEYOND:
        return cut(repair, finding);
    case CHECK_ORPHAN_CHUNKS:
        return repair_inode(repair, finding, REPAIR_CHUNKS, 0);
    default:
        return -EINVAL;
    }
}

int check_repair(struct client *client, struct findings *findings)
{
    struct repair repair = {.client = client, .findings = findings};
    for (size_t i = 0; i < findings->count; i++) {
        struct check_finding *finding = &findings->list[i];
        if (finding->outcome != CHECK_FOUND)
            continue;
        finding->status = mend(&repair, finding);
        finding->outcome = finding->status == 0 ? CHECK_REPAIRED : CHECK_LEFT;
        if (finding->status == -ENOMEM || finding->status == -EHOSTDOWN)
            return finding->status;
    }
    return 0;
}
