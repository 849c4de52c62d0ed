/* heads_test.c - models with heads through the real programs: libember, ember-broker,
 * ember-worker on the golden models, redis-server. Scores are judged by the published answers,
 * three times: from the model, from the worker's memory, and from Redis by a worker that has just
 * started; the second and third time they must be the very same numbers. */
#include "support/by_hand.h"
#include "support/golden.h"
#include "support/rig.h"

#include "base/clock.h"

#include <stddef.h>

enum { WAIT_MS = 5000, TEXTS_MAX = 64, LABELS_MAX = 64, SCORES_MAX = 65536 };

#define TOLERANCE 1e-5 /* tests/data/golden/README.md: of scores */

static struct rig rig;
static ember_t *client;

/* Golden models by the ids of their cases, and how they are called here. Those of several layers
 * are laid out anew. */
static struct served {
    const char *id, *name, *layers[2], *without;
    struct golden_dir dir;
    char option[200];
} served[] = {
    {.id = "nli-zh/modelscope", .name = "nli", .layers = {"nli-zh/modelscope"}},
    {.id = "nli-zh/hf", .name = "nli-hf", .layers = {"nli-zh/hf"}},
    {.id = "nli-zh/labels-upper",
     .name = "nli-upper",
     .layers = {"nli-zh/hf", "nli-zh/overlays/labels-upper"}},
    {.id = "nli-zh/two-way",
     .name = "nli-two",
     .layers = {"nli-zh/hf", "nli-zh/overlays/two-way"},
     .without = "model.safetensors"},
    {.id = "cls-head/softmax", .name = "own", .layers = {"cls-head/softmax"}},
    {.id = "cls-head/sigmoid",
     .name = "own-each",
     .layers = {"cls-head/softmax", "cls-head/overlays/sigmoid"}},
    {.id = "cls-head/label-mapping",
     .name = "own-mapped",
     .layers = {"cls-head/softmax", "cls-head/overlays/label-mapping"}},
    {.id = "cls-head/no-names",
     .name = "own-unnamed",
     .layers = {"cls-head/softmax", "cls-head/overlays/no-names"}},
    {.id = "reranker/hf", .name = "rank", .layers = {"reranker/hf"}},
};
enum { SERVED = sizeof served / sizeof *served };

/* ---------------------------------------------------------------- published answers */

/* One of three times; what the first gave is what the others must give. */
enum pass_time { FROM_MODEL, FROM_MEMORY, FROM_REDIS };
static struct pass {
    enum pass_time time;
    float scores[SCORES_MAX];
    size_t at;
    uint32_t rows, by_source[4];
} pass;

/* `kept`: the cache holds it. */
static void judge(float got, const json_t *want, bool kept) {
    double published;
    TEST_TRUE(json_f64(want, &published));
    TEST_NEAR(got, published, TOLERANCE);
    TEST_TRUE(pass.at < SCORES_MAX);
    if (pass.time == FROM_MODEL)
        pass.scores[pass.at] = got;
    if (kept)
        TEST_MEM_EQ(&pass.scores[pass.at], &got, sizeof got); /* bit for bit */
    pass.at++;
}

static size_t texts_of(const json_t *row, const char *key, const char **out) {
    size_t n = 0;
    for (const json_t *m = json_first(json_get(row, key)); m; m = json_next(m)) {
        TEST_TRUE(n < TEXTS_MAX);
        out[n++] = json_text(m);
    }
    return n;
}

/* Some texts come in several rows: the model is asked once. A Redis that does not answer within its
 * ten milliseconds, on a machine with other things to do, is a miss. Returns whether the scores are
 * those that were kept. */
static bool check_source(const ember_result_t *r, size_t i, bool kept) {
    enum ember_source source = ember_result_source(r, i);
    pass.by_source[source]++;
    if (kept && pass.time == FROM_MEMORY)
        TEST_EQ(source, EMBER_SOURCE_MEMORY);
    return kept && (pass.time == FROM_MODEL || source != EMBER_SOURCE_MODEL);
}

