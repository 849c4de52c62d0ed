/* vec_math.h - e^x and the activations, lane by lane, over whichever vec_*.h was included before.
 *
 * The polynomials are minimax fits of our own (Remez exchange in double precision); their errors are
 * those over the whole range, measured by tests/unit/kernels_test.c against libm. */
#ifndef EMBER_MODEL_VEC_MATH_H
#define EMBER_MODEL_VEC_MATH_H

#include "model/kernels.h"

/* e^x with relative error below 3e-7 for -87 <= x <= 88; x is clamped to that range.
 * x = n ln 2 + r, |r| <= ln 2 / 2, and e^r = 1 + r + r^2 P(r). ln 2 is split in two so that n ln 2
 * loses nothing (Cody, Waite 1980). */
VEC_INLINE vec_t vec_exp(vec_t x) {
    x = vec_min(vec_max(x, vec_set(-87.0f)), vec_set(88.0f));
    const vec_t n = vec_round(x * vec_set(1.44269504f));
    vec_t r = vec_fma(n, vec_set(-0.693359375f), x);
    r = vec_fma(n, vec_set(2.12194440e-4f), r);
    vec_t p = vec_set(1.394121838e-03f);
    p = vec_fma(p, r, vec_set(8.363235072e-03f));
    p = vec_fma(p, r, vec_set(4.166637408e-02f));
    p = vec_fma(p, r, vec_set(1.666657665e-01f));
    p = vec_fma(p, r, vec_set(5.000000027e-01f));
    return vec_scale(vec_fma(p, r * r, r + vec_set(1.0f)), n);
}

/* x Phi(x), Phi the normal distribution function; absolute error below 5e-7 everywhere.
 * x Phi(x) = max(x, 0) - g(|x|) with g(u) = u Phi(-u): a smooth bump below 0.17 that is gone at 5.6, so
 * one polynomial in t = u / 2.8 - 1 serves and large values pass through exactly. */
VEC_INLINE vec_t vec_gelu(vec_t x) {
    const vec_t u = vec_min(vec_abs(x), vec_set(5.6f));
    const vec_t t = vec_fma(u, vec_set(1.0f / 2.8f), vec_set(-1.0f));
    vec_t g = vec_set(-1.720980876e-02f);
    g = vec_fma(g, t, vec_set(-4.907649893e-03f));
    g = vec_fma(g, t, vec_set(1.127460810e-01f));
    g = vec_fma(g, t, vec_set(-2.143321461e-02f));
    g = vec_fma(g, t, vec_set(-3.062235179e-01f));
    g = vec_fma(g, t, vec_set(2.217375239e-01f));
    g = vec_fma(g, t, vec_set(3.595692499e-01f));
    g = vec_fma(g, t, vec_set(-5.835626093e-01f));
    g = vec_fma(g, t, vec_set(8.314739075e-02f));
    g = vec_fma(g, t, vec_set(5.411164702e-01f));
    g = vec_fma(g, t, vec_set(-6.350694354e-01f));
    g = vec_fma(g, t, vec_set(2.131888588e-01f));
    g = vec_fma(g, t, vec_set(2.146825799e-01f));
    g = vec_fma(g, t, vec_set(-3.112339046e-01f));
    g = vec_fma(g, t, vec_set(1.812031009e-01f));
    g = vec_fma(g, t, vec_set(-5.490560848e-02f));
    g = vec_fma(g, t, vec_set(7.154389606e-03f));
    return vec_max(x, vec_set(0.0f)) - g;
}

/* x / (1 + e^-y): silu for y = x, and gelu_new for y = 2 sqrt(2/pi) (x + 0.044715 x^3), because
 * (1 + tanh(z)) / 2 = 1 / (1 + e^-2z). */
VEC_INLINE vec_t vec_gate(vec_t x, vec_t y) {
    return x / (vec_set(1.0f) + vec_exp(vec_set(0.0f) - y));
}

VEC_INLINE vec_t vec_gelu_new(vec_t x) {
    const vec_t cubic = vec_fma(x * x, vec_set(0.044715f * 1.5957691216f), vec_set(1.5957691216f));
    return vec_gate(x, x * cubic);
}

VEC_INLINE vec_t vec_act(vec_t x, const enum kernel_act act) {
    switch (act) {
    case KERNEL_ACT_GELU:
        return vec_gelu(x);
    case KERNEL_ACT_GELU_NEW:
        return vec_gelu_new(x);
    case KERNEL_ACT_RELU:
        return vec_max(x, vec_set(0.0f));
    case KERNEL_ACT_SILU:
        return vec_gate(x, x);
    case KERNEL_ACT_NONE:
        break;
    }
    return x;
}

#endif
