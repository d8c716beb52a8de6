/* Sessions. Trees are removed in batches of names: not every file system goes on well with a list when what
 * it names is removed meanwhile. */
#include "bench/session.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "bench/options.h"
#include "bench/suite.h"

#define REMOVE_BATCH 128u
#define REMOVE_DEPTH_MAX 128u

static_assert(SESSION_DIRECTORY_MAX >= SUITE_DIRECTORY_SIZE, "a session holds a member's directory");

void session_begin(struct session *session, const struct suite_member *member)
{
    session->worker = member->crew;
    session->target = member->target;
    session->call = member->target->operations;
    snprintf(session->directory, sizeof(session->directory), "%s", member->directory);
}

int session_fail(const struct session *session, const char *what, const char *path, int status)
{
    if (status != -ECANCELED)
        bench_error("target %s%s: %s %s: %s", session->call->scheme, session->target->root, what, path,
                    strerror(-status));
    return status;
}

void session_path(const struct session *session, char path[SESSION_PATH_MAX], const char *format, ...)
{
    va_list arguments;
    int length = snprintf(path, SESSION_PATH_MAX, "%s/", session->directory);
    va_start(arguments, format);
    vsnprintf(path + length, SESSION_PATH_MAX - (size_t)length, format, arguments);
    va_end(arguments);
}

/* ---- a directory in parts ---- */

struct sieve {
    uint32_t part, parts;
    target_entry each;
    void *argument;
};

static int pass_own(void *argument, const char *name, mode_t type)
{
    const struct sieve *sieve = argument;
    bool own = hash64(name, strlen(name), 0) % sieve->parts == sieve->part;
    return own ? sieve->each(sieve->argument, name, type) : 0;
}

int session_list_part(const struct session *session, const char *path, uint32_t part, uint32_t parts,
                      target_entry each, void *argument)
{
    if (session->call->list_part != NULL)
        return session->call->list_part(session->target, path, part, parts, each, argument);
    struct sieve sieve = {part, parts, each, argument};
    return session->call->list(session->target, path, pass_own, &sieve);
}

/* ---- removing ---- */

struct batch {
    uint32_t count;
    mode_t types[REMOVE_BATCH];
    char names[REMOVE_BATCH][256];
};

static int note_entry(void *argument, const char *name, mode_t type)
{
    struct batch *batch = argument;
    batch->types[batch->count] = type;
    snprintf(batch->names[batch->count++], sizeof(batch->names[0]), "%s", name);
    return batch->count == REMOVE_BATCH;
}

static int remove_below(const struct session *session, const char *path, unsigned depth);

static int remove_entry(const struct session *session, const char *path, mode_t type, unsigned depth)
{
    struct stat found;
    int status = 0;
    if (type == 0) {
        bool has_links = session->call->lstat != NULL;
        status = (has_links ? session->call->lstat : session->call->stat)(session->target, path, &found);
        type = found.st_mode & S_IFMT;
    }
    if (status == 0 && S_ISDIR(type)) {
        status = remove_below(session, path, depth + 1);
        return status < 0 ? status : session->call->rmdir(session->target, path);
    }
    return status < 0 ? status : session->call->unlink(session->target, path);
}

static int remove_below(const struct session *session, const char *path, unsigned depth)
{
    struct batch *batch = malloc(sizeof(*batch));
    int status = batch == NULL ? -ENOMEM : depth > REMOVE_DEPTH_MAX ? -ELOOP : 0;
    while (status == 0) {
        batch->count = 0;
        status = session->call->list(session->target, path, note_entry, batch);
        if (status < 0 || batch->count == 0)
            break;
        status = 0;
        for (uint32_t i = 0; i < batch->count && status == 0; i++) {
            char below[SESSION_PATH_MAX];
            if ((size_t)snprintf(below, sizeof(below), "%s/%s", path, batch->names[i]) >= sizeof(below))
                status = -ENAMETOOLONG;
            else
                status = remove_entry(session, below, batch->types[i], depth);
        }
    }
    free(batch);
    return status;
}

int session_remove_all(const struct session *session)
{
    int status = remove_below(session, session->directory, 0);
    return status < 0 ? session_fail(session, "remove what is in", session->directory, status) : 0;
}
