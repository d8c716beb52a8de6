/* Where the mapping is persistent memory (DAX), bytes are durable once their cache lines have left the
 * processor: flush writes the lines back, drain is a fence, neither is a system call. On platforms whose
 * caches survive power loss libpmem2 makes flush empty.
 *
 * Where it is an ordinary file, the mapping is the page cache, and what makes it durable is the kernel.
 * libpmem2 would call msync in every flush and hold up the loop for a transfer each time. So flush only
 * remembers that there is something, and drain synchronises the file once, through the disk, while the loop
 * goes on. On a simulated disk it is the same, but for who makes the mapping, and flush says what was stored,
 * so that what nobody flushes is lost when the power fails. */
#include "store/pmem_device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpmem2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/disk.h"
#include "store/pages.h"

struct pmem_device {
    struct disk *disk;
    struct disk_file *file; /* ordinary files: what drain synchronises */
    struct pmem2_map *map;  /* NULL: on a simulated disk */
    pmem2_flush_fn flush;
    pmem2_drain_fn drain;
    char *memory;
    uint64_t bytes;
    bool dirty; /* ordinary files */
    char path[4096];
};

char *pmem_device_memory(const struct pmem_device *device)
{
    return device->memory;
}

uint64_t pmem_device_bytes(const struct pmem_device *device)
{
    return device->bytes;
}

void pmem_device_flush(struct pmem_device *device, const void *memory, size_t length)
{
    if (device->file == NULL) {
        device->flush(memory, length);
        return;
    }
    device->dirty = true;
    if (device->map == NULL)
        disk_file_stored(device->file, (uint64_t)((const char *)memory - device->memory), length);
}

int pmem_device_drain(struct pmem_device *device)
{
    if (device->file == NULL) {
        device->drain();
        return 0;
    }
    if (!device->dirty)
        return 0;
    device->dirty = false;
    int status = disk_sync(device->file);
    if (status != 0) {
        device->dirty = true;
        log_error("cannot synchronise \"%s\": %s", device->path, strerror(-status));
    }
    return status;
}

/* Whether the file system has room for what the file has no blocks for yet: asked first, because a failed
 * attempt may fill it. */
static int room_check(const struct pmem_device *device, uint64_t bytes, const struct stat *stat)
{
    uint64_t available, total, there = (uint64_t)stat->st_blocks * 512;
    int status = disk_space(device->disk, &available, &total);
    if (status != 0 || bytes <= there || bytes - there <= available)
        return status;
    log_error("cannot allocate \"%s\": %s (needs %" PRIu64 " MiB more, %" PRIu64
              " MiB free): set store.capacity lower or store.path to another directory",
              device->path, strerror(ENOSPC), (bytes - there) >> 20, available >> 20);
    return -ENOSPC;
}

/* Gives the file its size and blocks. A store to a page without a block would end the process when the file
 * system is full. */
static int file_prepare(const struct pmem_device *device, int descriptor, uint64_t bytes)
{
    struct stat stat;
    if (fstat(descriptor, &stat) != 0)
        return -errno;
    if ((uint64_t)stat.st_size > bytes)
        bytes = (uint64_t)stat.st_size & ~(uint64_t)(PAGE_BYTES - 1);
    int status = room_check(device, bytes, &stat);
    if (status != 0 || fallocate(descriptor, 0, 0, (off_t)bytes) == 0)
        return status;
    status = -errno;
    if (status == -EOPNOTSUPP) {
        log_warning("the file system of \"%s\" cannot reserve blocks: should it run full, the server ends",
                    device->path);
        status = ftruncate(descriptor, (off_t)bytes) == 0 ? 0 : -errno;
    }
    if (status != 0)
        log_error("cannot allocate %" PRIu64
                  " bytes for \"%s\": %s: set store.capacity lower or store.path to another directory",
                  bytes, device->path, strerror(-status));
    return status;
}

