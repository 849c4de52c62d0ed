/* eval_pairs.c - tasks that compare vectors of two texts: similarity and retrieval. Equal texts are
 * embedded once. */
#include "eval_tasks.h"

#include "base/limits.h"
#include "engine/vector.h"
#include "eval_metrics.h"
#include "eval_rows.h"
#include "parallel.h"

#include <stdlib.h>

enum status eval_vectors(struct eval *self, const struct view *texts, uint32_t n,
                         struct view prompt, uint32_t *dim, float **out, struct err *err) {
    const struct engine_info *info = engine_info(self->outputs.engine);
    if (info->head != ENGINE_HEAD_NONE)
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "this task compares vectors, but the model gives %u logits", info->dim);
    if (self->dimensions > info->dim)
        return err_set(err, STATUS_INVALID_ARGUMENT, "--dimensions %u: the model has %u",
                       self->dimensions, info->dim);
    self->outputs.prefix = prompt;
    float *full = NULL;
    enum status st = outputs_of(&self->outputs, texts, NULL, n, &full, err);
    if (st != STATUS_OK)
        return st;
    *dim = self->dimensions ? self->dimensions : info->dim;
    float row[LIMIT_DIM];
    for (uint32_t i = 0; i < n; i++) { /* in place: rows only get shorter */
        vector_finish(full + (size_t)i * info->dim, info->dim, self->dimensions, true, row);
        memcpy(full + (size_t)i * *dim, row, *dim * sizeof *row);
    }
    *out = full;
    return STATUS_OK;
}

/* ---- similarity ---- */

struct sts {
    struct text_list texts;
    uint32_t *a, *b; /* [n] which text */
    double *score;   /* [n] */
    uint32_t n;
};

static enum status sts_read(const struct eval *self, struct sts *sts, struct err *err) {
    struct eval_rows rows;
    struct view a, b;
    double score = 0;
    enum status st = eval_rows_open(self->path, self->limit, &rows, err);
    while (st == STATUS_OK && (st = eval_rows_next(&rows, err)) == STATUS_OK && rows.row) {
        st = eval_rows_text(&rows, "a", "text1", &a, err);
        if (st == STATUS_OK)
            st = eval_rows_text(&rows, "b", "text2", &b, err);
        if (st == STATUS_OK)
            st = eval_rows_number(&rows, "score", &score, err);
        if (st != STATUS_OK)
            break;
        if (!eval_rows_room((void **)&sts->a, sts->n, sizeof *sts->a) ||
            !eval_rows_room((void **)&sts->b, sts->n, sizeof *sts->b) ||
            !eval_rows_room((void **)&sts->score, sts->n, sizeof *sts->score)) {
            st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u pairs", sts->n);
            break;
        }
        st = text_list_add(&sts->texts, a, &sts->a[sts->n], NULL, err);
        if (st == STATUS_OK)
            st = text_list_add(&sts->texts, b, &sts->b[sts->n], NULL, err);
        sts->score[sts->n++] = score;
    }
    eval_rows_close(&rows);
    return st;
}

