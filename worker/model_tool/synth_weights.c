/* synth_weights.c - model.safetensors: a list of tensors, written once as a header and once as
 * numbers.
 *
 *     [8 bytes: length of header][header: JSON, blanks to a multiple of 8][numbers ...]
 *
 * (https://github.com/huggingface/safetensors, "Format") */
#include "synth_dir.h"

#include "base/hash.h"
#include "base/limits.h"
#include "tool.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 96, PER_LAYER = 16, BESIDE_LAYERS = 5, BLOCK = 65536 };

enum fill { FILL_SPREAD, FILL_NEAR_ONE };

struct plan {
    char name[NAME_MAX_BYTES];
    uint32_t rows, cols; /* cols 0: rank 1 */
    enum fill fill;
    float deviation;
};

struct plans {
    struct plan *list;
    uint32_t n;
};

__attribute__((format(printf, 6, 7))) static void add(struct plans *plans, uint32_t rows,
                                                      uint32_t cols, enum fill fill,
                                                      double deviation, const char *format, ...) {
    struct plan *plan = &plans->list[plans->n++];
    va_list args;
    va_start(args, format);
    vsnprintf(plan->name, sizeof plan->name, format, args);
    va_end(args);
    plan->rows = rows;
    plan->cols = cols;
    plan->fill = fill;
    plan->deviation = (float)deviation;
}

/* What a family calls its tensors; `layer` is followed by a number and a dot. */
struct names {
    const char *norm, *layer;
    const char *qkv[3]; /* one name: all three in one matrix */
    const char *out, *up, *gate, *down, *norm1, *norm2;
    bool bias; /* of matrices */
};

static const struct names names_of[] = {
    [MODEL_BERT] = {"embeddings.LayerNorm",
                    "encoder.layer",
                    {"attention.self.query", "attention.self.key", "attention.self.value"},
                    "attention.output.dense",
                    "intermediate.dense",
                    NULL,
                    "output.dense",
                    "attention.output.LayerNorm",
                    "output.LayerNorm",
                    true},
    [MODEL_NOMIC] = {"emb_ln",
                     "encoder.layers",
                     {"attn.Wqkv", NULL, NULL},
                     "attn.out_proj",
                     "mlp.fc11",
                     "mlp.fc12",
                     "mlp.fc2",
                     "norm1",
                     "norm2",
                     false},
    [MODEL_DISTILBERT] = {"embeddings.LayerNorm",
                          "transformer.layer",
                          {"attention.q_lin", "attention.k_lin", "attention.v_lin"},
                          "attention.out_lin",
                          "ffn.lin1",
                          NULL,
                          "ffn.lin2",
                          "sa_layer_norm",
                          "output_layer_norm",
                          true},
};

static void add_linear(struct plans *plans, const char *layer, const char *name, bool bias,
                       uint32_t outputs, uint32_t inputs) {
    add(plans, outputs, inputs, FILL_SPREAD, 1 / sqrt(inputs), "%s%s.weight", layer, name);
    if (bias)
        add(plans, outputs, 0, FILL_SPREAD, 0.02, "%s%s.bias", layer, name);
}

static void add_norm(struct plans *plans, uint32_t width, const char *layer, const char *name) {
    add(plans, width, 0, FILL_NEAR_ONE, 0.1, "%s%s.weight", layer, name);
    add(plans, width, 0, FILL_SPREAD, 0.02, "%s%s.bias", layer, name);
}

static void add_layer(struct plans *plans, uint32_t number, const struct model_shape *shape) {
    const struct names *names = &names_of[shape->family];
    const uint32_t h = shape->hidden, parts = names->qkv[1] ? 3 : 1;
    char layer[NAME_MAX_BYTES / 2];
    snprintf(layer, sizeof layer, "%s.%u.", names->layer, number);
    for (uint32_t i = 0; i < parts; i++)
        add_linear(plans, layer, names->qkv[i], names->bias, 3 * h / parts, h);
    add_linear(plans, layer, names->out, names->bias, h, h);
    add_norm(plans, h, layer, names->norm1);
    add_linear(plans, layer, names->up, names->bias, shape->inner, h);
    if (names->gate)
        add_linear(plans, layer, names->gate, names->bias, shape->inner, h);
    add_linear(plans, layer, names->down, names->bias, h, shape->inner);
    add_norm(plans, h, layer, names->norm2);
}

static uint64_t plan_bytes(const struct plan *plan) {
    return (uint64_t)plan->rows * (plan->cols ? plan->cols : 1) * sizeof(float);
}

