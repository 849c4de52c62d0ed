/* inspect.c - `ember-model inspect`: everything a model directory says about itself, and what this
 * machine would make of it. One list of facts is printed as lines for people or as JSON. */
#include "tool.h"

#include "base/cfg.h"
#include "engine/classify.h"
#include "engine/engine_cpu.h"
#include "facts.h"
#include "model/dir.h"
#include "model/gemm.h"
#include "model/weights.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>

enum { SEAT_TOKENS = 512, SEAT_ITEMS = 64 };

struct settings {
    bool json;
    char kernel[64], precision[16];
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_BOOL("json", struct settings, json, "print one JSON object"),
    CFG_TEXT("kernel", struct settings, kernel, NULL, "NAME",
             "prepare weights for this matrix kernel; default: the best of this CPU"),
    CFG_TEXT("precision", struct settings, precision, "f32", "NAME", "f32, bf16 or i8"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "inspect [OPTION]... DIR",
    .about = "Open a published model directory as a worker would, check it, and print what it is.",
    .epilog = "Exit status: 0 a worker can serve it, 1 it cannot be loaded, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

enum { TYPES = WEIGHTS_OTHER + 1 };

struct subject {
    const char *path;
    engine_t *engine;
    const struct model_dir *dir; /* the engine's */
    uint64_t bytes[TYPES];       /* of the weight file, by type of number */
    uint32_t tensors[TYPES];
    struct err self_check; /* status OK when it passed */
};

static void count_weights(struct subject *s, const weights_t *weights) {
    for (uint32_t i = 0; i < weights_count(weights); i++) {
        const struct tensor *t = weights_at(weights, i);
        s->bytes[t->type] += t->bytes;
        s->tensors[t->type]++;
    }
}

static enum status subject_open(const char *path, const struct engine_options *options,
                                struct subject *s, struct err *err) {
    struct model_dir *dir = NULL;
    *s = (struct subject){.path = path};
    enum status st = model_dir_open(path, &dir, err);
    if (st == STATUS_OK) {
        count_weights(s, dir->weights); /* before the engine has prepared and closed them */
        st = engine_open_dir(&dir, options, &s->engine, err);
    }
    model_dir_close(&dir);
    if (st != STATUS_OK)
        return st;
    engine_seat_t *seat = NULL;
    s->dir = engine_dir(s->engine);
    st = engine_seat_new(s->engine, SEAT_TOKENS, SEAT_ITEMS, &seat, err);
    if (st == STATUS_OK && engine_self_check(s->engine, seat, &s->self_check) == STATUS_OK)
        s->self_check.status = STATUS_OK;
    engine_seat_destroy(&seat);
    return st;
}

/* ---- facts ---- */

static const char *act_name(enum model_act act) {
    static const char *const names[] = {[MODEL_GELU] = "gelu (erf)",
                                        [MODEL_GELU_NEW] = "gelu_new (tanh)",
                                        [MODEL_RELU] = "relu",
                                        [MODEL_SILU] = "silu"};
    return names[act];
}

static void put_rotary(struct facts *p, const struct model_shape *shape) {
    if (shape->rotary_base == 0)
        return;
    facts_number(p, "rotary_base", (double)shape->rotary_base, 0, "");
    if (shape->rotary_factor > 0) {
        facts_number(p, "rotary_factor", (double)shape->rotary_factor, 3, "");
        facts_count(p, "rotary_trained", shape->rotary_trained, "tokens before it counts");
    }
}

static void put_model(struct facts *p, const struct subject *s) {
    const struct engine_info *info = engine_info(s->engine);
    const struct model_shape *shape = &s->dir->shape;
    const bool vectors = info->head == ENGINE_HEAD_NONE;
    facts_text(p, "name", s->dir->name);
    facts_text(p, "path", s->path);
    facts_text(p, "fingerprint", info->fingerprint);
    facts_text(p, "family", info->family);
    facts_count(p, "layers", info->layers, "");
    facts_count(p, "hidden", info->hidden, "numbers a token");
    facts_count(p, "heads", info->heads, "");
    facts_count(p, "inner", info->inner, "numbers in the feed-forward part");
    facts_text(p, "activation", act_name(shape->act));
    facts_bool(p, "gated", shape->gated);
    put_rotary(p, shape);
    facts_count(p, "dimensions", info->dim, vectors ? "numbers a vector" : "logits");
    facts_text(p, "pooling", info->pooling);
    facts_bool(p, "normalize", info->normalize);
    facts_count(p, "max_tokens", info->max_tokens, "of one text, special ones included");
    facts_count(p, "max_positions", info->max_positions, "tokens at most");
    facts_count(p, "vocabulary", info->vocab, "pieces");
    facts_count(p, "vocab_rows", shape->vocab_rows, "in the word table");
    facts_bool(p, "lower_case", tokenizer_lowercase(engine_tokenizer(s->engine)));
}

static void put_list(struct facts *p, const char *text, bool first) {
    printf(p->json ? "%s\"%s\"" : "%s%s", first ? "" : p->json ? ", " : " ", text);
}

static void put_tasks(struct facts *p, uint32_t tasks) {
    static const struct {
        uint32_t task;
        const char *name;
    } known[] = {{ENGINE_TASK_EMBED, "embed"},
                 {ENGINE_TASK_CLASSIFY, "classify"},
                 {ENGINE_TASK_RERANK, "rerank"},
                 {ENGINE_TASK_TOKENIZE, "tokenize"}};
    bool first = true;
    facts_key(p, "tasks");
    fputs(p->json ? "[" : "", stdout);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!(tasks & known[i].task))
            continue;
        put_list(p, known[i].name, first);
        first = false;
    }
    fputs(p->json ? "]" : "\n", stdout);
}