enum status eval_sts(struct eval *self, struct err *err) {
    struct sts sts = {0};
    float *vectors = NULL;
    double *cosines = NULL;
    uint32_t dim = 0;
    enum status st = sts_read(self, &sts, err);
    if (st == STATUS_OK)
        st = eval_vectors(self, sts.texts.at, sts.texts.n, self->prompt, &dim, &vectors, err);
    if (st == STATUS_OK && !(cosines = malloc((size_t)sts.n * sizeof *cosines)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u cosines", sts.n);
    if (st == STATUS_OK) {
        for (uint32_t i = 0; i < sts.n; i++)
            cosines[i] = eval_cosine(vectors + (size_t)sts.a[i] * dim,
                                     vectors + (size_t)sts.b[i] * dim, dim);
        eval_head(self);
        facts_count(&self->facts, "pairs", sts.n, "");
        facts_number(&self->facts, "spearman", eval_spearman(cosines, sts.score, sts.n), 4, "");
        facts_number(&self->facts, "pearson", eval_pearson(cosines, sts.score, sts.n), 4, "");
    }
    text_list_done(&sts.texts);
    free(sts.a);
    free(sts.b);
    free(sts.score);
    free(cosines);
    free(vectors);
    return st;
}

/* ---- retrieval ---- */

struct retrieval {
    struct text_list queries, documents, pids;
    uint32_t *query, *wanted; /* [n] which query and document each row is about */
    uint32_t *named;          /* [pids.n] the document that a pid names */
    uint32_t n;
};

/* A pid names one text: a file that says otherwise would be judged by chance. */
static enum status check_pid(struct retrieval *r, struct eval_rows *rows, uint32_t document,
                             struct err *err) {
    char pid[256];
    enum status st = eval_rows_id(rows, "pid", pid, sizeof pid, err);
    if (st != STATUS_OK || !*pid)
        return st;
    uint32_t i;
    bool fresh;
    st = text_list_add(&r->pids, view_of(pid), &i, &fresh, err);
    if (st != STATUS_OK)
        return st;
    if (!fresh && r->named[i] != document)
        return eval_rows_bad(rows, err, "pid \"%.100s\" has named another text before", pid);
    if (fresh && !eval_rows_room((void **)&r->named, i, sizeof *r->named))
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u pids", i);
    r->named[i] = document;
    return STATUS_OK;
}

static enum status retrieval_read(const struct eval *self, struct retrieval *r, struct err *err) {
    struct eval_rows rows;
    struct view query, document;
    enum status st = eval_rows_open(self->path, self->limit, &rows, err);
    while (st == STATUS_OK && (st = eval_rows_next(&rows, err)) == STATUS_OK && rows.row) {
        st = eval_rows_text(&rows, "query", NULL, &query, err);
        if (st == STATUS_OK)
            st = eval_rows_text(&rows, "document", "context", &document, err);
        if (st != STATUS_OK)
            break;
        if (!eval_rows_room((void **)&r->query, r->n, sizeof *r->query) ||
            !eval_rows_room((void **)&r->wanted, r->n, sizeof *r->wanted)) {
            st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u queries", r->n);
            break;
        }
        st = text_list_add(&r->queries, query, &r->query[r->n], NULL, err);
        if (st == STATUS_OK)
            st = text_list_add(&r->documents, document, &r->wanted[r->n], NULL, err);
        if (st == STATUS_OK)
            st = check_pid(r, &rows, r->wanted[r->n], err);
        r->n++;
    }
    eval_rows_close(&rows);
    return st;
}

static void put_ranks(struct eval *self, const struct retrieval *r, const double *ranks) {
    const struct eval_retrieval figures = eval_retrieval(ranks, r->n);
    eval_head(self);
    facts_count(&self->facts, "queries", r->n, "");
    facts_count(&self->facts, "documents", r->documents.n, "");
    facts_number(&self->facts, "mrr@10", figures.mrr10, 4, "");
    facts_number(&self->facts, "recall@1", figures.recall1, 4, "");
    facts_number(&self->facts, "recall@10", figures.recall10, 4, "");
    facts_number(&self->facts, "mean_rank", figures.rank_mean, 1, "");
}

/* By vectors: cosines of a query with all documents. */
struct ranking {
    const struct retrieval *r;
    float *queries, *documents; /* [n, dim], length 1 */
    uint32_t dim;
    float *scores; /* [threads, documents] */
    double *ranks; /* [rows] */
};

static void rank(void *arg, uint32_t thread, uint32_t first, uint32_t n) {
    const struct ranking *ranking = arg;
    const struct retrieval *r = ranking->r;
    const uint32_t dim = ranking->dim;
    float *scores = ranking->scores + (size_t)thread * r->documents.n;
    for (uint32_t i = first; i < first + n; i++) {
        const float *query = ranking->queries + (size_t)r->query[i] * dim;
        for (uint32_t d = 0; d < r->documents.n; d++)
            scores[d] = vector_cosine(query, ranking->documents + (size_t)d * dim, dim);
        ranking->ranks[i] = eval_rank(scores, r->documents.n, r->wanted[i]);
    }
}

static enum status rank_by_vectors(struct eval *self, const struct retrieval *r, double *ranks,
                                   struct err *err) {
    const uint32_t threads = self->outputs.threads;
    struct ranking ranking = {.r = r, .ranks = ranks};
    enum status st = eval_vectors(self, r->queries.at, r->queries.n, self->prompt, &ranking.dim,
                                  &ranking.queries, err);
    if (st == STATUS_OK)
        st = eval_vectors(self, r->documents.at, r->documents.n, self->document_prompt,
                          &ranking.dim, &ranking.documents, err);
    ranking.scores = malloc((size_t)threads * r->documents.n * sizeof *ranking.scores);
    if (st == STATUS_OK && !ranking.scores)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u scores", r->documents.n);
    if (st == STATUS_OK)
        st = parallel_run(&(struct parallel){.total = r->n,
                                             .chunk = 16,
                                             .threads = threads,
                                             .progress = self->outputs.progress ? "ranks" : NULL,
                                             .work = rank,
                                             .arg = &ranking},
                          err);
    free(ranking.queries);
    free(ranking.documents);
    free(ranking.scores);
    return st;
}

/* By a reranker: the score of a query with each document, a query at a time. */
static enum status rank_by_scores(struct eval *self, const struct retrieval *r, double *ranks,
                                  struct err *err) {
    struct view *query = malloc(r->documents.n * sizeof *query);
    enum status st = STATUS_OK;
    if (!query)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u pairs", r->documents.n);
    self->outputs.prefix = self->prompt;
    for (uint32_t i = 0; i < r->n && st == STATUS_OK; i++) {
        float *scores = NULL;
        for (uint32_t d = 0; d < r->documents.n; d++)
            query[d] = r->queries.at[r->query[i]];
        st = outputs_of(&self->outputs, query, r->documents.at, r->documents.n, &scores, err);
        if (st == STATUS_OK)
            ranks[i] = eval_rank(scores, r->documents.n, r->wanted[i]);
        free(scores);
    }
    free(query);
    return st;
}

enum status eval_retrieval_task(struct eval *self, struct err *err) {
    const bool pairs = engine_info(self->outputs.engine)->head == ENGINE_HEAD_SCORE;
    struct retrieval r = {0};
    double *ranks = NULL;
    enum status st = retrieval_read(self, &r, err);
    if (st == STATUS_OK && !(ranks = malloc(r.n * sizeof *ranks)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u ranks", r.n);
    if (st == STATUS_OK)
        st = pairs ? rank_by_scores(self, &r, ranks, err) : rank_by_vectors(self, &r, ranks, err);
    if (st == STATUS_OK)
        put_ranks(self, &r, ranks);
    free(ranks);
    text_list_done(&r.queries);
    text_list_done(&r.documents);
    text_list_done(&r.pids);
    free(r.query);
    free(r.wanted);
    free(r.named);
    return st;
}
