/* Configuration: what a file says arrives, every mistake is named with file, line, key and remedy, and a
 * mistake changes nothing. */
#include "unit/unit.h"

#include "base/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct config config;
static char error[512];

static int start(void **state)
{
    (void)state;
    config_defaults(&config);
    memset(error, 0, sizeof error);
    return 0;
}

static int read_text(const char *text)
{
    return config_read_text(&config, "test.toml", text, strlen(text), error, sizeof error);
}

/* Reads text, which must be refused with exactly this line, and must change nothing. */
static void assert_refused(const char *text, const char *expected)
{
    struct config before = config;
    assert_int_equal(read_text(text), -EINVAL);
    assert_string_equal(error, expected);
    assert_memory_equal(&before, &config, sizeof config);
}

static void defaults_come_from_the_table(void **state)
{
    (void)state;
    assert_string_equal(config.store.engine, "mem");
    assert_int_equal(config.store.capacity, UINT64_C(1) << 30);
    assert_int_equal(config.rpc.deadline, UINT64_C(10000000000));
    assert_int_equal(config.rpc.rendezvous_threshold, 32768);
    assert_string_equal(config.server.listen, "127.0.0.1:0");
    assert_false(config.server.pin);
    assert_int_equal(config.metrics.log_interval, 0);
}

/* A wrong default or limit in the table would otherwise go unnoticed: assign ignores what it cannot parse. */
static void every_row_of_the_table_is_consistent(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_entry *entry = &option_entries[i];
        assert_true(strlen(entry->help) > 0 && entry->help[strlen(entry->help) - 1] == '.');
        if (entry->key == NULL)
            continue;
        const char *values[] = {entry->initial, entry->minimum, entry->maximum};
        bool has_limits =
            entry->type != OPTION_STRING && entry->type != OPTION_CHOICE && entry->type != OPTION_BOOLEAN;
        for (size_t j = 0; j < (has_limits ? 3U : 1U); j++) {
            if (config_set(&config, entry->table, entry->key, values[j], error, sizeof error) != 0)
                fail_msg("%s.%s: %s: %s", entry->table, entry->key, values[j], error);
        }
    }
}

static void a_full_file_is_read(void **state)
{
    (void)state;
    assert_int_equal(read_text("# comment\n"
                               "[store]\n"
                               "engine = \"null\"   # drops\n"
                               "capacity = \"64 MiB\"\n"
                               "prefault = true\n"
                               "[cluster]\n"
                               "server_count = 4\n"
                               "chunk_size = 131_072\n"
                               "[rpc]\n"
                               "deadline = '1500ms'\n"
                               "[server]\n"
                               "transports = \"\"\"tcp,self\"\"\"\n"
                               "listen = \"[::1]:0\"\n"
                               "log_file = \"/tmp/\\\"gr\\u00fc\\u00dfe\\\\\"\n"),
                     0);
    assert_string_equal(error, "");
    assert_string_equal(config.store.engine, "null");
    assert_int_equal(config.store.capacity, 64 << 20);
    assert_true(config.store.prefault);
    assert_int_equal(config.cluster.server_count, 4);
    assert_int_equal(config.cluster.chunk_size, 131072);
    assert_int_equal(config.rpc.deadline, 1500000000);
    assert_string_equal(config.server.transports, "tcp,self");
    assert_string_equal(config.server.listen, "[::1]:0");
    assert_string_equal(config.server.log_file, "/tmp/\"grüße\\");
    assert_int_equal(config.client.deadline, UINT64_C(10000000000)); /* not mentioned: untouched */
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    assert_refused(
        "[store]\n\ncapacty = 1\n",
        "test.toml:3: [store] capacty: unknown key: remove it or use one of engine, path, discard, "
        "capacity, durability, interval, journal_limit, prefault, checksum, buffer, queue_depth, "
        "fast, fast_path, slow, fast_capacity");
    assert_refused("\n[stor]\n",
                   "test.toml:2: [stor] unknown table: remove it or use one of [cluster] [server] "
                   "[store] [rpc] [meta] [client] [metrics]");
    assert_refused("engine = \"mem\"\n", "test.toml:1: engine: key outside of any table: put it below "
                                         "[cluster], [server] or [store]");
    assert_refused("[store.engine]\nfast = true\n",
                   "test.toml:1: [store] engine: wrong type, this is a TOML table: use a string");
    assert_refused(
        "[[store]]\n",
        "test.toml:1: store: key outside of any table: put it below [cluster], [server] or [store]");
}

