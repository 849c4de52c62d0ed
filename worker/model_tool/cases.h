/* cases.h - runs cases.jsonl files of golden models: texts with the ids and vectors that a
 * correct engine gives. tests/data/golden/README.md tells the fields and where the figures come
 * from.
 *
 * A case's texts go through the engine together and each alone; both answers must meet the
 * tolerance. */
#ifndef EMBER_MODEL_TOOL_CASES_H
#define EMBER_MODEL_TOOL_CASES_H

#include "base/err.h"
#include "engine/engine.h"

#include <stdint.h>

/* What float32 arithmetic reaches with a margin of about 30, while the smallest known mistake,
 * GELU's tanh form, moves a normalised vector by 7e-5. */
#define CASES_TOLERANCE_NORMALIZED 1e-5
#define CASES_TOLERANCE_RAW        1e-4
#define CASES_COSINE               0.999999

struct cases_result {
    uint32_t cases, failed;
    double difference;     /* largest, of normalised vectors */
    double difference_raw; /* largest, of the others */
    char first[300];       /* the first failure: case and reason; "" when there is none */
};

/* Run the cases of `path` that name `model`, and add to *result. An error means that the file
 * cannot be read; a case that fails is counted and is no error. */
enum status cases_run(const char *path, const char *model, const engine_t *engine,
                      struct cases_result *result, struct err *err);

/* The same where nothing but finite vectors can be asked for: the vocabulary or pooling was
 * changed. */
enum status cases_run_finite(const char *path, const char *model, const engine_t *engine,
                             struct cases_result *result, struct err *err);

/* How many of the cases name `model`, whatever their kind. */
enum status cases_count(const char *path, const char *model, uint32_t *n, struct err *err);

#endif
