/* The frame of a theme: runs its cases one after the other, each in an empty directory, counts assertions,
 * speaks TAP. Compiled once for each way of calling, because it makes and removes the cases' directories
 * through the door that is tested. */
#include "conformance.h"

#include <grp.h>
#include <setjmp.h>
#include <signal.h>

#include "core.h"

#define FAILURES_SHOWN 20 /* of one case */

/* Of the case that runs; children count here too. */
struct tally {
    _Atomic unsigned assertions, failures;
    _Atomic bool skipped;
    char reason[200];
};
static struct tally *tally;
static jmp_buf leave;
static bool is_child;
static char base[PATH_MAX]; /* absolute path of the case's directory; "" in the library door */

/* ---- assertions ---- */

static void say_failure(const char *file, int line, const char *format, va_list arguments)
{
    char text[600];
    unsigned before = atomic_fetch_add(&tally->failures, 1);
    if (before >= FAILURES_SHOWN)
        return;
    int length = snprintf(text, sizeof text - 1,
                          "# %s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
    length += vsnprintf(text + length, sizeof text - 2 - (size_t)length, format, arguments);
    if (length > (int)sizeof text - 2)
        length = sizeof text - 2;
    text[length] = '\0';
    fprintf(stdout, "%s\n", text);
    fflush(stdout);
}

void core_failed(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    atomic_fetch_add(&tally->assertions, 1);
    say_failure(file, line, format, arguments);
    va_end(arguments);
}

static void fail_with(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fail_with(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_failure(file, line, format, arguments);
    va_end(arguments);
}

bool expect(bool good, const char *file, int line, const char *text, const char *format, ...)
{
    atomic_fetch_add_explicit(&tally->assertions, 1, memory_order_relaxed);
    if (good)
        return true;
    char found[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(found, sizeof found, format, arguments);
    va_end(arguments);
    fail_with(file, line, "%.200s: %s", text, found);
    return false;
}

bool expect_error(int error, long long result, const char *file, int line, const char *format, ...)
{
    int found = errno;
    atomic_fetch_add_explicit(&tally->assertions, 1, memory_order_relaxed);
    if (error == 0 ? result >= 0 : result < 0 && found == error)
        return true;
    char where[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(where, sizeof where, format, arguments);
    va_end(arguments);
    fail_with(file, line, "%s: %s, expected %s", where, result < 0 ? strerrorname_np(found) : "succeeded",
              error == 0 ? "success" : strerrorname_np(error));
    return false;
}

bool expect_value(long long expected, long long value, const char *file, int line, const char *format, ...)
{
    atomic_fetch_add_explicit(&tally->assertions, 1, memory_order_relaxed);
    if (value == expected)
        return true;
    char where[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(where, sizeof where, format, arguments);
    va_end(arguments);
    fail_with(file, line, "%s: %lld (0%llo), expected %lld (0%llo)", where, value, (unsigned long long)value,
              expected, (unsigned long long)expected);
    return false;
}

/* ---- skipping ---- */

void skip_case(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!atomic_exchange(&tally->skipped, true))
        vsnprintf(tally->reason, sizeof tally->reason, format, arguments);
    va_end(arguments);
    if (is_child) {
        core_child_end();
        _exit(0);
    }
    longjmp(leave, 1);
}

void core_leave_if_skipped(void)
{
    if (tally->skipped)
        skip_case("%s", "");
}

void need(const char *what)
{
    const char *without = getenv("CONFORMANCE_WITHOUT");
    size_t length = strlen(what);
    for (const char *at = without; at != NULL && (at = strstr(at, what)) != NULL; at += length)
        if ((at == without || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            skip_case("this door has no %s", what);
}

void need_root(void)
{
    if (!door_is_library() && geteuid() != 0)
        skip_case("only for root");
}

#ifdef DOOR_LIBRARY
void door_missing(const char *call)
{
    skip_case("libbenchfs has no %s", call);
}
#endif

bool door_is_library(void)
{
#ifdef DOOR_LIBRARY
    return true;
#else
    return false;
#endif
}

/* ---- what cases are made of ---- */

static char *next_buffer(void)
{
    static char buffers[4][5200];
    static unsigned next;
    return buffers[next++ % 4];
}

const char *absolute(const char *path)
{
    char *buffer = next_buffer();
    snprintf(buffer, 5200, "%s/%s", base, path);
    return buffer;
}

const char *letters(char letter, size_t length)
{
    char *buffer = next_buffer();
    memset(buffer, letter, length);
    buffer[length] = '\0';
    return buffer;
}

void make_file_of(const char *path, mode_t mode)
{
    int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    OK(fchmod(fd, mode));
    OK(close(fd));
}

void make_file(const char *path, const char *text)
{
    int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
    if (*text != '\0')
        IS(strlen(text), write(fd, text, strlen(text)));
    OK(close(fd));
}

void expect_text_at(const char *path, const char *text, const char *file, int line)
{
    char bytes[4096];
    errno = 0;
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes - 1);
    int error = errno;
    if (fd >= 0)
        close(fd);
    bytes[got < 0 ? 0 : got] = '\0';
    expect(got == (ssize_t)strlen(text) && memcmp(bytes, text, strlen(text)) == 0, file, line, path,
           "holds \"%.40s\" (%zd, %s), expected \"%.40s\"", bytes, got, strerrorname_np(error), text);
}

struct stat status_of(const char *path)
{
    struct stat status = {0};
    EXPECT_ERROR(0, lstat(path, &status), "lstat %s", path);
    return status;
}

int absent(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 ? 0 : errno;
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int entry_count(const char *path)
{
    int count = 0;
    DIR *stream = opendir(path);
    if (stream == NULL)
        return -1;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        count += !is_dot(entry->d_name);
    closedir(stream);
    return count;
}

/* Empties the open directory and closes it. Starts over while entries vanish under the stream. */
static void empty_directory(int directory)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    for (int pass = 0; stream != NULL && pass < 3; pass++) {
        struct dirent *entry;
        int left = 0;
        rewinddir(stream);
        while ((entry = readdir(stream)) != NULL) {
            char name[NAME_MAX + 1];
            if (is_dot(entry->d_name))
                continue;
            left++;
            strcpy(name, entry->d_name);
            if (unlinkat(directory, name, 0) == 0)
                continue;
            int below = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            if (below >= 0)
                empty_directory(below);
            unlinkat(directory, name, AT_REMOVEDIR);
        }
        if (left == 0)
            break;
    }
    if (stream != NULL)
        closedir(stream);
    close(directory);
}

void remove_tree(const char *path)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (directory >= 0)
        empty_directory(directory);
    if (directory < 0 || rmdir(path) < 0)
        unlink(path);
}

static unsigned char pattern(uint64_t seed, uint64_t at)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + at / 8;
    x ^= x >> 31;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (unsigned char)(x >> (8 * (at % 8)));
}

void pattern_fill(void *bytes, size_t length, uint64_t seed, uint64_t at)
{
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)bytes)[i] = pattern(seed, at + i);
}

long pattern_differs(const void *bytes, size_t length, uint64_t seed, uint64_t at)
{
    for (size_t i = 0; i < length; i++)
        if (((const unsigned char *)bytes)[i] != pattern(seed, at + i))
            return (long)i;
    return -1;
}

long zeros_differ(const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (((const unsigned char *)bytes)[i] != 0)
            return (long)i;
    return -1;
}

/* The kernel stamps files with the time of its last tick, at most 10 ms ago. */
void tick(void)
{
    struct timespec pause = {.tv_nsec = 12 * 1000 * 1000};
    while (nanosleep(&pause, &pause) < 0)
        ;
}

/* ---- others ---- */

void become(const struct identity *identity)
{
    static const struct identity root = {.name = "root"};
    if (identity == NULL)
        identity = &root;
#ifdef DOOR_LIBRARY
    door_become(identity->uid, identity->gid, identity->groups, identity->group_count);
#else
    /* Back to root first: an ordinary user may not set groups. The saved id stays root's, for the way back.
     */
    if (setresuid(0, 0, 0) != 0 || setgroups(identity->group_count, identity->groups) != 0 ||
        setresgid(identity->gid, identity->gid, 0) != 0 || setresuid(identity->uid, identity->uid, 0) != 0)
        core_failed(__FILE__, __LINE__, "cannot become %s: %s", identity->name, strerror(errno));
#endif
}

void core_child_begin(void)
{
    is_child = true;
}

void core_child_end(void)
{
    fflush(stdout);
#ifdef DOOR_LIBRARY
    door_close();
#endif
}

/* ---- running ---- */

static bool enter_directory(const char *name)
{
#ifdef DOOR_LIBRARY
    (void)name;
    return chmod("/", 0755) == 0;
#else
    return mkdir(name, 0755) == 0 && chdir(name) == 0 && getcwd(base, sizeof base) != NULL;
#endif
}

static void leave_directory(const char *name)
{
    become(NULL);
    umask(022);
#ifdef DOOR_LIBRARY
    (void)name;
    int root = open("/", O_RDONLY | O_DIRECTORY);
    if (root >= 0)
        empty_directory(root);
#else
    if (chdir("..") == 0)
        remove_tree(name);
#endif
}

static unsigned long long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;
}

