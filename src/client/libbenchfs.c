/* libbenchfs: connecting, and a worker per calling thread.
 *
 * A worker is a loop, a transport endpoint and a client core, all used by one thread at a time, so calls of
 * different threads share nothing but the descriptor table. It is made at a thread's first call on a file
 * system. When the thread ends it is put aside for the next one: what this process has open is held by its
 * sessions with the servers, which must not end before benchfs_disconnect. Finding it again costs one
 * comparison in thread-local memory.
 *
 * A child after fork must not touch its parent's workers: their connections and shared-memory queues belong
 * to the parent. A counter tells that a worker comes from before a fork; the child leaves it alone and makes
 * its own. */
#include "client/application.h"
#include "client/library.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/config.h"
#include "base/hash.h"
#include "base/log.h"
#include "cluster/file.h"
#include "metrics/files.h"

__thread struct worker_current worker_current = {.detail_until = &application_untraced};
static __thread struct worker *thread_workers; /* all workers of this thread, whatever their file system */
static __thread char last_error[1024];

_Atomic uint32_t library_forks;

static pthread_key_t exit_key;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static int prepare_status;
static pthread_mutex_t library_mutex = PTHREAD_MUTEX_INITIALIZER; /* of file_systems */
static struct list file_systems = LIST_INIT(file_systems);
static _Atomic uint64_t next_id = 1;

static void (*guard)(bool enter); /* NULL: none */

void library_set_guard(void (*function)(bool enter))
{
    guard = function;
}

static void guard_enter(void)
{
    if (guard != NULL)
        guard(true);
}

static void guard_leave(void)
{
    if (guard != NULL)
        guard(false);
}

/* ---- threads and forks ---- */

static void worker_await_transfers(struct worker *worker);
static void worker_clear(struct worker *worker);

static struct benchfs *file_system_find(uint64_t id)
{
    list_for_each (node, &file_systems) {
        struct benchfs *fs = container_of(node, struct benchfs, link);
        if (fs->id == id)
            return fs;
    }
    return NULL;
}

static void worker_free(struct worker *worker)
{
    metrics_destroy(worker->metrics);
    free(worker->identity);
    free(worker);
}

/* The calling thread ends: puts its worker aside, or frees it if the file system is gone. */
static void worker_end(struct worker *worker)
{
    pthread_mutex_lock(&library_mutex);
    struct benchfs *fs = file_system_find(worker->fs_id);
    if (fs != NULL && worker->forks == library_forks) {
        worker_await_transfers(worker);
        if (worker->under_way == 0) {
            client_release_last(worker->client);
            pthread_mutex_lock(&fs->mutex);
            worker_clear(worker);
            list_push_front(&fs->idle, &worker->link);
            pthread_mutex_unlock(&fs->mutex);
            worker = NULL;
        } else {
            worker_shut_down(worker); /* transfers that do not end */
        }
    }
    pthread_mutex_unlock(&library_mutex);
    if (worker != NULL)
        worker_free(worker);
}

/* Takes a worker that a thread left behind. 0; -ENOENT: there is none; or why it cannot be used. */
static int worker_take_idle(struct benchfs *fs, struct worker **worker)
{
    pthread_mutex_lock(&fs->mutex);
    struct list *node = list_empty(&fs->idle) ? NULL : list_pop_front(&fs->idle);
    pthread_mutex_unlock(&fs->mutex);
    if (node == NULL)
        return -ENOENT;
    struct worker *taken = container_of(node, struct worker, link);
    free(taken->identity);
    taken->identity = NULL;
    int status = worker_identify(taken);
    if (status < 0) {
        worker_shut_down(taken);
        worker_free(taken);
        return status;
    }
    *worker = taken;
    return 0;
}

static void thread_exit(void *argument)
{
    (void)argument;
    guard_enter();
    worker_current = (struct worker_current){.detail_until = &application_untraced};
    while (thread_workers != NULL) {
        struct worker *worker = thread_workers;
        thread_workers = worker->next;
        worker_end(worker);
    }
    guard_leave();
}

/* A child could not tell which of its parent's delayed writes have reached the servers: all do, before, and
 * the servers learn that there will be a child. At exit only the writes matter. */
