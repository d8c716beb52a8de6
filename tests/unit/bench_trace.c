/* Traces are read as they were written, what is wrong with one is told by line, and strace's output becomes
 * one. */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/trace.h"

static struct trace trace;
static uint64_t ignored;
static char error[256];

static int parse(const char *text)
{
    trace_free(&trace);
    return trace_parse(text, strlen(text), &trace, &ignored, error, sizeof(error));
}

#define HEAD "{\"type\":\"trace\",\"format\":1}\n"

static const char every_operation[] = HEAD
    "{\"t\":0,\"process\":1,\"op\":\"mkdir\",\"path\":\"/d\"}\n"
    "{\"t\":10,\"process\":1,\"op\":\"open\",\"path\":\"/d/a \\\"b\\\"\",\"fd\":3,\"flags\":\"rwcxta\"}\n"
    "{\"t\":20,\"process\":1,\"op\":\"write\",\"fd\":3,\"offset\":100,\"length\":4096}\n"
    "{\"t\":30,\"process\":2,\"op\":\"read\",\"fd\":3,\"offset\":0,\"length\":8192,\"moved\":4196}\n"
    "{\"t\":40,\"process\":1,\"op\":\"fsync\",\"fd\":3}\n"
    "{\"t\":50,\"process\":1,\"op\":\"close\",\"fd\":3}\n"
    "{\"t\":60,\"process\":1,\"op\":\"stat\",\"path\":\"/d\",\"directory\":true}\n"
    "{\"t\":70,\"process\":1,\"op\":\"stat\",\"path\":\"/none\",\"error\":\"ENOENT\"}\n"
    "{\"t\":80,\"process\":1,\"op\":\"rename\",\"path\":\"/d/a \\\"b\\\"\",\"new_path\":\"/d/c\"}\n"
    "{\"t\":90,\"process\":1,\"op\":\"truncate\",\"path\":\"/d/c\",\"length\":7}\n"
    "{\"t\":100,\"process\":1,\"op\":\"readdir\",\"path\":\"/d\"}\n"
    "{\"t\":110,\"process\":1,\"op\":\"unlink\",\"path\":\"/d/c\"}\n"
    "{\"t\":120,\"process\":1,\"op\":\"rmdir\",\"path\":\"/d\"}\n"
    "{\"t\":130,\"process\":1,\"op\":\"open\",\"path\":\"/d\",\"flags\":\"r\",\"error\":\"ENOENT\"}\n"
    "{\"t\":140,\"process\":1,\"op\":\"symlink\",\"path\":\"/l\",\"new_path\":\"/d/a\"}\n"
    "{\"t\":150,\"process\":1,\"op\":\"readlink\",\"path\":\"/l\",\"new_path\":\"/d/a\"}\n"
    "{\"t\":160,\"process\":1,\"op\":\"readlink\",\"path\":\"/d\",\"error\":\"EINVAL\"}\n"
    "{\"t\":170,\"process\":1,\"op\":\"stat\",\"path\":\"/l\",\"link\":true}\n";

static void what_was_written_is_read(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(parse(every_operation), 0);
    assert_int_equal(trace.event_count, 18);
    assert_int_equal(trace.events[1].flags, O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_APPEND);
    assert_int_equal(trace.events[3].moved, 4196);
    assert_int_equal(trace.events[7].error, ENOENT);
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(trace_write(&trace, out), 0);
    fclose(out);
    assert_string_equal(text, every_operation);
    free(text);
}

static void time_counts_from_the_first(void **state)
{
    (void)state;
    assert_int_equal(parse(HEAD "{\"t\":2000,\"process\":1,\"op\":\"stat\",\"path\":\"/b\"}\n" HEAD
                                "{\"t\":500,\"process\":2,\"op\":\"stat\",\"path\":\"//a/./\"}"),
                     0);
    assert_int_equal(trace.events[0].time, 0);
    assert_int_equal(trace.events[1].time, 1500);
    assert_string_equal(trace.paths[trace.events[0].path], "/a");
}

