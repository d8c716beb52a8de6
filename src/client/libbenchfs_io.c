/* Reading, writing and what else works on an open file: the calls of libbenchfs, synchronous and
 * asynchronous.
 *
 * read and write hold the descriptor's lock while they run, so threads that share one get consecutive parts,
 * as POSIX demands. pread and pwrite share nothing. An asynchronous transfer is a task on the calling
 * thread's loop; it runs at once until it has to wait, and goes on whenever this thread is inside the
 * library. */
#include <limits.h>
#include <string.h>

#include "client/application.h"
#include "client/library.h"

#define TRANSFER_MAX ((size_t)0x7ffff000) /* what one read(2) or write(2) moves at most on Linux */

enum access { FOR_READING, FOR_WRITING };

static bool opened_for(const struct open_file *slot, enum access access)
{
    int mode = slot->file.flags & (O_ACCMODE | O_PATH);
    return mode == O_RDWR || mode == (access == FOR_READING ? O_RDONLY : O_WRONLY);
}

static struct open_file *acquire_for(benchfs *fs, int fd, enum access access)
{
    struct open_file *slot = open_file_acquire(fs, fd);
    if (slot == NULL || __builtin_expect(opened_for(slot, access), 1))
        return slot;
    open_file_release(fs, slot);
    errno = EBADF;
    return NULL;
}

/* Returns 0 or -EINVAL. */
static int memory_of(struct memory *memory, const struct iovec *vector, int count)
{
    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    uint64_t total = 0;
    for (int i = 0; i < count; i++)
        if (vector[i].iov_len > SSIZE_MAX || (total += vector[i].iov_len) > SSIZE_MAX)
            return -EINVAL;
    memory->vector = vector;
    memory->count = (uint32_t)count;
    memory->length = total < TRANSFER_MAX ? total : TRANSFER_MAX;
    return 0;
}

static inline struct memory memory_one(struct iovec *vector)
{
    return (struct memory){vector, 1, vector->iov_len < TRANSFER_MAX ? vector->iov_len : TRANSFER_MAX};
}

/* Writes at *offset, or at the end, and moves *offset behind what was written. */
static ssize_t write_at(struct client *client, struct open_file *slot, const struct memory *memory,
                        bool append, uint64_t *offset)
{
    ssize_t written = append ? client_append_vector(client, &slot->file, memory->vector, memory->count,
                                                    memory->length, offset)
                             : client_write_vector(client, &slot->file, memory->vector, memory->count,
                                                   memory->length, *offset);
    if (written > 0)
        *offset += (uint64_t)written;
    return written;
}

static bool appends(const struct open_file *slot)
{
    return (slot->file.flags & O_APPEND) != 0;
}

static inline ssize_t read_at(benchfs *fs, struct client *client, struct open_file *slot,
                              const struct memory *memory, uint64_t offset)
{
    if (__builtin_expect(slot->cache != NULL, 0))
        return file_cache_read(fs, client, slot, memory, offset);
    return client_read_vector(client, &slot->file, memory->vector, memory->count, memory->length, offset);
}

/* write_at by way of what the process keeps of the file. */
static inline ssize_t write_behind_at(benchfs *fs, struct client *client, struct open_file *slot,
                                      const struct memory *memory, bool append, uint64_t *offset)
{
    if (__builtin_expect(slot->cache != NULL, 0))
        return file_cache_write(fs, client, slot, memory, append, offset);
    return write_at(client, slot, memory, append, offset);
}

/* read and pread: at the descriptor's offset, which moves, with NULL. */
static ssize_t read_call(benchfs *fs, int fd, const struct memory *memory, const off_t *offset)
{
    struct client *client = client_get(fs);
    struct open_file *slot = client == NULL ? NULL : acquire_for(fs, fd, FOR_READING);
    if (slot == NULL)
        return -1;
    ssize_t got = -EINVAL;
    if (offset == NULL) {
        pthread_mutex_lock(&slot->lock);
        got = read_at(fs, client, slot, memory, slot->offset);
        if (got > 0)
            slot->offset += (uint64_t)got;
        pthread_mutex_unlock(&slot->lock);
    } else if (*offset >= 0) {
        got = read_at(fs, client, slot, memory, (uint64_t)*offset);
    }
    open_file_release(fs, slot);
    return finish_size(got);
}