static void publish_all(bool forks)
{
    struct benchfs *fs;
    uint64_t after = 0;
    do {
        /* Publishing takes the mutex itself now and then. */
        fs = NULL;
        pthread_mutex_lock(&library_mutex);
        list_for_each (node, &file_systems) {
            struct benchfs *candidate = container_of(node, struct benchfs, link);
            if (candidate->id > after && (fs == NULL || candidate->id < fs->id))
                fs = candidate;
        }
        pthread_mutex_unlock(&library_mutex);
        if (fs != NULL) {
            after = fs->id;
            library_publish(fs);
            if (forks)
                inherit_announce(fs);
        }
    } while (fs != NULL);
}

__attribute__((destructor)) static void at_exit(void)
{
    guard_enter();
    publish_all(false);
    guard_leave();
}

/* Enters the child to be in the books. What it locks unlock_all unlocks. */
static void hand_on_all(void)
{
    pthread_mutex_lock(&library_mutex);
    list_for_each (node, &file_systems)
        pthread_mutex_lock(&container_of(node, struct benchfs, link)->mutex);
    list_for_each (node, &file_systems)
        inherit_before_fork(container_of(node, struct benchfs, link));
}

static void unlock_all(void)
{
    list_for_each (node, &file_systems)
        pthread_mutex_unlock(&container_of(node, struct benchfs, link)->mutex);
    pthread_mutex_unlock(&library_mutex);
}

void library_before_spawn(void)
{
    hand_on_all();
}

void library_after_spawn(pid_t child)
{
    inherit_after_spawn(child);
    unlock_all();
}

static void before_fork(void)
{
    guard_enter();
    publish_all(true);
    hand_on_all();
    net_ucx_before_fork();
    guard_leave();
}

static void after_fork(void)
{
    guard_enter();
    net_ucx_after_fork();
    inherit_after_fork();
    unlock_all();
    guard_leave();
}

static void after_fork_in_child(void)
{
    guard_enter();
    library_forks++;
    list_for_each (node, &file_systems) {
        struct benchfs *fs = container_of(node, struct benchfs, link);
        list_init(&fs->workers);
        list_init(&fs->idle);
        open_files_after_fork(fs);
        file_caches_after_fork(fs);
        file_locks_after_fork(fs);
        atomic_store(&fs->locks.shared, atomic_load(&fs->locks.descriptions) == 0);
        inherit_in_child(fs);
        atomic_store(&fs->instance, 0);
    }
    net_ucx_after_fork_in_child();
    inherit_after_fork();
    unlock_all();
    guard_leave();
}

bool library_inherits(void)
{
    bool any = false;
    pthread_mutex_lock(&library_mutex);
    list_for_each (node, &file_systems)
        any |= container_of(node, struct benchfs, link)->inherits;
    pthread_mutex_unlock(&library_mutex);
    return any;
}

static void prepare(void)
{
    prepare_status = -pthread_key_create(&exit_key, thread_exit);
    if (prepare_status == 0)
        prepare_status = -pthread_atfork(before_fork, after_fork, after_fork_in_child);
    log_threshold = LOG_ERROR;
}

/* ---- workers ---- */

static void worker_set_current(struct worker *worker)
{
    worker_current = (struct worker_current){
        .fs_id = worker->fs_id,
        .forks = worker->forks,
        .worker = worker,
        .detail_until = &worker->metrics->header->detail_until,
    };
}

/* Made by the first worker of a process. */
static uint64_t instance_get(struct benchfs *fs)
{
    uint64_t instance = atomic_load(&fs->instance), made;
    while (instance == 0) {
        if (getrandom(&made, sizeof made, 0) != sizeof made || made == 0)
            continue;
        if (atomic_compare_exchange_strong(&fs->instance, &instance, made))
            instance = made;
    }
    return instance;
}

