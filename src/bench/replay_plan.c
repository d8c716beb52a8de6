/* Plans.
 *
 * The plan walks through the trace in the order of time and follows what is there: a path that is used before
 * the trace made it must have been there, and is prepared; of a file as many bytes as are read of it. What
 * contradicts what is there (a file is opened after it was removed, because something that made it again was
 * not recorded) is left out, with all that is done through it.
 *
 * Operations of different processes depend on each other by names: one opens what another made. Each path has
 * a count of operations done on it, and each operation a ticket for how many must be: an operation that
 * changes the name (makes, removes or renames it, or closes it after writing) waits for all operations on the
 * name before it, and all others wait for the last that changed it. An operation counts for the directory of
 * its path as well, so that directories are made before and removed after what is in them. Reads and writes
 * wait for nothing: they are behind the open in their process. All wait only for earlier ones, and each
 * process does its own in order, so there is always one that can go on.
 *
 * Symbolic links are resolved beforehand (replay_links.c): the plan follows what a path leads to, while the
 * target is given the path that was called; such an operation waits for what made the last link on its way. A
 * link itself has a name like a file. It leads to an absolute path in the directory of the run, whatever its
 * text was, so that no trace leads out of it.
 *
 * When a directory is renamed, what is known of the paths below it goes to the paths of the same names below
 * its new name. What nothing was known of was there all the same if it is used afterwards: it is prepared
 * under the name that it had before, which is a path of the plan for that reason. Such a rename waits for all
 * named operations before it, and all after it wait for it. */
#include "bench/replay_plan.h"

#include "bench/replay_links.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define OLD_NAMES_MAX 1000000u

struct path_state {
    enum replay_kind kind;
    uint32_t inode;
    uint32_t origin;   /* the path under which its file was prepared; NONE: the trace made it */
    uint32_t original; /* the path under which it would have to be prepared */
    uint32_t target;   /* of a symbolic link: the path it leads to */
    uint32_t parent;   /* path; NONE: of the root */
    bool is_directory; /* something lies below it, or is done to it that only directories allow */
    bool inside;       /* below `only` */
    bool ever_link;    /* a symbolic link at some time */
    uint32_t uses;     /* operations so far */
    uint32_t changed;  /* uses when it was last changed */
};

struct planner {
    struct replay_plan *plan;
    struct trace *trace; /* parents may be added to its paths */
    struct path_state *paths;
    uint32_t inodes;
    uint32_t file_room;
    bool moves;            /* directories are renamed */
    uint32_t all_paths;    /* stands for all: how many there are */
    struct map open_files; /* fd + 1 of the trace to file + 1 of the plan */
    struct map by_process;
};

/* ---- paths ---- */

/* Adds the parents of all paths. */
static int add_parents(struct trace *trace, uint32_t **parents)
{
    uint32_t room = 0;
    for (uint32_t i = 0; i < trace->path_count; i++) {
        char text[TRACE_PATH_MAX];
        if (i >= room) {
            room = trace->path_count * 2 + 16;
            uint32_t *more = realloc(*parents, room * sizeof(**parents));
            if (more == NULL)
                return -ENOMEM;
            *parents = more;
        }
        (*parents)[i] = NONE;
        strcpy(text, trace->paths[i]);
        char *slash = strrchr(text, '/');
        if (slash == NULL)
            continue;
        *slash = 0;
        int status = trace_path(trace, slash == text ? "/" : text, &(*parents)[i]);
        if (status < 0)
            return status;
    }
    return 0;
}

/* The same name below another directory; false: it does not lie below the first. */
static bool translate(const struct trace *trace, uint32_t path, uint32_t from, uint32_t to,
                      char text[2 * TRACE_PATH_MAX])
{
    size_t length = strlen(trace->paths[from]);
    if (strncmp(trace->paths[path], trace->paths[from], length) != 0 || trace->paths[path][length] != '/')
        return false;
    snprintf(text, 2 * TRACE_PATH_MAX, "%s%s", trace->paths[to], trace->paths[path] + length);
    return true;
}

