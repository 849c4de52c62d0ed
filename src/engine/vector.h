/* vector.h - what a reply derives from a full vector: fewer dimensions, length 1, another
 * encoding.
 *
 *     full [dim]  ->  vector_finish()  ->  row [dims]  ->  vector_encode()  ->  bytes of the reply
 *
 * Threads: pure functions. Memory: nothing is allocated; the caller's arrays may not overlap.
 * Sources: Matryoshka recipe of the nomic-embed-text-v1.5 model card (layer norm without
 * weights, cut, normalise); IEEE 754-2019, binary16. */
#ifndef EMBER_ENGINE_VECTOR_H
#define EMBER_ENGINE_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vector_encoding {
    VECTOR_F32 = 0, /* 4 bytes a number, little-endian */
    VECTOR_F16 =
        1,         /* 2 bytes, IEEE 754 binary16, rounded to nearest even; beyond 65519: infinity */
    VECTOR_I8 = 2, /* 1 byte: 127 x / max |x|, rounded to nearest even; in front, as one float32,
                     * the scale max |x| / 127 by which a byte is multiplied to get x back */
    VECTOR_BIT = 3, /* 1 bit: x > 0, most significant bit first, the last byte filled with zeros */
};

/* full[dim] -> out[dims], or out[dim] when dims is 0. With dims > 0 (at most dim, also dims ==
 * dim) the Matryoshka recipe comes first:  v = (v - mean) / sqrt(variance + 1e-5)  over the
 * whole vector, then the first dims numbers. `normalize` divides what is left by its length; a
 * vector of length 0 stays 0. */
void vector_finish(const float *full, uint32_t dim, uint32_t dims, bool normalize, float *out);

/* Bytes of one encoded row of n numbers. */
size_t vector_row_bytes(enum vector_encoding encoding, uint32_t n);
/* Writes vector_row_bytes() bytes; `out` needs no alignment. */
void vector_encode(const float *x, uint32_t n, enum vector_encoding encoding, uint8_t *out);
/* The reverse, into out[n]; I8 and BIT (-1, +1) give approximations. `row` needs no alignment. */
void vector_decode(const uint8_t *row, uint32_t n, enum vector_encoding encoding, float *out);

/* Cosine of two vectors, -1 to 1; 0 when either has length 0. Accumulated in float32 lanes: the
 * last digits depend on the compiler, about 1e-6 of it. */
float vector_cosine(const float *a, const float *b, uint32_t n);

#endif
