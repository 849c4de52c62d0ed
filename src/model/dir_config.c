/* dir_config.c - config.json of each family, as the published classes write it.
 *
 *     bert, structbert, sbert   hidden_size, num_hidden_layers ...
 *     distilbert                dim, n_layers ...
 *     nomic_bert                n_embd, n_layer ... (GPT-2's names), or bert's with rope_parameters
 *     model2vec                 no sizes: the table's own count
 *
 * A setting that we do not implement and that would alter vectors (relative positions, a norm in
 * front of a block, causal attention) is refused by name: a wrong vector looks exactly like a right
 * one. Where a key is absent, what holds is the default of the class that wrote the file. */
#include "model/dir_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    TYPES_MAX = 65536,
    STATIC_TOKENS = 512, /* that model2vec reads */
    PAD_MAX = 4096       /* of a vocabulary to a multiple */
};

/* ---- values ---- */

const json_t *dir_get(const json_t *root, const char *key) {
    const json_t *v = json_get(root, key);
    return v && !json_is_null(v) ? v : NULL;
}

struct size_row {
    const char *key;
    uint32_t fallback, max, *out; /* fallback 0: the key must be there */
};

static enum status get_size(const json_t *root, const struct size_row *row, struct err *err) {
    const json_t *v = dir_get(root, row->key);
    double x = row->fallback;
    if (!v && !row->fallback)
        return err_set(err, STATUS_DATA_LOSS, "%s is missing", row->key);
    if (v && !json_f64(v, &x))
        return err_set(err, STATUS_DATA_LOSS, "%s is no number", row->key);
    if (!(x >= 1) || x != floor(x))
        return err_set(err, STATUS_DATA_LOSS, "%s is %.17g, want a whole number from 1", row->key,
                       x);
    if (x > row->max)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s is %.17g, at most %u", row->key, x,
                       row->max);
    *row->out = (uint32_t)x;
    return STATUS_OK;
}

static enum status get_sizes(const json_t *root, const struct size_row *rows, size_t n,
                             struct err *err) {
    enum status st = STATUS_OK;
    for (size_t i = 0; i < n && st == STATUS_OK; i++)
        st = get_size(root, &rows[i], err);
    return st;
}

static enum status get_real(const json_t *root, const char *key, double fallback, double min,
                            double max, float *out, struct err *err) {
    const json_t *v = dir_get(root, key);
    double x = fallback;
    if (v && !json_f64(v, &x))
        return err_set(err, STATUS_DATA_LOSS, "%s is no number", key);
    if (!(x >= min && x <= max))
        return err_set(err, STATUS_DATA_LOSS, "%s is %g, want %g to %g", key, x, min, max);
    *out = (float)x;
    return STATUS_OK;
}

static enum status get_eps(const json_t *root, const char *key, double fallback, float *out,
                           struct err *err) {
    return get_real(root, key, fallback, 1e-30, 1, out, err);
}

struct flag_row {
    const char *key;
    bool fallback, want;
};

/* Settings that we compute one way only. */
static enum status check_flags(const json_t *root, const struct flag_row *rows, size_t n,
                               struct err *err) {
    for (size_t i = 0; i < n; i++) {
        const json_t *v = dir_get(root, rows[i].key);
        bool on = rows[i].fallback;
        if (v && !json_bool(v, &on))
            return err_set(err, STATUS_DATA_LOSS, "%s is neither true nor false", rows[i].key);
        if (on != rows[i].want)
            return err_set(err, STATUS_UNIMPLEMENTED, "%s %s%s is not supported", rows[i].key,
                           on ? "true" : "false", v ? "" : " (its default)");
    }
    return STATUS_OK;
}

static enum status get_act(const json_t *root, const char *key, const char *fallback,
                           enum model_act *out, struct err *err) {
    static const struct {
        const char *name;
        enum model_act act;
    } acts[] = {
        {"gelu", MODEL_GELU},          {"gelu_python", MODEL_GELU},
        {"gelu_new", MODEL_GELU_NEW},  {"gelu_pytorch_tanh", MODEL_GELU_NEW},
        {"gelu_fast", MODEL_GELU_NEW}, /* the same polynomial, arranged otherwise */
        {"relu", MODEL_RELU},          {"silu", MODEL_SILU},
        {"swish", MODEL_SILU},
    };
    const json_t *v = dir_get(root, key);
    const char *name = v ? json_text(v) : fallback;
    if (!name)
        return err_set(err, STATUS_DATA_LOSS, "%s is no text", key);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(name, acts[i].name) == 0) {
            *out = acts[i].act;
            return STATUS_OK;
        }
    return err_set(err, STATUS_UNIMPLEMENTED, "activation '%.60s' is not supported", name);
}

