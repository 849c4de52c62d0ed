/* cases_heads.c - cases of models with a head: logits, and the scores and order that follow.
 *
 *     classify   texts           names, activation; scores per text
 *     pair       pairs           logits alone
 *     zeroshot   text, labels    one pair per label, only the text is cut; scores over the labels
 *     rerank     query, docs     one pair per document; scores, order */
#include "cases_parts.h"

#include "engine/classify.h"

#include <math.h>
#include <string.h>

#define ORDER_APART 1e-5 /* closer scores may change places */

/* Largest difference of got[0..n) from the array `want`; NaN when a number is missing. */
static double apart(const float *got, uint32_t n, const json_t *want) {
    double worst = json_size(want) == n ? 0 : NAN;
    uint32_t i = 0;
    for (const json_t *e = want ? json_first(want) : NULL; e && i < n; e = json_next(e), i++) {
        double x = NAN;
        json_f64(e, &x);
        const double difference = fabs((double)got[i] - x);
        if (isnan(difference) || difference > worst) /* once NaN it stays */
            worst = difference;
    }
    return worst;
}

static void check_numbers(struct cases *self, const char *what, uint32_t i, const char *how,
                          double worst, double most, double *largest) {
    *largest = fmax(*largest, worst);
    if (!(worst <= most) && (self->precision == ENGINE_F32 || isnan(worst)))
        cases_fail(self, "%s %u %s: differs by %.2g, at most %.0e", what, i, how, worst, most);
}

/* The logits of all items: a list per item, or of one number a number per item. */
static void check_logits(struct cases *self, const char *how) {
    const json_t *all = json_get(self->row, "logits");
    const uint32_t dim = engine_info(self->engine)->dim;
    if (json_size(all) != self->n) {
        cases_fail(self, "%u rows of logits, want %u", json_size(all), self->n);
        return;
    }
    uint32_t i = 0;
    for (const json_t *want = json_first(all); want; want = json_next(want), i++) {
        double x, worst;
        if (!cases_answered(self, i, how) || self->finite_only)
            continue;
        worst = dim == 1 && json_f64(want, &x) ? fabs((double)*self->items[i].out - x)
                                               : apart(self->items[i].out, dim, want);
        check_numbers(self, "logits of text", i, how, worst, CASES_TOLERANCE_LOGIT,
                      &self->result->difference_logit);
        self->result->answers++;
    }
}

/* With narrower numbers: the first stays first where it leads clearly. */
static void check_lead(struct cases *self, uint32_t i, const char *how, const float *got,
                       uint32_t n, const json_t *want) {
    double best = -INFINITY, second = -INFINITY;
    uint32_t first = 0, k = 0, got_first = 0;
    for (const json_t *e = json_first(want); e; e = json_next(e), k++) {
        double x = NAN;
        json_f64(e, &x);
        if (x > best) {
            second = best;
            best = x;
            first = k;
        } else if (x > second) {
            second = x;
        }
    }
    for (k = 1; k < n; k++)
        got_first = got[k] > got[got_first] ? k : got_first;
    if (n < 2 || !(best - second > CASES_CLEAR_LEAD))
        return;
    self->result->leads++;
    if (got_first == first)
        return;
    self->result->leads_lost++;
    cases_fail(self, "scores %u %s: %u is the first, want %u, which leads by %.2f", i, how,
               got_first, first, best - second);
}

/* got[n] against `want`, answer i of the case. */
static void check_scores(struct cases *self, uint32_t i, const char *how, const float *got,
                         uint32_t n, const json_t *want) {
    if (json_size(want) != n) {
        cases_fail(self, "scores %u: %u, want %u", i, n, json_size(want));
        return;
    }
    check_numbers(self, "scores", i, how, apart(got, n, want), CASES_TOLERANCE_SCORE,
                  &self->result->difference_score);
    check_lead(self, i, how, got, n, want);
}

/* Indices by falling score; neighbours that are as good as equal may change places. */
static void check_order(struct cases *self, const char *how, const float *scores, uint32_t n) {
    const json_t *want = json_get(self->row, "order");
    uint32_t order[LIMIT_REQUEST_TEXTS], i = 0;
    if (!want || self->precision != ENGINE_F32)
        return;
    classify_order(scores, n, order);
    for (const json_t *e = json_first(want); e && i < n; e = json_next(e), i++) {
        uint64_t at = 0;
        if (!json_u64(e, &at) || at >= n ||
            (at != order[i] && fabs((double)(scores[at] - scores[order[i]])) > ORDER_APART)) {
            cases_fail(self, "%s: %u stands at place %u, want %llu", how, order[i], i,
                       (unsigned long long)at);
            return;
        }
    }
    if (json_size(want) != n)
        cases_fail(self, "an order of %u, want %u", n, json_size(want));
}

static bool has_head(struct cases *self, enum engine_head a, enum engine_head b) {
    const struct engine_info *info = engine_info(self->engine);
    if (info->head == a || info->head == b)
        return true;
    cases_fail(self, "it makes no sense for a model without such a head");
    return false;
}

/* ---- classify ---- */

