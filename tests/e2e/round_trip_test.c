/* round_trip_test.c - everything a caller can ask, through the real programs: libember,
 * ember-broker, ember-worker on the golden models, redis-server. Numbers are judged by published
 * answers, by md5sum, or by what follows from other numbers; never by what the programs gave last
 * time. */
#include "support/by_hand.h"
#include "support/golden.h"
#include "support/rig.h"

#include "base/clock.h"
#include "engine/vector.h"

enum { MEAN_DIM = 96, ZH_DIM = 64, ROW_TEXTS = 16, WAIT_MS = 5000, LARGE = 1000 };

#define MEAN_DIR GOLDEN_DIR "/bert-mean/f32"
#define ZH_DIR   GOLDEN_DIR "/bert-cls-zh/hf"

static struct rig rig;
static ember_t *client;

/* One call that must succeed. */
static ember_result_t *embed(const char *const *texts, size_t n,
                             const struct ember_embed_options *options) {
    ember_result_t *result = NULL;
    struct ember_error error;
    if (ember_embed(client, texts, n, options, &result, &error) != EMBER_OK)
        TEST_FAIL("embed: %s: %s", ember_status_name(error.status), error.message);
    TEST_EQ(ember_result_count(result), n);
    return result;
}

static struct ember_embed_options options_of(const char *model) {
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.model = model;
    return options;
}

/* The first text's row and source; the result is gone afterwards. */
static enum ember_source embed_one(const char *text, const struct ember_embed_options *options,
                                   float row[MEAN_DIM]) {
    ember_result_t *result = embed(&text, 1, options);
    TEST_EQ(ember_result_dim(result), MEAN_DIM);
    memcpy(row, ember_result_floats(result, 0), MEAN_DIM * sizeof *row);
    enum ember_source source = ember_result_source(result, 0);
    ember_result_destroy(&result);
    return source;
}

/* One call that must fail in this way. */
static struct ember_error refused(const char *const *texts, size_t n,
                                  const struct ember_embed_options *options, enum ember_status want,
                                  int64_t item) {
    ember_result_t *result = NULL;
    struct ember_error error;
    enum ember_status st = ember_embed(client, texts, n, options, &result, &error);
    if (st != want)
        TEST_FAIL("%s, want %s: %s", ember_status_name(st), ember_status_name(want),
                  st == EMBER_OK ? "" : error.message);
    TEST_TRUE(result == NULL);
    TEST_EQ(error.status, want);
    TEST_EQ(error.item, item);
    TEST_TRUE(error.message[0] != '\0');
    return error;
}

/* -------------------------------------------------------------------------------- published
 * answers */

/* A row of cases.jsonl, when it is about `id`: vectors within 1e-5 (1e-4 when not normalised, as
 * the README there says), and the token ids. */
struct golden_row {
    const char *id, *model;
    uint32_t n;
};

static void check_ids(const json_t *row, const char *model, const char *const *texts, size_t n) {
    struct ember_tokenize_options options = EMBER_TOKENIZE_OPTIONS_INIT;
    options.model = model;
    ember_result_t *result = NULL;
    struct ember_error error;
    if (ember_tokenize(client, texts, n, &options, &result, &error) != EMBER_OK)
        TEST_FAIL("tokenize: %s", error.message);
    const json_t *want = json_first(json_get(row, "ids")),
                 *full = json_first(json_get(row, "n_full"));
    for (size_t i = 0; i < n; i++, want = json_next(want), full = json_next(full)) {
        const uint32_t *ids;
        uint64_t n_full = 0, id = 0;
        TEST_EQ(ember_result_ids(result, i, &ids), json_size(want));
        json_u64(full, &n_full);
        TEST_EQ(ember_result_full(result, i), n_full);
        for (const json_t *m = json_first(want); m; m = json_next(m), ids++) {
            json_u64(m, &id);
            TEST_EQ(*ids, id);
        }
    }
    ember_result_destroy(&result);
}

