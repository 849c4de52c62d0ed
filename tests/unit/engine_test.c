/* engine_test.c - the engine over a small published model (tests/data/golden), the fake engine,
 * and the self-check over engines that are broken on purpose. Whether vectors are right is
 * golden_test.c's. */
#include "engine/engine.h"

#include "base/hash.h"
#include "engine/engine_cpu.h"
#include "engine/engine_fake.h"
#include "engine/engine_ops.h"
#include "engine/vector.h"
#include "model/gemm.h"
#include "support/allocations.h"
#include "support/golden.h"

#include <pthread.h>

/* ---- the model
 * --------------------------------------------------------------------------------- */

#define MODEL GOLDEN_DIR "/bert-mean/f32"

enum { DIM = 96, DIM_MAX = 128, POSITIONS = 512, ITEMS = 64 };

static engine_t *engine;
static engine_seat_t *seat;

static void open_model(const char *dir, const char *kernel, engine_t **out) {
    struct err err;
    if (engine_open(dir, &(struct engine_options){.kernel = kernel}, out, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static void new_seat(const engine_t *of, uint32_t tokens, uint32_t items, engine_seat_t **out) {
    struct err err;
    if (engine_seat_new(of, tokens, items, out, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

/* The answer to one text alone. */
static struct engine_item ask(const char *text, enum engine_side side, uint32_t max_tokens,
                              float *vector) {
    struct engine_item item = {
        .text = view_of(text), .side = side, .max_tokens = max_tokens, .out = vector};
    engine_run(engine, seat, &item, 1, NULL);
    return item;
}

/* Largest difference of two vectors, as parts of the first one's length. */
static double apart(const float *a, const float *b, uint32_t n) {
    double worst = 0, squares = 0;
    for (uint32_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        squares += (double)a[i] * (double)a[i];
    }
    return worst / sqrt(squares);
}

static void test_info(void **state) {
    (void)state;
    const struct engine_info *info = engine_info(engine);
    TEST_STR_EQ(info->family, "bert");
    TEST_STR_EQ(info->pooling, "mean");
    TEST_STR_EQ(info->precision, "f32");
    TEST_EQ(info->dim, DIM);
    TEST_EQ(info->hidden, 96);
    TEST_EQ(info->layers, 3);
    TEST_EQ(info->heads, 12);
    TEST_EQ(info->inner, 384);
    TEST_EQ(info->vocab, 1600);
    TEST_EQ(info->max_tokens, 256); /* sentence_bert_config.json */
    TEST_EQ(info->max_positions, POSITIONS);
    TEST_TRUE(info->normalize);
    TEST_TRUE(info->tasks & ENGINE_TASK_EMBED);
    TEST_EQ(strlen(info->fingerprint), 64);
    TEST_EQ(strlen(info->fingerprint8), 8);
    TEST_EQ(strncmp(info->fingerprint, info->fingerprint8, 8), 0);
    TEST_TRUE(info->weight_bytes > 2 * 1000 * 1000); /* model.safetensors has 2.2 MB */
    char kernel[40];
    snprintf(kernel, sizeof kernel, "%s-f32", gemm_choose(GEMM_F32)->name);
    TEST_STR_EQ(info->kernel, kernel);
    TEST_EQ(info->n_prompts, 2); /* both empty in this model */
}

static void test_open_errors(void **state) {
    (void)state;
    static const struct {
        const char *name, *dir, *kernel;
        enum status want;
        const char *has;
    } rows[] = {
        {"no directory", GOLDEN_DIR "/nowhere", NULL, STATUS_NOT_FOUND, "nowhere"},
        {"no kernel", MODEL, "abacus", STATUS_INVALID_ARGUMENT, "portable"},
        {"no directory and no kernel", GOLDEN_DIR "/nowhere", "abacus", STATUS_INVALID_ARGUMENT,
         "'abacus' for f32"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct err err;
        engine_t *out = (engine_t *)1; /* must stay untouched */
        TEST_EQ(engine_open(rows[i].dir, &(struct engine_options){.kernel = rows[i].kernel}, &out,
                            &err),
                rows[i].want);
        TEST_TRUE(out == (engine_t *)1);
        TEST_HAS(err.text, rows[i].has);
    }
}

/* Over an open directory: taken when the options make sense, and not hashed again. */
static void test_open_dir(void **state) {
    (void)state;
    struct model_dir *dir = NULL;
    engine_t *out = NULL;
    struct err err;
    TEST_EQ(model_dir_open(MODEL, &dir, NULL), STATUS_OK);
    const struct model_dir *same = dir;
    TEST_EQ(engine_open_dir(&dir, &(struct engine_options){.kernel = "abacus"}, &out, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_TRUE(dir == same && !out);
    TEST_EQ(engine_open_dir(&dir, NULL, &out, &err), STATUS_OK);
    TEST_TRUE(!dir && engine_dir(out) == same && !same->weights);
    TEST_STR_EQ(engine_info(out)->fingerprint, engine_info(engine)->fingerprint);
    TEST_TRUE(tokenizer_lowercase(engine_tokenizer(out)));
    engine_destroy(&out);
}

static void test_precision_names(void **state) {
    (void)state;
    static const enum engine_precision all[] = {ENGINE_F32, ENGINE_BF16, ENGINE_I8};
    enum engine_precision got = ENGINE_I8;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        TEST_TRUE(engine_precision_parse(engine_precision_name(all[i]), &got));
        TEST_EQ(got, all[i]);
    }
    TEST_TRUE(!engine_precision_parse("f64", &got) && got == ENGINE_I8);
}

static void test_more_pieces_than_rows(void **state) {
    (void)state;
    struct golden_dir dir;
    struct err err;
    engine_t *out = NULL;
    size_t bytes;
    golden_make(&dir);
    golden_copy_tree(&dir, "formats/base", "");
    char *vocab = golden_read(GOLDEN_DIR "/formats/base/vocab.txt", &bytes);
    golden_write(&dir, "vocab.txt", vocab, bytes); /* 64 pieces for 64 rows: fits */
    TEST_EQ(engine_open(dir.path, NULL, &out, &err), STATUS_OK);
    engine_destroy(&out);
    vocab = realloc(vocab, bytes + 10);
    TEST_TRUE(vocab != NULL);
    memcpy(vocab + bytes, "onemore\n", 8);
    golden_write(&dir, "vocab.txt", vocab, bytes + 8);
    free(vocab);
    TEST_EQ(engine_open(dir.path, NULL, &out, &err), STATUS_DATA_LOSS);
    TEST_HAS(err.text, "vocab.txt");
    TEST_HAS(err.text, "65 pieces");
    golden_remove(&dir);
}

static void test_prompts(void **state) {
    (void)state;
    static const char config[] = "{\"prompts\": {\"query\": \"find: \", \"document\": \"\"}, "
                                 "\"default_prompt_name\": \"query\"}";
    struct golden_dir dir;
    engine_t *with = NULL;
    struct view name, text;
    golden_make(&dir);
    golden_copy_tree(&dir, "formats/base", "");
    golden_write(&dir, "config_sentence_transformers.json", config, strlen(config));
    open_model(dir.path, NULL, &with);
    golden_remove(&dir); /* an open engine needs its files no more */
    TEST_TRUE(engine_prompt(with, "query", &text) && view_equal(text, view_of("find: ")));
    TEST_TRUE(engine_prompt(with, "document", &text) && text.bytes == 0);
    TEST_TRUE(engine_prompt(with, NULL, &text) && view_equal(text, view_of("find: ")));
    text = view_of("untouched");
    TEST_TRUE(!engine_prompt(with, "passage", &text) && text.bytes == 9);
    TEST_EQ(engine_info(with)->n_prompts, 2);
    engine_prompt_at(with, 0, &name, &text);
    TEST_TRUE(view_equal(name, view_of("query")) && view_equal(text, view_of("find: ")));
    engine_destroy(&with);
    TEST_TRUE(engine_prompt(engine, NULL, &text) && text.bytes == 0); /* none is the default */
}

/* "the food was too wet" is a token a word in this vocabulary: see test_tokenize(). */
static void test_truncation(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        enum engine_side side;
        uint32_t max_tokens;
        enum status want;
        uint32_t tokens, full;
        const char *same_as; /* the vector is that of this text */
    } rows[] = {
        {"fits", "the food was", ENGINE_CUT_RIGHT, 0, STATUS_OK, 5, 5, "the food was"},
        {"fits exactly", "the food was", ENGINE_CUT_OFF, 5, STATUS_OK, 5, 5, "the food was"},
        {"right", "the food was", ENGINE_CUT_RIGHT, 4, STATUS_OK, 4, 5, "the food"},
        {"left", "the food was", ENGINE_CUT_LEFT, 4, STATUS_OK, 4, 5, "food was"},
        {"off", "the food was", ENGINE_CUT_OFF, 4, STATUS_OUT_OF_RANGE, 0, 5, NULL},
        {"nothing is left", "the food was", ENGINE_CUT_RIGHT, 2, STATUS_OK, 2, 5, ""},
        {"1 reads as 2", "the food was", ENGINE_CUT_LEFT, 1, STATUS_OK, 2, 5, ""},
        {"empty", "", ENGINE_CUT_OFF, 0, STATUS_OK, 2, 2, ""},
        {"blanks are empty", " \t\n ", ENGINE_CUT_OFF, 2, STATUS_OK, 2, 2, ""},
        {"more than there is", "the", ENGINE_CUT_OFF, 100000, STATUS_OK, 3, 3, "the"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float got[DIM], want[DIM];
        struct engine_item item = ask(rows[i].text, rows[i].side, rows[i].max_tokens, got);
        TEST_EQ(item.status, rows[i].want);
        TEST_EQ(item.tokens, rows[i].tokens);
        TEST_EQ(item.tokens_full, rows[i].full);
        if (!rows[i].same_as)
            continue;
        TEST_EQ(ask(rows[i].same_as, ENGINE_CUT_OFF, 0, want).status, STATUS_OK);
        TEST_MEM_EQ(got, want, sizeof want);
    }
}

static void test_own_limit(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum engine_side side;
        uint32_t max_tokens;
        enum status want;
        uint32_t tokens;
    } rows[] = {
        {"the published limit", ENGINE_CUT_RIGHT, 0, STATUS_OK, 256},
        {"off means that limit too", ENGINE_CUT_OFF, 0, STATUS_OUT_OF_RANGE, 0},
        {"more on request", ENGINE_CUT_RIGHT, 300, STATUS_OK, 300},
        {"never more than positions", ENGINE_CUT_LEFT, 8192, STATUS_OK, POSITIONS},
    };
    char text[4 * 1000 + 1] = "";
    for (int i = 0; i < 1000; i++)
        memcpy(text + 4 * i, "the ", 5);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float vector[DIM];
        struct engine_item item = ask(text, rows[i].side, rows[i].max_tokens, vector);
        TEST_EQ(item.status, rows[i].want);
        TEST_EQ(item.tokens, rows[i].tokens);
        TEST_EQ(item.tokens_full, 1002);
    }
}

static void test_tokenize(void **state) {
    (void)state;
    int32_t ids[8];
    uint32_t full = 0;
    struct view text = view_of("the food was");
    TEST_EQ(engine_tokenize(engine, text, ENGINE_CUT_OFF, ids, 8, &full), 5);
    TEST_EQ(full, 5);
    static const char *const pieces[] = {"[CLS]", "the", "food", "was", "[SEP]"};
    for (int i = 0; i < 5; i++)
        TEST_TRUE(view_equal(engine_piece(engine, ids[i]), view_of(pieces[i])));
    TEST_EQ(engine_piece(engine, -1).bytes, 0);
    TEST_EQ(engine_piece(engine, 1600).bytes, 0);
    TEST_EQ(engine_tokenize(engine, text, ENGINE_CUT_OFF, ids, 4, &full), 0);
    TEST_EQ(full, 5);
    TEST_EQ(engine_tokenize(engine, text, ENGINE_CUT_LEFT, ids, 3, NULL), 3);
    TEST_TRUE(view_equal(engine_piece(engine, ids[1]), view_of("was")));
    TEST_EQ(engine_estimate(engine, view_of("")), 2);
    char many[8001];
    memset(many, 'x', 8000);
    TEST_EQ(engine_estimate(engine, view_make(many, 8000)), 256); /* the model's limit */
    TEST_EQ(engine_estimate_upto(engine, view_make(many, 8000), 512), 512);
    TEST_EQ(engine_estimate_upto(engine, view_make(many, 8000), 1), 2);
    TEST_EQ(engine_estimate_upto(engine, view_make(many, 8000), UINT32_MAX), 1602);
}

/* n texts of 0 to 40 words, drawn from `seed`; a text is at most 400 bytes. */
enum { TEXT_ROOM = 400 };
static void draw_texts(uint64_t seed, uint32_t n, char (*texts)[TEXT_ROOM]) {
    static const char *const words[] = {"the ",  "soil ",    "Wheat, ", "was ", "too ", "WET! ",
                                        "café ", "farmers ", "水 ",     "7 ",   "xyz ", "planted "};
    for (uint32_t i = 0; i < n; i++) {
        size_t at = 0;
        texts[i][0] = '\0';
        for (uint32_t left = hash_below(&seed, 41); left; left--)
            at +=
                (size_t)snprintf(texts[i] + at, TEXT_ROOM - at, "%s", words[hash_below(&seed, 12)]);
    }
}

static void test_company_does_not_matter(void **state) {
    (void)state;
    static char texts[ITEMS][TEXT_ROOM];
    static float alone[ITEMS][DIM], together[ITEMS][DIM];
    struct engine_item items[ITEMS];
    draw_texts(11, ITEMS, texts);
    for (uint32_t i = 0; i < ITEMS; i++)
        TEST_EQ(ask(texts[i], ENGINE_CUT_RIGHT, 0, alone[i]).status, STATUS_OK);
    uint64_t seed = 12;
    for (int round = 0; round < 6; round++) {
        uint32_t n = round == 0 ? ITEMS : 1 + hash_below(&seed, ITEMS), all = 0;
        uint32_t which[ITEMS];
        for (uint32_t i = 0; i < n; i++) {
            which[i] = round == 0 ? i : hash_below(&seed, ITEMS);
            bool refuse = round > 0 && hash_below(&seed, 5) == 0; /* in the midst of the others */
            items[i] = (struct engine_item){.text = view_of(texts[which[i]]),
                                            .side = refuse ? ENGINE_CUT_OFF : ENGINE_CUT_RIGHT,
                                            .max_tokens = refuse ? 3 : 0,
                                            .out = together[i]};
        }
        struct engine_times times = {0};
        engine_run(engine, seat, items, n, &times);
        for (uint32_t i = 0; i < n; i++) {
            all += items[i].tokens;
            if (items[i].status == STATUS_OUT_OF_RANGE) {
                TEST_EQ(items[i].side, ENGINE_CUT_OFF);
                continue;
            }
            TEST_EQ(items[i].status, STATUS_OK);
            if (items[i].max_tokens == 0)
                TEST_TRUE(apart(alone[which[i]], together[i], DIM) < 2e-6);
        }
        TEST_TRUE(round > 0 || all > POSITIONS); /* so the first batch was run in parts */
        TEST_TRUE(times.infer_us > 0);
    }
    TEST_TRUE(apart(alone[0], alone[1], DIM) > 1e-3); /* and texts do differ */
}

/* Runners share one engine, each with a seat of its own. */
enum { RUNNERS = 3, RUNNER_TEXTS = 12 };

struct runner {
    pthread_t thread;
    engine_seat_t *seat;
    char (*texts)[TEXT_ROOM];
    float vectors[RUNNER_TEXTS][DIM];
};

static void *run_texts(void *arg) {
    struct runner *runner = arg;
    struct engine_item items[RUNNER_TEXTS];
    for (int round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < RUNNER_TEXTS; i++)
            items[i] =
                (struct engine_item){.text = view_of(runner->texts[i]), .out = runner->vectors[i]};
        engine_run(engine, runner->seat, items, RUNNER_TEXTS, NULL);
    }
    return NULL;
}

static void test_runners_share_an_engine(void **state) {
    (void)state;
    static char texts[RUNNER_TEXTS][TEXT_ROOM];
    static struct runner runners[RUNNERS];
    draw_texts(31, RUNNER_TEXTS, texts);
    for (int i = 0; i < RUNNERS; i++) {
        runners[i].texts = texts;
        new_seat(engine, 1, RUNNER_TEXTS, &runners[i].seat);
        TEST_EQ(pthread_create(&runners[i].thread, NULL, run_texts, &runners[i]), 0);
    }
    for (int i = 0; i < RUNNERS; i++) {
        TEST_EQ(pthread_join(runners[i].thread, NULL), 0);
        engine_seat_destroy(&runners[i].seat);
    }
    for (int i = 1; i < RUNNERS; i++) /* the same batch: the same bits */
        TEST_MEM_EQ(runners[i].vectors, runners[0].vectors, sizeof runners[0].vectors);
}

/* Batches of texts and pairs over one model: nothing is allocated. */
static void counted(const char *dir, enum engine_precision precision, const char *kernel,
                    char (*texts)[TEXT_ROOM], float (*vectors)[DIM_MAX]) {
    engine_t *with = NULL;
    engine_seat_t *sitting = NULL;
    struct err err;
    const struct engine_options options = {.precision = precision, .kernel = kernel};
    if (engine_open(dir, &options, &with, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    new_seat(with, 600, ITEMS, &sitting);
    TEST_TRUE(engine_info(with)->dim <= DIM_MAX);
    struct engine_item items[ITEMS];
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < ITEMS; i++)
            items[i] = (struct engine_item){.text = view_of(texts[i]),
                                            .second = view_of(texts[ITEMS - 1 - i]),
                                            .pair = (enum engine_pair)(i % 3),
                                            .out = vectors[i]};
        allocations = 0;
        counting = true;
        engine_run(with, sitting, items, ITEMS, NULL);
        counting = false;
        TEST_EQ(allocations, 0);
        TEST_EQ(items[ITEMS - 1].status, STATUS_OK);
    }
    engine_seat_destroy(&sitting);
    engine_destroy(&with);
}

static void test_no_allocation(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* one thread does it, and takes a minute */
#endif
    static char texts[ITEMS][TEXT_ROOM];
    static float vectors[ITEMS][DIM_MAX];
    draw_texts(21, ITEMS, texts);
    for (int p = 0; p < GEMM_PRECISIONS; p++)
        for (const struct gemm_kernel *const *k = gemm_list((enum gemm_precision)p); *k; k++) {
            if (!(*k)->usable())
                continue;
            TEST_ROW((*k)->name);
            counted(MODEL, (enum engine_precision)p, (*k)->name, texts, vectors);
        }
    static const char *const others[] = {"nli-zh/hf", "nomic/hf", "distilbert/hf"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char path[256];
        TEST_ROW(others[i]);
        snprintf(path, sizeof path, GOLDEN_DIR "/%s", others[i]);
        counted(path, ENGINE_F32, NULL, texts, vectors);
    }
    engine_seat_t *another = NULL;
    allocations = 0;
    counting = true; /* and the counter counts */
    new_seat(engine, 1, 1, &another);
    counting = false;
    TEST_TRUE(allocations > 0);
    engine_seat_destroy(&another);
}

/* Each allocation fails in turn, up to the one after the last; what was there before is given back
 * (ASan's leak check sees to that) and nothing is half open. */
static void no_memory(const char *dir) {
    unsigned refusals = 0;
    enum status st = STATUS_RESOURCE_EXHAUSTED;
    for (unsigned n = 1; st != STATUS_OK; n += n < 400 ? 1 : 37) { /* then pieces, all alike */
        TEST_TRUE(n < 20000);
        engine_t *out = NULL;
        engine_seat_t *sitting = NULL;
        struct err err = {0};
        allocations = 0;
        fail_at = n;
        counting = true;
        st = engine_open(dir, NULL, &out, &err);
        if (st == STATUS_OK)
            st = engine_seat_new(out, 512, 8, &sitting, &err);
        if (st == STATUS_OK)
            st = engine_self_check(out, sitting, &err);
        counting = false;
        refusals += st != STATUS_OK;
        if (st != STATUS_OK && st != STATUS_RESOURCE_EXHAUSTED)
            TEST_FAIL("allocation %u: %s: %s", n, status_name(st), err.text);
        engine_seat_destroy(&sitting);
        engine_destroy(&out);
    }
    fail_at = 0;
    TEST_TRUE(refusals >
              20); /* so the allocations of loader, tokenizer and encoder were among them */
}

static void test_no_memory(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* one thread does it, and takes a minute */
#endif
    no_memory(GOLDEN_DIR "/formats/base");
    no_memory(GOLDEN_DIR "/cls-head/softmax"); /* with the names of labels */
}

static void test_nan_is_no_vector(void **state) {
    (void)state;
    struct golden_dir dir;
    size_t bytes;
    golden_make(&dir);
    golden_copy_tree(&dir, "formats/base", "");
    char *file = golden_read(GOLDEN_DIR "/formats/base/model.safetensors", &bytes);
    uint64_t header;
    memcpy(&header, file, 8);
    const float huge = 3e38f; /* each weight is finite, what comes of them is not */
    for (size_t at = 8 + header; at + 4 <= bytes; at += 4)
        memcpy(file + at, &huge, 4);
    golden_write(&dir, "model.safetensors", file, bytes);
    free(file);
    engine_t *broken = NULL;
    engine_seat_t *sitting = NULL;
    open_model(dir.path, NULL, &broken);
    golden_remove(&dir);
    new_seat(broken, 1, 4, &sitting);
    float vectors[2][16];
    struct engine_item items[2] = {{.text = view_of("hello"), .out = vectors[0]},
                                   {.text = view_of(""), .out = vectors[1]}};
    engine_run(broken, sitting, items, 2, NULL);
    TEST_EQ(items[0].status, STATUS_INTERNAL);
    TEST_EQ(items[1].status, STATUS_INTERNAL);
    struct err err;
    TEST_EQ(engine_self_check(broken, sitting, &err), STATUS_INTERNAL);
    engine_seat_destroy(&sitting);
    engine_destroy(&broken);
}

/* ---- self-check
 * ---------------------------------------------------------------------------------- */

enum flaw { NONE, ZERO, NOT_FINITE, REFUSES, COMPANY, A_LITTLE };
static enum flaw flaw;

static void flawed_run(const engine_t *self, engine_seat_t *unused, struct engine_item *items,
                       uint32_t n, struct engine_times *times) {
    (void)unused, (void)times;
    for (uint32_t i = 0; i < n; i++) {
        items[i].status = flaw == REFUSES && n > 1 ? STATUS_INTERNAL : STATUS_OK;
        for (uint32_t j = 0; j < self->info.dim; j++)
            items[i].out[j] = flaw == ZERO                ? 0
                              : flaw == NOT_FINITE        ? NAN
                              : flaw == COMPANY && n == 2 ? (float)(j + 7 * i)
                              : flaw == A_LITTLE && n > 1 ? (float)j + 0.02f
                                                          : (float)j;
    }
}

static void test_self_check(void **state) {
    (void)state;
    struct err err;
    TEST_EQ(engine_self_check(engine, seat, &err), STATUS_OK);
    static const struct {
        const char *name;
        enum flaw flaw;
        enum engine_head head;
        const char *precision;
        enum status want;
        const char *has;
    } rows[] = {
        {"sound", NONE, ENGINE_HEAD_NONE, "f32", STATUS_OK, ""},
        {"zero", ZERO, ENGINE_HEAD_NONE, "f32", STATUS_INTERNAL, "length 0"},
        {"NaN", NOT_FINITE, ENGINE_HEAD_NONE, "f32", STATUS_INTERNAL, "length"},
        {"refuses in company", REFUSES, ENGINE_HEAD_NONE, "f32", STATUS_INTERNAL, "gives INTERNAL"},
        {"depends on company", COMPANY, ENGINE_HEAD_NONE, "f32", STATUS_INTERNAL, "cosine"},
        {"so does a logit", COMPANY, ENGINE_HEAD_NLI, "i8", STATUS_INTERNAL, "differs by 7"},
        {"a little", A_LITTLE, ENGINE_HEAD_SCORE, "f32", STATUS_INTERNAL, "differs by 0.02"},
        {"a little of int8", A_LITTLE, ENGINE_HEAD_SCORE, "i8", STATUS_OK, ""},
        {"a little of int8 vectors", A_LITTLE, ENGINE_HEAD_NONE, "i8", STATUS_OK, ""},
        {"zero logits are logits", ZERO, ENGINE_HEAD_LABELS, "f32", STATUS_OK, ""},
        {"NaN logits are not", NOT_FINITE, ENGINE_HEAD_LABELS, "i8", STATUS_INTERNAL, "logit 0"},
    };
    static const struct engine_ops ops = {.run = flawed_run};
    struct engine flawed = {.ops = &ops, .info = {.dim = 8, .layers = 1, .max_tokens = 16}};
    struct engine_seat room = {.engine = &flawed, .max_items = 2}; /* less than the texts */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        flaw = rows[i].flaw;
        flawed.info.head = rows[i].head;
        snprintf(flawed.info.precision, sizeof flawed.info.precision, "%s", rows[i].precision);
        err.text[0] = '\0';
        TEST_EQ(engine_self_check(&flawed, &room, &err), rows[i].want);
        TEST_HAS(err.text, rows[i].has);
    }
}

/* ---- the fake engine
 * ----------------------------------------------------------------------------- */

static void test_fake(void **state) {
    (void)state;
    engine_t *fake = NULL;
    engine_seat_t *sitting = NULL;
    struct err err;
    TEST_EQ(engine_fake_open("dim=5,tokens=6,nan=1,us=200", &fake, &err), STATUS_OK);
    TEST_EQ(engine_info(fake)->dim, 5);
    TEST_EQ(engine_info(fake)->max_tokens, 6);
    new_seat(fake, 1, 8, &sitting);
    TEST_EQ(engine_self_check(fake, sitting, &err), STATUS_OK);
    float v[6][5];
    struct engine_item items[6] = {
        {.text = view_of("abcdef"), .out = v[0]},
        {.text = view_of("abcd"), .out = v[1]},
        {.text = view_of("abcdef"), .side = ENGINE_CUT_LEFT, .out = v[2]},
        {.text = view_of("cdef"), .out = v[3]},
        {.text = view_of("abcdef"), .side = ENGINE_CUT_OFF, .out = v[4]},
        {.text = view_of("NaN"), .out = v[5]},
    };
    struct engine_times times = {0};
    engine_run(fake, sitting, items, 6, &times);
    TEST_MEM_EQ(v[0], v[1], sizeof v[0]); /* cut to the same bytes */
    TEST_MEM_EQ(v[2], v[3], sizeof v[0]);
    TEST_TRUE(memcmp(v[0], v[2], sizeof v[0]) != 0);
    TEST_EQ(items[0].tokens, 6);
    TEST_EQ(items[0].tokens_full, 8);
    TEST_EQ(items[4].status, STATUS_OUT_OF_RANGE);
    TEST_EQ(items[5].status, STATUS_INTERNAL);
    TEST_TRUE(times.infer_us >= 5 * 200); /* five texts were run */
    int32_t ids[6];
    uint32_t full;
    TEST_EQ(engine_tokenize(fake, view_of("ab"), ENGINE_CUT_OFF, ids, 6, &full), 4);
    TEST_TRUE(view_equal(engine_piece(fake, ids[1]), view_of("a")));
    TEST_TRUE(view_equal(engine_piece(fake, ids[3]), view_of("[SEP]")));
    engine_seat_destroy(&sitting);
    engine_destroy(&fake);
    static const char *const bad[] = {"dim",   "dim=",      "dim=0", "dim=5x",  "rows=3",
                                      "us=-1", "dim=99999", "=5",    "dim=4,,", "tokens=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ROW(bad[i]);
        TEST_EQ(engine_fake_open(bad[i], &fake, &err), STATUS_INVALID_ARGUMENT);
        TEST_TRUE(fake == NULL);
    }
}

static int set_up(void **state) {
    (void)state;
    open_model(MODEL, NULL, &engine);
    new_seat(engine, 1, ITEMS, &seat); /* raised to the longest sequence */
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    engine_seat_destroy(&seat);
    engine_destroy(&engine);
    engine_seat_destroy(&seat); /* NULL is fine */
    engine_destroy(&engine);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_open_dir),
        cmocka_unit_test(test_precision_names),
        cmocka_unit_test(test_more_pieces_than_rows),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_own_limit),
        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_company_does_not_matter),
        cmocka_unit_test(test_runners_share_an_engine),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_nan_is_no_vector),
        cmocka_unit_test(test_self_check),
        cmocka_unit_test(test_fake),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
