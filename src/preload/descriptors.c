/* Descriptors: which of the process's are BenchFS's, and the calls that make, copy and close them.
 *
 * A BenchFS descriptor is a kernel descriptor, a placeholder (family.c), with an entry in a table by number.
 * So numbers never collide with the kernel's, and looking a number up is one load.
 *
 * Making and closing a placeholder costs more than opening a small file does. Therefore a closed descriptor
 * is kept, up to RESERVED_MAX of them, and handed out again by the next open, lowest first. For the program a
 * reserved descriptor is closed. That it is still open for the kernel shows only in that the kernel's next
 * descriptor has another number, so 0, 1 and 2 are never kept, nor is one above a number that may be free,
 * and all reserved ones are given back whenever the kernel chooses a number, when a lower descriptor is
 * closed, and before fork and exec. */
#include <linux/close_range.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "preload/family.h"

#define RESERVED_MAX 8

uint32_t descriptors[DESCRIPTORS_MAX];
struct opened opened[DESCRIPTIONS_MAX];
int descriptors_reserved_lowest = -1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;      /* of all below and all changes of the tables */
static pthread_mutex_t restoring = PTHREAD_MUTEX_INITIALIZER; /* not lock: this takes a while */
static int reserved[RESERVED_MAX];
static unsigned reserved_count;
static _Atomic int highest = -1; /* no descriptor of ours is above */
static int taken_below;          /* as far as we know every number below is in use */

static void raise_highest(int fd)
{
    int before = atomic_load(&highest);
    while (fd > before && !atomic_compare_exchange_weak(&highest, &before, fd))
        continue;
}

static void entry_set(int fd, uint32_t entry)
{
    raise_highest(fd);
    __atomic_store_n(&descriptors[fd], entry, __ATOMIC_RELEASE);
    if (fd <= STDERR_FILENO)
        stdio_descriptor_changed(fd);
}

/* Called by BenchFS's own threads, too, so without the lock. */
void descriptor_set_internal(int fd)
{
    raise_highest(fd);
    __atomic_store_n(&descriptors[fd], ENTRY_INTERNAL, __ATOMIC_RELEASE);
}

/* ---- reserved descriptors ---- */

static void reserved_recount(void)
{
    int lowest = -1;
    for (unsigned i = 0; i < reserved_count; i++)
        if (lowest < 0 || reserved[i] < lowest)
            lowest = reserved[i];
    __atomic_store_n(&descriptors_reserved_lowest, lowest, __ATOMIC_RELAXED);
}

static bool reserved_remove(int fd)
{
    for (unsigned i = 0; i < reserved_count; i++)
        if (reserved[i] == fd) {
            reserved[i] = reserved[--reserved_count];
            reserved_recount();
            return true;
        }
    return false;
}

/* The reserved descriptor's number is used for something else. */
static void reserved_forget(int fd)
{
    if (!reserved_remove(fd))
        return;
    family_free(descriptors[fd] & ENTRY_NUMBER);
    __atomic_store_n(&descriptors[fd], 0, __ATOMIC_RELEASE);
}

static void drop_reserved(void)
{
    while (reserved_count > 0) {
        int fd = reserved[0];
        reserved_forget(fd);
        real(close)(fd);
    }
}

void descriptors_drop_reserved(void)
{
    pthread_mutex_lock(&lock);
    drop_reserved();
    pthread_mutex_unlock(&lock);
}

/* ---- making ---- */

/* A placeholder of a free description, entry not set. */
static int take_descriptor(uint32_t *number, bool close_on_exec)
{
    int fd = descriptors_reserved_lowest;
    if (fd >= 0) {
        reserved_remove(fd);
        *number = descriptors[fd] & ENTRY_NUMBER;
        if (opened[*number].close_on_exec != close_on_exec)
            real(fcntl)(fd, F_SETFD, close_on_exec ? FD_CLOEXEC : 0);
        return fd;
    }
    if (!family_take(number))
        return -1;
    fd = family_placeholder(*number, close_on_exec);
    if (fd < 0)
        family_free(*number);
    else if (fd >= taken_below)
        __atomic_store_n(&taken_below, fd + 1, __ATOMIC_RELAXED);
    return fd;
}

