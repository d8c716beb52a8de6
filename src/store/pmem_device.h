/* One file mapped into memory through libpmem2: how stores to it become durable. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct pmem_device;

/* Opens or makes the file `name` in the disk's directory, with at least `bytes` bytes that have their blocks,
 * and maps all of it. An existing file never shrinks. Errors are logged. prefault: touches all pages. On a
 * disk that discards changes the file is mapped as it is, and what is stored stays in memory. */
int pmem_device_open(struct disk *disk, const char *name, uint64_t bytes, bool prefault,
                     struct pmem_device **device);
void pmem_device_close(struct pmem_device *device);

char *pmem_device_memory(const struct pmem_device *device);
uint64_t pmem_device_bytes(const struct pmem_device *device);

/* Starts to bring stores to this range to the device. Never suspends. */
void pmem_device_flush(struct pmem_device *device, const void *memory, size_t length);
/* Waits until all that was flushed is there. May suspend. */
int pmem_device_drain(struct pmem_device *device);