static void check_golden(const json_t *row, void *arg) {
    struct golden_row *about = arg;
    bool mine = false, normalize = true;
    for (const json_t *m = json_first(json_get(row, "model")); m; m = json_next(m))
        mine |= strcmp(json_text(m), about->id) == 0;
    if (!mine || strcmp(json_text(json_get(row, "kind")), "embed") != 0)
        return;
    TEST_ROW(json_text(json_get(row, "id")));
    const char *texts[ROW_TEXTS];
    size_t n = 0;
    for (const json_t *m = json_first(json_get(row, "texts")); m; m = json_next(m)) {
        TEST_TRUE(n < ROW_TEXTS);
        texts[n++] = json_text(m);
    }
    uint64_t max_tokens = 0;
    bool cut = json_u64(json_get(row, "max_length"), &max_tokens);
    json_bool(json_get(row, "normalize"), &normalize);
    struct ember_embed_options options = options_of(about->model);
    options.max_tokens = (uint32_t)max_tokens;
    options.normalize = normalize ? EMBER_NORMALIZE_MODEL : EMBER_NORMALIZE_NO;
    ember_result_t *result = embed(texts, n, &options);
    const json_t *out = json_first(json_get(row, "out"));
    for (size_t i = 0; i < n; i++, out = json_next(out)) {
        const float *got = ember_result_floats(result, i);
        double want;
        TEST_EQ(ember_result_dim(result), json_size(out));
        for (const json_t *m = json_first(out); m; m = json_next(m), got++) {
            json_f64(m, &want);
            TEST_NEAR(*got, want, normalize ? 1e-5 : 1e-4);
        }
    }
    ember_result_destroy(&result);
    if (!cut)
        check_ids(row, about->model, texts, n);
    about->n++;
}

static void test_published_answers(void **state) {
    (void)state;
    struct golden_row mean = {.id = "bert-mean/f32", .model = "mean"};
    struct golden_row zh = {.id = "bert-cls-zh/hf", .model = "zh"};
    golden_each("bert-mean/cases.jsonl", check_golden, &mean);
    golden_each("bert-cls-zh/cases.jsonl", check_golden, &zh);
    TEST_EQ(mean.n, 35);
    TEST_EQ(zh.n, 29);
}

/* --------------------------------------------------------------------------------------------
 * cache */

/* What `md5sum` says of these bytes. */
/* The key that a person computes for it: ember:<model>@<fingerprint8>:<kind>:<md5>. */
static void key_by_hand(const char *model, const char *kind, const char *bytes, char out[256]) {
    struct ember_model about = EMBER_MODEL_INIT;
    struct ember_error error;
    char md5[33];
    md5_by_hand(bytes, md5);
    if (ember_describe(client, model, EMBER_TASK_EMBED, 0, &about, &error) != EMBER_OK)
        TEST_FAIL("describe: %s", error.message);
    TEST_EQ(strlen(about.fingerprint), 64);
    snprintf(out, 256, "ember:%s@%.8s:%s:%s", model, about.fingerprint, kind, md5);
}

/* Entries are written behind the answer's back: wait for it. */
static void wait_for_key(const char *key) {
    char reply[64] = "";
    for (uint64_t end_us = clock_us() + WAIT_MS * 1000; strcmp(reply, ":1") != 0; usleep(2000)) {
        if (clock_us() > end_us)
            TEST_FAIL("Redis does not hold %s", key);
        redis_ask(&rig.redis, reply, sizeof reply, "EXISTS", key, NULL);
    }
}

static void restart_worker(void) {
    proc_drain(&rig.worker[0], WAIT_MS * PROC_SLOW);
    rig_start_worker(&rig, 0);
    rig_wait_workers(&rig, 1, 2 * WAIT_MS * PROC_SLOW);
}

/* What was asked before is in Redis, and a worker that has just started asks there; on a busy
 * machine 10 ms may not be enough for that, so a few have a try. */
static enum ember_source
embed_after_restart(const char *text, const struct ember_embed_options *options, float *out) {
    for (int i = 0; i < 10; i++) {
        restart_worker();
        if (embed_one(text, options, out) == EMBER_SOURCE_REDIS)
            return EMBER_SOURCE_REDIS;
    }
    return EMBER_SOURCE_MODEL;
}

