#include "support/test.h"

#include "base/arena.h"

static void test_take_and_rewind(void **state) {
    (void)state;
    struct arena arena;
    assert_true(arena_init(&arena, 1000)); /* rounded up to whole lines: 1024 */
    char *a = arena_take(&arena, 1), *b = arena_take(&arena, 64);
    TEST_TRUE(a && b);
    TEST_EQ((uintptr_t)a % ARENA_ALIGN, 0);
    TEST_EQ(b - a, ARENA_ALIGN);
    size_t mark = arena.used;
    TEST_TRUE(arena_take(&arena, 1024 - 128) != NULL);
    TEST_TRUE(arena_take(&arena, 1) == NULL);
    TEST_EQ(arena.peak, 1024);
    arena_rewind(&arena, mark);
    TEST_TRUE(arena_take(&arena, 1) != NULL);
    arena_reset(&arena);
    TEST_EQ(arena.used, 0);
    TEST_TRUE(arena_take(&arena, 1) == a);
    TEST_EQ(arena.peak, 1024);
    arena_done(&arena);
    TEST_TRUE(arena.base == NULL);
}

/* What is handed out stays; the pages behind are zeros when they come back. */
static void test_release(void **state) {
    (void)state;
    enum { SIZE = 1024 * 1024, KEPT = 10000 };
    struct arena arena;
    assert_true(arena_init(&arena, SIZE));
    memset(arena_take(&arena, SIZE), 7, SIZE);
    arena_reset(&arena);
    char *kept = arena_take(&arena, KEPT);
    memset(kept, 5, KEPT);
    arena_release(&arena);
    char *rest = arena_take(&arena, SIZE / 2);
    for (size_t i = 0; i < KEPT; i++)
        TEST_EQ(kept[i], 5);
    TEST_EQ(rest[SIZE / 4], 0);
    rest[SIZE / 4] = 1;
    arena_done(&arena);
    struct arena small; /* less than a page: nothing to give back */
    assert_true(arena_init(&small, 100));
    arena_release(&small);
    arena_done(&small);
    arena_release(&small); /* empty: fine */
}

static void test_overflow(void **state) { /* sizes from outside may be absurd */
    (void)state;
    struct arena arena;
    assert_true(arena_init(&arena, 4096));
    TEST_TRUE(arena_take(&arena, SIZE_MAX) == NULL);
    TEST_TRUE(arena_take(&arena, SIZE_MAX - 63) == NULL);
    TEST_TRUE(arena_array(&arena, uint64_t, SIZE_MAX / 4) == NULL);
    TEST_EQ(arena_need(SIZE_MAX / 2, 3), SIZE_MAX);
    TEST_EQ(arena_need(3, 30), 128);
    TEST_TRUE(arena_array(&arena, uint64_t, 512) != NULL);
    TEST_TRUE(arena_array(&arena, uint64_t, 1) == NULL);
    arena_done(&arena);
    struct arena none;
    TEST_TRUE(!arena_init(&none, SIZE_MAX / 2));
    TEST_TRUE(arena_take(&none, 1) == NULL);
    arena_done(&none);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_take_and_rewind),
                                       cmocka_unit_test(test_release),
                                       cmocka_unit_test(test_overflow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
