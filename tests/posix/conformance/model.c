/* Random operations of several clients, compared one by one with a model tree in memory.
 *
 * Each process has a tree of its own, in which the model knows the result of every call: status, bytes,
 * attributes, entries. From time to time all stop, and each looks at the tree of its neighbour: what one
 * process did, another sees. Then all work on the same few names, where the results of single calls cannot be
 * known; what must hold in any order is checked afterwards.
 *
 * Everything random comes from the seed, which is printed; CONFORMANCE_SEED=n runs that one,
 * CONFORMANCE_STEPS=n makes it longer. The models lie in shared memory and refer by index, so that every
 * process can read them. */
#include "conformance.h"

#define PROCESSES 3
#define INODES 48
#define ENTRIES 96
#define NAMES 7
#define DATA_MAX 140000
#define DEPTH_MAX 4
#define NONE (-1)

enum type { FREE, FILE_, DIRECTORY, LINK };

struct inode {
    enum type type;
    mode_t mode;
    int links; /* names; of a directory 1 */
    off_t size;
    char target[24];
    unsigned char data[DATA_MAX];
};

struct entry {
    bool used;
    int parent, inode;
    char name[16];
};

/* Inode 0 is the root of the tree. */
struct model {
    struct inode inodes[INODES];
    struct entry entries[ENTRIES];
};

struct crew {
    struct turn arrivals;
    struct model models[PROCESSES];
};
static struct crew *crew;
static int meetings;
static uint64_t random_state;
static unsigned long long seed;
static int steps;

static void meet(void)
{
    turn_advance(&crew->arrivals);
    turn_wait(&crew->arrivals, ++meetings * PROCESSES);
}

static unsigned below(unsigned limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % limit;
}

/* ---- the model ---- */

