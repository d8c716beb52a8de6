/* The simulated device.
 *
 * What is on it, and what of that would last, is in disk_content.c. Here is time: a transfer draws how long
 * it takes, takes effect when that time has passed, all at once, and is told in the same moment. So transfers
 * of the same length of time keep their order and others do not, and a synchronisation covers the changes
 * that had been told when it was started, and no others, as on a real device. Bytes of a write are taken when
 * it starts. Calls on names take effect at once.
 *
 * A server is ended in one of three ways. disk_close: nothing is under way. disk_sim_kill and
 * disk_sim_abandon: each write under way has reached the device or not. Either way what was written and not
 * synchronised stays until the power fails.
 *
 * A mapped file has its memory beside it. What the device is told of is a write like any other; of the rest
 * the system may write any page at any time, so it counts as written at the moment at which the server is
 * ended, or stopped: from then on the memory has nothing to do with the file.
 *
 * stop_at is asked whenever something is about to reach the device. Once it has said stop, transfers stay
 * where they are until kill or abandon. */
#include "runtime/disk_operations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "runtime/disk_content.h"

struct disk_sim_device {
    struct content content;
    struct disk_sim_options options;
    struct sim_disk *disk; /* who has it open */
    uint64_t points;
    uint64_t stop_at;
    bool *stop_flag;
    bool stopped;
};

struct sim_disk {
    struct disk disk;
    struct disk_sim_device *device; /* NULL: killed */
    struct list files;
    struct list under_way; /* transfers, in the order in which they were started */
};

struct sim_file {
    struct disk_file file;
    struct content_node *node; /* NULL: the disk was killed */
    struct list link;
    uint8_t *memory; /* NULL: it is not mapped */
    uint64_t mapped; /* bytes */
};

/* Something that takes time. */
struct sim_transfer {
    struct list link;
    struct timer timer;
    struct sim_disk *disk;
    struct content_node *node;
    void (*effect)(struct sim_transfer *transfer, int *status);
    struct content_change *change; /* of the file, if it is one */
    uint64_t covered;              /* by a synchronisation */
    struct disk_io *io;            /* who is told, one of the two */
    struct completion *done;
};

static struct sim_disk *sim_disk(struct disk *disk)
{
    return container_of(disk, struct sim_disk, disk);
}

static struct sim_file *sim_file(struct disk_file *file)
{
    return container_of(file, struct sim_file, file);
}

/* ---- points ---- */

static void writes_under_way(struct sim_disk *disk);

/* The memory of a file that is mapped, as it is now, becomes the file's. */
static void take_memory(struct sim_disk *disk, const struct sim_file *file)
{
    if (file->memory != NULL && file->node != NULL)
        content_take(&disk->device->content, file->node, file->memory, file->mapped,
                     loop_realtime(disk->disk.loop));
}

static void take_all_memory(struct sim_disk *disk)
{
    list_for_each (link, &disk->files)
        take_memory(disk, container_of(link, struct sim_file, link));
}

/* Something is about to reach the device. Returns false if it does not. */
static bool device_reached(struct disk_sim_device *device)
{
    if (device->stopped)
        return false;
    if (device->points < device->stop_at) {
        device->points++;
        return true;
    }
    device->stopped = true;
    if (device->stop_flag != NULL)
        *device->stop_flag = true;
    take_all_memory(device->disk);
    writes_under_way(device->disk);
    return false;
}

/* 0: calls on names and handles may go on. */
static int sim_check(struct disk *disk)
{
    struct disk_sim_device *device = sim_disk(disk)->device;
    return device == NULL || device->stopped ? -EIO : 0;
}

static int sim_check_change(struct disk *disk)
{
    int status = sim_check(disk);
    return status == 0 && !device_reached(sim_disk(disk)->device) ? -EIO : status;
}

/* ---- transfers ---- */

static void transfer_free(struct sim_transfer *transfer)
{
    list_remove(&transfer->link);
    timer_clear(transfer->disk->disk.loop, &transfer->timer);
    content_release(&transfer->disk->device->content, transfer->node);
    free(transfer->change);
    free(transfer);
}

