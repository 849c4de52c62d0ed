/* pool_test.c - which brokers are known, connected and asked: discovery, the three policies, who is
 * trusted again and when, the retry budget; all in virtual time. */
#include "pool.h"
#include "support/pool_up.h"
#include "support/test.h"

#include "base/hash.h"

enum { MS = 1000, SECOND = 1000 * MS, ALL = ~0u };

static struct pool pool;
static uint64_t session;

static void begin(const struct pool_cfg *cfg, uint32_t n, uint32_t up) {
    pool_up_init(&pool, cfg, n, 0);
    session = 100;
    pool_up_run(&pool, up, &session, 0);
}

static uint32_t run(uint32_t up, uint64_t now_us) {
    return pool_up_run(&pool, up, &session, now_us);
}

/* Everything the pool wants until then, as time passes. */
static uint64_t run_until(uint32_t up, uint64_t from_us, uint64_t until_us) {
    for (uint64_t now_us = from_us; now_us < until_us;) {
        run(up, now_us);
        uint64_t wake_us = pool_wake_us(&pool, now_us);
        now_us = wake_us > now_us ? wake_us : now_us + 1;
        now_us = now_us < until_us ? now_us : until_us;
    }
    run(up, until_us);
    return until_us;
}

static void fail_one(uint32_t at, uint64_t now_us) {
    pool_failed(&pool, at, "gone", now_us);
}

/* Latency as measured; all samples alike. */
static void set_latency(uint32_t at, uint32_t us) {
    for (int i = 0; i < POOL_SAMPLES; i++)
        pool_sample(&pool.brokers[at], us);
}

/* ------------------------------------------------------------------------------------ discovery */

static void welcome(uint32_t at, const char *const *list, uint32_t n, uint64_t id) {
    struct view views[16];
    for (uint32_t i = 0; i < n; i++)
        views[i] = view_of(list[i]);
    struct pool_welcome w = {.session = pool.brokers[at].dial.session,
                             .id = id,
                             .heartbeat_us = 500 * MS,
                             .brokers = views,
                             .n_brokers = n};
    pool_welcome(&pool, at, &w, 0);
}

static uint32_t known(void) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool.n; i++)
        n += pool_known(&pool.brokers[i]) && !pool.brokers[i].forgotten;
    return n;
}

