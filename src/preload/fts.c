/* fts: a walk through trees of files, in which the program asks for one entry after the other.
 *
 * The C library's walks call nothing that could be stepped in front of, so a walk that begins anywhere in
 * BenchFS is this one, over the library's own opendir and stat; it may have other roots, too. It never
 * changes the current directory, which FTS_NOCHDIR promises and a walk without that flag may do as it likes:
 * every entry has a path of its own, and fts_accpath is that path.
 *
 * An entry belongs to the walk until fts_read has gone past it: a directory until it was returned for the
 * second time. What is alive are the entries on the way down, and on each level the siblings still to come:
 *
 *   above (level -1, the parent of the roots)
 *     root - root - root
 *     |
 *     entry - entry            each list by fts_link, each entry with fts_parent
 *             ^ current */
#include <dirent.h>
#include <fts.h>
#include <stdlib.h>

#include "preload/preload.h"

struct walk {
    FTS stream;    /* as the program has it; fts_child: what fts_children found in the current directory */
    FTSENT *roots; /* that are left, the first of which is being walked through */
    FTSENT above;
    bool begun; /* by fts_read */
    struct walk *next;
};

static struct walk *walks; /* all of ours: by being here they are told from the C library's */
static pthread_mutex_t walks_mutex = PTHREAD_MUTEX_INITIALIZER;

/* NULL: a stream of the C library's. */
static struct walk *walk_of(FTS *stream)
{
    pthread_mutex_lock(&walks_mutex);
    struct walk *walk = walks;
    while (walk != NULL && &walk->stream != stream)
        walk = walk->next;
    pthread_mutex_unlock(&walks_mutex);
    return walk;
}

/* ---- entries ---- */

static void entry_free(FTSENT *entry)
{
    free(entry->fts_path);
    free(entry->fts_statp);
    free(entry);
}

static void list_free(FTSENT *entry)
{
    while (entry != NULL) {
        FTSENT *next = entry->fts_link;
        entry_free(entry);
        entry = next;
    }
}

/* `name` in the parent, or a root. NULL: ENOMEM, or ENAMETOOLONG where the structure has no room for a
 * length. */
static FTSENT *entry_make(FTSENT *parent, const char *name)
{
    size_t length = strlen(name), before = parent->fts_level < FTS_ROOTLEVEL ? 0 : parent->fts_pathlen;
    if (before > 0 && parent->fts_path[before - 1] == '/')
        before--;
    size_t whole = before + (parent->fts_level < FTS_ROOTLEVEL ? 0 : 1) + length;
    if (whole > USHRT_MAX) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    FTSENT *entry = calloc(1, sizeof *entry + length);
    if (entry == NULL)
        return NULL;
    entry->fts_path = malloc(whole + 1);
    entry->fts_statp = calloc(1, sizeof *entry->fts_statp);
    if (entry->fts_path == NULL || entry->fts_statp == NULL) {
        entry_free(entry);
        errno = ENOMEM;
        return NULL;
    }
    if (parent->fts_level >= FTS_ROOTLEVEL) {
        memcpy(entry->fts_path, parent->fts_path, before);
        entry->fts_path[before] = '/';
    }
    memcpy(entry->fts_path + whole - length, name, length + 1);
    memcpy(entry->fts_name, name, length + 1);
    entry->fts_accpath = entry->fts_path;
    entry->fts_pathlen = (unsigned short)whole;
    entry->fts_namelen = (unsigned short)length;
    entry->fts_parent = parent;
    entry->fts_level = (short)(parent->fts_level + 1);
    entry->fts_instr = FTS_NOINSTR;
    return entry;
}

static bool is_dot(const FTSENT *entry)
{
    return strcmp(entry->fts_name, ".") == 0 || strcmp(entry->fts_name, "..") == 0;
}

/* What a directory is to the walk. */
static unsigned short directory_kind(FTSENT *entry)
{
    if (entry->fts_level > FTS_ROOTLEVEL && is_dot(entry))
        return FTS_DOT;
    for (FTSENT *above = entry->fts_parent; above->fts_level >= FTS_ROOTLEVEL; above = above->fts_parent)
        if (above->fts_ino == entry->fts_ino && above->fts_dev == entry->fts_dev) {
            entry->fts_cycle = above;
            return FTS_DC;
        }
    return FTS_D;
}

