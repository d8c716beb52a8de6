/* top: what the cluster does, once a second.
 *
 * The terminal is put back however the program ends: on a key, an error, a signal that ends it or one that
 * stops it. Signals come through a descriptor that is waited for together with the keys, so nothing happens
 * inside a handler. A frame is written in one piece, line after line over the old ones, so it does not
 * flicker. Who is not at a terminal gets frames one behind the other, and `--once` a single one. */
#include "base/descriptor.h"
#include "cli/top.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/quantity.h"
#include "base/signals.h"
#include "base/status.h"
#include "cli/cli.h"

#define INTERVAL_MIN (100 * NSEC_PER_MSEC)
#define INTERVAL_MAX (3600 * NSEC_PER_SEC)
#define COLUMNS_DEFAULT 80u
#define ROWS_DEFAULT 24u

struct top {
    struct observer observer;
    struct inode_names *names; /* NULL: numbers are shown */
    struct top_view view;
    struct top_text text;
    bool once;
    bool total;    /* once, everything since the servers started */
    bool terminal; /* standard output is one */
    bool keys;     /* standard input is one */
    int signals;
    struct termios before;
};

/* ---- the terminal ---- */

/* Nobody is there to be told when the terminal takes nothing. */
static void write_text(const char *text)
{
    (void)descriptor_write(STDOUT_FILENO, text, strlen(text));
}

static void terminal_enter(struct top *top)
{
    if (top->keys) {
        struct termios raw = top->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    /* The other screen, no cursor, no wrapping of long lines. */
    write_text("\033[?1049h\033[?25l\033[?7l\033[2J");
}

static void terminal_leave(struct top *top)
{
    if (top->keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
    write_text("\033[?7h\033[?25h\033[?1049l");
}

static void measure_terminal(struct top *top)
{
    struct winsize size;
    top->view.columns = COLUMNS_DEFAULT;
    top->view.rows = ROWS_DEFAULT;
    if (top->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 1) {
        top->view.columns = size.ws_col;
        top->view.rows = size.ws_row;
    }
}

/* Ctrl-Z: the shell must find its terminal as it was. */
static void suspend(struct top *top)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    terminal_leave(top);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(SIGTSTP); /* stops here until it is continued */
    sigprocmask(SIG_BLOCK, &set, NULL);
    terminal_enter(top);
}

/* ---- frames ---- */

static void find_names(struct top *top)
{
    const struct observer *observer = &top->observer;
    uint64_t inodes[2 * ROWS_DEFAULT], dentries = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < observer->hot_count && count < ROWS_DEFAULT; i++)
        inodes[count++] = observer->hot[i].inode;
    for (uint32_t i = 0; i < observer->slow_count && i < ROWS_DEFAULT; i++)
        if (observer->slow[i].entry.subject != 0)
            inodes[count++] = observer->slow[i].entry.subject;
    for (uint32_t i = 0; i < observer->sources.options.count; i++) {
        const struct watched *watched = watched_of(observer->sources.list[i]);
        if (watched != NULL && watched->fresh)
            dentries += watched->now.counters[METRIC_META_DENTRIES];
    }
    if (top->names != NULL && count > 0)
        inode_names_find(top->names, inodes, count, dentries);
}

static void draw(struct top *top)
{
    static const char help[] = "q quit  s sort  c clients  o operations only  p pause  + - interval";
    struct top_text *text = &top->text;
    measure_terminal(top);
    if (!top->terminal) {
        top->view.rows = top->once ? 1000 : ROWS_DEFAULT;
        top_frame(&top->observer, &top->view, top->names, text);
        (void)descriptor_write(STDOUT_FILENO, text->bytes, text->length);
        return;
    }
    top->view.colours = true;
    top->view.rows--; /* of help */
    top_frame(&top->observer, &top->view, top->names, text);
    write_text("\033[H");
    for (size_t at = 0; at < text->length;) {
        const char *end = memchr(text->bytes + at, '\n', text->length - at);
        size_t length = (size_t)(end - text->bytes) - at;
        write_text("\033[K"); /* at the end of a full line it would take the last column */
        (void)descriptor_write(STDOUT_FILENO, text->bytes + at, length);
        write_text("\n");
        at += length + 1;
    }
    write_text("\033[J");
    char place[32];
    snprintf(place, sizeof(place), "\033[%u;1H\033[K\033[2m", top->view.rows + 1);
    write_text(place);
    (void)descriptor_write(STDOUT_FILENO, help,
                           strlen(help) < top->view.columns ? strlen(help) : top->view.columns);
    write_text("\033[0m");
}

/* Returns false: to end. */
static bool take_key(struct top *top, char key)
{
    struct top_view *view = &top->view;
    switch (key) {
    case 'q':
    case 'Q':
    case '\003': /* Ctrl-C, should the terminal not make a signal of it */
        return false;
    case 's':
        view->order = (view->order + 1) % TOP_ORDERS;
        return true;
    case 'c':
        view->clients = !view->clients;
        return true;
    case 'o':
        view->stages = !view->stages;
        return true;
    case 'p':
    case ' ':
        view->paused = !view->paused;
        return true;
    case '+':
        view->interval = view->interval * 2 <= INTERVAL_MAX ? view->interval * 2 : INTERVAL_MAX;
        return true;
    case '-':
        view->interval = view->interval / 2 >= INTERVAL_MIN ? view->interval / 2 : INTERVAL_MIN;
        return true;
    default:
        return true;
    }
}

/* Waits until that time, taking keys and signals. Returns false: to end; *drawn: what is shown has changed.
 */
