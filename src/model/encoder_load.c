/* encoder_load.c - from named tensors to prepared weights.
 *
 * All prepared weights lie in one arena, sized before the first tensor is read:
 *
 *     layers | word, position, segment tables | norm | layer 0: qkv out ffn1 ffn2 norms | 1 ...
 *
 * Query, key and value become one product; 1/sqrt(d) goes into query's weights and bias, so that
 * attention need not scale its scores. */
#include "model/encoder_parts.h"

#include "base/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAME_BYTES = 160 };

struct loader {
    const struct encoder_source *source;
    const struct model_shape *shape;
    const char *prefix; /* "" or "bert." */
    encoder_t *encoder;
    float *matrix; /* [max(3H, I), max(H, I)]: one product as the file has it */
    float *bias;   /* [max(3H, I)] */
    struct err *err;
};

/* prefix + format, cut never: all names are short and ours. */
static const char *name_of(const struct loader *self, char name[NAME_BYTES], const char *format,
                           ...) __attribute__((format(printf, 3, 4)));
static const char *name_of(const struct loader *self, char name[NAME_BYTES], const char *format,
                           ...) {
    int n = snprintf(name, NAME_BYTES, "%s", self->prefix);
    va_list args;
    va_start(args, format);
    n += vsnprintf(name + n, NAME_BYTES - (size_t)n, format, args);
    va_end(args);
    CHECK(n < NAME_BYTES);
    return name;
}

static enum status read_named(const struct loader *self, const char *name, uint64_t rows,
                              uint64_t cols, float *out) {
    return self->source->read(self->source->from, name, rows, cols, out, self->err);
}

static float *take(struct loader *self, size_t rows, size_t cols) {
    float *p = arena_take_array(&self->encoder->memory, rows * cols, sizeof *p);
    CHECK(p); /* memory_bytes() counted it */
    return p;
}

static enum status load_table(struct loader *self, const char *part, uint32_t rows,
                              const float **out) {
    char name[NAME_BYTES];
    float *table = take(self, rows, self->shape->hidden);
    *out = table;
    return read_named(self, name_of(self, name, "embeddings.%s.weight", part), rows,
                      self->shape->hidden, table);
}

/* `part` ends with a dot. Old files say gamma and beta. */
static enum status load_norm(struct loader *self, const char *part, struct encoder_norm *out) {
    char name[NAME_BYTES];
    const uint32_t hidden = self->shape->hidden;
    float *weight = take(self, 1, hidden), *bias = take(self, 1, hidden);
    *out = (struct encoder_norm){weight, bias};
    const bool old =
        !self->source->has(self->source->from, name_of(self, name, "%sweight", part)) &&
        self->source->has(self->source->from, name_of(self, name, "%sgamma", part));
    name_of(self, name, "%s%s", part, old ? "gamma" : "weight");
    enum status st = read_named(self, name, 1, hidden, weight);
    if (st != STATUS_OK)
        return st;
    return read_named(self, name_of(self, name, "%s%s", part, old ? "beta" : "bias"), 1, hidden,
                      bias);
}

/* One linear layer of the file, `part`, to rows row.. of the matrix in self. */
static enum status read_linear(struct loader *self, const char *part, uint32_t row, uint32_t n,
                               uint32_t k) {
    char name[NAME_BYTES];
    enum status st = read_named(self, name_of(self, name, "%sweight", part), n, k,
                                self->matrix + (size_t)row * k);
    if (st != STATUS_OK)
        return st;
    return read_named(self, name_of(self, name, "%sbias", part), 1, n, self->bias + row);
}

static void pack(struct loader *self, uint32_t n, uint32_t k, struct gemm_weights *out) {
    const struct gemm_kernel *gemm = self->encoder->gemm;
    void *packed = arena_take(&self->encoder->memory, gemm->packed_bytes(n, k));
    CHECK(packed); /* memory_bytes() counted it */
    gemm->pack(self->matrix, self->bias, n, k, packed);
    *out = (struct gemm_weights){gemm, n, k, packed};
}

