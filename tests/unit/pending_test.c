/* pending_test.c - requests in flight: order, ids, second copies, refusals, rests, deadlines.
 * pool_sim_test.c has the simulation. */
#include "pending.h"
#include "support/pool_up.h"
#include "support/test.h"

#include "base/hash.h"

enum { SECOND = 1000000, LONG = 600 * SECOND, ONE = 0 };

static struct pool pool;
static struct pending p;
static uint64_t session;

/* n brokers, all up at time 0. */
static void begin(uint32_t n, enum pool_policy policy) {
    while (p.n > 0)
        pending_remove(&p, p.heap[0]);
    pending_done(&p);
    pool_up_init(&pool, &(struct pool_cfg){.policy = policy}, n, 0);
    session = 100;
    pool_up_run(&pool, ~0u, &session, 0);
    pending_init(&p, &pool, 1);
}

static int setup(void **state) {
    (void)state;
    begin(1, POOL_ORDER);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    while (p.n > 0)
        pending_remove(&p, p.heap[0]);
    pending_done(&p);
    return 0;
}

static uint64_t session_of(uint32_t broker) {
    return pool.brokers[broker].dial.session;
}

/* The next one, sent; NULL: none. */
static struct pending_item *send_next(uint64_t now_us) {
    uint32_t at;
    struct pending_item *item = pending_next(&p, &at, now_us);
    if (item)
        pending_sent(&p, item, at, session_of(at), now_us);
    return item;
}

static void send_all(uint64_t now_us) {
    while (send_next(now_us))
        continue;
}

static void test_in_order(void **state) {
    (void)state;
    static struct pending_item items[5];
    for (int i = 0; i < 5; i++)
        TEST_TRUE(pending_add(&p, &items[i], false, SECOND));
    for (int i = 0; i < 5; i++) {
        TEST_TRUE(send_next(10) == &items[i]);
        if (i)
            TEST_TRUE(items[i].id > items[i - 1].id);
    }
    TEST_TRUE(send_next(10) == NULL);
    TEST_EQ(pool.brokers[0].outstanding, 5);
    TEST_TRUE(pending_find(&p, items[3].id, ONE, session_of(0)) == &items[3]);
    TEST_EQ(pending_sent_us(&items[3], ONE), 10);
    TEST_ROW("another session");
    TEST_TRUE(pending_find(&p, items[3].id, ONE, session_of(0) + 1) == NULL);
    TEST_ROW("another broker");
    TEST_TRUE(pending_find(&p, items[3].id, 1, session_of(0)) == NULL);
    TEST_ROW("an id of the same slot");
    TEST_TRUE(pending_find(&p, items[3].id + (1 << 16), ONE, session_of(0)) == NULL);
    TEST_ROW("a slot beyond the table");
    TEST_TRUE(pending_find(&p, items[3].id | 0xffff, ONE, session_of(0)) == NULL);
    pending_answered(&p, &items[3], ONE);
    TEST_EQ(pool.brokers[0].outstanding, 4);
    TEST_ROW("answered already");
    TEST_TRUE(pending_find(&p, items[3].id, ONE, session_of(0)) == NULL);
    pending_remove(&p, &items[3]); /* twice is fine */
    TEST_EQ(pool.brokers[0].outstanding, 4);
}

static void test_window(void **state) {
    (void)state;
    static struct pending_item items[3];
    pool.brokers[0].window = 2;
    for (int i = 0; i < 3; i++)
        TEST_TRUE(pending_add(&p, &items[i], false, SECOND));
    send_all(0);
    TEST_EQ(p.in_flight.n, 2);
    pending_remove(&p, &items[0]);
    TEST_TRUE(send_next(0) == &items[2]);
}

