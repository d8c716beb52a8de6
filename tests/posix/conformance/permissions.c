/* Who may do what: every mode for owner, group, supplementary group and others, with every call; sticky
 * directories; what root may not. */
#include "conformance.h"

enum { OWNER = 1001, GROUP = 2001, STRANGER = 1002, STRANGERS = 2002 };

static const struct identity identities[] = {
    {"the owner", OWNER, STRANGERS, 0, {0}},
    {"a member", STRANGER, GROUP, 0, {0}},
    {"a supplementary member", STRANGER, STRANGERS, 3, {7, GROUP, 9}},
    {"another", STRANGER, STRANGERS, 2, {7, 9}},
    {"root", 0, 0, 0, {0}},
};
enum { ROOT = 4 };

/* The bits of `mode` that count for that one. */
static unsigned rights(unsigned who, mode_t mode)
{
    return who == 0 ? mode >> 6 & 7 : who <= 2 ? mode >> 3 & 7 : mode & 7;
}

/* Modes that give each class each set of rights, the others none or all. */
static unsigned test_modes(mode_t modes[])
{
    unsigned count = 0;
    for (unsigned bits = 0; bits < 8; bits++) {
        modes[count++] = bits << 6;
        modes[count++] = bits << 3;
        modes[count++] = bits;
        modes[count++] = bits << 6 | 077;
        modes[count++] = 0707 | bits << 3;
        modes[count++] = 0770 | bits;
    }
    return count;
}

static int close_if_open(int fd)
{
    return fd < 0 ? -1 : close(fd);
}

static int close_stream(DIR *stream)
{
    return stream == NULL ? -1 : closedir(stream);
}

static void files(void)
{
    mode_t modes[48];
    unsigned count = test_modes(modes);
    need_root();
    make_file("f", "content");
    OK(chown("f", OWNER, GROUP));
    OK(chmod(".", 0777));
    for (unsigned i = 0; i < count; i++) {
        become(NULL);
        EXPECT_ERROR(0, chmod("f", modes[i]), "chmod");
        for (unsigned who = 0; who < COUNT(identities); who++) {
            unsigned bits = rights(who, modes[i]);
            if (who == ROOT)
                bits = 6 | (modes[i] & 0111 ? 1 : 0);
            char row[80];
            snprintf(row, sizeof row, "mode %03o, %s", modes[i], identities[who].name);
            become(&identities[who]);
            int r = bits & 4 ? 0 : EACCES, w = bits & 2 ? 0 : EACCES, x = bits & 1 ? 0 : EACCES;
            EXPECT_ERROR(r, close_if_open(open("f", O_RDONLY)), "%s: open for reading", row);
            EXPECT_ERROR(w, close_if_open(open("f", O_WRONLY)), "%s: open for writing", row);
            EXPECT_ERROR(r | w, close_if_open(open("f", O_RDWR)), "%s: open for both", row);
            EXPECT_ERROR(r, close_if_open(open("f", O_RDONLY | O_CREAT, 0644)), "%s: open with O_CREAT", row);
            EXPECT_ERROR(w, close_if_open(open("f", O_WRONLY | O_APPEND)), "%s: open for appending", row);
            EXPECT_ERROR(r | w, close_if_open(open("f", O_RDONLY | O_TRUNC)), "%s: open with O_TRUNC", row);
            EXPECT_ERROR(w, close_if_open(open("f", O_WRONLY | O_TRUNC)), "%s: truncating open", row);
            EXPECT_ERROR(0, close_if_open(open("f", O_PATH)), "%s: open as a place", row);
            EXPECT_ERROR(w, truncate("f", 3), "%s: truncate", row);
            EXPECT_ERROR(0, access("f", F_OK), "%s: access F", row);
            EXPECT_ERROR(r, access("f", R_OK), "%s: access R", row);
            EXPECT_ERROR(w, access("f", W_OK), "%s: access W", row);
            EXPECT_ERROR(x, access("f", X_OK), "%s: access X", row);
            EXPECT_ERROR(r | w, access("f", R_OK | W_OK), "%s: access RW", row);
            EXPECT_ERROR(r | w | x, access("f", R_OK | W_OK | X_OK), "%s: access RWX", row);
            EXPECT_ERROR(0, lstat("f", &(struct stat){0}), "%s: lstat", row);
            int now = who == 0 || who == ROOT ? 0 : w, set = who == 0 || who == ROOT ? 0 : EPERM;
            EXPECT_ERROR(now, utimensat(AT_FDCWD, "f", NULL, 0), "%s: times to now", row);
            struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 6}};
            EXPECT_ERROR(set, utimensat(AT_FDCWD, "f", times, 0), "%s: times to others", row);
            EXPECT_ERROR(set, chmod("f", modes[i]), "%s: chmod", row);
        }
        become(NULL);
    }
}

