/* The cluster file: what `benchfs start` leaves behind so that every later command, client and server finds
 * the cluster.
 *
 * The file is JSON, for people and scripts to read. Two properties matter more than the format. A reader
 * never sees half a file: it is written beside its final name, synced, and renamed over it. And nobody else
 * can steer us with it: it is made with mode 0600 in a directory of mode 0700, and a file that others may
 * write is refused, because `stop` signals the process ids that it names.
 *
 *   {"version": 2, "cluster_id": "9f86d081884c7d65", "servers": [{"id": 0, "pid": 4711, "host": "localhost",
 *    "address": "127.0.0.1:40112"}], "config": "", "store": "mem", "directory": "/run/user/1000/benchfs",
 *    "ring": "consistent", "hash": "xxhash64"}
 *
 * Version 1 had no ring and no hash: they were those of the example.
 *
 * The cluster's key is not in it but in cluster/key.c's file next to it. */
#include "cluster/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"

#define FILE_VERSION 2
#define FILE_VERSION_WITHOUT_RING 1
#define FILE_SIZE_MAX (16u << 20)
#define SERVERS_MAX 16384u

/* ---- where it is ---- */

/* Makes the directory, or checks that an existing one is ours alone: in /tmp anybody could have made it
 * first. */
static int private_directory(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    struct stat status;
    if (lstat(path, &status) != 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        return -ENOTDIR;
    if (status.st_uid != geteuid() || (status.st_mode & 077) != 0)
        return -EPERM;
    return 0;
}

int cluster_file_default_path(char *path, size_t size)
{
    const char *given = getenv("BENCHFS_CLUSTER");
    if (given != NULL && given[0] != '\0')
        return (size_t)snprintf(path, size, "%s", given) < size ? 0 : -ENAMETOOLONG;

    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char directory[PATH_MAX];
    int length;
    if (runtime != NULL && runtime[0] == '/')
        length = snprintf(directory, sizeof(directory), "%s/benchfs", runtime);
    else
        length = snprintf(directory, sizeof(directory), "/tmp/benchfs-%u", (unsigned)geteuid());
    if ((size_t)length >= sizeof(directory))
        return -ENAMETOOLONG;
    int status = private_directory(directory);
    if (status != 0)
        return status;
    return (size_t)snprintf(path, size, "%s/cluster.json", directory) < size ? 0 : -ENAMETOOLONG;
}

/* ---- writing ---- */

static json_t *encode(const struct cluster_file *file)
{
    char id[17];
    snprintf(id, sizeof(id), "%016" PRIx64, file->cluster_id);
    json_t *servers = json_array();
    for (uint32_t i = 0; i < file->server_count; i++) {
        const struct cluster_file_server *server = &file->servers[i];
        json_t *packed = json_pack("{s:I, s:I, s:s, s:s}", "id", (json_int_t)server->id, "pid",
                                   (json_int_t)server->pid, "host", server->host, "address", server->address);
        if (json_array_append_new(servers, packed) != 0) {
            json_decref(servers);
            return NULL;
        }
    }
    /* json_pack steals servers, also when it fails. */
    return json_pack("{s:i, s:s, s:o, s:s, s:s, s:s, s:s, s:s}", "version", FILE_VERSION, "cluster_id", id,
                     "servers", servers, "config", file->config, "store", file->store, "directory",
                     file->directory, "ring", file->ring, "hash", file->hash);
}

/* Makes the rename durable; a file system that cannot sync a directory has nothing to lose by it. */
static void sync_directory(const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        snprintf(directory, sizeof(directory), ".");
    else
        snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path + 1), path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

static int replace_file(const char *path, const char *text)
{
    char temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= sizeof(temporary))
        return -ENAMETOOLONG;
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return -errno;
    int status = descriptor_write(fd, text, strlen(text));
    if (status == 0 && fsync(fd) != 0)
        status = -errno;
    if (close(fd) != 0 && status == 0)
        status = -errno;
    if (status == 0 && rename(temporary, path) != 0)
        status = -errno;
    if (status != 0) {
        unlink(temporary);
        return status;
    }
    sync_directory(path);
    return 0;
}

