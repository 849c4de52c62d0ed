/* peers_test.c - routing ids to numbers and back, under much coming and going. */
#include "support/test.h"

#include "base/hash.h"
#include "peers.h"

enum { MAX = 64 };

static struct frame_peer id_of(uint32_t n) {
    return (struct frame_peer){
        {0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

static void test_against_a_plain_list(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct peers p;
        TEST_TRUE(peers_init(&p, MAX, seed));
        uint32_t bound[MAX] = {0}, random_id = 1;
        uint64_t random = seed;
        for (int step = 0; step < 5000; step++) {
            uint32_t number = hash_below(&random, MAX);
            if (bound[number]) {
                peers_unbind(&p, number);
                bound[number] = 0;
            } else {
                bound[number] = random_id += 1 + hash_below(&random, 3);
                struct frame_peer id = id_of(bound[number]);
                TEST_EQ(peers_find(&p, &id), PEERS_NONE);
                p.strikes[number] = 9;
                peers_bind(&p, &id, number);
                TEST_EQ(p.strikes[number], 0);
            }
            for (uint32_t i = 0; i < MAX && step % 16 == 0; i++) {
                struct frame_peer id = id_of(bound[i] ? bound[i] : 0xffffff00 + i);
                TEST_EQ(peers_find(&p, &id), bound[i] ? i : PEERS_NONE);
            }
        }
        peers_done(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_a_plain_list)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
