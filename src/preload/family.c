/* What a family of processes shares: its open file descriptions.
 *
 * POSIX has a file's offset shared by all descriptors that came out of one open by dup, fork and exec. So
 * descriptions lie in memory that children inherit: a memfd mapped by every process of the family (the
 * process that first opened something, and its descendants). Each description is known to the kernel by a
 * placeholder: an open file description of its own on a second, empty and sealed memfd, the anchor, on which
 * reads, writes and mappings fail. The placeholder's file offset is the description's number. Hence
 * descriptor numbers, dup, fork, exec and close-on-exec are the kernel's own, whatever way they are done, and
 * a program after exec finds what is open by looking at its descriptors.
 *
 * A description that no other process can have is freed by its process. Those that were shared have a lock on
 * the anchor at their number, owned by the placeholder, which the kernel drops with its last descriptor
 * anywhere; they are swept up when numbers get scarce. */
#include <stdlib.h>

#include "preload/family.h"

struct family {
    uint64_t magic;
    _Atomic uint32_t next; /* where to look for a free number */
    _Atomic uint64_t used[DESCRIPTIONS_MAX / 64];
    struct description descriptions[DESCRIPTIONS_MAX];
};
#define FAMILY_MAGIC UINT64_C(0x324d414653464e42) /* "BNFSFAM2" */

int family_table = -1;
int family_anchor = -1;
struct description *descriptions;
static struct family *family;

int descriptor_hide(int fd)
{
    if (fd < 0)
        return fd;
    struct rlimit limit;
    int lowest = 768;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1024)
        lowest = (int)(limit.rlim_cur - limit.rlim_cur / 4);
    int flags = real(fcntl)(fd, F_GETFD);
    int high = real(fcntl)(fd, flags & FD_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, lowest);
    if (high < 0)
        return fd;
    real(close)(fd);
    if ((unsigned)high < DESCRIPTORS_MAX)
        descriptor_set_internal(high);
    return high;
}

static bool family_map(void)
{
    void *memory =
        real(mmap)(NULL, sizeof(struct family), PROT_READ | PROT_WRITE, MAP_SHARED, family_table, 0);
    if (memory == MAP_FAILED)
        return false;
    family = memory;
    descriptions = family->descriptions;
    return true;
}

bool family_create(void)
{
    if (family != NULL)
        return true;
    /* Both stay open in programs started from here. */
    int table = descriptor_hide(real(memfd_create)("benchfs-descriptions", 0));
    int anchor = descriptor_hide(real(memfd_create)("benchfs", MFD_ALLOW_SEALING));
    if (table < 0 || anchor < 0 || real(ftruncate)(table, sizeof(struct family)) < 0 ||
        real(fcntl)(anchor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        goto fail;
    family_table = table;
    family_anchor = anchor;
    if (!family_map())
        goto fail;
    family->magic = FAMILY_MAGIC;
    return true;
fail:
    if (table >= 0)
        real(close)(table);
    if (anchor >= 0)
        real(close)(anchor);
    family_table = family_anchor = -1;
    return false;
}

bool family_adopt(int table, int anchor)
{
    struct stat status;
    uint64_t magic = 0;
    if (real(fstat)(table, &status) < 0 || status.st_size != sizeof(struct family) ||
        real(pread)(table, &magic, sizeof magic, 0) != sizeof magic || magic != FAMILY_MAGIC ||
        real(fstat)(anchor, &status) < 0)
        return false;
    family_table = table;
    family_anchor = anchor;
    if (family_map()) {
        descriptor_set_internal(table);
        descriptor_set_internal(anchor);
        return true;
    }
    family_table = family_anchor = -1;
    return false;
}

int family_placeholder(uint32_t number, bool close_on_exec)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", family_anchor);
    int fd = real(open)(path, O_WRONLY | (close_on_exec ? O_CLOEXEC : 0));
    if (fd >= 0 && (unsigned)fd >= DESCRIPTORS_MAX) {
        real(close)(fd);
        errno = EMFILE;
        return -1;
    }
    if (fd >= 0)
        real(lseek)(fd, number, SEEK_SET);
    return fd;
}

static struct flock lock_of(uint32_t number)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = number, .l_len = 1};
}

void family_share(int fd, uint32_t number)
{
    struct flock lock = lock_of(number);
    real(fcntl)(fd, F_OFD_SETLK, &lock);
}

/* Nobody has the description any more. */
static bool abandoned(uint32_t number)
{
    struct flock lock = lock_of(number);
    if (opened[number].references > 0)
        return false;
    if (real(fcntl)(family_anchor, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK)
        return false;
    return kill(family->descriptions[number].owner, 0) < 0 && errno == ESRCH;
}

static void sweep(void)
{
    for (uint32_t number = 0; number < DESCRIPTIONS_MAX; number++)
        if ((atomic_load(&family->used[number / 64]) >> (number % 64) & 1) != 0 && abandoned(number))
            family_free(number);
}

static bool take(uint32_t *number)
{
    uint32_t start = atomic_load_explicit(&family->next, memory_order_relaxed) / 64;
    for (uint32_t i = 0; i < DESCRIPTIONS_MAX / 64; i++) {
        uint32_t word = (start + i) % (DESCRIPTIONS_MAX / 64);
        uint64_t used = atomic_load_explicit(&family->used[word], memory_order_relaxed);
        while (used != UINT64_MAX) {
            uint64_t bit = UINT64_C(1) << __builtin_ctzll(~used);
            uint64_t before = atomic_fetch_or(&family->used[word], bit);
            if ((before & bit) == 0) {
                *number = word * 64 + (uint32_t)__builtin_ctzll(bit);
                atomic_store_explicit(&family->next, *number, memory_order_relaxed);
                return true;
            }
            used |= before | bit;
        }
    }
    return false;
}

bool family_take(uint32_t *number)
{
    if (!take(number)) {
        sweep();
        if (!take(number)) {
            errno = ENFILE;
            return false;
        }
    }
    struct description *description = &family->descriptions[*number];
    description->owner = getpid();
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&description->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return true;
}

void family_free(uint32_t number)
{
    atomic_fetch_and(&family->used[number / 64], ~(UINT64_C(1) << (number % 64)));
    uint32_t next = atomic_load_explicit(&family->next, memory_order_relaxed);
    if (number < next)
        atomic_store_explicit(&family->next, number, memory_order_relaxed);
}
