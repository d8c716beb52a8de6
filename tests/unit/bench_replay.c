/* Replaying: what must be there is prepared, what makes no sense is left out, operations wait for those that
 * they depend on, and what the target does wrong is found. */
#include "unit/bench_session.h"

#include <sys/mman.h>

#include "bench/replay.h"

#define HEAD "{\"type\":\"trace\",\"format\":1}\n"

static struct trace trace;
static struct replay_plan plan;
static struct relay *done; /* these two are shared with the workers */
static struct replay_outcome *outcome;
static double speed;

static void make_plan(const char *text, const char *only)
{
    char error[256];
    uint64_t ignored;
    replay_plan_free(&plan);
    trace_free(&trace);
    assert_int_equal(trace_parse(text, strlen(text), &trace, &ignored, error, sizeof(error)), 0);
    assert_int_equal(replay_plan_make(&plan, &trace, only), 0);
}

static const struct replay_prepared *prepared(const char *path)
{
    uint32_t number;
    uint32_t before = trace.path_count;
    assert_int_equal(trace_path(&trace, path, &number), 0);
    assert_int_equal(before, trace.path_count);
    return &plan.prepared[number];
}

static int run(struct crew_member *worker)
{
    struct session session;
    int status = session_open_here(&session, worker);
    if (status < 0)
        return status;
    return session_close(&session, replay_run(&session, &plan, speed, true, done, outcome));
}

static int replay(uint32_t processes)
{
    memset(outcome, 0, sizeof(*outcome));
    return session_run(processes, 1, REPLAY_PHASE_COUNT, run, NULL);
}

static int setup(void **state)
{
    assert_int_equal(relay_create(16384, &done), 0);
    outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(outcome != MAP_FAILED);
    speed = 0.0;
    return session_setup(state);
}

static int teardown(void **state)
{
    relay_destroy(done);
    munmap(outcome, sizeof(*outcome));
    replay_plan_free(&plan);
    trace_free(&trace);
    return session_teardown(state);
}

/* clang-format off */
static const char mixed_bag[] = HEAD
    "{\"t\":0,\"process\":1,\"op\":\"stat\",\"path\":\"/in/none\",\"error\":\"ENOENT\"}\n"
    "{\"t\":1,\"process\":1,\"op\":\"open\",\"path\":\"/in/old\",\"fd\":3,\"flags\":\"r\"}\n"
    "{\"t\":2,\"process\":1,\"op\":\"read\",\"fd\":3,\"offset\":5000,\"length\":9000,\"moved\":3000}\n"
    "{\"t\":3,\"process\":1,\"op\":\"read\",\"fd\":3,\"offset\":8000,\"length\":9000,\"moved\":0}\n"
    "{\"t\":4,\"process\":1,\"op\":\"close\",\"fd\":3}\n"
    "{\"t\":5,\"process\":1,\"op\":\"mkdir\",\"path\":\"/in/d\"}\n"
    "{\"t\":6,\"process\":1,\"op\":\"mkdir\",\"path\":\"/in/d\",\"error\":\"EEXIST\"}\n"
    "{\"t\":7,\"process\":1,\"op\":\"open\",\"path\":\"/in/d/new\",\"fd\":3,\"flags\":\"wcx\"}\n"
    "{\"t\":8,\"process\":1,\"op\":\"write\",\"fd\":3,\"offset\":0,\"length\":3901}\n"
    "{\"t\":9,\"process\":1,\"op\":\"write\",\"fd\":3,\"offset\":10000,\"length\":100}\n"
    "{\"t\":10,\"process\":1,\"op\":\"fsync\",\"fd\":3}\n"
    "{\"t\":11,\"process\":1,\"op\":\"close\",\"fd\":3}\n"
    "{\"t\":12,\"process\":1,\"op\":\"rename\",\"path\":\"/in/d/new\",\"new_path\":\"/in/d/moved\"}\n"
    "{\"t\":13,\"process\":1,\"op\":\"open\",\"path\":\"/in/d/moved\",\"fd\":4,\"flags\":\"r\"}\n"
    "{\"t\":14,\"process\":1,\"op\":\"read\",\"fd\":4,\"offset\":0,\"length\":20000,\"moved\":10100}\n"
    "{\"t\":15,\"process\":1,\"op\":\"close\",\"fd\":4}\n"
    "{\"t\":16,\"process\":1,\"op\":\"truncate\",\"path\":\"/in/d/moved\",\"length\":10}\n"
    "{\"t\":17,\"process\":1,\"op\":\"readdir\",\"path\":\"/in/d\"}\n"
    "{\"t\":18,\"process\":1,\"op\":\"stat\",\"path\":\"/in/d/new\"}\n" /* was renamed: left out */
    "{\"t\":19,\"process\":1,\"op\":\"unlink\",\"path\":\"/in/d/moved\"}\n"
    "{\"t\":20,\"process\":1,\"op\":\"rmdir\",\"path\":\"/in/d\"}\n"
    "{\"t\":21,\"process\":1,\"op\":\"stat\",\"path\":\"/out/file\"}\n"
    "{\"t\":22,\"process\":1,\"op\":\"open\",\"path\":\"/in/left/open\",\"fd\":9,\"flags\":\"r\"}\n";
