/* check_golden.c - golden models: lay out, open, run their cases, one line each. */
#include "checks.h"

#include "base/limits.h"
#include "cases.h"
#include "engine/engine.h"
#include "overlay.h"
#include "tool.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

/* The directory of one model: its layer itself when there is just that, else an overlay. */
static enum status lay_out(const char *dir, const json_t *model, struct overlay *overlay,
                           char path[TOOL_PATH_MAX], struct err *err) {
    const json_t *layers = json_get(model, "layers"), *remove = json_get(model, "remove");
    if (json_size(layers) == 0)
        return err_set(err, STATUS_DATA_LOSS, "it has no layers");
    if (json_size(layers) == 1 && json_size(remove) == 0 && json_text(json_first(layers)))
        return tool_path(path, dir, json_text(json_first(layers)), err);
    enum status st = overlay_init(overlay, err);
    for (const json_t *e = json_first(layers); e && st == STATUS_OK; e = json_next(e)) {
        char layer[TOOL_PATH_MAX];
        st = tool_path(layer, dir, json_text(e) ? json_text(e) : "?", err);
        if (st == STATUS_OK)
            st = overlay_layer(overlay, layer, err);
    }
    for (const json_t *e = remove ? json_first(remove) : NULL; e && st == STATUS_OK;
         e = json_next(e))
        st = overlay_remove(overlay, json_text(e) ? json_text(e) : "?", err);
    if (st == STATUS_OK)
        memcpy(path, overlay->path, sizeof overlay->path);
    return st;
}

static enum status run_model(const char *dir, const char *cases_dir, const json_t *model,
                             const char *id, const struct engine_options *options,
                             struct cases_result *result, struct err *err) {
    struct overlay overlay = {0};
    engine_t *engine = NULL;
    char path[TOOL_PATH_MAX], name[TOOL_PATH_MAX], cases[TOOL_PATH_MAX];
    snprintf(name, sizeof name, "%.*s/cases.jsonl", (int)strcspn(id, "/"), id);
    enum status st = tool_path(cases, cases_dir, name, err);
    if (st == STATUS_OK)
        st = cases_count(cases, id, &result->cases, err); /* so that a refusal can say how many */
    if (st == STATUS_OK)
        st = lay_out(dir, model, &overlay, path, err);
    if (st == STATUS_OK)
        st = engine_open(path, options, &engine, err);
    if (st == STATUS_OK) {
        result->cases = 0;
        st = cases_run(cases, id, engine, result, err);
    }
    engine_destroy(&engine);
    overlay_done(&overlay);
    return st;
}

/* "vectors 1.2e-07  logits 3.1e-06  scores 2.0e-07": the largest differences, of what there was. */
static void print_differences(const struct cases_result *r, bool narrow) {
    if (r->vectors && narrow)
        printf("cosine least %.6f median %.6f  ", r->cosine_least, r->cosine_median);
    else if (r->vectors)
        printf("vectors %.1e  ",
               r->difference > r->difference_raw ? r->difference : r->difference_raw);
    if (r->answers)
        printf("logits %.1e  scores %.1e  ", r->difference_logit, r->difference_score);
    if (r->answers && narrow)
        printf("clear leads kept %u of %u  ", r->leads - r->leads_lost, r->leads);
}

static void one_model(const char *dir, const char *cases_dir, const json_t *model, const char *id,
                      const struct engine_options *options, struct check_tally *tally) {
    struct cases_result result = {0};
    struct err err;
    enum status st = run_model(dir, cases_dir, model, id, options, &result, &err);
    tally->ran++;
    bool passed = st == STATUS_OK && result.failed == 0 && result.cases > 0;
    tally->failed += !passed;
    printf("%-24s %4u cases  ", id, result.cases);
    if (st != STATUS_OK) {
        printf("FAIL: %s\n", err.text);
        return;
    }
    print_differences(&result, options->precision != ENGINE_F32);
    if (passed)
        puts("pass");
    else if (result.cases == 0)
        printf("FAIL: '%s' has no case for it\n", cases_dir);
    else
        printf("FAIL: %u cases, first %s\n", result.failed, result.first);
}

enum status check_golden(const char *dir, const char *cases, const struct cfg_list *only,
                         const struct engine_options *options, struct check_tally *tally,
                         struct err *err) {
    char path[TOOL_PATH_MAX];
    json_t *index = NULL;
    enum status st = tool_path(path, dir, "index.json", err);
    if (st == STATUS_OK)
        st = json_load(path, LIMIT_JSON_BYTES, &index, err);
    const json_t *models = json_get(index, "models");
    if (st == STATUS_OK && !json_is_array(models))
        st = err_set(err, STATUS_DATA_LOSS, "'%s' has no list \"models\"", path);
    for (const json_t *m = st == STATUS_OK ? json_first(models) : NULL; m; m = json_next(m)) {
        const char *id = json_text(json_get(m, "id"));
        if (!id) {
            st = err_set(err, STATUS_DATA_LOSS, "'%s': a model without an id", path);
            break;
        }
        if (check_wanted(only, id))
            one_model(dir, cases, m, id, options, tally);
        fflush(stdout);
    }
    json_destroy(&index);
    return st;
}
