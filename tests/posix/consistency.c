/* The consistency modes, each between two processes: what must be visible is, and what may be kept is kept.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "check.h"

#define KIB 1024L
#define MIB (1024L * 1024)

static unsigned servers = 1;
static char config_path[128];

/* ---- the other process ---- */

/* What it is told to do; it answers with the result, negative: -errno. */
struct order {
    char what; /* 'o' open, 'c' close, 'w' write, 'r' read, 'y' fsync, 's' size by path, 'f' by descriptor,
                  'l' flock */
    int flags;
    off_t offset;
    size_t length;
    unsigned seed;
    char path[64];
};

static pid_t other;
static int to_other, from_other;
static unsigned char bytes[4 * MIB];

static long obey(benchfs *mine, const struct order *order, int *fd)
{
    struct stat status;
    errno = 0;
    switch (order->what) {
    case 'o':
        *fd = benchfs_open(mine, order->path, order->flags, 0644);
        return *fd;
    case 'c':
        return benchfs_close(mine, *fd);
    case 'w':
        pattern_fill(bytes, order->length, order->seed, (uint64_t)order->offset);
        return benchfs_pwrite(mine, *fd, bytes, order->length, order->offset);
    case 'r': { /* how many bytes were read, or -1000 - the first that is wrong */
        ssize_t got = benchfs_pread(mine, *fd, bytes, order->length, order->offset);
        long differs =
            got <= 0 ? -1 : pattern_differs(bytes, (size_t)got, order->seed, (uint64_t)order->offset);
        return differs >= 0 ? -1000 - differs : got;
    }
    case 'l':
        return benchfs_flock(mine, *fd, order->flags);
    case 'y':
        return benchfs_fsync(mine, *fd);
    case 's':
        return benchfs_stat(mine, order->path, &status) < 0 ? -1 : status.st_size;
    default:
        return benchfs_fstat(mine, *fd, &status) < 0 ? -1 : status.st_size;
    }
}

static void other_main(int in, int out)
{
    struct order order;
    int fd = -1;
    benchfs *mine = benchfs_connect(NULL);
    if (mine == NULL)
        _exit(2);
    while (read(in, &order, sizeof order) == sizeof order) {
        long result = obey(mine, &order, &fd);
        if (result == -1)
            result = -errno;
        if (write(out, &result, sizeof result) != sizeof result)
            _exit(3);
    }
    benchfs_disconnect(mine);
    _exit(0);
}

static long tell(char what, const char *path, int flags, off_t offset, size_t length, unsigned seed)
{
    struct order order = {.what = what, .flags = flags, .offset = offset, .length = length, .seed = seed};
    long result = -9999;
    snprintf(order.path, sizeof order.path, "%s", path);
    assert_int_equal(write(to_other, &order, sizeof order), sizeof order);
    assert_int_equal(read(from_other, &result, sizeof result), sizeof result);
    return result;
}

