/* static.c - the mean of token vectors.
 *
 *     id --mapping--> row of the table, as the file has it --widen--> x weights[id] --> sum --> / n
 *
 * Rows are added in order, in float32. A text of 30 tokens costs as much as reading 30 rows from
 * memory, so rows are never converted beforehand: half a table is half of what is read.
 *
 * Invariants: every entry of `rows` is below the rows of the table, and the table has no NaN. */
#include "model/static.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_NUMBERS = 64 * 1024 };

typedef uint16_t u16_any __attribute__((aligned(1), may_alias));
typedef float f32_any __attribute__((aligned(1), may_alias));

struct static_model {
    uint32_t vocab, dim;
    const char *name; /* of the table's tensor */
    enum weights_type type;
    uint64_t n_rows;
    const char *table; /* [n_rows, dim] in the mapped file, or `owned` */
    float *owned;
    uint32_t *rows; /* [vocab] a token's row, or NULL: its id */
    float *weights; /* [vocab], or NULL: 1 */
    size_t row_bytes;
};

/* ---- load */

static const struct tensor *find_table(const weights_t *weights) {
    const struct tensor *table = weights_find(weights, "embeddings");
    return table ? table : weights_find(weights, "embedding.weight");
}

bool static_drops_unknown(const weights_t *weights) {
    return weights_find(weights, "embeddings") != NULL;
}

/* Look at every number once, or, where the table cannot stay as it is, keep it widened. */
static enum status read_table(static_model_t *self, const weights_t *weights, bool keep,
                              struct err *err) {
    const uint64_t step = keep ? self->n_rows : 1 + CHECK_NUMBERS / self->dim;
    const uint64_t room = step < self->n_rows ? step : self->n_rows;
    float *some = malloc((size_t)room * self->dim * sizeof *some);
    if (!some)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for '%s'", self->name);
    enum status st = STATUS_OK;
    for (uint64_t row = 0; st == STATUS_OK && row < self->n_rows; row += step) {
        const uint64_t left = self->n_rows - row;
        st = weights_read_rows(weights, self->name, self->n_rows, self->dim, row,
                               left < step ? left : step, some, err);
    }
    if (st == STATUS_OK && keep) {
        self->owned = some;
        self->table = (const char *)some;
        self->type = WEIGHTS_F32;
        some = NULL;
    }
    free(some);
    return st;
}

static enum status load_table(static_model_t *self, const weights_t *weights,
                              const struct tensor *table, bool mapped, struct err *err) {
    self->name = table->name;
    self->type = table->type;
    self->n_rows = mapped && table->rank == 2 ? table->shape[0] : self->vocab;
    self->table = table->data;
    /* Shape and type first: the rest allocates on the word of the configuration. */
    enum status st = weights_read(weights, table->name, self->n_rows, self->dim, NULL, err);
    if (st == STATUS_OK)
        st = read_table(self, weights, !table->dense || table->type == WEIGHTS_F64, err);
    self->row_bytes = weights_type_bytes(self->type) * self->dim;
    return st;
}

static enum status bad_mapping(struct err *err, const char *what) {
    return err_set(err, STATUS_DATA_LOSS, "tensor 'mapping' %s", what);
}

static enum status load_mapping(static_model_t *self, const struct tensor *mapping,
                                struct err *err) {
    if (mapping->type != WEIGHTS_I32 && mapping->type != WEIGHTS_I64)
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "tensor 'mapping' is of a type other than I32 and I64");
    if (mapping->rank != 1 || mapping->shape[0] != self->vocab)
        return bad_mapping(err, "is no row of as many numbers as there are tokens");
    self->rows = malloc(self->vocab * sizeof *self->rows);
    if (!self->rows)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for 'mapping'");
    const size_t bytes = weights_type_bytes(mapping->type);
    for (uint32_t i = 0; i < self->vocab; i++) {
        const char *at = (const char *)mapping->data + (size_t)(i * mapping->stride[0]) * bytes;
        uint64_t row = 0; /* a negative number of 32 bits is beyond every table too */
        memcpy(&row, at, bytes);
        if (row >= self->n_rows)
            return bad_mapping(err, "names a row that the table does not have");
        self->rows[i] = (uint32_t)row;
    }
    return STATUS_OK;
}

