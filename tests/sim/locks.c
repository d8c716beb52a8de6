/* File locks of several clients on the same few files, beside a book of who may hold what.
 *
 * Each worker has owners of its own, one of each kind on each file, and does one call after the other with
 * them. What a call says holds between calls; while one is under way its owner may have what it had before or
 * what it will have. So the book keeps two things of each owner and byte: what it has for sure, and until
 * when it may have had what.
 *
 *   granted   nobody else has for sure what excludes it
 *   refused   somebody may have had, at some moment of the call, what excludes it; the same for a wait that
 *             was given up, at some moment shortly before: what becomes free is given at once
 *   tested    the lock that is named is one that its owner may have had
 *
 * Descriptions are handed on to other clients, as by fork, and last until both have let go. Clients die: what
 * only they held may be held for a moment more, and what others hold with them stays, whatever was under way.
 * Connections break: nothing is lost by that. In the end all is released, and the servers hold nothing. */
#include "seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "server/state.h"

#define CLIENTS 4
#define VICTIM (CLIENTS - 1)
#define WORKERS 8
#define FILES 3
#define BYTES 8u
#define OWNERS (WORKERS * FILES * LOCK_KINDS)
#define STEPS 120
#define EVER UINT64_MAX

struct owner {
    uint64_t number;
    uint8_t kind;
    uint8_t file;
    uint8_t client;
    uint8_t sure[BYTES];
    uint64_t may_until[LOCK_TYPES][BYTES]; /* EVER: it may have it now */
    uint32_t holders; /* clients that hold the description; one: only while it has locks */
    bool sharing;     /* another one is just being told to */
    uint64_t changes; /* begun */
};

struct scene {
    struct cluster *cluster;
    uint64_t inodes[FILES];
    struct owner owners[OWNERS];
    uint64_t promptness; /* within which servers see what has happened */
};

static uint32_t below(struct worker *worker, uint32_t bound)
{
    return (uint32_t)random_below(&worker->random, bound);
}

static bool is_dead(const struct worker *worker)
{
    return worker->cluster->client_dead[worker->client_number];
}

static struct owner *owner_of(struct scene *scene, uint32_t worker, uint32_t file, uint8_t kind)
{
    return &scene->owners[(worker * FILES + file) * LOCK_KINDS + kind];
}

/* ---- the book ---- */

/* Only records of both kinds meet. */
static bool same_world(const struct owner *one, const struct owner *other)
{
    return one->file == other->file && (one->kind == LOCK_FLOCK) == (other->kind == LOCK_FLOCK);
}

static bool excludes(uint8_t one, uint8_t other)
{
    return one != LOCK_NONE && other != LOCK_NONE && (one == LOCK_EXCLUSIVE || other == LOCK_EXCLUSIVE);
}

static bool has_any(const struct owner *owner)
{
    for (uint32_t at = 0; at < BYTES; at++)
        if (owner->sure[at] != LOCK_NONE)
            return true;
    return false;
}

/* One client alone holds nothing without locks; what several hold stays theirs. */
static void hold_by(struct owner *owner, uint32_t holders)
{
    owner->holders = has_any(owner) || (holders & (holders - 1)) != 0 ? holders : 0;
}

/* From now on it may have that, too. */
static void may_have(struct owner *owner, uint32_t start, uint32_t end, uint8_t type)
{
    for (uint32_t at = start; at <= end && type != LOCK_NONE; at++)
        owner->may_until[type][at] = EVER;
}

/* Since `now` it has what it has for sure and nothing else. */
static void is_certain(struct owner *owner, uint64_t now)
{
    for (uint32_t at = 0; at < BYTES; at++)
        for (uint8_t type = LOCK_SHARED; type < LOCK_TYPES; type++)
            if (owner->may_until[type][at] > now && owner->sure[at] != type)
                owner->may_until[type][at] = now;
}

/* Somebody other than the owner who had for sure what excludes the type, now. */
static const struct owner *surely_excluded(const struct scene *scene, const struct owner *owner,
                                           uint32_t start, uint32_t end, uint8_t type)
{
    for (uint32_t i = 0; i < OWNERS; i++) {
        const struct owner *other = &scene->owners[i];
        for (uint32_t at = start; at <= end && other != owner && same_world(owner, other); at++)
            if (excludes(other->sure[at], type))
                return other;
    }
    return NULL;
}

