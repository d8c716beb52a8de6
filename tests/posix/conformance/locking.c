/* Locks between processes: flock, record locks of fcntl, locks of open file descriptions. Each conflict is
 * asked for in a child, which is another owner. */
#include "conformance.h"

enum way { FLOCK, RECORD, DESCRIPTION, WAYS };
static const char *const way_names[WAYS] = {"flock", "record lock", "description lock"};

static int lock_range(enum way way, int fd, int type, off_t from, off_t length, bool waits)
{
    if (way == FLOCK)
        return flock(fd, (type == F_RDLCK   ? LOCK_SH
                          : type == F_WRLCK ? LOCK_EX
                                            : LOCK_UN) |
                             (waits ? 0 : LOCK_NB));
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = from, .l_len = length};
    int command = way == RECORD ? (waits ? F_SETLKW : F_SETLK) : (waits ? F_OFD_SETLKW : F_OFD_SETLK);
    return fcntl(fd, command, &lock);
}

static int lock_all(enum way way, int fd, int type)
{
    return lock_range(way, fd, type, 0, 0, false);
}

/* What another process can get: it tries in its turn, and gives back. */
struct question {
    struct turn asked, answered;
    enum way way;
    int type;
    off_t from, length;
    int error; /* the answer: 0 or errno */
};
static struct question *question;

static int refusal(enum way way)
{
    return way == FLOCK ? EWOULDBLOCK : EAGAIN;
}

/* Answers questions until one has type -1. */
static void answer(void *argument)
{
    (void)argument;
    int fd = (int)OK(open("f", O_RDWR));
    for (int turn = 1; turn_wait(&question->asked, turn); turn++) {
        if (question->type == -1)
            break;
        int result = lock_range(question->way, fd, question->type, question->from, question->length, false);
        int error = errno;
        if (result == 0)
            lock_range(question->way, fd, F_UNLCK, question->from, question->length, false);
        question->error = result < 0 ? (error == EACCES ? EAGAIN : error) : 0;
        turn_set(&question->answered, turn);
    }
    OK(close(fd));
}

static pid_t other;
static int turns;

static void other_starts(void)
{
    turns = 0;
    question = shared_allocate(sizeof *question);
    other = child_start(answer, NULL);
}
static int other_gets(enum way way, int type, off_t from, off_t length)
{
    question->way = way;
    question->type = type;
    question->from = from;
    question->length = length;
    turn_set(&question->asked, ++turns);
    return turn_wait(&question->answered, turns) ? question->error : ETIMEDOUT;
}
static void other_ends(void)
{
    question->type = -1;
    turn_set(&question->asked, ++turns);
    child_end(other);
}

/* Shared and exclusive, in each way. */
static void conflicts(enum way way)
{
    static const int types[] = {F_UNLCK, F_RDLCK, F_WRLCK};
    make_file("f", "content");
    other_starts();
    int fd = (int)OK(open("f", O_RDWR));
    for (unsigned held = 0; held < 3; held++)
        for (unsigned before = 0; before < 3; before++)
            for (unsigned wanted = 1; wanted < 3; wanted++) {
                bool conflict =
                    types[held] == F_WRLCK || (types[held] == F_RDLCK && types[wanted] == F_WRLCK);
                EXPECT_ERROR(0, lock_all(way, fd, types[before]), "%s %u before", way_names[way], before);
                EXPECT_ERROR(0, lock_all(way, fd, types[held]), "%s %u", way_names[way], held);
                EXPECT_VALUE(conflict ? refusal(way) : 0, other_gets(way, types[wanted], 0, 0),
                             "%s %u while %u (was %u) is held", way_names[way], wanted, held, before);
            }
    EXPECT_ERROR(0, lock_all(way, fd, F_WRLCK), "lock");
    EXPECT_VALUE(refusal(way), other_gets(way, F_WRLCK, 0, 0), "held");
    OK(close(fd)); /* gives it back */
    EXPECT_VALUE(0, other_gets(way, F_WRLCK, 0, 0), "after close");
    other_ends();
}
static void flock_conflicts(void)
{
    conflicts(FLOCK);
}
static void record_conflicts(void)
{
    conflicts(RECORD);
}
static void description_conflicts(void)
{
    conflicts(DESCRIPTION);
}

