/* serve_scores_test.c - requests to models with heads: labels by entailment, labels of the model's
 * own, rerank. What must come out is computed here from the logits the fake engine gives. */
#include "support/serve_world.h"

#include "engine/classify.h"

static struct world world;

struct seen {
    uint32_t n;
    enum status status;
    uint8_t body[64 * 1024];
    size_t bytes;
};
static struct seen seen;

static void on_reply(void *arg, const struct serve_reply *reply) {
    struct seen *to = arg;
    to->n++;
    TEST_TRUE(!reply->nack && reply->body.bytes <= sizeof to->body);
    to->status = reply->status;
    if (reply->body.bytes)
        memcpy(to->body, reply->body.data, reply->body.bytes);
    to->bytes = reply->body.bytes;
}

static struct view seen_body(void) {
    arena_reset(&world.arena);
    return view_make(seen.body, seen.bytes);
}

static int open_with(struct serve_limits limits) {
    memset(&world, 0, sizeof world);
    memset(&seen, 0, sizeof seen);
    world_open(&world,
               (struct serve_cfg){
                   .requests_max = 4, .items_max = 160, .bytes_max = 8 << 20, .limits = limits},
               on_reply, &seen);
    return 0;
}

static int setup(void **state) {
    (void)state;
    return open_with((struct serve_limits){0});
}

static int teardown(void **state) {
    (void)state;
    TEST_TRUE(serve_idle(world.serve));
    serve_check(world.serve);
    world_close(&world);
    return 0;
}

static void dispatch(enum world_model model, enum wire_task task) {
    static uint64_t ticket;
    struct serve_origin origin = {.ticket = ++ticket, .broker = 1, .service = 9};
    serve_dispatch(world.serve, &origin, model, task, WIRE_LANE_NORMAL, 0,
                   wire_out_view(&world.wire));
}

static void classify(enum world_model model, const struct wire_classify_request *in) {
    TEST_EQ(codec_classify_request_encode(in, &world.wire), STATUS_OK);
    dispatch(model, WIRE_TASK_CLASSIFY);
}

static void rerank(const struct wire_rerank_request *in) {
    TEST_EQ(codec_rerank_request_encode(in, &world.wire), STATUS_OK);
    dispatch(WORLD_SCORE, WIRE_TASK_RERANK);
}

static struct wire_classify_reply seen_classify(void) {
    struct wire_classify_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_classify_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    return reply;
}

static struct wire_rerank_reply seen_rerank(void) {
    struct wire_rerank_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_rerank_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    return reply;
}

static void expect_error(enum status status, uint32_t item, const char *part) {
    struct wire_error error;
    TEST_EQ(codec_error_decode(seen_body(), &world.arena, &error, NULL), STATUS_OK);
    char text[512] = "";
    memcpy(text, error.message.data, error.message.bytes);
    TEST_HAS(text, part);
    TEST_EQ(seen.status, status);
    TEST_EQ(error.item, item);
}

/* All entries are in memory, or only in "Redis". */
static void keep_in_memory(bool in_memory) {
    for (uint32_t e = 0; e < world.cache.n; e++)
        world.cache.entry[e].in_memory = in_memory;
}

static void check_scores(const struct wire_scores *got, const float *scores, uint32_t n,
                         uint32_t top) {
    uint32_t order[WORLD_OWN];
    classify_order(scores, n, order);
    TEST_EQ(got->n, top);
    for (uint32_t k = 0; k < top; k++) {
        TEST_EQ(got->label[k], order[k]);
        TEST_MEM_EQ(&got->score[k], &scores[order[k]], sizeof(float)); /* bit for bit */
    }
}

/* ---------------------------------------------------------------- entailment */

enum { TEXTS = 2, LABELS = 3 };

static void want_nli(const char *text, const char *pattern, const char *const *labels, uint32_t n,
                     bool multi, float *scores, uint32_t *tokens) {
    float logits[LABELS * WORLD_DIM];
    *tokens = 0;
    for (uint32_t l = 0; l < n; l++) {
        char hypothesis[64];
        snprintf(hypothesis, sizeof hypothesis, pattern, labels[l]);
        struct engine_item item =
            world_logits(&world, WORLD_NLI, view_of(text), view_of(hypothesis),
                         ENGINE_PAIR_ONLY_FIRST, ENGINE_CUT_RIGHT, 0, logits + 3 * l);
        TEST_EQ(item.status, STATUS_OK);
        *tokens += item.tokens;
    }
    classify_nli(logits, n, 3, 2, 0, multi, scores);
}

