/* client_test.c - libember against a broker that does what it is told: nobody there, requests in
 * parts, calls that are awaited, called back or cancelled, and what else can be asked. */
#include "support/client_rig.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

/* -------------------------------------------------------------------------------------- nobody */

static void test_nobody_there(void **state) {
    (void)state;
    char a[128], b[128], both[300];
    address(a);
    address(b);
    snprintf(both, sizeof both, "%s, %s", a, b);
    const char *lists[] = {a, both, "tcp://127.0.0.1:1"};
    for (size_t i = 0; i < 3; i++) {
        TEST_ROW(lists[i]);
        ember_t *e = open_client(lists[i], NULL);
        uint64_t start = now_ms();
        struct ember_error error = must_find_nobody(e, 3, 200);
        TEST_TRUE(now_ms() - start >= 199);
        TEST_EQ(error.may_have_run, 0);
        TEST_EQ(error.item, -1);
        TEST_HAS(error.message, i == 2 ? lists[2] : a);
        do
            ember_ping(e, 100, NULL, &error);
        while (was_held_up(&error));
        TEST_EQ(error.status, EMBER_UNAVAILABLE);
        ember_report_t *report = NULL;
        do
            ember_report(e, 100, &report, &error);
        while (was_held_up(&error));
        TEST_EQ(error.status, EMBER_UNAVAILABLE);
        ember_close(&e);
        TEST_TRUE(e == NULL);
    }
}

static void test_gives_up_early_when_told(void **state) {
    (void)state;
    char a[128];
    address(a);
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.give_up_ms = 100;
    ember_t *e = open_client(a, &options);
    uint64_t start = now_ms();
    struct ember_error error = must_fail(e, 3, 5000, 0);
    TEST_EQ(error.status, EMBER_UNAVAILABLE);
    TEST_TRUE(now_ms() - start < 1000);
    ember_close(&e);
}

