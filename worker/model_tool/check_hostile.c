/* check_hostile.c - unusual and hostile variations of one small model: formats/ and corrupt/.
 *
 * A line of index.jsonl changes the base directory: "put" (name: file beside the index), "text" and
 * "base64" (name: contents), "remove" (names). Each variation is opened by a child process. */
#include "checks.h"

#include "jsonl.h"
#include "overlay.h"
#include "trial.h"
#include "json/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct suite {
    const char *dir;           /* where index.jsonl and its files are */
    char base[TOOL_PATH_MAX];  /* the model directory that lines change */
    char cases[TOOL_PATH_MAX]; /* its cases.jsonl */
    uint64_t base_bytes;       /* of address space that opening it unchanged takes */
};

/* ---- a variation ---- */

static int digit64(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static enum status write_base64(struct overlay *overlay, const char *name, const char *text,
                                struct err *err) {
    char *bytes = malloc(strlen(text) / 4 * 3 + 4);
    if (!bytes)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    size_t n = 0;
    uint32_t bits = 0, held = 0;
    for (const char *p = text; *p && *p != '='; p++) {
        int digit = digit64(*p);
        if (digit < 0) {
            free(bytes);
            return err_set(err, STATUS_DATA_LOSS, "'%s' is not base64", name);
        }
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[n++] = (char)(bits >> held);
        }
    }
    enum status st = overlay_write(overlay, name, view_make(bytes, n), err);
    free(bytes);
    return st;
}

static enum status put(struct overlay *overlay, const char *dir, const json_t *file,
                       struct err *err) {
    char path[TOOL_PATH_MAX];
    const char *text = json_text(file);
    enum status st = tool_path(path, dir, text ? text : "?", err);
    return st == STATUS_OK ? overlay_link(overlay, json_key(file), path, err) : st;
}

static enum status lay_out(const struct suite *suite, const json_t *row, struct overlay *overlay,
                           struct err *err) {
    const json_t *puts = json_get(row, "put"), *texts = json_get(row, "text");
    const json_t *base64 = json_get(row, "base64"), *remove = json_get(row, "remove");
    enum status st = overlay_layer(overlay, suite->base, err);
    for (const json_t *e = remove ? json_first(remove) : NULL; e && st == STATUS_OK;
         e = json_next(e))
        st = overlay_remove(overlay, json_text(e) ? json_text(e) : "?", err);
    for (const json_t *e = puts ? json_first(puts) : NULL; e && st == STATUS_OK; e = json_next(e))
        st = put(overlay, suite->dir, e, err);
    for (const json_t *e = texts ? json_first(texts) : NULL; e && st == STATUS_OK; e = json_next(e))
        st = overlay_write(overlay, json_key(e), view_of(json_text(e) ? json_text(e) : ""), err);
    for (const json_t *e = base64 ? json_first(base64) : NULL; e && st == STATUS_OK;
         e = json_next(e))
        st = write_base64(overlay, json_key(e), json_text(e) ? json_text(e) : "?", err);
    return st;
}

/* True when the message names a file of a model directory. */
static bool names_a_file(const char *message) {
    static const char *const names[] = {
        "config.json",       "modules.json",          "vocab.txt",  "tokenizer.json",
        "model.safetensors", "pytorch_model",         ".bin",       ".safetensors",
        "1_Pooling",         "tokenizer_config.json", "2_Normalize"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(message, names[i]))
            return true;
    return false;
}

/* True when the row changes what text means or how vectors are pooled: they cannot be foretold
 * then. */
static bool changes_meaning(const json_t *row) {
    static const char *const groups[] = {"put", "text", "base64"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const json_t *group = json_get(row, groups[i]);
        for (const json_t *e = group ? json_first(group) : NULL; e; e = json_next(e)) {
            const char *name = json_key(e);
            if (strncmp(name, "vocab", 5) == 0 || strncmp(name, "tokenizer", 9) == 0 ||
                strncmp(name, "1_Pooling", 9) == 0 || strcmp(name, "modules.json") == 0)
                return true;
        }
    }
    return false;
}

/* ---- a verdict ---- */

struct verdict {
    bool passed;
    char text[ERR_TEXT_MAX + 160];
};

__attribute__((format(printf, 3, 4))) static void say(struct verdict *v, bool passed,
                                                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    v->passed = passed;
    vsnprintf(v->text, sizeof v->text, format, args);
    va_end(args);
}

/* What holds for every variation: it ends, in time, without taking memory. True when it does. */
static bool judge_costs(const struct suite *suite, const struct trial_result *r,
                        uint64_t file_bytes, struct verdict *v) {
    const uint64_t most = TRIAL_BYTES + TRIAL_TIMES * file_bytes;
    uint64_t more = r->grown_bytes > suite->base_bytes ? r->grown_bytes - suite->base_bytes : 0;
    if (!r->ended)
        say(v, false, "%s", r->err.text);
    else if (r->open_us > TRIAL_SECONDS * 1000000ULL)
        say(v, false, "it took %.1f s, at most %d", (double)r->open_us / 1e6, TRIAL_SECONDS);
    else if (more > most)
        say(v, false, "it took %.0f MB more than the good model, at most %.0f", (double)more / 1e6,
            (double)most / 1e6);
    else
        return true;
    return false;
}

static void judge_vectors(const struct trial_result *r, struct verdict *v) {
    if (r->cases.failed)
        say(v, false, "it loads with wrong vectors: %s", r->cases.first);
    else if (r->cases.cases == 0)
        say(v, false, "no case to compare with");
    else
        say(v, true, "loads, difference %.1e", r->cases.difference);
}

