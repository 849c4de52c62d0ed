/* codec.h - bodies <-> plain structs. Every limit on what a peer may say is checked here, once.
 *
 * Decoding: `body` is borrowed; the struct's views point into `arena`, which lives as long as the
 * struct is used. The arena is a hard cap on what a body can make us allocate
 * (codec_arena_bytes(), codec_reply_arena_bytes()); a body that wants more is refused. On
 * STATUS_OK the struct is valid by construction: counts and lengths within limits.h, text is
 * UTF-8, enums are known. Otherwise STATUS_INVALID_ARGUMENT (what is too large can never succeed
 * as it is) with a message for the peer, which never quotes a user's text; *item (where given) is
 * 1 + the index of the text at fault, or 0.
 *
 * Encoding: into a wire_out, whose memory grows to its largest message and is then reused.
 *
 * Threads: pure functions; a wire_out belongs to its owner. */
#ifndef EMBER_WIRE_CODEC_H
#define EMBER_WIRE_CODEC_H

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_task {
    WIRE_TASK_NONE,
    WIRE_TASK_EMBED,
    WIRE_TASK_CLASSIFY,
    WIRE_TASK_RERANK,
    WIRE_TASK_TOKENIZE,
    WIRE_TASKS
};
enum wire_encoding { WIRE_ENCODING_F32, WIRE_ENCODING_F16, WIRE_ENCODING_I8, WIRE_ENCODING_BIT };
enum wire_truncate { WIRE_TRUNCATE_RIGHT, WIRE_TRUNCATE_LEFT, WIRE_TRUNCATE_OFF };
enum wire_cache { WIRE_CACHE_USE, WIRE_CACHE_BYPASS, WIRE_CACHE_REFRESH };
enum wire_source { WIRE_SOURCE_MODEL, WIRE_SOURCE_SHARED, WIRE_SOURCE_MEMORY, WIRE_SOURCE_REDIS };
enum wire_head { WIRE_HEAD_NONE, WIRE_HEAD_LABELS, WIRE_HEAD_NLI, WIRE_HEAD_SCORE, WIRE_HEADS };
enum wire_normalize { WIRE_NORMALIZE_MODEL, WIRE_NORMALIZE_NO, WIRE_NORMALIZE_YES };

/* Bytes of one row of `dim` numbers in a reply. */
size_t wire_row_bytes(enum wire_encoding encoding, uint32_t dim);

const char *wire_task_name(enum wire_task task);       /* "embed" ... */
const char *wire_head_name(enum wire_head head);       /* "none" "labels" "nli" "score" */
const char *wire_source_name(enum wire_source source); /* "model" "shared" "memory" "redis" */

struct wire_out {
    uint8_t *data;
    size_t bytes; /* of the last message */
    size_t room;
};

void wire_out_done(struct wire_out *self);
static inline struct view wire_out_view(const struct wire_out *self) {
    return view_make(self->data, self->bytes);
}

/* What an arena needs to decode any body of body_bytes that keeps the limits; a reply may name
 * LIMIT_LABELS labels of a byte each. */
size_t codec_arena_bytes(size_t body_bytes);
size_t codec_reply_arena_bytes(size_t body_bytes);

/* ---- shared */

struct wire_times {
    uint32_t cache_us, queue_us, tokenize_us, infer_us, total_us;
};

struct wire_facts { /* lists have one entry per text */
    uint32_t n;
    const uint32_t *tokens;
    const uint8_t *truncated; /* 0 or 1 */
    const uint8_t *source;    /* enum wire_source */
    struct view model, fingerprint, worker;
    struct wire_times times;
};

struct wire_error {
    struct view message;
    uint32_t item;
    uint32_t retry_after_ms;
    bool may_have_run;
};

enum status codec_error_encode(const struct wire_error *in, struct wire_out *out);
enum status codec_error_decode(struct view body, struct arena *arena, struct wire_error *out,
                               struct err *err);

/* ---- tasks; n_* counts are 1..LIMIT_REQUEST_* unless they say otherwise */