static void check_scores(const ember_result_t *r, size_t i, size_t n, const json_t *want,
                         bool kept) {
    const struct ember_score *scores;
    float by_label[LABELS_MAX];
    TEST_EQ(ember_result_scores(r, i, &scores), n);
    for (size_t k = 0; k < n; k++) {
        by_label[scores[k].label] = scores[k].score;
        TEST_TRUE(k == 0 || scores[k - 1].score >= scores[k].score);
    }
    TEST_EQ(json_size(want), n);
    size_t label = 0;
    for (const json_t *m = json_first(want); m; m = json_next(m))
        judge(by_label[label++], m, kept);
}

static ember_result_t *classify(const char *model, const char *const *texts, size_t n,
                                const char *const *labels, size_t n_labels,
                                struct ember_classify_options *options) {
    ember_result_t *r = NULL;
    struct ember_error error;
    options->model = model;
    if (ember_classify(client, texts, n, labels, n_labels, options, &r, &error) != EMBER_OK)
        TEST_FAIL("classify with '%s': %s: %s", model, ember_status_name(error.status),
                  error.message);
    return r;
}

static void check_zero_shot(const json_t *row, const char *model) {
    struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
    const char *labels[TEXTS_MAX], *text = json_text(json_get(row, "text"));
    size_t n = texts_of(row, "labels", labels);
    uint64_t max_tokens = 0;
    bool multi = false, limited = json_u64(json_get(row, "max_length"), &max_tokens);
    json_bool(json_get(row, "multi_label"), &multi);
    for (size_t i = 1; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(labels[i], labels[k]) == 0)
                return; /* the service takes no label twice */
    options.hypothesis_template = json_text(json_get(row, "template"));
    options.multi_label = multi;
    options.max_tokens = (uint32_t)max_tokens;
    ember_result_t *r = classify(model, &text, 1, labels, n, &options);
    bool kept = check_source(r, 0, !limited); /* one with a limit of its own is not */
    check_scores(r, 0, n, json_get(row, "scores"), kept);
    ember_result_destroy(&r);
}

static void check_own(const json_t *row, const char *model) {
    struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
    const char *texts[TEXTS_MAX], *names[TEXTS_MAX];
    size_t n = texts_of(row, "texts", texts), n_names = texts_of(row, "names", names);
    uint64_t max_tokens = 0;
    bool limited = json_u64(json_get(row, "max_length"), &max_tokens);
    options.max_tokens = (uint32_t)max_tokens;
    ember_result_t *r = classify(model, texts, n, NULL, 0, &options);
    TEST_EQ(ember_result_labels(r), n_names);
    for (size_t k = 0; k < n_names; k++)
        TEST_STR_EQ(ember_result_label(r, k), names[k]);
    const json_t *want = json_first(json_get(row, "scores")),
                 *full = json_first(json_get(row, "n_full"));
    for (size_t i = 0; i < n; i++, want = json_next(want), full = json_next(full)) {
        uint64_t n_full = 0;
        json_u64(full, &n_full);
        TEST_EQ(ember_result_truncated(r, i), n_full > ember_result_tokens(r, i));
        bool kept = check_source(r, i, !limited);
        check_scores(r, i, n_names, want, kept);
    }
    ember_result_destroy(&r);
}

static void check_rerank(const json_t *row, const char *model) {
    struct ember_rerank_options options = EMBER_RERANK_OPTIONS_INIT;
    const char *documents[TEXTS_MAX];
    size_t n = texts_of(row, "docs", documents);
    uint64_t max_tokens = 0;
    bool limited = json_u64(json_get(row, "max_length"), &max_tokens);
    options.model = model;
    options.max_tokens = (uint32_t)max_tokens;
    ember_result_t *r = NULL;
    struct ember_error error;
    if (ember_rerank(client, json_text(json_get(row, "query")), documents, n, &options, &r,
                     &error) != EMBER_OK)
        TEST_FAIL("rerank: %s: %s", ember_status_name(error.status), error.message);
    const struct ember_rank *ranks;
    float by_document[TEXTS_MAX];
    TEST_EQ(ember_result_ranks(r, &ranks), n);
    for (size_t k = 0; k < n; k++) {
        by_document[ranks[k].index] = ranks[k].score;
        TEST_TRUE(k == 0 || ranks[k - 1].score >= ranks[k].score);
    }
    size_t d = 0;
    for (const json_t *m = json_first(json_get(row, "scores")); m; m = json_next(m)) {
        bool kept = check_source(r, d, !limited);
        judge(by_document[d++], m, kept);
    }
    TEST_EQ(d, n);
    ember_result_destroy(&r);
}

