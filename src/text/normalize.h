/* normalize.h - what BERT's normalizer and word splitter make of one code point.
 *
 *     'É'  -> word, 'e'          U+00A0 -> space          U+200B -> dropped
 *     '中' -> alone, itself      ','    -> alone          '각'   -> expands to three jamo
 *
 * Cleaning, isolation of ideographs, accent stripping (NFD, then without category Mn), lower-casing
 * and the split at white space and punctuation all look at one code point at a time. So their
 * result is one rule per code point, computed once from utf8proc and kept in shared pages: encoding
 * asks a table. Only the order of combining marks looks at neighbours; normalizer_expand() gives
 * what that takes.
 *
 * Equal to Hugging Face's BertNormalizer and BertPreTokenizer, whose tables for marks, punctuation
 * and format characters are those of Unicode 8, for decomposition Unicode 12 and for case Unicode
 * 17; the differences to utf8proc's Unicode 15 are listed in normalize.c.
 *
 * Threads: immutable after normalizer_init(). */
#ifndef EMBER_TEXT_NORMALIZE_H
#define EMBER_TEXT_NORMALIZE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct normalizer_options {
    bool clean;     /* drop control characters, make every white space a space */
    bool ideograph; /* every CJK ideograph is a word of its own */
    bool strip;     /* strip accents */
    bool lowercase;
};

enum normal_kind {
    NORMAL_WORD,  /* part of a word */
    NORMAL_ALONE, /* a word by itself: punctuation, an ideograph */
    NORMAL_SPACE, /* ends a word */
    NORMAL_DROP,  /* nothing */
    NORMAL_FENCE, /* nothing, but combining marks do not change places across it */
    NORMAL_SLOW,  /* several items, or a mark that must be put in order: normalizer_expand() */
};

enum {
    NORMAL_ITEMS_MAX = 8, /* items of one code point; Unicode's longest canonical expansion is 4 */
    NORMAL_PAGE = 256,    /* code points of a page */
    NORMAL_PAGES = 0x110000 / NORMAL_PAGE,
};

struct normal_item {
    enum normal_kind kind; /* WORD, ALONE, SPACE or FENCE */
    uint32_t cp;           /* of WORD and ALONE */
    uint8_t order;         /* canonical combining class of a WORD item; 0 does not move */
};

struct normalizer {
    struct normalizer_options options;
    uint32_t *pages; /* [n_pages][NORMAL_PAGE] rules; equal pages are kept once */
    uint32_t n_pages;
    uint16_t page_of[NORMAL_PAGES];
};

/* Builds the table, some milliseconds; false when there is no memory (normalizer_done() is still
 * fine). */
bool normalizer_init(struct normalizer *self, struct normalizer_options options);
void normalizer_done(struct normalizer *self);

/* The items of one code point in order; returns how many, 0 when it is dropped. */
unsigned normalizer_expand(const struct normalizer *self, uint32_t cp,
                           struct normal_item items[NORMAL_ITEMS_MAX]);

/* Canonical combining class as the reference has it. */
uint8_t normalizer_order(uint32_t cp);

/* Unicode version of the tables beneath, "15.0.0". */
const char *normalizer_unicode(void);

/* A rule is a kind and, for WORD and ALONE, what the code point turns into. */
typedef uint32_t normal_rule_t;

static inline normal_rule_t normalizer_rule(const struct normalizer *self, uint32_t cp) {
    return self->pages[(uint32_t)self->page_of[cp / NORMAL_PAGE] * NORMAL_PAGE + cp % NORMAL_PAGE];
}

static inline enum normal_kind normal_rule_kind(normal_rule_t rule) {
    return (enum normal_kind)(rule & 0xff);
}

/* 0 in the upper bits means "itself", so that pages without changes are all the same page. */
static inline uint32_t normal_rule_cp(normal_rule_t rule, uint32_t cp) {
    return rule >> 8 ? rule >> 8 : cp;
}

#endif
