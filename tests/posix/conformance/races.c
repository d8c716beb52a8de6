/* Several processes at the same names and files: what may happen once happens once, what is replaced is never
 * missing, what is appended is never overwritten. */
#include "conformance.h"

#define PROCESSES 3

struct crew {
    struct turn arrivals;
    _Atomic bool stop;
    _Atomic unsigned wins[2000];
    _Atomic int counter;
};
static struct crew *crew;
static int member; /* number of this process, 0 to PROCESSES - 1 */

static void (*crew_task)(void);

static void crew_member(void *argument)
{
    member = *(int *)argument;
    crew_task();
}

/* Runs task in all processes at once; the parent is one of them. */
static void together(void (*task)(void))
{
    pid_t pids[PROCESSES];
    crew = shared_allocate(sizeof *crew);
    crew_task = task;
    for (int i = 1; i < PROCESSES; i++)
        pids[i] = child_start(crew_member, &i);
    member = 0;
    task();
    for (int i = 1; i < PROCESSES; i++)
        child_end(pids[i]);
}

/* All wait for all. */
static int number_of_meetings;
static void meet(void)
{
    turn_advance(&crew->arrivals);
    turn_wait(&crew->arrivals, ++number_of_meetings * PROCESSES);
}

/* ---- exactly one wins ---- */

static int make_exclusively(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
    return fd < 0 ? -1 : close(fd);
}
static int make_directory(const char *name)
{
    return mkdir(name, 0755);
}
static int make_symlink(const char *name)
{
    return symlink("x", name);
}
static int make_link(const char *name)
{
    return link("source", name);
}
static int make_by_rename(const char *name)
{
    char own[32];
    snprintf(own, sizeof own, "own%d", member);
    int fd = open(own, O_RDWR | O_CREAT, 0644);
    close(fd);
    return renameat2(AT_FDCWD, own, AT_FDCWD, name, RENAME_NOREPLACE);
}
static int remove_file(const char *name)
{
    return unlink(name);
}
static int remove_directory(const char *name)
{
    return rmdir(name);
}
static int rename_away(const char *name)
{
    char own[32];
    snprintf(own, sizeof own, "taken%d", member);
    return rename(name, own);
}

static int (*contest)(const char *name);
static int (*prepare)(const char *name);
static int loser_error;

static void compete(void)
{
    enum { ROUNDS = 150 };
    char name[32];
    number_of_meetings = 0;
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof name, "n%d", i);
        if (member == 0 && prepare != NULL)
            EXPECT_ERROR(0, prepare(name), "prepare");
        meet();
        int error = contest(name) < 0 ? errno : 0;
        if (error == 0)
            crew->wins[i]++;
        else
            EXPECT_VALUE(loser_error, error, "round %d: error of a loser", i);
        meet();
        EXPECT_VALUE(1, crew->wins[i], "winners of round %d", i);
        EXPECT_VALUE(prepare == NULL ? 0 : ENOENT, absent(name), "what is left of round %d", i);
    }
}

static void one_wins(int (*by)(const char *), int (*before)(const char *), int error)
{
    contest = by;
    prepare = before;
    loser_error = error;
    together(compete);
}
static void one_creates(void)
{
    one_wins(make_exclusively, NULL, EEXIST);
}
static void one_makes_the_directory(void)
{
    one_wins(make_directory, NULL, EEXIST);
}
static void one_makes_the_symlink(void)
{
    one_wins(make_symlink, NULL, EEXIST);
}
static void one_links(void)
{
    make_file("source", "x");
    one_wins(make_link, NULL, EEXIST);
    IS(151, status_of("source").st_nlink);
}
static void one_renames_to(void)
{
    one_wins(make_by_rename, NULL, EEXIST);
}
static void one_unlinks(void)
{
    one_wins(remove_file, make_exclusively, ENOENT);
}
static void one_removes_the_directory(void)
{
    one_wins(remove_directory, make_directory, ENOENT);
}
static void one_renames_from(void)
{
    one_wins(rename_away, make_exclusively, ENOENT);
}

/* ---- never missing ---- */

/* One replaces a file again and again; the others always find a whole one, and never an older one than
 * before. */
