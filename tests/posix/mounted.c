/* Mounted directories beside each other and beside the library: what they show of each other's changes, in
 * each mode of consistency; memory mappings; and long listings while the directory changes. */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>

#define MOUNTS_MAX 2
#define FUSE_MAGIC 0x65735546
#define PATIENCE_MS 15000

static struct mounted {
    pid_t pid; /* of benchfs mount -f; 0: none */
    char directory[96];
} mounts[MOUNTS_MAX];

static void pause_ms(long milliseconds)
{
    struct timespec time = {.tv_nsec = milliseconds * 1000000};
    nanosleep(&time, NULL);
}

static bool is_mounted(const char *directory)
{
    struct statfs status;
    return statfs(directory, &status) == 0 && (unsigned long)status.f_type == FUSE_MAGIC;
}

static bool fuse_usable(void)
{
    return access("/dev/fuse", R_OK | W_OK) == 0 && geteuid() == 0;
}

/* Mounts number `which` with mount options; skips the test where that cannot work. */
static void mount_one(unsigned which, const char *options)
{
    struct mounted *mount = &mounts[which];
    if (!fuse_usable()) {
        print_message("# FUSE cannot be used here: no /dev/fuse, or not root\n");
        skip();
    }
    snprintf(mount->directory, sizeof mount->directory, "%s/%u", cluster.directory, which);
    IS(0, mkdir(mount->directory, 0755));
    pid_t parent = getpid();
    mount->pid = fork();
    if (mount->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent)
            execl(getenv("BENCHFS"), "benchfs", "mount", "-f", "-o", options, mount->directory, NULL);
        _exit(127);
    }
    for (int waited = 0; !is_mounted(mount->directory); waited += 5) {
        if (waited > PATIENCE_MS || waitpid(mount->pid, NULL, WNOHANG) != 0)
            fail_msg("the directory is not mounted");
        pause_ms(5);
    }
}

static int unmount_all(void **state)
{
    (void)state;
    int result = 0;
    for (unsigned which = 0; which < MOUNTS_MAX; which++) {
        struct mounted *mount = &mounts[which];
        if (mount->pid == 0)
            continue;
        int status, waited = 0;
        umount2(mount->directory, MNT_DETACH);
        kill(mount->pid, SIGTERM);
        for (; waitpid(mount->pid, &status, WNOHANG) == 0 && waited < PATIENCE_MS; waited += 5)
            pause_ms(5);
        if (waited >= PATIENCE_MS) {
            kill(mount->pid, SIGKILL);
            waitpid(mount->pid, &status, 0);
        }
        if (status != 0) {
            print_error("benchfs mount ended with status 0x%x\n", (unsigned)status);
            result = -1;
        }
        mount->pid = 0;
        rmdir(mount->directory);
    }
    return result;
}

/* A path in a mounted directory; four can be in use. */
static const char *at(unsigned which, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", mounts[which].directory, name);
    return path;
}

static void child_must(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "child: %s (%s)\n", what, strerror(errno));
    _exit(1);
}
#define MUST(condition) child_must((condition) != 0, #condition)

static void wait_child(pid_t pid)
{
    int status;
    IS(pid, waitpid(pid, &status, 0));
    assert_int_equal(status, 0);
}

/* ---- strict ---- */

