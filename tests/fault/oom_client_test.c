/* oom_client_test.c - the client library with each of its allocations failing in turn, on the
 * caller's thread and on its own, against a scripted broker that has all the memory it wants. */
#include "support/client_rig.h"
#include "support/oom.h"

static struct script broker;
static char endpoint[128];

static int set_up(void **state) {
    (void)state;
    oom_exempt(true); /* and the broker's thread, which is started here */
    address(endpoint);
    script_init(&broker, endpoint, 1);
    broker.heartbeat_ms = 10000; /* it is there: nobody needs to ask */
    script_start(&broker);
    oom_exempt(false);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    script_stop(&broker);
    return 0;
}

/* ------------------------------------------------------------------------------ one of each */

enum { TEXTS = 70 }; /* two requests */

typedef enum ember_status a_call(ember_t *e, struct ember_error *error);

static enum ember_status embed(ember_t *e, struct ember_error *error) {
    struct numbers texts;
    ember_result_t *result = NULL;
    enum ember_status st = ember_embed(e, numbers(&texts, TEXTS), TEXTS, NULL, &result, error);
    if (st == EMBER_OK)
        check_numbers(result, TEXTS, 1);
    ember_result_destroy(&result);
    return st;
}

static enum ember_status classify(ember_t *e, struct ember_error *error) {
    static const char *const labels[] = {"x", "y"};
    struct numbers texts;
    ember_result_t *result = NULL;
    enum ember_status st =
        ember_classify(e, numbers(&texts, TEXTS), TEXTS, labels, 2, NULL, &result, error);
    for (size_t i = 0; st == EMBER_OK && i < TEXTS; i++) {
        const struct ember_score *scores;
        TEST_EQ(ember_result_scores(result, i, &scores), 1);
        TEST_STR_EQ(ember_result_label(result, scores[0].label), "x");
    }
    ember_result_destroy(&result);
    return st;
}

static enum ember_status rerank(ember_t *e, struct ember_error *error) {
    struct numbers texts;
    ember_result_t *result = NULL;
    enum ember_status st =
        ember_rerank(e, "query", numbers(&texts, TEXTS), TEXTS, NULL, &result, error);
    const struct ember_rank *ranks;
    if (st == EMBER_OK)
        TEST_EQ(ember_result_ranks(result, &ranks), TEXTS);
    ember_result_destroy(&result);
    return st;
}

static enum ember_status tokenize(ember_t *e, struct ember_error *error) {
    struct ember_tokenize_options options = EMBER_TOKENIZE_OPTIONS_INIT;
    options.pieces = 1;
    struct numbers texts;
    ember_result_t *result = NULL;
    enum ember_status st =
        ember_tokenize(e, numbers(&texts, TEXTS), TEXTS, &options, &result, error);
    for (size_t i = 0; st == EMBER_OK && i < TEXTS; i++) {
        const uint32_t *ids;
        TEST_EQ(ember_result_ids(result, i, &ids), 1);
        TEST_STR_EQ(ember_result_piece(result, i, 0), texts.text[i]);
    }
    ember_result_destroy(&result);
    return st;
}

static enum ember_status report(ember_t *e, struct ember_error *error) {
    ember_report_t *got = NULL;
    enum ember_status st = ember_report(e, 0, &got, error);
    if (st == EMBER_OK)
        TEST_STR_EQ(ember_report_worker(got, 0)->models[0].name, "test-model");
    ember_report_destroy(&got);
    return st;
}

static enum ember_status describe(ember_t *e, struct ember_error *error) {
    struct ember_model model = EMBER_MODEL_INIT;
    enum ember_status st = ember_describe(e, "m", EMBER_TASK_EMBED, 0, &model, error);
    if (st == EMBER_OK)
        TEST_STR_EQ(model.name, "test-model");
    return st;
}

static enum ember_status ping(ember_t *e, struct ember_error *error) {
    uint32_t us = 0;
    enum ember_status st = ember_ping(e, 0, &us, error);
    if (st == EMBER_OK)
        TEST_TRUE(us > 0);
    return st;
}

static const struct row {
    const char *name;
    a_call *call;
} rows[] = {
    {"embed", embed},   {"classify", classify}, {"rerank", rerank}, {"tokenize", tokenize},
    {"report", report}, {"describe", describe}, {"ping", ping},
};

/* ------------------------------------------------------------------------------ scenarios */

struct trial {
    a_call *call;
    ember_t *client; /* NULL: opened and closed by the trial */
    uint32_t timeout_ms;
};

static enum status told(enum ember_status st, const struct ember_error *error) {
    if (st == EMBER_DEADLINE_EXCEEDED && strstr(error->message, "held up"))
        return STATUS_UNAVAILABLE; /* this machine's fault: its 40 ms of grace were not enough */
    if (st != EMBER_OK) {
        TEST_EQ(error->status, st);
        TEST_TRUE(error->message[0]);
    }
    if (st != EMBER_OK && st != EMBER_RESOURCE_EXHAUSTED)
        fprintf(stderr, "%s: %s\n", ember_status_name(st), error->message);
    return (enum status)st;
}

/* The whole life of a client. */
static enum status life(void *arg) {
    const struct trial *trial = arg;
    struct ember_options options = EMBER_OPTIONS_INIT;
    struct ember_error error = {.status = EMBER_OK};
    options.timeout_ms = trial->timeout_ms;
    options.request_texts = 64;
    ember_t *e = NULL;
    uint64_t start = now_ms();
    enum ember_status st = ember_open(endpoint, &options, &e, &error);
    TEST_TRUE((st == EMBER_OK) == (e != NULL));
    if (st == EMBER_OK)
        st = trial->call(e, &error);
    if (now_ms() - start > trial->timeout_ms + 1000)
        TEST_FAIL("took %llu ms", (unsigned long long)(now_ms() - start));
    if (e && oom_disarm()) { /* memory is back: so is the client, within its patience */
        struct ember_error later;
        uint64_t until = now_ms() + 3000;
        while (trial->call(e, &later) != EMBER_OK)
            if (now_ms() > until)
                TEST_FAIL("afterwards: %s", later.message);
    }
    if (e)
        ember_close(&e);
    return told(st, &error);
}

static void test_lives(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct trial trial = {.call = rows[i].call, .timeout_ms = 3000};
        struct oom_cfg cfg = {.name = rows[i].name, .run = life, .arg = &trial, .once = true};
        TEST_TRUE(oom_run(&cfg) >= 8);
    }
}

/* No memory from some point on until the call has ended, in time and with a reason; what could not
 * even be sent has no other name than that no broker could be had. */
static void test_long_droughts(void **state) {
    (void)state;
    static const struct row some[] = {{"embed", embed}, {"report", report}, {"ping", ping}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        struct trial trial = {.call = some[i].call, .timeout_ms = 250};
        struct oom_cfg cfg = {
            .name = some[i].name, .run = life, .arg = &trial, .others = STATUS_UNAVAILABLE};
        oom_run(&cfg);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_droughts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
