/* quantize.c - `ember-model quantize`: prepares weights of another precision where workers of this
 * host look for them, and says what it costs and what it gives, against float32 over texts. */
#include "fidelity.h"

#include "base/cfg.h"
#include "base/limits.h"
#include "engine/weights_cache.h"
#include "facts.h"
#include "outputs.h"
#include "parallel.h"
#include "sample_texts.h"
#include "tool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS_MAX = 100000, ROUNDS = 3 };

struct settings {
    char texts[CFG_TEXT_MAX], weights_cache[CFG_TEXT_MAX], kernel[64];
    uint32_t precision, threads;
    double min_cosine;
    bool json, quiet;
};

static const enum engine_precision precisions[] = {ENGINE_I8, ENGINE_BF16}; /* of --precision */

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_CHOICE("precision", struct settings, precision, "i8", "i8|bf16",
               "i8: whole numbers, a quarter of the bytes; bf16: half of them"),
    CFG_TEXT("texts", struct settings, texts, NULL, "FILE",
             "texts to compare with, one a line; default: forty of our own, English and Chinese"),
    CFG_TEXT("weights-cache", struct settings, weights_cache, "auto", "DIR",
             "where prepared weights are kept, as ember-worker has it; off: measure only"),
    CFG_TEXT("kernel", struct settings, kernel, NULL, "NAME",
             "matrix kernel of that precision; default: the best of this CPU"),
    CFG_U32("threads", struct settings, threads, "0", 0, LIMIT_THREADS, "N",
            "threads; 0: all CPUs of this process"),
    CFG_F64("min-cosine", struct settings, min_cosine, "0", 0, 1, "X",
            "fail when a text's cosine to float32 (a reranker: Spearman's) is below X"),
    CFG_BOOL("json", struct settings, json, "print one JSON object"),
    CFG_BOOL("quiet", struct settings, quiet, "show no progress"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "quantize [OPTION]... DIR",
    .about = "Prepare the weights of a model directory in another precision, for all workers of "
             "this host, and measure it against float32: how near its answers are, its memory, its "
             "speed. The directory itself stays as it is.",
    .epilog =
        "Of a model that embeds: the cosine of each text's two vectors, the largest change of the\n"
        "cosine between two texts, and how many texts keep their nearest neighbour. Of one with a\n"
        "head (pairs are two lines that follow each other): the largest change of a logit and of "
        "a\n"
        "score, and how many keep their first label. Use texts like those that will be asked.\n\n"
        "Examples:\n"
        "  ember-model quantize models/minilm\n"
        "  ember-model quantize --precision bf16 --texts questions.txt models/gte-base-zh\n\n"
        "Exit status: 0 done, 1 it could not be done or is below --min-cosine, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

/* ---- texts */

struct texts {
    char *data;           /* the file's, or NULL */
    struct view *at;      /* [n] */
    struct view *seconds; /* [n] the next text of each, for pairs */
    uint32_t n;
};

static void texts_done(struct texts *self) {
    free(self->data);
    free(self->at);
    free(self->seconds);
}

static enum status add_text(struct texts *self, const char *path, uint32_t line, struct view text,
                            struct err *err) {
    if (text.bytes == 0)
        return STATUS_OK;
    if (text.bytes > LIMIT_TEXT_BYTES)
        return err_set(err, STATUS_DATA_LOSS, "%s:%u: %zu bytes, at most %d are taken", path, line,
                       text.bytes, LIMIT_TEXT_BYTES);
    if (self->n == TEXTS_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s' has more than %d texts", path,
                       TEXTS_MAX);
    self->at[self->n++] = text;
    return STATUS_OK;
}

static enum status read_texts(struct texts *self, const char *path, struct err *err) {
    struct view file;
    enum status st = tool_read(path, LIMIT_JSON_BYTES, &file, err);
    if (st != STATUS_OK)
        return st;
    self->data = (char *)(uintptr_t)file.data;
    uint32_t line = 0;
    for (size_t at = 0; at < file.bytes && st == STATUS_OK;) {
        const char *start = file.data + at, *end = memchr(start, '\n', file.bytes - at);
        size_t bytes = end ? (size_t)(end - start) : file.bytes - at;
        at += bytes + 1;
        bytes -= bytes && start[bytes - 1] == '\r';
        st = add_text(self, path, ++line, view_make(start, bytes), err);
    }
    if (st == STATUS_OK && self->n < 2)
        st = err_set(err, STATUS_DATA_LOSS, "'%s' has %u texts: two or more are compared", path,
                     self->n);
    return st;
}

static enum status texts_init(struct texts *self, const char *path, struct err *err) {
    *self = (struct texts){.at = malloc(TEXTS_MAX * sizeof *self->at),
                           .seconds = malloc(TEXTS_MAX * sizeof *self->seconds)};
    if (!self->at || !self->seconds)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for texts");
    enum status st = STATUS_OK;
    if (*path)
        st = read_texts(self, path, err);
    else
        for (; self->n < sample_texts_n; self->n++)
            self->at[self->n] = view_of(sample_texts[self->n]);
    for (uint32_t i = 0; i < self->n; i++)
        self->seconds[i] = self->at[(i + 1) % self->n];
    return st;
}

/* ---- the two engines */

struct side {
    engine_t *engine;
    float *out; /* [n, dim] */
    double tokens_per_second;
};

static void tell_preparing(void *arg, const char *dir, size_t bytes) {
    (void)arg;
    fprintf(stderr, "preparing %.1f MB of weights for '%s'\n", (double)bytes / 1e6, dir);
}

static enum status open_both(const struct settings *s, const char *dir, struct side *f32,
                             struct side *other, struct err *err) {
    char cache[TOOL_PATH_MAX];
    const struct engine_options options = {
        .precision = precisions[s->precision],
        .kernel = *s->kernel ? s->kernel : NULL,
        .weights_cache = weights_cache_dir(s->weights_cache, cache, sizeof cache),
        .preparing = s->quiet ? NULL : tell_preparing,
    };
    enum status st = engine_open(dir, &options, &other->engine, err);
    return st == STATUS_OK ? engine_open(dir, NULL, &f32->engine, err) : st;
}

/* All texts once through one of them; the fastest round counts. */
static enum status run_side(struct side *side, const struct texts *texts, const struct settings *s,
                            struct err *err) {
    const struct engine_info *info = engine_info(side->engine);
    const bool pairs = info->head == ENGINE_HEAD_NLI || info->head == ENGINE_HEAD_SCORE;
    struct outputs outputs = {.engine = side->engine,
                              .threads = parallel_threads(s->threads),
                              .progress = s->quiet ? NULL : info->precision};
    if (!engine_prompt(side->engine, NULL, &outputs.prefix))
        outputs.prefix = view_of("");
    free(side->out);
    side->out = NULL;
    enum status st =
        outputs_of(&outputs, texts->at, pairs ? texts->seconds : NULL, texts->n, &side->out, err);
    const double rate = st == STATUS_OK ? (double)outputs.tokens / outputs.seconds : 0;
    if (rate > side->tokens_per_second)
        side->tokens_per_second = rate;
    return st;
}

/* ---- what is said */

static void put_side(struct facts *facts, const struct side *side) {
    const struct engine_info *info = engine_info(side->engine);
    char key[32];
    snprintf(key, sizeof key, "%s_kernel", info->precision);
    facts_text(facts, key, info->kernel);
    snprintf(key, sizeof key, "%s_bytes", info->precision);
    facts_bytes(facts, key, info->weight_bytes);
    snprintf(key, sizeof key, "%s_speed", info->precision);
    facts_number(facts, key, side->tokens_per_second, 0, "tokens/s");
}

static void put_prepared(struct facts *facts, const struct settings *s, const engine_t *engine) {
    const struct engine_info *info = engine_info(engine);
    char cache[TOOL_PATH_MAX];
    const char *dir = weights_cache_dir(s->weights_cache, cache, sizeof cache);
    if (!info->weights_shared)
        facts_text(facts, "prepared", *info->weights_note ? info->weights_note : "not kept");
    else
        facts_text(facts, "prepared", info->weights_made ? "now" : "found");
    if (info->weights_shared && dir)
        facts_text(facts, "weights_cache", dir);
}

static enum status put_vectors(struct facts *facts, const struct side *f32,
                               const struct side *other, uint32_t n, double *least,
                               struct err *err) {
    struct fidelity_vectors figures;
    if (!fidelity_vectors(f32->out, other->out, n, engine_info(f32->engine)->dim, &figures))
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u cosines", n);
    facts_number(facts, "cosine_min", figures.cosine.min, 5, "");
    facts_number(facts, "cosine_median", figures.cosine.median, 5, "");
    facts_number(facts, "cosine_mean", figures.cosine.mean, 5, "");
    facts_number(facts, "score_change", figures.score_change, 5,
                 "at most, of the cosine between two texts");
    facts_number(facts, "neighbours", figures.neighbours, 4, "of texts keep their nearest");
    *least = figures.cosine.min;
    return STATUS_OK;
}

static enum status put_logits(struct facts *facts, const struct side *f32, const struct side *other,
                              uint32_t n, double *least, struct err *err) {
    const struct engine_info *info = engine_info(f32->engine);
    struct fidelity_logits figures;
    double *cosines = malloc(n * sizeof *cosines);
    if (!cosines || !fidelity_logits(info, f32->out, other->out, n, &figures)) {
        free(cosines);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u rows", n);
    }
    for (uint32_t i = 0; i < n; i++)
        cosines[i] = eval_cosine(f32->out + (size_t)i * info->dim,
                                 other->out + (size_t)i * info->dim, info->dim);
    *least = info->head == ENGINE_HEAD_SCORE ? figures.spearman : eval_spread(cosines, n).min;
    free(cosines);
    facts_number(facts, "logit_change", figures.logit_change, 5, "at most");
    facts_number(facts, "score_change", figures.score_change, 5, "at most");
    if (isfinite(figures.labels))
        facts_number(facts, "labels", figures.labels, 4, "keep their first");
    if (info->head == ENGINE_HEAD_SCORE)
        facts_number(facts, "spearman", figures.spearman, 4, "of the scores");
    return STATUS_OK;
}

static enum status report(const struct settings *s, const char *dir, const struct side *f32,
                          const struct side *other, uint32_t n, struct err *err) {
    double least = 0;
    struct facts facts = facts_begin(s->json);
    facts_text(&facts, "model", dir);
    facts_text(&facts, "precision", engine_info(other->engine)->precision);
    facts_text(&facts, "fingerprint", engine_info(other->engine)->fingerprint8);
    put_prepared(&facts, s, other->engine);
    facts_count(&facts, "texts", n, "");
    enum status st = engine_info(f32->engine)->head == ENGINE_HEAD_NONE
                         ? put_vectors(&facts, f32, other, n, &least, err)
                         : put_logits(&facts, f32, other, n, &least, err);
    if (st != STATUS_OK)
        return st;
    put_side(&facts, f32);
    put_side(&facts, other);
    facts_number(&facts, "faster", other->tokens_per_second / f32->tokens_per_second, 2,
                 "times float32");
    facts_end(&facts);
    if (!(least >= s->min_cosine))
        st = err_set(err, STATUS_FAILED_PRECONDITION,
                     "the smallest cosine is %.5f, below --min-cosine %g", least, s->min_cosine);
    return st;
}

static enum status run(const struct settings *s, const char *dir, struct err *err) {
    struct side f32 = {0}, other = {0};
    struct texts texts;
    enum status st = texts_init(&texts, s->texts, err);
    if (st == STATUS_OK)
        st = open_both(s, dir, &f32, &other, err);
    for (int i = 0; i < ROUNDS && st == STATUS_OK; i++) {
        st = run_side(&f32, &texts, s, err);
        if (st == STATUS_OK)
            st = run_side(&other, &texts, s, err);
    }
    if (st == STATUS_OK)
        st = report(s, dir, &f32, &other, texts.n, err);
    free(f32.out);
    free(other.out);
    engine_destroy(&f32.engine);
    engine_destroy(&other.engine);
    texts_done(&texts);
    return st;
}

enum tool_exit quantize_main(int argc, char **argv) {
    struct settings s;
    enum cfg_action action;
    struct err err;
    int n_words = 0;
    if (cfg_load(&cfg, argc, argv, &n_words, &s, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    if (n_words != 1) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "quantize takes one model directory; see --help");
        return tool_fail(&err);
    }
    return run(&s, argv[1], &err) == STATUS_OK ? TOOL_OK : tool_fail(&err);
}