static struct entry *entry_find(struct model *model, int parent, const char *name)
{
    for (int i = 0; i < ENTRIES; i++) {
        struct entry *entry = &model->entries[i];
        if (entry->used && entry->parent == parent && strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

static struct entry *entry_of(struct model *model, int inode)
{
    for (int i = 0; i < ENTRIES; i++)
        if (model->entries[i].used && model->entries[i].inode == inode)
            return &model->entries[i];
    return NULL;
}

static int children_of(struct model *model, int parent, bool directories_only)
{
    int count = 0;
    for (int i = 0; i < ENTRIES; i++)
        count += model->entries[i].used && model->entries[i].parent == parent &&
                 (!directories_only || model->inodes[model->entries[i].inode].type == DIRECTORY);
    return count;
}

static int depth_of(struct model *model, int directory)
{
    int depth = 0;
    while (directory != 0) {
        directory = entry_of(model, directory)->parent;
        depth++;
    }
    return depth;
}

static int height_of(struct model *model, int inode)
{
    int height = 0;
    for (int i = 0; i < ENTRIES; i++)
        if (model->entries[i].used && model->entries[i].parent == inode) {
            int below_it = 1 + height_of(model, model->entries[i].inode);
            height = below_it > height ? below_it : height;
        }
    return height;
}

/* Is `inode` the directory or inside it? */
static bool inside(struct model *model, int inode, int directory)
{
    while (inode != directory && inode != 0)
        inode = entry_of(model, inode)->parent;
    return inode == directory;
}

static int inode_new(struct model *model, enum type type, mode_t mode)
{
    for (int i = 1; i < INODES; i++)
        if (model->inodes[i].type == FREE) {
            model->inodes[i] = (struct inode){.type = type, .mode = mode};
            return i;
        }
    return NONE;
}

static void entry_add(struct model *model, int parent, const char *name, int inode)
{
    for (int i = 0; i < ENTRIES; i++)
        if (!model->entries[i].used) {
            model->entries[i] = (struct entry){.used = true, .parent = parent, .inode = inode};
            strcpy(model->entries[i].name, name);
            model->inodes[inode].links++;
            return;
        }
}

static void entry_remove(struct model *model, struct entry *entry)
{
    struct inode *inode = &model->inodes[entry->inode];
    entry->used = false;
    if (--inode->links == 0)
        inode->type = FREE;
}

static bool room(struct model *model)
{
    int inodes = 0, entries = 0;
    for (int i = 1; i < INODES; i++)
        inodes += model->inodes[i].type == FREE;
    for (int i = 0; i < ENTRIES; i++)
        entries += !model->entries[i].used;
    return inodes > 1 && entries > 1;
}

/* ---- places ---- */

struct place {
    int parent;
    char name[16];
    char path[160];
    struct entry *entry; /* NULL: nothing there */
};

static void path_of(struct model *model, int who, int directory, char *path, size_t size)
{
    if (directory == 0) {
        snprintf(path, size, "p%d", who);
        return;
    }
    struct entry *entry = entry_of(model, directory);
    path_of(model, who, entry->parent, path, size);
    size_t length = strlen(path);
    snprintf(path + length, size - length, "/%s", entry->name);
}

/* A random name in a random directory. */
static struct place somewhere(struct model *model, int who)
{
    struct place place = {.parent = 0};
    int wanted = (int)below(INODES), seen = 0;
    for (int i = 0; i < INODES * 2; i++) {
        int inode = i % INODES;
        if (model->inodes[inode].type == DIRECTORY && seen++ >= wanted % 8) {
            place.parent = inode;
            break;
        }
    }
    snprintf(place.name, sizeof place.name, "n%u", below(NAMES));
    path_of(model, who, place.parent, place.path, sizeof place.path);
    size_t length = strlen(place.path);
    snprintf(place.path + length, sizeof place.path - length, "/%s", place.name);
    place.entry = entry_find(model, place.parent, place.name);
    return place;
}

static struct inode *inode_at(struct model *model, const struct place *place)
{
    return place->entry == NULL ? NULL : &model->inodes[place->entry->inode];
}

/* ---- operations: each foretells the error, calls, and follows in the model ---- */

static int step; /* number of the operation, for messages */

#define FORETOLD(error, result, what, path)                                                                  \
    EXPECT_ERROR(error, result, "seed %llu, step %d: %s %s", seed, step, what, path)
#define MODELLED(expected, value, what, path)                                                                \
    EXPECT_VALUE(expected, value, "seed %llu, step %d: %s %s", seed, step, what, path)

static void do_create(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    mode_t mode = 0600 | below(0200);
    int fd = NONE;
    int error = place.entry != NULL ? EEXIST : 0;
    if (!room(model))
        return;
    FORETOLD(error, fd = open(place.path, O_RDWR | O_CREAT | O_EXCL, mode), "create", place.path);
    if (fd >= 0)
        FORETOLD(0, close(fd), "close", place.path);
    if (error == 0)
        entry_add(model, place.parent, place.name, inode_new(model, FILE_, mode & (mode_t)~022));
}

static void do_mkdir(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    int error = place.entry != NULL ? EEXIST : 0;
    if (!room(model) || depth_of(model, place.parent) >= DEPTH_MAX)
        return;
    FORETOLD(error, mkdir(place.path, 0755), "mkdir", place.path);
    if (error == 0)
        entry_add(model, place.parent, place.name, inode_new(model, DIRECTORY, 0755));
}

static void do_symlink(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    char target[24];
    int error = place.entry != NULL ? EEXIST : 0;
    if (!room(model))
        return;
    snprintf(target, sizeof target, "target%u", below(1000));
    FORETOLD(error, symlink(target, place.path), "symlink", place.path);
    if (error == 0) {
        int inode = inode_new(model, LINK, 0777);
        strcpy(model->inodes[inode].target, target);
        model->inodes[inode].size = (off_t)strlen(target);
        entry_add(model, place.parent, place.name, inode);
    }
}

static void do_unlink(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    struct inode *inode = inode_at(model, &place);
    int error = inode == NULL ? ENOENT : inode->type == DIRECTORY ? EISDIR : 0;
    FORETOLD(error, unlink(place.path), "unlink", place.path);
    if (error == 0)
        entry_remove(model, place.entry);
}

static void do_rmdir(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    struct inode *inode = inode_at(model, &place);
    int error = inode == NULL                                       ? ENOENT
                : inode->type != DIRECTORY                          ? ENOTDIR
                : children_of(model, place.entry->inode, false) > 0 ? ENOTEMPTY
                                                                    : 0;
    FORETOLD(error, rmdir(place.path), "rmdir", place.path);
    if (error == 0)
        entry_remove(model, place.entry);
}

static void do_link(struct model *model, int who)
{
    struct place from = somewhere(model, who), to = somewhere(model, who);
    struct inode *inode = inode_at(model, &from);
    int error = inode == NULL ? ENOENT : to.entry != NULL ? EEXIST : inode->type == DIRECTORY ? EPERM : 0;
    if (!room(model))
        return;
    FORETOLD(error, link(from.path, to.path), from.path, to.path);
    if (error == 0)
        entry_add(model, to.parent, to.name, from.entry->inode);
}

static int rename_error(struct model *model, const struct place *from, const struct place *to, unsigned flags)
{
    struct inode *source = inode_at(model, from), *target = inode_at(model, to);
    if (source == NULL)
        return ENOENT;
    if (flags == RENAME_NOREPLACE && target != NULL)
        return EEXIST;
    if (flags == RENAME_EXCHANGE && target == NULL)
        return ENOENT;
    if (source->type == DIRECTORY && inside(model, to->parent, from->entry->inode))
        return EINVAL;
    if (target != NULL && target->type == DIRECTORY && inside(model, from->parent, to->entry->inode))
        return flags == RENAME_EXCHANGE ? EINVAL : ENOTEMPTY;
    if (flags == RENAME_EXCHANGE || target == NULL || source == target)
        return 0;
    if (source->type == DIRECTORY && target->type != DIRECTORY)
        return ENOTDIR;
    if (source->type != DIRECTORY && target->type == DIRECTORY)
        return EISDIR;
    return target->type == DIRECTORY && children_of(model, to->entry->inode, false) > 0 ? ENOTEMPTY : 0;
}

/* Where two errors apply POSIX lets either be told; Linux looks at what is inside what first. */
static int rename_error_by_type(struct model *model, const struct place *from, const struct place *to)
{
    struct inode *source = inode_at(model, from), *target = inode_at(model, to);
    if (source == NULL || target == NULL || source == target)
        return 0;
    if (source->type == DIRECTORY && target->type != DIRECTORY)
        return ENOTDIR;
    return source->type != DIRECTORY && target->type == DIRECTORY ? EISDIR : 0;
}

static void do_rename(struct model *model, int who)
{
    static const unsigned all_flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    struct place from = somewhere(model, who), to = somewhere(model, who);
    unsigned flags = all_flags[below(COUNT(all_flags))];
    int error = rename_error(model, &from, &to, flags);
    if (error == 0 && depth_of(model, to.parent) + height_of(model, from.entry->inode) > DEPTH_MAX + 1)
        return;
    char what[200];
    snprintf(what, sizeof what, "rename (flags %u) %.80s to", flags, from.path);
    int result =
        flags == 0 ? rename(from.path, to.path) : renameat2(AT_FDCWD, from.path, AT_FDCWD, to.path, flags);
    int got = result < 0 ? errno : 0;
    if (flags == 0 && error != 0 && got != 0 && got == rename_error_by_type(model, &from, &to))
        got = error;
    MODELLED(error, got, what, to.path);
    if (error != 0 || (to.entry != NULL && to.entry->inode == from.entry->inode))
        return;
    if (flags == RENAME_EXCHANGE) {
        int inode = from.entry->inode;
        from.entry->inode = to.entry->inode;
        to.entry->inode = inode;
        return;
    }
    if (to.entry != NULL)
        entry_remove(model, to.entry);
    from.entry->parent = to.parent;
    strcpy(from.entry->name, to.name);
}

/* A random file that is there, or NONE. */
static int some_file(struct model *model, int who, char *path, size_t size)
{
    int start = (int)below(ENTRIES);
    for (int i = 0; i < ENTRIES; i++) {
        struct entry *entry = &model->entries[(start + i) % ENTRIES];
        if (!entry->used || model->inodes[entry->inode].type != FILE_)
            continue;
        path_of(model, who, entry->parent, path, size);
        size_t length = strlen(path);
        snprintf(path + length, size - length, "/%s", entry->name);
        return entry->inode;
    }
    return NONE;
}

static void do_write(struct model *model, int who)
{
    char path[160];
    unsigned char *bytes;
    int number = some_file(model, who, path, sizeof path);
    if (number == NONE)
        return;
    struct inode *inode = &model->inodes[number];
    bool appends = below(4) == 0;
    size_t length = below(6) == 0 ? below(100000) : below(5000);
    off_t offset = appends ? inode->size : (off_t)below(below(3) == 0 ? 120000 : 8000);
    if (offset + (off_t)length > DATA_MAX)
        return;
    int fd = NONE;
    FORETOLD(0, fd = open(path, O_WRONLY | (appends ? O_APPEND : 0)), "open", path);
    bytes = malloc(length + 1);
    pattern_fill(bytes, length, random_state, (uint64_t)offset);
    MODELLED(length, appends ? write(fd, bytes, length) : pwrite(fd, bytes, length, offset), "write", path);
    FORETOLD(0, close(fd), "close", path);
    if (length > 0) {
        memcpy(inode->data + offset, bytes, length);
        if (offset + (off_t)length > inode->size)
            inode->size = offset + (off_t)length;
    }
    free(bytes);
}

static void do_truncate(struct model *model, int who)
{
    char path[160];
    int number = some_file(model, who, path, sizeof path);
    if (number == NONE)
        return;
    struct inode *inode = &model->inodes[number];
    off_t size = below(3) == 0 ? 0 : (off_t)below(below(2) ? 8000 : DATA_MAX);
    FORETOLD(0, truncate(path, size), "truncate", path);
    if (size < inode->size)
        memset(inode->data + size, 0, (size_t)(inode->size - size));
    inode->size = size;
}

static void do_read(struct model *model, int who)
{
    char path[160];
    int number = some_file(model, who, path, sizeof path);
    if (number == NONE)
        return;
    struct inode *inode = &model->inodes[number];
    off_t offset = (off_t)below(below(2) ? 8000 : DATA_MAX);
    size_t length = below(below(2) ? 5000 : DATA_MAX);
    off_t left = offset < inode->size ? inode->size - offset : 0;
    size_t expected = left < (off_t)length ? (size_t)left : length;
    unsigned char *bytes = malloc(length + 1);
    int fd = NONE;
    FORETOLD(0, fd = open(path, O_RDONLY), "open", path);
    MODELLED(expected, pread(fd, bytes, length, offset), "read", path);
    MODELLED(0, memcmp(bytes, inode->data + offset, expected), "what was read of", path);
    FORETOLD(0, close(fd), "close", path);
    free(bytes);
}

static void do_chmod(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    struct inode *inode = inode_at(model, &place);
    mode_t mode = 0700 | below(0100);
    if (inode == NULL || inode->type == LINK)
        return;
    FORETOLD(0, chmod(place.path, mode), "chmod", place.path);
    inode->mode = mode;
}

static void check_status(struct model *model, int number, const char *path)
{
    static const mode_t types[] = {[FILE_] = S_IFREG, [DIRECTORY] = S_IFDIR, [LINK] = S_IFLNK};
    struct inode *inode = &model->inodes[number];
    struct stat status;
    if (!FORETOLD(0, lstat(path, &status), "lstat", path))
        return;
    MODELLED(types[inode->type] | inode->mode, status.st_mode, "mode of", path);
    MODELLED(inode->type == DIRECTORY ? 2 + children_of(model, number, true) : inode->links, status.st_nlink,
             "links of", path);
    if (inode->type != DIRECTORY)
        MODELLED(inode->size, status.st_size, "size of", path);
}

static void do_stat(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    if (place.entry == NULL)
        FORETOLD(ENOENT, lstat(place.path, &(struct stat){0}), "lstat", place.path);
    else
        check_status(model, place.entry->inode, place.path);
}

static void check_listing(struct model *model, int directory, const char *path)
{
    int count = 0;
    DIR *stream = NULL;
    if (!FORETOLD(0, (stream = opendir(path)) == NULL ? -1 : 0, "opendir", path))
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        MODELLED(true, entry_find(model, directory, entry->d_name) != NULL, entry->d_name, path);
    }
    closedir(stream);
    MODELLED(children_of(model, directory, false), count, "entries of", path);
}

/* Everything in the tree of `who` is as its model says. */
static void check_tree(struct model *model, int who, int directory)
{
    char path[160];
    path_of(model, who, directory, path, sizeof path);
    size_t length = strlen(path);
    check_listing(model, directory, path);
    for (int i = 0; i < ENTRIES; i++) {
        struct entry *entry = &model->entries[i];
        if (!entry->used || entry->parent != directory)
            continue;
        struct inode *inode = &model->inodes[entry->inode];
        snprintf(path + length, sizeof path - length, "/%s", entry->name);
        check_status(model, entry->inode, path);
        if (inode->type == DIRECTORY)
            check_tree(model, who, entry->inode);
        unsigned char *bytes = malloc(DATA_MAX + 1);
        if (inode->type == LINK) {
            MODELLED(inode->size, readlink(path, (char *)bytes, DATA_MAX), "readlink", path);
            MODELLED(0, memcmp(bytes, inode->target, (size_t)inode->size), "target of", path);
        } else if (inode->type == FILE_) {
            int fd = NONE;
            FORETOLD(0, fd = open(path, O_RDONLY), "open", path);
            MODELLED(inode->size, pread(fd, bytes, DATA_MAX + 1, 0), "length of", path);
            MODELLED(0, memcmp(bytes, inode->data, (size_t)inode->size), "content of", path);
            close(fd);
        }
        free(bytes);
    }
}

static void do_list(struct model *model, int who)
{
    struct place place = somewhere(model, who);
    char path[160];
    path_of(model, who, place.parent, path, sizeof path);
    check_listing(model, place.parent, path);
}

static void (*const operations[])(struct model *, int) = {
    do_create, do_create, do_mkdir, do_mkdir,    do_symlink, do_unlink, do_rmdir, do_link, do_rename,
    do_rename, do_write,  do_write, do_truncate, do_read,    do_read,   do_chmod, do_stat, do_list,
};

static void seed_for(int who)
{
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)who * 7919 + 1;
    for (int i = 0; i < 10; i++)
        below(2);
}

/* One process: four rounds, with a look at a neighbour's tree after each. */
static void own_tree(void *argument)
{
    enum { ROUNDS = 4 };
    int who = *(int *)argument;
    struct model *mine = &crew->models[who];
    char path[16];
    meetings = 0;
    seed_for(who);
    snprintf(path, sizeof path, "p%d", who);
    EXPECT_ERROR(0, mkdir(path, 0755), "mkdir %s", path);
    mine->inodes[0] = (struct inode){.type = DIRECTORY, .mode = 0755, .links = 1};
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < steps / ROUNDS; i++) {
            step = round * (steps / ROUNDS) + i;
            operations[below(COUNT(operations))](mine, who);
        }
        meet();
        int neighbour = (who + 1 + round) % PROCESSES;
        check_tree(&crew->models[neighbour], neighbour, 0);
        meet();
    }
}

