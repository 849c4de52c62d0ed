/* cases.c - one case at a time: read, tokenise, embed together and alone, compare. */
#include "cases.h"

#include "base/limits.h"
#include "engine/vector.h"
#include "jsonl.h"
#include "json/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const engine_t *engine;
    engine_seat_t *seat;
    struct cases_result *result;
    bool finite_only;
    struct engine_item items[LIMIT_REQUEST_TEXTS];
    float *full;  /* [LIMIT_REQUEST_TEXTS, dim] */
    float *got;   /* [dim] */
    int32_t *ids; /* [max_positions] */
    const json_t *row;
    bool failed; /* the case in hand */
};

static void run_done(struct run *run) {
    engine_seat_destroy(&run->seat);
    free(run->full);
    free(run->got);
    free(run->ids);
}

static enum status run_init(struct run *run, const engine_t *engine, struct cases_result *result,
                            struct err *err) {
    const struct engine_info *info = engine_info(engine);
    *run = (struct run){.engine = engine, .result = result};
    run->full = calloc((size_t)LIMIT_REQUEST_TEXTS * info->dim, sizeof *run->full);
    run->got = calloc(info->dim, sizeof *run->got);
    run->ids = calloc(info->max_positions, sizeof *run->ids);
    if (!run->full || !run->got || !run->ids)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the cases");
    return engine_seat_new(engine, 512, LIMIT_REQUEST_TEXTS, &run->seat, err);
}

__attribute__((format(printf, 2, 3))) static void fail(struct run *run, const char *format, ...) {
    run->failed = true;
    char *first = run->result->first;
    if (*first)
        return;
    const char *id = json_text(json_get(run->row, "id"));
    int n = snprintf(first, sizeof run->result->first, "%.80s: ", id ? id : "(no id)");
    va_list args;
    va_start(args, format);
    vsnprintf(first + n, sizeof run->result->first - (size_t)n, format, args);
    va_end(args);
}

static void check_ids(struct run *run, uint32_t text, const json_t *want, const json_t *n_full) {
    const struct engine_item *item = &run->items[text];
    const struct engine_info *info = engine_info(run->engine);
    uint32_t max = item->max_tokens ? item->max_tokens : info->max_tokens, full;
    max = max < info->max_positions ? max : info->max_positions;
    uint32_t n = engine_tokenize(run->engine, item->text, ENGINE_CUT_RIGHT, run->ids, max, &full);
    if (json_size(want) != n) {
        fail(run, "text %u has %u token ids, want %u", text, n, json_size(want));
        return;
    }
    uint32_t i = 0;
    for (const json_t *id = json_first(want); id; id = json_next(id), i++) {
        double x = -1;
        json_f64(id, &x);
        if (x != run->ids[i]) {
            fail(run, "text %u, token %u: id %d, want %.0f", text, i, run->ids[i], x);
            return;
        }
    }
    uint64_t want_full;
    if (json_u64(n_full, &want_full) && (full != want_full || item->tokens_full != want_full))
        fail(run, "text %u has %u tokens uncut, want %llu", text, full,
             (unsigned long long)want_full);
    if (item->tokens != n)
        fail(run, "text %u was run with %u tokens, want %u", text, item->tokens, n);
}

struct wanted {
    bool normalize;
    uint32_t dims;
};

/* Compare run->got[0..n) with the array `want`. */
static void compare(struct run *run, uint32_t text, const char *how, const struct wanted *wanted,
                    const json_t *want, uint32_t n) {
    if (json_size(want) != n) {
        fail(run, "text %u %s: %u numbers, want %u", text, how, n, json_size(want));
        return;
    }
    double worst = 0, dot = 0, got_squares = 0, want_squares = 0;
    uint32_t i = 0, at = 0;
    for (const json_t *number = json_first(want); number; number = json_next(number), i++) {
        double x = NAN, got = (double)run->got[i];
        json_f64(number, &x);
        double difference = fabs(got - x);
        if (isnan(difference) || difference > worst) { /* once NaN it stays */
            worst = difference;
            at = i;
        }
        dot += got * x;
        got_squares += got * got;
        want_squares += x * x;
    }
    struct cases_result *result = run->result;
    double *largest = wanted->normalize ? &result->difference : &result->difference_raw;
    *largest = fmax(*largest, worst);
    double most = wanted->normalize ? CASES_TOLERANCE_NORMALIZED : CASES_TOLERANCE_RAW;
    double cosine = dot / sqrt(got_squares * want_squares);
    if (!(worst <= most))
        fail(run, "text %u %s: number %u differs by %.2g, at most %.0e", text, how, at, worst,
             most);
    else if (wanted->normalize && !(cosine >= CASES_COSINE))
        fail(run, "text %u %s: cosine %.9f", text, how, cosine);
}

