/* line_test.c - whose turn it is: fairness by cost among accounts, weights, order inside an
 * account, and who is served when time runs out. Tickets are plain structs here; nobody runs
 * them. */
#include "core_state.h"
#include "support/test.h"

#include "base/hash.h"

enum { TICKETS = 40000, ACCOUNTS = 64, MS = 1000 };

static struct accounts accounts;
static struct flows flows;
static struct line line;
static struct ticket tickets[TICKETS];
static uint32_t n_tickets;
static uint64_t now_us, served[ACCOUNTS]; /* cost */

static int setup(void **state) {
    (void)state;
    n_tickets = 0;
    now_us = 1000 * MS;
    memset(served, 0, sizeof served);
    line_init(&line, 1, WIRE_LANE_NORMAL);
    bool ok = accounts_init(&accounts, ACCOUNTS, 1) && flows_init(&flows, TICKETS, &accounts, 1);
    flows.target_us = 100 * MS;
    return ok ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    flows_done(&flows);
    accounts_done(&accounts);
    return 0;
}

static uint32_t account(uint32_t weight) {
    return account_join(&accounts, 0, &(struct account_limits){.weight = weight});
}

static struct ticket *add(uint32_t owner, uint32_t cost, uint64_t budget_us) {
    TEST_TRUE(n_tickets < TICKETS);
    struct ticket *t = &tickets[n_tickets];
    *t = (struct ticket){.id = n_tickets++,
                         .account = owner,
                         .cost = cost,
                         .work = cost,
                         .service = 1,
                         .lane = WIRE_LANE_NORMAL,
                         .admitted_us = now_us,
                         .deadline_us = now_us + budget_us};
    line_push(&flows, &line, t, false);
    return t;
}

static struct ticket *serve(void) {
    struct ticket *t = line_next(&flows, &line, now_us);
    TEST_TRUE(line_next(&flows, &line, now_us) == t); /* asking twice changes nothing */
    line_pay(&flows, &line, t, now_us);
    line_remove(&flows, &line, t);
    served[t->account] += t->cost;
    return t;
}

static void test_one_account_is_fifo(void **state) {
    (void)state;
    uint32_t a = account(1);
    for (uint32_t i = 0; i < 100; i++)
        add(a, 1 + i % 7, 1000 * MS);
    for (uint32_t i = 0; i < 100; i++)
        TEST_EQ(serve()->id, i);
    TEST_TRUE(queue_empty(&line.flows) && !flows.n && !line.cost && !line.weights);
}

/* A job with 100,000 waiting cost, and one that asks now and then: it waits for one turn of the
 * job, and not for the job. */
static void test_job_beside_a_person(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n, cost;
    } rows[] = {
        {"many small", 33334, 3},
        {"few large", 333, 300},
        {"the largest there are", 25, 4097},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint32_t job = account(1), person = account(1);
        for (uint32_t k = 0; k < rows[i].n; k++)
            add(job, rows[i].cost, 600000 * MS);
        for (uint32_t k = 0; k < 5; k++)
            serve(); /* it is in full swing */
        for (int k = 0; k < 10; k++) {
            struct ticket *mine = add(person, 3, 1000 * MS);
            uint64_t before = served[job];
            while (serve() != mine)
                ;
            TEST_TRUE(served[job] - before <= line_quantum(&line) + rows[i].cost);
        }
        teardown(NULL);
        setup(NULL);
    }
}