/* Whether anybody may have had, since then, what excludes the type. */
static bool maybe_excluded(const struct scene *scene, const struct owner *owner, uint32_t start, uint32_t end,
                           uint8_t type, uint64_t since)
{
    for (uint32_t i = 0; i < OWNERS; i++) {
        const struct owner *other = &scene->owners[i];
        for (uint32_t at = start; at <= end && other != owner && same_world(owner, other); at++)
            for (uint8_t had = LOCK_SHARED; had < LOCK_TYPES; had++)
                if (excludes(had, type) && other->may_until[had][at] >= since)
                    return true;
    }
    return false;
}

static void lose(struct owner *owner, uint64_t certain_at)
{
    memset(owner->sure, LOCK_NONE, sizeof owner->sure);
    owner->holders = 0;
    is_certain(owner, certain_at);
}

/* ---- calls ---- */

struct patience {
    struct scene *scene;
    uint64_t until;
};

static bool out_of_patience(void *argument)
{
    const struct patience *patience = argument;
    return patience->scene->cluster->failed || loop_now(patience->scene->cluster->loop) >= patience->until;
}

static struct client_lock lock_of(const struct scene *scene, const struct owner *owner, uint32_t start,
                                  uint32_t end, uint8_t type)
{
    bool whole = owner->kind == LOCK_FLOCK;
    return (struct client_lock){
        .inode = scene->inodes[owner->file],
        .owner = owner->number,
        .start = whole ? 0 : start,
        .end = whole ? LOCK_OFFSET_MAX : end,
        .pid = (uint32_t)(owner - scene->owners),
        .kind = owner->kind,
        .type = type,
    };
}

static void done(struct worker *worker, const struct owner *owner, const char *what, uint32_t start,
                 uint32_t end, uint8_t type, int status)
{
    worker->cluster->operations++;
    sim_trace(worker->cluster->network, &status, sizeof status);
    if (getenv("BENCHFS_SIM_SHOW") != NULL)
        fprintf(stderr, "%.6f worker %u: %s file %u kind %u bytes %u to %u type %u = %s; holders %x\n",
                (double)loop_now(worker->cluster->loop) * 1e-9, worker->number, what, owner->file,
                owner->kind, start, end, type, status_text(status), owner->holders);
}

static void wrong(struct worker *worker, const struct owner *owner, const char *what, uint32_t start,
                  uint32_t end, uint8_t type, int status)
{
    cluster_fail(worker->cluster, "%.6f s: worker %u, file %u, kind %u, bytes %u to %u, type %u: %s (%s)",
                 (double)loop_now(worker->cluster->loop) * 1e-9, worker->number, owner->file, owner->kind,
                 start, end, type, what, status_text(status));
}

/* Why a lock may be refused with that status. */
static bool refusal_is_right(const struct scene *scene, const struct owner *owner, uint32_t start,
                             uint32_t end, uint8_t type, int status, uint64_t began)
{
    uint64_t now = loop_now(scene->cluster->loop);
    uint64_t since = now - scene->promptness > began ? now - scene->promptness : began;
    switch (status) {
    case -EAGAIN:
        return maybe_excluded(scene, owner, start, end, type, began);
    case -EINTR:
        return maybe_excluded(scene, owner, start, end, type, since);
    case -EDEADLK: /* of processes' records only, one of which it has, here or elsewhere */
        return owner->kind == LOCK_PROCESS && maybe_excluded(scene, owner, start, end, type, began);
    default:
        return false;
    }
}

