/* Trace entries as a file that Perfetto and chrome://tracing open: the Trace Event Format, JSON object form.
 * https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU */
#pragma once

#include <stdio.h>

#include "client/sources.h"

/* A region that entries come from. */
struct trace_track {
    struct metrics_header header; /* whose it is */
    bool remote;
    int64_t offset;        /* to be added to its times, ns */
    uint64_t offset_error; /* by how much that may be wrong */
    uint64_t pairs;        /* of times that it was estimated from */
    uint64_t contradictions;
    uint64_t lost; /* entries that were overwritten before they could be read */
};

struct trace_record {
    struct metrics_entry entry;
    uint32_t track;
};

struct trace {
    struct trace_track *tracks;
    uint32_t track_count;
    struct trace_record *records;
    uint64_t record_count, record_room;
    uint64_t dropped; /* entries that there was no room for */
};

/* Makes a track; *index is its number. 0 or -ENOMEM. */
int trace_export_track(struct trace *trace, const struct metrics_header *header, uint32_t *index);
/* Adds entries of a track. 0 or -ENOMEM. */
int trace_export_add(struct trace *trace, uint32_t track, const struct metrics_entry *entries,
                     uint32_t count);
void trace_export_free(struct trace *trace);

struct trace_summary {
    uint64_t applications, calls, served, disk; /* slices written */
    uint64_t joined[3]; /* flows: call of the library to request, request to server, server to disk */
    uint64_t lost;
};
/* Writes it all, sorted by time, which begins at 0. 0 or -errno. */
int trace_export_write(struct trace *trace, FILE *out, struct trace_summary *summary);
