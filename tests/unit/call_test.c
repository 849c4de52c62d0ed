/* call_test.c - how a call is cut into requests: read back from the encoded bodies. */
#include "call.h"
#include "support/test.h"

enum { TEXTS = 200 };

static char text[LIMIT_TEXT_BYTES + 2];
static const char *texts[TEXTS], *seconds[TEXTS];
static size_t text_bytes[TEXTS], second_bytes[TEXTS];
static struct view labels[LIMIT_REQUEST_LABELS];

static void fill(size_t text_length, size_t second_length) {
    static char names[LIMIT_REQUEST_LABELS][8];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = seconds[i] = text;
        text_bytes[i] = text_length;
        second_bytes[i] = second_length;
    }
    for (uint32_t i = 0; i < LIMIT_REQUEST_LABELS; i++) {
        snprintf(names[i], sizeof names[i], "l%05u", i); /* six bytes */
        labels[i] = view_of(names[i]);
    }
}

/* Texts of each request of a Classify or Rerank call, all of which must be within the limits. */
static uint32_t cut(const struct call_spec *spec, uint32_t *sizes) {
    ember_call_t *call;
    struct err err = {.text = ""};
    struct arena arena;
    int64_t item;
    uint32_t at = 0, body_item, n_parts;
    if (call_new(spec, &call, &item, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    TEST_TRUE(arena_init(&arena, codec_arena_bytes(LIMIT_REQUEST_BYTES)));
    for (uint32_t i = 0; i < call->n_parts; i++) {
        struct part *part = &call->parts[i];
        struct view body = view_make(part->body, part->body_bytes);
        struct wire_classify_request classify;
        struct wire_rerank_request rerank;
        arena_reset(&arena);
        enum status st =
            spec->task == WIRE_TASK_RERANK
                ? codec_rerank_request_decode(body, &arena, &rerank, &body_item, &err)
                : codec_classify_request_decode(body, &arena, &classify, &body_item, &err);
        if (st != STATUS_OK)
            TEST_FAIL("request %u: %s", i, err.text);
        TEST_TRUE(body.bytes <= LIMIT_REQUEST_BYTES);
        sizes[i] = spec->task == WIRE_TASK_RERANK ? rerank.n_documents : classify.n_texts;
        TEST_EQ(part->first, at);
        TEST_EQ(part->n, sizes[i]);
        at += sizes[i];
        if (spec->task == WIRE_TASK_RERANK)
            TEST_EQ(rerank.query.bytes, spec->rerank.query.bytes);
        else
            TEST_EQ(classify.seconds != NULL, spec->seconds != NULL);
        for (uint32_t k = 0; spec->seconds && k < classify.n_texts; k++)
            TEST_EQ(classify.seconds[k].bytes, second_bytes[0]);
    }
    TEST_EQ(at, spec->n);
    n_parts = call->n_parts;
    arena_done(&arena);
    call_unref(call);
    return n_parts;
}

static void test_classify(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t text_bytes, n;
        uint32_t n_labels, pattern_bytes, want_parts, want_first;
    } rows[] = {
        {"few labels", 20, 64, 3, 0, 2, 32},
        {"labels of the model", 20, 64, 0, 0, 2, 32},
        {"as many pairs as there may be", 20, 64, 32, 0, 2, 32},
        {"one label more", 20, 62, 33, 0, 2, 31},
        {"most labels", 20, 64, 64, 0, 4, 16},
        {"evenly", 20, 17, 64, 0, 2, 9},
        /* 500 + 6 + 3 bytes a pair, 64 pairs a text: 4 texts are 130,304 of 131,072 */
        {"long texts with many labels", 500, 16, 64, 0, 4, 4},
        {"a template counts", 500, 16, 64, 10, 6, 3},
        /* no sequence is longer than 8,192: 64 pairs are too many for one request, and go alone */
        {"one text too many", LIMIT_TEXT_BYTES, 3, 64, 0, 3, 1},
        {"two of the longest", LIMIT_TEXT_BYTES, 4, 8, 0, 2, 2},
    };
    uint32_t sizes[TEXTS];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        fill(rows[i].text_bytes, 0);
        char pattern[16] = "{}........";
        pattern[rows[i].pattern_bytes] = '\0';
        struct call_spec spec = {.task = WIRE_TASK_CLASSIFY,
                                 .texts = texts,
                                 .text_bytes = text_bytes,
                                 .n = rows[i].n,
                                 .request_texts = 32,
                                 .classify = {.labels = labels,
                                              .n_labels = rows[i].n_labels,
                                              .hypothesis_template = view_of(pattern)}};
        TEST_EQ(cut(&spec, sizes), rows[i].want_parts);
        TEST_EQ(sizes[0], rows[i].want_first);
    }
}

