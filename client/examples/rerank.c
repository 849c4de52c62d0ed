/* rerank.c - which of some documents answers a question best: a call that does not wait, so that
 * the program could do something else meanwhile.
 *
 *     cc rerank.c $(pkg-config --cflags --libs ember) -o rerank
 *     EMBER_MODEL=reranker ./rerank "how do I change my address" "Open settings." "We ship." */
#include <ember/ember.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    const char *broker = getenv("EMBER_BROKER");
    struct ember_error error;
    ember_t *ember = NULL;
    ember_call_t *call = NULL;
    ember_result_t *result = NULL;

    if (argc < 3) {
        fprintf(stderr, "usage: rerank QUERY DOCUMENT...\n");
        return 2;
    }
    struct ember_options client = EMBER_OPTIONS_INIT;
    client.model = getenv("EMBER_MODEL"); /* NULL: the broker's default */
    if (ember_open(broker ? broker : "tcp://127.0.0.1:5555", &client, &ember, &error) != EMBER_OK)
        goto fail;

    struct ember_rerank_options options = EMBER_RERANK_OPTIONS_INIT;
    options.top_k = 5;
    const char *const *documents = (const char *const *)argv + 2;
    if (ember_rerank_start(ember, argv[1], documents, (size_t)argc - 2, &options, NULL, NULL, &call,
                           &error) != EMBER_OK)
        goto fail;
    while (!ember_call_wait(call, 100)) /* or a callback instead of a handle: see ember_done_fn */
        fprintf(stderr, "... still waiting\n");
    if (ember_call_take(call, &result, &error) != EMBER_OK)
        goto fail;

    const struct ember_rank *ranks;
    size_t n = ember_result_ranks(result, &ranks);
    for (size_t k = 0; k < n; k++)
        printf("%.4f  %s\n", (double)ranks[k].score, documents[ranks[k].index]);
    ember_result_destroy(&result);
    ember_call_destroy(&call);
    ember_close(&ember);
    return 0;

fail:
    fprintf(stderr, "%s: %s\n", ember_status_name(error.status), error.message);
    ember_call_destroy(&call);
    ember_close(&ember);
    return 1;
}
