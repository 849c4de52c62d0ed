/* rotary.h - the angles of rotary positions (Su et al. 2021): at position p, pair j of a head of
 * `dim` numbers turns by p base^(-2j/dim).
 *
 * Threads: pure functions. Memory: nothing is allocated. */
#ifndef EMBER_MODEL_ROTARY_H
#define EMBER_MODEL_ROTARY_H

#include "model/shape.h"

/* The base for a sequence of n tokens: shape->rotary_base, unless shape->rotary_factor f asks for
 * more room beyond the M = rotary_trained tokens of training. Then, n > M, "dynamic NTK":
 *     base (f n / M - (f - 1))^(dim / (dim - 2)) */
double rotary_base(const struct model_shape *shape, uint32_t n);

/* True where rotary_base() for n tokens is not shape->rotary_base. */
static inline bool rotary_scaled(const struct model_shape *shape, uint32_t n) {
    return shape->rotary_factor > 0 && n > shape->rotary_trained;
}

/* Cosines and sines of positions 0 .. n-1 for kernels->rotate(): [n, dim/2] each, dim even. Angles
 * are formed in double: near position 8000 those of a float would be off by 1e-3. */
void rotary_fill(double base, uint32_t n, uint32_t dim, float *cosines, float *sines);

#endif
