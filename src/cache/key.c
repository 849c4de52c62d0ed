/* key.c - the digest input is fed to MD5 and SHA-256 piece by piece; it never stands in memory as a
 * whole, so a request with 64 KiB of text and 64 labels needs no buffer.
 *
 *     digest input   prefix text                         emb
 *                    prefix text :: l1 , l2 , l3         cls
 *                    prefix text :: l1 , l2 :: template  cls+tpl
 *                    prefix text :: second               cls+pair
 *                    query :: document                   rank
 *
 * Why prefix and text may simply be joined: the model sees nothing but the joined text either. */
#include "cache/key.h"

#include "base/check.h"
#include "base/hash.h"
#include "digest/digest.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)KEY_HEAD_BYTES + (int)sizeof "cls+multi+left+tpl:" + 2 * DIGEST_MD5_BYTES <=
                   (int)LIMIT_CACHE_KEY_BYTES,
               "the longest name fits");

struct key_maker {
    digest_pair_t *digests;
};

enum status key_maker_new(key_maker_t **out, struct err *err) {
    key_maker_t *self = calloc(1, sizeof *self);
    if (self)
        self->digests = digest_pair_new();
    if (!self || !self->digests) {
        key_maker_destroy(&self);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for cache keys");
    }
    *out = self;
    return STATUS_OK;
}

void key_maker_destroy(key_maker_t **self) {
    if (!*self)
        return;
    digest_pair_destroy(&(*self)->digests);
    free(*self);
    *self = NULL;
}

static bool is_name_char(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Bytes of `text` when all satisfy `good` and there are 1..max of them, else 0. */
static size_t checked_length(const char *text, size_t max, bool (*good)(char)) {
    size_t n = 0;
    for (; text[n]; n++)
        if (n == max || !good(text[n]))
            return 0;
    return n;
}

static void append(char *out, uint32_t *at, const char *data, size_t bytes) {
    memcpy(out + *at, data, bytes);
    *at += (uint32_t)bytes;
}

enum status key_model_init(struct key_model *out, const char *name, const char *fingerprint8,
                           uint32_t dim, struct err *err) {
    size_t name_bytes = checked_length(name, LIMIT_NAME_BYTES, is_name_char);
    if (name_bytes == 0)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "model name '%.80s': 1 to %d characters of A-Z a-z 0-9 . _ - are allowed",
                       name, LIMIT_NAME_BYTES);
    if (checked_length(fingerprint8, 8, is_hex) != 8)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "model '%s': fingerprint '%.16s' is not eight lower-case hex digits", name,
                       fingerprint8);
    if (dim == 0 || dim > LIMIT_DIM)
        return err_set(err, STATUS_INVALID_ARGUMENT, "model '%s': dim %u is not within 1..%d", name,
                       dim, LIMIT_DIM);
    struct key_model model = {.dim = dim};
    append(model.head, &model.head_bytes, "ember:", 6);
    append(model.head, &model.head_bytes, name, name_bytes);
    append(model.head, &model.head_bytes, "@", 1);
    append(model.head, &model.head_bytes, fingerprint8, 8);
    append(model.head, &model.head_bytes, ":", 1);
    *out = model;
    return STATUS_OK;
}

static int compare_labels(struct view a, struct view b) {
    size_t shared = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = memcmp(a.data, b.data, shared);
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_indices(const void *a, const void *b, void *labels) {
    const struct view *all = labels;
    return compare_labels(all[*(const uint16_t *)a], all[*(const uint16_t *)b]);
}

enum status key_labels_init(struct key_labels *out, const struct view *labels, uint32_t n,
                            bool own_head, struct err *err) {
    if (n == 0 || n > KEY_LABELS_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%u labels, 1 to %d are allowed", n,
                       KEY_LABELS_MAX);
    for (uint32_t i = 0; i < n; i++)
        if (labels[i].bytes == 0 || labels[i].bytes > LIMIT_LABEL_BYTES)
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "label %u has %zu bytes, 1 to %d are allowed", i, labels[i].bytes,
                           LIMIT_LABEL_BYTES);
    uint16_t order[KEY_LABELS_MAX];
    for (uint32_t i = 0; i < n; i++)
        order[i] = (uint16_t)i;
    qsort_r(order, n, sizeof *order, compare_indices, (void *)(uintptr_t)labels);
    uint64_t check = KEY_LABELS_CHECK;
    for (uint32_t i = 0; i < n; i++) {
        if (i && compare_labels(labels[order[i - 1]], labels[order[i]]) == 0)
            return err_set(err, STATUS_INVALID_ARGUMENT, "labels %u and %u are the same",
                           order[i - 1], order[i]);
        check = hash_bytes(labels[order[i]].data, labels[order[i]].bytes, check);
    }
    *out = (struct key_labels){.labels = labels, .n = n, .own_head = own_head, .check = check};
    memcpy(out->order, order, n * sizeof *order);
    return STATUS_OK;
}

