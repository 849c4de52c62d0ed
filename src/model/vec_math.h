/* vec_math.h - e^x and the activations, lane by lane, over whichever vec_*.h was included before.
 *
 * The polynomials are minimax fits of our own (Remez exchange in double precision); their errors
 * are those over the whole range, measured by tests/unit/kernels_test.c against libm.
 *
 * NaN stays NaN, because it tells that weights or code are broken: minimum and maximum return their
 * second argument where one is NaN, so that is where x stands. */
#ifndef EMBER_MODEL_VEC_MATH_H
#define EMBER_MODEL_VEC_MATH_H

#include "model/kernels.h"

/* e^x with relative error below 3e-7 for -87 <= x <= 88. x = n ln 2 + r, |r| <= ln 2 / 2, and e^r
 * = 1 + r + r^2 P(r). ln 2 is split in two so that n times its first part is exact (Cody, Waite
 * 1980), which matters where a multiply-add rounds twice. */
VEC_INLINE vec_t vec_exp_within(vec_t x) {
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

/* The same for x <= 88; below -87 it stays e^-87, which is nothing. */
VEC_INLINE vec_t vec_exp(vec_t x) {
    return vec_exp_within(vec_max(vec_set(-87.0f), x));
}

/* 2^x with relative error below 3e-7 for |x| <= 126; beyond, at least 2^126 or at most 2^-126. x =
 * n + r, |r| <= 1/2. */
VEC_INLINE vec_t vec_exp2(vec_t x) {
#if !defined(VEC_SCALE_ANY)
    x = vec_max(vec_set(-126.0f), vec_min(vec_set(127.0f), x));
#endif
    const vec_t n = vec_round(x);
    const vec_t r = x - n;
    vec_t p = vec_set(1.327647198e-03f);
    p = vec_fma(p, r, vec_set(9.675541334e-03f));
    p = vec_fma(p, r, vec_set(5.550713274e-02f));
    p = vec_fma(p, r, vec_set(2.402211972e-01f));
    p = vec_fma(p, r, vec_set(6.931469671e-01f));
    p = vec_fma(p, r, vec_set(1.0f));
    return vec_scale(p, n);
}

/* x Phi(x), Phi the normal distribution function; absolute error below 5e-7 everywhere. x Phi(x)
 * = max(x, 0) - g(|x|) with g(u) = u Phi(-u): a smooth bump below 0.17 that is gone at 5.57, so
 * large values pass through exactly, and only the bump has to be approximated. */
#if defined(VEC_LOOKUP)
/* By sixteen polynomials of degree four, one per 23/64 of u: a look-up of five coefficients and
 * four multiply-adds take half the time of one long polynomial. Row k holds the coefficients of
 * r^k. */
static const float gelu_pieces[5][16] = {
    {0.0f, 0.129251823f, 0.169731006f, 0.151464701f, 0.108226493f, 0.0650068671f, 0.0334910341f,
     0.0149455173f, 0.00580789289f, 0.00197150093f, 0.000585696311f, 0.000152466644f,
     3.48061403e-05f, 6.9719822e-06f, 1.22587176e-06f, 1.89253385e-07f},
    {0.5f, 0.225258961f, 0.0146878548f, -0.100041211f, -0.128793657f, -0.106488086f, -0.0686104f,
     -0.0364604704f, -0.0163746923f, -0.00629395433f, -0.00208578119f, -0.000598727434f,
     -0.000149334766f, -3.24352295e-05f, -6.14456803e-06f, -1.01649357e-06f},
    {-0.39893648f, -0.349838793f, -0.228539959f, -0.0934468508f, 0.00470966753f, 0.0487774909f,
     0.0516930856f, 0.0364784077f, 0.0200450476f, 0.00903036725f, 0.00341529911f, 0.00109858194f,
     0.000302959292f, 7.20074531e-05f, 1.48052113e-05f, 2.64036294e-06f},
    {0.0f, 0.0859636143f, 0.127643034f, 0.113228612f, 0.0657966956f, 0.0186759811f, -0.00878164917f,
     -0.0162887778f, -0.0130484821f, -0.00746272691f, -0.0033739123f, -0.00125468196f,
     -0.000391599315f, -0.000103796716f, -2.35428943e-05f, -4.59348212e-06f},
    {0.0660094842f, 0.0481631272f, 0.00845444668f, -0.0255235843f, -0.0363471471f, -0.0269639734f,
     -0.0113450745f, -0.00028460793f, 0.00379253854f, 0.00356064504f, 0.00210237526f,
     0.00094138243f, 0.000339502352f, 0.000101416699f, 2.54908337e-05f, 5.44432487e-06f},
};

VEC_INLINE vec_t vec_gelu(vec_t x) {
    const vec_t u = vec_min(vec_set(5.57f), vec_abs(x));
    const vec_t round =
        vec_set(12582912.0f); /* 1.5 x 2^23: the last bits of z are the piece's number */
    const vec_t z = vec_fma(u, vec_set(64.0f / 23.0f), round);
    const vec_t r = vec_fma(z - round, vec_set(-23.0f / 64.0f), u);
    vec_t g = vec_lookup(gelu_pieces[4], z);
    g = vec_fma(g, r, vec_lookup(gelu_pieces[3], z));
    g = vec_fma(g, r, vec_lookup(gelu_pieces[2], z));
    g = vec_fma(g, r, vec_lookup(gelu_pieces[1], z));
    g = vec_fma(g, r, vec_lookup(gelu_pieces[0], z));
    return vec_max(vec_set(0.0f), x) - g;
}
#else
/* By one polynomial in t = u / 2.8 - 1. */
VEC_INLINE vec_t vec_gelu(vec_t x) {
    const vec_t u = vec_min(vec_set(5.6f), vec_abs(x));
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
    return vec_max(vec_set(0.0f), x) - g;
}
#endif

/* x / (1 + e^-y): silu for y = x, and gelu_new for y = 2 sqrt(2/pi) (x + 0.044715 x^3), because
 * (1 + tanh(z)) / 2 = 1 / (1 + e^-2z). */
VEC_INLINE vec_t vec_gate(vec_t x, vec_t y) {
    return x / (vec_set(1.0f) + vec_exp(vec_set(0.0f) - vec_max(vec_set(-88.0f), y)));
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
        return vec_max(vec_set(0.0f), x);
    case KERNEL_ACT_SILU:
        return vec_gate(x, x);
    case KERNEL_ACT_NONE:
        break;
    }
    return x;
}

#endif
