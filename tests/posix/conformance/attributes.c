/* chmod and chown: who may set what, and what goes with it (set-user-id, set-group-id). */
#include "conformance.h"

enum { OWNER = 1001, GROUP = 2001, STRANGER = 1002, STRANGERS = 2002 };
static const struct identity owner = {"the owner", OWNER, GROUP, 1, {2005}};
static const struct identity owner_elsewhere = {"the owner, in another group", OWNER, STRANGERS, 0, {0}};
static const struct identity stranger = {"a stranger", STRANGER, STRANGERS, 0, {0}};

/* Every mode is kept as it is set, on every kind, by name and by descriptor. */
static void all_modes(void)
{
    make_file("f", "x");
    OK(mkdir("d", 0755));
    OK(symlink("f", "l"));
    int fd = (int)OK(open("f", O_RDWR)), directory = (int)OK(open("d", O_RDONLY));
    for (mode_t mode = 0; mode <= 07777; mode = mode < 0777 ? mode + 1 : mode + 37) {
        EXPECT_ERROR(0, chmod("f", mode), "chmod %o", mode);
        EXPECT_VALUE(S_IFREG | mode, status_of("f").st_mode, "chmod %o", mode);
        EXPECT_ERROR(0, fchmod(directory, mode), "fchmod %o", mode);
        EXPECT_VALUE(S_IFDIR | mode, status_of("d").st_mode, "fchmod %o", mode);
        EXPECT_ERROR(0, fchmod(fd, mode ^ 0777), "fchmod %o", mode ^ 0777);
        EXPECT_VALUE(S_IFREG | (mode ^ 0777), status_of("f").st_mode, "fchmod %o", mode ^ 0777);
    }
    OK(chmod("l", 0604)); /* what it leads to */
    IS(0604, status_of("f").st_mode & 07777);
    IS(0777, status_of("l").st_mode & 07777);
    OK(chmod("f", 0170644)); /* the type does not change */
    IS(S_IFREG | 0644, status_of("f").st_mode);
    OK(close(fd));
    OK(close(directory));
}

static void owners(void)
{
    static const uid_t ids[] = {0, 1, 1000, 65534, 65535, 65536, 1u << 31, 0xfffffffe};
    need_root();
    make_file("f", "x");
    OK(symlink("f", "l"));
    OK(symlink("nowhere", "dangling"));
    int fd = (int)OK(open("f", O_RDONLY));
    for (unsigned i = 0; i < COUNT(ids); i++) {
        EXPECT_ERROR(0, chown("f", ids[i], ids[COUNT(ids) - 1 - i]), "chown %u", ids[i]);
        EXPECT_VALUE(ids[i], status_of("f").st_uid, "chown %u", ids[i]);
        EXPECT_VALUE(ids[COUNT(ids) - 1 - i], status_of("f").st_gid, "chown %u", ids[i]);
        EXPECT_ERROR(0, fchown(fd, ids[i], (gid_t)-1), "fchown %u", ids[i]);
        EXPECT_VALUE(ids[COUNT(ids) - 1 - i], status_of("f").st_gid, "fchown without group");
        EXPECT_ERROR(0, fchown(fd, (uid_t)-1, ids[i]), "fchown %u", ids[i]);
        EXPECT_VALUE(ids[i], status_of("f").st_uid, "fchown without owner");
        EXPECT_VALUE(ids[i], status_of("f").st_gid, "fchown");
        EXPECT_ERROR(0, chown("f", (uid_t)-1, (gid_t)-1), "chown of nothing");
        EXPECT_VALUE(ids[i], status_of("f").st_uid, "chown of nothing");
        EXPECT_ERROR(0, lchown("dangling", ids[i], ids[i]), "lchown %u", ids[i]);
        EXPECT_VALUE(ids[i], status_of("dangling").st_uid, "lchown %u", ids[i]);
    }
    OK(chown("l", 7, 8));
    IS(7, status_of("f").st_uid);
    IS(0, status_of("l").st_uid);
    OK(lchown("l", 9, 10));
    IS(7, status_of("f").st_uid);
    IS(9, status_of("l").st_uid);
    FAILS(ENOENT, chown("dangling", 1, 1));
    OK(close(fd));
}