static void transfer_tell(struct sim_transfer *transfer, int status)
{
    struct disk_io *io = transfer->io;
    struct completion *done = transfer->done;
    transfer_free(transfer);
    if (io != NULL)
        disk_record(io, status);
    completion_fire(io != NULL ? &io->done : done, status);
}

static void transfer_due(struct timer *timer)
{
    struct sim_transfer *transfer = container_of(timer, struct sim_transfer, timer);
    struct disk_sim_device *device = transfer->disk->device;
    bool changes = transfer->io == NULL || transfer->io->call != DISK_READ;
    if (device->stopped || (changes && !device_reached(device)))
        return;
    int status = 0;
    transfer->effect(transfer, &status);
    transfer_tell(transfer, status);
}

/* done: NULL, or what fires in place of io's. */
static struct sim_transfer *transfer_start(struct sim_disk *disk, struct content_node *node,
                                           struct disk_io *io, struct completion *done)
{
    struct sim_transfer *transfer = calloc(1, sizeof(*transfer));
    if (transfer == NULL)
        return NULL;
    transfer->disk = disk;
    transfer->node = node;
    content_hold(&disk->device->content, node);
    transfer->io = io;
    transfer->done = done;
    transfer->timer.fire = transfer_due;
    list_push_back(&disk->under_way, &transfer->link);
    struct loop *loop = disk->disk.loop;
    uint64_t latency = disk->device->options.latency_ns;
    if (latency != 0)
        latency = random_below(loop_random(loop), latency + 1);
    timer_set(loop, &transfer->timer, loop_now(loop) + latency);
    return transfer;
}

static void change_effect(struct sim_transfer *transfer, int *status)
{
    struct sim_disk *disk = transfer->disk;
    struct content_change *change = transfer->change;
    transfer->change = NULL;
    *status = content_change(&disk->device->content, transfer->node, change, loop_realtime(disk->disk.loop));
}

static void write_effect(struct sim_transfer *transfer, int *status)
{
    const struct disk_transfer *asked = disk_transfer(transfer->io);
    change_effect(transfer, status);
    if (*status == 0)
        *status = asked->cut ? -EIO : (int)asked->length;
}

static void read_effect(struct sim_transfer *transfer, int *status)
{
    const struct disk_io *io = transfer->io;
    uint64_t offset = io->offset;
    for (uint32_t i = 0; i < io->count; i++) {
        uint64_t length = content_read(transfer->node, offset, io->vector[i].iov_base, io->vector[i].iov_len);
        offset += length;
        if (length < io->vector[i].iov_len)
            break;
    }
    *status = (int)(offset - io->offset);
}

static void sync_effect(struct sim_transfer *transfer, int *status)
{
    (void)status;
    content_sync(&transfer->disk->device->content, transfer->node, transfer->covered);
}

static void sync_names_effect(struct sim_transfer *transfer, int *status)
{
    (void)status;
    content_sync_names(&transfer->disk->device->content, transfer->node, transfer->covered);
}

static void sync_all_effect(struct sim_transfer *transfer, int *status)
{
    (void)status;
    content_sync_all(&transfer->disk->device->content, transfer->covered);
}

static struct content_change *write_change(const struct disk_io *io, size_t length)
{
    struct content_change *change = content_change_make(CONTENT_WRITE, io->offset, length);
    uint8_t *to = change->bytes;
    for (uint32_t i = 0; length > 0; i++) {
        size_t part = io->vector[i].iov_len < length ? io->vector[i].iov_len : length;
        if (part != 0)
            memcpy(to, io->vector[i].iov_base, part);
        to += part;
        length -= part;
    }
    return change;
}

