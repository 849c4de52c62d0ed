/* utf8.c - decoding by the table of RFC 3629, section 4 (Unicode 15, table 3-7). */
#include "base/utf8.h"

/* Length of a sequence by its first byte, 0 for a byte that cannot start one. */
static unsigned lead_length(unsigned char c) {
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

static bool second_ok(unsigned char lead, unsigned char c) {
    if (lead == 0xe0)
        return c >= 0xa0 && c <= 0xbf;
    if (lead == 0xed)
        return c >= 0x80 && c <= 0x9f;
    if (lead == 0xf0)
        return c >= 0x90 && c <= 0xbf;
    if (lead == 0xf4)
        return c >= 0x80 && c <= 0x8f;
    return c >= 0x80 && c <= 0xbf;
}

/* Length of the valid sequence at p, or 0. */
static unsigned sequence(const unsigned char *p, const unsigned char *end) {
    unsigned n = lead_length(*p);
    if (n == 0 || (size_t)(end - p) < n)
        return 0;
    if (n > 1 && !second_ok(p[0], p[1]))
        return 0;
    for (unsigned i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return n;
}

size_t utf8_valid_prefix(struct view text) {
    if (text.bytes == 0)
        return 0; /* data may be NULL, and nothing may be added to NULL, not even 0 */
    const unsigned char *start = (const unsigned char *)text.data, *p = start;
    const unsigned char *end = start + text.bytes;
    while (p < end) {
        if ((size_t)(end - p) >= 8) { /* eight ASCII bytes at a time */
            uint64_t w;
            memcpy(&w, p, 8);
            if ((w & 0x8080808080808080u) == 0) {
                p += 8;
                continue;
            }
        }
        unsigned n = sequence(p, end);
        if (n == 0)
            break;
        p += n;
    }
    return (size_t)(p - start);
}

uint32_t utf8_next(const char *p, const char *end, unsigned *bytes) {
    const unsigned char *u = (const unsigned char *)p;
    unsigned n = sequence(u, (const unsigned char *)end);
    *bytes = n ? n : 1;
    switch (n) {
    case 1:
        return u[0];
    case 2:
        return (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
    case 3:
        return (uint32_t)(u[0] & 0x0f) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    case 4:
        return (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3f) << 12 |
               (uint32_t)(u[2] & 0x3f) << 6 | (u[3] & 0x3f);
    default:
        return 0xfffd;
    }
}

unsigned utf8_put(uint32_t cp, char *out) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

size_t utf8_count(struct view text) {
    size_t n = 0;
    for (size_t i = 0; i < text.bytes; i++)
        n += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return n;
}

/* BERT's ranges: the reference begins one block at U+2B920 where Unicode has U+2B820. */
bool utf8_is_ideograph(uint32_t cp) {
    static const uint32_t ranges[][2] = {
        {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},   {0x20000, 0x2a6df},
        {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (cp >= ranges[i][0] && cp <= ranges[i][1])
            return true;
    return false;
}
