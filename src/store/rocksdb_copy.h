/* A database that may be changed without its files being changed: for a store that forgets what it does. */
#pragma once

/* Makes a directory of its own under TMPDIR (or /tmp) that looks like the database in `path`: files that
 * RocksDB never changes are symbolic links, the others (log, manifest) are copied. *copy is the directory's
 * name, to be given to rocksdb_copy_remove. 0, or -errno with the reason logged and nothing left. Blocks. */
int rocksdb_copy_make(const char *path, char **copy);
/* Removes the directory with all that is in it, and frees the name. */
void rocksdb_copy_remove(char *copy);