static void test_cache(void **state) {
    (void)state;
    static const char text[] = "Where is my parcel? 我的包裹在哪里?";
    struct ember_embed_options use = options_of("mean"), bypass = use, refresh = use;
    bypass.cache = EMBER_CACHE_BYPASS;
    refresh.cache = EMBER_CACHE_REFRESH;
    float first[MEAN_DIM], again[MEAN_DIM];
    char key[256], head[128], want[64];

    TEST_EQ(embed_one(text, &bypass, again), EMBER_SOURCE_MODEL);
    TEST_EQ(embed_one(text, &use, first), EMBER_SOURCE_MODEL);
    TEST_MEM_EQ(first, again, sizeof first);
    TEST_EQ(embed_one(text, &use, again), EMBER_SOURCE_MEMORY);
    TEST_MEM_EQ(first, again, sizeof first);
    TEST_EQ(embed_one(text, &bypass, again), EMBER_SOURCE_MODEL);
    TEST_MEM_EQ(first, again, sizeof first);

    key_by_hand("mean", "emb", text, key);
    wait_for_key(key);
    TEST_EQ(redis_ask(&rig.redis, head, sizeof head, "GETRANGE", key, "0", "95", NULL), 96);
    snprintf(want, sizeof want, "ember1 emb dim=%d type=f32 tokens=", MEAN_DIM);
    TEST_HAS(head, want);
    TEST_HAS(head, " truncated=0 sha=");
    TEST_EQ(head[95], '\n');

    TEST_EQ(embed_after_restart(text, &use, again), EMBER_SOURCE_REDIS);
    TEST_MEM_EQ(first, again, sizeof first);
    TEST_EQ(embed_one(text, &use, again), EMBER_SOURCE_MEMORY);
    TEST_EQ(embed_one(text, &refresh, again), EMBER_SOURCE_MODEL);
    TEST_MEM_EQ(first, again, sizeof first);

    /* A damaged entry is a miss, and is mended by the answer. */
    restart_worker();
    redis_ask(&rig.redis, head, sizeof head, "SETRANGE", key, "100", "xyz", NULL);
    TEST_EQ(embed_one(text, &use, again), EMBER_SOURCE_MODEL);
    TEST_MEM_EQ(first, again, sizeof first);
}

static void test_prefix_is_part_of_the_key(void **state) {
    (void)state;
    struct ember_embed_options plain = options_of("mean"), with_prefix = plain;
    with_prefix.prompt_prefix = "query: ";
    float a[MEAN_DIM], b[MEAN_DIM];
    TEST_EQ(embed_one("a refund", &with_prefix, a), EMBER_SOURCE_MODEL);
    TEST_EQ(embed_one("query: a refund", &plain, b), EMBER_SOURCE_MEMORY);
    TEST_MEM_EQ(a, b, sizeof a);
}

static void test_same_text_twice(void **state) {
    (void)state;
    const char *texts[] = {"the very same words", "other words", "the very same words"};
    struct ember_embed_options options = options_of("mean");
    ember_result_t *result = embed(texts, 3, &options);
    TEST_EQ(ember_result_source(result, 0), EMBER_SOURCE_MODEL);
    TEST_EQ(ember_result_source(result, 1), EMBER_SOURCE_MODEL);
    TEST_EQ(ember_result_source(result, 2), EMBER_SOURCE_SHARED);
    TEST_MEM_EQ(ember_result_row(result, 0), ember_result_row(result, 2),
                ember_result_row_bytes(result));
    ember_result_destroy(&result);
}

/* A request may ask for more tokens than the model publishes (256 of 512 positions); what it gets
 * is nobody else's answer. */
