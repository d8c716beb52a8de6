/* Open files over fork and exec.
 *
 * A child has its parent's descriptors, but on the servers only the parent's instance holds the files. At its
 * first call the child, an instance of its own by then, holds each of them on its parent's behalf (HOLD with
 * `from`); descriptors that it closes before cost nothing. Until then the parent must not let go of them:
 *
 * A page of memory that all processes of the family share has one entry per fork that handed on open files.
 * The entry is made before the fork, gets the child's process id from the child, and is cleared when the
 * child holds its files. A file that was open at a fork and is closed while that fork's child has neither
 * come so far nor ended is kept back: its close is told to the servers once the child has. Children that
 * execute another program stay in the page until they end, since they may take the descriptors over there
 * (file_take_over); a child that forks before its first call shares its entry's number with its own children,
 * who wait for the same files.
 *
 * What a process that has died held is freed at once, if the servers can tell. So before it forks with open
 * files, or executes another program, it says to their servers that somebody may come for them
 * (inherit_announce): then its holds last for the 30 s in which its sessions may be resumed.
 *
 * Next to the page is what the family knows of the locks of descriptions that were handed on
 * (shared_locks.h); under the preload library that is in memory which outlasts exec. posix_spawn is a fork of
 * which only the parent knows.
 *
 * What this leaves open: a child that made no call for 30 s after its parent has ended has lost files that
 * nobody else holds and that have no name; the page knows 255 children at a time, and a process keeps back at
 * most KEPT_MAX closes; locks that a child takes on a description outlast it for the first LOCKS_MAX
 * descriptions that a process and its descendants handed on. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "client/core.h"
#include "client/library.h"

#define MEMBERS 255
#define LOCKS_MAX 8192
#define KEPT_MAX 65536u
/* A fork that failed, or a child that died at once, leaves an entry without a process id. */
#define BIRTH_SECONDS 10
#define LOOK_AGAIN_NS 10000000

/* A child that was handed open files and does not hold them yet. */
struct member {
    _Atomic uint64_t number; /* of the fork; 0: free */
    _Atomic int32_t process; /* 0: not known yet */
    _Atomic uint32_t since;  /* seconds of the monotonic clock */
};

struct family {
    _Atomic uint64_t forks;
    _Atomic uint64_t locks_used;
    struct member members[MEMBERS];
    struct shared_locks locks[LOCKS_MAX];
};
static_assert(offsetof(struct family, locks) <= 4096, "one page that is looked through");

static struct family *family; /* made at the first fork with open files */
static struct member *mine;   /* this process's own entry, until it holds its files */
static struct member *unborn; /* between before and after a fork */
static pthread_mutex_t inherit_mutex = PTHREAD_MUTEX_INITIALIZER; /* one thread holds, the others wait */
static pthread_mutex_t kept_mutex = PTHREAD_MUTEX_INITIALIZER;    /* of every fs->kept */

static uint64_t monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- the family ---- */

static bool member_waits(struct member *member)
{
    uint64_t number = atomic_load(&member->number);
    if (number == 0)
        return false;
    int32_t process = atomic_load(&member->process);
    if (process != 0 ? kill(process, 0) == 0 || errno != ESRCH
                     : monotonic() / 1000000000 < atomic_load(&member->since) + (uint64_t)BIRTH_SECONDS)
        return true;
    atomic_compare_exchange_strong(&member->number, &number, 0);
    return false;
}

/* Whether a child of one of these forks still waits for its files. */
static bool children_wait(uint64_t first, uint64_t last)
{
    for (uint32_t i = 0; family != NULL && i < MEMBERS; i++) {
        uint64_t number = atomic_load_explicit(&family->members[i].number, memory_order_relaxed);
        if (number >= first && number <= last && number != 0 && member_waits(&family->members[i]))
            return true;
    }
    return false;
}

/* Enters the child to be. Returns the fork's number, 0 if the page is full. */
static uint64_t member_enter(void)
{
    if (family == NULL) {
        void *memory = mmap(NULL, sizeof *family, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return 0;
        family = memory;
    }
    uint64_t number = mine != NULL ? atomic_load(&mine->number) : atomic_fetch_add(&family->forks, 1) + 1;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        struct member *member = &family->members[i];
        uint64_t free = 0;
        if (member_waits(member) || !atomic_compare_exchange_strong(&member->number, &free, UINT64_MAX))
            continue;
        atomic_store(&member->process, 0);
        atomic_store(&member->since, (uint32_t)(monotonic() / 1000000000));
        atomic_store(&member->number, number);
        unborn = member;
        return number;
    }
    return 0;
}

