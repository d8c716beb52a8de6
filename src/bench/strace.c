/* From system calls to a trace: follows what strace does not print. Each process has a table of descriptors,
 * shared with those that clone made with CLONE_FILES and copied by fork; descriptors lead to open files,
 * which have a path and a place that read and write move on. Each open file gets a number that is its fd in
 * the trace, in all processes, and is closed there when the last descriptor is.
 *
 * A process may be seen to call before the call that made it has returned; it is then taken for a child of
 * the one whose fork is unfinished. What the tracer was not told (descriptors and the directory of the first
 * process) is not there, or "/". */
#include "bench/strace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "bench/strace_line.h"

#define DESCRIPTORS_MAX 4096
#define CALL_MAX (UINT64_C(1) << 20) /* bytes of one that was interrupted */

struct open_file {
    uint64_t number; /* 0: of a directory, which is in the trace by path alone */
    uint32_t references;
    uint32_t path;
    uint64_t offset;
    bool append;
    bool listed; /* a list is under way */
};

struct descriptor {
    struct open_file *file; /* NULL: none */
    bool close_on_exec;
};

struct table {
    uint32_t references;
    int64_t count;
    struct descriptor *descriptors;
};

struct process {
    uint64_t number;
    struct table *table;
    char directory[TRACE_PATH_MAX];
    char *pending; /* the beginning of an unfinished call; owned */
    size_t pending_length;
    uint64_t pending_time;
};

struct converter {
    struct trace *trace;
    struct map processes;
    uint64_t *sizes; /* of files by path, as far as writes tell */
    uint32_t size_count;
    uint64_t opened;
    uint64_t *ignored;
    uint64_t *ignored_by;        /* of `calls` */
    struct process *last_forker; /* whose fork is unfinished */
    /* the call under way */
    size_t call_number; /* in `calls` */
    struct process *process;
    const struct strace_call *call; /* &parsed */
    struct strace_call parsed;
    uint64_t time;
    uint32_t line;
};

/* ---- tables ---- */

static int emit(struct converter *converter, struct trace_event event)
{
    event.time = converter->time;
    event.process = converter->process->number;
    event.line = converter->line;
    return trace_add(converter->trace, &event);
}

static int drop_file(struct converter *converter, struct open_file *file)
{
    int status = 0;
    if (--file->references > 0)
        return 0;
    if (file->number > 0)
        status = emit(converter, (struct trace_event){.operation = TRACE_CLOSE,
                                                      .fd = file->number,
                                                      .path = TRACE_NO_PATH,
                                                      .new_path = TRACE_NO_PATH});
    free(file);
    return status;
}

static struct open_file *file_of(struct converter *converter, int64_t descriptor)
{
    struct table *table = converter->process->table;
    return descriptor < 0 || descriptor >= table->count ? NULL : table->descriptors[descriptor].file;
}

/* Puts a file there in place of what was; the reference is handed over. */
static int set_descriptor(struct converter *converter, int64_t descriptor, struct open_file *file,
                          bool close_on_exec)
{
    struct table *table = converter->process->table;
    if (descriptor < 0 || descriptor >= DESCRIPTORS_MAX)
        return file != NULL ? drop_file(converter, file) : 0;
    if (descriptor >= table->count) {
        if (file == NULL)
            return 0;
        int64_t count = descriptor + 16;
        struct descriptor *descriptors = realloc(table->descriptors, (size_t)count * sizeof(*descriptors));
        if (descriptors == NULL) {
            drop_file(converter, file);
            return -ENOMEM;
        }
        memset(descriptors + table->count, 0, (size_t)(count - table->count) * sizeof(*descriptors));
        table->descriptors = descriptors;
        table->count = count;
    }
    struct descriptor *slot = &table->descriptors[descriptor];
    struct open_file *before = slot->file;
    *slot = (struct descriptor){file, close_on_exec};
    return before != NULL ? drop_file(converter, before) : 0;
}

static int drop_table(struct converter *converter, struct table *table)
{
    int status = 0;
    if (--table->references > 0)
        return 0;
    for (int64_t i = 0; i < table->count; i++) {
        if (table->descriptors[i].file != NULL) {
            int dropped = drop_file(converter, table->descriptors[i].file);
            status = status < 0 ? status : dropped;
        }
    }
    free(table->descriptors);
    free(table);
    return status;
}

