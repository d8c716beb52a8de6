/* Runs a fuzz target without libFuzzer, so that every target is a regression test with any compiler.
 *
 * Usage: fuzz_NAME FILE|DIRECTORY...
 *
 * Each file is run as it is. Then inputs are made from the files by random edits (changed, inserted, removed
 * and repeated bytes, spliced files), as many as MUTATIONS and as SECONDS allow. The random numbers have a
 * fixed seed, so a crash happens again; the number of the input is printed to find it in a debugger. */
#include "base/clock.h"
#include "base/random.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUTS_MAX = 1024, INPUT_SIZE_MAX = 1 << 16, EDITS_MAX = 8, MUTATIONS = 20000, SECONDS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct input {
    uint8_t *bytes;
    size_t length;
};

static struct input inputs[INPUTS_MAX];
static size_t input_count;
static volatile unsigned long executed;

static void load_file(const char *path)
{
    static uint8_t bytes[INPUT_SIZE_MAX];
    FILE *file = fopen(path, "rb");

    if (file == NULL || input_count == INPUTS_MAX) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    struct input *input = &inputs[input_count++];
    input->length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    input->bytes = malloc(input->length + 1);
    if (input->bytes == NULL)
        exit(1);
    memcpy(input->bytes, bytes, input->length);
}

static void load(const char *path)
{
    struct stat status;
    struct dirent **entries;

    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        load_file(path);
        return;
    }
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char name[4096];
        if (entries[i]->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
            load_file(name);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* The target gets a copy of exactly the right size, so that AddressSanitizer sees a read past the end. */
static void run(const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);

    if (copy == NULL)
        exit(1);
    memcpy(copy, bytes, length);
    executed++;
    LLVMFuzzerTestOneInput(copy, length);
    free(copy);
}

/* Replaces removed bytes at offset by inserted ones. Returns the new length. */
static size_t splice(uint8_t *bytes, size_t length, size_t offset, size_t removed, const uint8_t *inserted,
                     size_t inserted_length)
{
    if (length - removed + inserted_length > INPUT_SIZE_MAX)
        return length;
    memmove(bytes + offset + inserted_length, bytes + offset + removed, length - offset - removed);
    if (inserted_length > 0)
        memcpy(bytes + offset, inserted, inserted_length);
    return length - removed + inserted_length;
}

static size_t edit(struct random *random, uint8_t *bytes, size_t length)
{
    static const uint8_t interesting[] = {0, 1, 0x7f, 0x80, 0xff, '"', '\\', '[', ']', '{', '\n', '/', '9'};
    const struct input *other = &inputs[random_below(random, input_count)];
    size_t offset = random_below(random, length + 1);
    size_t rest = length - offset;
    size_t span = random_below(random, (rest < 32 ? rest : 32) + 1);
    uint8_t piece[64];

    switch (random_below(random, 6)) {
    case 0:
        if (rest > 0)
            bytes[offset] = (uint8_t)random_next(random);
        return length;
    case 1:
        if (rest > 0)
            bytes[offset] = interesting[random_below(random, sizeof interesting)];
        return length;
    case 2:
        return splice(bytes, length, offset, span, NULL, 0);
    case 3:
        return offset;
    case 4:
        memcpy(piece, bytes + offset, span);
        return splice(bytes, length, random_below(random, length + 1), 0, piece, span);
    default:
        if (other->length == 0)
            return length;
        offset = random_below(random, other->length);
        span = random_below(random, other->length - offset + 1);
        return splice(bytes, length, random_below(random, length + 1), 0, other->bytes + offset, span);
    }
}

static void say_where(int number)
{
    char line[64];
    int length = snprintf(line, sizeof line, "# signal %d in input %lu\n", number, executed);
    ssize_t written = write(STDOUT_FILENO, line, (size_t)length);
    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

int main(int count, char **arguments)
{
    static uint8_t bytes[INPUT_SIZE_MAX];
    struct random random;
    uint64_t end = clock_now() + SECONDS * NSEC_PER_SEC;

    for (int i = 1; i < count; i++)
        load(arguments[i]);
    printf("1..1\n");
    if (input_count == 0) {
        printf("not ok 1 - no corpus\n");
        return 1;
    }
    fflush(stdout);
    signal(SIGABRT, say_where);
#if !defined(__SANITIZE_ADDRESS__)
    signal(SIGSEGV, say_where);
#endif

    for (size_t i = 0; i < input_count; i++)
        run(inputs[i].bytes, inputs[i].length);
    random_seed(&random, 1);
    for (int i = 0; i < MUTATIONS && clock_now() < end; i++) {
        const struct input *input = &inputs[random_below(&random, input_count)];
        size_t length = input->length;
        memcpy(bytes, input->bytes, length);
        for (uint64_t edits = 1 + random_below(&random, EDITS_MAX); edits > 0; edits--)
            length = edit(&random, bytes, length);
        run(bytes, length);
    }
    printf("ok 1 - %lu inputs\n", executed);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].bytes);
    return 0;
}
