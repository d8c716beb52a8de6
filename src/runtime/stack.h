/* Memory for the stacks of tasks: mapped on demand, with an inaccessible page below. Internal to runtime/. */
#pragma once

#include <stddef.h>

/* size: usable bytes, a multiple of the page size. Returns the lowest usable byte, or NULL when memory or
 * mappings are exhausted. */
char *stack_map(size_t size);
void stack_unmap(char *base, size_t size);