static void test_beyond_the_published_limit(void **state) {
    (void)state;
    static char text[2 * 400 + 1];
    for (size_t i = 0; i < 400; i++)
        memcpy(text + 2 * i, "a ", 3);
    const char *texts[] = {text};
    static const struct {
        const char *name;
        uint32_t asked, tokens;
        bool truncated;
    } rows[] = {{"more", 512, 402, false},
                {"the published limit", 0, 256, true},
                {"more, after the limit's answer is cached", 512, 402, false},
                {"beyond the positions: brought into them", 9999, 402, false},
                {"less", 10, 10, true},
                {"the limit again", 0, 256, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct ember_embed_options options = options_of("mean");
        options.max_tokens = rows[i].asked;
        ember_result_t *result = embed(texts, 1, &options);
        TEST_EQ(ember_result_tokens(result, 0), rows[i].tokens);
        TEST_EQ(ember_result_truncated(result, 0), rows[i].truncated);
        ember_result_destroy(&result);
    }
}

/* ------------------------------------------------------------------------------------ forms of a
 * row */

static void test_encodings(void **state) {
    (void)state;
    const char *texts[] = {"one way or another", "我想预订两张下周五去北京的高铁票。"};
    struct ember_embed_options options = options_of("mean");
    ember_result_t *plain = embed(texts, 2, &options);
    static const struct {
        enum ember_encoding public;
        enum vector_encoding ours;
        size_t row_bytes;
    } rows[] = {{EMBER_F16, VECTOR_F16, 2 * MEAN_DIM},
                {EMBER_I8, VECTOR_I8, 4 + MEAN_DIM},
                {EMBER_BIT, VECTOR_BIT, MEAN_DIM / 8}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        options.encoding = rows[k].public;
        ember_result_t *result = embed(texts, 2, &options);
        TEST_EQ(ember_result_encoding(result), rows[k].public);
        TEST_EQ(ember_result_row_bytes(result), rows[k].row_bytes);
        TEST_EQ(ember_result_dim(result), MEAN_DIM);
        TEST_TRUE(ember_result_floats(result, 0) == NULL);
        for (size_t i = 0; i < 2; i++) {
            uint8_t want[4 * MEAN_DIM];
            vector_encode(ember_result_floats(plain, i), MEAN_DIM, rows[k].ours, want);
            TEST_MEM_EQ(ember_result_row(result, i), want, rows[k].row_bytes);
        }
        ember_result_destroy(&result);
    }
    ember_result_destroy(&plain);
}

static void test_dimensions(void **state) {
    (void)state;
    const char *text = "as many numbers as you like";
    struct ember_embed_options options = options_of("mean");
    options.normalize = EMBER_NORMALIZE_NO;
    ember_result_t *full = embed(&text, 1, &options);
    const uint32_t dims[] = {1, 32, MEAN_DIM};
    for (size_t k = 0; k < 3; k++) {
        float want[MEAN_DIM];
        options.dimensions = dims[k];
        options.normalize = EMBER_NORMALIZE_YES;
        ember_result_t *result = embed(&text, 1, &options);
        TEST_EQ(ember_result_dim(result), dims[k]);
        vector_finish(ember_result_floats(full, 0), MEAN_DIM, dims[k], true, want);
        for (uint32_t i = 0; i < dims[k]; i++)
            TEST_NEAR(ember_result_floats(result, 0)[i], want[i], 1e-6);
        ember_result_destroy(&result);
    }
    ember_result_destroy(&full);
    options.dimensions = MEAN_DIM + 1;
    refused(&text, 1, &options, EMBER_INVALID_ARGUMENT, -1);
}

static void test_tokens_and_truncation(void **state) {
    (void)state;
    char words[4096] = "";
    for (size_t n = 0; n + 8 < sizeof words; n += 5)
        memcpy(words + n, "word ", 6);
    const char *texts[] = {"short", words};
    struct ember_embed_options options = options_of("mean");
    ember_result_t *right = embed(texts, 2, &options);
    TEST_EQ(ember_result_truncated(right, 0), 0);
    TEST_EQ(ember_result_truncated(right, 1), 1);
    TEST_TRUE(ember_result_tokens(right, 0) >= 3);
    options.max_tokens = 16;
    options.truncate = EMBER_TRUNCATE_LEFT;
    ember_result_t *left = embed(texts, 2, &options);
    TEST_EQ(ember_result_tokens(left, 1), 16);
    TEST_EQ(ember_result_truncated(left, 1), 1);
    ember_result_destroy(&left);
    ember_result_destroy(&right);
}

/* --------------------------------------------------------------------------------------------
 * labels */

static const char *const labels[] = {"投诉", "咨询", "建议"};

static ember_result_t *classify(const char *text, const char *const *of, size_t n,
                                const struct ember_classify_options *options) {
    ember_result_t *result = NULL;
    struct ember_error error;
    if (ember_classify(client, &text, 1, of, n, options, &result, &error) != EMBER_OK)
        TEST_FAIL("classify: %s: %s", ember_status_name(error.status), error.message);
    return result;
}

/* Scores by label name from vectors that ember_embed() gives. */
static void expected_scores(const char *text, bool multi, double want[3]) {
    const char *texts[] = {text, labels[0], labels[1], labels[2]};
    struct ember_embed_options options = options_of("zh");
    ember_result_t *result = embed(texts, 4, &options);
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        double cosine = vector_cosine(ember_result_floats(result, 0),
                                      ember_result_floats(result, (size_t)i + 1), ZH_DIM);
        want[i] = multi ? (cosine < 0 ? 0 : cosine) : exp(cosine / 0.05);
        sum += want[i];
    }
    for (int i = 0; i < 3 && !multi; i++)
        want[i] /= sum;
    ember_result_destroy(&result);
}

