/* A C interface to the TOML parser (toml++), as far as configuration files need it: tables of plain values.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum toml_kind { TOML_TABLE, TOML_STRING, TOML_INTEGER, TOML_BOOLEAN, TOML_OTHER };

/* One top-level key, or one key of a top-level table. Pointers are valid during the visit only. */
struct toml_entry {
    const char *table; /* NULL: the key stands outside of any table, or is itself a table */
    const char *key;
    enum toml_kind kind;
    const char *kind_name; /* "array", "local date", ... */
    unsigned line;
    const char *string; /* TOML_STRING: NUL-terminated UTF-8; may also hold NUL inside */
    size_t string_length;
    int64_t integer;
    bool boolean;
};

/* Returns 0 to go on, or a negative errno, which toml_parse then returns. */
typedef int (*toml_visitor)(void *owner, const struct toml_entry *entry);

/* Parses length bytes of TOML and visits all entries of the document in the order of their lines. Returns 0;
 * -EINVAL: not TOML, *line and reason (size bytes, one line) say where and why; -ENOMEM; or what the visitor
 * returned. */
int toml_parse(const char *text, size_t length, toml_visitor visit, void *owner, unsigned *line, char *reason,
               size_t size);

#ifdef __cplusplus
}
#endif
