/* Three steps for each client: which of its calls were promised to last; what each name, directory and file
 * may therefore be; what it is.
 *
 * An object's calls are known in order. Let the last of them that was promised be p. Then the object is in
 * the state after p, or in one that a later call made or was making. For contents that holds byte by byte:
 * each is as the last promised call left it or as a later one wrote it; so a zero or somebody else's byte
 * where promised bytes belong is found, and bytes of writes that were under way are not mistaken for damage.
 *
 * For a file's links the states are taken in order, not for each name alone: a rename or a link and unlink
 * never lose the file on the way.
 *
 * What is found is the beginning of the next round: recovered is what had reached the disk, so it lasts. */
#include "verify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchfs.h"

#define POSSIBLE_MAX 64u
#define COMPLAINTS_MAX 20u

/* What a name may stand for. */
struct possible {
    uint16_t count;
    uint16_t files[POSSIBLE_MAX];
};

struct checker {
    struct history *history;
    const struct rules *rules;
    benchfs *fs;
    unsigned index; /* of the client whose things are looked at */
    struct client_model *model;
    struct client_log *log;
    uint32_t count;               /* of the log's operations */
    struct file files[FILES];     /* the model's and those made since, as created */
    bool hidden[DIRECTORIES_OWN]; /* gone, and rightly so: what is in it cannot be asked for */
    uint16_t found[NAMES];
    uint32_t entries[SHARED_DIRECTORIES]; /* found by name, of all clients */
    unsigned char *bytes, *wanted, *good; /* FILE_MAX + 1 each */
    unsigned complaints;
    uint64_t random;
};

