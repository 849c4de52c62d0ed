/* wheel_test.c - deadlines: never early, at most a tick late, whatever the distance. */
#include "support/test.h"

#include "base/hash.h"
#include "wheel.h"

enum { N = 512, START_US = 5000500 };

static void test_fires_once_within_a_tick(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t after_us;
    } rows[] = {
        {"now", 0},
        {"in a microsecond", 1},
        {"on a tick", 500},
        {"just past a tick", 501},
        {"next turn of the wheel", (uint64_t)WHEEL_BUCKETS * WHEEL_TICK_US},
        {"three turns on", 3 * (uint64_t)WHEEL_BUCKETS * WHEEL_TICK_US + 17},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wheel w;
        TEST_TRUE(wheel_init(&w, N, START_US));
        TEST_TRUE(wheel_next_us(&w) == UINT64_MAX);
        uint64_t due = START_US + rows[i].after_us, now = START_US, fired = 0;
        wheel_add(&w, 7, due);
        while (!fired && now < due + 10 * WHEEL_TICK_US) { /* as a loop would: sleep, then look */
            uint64_t next = wheel_next_us(&w);
            TEST_TRUE(next <= (due / WHEEL_TICK_US + 1) * WHEEL_TICK_US);
            now = next > now ? next : now + 1;
            uint32_t item = wheel_pop(&w, now);
            if (item != WHEEL_NONE) {
                TEST_EQ(item, 7);
                fired = now;
            }
        }
        TEST_TRUE(fired >= due);
        TEST_TRUE(fired <= due + WHEEL_TICK_US);
        TEST_EQ(wheel_pop(&w, now + 1000000), WHEEL_NONE);
        TEST_EQ(w.n, 0);
        wheel_done(&w);
    }
}

static void test_against_a_plain_list(void **state) {
    (void)state;
    struct wheel w;
    TEST_TRUE(wheel_init(&w, N, START_US));
    uint64_t due[N] = {0}, now = START_US, random = 3;
    for (int step = 0; step < 20000; step++) {
        uint32_t item = hash_below(&random, N);
        if (!due[item]) {
            due[item] = now + hash_below(&random, hash_below(&random, 10) ? 50000 : 20000000);
            wheel_add(&w, item, due[item]);
        } else if (hash_below(&random, 4) == 0) {
            due[item] = 0;
            wheel_remove(&w, item);
        }
        now += hash_below(&random, hash_below(&random, 100) ? 300 : 9000000);
        uint32_t fired;
        while ((fired = wheel_pop(&w, now)) != WHEEL_NONE) {
            TEST_TRUE(due[fired] && due[fired] <= now);
            due[fired] = 0;
        }
        for (uint32_t i = 0; i < N; i++)
            TEST_TRUE(!due[i] || due[i] + WHEEL_TICK_US > now); /* nobody was forgotten */
    }
    wheel_done(&w);
}

static void test_removed_while_due(void **state) {
    (void)state;
    struct wheel w;
    TEST_TRUE(wheel_init(&w, N, START_US));
    for (uint32_t i = 0; i < 3; i++)
        wheel_add(&w, i, START_US + 10);
    uint32_t first = wheel_pop(&w, START_US + 5000);
    TEST_TRUE(first < 3);
    wheel_remove(&w, (first + 1) % 3); /* due already, not yet popped */
    wheel_remove(&w, (first + 1) % 3); /* fine */
    TEST_EQ(wheel_pop(&w, START_US + 5000), (first + 2) % 3);
    TEST_EQ(wheel_pop(&w, START_US + 5000), WHEEL_NONE);
    wheel_done(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fires_once_within_a_tick),
        cmocka_unit_test(test_against_a_plain_list),
        cmocka_unit_test(test_removed_while_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