int cluster_file_write(const char *path, const struct cluster_file *file)
{
    json_t *root = encode(file);
    if (root == NULL)
        return -EINVAL; /* a string that is not UTF-8, or no memory */
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (text == NULL)
        return -ENOMEM;
    int status = replace_file(path, text);
    free(text);
    return status;
}

/* ---- reading ---- */

struct decoder {
    const char *path;
    char *error;
    size_t size;
};

static int invalid(const struct decoder *decoder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int invalid(const struct decoder *decoder, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    snprintf(decoder->error, decoder->size, "cluster file \"%s\": %s", decoder->path, reason);
    return -EINVAL;
}

/* Reads the file into *text, which the caller frees. */
static int load(const struct decoder *decoder, char **text, size_t *length)
{
    int fd = open(decoder->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0) {
        int status = -errno;
        snprintf(decoder->error, decoder->size, "cluster file \"%s\": %s", decoder->path, strerror(-status));
        return status;
    }
    struct stat status;
    int result = 0;
    char *bytes = NULL;
    size_t total = 0;
    if (fstat(fd, &status) != 0)
        result = -errno;
    else if (!S_ISREG(status.st_mode))
        result = invalid(decoder, "not a regular file");
    else if ((status.st_mode & 022) != 0)
        result = invalid(decoder, "others may write it (mode %04o): chmod 600 it if you trust its contents",
                         (unsigned)status.st_mode & 07777u);
    else if (status.st_size > (off_t)FILE_SIZE_MAX)
        result = invalid(decoder, "larger than %u bytes", FILE_SIZE_MAX);
    else if ((bytes = malloc((size_t)status.st_size + 1)) == NULL)
        result = -ENOMEM;
    if (result == 0) {
        ssize_t got = descriptor_read(fd, bytes, (size_t)status.st_size);
        result = got < 0 ? (int)got : 0;
        total = got < 0 ? 0 : (size_t)got;
    }
    close(fd);
    if (result != 0) {
        free(bytes);
        return result;
    }
    *text = bytes;
    *length = total;
    return 0;
}

static int decode_string(const struct decoder *decoder, const json_t *object, const char *key, char *text,
                         size_t size)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return invalid(decoder, "\"%s\" is missing or not a string", key);
    if (json_string_length(value) >= size)
        return invalid(decoder, "\"%s\" is longer than %zu bytes", key, size - 1);
    memcpy(text, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int decode_integer(const struct decoder *decoder, const json_t *object, const char *key,
                          json_int_t max, json_int_t *number)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return invalid(decoder, "\"%s\" is missing or not an integer", key);
    *number = json_integer_value(value);
    if (*number < 0 || *number > max)
        return invalid(decoder, "\"%s\" is %" JSON_INTEGER_FORMAT ", must be 0 to %" JSON_INTEGER_FORMAT, key,
                       *number, max);
    return 0;
}

static int decode_cluster_id(const struct decoder *decoder, const json_t *root, uint64_t *id)
{
    char text[17];
    int status = decode_string(decoder, root, "cluster_id", text, sizeof(text));
    if (status != 0)
        return status;
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return invalid(decoder, "\"cluster_id\" is not 16 lower-case hexadecimal digits");
    *id = strtoull(text, NULL, 16);
    return 0;
}

static int decode_server(const struct decoder *decoder, const json_t *value,
                         struct cluster_file_server *server)
{
    json_int_t id = 0, pid = 0;
    int status = decode_integer(decoder, value, "id", UINT32_MAX - 1, &id);
    if (status == 0)
        status = decode_integer(decoder, value, "pid", INT32_MAX, &pid);
    if (status == 0)
        status = decode_string(decoder, value, "host", server->host, sizeof(server->host));
    if (status == 0)
        status = decode_string(decoder, value, "address", server->address, sizeof(server->address));
    if (status != 0)
        return status;
    if (strrchr(server->address, ':') == NULL)
        return invalid(decoder, "server %" JSON_INTEGER_FORMAT ": \"address\" is not host:port", id);
    server->id = (uint32_t)id;
    server->pid = (pid_t)pid;
    return 0;
}

static int decode_servers(const struct decoder *decoder, const json_t *root, struct cluster_file *file)
{
    const json_t *servers = json_object_get(root, "servers");
    size_t count = json_array_size(servers); /* 0 when it is not an array */
    if (count == 0 || count > SERVERS_MAX)
        return invalid(decoder, "\"servers\" is not a list of 1 to %u servers", SERVERS_MAX);
    file->servers = calloc(count, sizeof(file->servers[0]));
    if (file->servers == NULL)
        return -ENOMEM;
    file->server_count = (uint32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        int status = decode_server(decoder, json_array_get(servers, i), &file->servers[i]);
        if (status != 0)
            return status;
        for (uint32_t other = 0; other < i; other++) {
            if (file->servers[other].id == file->servers[i].id)
                return invalid(decoder, "two servers have id %u", file->servers[i].id);
        }
    }
    return 0;
}

/* How the map was made, in the words of the options. */
static int decode_ring(const struct decoder *decoder, const json_t *root, json_int_t version,
                       struct cluster_file *file)
{
    if (version == FILE_VERSION_WITHOUT_RING) {
        snprintf(file->ring, sizeof(file->ring), "%s", strategy_name(RING_CONSISTENT));
        snprintf(file->hash, sizeof(file->hash), "%s", hash_function_name(HASH_XXHASH64));
        return 0;
    }
    int status = decode_string(decoder, root, "ring", file->ring, sizeof(file->ring));
    if (status == 0)
        status = decode_string(decoder, root, "hash", file->hash, sizeof(file->hash));
    if (status == 0 && strategy_from_name(file->ring) < 0)
        status = invalid(decoder, "\"ring\" is \"%s\", which this program does not know", file->ring);
    if (status == 0 && hash_function_from_name(file->hash) < 0)
        status = invalid(decoder, "\"hash\" is \"%s\", which this program does not know", file->hash);
    return status;
}

static int decode(const struct decoder *decoder, const json_t *root, struct cluster_file *file)
{
    json_int_t version = 0;
    int status = decode_integer(decoder, root, "version", INT32_MAX, &version);
    if (status == 0 && version != FILE_VERSION && version != FILE_VERSION_WITHOUT_RING)
        status = invalid(decoder, "version %" JSON_INTEGER_FORMAT ", this program reads versions %d and %d",
                         version, FILE_VERSION_WITHOUT_RING, FILE_VERSION);
    if (status == 0)
        status = decode_cluster_id(decoder, root, &file->cluster_id);
    if (status == 0)
        status = decode_string(decoder, root, "config", file->config, sizeof(file->config));
    if (status == 0)
        status = decode_string(decoder, root, "store", file->store, sizeof(file->store));
    if (status == 0)
        status = decode_string(decoder, root, "directory", file->directory, sizeof(file->directory));
    if (status == 0)
        status = decode_ring(decoder, root, version, file);
    if (status == 0)
        status = decode_servers(decoder, root, file);
    return status;
}

int cluster_file_read(const char *path, struct cluster_file *file, char *error, size_t size)
{
    struct decoder decoder = {.path = path, .error = error, .size = size};
    if (size > 0)
        error[0] = '\0';
    char *text = NULL;
    size_t length = 0;
    int status = load(&decoder, &text, &length);
    if (status != 0)
        return status;
    json_error_t where;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
    free(text);
    if (root == NULL)
        return invalid(&decoder, "line %d: %s", where.line, where.text);
    struct cluster_file *made = calloc(1, sizeof(*made)); /* large for a stack */
    if (made == NULL)
        status = -ENOMEM;
    else
        status = decode(&decoder, root, made);
    json_decref(root);
    if (status == 0)
        *file = *made;
    else if (made != NULL)
        cluster_file_free(made);
    free(made);
    return status;
}

void cluster_file_free(struct cluster_file *file)
{
    free(file->servers);
    file->servers = NULL;
    file->server_count = 0;
}
