/* encoder_load.c - from named tensors to an image of prepared weights.
 *
 *     names[family]  -->  tensors  -->  self->matrix, self->bias  -->  pack  -->  image
 *
 * The plan (encoder_lay_out) says where everything goes; this file only fills it. Query, key and
 * value become one product, and so do the two halves of a gated feed-forward part; 1/sqrt(d) goes
 * into query's weights and bias, so that attention need not scale its scores.
 *
 * Tables are read some rows at a time: a widened copy of a whole word table would be the largest
 * thing in the process. */
#include "model/encoder_parts.h"

#include "base/check.h"
#include "base/limits.h"
#include "model/rotary.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAME_BYTES = 160, TABLE_ROWS = 256 };

/* What the families call their tensors. Names begin with the prefix or without it; `layer` is
 * followed by a number and a dot. */
struct names {
    const char *prefix, *norm, *layer;
    const char *qkv[3]; /* one name: all three in one matrix */
    const char *out, *ffn1, *gate, *ffn2, *norm1, *norm2;
    const char *head_inner; /* NULL: no heads */
    bool head_prefixed;
    bool bias; /* of all matrices */
};

static const struct names family_names[] = {
    [MODEL_BERT] = {.prefix = "bert.",
                    .norm = "embeddings.LayerNorm.",
                    .layer = "encoder.layer.",
                    .qkv = {"attention.self.query.", "attention.self.key.",
                            "attention.self.value."},
                    .out = "attention.output.dense.",
                    .ffn1 = "intermediate.dense.",
                    .ffn2 = "output.dense.",
                    .norm1 = "attention.output.LayerNorm.",
                    .norm2 = "output.LayerNorm.",
                    .head_inner = "pooler.dense.",
                    .head_prefixed = true,
                    .bias = true},
    [MODEL_NOMIC] = {.prefix = "bert.",
                     .norm = "emb_ln.",
                     .layer = "encoder.layers.",
                     .qkv = {"attn.Wqkv."},
                     .out = "attn.out_proj.",
                     .ffn1 = "mlp.fc11.",
                     .gate = "mlp.fc12.",
                     .ffn2 = "mlp.fc2.",
                     .norm1 = "norm1.",
                     .norm2 = "norm2."},
    [MODEL_DISTILBERT] = {.prefix = "distilbert.",
                          .norm = "embeddings.LayerNorm.",
                          .layer = "transformer.layer.",
                          .qkv = {"attention.q_lin.", "attention.k_lin.", "attention.v_lin."},
                          .out = "attention.out_lin.",
                          .ffn1 = "ffn.lin1.",
                          .ffn2 = "ffn.lin2.",
                          .norm1 = "sa_layer_norm.",
                          .norm2 = "output_layer_norm.",
                          .head_inner = "pre_classifier.",
                          .bias = true},
};

struct loader {
    const struct encoder_source *source;
    const struct encoder *encoder; /* the plan */
    const struct names *names;
    const char *prefix; /* "" or the family's */
    char *image;
    float *matrix; /* [max(3H, 2I), max(H, I)]: one product as the file has it */
    float *bias;   /* [max(3H, 2I)] */
    struct err *err;
};

/* Format cut never: all names are short and ours. */
static const char *name_of(char name[NAME_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *name_of(char name[NAME_BYTES], const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(name, NAME_BYTES, format, args);
    va_end(args);
    CHECK(n > 0 && n < NAME_BYTES);
    return name;
}

/* The place in the image that we may write to of one in the plan. */
static void *place_of(const struct loader *self, const void *planned) {
    return self->image + ((const char *)planned - (const char *)self->encoder->image);
}

static enum status read_rows(const struct loader *self, const char *name, uint64_t rows,
                             uint64_t cols, uint64_t first, uint64_t n, float *out) {
    return self->source->read(self->source->from, name, rows, cols, first, n, out, self->err);
}

static enum status read_all(const struct loader *self, const char *name, uint64_t rows,
                            uint64_t cols, float *out) {
    return read_rows(self, name, rows, cols, 0, rows, out);
}

/* ---- tables and norms */

/* To IEEE 754 binary16, to nearest, ties to even; |x| below 65520. */
static uint16_t half_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits < 113u << 23) { /* below 2^-14 halves lie 2^-24 apart: let an addition round */
        float small;
        memcpy(&small, &bits, sizeof small);
        small += 0.5f; /* whose last bit is 2^-24 */
        memcpy(&bits, &small, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    bits += 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | (bits - (112u << 23)) >> 13);
}

static enum status load_half(const struct loader *self, const char *name, const float *rows,
                             size_t n, uint16_t *out) {
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(rows[i]) < 65520.0f))
            return err_set(self->err, STATUS_OUT_OF_RANGE,
                           "tensor '%s' holds %g, beyond half precision; load it as f32", name,
                           (double)rows[i]);
        out[i] = half_of(rows[i]);
    }
    return STATUS_OK;
}

