/* unread_test.c - bytes counted, questions asked and answered, and who is given up. */
#include "support/test.h"

#include "base/hash.h"
#include "unread.h"

enum { CLIENTS = 4, LIMIT = 4 * 1024 * 1024, TOTAL = 8 * 1024 * 1024, PIECE = 64 * 1024 };

static struct unread u;

static int start(void **state) {
    (void)state;
    TEST_TRUE(unread_init(&u, CLIENTS, LIMIT, TOTAL, 7));
    for (uint32_t i = 0; i < CLIENTS; i++)
        unread_start(&u, i);
    return 0;
}

static int stop(void **state) {
    (void)state;
    unread_done(&u);
    return 0;
}

/* Sends pieces until it is told to give up; how many went. */
static uint32_t flood(uint32_t client) {
    uint32_t n = 0;
    while (unread_send(&u, client, PIECE - UNREAD_MESSAGE_BYTES))
        TEST_TRUE(++n <= LIMIT / PIECE);
    return n;
}

static void test_who_reads_is_never_cut(void **state) {
    (void)state;
    for (int i = 0; i < 10000; i++) {
        TEST_TRUE(unread_send(&u, 0, PIECE));
        unread_answer(&u, 0, unread_question(&u, 0));
        TEST_TRUE(!unread_is_behind(&u, 0));
    }
    TEST_TRUE(u.total <= UNREAD_ASK_BYTES);
}

static void test_questions(void **state) {
    (void)state;
    TEST_EQ(unread_question(&u, 0), 0);
    TEST_TRUE(unread_send(&u, 0, UNREAD_ASK_BYTES));
    uint64_t first = unread_question(&u, 0);
    TEST_TRUE(first != 0);
    TEST_EQ(unread_question(&u, 0), 0); /* one at a time */
    TEST_TRUE(unread_send(&u, 0, 1000));
    unread_answer(&u, 0, first + 1); /* guessed */
    unread_answer(&u, 0, 0);
    unread_answer(&u, 1, first); /* of another client */
    TEST_EQ(unread_bytes(&u, 0), UNREAD_ASK_BYTES + 1000 + 2 * UNREAD_MESSAGE_BYTES);
    unread_answer(&u, 0, first);
    TEST_EQ(unread_bytes(&u, 0), 1000 + UNREAD_MESSAGE_BYTES); /* sent behind the question */
    unread_answer(&u, 0, first);                               /* twice */
    TEST_EQ(unread_bytes(&u, 0), 1000 + UNREAD_MESSAGE_BYTES);
    TEST_EQ(u.total, 1000 + UNREAD_MESSAGE_BYTES);
    TEST_TRUE(unread_send(&u, 0, UNREAD_ASK_BYTES));
    TEST_TRUE(unread_question(&u, 0) != first);
}

static void test_who_does_not_is(void **state) {
    (void)state;
    uint32_t until_behind = 0;
    while (!unread_is_behind(&u, 0)) {
        TEST_TRUE(unread_send(&u, 0, PIECE - UNREAD_MESSAGE_BYTES));
        until_behind++;
    }
    TEST_EQ(until_behind, LIMIT / 4 / PIECE + 1);
    TEST_EQ(until_behind + flood(0), LIMIT / PIECE);
    TEST_TRUE(unread_send(&u, 1, PIECE)); /* others may go on */
    unread_end(&u, 0);
    TEST_EQ(u.total, PIECE + UNREAD_MESSAGE_BYTES);
    unread_start(&u, 0);
    TEST_EQ(flood(0), LIMIT / PIECE); /* whoever has the number next begins at nothing */
}

/* Beyond the total each may have its share, so who has less goes on while who has more does not. */
static void test_total(void **state) {
    (void)state;
    TEST_EQ(flood(0), LIMIT / PIECE);
    TEST_EQ(flood(1), LIMIT / PIECE);
    TEST_EQ(u.total, TOTAL);
    TEST_EQ(flood(2), TOTAL / CLIENTS / PIECE);
    TEST_EQ(flood(3), TOTAL / CLIENTS / PIECE);
    TEST_TRUE(u.total <= 2 * TOTAL);
    TEST_EQ(flood(0), 0);
}

static void test_by_chance(void **state) {
    (void)state;
    uint64_t random = 3, open[CLIENTS] = {0};
    for (int i = 0; i < 200000; i++) {
        uint32_t client = hash_below(&random, CLIENTS);
        switch (hash_below(&random, 8)) {
        case 0:
            unread_end(&u, client);
            unread_start(&u, client);
            open[client] = 0;
            break;
        case 1:
            unread_answer(&u, client, open[client]);
            break;
        default:
            unread_send(&u, client, hash_below(&random, 200000));
            uint64_t question = unread_question(&u, client);
            open[client] = question ? question : open[client];
        }
        uint64_t sum = 0;
        for (uint32_t k = 0; k < CLIENTS; k++) {
            TEST_TRUE(u.clients[k].known <= u.clients[k].sent);
            TEST_TRUE(unread_bytes(&u, k) <= LIMIT);
            sum += unread_bytes(&u, k);
        }
        TEST_TRUE(sum == u.total && sum <= 2 * TOTAL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_reads_is_never_cut, start, stop),
        cmocka_unit_test_setup_teardown(test_questions, start, stop),
        cmocka_unit_test_setup_teardown(test_who_does_not_is, start, stop),
        cmocka_unit_test_setup_teardown(test_total, start, stop),
        cmocka_unit_test_setup_teardown(test_by_chance, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