/* What one of the three doors did, the other two see at once, through what they have open too. */
static void strict_views(void **state)
{
    (void)state;
    mount_one(0, "consistency=strict");
    mount_one(1, "consistency=strict");
    char text[32], read_back[32];
    struct stat status;
    put_text(fs, "/shared", "round 000");
    int here = (int)OK(open(at(0, "shared"), O_RDWR));
    int there = (int)OK(open(at(1, "shared"), O_RDWR));
    int inside = (int)OK(benchfs_open(fs, "/shared", O_RDWR));
    for (int round = 0; round < 60; round++) {
        snprintf(text, sizeof text, "round %03d", round);
        switch (round % 3) {
        case 0:
            IS(9, pwrite(here, text, 9, 0));
            break;
        case 1:
            IS(9, pwrite(there, text, 9, 0));
            break;
        default:
            IS(9, benchfs_pwrite(fs, inside, text, 9, 0));
        }
        /* The modification time says nothing: it is set back each time. */
        struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
        OK(benchfs_futimens(fs, inside, times));
        IS(9, pread(here, read_back, 9, 0));
        assert_memory_equal(read_back, text, 9);
        IS(9, pread(there, read_back, 9, 0));
        assert_memory_equal(read_back, text, 9);
        IS(9, benchfs_pread(fs, inside, read_back, 9, 0));
        assert_memory_equal(read_back, text, 9);
    }
    for (int round = 1; round < 20; round++) {
        OK(ftruncate(round % 2 ? here : there, 100 * round));
        OK(fstat(round % 2 ? there : here, &status));
        assert_int_equal(status.st_size, 100 * round);
        assert_int_equal(lseek(round % 2 ? there : here, 0, SEEK_END), 100 * round);
    }
    OK(close(here));
    OK(close(there));
    OK(benchfs_close(fs, inside));

    for (int round = 0; round < 20; round++) {
        unsigned one = (unsigned)round % 2, other = 1 - one;
        FAILS(ENOENT, stat(at(other, "moved"), &status));
        OK(rename(at(one, "shared"), at(one, "moved")));
        FAILS(ENOENT, stat(at(other, "shared"), &status));
        OK(stat(at(other, "moved"), &status));
        OK(chmod(at(other, "moved"), 0600 + (mode_t)round));
        OK(stat(at(one, "moved"), &status));
        assert_int_equal(status.st_mode & 0777, 0600 + round);
        OK(benchfs_rename(fs, "/moved", "/shared"));
        FAILS(ENOENT, stat(at(one, "moved"), &status));
    }
    OK(mkdir(at(0, "dir"), 0755));
    OK(mkdir(at(1, "dir/sub"), 0755));
    OK(benchfs_rename(fs, "/dir", "/other"));
    FAILS(ENOENT, stat(at(0, "dir/sub"), &status));
    OK(stat(at(0, "other/sub"), &status));
    OK(rmdir(at(1, "other/sub")));
    OK(rmdir(at(0, "other")));
    FAILS(ENOENT, stat(at(1, "other"), &status));
    OK(unlink(at(1, "shared")));
    FAILS(ENOENT, open(at(0, "shared"), O_RDONLY));
}

/* Appenders on two mounts never overwrite each other. */
static void appenders(void **state)
{
    enum { RECORDS = 300, LENGTH = 64 };
    (void)state;
    mount_one(0, "consistency=strict");
    mount_one(1, "consistency=close");
    pid_t children[2];
    put_text(fs, "/log", "");
    for (unsigned which = 0; which < 2; which++) {
        children[which] = fork();
        if (children[which] != 0)
            continue;
        int fd = open(at(which, "log"), O_WRONLY | O_APPEND);
        for (int i = 0; i < RECORDS; i++) {
            char record[LENGTH + 1];
            snprintf(record, sizeof record, "%u %061d\n", which, i);
            MUST(write(fd, record, LENGTH) == LENGTH);
        }
        MUST(close(fd) == 0);
        _exit(0);
    }
    wait_child(children[0]);
    wait_child(children[1]);
    static char log[2 * RECORDS * LENGTH + 1];
    int fd = (int)OK(benchfs_open(fs, "/log", O_RDONLY));
    IS(2 * RECORDS * LENGTH, benchfs_read(fs, fd, log, sizeof log));
    OK(benchfs_close(fs, fd));
    int next[2] = {0};
    for (int i = 0; i < 2 * RECORDS; i++) {
        unsigned which;
        int number;
        assert_int_equal(sscanf(log + i * LENGTH, "%u %d", &which, &number), 2);
        assert_true(which < 2);
        assert_int_equal(number, next[which]++);
    }
    OK(benchfs_unlink(fs, "/log"));
}

/* ---- locks ---- */

static void wake(int signal)
{
    (void)signal;
}

static int lock_record(int fd, int command, short type, off_t start, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &lock);
}