/* Locks or unlocks some bytes. */
static void do_lock(struct worker *worker, struct scene *scene, struct owner *owner, uint32_t start,
                    uint32_t end, uint8_t type, bool wait)
{
    struct loop *loop = worker->cluster->loop;
    struct client_lock lock = lock_of(scene, owner, start, end, type);
    struct patience patience = {scene, loop_now(loop) + random_below(&worker->random, 3 * SECOND)};
    uint8_t before[BYTES];
    uint64_t began = loop_now(loop);
    /* A waiting flock gives up what it has first. */
    bool gives_up = owner->kind == LOCK_FLOCK && wait && type > owner->sure[start];
    memcpy(before, owner->sure, sizeof before);
    owner->changes++;
    for (uint32_t at = start; at <= end; at++)
        if (gives_up || owner->sure[at] > type)
            owner->sure[at] = gives_up ? LOCK_NONE : type;
    may_have(owner, start, end, type);
    int status = client_lock(worker->client, &lock, wait, out_of_patience, &patience);
    if (is_dead(worker))
        return;
    done(worker, owner, wait ? "wait for" : "lock", start, end, type, status);
    uint64_t now = loop_now(loop);
    if (status == 0) {
        if (surely_excluded(scene, owner, start, end, type) != NULL)
            wrong(worker, owner, "granted, though another one has it", start, end, type, status);
        memset(owner->sure + start, type, end - start + 1);
        hold_by(owner, type == LOCK_NONE ? owner->holders : owner->holders | 1u << owner->client);
    } else {
        if (!worker->cluster->failed && !refusal_is_right(scene, owner, start, end, type, status, began))
            wrong(worker, owner, "refused, and nobody had it", start, end, type, status);
        if (!gives_up || status == -EAGAIN)
            memcpy(owner->sure, before, sizeof before);
        hold_by(owner, wait ? owner->holders | 1u << owner->client : owner->holders); /* who waits holds */
    }
    is_certain(owner, now);
}

static void do_test(struct worker *worker, struct scene *scene, struct owner *owner, uint32_t start,
                    uint32_t end, uint8_t type)
{
    struct lock_reply found;
    struct client_lock lock = lock_of(scene, owner, start, end, type);
    uint64_t began = loop_now(worker->cluster->loop);
    const struct owner *sure = surely_excluded(scene, owner, start, end, type);
    uint64_t changes = sure != NULL ? sure->changes : 0;
    int status = client_lock_test(worker->client, &lock, &found);
    if (is_dead(worker))
        return;
    done(worker, owner, "test", start, end, type, status);
    if (status != 0 || (found.type != LOCK_NONE && found.pid >= OWNERS)) {
        wrong(worker, owner, "test", start, end, type, status);
        return;
    }
    if (found.type == LOCK_NONE) {
        if (sure != NULL && sure->changes == changes)
            wrong(worker, owner, "the test finds nothing, but another one has it", start, end, type, status);
        return;
    }
    const struct owner *other = &scene->owners[found.pid];
    bool may = same_world(owner, other) && other != owner && other->kind == found.kind;
    for (uint64_t at = found.start; may && at <= found.end && at < BYTES; at++)
        may = other->may_until[found.type][at] >= began;
    if (!may)
        wrong(worker, owner, "the test names a lock that nobody had", start, end, type, status);
}

/* As when a description is closed, or a process closes a file. */
static void do_release(struct worker *worker, struct scene *scene, struct owner *owner)
{
    uint32_t others = owner->kind == LOCK_PROCESS ? 0 : owner->holders & ~(1u << owner->client);
    owner->changes++;
    if (others == 0)
        memset(owner->sure, LOCK_NONE, sizeof owner->sure);
    int status =
        client_lock_release(worker->client, scene->inodes[owner->file], owner->kind, owner->number, 0);
    if (is_dead(worker))
        return;
    done(worker, owner, "release", 0, BYTES - 1, LOCK_NONE, status);
    if (status != 0)
        wrong(worker, owner, "release", 0, BYTES - 1, LOCK_NONE, status);
    hold_by(owner, others);
    is_certain(owner, loop_now(worker->cluster->loop));
}

/* As fork does: from now on another client holds the description, too. Never one that dies. */
static void do_share(struct worker *worker, struct scene *scene, struct owner *owner)
{
    uint32_t to = below(worker, VICTIM);
    if (owner->kind == LOCK_PROCESS || !has_any(owner))
        return;
    owner->sharing = true;
    int status = client_lock_share(worker->cluster->clients[to], scene->inodes[owner->file], owner->kind,
                                   owner->number, 0);
    owner->sharing = false;
    if (is_dead(worker))
        return;
    done(worker, owner, "share", 0, BYTES - 1, LOCK_NONE, status);
    if (status != 0)
        wrong(worker, owner, "sharing", 0, BYTES - 1, LOCK_NONE, status);
    owner->holders |= 1u << to;
}

