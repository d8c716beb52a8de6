/* Where regions lie: DIRECTORY/benchfs-UID/PID-N. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "metrics/region.h"

#define METRICS_DIRECTORY_DEFAULT "/dev/shm"
#define METRICS_PATH_MAX 512u

/* The directory of this user's regions; METRICS_PATH_MAX bytes. */
void metrics_directory(const char *directory, char *path);
/* Makes it, should it be missing (mode 0700), and a new file in it (mode 0600). Returns a descriptor and
 * *path, to be freed, or -errno: -EPERM when the directory belongs to somebody else or is open to others. */
int metrics_file_make(const char *directory, char **path);
/* Removes it, and the directory with the last one. */
void metrics_file_remove(const char *path);

/* When the process was started, clock ticks after boot; 0: there is none, or it has ended. */
uint64_t metrics_process_start(uint32_t pid);
struct metrics_processor {
    uint64_t run_ns;  /* on a processor */
    uint64_t wait_ns; /* ready to run, but others had it */
};
/* Of this thread, since it began. false: the system does not tell. Opens a file for it: some microseconds. */
bool metrics_thread_processor(struct metrics_processor *processor);
/* Resident memory of this process, bytes; 0: the system does not tell. */
uint64_t metrics_process_memory(void);
/* Whether the process that wrote the header is still there, on this host. */
bool metrics_process_lives(const struct metrics_header *header);
