/* parallel_test.c - every piece is done once, by threads that exist. */
#include "parallel.h"

#include "base/limits.h"
#include "support/test.h"

#include <stdatomic.h>

enum { PIECES_MAX = 5000 };

static struct world {
    _Atomic uint32_t done[PIECES_MAX];
    _Atomic uint32_t wrong;
    uint32_t total, chunk, threads;
} world;

static void work(void *arg, uint32_t thread, uint32_t first, uint32_t n) {
    struct world *w = arg;
    if (thread >= w->threads || n == 0 || n > w->chunk || first % w->chunk || first + n > w->total)
        atomic_fetch_add(&w->wrong, 1);
    for (uint32_t i = first; i < first + n && i < PIECES_MAX; i++)
        atomic_fetch_add(&w->done[i], 1);
}

static void test_all_once(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t total, chunk, threads;
    } rows[] = {
        {"nothing", 0, 4, 3},
        {"one", 1, 1, 1},
        {"one thread", 100, 7, 1},
        {"more threads than pieces", 3, 1, 8},
        {"a chunk larger than all", 5, 64, 4},
        {"many", PIECES_MAX, 3, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        memset(&world, 0, sizeof world);
        world.total = rows[i].total;
        world.chunk = rows[i].chunk;
        world.threads = rows[i].threads;
        const struct parallel job = {.total = rows[i].total,
                                     .chunk = rows[i].chunk,
                                     .threads = rows[i].threads,
                                     .work = work,
                                     .arg = &world};
        TEST_EQ(parallel_run(&job, NULL), STATUS_OK);
        TEST_EQ(world.wrong, 0);
        for (uint32_t k = 0; k < PIECES_MAX; k++)
            TEST_EQ(world.done[k], k < rows[i].total);
    }
}

static void test_threads(void **state) {
    (void)state;
    TEST_EQ(parallel_threads(3), 3);
    TEST_TRUE(parallel_threads(0) >= 1);
    TEST_EQ(parallel_threads(100000), LIMIT_THREADS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_once),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
