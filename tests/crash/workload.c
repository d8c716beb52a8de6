/* Each client owns its names and files, and does one call after another: so what it did last to an object is
 * known, and the only call whose outcome is open is the one under way. The shared directories hold names of
 * all clients. The client works on a copy of the model, since the shared one is what was last compared.
 *
 * A file is opened, written to a few times, synchronised or not, and closed; sometimes it is unlinked while
 * it is open, and written to all the same. Sizes are chosen around what matters to the servers: inline files,
 * the chunk size, 47,008 bytes, which fit no block. */
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "benchfs.h"

struct client {
    struct history *history;
    struct client_log *log;
    struct client_model model;
    benchfs *fs;
    unsigned index;
    uint64_t random;
    uint64_t pause_ns;
    bool synchronous;      /* the open file's writes are */
    unsigned char *buffer; /* FILE_MAX bytes */
    int status;            /* 0; 1: it is over; -1: something is wrong */
};

/* ---- the log ---- */

/* NULL: the client is to stop. */
static struct operation *begin(struct client *client, enum operation_kind kind, unsigned file, unsigned name)
{
    uint32_t count = atomic_load(&client->log->count);
    if (client->status != 0)
        return NULL;
    if (count == OPERATIONS_MAX || atomic_load(&client->history->ending)) {
        client->status = 1;
        return NULL;
    }
    struct operation *operation = &client->log->operations[count];
    *operation = (struct operation){
        .kind = (uint8_t)kind, .file = (uint16_t)file, .name = (uint16_t)name, .other = NONE, .victim = NONE};
    return operation;
}

static void start(struct client *client, struct operation *operation)
{
    atomic_store(&operation->state, OPERATION_STARTED);
    atomic_fetch_add(&client->log->count, 1);
}

/* True: it was acknowledged. */
static bool end(struct client *client, struct operation *operation, long long result)
{
    operation->ended = now_ns();
    operation->error = result < 0 ? errno : 0;
    bool killing = atomic_load(&client->history->killing);
    atomic_store(&operation->state, result < 0 ? OPERATION_FAILED : OPERATION_DONE);
    if (result < 0) {
        client->status = killing ? 1 : -1;
        if (!killing)
            fprintf(stderr, "# client %u: operation %u of kind %u: %s\n", client->index,
                    (unsigned)(operation - client->log->operations), operation->kind,
                    strerror(operation->error));
    }
    if (client->pause_ns > 0 && result >= 0)
        pause_ns(draw_below(&client->random, 2 * client->pause_ns));
    return result >= 0;
}

/* ---- choosing ---- */

static bool name_usable(const struct client *client, unsigned name)
{
    unsigned directory = name_directory(name);
    return directory == NONE || client->model.directories[directory];
}

/* A random name that stands for a file (taken), or for none; NONE: there is none. */
static unsigned choose_name(struct client *client, bool taken)
{
    for (unsigned i = 0; i < 40; i++) {
        unsigned name = (unsigned)draw_below(&client->random, NAMES);
        if (name_usable(client, name) && (client->model.names[name] != NONE) == taken)
            return name;
    }
    return NONE;
}

static uint64_t choose_length(struct client *client)
{
    static const uint64_t lengths[] = {1, 100, 3901, 4096, 4097, 8192, 47008, 47008, 65536, 65537, 131072};
    uint64_t kind = draw_below(&client->random, 40);
    if (kind == 0)
        return UINT64_C(1) << 20;
    if (kind < 12)
        return 1 + draw_below(&client->random, 20000);
    return lengths[draw_below(&client->random, sizeof lengths / sizeof *lengths)];
}

/* ---- calls on files ---- */

static void write_some(struct client *client, int fd, unsigned index, bool append)
{
    struct file *file = &client->model.files[index];
    uint64_t length = choose_length(client), offset = file->size;
    if (!append && draw_below(&client->random, 3) > 0)
        offset = draw_below(&client->random, file->size + (draw_below(&client->random, 8) == 0 ? 100000 : 1));
    if (offset + length > FILE_MAX)
        return;
    struct operation *operation = begin(client, OPERATION_WRITE, index, NONE);
    if (operation == NULL)
        return;
    operation->synchronous = client->synchronous;
    operation->version = ++file->versions;
    operation->offset = offset;
    operation->length = length;
    contents_fill(client->buffer, length, file->id, operation->version, offset);
    start(client, operation);
    ssize_t written = append ? benchfs_write(client->fs, fd, client->buffer, length)
                             : benchfs_pwrite(client->fs, fd, client->buffer, length, (off_t)offset);
    if (end(client, operation, written) && (uint64_t)written != length) {
        /* A server went down between the pieces: what was written is as open as a failed write. */
        atomic_store(&operation->state, OPERATION_FAILED);
        client->status = atomic_load(&client->history->killing) ? 1 : -1;
        if (client->status < 0)
            fprintf(stderr, "# client %u: only %zd of %llu bytes at %llu were written\n", client->index,
                    written, (unsigned long long)length, (unsigned long long)offset);
    }
    if (offset + length > file->size)
        file->size = offset + length;
}

