/* Configuration from TOML files and command lines.
 *
 * Both ways end in one function, assign, which takes a value as text: the file's integers and booleans are
 * turned into the text that a command line would hold, after their TOML type was checked against the
 * option's. So an option has one syntax, one check of its range and one set of error messages. A file is
 * applied to a copy, which replaces the caller's configuration only when all of it was right.
 *
 * The file comes from a user and may hold anything: its size is bounded, the parser bounds nesting, and text
 * from it is cleaned of control characters before it goes into an error line. */
#include "base/option.h"
#include "base/descriptor.h"
#include "base/quantity.h"
#include "base/toml.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_SIZE_MAX = 1 << 20 };

const struct option_entry option_entries[] = {
#define TABLE_BEGIN(table, help) {#table, NULL, OPTION_STRING, 0, NULL, NULL, NULL, help},
#define OPTION(table, key, type, initial, minimum, maximum, help)                                            \
    {#table, #key, OPTION_##type, offsetof(struct config, table.key), initial, minimum, maximum, help},
#define TABLE_END(table)
#include "base/options.h"
#undef TABLE_BEGIN
#undef OPTION
#undef TABLE_END
};
const size_t option_count = sizeof option_entries / sizeof option_entries[0];

/* ---- error lines ---- */

/* Where a value comes from, and where complaints about it go. */
struct context {
    const char *file; /* NULL: a command line */
    unsigned line;
    const char *table;
    const char *key;
    char *error;
    size_t size;
};

static int complain(const struct context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...)
{
    size_t length = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

/* Always returns -EINVAL. */
static int complain(const struct context *context, const char *format, ...)
{
    char what[512] = "";
    va_list arguments;

    if (context->size == 0)
        return -EINVAL;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);

    context->error[0] = '\0';
    if (context->file != NULL)
        append(context->error, context->size, "%s:%u: ", context->file, context->line);
    if (context->table != NULL && context->file != NULL)
        append(context->error, context->size, "[%s] ", context->table);
    else if (context->table != NULL)
        append(context->error, context->size, "%s.", context->table);
    if (context->key != NULL)
        append(context->error, context->size, "%s: ", context->key);
    append(context->error, context->size, "%s", what);
    for (char *c = context->error; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    return -EINVAL;
}

/* ---- looking options up ---- */

static const struct option_entry *find_option(const char *table, const char *key)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        if (strcmp(entry->table, table) != 0)
            continue;
        if (key == NULL ? entry->key == NULL : entry->key != NULL && strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}

static int unknown_table(const struct context *context)
{
    char known[256] = "";

    for (size_t i = 0; i < option_count; i++) {
        if (option_entries[i].key == NULL)
            append(known, sizeof known, " [%s]", option_entries[i].table);
    }
    return complain(context, "unknown table: remove it or use one of%s", known);
}

static int unknown_key(const struct context *context)
{
    char known[256] = "";

    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        if (entry->key != NULL && strcmp(entry->table, context->table) == 0)
            append(known, sizeof known, "%s%s", known[0] == '\0' ? "" : ", ", entry->key);
    }
    return complain(context, "unknown key: remove it or use one of %s", known);
}

/* ---- values ---- */

/* TOML takes only valid UTF-8 (no surrogates, no overlong forms), so nothing else may get in by a command
 * line. */
static bool is_clean_text(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at != '\0') {
        unsigned first = *at++;
        if (first < 0x20 || first == 0x7f)
            return false;
        if (first < 0x80)
            continue;
        int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        static const unsigned smallest[] = {0, 0x80, 0x800, 0x10000};
        unsigned code = first & (0x3fU >> more);
        if (first < 0xc2 || first > 0xf4)
            return false;
        for (int i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80)
                return false;
            code = code << 6 | (*at & 0x3fU);
        }
        if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);

    for (const char *word = choices; word != NULL; word = strchr(word, '|')) {
        word += *word == '|';
        if (length > 0 && strcspn(word, "|") == length && strncmp(word, text, length) == 0)
            return true;
    }
    return false;
}