static bool wait_until(struct top *top, uint64_t until, bool *changed)
{
    uint64_t now = clock_now();
    int milliseconds = until > now ? (int)((until - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC) : 0;
    struct pollfd fds[] = {{.fd = top->signals, .events = POLLIN},
                           {.fd = top->keys ? STDIN_FILENO : -1, .events = POLLIN}};
    if (poll(fds, 2, milliseconds) <= 0)
        return true;
    struct signalfd_siginfo info;
    while (read(top->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTSTP && top->terminal)
            suspend(top);
        else if (info.ssi_signo != SIGWINCH)
            return false;
        *changed = true;
    }
    char keys[16];
    ssize_t count = (fds[1].revents & (POLLIN | POLLHUP)) != 0 ? read(STDIN_FILENO, keys, sizeof(keys)) : 0;
    if (count <= 0 && (fds[1].revents & POLLHUP) != 0)
        return false; /* the terminal has gone */
    for (ssize_t i = 0; i < count; i++) {
        if (!take_key(top, keys[i]))
            return false;
        *changed = true;
    }
    return true;
}

static int sample(struct top *top)
{
    int status = observer_sample(&top->observer);
    if (status == 0)
        find_names(top);
    return status;
}

/* Rates need two readings. */
static int watch_once(struct top *top)
{
    bool changed = false, go_on = !top->total;
    int status = top->total ? 0 : observer_sample(&top->observer);
    for (uint64_t until = clock_now() + top->view.interval; go_on && status == 0 && clock_now() < until;)
        go_on = wait_until(top, until, &changed);
    if (status == 0)
        status = sample(top);
    if (status == 0)
        draw(top);
    return status;
}

static int watch(struct top *top)
{
    bool go_on = true;
    int status = sample(top);
    if (top->terminal)
        terminal_enter(top);
    draw(top);
    for (uint64_t until = clock_now() + top->view.interval; go_on && status == 0;) {
        bool changed = false;
        uint64_t before = top->view.interval;
        go_on = wait_until(top, until, &changed);
        if (top->view.interval != before)
            until = until - before + top->view.interval;
        if (go_on && clock_now() >= until) {
            if (!top->view.paused)
                status = sample(top);
            changed = changed || !top->view.paused;
            until = clock_now() + top->view.interval;
        }
        if (go_on && changed && !top->text.failed)
            draw(top);
    }
    if (top->terminal)
        terminal_leave(top);
    return status;
}

/* ---- the verb ---- */

static int parse_interval(const char *text, uint64_t *interval)
{
    uint64_t value;
    if (quantity_parse_duration(text, &value) != 0 || value < INTERVAL_MIN || value > INTERVAL_MAX)
        return cli_usage("--interval \"%s\" is not a duration from 100ms to 1h", text);
    *interval = value;
    return CLI_OK;
}

static int run(struct top *top)
{
    if (observer_open(&top->observer) != 0)
        return CLI_FAILED;
    top->signals = signals_open((const int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, 0});
    int status = top->signals < 0 ? -errno : inode_names_create(&top->names);
    if (status == 0)
        status = top->once ? watch_once(top) : watch(top);
    if (status == 0 && top->text.failed)
        status = -ENOMEM;
    if (status != 0)
        cli_error("%s", status_text(status));
    inode_names_destroy(top->names);
    observer_close(&top->observer);
    free(top->text.bytes);
    if (top->signals >= 0)
        close(top->signals);
    return status == 0 ? CLI_OK : CLI_FAILED;
}

static int run_top(int argc, char **argv)
{
    static const struct option options[] = {{"once", no_argument, NULL, '1'},
                                            {"total", no_argument, NULL, 't'},
                                            {"clients", no_argument, NULL, 'c'},
                                            {"operations", no_argument, NULL, 'o'},
                                            {"interval", required_argument, NULL, 'i'},
                                            CLI_HELP,
                                            {0}};
    struct top *top = calloc(1, sizeof(*top));
    int result = CLI_OK;
    if (top == NULL)
        return CLI_FAILED;
    top->view.interval = NSEC_PER_SEC;
    top->terminal = isatty(STDOUT_FILENO) == 1;
    for (int option; result == CLI_OK && (option = cli_option(argc, argv, ":i:", options, &result)) != -1;) {
        top->total = top->total || option == 't';
        top->once = top->once || option == '1' || option == 't';
        top->view.clients = top->view.clients || option == 'c';
        top->view.stages = top->view.stages || option == 'o';
        if (option == 'i')
            result = parse_interval(optarg, &top->view.interval);
        if (option == '?') {
            free(top);
            return result;
        }
    }
    if (result == CLI_OK && optind < argc)
        result = cli_usage("unexpected argument \"%s\"", argv[optind]);
    if (top->once)
        top->terminal = false;
    top->keys = top->terminal && isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &top->before) == 0;
    if (result == CLI_OK)
        result = run(top);
    free(top);
    return result;
}

const struct verb verb_top = {
    .name = "top",
    .usage = "[--once | --total] [--interval DURATION] [--clients] [--operations]",
    .help = "Watch what the cluster does",
    .text = "      --once               one frame, over one interval, and no more\n"
            "      --total              one frame of all that happened since servers and clients started\n"
            "  -i, --interval DURATION  time between two frames (1s)\n"
            "      --clients            clients in place of servers: key c\n"
            "      --operations         more operations, nothing else: key o\n"
            "Keys: q quits, s sorts by number, requests, busy or bandwidth, p pauses, + and - change the\n"
            "interval. A server marked * is asked for its numbers; others are read from shared memory.\n",
    .run = run_top,
};
