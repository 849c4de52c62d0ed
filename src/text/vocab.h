/* vocab.h - the pieces of a vocabulary: text to id, id to text, and the longest piece a word begins
 * with.
 *
 *     prefix "##", pieces "re" 0, "fund" 1, "##fund" 2, "##s" 3
 *     vocab_longest("refunds", false) -> 0, 2 bytes;  vocab_longest("funds", true) -> 2, 4 bytes
 *
 * Ids may have gaps. Threads: immutable once it is built. */
#ifndef EMBER_TEXT_VOCAB_H
#define EMBER_TEXT_VOCAB_H

#include "base/err.h"
#include "base/view.h"
#include "json/json.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct vocab vocab_t;

enum {
    VOCAB_NONE = -1,
    VOCAB_MATCH_CHARS = 512, /* vocab_longest() looks at no more code points than these */
    VOCAB_PREFIX_MAX = 16,   /* bytes of the prefix of a continuing piece */
};

/* An empty vocabulary with room for ids 0..n_ids-1 whose pieces have `bytes` bytes together;
 * `prefix` marks pieces that continue a word, at most VOCAB_PREFIX_MAX bytes. NULL when there is no
 * memory. */
vocab_t *vocab_new(uint32_t n_ids, size_t bytes, struct view prefix);
void vocab_destroy(vocab_t **self); /* NULL is fine; sets *self to NULL */

/* Gives `id` a piece (not empty, copied). False when the id or the piece is taken. */
bool vocab_add(vocab_t *self, int32_t id, struct view piece);

/* From vocab.txt: one piece per line, split at LF only (U+2028 is a piece of the Chinese
 * vocabulary), the line number is the id, one CR before the LF is not part of the piece, an empty
 * line is a gap.
 *   STATUS_DATA_LOSS           not UTF-8, a NUL, or a piece that stands there twice
 *   STATUS_RESOURCE_EXHAUSTED  more than LIMIT_VOCAB lines, or no memory */
enum status vocab_from_lines(struct view text, struct view prefix, vocab_t **out, struct err *err);

/* From a JSON object, piece to id; also STATUS_DATA_LOSS when an id is no number or comes twice. */
enum status vocab_from_json(const json_t *map, struct view prefix, vocab_t **out, struct err *err);

/* Id of a whole piece, prefix included, or VOCAB_NONE. */
int32_t vocab_find(const vocab_t *self, struct view piece);

/* Id of the longest piece that `rest` (not empty) begins with, cut between code points, or
 * VOCAB_NONE. `continuing` asks for pieces with the prefix in front. *bytes: how much of `rest` it
 * covers. */
int32_t vocab_longest(const vocab_t *self, struct view rest, bool continuing, size_t *bytes);

/* The piece of an id; empty for one that has none. */
struct view vocab_piece(const vocab_t *self, int32_t id);

uint32_t vocab_size(const vocab_t *self); /* room for ids: largest possible id + 1 */

#endif
