/* One event is one line, whatever its text holds, and lines of several threads do not mix. */
#include "unit/unit.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, LINES = 200 };

static char path[64];

static int open_log(void **state)
{
    (void)state;
    strcpy(path, "/tmp/benchfs-log-XXXXXX");
    int descriptor = mkstemp(path);
    if (descriptor < 0)
        return -1;
    close(descriptor);
    log_threshold = LOG_INFO;
    return log_open("test", path);
}

static int close_log(void **state)
{
    (void)state;
    unlink(path);
    return log_open(NULL, NULL);
}

static char *contents(void)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static size_t lines_in(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

static void line_has_level_program_and_text(void **state)
{
    (void)state;
    errno = ENOSPC;
    log_error("cannot write %d bytes", 17);
    assert_int_equal(errno, ENOSPC);
    char *text = contents();
    assert_non_null(strstr(text, " error test["));
    assert_non_null(strstr(text, "]: cannot write 17 bytes\n"));
}

static void threshold_suppresses(void **state)
{
    (void)state;
    log_debug("quiet");
    assert_int_equal(strlen(contents()), 0);
    log_threshold = LOG_DEBUG;
    log_debug("loud");
    assert_int_equal(lines_in(contents()), 1);
}

static void control_characters_cannot_forge_a_line(void **state)
{
    (void)state;
    log_info("name %s", "a\nb\x1b[2J");
    char *text = contents();
    assert_int_equal(lines_in(text), 1);
    assert_non_null(strstr(text, "name a?b?[2J\n"));
}

static void long_line_is_cut_and_ended(void **state)
{
    (void)state;
    char *words = malloc(100000);
    memset(words, 'x', 99999);
    words[99999] = '\0';
    log_info("%s", words);
    free(words);
    char *text = contents();
    assert_int_equal(lines_in(text), 1);
    assert_in_range(strlen(text), 1000, 4096);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void unusable_file_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(log_open("other", "/nonexistent/directory/log"), -ENOENT);
    log_info("still here");
    assert_non_null(strstr(contents(), " info test["));
}

static void *log_lines(void *argument)
{
    for (int i = 0; i < LINES; i++)
        log_info("thread %s says nothing of interest", (const char *)argument);
    return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    static char names[THREADS][2];
    for (int i = 0; i < THREADS; i++) {
        names[i][0] = (char)('a' + i);
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, names[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    size_t whole = 0;
    char *save = NULL;
    for (char *line = strtok_r(contents(), "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        const char *text = strstr(line, "]: thread ");
        assert_non_null(text);
        assert_string_equal(text + strlen("]: thread x"), " says nothing of interest");
        whole++;
    }
    assert_int_equal(whole, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(line_has_level_program_and_text, open_log, close_log),
        cmocka_unit_test_setup_teardown(threshold_suppresses, open_log, close_log),
        cmocka_unit_test_setup_teardown(control_characters_cannot_forge_a_line, open_log, close_log),
        cmocka_unit_test_setup_teardown(long_line_is_cut_and_ended, open_log, close_log),
        cmocka_unit_test_setup_teardown(unusable_file_changes_nothing, open_log, close_log),
        cmocka_unit_test_setup_teardown(threads_do_not_mix_lines, open_log, close_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