static void sim_start(struct disk_io *io)
{
    struct sim_disk *disk = sim_disk(io->file->disk);
    if (disk->device == NULL) {
        disk_answer(io, -EIO, true);
        return;
    }
    struct sim_transfer *transfer = transfer_start(disk, sim_file(io->file)->node, io, NULL);
    if (transfer == NULL) {
        disk_answer(io, -ENOMEM, true);
        return;
    }
    switch (io->call) {
    case DISK_READ:
        transfer->effect = read_effect;
        break;
    case DISK_WRITE:
        transfer->effect = write_effect;
        transfer->change = write_change(io, disk_transfer(io)->length);
        break;
    case DISK_SYNC:
        transfer->effect = sync_effect;
        transfer->covered = disk->device->content.sequence;
        break;
    }
}

/* The server that has the disk open dies: what had been handed to the device got there, or not. */
static void writes_under_way(struct sim_disk *disk)
{
    list_for_each (link, &disk->under_way) {
        struct sim_transfer *transfer = container_of(link, struct sim_transfer, link);
        if (transfer->change == NULL || random_below(loop_random(disk->disk.loop), 2) == 0)
            continue;
        int status;
        change_effect(transfer, &status);
    }
}

/* ---- files ---- */

static int sim_file_open(struct disk *common, const char *name, unsigned flags, struct disk_file **opened)
{
    struct sim_disk *disk = sim_disk(common);
    int status = sim_check(common);
    if (status != 0)
        return status;
    struct content *content = &disk->device->content;
    struct content_node *node;
    status = content_find(content, name, &node);
    if (status == 0 && (flags & DISK_EXCLUSIVE) != 0 && (flags & DISK_CREATE) != 0)
        return -EEXIST;
    if (status == 0 && node->directory)
        return -EISDIR;
    struct sim_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return -ENOMEM;
    if (status == -ENOENT && (flags & DISK_CREATE) != 0) {
        status = sim_check_change(common);
        if (status == 0)
            status = content_create(content, name, false, &node);
        if (status == 0)
            node->live.time = node->durable.time = loop_realtime(common->loop);
    }
    if (status != 0) {
        free(file);
        return status;
    }
    content_hold(content, node);
    disk_file_init(&file->file, common, name, flags);
    file->file.direct = (flags & DISK_DIRECT) != 0 && disk->device->options.direct;
    file->node = node;
    list_push_back(&disk->files, &file->link);
    *opened = &file->file;
    return 0;
}

static void file_free(struct sim_file *file)
{
    if (file->memory != NULL)
        munmap(file->memory, file->mapped);
    free(file);
}

static void sim_file_close(struct disk_file *common)
{
    struct sim_file *file = sim_file(common);
    struct sim_disk *disk = sim_disk(common->disk);
    list_remove(&file->link);
    if (file->node != NULL && !disk->device->stopped)
        take_memory(disk, file);
    if (file->node != NULL)
        content_release(&disk->device->content, file->node);
    file_free(file);
}

static int sim_file_size(struct disk_file *file, uint64_t *size)
{
    int status = sim_check(file->disk);
    if (status == 0)
        *size = sim_file(file)->node->live.size;
    return status;
}

static int sim_file_time(struct disk_file *file, int64_t *time)
{
    int status = sim_check(file->disk);
    if (status == 0)
        *time = sim_file(file)->node->live.time;
    return status;
}

static int sim_file_truncate(struct disk_file *file, uint64_t size)
{
    int status = sim_check_change(file->disk);
    if (status != 0)
        return status;
    struct content *content = &sim_disk(file->disk)->device->content;
    return content_change(content, sim_file(file)->node, content_change_make(CONTENT_TRUNCATE, size, 0),
                          loop_realtime(file->disk->loop));
}

static int sim_file_map(struct disk_file *common, uint64_t bytes, void **mapped)
{
    struct sim_file *file = sim_file(common);
    int status = sim_check(common->disk);
    if (status != 0)
        return status;
    if (bytes == 0 || bytes > file->node->live.size || file->memory != NULL)
        return -EINVAL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    madvise(memory, bytes, MADV_HUGEPAGE); /* all of it will be read */
    content_read(file->node, 0, memory, bytes);
    file->memory = memory;
    file->mapped = bytes;
    *mapped = memory;
    return 0;
}