/* Waits in the other mount for a lock that this one has; says when it begins to wait and when it has it. */
static void wait_there(int said, bool record)
{
    struct sigaction action = {.sa_handler = wake}; /* without SA_RESTART */
    sigaction(SIGUSR1, &action, NULL);
    int fd = open(at(1, "locked"), O_RDWR);
    MUST(fd >= 0);
    MUST((record ? lock_record(fd, F_SETLK, F_WRLCK, 50, 100) : flock(fd, LOCK_EX | LOCK_NB)) < 0);
    MUST(errno == EAGAIN || errno == EACCES);
    MUST(write(said, "w", 1) == 1);
    int taken = record ? lock_record(fd, F_SETLKW, F_WRLCK, 50, 100) : flock(fd, LOCK_EX);
    if (taken < 0 && errno == EINTR)
        _exit(3);
    MUST(taken == 0 && write(said, "l", 1) == 1);
    pause(); /* the end of the process ends the lock */
}

/* Everybody waits for everybody: through two mounts and the library. */
static void locks(bool record)
{
    mount_one(0, "consistency=strict,threads=2");
    mount_one(1, "consistency=strict,threads=2");
    int said[2], status;
    char byte = 0;
    put_text(fs, "/locked", "");
    int fd = (int)OK(open(at(0, "locked"), O_RDWR));
    int inside = (int)OK(benchfs_open(fs, "/locked", O_RDWR));
    struct flock probe = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 10};
    OK(record ? lock_record(fd, F_SETLK, F_WRLCK, 0, 60) : flock(fd, LOCK_EX));
    if (record) {
        IS(0, fcntl(fd, F_GETLK, &probe)); /* beyond the lock, and a process's own is not in its way */
        assert_int_equal(probe.l_type, F_UNLCK);
    } else {
        FAILS(EAGAIN, benchfs_flock(fs, inside, LOCK_SH | LOCK_NB));
    }
    pid_t waiters[5];
    OK(pipe(said));
    for (unsigned i = 0; i < 5; i++) { /* more than the mount has threads */
        waiters[i] = fork();
        if (waiters[i] == 0)
            wait_there(said[1], record);
        IS(1, read(said[0], &byte, 1));
        assert_int_equal(byte, 'w');
    }
    /* The mount still serves others, and an interrupted waiter gives up. */
    struct stat other;
    OK(stat(at(1, "locked"), &other));
    pid_t pid;
    for (int waited = 0; (pid = waitpid(waiters[0], &status, WNOHANG)) == 0; waited += 5) {
        assert_true(waited < PATIENCE_MS);
        OK(kill(waiters[0], SIGUSR1)); /* it may come before the call waits */
        pause_ms(5);
    }
    assert_true(pid == waiters[0] && WIFEXITED(status) && WEXITSTATUS(status) == 3);
    /* Given back, it goes from one to the next, each by the end of its process. */
    OK(record ? lock_record(fd, F_SETLK, F_UNLCK, 0, 0) : flock(fd, LOCK_UN));
    for (unsigned i = 1; i < 5; i++) {
        IS(1, read(said[0], &byte, 1));
        assert_int_equal(byte, 'l');
        if (record) {
            probe = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 10};
            IS(0, fcntl(fd, F_GETLK, &probe));
            assert_int_equal(probe.l_type, F_WRLCK);
            assert_int_equal(probe.l_start, 50);
            assert_int_equal(probe.l_len, 100);
            OK(kill(probe.l_pid, SIGKILL));
        } else {
            FAILS(EAGAIN, benchfs_flock(fs, inside, LOCK_SH | LOCK_NB));
            break; /* nobody says who has it: they end together */
        }
    }
    for (unsigned i = 1; i < 5; i++) {
        kill(waiters[i], SIGKILL);
        IS(waiters[i], waitpid(waiters[i], &status, 0));
    }
    for (int waited = 0;
         (record ? lock_record(fd, F_SETLK, F_WRLCK, 0, 0) : flock(fd, LOCK_EX | LOCK_NB)) < 0;
         waited += 5) { /* RELEASE of the dead arrives on its own */
        assert_true(waited < PATIENCE_MS);
        pause_ms(5);
    }
    OK(close(fd));
    OK(benchfs_close(fs, inside));
    OK(benchfs_unlink(fs, "/locked"));
    OK(close(said[0]) | close(said[1]));
}