/* ---- BERT and DistilBERT ---- */

static enum status check_positions(const json_t *root, struct err *err) {
    const json_t *position = dir_get(root, "position_embedding_type");
    const char *text = json_text(position);
    if (position && (!text || strcmp(text, "absolute") != 0))
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "position_embedding_type '%.60s' is not supported", text ? text : "?");
    if (json_size(dir_get(root, "pruned_heads")) > 0)
        return err_set(err, STATUS_UNIMPLEMENTED, "pruned_heads is not supported");
    return STATUS_OK;
}

static const struct flag_row no_decoder[] = {
    {"is_decoder", false, false},
    {"add_cross_attention", false, false},
};
enum { NO_DECODER = sizeof no_decoder / sizeof *no_decoder };

static enum status read_bert(const json_t *root, struct model_shape *s, struct err *err) {
    const struct size_row sizes[] = {
        {"hidden_size", 0, LIMIT_DIM, &s->hidden},
        {"num_hidden_layers", 0, LIMIT_LAYERS, &s->layers},
        {"num_attention_heads", 0, LIMIT_DIM, &s->heads},
        {"intermediate_size", 0, LIMIT_HIDDEN, &s->inner},
        {"vocab_size", 0, LIMIT_VOCAB, &s->vocab_rows},
        {"max_position_embeddings", 512, LIMIT_POSITIONS, &s->positions},
        {"type_vocab_size", 2, TYPES_MAX, &s->types},
    };
    enum status st = get_sizes(root, sizes, sizeof sizes / sizeof *sizes, err);
    if (st == STATUS_OK)
        st = check_positions(root, err);
    if (st == STATUS_OK)
        st = check_flags(root, no_decoder, NO_DECODER, err);
    if (st == STATUS_OK)
        st = get_act(root, "hidden_act", "gelu", &s->act, err);
    if (st == STATUS_OK)
        st = get_eps(root, "layer_norm_eps", 1e-12, &s->eps, err);
    return st;
}

/* sinusoidal_pos_embds only tells how the position table was filled at first. */
static enum status read_distilbert(const json_t *root, struct model_shape *s, struct err *err) {
    const struct size_row sizes[] = {
        {"dim", 0, LIMIT_DIM, &s->hidden},
        {"n_layers", 0, LIMIT_LAYERS, &s->layers},
        {"n_heads", 0, LIMIT_DIM, &s->heads},
        {"hidden_dim", 0, LIMIT_HIDDEN, &s->inner},
        {"vocab_size", 0, LIMIT_VOCAB, &s->vocab_rows},
        {"max_position_embeddings", 512, LIMIT_POSITIONS, &s->positions},
    };
    s->eps = 1e-12f;
    enum status st = get_sizes(root, sizes, sizeof sizes / sizeof *sizes, err);
    if (st == STATUS_OK)
        st = check_positions(root, err);
    if (st == STATUS_OK)
        st = get_act(root, "activation", "gelu", &s->act, err);
    return st;
}

/* ---- NomicBERT ---- */

/* The defaults are those of NomicBertConfig and of GPT2Config, from which it is derived. */
static const struct flag_row nomic_flags[] = {
    {"prenorm", false, false},
    {"parallel_block", false, false},
    {"parallel_block_tied_norm", false, false},
    {"use_rms_norm", false, false},
    {"causal", false, false},
    {"rotary_emb_interleaved", false, false},
    {"qkv_proj_bias", true, false},
    {"mlp_fc1_bias", true, false},
    {"mlp_fc2_bias", true, false},
    {"scale_attn_by_inverse_layer_idx", false, false},
    {"scale_attn_weights", true, true},
    {"add_cross_attention", false, false},
};

