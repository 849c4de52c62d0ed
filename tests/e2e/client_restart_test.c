/* client_restart_test.c - libember while its brokers are killed, freeze, forget it, refuse it or
 * leave, with many threads at once. */
#include "support/client_rig.h"

/* ------------------------------------------------------------------------ restarts and silence */

static void test_restart_sends_again(void **state) {
    (void)state;
    static struct script first, second;
    char a[128];
    address(a);
    script_init(&first, a, 1);
    first.mute_left = 1000;
    script_start(&first);
    ember_t *e = open_client(a, NULL);
    struct numbers texts;
    ember_call_t *call;
    struct ember_error error;
    TEST_EQ(ember_embed_start(e, numbers(&texts, 100), 100, NULL, NULL, NULL, &call, &error), 0);
    while (first.n_requests < 2)
        usleep(1000);
    TEST_EQ(ember_call_wait(call, 0), 0);
    script_stop(&first);
    script_init(&second, a, 2);
    script_start(&second);
    ember_result_t *result = NULL;
    TEST_EQ(ember_call_take(call, &result, &error), EMBER_OK);
    check_numbers(result, 100, 2);
    struct ember_times times;
    ember_result_times(result, &times);
    TEST_EQ(times.resent, 2);
    TEST_EQ(ember_call_take(call, &result, &error), EMBER_FAILED_PRECONDITION);
    ember_result_destroy(&result);
    ember_call_destroy(&call);
    ember_close(&e);
    script_stop(&second);
    TEST_EQ(second.n_requests, 2);
    for (int i = 0; i < 2; i++) {
        TEST_EQ(second.seen[i].id, first.seen[i].id);
        TEST_EQ(first.seen[i].flags, 0);
        TEST_EQ(second.seen[i].flags, WIRE_FLAG_RETRY);
        TEST_TRUE(second.seen[i].budget_us < first.seen[i].budget_us);
    }
}

/* The broker stops in the middle of everything, its socket open: the second endpoint takes over in
 * time. */
static void test_frozen_broker(void **state) {
    (void)state;
    static struct script frozen, other;
    char a[128], b[128], both[300];
    address(a);
    address(b);
    snprintf(both, sizeof both, "%s,%s", a, b);
    script_init(&frozen, a, 1);
    script_init(&other, b, 2);
    frozen.heartbeat_ms = other.heartbeat_ms = 10000; /* only the calls' own patience can tell */
    script_start(&frozen);
    script_start(&other);
    ember_t *e = open_client(both, NULL);
    wait_state(e, 0, "up");
    must_embed(e, 2, 1, NULL);
    frozen.frozen = 1;
    while (frozen.frozen == 1) /* until it has noticed */
        usleep(1000);
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.timeout_ms = 900;
    struct numbers texts;
    ember_result_t *result = NULL;
    struct ember_error error;
    if (ember_embed(e, numbers(&texts, 2), 2, &options, &result, &error) != EMBER_OK)
        TEST_FAIL("%s", error.message);
    check_numbers(result, 2, 2);
    ember_result_destroy(&result);
    ember_close(&e);
    frozen.frozen = 0;
    script_stop(&frozen);
    script_stop(&other);
}

static void test_forgotten_session(void **state) {
    (void)state;
    struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    must_embed(e, 2, 1, NULL);
    uint32_t hellos = broker.n_hellos, requests = broker.n_requests;
    broker.forget = 1;
    must_embed(e, 150, 1, NULL);
    TEST_EQ(broker.n_hellos, hellos + 1);
    TEST_EQ(broker.n_requests, requests + 3); /* those that met WHO_ARE_YOU are not counted */
    ember_close(&e);
    script_stop(&broker);
}

static void test_hello_refused(void **state) {
    (void)state;
    static struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.hello_left = 3;
    script_start(&broker);
    ember_t *e = open_client(a, NULL);
    must_embed(e, 2, 1, NULL); /* the fourth is taken */
    ember_close(&e);
    broker.hello_left = 1000000;
    e = open_client(a, NULL);
    struct ember_error error = must_find_nobody(e, 2, 1000);
    TEST_EQ(error.may_have_run, 0);
    TEST_HAS(error.message, "RESOURCE_EXHAUSTED: told to be full");
    ember_close(&e);
    script_stop(&broker);
}