static struct table *copy_table(const struct table *from)
{
    struct table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->references = 1;
    if (from == NULL || from->count == 0)
        return table;
    table->descriptors = malloc((size_t)from->count * sizeof(*table->descriptors));
    if (table->descriptors == NULL) {
        free(table);
        return NULL;
    }
    table->count = from->count;
    memcpy(table->descriptors, from->descriptors, (size_t)from->count * sizeof(*table->descriptors));
    for (int64_t i = 0; i < table->count; i++) {
        if (table->descriptors[i].file != NULL)
            table->descriptors[i].file->references++;
    }
    return table;
}

/* ---- processes ---- */

static int add_process(struct converter *converter, uint64_t number, const struct process *parent, bool share,
                       struct process **made)
{
    struct process *process = calloc(1, sizeof(*process));
    if (process == NULL)
        return -ENOMEM;
    process->number = number;
    if (parent != NULL)
        strcpy(process->directory, parent->directory);
    if (parent != NULL && share) {
        process->table = parent->table;
        process->table->references++;
    } else {
        process->table = copy_table(parent != NULL ? parent->table : NULL);
    }
    if (process->table == NULL || map_put(&converter->processes, number + 1, process) < 0) {
        if (process->table != NULL)
            drop_table(converter, process->table);
        free(process);
        return -ENOMEM;
    }
    *made = process;
    return 0;
}

static bool shares_files(const char *text, size_t length)
{
    return memmem(text, length, "CLONE_FILES", 11) != NULL;
}

static int find_process(struct converter *converter, uint64_t number, struct process **found)
{
    *found = map_get(&converter->processes, number + 1);
    if (*found != NULL)
        return 0;
    const struct process *parent = converter->last_forker;
    bool share =
        parent != NULL && parent->pending != NULL && shares_files(parent->pending, parent->pending_length);
    return add_process(converter, number, parent, share, found);
}

static int end_process(struct converter *converter, struct process *process)
{
    converter->process = process;
    map_remove(&converter->processes, process->number + 1);
    int status = drop_table(converter, process->table);
    if (converter->last_forker == process)
        converter->last_forker = NULL;
    free(process->pending);
    free(process);
    return status;
}

/* ---- arguments ---- */

/* It works on files and is not replayed. */
static void ignore(struct converter *converter)
{
    ++*converter->ignored;
    converter->ignored_by[converter->call_number]++;
}

static bool argument_number(const struct converter *converter, unsigned index, int64_t *number)
{
    return index < converter->call->argument_count &&
           strace_number(&converter->call->arguments[index], number);
}

static bool argument_has(const struct converter *converter, unsigned index, const char *word)
{
    return index < converter->call->argument_count && strace_has(&converter->call->arguments[index], word);
}

/* Joins directory and text, and takes out ".." by name. */
static bool join(const char *directory, const char *text, char path[TRACE_PATH_MAX])
{
    char whole[2 * TRACE_PATH_MAX];
    size_t length = 0;
    if (strlen(text) >= TRACE_PATH_MAX)
        return false;
    snprintf(whole, sizeof(whole), "%s/%s", text[0] == '/' ? "" : directory, text);
    for (const char *at = whole; *at != 0;) {
        size_t part = strcspn(at, "/");
        if (part == 2 && strncmp(at, "..", 2) == 0) {
            while (length > 0 && path[--length] != '/')
                ;
        } else if (part > 0 && !(part == 1 && at[0] == '.')) {
            if (length + part + 1 >= TRACE_PATH_MAX)
                return false;
            path[length++] = '/';
            memcpy(path + length, at, part);
            length += part;
        }
        at += part;
        at += *at == '/';
    }
    path[length] = 0;
    return true;
}

/* The path at argument `index`, relative to the directory at argument `at` (-1: to the process's). Returns 1,
 * 0 (not known, or no path), or -errno. */
