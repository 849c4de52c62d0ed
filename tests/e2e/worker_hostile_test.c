/* worker_hostile_test.c - ember-worker-fake between an honest broker and one that lies: it
 * ignores windows, repeats tickets, cancels what it never sent, sends rubbish. The honest one
 * must not notice, and the worker must neither end nor grow. */
#include "support/as_broker.h"
#include "support/proc.h"

#include "base/hash.h"

enum { CREDIT = 128, WAIT = 20000 * PROC_SLOW, BEAT = 100 };

static struct as_broker honest, liar;
static struct proc worker;
static uint32_t next_ticket = 1; /* of both: results are looked up by it */

/* What the honest broker asks meanwhile is answered. */
static void check_honest(void) {
    uint32_t ticket = next_ticket++;
    as_broker_embed(&honest, ticket, "an honest question");
    for (uint64_t end_us = clock_us() + WAIT * UINT64_C(1000); !honest.results[ticket];) {
        TEST_TRUE(clock_us() < end_us);
        TEST_EQ(honest.nacks[ticket], 0);
        as_broker_take(&honest, 5);
        as_broker_take(&liar, 0);
    }
    TEST_EQ(honest.status[ticket], STATUS_OK);
    TEST_TRUE(proc_running(&worker));
}

/* Each ticket from..to has one answer, and no other. */
static void check_answers(uint32_t from, uint32_t to) {
    for (uint32_t ticket = from; ticket < to; ticket++) {
        as_broker_answered(&liar, ticket, WAIT);
        TEST_EQ(liar.results[ticket] + liar.nacks[ticket], 1);
    }
}

/* Many small requests at once, each of many texts. Answers that our own flood keeps from leaving
 * are lost to us and nobody else. */
static void test_flood(void **state) {
    (void)state;
    uint32_t from = next_ticket, to = from + 6000, n_nacks = 0, n_results = 0;
    for (next_ticket = from; next_ticket < to; next_ticket++) {
        as_broker_embed_many(&liar, next_ticket, "slow", 1 + next_ticket % 64);
        if (next_ticket % 64 == 0)
            as_broker_take(&liar, 0);
    }
    check_honest();
    as_broker_read(&liar, 300);
    for (uint32_t ticket = from; ticket < to; ticket++) {
        TEST_TRUE(liar.results[ticket] + liar.nacks[ticket] <= 1);
        n_nacks += liar.nacks[ticket];
        n_results += liar.results[ticket];
    }
    print_message("of %u requests %u were answered, %u given back\n", to - from, n_results,
                  n_nacks);
    TEST_TRUE(n_nacks > n_results && n_results > 0);
    TEST_TRUE(proc_wait_log(&worker, "event=broker-beyond-window", WAIT));
    check_honest();
}

/* As large as they may be: what they take to decode is eight times that. */
static void test_huge(void **state) {
    (void)state;
    static char body[LIMIT_REQUEST_BYTES];
    uint32_t from = next_ticket, to = from + 600;
    uint64_t random = 1;
    for (next_ticket = from; next_ticket < to; next_ticket++) {
        if (next_ticket % 3 == 0) /* rubbish, or empty texts without end, or field after field */
            for (size_t i = 0; i < sizeof body; i++)
                body[i] = (char)hash_next(&random);
        else
            for (size_t i = 0; i < sizeof body; i += 2) {
                body[i] = next_ticket % 3 == 1 ? 0x0a : 0x10;
                body[i + 1] = 0;
            }
        as_broker_send(&liar,
                       (struct header){.type = WIRE_DISPATCH,
                                       .id = next_ticket,
                                       .epoch = liar.epoch,
                                       .service = AS_BROKER_SERVICE},
                       view_make(body, sizeof body - next_ticket % 7));
        if (next_ticket % 16 == 0)
            as_broker_take(&liar, 0);
    }
    check_honest();
    check_answers(from, to);
    check_honest();
}

static void test_tickets(void **state) {
    (void)state;
    TEST_ROW("the same ticket, again and again");
    uint32_t ticket = next_ticket++;
    for (int i = 0; i < 200; i++)
        as_broker_embed(&liar, ticket, "long and repeated"); /* all while the first still runs */
    check_answers(ticket, ticket + 1);
    as_broker_read(&liar, 100);
    TEST_EQ(liar.results[ticket], 1);
    TEST_ROW("another epoch");
    ticket = next_ticket++;
    liar.epoch++;
    as_broker_embed(&liar, ticket, "of another age");
    liar.epoch--;
    TEST_ROW("a service that was never told");
    as_broker_send(
        &liar,
        (struct header){
            .type = WIRE_DISPATCH, .id = next_ticket++, .epoch = liar.epoch, .service = 77},
        view_of("x"));
    check_answers(ticket + 1, ticket + 2);
    TEST_EQ(liar.nacks[ticket + 1], 1);
    TEST_EQ(liar.results[ticket] + liar.nacks[ticket], 0);
    TEST_ROW("cancels of what is not there, or is the other's");
    uint32_t mine = next_ticket++, others = next_ticket++;
    as_broker_embed(&honest, others, "slow but honest");
    for (uint64_t i = 0; i < 50000; i++)
        as_broker_plain(&liar, WIRE_CANCEL, i * 77777 + 1000000);
    as_broker_embed(&liar, mine, "long enough for a cancel");
    as_broker_plain(&liar, WIRE_CANCEL, others);
    as_broker_plain(&liar, WIRE_CANCEL, mine);
    check_answers(mine, mine + 1);
    TEST_EQ(liar.status[mine], STATUS_CANCELLED);
    as_broker_answered(&honest, others, WAIT);
    TEST_EQ(honest.status[others], STATUS_OK);
    check_honest();
}

