/* dial_test.c - which broker, and whether it is there: every way to lose one, in virtual time. */
#include "dial.h"
#include "support/test.h"

#include <stddef.h>

enum { MS = 1000, HEARTBEAT = 500 * MS };

static struct dial d;

/* What dial wants at `now_us`, done at once as client.c would; HELLO only when the socket is
 * ready. */
static enum dial_want step(uint64_t now_us, bool writable) {
    enum dial_want want = dial_next(&d, now_us);
    if (want == DIAL_OPEN)
        dial_opened(&d, now_us);
    if (want == DIAL_HELLO && writable)
        dial_greeted(&d, now_us);
    if (want == DIAL_PING)
        dial_asked(&d, now_us);
    return want;
}

static void bring_up(uint32_t n_endpoints, uint64_t now_us) {
    dial_init(&d, n_endpoints, 1, now_us);
    TEST_EQ(step(now_us, true), DIAL_OPEN);
    TEST_EQ(step(now_us, true), DIAL_HELLO);
    TEST_EQ(step(now_us, true), DIAL_NOTHING);
    dial_welcome(&d, 77, HEARTBEAT, now_us);
    TEST_TRUE(dial_may_send(&d));
    TEST_EQ(step(now_us, true), DIAL_NOTHING);
}

/* Lets time pass in the steps dial asks for; returns when it first wants `want`, 0: not until the
 * end. */
static uint64_t until(enum dial_want want, uint64_t now_us, uint64_t end_us) {
    while (now_us <= end_us) {
        enum dial_want got = step(now_us, false);
        if (got == want)
            return now_us;
        if (got != DIAL_NOTHING && got != DIAL_HELLO)
            continue;
        uint64_t wake_us = dial_wake_us(&d);
        now_us = wake_us > now_us ? wake_us : now_us + 1;
    }
    return 0;
}

static void test_silence(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    bring_up(1, t);
    TEST_ROW("asked after one beat, and after each that follows");
    TEST_EQ(until(DIAL_PING, t, t + 5000 * MS), t + HEARTBEAT);
    TEST_EQ(until(DIAL_PING, t + HEARTBEAT, t + 5000 * MS), t + 2 * HEARTBEAT);
    TEST_ROW("an answer ends it");
    dial_heard(&d, t + 2 * HEARTBEAT + MS);
    TEST_EQ(until(DIAL_PING, t + 2 * HEARTBEAT + MS, t + 5000 * MS), t + 3 * HEARTBEAT + MS);
    TEST_ROW("three silences: given up");
    uint64_t asked = t + 3 * HEARTBEAT + MS;
    uint64_t gone = until(DIAL_OPEN, asked, asked + 5000 * MS);
    TEST_TRUE(gone >= asked + 2 * HEARTBEAT && gone <= asked + 2 * HEARTBEAT + 50 * MS);
    TEST_TRUE(!dial_may_send(&d));
}

static void test_silence_nobody_asked_about(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    bring_up(1, t);
    t += 60000 * MS; /* we were stopped for a minute, not the broker */
    TEST_EQ(step(t, true), DIAL_PING);
    TEST_EQ(step(t, true), DIAL_NOTHING);
    dial_heard(&d, t + MS);
    TEST_TRUE(dial_may_send(&d));
}

static void test_patience_of_requests(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t left_us, gone_us; /* after the sending */
    } rows[] = {
        {"300 ms to go: 100 ms", 300 * MS, 100 * MS},
        {"3 s to go: a third", 3000 * MS, 1000 * MS},
        {"10 s to go: three beats come first", 10000 * MS, 3 * HEARTBEAT},
        {"in a hurry: not below 100 ms", 20 * MS, 100 * MS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint64_t t = 1000 * MS;
        bring_up(2, t);
        dial_sent(&d, 600000 * MS, t); /* one that could wait */
        dial_sent(&d, rows[i].left_us, t);
        uint64_t gone = until(DIAL_OPEN, t, t + 5000 * MS);
        TEST_TRUE(gone >= t + rows[i].gone_us - 2 && gone <= t + rows[i].gone_us + 2);
        TEST_EQ(d.at, 1);
    }
    TEST_ROW("nothing in flight any more");
    bring_up(1, 1000 * MS);
    dial_sent(&d, 20 * MS, 1000 * MS);
    dial_idle(&d);
    TEST_EQ(until(DIAL_PING, 1000 * MS, 9000 * MS), 1000 * MS + HEARTBEAT);
}

