/* spec.c - see spec.h. */
#include "spec.h"

#include <math.h>
#include <stdlib.h>

/* A number from 0 on that ends with one of `ends`; false: it does not. */
static bool number(const char **at, char end, double *out) {
    char *stop;
    *out = strtod(*at, &stop);
    if (stop == *at || *stop != end || !isfinite(*out) || *out < 0)
        return false;
    *at = stop + (end != '\0');
    return true;
}

bool spec_ramp(const char *text, struct spec_ramp *out) {
    double from, to, steps;
    if (!number(&text, ':', &from) || !number(&text, ':', &to) || !number(&text, '\0', &steps))
        return false;
    if (from <= 0 || to <= 0 || from > 1e6 || to > 1e6 || steps < 2 || steps > SPEC_STEPS_MAX ||
        floor(steps) < steps)
        return false;
    *out = (struct spec_ramp){from, to, (uint32_t)steps};
    return true;
}

double spec_ramp_rate(const struct spec_ramp *ramp, uint32_t step) {
    if (step + 1 >= ramp->steps)
        return ramp->to;
    return ramp->from + (ramp->to - ramp->from) * step / (ramp->steps - 1);
}