/* `may_load`: right vectors will do; `may_refuse`: so will a clear refusal. */
static void judge(const struct suite *suite, const struct trial_result *r, uint64_t file_bytes,
                  bool may_load, bool may_refuse, struct verdict *v) {
    if (!judge_costs(suite, r, file_bytes, v))
        return;
    if (r->status == STATUS_OK && may_load)
        judge_vectors(r, v);
    else if (r->status == STATUS_OK)
        say(v, false, "it was loaded");
    else if (!may_refuse)
        say(v, false, "refused: %s", r->err.text);
    else
        say(v, names_a_file(r->err.text), "%s %s%s", status_name(r->status), r->err.text,
            names_a_file(r->err.text) ? "" : " (names no file)");
}

/* True when "also" lists "ok". */
static bool ok_will_do(const json_t *row) {
    const json_t *also = json_get(row, "also");
    for (const json_t *e = also ? json_first(also) : NULL; e; e = json_next(e))
        if (json_text(e) && strcmp(json_text(e), "ok") == 0)
            return true;
    return false;
}

static enum status try_row(const struct suite *suite, const json_t *row, bool hostile,
                           struct verdict *v, struct err *err) {
    struct overlay overlay = {0}, work = {0};
    struct trial_result result;
    const char *expect = json_text(json_get(row, "expect")),
               *level = json_text(json_get(row, "level")),
               *attack = json_text(json_get(row, "must_not_create"));
    enum status st = overlay_init(&overlay, err);
    if (st == STATUS_OK)
        st = overlay_init(&work, err);
    if (st == STATUS_OK)
        st = lay_out(suite, row, &overlay, err);
    if (st == STATUS_OK)
        st = trial_run(&(struct trial_job){.model_dir = overlay.path,
                                           .work_dir = work.path,
                                           .cases = suite->cases,
                                           .expect = expect ? expect : "formats/f32",
                                           .finite_only = hostile && changes_meaning(row)},
                       &result, err);
    if (st == STATUS_OK)
        judge(suite, &result, overlay_bytes(&overlay), !hostile || ok_will_do(row),
              hostile || (level && strcmp(level, "may") == 0), v);
    char path[TOOL_PATH_MAX];
    if (st == STATUS_OK && attack && tool_path(path, work.path, attack, err) == STATUS_OK &&
        access(path, F_OK) == 0)
        say(v, false, "THE ATTACK WORKED: it made the file '%s'", attack);
    overlay_done(&overlay);
    overlay_done(&work);
    return st;
}

/* ---- a suite ---- */

static enum status measure_base(struct suite *suite, struct err *err) {
    struct trial_result result;
    const struct trial_job job = {.model_dir = suite->base, .work_dir = "/"};
    char absolute[TOOL_PATH_MAX];
    if (!realpath(suite->base, absolute)) /* the child changes its working directory */
        return err_errno(err, STATUS_NOT_FOUND, "'%s'", suite->base);
    memcpy(suite->base, absolute, sizeof absolute);
    enum status st = trial_run(&job, &result, err);
    if (st == STATUS_OK && (!result.ended || result.status != STATUS_OK))
        st = err_set(err, STATUS_FAILED_PRECONDITION, "the unchanged model does not load: %s",
                     result.err.text);
    suite->base_bytes = st == STATUS_OK ? result.grown_bytes : 0;
    return st;
}

static enum status run_suite(struct suite *suite, bool hostile, const struct cfg_list *only,
                             struct check_tally *tally, struct err *err) {
    char path[TOOL_PATH_MAX], absolute[TOOL_PATH_MAX];
    struct jsonl file = {0};
    json_t *row = NULL;
    if (!realpath(suite->cases, absolute))
        return err_errno(err, STATUS_NOT_FOUND, "'%s'", suite->cases);
    memcpy(suite->cases, absolute, sizeof absolute);
    enum status st = measure_base(suite, err);
    if (st == STATUS_OK)
        st = tool_path(path, suite->dir, "index.jsonl", err);
    if (st == STATUS_OK)
        st = jsonl_open(path, &file, err);
    while (st == STATUS_OK && (st = jsonl_next(&file, &row, err)) == STATUS_OK && row) {
        const char *id = json_text(json_get(row, "id"));
        if (id && check_wanted(only, id)) {
            struct verdict verdict = {0};
            st = try_row(suite, row, hostile, &verdict, err);
            if (st == STATUS_OK) {
                tally->ran++;
                tally->failed += !verdict.passed;
                printf("%-24s %s  %s\n", id, verdict.passed ? "pass" : "FAIL", verdict.text);
            }
        }
        json_destroy(&row);
    }
    jsonl_close(&file);
    return st;
}

enum status check_corrupt(const char *dir, const struct cfg_list *only, struct check_tally *tally,
                          struct err *err) {
    struct suite suite = {.dir = dir};
    enum status st = tool_path(suite.base, dir, "../formats/base", err);
    if (st == STATUS_OK)
        st = tool_path(suite.cases, dir, "../formats/cases.jsonl", err);
    return st == STATUS_OK ? run_suite(&suite, true, only, tally, err) : st;
}

enum status check_formats(const char *dir, const struct cfg_list *only, struct check_tally *tally,
                          struct err *err) {
    struct suite suite = {.dir = dir};
    enum status st = tool_path(suite.base, dir, "base", err);
    if (st == STATUS_OK)
        st = tool_path(suite.cases, dir, "cases.jsonl", err);
    return st == STATUS_OK ? run_suite(&suite, false, only, tally, err) : st;
}
