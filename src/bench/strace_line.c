/* The form of strace's lines:
 *
 *   [PID] SECONDS.MICROSECONDS call(ARGUMENT, ...) = RESULT [ERROR (text)]
 *   [PID] SECONDS.MICROSECONDS call(ARGUMENT, ... <unfinished ...>
 *   [PID] SECONDS.MICROSECONDS <... call resumed>, ARGUMENT) = RESULT
 *   [PID] SECONDS.MICROSECONDS --- SIGCHLD {...} ---
 *   [PID] SECONDS.MICROSECONDS +++ exited with 0 +++
 *
 * where PID is "123" with -o and "[pid 123]" without. */
#include "bench/strace_line.h"

#include <errno.h>
#include <string.h>

#define ERRNO_MAX 133
#define NUMBER_MAX (INT64_MAX / 10 - 1)

struct cursor {
    const char *at, *end;
};

static void skip_spaces(struct cursor *cursor)
{
    while (cursor->at < cursor->end && *cursor->at == ' ')
        cursor->at++;
}

static bool is_digit(const struct cursor *cursor)
{
    return cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9';
}

static bool take_number(struct cursor *cursor, uint64_t *number)
{
    if (!is_digit(cursor))
        return false;
    for (*number = 0; is_digit(cursor); cursor->at++) {
        if (*number > NUMBER_MAX)
            return false;
        *number = *number * 10 + (uint64_t)(*cursor->at - '0');
    }
    return true;
}

static bool starts(const struct cursor *cursor, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(cursor->end - cursor->at) >= length && memcmp(cursor->at, text, length) == 0;
}

static bool take(struct cursor *cursor, const char *text)
{
    if (!starts(cursor, text))
        return false;
    cursor->at += strlen(text);
    return true;
}

/* Seconds with a fraction, in ns. */
static bool take_time(struct cursor *cursor, uint64_t *time)
{
    uint64_t seconds, scale = 1000000000, fraction = 0;
    if (!take_number(cursor, &seconds) || seconds > UINT64_C(9000000000) || !take(cursor, "."))
        return false;
    if (!is_digit(cursor))
        return false;
    for (; is_digit(cursor) && scale > 1; cursor->at++) {
        scale /= 10;
        fraction += (uint64_t)(*cursor->at - '0') * scale;
    }
    *time = seconds * 1000000000 + fraction;
    return take(cursor, " ");
}

static bool take_process(struct cursor *cursor, uint64_t *process)
{
    *process = 0;
    skip_spaces(cursor);
    if (take(cursor, "[pid ")) {
        skip_spaces(cursor);
        return take_number(cursor, process) && take(cursor, "] ");
    }
    struct cursor ahead = *cursor;
    uint64_t number;
    if (!take_number(&ahead, &number) || !starts(&ahead, " "))
        return true; /* the time comes first */
    skip_spaces(&ahead);
    *process = number;
    *cursor = ahead;
    return true;
}

int strace_line_parse(const char *line, size_t length, struct strace_line *parsed)
{
    static const char unfinished[] = "<unfinished ...>";
    struct cursor cursor = {line, line + length};
    *parsed = (struct strace_line){.kind = STRACE_OTHER};
    if (length == 0 || starts(&cursor, "strace: "))
        return 0;
    if (!take_process(&cursor, &parsed->process))
        return -EINVAL;
    skip_spaces(&cursor);
    if (!take_time(&cursor, &parsed->time))
        return -EINVAL;
    skip_spaces(&cursor);
    while (cursor.end > cursor.at && (cursor.end[-1] == ' ' || cursor.end[-1] == '\r'))
        cursor.end--;
    if (starts(&cursor, "--- "))
        return 0;
    if (starts(&cursor, "+++ ")) {
        parsed->kind = STRACE_EXIT;
        return 0;
    }
    parsed->kind = STRACE_CALL;
    if (take(&cursor, "<... ")) {
        const char *end = memmem(cursor.at, (size_t)(cursor.end - cursor.at), " resumed>", 9);
        if (end == NULL)
            return -EINVAL;
        cursor.at = end + 9;
        parsed->kind = STRACE_RESUMED;
    } else if ((size_t)(cursor.end - cursor.at) >= sizeof(unfinished) - 1 &&
               memcmp(cursor.end - (sizeof(unfinished) - 1), unfinished, sizeof(unfinished) - 1) == 0) {
        cursor.end -= sizeof(unfinished) - 1;
        parsed->kind = STRACE_UNFINISHED;
    }
    parsed->text = (struct strace_text){cursor.at, (size_t)(cursor.end - cursor.at)};
    return 0;
}

/* Behind a text in quotes; false: it does not end. */
static bool skip_quoted(struct cursor *cursor)
{
    for (cursor->at++; cursor->at < cursor->end && *cursor->at != '"'; cursor->at++)
        cursor->at += *cursor->at == '\\';
    if (cursor->at >= cursor->end)
        return false;
    cursor->at++;
    return true;
}