__attribute__((format(printf, 2, 3))) static void complain(struct checker *checker, const char *format, ...)
{
    va_list arguments;
    if (++checker->complaints > COMPLAINTS_MAX)
        return;
    fprintf(stderr, "# client %u: ", checker->index);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static const char *const kind_names[] = {
    "create", "write",  "truncate",          "mode",  "xattr", "sync", "close", "link",
    "unlink", "rename", "sync of directory", "mkdir", "rmdir"};

/* What the client did to a file, or to names in a directory of its own, since the last comparison. */
static void tell(const struct checker *checker, unsigned file)
{
    for (uint32_t i = 0; i < checker->count && checker->complaints <= COMPLAINTS_MAX; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (operation->file != file && operation->victim != file)
            continue;
        fprintf(stderr, "#   %4u %s %s: %lld ms before the crash%s%s%s; name %d, other %d, %llu + %llu\n", i,
                kind_names[operation->kind],
                operation->state == OPERATION_DONE     ? "done"
                : operation->state == OPERATION_FAILED ? "failed"
                                                       : "started",
                ((long long)checker->rules->crash - (long long)operation->ended) / 1000000,
                operation->promised ? ", promised" : "",
                operation->promised_name ? ", its name promised" : "",
                operation->promised_other ? ", its new name promised" : "",
                operation->name == NONE ? -1 : (int)operation->name,
                operation->other == NONE ? -1 : (int)operation->other, (unsigned long long)operation->offset,
                (unsigned long long)operation->length);
    }
}

/* ---- promises ---- */

static bool acknowledged(const struct operation *operation)
{
    return operation->state == OPERATION_DONE;
}

/* Whether it changes what that name stands for. */
static bool changes_name(const struct operation *operation, unsigned name)
{
    switch (operation->kind) {
    case OPERATION_CREATE:
    case OPERATION_UNLINK:
        return operation->name == name;
    case OPERATION_LINK:
        return operation->other == name;
    case OPERATION_RENAME:
        return operation->name == name || operation->other == name;
    default:
        return false;
    }
}

static void promise_name(struct operation *operation, unsigned name)
{
    if (operation->other == name)
        operation->promised_other = true;
    else
        operation->promised_name = true;
}

static bool name_promised(const struct operation *operation, unsigned name)
{
    return operation->promised ||
           (operation->other == name ? operation->promised_other : operation->promised_name);
}

/* fsync, and close where it promises as much: the file, and the name that it was made under, since that is
 * kept beside it. */
static void promise_file(struct checker *checker, uint32_t before, unsigned file)
{
    unsigned made_as = NONE;
    for (uint32_t i = before; i-- > 0;) {
        struct operation *operation = &checker->log->operations[i];
        if (made_as != NONE && changes_name(operation, made_as))
            promise_name(operation, made_as);
        if (operation->file != file)
            continue;
        if (operation->kind == OPERATION_WRITE || operation->kind == OPERATION_TRUNCATE ||
            operation->kind == OPERATION_MODE || operation->kind == OPERATION_XATTR)
            operation->promised = true;
        if (operation->kind == OPERATION_CREATE) {
            made_as = operation->name;
            operation->promised = true;
        }
    }
}

/* fsync of a directory: all names in it. */
static void promise_directory(struct checker *checker, uint32_t before, unsigned name)
{
    for (uint32_t i = 0; i < before; i++) {
        struct operation *operation = &checker->log->operations[i];
        if ((operation->kind == OPERATION_MAKE_DIRECTORY || operation->kind == OPERATION_REMOVE_DIRECTORY) &&
            name_directory(name) == NONE && operation->name % SHARED_DIRECTORIES == name % SHARED_DIRECTORIES)
            operation->promised = true;
        if (changes_name(operation, operation->name) && same_directory(operation->name, name))
            promise_name(operation, operation->name);
        if (operation->other != NONE && changes_name(operation, operation->other) &&
            same_directory(operation->other, name))
            promise_name(operation, operation->other);
    }
}

static void work_out_promises(struct checker *checker)
{
    const struct rules *rules = checker->rules;
    for (uint32_t i = 0; i < checker->count; i++) {
        struct operation *operation = &checker->log->operations[i];
        if (!acknowledged(operation))
            continue;
        checker->history->acknowledged++;
        if (rules->clean || rules->level == LEVEL_WRITE ||
            (rules->age_ns > 0 && operation->ended + rules->age_ns < rules->crash) ||
            (rules->level == LEVEL_CLOSE && operation->kind == OPERATION_MAKE_DIRECTORY))
            operation->promised = true;
        if (operation->kind == OPERATION_SYNC ||
            (operation->kind == OPERATION_CLOSE && rules->level == LEVEL_CLOSE))
            promise_file(checker, i, operation->file);
        if (operation->synchronous)
            promise_file(checker, i + 1, operation->file);
        if (operation->kind == OPERATION_SYNC_DIRECTORY)
            promise_directory(checker, i, operation->name);
    }
    for (uint32_t i = 0; i < checker->count; i++)
        checker->history->promised += checker->log->operations[i].promised;
}

/* ---- names ---- */

static void possible_add(struct possible *possible, uint16_t file, bool certain)
{
    if (certain)
        possible->count = 0;
    for (unsigned i = 0; i < possible->count; i++)
        if (possible->files[i] == file)
            return;
    if (possible->count < POSSIBLE_MAX)
        possible->files[possible->count++] = file;
}

static struct possible possible_files(const struct checker *checker, unsigned name)
{
    struct possible possible = {.count = 1, .files = {checker->model->names[name]}};
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (!changes_name(operation, name))
            continue;
        bool gone = operation->kind == OPERATION_UNLINK ||
                    (operation->kind == OPERATION_RENAME && operation->name == name);
        possible_add(&possible, gone ? NONE : operation->file,
                     acknowledged(operation) && name_promised(operation, name));
    }
    return possible;
}

static bool is_possible(const struct possible *possible, uint16_t file)
{
    for (unsigned i = 0; i < possible->count; i++)
        if (possible->files[i] == file)
            return true;
    return false;
}

/* Which of the client's files has that number; one that nobody was told the number of is known by its name.
 */
static uint16_t file_of_number(struct checker *checker, const struct possible *possible, uint64_t number)
{
    for (uint16_t i = 0; i < FILES; i++)
        if (checker->files[i].used && checker->files[i].number == number)
            return i;
    for (unsigned i = 0; i < possible->count; i++) {
        uint16_t file = possible->files[i];
        if (file != NONE && checker->files[file].number == 0) {
            checker->files[file].number = number;
            return file;
        }
    }
    return NONE;
}

