/* upstream_test.c - the life of a connection to a broker, told as a list of events. */
#include "support/test.h"
#include "upstream.h"

#define MS 1000

static int model_index(void *arg, struct view name) {
    (void)arg;
    return view_equal(name, view_of("a")) ? 0 : view_equal(name, view_of("b")) ? 1 : -1;
}

static bool ready_ok(struct upstream *up, uint64_t broker, uint64_t now_us) {
    const struct wire_service_number numbers[] = {{5, view_of("b"), WIRE_TASK_EMBED},
                                                  {6, view_of("stranger"), WIRE_TASK_EMBED},
                                                  {70000, view_of("a"), WIRE_TASK_EMBED},
                                                  {7, view_of("a"), WIRE_TASK_CLASSIFY}};
    struct wire_ready_ok ok = {.protocol = 1,
                               .broker = broker,
                               .heartbeat_ms = 100,
                               .silence_ms = 300,
                               .services = numbers,
                               .n_services = 4};
    upstream_heard(up, now_us);
    return upstream_ready_ok(up, &ok, model_index, NULL, now_us);
}

static uint8_t tick(struct upstream *up, uint64_t now_us) {
    bool lost;
    return upstream_tick(up, now_us, false, true, &lost);
}

static void test_greeting(void **state) {
    (void)state;
    struct upstream up;
    upstream_init(&up, 1000);
    TEST_EQ(tick(&up, 1000), WIRE_READY);
    TEST_EQ(tick(&up, 1000), 0);
    TEST_EQ(upstream_deadline_us(&up), 1000 + UPSTREAM_GREET_US);
    TEST_EQ(tick(&up, 1000 + UPSTREAM_GREET_US), WIRE_READY); /* for ever */
    TEST_TRUE(!upstream_live(&up));
    TEST_TRUE(ready_ok(&up, 77, 300 * MS));
    TEST_TRUE(upstream_live(&up));
    TEST_EQ(up.epoch, 77);
    TEST_EQ(tick(&up, 300 * MS), WIRE_HEARTBEAT);
    TEST_EQ(tick(&up, 300 * MS), 0);
    TEST_EQ(upstream_service(&up, 5)->model, 1);
    TEST_EQ(upstream_service(&up, 7)->task, WIRE_TASK_CLASSIFY);
    TEST_TRUE(upstream_service(&up, 6) == NULL); /* a model we do not have */
    TEST_TRUE(upstream_service(&up, 70000 & 0xffff) == NULL);
    TEST_TRUE(upstream_service(&up, 0) == NULL);
    TEST_TRUE(!ready_ok(&up, 77, 301 * MS)); /* the same broker */
    TEST_TRUE(ready_ok(&up, 78, 302 * MS));  /* started anew */
}

/* No connection yet: soon again, then more and more seldom, then as often as any greeting. */
static void test_unsent(void **state) {
    (void)state;
    struct upstream up;
    uint64_t now_us = 1000, last_us = now_us, waited_us = 0;
    upstream_init(&up, now_us);
    for (int i = 0; i < 20; i++) {
        TEST_EQ(tick(&up, now_us), WIRE_READY);
        upstream_unsent(&up, now_us);
        TEST_EQ(tick(&up, now_us), 0);
        now_us = upstream_deadline_us(&up);
        TEST_TRUE(now_us - last_us >= waited_us && now_us - last_us <= UPSTREAM_GREET_US);
        waited_us = now_us - last_us;
        last_us = now_us;
        if (i == 0)
            TEST_EQ(waited_us, UPSTREAM_RETRY_US);
    }
    TEST_EQ(waited_us, UPSTREAM_GREET_US);
    TEST_EQ(tick(&up, now_us), WIRE_READY); /* sent: the answer gets its time */
    TEST_EQ(upstream_deadline_us(&up), now_us + UPSTREAM_GREET_US);
}

static void test_silence(void **state) {
    (void)state;
    struct upstream up;
    upstream_init(&up, 0);
    tick(&up, 0);
    ready_ok(&up, 77, 0);
    uint32_t beats = 0, pings = 0, ready = 0;
    bool lost = false;
    for (uint64_t ms = 0; ms < 300; ms++) {
        uint8_t type;
        while ((type = upstream_tick(&up, ms * MS, false, true, &lost))) {
            beats += type == WIRE_HEARTBEAT;
            pings += type == WIRE_PING;
            TEST_TRUE(!lost);
        }
        TEST_TRUE(upstream_deadline_us(&up) > ms * MS);
    }
    TEST_EQ(beats, 3);
    TEST_EQ(pings, 2);
    for (uint8_t type; (type = upstream_tick(&up, 300 * MS, false, true, &lost));) {
        ready += type == WIRE_READY;
        TEST_TRUE(lost);
    }
    TEST_EQ(ready, 1);
    TEST_TRUE(!upstream_live(&up));
    TEST_TRUE(!ready_ok(&up, 77, 310 * MS)); /* it had only been slow: nothing is forgotten */
    TEST_TRUE(upstream_live(&up));
    TEST_ROW("asked who we are");
    tick(&up, 310 * MS);
    upstream_who_are_you(&up, 320 * MS);
    TEST_EQ(tick(&up, 320 * MS), WIRE_READY);
}