/* One argument: up to a comma or the closing parenthesis that are not inside brackets or quotes. */
static bool take_argument(struct cursor *cursor, struct strace_text *argument)
{
    unsigned depth = 0;
    skip_spaces(cursor);
    argument->text = cursor->at;
    while (cursor->at < cursor->end) {
        char byte = *cursor->at;
        if (depth == 0 && (byte == ',' || byte == ')'))
            break;
        if (byte == '"') {
            if (!skip_quoted(cursor))
                return false;
            continue;
        }
        if (byte == '(' || byte == '[' || byte == '{')
            depth++;
        else if ((byte == ')' || byte == ']' || byte == '}') && depth > 0)
            depth--;
        cursor->at++;
    }
    argument->length = (size_t)(cursor->at - argument->text);
    return cursor->at < cursor->end;
}

static int error_of(struct cursor *cursor)
{
    size_t length = 0;
    skip_spaces(cursor);
    while (cursor->at + length < cursor->end && cursor->at[length] != ' ')
        length++;
    for (int error = 1; error <= ERRNO_MAX; error++) {
        const char *known = strerrorname_np(error);
        if (known != NULL && strlen(known) == length && memcmp(known, cursor->at, length) == 0)
            return error;
    }
    return EIO;
}

static int take_result(struct cursor *cursor, struct strace_call *call)
{
    uint64_t number = 0;
    skip_spaces(cursor);
    if (!take(cursor, "="))
        return -EINVAL;
    skip_spaces(cursor);
    if (take(cursor, "?"))
        return 0;
    call->returned = true;
    if (take(cursor, "-1")) {
        call->result = -1;
        call->error = error_of(cursor);
        return 0;
    }
    if (starts(cursor, "0x")) /* an address */
        return 0;
    if (!take_number(cursor, &number))
        return -EINVAL;
    call->result = (int64_t)number;
    return 0;
}

int strace_call_parse(const char *text, size_t length, struct strace_call *call)
{
    struct cursor cursor = {text, text + length};
    size_t name = 0;
    *call = (struct strace_call){0};
    while (name < length && text[name] != '(')
        name++;
    if (name == 0 || name == length || name >= sizeof(call->name))
        return -EINVAL;
    memcpy(call->name, text, name);
    cursor.at += name + 1;
    for (;;) {
        struct strace_text argument;
        if (!take_argument(&cursor, &argument))
            return -EINVAL;
        if (argument.length > 0 && call->argument_count < STRACE_ARGUMENTS_MAX)
            call->arguments[call->argument_count++] = argument;
        if (*cursor.at++ == ')')
            break;
    }
    return take_result(&cursor, call);
}

/* Behind "0x". */
static bool take_hexadecimal(struct cursor *cursor, int64_t *number)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;
    uint32_t count = 0;
    for (const char *digit; cursor->at < cursor->end && *cursor->at != 0 &&
                            (digit = strchr(digits, *cursor->at)) != NULL && count < 16;
         cursor->at++, count++)
        value = value << 4 | (uint64_t)(digit - digits);
    *number = (int64_t)value;
    return count > 0;
}

bool strace_number(const struct strace_text *argument, int64_t *number)
{
    struct cursor cursor = {argument->text, argument->text + argument->length};
    bool negative = take(&cursor, "-");
    uint64_t value;
    if (take(&cursor, "0x"))
        return take_hexadecimal(&cursor, number);
    if (!take_number(&cursor, &value))
        return false;
    *number = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

/* The byte that an escape stands for; at is behind the backslash. */
static bool take_escape(struct cursor *cursor, char *byte)
{
    static const char names[] = "abfnrtv", values[] = "\a\b\f\n\r\t\v";
    unsigned value = 0, digits = 0;
    if (cursor->at == cursor->end)
        return false;
    const char *name = *cursor->at != 0 ? strchr(names, *cursor->at) : NULL;
    if (name != NULL) {
        *byte = values[name - names];
        cursor->at++;
        return true;
    }
    if (take(cursor, "x")) {
        for (; digits < 2 && cursor->at < cursor->end; digits++, cursor->at++) {
            char digit = *cursor->at;
            if (digit >= '0' && digit <= '9')
                value = value * 16 + (unsigned)(digit - '0');
            else if (digit >= 'a' && digit <= 'f')
                value = value * 16 + (unsigned)(digit - 'a') + 10;
            else
                break;
        }
        *byte = (char)value;
        return digits > 0;
    }
    for (; digits < 3 && cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '7'; digits++)
        value = value * 8 + (unsigned)(*cursor->at++ - '0');
    *byte = digits > 0 ? (char)value : *cursor->at++;
    return true;
}

bool strace_string(const struct strace_text *argument, char *text, size_t size)
{
    struct cursor cursor = {argument->text, argument->text + argument->length};
    size_t length = 0;
    if (!take(&cursor, "\""))
        return false;
    while (cursor.at < cursor.end && *cursor.at != '"') {
        char byte = *cursor.at++;
        if (byte == '\\' && !take_escape(&cursor, &byte))
            return false;
        if (byte == 0 || length + 1 >= size)
            return false;
        text[length++] = byte;
    }
    text[length] = 0;
    return take(&cursor, "\"") && cursor.at == cursor.end;
}

bool strace_has(const struct strace_text *argument, const char *word)
{
    size_t length = strlen(word);
    const char *at = argument->text, *end = at + argument->length;
    while (at < end) {
        const char *bar = memchr(at, '|', (size_t)(end - at));
        size_t part = (size_t)((bar != NULL ? bar : end) - at);
        if (part == length && memcmp(at, word, length) == 0)
            return true;
        at += part + 1;
    }
    return false;
}