static void directories(void)
{
    mode_t modes[48];
    unsigned count = test_modes(modes);
    need_root();
    OK(chmod(".", 0777));
    OK(mkdir("d", 0755));
    make_file("d/f", "x");
    OK(mkdir("d/sub", 0777));
    OK(chmod("d/f", 0666));
    OK(symlink("f", "d/l"));
    OK(chown("d", OWNER, GROUP));
    for (unsigned i = 0; i < count; i++) {
        become(NULL);
        EXPECT_ERROR(0, chmod("d", modes[i]), "chmod");
        for (unsigned who = 0; who < COUNT(identities); who++) {
            unsigned bits = who == ROOT ? 7 : rights(who, modes[i]);
            char row[80], byte;
            struct stat status;
            snprintf(row, sizeof row, "mode %03o, %s", modes[i], identities[who].name);
            become(&identities[who]);
            int list = bits & 4 ? 0 : EACCES, search = bits & 1 ? 0 : EACCES,
                change = (bits & 3) == 3 ? 0 : EACCES;
            EXPECT_ERROR(list, close_if_open(open("d", O_RDONLY | O_DIRECTORY)), "%s: open", row);
            EXPECT_ERROR(list, close_stream(opendir("d")), "%s: opendir", row);
            EXPECT_ERROR(0, close_if_open(open("d", O_PATH)), "%s: open as a place", row);
            EXPECT_ERROR(0, stat("d", &status), "%s: stat", row);
            EXPECT_ERROR(search, stat("d/f", &status), "%s: stat inside", row);
            EXPECT_ERROR(search ? search : ENOENT, stat("d/none", &status), "%s: stat of nothing", row);
            EXPECT_ERROR(search, readlink("d/l", &byte, 1), "%s: readlink", row);
            EXPECT_ERROR(search, close_if_open(open("d/f", O_RDWR)), "%s: open inside", row);
            EXPECT_ERROR(search, close_if_open(open("d/f", O_RDWR | O_CREAT, 0644)), "%s: O_CREAT inside",
                         row);
            EXPECT_ERROR(search, truncate("d/f", 0), "%s: truncate inside", row);
            EXPECT_ERROR(search, access("d/f", R_OK), "%s: access inside", row);
            EXPECT_ERROR(search, stat("d/sub/..", &status), "%s: through", row);
            EXPECT_ERROR(change, close_if_open(open("d/new", O_WRONLY | O_CREAT | O_EXCL, 0644)),
                         "%s: create", row);
            EXPECT_ERROR(change, change ? unlink("d/f") : unlink("d/new"), "%s: unlink", row);
            EXPECT_ERROR(change, mkdir("d/new", 0755), "%s: mkdir", row);
            EXPECT_ERROR(change, change ? rmdir("d/sub") : rmdir("d/new"), "%s: rmdir", row);
            EXPECT_ERROR(change, symlink("x", "d/new"), "%s: symlink", row);
            EXPECT_ERROR(change, change ? rename("d/f", "d/g") : rename("d/new", "d/renamed"), "%s: rename",
                         row);
            EXPECT_ERROR(change, change ? rename("d/f", "out") : rename("d/renamed", "out"), "%s: rename out",
                         row);
            if (change == 0)
                EXPECT_ERROR(0, rename("out", "d/in"), "%s: rename in", row);
            if (change == 0)
                EXPECT_ERROR(0, unlink("d/in"), "%s: unlink", row);
            EXPECT_ERROR(search ? search : EEXIST, mkdir("d/sub", 0755), "%s: mkdir of what exists", row);
        }
        become(NULL);
    }
    IS(3, entry_count("d"));
}

