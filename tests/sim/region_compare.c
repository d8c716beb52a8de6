/* What the file system answered beside what the model has. All results go into the trace. */
#include "region_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"

static bool is_powerless(const struct region *region)
{
    return region->powerless != NULL && *region->powerless;
}

void region_wrong(struct region *region, const char *format, ...)
{
    if (is_powerless(region))
        return;
    char text[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cluster_fail(region->cluster, "region %u, operation %u: %s", region->number, region->operations, text);
}

const char *region_status_name(int64_t status)
{
    static char text[2][48];
    static unsigned turn;
    char *out = text[turn++ % 2];
    if (status >= 0)
        snprintf(out, sizeof text[0], "%lld", (long long)status);
    else if (strerrorname_np((int)-status) != NULL)
        snprintf(out, sizeof text[0], "-%s", strerrorname_np((int)-status));
    else
        snprintf(out, sizeof text[0], "-%lld (%s)", (long long)-status, status_text((int)status));
    return out;
}

/* Counts, traces and compares one operation. */
bool region_same(struct region *region, int64_t got, int64_t wanted, const char *format, ...)
{
    char what[700];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    sim_trace(region->cluster->network, &got, sizeof got);
    region->cluster->operations++;
    region->operations++;
    if (getenv("BENCHFS_SIM_SHOW") != NULL)
        fprintf(stderr, "%.6f region %u: %s = %s\n", (double)loop_now(region->cluster->loop) * 1e-9,
                region->number, what, region_status_name(got));
    if (is_powerless(region))
        return true;
    /* A loop that makes the path longer may make it too long first. */
    if (wanted == -ELOOP && got == -ENAMETOOLONG)
        return true;
    /* Forty links in a slow network take longer than it takes others to rename a directory, which makes the
     * walk begin again. */
    if (wanted == -ELOOP && got == -ETIMEDOUT && region->cluster->weather.delay_max_ns > 50 * MILLISECOND)
        return true;
    if (got != wanted)
        region_wrong(region, "%s: %s, expected %s", what, region_status_name(got),
                     region_status_name(wanted));
    return got == wanted;
}

void region_before(struct region *region)
{
    region->model.before = loop_realtime(region->cluster->loop);
}

void region_after(struct region *region)
{
    region->model.now = loop_realtime(region->cluster->loop);
}

void region_same_bytes(struct region *region, const char *what, size_t length)
{
    if (is_powerless(region))
        return;
    sim_trace(region->cluster->network, region->bytes, length);
    for (size_t i = 0; i < length; i++) {
        if (region->bytes[i] != region->expected[i]) {
            region_wrong(region, "%s: byte %zu of %zu is %02x, expected %02x", what, i, length,
                         region->bytes[i], region->expected[i]);
            return;
        }
    }
}

/* What the other model has at that path, if it is of the same type. */
struct node *region_mixed_node(struct region *region, const char *path)
{
    struct node *node, *other;
    if (region->mixed == NULL || model_find(region->mixed, region->mixed->root, path, false, &other) != 0 ||
        model_find(&region->model, region->model.root, path, false, &node) != 0 ||
        (node->mode & S_IFMT) != (other->mode & S_IFMT))
        return NULL;
    return other;
}

void region_same_attributes(struct region *region, struct node *node, const struct attributes *attributes,
                            const char *path)
{
    if (attributes->inode == 0 || (node->inode != 0 && node->inode != attributes->inode)) {
        region_wrong(region, "%s: inode %llx, expected %llx", path, (unsigned long long)attributes->inode,
                     (unsigned long long)node->inode);
        return;
    }
    node->inode = attributes->inode;
    if (node == region->model.root)
        return; /* others change it */
    if (attributes->mode != node->mode)
        region_wrong(region, "%s: mode %o, expected %o", path, attributes->mode, node->mode);
    const struct node *other = region_mixed_node(region, path);
    uint64_t least = node->size, most = node->size;
    int64_t earliest = node->modify_min, latest = node->modify_max;
    if (other != NULL) {
        least = other->size < least ? other->size : least;
        most = other->size > most ? other->size : most;
        earliest = other->modify_min < earliest ? other->modify_min : earliest;
        latest = other->modify_max > latest ? other->modify_max : latest;
        int64_t now = loop_realtime(region->cluster->loop);
        if (other->modify_max != node->modify_max && latest < now)
            latest = now; /* perhaps it was finished after a restart */
    }
    if (!S_ISDIR(node->mode) && (attributes->size < least || attributes->size > most))
        region_wrong(region, "%s: size %llu, expected %llu", path, (unsigned long long)attributes->size,
                     (unsigned long long)node->size);
    if (attributes->links != node_links(&region->model, node))
        region_wrong(region, "%s: %u links, expected %u", path, attributes->links,
                     node_links(&region->model, node));
    if (attributes->modify_time < earliest || attributes->modify_time > latest)
        region_wrong(region, "%s: modify time %lld, expected %lld to %lld", path,
                     (long long)attributes->modify_time, (long long)node->modify_min,
                     (long long)node->modify_max);
}

/* Compares one entry; returns its node. */
static struct node *same_entry(struct region *region, struct node *directory,
                               const struct client_entry *entry, bool complete)
{
    struct node *node = node_child(directory, entry->name);
    if (node == NULL) {
        region_wrong(region, "an entry \"%s\" is listed that does not exist", entry->name);
        return NULL;
    }
    uint32_t mask = complete ? ~0u : (uint32_t)S_IFMT;
    if ((entry->attributes.mode & mask) != (node->mode & mask))
        region_wrong(region, "entry \"%s\": mode %o, expected %o", entry->name, entry->attributes.mode,
                     node->mode);
    if (node->inode != 0 && node->inode != entry->attributes.inode)
        region_wrong(region, "entry \"%s\": inode %llx, expected %llx", entry->name,
                     (unsigned long long)entry->attributes.inode, (unsigned long long)node->inode);
    node->inode = entry->attributes.inode;
    if (complete && !S_ISDIR(node->mode) && entry->attributes.size != node->size && region->mixed == NULL)
        region_wrong(region, "entry \"%s\": size %llu, expected %llu", entry->name,
                     (unsigned long long)entry->attributes.size, (unsigned long long)node->size);
    return node;
}

/* Lists a directory, now and then going on from a cursor with a new listing. */
void region_list_directory(struct region *region, struct client *client, struct node *directory,
                           uint64_t inode, const char *path)
{
    struct client_listing *listing = NULL;
    struct client_entry entry;
    uint64_t last = 0;
    uint32_t count = 0;
    bool complete = region_one_in(region, 2);
    int status = client_list_open(client, inode, 0, complete, NULL, NULL, &listing);
    while (status == 0 && (status = client_list_next(listing, &entry)) == 1) {
        status = 0;
        if (directory == region->model.root) {
            char suffix[16];
            snprintf(suffix, sizeof suffix, "%u", region->number);
            if (!region->alone && strcmp(entry.name + strcspn(entry.name, "0123456789"), suffix) != 0)
                continue;
        }
        if (entry.hash <= last)
            region_wrong(region, "entry \"%s\" of %s is out of order", entry.name, path);
        last = entry.hash;
        sim_trace(region->cluster->network, entry.name, entry.name_length);
        if (same_entry(region, directory, &entry, complete) == NULL)
            break;
        count++;
        if (region_one_in(region, 8)) {
            client_list_close(listing);
            listing = NULL;
            status = client_list_open(client, inode, last + 1, complete, NULL, NULL, &listing);
        }
    }
    if (listing != NULL)
        client_list_close(listing);
    uint32_t wanted = 0;
    list_for_each (link, &directory->entries)
        wanted++;
    if (region_same(region, status, 0, "list %s", path) && count != wanted)
        region_wrong(region, "%u entries of %s are listed, expected %u", count, path, wanted);
}