/* best first; scores[i] belongs to labels[i] whatever the order of `of` was. */
static void scores_of(const ember_result_t *result, double scores[3]) {
    const struct ember_score *list;
    TEST_EQ(ember_result_scores(result, 0, &list), 3);
    for (int i = 0; i < 3; i++) {
        TEST_TRUE(i == 0 || list[i - 1].score >= list[i].score);
        for (int k = 0; k < 3; k++)
            if (strcmp(ember_result_label(result, list[i].label), labels[k]) == 0)
                scores[k] = list[i].score;
    }
}

static void test_classify(void **state) {
    (void)state;
    static const char text[] = "你们的快递太慢了，我要退货！";
    const char *const turned[] = {labels[2], labels[0], labels[1]};
    struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
    options.model = "zh";
    for (int multi = 0; multi < 2; multi++) {
        double want[3], got[3], again[3];
        options.multi_label = multi;
        ember_result_t *result = classify(text, labels, 3, &options);
        TEST_EQ(ember_result_source(result, 0), multi ? EMBER_SOURCE_MEMORY : EMBER_SOURCE_MODEL);
        scores_of(result, got);
        ember_result_destroy(&result);
        expected_scores(text, multi, want);
        for (int i = 0; i < 3; i++)
            TEST_NEAR(got[i], want[i], 2e-5);
        result = classify(text, turned, 3, &options); /* the same entry, whatever the order */
        TEST_EQ(ember_result_source(result, 0), EMBER_SOURCE_MEMORY);
        scores_of(result, again);
        TEST_MEM_EQ(got, again, sizeof got);
        ember_result_destroy(&result);
    }
    char key[256], value[1024];
    key_by_hand("zh", "cls", "你们的快递太慢了，我要退货！::咨询,建议,投诉", key);
    wait_for_key(key);
    TEST_TRUE(redis_ask(&rig.redis, value, sizeof value, "GET", key, NULL) > 96);
    TEST_HAS(value, "ember1 cls labels=3 tokens=");
    TEST_HAS(value + 96, "{\"咨询\":0.");

    options.multi_label = 0;
    options.top_k = 1;
    ember_result_t *best = NULL;
    for (int i = 0; i < 10; i++) { /* see embed_after_restart() */
        ember_result_destroy(&best);
        restart_worker();
        best = classify(text, labels, 3, &options);
        if (ember_result_source(best, 0) == EMBER_SOURCE_REDIS)
            break;
    }
    const struct ember_score *list;
    TEST_EQ(ember_result_source(best, 0), EMBER_SOURCE_REDIS);
    TEST_EQ(ember_result_scores(best, 0, &list), 1);
    ember_result_destroy(&best);
}

/* ------------------------------------------------------------------------------------------
 * refusals */