/* A write through this descriptor returns when what it wrote lasts. */
static bool written_to_last(const struct open_file *slot)
{
    return (slot->file.flags & (O_SYNC | O_DSYNC)) != 0;
}

static ssize_t write_call(benchfs *fs, int fd, const struct memory *memory, const off_t *offset, int flags)
{
    struct client *client = client_get(fs);
    struct open_file *slot = client == NULL ? NULL : acquire_for(fs, fd, FOR_WRITING);
    if (slot == NULL)
        return -1;
    ssize_t written = -EINVAL;
    bool append = appends(slot) || (flags & RWF_APPEND) != 0;
    if (offset == NULL) {
        pthread_mutex_lock(&slot->lock);
        written = write_behind_at(fs, client, slot, memory, append, &slot->offset);
        pthread_mutex_unlock(&slot->lock);
    } else if (*offset >= 0) {
        uint64_t at = (uint64_t)*offset;
        written = write_behind_at(fs, client, slot, memory, append, &at);
    }
    if (written > 0 && (written_to_last(slot) || (flags & (RWF_SYNC | RWF_DSYNC)) != 0)) {
        int status = file_cache_publish(fs, client, slot, true);
        if (status == 0)
            status = client_sync(client, &slot->file);
        if (status < 0)
            written = status;
    }
    open_file_release(fs, slot);
    return finish_size(written);
}

ssize_t benchfs_pread(benchfs *fs, int fd, void *buffer, size_t count, off_t offset)
{
    APPLICATION_CALL(PREAD, fs, fd, NULL);
    struct iovec vector = {buffer, count};
    struct memory memory = memory_one(&vector);
    return read_call(fs, fd, &memory, &offset);
}

ssize_t benchfs_read(benchfs *fs, int fd, void *buffer, size_t count)
{
    APPLICATION_CALL(READ, fs, fd, NULL);
    struct iovec vector = {buffer, count};
    struct memory memory = memory_one(&vector);
    return read_call(fs, fd, &memory, NULL);
}

ssize_t benchfs_pwrite(benchfs *fs, int fd, const void *buffer, size_t count, off_t offset)
{
    APPLICATION_CALL(PWRITE, fs, fd, NULL);
    struct iovec vector = {(void *)(uintptr_t)buffer, count};
    struct memory memory = memory_one(&vector);
    return write_call(fs, fd, &memory, &offset, 0);
}

ssize_t benchfs_write(benchfs *fs, int fd, const void *buffer, size_t count)
{
    APPLICATION_CALL(WRITE, fs, fd, NULL);
    struct iovec vector = {(void *)(uintptr_t)buffer, count};
    struct memory memory = memory_one(&vector);
    return write_call(fs, fd, &memory, NULL, 0);
}

/* ---- vectors ---- */

#define FLAGS_KNOWN (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND)

static ssize_t read_vector(benchfs *fs, int fd, const struct iovec *vector, int count, const off_t *offset,
                           int flags)
{
    struct memory memory;
    if ((flags & ~FLAGS_KNOWN) != 0)
        return finish_size(-EOPNOTSUPP);
    int status = memory_of(&memory, vector, count);
    return status < 0 ? finish_size(status) : read_call(fs, fd, &memory, offset);
}

static ssize_t write_vector(benchfs *fs, int fd, const struct iovec *vector, int count, const off_t *offset,
                            int flags)
{
    struct memory memory;
    if ((flags & ~FLAGS_KNOWN) != 0)
        return finish_size(-EOPNOTSUPP);
    int status = memory_of(&memory, vector, count);
    return status < 0 ? finish_size(status) : write_call(fs, fd, &memory, offset, flags);
}

ssize_t benchfs_readv(benchfs *fs, int fd, const struct iovec *vector, int count)
{
    APPLICATION_CALL(READV, fs, fd, NULL);
    return read_vector(fs, fd, vector, count, NULL, 0);
}

ssize_t benchfs_writev(benchfs *fs, int fd, const struct iovec *vector, int count)
{
    APPLICATION_CALL(WRITEV, fs, fd, NULL);
    return write_vector(fs, fd, vector, count, NULL, 0);
}