static bool lies_inside(const char *path, const char *only)
{
    size_t length = only == NULL ? 0 : strlen(only);
    while (length > 0 && only[length - 1] == '/')
        length--;
    return length == 0 || (strncmp(path, only, length) == 0 && (path[length] == '/' || path[length] == 0));
}

/* Adds the names that what lies below a directory had before that was renamed. The last rename comes first,
 * so that one after the other is found. parents: of all paths; only what is one of them has something below.
 */
static int add_old_names(struct trace *trace, const uint32_t *parents)
{
    struct map above; /* path + 1 of those that have something below */
    uint32_t added = 0;
    int status = 0;
    map_init(&above);
    for (uint32_t path = 0; path < trace->path_count && status == 0; path++) {
        if (parents[path] != NONE)
            status = map_put(&above, parents[path] + UINT64_C(1), trace);
    }
    for (uint32_t i = trace->event_count; i > 0 && status == 0; i--) {
        const struct trace_event *event = &trace->events[i - 1];
        if (event->operation != TRACE_RENAME || event->error != 0 ||
            map_get(&above, event->new_path + UINT64_C(1)) == NULL ||
            lies_inside(trace->paths[event->path], trace->paths[event->new_path]) ||
            lies_inside(trace->paths[event->new_path], trace->paths[event->path]))
            continue;
        for (uint32_t path = 0, count = trace->path_count; path < count && status == 0; path++) {
            char text[2 * TRACE_PATH_MAX];
            uint32_t old;
            if (!translate(trace, path, event->new_path, event->path, text) || added == OLD_NAMES_MAX)
                continue;
            added += !trace_find_path(trace, text, &old);
            status = trace_path(trace, text, &old);
            status = status == -EINVAL ? 0 : status; /* too long for anybody to use it */
        }
        if (status == 0)
            status = map_put(&above, event->path + UINT64_C(1), trace);
    }
    map_free(&above);
    return status;
}

static bool is_below_link(const struct planner *planner, uint32_t path)
{
    while ((path = planner->plan->parents[path]) != NONE) {
        if (planner->paths[path].ever_link)
            return true;
    }
    return false;
}

static void mark_directories_above(struct planner *planner, uint32_t path)
{
    while (path != TRACE_NO_PATH && (path = planner->plan->parents[path]) != NONE &&
           !planner->paths[path].is_directory)
        planner->paths[path].is_directory = true;
}

static int begin_paths(struct planner *planner, const char *only)
{
    struct trace *trace = planner->trace;
    struct replay_plan *plan = planner->plan;
    int status = add_parents(trace, &plan->parents);
    if (status == 0)
        status = add_old_names(trace, plan->parents);
    if (status == 0)
        status = add_parents(trace, &plan->parents); /* of what was added */
    if (status < 0)
        return status;
    planner->all_paths = trace->path_count;
    planner->paths = calloc(trace->path_count + 1u, sizeof(*planner->paths));
    plan->prepared = calloc(trace->path_count + 1u, sizeof(*plan->prepared));
    if (planner->paths == NULL || plan->prepared == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < trace->path_count; i++) {
        planner->paths[i].parent = plan->parents[i];
        planner->paths[i].original = i;
        planner->paths[i].inside = lies_inside(trace->paths[i], only);
        if (trace->paths[i][0] == 0)
            planner->paths[i] = (struct path_state){.kind = REPLAY_DIRECTORY,
                                                    .origin = i,
                                                    .original = i,
                                                    .parent = NONE,
                                                    .inside = planner->paths[i].inside};
    }
    for (uint32_t i = 0; i < trace->event_count; i++) {
        const struct trace_event *event = &trace->events[i];
        if (event->error == 0 && (event->operation == TRACE_SYMLINK || event->operation == TRACE_READLINK))
            planner->paths[event->path].ever_link = true;
        if (event->error == 0 && (event->operation == TRACE_RENAME || event->operation == TRACE_LINK) &&
            planner->paths[event->path].ever_link)
            planner->paths[event->new_path].ever_link = true;
        if (event->error == 0) {
            mark_directories_above(planner, event->path);
            mark_directories_above(planner, event->new_path);
        }
        if (event->path != TRACE_NO_PATH &&
            (event->operation == TRACE_READDIR || event->directory || event->operation == TRACE_MKDIR ||
             event->operation == TRACE_RMDIR))
            planner->paths[event->path].is_directory = true;
    }
    /* What was called by names that lead through links is no directory's entry. */
    for (uint32_t i = 0; i < trace->path_count; i++) {
        if (!is_below_link(planner, i))
            mark_directories_above(planner, i);
    }
    for (uint32_t i = 0; i < trace->event_count; i++) {
        const struct trace_event *event = &trace->events[i];
        if (event->operation == TRACE_RENAME && event->error == 0 &&
            (planner->paths[event->path].is_directory || planner->paths[event->new_path].is_directory))
            planner->moves = planner->paths[event->path].is_directory = true;
    }
    return 0;
}

