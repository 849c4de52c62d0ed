/* embed.c - the shortest useful program: vectors of the arguments, and how alike the first two are.
 *
 *     cc embed.c $(pkg-config --cflags --libs ember) -lm -o embed
 *     EMBER_BROKER=tcp://127.0.0.1:5555 ./embed "where is my parcel?" "我的包裹在哪里"
 */
#include <ember/ember.h>

#include <stdio.h>
#include <stdlib.h>

static double dot(const float *a, const float *b, uint32_t dim) {
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

int main(int argc, char **argv) {
    const char *broker = getenv("EMBER_BROKER");
    struct ember_error error;
    ember_t *ember = NULL;
    ember_result_t *result = NULL;

    if (argc < 2) {
        fprintf(stderr, "usage: embed TEXT...\n");
        return 2;
    }
    /* One client per process; any number of threads may share it. It reconnects by itself. */
    if (ember_open(broker ? broker : "tcp://127.0.0.1:5555", NULL, &ember, &error) != EMBER_OK)
        goto fail;

    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT; /* all zero: the defaults */
    options.normalize = EMBER_NORMALIZE_YES; /* cosine becomes a dot product */
    options.timeout_ms = 2000; /* the call ends by then, with an answer or with an error */
    if (ember_embed(ember, (const char *const *)argv + 1, (size_t)argc - 1, &options, &result,
                    &error) != EMBER_OK)
        goto fail;

    uint32_t dim = ember_result_dim(result);
    for (size_t i = 0; i < ember_result_count(result); i++)
        printf("%u numbers, the first %.5f; %u tokens, from %s: %s\n", dim,
               (double)ember_result_floats(result, i)[0], ember_result_tokens(result, i),
               ember_source_name(ember_result_source(result, i)), argv[i + 1]);
    if (argc > 2)
        printf("cosine of the first two: %.4f\n",
               dot(ember_result_floats(result, 0), ember_result_floats(result, 1), dim));
    ember_result_destroy(&result);
    ember_close(&ember);
    return 0;

fail: /* one error type for everything; retry_after_ms and may_have_run tell what to do next */
    fprintf(stderr, "%s: %s\n", ember_status_name(error.status), error.message);
    ember_close(&ember);
    return 1;
}
