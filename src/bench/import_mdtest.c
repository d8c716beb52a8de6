/* mdtest prints a summary only: of all iterations the greatest, least and mean rate. From these follow all
 * rates while there are at most three; beyond that the median is unknown, and the mean stands for it, between
 * the least and the greatest, with a warning. Times in place of rates (its option --print-time) are refused.
 *
 *    SUMMARY rate (in ops/sec): (of 2 iterations)
 *       Operation           Max        Min       Mean    Std Dev
 *       File creation   1923.92    1664.67    1794.30    183.31
 *
 * Older versions write a colon after the operation; with rates of single ranks three columns come first. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/import_parse.h"

#define FIGURES_MAX 8

struct state {
    struct import_run run;
    char api[32], path[256];
    uint64_t tasks, items, size, iterations;
    bool in_summary, begun;
};

bool import_is_mdtest(const char *line)
{
    return strncmp(line, "mdtest-", 7) == 0 && strstr(line, " was launched with ") != NULL;
}

/* The word after an option in "Command line used: mdtest '-n' '50'"; quotes are of newer versions. */
static bool option_of(const char *command, const char *name, char *value, size_t size)
{
    char copy[IMPORT_TEXT_SIZE];
    snprintf(copy, sizeof(copy), "%s", command);
    bool next = false;
    for (char *rest = copy, *word; (word = strsep(&rest, " ")) != NULL;) {
        if (word[0] == '\'' && word[strlen(word) - 1] == '\'' && strlen(word) > 1) {
            word[strlen(word) - 1] = 0;
            word++;
        }
        if (next) {
            snprintf(value, size, "%s", word);
            return true;
        }
        next = strcmp(word, name) == 0;
    }
    return false;
}

/* "File creation" is "file-create". */
static bool phase_of(const char *operation, char *phase, size_t size)
{
    static const char *const verbs[][2] = {{"creation", "create"}, {"removal", "remove"}};
    const char *space = strchr(operation, ' ');
    if (space == NULL || strchr(space + 1, ' ') != NULL)
        return false;
    const char *verb = space + 1;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        verb = strcmp(verb, verbs[i][0]) == 0 ? verbs[i][1] : verb;
    snprintf(phase, size, "%.*s-%s", (int)(space - operation), operation, verb);
    for (char *at = phase; *at != 0; at++)
        *at = (char)tolower((unsigned char)*at);
    return true;
}

/* Splits "   File creation  :  1.0  2.0" into the operation and its figures; returns how many. */
static int read_figures(const char *line, char *operation, size_t size, double *figures)
{
    char copy[IMPORT_LINE_SIZE];
    int count = 0;
    operation[0] = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *rest = copy, *word; (word = strsep(&rest, " ")) != NULL;) {
        double figure;
        if (word[0] == 0 || strcmp(word, ":") == 0)
            continue;
        if (import_number(word, &figure)) {
            if (count == FIGURES_MAX)
                return -1;
            figures[count++] = figure;
            continue;
        }
        if (count > 0)
            return -1;
        size_t length = strlen(operation);
        word[strcspn(word, ":")] = 0;
        snprintf(operation + length, size - length, "%s%s", length > 0 ? " " : "", word);
    }
    return count;
}

static void set_rates(struct result *result, uint64_t iterations, double most, double least, double mean)
{
    result->repeats = iterations > UINT32_MAX ? UINT32_MAX : (uint32_t)iterations;
    if (iterations > 3) {
        result->operation_rate = (struct result_interval){.median = mean, .low = least, .high = most};
        result_warn(result,
                    "imported: the mean of %llu iterations between the least and the greatest; no median and "
                    "no interval can be told",
                    (unsigned long long)iterations);
        return;
    }
    sample_add(&result->ops_per_s, most);
    if (iterations >= 2)
        sample_add(&result->ops_per_s, least);
    if (iterations == 3)
        sample_add(&result->ops_per_s, fmin(most, fmax(least, 3.0 * mean - most - least)));
}