static void wrong_types_are_refused(void **state)
{
    (void)state;
    assert_refused("[rpc]\ndeadline = 10\n",
                   "test.toml:2: [rpc] deadline: wrong type, this is a TOML integer: use "
                   "a duration such as \"10s\" or \"500us\"");
    assert_refused("[cluster]\nserver_count = \"2\"\n",
                   "test.toml:2: [cluster] server_count: wrong type, this is "
                   "a TOML string: use a whole number");
    assert_refused("[store]\nprefault = 1\n",
                   "test.toml:2: [store] prefault: wrong type, this is a TOML integer: use true or false");
    assert_refused(
        "[store]\ncapacity = 1.5\n",
        "test.toml:2: [store] capacity: wrong type, this is a TOML floating-point number: use a size "
        "such as \"64KiB\" or \"1GiB\"");
    assert_refused("[store]\nengine = 1979-05-27\n",
                   "test.toml:2: [store] engine: wrong type, this is a TOML date: use a string");
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    assert_refused("[cluster]\nserver_count = 0\n",
                   "test.toml:2: [cluster] server_count: 0 is out of range: use 1 to 1024");
    assert_refused("[cluster]\nserver_count = -3\n",
                   "test.toml:2: [cluster] server_count: -3 is out of range: use 1 to 1024");
    assert_refused("[store]\ncapacity = \"2000PiB\"\n",
                   "test.toml:2: [store] capacity: 2000PiB is out of range: use 1MiB to 1PiB");
    assert_refused(
        "[store]\ncapacity = \"99999999999999999999999\"\n",
        "test.toml:2: [store] capacity: 99999999999999999999999 is out of range: use 1MiB to 1PiB");
    assert_refused("[cluster]\nchunk_size = 100000\n",
                   "test.toml:2: [cluster] chunk_size: 100000 is not a power of two: use 64KiB to 64MiB in "
                   "powers of two");
    assert_refused("[cluster]\nplacement = \"hash|local\"\n",
                   "test.toml:2: [cluster] placement: \"hash|local\" is not valid: use one of "
                   "hash|round_robin|local");
    assert_refused("[cluster]\nplacement = \"\"\n",
                   "test.toml:2: [cluster] placement: \"\" is not valid: use one of hash|round_robin|local");
    assert_refused("[store]\ncapacity = \"1GB\"\n",
                   "test.toml:2: [store] capacity: \"1GB\" is not valid: use a "
                   "size such as \"64KiB\" or \"1GiB\"");
}

static void strings_are_checked(void **state)
{
    (void)state;
    char text[600] = "[store]\npath = \"";
    size_t length = strlen(text);
    memset(text + length, 'x', 255);
    strcpy(text + length + 255, "\"\n");
    assert_int_equal(read_text(text), 0);
    assert_int_equal(strlen(config.store.path), 255);
    strcpy(text + length + 255, "x\"\n");
    assert_refused(text,
                   "test.toml:2: [store] path: value is not valid: use a string of at most 255 bytes of "
                   "UTF-8 without control characters");
    assert_refused(
        "[store]\npath = \"a\\nb\"\n",
        "test.toml:2: [store] path: value is not valid: use a string of at most 255 bytes of UTF-8 "
        "without control characters");
    assert_refused(
        "[store]\npath = \"a\\u0000b\"\n",
        "test.toml:2: [store] path: value holds a NUL character: use a string of at most 255 bytes of "
        "UTF-8 without control characters");
}