static enum status load_linear(struct loader *self, const char *part, uint32_t n, uint32_t k,
                               struct gemm_weights *out) {
    enum status st = read_linear(self, part, 0, n, k);
    if (st == STATUS_OK)
        pack(self, n, k, out);
    return st;
}

static enum status load_qkv(struct loader *self, uint32_t layer, struct gemm_weights *out) {
    static const char *const parts[3] = {"query", "key", "value"};
    const uint32_t hidden = self->shape->hidden;
    for (uint32_t i = 0; i < 3; i++) {
        char part[NAME_BYTES];
        snprintf(part, sizeof part, "encoder.layer.%u.attention.self.%s.", layer, parts[i]);
        enum status st = read_linear(self, part, i * hidden, hidden, hidden);
        if (st != STATUS_OK)
            return st;
    }
    const float scale = 1.0f / sqrtf((float)(hidden / self->shape->heads));
    for (size_t i = 0; i < (size_t)hidden * hidden; i++)
        self->matrix[i] *= scale;
    for (size_t i = 0; i < hidden; i++)
        self->bias[i] *= scale;
    pack(self, 3 * hidden, hidden, out);
    return STATUS_OK;
}

static enum status load_layer(struct loader *self, uint32_t l, struct encoder_layer *out) {
    const uint32_t hidden = self->shape->hidden, inner = self->shape->inner;
    const struct {
        const char *part;
        uint32_t n, k;
        struct gemm_weights *out;
    } products[] = {
        {"attention.output.dense", hidden, hidden, &out->out},
        {"intermediate.dense", inner, hidden, &out->ffn1},
        {"output.dense", hidden, inner, &out->ffn2},
    };
    char part[NAME_BYTES];
    enum status st = load_qkv(self, l, &out->qkv);
    for (size_t i = 0; st == STATUS_OK && i < sizeof products / sizeof *products; i++) {
        snprintf(part, sizeof part, "encoder.layer.%u.%s.", l, products[i].part);
        st = load_linear(self, part, products[i].n, products[i].k, products[i].out);
    }
    if (st != STATUS_OK)
        return st;
    snprintf(part, sizeof part, "encoder.layer.%u.attention.output.LayerNorm.", l);
    st = load_norm(self, part, &out->norm1);
    if (st != STATUS_OK)
        return st;
    snprintf(part, sizeof part, "encoder.layer.%u.output.LayerNorm.", l);
    return load_norm(self, part, &out->norm2);
}

static enum status load_all(struct loader *self) {
    const struct model_shape *shape = self->shape;
    encoder_t *encoder = self->encoder;
    const struct {
        const char *part;
        uint32_t rows;
        const float **out;
    } tables[] = {
        {"word_embeddings", shape->vocab_rows, &encoder->words},
        {"position_embeddings", shape->positions, &encoder->positions},
        {"token_type_embeddings", shape->types, &encoder->types},
    };
    encoder->layers = arena_array(&encoder->memory, struct encoder_layer, shape->layers);
    CHECK(encoder->layers); /* memory_bytes() counted it */
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        enum status st = load_table(self, tables[i].part, tables[i].rows, tables[i].out);
        if (st != STATUS_OK)
            return st;
    }
    enum status st = load_norm(self, "embeddings.LayerNorm.", &encoder->norm);
    for (uint32_t l = 0; st == STATUS_OK && l < shape->layers; l++)
        st = load_layer(self, l, &encoder->layers[l]);
    return st;
}

