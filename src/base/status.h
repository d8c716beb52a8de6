/* Status codes: inside BenchFS every fallible call returns 0 or a negative status.
 *
 * A status is a negative errno value of Linux' generic table, or one of the protocol's own conditions below,
 * which the client layer resolves (refresh, retry) and never shows to a caller of libbenchfs. */
#pragma once

#include <errno.h>

enum status {
    STATUS_WRONG_EPOCH = 4001,      /* sender's cluster map is older than the receiver's: refresh it, retry */
    STATUS_STALE_NAMESPACE = 4002,  /* sender's namespace epoch is old: drop cached lookups, resolve again */
    STATUS_NO_SESSION = 4003,       /* session unknown or its token is wrong: connect again */
    STATUS_BAD_VERSION = 4004,      /* protocol versions differ */
    STATUS_BUSY_RETRY = 4005,       /* a conflicting transaction holds what is needed: back off, retry */
    STATUS_STALE_GENERATION = 4006, /* the file was truncated since: refresh its attributes, retry */
    STATUS_UNKNOWN_GROUPS = 4007,   /* the request's set of groups is not the session's: register it, retry */
    STATUS_OUTSIDE = 4008,          /* the path leads out of the file system: see client_left */
    STATUS_LOCK_WAIT = 4010,        /* the file lock is still taken: go on waiting */
};

/* Returns a static string for a negative status ("No such file or directory", "cluster map out of date"). */
const char *status_text(int status);

/* Maps a status to the errno value that a caller of the public API sees (protocol conditions become EIO). */
int status_errno(int status);
