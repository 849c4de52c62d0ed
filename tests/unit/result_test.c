/* result_test.c - replies put together: any order, every encoding, scores and tokens of different
 * lengths, and replies that do not fit the question. */
#include "result.h"
#include "support/test.h"

static struct arena arena;
static struct wire_out out;
static const uint32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t flags[] = {0, 1, 0, 1, 0, 1, 0, 1};
static const uint8_t sources[] = {0, 1, 2, 3, 0, 1, 2, 3};

static struct wire_facts facts(uint32_t n, const char *fingerprint, const char *worker) {
    return (struct wire_facts){.n = n,
                               .tokens = tokens,
                               .truncated = flags,
                               .source = sources,
                               .model = view_of("m"),
                               .fingerprint = view_of(fingerprint),
                               .worker = view_of(worker),
                               .times = {.queue_us = n, .total_us = 10 * n}};
}

static enum status add_vectors(ember_result_t *r, uint32_t first, uint32_t asked, uint32_t n,
                               enum wire_encoding encoding, uint32_t dim, const char *fingerprint,
                               struct err *err) {
    static uint8_t bytes[4096];
    size_t row = dim * 4;
    if (encoding == WIRE_ENCODING_F16)
        row = dim * 2;
    else if (encoding == WIRE_ENCODING_I8)
        row = dim + 4;
    else if (encoding == WIRE_ENCODING_BIT)
        row = (dim + 7) / 8;
    for (size_t i = 0; i < n * row; i++)
        bytes[i] = (uint8_t)(first + i / row);
    struct wire_embed_reply m = {.dim = dim,
                                 .encoding = encoding,
                                 .vectors = view_make(bytes, n * row),
                                 .facts = facts(n, fingerprint, first ? "w2" : "w1")};
    TEST_EQ(codec_embed_reply_encode(&m, &out), STATUS_OK);
    arena_reset(&arena);
    return result_add(r, first, asked, wire_out_view(&out), &arena, err);
}

static void test_vectors(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum wire_encoding encoding;
        size_t row_bytes;
    } rows[] = {{"f32", WIRE_ENCODING_F32, 40},
                {"f16", WIRE_ENCODING_F16, 20},
                {"i8", WIRE_ENCODING_I8, 14},
                {"bit", WIRE_ENCODING_BIT, 2}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        TEST_ROW(rows[k].name);
        struct err err;
        ember_result_t *r = result_new(WIRE_TASK_EMBED, 5);
        TEST_EQ(add_vectors(r, 3, 2, 2, rows[k].encoding, 10, "f", &err), STATUS_OK);
        TEST_EQ(add_vectors(r, 0, 3, 3, rows[k].encoding, 10, "f", &err), STATUS_OK);
        TEST_EQ(ember_result_count(r), 5);
        TEST_EQ(ember_result_dim(r), 10);
        TEST_EQ(ember_result_row_bytes(r), rows[k].row_bytes);
        for (size_t i = 0; i < 5; i++) {
            const uint8_t *row = ember_result_row(r, i);
            TEST_EQ(row[0], i);
            TEST_EQ(row[rows[k].row_bytes - 1], i);
            TEST_EQ(ember_result_floats(r, i) != NULL, k == 0);
            TEST_STR_EQ(ember_result_worker(r, i), i < 3 ? "w1" : "w2");
            TEST_EQ(ember_result_tokens(r, i), i < 3 ? i + 1 : i - 2);
        }
        TEST_EQ(ember_result_truncated(r, 4), 1);
        TEST_EQ(ember_result_source(r, 2), EMBER_SOURCE_MEMORY);
        struct ember_times times;
        ember_result_times(r, &times);
        TEST_EQ(times.queue_us, 3); /* the largest */
        TEST_EQ(times.worker_us, 30);
        TEST_TRUE(ember_result_row(r, 5) == NULL && ember_result_tokens(r, 5) == 0);
        TEST_STR_EQ(ember_result_worker(r, 5), "");
        ember_result_destroy(&r);
    }
}