static void note_held(struct benchfs *fs, struct open_file *file, void *any)
{
    (void)fs;
    *(bool *)any |= file->file.held;
}

/* A child that has made no call holds nothing, and needs no connection to say so. */
static bool holds_any(struct benchfs *fs)
{
    bool any = false;
    pthread_mutex_lock(&fs->mutex);
    open_files_each(fs, note_held, &any);
    pthread_mutex_unlock(&fs->mutex);
    return any;
}

struct announcement {
    bool *wanted;
    uint32_t count;
    const struct client *client;
};

static void note_server(struct benchfs *fs, struct open_file *file, void *context)
{
    const struct announcement *announcement = context;
    (void)fs;
    uint32_t server = client_inode_server(announcement->client, file->file.inode);
    if (file->file.held && server < announcement->count)
        announcement->wanted[server] = true;
}

void inherit_announce(struct benchfs *fs)
{
    struct client *client = holds_any(fs) ? client_get(fs) : NULL;
    if (client == NULL)
        return; /* if it cannot be announced, it could not be taken over either */
    uint32_t count = client_map(client)->server_count;
    struct announcement announcement = {calloc(count, sizeof(bool)), count, client};
    if (announcement.wanted == NULL)
        return;
    pthread_mutex_lock(&fs->mutex);
    open_files_each(fs, note_server, &announcement);
    if (fs->announced == NULL && (fs->announced = calloc(count, sizeof(bool))) != NULL)
        fs->announced_count = count;
    for (uint32_t server = 0; server < count && server < fs->announced_count; server++)
        announcement.wanted[server] &= !fs->announced[server];
    pthread_mutex_unlock(&fs->mutex);
    for (uint32_t server = 0; server < count; server++) {
        if (!announcement.wanted[server] || client_announce_heirs(client, server) < 0)
            continue;
        pthread_mutex_lock(&fs->mutex);
        if (server < fs->announced_count)
            fs->announced[server] = true;
        pthread_mutex_unlock(&fs->mutex);
    }
    free(announcement.wanted);
}

/* What a process of the preload library hands on it shares itself. */
static void share_locks(struct benchfs *fs, struct open_file *file)
{
    if (fs->prefix != NULL)
        return;
    struct shared_locks *shared = file->shared;
    if (shared == NULL) {
        uint64_t used = atomic_load(&family->locks_used);
        while (used < LOCKS_MAX && !atomic_compare_exchange_weak(&family->locks_used, &used, used + 1))
            continue;
        shared = used < LOCKS_MAX ? &family->locks[used] : NULL;
    }
    if (shared != NULL)
        description_share(fs, file, shared);
}

static void hand_on(struct benchfs *fs, struct open_file *file, void *context)
{
    (void)context;
    if (!file->file.held && !file->inherited)
        return;
    uint64_t number = unborn != NULL ? atomic_load(&unborn->number) : member_enter();
    if (number == 0)
        return;
    if (file->forks.first == 0)
        file->forks.first = number;
    file->forks.last = number;
    share_locks(fs, file);
}

void inherit_before_fork(struct benchfs *fs)
{
    open_files_each(fs, hand_on, NULL);
}

void inherit_after_fork(void)
{
    unborn = NULL;
}

void inherit_after_spawn(pid_t child)
{
    if (unborn != NULL && child > 0)
        atomic_store(&unborn->process, child);
    else if (unborn != NULL)
        atomic_store(&unborn->number, 0);
    unborn = NULL;
}

static void come_into(struct benchfs *fs, struct open_file *file, void *any)
{
    (void)fs;
    file->forks = (struct handed_on){0};
    file->inherited |= file->file.held;
    file->file.held = false;
    file->file.hold.slot = 0; /* that is what the parent shows */
    *(bool *)any |= file->inherited;
}

void inherit_in_child(struct benchfs *fs)
{
    bool any = false;
    open_files_each(fs, come_into, &any);
    if (!fs->inherits)
        fs->inherited_from = atomic_load(&fs->instance);
    fs->inherits = any;
    /* What is kept back is the parent's to tell; it may just have been adding to it. */
    fs->kept = NULL;
    fs->kept_count = fs->kept_room = 0;
    if (fs->announced != NULL)
        memset(fs->announced, 0, fs->announced_count * sizeof(bool)); /* by another instance */
    client_holds_end(&fs->holds);
    pthread_mutex_init(&kept_mutex, NULL);
    pthread_mutex_init(&inherit_mutex, NULL);
    if (unborn != NULL) {
        atomic_store(&unborn->process, getpid());
        mine = unborn;
    }
}