/* The one that the description was handed on to closes it. */
static void do_release_shared(struct worker *worker, struct scene *scene, struct owner *owner)
{
    uint32_t to = below(worker, VICTIM);
    if (owner->kind == LOCK_PROCESS || to == owner->client || (owner->holders & 1u << to) == 0)
        return;
    bool last = owner->holders == 1u << to;
    owner->changes++;
    if (last)
        memset(owner->sure, LOCK_NONE, sizeof owner->sure);
    hold_by(owner, owner->holders & ~(1u << to));
    int status = client_lock_release(worker->cluster->clients[to], scene->inodes[owner->file], owner->kind,
                                     owner->number, 0);
    if (is_dead(worker))
        return;
    done(worker, owner, "release the shared", 0, BYTES - 1, LOCK_NONE, status);
    if (status != 0)
        wrong(worker, owner, "release of a shared description", 0, BYTES - 1, LOCK_NONE, status);
    if (last)
        is_certain(owner, loop_now(worker->cluster->loop));
}

static void step(struct worker *worker, struct scene *scene)
{
    uint32_t file = below(worker, 4) == 0 ? below(worker, FILES) : 0;
    uint8_t kind = (uint8_t)below(worker, LOCK_KINDS);
    struct owner *owner = owner_of(scene, worker->number, file, kind);
    uint32_t start = kind == LOCK_FLOCK ? 0 : below(worker, BYTES);
    uint32_t end = kind == LOCK_FLOCK ? BYTES - 1 : start + below(worker, BYTES - start);
    uint8_t type = (uint8_t)(1 + below(worker, 2));
    uint32_t what = below(worker, 100);
    /* It has closed a description that others still hold, so it cannot use it. */
    if (owner->holders != 0 && (owner->holders & 1u << owner->client) == 0)
        what = 99;
    if (what < 28)
        do_lock(worker, scene, owner, start, end, type, false);
    else if (what < 52)
        do_lock(worker, scene, owner, start, end, type, true);
    else if (what < 76)
        do_lock(worker, scene, owner, start, end, LOCK_NONE, false);
    else if (what < 82)
        do_test(worker, scene, owner, start, end, type);
    else if (what < 92)
        do_release(worker, scene, owner);
    else if (what < 96)
        do_share(worker, scene, owner);
    else
        do_release_shared(worker, scene, owner);
}

static void work(struct worker *worker)
{
    struct scene *scene = worker->context;
    for (unsigned i = 0; i < STEPS && !worker->cluster->failed && !is_dead(worker); i++) {
        step(worker, scene);
        if (below(worker, 3) == 0)
            task_sleep(worker->cluster->loop,
                       random_below(&worker->random, 4 * worker->cluster->weather.delay_max_ns));
    }
}

/* ---- before and after ---- */

static void make_files(struct worker *worker)
{
    struct scene *scene = worker->context;
    for (uint32_t i = 0; i < FILES && !worker->cluster->failed; i++) {
        struct client_file file;
        char path[16];
        snprintf(path, sizeof path, "/file%u", i);
        int status = client_open(worker->client, INODE_ROOT, path, O_RDWR | O_CREAT | O_EXCL, 0644, &file);
        if (status != 0) {
            cluster_fail(worker->cluster, "making %s: %s", path, status_text(status));
            return;
        }
        scene->inodes[i] = file.inode;
        client_close(worker->client, &file);
    }
}

/* Whoever lives lets go of everything; then each file is free. */
static void release_all(struct worker *worker)
{
    struct scene *scene = worker->context;
    struct cluster *cluster = worker->cluster;
    task_sleep(cluster->loop, scene->promptness);
    for (uint32_t i = 0; i < OWNERS && !cluster->failed; i++) {
        const struct owner *owner = &scene->owners[i];
        /* The end of a client hides whom it has just handed a description on to. */
        uint32_t holders =
            cluster->client_dead[owner->client] ? UINT32_MAX : owner->holders | 1u << owner->client;
        for (uint32_t client = 0; client < CLIENTS && !cluster->failed; client++) {
            if ((holders & 1u << client) == 0 || cluster->client_dead[client])
                continue;
            int status = client_lock_release(cluster->clients[client], scene->inodes[owner->file],
                                             owner->kind, owner->number, 0);
            if (status != 0)
                cluster_fail(cluster, "the last release: %s", status_text(status));
        }
    }
    for (uint32_t i = 0; i < FILES && !cluster->failed; i++) {
        for (uint8_t kind = 0; kind < LOCK_KINDS; kind++) {
            struct client_lock lock = {.inode = scene->inodes[i],
                                       .owner = 1,
                                       .end = LOCK_OFFSET_MAX,
                                       .kind = kind,
                                       .type = LOCK_EXCLUSIVE};
            int status = client_lock(worker->client, &lock, false, NULL, NULL);
            if (status == 0)
                status = client_lock_release(worker->client, lock.inode, kind, lock.owner, 0);
            if (status != 0)
                cluster_fail(cluster, "all is released, but file %u, kind %u: %s", i, kind,
                             status_text(status));
        }
    }
    task_sleep(cluster->loop, LOCK_PLACE_NS + SECOND); /* places in queues run out */
}