/* Starts a cluster of that mode and two processes on it. */
static void begin(const char *mode, const char *lifetime)
{
    char setting[64];
    const char *const settings[] = {setting, NULL};
    int there[2], back[2];
    snprintf(setting, sizeof setting, "cluster.consistency=%s", mode);
    assert_int_equal(cluster_start(&cluster, servers, settings), 0);
    snprintf(config_path, sizeof config_path, "%s/client.toml", cluster.directory);
    FILE *config = fopen(config_path, "w");
    assert_non_null(config);
    fprintf(config, "[client]\nattribute_lifetime = \"%s\"\n", lifetime);
    fclose(config);
    setenv("BENCHFS_CONFIG", config_path, 1);
    assert_int_equal(pipe(there) | pipe(back), 0);
    other = fork();
    if (other == 0) {
        close(there[1]);
        close(back[0]);
        other_main(there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    to_other = there[1];
    from_other = back[0];
    fs = benchfs_connect(NULL);
    if (fs == NULL)
        fail_msg("%s", benchfs_error());
    assert_string_equal(benchfs_consistency(fs), mode);
}

static void end(void)
{
    int status;
    benchfs_disconnect(fs);
    close(to_other);
    close(from_other);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(status, 0);
    unlink(config_path);
    unsetenv("BENCHFS_CONFIG");
    assert_int_equal(cluster_stop(&cluster), 0);
}

static struct benchfs_counters counted(void)
{
    struct benchfs_counters counters;
    benchfs_counters(fs, &counters);
    return counters;
}

static void put(int fd, off_t at, size_t length, unsigned seed)
{
    pattern_fill(bytes, length, seed, (uint64_t)at);
    IS(length, benchfs_pwrite(fs, fd, bytes, length, at));
}

static void is(int fd, off_t at, size_t length, unsigned seed)
{
    IS(length, benchfs_pread(fs, fd, bytes, length, at));
    assert_int_equal(pattern_differs(bytes, length, seed, (uint64_t)at), -1);
}

static off_t size_of(const char *path)
{
    struct stat status;
    OK(benchfs_stat(fs, path, &status));
    return status.st_size;
}

/* ---- strict ---- */

/* What a call returned, every later call anywhere sees; and nothing is kept. */
static void strict(void **state)
{
    (void)state;
    begin("strict", "1h");
    int fd = (int)OK(benchfs_open(fs, "/x", O_CREAT | O_RDWR, 0644));
    assert_true(tell('o', "/x", O_RDWR, 0, 0, 0) >= 3);
    for (unsigned i = 0; i < 50; i++) {
        put(fd, i * 100, 100, i);
        assert_int_equal(tell('r', "", 0, i * 100, 500, i), 100);
        assert_int_equal(tell('s', "/x", 0, 0, 0, 0), i * 100 + 100);
        assert_int_equal(tell('w', "", 0, i * 100, 100, i + 1000), 100);
        is(fd, i * 100, 100, i + 1000);
    }
    assert_int_equal(tell('c', "", 0, 0, 0, 0), 0);
    OK(benchfs_close(fs, fd));
    struct benchfs_counters counters = counted();
    assert_true(counters.buffered_writes == 0 && counters.published == 0 && counters.cached_reads == 0 &&
                counters.read_ahead == 0 && counters.cached_attributes == 0);
    end();
}

/* ---- close ---- */

static void published_at_close_and_fsync(void)
{
    int fd = (int)OK(benchfs_open(fs, "/p", O_CREAT | O_RDWR, 0644));
    for (int i = 0; i < 300; i++)
        put(fd, i * 100, 100, 1);
    assert_int_equal(counted().buffered_writes, 300);
    assert_int_equal(counted().published, 0);
    assert_int_equal(tell('s', "/p", 0, 0, 0, 0), 0); /* kept here for now */
    OK(benchfs_fsync(fs, fd));
    assert_int_equal(counted().published, 1); /* 300 writes, one transfer */
    assert_int_equal(tell('s', "/p", 0, 0, 0, 0), 30000);
    assert_true(tell('o', "/p", O_RDWR, 0, 0, 0) >= 3);
    assert_int_equal(tell('r', "", 0, 0, 50000, 1), 30000);
    put(fd, 30000, 100, 1);
    OK(benchfs_close(fs, fd));
    assert_int_equal(tell('s', "/p", 0, 0, 0, 0), 30100);
    assert_int_equal(tell('c', "", 0, 0, 0, 0), 0);
    assert_true(tell('o', "/p", O_RDWR, 0, 0, 0) >= 3);
    assert_int_equal(tell('r', "", 0, 0, 50000, 1), 30100);

    /* The other one's writes, after it has closed and we have opened; not necessarily before. */
    fd = (int)OK(benchfs_open(fs, "/p", O_RDONLY));
    is(fd, 0, 100, 1);
    assert_int_equal(tell('w', "", 0, 0, 30100, 2), 30100);
    is(fd, 100, 100, 1); /* read ahead before */
    assert_true(counted().cached_reads > 0);
    assert_int_equal(tell('c', "", 0, 0, 0, 0), 0);
    int again = (int)OK(benchfs_open(fs, "/p", O_RDONLY));
    is(again, 0, 30100, 2);
    OK(benchfs_close(fs, again));
    OK(benchfs_close(fs, fd));
}

/* Whatever needs the file as it is sees it. */
static void published_by_others(void)
{
    struct stat status;
    int fd = (int)OK(benchfs_open(fs, "/o", O_CREAT | O_RDWR, 0644));
    put(fd, 0, 1000, 1);
    IS(1000, benchfs_lseek(fs, fd, 0, SEEK_END));
    assert_int_equal(tell('s', "/o", 0, 0, 0, 0), 1000);
    put(fd, 1000, 1000, 1);
    IS(2000, size_of("/o"));
    put(fd, 2000, 1000, 1);
    OK(benchfs_fstat(fs, fd, &status));
    IS(3000, status.st_size);
    put(fd, 3000, 1000, 1);
    OK(benchfs_ftruncate(fs, fd, 3500));
    assert_int_equal(tell('s', "/o", 0, 0, 0, 0), 3500);
    put(fd, 3500, 10, 1);
    OK(benchfs_truncate(fs, "/o", 100));
    IS(100, size_of("/o"));
    put(fd, 100, 100, 1);
    OK(benchfs_fallocate(fs, fd, 0, 0, 5000));
    IS(5000, size_of("/o"));
    is(fd, 0, 200, 1);
    put(fd, 5000, 10, 1);
    struct timespec times[2] = {{1000, 0}, {1000, 0}};
    OK(benchfs_futimens(fs, fd, times)); /* stays, though the write was delayed */
    OK(benchfs_close(fs, fd));
    OK(benchfs_stat(fs, "/o", &status));
    IS(1000, status.st_mtim.tv_sec);
    IS(5010, status.st_size);
    fd = (int)OK(benchfs_open(fs, "/o", O_RDWR));
    put(fd, 0, 100, 7);
    int cut = (int)OK(benchfs_open(fs, "/o", O_RDWR | O_TRUNC));
    IS(0, size_of("/o"));
    OK(benchfs_close(fs, fd));
    OK(benchfs_close(fs, cut));
    assert_int_equal(tell('s', "/o", 0, 0, 0, 0), 0);
    fd = (int)OK(benchfs_open(fs, "/o", O_RDWR | O_APPEND));
    put(fd, 0, 10, 1);
    assert_int_equal(tell('s', "/o", 0, 0, 0, 0), 10); /* appending is never delayed */
    OK(benchfs_close(fs, fd));
    /* Locks hand over what was written under them. */
    fd = (int)OK(benchfs_open(fs, "/lock", O_CREAT | O_RDWR, 0644));
    assert_true(tell('o', "/lock", O_RDWR, 0, 0, 0) >= 3);
    OK(benchfs_flock(fs, fd, LOCK_EX));
    put(fd, 0, 100, 1);
    is(fd, 0, 100, 1);
    assert_int_equal(tell('l', "", LOCK_EX | LOCK_NB, 0, 0, 0), -EWOULDBLOCK);
    OK(benchfs_flock(fs, fd, LOCK_UN));
    assert_int_equal(tell('l', "", LOCK_EX | LOCK_NB, 0, 0, 0), 0);
    assert_int_equal(tell('r', "", 0, 0, 500, 1), 100);
    assert_int_equal(tell('w', "", 0, 0, 200, 2), 200);
    assert_int_equal(tell('l', "", LOCK_UN, 0, 0, 0), 0);
    OK(benchfs_flock(fs, fd, LOCK_SH));
    is(fd, 0, 200, 2);
    OK(benchfs_close(fs, fd));
    assert_int_equal(tell('c', "", 0, 0, 0, 0), 0);
    /* A child of fork finds everything. */
    fd = (int)OK(benchfs_open(fs, "/o", O_RDWR | O_TRUNC));
    put(fd, 0, 5000, 3);
    pid_t child = fork();
    if (child == 0)
        _exit(benchfs_pread(fs, fd, bytes, 6000, 0) == 5000 && pattern_differs(bytes, 5000, 3, 0) < 0 ? 0
                                                                                                      : 1);
    int ended;
    IS(child, waitpid(child, &ended, 0));
    IS(0, ended);
    OK(benchfs_close(fs, fd));
}

/* Within the process everybody sees everything at once, in whatever order and through whatever descriptor. */
static void own_writes(void)
{
    static unsigned char model[700 * KIB];
    unsigned seed = 12345;
    int fds[3];
    memset(model, 0, sizeof model);
    size_t size = 0;
    for (int i = 0; i < 3; i++)
        fds[i] = (int)OK(benchfs_open(fs, "/own", O_CREAT | O_RDWR, 0644));
    off_t next = 0;
    for (int i = 0; i < 4000; i++) {
        seed = seed * 1103515245u + 12345u;
        int fd = fds[seed >> 16 & 1];
        size_t length = 1 + (seed >> 8) % ((seed >> 20 & 15) == 0 ? (size_t)(300 * KIB) : 3000);
        off_t at = (seed >> 24 & 3) == 0 ? (off_t)(seed % (300 * KIB)) : next;
        if (at + (off_t)length > (off_t)sizeof model)
            at = 0;
        if ((seed >> 28 & 7) == 0) {
            size_t there = size > (size_t)at ? size - (size_t)at : 0;
            IS(there < length ? there : length, benchfs_pread(fs, fd, bytes, length, at));
            assert_memory_equal(bytes, model + at, there < length ? there : length);
        } else if ((seed >> 28 & 7) == 1 && i % 9 == 0) {
            size = (size_t)at;
            OK(benchfs_ftruncate(fs, fd, at));
            memset(model + size, 0, sizeof model - size);
        } else {
            pattern_fill(model + at, length, (unsigned)i, (uint64_t)at);
            IS(length, benchfs_pwrite(fs, fd, model + at, length, at));
            if (size < (size_t)at + length)
                size = (size_t)at + length;
        }
        next = at + (off_t)length;
        if (i % 200 == 0) {
            OK(benchfs_close(fs, fds[2]));
            fds[2] = (int)OK(benchfs_open(fs, "/own", O_RDWR));
            IS(size, benchfs_pread(fs, fds[2], bytes, sizeof model, 0));
            assert_memory_equal(bytes, model, size);
        }
    }
    for (int i = 0; i < 3; i++)
        OK(benchfs_close(fs, fds[i]));
    assert_int_equal(tell('s', "/own", 0, 0, 0, 0), size);
}

/* ---- threads beside each other ---- */

#define WRITER_SPAN 60000

/* A thread that writes to a descriptor, 10 bytes after 10 bytes, until it is told to stop or a write fails.
 */
struct writer {
    pthread_t thread;
    int fd;
    _Atomic bool stop;
    _Atomic off_t written; /* by writes that have returned */
    int error;             /* of the write that failed */
};

static void *write_on(void *argument)
{
    struct writer *writer = argument;
    while (!atomic_load(&writer->stop)) {
        off_t at = atomic_load(&writer->written) % WRITER_SPAN;
        if (benchfs_pwrite(fs, writer->fd, "0123456789", 10, at) != 10) {
            writer->error = errno;
            break;
        }
        atomic_fetch_add(&writer->written, 10);
    }
    return NULL;
}

static void writer_start(struct writer *writer, int fd)
{
    *writer = (struct writer){.fd = fd};
    IS(0, pthread_create(&writer->thread, NULL, write_on, writer));
}

static void writer_join(struct writer *writer)
{
    atomic_store(&writer->stop, true);
    IS(0, pthread_join(writer->thread, NULL));
}

/* Every write that has returned before the descriptor was gone is in the file. */
static void close_beside_writes(void)
{
    for (int round = 0; round < 300; round++) {
        struct writer writer;
        writer_start(&writer, (int)OK(benchfs_open(fs, "/beside", O_CREAT | O_TRUNC | O_WRONLY, 0644)));
        while (atomic_load(&writer.written) < 10 + round % 7 * 20)
            sched_yield();
        OK(benchfs_close(fs, writer.fd));
        IS(0, pthread_join(writer.thread, NULL)); /* its writes fail now */
        assert_int_equal(writer.error, EBADF);
        off_t written = atomic_load(&writer.written);
        assert_int_equal(tell('s', "/beside", 0, 0, 0, 0), written < WRITER_SPAN ? written : WRITER_SPAN);
    }
}

static void *sync_it(void *fd)
{
    return (void *)(intptr_t)benchfs_fsync(fs, *(int *)fd);
}

/* What was written before a file is cut to nothing is not in it afterwards. */
static void truncation_beside_publishing(void)
{
    int fd = (int)OK(benchfs_open(fs, "/cut", O_CREAT | O_RDWR, 0644));
    for (int round = 0; round < 300; round++) {
        pthread_t thread;
        void *failed;
        put(fd, 0, 100, 1);
        IS(0, pthread_create(&thread, NULL, sync_it, &fd));
        for (int turns = 0; turns < round; turns++)
            __asm__ volatile("");
        int cut = (int)OK(benchfs_open(fs, "/cut", O_WRONLY | O_TRUNC));
        IS(0, pthread_join(thread, &failed));
        assert_null(failed);
        IS(0, size_of("/cut"));
        OK(benchfs_close(fs, cut));
        assert_int_equal(tell('s', "/cut", 0, 0, 0, 0), 0);
    }
    OK(benchfs_close(fs, fd));
}

/* However busy some files are. */
static void sync_reaches_all(void)
{
    enum { BUSY = 2, FILES = 12 };
    struct writer writers[BUSY];
    int fds[FILES];
    char path[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "/sync%d", i);
        fds[i] = (int)OK(benchfs_open(fs, path, O_CREAT | O_RDWR, 0644));
    }
    for (int i = 0; i < BUSY; i++)
        writer_start(&writers[i], fds[i]);
    for (int round = 1; round <= 20; round++) {
        for (int i = BUSY; i < FILES; i++)
            put(fds[i], 0, (size_t)(round * 100), 1);
        OK(benchfs_sync(fs));
        for (int i = BUSY; i < FILES; i++) {
            snprintf(path, sizeof path, "/sync%d", i);
            assert_int_equal(tell('s', path, 0, 0, 0, 0), round * 100);
        }
    }
    for (int i = 0; i < BUSY; i++)
        writer_join(&writers[i]);
    for (int i = 0; i < FILES; i++)
        OK(benchfs_close(fs, fds[i]));
}

/* What is read ahead goes when the file is cut by name; locks count from the end as the process sees it. */
static void own_size(void)
{
    int fd = (int)OK(benchfs_open(fs, "/size", O_CREAT | O_RDWR, 0644));
    put(fd, 0, 5000, 1);
    OK(benchfs_fsync(fs, fd));
    is(fd, 0, 1000, 1);
    is(fd, 1000, 1000, 1);
    OK(benchfs_truncate(fs, "/size", 1500));
    IS(0, benchfs_pread(fs, fd, bytes, 1000, 2000));
    IS(500, benchfs_pread(fs, fd, bytes, 1000, 1000));
    put(fd, 1500, 500, 1);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -100, .l_len = 100};
    OK(benchfs_fcntl(fs, fd, F_SETLK, &lock));
    int inside = (int)OK(benchfs_open(fs, "/size", O_RDWR));
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    OK(benchfs_fcntl(fs, inside, F_OFD_GETLK, &lock));
    assert_int_equal(lock.l_type, F_WRLCK);
    assert_int_equal(lock.l_start, 1900);
    assert_int_equal(lock.l_len, 100);
    OK(benchfs_close(fs, inside));
    OK(benchfs_close(fs, fd));
}