ssize_t benchfs_preadv(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset)
{
    APPLICATION_CALL(PREADV, fs, fd, NULL);
    return read_vector(fs, fd, vector, count, &offset, 0);
}

ssize_t benchfs_pwritev(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset)
{
    APPLICATION_CALL(PWRITEV, fs, fd, NULL);
    return write_vector(fs, fd, vector, count, &offset, 0);
}

ssize_t benchfs_preadv2(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    APPLICATION_CALL(PREADV2, fs, fd, NULL);
    return read_vector(fs, fd, vector, count, offset == -1 ? NULL : &offset, flags);
}

ssize_t benchfs_pwritev2(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    APPLICATION_CALL(PWRITEV2, fs, fd, NULL);
    return write_vector(fs, fd, vector, count, offset == -1 ? NULL : &offset, flags);
}

/* ---- the rest of an open file ---- */

int benchfs_fsync(benchfs *fs, int fd)
{
    APPLICATION_CALL(FSYNC, fs, fd, NULL);
    struct client *client = client_get(fs);
    struct open_file *slot = client == NULL ? NULL : open_file_acquire_opened(fs, fd);
    if (slot == NULL)
        return -1;
    int status = file_cache_publish(fs, client, slot, true);
    if (status == 0)
        status = client_sync(client, &slot->file);
    open_file_release(fs, slot);
    return finish(status);
}

int benchfs_fdatasync(benchfs *fs, int fd)
{
    return benchfs_fsync(fs, fd);
}

int benchfs_ftruncate(benchfs *fs, int fd, off_t length)
{
    APPLICATION_CALL(FTRUNCATE, fs, fd, NULL);
    struct client *client = client_get(fs);
    struct open_file *slot = client == NULL ? NULL : open_file_acquire_opened(fs, fd);
    if (slot == NULL)
        return -1;
    int status = -EINVAL;
    if (length >= 0 && opened_for(slot, FOR_WRITING) && S_ISREG(slot->file.mode)) {
        status = file_cache_publish(fs, client, slot, false);
        if (status == 0)
            status = client_truncate_file(client, &slot->file, (uint64_t)length);
        file_cache_changed(slot);
    }
    open_file_release(fs, slot);
    return finish(status);
}

/* What a mode of fallocate(2) asks for, or -EOPNOTSUPP. */
static int allocation_of(int mode)
{
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case 0:
        return ALLOCATE_RESERVE;
    case FALLOC_FL_PUNCH_HOLE:
        return mode & FALLOC_FL_KEEP_SIZE ? ALLOCATE_PUNCH : -EOPNOTSUPP;
    case FALLOC_FL_ZERO_RANGE:
        return ALLOCATE_ZERO;
    default:
        return -EOPNOTSUPP;
    }
}

/* Returns 0 or a negative errno value. */
static int allocate(benchfs *fs, int fd, int mode, off_t offset, off_t length)
{
    struct client *client = client_get(fs);
    struct open_file *slot = client == NULL ? NULL : open_file_acquire(fs, fd);
    if (slot == NULL)
        return -errno;
    int kind = allocation_of(mode);
    int status = kind;
    if (offset < 0 || length <= 0)
        status = -EINVAL;
    else if (kind >= 0 && !opened_for(slot, FOR_WRITING))
        status = -EBADF;
    else if (kind >= 0 && !S_ISREG(slot->file.mode))
        status = -ENODEV;
    else if (kind >= 0 && (status = file_cache_publish(fs, client, slot, false)) == 0)
        status = client_allocate(client, &slot->file, (uint8_t)kind, (mode & FALLOC_FL_KEEP_SIZE) != 0,
                                 (uint64_t)offset, (uint64_t)length);
    file_cache_changed(slot);
    open_file_release(fs, slot);
    return status;
}

int benchfs_fallocate(benchfs *fs, int fd, int mode, off_t offset, off_t length)
{
    APPLICATION_CALL(FALLOCATE, fs, fd, NULL);
    return finish(allocate(fs, fd, mode, offset, length));
}

