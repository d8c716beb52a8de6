/* The file `identity` is text, for people who wonder what a directory is:
 *
 *   benchfs store 1
 *   cluster 9f86d081884c7d659a2feaa0c55ad015
 *   server 3 of 4
 *   engine uring
 *   created 1764111057000000000
 *   checksum 5d1f0c2e
 *
 * A cluster whose partitions are not given to its servers by consistent hashing with xxHash64 has a line
 * more, after that of the engine, and another version:
 *
 *   benchfs store 2
 *   ...
 *   ring rendezvous murmur3
 *
 * The number in the first line is the version of the directory's whole format; a program that does not know
 * it looks no further. There is one way to write an identity, so the decoder reads the fields, writes them
 * again, and compares: that covers every byte, and the checksum (CRC32C of the lines above it).
 *
 * The file is written beside its name, synchronised and renamed. The file beside is there from the moment at
 * which an empty directory begins to be used, before the engine makes anything in it: so a first start that
 * came to no end, with whatever it left, does not make the directory one that is in use. */
#include "journal/identity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/status.h"

#define IDENTITY_VERSION 1
#define IDENTITY_VERSION_RING 2
#define DEFAULT_RING "consistent"
#define DEFAULT_HASH "xxhash64"
#define IDENTITY_NAME "identity"
#define IDENTITY_TEMPORARY "identity.tmp"

enum { UUID_DIGITS = 32 };

static void uuid_text(const uint8_t uuid[16], char text[UUID_DIGITS + 1])
{
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", uuid[i]);
}

static void uuid_read(const char text[UUID_DIGITS + 1], uint8_t uuid[16])
{
    for (int i = 0; i < 16; i++) {
        unsigned byte = 0;
        sscanf(text + 2 * i, "%2x", &byte);
        uuid[i] = (uint8_t)byte;
    }
}

static bool has_default_ring(const struct identity *identity)
{
    return strcmp(identity->ring, DEFAULT_RING) == 0 && strcmp(identity->hash, DEFAULT_HASH) == 0;
}

size_t identity_encode(const struct identity *identity, char *bytes)
{
    char cluster[UUID_DIGITS + 1], ring[2 * IDENTITY_RING_MAX + 8] = "";
    bool usual = has_default_ring(identity);
    uuid_text(identity->cluster, cluster);
    if (!usual)
        snprintf(ring, sizeof(ring), "ring %s %s\n", identity->ring, identity->hash);
    int length = snprintf(bytes, IDENTITY_BYTES_MAX,
                          "benchfs store %d\ncluster %s\nserver %" PRIu32 " of %" PRIu32
                          "\nengine %s\n%screated %" PRId64 "\n",
                          usual ? IDENTITY_VERSION : IDENTITY_VERSION_RING, cluster, identity->server,
                          identity->servers, identity->engine, ring, identity->created);
    length += snprintf(bytes + length, IDENTITY_BYTES_MAX - (size_t)length, "checksum %08" PRIx32 "\n",
                       crc32c(0, bytes, (size_t)length));
    return (size_t)length;
}

/* Reads the fields after the version; the number of them that are there. */
static int read_fields(const char *text, int version, char *cluster, struct identity *read)
{
    if (version == IDENTITY_VERSION_RING)
        return sscanf(text,
                      " cluster %32[0-9a-f] server %10" SCNu32 " of %10" SCNu32
                      " engine %31[a-z0-9+:-] ring %15[a-z0-9_] %15[a-z0-9_] created %20" SCNd64,
                      cluster, &read->server, &read->servers, read->engine, read->ring, read->hash,
                      &read->created) -
               2;
    strcpy(read->ring, DEFAULT_RING);
    strcpy(read->hash, DEFAULT_HASH);
    return sscanf(text,
                  " cluster %32[0-9a-f] server %10" SCNu32 " of %10" SCNu32
                  " engine %31[a-z0-9+:-] created %20" SCNd64,
                  cluster, &read->server, &read->servers, read->engine, &read->created);
}

int identity_decode(const char *bytes, size_t length, struct identity *identity)
{
    char text[IDENTITY_BYTES_MAX], again[IDENTITY_BYTES_MAX], cluster[UUID_DIGITS + 1];
    if (length >= sizeof(text))
        return -EBADMSG;
    memcpy(text, bytes, length);
    text[length] = '\0';

    int version = 0, end = 0;
    if (sscanf(text, "benchfs store %9d%n", &version, &end) != 1 || text[end] != '\n')
        return -EBADMSG;
    if (version != IDENTITY_VERSION && version != IDENTITY_VERSION_RING)
        return -EPROTONOSUPPORT;
    struct identity read = {0};
    if (read_fields(text + end, version, cluster, &read) != 5 || strlen(cluster) != UUID_DIGITS)
        return -EBADMSG;
    uuid_read(cluster, read.cluster);
    if (identity_encode(&read, again) != length || memcmp(bytes, again, length) != 0)
        return -EBADMSG;
    *identity = read;
    return 0;
}

/* ---- reading ---- */

struct listing {
    bool begun; /* a first start came to no end */
    bool other;
};

static int visit(void *owner, const char *name, bool is_directory)
{
    struct listing *listing = owner;
    (void)is_directory;
    if (strcmp(name, IDENTITY_TEMPORARY) == 0)
        listing->begun = true;
    else if (strcmp(name, "lock") != 0)
        listing->other = true;
    return 0;
}