/* Told by the monitor, long before silence would tell. */
static void test_cut(void **state) {
    (void)state;
    struct upstream up;
    bool lost;
    upstream_init(&up, 0);
    tick(&up, 0);
    upstream_unsent(&up, 0);
    TEST_ROW("the first connection: greeted at once");
    upstream_connected(&up, MS);
    TEST_EQ(tick(&up, MS), WIRE_READY);
    TEST_EQ(tick(&up, MS), 0);
    TEST_TRUE(ready_ok(&up, 77, 2 * MS));
    TEST_ROW("it breaks, and the same broker process is there again");
    upstream_cut(&up, 50 * MS);
    TEST_TRUE(!upstream_live(&up));
    TEST_EQ(tick(&up, 50 * MS), WIRE_READY);
    upstream_unsent(&up, 50 * MS);
    upstream_connected(&up, 51 * MS);
    TEST_EQ(tick(&up, 51 * MS), WIRE_READY);
    TEST_TRUE(ready_ok(&up, 77, 52 * MS)); /* it gave our requests to others: forget them */
    TEST_TRUE(!ready_ok(&up, 77, 53 * MS));
    TEST_ROW("a connection whose predecessor's end was not told");
    upstream_connected(&up, 60 * MS);
    TEST_TRUE(!upstream_live(&up));
    TEST_EQ(tick(&up, 60 * MS), WIRE_READY);
    TEST_TRUE(ready_ok(&up, 77, 61 * MS));
    TEST_ROW("a heartbeat before its time");
    while (tick(&up, 61 * MS))
        ;
    upstream_beat(&up, 62 * MS);
    TEST_EQ(upstream_deadline_us(&up), 62 * MS);
    TEST_EQ(tick(&up, 62 * MS), WIRE_HEARTBEAT);
    TEST_TRUE(upstream_deadline_us(&up) > 62 * MS);
    TEST_ROW("it breaks while we are leaving: nobody to wait for");
    upstream_tick(&up, 63 * MS, true, false, &lost);
    upstream_beat(&up, 64 * MS);
    TEST_EQ(upstream_tick(&up, 64 * MS, true, false, &lost), WIRE_HEARTBEAT);
    upstream_cut(&up, 65 * MS);
    TEST_EQ(up.state, UPSTREAM_GONE);
    upstream_connected(&up, 66 * MS);
    TEST_EQ(up.state, UPSTREAM_GONE);
}

/* No broker makes us beat like a drum, or never. */
static void test_intervals(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t told_ms, silence_ms;
        uint64_t heartbeat_us, silence_us;
    } rows[] = {
        {"none told", 0, 0, 500 * MS, 1500 * MS},
        {"as told", 100, 400, 100 * MS, 400 * MS},
        {"much too often", 1, 1, UPSTREAM_BEAT_US, 3 * UPSTREAM_BEAT_US},
        {"much too seldom", UINT32_MAX, 5, UPSTREAM_BEAT_US_MAX,
         3 * (uint64_t)UPSTREAM_BEAT_US_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct upstream up;
        struct wire_ready_ok ok = {
            .broker = 1, .heartbeat_ms = rows[i].told_ms, .silence_ms = rows[i].silence_ms};
        upstream_init(&up, 0);
        tick(&up, 0);
        upstream_ready_ok(&up, &ok, model_index, NULL, 0);
        TEST_EQ(up.heartbeat_us, rows[i].heartbeat_us);
        TEST_EQ(up.silence_us, rows[i].silence_us);
    }
}

static void test_leaving(void **state) {
    (void)state;
    struct upstream up;
    bool lost;
    TEST_ROW("finishes, says BYE, waits for BYE_OK");
    upstream_init(&up, 0);
    tick(&up, 0);
    ready_ok(&up, 77, 0);
    TEST_EQ(upstream_tick(&up, 0, true, false, &lost), WIRE_DRAIN);
    TEST_EQ(upstream_tick(&up, 0, true, false, &lost), 0);
    TEST_EQ(upstream_tick(&up, 100 * MS, true, false, &lost), WIRE_HEARTBEAT);
    TEST_EQ(upstream_tick(&up, 150 * MS, true, true, &lost), WIRE_BYE);
    TEST_EQ(upstream_tick(&up, 150 * MS, true, true, &lost), 0);
    TEST_EQ(up.state, UPSTREAM_LEAVING);
    upstream_bye_ok(&up);
    TEST_EQ(up.state, UPSTREAM_GONE);
    TEST_TRUE(upstream_deadline_us(&up) == UINT64_MAX);
    TEST_ROW("no BYE_OK comes");
    upstream_init(&up, 0);
    tick(&up, 0);
    ready_ok(&up, 77, 0);
    upstream_tick(&up, 0, true, true, &lost);
    TEST_EQ(upstream_tick(&up, 0, true, true, &lost), WIRE_BYE);
    upstream_tick(&up, UPSTREAM_BYE_US - 1, true, true, &lost);
    TEST_EQ(up.state, UPSTREAM_LEAVING);
    upstream_tick(&up, UPSTREAM_BYE_US, true, true, &lost);
    TEST_EQ(up.state, UPSTREAM_GONE);
    TEST_ROW("it never knew us");
    upstream_init(&up, 0);
    TEST_EQ(upstream_tick(&up, 0, true, true, &lost), 0);
    TEST_EQ(up.state, UPSTREAM_GONE);
    TEST_ROW("it forgot us while we were leaving");
    upstream_init(&up, 0);
    tick(&up, 0);
    ready_ok(&up, 77, 0);
    upstream_tick(&up, 0, true, false, &lost);
    upstream_who_are_you(&up, 1);
    TEST_EQ(up.state, UPSTREAM_GONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting),  cmocka_unit_test(test_unsent),
        cmocka_unit_test(test_silence),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_intervals), cmocka_unit_test(test_leaving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
