/* utf8.h - UTF-8 as RFC 3629 has it: shortest form, no surrogates, at most U+10FFFF. */
#ifndef EMBER_BASE_UTF8_H
#define EMBER_BASE_UTF8_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

/* Offset of the first byte that is not valid UTF-8, or text.bytes when all of it is. */
size_t utf8_valid_prefix(struct view text);

static inline bool utf8_valid(struct view text) {
    return utf8_valid_prefix(text) == text.bytes;
}

/* The code point at p (p < end); *bytes gets its length in bytes.
 * A malformed byte reads as U+FFFD with length 1, so a caller always moves on. */
uint32_t utf8_next(const char *p, const char *end, unsigned *bytes);

/* Writes 1 to 4 bytes; returns how many. cp must be a scalar value. */
unsigned utf8_put(uint32_t cp, char *out);

/* Whether cp is a CJK ideograph (Han), as BERT's tokenizers tell: each is a word there. */
bool utf8_is_ideograph(uint32_t cp);

/* Code points in valid UTF-8. */
size_t utf8_count(struct view text);

#endif
