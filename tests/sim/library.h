/* The calls of benchfs.h that the crash matrix makes (tests/crash/), for tasks of a simulated cluster: so
 * that its workload and its model of what was promised serve both. They do what libbenchfs does under strict
 * consistency. */
#pragma once

#include <stdatomic.h>

#include "cluster.h"

/* What benchfs_connect connects to when it is called next, without a suspension in between. */
void library_connect_as(struct worker *worker);
/* From now on, a call that ends when *stopped is set also sets *killing. */
void library_expect(const bool *stopped, _Atomic bool *killing);
/* Frees the connections of processes that have come to an end, and closes nothing: before their clients go.
 */
void library_forget(void);
