/* scrub: has every server read its chunks back from its device and compare them with their checksums.
 *
 * All servers work at once, each in steps of a fraction of a second, so that others are served in between; a
 * rate bounds what each reads a second. Damage is told with the file's path, for which all names have to be
 * walked over once it is known. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/quantity.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "client/check.h"

#define STEP_BYTES (16u << 20)
#define DAMAGES_MAX 512u /* of one step: server/check.c */

struct damage {
    uint32_t server; /* index in the map */
    struct scrub_damage found;
    uint64_t position; /* in the file; UINT64_MAX: not known */
};

struct scrub {
    struct client *client;
    struct loop *loop;
    uint64_t rate;  /* bytes a second and server; 0: as fast as it goes */
    uint64_t inode; /* 0: of all */
    struct damage *damages;
    uint32_t damage_count;
    uint32_t damage_room;
    uint64_t bytes;
    bool failed;
};

/* One server's part. */
struct part {
    struct scrub *scrub;
    uint32_t server;
    uint64_t chunks;
    uint64_t bytes;
    uint64_t damaged;
    int status;
};

static int add_damage(struct scrub *scrub, uint32_t server, const struct scrub_damage *found)
{
    if (scrub->damage_count == scrub->damage_room) {
        uint32_t room = scrub->damage_room == 0 ? 16 : 2 * scrub->damage_room;
        struct damage *damages = reallocarray(scrub->damages, room, sizeof(*damages));
        if (damages == NULL)
            return -ENOMEM;
        scrub->damages = damages;
        scrub->damage_room = room;
    }
    scrub->damages[scrub->damage_count++] = (struct damage){.server = server, .found = *found};
    return 0;
}

/* As long as that many bytes may take, from `started` on. */
static void keep_rate(const struct part *part, uint64_t started)
{
    uint64_t rate = part->scrub->rate;
    if (rate == 0)
        return;
    double due = (double)started + (double)part->bytes / (double)rate * 1e9;
    double now = (double)loop_now(part->scrub->loop);
    if (due > now)
        task_sleep(part->scrub->loop, (uint64_t)(due - now));
}

static void scrub_server(void *argument)
{
    struct part *part = argument;
    struct scrub *scrub = part->scrub;
    struct scrub_damage *damages = malloc(DAMAGES_MAX * sizeof(*damages));
    struct scrub_request body = {.inode = scrub->inode, .only = scrub->inode != 0};
    struct scrub_reply reply = {.more = 1};
    uint64_t started = loop_now(scrub->loop);
    part->status = damages == NULL ? -ENOMEM : 0;
    while (part->status == 0 && reply.more != 0) {
        struct iovec into = {damages, DAMAGES_MAX * sizeof(*damages)};
        struct rpc_call call = {
            .operation = RPC_SCRUB,
            .body = &body,
            .body_length = sizeof(body),
            .receive = &into,
            .receive_count = 1,
            .reply = &reply,
            .reply_size = sizeof(reply),
        };
        /* A step of a tenth of a second keeps the rate even. */
        body.bytes_max = scrub->rate != 0 && scrub->rate / 10 < STEP_BYTES ? scrub->rate / 10 : STEP_BYTES;
        part->status = rpc_call(client_peer(scrub->client, part->server), &call);
        if (part->status != 0)
            break;
        for (uint32_t i = 0; part->status == 0 && i < call.received / sizeof(*damages); i++)
            part->status = add_damage(scrub, part->server, &damages[i]);
        part->chunks += reply.chunks;
        part->bytes += reply.bytes;
        part->damaged += reply.damaged;
        scrub->bytes += reply.bytes;
        body.inode = reply.next[0];
        body.index = reply.next[1];
        progress_note("%.1f MB verified", (double)scrub->bytes / 1e6);
        keep_rate(part, started);
    }
    free(damages);
}

/* ---- what was found ---- */

/* Where in its file a damaged chunk's block is; the chunk size is the inode's business. */
static void find_position(struct scrub *scrub, struct damage *damage)
{
    struct attributes attributes;
    damage->position = UINT64_MAX;
    if (client_file_attributes(scrub->client, damage->found.inode, &attributes) == 0 &&
        attributes.layout.chunk_shift <= CHUNK_SHIFT_MAX)
        damage->position = (damage->found.index << attributes.layout.chunk_shift) + damage->found.offset;
}

static void print_damage(const struct scrub *scrub, const struct damage *damage, const char *path)
{
    const struct scrub_damage *found = &damage->found;
    uint32_t id = client_map(scrub->client)->servers[damage->server].id;
    if (path != NULL)
        printf("%s: ", path);
    else
        printf("inode %" PRIu64 ": ", found->inode);
    if (damage->position != UINT64_MAX)
        printf("at byte %" PRIu64, damage->position);
    else
        printf("at byte %u of chunk %" PRIu64, found->offset, found->index);
    if (found->status != 0)
        printf(": server %u cannot read it: %s\n", id, status_text(found->status));
    else
        printf(": %u damaged block%s on server %u\n", found->blocks, found->blocks == 1 ? "" : "s", id);
}