/* The order of sending is kept across the loss of one of two brokers. */
static void test_lost_broker(void **state) {
    (void)state;
    static struct pending_item items[4];
    uint64_t ids[4];
    begin(2, POOL_LEAST_LATENCY);
    for (int i = 0; i < 4; i++) {
        TEST_TRUE(pending_add(&p, &items[i], false, SECOND));
        ids[i] = items[i].id;
    }
    static const uint32_t to[] = {0, 1, 0};
    for (int i = 0; i < 3; i++)
        pending_sent(&p, &items[i], to[i], session_of(to[i]), 0);
    uint64_t old = session_of(0);
    pool_failed(&pool, 0, "gone", 1);
    pending_lost(&p, 0, 1);
    TEST_EQ(pool.brokers[0].outstanding, 0);
    struct pending_item *want[] = {&items[0], &items[2], &items[3]};
    for (int i = 0; i < 3; i++)
        TEST_TRUE(send_next(5) == want[i]);
    TEST_EQ(items[0].id, ids[0]); /* the same id: a broker that still runs it can tell */
    TEST_EQ(items[0].sendings, 2);
    TEST_EQ(items[3].sendings, 1);
    TEST_TRUE(pending_find(&p, ids[0], 0, old) == NULL); /* an answer of the old session is late */
    TEST_TRUE(pending_find(&p, ids[0], 1, session_of(1)) == &items[0]);
    TEST_TRUE(pending_find(&p, ids[1], 1, session_of(1)) == &items[1]);
    TEST_EQ(pool.spent, 0);
}

static void test_parked(void **state) {
    (void)state;
    static struct pending_item items[3];
    for (int i = 0; i < 3; i++)
        TEST_TRUE(pending_add(&p, &items[i], false, SECOND));
    pending_park(&p, &items[0], 0);
    pending_park(&p, &items[1], 0);
    TEST_TRUE(send_next(0) == &items[2]);
    pending_remove(&p, &items[2]);
    pending_unpark(&p);
    TEST_TRUE(send_next(0) == &items[0]);
    TEST_TRUE(send_next(0) == &items[1]);
}

/* ---- two brokers */

static void test_second_copy(void **state) {
    (void)state;
    static struct pending_item item;
    struct pending_copy copy;
    begin(2, POOL_ORDER);
    TEST_TRUE(pending_add(&p, &item, false, 3 * SECOND));
    send_all(0);
    TEST_EQ(item.copies[0].broker, 0);
    TEST_EQ(pending_wake_us(&p, 0), SECOND); /* a third of its time */
    TEST_TRUE(pending_expired(&p, SECOND - 1) == NULL && send_next(SECOND - 1) == NULL);
    TEST_TRUE(pending_expired(&p, SECOND) == NULL);
    TEST_EQ(item.state, PENDING_OVERDUE);
    TEST_TRUE(send_next(SECOND) == &item);
    TEST_EQ(item.n_copies, 2);
    TEST_EQ(item.copies[1].broker, 1);
    TEST_EQ(pool.spent, 1);
    TEST_TRUE(send_next(SECOND) == NULL);
    TEST_EQ(pending_wake_us(&p, SECOND), SECOND + 2 * SECOND / 3); /* is that one late, too? */
    TEST_ROW("the first answer wins, the other copy is to be cancelled");
    TEST_TRUE(pending_find(&p, item.id, 1, session_of(1)) == &item);
    pending_answered(&p, &item, 1);
    TEST_TRUE(pending_find(&p, item.id, 0, session_of(0)) == NULL);
    TEST_TRUE(pending_copy_left(&item, &copy));
    TEST_EQ(copy.broker, 0);
    TEST_EQ(copy.session, session_of(0));
    TEST_TRUE(!pending_copy_left(&item, &copy));
    TEST_EQ(pool.brokers[0].outstanding + pool.brokers[1].outstanding, 0);
}

static void test_second_copy_waits(void **state) {
    (void)state;
    static struct pending_item item, asks;
    begin(2, POOL_ORDER);
    pool.budget = 0;
    TEST_TRUE(pending_add(&p, &item, false, 3 * SECOND));
    TEST_TRUE(pending_add(&p, &asks, true, 3 * SECOND)); /* never sent to two */
    send_all(0);
    TEST_TRUE(pending_expired(&p, SECOND) == NULL);
    pool.budget = 0;
    pool.budget_at_us = SECOND;
    TEST_ROW("for the retry budget");
    TEST_TRUE(send_next(SECOND) == NULL);
    TEST_EQ(pending_wake_us(&p, SECOND), SECOND + 100000);
    TEST_TRUE(send_next(SECOND + 100000) == &item);
    TEST_TRUE(send_next(SECOND + 200000) == NULL);
    TEST_EQ(asks.state, PENDING_IN_FLIGHT);
    TEST_EQ(asks.n_copies, 1);
    pending_remove(&p, &item);
    pending_remove(&p, &asks);
    TEST_ROW("for another broker");
    begin(2, POOL_ORDER);
    pool_failed(&pool, 1, "gone", 0);
    TEST_TRUE(pending_add(&p, &item, false, 3 * SECOND));
    send_all(0);
    TEST_TRUE(pending_expired(&p, SECOND) == NULL);
    TEST_TRUE(send_next(SECOND) == NULL);
    pool_up_run(&pool, ~0u, &session, SECOND + 60000);
    pool_up_run(&pool, ~0u, &session, SECOND + 120000);
    TEST_TRUE(send_next(SECOND + 120000) == &item);
    TEST_EQ(item.n_copies, 2);
}

