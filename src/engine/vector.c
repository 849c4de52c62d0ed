/* vector.c - arithmetic on one finished vector, done once per text of a reply.
 *
 * Lengths and means are summed in double: a row has at most a few thousand numbers, it costs
 * nothing beside the model, and the reply is then as exact as its encoding allows. The cosine is
 * the exception: classification takes 64 of them per text, so it runs in float lanes that
 * compilers turn into vector registers. binary16 is converted by hand, because not every CPU and
 * compiler that we build for has the type. */
#include "engine/vector.h"

#include "base/check.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are copied as they lie in memory");

enum { LANES = 16 };

#define MATRYOSHKA_EPS 1e-5 /* of the model card's layer norm */

static void layer_norm(const float *x, uint32_t dim, uint32_t keep, float *out) {
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += (double)x[i];
    double mean = sum / dim;
    for (uint32_t i = 0; i < dim; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double scale = 1 / sqrt(squares / dim + MATRYOSHKA_EPS);
    for (uint32_t i = 0; i < keep; i++)
        out[i] = (float)(((double)x[i] - mean) * scale);
}

void vector_finish(const float *full, uint32_t dim, uint32_t dims, bool normalize, float *out) {
    CHECK(dims <= dim);
    uint32_t n = dims ? dims : dim;
    if (dims)
        layer_norm(full, dim, dims, out);
    else
        memcpy(out, full, dim * sizeof *out);
    if (!normalize)
        return;
    double squares = 0;
    for (uint32_t i = 0; i < n; i++)
        squares += (double)out[i] * (double)out[i];
    double scale = squares > 0 ? 1 / sqrt(squares) : 0;
    for (uint32_t i = 0; i < n; i++)
        out[i] = (float)((double)out[i] * scale);
}

/* binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. Adding half of the last kept bit,
 * less one when that bit is even, rounds to nearest even and carries into the exponent by
 * itself. */
static uint16_t half_from(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00); /* NaN */
    if (magnitude >= 0x47800000)
        return (uint16_t)(sign | 0x7c00); /* 65536 and more */
    if (magnitude >= 0x38800000) { /* 2^-14: a normal half; 65520 and more carry to infinity */
        uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
        return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
    }
    if (magnitude < 0x33000000) /* below 2^-25: nearer to 0 than to the smallest half, 2^-24 */
        return (uint16_t)sign;
    uint32_t shift = 126 - (magnitude >> 23); /* 14 .. 24: brings the fraction to units of 2^-24 */
    uint32_t fraction = (magnitude & 0x7fffff) | 0x800000;
    uint32_t half_way = 1U << (shift - 1), kept = fraction >> shift;
    uint32_t rest = fraction & ((1U << shift) - 1);
    if (rest > half_way || (rest == half_way && (kept & 1)))
        kept++;
    return (uint16_t)(sign | kept);
}

static float half_to(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    uint32_t fraction = half & 0x3ff, bits;
    if (exponent == 0) { /* zero or subnormal: fraction x 2^-24, exact in float */
        float x = (float)fraction * 0x1p-24f;
        return sign ? -x : x;
    }
    if (exponent == 31)
        bits = sign | 0x7f800000 | fraction << 13;
    else
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

size_t vector_row_bytes(enum vector_encoding encoding, uint32_t n) {
    switch (encoding) {
    case VECTOR_F32:
        return (size_t)n * 4;
    case VECTOR_F16:
        return (size_t)n * 2;
    case VECTOR_I8:
        return (size_t)n + 4;
    case VECTOR_BIT:
        return ((size_t)n + 7) / 8;
    }
    CHECK(false); /* not of the enum */
    return 0;
}

static void encode_i8(const float *x, uint32_t n, uint8_t *out) {
    float largest = 0;
    for (uint32_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    float scale = largest / 127;
    memcpy(out, &scale, sizeof scale);
    for (uint32_t i = 0; i < n; i++) { /* x / largest first: 127 / largest can overflow */
        long q = largest > 0 ? lrintf(x[i] / largest * 127) : 0;
        out[4 + i] = (uint8_t)(int8_t)q;
    }
}

void vector_encode(const float *x, uint32_t n, enum vector_encoding encoding, uint8_t *out) {
    switch (encoding) {
    case VECTOR_F32:
        memcpy(out, x, (size_t)n * 4);
        return;
    case VECTOR_F16:
        for (uint32_t i = 0; i < n; i++) {
            uint16_t half = half_from(x[i]);
            memcpy(out + 2 * (size_t)i, &half, sizeof half);
        }
        return;
    case VECTOR_I8:
        encode_i8(x, n, out);
        return;
    case VECTOR_BIT:
        memset(out, 0, vector_row_bytes(VECTOR_BIT, n));
        for (uint32_t i = 0; i < n; i++)
            if (x[i] > 0)
                out[i / 8] = (uint8_t)(out[i / 8] | 0x80 >> i % 8);
        return;
    }
    CHECK(false); /* not of the enum */
}

void vector_decode(const uint8_t *row, uint32_t n, enum vector_encoding encoding, float *out) {
    float scale;
    switch (encoding) {
    case VECTOR_F32:
        memcpy(out, row, (size_t)n * 4);
        return;
    case VECTOR_F16:
        for (uint32_t i = 0; i < n; i++) {
            uint16_t half;
            memcpy(&half, row + 2 * (size_t)i, sizeof half);
            out[i] = half_to(half);
        }
        return;
    case VECTOR_I8:
        memcpy(&scale, row, sizeof scale);
        for (uint32_t i = 0; i < n; i++)
            out[i] = (float)(int8_t)row[4 + i] * scale;
        return;
    case VECTOR_BIT:
        for (uint32_t i = 0; i < n; i++)
            out[i] = row[i / 8] & 0x80 >> i % 8 ? 1.0f : -1.0f;
        return;
    }
    CHECK(false); /* not of the enum */
}

float vector_cosine(const float *a, const float *b, uint32_t n) {
    float ab[LANES] = {0}, aa[LANES] = {0}, bb[LANES] = {0};
    uint32_t whole = n - n % LANES;
    for (uint32_t i = 0; i < whole; i += LANES)
        for (uint32_t j = 0; j < LANES; j++) {
            ab[j] += a[i + j] * b[i + j];
            aa[j] += a[i + j] * a[i + j];
            bb[j] += b[i + j] * b[i + j];
        }
    for (uint32_t i = whole; i < n; i++) {
        ab[i - whole] += a[i] * b[i];
        aa[i - whole] += a[i] * a[i];
        bb[i - whole] += b[i] * b[i];
    }
    double dot = 0, length_a = 0, length_b = 0;
    for (uint32_t j = 0; j < LANES; j++) {
        dot += (double)ab[j];
        length_a += (double)aa[j];
        length_b += (double)bb[j];
    }
    if (length_a <= 0 || length_b <= 0)
        return 0;
    return (float)fmax(-1, fmin(1, dot / sqrt(length_a * length_b)));
}
