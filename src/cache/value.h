/* value.h - what stands under a key: one line for people, then the numbers.
 *
 *     ember1 emb dim=384 type=f32 tokens=9 truncated=0 sha=<24 hex> crc=<8 hex>      LF
 *     ember1 cls labels=3 tokens=9 truncated=0 sha=<24 hex> crc=<8 hex>              LF
 *     ember1 rank tokens=31 truncated=0 sha=<24 hex> crc=<8 hex>                     LF
 *
 * The line is VALUE_HEADER_BYTES of ASCII, padded with blanks, its last byte LF: `redis-cli
 * getrange KEY 0 95` shows it. `emb`: dim float32 numbers follow, little-endian. `cls`: a JSON
 * object {"label":score,...} follows, labels in bytewise order, scores with the nine digits that
 * bring a float32 back (Goldberg 1991, "What every computer scientist should know...", theorem
 * 15). `rank`: {"logit":x} follows, with as many digits; the score is 1 / (1 + e^-x). The logit is
 * kept because scores of clear answers are all 1 in a float32, and their order would be lost.
 * sha: the first 96 bits of the SHA-256 of the digest input (key.h). crc: CRC-32 (zlib's) of
 * the header up to and without " crc=", then of all that follows the header.
 *
 * Reading is strict: whatever deviates from this form is not read.
 * Threads: pure functions. Memory: the caller's. */
#ifndef EMBER_CACHE_VALUE_H
#define EMBER_CACHE_VALUE_H

#include "cache/key.h"

enum { VALUE_HEADER_BYTES = 96, VALUE_SHA_BYTES = 12 };
enum { VALUE_NUMBERS_MAX = LIMIT_DIM };
_Static_assert((int)KEY_LABELS_MAX <= (int)VALUE_NUMBERS_MAX, "scores fit where vectors do");

/* A result, as the cache takes it and gives it. A `truncated` one answers a request that forbids
 * cutting with an error: that choice is not in the key. */
struct cache_entry {
    enum cache_kind kind;
    bool truncated;
    uint32_t tokens;      /* that were used, special ones included */
    uint32_t n;           /* dim, or number of labels, or 1 */
    const float *numbers; /* [n] full vector, or scores in key_labels' sorted order, or the logit;
                           * borrowed */
};

/* Why a value is no answer to a key. */
enum value_fault {
    VALUE_OK,
    VALUE_MALFORMED,  /* not what we would have written */
    VALUE_OTHER_TEXT, /* sha differs: an MD5 collision, or a value moved by hand */
    VALUE_CRC,        /* damaged */
    VALUE_SHAPE,      /* another kind, dim, number of labels, or other labels */
    VALUE_FAULTS
};
const char *value_fault_name(enum value_fault fault); /* "malformed" "other-text" "crc" "shape" */

/* The header's facts, for people's tools. */
struct value_facts {
    enum cache_kind kind;
    bool truncated;
    uint32_t n, tokens;
    uint8_t sha[VALUE_SHA_BYTES];
    struct view payload; /* borrowed from the value */
};
/* Header, payload size of an `emb`, and crc; never VALUE_OTHER_TEXT or VALUE_SHAPE. */
enum value_fault value_facts(struct view value, struct value_facts *out);

/* Whether `value` is the entry of `key`. On VALUE_OK numbers[0..key->n) is filled (the caller's
 * array of at least key->n) and *out points to it; otherwise *out is untouched and numbers are
 * not to be used. */
enum value_fault value_parse(struct view value, const struct cache_key *key, float *numbers,
                             struct cache_entry *out);

/* Write the value of `entry` under `key` into out[0..out_bytes). `labels` is what the key was
 * made with, NULL unless it is a `cls`. Returns its bytes; 0 when the entry cannot be written: it
 * does not fit into out_bytes, a number is not finite, entry and key disagree, or the facts do not
 * fit the header line: an `emb` of four digits of dimensions has up to 99,999 tokens. */
size_t value_write(const struct cache_key *key, const struct cache_entry *entry,
                   const struct key_labels *labels, char *out, size_t out_bytes);

#endif
