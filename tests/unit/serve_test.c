/* serve_test.c - one request at a time: what each kind of request is answered, and from where. */
#include "support/serve_seen.h"

#include "engine/classify.h"
#include "engine/vector.h"

static void test_embed_wrong(void **state) {
    (void)state;
    texts_two[0] = view_of("short");
    texts_two[1] = view_of("a text of more than sixteen bytes");
    const struct {
        const char *name;
        struct wire_embed_request in;
        enum status status;
        uint32_t item;
        const char *part;
    } rows[] = {
        {"dimensions beyond the model's", {.dimensions = 9}, STATUS_INVALID_ARGUMENT, 0, "have 8"},
        {"a prompt it has not",
         {.prompt_name = view_of("query")},
         STATUS_INVALID_ARGUMENT,
         0,
         "no prompt of that name; it has none"},
        {"too long and not to be cut",
         {.truncate = WIRE_TRUNCATE_OFF},
         STATUS_INVALID_ARGUMENT,
         2,
         "35 tokens, 16 are allowed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_embed_request in = rows[i].in;
        in.texts = texts_two;
        in.n_texts = 2;
        embed(i, &in);
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        TEST_EQ(seen.nacks, 0);
        expect_error(rows[i].status, rows[i].item, rows[i].part);
        serve_check(world.serve);
    }
    TEST_ROW("a body that is no message");
    world.wire.bytes = 0;
    TEST_EQ(codec_embed_request_encode(
                &(struct wire_embed_request){.texts = texts_two, .n_texts = 2}, &world.wire),
            STATUS_OK);
    world.wire.bytes -= 3;
    dispatch(90, WIRE_TASK_EMBED, 0);
    TEST_EQ(seen.status, STATUS_INVALID_ARGUMENT);
    TEST_ROW("a task it does not do");
    dispatch(91, WIRE_TASK_RERANK, 0);
    expect_error(STATUS_UNIMPLEMENTED, 0,
                 "model 'm0' does not rerank; it can embed, classify, tokenize");
    asked_model = WORLD_SCORE;
    dispatch(92, WIRE_TASK_CLASSIFY, 0);
    expect_error(STATUS_UNIMPLEMENTED, 0,
                 "model 'score' does not classify; it can rerank, tokenize");
    TEST_TRUE(serve_idle(world.serve));
}

static void test_nan(void **state) {
    (void)state;
    texts_two[0] = view_of("fine");
    texts_two[1] = view_of("a NaN");
    embed(1, &(struct wire_embed_request){.texts = texts_two, .n_texts = 2});
    world_finish(&world);
    expect_error(STATUS_INTERNAL, 2, "no usable vector");
    TEST_EQ(world.cache.puts, 1); /* what was fine is kept all the same */
}

/* What took long is told, with where the client said it belongs and never with a text. */
static void test_slow(void **state) {
    (void)state;
    texts_one[0] = view_of("hello");
    struct wire_embed_request in = {
        .texts = texts_one, .n_texts = 1, .traceparent = view_of("00-trace-01")};
    embed(1, &in);
    world_finish(&world);
    TEST_EQ(seen_n_slow, 0);
    texts_one[0] = view_of("again");
    embed(2, &in);
    world_time(&world, SEEN_SLOW_US);
    world_finish(&world);
    TEST_EQ(seen_n_slow, 1);
    TEST_EQ(counter_get(&serve_stats(world.serve)->slow), 1);
    TEST_EQ(seen_slow.origin.ticket, 2);
    TEST_EQ(seen_slow.task, WIRE_TASK_EMBED);
    TEST_EQ(seen_slow.status, STATUS_OK);
    TEST_EQ(seen_slow.n_texts, 1);
    TEST_EQ(seen_slow.times.total_us, SEEN_SLOW_US);
    TEST_STR_EQ(seen_trace, "00-trace-01");
    texts_one[0] = view_of("once more");
    embed(3, &in);
    world_time(&world, 2 * SEEN_SLOW_US);
    serve_cancel(world.serve, 1, 3);
    TEST_EQ(seen_n_slow, 2);
    TEST_EQ(seen_slow.status, STATUS_CANCELLED);
    world_finish(&world);
}

/* Who gave the vector, by what is known of the text and how the cache is to be used. */
static void test_sources(void **state) {
    (void)state;
    texts_one[0] = view_of("hello");
    const struct {
        const char *name;
        enum wire_cache cache;
        bool redis_only, cut_short; /* max_tokens below the text's length */
        enum wire_source source;
        uint32_t puts; /* after it */
    } rows[] = {
        {"never seen", WIRE_CACHE_USE, false, false, WIRE_SOURCE_MODEL, 1},
        {"in memory", WIRE_CACHE_USE, false, false, WIRE_SOURCE_MEMORY, 1},
        {"in Redis", WIRE_CACHE_USE, true, false, WIRE_SOURCE_REDIS, 1},
        {"bypassed: neither read nor written", WIRE_CACHE_BYPASS, false, false, WIRE_SOURCE_MODEL,
         1},
        {"refreshed: not read, but written", WIRE_CACHE_REFRESH, false, false, WIRE_SOURCE_MODEL,
         2},
        {"cut by the request: nobody else's answer", WIRE_CACHE_USE, false, true, WIRE_SOURCE_MODEL,
         2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        for (uint32_t e = 0; e < world.cache.n; e++)
            world.cache.entry[e].in_memory = !rows[i].redis_only;
        embed(i, &(struct wire_embed_request){.texts = texts_one,
                                              .n_texts = 1,
                                              .cache = rows[i].cache,
                                              .max_tokens = rows[i].cut_short ? 5 : 0});
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        struct wire_embed_reply reply = seen_embed();
        TEST_EQ(reply.facts.source[0], rows[i].source);
        TEST_EQ(reply.facts.tokens[0], rows[i].cut_short ? 5 : 7);
        TEST_EQ(reply.facts.truncated[0], rows[i].cut_short);
        TEST_EQ(world.cache.puts, rows[i].puts);
        float full[WORLD_DIM], want[WORLD_DIM];
        world_vector(&world, 0, texts_one[0], ENGINE_CUT_RIGHT, rows[i].cut_short ? 5 : 0, full);
        vector_finish(full, WORLD_DIM, 0, world.models.model[0].info->normalize, want);
        TEST_MEM_EQ(reply.vectors.data, want, sizeof want);
    }
}

/* Two requests and one of them twice: computed once, told truthfully. */
static void test_shared(void **state) {
    (void)state;
    texts_two[0] = texts_two[1] = texts_one[0] = view_of("the same");
    embed(1, &(struct wire_embed_request){.texts = texts_two, .n_texts = 2});
    embed(2, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
    TEST_EQ(world.cache.n_wants, 1);
    world_answer(&world, 0);
    TEST_TRUE(world_fill(&world));
    TEST_EQ(world.batch[2].n, 1);
    world_run(&world, 2);
    TEST_EQ(seen.n, 2);
    const struct serve_stats *stats = serve_stats(world.serve);
    TEST_EQ(counter_get(&stats->misses), 1);
    TEST_EQ(counter_get(&stats->shared), 2);
    TEST_EQ(seen_embed().facts.source[0], WIRE_SOURCE_SHARED); /* the second request's */
}

static void classify(uint64_t ticket, const struct wire_classify_request *in) {
    TEST_EQ(codec_classify_request_encode(in, &world.wire), STATUS_OK);
    dispatch(ticket, WIRE_TASK_CLASSIFY, 0);
}

static void test_classify(void **state) {
    (void)state;
    const struct view labels[] = {view_of("b"), view_of("a"), view_of("c")};
    texts_two[0] = view_of("first");
    texts_two[1] = view_of("x a x");
    const struct {
        const char *name;
        struct wire_classify_request in;
        uint32_t hypotheses; /* texts the model is given: labels and texts it has not seen */
        enum wire_source source;
        uint32_t top;
    } rows[] = {
        {"all new", {.top_k = 0}, 5, WIRE_SOURCE_MODEL, 3},
        {"known", {.top_k = 2}, 0, WIRE_SOURCE_MEMORY, 2},
        {"scored one by one: vectors are known", {.multi_label = true}, 0, WIRE_SOURCE_MEMORY, 3},
        {"another template, other hypotheses",
         {.hypothesis_template = view_of("x {} x")},
         2,
         WIRE_SOURCE_MODEL,
         3},
        {"one label more than none", {.n_labels = 1}, 0, WIRE_SOURCE_MEMORY, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_classify_request in = rows[i].in;
        in.texts = texts_two;
        in.n_texts = 2;
        in.labels = labels;
        in.n_labels = in.n_labels ? in.n_labels : 3;
        uint64_t before = world.cache.puts;
        classify(i, &in);
        world_finish(&world);
        struct wire_classify_reply reply;
        TEST_EQ(seen.status, STATUS_OK);
        TEST_EQ(codec_classify_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
        TEST_EQ(reply.n_results, 2);
        TEST_EQ(reply.results[0].n, rows[i].top);
        TEST_EQ(reply.facts.source[0], rows[i].source);
        TEST_EQ(world.cache.puts - before,
                rows[i].hypotheses + (i == 1 ? 0 : 2)); /* a cls entry a text, when scored here */
        if (in.hypothesis_template.bytes) {
            TEST_EQ(reply.results[1].label[0], 1); /* the text is the hypothesis of "a" */
            TEST_TRUE(reply.results[1].score[0] > 0.9F);
        }
        for (uint32_t k = 1; k < reply.results[0].n; k++)
            TEST_TRUE(reply.results[0].score[k - 1] >= reply.results[0].score[k]);
    }
}

static void test_classify_wrong(void **state) {
    (void)state;
    texts_one[0] = view_of("x");
    const struct view labels[] = {view_of("fine"), view_of("a label of too many bytes")};
    classify(1, &(struct wire_classify_request){.texts = texts_one, .n_texts = 1});
    expect_error(STATUS_INVALID_ARGUMENT, 0, "model 'm0' has no labels of its own");
    /* Cutting the label is wrong for those who forbade it, also when others allowed it before. */
    for (uint64_t ticket = 2; ticket < 6; ticket++) {
        bool off = ticket % 2;
        classify(ticket, &(struct wire_classify_request){.texts = texts_one,
                                                         .n_texts = 1,
                                                         .labels = labels,
                                                         .n_labels = 2,
                                                         .truncate = off ? WIRE_TRUNCATE_OFF
                                                                         : WIRE_TRUNCATE_RIGHT});
        world_finish(&world);
        if (off)
            expect_error(STATUS_INVALID_ARGUMENT, 0, "label 2");
        else
            TEST_EQ(seen.status, STATUS_OK);
    }
    TEST_TRUE(serve_idle(world.serve));
}

static void test_tokenize(void **state) {
    (void)state;
    texts_two[0] = view_of("ab");
    texts_two[1] = view_of("twenty bytes of text");
    struct wire_tokenize_request in = {.texts = texts_two, .n_texts = 2, .pieces = true};
    TEST_EQ(codec_tokenize_request_encode(&in, &world.wire), STATUS_OK);
    dispatch(1, WIRE_TASK_TOKENIZE, 0);
    world_finish(&world);
    struct wire_tokenize_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_tokenize_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    TEST_EQ(reply.results[0].n_ids, 4);
    TEST_EQ(reply.results[0].ids[2], 'b');
    TEST_TRUE(view_equal(reply.results[0].pieces[1], view_of("a")));
    TEST_EQ(reply.results[1].n_ids, 16);
    TEST_EQ(reply.results[1].full, 22);
    TEST_EQ(reply.facts.truncated[1], 1);
    TEST_ROW("cancelled while a runner writes into it");
    dispatch(2, WIRE_TASK_TOKENIZE, 0);
    TEST_TRUE(world_fill(&world));
    serve_cancel(world.serve, 1, 2);
    serve_check(world.serve);
    TEST_EQ(seen.n, 2);
    world_finish(&world);
    TEST_EQ(seen.n, 2);
    serve_check(world.serve);
    TEST_ROW("too long and not to be cut");
    in.truncate = WIRE_TRUNCATE_OFF;
    TEST_EQ(codec_tokenize_request_encode(&in, &world.wire), STATUS_OK);
    dispatch(3, WIRE_TASK_TOKENIZE, 0);
    world_finish(&world);
    expect_error(STATUS_INVALID_ARGUMENT, 2, "the text has more than the 16 tokens");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_embed_wrong), TEST(test_nan),      TEST(test_slow),           TEST(test_sources),
        TEST(test_shared),      TEST(test_classify), TEST(test_classify_wrong), TEST(test_tokenize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