/* clang-format on */

/* ---- symbolic links ---- */

#define LINE(t, rest) "{\"t\":" #t ",\"process\":1," rest "}\n"
/* clang-format off */
static const char links[] = HEAD
    LINE(0, "\"op\":\"mkdir\",\"path\":\"/d\"")
    LINE(1, "\"op\":\"symlink\",\"path\":\"/d/l\",\"new_path\":\"/d/f\"")
    LINE(2, "\"op\":\"stat\",\"path\":\"/d/l\",\"error\":\"ENOENT\"") /* leads nowhere yet */
    LINE(3, "\"op\":\"open\",\"path\":\"/d/l\",\"fd\":1,\"flags\":\"rwc\"")
    LINE(4, "\"op\":\"write\",\"fd\":1,\"offset\":0,\"length\":5000")
    LINE(5, "\"op\":\"close\",\"fd\":1")
    LINE(6, "\"op\":\"stat\",\"path\":\"/d/f\"")
    LINE(7, "\"op\":\"stat\",\"path\":\"/d/l\",\"link\":true")
    LINE(8, "\"op\":\"readlink\",\"path\":\"/d/l\",\"new_path\":\"/d/f\"")
    LINE(9, "\"op\":\"readlink\",\"path\":\"/d/f\",\"error\":\"EINVAL\"")
    LINE(10, "\"op\":\"symlink\",\"path\":\"/d/l\",\"new_path\":\"/x\",\"error\":\"EEXIST\"")
    LINE(11, "\"op\":\"rename\",\"path\":\"/d/l\",\"new_path\":\"/d/m\"")
    LINE(12, "\"op\":\"truncate\",\"path\":\"/d/m\",\"length\":10")
    LINE(13, "\"op\":\"symlink\",\"path\":\"/e\",\"new_path\":\"/d\"") /* to a directory, and a link in that */
    LINE(14, "\"op\":\"open\",\"path\":\"/e/m\",\"fd\":2,\"flags\":\"r\"")
    LINE(15, "\"op\":\"read\",\"fd\":2,\"offset\":0,\"length\":100,\"moved\":10")
    LINE(16, "\"op\":\"close\",\"fd\":2")
    LINE(17, "\"op\":\"readdir\",\"path\":\"/e\"")
    LINE(18, "\"op\":\"unlink\",\"path\":\"/e/m\"")
    LINE(19, "\"op\":\"stat\",\"path\":\"/old/link/in\"") /* before it is known to be one */
    LINE(20, "\"op\":\"readlink\",\"path\":\"/old/link\",\"new_path\":\"/elsewhere\"")
    LINE(21, "\"op\":\"unlink\",\"path\":\"/old/link\"")
    LINE(22, "\"op\":\"readlink\",\"path\":\"/old/link\",\"new_path\":\"/elsewhere\"") /* is gone */
    LINE(23, "\"op\":\"stat\",\"path\":\"/unknown\",\"link\":true") /* where does it lead? */
    LINE(24, "\"op\":\"unlink\",\"path\":\"/d/f\"")
    LINE(25, "\"op\":\"unlink\",\"path\":\"/e\"")
    LINE(26, "\"op\":\"rmdir\",\"path\":\"/d\"");
