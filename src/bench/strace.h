/* What strace printed, as a trace. */
#pragma once

#include "bench/trace.h"

/* Reads the output of strace -f -ttt (with or without -o) from bytes. Calls that touch no file, and those
 * that cannot be replayed, are left out; *ignored counts the latter. 0, -EINVAL, -E2BIG or -ENOMEM; the
 * reason
 * ("line 3: ...") is in error. */
int strace_parse(const char *bytes, size_t length, struct trace *trace, uint64_t *ignored, char *error,
                 size_t size);
