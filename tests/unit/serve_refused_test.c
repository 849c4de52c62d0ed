/* serve_refused_test.c - requests to models with heads that cannot be served: what makes no sense,
 * what costs too much, bodies that are damaged. */
#include "support/scores_world.h"

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
    const struct CMUnitTest tests[] = {
        SCORES_TEST(test_classify_wrong),
        SCORES_TEST(test_rerank_wrong),
        SCORES_TEST(test_limits),
        SCORES_TEST(test_damaged_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
