/* sizes.c - see sizes.h. */
#include "metrics/sizes.h"

void sizes_add(struct sizes *self, uint64_t n) {
    unsigned i = 0;
    while (i < SIZES_EDGES && sizes_edge(i) < n)
        i++;
    counter_add(&self->bucket[i], 1);
    counter_add(&self->sum, n);
}
