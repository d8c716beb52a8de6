/* The frames of `benchfs top`. */
#pragma once

#include "cli/observe.h"

enum top_order { TOP_BY_ID, TOP_BY_RATE, TOP_BY_BUSY, TOP_BY_BANDWIDTH, TOP_ORDERS };

struct top_view {
    uint32_t columns, rows;
    bool colours; /* ANSI: bold, reverse */
    bool clients; /* the clients of this host in place of the servers, and calls as they see them */
    bool stages;  /* operations by stage in place of what is hot and slow */
    bool paused;
    enum top_order order; /* of servers and clients */
    uint64_t interval;    /* ns */
};

struct top_text {
    char *bytes;
    size_t length, room;
    bool failed; /* no memory */
};

/* A frame of at most view->rows lines of at most view->columns characters, each ended by a newline, but for
 * colours. names may be NULL: inodes are shown as numbers. */
void top_frame(const struct observer *observer, const struct top_view *view, const struct inode_names *names,
               struct top_text *text);

/* "1.23 k", "12.3 MiB", "431 us": three digits and a unit, for columns of 8 characters. Thread-local memory,
 * for a line's worth of calls. */
const char *top_count(double value);
const char *top_bytes(double value);
const char *top_time(uint64_t ns);