/* One of the two brokers that have it is lost: the other's copy goes on, and is hedged again. */
static void test_second_copy_and_a_loss(void **state) {
    (void)state;
    static struct pending_item item;
    begin(3, POOL_ORDER);
    pool_up_run(&pool, ~0u, &session, 0);
    TEST_TRUE(pending_add(&p, &item, false, 9 * SECOND));
    send_all(0);
    TEST_TRUE(pending_expired(&p, 3 * SECOND) == NULL);
    send_all(3 * SECOND);
    TEST_EQ(item.n_copies, 2);
    pool_failed(&pool, 0, "gone", 3 * SECOND);
    pending_lost(&p, 0, 3 * SECOND);
    TEST_EQ(item.state, PENDING_IN_FLIGHT);
    TEST_EQ(item.n_copies, 1);
    TEST_EQ(item.copies[0].broker, 1);
    TEST_EQ(pending_wake_us(&p, 3 * SECOND), 5 * SECOND);
    pool_failed(&pool, 1, "gone", 3 * SECOND);
    pending_lost(&p, 1, 3 * SECOND);
    TEST_EQ(item.state, PENDING_READY);
    TEST_TRUE(send_next(3 * SECOND) == NULL); /* the third is not connected: order keeps two */
    pool_up_run(&pool, 4, &session, 3 * SECOND);
    TEST_TRUE(send_next(3 * SECOND) == &item);
    TEST_EQ(item.copies[0].broker, 2);
    TEST_EQ(item.sendings, 3);
}

enum { MANY = 200 };
static struct pending_item many[MANY];

/* 200 requests at the first of two brokers, attempts and time as they pass; every `pace_us` that
 * broker answers one, and the other one everything at once. Returns how many were not answered. */
static uint32_t overdue_at_first(uint64_t pace_us) {
    enum { TICK = 10000 };
    uint32_t left = MANY;
    begin(2, POOL_ORDER);
    pool.cfg.attempt_us = SECOND / 2;
    for (int i = 0; i < MANY; i++)
        TEST_TRUE(pending_add(&p, &many[i], false, 4 * (uint64_t)SECOND));
    for (uint64_t t = 0; t <= 4 * (uint64_t)SECOND; t += TICK) {
        while (pending_expired(&p, t))
            continue;
        send_all(t);
        bool answers = pace_us && t % pace_us == 0;
        for (int i = 0; i < MANY; i++) {
            bool first = answers && pending_sent_us(&many[i], 0) < t;
            if (many[i].state == PENDING_OUT || (!pending_sent_us(&many[i], 1) && !first))
                continue;
            answers = answers && !first;
            pending_answered(&p, &many[i], !first);
            pool_replied(&pool, !first, t, 0, t);
            left--;
        }
    }
    return left;
}

/* A broker that swallows is left by all, an overloaded one only within the budget. */
static void test_swallowed_or_slow(void **state) {
    (void)state;
    TEST_ROW("it answers nothing");
    TEST_EQ(overdue_at_first(0), 0);
    TEST_TRUE(pool.brokers[0].stuck);
    TEST_TRUE(pool.spent <= 10 + 20 + 10); /* until the other one has answered */
    TEST_ROW("it answers, slowly");
    TEST_TRUE(overdue_at_first(SECOND / 10) > 80);
    TEST_TRUE(!pool.brokers[0].stuck);
    TEST_TRUE(pool.spent >= 20 && pool.spent <= 10 + 20 + 40); /* start, a tenth, 10/s */
    TEST_EQ(pool.brokers[1].replies, pool.spent);
}