static void test_misfits(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t asked, n, dim;
        enum wire_encoding encoding;
        const char *fingerprint;
        enum status want;
    } rows[] = {
        {"as asked", 2, 2, 10, WIRE_ENCODING_F32, "f", STATUS_OK},
        {"one too few", 2, 1, 10, WIRE_ENCODING_F32, "f", STATUS_INTERNAL},
        {"one too many", 2, 3, 10, WIRE_ENCODING_F32, "f", STATUS_INTERNAL},
        {"half as many, twice as wide", 2, 1, 20, WIRE_ENCODING_F32, "f", STATUS_INTERNAL},
        {"another width", 2, 2, 11, WIRE_ENCODING_F32, "f", STATUS_INTERNAL},
        {"another form", 2, 2, 10, WIRE_ENCODING_F16, "f", STATUS_INTERNAL},
        {"another form, as many bytes", 2, 2, 20, WIRE_ENCODING_F16, "f", STATUS_INTERNAL},
        {"another model", 2, 2, 10, WIRE_ENCODING_F32, "g", STATUS_ABORTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct err err;
        ember_result_t *r = result_new(WIRE_TASK_EMBED, 4);
        TEST_EQ(add_vectors(r, 0, 2, 2, WIRE_ENCODING_F32, 10, "f", &err), STATUS_OK);
        TEST_EQ(add_vectors(r, 2, rows[i].asked, rows[i].n, rows[i].encoding, rows[i].dim,
                            rows[i].fingerprint, &err),
                rows[i].want);
        ember_result_destroy(&r);
        r = result_new(WIRE_TASK_EMBED, 4); /* and as the very first reply */
        TEST_EQ(add_vectors(r, 2, rows[i].asked, rows[i].n, rows[i].encoding, rows[i].dim,
                            rows[i].fingerprint, &err) == STATUS_OK,
                rows[i].asked == rows[i].n);
        ember_result_destroy(&r);
    }
    TEST_ROW("no reply at all");
    struct err err;
    ember_result_t *r = result_new(WIRE_TASK_EMBED, 1);
    TEST_EQ(result_add(r, 0, 1, view_of("\xff\xff\xff"), &arena, &err), STATUS_INTERNAL);
    TEST_EQ(result_add(r, 0, 1, view_make(NULL, 0), &arena, &err), STATUS_INTERNAL);
    ember_result_destroy(&r);
}

static void test_scores(void **state) {
    (void)state;
    const struct view labels[] = {view_of("投诉"), view_of("咨询"), view_of("b")};
    const uint32_t a_label[] = {2, 0, 1}, b_label[] = {1};
    const float a_score[] = {0.5f, 0.25f, 0.25f}, b_score[] = {0.75f};
    const struct wire_scores results[] = {{a_label, a_score, 3}, {b_label, b_score, 1}};
    struct wire_classify_reply m = {.labels = labels,
                                    .n_labels = 3,
                                    .results = results,
                                    .n_results = 2,
                                    .facts = facts(2, "f", "w")};
    struct err err;
    ember_result_t *r = result_new(WIRE_TASK_CLASSIFY, 4);
    TEST_EQ(codec_classify_reply_encode(&m, &out), STATUS_OK);
    for (uint32_t first = 0; first < 4; first += 2) {
        arena_reset(&arena);
        TEST_EQ(result_add(r, first, 2, wire_out_view(&out), &arena, &err), STATUS_OK);
    }
    const struct ember_score *scores;
    for (size_t i = 0; i < 4; i += 2) {
        TEST_EQ(ember_result_scores(r, i, &scores), 3);
        TEST_STR_EQ(ember_result_label(r, scores[0].label), "b");
        TEST_NEAR(scores[0].score, 0.5, 0);
        TEST_EQ(ember_result_scores(r, i + 1, &scores), 1);
        TEST_STR_EQ(ember_result_label(r, scores[0].label), "咨询");
    }
    TEST_EQ(ember_result_scores(r, 4, &scores), 0);
    TEST_EQ(ember_result_labels(r), 3);
    TEST_STR_EQ(ember_result_label(r, 3), "");
    TEST_TRUE(ember_result_row(r, 0) == NULL);
    ember_result_destroy(&r);
}

static void test_tokens(void **state) {
    (void)state;
    const uint32_t a[] = {101, 7, 102}, b[] = {101, 102};
    const struct view a_pieces[] = {view_of("[CLS]"), view_of("包"), view_of("[SEP]")};
    const struct wire_tokens results[] = {{a, 3, a_pieces, 9}, {b, 2, NULL, 2}};
    struct wire_tokenize_reply m = {
        .results = results, .n_results = 2, .facts = facts(2, "f", "w")};
    struct err err;
    ember_result_t *r = result_new(WIRE_TASK_TOKENIZE, 2);
    TEST_EQ(codec_tokenize_reply_encode(&m, &out), STATUS_OK);
    arena_reset(&arena);
    TEST_EQ(result_add(r, 0, 2, wire_out_view(&out), &arena, &err), STATUS_OK);
    const uint32_t *ids;
    TEST_EQ(ember_result_ids(r, 0, &ids), 3);
    TEST_EQ(ids[1], 7);
    TEST_STR_EQ(ember_result_piece(r, 0, 1), "包");
    TEST_STR_EQ(ember_result_piece(r, 0, 3), "");
    TEST_EQ(ember_result_full(r, 0), 9);
    TEST_EQ(ember_result_ids(r, 1, &ids), 2);
    TEST_EQ(ids[1], 102);
    TEST_STR_EQ(ember_result_piece(r, 1, 0), "");
    ember_result_destroy(&r);
    ember_result_destroy(&r); /* NULL is fine */
}