/* clang-format on */

static void links_are_planned_by_what_they_lead_to(void **state)
{
    (void)state;
    make_plan(links, NULL);
    assert_int_equal(plan.step_count, 25);
    assert_int_equal(plan.left_out, 2);
    assert_int_equal(plan.left_out_by[TRACE_READLINK], 1);
    assert_int_equal(plan.left_out_by[TRACE_STAT], 1);
    assert_int_equal(plan.link_stats, 1);
    assert_int_equal(prepared("/old")->kind, REPLAY_DIRECTORY);
    assert_int_equal(prepared("/old/link")->kind, REPLAY_LINK);
    assert_string_equal(trace.paths[prepared("/old/link")->target], "/elsewhere");
    assert_int_equal(prepared("/elsewhere")->kind, REPLAY_DIRECTORY);
    assert_int_equal(prepared("/elsewhere/in")->kind, REPLAY_FILE);
    assert_int_equal(prepared("/d/l")->kind, REPLAY_UNKNOWN);
    assert_int_equal(prepared("/d/f")->kind, REPLAY_UNKNOWN);
    /* The target is called as it was. */
    assert_string_equal(trace.paths[trace.events[14].path], "/d/f");
    assert_string_equal(trace.paths[trace.events[14].called], "/e/m");
    assert_string_equal(trace.paths[trace.events[18].path], "/d/m");
}

static _Atomic uint32_t *through; /* opens by the link's name */

static int open_and_note(struct target *target, const char *path, int flags, mode_t mode)
{
    *through += strstr(path, "/run/e/m") != NULL;
    return target_posix.file_open(target, path, flags, mode);
}

static ssize_t readlink_other(struct target *target, const char *path, char *text, size_t size)
{
    ssize_t length = target_posix.readlink(target, path, text, size);
    text[length > 0 ? length - 1 : 0] ^= 1;
    return length;
}

static void links_are_replayed(void **state)
{
    (void)state;
    make_plan(links, NULL);
    through = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(through != MAP_FAILED);
    session_calls.file_open = open_and_note;
    assert_int_equal(replay(2), 0);
    assert_int_equal(*through, 1);
    munmap((void *)through, 4096);
    assert_int_equal(session_totals[REPLAY_ALL].operations, 25);
    assert_int_equal(session_totals[REPLAY_ALL].errors, 0);
    assert_int_equal(session_totals[TRACE_SYMLINK].operations, 3);
    assert_int_equal(session_totals[TRACE_READLINK].operations, 3);
    assert_int_equal(session_totals[TRACE_READ].bytes, 10);
    session_calls = target_posix;
    session_calls.readlink = readlink_other;
    assert_int_equal(replay(1), -EIO);
}

/* clang-format off */
static const char names_of_links[] = HEAD
    LINE(0, "\"op\":\"mkdir\",\"path\":\"/d\"")
    LINE(1, "\"op\":\"open\",\"path\":\"/d/f\",\"fd\":1,\"flags\":\"wc\"")
    LINE(2, "\"op\":\"write\",\"fd\":1,\"offset\":0,\"length\":100")
    LINE(3, "\"op\":\"close\",\"fd\":1")
    LINE(4, "\"op\":\"symlink\",\"path\":\"/l\",\"new_path\":\"/d\"")
    LINE(5, "\"op\":\"link\",\"path\":\"/l\",\"new_path\":\"/m\"") /* of the link, not of the directory */
    LINE(6, "\"op\":\"unlink\",\"path\":\"/l\"")
    LINE(7, "\"op\":\"readlink\",\"path\":\"/m\",\"new_path\":\"/d\"")
    LINE(8, "\"op\":\"open\",\"path\":\"/m/f\",\"fd\":2,\"flags\":\"r\"")
    LINE(9, "\"op\":\"read\",\"fd\":2,\"offset\":0,\"length\":100,\"moved\":100")
    LINE(10, "\"op\":\"close\",\"fd\":2")
    LINE(11, "\"op\":\"rename\",\"path\":\"/m\",\"new_path\":\"/n\"")
    LINE(12, "\"op\":\"unlink\",\"path\":\"/n/f\"")
    LINE(13, "\"op\":\"stat\",\"path\":\"/n\",\"link\":true")
    LINE(14, "\"op\":\"link\",\"path\":\"/old\",\"new_path\":\"/new\"") /* a file, as far as is known */
    LINE(15, "\"op\":\"readlink\",\"path\":\"/there\",\"new_path\":\"/old\"")
    LINE(16, "\"op\":\"link\",\"path\":\"/there\",\"new_path\":\"/here\"")
    LINE(17, "\"op\":\"truncate\",\"path\":\"/here\",\"length\":10");
