/* cmd_rerank.c - `ember rerank`: documents in the order in which they answer a query. All of them
 * are one call, because the best of the last may be the best of all; so they are read first. */
#include "answer.h"
#include "cli.h"
#include "screen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct cli_common common;
    struct cli_texts texts;
    char query[8192];
    uint32_t top, truncate, cache, lane, max_tokens;
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CFG_HEADING("Texts"),
    CFG_TEXT("query", struct settings, query, "", "TEXT", "what the documents should answer"),
    CFG_TEXT("file", struct settings, texts.file, "", "FILE",
             "one document a line; - is standard input, also used without\nany DOCUMENT"),
    CFG_HEADING("Scores"),
    CFG_U32("top", struct settings, top, "0", 0, 1000000, "N", "only the best N; 0: all"),
    CFG_CHOICE("truncate", struct settings, truncate, "right", "right|off",
               "a query and a document that are too long together: cut the\nlonger one, or "
               "refuse them"),
    CFG_U32("max-tokens", struct settings, max_tokens, "0", 0, 8192, "N",
            "cut a query and its document at N tokens together; 0: the\nmodel's limit"),
    CFG_CHOICE("cache", struct settings, cache, "use", "use|bypass|refresh",
               "refresh: compute again and store"),
    CFG_CHOICE("lane", struct settings, lane, "normal", "normal|high|bulk", "who goes first"),
};

static const struct cfg cfg = {
    .program = "ember rerank",
    .synopsis = "--query TEXT [OPTION]... [DOCUMENT]...",
    .about = "Scores how well each document answers the query, best first, by a model that was\n"
             "trained to judge both together.",
    .epilog =
        "Examples:\n"
        "  ember rerank --query \"how do I change my address\" \"Open the settings ...\" \"We ship "
        "...\"\n"
        "  ember rerank --query 怎么退货 --file 知识库.txt --top 5 --output json\n\n"
        "--output raw prints one line a document: its score, a tab, the document.\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

/* Documents: words of the command line, or lines that are owned here. */
struct documents {
    const char **text;
    size_t *bytes;
    size_t n, room;
    bool owned;
};

static bool add(struct documents *d, const char *text, size_t bytes) {
    if (d->n == d->room) {
        size_t room = d->room ? 2 * d->room : 64;
        const char **texts = realloc(d->text, room * sizeof *texts);
        if (texts)
            d->text = texts;
        size_t *sizes = realloc(d->bytes, room * sizeof *sizes);
        if (sizes)
            d->bytes = sizes;
        if (!texts || !sizes)
            return false;
        d->room = room;
    }
    d->text[d->n] = text;
    d->bytes[d->n++] = bytes;
    return true;
}

static void documents_done(struct documents *d) {
    for (size_t i = 0; d->owned && i < d->n; i++)
        free((void *)(uintptr_t)d->text[i]);
    free(d->text);
    free(d->bytes);
}

static int out_of_memory(const struct cli *cli, const struct documents *d) {
    fprintf(stderr, "ember: %s: no memory after %zu documents\n", cli->command, d->n);
    return CLI_FAILED;
}

static int read_lines(const struct cli *cli, FILE *f, struct documents *d) {
    d->owned = true;
    for (;;) {
        char *line = NULL;
        size_t room = 0;
        ssize_t n = getline(&line, &room, f);
        if (n < 0) {
            free(line);
            break;
        }
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        if (!add(d, line, (size_t)n)) {
            free(line);
            return out_of_memory(cli, d);
        }
    }
    if (!ferror(f))
        return CLI_OK;
    fprintf(stderr, "ember: %s: cannot read the documents\n", cli->command);
    return CLI_FAILED;
}

static int read_documents(const struct cli *cli, const struct settings *s, int n_words, char **argv,
                          struct documents *d) {
    const char *file = s->texts.file;
    if (n_words > 0 && file[0])
        return cli_usage(cli, "documents as words and --file together");
    for (int i = 1; i <= n_words; i++)
        if (!add(d, argv[i], strlen(argv[i])))
            return out_of_memory(cli, d);
    if (n_words > 0)
        return CLI_OK;
    if (!file[0] || strcmp(file, "-") == 0)
        return read_lines(cli, stdin, d);
    FILE *f = fopen(file, "re");
    if (!f) {
        fprintf(stderr, "ember: %s: %s: %s\n", cli->command, file, strerror(errno));
        return CLI_USAGE;
    }
    int code = read_lines(cli, f, d);
    fclose(f);
    return code;
}

static void print(const struct settings *s, const ember_result_t *r, const struct documents *d) {
    const struct ember_rank *ranks;
    size_t n = ember_result_ranks(r, &ranks);
    unsigned width = screen_width(stdout);
    for (size_t k = 0; k < n; k++) {
        uint32_t i = ranks[k].index;
        struct view text = view_make(d->text[i], d->bytes[i]);
        if (s->common.output == CLI_JSON) {
            answer_json(r, i, i, text);
            printf(",\"rank\":%zu,\"score\":%.9g}\n", k + 1, (double)ranks[k].score);
        } else if (s->common.output == CLI_RAW) {
            printf("%.9g\t", (double)ranks[k].score);
            fwrite(text.data, 1, text.bytes, stdout);
            putchar('\n');
        } else {
            printf("%4zu  %7.4f  ", k + 1, (double)ranks[k].score);
            screen_print(stdout, text,
                         screen_columns(text) > width - 16 && width > 40 ? width - 16 : 0);
            putchar('\n');
        }
    }
    if (s->common.output == CLI_TABLE)
        answer_foot(r);
}

static int run(struct cli *cli, const struct settings *s, const struct documents *d) {
    struct ember_rerank_options o = EMBER_RERANK_OPTIONS_INIT;
    o.text_bytes = d->bytes;
    o.top_k = s->top;
    o.truncate = s->truncate ? EMBER_TRUNCATE_OFF : EMBER_TRUNCATE_RIGHT;
    o.cache = (enum ember_cache)s->cache;
    o.lane = (enum ember_lane)s->lane;
    o.max_tokens = s->max_tokens;
    ember_result_t *r = NULL;
    struct ember_error error;
    if (ember_rerank(cli->ember, s->query, d->text, d->n, &o, &r, &error) != EMBER_OK)
        return cli_fail(cli, &error, error.item >= 0 ? (uint64_t)error.item + 1 : 0);
    print(s, r, d);
    ember_result_destroy(&r);
    return CLI_OK;
}

int cmd_rerank(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "rerank", .common = &s.common};
    struct documents d = {0};
    int n_words, code;
    if (!cli_load(&cli, &cfg, argc, argv, &n_words, &s, &code))
        return code;
    if (!s.query[0])
        return cli_usage(&cli, "--query TEXT is needed");
    code = read_documents(&cli, &s, n_words, argv, &d);
    if (code == CLI_OK && cli_open(&cli, &code))
        code = run(&cli, &s, &d);
    ember_close(&cli.ember);
    documents_done(&d);
    return cli_done(&cli, code);
}
