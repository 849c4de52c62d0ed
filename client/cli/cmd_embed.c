/* cmd_embed.c - `ember embed`: vectors of texts. */
#include "answer.h"
#include "cli.h"
#include "screen.h"
#include "stream.h"

#include <string.h>

struct settings {
    struct cli_common common;
    struct cli_texts texts;
    char prompt[80];
    char prefix[512];
    uint32_t dimensions, encoding, normalize, truncate, cache, lane, max_tokens;
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CLI_TEXT_ROWS(struct settings),
    CFG_HEADING("Vectors"),
    CFG_TEXT("prompt", struct settings, prompt, "", "NAME",
             "a prompt published with the model, such as query"),
    CFG_TEXT("prefix", struct settings, prefix, "", "TEXT", "or text to put in front of each text"),
    CFG_U32("dimensions", struct settings, dimensions, "0", 0, 2048, "N",
            "keep the first N numbers; 0: all"),
    CFG_CHOICE("encoding", struct settings, encoding, "f32", "f32|f16|i8|bit",
               "form of the numbers"),
    CFG_CHOICE("normalize", struct settings, normalize, "model", "model|no|yes",
               "bring vectors to length 1; model: as published"),
    CFG_CHOICE("truncate", struct settings, truncate, "right", "right|left|off",
               "where a text that is too long is cut; off: refuse it"),
    CFG_U32("max-tokens", struct settings, max_tokens, "0", 0, 8192, "N",
            "cut texts at N tokens; 0: the model's limit"),
    CFG_CHOICE("cache", struct settings, cache, "use", "use|bypass|refresh",
               "refresh: compute again and store"),
    CFG_CHOICE("lane", struct settings, lane, "normal", "normal|high|bulk", "who goes first"),
};

static const struct cfg cfg = {
    .program = "ember embed",
    .synopsis = "[OPTION]... [TEXT]...",
    .about = "Prints the vector of each text: a word of the command line each, or a line of a file "
             "each.",
    .epilog = "Examples:\n"
              "  ember embed \"where is my parcel?\" \"我的包裹在哪里\"\n"
              "  ember embed --file questions.txt --output json > vectors.jsonl\n"
              "  ember embed --output raw --file questions.txt > vectors.f32\n\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static enum ember_status start(void *arg, ember_t *e, const char *const *texts, size_t n,
                               const size_t *text_bytes, ember_call_t **call,
                               struct ember_error *error) {
    const struct settings *s = arg;
    struct ember_embed_options o = EMBER_EMBED_OPTIONS_INIT;
    o.text_bytes = text_bytes;
    o.prompt_name = s->prompt;
    o.prompt_prefix = s->prefix;
    o.dimensions = s->dimensions;
    o.encoding = (enum ember_encoding)s->encoding;
    o.normalize = (enum ember_normalize)s->normalize;
    o.truncate = (enum ember_truncate)s->truncate;
    o.cache = (enum ember_cache)s->cache;
    o.lane = (enum ember_lane)s->lane;
    o.max_tokens = s->max_tokens;
    return ember_embed_start(e, texts, n, &o, NULL, NULL, call, error);
}

static void print_table(const ember_result_t *r, const char *const *texts, const size_t *bytes,
                        uint64_t first) {
    unsigned width = screen_width(stdout);
    unsigned text_width = width > 74 ? width - 60 : 20;
    if (first == 0) {
        screen_print(stdout, view_of("text"), text_width);
        printf("  tokens  source  %u numbers\n", ember_result_dim(r));
    }
    for (size_t i = 0; i < ember_result_count(r); i++) {
        screen_print(stdout, view_make(texts[i], bytes[i]), text_width);
        printf("  %5u%c  %-6s ", ember_result_tokens(r, i),
               ember_result_truncated(r, i) ? '+' : ' ', /* there was more of it */
               ember_source_name(ember_result_source(r, i)));
        const float *row = ember_result_floats(r, i);
        uint32_t dim = ember_result_dim(r);
        for (uint32_t k = 0; row && k < dim && k < 3; k++)
            printf(" %8.5f", (double)row[k]);
        puts(row && dim > 3 ? " ..." : row ? "" : " (binary)");
    }
    if (first == 0)
        answer_foot(r);
}

static void print_json(const ember_result_t *r, const char *const *texts, const size_t *bytes,
                       uint64_t first, uint32_t encoding) {
    static const char *const names[] = {"f32", "f16", "i8", "bit"};
    for (size_t i = 0; i < ember_result_count(r); i++) {
        answer_json(r, i, first + i, view_make(texts[i], bytes[i]));
        printf(",\"dim\":%u,\"encoding\":\"%s\",", ember_result_dim(r), names[encoding]);
        if (ember_result_floats(r, i)) {
            printf("\"vector\":");
            screen_json_floats(stdout, ember_result_floats(r, i), ember_result_dim(r));
        } else {
            printf("\"base64\":\"");
            screen_base64(stdout, ember_result_row(r, i), ember_result_row_bytes(r));
            putchar('"');
        }
        puts("}");
    }
}

static bool print(void *arg, const ember_result_t *r, const char *const *texts, const size_t *bytes,
                  uint64_t first) {
    const struct settings *s = arg;
    if (s->common.output == CLI_TABLE)
        print_table(r, texts, bytes, first);
    else if (s->common.output == CLI_JSON)
        print_json(r, texts, bytes, first, s->encoding);
    else
        fwrite(ember_result_row(r, 0), ember_result_row_bytes(r), ember_result_count(r), stdout);
    return true;
}

int cmd_embed(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "embed", .common = &s.common};
    int n_words, code;
    if (!cli_load(&cli, &cfg, argc, argv, &n_words, &s, &code) || !cli_open(&cli, &code))
        return code;
    struct stream_task task = {start, print, &s, false};
    code = stream_run(&cli, &task, n_words, argv, s.texts.file);
    ember_close(&cli.ember);
    return code;
}