static int worker_open(struct worker *worker)
{
    struct benchfs *fs = worker->fs;
    struct loop_options loop_options = {.spin_ns = fs->spin_ns};
    struct net_ucx_options net_options = {
        .transports = fs->transports[0] != '\0' ? fs->transports : NULL,
        .devices = fs->devices[0] != '\0' ? fs->devices : NULL,
        .one_host = true,
    };
    for (uint32_t i = 0; i < fs->address_count; i++)
        net_options.one_host &= net_address_is_local(fs->addresses[i]);
    struct client_options client_options = {
        .cluster_key = fs->key,
        .instance = instance_get(fs),
        .orphans = &fs->orphans,
        .holds = &fs->holds,
        .addresses = fs->address_pointers,
        .address_count = fs->address_count,
        .rpc_deadline_ns = fs->deadline_ns,
        .rendezvous_threshold = fs->rendezvous_threshold,
        .placement = fs->placement,
        .chunk_shift = fs->chunk_shift,
        .prefix = fs->prefix,
    };
    int status = metrics_create(fs->metrics_shared ? METRICS_DIRECTORY_DEFAULT : NULL, fs->trace_entries,
                                &worker->metrics, NULL);
    if (status < 0)
        return status;
    loop_options.metrics = worker->metrics;
    status = loop_create(&loop_options, &worker->loop);
    if (status < 0)
        goto destroy_metrics;
    status = net_create(worker->loop, &net_options, &worker->net);
    if (status < 0)
        goto destroy_loop;
    status = client_create(worker->net, &client_options, &worker->client);
    if (status < 0)
        goto destroy_net;
    status = worker_identify(worker);
    if (status < 0)
        goto destroy_client;
    if (fs->consistency == CONSISTENCY_RELAXED)
        client_count_changes(worker->client, &fs->changes);
    return 0;

destroy_client:
    client_destroy(worker->client);
destroy_net:
    net_destroy(worker->net);
destroy_loop:
    loop_destroy(worker->loop);
destroy_metrics:
    metrics_destroy(worker->metrics);
    worker->metrics = NULL;
    return status;
}

int worker_create(struct benchfs *fs, struct worker **result)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return -ENOMEM;
    worker->fs = fs;
    worker->fs_id = fs->id;
    worker->forks = library_forks;
    int status = worker_inherit(worker, thread_workers);
    if (status < 0) {
        free(worker);
        return status;
    }
    list_init(&worker->link);
    list_init(&worker->listings);
    list_init(&worker->finished);
    status = worker_open(worker);
    if (status < 0) {
        worker_free(worker);
        return status;
    }
    *result = worker;
    return 0;
}

int worker_adopt(struct worker *worker)
{
    int status = pthread_setspecific(exit_key, worker); /* any non-NULL value makes thread_exit run */
    if (status != 0)
        return -status;
    worker->next = thread_workers;
    thread_workers = worker;
    struct benchfs *fs = worker->fs;
    pthread_mutex_lock(&fs->mutex);
    list_remove(&worker->link);
    list_push_back(&fs->workers, &worker->link);
    pthread_mutex_unlock(&fs->mutex);
    worker_set_current(worker);
    return 0;
}

/* Transfers that nobody waited for: their buffers may not be touched once the worker is gone. The last one of
 * a closed file ends it, in the loop that turns here and with this very worker. fs->mutex is not held. */
static void worker_await_transfers(struct worker *worker)
{
    struct worker_current before = worker_current;
    worker_set_current(worker);
    while (worker->under_way > 0) {
        worker->arrival = COMPLETION_INIT;
        worker->wanted = worker->finished_count + worker->under_way;
        if (await_until(worker->loop, &worker->arrival,
                        loop_now(worker->loop) + 2 * worker->fs->deadline_ns) < 0)
            break;
    }
    worker_current = before;
}

/* Forgets what was left in it; fs->mutex held. */
static void worker_clear(struct worker *worker)
{
    worker->wanted = 0;
    list_init(&worker->finished);
    worker->finished_count = 0;
    directory_detach_all(worker);
    list_remove(&worker->link);
}

void worker_shut_down(struct worker *worker)
{
    if (worker->client == NULL)
        return;
    worker_await_transfers(worker);
    pthread_mutex_lock(&worker->fs->mutex);
    worker_clear(worker);
    pthread_mutex_unlock(&worker->fs->mutex);
    struct worker_current before = worker_current;
    worker_set_current(worker);
    client_destroy(worker->client);
    worker_current = before;
    net_destroy(worker->net);
    loop_destroy(worker->loop);
    metrics_end(worker->metrics); /* the thread may look into it until it knows */
    free(worker->remembered);
    worker->remembered = NULL;
    worker->client = NULL;
}

/* Forgets this thread's workers of file systems that are gone, and those from before a fork. */
static void forget_dead_workers(void)
{
    struct worker **link = &thread_workers;
    while (*link != NULL) {
        struct worker *worker = *link;
        pthread_mutex_lock(&library_mutex);
        bool lives = worker->forks == library_forks && file_system_find(worker->fs_id) != NULL;
        pthread_mutex_unlock(&library_mutex);
        if (lives) {
            link = &worker->next;
            continue;
        }
        *link = worker->next;
        /* One from before a fork stays in memory: the parent's connections must not be closed from here. */
        if (worker->forks == library_forks)
            worker_free(worker);
    }
}

