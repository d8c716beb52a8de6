/* Calls go to the thread through a list under a mutex, and come back the same way; a reactor of the loop
 * fires their completions. An event descriptor wakes a loop that is blocked.
 *
 * One thread, because its order is a guarantee that others build on: a call sees what was written by calls
 * that were made before it, and the write-ahead log has the writes in that order. RocksDB has threads of its
 * own for flushing and compaction; a write that it stalls holds up the thread, and not the loop.
 *
 * A device that is full. RocksDB takes a write that failed, of its log or of one of its threads, for the end
 * of all writing, and its C interface knows no way on but to open the database anew. That loses nothing: what
 * was written is in the log, and of a call that failed either nothing is or all, and it is made again, or its
 * caller was told. Opening takes room, since the log is turned into tables. So some is left free by all who
 * would add something (`left`), which is also what flushing and compaction need until old files go. Deleting
 * gives room only when a compaction drops what was deleted, and blobs that lie among others when these are
 * moved elsewhere. Nothing would make RocksDB do that now, and it would move more than there is room for; so
 * it is told to (make_room), and how many of the files of blobs may be moved (blob_share_adapt).
 *
 * A file that is damaged. What a start reads of it has the start refused. What only a compaction meets ends
 * all writing, too, with a status that is not that of a full device: every write is -EIO then, and what can
 * be read is read. */
#include "store/rocksdb_database.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "store/rocksdb_copy.h"
#include "store/rocksdb_format.h"

#define WRITE_BUFFERS 4u /* of which three may wait to be written out */
#define WRITE_BUFFER_MIN (UINT64_C(1) << 20)
#define WRITE_BUFFER_SHARE 64u /* of the device, each at most */
#define BLOB_BYTES_MIN 4096u
#define BLOB_FILE_MIN (UINT64_C(4) << 20)
#define BLOB_FILE_MAX (UINT64_C(64) << 20)
#define BLOB_FILES 64u /* at least so many on a device that is full */
#define BACKGROUND_JOBS 2
/* What is left of the device: a sixteenth, at most so much, but at least what all write buffers take when
 * they are written out while the log still has them; and never more than a quarter. */
#define LEFT_MOST (UINT64_C(256) << 20)
#define LEFT_BUFFERS (2u * WRITE_BUFFERS)
/* What RocksDB may be asked to write with such a part of that: what adds something, and other things. */
#define ADD_SHARE 2u
#define WRITE_SHARE 8u
/* Of which part of the files of blobs a compaction moves blobs, oldest first, while there is room. */
#define BLOB_SHARE 0.25
#define BLOB_SHARE_MIN 0.0001
#define LOOK_NS (10 * NSEC_PER_MSEC) /* how often the thread asks RocksDB whether it is well */
#define ASK_NS (200 * NSEC_PER_MSEC) /* and when it is full */

struct database {
    struct loop *loop;
    rocksdb_t *rocksdb;
    char *copy; /* what is written is forgotten: the directory that is written to; else NULL */
    char *path; /* of the database */
    rocksdb_cache_t *cache;
    rocksdb_block_based_table_options_t *table;
    rocksdb_options_t *options;
    struct reactor reactor; /* fd: the event descriptor */
    bool reacting;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct list calls;   /* database_call.link; under the lock, as the next two */
    struct list results; /* the same */
    bool ending;
    atomic_bool ready; /* there are results */

    /* A full device. */
    uint64_t left;         /* bytes of it that are for what makes room */
    uint64_t write_buffer; /* bytes of each */
    atomic_bool tight;     /* there is less, or RocksDB refuses to write */
    uint64_t asked;        /* loop_now of the last call that made the thread look */
    bool looking;          /* it has not ended yet: */
    struct database_call look;
    /* The thread's own: */
    bool refuses;    /* RocksDB does; or there is no database at present, or one that is only read */
    bool recovered;  /* it may compact by itself, */
    bool compacts;   /* and has been told so */
    bool owed;       /* something was deleted that no compaction has dropped yet */
    uint64_t looked; /* clock_now */
    double blob_share;
};

/* ---- errors ---- */

int database_status(char *error, const char *doing)
{
    if (error == NULL)
        return 0;
    int status = -EIO;
    if (strstr(error, "No space left") != NULL)
        status = -ENOSPC;
    else if (strncmp(error, "Corruption", 10) == 0)
        status = -EBADMSG;
    if (status != -ENOSPC)
        log_error("rocksdb cannot %s: %s", doing, error);
    rocksdb_free(error);
    return status;
}