/* Who has answered nothing lately gets a few at a time of what is stranded elsewhere. */
static void test_unproven(void **state) {
    (void)state;
    begin(2, POOL_ORDER);
    pool.cfg.attempt_us = SECOND / 2;
    for (int i = 0; i < MANY; i++)
        TEST_TRUE(pending_add(&p, &many[i], false, 4 * (uint64_t)SECOND));
    send_all(0);
    TEST_TRUE(pending_expired(&p, SECOND / 2) == NULL);
    pool.budget = 0;
    pool.budget_at_us = SECOND / 2;
    send_all(SECOND / 2);
    TEST_EQ(pool.brokers[1].outstanding, 4);
    TEST_EQ(p.stranded.n, MANY - 4);
    TEST_ROW("it has");
    pending_answered(&p, &many[0], 1);
    pool_replied(&pool, 1, SECOND / 2, 0, SECOND / 2);
    send_all(SECOND / 2);
    TEST_EQ(pool.brokers[1].outstanding, MANY - 1);
    TEST_EQ(pool.spent, 0);
}

/* One request a second goes to a broker that is stuck, and to another one soon after. */
static void test_probe(void **state) {
    (void)state;
    static struct pending_item items[3];
    overdue_at_first(0);
    uint64_t t = 5 * (uint64_t)SECOND;
    for (int i = 0; i < 3; i++)
        TEST_TRUE(pending_add(&p, &items[i], false, t + 3 * SECOND));
    send_all(t);
    TEST_EQ(items[0].copies[0].broker, 0);
    TEST_EQ(items[1].copies[0].broker, 1);
    TEST_EQ(items[2].copies[0].broker, 1);
    uint64_t spent = pool.spent;
    TEST_TRUE(pending_expired(&p, t + SECOND / 10) == NULL);
    send_all(t + SECOND / 10);
    TEST_EQ(items[0].n_copies, 2);
    TEST_EQ(items[0].copies[1].broker, 1);
    TEST_EQ(pool.spent, spent);
    TEST_ROW("neither a WELCOME nor a PONG clears it, an answer does");
    pool_heard(&pool, 0, t);
    TEST_TRUE(pool.brokers[0].stuck);
    TEST_STR_EQ(pool_state_name(&pool, 0), "stuck");
    pending_answered(&p, &items[0], 0);
    pool_replied(&pool, 0, t, 0, t + SECOND / 10);
    TEST_TRUE(!pool.brokers[0].stuck);
    TEST_ROW("order: it is the first again when it is steady");
    TEST_EQ(pool_pick(&pool, 0, t + SECOND), 1);
    TEST_EQ(pool_pick(&pool, 0, t + 60 * (uint64_t)SECOND), 0);
}

static void test_all_stuck(void **state) {
    (void)state;
    begin(2, POOL_ORDER);
    pool_answered(&pool, 1, 1);
    for (uint32_t at = 0; at < 2; at++)
        for (int i = 0; i < 5; i++)
            pool_timed_out(&pool, at, 1);
    TEST_TRUE(pool_judge_us(&pool) <= 2 * SECOND);
    TEST_TRUE(!pool_judge(&pool, pool_judge_us(&pool) - 1));
    TEST_TRUE(pool_judge(&pool, 2 * SECOND));
    TEST_TRUE(!pool_judge(&pool, 2 * SECOND));
    TEST_TRUE(pool.brokers[0].stuck && pool.brokers[1].stuck);
    TEST_EQ(pool_pick(&pool, 0, 2 * SECOND), 1); /* it did answer once */
    TEST_EQ(pool_pick(&pool, 2, 2 * SECOND), 0);
    TEST_TRUE(pool_elsewhere(&pool, 1) && !pool_elsewhere(&pool, 3));
    TEST_EQ(pool_judge_us(&pool), UINT64_MAX);
}

