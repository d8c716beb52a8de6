/* UTF-8 is what terminals of today read, and they obey the control characters beyond ASCII (U+0080 to U+009F)
 * as they do the others: U+009B begins a sequence as ESC [ does. Marks that turn the direction of writing
 * would reach into the columns behind.
 *
 * How wide a character is, is said by Unicode's Standard Annex 11 (East Asian Width); here by blocks, not by
 * characters. A terminal that thinks otherwise of one is a column off in that line. */
#include "base/terminal.h"

#define CONTINUED(byte) (((unsigned char)(byte)&0xC0u) == 0x80u)

/* Bytes of a sequence whose first byte is this; 0: none begins so. */
static size_t sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC2)
        return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

/* *length: of the sequence; returns UINT32_MAX if it is not UTF-8. */
static uint32_t decode(const char *text, size_t *length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)text[0];
    *length = sequence_length(first);
    if (*length == 1)
        return first;
    if (*length == 0)
        return UINT32_MAX;
    uint32_t point = first & (0x7Fu >> *length);
    for (size_t i = 1; i < *length; i++) {
        if (!CONTINUED(text[i])) /* also at the end of the text */
            return UINT32_MAX;
        point = point << 6 | ((unsigned char)text[i] & 0x3Fu);
    }
    bool valid = point >= least[*length] && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
    return valid ? point : UINT32_MAX;
}

static bool is_within(uint32_t point, const uint32_t (*ranges)[2], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (point >= ranges[i][0] && point <= ranges[i][1])
            return true;
    return false;
}
#define WITHIN(point, ranges) is_within(point, ranges, sizeof(ranges) / sizeof((ranges)[0]))

struct terminal_character terminal_character(const char *text)
{
    static const uint32_t controls[][2] = {
        {0x00, 0x1F}, {0x7F, 0x9F}, {0x200E, 0x200F}, {0x2028, 0x202E}, {0x2066, 0x2069}};
    static const uint32_t marks[][2] = {
        {0x300, 0x36F}, {0x200B, 0x200D}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};
    static const uint32_t wide[][2] = {{0x1100, 0x115F},   {0x2E80, 0x303E},  {0x3041, 0xA4CF},
                                       {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},  {0xFE30, 0xFE6F},
                                       {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},  {0x1F300, 0x1F64F},
                                       {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    size_t length;
    if (*text == '\0')
        return (struct terminal_character){0};
    uint32_t point = decode(text, &length);
    if (point == UINT32_MAX)
        return (struct terminal_character){.bytes = 1, .columns = 1};
    if (WITHIN(point, controls))
        return (struct terminal_character){.bytes = length, .columns = 1};
    uint32_t columns = point < 0x300 ? 1 : WITHIN(point, marks) ? 0 : WITHIN(point, wide) ? 2 : 1;
    return (struct terminal_character){.bytes = length, .columns = columns, .shown = true};
}

size_t terminal_columns(const char *text)
{
    size_t columns = 0;
    for (struct terminal_character next; (next = terminal_character(text)).bytes != 0; text += next.bytes)
        columns += next.columns;
    return columns;
}