/* What is damaged in a file that a compaction read ends all writing, whatever is written. */
int database_write(rocksdb_t *rocksdb, rocksdb_writebatch_t *batch, bool synchronise)
{
    char *error = NULL;
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(options, synchronise);
    rocksdb_write(rocksdb, options, batch, &error);
    rocksdb_writeoptions_destroy(options);
    int status = database_status(error, "write");
    return status == -EBADMSG ? -EIO : status;
}

/* ---- a full device; on the thread ---- */

/* Bytes that are free, and of the whole; unknown: as if there were enough. */
static uint64_t device_available(const struct database *database, uint64_t *size)
{
    struct statvfs found;
    if (statvfs(database->path, &found) != 0) {
        *size = 0;
        return UINT64_MAX;
    }
    *size = (uint64_t)found.f_blocks * found.f_frsize;
    return (uint64_t)found.f_bavail * found.f_frsize;
}

/* What is kept follows from the size of the device, and so do buffers and files, on one that is small. */
static void device_measure(struct database *database)
{
    uint64_t size;
    device_available(database, &size);
    if (size > 0 && database->write_buffer > size / WRITE_BUFFER_SHARE)
        database->write_buffer =
            size / WRITE_BUFFER_SHARE < WRITE_BUFFER_MIN ? WRITE_BUFFER_MIN : size / WRITE_BUFFER_SHARE;
    rocksdb_options_set_write_buffer_size(database->options, database->write_buffer);
    uint64_t left = size / 16 < LEFT_MOST ? size / 16 : LEFT_MOST;
    if (left < LEFT_BUFFERS * database->write_buffer)
        left = LEFT_BUFFERS * database->write_buffer;
    database->left = left < size / 4 ? left : size / 4;
    uint64_t blobs = size / BLOB_FILES;
    blobs = blobs < BLOB_FILE_MIN ? BLOB_FILE_MIN : blobs;
    rocksdb_options_set_blob_file_size(database->options, blobs < BLOB_FILE_MAX ? blobs : BLOB_FILE_MAX);
}

static uint64_t property(rocksdb_t *rocksdb, const char *name)
{
    uint64_t value = 0;
    return rocksdb_property_int(rocksdb, name, &value) == 0 ? value : 0;
}

/* Of a thread of RocksDB's own, which ends all writing. With room on the device the next write tells why. */
static bool has_background_errors(const struct database *database)
{
    return property(database->rocksdb, "rocksdb.background-errors") > 0;
}

/* Lets compactions move blobs out of so many files, the oldest first, that half of what is free would hold
 * them. In powers of two: each change has RocksDB write a file. */
static void blob_share_adapt(struct database *database, uint64_t available)
{
    uint64_t blobs = property(database->rocksdb, "rocksdb.live-blob-file-size");
    double allowed = blobs == 0 ? BLOB_SHARE : (double)(available / 2) / (double)blobs;
    double share = database->blob_share;
    while (share > allowed && share > BLOB_SHARE_MIN)
        share /= 2;
    while (2 * share <= allowed && 2 * share <= BLOB_SHARE)
        share *= 2;
    if (share == database->blob_share)
        return;
    char value[32], *error = NULL;
    snprintf(value, sizeof(value), "%f", share);
    const char *keys[] = {"blob_garbage_collection_age_cutoff"}, *values[] = {value};
    rocksdb_set_options(database->rocksdb, 1, keys, values, &error);
    if (database_status(error, "set how many blobs may be moved") == 0)
        database->blob_share = share;
}

/* If it cannot be told, for want of room, that is tried again with the next look. */
static void compactions_allow(struct database *database)
{
    if (!database->recovered || database->compacts)
        return;
    char *error = NULL;
    const char *keys[] = {"disable_auto_compactions"}, *values[] = {"false"};
    rocksdb_set_options(database->rocksdb, 1, keys, values, &error);
    database->compacts = database_status(error, "allow compactions") == 0;
}

static void tight_set(struct database *database, bool tight)
{
    if (tight == atomic_load_explicit(&database->tight, memory_order_relaxed))
        return;
    if (tight)
        log_warning("rocksdb \"%s\": the device is full: the rest of it is for what makes room, what adds "
                    "something fails",
                    database->path);
    else
        log_info("rocksdb \"%s\": the device has room again", database->path);
    atomic_store_explicit(&database->tight, tight, memory_order_relaxed);
}

