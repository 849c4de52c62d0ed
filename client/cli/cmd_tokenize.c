/* cmd_tokenize.c - `ember tokenize`: the token ids a model sees. */
#include "answer.h"
#include "cli.h"
#include "screen.h"
#include "stream.h"

struct settings {
    struct cli_common common;
    struct cli_texts texts;
    uint32_t truncate;
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CLI_TEXT_ROWS(struct settings),
    CFG_HEADING("Tokens"),
    CFG_CHOICE("truncate", struct settings, truncate, "right", "right|left|off",
               "where a text that is too long is cut; off: refuse it"),
};

static const struct cfg cfg = {
    .program = "ember tokenize",
    .synopsis = "[OPTION]... [TEXT]...",
    .about = "Prints the tokens the model would see.",
    .epilog = "--output raw prints one line a text: its ids, separated by blanks.\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static enum ember_status start(void *arg, ember_t *e, const char *const *texts, size_t n,
                               const size_t *text_bytes, ember_call_t **call,
                               struct ember_error *error) {
    const struct settings *s = arg;
    struct ember_tokenize_options o = EMBER_TOKENIZE_OPTIONS_INIT;
    o.text_bytes = text_bytes;
    o.truncate = (enum ember_truncate)s->truncate;
    o.pieces = s->common.output != CLI_RAW;
    return ember_tokenize_start(e, texts, n, &o, NULL, NULL, call, error);
}

static void print_table(const ember_result_t *r, size_t i) {
    const uint32_t *ids;
    size_t n = ember_result_ids(r, i, &ids);
    for (size_t k = 0; k < n; k++) {
        if (k)
            putchar(' ');
        screen_print(stdout, view_of(ember_result_piece(r, i, k)), 0);
        printf("(%u)", ids[k]);
    }
    printf("  %zu of %u\n", n, ember_result_full(r, i));
}

static void print_json(const ember_result_t *r, size_t i, uint64_t number, struct view text) {
    const uint32_t *ids;
    size_t n = ember_result_ids(r, i, &ids);
    answer_json(r, i, number, text);
    printf(",\"full\":%u,\"ids\":[", ember_result_full(r, i));
    for (size_t k = 0; k < n; k++)
        printf("%s%u", k ? "," : "", ids[k]);
    printf("],\"pieces\":[");
    for (size_t k = 0; k < n; k++) {
        if (k)
            putchar(',');
        screen_json_text(stdout, view_of(ember_result_piece(r, i, k)));
    }
    puts("]}");
}

static bool print(void *arg, const ember_result_t *r, const char *const *texts, const size_t *bytes,
                  uint64_t first) {
    const struct settings *s = arg;
    for (size_t i = 0; i < ember_result_count(r); i++) {
        if (s->common.output == CLI_TABLE) {
            print_table(r, i);
        } else if (s->common.output == CLI_JSON) {
            print_json(r, i, first + i, view_make(texts[i], bytes[i]));
        } else {
            const uint32_t *ids;
            size_t n = ember_result_ids(r, i, &ids);
            for (size_t k = 0; k < n; k++)
                printf("%s%u", k ? " " : "", ids[k]);
            putchar('\n');
        }
    }
    return true;
}

int cmd_tokenize(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "tokenize", .common = &s.common};
    int n_words, code;
    if (!cli_load(&cli, &cfg, argc, argv, &n_words, &s, &code) || !cli_open(&cli, &code))
        return code;
    struct stream_task task = {start, print, &s, false};
    code = stream_run(&cli, &task, n_words, argv, s.texts.file);
    ember_close(&cli.ember);
    return code;
}