static void what_is_wrong_is_told_by_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"", "empty"},
        {"{\"t\":0}\n", "line 1: does not begin as a trace"},
        {"{\"type\":\"run\"}\n", "line 1: no trace"},
        {"{\"type\":\"trace\",\"format\":2}\n", "line 1: missing, or no number in bounds: format"},
        {"{\"type\":\"trace\",\"format\":0}\n", "line 1: a format of another version"},
        {HEAD "nonsense", "line 2: no JSON object"},
        {HEAD "[]", "line 2: no JSON object"},
        {HEAD "{\"t\":0,\"process\":1}", "line 2: missing, or no text: op"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"frob\"}", "line 2: unknown operation"},
        {HEAD "{\"t\":-1,\"process\":1,\"op\":\"stat\",\"path\":\"/a\"}", "no number in bounds: t"},
        {HEAD "{\"t\":0,\"op\":\"stat\",\"path\":\"/a\"}", "no number in bounds: process"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"stat\",\"path\":\"a\"}", "no absolute path"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"stat\",\"path\":\"/a/../../etc\"}", "no absolute path"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"stat\",\"path\":\"/a\",\"error\":\"EWRONG\"}",
         "no name of an error"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"open\",\"path\":\"/a\",\"fd\":1,\"flags\":\"q\"}", "flags"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"open\",\"path\":\"/a\",\"fd\":1,\"flags\":\"c\"}", "flags"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"close\"}", "no number in bounds: fd"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"write\",\"fd\":1,\"offset\":0,\"length\":2000000000}",
         "length"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"read\",\"fd\":1,\"offset\":0,\"length\":10,\"moved\":11}",
         "moved"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"symlink\",\"path\":\"/a\"}", "missing, or no text: new_path"},
        {HEAD "{\"t\":0,\"process\":1,\"op\":\"readlink\",\"path\":\"/a\",\"new_path\":\"../b\"}",
         "no absolute path"},
        {"12:00:00 open(\"/a\", O_RDONLY) = 3\n", "line 1: neither a trace nor what strace"},
        {"1.5 open(\"/a\", O_RDONLY = 3\n", "line 1: neither"},
        {"1.5 open(\"/a\", O_RDONLY) = 3\nhello\n", "line 2: neither"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(cases[i].text), -EINVAL);
        assert_non_null(strstr(error, cases[i].said));
        assert_int_equal(trace.event_count, 0);
    }
}

/* ---- strace ---- */

/* "process op path|fd offset length" of each event. */
static const char *summary(void)
{
    static char text[8192];
    size_t length = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < trace.event_count; i++) {
        const struct trace_event *event = &trace.events[i];
        length +=
            (size_t)snprintf(text + length, sizeof(text) - length, "%llu %s",
                             (unsigned long long)event->process, trace_operation_names[event->operation]);
        if (event->path != TRACE_NO_PATH)
            length += (size_t)snprintf(text + length, sizeof(text) - length, " %s", trace.paths[event->path]);
        if (event->new_path != TRACE_NO_PATH)
            length +=
                (size_t)snprintf(text + length, sizeof(text) - length, " %s", trace.paths[event->new_path]);
        if (event->operation <= TRACE_FSYNC && event->error == 0)
            length += (size_t)snprintf(text + length, sizeof(text) - length, " #%llu",
                                       (unsigned long long)event->fd);
        if (event->operation == TRACE_READ || event->operation == TRACE_WRITE)
            length += (size_t)snprintf(text + length, sizeof(text) - length, " %llu+%llu",
                                       (unsigned long long)event->offset, (unsigned long long)event->moved);
        if (event->error != 0)
            length += (size_t)snprintf(text + length, sizeof(text) - length, " E%d", event->error);
        length += (size_t)snprintf(text + length, sizeof(text) - length, "\n");
    }
    return text;
}

