/* cp: between the local file system and BenchFS, or within BenchFS.
 *
 * The source is walked depth first on the main thread. Directories are made as they are met; files and links
 * are jobs of a pool of tasks, FILES_WIDTH at a time, so the round trips of small files overlap. The bytes of
 * a file go in blocks of BLOCK_SIZE through a bounded set of buffers that all files share: a large file has
 * several blocks in flight, and memory does not depend on how much is copied.
 *
 * A directory gets its final mode and times when the last thing in it is done: it counts what is pending,
 * plus one for its walk. A file whose copy fails, also because the user interrupts, is removed from the
 * destination: what is there under its name is either the whole copy or nothing. Errors are reported for each
 * file, and the rest is copied. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/tree.h"

#define FILES_WIDTH 16
#define BLOCK_SIZE (4u << 20)
#define BLOCKS 8

struct copy {
    struct loop *loop;
    struct tree from, to;
    struct pool files;
    struct semaphore blocks;
    char *spare[BLOCKS]; /* free buffers; may be NULL: not allocated yet */
    uint32_t spare_count;
    bool recursive;
    bool failed;
    uint64_t target_identity[2]; /* of the topmost directory made, so that it is not copied into itself */
    bool has_target;
};

/* A directory of the destination that is being filled. */
struct directory {
    struct copy *copy;
    struct directory *parent;
    uint32_t pending;
    struct tree_status status; /* of its source */
    char path[];
};