static void test_discovery(void **state) {
    (void)state;
    static const struct {
        const char *name, *list[12];
        bool discover;
        uint32_t want; /* known in the end, with the two given */
    } rows[] = {
        {"nobody else", {0}, true, 2},
        {"one more", {"tcp://c:1"}, true, 3},
        {"those we have", {"tcp://b0:1", "tcp://b1:1"}, true, 2},
        {"twice the same", {"tcp://c:1", "tcp://c:1"}, true, 3},
        {"not wanted", {"tcp://c:1"}, false, 2},
        {"no endpoint", {"c:1", "", "udp://c:1", "tcp://"}, true, 2},
        {"a local socket of a stranger", {"ipc:///run/x.sock"}, true, 2},
        {"ends a line", {"tcp://c:1\n"}, true, 2},
        {"has a cost", {"tcp://c:1#cost=0"}, true, 2},
        {"more than there is room for",
         {"tcp://1:1", "tcp://2:1", "tcp://3:1", "tcp://4:1", "tcp://5:1", "tcp://6:1", "tcp://7:1",
          "tcp://8:1"},
         true,
         POOL_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(&(struct pool_cfg){.discover = rows[i].discover}, 2, ALL);
        uint32_t n = 0;
        while (n < 12 && rows[i].list[n])
            n++;
        welcome(0, rows[i].list, n, 1000);
        TEST_EQ(known(), rows[i].want);
        TEST_STR_EQ(pool.brokers[0].endpoint, "tcp://b0:1");
        TEST_STR_EQ(pool.brokers[1].endpoint, "tcp://b1:1");
    }
}

/* A discovered broker is remembered as long as one of the given ones lists it. */
static void test_forgetting(void **state) {
    (void)state;
    const char *c = "tcp://c:1", *d = "tcp://d:1";
    begin(&(struct pool_cfg){.policy = POOL_LEAST_LATENCY, .discover = true}, 2, ALL);
    welcome(0, &c, 1, 1000);
    welcome(1, &c, 1, 1001);
    run(ALL, 0);
    TEST_TRUE(pool_usable(&pool, 2));
    TEST_ROW("what a discovered one lists is not followed");
    welcome(2, &d, 1, 1002);
    TEST_EQ(known(), 3);
    TEST_ROW("one of two still lists it");
    welcome(0, NULL, 0, 1000);
    TEST_EQ(known(), 3);
    TEST_ROW("who lists it is gone, but said nothing else");
    fail_one(1, MS);
    run(1, MS);
    TEST_EQ(known(), 3);
    TEST_ROW("it comes back without it");
    pool_sent(&pool, 2, MS);
    run_until(ALL, MS, 200 * MS);
    TEST_EQ(known(), 2);
    TEST_TRUE(!pool_usable(&pool, 2));
    TEST_ROW("it is closed when it owes nothing, and its place is free");
    TEST_EQ(run(ALL, 210 * MS) & 4, 0);
    pool_ended(&pool, 2);
    TEST_EQ(run(ALL, 220 * MS), 4);
    TEST_EQ(pool.brokers[2].endpoint[0], 0);
    welcome(0, &d, 1, 1000);
    TEST_STR_EQ(pool.brokers[2].endpoint, d);
}

/* Another name of a broker we have: no second connection, so that "two brokers" are two. */
static void test_twin(void **state) {
    (void)state;
    const char *other_name = "tcp://the-same:1";
    begin(&(struct pool_cfg){.policy = POOL_LEAST_LATENCY, .discover = true}, 1, ALL);
    welcome(0, &other_name, 1, 77);
    uint32_t at;
    TEST_EQ(pool_next(&pool, 0, &at, 0), POOL_OPEN);
    pool_opened(&pool, 1, 0);
    pool_greeted(&pool, 1, 0);
    welcome(1, NULL, 0, 77);
    TEST_EQ(pool.brokers[1].twin_of, 0);
    TEST_TRUE(!pool_usable(&pool, 1));
    TEST_STR_EQ(pool_state_name(&pool, 1), "same");
    TEST_EQ(run(ALL, 0), 2);
    TEST_EQ(pool.brokers[1].dial.state, DIAL_OFF);
    TEST_EQ(run(ALL, 60 * SECOND), 0);
    TEST_ROW("the one behind it is lost: the other name may be another way");
    fail_one(0, 60 * SECOND);
    run_until(2, 60 * SECOND, 61 * SECOND);
    TEST_TRUE(pool_usable(&pool, 1));
}

/* ---------------------------------------------------------------------------------------- order */

static void test_order(void **state) {
    (void)state;
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 4, ALL);
    TEST_ROW("two connections, the rest is left alone");
    TEST_TRUE(pool_up(&pool, 0) && pool_up(&pool, 1));
    TEST_EQ(pool.brokers[2].dial.state, DIAL_OFF);
    for (int i = 0; i < 10; i++)
        TEST_EQ(pool_pick(&pool, 0, 0), 0);
    TEST_EQ(pool_pick(&pool, 1, 0), 1);
    TEST_EQ(pool_pick(&pool, 3, 0), POOL_NONE);
    TEST_ROW("the first is lost: the second at once, and the third is connected");
    fail_one(0, SECOND);
    TEST_EQ(pool_pick(&pool, 0, SECOND), 1);
    run(~1u, SECOND);
    TEST_TRUE(pool_up(&pool, 2));
    TEST_ROW("it is back, and used when it has been there for 2 s");
    run_until(ALL, SECOND, SECOND + 100 * MS);
    TEST_TRUE(pool_up(&pool, 0));
    uint64_t back_us = pool.brokers[0].up_since_us;
    TEST_EQ(pool_pick(&pool, 0, back_us + 2 * SECOND - 1), 1);
    TEST_EQ(pool_pick(&pool, 0, back_us + 2 * SECOND), 0);
    TEST_ROW("the third is left after a while");
    run_until(ALL, back_us + 2 * SECOND, back_us + 20 * SECOND);
    TEST_EQ(pool.brokers[2].dial.state, DIAL_OFF);
    TEST_ROW("a full window is waited for");
    pool.brokers[0].window = 1;
    pool_sent(&pool, 0, 0);
    TEST_EQ(pool_pick(&pool, 0, back_us + 20 * SECOND), POOL_NONE);
}

