/* eval_calibration.h - whether scores are chances: of a hundred guesses with score 0.8 eighty
 * should be right. And which settings would make them so (model/zero_shot.h).
 *
 * Threads: pure functions; nothing is allocated. */
#ifndef EMBER_MODEL_TOOL_EVAL_CALIBRATION_H
#define EMBER_MODEL_TOOL_EVAL_CALIBRATION_H

#include <stdbool.h>
#include <stdint.h>

enum { CALIBRATION_BINS = 15 };

/* n >= 1 judged rows: row i is of text[i] and has the label truth[i]. */
struct calibration_rows {
    const float *x; /* [texts, n_labels] cosines or logits of each text; finite */
    const uint32_t *text, *truth;
    uint32_t n, n_labels; /* at least 2 labels */
};

/* Of the scores softmax(x / temperature).
 *   log_loss  mean of -ln(score of the true label); ln(n_labels) is what knowing nothing costs
 *   ece       expected calibration error (Guo, Pleiss, Sun, Weinberger 2017): rows go into 15 bins
 *             of equal width by the score of their best label; the mean over rows of the distance
 *             between a bin's mean score and its share of right guesses */
struct calibration {
    double log_loss, ece;
};
struct calibration calibration_of(const struct calibration_rows *rows, double temperature);

/* The temperature from min to max with the least log loss; min when it falls down to there. The
 * loss is convex in 1 / temperature, so that there is one valley. */
double calibration_temperature(const struct calibration_rows *rows, double min, double max);

/* Labels alone: sigmoid((x - midpoint) / temperature) fitted to whether each label of each row is
 * the true one (Platt 1999; targets and steps of Lin, Lin, Weng 2007). False when higher x does not
 * mean more true ones. */
bool calibration_curve(const struct calibration_rows *rows, double *midpoint, double *temperature);

#endif