static void print_damages(struct scrub *scrub)
{
    struct check_path *paths = calloc(scrub->damage_count + 1, sizeof(*paths));
    if (paths == NULL || scrub->damage_count == 0) {
        free(paths);
        return;
    }
    for (uint32_t i = 0; i < scrub->damage_count; i++) {
        paths[i].inode = scrub->damages[i].found.inode;
        find_position(scrub, &scrub->damages[i]);
    }
    int status = client_check_paths(scrub->client, paths, scrub->damage_count);
    if (status != 0)
        cli_error("cannot look for the names of damaged files: %s", status_text(status));
    for (uint32_t i = 0; i < scrub->damage_count; i++) {
        print_damage(scrub, &scrub->damages[i], paths[i].path);
        free(paths[i].path);
    }
    free(paths);
}

static void print_totals(struct scrub *scrub, const struct part *parts)
{
    const struct cluster_map *map = client_map(scrub->client);
    uint32_t without = 0;
    for (uint32_t i = 0; i < map->server_count; i++) {
        const struct part *part = &parts[i];
        without += part->status == -EOPNOTSUPP;
        if (part->status == -EOPNOTSUPP)
            continue;
        if (part->status != 0) {
            cli_error("server %u: %s", map->servers[i].id, status_text(part->status));
            scrub->failed = true;
        }
        printf("server %u: %" PRIu64 " chunks, %" PRIu64 " bytes verified, %" PRIu64 " chunks damaged\n",
               map->servers[i].id, part->chunks, part->bytes, part->damaged);
    }
    if (without > 0)
        printf("there is nothing to verify on %u server%s: the storage engine keeps nothing on a device\n",
               without, without == 1 ? "" : "s");
}

static int scrub_all(struct scrub *scrub)
{
    uint32_t count = client_map(scrub->client)->server_count;
    struct part *parts = calloc(count, sizeof(*parts));
    struct pool pool;
    if (parts == NULL) {
        cli_error("%s", status_text(-ENOMEM));
        return CLI_FAILED;
    }
    pool_init(&pool, scrub->loop, count);
    for (uint32_t i = 0; i < count; i++) {
        parts[i] = (struct part){.scrub = scrub, .server = i};
        int status = pool_start(&pool, scrub_server, &parts[i]);
        if (status != 0)
            parts[i].status = status;
    }
    pool_wait(&pool);
    progress_end();
    print_damages(scrub);
    print_totals(scrub, parts);
    free(parts);
    free(scrub->damages);
    return scrub->failed || scrub->damage_count > 0 ? CLI_FAILED : CLI_OK;
}

static int find_file(struct scrub *scrub, const char *path)
{
    struct attributes attributes;
    int status = client_stat(scrub->client, INODE_ROOT, path, true, &attributes);
    if (status == 0 && !S_ISREG(attributes.mode))
        status = S_ISDIR(attributes.mode) ? -EISDIR : -EINVAL;
    if (status != 0)
        cli_error("cannot verify \"%s\": %s", path, status_text(status));
    else
        scrub->inode = attributes.inode;
    return status;
}

static int run_scrub(int argc, char **argv)
{
    static const struct option options[] = {{"rate", required_argument, NULL, 'r'}, CLI_HELP, {0}};
    struct scrub scrub = {0};
    const char *path = NULL;
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":", options, &result)) != -1;) {
        if (option != 'r')
            return result;
        if (quantity_parse_size(optarg, &scrub.rate) != 0 || scrub.rate == 0)
            return cli_usage("rate \"%s\" is not a size, as 100MiB", optarg);
    }
    if (optind < argc && (path = path_parse(argv[optind++])) == NULL)
        return CLI_USAGE;
    if (optind < argc)
        return cli_usage("unexpected argument \"%s\"", argv[optind]);
    struct session session;
    if (session_open(&session) != 0)
        return CLI_FAILED;
    scrub.client = session.client;
    scrub.loop = session.loop;
    clock_prepare();
    progress_begin(0, 0);
    result = path != NULL && find_file(&scrub, path) != 0 ? CLI_FAILED : scrub_all(&scrub);
    progress_end();
    session_close(&session);
    return result;
}

const struct verb verb_scrub = {
    .name = "scrub",
    .usage = "[--rate SIZE] [PATH]",
    .help = "Read all data back from the servers' devices and verify it",
    .text = "      --rate SIZE  at most so many bytes a second on each server, as 100MiB\n"
            "Of the file PATH only, if there is one. The cluster may be in use. Exit code: 0 all is well, 1 "
            "something\nis damaged or could not be verified.\n",
    .run = run_scrub,
};
