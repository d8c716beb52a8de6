/* A process that writes through a persistent engine is killed in the middle, again and again; what it had
 * been told to be durable is there, and what it had begun is old or new, byte by byte.
 *
 * Step k changes a range of one chunk, all derived from k, and commits; then the child says k through a pipe.
 * The parent keeps the bytes as of the last step that it heard of, and as of the one after that, which may be
 * there in part. */
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define KILLED_CHUNKS 4
#define KILLED_TIMEOUT_MS 20000

struct killed_step {
    uint64_t index;
    uint32_t offset;
    uint32_t length;
    uint8_t value;
    bool cut; /* to offset, instead of written */
};

static struct killed_step killed_step(uint64_t number)
{
    struct random random;
    random_seed(&random, number + 1);
    struct killed_step step = {.index = random_below(&random, KILLED_CHUNKS),
                               .offset = (uint32_t)random_below(&random, CONFORMANCE_CHUNK),
                               .value = (uint8_t)(1 + number % 250),
                               .cut = random_below(&random, 8) == 0};
    uint32_t most = CONFORMANCE_CHUNK - step.offset;
    if (random_below(&random, 2) == 0 && most > 5000)
        most = 5000;
    step.length = 1 + (uint32_t)random_below(&random, most);
    return step;
}

struct killed_bytes {
    uint8_t bytes[KILLED_CHUNKS][CONFORMANCE_CHUNK];
    uint32_t length[KILLED_CHUNKS];
};

static void killed_apply(struct killed_bytes *model, uint64_t number)
{
    struct killed_step step = killed_step(number);
    uint8_t *bytes = model->bytes[step.index];
    uint32_t *length = &model->length[step.index];
    if (step.cut && step.offset < *length) {
        memset(bytes + step.offset, 0, CONFORMANCE_CHUNK - step.offset);
        *length = step.offset;
    } else if (!step.cut) {
        memset(bytes + step.offset, step.value, step.length);
        if (*length < step.offset + step.length)
            *length = step.offset + step.length;
    }
}

/* The child. */
static _Noreturn void killed_child(uint64_t from, int pipe)
{
    struct loop_options options = {0};
    if (loop_create(&options, &conformance.loop) != 0 || conformance_mount() != 0)
        _exit(1);
    struct store *store = conformance.store;
    for (uint64_t number = from;; number++) {
        struct killed_step step = killed_step(number);
        int status = step.cut ? store->operations->truncate(store, 1, step.index, step.offset)
                              : conformance_write(store, 1, step.index, step.offset, step.length, step.value);
        if (status != 0 || conformance_commit() != 0 ||
            write(pipe, &number, sizeof(number)) != (ssize_t)sizeof(number))
            _exit(2);
    }
}

/* What the test program does when it is called with arguments: so the child has a process of its own, and no
 * threads that a fork would have left behind. */
static int killed_main(int count, char **arguments, const struct store_options *options)
{
    if (count != 4)
        return 1;
    conformance.real = true;
    conformance.options = *options;
    snprintf(conformance.directory, sizeof(conformance.directory), "%s", arguments[1]);
    killed_child(strtoull(arguments[2], NULL, 10), (int)strtol(arguments[3], NULL, 10));
}

/* Lets a child go on after step `from` for so many steps, and kills it. Returns the last step it told of. */
static uint64_t killed_run(uint64_t from, uint64_t steps)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char number[24], end[12];
        snprintf(number, sizeof(number), "%lu", (unsigned long)from + 1);
        snprintf(end, sizeof(end), "%d", ends[1]);
        close(ends[0]);
        execl("/proc/self/exe", "killed", conformance.directory, number, end, NULL);
        _exit(3);
    }
    close(ends[1]);
    uint64_t last = from;
    bool killed = false;
    for (;;) {
        struct pollfd readable = {.fd = ends[0], .events = POLLIN};
        uint64_t number;
        if (poll(&readable, 1, KILLED_TIMEOUT_MS) <= 0 || read(ends[0], &number, sizeof(number)) <= 0)
            break;
        last = number;
        if (last - from >= steps && !killed) {
            killed = true;
            kill(child, SIGKILL);
        }
    }
    int status = 0;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
    assert_true(killed); /* it did not end by itself */
    return last;
}

static void killed_verify(struct store *store, const struct killed_bytes *before,
                          const struct killed_bytes *after)
{
    uint8_t *bytes = malloc(CONFORMANCE_CHUNK);
    for (uint64_t index = 0; index < KILLED_CHUNKS; index++) {
        uint32_t length = store->operations->chunk_length(store, 1, index);
        assert_true(length == before->length[index] || length == after->length[index]);
        struct store_io io = conformance_io(1, index, 0, CONFORMANCE_CHUNK);
        assert_int_equal(store->operations->read_begin(store, &io), 0);
        assert_int_equal(io.length, length);
        conformance_gather(&io, bytes);
        store->operations->read_end(store, &io);
        for (uint32_t i = 0; i < length; i++)
            if (bytes[i] != before->bytes[index][i] && bytes[i] != after->bytes[index][i])
                fail_msg("chunk %lu, byte %u is %u, neither %u nor %u", (unsigned long)index, i, bytes[i],
                         before->bytes[index][i], after->bytes[index][i]);
    }
    free(bytes);
}

/* Sets what may differ from what is known to what is there: so the next round begins from certainty. */
static void killed_settle(struct store *store, struct killed_bytes *model)
{
    for (uint64_t index = 0; index < KILLED_CHUNKS; index++) {
        model->length[index] = store->operations->chunk_length(store, 1, index);
        memset(model->bytes[index], 0, CONFORMANCE_CHUNK);
        struct store_io io = conformance_io(1, index, 0, CONFORMANCE_CHUNK);
        assert_int_equal(store->operations->read_begin(store, &io), 0);
        conformance_gather(&io, model->bytes[index]);
        store->operations->read_end(store, &io);
    }
}

static void killed_rounds(const struct store_options *options, int rounds)
{
    struct killed_bytes *before = calloc(1, sizeof(*before)), *after = calloc(1, sizeof(*after));
    struct random random;
    random_seed(&random, 7);
    conformance.options = *options;
    conformance_medium_make();
    uint64_t last = 0;
    for (int round = 0; round < rounds; round++) {
        uint64_t from = last;
        last = killed_run(from, 1 + random_below(&random, 40));
        for (uint64_t number = from + 1; number <= last; number++)
            killed_apply(before, number);
        *after = *before;
        killed_apply(after, last + 1);
        assert_int_equal(conformance_mount(), 0);
        killed_verify(conformance.store, before, after);
        killed_settle(conformance.store, before);
        conformance_unmount(false);
        last++;
    }
    conformance_medium_end();
    free(before);
    free(after);
}
