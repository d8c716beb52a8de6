/* Names of fifos, sockets and devices, and files that never had a name. */
#include "check.h"

#include <sys/sysmacros.h>

static void nodes_are_names(void **state)
{
    static const struct {
        mode_t type;
        dev_t device;
    } kinds[] = {{S_IFREG, 0}, {S_IFIFO, 0}, {S_IFSOCK, 0}, {S_IFCHR, 0}, {S_IFBLK, 0}};
    (void)state;
    struct stat status;
    char name[32], other[32];
    OK(benchfs_mkdir(fs, "/n", 0755));
    benchfs_umask(fs, 027);
    for (unsigned i = 0; i < 40; i++) {
        mode_t type = kinds[i % 5].type;
        dev_t device = makedev(7 + i, 300 + i);
        bool is_device = type == S_IFCHR || type == S_IFBLK;
        snprintf(name, sizeof name, "/n/node%u", i);
        OK(benchfs_mknod(fs, name, type | 0666, device));
        FAILS(EEXIST, benchfs_mknod(fs, name, type | 0666, device));
        OK(benchfs_lstat(fs, name, &status));
        IS(type | 0640, status.st_mode);
        IS(is_device ? device : 0, status.st_rdev);
        IS(1, status.st_nlink);
        IS(0, status.st_size);
        /* They are renamed, linked and changed like files, wherever the inode is. */
        snprintf(other, sizeof other, "/n/other%u", i);
        OK(benchfs_link(fs, name, other));
        OK(benchfs_rename(fs, name, "/n/moved"));
        OK(benchfs_chmod(fs, other, 0600));
        OK(benchfs_stat(fs, "/n/moved", &status));
        IS(type | 0600, status.st_mode);
        IS(is_device ? device : 0, status.st_rdev);
        IS(2, status.st_nlink);
        if (type != S_IFREG) {
            int error = type == S_IFIFO ? EOPNOTSUPP : ENXIO;
            FAILS(error, benchfs_open(fs, other, O_RDONLY));
            FAILS(error, benchfs_open(fs, other, O_RDWR | O_CREAT, 0644));
            FAILS(ENXIO, benchfs_open(fs, other, O_WRONLY | O_NONBLOCK));
            FAILS(ENOTDIR, benchfs_open(fs, other, O_RDONLY | O_DIRECTORY));
            FAILS(EEXIST, benchfs_open(fs, other, O_RDWR | O_CREAT | O_EXCL, 0644));
        }
        int fd = (int)OK(benchfs_open(fs, other, O_PATH));
        OK(benchfs_unlink(fs, other));
        OK(benchfs_unlink(fs, "/n/moved"));
        OK(benchfs_fstat(fs, fd, &status));
        IS(type | 0600, status.st_mode);
        IS(0, status.st_nlink);
        OK(benchfs_close(fs, fd));
    }
    OK(benchfs_mknod(fs, "/n/regular", 0644, 0));
    OK(benchfs_stat(fs, "/n/regular", &status));
    assert_true(S_ISREG(status.st_mode));
    int directory = (int)OK(benchfs_open(fs, "/n", O_RDONLY | O_DIRECTORY));
    OK(benchfs_mkfifoat(fs, directory, "fifo", 0622));
    OK(benchfs_mknodat(fs, directory, "socket", S_IFSOCK | 0777, 0));
    OK(benchfs_mkfifo(fs, "/n/fifo2", 0644));
    OK(benchfs_stat(fs, "/n/fifo", &status));
    IS(S_IFIFO | 0600, status.st_mode);
    benchfs_dir *stream = benchfs_opendir(fs, "/n");
    for (struct dirent *entry; (entry = benchfs_readdir(stream)) != NULL;) {
        if (strncmp(entry->d_name, "fifo", 4) == 0)
            IS(DT_FIFO, entry->d_type);
        else if (strcmp(entry->d_name, "socket") == 0)
            IS(DT_SOCK, entry->d_type);
    }
    OK(benchfs_closedir(stream));
    FAILS(EPERM, benchfs_mknod(fs, "/n/x", S_IFDIR | 0755, 0));
    FAILS(EINVAL, benchfs_mknod(fs, "/n/x", S_IFLNK | 0755, 0));
    FAILS(ENOENT, benchfs_mkfifo(fs, "/absent/x", 0644));
    FAILS(ENOENT, benchfs_mkfifo(fs, "/n/x/", 0644));
    FAILS(ENOTDIR, benchfs_mkfifo(fs, "/n/regular/x", 0644));
    FAILS(EEXIST, benchfs_mkfifo(fs, "/n", 0644));
    OK(benchfs_close(fs, directory));
    benchfs_umask(fs, 022);
}

static void a_file_without_a_name(void **state)
{
    (void)state;
    struct stat status, directory;
    char text[8], name[32];
    OK(benchfs_mkdir(fs, "/t", 0755));
    OK(benchfs_stat(fs, "/t", &directory));
    for (unsigned i = 0; i < 12; i++) {
        int fd = (int)OK(benchfs_open(fs, "/t", O_TMPFILE | O_RDWR, 0666));
        OK(benchfs_fstat(fs, fd, &status));
        IS(S_IFREG | 0644, status.st_mode);
        IS(0, status.st_nlink);
        IS(4, benchfs_write(fs, fd, "text", 4));
        IS(4, benchfs_pread(fs, fd, text, sizeof text, 0));
        if (i % 3 == 0) {
            OK(benchfs_close(fs, fd)); /* it was never there */
            continue;
        }
        snprintf(name, sizeof name, "/t/name%u", i);
        if (i % 3 == 1)
            OK(benchfs_linkat(fs, fd, "", AT_FDCWD, name, AT_EMPTY_PATH));
        if (i % 3 == 1) {
            OK(benchfs_fstat(fs, fd, &status));
            IS(1, status.st_nlink);
        }
        OK(benchfs_close(fs, fd));
        if (i % 3 == 1) {
            expect_text(fs, name, "text");
            OK(benchfs_unlink(fs, name));
        } else {
            /* O_EXCL: it shall never have one. */
            fd = (int)OK(benchfs_open(fs, "/t/.", O_TMPFILE | O_WRONLY | O_EXCL, 0600));
            FAILS(ENOENT, benchfs_linkat(fs, fd, "", AT_FDCWD, name, AT_EMPTY_PATH));
            OK(benchfs_close(fs, fd));
        }
    }
    OK(benchfs_stat(fs, "/t", &status));
    IS(2, status.st_nlink);
    /* What had a name and lost it does not get another. */
    put_text(fs, "/t/file", "x");
    int fd = (int)OK(benchfs_open(fs, "/t/file", O_RDWR));
    OK(benchfs_unlink(fs, "/t/file"));
    FAILS(ENOENT, benchfs_linkat(fs, fd, "", AT_FDCWD, "/t/again", AT_EMPTY_PATH));
    OK(benchfs_close(fs, fd));
    put_text(fs, "/t/file", "x");
    FAILS(EINVAL, benchfs_open(fs, "/t", O_TMPFILE | O_RDONLY, 0600));
    FAILS(ENOTDIR, benchfs_open(fs, "/t/file", O_TMPFILE | O_RDWR, 0600));
    FAILS(ENOENT, benchfs_open(fs, "/absent", O_TMPFILE | O_RDWR, 0600));
    OK(benchfs_unlink(fs, "/t/file"));
    OK(benchfs_rmdir(fs, "/t"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_names),
        cmocka_unit_test(a_file_without_a_name),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}