static enum status check_nomic(const json_t *root, struct err *err) {
    static const char *const absent[] = {"rotary_emb_scale_base", "num_experts",
                                         "moe_every_n_layers"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        double x = 1;
        const json_t *v = dir_get(root, absent[i]);
        if (v && !(json_f64(v, &x) && x == 0))
            return err_set(err, STATUS_UNIMPLEMENTED, "%s is not supported", absent[i]);
    }
    return check_flags(root, nomic_flags, sizeof nomic_flags / sizeof *nomic_flags, err);
}

/* Dynamic scaling: null in published files. */
static enum status get_scaling(const json_t *root, struct model_shape *s, struct err *err) {
    const struct size_row trained = {"max_trained_positions", 2048, LIMIT_POSITIONS,
                                     &s->rotary_trained};
    if (!dir_get(root, "rotary_scaling_factor"))
        return STATUS_OK;
    enum status st = get_real(root, "rotary_scaling_factor", 0, 1e-3, 1e3, &s->rotary_factor, err);
    return st == STATUS_OK ? get_size(root, &trained, err) : st;
}

/* Published with GPT-2's names. */
static enum status get_gpt2_sizes(const json_t *root, struct model_shape *s, struct err *err) {
    uint32_t pad = 1;
    const struct size_row width = {"n_embd", 0, LIMIT_DIM, &s->hidden};
    enum status st = get_size(root, &width, err);
    if (st != STATUS_OK)
        return st;
    const struct size_row sizes[] = {
        {"n_layer", 0, LIMIT_LAYERS, &s->layers},
        {"n_head", 0, LIMIT_DIM, &s->heads},
        {"n_inner", 4 * s->hidden, LIMIT_HIDDEN, &s->inner},
        {"vocab_size", 0, LIMIT_VOCAB, &s->vocab_rows},
        {"n_positions", 1024, LIMIT_POSITIONS, &s->positions},
        {"type_vocab_size", 2, TYPES_MAX, &s->types},
        {"pad_vocab_size_multiple", 1, PAD_MAX, &pad},
    };
    st = get_sizes(root, sizes, sizeof sizes / sizeof *sizes, err);
    if (st == STATUS_OK) /* as the published class builds the table */
        s->vocab_rows = (s->vocab_rows + pad - 1) / pad * pad;
    return st;
}

static enum status read_nomic_gpt2(const json_t *root, struct model_shape *s, struct err *err) {
    const char *act = json_text(dir_get(root, "activation_function"));
    float fraction = 0;
    if (!act || strcmp(act, "swiglu") != 0)
        return err_set(err, STATUS_UNIMPLEMENTED, "activation '%.60s' is not supported",
                       act ? act : "(none)");
    enum status st = get_gpt2_sizes(root, s, err);
    if (st == STATUS_OK)
        st = check_nomic(root, err);
    if (st == STATUS_OK)
        st = get_real(root, "rotary_emb_fraction", 0, 0, 1, &fraction, err);
    if (st == STATUS_OK && fraction < 1)
        st = err_set(err, STATUS_UNIMPLEMENTED, "rotary_emb_fraction %g is not supported",
                     (double)fraction);
    if (st == STATUS_OK)
        st = get_real(root, "rotary_emb_base", 1000, 1, 1e9, &s->rotary_base, err);
    if (st == STATUS_OK)
        st = get_eps(root, "layer_norm_epsilon", 1e-5, &s->eps, err);
    return st == STATUS_OK ? get_scaling(root, s, err) : st;
}