static void run_case(const struct conformance_case *one, unsigned number, unsigned *failed, unsigned *total)
{
    unsigned long long begin = milliseconds();
    memset(tally, 0, sizeof *tally);
    umask(022);
    if (!enter_directory(one->name))
        core_failed(__FILE__, __LINE__, "cannot make the case's directory: %s", strerror(errno));
    else if (setjmp(leave) == 0)
        one->run();
    core_end_children();
    leave_directory(one->name);
    unsigned failures = tally->failures;
    if (failures > FAILURES_SHOWN)
        printf("# and %u more\n", failures - FAILURES_SHOWN);
    if (failures > 0)
        printf("not ok %u - %s (%u of %u assertions failed)\n", number, one->name, failures,
               tally->assertions);
    else if (tally->skipped)
        printf("ok %u - %s # SKIP %s\n", number, one->name, tally->reason);
    else
        printf("ok %u - %s (%u in %llu ms)\n", number, one->name, tally->assertions, milliseconds() - begin);
    fflush(stdout);
    *failed += failures > 0;
    *total += tally->assertions;
}

int conformance_main(int argc, char **argv, const struct conformance_case *cases, size_t count)
{
    unsigned number = 0, failed = 0, total = 0, selected = 0;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s %s [CASE]\n", argv[0], door_is_library() ? "SERVERS" : "DIRECTORY");
        return 99;
    }
    for (size_t i = 0; i < count; i++)
        selected += argc == 2 || strcmp(argv[2], cases[i].name) == 0;
    if (selected == 0) {
        fprintf(stderr, "%s: no case \"%s\"\n", argv[0], argv[2]);
        return 99;
    }
    tally = shared_allocate(sizeof *tally);
    signal(SIGXFSZ, SIG_IGN);
#ifdef DOOR_LIBRARY
    if (door_open((unsigned)atoi(argv[1])) < 0)
        return 99;
#else
    char directory[64];
    umask(022);
    snprintf(directory, sizeof directory, "conformance-%d", getpid());
    if (chdir(argv[1]) < 0 || mkdir(directory, 0755) < 0 || chdir(directory) < 0) {
        fprintf(stderr, "%s: \"%s\": %s\n", argv[0], argv[1], strerror(errno));
        return 99;
    }
#endif
    printf("1..%u\n", selected);
    for (size_t i = 0; i < count; i++)
        if (argc == 2 || strcmp(argv[2], cases[i].name) == 0)
            run_case(&cases[i], ++number, &failed, &total);
    printf("# %u assertions\n", total);
#ifdef DOOR_LIBRARY
    door_close();
    if (door_end() < 0)
        failed++;
#else
    if (chdir("..") < 0 || rmdir(directory) < 0) {
        printf("# the directory of the cases could not be removed: %s\n", strerror(errno));
        failed++;
    }
#endif
    return failed > 0;
}
