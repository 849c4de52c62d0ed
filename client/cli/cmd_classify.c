/* cmd_classify.c - `ember classify`: scores of labels. */
#include "answer.h"
#include "cli.h"
#include "screen.h"
#include "stream.h"

#include <string.h>

enum { LABELS_MAX = 64, LABELS_BYTES = 4096 };

struct settings {
    struct cli_common common;
    struct cli_texts texts;
    char labels[LABELS_BYTES];
    char template_text[512];
    bool multi_label, pair;
    uint32_t top, truncate, cache, lane, max_tokens;
    const char *list[LABELS_MAX]; /* into labels */
    size_t n_labels;
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CLI_TEXT_ROWS(struct settings),
    CFG_HEADING("Labels"),
    CFG_TEXT("labels", struct settings, labels, "", "A,B,C",
             "labels to score; none: those the model was trained with"),
    CFG_BOOL("pair", struct settings, pair,
             "judge texts two by two, by the model's own labels: two words,\nor a line with a tab "
             "between them"),
    CFG_TEXT("template", struct settings, template_text, "", "TEXT",
             "a sentence with {} in the label's place; default: the model's"),
    CFG_BOOL("multi-label", struct settings, multi_label,
             "score each label for itself instead of sharing 1 among them"),
    CFG_U32("top", struct settings, top, "0", 0, 1024, "N", "only the best N; 0: all"),
    CFG_CHOICE("truncate", struct settings, truncate, "right", "right|left|off",
               "where a text that is too long is cut; off: refuse it"),
    CFG_U32("max-tokens", struct settings, max_tokens, "0", 0, 8192, "N",
            "cut texts, or pairs, at N tokens; 0: the model's limit"),
    CFG_CHOICE("cache", struct settings, cache, "use", "use|bypass|refresh",
               "refresh: compute again and store"),
    CFG_CHOICE("lane", struct settings, lane, "normal", "normal|high|bulk", "who goes first"),
};

static const struct cfg cfg = {
    .program = "ember classify",
    .synopsis = "[OPTION]... [TEXT]...",
    .about =
        "Scores labels for each text, best first: yours, for models of vectors or of entailment;\n"
        "the model's own, for models that were trained with some.",
    .epilog =
        "Examples:\n"
        "  ember classify --labels complaint,question,praise \"the parcel never came\"\n"
        "  ember classify --labels 投诉,咨询,建议 --file 工单.txt --output json\n"
        "  ember classify --model intents \"where is my parcel?\"\n"
        "  ember classify --model paraphrase --pair \"it is late\" \"it did not come in time\"\n\n"
        "--output raw prints one line a text: the best label, a tab, its score.\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static enum ember_status start(void *arg, ember_t *e, const char *const *texts, size_t n,
                               const size_t *text_bytes, ember_call_t **call,
                               struct ember_error *error) {
    const struct settings *s = arg;
    struct ember_classify_options o = EMBER_CLASSIFY_OPTIONS_INIT;
    const char *seconds[STREAM_CHUNK_TEXTS];
    size_t first_bytes[STREAM_CHUNK_TEXTS], second_bytes[STREAM_CHUNK_TEXTS];
    for (size_t i = 0; s->pair && i < n; i++) {
        size_t tab = stream_tab(texts[i], text_bytes[i]);
        first_bytes[i] = tab;
        seconds[i] = texts[i] + tab + 1;
        second_bytes[i] = text_bytes[i] - tab - 1;
    }
    o.text_bytes = s->pair ? first_bytes : text_bytes;
    o.seconds = s->pair ? seconds : NULL;
    o.second_bytes = s->pair ? second_bytes : NULL;
    o.max_tokens = s->max_tokens;
    o.hypothesis_template = s->template_text;
    o.multi_label = s->multi_label;
    o.top_k = s->top;
    o.truncate = (enum ember_truncate)s->truncate;
    o.cache = (enum ember_cache)s->cache;
    o.lane = (enum ember_lane)s->lane;
    return ember_classify_start(e, texts, n, s->list, s->n_labels, &o, NULL, NULL, call, error);
}