static void replace_and_look(void)
{
    enum { ROUNDS = 400 };
    char text[64];
    if (member == 0) {
        for (int i = 1; i <= ROUNDS; i++) {
            snprintf(text, sizeof text, "%06d %06d", i, i);
            make_file("new", text);
            EXPECT_ERROR(0, rename("new", "f"), "rename");
        }
        crew->stop = true;
        return;
    }
    int last = 0, looks = 0;
    while (!crew->stop || looks == 0) {
        struct stat status;
        looks++;
        EXPECT_ERROR(0, lstat("f", &status), "lstat");
        EXPECT_VALUE(13, status.st_size, "size");
        int fd = open("f", O_RDONLY), one = 0, two = 0;
        EXPECT_ERROR(0, fd, "open");
        memset(text, 0, sizeof text);
        ssize_t got = pread(fd, text, sizeof text - 1, 0);
        EXPECT_VALUE(13, got, "length");
        if (got == 13) {
            EXPECT_VALUE(2, sscanf(text, "%d %d", &one, &two), "text");
            EXPECT_VALUE(one, two, "both halves");
            EXPECT_VALUE(true, one >= last, "%d after %d", one, last);
            last = one;
        }
        close(fd);
    }
}
static void replaced_names(void)
{
    NEED("unlinked"); /* what a reader has open may be replaced before it reads */
    make_file("f", "000000 000000");
    together(replace_and_look);
}

static void exchange_and_look(void)
{
    enum { ROUNDS = 400 };
    if (member == 0) {
        for (int i = 0; i < ROUNDS; i++)
            EXPECT_ERROR(0, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE), "exchange");
        crew->stop = true;
        return;
    }
    struct stat one, two;
    do {
        EXPECT_ERROR(0, lstat("a", &one), "lstat a");
        EXPECT_ERROR(0, lstat("b", &two), "lstat b");
        EXPECT_VALUE(true, S_ISREG(one.st_mode) || S_ISDIR(one.st_mode), "type");
    } while (!crew->stop);
}
static void exchanged_names(void)
{
    make_file("a", "x");
    OK(mkdir("b", 0755));
    together(exchange_and_look);
    IS(2, entry_count("."));
}

/* A directory moves between two names; whoever holds it open always finds what is in it. */
static void move_and_look(void)
{
    enum { ROUNDS = 300 };
    number_of_meetings = 0;
    if (member == 0) {
        meet();
        for (int i = 0; i < ROUNDS; i++)
            EXPECT_ERROR(0, i % 2 ? rename("other/e", "d") : rename("d", "other/e"), "rename");
        crew->stop = true;
        return;
    }
    struct stat status;
    int directory = openat(AT_FDCWD, member == 1 ? "held" : "held/sub", O_RDONLY | O_DIRECTORY);
    EXPECT_ERROR(0, directory, "open");
    meet();
    do {
        EXPECT_ERROR(0, fstatat(directory, member == 1 ? "sub/f" : "f", &status, 0), "fstatat");
        int error = stat("d/sub/f", &status) < 0 ? errno : 0; /* by name it may be elsewhere */
        EXPECT_VALUE(true, error == 0 || error == ENOENT, "stat: %s", strerrorname_np(error));
    } while (!crew->stop);
    close(directory);
}
static void moving_directories(void)
{
    OK(mkdir("d", 0755));
    OK(mkdir("d/sub", 0755));
    make_file("d/sub/f", "x");
    OK(mkdir("other", 0755));
    OK(symlink("d", "held"));
    together(move_and_look);
    EXPECT_TEXT("d/sub/f", "x");
}

/* Files are made in a directory while it moves: each that was made is there in the end. */
static void make_while_it_moves(void)
{
    enum { FILES = 150 };
    char path[64];
    if (member == 0) {
        for (int i = 0; i < 400 && crew->counter < PROCESSES - 1; i++) {
            EXPECT_ERROR(0, rename("d", "e"), "rename");
            EXPECT_ERROR(0, rename("e", "d"), "rename back");
        }
        return;
    }
    int made = 0;
    for (int i = 0; made < FILES && i < FILES * 1000; i++) {
        snprintf(path, sizeof path, "%s/%d-%d", i % 2 ? "d" : "e", member, made);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0) {
            EXPECT_VALUE(ENOENT, errno, "create %s: error", path);
            continue;
        }
        made++;
        close(fd);
    }
    EXPECT_VALUE(FILES, made, "files made");
    crew->counter++;
}
static void creating_in_a_moving_directory(void)
{
    char path[64];
    OK(mkdir("d", 0755));
    together(make_while_it_moves);
    IS(2 * 150, entry_count("d"));
    for (int who = 1; who < PROCESSES; who++)
        for (int i = 0; i < 150; i++) {
            snprintf(path, sizeof path, "d/%d-%d", who, i);
            EXPECT_VALUE(0, absent(path), "%s", path);
        }
}

