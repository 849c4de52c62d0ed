/* Bodies of the tasks: what goes in comes out, and what breaks a limit is refused with a clear
 * line. */
#include "support/test.h"

#include "base/hash.h"
#include "wire/codec.h"

#include <math.h>

static struct arena arena;
static struct wire_out out;

static int setup(void **state) {
    (void)state;
    return arena_init(&arena, codec_arena_bytes(LIMIT_REPLY_BYTES)) ? 0 : 1;
}

static int teardown(void **state) {
    (void)state;
    arena_done(&arena);
    wire_out_done(&out);
    return 0;
}

/* Decodes what was just encoded from a buffer of exactly its size, so that ASan sees a read past
 * it. */
static struct view exact(void) {
    static char *copy;
    free(copy);
    copy = malloc(out.bytes ? out.bytes : 1);
    memcpy(copy, out.data ? out.data : (uint8_t *)"", out.bytes);
    arena_reset(&arena);
    return view_make(copy, out.bytes);
}

#define VIEW_EQ(got, want)                                                                         \
    do {                                                                                           \
        struct view got_view = (got), want_view = (want);                                          \
        if (!view_equal(got_view, want_view))                                                      \
            TEST_FAIL("%s: %zu bytes, want %zu, or other bytes", #got, got_view.bytes,             \
                      want_view.bytes);                                                            \
    } while (0)

static struct view texts[3];

static struct wire_embed_request embed_sample(void) {
    texts[0] = view_of("退款什么时候到账?");
    texts[1] = view_make("nul\0inside", 10);
    texts[2] = view_of("");
    return (struct wire_embed_request){
        .texts = texts,
        .n_texts = 3,
        .normalize = WIRE_NORMALIZE_NO,
        .dimensions = 64,
        .encoding = WIRE_ENCODING_I8,
        .prompt_name = view_of("query"),
        .truncate = WIRE_TRUNCATE_LEFT,
        .cache = WIRE_CACHE_REFRESH,
        .max_tokens = 128,
        .traceparent = view_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
}

static void test_embed_request(void **state) {
    (void)state;
    struct wire_embed_request in = embed_sample(), got;
    uint32_t item = 9;
    struct err err;
    TEST_EQ(codec_embed_request_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_embed_request_decode(exact(), &arena, &got, &item, &err), STATUS_OK);
    TEST_EQ(item, 0);
    TEST_EQ(got.n_texts, 3);
    for (int i = 0; i < 3; i++)
        VIEW_EQ(got.texts[i], texts[i]);
    TEST_EQ(got.normalize, in.normalize);
    TEST_EQ(got.dimensions, 64);
    TEST_EQ(got.encoding, in.encoding);
    VIEW_EQ(got.prompt_name, in.prompt_name);
    TEST_EQ(got.prompt_prefix.bytes, 0);
    TEST_EQ(got.truncate, in.truncate);
    TEST_EQ(got.cache, in.cache);
    TEST_EQ(got.max_tokens, 128);
    VIEW_EQ(got.traceparent, in.traceparent);
}

static void test_embed_request_refused(void **state) {
    (void)state;
    static char long_text[LIMIT_TEXT_BYTES + 1];
    memset(long_text, 'a', sizeof long_text);
    static struct view many[LIMIT_REQUEST_TEXTS];
    for (int i = 0; i < LIMIT_REQUEST_TEXTS; i++)
        many[i] = view_of("x");
    struct view bad_utf8 = view_make("ok\xff", 3),
                too_long = view_make(long_text, sizeof long_text);
    struct wire_embed_request base = {.texts = many, .n_texts = 1};
    struct {
        const char *name;
        struct wire_embed_request in;
        uint32_t item;
        const char *message;
    } rows[] = {
        {"no texts", {.texts = many, .n_texts = 0}, 0, "no texts"},
        {"not UTF-8", {.texts = &bad_utf8, .n_texts = 1}, 1, "not UTF-8 at byte 2"},
        {"too long", {.texts = &too_long, .n_texts = 1}, 1, "65537 bytes, at most 65536"},
        {"encoding", base, 0, "encoding 9 is not known"},
        {"normalize", base, 0, "normalize 3 is not known"},
        {"truncate", base, 0, "truncate -1 is not known"},
        {"cache", base, 0, "cache 3 is not known"},
        {"dimensions", base, 0, "dimensions 2049"},
        {"max_tokens", base, 0, "max_tokens must be at least 2"},
        {"both prompts", base, 0, "exclude each other"},
        {"prompt name", base, 0, "prompt_name may hold"},
        {"prompt prefix", base, 0, "prompt_prefix is not UTF-8"},
        {"traceparent", base, 0, "traceparent"},
    };
    rows[3].in.encoding = (enum wire_encoding)9;
    rows[4].in.normalize = (enum wire_normalize)3;
    rows[5].in.truncate = (enum wire_truncate) - 1;
    rows[6].in.cache = (enum wire_cache)3;
    rows[7].in.dimensions = LIMIT_DIM + 1;
    rows[8].in.max_tokens = 1;
    rows[9].in.prompt_name = rows[9].in.prompt_prefix = view_of("query");
    rows[10].in.prompt_name = view_of("a b");
    rows[11].in.prompt_prefix = bad_utf8;
    rows[12].in.traceparent = view_of("two words");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_embed_request got;
        uint32_t item = 77;
        struct err err = {0};
        TEST_EQ(codec_embed_request_encode(&rows[i].in, &out), STATUS_OK);
        TEST_EQ(codec_embed_request_decode(exact(), &arena, &got, &item, &err),
                STATUS_INVALID_ARGUMENT);
        TEST_EQ(item, rows[i].item);
        TEST_HAS(err.text, rows[i].message);
    }
    base.n_texts = LIMIT_REQUEST_TEXTS + 1;
    TEST_ROW("the encoder refuses what cannot be sent");
    TEST_EQ(codec_embed_request_encode(&base, &out), STATUS_INTERNAL);
}

