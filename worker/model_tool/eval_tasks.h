/* eval_tasks.h - the tasks behind `ember-model eval`. Each reads all rows of its file, runs the
 * model over them, and prints its figures.
 *
 *     sts        {"a", "b", "score"}              cosine of a and b against the score
 *     retrieval  {"query", "document", "pid"}     the document among all documents of the file, by
 *                                                 cosine or, of a reranker, by its score of pairs
 *     zeroshot   {"text", "label"}                the label among all labels, by cosine or NLI
 *     classify   {"text", "label"}                the label among those of the model's own head
 *
 * Errors: STATUS_DATA_LOSS with path and line for rows that make no sense,
 * STATUS_FAILED_PRECONDITION when the model cannot do the task, and those of outputs.h. */
#ifndef EMBER_MODEL_TOOL_EVAL_TASKS_H
#define EMBER_MODEL_TOOL_EVAL_TASKS_H

#include "base/err.h"
#include "facts.h"
#include "outputs.h"

enum { EVAL_LABELS_MAX = 1024 };

struct eval {
    const char *task, *model, *path;
    uint32_t limit;              /* rows; 0: all */
    uint32_t dimensions;         /* of vectors; 0: all */
    const char *labels;          /* of zero-shot, "a,b,c"; "": those of the file */
    const char *template_text;   /* of zero-shot; "": the model's */
    bool calibrate;              /* of zero-shot: look for better settings */
    struct view prompt;          /* in front of texts; of retrieval: of queries */
    struct view document_prompt; /* of retrieval */
    struct outputs outputs;
    struct facts facts; /* begun by eval_head() */
    bool json;
};

/* What was judged: task, file, model. A task calls it before its first figure, so that what fails
 * prints nothing. */
void eval_head(struct eval *self);

enum status eval_sts(struct eval *self, struct err *err);
enum status eval_retrieval_task(struct eval *self, struct err *err);
enum status eval_zeroshot(struct eval *self, struct err *err);
enum status eval_classify(struct eval *self, struct err *err);

/* Vectors of length 1 of all texts of a list: *out is [n, *dim], the caller's to free.
 * STATUS_FAILED_PRECONDITION when the model has a head. */
enum status eval_vectors(struct eval *self, const struct view *texts, uint32_t n,
                         struct view prompt, uint32_t *dim, float **out, struct err *err);

#endif
