/* histogram.c - fixed edges, one counter per bucket. See histogram.h.
 *
 * Two to four edges a decade: fine enough for a quantile within a bucket to mean something, few
 * enough that a histogram is three cache lines and Prometheus keeps few series. */
#include "metrics/histogram.h"

const uint64_t histogram_edges_us[HISTOGRAM_EDGES] = {
    100,   250,   500,    1000,   2000,   3500,   5000,   7500,    10000,   20000,    35000,
    50000, 75000, 100000, 150000, 200000, 350000, 500000, 1000000, 5000000, 10000000, 60000000,
};

void histogram_add(struct histogram *self, uint64_t us) {
    unsigned low = 0, high = HISTOGRAM_EDGES;
    while (low < high) { /* first edge >= us */
        unsigned mid = (low + high) / 2;
        if (histogram_edges_us[mid] < us)
            low = mid + 1;
        else
            high = mid;
    }
    counter_add(&self->bucket[low], 1);
    counter_add(&self->sum_us, us);
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
    for (unsigned i = 0; i <= HISTOGRAM_EDGES; i++)
        counter_add(&into->bucket[i], counter_get(&from->bucket[i]));
    counter_add(&into->sum_us, counter_get(&from->sum_us));
}

uint64_t histogram_count(const struct histogram *self) {
    uint64_t n = 0;
    for (unsigned i = 0; i <= HISTOGRAM_EDGES; i++)
        n += counter_get(&self->bucket[i]);
    return n;
}

uint64_t histogram_at_most(const struct histogram *self, uint64_t edge_us) {
    uint64_t n = 0;
    for (unsigned i = 0; i < HISTOGRAM_EDGES && histogram_edges_us[i] <= edge_us; i++)
        n += counter_get(&self->bucket[i]);
    return n;
}

double histogram_quantile_us(const struct histogram *self, double q) {
    uint64_t total = histogram_count(self);
    if (!total)
        return 0;
    double rank = q * (double)total;
    double below = 0, low = 0;
    for (unsigned i = 0; i < HISTOGRAM_EDGES; i++) {
        double here = (double)counter_get(&self->bucket[i]);
        double edge = (double)histogram_edges_us[i];
        if (here > 0 && below + here >= rank)
            return low + (edge - low) * (rank - below) / here;
        below += here;
        low = edge;
    }
    return low;
}