static void test_flapping(void **state) {
    (void)state;
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 2, ALL);
    uint64_t t = SECOND;
    for (uint32_t i = 0; i < 8; i++) {
        pool_pick(&pool, 0, t);
        fail_one(0, t);
        TEST_EQ(pool_pick(&pool, 0, t), 1);
        t = run_until(ALL, t, t + 3 * SECOND);
        uint64_t steady = (uint64_t)(2 * SECOND) << (i < 5 ? i : 5);
        TEST_EQ(pool.brokers[0].steady_us, steady);
        uint64_t back_us = pool.brokers[0].up_since_us;
        TEST_EQ(pool_pick(&pool, 0, back_us + steady - 1), 1);
        t = back_us + 4 * SECOND;
    }
    TEST_ROW("a minute up makes up for it");
    run_until(ALL, t, t + 70 * SECOND);
    fail_one(0, t + 70 * SECOND);
    TEST_EQ(pool.brokers[0].steady_us, 2 * SECOND);
}

static void test_start(void **state) {
    (void)state;
    TEST_ROW("the second is up first: the first may still come");
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 2, 0);
    pool_up_init(&pool, &(struct pool_cfg){.policy = POOL_ORDER}, 3, 0);
    uint32_t at;
    TEST_EQ(pool_next(&pool, 0, &at, 0), POOL_OPEN);
    TEST_EQ(at, 0);
    pool_opened(&pool, 0, 0);
    TEST_EQ(pool_next(&pool, 1, &at, 0), POOL_OPEN);
    TEST_EQ(at, 1);
    pool_opened(&pool, 1, 0);
    TEST_EQ(pool_next(&pool, 1, &at, 0), POOL_HELLO);
    TEST_EQ(at, 1);
    pool_greeted(&pool, 1, 0);
    welcome(1, NULL, 0, 1001);
    pool.brokers[1].dial.session = 1;
    TEST_EQ(pool_pick(&pool, 0, 100 * MS), POOL_NONE);
    TEST_EQ(pool_wake_us(&pool, 100 * MS), 200 * MS);
    TEST_EQ(pool_pick(&pool, 0, 200 * MS), 1);
    TEST_ROW("slow to open: the third is dialled, too");
    TEST_EQ(pool_next(&pool, 1, &at, 249 * MS), POOL_NOTHING);
    TEST_EQ(pool_next(&pool, 1, &at, 250 * MS), POOL_OPEN);
    TEST_EQ(at, 2);
    TEST_ROW("the first is refused: no waiting");
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 2, 2);
    TEST_EQ(pool_pick(&pool, 0, 0), 1);
}

static void test_leaving(void **state) {
    (void)state;
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 2, ALL);
    pool_sent(&pool, 0, 0);
    pool_goaway(&pool, 0, 0);
    TEST_TRUE(pool_up(&pool, 0) && !pool_usable(&pool, 0));
    TEST_EQ(pool_pick(&pool, 0, 0), 1);
    TEST_EQ(run(ALL, SECOND), 0); /* it still owes an answer */
    pool_ended(&pool, 0);
    TEST_EQ(run(2, SECOND), 1);
    TEST_STR_EQ(pool_state_name(&pool, 0), "down");
    TEST_HAS(pool.brokers[0].why, "shutting down");
    TEST_ROW("not for ever");
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 2, ALL);
    pool_sent(&pool, 0, 0);
    pool_goaway(&pool, 0, 0);
    for (uint64_t t = 0; t < 3 * SECOND; t += 100 * MS)
        pool_heard(&pool, 0, t);
    TEST_EQ(run(ALL, 3 * SECOND - 1), 0);
    TEST_EQ(run(2, 3 * SECOND) & 1, 1);
}

/* -------------------------------------------------------------------------------- least latency */

/* How many of 1000 requests each broker gets when they are answered in the order of sending after
 * `us` each, 8 at a time. */
