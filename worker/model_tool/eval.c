/* eval.c - `ember-model eval`: how good a model is, on rows with known answers. */
#include "eval_tasks.h"

#include "base/cfg.h"
#include "base/limits.h"
#include "parallel.h"
#include "tool.h"

#include <stdio.h>
#include <string.h>

enum { LABELS_TEXT_MAX = 32 * 1024 };

struct settings {
    char model[CFG_TEXT_MAX], kernel[64], labels[LABELS_TEXT_MAX], template_text[CFG_TEXT_MAX];
    char prompt[CFG_TEXT_MAX], query_prompt[CFG_TEXT_MAX], document_prompt[CFG_TEXT_MAX];
    uint32_t task, precision, threads, limit, dimensions;
    bool json, quiet, calibrate;
};

/* In the order of --task. */
static enum status (*const tasks[])(struct eval *self, struct err *err) = {
    eval_sts, eval_retrieval_task, eval_zeroshot, eval_classify};
#define TASK_NAMES "sts|retrieval|zeroshot|classify"

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_CHOICE("task", struct settings, task, "sts", TASK_NAMES,
               "sts: cosine of \"a\" and \"b\" against \"score\"\n"
               "retrieval: \"document\" (or \"context\") of a \"query\" among all of the file\n"
               "zeroshot: \"label\" of a \"text\" among all labels, by their words alone\n"
               "classify: \"label\" of a \"text\" by the model's own head"),
    CFG_TEXT("model", struct settings, model, NULL, "DIR", "a published model directory"),
    CFG_CHOICE("precision", struct settings, precision, "f32", "f32|bf16|i8",
               "how weights are kept and products formed"),
    CFG_TEXT("kernel", struct settings, kernel, NULL, "NAME",
             "compute with this matrix kernel; default: the best of this CPU"),
    CFG_U32("threads", struct settings, threads, "0", 0, LIMIT_THREADS, "N",
            "threads; 0: all CPUs of this process"),
    CFG_U32("limit", struct settings, limit, "0", 0, 1e6, "N", "look at the first N rows; 0: all"),
    CFG_U32("dimensions", struct settings, dimensions, "0", 0, LIMIT_DIM, "N",
            "cut vectors to N numbers (Matryoshka); 0: all"),
    CFG_HEADING("Prompts, by the names under which the model publishes them"),
    CFG_TEXT("prompt", struct settings, prompt, NULL, "NAME",
             "before every text; default: the model's default prompt"),
    CFG_TEXT("query-prompt", struct settings, query_prompt, NULL, "NAME",
             "retrieval: before queries; default: \"query\" when there is one"),
    CFG_TEXT("document-prompt", struct settings, document_prompt, NULL, "NAME",
             "retrieval: before documents; default: \"document\" or \"passage\""),
    CFG_HEADING("Zero-shot"),
    CFG_TEXT("labels", struct settings, labels, NULL, "A,B,...",
             "the labels to choose from; default: those of the rows"),
    CFG_TEXT("template", struct settings, template_text, NULL, "TEXT",
             "what is said of a label, \"This text is about {}.\"; default: the model's, else {}"),
    CFG_BOOL("calibrate", struct settings, calibrate,
             "look for the temperature with the least log loss, and for the curve of labels alone"),
    CFG_HEADING("Output"),
    CFG_BOOL("json", struct settings, json, "print one JSON object"),
    CFG_BOOL("quiet", struct settings, quiet, "show no progress"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "eval --task TASK --model DIR [OPTION]... FILE.jsonl",
    .about = "Judge a model by rows with known answers, one JSON object a line.",
    .epilog =
        "Figures: sts gives Spearman's and Pearson's correlation; retrieval the mean reciprocal\n"
        "rank within ten and the share of queries whose document is first, or among ten; the "
        "other\n"
        "two accuracy and macro F1 over the labels that occur. Equal scores share their average\n"
        "rank, so a model that says the same of everything is not helped by the file's order.\n"
        "zeroshot also tells whether scores are chances: the mean log loss, and the expected\n"
        "calibration error in 15 bins, at the temperature in use. --calibrate prints settings for\n"
        "ember_zero_shot.json in the model directory; judge them on other rows than these.\n"
        "Random weights (`ember-model synth`) know no more than which words texts share.\n\n"
        "Examples:\n"
        "  ember-model eval --task sts --model models/minilm stsb-dev.jsonl\n"
        "  ember-model eval --task zeroshot --model models/minilm --precision i8 \\\n"
        "      --template 'This text is about {}.' topics.jsonl\n\n"
        "Exit status: 0 done, 1 it could not be done, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

/* The prompt of that name; with "": the first of `usual` that is published, else the default. */
static enum status find_prompt(const engine_t *engine, const char *name, const char *const usual[2],
                               struct view *out, struct err *err) {
    for (int i = 0; usual && !*name && i < 2; i++)
        if (engine_prompt(engine, usual[i], out))
            return STATUS_OK;
    return outputs_prompt(engine, name, out, err);
}

static enum status find_prompts(const struct settings *s, struct eval *eval, struct err *err) {
    static const char *const query[2] = {"query", "search_query"};
    static const char *const document[2] = {"document", "passage"};
    const engine_t *engine = eval->outputs.engine;
    if (s->task != 1)
        return find_prompt(engine, s->prompt, NULL, &eval->prompt, err);
    enum status st = find_prompt(engine, *s->query_prompt ? s->query_prompt : s->prompt, query,
                                 &eval->prompt, err);
    if (st == STATUS_OK)
        st = find_prompt(engine, *s->document_prompt ? s->document_prompt : s->prompt, document,
                         &eval->document_prompt, err);
    return st;
}

static void task_name(uint32_t task, char *out, size_t bytes) {
    const char *name = TASK_NAMES;
    while (task--)
        name = strchr(name, '|') + 1;
    snprintf(out, bytes, "%.*s", (int)strcspn(name, "|"), name);
}

void eval_head(struct eval *self) {
    const struct engine_info *info = engine_info(self->outputs.engine);
    self->facts = facts_begin(self->json);
    facts_text(&self->facts, "task", self->task);
    facts_text(&self->facts, "file", self->path);
    facts_text(&self->facts, "model", self->model);
    facts_text(&self->facts, "fingerprint", info->fingerprint8);
    facts_text(&self->facts, "precision", info->precision);
    facts_text(&self->facts, "kernel", info->kernel);
}

static enum status run(const struct settings *s, struct eval *eval, struct err *err) {
    char task[32];
    task_name(s->task, task, sizeof task);
    eval->task = task;
    enum status st = find_prompts(s, eval, err);
    if (st == STATUS_OK)
        st = tasks[s->task](eval, err);
    if (st != STATUS_OK)
        return st;
    const struct outputs *outputs = &eval->outputs;
    facts_count(&eval->facts, "tokens", outputs->tokens, "");
    facts_count(&eval->facts, "truncated", outputs->truncated, "texts lost their end");
    facts_count(&eval->facts, "threads", outputs->threads, "");
    facts_number(&eval->facts, "seconds", outputs->seconds, 3, "in the model");
    facts_end(&eval->facts);
    return STATUS_OK;
}

enum tool_exit eval_main(int argc, char **argv) {
    static struct settings s;
    enum cfg_action action;
    struct err err;
    int n_words = 0;
    if (cfg_load(&cfg, argc, argv, &n_words, &s, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    if (n_words != 1 || !*s.model) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "eval takes --model DIR and one file; see --help");
        return tool_fail(&err);
    }
    if (s.calibrate && tasks[s.task] != eval_zeroshot) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "--calibrate goes with --task zeroshot");
        return tool_fail(&err);
    }
    if (s.calibrate && s.dimensions) {
        err_set(&err, STATUS_INVALID_ARGUMENT,
                "--calibrate looks at whole vectors, as workers do: without --dimensions");
        return tool_fail(&err);
    }
    engine_t *engine = NULL;
    const struct engine_options options = {.precision = (enum engine_precision)s.precision,
                                           .kernel = *s.kernel ? s.kernel : NULL};
    enum status st = engine_open(s.model, &options, &engine, &err);
    if (st == STATUS_OK) {
        struct eval eval = {.model = s.model,
                            .path = argv[1],
                            .json = s.json,
                            .limit = s.limit,
                            .dimensions = s.dimensions,
                            .labels = s.labels,
                            .template_text = s.template_text,
                            .calibrate = s.calibrate,
                            .outputs = {.engine = engine,
                                        .threads = parallel_threads(s.threads),
                                        .progress = s.quiet ? NULL : "texts"}};
        st = run(&s, &eval, &err);
    }
    engine_destroy(&engine);
    return st == STATUS_OK ? TOOL_OK : tool_fail(&err);
}
