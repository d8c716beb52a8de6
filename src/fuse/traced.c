/* Requests of the kernel as calls in a trace, while somebody traces: what a program did to the mount, with
 * the requests to servers that it took.
 *
 * A request is one call of the thread that serves it, from when it was read until its function returns. What
 * it is, and of which node, stands in its header; what became of it in that of the reply, which passes by
 * negotiate.c. One that is answered later, by another thread, ends without a result. */
#include <linux/fuse.h>
#include <string.h>

#include "fuse/filesystem.h"

#define NONE UINT8_MAX

/* What an operation of the kernel is called; NONE: it is not told. */
static uint8_t call_of(uint32_t opcode)
{
#define CALL(name) [FUSE_##name] = APPLICATION_FUSE_##name + 1
    static const uint8_t calls[] = {CALL(LOOKUP),      CALL(GETATTR),  CALL(SETATTR),  CALL(READLINK),
                                    CALL(SYMLINK),     CALL(MKNOD),    CALL(MKDIR),    CALL(UNLINK),
                                    CALL(RMDIR),       CALL(RENAME),   CALL(LINK),     CALL(OPEN),
                                    CALL(READ),        CALL(WRITE),    CALL(STATFS),   CALL(RELEASE),
                                    CALL(FSYNC),       CALL(SETXATTR), CALL(GETXATTR), CALL(LISTXATTR),
                                    CALL(REMOVEXATTR), CALL(FLUSH),    CALL(OPENDIR),  CALL(READDIR),
                                    CALL(RELEASEDIR),  CALL(FSYNCDIR), CALL(GETLK),    CALL(SETLK),
                                    CALL(SETLKW),      CALL(ACCESS),   CALL(CREATE),   CALL(FALLOCATE),
                                    CALL(READDIRPLUS), CALL(RENAME2),  CALL(LSEEK),    CALL(COPY_FILE_RANGE)};
#undef CALL
    return opcode < sizeof(calls) && calls[opcode] != 0 ? (uint8_t)(calls[opcode] - 1) : NONE;
}

void traced_begin_slow(struct application_call *call, benchfs *fs, const struct fuse_buf *buffer)
{
    struct fuse_in_header header;
    if (buffer->size < sizeof(header))
        return;
    memcpy(&header, buffer->mem, sizeof(header));
    uint8_t number = call_of(header.opcode);
    if (number == NONE)
        return;
    application_begin(call, number, fs, -1, NULL);
    call->subject = inode_of(header.nodeid);
}

void traced_reply_slow(const struct iovec *parts, int count)
{
    struct fuse_out_header header;
    if (count < 1 || parts[0].iov_len < sizeof(header))
        return;
    memcpy(&header, parts[0].iov_base, sizeof(header));
    int64_t result = header.error;
    uint32_t length = header.len - (uint32_t)sizeof(header);
    struct fuse_write_out written;
    if (result == 0 && length == sizeof(written) && count > 1 && parts[1].iov_len == sizeof(written)) {
        memcpy(&written, parts[1].iov_base, sizeof(written));
        result = written.size; /* only counts for calls that move bytes */
    } else if (result == 0) {
        result = length;
    }
    worker_current.told = result;
}
