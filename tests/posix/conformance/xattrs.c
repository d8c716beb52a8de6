/* Extended attributes: user.* of files and directories, in every form of the calls. */
#include "conformance.h"

enum form { BY_PATH, BY_LINK, BY_DESCRIPTOR, FORMS };
static const char *const form_names[FORMS] = {"path", "l", "f"};

static int set(enum form form, const char *path, const char *name, const void *value, size_t size, int flags)
{
    if (form == BY_PATH)
        return setxattr(path, name, value, size, flags);
    if (form == BY_LINK)
        return lsetxattr(path, name, value, size, flags);
    int fd = open(path, O_RDONLY), result = fsetxattr(fd, name, value, size, flags), error = errno;
    close(fd);
    errno = error;
    return result;
}

static ssize_t get(enum form form, const char *path, const char *name, void *value, size_t size)
{
    if (form == BY_PATH)
        return getxattr(path, name, value, size);
    if (form == BY_LINK)
        return lgetxattr(path, name, value, size);
    int fd = open(path, O_RDONLY);
    ssize_t result = fgetxattr(fd, name, value, size);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static ssize_t list(enum form form, const char *path, char *names, size_t size)
{
    if (form == BY_PATH)
        return listxattr(path, names, size);
    if (form == BY_LINK)
        return llistxattr(path, names, size);
    int fd = open(path, O_RDONLY);
    ssize_t result = flistxattr(fd, names, size);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static int take(enum form form, const char *path, const char *name)
{
    if (form == BY_PATH)
        return removexattr(path, name);
    if (form == BY_LINK)
        return lremovexattr(path, name);
    int fd = open(path, O_RDONLY), result = fremovexattr(fd, name), error = errno;
    close(fd);
    errno = error;
    return result;
}

/* Is the name in a list? */
static bool listed(const char *names, ssize_t length, const char *name)
{
    for (const char *at = names; at < names + length; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}

/* Names of ours in a list: others may have put security.* or system.* there. */
static int user_names(enum form form, const char *path)
{
    char names[4096];
    int count = 0;
    ssize_t length = list(form, path, names, sizeof names);
    for (const char *at = names; length > 0 && at < names + length; at += strlen(at) + 1)
        count += strncmp(at, "user.", 5) == 0;
    return length < 0 ? -1 : count;
}

static void values(void)
{
    NEED("xattrs");
    static const size_t lengths[] = {0, 1, 2, 15, 16, 100, 255, 256, 1000, 1024};
    static const char *const paths[] = {"f", "d"};
    char value[2000], back[2000];
    make_file("f", "x");
    OK(mkdir("d", 0755));
    for (unsigned p = 0; p < 2; p++)
        for (enum form form = BY_PATH; form < FORMS; form++)
            for (unsigned i = 0; i < COUNT(lengths); i++) {
                char row[80];
                snprintf(row, sizeof row, "%zu bytes by %s of %s", lengths[i], form_names[form], paths[p]);
                pattern_fill(value, lengths[i], i, 0);
                EXPECT_ERROR(0, set(form, paths[p], "user.a", value, lengths[i], 0), "%s: set", row);
                EXPECT_VALUE(lengths[i], get(form, paths[p], "user.a", NULL, 0), "%s: size", row);
                EXPECT_VALUE(lengths[i], get(form, paths[p], "user.a", back, sizeof back), "%s: get", row);
                EXPECT_VALUE(0, memcmp(value, back, lengths[i]), "%s: value", row);
                if (lengths[i] > 1)
                    EXPECT_ERROR(ERANGE, get(form, paths[p], "user.a", back, lengths[i] - 1), "%s: no room",
                                 row);
                EXPECT_VALUE(lengths[i],
                             lengths[i] == 0 ? 0 : get(form, paths[p], "user.a", back, lengths[i]),
                             "%s: just room", row);
            }
}

static void creating_and_replacing(void)
{
    NEED("xattrs");
    char back[16];
    make_file("f", "x");
    for (enum form form = BY_PATH; form < FORMS; form++) {
        EXPECT_ERROR(ENODATA, set(form, "f", "user.a", "1", 1, XATTR_REPLACE), "replace of nothing by %s",
                     form_names[form]);
        EXPECT_ERROR(0, set(form, "f", "user.a", "1", 1, XATTR_CREATE), "create by %s", form_names[form]);
        EXPECT_ERROR(EEXIST, set(form, "f", "user.a", "2", 1, XATTR_CREATE), "create again by %s",
                     form_names[form]);
        EXPECT_ERROR(0, set(form, "f", "user.a", "33", 2, XATTR_REPLACE), "replace by %s", form_names[form]);
        EXPECT_VALUE(2, get(form, "f", "user.a", back, sizeof back), "get");
        EXPECT_ERROR(0, set(form, "f", "user.a", "4", 1, 0), "set by %s", form_names[form]);
        EXPECT_VALUE(1, get(form, "f", "user.a", back, sizeof back), "get");
        EXPECT_VALUE('4', back[0], "value");
        EXPECT_ERROR(0, take(form, "f", "user.a"), "remove by %s", form_names[form]);
        EXPECT_ERROR(ENODATA, get(form, "f", "user.a", back, sizeof back), "get of nothing by %s",
                     form_names[form]);
        EXPECT_ERROR(ENODATA, take(form, "f", "user.a"), "remove of nothing by %s", form_names[form]);
        EXPECT_ERROR(EINVAL, set(form, "f", "user.a", "1", 1, 0x40), "wrong flags by %s", form_names[form]);
    }
}

static void lists(void)
{
    NEED("xattrs");
    char names[4096], name[32];
    make_file("f", "x");
    for (enum form form = BY_PATH; form < FORMS; form++) {
        EXPECT_VALUE(0, user_names(form, "f"), "nothing by %s", form_names[form]);
        for (int i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "user.number%d", i);
            EXPECT_ERROR(0, set(form, "f", name, name, (size_t)i, 0), "set %d", i);
            EXPECT_VALUE(i + 1, user_names(form, "f"), "list of %d by %s", i + 1, form_names[form]);
        }
        ssize_t length = list(form, "f", names, sizeof names);
        EXPECT_VALUE(length, list(form, "f", NULL, 0), "length of the list");
        EXPECT_ERROR(ERANGE, list(form, "f", names, (size_t)length - 1), "no room");
        EXPECT_VALUE(length, list(form, "f", names, (size_t)length), "just room");
        for (int i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "user.number%d", i);
            EXPECT_VALUE(true, listed(names, length, name), "%s is listed", name);
            EXPECT_VALUE(i, get(form, "f", name, NULL, 0), "%s has its value", name);
        }
        for (int i = 19; i >= 0; i--) {
            snprintf(name, sizeof name, "user.number%d", i);
            EXPECT_ERROR(0, take(form, "f", name), "remove %d", i);
            EXPECT_VALUE(i, user_names(form, "f"), "%d left by %s", i, form_names[form]);
        }
    }
}

static void names_and_limits(void)
{
    NEED("xattrs");
    char name[300], back[16];
    make_file("f", "x");
    OK(symlink("f", "l"));
    snprintf(name, sizeof name, "user.%s", letters('n', 250));
    OK(setxattr("f", name, "v", 1, 0)); /* 255 bytes */
    IS(1, getxattr("f", name, back, sizeof back));
    snprintf(name, sizeof name, "user.%s", letters('n', 251));
    FAILS(ERANGE, setxattr("f", name, "v", 1, 0));
    FAILS(EOPNOTSUPP, setxattr("f", "nonamespace", "v", 1, 0));
    FAILS(EOPNOTSUPP, setxattr("f", "strange.name", "v", 1, 0));
    FAILS(EINVAL, setxattr("f", "user.", "v", 1, 0));
    FAILS(ERANGE, setxattr("f", "", "v", 1, 0));
    char *large = calloc(1, 70000);
    FAILS(E2BIG, setxattr("f", "user.large", large, 65537, 0));
    free(large);
    OK(setxattr("f", "user.with space and \xff", "v", 1, 0));
    IS(1, getxattr("f", "user.with space and \xff", back, sizeof back));
    FAILS(ENODATA, getxattr("f", "user.With space and \xff", back, sizeof back));
    OK(setxattr("l", "user.through", "v", 1, 0));
    IS(1, getxattr("f", "user.through", back, sizeof back));
    FAILS(EPERM, lsetxattr("l", "user.on a link", "v", 1, 0)); /* links have no user.* */
    FAILS(ENODATA,
          lgetxattr("l", "user.none", back, sizeof back) < 0 && errno == EPERM ? (errno = ENODATA, -1) : -1);
    IS(0, user_names(BY_LINK, "l"));
    FAILS(ENOENT, getxattr("none", "user.a", back, sizeof back));
    FAILS(ENOENT, setxattr("none", "user.a", "v", 1, 0));
    FAILS(EBADF, fgetxattr(999, "user.a", back, sizeof back));
    FAILS(EBADF, fsetxattr(-1, "user.a", "v", 1, 0));
    FAILS(EBADF, flistxattr(999, NULL, 0));
    FAILS(EBADF, fremovexattr(999, "user.a"));
}

/* Access control lists are refused, not ignored. */
static void acls_are_refused(void)
{
    NEED("xattrs");
    static const unsigned char acl[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
                                        0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                                        4, 0, 255, 255, 255, 255, 32, 0, 4,   0,   255, 255, 255, 255};
    NEED("noacls");
    make_file("f", "x");
    OK(mkdir("d", 0755));
    FAILS(EOPNOTSUPP, setxattr("f", "system.posix_acl_access", acl, sizeof acl, 0));
    FAILS(EOPNOTSUPP, setxattr("d", "system.posix_acl_default", acl, sizeof acl, 0));
    FAILS(EOPNOTSUPP, getxattr("f", "system.posix_acl_access", NULL, 0));
    IS(0644, status_of("f").st_mode & 07777);
}

/* They go with the file: renamed, linked, and away with it. */
static void they_belong_to_the_file(void)
{
    NEED("xattrs");
    char back[16];
    make_file("f", "x");
    OK(mkdir("d", 0755));
    OK(setxattr("f", "user.a", "v", 1, 0));
    OK(setxattr("d", "user.a", "w", 1, 0));
    OK(rename("f", "d/g"));
    OK(rename("d", "e"));
    IS(1, getxattr("e/g", "user.a", back, sizeof back));
    IS('v', back[0]);
    IS(1, getxattr("e", "user.a", back, sizeof back));
    IS('w', back[0]);
    int fd = (int)OK(open("e/g", O_RDWR | O_TRUNC));
    IS(1, fgetxattr(fd, "user.a", back, sizeof back));
    char *bytes = calloc(1, 2 << 20);
    IS(2 << 20, write(fd, bytes, 2 << 20));
    free(bytes);
    IS(1, fgetxattr(fd, "user.a", back, sizeof back));
    OK(close(fd));
    OK(unlink("e/g"));
    make_file("e/g", "y");
    FAILS(ENODATA, getxattr("e/g", "user.a", back, sizeof back));
    OK(setxattr("e/g", "user.b", "v", 1, 0));
    OK(link("e/g", "h"));
    OK(setxattr("h", "user.c", "v", 1, 0));
    IS(2, user_names(BY_PATH, "e/g"));
    OK(unlink("e/g"));
    IS(2, user_names(BY_PATH, "h"));
}

/* Reading them is reading the file, setting them is writing it. */
static void rights(void)
{
    NEED("xattrs");
    static const struct identity other = {"another", 1002, 2002, 0, {0}};
    char back[16];
    need_root();
    OK(chmod(".", 0777));
    make_file("f", "x");
    OK(setxattr("f", "user.a", "v", 1, 0));
    static const struct {
        mode_t mode;
        int get, set;
    } rows[] = {{0600, EACCES, EACCES}, {0604, 0, EACCES}, {0602, EACCES, 0}, {0606, 0, 0}};
    for (unsigned i = 0; i < COUNT(rows); i++) {
        become(NULL);
        EXPECT_ERROR(0, chmod("f", rows[i].mode), "chmod");
        become(&other);
        EXPECT_ERROR(rows[i].get, getxattr("f", "user.a", back, sizeof back), "get, mode %o", rows[i].mode);
        EXPECT_ERROR(rows[i].set, setxattr("f", "user.b", "w", 1, 0), "set, mode %o", rows[i].mode);
        EXPECT_ERROR(rows[i].set, removexattr("f", "user.b"), "remove, mode %o", rows[i].mode);
        EXPECT_ERROR(0, listxattr("f", NULL, 0), "list, mode %o", rows[i].mode);
    }
    become(NULL);
}

CASES(CASE(values), CASE(creating_and_replacing), CASE(lists), CASE(names_and_limits), CASE(acls_are_refused),
      CASE(they_belong_to_the_file), CASE(rights))