static void calls_become_operations(void **state)
{
    (void)state;
    assert_int_equal(
        parse(
            "7 1.000001 execve(\"/bin/x\", [\"x\", \"a,b)\"], 0x7ff /* 3 vars */) = 0\n"
            "7 1.000002 chdir(\"/home/u\") = 0\n"
            "7 1.000003 openat(AT_FDCWD, \"a/../b\\\"\\303\\244\", O_RDWR|O_CREAT, 0666) = 3\n"
            "7 1.000004 write(3, \"x\\\"), = 5\"..., 100) = 100\n"
            "7 1.000005 write(3, \"y\", 1)      = 1\n"
            "7 1.000006 lseek(3, 10, SEEK_SET) = 10\n"
            "7 1.000007 read(3, \"zz\", 4096) = 91\n"
            "7 1.000008 pread64(3, \"zz\", 5, 77) = 5\n"
            "7 1.000009 pwritev(3, [{iov_base=\"q\", iov_len=1}, {iov_base=\"r\", iov_len=1}], 2, 1000) = 2\n"
            "7 1.000010 dup2(3, 9) = 9\n"
            "7 1.000011 close(3) = 0\n"
            "7 1.000012 fstat(9, {st_mode=S_IFREG|0644, st_size=101, ...}) = 0\n"
            "7 1.000013 ftruncate(9, 50) = 0\n"
            "7 1.000014 fsync(9) = 0\n"
            "7 1.000015 close(9) = 0\n"
            "7 1.000016 newfstatat(AT_FDCWD, \"none\", 0x7ffd, 0) = -1 ENOENT (No such file or directory)\n"
            "7 1.000017 openat(AT_FDCWD, \".\", O_RDONLY|O_DIRECTORY) = 3\n"
            "7 1.000018 getdents64(3, 0x55 /* 4 entries */, 32768) = 112\n"
            "7 1.000019 getdents64(3, 0x55 /* 0 entries */, 32768) = 0\n"
            "7 1.000020 unlinkat(3, \"b\", 0) = 0\n"
            "7 1.000021 unlinkat(3, \"c\", AT_REMOVEDIR) = 0\n"
            "7 1.000022 renameat2(AT_FDCWD, \"x\", 3, \"y\", RENAME_NOREPLACE) = 0\n"
            "7 1.000023 write(1, \"not a file\", 10) = 10\n"
            "7 1.000024 symlink(\"a\", \"b\") = 0\n"
            "7 1.000025 link(\"a\", \"e\") = 0\n"
            "7 1.000026 linkat(AT_FDCWD, \"a\", 3, \"f\", 0) = 0\n"
            "7 1.000027 linkat(AT_FDCWD, \"a\", 3, \"f\", AT_SYMLINK_FOLLOW) = 0\n"
            "7 1.000028 open(\"m\", O_RDWR) = 4\n"
            "7 1.000029 mmap(NULL, 8192, PROT_READ, MAP_SHARED, 4, 0x1000) = 0x7f0000000000\n"
            "7 1.000030 mmap(NULL, 100, PROT_READ|PROT_WRITE, MAP_PRIVATE, 4, 0) = 0x7f0000010000\n"
            "7 1.000031 mmap(NULL, 100, PROT_READ|PROT_WRITE, MAP_SHARED, 4, 0) = 0x7f0000010000\n"
            "7 1.000032 mmap(NULL, 100, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000010000\n"
            "7 1.000033 symlinkat(\"../../b\", 3, \"s\") = 0\n"
            "7 1.000034 readlink(\"/home/u/s\", \"../../b\", 4096) = 7\n"
            "7 1.000035 readlinkat(3, \"t\", \"/etc/abcdefghijklmnopqrst\"..., 4096) = 60\n" /* cut */
            "7 1.000036 readlink(\"b\", 0x7ffe, 4096) = -1 EINVAL (Invalid argument)\n"
            "7 1.000037 lstat(\"s\", {st_mode=S_IFLNK|0777, st_size=7, ...}) = 0\n"
            "7 1.000038 symlink(\"\\0\", \"u\") = 0\n"
            "7 1.000039 fallocate(3, 0, 0, 10) = 0\n"
            "7 1.000040 +++ exited with 0 +++\n"),
        0);
    assert_string_equal(summary(), "7 open /home/u/b\"\303\244 #1\n"
                                   "7 write #1 0+100\n"
                                   "7 write #1 100+1\n"
                                   "7 read #1 10+91\n"
                                   "7 read #1 77+5\n"
                                   "7 write #1 1000+2\n"
                                   "7 stat /home/u/b\"\303\244\n"
                                   "7 truncate /home/u/b\"\303\244\n"
                                   "7 fsync #1\n"
                                   "7 close #1\n"
                                   "7 stat /home/u/none E2\n"
                                   "7 readdir /home/u\n"
                                   "7 unlink /home/u/b\n"
                                   "7 rmdir /home/u/c\n"
                                   "7 rename /home/u/x /home/u/y\n"
                                   "7 symlink /home/u/b /home/u/a\n"
                                   "7 link /home/u/a /home/u/e\n"
                                   "7 link /home/u/a /home/u/f\n"
                                   "7 open /home/u/m #2\n"
                                   "7 read #2 4096+0\n" /* what it gave is not known */
                                   "7 read #2 0+0\n"
                                   "7 symlink /home/u/s /b\n"
                                   "7 readlink /home/u/s /b\n"
                                   "7 readlink /home/u/t\n"
                                   "7 readlink /home/u/b E22\n"
                                   "7 stat /home/u/s\n"
                                   "7 close #2\n");
    assert_int_equal(ignored, 4);
    assert_string_equal(trace.ignored, "mmap 1, fallocate 1, linkat 1, symlink 1");
}