static int argument_path(struct converter *converter, int at, unsigned index, uint32_t *path)
{
    char text[TRACE_PATH_MAX], whole[TRACE_PATH_MAX + 1];
    const char *directory = converter->process->directory;
    int64_t descriptor;
    if (index >= converter->call->argument_count)
        return 0;
    const struct strace_text *argument = &converter->call->arguments[index];
    if (!strace_string(argument, text, sizeof(text))) {
        if (argument->text[0] == '"')
            ignore(converter);
        return 0;
    }
    if (at >= 0 && argument_number(converter, (unsigned)at, &descriptor)) {
        const struct open_file *file = file_of(converter, descriptor);
        if (file == NULL && text[0] != '/')
            return 0;
        directory = file != NULL ? converter->trace->paths[file->path] : "";
        if (text[0] == 0) { /* AT_EMPTY_PATH */
            *path = file != NULL ? file->path : 0;
            return file != NULL;
        }
    }
    if (text[0] == 0)
        return 0;
    int status = -EINVAL;
    if (join(directory, text, whole))
        status = trace_path(converter->trace, whole[0] == 0 ? "/" : whole, path);
    if (status == -EINVAL)
        ignore(converter);
    return status == -EINVAL ? 0 : status < 0 ? status : 1;
}

/* ---- calls ---- */

static int emit_path(struct converter *converter, enum trace_operation operation, int at, unsigned index)
{
    struct trace_event event = {
        .operation = operation, .new_path = TRACE_NO_PATH, .error = converter->call->error};
    int status = argument_path(converter, at, index, &event.path);
    if (status <= 0)
        return status;
    if (operation == TRACE_STAT) {
        for (unsigned i = index + 1; i < converter->call->argument_count; i++) {
            const struct strace_text *argument = &converter->call->arguments[i];
            event.directory |= memmem(argument->text, argument->length, "S_IFDIR", 7) != NULL;
            event.link |= memmem(argument->text, argument->length, "S_IFLNK", 7) != NULL;
        }
    }
    return emit(converter, event);
}

static int do_stat(struct converter *converter)
{
    return emit_path(converter, TRACE_STAT, -1, 0);
}

static int do_stat_at(struct converter *converter)
{
    return emit_path(converter, TRACE_STAT, 0, 1);
}

static int do_open_at(struct converter *converter, int at, unsigned index, bool creat)
{
    const struct strace_call *call = converter->call;
    struct trace_event event = {.operation = TRACE_OPEN, .new_path = TRACE_NO_PATH, .error = call->error};
    int status = argument_path(converter, at, index, &event.path);
    if (status <= 0)
        return status;
    bool directory = argument_has(converter, index + 1, "O_DIRECTORY");
    event.flags = argument_has(converter, index + 1, "O_RDWR")     ? O_RDWR
                  : argument_has(converter, index + 1, "O_WRONLY") ? O_WRONLY
                                                                   : O_RDONLY;
    if (creat)
        event.flags = O_WRONLY | O_CREAT | O_TRUNC;
    event.flags |= argument_has(converter, index + 1, "O_CREAT") ? O_CREAT : 0;
    event.flags |= argument_has(converter, index + 1, "O_EXCL") ? O_EXCL : 0;
    event.flags |= argument_has(converter, index + 1, "O_TRUNC") ? O_TRUNC : 0;
    event.flags |= argument_has(converter, index + 1, "O_APPEND") ? O_APPEND : 0;
    struct open_file *file = NULL;
    if (call->error == 0) {
        file = calloc(1, sizeof(*file));
        if (file == NULL)
            return -ENOMEM;
        *file = (struct open_file){.number = directory ? 0 : ++converter->opened,
                                   .references = 1,
                                   .path = event.path,
                                   .append = (event.flags & O_APPEND) != 0};
        event.fd = file->number;
    }
    /* Directories are opened to be listed, which is an operation of its own. */
    status = directory ? 0 : emit(converter, event);
    if (status < 0 || file == NULL) {
        free(file);
        return status;
    }
    return set_descriptor(converter, call->result, file, argument_has(converter, index + 1, "O_CLOEXEC"));
}

static int do_open(struct converter *converter)
{
    return do_open_at(converter, -1, 0, false);
}

static int do_openat(struct converter *converter)
{
    return do_open_at(converter, 0, 1, false);
}

static int do_creat(struct converter *converter)
{
    return do_open_at(converter, -1, 0, true);
}