/* Words of the session at the wrong time, and what is no message at all. */
static void test_words(void **state) {
    (void)state;
    static const uint8_t types[] = {WIRE_HELLO, WIRE_WELCOME, WIRE_REQUEST,   WIRE_REPLY,
                                    WIRE_PONG,  WIRE_GOAWAY,  WIRE_READY,     WIRE_READY_OK,
                                    WIRE_PING,  WIRE_RESULT,  WIRE_HEARTBEAT, WIRE_DRAIN,
                                    WIRE_BYE,   WIRE_BYE_OK,  WIRE_DISPATCH,  WIRE_CANCEL};
    uint64_t random = 2;
    for (int i = 0; i < 4000; i++) {
        char body[64];
        for (size_t k = 0; k < sizeof body; k++)
            body[k] = (char)hash_next(&random);
        struct header header = {.type = types[hash_below(&random, sizeof types)],
                                .flags = (uint8_t)hash_next(&random),
                                .status = (uint8_t)hash_below(&random, 20),
                                .credit = (uint16_t)hash_next(&random),
                                .id = 5000000 + hash_next(&random) % 1000000,
                                .epoch = hash_below(&random, 2) ? liar.epoch : hash_next(&random),
                                .budget_us = (uint32_t)hash_next(&random),
                                .service = (uint16_t)hash_below(&random, 3)};
        as_broker_send(&liar, header, view_make(body, hash_below(&random, sizeof body)));
        if (i % 10 == 0) { /* a frame alone, three frames, a broken header */
            zmq_send(liar.sock, liar.peer.id, sizeof liar.peer.id, ZMQ_SNDMORE);
            zmq_send(liar.sock, body, 32, i % 20 ? 0 : ZMQ_SNDMORE);
            if (i % 20 == 0) {
                zmq_send(liar.sock, body, 3, ZMQ_SNDMORE);
                zmq_send(liar.sock, body, 5, 0);
            }
        }
        if (i % 64 == 0)
            as_broker_take(&liar, 0);
    }
    check_honest();
    TEST_ROW("who are you, and a broker that is another each time");
    uint32_t readies = liar.n[WIRE_READY];
    for (int i = 0; i < 500; i++) {
        as_broker_plain(&liar, WIRE_WHO_ARE_YOU, 0);
        liar.epoch++;
        as_broker_welcome(&liar, 1 + (uint32_t)i % 3);
        as_broker_take(&liar, 0);
    }
    check_honest();
    as_broker_read(&liar, 300);
    TEST_TRUE(liar.n[WIRE_READY] - readies <= 600);
    uint32_t beats = liar.n[WIRE_HEARTBEAT]; /* it asked for one each millisecond or two */
    as_broker_read(&liar, 500);
    TEST_TRUE(liar.n[WIRE_HEARTBEAT] - beats <= 30);
    as_broker_embed(&liar, next_ticket, "still there");
    as_broker_answered(&liar, next_ticket, WAIT);
    TEST_EQ(liar.results[next_ticket++], 1);
}

/* Demand that is a lie takes no more than all but the other's floor. */
static void test_demand(void **state) {
    (void)state;
    liar.demand = 65535;
    honest.demand = 10;
    for (int i = 0; i < 10; i++) {
        as_broker_read(&liar, BEAT / 2);
        as_broker_read(&honest, BEAT / 2);
    }
    TEST_EQ(honest.window, CREDIT / 4 / 2);
    check_honest();
}

/* It was a bounded mischief. */
static void test_memory(void **state) {
    (void)state;
    size_t peak = proc_peak_bytes(&worker);
    print_message("peak of the worker: %.1f MB\n", (double)peak / 1e6);
    TEST_TRUE(peak < (size_t)(PROC_SLOW > 1 ? 1600 : 400) * 1000 * 1000);
}

static int setup(void **state) {
    (void)state;
    char brokers[2][96];
    as_broker_open(&honest, 1001);
    as_broker_open(&liar, 2001);
    snprintf(brokers[0], sizeof brokers[0], "--broker=%s", honest.endpoint);
    snprintf(brokers[1], sizeof brokers[1], "--broker=%s", liar.endpoint);
    proc_start(&worker, "worker",
               (const char *[]){PROC_WORKER_FAKE,
                                "--model=m=fake:dim=8,slow=slow:1000,hang=long:1500000", brokers[0],
                                brokers[1], "--redis=off", "--http=off", "--threads=2", "--name=w1",
                                "--credit=128", "--cache-memory=0", NULL});
    as_broker_wait(&honest, WIRE_READY, WAIT);
    as_broker_welcome(&honest, BEAT);
    as_broker_wait(&liar, WIRE_READY, WAIT);
    as_broker_welcome(&liar, BEAT);
    as_broker_wait(&liar, WIRE_HEARTBEAT, WAIT);
    return 0;
}

static int teardown(void **state) {
    proc_stop_all(state);
    as_broker_close(&honest);
    as_broker_close(&liar);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood), cmocka_unit_test(test_huge),   cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_words), cmocka_unit_test(test_demand), cmocka_unit_test(test_memory),
    };
    return proc_report(cmocka_run_group_tests(tests, setup, teardown));
}
