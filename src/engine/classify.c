/* classify.c - cosines and logits into scores. The sums run in double, so that scores of one text
 * add up to 1 within a float's rounding whatever the number of labels. */
#include "engine/classify.h"

#include <math.h>
#include <string.h>

/* scores[i] = e^(x[i * stride] / temperature), made to add up to 1. */
static void softmax(const float *x, size_t stride, uint32_t n, double temperature, float *scores) {
    float largest = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        largest = fmaxf(largest, x[i * stride]);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) { /* less the largest: no exponent overflows */
        double e = exp(((double)x[i * stride] - (double)largest) / temperature);
        sum += e;
        scores[i] = (float)e;
    }
    for (uint32_t i = 0; i < n; i++)
        scores[i] = (float)((double)scores[i] / sum);
}

void classify_scores(const float *cosines, uint32_t n, bool multi_label, float *scores) {
    if (multi_label || n == 1) {
        for (uint32_t i = 0; i < n; i++)
            scores[i] = fmaxf(0, fminf(1, cosines[i]));
        return;
    }
    softmax(cosines, 1, n, (double)CLASSIFY_TEMPERATURE, scores);
}

float classify_sigmoid(float x) {
    return (float)(1 / (1 + exp(-(double)x)));
}

void classify_nli(const float *logits, uint32_t n, uint32_t classes, uint32_t entailment,
                  uint32_t contradiction, bool multi_label, float *scores) {
    if (!multi_label && n > 1) {
        softmax(logits + entailment, classes, n, 1, scores);
        return;
    }
    for (uint32_t i = 0; i < n; i++) { /* a softmax over two is the sigmoid of their difference */
        const float *row = logits + (size_t)i * classes;
        scores[i] = classify_sigmoid(row[entailment] - row[contradiction]);
    }
}

void classify_head(const float *logits, uint32_t n, bool sigmoid, float *scores) {
    if (!sigmoid) {
        softmax(logits, 1, n, 1, scores);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        scores[i] = classify_sigmoid(logits[i]);
}

void classify_order(const float *scores, uint32_t n, uint32_t *order) {
    for (uint32_t i = 0; i < n; i++) { /* insertion sort: stable, and n is small */
        uint32_t at = i;
        for (; at > 0 && scores[order[at - 1]] < scores[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

size_t classify_hypothesis(struct view template_text, struct view label, char *out,
                           size_t out_bytes) {
    const char *slot =
        template_text.bytes ? memmem(template_text.data, template_text.bytes, "{}", 2) : NULL;
    if (!slot)
        return 0;
    size_t before = (size_t)(slot - template_text.data), after = template_text.bytes - before - 2;
    if (label.bytes > out_bytes || before + after > out_bytes - label.bytes)
        return 0;
    memcpy(out, template_text.data, before);
    if (label.bytes)
        memcpy(out + before, label.data, label.bytes);
    memcpy(out + before + label.bytes, slot + 2, after);
    return before + label.bytes + after;
}