/* Looks at the entry: fts_info, fts_statp and what is taken from it. */
static void entry_look(const struct walk *walk, FTSENT *entry, bool follow)
{
    struct stat *status = entry->fts_statp;
    entry->fts_errno = 0;
    follow |= (walk->stream.fts_options & FTS_LOGICAL) != 0;
    if (follow && stat(entry->fts_path, status) < 0) {
        int error = errno;
        if (lstat(entry->fts_path, status) == 0) {
            entry->fts_info = FTS_SLNONE;
            return;
        }
        errno = error;
        goto fail;
    }
    if (!follow && lstat(entry->fts_path, status) < 0)
        goto fail;
    entry->fts_dev = status->st_dev;
    entry->fts_ino = status->st_ino;
    entry->fts_nlink = status->st_nlink;
    entry->fts_info = S_ISDIR(status->st_mode)   ? directory_kind(entry)
                      : S_ISLNK(status->st_mode) ? FTS_SL
                      : S_ISREG(status->st_mode) ? FTS_F
                                                 : FTS_DEFAULT;
    return;
fail:
    entry->fts_info = FTS_NS;
    entry->fts_errno = errno;
    memset(status, 0, sizeof *status);
}

/* ---- lists ---- */

static FTSENT **end_of(FTSENT **list)
{
    while (*list != NULL)
        list = &(*list)->fts_link;
    return list;
}

static int compare_entries(const void *left, const void *right, void *argument)
{
    const struct walk *walk = argument;
    return walk->stream.fts_compar(left, right);
}

/* Brings the list into the program's order. Without memory it stays as it is, as in the C library. */
static FTSENT *list_sort(struct walk *walk, FTSENT *list)
{
    size_t count = 0;
    for (FTSENT *entry = list; entry != NULL; entry = entry->fts_link)
        count++;
    FTSENT **entries = walk->stream.fts_compar == NULL || count < 2 ? NULL : calloc(count, sizeof(FTSENT *));
    if (entries == NULL)
        return list;
    for (size_t i = 0; i < count; i++, list = list->fts_link)
        entries[i] = list;
    qsort_r(entries, count, sizeof(FTSENT *), compare_entries, walk);
    for (size_t i = 0; i < count; i++)
        entries[i]->fts_link = i + 1 < count ? entries[i + 1] : NULL;
    list = entries[0];
    free(entries);
    return list;
}

/* Whether the entry is known well enough without asking for its attributes. */
static bool needs_no_look(const struct walk *walk, unsigned char type)
{
    return (walk->stream.fts_options & FTS_NOSTAT) != 0 && type != DT_UNKNOWN && type != DT_DIR &&
           (type != DT_LNK || (walk->stream.fts_options & FTS_LOGICAL) == 0);
}

/* The entries of a directory, in order. 0, or -1 with errno set; then there are none. */
static int list_read(struct walk *walk, FTSENT *directory, bool names_only, FTSENT **list)
{
    FTSENT *first = NULL, **end = &first;
    DIR *stream = opendir(directory->fts_path);
    if (stream == NULL)
        return -1;
    errno = 0;
    for (const struct dirent *found; (found = readdir(stream)) != NULL; errno = 0) {
        if ((walk->stream.fts_options & FTS_SEEDOT) == 0 &&
            (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0))
            continue;
        FTSENT *entry = entry_make(directory, found->d_name);
        if (entry == NULL)
            break;
        if (names_only || needs_no_look(walk, found->d_type))
            entry->fts_info = FTS_NSOK;
        else
            entry_look(walk, entry, false);
        *end = entry;
        end = &entry->fts_link;
    }
    int error = errno;
    closedir(stream);
    if (error != 0) {
        list_free(first);
        errno = error;
        return -1;
    }
    *list = list_sort(walk, first);
    return 0;
}

/* ---- walking ---- */

static bool crosses(const struct walk *walk, const FTSENT *entry)
{
    return (walk->stream.fts_options & FTS_XDEV) != 0 && entry->fts_dev != walk->stream.fts_dev;
}

static FTSENT *entry_return(struct walk *walk, FTSENT *entry)
{
    walk->stream.fts_cur = entry;
    walk->stream.fts_path = entry->fts_path;
    return entry;
}

