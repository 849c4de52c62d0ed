/* cheaper_test.c - fleets that would do the same, by hand. */
#include "cheaper.h"
#include "support/test.h"

static struct cost cost;
static struct cheaper cheaper;
static struct prices prices;

/* Four workers of 1 an hour, half of what they can do is asked: 4 x 0.35 / 0.7 = 2 are needed. m
 * has three quarters of the work, n the rest; 100 requests a second. */
static void fleet(void) {
    memset(&cost, 0, sizeof cost);
    cost.live = cost.listed = 4;
    cost.load = 0.35, cost.busy = 0.3, cost.hourly = 4, cost.per_s = 100, cost.engine = 1;
    cost.n_models = 2;
    cost.models[0] =
        (struct cost_model){.name = "m", .precision = "i8", .engine = 0.75, .workers = 4};
    cost.models[1] =
        (struct cost_model){.name = "n", .precision = "i8", .engine = 0.25, .workers = 4};
}

static void ask(const char *table, const char *instance, uint32_t least) {
    struct cheaper_ask ask = {.instance = instance, .target = 0.7, .min_workers = least};
    if (table) {
        TEST_EQ(prices_parse(view_of(table), "t", &prices, NULL), STATUS_OK);
        ask.prices = &prices;
    }
    cheaper_make(&cost, &ask, &cheaper);
}

static const struct candidate *row(const char *instance, const char *precision) {
    for (uint32_t i = 0; i < cheaper.n; i++)
        if (strcmp(cheaper.row[i].instance, instance) == 0 &&
            strcmp(cheaper.row[i].precision, precision) == 0)
            return &cheaper.row[i];
    TEST_FAIL("no candidate %s in %s", instance, precision);
    return &cheaper.row[0]; /* not reached */
}

static void test_right_size(void **state) {
    (void)state;
    fleet();
    ask(NULL, NULL, 1);
    TEST_NEAR(cheaper.needed, 2, 1e-12);
    TEST_EQ(cheaper.n, 1);
    TEST_TRUE(cheaper.best == &cheaper.row[0] && cheaper.best->present);
    TEST_NEAR(cheaper.best->workers, 2, 0);
    TEST_NEAR(cheaper.best->hourly, 2, 1e-12); /* at what one costs on average */
    TEST_NEAR(cheaper.best->saved, 0.5, 1e-12);
    TEST_NEAR(cheaper.best->per_1000, 2.0 / 360, 1e-12);
    ask(NULL, NULL, 3);
    TEST_NEAR(cheaper.best->workers, 3, 0);
    cost.load = NAN; /* 4 x 0.3 / 0.7 */
    ask(NULL, NULL, 1);
    TEST_TRUE(cheaper.by_busy);
    TEST_NEAR(cheaper.needed, 12.0 / 7, 1e-12);
    cost.load = 0; /* nothing is asked: one is kept */
    ask(NULL, NULL, 1);
    TEST_NEAR(cheaper.best->workers, 1, 0);
    TEST_NEAR(cheaper.best->saved, 0.75, 1e-12);
    cost.uncounted = 1; /* what all of them cost is not known */
    ask(NULL, NULL, 1);
    TEST_NEAR(cheaper.best->hourly, 4.0 / 3, 1e-12);
    TEST_TRUE(isnan(cheaper.best->saved));
    cost.uncounted = 0;
    cost.hourly = NAN;
    ask(NULL, NULL, 1);
    TEST_TRUE(!cheaper.best && isnan(cheaper.row[0].hourly));
    TEST_HAS(cheaper.row[0].why, "what a worker costs is not known");
    cost.live = 0;
    ask(NULL, NULL, 1);
    TEST_EQ(cheaper.n, 0);
    TEST_HAS(cheaper.why, "no worker is live");
}

/* birch is twice as fast for m and as fast for n: 1.5 / 2 + 0.5 = 1.25, so 2 workers. */
static void test_candidates(void **state) {
    (void)state;
    static const char table[] = "amber 1 m i8 100\namber 1 n i8 50\n"
                                "birch 0.8 m i8 200\nbirch 0.8 n i8 50\n"
                                "birch 0.8 * f32 40\n"
                                "cedar 0.1 m i8 10\n";
    fleet();
    ask(table, "amber", 1);
    TEST_EQ(cheaper.n, 4);
    const struct candidate *c = row("amber", "as now");
    TEST_TRUE(c && c->present && !c->changes_answers);
    TEST_NEAR(c->hourly, 2, 1e-12);
    c = row("birch", "i8");
    TEST_TRUE(c && !c->changes_answers && c == cheaper.best && c == &cheaper.row[0]);
    TEST_NEAR(c->workers, 2, 0);
    TEST_NEAR(c->hourly, 1.6, 1e-12);
    TEST_NEAR(c->saved, 0.6, 1e-12);
    c = row("birch", "f32"); /* 1.5 x 100 / 40 + 0.5 x 50 / 40 = 4.375 */
    TEST_TRUE(c && c->changes_answers);
    TEST_NEAR(c->workers, 5, 0);
    TEST_NEAR(c->hourly, 4, 1e-12);
    TEST_NEAR(c->saved, 0, 1e-12);
    c = row("cedar", "i8"); /* cheap, and without a row for n: last */
    TEST_TRUE(c == &cheaper.row[3] && isnan(c->workers));
    TEST_HAS(c->why, "no i8 row of n for cedar");
    ask(table, NULL, 1);
    TEST_EQ(cheaper.n, 1); /* nobody said what there is to compare with */

    cost.models[1].engine = 0, cost.engine = 0.75; /* n is not asked for */
    ask(table, "amber", 1);
    TEST_NEAR(row("cedar", "i8")->workers, 20, 0);
    TEST_NEAR(row("cedar", "i8")->hourly, 2, 1e-12);
    TEST_NEAR(row("birch", "i8")->workers, 1, 0);
}

/* Where models are served in several precisions, an instance may have them as they are. */
static void test_as_now(void **state) {
    (void)state;
    static const char table[] = "amber 1 m i8 100\namber 1 n f32 50\namber 1 n i8 100\n"
                                "birch 1 m i8 200\nbirch 1 n f32 100\n";
    fleet();
    snprintf(cost.models[1].precision, sizeof cost.models[1].precision, "f32");
    ask(table, "amber", 1);
    const struct candidate *c = row("birch", "as now");
    TEST_TRUE(c && !c->present && !c->changes_answers);
    TEST_NEAR(c->workers, 1, 0);
    c = row("amber", "i8"); /* 1.5 + 0.5 / 2 */
    TEST_TRUE(c && c->changes_answers);
    TEST_NEAR(c->workers, 2, 0);
    TEST_HAS(row("birch", "i8")->why, "no i8 row of n for birch");
    TEST_HAS(row("amber", "f32")->why, "no f32 row of m for amber");
    snprintf(cost.models[1].precision, sizeof cost.models[1].precision, "%s", "");
    ask(table, "amber", 1);
    TEST_HAS(row("birch", "i8")->why, "no listed worker serves n");
}

static void test_unknown_price(void **state) {
    (void)state;
    fleet();
    ask("amber 0 * i8 10\nbirch 0 * i8 30\n", "amber", 1);
    TEST_EQ(cheaper.n, 2);
    TEST_TRUE(cheaper.best && cheaper.best->present);
    TEST_NEAR(cheaper.best->hourly, 2, 1e-12); /* the table does not say, the workers do */
    TEST_NEAR(row("birch", "i8")->workers, 1, 0);
    TEST_HAS(row("birch", "i8")->why, "what a worker costs is not known");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_size), cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_as_now), cmocka_unit_test(test_unknown_price)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
