/* cases.c - one case at a time: read, tokenise, run together and alone, compare. */
#include "cases_parts.h"

#include "engine/engine_cpu.h"
#include "engine/vector.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void cases_done(struct cases *self) {
    engine_seat_destroy(&self->seat);
    free(self->full);
    free(self->got);
    free(self->ids);
    free(self->hypotheses);
    free(self->cosines);
}

static enum status cases_init(struct cases *self, const engine_t *engine,
                              struct cases_result *result, struct err *err) {
    const struct engine_info *info = engine_info(engine);
    *self = (struct cases){.engine = engine, .result = result};
    if (!engine_precision_parse(info->precision, &self->precision))
        return err_set(err, STATUS_INVALID_ARGUMENT, "no tolerance for precision '%s'",
                       info->precision);
    self->full = calloc((size_t)LIMIT_REQUEST_TEXTS * info->dim, sizeof *self->full);
    self->got = calloc(info->dim, sizeof *self->got);
    self->ids = calloc(2 * (size_t)info->max_positions, sizeof *self->ids);
    self->hypotheses = calloc(LIMIT_REQUEST_TEXTS, sizeof *self->hypotheses);
    if (!self->full || !self->got || !self->ids || !self->hypotheses)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the cases");
    return engine_seat_new(engine, 512, LIMIT_REQUEST_TEXTS, &self->seat, err);
}

void cases_fail(struct cases *self, const char *format, ...) {
    self->failed = true;
    char *first = self->result->first;
    if (*first)
        return;
    const char *id = json_text(json_get(self->row, "id"));
    int n = snprintf(first, sizeof self->result->first, "%.80s: ", id ? id : "(no id)");
    va_list args;
    va_start(args, format);
    vsnprintf(first + n, sizeof self->result->first - (size_t)n, format, args);
    va_end(args);
}

const json_t *cases_element(const json_t *array, uint32_t i) {
    const json_t *e = array ? json_first(array) : NULL;
    while (e && i--)
        e = json_next(e);
    return e;
}

/* ---- items ---- */

bool cases_text(struct cases *self, const json_t *element, const char *what, struct view *out) {
    if (element && jsonl_text(self->file, element, out))
        return true;
    cases_fail(self, "%s is no string", what);
    return false;
}

bool cases_add(struct cases *self, struct view text, struct view second, enum engine_pair pair) {
    uint64_t max_length = 0;
    json_u64(json_get(self->row, "max_length"), &max_length);
    if (self->n == LIMIT_REQUEST_TEXTS || max_length == 1 || max_length > LIMIT_TOKENS) {
        cases_fail(self, "it makes no sense: more than %d texts, or another length than 2 to %d",
                   LIMIT_REQUEST_TEXTS, LIMIT_TOKENS);
        return false;
    }
    const uint32_t dim = engine_info(self->engine)->dim;
    self->items[self->n] = (struct engine_item){.text = text,
                                                .second = second,
                                                .pair = pair,
                                                .max_tokens = (uint32_t)max_length,
                                                .out = self->full + (size_t)self->n * dim};
    self->n++;
    return true;
}

bool cases_answered(struct cases *self, uint32_t i, const char *how) {
    const struct engine_item *item = &self->items[i];
    if (item->status == STATUS_OK)
        return true;
    cases_fail(self, "text %u %s: %s", i, how, status_name(item->status));
    return false;
}

/* ---- token ids ---- */

/* *at, *wanted: the first that differs. */
static bool same_ids(const json_t *want, const int32_t *got, uint32_t n, uint32_t *at,
                     double *wanted) {
    *at = 0;
    for (const json_t *id = json_first(want); id && *at < n; id = json_next(id), ++*at) {
        *wanted = NAN;
        json_f64(id, wanted);
        if (*wanted != got[*at])
            return false;
    }
    return true;
}

/* The item's ids into self->ids, segments behind them; returns how many. */
static uint32_t tokenize(struct cases *self, const struct engine_item *item, uint32_t *full) {
    const struct engine_info *info = engine_info(self->engine);
    uint32_t max = item->max_tokens ? item->max_tokens : info->max_tokens;
    int32_t *types = self->ids + info->max_positions;
    max = max < info->max_positions ? max : info->max_positions;
    memset(types, 0, info->max_positions * sizeof *types);
    if (item->pair == ENGINE_SINGLE)
        return engine_tokenize(self->engine, item->text, ENGINE_CUT_RIGHT, self->ids, max, full);
    return tokenizer_encode_pair(
        engine_tokenizer(self->engine), item->text, item->second, max < 3 ? 3 : max,
        item->pair == ENGINE_PAIR_ONLY_FIRST ? TOKENIZER_ONLY_FIRST : TOKENIZER_LONGEST_FIRST,
        self->ids, types, full);
}