/* Two directories are moved into each other at the same time: that may succeed for one of them only. */
static void move_into_each_other(void)
{
    enum { ROUNDS = 100 };
    number_of_meetings = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (member == 0) {
            EXPECT_ERROR(0, mkdir("a", 0755), "mkdir");
            EXPECT_ERROR(0, mkdir("b", 0755), "mkdir");
        }
        meet();
        int result = member == 0 ? rename("a", "b/a") : member == 1 ? rename("b", "a/b") : rename("a", "b/c");
        int error = result < 0 ? errno : 0;
        EXPECT_VALUE(true, error == 0 || error == ENOENT || error == EINVAL || error == ENOTDIR, "%d: %s", i,
                     strerrorname_np(error));
        if (result == 0)
            crew->wins[i]++;
        meet();
        EXPECT_VALUE(1, crew->wins[i], "winners of round %d", i);
        if (member == 0) {
            EXPECT_VALUE(1, entry_count("."), "round %d: top", i);
            remove_tree("a");
            remove_tree("b");
        }
        meet();
    }
}
static void into_each_other(void)
{
    together(move_into_each_other);
}

/* ---- data ---- */

enum { RECORDS = 200 };

static int record_of(int who, int number, char *record)
{
    int length = snprintf(record, 200, "<%d %d ", who, number);
    while (length < 20 + (who * 31 + number * 17) % 120)
        record[length++] = (char)('a' + who);
    length += sprintf(record + length, ">\n");
    return length;
}

static void append_records(void)
{
    char record[256];
    int fd = open("log", O_WRONLY | O_APPEND);
    EXPECT_ERROR(0, fd, "open");
    for (int i = 0; i < RECORDS; i++) {
        int length = record_of(member, i, record);
        EXPECT_VALUE(length, write(fd, record, (size_t)length), "append");
    }
    close(fd);
}

static void appending(void)
{
    make_file("log", "");
    together(append_records);
    size_t size = (size_t)status_of("log").st_size, expected = 0, at = 0;
    char *bytes = calloc(1, size + 1), record[256];
    int fd = (int)OK(open("log", O_RDONLY)), next[PROCESSES] = {0};
    IS(size, pread(fd, bytes, size, 0));
    OK(close(fd));
    for (int who = 0; who < PROCESSES; who++)
        for (int i = 0; i < RECORDS; i++)
            expected += (size_t)record_of(who, i, record);
    IS(expected, size);
    while (at < size) {
        int who = -1, number = -1;
        if (sscanf(bytes + at, "<%d %d ", &who, &number) != 2 || who < 0 || who >= PROCESSES) {
            expect(false, __FILE__, __LINE__, "record", "broken at %zu", at);
            break;
        }
        int length = record_of(who, number, record);
        EXPECT_VALUE(next[who], number, "record of %d in order", who);
        next[who] = number + 1;
        if (!EXPECT_VALUE(0, memcmp(bytes + at, record, (size_t)length), "record %d of %d is whole", number,
                          who))
            break;
        at += (size_t)length;
    }
    free(bytes);
}

