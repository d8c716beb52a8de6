/* Configuration: TOML files and one option table, from which parser, --help, man page and example file come.
 * An unknown table or key, a wrong type or a value out of range is an error naming file, line and key. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*  OPTION(table, key, type, default, min, max, unit, help): types: STRING (char[256]; min/max unused), INTEGER,
 *  SIZE (bytes; "1GiB", "64 KiB" or an integer), DURATION (ns; "10s", "500us"), BOOLEAN, CHOICE (min = "a|b|c").
 *  The table itself is in base/options.h. */
struct config {
    struct {
        char servers[256];
        uint64_t server_count;
        char placement[256];
        uint64_t chunk_size;
    } cluster;
    struct {
        char listen[256];
        char log_level[256];
        char log_file[256];
        uint64_t spin;
        char transports[256];
        char devices[256];
        bool pin;
    } server;
    struct {
        char engine[256];
        char path[256];
        uint64_t capacity;
        char durability[256];
        bool prefault;
    } store;
    struct {
        uint64_t deadline;
        uint64_t rendezvous_threshold;
    } rpc;
    struct {
        uint64_t open_lease;
        uint64_t capacity;
    } meta;
    struct {
        uint64_t deadline;
        uint64_t spin;
    } client;
    struct {
        bool enabled;
    } metrics;
};

void config_defaults(struct config *config);

/* Reads a TOML file over what config holds. On failure returns -errno (-EINVAL for content), config is unchanged and error
 * holds one line: "file:line: [table] key: what is wrong: what to do". */
int config_read_file(struct config *config, const char *path, char *error, size_t size);

/* Sets one option from text, as "--table.key=value" on a command line does. Same errors. */
int config_set(struct config *config, const char *table, const char *key, const char *value, char *error,
               size_t size);

/* Text made from the option table. */
void config_print_help(FILE *out);    /* for --help */
void config_print_man(FILE *out);     /* roff section body */
void config_print_example(FILE *out); /* benchfs.toml.example */
/* Writes the full configuration as TOML that config_read_file reads back to the same values. */
void config_print(const struct config *config, FILE *out);