static void check_ids(struct cases *self, uint32_t i) {
    const struct engine_item *item = &self->items[i];
    const int32_t *types = self->ids + engine_info(self->engine)->max_positions;
    const json_t *want = cases_element(json_get(self->row, "ids"), i);
    const json_t *want_types = cases_element(json_get(self->row, "type_ids"), i);
    uint32_t full, at = 0;
    uint64_t want_full;
    double x = 0;
    if (!want || self->finite_only)
        return;
    const uint32_t n = tokenize(self, item, &full);
    if (json_size(want) != n)
        cases_fail(self, "text %u has %u token ids, want %u", i, n, json_size(want));
    else if (!same_ids(want, self->ids, n, &at, &x))
        cases_fail(self, "text %u, token %u: id %d, want %.0f", i, at, self->ids[at], x);
    else if (want_types && json_size(want_types) != n)
        cases_fail(self, "text %u has %u segment ids, want %u", i, n, json_size(want_types));
    else if (want_types && !same_ids(want_types, types, n, &at, &x))
        cases_fail(self, "text %u, token %u: segment %d, want %.0f", i, at, types[at], x);
    else if (item->tokens != n)
        cases_fail(self, "text %u was run with %u tokens, want %u", i, item->tokens, n);
    else if (json_u64(cases_element(json_get(self->row, "n_full"), i), &want_full) &&
             (full != want_full || item->tokens_full != want_full))
        cases_fail(self, "text %u has %u tokens uncut, want %llu", i, full,
                   (unsigned long long)want_full);
}

void cases_both(struct cases *self, void (*check)(struct cases *self, const char *how)) {
    engine_run(self->engine, self->seat, self->items, self->n, NULL);
    for (uint32_t i = 0; i < self->n; i++)
        check_ids(self, i);
    check(self, "with the others");
    if (self->n == 1)
        return;
    for (uint32_t i = 0; i < self->n; i++)
        engine_run(self->engine, self->seat, &self->items[i], 1, NULL);
    check(self, "alone");
}

/* ---- vectors ---- */

static void keep_cosine(struct cases *self, double cosine) {
    struct cases_result *result = self->result;
    if (self->n_cosines == self->cosines_room) {
        const uint32_t room = self->cosines_room ? 2 * self->cosines_room : 256;
        float *more = realloc(self->cosines, room * sizeof *more);
        if (!more) {
            cases_fail(self, "no memory for another cosine");
            return;
        }
        self->cosines = more;
        self->cosines_room = room;
    }
    self->cosines[self->n_cosines++] = (float)cosine;
    result->cosine_least = fmin(result->cosine_least, cosine);
    result->vectors++;
}

static void judge_vector(struct cases *self, uint32_t i, const char *how, bool normalize,
                         double worst, uint32_t at, double cosine) {
    const double most = normalize ? CASES_TOLERANCE_NORMALIZED : CASES_TOLERANCE_RAW;
    const double least = self->precision == ENGINE_BF16 ? CASES_COSINE_BF16
                         : self->precision == ENGINE_I8 ? CASES_COSINE_I8
                         : normalize                    ? CASES_COSINE
                                                        : -1;
    if (self->precision == ENGINE_F32 && !(worst <= most))
        cases_fail(self, "text %u %s: number %u differs by %.2g, at most %.0e", i, how, at, worst,
                   most);
    else if (!(cosine >= least))
        cases_fail(self, "text %u %s: cosine %.9f, at least %g", i, how, cosine, least);
}

/* Compare self->got[0..n) with the array `want`. */
static void compare_vector(struct cases *self, uint32_t i, const char *how, bool normalize,
                           const json_t *want, uint32_t n) {
    if (json_size(want) != n) {
        cases_fail(self, "text %u %s: %u numbers, want %u", i, how, n, json_size(want));
        return;
    }
    double worst = 0, dot = 0, got_squares = 0, want_squares = 0;
    uint32_t k = 0, at = 0;
    for (const json_t *number = json_first(want); number; number = json_next(number), k++) {
        double x = NAN, got = (double)self->got[k];
        json_f64(number, &x);
        double difference = fabs(got - x);
        if (isnan(difference) || difference > worst) { /* once NaN it stays */
            worst = difference;
            at = k;
        }
        dot += got * x;
        got_squares += got * got;
        want_squares += x * x;
    }
    const double cosine = dot / sqrt(got_squares * want_squares);
    struct cases_result *result = self->result;
    double *largest = normalize ? &result->difference : &result->difference_raw;
    *largest = fmax(*largest, worst);
    keep_cosine(self, cosine);
    judge_vector(self, i, how, normalize, worst, at, cosine);
}