/* Only the owner changes a mode; only root gives files away; the owner may give them to a group of his. */
static void who_may_change(void)
{
    need_root();
    OK(chmod(".", 0777));
    make_file("f", "x");
    OK(chown("f", OWNER, GROUP));
    OK(chmod("f", 0666));
    become(&stranger);
    FAILS(EPERM, chmod("f", 0600));
    FAILS(EPERM, chown("f", STRANGER, (gid_t)-1));
    FAILS(EPERM, chown("f", (uid_t)-1, STRANGERS));
    FAILS(EPERM, chown("f", OWNER, (gid_t)-1)); /* not even to whom it belongs */
    OK(chown("f", (uid_t)-1, (gid_t)-1));
    become(&owner);
    OK(chmod("f", 0600));
    OK(chmod("f", 0777));
    FAILS(EPERM, chown("f", STRANGER, (gid_t)-1));
    FAILS(EPERM, chown("f", 0, 0));
    FAILS(EPERM, chown("f", (uid_t)-1, STRANGERS));
    OK(chown("f", OWNER, (gid_t)-1));
    OK(chown("f", (uid_t)-1, 2005)); /* a supplementary group */
    IS(2005, status_of("f").st_gid);
    OK(chown("f", OWNER, GROUP));
    IS(GROUP, status_of("f").st_gid);
    become(&owner_elsewhere);
    OK(chown("f", (uid_t)-1, STRANGERS));
    FAILS(EPERM, chown("f", (uid_t)-1, 2005));
    become(NULL);
    IS(0777, status_of("f").st_mode & 07777);
    OK(chown("f", STRANGER, 0));
    become(&owner);
    FAILS(EPERM, chmod("f", 0600));
    become(NULL);
}

/* A mode's S_ISGID needs membership in the file's group. */
static void set_group_id_by_chmod(void)
{
    need_root();
    OK(chmod(".", 0777));
    make_file("f", "x");
    OK(mkdir("d", 0755));
    OK(chown("f", OWNER, GROUP));
    OK(chown("d", OWNER, GROUP));
    become(&owner);
    OK(chmod("f", 06755));
    IS(06755, status_of("f").st_mode & 07777);
    OK(chmod("d", 02755));
    IS(02755, status_of("d").st_mode & 07777);
    become(&owner_elsewhere);
    OK(chmod("f", 06755));
    IS(04755, status_of("f").st_mode & 07777);
    OK(chmod("f", 02644));
    IS(0644, status_of("f").st_mode & 07777);
    OK(chmod("d", 03755));
    IS(01755, status_of("d").st_mode & 07777);
    OK(chmod("f", 01644)); /* Linux lets files be sticky */
    IS(01644, status_of("f").st_mode & 07777);
    become(NULL);
    OK(chmod("f", 07777));
    IS(07777, status_of("f").st_mode & 07777);
}

/* What a change of owner does to set-user-id and set-group-id. */
static void cleared_by_chown(void)
{
    static const struct {
        mode_t before, after;
    } files[] = {
        {04755, 0755}, {02755, 0755},  {06755, 0755},  {06711, 0711}, {02745, 02745}, {06745, 02745},
        {04644, 0644}, {06666, 02666}, {07777, 01777}, {0755, 0755},  {01755, 01755}, {02010, 010},
    };
    need_root();
    NEED("suidclearing");
    NEED("suidclearing");
    OK(chmod(".", 0777));
    make_file("f", "x");
    OK(mkdir("d", 0755));
    for (unsigned i = 0; i < COUNT(files); i++) {
        for (unsigned way = 0; way < 3; way++) {
            become(NULL);
            EXPECT_ERROR(0, chown("f", OWNER, GROUP), "chown");
            EXPECT_ERROR(0, chmod("f", files[i].before), "chmod");
            if (way == 0) { /* root, of both */
                EXPECT_ERROR(0, chown("f", STRANGER, STRANGERS), "chown");
            } else if (way == 1) { /* the owner, of the group only */
                become(&owner);
                EXPECT_ERROR(0, chown("f", (uid_t)-1, 2005), "chown");
            } else { /* to what it is */
                EXPECT_ERROR(0, chown("f", OWNER, GROUP), "chown");
            }
            EXPECT_VALUE(files[i].after, status_of("f").st_mode & 07777, "mode %o after chown, way %u",
                         files[i].before, way);
        }
        become(NULL);
        EXPECT_ERROR(0, chmod("f", files[i].before), "chmod");
        EXPECT_ERROR(0, chown("f", (uid_t)-1, (gid_t)-1), "chown of nothing");
        /* Directories keep theirs. */
        EXPECT_ERROR(0, chown("d", OWNER, GROUP), "chown");
        EXPECT_ERROR(0, chmod("d", files[i].before), "chmod");
        EXPECT_ERROR(0, chown("d", STRANGER, STRANGERS), "chown");
        EXPECT_VALUE(files[i].before, status_of("d").st_mode & 07777, "mode %o of a directory",
                     files[i].before);
    }
}

