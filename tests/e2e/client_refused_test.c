/* client_refused_test.c - libember against brokers that refuse requests, answer twice, or answer
 * with what belongs to somebody else. */
#include "support/client_rig.h"

/* ------------------------------------------------------------------------------- wrong answers */

static void test_twice_and_foreign(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.twice = 1;
    broker.foreign = 1;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    for (int i = 0; i < 20; i++)
        must_embed(e, 100, 1, NULL);
    ember_close(&e);
    script_stop(&broker);
}

/* ------------------------------------------------------------------------------------ refusals */

static void test_busy_is_tried_again(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum status status;
        int after_ms;
        bool again;
    } rows[] = {
        {"busy", STATUS_RESOURCE_EXHAUSTED, 20, true},
        {"too large", STATUS_RESOURCE_EXHAUSTED, 0, false},
        {"no worker", STATUS_UNAVAILABLE, 0, true},
        {"no worker, with advice", STATUS_UNAVAILABLE, 20, true},
        {"perhaps done", STATUS_UNKNOWN_OUTCOME, 0, true},
        {"no such model", STATUS_NOT_FOUND, 0, false},
        {"broken", STATUS_INTERNAL, 20, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        static struct script broker;
        char a[128];
        address(a);
        script_init(&broker, a, 1);
        broker.refuse_left = 2;
        broker.refuse_status = (int)rows[i].status;
        broker.refuse_after_ms = rows[i].after_ms;
        script_start(&broker);
        ember_t *e = open_client(a, NULL);
        struct ember_error error = must_fail(e, 3, 0, EMBER_NO_RETRY);
        TEST_EQ(error.status, rows[i].status);
        TEST_EQ(error.retry_after_ms, rows[i].after_ms);
        TEST_EQ(error.may_have_run, 0);
        broker.refuse_left = 2;
        uint64_t start = now_ms();
        if (rows[i].again) {
            must_embed(e, 3, 1, NULL);
            TEST_TRUE(now_ms() - start + 1 >= (uint64_t)(2 * rows[i].after_ms));
        } else {
            TEST_EQ(must_fail(e, 3, 0, 0).status, rows[i].status);
        }
        ember_close(&e);
        script_stop(&broker);
        if (rows[i].again) { /* 1 refused at once; 2 refused, 1 answered */
            TEST_EQ(broker.n_requests, 4);
            TEST_TRUE(broker.seen[1].id < broker.seen[2].id);
            TEST_TRUE(broker.seen[2].id < broker.seen[3].id);
            TEST_EQ(broker.seen[3].flags, WIRE_FLAG_RETRY);
        }
    }
}

static void test_refused_to_the_end(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.refuse_left = 100000;
    broker.refuse_status = STATUS_UNAVAILABLE;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    struct ember_error error = must_fail(e, 3, 300, 0);
    TEST_EQ(error.status, EMBER_UNAVAILABLE);
    TEST_EQ(error.may_have_run, 0);
    TEST_STR_EQ(error.message, "told to refuse");
    broker.refuse_status = STATUS_RESOURCE_EXHAUSTED;
    broker.refuse_after_ms = 5000; /* longer than there is time: it is asked again before */
    uint32_t asked = broker.n_requests;
    uint64_t start = now_ms();
    error = must_fail(e, 3, 1000, 0);
    TEST_EQ(error.status, EMBER_RESOURCE_EXHAUSTED);
    TEST_EQ(error.retry_after_ms, 5000);
    TEST_TRUE(now_ms() - start >= 900);
    TEST_TRUE(broker.n_requests - asked >= 3 && broker.n_requests - asked <= 12);
    broker.no_service = 1;
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.model = "another";
    const char *text = "1";
    ember_result_t *result = NULL;
    TEST_EQ(ember_embed(e, &text, 1, &options, &result, &error), EMBER_RESOURCE_EXHAUSTED);
    TEST_HAS(error.message, "another");
    ember_close(&e);
    script_stop(&broker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twice_and_foreign),
        cmocka_unit_test(test_busy_is_tried_again),
        cmocka_unit_test(test_refused_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
