/* The option table as data, for the modules that read and print configurations. */
#pragma once

#include "base/config.h"

enum option_type {
    OPTION_STRING,
    OPTION_CHOICE,
    OPTION_INTEGER,
    OPTION_SIZE,
    OPTION_POWER,
    OPTION_DURATION,
    OPTION_BOOLEAN,
};

struct option_entry {
    const char *table;
    const char *key; /* NULL: begins the table, whose help is in help */
    enum option_type type;
    size_t offset; /* of the member in struct config */
    const char *initial;
    const char *minimum;
    const char *maximum;
    const char *help;
};

extern const struct option_entry option_entries[];
extern const size_t option_count;

/* Writes the option's value in config as text: what config_set takes. */
void option_format(const struct config *config, const struct option_entry *entry, char *text, size_t size);
