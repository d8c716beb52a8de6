/* Lines of strace's output taken apart. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRACE_ARGUMENTS_MAX 8u

enum strace_kind {
    STRACE_CALL,       /* a whole one */
    STRACE_UNFINISHED, /* its beginning: text up to where it was interrupted */
    STRACE_RESUMED,    /* its rest */
    STRACE_EXIT,       /* the process has ended */
    STRACE_OTHER,      /* a signal, or words of strace's own */
};

struct strace_text {
    const char *text; /* in the line */
    size_t length;
};

struct strace_line {
    enum strace_kind kind;
    uint64_t process;        /* 0: not told, there is only one */
    uint64_t time;           /* ns */
    struct strace_text text; /* what follows the time; of RESUMED what follows "resumed>" */
};

struct strace_call {
    char name[32];
    uint32_t argument_count;
    struct strace_text arguments[STRACE_ARGUMENTS_MAX];
    bool returned;  /* false: "= ?" */
    int64_t result; /* -1 on failure */
    int error;      /* errno value */
};

/* Takes a line (without its end) apart. 0, or -EINVAL: strace -f -ttt prints no such line. */
int strace_line_parse(const char *line, size_t length, struct strace_line *parsed);
/* Takes the text of a whole call apart. Same results. */
int strace_call_parse(const char *text, size_t length, struct strace_call *call);

/* An argument that is a number, decimal or with "0x", in front of what strace says about it ("3</tmp/x>");
 * false: it is none. */
bool strace_number(const struct strace_text *argument, int64_t *number);
/* An argument that is a text in quotes, whole: its bytes, with an end. false: it is none, is cut ("..."), has
 * a byte 0, or does not fit. */
bool strace_string(const struct strace_text *argument, char *text, size_t size);
/* Whether the words, separated by |, of an argument include this one. */
bool strace_has(const struct strace_text *argument, const char *word);