static int do_close(struct converter *converter)
{
    int64_t descriptor;
    if (!argument_number(converter, 0, &descriptor) || converter->call->error != 0)
        return 0;
    return set_descriptor(converter, descriptor, NULL, false);
}

/* The size of a file as far as it is known from what was written. */
static uint64_t *size_of(struct converter *converter, uint32_t path)
{
    if (path >= converter->size_count) {
        uint32_t count = path + 64;
        uint64_t *sizes = realloc(converter->sizes, count * sizeof(*sizes));
        if (sizes == NULL)
            return NULL;
        memset(sizes + converter->size_count, 0, (count - converter->size_count) * sizeof(*sizes));
        converter->sizes = sizes;
        converter->size_count = count;
    }
    return &converter->sizes[path];
}

/* offset_at: the argument that is the offset; -1: the file's own. */
static int do_transfer(struct converter *converter, enum trace_operation operation, int offset_at)
{
    const struct strace_call *call = converter->call;
    int64_t descriptor, asked, offset = -1;
    if (!argument_number(converter, 0, &descriptor) || call->error != 0 || call->result < 0)
        return 0;
    struct open_file *file = file_of(converter, descriptor);
    if (file == NULL || file->number == 0)
        return 0;
    uint64_t *size = size_of(converter, file->path);
    if (size == NULL)
        return -ENOMEM;
    if (offset_at < 0)
        offset = (int64_t)(operation == TRACE_WRITE && file->append ? *size : file->offset);
    else if (!argument_number(converter, (unsigned)offset_at, &offset))
        return 0;
    struct trace_event event = {.operation = operation,
                                .fd = file->number,
                                .path = TRACE_NO_PATH,
                                .new_path = TRACE_NO_PATH,
                                .offset = (uint64_t)offset,
                                .length = (uint64_t)call->result,
                                .moved = (uint64_t)call->result};
    if (operation == TRACE_READ && call->name[strlen(call->name) - 1] != 'v' &&
        argument_number(converter, 2, &asked) && asked > call->result)
        event.length = (uint64_t)asked;
    if (event.length > TRACE_LENGTH_MAX)
        event.length = TRACE_LENGTH_MAX;
    if (offset < 0 || event.offset > TRACE_OFFSET_MAX || event.moved > TRACE_LENGTH_MAX) {
        ignore(converter);
        return 0;
    }
    if (offset_at < 0)
        file->offset = event.offset + event.moved;
    if (operation == TRACE_WRITE && event.offset + event.moved > *size)
        *size = event.offset + event.moved;
    return emit(converter, event);
}

static int do_read(struct converter *converter)
{
    return do_transfer(converter, TRACE_READ, -1);
}

static int do_pread(struct converter *converter)
{
    return do_transfer(converter, TRACE_READ, 3);
}

static int do_write(struct converter *converter)
{
    return do_transfer(converter, TRACE_WRITE, -1);
}

static int do_pwrite(struct converter *converter)
{
    return do_transfer(converter, TRACE_WRITE, 3);
}

static int do_lseek(struct converter *converter)
{
    int64_t descriptor;
    if (!argument_number(converter, 0, &descriptor) || converter->call->error != 0)
        return 0;
    struct open_file *file = file_of(converter, descriptor);
    if (file != NULL) {
        file->offset = (uint64_t)converter->call->result;
        file->listed = file->listed && file->offset != 0;
    }
    return 0;
}

static int do_fsync(struct converter *converter)
{
    int64_t descriptor;
    const struct open_file *file;
    if (!argument_number(converter, 0, &descriptor) || converter->call->error != 0 ||
        (file = file_of(converter, descriptor)) == NULL || file->number == 0)
        return 0;
    return emit(converter, (struct trace_event){.operation = TRACE_FSYNC,
                                                .fd = file->number,
                                                .path = TRACE_NO_PATH,
                                                .new_path = TRACE_NO_PATH});
}

