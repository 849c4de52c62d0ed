/* spec.h - option values that are more than a number.
 *
 * Threads: any; all functions are pure. */
#ifndef EMBER_BENCH_SPEC_H
#define EMBER_BENCH_SPEC_H

#include <stdbool.h>
#include <stdint.h>

enum { SPEC_STEPS_MAX = 64 };

struct spec_ramp {
    double from, to; /* calls a second */
    uint32_t steps;
};

/* "FROM:TO:STEPS": two rates above 0, 2 to SPEC_STEPS_MAX steps; false: it is none. */
bool spec_ramp(const char *text, struct spec_ramp *out);
double spec_ramp_rate(const struct spec_ramp *ramp, uint32_t step); /* the last one is `to` */

#endif