/* ---- what is there ---- */

/* Whether the path can be of that kind now; what nothing is known of is prepared. */
static bool require(struct planner *planner, uint32_t path, enum replay_kind wanted)
{
    enum replay_kind kind = wanted;
    struct path_state *state = &planner->paths[path];
    if (state->kind != REPLAY_UNKNOWN)
        return state->kind == wanted;
    if (state->parent != NONE) {
        if (!require(planner, state->parent, REPLAY_DIRECTORY))
            return false;
        if (planner->paths[state->parent].origin == NONE) /* the trace made it: it was empty */
            kind = REPLAY_ABSENT;
    }
    bool met = kind == wanted;
    state->kind = kind;
    if (kind > REPLAY_ABSENT) {
        struct replay_prepared *prepared = &planner->plan->prepared[state->original];
        prepared->kind = kind;
        state->origin = state->original;
        state->inode = prepared->inode = planner->inodes++;
    }
    return met;
}

static enum replay_kind kind_of(const struct planner *planner, uint32_t path)
{
    const struct path_state *state = &planner->paths[path];
    if (state->kind > REPLAY_ABSENT)
        return state->kind;
    return state->is_directory ? REPLAY_DIRECTORY : REPLAY_FILE;
}

static void make(struct planner *planner, uint32_t path, enum replay_kind kind)
{
    struct path_state *state = &planner->paths[path];
    state->kind = kind;
    state->origin = NONE;
    state->inode = planner->inodes++;
}

/* ---- steps ---- */

static struct replay_step *add_step(struct planner *planner, const struct trace_event *event)
{
    struct replay_plan *plan = planner->plan;
    struct replay_step *step = &plan->steps[plan->step_count];
    uintptr_t number = (uintptr_t)map_get(&planner->by_process, event->process + 1);
    if (number == 0) {
        number = plan->process_count + 1u;
        if (map_put(&planner->by_process, event->process + 1, (void *)number) < 0)
            return NULL;
        plan->process_count++;
    }
    *step = (struct replay_step){.event = event, .file = NONE, .inode = NONE};
    plan->processes[plan->step_count++] = (uint32_t)number - 1;
    plan->operations[event->operation]++;
    return step;
}

static void add_ticket(struct planner *planner, struct replay_step *step, uint32_t path, bool changes)
{
    struct path_state *state = &planner->paths[path];
    for (unsigned i = 0; i < step->ticket_count; i++) {
        if (step->tickets[i].path == path) /* a rename within a directory */
            return;
    }
    step->tickets[step->ticket_count++] =
        (struct replay_ticket){.path = path, .needs = changes ? state->uses : state->changed};
    state->uses++;
    if (changes)
        state->changed = state->uses;
}