static void sim_file_stored(struct disk_file *common, uint64_t offset, uint64_t length)
{
    struct sim_file *file = sim_file(common);
    struct sim_disk *disk = sim_disk(common->disk);
    if (sim_check_change(common->disk) != 0)
        return;
    struct content_change *change = content_change_make(CONTENT_WRITE, offset, length);
    memcpy(change->bytes, file->memory + offset, length);
    content_change(&disk->device->content, file->node, change, loop_realtime(disk->disk.loop));
}

/* Starts what has no disk_io and waits for it. */
static int sim_wait(struct disk *disk, struct content_node *node,
                    void (*effect)(struct sim_transfer *transfer, int *status), struct content_change *change)
{
    struct completion done = COMPLETION_INIT;
    struct sim_transfer *transfer = transfer_start(sim_disk(disk), node, NULL, &done);
    if (transfer == NULL) {
        free(change);
        return -ENOMEM;
    }
    transfer->effect = effect;
    transfer->change = change;
    transfer->covered = sim_disk(disk)->device->content.sequence;
    return disk_await(disk->loop, &done);
}

static int sim_file_allocate(struct disk_file *file, uint64_t offset, uint64_t length)
{
    int status = sim_check(file->disk);
    return status != 0 ? status
                       : sim_wait(file->disk, sim_file(file)->node, change_effect,
                                  content_change_make(CONTENT_ALLOCATE, offset, length));
}

static int sim_file_punch(struct disk_file *file, uint64_t offset, uint64_t length)
{
    int status = sim_check(file->disk);
    return status != 0 ? status
                       : sim_wait(file->disk, sim_file(file)->node, change_effect,
                                  content_change_make(CONTENT_PUNCH, offset, length));
}

/* ---- names ---- */

static int sim_make_directory(struct disk *disk, const char *name)
{
    struct content_node *node;
    int status = sim_check_change(disk);
    return status != 0 ? status : content_create(&sim_disk(disk)->device->content, name, true, &node);
}

static int sim_unlink(struct disk *disk, const char *name)
{
    int status = sim_check_change(disk);
    return status != 0 ? status : content_remove(&sim_disk(disk)->device->content, name);
}

static int sim_rename(struct disk *disk, const char *from, const char *to)
{
    int status = sim_check_change(disk);
    return status != 0 ? status : content_rename(&sim_disk(disk)->device->content, from, to);
}

static int find_directory(struct disk *disk, const char *name, struct content_node **node)
{
    int status = sim_check(disk);
    if (status == 0)
        status = content_find(&sim_disk(disk)->device->content, name, node);
    return status == 0 && !(*node)->directory ? -ENOTDIR : status;
}

static int sim_sync_names(struct disk *disk, const char *directory)
{
    struct content_node *node;
    int status = find_directory(disk, directory, &node);
    return status != 0 ? status : sim_wait(disk, node, sync_names_effect, NULL);
}

static int sim_sync_all(struct disk *disk)
{
    int status = sim_check(disk);
    return status != 0 ? status : sim_wait(disk, sim_disk(disk)->device->content.root, sync_all_effect, NULL);
}

static int sim_list(struct disk *disk, const char *directory,
                    int (*visit)(void *owner, const char *name, bool is_directory), void *owner)
{
    struct content_node *node;
    int status = find_directory(disk, directory, &node);
    return status != 0 ? status : content_list(node, visit, owner);
}

static int sim_space(struct disk *disk, uint64_t *available, uint64_t *total)
{
    int status = sim_check(disk);
    if (status != 0)
        return status;
    const struct content *content = &sim_disk(disk)->device->content;
    uint64_t limit = content->limit < INT64_MAX / CONTENT_PAGE ? content->limit : INT64_MAX / CONTENT_PAGE;
    *total = limit * CONTENT_PAGE;
    *available = (limit - content->used) * CONTENT_PAGE;
    return 0;
}

static int sim_remember(struct disk *disk, void *memory, size_t length)
{
    (void)disk;
    (void)memory;
    (void)length;
    return 0;
}

static void sim_forget(struct disk *disk, void *memory)
{
    (void)disk;
    (void)memory;
}

/* ---- the device, and who has it ---- */