static void check_names(struct cases *self) {
    const struct engine_info *info = engine_info(self->engine);
    const json_t *names = json_get(self->row, "names");
    const char *activation = json_text(json_get(self->row, "activation"));
    if (json_size(names) != info->n_labels) {
        cases_fail(self, "%u labels, want %u", info->n_labels, json_size(names));
        return;
    }
    uint32_t i = 0;
    for (const json_t *e = json_first(names); e; e = json_next(e), i++)
        if (!json_text(e) || !view_equal(view_of(json_text(e)), engine_label(self->engine, i)))
            cases_fail(self, "label %u has another name than '%.40s'", i,
                       json_text(e) ? json_text(e) : "?");
    if (!activation || strcmp(activation, info->sigmoid ? "sigmoid" : "softmax") != 0)
        cases_fail(self, "%s, want %s", info->sigmoid ? "sigmoid" : "softmax",
                   activation ? activation : "?");
}

static void check_classes(struct cases *self, const char *how) {
    const struct engine_info *info = engine_info(self->engine);
    check_logits(self, how);
    for (uint32_t i = 0; i < self->n && !self->finite_only; i++) {
        classify_head(self->items[i].out, info->n_labels, info->sigmoid, self->got);
        check_scores(self, i, how, self->got, info->n_labels,
                     cases_element(json_get(self->row, "scores"), i));
    }
}

void cases_classify(struct cases *self) {
    const json_t *texts = json_get(self->row, "texts");
    if (!has_head(self, ENGINE_HEAD_LABELS, ENGINE_HEAD_LABELS))
        return;
    check_names(self);
    for (const json_t *e = texts ? json_first(texts) : NULL; e; e = json_next(e)) {
        struct view text;
        if (!cases_text(self, e, "a text", &text) ||
            !cases_add(self, text, view_of(""), ENGINE_SINGLE))
            return;
    }
    if (self->n)
        cases_both(self, check_classes);
    else
        cases_fail(self, "it has no texts");
}

/* ---- pair ---- */

void cases_pair(struct cases *self) {
    const json_t *pairs = json_get(self->row, "pairs");
    const char *truncation = json_text(json_get(self->row, "truncation"));
    const bool only_first = truncation && strcmp(truncation, "only_first") == 0;
    if (!has_head(self, ENGINE_HEAD_NLI, ENGINE_HEAD_SCORE))
        return;
    for (const json_t *e = pairs ? json_first(pairs) : NULL; e; e = json_next(e)) {
        struct view a, b;
        if (!cases_text(self, cases_element(e, 0), "a first text", &a) ||
            !cases_text(self, cases_element(e, 1), "a second text", &b) ||
            !cases_add(self, a, b, only_first ? ENGINE_PAIR_ONLY_FIRST : ENGINE_PAIR_LONGEST_FIRST))
            return;
    }
    if (self->n)
        cases_both(self, check_logits);
    else
        cases_fail(self, "it has no pairs");
}

/* ---- zeroshot ---- */

static void check_zeroshot(struct cases *self, const char *how) {
    const struct engine_info *info = engine_info(self->engine);
    float scores[LIMIT_REQUEST_TEXTS];
    bool multi_label = false;
    check_logits(self, how);
    if (self->finite_only)
        return;
    json_bool(json_get(self->row, "multi_label"), &multi_label);
    classify_nli(self->full, self->n, info->dim, info->entailment, info->contradiction, multi_label,
                 scores);
    check_scores(self, 0, how, scores, self->n, json_get(self->row, "scores"));
    check_order(self, how, scores, self->n);
}

void cases_zeroshot(struct cases *self) {
    const json_t *labels = json_get(self->row, "labels");
    struct view text, template_text, label;
    if (!has_head(self, ENGINE_HEAD_NLI, ENGINE_HEAD_NLI) ||
        !cases_text(self, json_get(self->row, "text"), "text", &text) ||
        !cases_text(self, json_get(self->row, "template"), "template", &template_text))
        return;
    for (const json_t *e = labels ? json_first(labels) : NULL; e; e = json_next(e)) {
        if (!cases_text(self, e, "a label", &label) || self->n == LIMIT_REQUEST_TEXTS)
            break;
        char *hypothesis = self->hypotheses[self->n];
        const size_t bytes =
            classify_hypothesis(template_text, label, hypothesis, sizeof *self->hypotheses);
        if (!cases_add(self, text, view_make(hypothesis, bytes), ENGINE_PAIR_ONLY_FIRST))
            return;
    }
    if (self->n && self->n == json_size(labels))
        cases_both(self, check_zeroshot);
    else if (!self->failed)
        cases_fail(self, "it has no labels, or too many");
}

/* ---- rerank ---- */

static void check_rerank(struct cases *self, const char *how) {
    float scores[LIMIT_REQUEST_TEXTS];
    check_logits(self, how);
    for (uint32_t i = 0; i < self->n; i++)
        scores[i] = classify_sigmoid(*self->items[i].out);
    if (self->finite_only)
        return;
    check_scores(self, 0, how, scores, self->n, json_get(self->row, "scores"));
    check_order(self, how, scores, self->n);
}

void cases_rerank(struct cases *self) {
    const json_t *docs = json_get(self->row, "docs");
    struct view query, doc;
    if (!has_head(self, ENGINE_HEAD_SCORE, ENGINE_HEAD_SCORE) ||
        !cases_text(self, json_get(self->row, "query"), "query", &query))
        return;
    for (const json_t *e = docs ? json_first(docs) : NULL; e; e = json_next(e))
        if (!cases_text(self, e, "a document", &doc) ||
            !cases_add(self, query, doc, ENGINE_PAIR_LONGEST_FIRST))
            return;
    if (self->n)
        cases_both(self, check_rerank);
    else
        cases_fail(self, "it has no documents");
}
