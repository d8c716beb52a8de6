/* Texts made from the option table: command-line help, manual, example file, and a configuration itself.
 *
 * The example file and config_print produce TOML that reads back to the same values; the example's are the
 * defaults. */
#include "base/option.h"

#include <ctype.h>
#include <string.h>

enum { WIDTH = 78 };

static bool is_numeric(enum option_type type)
{
    return type == OPTION_INTEGER || type == OPTION_SIZE || type == OPTION_POWER || type == OPTION_DURATION;
}

/* The words that stand for a value in a synopsis. */
static const char *placeholder(const struct option_entry *entry)
{
    switch (entry->type) {
    case OPTION_STRING:
        return "text";
    case OPTION_CHOICE:
        return entry->minimum;
    case OPTION_INTEGER:
        return "number";
    case OPTION_SIZE:
    case OPTION_POWER:
        return "size";
    case OPTION_DURATION:
        return "duration";
    case OPTION_BOOLEAN:
        return "true|false";
    }
    return "";
}

/* "(default 10s, 10ms to 1h)" */
static void print_limits(const struct option_entry *entry, char *text, size_t size)
{
    const char *initial = entry->initial[0] == '\0' ? "empty" : entry->initial;

    if (is_numeric(entry->type))
        snprintf(text, size, "(default %s, %s to %s)", initial, entry->minimum, entry->maximum);
    else
        snprintf(text, size, "(default %s)", initial);
}

/* Prints text in lines of at most WIDTH columns, each after prefix. */
static void print_wrapped(FILE *out, const char *prefix, const char *text)
{
    size_t room = WIDTH - strlen(prefix);

    while (*text != '\0') {
        size_t length = strlen(text);
        if (length > room) {
            length = room;
            while (length > 0 && text[length] != ' ')
                length--;
            if (length == 0)
                length = strcspn(text, " ");
        }
        fprintf(out, "%s%.*s\n", prefix, (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}

static void describe(const struct option_entry *entry, char *text, size_t size)
{
    char limits[128];

    print_limits(entry, limits, sizeof limits);
    snprintf(text, size, "%s %s", entry->help, limits);
}

void config_print_help(FILE *out)
{
    char text[1024];

    fputs("Options, as TABLE.KEY=VALUE with --set, or in a configuration file (benchfs.toml(5)):\n", out);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        if (entry->key == NULL) {
            fprintf(out, "\n[%s] %s\n", entry->table, entry->help);
            continue;
        }
        fprintf(out, "  %s.%s=%s\n", entry->table, entry->key, placeholder(entry));
        describe(entry, text, sizeof text);
        print_wrapped(out, "      ", text);
    }
}

/* Text for mdoc: what troff would interpret is escaped, and each sentence begins a line, as mdoc wants. */
static void print_mdoc(FILE *out, const char *text)
{
    char sentence[2048];
    size_t length = 0;

    for (; *text != '\0'; text++) {
        const char *escaped = NULL;
        if (length + 4 >= sizeof sentence)
            break;
        if (*text == '\\')
            escaped = "\\e";
        else if (*text == '"')
            escaped = "\\(dq";
        else if (*text == '-')
            escaped = "\\-";
        else if ((*text == '.' || *text == '\'') && (length == 0 || sentence[length - 1] == ' '))
            escaped = *text == '.' ? "\\&." : "\\&'"; /* may come to stand at the beginning of a line */
        length +=
            (size_t)snprintf(sentence + length, sizeof sentence - length, "%.*s",
                             escaped != NULL ? (int)strlen(escaped) : 1, escaped != NULL ? escaped : text);
        if (*text == '.' && text[1] == ' ' && isalpha((unsigned char)text[2])) {
            print_wrapped(out, "", sentence);
            length = 0;
            text++;
        }
    }
    if (length > 0)
        print_wrapped(out, "", sentence);
}

void config_print_man(FILE *out)
{
    char text[1024];
    bool open = false;

    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        if (entry->key == NULL) {
            if (open)
                fputs(".El\n", out);
            fprintf(out, ".Ss [%s]\\&\n", entry->table);
            print_mdoc(out, entry->help);
            fputs(".Bl -tag -width Ds\n", out);
            open = true;
            continue;
        }
        fprintf(out, ".It Cm %s No = Ar %s\n", entry->key, placeholder(entry));
        print_mdoc(out, entry->help);
        print_limits(entry, text, sizeof text);
        print_mdoc(out, text);
    }
    if (open)
        fputs(".El\n", out);
}

/* A key and its value as TOML. Strings hold no control characters, so only two characters need escaping. */
static void print_assignment(FILE *out, const struct config *config, const struct option_entry *entry)
{
    char text[CONFIG_STRING_SIZE];

    option_format(config, entry, text, sizeof text);
    fprintf(out, "%s = ", entry->key);
    if (entry->type == OPTION_INTEGER || entry->type == OPTION_BOOLEAN) {
        fprintf(out, "%s\n", text);
        return;
    }
    fputc('"', out);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', out);
        fputc(*c, out);
    }
    fputs("\"\n", out);
}

void config_print_example(FILE *out)
{
    struct config config;
    char text[1024];

    config_defaults(&config);
    fputs("# BenchFS configuration, with every option at its default: see benchfs.toml(5).\n", out);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        fputc('\n', out);
        if (entry->key == NULL) {
            print_wrapped(out, "# ", entry->help);
            fprintf(out, "[%s]\n", entry->table);
            continue;
        }
        if (entry->type == OPTION_CHOICE)
            snprintf(text, sizeof text, "%s One of %s.", entry->help, entry->minimum);
        else
            describe(entry, text, sizeof text);
        print_wrapped(out, "# ", text);
        print_assignment(out, &config, entry);
    }
}

void config_print(const struct config *config, FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        if (entry->key == NULL)
            fprintf(out, "%s[%s]\n", i == 0 ? "" : "\n", entry->table);
        else
            print_assignment(out, config, entry);
    }
}
