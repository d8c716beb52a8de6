/* Capabilities of the kernel that this libfuse does not know.
 *
 * The first request of a mount, INIT, tells what the kernel can do, and the reply what of it the file system
 * wants. libfuse 3.14 passes on the flags that it knows. Two more matter here:
 *
 *   - DIRECT_IO_ALLOW_MMAP (Linux 6.6): a file whose reads and writes bypass the page cache can be mapped
 *     shared all the same. Without it that is ENODEV.
 *   - HANDLE_KILLPRIV_V2: the servers clear set-user-id bits when they write, so the kernel need not ask for
 *     an extended attribute before each write.
 *
 * So the device is read and written through this module, which looks at the first request and adds to the
 * reply to it. From then on it does nothing but call read(2) and writev(2), and lets the threads look
 * whether they keep up before each reply. */
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/filesystem.h"

#define DIRECT_IO_ALLOW_MMAP_2 (UINT32_C(1) << 4) /* bit 36, in flags2 */

static struct {
    uint64_t unique; /* of INIT; 0: not seen */
    bool done;
    bool direct_mmap; /* the kernel offers it */
    bool killpriv;
} negotiation;

static void look_at_init(const void *request, size_t length)
{
    struct fuse_in_header header;
    struct fuse_init_in offer = {0};
    if (length < sizeof header)
        return;
    memcpy(&header, request, sizeof header);
    if (header.opcode != FUSE_INIT)
        return;
    size_t body = length - sizeof header;
    memcpy(&offer, (const char *)request + sizeof header, body < sizeof offer ? body : sizeof offer);
    negotiation.unique = header.unique;
    negotiation.killpriv = offer.flags & FUSE_HANDLE_KILLPRIV_V2;
    negotiation.direct_mmap = (offer.flags & FUSE_INIT_EXT) && (offer.flags2 & DIRECT_IO_ALLOW_MMAP_2);
}

static ssize_t device_read(int device, void *memory, size_t length, void *userdata)
{
    mount_before_read(userdata, device);
    /* libfuse offers more where pages are larger than 4 KiB. */
    ssize_t got = read(device, memory, length < REQUEST_MAX ? length : REQUEST_MAX);
    if (__builtin_expect(!negotiation.done, 0) && got > 0)
        look_at_init(memory, (size_t)got);
    return got;
}

static void add_to_reply(struct iovec *parts, int count)
{
    struct fuse_out_header header;
    struct fuse_init_out reply;
    if (count != 2 || parts[0].iov_len != sizeof header || parts[1].iov_len != sizeof reply)
        return;
    memcpy(&header, parts[0].iov_base, sizeof header);
    if (header.unique != negotiation.unique)
        return;
    negotiation.done = true;
    if (header.error != 0)
        return;
    memcpy(&reply, parts[1].iov_base, sizeof reply);
    if (negotiation.killpriv)
        reply.flags |= FUSE_HANDLE_KILLPRIV_V2;
    if (negotiation.direct_mmap) {
        reply.flags |= FUSE_INIT_EXT;
        reply.flags2 |= DIRECT_IO_ALLOW_MMAP_2;
    }
    memcpy(parts[1].iov_base, &reply, sizeof reply);
}

static ssize_t device_writev(int device, struct iovec *parts, int count, void *userdata)
{
    if (__builtin_expect(!negotiation.done, 0) && negotiation.unique != 0)
        add_to_reply(parts, count);
    traced_reply(parts, count);
    mount_before_reply(userdata, device);
    return writev(device, parts, count);
}

int negotiate_begin(struct fuse_session *session)
{
    static const struct fuse_custom_io device = {.read = device_read, .writev = device_writev};
    memset(&negotiation, 0, sizeof negotiation);
    return fuse_session_custom_io(session, &device, fuse_session_fd(session));
}