struct inherited_files {
    struct open_file **files;
    uint32_t count, room;
};

/* Notes the description, protected from its end. */
static void note_inherited(struct benchfs *fs, struct open_file *file, void *context)
{
    struct inherited_files *list = context;
    if (!file->inherited)
        return;
    if (list->count == list->room) {
        uint32_t room = list->room == 0 ? 64 : 2 * list->room;
        struct open_file **more = realloc(list->files, room * sizeof *more);
        if (more == NULL)
            return; /* it is not held: as if the child had come too late */
        list->files = more;
        list->room = room;
    }
    if (atomic_fetch_add(&file->state, 1) & OPEN_FILE_OPEN)
        list->files[list->count++] = file;
    else
        open_file_release(fs, file);
}

/* Holds what was inherited. */
static void hold_inherited(struct benchfs *fs, struct worker *worker)
{
    struct inherited_files list = {0};
    pthread_mutex_lock(&fs->mutex);
    open_files_each(fs, note_inherited, &list);
    pthread_mutex_unlock(&fs->mutex);
    for (uint32_t i = 0; i < list.count; i++) {
        struct open_file *file = list.files[i];
        struct attributes attributes;
        /* One that is gone says so when it is used. */
        file->file.held = client_hold(worker->client, file->file.inode, fs->inherited_from, &attributes) == 0;
        file->inherited = false;
        open_file_release(fs, file);
    }
    free(list.files);
    fs->inherits = false;
}

void inherit_at_first_call(struct benchfs *fs, struct worker *worker)
{
    pthread_mutex_lock(&inherit_mutex);
    if (fs->inherits)
        hold_inherited(fs, worker);
    pthread_mutex_unlock(&inherit_mutex);
    if (mine != NULL && !library_inherits()) {
        atomic_store(&mine->number, 0);
        mine = NULL;
    }
}

/* ---- closes that are kept back ---- */

bool inherit_keep_back(struct benchfs *fs, const struct client_file *file, const struct handed_on *forks)
{
    if (forks->first == 0 || !children_wait(forks->first, forks->last))
        return false;
    bool kept = false;
    pthread_mutex_lock(&kept_mutex);
    if (fs->kept_count == fs->kept_room && fs->kept_room < KEPT_MAX) {
        uint32_t room = fs->kept_room == 0 ? 16 : 2 * fs->kept_room;
        struct kept_close *more = realloc(fs->kept, room * sizeof *more);
        if (more != NULL) {
            fs->kept = more;
            fs->kept_room = room;
        }
    }
    if (fs->kept_count < fs->kept_room) {
        fs->kept[fs->kept_count] =
            (struct kept_close){.inode = file->inode, .hold = file->hold, .forks = *forks};
        atomic_store(&fs->kept_count, fs->kept_count + 1);
        kept = true;
    }
    pthread_mutex_unlock(&kept_mutex);
    return kept;
}

void inherit_tell_kept(struct benchfs *fs, struct client *client)
{
    uint64_t now = monotonic();
    if (now < atomic_load(&fs->kept_looked) + LOOK_AGAIN_NS)
        return;
    atomic_store(&fs->kept_looked, now);
    /* Letting go may wait for a server, so it is not done under the lock. */
    for (;;) {
        struct kept_close kept = {0};
        pthread_mutex_lock(&kept_mutex);
        for (uint32_t i = 0; i < fs->kept_count && kept.inode == 0; i++) {
            if (children_wait(fs->kept[i].forks.first, fs->kept[i].forks.last))
                continue;
            kept = fs->kept[i];
            fs->kept[i] = fs->kept[fs->kept_count - 1];
            atomic_store(&fs->kept_count, fs->kept_count - 1);
        }
        pthread_mutex_unlock(&kept_mutex);
        if (kept.inode == 0)
            return;
        client_release(client, kept.inode, &kept.hold);
    }
}

/* ---- over exec ---- */

uint64_t file_holder(struct benchfs *fs, const struct open_file *slot)
{
    return slot->inherited ? fs->inherited_from : atomic_load(&fs->instance);
}

int file_take_over(struct client *client, struct client_file *file, uint64_t from)
{
    struct attributes attributes;
    int status = client_hold(client, file->inode, from, &attributes);
    file->held = status == 0;
    file->hold.slot = 0;
    return status;
}