/* Newer revisions: BERT's names, and the base in rope_parameters. */
static enum status read_nomic_plain(const json_t *root, struct model_shape *s, struct err *err) {
    const struct size_row sizes[] = {
        {"hidden_size", 0, LIMIT_DIM, &s->hidden},
        {"num_hidden_layers", 0, LIMIT_LAYERS, &s->layers},
        {"num_attention_heads", 0, LIMIT_DIM, &s->heads},
        {"intermediate_size", 0, LIMIT_HIDDEN, &s->inner},
        {"vocab_size", 0, LIMIT_VOCAB, &s->vocab_rows},
        {"max_position_embeddings", 2048, LIMIT_POSITIONS, &s->positions},
        {"type_vocab_size", 2, TYPES_MAX, &s->types},
    };
    const json_t *rope = dir_get(root, "rope_parameters"), *type = dir_get(rope, "rope_type");
    const char *name = type ? json_text(type) : "default";
    float part = 1;
    enum model_act act = MODEL_SILU;
    enum status st = get_sizes(root, sizes, sizeof sizes / sizeof *sizes, err);
    if (st == STATUS_OK)
        st = get_act(root, "hidden_act", "silu", &act, err);
    if (st == STATUS_OK && act != MODEL_SILU)
        st = err_set(err, STATUS_UNIMPLEMENTED, "hidden_act is not silu: not supported");
    if (st == STATUS_OK && (!name || strcmp(name, "default") != 0))
        st = err_set(err, STATUS_UNIMPLEMENTED, "rope_type '%.60s' is not supported",
                     name ? name : "?");
    if (st == STATUS_OK)
        st = get_real(rope, "partial_rotary_factor", 1, 0, 1, &part, err);
    if (st == STATUS_OK && part < 1)
        st = err_set(err, STATUS_UNIMPLEMENTED, "partial_rotary_factor %g is not supported",
                     (double)part);
    if (st == STATUS_OK && !dir_get(rope, "rope_theta"))
        st = err_set(err, STATUS_DATA_LOSS, "rope_parameters.rope_theta is missing");
    if (st == STATUS_OK)
        st = get_real(rope, "rope_theta", 0, 1, 1e9, &s->rotary_base, err);
    if (st == STATUS_OK)
        st = check_flags(root, no_decoder, NO_DECODER, err);
    if (st == STATUS_OK)
        st = get_eps(root, "layer_norm_eps", 1e-12, &s->eps, err);
    return st;
}

static enum status read_nomic(const json_t *root, struct model_shape *s, struct err *err) {
    enum status st =
        dir_get(root, "n_embd") ? read_nomic_gpt2(root, s, err) : read_nomic_plain(root, s, err);
    if (st != STATUS_OK)
        return st;
    s->gated = true;
    s->act = MODEL_SILU;
    if (s->hidden % s->heads == 0 && s->hidden / s->heads % 2)
        return err_set(err, STATUS_DATA_LOSS, "heads of %u numbers cannot be rotated in halves",
                       s->hidden / s->heads);
    if (s->rotary_factor > 0 && s->hidden / s->heads < 4) /* the formula divides by d - 2 */
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "rotary_scaling_factor with heads of 2 numbers is not supported");
    return STATUS_OK;
}

/* ---- model2vec ---- */

/* Sizes come from the table: dir_settle_sizes(). */
static enum status read_static(const json_t *root, struct model_shape *s, struct err *err) {
    const json_t *v = dir_get(root, "normalize");
    if (v && !json_bool(v, &s->normalize))
        return err_set(err, STATUS_DATA_LOSS, "normalize is neither true nor false");
    s->positions = LIMIT_TOKENS;
    s->eps = 1e-12f; /* no norm uses it */
    return STATUS_OK;
}

/* ---- families ---- */

struct family {
    const char *type;   /* model_type */
    const char *prefix; /* of the class names in "architectures" */
    enum model_family family;
    enum status (*read)(const json_t *root, struct model_shape *s, struct err *err);
};

static const struct family families[] = {
    {"bert", "Bert", MODEL_BERT, read_bert},
    {"structbert", "Sbert", MODEL_BERT, read_bert},
    {"sbert", "Sbert", MODEL_BERT, read_bert},
    {"distilbert", "DistilBert", MODEL_DISTILBERT, read_distilbert},
    {"nomic_bert", "NomicBert", MODEL_NOMIC, read_nomic},
    {"model2vec", "StaticModel", MODEL_STATIC, read_static},
};

