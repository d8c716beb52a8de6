/* Parsing by table. Long options only, "--name value" or "--name=value"; what is wrong is told in one line
 * that names the option, what it got and what it takes. */
#include "bench/options.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/quantity.h"
#include "bench/sweep.h"

#define HELP_COLUMN 27u

static const char *error_name = "";

void bench_error_name(const char *verb)
{
    error_name = verb;
}

static char *kept; /* shared with forked processes; NULL: lines are written */
#define KEPT_SIZE 1200u

void bench_error(const char *format, ...)
{
    char text[1024], line[KEPT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snprintf(line, sizeof(line), "benchfs bench%s%s: %s\n", error_name[0] != 0 ? " " : "", error_name, text);
    if (kept != NULL)
        strcpy(kept, line);
    else
        fputs(line, stderr);
}

void bench_error_keep(void)
{
    void *memory = mmap(NULL, KEPT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        kept = memory;
}

void bench_error_tell(void)
{
    if (kept == NULL)
        return;
    fputs(kept, stderr);
    kept[0] = 0;
}

static void describe_range(const struct bench_option *option, bool list, char *text, size_t size)
{
    char low[32], high[32];
    switch (option->kind) {
    case BENCH_NUMBER:
    case BENCH_NUMBERS:
        snprintf(text, size, "%s from %llu to %llu", list ? "numbers, separated by commas," : "a number",
                 (unsigned long long)option->minimum, (unsigned long long)option->maximum);
        break;
    case BENCH_REAL:
        snprintf(text, size, "a number from %llu to %llu, such as 0.95", (unsigned long long)option->minimum,
                 (unsigned long long)option->maximum);
        break;
    case BENCH_TEXT:
        snprintf(text, size, "at most %u words, separated by commas", SWEEP_VALUES_MAX);
        break;
    case BENCH_TEXTS:
        snprintf(text, size, "at most %d values", BENCH_LIST_MAX);
        break;
    case BENCH_DURATION:
        quantity_format_duration(option->minimum, low, sizeof(low));
        quantity_format_duration(option->maximum, high, sizeof(high));
        snprintf(text, size, "%s from %s to %s, such as 500ms",
                 list ? "durations, separated by commas," : "a duration", low, high);
        break;
    default:
        quantity_format_size(option->minimum, low, sizeof(low));
        quantity_format_size(option->maximum, high, sizeof(high));
        snprintf(text, size, "%s from %s to %s, such as 4KiB",
                 list ? "sizes, separated by commas," : "a size", low, high);
        break;
    }
}

static bool parse_quantity(const struct bench_option *option, const char *text, uint64_t *value)
{
    int status;
    if (option->kind == BENCH_NUMBER || option->kind == BENCH_NUMBERS) {
        char *end;
        errno = 0;
        *value = strtoull(text, &end, 10);
        status = errno != 0 || *end != 0 || text[0] < '0' || text[0] > '9' ? -EINVAL : 0;
    } else if (option->kind == BENCH_DURATION) {
        status = quantity_parse_duration(text, value);
    } else {
        status = quantity_parse_size(text, value);
    }
    return status == 0 && *value >= option->minimum && *value <= option->maximum;
}

static bool parse_list(const struct bench_option *option, const char *text, struct bench_list *list)
{
    char copy[256];
    struct bench_list parsed = {0};
    if (strlen(text) >= sizeof(copy))
        return false;
    strcpy(copy, text);
    char *rest = copy;
    for (char *item; (item = strsep(&rest, ",")) != NULL;) {
        if (parsed.count == BENCH_LIST_MAX || !parse_quantity(option, item, &parsed.sizes[parsed.count]))
            return false;
        parsed.count++;
    }
    *list = parsed;
    return true;
}

/* The values of an option that may be a list. */
static bool parse_axis(struct sweep_axis *axis, const char *text)
{
    struct sweep_axis parsed = {.option = axis->option, .in_turns = axis->in_turns};
    char *copy = strdup(text);
    bool texts = axis->option->kind == BENCH_TEXT, right = copy != NULL;
    char *rest = copy;
    for (char *item; right && (item = strsep(&rest, ",")) != NULL;) {
        right = item[0] != 0 && parsed.count < SWEEP_VALUES_MAX;
        if (right && texts)
            parsed.texts[parsed.count++] = item;
        else if (right)
            right = parse_quantity(axis->option, item, &parsed.numbers[parsed.count++]);
    }
    if (!right || !texts)
        free(copy);
    if (right)
        *axis = parsed;
    return right;
}

static bool parse_real(const struct bench_option *option, const char *text, double *value)
{
    char *end;
    errno = 0;
    double parsed = strtod(text, &end);
    if (errno != 0 || *end != 0 || end == text || !(parsed >= (double)option->minimum) ||
        !(parsed <= (double)option->maximum))
        return false;
    *value = parsed;
    return true;
}

static bool parse_value(const struct bench_option *option, const char *text)
{
    uint64_t value;
    struct bench_list *list = option->value;
    switch (option->kind) {
    case BENCH_FLAG:
        *(bool *)option->value = true;
        return true;
    case BENCH_REAL:
        return parse_real(option, text, option->value);
    case BENCH_TEXT:
    case BENCH_PATH:
        *(const char **)option->value = text;
        return true;
    case BENCH_TEXTS:
        if (list->count == BENCH_LIST_MAX)
            return false;
        list->texts[list->count++] = text;
        return true;
    case BENCH_SIZES:
    case BENCH_NUMBERS:
        return parse_list(option, text, list);
    default:
        if (!parse_quantity(option, text, &value))
            return false;
        *(uint64_t *)option->value = value;
        return true;
    }
}

static const struct bench_option *find_option(const struct bench_verb *verb, const char *name, size_t length)
{
    for (const struct bench_option *option = verb->options; option->name != NULL; option++) {
        if (strlen(option->name) == length && memcmp(option->name, name, length) == 0)
            return option;
    }
    return NULL;
}

void bench_options_default(const struct bench_verb *verb, const char *name, const char *list)
{
    const struct bench_option *option = find_option(verb, name, strlen(name));
    assert(option != NULL && sweep_find(verb->sweep, option) != NULL);
    bool right = parse_axis(sweep_find(verb->sweep, option), list);
    assert(right);
    (void)right;
}

static bool take_operand(struct bench_operands *operands, const char *given)
{
    if (operands->count == BENCH_LIST_MAX) {
        bench_error("more than %d arguments", BENCH_LIST_MAX);
        return false;
    }
    operands->texts[operands->count++] = given;
    return true;
}

/* The option of "--name" or "--name=text"; *text: behind "=", or NULL. NULL: after one line. */
static const struct bench_option *named_option(const struct bench_verb *verb, const char *given,
                                               const char **text)
{
    if (strncmp(given, "--", 2) != 0 || given[2] == 0) {
        bench_error("unexpected argument \"%s\": try \"benchfs bench %s --help\"", given, verb->name);
        return NULL;
    }
    const char *equals = strchr(given, '=');
    size_t length = equals != NULL ? (size_t)(equals - given) - 2 : strlen(given) - 2;
    const struct bench_option *option = find_option(verb, given + 2, length);
    *text = equals != NULL ? equals + 1 : NULL;
    if (option == NULL) {
        bench_error("unknown option --%.*s: try \"benchfs bench %s --help\"", (int)length, given + 2,
                    verb->name);
    } else if (option->kind == BENCH_FLAG && *text != NULL) {
        bench_error("option --%s takes no value", option->name);
        option = NULL;
    }
    return option;
}

static bool take_value(const struct bench_verb *verb, const struct bench_option *option, const char *text)
{
    char twice[64], range[128];
    struct sweep_axis *axis = sweep_find(verb->sweep, option);
    if (axis != NULL ? !parse_axis(axis, text) : !parse_value(option, text)) {
        bool list = axis != NULL || option->kind == BENCH_SIZES || option->kind == BENCH_NUMBERS;
        describe_range(option, list, range, sizeof(range));
        bench_error("option --%s takes %s, not \"%s\"", option->name, range, text);
        return false;
    }
    if (axis == NULL || !sweep_repeated(axis, twice, sizeof(twice)))
        return true;
    bench_error("option --%s has %s twice: give each value once", option->name, twice);
    return false;
}

int bench_options_parse(const struct bench_verb *verb, int argc, char **argv)
{
    struct bench_operands *operands = verb->operands;
    bench_error_name(verb->name);
    for (int i = 1; i < argc; i++) {
        const char *given = argv[i], *text;
        if (strcmp(given, "--help") == 0 || strcmp(given, "-h") == 0) {
            bench_options_help(verb);
            return BENCH_OK;
        }
        if (strncmp(given, "--", 2) != 0 && operands != NULL) {
            if (operands->ends != NULL && operands->ends(given)) {
                operands->rest = i;
                return -1;
            }
            if (!take_operand(operands, given))
                return BENCH_USAGE;
            continue;
        }
        const struct bench_option *option = named_option(verb, given, &text);
        if (option == NULL)
            return BENCH_USAGE;
        if (option->kind != BENCH_FLAG && text == NULL && (text = argv[++i]) == NULL) {
            bench_error("option --%s needs a value (%s)", option->name, option->argument);
            return BENCH_USAGE;
        }
        if (!take_value(verb, option, text))
            return BENCH_USAGE;
    }
    return -1;
}

static size_t append_values(const struct bench_option *option, uint32_t count, const uint64_t *numbers,
                            const char *const *texts, char *text, size_t size)
{
    size_t length = 0;
    for (uint32_t i = 0; i < count && length < size; i++) {
        char value[64];
        sweep_format(option, numbers != NULL ? numbers[i] : 0, texts != NULL ? texts[i] : NULL, value,
                     sizeof(value));
        length += (size_t)snprintf(text + length, size - length, "%s%s", i == 0 ? " [" : ",", value);
    }
    if (count > 0 && length < size)
        length += (size_t)snprintf(text + length, size - length, "]");
    return length < size ? length : size - 1;
}

/* " [1,8]"; of words only when they are several: the help names the one. */
static void describe_default(const struct bench_verb *verb, const struct bench_option *option, char *text,
                             size_t size)
{
    const struct bench_list *list = option->value;
    const struct sweep_axis *axis = sweep_find(verb->sweep, option);
    text[0] = 0;
    switch (option->kind) {
    case BENCH_NUMBER:
    case BENCH_SIZE:
    case BENCH_DURATION:
        append_values(option, axis != NULL ? axis->count : 1, axis != NULL ? axis->numbers : option->value,
                      NULL, text, size);
        break;
    case BENCH_SIZES:
    case BENCH_NUMBERS:
        append_values(option, list->count, list->sizes, NULL, text, size);
        break;
    case BENCH_TEXT:
        if (axis != NULL && axis->count > 1 && !axis->in_turns)
            append_values(option, axis->count, NULL, axis->texts, text, size);
        break;
    default:
        break;
    }
}

/* Of a terminal; without one, as wide as manual pages are at most. */
static size_t help_width(void)
{
    struct winsize window;
    size_t width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 100;
    return width < HELP_COLUMN + 30 ? HELP_COLUMN + 30 : width;
}

/* Words in lines; all but the first begin where the first does. */
static void print_wrapped(const char *text, size_t width)
{
    size_t column = HELP_COLUMN;
    for (const char *word = text; *word != 0;) {
        size_t length = strcspn(word, " ");
        if (column + length + 1 > width && column > HELP_COLUMN) {
            printf("\n%*s", (int)HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += (size_t)printf("%s%.*s", column > HELP_COLUMN ? " " : "", (int)length, word);
        word += length + strspn(word + length, " ");
    }
    putchar('\n');
}

static void print_option(const struct bench_verb *verb, const struct bench_option *option)
{
    char left[64], text[2048];
    snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument != NULL ? " " : "",
             option->argument != NULL ? option->argument : "");
    int length = snprintf(text, sizeof(text), "%s", option->help);
    describe_default(verb, option, text + length, sizeof(text) - (size_t)length);
    printf("  %-24s ", left);
    print_wrapped(text, help_width());
}

void bench_options_help(const struct bench_verb *verb)
{
    printf("Usage: benchfs bench %s [OPTION...]%s%s\n%s.\n\n", verb->name, verb->usage != NULL ? " " : "",
           verb->usage != NULL ? verb->usage : "", verb->help);
    for (const struct bench_option *option = verb->options; option->name != NULL; option++)
        print_option(verb, option);
    printf("  %-24s %s\n", "--help", "print this text");
    if (verb->sweep != NULL)
        printf("\nNumbers, sizes, times and words may be lists (1,8): every combination is measured.\n");
}