int benchfs_posix_fallocate(benchfs *fs, int fd, off_t offset, off_t length)
{
    APPLICATION_CALL(POSIX_FALLOCATE, fs, fd, NULL);
    int saved = errno;
    int status = allocate(fs, fd, 0, offset, length);
    errno = saved;
    return status < 0 ? public_errno(status) : 0;
}

/* ---- copying between files ---- */

static int copy_check(const struct open_file *in, const struct open_file *out)
{
    if (S_ISDIR(in->file.mode) || S_ISDIR(out->file.mode))
        return -EISDIR;
    if (!S_ISREG(in->file.mode) || !S_ISREG(out->file.mode))
        return -EINVAL;
    return opened_for(in, FOR_READING) && opened_for(out, FOR_WRITING) && !appends(out) ? 0 : -EBADF;
}

static ssize_t copy_at(struct client *client, struct open_file *in, uint64_t in_offset, struct open_file *out,
                       uint64_t out_offset, size_t count)
{
    if (in_offset + count < in_offset || out_offset + count < out_offset)
        return -EOVERFLOW;
    return client_copy(client, &in->file, in_offset, &out->file, out_offset,
                       count < TRANSFER_MAX ? count : TRANSFER_MAX);
}

/* Locks the descriptors whose own offsets the copy goes by, in one order everywhere. */
static void copy_lock(struct open_file *first, struct open_file *second)
{
    if (first == second)
        second = NULL;
    if (first != NULL && second != NULL && first > second) {
        struct open_file *other = first;
        first = second;
        second = other;
    }
    if (first != NULL)
        pthread_mutex_lock(&first->lock);
    if (second != NULL)
        pthread_mutex_lock(&second->lock);
}

static void copy_unlock(struct open_file *first, struct open_file *second)
{
    if (first != NULL)
        pthread_mutex_unlock(&first->lock);
    if (second != NULL && second != first)
        pthread_mutex_unlock(&second->lock);
}

ssize_t benchfs_copy_file_range(benchfs *fs, int in_fd, off_t *in_offset, int out_fd, off_t *out_offset,
                                size_t count, unsigned flags)
{
    APPLICATION_CALL(COPY_FILE_RANGE, fs, in_fd, NULL);
    struct client *client = client_get(fs);
    struct open_file *in = client == NULL ? NULL : open_file_acquire(fs, in_fd);
    struct open_file *out = in == NULL ? NULL : open_file_acquire(fs, out_fd);
    if (out == NULL) {
        if (in != NULL)
            open_file_release(fs, in);
        return -1;
    }
    ssize_t copied = flags != 0 ? -EINVAL : copy_check(in, out);
    if (copied == 0)
        copied = file_cache_publish(fs, client, in, false);
    if (copied == 0)
        copied = file_cache_publish(fs, client, out, false);
    if (copied == 0) {
        struct open_file *in_own = in_offset == NULL ? in : NULL, *out_own = out_offset == NULL ? out : NULL;
        copy_lock(in_own, out_own);
        uint64_t from = in_own != NULL ? in->offset : (uint64_t)*in_offset;
        uint64_t to = out_own != NULL ? out->offset : (uint64_t)*out_offset;
        copied = copy_at(client, in, from, out, to, count);
        uint64_t done = copied > 0 ? (uint64_t)copied : 0;
        if (in_own != NULL)
            in->offset += done;
        if (out_own != NULL)
            out->offset += done;
        copy_unlock(in_own, out_own);
        if (in_own == NULL)
            *in_offset += (off_t)done;
        if (out_own == NULL)
            *out_offset += (off_t)done;
    }
    file_cache_changed(out);
    open_file_release(fs, in);
    open_file_release(fs, out);
    return finish_size(copied);
}

int benchfs_fstat(benchfs *fs, int fd, struct stat *result)
{
    APPLICATION_CALL(FSTAT, fs, fd, NULL);
    struct attributes attributes;
    struct client *client = client_get(fs);
    struct open_file *slot = client == NULL ? NULL : open_file_acquire(fs, fd);
    if (slot == NULL)
        return -1;
    int status = library_attributes(fs, slot, &attributes);
    open_file_release(fs, slot);
    if (status == 0)
        fill_stat(fs, &attributes, result);
    return finish(status);
}

