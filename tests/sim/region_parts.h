/* Inside region.c and its parts: what they call of each other. */
#pragma once

#include "region.h"

#define BYTES_MAX (256u << 10)
#define OFFSET_MAX (400u << 10)

/* ---- region_compare.c ---- */

/* The virtual time before and after an operation: bounds for the times that it sets. */
void region_before(struct region *region);
void region_after(struct region *region);
/* Ends the run with a message, unless the power has failed. */
__attribute__((format(printf, 2, 3))) void region_wrong(struct region *region, const char *format, ...);
/* The number, or "-ENOENT"; valid until the next but one call. */
const char *region_status_name(int64_t status);
/* Counts, traces and compares one operation. */
__attribute__((format(printf, 4, 5))) bool region_same(struct region *region, int64_t got, int64_t wanted,
                                                       const char *format, ...);
/* region->bytes with region->expected. */
void region_same_bytes(struct region *region, const char *what, size_t length);
void region_same_attributes(struct region *region, struct node *node, const struct attributes *attributes,
                            const char *path);
/* What the other model has at that path, if it is of the same type, else NULL. */
struct node *region_mixed_node(struct region *region, const char *path);
/* Lists a directory, now and then going on from a cursor with a new listing, and compares. */
void region_list_directory(struct region *region, struct client *client, struct node *directory,
                           uint64_t inode, const char *path);

/* ---- region_choose.c ---- */

uint32_t region_below(struct region *region, uint32_t bound);
bool region_one_in(struct region *region, uint32_t bound);
/* A path that mostly exists; fresh: mostly with a last component that may not. Returns where it starts. */
struct node *region_random_path(struct region *region, char *path, bool fresh);
/* The inode of that start. */
uint64_t region_start(const struct region *region, const struct node *from);
uint32_t region_random_length(struct region *region);
uint64_t region_random_offset(struct region *region, const struct node *node);
uint64_t region_random_size(struct region *region, const struct node *node);
/* Fills the region's bytes [0, length). */
void region_random_bytes(struct region *region, size_t length);
#define VECTOR_MAX 12u
/* The region's bytes [0, length) as a vector: one range or several. Returns how many. */
uint32_t region_random_vector(struct region *region, struct iovec *vector, size_t length);
/* An open file, or NULL when the slot drawn holds none. */
struct open_file *region_random_file(struct region *region);

/* ---- region_files.c ---- */

void region_open(struct region *region);
void region_close(struct region *region, struct open_file *open_file);
/* Something with an open file, if there is one. */
void region_file(struct region *region);

/* ---- region_paths.c: one operation each ---- */

void region_stat(struct region *region);
void region_truncate(struct region *region);
void region_mkdir(struct region *region);
void region_rmdir(struct region *region);
void region_unlink(struct region *region);
void region_rename(struct region *region);
void region_link(struct region *region);
void region_symlink(struct region *region);
void region_readlink(struct region *region);
void region_set(struct region *region);
void region_xattr(struct region *region);
void region_list(struct region *region);
