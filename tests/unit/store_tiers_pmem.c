/* The engine tiered, with pmem over uring. */
#define TIERS_FAST "pmem"
#define TIERS_SLOW "uring"
#define TIERS_ALLOCATES
#include "unit/store_tiers.c"