/* Walking through a root begins: its name is its last component from now on. */
static void root_begin(struct walk *walk, FTSENT *root)
{
    const char *slash = strrchr(root->fts_name, '/');
    walk->stream.fts_dev = root->fts_dev;
    if (slash == NULL || (slash == root->fts_name && slash[1] == '\0'))
        return;
    root->fts_namelen = (unsigned short)strlen(slash + 1);
    memmove(root->fts_name, slash + 1, root->fts_namelen + 1u);
}

/* The next one that the program did not say is to be skipped, or NULL. */
static FTSENT *first_wanted(struct walk *walk, FTSENT *entry)
{
    while (entry != NULL && entry->fts_instr == FTS_SKIP) {
        FTSENT *next = entry->fts_link;
        entry_free(entry);
        entry = next;
    }
    if (entry == NULL)
        return NULL;
    if (entry->fts_instr == FTS_FOLLOW)
        entry_look(walk, entry, true);
    entry->fts_instr = FTS_NOINSTR;
    if (entry->fts_level == FTS_ROOTLEVEL)
        root_begin(walk, entry);
    return entry;
}

/* The directory was returned: its first entry, or itself again. */
static FTSENT *walk_down(struct walk *walk, FTSENT *directory, int instruction)
{
    FTSENT *children = walk->stream.fts_child;
    walk->stream.fts_child = NULL;
    bool names_only = walk->stream.fts_options & FTS_NAMEONLY;
    walk->stream.fts_options &= ~FTS_NAMEONLY;
    if (instruction == FTS_SKIP || crosses(walk, directory)) {
        list_free(children);
        directory->fts_info = FTS_DP;
        return entry_return(walk, directory);
    }
    for (FTSENT *child = names_only ? children : NULL; child != NULL; child = child->fts_link)
        entry_look(walk, child, false);
    if (children == NULL && list_read(walk, directory, false, &children) < 0) {
        directory->fts_errno = errno;
        directory->fts_info = FTS_DNR;
        return entry_return(walk, directory);
    }
    FTSENT *first = first_wanted(walk, children);
    if (first != NULL)
        return entry_return(walk, first);
    directory->fts_info = FTS_DP;
    return entry_return(walk, directory);
}

/* All of the entry was returned: the one behind it, or its directory again. */
static FTSENT *walk_on(struct walk *walk, FTSENT *entry)
{
    FTSENT *parent = entry->fts_parent, *next = first_wanted(walk, entry->fts_link);
    if (entry->fts_level == FTS_ROOTLEVEL)
        walk->roots = next;
    entry_free(entry);
    if (next != NULL)
        return entry_return(walk, next);
    if (parent == &walk->above) {
        walk->stream.fts_cur = NULL;
        errno = 0;
        return NULL;
    }
    parent->fts_info = parent->fts_errno != 0 ? FTS_ERR : FTS_DP;
    return entry_return(walk, parent);
}

static FTSENT *walk_read(struct walk *walk)
{
    FTSENT *entry = walk->stream.fts_cur;
    if (!walk->begun) {
        walk->begun = true;
        entry = walk->roots = first_wanted(walk, walk->roots);
        return entry == NULL ? NULL : entry_return(walk, entry);
    }
    if (entry == NULL) {
        errno = 0;
        return NULL;
    }
    int instruction = entry->fts_instr;
    entry->fts_instr = FTS_NOINSTR;
    if (instruction == FTS_AGAIN ||
        (instruction == FTS_FOLLOW && (entry->fts_info == FTS_SL || entry->fts_info == FTS_SLNONE))) {
        entry_look(walk, entry, instruction == FTS_FOLLOW);
        return entry_return(walk, entry);
    }
    return entry->fts_info == FTS_D ? walk_down(walk, entry, instruction) : walk_on(walk, entry);
}

/* ---- the calls ---- */

static bool any_remote(char *const *paths)
{
    struct place place;
    for (; *paths != NULL; paths++)
        if (place_of(AT_FDCWD, *paths, &place) != ROUTE_REAL)
            return true;
    return false;
}

