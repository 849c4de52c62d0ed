/* cmd_similarity.c - `ember similarity`: cosines between texts. */
#include "cli.h"
#include "screen.h"

struct settings {
    struct cli_common common;
    char prompt[80];
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CFG_HEADING("Vectors"),
    CFG_TEXT("prompt", struct settings, prompt, "", "NAME", "a prompt published with the model"),
};

static const struct cfg cfg = {
    .program = "ember similarity",
    .synopsis = "[OPTION]... TEXT OTHER...",
    .about = "Prints the cosine between the first text and each of the others, -1 to 1.",
    .epilog = "Example:\n  ember similarity \"refund\" \"退款\" \"the weather\"\n\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static double cosine(const float *a, const float *b, uint32_t dim) {
    double sum = 0; /* both have length 1 */
    for (uint32_t i = 0; i < dim; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void print(const struct settings *s, const ember_result_t *r, char **texts, int n) {
    for (int i = 1; i < n; i++) {
        double x = cosine(ember_result_floats(r, 0), ember_result_floats(r, (size_t)i),
                          ember_result_dim(r));
        if (s->common.output == CLI_TABLE) {
            printf("%8.4f  ", x);
            screen_print(stdout, view_of(texts[i]), 0);
            putchar('\n');
        } else if (s->common.output == CLI_JSON) {
            printf("{\"a\":");
            screen_json_text(stdout, view_of(texts[0]));
            printf(",\"b\":");
            screen_json_text(stdout, view_of(texts[i]));
            printf(",\"cosine\":%.9g}\n", x);
        } else {
            printf("%.9g\n", x);
        }
    }
}

int cmd_similarity(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "similarity", .common = &s.common};
    int n_words, code;
    if (!cli_load(&cli, &cfg, argc, argv, &n_words, &s, &code))
        return code;
    if (n_words < 2)
        return cli_usage(&cli, "two or more texts are needed");
    if (!cli_open(&cli, &code))
        return code;
    struct ember_embed_options o = EMBER_EMBED_OPTIONS_INIT;
    o.normalize = EMBER_NORMALIZE_YES;
    o.prompt_name = s.prompt;
    ember_result_t *r = NULL;
    struct ember_error error;
    if (ember_embed(cli.ember, (const char *const *)argv + 1, (size_t)n_words, &o, &r, &error) !=
        EMBER_OK)
        code = cli_fail(&cli, &error, error.item >= 0 ? (uint64_t)error.item + 1 : 0);
    else
        print(&s, r, argv + 1, n_words);
    ember_result_destroy(&r);
    ember_close(&cli.ember);
    return cli_done(&cli, code);
}