static void put_head(struct facts *p, const struct subject *s) {
    static const char *const names[] = {[ENGINE_HEAD_NONE] = "none",
                                        [ENGINE_HEAD_LABELS] = "labels",
                                        [ENGINE_HEAD_NLI] = "nli",
                                        [ENGINE_HEAD_SCORE] = "score"};
    const struct engine_info *info = engine_info(s->engine);
    put_tasks(p, info->tasks);
    facts_text(p, "head", names[info->head]);
    if (info->head == ENGINE_HEAD_NONE)
        return;
    facts_text(p, "scores", info->sigmoid ? "sigmoid" : "softmax");
    facts_key(p, "labels");
    fputs(p->json ? "[" : "", stdout);
    for (uint32_t i = 0; i < info->n_labels; i++) {
        fputs(i ? ", " : "", stdout);
        facts_quote(engine_label(s->engine, i));
    }
    fputs(p->json ? "]" : "\n", stdout);
    if (info->head == ENGINE_HEAD_NLI) {
        facts_count(p, "entailment", info->entailment, "is its logit");
        facts_count(p, "contradiction", info->contradiction, "is its logit");
    }
}

static void put_weights(struct facts *p, const struct subject *s) {
    static const char *const names[] = {
        [WEIGHTS_F32] = "F32",    [WEIGHTS_F16] = "F16", [WEIGHTS_BF16] = "BF16",
        [WEIGHTS_F64] = "F64",    [WEIGHTS_I64] = "I64", [WEIGHTS_I32] = "I32",
        [WEIGHTS_OTHER] = "other"};
    uint64_t all = 0;
    facts_key(p, "weights");
    if (p->json)
        fputs("{", stdout);
    bool more = false;
    for (int t = 0; t < TYPES; t++) {
        all += s->bytes[t];
        if (s->tensors[t] == 0)
            continue;
        printf(p->json ? "%s\"%s\": {\"tensors\": %u, \"bytes\": %" PRIu64 "}"
                       : "%s%s: %u tensors, %" PRIu64 " bytes",
               more ? (p->json ? ", " : "; ") : "", names[t], s->tensors[t], s->bytes[t]);
        more = true;
    }
    fputs(p->json ? "}" : "\n", stdout);
    facts_bytes(p, "weights_bytes", all);
    facts_bytes(p, "memory_bytes", engine_info(s->engine)->weight_bytes);
}

