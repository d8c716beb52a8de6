/* The engine tiered, with file over rocksdb. */
#define TIERS_FAST "file"
#define TIERS_SLOW "rocksdb"
#define TIERS_REAL
#define CONFORMANCE_PATIENCE 500 /* what is being copied down needs room twice meanwhile */
#include "unit/store_tiers.c"
