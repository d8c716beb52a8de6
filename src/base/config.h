/* Configuration: TOML files and one option table (base/options.h), from which parser, --help, man page and
 * example file come. An unknown table or key, a wrong type or a value out of range is an error naming file,
 * line and key. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_STRING_SIZE 256 /* bytes of a STRING or CHOICE member, with its NUL */

/* One member struct per table, one member per key, for example config.store.capacity (uint64_t, bytes):
 * STRING and CHOICE are char[256]; INTEGER, SIZE, POWER (bytes) and DURATION (nanoseconds) are uint64_t;
 * BOOLEAN is bool. */
#define CONFIG_MEMBER_STRING(key) char key[CONFIG_STRING_SIZE]
#define CONFIG_MEMBER_CHOICE(key) char key[CONFIG_STRING_SIZE]
#define CONFIG_MEMBER_INTEGER(key) uint64_t key
#define CONFIG_MEMBER_SIZE(key) uint64_t key
#define CONFIG_MEMBER_POWER(key) uint64_t key
#define CONFIG_MEMBER_DURATION(key) uint64_t key
#define CONFIG_MEMBER_BOOLEAN(key) bool key

struct config {
#define TABLE_BEGIN(table, help) struct {
#define OPTION(table, key, type, initial, minimum, maximum, help) CONFIG_MEMBER_##type(key);
#define TABLE_END(table)                                                                                     \
    }                                                                                                        \
    table;
#include "base/options.h"
#undef TABLE_BEGIN
#undef OPTION
#undef TABLE_END
};

void config_defaults(struct config *config);

/* Reads a TOML file over what config holds. On failure returns -errno (-EINVAL for content), config is
 * unchanged and error holds one line: "file:line: [table] key: what is wrong: what to do". */
int config_read_file(struct config *config, const char *path, char *error, size_t size);

/* The same from memory; name stands for the file in error lines. */
int config_read_text(struct config *config, const char *name, const char *text, size_t length, char *error,
                     size_t size);

/* Sets one option from text, as "--set table.key=value" on a command line does. Same errors, without file and
 * line. */
int config_set(struct config *config, const char *table, const char *key, const char *value, char *error,
               size_t size);

/* Text made from the option table. */
void config_print_help(FILE *out);    /* for --help */
void config_print_man(FILE *out);     /* section body in mdoc(7) */
void config_print_example(FILE *out); /* benchfs.toml.example */
/* Writes the full configuration as TOML that config_read_file reads back to the same values. */
void config_print(const struct config *config, FILE *out);
