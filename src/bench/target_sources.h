/* The measurements of the servers of a BenchFS target, to be looked at between phases. */
#pragma once

#include "client/library.h"
#include "client/sources.h"

struct target_sources;

/* Of the cluster that the calling thread is connected to. Its servers are read through their files where
 * they run on this host and share them; for the others a connection of its own is made when there are any,
 * so that looking is not among what the target measures about itself. *sources is for target_sources_close.
 * 0 or -errno. Waits for requests. */
int target_sources_open(struct benchfs *fs, struct target_sources **sources);
/* All servers, up to date: one that does not answer has a status. In the order of the cluster map. Waits for
 * requests. */
struct sources *target_sources_refresh(struct target_sources *sources);
void target_sources_close(struct target_sources *sources); /* NULL is harmless */