struct job {
    struct copy *copy;
    struct directory *directory; /* NULL at the top */
    struct tree_status status;
    char *source;
    char *target;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void report(struct copy *copy, const struct tree *tree, const char *what, const char *path, int status)
{
    copy->failed = true;
    if (status != -ECANCELED || !interrupted)
        cli_error("cannot %s \"%s%s\": %s", what, tree->operations->prefix, path, status_text(status));
}

/* ---- buffers ---- */

static char *block_acquire(struct copy *copy)
{
    semaphore_acquire(copy->loop, &copy->blocks, 1, 0);
    char *block = copy->spare[--copy->spare_count];
    return block != NULL ? block : malloc(BLOCK_SIZE);
}

static void block_release(struct copy *copy, char *block)
{
    copy->spare[copy->spare_count++] = block;
    semaphore_release(copy->loop, &copy->blocks, 1);
}

/* ---- one file ---- */

struct transfer {
    struct job *job;
    struct tree_file from, to;
    struct wait_group blocks;
    int status; /* of the first failure */
    const char *what;
    const struct tree *where;
    const char *path;
};

struct block {
    struct transfer *transfer;
    char *bytes;
    size_t length;
    uint64_t offset;
};

static void transfer_fail(struct transfer *transfer, bool reading, int status)
{
    if (transfer->status != 0)
        return;
    const struct job *job = transfer->job;
    transfer->status = status;
    transfer->what = reading ? "read" : "write";
    transfer->where = reading ? &job->copy->from : &job->copy->to;
    transfer->path = reading ? job->source : job->target;
}

/* Moves one block; bytes it read more or less than the source had at first show in block->length. */
static void block_move(struct block *block)
{
    struct transfer *transfer = block->transfer;
    struct copy *copy = transfer->job->copy;
    size_t length = 0;
    while (length < block->length) {
        ssize_t count = copy->from.operations->read(&copy->from, &transfer->from, block->bytes + length,
                                                    block->length - length, block->offset + length);
        if (count < 0) {
            transfer_fail(transfer, true, (int)count);
            return;
        }
        if (count == 0)
            break;
        length += (size_t)count;
    }
    block->length = length;
    int status = copy->to.operations->write(&copy->to, &transfer->to, block->bytes, length, block->offset);
    if (status != 0)
        transfer_fail(transfer, false, status);
    else
        progress_add(0, length);
}

static void block_run(void *argument)
{
    struct block block = *(struct block *)argument;
    free(argument);
    struct copy *copy = block.transfer->job->copy;
    block_move(&block);
    block_release(copy, block.bytes);
    wait_group_done(copy->loop, &block.transfer->blocks);
}

static int block_start(struct transfer *transfer, uint64_t offset, size_t length)
{
    struct copy *copy = transfer->job->copy;
    struct block *block = malloc(sizeof(*block));
    if (block == NULL)
        return -ENOMEM;
    *block = (struct block){transfer, block_acquire(copy), length, offset};
    wait_group_add(&transfer->blocks, 1);
    if (block->bytes != NULL && task_spawn(copy->loop, block_run, block) == 0)
        return 0;
    wait_group_done(copy->loop, &transfer->blocks);
    block_release(copy, block->bytes);
    free(block);
    return -ENOMEM;
}

/* A file that tells its size is read up to there, without a request that only finds the end. Of the others,
 * the part known from the listing goes in parallel, what follows one block after another. */
static void transfer_bytes(struct transfer *transfer)
{
    struct copy *copy = transfer->job->copy;
    uint64_t end = transfer->from.size;
    uint64_t known = end != UINT64_MAX ? end : transfer->job->status.size;
    uint64_t offset = 0;
    wait_group_init(&transfer->blocks);
    for (; offset + BLOCK_SIZE < known && transfer->status == 0; offset += BLOCK_SIZE) {
        int status = interrupted ? -ECANCELED : block_start(transfer, offset, BLOCK_SIZE);
        if (status != 0)
            transfer_fail(transfer, false, status);
    }
    /* The end of the file, or a small file whole, needs no task of its own. */
    struct block last = {.transfer = transfer};
    for (size_t asked = 0; transfer->status == 0 && last.length == asked && offset < end;
         offset += last.length) {
        asked = end - offset < BLOCK_SIZE ? (size_t)(end - offset) : BLOCK_SIZE;
        last.offset = offset;
        last.length = asked;
        last.bytes = block_acquire(copy);
        if (last.bytes == NULL)
            transfer_fail(transfer, false, -ENOMEM);
        else if (interrupted)
            transfer_fail(transfer, false, -ECANCELED);
        else
            block_move(&last);
        block_release(copy, last.bytes);
    }
    wait_group_wait(copy->loop, &transfer->blocks, 0);
}

/* So much between two looks at the progress bar and at whether the user has had enough. */
#define SERVER_STEP (UINT64_C(256) << 20)

/* Both files are in BenchFS: the servers move the bytes among themselves. */
static void transfer_on_servers(struct transfer *transfer)
{
    struct client *client = transfer->job->copy->to.client;
    uint64_t offset = 0;
    while (transfer->status == 0 && offset < transfer->from.size) {
        ssize_t count = interrupted ? -ECANCELED
                                    : client_copy(client, &transfer->from.remote, offset,
                                                  &transfer->to.remote, offset, SERVER_STEP);
        if (count < 0)
            transfer_fail(transfer, false, (int)count);
        if (count <= 0)
            break; /* 0: the source was cut meanwhile */
        progress_add(0, (uint64_t)count);
        offset += (uint64_t)count;
    }
}

static void copy_file(struct job *job)
{
    struct copy *copy = job->copy;
    struct transfer transfer = {.job = job};
    int status = copy->from.operations->open(&copy->from, job->source, &transfer.from);
    if (status != 0) {
        report(copy, &copy->from, "open", job->source, status);
        return;
    }
    status = copy->to.operations->create(&copy->to, job->target, &transfer.to);
    if (status != 0) {
        report(copy, &copy->to, "create", job->target, status);
        copy->from.operations->close(&copy->from, &transfer.from);
        return;
    }
    if (copy->from.operations == copy->to.operations && copy->to.client != NULL)
        transfer_on_servers(&transfer);
    else
        transfer_bytes(&transfer);
    copy->from.operations->close(&copy->from, &transfer.from);
    status = copy->to.operations->close(&copy->to, &transfer.to);
    if (status == 0 && transfer.status == 0)
        status = copy->to.operations->finish(&copy->to, job->target, &job->status);
    if (status != 0)
        transfer_fail(&transfer, false, status);
    if (transfer.status == 0) {
        progress_add(1, 0);
        return;
    }
    report(copy, transfer.where, transfer.what, transfer.path, transfer.status);
    status = copy->to.operations->remove(&copy->to, job->target);
    if (status != 0)
        report(copy, &copy->to, "remove the incomplete", job->target, status);
}

static void copy_link(struct job *job)
{
    struct copy *copy = job->copy;
    char target[SYMLINK_LENGTH_MAX + 1];
    int status = copy->from.operations->read_link(&copy->from, job->source, target, sizeof(target));
    if (status != 0) {
        report(copy, &copy->from, "read link", job->source, status);
        return;
    }
    status = copy->to.operations->make_link(&copy->to, target, job->target);
    if (status == -EEXIST) {
        status = copy->to.operations->remove(&copy->to, job->target);
        if (status == 0)
            status = copy->to.operations->make_link(&copy->to, target, job->target);
    }
    if (status == 0)
        status = copy->to.operations->finish(&copy->to, job->target, &job->status);
    if (status != 0)
        report(copy, &copy->to, "make link", job->target, status);
    else
        progress_add(1, 0);
}

/* ---- the tree ---- */

static void directory_done(struct directory *directory)
{
    while (directory != NULL && --directory->pending == 0) {
        struct copy *copy = directory->copy;
        struct directory *parent = directory->parent;
        int status = copy->to.operations->finish(&copy->to, directory->path, &directory->status);
        if (status != 0)
            report(copy, &copy->to, "set attributes of", directory->path, status);
        free(directory);
        directory = parent;
    }
}

static void job_free(struct job *job)
{
    free(job->source);
    free(job->target);
    free(job);
}

static void job_run(void *argument)
{
    struct job *job = argument;
    struct directory *directory = job->directory;
    if (interrupted)
        job->copy->failed = true;
    else if (S_ISLNK(job->status.mode))
        copy_link(job);
    else
        copy_file(job);
    job_free(job);
    directory_done(directory);
}

static void start_job(struct copy *copy, struct directory *directory, const char *source, const char *target,
                      const struct tree_status *status)
{
    struct job *job = malloc(sizeof(*job));
    if (job != NULL) {
        *job = (struct job){copy, directory, *status, strdup(source), strdup(target)};
        if (directory != NULL)
            directory->pending++;
        if (job->source != NULL && job->target != NULL && pool_start(&copy->files, job_run, job) == 0)
            return;
        if (directory != NULL)
            directory->pending--;
        job_free(job);
    }
    report(copy, &copy->from, "copy", source, -ENOMEM);
}

static void copy_any(struct copy *copy, struct directory *directory, const char *source, const char *target,
                     const struct tree_status *status);

static void copy_entries(struct copy *copy, struct directory *directory, const char *source,
                         const struct tree_listing *listing)
{
    char *child = malloc(CLI_PATH_SIZE);
    char *child_target = malloc(CLI_PATH_SIZE);
    int status = child == NULL || child_target == NULL ? -ENOMEM : 0;
    for (size_t i = 0; i < listing->count && status == 0 && !interrupted; i++) {
        const struct tree_entry *entry = &listing->entries[i];
        status = path_join(source, entry->name, child);
        if (status == 0)
            status = path_join(directory->path, entry->name, child_target);
        if (status == 0)
            copy_any(copy, directory, child, child_target, &entry->status);
    }
    if (status != 0)
        report(copy, &copy->from, "copy all of", source, status);
    free(child);
    free(child_target);
}

static void copy_directory(struct copy *copy, struct directory *parent, const char *source,
                           const char *target, const struct tree_status *status)
{
    struct tree_status there;
    int result = copy->to.operations->make_directory(&copy->to, target);
    int found =
        result == 0 || result == -EEXIST ? copy->to.operations->status(&copy->to, target, true, &there) : 0;
    if (result == -EEXIST && found == 0)
        result = S_ISDIR(there.mode) ? 0 : -ENOTDIR;
    else if (result == 0)
        result = found;
    struct directory *directory = NULL;
    if (result == 0 && (directory = malloc(sizeof(*directory) + strlen(target) + 1)) == NULL)
        result = -ENOMEM;
    if (result != 0) {
        report(copy, &copy->to, "make directory", target, result);
        return;
    }
    if (!copy->has_target) {
        copy->has_target = true;
        memcpy(copy->target_identity, there.identity, sizeof(there.identity));
    }
    *directory = (struct directory){.copy = copy, .parent = parent, .pending = 1, .status = *status};
    strcpy(directory->path, target);
    if (parent != NULL)
        parent->pending++;
    struct tree_listing listing = {0};
    result = copy->from.operations->list(&copy->from, source, &listing);
    if (result != 0)
        report(copy, &copy->from, "list", source, result);
    else
        copy_entries(copy, directory, source, &listing);
    tree_listing_free(&listing);
    directory_done(directory);
}

static void copy_any(struct copy *copy, struct directory *directory, const char *source, const char *target,
                     const struct tree_status *status)
{
    if (S_ISREG(status->mode) || S_ISLNK(status->mode)) {
        start_job(copy, directory, source, target, status);
    } else if (!S_ISDIR(status->mode)) {
        cli_error("will not copy \"%s%s\": it is a device, socket or pipe", copy->from.operations->prefix,
                  source);
        copy->failed = true;
    } else if (copy->from.operations == copy->to.operations && copy->has_target &&
               memcmp(status->identity, copy->target_identity, sizeof(status->identity)) == 0) {
        cli_error("will not copy \"%s%s\" into itself", copy->from.operations->prefix, source);
        copy->failed = true;
    } else {
        copy_directory(copy, directory, source, target, status);
    }
}

/* Adds up what there is, for the progress line. Errors show when the copy meets them. */
static void measure(struct copy *copy, const char *path, const struct tree_status *status, uint64_t *files,
                    uint64_t *bytes)
{
    if (!S_ISDIR(status->mode)) {
        *files += 1;
        *bytes += S_ISREG(status->mode) ? status->size : 0;
        return;
    }
    struct tree_listing listing = {0};
    char *child = malloc(CLI_PATH_SIZE);
    if (child != NULL && copy->from.operations->list(&copy->from, path, &listing) == 0)
        for (size_t i = 0; i < listing.count && !interrupted; i++)
            if (path_join(path, listing.entries[i].name, child) == 0)
                measure(copy, child, &listing.entries[i].status, files, bytes);
    free(child);
    tree_listing_free(&listing);
}

/* ---- the command line ---- */

/* target is a directory: the copy goes into it under the source's name. */
static int into_directory(const char *source, const char *target, char *path)
{
    const char *base;
    char name[NAME_LENGTH_MAX + 1];
    size_t length = path_base(source, &base);
    if (length > NAME_LENGTH_MAX)
        return -ENAMETOOLONG;
    memcpy(name, base, length);
    name[length] = '\0';
    if (strcmp(name, "/") == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return path_join(target, "", path);
    return path_join(target, name, path);
}

static void copy_source(struct copy *copy, const char *source, const char *target, bool into)
{
    struct tree_status status, there;
    int result = copy->from.operations->status(&copy->from, source, !copy->recursive, &status);
    if (result != 0) {
        report(copy, &copy->from, "copy", source, result);
        return;
    }
    if (S_ISDIR(status.mode) && !copy->recursive) {
        cli_error("\"%s%s\" is a directory: use -r to copy it and all in it", copy->from.operations->prefix,
                  source);
        copy->failed = true;
        return;
    }
    char *path = malloc(CLI_PATH_SIZE);
    result = path == NULL ? -ENOMEM : into ? into_directory(source, target, path) : 0;
    if (result == 0 && !into)
        result = strlen(target) < CLI_PATH_SIZE ? 0 : -ENAMETOOLONG;
    if (result == 0 && !into)
        strcpy(path, target);
    if (result != 0) {
        report(copy, &copy->to, "copy to", target, result);
    } else if (copy->from.operations == copy->to.operations &&
               copy->to.operations->status(&copy->to, path, true, &there) == 0 &&
               memcmp(there.identity, status.identity, sizeof(there.identity)) == 0) {
        cli_error("\"%s%s\" and \"%s%s\" are the same file", copy->from.operations->prefix, source,
                  copy->to.operations->prefix, path);
        copy->failed = true;
    } else {
        uint64_t files = 0, bytes = 0;
        if (progress_visible())
            measure(copy, source, &status, &files, &bytes);
        progress_begin(files, bytes);
        copy->has_target = false;
        copy_any(copy, NULL, source, path, &status);
        pool_wait(&copy->files);
        progress_end();
    }
    free(path);
}

static void copy_all(struct copy *copy, char **sources, int count, const char *target)
{
    struct tree_status status;
    int result = copy->to.operations->status(&copy->to, target, true, &status);
    bool into = result == 0 && S_ISDIR(status.mode);
    if (count > 1 && !into) {
        report(copy, &copy->to, "copy several files to", target, result != 0 ? result : -ENOTDIR);
        return;
    }
    for (int i = 0; i < count && !interrupted; i++)
        copy_source(copy, copy->from.client != NULL ? path_parse(sources[i]) : sources[i], target, into);
    if (interrupted)
        cli_error("interrupted");
}

/* Which side an argument is on; all sources must be on the same one. Returns CLI_OK or CLI_USAGE. */
static int choose_sides(char **arguments, int count, bool *from_remote, bool *to_remote)
{
    for (int i = 0; i < count; i++) {
        bool remote = path_has_prefix(arguments[i]);
        if (remote && path_parse(arguments[i]) == NULL)
            return CLI_USAGE;
        if (arguments[i][0] == '\0')
            return cli_usage("empty path");
        if (i == count - 1)
            *to_remote = remote;
        else if (i > 0 && remote != *from_remote)
            return cli_usage("sources are on both sides");
        else
            *from_remote = remote;
    }
    if (!*from_remote && !*to_remote)
        return cli_usage("neither side is in BenchFS: write \"benchfs:/path\" for a path inside it");
    return CLI_OK;
}

static int run_cp(int argc, char **argv)
{
    static const struct option options[] = {{"recursive", no_argument, NULL, 'r'}, CLI_HELP, {0}};
    struct copy copy = {0};
    bool from_remote = false, to_remote = false;
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":rR", options, &result)) != -1;) {
        if (option != 'r' && option != 'R')
            return result;
        copy.recursive = true;
    }
    if (argc - optind < 2)
        return cli_usage("a source and a target are needed");
    result = choose_sides(argv + optind, argc - optind, &from_remote, &to_remote);
    if (result != CLI_OK)
        return result;
    struct session session;
    if (session_open(&session) != 0)
        return CLI_FAILED;
    struct tree remote = {&tree_remote_operations, session.client};
    struct tree local = {&tree_local_operations, NULL};
    copy.loop = session.loop;
    copy.from = from_remote ? remote : local;
    copy.to = to_remote ? remote : local;
    copy.spare_count = BLOCKS;
    semaphore_init(&copy.blocks, BLOCKS);
    pool_init(&copy.files, session.loop, FILES_WIDTH);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    const char *target = argv[argc - 1];
    copy_all(&copy, argv + optind, argc - 1 - optind, to_remote ? path_parse(target) : target);
    for (uint32_t i = 0; i < BLOCKS; i++)
        free(copy.spare[i]);
    session_close(&session);
    return copy.failed || interrupted ? CLI_FAILED : CLI_OK;
}

const struct verb verb_cp = {
    .name = "cp",
    .usage = "[-r] SOURCE... TARGET",
    .help = "Copy files and directories into, out of and within BenchFS",
    .text = "\"benchfs:/path\" is inside BenchFS, anything else a local path:\n"
            "  benchfs cp -r /usr/include benchfs:/inc\n"
            "  benchfs cp -r benchfs:/inc /tmp/out\n"
            "Modes, times and symbolic links are kept. An incomplete copy of a file is removed.\n"
            "  -r, --recursive  copy directories with all that is in them\n",
    .run = run_cp,
};