static void device_look(struct database *database)
{
    uint64_t size, now = clock_now(), available = device_available(database, &size);
    if (!database->refuses && now - database->looked >= LOOK_NS) {
        database->looked = now;
        database->refuses = available < database->left && has_background_errors(database);
        if (!database->refuses) {
            compactions_allow(database);
            blob_share_adapt(database, available);
        }
    }
    tight_set(database, database->refuses || available < database->left);
}

/* Whether there is room for a call that writes; RocksDB is not asked what it would have to refuse. */
static bool device_allows(const struct database *database, const struct database_call *call)
{
    uint64_t size, available = device_available(database, &size);
    return available >= database->left / (call->adds ? ADD_SHARE : WRITE_SHARE);
}

/* After a call that writes. */
static void look_after(struct database *database, const struct database_call *call)
{
    database->owed |= call->frees && call->status == 0;
    device_look(database);
}

/* Opens what is not open; if it cannot be written to, for reading. */
static int open_again(struct database *database)
{
    char *error = NULL;
    database->rocksdb = rocksdb_open(database->options, database->path, &error);
    int status = database_status(error, "open its database again");
    database->refuses = status != 0;
    database->blob_share = BLOB_SHARE;
    database->compacts = database->recovered;
    if (status == 0)
        return 0;
    error = NULL;
    database->rocksdb = rocksdb_open_for_read_only(database->options, database->path, 0, &error);
    database_status(error, "open its database to read it");
    return status;
}

/* Before a call that writes, while RocksDB refuses to. */
static int open_anew(struct database *database)
{
    if (database->rocksdb != NULL)
        rocksdb_close(database->rocksdb);
    return open_again(database);
}

/* Has deleted things dropped. Blobs are moved from as many files as there is room for; what was moved is
 * young, so that the next time it is others' turn. */