static void check_row(const json_t *row, void *arg) {
    const struct served *about = arg;
    const char *kind = json_text(json_get(row, "kind"));
    bool mine = false;
    for (const json_t *m = json_first(json_get(row, "model")); m; m = json_next(m))
        mine |= strcmp(json_text(m), about->id) == 0;
    if (!mine)
        return;
    TEST_ROW(json_text(json_get(row, "id")));
    if (strcmp(kind, "zeroshot") == 0)
        check_zero_shot(row, about->name);
    else if (strcmp(kind, "classify") == 0)
        check_own(row, about->name);
    else if (strcmp(kind, "rerank") == 0)
        check_rerank(row, about->name);
    else
        return; /* bare pairs: a matter of the engine */
    pass.rows++;
}

static void check_all(enum pass_time time) {
    memset(pass.by_source, 0, sizeof pass.by_source);
    pass.time = time;
    pass.at = 0;
    pass.rows = 0;
    for (size_t i = 0; i < SERVED; i++) {
        char cases[64];
        snprintf(cases, sizeof cases, "%.*s/cases.jsonl", (int)strcspn(served[i].id, "/"),
                 served[i].id);
        golden_each(cases, check_row, &served[i]);
    }
    TEST_TRUE(pass.rows > 60);
}

static void restart_worker(void) {
    proc_drain(&rig.worker[0], WAIT_MS * PROC_SLOW);
    rig_start_worker(&rig, 0);
    rig_wait_workers(&rig, 1, 4 * WAIT_MS * PROC_SLOW);
}

/* Entries are written behind the answer's back. */
static void wait_for_redis(void) {
    char before[64] = "", now[64] = "-";
    while (strcmp(before, now) != 0) {
        memcpy(before, now, sizeof before);
        usleep(50 * 1000);
        redis_ask(&rig.redis, now, sizeof now, "DBSIZE", NULL);
    }
}

static void test_published_answers(void **state) {
    (void)state;
    check_all(FROM_MODEL);
    TEST_TRUE(pass.by_source[EMBER_SOURCE_MODEL] > pass.rows);
    check_all(FROM_MEMORY);
    wait_for_redis();
    restart_worker();
    check_all(FROM_REDIS);
    TEST_TRUE(pass.by_source[EMBER_SOURCE_REDIS] > 20);
}

/* ---------------------------------------------------------------- what can be asked */

static void test_described(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum ember_task task;
        enum ember_head head;
        uint32_t labels;
    } rows[] = {
        {"nli", EMBER_TASK_CLASSIFY, EMBER_HEAD_NLI, 0},
        {"own", EMBER_TASK_CLASSIFY, EMBER_HEAD_LABELS, 4},
        {"rank", EMBER_TASK_RERANK, EMBER_HEAD_SCORE, 0},
    };
    ember_report_t *report = NULL;
    TEST_EQ(ember_report(client, 0, &report, NULL), EMBER_OK);
    const struct ember_worker_info *worker = ember_report_worker(report, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct ember_model about = EMBER_MODEL_INIT;
        TEST_EQ(ember_describe(client, rows[i].name, rows[i].task, 0, &about, NULL), EMBER_OK);
        TEST_EQ(about.head, rows[i].head);
        TEST_EQ(about.labels, rows[i].labels);
        TEST_EQ(about.workers, 1);
        const struct ember_model_info *m = NULL;
        for (size_t k = 0; k < worker->n_models; k++)
            if (strcmp(worker->models[k].name, rows[i].name) == 0)
                m = &worker->models[k];
        TEST_TRUE(m != NULL);
        TEST_EQ(m->tasks, 1u << rows[i].task | 1u << EMBER_TASK_TOKENIZE);
        TEST_EQ(m->head, rows[i].head);
    }
    ember_report_destroy(&report);
    TEST_STR_EQ(ember_head_name(EMBER_HEAD_NLI), "nli");
}