int descriptor_make(int remote_fd, int flags)
{
    uint32_t number;
    pthread_mutex_lock(&lock);
    int fd = take_descriptor(&number, flags & O_CLOEXEC);
    if (fd < 0) {
        pthread_mutex_unlock(&lock);
        int error = errno;
        REMOTE(int, close(remote_fd));
        errno = error;
        return -1;
    }
    struct description *description = &descriptions[number];
    atomic_store_explicit(&description->offset, 0, memory_order_relaxed);
    atomic_store_explicit(&description->flags, flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC),
                          memory_order_relaxed);
    description->saved = false;
    memset(&description->locks, 0, sizeof description->locks);
    opened[number] = (struct opened){.remote = remote_fd,
                                     .references = 1,
                                     .close_on_exec = (flags & O_CLOEXEC) != 0,
                                     .told = atomic_load(&description->flags)};
    entry_set(fd, ENTRY_OPEN | number);
    pthread_mutex_unlock(&lock);
    return fd;
}

/* ---- finding ---- */

/* Opens a description that came from another process. */
static bool restore(uint32_t number)
{
    struct opened *here = &opened[number];
    if (!remote_ready())
        return false;
    pthread_mutex_lock(&restoring);
    if (here->remote < 0) {
        int fd = REMOTE(int, restore(&descriptions[number].file, &descriptions[number].locks));
        here->told = atomic_load(&descriptions[number].flags);
        if (fd >= 0)
            REMOTE(int, set_flags(fd, here->told));
        __atomic_store_n(&here->remote, fd, __ATOMIC_RELEASE);
    }
    bool done = here->remote >= 0;
    pthread_mutex_unlock(&restoring);
    return done;
}

/* Another process has changed the description's flags. */
static void flags_follow(uint32_t number, int32_t flags)
{
    if (REMOTE(int, set_flags(opened[number].remote, flags)) == 0)
        opened[number].told = flags;
}

enum route descriptor_find(uint32_t entry, uint32_t *number)
{
    if (unlikely(inside > 0))
        return ROUTE_REAL;
    if (unlikely((entry & ENTRY_OPEN) == 0)) {
        errno = EBADF;
        return ROUTE_FAILED;
    }
    *number = entry & ENTRY_NUMBER;
    if (unlikely(opened[*number].remote < 0) && !restore(*number))
        return ROUTE_FAILED;
    int32_t flags = atomic_load_explicit(&descriptions[*number].flags, memory_order_relaxed);
    if (unlikely(opened[*number].told != flags))
        flags_follow(*number, flags);
    return ROUTE_REMOTE;
}

bool descriptor_is_remote(int fd)
{
    return inside == 0 && (descriptor_entry(fd) & ENTRY_OPEN) != 0;
}

int descriptor_named(const char *path)
{
    static const char *const standard[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    static const char *const places[] = {"/dev/fd/", "/proc/self/fd/"};
    for (int fd = 0; fd < 3; fd++)
        if (strcmp(path, standard[fd]) == 0)
            return fd;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        size_t length = strlen(places[i]);
        if (strncmp(path, places[i], length) != 0)
            continue;
        const char *digits = path + length;
        if (*digits == '\0' || strlen(digits) > 7 || digits[strspn(digits, "0123456789")] != '\0')
            return -1;
        return atoi(digits);
    }
    return -1;
}

/* ---- closing ---- */

/* Of locks that this process had to keep before it executed this program the servers know under another name:
 * they are taken over, so that they go when the description is closed here. */
static void take_over_locks(uint32_t number)
{
    const struct shared_locks *locks = &descriptions[number].locks;
    if (unlikely(opened[number].remote < 0) && atomic_load(&locks->locked) != 0 &&
        atomic_load(&locks->process) == getpid())
        restore(number);
}

/* Drops one descriptor of the description, whose entry is already gone; lock held. Returns libbenchfs's
 * descriptor if that was the last one, else -1. */
static int release(uint32_t number)
{
    struct opened *here = &opened[number];
    if (--here->references > 0) {
        /* Any close of a file ends the process's record locks on it. */
        struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
        if (here->locked && here->remote >= 0 && remote != NULL)
            REMOTE(int, lock(here->remote, F_SETLK, &all));
        here->locked = false;
        return -1;
    }
    int remote_fd = here->remote;
    here->remote = -1;
    if (!here->shared)
        family_free(number);
    return remote_fd;
}

/* The kernel will give this number out next. */
static void number_freed(int fd)
{
    if (descriptors_reserved_lowest > fd)
        drop_reserved();
    if (fd < taken_below)
        __atomic_store_n(&taken_below, fd, __ATOMIC_RELAXED);
}

