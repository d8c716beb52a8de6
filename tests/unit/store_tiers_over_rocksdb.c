/* The engine tiered, with file over rocksdb. */
#define TIERS_FAST "file"
#define TIERS_SLOW "rocksdb"
#define TIERS_REAL
#include "unit/store_tiers.c"
