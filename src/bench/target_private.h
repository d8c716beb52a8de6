/* benchfs:KEY=VALUE,...: clusters that a benchmark starts for itself with these options and ends again. */
#pragma once

#include <stdbool.h>

#include "base/config.h"

/* Whether a place behind "benchfs:" means such a cluster, and not a directory of the running one. */
bool target_private_is(const char *place);
/* Reads the options into config, over the defaults: those of the table by "table.key", those of [cluster] and
 * [store] also by "key", cluster.server_count also as "servers" and store.engine as "store". 0, or -EINVAL
 * after one line on standard error that names the option: it is unknown, given twice, has no such value, or
 * makes no sense with the others or in a benchmark. */
int target_private_parse(const char *place, struct config *config);

/* Starts the cluster, in the process that later starts the workers. 0, or -errno after one line. */
int target_private_start(const char *place);
/* Its cluster file, here and in processes that were forked since; NULL: it was not started. */
const char *target_private_file(const char *place);
/* Ends it, if it was started. All that are left end with the process. */
void target_private_stop(const char *place);
