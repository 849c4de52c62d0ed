/* dial_test.c - one broker, and whether it is there: every way to lose it, in virtual time. */
#include "dial.h"
#include "support/test.h"

#include <stddef.h>

enum { MS = 1000, HEARTBEAT = 500 * MS };

static struct dial d;

/* What dial wants at `now_us`, done at once as client.c would; HELLO only when the socket is
 * ready. */
static enum dial_want step(uint64_t now_us, bool writable) {
    enum dial_want want = dial_next(&d, now_us);
    if (want == DIAL_LOST)
        dial_fail(&d, false, now_us);
    if (want == DIAL_OPEN)
        dial_opened(&d, now_us);
    if (want == DIAL_HELLO && writable)
        dial_greeted(&d, now_us);
    if (want == DIAL_PING)
        dial_asked(&d, now_us);
    return want;
}

static void bring_up(uint64_t now_us) {
    dial_init(&d, 1);
    TEST_EQ(step(now_us, true), DIAL_NOTHING); /* off */
    dial_on(&d, now_us);
    TEST_EQ(step(now_us, true), DIAL_OPEN);
    TEST_EQ(step(now_us, true), DIAL_HELLO);
    TEST_EQ(step(now_us, true), DIAL_NOTHING);
    dial_welcome(&d, 77, HEARTBEAT, now_us);
    TEST_EQ(d.state, DIAL_UP);
    TEST_EQ(d.session, 77);
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
    bring_up(t);
    TEST_ROW("asked after one beat, and after each that follows");
    TEST_EQ(until(DIAL_PING, t, t + 5000 * MS), t + HEARTBEAT);
    TEST_EQ(until(DIAL_PING, t + HEARTBEAT, t + 5000 * MS), t + 2 * HEARTBEAT);
    TEST_ROW("an answer ends it");
    dial_heard(&d, t + 2 * HEARTBEAT + MS);
    TEST_EQ(until(DIAL_PING, t + 2 * HEARTBEAT + MS, t + 5000 * MS), t + 3 * HEARTBEAT + MS);
    TEST_ROW("three silences: given up");
    uint64_t asked = t + 3 * HEARTBEAT + MS;
    uint64_t gone = until(DIAL_LOST, asked, asked + 5000 * MS);
    TEST_EQ(gone, asked + 2 * HEARTBEAT);
    TEST_EQ(d.state, DIAL_DOWN);
    TEST_EQ(d.session, 0);
    uint64_t again = until(DIAL_OPEN, gone, gone + 5000 * MS);
    TEST_TRUE(again >= gone && again <= gone + 50 * MS);
}

static void test_silence_nobody_asked_about(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    bring_up(t);
    t += 60000 * MS; /* we were stopped for a minute, not the broker */
    TEST_EQ(step(t, true), DIAL_PING);
    TEST_EQ(step(t, true), DIAL_NOTHING);
    dial_heard(&d, t + MS);
    TEST_EQ(d.state, DIAL_UP);
}

/* Held up for less than three beats it is not lost, however many asks go unanswered meanwhile. */
static void test_held_up(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    bring_up(t);
    TEST_EQ(until(DIAL_LOST, t, t + 3 * HEARTBEAT - 1), 0);
    TEST_EQ(d.state, DIAL_UP);
    dial_heard(&d, t + 3 * HEARTBEAT - 1);
    TEST_EQ(until(DIAL_LOST, t + 3 * HEARTBEAT, t + 6 * HEARTBEAT - 2), 0);
    TEST_EQ(until(DIAL_LOST, t + 6 * HEARTBEAT - 1, t + 7 * HEARTBEAT), t + 6 * HEARTBEAT - 1);
}

/* A slow worker is no dead broker: PONG keeps it alive however long the answer takes. */
static void test_slow_is_not_dead(void **state) {
    (void)state;
    uint64_t t = 1000 * MS, end = t + 3000 * MS;
    bring_up(t);
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
    TEST_EQ(d.state, DIAL_UP);
    TEST_TRUE(pings >= 5 && pings <= 6); /* each beat */
}