static void bad_syntax_is_named_in_one_line(void **state)
{
    (void)state;
    const char *const texts[] = {"[store\n",
                                 "\n\n[store]\npath = \n",
                                 "[store]\npath = \"open\n",
                                 "=",
                                 "\x01",
                                 "[store]\npath = \"a\"\npath = \"b\"\n",
                                 "[store]\npath = '\xff'\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config before = config;
        assert_int_equal(read_text(texts[i]), -EINVAL);
        assert_memory_equal(error, "test.toml:", 10);
        assert_non_null(strstr(error, ": not valid TOML: "));
        assert_null(strchr(error, '\n'));
        assert_memory_equal(&before, &config, sizeof config);
    }
}

/* Two inputs that the TOML library itself stumbles over: see base/toml.cc. */
static void what_the_parser_cannot_stand_is_an_error_too(void **state)
{
    (void)state;
    assert_refused("[store]\nengine = \"mem\"\n[,rpc]\npat\n",
                   "test.toml:3: not valid TOML: this line cannot be read: correct it");
    assert_int_equal(read_text("[store]\npat \xcf\x80\n"), -EINVAL);
    assert_memory_equal(error, "test.toml:2: not valid TOML: ", 29);
}

static void names_cannot_forge_an_error_line(void **state)
{
    (void)state;
    assert_int_equal(read_text("[store]\n\"a\\nb\\u001b[2J\" = 1\n"), -EINVAL);
    assert_memory_equal(error, "test.toml:2: [store] a?b?[2J: unknown key", 41);
    char small[8];
    assert_int_equal(config_read_text(&config, "test.toml", "x = 1", 5, small, sizeof small), -EINVAL);
    assert_string_equal(small, "test.to");
}

static void first_mistake_wins_and_nothing_is_applied(void **state)
{
    (void)state;
    assert_refused("[store]\npath = \"/right\"\nprefault = 7\nengine = \"bad\"\n[client]\nspin = 1\n",
                   "test.toml:3: [store] prefault: wrong type, this is a TOML integer: use true or false");
    assert_string_equal(config.store.path, "");
}

static void command_line_sets_single_options(void **state)
{
    (void)state;
    assert_int_equal(config_set(&config, "store", "capacity", "2GiB", error, sizeof error), 0);
    assert_int_equal(config.store.capacity, UINT64_C(2) << 30);
    assert_int_equal(config_set(&config, "server", "pin", "true", error, sizeof error), 0);
    assert_true(config.server.pin);

    assert_int_equal(config_set(&config, "store", "capacity", "much", error, sizeof error), -EINVAL);
    assert_string_equal(error,
                        "store.capacity: \"much\" is not valid: use a size such as \"64KiB\" or \"1GiB\"");
    assert_int_equal(config_set(&config, "store", "colour", "red", error, sizeof error), -EINVAL);
    assert_string_equal(error,
                        "store.colour: unknown key: remove it or use one of engine, path, discard, capacity, "
                        "durability, interval, journal_limit, prefault, checksum, buffer, queue_depth, "
                        "fast, fast_path, slow, fast_capacity");
    assert_int_equal(config_set(&config, "stoer", "path", "/", error, sizeof error), -EINVAL);
    assert_int_equal(config_set(&config, "cluster", "server_count", "12x", error, sizeof error), -EINVAL);
    assert_int_equal(
        config_set(&config, "cluster", "server_count", "99999999999999999999", error, sizeof error), -EINVAL);
    /* What no TOML file could hold must not get in here: config_print could not write it. */
    const char *const bad[] = {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xe2\x82", "\xf5\x80\x80\x80", "a\tb"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(config_set(&config, "store", "path", bad[i], error, sizeof error), -EINVAL);
    assert_int_equal(config_set(&config, "store", "path", "/π/𝕏", error, sizeof error), 0);
}

static char *printed(const struct config *what)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    config_print(what, out);
    fclose(out);
    return text;
}