/* All that load_all() takes from the arena. */
static size_t memory_bytes(const struct model_shape *shape, const struct gemm_kernel *gemm) {
    const size_t hidden = shape->hidden, row = hidden * sizeof(float);
    const uint32_t h = shape->hidden, i = shape->inner;
    const size_t norm = 2 * arena_need(1, row);
    size_t layer = 2 * norm;
    layer += arena_need(1, gemm->packed_bytes(3 * h, h));
    layer += arena_need(1, gemm->packed_bytes(h, h));
    layer += arena_need(1, gemm->packed_bytes(i, h));
    layer += arena_need(1, gemm->packed_bytes(h, i));
    return arena_need(shape->layers, sizeof(struct encoder_layer)) + norm + shape->layers * layer +
           arena_need(shape->vocab_rows, row) + arena_need(shape->positions, row) +
           arena_need(shape->types, row);
}

/* Weights are read from end to end all the time: with pages of 2 MB that costs fewer address
 * look-ups. The kernel may say no, and nothing depends on it. */
static void ask_huge_pages(struct arena *arena) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)arena->base + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)arena->base + arena->size) / page * page;
    if (end > begin)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

static enum kernel_act act_of(enum model_act act) {
    switch (act) {
    case MODEL_GELU:
        return KERNEL_ACT_GELU;
    case MODEL_GELU_NEW:
        return KERNEL_ACT_GELU_NEW;
    case MODEL_RELU:
        return KERNEL_ACT_RELU;
    case MODEL_SILU:
        return KERNEL_ACT_SILU;
    }
    CHECK(false); /* all of the enum are above */
    return KERNEL_ACT_NONE;
}

static const char *prefix_of(const struct encoder_source *source) {
    return source->has(source->from, "bert.embeddings.word_embeddings.weight") ? "bert." : "";
}

enum status encoder_load_from(const struct model_shape *shape, const struct encoder_source *source,
                              const struct gemm_kernel *kernel, encoder_t **out, struct err *err) {
    CHECK(shape->layers && shape->hidden && shape->heads && shape->inner && shape->types);
    CHECK(shape->hidden % shape->heads == 0 && shape->max_tokens <= shape->positions);
    const size_t h = shape->hidden, i = shape->inner;
    const size_t matrix = 3 * h * h > i * h ? 3 * h * h : i * h;
    struct loader loader = {.source = source,
                            .shape = shape,
                            .prefix = prefix_of(source),
                            .encoder = calloc(1, sizeof *loader.encoder),
                            .matrix = malloc(matrix * sizeof(float)),
                            .bias = malloc((3 * h + i) * sizeof(float)),
                            .err = err};
    encoder_t *self = loader.encoder;
    enum status st = STATUS_RESOURCE_EXHAUSTED;
    if (!self || !loader.matrix || !loader.bias) {
        err_set(err, st, "no memory for weights");
        goto out;
    }
    self->shape = *shape;
    self->gemm = kernel;
    self->kernels = kernels_choose();
    self->act = act_of(shape->act);
    const size_t bytes = memory_bytes(shape, kernel);
    if (!arena_init(&self->memory, bytes)) {
        err_set(err, st, "no memory for %zu bytes of weights", bytes);
        goto out;
    }
    ask_huge_pages(&self->memory);
    st = load_all(&loader);
    if (st != STATUS_OK)
        goto out;
    *out = self;
    self = NULL; /* moved to the caller */
out:
    encoder_destroy(&self);
    free(loader.matrix);
    free(loader.bias);
    return st;
}

static bool weights_has(const void *from, const char *name) {
    return weights_find(from, name) != NULL;
}

static enum status weights_read_from(const void *from, const char *name, uint64_t rows,
                                     uint64_t cols, float *out, struct err *err) {
    return weights_read(from, name, rows, cols, out, err);
}

enum status encoder_load(const struct model_shape *shape, const weights_t *weights,
                         const struct gemm_kernel *kernel, encoder_t **out, struct err *err) {
    const struct encoder_source source = {weights, weights_has, weights_read_from};
    return encoder_load_from(shape, &source, kernel, out, err);
}

void encoder_destroy(encoder_t **self) {
    if (!*self)
        return;
    arena_done(&(*self)->memory);
    free(*self);
    *self = NULL;
}

size_t encoder_weight_bytes(const encoder_t *self) {
    return self->memory.used;
}