static void file_locks(void **state)
{
    (void)state;
    locks(false);
}

static void record_locks(void **state)
{
    (void)state;
    locks(true);
}

/* ---- memory mappings ---- */

#define MAPPED (5 * 4096 + 1000)

/* Two processes on one mount share the pages; read and write agree with them; others see what was synced. */
static void mappings(const char *options)
{
    mount_one(0, options);
    mount_one(1, options);
    static unsigned char bytes[MAPPED], seen[MAPPED];
    pattern_fill(bytes, MAPPED, 1, 0);
    put_file(fs, "/mapped", bytes, MAPPED);
    int fd = (int)OK(open(at(0, "mapped"), O_RDWR));
    unsigned char *map = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED && errno == ENODEV) {
        print_message("# this kernel maps no files that are open for direct I/O (Linux 6.6 does)\n");
        OK(close(fd));
        skip();
    }
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_memory_equal(map, bytes, MAPPED);

    int turn[2], done[2];
    char byte;
    OK(pipe(turn) | pipe(done));
    pid_t child = fork();
    if (child == 0) {
        int mine = open(at(0, "mapped"), O_RDWR);
        unsigned char *other = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, mine, 0);
        MUST(other != MAP_FAILED && close(mine) == 0);
        MUST(write(done[1], "", 1) == 1 && read(turn[0], &byte, 1) == 1);
        MUST(memcmp(other, "parent", 6) == 0); /* stored before this turn */
        memcpy(other + 4096, "child", 5);
        MUST(write(done[1], "", 1) == 1 && read(turn[0], &byte, 1) == 1);
        MUST(memcmp(other + 2 * 4096, "written", 7) == 0);
        memcpy(other + MAPPED - 3, "end", 3);
        MUST(msync(other, MAPPED, MS_SYNC) == 0);
        _exit(0);
    }
    IS(1, read(done[0], &byte, 1));
    memcpy(map, "parent", 6);
    IS(1, write(turn[1], "", 1));
    IS(1, read(done[0], &byte, 1));
    assert_memory_equal(map + 4096, "child", 5);
    IS(6, pread(fd, seen, 6, 0)); /* reads of the mount agree, before anything was synced */
    assert_memory_equal(seen, "parent", 6);
    IS(7, pwrite(fd, "written", 7, 2 * 4096)); /* and so do writes */
    assert_memory_equal(map + 2 * 4096, "written", 7);
    IS(1, write(turn[1], "", 1));
    wait_child(child);
    assert_memory_equal(map + MAPPED - 3, "end", 3);
    OK(msync(map, MAPPED, MS_SYNC));

    memcpy(bytes, "parent", 6);
    memcpy(bytes + 4096, "child", 5);
    memcpy(bytes + 2 * 4096, "written", 7);
    memcpy(bytes + MAPPED - 3, "end", 3);
    int inside = (int)OK(benchfs_open(fs, "/mapped", O_RDWR));
    IS(MAPPED, benchfs_pread(fs, inside, seen, sizeof seen, 0));
    assert_memory_equal(seen, bytes, MAPPED);
    int there = (int)OK(open(at(1, "mapped"), O_RDONLY));
    IS(MAPPED, pread(there, seen, sizeof seen, 0));
    assert_memory_equal(seen, bytes, MAPPED);

    /* What others write shows in a mapping made afterwards. */
    OK(munmap(map, MAPPED));
    OK(close(fd));
    IS(6, benchfs_pwrite(fs, inside, "others", 6, 100));
    fd = (int)OK(open(at(0, "mapped"), O_RDWR));
    map = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_memory_equal(map + 100, "others", 6);
    /* Unmapping and closing publishes, without msync. */
    memcpy(map + 200, "closed", 6);
    OK(munmap(map, MAPPED));
    OK(fsync(fd));
    OK(close(fd));
    IS(6, benchfs_pread(fs, inside, seen, 6, 200));
    assert_memory_equal(seen, "closed", 6);
    OK(close(there));
    OK(benchfs_close(fs, inside));
    OK(benchfs_unlink(fs, "/mapped"));
}

