/* vector.h - what a reply derives from a full vector: fewer dimensions, length 1, another encoding.
 *
 * Threads: pure functions. Sources: Matryoshka recipe of the nomic-embed-text-v1.5 model card (layer norm
 * without weights, cut, normalise); IEEE 754 binary16. */
#ifndef EMBER_ENGINE_VECTOR_H
#define EMBER_ENGINE_VECTOR_H

#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vector_encoding {
    VECTOR_F32 = 0, /* 4 bytes a number, little-endian */
    VECTOR_F16 = 1, /* 2 bytes, IEEE 754 binary16, rounded to nearest even */
    VECTOR_I8 = 2,  /* 1 byte: round(127 x / max |x|); the scale max |x| / 127 comes first as a float32 */
    VECTOR_BIT = 3, /* 1 bit: x > 0, most significant bit first, the last byte filled with zeros */
};

/* full[dim] -> out[dims or dim]. dims 0: all. With dims the Matryoshka recipe applies first; a cut vector
 * is normalised when `normalize` says so. A vector of length 0 stays 0. */
void vector_finish(const float *full, uint32_t dim, uint32_t dims, bool normalize, float *out);

/* Bytes of one encoded row of n numbers. */
size_t vector_row_bytes(enum vector_encoding encoding, uint32_t n);
/* Writes vector_row_bytes() bytes. */
void vector_encode(const float *x, uint32_t n, enum vector_encoding encoding, uint8_t *out);
/* The reverse, into out[n]; I8 and BIT (-1, +1) give approximations. */
void vector_decode(const uint8_t *row, uint32_t n, enum vector_encoding encoding, float *out);

/* Cosine of two vectors; 0 when either has length 0. Accumulated in float32 lanes. */
float vector_cosine(const float *a, const float *b, uint32_t n);

#endif