/* The JSON header, blank-padded to a multiple of 8. */
static char *make_header(const struct plans *plans, size_t *bytes) {
    size_t room = 128 + (size_t)plans->n * (NAME_MAX_BYTES + 128), n = 0;
    char *text = malloc(room);
    if (!text)
        return NULL;
    uint64_t at = 0;
    n += (size_t)snprintf(text, room, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (uint32_t i = 0; i < plans->n; i++) {
        const struct plan *plan = &plans->list[i];
        uint64_t end = at + plan_bytes(plan);
        char cols[16] = "";
        if (plan->cols)
            snprintf(cols, sizeof cols, ",%u", plan->cols);
        n += (size_t)snprintf(text + n, room - n,
                              ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%u%s],"
                              "\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                              plan->name, plan->rows, cols, at, end);
        at = end;
    }
    text[n++] = '}';
    while (n % 8)
        text[n++] = ' ';
    *bytes = n;
    return text;
}

/* About normal: the sum of four uniform numbers (Irwin, Hall 1927), two of them from each half
 * of one 64-bit draw; deviation 1, never beyond 3.5. */
static float normal(uint64_t *state) {
    uint64_t x = hash_next(state);
    int32_t sum = (int32_t)(x & 0xffff) + (int32_t)(x >> 16 & 0xffff) +
                  (int32_t)(x >> 32 & 0xffff) + (int32_t)(x >> 48);
    return (float)(sum - 2 * 65535) * (1.7320508f / 65536);
}

static bool write_tensor(const struct plan *plan, uint64_t *state, float *block, FILE *f) {
    float base = plan->fill == FILL_NEAR_ONE ? 1.0f : 0.0f;
    uint64_t left = plan_bytes(plan) / sizeof(float);
    while (left) {
        size_t n = left < BLOCK ? (size_t)left : BLOCK;
        for (size_t i = 0; i < n; i++)
            block[i] = base + plan->deviation * normal(state);
        if (fwrite(block, sizeof *block, n, f) != n)
            return false;
        left -= n;
    }
    return true;
}

static bool write_numbers(const struct plans *plans, uint32_t seed, bool progress, FILE *f) {
    float *block = malloc(BLOCK * sizeof *block);
    uint64_t state = hash_mix(seed), all = 0, done = 0;
    for (uint32_t i = 0; i < plans->n; i++)
        all += plan_bytes(&plans->list[i]);
    bool ok = block != NULL;
    for (uint32_t i = 0; ok && i < plans->n; i++) {
        ok = write_tensor(&plans->list[i], &state, block, f);
        done += plan_bytes(&plans->list[i]);
        if (progress)
            fprintf(stderr, "\rweights: %3.0f%% of %.0f MB", 100.0 * (double)done / (double)all,
                    (double)all / 1e6);
    }
    if (progress)
        fputc('\n', stderr);
    free(block);
    return ok;
}

static enum status write_plans(const char *dir, const struct plans *plans, uint32_t seed,
                               bool progress, struct err *err) {
    char path[TOOL_PATH_MAX], part[TOOL_PATH_MAX];
    enum status st = tool_path(path, dir, "model.safetensors", err);
    if (st == STATUS_OK)
        st = tool_path(part, dir, "model.safetensors.part", err);
    if (st != STATUS_OK)
        return st;
    size_t bytes;
    char *header = make_header(plans, &bytes);
    if (!header)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a header");
    FILE *f = fopen(part, "we");
    if (!f) {
        free(header);
        return err_errno(err, STATUS_UNAVAILABLE, "make '%s'", part);
    }
    uint64_t length = bytes; /* little-endian, as every host we build for */
    bool written = fwrite(&length, sizeof length, 1, f) == 1 &&
                   fwrite(header, 1, bytes, f) == bytes && write_numbers(plans, seed, progress, f);
    free(header);
    if (fclose(f) != 0 || !written || rename(part, path) != 0) {
        st = err_errno(err, STATUS_UNAVAILABLE, "write '%s'", part);
        remove(part);
    }
    return st;
}

enum status synth_write_weights(const char *dir, const struct model_shape *shape, uint32_t seed,
                                bool progress, struct err *err) {
    struct plans plans = {0};
    plans.list = calloc((size_t)shape->layers * PER_LAYER + BESIDE_LAYERS, sizeof *plans.list);
    if (!plans.list)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a list of tensors");
    const uint32_t h = shape->hidden;
    add(&plans, shape->vocab_rows, h, FILL_SPREAD, 0.05, "embeddings.word_embeddings.weight");
    if (shape->family != MODEL_NOMIC) /* whose positions are rotations */
        add(&plans, shape->positions, h, FILL_SPREAD, 0.02,
            "embeddings.position_embeddings.weight");
    if (shape->family != MODEL_DISTILBERT) /* which has no segments */
        add(&plans, shape->types, h, FILL_SPREAD, 0.02, "embeddings.token_type_embeddings.weight");
    add_norm(&plans, h, "", names_of[shape->family].norm);
    for (uint32_t i = 0; i < shape->layers; i++)
        add_layer(&plans, i, shape);
    enum status st = write_plans(dir, &plans, seed, progress, err);
    free(plans.list);
    return st;
}