/* Every form of the request: right scores, and an entry a text. */
static void test_nli(void **state) {
    (void)state;
    static const char *const names[LABELS] = {"bb", "a", "ccc"};
    static const char *const texts[TEXTS] = {"first", "x"};
    struct view views[TEXTS] = {view_of(texts[0]), view_of(texts[1])};
    struct view labels[LABELS] = {view_of(names[0]), view_of(names[1]), view_of(names[2])};
    static const struct {
        const char *name, *pattern, *format;
        uint32_t n_labels, top_k;
        bool multi, redis;
        enum wire_cache cache;
        enum wire_source source;
        uint32_t puts;
    } rows[] = {
        {"all new", "", "%s", 3, 0, false, false, WIRE_CACHE_USE, WIRE_SOURCE_MODEL, 2},
        {"known", "", "%s", 3, 2, false, false, WIRE_CACHE_USE, WIRE_SOURCE_MEMORY, 0},
        {"known to Redis", "", "%s", 3, 0, false, true, WIRE_CACHE_USE, WIRE_SOURCE_REDIS, 0},
        {"one by one is another result", "", "%s", 3, 0, true, false, WIRE_CACHE_USE,
         WIRE_SOURCE_MODEL, 2},
        {"other hypotheses", "<{}>", "<%s>", 3, 0, false, false, WIRE_CACHE_USE, WIRE_SOURCE_MODEL,
         2},
        {"one label alone", "", "%s", 1, 0, false, false, WIRE_CACHE_USE, WIRE_SOURCE_MODEL, 2},
        {"bypassed", "", "%s", 3, 0, false, false, WIRE_CACHE_BYPASS, WIRE_SOURCE_MODEL, 0},
        {"refreshed", "", "%s", 3, 0, false, false, WIRE_CACHE_REFRESH, WIRE_SOURCE_MODEL, 2},
    };
    const struct serve_stats *stats = serve_stats(world.serve);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        keep_in_memory(!rows[i].redis);
        uint64_t puts = world.cache.puts, batches = counter_get(&stats->batches);
        classify(WORLD_NLI,
                 &(struct wire_classify_request){.texts = views,
                                                 .n_texts = TEXTS,
                                                 .labels = labels,
                                                 .n_labels = rows[i].n_labels,
                                                 .hypothesis_template = view_of(rows[i].pattern),
                                                 .multi_label = rows[i].multi,
                                                 .top_k = rows[i].top_k,
                                                 .cache = rows[i].cache});
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        struct wire_classify_reply reply = seen_classify();
        TEST_EQ(world.cache.puts - puts, rows[i].puts);
        TEST_EQ(counter_get(&stats->batches) > batches, rows[i].source == WIRE_SOURCE_MODEL);
        TEST_EQ(reply.n_labels, rows[i].n_labels);
        TEST_TRUE(view_equal(reply.labels[0], labels[0]));
        for (uint32_t t = 0; t < TEXTS; t++) {
            float scores[LABELS];
            uint32_t tokens;
            want_nli(texts[t], rows[i].format, names, rows[i].n_labels, rows[i].multi, scores,
                     &tokens);
            check_scores(&reply.results[t], scores, rows[i].n_labels,
                         rows[i].top_k ? rows[i].top_k : rows[i].n_labels);
            TEST_EQ(reply.facts.tokens[t], tokens); /* the sum over its pairs */
            TEST_EQ(reply.facts.source[t], rows[i].source);
            TEST_EQ(reply.facts.truncated[t], 0);
        }
    }
    TEST_EQ(counter_get(&stats->texts), TEXTS * seen.n);
}

/* All pairs of a request wait at once, so batches are as full as they can be, and one may hold
 * pairs of two texts. */
