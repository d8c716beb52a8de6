/* Every call that takes a path, in one shape, for tables over calls.
 *
 * `call_directory` is what the *at forms start from; plain forms ignore it. A call that succeeds undoes
 * nothing: its test does. */
#pragma once

#include "conformance.h"

static int call_directory = AT_FDCWD;

/* What a call does with the last name. */
enum call_kind {
    FOLLOWS = 1, /* a symbolic link there is followed */
    MAKES = 2,   /* the name must not exist */
    REMOVES = 4, /* the name goes */
    AT = 8,      /* uses call_directory */
};

struct path_call {
    const char *name;
    unsigned kind;
    int (*run)(const char *path);
};

static struct stat call_status;
static char call_bytes[8];

static inline int call_close(int fd)
{
    return fd < 0 ? -1 : close(fd);
}
static inline int call_closedir(DIR *stream)
{
    return stream == NULL ? -1 : closedir(stream);
}

#define PATH_CALL(name, expression)                                                                          \
    static int call_##name(const char *path)                                                                 \
    {                                                                                                        \
        return (int)(expression);                                                                            \
    }
/* name, kind, expression over `path`. In a door that lacks one, its row skips the case: those that may be
 * lacking come last. */
#define PATH_CALLS(X)                                                                                        \
    X(stat, FOLLOWS, stat(path, &call_status))                                                               \
    X(lstat, 0, lstat(path, &call_status))                                                                   \
    X(fstatat, FOLLOWS | AT, fstatat(call_directory, path, &call_status, 0))                                 \
    X(fstatat_nofollow, AT, fstatat(call_directory, path, &call_status, AT_SYMLINK_NOFOLLOW))                \
    X(access, FOLLOWS, access(path, F_OK))                                                                   \
    X(open_read, FOLLOWS, call_close(open(path, O_RDONLY)))                                                  \
    X(open_write, FOLLOWS, call_close(open(path, O_WRONLY)))                                                 \
    X(open_directory, FOLLOWS, call_close(open(path, O_RDONLY | O_DIRECTORY)))                               \
    X(open_path, FOLLOWS, call_close(open(path, O_PATH)))                                                    \
    X(open_truncate, FOLLOWS, call_close(open(path, O_RDWR | O_TRUNC)))                                      \
    X(open_create, FOLLOWS, call_close(open(path, O_RDWR | O_CREAT, 0644)))                                  \
    X(open_exclusive, MAKES, call_close(open(path, O_RDWR | O_CREAT | O_EXCL, 0644)))                        \
    X(openat_read, FOLLOWS | AT, call_close(openat(call_directory, path, O_RDONLY)))                         \
    X(openat_exclusive, MAKES | AT,                                                                          \
      call_close(openat(call_directory, path, O_WRONLY | O_CREAT | O_EXCL, 0644)))                           \
    X(opendir, FOLLOWS, call_closedir(opendir(path)))                                                        \
    X(truncate, FOLLOWS, truncate(path, 3))                                                                  \
    X(mkdir, MAKES, mkdir(path, 0755))                                                                       \
    X(mkdirat, MAKES | AT, mkdirat(call_directory, path, 0755))                                              \
    X(rmdir, REMOVES, rmdir(path))                                                                           \
    X(unlink, REMOVES, unlink(path))                                                                         \
    X(unlinkat, REMOVES | AT, unlinkat(call_directory, path, 0))                                             \
    X(unlinkat_directory, REMOVES | AT, unlinkat(call_directory, path, AT_REMOVEDIR))                        \
    X(rename_from, REMOVES, rename(path, "target"))                                                          \
    X(rename_to, 0, rename("source", path))                                                                  \
    X(renameat_from, REMOVES | AT, renameat(call_directory, path, AT_FDCWD, "target"))                       \
    X(renameat_to, AT, renameat(AT_FDCWD, "source", call_directory, path))                                   \
    X(symlink, MAKES, symlink("anywhere", path))                                                             \
    X(symlinkat, MAKES | AT, symlinkat("anywhere", call_directory, path))                                    \
    X(readlink, 0, readlink(path, call_bytes, sizeof call_bytes))                                            \
    X(readlinkat, AT, readlinkat(call_directory, path, call_bytes, sizeof call_bytes))                       \
    X(chmod, FOLLOWS, chmod(path, 0755))                                                                     \
    X(fchmodat, FOLLOWS | AT, fchmodat(call_directory, path, 0755, 0))                                       \
    X(chown, FOLLOWS, chown(path, 0, 0))                                                                     \
    X(lchown, 0, lchown(path, 0, 0))                                                                         \
    X(fchownat, FOLLOWS | AT, fchownat(call_directory, path, 0, 0, 0))                                       \
    X(fchownat_nofollow, AT, fchownat(call_directory, path, 0, 0, AT_SYMLINK_NOFOLLOW))                      \
    X(utimensat, FOLLOWS | AT, utimensat(call_directory, path, NULL, 0))                                     \
    X(utimensat_nofollow, AT, utimensat(call_directory, path, NULL, AT_SYMLINK_NOFOLLOW))

#define PATH_CALLS_LINKS(X)                                                                                  \
    X(link_from, 0, link(path, "target"))                                                                    \
    X(link_to, MAKES, link("source", path))                                                                  \
    X(linkat_from, AT, linkat(call_directory, path, AT_FDCWD, "target", 0))                                  \
    X(linkat_from_follow, FOLLOWS | AT, linkat(call_directory, path, AT_FDCWD, "target", AT_SYMLINK_FOLLOW)) \
    X(linkat_to, MAKES | AT, linkat(AT_FDCWD, "source", call_directory, path, 0))                            \
    X(mknod_file, MAKES, mknod(path, S_IFREG | 0644, 0))                                                     \
    X(mknodat, MAKES | AT, mknodat(call_directory, path, S_IFREG | 0644, 0))                                 \
    X(mkfifo, MAKES, mkfifo(path, 0644))                                                                     \
    X(renameat2_noreplace, MAKES | AT,                                                                       \
      renameat2(AT_FDCWD, "source", call_directory, path, RENAME_NOREPLACE))                                 \
    X(renameat2_exchange, AT, renameat2(AT_FDCWD, "source", call_directory, path, RENAME_EXCHANGE))

#define PATH_CALLS_XATTRS(X)                                                                                 \
    X(getxattr, FOLLOWS, getxattr(path, "user.none", call_bytes, sizeof call_bytes))                         \
    X(lgetxattr, 0, lgetxattr(path, "user.none", call_bytes, sizeof call_bytes))                             \
    X(setxattr, FOLLOWS, setxattr(path, "user.x", "y", 1, 0))                                                \
    X(lsetxattr, 0, lsetxattr(path, "user.x", "y", 1, 0))                                                    \
    X(listxattr, FOLLOWS, listxattr(path, call_bytes, 0))                                                    \
    X(llistxattr, 0, llistxattr(path, call_bytes, 0))                                                        \
    X(removexattr, FOLLOWS, removexattr(path, "user.none"))                                                  \
    X(lremovexattr, 0, lremovexattr(path, "user.none"))

#define PATH_CALL_DEFINE(name, kind, expression) PATH_CALL(name, expression)
#define PATH_CALL_ROW(name, kind, expression) {#name, kind, call_##name},
