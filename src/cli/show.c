/* cat and stat. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/status.h"
#include "cli/cli.h"

#define BUFFER_SIZE (4u << 20)

/* Returns CLI_OK or CLI_FAILED, having reported why. */
static int cat_open(struct client *client, const char *path, struct client_file *file, char *buffer)
{
    ssize_t count = S_ISDIR(file->mode) ? -EISDIR : 0;
    for (uint64_t offset = 0; count >= 0; offset += (uint64_t)count) {
        count = client_read(client, file, buffer, BUFFER_SIZE, offset);
        if (count == 0)
            return CLI_OK;
        int status = count < 0 ? 0 : descriptor_write(STDOUT_FILENO, buffer, (size_t)count);
        if (status != 0) {
            cli_error("cannot write to standard output: %s", status_text(status));
            return CLI_FAILED;
        }
    }
    cli_error("cannot read \"%s\": %s", path, status_text((int)count));
    return CLI_FAILED;
}

static int cat_file(const struct session *session, const char *path, void *buffer)
{
    struct client *client = session->client;
    struct client_file file;
    int status = client_open(client, INODE_ROOT, path, O_RDONLY, 0, &file);
    if (status != 0) {
        cli_error("cannot read \"%s\": %s", path, status_text(status));
        return CLI_FAILED;
    }
    int result = cat_open(client, path, &file, buffer);
    client_close(client, &file);
    return result;
}

static int run_cat(int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP, {0}};
    int result = CLI_OK;
    if (cli_option(argc, argv, ":", options, &result) != -1)
        return result;
    char *buffer = malloc(BUFFER_SIZE);
    if (buffer == NULL) {
        cli_error("%s", status_text(-ENOMEM));
        return CLI_FAILED;
    }
    result = session_for_each(argc, argv, "file", cat_file, buffer);
    free(buffer);
    return result;
}

/* ---- stat ---- */

static const char *type_name(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symbolic link";
    default:
        return "regular file";
    }
}

static void print_time(const char *name, int64_t ns)
{
    int64_t seconds = ns / (int64_t)NSEC_PER_SEC;
    int64_t rest = ns % (int64_t)NSEC_PER_SEC;
    if (rest < 0) {
        rest += (int64_t)NSEC_PER_SEC;
        seconds--;
    }
    time_t when = (time_t)seconds;
    struct tm local;
    char text[64] = "?";
    char zone[16] = "";
    if (localtime_r(&when, &local) != NULL) {
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
        strftime(zone, sizeof(zone), "%z", &local);
    }
    printf("%s: %s.%09" PRId64 " %s\n", name, text, rest, zone);
}

static void print_attributes(struct client *client, const char *path, const struct attributes *attributes)
{
    char mode[11];
    mode_text(attributes->mode, mode);
    printf("  File: %s", path);
    if (S_ISLNK(attributes->mode)) {
        char target[SYMLINK_LENGTH_MAX + 1];
        ssize_t length = client_readlink(client, INODE_ROOT, path, target, sizeof(target) - 1);
        if (length >= 0)
            printf(" -> %.*s", (int)length, target);
    }
    printf("\n  Size: %" PRIu64 "  Blocks: %" PRIu64 "  Type: %s\n", attributes->size, attributes->blocks,
           type_name(attributes->mode));
    printf(" Inode: %" PRIu64 "  Links: %u  Partition: %u  Server: %u\n", attributes->inode,
           attributes->links, inode_partition(attributes->inode),
           client_map(client)
               ->servers[cluster_map_owner(client_map(client), inode_partition(attributes->inode))]
               .id);
    printf("Access: (%04o/%s)  Uid: %u  Gid: %u\n", attributes->mode & 07777u, mode, attributes->uid,
           attributes->gid);
    if (S_ISREG(attributes->mode))
        printf("Layout: chunks of %" PRIu64 " bytes, placed by %s\n",
               UINT64_C(1) << attributes->layout.chunk_shift, placement_name(attributes->layout.placement));
    print_time("Access", attributes->access_time);
    print_time("Modify", attributes->modify_time);
    print_time("Change", attributes->change_time);
}

static int stat_path(const struct session *session, const char *path, void *follow)
{
    struct attributes attributes;
    int status = client_stat(session->client, INODE_ROOT, path, *(const bool *)follow, &attributes);
    if (status == 0) {
        print_attributes(session->client, path, &attributes);
        return CLI_OK;
    }
    cli_error("cannot stat \"%s\": %s", path, status_text(status));
    return CLI_FAILED;
}

static int run_stat(int argc, char **argv)
{
    static const struct option options[] = {{"dereference", no_argument, NULL, 'L'}, CLI_HELP, {0}};
    bool follow = false;
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":L", options, &result)) != -1;) {
        if (option != 'L')
            return result;
        follow = true;
    }
    return session_for_each(argc, argv, "path", stat_path, &follow);
}

const struct verb verb_cat = {
    .name = "cat",
    .usage = "FILE...",
    .help = "Write files to standard output",
    .text = "",
    .run = run_cat,
};

const struct verb verb_stat = {
    .name = "stat",
    .usage = "[-L] PATH...",
    .help = "Show the attributes of files and directories",
    .text = "  -L, --dereference  follow a symbolic link\n",
    .run = run_stat,
};
