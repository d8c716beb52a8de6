/* Options of the benchmarks: one table per benchmark gives parser and --help. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_exit { BENCH_OK = 0, BENCH_FAILED = 1, BENCH_USAGE = 2 };

enum bench_option_kind {
    BENCH_FLAG,     /* bool */
    BENCH_NUMBER,   /* uint64_t */
    BENCH_SIZE,     /* uint64_t, "4KiB" */
    BENCH_DURATION, /* uint64_t ns, "2s" */
    BENCH_REAL,     /* double */
    BENCH_TEXT,     /* const char * */
    BENCH_PATH,     /* const char *; never taken apart at commas */
    BENCH_SIZES,    /* struct bench_list of sizes, "0,4KiB,1MiB" */
    BENCH_NUMBERS,  /* struct bench_list of numbers, "1,8" */
    BENCH_TEXTS,    /* struct bench_list of texts; the option may be repeated */
};

#define BENCH_LIST_MAX 64

struct bench_list {
    uint32_t count;
    union {
        uint64_t sizes[BENCH_LIST_MAX];
        const char *texts[BENCH_LIST_MAX];
    };
};

struct bench_option {
    const char *name; /* without "--" */
    enum bench_option_kind kind;
    void *value;      /* holds the default */
    uint64_t minimum; /* of numbers, sizes, durations and reals */
    uint64_t maximum;
    const char *argument; /* its name in --help */
    const char *help;
};

struct sweep;

/* Arguments that are no options. */
struct bench_operands {
    uint32_t count;
    const char *texts[BENCH_LIST_MAX];
    bool (*ends)(const char *operand); /* whether it and what follows are for somebody else; NULL: never */
    int rest;                          /* where that is in argv; 0: nowhere */
};

struct bench_verb {
    const char *name;
    const char *help;                       /* one line */
    const struct bench_option *options;     /* ends with name NULL */
    struct sweep *sweep;                    /* which of them may be lists, and are then; NULL: none */
    struct bench_operands *operands;        /* NULL: there are none */
    const char *usage;                      /* of the operands, for --help */
    int (*run)(void);                       /* with the options parsed; returns a bench_exit */
    int (*run_with)(int argc, char **argv); /* in place of run, for a verb that wants to see them */
};

/* Parses argv[1..]. Returns -1: go on; otherwise the exit status (0 after --help, BENCH_USAGE after one line
 * on standard error). */
int bench_options_parse(const struct bench_verb *verb, int argc, char **argv);
/* Gives an option that may be a list another default, which must be right. */
void bench_options_default(const struct bench_verb *verb, const char *name, const char *list);
void bench_options_help(const struct bench_verb *verb);

/* "benchfs bench VERB: text" on standard error. */
void bench_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* From now on lines of this process and of those that it forks are kept, the last one in place of those
 * before; bench_error_tell writes it, if there is one. */
void bench_error_keep(void);
void bench_error_tell(void);
/* The name that bench_error puts in front. */
void bench_error_name(const char *verb);