struct worker *worker_get_slow(struct benchfs *fs)
{
    for (struct worker *worker = thread_workers; worker != NULL; worker = worker->next) {
        if (worker->fs_id != fs->id || worker->forks != library_forks)
            continue;
        worker_set_current(worker);
        return worker;
    }
    struct worker *worker;
    int status = worker_take_idle(fs, &worker);
    if (status == -ENOENT)
        status = worker_create(fs, &worker); /* inherits from those that are forgotten now */
    forget_dead_workers();
    if (status == 0) {
        status = worker_adopt(worker);
        if (status < 0) {
            worker_shut_down(worker);
            worker_free(worker);
        }
    }
    if (status < 0) {
        errno = public_errno(status);
        return NULL;
    }
    if (!atomic_exchange(&fs->locks.shared, true))
        descriptions_share_locks(fs, worker->client);
    inherit_at_first_call(fs, worker);
    return worker;
}

/* ---- connecting ---- */

static int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return status;
}

static int addresses_allocate(struct benchfs *fs, uint32_t count)
{
    fs->addresses = calloc(count, sizeof *fs->addresses);
    fs->address_pointers = calloc(count, sizeof *fs->address_pointers);
    if (fs->addresses == NULL || fs->address_pointers == NULL)
        return fail(-ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        fs->address_pointers[i] = fs->addresses[i];
    fs->address_count = count;
    return 0;
}

static int read_key(struct benchfs *fs, const char *path)
{
    int status = cluster_key_read(path, fs->key);
    if (status == -EPERM)
        return fail(-EACCES, "cluster key \"%s\" can be read by others: chmod 600 it", path);
    if (status == -EINVAL)
        return fail(-EACCES, "cluster key \"%s\" is not a key of %d bytes", path, CLUSTER_KEY_BYTES);
    if (status < 0)
        return fail(status == -ENOENT ? -ENOENT : -EACCES, "cannot read cluster key \"%s\": %s", path,
                    status_text(status));
    return 0;
}

/* BENCHFS_SERVERS and BENCHFS_KEY. */
static int read_environment(struct benchfs *fs, const char *servers)
{
    const char *key = getenv("BENCHFS_KEY");
    if (key == NULL || *key == '\0')
        return fail(-ENOENT,
                    "BENCHFS_SERVERS is set but BENCHFS_KEY is not: set it to the cluster's key file "
                    "(the cluster file's name with .key behind it)");
    uint32_t count = 1;
    for (const char *c = servers; *c != '\0'; c++)
        count += *c == ',';
    int status = addresses_allocate(fs, count);
    const char *at = servers;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof fs->addresses[0] || memchr(at, ':', length) == NULL)
            return fail(-EINVAL, "BENCHFS_SERVERS: \"%.*s\" is not host:port", (int)length, at);
        memcpy(fs->addresses[i], at, length);
        at += length + 1;
    }
    return status < 0 ? status : read_key(fs, key);
}

static int read_cluster_file(struct benchfs *fs, const char *path, char *config, size_t config_size)
{
    struct cluster_file file;
    char reason[512];
    char key[PATH_MAX + 8];
    int status = cluster_file_read(path, &file, reason, sizeof reason);
    if (status == -ENOENT)
        return fail(-ENOENT,
                    "no cluster file at \"%s\": start a cluster with \"benchfs start\", or point "
                    "BENCHFS_CLUSTER at its file",
                    path);
    if (status == -EINVAL)
        return fail(-EINVAL, "cluster file \"%s\": %s", path, reason);
    if (status < 0)
        return fail(status, "cannot read cluster file \"%s\": %s", path, status_text(status));
    status = addresses_allocate(fs, file.server_count);
    for (uint32_t i = 0; i < file.server_count && status == 0; i++)
        memcpy(fs->addresses[i], file.servers[i].address, sizeof fs->addresses[i]);
    if (realpath(path, fs->cluster_file) == NULL)
        fs->cluster_file[0] = '\0'; /* it is gone by now */
    snprintf(config, config_size, "%s", file.config);
    fs->device = file.cluster_id;
    cluster_file_free(&file);
    if (status == 0 && fs->address_count == 0)
        status = fail(-EINVAL, "cluster file \"%s\" names no servers", path);
    if (status < 0)
        return status;
    snprintf(key, sizeof key, "%s.key", path);
    return read_key(fs, key);
}

