/* eval_labels.c - tasks that choose a label: zero-shot, by the label's words alone, and the model's
 * own head. Of labels with equal scores the first is taken. */
#include "eval_tasks.h"

#include "base/limits.h"
#include "engine/classify.h"
#include "engine/vector.h"
#include "eval_calibration.h"
#include "eval_metrics.h"
#include "eval_rows.h"
#include "model/zero_shot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct labelled {
    struct text_list texts, labels;
    uint32_t *text, *truth; /* [n] */
    uint32_t *guess;        /* [texts.n] */
    float *x;               /* [texts.n, labels.n] of zero-shot: what the softmax is taken of */
    uint32_t n;
};

static void labelled_done(struct labelled *l) {
    text_list_done(&l->texts);
    text_list_done(&l->labels);
    free(l->text);
    free(l->truth);
    free(l->guess);
    free(l->x);
}

/* `fixed`: the labels are known, and a row with another one makes no sense. */
static enum status label_of(struct labelled *l, struct eval_rows *rows, bool fixed,
                            struct view label, struct err *err) {
    l->truth[l->n] = text_list_find(&l->labels, label);
    if (l->truth[l->n] != UINT32_MAX)
        return STATUS_OK;
    if (fixed)
        return eval_rows_bad(rows, err, "label \"%.*s\" is not one of the %u labels",
                             label.bytes < 100 ? (int)label.bytes : 100, label.data, l->labels.n);
    if (label.bytes == 0)
        return eval_rows_bad(rows, err, "\"label\" is empty");
    if (label.bytes > LIMIT_LABEL_BYTES)
        return eval_rows_bad(rows, err, "the label has %zu bytes, at most %d are taken",
                             label.bytes, LIMIT_LABEL_BYTES);
    if (l->labels.n == EVAL_LABELS_MAX)
        return eval_rows_bad(rows, err, "more than %d different labels", EVAL_LABELS_MAX);
    return text_list_add(&l->labels, label, &l->truth[l->n], NULL, err);
}