static int close_remote(int fd, uint32_t entry)
{
    uint32_t number = entry & ENTRY_NUMBER;
    struct opened *here = &opened[number];
    int remote_fd = -1;
    take_over_locks(number);
    pthread_mutex_lock(&lock);
    if (descriptors[fd] != entry) { /* another thread was faster */
        pthread_mutex_unlock(&lock);
        errno = EBADF;
        return -1;
    }
    if (fd > STDERR_FILENO && fd < taken_below && here->references == 1 && !here->shared &&
        reserved_count < RESERVED_MAX) {
        here->references = 0;
        if (here->duplicated)
            here->close_on_exec = (real(fcntl)(fd, F_GETFD) & FD_CLOEXEC) != 0;
        remote_fd = here->remote;
        reserved[reserved_count++] = fd;
        __atomic_store_n(&descriptors[fd], ENTRY_RESERVED | number, __ATOMIC_RELEASE);
        if (descriptors_reserved_lowest < 0 || fd < descriptors_reserved_lowest)
            __atomic_store_n(&descriptors_reserved_lowest, fd, __ATOMIC_RELAXED);
    } else {
        number_freed(fd);
        entry_set(fd, 0);
        remote_fd = release(number);
        real(close)(fd);
    }
    pthread_mutex_unlock(&lock);
    return remote_fd >= 0 && remote != NULL ? REMOTE(int, close(remote_fd)) : 0;
}

EXPORT int close(int fd)
{
    uint32_t entry = descriptor_entry(fd);
    if (likely(entry == 0)) {
        if (unlikely(fd < taken_below) && fd >= 0 && inside == 0) {
            pthread_mutex_lock(&lock);
            number_freed(fd);
            pthread_mutex_unlock(&lock);
        }
        return real(close)(fd);
    }
    if (entry & ENTRY_INTERNAL && inside > 0)
        descriptors[fd] = 0;
    if (inside > 0)
        return real(close)(fd);
    if (entry & ENTRY_OPEN)
        return close_remote(fd, entry);
    errno = EBADF;
    return -1;
}

/* What close_range does to descriptors that are not ours, and to placeholders with CLOSE_RANGE_CLOEXEC. */
static int close_gap(unsigned first, unsigned last, int flags)
{
    return first > last ? 0 : real(close_range)(first, last, flags);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    if (inside > 0 || highest < 0 || first > last)
        return real(close_range)(first, last, flags);
    pthread_mutex_lock(&lock);
    number_freed((int)(first < INT_MAX ? first : INT_MAX));
    drop_reserved();
    pthread_mutex_unlock(&lock);
    unsigned gap = first;
    for (unsigned fd = first; fd <= last && (int)fd <= highest; fd++) {
        uint32_t entry = descriptors[fd];
        if (entry == 0)
            continue;
        if (fd > gap && close_gap(gap, fd - 1, flags) < 0)
            return -1;
        gap = fd + 1;
        if ((entry & ENTRY_OPEN) == 0)
            continue;
        if (flags & (int)CLOSE_RANGE_CLOEXEC)
            fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        else
            close((int)fd);
    }
    return gap > last ? 0 : close_gap(gap, last, flags);
}

EXPORT void closefrom(int lowest)
{
    close_range(lowest < 0 ? 0 : (unsigned)lowest, ~0U, 0);
}

/* ---- copying ---- */

/* copy is a new kernel descriptor of fd's placeholder. */
static int copied(int copy, uint32_t number)
{
    if (copy < 0)
        return -1;
    if ((unsigned)copy >= DESCRIPTORS_MAX) {
        real(close)(copy);
        errno = EMFILE;
        return -1;
    }
    pthread_mutex_lock(&lock);
    opened[number].references++;
    opened[number].duplicated = true;
    entry_set(copy, ENTRY_OPEN | number);
    pthread_mutex_unlock(&lock);
    return copy;
}

EXPORT int dup(int fd)
{
    descriptors_make_room();
    if (inside > 0)
        return descriptor_hide(real(dup)(fd));
    ROUTE_FD(number, fd, -1, real(dup)(fd));
    return copied(real(dup)(fd), number);
}

/* The number `to` is about to be something else: forgets what it was. libbenchfs's descriptor to be closed is
 * returned, or -1. */
static int displace(int to)
{
    uint32_t entry = descriptor_entry(to);
    int remote_fd = -1;
    if (entry & ENTRY_RESERVED) {
        reserved_forget(to);
    } else if (entry & ENTRY_OPEN) {
        entry_set(to, 0);
        remote_fd = release(entry & ENTRY_NUMBER);
    }
    return remote_fd;
}