static void check_vectors(struct cases *self, const char *how) {
    const uint32_t dim = engine_info(self->engine)->dim;
    uint64_t dims = 0;
    bool normalize = false;
    json_u64(json_get(self->row, "dims"), &dims);
    json_bool(json_get(self->row, "normalize"), &normalize);
    for (uint32_t i = 0; i < self->n; i++) {
        const json_t *want = cases_element(json_get(self->row, "out"), i);
        if (!cases_answered(self, i, how) || self->finite_only || !want)
            continue; /* the engine answers INTERNAL when it is not finite */
        vector_finish(self->items[i].out, dim, (uint32_t)dims, normalize, self->got);
        compare_vector(self, i, how, normalize, want, dims ? (uint32_t)dims : dim);
    }
}

static void embed_case(struct cases *self) {
    const json_t *texts = json_get(self->row, "texts");
    const struct engine_info *info = engine_info(self->engine);
    uint64_t dims = 0;
    json_u64(json_get(self->row, "dims"), &dims);
    if (info->head != ENGINE_HEAD_NONE || json_size(texts) == 0 || dims > info->dim ||
        json_size(json_get(self->row, "out")) != json_size(texts)) {
        cases_fail(self, "it makes no sense for a model of %u %s", info->dim,
                   info->head == ENGINE_HEAD_NONE ? "dimensions" : "logits");
        return;
    }
    for (const json_t *e = json_first(texts); e; e = json_next(e)) {
        struct view text;
        if (!cases_text(self, e, "a text", &text) ||
            !cases_add(self, text, view_of(""), ENGINE_SINGLE))
            return;
    }
    cases_both(self, check_vectors);
}

/* ---- files ---- */

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

static void one_case(struct cases *self) {
    static const struct {
        const char *kind;
        void (*run)(struct cases *self);
    } kinds[] = {
        {"embed", embed_case},        {"classify", cases_classify}, {"pair", cases_pair},
        {"zeroshot", cases_zeroshot}, {"rerank", cases_rerank},
    };
    const char *kind = json_text(json_get(self->row, "kind"));
    size_t k = 0;
    self->failed = false;
    self->n = 0;
    while (k < sizeof kinds / sizeof *kinds && (!kind || strcmp(kind, kinds[k].kind) != 0))
        k++;
    if (k < sizeof kinds / sizeof *kinds)
        kinds[k].run(self);
    else
        cases_fail(self, "kind '%.20s' is not one this program can run", kind ? kind : "(none)");
    self->result->cases++;
    self->result->failed += self->failed;
}

static int by_size(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void judge_median(struct cases *self) {
    struct cases_result *result = self->result;
    if (self->n_cosines == 0)
        return;
    qsort(self->cosines, self->n_cosines, sizeof *self->cosines, by_size);
    result->cosine_median = (double)self->cosines[self->n_cosines / 2];
    if (self->precision != ENGINE_I8 || result->cosine_median >= CASES_COSINE_I8_MEDIAN)
        return;
    result->failed++;
    if (!*result->first)
        snprintf(result->first, sizeof result->first, "the median of cosines is %.6f, at least %g",
                 result->cosine_median, CASES_COSINE_I8_MEDIAN);
}

static enum status run_all(const char *path, const char *model, struct cases *self,
                           struct err *err) {
    struct jsonl file;
    json_t *row = NULL;
    enum status st = jsonl_open(path, &file, err);
    self->file = &file;
    while (st == STATUS_OK && (st = jsonl_next(&file, &row, err)) == STATUS_OK && row) {
        self->row = row;
        if (is_for(row, model))
            one_case(self);
        json_destroy(&row);
    }
    jsonl_close(&file);
    return st;
}

static enum status run_file(const char *path, const char *model, const engine_t *engine,
                            bool finite_only, struct cases_result *result, struct err *err) {
    struct cases *self = calloc(1, sizeof *self); /* too large for a stack that a child copies */
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the cases");
    result->cosine_least = result->cosine_median = 1;
    enum status st = cases_init(self, engine, result, err);
    self->finite_only = finite_only;
    if (st == STATUS_OK)
        st = run_all(path, model, self, err);
    if (st == STATUS_OK)
        judge_median(self);
    cases_done(self);
    free(self);
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