static void describe(const struct checker *checker, const struct possible *possible, char text[200])
{
    size_t length = 0;
    for (unsigned i = 0; i < possible->count && length < 160; i++) {
        uint16_t file = possible->files[i];
        if (file == NONE)
            length += (size_t)sprintf(text + length, "%snothing", i > 0 ? ", " : "");
        else
            length += (size_t)sprintf(text + length, "%sfile %u (inode %llx)", i > 0 ? ", " : "", file,
                                      (unsigned long long)checker->files[file].number);
    }
}

static void look_at_name(struct checker *checker, unsigned name)
{
    char path[64], text[200];
    struct stat status;
    struct possible possible = possible_files(checker, name);
    unsigned directory = name_directory(name);
    checker->found[name] = NONE;
    if (directory != NONE && checker->hidden[directory])
        return;
    name_path(checker->index, name, path);
    if (benchfs_lstat(checker->fs, path, &status) == 0) {
        checker->found[name] = file_of_number(checker, &possible, status.st_ino);
        if (directory == NONE)
            checker->entries[name % SHARED_DIRECTORIES]++;
        if (checker->found[name] == NONE) {
            describe(checker, &possible, text);
            complain(checker, "%s is inode %llx, which is none of this client's files; it may be %s", path,
                     (unsigned long long)status.st_ino, text);
            return;
        }
    } else if (errno != ENOENT) {
        complain(checker, "%s: %s", path, strerror(errno));
        return;
    }
    if (!is_possible(&possible, checker->found[name])) {
        describe(checker, &possible, text);
        complain(checker, "%s is %s%.0u and may only be %s", path,
                 checker->found[name] == NONE ? "missing" : "another file", checker->found[name], text);
    }
}

static void look_at_directory(struct checker *checker, unsigned directory)
{
    char path[64];
    struct stat status;
    bool there = checker->model->directories[directory], may[2] = {!there, there};
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if ((operation->kind != OPERATION_MAKE_DIRECTORY && operation->kind != OPERATION_REMOVE_DIRECTORY) ||
            operation->name != directory)
            continue;
        bool made = operation->kind == OPERATION_MAKE_DIRECTORY;
        may[made] = true;
        if (operation->promised)
            may[!made] = false;
    }
    directory_path(checker->index, directory, path);
    there = benchfs_lstat(checker->fs, path, &status) == 0;
    if (!there && errno != ENOENT)
        complain(checker, "%s: %s", path, strerror(errno));
    else if (!may[there])
        complain(checker, "directory %s is %s", path, there ? "there again" : "missing");
    checker->hidden[directory] = !there;
    checker->model->directories[directory] = there;
    checker->entries[directory % SHARED_DIRECTORIES] += there;
}

/* ---- files ---- */

static bool changes_contents(const struct operation *operation, unsigned file)
{
    return operation->file == file &&
           (operation->kind == OPERATION_WRITE || operation->kind == OPERATION_TRUNCATE);
}

/* Index behind the last promised change of the contents. */
static uint32_t contents_promised(const struct checker *checker, unsigned file)
{
    for (uint32_t i = checker->count; i-- > 0;)
        if (checker->log->operations[i].promised && changes_contents(&checker->log->operations[i], file))
            return i + 1;
    return 0;
}

/* Applies a change to bytes (FILE_MAX of them, zeros behind the size). */
static void apply(const struct operation *operation, uint32_t id, unsigned char *bytes, uint64_t *size)
{
    if (operation->kind == OPERATION_TRUNCATE) {
        if (operation->length < *size)
            memset(bytes + operation->length, 0, *size - operation->length);
        *size = operation->length;
        return;
    }
    contents_fill(bytes + operation->offset, operation->length, id, operation->version, operation->offset);
    if (operation->offset + operation->length > *size)
        *size = operation->offset + operation->length;
}

/* Marks the bytes that this change may have left there. */
static void accept(struct checker *checker, const struct operation *operation, uint32_t id, uint64_t size)
{
    uint64_t from = operation->kind == OPERATION_TRUNCATE ? operation->length : operation->offset;
    uint64_t to = operation->kind == OPERATION_TRUNCATE ? size : operation->offset + operation->length;
    if (to > size)
        to = size;
    if (from >= to)
        return;
    if (operation->kind == OPERATION_TRUNCATE)
        memset(checker->wanted, 0, to - from);
    else
        contents_fill(checker->wanted, to - from, id, operation->version, from);
    for (uint64_t i = from; i < to; i++)
        checker->good[i] |= checker->bytes[i] == checker->wanted[i - from];
}