/* BenchFS's own descriptor is in the way: the program's number wins only where nothing would break. */
static int duplicate(int from, int to, int flags, bool three)
{
    uint32_t number = 0;
    enum route route = descriptor_of(from, &number);
    if (route == ROUTE_FAILED)
        return -1;
    uint32_t target = descriptor_entry(to);
    if (target & ENTRY_INTERNAL && inside == 0) {
        errno = EBUSY;
        return -1;
    }
    if (route == ROUTE_REAL && target == 0)
        return three ? real(dup3)(from, to, flags) : real(dup2)(from, to);
    if (from == to) {
        if (!three)
            return to;
        errno = EINVAL;
        return -1;
    }
    if (to < 0 || (unsigned)to >= DESCRIPTORS_MAX) {
        errno = EBADF;
        return -1;
    }
    if (target & ENTRY_OPEN)
        take_over_locks(target & ENTRY_NUMBER);
    pthread_mutex_lock(&lock);
    int result = three ? real(dup3)(from, to, flags) : real(dup2)(from, to);
    int remote_fd = -1;
    if (result >= 0) {
        remote_fd = displace(to);
        if (route == ROUTE_REMOTE) {
            opened[number].references++;
            opened[number].duplicated = true;
            entry_set(to, ENTRY_OPEN | number);
        }
    }
    pthread_mutex_unlock(&lock);
    if (remote_fd >= 0 && remote != NULL)
        REMOTE(int, close(remote_fd));
    return result;
}

EXPORT int dup2(int from, int to)
{
    if (likely(descriptor_entry(from) == 0 && descriptor_entry(to) == 0) || inside > 0)
        return real(dup2)(from, to);
    return duplicate(from, to, 0, false);
}
ALIAS(__dup2, dup2);

EXPORT int dup3(int from, int to, int flags)
{
    if (likely(descriptor_entry(from) == 0 && descriptor_entry(to) == 0) || inside > 0)
        return real(dup3)(from, to, flags);
    return duplicate(from, to, flags, true);
}

/* ---- fcntl and ioctl ---- */

int description_record_lock(uint32_t number, int command, struct flock *range)
{
    if (no_path((const char *)range)) {
        errno = EFAULT;
        return -1;
    }
    struct flock absolute = *range;
    if (range->l_whence == SEEK_CUR) { /* the offset is kept here */
        absolute.l_whence = SEEK_SET;
        absolute.l_start += atomic_load(&descriptions[number].offset);
    }
    int result = REMOTE(int, lock(opened[number].remote, command, &absolute));
    if (result < 0)
        return result;
    if (command == F_SETLK || command == F_SETLKW)
        opened[number].locked = true;
    else if (command == F_GETLK || command == F_OFD_GETLK)
        *range = absolute;
    return result;
}

#define SETTABLE (O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT | O_ASYNC)

static int set_status(uint32_t number, int flags)
{
    struct description *description = &descriptions[number];
    if (REMOTE(int, set_flags(opened[number].remote, flags)) < 0)
        return -1;
    opened[number].told = (atomic_load(&description->flags) & ~SETTABLE) | (flags & SETTABLE);
    atomic_store(&description->flags, opened[number].told);
    return 0;
}

static int control(int fd, uint32_t number, int command, void *argument)
{
    int value = (int)(intptr_t)argument;
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return copied(real(fcntl)(fd, command, value), number);
    case F_GETFD:
        return real(fcntl)(fd, command);
    case F_SETFD:
        opened[number].close_on_exec = value & FD_CLOEXEC;
        return real(fcntl)(fd, command, value);
    case F_GETFL:
        return atomic_load(&descriptions[number].flags) | (O_LARGEFILE & ~O_PATH);
    case F_SETFL:
        return set_status(number, value);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return description_record_lock(number, command, argument);
    default:
        errno = EINVAL;
        return -1;
    }
}

EXPORT int fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (unlikely(command == F_DUPFD || command == F_DUPFD_CLOEXEC)) {
        if (inside > 0)
            return descriptor_hide(real(fcntl)(fd, command, argument));
        descriptors_make_room();
    }
    ROUTE_FD(number, fd, -1, real(fcntl)(fd, command, argument));
    return control(fd, number, command, argument);
}
ALIAS(fcntl64, fcntl);
ALIAS(__fcntl, fcntl);

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    ROUTE_FD(number, fd, -1, real(ioctl)(fd, request, argument));
    switch (request) {
    case FIOCLEX:
        return fcntl(fd, F_SETFD, FD_CLOEXEC);
    case FIONCLEX:
        return fcntl(fd, F_SETFD, 0);
    case FIONREAD: {
        struct stat status;
        if (REMOTE(int, fstat(opened[number].remote, &status)) < 0)
            return -1;
        off_t rest = status.st_size - atomic_load(&descriptions[number].offset);
        *(int *)argument = rest < 0 ? 0 : rest > INT_MAX ? INT_MAX : (int)rest;
        return 0;
    }
    default:
        errno = ENOTTY;
        return -1;
    }
}

