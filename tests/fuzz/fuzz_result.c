/* fuzz_result.c - replies are bytes from outside: whatever a broker or worker sends, putting a
 * result together either refuses it or gives a result whose every accessor stays inside it.
 *
 * First byte: task, and how many texts were asked for (up to 32); the rest is the reply's body,
 * given twice, as two parts of one call. */
#include "base/check.h"
#include "describe.h"
#include "result.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink; /* what is read must be readable: ASan looks at it */

static void read_all(const ember_result_t *r, size_t n) {
    CHECK(ember_result_count(r) == n);
    for (size_t i = 0; i <= n; i++) {
        const struct ember_score *scores;
        const uint32_t *ids;
        const uint8_t *row = ember_result_row(r, i);
        for (size_t k = 0; row && k < ember_result_row_bytes(r); k++)
            sink += row[k];
        size_t n_scores = ember_result_scores(r, i, &scores);
        for (size_t k = 0; k < n_scores; k++)
            sink += strlen(ember_result_label(r, scores[k].label)) + (size_t)(scores[k].score > 0);
        size_t n_ids = ember_result_ids(r, i, &ids);
        for (size_t k = 0; k < n_ids; k++)
            sink += ids[k] + strlen(ember_result_piece(r, i, k));
        const struct ember_rank *ranks;
        size_t n_ranks = ember_result_ranks(r, &ranks);
        for (size_t k = 0; k < n_ranks; k++)
            CHECK(ranks[k].index < n);
        sink += ember_result_tokens(r, i) + strlen(ember_result_worker(r, i));
    }
    sink += strlen(ember_result_model(r)) + strlen(ember_result_fingerprint(r));
}

static void read_report(struct view body, struct arena *arena) {
    ember_report_t *r;
    struct err err;
    const struct ember_worker_info *w;
    if (describe_report(body, arena, "ipc://x", &r, &err) != STATUS_OK)
        return;
    sink += strlen(ember_report_broker(r)->name);
    for (size_t i = 0; (w = ember_report_worker(r, i)); i++)
        for (size_t k = 0; k < w->n_models; k++)
            sink += strlen(w->name) + strlen(w->models[k].kernel);
    for (size_t i = 0; ember_report_service(r, i); i++)
        sink += strlen(ember_report_service(r, i)->model);
    for (size_t i = 0; ember_report_counter(r, i); i++)
        sink += strlen(ember_report_counter(r, i)->name);
    ember_report_destroy(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum wire_task tasks[] = {WIRE_TASK_EMBED, WIRE_TASK_CLASSIFY, WIRE_TASK_TOKENIZE,
                                           WIRE_TASK_NONE, WIRE_TASK_RERANK};
    struct arena arena;
    struct err err;
    if (size < 1 || size > LIMIT_REPLY_BYTES || !arena_init(&arena, codec_reply_arena_bytes(size)))
        return 0;
    enum wire_task task = data[0] & 0x80 ? tasks[4] : tasks[data[0] & 3];
    uint32_t n = 1 + (data[0] >> 2 & 31);
    struct view body = view_make(data + 1, size - 1);
    if (task == WIRE_TASK_NONE) {
        read_report(body, &arena);
    } else {
        ember_result_t *r = result_new(task, 2 * n);
        CHECK(r);
        bool good = result_add(r, n, n, body, &arena, &err) == STATUS_OK;
        arena_reset(&arena);
        CHECK((result_add(r, 0, n, body, &arena, &err) == STATUS_OK) == good);
        if (good && task == WIRE_TASK_RERANK)
            result_rank(r, n);
        if (good)
            read_all(r, 2 * n);
        ember_result_destroy(&r);
    }
    arena_done(&arena);
    return 0;
}