/* Appending with large records, over many pages. */
static void append_large(void)
{
    enum { SIZE = 150000 };
    char *bytes = malloc(SIZE);
    memset(bytes, 'A' + member, SIZE);
    int fd = open("large", O_WRONLY | O_APPEND);
    for (int i = 0; i < 12; i++)
        EXPECT_VALUE(SIZE, write(fd, bytes, SIZE), "append");
    close(fd);
    free(bytes);
}
static void appending_much(void)
{
    enum { SIZE = 150000 };
    make_file("large", "");
    together(append_large);
    IS((off_t)SIZE * 12 * PROCESSES, status_of("large").st_size);
    char *bytes = malloc(SIZE);
    int fd = (int)OK(open("large", O_RDONLY)), counts[PROCESSES] = {0};
    for (int i = 0; i < 12 * PROCESSES; i++) {
        EXPECT_VALUE(SIZE, pread(fd, bytes, SIZE, (off_t)i * SIZE), "read");
        int who = bytes[0] - 'A', wrong = 0;
        for (int k = 0; k < SIZE; k++)
            wrong += bytes[k] != bytes[0];
        EXPECT_VALUE(0, wrong, "bytes of others in a record");
        if (TRUE(who >= 0 && who < PROCESSES))
            counts[who]++;
    }
    for (int who = 0; who < PROCESSES; who++)
        IS(12, counts[who]);
    OK(close(fd));
    free(bytes);
}

/* Each has places of its own in one file, interleaved. */
static void write_own_places(void)
{
    enum { PIECE = 1000, COUNT_ = 150 };
    char bytes[PIECE];
    int fd = open("f", O_RDWR);
    for (int i = 0; i < COUNT_; i++) {
        int place = (i * 7) % COUNT_ * PROCESSES + member;
        pattern_fill(bytes, PIECE, (uint64_t)member, (uint64_t)place * PIECE);
        EXPECT_VALUE(PIECE, pwrite(fd, bytes, PIECE, (off_t)place * PIECE), "write");
    }
    close(fd);
}
static void interleaved_writes(void)
{
    enum { PIECE = 1000, COUNT_ = 150 };
    char bytes[PIECE];
    make_file("f", "");
    together(write_own_places);
    IS(PIECE * COUNT_ * PROCESSES, status_of("f").st_size);
    int fd = (int)OK(open("f", O_RDONLY));
    for (int place = 0; place < COUNT_ * PROCESSES; place++) {
        EXPECT_VALUE(PIECE, pread(fd, bytes, PIECE, (off_t)place * PIECE), "read");
        EXPECT_VALUE(-1,
                     pattern_differs(bytes, PIECE, (uint64_t)(place % PROCESSES), (uint64_t)place * PIECE),
                     "piece %d", place);
    }
    OK(close(fd));
}

/* What a write has returned for, every later read anywhere sees. */
static void write_then_read(void)
{
    enum { ROUNDS = 150 };
    int fd = open("f", O_RDWR);
    number_of_meetings = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char bytes[4000];
        size_t length = (size_t)(1 + i * 37 % 4000);
        off_t offset = i * 613 % 100000;
        if (i % PROCESSES == member) {
            pattern_fill(bytes, length, (uint64_t)i, (uint64_t)offset);
            EXPECT_VALUE(length, pwrite(fd, bytes, length, offset), "write %d", i);
        }
        meet();
        EXPECT_VALUE(length, pread(fd, bytes, length, offset), "read %d", i);
        EXPECT_VALUE(-1, pattern_differs(bytes, length, (uint64_t)i, (uint64_t)offset), "what %d wrote",
                     i % PROCESSES);
        meet();
    }
    close(fd);
}
static void visible_at_once(void)
{
    NEED("atonce"); /* consistency strict */
    make_file("f", "");
    int fd = (int)OK(open("f", O_RDWR));
    OK(ftruncate(fd, 200000));
    OK(close(fd));
    together(write_then_read);
}

/* A file is cut and grown while others read: they see zeros or what was written, never anything else. */
static void cut_and_look(void)
{
    enum { SIZE = 200000 };
    char *bytes = malloc(SIZE);
    int fd = open("f", O_RDWR);
    if (member == 0) {
        for (int i = 0; i < 150; i++) {
            EXPECT_ERROR(0, ftruncate(fd, i * 1237 % SIZE), "cut");
            EXPECT_ERROR(0, ftruncate(fd, SIZE), "grow");
            memset(bytes, 'x', SIZE);
            EXPECT_VALUE(SIZE, pwrite(fd, bytes, SIZE, 0), "write");
        }
        crew->stop = true;
    } else {
        do {
            ssize_t got = pread(fd, bytes, SIZE, 0);
            EXPECT_VALUE(true, got >= 0 && got <= SIZE, "read");
            int wrong = 0;
            for (ssize_t i = 0; i < got; i++)
                wrong += bytes[i] != 'x' && bytes[i] != 0;
            EXPECT_VALUE(0, wrong, "bytes that nobody wrote");
        } while (!crew->stop);
    }
    close(fd);
    free(bytes);
}
static void truncating(void)
{
    make_file("f", "");
    together(cut_and_look);
}