/* Waits for the call's numbers. */
static void take_numbers(ember_call_t *call, size_t n, int broker) {
    ember_result_t *result = NULL;
    struct ember_error error;
    TEST_EQ(ember_call_take(call, &result, &error), EMBER_OK);
    check_numbers(result, n, broker);
    ember_result_destroy(&result);
    ember_call_destroy(&call);
}

static void test_goaway(void **state) {
    (void)state;
    static struct script leaving, other;
    char a[128], b[128], both[300];
    address(a);
    address(b);
    snprintf(both, sizeof both, "%s,%s", a, b);
    script_init(&leaving, a, 1);
    script_init(&other, b, 2);
    leaving.hold = 3;
    script_start(&leaving);
    script_start(&other);
    ember_t *e = open_client(both, NULL);
    wait_state(e, 0, "up");
    struct numbers texts;
    ember_call_t *first, *second;
    struct ember_error error;
    TEST_EQ(ember_embed_start(e, numbers(&texts, 3), 3, NULL, NULL, NULL, &first, &error), 0);
    TEST_EQ(ember_embed_start(e, numbers(&texts, 4), 4, NULL, NULL, NULL, &second, &error), 0);
    while (leaving.n_requests < 2)
        usleep(1000);
    leaving.goaway = 1;
    take_numbers(first, 3, 1);      /* it came behind the GOAWAY, which is heard now */
    must_embed(e, 5, 2, NULL);      /* new work goes to the other */
    TEST_EQ(leaving.n_requests, 2); /* and at once, not as a second copy */
    TEST_EQ(ember_call_wait(second, 0), 0);
    leaving.hold = 0; /* what was begun is still taken from the one that leaves */
    take_numbers(second, 4, 1);
    ember_close(&e);
    script_stop(&leaving);
    script_stop(&other);
}

/* -------------------------------------------------------------------------------- many threads */

struct caller {
    ember_t *e;
    uint32_t seed;
    atomic_uint *failed;
};

static void *call_much(void *arg) {
    struct caller *self = arg;
    for (uint32_t i = 0; i < 40; i++) {
        char text[16][16];
        const char *list[16];
        size_t n = 1 + (self->seed + i) % 16;
        for (size_t k = 0; k < n; k++) {
            snprintf(text[k], sizeof text[k], "%u", self->seed * 1000 + i * 16 + (uint32_t)k);
            list[k] = text[k];
        }
        ember_result_t *result = NULL;
        if (ember_embed(self->e, list, n, NULL, &result, NULL) != EMBER_OK) {
            (*self->failed)++;
            continue;
        }
        for (size_t k = 0; k < n; k++)
            if (ember_result_floats(result, k)[0] !=
                (float)(self->seed * 1000 + i * 16 + (uint32_t)k))
                (*self->failed)++;
        ember_result_destroy(&result);
    }
    return NULL;
}

/* Eight threads share a client while the broker is killed and comes back, twice, and refuses now
 * and then. */
static void test_threads_and_restarts(void **state) {
    (void)state;
    static struct script broker;
    char a[128];
    address(a);
    script_init(&broker, a, 1);
    broker.refuse_left = 20;
    broker.refuse_status = STATUS_UNAVAILABLE;
    script_start(&broker);
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.request_texts = 4;
    ember_t *e = open_client(a, &options);
    pthread_t threads[8];
    struct caller callers[8];
    atomic_uint failed = 0;
    for (uint32_t i = 0; i < 8; i++) {
        callers[i] = (struct caller){e, i + 1, &failed};
        TEST_EQ(pthread_create(&threads[i], NULL, call_much, &callers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        usleep(20 * 1000);
        script_stop(&broker);
        script_start(&broker);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    TEST_EQ(failed, 0);
    ember_close(&e);
    script_stop(&broker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart_sends_again),
        cmocka_unit_test(test_frozen_broker),
        cmocka_unit_test(test_forgotten_session),
        cmocka_unit_test(test_hello_refused),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_threads_and_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