/* clang-format on */

static void links_have_several_names(void **state)
{
    (void)state;
    make_plan(names_of_links, NULL);
    assert_int_equal(plan.left_out, 0);
    assert_int_equal(plan.step_count, 18);
    assert_string_equal(trace.paths[trace.events[8].path], "/d/f");
    assert_string_equal(trace.paths[trace.events[12].path], "/d/f");
    assert_string_equal(trace.paths[trace.events[17].path], "/old");
    assert_int_equal(prepared("/old")->kind, REPLAY_FILE);
    assert_int_equal(prepared("/there")->kind, REPLAY_LINK);
    assert_int_equal(replay(2), 0);
    assert_int_equal(session_totals[REPLAY_ALL].operations, 18);
    assert_int_equal(session_totals[REPLAY_ALL].errors, 0);
    assert_int_equal(session_totals[TRACE_LINK].operations, 3);
}

/* A process opens by a link that another makes. */
static void what_leads_through_a_link_waits_for_it(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "{\"t\":0,\"process\":1,\"op\":\"stat\",\"path\":\"/f\"}\n"
             "{\"t\":1,\"process\":1,\"op\":\"symlink\",\"path\":\"/l\",\"new_path\":\"/f\"}\n"
             "{\"t\":2,\"process\":2,\"op\":\"stat\",\"path\":\"/l\"}\n"
             "{\"t\":3,\"process\":1,\"op\":\"unlink\",\"path\":\"/l\"}\n";
    make_plan(text, NULL);
    for (int i = 0; i < 20; i++)
        assert_int_equal(replay(2), 0);
    const struct replay_step *stat = &plan.steps[2], *removal = &plan.steps[3];
    assert_int_equal(stat->tickets[stat->ticket_count - 1].path, removal->tickets[0].path);
    assert_int_equal(stat->tickets[stat->ticket_count - 1].needs, 1);
    assert_int_equal(removal->tickets[0].needs, 2);
}

/* Circles are left as they are: what was said of them in the trace must be so again. */
static void links_may_lead_round_in_circles(void **state)
{
    (void)state;
    make_plan(HEAD LINE(0, "\"op\":\"symlink\",\"path\":\"/a\",\"new_path\":\"/b\"")
                  LINE(1, "\"op\":\"symlink\",\"path\":\"/b\",\"new_path\":\"/a\"")
                      LINE(2, "\"op\":\"stat\",\"path\":\"/a/x\",\"error\":\"ELOOP\""),
              NULL);
    assert_int_equal(plan.left_out_by[TRACE_STAT], 1);
    assert_int_equal(replay(1), 0);
    assert_int_equal(session_totals[TRACE_SYMLINK].operations, 2);
}

static void a_plan_prepares_what_must_be_there(void **state)
{
    (void)state;
    make_plan(mixed_bag, NULL);
    assert_int_equal(prepared("/in")->kind, REPLAY_DIRECTORY);
    assert_int_equal(prepared("/in/left")->kind, REPLAY_DIRECTORY);
    assert_int_equal(prepared("/in/left/open")->kind, REPLAY_FILE);
    assert_int_equal(prepared("/in/old")->kind, REPLAY_FILE);
    assert_int_equal(prepared("/in/old")->size, 8000);
    assert_int_equal(prepared("/in/d")->kind, REPLAY_UNKNOWN);
    assert_int_equal(prepared("/in/d/new")->kind, REPLAY_UNKNOWN);
    assert_int_equal(prepared("/in/none")->kind, REPLAY_UNKNOWN);
    assert_int_equal(prepared("/out/file")->kind, REPLAY_FILE);
    assert_int_equal(plan.step_count, 22);
    assert_int_equal(plan.left_out, 1);
    make_plan(mixed_bag, "/in/");
    assert_int_equal(prepared("/out/file")->kind, REPLAY_UNKNOWN);
    assert_int_equal(plan.step_count, 21);
    assert_int_equal(plan.left_out, 1);
}