static enum status add_ranks(ember_result_t *r, uint32_t first, uint32_t n, const uint32_t *index,
                             const float *score, const float *logit, uint32_t n_index) {
    struct wire_rerank_reply m = {index, score, n_index, facts(n, "f", "w"), logit};
    struct err err;
    TEST_EQ(codec_rerank_reply_encode(&m, &out), STATUS_OK);
    arena_reset(&arena);
    return result_add(r, first, n, wire_out_view(&out), &arena, &err);
}

/* Two replies become one order: indices of the call, the better first, equals as their replies had
 * them, and no more than were asked for. */
static void test_ranks(void **state) {
    (void)state;
    static const uint32_t a[] = {2, 1, 0}, b[] = {0, 1};
    static const float a_score[] = {1, 1, 0.25f}, b_score[] = {0.5f, 0.125f};
    static const uint32_t want[] = {2, 1, 3, 0, 4};
    static const float want_score[] = {1, 1, 0.5f, 0.25f, 0.125f};
    for (uint32_t top = 0; top <= 6; top++) {
        ember_result_t *r = result_new(WIRE_TASK_RERANK, 5);
        TEST_EQ(add_ranks(r, 3, 2, b, b_score, NULL, 2), STATUS_OK); /* in any order */
        TEST_EQ(add_ranks(r, 0, 3, a, a_score, NULL, 3), STATUS_OK);
        result_rank(r, top);
        const struct ember_rank *ranks;
        size_t n = ember_result_ranks(r, &ranks);
        TEST_EQ(n, top && top < 5 ? top : 5);
        for (size_t k = 0; k < n; k++) {
            TEST_EQ(ranks[k].index, want[k]);
            TEST_NEAR(ranks[k].score, want_score[k], 0);
        }
        TEST_EQ(ember_result_count(r), 5);
        TEST_EQ(ember_result_tokens(r, 4), 2); /* facts stay in the caller's order */
        ember_result_destroy(&r);
    }
    TEST_ROW("replies that tell their best only");
    ember_result_t *r = result_new(WIRE_TASK_RERANK, 5);
    TEST_EQ(add_ranks(r, 0, 3, a, a_score, NULL, 1), STATUS_OK);
    TEST_EQ(add_ranks(r, 3, 2, b, b_score, NULL, 1), STATUS_OK);
    result_rank(r, 1);
    const struct ember_rank *ranks;
    TEST_EQ(ember_result_ranks(r, &ranks), 1);
    TEST_EQ(ranks[0].index, 2);
    ember_result_destroy(&r);
    TEST_ROW("a reply to fewer documents");
    r = result_new(WIRE_TASK_RERANK, 5);
    TEST_EQ(add_ranks(r, 0, 2, b, b_score, NULL, 2), STATUS_OK);
    TEST_EQ(ember_result_ranks(r, &ranks), 0); /* not before the end */
    struct wire_rerank_reply m = {b, b_score, 2, facts(2, "f", "w"), NULL};
    struct err err;
    TEST_EQ(codec_rerank_reply_encode(&m, &out), STATUS_OK);
    arena_reset(&arena);
    TEST_EQ(result_add(r, 2, 3, wire_out_view(&out), &arena, &err), STATUS_INTERNAL);
    ember_result_destroy(&r);
}

/* Documents of several replies whose scores are all the same: their logits decide, when every reply
 * tells them. */
static void test_logits(void **state) {
    (void)state;
    static const uint32_t index[] = {1, 0};
    static const float same[] = {1, 1}, good[] = {30, 20}, better[] = {40, 25};
    static const struct {
        const char *name;
        const float *first, *second;
        uint32_t want[4];
    } rows[] = {
        {"all told", good, better, {3, 1, 2, 0}},
        {"none told", NULL, NULL, {1, 0, 3, 2}},
        {"told by the second only", NULL, better, {1, 0, 3, 2}},
        {"told by the first only", better, NULL, {1, 0, 3, 2}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        ember_result_t *r = result_new(WIRE_TASK_RERANK, 4);
        TEST_EQ(add_ranks(r, 2, 2, index, same, rows[i].second, 2), STATUS_OK);
        TEST_EQ(add_ranks(r, 0, 2, index, same, rows[i].first, 2), STATUS_OK);
        result_rank(r, 0);
        const struct ember_rank *ranks;
        TEST_EQ(ember_result_ranks(r, &ranks), 4);
        for (size_t k = 0; k < 4; k++)
            TEST_EQ(ranks[k].index, rows[i].want[k]);
        ember_result_destroy(&r);
    }
}

int main(void) {
    if (!arena_init(&arena, codec_arena_bytes(LIMIT_REPLY_BYTES)))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_scores),  cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_ranks),   cmocka_unit_test(test_logits),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    wire_out_done(&out);
    return failed;
}