static void test_pairs_and_documents(void **state) {
    (void)state;
    uint32_t sizes[TEXTS];
    TEST_ROW("pairs: both texts need room");
    fill(3000, 6000); /* 126 kB of 14, 8,192 tokens at most of each: 16 */
    struct call_spec pairs = {.task = WIRE_TASK_CLASSIFY,
                              .texts = texts,
                              .text_bytes = text_bytes,
                              .seconds = seconds,
                              .second_bytes = second_bytes,
                              .n = 32,
                              .request_texts = 32};
    TEST_EQ(cut(&pairs, sizes), 2);
    TEST_EQ(sizes[0], 16);
    TEST_ROW("documents: the query comes with each request");
    fill(8000, 0);
    struct call_spec ranks = {.task = WIRE_TASK_RERANK,
                              .texts = texts,
                              .text_bytes = text_bytes,
                              .n = 64,
                              .request_texts = 64,
                              .rerank = {.query = view_make(text, 0)}};
    TEST_EQ(cut(&ranks, sizes), 4); /* 8,003 each */
    TEST_EQ(sizes[0], 16);
    ranks.rerank.query = view_make(text, LIMIT_TEXT_BYTES);
    ranks.n = 100;
    cut(&ranks, sizes);
    TEST_EQ(sizes[0], 16); /* 8,192 each */
    TEST_ROW("a second that is not UTF-8");
    fill(3, 3);
    seconds[7] = "\xff";
    second_bytes[7] = 1;
    ember_call_t *call;
    struct err err;
    int64_t item = -1;
    pairs.n = 8;
    TEST_EQ(call_new(&pairs, &call, &item, &err), STATUS_INVALID_ARGUMENT);
    TEST_EQ(item, 7);
    TEST_HAS(err.text, "not UTF-8 at byte 0");
}

/* A query goes with every request: what that adds to the texts has a limit. */
static void test_spare(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t n, query_bytes;
        uint64_t spare_bytes;
        enum status want;
    } rows[] = {
        {"any", 200, 60000, 0, STATUS_OK},
        {"one request", 16, 60000, 1, STATUS_OK},
        {"two of them", 32, 60000, 125000, STATUS_OK},
        {"two of them are too many", 32, 60000, 115000, STATUS_RESOURCE_EXHAUSTED},
        {"many", 200, 60000, 600000, STATUS_RESOURCE_EXHAUSTED},
        {"a short query", 200, 10, 5000, STATUS_OK},
    };
    fill(100, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct call_spec spec = {.task = WIRE_TASK_RERANK,
                                 .texts = texts,
                                 .text_bytes = text_bytes,
                                 .n = rows[i].n,
                                 .request_texts = 16,
                                 .spare_bytes = rows[i].spare_bytes,
                                 .rerank = {.query = view_make(text, rows[i].query_bytes)}};
        ember_call_t *call = NULL;
        struct err err = {.text = ""};
        int64_t item;
        TEST_EQ(call_new(&spec, &call, &item, &err), rows[i].want);
        TEST_EQ(item, -1);
        if (call)
            call_unref(call);
        else
            TEST_HAS(err.text, "send fewer texts a call");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_classify),
                                       cmocka_unit_test(test_pairs_and_documents),
                                       cmocka_unit_test(test_spare)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
