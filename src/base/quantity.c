/* Sizes and durations in text.
 *
 * One table of units per kind serves both directions. Only whole numbers are taken, so what is written is
 * exact and reads back to the same value. Sizes know binary units only: a "GB" is refused rather than guessed
 * at. A duration without a unit is refused because nobody can tell seconds from milliseconds by looking at
 * it. */
#include "base/quantity.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    const char *alias;
    uint64_t factor;
};

/* Ascending; the first one is the base unit. */
static const struct unit size_units[] = {
    {"B", "", 1},
    {"KiB", "K", UINT64_C(1) << 10},
    {"MiB", "M", UINT64_C(1) << 20},
    {"GiB", "G", UINT64_C(1) << 30},
    {"TiB", "T", UINT64_C(1) << 40},
    {"PiB", "P", UINT64_C(1) << 50},
};

static const struct unit duration_units[] = {
    {"ns", "nsec", 1},
    {"us", "usec", UINT64_C(1000)},
    {"ms", "msec", UINT64_C(1000000)},
    {"s", "sec", UINT64_C(1000000000)},
    {"min", "m", UINT64_C(60000000000)},
    {"h", "hour", UINT64_C(3600000000000)},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int parse(const char *text, const struct unit *units, size_t count, bool zero_needs_no_unit,
                 uint64_t *value)
{
    uint64_t number = 0;
    bool too_large = false;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    for (; isdigit((unsigned char)*text); text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        too_large |= __builtin_mul_overflow(number, 10, &number);
        too_large |= __builtin_add_overflow(number, digit, &number);
    }
    while (*text == ' ')
        text++;

    for (size_t i = 0; i < count; i++) {
        bool matches = strcmp(text, units[i].name) == 0 || strcmp(text, units[i].alias) == 0 ||
                       (zero_needs_no_unit && number == 0 && *text == '\0');
        if (!matches)
            continue;
        if (too_large || __builtin_mul_overflow(number, units[i].factor, &number))
            return -ERANGE;
        *value = number;
        return 0;
    }
    return -EINVAL;
}

int quantity_parse_size(const char *text, uint64_t *bytes)
{
    return parse(text, size_units, COUNT(size_units), true, bytes);
}

int quantity_parse_duration(const char *text, uint64_t *ns)
{
    return parse(text, duration_units, COUNT(duration_units), true, ns);
}

static void format(uint64_t value, const struct unit *units, size_t count, char *text, size_t size)
{
    size_t i = count - 1;

    while (i > 0 && (value == 0 || value % units[i].factor != 0))
        i--;
    snprintf(text, size, "%" PRIu64 "%s", value / units[i].factor, value == 0 ? "" : units[i].name);
}

void quantity_format_size(uint64_t bytes, char *text, size_t size)
{
    format(bytes, size_units, COUNT(size_units), text, size);
}

void quantity_format_duration(uint64_t ns, char *text, size_t size)
{
    format(ns, duration_units, COUNT(duration_units), text, size);
}
