/* serve_scores_test.c - requests to models with heads: labels by entailment, labels of the model's
 * own, rerank. What must come out is computed here from the logits the fake engine gives. */
#include "support/scores_world.h"

#include "engine/engine_fake.h"
#include "engine/vector.h"
#include "model/zero_shot.h"

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

/* ---------------------------------------------------------------- by cosine, with settings */

static int setup_settings(void **state) {
    world_m1 = "dim=8,tokens=16,nan=1,zero_shot=1";
    return setup(state);
}

static int teardown_settings(void **state) {
    world_m1 = world_vectors;
    return teardown(state);
}

static void want_cosine(const char *text, const char *const *hypotheses, uint32_t n, bool multi,
                        float *scores) {
    float whole[WORLD_DIM], label[WORLD_DIM];
    world_vector(&world, WORLD_M1, view_of(text), ENGINE_CUT_RIGHT, 0, whole);
    for (uint32_t l = 0; l < n; l++) {
        world_vector(&world, WORLD_M1, view_of(hypotheses[l]), ENGINE_CUT_RIGHT, 0, label);
        scores[l] = vector_cosine(whole, label, WORLD_DIM);
    }
    classify_scores(&engine_fake_zero_shot, scores, n, multi, scores);
}

/* The settings' templates, by script; a request's own; and what is known from before: a template
 * that makes the same hypotheses is the same request. */
static void test_settings(void **state) {
    (void)state;
    static const struct {
        const char *name, *pattern, *labels[2], *hypotheses[2];
        uint32_t n;
        bool multi;
        enum wire_source source;
        uint32_t puts; /* vectors, and one for scores */
    } rows[] = {
        {"a template for each script",
         "",
         {"aa", "退款"},
         {"<aa>", "\"退款\""},
         2,
         false,
         WIRE_SOURCE_MODEL,
         4},
        {"known", "", {"aa", "退款"}, {"<aa>", "\"退款\""}, 2, false, WIRE_SOURCE_MEMORY, 0},
        {"the other script's is spelt out",
         "<{}>",
         {"aa", "退款"},
         {"<aa>", "<退款>"},
         2,
         false,
         WIRE_SOURCE_MODEL,
         2},
        {"that is known, too",
         "<{}>",
         {"aa", "退款"},
         {"<aa>", "<退款>"},
         2,
         false,
         WIRE_SOURCE_MEMORY,
         0},
        {"one script", "", {"aa", "b"}, {"<aa>", "<b>"}, 2, false, WIRE_SOURCE_MODEL, 2},
        {"the default is spelt out",
         "<{}>",
         {"aa", "b"},
         {"<aa>", "<b>"},
         2,
         false,
         WIRE_SOURCE_MEMORY,
         0},
        {"everybody else's default",
         "{}",
         {"aa", "b"},
         {"aa", "b"},
         2,
         false,
         WIRE_SOURCE_MODEL,
         3},
        {"one by one", "", {"aa", "b"}, {"<aa>", "<b>"}, 2, true, WIRE_SOURCE_MEMORY, 1},
        {"alone", "", {"aa"}, {"<aa>"}, 1, false, WIRE_SOURCE_MEMORY, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct view text = view_of("text"), labels[2];
        uint64_t puts = world.cache.puts;
        float scores[2];
        for (uint32_t l = 0; l < rows[i].n; l++)
            labels[l] = view_of(rows[i].labels[l]);
        classify(WORLD_M1,
                 &(struct wire_classify_request){.texts = &text,
                                                 .n_texts = 1,
                                                 .labels = labels,
                                                 .n_labels = rows[i].n,
                                                 .hypothesis_template = view_of(rows[i].pattern),
                                                 .multi_label = rows[i].multi});
        world_finish(&world);
        struct wire_classify_reply reply = seen_classify();
        want_cosine("text", rows[i].hypotheses, rows[i].n, rows[i].multi, scores);
        check_scores(&reply.results[0], scores, rows[i].n, rows[i].n);
        TEST_EQ(reply.facts.source[0], rows[i].source);
        TEST_EQ(world.cache.puts - puts, rows[i].puts);
    }
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_settings, setup_settings, teardown_settings),
        SCORES_TEST(test_nli),
        SCORES_TEST(test_packed),
        SCORES_TEST(test_shared_pairs),
        SCORES_TEST(test_own_labels),
        SCORES_TEST(test_rerank),
        SCORES_TEST(test_same_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