/* "." and ".." are names in a directory too. */
static void dots_need_search(void)
{
    struct stat status;
    need_root();
    NEED("dotsearch");
    OK(mkdir("d", 0755));
    OK(chown("d", OWNER, GROUP));
    for (mode_t bits = 0; bits < 8; bits++) {
        OK(chmod("d", bits << 6 | bits << 3 | bits));
        for (unsigned who = 0; who < COUNT(identities); who++) {
            int error = who == ROOT || (bits & 1) ? 0 : EACCES;
            become(&identities[who]);
            EXPECT_ERROR(error, stat("d/.", &status), "mode %o, %s: stat .", bits, identities[who].name);
            EXPECT_ERROR(error, stat("d/..", &status), "mode %o, %s: stat ..", bits, identities[who].name);
            EXPECT_ERROR(error, stat("d/../d", &status), "mode %o, %s: stat ../d", bits,
                         identities[who].name);
            become(NULL);
        }
    }
}

/* Rights of every directory on the way count, whatever is at its end. */
static void the_way(void)
{
    struct stat status;
    need_root();
    OK(mkdir("a", 0755));
    OK(mkdir("a/b", 0700));
    OK(mkdir("a/b/c", 0777));
    OK(chmod("a/b/c", 0777));
    make_file("a/b/c/f", "x");
    OK(chmod("a/b/c/f", 0666));
    OK(symlink("a/b/c/f", "l"));
    int inside = (int)OK(open("a/b/c", O_RDONLY | O_DIRECTORY)), fd = (int)OK(open("a/b/c/f", O_RDWR));
    become(&identities[3]);
    FAILS(EACCES, stat("a/b/c/f", &status));
    FAILS(EACCES, stat("a/b/c", &status));
    FAILS(EACCES, stat("a/b/none", &status));
    FAILS(EACCES, stat("l", &status));
    FAILS(EACCES, open("l", O_RDWR | O_CREAT, 0644));
    FAILS(EACCES, rename("a/b/c/f", "x"));
    OK(stat("a/b", &status));
    OK(lstat("l", &status));
    /* Who is inside already needs no way. */
    OK(fstatat(inside, "f", &status, 0));
    OK(close((int)OK(openat(inside, "new", O_RDWR | O_CREAT, 0644))));
    FAILS(EACCES, fstatat(inside, "../c/f", &status, 0));
    IS(1, write(fd, "y", 1));
    OK(fstat(fd, &status));
    become(NULL);
    IS(STRANGER, status_of("a/b/c/new").st_uid);
    /* Rights taken away bind at once, rights given too. */
    OK(chmod("a/b", 0711));
    become(&identities[3]);
    OK(stat("a/b/c/f", &status));
    become(NULL);
    OK(chmod("a/b", 0710));
    become(&identities[3]);
    FAILS(EACCES, stat("a/b/c/f", &status));
    become(NULL);
    OK(chown("a/b", STRANGER, 0));
    OK(chmod("a/b", 0100));
    become(&identities[3]);
    OK(stat("a/b/c/f", &status));
    become(NULL);
    OK(close(inside));
    OK(close(fd));
}

/* What a descriptor may do was decided when it was opened. */
static void descriptors_keep_their_rights(void)
{
    char byte;
    need_root();
    OK(chmod(".", 0777));
    become(&identities[0]);
    make_file("f", "content");
    int fd = (int)OK(open("f", O_RDWR));
    OK(chmod("f", 0));
    FAILS(EACCES, open("f", O_RDONLY));
    IS(1, read(fd, &byte, 1));
    IS(1, write(fd, "x", 1));
    OK(ftruncate(fd, 3));
    OK(fchmod(fd, 0400));
    become(&identities[3]);
    IS(1, pread(fd, &byte, 1, 0));
    IS(1, pwrite(fd, "y", 1, 0));
    OK(ftruncate(fd, 2));
    FAILS(EPERM, fchmod(fd, 0666));
    FAILS(EPERM, fchown(fd, STRANGER, STRANGERS));
    OK(futimens(fd, NULL) < 0 && errno == EACCES ? 0 : -1);
    OK(close(fd));
    become(&identities[0]);
    fd = (int)OK(open("g", O_WRONLY | O_CREAT | O_EXCL, 0400));
    IS(1, write(fd, "x", 1));
    OK(close(fd));
    FAILS(EACCES, open("g", O_WRONLY));
    become(NULL);
}

