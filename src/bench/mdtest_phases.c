/* The phases of mdtest.
 *
 * The directories of a tree are numbered level by level: the root is 0, and the children of d are d * branch
 * + 1 to d * branch + branch. Item i of a worker, file or directory, lies in directory i modulo their number.
 * Its name tells worker and number, so that all can work in one tree.
 *
 * Nothing is counted that was not done: what stat tells must be what was made, files must hold the bytes that
 * were written, lists must name each file once, and what removes the tree fails unless all was removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "bench/mdtest.h"

uint64_t mdtest_directories(uint64_t levels, uint64_t branch)
{
    uint64_t in_level = 1, sum = 1;
    for (uint64_t level = 0; level < levels; level++) {
        in_level *= branch;
        sum += in_level;
        if (sum > MDTEST_DIRECTORIES_MAX)
            return 0;
    }
    return sum;
}

int mdtest_init(struct mdtest *test, struct session *session, const struct mdtest_shape *shape,
                const char *name)
{
    memset(test, 0, sizeof(*test));
    test->session = session;
    test->shape = shape;
    test->name = name;
    test->directories = mdtest_directories(shape->levels, shape->branch);
    test->made = shape->files;
    content_init(&test->content, shape->verify);
    test->bytes = malloc(shape->size + 1);
    if (test->bytes != NULL)
        return 0;
    bench_error("out of memory for files of %llu bytes", (unsigned long long)shape->size);
    return -ENOMEM;
}

void mdtest_free(struct mdtest *test)
{
    free(test->bytes);
}

void mdtest_directory(const struct mdtest *test, uint32_t worker, uint64_t number,
                      char path[SESSION_PATH_MAX])
{
    uint64_t way[MDTEST_LEVELS_MAX];
    unsigned levels = 0;
    for (; number > 0; number = (number - 1) / test->shape->branch)
        way[levels++] = number;
    if (test->shape->shared)
        session_path(test->session, path, "%s", test->name);
    else
        session_path(test->session, path, "%s.%u", test->name, worker);
    for (size_t length = strlen(path); levels > 0; length += strlen(path + length))
        snprintf(path + length, SESSION_PATH_MAX - length, "/tree.%llu", (unsigned long long)way[--levels]);
}

static void item_path(struct mdtest *test, const char *kind, uint32_t worker, uint64_t number)
{
    mdtest_directory(test, worker, number % test->directories, test->path);
    size_t length = strlen(test->path);
    snprintf(test->path + length, SESSION_PATH_MAX - length, "/%s.%u.%llu", kind, worker,
             (unsigned long long)number);
}

void mdtest_name(char *name, size_t size, uint32_t worker, uint64_t number)
{
    snprintf(name, size, "file.%u.%llu", worker, (unsigned long long)number);
}

/* A number as mdtest_name writes it, at most `most`, followed by `end`. Returns what is behind that, or NULL.
 */
static const char *take_number(const char *text, uint64_t most, char end, uint64_t *number)
{
    const char *digit = text;
    for (*number = 0; *digit >= '0' && *digit <= '9'; digit++) {
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, (unsigned)(*digit - '0'), number))
            return NULL;
    }
    bool leading_zero = text[0] == '0' && digit - text > 1;
    return digit > text && !leading_zero && *number <= most && *digit == end ? digit + 1 : NULL;
}

/* By hand, for it is timed with the list that it checks: sscanf takes as long as an entry. */
bool mdtest_parse_name(const char *name, uint32_t *worker, uint64_t *number)
{
    uint64_t first = 0;
    const char *rest = strncmp(name, "file.", 5) == 0 ? take_number(name + 5, UINT32_MAX, '.', &first) : NULL;
    *worker = (uint32_t)first;
    return rest != NULL && take_number(rest, UINT64_MAX, '\0', number) != NULL;
}

static uint32_t self(const struct mdtest *test)
{
    return test->session->worker->number;
}

static uint32_t neighbour(const struct mdtest *test)
{
    return (uint32_t)((test->session->worker->number + test->shape->shift) % test->session->worker->count);
}

static uint64_t seed_of(const struct mdtest *test, uint32_t worker, uint64_t number)
{
    return ((uint64_t)worker << 40 | number) + hash64(test->name, strlen(test->name), 1);
}

/* What one worker does in a phase with one item. Returns 0, or -errno after one line; *elapsed gets the ns of
 * the operation alone. */
typedef int (*item_operation)(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed);

