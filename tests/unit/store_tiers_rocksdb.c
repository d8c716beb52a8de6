/* The engine tiered, with rocksdb over file. */
#define TIERS_FAST "rocksdb"
#define TIERS_SLOW "file"
#define TIERS_REAL
#include "unit/store_tiers.c"
