/* Texts of others on a terminal: names of files may hold anything but '/' and NUL. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct terminal_character {
    size_t bytes;     /* of the text; 0: it is at its end */
    uint32_t columns; /* that it takes: 0 to 2 */
    bool shown;       /* false: a control character, one that turns the direction of writing, or no UTF-8; to
                         be shown as "?", which is what columns is of */
};

/* The first character of the text. */
struct terminal_character terminal_character(const char *text);
/* Columns that the text takes. */
size_t terminal_columns(const char *text);