static void every_operation_is_replayed(void **state)
{
    (void)state;
    make_plan(mixed_bag, NULL);
    assert_int_equal(replay(1), 0);
    assert_int_equal(session_totals[REPLAY_ALL].operations, 22);
    assert_int_equal(session_totals[REPLAY_ALL].errors, 0);
    assert_int_equal(session_totals[REPLAY_ALL].bytes, 3000 + 3901 + 100 + 10100);
    assert_int_equal(session_totals[TRACE_OPEN].operations, 4);
    assert_int_equal(session_totals[TRACE_MKDIR].operations, 2);
    assert_int_equal(atomic_load(&outcome->less), 0);
    assert_int_equal(atomic_load(&outcome->differed), 0);
}

/* Eight processes in a ring: each makes a directory with a file, which the next one reads and removes. */
static char ring[16384];

static void make_ring(void)
{
    size_t length = (size_t)snprintf(ring, sizeof(ring), HEAD);
    int t = 0;
    for (int round = 0; round < 3; round++) {
        for (int p = 0; p < 4; p++)
            length += (size_t)snprintf(
                ring + length, sizeof(ring) - length,
                "{\"t\":%d,\"process\":%d,\"op\":\"mkdir\",\"path\":\"/%d\"}\n"
                "{\"t\":%d,\"process\":%d,\"op\":\"open\",\"path\":\"/%d/f\",\"fd\":%d,\"flags\":\"wcx\"}\n"
                "{\"t\":%d,\"process\":%d,\"op\":\"write\",\"fd\":%d,\"offset\":0,\"length\":10000}\n"
                "{\"t\":%d,\"process\":%d,\"op\":\"close\",\"fd\":%d}\n",
                t, p, p, t + 1, p, p, p, t + 2, p, p, t + 3, p, p);
        t += 10;
        for (int p = 0; p < 4; p++)
            length += (size_t)snprintf(
                ring + length, sizeof(ring) - length,
                "{\"t\":%d,\"process\":%d,\"op\":\"open\",\"path\":\"/%d/f\",\"fd\":%d,\"flags\":\"r\"}\n"
                "{\"t\":%d,\"process\":%d,\"op\":\"read\",\"fd\":%d,\"offset\":0,\"length\":10000}\n"
                "{\"t\":%d,\"process\":%d,\"op\":\"close\",\"fd\":%d}\n"
                "{\"t\":%d,\"process\":%d,\"op\":\"unlink\",\"path\":\"/%d/f\"}\n"
                "{\"t\":%d,\"process\":%d,\"op\":\"rmdir\",\"path\":\"/%d\"}\n",
                t, (p + 1) % 4, p, p + 10, t + 1, (p + 1) % 4, p + 10, t + 2, (p + 1) % 4, p + 10, t + 3,
                (p + 1) % 4, p, t + 4, (p + 1) % 4, p);
        t += 10;
    }
}

static int mkdir_slowly(struct target *target, const char *path, mode_t mode)
{
    usleep(3000);
    return target_posix.mkdir(target, path, mode);
}

static ssize_t write_slowly(struct target *target, int fd, const void *data, size_t length, off_t offset)
{
    usleep(3000);
    return target_posix.write(target, fd, data, length, offset);
}

static void processes_wait_for_each_other(void **state)
{
    (void)state;
    make_ring();
    make_plan(ring, NULL);
    assert_int_equal(plan.left_out, 0);
    session_calls.mkdir = mkdir_slowly;
    session_calls.write = write_slowly;
    for (uint32_t processes = 1; processes <= 4; processes++) {
        assert_int_equal(replay(processes), 0);
        assert_int_equal(session_totals[REPLAY_ALL].operations, 3 * 4 * 9);
        assert_int_equal(atomic_load(&outcome->less), 0);
    }
}

