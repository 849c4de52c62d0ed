/* kernels_softmax.h - e^(x - max) of a row, for softmax and for attention that has to be
 * careful. */
#ifndef EMBER_MODEL_KERNELS_SOFTMAX_H
#define EMBER_MODEL_KERNELS_SOFTMAX_H

#include "model/vec_math.h"

#include <float.h>

/* x[i] = e^(x[i] - max); returns 1 / sum, which the caller multiplies in where it costs least. */
static inline float rows_exp(float *x, uint32_t n) {
    const uint32_t full = n / VEC_LANES * VEC_LANES, left = n - full;
    vec_t top = vec_set(-FLT_MAX), sum = vec_set(0.0f);
    for (uint32_t i = 0; i < full; i += VEC_LANES)
        top = vec_max(top, vec_load(x + i));
    if (left)
        top = vec_max(top, vec_fill_after(vec_load_first(x + full, left), left, -FLT_MAX));
    top = vec_set(vec_top(top));
    for (uint32_t i = 0; i < full; i += VEC_LANES) {
        const vec_t y = vec_exp(vec_load(x + i) - top);
        vec_store(x + i, y);
        sum = sum + y;
    }
    if (left) {
        const vec_t y = vec_exp(vec_load_first(x + full, left) - top);
        vec_store_first(x + full, y, left);
        sum = sum + vec_fill_after(y, left, 0.0f);
    }
    return 1.0f / vec_sum(sum);
}

#endif