/* A port that accepts and never says a word. */
static void test_mute_port(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof in;
    TEST_EQ(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    TEST_EQ(listen(fd, 8), 0);
    TEST_EQ(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", ntohs(in.sin_port));
    ember_t *e = open_client(endpoint, NULL);
    must_find_nobody(e, 1, 250);
    ember_close(&e);
    close(fd);
}

static void *hang_up(void *arg) {
    for (int fd; (fd = accept(*(int *)arg, NULL, NULL)) >= 0;)
        close(fd);
    return NULL;
}

/* A port that hangs up on everybody, as a broker with keys can, and a proxy without a broker. */
static void test_hangs_up(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof in;
    TEST_EQ(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    TEST_EQ(listen(fd, 8), 0);
    TEST_EQ(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    pthread_t thread;
    TEST_EQ(pthread_create(&thread, NULL, hang_up, &fd), 0);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", ntohs(in.sin_port));
    ember_t *e = open_client(endpoint, NULL);
    struct ember_error error = must_find_nobody(e, 1, 1000);
    TEST_EQ(error.may_have_run, 0);
    TEST_HAS(error.message, "hangs up during the handshake: it may want a key");
    ember_close(&e);
    shutdown(fd, SHUT_RDWR); /* ends the accept() */
    pthread_join(thread, NULL);
    close(fd);
}

/* A broker that takes the request and never answers: another status, since it may have run. */
static void test_no_answer(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.mute_left = 1000;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    struct ember_error error = must_fail(e, 100, 1000, 0);
    TEST_EQ(error.status, EMBER_DEADLINE_EXCEEDED);
    TEST_EQ(error.may_have_run, 1);
    ember_close(&e);
    script_stop(&broker);
    TEST_EQ(broker.n_requests,
            2); /* it answers PING, so there is no reason to send anything again */
    TEST_TRUE(broker.seen[0].budget_us > 0 && broker.seen[0].budget_us <= 1000000);
}

/* ----------------------------------------------------------------------------------- splitting */

static void test_split_and_order(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.hold = 3;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    struct ember_times times;
    must_embed(e, 150, 1, &times); /* three requests, answered last one first */
    TEST_EQ(times.requests, 3);
    TEST_EQ(times.resent, 0);
    TEST_TRUE(times.call_us > 0);
    broker.hold = 0;
    must_embed(e, 1, 1, &times);
    TEST_EQ(times.requests, 1);
    must_embed(e, 512, 1, &times);
    TEST_EQ(times.requests, 8);
    ember_close(&e);
    script_stop(&broker);
}

static void test_window(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.mute_left = 1000;
    script_start(&broker);
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.request_texts = 8;
    options.call_window = 5;
    ember_t *e = open_client(a, &options);
    must_fail(e, 512, 1000, 0);
    ember_close(&e);
    script_stop(&broker);
    TEST_EQ(broker.n_requests, 5); /* of 64 */
}

static void test_item_of_the_call(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.refuse_item =
        1; /* the first text of the request that holds "100": 150 texts are 3 x 50 */
    broker.refuse_status = STATUS_INVALID_ARGUMENT;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    struct ember_error error = must_fail(e, 150, 0, 0);
    TEST_EQ(error.status, EMBER_INVALID_ARGUMENT);
    TEST_EQ(error.item, 100);
    TEST_STR_EQ(error.message, "told to refuse");
    const char *bad[] = {"a", "b\xff", "c"};
    ember_result_t *result = NULL;
    TEST_EQ(ember_embed(e, bad, 3, NULL, &result, &error), EMBER_INVALID_ARGUMENT);
    TEST_EQ(error.item, 1);
    ember_close(&e);
    script_stop(&broker);
}

static void test_one_model_per_result(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.other_model = 1;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    TEST_EQ(must_fail(e, 100, 0, 0).status, EMBER_ABORTED);
    broker.other_model = 0;
    broker.garbage = 1;
    TEST_EQ(must_fail(e, 2, 0, 0).status, EMBER_INTERNAL);
    ember_close(&e);
    script_stop(&broker);
}

/* ------------------------------------------------------------------------ async, cancel, close */

struct tally {
    atomic_uint ok, cancelled, other;
};

static void count_done(void *arg, enum ember_status status, ember_result_t *result,
                       const struct ember_error *error) {
    struct tally *tally = arg;
    if (status == EMBER_OK && !error && ember_result_floats(result, 0)[0] == 0)
        tally->ok++;
    else if (status == EMBER_CANCELLED && !result && error)
        tally->cancelled++;
    else
        tally->other++;
    ember_result_destroy(&result);
}

static void test_callbacks(void **state) {
    (void)state;
    static struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.in_flight = 10;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    struct tally tally = {0};
    struct numbers texts;
    numbers(&texts, 3);
    for (int i = 0; i < 1000; i++)
        TEST_EQ(ember_embed_start(e, texts.list, 3, NULL, count_done, &tally, NULL, NULL), 0);
    uint64_t start = now_ms();
    while (tally.ok < 1000 && now_ms() - start < 10000)
        usleep(1000);
    TEST_EQ(tally.ok, 1000);
    broker.mute_left = 1000000;
    for (int i = 0; i < 100; i++)
        TEST_EQ(ember_embed_start(e, texts.list, 3, NULL, count_done, &tally, NULL, NULL), 0);
    ember_call_t *call;
    TEST_EQ(ember_embed_start(e, texts.list, 3, NULL, NULL, NULL, &call, NULL), 0);
    ember_close(&e);
    TEST_EQ(tally.cancelled, 100);
    TEST_EQ(tally.other, 0);
    ember_result_t *result = NULL;
    TEST_EQ(ember_call_take(call, &result, NULL), EMBER_CANCELLED);
    ember_call_cancel(call);
    ember_call_destroy(&call);
    script_stop(&broker);
}

static void test_cancel(void **state) {
    (void)state;
    static struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.mute_left = 1;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    struct numbers texts;
    ember_call_t *call;
    struct ember_error error;
    TEST_EQ(ember_embed_start(e, numbers(&texts, 3), 3, NULL, NULL, NULL, &call, NULL), 0);
    while (broker.n_requests < 1)
        usleep(1000);
    uint64_t start = now_ms();
    ember_call_cancel(call);
    ember_result_t *result = NULL;
    TEST_EQ(ember_call_take(call, &result, &error), EMBER_CANCELLED);
    TEST_EQ(error.may_have_run, 1);
    TEST_TRUE(now_ms() - start < 500);
    ember_call_destroy(&call);
    must_embed(e, 3, 1, NULL);
    TEST_EQ(broker.n_cancels, 1);
    ember_close(&e);
    script_stop(&broker);
}

static void test_memory_limit(void **state) {
    (void)state;
    char a[128];
    address(a);
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.memory_max = 2000;
    ember_t *e = open_client(a, &options);
    struct numbers texts;
    numbers(&texts, 200);
    ember_call_t *calls[8] = {NULL};
    struct ember_error error;
    enum ember_status status = EMBER_OK;
    int n = 0;
    while (n < 8 && status == EMBER_OK) {
        status = ember_embed_start(e, texts.list, 200, NULL, NULL, NULL, &calls[n], &error);
        n += status == EMBER_OK;
    }
    TEST_EQ(status, EMBER_RESOURCE_EXHAUSTED);
    TEST_TRUE(n >= 1 && n <= 3);
    while (n > 0)
        ember_call_destroy(&calls[--n]); /* which cancels them, so there is room again */
    uint64_t start = now_ms();
    do { /* as soon as the client's thread has seen it */
        usleep(1000);
        status = ember_embed_start(e, texts.list, 200, NULL, NULL, NULL, &calls[0], &error);
    } while (status == EMBER_RESOURCE_EXHAUSTED && now_ms() - start < FAR_MS);
    TEST_EQ(status, EMBER_OK);
    ember_call_destroy(&calls[0]);
    ember_close(&e);
}

/* ------------------------------------------------------------------------------------- looking */

static void test_ping_describe_report(void **state) {
    (void)state;
    static struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    struct ember_error error;
    uint32_t us = 0;
    TEST_EQ(ember_ping(e, 0, &us, &error), EMBER_OK);
    TEST_TRUE(us > 0 && us < 1000000);
    struct ember_model model = EMBER_MODEL_INIT;
    TEST_EQ(ember_describe(e, "some-alias", EMBER_TASK_EMBED, 0, &model, &error), EMBER_OK);
    TEST_STR_EQ(model.name, "test-model");
    TEST_STR_EQ(model.fingerprint, "0123456789abcdef");
    TEST_EQ(model.dim, 2);
    TEST_EQ(model.workers, 1);
    TEST_EQ(ember_describe(e, "no such name", EMBER_TASK_EMBED, 0, &model, &error),
            EMBER_INVALID_ARGUMENT);
    ember_report_t *report = NULL;
    TEST_EQ(ember_report(e, 0, &report, &error), EMBER_OK);
    TEST_STR_EQ(ember_report_broker(report)->state, "serving");
    TEST_STR_EQ(ember_report_broker(report)->endpoint, a);
    TEST_EQ(ember_report_broker(report)->clients, 3);
    TEST_STR_EQ(ember_report_worker(report, 0)->models[0].name, "test-model");
    TEST_TRUE(ember_report_worker(report, 1) == NULL);
    TEST_TRUE(ember_report_service(report, 0) == NULL);
    ember_report_destroy(&report);
    ember_close(&e);
    script_stop(&broker);
}

/* A silent connection is asked, and only when it is silent. */
static void test_heartbeat(void **state) {
    (void)state;
    static struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.heartbeat_ms = 50;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    must_embed(e, 1, 1, NULL);
    uint64_t start = now_ms();
    wait_count(&broker.n_pings, 4);
    TEST_ROW("a ping each heartbeat, at most");
    uint32_t n_pings = broker.n_pings;
    if (n_pings < 4 || n_pings > 1 + (now_ms() - start) / 50)
        TEST_FAIL("%u", n_pings);
    must_embed(e, 1, 1, NULL);
    TEST_EQ(broker.n_hellos <= 2, 1); /* still the same session */
    ember_close(&e);
    script_stop(&broker);
}

static void test_bad_arguments(void **state) {
    (void)state;
    static const struct {
        const char *endpoints, *says;
    } rows[] = {{"", "no endpoint"},
                {"127.0.0.1:5555", "write tcp://"},
                {"tcp://a:1,,x", "'' is no endpoint"},
                {"tcp://a:1,tcp://a:1,tcp://a:1,tcp://a:1,tcp://a:1,tcp://a:1,tcp://a:1,tcp://"
                 "a:1,tcp://a:1",
                 "more than 8"}};
    struct ember_error error;
    ember_t *e = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].endpoints);
        TEST_EQ(ember_open(rows[i].endpoints, NULL, &e, &error), EMBER_INVALID_ARGUMENT);
        TEST_HAS(error.message, rows[i].says);
        TEST_TRUE(e == NULL);
    }
    char a[128];
    address(a);
    e = open_client(a, NULL);
    const char *texts[] = {"a"}, *labels[] = {"x", "y", "x"};
    ember_result_t *result = NULL;
    TEST_EQ(ember_embed(e, texts, 0, NULL, &result, &error), EMBER_INVALID_ARGUMENT);
    TEST_EQ(ember_classify(e, texts, 1, labels, 3, NULL, &result, &error), EMBER_INVALID_ARGUMENT);
    TEST_HAS(error.message, "labels 0 and 2");
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.lane = (enum ember_lane)9;
    TEST_EQ(ember_embed(e, texts, 1, &options, &result, NULL), EMBER_INVALID_ARGUMENT);
    char *long_text = calloc(1, LIMIT_TEXT_BYTES + 2);
    memset(long_text, 'x', LIMIT_TEXT_BYTES + 1);
    const char *two[] = {"a", long_text};
    TEST_EQ(ember_embed(e, two, 2, NULL, &result, &error), EMBER_INVALID_ARGUMENT);
    TEST_EQ(error.item, 1);
    free(long_text);
    ember_close(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_gives_up_early_when_told),
        cmocka_unit_test(test_mute_port),
        cmocka_unit_test(test_hangs_up),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_split_and_order),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_item_of_the_call),
        cmocka_unit_test(test_one_model_per_result),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_ping_describe_report),
        cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