int disk_sim_device_create(const struct disk_sim_options *options, struct disk_sim_device **created)
{
    struct disk_sim_device *device = calloc(1, sizeof(*device));
    if (device == NULL)
        return -ENOMEM;
    device->options = *options;
    device->stop_at = UINT64_MAX;
    content_init(&device->content, options->capacity);
    *created = device;
    return 0;
}

void disk_sim_device_destroy(struct disk_sim_device *device)
{
    assert(device->disk == NULL);
    content_exit(&device->content);
    free(device);
}

static void sim_close(struct disk *common)
{
    struct sim_disk *disk = sim_disk(common);
    assert(list_empty(&disk->under_way));
    if (disk->device != NULL)
        disk->device->disk = NULL;
    disk_exit(common);
    free(disk);
}

static const struct disk_operations sim_operations = {
    .close = sim_close,
    .remember = sim_remember,
    .forget = sim_forget,
    .file_open = sim_file_open,
    .file_close = sim_file_close,
    .file_size = sim_file_size,
    .file_time = sim_file_time,
    .file_truncate = sim_file_truncate,
    .file_allocate = sim_file_allocate,
    .file_punch = sim_file_punch,
    .file_map = sim_file_map,
    .file_stored = sim_file_stored,
    .start = sim_start,
    .make_directory = sim_make_directory,
    .unlink = sim_unlink,
    .rename = sim_rename,
    .sync_names = sim_sync_names,
    .sync_all = sim_sync_all,
    .list = sim_list,
    .space = sim_space,
};

int disk_sim_open(struct loop *loop, struct disk_sim_device *device, struct disk **opened)
{
    if (device->disk != NULL)
        return -EBUSY;
    struct sim_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL)
        return -ENOMEM;
    int status = disk_init(&disk->disk, loop, &sim_operations, "simulated device");
    if (status != 0) {
        free(disk);
        return status;
    }
    list_init(&disk->files);
    list_init(&disk->under_way);
    disk->device = device;
    device->disk = disk;
    if (device->stopped)
        disk_sim_stop_at(device, UINT64_MAX, NULL);
    *opened = &disk->disk;
    return 0;
}

/* Ends what is under way (with -EIO if it is told) and takes the device away. */
static void disk_cut_off(struct sim_disk *disk, bool tell)
{
    struct disk_sim_device *device = disk->device;
    if (!device->stopped) {
        take_all_memory(disk);
        writes_under_way(disk);
    }
    list_for_each_safe (link, &disk->under_way) {
        struct sim_transfer *transfer = container_of(link, struct sim_transfer, link);
        struct disk_io *io = transfer->io;
        struct completion *done = transfer->done;
        transfer_free(transfer);
        if (tell && io != NULL)
            disk_answer(io, -EIO, true);
        else if (tell)
            completion_fire(done, -EIO);
    }
    list_for_each (link, &disk->files) {
        struct sim_file *file = container_of(link, struct sim_file, link);
        content_release(&device->content, file->node);
        file->node = NULL;
    }
    device->disk = NULL;
    disk->device = NULL;
}

void disk_sim_kill(struct disk *disk)
{
    if (sim_disk(disk)->device != NULL)
        disk_cut_off(sim_disk(disk), true);
}

void disk_sim_abandon(struct disk *common)
{
    struct sim_disk *disk = sim_disk(common);
    if (disk->device != NULL)
        disk_cut_off(disk, false);
    for (struct list *link; (link = list_pop_front(&disk->files)) != NULL;)
        file_free(container_of(link, struct sim_file, link));
    disk_exit(common);
    free(disk);
}

void disk_sim_power_loss(struct disk_sim_device *device, struct random *random)
{
    assert(device->disk == NULL);
    content_power_loss(&device->content, random);
}

uint64_t disk_sim_points(const struct disk_sim_device *device)
{
    return device->points;
}

void disk_sim_stop_at(struct disk_sim_device *device, uint64_t point, bool *stopped)
{
    device->stop_at = point;
    device->stop_flag = stopped;
    device->stopped = false;
}