static enum status labelled_read(const struct eval *self, struct labelled *l, struct err *err) {
    const bool fixed = l->labels.n > 0;
    struct eval_rows rows;
    struct view text, label;
    enum status st = eval_rows_open(self->path, self->limit, &rows, err);
    while (st == STATUS_OK && (st = eval_rows_next(&rows, err)) == STATUS_OK && rows.row) {
        st = eval_rows_text(&rows, "text", NULL, &text, err);
        if (st == STATUS_OK)
            st = eval_rows_text(&rows, "label", NULL, &label, err);
        if (st != STATUS_OK)
            break;
        if (!eval_rows_room((void **)&l->text, l->n, sizeof *l->text) ||
            !eval_rows_room((void **)&l->truth, l->n, sizeof *l->truth)) {
            st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u texts", l->n);
            break;
        }
        st = text_list_add(&l->texts, text, &l->text[l->n], NULL, err);
        if (st == STATUS_OK)
            st = label_of(l, &rows, fixed, label, err);
        l->n++;
    }
    eval_rows_close(&rows);
    if (st == STATUS_OK && !(l->guess = malloc(l->texts.n * sizeof *l->guess)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u guesses", l->texts.n);
    return st;
}

static enum status judge(struct eval *self, const struct labelled *l, struct err *err) {
    uint32_t *guess = malloc(l->n * sizeof *guess);
    if (!guess)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u guesses", l->n);
    for (uint32_t i = 0; i < l->n; i++)
        guess[i] = l->guess[l->text[i]];
    const struct eval_guesses figures = eval_guesses(l->truth, guess, l->n, l->labels.n);
    eval_head(self);
    facts_count(&self->facts, "rows", l->n, "");
    facts_count(&self->facts, "labels", l->labels.n, "");
    facts_number(&self->facts, "accuracy", figures.accuracy, 4, "");
    facts_number(&self->facts, "macro_f1", figures.macro_f1, 4, "");
    free(guess);
    return STATUS_OK;
}

static uint32_t largest(const float *x, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* ---- zero-shot ---- */

static enum status labels_of_flag(const struct eval *self, struct labelled *l, struct err *err) {
    for (const char *p = self->labels; *p;) {
        const size_t bytes = strcspn(p, ",");
        uint32_t i;
        bool fresh;
        if (bytes == 0)
            return err_set(err, STATUS_INVALID_ARGUMENT, "--labels: an empty label");
        enum status st = text_list_add(&l->labels, view_make(p, bytes), &i, &fresh, err);
        if (st != STATUS_OK)
            return st;
        if (!fresh)
            return err_set(err, STATUS_INVALID_ARGUMENT, "--labels: '%s' stands there twice",
                           l->labels.at[i].data);
        p += bytes + (p[bytes] == ',');
    }
    return STATUS_OK;
}

/* The labels inside the template; two labels never make one hypothesis. */
static enum status make_hypotheses(const struct eval *self, const struct labelled *l,
                                   struct text_list *out, struct err *err) {
    char text[LIMIT_TEMPLATE_BYTES + LIMIT_LABEL_BYTES];
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < l->labels.n && st == STATUS_OK; i++) {
        const struct view pattern =
            *self->template_text
                ? view_of(self->template_text)
                : classify_template(engine_zero_shot(self->outputs.engine), l->labels.at[i]);
        const size_t bytes = classify_hypothesis(pattern, l->labels.at[i], text, sizeof text);
        uint32_t index;
        if (bytes == 0)
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "--template '%.100s' has no {} for the label, or is too long",
                           self->template_text);
        st = text_list_add(out, view_make(text, bytes), &index, NULL, err);
    }
    return st;
}

static enum status by_cosine(struct eval *self, struct labelled *l,
                             const struct text_list *hypotheses, struct err *err) {
    float *texts = NULL, *labels = NULL;
    uint32_t dim = 0;
    enum status st =
        eval_vectors(self, hypotheses->at, hypotheses->n, self->prompt, &dim, &labels, err);
    if (st == STATUS_OK)
        st = eval_vectors(self, l->texts.at, l->texts.n, self->prompt, &dim, &texts, err);
    for (uint32_t i = 0; st == STATUS_OK && i < l->texts.n; i++) {
        float *row = l->x + (size_t)i * hypotheses->n;
        for (uint32_t k = 0; k < hypotheses->n; k++)
            row[k] = vector_cosine(texts + (size_t)i * dim, labels + (size_t)k * dim, dim);
        l->guess[i] = largest(row, hypotheses->n);
    }
    free(texts);
    free(labels);
    return st;
}

/* Every text with every hypothesis, a part of the texts at a time: logits of all of them could be
 * gigabytes. */
static enum status by_nli(struct eval *self, struct labelled *l, const struct text_list *hypotheses,
                          struct err *err) {
    enum { PAIRS = 16384 };
    const struct engine_info *info = engine_info(self->outputs.engine);
    const uint32_t n_labels = hypotheses->n, part = PAIRS / n_labels;
    struct view *first = malloc(PAIRS * sizeof *first), *second = malloc(PAIRS * sizeof *second);
    float scores[EVAL_LABELS_MAX], *logits = NULL;
    enum status st = STATUS_OK;
    if (!first || !second)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for pairs");
    self->outputs.prefix = self->prompt;
    for (uint32_t at = 0; at < l->texts.n && st == STATUS_OK; at += part) {
        const uint32_t n = l->texts.n - at < part ? l->texts.n - at : part;
        for (uint32_t i = 0; i < n * n_labels; i++) {
            first[i] = l->texts.at[at + i / n_labels];
            second[i] = hypotheses->at[i % n_labels];
        }
        st = outputs_of(&self->outputs, first, second, n * n_labels, &logits, err);
        for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
            const float *rows = logits + (size_t)i * n_labels * info->dim;
            classify_nli(rows, n_labels, info->dim, info->entailment, info->contradiction, false,
                         scores);
            l->guess[at + i] = largest(scores, n_labels);
            for (uint32_t k = 0; k < n_labels; k++)
                l->x[(size_t)(at + i) * n_labels + k] = rows[k * info->dim + info->entailment];
        }
        free(logits);
        logits = NULL;
    }
    free(first);
    free(second);
    return st;
}

/* What would go into the model's settings, as one line. */
static void put_settings(struct eval *self, double temperature, const double *midpoint,
                         double multi_temperature) {
    const struct zero_shot *old = engine_zero_shot(self->outputs.engine);
    const char *const names[] = {"template", "template_han"};
    const char *const texts[] = {*self->template_text ? self->template_text
                                 : old                ? old->template_text
                                                      : "",
                                 old && !*self->template_text ? old->template_han : ""};
    char quoted[6 * LIMIT_TEMPLATE_BYTES + 3]; /* \\u0000 is the longest escape */
    facts_key(&self->facts, "settings");
    putchar('{');
    for (int i = 0; i < 2; i++) {
        json_quote(view_of(texts[i]), quoted, sizeof quoted);
        if (*texts[i])
            printf("\"%s\": %s, ", names[i], quoted);
    }
    printf("\"temperature\": %.4g", temperature);
    if (midpoint)
        printf(", \"multi_label\": {\"midpoint\": %.4g, \"temperature\": %.4g}", *midpoint,
               multi_temperature);
    fputs(self->json ? "}" : "}\n", stdout);
}