static void share(uint32_t n, const uint32_t *us, uint32_t *got) {
    uint32_t ring[8], sent = 0;
    begin(&(struct pool_cfg){.policy = POOL_LEAST_LATENCY}, n, ALL);
    memset(got, 0, n * sizeof *got);
    for (uint32_t i = 0; i < n; i++) {
        set_latency(i, 100);
        pool_replied(&pool, i, SECOND - us[i], 0, SECOND);
    }
    for (; sent < 1000; sent++) {
        if (sent >= 8) {
            uint32_t at = ring[sent % 8];
            pool_ended(&pool, at);
            pool_replied(&pool, at, SECOND - us[at], 0, SECOND);
        }
        uint32_t at = pool_pick(&pool, 0, SECOND);
        TEST_TRUE(at < n);
        pool_sent(&pool, at, SECOND);
        ring[sent % 8] = at;
        got[at]++;
    }
}

static void test_least_latency(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n, us[4];
        uint32_t least[4], most[4]; /* of 1000 */
    } rows[] = {
        {"one", 1, {1000}, {1000}, {1000}},
        {"two alike", 2, {1000, 1000}, {400, 400}, {600, 600}},
        {"one is seven times slower", 2, {1000, 7000}, {700, 30}, {970, 300}},
        {"four alike", 4, {1000, 1000, 1000, 1000}, {150, 150, 150, 150}, {350, 350, 350, 350}},
        {"one of four is slow",
         4,
         {1000, 1000, 1000, 50000},
         {250, 250, 250, 0},
         {450, 450, 450, 60}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint32_t got[4];
        share(rows[i].n, rows[i].us, got);
        for (uint32_t k = 0; k < rows[i].n; k++)
            if (got[k] < rows[i].least[k] || got[k] > rows[i].most[k])
                TEST_FAIL("broker %u got %u", k, got[k]);
    }
    TEST_ROW("full ones are passed over");
    begin(&(struct pool_cfg){.policy = POOL_LEAST_LATENCY}, 2, ALL);
    pool.brokers[0].window = 1;
    pool_sent(&pool, 0, 0);
    TEST_EQ(pool_pick(&pool, 0, 0), 1);
    TEST_EQ(pool_pick(&pool, 2, 0), POOL_NONE);
}

/* A broker without a worker refuses at once; it must not be taken for the fastest. */
static void test_shy(void **state) {
    (void)state;
    begin(&(struct pool_cfg){.policy = POOL_LEAST_LATENCY}, 2, ALL);
    set_latency(0, 10);
    set_latency(1, 10000);
    TEST_EQ(pool_pick(&pool, 0, 0), 0);
    uint64_t t = 0;
    static const uint32_t pauses_ms[] = {100, 200, 400, 800, 1600, 2000, 2000};
    for (size_t i = 0; i < sizeof pauses_ms / sizeof *pauses_ms; i++) {
        pool_refused(&pool, 0, 0, t);
        TEST_EQ(pool_pick(&pool, 0, t), 1);
        TEST_EQ(pool_pick(&pool, 2, t), 0); /* nobody else */
        t += pauses_ms[i] * MS;
        TEST_EQ(pool_pick(&pool, 0, t - 1), 1);
        TEST_EQ(pool_pick(&pool, 0, t), 0);
    }
    pool_refused(&pool, 0, 0, t);
    pool_replied(&pool, 0, t - 10, 0, t);
    TEST_EQ(pool_pick(&pool, 0, t), 0);
    TEST_ROW("busy is no lack of workers, but weighs");
    pool_refused(&pool, 0, 2 * SECOND, t);
    TEST_EQ(pool_pick(&pool, 0, t), 1);
    TEST_EQ(pool_pick(&pool, 0, t + 20 * SECOND), 0); /* it fades */
}

/* ------------------------------------------------------------------------------------- cheapest */

static void begin_cheapest(void) {
    static const double costs[] = {3, 1, 2};
    struct pool_cfg cfg = {.policy = POOL_CHEAPEST, .latency_limit_us = 20 * MS};
    pool_init(&pool, &cfg, 1, 0);
    session = 100;
    for (uint32_t i = 0; i < 3; i++) {
        char endpoint[32];
        snprintf(endpoint, sizeof endpoint, "tcp://b%u:1", i);
        TEST_TRUE(pool_give(&pool, endpoint, costs[i]));
    }
    run(ALL, 0);
    for (uint32_t i = 0; i < 3; i++)
        set_latency(i, MS);
}