/* Without any promise a removal that was lost at the inode's server may have lasted at those of the chunks.
 */
static bool was_removed(const struct checker *checker, unsigned file)
{
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (operation->victim == file || (operation->kind == OPERATION_UNLINK && operation->file == file))
            return true;
    }
    return false;
}

static void accept_zeros(struct checker *checker, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        checker->good[i] |= checker->bytes[i] == 0;
}

static void complain_of_bytes(struct checker *checker, const char *path, const struct file *file,
                              uint64_t size)
{
    uint64_t first = 0, wrong = 0, zeros = 0;
    for (uint64_t i = 0; i < size; i++) {
        if (checker->good[i])
            continue;
        if (wrong++ == 0)
            first = i;
        zeros += checker->bytes[i] == 0;
    }
    if (wrong > 0)
        complain(
            checker,
            "%s (inode %llx): %llu of %llu bytes, %llu of them zeros, from offset %llu on are neither what "
            "was promised nor what was written later",
            path, (unsigned long long)file->number, (unsigned long long)wrong, (unsigned long long)size,
            (unsigned long long)zeros, (unsigned long long)first);
}

static void compare_contents(struct checker *checker, const char *path, unsigned index, uint64_t size)
{
    struct file *file = &checker->files[index];
    unsigned char *base = history_contents(checker->history, checker->index, index);
    uint32_t promised = contents_promised(checker, index);
    for (uint32_t i = 0; i < promised; i++)
        if (changes_contents(&checker->log->operations[i], index))
            apply(&checker->log->operations[i], file->id, base, &file->size);
    uint64_t now = file->size, least = now, most = now;
    for (uint64_t i = 0; i < size; i++)
        checker->good[i] = checker->bytes[i] == base[i];
    for (uint32_t i = promised; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (!changes_contents(operation, index))
            continue;
        uint64_t end = operation->offset + operation->length;
        now = operation->kind == OPERATION_TRUNCATE ? operation->length : end > now ? end : now;
        least = now < least ? now : least;
        most = now > most ? now : most;
        accept(checker, operation, file->id, size);
    }
    if (size < least || size > most)
        complain(checker, "%s (inode %llx) has %llu bytes; may have %llu to %llu", path,
                 (unsigned long long)file->number, (unsigned long long)size, (unsigned long long)least,
                 (unsigned long long)most);
    if (checker->rules->level == LEVEL_NONE && was_removed(checker, index))
        accept_zeros(checker, size);
    complain_of_bytes(checker, path, file, size);
    memcpy(base, checker->bytes, size);
    if (size < file->size)
        memset(base + size, 0, file->size - size);
    file->size = size;
    checker->history->files_read++;
    checker->history->bytes_compared += size;
}

/* Value of the mode or the version of the extended attribute: one of those since the last promised. */
static bool attribute_may_be(const struct checker *checker, unsigned file, enum operation_kind kind,
                             uint64_t first, uint64_t value)
{
    bool may = first == value;
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (operation->kind != kind || operation->file != file)
            continue;
        bool same = (kind == OPERATION_MODE ? operation->length : operation->version) == value;
        may = (operation->promised ? false : may) || same;
    }
    return may;
}

/* The version whose value this is, or UINT32_MAX. */
static uint32_t xattr_version(const struct checker *checker, unsigned index, const unsigned char *value,
                              size_t length)
{
    const struct file *file = &checker->files[index];
    unsigned char wanted[XATTR_MAX];
    if (file->xattr != 0 && xattr_value(file->id, file->xattr, wanted) == length &&
        memcmp(value, wanted, length) == 0)
        return file->xattr;
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (operation->kind == OPERATION_XATTR && operation->file == index && operation->version != 0 &&
            xattr_value(file->id, operation->version, wanted) == length && memcmp(value, wanted, length) == 0)
            return operation->version;
    }
    return UINT32_MAX;
}