static void strict_mappings(void **state)
{
    (void)state;
    mappings("consistency=strict");
}

static void close_mappings(void **state)
{
    (void)state;
    mappings("consistency=close");
}

/* ---- close and relaxed ---- */

/* Whoever opens sees what was written before, even where size and modification time give nothing away. */
static void close_reopens(void **state)
{
    (void)state;
    mount_one(0, "consistency=close");
    char text[16], seen[16];
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    for (int round = 0; round < 30; round++) {
        snprintf(text, sizeof text, "round %03d", round);
        put_text(fs, "/reopened", text);
        OK(benchfs_utimensat(fs, AT_FDCWD, "/reopened", times, 0));
        int fd = (int)OK(open(at(0, "reopened"), O_RDONLY));
        IS(9, pread(fd, seen, sizeof seen, 0));
        assert_memory_equal(seen, text, 9);
        OK(close(fd));
        fd = (int)OK(open(at(0, "reopened"), O_RDONLY)); /* unchanged: what is cached is kept */
        IS(9, pread(fd, seen, sizeof seen, 0));
        assert_memory_equal(seen, text, 9);
        OK(close(fd));
    }
    OK(benchfs_unlink(fs, "/reopened"));
}

static void relaxed_lifetime(void **state)
{
    (void)state;
    mount_one(0, "consistency=relaxed,lifetime=3600");
    mount_one(1, "consistency=relaxed,lifetime=0.05");
    struct stat status;
    put_text(fs, "/aging", "1");
    for (unsigned which = 0; which < 2; which++) {
        OK(stat(at(which, "aging"), &status));
        FAILS(ENOENT, stat(at(which, "missing"), &status));
    }
    put_text(fs, "/aging", "12");
    put_text(fs, "/missing", "");
    OK(stat(at(0, "aging"), &status)); /* from the kernel's memory */
    assert_int_equal(status.st_size, 1);
    FAILS(ENOENT, stat(at(0, "missing"), &status));
    for (int waited = 0; stat(at(1, "aging"), &status) == 0 && status.st_size != 2; waited += 10) {
        assert_true(waited < PATIENCE_MS);
        pause_ms(10);
    }
    for (int waited = 0; stat(at(1, "missing"), &status) < 0; waited += 10) {
        assert_true(waited < PATIENCE_MS);
        pause_ms(10);
    }
    OK(benchfs_unlink(fs, "/aging"));
    OK(benchfs_unlink(fs, "/missing"));
}

/* ---- listings ---- */

#define ENTRIES 10000

/* Makes and removes other names until told to end. */
static void disturb(int told)
{
    struct pollfd ending = {.fd = told, .events = POLLIN};
    for (int i = 0; poll(&ending, 1, 0) == 0; i++) {
        char name[64];
        snprintf(name, sizeof name, "long/passing.%d", i % 500);
        int fd = open(at(1, name), O_WRONLY | O_CREAT, 0644);
        MUST(fd >= 0 && close(fd) == 0);
        if (i % 3 != 0)
            MUST(unlink(at(1, name)) == 0);
    }
    _exit(0);
}

/* Reads the listing once; every lasting name must come exactly once. */
static void read_whole(DIR *dir)
{
    static unsigned char times[ENTRIES];
    memset(times, 0, sizeof times);
    struct dirent *entry;
    unsigned number, dots = 0, lasting = 0;
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        dots += strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (sscanf(entry->d_name, "lasting.%u", &number) != 1)
            continue;
        assert_true(number < ENTRIES);
        assert_int_equal(entry->d_type, DT_REG);
        if (times[number]++ != 0)
            fail_msg("\"%s\" came twice", entry->d_name);
        lasting++;
    }
    assert_int_equal(errno, 0);
    assert_int_equal(dots, 2);
    assert_int_equal(lasting, ENTRIES);
}

