/* The engine tiered, with mem over uring. */
#define TIERED_SLOW "uring"
#include "unit/store_tiered.c"