static void truncate_file(struct client *client, int fd, unsigned index)
{
    struct file *file = &client->model.files[index];
    struct operation *operation = begin(client, OPERATION_TRUNCATE, index, NONE);
    if (operation == NULL)
        return;
    operation->length =
        draw_below(&client->random, 4) == 0
            ? 0
            : draw_below(&client->random, file->size + 1 + draw_below(&client->random, 3) * 3000);
    if (operation->length > FILE_MAX)
        operation->length = FILE_MAX;
    start(client, operation);
    end(client, operation, benchfs_ftruncate(client->fs, fd, (off_t)operation->length));
    file->size = operation->length;
}

static void synchronise(struct client *client, int fd, unsigned index)
{
    struct operation *operation = begin(client, OPERATION_SYNC, index, NONE);
    if (operation == NULL)
        return;
    start(client, operation);
    end(client, operation,
        draw_below(&client->random, 2) == 0 ? benchfs_fsync(client->fs, fd)
                                            : benchfs_fdatasync(client->fs, fd));
}

static void close_file(struct client *client, int fd, unsigned index)
{
    struct operation *operation = begin(client, OPERATION_CLOSE, index, NONE);
    if (operation == NULL)
        return;
    start(client, operation);
    end(client, operation, benchfs_close(client->fs, fd));
}

static void work_on(struct client *client, int fd, unsigned index, bool append)
{
    unsigned count = 1 + (unsigned)draw_below(&client->random, 3);
    for (unsigned i = 0; i < count; i++) {
        uint64_t choice = draw_below(&client->random, 10);
        if (choice < 7)
            write_some(client, fd, index, append);
        else if (choice < 8)
            truncate_file(client, fd, index);
        else
            synchronise(client, fd, index);
    }
    if (draw_below(&client->random, 3) == 0)
        synchronise(client, fd, index);
}

static void unlink_name(struct client *client, unsigned name)
{
    char path[64];
    unsigned index = client->model.names[name];
    struct operation *operation = begin(client, OPERATION_UNLINK, index, name);
    if (operation == NULL)
        return;
    name_path(client->index, name, path);
    start(client, operation);
    end(client, operation, benchfs_unlink(client->fs, path));
    client->model.names[name] = NONE;
    client->model.files[index].names--;
}

static void write_to(struct client *client, unsigned name)
{
    char path[64];
    unsigned index = client->model.names[name];
    bool append = draw_below(&client->random, 4) == 0;
    if (client->status != 0)
        return;
    name_path(client->index, name, path);
    client->synchronous = draw_below(&client->random, 8) == 0;
    int synchronous = draw_below(&client->random, 2) == 0 ? O_SYNC : O_DSYNC;
    int fd = benchfs_open(client->fs, path,
                          O_RDWR | (append ? O_APPEND : 0) | (client->synchronous ? synchronous : 0));
    if (fd < 0) {
        client->status = atomic_load(&client->history->killing) ? 1 : -1;
        if (client->status < 0)
            fprintf(stderr, "# client %u: open %s: %s\n", client->index, path, strerror(errno));
        return;
    }
    if (draw_below(&client->random, 12) == 0)
        unlink_name(client, name);
    work_on(client, fd, index, append);
    close_file(client, fd, index);
    client->synchronous = false;
}

