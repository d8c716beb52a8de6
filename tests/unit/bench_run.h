/* Runs `benchfs bench ARGUMENTS` in a child, because options keep their values, and reads what it wrote. */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

static char bench_output[1 << 20];

/* What else the machine did while the benchmark ran is no matter of the test's: the warning goes. */
static void bench_forget_bystanders(void)
{
    char *kept = bench_output, *line = bench_output;
    while (*line != 0) {
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        char next = line[length];
        line[length] = 0;
        bool bystanders = strstr(line, ": warning: ") != NULL && strstr(line, " meanwhile") != NULL;
        line[length] = next;
        if (!bystanders) {
            memmove(kept, line, length);
            kept += length;
        }
        line += length;
    }
    *kept = 0;
}

/* The exit status; bench_output gets standard output and standard error. */
static int bench_run(const char *arguments)
{
    char text[2048];
    char *argv[40] = {"bench"};
    int argc = 1, ends[2], state;
    snprintf(text, sizeof(text), "%s", arguments);
    for (char *rest = text, *word; (word = strsep(&rest, " ")) != NULL;) {
        if (word[0] != 0)
            argv[argc++] = word;
    }
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        int status = bench_main(argc, argv);
        fflush(NULL);
        _exit(status);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t count;
         (count = read(ends[0], bench_output + length, sizeof(bench_output) - 1 - length)) > 0;)
        length += (size_t)count;
    bench_output[length] = 0;
    bench_forget_bystanders();
    close(ends[0]);
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_true(WIFEXITED(state));
    return WEXITSTATUS(state);
}

static inline void bench_fails(const char *arguments, int status, const char *said)
{
    assert_int_equal(bench_run(arguments), status);
    if (strstr(bench_output, said) == NULL ||
        strchr(bench_output, '\n') != bench_output + strlen(bench_output) - 1)
        fail_msg("\"%s\" said \"%s\", not \"%s\"", arguments, bench_output, said);
}

/* The results of a run with --json: an array without the first line, which says what it was. */
static inline json_t *bench_results(const char *arguments)
{
    json_t *results = json_array();
    int status = bench_run(arguments);
    if (status != 0)
        fail_msg("\"%s\" ended with %d: %s", arguments, status, bench_output);
    char *rest = bench_output;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != 0;) {
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        if (object == NULL)
            fail_msg("not JSON: %s", line);
        if (strcmp(json_string_value(json_object_get(object, "type")), "result") == 0)
            json_array_append(results, object);
        json_decref(object);
    }
    return results;
}

/* The result of the phase (whose parameter, if it is not NULL, has the value); NULL: there is none. */
static inline const json_t *bench_result(const json_t *results, const char *phase, const char *parameter,
                                         const char *value)
{
    size_t i;
    const json_t *result;
    json_array_foreach(results, i, result)
    {
        const json_t *found =
            json_object_get(json_object_get(result, "parameters"), parameter != NULL ? parameter : "");
        if (strcmp(json_string_value(json_object_get(result, "phase")), phase) == 0 &&
            (parameter == NULL || (found != NULL && strcmp(json_string_value(found), value) == 0)))
            return result;
    }
    return NULL;
}

static inline double bench_measure(const json_t *result, const char *name)
{
    const json_t *value = json_object_get(json_object_get(result, "measures"), name);
    if (value == NULL)
        fail_msg("no measure %s", name);
    return json_number_value(value);
}

static inline double bench_number(const json_t *result, const char *name)
{
    return json_number_value(json_object_get(result, name));
}