static void test_cheapest(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t ms[3]; /* latency of cost 3, 1, 2 */
        uint32_t want;
    } rows[] = {
        {"all fine", {1, 1, 1}, 1},       {"the cheapest is slow", {1, 30, 1}, 2},
        {"two are slow", {1, 30, 25}, 0}, {"all are slow: the fastest", {90, 60, 40}, 2},
        {"just within", {1, 20, 1}, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin_cheapest();
        TEST_EQ(pool_pick(&pool, 0, 0), 1);
        for (uint32_t k = 0; k < 3; k++)
            set_latency(k, rows[i].ms[k] * MS);
        TEST_EQ(pool_pick(&pool, 0, SECOND), rows[i].want);
        TEST_EQ(pool_pick(&pool, 0, SECOND), rows[i].want);
    }
    TEST_ROW("a second copy goes to the next cheapest");
    begin_cheapest();
    TEST_EQ(pool_pick(&pool, 1u << 1, 0), 2);
}

static void test_cheapest_does_not_flap(void **state) {
    (void)state;
    begin_cheapest();
    TEST_EQ(pool_pick(&pool, 0, 0), 1);
    uint64_t t = SECOND;
    static const uint32_t holds_s[] = {5, 10, 20, 40, 80, 80};
    for (size_t i = 0; i < sizeof holds_s / sizeof *holds_s; i++) {
        set_latency(1, 30 * MS);
        TEST_EQ(pool_pick(&pool, 0, t), 2);
        TEST_ROW("nearly within is not enough");
        set_latency(1, 17 * MS);
        TEST_EQ(pool_pick(&pool, 0, t + 500 * SECOND), 2);
        TEST_ROW("well within, for the time of the hold, twice as long after each relapse");
        set_latency(1, 10 * MS);
        t += 500 * SECOND;
        TEST_EQ(pool_pick(&pool, 0, t), 2);
        TEST_EQ(pool_pick(&pool, 0, t + holds_s[i] * (uint64_t)SECOND - 1), 2);
        t += holds_s[i] * (uint64_t)SECOND;
        TEST_EQ(pool_pick(&pool, 0, t), 1);
        t += SECOND;
    }
    TEST_ROW("it lasted: forgiven");
    t += 61 * SECOND;
    set_latency(1, 30 * MS);
    TEST_EQ(pool_pick(&pool, 0, t), 2);
    TEST_EQ(pool.hold_us, 5 * SECOND);
    TEST_ROW("all slow: a little faster is no reason");
    for (uint32_t k = 0; k < 3; k++)
        set_latency(k, 50 * MS);
    set_latency(0, 45 * MS);
    TEST_EQ(pool_pick(&pool, 0, t), 2);
    set_latency(0, 39 * MS);
    TEST_EQ(pool_pick(&pool, 0, t), 0);
    TEST_ROW("lost: the best of the others at once");
    set_latency(1, 10 * MS);
    fail_one(0, t);
    TEST_EQ(pool_pick(&pool, 0, t), 1);
}

static void test_latency_is_a_median(void **state) {
    (void)state;
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 1, ALL);
    struct pool_broker *b = &pool.brokers[0];
    b->n_samples = 0;
    static const uint32_t us[] = {500, 100, 300, 200, 400, 90000, 90000, 90000};
    for (size_t i = 0; i < sizeof us / sizeof *us; i++)
        pool_sample(b, us[i]);
    TEST_EQ(b->latency_us, 500); /* of 100 200 300 400 500 90000 .. */
    TEST_ROW("a reply counts without the worker's time");
    b->n_samples = 0;
    pool_replied(&pool, 0, 1000, 9000, 11000);
    TEST_EQ(b->latency_us, 1000);
    TEST_EQ(b->reply_us, 10000);
    TEST_ROW("a worker that claims more than there was");
    b->n_samples = 0;
    pool_replied(&pool, 0, 1000, 90000, 11000);
    TEST_EQ(b->latency_us, 1);
    TEST_ROW("not told");
    pool_replied(&pool, 0, 1000, 0, 11000);
    TEST_EQ(b->n_samples, 1);
    TEST_ROW("the PONG to another PING");
    pool_asked(&pool, 0, 5000);
    pool_pong(&pool, 0, 4000, 6000);
    TEST_EQ(b->n_samples, 1);
    pool_asked(&pool, 0, 7000);
    pool_pong(&pool, 0, 7000, 8000);
    TEST_EQ(b->n_samples, 2);
}