/* Something about the path of a descriptor. */
static int emit_by_descriptor(struct converter *converter, enum trace_operation operation, uint64_t offset)
{
    int64_t descriptor;
    const struct open_file *file;
    if (!argument_number(converter, 0, &descriptor) || converter->call->error != 0 ||
        (file = file_of(converter, descriptor)) == NULL)
        return 0;
    struct trace_event event = {
        .operation = operation, .path = file->path, .new_path = TRACE_NO_PATH, .offset = offset};
    if (operation == TRACE_STAT && converter->call->argument_count > 1) {
        const struct strace_text *argument = &converter->call->arguments[1];
        event.directory = memmem(argument->text, argument->length, "S_IFDIR", 7) != NULL;
    }
    return emit(converter, event);
}

static int do_fstat(struct converter *converter)
{
    return emit_by_descriptor(converter, TRACE_STAT, 0);
}

static int do_truncate(struct converter *converter)
{
    struct trace_event event = {
        .operation = TRACE_TRUNCATE, .new_path = TRACE_NO_PATH, .error = converter->call->error};
    int64_t length;
    if (!argument_number(converter, 1, &length) || length < 0 || (uint64_t)length > TRACE_OFFSET_MAX)
        return 0;
    int status = argument_path(converter, -1, 0, &event.path);
    event.offset = (uint64_t)length;
    return status <= 0 ? status : emit(converter, event);
}

static int do_ftruncate(struct converter *converter)
{
    int64_t length;
    if (!argument_number(converter, 1, &length) || length < 0 || (uint64_t)length > TRACE_OFFSET_MAX)
        return 0;
    return emit_by_descriptor(converter, TRACE_TRUNCATE, (uint64_t)length);
}

static int do_getdents(struct converter *converter)
{
    int64_t descriptor;
    if (!argument_number(converter, 0, &descriptor) || converter->call->error != 0)
        return 0;
    struct open_file *file = file_of(converter, descriptor);
    if (file == NULL)
        return 0;
    bool first = !file->listed && converter->call->result > 0;
    file->listed = converter->call->result > 0;
    return first ? emit_by_descriptor(converter, TRACE_READDIR, 0) : 0;
}

static int do_mkdir(struct converter *converter)
{
    return emit_path(converter, TRACE_MKDIR, -1, 0);
}

static int do_mkdirat(struct converter *converter)
{
    return emit_path(converter, TRACE_MKDIR, 0, 1);
}

static int do_rmdir(struct converter *converter)
{
    return emit_path(converter, TRACE_RMDIR, -1, 0);
}

static int do_unlink(struct converter *converter)
{
    return emit_path(converter, TRACE_UNLINK, -1, 0);
}

static int do_unlinkat(struct converter *converter)
{
    return emit_path(converter, argument_has(converter, 2, "AT_REMOVEDIR") ? TRACE_RMDIR : TRACE_UNLINK, 0,
                     1);
}

/* What works on files and is not replayed. */
static int do_ignore(struct converter *converter)
{
    if (converter->call->error == 0)
        ignore(converter);
    return 0;
}

static int emit_paths(struct converter *converter, enum trace_operation operation, int at, unsigned index,
                      int new_at, unsigned new_index)
{
    struct trace_event event = {.operation = operation, .error = converter->call->error};
    int status = argument_path(converter, at, index, &event.path);
    if (status > 0)
        status = argument_path(converter, new_at, new_index, &event.new_path);
    return status <= 0 ? status : emit(converter, event);
}

static int do_rename(struct converter *converter)
{
    return emit_paths(converter, TRACE_RENAME, -1, 0, -1, 1);
}

static int do_renameat(struct converter *converter)
{
    if (argument_has(converter, 4, "RENAME_EXCHANGE") || argument_has(converter, 4, "RENAME_WHITEOUT"))
        return do_ignore(converter);
    return emit_paths(converter, TRACE_RENAME, 0, 1, 2, 3);
}

static int do_link(struct converter *converter)
{
    return emit_paths(converter, TRACE_LINK, -1, 0, -1, 1);
}

/* Of a symbolic link itself, or of what has a descriptor and perhaps no name, there is none in a trace. */
static int do_linkat(struct converter *converter)
{
    if (argument_has(converter, 4, "AT_EMPTY_PATH") || argument_has(converter, 4, "AT_SYMLINK_FOLLOW"))
        return do_ignore(converter);
    return emit_paths(converter, TRACE_LINK, 0, 1, 2, 3);
}

