/* rotary.c - angles of rotary positions. */
#include "model/rotary.h"

#include <math.h>
#include <stddef.h>

double rotary_base(const struct model_shape *shape, uint32_t n) {
    const double base = (double)shape->rotary_base, f = (double)shape->rotary_factor;
    const double dim = shape->hidden / shape->heads;
    if (!rotary_scaled(shape, n) || dim <= 2) /* of two numbers the only angle is p itself */
        return base;
    return base * pow(f * n / shape->rotary_trained - (f - 1), dim / (dim - 2));
}

void rotary_fill(double base, uint32_t n, uint32_t dim, float *cosines, float *sines) {
    const uint32_t half = dim / 2;
    for (uint32_t j = 0; j < half; j++) {
        const double frequency = pow(base, -2.0 * j / dim);
        for (uint32_t p = 0; p < n; p++) {
            cosines[(size_t)p * half + j] = (float)cos(p * frequency);
            sines[(size_t)p * half + j] = (float)sin(p * frequency);
        }
    }
}