static void use(struct planner *planner, struct replay_step *step, uint32_t path, bool changes)
{
    add_ticket(planner, step, path, changes);
    if (planner->paths[path].parent != NONE)
        add_ticket(planner, step, planner->paths[path].parent, false);
}

/* Behind all paths that it works on itself. */
static void use_all(struct planner *planner, struct replay_step *step, bool changes)
{
    if (planner->moves)
        add_ticket(planner, step, planner->all_paths, changes);
}

/* Each adds the event as a step. 1: added; 0: it makes no sense; or -ENOMEM. */

static int add_named(struct planner *planner, const struct trace_event *event, bool changes)
{
    struct replay_step *step = add_step(planner, event);
    if (step == NULL)
        return -ENOMEM;
    use(planner, step, event->path, changes);
    use_all(planner, step, false);
    return 1;
}

/* Those that failed do so again if what they failed for is the case. */
static int add_failed(struct planner *planner, const struct trace_event *event)
{
    bool makes_other = event->operation == TRACE_MKDIR || event->operation == TRACE_SYMLINK;
    bool makes = makes_other || event->operation == TRACE_OPEN;
    if (event->path == TRACE_NO_PATH ||
        (event->new_path != TRACE_NO_PATH && event->operation != TRACE_SYMLINK))
        return 0;
    if (event->error == ENOENT && !(makes && (makes_other || event->flags & O_CREAT)) &&
        planner->paths[event->path].kind <= REPLAY_ABSENT) {
        planner->paths[event->path].kind = REPLAY_ABSENT;
        return add_named(planner, event, false);
    }
    if (event->error == EEXIST && makes && (makes_other || event->flags & O_EXCL) &&
        require(planner, event->path, kind_of(planner, event->path)))
        return add_named(planner, event, false);
    if (event->error == EINVAL && event->operation == TRACE_READLINK && /* it is no link */
        kind_of(planner, event->path) != REPLAY_LINK &&
        require(planner, event->path, kind_of(planner, event->path)))
        return add_named(planner, event, false);
    return 0;
}

static int add_open(struct planner *planner, const struct trace_event *event)
{
    struct replay_plan *plan = planner->plan;
    struct path_state *state = &planner->paths[event->path];
    bool makes = event->flags & O_CREAT && state->kind <= REPLAY_ABSENT;
    /* What is opened for reading as well, and not cut, was there. */
    if (state->kind == REPLAY_UNKNOWN && !(event->flags & (O_EXCL | O_TRUNC)) &&
        (event->flags & O_ACCMODE) == O_RDWR)
        makes = false;
    if (event->directory || state->is_directory || (event->flags & O_EXCL && !makes))
        return 0;
    if (makes && state->parent != NONE && !require(planner, state->parent, REPLAY_DIRECTORY))
        return 0;
    if (makes)
        make(planner, event->path, REPLAY_FILE);
    else if (!require(planner, event->path, REPLAY_FILE))
        return 0;
    if (plan->file_count == planner->file_room) {
        uint32_t room = 2 * planner->file_room + 64;
        struct replay_file *files = realloc(plan->files, room * sizeof(*files));
        if (files == NULL)
            return -ENOMEM;
        plan->files = files;
        planner->file_room = room;
    }
    struct replay_step *step = add_step(planner, event);
    if (step == NULL ||
        map_put(&planner->open_files, event->fd + 1, (void *)(uintptr_t)(plan->file_count + 1)) < 0)
        return -ENOMEM;
    use(planner, step, event->path, makes || event->flags & O_TRUNC);
    use_all(planner, step, false);
    step->file = plan->file_count;
    step->inode = state->inode;
    plan->files[plan->file_count++] = (struct replay_file){.path = event->path,
                                                           .inode = state->inode,
                                                           .opened = step->tickets[0].needs + 1,
                                                           .origin = state->origin};
    return 1;
}