/* Ranges: parts of the file, one byte, to the end for ever, by SEEK_CUR and SEEK_END. */
static void ranges(enum way way)
{
    static const struct {
        off_t from, length, try_from, try_length;
        bool conflict;
    } rows[] = {
        {0, 10, 0, 10, true},
        {0, 10, 10, 10, false},
        {10, 10, 0, 10, false},
        {0, 10, 9, 1, true},
        {5, 1, 5, 1, true},
        {5, 1, 4, 1, false},
        {5, 1, 6, 1, false},
        {5, 1, 0, 0, true},
        {100, 0, 0, 100, false},
        {100, 0, 99, 2, true},
        {100, 0, 1 << 30, 1, true},
        {0, 0, 0, 0, true},
        {10, -5, 4, 1, false},
        {10, -5, 5, 1, true},
        {10, -5, 9, 1, true},
        {10, -5, 10, 1, false},
        {INT64_MAX, 1, INT64_MAX, 1, true},
        {INT64_MAX - 1, 1, INT64_MAX, 0, false},
    };
    make_file("f", "content");
    other_starts();
    int fd = (int)OK(open("f", O_RDWR));
    for (unsigned i = 0; i < COUNT(rows); i++) {
        EXPECT_ERROR(0, lock_range(way, fd, F_WRLCK, rows[i].from, rows[i].length, false), "%s %u",
                     way_names[way], i);
        EXPECT_VALUE(rows[i].conflict ? EAGAIN : 0,
                     other_gets(way, F_RDLCK, rows[i].try_from, rows[i].try_length), "%s %u", way_names[way],
                     i);
        EXPECT_ERROR(0, lock_range(way, fd, F_UNLCK, rows[i].from, rows[i].length, false), "%s %u back",
                     way_names[way], i);
        EXPECT_VALUE(0, other_gets(way, F_WRLCK, 0, 0), "%s %u: all is free", way_names[way], i);
    }
    /* Giving back the middle leaves both ends; changing the middle's kind splits in three. */
    OK(lock_range(way, fd, F_WRLCK, 0, 100, false));
    OK(lock_range(way, fd, F_UNLCK, 40, 20, false));
    IS(EAGAIN, other_gets(way, F_WRLCK, 0, 40));
    IS(EAGAIN, other_gets(way, F_WRLCK, 39, 1));
    IS(0, other_gets(way, F_WRLCK, 40, 20));
    IS(EAGAIN, other_gets(way, F_WRLCK, 60, 1));
    IS(EAGAIN, other_gets(way, F_WRLCK, 99, 1));
    OK(lock_range(way, fd, F_WRLCK, 30, 40, false));
    IS(EAGAIN, other_gets(way, F_WRLCK, 50, 1));
    OK(lock_range(way, fd, F_RDLCK, 45, 10, false));
    IS(0, other_gets(way, F_RDLCK, 45, 10));
    IS(EAGAIN, other_gets(way, F_WRLCK, 45, 10));
    IS(EAGAIN, other_gets(way, F_RDLCK, 44, 1));
    IS(EAGAIN, other_gets(way, F_RDLCK, 55, 1));
    OK(lock_range(way, fd, F_UNLCK, 0, 0, false));
    IS(0, other_gets(way, F_WRLCK, 0, 0));
    /* From the offset, and from the end. */
    IS(3, lseek(fd, 3, SEEK_SET));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 1, .l_len = 2};
    OK(fcntl(fd, way == RECORD ? F_SETLK : F_OFD_SETLK, &lock));
    IS(0, other_gets(way, F_WRLCK, 3, 1));
    IS(EAGAIN, other_gets(way, F_WRLCK, 4, 1));
    IS(EAGAIN, other_gets(way, F_WRLCK, 5, 1));
    IS(0, other_gets(way, F_WRLCK, 6, 1));
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -1, .l_len = 1};
    OK(fcntl(fd, way == RECORD ? F_SETLK : F_OFD_SETLK, &lock));
    IS(EAGAIN, other_gets(way, F_WRLCK, 6, 1));
    IS(0, other_gets(way, F_WRLCK, 7, 1));
    OK(close(fd));
    other_ends();
}
static void record_ranges(void)
{
    ranges(RECORD);
}
static void description_ranges(void)
{
    ranges(DESCRIPTION);
}

/* F_GETLK tells who is in the way. */
static void hold_a_range(void *argument)
{
    struct turn *turn = argument;
    int fd = (int)OK(open("f", O_RDWR));
    OK(lock_range(RECORD, fd, F_WRLCK, 10, 20, false));
    OK(lock_range(RECORD, fd, F_RDLCK, 50, 0, false));
    turn_set(turn, 1);
    turn_wait(turn, 2);
    OK(close(fd));
}

