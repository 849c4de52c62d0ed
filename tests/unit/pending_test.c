/* pending_test.c - requests in flight: order, ids, rests, deadlines; then a simulation from a seed,
 * in which brokers die, refuse, answer late and twice, and every request must end once and in
 * time. */
#include "pending.h"
#include "support/test.h"

#include "base/hash.h"

enum { SECOND = 1000000, WINDOW = 100 };

static struct pending p;

static int setup(void **state) {
    (void)state;
    pending_init(&p, WINDOW, 1);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    while (p.n > 0)
        pending_remove(&p, p.heap[0]);
    pending_done(&p);
    return 0;
}

static void send_all(uint64_t session, uint64_t now_us) {
    struct pending_item *item;
    while ((item = pending_next(&p)))
        pending_sent(&p, item, session, now_us);
}

static void test_in_order(void **state) {
    (void)state;
    static struct pending_item items[5];
    for (int i = 0; i < 5; i++)
        TEST_TRUE(pending_add(&p, &items[i], SECOND));
    for (int i = 0; i < 5; i++) {
        TEST_TRUE(pending_next(&p) == &items[i]);
        pending_sent(&p, &items[i], 7, 10);
        if (i)
            TEST_TRUE(items[i].id > items[i - 1].id);
    }
    TEST_TRUE(pending_next(&p) == NULL);
    TEST_TRUE(pending_find(&p, items[3].id, 7) == &items[3]);
    TEST_ROW("another session");
    TEST_TRUE(pending_find(&p, items[3].id, 8) == NULL);
    TEST_ROW("an id of the same slot");
    TEST_TRUE(pending_find(&p, items[3].id + (1 << 16), 7) == NULL);
    TEST_ROW("a slot beyond the table");
    TEST_TRUE(pending_find(&p, items[3].id | 0xffff, 7) == NULL);
    pending_remove(&p, &items[3]);
    TEST_ROW("answered already");
    TEST_TRUE(pending_find(&p, items[3].id, 7) == NULL);
    pending_remove(&p, &items[3]); /* twice is fine */
}

static void test_window(void **state) {
    (void)state;
    static struct pending_item items[3];
    p.window = 2;
    for (int i = 0; i < 3; i++)
        TEST_TRUE(pending_add(&p, &items[i], SECOND));
    send_all(1, 0);
    TEST_EQ(p.in_flight.n, 2);
    pending_remove(&p, &items[0]);
    TEST_TRUE(pending_next(&p) == &items[2]);
}

static void test_lost_session(void **state) {
    (void)state;
    static struct pending_item items[6];
    uint64_t ids[6];
    for (int i = 0; i < 4; i++)
        TEST_TRUE(pending_add(&p, &items[i], SECOND));
    pending_sent(&p, &items[0], 1, 0);
    pending_sent(&p, &items[1], 2, 0); /* of the session that stays */
    pending_sent(&p, &items[2], 1, 0);
    for (int i = 0; i < 4; i++)
        ids[i] = items[i].id;
    pending_session_lost(&p, 1);
    struct pending_item *want[] = {&items[0], &items[2], &items[3]};
    for (int i = 0; i < 3; i++) {
        TEST_TRUE(pending_next(&p) == want[i]);
        pending_sent(&p, want[i], 3, 5);
    }
    TEST_EQ(items[0].id, ids[0]); /* the same id: a broker that still runs it can tell */
    TEST_EQ(items[0].sendings, 2);
    TEST_EQ(items[3].sendings, 1);
    TEST_TRUE(pending_find(&p, ids[0], 1) == NULL); /* an answer of the old session is late */
    TEST_TRUE(pending_find(&p, ids[0], 3) == &items[0]);
    TEST_TRUE(pending_find(&p, ids[1], 2) == &items[1]);
}