static void must_refuse(enum ember_status got, const struct ember_error *error,
                        enum ember_status want, int64_t item, const char *part) {
    if (got != want)
        TEST_FAIL("%s: %s", ember_status_name(got), got == EMBER_OK ? "" : error->message);
    TEST_HAS(error->message, part);
    TEST_EQ(error->item, item);
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const labels[] = {"a", "b"}, *const texts[] = {"短", "长长长长长长长长长长"};
    static const struct {
        const char *model;
        uint32_t n_labels, max_tokens;
        bool pairs;
        enum ember_truncate truncate;
        enum ember_status status;
        int64_t item;
        const char *part;
    } rows[] = {
        {"nli", 0, 0, false, 0, EMBER_INVALID_ARGUMENT, -1, "must name some"},
        {"own", 2, 0, false, 0, EMBER_INVALID_ARGUMENT, -1, "has 4 labels of its own"},
        {"nli", 2, 0, true, 0, EMBER_INVALID_ARGUMENT, -1, "exclude each other"},
        {"nli", 0, 0, true, 0, EMBER_INVALID_ARGUMENT, -1, "not pairs of texts"},
        {"nli", 2, 0, false, EMBER_TRUNCATE_LEFT, EMBER_INVALID_ARGUMENT, -1, "on the right only"},
        {"nli", 2, 8, false, EMBER_TRUNCATE_OFF, EMBER_INVALID_ARGUMENT, 1,
         "text 2 with label 1 has 14 tokens, 8 are allowed"},
        {"rank", 2, 0, false, 0, EMBER_UNIMPLEMENTED, -1, "it can rerank, tokenize"},
        {"own", 0, 1, false, 0, EMBER_INVALID_ARGUMENT, -1, "at least 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].part);
        struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
        options.model = rows[i].model;
        options.max_tokens = rows[i].max_tokens;
        options.truncate = rows[i].truncate;
        options.seconds = rows[i].pairs ? texts : NULL;
        ember_result_t *r = NULL;
        struct ember_error error = {0};
        enum ember_status st =
            ember_classify(client, texts, 2, labels, rows[i].n_labels, &options, &r, &error);
        must_refuse(st, &error, rows[i].status, rows[i].item, rows[i].part);
    }
    TEST_ROW("rerank");
    struct ember_rerank_options options = EMBER_RERANK_OPTIONS_INIT;
    options.model = "nli";
    ember_result_t *r = NULL;
    struct ember_error error = {0};
    enum ember_status st = ember_rerank(client, "q", texts, 2, &options, &r, &error);
    must_refuse(st, &error, EMBER_UNIMPLEMENTED, -1, "does not rerank; it can classify, tokenize");
    options.model = "rank";
    options.truncate = EMBER_TRUNCATE_OFF;
    options.max_tokens = 8;
    st = ember_rerank(client, "q", texts, 2, &options, &r, &error);
    must_refuse(st, &error, EMBER_INVALID_ARGUMENT, 1, "the query with document 2 has");
    st = ember_rerank(client, "\xff", texts, 2, &options, &r, &error);
    must_refuse(st, &error, EMBER_INVALID_ARGUMENT, -1, "the query");
}

/* A program built against a header without the newer options: what lies behind is not read. */
static void test_older_header(void **state) {
    (void)state;
    struct ember_classify_options options;
    memset(&options, 0xee, sizeof options);
    memset(&options, 0, offsetof(struct ember_classify_options, seconds));
    options.size = offsetof(struct ember_classify_options, seconds);
    const char *text = "短";
    ember_result_t *r = classify("own", &text, 1, NULL, 0, &options);
    TEST_EQ(ember_result_labels(r), 4);
    ember_result_destroy(&r);
    struct ember_model about;
    memset(&about, 0xee, sizeof about);
    about.size = offsetof(struct ember_model, head);
    TEST_EQ(ember_describe(client, "own", EMBER_TASK_CLASSIFY, 0, &about, NULL), EMBER_OK);
    TEST_EQ(about.workers, 1);
    TEST_EQ(about.labels, 0xeeeeeeee);
}

/* The worker was told what a request may cost; what is beyond says so. */
static void test_request_tokens(void **state) {
    (void)state;
    static char text[600], name[64][8];
    const char *texts[4], *labels[64];
    for (size_t n = 0; n + 6 < sizeof text; n += 5)
        memcpy(text + n, "word ", 6);
    for (size_t i = 0; i < 64; i++) {
        snprintf(name[i], sizeof name[i], "l%zu", i);
        labels[i] = name[i];
        texts[i % 4] = text;
    }
    struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
    options.model = "nli";
    ember_result_t *r = NULL;
    struct ember_error error = {0};
    enum ember_status st = ember_classify(client, texts, 3, labels, 64, &options, &r, &error);
    must_refuse(st, &error, EMBER_INVALID_ARGUMENT, -1, "tokens, at most 20000 are taken");
    r = classify("nli", texts, 1, labels, 64, &options); /* 64 pairs of at most 128 tokens */
    ember_result_destroy(&r);
}

/* Texts, labels and pairs by the hundred: cut into requests, put together, best first, and each as
 * if it had been asked alone. */
static void test_large_calls(void **state) {
    (void)state;
    enum { MANY = 300, TOP = 7, LABELS = 64 };
    static char text[MANY][64], name[LABELS][16];
    const char *texts[MANY], *labels[LABELS];
    for (size_t i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof text[i], "document %zu of %d about %s", i * 37 % 101, MANY,
                 i % 2 ? "refunds" : "the weather");
        texts[i] = text[i];
    }
    for (size_t i = 0; i < LABELS; i++) {
        snprintf(name[i], sizeof name[i], "类%zu", i);
        labels[i] = name[i];
    }
    ember_result_t *r = NULL, *alone = NULL;
    struct ember_error error;
    struct ember_rerank_options rerank = EMBER_RERANK_OPTIONS_INIT;
    rerank.model = "rank";
    rerank.top_k = TOP;
    if (ember_rerank(client, "refunds", texts, MANY, &rerank, &r, &error) != EMBER_OK)
        TEST_FAIL("%s", error.message);
    struct ember_times times;
    const struct ember_rank *ranks, *one;
    ember_result_times(r, &times);
    TEST_EQ(times.requests, 10);
    TEST_EQ(ember_result_ranks(r, &ranks), TOP);
    TEST_EQ(ember_result_count(r), MANY);
    uint32_t better = 0;
    for (size_t i = 0; i < MANY; i++) {
        TEST_EQ(ember_rerank(client, "refunds", &texts[i], 1, &rerank, &alone, NULL), EMBER_OK);
        TEST_EQ(ember_result_ranks(alone, &one), 1);
        better += one[0].score > ranks[TOP - 1].score;
        for (size_t k = 0; k < TOP; k++)
            if (ranks[k].index == i)
                TEST_MEM_EQ(&ranks[k].score, &one[0].score, sizeof(float));
        ember_result_destroy(&alone);
    }
    TEST_TRUE(better < TOP);
    ember_result_destroy(&r);

    struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
    options.top_k = TOP;
    r = classify("nli", texts, 40, labels, LABELS, &options);
    ember_result_times(r, &times);
    TEST_EQ(times.requests, 3); /* 1,024 pairs, 16 texts, each: evenly */
    const struct ember_score *scores;
    for (size_t i = 0; i < 40; i++)
        TEST_EQ(ember_result_scores(r, i, &scores), TOP);
    ember_result_destroy(&r);
}