static void test_refused_elsewhere(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum status status;
        uint32_t after_ms;
        bool budget;
        bool elsewhere, final; /* neither: it rests */
        uint64_t spent;
    } rows[] = {
        {"no worker", STATUS_UNAVAILABLE, 0, false, true, false, 0},
        {"no such model here", STATUS_NOT_FOUND, 0, false, true, false, 0},
        {"busy", STATUS_RESOURCE_EXHAUSTED, 40, true, true, false, 1},
        {"busy, nothing to spend", STATUS_RESOURCE_EXHAUSTED, 40, false, false, false, 0},
        {"perhaps done", STATUS_UNKNOWN_OUTCOME, 0, true, true, false, 1},
        {"perhaps done, nothing to spend", STATUS_UNKNOWN_OUTCOME, 0, false, false, false, 0},
        {"too large", STATUS_RESOURCE_EXHAUSTED, 0, true, false, true, 0},
        {"wrong", STATUS_INVALID_ARGUMENT, 0, true, false, true, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        static struct pending_item item;
        begin(2, POOL_ORDER);
        TEST_TRUE(pending_add(&p, &item, false, SECOND));
        send_all(0);
        uint64_t id = item.id;
        pool.budget = rows[i].budget ? 1000 : 0;
        enum pending_verdict verdict =
            pending_refused(&p, &item, 0, rows[i].status, rows[i].after_ms, 0);
        TEST_EQ(verdict, rows[i].final ? PENDING_FINAL : PENDING_TRY_AGAIN);
        TEST_EQ(pool.spent, rows[i].spent);
        TEST_EQ(send_next(0) == &item, rows[i].elsewhere);
        if (rows[i].elsewhere) {
            TEST_EQ(item.copies[0].broker, 1);
            TEST_EQ(item.id, id);
            TEST_EQ(item.sendings, 2);
            TEST_EQ(item.refusals, 1);
            pool.budget = 1000;
            bool last = rows[i].status == STATUS_NOT_FOUND; /* both say so */
            TEST_EQ(pending_refused(&p, &item, 1, rows[i].status, rows[i].after_ms, 0),
                    last ? PENDING_FINAL : PENDING_TRY_AGAIN);
            TEST_TRUE(send_next(0) == NULL);
            TEST_EQ(item.state, last ? PENDING_OUT : PENDING_RESTING);
        }
        pending_remove(&p, &item);
    }
}

/* `order` keeps two connections: when both know no such model, a third is asked, once. */
static void test_not_found_further(void **state) {
    (void)state;
    static struct pending_item item;
    for (int there = 0; there < 2; there++) {
        TEST_ROW(there ? "the third has it" : "the third is not there");
        begin(3, POOL_ORDER);
        TEST_TRUE(!pool_up(&pool, 2));
        TEST_TRUE(pending_add(&p, &item, false, 3 * SECOND));
        send_all(0);
        TEST_EQ(pending_refused(&p, &item, 0, STATUS_NOT_FOUND, 0, 0), PENDING_TRY_AGAIN);
        send_all(0);
        TEST_EQ(pending_refused(&p, &item, 1, STATUS_NOT_FOUND, 0, 0), PENDING_TRY_AGAIN);
        TEST_TRUE(send_next(0) == NULL);
        pool_up_run(&pool, there ? ~0u : 3, &session, 0);
        TEST_EQ(pool_up(&pool, 2), there);
        if (there)
            pending_unpark(&p);
        TEST_EQ(send_next(0) == &item, there);
        TEST_TRUE(pending_expired(&p, SECOND / 2) == NULL);
        if (!there)
            TEST_TRUE(send_next(SECOND / 2) == &item);
        TEST_EQ(item.copies[0].broker, there ? 2 : 0);
        enum pending_verdict again =
            pending_refused(&p, &item, item.copies[0].broker, STATUS_NOT_FOUND, 0, SECOND / 2);
        TEST_EQ(again, there ? PENDING_FINAL : PENDING_TRY_AGAIN);
        if (!there) { /* the first was asked as if it were new, so is the second */
            send_all(SECOND / 2);
            TEST_EQ(pending_refused(&p, &item, 1, STATUS_NOT_FOUND, 0, SECOND / 2), PENDING_FINAL);
        }
    }
    TEST_ROW("two are all there are");
    begin(2, POOL_ORDER);
    TEST_TRUE(pending_add(&p, &item, false, 3 * SECOND));
    send_all(0);
    TEST_EQ(pending_refused(&p, &item, 0, STATUS_NOT_FOUND, 0, 0), PENDING_TRY_AGAIN);
    send_all(0);
    TEST_EQ(pending_refused(&p, &item, 1, STATUS_NOT_FOUND, 0, 0), PENDING_FINAL);
}

static void test_busy_goes_elsewhere_once(void **state) {
    (void)state;
    static struct pending_item item;
    begin(2, POOL_ORDER);
    TEST_TRUE(pending_add(&p, &item, false, LONG));
    send_all(0);
    TEST_EQ(pending_refused(&p, &item, 0, STATUS_RESOURCE_EXHAUSTED, 10, 0), PENDING_TRY_AGAIN);
    send_all(0);
    TEST_EQ(pending_refused(&p, &item, 1, STATUS_RESOURCE_EXHAUSTED, 10, 0), PENDING_TRY_AGAIN);
    TEST_TRUE(pending_expired(&p, 20000) == NULL);
    send_all(20000);
    TEST_EQ(item.copies[0].broker, 0);
    TEST_EQ(pending_refused(&p, &item, 0, STATUS_RESOURCE_EXHAUSTED, 10, 20000), PENDING_TRY_AGAIN);
    TEST_EQ(item.state, PENDING_RESTING);
    TEST_EQ(pool.spent, 1);
}