static enum status load_factors(static_model_t *self, const weights_t *weights, struct err *err) {
    if (!weights_find(weights, "weights"))
        return STATUS_OK;
    enum status st = weights_read(weights, "weights", 1, self->vocab, NULL, err);
    if (st != STATUS_OK)
        return st;
    self->weights = malloc(self->vocab * sizeof *self->weights);
    if (!self->weights)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for 'weights'");
    return weights_read(weights, "weights", 1, self->vocab, self->weights, err);
}

enum status static_load(const struct model_shape *shape, const weights_t *weights,
                        static_model_t **out, struct err *err) {
    CHECK(shape->vocab_rows && shape->hidden);
    const struct tensor *table = find_table(weights);
    const struct tensor *mapping = weights_find(weights, "mapping");
    if (!table)
        return err_set(err, STATUS_NOT_FOUND,
                       "neither tensor 'embeddings' nor 'embedding.weight' is there");
    static_model_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a table");
    self->vocab = shape->vocab_rows;
    self->dim = shape->hidden;
    enum status st = load_table(self, weights, table, mapping != NULL, err);
    if (st == STATUS_OK && mapping)
        st = load_mapping(self, mapping, err);
    if (st == STATUS_OK)
        st = load_factors(self, weights, err);
    if (st == STATUS_OK)
        *out = self;
    else
        static_destroy(&self);
    return st;
}

void static_destroy(static_model_t **self) {
    static_model_t *model = *self;
    if (!model)
        return;
    free(model->owned);
    free(model->rows);
    free(model->weights);
    free(model);
    *self = NULL;
}

size_t static_weight_bytes(const static_model_t *self) {
    return (size_t)self->n_rows * self->row_bytes +
           (self->rows ? self->vocab * sizeof *self->rows : 0) +
           (self->weights ? self->vocab * sizeof *self->weights : 0);
}

/* ---- forward */

static void add_f32(float *out, const f32_any *row, float factor, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        out[i] += factor * row[i];
}

/* 15 bits moved to a float's place have an exponent that is 112 too small. */
static void add_f16(float *out, const u16_any *row, float factor, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)(row[i] & 0x7fffu) << 13;
        float x;
        memcpy(&x, &bits, sizeof x);
        x *= 0x1p112f;
        memcpy(&bits, &x, sizeof bits);
        bits |= (uint32_t)(row[i] & 0x8000u) << 16;
        memcpy(&x, &bits, sizeof x);
        out[i] += factor * x;
    }
}

static void add_bf16(float *out, const u16_any *row, float factor, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)row[i] << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        out[i] += factor * x;
    }
}

static void add_row(const static_model_t *self, uint32_t id, float *out) {
    CHECK(id < self->vocab);
    const char *row = self->table + (size_t)(self->rows ? self->rows[id] : id) * self->row_bytes;
    const float factor = self->weights ? self->weights[id] : 1.0f;
    if (self->type == WEIGHTS_F32)
        add_f32(out, (const f32_any *)row, factor, self->dim);
    else if (self->type == WEIGHTS_F16)
        add_f16(out, (const u16_any *)row, factor, self->dim);
    else
        add_bf16(out, (const u16_any *)row, factor, self->dim);
}

void static_forward(const static_model_t *self, const int32_t *ids, const uint32_t *start,
                    uint32_t n_seqs, float *out) {
    for (uint32_t s = 0; s < n_seqs; s++, out += self->dim) {
        memset(out, 0, self->dim * sizeof *out);
        const uint32_t n = start[s + 1] - start[s];
        for (uint32_t i = 0; i < n; i++)
            add_row(self, (uint32_t)ids[start[s] + i], out);
        for (uint32_t i = 0; n && i < self->dim; i++)
            out[i] /= (float)n;
    }
}
