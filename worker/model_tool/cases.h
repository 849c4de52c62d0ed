/* cases.h - runs cases.jsonl files of golden models: texts with the ids, vectors, logits and scores
 * that a correct engine gives. tests/data/golden/README.md tells the fields and where the figures
 * come from.
 *
 * A case's texts go through the engine together and each alone; both answers must pass.
 *
 *     f32     every number within its tolerance, every id
 *     bf16    every id; vectors by their cosine; the first label where it leads clearly
 *     i8      the same, and the cosines' median besides */
#ifndef EMBER_MODEL_TOOL_CASES_H
#define EMBER_MODEL_TOOL_CASES_H

#include "base/err.h"
#include "engine/engine.h"

#include <stdint.h>

/* What float32 arithmetic reaches with a margin of 10 to 30, while the smallest known mistake,
 * GELU's tanh form, moves a normalised vector by 7e-5 and a logit by 1e-3. */
#define CASES_TOLERANCE_NORMALIZED 1e-5
#define CASES_TOLERANCE_RAW        1e-4
#define CASES_TOLERANCE_LOGIT      5e-5
#define CASES_TOLERANCE_SCORE      1e-5
#define CASES_COSINE               0.999999

/* What narrower numbers must keep: of these models' vectors int8 loses at most 0.0012 of the cosine
 * where each row has a scale, 0.0034 where a whole matrix has one. */
#define CASES_COSINE_BF16      0.9999
#define CASES_COSINE_I8        0.995
#define CASES_COSINE_I8_MEDIAN 0.999
#define CASES_CLEAR_LEAD       0.2 /* of a score before the next: then the first must stay first */

struct cases_result {
    uint32_t cases, failed;
    uint32_t vectors, answers;          /* compared: vectors, rows of logits */
    double difference, difference_raw;  /* largest: of normalised vectors, of the others */
    double difference_logit;            /* largest */
    double difference_score;            /* largest */
    double cosine_least, cosine_median; /* of the vectors; 1 without any */
    uint32_t leads, leads_lost;         /* answers whose first label leads clearly */
    char first[300];                    /* the first failure: case and reason; "" when none */
};

/* Run the cases of `path` that name `model`, and add to *result (cosines are of this run alone). An
 * error means that the file cannot be read; a case that fails is counted and is no error. */
enum status cases_run(const char *path, const char *model, const engine_t *engine,
                      struct cases_result *result, struct err *err);

/* The same where nothing but finite answers can be asked for: the vocabulary or pooling was
 * changed. */
enum status cases_run_finite(const char *path, const char *model, const engine_t *engine,
                             struct cases_result *result, struct err *err);

/* How many of the cases name `model`, whatever their kind. */
enum status cases_count(const char *path, const char *model, uint32_t *n, struct err *err);

#endif
