/* Pipes and devices cannot be emptied (EINVAL), and need not be. */
#include "bench/result_output.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define ACCESS 0666 /* less the umask, as fopen has it */

int result_output_open(struct result_output *output, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, ACCESS);
    bool made = fd >= 0;
    if (!made && errno == EEXIST)
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, ACCESS);
    if (fd < 0)
        return -errno;
    FILE *file = fdopen(fd, "w");
    if (file == NULL) {
        int status = -errno;
        close(fd);
        return status;
    }
    *output = (struct result_output){.file = file, .path = path, .made = made};
    return 0;
}

FILE *result_output_file(struct result_output *output)
{
    if (output->file != NULL && !output->begun) {
        output->begun = true;
        if (ftruncate(fileno(output->file), 0) != 0 && errno != EINVAL)
            output->status = -errno;
    }
    return output->file;
}

int result_output_close(struct result_output *output)
{
    if (output->file == NULL)
        return 0;
    errno = 0;
    int status = output->status;
    if (fclose(output->file) != 0 && status == 0)
        status = errno != 0 ? -errno : -EIO;
    if (output->made && !output->begun)
        unlink(output->path);
    *output = (struct result_output){0};
    return status;
}
