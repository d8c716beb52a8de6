/* The parts of `benchfs status --json` that come from regions of measurements. */
#pragma once

#include <jansson.h>

#include "cli/observe.h"

/* Adds what the server of that index in the cluster file measured to its object. */
void status_json_server(const struct observer *observer, uint32_t index, json_t *object);
/* Adds what concerns all of them. */
void status_json_cluster(const struct observer *observer, json_t *root);