/* ---------------------------------------------------------------- the cache, by hand */

static void expect_entry(const char *name, enum ember_task task, const char *kind,
                         const char *input, const char *header, const char *payload) {
    struct ember_model about = EMBER_MODEL_INIT;
    char md5[33], key[256], value[4096];
    md5_by_hand(input, md5);
    TEST_EQ(ember_describe(client, name, task, 0, &about, NULL), EMBER_OK);
    snprintf(key, sizeof key, "ember:%s@%.8s:%s:%s", name, about.fingerprint, kind, md5);
    uint64_t end_us = clock_us() + WAIT_MS * 1000;
    while (redis_ask(&rig.redis, value, sizeof value, "GET", key, NULL) < 96 && clock_us() < end_us)
        usleep(2000);
    TEST_HAS(value, header);
    TEST_HAS(value, payload);
}

static void test_keys(void **state) {
    (void)state;
    const char *text = "it is late, isn't it?", *second = "yes: very";
    struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
    ember_result_t *r = classify("own", &text, 1, NULL, 0, &options);
    ember_result_destroy(&r);
    expect_entry("own", EMBER_TASK_CLASSIFY, "cls",
                 "it is late, isn't it?::", "ember1 cls labels=4 tokens=", "\"投诉\":");
    options.seconds = &second;
    r = classify("own", &text, 1, NULL, 0, &options);
    TEST_EQ(ember_result_source(r, 0), EMBER_SOURCE_MODEL);
    ember_result_destroy(&r);
    r = classify("own", &text, 1, NULL, 0, &options);
    TEST_EQ(ember_result_source(r, 0), EMBER_SOURCE_MEMORY);
    ember_result_destroy(&r);
    expect_entry("own", EMBER_TASK_CLASSIFY, "cls+pair", "it is late, isn't it?::yes\\: very",
                 "ember1 cls labels=4 tokens=", "\"咨询\":");
    options.seconds = NULL;
    const char *labels[] = {"b", "a"};
    r = classify("nli", &text, 1, labels, 2, &options);
    ember_result_destroy(&r);
    expect_entry("nli", EMBER_TASK_CLASSIFY, "cls", "it is late, isn't it?::a,b",
                 "ember1 cls labels=2 tokens=", "{\"a\":");
    struct ember_rerank_options rerank = EMBER_RERANK_OPTIONS_INIT;
    rerank.model = "rank";
    TEST_EQ(ember_rerank(client, text, &second, 1, &rerank, &r, NULL), EMBER_OK);
    ember_result_destroy(&r);
    expect_entry("rank", EMBER_TASK_RERANK, "rank", "it is late, isn't it?::yes\\: very",
                 "ember1 rank tokens=", "{\"logit\":");
}