/* Where a link leads whose text is at argument `target`, by name. Returns 1, 0 (not known) or -errno. */
static int link_target(struct converter *converter, uint32_t link, unsigned target, uint32_t *path)
{
    char text[TRACE_PATH_MAX], directory[TRACE_PATH_MAX], whole[TRACE_PATH_MAX + 1];
    if (target >= converter->call->argument_count ||
        !strace_string(&converter->call->arguments[target], text, sizeof(text)) || text[0] == 0)
        return 0;
    strcpy(directory, converter->trace->paths[link]);
    char *slash = strrchr(directory, '/');
    if (slash != NULL)
        *slash = 0;
    int status = -EINVAL;
    if (join(directory, text, whole))
        status = trace_path(converter->trace, whole[0] == 0 ? "/" : whole, path);
    return status == -EINVAL ? 0 : status < 0 ? status : 1;
}

/* Of one that was read strace prints the beginning, if -s does not say more: what is cut may be known from
 * the call that made the link. */
static int emit_symbolic(struct converter *converter, enum trace_operation operation, int at, unsigned index,
                         unsigned target)
{
    struct trace_event event = {
        .operation = operation, .new_path = TRACE_NO_PATH, .error = converter->call->error};
    int status = argument_path(converter, at, index, &event.path);
    if (status <= 0)
        return status;
    if (operation == TRACE_SYMLINK || event.error == 0)
        status = link_target(converter, event.path, target, &event.new_path);
    if (status == 0 && operation == TRACE_SYMLINK) {
        ignore(converter);
        return 0;
    }
    return status < 0 ? status : emit(converter, event);
}

static int do_symlink(struct converter *converter)
{
    return emit_symbolic(converter, TRACE_SYMLINK, -1, 1, 0);
}

static int do_symlinkat(struct converter *converter)
{
    return emit_symbolic(converter, TRACE_SYMLINK, 1, 2, 0);
}

static int do_readlink(struct converter *converter)
{
    return emit_symbolic(converter, TRACE_READLINK, -1, 0, 1);
}

static int do_readlinkat(struct converter *converter)
{
    return emit_symbolic(converter, TRACE_READLINK, 0, 1, 2);
}

static int duplicate(struct converter *converter, bool close_on_exec)
{
    int64_t descriptor;
    if (!argument_number(converter, 0, &descriptor) || converter->call->error != 0 ||
        converter->call->result == descriptor)
        return 0;
    struct open_file *file = file_of(converter, descriptor);
    if (file != NULL)
        file->references++;
    return set_descriptor(converter, converter->call->result, file, close_on_exec);
}

static int do_dup(struct converter *converter)
{
    return duplicate(converter, argument_has(converter, 2, "O_CLOEXEC"));
}

static int do_fcntl(struct converter *converter)
{
    int64_t descriptor;
    if (argument_has(converter, 1, "F_DUPFD"))
        return duplicate(converter, false);
    if (argument_has(converter, 1, "F_DUPFD_CLOEXEC"))
        return duplicate(converter, true);
    if (argument_has(converter, 1, "F_SETFD") && argument_number(converter, 0, &descriptor) &&
        file_of(converter, descriptor) != NULL)
        converter->process->table->descriptors[descriptor].close_on_exec =
            argument_has(converter, 2, "FD_CLOEXEC");
    return 0;
}

static int do_chdir(struct converter *converter)
{
    uint32_t path;
    int status = converter->call->error != 0 ? 0 : argument_path(converter, -1, 0, &path);
    if (status > 0)
        strcpy(converter->process->directory, converter->trace->paths[path]);
    return status < 0 ? status : 0;
}

static int do_fchdir(struct converter *converter)
{
    int64_t descriptor;
    const struct open_file *file;
    if (converter->call->error == 0 && argument_number(converter, 0, &descriptor) &&
        (file = file_of(converter, descriptor)) != NULL)
        strcpy(converter->process->directory, converter->trace->paths[file->path]);
    return 0;
}

static int do_fork(struct converter *converter)
{
    const struct strace_call *call = converter->call;
    struct process *child;
    bool share = false;
    if (converter->last_forker == converter->process)
        converter->last_forker = NULL;
    if (call->error != 0 || call->result <= 0 ||
        map_get(&converter->processes, (uint64_t)call->result + 1) != NULL)
        return 0;
    for (unsigned i = 0; i < call->argument_count; i++)
        share |= shares_files(call->arguments[i].text, call->arguments[i].length);
    return add_process(converter, (uint64_t)call->result, converter->process, share, &child);
}