void key_labels_to_entry(const struct key_labels *labels, const float *scores, float *sorted) {
    for (uint32_t i = 0; i < labels->n; i++)
        sorted[i] = scores[labels->order[i]];
}

void key_labels_from_entry(const struct key_labels *labels, const float *sorted, float *scores) {
    for (uint32_t i = 0; i < labels->n; i++)
        scores[labels->order[i]] = sorted[i];
}

/* `text` with '\', ',' and ':' behind a '\'. Runs without any of them go in as they are. */
static void add_escaped(digest_pair_t *digests, struct view text) {
    if (!text.bytes)
        return; /* nor may there be a place to count from */
    size_t from = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c != '\\' && c != ',' && c != ':')
            continue;
        digest_pair_add(digests, view_make(text.data + from, i - from));
        digest_pair_add(digests, view_make("\\", 1));
        from = i; /* the character itself opens the next run */
    }
    digest_pair_add(digests, view_make(text.data + from, text.bytes - from));
}

/* head + variant + ":" + md5, and the digests; the digest input is complete. */
static void finish(key_maker_t *self, const struct key_model *model, const char *variant,
                   struct cache_key *out) {
    uint8_t md5[DIGEST_MD5_BYTES];
    char hex[2 * DIGEST_MD5_BYTES + 1];
    digest_pair_finish(self->digests, md5, out->sha);
    digest_hex(md5, sizeof md5, hex);
    out->name_bytes = 0;
    append(out->name, &out->name_bytes, model->head, model->head_bytes);
    append(out->name, &out->name_bytes, variant, strlen(variant));
    append(out->name, &out->name_bytes, ":", 1);
    append(out->name, &out->name_bytes, hex, sizeof hex - 1);
    out->hash = hash_bytes(out->name, out->name_bytes, 0);
}

void key_emb(key_maker_t *self, const struct key_model *model, struct view prefix, struct view text,
             bool cut_left, struct cache_key *out) {
    digest_pair_begin(self->digests);
    digest_pair_add(self->digests, prefix);
    digest_pair_add(self->digests, text);
    out->kind = CACHE_EMB;
    out->n = model->dim;
    out->labels_check = 0;
    finish(self, model, cut_left ? "emb+left" : "emb", out);
}

void key_cls(key_maker_t *self, const struct key_model *model, struct view prefix, struct view text,
             const struct key_labels *labels, struct view template_text, uint32_t flags,
             struct cache_key *out) {
    static const char *const variants[] = {
        "cls",     "cls+multi",     "cls+left",     "cls+multi+left",
        "cls+tpl", "cls+multi+tpl", "cls+left+tpl", "cls+multi+left+tpl",
    };
    CHECK((flags & ~(uint32_t)(KEY_MULTI | KEY_CUT_LEFT)) == 0);
    digest_pair_begin(self->digests);
    digest_pair_add(self->digests, prefix);
    digest_pair_add(self->digests, text);
    digest_pair_add(self->digests, view_make("::", 2));
    for (uint32_t i = 0; i < labels->n && !labels->own_head; i++) {
        if (i)
            digest_pair_add(self->digests, view_make(",", 1));
        add_escaped(self->digests, labels->labels[labels->order[i]]);
    }
    if (template_text.bytes) {
        digest_pair_add(self->digests, view_make("::", 2));
        add_escaped(self->digests, template_text);
    }
    out->kind = CACHE_CLS;
    out->n = labels->n;
    out->labels_check = labels->check;
    finish(self, model, variants[flags + (template_text.bytes ? 4 : 0)], out);
}

/* first + "::" + escaped second. */
static void add_pair(key_maker_t *self, struct view prefix, struct view first, struct view second) {
    digest_pair_begin(self->digests);
    digest_pair_add(self->digests, prefix);
    digest_pair_add(self->digests, first);
    digest_pair_add(self->digests, view_make("::", 2));
    add_escaped(self->digests, second);
}

void key_pair(key_maker_t *self, const struct key_model *model, struct view prefix,
              struct view text, struct view second, const struct key_labels *labels,
              struct cache_key *out) {
    add_pair(self, prefix, text, second);
    out->kind = CACHE_CLS;
    out->n = labels ? labels->n : model->dim;
    out->labels_check = labels ? labels->check : 0;
    finish(self, model, "cls+pair", out);
}

void key_rank(key_maker_t *self, const struct key_model *model, struct view query,
              struct view document, struct cache_key *out) {
    add_pair(self, view_make("", 0), query, document);
    out->kind = CACHE_RANK;
    out->n = 1;
    out->labels_check = 0;
    finish(self, model, "rank", out);
}