static int do_items(struct mdtest *test, struct crew_part *part, item_operation operation, uint32_t worker,
                    uint64_t first, uint64_t count, uint64_t deadline, uint64_t *done)
{
    for (*done = 0; *done < count; ++*done) {
        uint64_t elapsed = 0;
        if (deadline != 0 && crew_now() >= deadline)
            break;
        if (crew_stopping(test->session->worker))
            return -ECANCELED;
        int status = operation(test, worker, first + *done, &elapsed);
        if (status < 0)
            return status;
        histogram_record(&part->latency, elapsed);
        part->operations++;
    }
    return 0;
}

static int do_all(struct mdtest *test, struct crew_part *part, item_operation operation, uint32_t worker)
{
    uint64_t done;
    return do_items(test, part, operation, worker, 0, test->made, 0, &done);
}

/* ---- the tree ---- */

static int tree_operation(struct mdtest *test, struct crew_part *part, uint64_t number, bool make)
{
    struct session *session = test->session;
    mdtest_directory(test, self(test), number, test->path);
    uint64_t start = crew_now();
    int status = make ? session->call->mkdir(session->target, test->path, 0755)
                      : session->call->rmdir(session->target, test->path);
    histogram_record(&part->latency, crew_now() - start);
    if (status < 0)
        return session_fail(session, make ? "mkdir" : "rmdir", test->path, status);
    part->operations++;
    return 0;
}

static bool has_tree(const struct mdtest *test)
{
    return !test->shape->shared || self(test) == 0;
}

int mdtest_make_tree(struct mdtest *test, struct crew_part *part)
{
    int status = 0;
    for (uint64_t i = 0; has_tree(test) && i < test->directories && status == 0; i++)
        status = tree_operation(test, part, i, true);
    return status;
}

int mdtest_remove_tree(struct mdtest *test, struct crew_part *part)
{
    int status = 0;
    for (uint64_t i = test->directories; has_tree(test) && i > 0 && status == 0; i--)
        status = tree_operation(test, part, i - 1, false);
    return status;
}

/* ---- directories ---- */

static int make_directory(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed)
{
    item_path(test, "directory", worker, number);
    uint64_t start = crew_now();
    int status = test->session->call->mkdir(test->session->target, test->path, 0755);
    *elapsed = crew_now() - start;
    return status < 0 ? session_fail(test->session, "mkdir", test->path, status) : 0;
}

static int stat_directory(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed)
{
    struct stat found;
    item_path(test, "directory", worker, number);
    uint64_t start = crew_now();
    int status = test->session->call->stat(test->session->target, test->path, &found);
    *elapsed = crew_now() - start;
    if (status == 0 && !S_ISDIR(found.st_mode))
        status = -ENOTDIR;
    return status < 0 ? session_fail(test->session, "stat", test->path, status) : 0;
}

static int remove_directory(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed)
{
    item_path(test, "directory", worker, number);
    uint64_t start = crew_now();
    int status = test->session->call->rmdir(test->session->target, test->path);
    *elapsed = crew_now() - start;
    return status < 0 ? session_fail(test->session, "rmdir", test->path, status) : 0;
}

int mdtest_make_directories(struct mdtest *test, struct crew_part *part)
{
    return do_all(test, part, make_directory, self(test));
}

int mdtest_stat_directories(struct mdtest *test, struct crew_part *part)
{
    return do_all(test, part, stat_directory, neighbour(test));
}

int mdtest_remove_directories(struct mdtest *test, struct crew_part *part)
{
    return do_all(test, part, remove_directory, self(test));
}

/* ---- files ---- */