/* ---- asynchronous calls ----
 *
 * Each is a task of the thread's loop, which may run while another call of the thread waits inside the
 * library. So none takes a lock of the process's cache, which that call may hold: what was written and kept
 * is published before the task begins, and opening does not cut files. */

/* What a call under way needs, in the part of benchfs_io that is ours. */
struct transfer_state {
    struct list link; /* in worker->finished */
    struct worker *worker;
    struct open_file *slot; /* NULL: it is about a path */
    uint64_t started;       /* loop_now; 0: it is not traced */
};
static_assert(sizeof(struct transfer_state) <= sizeof(((struct benchfs_io *)NULL)->reserved), "fits");

static struct transfer_state *state_of(struct benchfs_io *io)
{
    return (struct transfer_state *)(void *)io->reserved;
}

static const enum application applications[] = {[BENCHFS_IO_READ] = APPLICATION_IO_READ,
                                                [BENCHFS_IO_WRITE] = APPLICATION_IO_WRITE,
                                                [BENCHFS_IO_STAT] = APPLICATION_IO_STAT,
                                                [BENCHFS_IO_OPEN] = APPLICATION_IO_OPEN};

static void transfer_finish(struct benchfs_io *io, ssize_t result)
{
    struct transfer_state *state = state_of(io);
    struct worker *worker = state->worker;
    io->result = result < 0 ? -public_errno((int)result) : result;
    if (state->slot != NULL)
        file_cache_changed(state->slot);
    if (__builtin_expect(state->started != 0, 0))
        application_transfer(worker, applications[io->kind],
                             state->slot != NULL ? state->slot->file.inode : 0, state->started, io->result);
    if (state->slot != NULL)
        open_file_release(worker->fs, state->slot);
    list_push_back(&worker->finished, &state->link);
    worker->under_way--;
    worker->finished_count++;
    if (worker->wanted != 0 && worker->finished_count >= worker->wanted) {
        worker->wanted = 0;
        completion_fire(&worker->arrival, 0);
    }
}

static void transfer_run(void *argument)
{
    struct benchfs_io *io = argument;
    struct transfer_state *state = state_of(io);
    struct client *client = state->worker->client;
    uint64_t offset = (uint64_t)io->offset;
    struct iovec vector = {io->buffer, io->count};
    struct memory memory = memory_one(&vector);
    ssize_t result;
    if (io->kind == BENCHFS_IO_READ) {
        result = client_read_vector(client, &state->slot->file, memory.vector, memory.count, memory.length,
                                    offset);
    } else {
        result = write_at(client, state->slot, &memory, appends(state->slot), &offset);
        int status = result > 0 && written_to_last(state->slot) ? client_sync(client, &state->slot->file) : 0;
        if (status < 0)
            result = status;
    }
    transfer_finish(io, result);
}

static void stat_run(void *argument)
{
    struct benchfs_io *io = argument;
    struct worker *worker = state_of(io)->worker;
    struct attributes attributes;
    int status = client_stat(worker->client, INODE_ROOT, io->path, true, &attributes);
    if (status == 0)
        fill_stat(worker->fs, &attributes, io->buffer);
    transfer_finish(io, status);
}

static void open_run(void *argument)
{
    struct benchfs_io *io = argument;
    transfer_finish(io, library_open(state_of(io)->worker->fs, INODE_ROOT, io->path, io->flags, io->mode));
}

static void (*const runs[])(void *) = {[BENCHFS_IO_READ] = transfer_run,
                                       [BENCHFS_IO_WRITE] = transfer_run,
                                       [BENCHFS_IO_STAT] = stat_run,
                                       [BENCHFS_IO_OPEN] = open_run};

static bool is_about_path(const struct benchfs_io *io)
{
    return io->kind == BENCHFS_IO_STAT || io->kind == BENCHFS_IO_OPEN;
}