static void who_is_in_the_way(void)
{
    struct turn *turn = shared_allocate(sizeof *turn);
    make_file("f", "content");
    pid_t holder = child_start(hold_a_range, turn);
    turn_wait(turn, 1);
    int fd = (int)OK(open("f", O_RDWR));
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 15};
    OK(fcntl(fd, F_GETLK, &lock));
    IS(F_WRLCK, lock.l_type);
    IS(10, lock.l_start);
    IS(20, lock.l_len);
    IS(SEEK_SET, lock.l_whence);
    IS(holder, lock.l_pid);
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
    OK(fcntl(fd, F_GETLK, &lock));
    IS(F_RDLCK, lock.l_type);
    IS(50, lock.l_start);
    IS(0, lock.l_len);
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
    OK(fcntl(fd, F_GETLK, &lock));
    IS(F_UNLCK, lock.l_type);
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    OK(fcntl(fd, F_OFD_GETLK, &lock));
    IS(F_UNLCK, lock.l_type);
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 11};
    OK(fcntl(fd, F_OFD_GETLK, &lock));
    IS(F_WRLCK, lock.l_type);
    turn_set(turn, 2);
    child_end(holder);
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    OK(fcntl(fd, F_GETLK, &lock));
    IS(F_UNLCK, lock.l_type);
    OK(close(fd));
}

/* Whom a lock belongs to: record locks to the process, and any close gives them back; the others to what was
 * opened. */
static void owners(void)
{
    make_file("f", "content");
    other_starts();
    int one = (int)OK(open("f", O_RDWR)), two = (int)OK(open("f", O_RDWR));
    OK(lock_all(RECORD, one, F_WRLCK));
    OK(lock_all(RECORD, two, F_WRLCK)); /* the same owner */
    OK(close(two));
    IS(0, other_gets(RECORD, F_WRLCK, 0, 0));
    two = (int)OK(open("f", O_RDWR));
    OK(lock_all(FLOCK, one, F_WRLCK));
    FAILS(EWOULDBLOCK, lock_all(FLOCK, two, F_WRLCK));
    FAILS(EWOULDBLOCK, lock_all(FLOCK, two, F_RDLCK));
    OK(close(two));
    IS(EWOULDBLOCK, other_gets(FLOCK, F_WRLCK, 0, 0));
    OK(lock_all(FLOCK, one, F_UNLCK));
    two = (int)OK(open("f", O_RDWR));
    OK(lock_all(DESCRIPTION, one, F_WRLCK));
    FAILS(EAGAIN, lock_all(DESCRIPTION, two, F_RDLCK));
    OK(close(two));
    IS(EAGAIN, other_gets(DESCRIPTION, F_WRLCK, 0, 0));
    /* Description locks and record locks know each other; flock's do not. */
    IS(EAGAIN, other_gets(RECORD, F_WRLCK, 0, 0));
    IS(0, other_gets(FLOCK, F_WRLCK, 0, 0));
    OK(lock_all(DESCRIPTION, one, F_UNLCK));
    OK(lock_all(RECORD, one, F_RDLCK));
    IS(EAGAIN, other_gets(DESCRIPTION, F_WRLCK, 0, 0));
    IS(0, other_gets(DESCRIPTION, F_RDLCK, 0, 0));
    OK(close(one));
    other_ends();
}

/* A lock is of the file, whatever its name. */
static void files_not_names(void)
{
    make_file("f", "content");
    other_starts(); /* before anything is open here: a child shares what is */
    int fd = (int)OK(open("f", O_RDWR));
    IS(0, other_gets(FLOCK, F_WRLCK, 0, 0)); /* it has opened "f" by now */
    OK(rename("f", "g"));
    OK(lock_all(FLOCK, fd, F_WRLCK));
    OK(lock_all(RECORD, fd, F_WRLCK));
    make_file("f", "another");
    IS(EWOULDBLOCK, other_gets(FLOCK, F_WRLCK, 0, 0));
    IS(EAGAIN, other_gets(RECORD, F_WRLCK, 0, 0));
    int new = (int)OK(open("f", O_RDWR));
    OK(lock_all(FLOCK, new, F_WRLCK));
    OK(close(new));
    OK(close(fd));
    IS(0, other_gets(FLOCK, F_WRLCK, 0, 0));
    other_ends();
}