static void compare_attributes(struct checker *checker, const char *path, unsigned index, mode_t mode)
{
    unsigned char value[XATTR_MAX + 1];
    struct file *file = &checker->files[index];
    if (!attribute_may_be(checker, index, OPERATION_MODE, file->mode, mode & 0777))
        complain(checker, "%s: mode %o", path, mode & 0777);
    file->mode = mode & 0777;
    ssize_t length = benchfs_getxattr(checker->fs, path, XATTR_NAME, value, sizeof value);
    if (length < 0 && errno != ENODATA) {
        complain(checker, "%s: xattr: %s", path, strerror(errno));
        return;
    }
    uint32_t version = length < 0 ? 0 : xattr_version(checker, index, value, (size_t)length);
    if (!attribute_may_be(checker, index, OPERATION_XATTR, file->xattr, version))
        complain(checker, "%s (inode %llx): extended attribute of version %d, %zd bytes", path,
                 (unsigned long long)file->number, (int)version, length);
    file->xattr = version;
}

static bool touched(const struct checker *checker, unsigned file)
{
    for (uint32_t i = 0; i < checker->count; i++)
        if (checker->log->operations[i].file == file || checker->log->operations[i].victim == file)
            return true;
    return false;
}

/* One of the names that the file may have is in a directory that is rightly gone. */
static bool may_be_hidden(const struct checker *checker, unsigned file)
{
    for (unsigned name = NAMES_SHARED; name < NAMES; name++) {
        if (!checker->hidden[name_directory(name)])
            continue;
        struct possible possible = possible_files(checker, name);
        if (is_possible(&possible, (uint16_t)file))
            return true;
    }
    return false;
}

/* Names in a directory that is gone are names. */
static void compare_links(struct checker *checker, const char *path, unsigned index,
                          const struct stat *status, unsigned names)
{
    struct file *file = &checker->files[index];
    if (status->st_nlink == names + file->lost)
        return;
    if (status->st_nlink > names + file->lost && may_be_hidden(checker, index))
        file->lost = (uint16_t)(status->st_nlink - names);
    else
        complain(checker, "%s (inode %llx): link count %u, and %u names", path,
                 (unsigned long long)status->st_ino, (unsigned)status->st_nlink, names);
}

static void read_file(struct checker *checker, const char *path, unsigned index, unsigned names)
{
    struct stat status;
    uint64_t size = 0;
    int fd = benchfs_open(checker->fs, path, O_RDONLY);
    if (fd < 0 || benchfs_fstat(checker->fs, fd, &status) != 0) {
        complain(checker, "open %s: %s", path, strerror(errno));
        return;
    }
    for (ssize_t count; size <= FILE_MAX; size += (uint64_t)count) {
        count = benchfs_pread(checker->fs, fd, checker->bytes + size, FILE_MAX + 1 - size, (off_t)size);
        if (count < 0)
            complain(checker, "read %s (inode %llx) at %llu: %s", path, (unsigned long long)status.st_ino,
                     (unsigned long long)size, strerror(errno));
        if (count <= 0)
            break;
    }
    benchfs_close(checker->fs, fd);
    if (size != (uint64_t)status.st_size)
        complain(checker, "%s: %llu bytes could be read, size is %llu", path, (unsigned long long)size,
                 (unsigned long long)status.st_size);
    compare_links(checker, path, index, &status, names);
    compare_contents(checker, path, index, size <= FILE_MAX ? size : FILE_MAX);
    compare_attributes(checker, path, index, status.st_mode);
}

/* How many names the file has at least, in every state since the last one in which it was promised to have
 * one. */
static int names_at_least(const struct checker *checker, unsigned file)
{
    int names = checker->model->files[file].names, least = names;
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        bool certain = operation->promised;
        if (operation->file == file &&
            (operation->kind == OPERATION_CREATE || operation->kind == OPERATION_LINK)) {
            names++;
            certain |=
                operation->kind == OPERATION_CREATE ? operation->promised_name : operation->promised_other;
        } else if ((operation->file == file && operation->kind == OPERATION_UNLINK) ||
                   (operation->kind == OPERATION_RENAME && operation->victim == file)) {
            names--;
        } else {
            continue;
        }
        least = certain || names < least ? names : least;
    }
    return least;
}

