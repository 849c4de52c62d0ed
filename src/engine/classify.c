/* classify.c - cosines and logits into scores. The sums run in double, so that scores of one text
 * add up to 1 within a float's rounding whatever the number of labels. */
#include "engine/classify.h"

#include "base/utf8.h"
#include "model/zero_shot.h"

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

static bool has_ideograph(struct view text) {
    const char *p = text.data, *end = p + text.bytes;
    unsigned bytes;
    for (; p < end; p += bytes)
        if (utf8_is_ideograph(utf8_next(p, end, &bytes)))
            return true;
    return false;
}

struct view classify_template(const struct zero_shot *settings, struct view label) {
    if (settings && settings->template_han[0] && has_ideograph(label))
        return view_of(settings->template_han);
    return view_of(settings && settings->template_text[0] ? settings->template_text
                                                          : CLASSIFY_TEMPLATE);
}

float classify_temperature(const struct zero_shot *settings) {
    return settings && settings->temperature > 0 ? settings->temperature : CLASSIFY_TEMPERATURE;
}

static float score_alone(const struct zero_shot *settings, float cosine) {
    if (settings && settings->multi)
        return classify_sigmoid((cosine - settings->midpoint) / settings->multi_temperature);
    return fmaxf(0, fminf(1, cosine));
}

void classify_scores(const struct zero_shot *settings, const float *cosines, uint32_t n,
                     bool multi_label, float *scores) {
    if (!multi_label && n != 1) {
        softmax(cosines, 1, n, (double)classify_temperature(settings), scores);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        scores[i] = score_alone(settings, cosines[i]);
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

/* Whether index a stands behind index b. */
static bool is_behind(const float *scores, uint32_t a, uint32_t b) {
    return scores[a] != scores[b] ? scores[a] < scores[b] : a > b;
}

/* Lets order[at] sink in the heap order[0..n), in which nothing stands behind its parent. */
static void sink(const float *scores, uint32_t *order, uint32_t at, uint32_t n) {
    uint32_t moved = order[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_behind(scores, order[child + 1], order[child]))
            child++;
        if (!is_behind(scores, order[child], moved))
            break;
        order[at] = order[child];
    }
    order[at] = moved;
}

/* A heap sort (Williams 1964): a head may have a thousand labels, a request 64 texts, and there is
 * no memory to merge in. Given order breaks ties, so it is stable all the same. */
void classify_order(const float *scores, uint32_t n, uint32_t *order) {
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n / 2; i-- > 0;)
        sink(scores, order, i, n);
    for (uint32_t last = n; last-- > 1;) {
        uint32_t worst = order[0];
        order[0] = order[last];
        order[last] = worst;
        sink(scores, order, 0, last);
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
