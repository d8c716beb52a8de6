/* Directory streams: complete, each name once, also while the directory changes; positions. */
#include "conformance.h"

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void make_many(int count)
{
    char path[64];
    OK(mkdir("d", 0755));
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "d/%d", i);
        make_file(path, "");
    }
}

/* Adds to seen[number] for each name that is a number; returns how many names there were but the dots. */
static int count_seen(DIR *stream, unsigned char *seen, int size)
{
    int total = 0;
    struct dirent *entry;
    while ((errno = 0, entry = readdir(stream)) != NULL) {
        if (is_dot(entry->d_name))
            continue;
        total++;
        int number = atoi(entry->d_name);
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && number < size)
            seen[number]++;
    }
    IS(0, errno);
    return total;
}

static void sizes(void)
{
    static const int counts[] = {0, 1, 2, 10, 100, 1500};
    unsigned char seen[1500];
    for (unsigned i = 0; i < COUNT(counts); i++) {
        make_many(counts[i]);
        DIR *stream = opendir("d");
        if (!TRUE(stream != NULL))
            return;
        memset(seen, 0, sizeof seen);
        EXPECT_VALUE(counts[i], count_seen(stream, seen, counts[i]), "%d names", counts[i]);
        for (int k = 0; k < counts[i]; k++)
            if (seen[k] != 1)
                EXPECT_VALUE(1, seen[k], "%d of %d", k, counts[i]);
        TRUE(readdir(stream) == NULL); /* and again */
        rewinddir(stream);
        EXPECT_VALUE(counts[i], count_seen(stream, seen, counts[i]), "%d names again", counts[i]);
        OK(closedir(stream));
        EXPECT_ERROR(counts[i] > 0 ? ENOTEMPTY : 0, rmdir("d"), "rmdir");
        remove_tree("d");
    }
}

/* What an entry says: type, inode number, and the dots. */
static void entries(void)
{
    OK(mkdir("d", 0755));
    make_file("d/file", "x");
    OK(mkdir("d/dir", 0755));
    OK(symlink("file", "d/link"));
    int dots = 0, others = 0;
    DIR *stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        char path[300];
        snprintf(path, sizeof path, "d/%s", entry->d_name);
        struct stat status = status_of(path);
        EXPECT_VALUE(IFTODT(status.st_mode), entry->d_type, "type of %s", entry->d_name);
        if (strcmp(entry->d_name, "..") != 0)
            EXPECT_VALUE(status.st_ino, entry->d_ino, "inode number of %s", entry->d_name);
        dots += is_dot(entry->d_name);
        others += !is_dot(entry->d_name);
    }
    OK(closedir(stream));
    IS(2, dots);
    IS(3, others);
    FAILS(ENOENT, (stream = opendir("none")) == NULL ? -1 : closedir(stream));
    FAILS(ENOTDIR, (stream = opendir("d/file")) == NULL ? -1 : closedir(stream));
    FAILS(ENOTDIR, (stream = opendir("d/link")) == NULL ? -1 : closedir(stream));
    FAILS(ENOENT, (stream = opendir("")) == NULL ? -1 : closedir(stream));
}

/* What is there all the time is seen once; what comes or goes meanwhile, at most once. */
static void changes(void)
{
    enum { COUNT_ = 300 };
    unsigned char seen[COUNT_ * 2] = {0};
    char path[64], to[64];
    make_many(COUNT_);
    DIR *stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    int round = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (is_dot(entry->d_name))
            continue;
        int number = atoi(entry->d_name);
        if (entry->d_name[0] <= '9' && number < COUNT_ * 2)
            seen[number]++;
        /* Even ones stay; odd ones go; new ones come with numbers from COUNT_ on. */
        if (round < COUNT_ / 2) {
            snprintf(path, sizeof path, "d/%d", round * 2 + 1);
            EXPECT_ERROR(0, unlink(path), "unlink");
            snprintf(path, sizeof path, "d/%d", COUNT_ + round);
            make_file(path, "");
            snprintf(path, sizeof path, "d/even%d", round);
            snprintf(to, sizeof to, "d/renamed%d", round);
            make_file(path, "");
            EXPECT_ERROR(0, rename(path, to), "rename");
        }
        if (++round > COUNT_ * 6)
            break;
    }
    TRUE(round <= COUNT_ * 6); /* it ends, though names were added all the time */
    OK(closedir(stream));
    for (int i = 0; i < COUNT_ * 2; i++) {
        if (i < COUNT_ && i % 2 == 0)
            EXPECT_VALUE(1, seen[i], "%d, which stayed", i);
        else
            EXPECT_VALUE(true, seen[i] <= 1, "%d, which came or went", i);
    }
    IS(COUNT_ + COUNT_ / 2, entry_count("d"));
}