static void walk_free(struct walk *walk)
{
    /* The current entry and all above it, each with the siblings behind it. */
    list_free(walk->stream.fts_child);
    FTSENT *entry = walk->stream.fts_cur;
    while (entry != NULL && entry->fts_level >= FTS_ROOTLEVEL) {
        FTSENT *parent = entry->fts_parent;
        if (entry->fts_level == FTS_ROOTLEVEL)
            walk->roots = NULL;
        list_free(entry);
        entry = parent;
    }
    list_free(walk->roots);
    free(walk);
}

static int roots_make(struct walk *walk, char *const *paths)
{
    FTSENT **end = end_of(&walk->roots);
    for (; *paths != NULL; paths++) {
        FTSENT *root = **paths == '\0' ? (errno = ENOENT, NULL) : entry_make(&walk->above, *paths);
        if (root == NULL)
            return -1;
        entry_look(walk, root, (walk->stream.fts_options & FTS_COMFOLLOW) != 0);
        *end = root;
        end = &root->fts_link;
    }
    walk->roots = list_sort(walk, walk->roots);
    return 0;
}

EXPORT FTS *fts_open(char *const *paths, int options, int (*compare)(const FTSENT **, const FTSENT **))
{
    if (!any_remote(paths))
        return real(fts_open)(paths, options, compare);
    if ((options & ~FTS_OPTIONMASK) != 0) {
        errno = EINVAL;
        return NULL;
    }
    struct walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL)
        return NULL;
    walk->stream.fts_options = options | FTS_NOCHDIR;
    walk->stream.fts_compar = (int (*)(const void *, const void *))(uintptr_t)compare;
    walk->above.fts_level = FTS_ROOTPARENTLEVEL;
    if (roots_make(walk, paths) < 0) {
        int error = errno;
        walk_free(walk);
        errno = error;
        return NULL;
    }
    pthread_mutex_lock(&walks_mutex);
    walk->next = walks;
    walks = walk;
    pthread_mutex_unlock(&walks_mutex);
    return &walk->stream;
}
ALIAS(fts64_open, fts_open);

EXPORT FTSENT *fts_read(FTS *stream)
{
    struct walk *walk = walk_of(stream);
    return walk == NULL ? real(fts_read)(stream) : walk_read(walk);
}
ALIAS(fts64_read, fts_read);

EXPORT FTSENT *fts_children(FTS *stream, int instruction)
{
    struct walk *walk = walk_of(stream);
    if (walk == NULL)
        return real(fts_children)(stream, instruction);
    if (instruction != 0 && instruction != FTS_NAMEONLY) {
        errno = EINVAL;
        return NULL;
    }
    errno = 0;
    if (!walk->begun)
        return walk->roots;
    FTSENT *entry = walk->stream.fts_cur;
    if (entry == NULL || entry->fts_info != FTS_D)
        return NULL;
    list_free(walk->stream.fts_child);
    walk->stream.fts_child = NULL;
    walk->stream.fts_options = (walk->stream.fts_options & ~FTS_NAMEONLY) | instruction;
    if (list_read(walk, entry, instruction == FTS_NAMEONLY, &walk->stream.fts_child) < 0)
        return NULL;
    errno = 0;
    return walk->stream.fts_child;
}
ALIAS(fts64_children, fts_children);

EXPORT int fts_set(FTS *stream, FTSENT *entry, int instruction)
{
    struct walk *walk = walk_of(stream);
    if (walk == NULL)
        return real(fts_set)(stream, entry, instruction);
    if (instruction != 0 && instruction != FTS_AGAIN && instruction != FTS_FOLLOW &&
        instruction != FTS_NOINSTR && instruction != FTS_SKIP) {
        errno = EINVAL;
        return 1; /* as the C library's */
    }
    entry->fts_instr = (unsigned short)instruction;
    return 0;
}
ALIAS(fts64_set, fts_set);

EXPORT int fts_close(FTS *stream)
{
    struct walk *walk = walk_of(stream);
    if (walk == NULL)
        return real(fts_close)(stream);
    pthread_mutex_lock(&walks_mutex);
    struct walk **link = &walks;
    while (*link != walk)
        link = &(*link)->next;
    *link = walk->next;
    pthread_mutex_unlock(&walks_mutex);
    walk_free(walk);
    return 0;
}
ALIAS(fts64_close, fts_close);
