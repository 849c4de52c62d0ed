/* answer.h - the parts of an answer that look alike in every subcommand. */
#ifndef EMBER_CLI_ANSWER_H
#define EMBER_CLI_ANSWER_H

#include <ember/ember.h>

#include "base/view.h"

/* {"i":0,"text":"...","tokens":9,...,"worker":"w1" - without the closing brace. */
void answer_json(const ember_result_t *result, size_t i, uint64_t number, struct view text);

/* "model minilm@1a2b3c4d, worker w1: 1.8 ms (queue 0.1, tokenize 0.1, infer 1.4)" */
void answer_foot(const ember_result_t *result);

#endif
