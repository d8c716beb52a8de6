/* Few limits, many results: what was measured at some sizes is read as a curve that is straight between them
 * when both axes are logarithms, as bandwidths by size nearly are. */
#include "bench/limit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* How far a limit is from what is asked for, apart from its size: depth first, then the others. */
static double distance(const struct result_limit *limit, const struct limit_query *query)
{
    double away = 0.0;
    if (query->depth > 0 && limit->depth > 0)
        away +=
            limit->depth > query->depth ? 1e6 + (double)limit->depth : (double)(query->depth - limit->depth);
    if (query->footprint > 0 && limit->footprint > 0)
        away += 1e3 * fabs(log2((double)limit->footprint / (double)query->footprint));
    if (query->processes > 0 && limit->processes > 0)
        away += 1e5 * fabs(log2((double)limit->processes / (double)query->processes));
    return away;
}

static bool fits(const struct result_limit *limit, const struct limit_query *query)
{
    return strcmp(limit->name, query->name) == 0 && limit->value > 0.0 &&
           (query->transport == NULL || strcmp(limit->transport, query->transport) == 0);
}

/* The nearest of those whose size is at most (or at least) that of the query. */
static const struct result_limit *nearest(const struct limits *limits, const struct limit_query *query,
                                          bool above)
{
    const struct result_limit *best = NULL;
    for (uint32_t i = 0; i < limits->count; i++) {
        const struct result_limit *limit = &limits->limits[i];
        if (!fits(limit, query) || (above ? limit->size < query->size : limit->size > query->size))
            continue;
        bool nearer = best == NULL || (above ? limit->size < best->size : limit->size > best->size);
        if (nearer || (limit->size == best->size && distance(limit, query) < distance(best, query)))
            best = limit;
    }
    return best;
}

static double between(double low, double high, double share)
{
    return low > 0.0 && high > 0.0 ? exp(log(low) * (1.0 - share) + log(high) * share) : 0.0;
}

bool limits_find(const struct limits *limits, const struct limit_query *query, struct result_limit *limit,
                 bool *exact)
{
    const struct result_limit *below = nearest(limits, query, false), *above = nearest(limits, query, true);
    if (below == NULL && above == NULL)
        return false;
    *limit = *(below != NULL ? below : above);
    *exact = query->size == 0 || limit->size == 0 || limit->size == query->size;
    if (*exact || below == NULL || above == NULL)
        return true;
    double share =
        log((double)query->size / (double)below->size) / log((double)above->size / (double)below->size);
    limit->size = query->size;
    limit->value = between(below->value, above->value, share);
    limit->low = between(below->low, above->low, share);
    limit->high = between(below->high, above->high, share);
    return true;
}

void limits_format_size(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, size, "%llu %s", (unsigned long long)bytes, units[unit]);
}

/* Three digits. */
static void format_scaled(double value, double step, const char *const *units, size_t count, char *text,
                          size_t size)
{
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < count) {
        value /= step;
        unit++;
    }
    int digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(text, size, "%.*f %s", digits, value, units[unit]);
}

void limits_format_value(double value, const char *unit, char *text, size_t size)
{
    static const char *const bytes[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
    static const char *const rates[] = {"op/s", "k/s", "M/s", "G/s"};
    static const char *const times[] = {"ns", "us", "ms", "s"};
    if (strcmp(unit, "B/s") == 0)
        format_scaled(value, 1000.0, bytes, sizeof(bytes) / sizeof(bytes[0]), text, size);
    else if (strcmp(unit, "op/s") == 0)
        format_scaled(value, 1000.0, rates, sizeof(rates) / sizeof(rates[0]), text, size);
    else if (strcmp(unit, "ns") == 0)
        format_scaled(value, 1000.0, times, sizeof(times) / sizeof(times[0]), text, size);
    else
        snprintf(text, size, "%.3g %s", value, unit);
}