static int make_file(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed)
{
    const struct target_operations *call = test->session->call;
    struct target *target = test->session->target;
    size_t size = test->shape->size;
    ssize_t written = 0;
    item_path(test, "file", worker, number);
    content_fill(&test->content, seed_of(test, worker, number), test->bytes, size, 0);
    uint64_t start = crew_now();
    int fd = call->file_open(target, test->path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        return session_fail(test->session, "create", test->path, fd);
    if (size > 0)
        written = call->write(target, fd, test->bytes, size, 0);
    int status = call->file_close(target, fd);
    *elapsed = crew_now() - start;
    if (written != (ssize_t)size)
        return session_fail(test->session, "write", test->path, written < 0 ? (int)written : -EIO);
    return status < 0 ? session_fail(test->session, "close", test->path, status) : 0;
}

static int stat_file(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed)
{
    struct stat found;
    item_path(test, "file", worker, number);
    uint64_t start = crew_now();
    int status = test->session->call->stat(test->session->target, test->path, &found);
    *elapsed = crew_now() - start;
    if (status < 0)
        return session_fail(test->session, "stat", test->path, status);
    if (!S_ISREG(found.st_mode) || (uint64_t)found.st_size != test->shape->size)
        return session_fail(test->session, "wrong type or size of", test->path, -EBADMSG);
    return 0;
}

static int read_file(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed)
{
    const struct target_operations *call = test->session->call;
    struct target *target = test->session->target;
    size_t size = test->shape->size;
    item_path(test, "file", worker, number);
    content_wipe(&test->content, test->bytes, size, 0, true);
    uint64_t start = crew_now();
    int fd = call->file_open(target, test->path, O_RDONLY, 0);
    if (fd < 0)
        return session_fail(test->session, "open", test->path, fd);
    ssize_t count = call->read(target, fd, test->bytes, size, 0);
    int status = call->file_close(target, fd);
    *elapsed = crew_now() - start;
    if (count != (ssize_t)size)
        return session_fail(test->session, "read", test->path, count < 0 ? (int)count : -EIO);
    if (!content_check(&test->content, seed_of(test, worker, number), test->bytes, size, 0, true))
        return session_fail(test->session, "wrong bytes in", test->path, -EBADMSG);
    return status < 0 ? session_fail(test->session, "close", test->path, status) : 0;
}

static int remove_file(struct mdtest *test, uint32_t worker, uint64_t number, uint64_t *elapsed)
{
    item_path(test, "file", worker, number);
    uint64_t start = crew_now();
    int status = test->session->call->unlink(test->session->target, test->path);
    *elapsed = crew_now() - start;
    return status < 0 ? session_fail(test->session, "unlink", test->path, status) : 0;
}

int mdtest_make_files(struct mdtest *test, struct crew_part *part, uint64_t duration, bool *expired)
{
    uint64_t deadline = duration == 0 ? 0 : part->started + duration, most, more;
    int status = do_items(test, part, make_file, self(test), 0, test->shape->files, deadline, &test->made);
    if (expired != NULL)
        *expired = test->made < test->shape->files;
    if (status == 0 && deadline != 0 &&
        (status = crew_maximum(test->session->worker, test->made, &most)) == 0) {
        status = do_items(test, part, make_file, self(test), test->made, most - test->made, 0, &more);
        test->made = most;
    }
    part->bytes = part->operations * test->shape->size;
    return status;
}

int mdtest_stat_files(struct mdtest *test, struct crew_part *part)
{
    return do_all(test, part, stat_file, neighbour(test));
}

int mdtest_read_files(struct mdtest *test, struct crew_part *part)
{
    int status = do_all(test, part, read_file, neighbour(test));
    part->bytes = part->operations * test->shape->size;
    return status;
}

int mdtest_remove_files(struct mdtest *test, struct crew_part *part)
{
    return do_all(test, part, remove_file, self(test));
}

/* ---- lists ---- */

/* What is found in one directory, compared by count and a sum of hashes. */
struct found {
    const struct mdtest *test;
    uint64_t directory;
    uint64_t count;
    uint64_t sum;
};

static uint64_t item_hash(uint32_t worker, uint64_t number)
{
    return hash_mix(((uint64_t)worker << 40 | number) + 1);
}

static int count_entry(void *argument, const char *name, mode_t type)
{
    struct found *found = argument;
    uint32_t worker;
    uint64_t number;
    if (strncmp(name, "tree.", 5) == 0)
        return 0;
    if (!mdtest_parse_name(name, &worker, &number) || (type != 0 && !S_ISREG(type)) ||
        number % found->test->directories != found->directory)
        return -EBADMSG;
    found->count++;
    found->sum += item_hash(worker, number);
    return 0;
}

/* Lists directory `number` of that worker's tree. */
static int list_directory(struct mdtest *test, struct crew_part *part, uint32_t worker, uint64_t number)
{
    struct session *session = test->session;
    struct found found = {.test = test, .directory = number}, right = {0};
    uint32_t first = test->shape->shared ? 0 : worker;
    uint32_t last = test->shape->shared ? session->worker->count - 1 : worker;
    mdtest_directory(test, worker, number, test->path);
    uint64_t start = crew_now();
    int status = session->call->list(session->target, test->path, count_entry, &found);
    histogram_record(&part->latency, crew_now() - start);
    if (status < 0)
        return session_fail(session, "list", test->path, status);
    for (uint32_t w = first; w <= last; w++) {
        for (uint64_t i = number; i < test->made; i += test->directories) {
            right.count++;
            right.sum += item_hash(w, i);
        }
    }
    if (found.count != right.count || found.sum != right.sum)
        return session_fail(session, "wrong list of", test->path, -EBADMSG);
    part->operations += found.count;
    return 0;
}

int mdtest_list_files(struct mdtest *test, struct crew_part *part)
{
    uint64_t first = test->shape->shared ? self(test) : 0;
    uint64_t step = test->shape->shared ? test->session->worker->count : 1;
    int status = 0;
    for (uint64_t i = first; i < test->directories && status == 0; i += step)
        status = list_directory(test, part, neighbour(test), i);
    return status;
}