static void kill_client(struct worker *worker)
{
    struct scene *scene = worker->context;
    struct cluster *cluster = worker->cluster;
    task_sleep(cluster->loop, random_below(&worker->random, 100 * cluster->weather.delay_max_ns));
    cluster_kill_client(cluster, VICTIM);
    uint64_t now = loop_now(cluster->loop);
    for (uint32_t i = 0; i < OWNERS; i++) {
        struct owner *owner = &scene->owners[i];
        if (owner->client != VICTIM)
            continue;
        owner->changes++;
        /* Whoever else holds the description keeps what it has, were it what was just being given up or
         * asked for; so it stays the holder also when nothing is certain. */
        owner->holders &= ~(1u << VICTIM);
        if (owner->sharing) /* the one that it is handed on to may have it, or not */
            memset(owner->sure, LOCK_NONE, sizeof owner->sure);
        else if (owner->holders == 0)
            lose(owner, now + scene->promptness);
    }
}

static void disconnect(struct worker *worker)
{
    for (unsigned i = 0; i < 30; i++)
        cluster_disconnect_somebody(worker, 40 * worker->cluster->weather.delay_max_ns);
}

static void body_with(struct cluster *cluster, void (*misfortune)(struct worker *worker))
{
    static struct scene scene;
    scene = (struct scene){.cluster = cluster};
    /* Some messages there and back, a few of them sent again. */
    scene.promptness = SECOND + 20 * cluster->weather.delay_max_ns;
    for (uint32_t i = 0; i < OWNERS; i++) {
        struct owner *owner = &scene.owners[i];
        owner->kind = (uint8_t)(i % LOCK_KINDS);
        owner->file = (uint8_t)(i / LOCK_KINDS % FILES);
        owner->client = (uint8_t)(i / LOCK_KINDS / FILES % CLIENTS);
        owner->number =
            owner->kind == LOCK_PROCESS ? 100 + i / LOCK_KINDS / FILES : random_next(&cluster->random);
    }
    cluster_worker(cluster, 0, make_files, &scene);
    cluster_run(cluster, 3600 * SECOND);
    for (uint32_t i = 0; i < WORKERS && !cluster->failed; i++)
        cluster_worker(cluster, i, work, &scene);
    if (misfortune != NULL)
        cluster_worker(cluster, 0, misfortune, &scene);
    cluster_run(cluster, 3600 * SECOND);
    if (!cluster->failed) {
        cluster_worker(cluster, 0, release_all, &scene);
        cluster_run(cluster, 3600 * SECOND);
    }
    for (uint32_t i = 0; i < cluster->server_count && !cluster->failed; i++)
        if (cluster->servers[i]->locks.count != 0)
            cluster_fail(cluster, "all is released, but server %u has %u locks, waiters and holders", i,
                         cluster->servers[i]->locks.count);
}

static void body(struct cluster *cluster)
{
    body_with(cluster, NULL);
}

static void killing_body(struct cluster *cluster)
{
    body_with(cluster, kill_client);
}

static void breaking_body(struct cluster *cluster)
{
    body_with(cluster, disconnect);
}

static void run(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, body, outcome);
}

static void run_killing(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, killing_body, outcome);
}

static void run_breaking(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, breaking_body, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"locks", run, {1, 3}},
        {"locks, a client dies", run_killing, {1, 3}},
        {"locks, connections break", run_breaking, {1, 3}},
    };
    static const uint64_t seeds[] = {1, 2, 3, 15, 8101031, 8102009};
    return SIM_MAIN(argc, argv, cases, seeds);
}