static int add_on_file(struct planner *planner, const struct trace_event *event)
{
    struct replay_plan *plan = planner->plan;
    uintptr_t number = (uintptr_t)map_get(&planner->open_files, event->fd + 1);
    if (number == 0)
        return 0;
    struct replay_file *file = &plan->files[number - 1];
    struct replay_step *step = add_step(planner, event);
    if (step == NULL)
        return -ENOMEM;
    step->file = (uint32_t)number - 1;
    step->inode = file->inode;
    if (event->operation == TRACE_WRITE)
        file->wrote = true;
    if (event->operation == TRACE_READ && file->origin != NONE && event->moved > 0 &&
        event->offset + event->moved > plan->prepared[file->origin].size)
        plan->prepared[file->origin].size = event->offset + event->moved;
    if (event->operation == TRACE_CLOSE) {
        use(planner, step, file->path, file->wrote);
        use_all(planner, step, false);
        map_remove(&planner->open_files, event->fd + 1);
    }
    return 1;
}

static int add_mkdir(struct planner *planner, const struct trace_event *event)
{
    struct path_state *state = &planner->paths[event->path];
    if (state->kind > REPLAY_ABSENT ||
        (state->parent != NONE && !require(planner, state->parent, REPLAY_DIRECTORY)))
        return 0;
    make(planner, event->path, REPLAY_DIRECTORY);
    return add_named(planner, event, true);
}

static int add_symlink(struct planner *planner, const struct trace_event *event)
{
    struct path_state *state = &planner->paths[event->path];
    if (state->kind > REPLAY_ABSENT || state->is_directory || state->parent == NONE ||
        !require(planner, state->parent, REPLAY_DIRECTORY))
        return 0;
    make(planner, event->path, REPLAY_LINK);
    state->target = event->new_path;
    return add_named(planner, event, true);
}

/* Where it leads is known from what made it, or from what was read of it first. */
static int add_readlink(struct planner *planner, const struct trace_event *event)
{
    struct path_state *state = &planner->paths[event->path];
    if (state->kind == REPLAY_UNKNOWN && event->new_path == TRACE_NO_PATH)
        return 0;
    bool known = state->kind == REPLAY_LINK;
    if (state->is_directory || !require(planner, event->path, REPLAY_LINK) ||
        (known && event->new_path != TRACE_NO_PATH && event->new_path != state->target))
        return 0;
    if (!known)
        state->target = planner->plan->prepared[state->original].target = event->new_path;
    return add_named(planner, event, false);
}

static int add_stat(struct planner *planner, const struct trace_event *event)
{
    const struct path_state *state = &planner->paths[event->path];
    if (event->link ? state->kind != REPLAY_LINK
                    : !require(planner, event->path, kind_of(planner, event->path)))
        return 0;
    planner->plan->link_stats += event->link;
    return add_named(planner, event, false);
}

static int add_removal(struct planner *planner, const struct trace_event *event)
{
    enum replay_kind kind = event->operation == TRACE_RMDIR                   ? REPLAY_DIRECTORY
                            : planner->paths[event->path].kind == REPLAY_LINK ? REPLAY_LINK
                                                                              : REPLAY_FILE;
    if (planner->paths[event->path].parent == NONE || !require(planner, event->path, kind))
        return 0;
    planner->paths[event->path].kind = REPLAY_ABSENT;
    return add_named(planner, event, true);
}

static void move_state(struct path_state *from, struct path_state *to)
{
    to->kind = from->kind;
    to->inode = from->inode;
    to->origin = from->origin;
    to->original = from->original;
    to->target = from->target;
}

/* What lies below a directory takes the names below its new one; nothing is left of the old ones. */
static void move_below(struct planner *planner, uint32_t from, uint32_t to)
{
    const struct trace *trace = planner->trace;
    for (uint32_t path = 0; path < planner->all_paths; path++) {
        char text[2 * TRACE_PATH_MAX];
        uint32_t old;
        if (!translate(trace, path, to, from, text))
            continue;
        if (trace_find_path(trace, text, &old))
            move_state(&planner->paths[old], &planner->paths[path]);
        else
            planner->paths[path].kind = REPLAY_ABSENT; /* too many names, or too long */
    }
    for (uint32_t path = 0; path < planner->all_paths; path++) {
        if (path != from && lies_inside(trace->paths[path], trace->paths[from]))
            planner->paths[path].kind = REPLAY_ABSENT;
    }
}

