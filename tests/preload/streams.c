/* The C library's streams and directory searches, and what processes hand on, by a program that knows nothing
 * of BenchFS. Run with libbenchfs_preload.so; the directory to work in is its argument. */
#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *top;
static int number, failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("# %s:%d: %s (errno %d, %s)\n", __func__, __LINE__, #condition, errno, strerror(errno));  \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

static const char *in(const char *name)
{
    static char paths[8][4096];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", top, name);
    return path;
}

static int put(const char *name, const char *text)
{
    FILE *file = fopen(in(name), "w");
    if (file == NULL)
        return -1;
    int result = fputs(text, file) < 0 ? -1 : 0;
    return fclose(file) == 0 ? result : -1;
}

/* The file's contents, at most 4095 bytes. */
static const char *get(const char *name)
{
    static char text[4096];
    int fd = open(in(name), O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return text;
}

/* ---- streams ---- */

static int stream_write_read(void)
{
    FILE *file = fopen(in("s"), "w+");
    CHECK(file != NULL && fileno(file) > 2);
    for (int i = 0; i < 20000; i++)
        CHECK(fprintf(file, "line %d\n", i) > 0);
    CHECK(ftell(file) == 208890);
    CHECK(fseek(file, 7, SEEK_SET) == 0);
    int value;
    CHECK(fscanf(file, "line %d", &value) == 1 && value == 1);
    CHECK(fseek(file, -6, SEEK_END) == 0);
    CHECK(fscanf(file, "%d", &value) == 1 && value == 19999);
    CHECK(fgetc(file) == '\n' && fgetc(file) == EOF && feof(file));
    rewind(file);
    char *line = NULL;
    size_t room = 0;
    int count = 0;
    while (getline(&line, &room, file) > 0)
        count++;
    free(line);
    CHECK(count == 20000);
    CHECK(fclose(file) == 0);
    struct stat status;
    CHECK(stat(in("s"), &status) == 0 && status.st_size == 208890);
    return 0;
}

static int stream_modes(void)
{
    CHECK(put("m", "0123456789") == 0);
    FILE *file = fopen(in("m"), "r+");
    CHECK(file != NULL && fseek(file, 3, SEEK_SET) == 0 && fputs("xyz", file) >= 0);
    CHECK(fseek(file, 0, SEEK_CUR) == 0 && fgetc(file) == '6' && ungetc('q', file) == 'q' &&
          fgetc(file) == 'q');
    CHECK(fclose(file) == 0 && strcmp(get("m"), "012xyz6789") == 0);
    file = fopen(in("m"), "a");
    CHECK(file != NULL && fputs("end", file) >= 0 && fclose(file) == 0);
    CHECK(strcmp(get("m"), "012xyz6789end") == 0);
    CHECK(fopen(in("m"), "wx") == NULL && errno == EEXIST);
    CHECK(fopen(in("none"), "r") == NULL && errno == ENOENT);
    file = fopen(in("m"), "re");
    CHECK(file != NULL && (fcntl(fileno(file), F_GETFD) & FD_CLOEXEC) != 0 && fputc('x', file) == EOF);
    CHECK(fclose(file) == 0);
    return 0;
}

static int stream_over_descriptor(void)
{
    int fd = open(in("d"), O_CREAT | O_RDWR | O_TRUNC, 0600);
    FILE *file = fdopen(fd, "w");
    CHECK(file != NULL && fileno(file) == fd);
    char buffer[16];
    setvbuf(file, buffer, _IOFBF, sizeof buffer);
    CHECK(fputs("through a small buffer", file) >= 0 && fflush(file) == 0);
    CHECK(strcmp(get("d"), "through a small buffer") == 0);
    CHECK(fclose(file) == 0 && fcntl(fd, F_GETFD) == -1 && errno == EBADF);
    return 0;
}

static int stream_reopened(void)
{
    CHECK(put("r1", "first") == 0 && put("r2", "second") == 0);
    FILE *file = fopen(in("r1"), "r");
    CHECK(file != NULL && fgetc(file) == 'f');
    FILE *same = freopen(in("r2"), "r", file);
    char text[16];
    CHECK(same == file && fgets(text, sizeof text, file) != NULL && strcmp(text, "second") == 0);
    same = freopen(in("r3"), "w", file);
    CHECK(same == file && fputs("third", file) >= 0 && fclose(file) == 0);
    CHECK(strcmp(get("r3"), "third") == 0);
    return 0;
}

/* Standard output goes to a file and back. */
static int standard_output(void)
{
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    int fd = open(in("o"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    CHECK(saved >= 0 && fd >= 0 && dup2(fd, STDOUT_FILENO) == STDOUT_FILENO && close(fd) == 0);
    printf("printed %d\n", 1);
    puts("put");
    fflush(stdout);
    int written = system("echo by the shell");
    int restored = dup2(saved, STDOUT_FILENO);
    close(saved);
    CHECK(written == 0 && restored == STDOUT_FILENO);
    CHECK(strcmp(get("o"), "printed 1\nput\nby the shell\n") == 0);
    return 0;
}

static int temporary_files(void)
{
    char path[4096], text[4];
    snprintf(path, sizeof path, "%s/tXXXXXX", top);
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "abc", 3) == 3 && lseek(fd, 0, SEEK_SET) == 0 && read(fd, text, 4) == 3);
    CHECK(close(fd) == 0 && unlink(path) == 0);
    snprintf(path, sizeof path, "%s/tXXXXXX.c", top);
    fd = mkostemps(path, 2, O_CLOEXEC);
    CHECK(fd >= 0 && strcmp(path + strlen(path) - 2, ".c") == 0 && close(fd) == 0 && unlink(path) == 0);
    snprintf(path, sizeof path, "%s/dXXXXXX", top);
    CHECK(mkdtemp(path) == path && rmdir(path) == 0);
    CHECK(mkstemp(strcpy(path, in("noX"))) == -1 && errno == EINVAL);
    return 0;
}

/* ---- directories ---- */

static int seen;

static int visit(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    seen += type == FTW_F ? 1 : type == FTW_D || type == FTW_DP ? 100 : 10000;
    return where->level > 2 || path[where->base] == '\0';
}

static int by_name_only(const struct dirent *entry)
{
    return entry->d_name[0] == 'f';
}

static int directories(void)
{
    CHECK(mkdir(in("dir"), 0755) == 0 && mkdir(in("dir/sub"), 0755) == 0);
    CHECK(put("dir/f1", "1") == 0 && put("dir/f2", "2") == 0 && put("dir/sub/f3", "3") == 0);
    glob_t found;
    CHECK(glob(in("dir/f*"), 0, NULL, &found) == 0 && found.gl_pathc == 2);
    CHECK(strcmp(found.gl_pathv[0], in("dir/f1")) == 0);
    globfree(&found);
    CHECK(glob(in("dir/*/f?"), 0, NULL, &found) == 0 && found.gl_pathc == 1);
    globfree(&found);
    CHECK(glob(in("dir/z*"), 0, NULL, &found) == GLOB_NOMATCH);
    seen = 0;
    CHECK(nftw(in("dir"), visit, 8, FTW_PHYS) == 0 && seen == 203);
    seen = 0;
    CHECK(nftw(in("dir"), visit, 8, FTW_PHYS | FTW_DEPTH) == 0 && seen == 203);
    struct dirent **entries;
    CHECK(scandir(in("dir"), &entries, by_name_only, alphasort) == 2);
    CHECK(strcmp(entries[0]->d_name, "f1") == 0 && strcmp(entries[1]->d_name, "f2") == 0);
    free(entries[0]);
    free(entries[1]);
    free(entries);
    DIR *directory = opendir(in("dir"));
    CHECK(directory != NULL && dirfd(directory) > 2);
    int count = 0;
    long second = 0;
    char name[256] = "";
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL; count++) {
        if (count == 1)
            second = telldir(directory);
        if (count == 2)
            strcpy(name, entry->d_name);
    }
    CHECK(count == 5);
    seekdir(directory, second);
    const struct dirent *again = readdir(directory);
    CHECK(again != NULL && strcmp(again->d_name, name) == 0);
    rewinddir(directory);
    CHECK(strcmp(readdir(directory)->d_name, ".") == 0);
    int fd = dirfd(directory);
    struct stat status;
    CHECK(fstatat(fd, "f1", &status, 0) == 0 && status.st_size == 1);
    CHECK(fstatat(fd, "", &status, AT_EMPTY_PATH) == 0 && S_ISDIR(status.st_mode));
    CHECK(closedir(directory) == 0 && fcntl(fd, F_GETFD) == -1);
    struct statx extended;
    CHECK(statx(AT_FDCWD, in("dir/f1"), 0, STATX_BASIC_STATS, &extended) == 0 && extended.stx_size == 1);
    return 0;
}

static int current_directory(void)
{
    char path[4096], expected[4096];
    int back = open(".", O_RDONLY | O_DIRECTORY);
    snprintf(expected, sizeof expected, "%s", in("dir/sub"));
    CHECK(back >= 0 && chdir(in("dir")) == 0 && chdir("sub") == 0);
    CHECK(getcwd(path, sizeof path) != NULL && strcmp(path, expected) == 0);
    CHECK(getcwd(path, 3) == NULL && errno == ERANGE);
    struct stat status;
    CHECK(stat("f3", &status) == 0 && stat("../f1", &status) == 0);
    int here = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(here >= 0 && chdir("/") == 0 && getcwd(path, sizeof path) != NULL && strcmp(path, "/") == 0);
    CHECK(fchdir(here) == 0 && getcwd(path, sizeof path) != NULL && strcmp(path, expected) == 0);
    char *whole = realpath("../f1", NULL);
    CHECK(whole != NULL && strcmp(whole, in("dir/f1")) == 0);
    free(whole);
    CHECK(fchdir(back) == 0 && close(back) == 0 && close(here) == 0);
    return 0;
}

/* ---- descriptors ---- */

static int numbers(void)
{
    int a = open(in("n"), O_CREAT | O_RDWR | O_TRUNC, 0600);
    int b = open("/dev/null", O_RDONLY);
    int c = dup(a);
    CHECK(a > 2 && b == a + 1 && c == b + 1);
    CHECK(write(a, "ab", 2) == 2 && write(c, "cd", 2) == 2 && lseek(a, 0, SEEK_CUR) == 4);
    CHECK(close(a) == 0 && open(in("n"), O_RDONLY) == a);
    CHECK(close(a) == 0 && dup(b) == a && close(a) == 0);
    CHECK(fcntl(c, F_DUPFD, 100) == 100 && fcntl(100, F_GETFD) == 0 && close(100) == 0);
    CHECK(fcntl(c, F_DUPFD_CLOEXEC, 100) == 100 && fcntl(100, F_GETFD) == FD_CLOEXEC && close(100) == 0);
    CHECK((fcntl(c, F_GETFL) & O_ACCMODE) == O_RDWR && fcntl(c, F_SETFL, O_APPEND) == 0);
    CHECK((fcntl(c, F_GETFL) & O_APPEND) != 0 && lseek(c, 0, SEEK_SET) == 0 && write(c, "e", 1) == 1);
    CHECK(strcmp(get("n"), "abcde") == 0);
    CHECK(dup2(b, c) == c && write(c, "x", 1) == -1 && close(b) == 0 && close(c) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(open(in("n"), O_RDONLY) == a + i);
    CHECK(close_range((unsigned)a, (unsigned)a + 3, 0) == 0 && fcntl(a, F_GETFD) == -1);
    CHECK(close(a) == -1 && errno == EBADF && read(a, &b, 1) == -1 && errno == EBADF);
    CHECK(isatty(a) == 0);
    return 0;
}

static int readiness(void)
{
    int fd = open(in("n"), O_RDWR);
    struct pollfd polled = {.fd = fd, .events = POLLIN | POLLOUT};
    CHECK(fd >= 0 && poll(&polled, 1, 0) == 1 && polled.revents == (POLLIN | POLLOUT));
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == -1 && errno == EPERM);
    CHECK(!isatty(fd) && errno == ENOTTY);
    CHECK(close(epoll) == 0 && close(fd) == 0);
    return 0;
}

static int vectors_and_transfers(void)
{
    int fd = open(in("v"), O_CREAT | O_RDWR | O_TRUNC, 0600);
    struct iovec out[] = {{"abc", 3}, {"", 0}, {"defg", 4}};
    CHECK(writev(fd, out, 3) == 7 && pwritev(fd, out, 1, 7) == 3);
    char a[4] = "", b[8] = "";
    struct iovec into[] = {{a, 2}, {b, 6}};
    CHECK(preadv(fd, into, 2, 1) == 8 && strcmp(a, "bc") == 0 && strcmp(b, "defgab") == 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && readv(fd, into, 2) == 8 && lseek(fd, 0, SEEK_CUR) == 8);
    int to = open(in("w"), O_CREAT | O_RDWR | O_TRUNC, 0600);
    off64_t from = 2;
    CHECK(copy_file_range(fd, &from, to, NULL, 5, 0) == 5 && from == 7 && strcmp(get("w"), "cdefg") == 0);
    int pipes[2];
    off_t offset = 1;
    CHECK(pipe(pipes) == 0 && sendfile(pipes[1], fd, &offset, 3) == 3 && offset == 4);
    CHECK(read(pipes[0], b, 8) == 3 && memcmp(b, "bcd", 3) == 0);
    CHECK(write(pipes[1], "piped", 5) == 5 && splice(pipes[0], NULL, to, NULL, 100, 0) == 5);
    CHECK(strcmp(get("w"), "cdefgpiped") == 0);
    CHECK(close(pipes[0]) == 0 && close(pipes[1]) == 0 && close(to) == 0 && close(fd) == 0);
    CHECK(syscall(SYS_openat, AT_FDCWD, in("none"), O_RDONLY) == -1 && errno == ENOENT);
    fd = (int)syscall(SYS_openat, AT_FDCWD, in("w"), O_RDONLY);
    CHECK(fd >= 0 && syscall(SYS_read, fd, b, 3) == 3 && b[0] == 'c' && syscall(SYS_close, fd) == 0);
    return 0;
}

static int mappings(void)
{
    CHECK(put("map", "mapped text") == 0);
    int fd = open(in("map"), O_RDWR);
    char *memory = mmap(NULL, 11, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED && memcmp(memory, "mapped text", 11) == 0 && munmap(memory, 11) == 0);
    memory = mmap(NULL, 11, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(memory != MAP_FAILED);
    memory[0] = 'M';
    CHECK(strcmp(get("map"), "mapped text") == 0 && munmap(memory, 11) == 0);
    CHECK(mmap(NULL, 11, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENODEV);
    return close(fd);
}

/* ---- processes ---- */

static int wait_for(pid_t pid)
{
    int status;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int offsets_after_fork(void)
{
    int fd = open(in("f"), O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK(write(fd, "parent ", 7) == 7);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(write(fd, "child ", 6) == 6 ? 0 : 1);
    CHECK(wait_for(pid) == 0 && lseek(fd, 0, SEEK_CUR) == 13 && write(fd, "parent", 6) == 6);
    CHECK(strcmp(get("f"), "parent child parent") == 0 && close(fd) == 0);
    return 0;
}

static int many_forks_append(void)
{
    int fd = open(in("fa"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    pid_t children[4];
    fflush(NULL);
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            for (int j = 0; j < 50; j++)
                if (write(fd, "0123456789", 10) != 10)
                    _exit(1);
            _exit(0);
        }
    }
    for (int i = 0; i < 4; i++)
        CHECK(wait_for(children[i]) == 0);
    struct stat status;
    CHECK(fstat(fd, &status) == 0 && status.st_size == 2000 && close(fd) == 0);
    return 0;
}

static int spawned(void)
{
    posix_spawn_file_actions_t actions;
    char *argv[] = {"sh", "-c", "echo spawned; pwd; cat <&7", NULL};
    extern char **environ;
    pid_t pid;
    CHECK(put("in", "input\n") == 0);
    int fd = open(in("in"), O_RDONLY | O_CLOEXEC);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, in("sp"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, fd, 7);
    posix_spawn_file_actions_addchdir_np(&actions, in("dir"));
    CHECK(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ) == 0 && wait_for(pid) == 0);
    posix_spawn_file_actions_destroy(&actions);
    char expected[4096];
    snprintf(expected, sizeof expected, "spawned\n%s\ninput\n", in("dir"));
    CHECK(strcmp(get("sp"), expected) == 0);
    CHECK(posix_spawn(&pid, in("none"), NULL, NULL, argv, environ) == ENOENT);
    /* By the C library's own child: descriptors only. */
    lseek(fd, 0, SEEK_SET);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    char *other[] = {"sh", "-c", "read -r x && test \"$x\" = input", NULL};
    CHECK(posix_spawnp(&pid, "sh", &actions, NULL, other, environ) == 0 && wait_for(pid) == 0);
    posix_spawn_file_actions_destroy(&actions);
    CHECK(lseek(fd, 0, SEEK_CUR) == 6 && close(fd) == 0);
    return 0;
}

static int shells(void)
{
    char command[4096], line[64];
    snprintf(command, sizeof command, "cat %s", in("in"));
    FILE *shell = popen(command, "r");
    CHECK(shell != NULL && fgets(line, sizeof line, shell) != NULL && strcmp(line, "input\n") == 0);
    CHECK(pclose(shell) == 0);
    int fd = open(in("in"), O_RDONLY); /* something to hand on */
    shell = popen(command, "r");
    CHECK(shell != NULL && fgets(line, sizeof line, shell) != NULL && strcmp(line, "input\n") == 0);
    CHECK(pclose(shell) == 0 && close(fd) == 0);
    CHECK(chdir(in("dir")) == 0 && system("test -f f1 && exit 3") == 3 << 8 && chdir("/") == 0);
    pid_t pid = vfork();
    if (pid == 0) {
        execlp("test", "test", "-f", in("dir/f1"), NULL);
        _exit(9);
    }
    CHECK(wait_for(pid) == 0);
    return 0;
}

static void *writer(void *argument)
{
    char name[32], text[64];
    snprintf(name, sizeof name, "thread%d", (int)(intptr_t)argument);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", top, name);
    for (int i = 0; i < 50; i++) {
        int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
        int length = snprintf(text, sizeof text, "%s %d", name, i);
        char back[64] = "";
        if (fd < 0 || write(fd, text, (size_t)length) != length || pread(fd, back, 63, 0) != length ||
            strcmp(text, back) != 0 || close(fd) != 0)
            return argument;
    }
    return NULL;
}

static int threads(void)
{
    pthread_t running[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&running[i], NULL, writer, (void *)(intptr_t)(i + 1)) == 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        CHECK(pthread_join(running[i], &failed) == 0 && failed == NULL);
    }
    return 0;
}

static int libraries(void)
{
    Dl_info self;
    int (*function)(FILE *) = NULL;
    CHECK(dladdr((void *)&puts, &self) != 0);
    /* Any small library will do. */
    void *library = dlopen(in("lib.so"), RTLD_NOW);
    if (library == NULL)
        printf("# %s\n", dlerror());
    CHECK(library != NULL);
    function = (int (*)(FILE *))(uintptr_t)dlsym(library, "answer");
    CHECK(function != NULL && function(NULL) == 42);
    CHECK(dlopen(in("lib.so"), RTLD_NOW) == library);
    CHECK(dlopen(in("nolib.so"), RTLD_NOW) == NULL && dlerror() != NULL);
    return 0;
}

static int errno_stays(void)
{
    struct stat status;
    errno = 77;
    CHECK(stat(in("n"), &status) == 0 && errno == 77);
    int fd = open(in("n"), O_RDONLY);
    CHECK(fd >= 0 && read(fd, &status, 1) == 1 && close(fd) == 0 && errno == 77);
    return 0;
}

/* A closed number that is used again is closed on exec as it was opened, whatever its file was before. */
static int numbers_used_again(void)
{
    CHECK(put("again", "text") == 0);
    for (int close_on_exec = 0; close_on_exec < 2; close_on_exec++) {
        int flags = O_RDONLY | (close_on_exec ? O_CLOEXEC : 0);
        int first = open(in("again"), flags);
        int copy = fcntl(first, close_on_exec ? F_DUPFD : F_DUPFD_CLOEXEC, 0);
        CHECK(first >= 0 && copy > first && close(first) == 0);
        CHECK(open("/dev/null", O_RDONLY) == first);
        int above = open(in("again"), flags);
        CHECK(above > copy && close(copy) == 0);
        CHECK(open(in("again"), flags) == copy);
        CHECK((fcntl(copy, F_GETFD) == FD_CLOEXEC) == close_on_exec);
        CHECK(close(copy) == 0 && close(above) == 0 && close(first) == 0);
    }
    return 0;
}

/* A file without a name gets one by what /proc calls it, as those do who may not use AT_EMPTY_PATH. */
static int unnamed_file_linked(void)
{
    char path[64];
    struct stat status;
    int fd = open(top, O_TMPFILE | O_RDWR, 0640);
    CHECK(fd >= 0 && write(fd, "text", 4) == 4 && fstat(fd, &status) == 0 && status.st_nlink == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "/tmp/elsewhere", AT_SYMLINK_FOLLOW) < 0 && errno == EXDEV);
    CHECK(linkat(AT_FDCWD, path, AT_FDCWD, in("named"), AT_SYMLINK_FOLLOW) == 0);
    CHECK(strcmp(get("named"), "text") == 0);
    CHECK(close(fd) == 0 && stat(in("named"), &status) == 0 && status.st_nlink == 1);
    fd = open("/dev/null", O_RDONLY);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK(linkat(AT_FDCWD, path, AT_FDCWD, in("null"), AT_SYMLINK_FOLLOW) < 0 && errno == EXDEV);
    CHECK(close(fd) == 0);
    return 0;
}

/* ---- asynchronous requests ---- */

static volatile sig_atomic_t signalled;
static int told[2];

static void note_signal(int signal, siginfo_t *information, void *context)
{
    (void)context;
    if (signal == SIGUSR1 && information->si_code == SI_ASYNCIO)
        signalled = information->si_value.sival_int;
}

static void note_thread(union sigval value)
{
    char byte = (char)value.sival_int;
    (void)!write(told[1], &byte, 1);
}

static struct aiocb request_of(int fd, void *bytes, size_t length, off_t offset, int opcode)
{
    struct aiocb request = {.aio_fildes = fd, .aio_buf = bytes, .aio_nbytes = length, .aio_offset = offset};
    request.aio_lio_opcode = opcode;
    request.aio_sigevent.sigev_notify = SIGEV_NONE;
    return request;
}

/* How it ended, waited for as a program does: bytes, or -1 with errno. */
static ssize_t ended(struct aiocb *request)
{
    const struct aiocb *list[] = {request};
    while (aio_error(request) == EINPROGRESS)
        aio_suspend(list, 1, NULL);
    errno = aio_error(request);
    return aio_return(request);
}

static int asynchronous(void)
{
    char got[16] = {0}, text[] = "asynchronous";
    int fd = open(in("aio"), O_RDWR | O_CREAT | O_EXCL, 0644);
    struct aiocb request = request_of(fd, text, 12, 100, LIO_WRITE);
    request.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
    request.aio_sigevent.sigev_signo = SIGUSR1;
    request.aio_sigevent.sigev_value.sival_int = 42;
    struct sigaction action = {.sa_sigaction = note_signal, .sa_flags = SA_SIGINFO};
    CHECK(fd >= 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(aio_write(&request) == 0 && ended(&request) == 12 && signalled == 42);
    CHECK(aio_cancel(fd, &request) == AIO_ALLDONE && aio_cancel(fd, NULL) == AIO_ALLDONE);

    char byte = 0;
    CHECK(pipe(told) == 0);
    request = request_of(fd, got, sizeof got, 100, LIO_READ);
    request.aio_sigevent.sigev_notify = SIGEV_THREAD;
    request.aio_sigevent.sigev_notify_function = note_thread;
    request.aio_sigevent.sigev_value.sival_int = 7;
    CHECK(aio_read(&request) == 0 && ended(&request) == 12 && memcmp(got, "asynchronous", 13) == 0);
    CHECK(read(told[0], &byte, 1) == 1 && byte == 7);
    CHECK(close(told[0]) == 0 && close(told[1]) == 0);

    request = request_of(fd, NULL, 0, 0, LIO_NOP);
    CHECK(aio_fsync(O_SYNC, &request) == 0 && ended(&request) == 0);
    CHECK(aio_fsync(O_APPEND, &request) < 0 && errno == EINVAL);
    request = request_of(fd, got, 4, -1, LIO_READ);
    CHECK(aio_read(&request) == 0 && ended(&request) == -1 && errno == EINVAL);
    CHECK(close(fd) == 0);
    return 0;
}

/* A list of requests, one of which is for a file elsewhere. */
static int asynchronous_lists(void)
{
    char one[4] = {0}, two[4] = {0}, word[] = "list";
    int fd = open(in("aio"), O_RDWR), outside = open("/dev/zero", O_RDWR);
    struct aiocb requests[] = {
        request_of(fd, word, 4, 0, LIO_WRITE),
        request_of(outside, one, 4, 0, LIO_READ),
        request_of(fd, two, 4, 100, LIO_READ),
        request_of(fd, NULL, 0, 0, LIO_NOP),
    };
    struct aiocb *list[] = {&requests[0], NULL, &requests[1], &requests[2], &requests[3]};
    CHECK(fd >= 0 && outside >= 0);
    memset(one, 'x', sizeof one);
    CHECK(lio_listio(LIO_WAIT, list, 5, NULL) == 0);
    CHECK(ended(&requests[0]) == 4 && ended(&requests[1]) == 4 && ended(&requests[2]) == 4);
    CHECK(memcmp(one, "\0\0\0\0", 4) == 0 && memcmp(two, "asyn", 4) == 0);
    CHECK(pread(fd, two, 4, 0) == 4 && memcmp(two, "list", 4) == 0);

    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    event.sigev_value.sival_int = 43;
    CHECK(lio_listio(LIO_NOWAIT, list, 1, &event) == 0 && ended(&requests[0]) == 4 && signalled == 43);
    requests[0].aio_offset = -1;
    CHECK(lio_listio(LIO_WAIT, list, 1, NULL) < 0 && errno == EIO);
    CHECK(ended(&requests[0]) == -1 && errno == EINVAL);
    CHECK(close(fd) == 0 && close(outside) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } cases[] = {
        {"a stream written, searched and read", stream_write_read},
        {"modes of streams", stream_modes},
        {"a stream over a descriptor", stream_over_descriptor},
        {"a stream reopened", stream_reopened},
        {"standard output redirected and back", standard_output},
        {"temporary files", temporary_files},
        {"directories, glob, nftw, scandir", directories},
        {"the current directory", current_directory},
        {"numbers of descriptors", numbers},
        {"a number used again", numbers_used_again},
        {"a file without a name gets one", unnamed_file_linked},
        {"poll, epoll, isatty", readiness},
        {"vectors and transfers", vectors_and_transfers},
        {"mappings", mappings},
        {"asynchronous requests", asynchronous},
        {"lists of asynchronous requests", asynchronous_lists},
        {"one offset after fork", offsets_after_fork},
        {"children append to one description", many_forks_append},
        {"posix_spawn", spawned},
        {"system, popen, vfork", shells},
        {"threads", threads},
        {"dlopen", libraries},
        {"errno", errno_stays},
    };
    if (argc != 2)
        return 2;
    top = argv[1];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int failed = cases[i].run();
        failures += failed != 0;
        printf("%sok %d - %s\n", failed ? "not " : "", ++number, cases[i].name);
        fflush(stdout);
    }
    printf("1..%d\n", number);
    return failures > 0;
}