static int map_new(struct pmem_device *device, int descriptor, bool discard)
{
    struct pmem2_config *config = NULL;
    struct pmem2_source *source = NULL;
    int status = pmem2_config_new(&config);
    if (status == 0)
        status = pmem2_source_from_fd(&source, descriptor);
    if (status == 0)
        status = pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
    if (status == 0 && discard)
        status = pmem2_config_set_sharing(config, PMEM2_PRIVATE);
    if (status == 0)
        status = pmem2_map_new(&device->map, config, source);
    if (status != 0)
        log_error("cannot map \"%s\": %s", device->path, pmem2_errormsg());
    if (source != NULL)
        pmem2_source_delete(&source);
    if (config != NULL)
        pmem2_config_delete(&config);
    return status > PMEM2_E_UNKNOWN ? status : -EINVAL; /* its own codes lie below */
}

/* Kernels before 5.14 do not populate on request. */
static void prefault_all(struct pmem_device *device)
{
    if (madvise(device->memory, device->bytes, MADV_POPULATE_WRITE) == 0)
        return;
    for (size_t at = 0; at < device->bytes; at += PAGE_BYTES) {
        volatile char *place = device->memory + at;
        *place = *place;
    }
}

static int device_map(struct pmem_device *device, const char *name, uint64_t bytes)
{
    bool discard = disk_discards(device->disk);
    int descriptor = open(device->path, O_CLOEXEC | (discard ? O_RDONLY : O_RDWR | O_CREAT), 0600);
    if (descriptor < 0) {
        int status = -errno;
        log_error("cannot open \"%s\": %s", device->path, strerror(-status));
        return status;
    }
    int status = discard ? 0 : file_prepare(device, descriptor, bytes);
    if (status == 0)
        status = map_new(device, descriptor, discard);
    close(descriptor);
    if (status != 0)
        return status;
    device->memory = pmem2_map_get_address(device->map);
    device->bytes = pmem2_map_get_size(device->map);
    device->flush = pmem2_get_flush_fn(device->map);
    device->drain = pmem2_get_drain_fn(device->map);
    if (discard || pmem2_map_get_store_granularity(device->map) != PMEM2_GRANULARITY_PAGE)
        return 0;
    log_info("\"%s\" is not on persistent memory (no DAX): it is synchronised through the page cache",
             device->path);
    device->dirty = true;
    status = disk_file_open(device->disk, name, 0, &device->file);
    if (status != 0)
        log_error("cannot open \"%s\": %s", device->path, strerror(-status));
    return status;
}

static int device_simulate(struct pmem_device *device, const char *name, uint64_t bytes)
{
    uint64_t size = 0;
    void *memory;
    int status = disk_file_open(device->disk, name, DISK_CREATE, &device->file);
    if (status == 0)
        status = disk_file_size(device->file, &size);
    if (status == 0 && size > bytes)
        bytes = size & ~(uint64_t)(PAGE_BYTES - 1);
    if (status == 0)
        status = disk_file_allocate(device->file, 0, bytes);
    if (status == 0)
        status = disk_file_map(device->file, bytes, &memory);
    if (status != 0) {
        log_error("cannot map \"%s\": %s", device->path, strerror(-status));
        return status;
    }
    device->memory = memory;
    device->bytes = bytes;
    device->dirty = true;
    return 0;
}

int pmem_device_open(struct disk *disk, const char *name, uint64_t bytes, bool prefault,
                     struct pmem_device **result)
{
    struct pmem_device *device = calloc(1, sizeof(*device));
    if (device == NULL)
        return -ENOMEM;
    device->disk = disk;
    int length = snprintf(device->path, sizeof(device->path), "%s/%s", disk_path(disk), name);
    int status = -ENAMETOOLONG;
    if (length < (int)sizeof(device->path))
        status = disk_maps(disk) ? device_simulate(device, name, bytes) : device_map(device, name, bytes);
    if (status == 0 && !disk_discards(disk)) {
        status = disk_sync_names(disk, ""); /* else all that will be in it could be gone */
        if (status != 0)
            log_error("cannot synchronise the name of \"%s\": %s", device->path, strerror(-status));
    }
    if (status != 0) {
        pmem_device_close(device);
        return status;
    }
    if (prefault && !disk_discards(disk))
        prefault_all(device);
    *result = device;
    return 0;
}

void pmem_device_close(struct pmem_device *device)
{
    if (device->file != NULL)
        disk_file_close(device->file);
    if (device->map != NULL)
        pmem2_map_delete(&device->map);
    free(device);
}
