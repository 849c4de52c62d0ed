/* client_brokers_test.c - libember with several brokers that misbehave on command: second copies,
 * refusals taken elsewhere, discovery, policies, goodbyes, and what is told about it all. */
#include "support/client_rig.h"

#include "base/clock.h"

static struct script a, b;
static char address_a[128], address_b[128], both[300];

static int set_up(void **state) {
    (void)state;
    address(address_a);
    address(address_b);
    snprintf(both, sizeof both, "%s,%s", address_a, address_b);
    script_init(&a, address_a, 1);
    script_init(&b, address_b, 2);
    return 0;
}

static void start(void) {
    script_start(&a);
    script_start(&b);
}

static void stop(ember_t **e) {
    ember_close(e);
    script_stop(&a);
    script_stop(&b);
}

static struct ember_broker_view view(ember_t *e, size_t i) {
    struct ember_broker_view v = EMBER_BROKER_VIEW_INIT;
    struct ember_error error;
    if (ember_view_broker(e, i, &v, &error) != EMBER_OK)
        TEST_FAIL("broker %zu: %s", i, error.message);
    return v;
}

/* ------------------------------------------------------------------------------- second copies */

/* The first takes the request, answers PING and nothing else; the second is asked after the time of
 * an attempt, and the first is told to drop it. */
static void test_second_copy(void **state) {
    (void)state;
    a.mute_left = 1000;
    start();
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.attempt_ms = 150;
    ember_t *e = open_client(both, &options);
    wait_state(e, 0, "up");
    wait_state(e, 1, "up");
    uint64_t start_ms = now_ms();
    must_embed(e, 3, 2, NULL);
    uint64_t took_ms = now_ms() - start_ms;
    TEST_TRUE(took_ms >= 150 && took_ms < 2000);
    struct ember_broker_view v = view(e, 0);
    TEST_EQ(v.in_flight, 0);
    TEST_STR_EQ(v.state, "up");
    TEST_EQ(view(e, 1).answered, 1);
    wait_count(&a.n_cancels, 1);
    stop(&e);
    TEST_EQ(a.n_cancels, 1);
    TEST_EQ(b.n_cancels, 0);
    TEST_EQ(a.seen[0].id, b.seen[0].id);
    TEST_EQ(a.seen[0].flags, 0);
    TEST_EQ(b.seen[0].flags, WIRE_FLAG_RETRY);
    TEST_TRUE(b.seen[0].budget_us + 149000 < a.seen[0].budget_us);
}

/* Slow, but alive: its late answer is as good as any; the other copy is cancelled. */
static void test_first_answer_wins(void **state) {
    (void)state;
    b.mute_left = 1000;
    start();
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.attempt_ms = 100;
    ember_t *e = open_client(both, &options);
    wait_state(e, 0, "up");
    wait_state(e, 1, "up");
    a.hold = 2;
    struct numbers texts;
    ember_call_t *calls[2];
    ember_result_t *result = NULL;
    struct ember_error error;
    TEST_EQ(ember_embed_start(e, numbers(&texts, 3), 3, NULL, NULL, NULL, &calls[0], NULL), 0);
    while (b.n_requests < 1)
        usleep(1000);
    TEST_EQ(ember_embed_start(e, texts.list, 3, NULL, NULL, NULL, &calls[1], NULL), 0);
    for (int i = 0; i < 2; i++) {
        TEST_EQ(ember_call_take(calls[i], &result, &error), EMBER_OK);
        check_numbers(result, 3, 1);
        ember_result_destroy(&result);
        ember_call_destroy(&calls[i]);
    }
    wait_count(&b.n_cancels, b.n_requests);
    stop(&e);
    TEST_EQ(b.n_cancels, b.n_requests);
}

/* It greets and answers PING and swallows every request: what it was sent goes to the other one,
 * more of it than the retry budget would pay for, and nothing new goes there but probes. */
static void test_swallows(void **state) {
    (void)state;
    a.mute_left = 100000;
    start();
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.attempt_ms = 300;
    options.request_texts = 1;
    options.call_window = 512;
    ember_t *e = open_client(both, &options);
    wait_state(e, 0, "up");
    wait_state(e, 1, "up");
    must_embed(e, 200, 2, NULL);
    TEST_EQ(a.n_requests, 200);
    TEST_EQ(b.n_requests, 200);
    wait_state(e, 0, "stuck");
    for (int i = 0; i < 20; i++)
        must_embed(e, 3, 2, NULL);
    TEST_TRUE(a.n_requests <= 200 + 5);
    TEST_ROW("it does what it is asked again: a probe finds out");
    a.mute_left = 0;
    usleep(1100 * 1000);
    must_embed(e, 3, 0, NULL);
    wait_state(e, 0, "up");
    stop(&e);
}