static void create_file(struct client *client)
{
    char path[64];
    unsigned name = choose_name(client, false), index = 0, alive = 0;
    for (unsigned i = 0; i < FILES; i++)
        alive += client->model.files[i].names > 0;
    while (index < FILES && client->model.files[index].used)
        index++;
    if (index == FILES && alive == 0)
        client->status = 1; /* all numbers of the round are used up, so there is nothing left to work on */
    if (name == NONE || index == FILES || alive >= FILES_ALIVE)
        return;
    struct operation *operation = begin(client, OPERATION_CREATE, index, name);
    if (operation == NULL)
        return;
    struct file *file = &client->model.files[index];
    *file = (struct file){
        .used = true, .names = 1, .id = client->index << 28 | ++client->model.files_made, .mode = 0644};
    operation->version = file->id;
    client->model.names[name] = (uint16_t)index;
    name_path(client->index, name, path);
    start(client, operation);
    int fd = benchfs_open(client->fs, path, O_CREAT | O_EXCL | O_RDWR, 0644);
    struct stat status;
    if (fd >= 0 && benchfs_fstat(client->fs, fd, &status) == 0)
        operation->number = status.st_ino;
    if (!end(client, operation, fd))
        return;
    work_on(client, fd, index, false);
    close_file(client, fd, index);
}

static void change_mode(struct client *client, unsigned name)
{
    char path[64];
    struct operation *operation = begin(client, OPERATION_MODE, client->model.names[name], name);
    if (operation == NULL)
        return;
    operation->length = 0600 + draw_below(&client->random, 0100);
    name_path(client->index, name, path);
    start(client, operation);
    end(client, operation, benchfs_chmod(client->fs, path, (mode_t)operation->length));
}

static void set_xattr(struct client *client, unsigned name)
{
    char path[64];
    unsigned char value[XATTR_MAX];
    unsigned index = client->model.names[name];
    struct file *file = &client->model.files[index];
    struct operation *operation = begin(client, OPERATION_XATTR, index, name);
    if (operation == NULL)
        return;
    bool removing = file->xattr != 0 && draw_below(&client->random, 4) == 0;
    operation->version = removing ? 0 : ++file->versions;
    size_t length = removing ? 0 : xattr_value(file->id, operation->version, value);
    name_path(client->index, name, path);
    start(client, operation);
    end(client, operation,
        removing ? benchfs_removexattr(client->fs, path, XATTR_NAME)
                 : benchfs_setxattr(client->fs, path, XATTR_NAME, value, length, 0));
    file->xattr = operation->version;
}

/* ---- calls on names ---- */

static void link_name(struct client *client, unsigned name)
{
    char path[64], other_path[64];
    unsigned other = choose_name(client, false);
    struct operation *operation =
        other == NONE ? NULL : begin(client, OPERATION_LINK, client->model.names[name], name);
    if (operation == NULL)
        return;
    operation->other = (uint16_t)other;
    name_path(client->index, name, path);
    name_path(client->index, other, other_path);
    start(client, operation);
    end(client, operation, benchfs_link(client->fs, path, other_path));
    client->model.names[other] = client->model.names[name];
    client->model.files[operation->file].names++;
}

static void rename_name(struct client *client, unsigned name)
{
    char path[64], other_path[64];
    unsigned other = choose_name(client, draw_below(&client->random, 3) == 0);
    if (other == NONE || client->model.names[other] == client->model.names[name])
        return;
    struct operation *operation = begin(client, OPERATION_RENAME, client->model.names[name], name);
    if (operation == NULL)
        return;
    operation->other = (uint16_t)other;
    operation->victim = client->model.names[other];
    name_path(client->index, name, path);
    name_path(client->index, other, other_path);
    start(client, operation);
    end(client, operation, benchfs_rename(client->fs, path, other_path));
    if (operation->victim != NONE)
        client->model.files[operation->victim].names--;
    client->model.names[other] = operation->file;
    client->model.names[name] = NONE;
}

static void sync_directory(struct client *client, unsigned name)
{
    char path[64];
    struct operation *operation = begin(client, OPERATION_SYNC_DIRECTORY, NONE, name);
    if (operation == NULL)
        return;
    parent_path(client->index, name, path);
    int fd = benchfs_open(client->fs, path, O_RDONLY | O_DIRECTORY);
    start(client, operation);
    end(client, operation, fd < 0 ? fd : benchfs_fsync(client->fs, fd));
    if (fd >= 0)
        benchfs_close(client->fs, fd);
}