static void test_shares(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t weight[3], cost[3];
    } rows[] = {
        {"equal", {1, 1, 1}, {3, 3, 3}},
        {"by cost, not by number", {1, 1, 1}, {2, 40, 300}},
        {"weights 1 : 3 : 6", {1, 3, 6}, {5, 5, 5}},
        {"weights and costs", {1, 3, 2}, {100, 7, 900}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint32_t who[3], weights = 0, most = 0;
        uint64_t total = 0;
        for (int k = 0; k < 3; k++) {
            who[k] = account(rows[i].weight[k]);
            weights += rows[i].weight[k];
            most = rows[i].cost[k] > most ? rows[i].cost[k] : most;
            for (uint32_t n = 0; n < 60000 / rows[i].cost[k] && n < 13000; n++)
                add(who[k], rows[i].cost[k], 600000 * MS);
        }
        while (total < 18000)
            total += serve()->cost;
        for (int k = 0; k < 3; k++) {
            double fair = (double)total * rows[i].weight[k] / weights;
            double off = (double)served[who[k]] - fair;
            TEST_TRUE(off < 2.0 * most + 200 && off > -2.0 * most - 200);
        }
        teardown(NULL);
        setup(NULL);
    }
}

/* Deficit round robin's bound, whatever comes: of two accounts of one weight that both wait all the
 * time, none gets more ahead than a quantum and the largest request. */
static void test_nobody_gets_ahead(void **state) {
    (void)state;
    uint64_t random = 5;
    uint32_t who[8], most = 1;
    for (int i = 0; i < 8; i++)
        who[i] = account(1);
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 3000; k++) {
            uint32_t cost = 1 + hash_below(&random, hash_below(&random, 20) ? 10 : 400);
            most = cost > most ? cost : most;
            add(who[i], cost, 600000 * MS);
        }
    uint32_t quantum = 0;
    for (int step = 0; step < 8000; step++) {
        uint64_t low = UINT64_MAX, high = 0;
        serve();
        quantum = line_quantum(&line) > quantum ? line_quantum(&line) : quantum;
        for (int i = 0; i < 8; i++) {
            low = served[who[i]] < low ? served[who[i]] : low;
            high = served[who[i]] > high ? served[who[i]] : high;
        }
        TEST_TRUE(high - low <= 2 * (most + 2 * quantum)); /* doubled rounds count twice */
    }
}

static void test_what_comes_back_goes_first(void **state) {
    (void)state;
    uint32_t a = account(1), b = account(1);
    struct ticket *first = add(a, 50, 1000 * MS);
    for (int i = 0; i < 20; i++) {
        add(a, 50, 1000 * MS);
        add(b, 50, 1000 * MS);
    }
    while (serve() != first)
        ;
    for (int i = 0; i < 6; i++)
        serve();
    uint64_t a_before = served[a], b_before = served[b];
    first->attempts = 1;
    line_push(&flows, &line, first, true);
    TEST_TRUE(serve() == first);
    served[a] -= first->cost; /* it had been paid for */
    TEST_EQ(served[a], a_before);
    for (int i = 0; i < 10; i++)
        serve();
    TEST_TRUE(served[a] - a_before <= served[b] - b_before + 150);
    TEST_TRUE(served[b] - b_before <= served[a] - a_before + 150);
}

/* An account that turns out to take more than its length says pays with its turns. */
static void test_settled(void **state) {
    (void)state;
    uint32_t dear = account(1), cheap = account(1);
    for (int i = 0; i < 4000; i++) {
        add(dear, 10, 600000 * MS);
        add(cheap, 10, 600000 * MS);
    }
    for (int i = 0; i < 2000; i++) {
        struct ticket *t = serve();
        if (t->account == dear)
            line_settle(&flows, &line, dear, 30); /* four times as much */
    }
    double share = (double)served[cheap] / (double)served[dear];
    TEST_TRUE(share > 3.7 && share < 4.3);
}