struct wire_embed_request {
    const struct view *texts;
    uint32_t n_texts;
    enum wire_normalize normalize;
    uint32_t dimensions; /* 0: all; at most LIMIT_DIM */
    enum wire_encoding encoding;
    struct view prompt_name, prompt_prefix; /* at most one is not empty */
    enum wire_truncate truncate;
    enum wire_cache cache;
    uint32_t max_tokens; /* 0: the model's */
    struct view traceparent;
};
enum status codec_embed_request_encode(const struct wire_embed_request *in, struct wire_out *out);
enum status codec_embed_request_decode(struct view body, struct arena *arena,
                                       struct wire_embed_request *out, uint32_t *item,
                                       struct err *err);

struct wire_embed_reply {
    uint32_t dim;
    enum wire_encoding encoding;
    struct view vectors;
    struct wire_facts facts;
};
enum status codec_embed_reply_encode(const struct wire_embed_reply *in, struct wire_out *out);
enum status codec_embed_reply_decode(struct view body, struct arena *arena,
                                     struct wire_embed_reply *out, struct err *err);

struct wire_classify_request {
    const struct view *texts;
    uint32_t n_texts;
    const struct view *labels;       /* no two alike */
    uint32_t n_labels;               /* 0: the model's own head */
    struct view hypothesis_template; /* empty, or holds exactly one {} */
    bool multi_label;
    uint32_t top_k; /* 0: all */
    enum wire_truncate truncate;
    enum wire_cache cache;
    struct view traceparent;
    const struct view *seconds; /* [n_texts] the other text of each pair, or NULL */
    uint32_t max_tokens;        /* 0: the model's */
};
enum status codec_classify_request_encode(const struct wire_classify_request *in,
                                          struct wire_out *out);
enum status codec_classify_request_decode(struct view body, struct arena *arena,
                                          struct wire_classify_request *out, uint32_t *item,
                                          struct err *err);

struct wire_scores { /* best first */
    const uint32_t *label;
    const float *score;
    uint32_t n;
};
struct wire_classify_reply {
    const struct view *labels;
    uint32_t n_labels;                 /* 0..LIMIT_LABELS; a model's own may be alike */
    const struct wire_scores *results; /* one per text */
    uint32_t n_results;
    struct wire_facts facts;
};
enum status codec_classify_reply_encode(const struct wire_classify_reply *in, struct wire_out *out);
enum status codec_classify_reply_decode(struct view body, struct arena *arena,
                                        struct wire_classify_reply *out, struct err *err);

struct wire_rerank_request {
    struct view query;
    const struct view *documents;
    uint32_t n_documents;
    uint32_t top_k; /* 0: all */
    enum wire_cache cache;
    struct view traceparent;
    enum wire_truncate truncate;
    uint32_t max_tokens; /* 0: the model's */
};
enum status codec_rerank_request_encode(const struct wire_rerank_request *in, struct wire_out *out);
enum status codec_rerank_request_decode(struct view body, struct arena *arena,
                                        struct wire_rerank_request *out, uint32_t *item,
                                        struct err *err);

struct wire_rerank_reply {
    const uint32_t *index; /* [n] of documents, best first; no two alike */
    const float *score;    /* [n] 0..1 */
    uint32_t n;            /* at most facts.n */
    struct wire_facts facts;
    const float *logit; /* [n] no NaN; NULL: not told */
};
enum status codec_rerank_reply_encode(const struct wire_rerank_reply *in, struct wire_out *out);
enum status codec_rerank_reply_decode(struct view body, struct arena *arena,
                                      struct wire_rerank_reply *out, struct err *err);

struct wire_tokenize_request {
    const struct view *texts;
    uint32_t n_texts;
    enum wire_truncate truncate;
    bool pieces;
    struct view traceparent;
};
enum status codec_tokenize_request_encode(const struct wire_tokenize_request *in,
                                          struct wire_out *out);
enum status codec_tokenize_request_decode(struct view body, struct arena *arena,
                                          struct wire_tokenize_request *out, uint32_t *item,
                                          struct err *err);

struct wire_tokens {
    const uint32_t *ids;
    uint32_t n_ids;
    const struct view *pieces; /* n_ids of them, or NULL */
    uint32_t full;
};
struct wire_tokenize_reply {
    const struct wire_tokens *results;
    uint32_t n_results;
    struct wire_facts facts;
};
enum status codec_tokenize_reply_encode(const struct wire_tokenize_reply *in, struct wire_out *out);
enum status codec_tokenize_reply_decode(struct view body, struct arena *arena,
                                        struct wire_tokenize_reply *out, struct err *err);

#endif