/* New files belong to who makes them; in a set-group-id directory to its group. */
static void ownership_of_new_files(void)
{
    need_root();
    OK(chmod(".", 0777));
    OK(mkdir("plain", 0777));
    OK(chmod("plain", 0777));
    OK(mkdir("shared", 0777));
    OK(chown("shared", OWNER, GROUP));
    OK(chmod("shared", 02777));
    static const char *const places[] = {"plain", "shared"};
    for (unsigned who = 0; who < COUNT(identities); who++)
        for (unsigned place = 0; place < 2; place++) {
            char path[64];
            char row[100];
            become(&identities[who]);
            gid_t group = place == 1 ? GROUP : identities[who].gid;
            snprintf(row, sizeof row, "%s in %s", identities[who].name, places[place]);
            snprintf(path, sizeof path, "%s/f%u", places[place], who);
            make_file(path, "x");
            EXPECT_VALUE(identities[who].uid, status_of(path).st_uid, "%s: owner of a file", row);
            EXPECT_VALUE(group, status_of(path).st_gid, "%s: group of a file", row);
            EXPECT_VALUE(S_IFREG | 0644, status_of(path).st_mode, "%s: mode of a file", row);
            snprintf(path, sizeof path, "%s/d%u", places[place], who);
            EXPECT_ERROR(0, mkdir(path, 0755), "%s: mkdir", row);
            EXPECT_VALUE(identities[who].uid, status_of(path).st_uid, "%s: owner of a directory", row);
            EXPECT_VALUE(group, status_of(path).st_gid, "%s: group of a directory", row);
            EXPECT_VALUE(S_IFDIR | 0755 | (place == 1 ? S_ISGID : 0), status_of(path).st_mode,
                         "%s: mode of a directory", row);
            snprintf(path, sizeof path, "%s/l%u", places[place], who);
            EXPECT_ERROR(0, symlink("x", path), "%s: symlink", row);
            EXPECT_VALUE(identities[who].uid, status_of(path).st_uid, "%s: owner of a link", row);
            EXPECT_VALUE(group, status_of(path).st_gid, "%s: group of a link", row);
        }
    become(NULL);
    /* S_ISGID of a new executable file of a group that its maker is not in goes away. */
    static const struct {
        unsigned who;
        mode_t mode, kept;
    } made[] = {
        {1, 02755, 02755}, {2, 02755, 02755}, {3, 02755, 0755}, {3, 02744, 02744}, {ROOT, 02755, 02755}};
    for (unsigned i = 0; i < COUNT(made); i++) {
        become(&identities[made[i].who]);
        int fd = open("shared/x", O_RDWR | O_CREAT | O_EXCL, made[i].mode);
        EXPECT_ERROR(0, fd, "create");
        EXPECT_VALUE(made[i].kept, status_of("shared/x").st_mode & 07777, "%s makes %o",
                     identities[made[i].who].name, made[i].mode);
        close(fd);
        unlink("shared/x");
    }
    become(NULL);
}

/* In a sticky directory only the owner of the name's file, or of the directory, and root remove and rename.
 */