/* --------------------------------------------------------------------------------------- budget */

static void test_budget(void **state) {
    (void)state;
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 1, ALL);
    uint32_t n = 0;
    for (; pool_may_spend(&pool, 0); n++)
        pool_spend(&pool, 0);
    TEST_EQ(n, POOL_BUDGET_START);
    TEST_EQ(pool_spend_us(&pool, 0), 100 * MS);
    TEST_ROW("ten a second");
    TEST_TRUE(!pool_may_spend(&pool, 99 * MS));
    TEST_TRUE(pool_may_spend(&pool, 100 * MS));
    pool_spend(&pool, 100 * MS);
    TEST_ROW("and a tenth of the requests");
    for (int i = 0; i < 9; i++)
        pool_count(&pool, 100 * MS);
    TEST_TRUE(!pool_may_spend(&pool, 100 * MS));
    pool_count(&pool, 100 * MS);
    TEST_TRUE(pool_may_spend(&pool, 100 * MS));
    TEST_ROW("saved up to a limit");
    uint64_t later = 3600 * (uint64_t)SECOND;
    for (n = 0; pool_may_spend(&pool, later); n++)
        pool_spend(&pool, later);
    TEST_EQ(n, POOL_BUDGET);
    TEST_ROW("ticks that are not whole are not lost");
    uint64_t t = later;
    for (n = 0; t < later + 10 * SECOND; t += 33)
        if (pool_may_spend(&pool, t)) {
            pool_spend(&pool, t);
            n++;
        }
    TEST_TRUE(n >= 99 && n <= 100);
}

static void test_attempt(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t cfg_us, left_us, want_us;
    } rows[] = {
        {"a third", 0, 3 * SECOND, SECOND},
        {"not below 100 ms", 0, 200 * MS, 100 * MS},
        {"as told", 20 * MS, 3 * SECOND, 20 * MS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(&(struct pool_cfg){.attempt_us = rows[i].cfg_us}, 1, ALL);
        TEST_EQ(pool_attempt_us(&pool, rows[i].left_us), rows[i].want_us);
    }
}

static void test_trouble(void **state) {
    (void)state;
    char text[400], small[20];
    begin(&(struct pool_cfg){.policy = POOL_LEAST_LATENCY}, 2, 0);
    pool_trouble(&pool, text, sizeof text);
    TEST_STR_EQ(text, "tcp://b0:1 (nobody listens there), tcp://b1:1 (nobody listens there)");
    pool_trouble(&pool, small, sizeof small);
    TEST_STR_EQ(small, "tcp://b0:1 (nobody ");
    TEST_ROW("silence is told");
    begin(&(struct pool_cfg){.policy = POOL_ORDER}, 1, ALL);
    uint32_t at;
    TEST_EQ(pool_next(&pool, 0, &at, 500 * MS), POOL_PING);
    pool_asked(&pool, 0, 500 * MS);
    TEST_EQ(pool_next(&pool, 0, &at, 1000 * MS), POOL_PING);
    pool_asked(&pool, 0, 1000 * MS);
    TEST_EQ(pool_next(&pool, 0, &at, 1500 * MS), POOL_CLOSE);
    TEST_TRUE(!pool_up(&pool, 0)); /* no BYE: it would not be heard */
    pool_trouble(&pool, text, sizeof text);
    TEST_STR_EQ(text, "tcp://b0:1 (silent for 1500 ms)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discovery),
        cmocka_unit_test(test_forgetting),
        cmocka_unit_test(test_twin),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_flapping),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_least_latency),
        cmocka_unit_test(test_shy),
        cmocka_unit_test(test_cheapest),
        cmocka_unit_test(test_cheapest_does_not_flap),
        cmocka_unit_test(test_latency_is_a_median),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_attempt),
        cmocka_unit_test(test_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