/* Somebody who waits gets it when the holder gives back, closes, or dies. */
struct waiting {
    struct turn turn;
    enum way way;
    _Atomic int got;
};

static void wait_for_lock(void *argument)
{
    struct waiting *waiting = argument;
    turn_wait(&waiting->turn, 1);
    int fd = (int)OK(open("f", O_RDWR));
    turn_set(&waiting->turn, 2);
    OK(lock_range(waiting->way, fd, F_WRLCK, 0, 0, true));
    waiting->got = 1;
    OK(close(fd));
}

static void hold_until_killed(void *argument)
{
    struct waiting *waiting = argument;
    int fd = (int)OK(open("f", O_RDWR));
    OK(lock_range(waiting->way, fd, F_WRLCK, 0, 0, true));
    turn_set(&waiting->turn, 1);
    turn_wait(&waiting->turn, 1000); /* until the end */
}

static void waiting_ones(void)
{
    struct waiting *waiting = shared_allocate(sizeof *waiting);
    make_file("f", "content");
    for (enum way way = FLOCK; way < WAYS; way++)
        for (int closes = 0; closes < 2; closes++) {
            waiting->way = way;
            waiting->got = 0;
            turn_set(&waiting->turn, 0);
            pid_t waiter = child_start(wait_for_lock, waiting);
            int fd = (int)OK(open("f", O_RDWR));
            EXPECT_ERROR(0, lock_all(way, fd, F_WRLCK), "%s", way_names[way]);
            turn_set(&waiting->turn, 1);
            turn_wait(&waiting->turn, 2);
            tick(); /* long enough for it to wait, most times */
            EXPECT_VALUE(0, waiting->got, "%s: got it while it is held", way_names[way]);
            EXPECT_ERROR(0, closes ? close(fd) : lock_all(way, fd, F_UNLCK), "%s: give back", way_names[way]);
            child_end(waiter);
            EXPECT_VALUE(1, waiting->got, "%s: got it in the end", way_names[way]);
            if (!closes)
                OK(close(fd));
        }
}

static void the_dead_hold_nothing(void)
{
    struct waiting *waiting = shared_allocate(sizeof *waiting);
    make_file("f", "content");
    for (enum way way = FLOCK; way < WAYS; way++) {
        waiting->way = way;
        turn_set(&waiting->turn, 0);
        pid_t holder = child_start(hold_until_killed, waiting);
        turn_wait(&waiting->turn, 1);
        int fd = (int)OK(open("f", O_RDWR));
        EXPECT_ERROR(refusal(way), lock_all(way, fd, F_WRLCK), "%s: held", way_names[way]);
        child_kill(holder);
        EXPECT_ERROR(0, lock_range(way, fd, F_WRLCK, 0, 0, true), "%s: after its death", way_names[way]);
        OK(close(fd));
    }
}

/* Locks exclude: two processes count to the same number. */
struct counting {
    enum way way;
};

static void count(void *argument)
{
    struct counting *counting = argument;
    int fd = (int)OK(open("f", O_RDWR));
    for (int i = 0; i < 100; i++) {
        char text[16] = "";
        EXPECT_ERROR(0, lock_range(counting->way, fd, F_WRLCK, 0, 0, true), "lock");
        EXPECT_VALUE(true, pread(fd, text, 15, 0) >= 0, "read");
        int length = snprintf(text, sizeof text, "%08d", atoi(text) + 1);
        EXPECT_VALUE(length, pwrite(fd, text, (size_t)length, 0), "write");
        EXPECT_ERROR(0, lock_all(counting->way, fd, F_UNLCK), "unlock");
    }
    OK(close(fd));
}

static void counting_together(void)
{
    struct counting *counting = shared_allocate(sizeof *counting);
    for (enum way way = FLOCK; way < WAYS; way++) {
        make_file("f", "");
        counting->way = way;
        pid_t children[3];
        for (unsigned i = 0; i < COUNT(children); i++)
            children[i] = child_start(count, counting);
        for (unsigned i = 0; i < COUNT(children); i++)
            child_end(children[i]);
        char text[16] = "";
        int fd = (int)OK(open("f", O_RDONLY));
        EXPECT_VALUE(8, read(fd, text, 15), "read");
        EXPECT_VALUE(300, atoi(text), "%s: counted", way_names[way]);
        OK(close(fd));
        OK(unlink("f"));
    }
}

/* Two that wait for each other: one is told. */
struct crossing {
    struct turn turn;
    _Atomic int deadlocks;
};