static void sticky_directories(void)
{
    static const struct identity directory_owner = {"the directory's owner", 1003, 2003, 0, {0}};
    static const struct identity *const all[] = {&identities[0], &identities[1],    &identities[2],
                                                 &identities[3], &identities[ROOT], &directory_owner};
    need_root();
    OK(chmod(".", 0777));
    for (unsigned sticky = 0; sticky < 2; sticky++) {
        OK(mkdir("d", 0777));
        OK(chown("d", 1003, 2003));
        OK(chmod("d", sticky ? 01777 : 0777));
        for (unsigned who = 0; who < COUNT(all); who++) {
            char row[80];
            bool may =
                !sticky || all[who]->uid == OWNER || all[who]->uid == 0 || all[who] == &directory_owner;
            int error = may ? 0 : EPERM;
            snprintf(row, sizeof row, "%s in a %s directory", all[who]->name, sticky ? "sticky" : "open");
            become(&identities[0]);
            make_file("d/f", "x");
            OK(chmod("d/f", 0666));
            OK(mkdir("d/sub", 0777));
            OK(chmod("d/sub", 0777)); /* its ".." is to change */
            OK(symlink("f", "d/l"));
            become(all[who]);
            EXPECT_ERROR(0, close_if_open(open("d/f", O_RDWR)), "%s: open", row);
            EXPECT_ERROR(0, close_if_open(open("d/mine", O_RDWR | O_CREAT | O_EXCL, 0644)), "%s: create",
                         row);
            EXPECT_ERROR(error, rename("d/f", "d/g"), "%s: rename", row);
            if (may)
                EXPECT_ERROR(0, rename("d/g", "d/f"), "%s: rename back", row);
            EXPECT_ERROR(error, rename("d/f", "out"), "%s: rename out", row);
            if (may)
                EXPECT_ERROR(0, rename("out", "d/f"), "%s: rename in", row);
            EXPECT_ERROR(error, rename("d/sub", "d/sub2"), "%s: rename of a directory", row);
            if (may)
                EXPECT_ERROR(0, rename("d/sub2", "d/sub"), "%s: rename of a directory back", row);
            EXPECT_ERROR(error, rename("d/mine", "d/f"), "%s: rename over", row);
            EXPECT_ERROR(may ? ENOENT : 0, unlink("d/mine"), "%s: unlink of one's own", row);
            EXPECT_ERROR(error, unlink("d/f"), "%s: unlink", row);
            EXPECT_ERROR(error, rmdir("d/sub"), "%s: rmdir", row);
            EXPECT_ERROR(error, unlink("d/l"), "%s: unlink of a link", row);
            become(NULL);
            remove_tree("d/f");
            remove_tree("d/sub");
            remove_tree("d/l");
            IS(0, entry_count("d"));
        }
        OK(rmdir("d"));
    }
    /* Leaving a sticky directory and entering one are two questions. */
    OK(mkdir("s", 0777));
    OK(chmod("s", 01777));
    OK(mkdir("o", 0777));
    OK(chmod("o", 0777));
    become(&identities[0]);
    make_file("o/f", "x");
    make_file("s/f", "x");
    become(&identities[3]);
    FAILS(EPERM, rename("o/f", "s/f"));
    OK(rename("o/f", "s/g"));
    FAILS(EPERM, rename("s/g", "o/f"));
    FAILS(EPERM, unlink("s/g"));
    become(NULL);
}

/* A directory of others cannot be moved by who may not change its "..". */
static void moving_directories(void)
{
    need_root();
    OK(chmod(".", 0777));
    OK(mkdir("a", 0777));
    OK(mkdir("b", 0777));
    OK(chmod("a", 0777));
    OK(chmod("b", 0777));
    OK(mkdir("a/d", 0755));
    become(&identities[3]);
    OK(rename("a/d", "a/e")); /* its ".." stays */
    FAILS(EACCES, rename("a/e", "b/d"));
    make_file("a/f", "x");
    OK(rename("a/f", "b/f"));
    OK(mkdir("a/mine", 0555));
    FAILS(EACCES, rename("a/mine", "b/mine"));
    OK(chmod("a/mine", 0755));
    OK(rename("a/mine", "b/mine"));
    become(NULL);
    OK(rename("a/e", "b/d"));
}

static void groups_in_number(void)
{
    need_root();
    make_file("f", "x");
    OK(chown("f", OWNER, GROUP));
    OK(chmod("f", 0060));
    OK(chmod(".", 0777));
    /* Membership counts wherever the group is in the list, and nothing else does. */
    for (gid_t first = 2000; first < 2003; first++) {
        struct identity one = {"with groups", STRANGER, STRANGERS, 4, {first, 3, first + 10, 5}};
        become(&one);
        EXPECT_ERROR(first == GROUP ? 0 : EACCES, close_if_open(open("f", O_RDWR)), "group %u first", first);
        one = (struct identity){"with groups", STRANGER, STRANGERS, 4, {1, 2, 3, first}};
        become(&one);
        EXPECT_ERROR(first == GROUP ? 0 : EACCES, close_if_open(open("f", O_RDWR)), "group %u last", first);
        one = (struct identity){"in a group", STRANGER, first, 0, {0}};
        become(&one);
        EXPECT_ERROR(first == GROUP ? 0 : EACCES, close_if_open(open("f", O_RDWR)), "group %u", first);
        one = (struct identity){"the owner in a group", OWNER, first, 0, {0}};
        become(&one);
        EXPECT_ERROR(EACCES, close_if_open(open("f", O_RDONLY)), "owner in group %u", first);
        one = (struct identity){"whose uid is a gid", (uid_t)first, 5, 0, {0}};
        become(&one);
        EXPECT_ERROR(EACCES, close_if_open(open("f", O_RDONLY)), "uid %u", first);
    }
    become(NULL);
}

CASES(CASE(files), CASE(directories), CASE(dots_need_search), CASE(the_way),
      CASE(descriptors_keep_their_rights), CASE(ownership_of_new_files), CASE(sticky_directories),
      CASE(moving_directories), CASE(groups_in_number))