static enum status load_words(struct loader *self) {
    const struct encoder *encoder = self->encoder;
    const size_t h = encoder->shape.hidden;
    const uint32_t rows = encoder->shape.vocab_rows;
    char name[NAME_BYTES];
    name_of(name, "%sembeddings.word_embeddings.weight", self->prefix);
    if (encoder->words)
        return read_all(self, name, rows, h, place_of(self, encoder->words));
    float *some = malloc(TABLE_ROWS * h * sizeof *some);
    if (!some)
        return err_set(self->err, STATUS_RESOURCE_EXHAUSTED, "no memory for weights");
    uint16_t *out = place_of(self, encoder->half_words);
    enum status st = STATUS_OK;
    for (uint32_t row = 0; st == STATUS_OK && row < rows; row += TABLE_ROWS) {
        const uint32_t n = rows - row < TABLE_ROWS ? rows - row : TABLE_ROWS;
        st = read_rows(self, name, rows, h, row, n, some);
        if (st == STATUS_OK)
            st = load_half(self, name, some, n * h, out + row * h);
    }
    free(some);
    return st;
}

static enum status load_table(struct loader *self, const char *part, uint32_t rows,
                              const float *table) {
    char name[NAME_BYTES];
    if (!table)
        return STATUS_OK;
    name_of(name, "%sembeddings.%s.weight", self->prefix, part);
    return read_all(self, name, rows, self->encoder->shape.hidden, place_of(self, table));
}

/* `part` ends with a dot. Old files say gamma and beta. */
static enum status load_norm(struct loader *self, const char *part,
                             const struct encoder_norm *norm) {
    char name[NAME_BYTES];
    const struct encoder_source *source = self->source;
    const uint32_t hidden = self->encoder->shape.hidden;
    const bool old = !source->has(source->from, name_of(name, "%sweight", part)) &&
                     source->has(source->from, name_of(name, "%sgamma", part));
    name_of(name, "%s%s", part, old ? "gamma" : "weight");
    enum status st = read_all(self, name, 1, hidden, place_of(self, norm->weight));
    if (st != STATUS_OK)
        return st;
    name_of(name, "%s%s", part, old ? "beta" : "bias");
    return read_all(self, name, 1, hidden, place_of(self, norm->bias));
}

static void fill_rotary(struct loader *self) {
    const struct encoder *encoder = self->encoder;
    const struct model_shape *shape = &encoder->shape;
    if (encoder->cosines)
        rotary_fill((double)shape->rotary_base, shape->max_tokens, shape->hidden / shape->heads,
                    place_of(self, encoder->cosines), place_of(self, encoder->sines));
}

/* ---- products */

/* One linear layer of the file, `part`, to rows row.. of the matrix in self. */
static enum status read_linear(struct loader *self, const char *part, bool bias, uint32_t row,
                               uint32_t n, uint32_t k) {
    char name[NAME_BYTES];
    enum status st =
        read_all(self, name_of(name, "%sweight", part), n, k, self->matrix + (size_t)row * k);
    if (st != STATUS_OK || !bias)
        return st;
    return read_all(self, name_of(name, "%sbias", part), 1, n, self->bias + row);
}

static void pack(struct loader *self, bool bias, const struct gemm_weights *to) {
    to->kernel->pack(self->matrix, bias ? self->bias : NULL, to->n, to->k,
                     place_of(self, to->packed));
}

static enum status load_qkv(struct loader *self, const char *layer, const struct gemm_weights *to) {
    const struct names *names = self->names;
    const uint32_t hidden = self->encoder->shape.hidden, heads = self->encoder->shape.heads;
    const uint32_t parts = names->qkv[1] ? 3 : 1, n = 3 * hidden / parts;
    for (uint32_t i = 0; i < parts; i++) {
        char part[NAME_BYTES];
        name_of(part, "%s%s", layer, names->qkv[i]);
        enum status st = read_linear(self, part, names->bias, i * n, n, hidden);
        if (st != STATUS_OK)
            return st;
    }
    const float scale = 1.0f / sqrtf((float)(hidden / heads));
    for (size_t i = 0; i < (size_t)hidden * hidden; i++)
        self->matrix[i] *= scale;
    for (size_t i = 0; names->bias && i < hidden; i++)
        self->bias[i] *= scale;
    pack(self, names->bias, to);
    return STATUS_OK;
}

