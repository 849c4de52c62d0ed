/* fidelity.c - differences, and the largest of them. */
#include "fidelity.h"

#include "engine/classify.h"

#include <math.h>
#include <stdlib.h>

/* The most similar other text of text i, by a row of cosines. */
static uint32_t neighbour(const double *cosines, uint32_t n, uint32_t i) {
    uint32_t best = i ? 0 : 1;
    for (uint32_t k = 0; k < n; k++)
        if (k != i && cosines[k] > cosines[best])
            best = k;
    return best;
}

bool fidelity_vectors(const float *a, const float *b, uint32_t n, uint32_t dim,
                      struct fidelity_vectors *out) {
    const uint32_t paired = n < FIDELITY_PAIRED ? n : FIDELITY_PAIRED;
    double *own = malloc((n + 2 * (size_t)paired + 1) * sizeof *own);
    if (!own)
        return false;
    double *in_a = own + n, *in_b = in_a + paired;
    for (uint32_t i = 0; i < n; i++)
        own[i] = eval_cosine(a + (size_t)i * dim, b + (size_t)i * dim, dim);
    *out = (struct fidelity_vectors){
        .cosine = eval_spread(own, n), .score_change = NAN, .neighbours = NAN};
    double most = 0;
    uint32_t same = 0;
    for (uint32_t i = 0; i < paired && paired > 1; i++) {
        for (uint32_t k = 0; k < paired; k++) {
            in_a[k] = eval_cosine(a + (size_t)i * dim, a + (size_t)k * dim, dim);
            in_b[k] = eval_cosine(b + (size_t)i * dim, b + (size_t)k * dim, dim);
            most = k == i ? most : fmax(most, fabs(in_a[k] - in_b[k]));
        }
        same += neighbour(in_a, paired, i) == neighbour(in_b, paired, i);
    }
    if (paired > 1) {
        out->score_change = most;
        out->neighbours = (double)same / paired;
    }
    free(own);
    return true;
}

/* What a reply says of a row of logits, into scores[info->dim]; returns how many there are. */
static uint32_t scores_of(const struct engine_info *info, const float *logits, float *scores) {
    if (info->head == ENGINE_HEAD_NLI) {
        classify_nli(logits, 1, info->dim, info->entailment, info->contradiction, true, scores);
        return 1;
    }
    if (info->head == ENGINE_HEAD_SCORE) {
        scores[0] = classify_sigmoid(logits[0]);
        return 1;
    }
    classify_head(logits, info->dim, info->sigmoid, scores);
    return info->dim;
}

static uint32_t largest(const float *x, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static double rank_correlation(const float *a, const float *b, uint32_t n) {
    double *x = malloc((2 * (size_t)n + 1) * sizeof *x), out = NAN;
    for (uint32_t i = 0; x && i < n; i++) {
        x[i] = (double)a[i];
        x[n + i] = (double)b[i];
    }
    if (x)
        out = eval_spearman(x, x + n, n);
    free(x);
    return out;
}

bool fidelity_logits(const struct engine_info *info, const float *a, const float *b, uint32_t n,
                     struct fidelity_logits *out) {
    const uint32_t dim = info->dim;
    float *scores = malloc(2 * (size_t)dim * sizeof *scores);
    if (!scores)
        return false;
    *out = (struct fidelity_logits){.labels = NAN, .spearman = NAN};
    uint32_t same = 0;
    for (uint32_t i = 0; i < n; i++) {
        const float *x = a + (size_t)i * dim, *y = b + (size_t)i * dim;
        for (uint32_t k = 0; k < dim; k++)
            out->logit_change = fmax(out->logit_change, fabs((double)x[k] - (double)y[k]));
        const uint32_t m = scores_of(info, x, scores);
        scores_of(info, y, scores + dim);
        for (uint32_t k = 0; k < m; k++)
            out->score_change =
                fmax(out->score_change, fabs((double)scores[k] - (double)scores[dim + k]));
        same += largest(x, dim) == largest(y, dim);
    }
    if (dim > 1 && n > 0)
        out->labels = (double)same / n;
    if (info->head == ENGINE_HEAD_SCORE)
        out->spearman = rank_correlation(a, b, n);
    free(scores);
    return true;
}
