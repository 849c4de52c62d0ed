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

static void add_linear(struct plans *plans, uint32_t layer, const char *name, uint32_t outputs,
                       uint32_t inputs) {
    add(plans, outputs, inputs, FILL_SPREAD, 1 / sqrt(inputs), "encoder.layer.%u.%s.weight", layer,
        name);
    add(plans, outputs, 0, FILL_SPREAD, 0.02, "encoder.layer.%u.%s.bias", layer, name);
}

static void add_norm(struct plans *plans, uint32_t width, const char *name) {
    add(plans, width, 0, FILL_NEAR_ONE, 0.1, "%s.weight", name);
    add(plans, width, 0, FILL_SPREAD, 0.02, "%s.bias", name);
}

static void add_layer(struct plans *plans, uint32_t layer, const struct model_shape *shape) {
    uint32_t h = shape->hidden;
    char name[NAME_MAX_BYTES - 8];
    add_linear(plans, layer, "attention.self.query", h, h);
    add_linear(plans, layer, "attention.self.key", h, h);
    add_linear(plans, layer, "attention.self.value", h, h);
    add_linear(plans, layer, "attention.output.dense", h, h);
    snprintf(name, sizeof name, "encoder.layer.%u.attention.output.LayerNorm", layer);
    add_norm(plans, h, name);
    add_linear(plans, layer, "intermediate.dense", shape->inner, h);
    add_linear(plans, layer, "output.dense", h, shape->inner);
    snprintf(name, sizeof name, "encoder.layer.%u.output.LayerNorm", layer);
    add_norm(plans, h, name);
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
    uint32_t h = shape->hidden;
    add(&plans, shape->vocab_rows, h, FILL_SPREAD, 0.05, "embeddings.word_embeddings.weight");
    add(&plans, shape->positions, h, FILL_SPREAD, 0.02, "embeddings.position_embeddings.weight");
    add(&plans, shape->types, h, FILL_SPREAD, 0.02, "embeddings.token_type_embeddings.weight");
    add_norm(&plans, h, "embeddings.LayerNorm");
    for (uint32_t i = 0; i < shape->layers; i++)
        add_layer(&plans, i, shape);
    enum status st = write_plans(dir, &plans, seed, progress, err);
    free(plans.list);
    return st;
}