static void test_refusals(void **state) {
    (void)state;
    const char *texts[130];
    for (size_t i = 0; i < 130; i++)
        texts[i] = "fine";
    char words[4096] = "";
    for (size_t n = 0; n + 8 < sizeof words; n += 5)
        memcpy(words + n, "word ", 6);
    struct ember_embed_options options = options_of("mean");
    options.truncate = EMBER_TRUNCATE_OFF;
    texts[100] = words; /* not in the first request */
    struct ember_error error = refused(texts, 130, &options, EMBER_INVALID_ARGUMENT, 100);
    if (strstr(error.message, "word word"))
        TEST_FAIL("a message with the caller's text: %s", error.message);
    options.truncate = EMBER_TRUNCATE_RIGHT;
    texts[100] = "\xc3(";
    refused(texts, 130, &options, EMBER_INVALID_ARGUMENT, 100);
    texts[100] = "fine";

    options.prompt_name = "no-such-prompt";
    error = refused(texts, 3, &options, EMBER_INVALID_ARGUMENT, -1);
    TEST_HAS(error.message, "prompt");
    options = options_of("no-such-model");
    options.timeout_ms = 20000 * PROC_SLOW;
    error = refused(texts, 3, &options, EMBER_NOT_FOUND, -1);
    TEST_HAS(error.message, "no-such-model");
    TEST_EQ(error.may_have_run, 0);
    options = options_of("not a name");
    refused(texts, 1, &options, EMBER_INVALID_ARGUMENT, -1);
    options = options_of("mean");
    options.max_tokens = 1;
    refused(texts, 1, &options, EMBER_INVALID_ARGUMENT, -1);
    refused(texts, 0, NULL, EMBER_INVALID_ARGUMENT, -1);
}

/* U+0000 is a character like others when the length says so. */
static void test_text_with_nul(void **state) {
    (void)state;
    const char *texts[] = {"one\0two", "one\0two"};
    const size_t lengths[] = {7, 3};
    struct ember_embed_options options = options_of("mean");
    options.text_bytes = lengths;
    ember_result_t *result = embed(texts, 2, &options);
    TEST_TRUE(ember_result_tokens(result, 0) > ember_result_tokens(result, 1));
    ember_result_destroy(&result);
}

/* -------------------------------------------------------------------------------------- large
 * calls */

static void test_large_call_in_order(void **state) {
    (void)state;
    static char text[LARGE][48];
    static const char *forth[LARGE], *back[LARGE];
    for (int i = 0; i < LARGE; i++) {
        snprintf(text[i], sizeof text[i], "order number %d of %d", i * 7919, i);
        forth[i] = text[i];
        back[LARGE - 1 - i] = text[i];
    }
    struct ember_embed_options options = options_of("mean");
    options.cache = EMBER_CACHE_BYPASS;
    options.timeout_ms = 60000 * PROC_SLOW;
    options.lane = EMBER_LANE_BULK;
    ember_result_t *a = embed(forth, LARGE, &options), *b = embed(back, LARGE, &options);
    struct ember_times times;
    ember_result_times(a, &times);
    TEST_TRUE(times.requests >= (LARGE + 63) / 64); /* 64 texts are the most of one */
    double apart = 1;
    for (size_t i = 0; i < LARGE; i++) {
        const float *x = ember_result_floats(a, i), *y = ember_result_floats(b, LARGE - 1 - i);
        double far = 0;
        for (int k = 0; k < MEAN_DIM; k++) {
            TEST_NEAR(x[k], y[k], 1e-5);
            far += i ? fabs(x[k] - x[k - MEAN_DIM]) : 1; /* rows follow each other */
        }
        apart = far < apart ? far : apart;
    }
    TEST_TRUE(apart > 1e-3); /* neighbours differ, so order was really tested */
    ember_result_destroy(&a);
    ember_result_destroy(&b);
}

/* ---------------------------------------------------------------------------------- looking at
 * it all */

