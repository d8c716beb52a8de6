/* Memory that one process shows to others: found by who is told, read but not written, and without an owner
 * as soon as that has ended. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/shown.h"

#define LENGTH 10000u

/* What the transports between processes have behind net_show and net_view. */
static const struct net_operations operations = {
    .show = shown_create, .hide = shown_destroy, .view = shown_view, .view_end = shown_view_end};
static struct net net = {.operations = &operations};

/* A child that shows memory and waits until `end` is closed. */
struct child {
    pid_t pid;
    int end;
    struct net_place place;
};

static void child_run(int tell, int end, bool hides)
{
    struct net_shown *shown;
    char byte;
    if (net_show(&net, LENGTH, NET_SHOWN_BY_THREAD, &shown) != 0)
        _exit(1);
    memset(shown->memory, 'x', LENGTH);
    if (write(tell, &shown->place, sizeof(shown->place)) != sizeof(shown->place))
        _exit(2);
    if (hides && read(end, &byte, 1) == 1) {
        net_hide(shown);
        if (write(tell, "h", 1) != 1)
            _exit(3);
    }
    while (read(end, &byte, 1) > 0)
        continue;
    _exit(0);
}

static int child_start(struct child *child, bool hides)
{
    int tell[2], end[2];
    assert_int_equal(pipe(tell) | pipe(end), 0);
    child->pid = fork();
    if (child->pid == 0) {
        close(end[1]);
        close(tell[0]);
        child_run(tell[1], end[0], hides);
    }
    close(tell[1]);
    close(end[0]);
    child->end = end[1];
    assert_int_equal(read(tell[0], &child->place, sizeof(child->place)), sizeof(child->place));
    return tell[0];
}

static void child_wait(struct child *child, int expected)
{
    int status;
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_int_equal(status, expected);
    close(child->end);
}

static void seen(void **state)
{
    (void)state;
    struct child child;
    struct net_view *view;
    close(child_start(&child, false));
    assert_int_equal(net_view(&net, &child.place, &view), 0);
    assert_true(net_view_alive(view));
    const char *bytes = view->memory;
    assert_int_equal(view->length, LENGTH);
    assert_int_equal(bytes[0], 'x');
    assert_int_equal(bytes[LENGTH - 1], 'x');
    kill(child.pid, SIGSTOP); /* one that is stopped owns it still */
    assert_true(net_view_alive(view));
    kill(child.pid, SIGKILL);
    child_wait(&child, SIGKILL);
    assert_false(net_view_alive(view));
    assert_int_equal(bytes[LENGTH - 1], 'x'); /* the memory stays */
    net_view_end(view);
    assert_int_equal(net_view(&net, &child.place, &view), -ENOENT);
}

/* Who has seen an end of the process finds no owner: the kernel takes it before it closes descriptors. */
static void killed(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct child child;
        struct net_view *view;
        char byte;
        int from = child_start(&child, false);
        assert_int_equal(net_view(&net, &child.place, &view), 0);
        assert_true(net_view_alive(view));
        kill(child.pid, SIGKILL);
        assert_int_equal(read(from, &byte, 1), 0);
        assert_false(net_view_alive(view));
        child_wait(&child, SIGKILL);
        net_view_end(view);
        close(from);
    }
}

static void hidden(void **state)
{
    (void)state;
    struct child child;
    struct net_view *view;
    char byte;
    int from = child_start(&child, true);
    assert_int_equal(net_view(&net, &child.place, &view), 0);
    assert_true(net_view_alive(view));
    assert_int_equal(write(child.end, "h", 1), 1);
    assert_int_equal(read(from, &byte, 1), 1);
    assert_false(net_view_alive(view));
    net_view_end(view);
    assert_int_equal(net_view(&net, &child.place, &view), -ENOENT);
    close(from);
    close(child.end);
    child.end = -1;
    child_wait(&child, 0);
}

static void misled(void **state)
{
    (void)state;
    struct net_shown *shown;
    struct net_view *view;
    int ends[2];
    assert_int_equal(net_show(&net, LENGTH, NET_SHOWN_BY_THREAD, &shown), 0);
    struct net_place place = shown->place;
    assert_int_equal(net_view(&net, &place, &view), 0); /* one's own, too */
    net_view_end(view);
    place.id[3] ^= 1;
    assert_int_equal(net_view(&net, &place, &view), -ENOENT);
    place = shown->place;
    place.length++;
    assert_int_equal(net_view(&net, &place, &view), -ENOENT);
    place.length = UINT64_MAX - 100;
    assert_int_equal(net_view(&net, &place, &view), -ENOENT);
    place = shown->place;
    place.process = 0x7fffffff;
    assert_int_equal(net_view(&net, &place, &view), -ENOENT);

    /* Other things under that number are not even opened. */
    assert_int_equal(pipe(ends), 0);
    int other = memfd_create("another", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(other, 4096 + LENGTH), 0);
    const int wrong[] = {ends[0], other, 1000};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        place = shown->place;
        place.descriptor = (uint32_t)wrong[i];
        assert_int_equal(net_view(&net, &place, &view), -ENOENT);
    }
    close(other);
    close(ends[0]);
    close(ends[1]);
    net_hide(shown);
}

/* Nobody but the owner writes. */
static void sealed(void **state)
{
    (void)state;
    struct net_shown *shown;
    char path[64];
    assert_int_equal(net_show(&net, LENGTH, NET_SHOWN_BY_THREAD, &shown), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%u", shown->place.descriptor);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
        assert_int_equal(pwrite(fd, "y", 1, 0), -1);
        assert_int_equal(ftruncate(fd, 0), -1);
        close(fd);
    }
    net_hide(shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seen),   cmocka_unit_test(killed), cmocka_unit_test(hidden),
        cmocka_unit_test(misled), cmocka_unit_test(sealed),
    };
    return cmocka_run_group_tests_name("net/shown", tests, NULL, NULL);
}