/* The longest of many pauses after `failures` in a row. */
static uint64_t longest_pause(uint32_t failures, bool alone) {
    uint64_t longest = 0, t = 1000 * MS;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        dial_init(&d, seed);
        dial_on(&d, t);
        for (uint32_t i = 0; i < failures; i++) {
            TEST_EQ(until(DIAL_OPEN, t, t + 60000 * MS) > 0, 1);
            dial_fail(&d, alone, t);
            dial_fail(&d, alone, t); /* told twice: counted once */
            TEST_EQ(d.failures, i + 1);
            uint64_t pause = d.since_us - t;
            longest = i + 1 == failures && pause > longest ? pause : longest;
            t = d.since_us;
        }
    }
    return longest;
}

static void test_pauses(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t failures;
        bool alone;
        uint64_t most_us;
    } rows[] = {
        {"the first", 1, false, 50 * MS},          {"the second", 2, false, 100 * MS},
        {"the fifth", 5, false, 800 * MS},         {"the cap", 20, false, 2000 * MS},
        {"nobody else is up", 20, true, 500 * MS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint64_t longest = longest_pause(rows[i].failures, rows[i].alone);
        TEST_TRUE(longest <= rows[i].most_us && longest > rows[i].most_us * 9 / 10);
    }
}

static void test_row_of_failures(void **state) {
    (void)state;
    bring_up(1000 * MS);
    dial_fail(&d, false, 1500 * MS);
    TEST_EQ(d.failures, 1);
    d.since_us = 1500 * MS;
    TEST_EQ(step(1500 * MS, true), DIAL_OPEN);
    TEST_EQ(step(1500 * MS, true), DIAL_HELLO);
    dial_welcome(&d, 78, HEARTBEAT, 1500 * MS);
    TEST_ROW("a WELCOME alone ends no row: who accepts and dies would be dialled without a pause");
    dial_fail(&d, false, 1600 * MS);
    TEST_EQ(d.failures, 2);
    d.since_us = 1600 * MS;
    TEST_EQ(step(1600 * MS, true), DIAL_OPEN);
    TEST_EQ(step(1600 * MS, true), DIAL_HELLO);
    dial_welcome(&d, 79, HEARTBEAT, 1600 * MS);
    TEST_ROW("a second does");
    dial_fail(&d, false, 2600 * MS);
    TEST_EQ(d.failures, 1);
}

static void test_no_answer_to_hello(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    dial_init(&d, 1);
    dial_on(&d, t);
    TEST_EQ(step(t, true), DIAL_OPEN);
    TEST_ROW("the socket does not take it: nobody there");
    TEST_EQ(step(t, false), DIAL_HELLO);
    TEST_EQ(dial_wake_us(&d), t + 1000 * MS);
    TEST_EQ(step(t + 1000 * MS, true), DIAL_LOST);
    t = until(DIAL_OPEN, t + 1000 * MS, t + 2000 * MS);
    TEST_ROW("it is taken, but no WELCOME comes");
    TEST_EQ(step(t, true), DIAL_HELLO);
    TEST_EQ(step(t + 999 * MS, true), DIAL_NOTHING);
    TEST_EQ(step(t + 1000 * MS, true), DIAL_LOST);
    dial_off(&d);
    TEST_EQ(dial_wake_us(&d), UINT64_MAX);
}

static void test_forgotten(void **state) {
    (void)state;
    uint64_t t = 1000 * MS;
    bring_up(t);
    dial_unknown(&d, t);
    TEST_EQ(d.session, 0);
    TEST_EQ(step(t, true), DIAL_HELLO); /* on the same connection */
    dial_unknown(&d, t);                /* the second of a burst changes nothing */
    TEST_EQ(step(t, true), DIAL_NOTHING);
    dial_welcome(&d, 78, HEARTBEAT, t);
    TEST_EQ(d.state, DIAL_UP);
    TEST_EQ(d.session, 78);
}

static void test_heartbeat_is_kept_sane(void **state) {
    (void)state;
    bring_up(MS);
    dial_welcome(&d, 1, 0, MS);
    TEST_EQ(d.heartbeat_us, 20 * MS);
    dial_welcome(&d, 1, UINT64_MAX, MS);
    TEST_EQ(d.heartbeat_us, 10000 * MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silence_nobody_asked_about),
        cmocka_unit_test(test_held_up),
        cmocka_unit_test(test_slow_is_not_dead),
        cmocka_unit_test(test_pauses),
        cmocka_unit_test(test_row_of_failures),
        cmocka_unit_test(test_no_answer_to_hello),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_heartbeat_is_kept_sane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
