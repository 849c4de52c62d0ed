/* eval_metrics.c - sums over ranks, and over guesses. */
#include "eval_metrics.h"

#include "base/check.h"

#include <math.h>
#include <stdlib.h>

/* ---- correlation ---- */

struct place {
    double x;
    uint32_t i;
};

static int by_x(const void *a, const void *b) {
    double x = ((const struct place *)a)->x, y = ((const struct place *)b)->x;
    return (x > y) - (x < y);
}

bool eval_ranks(const double *x, uint32_t n, double *ranks) {
    struct place *places = malloc((n ? n : 1) * sizeof *places);
    if (!places)
        return false;
    for (uint32_t i = 0; i < n; i++)
        places[i] = (struct place){x[i], i};
    qsort(places, n, sizeof *places, by_x);
    for (uint32_t first = 0, end; first < n; first = end) {
        end = first + 1;
        while (end < n && by_x(&places[first], &places[end]) == 0)
            end++;
        /* places first + 1 .. end, counted from 1, are shared */
        double rank = ((double)first + 1 + (double)end) / 2;
        for (uint32_t i = first; i < end; i++)
            ranks[places[i].i] = rank;
    }
    free(places);
    return true;
}

static double mean_of(const double *x, uint32_t n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

double eval_pearson(const double *x, const double *y, uint32_t n) {
    if (n < 2)
        return NAN;
    double x_mean = mean_of(x, n), y_mean = mean_of(y, n), xy = 0, xx = 0, yy = 0;
    for (uint32_t i = 0; i < n; i++) {
        double dx = x[i] - x_mean, dy = y[i] - y_mean;
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx) / sqrt(yy) : NAN;
}

double eval_spearman(const double *x, const double *y, uint32_t n) {
    double *ranks = malloc((n ? n : 1) * 2 * sizeof *ranks), out = NAN;
    if (ranks && eval_ranks(x, n, ranks) && eval_ranks(y, n, ranks + n))
        out = eval_pearson(ranks, ranks + n, n);
    free(ranks);
    return out;
}

/* ---- retrieval ---- */

double eval_rank(const float *scores, uint32_t n, uint32_t wanted) {
    CHECK(wanted < n);
    uint32_t above = 0, equal = 0;
    for (uint32_t i = 0; i < n; i++) {
        above += scores[i] > scores[wanted];
        equal += scores[i] == scores[wanted];
    }
    return (double)above + ((double)equal + 1) / 2;
}

struct eval_retrieval eval_retrieval(const double *ranks, uint32_t n) {
    struct eval_retrieval out = {0};
    for (uint32_t i = 0; i < n; i++) {
        out.mrr10 += ranks[i] <= 10 ? 1 / ranks[i] : 0;
        out.recall1 += ranks[i] <= 1;
        out.recall10 += ranks[i] <= 10;
        out.rank_mean += ranks[i];
    }
    out.mrr10 /= n;
    out.recall1 /= n;
    out.recall10 /= n;
    out.rank_mean /= n;
    return out;
}

/* ---- guesses ---- */

struct tally {
    uint32_t hits, guessed, true_ones;
};

struct eval_guesses eval_guesses(const uint32_t *truth, const uint32_t *guess, uint32_t n,
                                 uint32_t n_labels) {
    struct eval_guesses out = {.accuracy = NAN, .macro_f1 = NAN};
    struct tally *labels = calloc(n_labels ? n_labels : 1, sizeof *labels);
    uint32_t right = 0;
    for (uint32_t i = 0; i < n; i++) {
        CHECK(truth[i] < n_labels && guess[i] < n_labels);
        right += truth[i] == guess[i];
        if (!labels)
            continue;
        labels[truth[i]].true_ones++;
        labels[guess[i]].guessed++;
        labels[truth[i]].hits += truth[i] == guess[i];
    }
    if (n)
        out.accuracy = (double)right / n;
    double f1 = 0;
    for (uint32_t k = 0; labels && k < n_labels; k++) {
        uint32_t both = labels[k].guessed + labels[k].true_ones; /* 2 tp + fp + fn */
        f1 += both ? 2.0 * labels[k].hits / both : 0;
        out.n_seen += both > 0;
    }
    if (out.n_seen)
        out.macro_f1 = f1 / out.n_seen;
    free(labels);
    return out;
}

/* ---- vectors ---- */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct eval_spread eval_spread(double *x, uint32_t n) {
    if (n == 0)
        return (struct eval_spread){NAN, NAN, NAN};
    qsort(x, n, sizeof *x, by_size);
    return (struct eval_spread){
        .min = x[0], .median = (x[(n - 1) / 2] + x[n / 2]) / 2, .mean = mean_of(x, n)};
}

double eval_cosine(const float *a, const float *b, uint32_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa) / sqrt(bb) : 0;
}