static void test_parked(void **state) {
    (void)state;
    static struct pending_item items[3];
    for (int i = 0; i < 3; i++)
        TEST_TRUE(pending_add(&p, &items[i], SECOND));
    pending_park(&p, &items[0]);
    pending_park(&p, &items[1]);
    TEST_TRUE(pending_next(&p) == &items[2]);
    pending_unpark(&p);
    for (int i = 0; i < 3; i++) {
        TEST_TRUE(pending_next(&p) == &items[i]);
        pending_sent(&p, &items[i], 1, 0);
    }
}

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
        {"advice beyond the deadline", STATUS_UNAVAILABLE, 1000, 0, false, 0, 0},
        {"no time left", STATUS_UNAVAILABLE, 0, SECOND - 1, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        static struct pending_item item;
        TEST_TRUE(pending_add(&p, &item, SECOND));
        send_all(1, 0);
        uint64_t id = item.id, now_us = rows[i].now_us;
        TEST_EQ(pending_refused(&p, &item, rows[i].status, rows[i].after_ms, now_us),
                rows[i].again);
        TEST_TRUE(pending_find(&p, id, 1) == NULL);
        if (!rows[i].again) {
            TEST_EQ(item.state, PENDING_OUT);
            TEST_EQ(p.n, 0);
            continue;
        }
        TEST_TRUE(pending_next(&p) == NULL);
        uint64_t wake_us = pending_wake_us(&p);
        TEST_TRUE(wake_us >= rows[i].least_us && wake_us <= rows[i].most_us);
        TEST_TRUE(pending_expired(&p, wake_us - 1) == NULL && pending_next(&p) == NULL);
        TEST_TRUE(pending_expired(&p, wake_us) == NULL);
        TEST_TRUE(pending_next(&p) == &item);
        TEST_TRUE(item.id > id);
        TEST_EQ(pending_wake_us(&p), SECOND);
        TEST_TRUE(pending_expired(&p, SECOND) == &item);
    }
}

