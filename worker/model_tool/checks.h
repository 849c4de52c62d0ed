/* checks.h - the checks behind `ember-model check`, one per flag. Each prints its own lines on
 * stdout. */
#ifndef EMBER_MODEL_TOOL_CHECKS_H
#define EMBER_MODEL_TOOL_CHECKS_H

#include "base/cfg.h"
#include "base/err.h"
#include "engine/engine.h"

#include <stdint.h>

struct check_tally {
    uint32_t ran, failed; /* models, files or lines, as the check counts them */
};

/* Every model of DIR/index.json against CASES/<name>/cases.jsonl. `only` keeps models whose id,
 * or whose folder (what is in front of the slash), it lists; empty: all. */
enum status check_golden(const char *dir, const char *cases, const struct cfg_list *only,
                         const struct engine_options *options, struct check_tally *tally,
                         struct err *err);

/* Token ids: lines with text, text_b, max_length, truncation, ids, type_ids, n_full. */
enum status check_tokenizer(const char *model_dir, const char *cases, struct check_tally *tally,
                            struct err *err);

/* DIR/index.jsonl with hostile changes to DIR/../formats/base: all must be refused with a
 * message that names a file, within the time and memory of trial.h; where the case allows "ok",
 * right vectors will do. */
enum status check_corrupt(const char *dir, const struct cfg_list *only, struct check_tally *tally,
                          struct err *err);

/* DIR/index.jsonl with unusual but legal changes to DIR/base: level "must" and "should" must
 * load and give the vectors of DIR/cases.jsonl; "may" can be refused instead. */
enum status check_formats(const char *dir, const struct cfg_list *only, struct check_tally *tally,
                          struct err *err);

/* True when `only` is empty or lists `id` or the part of it in front of a slash. */
bool check_wanted(const struct cfg_list *only, const char *id);

#endif