static void test_packed(void **state) {
    (void)state;
    struct view texts[] = {view_of("seven.."), view_of("seven2.")};
    struct view labels[] = {view_of("l1"), view_of("l2"), view_of("l3"), view_of("l4")};
    world.out[0] = world.out[1] = true;
    classify(WORLD_NLI, &(struct wire_classify_request){
                            .texts = texts, .n_texts = 2, .labels = labels, .n_labels = 4});
    while (world.cache.n_wants)
        world_answer(&world, 0);
    /* The fake guesses 4 tokens for a label and 9 for a text: 13 a pair, three to a batch. */
    static const uint32_t want[] = {3, 3, 2};
    for (uint32_t i = 0; i < 3; i++) {
        TEST_TRUE(world_fill(&world));
        TEST_EQ(world.batch[2].n, want[i]);
        TEST_EQ(world.batch[2].items[0].pair, ENGINE_PAIR_ONLY_FIRST);
        world_run(&world, 2);
    }
    world.out[0] = world.out[1] = false;
    TEST_EQ(seen.n, 1);
    seen_classify();
}

/* The pairs that two requests have in common are read once, and both are told. */
static void test_shared_pairs(void **state) {
    (void)state;
    struct view texts[] = {view_of("the text")};
    struct view labels[] = {view_of("a"), view_of("b"), view_of("c")};
    struct wire_classify_request in = {.texts = texts, .n_texts = 1, .labels = labels};
    in.n_labels = 2;
    classify(WORLD_NLI, &in); /* a b */
    in.labels = labels + 1;
    classify(WORLD_NLI, &in); /* b c */
    while (world.cache.n_wants)
        world_answer(&world, 0);
    TEST_EQ(world.serve->flights.n, 3);
    world_finish(&world);
    TEST_EQ(seen.n, 2);
    const struct serve_stats *stats = serve_stats(world.serve);
    TEST_EQ(counter_get(&stats->misses), 2); /* of two texts both had a pair of their own */
    TEST_ROW("all of them");
    in.cache = WIRE_CACHE_USE;
    struct view other[] = {view_of("another")};
    in.texts = other;
    classify(WORLD_NLI, &in);
    classify(WORLD_NLI, &in);
    world_finish(&world);
    TEST_EQ(seen.n, 4);
    TEST_EQ(counter_get(&stats->shared), 1);
    TEST_EQ(seen_classify().facts.source[0], WIRE_SOURCE_SHARED);
}

/* ---------------------------------------------------------------- labels of its own */