/* The longest line: two paths of bytes that take six each. */
static void long_paths_are_written(void **state)
{
    (void)state;
    char line[8192], *text = NULL;
    size_t length = (size_t)sprintf(line, "1 1.5 rename(\""), size = 0;
    for (int path = 0; path < 2; path++) {
        length += (size_t)sprintf(line + length, "/%c", 'a' + path);
        for (unsigned i = 2; i < TRACE_PATH_MAX - 1; i++)
            length += (size_t)sprintf(line + length, "\\1");
        length += (size_t)sprintf(line + length, "%s", path == 0 ? "\", \"" : "\") = 0\n");
    }
    assert_int_equal(parse(line), 0);
    assert_int_equal(trace.event_count, 1);
    assert_int_equal(strlen(trace.paths[0]), TRACE_PATH_MAX - 1);
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(trace_write(&trace, out), 0);
    fclose(out);
    assert_int_equal(parse(text), 0);
    assert_int_equal(trace.event_count, 1);
    free(text);
    assert_int_equal(parse("1 1.5 stat(\"/\\377\", {}) = 0\n"), 0); /* no UTF-8 */
    assert_int_equal(trace.event_count, 0);
    assert_int_equal(ignored, 1);
}

static void processes_share_and_inherit(void **state)
{
    (void)state;
    assert_int_equal(parse("1 1.1 open(\"/log\", O_WRONLY|O_APPEND) = 3\n"
                           "1 1.2 open(\"/secret\", O_RDONLY|O_CLOEXEC) = 4\n"
                           "1 1.3 vfork( <unfinished ...>\n"
                           "2 1.4 write(3, \"ab\", 2 <unfinished ...>\n" /* before its parent knows of it */
                           "1 1.5 <... vfork resumed>) = 2\n"
                           "1 1.6 write(3, \"cde\", 3) = 3\n"
                           "2 1.7 <... write resumed>) = 2\n"
                           "2 1.8 execve(\"/bin/y\", [], 0x0) = 0\n"
                           "2 1.9 read(4, \"\", 10) = 0\n" /* closed by exec */
                           "1 2.0 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 5\n"
                           "5 2.1 open(\"/t\", O_RDONLY) = 6\n"
                           "1 2.2 read(6, \"t\", 1) = 1\n" /* a thread opened it */
                           "5 2.3 exit(0) = ?\n"
                           "5 2.4 +++ exited with 0 +++\n"
                           "1 2.5 close(3) = 0\n"
                           "1 2.6 --- SIGCHLD {si_signo=SIGCHLD} ---\n"
                           "2 2.7 +++ killed by SIGKILL +++\n"),
                     0);
    assert_string_equal(summary(), "1 open /log #1\n"
                                   "1 open /secret #2\n"
                                   "2 write #1 3+2\n"
                                   "1 write #1 0+3\n"
                                   "5 open /t #3\n"
                                   "1 read #3 0+1\n"
                                   "2 close #1\n"
                                   "1 close #2\n"
                                   "1 close #3\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),      cmocka_unit_test(time_counts_from_the_first),
        cmocka_unit_test(what_is_wrong_is_told_by_line), cmocka_unit_test(calls_become_operations),
        cmocka_unit_test(processes_share_and_inherit),   cmocka_unit_test(long_paths_are_written),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    trace_free(&trace);
    return failed;
}
