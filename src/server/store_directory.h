/* The directories of a server's persistent store: opened, locked, and known to be its own. */
#pragma once

#include "base/config.h"
#include "journal/identity.h"

struct store_directory {
    struct disk *disk;      /* NULL: the engine is not persistent */
    struct disk *fast_disk; /* the engine tiered's upper engine has one of its own; NULL: it has not */
    struct identity identity;
    bool is_new;
};

/* Opens and locks what store.path, store.fast_path and the engine ask for, and reads the identity; made if it
 * is missing. directory is zeroed; errors are logged, and what is open stays for store_directory_close. May
 * suspend. */
int store_directory_open(struct store_directory *directory, struct loop *loop, const struct config *config,
                         uint32_t id);
/* When identity.cluster has been filled in: the directories become, or must be, those of this server of a
 * cluster of so many. now: ns since 1970. Errors are logged. May suspend. */
int store_directory_settle(struct store_directory *directory, const struct config *config, uint32_t servers,
                           int64_t now);
void store_directory_close(struct store_directory *directory);

/* What an identity calls the engine: its name; of tiered "tiered:SLOW", or, with a persistent engine over it,
 * "tiered:FAST:SLOW", and ":apart" behind that if that one has a directory of its own. */
void store_directory_engine(const struct config *config, char engine[IDENTITY_ENGINE_MAX]);