static int read_config(struct benchfs *fs, const char *path)
{
    struct config config;
    char reason[512];
    config_defaults(&config);
    const char *override = getenv("BENCHFS_CONFIG");
    if (override != NULL && *override != '\0')
        path = override;
    if (*path != '\0' && config_read_file(&config, path, reason, sizeof reason) < 0)
        return fail(-EINVAL, "%s", reason);
    int placement = placement_from_name(config.cluster.placement);
    if (placement < 0)
        return fail(-EINVAL, "unknown placement \"%s\"", config.cluster.placement);
    fs->placement = (uint8_t)placement;
    fs->chunk_shift = (uint8_t)__builtin_ctzll(config.cluster.chunk_size);
    fs->deadline_ns = config.client.deadline;
    fs->attribute_lifetime_ns = config.client.attribute_lifetime;
    fs->spin_ns = config.client.spin;
    fs->metrics_shared = config.metrics.shared;
    fs->trace_entries = (uint32_t)config.metrics.trace_entries;
    fs->rendezvous_threshold = (uint32_t)config.rpc.rendezvous_threshold;
    memcpy(fs->transports, config.server.transports, sizeof fs->transports);
    memcpy(fs->devices, config.server.devices, sizeof fs->devices);
    return 0;
}

static int read_settings(struct benchfs *fs, const char *cluster_file)
{
    char path[PATH_MAX] = "", config[PATH_MAX] = "";
    const char *servers = getenv("BENCHFS_SERVERS");
    int status;
    if (cluster_file == NULL && servers != NULL && *servers != '\0') {
        status = read_environment(fs, servers);
    } else {
        status = 0;
        if (cluster_file != NULL)
            status = snprintf(path, sizeof path, "%s", cluster_file) < (int)sizeof path ? 0 : -ENAMETOOLONG;
        else
            status = cluster_file_default_path(path, sizeof path);
        if (status < 0)
            return fail(status, "cannot tell the cluster file's path: %s", status_text(status));
        status = read_cluster_file(fs, path, config, sizeof config);
    }
    return status < 0 ? status : read_config(fs, config);
}

static int explain_failure(const struct benchfs *fs, int status)
{
    const char *first = fs->addresses[0];
    const char *more = fs->address_count > 1 ? " (and the others)" : "";
    switch (-status) {
    case EACCES:
        return fail(-EACCES, "server %s%s refused the key: it belongs to another cluster", first, more);
    case STATUS_BAD_VERSION:
        return fail(-EPROTONOSUPPORT, "server %s%s speaks another protocol version than this library (%d)",
                    first, more, RPC_PROTOCOL_VERSION);
    case EHOSTDOWN:
        return fail(-EHOSTDOWN, "no server answers at %s%s: is the cluster running? (benchfs status)", first,
                    more);
    case ETIMEDOUT:
        return fail(-EHOSTDOWN, "server %s%s did not answer within %.3g s", first, more,
                    (double)fs->deadline_ns / 1e9);
    default:
        return fail(status, "cannot connect to %s%s: %s", first, more, status_text(status));
    }
}

static void free_settings(struct benchfs *fs)
{
    explicit_bzero(fs->key, sizeof fs->key);
    free(fs->addresses);
    free(fs->address_pointers);
    free(fs);
}

/* umask(2) can only be read by changing it, which other threads would see. */
static mode_t process_umask(void)
{
    unsigned mask = 022;
    char line[128];
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Umask: %o", &mask) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return mask;
}

