/* The cluster file and key: private, replaced atomically, refused when malformed or open to others. */
#include "unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/file.h"

static char directory[64];
static char path[128];

static int setup(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/benchfs-test-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/cluster.json", directory);
    return 0;
}

static uint32_t entries(bool remove)
{
    DIR *stream = opendir(directory);
    uint32_t count = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        if (remove)
            unlinkat(dirfd(stream), entry->d_name, strcmp(entry->d_name, "benchfs") == 0 ? AT_REMOVEDIR : 0);
    }
    closedir(stream);
    return count;
}

static int teardown(void **state)
{
    (void)state;
    chmod(directory, 0700);
    entries(true);
    return rmdir(directory);
}

static mode_t mode_of(const char *file)
{
    struct stat status;
    assert_int_equal(stat(file, &status), 0);
    return status.st_mode & 07777;
}

static void put(const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct cluster_file *example(void)
{
    struct cluster_file *file = calloc(1, sizeof(*file));
    file->cluster_id = UINT64_C(0xfedcba9876543210);
    file->server_count = 2;
    file->servers = calloc(2, sizeof(file->servers[0]));
    file->servers[0] =
        (struct cluster_file_server){.id = 0, .pid = 4711, .host = "localhost", .address = "127.0.0.1:5"};
    file->servers[1] =
        (struct cluster_file_server){.id = 1, .pid = 0, .host = "node2", .address = "node2:40000"};
    strcpy(file->config, "/etc/\"benchfs\".toml");
    strcpy(file->store, "mem");
    strcpy(file->ring, "bounded");
    strcpy(file->hash, "md5");
    strcpy(file->directory, "/tmp/logs");
    return file;
}

static void drop(struct cluster_file *file)
{
    cluster_file_free(file);
    free(file);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    struct cluster_file *file = example(), *back = calloc(1, sizeof(*back));
    char error[256];
    mode_t before = umask(0);
    assert_int_equal(cluster_file_write(path, file), 0);
    umask(before);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(cluster_file_read(path, back, error, sizeof(error)), 0);
    assert_true(back->cluster_id == file->cluster_id);
    assert_int_equal(back->server_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(back->servers[i].id, file->servers[i].id);
        assert_int_equal(back->servers[i].pid, file->servers[i].pid);
        assert_string_equal(back->servers[i].host, file->servers[i].host);
        assert_string_equal(back->servers[i].address, file->servers[i].address);
    }
    assert_string_equal(back->config, file->config);
    assert_string_equal(back->store, file->store);
    assert_string_equal(back->ring, file->ring);
    assert_string_equal(back->hash, file->hash);
    assert_string_equal(back->directory, file->directory);
    drop(file);
    drop(back);
}

static void a_reader_keeps_the_file_it_opened(void **state)
{
    (void)state;
    struct cluster_file *file = example();
    assert_int_equal(cluster_file_write(path, file), 0);
    int fd = open(path, O_RDONLY);
    char before[4096] = "", after[4096] = "";
    assert_true(pread(fd, before, sizeof(before) - 1, 0) > 0);
    file->cluster_id = 1;
    assert_int_equal(cluster_file_write(path, file), 0);
    assert_true(pread(fd, after, sizeof(after) - 1, 0) > 0);
    close(fd);
    assert_string_equal(before, after);  /* replaced by another file, not rewritten in place */
    assert_int_equal(entries(false), 1); /* and nothing temporary is left */
    drop(file);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
    (void)state;
    struct cluster_file *file = example(), *back = calloc(1, sizeof(*back));
    char error[256];
    assert_int_equal(cluster_file_write(path, file), 0);
    strcpy(file->store, "\xff"); /* not UTF-8: cannot be encoded */
    assert_int_equal(cluster_file_write(path, file), -EINVAL);
    strcpy(file->store, "mem");
    strcpy(file->servers[0].host, "\xff"); /* no server is left out for it */
    assert_int_equal(cluster_file_write(path, file), -EINVAL);
    assert_int_equal(cluster_file_read(path, back, error, sizeof(error)), 0);
    assert_string_equal(back->store, "mem");
    assert_int_equal(entries(false), 1);
    drop(file);
    drop(back);
}

static void a_missing_file_is_enoent(void **state)
{
    (void)state;
    struct cluster_file *back = calloc(1, sizeof(*back));
    char error[256] = "";
    assert_int_equal(cluster_file_read(path, back, error, sizeof(error)), -ENOENT);
    assert_non_null(strstr(error, path));
    drop(back);
}

#define SERVER "{\"id\":0,\"pid\":1,\"host\":\"h\",\"address\":\"h:1\"}"
#define REST "\"config\":\"\",\"store\":\"\",\"directory\":\"\""

static void malformed_files_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "line"},
        {"{", "line 1"},
        {"[]", "version"},
        {"{\"version\":3}", "version 3"},
        {"{\"version\":2,\"cluster_id\":\"0000000000000001\"," REST ",\"servers\":[" SERVER "]}", "ring"},
        {"{\"version\":2,\"cluster_id\":\"0000000000000001\"," REST
         ",\"ring\":\"bounded\",\"hash\":\"sum\",\"servers\":[" SERVER "]}",
         "\"sum\""},
        {"{\"version\":2,\"cluster_id\":\"0000000000000001\"," REST
         ",\"ring\":\"star\",\"hash\":\"md5\",\"servers\":[" SERVER "]}",
         "\"star\""},
        {"{\"version\":1,\"cluster_id\":7}", "cluster_id"},
        {"{\"version\":1,\"cluster_id\":\"00000000000000zz\"," REST ",\"servers\":[" SERVER "]}",
         "hexadecimal"},
        {"{\"version\":1,\"cluster_id\":\"0000000000000001\"," REST "}", "servers"},
        {"{\"version\":1,\"cluster_id\":\"0000000000000001\"," REST ",\"servers\":[]}", "servers"},
        {"{\"version\":1,\"cluster_id\":\"0000000000000001\"," REST ",\"servers\":[7]}", "id"},
        {"{\"version\":1,\"cluster_id\":\"0000000000000001\"," REST ",\"servers\":[" SERVER "," SERVER "]}",
         "two servers"},
        {"{\"version\":1,\"cluster_id\":\"0000000000000001\"," REST
         ",\"servers\":[{\"id\":-1,\"pid\":1,\"host\":\"h\",\"address\":\"h:1\"}]}",
         "-1"},
        {"{\"version\":1,\"cluster_id\":\"0000000000000001\"," REST
         ",\"servers\":[{\"id\":1,\"pid\":1,\"host\":\"h\",\"address\":\"h\"}]}",
         "host:port"},
        {"{\"version\":1,\"version\":1}", "uplicate"},
    };
    struct cluster_file *back = calloc(1, sizeof(*back));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char error[256];
        put(cases[i].text);
        assert_int_equal(cluster_file_read(path, back, error, sizeof(error)), -EINVAL);
        assert_non_null(strstr(error, path));
        if (strstr(error, cases[i].reason) == NULL)
            fail_msg("\"%s\" does not mention \"%s\"", error, cases[i].reason);
    }
    put("{\"version\":1,\"cluster_id\":\"0000000000000001\"," REST ",\"servers\":[" SERVER "]}");
    char error[256];
    assert_int_equal(cluster_file_read(path, back, error, sizeof(error)),
                     0);                           /* the cases differ from a good file */
    assert_string_equal(back->ring, "consistent"); /* the only one that version 1 knew */
    assert_string_equal(back->hash, "xxhash64");
    drop(back);
}