static int do_exec(struct converter *converter)
{
    struct process *process = converter->process;
    if (converter->call->error != 0 || !converter->call->returned)
        return 0;
    if (process->table->references > 1) { /* exec ends the sharing */
        struct table *own = copy_table(process->table);
        if (own == NULL)
            return -ENOMEM;
        process->table->references--;
        process->table = own;
    }
    int status = 0;
    for (int64_t i = 0; i < process->table->count && status == 0; i++) {
        if (process->table->descriptors[i].close_on_exec)
            status = set_descriptor(converter, i, NULL, false);
    }
    return status;
}

/* A mapping that cannot change its file is one read of all that it maps, of which nobody knows how much is
 * there. What a program writes into a shared one is in no call. */
static int do_mmap(struct converter *converter)
{
    int64_t descriptor, length, offset;
    if (!argument_number(converter, 4, &descriptor) || converter->call->error != 0)
        return 0;
    struct open_file *file = file_of(converter, descriptor);
    if (file == NULL)
        return 0;
    bool writes = argument_has(converter, 2, "PROT_WRITE") && argument_has(converter, 3, "MAP_SHARED");
    if (writes || file->number == 0 || !argument_number(converter, 1, &length) ||
        !argument_number(converter, 5, &offset) || length <= 0 || offset < 0 ||
        (uint64_t)length > TRACE_LENGTH_MAX || (uint64_t)offset > TRACE_OFFSET_MAX)
        return do_ignore(converter);
    return emit(converter, (struct trace_event){.operation = TRACE_READ,
                                                .fd = file->number,
                                                .path = TRACE_NO_PATH,
                                                .new_path = TRACE_NO_PATH,
                                                .offset = (uint64_t)offset,
                                                .length = (uint64_t)length});
}

static const struct {
    const char *name;
    int (*run)(struct converter *converter);
} calls[] = {{"read", do_read},
             {"write", do_write},
             {"pread64", do_pread},
             {"pwrite64", do_pwrite},
             {"readv", do_read},
             {"writev", do_write},
             {"preadv", do_pread},
             {"pwritev", do_pwrite},
             {"openat", do_openat},
             {"close", do_close},
             {"newfstatat", do_stat_at},
             {"statx", do_stat_at},
             {"fstat", do_fstat},
             {"stat", do_stat},
             {"lstat", do_stat},
             {"access", do_stat},
             {"faccessat", do_stat_at},
             {"faccessat2", do_stat_at},
             {"lseek", do_lseek},
             {"open", do_open},
             {"creat", do_creat},
             {"fsync", do_fsync},
             {"fdatasync", do_fsync},
             {"mkdir", do_mkdir},
             {"mkdirat", do_mkdirat},
             {"rmdir", do_rmdir},
             {"unlink", do_unlink},
             {"unlinkat", do_unlinkat},
             {"rename", do_rename},
             {"renameat", do_renameat},
             {"renameat2", do_renameat},
             {"truncate", do_truncate},
             {"ftruncate", do_ftruncate},
             {"getdents64", do_getdents},
             {"getdents", do_getdents},
             {"dup", do_dup},
             {"dup2", do_dup},
             {"dup3", do_dup},
             {"fcntl", do_fcntl},
             {"chdir", do_chdir},
             {"fchdir", do_fchdir},
             {"fork", do_fork},
             {"vfork", do_fork},
             {"clone", do_fork},
             {"clone3", do_fork},
             {"execve", do_exec},
             {"execveat", do_exec},
             {"mmap", do_mmap},
             {"copy_file_range", do_ignore},
             {"sendfile", do_ignore},
             {"splice", do_ignore},
             {"fallocate", do_ignore},
             {"link", do_link},
             {"linkat", do_linkat},
             {"symlink", do_symlink},
             {"symlinkat", do_symlinkat},
             {"readlink", do_readlink},
             {"readlinkat", do_readlinkat},
             {"mknod", do_ignore},
             {"mknodat", do_ignore},
             {"preadv2", do_ignore},
             {"pwritev2", do_ignore},
             {"io_submit", do_ignore},
             {"io_uring_enter", do_ignore}};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static int run_call(struct converter *converter, const char *text, size_t length)
{
    int status = strace_call_parse(text, length, &converter->parsed);
    if (status < 0)
        return status;
    converter->call = &converter->parsed;
    for (size_t i = 0; i < CALLS; i++) {
        converter->call_number = i;
        if (strcmp(calls[i].name, converter->parsed.name) == 0)
            return calls[i].run(converter);
    }
    return 0;
}