/* Makes an own directory, or removes it with what is in it. */
static void change_directory(struct client *client)
{
    char path[64];
    unsigned directory = (unsigned)draw_below(&client->random, DIRECTORIES_OWN);
    bool there = client->model.directories[directory];
    for (unsigned name = NAMES_SHARED; there && name < NAMES; name++)
        if (name_directory(name) == directory && client->model.names[name] != NONE)
            unlink_name(client, name);
    struct operation *operation =
        begin(client, there ? OPERATION_REMOVE_DIRECTORY : OPERATION_MAKE_DIRECTORY, NONE, directory);
    if (operation == NULL)
        return;
    directory_path(client->index, directory, path);
    start(client, operation);
    end(client, operation, there ? benchfs_rmdir(client->fs, path) : benchfs_mkdir(client->fs, path, 0755));
    client->model.directories[directory] = !there;
}

/* One server's journal holds all that these change. */
static void step_within_servers(struct client *client)
{
    uint64_t choice = draw_below(&client->random, 100);
    unsigned name = choose_name(client, true);
    if (choice < 28 || name == NONE)
        create_file(client);
    else if (choice < 70)
        write_to(client, name);
    else if (choice < 80)
        unlink_name(client, name);
    else if (choice < 87)
        change_mode(client, name);
    else if (choice < 94)
        set_xattr(client, name);
    else
        sync_directory(client, name);
}

static void step(struct client *client)
{
    uint64_t choice = draw_below(&client->random, 100);
    unsigned name = choose_name(client, true);
    if (choice < 28 || name == NONE)
        choice < 4 ? change_directory(client) : create_file(client);
    else if (choice < 60)
        write_to(client, name);
    else if (choice < 68)
        unlink_name(client, name);
    else if (choice < 78)
        rename_name(client, name);
    else if (choice < 84)
        link_name(client, name);
    else if (choice < 89)
        change_mode(client, name);
    else if (choice < 94)
        set_xattr(client, name);
    else
        sync_directory(client, name);
}

int workload_run(struct history *history, unsigned index, uint64_t seed, uint64_t pause_ns)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return -1;
    client->history = history;
    client->log = &history->log[index];
    client->model = history->model[index];
    client->index = index;
    client->random = seed;
    client->pause_ns = pause_ns;
    client->buffer = malloc(FILE_MAX);
    client->fs = benchfs_connect(NULL);
    if (client->fs == NULL || client->buffer == NULL) {
        client->status = atomic_load(&history->killing) ? 1 : -1;
        if (client->status < 0)
            fprintf(stderr, "# client %u: connect: %s\n", index, benchfs_error());
    }
    while (client->status == 0)
        history->within_servers ? step_within_servers(client) : step(client);
    int status = client->status < 0 ? -1 : 0;
    free(client->buffer);
    free(client);
    return status; /* connected: nobody closes what is open */
}

/* ---- before and after ---- */

int workload_prepare(void)
{
    benchfs *fs = benchfs_connect(NULL);
    int status = fs == NULL ? -1 : 0;
    for (unsigned i = 0; i < SHARED_DIRECTORIES && status == 0; i++) {
        char path[64];
        parent_path(0, i, path);
        status = benchfs_mkdir(fs, path, 0755);
    }
    int fd = status == 0 ? benchfs_open(fs, "/", O_RDONLY | O_DIRECTORY) : -1;
    if (fd >= 0 && benchfs_fsync(fs, fd) == 0) {
        benchfs_disconnect(fs);
        return 0;
    }
    fprintf(stderr, "# cannot make the directories: %s\n", fs == NULL ? benchfs_error() : strerror(errno));
    return -1;
}

static int failed(const char *path)
{
    fprintf(stderr, "# cannot remove %s: %s\n", path, strerror(errno));
    return -1;
}

int workload_remove_all(struct history *history)
{
    char path[64];
    int status = 0;
    benchfs *fs = benchfs_connect(NULL);
    if (fs == NULL)
        return failed(benchfs_error());
    for (unsigned client = 0; client < CLIENTS; client++) {
        const struct client_model *model = &history->model[client];
        for (unsigned name = 0; name < NAMES; name++) {
            name_path(client, name, path);
            if (model->names[name] != NONE && benchfs_unlink(fs, path) != 0)
                status = failed(path);
        }
        for (unsigned directory = 0; directory < DIRECTORIES_OWN; directory++) {
            directory_path(client, directory, path);
            if (model->directories[directory] && benchfs_rmdir(fs, path) != 0)
                status = failed(path);
        }
    }
    for (unsigned i = 0; i < SHARED_DIRECTORIES; i++) {
        parent_path(0, i, path);
        if (benchfs_rmdir(fs, path) != 0)
            status = failed(path);
    }
    benchfs_disconnect(fs);
    return status;
}