static void print_table(const ember_result_t *r, size_t i, struct view text) {
    const struct ember_score *scores;
    size_t n = ember_result_scores(r, i, &scores);
    unsigned label_width = 5, width = screen_width(stdout);
    for (size_t k = 0; k < n; k++) {
        unsigned w = screen_columns(view_of(ember_result_label(r, scores[k].label)));
        label_width = w > label_width ? w : label_width;
    }
    label_width = label_width > 40 ? 40 : label_width;
    screen_print(stdout, text, screen_columns(text) > width - 2 ? width - 2 : 0);
    putchar('\n');
    for (size_t k = 0; k < n; k++) {
        printf("  ");
        screen_print(stdout, view_of(ember_result_label(r, scores[k].label)), label_width);
        printf("  %7.4f  ", (double)scores[k].score);
        for (int bar = (int)(scores[k].score * 30 + 0.5f); bar > 0; bar--)
            fputs("\xe2\x96\x87", stdout);
        putchar('\n');
    }
}

static void print_json(const ember_result_t *r, size_t i, uint64_t number, struct view text) {
    const struct ember_score *scores;
    size_t n = ember_result_scores(r, i, &scores);
    answer_json(r, i, number, text);
    printf(",\"labels\":[");
    for (size_t k = 0; k < n; k++) {
        if (k)
            putchar(',');
        screen_json_text(stdout, view_of(ember_result_label(r, scores[k].label)));
    }
    printf("],\"scores\":[");
    for (size_t k = 0; k < n; k++)
        printf("%s%.9g", k ? "," : "", (double)scores[k].score);
    puts("]}");
}

static bool print(void *arg, const ember_result_t *r, const char *const *texts, const size_t *bytes,
                  uint64_t first) {
    const struct settings *s = arg;
    for (size_t i = 0; i < ember_result_count(r); i++) {
        struct view text = view_make(texts[i], bytes[i]);
        const struct ember_score *scores;
        if (s->common.output == CLI_TABLE)
            print_table(r, i, text);
        else if (s->common.output == CLI_JSON)
            print_json(r, i, first + i, text);
        else if (ember_result_scores(r, i, &scores) > 0)
            printf("%s\t%.9g\n", ember_result_label(r, scores[0].label), (double)scores[0].score);
    }
    if (s->common.output == CLI_TABLE && first == 0)
        answer_foot(r);
    return true;
}

/* Cuts "a,b,c" into labels; blanks around a comma do not count. */
static bool split_labels(struct settings *s) {
    char *p = s->labels;
    while (*p) {
        size_t n = strcspn(p, ",");
        char *next = p + n + (p[n] == ',');
        while (n && *p == ' ')
            p++, n--;
        while (n && p[n - 1] == ' ')
            n--;
        if (n == 0 || s->n_labels == LABELS_MAX)
            return false;
        p[n] = '\0';
        s->list[s->n_labels++] = p;
        p = next;
    }
    return true;
}

int cmd_classify(int argc, char **argv) {
    struct settings s = {0};
    struct cli cli = {.command = "classify", .common = &s.common};
    int n_words, code;
    if (!cli_load(&cli, &cfg, argc, argv, &n_words, &s, &code))
        return code;
    s.n_labels = 0;
    if (!split_labels(&s))
        return cli_usage(&cli, "--labels needs 1 to %d labels, separated by commas", LABELS_MAX);
    if (s.pair && s.n_labels)
        return cli_usage(&cli, "--pair goes with the model's own labels, not with --labels");
    if (!cli_open(&cli, &code))
        return code;
    struct stream_task task = {start, print, &s, s.pair};
    code = stream_run(&cli, &task, n_words, argv, s.texts.file);
    ember_close(&cli.ember);
    return code;
}