/* A child reads through an fd that its parent opened; another one is gone when it is used. */
static void inherited_files_are_opened_again(void **state)
{
    (void)state;
    make_plan(HEAD "{\"t\":0,\"process\":1,\"op\":\"open\",\"path\":\"/a\",\"fd\":1,\"flags\":\"r\"}\n"
                   "{\"t\":1,\"process\":1,\"op\":\"open\",\"path\":\"/b\",\"fd\":2,\"flags\":\"r\"}\n"
                   "{\"t\":2,\"process\":1,\"op\":\"unlink\",\"path\":\"/b\"}\n"
                   "{\"t\":3,\"process\":2,\"op\":\"stat\",\"path\":\"/b\",\"error\":\"ENOENT\"}\n"
                   "{\"t\":4,\"process\":2,\"op\":\"read\",\"fd\":1,\"offset\":10,\"length\":100}\n"
                   "{\"t\":5,\"process\":2,\"op\":\"read\",\"fd\":2,\"offset\":10,\"length\":100}\n"
                   "{\"t\":6,\"process\":2,\"op\":\"close\",\"fd\":1}\n",
              NULL);
    assert_int_equal(replay(2), 0);
    assert_int_equal(session_totals[TRACE_READ].operations, 1);
    assert_int_equal(session_totals[TRACE_READ].errors, 1);
    assert_int_equal(atomic_load(&outcome->lost), 1);
}

static void it_takes_its_time(void **state)
{
    (void)state;
    make_plan(HEAD "{\"t\":0,\"process\":1,\"op\":\"stat\",\"path\":\"/a\"}\n"
                   "{\"t\":100000000,\"process\":1,\"op\":\"stat\",\"path\":\"/a\"}\n",
              NULL);
    speed = 2.0;
    assert_int_equal(replay(1), 0);
    assert_true(session_totals[REPLAY_ALL].seconds >= 0.05);
    speed = 0.0;
    assert_int_equal(replay(1), 0);
    assert_true(session_totals[REPLAY_ALL].seconds < 0.05);
}

/* ---- what goes wrong ---- */

static ssize_t read_other(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    return target_posix.read(target, fd, data, length, offset > 0 ? offset - 1 : 0);
}

static ssize_t read_nothing(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    (void)target, (void)fd, (void)data, (void)offset;
    return (ssize_t)length;
}

static ssize_t read_less(struct target *target, int fd, void *data, size_t length, off_t offset)
{
    return target_posix.read(target, fd, data, length - 1, offset);
}

static int unlink_not(struct target *target, const char *path)
{
    (void)target, (void)path;
    return -EPERM;
}

static int stat_always(struct target *target, const char *path, struct stat *status)
{
    (void)target, (void)path;
    memset(status, 0, sizeof(*status));
    return 0;
}

static void what_goes_wrong_is_found(void **state)
{
    (void)state;
    make_plan(mixed_bag, NULL);
#define SPOILED(call, wrong)                                                                                 \
    do {                                                                                                     \
        session_calls = target_posix;                                                                        \
        session_calls.call = wrong;                                                                          \
        assert_int_equal(replay(1), -EIO);                                                                   \
    } while (0)
    SPOILED(read, read_other);
    SPOILED(read, read_nothing);
    SPOILED(unlink, unlink_not);
#undef SPOILED
    session_calls = target_posix;
    session_calls.read = read_less;
    assert_int_equal(replay(1), 0);
    assert_int_equal(atomic_load(&outcome->less), 2);
    assert_int_equal(session_totals[TRACE_READ].errors, 2);
    session_calls = target_posix;
    session_calls.stat = stat_always;
    assert_int_equal(replay(1), 0);
    assert_int_equal(atomic_load(&outcome->differed), 1);
    assert_int_equal(session_totals[TRACE_STAT].errors, 1);
}

