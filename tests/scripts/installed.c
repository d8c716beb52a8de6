/* Writes a file through the installed library, reads it back, and prints it; the manual's example with a
 * reader. */
#include <benchfs.h>
#include <fcntl.h>
#include <stdio.h>

int main(void)
{
    char text[32];
    benchfs *fs = benchfs_connect(NULL);

    if (fs == NULL) {
        fprintf(stderr, "%s\n", benchfs_error());
        return 1;
    }
    int fd = benchfs_open(fs, "/hello", O_CREAT | O_RDWR, 0644);
    if (fd < 0 || benchfs_write(fs, fd, "hello\n", 6) != 6) {
        perror("/hello");
        return 1;
    }
    ssize_t length = benchfs_pread(fs, fd, text, sizeof text, 0);
    if (length > 0)
        fwrite(text, 1, (size_t)length, stdout);
    benchfs_close(fs, fd);
    benchfs_disconnect(fs);
    return 0;
}
