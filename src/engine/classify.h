/* classify.h - scores of labels: from vectors or logits to what a reply says.
 *
 * Zero-shot, embedding model. Each label becomes a hypothesis by putting it into the template ("{}"
 * by default, "This text is about {}."), and is scored by the cosine between the text's vector and
 * the hypothesis's (Yin, Hay, Roth 2019 for the hypothesis form; cosine scoring as
 * sentence-transformers documents it).
 *   single label: softmax over labels of cosine / CLASSIFY_TEMPERATURE; scores add up to 1.
 *   multi label:  each label alone, cosine clipped to 0..1.
 * A model may have settings (model/zero_shot.h): another template, also one for labels with a Han
 * character, another temperature (Guo, Pleiss, Sun, Weinberger 2017), and for labels alone
 * sigmoid((cosine - midpoint) / temperature) (Platt 1999). NULL stands for no settings below.
 *
 * Zero-shot, NLI model (Yin, Hay, Roth 2019): logits of each pair text / hypothesis.
 *   single label: softmax over labels of their entailment logits.
 *   multi label:  each label alone, softmax over [contradiction, entailment], the second.
 *
 * One label alone is scored as multi label: a softmax over one would say 1 whatever the text.
 *
 * A model's own head: softmax over its classes, or each class's sigmoid.
 *
 * Threads: pure functions. Memory: nothing is allocated. */
#ifndef EMBER_ENGINE_CLASSIFY_H
#define EMBER_ENGINE_CLASSIFY_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

/* The scale 20 with which sentence-transformers trains its contrastive models. */
#define CLASSIFY_TEMPERATURE 0.05f
#define CLASSIFY_TEMPLATE    "{}"

struct zero_shot;

/* The template of a label where the request names none; lives as long as the settings. */
struct view classify_template(const struct zero_shot *settings, struct view label);
/* The temperature of the softmax. */
float classify_temperature(const struct zero_shot *settings);

/* cosines[n] -> scores[n], in the same order; the two may be one array. */
void classify_scores(const struct zero_shot *settings, const float *cosines, uint32_t n,
                     bool multi_label, float *scores);

/* logits[n, classes], a row per label -> scores[n]. NaN in, NaN out. */
void classify_nli(const float *logits, uint32_t n, uint32_t classes, uint32_t entailment,
                  uint32_t contradiction, bool multi_label, float *scores);

/* logits[n] of a model's own head -> scores[n]; the two may be one array. */
void classify_head(const float *logits, uint32_t n, bool sigmoid, float *scores);

/* 1 / (1 + e^-x): what a reranker's logit says. */
float classify_sigmoid(float x);

/* order[0..n): indices by falling score, equal scores in their given order. */
void classify_order(const float *scores, uint32_t n, uint32_t *order);

/* `label` in place of the first "{}" of `template_text` into out[out_bytes] (no NUL); returns
 * the bytes, 0 when the template has no "{}" or it does not fit (also for an empty label in the
 * template "{}"). A "{}" inside the label stays as it is. */
size_t classify_hypothesis(struct view template_text, struct view label, char *out,
                           size_t out_bytes);

#endif
