/* Measures the runtime itself, for `benchfs bench targets`. */
#pragma once

/* Median over batches of the nanoseconds that spawning, running and finishing a task takes, when the task
 * never suspends. count: tasks in all, at least 1000 for a steady figure. Returns 0 or -errno. */
int runtime_bench_spawn(unsigned count, double *ns_per_task);

/* The same for tasks that suspend once: they yield, and the loop's next turn resumes and finishes them. */
int runtime_bench_spawn_yield(unsigned count, double *ns_per_task);
