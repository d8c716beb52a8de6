/* fts: prints what a walk returns, for every set of options and with every instruction. The directory to make
 * the tree in is the argument. On BenchFS and on any other file system the output has to be the same. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *top;

static void fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    if (fd < 0 || write(fd, path, strlen(path)) < 0 || close(fd) < 0)
        fail(path);
}

static void make_tree(void)
{
    static const char *const directories[] = {"a", "a/b", "a/b/c", "a/empty", "a/gone", "a/skipped", "z"};
    static const char *const files[] = {"a/1", "a/b/2", "a/b/c/3", "a/skipped/4", "z/5"};
    static const char *const links[][2] = {
        {"1", "a/to-file"}, {"..", "a/b/up"}, {"nowhere", "a/dangling"}, {"../z", "a/to-z"}};
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++)
        if (mkdir(directories[i], 0755) < 0 && errno != EEXIST)
            fail(directories[i]);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        put(files[i]);
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
            fail(links[i][1]);
    if (mkfifo("a/fifo", 0644) < 0 && errno != EEXIST)
        fail("a/fifo");
}

static int by_name(const FTSENT **left, const FTSENT **right)
{
    return strcmp((*left)->fts_name, (*right)->fts_name);
}

static int backwards(const FTSENT **left, const FTSENT **right)
{
    return by_name(right, left);
}

static const char *info_name(const FTSENT *entry)
{
    static const char *const names[] = {"?",   "D", "DC",   "DEFAULT", "DNR",  "DOT", "DP",
                                        "ERR", "F", "INIT", "NS",      "NSOK", "SL",  "SLNONE"};
    return entry->fts_info < sizeof names / sizeof names[0] ? names[entry->fts_info] : "??";
}

static void print_entry(const FTSENT *entry, int options)
{
    const char *path = entry->fts_path;
    if (strncmp(path, top, strlen(top)) == 0)
        path += strlen(top);
    printf("  %d %s %s (%s)", entry->fts_level, info_name(entry), path, entry->fts_name);
    if (entry->fts_namelen != strlen(entry->fts_name) || entry->fts_pathlen != strlen(entry->fts_path))
        printf(" lengths %d %d", entry->fts_namelen, entry->fts_pathlen);
    if ((options & FTS_NOCHDIR) && strcmp(entry->fts_accpath, entry->fts_path) != 0)
        printf(" reached by %s", entry->fts_accpath);
    if (entry->fts_info == FTS_F && entry->fts_statp->st_size == 0)
        printf(" without attributes");
    if (entry->fts_info == FTS_DC)
        printf(" is %s", entry->fts_cycle->fts_name);
    if (entry->fts_level > 0)
        printf(" in %s", entry->fts_parent->fts_name);
    if (entry->fts_info == FTS_NS || entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR)
        printf(": %s", strerror(entry->fts_errno));
    printf(" [%ld]\n", entry->fts_number);
}

/* What is done at an entry, by its name. */
static void instruct(FTS *walk, FTSENT *entry, const char *instructions, unsigned *again)
{
    bool first = entry->fts_info != FTS_DP && entry->fts_number == 0;
    entry->fts_number++;
    if (strchr(instructions, 's') && strcmp(entry->fts_name, "skipped") == 0 && first)
        fts_set(walk, entry, FTS_SKIP);
    if (strchr(instructions, 'a') && strcmp(entry->fts_name, "1") == 0 && (*again)++ == 0)
        fts_set(walk, entry, FTS_AGAIN);
    if (strchr(instructions, 'f') && entry->fts_info == FTS_SL)
        fts_set(walk, entry, FTS_FOLLOW);
    if (strchr(instructions, 'g') && strcmp(entry->fts_name, "gone") == 0 && first)
        rmdir(entry->fts_accpath);
    if (strpbrk(instructions, "cn") && entry->fts_info == FTS_D) {
        FTSENT *child = fts_children(walk, strchr(instructions, 'n') ? FTS_NAMEONLY : 0);
        for (; child != NULL; child = child->fts_link) {
            printf("    child %s (%s)\n", strchr(instructions, 'n') ? "" : info_name(child), child->fts_name);
            if (strcmp(child->fts_name, "skipped") == 0 && strchr(instructions, 'c'))
                fts_set(walk, child, FTS_SKIP);
        }
    }
}

static void walk(char *const *roots, int options, bool forward, const char *instructions)
{
    printf("options %x, %s, instructions \"%s\"\n", options, forward ? "forward" : "backward", instructions);
    FTS *walk = fts_open(roots, options, forward ? by_name : backwards);
    if (walk == NULL) {
        printf("  fts_open: %s\n", strerror(errno));
        return;
    }
    if (strchr(instructions, 'c') != NULL)
        for (const FTSENT *root = fts_children(walk, 0); root != NULL; root = root->fts_link)
            printf("  root %s\n", root->fts_name);
    unsigned again = 0, count = 0;
    FTSENT *entry = NULL;
    while (count++ < 1000 && (errno = 0, entry = fts_read(walk)) != NULL) {
        print_entry(entry, options);
        instruct(walk, entry, instructions, &again);
        if (strchr(instructions, 'e') && count == 7)
            break;
    }
    printf("  errno %d\n", entry == NULL ? errno : 0);
    if (entry != NULL && fts_set(walk, entry, 77) == 0)
        printf("  an instruction that there is not was taken\n");
    if (fts_close(walk) != 0)
        printf("  fts_close: %s\n", strerror(errno));
    if (chdir(top) < 0 || (mkdir("a/gone", 0755) < 0 && errno != EEXIST))
        fail(top);
}

int main(int argc, char **argv)
{
    static const int options[] = {FTS_PHYSICAL,
                                  FTS_LOGICAL,
                                  FTS_PHYSICAL | FTS_NOCHDIR,
                                  FTS_LOGICAL | FTS_NOCHDIR,
                                  FTS_PHYSICAL | FTS_NOCHDIR | FTS_SEEDOT,
                                  FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW | FTS_XDEV,
                                  0};
    /* fts_children at a link that is followed ends the C library's walk unless it stays in its directory. */
    static const char *const instructions[] = {"", "s", "a", "f", "g", "c", "n", "e", "sf", "sfc"};
    static const unsigned last = sizeof instructions / sizeof instructions[0] - 1;
    if (argc != 2 || chdir(argv[1]) < 0)
        return 2;
    top = argv[1];
    make_tree();
    char whole[4096], link[4200];
    snprintf(whole, sizeof whole, "%s", top);
    snprintf(link, sizeof link, "%s/a/to-z", top);
    char *const one[] = {whole, NULL},
                *const several[] = {(char[]){"z"}, link, (char[]){"absent"}, (char[]){"a/1"}, NULL},
                *const empty[] = {(char[]){"a"}, (char[]){""}, NULL};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        for (size_t k = 0; k < last + ((options[i] & FTS_NOCHDIR) != 0); k++)
            walk(one, options[i], k % 2 == 0, instructions[k]);
        walk(several, options[i], true, "c");
        walk(several, options[i], false, "");
    }
    walk(empty, FTS_PHYSICAL, true, "");
    return 0;
}