static void check_vector(struct run *run, uint32_t text, const char *how,
                         const struct wanted *wanted, const json_t *want) {
    const struct engine_item *item = &run->items[text];
    uint32_t dim = engine_info(run->engine)->dim;
    if (item->status != STATUS_OK) {
        fail(run, "text %u %s: %s", text, how, status_name(item->status));
        return;
    }
    if (run->finite_only || !want)
        return; /* the engine answers INTERNAL when it is not finite */
    vector_finish(item->out, dim, wanted->dims, wanted->normalize, run->got);
    compare(run, text, how, wanted, want, wanted->dims ? wanted->dims : dim);
}

static const json_t *element(const json_t *array, uint32_t i) {
    const json_t *e = array ? json_first(array) : NULL;
    while (e && i--)
        e = json_next(e);
    return e;
}

static void embed_case(struct run *run, const struct jsonl *file) {
    const json_t *row = run->row, *texts = json_get(row, "texts");
    uint32_t n = json_size(texts), dim = engine_info(run->engine)->dim;
    uint64_t max_length = 0, dims = 0;
    struct wanted wanted = {0};
    json_u64(json_get(row, "max_length"), &max_length);
    json_u64(json_get(row, "dims"), &dims);
    json_bool(json_get(row, "normalize"), &wanted.normalize);
    wanted.dims = (uint32_t)dims;
    if (n == 0 || n > LIMIT_REQUEST_TEXTS || dims > dim || max_length == 1 ||
        max_length > LIMIT_TOKENS || json_size(json_get(row, "out")) != n) {
        fail(run, "it makes no sense for a model of %u dimensions", dim);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        run->items[i] = (struct engine_item){.max_tokens = (uint32_t)max_length,
                                             .out = run->full + (size_t)i * dim};
        if (!jsonl_text(file, element(texts, i), &run->items[i].text))
            fail(run, "text %u is no string", i);
    }
    if (run->failed)
        return;
    engine_run(run->engine, run->seat, run->items, n, NULL);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *ids = element(json_get(row, "ids"), i);
        const json_t *n_full = element(json_get(row, "n_full"), i);
        if (ids && !run->finite_only)
            check_ids(run, i, ids, n_full);
        check_vector(run, i, "with the others", &wanted, element(json_get(row, "out"), i));
    }
    for (uint32_t i = 0; i < n && n > 1; i++) {
        engine_run(run->engine, run->seat, &run->items[i], 1, NULL);
        check_vector(run, i, "alone", &wanted, element(json_get(row, "out"), i));
    }
}

/* `model` of a case is one id or a list of them. */
static bool is_for(const json_t *row, const char *model) {
    const json_t *m = json_get(row, "model");
    if (json_text(m))
        return strcmp(json_text(m), model) == 0;
    for (const json_t *e = m ? json_first(m) : NULL; e; e = json_next(e))
        if (json_text(e) && strcmp(json_text(e), model) == 0)
            return true;
    return false;
}

static void one_case(struct run *run, const struct jsonl *file) {
    const char *kind = json_text(json_get(run->row, "kind"));
    run->failed = false;
    if (kind && strcmp(kind, "embed") == 0)
        embed_case(run, file);
    else
        fail(run, "kind '%.20s' is not one this program can run", kind ? kind : "(none)");
    run->result->cases++;
    run->result->failed += run->failed;
}

static enum status run_all(const char *path, const char *model, struct run *run, struct err *err) {
    struct jsonl file;
    json_t *row = NULL;
    enum status st = jsonl_open(path, &file, err);
    while (st == STATUS_OK && (st = jsonl_next(&file, &row, err)) == STATUS_OK && row) {
        run->row = row;
        if (is_for(row, model))
            one_case(run, &file);
        json_destroy(&row);
    }
    jsonl_close(&file);
    return st;
}

static enum status run_file(const char *path, const char *model, const engine_t *engine,
                            bool finite_only, struct cases_result *result, struct err *err) {
    struct run *run = calloc(1, sizeof *run); /* too large for a stack that a child has to copy */
    if (!run)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the cases");
    enum status st = run_init(run, engine, result, err);
    run->finite_only = finite_only;
    if (st == STATUS_OK)
        st = run_all(path, model, run, err);
    run_done(run);
    free(run);
    return st;
}

enum status cases_run(const char *path, const char *model, const engine_t *engine,
                      struct cases_result *result, struct err *err) {
    return run_file(path, model, engine, false, result, err);
}

enum status cases_run_finite(const char *path, const char *model, const engine_t *engine,
                             struct cases_result *result, struct err *err) {
    return run_file(path, model, engine, true, result, err);
}

enum status cases_count(const char *path, const char *model, uint32_t *n, struct err *err) {
    struct jsonl file;
    json_t *row = NULL;
    uint32_t found = 0;
    enum status st = jsonl_open(path, &file, err);
    while (st == STATUS_OK && (st = jsonl_next(&file, &row, err)) == STATUS_OK && row) {
        found += is_for(row, model);
        json_destroy(&row);
    }
    jsonl_close(&file);
    if (st == STATUS_OK)
        *n = found;
    return st;
}