/* A refusal while the other broker still works on it ends nothing; a final word does. */
static void test_refused_by_one_of_two(void **state) {
    (void)state;
    static struct pending_item item;
    struct pending_copy copy;
    begin(2, POOL_ORDER);
    TEST_TRUE(pending_add(&p, &item, false, 3 * SECOND));
    send_all(0);
    TEST_TRUE(pending_expired(&p, SECOND) == NULL);
    send_all(SECOND);
    TEST_EQ(pending_refused(&p, &item, 1, STATUS_UNAVAILABLE, 0, SECOND), PENDING_TRY_AGAIN);
    TEST_EQ(item.state, PENDING_IN_FLIGHT);
    TEST_EQ(item.n_copies, 1);
    TEST_TRUE(pending_expired(&p, SECOND + SECOND / 3) == NULL);
    TEST_TRUE(send_next(SECOND + SECOND / 3) == NULL); /* the other one has refused it */
    TEST_TRUE(pending_expired(&p, 2 * SECOND) == NULL);
    TEST_TRUE(send_next(2 * SECOND) == &item); /* but this one says nothing at all */
    TEST_EQ(pool.spent, 1);
    TEST_EQ(pending_refused(&p, &item, 0, STATUS_INVALID_ARGUMENT, 0, 2 * SECOND), PENDING_FINAL);
    TEST_EQ(item.state, PENDING_OUT);
    TEST_TRUE(pending_copy_left(&item, &copy));
    TEST_EQ(copy.broker, 1);
    TEST_TRUE(!pending_copy_left(&item, &copy));
}

/* ---- one broker */

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum status status;
        uint32_t after_ms;
        uint64_t now_us;
        bool again;
        uint64_t least_us, most_us; /* of the rest */
    } rows[] = {
        {"no worker", STATUS_UNAVAILABLE, 0, 0, true, 1000, 11000},
        {"advice is kept", STATUS_UNAVAILABLE, 100, 0, true, 100000, 150000},
        {"busy", STATUS_RESOURCE_EXHAUSTED, 40, 0, true, 40000, 60000},
        {"perhaps done", STATUS_UNKNOWN_OUTCOME, 0, 0, true, 1000, 11000},
        {"too large", STATUS_RESOURCE_EXHAUSTED, 0, 0, false, 0, 0},
        {"wrong", STATUS_INVALID_ARGUMENT, 0, 0, false, 0, 0},
        {"broken", STATUS_INTERNAL, 50, 0, false, 0, 0},
        {"advice beyond the deadline", STATUS_UNAVAILABLE, 1000, 0, true, SECOND / 2,
         3 * SECOND / 4},
        {"no time for half of it", STATUS_UNAVAILABLE, 1000, SECOND - 19999, false, 0, 0},
        {"no time left", STATUS_UNAVAILABLE, 0, SECOND - 1, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        static struct pending_item item;
        TEST_TRUE(pending_add(&p, &item, false, SECOND));
        send_all(0);
        uint64_t id = item.id, now_us = rows[i].now_us;
        TEST_EQ(pending_refused(&p, &item, ONE, rows[i].status, rows[i].after_ms, now_us),
                rows[i].again ? PENDING_TRY_AGAIN : PENDING_FINAL);
        TEST_TRUE(pending_find(&p, id, ONE, session_of(0)) == NULL);
        if (!rows[i].again) {
            TEST_EQ(item.state, PENDING_OUT);
            TEST_EQ(p.n, 0);
            continue;
        }
        uint32_t at;
        TEST_TRUE(pending_next(&p, &at, now_us) == NULL);
        uint64_t wake_us = pending_wake_us(&p, now_us);
        TEST_TRUE(wake_us >= rows[i].least_us && wake_us <= rows[i].most_us);
        TEST_TRUE(pending_expired(&p, wake_us - 1) == NULL &&
                  pending_next(&p, &at, wake_us - 1) == NULL);
        TEST_TRUE(pending_expired(&p, wake_us) == NULL);
        TEST_TRUE(pending_next(&p, &at, wake_us) == &item);
        TEST_TRUE(item.id > id);
        TEST_EQ(pending_wake_us(&p, wake_us), SECOND);
        TEST_TRUE(pending_expired(&p, SECOND) == &item);
    }
}