/* clang-format off */
static const char moving[] = HEAD
    "{\"t\":0,\"process\":1,\"op\":\"mkdir\",\"path\":\"/a\"}\n"
    "{\"t\":1,\"process\":1,\"op\":\"open\",\"path\":\"/a/f\",\"fd\":3,\"flags\":\"wc\"}\n"
    "{\"t\":2,\"process\":1,\"op\":\"write\",\"fd\":3,\"offset\":0,\"length\":100}\n"
    "{\"t\":3,\"process\":2,\"op\":\"rename\",\"path\":\"/a\",\"new_path\":\"/b\"}\n"
    "{\"t\":4,\"process\":1,\"op\":\"write\",\"fd\":3,\"offset\":100,\"length\":100}\n"
    "{\"t\":5,\"process\":1,\"op\":\"close\",\"fd\":3}\n"
    "{\"t\":6,\"process\":1,\"op\":\"open\",\"path\":\"/b/f\",\"fd\":4,\"flags\":\"r\"}\n"
    "{\"t\":7,\"process\":1,\"op\":\"read\",\"fd\":4,\"offset\":0,\"length\":200,\"moved\":200}\n"
    "{\"t\":8,\"process\":1,\"op\":\"close\",\"fd\":4}\n"
    "{\"t\":9,\"process\":2,\"op\":\"rename\",\"path\":\"/b\",\"new_path\":\"/old/c\"}\n"
    "{\"t\":10,\"process\":1,\"op\":\"rename\",\"path\":\"/old\",\"new_path\":\"/new\"}\n"
    "{\"t\":11,\"process\":2,\"op\":\"open\",\"path\":\"/new/x/y\",\"fd\":5,\"flags\":\"r\"}\n"
    "{\"t\":12,\"process\":2,\"op\":\"read\",\"fd\":5,\"offset\":0,\"length\":900,\"moved\":300}\n"
    "{\"t\":13,\"process\":2,\"op\":\"close\",\"fd\":5}\n"
    "{\"t\":14,\"process\":1,\"op\":\"stat\",\"path\":\"/old/x/y\",\"error\":\"ENOENT\"}\n"
    "{\"t\":15,\"process\":1,\"op\":\"unlink\",\"path\":\"/new/c/f\"}\n"
    "{\"t\":16,\"process\":1,\"op\":\"rmdir\",\"path\":\"/new/c\"}\n"
    "{\"t\":17,\"process\":2,\"op\":\"mkdir\",\"path\":\"/a\"}\n"
    "{\"t\":18,\"process\":2,\"op\":\"rename\",\"path\":\"/new\",\"new_path\":\"/new/below\"}\n";
/* clang-format on */

static void directories_take_along_what_is_below(void **state)
{
    (void)state;
    make_plan(moving, NULL);
    assert_int_equal(prepared("/old")->kind, REPLAY_DIRECTORY);
    assert_int_equal(prepared("/old/x")->kind, REPLAY_DIRECTORY);
    assert_int_equal(prepared("/old/x/y")->kind, REPLAY_FILE);
    assert_int_equal(prepared("/old/x/y")->size, 300);
    assert_int_equal(prepared("/new")->kind, REPLAY_UNKNOWN);
    assert_int_equal(prepared("/new/x/y")->kind, REPLAY_UNKNOWN);
    assert_int_equal(prepared("/a")->kind, REPLAY_UNKNOWN);
    assert_int_equal(plan.left_out, 1); /* a directory cannot be moved below itself */
    assert_int_equal(plan.step_count, 18);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(replay(2), 0);
        assert_int_equal(session_totals[REPLAY_ALL].operations, 18);
        assert_int_equal(session_totals[REPLAY_ALL].errors, 0);
        assert_int_equal(atomic_load(&outcome->differed), 0);
    }
}