/* Removing each name as it comes empties the directory in one pass. */
static void emptying(void)
{
    char path[300];
    make_many(500);
    DIR *stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    int removed = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (is_dot(entry->d_name))
            continue;
        snprintf(path, sizeof path, "d/%s", entry->d_name);
        EXPECT_ERROR(0, unlink(path), "unlink %s", path);
        removed++;
    }
    OK(closedir(stream));
    IS(500, removed);
    OK(rmdir("d"));
}

/* A rewound stream shows what is there now. */
static void rewinding(void)
{
    unsigned char seen[100] = {0};
    make_many(10);
    DIR *stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    IS(10, count_seen(stream, seen, 100));
    make_file("d/50", "");
    OK(unlink("d/3"));
    rewinddir(stream);
    memset(seen, 0, sizeof seen);
    IS(10, count_seen(stream, seen, 100));
    IS(1, seen[50]);
    IS(0, seen[3]);
    OK(closedir(stream));
}

/* From a position that telldir told, seekdir goes on where it was. */
static void positions(void)
{
    enum { COUNT_ = 300 };
    char names[COUNT_ + 2][NAME_MAX + 1];
    long told[COUNT_ + 3];
    int count = 0;
    make_many(COUNT_);
    DIR *stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    for (;;) {
        told[count] = telldir(stream);
        struct dirent *entry = readdir(stream);
        if (entry == NULL || count == COUNT_ + 2)
            break;
        strcpy(names[count++], entry->d_name);
    }
    IS(COUNT_ + 2, count);
    for (int i = 0; i < count; i += 7) {
        int at = (i * 37) % count;
        seekdir(stream, told[at]);
        for (int k = at; k < at + 3 && k < count; k++) {
            struct dirent *entry = readdir(stream);
            if (TRUE(entry != NULL))
                EXPECT_VALUE(0, strcmp(names[k], entry->d_name), "at %d, after seeking to %d: %s", k, at,
                             entry->d_name);
        }
    }
    seekdir(stream, told[count]);
    TRUE(readdir(stream) == NULL);
    seekdir(stream, told[0]);
    for (int i = 0; i < count; i++)
        TRUE(readdir(stream) != NULL);
    TRUE(readdir(stream) == NULL);
    OK(closedir(stream));
}

static void several_streams(void)
{
    unsigned char seen[200] = {0}, other[200] = {0};
    make_many(200);
    DIR *one = opendir("d"), *two = opendir("d");
    if (!TRUE(one != NULL && two != NULL))
        return;
    for (int i = 0; i < 100; i++) {
        struct dirent *entry = readdir(one);
        if (TRUE(entry != NULL) && !is_dot(entry->d_name))
            seen[atoi(entry->d_name)]++;
    }
    IS(200, count_seen(two, other, 200));
    count_seen(one, seen, 200);
    for (int i = 0; i < 200; i++) {
        EXPECT_VALUE(1, seen[i], "%d in the first", i);
        EXPECT_VALUE(1, other[i], "%d in the second", i);
    }
    OK(closedir(one));
    OK(closedir(two));
}

static void descriptors(void)
{
    unsigned char seen[20] = {0};
    make_many(20);
    make_file("f", "x");
    int fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
    DIR *stream = fdopendir(fd);
    if (!TRUE(stream != NULL))
        return;
    IS(20, count_seen(stream, seen, 20));
    OK(closedir(stream));
    FAILS(EBADF, fstat(fd, &(struct stat){0})); /* went with the stream */
    fd = (int)OK(open("f", O_RDONLY));
    FAILS(ENOTDIR, fdopendir(fd) == NULL ? -1 : 0);
    OK(close(fd));
    /* A stream goes on when its directory is renamed, and ends when that is removed. */
    stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    OK(rename("d", "e"));
    memset(seen, 0, sizeof seen);
    IS(20, count_seen(stream, seen, 20));
    OK(closedir(stream));
    OK(mkdir("gone", 0755));
    stream = opendir("gone");
    OK(rmdir("gone"));
    while (readdir(stream) != NULL)
        ;
    OK(closedir(stream));
}

/* Long names fill what a listing is read into. */
static void long_names(void)
{
    char path[300];
    OK(mkdir("d", 0755));
    for (int i = 0; i < 400; i++) {
        snprintf(path, sizeof path, "d/%03d%s", i, letters('n', 252));
        EXPECT_ERROR(0, mkdir(path, 0755), "mkdir");
    }
    unsigned char seen[400] = {0};
    DIR *stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (!is_dot(entry->d_name)) {
            EXPECT_VALUE(255, strlen(entry->d_name), "length");
            char digits[4] = {entry->d_name[0], entry->d_name[1], entry->d_name[2], '\0'};
            seen[atoi(digits)]++;
        }
    OK(closedir(stream));
    for (int i = 0; i < 400; i++)
        EXPECT_VALUE(1, seen[i], "%d", i);
}

CASES(CASE(sizes), CASE(entries), CASE(changes), CASE(emptying), CASE(rewinding), CASE(positions),
      CASE(several_streams), CASE(descriptors), CASE(long_names))