/* Half a minute's advice, with minutes to go: it is asked about again after three seconds and a
 * spread, for the workers whose pace it came from may be back. */
static void test_long_advice(void **state) {
    (void)state;
    static struct pending_item item;
    for (int i = 0; i < 20; i++) {
        TEST_TRUE(pending_add(&p, &item, false, 300 * SECOND));
        send_all(0);
        TEST_EQ(pending_refused(&p, &item, ONE, STATUS_RESOURCE_EXHAUSTED, 30000, 0),
                PENDING_TRY_AGAIN);
        uint64_t wake_us = pending_wake_us(&p, 0);
        TEST_TRUE(wake_us >= 3 * SECOND && wake_us <= 9 * SECOND / 2);
        TEST_TRUE(pending_expired(&p, 300 * SECOND) == &item);
    }
}

static void test_rests_grow(void **state) {
    (void)state;
    static struct pending_item item;
    uint64_t now_us = 0, longest_us[2] = {0, 0};
    TEST_TRUE(pending_add(&p, &item, false, UINT64_MAX / 2));
    for (int i = 0; i < 200; i++) {
        send_all(now_us);
        TEST_EQ(pending_refused(&p, &item, ONE, STATUS_UNAVAILABLE, 0, now_us), PENDING_TRY_AGAIN);
        uint64_t rest_us = pending_wake_us(&p, now_us) - now_us;
        longest_us[i >= 4] = rest_us > longest_us[i >= 4] ? rest_us : longest_us[i >= 4];
        now_us += rest_us;
        TEST_TRUE(pending_expired(&p, now_us) == NULL);
    }
    TEST_TRUE(longest_us[0] <= 81000);                             /* 10, 20, 40, 80 ms */
    TEST_TRUE(longest_us[1] > 640000 && longest_us[1] <= 1281000); /* and then up to 1.28 s */
}

static void test_deadlines(void **state) {
    (void)state;
    enum { N = 300 };
    static struct pending_item items[N];
    uint64_t random = 5, last_us = 0;
    TEST_EQ(pending_wake_us(&p, 0), UINT64_MAX);
    for (int i = 0; i < N; i++)
        TEST_TRUE(pending_add(&p, &items[i], true, 1 + hash_below(&random, 1000)));
    send_all(0);
    for (int i = 0; i < N; i += 3)
        pending_remove(&p, &items[i]);
    for (int left = N - N / 3; left > 0; left--) {
        uint64_t wake_us = pending_wake_us(&p, 0);
        TEST_TRUE(wake_us >= last_us);
        TEST_TRUE(pending_expired(&p, wake_us - 1) == NULL);
        struct pending_item *item = pending_expired(&p, wake_us);
        TEST_TRUE(item && item->deadline_us == wake_us && item->state == PENDING_OUT);
        last_us = wake_us;
    }
    TEST_EQ(p.n, 0);
}

static void test_full(void **state) {
    (void)state;
    struct pending_item *items = calloc(PENDING_MAX + 1, sizeof *items);
    for (uint32_t i = 0; i < PENDING_MAX; i++)
        if (!pending_add(&p, &items[i], false, SECOND))
            TEST_FAIL("full at %u", i);
    TEST_TRUE(!pending_add(&p, &items[PENDING_MAX], false, SECOND));
    pending_remove(&p, &items[77]);
    TEST_TRUE(pending_add(&p, &items[PENDING_MAX], false, SECOND));
    while (p.n > 0)
        pending_remove(&p, p.heap[0]);
    free(items);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_in_order),
        TEST(test_window),
        TEST(test_lost_broker),
        TEST(test_parked),
        TEST(test_second_copy),
        TEST(test_second_copy_waits),
        TEST(test_second_copy_and_a_loss),
        TEST(test_swallowed_or_slow),
        TEST(test_unproven),
        TEST(test_probe),
        TEST(test_all_stuck),
        TEST(test_refused_elsewhere),
        TEST(test_not_found_further),
        TEST(test_busy_goes_elsewhere_once),
        TEST(test_refused_by_one_of_two),
        TEST(test_refused),
        TEST(test_long_advice),
        TEST(test_rests_grow),
        TEST(test_deadlines),
        TEST(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
