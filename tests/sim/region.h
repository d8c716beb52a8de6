/* Random operations of one worker in a directory tree of its own, each compared with the model: status,
 * bytes, attributes, entries. Several workers, also of one client, each in its own region, run at once. */
#pragma once

#include "cluster.h"
#include "model.h"

#define REGION_FILES 6

struct open_file {
    struct node *node; /* NULL: free */
    struct client_file file;
};

struct region {
    struct worker *worker;
    struct cluster *cluster;
    struct client *client;
    struct random *random;
    struct model model;
    struct open_file files[REGION_FILES];
    /* The power has failed: an error in place of a result is nobody's fault, and the model has it both ways.
     */
    const bool *powerless;
    /* Where bytes, size and times may as well be those of this other model: the last operation was cut off.
     */
    struct model *mixed;
    bool alone;      /* nobody else changes the root */
    bool tight;      /* the servers' stores are small: -ENOSPC is as right as success */
    uint32_t number; /* makes this region's names different from all others' */
    uint32_t operations;
    uint8_t *bytes;
    uint8_t *expected;
    char path[600], path2[600];
};

int region_create(struct region *region, struct worker *worker, uint32_t number);
void region_destroy(struct region *region);
/* The same when the client is gone already: closes nothing. */
void region_discard(struct region *region);

/* Makes the region's directory; then one random operation at a time. */
void region_begin(struct region *region);
void region_step(struct region *region);
/* Both: that many random operations, or until something is wrong. */
void region_work(struct region *region, uint32_t operations);
/* Compares all names, attributes and bytes as this client sees them. */
void region_verify(struct region *region, struct client *client);
/* Removes everything, names and open files. */
void region_remove(struct region *region);
