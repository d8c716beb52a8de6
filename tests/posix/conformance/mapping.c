/* Mappings of files: what memory shows of a file, and the file of memory. The library has none of these. */
#include "conformance.h"

#include <sys/mman.h>

enum { SIZE = 100000, PAGE = 4096 };

static int pattern_file(const char *path)
{
    char *bytes = malloc(SIZE);
    int fd = (int)OK(open(path, O_RDWR | O_CREAT | O_TRUNC, 0644));
    pattern_fill(bytes, SIZE, 1, 0);
    IS(SIZE, pwrite(fd, bytes, SIZE, 0));
    free(bytes);
    return fd;
}

/* A mapping, or NULL after a failed assertion. */
static char *map(int fd, size_t length, int protection, int flags, off_t offset)
{
    errno = 0;
    char *memory = mmap(NULL, length, protection, flags, fd, offset);
    return TRUE(memory != MAP_FAILED) ? memory : NULL;
}

static void private_mappings(void)
{
    static const struct {
        off_t offset;
        size_t length;
    } rows[] = {{0, SIZE}, {0, 1}, {0, PAGE}, {PAGE, PAGE}, {PAGE * 5, SIZE - PAGE * 5}, {PAGE * 24, PAGE}};
    char bytes[16];
    int fd = pattern_file("f");
    for (unsigned i = 0; i < COUNT(rows); i++) {
        char *memory = map(fd, rows[i].length, PROT_READ | PROT_WRITE, MAP_PRIVATE, rows[i].offset);
        if (memory == NULL)
            continue;
        off_t end = rows[i].offset + (off_t)rows[i].length;
        size_t length = end < SIZE ? rows[i].length : (size_t)(SIZE - rows[i].offset);
        EXPECT_VALUE(-1, pattern_differs(memory, length, 1, (uint64_t)rows[i].offset), "row %u", i);
        EXPECT_VALUE(-1, zeros_differ(memory + length, end < SIZE ? 0 : (size_t)(PAGE - SIZE % PAGE)),
                     "row %u: rest of the page", i);
        memory[0] ^= 1; /* stays here */
        EXPECT_VALUE(1, pread(fd, bytes, 1, rows[i].offset), "row %u", i);
        EXPECT_VALUE(-1, pattern_differs(bytes, 1, 1, (uint64_t)rows[i].offset), "row %u: the file", i);
        EXPECT_ERROR(0, munmap(memory, rows[i].length), "munmap");
    }
    OK(close(fd));
}

static void without_the_descriptor(void)
{
    int fd = pattern_file("f");
    char *memory = map(fd, SIZE, PROT_READ, MAP_PRIVATE, 0);
    OK(close(fd));
    if (memory == NULL)
        return;
    IS(-1, pattern_differs(memory, SIZE, 1, 0));
    OK(munmap(memory, SIZE));
    NEED("unlinked");
    fd = (int)OK(open("f", O_RDONLY));
    memory = map(fd, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0);
    OK(close(fd));
    OK(unlink("f"));
    if (memory == NULL)
        return;
    IS(-1, pattern_differs(memory, SIZE, 1, 0));
    OK(munmap(memory, SIZE));
}

static void shared_mappings(void)
{
    char bytes[16];
    NEED("sharedmaps");
    int fd = pattern_file("f");
    char *memory = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    if (memory == NULL)
        return;
    IS(-1, pattern_differs(memory, SIZE, 1, 0));
    memcpy(memory + 5000, "by memory", 9);
    OK(msync(memory, SIZE, MS_SYNC));
    IS(9, pread(fd, bytes, 9, 5000));
    TRUE(memcmp(bytes, "by memory", 9) == 0);
    IS(9, pwrite(fd, "by a call", 9, 5000));
    TRUE(memcmp(memory + 5000, "by a call", 9) == 0);
    int other = (int)OK(open("f", O_RDWR));
    IS(5, pwrite(other, "again", 5, 70000));
    TRUE(memcmp(memory + 70000, "again", 5) == 0);
    memcpy(memory + 80000, "last", 4);
    OK(munmap(memory, SIZE));
    OK(fsync(fd));
    IS(4, pread(other, bytes, 4, 80000));
    TRUE(memcmp(bytes, "last", 4) == 0);
    IS(SIZE, status_of("f").st_size);
    OK(close(fd));
    OK(close(other));
}

/* A file made longer and then filled through memory. */
static void filling(void)
{
    NEED("sharedmaps");
    char *bytes = malloc(SIZE);
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    OK(ftruncate(fd, SIZE));
    char *memory = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    if (memory == NULL)
        return;
    IS(-1, zeros_differ(memory, SIZE));
    pattern_fill(memory, SIZE, 3, 0);
    OK(msync(memory, SIZE, MS_SYNC));
    OK(munmap(memory, SIZE));
    OK(close(fd));
    fd = (int)OK(open("f", O_RDONLY));
    IS(SIZE, pread(fd, bytes, SIZE, 0));
    IS(-1, pattern_differs(bytes, SIZE, 3, 0));
    OK(close(fd));
    free(bytes);
}

struct sharing {
    struct turn turn;
};

static void write_in_memory(void *argument)
{
    struct sharing *sharing = argument;
    int fd = (int)OK(open("f", O_RDWR));
    char *memory = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    if (memory == NULL)
        return;
    memcpy(memory + 1234, "from a child", 12);
    turn_set(&sharing->turn, 1);
    turn_wait(&sharing->turn, 2);
    TRUE(memcmp(memory + 50000, "from its parent", 15) == 0);
    OK(munmap(memory, SIZE));
    OK(close(fd));
}

static void between_processes(void)
{
    NEED("sharedmaps");
    struct sharing *sharing = shared_allocate(sizeof *sharing);
    int fd = pattern_file("f");
    char *memory = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    if (memory == NULL)
        return;
    pid_t child = child_start(write_in_memory, sharing);
    turn_wait(&sharing->turn, 1);
    TRUE(memcmp(memory + 1234, "from a child", 12) == 0);
    memcpy(memory + 50000, "from its parent", 15);
    turn_set(&sharing->turn, 2);
    child_end(child);
    OK(munmap(memory, SIZE));
    OK(close(fd));
}

static int map_error(int fd, size_t length, int protection, int flags, off_t offset)
{
    char *memory = mmap(NULL, length, protection, flags, fd, offset);
    if (memory == MAP_FAILED)
        return -1;
    munmap(memory, length);
    return 0;
}

static void refusals(void)
{
    close(pattern_file("f"));
    OK(mkdir("d", 0755));
    int reader = (int)OK(open("f", O_RDONLY)), writer = (int)OK(open("f", O_WRONLY));
    int directory = (int)OK(open("d", O_RDONLY));
    FAILS(EACCES, map_error(writer, PAGE, PROT_READ, MAP_PRIVATE, 0));
    FAILS(EACCES, map_error(reader, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
    OK(map_error(reader, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0));
    FAILS(EINVAL, map_error(reader, 0, PROT_READ, MAP_PRIVATE, 0));
    FAILS(EINVAL, map_error(reader, PAGE, PROT_READ, MAP_PRIVATE, 1));
    FAILS(EBADF, map_error(999, PAGE, PROT_READ, MAP_PRIVATE, 0));
    FAILS(ENODEV, map_error(directory, PAGE, PROT_READ, MAP_PRIVATE, 0));
    OK(close(reader));
    OK(close(writer));
    OK(close(directory));
}

CASES(CASE(private_mappings), CASE(without_the_descriptor), CASE(shared_mappings), CASE(filling),
      CASE(between_processes), CASE(refusals))
