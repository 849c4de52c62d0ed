/* prepare.c - `ember-model prepare`: what the first worker of a host would do at its start, done
 * before. */
#include "tool.h"

#include "base/cfg.h"
#include "engine/engine.h"
#include "engine/weights_cache.h"

#include <stdio.h>
#include <string.h>

struct settings {
    char weights_cache[CFG_TEXT_MAX], kernel[64];
    uint32_t precision;
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_CHOICE("precision", struct settings, precision, "f32", "f32|bf16|i8",
               "as the workers will have it"),
    CFG_TEXT("kernel", struct settings, kernel, NULL, "NAME",
             "prepare for this matrix kernel; default: the best of this CPU"),
    CFG_TEXT("weights-cache", struct settings, weights_cache, "auto", "DIR",
             "as the workers will have it"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "prepare [OPTION]... DIR...",
    .about =
        "Prepare the weights of model directories where workers of this host look for them, so\n"
        "that the first worker starts as fast as the others. What is there already stays. Run\n"
        "it as the workers' user: they trust nobody's files but their own and root's.",
    .epilog =
        "Example:\n"
        "  ember-model prepare --precision i8 --weights-cache /var/cache/ember models/minilm\n\n"
        "Exit status: 0 all are there now, 1 not all, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static enum tool_exit prepare(const char *dir, const struct settings *s, const char *cache) {
    struct err err;
    engine_t *engine = NULL;
    const struct engine_options options = {.precision = (enum engine_precision)s->precision,
                                           .kernel = s->kernel[0] ? s->kernel : NULL,
                                           .weights_cache = cache};
    if (engine_open(dir, &options, &engine, &err) != STATUS_OK)
        return tool_fail(&err);
    const struct engine_info *info = engine_info(engine);
    const bool kept = info->weights_shared || !info->weights_note[0]; /* static: nothing to keep */
    if (kept)
        printf("%s: %.1f MB, %s, %s\n", dir, (double)info->weight_bytes / 1e6, info->kernel,
               !info->weights_shared ? "nothing to prepare"
               : info->weights_made  ? "prepared"
                                     : "there already");
    else
        fprintf(stderr, "ember-model: '%s' is not kept: %s\n", dir, info->weights_note);
    engine_destroy(&engine);
    return kept ? TOOL_OK : TOOL_FAILED;
}

enum tool_exit prepare_main(int argc, char **argv) {
    struct settings s;
    struct err err;
    enum cfg_action action;
    int n_words = 0;
    if (cfg_load(&cfg, argc, argv, &n_words, &s, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    char dir[TOOL_PATH_MAX];
    const char *cache = weights_cache_dir(s.weights_cache, dir, sizeof dir);
    if (n_words < 1 || !cache) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "%s",
                cache ? "prepare: no directory given" : "weights-cache: no directory");
        return tool_fail(&err);
    }
    enum tool_exit worst = TOOL_OK;
    for (int i = 1; i <= n_words; i++) {
        const enum tool_exit one = prepare(argv[i], &s, cache);
        worst = one > worst ? one : worst;
    }
    return worst;
}