static void look_at_file(struct checker *checker, unsigned index)
{
    char path[64];
    struct file *file = &checker->files[index];
    unsigned complaints = checker->complaints;
    uint16_t names = 0;
    unsigned seen = NONE;
    for (unsigned name = 0; name < NAMES; name++) {
        names = (uint16_t)(names + (checker->found[name] == index));
        seen = checker->found[name] == index ? name : seen;
    }
    if (names == 0) {
        if (names_at_least(checker, index) > 0 && !may_be_hidden(checker, index))
            complain(checker, "file %u (inode %llx) has lost its last name", index,
                     (unsigned long long)file->number);
        if (checker->complaints > complaints)
            tell(checker, index);
        history_forget_file(checker->history, checker->index, index);
        *file = (struct file){0};
        return;
    }
    name_path(checker->index, seen, path);
    if (checker->rules->all || touched(checker, index) || draw_below(&checker->random, 4) == 0)
        read_file(checker, path, index, names);
    file->names = names;
    if (checker->complaints > complaints)
        tell(checker, index);
}

/* ---- all ---- */

static void take_over_created(struct checker *checker)
{
    memcpy(checker->files, checker->model->files, sizeof checker->files);
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (operation->kind == OPERATION_CREATE)
            checker->files[operation->file] = (struct file){
                .used = true, .id = operation->version, .number = operation->number, .mode = 0644};
        else if (operation->file != NONE && operation->version > checker->files[operation->file].versions)
            checker->files[operation->file].versions = operation->version;
    }
}

static void check_client(struct checker *checker)
{
    checker->model = &checker->history->model[checker->index];
    checker->log = &checker->history->log[checker->index];
    checker->count = atomic_load(&checker->log->count);
    take_over_created(checker);
    work_out_promises(checker);
    for (unsigned directory = 0; directory < DIRECTORIES_OWN; directory++)
        look_at_directory(checker, directory);
    for (unsigned name = 0; name < NAMES; name++)
        look_at_name(checker, name);
    for (unsigned file = 0; file < FILES; file++)
        if (checker->files[file].used)
            look_at_file(checker, file);
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct operation *operation = &checker->log->operations[i];
        if (operation->kind == OPERATION_CREATE &&
            operation->version % (1u << 28) > checker->model->files_made)
            checker->model->files_made = operation->version % (1u << 28);
    }
    memcpy(checker->model->names, checker->found, sizeof checker->found);
    memcpy(checker->model->files, checker->files, sizeof checker->files);
    atomic_store(&checker->log->count, 0);
}

/* No names but those that were looked at. */
static void check_listing(struct checker *checker, unsigned directory)
{
    char path[64];
    uint32_t entries = 0;
    parent_path(0, directory, path);
    benchfs_dir *stream = benchfs_opendir(checker->fs, path);
    errno = 0;
    while (stream != NULL && benchfs_readdir(stream) != NULL)
        entries++;
    if (stream == NULL || errno != 0)
        complain(checker, "listing %s: %s", path, strerror(errno));
    else if (entries - 2 != checker->entries[directory])
        complain(checker, "%s lists %u entries, %u can be found by name", path, entries - 2,
                 checker->entries[directory]);
    if (stream != NULL)
        benchfs_closedir(stream);
}

int verify(struct history *history, const struct rules *rules)
{
    struct checker *checker = calloc(1, sizeof *checker);
    if (checker == NULL)
        return -1;
    *checker = (struct checker){.history = history, .rules = rules, .random = rules->seed};
    checker->bytes = malloc(FILE_MAX + 1);
    checker->wanted = malloc(FILE_MAX + 1);
    checker->good = malloc(FILE_MAX + 1);
    checker->fs = benchfs_connect(NULL);
    if (checker->fs == NULL)
        complain(checker, "connect: %s", benchfs_error());
    if (checker->bytes == NULL || checker->wanted == NULL || checker->good == NULL)
        complain(checker, "out of memory");
    for (; checker->index < CLIENTS && !(checker->complaints > 0); checker->index++)
        check_client(checker);
    for (unsigned i = 0; i < SHARED_DIRECTORIES && checker->complaints == 0; i++)
        check_listing(checker, i);
    /* Without a goodbye the servers would keep what it had open for a while. */
    if (checker->fs != NULL)
        benchfs_disconnect(checker->fs);
    int status = checker->complaints > 0 ? -1 : 0;
    free(checker->bytes);
    free(checker->wanted);
    free(checker->good);
    free(checker);
    return status;
}