static void test_too_many_texts(void **state) { /* more than an encoder of ours would send */
    (void)state;
    uint8_t body[2 * (LIMIT_REQUEST_TEXTS + 1)];
    for (size_t i = 0; i < sizeof body; i += 2)
        body[i] = 0x0a, body[i + 1] = 0; /* texts: "" */
    struct wire_embed_request got;
    uint32_t item;
    struct err err = {0};
    arena_reset(&arena);
    TEST_EQ(codec_embed_request_decode(view_make(body, sizeof body), &arena, &got, &item, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "more than 64 texts");
    arena_reset(&arena);
    TEST_EQ(codec_embed_request_decode(view_make(body, sizeof body - 2), &arena, &got, &item, &err),
            STATUS_OK);
}

static void
test_bomb(void **state) { /* thousands of unknown fields: refused, memory stays capped */
    (void)state;
    static uint8_t body[64 * 1024];
    for (size_t i = 0; i + 3 <= sizeof body; i += 3) {
        body[i] = 0xfa; /* field 15, length-delimited, in two bytes */
        body[i + 1] = 0x00;
        body[i + 2] = 0;
    }
    body[0] = 0x7a;
    size_t n = 1;
    for (; n + 2 <= sizeof body; n += 2)
        body[n - 1] = 0x7a, body[n] = 0;
    struct arena small;
    assert_true(arena_init(&small, codec_arena_bytes(sizeof body)));
    struct wire_embed_request got;
    uint32_t item;
    struct err err = {0};
    TEST_EQ(codec_embed_request_decode(view_make(body, n - 1), &small, &got, &item, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_TRUE(small.peak <= codec_arena_bytes(sizeof body));
    arena_done(&small);
}

static void fill_facts(struct wire_facts *facts, uint32_t n) {
    static uint32_t tokens[LIMIT_REQUEST_TEXTS];
    static uint8_t truncated[LIMIT_REQUEST_TEXTS], source[LIMIT_REQUEST_TEXTS];
    for (uint32_t i = 0; i < n && i < LIMIT_REQUEST_TEXTS; i++) {
        tokens[i] = 2 + i * 300;
        truncated[i] = i % 2;
        source[i] = (uint8_t)(i % 4);
    }
    *facts = (struct wire_facts){n,
                                 tokens,
                                 truncated,
                                 source,
                                 view_of("minilm"),
                                 view_of("0123456789abcdef"),
                                 view_of("w1"),
                                 {1, 2, 3, 4, 5}};
}

static void check_facts(const struct wire_facts *got, const struct wire_facts *want) {
    TEST_EQ(got->n, want->n);
    for (uint32_t i = 0; i < want->n; i++) {
        TEST_EQ(got->tokens[i], want->tokens[i]);
        TEST_EQ(got->truncated[i], want->truncated[i]);
        TEST_EQ(got->source[i], want->source[i]);
    }
    VIEW_EQ(got->model, want->model);
    VIEW_EQ(got->fingerprint, want->fingerprint);
    VIEW_EQ(got->worker, want->worker);
    TEST_EQ(got->times.cache_us, 1);
    TEST_EQ(got->times.queue_us, 2);
    TEST_EQ(got->times.tokenize_us, 3);
    TEST_EQ(got->times.infer_us, 4);
    TEST_EQ(got->times.total_us, 5);
}

static void test_embed_reply(void **state) {
    (void)state;
    static uint8_t bytes[3 * 4 * 8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    static const struct {
        enum wire_encoding encoding;
        size_t row;
    } rows[] = {{WIRE_ENCODING_F32, 32},
                {WIRE_ENCODING_F16, 16},
                {WIRE_ENCODING_I8, 12},
                {WIRE_ENCODING_BIT, 1}};
    for (size_t i = 0; i < 4; i++) {
        struct wire_embed_reply in = {8, rows[i].encoding, view_make(bytes, 3 * rows[i].row), {0}},
                                got;
        fill_facts(&in.facts, 3);
        struct err err = {0};
        TEST_EQ(wire_row_bytes(in.encoding, 8), rows[i].row);
        TEST_EQ(codec_embed_reply_encode(&in, &out), STATUS_OK);
        TEST_EQ(codec_embed_reply_decode(exact(), &arena, &got, &err), STATUS_OK);
        TEST_EQ(got.dim, 8);
        TEST_EQ(got.encoding, in.encoding);
        VIEW_EQ(got.vectors, in.vectors);
        check_facts(&got.facts, &in.facts);
        in.vectors.bytes -= 1;
        TEST_EQ(codec_embed_reply_encode(&in, &out), STATUS_OK);
        TEST_EQ(codec_embed_reply_decode(exact(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, "do not fit");
    }
    TEST_EQ(wire_row_bytes(WIRE_ENCODING_BIT, 9), 2);
}

static void test_classify(void **state) {
    (void)state;
    struct view labels[] = {view_of("咨询"), view_of("建议"), view_of("投诉")};
    struct wire_embed_request any = embed_sample();
    struct wire_classify_request in = {.texts = any.texts,
                                       .n_texts = 3,
                                       .labels = labels,
                                       .n_labels = 3,
                                       .hypothesis_template = view_of("这是关于{}的"),
                                       .multi_label = true,
                                       .top_k = 2},
                                 got;
    uint32_t item;
    struct err err = {0};
    TEST_EQ(codec_classify_request_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_classify_request_decode(exact(), &arena, &got, &item, &err), STATUS_OK);
    TEST_EQ(got.n_texts, 3);
    TEST_EQ(got.n_labels, 3);
    VIEW_EQ(got.labels[2], labels[2]);
    VIEW_EQ(got.hypothesis_template, in.hypothesis_template);
    TEST_TRUE(got.multi_label);
    TEST_EQ(got.top_k, 2);

    static const struct {
        const char *name, *label, *pattern, *message;
    } rows[] = {
        {"twice", "咨询", "{}", "labels 0 and 2 are the same"},
        {"empty label", "", "{}", "label 2 is empty"},
        {"no place", "x", "about", "must hold {} once, it has 0"},
        {"two places", "x", "{} {}", "must hold {} once, it has 2"},
        {"label not UTF-8", "\xc0\x80", "{}", "label 2 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        labels[2] = view_of(rows[i].label);
        in.hypothesis_template = view_of(rows[i].pattern);
        TEST_EQ(codec_classify_request_encode(&in, &out), STATUS_OK);
        TEST_EQ(codec_classify_request_decode(exact(), &arena, &got, &item, &err),
                STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, rows[i].message);
    }
}

/* Labels, pairs or neither, and nothing that contradicts it. */
static void test_classify_forms(void **state) {
    (void)state;
    struct view labels[] = {view_of("a"), view_of("b")};
    static struct view seconds[3];
    seconds[0] = view_of("");
    seconds[1] = view_make("nul\0inside", 10);
    seconds[2] = view_of("第二");
    struct wire_classify_request got;
    static const struct {
        const char *name;
        uint32_t n_labels;
        bool pairs, multi;
        const char *pattern;
        uint32_t max_tokens;
        const char *message; /* NULL: fine */
    } rows[] = {
        {"the model's own", 0, false, false, "", 0, NULL},
        {"pairs for the model's own", 0, true, false, "", 90, NULL},
        {"labels", 2, false, true, "<{}>", 2, NULL},
        {"labels and pairs", 2, true, false, "", 0, "labels and seconds exclude each other"},
        {"a template for nothing", 0, false, false, "<{}>", 0, "hypothesis_template goes with"},
        {"one by one without labels", 0, true, true, "", 0, "multi_label goes with labels"},
        {"no room for specials", 0, false, false, "", 1, "max_tokens must be at least 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_classify_request in = {.texts = embed_sample().texts,
                                           .n_texts = 3,
                                           .labels = labels,
                                           .n_labels = rows[i].n_labels,
                                           .seconds = rows[i].pairs ? seconds : NULL,
                                           .hypothesis_template = view_of(rows[i].pattern),
                                           .multi_label = rows[i].multi,
                                           .max_tokens = rows[i].max_tokens};
        uint32_t item;
        struct err err = {0};
        TEST_EQ(codec_classify_request_encode(&in, &out), STATUS_OK);
        enum status st = codec_classify_request_decode(exact(), &arena, &got, &item, &err);
        TEST_EQ(st, rows[i].message ? STATUS_INVALID_ARGUMENT : STATUS_OK);
        if (rows[i].message) {
            TEST_HAS(err.text, rows[i].message);
            continue;
        }
        TEST_EQ(got.n_labels, rows[i].n_labels);
        TEST_EQ(got.max_tokens, rows[i].max_tokens);
        TEST_EQ(got.seconds != NULL, rows[i].pairs);
        for (uint32_t k = 0; k < 3 && got.seconds; k++)
            VIEW_EQ(got.seconds[k], seconds[k]);
    }
    TEST_ROW("fewer seconds than texts");
    /* texts "x" "y", seconds "z" */
    static const uint8_t uneven[] = {0x0a, 1, 'x', 0x0a, 1, 'y', 0x4a, 1, 'z'};
    uint32_t item;
    struct err err = {0};
    arena_reset(&arena);
    TEST_EQ(
        codec_classify_request_decode(view_make(uneven, sizeof uneven), &arena, &got, &item, &err),
        STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "2 texts and 1 seconds");
    TEST_ROW("a second that is not UTF-8");
    static const uint8_t broken[] = {0x0a, 1, 'x', 0x0a, 1, 'y', 0x4a, 1, 'z', 0x4a, 1, 0xff};
    arena_reset(&arena);
    TEST_EQ(
        codec_classify_request_decode(view_make(broken, sizeof broken), &arena, &got, &item, &err),
        STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "seconds 1 is not UTF-8");
    TEST_EQ(item, 2);
}

static void test_classify_reply(void **state) {
    (void)state;
    struct view labels[] = {view_of("a"), view_of("b")};
    uint32_t order[] = {1, 0};
    float scores[] = {0.75f, 0.25f};
    struct wire_scores results[] = {{order, scores, 2}, {order, scores, 1}};
    struct wire_classify_reply in = {labels, 2, results, 2, {0}}, got;
    fill_facts(&in.facts, 2);
    struct err err = {0};
    TEST_EQ(codec_classify_reply_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_classify_reply_decode(exact(), &arena, &got, &err), STATUS_OK);
    TEST_EQ(got.n_results, 2);
    TEST_EQ(got.results[0].n, 2);
    TEST_EQ(got.results[0].label[0], 1);
    TEST_NEAR(got.results[0].score[1], 0.25, 0);
    TEST_EQ(got.results[1].n, 1);
    check_facts(&got.facts, &in.facts);
    static const float wrong[] = {NAN, INFINITY, 1.0000001f, -0.0000001f};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        scores[1] = wrong[i];
        TEST_EQ(codec_classify_reply_encode(&in, &out), STATUS_OK);
        TEST_EQ(codec_classify_reply_decode(exact(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, "do not fit its labels");
    }
    scores[1] = 0.25f;
    order[0] = 2; /* a label that is not there */
    TEST_EQ(codec_classify_reply_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_classify_reply_decode(exact(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
}

/* As many labels as a head may have, with names as short as they can be: the reply decodes in the
 * memory a body of its size may take. */
static void test_own_labels_reply(void **state) {
    (void)state;
    static struct view labels[LIMIT_LABELS + 1];
    static uint32_t order[LIMIT_LABELS];
    static float scores[LIMIT_LABELS];
    static char names[LIMIT_LABELS + 1][5];
    struct wire_scores results[LIMIT_REQUEST_TEXTS];
    for (uint32_t i = 0; i <= LIMIT_LABELS; i++) {
        snprintf(names[i], sizeof names[i], "%u", i % 10); /* a published model may say so */
        labels[i] = view_of(names[i]);
    }
    for (uint32_t i = 0; i < LIMIT_LABELS; i++)
        order[i] = LIMIT_LABELS - 1 - i;
    for (uint32_t top = 1; top <= LIMIT_LABELS; top += LIMIT_LABELS - 1) {
        for (uint32_t i = 0; i < LIMIT_REQUEST_TEXTS; i++)
            results[i] = (struct wire_scores){order, scores, top};
        struct wire_classify_reply in = {labels, LIMIT_LABELS, results, top == 1 ? 1 : 64, {0}},
                                   got;
        fill_facts(&in.facts, in.n_results);
        struct err err = {0};
        struct arena own;
        TEST_EQ(codec_classify_reply_encode(&in, &out), STATUS_OK);
        assert_true(arena_init(&own, codec_reply_arena_bytes(out.bytes)));
        if (codec_classify_reply_decode(exact(), &own, &got, &err) != STATUS_OK)
            TEST_FAIL("%u scores a text: %s", top, err.text);
        TEST_EQ(got.n_labels, LIMIT_LABELS);
        VIEW_EQ(got.labels[LIMIT_LABELS - 1], view_of("3"));
        TEST_EQ(got.results[0].label[0], LIMIT_LABELS - 1);
        arena_done(&own);
        in.n_labels++;
        TEST_EQ(codec_classify_reply_encode(&in, &out), STATUS_INTERNAL);
    }
}

static void test_tokenize(void **state) {
    (void)state;
    struct wire_tokenize_request in = {.texts = embed_sample().texts, .n_texts = 2, .pieces = true},
                                 got;
    uint32_t item;
    struct err err = {0};
    TEST_EQ(codec_tokenize_request_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_tokenize_request_decode(exact(), &arena, &got, &item, &err), STATUS_OK);
    TEST_EQ(got.n_texts, 2);
    TEST_TRUE(got.pieces);

    uint32_t ids[] = {101, 5, 102};
    struct view pieces[] = {view_of("[CLS]"), view_of("退"), view_of("[SEP]")};
    struct wire_tokens results[] = {{ids, 3, pieces, 3}, {ids, 2, NULL, 900}};
    struct wire_tokenize_reply reply = {results, 2, {0}}, back;
    fill_facts(&reply.facts, 2);
    TEST_EQ(codec_tokenize_reply_encode(&reply, &out), STATUS_OK);
    TEST_EQ(codec_tokenize_reply_decode(exact(), &arena, &back, &err), STATUS_OK);
    TEST_EQ(back.n_results, 2);
    TEST_EQ(back.results[0].ids[2], 102);
    VIEW_EQ(back.results[0].pieces[1], pieces[1]);
    TEST_TRUE(back.results[1].pieces == NULL);
    TEST_EQ(back.results[1].full, 900);
}

static void test_rerank(void **state) {
    (void)state;
    struct wire_rerank_request in = {.query = view_of("q"),
                                     .documents = embed_sample().texts,
                                     .n_documents = 3,
                                     .top_k = 2,
                                     .cache = WIRE_CACHE_BYPASS,
                                     .truncate = WIRE_TRUNCATE_OFF,
                                     .max_tokens = 77,
                                     .traceparent = view_of("00-a-b-01")},
                               got;
    uint32_t item;
    struct err err = {0};
    TEST_EQ(codec_rerank_request_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_rerank_request_decode(exact(), &arena, &got, &item, &err), STATUS_OK);
    VIEW_EQ(got.query, in.query);
    TEST_EQ(got.n_documents, 3);
    VIEW_EQ(got.documents[1], texts[1]);
    TEST_EQ(got.top_k, 2);
    TEST_EQ(got.cache, in.cache);
    TEST_EQ(got.truncate, in.truncate);
    TEST_EQ(got.max_tokens, 77);
    VIEW_EQ(got.traceparent, in.traceparent);
    static const struct {
        const char *name;
        uint32_t n, max_tokens;
        enum wire_truncate truncate;
        const char *query, *message;
    } rows[] = {
        {"no documents", 0, 0, 0, "q", "no documents"},
        {"one token", 1, 1, 0, "q", "max_tokens must be at least 2"},
        {"a truncate of tomorrow", 1, 0, 3, "q", "truncate 3 is not known"},
        {"a query that is not UTF-8", 1, 0, 0, "\xff", "query is not UTF-8 at byte 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        in.n_documents = rows[i].n;
        in.max_tokens = rows[i].max_tokens;
        in.truncate = rows[i].truncate;
        in.query = view_of(rows[i].query);
        TEST_EQ(codec_rerank_request_encode(&in, &out), STATUS_OK);
        TEST_EQ(codec_rerank_request_decode(exact(), &arena, &got, &item, &err),
                STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, rows[i].message);
    }
}

static void test_rerank_reply(void **state) {
    (void)state;
    uint32_t index[] = {2, 0, 1};
    float score[] = {0.75f, 0.5f, 0.25f};
    float logit[] = {3, 2, -1};
    struct wire_rerank_reply in = {index, score, 3, {0}, NULL}, got;
    fill_facts(&in.facts, 3);
    struct err err = {0};
    for (uint32_t n = 0; n <= 3; n++) { /* 1 and 2: the best of them only */
        in.n = n;
        TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_OK);
        TEST_EQ(codec_rerank_reply_decode(exact(), &arena, &got, &err), STATUS_OK);
        TEST_EQ(got.n, n);
        for (uint32_t i = 0; i < n; i++) {
            TEST_EQ(got.index[i], index[i]);
            TEST_NEAR(got.score[i], score[i], 0);
        }
        check_facts(&got.facts, &in.facts);
    }
    in.n = 4;
    TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_INTERNAL);
    TEST_ROW("logits");
    in.n = 3;
    TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_rerank_reply_decode(exact(), &arena, &got, &err), STATUS_OK);
    TEST_TRUE(!got.logit);
    in.logit = logit;
    TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_rerank_reply_decode(exact(), &arena, &got, &err), STATUS_OK);
    TEST_MEM_EQ(got.logit, logit, sizeof logit);
    logit[2] = NAN;
    TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_rerank_reply_decode(exact(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
    in.logit = NULL;
    TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_OK);
    static const uint8_t one_logit[] = {4 << 3 | 2, 4, 0, 0, 0, 0}; /* for three documents */
    TEST_TRUE(out.room >= out.bytes + sizeof one_logit);
    memcpy(out.data + out.bytes, one_logit, sizeof one_logit);
    out.bytes += sizeof one_logit;
    TEST_EQ(codec_rerank_reply_decode(exact(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
    TEST_ROW("a score that is no number");
    score[1] = NAN;
    TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_OK);
    TEST_EQ(codec_rerank_reply_decode(exact(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
    score[1] = 0.5f;
    static const struct {
        const char *name;
        uint32_t index[3];
    } rows[] = {{"a document that is not there", {0, 3, 1}}, {"one twice", {2, 1, 2}}};
    in.n = 3;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        in.index = rows[i].index;
        TEST_EQ(codec_rerank_reply_encode(&in, &out), STATUS_OK);
        TEST_EQ(codec_rerank_reply_decode(exact(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, "do not fit its documents");
    }
}

static void test_error(void **state) {
    (void)state;
    struct err err = {0};
    struct wire_error error = {view_of("queue is full"), 4, 250, true}, back;
    TEST_EQ(codec_error_encode(&error, &out), STATUS_OK);
    TEST_EQ(codec_error_decode(exact(), &arena, &back, &err), STATUS_OK);
    VIEW_EQ(back.message, error.message);
    TEST_EQ(back.item, 4);
    TEST_EQ(back.retry_after_ms, 250);
    TEST_TRUE(back.may_have_run);
}

static void test_damage(void **state) { /* any damage gives OK or INVALID_ARGUMENT, never worse */
    (void)state;
    struct wire_embed_request in = embed_sample(), got;
    TEST_EQ(codec_embed_request_encode(&in, &out), STATUS_OK);
    uint64_t seed = 42;
    for (int round = 0; round < 20000; round++) {
        uint8_t body[512];
        size_t bytes = out.bytes < sizeof body ? out.bytes : sizeof body;
        memcpy(body, out.data, bytes);
        for (uint32_t k = 1 + hash_below(&seed, 4); k > 0; k--)
            body[hash_below(&seed, (uint32_t)bytes)] = (uint8_t)hash_next(&seed);
        bytes = hash_below(&seed, (uint32_t)bytes + 1);
        uint32_t item;
        struct err err;
        arena_reset(&arena);
        enum status st =
            codec_embed_request_decode(view_make(body, bytes), &arena, &got, &item, &err);
        TEST_TRUE(st == STATUS_OK || st == STATUS_INVALID_ARGUMENT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed_request),
        cmocka_unit_test(test_embed_request_refused),
        cmocka_unit_test(test_too_many_texts),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_embed_reply),
        cmocka_unit_test(test_classify),
        cmocka_unit_test(test_classify_forms),
        cmocka_unit_test(test_classify_reply),
        cmocka_unit_test(test_own_labels_reply),
        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_rerank),
        cmocka_unit_test(test_rerank_reply),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