/* ------------------------------------------------------------------------------------- refusals */

static void test_refusals_elsewhere(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum status status;
        int after_ms;
    } rows[] = {
        {"no worker", STATUS_UNAVAILABLE, 0},        {"drains", STATUS_UNAVAILABLE, 3000},
        {"started just now", STATUS_NOT_FOUND, 0},   {"busy", STATUS_RESOURCE_EXHAUSTED, 3000},
        {"perhaps done", STATUS_UNKNOWN_OUTCOME, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        set_up(NULL);
        a.refuse_left = 1000;
        a.refuse_status = (int)rows[i].status;
        a.refuse_after_ms = rows[i].after_ms;
        start();
        ember_t *e = open_client(both, NULL);
        wait_state(e, 0, "up");
        wait_state(e, 1, "up");
        uint64_t start_ms = now_ms();
        must_embed(e, 3, 2, NULL);
        TEST_TRUE(now_ms() - start_ms < 2000); /* not after its advice */
        stop(&e);
        TEST_EQ(a.seen[0].id, b.seen[0].id);
    }
}

/* ------------------------------------------------------------------------------------ discovery */

static void test_discovery(void **state) {
    (void)state;
    a.lists = address_b;
    start();
    ember_t *e = open_client(address_a, NULL);
    wait_state(e, 1, "up");
    struct ember_broker_view v = view(e, 1);
    TEST_STR_EQ(v.endpoint, address_b);
    TEST_EQ(v.discovered, 1);
    TEST_EQ(v.used, 0);
    TEST_EQ(view(e, 0).discovered, 0);
    TEST_EQ(view(e, 0).used, 1);
    TEST_EQ(ember_view_broker(e, 2, &v, NULL), EMBER_OUT_OF_RANGE);
    must_embed(e, 3, 1, NULL);
    script_stop(&a);
    must_embed(e, 3, 2, NULL);
    script_start(&a);
    wait_state(e, 0, "up");
    ember_close(&e);

    struct ember_options options = EMBER_OPTIONS_INIT;
    options.no_discovery = 1;
    e = open_client(address_a, &options);
    must_embed(e, 3, 1, NULL);
    TEST_EQ(ember_view_broker(e, 1, &v, NULL), EMBER_OUT_OF_RANGE);
    stop(&e);
}

/* ------------------------------------------------------------------------------------- policies */

static void test_least_latency(void **state) {
    (void)state;
    start();
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.policy = EMBER_POLICY_LEAST_LATENCY;
    options.request_texts = 1;
    ember_t *e = open_client(both, &options);
    wait_state(e, 0, "up");
    wait_state(e, 1, "up");
    TEST_ROW("both have their share");
    uint32_t sent = 0;
    uint64_t start_ms = now_ms(); /* one that was late once gets little for two seconds */
    while ((a.n_requests <= 60 || b.n_requests <= 60) && now_ms() - start_ms < FAR_MS) {
        must_embed(e, 300, 0, NULL);
        sent += 300;
    }
    TEST_TRUE(a.n_requests > 60 && b.n_requests > 60);
    TEST_EQ(a.n_requests + b.n_requests, sent);
    TEST_EQ(view(e, 0).used + view(e, 1).used, 2);
    stop(&e);
}

/* Until the i-th broker is the one that is used, one small call after another. */
static void call_until_used(ember_t *e, size_t i) {
    for (uint64_t start_ms = now_ms(); now_ms() - start_ms < FAR_MS;) {
        must_embed(e, 1, 0, NULL);
        if (view(e, i).used)
            return;
    }
    TEST_FAIL("broker %zu is not used: its latency is %u us", i, view(e, i).latency_us);
}

