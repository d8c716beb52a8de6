/* A file system in memory over low-level libfuse, as small as one can be: what FUSE itself costs on this
 * machine, for `bench targets`. */
#pragma once

/* Mounts on directory, an absolute path, with the options of a strict `benchfs mount`, and serves with one
 * thread until a signal ends it or somebody unmounts. 0 or -errno. */
int reference_mount_serve(const char *directory);