/* "mmap 3, fallocate 1" */
static void name_ignored(const uint64_t ignored_by[CALLS], char *text, size_t size)
{
    size_t length = 0;
    text[0] = 0;
    for (size_t i = 0; i < CALLS && length < size; i++) {
        if (ignored_by[i] > 0)
            length += (size_t)snprintf(text + length, size - length, "%s%s %llu", length > 0 ? ", " : "",
                                       calls[i].name, (unsigned long long)ignored_by[i]);
    }
}

/* ---- lines ---- */

static bool is_fork(const struct strace_text *text)
{
    static const char *const names[] = {"fork(", "vfork(", "clone(", "clone3("};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (text->length >= strlen(names[i]) && memcmp(text->text, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

static int begin_call(struct converter *converter, const struct strace_line *line)
{
    struct process *process = converter->process;
    free(process->pending);
    process->pending = malloc(line->text.length + 1);
    if (process->pending == NULL)
        return -ENOMEM;
    memcpy(process->pending, line->text.text, line->text.length);
    process->pending_length = line->text.length;
    process->pending_time = line->time;
    if (is_fork(&line->text))
        converter->last_forker = process;
    return 0;
}

/* The rest of a call whose beginning was seen; without it, tracing began in the middle. */
static int end_call(struct converter *converter, const struct strace_line *line)
{
    struct process *process = converter->process;
    size_t length = process->pending_length + line->text.length;
    if (process->pending == NULL || length > CALL_MAX)
        return 0;
    char *whole = malloc(length + 1);
    if (whole == NULL)
        return -ENOMEM;
    memcpy(whole, process->pending, process->pending_length);
    memcpy(whole + process->pending_length, line->text.text, line->text.length);
    converter->time = process->pending_time;
    free(process->pending);
    process->pending = NULL;
    int status = run_call(converter, whole, length);
    free(whole);
    return status;
}

static int take_line(struct converter *converter, const char *text, size_t length)
{
    struct strace_line line;
    int status = strace_line_parse(text, length, &line);
    if (status < 0 || line.kind == STRACE_OTHER)
        return status;
    status = find_process(converter, line.process, &converter->process);
    if (status < 0)
        return status;
    converter->time = line.time;
    switch (line.kind) {
    case STRACE_CALL:
        return run_call(converter, line.text.text, line.text.length);
    case STRACE_UNFINISHED:
        return begin_call(converter, &line);
    case STRACE_RESUMED:
        return end_call(converter, &line);
    default:
        return end_process(converter, converter->process);
    }
}

int strace_parse(const char *bytes, size_t length, struct trace *trace, uint64_t *ignored, char *error,
                 size_t size)
{
    uint64_t ignored_by[CALLS] = {0};
    struct converter converter = {.trace = trace, .ignored = ignored, .ignored_by = ignored_by};
    int status = 0;
    map_init(&converter.processes);
    while (length > 0 && status == 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t line = end != NULL ? (size_t)(end - bytes) : length;
        converter.line++;
        status = take_line(&converter, bytes, line);
        line += end != NULL;
        bytes += line;
        length -= line;
    }
    if (status == -EINVAL)
        snprintf(error, size, "line %u: neither a trace nor what strace -f -ttt -o prints", converter.line);
    for (;;) {
        size_t cursor = 0;
        struct process *process = map_next(&converter.processes, &cursor, NULL);
        if (process == NULL)
            break;
        int ended = end_process(&converter, process);
        status = status < 0 ? status : ended;
    }
    map_free(&converter.processes);
    free(converter.sizes);
    name_ignored(ignored_by, trace->ignored, sizeof(trace->ignored));
    return status;
}
