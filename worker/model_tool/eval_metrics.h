/* eval_metrics.h - figures by which models are judged. All of them know ties: equal values share
 * the average of the ranks they take, so that a model which says the same of everything is not
 * flattered by the order of the file.
 *
 * Threads: pure functions. */
#ifndef EMBER_MODEL_TOOL_EVAL_METRICS_H
#define EMBER_MODEL_TOOL_EVAL_METRICS_H

#include <stdbool.h>
#include <stdint.h>

/* ranks[i]: place of x[i] among x[0..n), the smallest at 1; ties get their average place, as 2.5
 * for places 2 and 3. False without memory for the sorting. No x may be NaN. */
bool eval_ranks(const double *x, uint32_t n, double *ranks);

/* Correlation of x and y, -1 to 1 (Pearson 1895); NaN when n < 2 or one of them is constant. */
double eval_pearson(const double *x, const double *y, uint32_t n);

/* Pearson's correlation of the ranks (Spearman 1904); NaN as there, also without memory. */
double eval_spearman(const double *x, const double *y, uint32_t n);

/* Rank of scores[wanted] among scores[0..n) by falling score, from 1; with ties their average
 * rank. */
double eval_rank(const float *scores, uint32_t n, uint32_t wanted);

/* What ranks of the wanted document over many queries come to. */
struct eval_retrieval {
    double mrr10;     /* mean of 1/rank, 0 beyond rank 10 */
    double recall1;   /* share of queries with rank 1 */
    double recall10;  /* share with rank 10 or better */
    double rank_mean; /* mean rank */
};
struct eval_retrieval eval_retrieval(const double *ranks, uint32_t n);

/* Guesses against the truth, both numbers of labels below n_labels.
 *   accuracy  share of guesses that are right
 *   macro_f1  mean over the labels that occur in either of F1 = 2 tp / (2 tp + fp + fn)
 * Both NaN when n is 0; macro_f1 also without memory. */
struct eval_guesses {
    double accuracy, macro_f1;
    uint32_t n_seen; /* labels that occur in either */
};
struct eval_guesses eval_guesses(const uint32_t *truth, const uint32_t *guess, uint32_t n,
                                 uint32_t n_labels);

/* Smallest, median and mean of x[0..n), which is sorted in place; the median of an even number is
 * the mean of the two in the middle. NaN when n is 0. */
struct eval_spread {
    double min, median, mean;
};
struct eval_spread eval_spread(double *x, uint32_t n);

/* Cosine of a[n] and b[n] in double precision; 0 when one of them is zero. */
double eval_cosine(const float *a, const float *b, uint32_t n);

#endif
