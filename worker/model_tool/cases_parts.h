/* cases_parts.h - the inside of cases.c (files, running, vectors), shared with cases_heads.c
 * (logits and scores). Everybody else uses cases.h. */
#ifndef EMBER_MODEL_TOOL_CASES_PARTS_H
#define EMBER_MODEL_TOOL_CASES_PARTS_H

#include "base/limits.h"
#include "cases.h"
#include "jsonl.h"
#include "json/json.h"

struct cases {
    const engine_t *engine;
    engine_seat_t *seat;
    struct cases_result *result;
    const struct jsonl *file;
    enum engine_precision precision;
    bool finite_only;
    uint32_t n; /* items of the case in hand */
    struct engine_item items[LIMIT_REQUEST_TEXTS];
    float *full;  /* [LIMIT_REQUEST_TEXTS, dim] */
    float *got;   /* [dim] */
    int32_t *ids; /* [2, max_positions] ids, then segments */
    char (*hypotheses)[LIMIT_TEMPLATE_BYTES + LIMIT_LABEL_BYTES]; /* [LIMIT_REQUEST_TEXTS] */
    float *cosines;                                               /* [n_cosines] */
    uint32_t n_cosines, cosines_room;
    const json_t *row;
    bool failed; /* the case in hand */
};

/* The case fails; the first reason of a run is kept. */
void cases_fail(struct cases *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Element i of an array; NULL when there is none. */
const json_t *cases_element(const json_t *array, uint32_t i);

/* Start item self->n with the case's length limit: its text, and for a pair the second. False, and
 * the case has failed, when there is no room or a limit makes no sense. */
bool cases_add(struct cases *self, struct view text, struct view second, enum engine_pair pair);

/* Text of an element into *out; false, and the case has failed, when it is none. */
bool cases_text(struct cases *self, const json_t *element, const char *what, struct view *out);

/* Run all items together and each alone; ids are looked at once, `check` judges both answers. */
void cases_both(struct cases *self, void (*check)(struct cases *self, const char *how));

/* Item i has an answer; false, and the case has failed, when it has an error instead. */
bool cases_answered(struct cases *self, uint32_t i, const char *how);

/* The kinds of models with heads. */
void cases_classify(struct cases *self);
void cases_pair(struct cases *self);
void cases_zeroshot(struct cases *self);
void cases_rerank(struct cases *self);

#endif
