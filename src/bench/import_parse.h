/* Reading the output of IOR (3 and 4: what it prints, and its JSON summary) and mdtest. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/result.h"

#define IMPORT_TEXT_SIZE 512u
#define IMPORT_LINE_SIZE 4096u

/* A run that was found. Texts are printable. */
struct import_run {
    const char *benchmark; /* "ior" or "mdtest" */
    char version[64];      /* "IOR-4.0.0" */
    char time[32];         /* "2026-11-26T03:00:28", of a clock somewhere; "": unknown */
    char host[64];
    char command[IMPORT_TEXT_SIZE];
};

/* Takes what is found: first begin for each run, then its results, whose run, benchmark and target it may
 * set. target: "posix:/scratch/file", as far as the output tells. Returns 0 or -errno, which ends the
 * reading. */
struct import_sink {
    int (*begin)(void *argument, const struct import_run *run);
    int (*result)(void *argument, struct result *result, const char *target);
    void *argument;
};

/* The text of a file. Returns 0; -EINVAL: it is none of these, or has no results, or some that make no sense:
 * then error says why ("line 7: ..."); or what the sink returned. */
int import_parse(const char *bytes, size_t length, const struct import_sink *sink, char *error, size_t size);

/* ---- inside ---- */

struct import_text {
    const char *bytes;
    size_t length, at;
    unsigned line; /* number of the last line that was read */
    const struct import_sink *sink;
    unsigned results;
    char started[32]; /* the last "-- started at", which mdtest prints before its own head */
    char *error;
    size_t error_size;
};

/* The next line without its end, cut at `size`; what cannot be printed becomes '?'. False: there is none. */
bool import_line(struct import_text *text, char *line, size_t size);
/* Notes the reason with the line's number. Returns -EINVAL. */
int import_fail(struct import_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "key   : value" or "key = value": whether the line has this key; then its value without blanks around. */
bool import_value(const char *line, const char *key, char *value, size_t size);
/* A number of 0 or more that is all of the word. */
bool import_number(const char *word, double *number);
/* "64 MiB", "65536 bytes", "64k": bytes; 0: none of these. */
uint64_t import_size(const char *text);
/* "Thu Nov 26 03:00:28 2026" or "11/26/2026 03:00:31" as in struct import_run; "" otherwise. */
void import_time(const char *text, char *time, size_t size);
/* Lower case. */
void import_target(const char *api, const char *path, char *target, size_t size);

/* Each reads on after its first line, to the end of the text or to the next head of a run. */
int import_ior(struct import_text *text, const char *first);
int import_mdtest(struct import_text *text, const char *first);
/* The whole text. */
int import_ior_json(struct import_text *text);

bool import_is_ior(const char *line);
bool import_is_mdtest(const char *line);
