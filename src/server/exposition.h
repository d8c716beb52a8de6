/* A server's region as text for Prometheus: the exposition format 0.0.4,
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
#pragma once

#include <stdio.h>

#include "metrics/reader.h"

/* Writes everything that the region holds. Names begin with benchfs_; times are in seconds. 0 or -errno. */
int exposition_write(struct metrics_source *source, FILE *out);
