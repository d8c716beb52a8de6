/* What the crash matrix knows: a model of everything the clients own, and per client a log of the calls that
 * it made since the model was last compared with the file system.
 *
 * All of it lies in memory that the clients' processes, the one that verifies and the one that kills share. A
 * client only appends to its log; so whatever is killed when, the log is whole. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CLIENTS 4u /* threads that call, two in each process */
#define SHARED_DIRECTORIES 4u
#define NAMES_SHARED 24u /* a client's names in the shared directories ... */
#define NAMES_OWN 16u    /* ... and in directories of its own */
#define NAMES (NAMES_SHARED + NAMES_OWN)
#define DIRECTORIES_OWN 4u
#define FILES 192u /* of one client, with those that are removed until the next comparison */
#define FILES_ALIVE 20u
#define FILE_MAX (UINT64_C(2) << 20)
#define OPERATIONS_MAX 4096u
#define NONE UINT16_MAX

enum level { LEVEL_NONE, LEVEL_INTERVAL, LEVEL_CLOSE, LEVEL_WRITE };

/* Values of what is not contents, derived from a version. Version 0: as created. */
#define XATTR_NAME "user.version"
#define XATTR_MAX 3000u

struct file {
    bool used;       /* the slot */
    uint16_t names;  /* that the model knows */
    uint16_t lost;   /* names beside them, in directories that were lost */
    uint32_t id;     /* of the contents */
    uint64_t number; /* inode; 0: not told yet */
    uint64_t size;
    mode_t mode;
    uint32_t xattr;    /* version; 0: none */
    uint32_t versions; /* given out so far */
};

struct client_model {
    uint32_t files_made;
    uint16_t names[NAMES]; /* index of the file, or NONE */
    bool directories[DIRECTORIES_OWN];
    struct file files[FILES];
};

enum operation_kind {
    OPERATION_CREATE,
    OPERATION_WRITE,
    OPERATION_TRUNCATE,
    OPERATION_MODE,
    OPERATION_XATTR,
    OPERATION_SYNC,
    OPERATION_CLOSE, /* of a file that was written to */
    OPERATION_LINK,
    OPERATION_UNLINK,
    OPERATION_RENAME,
    OPERATION_SYNC_DIRECTORY, /* name: any in it */
    OPERATION_MAKE_DIRECTORY, /* name: of the own directory */
    OPERATION_REMOVE_DIRECTORY,
};

enum operation_state { OPERATION_FREE, OPERATION_STARTED, OPERATION_DONE, OPERATION_FAILED };

struct operation {
    uint8_t kind;
    _Atomic uint8_t state;
    bool synchronous; /* WRITE: through a descriptor with O_SYNC or O_DSYNC */
    uint16_t file;
    uint16_t name;
    uint16_t other;  /* LINK, RENAME: the new name */
    uint16_t victim; /* RENAME: the file that it replaces, or NONE */
    int error;
    uint32_t version;
    uint64_t offset, length; /* WRITE; TRUNCATE: length; MODE: length */
    uint64_t number;         /* CREATE */
    uint64_t ended;          /* ns */
    /* Found when the promises are worked out: of the whole, or of what it does to each of its names. */
    bool promised, promised_name, promised_other;
};

struct client_log {
    _Atomic uint32_t count;
    struct operation operations[OPERATIONS_MAX];
};

struct history {
    struct client_model model[CLIENTS];
    struct client_log log[CLIENTS];
    _Atomic bool ending;  /* the servers end in good order: clients stop by themselves */
    _Atomic bool killing; /* from now on calls may fail */
    bool within_servers;  /* no call that changes what several servers' journals hold in step */
    /* Figures. */
    uint64_t acknowledged, promised, files_read, bytes_compared;
    unsigned char *contents; /* CLIENTS x FILES x FILE_MAX, of each file as last compared */
};

/* Shared memory, zeros but for names; NULL: none. */
struct history *history_create(void);
void history_destroy(struct history *history);
unsigned char *history_contents(struct history *history, unsigned client, unsigned file);
/* Gives the slot and its memory back. */
void history_forget_file(struct history *history, unsigned client, unsigned file);

/* clock.c; in the simulator sim/library.c. */
uint64_t now_ns(void);
void pause_ns(uint64_t ns);
/* "/d1/c2n5", or "/d1/c2s1/n28". */
void name_path(unsigned client, unsigned name, char path[64]);
/* Of the directory that the name is in: shared, or the client's own. */
void parent_path(unsigned client, unsigned name, char path[64]);
void directory_path(unsigned client, unsigned directory, char path[64]);
/* The own directory that a name is in, or NONE. */
unsigned name_directory(unsigned name);
/* Whether two names are in the same directory. */
bool same_directory(unsigned name, unsigned other);

/* The bytes at `offset` of a file as that version of it wrote them. */
void contents_fill(unsigned char *bytes, size_t length, uint32_t id, uint32_t version, uint64_t offset);
/* The value of the extended attribute, XATTR_MAX bytes at most; its length. */
size_t xattr_value(uint32_t id, uint32_t version, unsigned char *bytes);

/* splitmix64. */
uint64_t draw(uint64_t *state);
/* Below limit. */
uint64_t draw_below(uint64_t *state, uint64_t limit);
