/* inspect.c - `ember-model inspect`: everything a model directory says about itself, and what this
 * machine would make of it. One list of facts is printed as lines for people or as JSON. */
#include "tool.h"

#include "base/cfg.h"
#include "engine/engine.h"
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
    char kernel[64];
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_BOOL("json", struct settings, json, "print one JSON object"),
    CFG_TEXT("kernel", struct settings, kernel, NULL, "NAME",
             "prepare weights for this matrix kernel; default: the best of this CPU"),
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

struct subject {
    const char *path;
    engine_t *engine;
    struct model_dir *dir;
    tokenizer_t *tokenizer;
    struct err self_check; /* status OK when it passed */
};

static void subject_close(struct subject *s) {
    engine_destroy(&s->engine);
    model_dir_close(&s->dir);
    tokenizer_destroy(&s->tokenizer);
}

static enum status subject_open(const char *path, const char *kernel, struct subject *s,
                                struct err *err) {
    *s = (struct subject){.path = path};
    enum status st = engine_open(path, &(struct engine_options){.kernel = kernel}, &s->engine, err);
    if (st == STATUS_OK)
        st = model_dir_open(path, &s->dir, err);
    if (st == STATUS_OK)
        st = tokenizer_load(path, &s->tokenizer, err);
    engine_seat_t *seat = NULL;
    if (st == STATUS_OK)
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

static void put_model(struct facts *p, const struct subject *s) {
    const struct engine_info *info = engine_info(s->engine);
    const struct model_shape *shape = &s->dir->shape;
    facts_text(p, "name", s->dir->name);
    facts_text(p, "path", s->path);
    facts_text(p, "fingerprint", info->fingerprint);
    facts_text(p, "family", info->family);
    facts_count(p, "layers", info->layers, "");
    facts_count(p, "hidden", info->hidden, "numbers a token");
    facts_count(p, "heads", info->heads, "");
    facts_count(p, "inner", info->inner, "numbers in the feed-forward part");
    facts_text(p, "activation", act_name(shape->act));
    facts_count(p, "dimensions", info->dim, "numbers a vector");
    facts_text(p, "pooling", info->pooling);
    facts_bool(p, "normalize", info->normalize);
    facts_count(p, "max_tokens", info->max_tokens, "of one text, special ones included");
    facts_count(p, "max_positions", info->max_positions, "tokens at most");
    facts_count(p, "vocabulary", info->vocab, "pieces");
    facts_count(p, "vocab_rows", shape->vocab_rows, "in the word table");
    facts_bool(p, "lower_case", tokenizer_lowercase(s->tokenizer));
}

static void put_weights(struct facts *p, const struct subject *s) {
    static const char *const names[] = {
        [WEIGHTS_F32] = "F32", [WEIGHTS_F16] = "F16", [WEIGHTS_BF16] = "BF16",
        [WEIGHTS_F64] = "F64", [WEIGHTS_I64] = "I64", [WEIGHTS_OTHER] = "other"};
    enum { TYPES = sizeof names / sizeof *names };
    uint64_t bytes[TYPES] = {0}, all = 0;
    uint32_t tensors[TYPES] = {0};
    for (uint32_t i = 0; i < weights_count(s->dir->weights); i++) {
        const struct tensor *t = weights_at(s->dir->weights, i);
        bytes[t->type] += t->bytes;
        tensors[t->type]++;
        all += t->bytes;
    }
    facts_key(p, "weights");
    if (p->json)
        fputs("{", stdout);
    bool more = false;
    for (int t = 0; t < TYPES; t++) {
        if (tensors[t] == 0)
            continue;
        printf(p->json ? "%s\"%s\": {\"tensors\": %u, \"bytes\": %" PRIu64 "}"
                       : "%s%s: %u tensors, %" PRIu64 " bytes",
               more ? (p->json ? ", " : "; ") : "", names[t], tensors[t], bytes[t]);
        more = true;
    }
    fputs(p->json ? "}" : "\n", stdout);
    facts_bytes(p, "weights_bytes", all);
    facts_bytes(p, "memory_bytes", engine_info(s->engine)->weight_bytes);
}

static void put_kernels(struct facts *p, const struct subject *s) {
    const char *chosen = engine_info(s->engine)->kernel;
    facts_text(p, "kernel", chosen);
    facts_key(p, "kernels");
    if (p->json)
        putchar('[');
    const char *between = "";
    for (const struct gemm_kernel *const *k = gemm_list(GEMM_F32); *k; k++) {
        if (!(*k)->usable())
            continue;
        printf(p->json ? "%s\"%s\"" : "%s%s", between, (*k)->name);
        between = p->json ? ", " : " ";
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

static void report(const struct subject *s, bool json) {
    struct facts p = facts_begin(json);
    put_model(&p, s);
    put_weights(&p, s);
    put_kernels(&p, s);
    put_prompts(&p, s);
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
    struct subject subject;
    enum status st =
        subject_open(argv[1], *settings.kernel ? settings.kernel : NULL, &subject, &err);
    enum tool_exit code = TOOL_OK;
    if (st == STATUS_OK) {
        report(&subject, settings.json);
        code = subject.self_check.status == STATUS_OK ? TOOL_OK : TOOL_FAILED;
    } else {
        code = tool_fail(&err);
    }
    subject_close(&subject);
    return code;
}