static int parse_integer(const char *text, uint64_t *value)
{
    char *end;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*end != '\0')
        return -EINVAL;
    if (errno == ERANGE)
        return -ERANGE;
    *value = number;
    return 0;
}

/* Reads a number in the option's own notation. */
static int parse_number(enum option_type type, const char *text, uint64_t *value)
{
    switch (type) {
    case OPTION_INTEGER:
        return parse_integer(text, value);
    case OPTION_DURATION:
        return quantity_parse_duration(text, value);
    default:
        return quantity_parse_size(text, value);
    }
}

static const char *expectation(enum option_type type)
{
    switch (type) {
    case OPTION_STRING:
        return "a string of at most 255 bytes of UTF-8 without control characters";
    case OPTION_CHOICE:
        return "a string";
    case OPTION_INTEGER:
        return "a whole number";
    case OPTION_SIZE:
    case OPTION_POWER:
        return "a size such as \"64KiB\" or \"1GiB\"";
    case OPTION_DURATION:
        return "a duration such as \"10s\" or \"500us\"";
    case OPTION_BOOLEAN:
        return "true or false";
    }
    return "";
}

static int assign_number(struct config *config, const struct option_entry *entry, const char *text,
                         const struct context *context)
{
    uint64_t value, minimum, maximum;
    int status = parse_number(entry->type, text, &value);

    if (status == -EINVAL)
        return complain(context, "\"%s\" is not valid: use %s", text, expectation(entry->type));
    parse_number(entry->type, entry->minimum, &minimum);
    parse_number(entry->type, entry->maximum, &maximum);
    if (status != 0 || value < minimum || value > maximum)
        return complain(context, "%s is out of range: use %s to %s", text, entry->minimum, entry->maximum);
    if (entry->type == OPTION_POWER && (value & (value - 1)) != 0)
        return complain(context, "%s is not a power of two: use %s to %s in powers of two", text,
                        entry->minimum, entry->maximum);
    memcpy((char *)config + entry->offset, &value, sizeof value);
    return 0;
}

static int assign(struct config *config, const struct option_entry *entry, const char *text,
                  const struct context *context)
{
    char *member = (char *)config + entry->offset;

    switch (entry->type) {
    case OPTION_CHOICE:
        if (!is_choice(entry->minimum, text))
            return complain(context, "\"%s\" is not valid: use one of %s", text, entry->minimum);
        break;
    case OPTION_STRING:
        if (strlen(text) >= CONFIG_STRING_SIZE || !is_clean_text(text))
            return complain(context, "value is not valid: use %s", expectation(entry->type));
        break;
    case OPTION_BOOLEAN:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return complain(context, "\"%s\" is not valid: use true or false", text);
        *(bool *)member = text[0] == 't';
        return 0;
    default:
        return assign_number(config, entry, text, context);
    }
    memset(member, 0, CONFIG_STRING_SIZE);
    memcpy(member, text, strlen(text));
    return 0;
}

void option_format(const struct config *config, const struct option_entry *entry, char *text, size_t size)
{
    const char *member = (const char *)config + entry->offset;
    uint64_t number = 0;

    switch (entry->type) {
    case OPTION_STRING:
    case OPTION_CHOICE:
        snprintf(text, size, "%s", member);
        return;
    case OPTION_BOOLEAN:
        snprintf(text, size, "%s", *(const bool *)member ? "true" : "false");
        return;
    default:
        break;
    }
    memcpy(&number, member, sizeof number);
    if (entry->type == OPTION_INTEGER)
        snprintf(text, size, "%" PRIu64, number);
    else if (entry->type == OPTION_DURATION)
        quantity_format_duration(number, text, size);
    else
        quantity_format_size(number, text, size);
}

void config_defaults(struct config *config)
{
    const struct context nowhere = {0};

    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < option_count; i++) {
        if (option_entries[i].key != NULL)
            assign(config, &option_entries[i], option_entries[i].initial, &nowhere);
    }
}

/* ---- from a command line ---- */