static void cross(void *argument)
{
    struct crossing *crossing = argument;
    int fd = (int)OK(open("f", O_RDWR));
    OK(lock_range(RECORD, fd, F_WRLCK, 1, 1, false));
    turn_advance(&crossing->turn);
    turn_wait(&crossing->turn, 2);
    if (lock_range(RECORD, fd, F_WRLCK, 0, 1, true) < 0 && errno == EDEADLK)
        crossing->deadlocks++;
    OK(close(fd));
}

static void deadlocks(void)
{
    struct crossing *crossing = shared_allocate(sizeof *crossing);
    make_file("f", "content");
    NEED("deadlock");
    int fd = (int)OK(open("f", O_RDWR));
    OK(lock_range(RECORD, fd, F_WRLCK, 0, 1, false));
    pid_t child = child_start(cross, crossing);
    turn_wait(&crossing->turn, 1);
    turn_advance(&crossing->turn);
    if (lock_range(RECORD, fd, F_WRLCK, 1, 1, true) < 0 && errno == EDEADLK)
        crossing->deadlocks++;
    OK(close(fd));
    child_end(child);
    IS(1, crossing->deadlocks);
}

static void bad_arguments(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    make_file("f", "content");
    int reader = (int)OK(open("f", O_RDONLY)), writer = (int)OK(open("f", O_WRONLY));
    FAILS(EBADF, flock(999, LOCK_EX));
    FAILS(EINVAL, flock(reader, 77));
    FAILS(EBADF, fcntl(999, F_SETLK, &lock));
    FAILS(EBADF, fcntl(reader, F_SETLK, &lock)); /* an exclusive lock needs writing */
    FAILS(EBADF, fcntl(reader, F_OFD_SETLK, &lock));
    lock.l_type = F_RDLCK;
    FAILS(EBADF, fcntl(writer, F_SETLK, &lock));
    OK(fcntl(reader, F_SETLK, &lock));
    lock.l_type = 77;
    FAILS(EINVAL, fcntl(reader, F_SETLK, &lock));
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = 77};
    FAILS(EINVAL, fcntl(reader, F_SETLK, &lock));
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = -1};
    FAILS(EINVAL, fcntl(reader, F_SETLK, &lock));
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = -6};
    FAILS(EINVAL, fcntl(reader, F_SETLK, &lock));
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_pid = 5};
    FAILS(EINVAL, fcntl(reader, F_OFD_SETLK, &lock));
    OK(flock(reader, LOCK_EX)); /* flock needs no rights */
    OK(flock(reader, LOCK_UN));
    OK(flock(reader, LOCK_UN));
    OK(close(reader));
    OK(close(writer));
}

/* F_GETFL and F_SETFL. */
static void status_flags(void)
{
    make_file("f", "content");
    static const int accesses[] = {O_RDONLY, O_WRONLY, O_RDWR};
    for (unsigned i = 0; i < 3; i++) {
        int fd = (int)OK(open("f", accesses[i]));
        EXPECT_VALUE(accesses[i], fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), "flags");
        EXPECT_ERROR(0, fcntl(fd, F_SETFL, O_APPEND), "set");
        EXPECT_VALUE(accesses[i] | O_APPEND, fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), "flags");
        EXPECT_ERROR(0, fcntl(fd, F_SETFL, O_RDWR | O_TRUNC), "set"); /* neither can be set */
        EXPECT_VALUE(accesses[i], fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), "flags");
        OK(close(fd));
    }
    int fd = (int)OK(open("f", O_RDWR));
    IS(1, write(fd, "C", 1));
    OK(fcntl(fd, F_SETFL, O_APPEND));
    IS(1, write(fd, "!", 1));
    OK(fcntl(fd, F_SETFL, 0));
    IS(1, write(fd, "?", 1));
    IS(0, lseek(fd, 0, SEEK_SET));
    IS(1, write(fd, "c", 1));
    EXPECT_TEXT("f", "content!?");
    FAILS(EBADF, fcntl(999, F_GETFL));
    OK(close(fd));
}

CASES(CASE(flock_conflicts), CASE(record_conflicts), CASE(description_conflicts), CASE(record_ranges),
      CASE(description_ranges), CASE(who_is_in_the_way), CASE(owners), CASE(files_not_names),
      CASE(waiting_ones), CASE(the_dead_hold_nothing), CASE(counting_together), CASE(deadlocks),
      CASE(bad_arguments), CASE(status_flags))