/* ---- fork and exec ---- */

/* Writes down how to open the file again. The one who says so must hold it, which a child that has not
 * called BenchFS yet does not. */
static void save(uint32_t number, int remote_fd)
{
    struct description *description = &descriptions[number];
    struct remote_file file;
    if (remote_fd < 0 || remote == NULL || REMOTE(int, save(remote_fd, &file, &description->locks)) < 0)
        return;
    if (description->saved && file.instance == 0)
        return;
    description->file = file;
    description->saved = true;
}

/* Every description becomes another process's too. */
static void share_all(void)
{
    for (int fd = 0; fd <= highest; fd++) {
        uint32_t entry = descriptors[fd];
        if ((entry & ENTRY_OPEN) == 0)
            continue;
        struct opened *here = &opened[entry & ENTRY_NUMBER];
        if (!here->shared)
            family_share(fd, entry & ENTRY_NUMBER);
        here->shared = true;
        save(entry & ENTRY_NUMBER, here->remote);
    }
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
    inside++;
    drop_reserved();
    share_all();
    inside--;
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_mutex_init(&restoring, NULL);
}

void descriptors_prepare(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void descriptors_save(void)
{
    /* The memory in which small writes may still be is about to go. A failure would have been close's to
     * tell, which never comes. */
    if (remote != NULL)
        REMOTE(int, publish());
    pthread_mutex_lock(&lock);
    drop_reserved();
    share_all();
    pthread_mutex_unlock(&lock);
}

void descriptors_farewell(void)
{
    if (inside > 0)
        return;
    for (int fd = 0; fd <= highest; fd++)
        if (descriptors[fd] & ENTRY_OPEN)
            take_over_locks(descriptors[fd] & ENTRY_NUMBER);
    if (remote == NULL)
        return;
    for (int fd = 0; fd <= highest; fd++) {
        uint32_t entry = descriptors[fd];
        if ((entry & ENTRY_OPEN) == 0)
            continue;
        struct opened *here = &opened[entry & ENTRY_NUMBER];
        int remote_fd = here->remote;
        here->remote = -1; /* should somebody still use it, it is opened again */
        if (remote_fd >= 0) {
            /* If others have it, too, what they wrote down stays right when this process is gone. */
            if (!descriptions[entry & ENTRY_NUMBER].saved)
                save(entry & ENTRY_NUMBER, remote_fd);
            REMOTE(int, close(remote_fd));
        }
    }
    inside++;
    remote->farewell();
    inside--;
}

bool descriptors_any(void)
{
    for (int fd = 0; fd <= highest; fd++)
        if (descriptors[fd] & ENTRY_OPEN)
            return true;
    return false;
}

bool descriptors_any_kept(void)
{
    for (int fd = 0; fd <= highest; fd++)
        if ((descriptors[fd] & ENTRY_OPEN) != 0 && (real(fcntl)(fd, F_GETFD) & FD_CLOEXEC) == 0)
            return true;
    return false;
}

/* Enters fd if it is a placeholder. */
static void adopt(int fd, const struct stat *anchor)
{
    struct stat status;
    if (fd == family_anchor || (unsigned)fd >= DESCRIPTORS_MAX || real(fstat)(fd, &status) < 0 ||
        status.st_ino != anchor->st_ino || status.st_dev != anchor->st_dev)
        return;
    off_t number = real(lseek)(fd, 0, SEEK_CUR);
    if (number < 0 || number >= (off_t)DESCRIPTIONS_MAX || !descriptions[number].saved)
        return;
    opened[number].remote = -1;
    opened[number].references++;
    opened[number].shared = true;
    entry_set(fd, ENTRY_OPEN | (uint32_t)number);
}

void descriptors_adopt(const char *state)
{
    int table, anchor;
    struct stat status;
    if (sscanf(state, "%d,%d", &table, &anchor) != 2 || table < 0 || anchor < 0 ||
        (unsigned)table >= DESCRIPTORS_MAX || (unsigned)anchor >= DESCRIPTORS_MAX ||
        !family_adopt(table, anchor) || real(fstat)(anchor, &status) < 0)
        return;
    DIR *directory = real(opendir)("/proc/self/fd");
    if (directory == NULL)
        return;
    for (const struct dirent *entry; (entry = real(readdir)(directory)) != NULL;)
        if (entry->d_name[0] != '.')
            adopt(atoi(entry->d_name), &status);
    real(closedir)(directory);
}
