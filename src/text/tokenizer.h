/* tokenizer.h - text in, token ids out: BERT's WordPiece over the loaded model's vocabulary.
 *
 *     "Refunds, please"  ->  [CLS] refund ##s , please [SEP]  ->  ids
 *
 * Equal, id for id, to Hugging Face's Rust tokenizers with a BertNormalizer, BertPreTokenizer and
 * WordPiece model. Special tokens written out in the text ([CLS], [SEP], [MASK], [PAD], [UNK])
 * become their ids, as in the reference.
 *
 * Threads: immutable after tokenizer_load(); any number of threads may share one.
 * Memory:  encoding allocates nothing; ids go to the caller's arrays. */
#ifndef EMBER_TEXT_TOKENIZER_H
#define EMBER_TEXT_TOKENIZER_H

#include "base/err.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct tokenizer tokenizer_t;

enum tokenizer_side { TOKENIZER_CUT_RIGHT, TOKENIZER_CUT_LEFT }; /* which end of a long text goes */

enum tokenizer_pair_cut {
    TOKENIZER_LONGEST_FIRST, /* shared between both texts as the reference does */
    TOKENIZER_ONLY_FIRST,    /* the second text stays whole as far as it fits */
};

/* Load from a published model directory: tokenizer.json (WordPiece only), else vocab.txt with
 * tokenizer_config.json (do_lower_case, strip_accents, tokenize_chinese_chars, special token names,
 * added_tokens_decoder; all optional, without it lower-casing is on). Truncation and padding blocks
 * inside tokenizer.json are ignored. Ids of special tokens are looked up by name. Some
 * milliseconds; *out is the caller's and untouched on failure.
 *   STATUS_NOT_FOUND      neither file is there
 *   STATUS_DATA_LOSS      malformed: JSON, UTF-8, a repeated piece or id, no [CLS], [SEP] or [UNK]
 *   STATUS_UNIMPLEMENTED  another kind of tokenizer (BPE, Unigram ...), or a setting that asks for
 *                         ids we do not make (as added tokens of normalized text)
 *   STATUS_RESOURCE_EXHAUSTED  beyond a limit or no memory
 *   STATUS_UNAVAILABLE    a file cannot be read
 * The message names the file and what is wrong or missing in it. */
enum status tokenizer_load(const char *dir, tokenizer_t **out, struct err *err);

/* How models without an encoder want their tokens: averages of token vectors (model2vec,
 * StaticEmbedding) know neither position nor mark. */
struct tokenizer_options {
    bool bare;         /* no [CLS], no [SEP]; the files need not have them */
    bool drop_unknown; /* [UNK] is left out, and not counted */
};

/* tokenizer_load() with options; NULL: none of them. */
enum status tokenizer_load_with(const char *dir, const struct tokenizer_options *options,
                                tokenizer_t **out, struct err *err);

/* The same from bytes: `vocab` one piece per line split at LF only, the line number is the id. */
enum status tokenizer_from_vocab(struct view vocab, bool lowercase, tokenizer_t **out,
                                 struct err *err);

/* The same from the bytes of a tokenizer.json. */
enum status tokenizer_from_json(struct view text, tokenizer_t **out, struct err *err);
enum status tokenizer_from_json_with(struct view text, const struct tokenizer_options *options,
                                     tokenizer_t **out, struct err *err);
void tokenizer_destroy(tokenizer_t **self); /* NULL is fine; sets *self to NULL */

uint32_t tokenizer_vocab_size(const tokenizer_t *self); /* largest id + 1 */
bool tokenizer_lowercase(const tokenizer_t *self);

/* The median length of all pieces in code points, prefixes of pieces included, rounded down: what
 * model2vec multiplies with its limit of tokens to cut a text before it looks at it. */
uint32_t tokenizer_median_piece(const tokenizer_t *self);

/* Encode `text` (any bytes, of any length; bytes that are not UTF-8 read as U+FFFD) into
 * ids[0..max_tokens), [CLS] and [SEP] included, max_tokens >= 2 (bare: >= 1). Returns how many
 * ids were written and, in *n_full when it is not NULL, how many there would be without the cut.
 * It cannot fail. TOKENIZER_CUT_LEFT keeps the last max_tokens - 2 tokens. Without n_full a cut
 * on the right ends early. */
uint32_t tokenizer_encode(const tokenizer_t *self, struct view text, uint32_t max_tokens,
                          enum tokenizer_side side, int32_t *ids, uint32_t *n_full);

/* [CLS] a [SEP] b [SEP] with segments types[] 0..0 1..1; an empty b is still a pair. Bare: a b.
 * max_tokens >= 3. Both are cut on the right. ids[] and types[] have max_tokens entries. */
uint32_t tokenizer_encode_pair(const tokenizer_t *self, struct view a, struct view b,
                               uint32_t max_tokens, enum tokenizer_pair_cut cut, int32_t *ids,
                               int32_t *types, uint32_t *n_full);

/* The piece of an id; empty for an id that has none. */
struct view tokenizer_piece(const tokenizer_t *self, int32_t id);

/* A quick guess of the number of tokens, specials included, from bytes alone, for packing batches;
 * about right for Chinese and English, never below 2. */
uint32_t tokenizer_estimate(struct view text);

#endif