/* One or two (`second` not NULL) linear layers of the same size, one above the other. */
static enum status load_linear(struct loader *self, const char *layer, const char *first,
                               const char *second, const struct gemm_weights *to) {
    const char *const parts[2] = {first, second};
    const bool bias = self->names->bias;
    const uint32_t n = second ? to->n / 2 : to->n;
    for (uint32_t i = 0; i < 2 && parts[i]; i++) {
        char part[NAME_BYTES];
        name_of(part, "%s%s", layer, parts[i]);
        enum status st = read_linear(self, part, bias, i * n, n, to->k);
        if (st != STATUS_OK)
            return st;
    }
    pack(self, bias, to);
    return STATUS_OK;
}

static enum status load_layer(struct loader *self, uint32_t l) {
    const struct encoder_layer *to = &self->encoder->layers[l];
    const struct names *names = self->names;
    char layer[NAME_BYTES], part[NAME_BYTES];
    name_of(layer, "%s%s%u.", self->prefix, names->layer, l);
    enum status st = load_qkv(self, layer, &to->qkv);
    if (st == STATUS_OK)
        st = load_linear(self, layer, names->out, NULL, &to->out);
    if (st == STATUS_OK)
        st = load_linear(self, layer, names->ffn1, names->gate, &to->ffn1);
    if (st == STATUS_OK)
        st = load_linear(self, layer, names->ffn2, NULL, &to->ffn2);
    if (st == STATUS_OK)
        st = load_norm(self, name_of(part, "%s%s", layer, names->norm1), &to->norm1);
    if (st == STATUS_OK)
        st = load_norm(self, name_of(part, "%s%s", layer, names->norm2), &to->norm2);
    return st;
}

static enum status load_head(struct loader *self) {
    const struct encoder *encoder = self->encoder;
    if (encoder->shape.head == MODEL_HEAD_NONE)
        return STATUS_OK;
    const char *prefix = self->names->head_prefixed ? self->prefix : "";
    enum status st = load_linear(self, prefix, self->names->head_inner, NULL, &encoder->head_inner);
    if (st == STATUS_OK)
        st = load_linear(self, "", "classifier.", NULL, &encoder->classifier);
    return st;
}

static enum status load_all(struct loader *self) {
    const struct encoder *encoder = self->encoder;
    const struct model_shape *shape = &encoder->shape;
    char part[NAME_BYTES];
    enum status st = load_words(self);
    if (st == STATUS_OK)
        st = load_table(self, "position_embeddings", shape->positions, encoder->positions);
    if (st == STATUS_OK)
        st = load_table(self, "token_type_embeddings", shape->types, encoder->types);
    fill_rotary(self);
    if (st == STATUS_OK)
        st =
            load_norm(self, name_of(part, "%s%s", self->prefix, self->names->norm), &encoder->norm);
    for (uint32_t l = 0; st == STATUS_OK && l < shape->layers; l++)
        st = load_layer(self, l);
    return st == STATUS_OK ? load_head(self) : st;
}

static const char *prefix_of(const struct names *names, const struct encoder_source *source) {
    char name[NAME_BYTES];
    name_of(name, "%sembeddings.word_embeddings.weight", names->prefix);
    return source->has(source->from, name) ? names->prefix : "";
}