static void test_rests_grow(void **state) {
    (void)state;
    static struct pending_item item;
    uint64_t now_us = 0, longest_us[2] = {0, 0};
    TEST_TRUE(pending_add(&p, &item, UINT64_MAX / 2));
    for (int i = 0; i < 200; i++) {
        send_all(1, now_us);
        TEST_TRUE(pending_refused(&p, &item, STATUS_UNAVAILABLE, 0, now_us));
        uint64_t rest_us = pending_wake_us(&p) - now_us;
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
    p.window = N;
    TEST_EQ(pending_wake_us(&p), UINT64_MAX);
    for (int i = 0; i < N; i++)
        TEST_TRUE(pending_add(&p, &items[i], 1 + hash_below(&random, 1000)));
    send_all(1, 0);
    for (int i = 0; i < N; i += 3)
        pending_remove(&p, &items[i]);
    for (int left = N - N / 3; left > 0; left--) {
        uint64_t wake_us = pending_wake_us(&p);
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
        if (!pending_add(&p, &items[i], SECOND))
            TEST_FAIL("full at %u", i);
    TEST_TRUE(!pending_add(&p, &items[PENDING_MAX], SECOND));
    pending_remove(&p, &items[77]);
    TEST_TRUE(pending_add(&p, &items[PENDING_MAX], SECOND));
    while (p.n > 0)
        pending_remove(&p, p.heap[0]);
    free(items);
}

/* ---- simulation */

enum { SIM_ITEMS = 200, SIM_WIRE = 400 };

struct sim_item {
    struct pending_item item; /* first */
    bool in, ended;
};

struct answer { /* on its way back to us */
    uint64_t id, session;
    bool refusal, used;
};

struct sim {
    struct sim_item items[SIM_ITEMS];
    struct answer wire[SIM_WIRE];
    uint64_t random, now_us, session, last_id;
    uint32_t ended, answered, expired, late;
};

static void check_heap(uint64_t seed) {
    for (uint32_t i = 0; i < p.n; i++) {
        struct pending_item *item = p.heap[i];
        bool ok = item->heap_at == i && item->wake_us <= item->deadline_us &&
                  (i == 0 || p.heap[(i - 1) / 2]->wake_us <= item->wake_us) &&
                  p.slots[item->id & 0xffff] == item;
        if (!ok)
            TEST_FAIL("seed %llu: item %u of the heap is wrong", (unsigned long long)seed, i);
    }
    if (p.ready.n + p.parked.n + p.in_flight.n > p.n || p.n + p.n_free != p.n_slots)
        TEST_FAIL("seed %llu: the tables disagree", (unsigned long long)seed);
}

static void sim_end(struct sim *sim, struct sim_item *item, uint64_t seed) {
    if (!item->in || item->ended)
        TEST_FAIL("seed %llu: a request ended twice", (unsigned long long)seed);
    item->ended = true;
    item->in = false;
    sim->ended++;
}

static void sim_send(struct sim *sim) {
    struct pending_item *item;
    while ((item = pending_next(&p))) {
        if (hash_below(&sim->random, 20) == 0) {
            pending_park(&p, item);
            continue;
        }
        pending_sent(&p, item, sim->session, sim->now_us);
        uint32_t copies = hash_below(&sim->random, 4); /* lost, once, twice, ... */
        for (uint32_t i = 0; i < copies && i < 2; i++)
            sim->wire[hash_below(&sim->random, SIM_WIRE)] =
                (struct answer){item->id, sim->session, hash_below(&sim->random, 3) == 0, true};
    }
}

static void sim_receive(struct sim *sim, uint64_t seed) {
    struct answer *answer = &sim->wire[hash_below(&sim->random, SIM_WIRE)];
    if (!answer->used)
        return;
    answer->used = hash_below(&sim->random, 4) == 0; /* and once more, later */
    struct pending_item *item = pending_find(&p, answer->id, answer->session);
    if (!item) {
        sim->late++;
        return;
    }
    if (answer->session != sim->session)
        TEST_FAIL("seed %llu: an answer of a dead session was taken", (unsigned long long)seed);
    if (answer->refusal &&
        pending_refused(&p, item, STATUS_UNAVAILABLE, hash_below(&sim->random, 30), sim->now_us))
        return;
    pending_remove(&p, item);
    sim->answered++;
    sim_end(sim, (struct sim_item *)(void *)item, seed);
}

static void sim_step(struct sim *sim, uint64_t seed) {
    struct sim_item *fresh = &sim->items[hash_below(&sim->random, SIM_ITEMS)];
    if (!fresh->in && !fresh->ended) {
        uint64_t left_us = 1000 + hash_below(&sim->random, 300000);
        fresh->in = pending_add(&p, &fresh->item, sim->now_us + left_us);
        if (fresh->item.id <= sim->last_id)
            TEST_FAIL("seed %llu: ids do not rise", (unsigned long long)seed);
        sim->last_id = fresh->item.id;
    }
    if (hash_below(&sim->random, 150) == 0) { /* the broker restarts */
        pending_session_lost(&p, sim->session);
        sim->session++;
    }
    if (hash_below(&sim->random, 10) == 0)
        pending_unpark(&p);
    sim_send(sim);
    sim_receive(sim, seed);
    sim->now_us += hash_below(&sim->random, 2000);
    struct pending_item *item;
    while ((item = pending_expired(&p, sim->now_us))) {
        if (item->deadline_us > sim->now_us)
            TEST_FAIL("seed %llu: ended before its deadline", (unsigned long long)seed);
        sim->expired++;
        sim_end(sim, (struct sim_item *)(void *)item, seed);
    }
    check_heap(seed);
    for (uint32_t i = 0; i < p.n; i++)
        if (p.heap[i]->deadline_us <= sim->now_us)
            TEST_FAIL("seed %llu: a deadline was missed", (unsigned long long)seed);
}

static void test_simulation(void **state) {
    (void)state;
    uint32_t answered = 0, expired = 0, late = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim *sim = calloc(1, sizeof *sim);
        sim->random = seed;
        sim->session = 1;
        pending_init(&p, 1 + (uint32_t)(seed % 40), seed);
        for (int step = 0; sim->ended < SIM_ITEMS; step++) {
            if (step > 100000)
                TEST_FAIL("seed %llu: it never ends", (unsigned long long)seed);
            sim_step(sim, seed);
        }
        TEST_EQ(p.n, 0);
        pending_done(&p);
        answered += sim->answered;
        expired += sim->expired;
        late += sim->late;
        free(sim);
    }
    TEST_ROW("each way out was taken often");
    TEST_TRUE(answered > 2000 && expired > 2000 && late > 2000);
    pending_init(&p, WINDOW, 1); /* for teardown */
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_in_order),  TEST(test_window),  TEST(test_lost_session),
        TEST(test_parked),    TEST(test_refused), TEST(test_rests_grow),
        TEST(test_deadlines), TEST(test_full),    TEST(test_simulation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
