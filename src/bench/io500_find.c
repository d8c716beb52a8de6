/* The search. Each worker lists the tree of a worker; the first lists the top as well, and the last the tree
 * that all share. Names are compared first: only where they match does it ask for the size. The names are
 * kept until their directory has been listed, because not every file system can be asked in between. */
#include "bench/io500_find.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char wanted[] = "01";

struct search {
    struct session *session;
    struct crew_part *part;
    uint64_t seen;    /* files in this directory */
    uint64_t matched; /* by name and size */
    char *names;      /* that match, each with its end */
    size_t length, room;
};

static int look_at(void *argument, const char *name, mode_t type)
{
    struct search *search = argument;
    size_t length = strlen(name) + 1;
    if (S_ISDIR(type))
        return 0;
    search->seen++;
    if (strstr(name, wanted) == NULL)
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

/* Searches a directory; what it found is then in *search. */
static int search_directory(struct search *search, const char *directory)
{
    struct session *session = search->session;
    search->seen = search->matched = search->length = 0;
    uint64_t start = crew_now();
    int status = session->call->list(session->target, directory, look_at, search);
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
        search->matched += S_ISREG(found.st_mode) && found.st_size == IO500_HARD_FILE;
    }
    search->part->operations += search->seen;
    return 0;
}

static int search_and_compare(struct search *search, const char *directory, uint64_t files, uint64_t matched)
{
    int status = search_directory(search, directory);
    if (status == 0 && (search->seen != files || search->matched != matched))
        status = session_fail(search->session, "wrong files found in", directory, -EBADMSG);
    return status;
}

uint64_t io500_matches(const struct mdtest *test)
{
    uint64_t count = 0;
    for (uint32_t worker = 0; worker < test->session->worker->count; worker++) {
        for (uint64_t i = 0; i < test->made; i++) {
            char name[64];
            mdtest_name(name, sizeof(name), worker, i);
            count += strstr(name, wanted) != NULL;
        }
    }
    return count;
}

int io500_find(struct session *session, const struct io500_files *files, struct crew_part *part)
{
    struct search search = {.session = session, .part = part};
    uint32_t number = session->worker->number, count = session->worker->count;
    char directory[SESSION_PATH_MAX];
    int status = 0;
    if (number == 0) /* a file of each, and the one that all share */
        status = search_and_compare(&search, session->directory, count + 1, 0);
    if (status == 0) {
        mdtest_directory(&files->easy_names, number, 0, directory);
        status = search_and_compare(&search, directory, files->easy_names.made, 0);
    }
    if (status == 0 && number == count - 1) {
        mdtest_directory(&files->hard_names, 0, 0, directory);
        status = search_and_compare(&search, directory, count * files->hard_names.made, files->hard_matches);
    }
    free(search.names);
    return status;
}
