/* Memory that a process shows to others.
 *
 * It is a memfd without a name in any file system: who is told process and descriptor opens it as
 * /proc/PROCESS/fd/DESCRIPTOR, which the kernel allows to processes of the same user (and to root), and it is
 * gone with its last mapping, however its owner ends. A seal keeps everybody but the owner's own mapping from
 * writing. Numbers of processes and descriptors are used again, so the memory's name is looked at before it
 * is opened, and a random id in it before it is believed.
 *
 * The first page is the head; what is shown begins behind it. In the head is a robust mutex (pthreads,
 * robust_list(2)) that the owner's thread holds as long as it shows the memory. When that thread ends the
 * kernel takes its number out of the mutex's word, before it closes any descriptor of the process: so whoever
 * finds the number there knows that the owner lives, without asking anybody, and nobody who has seen one of
 * its sockets end can still find it there. A thread that is stopped, or slow, still shows what it wrote. What
 * is shown by a process has no such owner. */
#include "net/shown.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"

#define HEAD_BYTES 4096u
#define SHOWN_NAME "benchfs shown"
#define SHOWN_LINK "/memfd:" SHOWN_NAME

struct head {
    pthread_mutex_t mutex; /* its first word is the kernel's */
    uint8_t id[sizeof((struct net_place *)0)->id];
    uint64_t length;
};
static_assert(sizeof(struct head) <= HEAD_BYTES, "one page");
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0, "the word that the kernel changes");

struct shown {
    struct net_shown base;
    struct head *head;
    int fd;
    bool owned; /* the mutex is held */
};

struct view {
    struct net_view base;
    struct head *head;
};

/* ---- the owner ---- */

static int own(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    int error = pthread_mutex_init(mutex, &kind);
    pthread_mutexattr_destroy(&kind);
    return error != 0 ? -error : -pthread_mutex_lock(mutex);
}

/* A descriptor of sealed memory, mapped at *head; or -errno. */
static int make_memory(size_t bytes, struct head **head)
{
    int fd = memfd_create(SHOWN_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    void *memory = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0)
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int status = -errno;
        if (memory != MAP_FAILED)
            munmap(memory, bytes);
        close(fd);
        return status;
    }
    *head = memory;
    return fd;
}

int shown_create(struct net *net, size_t length, enum net_shown_by by, struct net_shown **result)
{
    struct shown *shown = calloc(1, sizeof(*shown));
    if (shown == NULL)
        return -ENOMEM;
    int fd = make_memory(HEAD_BYTES + length, &shown->head);
    shown->owned = by == NET_SHOWN_BY_THREAD;
    int status = fd < 0 ? fd : shown->owned ? own(&shown->head->mutex) : 0;
    if (status != 0) {
        if (fd >= 0) {
            munmap(shown->head, HEAD_BYTES + length);
            close(fd);
        }
        free(shown);
        return status;
    }
    shown->fd = fd;
    shown->base = (struct net_shown){
        .net = net,
        .operations = net->operations,
        .memory = (uint8_t *)shown->head + HEAD_BYTES,
        .place = {.length = length, .process = (uint32_t)getpid(), .descriptor = (uint32_t)fd},
    };
    random_secure(shown->base.place.id, sizeof(shown->base.place.id));
    memcpy(shown->head->id, shown->base.place.id, sizeof(shown->head->id));
    shown->head->length = length;
    *result = &shown->base;
    return 0;
}

void shown_destroy(struct net_shown *base)
{
    struct shown *shown = (struct shown *)base;
    int error = shown->owned ? pthread_mutex_unlock(&shown->head->mutex) : 0;
    assert(error == 0);
    (void)error;
    munmap(shown->head, HEAD_BYTES + base->place.length);
    close(shown->fd);
    free(shown);
}

/* ---- the others ---- */

/* Opens what is at that place if it is of our making; or -errno. */
static int open_place(const struct net_place *place)
{
    char path[64], target[sizeof(SHOWN_LINK)];
    snprintf(path, sizeof(path), "/proc/%u/fd/%u", place->process, place->descriptor);
    ssize_t length = readlink(path, target, sizeof(target));
    if (length < (ssize_t)strlen(SHOWN_LINK) || memcmp(target, SHOWN_LINK, strlen(SHOWN_LINK)) != 0)
        return -ENOENT;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? -ENOENT : fd;
}

static struct head *map_place(int fd, uint64_t length)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &status) != 0 ||
        (uint64_t)status.st_size != HEAD_BYTES + length)
        return NULL;
    void *memory = mmap(NULL, HEAD_BYTES + length, PROT_READ, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int shown_view(struct net *net, const struct net_place *place, struct net_view **result)
{
    if (place->length > (uint64_t)1 << 40)
        return -ENOENT;
    int fd = open_place(place);
    if (fd < 0)
        return fd;
    struct head *head = map_place(fd, place->length);
    close(fd);
    struct view *view = head == NULL ? NULL : calloc(1, sizeof(*view));
    if (view == NULL || memcmp(head->id, place->id, sizeof(head->id)) != 0) {
        free(view);
        if (head != NULL)
            munmap(head, HEAD_BYTES + place->length);
        return -ENOENT;
    }
    view->head = head;
    view->base = (struct net_view){
        .net = net,
        .memory = (const uint8_t *)head + HEAD_BYTES,
        .length = place->length,
        .owner = (const _Atomic uint32_t *)(const void *)&head->mutex,
    };
    *result = &view->base;
    return 0;
}

void shown_view_end(struct net_view *base)
{
    struct view *view = (struct view *)base;
    munmap(view->head, HEAD_BYTES + base->length);
    free(view);
}