static int identity_absent(struct disk *disk)
{
    struct listing listing = {0};
    int status = disk_list(disk, "", visit, &listing);
    if (status != 0) {
        log_error("store directory \"%s\": cannot list: %s", disk_path(disk), status_text(status));
        return status;
    }
    if (listing.begun || !listing.other)
        return -ENOENT;
    log_error("store directory \"%s\" has no identity but is not empty: if nothing in it is needed, empty "
              "it, or choose another store.path",
              disk_path(disk));
    return -ENOTEMPTY;
}

static int identity_load(struct disk *disk, char *bytes, size_t *length)
{
    struct disk_file *file;
    int status = disk_file_open(disk, IDENTITY_NAME, DISK_READ_ONLY, &file);
    if (status != 0)
        return status;
    ssize_t got = disk_read(file, bytes, IDENTITY_BYTES_MAX, 0);
    disk_file_close(file);
    if (got < 0)
        return (int)got;
    *length = (size_t)got;
    return 0;
}

int identity_read(struct disk *disk, struct identity *identity)
{
    char bytes[IDENTITY_BYTES_MAX];
    size_t length = 0;
    int status = identity_load(disk, bytes, &length);
    if (status == -ENOENT)
        return identity_absent(disk);
    if (status != 0) {
        log_error("store directory \"%s\": cannot read its identity: %s", disk_path(disk),
                  status_text(status));
        return status;
    }
    status = identity_decode(bytes, length, identity);
    if (status == -EPROTONOSUPPORT)
        log_error(
            "store directory \"%s\" has a format of another version than this program's, %d and %d: use "
            "the program that made it, or choose another store.path",
            disk_path(disk), IDENTITY_VERSION, IDENTITY_VERSION_RING);
    else if (status != 0)
        log_error("store directory \"%s\": the file \"" IDENTITY_NAME "\" is damaged", disk_path(disk));
    return status;
}

/* ---- writing ---- */

int identity_begin(struct disk *disk)
{
    struct disk_file *file;
    int status = disk_file_open(disk, IDENTITY_TEMPORARY, DISK_CREATE, &file);
    if (status == 0) {
        disk_file_close(file);
        status = disk_sync_names(disk, "");
    }
    if (status != 0)
        log_error("store directory \"%s\": cannot write to it: %s", disk_path(disk), status_text(status));
    return status;
}

static int identity_store(struct disk *disk, const char *bytes, size_t length)
{
    struct disk_file *file;
    int status = disk_file_open(disk, IDENTITY_TEMPORARY, DISK_CREATE, &file);
    if (status != 0)
        return status;
    status = disk_file_truncate(file, 0);
    if (status == 0) {
        ssize_t written = disk_write(file, bytes, length, 0);
        status = written < 0 ? (int)written : 0;
    }
    if (status == 0)
        status = disk_sync(file);
    disk_file_close(file);
    if (status == 0)
        status = disk_rename(disk, IDENTITY_TEMPORARY, IDENTITY_NAME);
    if (status == 0)
        status = disk_sync_names(disk, "");
    return status;
}

int identity_write(struct disk *disk, const struct identity *identity)
{
    char bytes[IDENTITY_BYTES_MAX];
    size_t length = identity_encode(identity, bytes);
    int status = identity_store(disk, bytes, length);
    if (status != 0)
        log_error("store directory \"%s\": cannot write its identity: %s", disk_path(disk),
                  status_text(status));
    return status;
}

/* ---- comparing ---- */

int identity_check(struct disk *disk, const struct identity *expected, struct identity *found)
{
    struct identity read;
    int status = identity_read(disk, &read);
    if (status != 0)
        return status;
    const char *path = disk_path(disk);
    if (memcmp(read.cluster, expected->cluster, sizeof(read.cluster)) != 0) {
        char theirs[UUID_DIGITS + 1], ours[UUID_DIGITS + 1];
        uuid_text(read.cluster, theirs);
        uuid_text(expected->cluster, ours);
        log_error("store directory \"%s\" belongs to another cluster, %s (this one is %s): choose another "
                  "store.path, or remove it if its files are not needed",
                  path, theirs, ours);
    } else if (read.server != expected->server) {
        log_error("store directory \"%s\" belongs to server %" PRIu32
                  " of this cluster, not to server %" PRIu32 ": give each server its own",
                  path, read.server, expected->server);
    } else if (read.servers != expected->servers) {
        log_error("store directory \"%s\" belongs to a cluster of %" PRIu32 " servers, not %" PRIu32
                  ": start as many as it was made with",
                  path, read.servers, expected->servers);
    } else if (strcmp(read.ring, expected->ring) != 0 || strcmp(read.hash, expected->hash) != 0) {
        log_error("store directory \"%s\" was made with cluster.ring %s and cluster.hash %s, not with %s and "
                  "%s: by these its server does not own what is in it: set cluster.ring to %s and "
                  "cluster.hash to %s, or choose another store.path",
                  path, read.ring, read.hash, expected->ring, expected->hash, read.ring, read.hash);
    } else if (strncmp(read.engine, expected->engine, sizeof(read.engine)) != 0) {
        const char *set = strchr(read.engine, ':') != NULL ? "what it was made with" : read.engine;
        log_error("store directory \"%s\" was written by the engine %s, not %s: set store.engine%s to %s, or "
                  "choose another store.path",
                  path, read.engine, expected->engine,
                  strchr(read.engine, ':') != NULL ? " and the engines of its tiers" : "", set);
    } else {
        if (found != NULL)
            *found = read;
        return 0;
    }
    return -EEXIST;
}