/* ---- counts ---- */

static void link_and_unlink(void)
{
    char name[32];
    for (int i = 0; i < 150; i++) {
        snprintf(name, sizeof name, "l%d-%d", member, i % 5);
        EXPECT_ERROR(0, link("f", name), "link");
        if (i % 3 == 0) {
            /* Where "common" is the same file already, that leaves both names. */
            EXPECT_ERROR(0, rename(name, "common"), "rename over what others rename over");
            unlink(name);
            continue;
        }
        EXPECT_ERROR(0, unlink(name), "unlink");
    }
}
static void counting_links(void)
{
    make_file("f", "x");
    make_file("common", "y");
    together(link_and_unlink);
    int names = 0;
    DIR *stream = opendir(".");
    if (!TRUE(stream != NULL))
        return;
    ino_t inode = status_of("f").st_ino;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        names += entry->d_ino == inode;
    OK(closedir(stream));
    IS(names, status_of("f").st_nlink);
    TRUE(names >= 2);
}

/* Directories come and go under who makes files in them. */
static void come_and_go(void)
{
    char path[64];
    for (int i = 0; i < 250; i++) {
        int error;
        if (member == 0) {
            error = mkdir("d", 0755) < 0 ? errno : 0;
            EXPECT_VALUE(true, error == 0 || error == EEXIST, "mkdir: %s", strerrorname_np(error));
            error = rmdir("d") < 0 ? errno : 0;
            EXPECT_VALUE(true, error == 0 || error == ENOTEMPTY || error == EEXIST, "rmdir: %s",
                         strerrorname_np(error));
            continue;
        }
        snprintf(path, sizeof path, "d/%d", member);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
        error = fd < 0 ? errno : 0;
        EXPECT_VALUE(true, error == 0 || error == ENOENT, "create: %s", strerrorname_np(error));
        if (fd < 0)
            continue;
        EXPECT_VALUE(1, write(fd, "x", 1), "write");
        close(fd);
        EXPECT_VALUE(0, absent(path), "what was made is there");
        EXPECT_ERROR(0, unlink(path), "unlink");
    }
}
static void directories_come_and_go(void)
{
    together(come_and_go);
    int error = rmdir("d") < 0 ? errno : 0;
    TRUE(error == 0 || error == ENOENT);
    IS(0, entry_count("."));
}

/* A listing while others change the directory: what stays is there once. */
static void list_and_change(void)
{
    char path[64];
    if (member != 0) {
        for (int i = 0; i < 2000 && !crew->stop; i++) {
            snprintf(path, sizeof path, "d/new%d-%d", member, i % 50);
            int fd = open(path, O_RDWR | O_CREAT, 0644);
            close(fd);
            EXPECT_ERROR(0, unlink(path), "unlink");
        }
        return;
    }
    for (int round = 0; round < 20; round++) {
        unsigned char seen[200] = {0};
        DIR *stream = opendir("d");
        if (!TRUE(stream != NULL))
            break;
        for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
            if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
                seen[atoi(entry->d_name) % 200]++;
        closedir(stream);
        for (int i = 0; i < 200; i++)
            EXPECT_VALUE(1, seen[i], "round %d, name %d", round, i);
    }
    crew->stop = true;
}
static void listing(void)
{
    char path[64];
    OK(mkdir("d", 0755));
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "d/%d", i);
        make_file(path, "");
    }
    together(list_and_change);
    IS(200, entry_count("d"));
}

CASES(CASE(one_creates), CASE(one_makes_the_directory), CASE(one_makes_the_symlink), CASE(one_links),
      CASE(one_renames_to), CASE(one_unlinks), CASE(one_removes_the_directory), CASE(one_renames_from),
      CASE(replaced_names), CASE(exchanged_names), CASE(moving_directories),
      CASE(creating_in_a_moving_directory), CASE(into_each_other), CASE(appending), CASE(appending_much),
      CASE(interleaved_writes), CASE(visible_at_once), CASE(truncating), CASE(counting_links),
      CASE(directories_come_and_go), CASE(listing))
