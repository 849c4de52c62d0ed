/* check.c - the command line of `ember-model check`. */
#include "checks.h"

#include "tool.h"

#include <stdio.h>
#include <string.h>

struct settings {
    char golden[CFG_TEXT_MAX], tokenizer[CFG_TEXT_MAX], corrupt[CFG_TEXT_MAX];
    char formats[CFG_TEXT_MAX], cases[CFG_TEXT_MAX], kernel[64], precision[16];
    struct cfg_list only;
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_HEADING("What to check, one or more"),
    CFG_TEXT("golden", struct settings, golden, NULL, "DIR",
             "models of DIR/index.json: token ids, vectors, logits and scores within tolerances"),
    CFG_TEXT("tokenizer", struct settings, tokenizer, NULL, "MODELDIR",
             "token ids of this model's tokenizer; needs --cases FILE.jsonl"),
    CFG_TEXT("corrupt", struct settings, corrupt, NULL, "DIR",
             "hostile files: each must be refused, with a message, in 1 s and little memory"),
    CFG_TEXT("formats", struct settings, formats, NULL, "DIR",
             "unusual but legal files: each must load and give the same vectors"),
    CFG_HEADING("Details"),
    CFG_TEXT("cases", struct settings, cases, NULL, "PATH",
             "--golden: folder of NAME/cases.jsonl (default: DIR); --tokenizer: the file"),
    CFG_LIST("only", struct settings, only, NULL, "NAME",
             "this one alone: a folder like bert-mean or an id like bert-mean/f32; repeatable"),
    CFG_TEXT("kernel", struct settings, kernel, NULL, "NAME",
             "with --golden: compute with this matrix kernel; `inspect` lists them"),
    CFG_TEXT("precision", struct settings, precision, "f32", "NAME",
             "with --golden: f32, bf16 or i8; the narrower ones are judged by cosine and by order"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "check [OPTION]...",
    .about = "Compare this build with recorded answers. A line per model or file that was checked, "
             "then a "
             "sum; every failure says what differs.",
    .epilog = "Examples:\n"
              "  ember-model check --golden tests/data/golden --only bert-mean --only bert-cls-zh\n"
              "  ember-model check --golden tests/data/golden --precision i8\n"
              "  ember-model check --corrupt tests/data/golden/corrupt\n\n"
              "Exit status: 0 something ran and all of it passed, 1 not so, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

bool check_wanted(const struct cfg_list *only, const char *id) {
    size_t folder = strcspn(id, "/");
    for (uint32_t i = 0; i < only->n; i++) {
        const char *name = only->item[i];
        if (strcmp(name, id) == 0 || (strlen(name) == folder && memcmp(name, id, folder) == 0))
            return true;
    }
    return only->n == 0;
}

static enum status run(const struct settings *s, enum engine_precision precision,
                       struct check_tally *tally, struct err *err) {
    enum status st = STATUS_OK;
    const struct engine_options options = {.precision = precision,
                                           .kernel = *s->kernel ? s->kernel : NULL};
    if (*s->golden)
        st = check_golden(s->golden, *s->cases && !*s->tokenizer ? s->cases : s->golden, &s->only,
                          &options, tally, err);
    if (st == STATUS_OK && *s->tokenizer)
        st = check_tokenizer(s->tokenizer, s->cases, tally, err);
    if (st == STATUS_OK && *s->corrupt)
        st = check_corrupt(s->corrupt, &s->only, tally, err);
    if (st == STATUS_OK && *s->formats)
        st = check_formats(s->formats, &s->only, tally, err);
    return st;
}

enum tool_exit check_main(int argc, char **argv) {
    struct settings s;
    enum cfg_action action;
    struct err err;
    if (cfg_load(&cfg, argc, argv, NULL, &s, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    if (!*s.golden && !*s.tokenizer && !*s.corrupt && !*s.formats) {
        err_set(&err, STATUS_INVALID_ARGUMENT,
                "check what? --golden, --tokenizer, --corrupt or --formats; see --help");
        return tool_fail(&err);
    }
    if (*s.tokenizer && !*s.cases) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "--tokenizer needs --cases FILE.jsonl");
        return tool_fail(&err);
    }
    enum engine_precision precision;
    if (!engine_precision_parse(s.precision, &precision)) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "--precision is f32, bf16 or i8, not '%s'",
                s.precision);
        return tool_fail(&err);
    }
    struct check_tally tally = {0};
    if (run(&s, precision, &tally, &err) != STATUS_OK) {
        tool_fail(&err);
        return TOOL_FAILED; /* also for an index that makes no sense: the command line was fine */
    }
    if (tally.ran == 0) {
        err_set(&err, STATUS_NOT_FOUND, "nothing ran: no name matches");
        return tool_fail(&err);
    }
    if (tally.failed)
        printf("%u of %u failed\n", tally.failed, tally.ran);
    else
        printf("%u checked, all passed\n", tally.ran);
    return tally.failed ? TOOL_FAILED : TOOL_OK;
}