/* ---------------------------------------------------------------- up and down */

static void lay_out(struct served *s) {
    if (!s->layers[1]) {
        snprintf(s->option, sizeof s->option, "%s=%s/%s", s->name, GOLDEN_DIR, s->layers[0]);
        return;
    }
    golden_make(&s->dir);
    for (size_t i = 0; i < 2; i++)
        golden_copy_tree(&s->dir, s->layers[i], "");
    if (s->without) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", s->dir.path, s->without);
        TEST_TRUE(unlink(path) == 0);
    }
    snprintf(s->option, sizeof s->option, "%s=%s", s->name, s->dir.path);
}

static int start_all(void **state) {
    (void)state;
    struct rig_cfg cfg = {.brokers = 1,
                          .workers = 1,
                          .real = true,
                          .redis = true,
                          .threads = 2,
                          .worker_extra = {"--request-tokens", "20000"}};
    for (size_t i = 0; i < SERVED; i++) {
        lay_out(&served[i]);
        cfg.models[i] = served[i].option;
    }
    rig_init(&rig, &cfg);
    if (!rig_start(&rig))
        exit(TEST_SKIPPED);

    struct ember_options options = EMBER_OPTIONS_INIT;
    options.timeout_ms = 10000 * PROC_SLOW;
    TEST_EQ(ember_open(rig.endpoints, &options, &client, NULL), EMBER_OK);
    return 0;
}

static int stop_all(void **state) {
    ember_close(&client);
    rig_stop(&rig);
    for (size_t i = 0; i < SERVED; i++)
        if (served[i].dir.path[0])
            golden_remove(&served[i].dir);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_described),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_published_answers),
        cmocka_unit_test(test_large_calls),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_request_tokens),
        cmocka_unit_test(test_older_header),
    };
    return proc_report(cmocka_run_group_tests(tests, start_all, stop_all));
}
