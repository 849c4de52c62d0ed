/* savings_test.c - what caches, precisions and routes save, by hand. */
#include "savings.h"
#include "support/test.h"

static struct cost cost;
static struct savings savings;
static struct prices prices;

static void reset(double hourly) {
    memset(&cost, 0, sizeof cost);
    cost.hourly = hourly;
}

/* A model with one service: requests and engine seconds per second. */
static void serve(const char *model, const char *precision, const char *task, double per_s,
                  double engine) {
    struct cost_model *m = (struct cost_model *)cost_model(&cost, model);
    if (!m) {
        m = &cost.models[cost.n_models++];
        snprintf(m->name, sizeof m->name, "%s", model);
        snprintf(m->precision, sizeof m->precision, "%s", precision);
    }
    struct cost_service *s = &cost.services[cost.n_services++];
    snprintf(s->model, sizeof s->model, "%s", model);
    snprintf(s->task, sizeof s->task, "%s", task);
    s->per_s = per_s, s->engine = engine, s->answered = (uint64_t)(10 * per_s);
    m->per_s += per_s, m->engine += engine, m->workers = 1;
    cost.per_s += per_s, cost.engine += engine, cost.answered += s->answered;
}

static void texts(uint64_t computed, uint64_t shared, uint64_t memory, uint64_t redis) {
    cost.texts[COST_COMPUTED] = computed, cost.texts[COST_SHARED] = shared;
    cost.texts[COST_MEMORY] = memory, cost.texts[COST_REDIS] = redis;
}

static void table(const char *text) {
    TEST_EQ(prices_parse(view_of(text), "t", &prices, NULL), STATUS_OK);
}

static void test_caches(void **state) {
    (void)state;
    reset(1);
    serve("m", "f32", "embed", 100, 0.5);
    texts(400, 100, 300, 200);
    savings_make(&cost, NULL, NULL, &savings);
    TEST_NEAR(savings.caches.saved, 0.6, 1e-12);
    TEST_NEAR(savings.caches.original, 2.5, 1e-12);
    TEST_NEAR(savings.caches.present, 1, 0);
    TEST_NEAR(savings.source[COST_MEMORY], 0.3, 1e-12);
    TEST_NEAR(savings.source[COST_REDIS], 0.2, 1e-12);
    TEST_NEAR(savings.source[COST_SHARED], 0.1, 1e-12);
    TEST_NEAR(savings.coalesced, 0, 0);
    TEST_NEAR(savings.precision.saved, 0, 0); /* all is f32 */
    TEST_NEAR(savings.all.saved, 0.6, 1e-12);

    cost.coalesced = 500; /* half of the 1000 requests had an equal one's answer */
    savings_make(&cost, NULL, NULL, &savings);
    TEST_NEAR(savings.caches.saved, 0.8, 1e-12);
    TEST_NEAR(savings.source[COST_MEMORY], 0.15, 1e-12);
    TEST_NEAR(savings.coalesced, 0.5, 1e-12);
    TEST_NEAR(savings.source[COST_MEMORY] + savings.source[COST_REDIS] +
                  savings.source[COST_SHARED] + savings.coalesced,
              savings.caches.saved, 1e-12);
}

static void test_all_hits_and_nothing(void **state) {
    (void)state;
    reset(1);
    serve("m", "i8", "embed", 100, 0);
    texts(0, 0, 10, 0);
    table("a 1 m i8 30\na 1 m f32 10\n");
    savings_make(&cost, &prices, "a", &savings);
    TEST_NEAR(savings.caches.saved, 1, 0);
    TEST_TRUE(isnan(savings.caches.original));
    TEST_HAS(savings.caches.why, "nothing was computed");
    TEST_TRUE(isnan(savings.precision.saved));
    TEST_HAS(savings.precision.why, "nothing was computed");
    TEST_TRUE(isnan(savings.models[0].saving.saved));
    TEST_NEAR(savings.models[0].ratio, 3, 0);
    TEST_NEAR(savings.all.saved, 1, 0);
    TEST_TRUE(isnan(savings.all.original));

    reset(1);
    savings_make(&cost, &prices, "a", &savings);
    TEST_TRUE(isnan(savings.caches.saved) && isnan(savings.precision.saved));
    TEST_TRUE(isnan(savings.routes.saved) && isnan(savings.all.saved));
    TEST_HAS(savings.caches.why, "nothing was asked");
    TEST_HAS(savings.all.why, "nothing of it is known");

    serve("m", "f32", "embed", 100, 0.5); /* answered, and no worker has told of it yet */
    savings_make(&cost, NULL, NULL, &savings);
    TEST_HAS(savings.caches.why, "no worker told");
}

/* m takes 0.4 s a second in i8, at three times its pace in f32: 1.2 without; n 0.6 in f32. */
static void test_precision(void **state) {
    (void)state;
    reset(2);
    serve("m", "i8", "embed", 100, 0.4);
    serve("n", "f32", "embed", 10, 0.6);
    table("a 1 m i8 30\na 1 m f32 10\n");
    savings_make(&cost, &prices, "a", &savings);
    TEST_EQ(savings.n_models, 1);
    TEST_STR_EQ(savings.models[0].model->name, "m");
    TEST_NEAR(savings.models[0].saving.saved, 2.0 / 3, 1e-12);
    TEST_NEAR(savings.models[0].saving.present, 0.8, 1e-12);
    TEST_NEAR(savings.models[0].saving.original, 2.4, 1e-12);
    TEST_NEAR(savings.precision.saved, 1 - 1 / 1.8, 1e-12);
    TEST_NEAR(savings.precision.original, 3.6, 1e-12);
}