static void close_to_open(void **state)
{
    (void)state;
    begin("close", "1h");
    published_at_close_and_fsync();
    published_by_others();
    own_writes();
    close_beside_writes();
    truncation_beside_publishing();
    sync_reaches_all();
    own_size();
    /* Reading in small steps asks seldom. */
    int fd = (int)OK(benchfs_open(fs, "/big", O_CREAT | O_RDWR, 0644));
    put(fd, 0, 4 * MIB, 5);
    OK(benchfs_close(fs, fd));
    fd = (int)OK(benchfs_open(fs, "/big", O_RDONLY));
    struct benchfs_counters before = counted();
    for (off_t at = 0; at < 4 * MIB; at += 1000)
        is(fd, at, (size_t)(at + 1000 < 4 * MIB ? 1000 : 4 * MIB - at), 5);
    struct benchfs_counters after = counted();
    assert_true(after.read_ahead - before.read_ahead < 20);
    assert_true(after.cached_reads - before.cached_reads > 4000);
    assert_int_equal(after.cached_attributes, 0);
    OK(benchfs_close(fs, fd));
    end();
}

/* A delayed write that fails is told by sync, by fsync, and by close. */
static void delayed_errors(void **state)
{
    (void)state;
    begin("close", "1h");
    int fd = (int)OK(benchfs_open(fs, "/e", O_CREAT | O_RDWR, 0644));
    put(fd, 0, 100, 1);
    assert_true(counted().buffered_writes == 1);
    for (unsigned i = 0; i < servers; i++)
        cluster_kill(&cluster, i);
    FAILS(EIO, benchfs_sync(fs));
    FAILS(EIO, benchfs_fsync(fs, fd)); /* once more */
    FAILS(EIO, benchfs_sync(fs));      /* the bytes are lost, and no server says that the rest lasts */
    put(fd, 0, 100, 1);
    FAILS(EIO, benchfs_close(fs, fd));
    FAILS(EBADF, benchfs_close(fs, fd));
    int status;
    benchfs_disconnect(fs);
    close(to_other);
    close(from_other);
    waitpid(other, &status, 0);
    unlink(config_path);
    unsetenv("BENCHFS_CONFIG");
    cluster_stop(&cluster);
}