static void a_file_that_others_may_write_is_refused(void **state)
{
    (void)state;
    struct cluster_file *file = example(), *back = calloc(1, sizeof(*back));
    char error[256];
    assert_int_equal(cluster_file_write(path, file), 0);
    chmod(path, 0620);
    assert_int_equal(cluster_file_read(path, back, error, sizeof(error)), -EINVAL);
    assert_non_null(strstr(error, "chmod"));
    drop(file);
    drop(back);
}

static void keys_are_private(void **state)
{
    (void)state;
    uint8_t key[CLUSTER_KEY_BYTES], again[CLUSTER_KEY_BYTES], other[CLUSTER_KEY_BYTES];
    assert_int_equal(cluster_key_read(path, key), -ENOENT);
    mode_t before = umask(0);
    assert_int_equal(cluster_key_make(path, key), 0);
    umask(before);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(cluster_key_read(path, again), 0);
    assert_memory_equal(key, again, sizeof(key));
    assert_int_equal(cluster_key_make(path, other), 0);
    assert_memory_not_equal(key, other, sizeof(key));

    chmod(path, 0640);
    assert_int_equal(cluster_key_read(path, again), -EPERM);
    chmod(path, 0604);
    assert_int_equal(cluster_key_read(path, again), -EPERM);
    chmod(path, 0400);
    assert_int_equal(cluster_key_read(path, again), 0);
}

static void keys_of_another_length_are_refused(void **state)
{
    (void)state;
    uint8_t key[CLUSTER_KEY_BYTES];
    put("");
    assert_int_equal(cluster_key_read(path, key), -EINVAL);
    put("0123456789abcdef0123456789abcde");
    assert_int_equal(cluster_key_read(path, key), -EINVAL);
    put("0123456789abcdef0123456789abcdefg");
    assert_int_equal(cluster_key_read(path, key), -EINVAL);
    put("0123456789abcdef0123456789abcdef");
    assert_int_equal(cluster_key_read(path, key), 0);
    assert_memory_equal(key, "0123456789abcdef0123456789abcdef", 32);
}

static void the_default_directory_is_private(void **state)
{
    (void)state;
    char found[256], expected[256], own[256];
    unsetenv("BENCHFS_CLUSTER");
    setenv("XDG_RUNTIME_DIR", directory, 1);
    assert_int_equal(cluster_file_default_path(found, sizeof(found)), 0);
    snprintf(expected, sizeof(expected), "%s/benchfs/cluster.json", directory);
    assert_string_equal(found, expected);
    snprintf(own, sizeof(own), "%s/benchfs", directory);
    assert_int_equal(mode_of(own), 0700);
    chmod(own, 0755);
    assert_int_equal(cluster_file_default_path(found, sizeof(found)), -EPERM);
    rmdir(own);
    assert_int_equal(symlink("/tmp", own), 0);
    assert_int_equal(cluster_file_default_path(found, sizeof(found)), -ENOTDIR);
    unlink(own);

    setenv("BENCHFS_CLUSTER", "/somewhere/else.json", 1);
    assert_int_equal(cluster_file_default_path(found, sizeof(found)), 0);
    assert_string_equal(found, "/somewhere/else.json");
    assert_int_equal(cluster_file_default_path(found, 5), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_keeps_the_file_it_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_leaves_the_old_file, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_file_is_enoent, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_files_are_explained, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_others_may_write_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_are_private, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_of_another_length_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_default_directory_is_private, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