static void test_precision_unknown(void **state) {
    (void)state;
    static const struct {
        const char *name, *table, *instance, *want;
        bool mixed;
    } rows[] = {
        {"no table", NULL, NULL, "no price table: give --prices", false},
        {"which instance", "a 1 m i8 3\nb 1 m i8 3", NULL, "--instance", false},
        {"no f32", "a 1 m i8 3\na 1 n f32 3", "a", "no f32 row of m for a in the price table",
         false},
        {"f32 elsewhere", "a 1 m i8 3\nb 1 m f32 3", "a", "no f32 row of m for a", false},
        {"no i8", "a 1 m f32 3", "a", "no i8 row of m for a", false},
        {"both", "a 1 m f32 3\na 1 m i8 9", "a", "served in several precisions", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        reset(1);
        serve("m", "i8", "embed", 10, 0.5);
        cost.models[0].mixed = rows[i].mixed;
        if (rows[i].table)
            table(rows[i].table);
        savings_make(&cost, rows[i].table ? &prices : NULL, rows[i].instance, &savings);
        TEST_TRUE(isnan(savings.precision.saved));
        TEST_HAS(savings.precision.why, rows[i].want);
        TEST_HAS(savings.models[0].saving.why, rows[i].want);
    }
}

/* One in ten goes to big, 20 ms a request, the others to small, 5 ms: 0.65 instead of 2. */
static void test_routes(void **state) {
    (void)state;
    reset(1);
    serve("small", "f32", "embed", 90, 0.45);
    serve("big", "f32", "embed", 10, 0.2);
    serve("big", "f32", "tokenize", 1000, 0.01); /* is no work of a model */
    serve("alone", "f32", "embed", 1, 0.34);
    snprintf(cost.routes[0], COST_ROUTE_BYTES, "r=small:90,big:10,absent:0");
    cost.n_routes = 1;
    savings_make(&cost, NULL, NULL, &savings);
    TEST_EQ(savings.n_routes, 1);
    const struct saving_route *r = &savings.route[0];
    TEST_STR_EQ(r->alias, "r");
    TEST_STR_EQ(r->task, "embed");
    TEST_EQ(r->n, 3);
    TEST_EQ(r->target[1].weight, 10);
    TEST_EQ(r->target[0].answered, 900);
    TEST_NEAR(r->target[0].unit_ms, 5, 1e-9);
    TEST_NEAR(r->target[1].unit_ms, 20, 1e-9);
    TEST_TRUE(isnan(r->target[2].unit_ms));
    TEST_NEAR(r->target[1].per_1000, 20.0 / 3600, 1e-9); /* an engine second costs 1/3600 */
    TEST_NEAR(r->saving.saved, 1 - 0.65 / 2, 1e-9);
    TEST_NEAR(r->saving.present, 0.65, 1e-9);
    TEST_NEAR(r->saving.original, 2, 1e-9);
    TEST_NEAR(savings.routes.saved, 1 - 1 / 2.35, 1e-9);

    snprintf(cost.routes[1], COST_ROUTE_BYTES,
             "twice=small:1,big:1"); /* counts once all the same */
    cost.n_routes = 2;
    savings_make(&cost, NULL, NULL, &savings);
    TEST_EQ(savings.n_routes, 2);
    TEST_NEAR(savings.routes.saved, 1 - 1 / 2.35, 1e-9);
}

static void test_routes_unknown(void **state) {
    (void)state;
    reset(1);
    serve("small", "f32", "embed", 90, 0.45);
    savings_make(&cost, NULL, NULL, &savings);
    TEST_HAS(savings.routes.why, "no broker has a route");
    cost.n_routes = 1;
    snprintf(cost.routes[0], COST_ROUTE_BYTES, "r=other:1,more:1");
    savings_make(&cost, NULL, NULL, &savings);
    TEST_HAS(savings.routes.why, "no model of a route answered");
    snprintf(cost.routes[0], COST_ROUTE_BYTES, "r=other:1,small:1");
    savings_make(&cost, NULL, NULL, &savings);
    TEST_HAS(savings.routes.why, "only one of its models answered");
    TEST_TRUE(isnan(savings.all.saved) == 0); /* precision is known: all f32 */
}

/* Half by caches, two thirds by precision: a sixth is left. */
static void test_together(void **state) {
    (void)state;
    reset(1);
    serve("m", "i8", "embed", 100, 0.5);
    texts(1, 0, 1, 0);
    table("a 1 * i8 30\na 1 * f32 10\n");
    savings_make(&cost, &prices, "a", &savings);
    TEST_NEAR(savings.all.saved, 5.0 / 6, 1e-12);
    TEST_NEAR(savings.all.original, 6, 1e-9);
    cost.hourly = NAN; /* shares are known without a cost */
    savings_make(&cost, &prices, "a", &savings);
    TEST_NEAR(savings.all.saved, 5.0 / 6, 1e-12);
    TEST_TRUE(isnan(savings.all.original) && isnan(savings.all.present));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caches),    cmocka_unit_test(test_all_hits_and_nothing),
        cmocka_unit_test(test_precision), cmocka_unit_test(test_precision_unknown),
        cmocka_unit_test(test_routes),    cmocka_unit_test(test_routes_unknown),
        cmocka_unit_test(test_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