/* ---- relaxed ---- */

static void relaxed(void **state)
{
    struct stat status;
    (void)state;
    begin("relaxed", "0");
    published_at_close_and_fsync();
    published_by_others();
    end();
    begin("relaxed", "1h");
    own_writes();
    int fd = (int)OK(benchfs_open(fs, "/r", O_CREAT | O_RDWR, 0644));
    put(fd, 0, 10, 1);
    OK(benchfs_close(fs, fd));
    uint64_t before = counted().cached_attributes;
    IS(10, size_of("/r"));
    assert_int_equal(counted().cached_attributes, before);
    assert_true(tell('o', "/r", O_RDWR, 0, 0, 0) >= 3);
    assert_int_equal(tell('w', "", 0, 10, 10, 1), 10);
    assert_int_equal(tell('c', "", 0, 0, 0, 0), 0);
    IS(10, size_of("/r")); /* an hour may pass */
    assert_int_equal(counted().cached_attributes, before + 1);
    FAILS(ENOENT, benchfs_stat(fs, "/none", &status));
    assert_true(tell('o', "/none", O_CREAT | O_RDWR, 0, 0, 0) >= 3);
    FAILS(ENOENT, benchfs_stat(fs, "/none", &status));
    assert_int_equal(counted().cached_attributes, before + 2);
    /* Its own changes a process always sees. */
    OK(benchfs_mkdir(fs, "/d", 0755));
    IS(20, size_of("/r"));
    OK(benchfs_stat(fs, "/none", &status));
    fd = (int)OK(benchfs_open(fs, "/r", O_RDWR));
    OK(benchfs_fstat(fs, fd, &status));
    OK(benchfs_fstat(fs, fd, &status));
    assert_int_equal(counted().cached_attributes, before + 3);
    put(fd, 20, 10, 1);
    OK(benchfs_fstat(fs, fd, &status));
    IS(30, status.st_size);
    OK(benchfs_chmod(fs, "/r", 0600));
    OK(benchfs_stat(fs, "/r", &status));
    IS(0600, status.st_mode & 07777);
    OK(benchfs_rename(fs, "/r", "/r2"));
    FAILS(ENOENT, benchfs_stat(fs, "/r", &status));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/r2"));
    FAILS(ENOENT, benchfs_stat(fs, "/r2", &status));
    end();
}

static void lifetime_ends(void **state)
{
    (void)state;
    begin("relaxed", "20ms");
    put_text(fs, "/l", "1");
    IS(1, size_of("/l"));
    assert_true(tell('o', "/l", O_RDWR, 0, 0, 0) >= 3);
    assert_int_equal(tell('w', "", 0, 0, 100, 1), 100);
    assert_int_equal(tell('c', "", 0, 0, 0, 0), 0);
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - begun.tv_sec > 20)
            fail_msg("an attribute outlives its lifetime");
    } while (size_of("/l") != 100);
    end();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict),  cmocka_unit_test(close_to_open), cmocka_unit_test(delayed_errors),
        cmocka_unit_test(relaxed), cmocka_unit_test(lifetime_ends),
    };
    servers = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    return _cmocka_run_group_tests("consistency", tests, sizeof tests / sizeof *tests, NULL, NULL);
}