static void put_better(struct eval *self, const struct calibration_rows *rows) {
    const double min = ZERO_SHOT_TEMPERATURE_MIN, max = ZERO_SHOT_TEMPERATURE_MAX;
    const double best = calibration_temperature(rows, min, max);
    const struct calibration then = calibration_of(rows, best);
    double midpoint = 0, alone = 0;
    facts_number(&self->facts, "best_temperature", best, 4, "");
    facts_number(&self->facts, "best_log_loss", then.log_loss, 4, "");
    facts_number(&self->facts, "best_ece", then.ece, 4, "");
    const bool curve = calibration_curve(rows, &midpoint, &alone) && fabs(midpoint) <= 1 &&
                       alone >= min && alone <= max;
    put_settings(self, best, curve ? &midpoint : NULL, alone);
}

/* Behind the figures of judge(). */
static void put_calibration(struct eval *self, const struct labelled *l) {
    const bool cosine = engine_info(self->outputs.engine)->head == ENGINE_HEAD_NONE;
    const struct zero_shot *settings = engine_zero_shot(self->outputs.engine);
    const double temperature = cosine ? (double)classify_temperature(settings) : 1;
    const struct calibration_rows rows = {
        .x = l->x, .text = l->text, .truth = l->truth, .n = l->n, .n_labels = l->labels.n};
    const struct calibration now = calibration_of(&rows, temperature);
    facts_number(&self->facts, "temperature", temperature, 4, "");
    facts_number(&self->facts, "log_loss", now.log_loss, 4, "");
    facts_number(&self->facts, "ece", now.ece, 4, "");
    if (self->calibrate)
        put_better(self, &rows);
}

static bool make_room(struct labelled *l) {
    l->x = malloc((size_t)l->texts.n * l->labels.n * sizeof *l->x);
    return l->x != NULL;
}

enum status eval_zeroshot(struct eval *self, struct err *err) {
    const enum engine_head head = engine_info(self->outputs.engine)->head;
    if (head != ENGINE_HEAD_NONE && head != ENGINE_HEAD_NLI)
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "zero-shot needs a model that embeds, or one with an NLI head");
    if (self->calibrate && head == ENGINE_HEAD_NLI)
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "--calibrate is for models of vectors: one with a head has no settings");
    struct labelled l = {0};
    struct text_list hypotheses = {0};
    enum status st = labels_of_flag(self, &l, err);
    if (st == STATUS_OK)
        st = labelled_read(self, &l, err);
    if (st == STATUS_OK && l.labels.n < 2)
        st = err_set(err, STATUS_DATA_LOSS, "'%s' has a single label: nothing to choose from",
                     self->path);
    if (st == STATUS_OK)
        st = make_hypotheses(self, &l, &hypotheses, err);
    if (st == STATUS_OK && !make_room(&l))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED,
                     "no memory for scores of %u labels for %u texts", l.labels.n, l.texts.n);
    if (st == STATUS_OK)
        st = head == ENGINE_HEAD_NLI ? by_nli(self, &l, &hypotheses, err)
                                     : by_cosine(self, &l, &hypotheses, err);
    if (st == STATUS_OK)
        st = judge(self, &l, err);
    if (st == STATUS_OK)
        put_calibration(self, &l);
    text_list_done(&hypotheses);
    labelled_done(&l);
    return st;
}

/* ---- the model's own head ---- */

enum status eval_classify(struct eval *self, struct err *err) {
    const struct engine_info *info = engine_info(self->outputs.engine);
    if (info->head != ENGINE_HEAD_LABELS)
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "the model has no labels of its own; --task zeroshot asks for any");
    struct labelled l = {0};
    float *logits = NULL;
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < info->n_labels && st == STATUS_OK; i++) {
        const struct view label = engine_label(self->outputs.engine, i);
        uint32_t index;
        bool fresh;
        st = text_list_add(&l.labels, label, &index, &fresh, err);
        if (st == STATUS_OK && !fresh)
            st = err_set(err, STATUS_FAILED_PRECONDITION, "the model has two labels '%.*s'",
                         (int)label.bytes, label.data);
    }
    if (st == STATUS_OK)
        st = labelled_read(self, &l, err);
    self->outputs.prefix = self->prompt;
    if (st == STATUS_OK)
        st = outputs_of(&self->outputs, l.texts.at, NULL, l.texts.n, &logits, err);
    if (st == STATUS_OK) {
        for (uint32_t i = 0; i < l.texts.n; i++)
            l.guess[i] = largest(logits + (size_t)i * info->dim, info->dim);
        st = judge(self, &l, err);
    }
    free(logits);
    labelled_done(&l);
    return st;
}