static void test_report(void **state) {
    (void)state;
    ember_report_t *report = NULL;
    struct ember_error error;
    bool up = false;
    for (int i = 0; i < 100 && !up; i++) { /* it is in a heartbeat, and Redis may come up later */
        ember_report_destroy(&report);
        if (ember_report(client, 0, &report, &error) != EMBER_OK)
            TEST_FAIL("report: %s", error.message);
        up = strcmp(ember_report_worker(report, 0)->redis, "up") == 0;
        usleep(up ? 0 : 100000);
    }
    const struct ember_broker_info *broker = ember_report_broker(report);
    TEST_STR_EQ(broker->state, "serving");
    TEST_STR_EQ(broker->endpoint, rig.clients[0]);
    TEST_STR_EQ(broker->version, ember_version());
    TEST_TRUE(broker->clients >= 1);
    const struct ember_worker_info *worker = ember_report_worker(report, 0);
    TEST_TRUE(worker != NULL && ember_report_worker(report, 1) == NULL);
    TEST_STR_EQ(worker->name, "worker1");
    TEST_STR_EQ(worker->state, "live");
    TEST_STR_EQ(worker->tier, "standard");
    TEST_STR_EQ(worker->redis, "up");
    TEST_EQ(worker->threads, 2);
    TEST_EQ(worker->n_models, 2);
    for (size_t i = 0; i < 2; i++) {
        bool zh = strcmp(worker->models[i].name, "zh") == 0;
        TEST_STR_EQ(worker->models[i].name, zh ? "zh" : "mean");
        TEST_EQ(worker->models[i].dim, zh ? ZH_DIM : MEAN_DIM);
        TEST_EQ(strlen(worker->models[i].fingerprint), 64);
        TEST_TRUE(worker->models[i].max_tokens > 0);
    }
    TEST_TRUE(ember_report_service(report, 0) != NULL);
    ember_report_destroy(&report);
    uint32_t round_trip_us = 0;
    TEST_EQ(ember_ping(client, 0, &round_trip_us, &error), EMBER_OK);
    TEST_TRUE(round_trip_us > 0);
}

static void test_reply_tells_who(void **state) {
    (void)state;
    const char *text = "who are you";
    struct ember_embed_options options = options_of("mean");
    options.timeout_ms = 5000 * PROC_SLOW;
    ember_result_t *result = embed(&text, 1, &options);
    struct ember_model about = EMBER_MODEL_INIT;
    struct ember_error error;
    struct ember_times times;
    TEST_EQ(ember_describe(client, "mean", EMBER_TASK_EMBED, 0, &about, &error), EMBER_OK);
    TEST_STR_EQ(ember_result_model(result), "mean");
    TEST_STR_EQ(ember_result_worker(result, 0), "worker1");
    TEST_STR_EQ(ember_result_fingerprint(result), about.fingerprint);
    TEST_EQ(about.dim, MEAN_DIM);
    TEST_EQ(about.workers, 1);
    ember_result_times(result, &times);
    TEST_TRUE(times.infer_us > 0 && times.worker_us >= times.infer_us);
    TEST_TRUE(times.call_us >= times.worker_us);
    TEST_EQ(times.requests, 1);
    ember_result_destroy(&result);
}

/* -------------------------------------------------------------------------------------------
 * set-up */

static int start_all(void **state) {
    (void)state;
    rig_init(&rig, &(struct rig_cfg){.brokers = 1,
                                     .workers = 1,
                                     .real = true,
                                     .redis = true,
                                     .threads = 2,
                                     .models = {"mean=" MEAN_DIR, "zh=" ZH_DIR},
                                     .broker_extra = {"--no-worker-grace", "1s"}});
    if (!rig_start(&rig))
        exit(TEST_SKIPPED);
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.timeout_ms = 10000 * PROC_SLOW;
    TEST_EQ(ember_open(rig.endpoints, &options, &client, NULL), EMBER_OK);
    return 0;
}

/* The last thing to see: everybody leaves in good order. */
static void test_everybody_leaves(void **state) {
    (void)state;
    ember_close(&client);
    proc_drain(&rig.worker[0], WAIT_MS * PROC_SLOW);
    proc_drain(&rig.broker[0], WAIT_MS * PROC_SLOW);
}

static int stop_all(void **state) {
    ember_close(&client);
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_reply_tells_who),
        cmocka_unit_test(test_published_answers),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_prefix_is_part_of_the_key),
        cmocka_unit_test(test_same_text_twice),
        cmocka_unit_test(test_beyond_the_published_limit),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_dimensions),
        cmocka_unit_test(test_tokens_and_truncation),
        cmocka_unit_test(test_classify),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_text_with_nul),
        cmocka_unit_test(test_large_call_in_order),
        cmocka_unit_test(test_everybody_leaves),
    };
    return proc_report(cmocka_run_group_tests(tests, start_all, stop_all));
}