static void long_listing(void **state)
{
    (void)state;
    mount_one(0, "consistency=strict");
    mount_one(1, "consistency=strict");
    char name[64];
    OK(benchfs_mkdir(fs, "/long", 0755));
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "/long/lasting.%u", i);
        put_text(fs, name, "");
    }
    int told[2];
    OK(pipe(told));
    pid_t child = fork();
    if (child == 0) {
        close(told[1]);
        disturb(told[0]);
    }
    DIR *dir = opendir(at(0, "long"));
    assert_non_null(dir);
    for (int round = 0; round < 3; round++) {
        read_whole(dir);
        rewinddir(dir);
    }
    /* Positions stay good while the directory changes. */
    struct dirent *entry;
    for (unsigned i = 0; (entry = readdir(dir)) != NULL; i++) {
        if (i % 997 != 0)
            continue;
        long position = telldir(dir);
        char after[256] = "";
        while ((entry = readdir(dir)) != NULL && strncmp(entry->d_name, "lasting.", 8) != 0)
            ;
        if (entry == NULL)
            break;
        strcpy(after, entry->d_name);
        seekdir(dir, position);
        while ((entry = readdir(dir)) != NULL && strncmp(entry->d_name, "lasting.", 8) != 0)
            ;
        assert_non_null(entry);
        assert_string_equal(entry->d_name, after);
    }
    OK(close(told[1]));
    wait_child(child);
    /* Removing while listing misses nothing. */
    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            OK(unlinkat(dirfd(dir), entry->d_name, 0));
    OK(closedir(dir));
    OK(rmdir(at(0, "long")));
}

/* What a server is to read may be a file that it has to bring first. */
static void writing_from_a_mapping(void **state)
{
    enum { LENGTH = 1 << 20 };
    (void)state;
    mount_one(0, "consistency=close");
    int out = (int)OK(benchfs_open(fs, "/from", O_CREAT | O_RDWR, 0644));
    uint8_t *bytes = malloc(LENGTH);
    assert_non_null(bytes);
    pattern_fill(bytes, LENGTH, 1, 0);
    for (unsigned round = 0; round < 3; round++) {
        IS(LENGTH, benchfs_pwrite(fs, out, bytes, LENGTH, 0));
        int fd = (int)OK(open(at(0, "from"), O_RDONLY));
        const uint8_t *mapping = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
        assert_true(mapping != MAP_FAILED);
        int to = (int)OK(benchfs_open(fs, "/to", O_CREAT | O_RDWR, 0644));
        struct iovec parts[2] = {{(void *)(uintptr_t)mapping, LENGTH - 5000},
                                 {(void *)(uintptr_t)(mapping + LENGTH - 5000), 5000}};
        IS(LENGTH, benchfs_pwritev(fs, to, parts, 2, 0));
        assert_int_equal(munmap((void *)(uintptr_t)mapping, LENGTH), 0);
        OK(close(fd));
        memset(bytes, 0, LENGTH);
        IS(LENGTH, benchfs_pread(fs, to, bytes, LENGTH, 0));
        assert_int_equal(pattern_differs(bytes, LENGTH, 1, 0), -1);
        OK(benchfs_close(fs, to));
    }
    free(bytes);
    OK(benchfs_close(fs, out));
    OK(benchfs_unlink(fs, "/from"));
    OK(benchfs_unlink(fs, "/to"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(strict_views, unmount_all),
        cmocka_unit_test_teardown(appenders, unmount_all),
        cmocka_unit_test_teardown(file_locks, unmount_all),
        cmocka_unit_test_teardown(record_locks, unmount_all),
        cmocka_unit_test_teardown(strict_mappings, unmount_all),
        cmocka_unit_test_teardown(close_mappings, unmount_all),
        cmocka_unit_test_teardown(close_reopens, unmount_all),
        cmocka_unit_test_teardown(relaxed_lifetime, unmount_all),
        cmocka_unit_test_teardown(long_listing, unmount_all),
        cmocka_unit_test_teardown(writing_from_a_mapping, unmount_all),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}