static void run_crew(void (*run)(void *))
{
    pid_t pids[PROCESSES];
    const char *given = getenv("CONFORMANCE_SEED"), *length = getenv("CONFORMANCE_STEPS");
    static unsigned long long next_seed = 1;
    seed = given != NULL ? strtoull(given, NULL, 0) : next_seed++;
    steps = length != NULL ? atoi(length) : 600;
    printf("# seed %llu, %d steps\n", seed, steps);
    crew = shared_allocate(sizeof *crew);
    for (int i = 1; i < PROCESSES; i++)
        pids[i] = child_start(run, &i);
    run(&(int){0});
    for (int i = 1; i < PROCESSES; i++)
        child_end(pids[i]);
}

static void trees(void)
{
    run_crew(own_tree);
}
static void other_trees(void)
{
    run_crew(own_tree);
}

/* ---- the same names for all ---- */

enum { RECORD = 512 };

static bool allowed(int error, const int *errors)
{
    for (; *errors != NONE; errors++)
        if (error == *errors)
            return true;
    return error == 0;
}

#define ANY_OF(result, what, path, ...)                                                                      \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        int error_ = (long long)(result) < 0 ? errno : 0;                                                    \
        EXPECT_VALUE(true, allowed(error_, (const int[]){__VA_ARGS__, NONE}),                                \
                     "seed %llu, step %d: %s %s: %s", seed, step, what, path,                                \
                     error_ == 0 ? "success" : strerrorname_np(error_));                                     \
    } while (0)

