/* POSIX asynchronous I/O: aio_read, aio_write, aio_fsync, lio_listio.
 *
 * The C library does these in threads of its own, which call the kernel directly. A request for a file of
 * BenchFS is done in the calling thread, before the call returns, as the standard allows: what the program
 * then asks (aio_error, aio_return, aio_suspend) the C library answers from the control block, where this
 * writes how the request ended, and there is nothing left to cancel. The notification comes as if it had
 * taken longer. */
#include <aio.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "preload/preload.h"

/* ---- notification ---- */

struct call_back {
    void (*function)(union sigval);
    union sigval value;
};

static void *call_back(void *argument)
{
    struct call_back call = *(struct call_back *)argument;
    free(argument);
    call.function(call.value);
    return NULL;
}

static void notify_by_thread(const struct sigevent *event)
{
    pthread_attr_t own, *attributes = event->sigev_notify_attributes;
    pthread_t thread;
    struct call_back *call = malloc(sizeof *call);
    if (call == NULL)
        return;
    *call = (struct call_back){event->sigev_notify_function, event->sigev_value};
    pthread_attr_init(&own);
    pthread_attr_setdetachstate(&own, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, attributes != NULL ? attributes : &own, call_back, call) != 0)
        free(call);
    pthread_attr_destroy(&own);
}

static void notify(const struct sigevent *event)
{
    if (event->sigev_notify == SIGEV_THREAD) {
        notify_by_thread(event);
    } else if (event->sigev_notify == SIGEV_SIGNAL) {
        siginfo_t information;
        memset(&information, 0, sizeof information);
        information.si_signo = event->sigev_signo;
        information.si_code = SI_ASYNCIO;
        information.si_pid = getpid();
        information.si_uid = getuid();
        information.si_value = event->sigev_value;
        real(syscall)(SYS_rt_sigqueueinfo, getpid(), event->sigev_signo, &information);
    }
}

/* ---- requests ---- */

static bool is_remote(const struct aiocb *request)
{
    return descriptor_is_remote(request->aio_fildes);
}

static void complete(struct aiocb *request, ssize_t result)
{
    request->__return_value = result;
    __atomic_store_n(&request->__error_code, result < 0 ? errno : 0, __ATOMIC_RELEASE);
}

static bool priority_valid(const struct aiocb *request)
{
    return request->aio_reqprio >= 0 && request->aio_reqprio <= sysconf(_SC_AIO_PRIO_DELTA_MAX);
}

/* The request's own errors are for aio_error to tell. */
static int submit(struct aiocb *request, bool write)
{
    int before = errno;
    if (!priority_valid(request)) {
        errno = EINVAL;
        complete(request, -1);
        return -1;
    }
    void *bytes = (void *)(uintptr_t)request->aio_buf;
    complete(request, write ? pwrite(request->aio_fildes, bytes, request->aio_nbytes, request->aio_offset)
                            : pread(request->aio_fildes, bytes, request->aio_nbytes, request->aio_offset));
    errno = before;
    return 0;
}

static int submit_and_notify(struct aiocb *request, bool write)
{
    int status = submit(request, write);
    if (status == 0)
        notify(&request->aio_sigevent);
    return status;
}

EXPORT int aio_read(struct aiocb *request)
{
    return is_remote(request) ? submit_and_notify(request, false) : real(aio_read)(request);
}
ALIAS(aio_read64, aio_read);

EXPORT int aio_write(struct aiocb *request)
{
    return is_remote(request) ? submit_and_notify(request, true) : real(aio_write)(request);
}
ALIAS(aio_write64, aio_write);

EXPORT int aio_fsync(int how, struct aiocb *request)
{
    if (!is_remote(request))
        return real(aio_fsync)(how, request);
    if (how != O_SYNC && how != O_DSYNC) {
        errno = EINVAL;
        return -1;
    }
    int before = errno;
    complete(request, how == O_SYNC ? fsync(request->aio_fildes) : fdatasync(request->aio_fildes));
    errno = before;
    notify(&request->aio_sigevent);
    return 0;
}
ALIAS(aio_fsync64, aio_fsync);

EXPORT int aio_cancel(int fd, struct aiocb *request)
{
    if (!descriptor_is_remote(fd))
        return real(aio_cancel)(fd, request);
    if (request == NULL || request->aio_fildes == fd)
        return AIO_ALLDONE;
    errno = EINVAL;
    return -1;
}
ALIAS(aio_cancel64, aio_cancel);

/* ---- lists ---- */

/* Whether a request of a list has failed already. */
static bool failed(const struct aiocb *request)
{
    return __atomic_load_n(&request->__error_code, __ATOMIC_ACQUIRE) != 0;
}

/* Does those of BenchFS. *others: how many there are besides, which others are left in the list. */
static int list_remote(struct aiocb *const list[], int count, struct aiocb **others, int *other_count)
{
    int failures = 0;
    *other_count = 0;
    for (int i = 0; i < count; i++) {
        struct aiocb *request = list[i];
        if (request == NULL || request->aio_lio_opcode == LIO_NOP)
            continue;
        if (!is_remote(request)) {
            others[(*other_count)++] = request;
            continue;
        }
        submit_and_notify(request, request->aio_lio_opcode == LIO_WRITE);
        failures += failed(request);
    }
    return failures;
}

static bool any_remote(struct aiocb *const list[], int count)
{
    for (int i = 0; i < count; i++)
        if (list[i] != NULL && list[i]->aio_lio_opcode != LIO_NOP && is_remote(list[i]))
            return true;
    return false;
}

EXPORT int lio_listio(int mode, struct aiocb *const list[], int count, struct sigevent *event)
{
    static struct sigevent nothing = {.sigev_notify = SIGEV_NONE};
    if ((mode != LIO_WAIT && mode != LIO_NOWAIT) || !any_remote(list, count))
        return real(lio_listio)(mode, list, count, event);
    struct aiocb **others = malloc((size_t)count * sizeof(struct aiocb *));
    if (others == NULL) {
        errno = EAGAIN;
        return -1;
    }
    if (event == NULL)
        event = &nothing;
    int other_count, failures = list_remote(list, count, others, &other_count), status = 0;
    if (other_count > 0)
        status = real(lio_listio)(mode, others, other_count, event); /* notifies when the last has ended */
    else if (mode == LIO_NOWAIT)
        notify(event);
    free(others);
    if (status == 0 && failures > 0) {
        errno = EIO;
        status = -1;
    }
    return status;
}
ALIAS(lio_listio64, lio_listio);
