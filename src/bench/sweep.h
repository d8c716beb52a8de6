/* Options that may be given as lists: the product of their values, one combination at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWEEP_AXES_MAX 48u
#define SWEEP_VALUES_MAX 64u
#define SWEEP_COMBINATIONS_MAX 4096u

struct bench_option;

/* An option and the values to take; which member, its kind says. */
struct sweep_axis {
    const struct bench_option *option;
    bool in_turns; /* its values are measured in turns: no part of the product */
    uint32_t count;
    union {
        uint64_t numbers[SWEEP_VALUES_MAX];
        const char *texts[SWEEP_VALUES_MAX]; /* owned by the process, for good */
    };
};

struct sweep {
    uint32_t axis_count;
    struct sweep_axis axes[SWEEP_AXES_MAX]; /* the first varies most slowly */
};

/* Lets an option of kind BENCH_NUMBER, BENCH_SIZE, BENCH_DURATION or BENCH_TEXT be a list: until one is
 * given, of its default alone. */
void sweep_add(struct sweep *sweep, const struct bench_option *option);
/* NULL: the option cannot be a list. */
struct sweep_axis *sweep_find(struct sweep *sweep, const struct bench_option *option);
/* How many combinations there are; 0: more than SWEEP_COMBINATIONS_MAX. */
uint32_t sweep_count(const struct sweep *sweep);
/* Sets the options' variables to the values of a combination. */
void sweep_choose(const struct sweep *sweep, uint32_t combination);
/* The first value that the axis has twice, as text; false: there is none. */
bool sweep_repeated(const struct sweep_axis *axis, char *text, size_t size);
/* A value of the option as people write it. */
void sweep_format(const struct bench_option *option, uint64_t number, const char *text, char *out,
                  size_t size);