int config_set(struct config *config, const char *table, const char *key, const char *value, char *error,
               size_t size)
{
    const struct context context = {.table = table, .key = key, .error = error, .size = size};
    const struct option_entry *entry = find_option(table, key);

    if (find_option(table, NULL) == NULL)
        return unknown_table(&context);
    if (entry == NULL)
        return unknown_key(&context);
    return assign(config, entry, value, &context);
}

/* ---- from a file ---- */

struct reading {
    struct config config;
    struct context context;
};

static bool kind_fits(enum option_type type, enum toml_kind kind)
{
    switch (type) {
    case OPTION_INTEGER:
        return kind == TOML_INTEGER;
    case OPTION_SIZE:
    case OPTION_POWER:
        return kind == TOML_INTEGER || kind == TOML_STRING;
    case OPTION_BOOLEAN:
        return kind == TOML_BOOLEAN;
    default:
        return kind == TOML_STRING;
    }
}

static int visit(void *owner, const struct toml_entry *found)
{
    struct reading *reading = owner;
    struct context *context = &reading->context;
    char number[32];
    const char *text = found->string;

    context->line = found->line;
    context->table = found->table;
    context->key = found->key;
    if (found->table == NULL && found->kind != TOML_TABLE)
        return complain(context, "key outside of any table: put it below [cluster], [server] or [store]");
    if (found->table == NULL) {
        context->table = found->key;
        context->key = NULL;
        return find_option(found->key, NULL) != NULL ? 0 : unknown_table(context);
    }

    const struct option_entry *entry = find_option(found->table, found->key);
    if (entry == NULL)
        return unknown_key(context);
    if (!kind_fits(entry->type, found->kind))
        return complain(context, "wrong type, this is a TOML %s: use %s", found->kind_name,
                        expectation(entry->type));
    if (found->kind == TOML_STRING && strlen(found->string) != found->string_length)
        return complain(context, "value holds a NUL character: use %s", expectation(entry->type));
    if (found->kind == TOML_BOOLEAN) {
        text = found->boolean ? "true" : "false";
    } else if (found->kind == TOML_INTEGER) {
        if (found->integer < 0)
            return complain(context, "%" PRIi64 " is out of range: use %s to %s", found->integer,
                            entry->minimum, entry->maximum);
        snprintf(number, sizeof number, "%" PRIi64, found->integer);
        text = number;
    }
    return assign(&reading->config, entry, text, context);
}

int config_read_text(struct config *config, const char *name, const char *text, size_t length, char *error,
                     size_t size)
{
    struct reading reading = {
        .config = *config,
        .context = {.file = name, .error = error, .size = size},
    };
    char reason[256] = "";
    unsigned line = 0;

    if (size > 0)
        error[0] = '\0';
    int status = toml_parse(text, length, visit, &reading, &line, reason, sizeof reason);
    if (status == 0) {
        *config = reading.config;
    } else if (reason[0] != '\0') {
        reading.context.line = line;
        reading.context.table = NULL;
        reading.context.key = NULL;
        complain(&reading.context, "not valid TOML: %s: correct it", reason);
    } else if (status == -ENOMEM) {
        snprintf(error, size, "%s: out of memory", name);
    }
    return status;
}

int config_read_file(struct config *config, const char *path, char *error, size_t size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        int status = -errno;
        snprintf(error, size, "%s: cannot open: %s: give the path of a readable TOML file", path,
                 strerror(-status));
        return status;
    }

    char *bytes = malloc(FILE_SIZE_MAX + 1);
    ssize_t length = bytes == NULL ? -ENOMEM : descriptor_read(descriptor, bytes, FILE_SIZE_MAX + 1);
    close(descriptor);
    int status = (int)length;
    if (length < 0) {
        snprintf(error, size, "%s: cannot read: %s: give the path of a readable TOML file", path,
                 strerror(-status));
    } else if (length > FILE_SIZE_MAX) {
        snprintf(error, size, "%s: larger than 1 MiB: give the path of a BenchFS configuration file", path);
        status = -EINVAL;
    } else {
        status = config_read_text(config, path, bytes, (size_t)length, error, size);
    }
    free(bytes);
    return status;
}