static int make_room(struct database_call *call, rocksdb_t *rocksdb)
{
    struct database *database = container_of(call, struct database, look);
    uint64_t garbage = property(rocksdb, "rocksdb.live-blob-file-garbage-size");
    if (!database->owed && garbage == 0)
        return 0;
    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_bottommost_level_compaction(options, 2 /* also the lowest level */);
    database->owed = false;
    rocksdb_compact_range_opt(rocksdb, options, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(options);
    return 0;
}

static void looked(struct completion *completion)
{
    container_of(container_of(completion, struct database_call, done), struct database, look)->looking =
        false;
}

struct recovered_call {
    struct database_call call;
    struct database *database;
};

static int recovered_work(struct database_call *call, rocksdb_t *rocksdb)
{
    struct database *database = container_of(call, struct recovered_call, call)->database;
    (void)rocksdb;
    database->recovered = true;
    rocksdb_options_set_disable_auto_compactions(database->options, 0); /* when it is opened again */
    compactions_allow(database);
    return 0;
}

/* ---- the thread ---- */

static int work_on(struct database *database, struct database_call *call)
{
    int status = call->work(call, database->rocksdb);
    database->refuses |= call->writes && status == -ENOSPC;
    return status;
}

static int call_work(struct database *database, struct database_call *call)
{
    int status = call->writes && !device_allows(database, call) ? -ENOSPC : 0;
    if (status == 0 && call->writes && database->refuses)
        status = open_anew(database);
    if (status == 0 && database->rocksdb == NULL) {
        status = open_again(database);
        if (database->rocksdb != NULL && !call->writes)
            status = 0;
    }
    if (status == 0)
        status = work_on(database, call);
    /* There was no room some time ago, when nobody looked. */
    if (status == -ENOSPC && database->refuses && device_allows(database, call))
        status = open_anew(database) == 0 ? work_on(database, call) : -ENOSPC;
    return status;
}

static void *thread_run(void *argument)
{
    struct database *database = argument;
    pthread_mutex_lock(&database->lock);
    for (;;) {
        while (list_empty(&database->calls) && !database->ending)
            pthread_cond_wait(&database->wanted, &database->lock);
        struct list *node = list_pop_front(&database->calls);
        if (node == NULL)
            break;
        pthread_mutex_unlock(&database->lock);
        struct database_call *call = container_of(node, struct database_call, link);
        call->status = call_work(database, call);
        if (call->writes)
            look_after(database, call);
        pthread_mutex_lock(&database->lock);
        bool first = list_empty(&database->results);
        list_push_back(&database->results, &call->link);
        atomic_store_explicit(&database->ready, true, memory_order_release);
        if (first)
            eventfd_write(database->reactor.fd, 1);
    }
    pthread_mutex_unlock(&database->lock);
    return NULL;
}

static int results_take(struct reactor *reactor)
{
    struct database *database = container_of(reactor, struct database, reactor);
    if (!atomic_load_explicit(&database->ready, memory_order_acquire))
        return 0;
    struct list results;
    list_init(&results);
    pthread_mutex_lock(&database->lock);
    eventfd_t events;
    eventfd_read(reactor->fd, &events);
    atomic_store_explicit(&database->ready, false, memory_order_relaxed);
    for (struct list *node; (node = list_pop_front(&database->results)) != NULL;)
        list_push_back(&results, node);
    pthread_mutex_unlock(&database->lock);
    int count = 0;
    for (struct list *node; (node = list_pop_front(&results)) != NULL; count++) {
        struct database_call *call = container_of(node, struct database_call, link);
        completion_fire(&call->done, call->status);
    }
    return count;
}

static int results_arm(struct reactor *reactor)
{
    struct database *database = container_of(reactor, struct database, reactor);
    return atomic_load_explicit(&database->ready, memory_order_acquire) ? -EBUSY : 0;
}

static void call_post(struct database *database, struct database_call *call)
{
    pthread_mutex_lock(&database->lock);
    list_push_back(&database->calls, &call->link);
    pthread_cond_signal(&database->wanted);
    pthread_mutex_unlock(&database->lock);
}

int database_room(struct database *database)
{
    if (__builtin_expect(!atomic_load_explicit(&database->tight, memory_order_relaxed), 1))
        return 0;
    uint64_t now = loop_now(database->loop);
    if (!database->looking && now - database->asked >= ASK_NS) {
        database->asked = now;
        database->looking = true;
        database->look = (struct database_call){
            .work = make_room, .writes = true, .done = (struct completion){.notify = looked}};
        call_post(database, &database->look);
    }
    return -ENOSPC;
}

/* A call is what a transfer of a disk is elsewhere: with the time that it waited for the thread. */
static void call_record(const struct database *database, const struct database_call *call)
{
    const struct metrics_entry entry = {
        .started = call->started,
        .correlation = task_tag(),
        .total_ns = metrics_clip(loop_now(database->loop) - call->started),
        .bytes = call->bytes,
        .operation = call->measured,
        .kind = METRICS_DISK,
        .status = (int16_t)call->status,
    };
    metrics_record(loop_metrics(database->loop), &entry);
}

void database_begin(struct database *database, struct database_call *call)
{
    call->started = loop_now(database->loop);
    call->done = COMPLETION_INIT;
    call_post(database, call);
}

int database_end(struct database *database, struct database_call *call)
{
    bool cancelled = false;
    while (!call->done.fired)
        cancelled = await(database->loop, &call->done) == -ECANCELED || cancelled;
    if (cancelled && task_current() != NULL)
        task_cancel(task_current());
    if (call->measured != 0)
        call_record(database, call);
    return call->status;
}

int database_run(struct database *database, struct database_call *call)
{
    database_begin(database, call);
    return database_end(database, call);
}

void database_recovered(struct database *database)
{
    struct recovered_call recovered = {{.work = recovered_work}, database};
    if (database->copy == NULL) /* what is written there is forgotten */
        database_run(database, &recovered.call);
}

/* ---- life ---- */

static void options_make(struct database *database, uint64_t buffer)
{
    uint64_t write_buffer = buffer / 2 / WRITE_BUFFERS;
    if (write_buffer < WRITE_BUFFER_MIN)
        write_buffer = WRITE_BUFFER_MIN;
    database->write_buffer = write_buffer;
    database->cache = rocksdb_cache_create_lru(buffer / 2);
    database->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(database->table, database->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(database->table, 1);
    rocksdb_block_based_options_set_filter_policy(database->table, rocksdb_filterpolicy_create_bloom(10));
    rocksdb_options_t *options = database->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_block_based_table_factory(options, database->table);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, (size_t)write_buffer);
    rocksdb_options_set_max_write_buffer_number(options, WRITE_BUFFERS);
    rocksdb_options_set_max_background_jobs(options, BACKGROUND_JOBS);
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_point_in_time_recovery);
    rocksdb_options_set_disable_auto_compactions(options, 1); /* before database_recovered */
    rocksdb_options_set_enable_blob_files(options, 1);
    rocksdb_options_set_min_blob_size(options, BLOB_BYTES_MIN);
    rocksdb_options_set_blob_compression_type(options, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_gc(options, 1);
    rocksdb_options_set_blob_gc_age_cutoff(options, BLOB_SHARE);
    database->blob_share = BLOB_SHARE;
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_info_log_level(options,
                                       5 /* the header alone: a log that meets a full device aborts */);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
}

/* RocksDB would allocate each file's whole length when it begins one, tens of MiB, and on a device that is
 * nearly full take all there is for a moment. The C interface has no call for that option. */
static int options_complete(struct database *database)
{
    char *error = NULL;
    rocksdb_options_t *complete = rocksdb_options_create();
    rocksdb_get_options_from_string(database->options, "allow_fallocate=false", complete, &error);
    rocksdb_options_destroy(database->options);
    database->options = complete;
    return database_status(error, "set its options");
}

/* An empty database gets the format's number; another's is refused. */
static int format_check(struct database *database)
{
    const char key = ROCKS_KEY_FORMAT;
    char *error = NULL;
    size_t length = 0;
    rocksdb_readoptions_t *reading = rocksdb_readoptions_create();
    char *value = rocksdb_get(database->rocksdb, reading, &key, 1, &length, &error);
    rocksdb_readoptions_destroy(reading);
    int status = database_status(error, "read the format of its database");
    if (status != 0)
        return status;
    const uint8_t format[4] = {ROCKS_FORMAT};
    if (value == NULL) {
        rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
        rocksdb_writebatch_put(batch, &key, 1, (const char *)format, sizeof(format));
        status = database_write(database->rocksdb, batch, true);
        rocksdb_writebatch_destroy(batch);
    } else if (length != sizeof(format) || memcmp(value, format, sizeof(format)) != 0) {
        log_error("the database of the storage engine rocksdb has another format than version %u of it",
                  ROCKS_FORMAT);
        status = -EPROTONOSUPPORT;
    }
    rocksdb_free(value);
    return status;
}

/* No signal is meant for these threads. */
static int threads_start(struct database *database)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    char *error = NULL;
    database->rocksdb = rocksdb_open(database->options, database->path, &error);
    int status = database_status(error, "open its database");
    if (status == -ENOSPC)
        log_error("rocksdb cannot open its database in \"%s\": %s: make room on the device", database->path,
                  status_text(status));
    if (status == 0)
        status = format_check(database);
    if (status == 0) {
        status = -pthread_create(&database->thread, NULL, thread_run, database);
        database->started = status == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* A database that is forgotten lies in a directory of its own. */
static int database_place(struct database *database, const char **path)
{
    int status = rocksdb_copy_make(*path, &database->copy);
    if (status == 0)
        *path = database->copy;
    return status;
}

int database_open(struct loop *loop, const char *path, uint64_t buffer, bool discard,
                  struct database **result)
{
    struct database *database = calloc(1, sizeof(*database));
    if (database == NULL)
        return -ENOMEM;
    database->loop = loop;
    pthread_mutex_init(&database->lock, NULL);
    pthread_cond_init(&database->wanted, NULL);
    list_init(&database->calls);
    list_init(&database->results);
    options_make(database, buffer);
    int status = options_complete(database);
    database->reactor = (struct reactor){.name = "rocksdb",
                                         .poll = results_take,
                                         .arm = results_arm,
                                         .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (status == 0)
        status = database->reactor.fd < 0 ? -errno : loop_reactor_add(loop, &database->reactor);
    database->reacting = status == 0;
    if (status == 0 && discard)
        status = database_place(database, &path);
    if (status == 0 && (database->path = strdup(path)) == NULL)
        status = -ENOMEM;
    if (status == 0) {
        mkdir(database->path, 0700); /* to ask for its device; what is wrong with it RocksDB will say */
        device_measure(database);
        status = threads_start(database);
    }
    if (status != 0) {
        database_close(database);
        return status;
    }
    *result = database;
    return 0;
}

uint64_t database_cached(const struct database *database)
{
    return rocksdb_cache_get_usage(database->cache);
}

void database_close(struct database *database)
{
    if (database->started) {
        pthread_mutex_lock(&database->lock);
        database->ending = true;
        pthread_cond_signal(&database->wanted);
        pthread_mutex_unlock(&database->lock);
        pthread_join(database->thread, NULL);
    }
    if (database->reacting)
        loop_reactor_remove(database->loop, &database->reactor);
    if (database->reactor.fd >= 0)
        close(database->reactor.fd);
    if (database->rocksdb != NULL)
        rocksdb_close(database->rocksdb);
    if (database->copy != NULL)
        rocksdb_copy_remove(database->copy);
    free(database->path);
    rocksdb_options_destroy(database->options);
    rocksdb_block_based_options_destroy(database->table);
    rocksdb_cache_destroy(database->cache);
    pthread_cond_destroy(&database->wanted);
    pthread_mutex_destroy(&database->lock);
    free(database);
}