static void write_record(const char *path, int who)
{
    unsigned char record[RECORD];
    int fd = -1;
    ANY_OF(fd = open(path, O_RDWR), "open", path, ENOENT, EISDIR, ELOOP);
    if (fd < 0)
        return;
    memset(record, 'A' + who, sizeof record);
    MODELLED(RECORD, pwrite(fd, record, RECORD, 0), "write", path);
    FORETOLD(0, close(fd), "close", path);
}

static void shared_names(void *argument)
{
    int who = *(int *)argument;
    meetings = 0;
    seed_for(who + 100);
    if (who == 0) {
        EXPECT_ERROR(0, mkdir("shared", 0755), "mkdir");
        EXPECT_ERROR(0, mkdir("shared/d", 0755), "mkdir");
    }
    meet();
    for (step = 0; step < steps; step++) {
        char path[64], other[64];
        struct stat status;
        int fd = -1;
        snprintf(path, sizeof path, "shared/%sn%u", below(3) == 0 ? "d/" : "", below(5));
        snprintf(other, sizeof other, "shared/%sn%u", below(3) == 0 ? "d/" : "", below(5));
        switch (below(12)) {
        case 0:
        case 1:
            ANY_OF(fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644), "create", path, EEXIST);
            break;
        case 2:
            ANY_OF(fd = open(path, O_RDWR | O_CREAT, 0644), "open", path, EISDIR, EEXIST);
            break;
        case 3:
        case 4:
            write_record(path, who);
            break;
        case 5:
            ANY_OF(unlink(path), "unlink", path, ENOENT, EISDIR);
            break;
        case 6:
            ANY_OF(rename(path, other), path, other, ENOENT, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL);
            break;
        case 7:
            ANY_OF(link(path, other), path, other, ENOENT, EEXIST, EPERM);
            break;
        case 8:
            ANY_OF(lstat(path, &status), "lstat", path, ENOENT);
            break;
        case 9:
            ANY_OF(renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE), path, other, ENOENT, EINVAL);
            break;
        case 10:
            ANY_OF(mkdir(path, 0755), "mkdir", path, EEXIST);
            break;
        default:
            ANY_OF(rmdir(path), "rmdir", path, ENOENT, ENOTDIR, ENOTEMPTY);
            break;
        }
        if (fd >= 0)
            FORETOLD(0, close(fd), "close", path);
    }
    meet();
}

