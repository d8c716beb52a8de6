/* The search. Each worker lists its own tree and a part of the one that all share, which is a single
 * directory with most of the files; the first lists the top as well. Names are compared first: only where
 * they match does it ask for the size. At the top, where there are directories, it also asks what those are
 * whose kind the list does not tell. The names are kept until their directory has been listed, because not
 * every file system can be asked in between.
 *
 * Which names of the shared directory a worker sees is the file system's choice, so what each found is summed
 * up and compared with what each made: every name as a hash, and once more with another one if its file was
 * looked at and is as it should be. Sums of hashes agree only if no name is missing or was seen twice. */
#include "bench/io500_find.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static const char wanted[] = "01";

struct search {
    struct session *session;
    struct crew_part *part;
    uint64_t seen;    /* files in this directory */
    uint64_t matched; /* by name and size */
    uint64_t found;   /* sum of their hashes */
    bool asks;        /* what kind a name is of, if the list does not tell */
    char *names;      /* that match, each with its end */
    size_t length, room;
};

enum { SEEN = 1, MATCHED = 2 }; /* seeds of hashes */

static uint64_t name_hash(const char *name, uint64_t seed)
{
    return hash64(name, strlen(name), seed);
}

static int look_at(void *argument, const char *name, mode_t type)
{
    struct search *search = argument;
    size_t length = strlen(name) + 1;
    if (S_ISDIR(type))
        return 0;
    search->seen++;
    search->found += name_hash(name, SEEN);
    if (strstr(name, wanted) == NULL && (type != 0 || !search->asks))
        return 0;
    if (search->length + length > search->room) {
        size_t room = 2 * search->room + length + 4096;
        char *names = realloc(search->names, room);
        if (names == NULL)
            return -ENOMEM;
        search->names = names;
        search->room = room;
    }
    memcpy(search->names + search->length, name, length);
    search->length += length;
    return 0;
}

/* Searches a part of a directory; what it found is then in *search. */
static int search_part(struct search *search, const char *directory, uint32_t part, uint32_t parts)
{
    struct session *session = search->session;
    search->seen = search->matched = search->found = search->length = 0;
    uint64_t start = crew_now();
    int status = session_list_part(session, directory, part, parts, look_at, search);
    histogram_record(&search->part->latency, crew_now() - start);
    if (status < 0)
        return session_fail(session, "list", directory, status);
    for (size_t at = 0; at < search->length; at += strlen(search->names + at) + 1) {
        char path[SESSION_PATH_MAX];
        struct stat found;
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, search->names + at) >= sizeof(path))
            return session_fail(session, "stat", search->names + at, -ENAMETOOLONG);
        start = crew_now();
        status = session->call->stat(session->target, path, &found);
        histogram_record(&search->part->latency, crew_now() - start);
        if (status < 0)
            return session_fail(session, "stat", path, status);
        if (S_ISDIR(found.st_mode)) {
            search->seen--;
            search->found -= name_hash(search->names + at, SEEN);
        }
        if (S_ISREG(found.st_mode) && found.st_size == IO500_HARD_FILE &&
            strstr(search->names + at, wanted) != NULL) {
            search->matched++;
            search->found += name_hash(search->names + at, MATCHED);
        }
    }
    search->part->operations += search->seen;
    return 0;
}

/* One that nobody else looks at, without files that match. */
static int search_whole(struct search *search, const char *directory, uint64_t files)
{
    int status = search_part(search, directory, 0, 1);
    if (status == 0 && (search->seen != files || search->matched != 0))
        status = session_fail(search->session, "wrong files found in", directory, -EBADMSG);
    return status;
}

int io500_find(struct session *session, struct io500_files *files, struct crew_part *part)
{
    struct search search = {.session = session, .part = part};
    uint32_t number = session->worker->number, count = session->worker->count;
    char directory[SESSION_PATH_MAX];
    int status = 0;
    if (number == 0) { /* a file of each, and the one that all share */
        search.asks = true;
        status = search_whole(&search, session->directory, count + 1);
        search.asks = false;
    }
    if (status == 0) {
        mdtest_directory(&files->easy_names, number, 0, directory);
        status = search_whole(&search, directory, files->easy_names.made);
    }
    if (status == 0) {
        mdtest_directory(&files->hard_names, 0, 0, directory);
        status = search_part(&search, directory, number, count);
    }
    files->found = search.found;
    free(search.names);
    return status;
}

int io500_find_check(struct session *session, const struct io500_files *files)
{
    uint64_t made = 0, difference;
    char directory[SESSION_PATH_MAX];
    for (uint64_t i = 0; i < files->hard_names.made; i++) {
        char name[64];
        mdtest_name(name, sizeof(name), session->worker->number, i);
        made += name_hash(name, SEEN);
        if (strstr(name, wanted) != NULL)
            made += name_hash(name, MATCHED);
    }
    int status = crew_sum(session->worker, made - files->found, &difference);
    if (status < 0 || difference == 0)
        return status;
    mdtest_directory(&files->hard_names, 0, 0, directory);
    return session->worker->number == 0 ? session_fail(session, "wrong files found in", directory, -EBADMSG)
                                        : -ECANCELED;
}
