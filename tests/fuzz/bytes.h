/* bytes.h - a fuzzer's input as a stream of small decisions. At its end every answer is 0, so that
 * no input is too short. */
#ifndef EMBER_FUZZ_BYTES_H
#define EMBER_FUZZ_BYTES_H

#include "base/view.h"
#include "wire/header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *at;
    size_t left;
};

static inline uint64_t bytes_take(struct bytes *self, unsigned n) {
    uint64_t value = 0;
    for (unsigned i = 0; i < n && self->left; i++, self->left--)
        value = value << 8 | *self->at++;
    return value;
}

static inline uint8_t bytes_u8(struct bytes *self) {
    return (uint8_t)bytes_take(self, 1);
}

static inline uint32_t bytes_below(struct bytes *self, uint32_t n) {
    return (uint32_t)bytes_take(self, n > 256 ? 2 : 1) % n;
}

/* The next bytes themselves, at most `max` of them: their number comes first, as one byte. */
static inline struct view bytes_some(struct bytes *self, size_t max) {
    size_t n = bytes_u8(self);
    n = n < max ? n : max;
    n = n < self->left ? n : self->left;
    struct view some = view_make(self->at, n);
    self->at += n;
    self->left -= n;
    return some;
}

/* What a stranger may put into a header is what header_parse() lets through. */
static inline bool bytes_header(struct header *header) {
    uint8_t packed[HEADER_BYTES];
    header_pack(header, packed);
    return header_parse(packed, sizeof packed, header) == HEADER_OK;
}

#endif