static void test_own_labels(void **state) {
    (void)state;
    static const char *const texts[TEXTS] = {"first", "a text of more than sixteen bytes"};
    static const char *const seconds[TEXTS] = {"", "second"};
    struct view views[TEXTS] = {view_of(texts[0]), view_of(texts[1])};
    struct view others[TEXTS] = {view_of(seconds[0]), view_of(seconds[1])};
    static const struct {
        const char *name;
        bool pairs;
        enum wire_truncate truncate;
        uint32_t max_tokens, top_k;
        enum wire_source source;
        uint32_t puts;
    } rows[] = {
        {"new", false, WIRE_TRUNCATE_RIGHT, 0, 0, WIRE_SOURCE_MODEL, 2},
        {"known", false, WIRE_TRUNCATE_RIGHT, 0, 2, WIRE_SOURCE_MEMORY, 0},
        {"pairs of the same texts", true, WIRE_TRUNCATE_RIGHT, 0, 0, WIRE_SOURCE_MODEL, 2},
        {"known pairs", true, WIRE_TRUNCATE_RIGHT, 0, 1, WIRE_SOURCE_MEMORY, 0},
        {"cut on the other side", false, WIRE_TRUNCATE_LEFT, 0, 0, WIRE_SOURCE_MODEL, 2},
        {"known, of the other side", false, WIRE_TRUNCATE_LEFT, 0, 0, WIRE_SOURCE_MEMORY, 0},
        {"a limit of its own", false, WIRE_TRUNCATE_RIGHT, 9, 0, WIRE_SOURCE_MODEL, 0},
        {"which nobody kept", false, WIRE_TRUNCATE_RIGHT, 9, 0, WIRE_SOURCE_MODEL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint64_t puts = world.cache.puts;
        classify(WORLD_LABELS,
                 &(struct wire_classify_request){.texts = views,
                                                 .n_texts = TEXTS,
                                                 .seconds = rows[i].pairs ? others : NULL,
                                                 .truncate = rows[i].truncate,
                                                 .max_tokens = rows[i].max_tokens,
                                                 .top_k = rows[i].top_k});
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        struct wire_classify_reply reply = seen_classify();
        TEST_EQ(world.cache.puts - puts, rows[i].puts);
        TEST_EQ(reply.n_labels, WORLD_OWN);
        TEST_TRUE(view_equal(reply.labels[4], view_of("label 4")));
        for (uint32_t t = 0; t < TEXTS; t++) {
            float scores[WORLD_DIM];
            struct engine_item item =
                world_logits(&world, WORLD_LABELS, views[t], others[t],
                             rows[i].pairs ? ENGINE_PAIR_LONGEST_FIRST : ENGINE_SINGLE,
                             (enum engine_side)rows[i].truncate, rows[i].max_tokens, scores);
            classify_head(scores, WORLD_OWN, false, scores);
            check_scores(&reply.results[t], scores, WORLD_OWN,
                         rows[i].top_k ? rows[i].top_k : WORLD_OWN);
            TEST_EQ(reply.facts.tokens[t], item.tokens);
            TEST_EQ(reply.facts.truncated[t], item.tokens_full > item.tokens);
            TEST_EQ(reply.facts.source[t], rows[i].source);
        }
    }
}

/* ---------------------------------------------------------------- rerank */

enum { DOCUMENTS = 5 };

static void test_rerank(void **state) {
    (void)state;
    static const char *const documents[DOCUMENTS] = {"one", "two", "", "two",
                                                     "a document of more than there is room for"};
    struct view views[DOCUMENTS];
    for (uint32_t i = 0; i < DOCUMENTS; i++)
        views[i] = view_of(documents[i]);
    static const struct {
        const char *name;
        uint32_t first, n, top_k, max_tokens;
        enum wire_cache cache;
        bool redis;
        enum wire_source source; /* of document 0 */
        uint32_t puts;
    } rows[] = {
        {"two of them", 0, 2, 0, 0, WIRE_CACHE_USE, false, WIRE_SOURCE_MODEL, 2},
        {"the same in other company", 1, 4, 0, 0, WIRE_CACHE_USE, false, WIRE_SOURCE_MEMORY, 2},
        {"all known, the best two", 0, 5, 2, 0, WIRE_CACHE_USE, false, WIRE_SOURCE_MEMORY, 0},
        {"from Redis", 0, 5, 9, 0, WIRE_CACHE_USE, true, WIRE_SOURCE_REDIS, 0},
        {"bypassed", 0, 5, 0, 0, WIRE_CACHE_BYPASS, false, WIRE_SOURCE_MODEL, 0},
        {"refreshed", 0, 5, 0, 0, WIRE_CACHE_REFRESH, false, WIRE_SOURCE_MODEL, 5},
        {"shorter pairs: those that fit are known", 0, 5, 0, 15, WIRE_CACHE_USE, false,
         WIRE_SOURCE_MEMORY, 0},
        {"cut by the request: nobody else's", 4, 1, 0, 15, WIRE_CACHE_USE, false, WIRE_SOURCE_MODEL,
         0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint32_t n = rows[i].n;
        keep_in_memory(!rows[i].redis);
        uint64_t puts = world.cache.puts;
        rerank(&(struct wire_rerank_request){.query = view_of("a query"),
                                             .documents = views + rows[i].first,
                                             .n_documents = n,
                                             .top_k = rows[i].top_k,
                                             .max_tokens = rows[i].max_tokens,
                                             .cache = rows[i].cache});
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        struct wire_rerank_reply reply = seen_rerank();
        TEST_EQ(world.cache.puts - puts, rows[i].puts);
        TEST_EQ(reply.facts.n, n);
        TEST_EQ(reply.facts.source[0], rows[i].source);
        float logits[DOCUMENTS];
        for (uint32_t d = 0; d < n; d++) {
            struct engine_item item = world_logits(
                &world, WORLD_SCORE, view_of("a query"), views[rows[i].first + d],
                ENGINE_PAIR_LONGEST_FIRST, ENGINE_CUT_RIGHT, rows[i].max_tokens, &logits[d]);
            TEST_EQ(reply.facts.tokens[d], item.tokens);
            TEST_EQ(reply.facts.truncated[d], item.tokens_full > item.tokens);
        }
        uint32_t order[DOCUMENTS];
        classify_order(logits, n, order);
        TEST_EQ(reply.n, rows[i].top_k && rows[i].top_k < n ? rows[i].top_k : n);
        for (uint32_t k = 0; k < reply.n; k++) {
            float want = classify_sigmoid(logits[order[k]]);
            TEST_EQ(reply.index[k], order[k]);
            TEST_MEM_EQ(&reply.score[k], &want, sizeof want);
            TEST_MEM_EQ(&reply.logit[k], &logits[order[k]], sizeof want);
        }
    }
}

/* A document that comes twice is read once, wherever it stands. */
static void test_same_document(void **state) {
    (void)state;
    struct view documents[] = {view_of("d"), view_of("e"), view_of("d")};
    rerank(&(struct wire_rerank_request){
        .query = view_of("q"), .documents = documents, .n_documents = 3});
    TEST_EQ(world.serve->flights.n, 2);
    world_finish(&world);
    struct wire_rerank_reply reply = seen_rerank();
    TEST_EQ(reply.facts.source[0], WIRE_SOURCE_MODEL);
    TEST_EQ(reply.facts.source[2], WIRE_SOURCE_SHARED);
    TEST_EQ(world.cache.puts, 2);
    TEST_ROW("the other way round is another pair");
    struct view query[] = {view_of("q")};
    rerank(
        &(struct wire_rerank_request){.query = view_of("d"), .documents = query, .n_documents = 1});
    world_finish(&world);
    TEST_EQ(seen_rerank().facts.source[0], WIRE_SOURCE_MODEL);
}

/* ---------------------------------------------------------------- refusals */

static struct view many[LIMIT_REQUEST_TEXTS];

static void fill_many(void) {
    static char names[LIMIT_REQUEST_TEXTS][8];
    for (uint32_t i = 0; i < LIMIT_REQUEST_TEXTS; i++) {
        snprintf(names[i], sizeof names[i], "t%u", i);
        many[i] = view_of(names[i]);
    }
}

static void test_classify_wrong(void **state) {
    (void)state;
    fill_many();
    static struct view long_text[2], nan_text[2], long_label[2];
    long_text[0] = view_of("fits");
    long_text[1] = view_of("this one does not fit");
    nan_text[0] = view_of("fine");
    nan_text[1] = view_of("NaN");
    long_label[0] = view_of("short");
    long_label[1] = view_of("no room for so long a label");
    static const struct wire_classify_request own = {.n_texts = 1};
    const struct {
        const char *name;
        enum world_model model;
        struct wire_classify_request in;
        enum status status;
        uint32_t item;
        const char *part;
    } rows[] = {
        {"no labels for vectors", WORLD_M0, own, STATUS_INVALID_ARGUMENT, 0,
         "model 'm0' has no labels of its own: the request must name some"},
        {"no labels for entailment", WORLD_NLI, own, STATUS_INVALID_ARGUMENT, 0,
         "model 'nli' has no labels of its own: the request must name some"},
        {"pairs for entailment",
         WORLD_NLI,
         {.n_texts = 1, .seconds = many},
         STATUS_INVALID_ARGUMENT,
         0,
         "model 'nli' scores labels of a text, not pairs of texts"},
        {"labels for a model with its own",
         WORLD_LABELS,
         {.n_texts = 1, .labels = many, .n_labels = 2},
         STATUS_INVALID_ARGUMENT,
         0,
         "model 'own' has 5 labels of its own: the request must name none"},
        {"pairs beyond the limit",
         WORLD_NLI,
         {.n_texts = 7, .labels = many, .n_labels = 14},
         STATUS_INVALID_ARGUMENT,
         0,
         "7 texts with 14 labels are 98 pairs, at most 96 are taken in one request"},
        {"a pair cut on the left",
         WORLD_NLI,
         {.n_texts = 1, .labels = many, .n_labels = 1, .truncate = WIRE_TRUNCATE_LEFT},
         STATUS_INVALID_ARGUMENT,
         0,
         "model 'nli' reads pairs of texts, which are cut on the right"},
        {"the same of its own",
         WORLD_LABELS,
         {.n_texts = 1, .seconds = many, .truncate = WIRE_TRUNCATE_LEFT},
         STATUS_INVALID_ARGUMENT,
         0,
         "model 'own' reads pairs of texts, which are cut on the right"},
        {"a text too long for its label",
         WORLD_NLI,
         {.texts = long_text,
          .n_texts = 2,
          .labels = many,
          .n_labels = 2,
          .truncate = WIRE_TRUNCATE_OFF},
         STATUS_INVALID_ARGUMENT,
         2,
         "text 2 with label 1 has 26 tokens, 24 are allowed, and truncation is off"},
        {"a label too long for any text",
         WORLD_NLI,
         {.texts = nan_text,
          .n_texts = 1,
          .labels = long_label,
          .n_labels = 2,
          .truncate = WIRE_TRUNCATE_OFF},
         STATUS_INVALID_ARGUMENT,
         1,
         "text 1 with label 2 has 34 tokens"},
        {"a text too long alone",
         WORLD_LABELS,
         {.texts = long_text, .n_texts = 2, .truncate = WIRE_TRUNCATE_OFF},
         STATUS_INVALID_ARGUMENT,
         2,
         "text 2 has 23 tokens, 16 are allowed"},
        {"a pair too long",
         WORLD_LABELS,
         {.texts = long_text, .n_texts = 2, .seconds = nan_text, .truncate = WIRE_TRUNCATE_OFF},
         STATUS_INVALID_ARGUMENT,
         2,
         "text 2 with its second has 27 tokens, 16 are allowed"},
        {"no number of it",
         WORLD_NLI,
         {.texts = nan_text, .n_texts = 2, .labels = many, .n_labels = 2},
         STATUS_INTERNAL,
         2,
         "no usable score for text 2 with label 1"},
        {"no number of its own",
         WORLD_LABELS,
         {.texts = nan_text, .n_texts = 2},
         STATUS_INTERNAL,
         2,
         "no usable score for text 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_classify_request in = rows[i].in;
        in.texts = in.texts ? in.texts : many;
        classify(rows[i].model, &in);
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        expect_error(rows[i].status, rows[i].item, rows[i].part);
        serve_check(world.serve);
    }
    TEST_ROW("kept results that were cut are errors for those who forbid it");
    struct wire_classify_request in = {.texts = long_text, .n_texts = 2};
    classify(WORLD_LABELS, &in);
    world_finish(&world);
    TEST_EQ(seen.status, STATUS_OK);
    in.truncate = WIRE_TRUNCATE_OFF;
    classify(WORLD_LABELS, &in);
    world_finish(&world);
    expect_error(STATUS_INVALID_ARGUMENT, 2, "the text has more than the 16 tokens allowed");
}

static void test_rerank_wrong(void **state) {
    (void)state;
    struct view documents[] = {view_of("fits"), view_of("does not fit behind it"), view_of("NaN")};
    static const struct {
        const char *name;
        uint32_t first, n;
        enum wire_truncate truncate;
        enum status status;
        uint32_t item;
        const char *part;
    } rows[] = {
        {"cut on the left", 0, 1, WIRE_TRUNCATE_LEFT, STATUS_INVALID_ARGUMENT, 0,
         "model 'score' reads pairs of texts, which are cut on the right only"},
        {"too long", 0, 2, WIRE_TRUNCATE_OFF, STATUS_INVALID_ARGUMENT, 2,
         "the query with document 2 has 30 tokens, 24 are allowed, and truncation is off"},
        {"no number of it", 1, 2, WIRE_TRUNCATE_RIGHT, STATUS_INTERNAL, 2,
         "no usable score for the query with document 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        rerank(&(struct wire_rerank_request){.query = view_of("query"),
                                             .documents = documents + rows[i].first,
                                             .n_documents = rows[i].n,
                                             .truncate = rows[i].truncate});
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        expect_error(rows[i].status, rows[i].item, rows[i].part);
    }
    TEST_ROW("a body that is no message");
    TEST_EQ(codec_rerank_request_encode(&(struct wire_rerank_request){.query = view_of("q"),
                                                                      .documents = documents,
                                                                      .n_documents = 3},
                                        &world.wire),
            STATUS_OK);
    world.wire.bytes -= 2;
    dispatch(WORLD_SCORE, WIRE_TASK_RERANK);
    TEST_EQ(seen.status, STATUS_INVALID_ARGUMENT);
}

/* What a request may cost: the figure is told, and one less passes. */
static void test_limits(void **state) {
    (void)state;
    serve_destroy(&world.serve);
    world_close(&world);
    open_with((struct serve_limits){.labels = 5, .tokens = 120});
    fill_many();
    static char text_bytes[15];
    memset(text_bytes, 'x', sizeof text_bytes);
    struct view text = view_make(text_bytes, sizeof text_bytes);
    TEST_ROW("labels");
    struct wire_classify_request in = {
        .texts = many, .n_texts = 1, .labels = many, .n_labels = 6, .cache = WIRE_CACHE_BYPASS};
    for (enum world_model m = WORLD_M0; m <= WORLD_NLI; m++) {
        in.n_labels = 6;
        classify(m, &in);
        expect_error(STATUS_INVALID_ARGUMENT, 0, "6 labels, at most 5 are taken");
        in.n_labels = 5;
        classify(m, &in);
        world_finish(&world);
        TEST_EQ(seen.status, STATUS_OK);
    }
    /* A pair of 15 + 2 and 2 + 2 tokens, as the fake guesses, is 21. */
    TEST_ROW("tokens of pairs with labels");
    struct view texts[] = {text, text};
    in.texts = texts;
    in.n_texts = 2;
    in.n_labels = 3;
    classify(WORLD_NLI, &in);
    expect_error(STATUS_INVALID_ARGUMENT, 0,
                 "the request has about 126 tokens, at most 120 are taken: send fewer texts");
    in.n_labels = 2;
    classify(WORLD_NLI, &in);
    world_finish(&world);
    TEST_EQ(seen.status, STATUS_OK);
    TEST_ROW("tokens of a template, once per label");
    char template_bytes[1000];
    memset(template_bytes, 'x', sizeof template_bytes);
    memcpy(template_bytes, "{}", 2);
    const struct {
        enum world_model model;
        uint32_t n_texts;
        const char *told;
    } long_ones[] = {{WORLD_NLI, 2, "about 240 tokens"},  /* 10 pairs of 24 at most, else of 8 */
                     {WORLD_M0, 16, "about 150 tokens"}}; /* 70 of texts, 5 x 16 of labels */
    in.texts = many;
    in.n_labels = 5;
    for (size_t i = 0; i < sizeof long_ones / sizeof *long_ones; i++) {
        in.n_texts = long_ones[i].n_texts;
        in.hypothesis_template = view_make(template_bytes, sizeof template_bytes);
        classify(long_ones[i].model, &in);
        expect_error(STATUS_INVALID_ARGUMENT, 0, long_ones[i].told);
        in.hypothesis_template = view_of("{}");
        classify(long_ones[i].model, &in);
        world_finish(&world);
        TEST_EQ(seen.status, STATUS_OK);
    }
    TEST_ROW("tokens of pairs with documents");
    struct wire_rerank_request ask = {.query = text, .documents = many, .n_documents = 6};
    rerank(&ask);
    expect_error(STATUS_INVALID_ARGUMENT, 0, "about 126 tokens");
    ask.n_documents = 5;
    rerank(&ask);
    world_finish(&world);
    TEST_EQ(seen.status, STATUS_OK);
    TEST_ROW("of texts with their seconds, as far as they are read");
    struct wire_classify_request own = {.texts = many, .n_texts = 16, .seconds = many};
    classify(WORLD_LABELS, &own); /* 10 of "t0".."t9", 6 of "t10".."t15": 10 x 8 + 6 x 10 */
    expect_error(STATUS_INVALID_ARGUMENT, 0, "about 140 tokens");
    own.seconds = NULL;
    classify(WORLD_LABELS, &own); /* half of that */
    world_finish(&world);
    TEST_EQ(seen.status, STATUS_OK);
    TEST_ROW("of vectors of a length that is not the published one");
    struct engine_info *info = (struct engine_info *)(uintptr_t)world.models.model[WORLD_M0].info;
    info->max_positions = 64;
    char long_bytes[70];
    memset(long_bytes, 'x', sizeof long_bytes);
    const struct view long_text = view_make(long_bytes, sizeof long_bytes);
    const struct view long_texts[] = {long_text, long_text};
    struct wire_embed_request longer = {.texts = long_texts, .n_texts = 2, .max_tokens = 64};
    TEST_EQ(codec_embed_request_encode(&longer, &world.wire), STATUS_OK);
    dispatch(WORLD_M0, WIRE_TASK_EMBED);
    expect_error(STATUS_INVALID_ARGUMENT, 0, "about 128 tokens");
    longer.max_tokens = 60;
    TEST_EQ(codec_embed_request_encode(&longer, &world.wire), STATUS_OK);
    dispatch(WORLD_M0, WIRE_TASK_EMBED);
    world_finish(&world);
    TEST_EQ(seen.status, STATUS_OK);
    info->max_positions = info->max_tokens;
    TEST_ROW("of vectors");
    struct view eight[8];
    for (uint32_t i = 0; i < 8; i++)
        eight[i] = text;
    TEST_EQ(codec_embed_request_encode(&(struct wire_embed_request){.texts = eight, .n_texts = 8},
                                       &world.wire),
            STATUS_OK);
    dispatch(WORLD_M0, WIRE_TASK_EMBED); /* 16 of each are read: 8 x 16 */
    expect_error(STATUS_INVALID_ARGUMENT, 0, "about 128 tokens");
    TEST_EQ(codec_embed_request_encode(&(struct wire_embed_request){.texts = eight, .n_texts = 7},
                                       &world.wire),
            STATUS_OK);
    dispatch(WORLD_M0, WIRE_TASK_EMBED);
    world_finish(&world);
    TEST_EQ(seen.status, STATUS_OK);
}

/* Bodies of every form, damaged in every way, for every model and task: each is answered once, and
 * what is accepted runs to its end. */
static void test_damaged_bodies(void **state) {
    (void)state;
    static uint8_t bodies[4][512], body[512];
    size_t bytes[4];
    uint64_t seed = 1;
    struct view texts[] = {view_of("one text"), view_of(""), view_of("文本")};
    struct view labels[] = {view_of("a"), view_of("b")};
    const struct wire_classify_request forms[] = {
        {.texts = texts,
         .n_texts = 3,
         .labels = labels,
         .n_labels = 2,
         .hypothesis_template = view_of("<{}>"),
         .multi_label = true,
         .top_k = 1,
         .max_tokens = 9},
        {.texts = texts, .n_texts = 3, .seconds = texts},
        {.texts = texts, .n_texts = 3},
    };
    const struct wire_rerank_request ranks = {
        .query = texts[0], .documents = texts, .n_documents = 3, .top_k = 2, .max_tokens = 20};
    for (uint32_t form = 0; form < 4; form++) {
        TEST_EQ(form < 3 ? codec_classify_request_encode(&forms[form], &world.wire)
                         : codec_rerank_request_encode(&ranks, &world.wire),
                STATUS_OK);
        TEST_TRUE(world.wire.bytes <= sizeof *bodies);
        memcpy(bodies[form], world.wire.data, world.wire.bytes);
        bytes[form] = world.wire.bytes;
    }
    uint32_t fine = 0;
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t form = hash_below(&seed, 4), n = (uint32_t)bytes[form];
        memcpy(body, bodies[form], n);
        for (uint32_t k = hash_below(&seed, 4); k > 0; k--)
            body[hash_below(&seed, n)] = (uint8_t)hash_next(&seed);
        if (hash_below(&seed, 8) == 0)
            n = hash_below(&seed, n + 1);
        static const enum world_model fits[] = {WORLD_NLI, WORLD_LABELS, WORLD_LABELS, WORLD_SCORE};
        bool right = hash_below(&seed, 2);
        enum wire_task task = right ? (form < 3 ? WIRE_TASK_CLASSIFY : WIRE_TASK_RERANK)
                                    : (enum wire_task)(1 + hash_below(&seed, WIRE_TASKS));
        struct serve_origin origin = {.ticket = round, .broker = 1, .service = 9};
        seen.n = 0;
        serve_dispatch(world.serve, &origin, right ? fits[form] : hash_below(&seed, WORLD_MODELS),
                       task, WIRE_LANE_NORMAL, 0, view_make(body, n));
        world_finish(&world);
        TEST_EQ(seen.n, 1);
        TEST_TRUE(seen.status == STATUS_OK || seen.status == STATUS_INVALID_ARGUMENT ||
                  seen.status == STATUS_UNIMPLEMENTED);
        fine += seen.status == STATUS_OK;
        if (world.cache.n > WORLD_ENTRIES / 2)
            world.cache.n = 0;
    }
    serve_check(world.serve);
    TEST_TRUE(fine > 2000);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nli),          TEST(test_packed),
        TEST(test_shared_pairs), TEST(test_own_labels),
        TEST(test_rerank),       TEST(test_same_document),
        TEST(test_limits),       TEST(test_classify_wrong),
        TEST(test_rerank_wrong), TEST(test_damaged_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