static uint32_t max_u32(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* Fill the image that `encoder` is the plan of. */
static enum status fill(const struct encoder *encoder, const struct encoder_source *source,
                        void *image, struct err *err) {
    const struct model_shape *shape = &encoder->shape;
    const uint32_t h = shape->hidden, i = shape->inner;
    const size_t rows = max_u32(max_u32(3 * h, 2 * i), shape->classes);
    const size_t matrix = rows * h > (size_t)i * h ? rows * h : (size_t)i * h;
    const struct names *names = &family_names[shape->family];
    struct loader self = {.source = source,
                          .encoder = encoder,
                          .names = names,
                          .prefix = prefix_of(names, source),
                          .image = image,
                          .matrix = malloc(matrix * sizeof(float)),
                          .bias = malloc(rows * sizeof(float)),
                          .err = err};
    enum status st = STATUS_RESOURCE_EXHAUSTED;
    if (!self.matrix || !self.bias)
        err_set(err, st, "no memory for weights");
    else
        st = load_all(&self);
    free(self.matrix);
    free(self.bias);
    return st;
}

enum status encoder_image_fill(const struct model_shape *shape, const struct gemm_kernel *kernel,
                               const struct encoder_source *source, void *image, struct err *err) {
    encoder_t *encoder = NULL;
    enum status st = encoder_over(shape, kernel, image, &encoder, err);
    if (st == STATUS_OK)
        st = fill(encoder, source, image, err);
    encoder_destroy(&encoder);
    return st;
}

/* ---- sizes */

static uint64_t rows_of(const struct encoder_source *source, const char *name) {
    return source->rows ? source->rows(source->from, name) : 0;
}

enum status encoder_complete(struct model_shape *shape, const struct encoder_source *source,
                             struct err *err) {
    if (shape->family == MODEL_STATIC)
        return err_set(err, STATUS_UNIMPLEMENTED, "a table of token vectors is no encoder");
    const struct names *names = &family_names[shape->family];
    if (shape->gated != (names->gate != NULL) ||
        (shape->rotary_base > 0) != (shape->family == MODEL_NOMIC))
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "gates and rotary positions are those of other architectures");
    if (shape->rotary_base > 0 && shape->hidden / shape->heads % 2)
        return err_set(err, STATUS_DATA_LOSS, "rotary positions of heads of %u numbers, not even",
                       shape->hidden / shape->heads);
    if (shape->head != MODEL_HEAD_NONE && !names->head_inner)
        return err_set(err, STATUS_UNIMPLEMENTED, "no head is known for this architecture");
    char name[NAME_BYTES];
    const char *prefix = prefix_of(names, source);
    name_of(name, "%s%s0.%sweight", prefix, names->layer, names->ffn1);
    const uint64_t inner = shape->gated ? rows_of(source, name) : 0;
    const uint64_t classes =
        shape->head != MODEL_HEAD_NONE ? rows_of(source, "classifier.weight") : 0;
    if (inner > LIMIT_HIDDEN || classes > LIMIT_HIDDEN)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "tensor '%s' has more than %d rows",
                       classes > LIMIT_HIDDEN ? "classifier.weight" : name, LIMIT_HIDDEN);
    if (inner)
        shape->inner = (uint32_t)inner;
    if (shape->head != MODEL_HEAD_NONE && !shape->classes)
        shape->classes = (uint32_t)classes;
    if (shape->head != MODEL_HEAD_NONE && !shape->classes)
        return err_set(err, STATUS_NOT_FOUND, "tensor 'classifier.weight' is missing");
    return STATUS_OK;
}

/* ---- load */

/* Weights are read from end to end all the time: with pages of 2 MB that costs fewer address
 * look-ups. The kernel may say no, and nothing depends on it. */
static void ask_huge_pages(void *image, size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)image + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)image + bytes) / page * page;
    if (end > begin)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

enum status encoder_load_from(const struct model_shape *shape, const struct encoder_source *source,
                              const struct gemm_kernel *kernel, encoder_t **out, struct err *err) {
    struct model_shape whole = *shape;
    enum status st = encoder_complete(&whole, source, err);
    if (st != STATUS_OK)
        return st;
    const size_t bytes = encoder_image_bytes(&whole, kernel);
    void *image = aligned_alloc(ENCODER_IMAGE_ALIGN, bytes);
    if (!image)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %zu bytes of weights", bytes);
    ask_huge_pages(image, bytes);
    encoder_t *self = NULL;
    st = encoder_over(&whole, kernel, image, &self, err);
    if (st != STATUS_OK) {
        free(image);
        return st;
    }
    self->owned = image;
    st = fill(self, source, image, err);
    if (st == STATUS_OK)
        *out = self;
    else
        encoder_destroy(&self);
    return st;
}

static bool weights_has(const void *from, const char *name) {
    return weights_find(from, name) != NULL;
}

static uint64_t weights_rows(const void *from, const char *name) {
    const struct tensor *tensor = weights_find(from, name);
    return !tensor ? 0 : tensor->rank == 2 ? tensor->shape[0] : 1;
}

static enum status weights_read_from(const void *from, const char *name, uint64_t rows,
                                     uint64_t cols, uint64_t first, uint64_t n, float *out,
                                     struct err *err) {
    return weights_read_rows(from, name, rows, cols, first, n, out, err);
}

struct encoder_source encoder_source_of(const weights_t *weights) {
    return (struct encoder_source){weights, weights_has, weights_rows, weights_read_from};
}

enum status encoder_load(const struct model_shape *shape, const weights_t *weights,
                         const struct gemm_kernel *kernel, encoder_t **out, struct err *err) {
    const struct encoder_source source = encoder_source_of(weights);
    return encoder_load_from(shape, &source, kernel, out, err);
}