/* Whether it is a directory with nothing in it, as far as is known. */
static bool is_emptied(const struct planner *planner, uint32_t path)
{
    const struct trace *trace = planner->trace;
    if (planner->paths[path].kind != REPLAY_DIRECTORY)
        return false;
    for (uint32_t below = 0; below < planner->all_paths; below++) {
        if (below != path && planner->paths[below].kind > REPLAY_ABSENT &&
            lies_inside(trace->paths[below], trace->paths[path]))
            return false;
    }
    return true;
}

/* What is at event->path is at event->new_path too, or only there. exclusive: the step uses all paths alone.
 * Returns 1 or -ENOMEM. */
static int add_second_name(struct planner *planner, const struct trace_event *event, bool moves,
                           bool exclusive)
{
    struct replay_step *step = add_step(planner, event);
    if (step == NULL)
        return -ENOMEM;
    use(planner, step, event->path, moves);
    use(planner, step, event->new_path, true);
    use_all(planner, step, exclusive);
    move_state(&planner->paths[event->path], &planner->paths[event->new_path]);
    if (moves)
        planner->paths[event->path].kind = REPLAY_ABSENT;
    return 1;
}

/* Also over another directory, which must have been empty, as the rename did not fail. */
static int add_directory_rename(struct planner *planner, const struct trace_event *event)
{
    struct path_state *from = &planner->paths[event->path], *to = &planner->paths[event->new_path];
    const char *from_text = planner->trace->paths[event->path],
               *to_text = planner->trace->paths[event->new_path];
    if (!planner->moves || from->parent == NONE || to->parent == NONE ||
        (to->kind > REPLAY_ABSENT && !is_emptied(planner, event->new_path)) ||
        lies_inside(to_text, from_text) || lies_inside(from_text, to_text) ||
        !require(planner, event->path, REPLAY_DIRECTORY) || !require(planner, to->parent, REPLAY_DIRECTORY))
        return 0;
    if (add_second_name(planner, event, true, true) < 0)
        return -ENOMEM;
    move_below(planner, event->path, event->new_path);
    return 1;
}

static int add_rename(struct planner *planner, const struct trace_event *event)
{
    if (kind_of(planner, event->path) == REPLAY_DIRECTORY)
        return add_directory_rename(planner, event);
    const struct path_state *to = &planner->paths[event->new_path];
    enum replay_kind kind = kind_of(planner, event->path);
    if (event->path == event->new_path || kind_of(planner, event->new_path) == REPLAY_DIRECTORY ||
        !require(planner, event->path, kind) || to->parent == NONE ||
        !require(planner, to->parent, REPLAY_DIRECTORY))
        return 0;
    return add_second_name(planner, event, true, false);
}

/* A file's other name has its contents, and is prepared under the first; that of a symbolic link leads where
 * the link does. */
static int add_link(struct planner *planner, const struct trace_event *event)
{
    const struct path_state *to = &planner->paths[event->new_path];
    enum replay_kind kind = kind_of(planner, event->path);
    if (event->path == event->new_path || to->parent == NONE || to->is_directory ||
        to->kind > REPLAY_ABSENT || kind == REPLAY_DIRECTORY || !require(planner, event->path, kind) ||
        !require(planner, to->parent, REPLAY_DIRECTORY))
        return 0;
    return add_second_name(planner, event, false, false);
}