/* After all: names, link counts and contents fit together. */
struct found {
    ino_t inode;
    nlink_t links;
    int names;
};

static int look_at(const char *directory, struct found *found, int count)
{
    DIR *stream = opendir(directory);
    if (!TRUE(stream != NULL))
        return count;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        char path[300];
        unsigned char record[RECORD + 1];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        struct stat status = status_of(path);
        EXPECT_VALUE(status.st_ino, entry->d_ino, "inode number of %s", path);
        EXPECT_VALUE(IFTODT(status.st_mode), entry->d_type, "type of %s", path);
        if (S_ISDIR(status.st_mode)) {
            count = look_at(path, found, count);
            continue;
        }
        int fd = open(path, O_RDONLY);
        ssize_t got = pread(fd, record, sizeof record, 0);
        EXPECT_VALUE(true, got == 0 || got == RECORD, "length of %s", path);
        for (ssize_t i = 1; i < got; i++)
            if (record[i] != record[0])
                EXPECT_VALUE(record[0], record[i], "byte %zd of %s", i, path);
        close(fd);
        int at = 0;
        while (at < count && found[at].inode != status.st_ino)
            at++;
        if (at == count)
            found[count++] = (struct found){.inode = status.st_ino, .links = status.st_nlink};
        found[at].names++;
    }
    closedir(stream);
    return count;
}

static void same_names(void)
{
    struct found found[64] = {0};
    NEED("unlinked"); /* what one has open, others unlink */
    run_crew(shared_names);
    int count = look_at("shared", found, 0);
    for (int i = 0; i < count; i++)
        EXPECT_VALUE(found[i].names, found[i].links, "links of inode %llu",
                     (unsigned long long)found[i].inode);
}

CASES(CASE(trees), CASE(other_trees), CASE(same_names))
