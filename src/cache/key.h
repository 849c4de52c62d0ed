/* key.h - what a result is called in the cache. A person can make the same name with md5sum:
 *
 *     ember:<model>@<fingerprint8>:emb:<md5>     md5 of  prompt prefix + text
 *     ember:<model>@<fingerprint8>:cls:<md5>     md5 of  prompt prefix + text::label1,label2,...
 *     ember:<model>@<fingerprint8>:rank:<md5>    md5 of  query::document
 *
 *     printf '%s' 'text::complaint,praise' | md5sum
 *     printf '%s' 'how late is it?::The time is 12\:30\, roughly.' | md5sum
 *
 * Labels stand in bytewise order, with '\', ',' and ':' escaped by '\'; a model's own labels (a
 * fixed head) are part of its fingerprint and leave the list empty: 'text::'. What alters a result
 * is named in the key, in this order: `cls+multi` (labels scored one by one), `+left` (cut on the
 * left), `+tpl` (a template that is not the model's default; '::' and the template, escaped in the
 * same way, end the digest input), `+pair` (a model's own labels for two texts: the second one,
 * escaped in the same way, stands where labels would). A document is escaped, too. Two different
 * inputs of one variant never share a digest input: behind the text no ':' stands unescaped but in
 * the '::' that we wrote.
 *
 * MD5 only names the entry. Its input's SHA-256 decides whether an entry is ours (value.h): whoever
 * makes two texts of one MD5 gains nothing.
 *
 * Threads: key_maker_t owner only; the rest is plain data. Memory: key_maker_new() allocates,
 * making a key does not. */
#ifndef EMBER_CACHE_KEY_H
#define EMBER_CACHE_KEY_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum { KEY_LABELS_MAX = LIMIT_LABELS, KEY_HEAD_BYTES = 6 + LIMIT_NAME_BYTES + 1 + 8 + 1 };

enum cache_kind { CACHE_EMB = 1, CACHE_CLS = 2, CACHE_RANK = 3 };

/* A model as keys see it: made once when the model is loaded. */
struct key_model {
    char head[KEY_HEAD_BYTES]; /* "ember:<model>@<fingerprint8>:", no NUL */
    uint32_t head_bytes;
    uint32_t dim; /* numbers of its full vector: what an `emb` entry must have */
};

/* STATUS_INVALID_ARGUMENT unless name is 1..LIMIT_NAME_BYTES of A-Z a-z 0-9 . _ - , fingerprint8 is
 * eight lower-case hex digits and 1 <= dim <= LIMIT_DIM. */
enum status key_model_init(struct key_model *out, const char *name, const char *fingerprint8,
                           uint32_t dim, struct err *err);

/* The labels of one request: sorted once, used for the keys of all its texts. Entries hold scores
 * in the sorted order; order[i] is the caller's index of the i-th label of that order. */
struct key_labels {
    const struct view *labels; /* borrowed, caller's order; must outlive this struct */
    uint32_t n;
    bool own_head;  /* the labels are the model's own and not in the digest input */
    uint64_t check; /* a hash of the sorted labels: an entry must have exactly these */
    uint16_t order[KEY_LABELS_MAX];
};

/* What `check` starts from; label after label is then folded in with hash_bytes(). */
#define KEY_LABELS_CHECK 0x656d626572ull

/* STATUS_INVALID_ARGUMENT when n is 0 or beyond KEY_LABELS_MAX, or when a label is empty, longer
 * than LIMIT_LABEL_BYTES or there twice. */
enum status key_labels_init(struct key_labels *out, const struct view *labels, uint32_t n,
                            bool own_head, struct err *err);
/* Between the caller's order and an entry's; [labels->n] numbers each, no overlap. */
void key_labels_to_entry(const struct key_labels *labels, const float *scores, float *sorted);
void key_labels_from_entry(const struct key_labels *labels, const float *sorted, float *scores);

/* A key, and all that is needed to tell whether a value found under it belongs to it. */
struct cache_key {
    char name[LIMIT_CACHE_KEY_BYTES]; /* the Redis key, no NUL */
    uint32_t name_bytes;
    enum cache_kind kind;
    uint32_t n;            /* dim of an `emb`, number of labels of a `cls`, 1 of a `rank` */
    uint64_t labels_check; /* key_labels.check of a `cls`, else 0 */
    uint64_t hash;         /* of the name */
    uint8_t sha[32];       /* SHA-256 of the digest input */
};

typedef struct key_maker key_maker_t;
enum status key_maker_new(key_maker_t **out, struct err *err);
void key_maker_destroy(key_maker_t **self); /* NULL is fine */

/* None of these can fail: everything was checked when model and labels were made. `prefix` is the
 * prompt's text, empty for none; cut_left: the request wants long texts cut on the left. */
void key_emb(key_maker_t *self, const struct key_model *model, struct view prefix, struct view text,
             bool cut_left, struct cache_key *out);

enum { KEY_MULTI = 1, KEY_CUT_LEFT = 2 };
/* `template_text`: empty when it is the model's default. `flags`: KEY_*. */
void key_cls(key_maker_t *self, const struct key_model *model, struct view prefix, struct view text,
             const struct key_labels *labels, struct view template_text, uint32_t flags,
             struct cache_key *out);

/* The model's own labels for the pair of prefix + text and `second`. `labels` NULL: the key names
 * the pair's logits, which are no entry of the cache, for those who compare keys. */
void key_pair(key_maker_t *self, const struct key_model *model, struct view prefix,
              struct view text, struct view second, const struct key_labels *labels,
              struct cache_key *out);

/* The logit of a query and a document. */
void key_rank(key_maker_t *self, const struct key_model *model, struct view query,
              struct view document, struct cache_key *out);

#endif
