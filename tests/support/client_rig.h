/* client_rig.h - what tests of libember against scripted brokers share: addresses, clients, and
 * calls whose answers can be checked, since the vector of "17" from broker 2 is [17, 2]. */
#ifndef EMBER_TEST_CLIENT_RIG_H
#define EMBER_TEST_CLIENT_RIG_H

#include "support/script_broker.h"
#include "support/test.h"

#include <ember/ember.h>

/* What is kept to 50 ms is judged by tests that have the machine to themselves (tests/fault). */
enum { GRACE_MS = 1000, FAR_MS = 20000 };

static uint32_t names; /* every broker of the test has an address of its own */

static inline void address(char out[128]) {
    snprintf(out, 128, "ipc://@ember-client-test-%d-%u", (int)getpid(), names++);
}

static inline uint64_t now_ms(void) {
    return clock_us() / 1000;
}

static inline ember_t *open_client(const char *endpoints, const struct ember_options *options) {
    ember_t *e = NULL;
    struct ember_error error;
    struct ember_options full = EMBER_OPTIONS_INIT;
    full.request_texts = 64; /* what the numbers of requests below count on */
    if (ember_open(endpoints, options ? options : &full, &e, &error) != EMBER_OK)
        TEST_FAIL("open: %s", error.message);
    return e;
}

/* Until the i-th broker is in that state. */
static inline void wait_state(ember_t *e, size_t i, const char *state) {
    struct ember_broker_view v = EMBER_BROKER_VIEW_INIT;
    for (uint64_t start_ms = now_ms(); now_ms() - start_ms < FAR_MS; usleep(1000))
        if (ember_view_broker(e, i, &v, NULL) == EMBER_OK && strcmp(v.state, state) == 0)
            return;
    TEST_FAIL("broker %zu is %s, not %s", i, v.state, state);
}

/* Until the broker has read so many of a kind. */
static inline void wait_count(const atomic_uint *count, uint32_t n) {
    for (uint64_t start_ms = now_ms(); *count < n && now_ms() - start_ms < FAR_MS;)
        usleep(1000);
}

/* Texts "0" .. "n-1". */
struct numbers {
    char text[512][8];
    const char *list[512];
    size_t n;
};

static inline const char *const *numbers(struct numbers *self, size_t n) {
    self->n = n;
    for (size_t i = 0; i < n; i++) {
        snprintf(self->text[i], sizeof self->text[i], "%zu", i);
        self->list[i] = self->text[i];
    }
    return self->list;
}

static inline void check_numbers(const ember_result_t *result, size_t n, int broker) {
    TEST_EQ(ember_result_count(result), n);
    TEST_EQ(ember_result_dim(result), 2);
    for (size_t i = 0; i < n; i++) {
        const float *row = ember_result_floats(result, i);
        TEST_TRUE(row != NULL);
        TEST_EQ(row[0], (long long)i);
        if (broker)
            TEST_EQ(row[1], broker);
    }
}

/* One call of n numbers that must succeed. */
static inline void must_embed(ember_t *e, size_t n, int broker, struct ember_times *times) {
    struct numbers texts;
    ember_result_t *result = NULL;
    struct ember_error error;
    if (ember_embed(e, numbers(&texts, n), n, NULL, &result, &error) != EMBER_OK)
        TEST_FAIL("embed: %s: %s", ember_status_name(error.status), error.message);
    check_numbers(result, n, broker);
    if (times)
        ember_result_times(result, times);
    ember_result_destroy(&result);
}

/* One call that must fail; returns its error. */
static inline struct ember_error must_fail(ember_t *e, size_t n, uint32_t timeout_ms,
                                           uint32_t flags) {
    struct numbers texts;
    ember_result_t *result = NULL;
    struct ember_error error;
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.timeout_ms = timeout_ms;
    options.flags = flags;
    uint64_t start = now_ms();
    enum ember_status status = ember_embed(e, numbers(&texts, n), n, &options, &result, &error);
    if (status == EMBER_OK)
        TEST_FAIL("a call succeeded that could not");
    TEST_EQ(error.status, status);
    TEST_TRUE(result == NULL);
    if (now_ms() - start > (timeout_ms ? timeout_ms : 10000) + GRACE_MS)
        TEST_FAIL("took %llu ms, its deadline was %u", (unsigned long long)(now_ms() - start),
                  timeout_ms);
    return error;
}

/* On a busy machine a call may end because the client's own thread was late, which it says. */
static inline bool was_held_up(const struct ember_error *error) {
    return error->status == EMBER_DEADLINE_EXCEEDED && strstr(error->message, "held up");
}

/* One call that no broker takes. */
static inline struct ember_error must_find_nobody(ember_t *e, size_t n, uint32_t timeout_ms) {
    struct ember_error error;
    for (int i = 0; i < 10; i++) {
        error = must_fail(e, n, timeout_ms, 0);
        if (!was_held_up(&error))
            break;
    }
    TEST_EQ(error.status, EMBER_UNAVAILABLE);
    return error;
}

#endif