static void test_newest_first(void **state) {
    (void)state;
    uint32_t a = account(1), b = account(1);
    struct ticket *t[6];
    for (int i = 0; i < 3; i++)
        t[i] = add(a, 1, 1200 * MS);
    add(b, 1, 1200 * MS);
    now_us += 1040 * MS;
    TEST_TRUE(line_next(&flows, &line, now_us) == t[0]); /* an eighth of its time is left */
    now_us += 20 * MS;
    TEST_TRUE(line_next(&flows, &line, now_us) == t[0]); /* late, but not for long */
    TEST_TRUE(!line_hopeless(&flows, &line, now_us, 200 * MS));
    now_us += 100 * MS;
    for (int i = 3; i < 6; i++)
        t[i] = add(a, 1, 1200 * MS);
    TEST_TRUE(line_next(&flows, &line, now_us) == t[5]);
    TEST_TRUE(!line_hopeless(&flows, &line, now_us, 30 * MS)); /* 40 are left */
    for (int i = 0; i < 3; i++) {
        TEST_TRUE(line_hopeless(&flows, &line, now_us, 50 * MS) == t[i]);
        line_remove(&flows, &line, t[i]);
    }
    TEST_TRUE(!line_hopeless(&flows, &line, now_us, 50 * MS));
    TEST_TRUE(serve() == t[3]); /* what was late is gone: first in, first out again */
}

static void test_a_job_with_time_keeps_its_order(void **state) {
    (void)state;
    uint32_t a = account(1);
    for (int i = 0; i < 10; i++)
        add(a, 1, 600000 * MS);
    for (uint64_t i = 0; i < 10; i++) {
        now_us += 20000 * MS;
        TEST_EQ(serve()->id, i);
    }
}

static void test_ahead(void **state) {
    (void)state;
    uint32_t a = account(1), b = account(3);
    TEST_EQ(line_ahead(&flows, &line, a, 5), 5);
    for (int i = 0; i < 100; i++)
        add(a, 10, 1000 * MS);
    TEST_EQ(line_ahead(&flows, &line, a, 5), 1005); /* all that it waits for itself */
    uint64_t turn = line_quantum(&line);
    TEST_EQ(line_ahead(&flows, &line, b, 6), 6 + (6 + turn) / 3); /* one turn of the other */
    for (int i = 0; i < 10; i++)
        add(b, 10, 1000 * MS);
    TEST_EQ(line_ahead(&flows, &line, a, 5), 1105); /* the other is done before */
}

/* What an account waits for, at the rate at which it got on. */
static void test_share(void **state) {
    (void)state;
    uint32_t a = account(1), b = account(1);
    TEST_TRUE(line_share_us(&flows, &line, a, 10, now_us) == 0);
    for (int i = 0; i < 200; i++) {
        add(a, 10, 60000 * MS);
        add(b, 10, 60000 * MS);
    }
    TEST_TRUE(line_share_us(&flows, &line, a, 10, now_us + 100 * MS) == 0);
    for (int i = 0; i < 100; i++) { /* ten a second, half of them its own */
        now_us += 100 * MS;
        serve();
    }
    double us = line_share_us(&flows, &line, a, 10, now_us); /* 151 of them */
    TEST_TRUE(us > 0.8 * 151 * 200 * MS && us < 1.1 * 151 * 200 * MS);
}

static void test_newest_of_the_lowest_lane(void **state) {
    (void)state;
    uint32_t a = account(1);
    struct line bulk;
    line_init(&bulk, 1, WIRE_LANE_BULK);
    TEST_TRUE(!flows_newest(&flows, a));
    add(a, 1, 1000 * MS);
    struct ticket *second = add(a, 1, 1000 * MS);
    TEST_TRUE(flows_newest(&flows, a) == second);
    struct ticket *low = &tickets[n_tickets++];
    *low =
        (struct ticket){.account = a, .cost = 1, .work = 1, .service = 1, .lane = WIRE_LANE_BULK};
    line_push(&flows, &bulk, low, false);
    TEST_TRUE(flows_newest(&flows, a) == low);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_one_account_is_fifo),
        TEST(test_job_beside_a_person),
        TEST(test_shares),
        TEST(test_nobody_gets_ahead),
        TEST(test_what_comes_back_goes_first),
        TEST(test_settled),
        TEST(test_newest_first),
        TEST(test_a_job_with_time_keeps_its_order),
        TEST(test_ahead),
        TEST(test_share),
        TEST(test_newest_of_the_lowest_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