static int take_row(struct import_text *text, struct state *state, const char *line)
{
    char operation[128], phase[64], target[IMPORT_TEXT_SIZE];
    double figures[FIGURES_MAX];
    int count = read_figures(line, operation, sizeof(operation), figures);
    if (count < 4 || !phase_of(operation, phase, sizeof(phase)))
        return 0;
    const double *last = &figures[count - 4]; /* greatest, least, mean, deviation over the iterations */
    if (last[1] > last[0] || last[2] > last[0] * 1.001 || last[2] < last[1] * 0.999)
        return import_fail(text, "the mean of \"%.60s\" lies outside of its extremes", operation);
    struct result result;
    result_init(&result);
    result.phase = phase;
    result_number(&result, "files", state->tasks > 0 ? state->items / state->tasks : state->items);
    result_number(&result, "size", state->size);
    result_number(&result, "processes", state->tasks);
    result_number(&result, "threads", 1);
    bool tree = strncmp(phase, "tree", 4) == 0; /* how many directories it has is not told */
    result.operations = tree || state->items > UINT64_MAX / 1000000 ? 0 : state->items * state->iterations;
    set_rates(&result, state->iterations, last[0], last[1], fmin(last[0], fmax(last[1], last[2])));
    result_settle(&result);
    import_target(state->api, state->path, target, sizeof(target));
    text->results++;
    int status = text->sink->result(text->sink->argument, &result, target);
    result_free(&result);
    return status;
}

static int begin_summary(struct import_text *text, struct state *state, const char *line)
{
    char value[64];
    const char *of = strstr(line, "(of ");
    if (strstr(line, "time") != NULL)
        return import_fail(text, "a summary of times: run mdtest without printing them");
    state->iterations = of != NULL ? strtoull(of + 4, NULL, 10) : 0;
    if (state->iterations == 0 || state->iterations > 1000000)
        return import_fail(text, "a summary of no iterations");
    if (option_of(state->run.command, "-w", value, sizeof(value)))
        state->size = import_size(value);
    if (option_of(state->run.command, "-a", value, sizeof(value)))
        snprintf(state->api, sizeof(state->api), "%.31s", value);
    state->in_summary = true;
    int status = state->begun ? 0 : text->sink->begin(text->sink->argument, &state->run);
    state->begun = true;
    return status;
}

static int take_line(struct import_text *text, struct state *state, const char *line)
{
    char value[IMPORT_TEXT_SIZE];
    unsigned long long tasks, items;
    if (strncmp(line, "SUMMARY", 7) == 0)
        return begin_summary(text, state, line);
    if (strncmp(line, "-- finished", 11) == 0)
        state->in_summary = false;
    else if (state->in_summary)
        return take_row(text, state, line);
    else if (import_value(line, "Command line used", value, sizeof(value)))
        snprintf(state->run.command, sizeof(state->run.command), "%s", value);
    else if (import_value(line, "Path", value, sizeof(value)))
        snprintf(state->path, sizeof(state->path), "%.255s", value);
    else if (sscanf(line, "%llu tasks, %llu files", &tasks, &items) == 2 ||
             sscanf(line, "%llu tasks, %llu directories", &tasks, &items) == 2)
        state->tasks = tasks, state->items = items;
    return 0;
}

int import_mdtest(struct import_text *text, const char *first)
{
    char line[IMPORT_LINE_SIZE];
    struct state state = {.run.benchmark = "mdtest", .api = "POSIX"};
    const char *launched = strstr(first, " was launched with ");
    int status = 0;
    snprintf(state.run.version, sizeof(state.run.version), "%.*s", (int)(launched - first), first);
    snprintf(state.run.time, sizeof(state.run.time), "%s", text->started);
    state.tasks = strtoull(launched + strlen(" was launched with "), NULL, 10);
    while (status == 0) {
        size_t at = text->at;
        unsigned number = text->line;
        if (!import_line(text, line, sizeof(line)))
            break;
        if (import_is_ior(line) || import_is_mdtest(line) || strncmp(line, "-- started", 10) == 0) {
            text->at = at;
            text->line = number;
            break;
        }
        status = take_line(text, &state, line);
    }
    return status;
}