static void test_cheapest(void **state) {
    (void)state;
    char priced[320];
    snprintf(priced, sizeof priced, "%s#cost=2,%s#cost=0.5", address_a, address_b);
    a.heartbeat_ms = b.heartbeat_ms = 500;
    start();
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.policy = EMBER_POLICY_CHEAPEST;
    options.latency_limit_ms = 25;
    ember_t *e = open_client(priced, &options);
    wait_state(e, 0, "up");
    wait_state(e, 1, "up");
    call_until_used(e, 1);
    must_embed(e, 3, 2, NULL);
    TEST_EQ(view(e, 1).cost == 0.5, 1);
    TEST_ROW("it gets slow");
    b.delay_ms = 60;
    call_until_used(e, 0);
    must_embed(e, 3, 1, NULL);
    TEST_TRUE(view(e, 1).latency_us > 25000);
    TEST_ROW("fast again: not at once");
    b.delay_ms = 0;
    must_embed(e, 3, 1, NULL);
    usleep(300 * 1000);
    must_embed(e, 3, 1, NULL);
    stop(&e);
}

static void test_bad_options(void **state) {
    (void)state;
    static const struct {
        const char *endpoints, *says;
    } rows[] = {
        {"tcp://a:1#cost=", "behind #"},    {"tcp://a:1#cost=x", "behind #"},
        {"tcp://a:1#cost=-1", "behind #"},  {"tcp://a:1#price=1", "behind #"},
        {"tcp://a:1#cost=nan", "behind #"}, {"tcp://a:1#cost=1 2", "behind #"},
        {"tcp://a:1#", "behind #"},         {"#cost=1", "no endpoint"},
    };
    struct ember_error error;
    ember_t *e = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].endpoints);
        TEST_EQ(ember_open(rows[i].endpoints, NULL, &e, &error), EMBER_INVALID_ARGUMENT);
        TEST_HAS(error.message, rows[i].says);
    }
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.policy = (enum ember_policy)3;
    TEST_EQ(ember_open("tcp://a:1", &options, &e, &error), EMBER_INVALID_ARGUMENT);
    TEST_HAS(error.message, "policy 3");
    TEST_ROW("of an older header, which knows no policy");
    options.size = offsetof(struct ember_options, policy);
    TEST_EQ(ember_open("tcp://a:1", &options, &e, &error), EMBER_OK);
    ember_close(&e);
}

/* ---------------------------------------------------------------------------------- manners */

static void test_bye(void **state) {
    (void)state;
    start();
    ember_t *e = open_client(both, NULL);
    wait_state(e, 0, "up");
    wait_state(e, 1, "up");
    must_embed(e, 3, 1, NULL);
    ember_close(&e);
    wait_count(&a.n_byes, 1);
    wait_count(&b.n_byes, 1);
    TEST_EQ(a.n_byes, 1);
    TEST_EQ(b.n_byes, 1);
    script_stop(&a);
    script_stop(&b);
}

static void test_alone(void **state) {
    (void)state;
    static const enum ember_cache caches[] = {EMBER_CACHE_USE, EMBER_CACHE_BYPASS,
                                              EMBER_CACHE_REFRESH};
    start();
    ember_t *e = open_client(address_a, NULL);
    for (size_t i = 0; i < 3; i++) {
        struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
        options.cache = caches[i];
        struct numbers texts;
        ember_result_t *result = NULL;
        TEST_EQ(ember_embed(e, numbers(&texts, 1), 1, &options, &result, NULL), EMBER_OK);
        ember_result_destroy(&result);
    }
    stop(&e);
    TEST_EQ(a.seen[0].flags, 0);
    TEST_EQ(a.seen[1].flags, WIRE_FLAG_ALONE);
    TEST_EQ(a.seen[2].flags, WIRE_FLAG_ALONE);
}

static void test_every_trouble_is_told(void **state) {
    (void)state;
    a.hello_left = 1000000;
    script_start(&a);
    ember_t *e = open_client(both, NULL);
    struct ember_error error = must_find_nobody(e, 3, 300);
    TEST_HAS(error.message, "no broker answers at");
    TEST_HAS(error.message, address_a);
    TEST_HAS(error.message, "(RESOURCE_EXHAUSTED: told to be full)");
    TEST_HAS(error.message, address_b);
    TEST_HAS(error.message, "(nobody listens there)");
    ember_close(&e);
    script_stop(&a);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, set_up)
    const struct CMUnitTest tests[] = {
        TEST(test_second_copy),
        TEST(test_first_answer_wins),
        TEST(test_swallows),
        TEST(test_refusals_elsewhere),
        TEST(test_discovery),
        TEST(test_least_latency),
        TEST(test_cheapest),
        TEST(test_bad_options),
        TEST(test_bye),
        TEST(test_alone),
        TEST(test_every_trouble_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
