/* What the readers of foreign outputs share. The texts are made for people: columns are found by their heads,
 * values by their keys, and whatever else stands between is passed over, because programs and job systems
 * write into the same file. */
#include "bench/import_parse.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

bool import_line(struct import_text *text, char *line, size_t size)
{
    if (text->at >= text->length)
        return false;
    const char *start = text->bytes + text->at;
    const char *end = memchr(start, '\n', text->length - text->at);
    size_t length = end != NULL ? (size_t)(end - start) : text->length - text->at;
    text->at += length + 1;
    text->line++;
    if (length > 0 && start[length - 1] == '\r')
        length--;
    length = length < size - 1 ? length : size - 1;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)start[i];
        line[i] = byte == '\t' ? ' ' : byte < 0x20 || byte > 0x7e ? '?' : start[i];
    }
    line[length] = 0;
    return true;
}

int import_fail(struct import_text *text, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    snprintf(text->error, text->error_size, "line %u: %s", text->line, reason);
    return -EINVAL;
}

bool import_value(const char *line, const char *key, char *value, size_t size)
{
    while (*line == ' ')
        line++;
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0)
        return false;
    line += length;
    while (*line == ' ')
        line++;
    if (*line != ':' && *line != '=')
        return false;
    line++;
    while (*line == ' ')
        line++;
    snprintf(value, size, "%s", line);
    for (length = strlen(value); length > 0 && value[length - 1] == ' '; length--)
        value[length - 1] = 0;
    return true;
}

bool import_number(const char *word, double *number)
{
    char *end;
    if (!isdigit((unsigned char)word[0]))
        return false;
    *number = strtod(word, &end);
    return *end == 0 && isfinite(*number);
}

uint64_t import_size(const char *text)
{
    static const char units[] = "kmgtp";
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return 0;
    double value = strtod(text, &end);
    while (*end == ' ')
        end++;
    const char *unit = *end == 0 ? NULL : strchr(units, tolower((unsigned char)*end));
    if (unit != NULL)
        value = ldexp(value, 10 * (int)(unit - units + 1));
    else if (*end != 0 && strncmp(end, "bytes", 5) != 0 && strcmp(end, "B") != 0)
        return 0;
    return value >= 0.0 && value < 0x1p62 ? (uint64_t)llround(value) : 0;
}

void import_time(const char *text, char *time, size_t size)
{
    static const char *const forms[] = {"%a %b %d %H:%M:%S %Y", "%m/%d/%Y %H:%M:%S"};
    time[0] = 0;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm parts = {0};
        if (strptime(text, forms[i], &parts) != NULL) {
            strftime(time, size, "%Y-%m-%dT%H:%M:%S", &parts);
            return;
        }
    }
}

void import_target(const char *api, const char *path, char *target, size_t size)
{
    snprintf(target, size, "%s:%s", api, path);
    for (char *at = target; *at != 0 && *at != ':'; at++)
        *at = (char)tolower((unsigned char)*at);
}

int import_parse(const char *bytes, size_t length, const struct import_sink *sink, char *error, size_t size)
{
    char line[IMPORT_LINE_SIZE];
    struct import_text text = {
        .bytes = bytes, .length = length, .sink = sink, .error = error, .error_size = size};
    size_t blank = 0;
    while (blank < length && isspace((unsigned char)bytes[blank]))
        blank++;
    if (blank < length && bytes[blank] == '{')
        return import_ior_json(&text);
    int status = 0;
    bool more = import_line(&text, line, sizeof(line));
    while (more && status == 0) {
        if (import_is_ior(line))
            status = import_ior(&text, line);
        else if (import_is_mdtest(line))
            status = import_mdtest(&text, line);
        else if (strncmp(line, "-- started at ", 14) == 0)
            import_time(line + 14, text.started, sizeof(text.started));
        more = import_line(&text, line, sizeof(line));
    }
    if (status == 0 && text.results == 0) {
        snprintf(error, size, "neither IOR nor mdtest printed results here");
        return -EINVAL;
    }
    return status;
}
