#include "support/test.h"

#include "base/queue.h"

struct item {
    int n;
    struct link link;
};

static void test_order(void **state) {
    (void)state;
    struct queue queue;
    struct item items[4] = {{0, {0}}, {1, {0}}, {2, {0}}, {3, {0}}};
    queue_init(&queue);
    TEST_TRUE(queue_empty(&queue) && queue_head(&queue) == NULL && queue_pop(&queue) == NULL);
    queue_push(&queue, &items[1].link);
    queue_push(&queue, &items[2].link);
    queue_push_front(&queue, &items[0].link);
    queue_push(&queue, &items[3].link);
    TEST_EQ(queue.n, 4);
    TEST_TRUE(queue_has(&items[2].link));
    queue_remove(&queue, &items[2].link); /* from the middle */
    TEST_TRUE(!queue_has(&items[2].link));
    static const int want[] = {0, 1, 3};
    int k = 0;
    for (struct link *at = queue_head(&queue); at; at = queue_next(&queue, at))
        TEST_EQ(QUEUE_ITEM(at, struct item, link)->n, want[k++]);
    TEST_EQ(k, 3);
    for (k = 0; k < 3; k++)
        TEST_EQ(QUEUE_ITEM(queue_pop(&queue), struct item, link)->n, want[k]);
    TEST_TRUE(queue_empty(&queue));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