/* Whoever is not root and changes what a set-user-id file holds takes that from it. */
static int change_by_write(int fd)
{
    return (int)write(fd, "x", 1);
}
static int change_by_pwrite(int fd)
{
    return (int)pwrite(fd, "x", 1, 100);
}
static int change_by_append(int fd)
{
    (void)fd;
    int own = open("f", O_WRONLY | O_APPEND);
    int result = (int)write(own, "x", 1);
    close(own);
    return result;
}
static int change_by_large_write(int fd)
{
    char *bytes = calloc(1, 3 << 20);
    ssize_t written = write(fd, bytes, 3 << 20);
    free(bytes);
    return written == 3 << 20 ? 0 : -1;
}
static int change_by_ftruncate(int fd)
{
    return ftruncate(fd, 1);
}
static int change_by_truncate(int fd)
{
    (void)fd;
    return truncate("f", 2);
}
static int change_by_growing(int fd)
{
    return ftruncate(fd, 10000);
}
static int change_by_open(int fd)
{
    (void)fd;
    int own = open("f", O_WRONLY | O_TRUNC);
    return own < 0 ? -1 : close(own);
}

static void cleared_by_changes(void)
{
    static const struct {
        const char *name;
        int (*change)(int fd);
    } changes[] = {
        {"write", change_by_write},         {"pwrite", change_by_pwrite},
        {"append", change_by_append},       {"large write", change_by_large_write},
        {"ftruncate", change_by_ftruncate}, {"truncate", change_by_truncate},
        {"growing", change_by_growing},     {"O_TRUNC", change_by_open},
    };
    static const struct {
        mode_t before, after;
    } modes[] = {{04777, 0777}, {06777, 0777}, {02777, 0777}, {04666, 0666}, {01777, 01777}, {0777, 0777}};
    need_root();
    NEED("suidclearing");
    OK(chmod(".", 0777));
    for (unsigned c = 0; c < COUNT(changes); c++)
        for (unsigned m = 0; m < COUNT(modes); m++) {
            become(NULL);
            make_file("f", "content");
            EXPECT_ERROR(0, chown("f", OWNER, GROUP), "chown");
            EXPECT_ERROR(0, chmod("f", modes[m].before), "chmod");
            int fd = open("f", O_RDWR);
            EXPECT_ERROR(0, changes[c].change(fd), "%s by root", changes[c].name);
            EXPECT_VALUE(modes[m].before, status_of("f").st_mode & 07777, "%s by root, mode %o",
                         changes[c].name, modes[m].before);
            close(fd);
            become(&stranger);
            fd = open("f", O_RDWR);
            EXPECT_ERROR(0, fd, "open");
            EXPECT_ERROR(0, changes[c].change(fd), "%s by another", changes[c].name);
            EXPECT_VALUE(modes[m].after, status_of("f").st_mode & 07777, "%s by another, mode %o",
                         changes[c].name, modes[m].before);
            close(fd);
            become(NULL);
            unlink("f");
        }
}

/* What stat says of a new file. */
static void first_attributes(void)
{
    struct stat file, directory, link_, other;
    make_file("f", "");
    OK(mkdir("d", 0755));
    OK(symlink("f", "l"));
    OK(lstat("f", &file));
    OK(lstat("d", &directory));
    OK(lstat("l", &link_));
    TRUE(file.st_ino != directory.st_ino && directory.st_ino != link_.st_ino && file.st_ino != link_.st_ino);
    TRUE(file.st_dev == directory.st_dev && file.st_dev == link_.st_dev);
    IS(0, file.st_size);
    IS(0, file.st_blocks);
    IS(1, file.st_nlink);
    IS(2, directory.st_nlink);
    TRUE(file.st_blksize >= 512);
    TRUE(nanoseconds(file.st_atim) == nanoseconds(file.st_mtim));
    TRUE(nanoseconds(file.st_mtim) == nanoseconds(file.st_ctim));
    int fd = (int)OK(open("f", O_RDWR));
    OK(fstat(fd, &other));
    IS(file.st_ino, other.st_ino);
    IS(file.st_dev, other.st_dev);
    char *bytes = calloc(1, 1 << 20);
    IS(1 << 20, write(fd, bytes, 1 << 20));
    free(bytes);
    OK(fsync(fd));
    OK(fstat(fd, &other));
    IS(1 << 20, other.st_size);
    TRUE(other.st_blocks >= (1 << 20) / 512);
    TRUE(other.st_blocks <= (2 << 20) / 512);
    OK(close(fd));
    /* A number is never used twice while anybody could know it. */
    OK(stat(".", &other));
    OK(rename("f", "g"));
    IS(file.st_ino, status_of("g").st_ino);
    OK(chmod("g", 0600));
    IS(file.st_ino, status_of("g").st_ino);
}

CASES(CASE(all_modes), CASE(owners), CASE(who_may_change), CASE(set_group_id_by_chmod),
      CASE(cleared_by_chown), CASE(cleared_by_changes), CASE(first_attributes))