/* A slow worker is no dead broker: PONG keeps it alive however long the answer takes. */
static void test_slow_is_not_dead(void **state) {
    (void)state;
    uint64_t t = 1000 * MS, end = t + 3000 * MS;
    bring_up(2, t);
    dial_sent(&d, 300 * MS, t);
    int pings = 0;
    while (t < end) {
        enum dial_want want = step(t, true);
        if (want == DIAL_PING) {
            pings++;
            dial_heard(&d, t + 100);
        }
        TEST_TRUE(want == DIAL_PING || want == DIAL_NOTHING);
        t = dial_wake_us(&d) > t ? dial_wake_us(&d) : t + 1;
    }
    TEST_EQ(d.at, 0);
    TEST_TRUE(pings >= 80 && pings <= 100); /* each 33 ms */
}

static void test_next_endpoint(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    dial_init(&d, 3, 1, t);
    for (uint32_t i = 0; i < 3; i++) { /* each endpoint once, without a pause */
        TEST_EQ(step(t, true), DIAL_OPEN);
        TEST_EQ(d.at, i);
        dial_fail(&d, t);
        dial_fail(&d, t); /* told twice: counted once */
    }
    TEST_EQ(d.at, 0);
    uint64_t opened = t;
    for (uint32_t i = 0; i < 60; i++) { /* then with pauses that grow, up to 0.8 s */
        uint64_t next = until(DIAL_OPEN, opened, opened + 5000 * MS);
        TEST_TRUE(next && next <= opened + 800 * MS);
        dial_fail(&d, next);
        opened = next;
    }
    TEST_TRUE(opened > t + 5000 * MS);
}

static void test_no_answer_to_hello(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    dial_init(&d, 2, 1, t);
    TEST_EQ(step(t, true), DIAL_OPEN);
    TEST_ROW("the socket does not take it: nobody there");
    TEST_EQ(step(t, false), DIAL_HELLO);
    TEST_EQ(dial_wake_us(&d), t + 1000 * MS);
    TEST_EQ(step(t + 1000 * MS, true), DIAL_OPEN);
    TEST_EQ(d.at, 1);
    TEST_ROW("it is taken, but no WELCOME comes");
    t += 1000 * MS;
    TEST_EQ(step(t, true), DIAL_HELLO);
    TEST_EQ(step(t + 999 * MS, true), DIAL_NOTHING);
    uint64_t again = until(DIAL_OPEN, t + 1000 * MS, t + 2000 * MS);
    TEST_TRUE(again && d.at == 0);
}

static void test_forgotten_and_leaving(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    bring_up(1, t);
    dial_unknown(&d, t);
    TEST_TRUE(!dial_may_send(&d));
    TEST_EQ(step(t, true), DIAL_HELLO); /* on the same connection */
    dial_unknown(&d, t);                /* the second of a burst changes nothing */
    TEST_EQ(step(t, true), DIAL_NOTHING);
    dial_welcome(&d, 78, HEARTBEAT, t);
    TEST_TRUE(dial_may_send(&d));
    dial_goaway(&d, t);
    TEST_TRUE(!dial_may_send(&d));
    TEST_EQ(d.state, DIAL_UP); /* it still answers */
    dial_fail(&d, t);
    uint64_t again = until(DIAL_OPEN, t, t + 1000 * MS);
    TEST_TRUE(again > 0);
    TEST_EQ(step(again, true), DIAL_HELLO);
    dial_welcome(&d, 79, HEARTBEAT, again);
    TEST_TRUE(dial_may_send(&d));
}

static void test_heartbeat_is_kept_sane(void **state) {
    (void)state;
    bring_up(1, MS);
    dial_welcome(&d, 1, 0, MS);
    TEST_EQ(d.heartbeat_us, 20 * MS);
    dial_welcome(&d, 1, UINT64_MAX, MS);
    TEST_EQ(d.heartbeat_us, 10000 * MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silence_nobody_asked_about),
        cmocka_unit_test(test_patience_of_requests),
        cmocka_unit_test(test_slow_is_not_dead),
        cmocka_unit_test(test_next_endpoint),
        cmocka_unit_test(test_no_answer_to_hello),
        cmocka_unit_test(test_forgotten_and_leaving),
        cmocka_unit_test(test_heartbeat_is_kept_sane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
