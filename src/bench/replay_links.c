/* Links are followed by name, in the order of time: a link is there from the symlink that made it, or was
 * there from the beginning if it is read before that, until it is removed or renamed. What else a link could
 * have been before anybody read or made it nobody knows; it is taken for a file or directory. */
#include "bench/replay_links.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define NONE TRACE_NO_PATH
#define FOLLOW_MAX 40u /* as Linux does */

struct links {
    struct trace *trace;
    uint32_t count, room; /* links that are known now; of `target` */
    uint32_t *target;     /* by path, NONE: it is no link */
};

static int make_room(struct links *links)
{
    if (links->trace->path_count <= links->room)
        return 0;
    uint32_t room = links->trace->path_count + 64;
    uint32_t *target = realloc(links->target, room * sizeof(*target));
    if (target == NULL)
        return -ENOMEM;
    memset(target + links->room, 0xff, (room - links->room) * sizeof(*target));
    links->target = target;
    links->room = room;
    return 0;
}

static uint32_t target_of(const struct links *links, uint32_t path)
{
    return path < links->room ? links->target[path] : NONE;
}

static int set_target(struct links *links, uint32_t path, uint32_t target)
{
    int status = make_room(links);
    if (status < 0)
        return status;
    links->count += target != NONE;
    links->count -= links->target[path] != NONE;
    links->target[path] = target;
    return 0;
}

/* The first link on the way of a path; last: the path itself counts. Where its name ends is then in *end. */
static uint32_t find_link(const struct links *links, const char *text, bool last, size_t *end)
{
    char part[TRACE_PATH_MAX];
    for (size_t at = 1; text[0] != 0; at++) {
        at += strcspn(text + at, "/");
        uint32_t path;
        if (text[at] == 0 && !last)
            return NONE;
        memcpy(part, text, at);
        part[at] = 0;
        *end = at;
        if (trace_find_path(links->trace, part, &path) && target_of(links, path) != NONE)
            return path;
        if (text[at] == 0)
            return NONE;
    }
    return NONE;
}

/* *path becomes what it leads to, *through the last link on the way or NONE. Links that lead round in
 * circles, and paths that get too long, are left as they are. 0 or -ENOMEM. */
static int follow(struct links *links, bool last, uint32_t *path, uint32_t *through)
{
    struct trace *trace = links->trace;
    char text[TRACE_PATH_MAX];
    uint32_t link = NONE, next;
    size_t end;
    *through = NONE;
    strcpy(text, trace->paths[*path]);
    for (unsigned i = 0; (next = find_link(links, text, last, &end)) != NONE; i++) {
        const char *target = trace->paths[links->target[next]];
        size_t rest = strlen(text + end), length = strlen(target);
        if (i == FOLLOW_MAX || length + rest >= TRACE_PATH_MAX)
            return 0;
        memmove(text + length, text + end, rest + 1);
        memcpy(text, target, length);
        link = next;
    }
    if (link == NONE)
        return 0;
    int status = trace_path(trace, text[0] == 0 ? "/" : text, path);
    *through = status == 0 ? link : NONE;
    return status == -EINVAL ? 0 : status;
}

/* Whether the operation is on what a link at the end of its path leads to. */
static bool follows_last(const struct trace_event *event)
{
    switch (event->operation) {
    case TRACE_OPEN:
        return (event->flags & O_EXCL) == 0;
    case TRACE_STAT:
        return !event->link;
    case TRACE_TRUNCATE:
    case TRACE_READDIR:
        return true;
    default:
        return false;
    }
}

static int resolve_event(struct links *links, struct trace_event *event)
{
    uint32_t path = event->path, new_path = event->new_path;
    bool two = event->operation == TRACE_RENAME || event->operation == TRACE_LINK;
    if (links->count == 0 || path == NONE)
        return 0;
    int status = follow(links, follows_last(event), &path, &event->through);
    if (status == 0 && path != event->path) {
        event->called = event->path;
        event->path = path;
    }
    if (status == 0 && two)
        status = follow(links, false, &new_path, &event->new_through);
    if (status == 0 && new_path != event->new_path) {
        event->new_called = event->new_path;
        event->new_path = new_path;
    }
    return status;
}

/* What the event does to links. */
static int apply(struct links *links, const struct trace_event *event)
{
    uint32_t target;
    if (event->error != 0)
        return 0;
    switch (event->operation) {
    case TRACE_SYMLINK:
        return set_target(links, event->path, event->new_path);
    case TRACE_UNLINK:
        return set_target(links, event->path, NONE);
    case TRACE_LINK:
        target = target_of(links, event->path);
        return target == NONE ? 0 : set_target(links, event->new_path, target);
    case TRACE_RENAME:
        target = target_of(links, event->path);
        if (target == NONE && target_of(links, event->new_path) == NONE)
            return 0;
        return set_target(links, event->path, NONE) < 0 ? -ENOMEM
                                                        : set_target(links, event->new_path, target);
    default:
        return 0;
    }
}

/* Links that are read before the trace does anything to their names were there. */
static int find_old_links(struct links *links)
{
    struct trace *trace = links->trace;
    bool *touched = calloc(trace->path_count + 1u, sizeof(*touched));
    int status = touched == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; i < trace->event_count && status == 0; i++) {
        const struct trace_event *event = &trace->events[i];
        if (event->error != 0 || event->path == NONE)
            continue;
        if (event->operation == TRACE_READLINK) {
            if (!touched[event->path] && event->new_path != NONE)
                status = set_target(links, event->path, event->new_path);
        } else if (event->operation != TRACE_SYMLINK && event->operation != TRACE_UNLINK &&
                   event->operation != TRACE_RENAME && event->operation != TRACE_LINK) {
            continue;
        }
        touched[event->path] = true;
        if (event->new_path != NONE && event->operation != TRACE_SYMLINK &&
            event->operation != TRACE_READLINK)
            touched[event->new_path] = true;
    }
    free(touched);
    return status;
}

int replay_links_resolve(struct trace *trace)
{
    struct links links = {.trace = trace};
    int status = find_old_links(&links);
    for (uint32_t i = 0; i < trace->event_count && status == 0; i++) {
        status = resolve_event(&links, &trace->events[i]);
        if (status == 0)
            status = apply(&links, &trace->events[i]);
    }
    free(links.target);
    return status;
}