/* clang-format off */
static const char linking[] = HEAD
    "{\"t\":0,\"process\":1,\"op\":\"link\",\"path\":\"/in/a\",\"new_path\":\"/in/b\"}\n"
    "{\"t\":1,\"process\":2,\"op\":\"open\",\"path\":\"/in/b\",\"fd\":3,\"flags\":\"rw\"}\n"
    "{\"t\":2,\"process\":2,\"op\":\"read\",\"fd\":3,\"offset\":0,\"length\":500,\"moved\":500}\n"
    "{\"t\":3,\"process\":2,\"op\":\"write\",\"fd\":3,\"offset\":500,\"length\":100}\n"
    "{\"t\":4,\"process\":2,\"op\":\"close\",\"fd\":3}\n"
    "{\"t\":5,\"process\":2,\"op\":\"unlink\",\"path\":\"/in/b\"}\n"
    "{\"t\":6,\"process\":1,\"op\":\"open\",\"path\":\"/in/a\",\"fd\":4,\"flags\":\"r\"}\n"
    "{\"t\":7,\"process\":1,\"op\":\"read\",\"fd\":4,\"offset\":0,\"length\":600,\"moved\":600}\n"
    "{\"t\":8,\"process\":1,\"op\":\"close\",\"fd\":4}\n"
    "{\"t\":9,\"process\":1,\"op\":\"link\",\"path\":\"/in/b\",\"new_path\":\"/in/c\"}\n"; /* it is gone */
static const char replacing[] = HEAD
    "{\"t\":0,\"process\":1,\"op\":\"mkdir\",\"path\":\"/full\"}\n"
    "{\"t\":1,\"process\":1,\"op\":\"mkdir\",\"path\":\"/full/x\"}\n"
    "{\"t\":2,\"process\":1,\"op\":\"mkdir\",\"path\":\"/empty\"}\n"
    "{\"t\":3,\"process\":1,\"op\":\"mkdir\",\"path\":\"/empty/y\"}\n"
    "{\"t\":4,\"process\":1,\"op\":\"rmdir\",\"path\":\"/empty/y\"}\n"
    "{\"t\":5,\"process\":2,\"op\":\"rename\",\"path\":\"/full\",\"new_path\":\"/empty\"}\n"
    "{\"t\":6,\"process\":2,\"op\":\"stat\",\"path\":\"/empty/x\"}\n"
    "{\"t\":7,\"process\":1,\"op\":\"mkdir\",\"path\":\"/other\"}\n"
    "{\"t\":8,\"process\":2,\"op\":\"rename\",\"path\":\"/other\",\"new_path\":\"/empty\"}\n"; /* not empty */
/* clang-format on */

static void names_of_one_file_have_its_contents(void **state)
{
    (void)state;
    make_plan(linking, NULL);
    assert_int_equal(prepared("/in/a")->kind, REPLAY_FILE);
    assert_int_equal(prepared("/in/a")->size, 600);
    assert_int_equal(prepared("/in/b")->kind, REPLAY_UNKNOWN);
    assert_int_equal(plan.left_out, 1);
    assert_int_equal(plan.step_count, 9);
    assert_int_equal(replay(2), 0);
    assert_int_equal(session_totals[REPLAY_ALL].operations, 9);
    assert_int_equal(session_totals[TRACE_LINK].operations, 1);
    assert_int_equal(session_totals[REPLAY_ALL].errors, 0);
}

static void directories_replace_empty_ones(void **state)
{
    (void)state;
    make_plan(replacing, NULL);
    assert_int_equal(plan.left_out, 1);
    assert_int_equal(plan.step_count, 8);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(replay(2), 0);
        assert_int_equal(session_totals[REPLAY_ALL].operations, 8);
        assert_int_equal(session_totals[REPLAY_ALL].errors, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(links_are_planned_by_what_they_lead_to, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_replayed, setup, teardown),
        cmocka_unit_test_setup_teardown(links_have_several_names, setup, teardown),
        cmocka_unit_test_setup_teardown(what_leads_through_a_link_waits_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(links_may_lead_round_in_circles, setup, teardown),
        cmocka_unit_test_setup_teardown(directories_take_along_what_is_below, setup, teardown),
        cmocka_unit_test_setup_teardown(names_of_one_file_have_its_contents, setup, teardown),
        cmocka_unit_test_setup_teardown(directories_replace_empty_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(a_plan_prepares_what_must_be_there, setup, teardown),
        cmocka_unit_test_setup_teardown(every_operation_is_replayed, setup, teardown),
        cmocka_unit_test_setup_teardown(processes_wait_for_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(inherited_files_are_opened_again, setup, teardown),
        cmocka_unit_test_setup_teardown(it_takes_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(what_goes_wrong_is_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