/* What is missing for others that people try. */
static const char *what_is_missing(const char *type) {
    static const struct {
        const char *type, *why;
    } rows[] = {
        {"xlm-roberta", "its tokenizer (Unigram) is not read"},
        {"camembert", "its tokenizer (Unigram) is not read"},
        {"roberta", "its tokenizer (byte-level BPE) is not read"},
        {"modernbert", "its tokenizer (BPE) is not read"},
        {"new", "its attention and tokenizer (Unigram) are not computed"},
        {"mpnet", "relative positions are not computed"},
        {"deberta", "relative positions are not computed"},
        {"deberta-v2", "relative positions are not computed"},
        {"t5", "relative positions are not computed"},
        {"electra", "the projection of its word table is not computed"},
        {"albert", "layers that share weights are not computed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(type, rows[i].type) == 0)
            return rows[i].why;
    return "only BERT, DistilBERT, NomicBERT and model2vec are";
}

static enum status find_family(const json_t *root, const char *hint, const struct family **out,
                               struct err *err) {
    const char *type = json_text(dir_get(root, "model_type"));
    const char *name = json_text(json_first(dir_get(root, "architectures")));
    if (!type)
        type = hint;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct family *f = &families[i];
        if (type ? strcmp(type, f->type) == 0
                 : name && strncmp(name, f->prefix, strlen(f->prefix)) == 0) {
            *out = f;
            return STATUS_OK;
        }
    }
    if (!type)
        return err_set(err, STATUS_DATA_LOSS, "model_type is missing");
    return err_set(err, STATUS_UNIMPLEMENTED, "architecture '%.60s' (%.60s) is not supported: %s",
                   type, name ? name : "no class named", what_is_missing(type));
}

enum status dir_read_config(const json_t *root, const char *hint, struct model_shape *out,
                            struct err *err) {
    struct model_shape s = {.pooling = MODEL_POOL_MEAN};
    const struct family *family = NULL;
    if (!json_is_object(root))
        return err_set(err, STATUS_DATA_LOSS, "no JSON object");
    enum status st = find_family(root, hint, &family, err);
    if (st != STATUS_OK)
        return st;
    s.family = family->family;
    st = family->read(root, &s, err);
    if (st != STATUS_OK)
        return st;
    if (s.heads && s.hidden % s.heads)
        return err_set(err, STATUS_DATA_LOSS, "%u heads do not divide %u numbers", s.heads,
                       s.hidden);
    if (s.positions < DIR_TOKENS_MIN)
        return err_set(err, STATUS_DATA_LOSS, "%u positions, want at least %d", s.positions,
                       DIR_TOKENS_MIN);
    s.max_tokens = s.positions < LIMIT_TOKENS ? s.positions : LIMIT_TOKENS;
    if (s.family == MODEL_STATIC)
        s.max_tokens = STATIC_TOKENS;
    *out = s;
    return STATUS_OK;
}

enum status model_dir_parse_config(struct view text, const char *what, const char *hint,
                                   struct model_shape *shape, struct err *err) {
    json_t *root = NULL;
    enum status st = json_parse(text, LIMIT_CONFIG_BYTES, what, &root, err);
    if (st != STATUS_OK)
        return st;
    st = dir_read_config(root, hint, shape, err);
    json_destroy(&root);
    return st == STATUS_OK ? st : err_prefix(err, st, "%s", what);
}

/* ---- what the tensors decide ---- */

static enum status settle_table(struct model_dir *dir, struct err *err) {
    struct model_shape *s = &dir->shape;
    const char *file = dir_weights_name(dir);
    const struct tensor *t = weights_find(dir->weights, "embeddings");
    const struct tensor *mapping = weights_find(dir->weights, "mapping");
    if (!t) { /* StaticEmbedding of sentence-transformers reads all of a text */
        t = weights_find(dir->weights, "embedding.weight");
        s->max_tokens = s->positions;
    }
    if (!t)
        return err_set(err, STATUS_NOT_FOUND, "'%s/%s': no tensor 'embeddings'", dir->path, file);
    if (t->rank != 2 || t->shape[0] < 1 || t->shape[1] < 1)
        return err_set(err, STATUS_DATA_LOSS, "'%s/%s': '%s' is no table", dir->path, file,
                       t->name);
    const uint64_t rows = mapping && mapping->rank == 1 ? mapping->shape[0] : t->shape[0];
    if (t->shape[1] > LIMIT_DIM || rows > LIMIT_VOCAB || rows < 1)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "'%s/%s': '%s' is %llu x %llu, at most %d x %d", dir->path, file, t->name,
                       (unsigned long long)rows, (unsigned long long)t->shape[1], LIMIT_VOCAB,
                       LIMIT_DIM);
    s->hidden = (uint32_t)t->shape[1];
    s->vocab_rows = (uint32_t)rows;
    return STATUS_OK;
}

enum status dir_settle_sizes(struct model_dir *dir, struct err *err) {
    return dir->shape.family == MODEL_STATIC ? settle_table(dir, err) : STATUS_OK;
}
