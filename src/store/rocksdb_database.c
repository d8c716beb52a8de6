/* Calls go to the thread through a list under a mutex, and come back the same way; a reactor of the loop
 * fires their completions. An event descriptor wakes a loop that is blocked.
 *
 * One thread, because its order is a guarantee that others build on: a call sees what was written by calls
 * that were made before it, and the write-ahead log has the writes in that order. RocksDB has threads of its
 * own for flushing and compaction; a write that it stalls holds up the thread, and not the loop. */
#include "store/rocksdb_database.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "store/rocksdb_copy.h"
#include "store/rocksdb_format.h"

#define WRITE_BUFFERS 4u /* of which three may wait to be written out */
#define WRITE_BUFFER_MIN (UINT64_C(1) << 20)
#define BLOB_BYTES_MIN 4096u
#define BLOB_FILE_BYTES (UINT64_C(256) << 20)
#define BACKGROUND_JOBS 2

struct database {
    struct loop *loop;
    rocksdb_t *rocksdb;
    char *copy; /* what is written is forgotten: the directory that is written to; else NULL */
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
    log_error("rocksdb cannot %s: %s", doing, error);
    rocksdb_free(error);
    return status;
}

int database_write(rocksdb_t *rocksdb, rocksdb_writebatch_t *batch, bool synchronise)
{
    char *error = NULL;
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(options, synchronise);
    rocksdb_write(rocksdb, options, batch, &error);
    rocksdb_writeoptions_destroy(options);
    return database_status(error, "write");
}

/* ---- the thread ---- */

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
        call->status = call->work(call, database->rocksdb);
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

int database_run(struct database *database, struct database_call *call)
{
    call->done = COMPLETION_INIT;
    pthread_mutex_lock(&database->lock);
    list_push_back(&database->calls, &call->link);
    pthread_cond_signal(&database->wanted);
    pthread_mutex_unlock(&database->lock);
    bool cancelled = false;
    while (!call->done.fired)
        cancelled = await(database->loop, &call->done) == -ECANCELED || cancelled;
    if (cancelled && task_current() != NULL)
        task_cancel(task_current());
    return call->status;
}

/* ---- life ---- */

static void options_make(struct database *database, uint64_t buffer)
{
    uint64_t write_buffer = buffer / 2 / WRITE_BUFFERS;
    if (write_buffer < WRITE_BUFFER_MIN)
        write_buffer = WRITE_BUFFER_MIN;
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
    rocksdb_options_set_enable_blob_files(options, 1);
    rocksdb_options_set_min_blob_size(options, BLOB_BYTES_MIN);
    rocksdb_options_set_blob_file_size(options, BLOB_FILE_BYTES);
    rocksdb_options_set_blob_compression_type(options, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_gc(options, 1);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
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
static int threads_start(struct database *database, const char *path)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    char *error = NULL;
    database->rocksdb = rocksdb_open(database->options, path, &error);
    int status = database_status(error, "open its database");
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
    if (status == 0) {
        *path = database->copy;
        rocksdb_options_set_disable_auto_compactions(database->options, 1);
    }
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
    database->reactor = (struct reactor){.name = "rocksdb",
                                         .poll = results_take,
                                         .arm = results_arm,
                                         .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int status = database->reactor.fd < 0 ? -errno : loop_reactor_add(loop, &database->reactor);
    database->reacting = status == 0;
    if (status == 0 && discard)
        status = database_place(database, &path);
    if (status == 0)
        status = threads_start(database, path);
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
    rocksdb_options_destroy(database->options);
    rocksdb_block_based_options_destroy(database->table);
    rocksdb_cache_destroy(database->cache);
    pthread_cond_destroy(&database->wanted);
    pthread_mutex_destroy(&database->lock);
    free(database);
}