/* What this CPU can compute with: "avx512-f32 portable-f32 avx2-i8 ...". */
static void put_kernels(struct facts *p, const struct subject *s) {
    const struct engine_info *info = engine_info(s->engine);
    bool first = true;
    facts_text(p, "precision", info->precision);
    facts_text(p, "kernel", info->kernel);
    facts_key(p, "kernels");
    fputs(p->json ? "[" : "", stdout);
    for (int precision = 0; precision < GEMM_PRECISIONS; precision++) {
        const enum gemm_precision of = (enum gemm_precision)precision;
        for (const struct gemm_kernel *const *k = gemm_list(of); *k; k++) {
            char name[64];
            if (!(*k)->usable())
                continue;
            snprintf(name, sizeof name, "%s-%s", (*k)->name, gemm_precision_name(of));
            put_list(p, name, first);
            first = false;
        }
    }
    fputs(p->json ? "]" : "\n", stdout);
}

static void put_prompts(struct facts *p, const struct subject *s) {
    facts_key(p, "prompts");
    if (p->json)
        putchar('{');
    for (uint32_t i = 0; i < engine_info(s->engine)->n_prompts; i++) {
        struct view name, text;
        engine_prompt_at(s->engine, i, &name, &text);
        if (i)
            fputs(p->json ? ", " : "; ", stdout);
        facts_quote(name);
        fputs(": ", stdout);
        facts_quote(text);
    }
    fputs(p->json ? "}" : "\n", stdout);
    if (s->dir->default_prompt)
        facts_text(p, "default_prompt", s->dir->default_prompt);
}

static void put_template(struct facts *p, const char *key, const char *text) {
    if (!*text)
        return;
    facts_key(p, key);
    facts_quote(view_of(text));
    if (!p->json)
        putchar('\n');
}

/* ember_zero_shot.json, where it is there. */
static void put_zero_shot(struct facts *p, const struct subject *s) {
    const struct zero_shot *settings = s->dir->zero_shot;
    if (!settings)
        return;
    put_template(p, "template", settings->template_text);
    put_template(p, "template_han", settings->template_han);
    facts_number(p, "temperature", (double)classify_temperature(settings), 4,
                 "of scores of labels");
    if (!settings->multi)
        return;
    facts_number(p, "multi_midpoint", (double)settings->midpoint, 4, "is the cosine of score 0.5");
    facts_number(p, "multi_temperature", (double)settings->multi_temperature, 4, "");
}

static void report(const struct subject *s, bool json) {
    struct facts p = facts_begin(json);
    put_model(&p, s);
    put_head(&p, s);
    put_weights(&p, s);
    put_kernels(&p, s);
    put_prompts(&p, s);
    put_zero_shot(&p, s);
    facts_text(&p, "self_check", s->self_check.status == STATUS_OK ? "ok" : s->self_check.text);
    facts_end(&p);
}

enum tool_exit inspect_main(int argc, char **argv) {
    struct settings settings;
    enum cfg_action action;
    struct err err;
    int n_words = 0;
    if (cfg_load(&cfg, argc, argv, &n_words, &settings, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    if (n_words != 1) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "inspect takes one model directory; see --help");
        return tool_fail(&err);
    }
    struct engine_options options = {.kernel = *settings.kernel ? settings.kernel : NULL};
    if (!engine_precision_parse(settings.precision, &options.precision)) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "--precision is f32, bf16 or i8, not '%s'",
                settings.precision);
        return tool_fail(&err);
    }
    struct subject subject;
    enum status st = subject_open(argv[1], &options, &subject, &err);
    enum tool_exit code = TOOL_OK;
    if (st == STATUS_OK) {
        report(&subject, settings.json);
        code = subject.self_check.status == STATUS_OK ? TOOL_OK : TOOL_FAILED;
    } else {
        code = tool_fail(&err);
    }
    engine_destroy(&subject.engine);
    return code;
}
