/* stats.c - see stats.h. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_in_place(double *values, uint32_t n) {
    if (n == 0)
        return NAN;
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double stats_median(const double *values, uint32_t n) {
    double sorted[STATS_MAX];
    n = n < STATS_MAX ? n : STATS_MAX;
    memcpy(sorted, values, n * sizeof *sorted);
    return median_in_place(sorted, n);
}

/* Of Kendall's S when there is no trend; values that are equal take from it. */
static double variance_of(const double *values, uint32_t n) {
    double sorted[STATS_MAX], sum = (double)n * (n - 1) * (2.0 * n + 5);
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    for (uint32_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && !(sorted[k] > sorted[i]); k++)
            continue;
        double equal = k - i;
        sum -= equal * (equal - 1) * (2 * equal + 5);
    }
    return sum / 18;
}

struct stats_trend stats_trend(const double *values, uint32_t n) {
    struct stats_trend out = {.slope = 0, .start = NAN, .chance = 1};
    n = n < STATS_MAX ? n : STATS_MAX;
    double *slopes = n > 1 ? malloc((size_t)n * (n - 1) / 2 * sizeof *slopes) : NULL;
    double s = 0;
    uint32_t pairs = 0;
    for (uint32_t i = 0; slopes && i < n; i++)
        for (uint32_t k = i + 1; k < n; k++) {
            slopes[pairs++] = (values[k] - values[i]) / (k - i);
            s += (values[k] > values[i]) - (values[k] < values[i]);
        }
    if (slopes)
        out.slope = median_in_place(slopes, pairs);
    free(slopes);
    double rest[STATS_MAX];
    for (uint32_t i = 0; i < n; i++)
        rest[i] = values[i] - out.slope * i;
    out.start = stats_median(rest, n);
    if (n >= STATS_TREND_MIN && fabs(s) > 1)
        out.chance = erfc((fabs(s) - 1) / sqrt(variance_of(values, n)) / sqrt(2));
    out.sure = out.chance <= STATS_SURE;
    return out;
}

struct stats_pairs stats_pairs(const double *a, const double *b, uint32_t n) {
    double logs[STATS_TURNS], sorted[STATS_TURNS], seen = 0;
    n = n < STATS_TURNS ? n : STATS_TURNS;
    for (uint32_t i = 0; i < n; i++) {
        logs[i] = sorted[i] = log(b[i] / a[i]);
        seen += logs[i];
    }
    struct stats_pairs out = {.ratio = exp(median_in_place(sorted, n)), .chance = 1};
    uint32_t ways = UINT32_C(1) << n, as_far = 0;
    for (uint32_t signs = 0; signs < ways; signs++) {
        double sum = 0;
        for (uint32_t i = 0; i < n; i++)
            sum += signs >> i & 1 ? -logs[i] : logs[i];
        as_far += fabs(sum) >= fabs(seen) * (1 - 1e-9);
    }
    if (n > 0)
        out.chance = (double)as_far / ways;
    out.sure = out.chance <= STATS_SURE;
    return out;
}