benchfs *library_connect(const char *cluster_file, const char *prefix)
{
    struct worker *worker = NULL;
    pthread_once(&prepared, prepare);
    struct benchfs *fs = calloc(1, sizeof *fs);
    if (fs == NULL || prepare_status < 0) {
        free(fs);
        errno = -fail(-ENOMEM, "out of memory");
        return NULL;
    }
    fs->id = atomic_fetch_add(&next_id, 1);
    int status = identity_of_process(&fs->identity);
    fs->identity_forks = library_forks;
    fs->umask = process_umask();
    fs->prefix = prefix;
    list_init(&fs->workers);
    list_init(&fs->idle);
    pthread_mutex_init(&fs->mutex, NULL);
    file_caches_init(fs);
    pthread_mutex_init(&fs->locks.mutex, NULL);
    atomic_store(&fs->locks.shared, true);
    map_init(&fs->locks.inodes);

    if (status < 0)
        fail(status, "this process is in more than %u groups", RPC_GROUPS_MAX);
    if (status == 0)
        status = read_settings(fs, cluster_file);
    if (status == 0) {
        status = worker_create(fs, &worker);
        if (status < 0)
            status = explain_failure(fs, status);
    }
    if (status == 0)
        status = worker_adopt(worker);
    if (status < 0) {
        if (worker != NULL) {
            worker_shut_down(worker);
            worker_free(worker);
        }
        file_caches_destroy(fs);
        pthread_mutex_destroy(&fs->mutex);
        free_settings(fs);
        errno = status_errno(status);
        return NULL;
    }
    fs->consistency = client_map(worker->client)->consistency;
    fs->durability = client_map(worker->client)->durability;
    if (fs->consistency == CONSISTENCY_RELAXED)
        client_count_changes(worker->client, &fs->changes);
    if (fs->device == 0)
        fs->device = hash64(fs->addresses, sizeof *fs->addresses * fs->address_count, 0);
    pthread_mutex_lock(&library_mutex);
    list_push_back(&file_systems, &fs->link);
    pthread_mutex_unlock(&library_mutex);
    return fs;
}

benchfs *benchfs_connect(const char *cluster_file)
{
    return library_connect(cluster_file, NULL);
}

static struct worker *worker_of(struct benchfs *fs, const struct list *workers)
{
    pthread_mutex_lock(&fs->mutex);
    struct worker *worker = list_empty(workers) ? NULL : container_of(workers->next, struct worker, link);
    pthread_mutex_unlock(&fs->mutex);
    return worker;
}

void benchfs_disconnect(benchfs *fs)
{
    if (fs == NULL)
        return;
    for (int fd = FD_FIRST; fd < (int)FD_MAX && (locks_held(fs) || fs->durability == DURABILITY_CLOSE); fd++)
        if (descriptor_find(fs, fd) != NULL)
            benchfs_close(fs, fd); /* others may wait for its locks; or it is a close like any other */
    library_publish(fs);
    pthread_mutex_lock(&library_mutex);
    list_remove(&fs->link);
    for (struct worker *worker; (worker = worker_of(fs, &fs->workers)) != NULL;)
        worker_shut_down(worker);
    for (struct worker *worker; (worker = worker_of(fs, &fs->idle)) != NULL;) {
        worker_shut_down(worker);
        worker_free(worker);
    }
    pthread_mutex_unlock(&library_mutex);
    forget_dead_workers();
    worker_current = (struct worker_current){.detail_until = &application_untraced};
    client_holds_end(&fs->holds);
    open_files_destroy(fs);
    file_caches_destroy(fs);
    map_free(&fs->locks.inodes);
    pthread_mutex_destroy(&fs->mutex);
    free_settings(fs);
}

const char *benchfs_error(void)
{
    return last_error;
}

const char *benchfs_version(void)
{
    return BENCHFS_VERSION;
}

mode_t benchfs_umask(benchfs *fs, mode_t mask)
{
    return atomic_exchange(&fs->umask, mask & 0777);
}

int library_publish(struct benchfs *fs)
{
    int status;
    if (atomic_load(&fs->dirty_files) == 0)
        return 0;
    struct client *client = client_get(fs);
    if (client == NULL)
        return -1;
    file_caches_publish_slow(fs, client, 0, &status);
    return finish(status);
}

int benchfs_sync(benchfs *fs)
{
    APPLICATION_CALL(SYNC, fs, -1, NULL);
    struct client *client = client_get(fs);
    if (client == NULL)
        return -1;
    int published = library_publish(fs), error = errno;
    int status = client_sync_all(client);
    errno = error;
    return published < 0 ? published : finish(status);
}

const char *benchfs_consistency(benchfs *fs)
{
    return consistency_name(fs->consistency);
}

void benchfs_counters(benchfs *fs, struct benchfs_counters *counters)
{
    *counters = (struct benchfs_counters){
        .buffered_writes = atomic_load(&fs->counters.buffered_writes),
        .published = atomic_load(&fs->counters.published),
        .cached_reads = atomic_load(&fs->counters.cached_reads),
        .read_ahead = atomic_load(&fs->counters.read_ahead),
        .cached_attributes = atomic_load(&fs->counters.cached_attributes),
    };
}