static void print_reads_back(void **state)
{
    (void)state;
    static const char *const changes[][3] = {
        {"store", "path", "C:\\\"quoted\" = [x] # π"},
        {"store", "capacity", "1234567"},
        {"rpc", "deadline", "12345678ns"},
        {"server", "spin", "0"},
        {"server", "pin", "true"},
        {"cluster", "server_count", "1024"},
        {"cluster", "placement", "round_robin"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        assert_int_equal(
            config_set(&config, changes[i][0], changes[i][1], changes[i][2], error, sizeof error), 0);

    char *text = printed(&config);
    struct config copy = config;
    config_defaults(&config);
    if (read_text(text) != 0)
        fail_msg("%s", error);
    assert_memory_equal(&copy, &config, sizeof config);
    free(text);
}

static void example_reads_as_the_defaults(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    config_print_example(out);
    fclose(out);
    struct config defaults = config;
    memset(&config, 0, sizeof config);
    if (read_text(text) != 0)
        fail_msg("%s", error);
    assert_memory_equal(&defaults, &config, sizeof config);
    free(text);
}

static void help_and_manual_name_every_option(void **state)
{
    (void)state;
    char *help = NULL, *manual = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&help, &length);
    config_print_help(out);
    fclose(out);
    out = open_memstream(&manual, &length);
    config_print_man(out);
    fclose(out);
    for (size_t i = 0; i < option_count; i++) {
        char word[128];
        const struct option_entry *entry = &option_entries[i];
        if (entry->key == NULL)
            continue;
        snprintf(word, sizeof word, "  %s.%s=", entry->table, entry->key);
        assert_non_null(strstr(help, word));
        snprintf(word, sizeof word, ".It Cm %s No", entry->key);
        assert_non_null(strstr(manual, word));
    }
    for (char *save = NULL, *line = strtok_r(help, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save))
        assert_true(strlen(line) <= 90);
    free(help);
    free(manual);
}

static void files_are_read_and_named(void **state)
{
    (void)state;
    char path[] = "/tmp/benchfs-config-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, "[meta]\nopen_lease = \"2ms\"\n", 26), 26);
    int status = config_read_file(&config, path, error, sizeof error);
    assert_int_equal(ftruncate(descriptor, 2 << 20), 0);
    int too_large = config_read_file(&config, path, error, sizeof error);
    close(descriptor);
    unlink(path);
    assert_int_equal(status, 0);
    assert_int_equal(config.meta.open_lease, 2000000);
    assert_int_equal(too_large, -EINVAL);
    assert_non_null(strstr(error, ": larger than 1 MiB: "));

    assert_int_equal(config_read_file(&config, path, error, sizeof error), -ENOENT);
    assert_non_null(strstr(error, ": cannot open: No such file or directory: "));
    assert_int_equal(config_read_file(&config, "/tmp", error, sizeof error), -EISDIR);
    assert_string_equal(error, "/tmp: cannot read: Is a directory: give the path of a readable TOML file");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, start)
    const struct CMUnitTest tests[] = {
        CASE(defaults_come_from_the_table),
        CASE(every_row_of_the_table_is_consistent),
        CASE(a_full_file_is_read),
        CASE(unknown_names_are_refused),
        CASE(wrong_types_are_refused),
        CASE(values_out_of_range_are_refused),
        CASE(strings_are_checked),
        CASE(bad_syntax_is_named_in_one_line),
        CASE(what_the_parser_cannot_stand_is_an_error_too),
        CASE(names_cannot_forge_an_error_line),
        CASE(first_mistake_wins_and_nothing_is_applied),
        CASE(command_line_sets_single_options),
        CASE(print_reads_back),
        CASE(example_reads_as_the_defaults),
        CASE(help_and_manual_name_every_option),
        CASE(files_are_read_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