static int named_prepare(struct worker *worker, struct benchfs_io *io)
{
    if (io->path == NULL || (io->kind == BENCHFS_IO_STAT && io->buffer == NULL) ||
        (io->kind == BENCHFS_IO_OPEN && io->flags & O_TRUNC)) {
        errno = EINVAL;
        return -1;
    }
    if (io->kind == BENCHFS_IO_STAT && atomic_load(&worker->fs->dirty_files) != 0)
        file_caches_publish(worker->fs, worker->client, 0); /* sizes */
    struct transfer_state *state = state_of(io);
    state->worker = worker;
    state->started = application_traced() ? loop_now(worker->loop) : 0;
    state->slot = NULL;
    return 0;
}

static int transfer_prepare(struct worker *worker, struct benchfs_io *io)
{
    if ((io->kind != BENCHFS_IO_READ && io->kind != BENCHFS_IO_WRITE) || io->offset < 0) {
        errno = EINVAL;
        return -1;
    }
    struct transfer_state *state = state_of(io);
    state->worker = worker;
    state->started = application_traced() ? loop_now(worker->loop) : 0;
    state->slot = acquire_for(worker->fs, io->fd, io->kind == BENCHFS_IO_READ ? FOR_READING : FOR_WRITING);
    if (state->slot == NULL)
        return -1;
    /* It goes past what the process keeps of the file. */
    int status = file_cache_publish(worker->fs, worker->client, state->slot, false);
    if (status < 0)
        open_file_release(worker->fs, state->slot);
    return finish(status);
}

int benchfs_submit(benchfs *fs, struct benchfs_io *const *ios, unsigned count)
{
    APPLICATION_CALL(SUBMIT, fs, -1, NULL);
    struct worker *worker = worker_get(fs);
    if (worker == NULL)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        if ((is_about_path(ios[i]) ? named_prepare : transfer_prepare)(worker, ios[i]) == 0)
            continue;
        int error = errno;
        while (i-- > 0) {
            if (state_of(ios[i])->slot != NULL)
                open_file_release(fs, state_of(ios[i])->slot);
        }
        errno = error;
        return -1;
    }
    worker->under_way += count;
    for (unsigned i = 0; i < count; i++) {
        int status = task_spawn(worker->loop, runs[ios[i]->kind], ios[i]);
        if (status < 0)
            transfer_finish(ios[i], status);
    }
    return 0;
}

/* Waits until `minimum` transfers are finished or the deadline (loop_now ns; 0: never) passes. */
static void wait_finished(struct worker *worker, unsigned minimum, uint64_t deadline)
{
    if (minimum > worker->finished_count + worker->under_way)
        minimum = worker->finished_count + worker->under_way;
    if (worker->finished_count >= minimum)
        return;
    worker->arrival = COMPLETION_INIT;
    worker->wanted = minimum;
    await_until(worker->loop, &worker->arrival, deadline);
    worker->wanted = 0;
}

int benchfs_wait(benchfs *fs, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                 const struct timespec *timeout)
{
    APPLICATION_CALL(WAIT, fs, -1, NULL);
    struct worker *worker = worker_get(fs);
    if (worker == NULL)
        return -1;
    if (maximum == 0 || minimum > maximum || maximum > INT_MAX ||
        (timeout != NULL &&
         (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000))) {
        errno = EINVAL;
        return -1;
    }
    uint64_t duration = 0;
    if (timeout != NULL &&
        (__builtin_mul_overflow((uint64_t)timeout->tv_sec, UINT64_C(1000000000), &duration) ||
         __builtin_add_overflow(duration, (uint64_t)timeout->tv_nsec, &duration)))
        timeout = NULL;
    if (minimum == 0 || (timeout != NULL && duration == 0)) {
        if (worker->finished_count < maximum && worker->under_way > 0)
            loop_poll(worker->loop);
    } else {
        uint64_t now = loop_now(worker->loop), deadline = 0;
        if (timeout != NULL && !__builtin_add_overflow(now, duration, &deadline) && deadline == 0)
            deadline = 1;
        wait_finished(worker, minimum, deadline);
    }
    unsigned count = 0;
    while (count < maximum && !list_empty(&worker->finished)) {
        struct transfer_state *state =
            container_of(list_pop_front(&worker->finished), struct transfer_state, link);
        done[count++] = (struct benchfs_io *)(void *)((char *)state - offsetof(struct benchfs_io, reserved));
    }
    worker->finished_count -= count;
    return (int)count;
}