static int add_event(struct planner *planner, const struct trace_event *event)
{
    if (event->error != 0)
        return add_failed(planner, event);
    switch (event->operation) {
    case TRACE_OPEN:
        return add_open(planner, event);
    case TRACE_CLOSE:
    case TRACE_READ:
    case TRACE_WRITE:
    case TRACE_FSYNC:
        return add_on_file(planner, event);
    case TRACE_MKDIR:
        return add_mkdir(planner, event);
    case TRACE_RMDIR:
    case TRACE_UNLINK:
        return add_removal(planner, event);
    case TRACE_RENAME:
        return add_rename(planner, event);
    case TRACE_LINK:
        return add_link(planner, event);
    case TRACE_SYMLINK:
        return add_symlink(planner, event);
    case TRACE_READLINK:
        return add_readlink(planner, event);
    case TRACE_STAT:
        return add_stat(planner, event);
    case TRACE_TRUNCATE:
        return require(planner, event->path, REPLAY_FILE) ? add_named(planner, event, true) : 0;
    default: /* TRACE_READDIR */
        return require(planner, event->path, REPLAY_DIRECTORY) ? add_named(planner, event, false) : 0;
    }
}

/* The step that was added last also waits for what made the links on its way. */
static void use_links(struct planner *planner, const struct trace_event *event)
{
    struct replay_step *step = &planner->plan->steps[planner->plan->step_count - 1];
    if (event->through != TRACE_NO_PATH)
        add_ticket(planner, step, event->through, false);
    if (event->new_through != TRACE_NO_PATH)
        add_ticket(planner, step, event->new_through, false);
}

/* Whether it works on paths that are of interest, or on a file that is not known to be of another kind. */
static bool is_inside(const struct planner *planner, const struct trace_event *event)
{
    bool two = event->operation == TRACE_RENAME || event->operation == TRACE_LINK;
    return (event->path == TRACE_NO_PATH || planner->paths[event->path].inside) &&
           (!two || planner->paths[event->new_path].inside);
}

/* Whether what was left out is worth telling: not that directories were opened, to be listed, and not what
 * was done to files that may be outside. */
static bool is_missed(const struct planner *planner, const struct trace_event *event, const char *only)
{
    if (event->path == TRACE_NO_PATH)
        return only == NULL && event->operation != TRACE_CLOSE;
    return event->operation != TRACE_OPEN || !planner->paths[event->path].is_directory;
}

int replay_plan_make(struct replay_plan *plan, struct trace *trace, const char *only)
{
    struct planner planner = {.plan = plan, .trace = trace};
    memset(plan, 0, sizeof(*plan));
    plan->trace = trace;
    map_init(&planner.open_files);
    map_init(&planner.by_process);
    plan->steps = malloc((trace->event_count + 1u) * sizeof(*plan->steps));
    plan->processes = malloc((trace->event_count + 1u) * sizeof(*plan->processes));
    int status = plan->steps == NULL || plan->processes == NULL ? -ENOMEM : replay_links_resolve(trace);
    if (status == 0)
        status = begin_paths(&planner, only);
    for (uint32_t i = 0; i < trace->event_count && status >= 0; i++) {
        const struct trace_event *event = &trace->events[i];
        if (!is_inside(&planner, event)) {
            /* Its fd may have been that of a file that was left open. */
            if (event->operation == TRACE_OPEN && event->error == 0)
                map_remove(&planner.open_files, event->fd + 1);
            continue;
        }
        if (event->operation == TRACE_OPEN && event->error == 0)
            map_remove(&planner.open_files, event->fd + 1);
        status = add_event(&planner, event);
        if (status > 0)
            use_links(&planner, event);
        if (status == 0 && is_missed(&planner, event, only)) {
            plan->left_out++;
            plan->left_out_by[event->operation]++;
        }
    }
    map_free(&planner.open_files);
    map_free(&planner.by_process);
    free(planner.paths);
    if (status < 0)
        replay_plan_free(plan);
    return status < 0 ? status : 0;
}

void replay_plan_free(struct replay_plan *plan)
{
    free(plan->steps);
    free(plan->files);
    free(plan->prepared);
    free(plan->parents);
    free(plan->processes);
    memset(plan, 0, sizeof(*plan));
}
