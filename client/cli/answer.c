/* answer.c - see answer.h. */
#include "answer.h"

#include "screen.h"

#include <string.h>

void answer_json(const ember_result_t *result, size_t i, uint64_t number, struct view text) {
    printf("{\"i\":%llu,\"text\":", (unsigned long long)number);
    screen_json_text(stdout, text);
    printf(",\"tokens\":%u,\"truncated\":%s,\"source\":\"%s\",\"model\":",
           ember_result_tokens(result, i), ember_result_truncated(result, i) ? "true" : "false",
           ember_source_name(ember_result_source(result, i)));
    screen_json_text(stdout, view_of(ember_result_model(result)));
    printf(",\"fingerprint\":");
    screen_json_text(stdout, view_of(ember_result_fingerprint(result)));
    printf(",\"worker\":");
    screen_json_text(stdout, view_of(ember_result_worker(result, i)));
}

void answer_foot(const ember_result_t *result) {
    struct ember_times t;
    ember_result_times(result, &t);
    printf("model %s@%.8s, worker %s: %.2f ms here", ember_result_model(result),
           ember_result_fingerprint(result), ember_result_worker(result, 0), t.call_us / 1e3);
    printf(", %.2f ms there (cache %.2f, queue %.2f, tokenize %.2f, infer %.2f)\n",
           t.worker_us / 1e3, t.cache_us / 1e3, t.queue_us / 1e3, t.tokenize_us / 1e3,
           t.infer_us / 1e3);
}
