/* tokenizer_parts.h - what tokenizer_load.c puts together and tokenizer.c reads; text/ only. */
#ifndef EMBER_TEXT_TOKENIZER_PARTS_H
#define EMBER_TEXT_TOKENIZER_PARTS_H

#include "text/normalize.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

enum {
    TOKENIZER_WORD_CHARS = VOCAB_MATCH_CHARS, /* longest word a vocabulary may ask us to look at */
    TOKENIZER_SINGLES = 0x10000,
};

struct tokenizer {
    struct normalizer normal;
    vocab_t *vocab;
    vocab_t *added;   /* tokens found in the raw text before anything else, as [SEP] */
    bool starts[256]; /* bytes that one of those begins with */
    int32_t *singles; /* [TOKENIZER_SINGLES] id of a word of one code point, or unk */
    bool bare;        /* no [CLS] and [SEP]: cls and sep are VOCAB_NONE */
    int32_t cls, sep, unk;
    int32_t dropped;     /* this token is left out of every result, or VOCAB_NONE */
    uint32_t word_chars; /* a longer word is unk */
    uint32_t size;       /* largest id + 1 */
    int32_t second_type; /* segment of the second text and its [SEP] */
};

#endif
