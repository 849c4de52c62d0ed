/* routes_test.c - reading routes, and who is led where: shares, and who moves when they change. */
#include "support/test.h"

#include "base/hash.h"
#include "routes.h"

static enum status parse(struct routes *routes, const char *const *texts, struct err *err) {
    *routes = (struct routes){.n = 0};
    *err = (struct err){.status = STATUS_OK};
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && texts[i]; i++)
        status = routes_add(routes, texts[i], err);
    return status == STATUS_OK ? routes_check(routes, err) : status;
}

static void test_reading(void **state) {
    (void)state;
    char long_name[LIMIT_NAME_BYTES + 8];
    memset(long_name, 'x', sizeof long_name);
    memcpy(long_name + sizeof long_name - 3, "=a", 3);
    const struct {
        const char *name, *texts[4], *error; /* NULL: fine */
        uint32_t routes, targets, weight;    /* targets and the last one's weight of the last */
    } rows[] = {
        {"plain", {"a=m:90,n:10"}, NULL, 1, 2, 10},
        {"blanks", {"  a =\tm : 90 , n : 10  "}, NULL, 1, 2, 10},
        {"no weight is 1", {"a=m"}, NULL, 1, 1, 1},
        {"plus for comma", {"a=m:90+n:10", "b=k:7 + m : 3,n"}, NULL, 2, 3, 1},
        {"no route behind one", {"a=m:90", "n:10"}, "no route", 0, 0, 0},
        {"its own model", {"m=m:90,n:10"}, NULL, 1, 2, 10},
        {"a stand-in", {"m=m:1,n:0"}, NULL, 1, 2, 0},
        {"heaviest", {"a=m:1000000"}, NULL, 1, 1, 1000000},
        {"no route", {"m:90"}, "no route", 0, 0, 0},
        {"no alias", {"=m:90"}, "no name of an alias", 0, 0, 0},
        {"no model", {"a="}, "no name of a model", 0, 0, 0},
        {"nothing behind the comma", {"a=m,"}, "no name of a model", 0, 0, 0},
        {"bad name", {"a b=m"}, "no name of an alias", 0, 0, 0},
        {"name beyond ASCII", {"a=模型:1"}, "no name of a model", 0, 0, 0},
        {"long name", {long_name}, "no name of an alias", 0, 0, 0},
        {"no number", {"a=m:x"}, "no weight", 0, 0, 0},
        {"no weight behind the colon", {"a=m:"}, "no weight", 0, 0, 0},
        {"negative", {"a=m:-1"}, "no weight", 0, 0, 0},
        {"too heavy", {"a=m:1000001"}, "no weight", 0, 0, 0},
        {"far too heavy", {"a=m:99999999999999999999"}, "no weight", 0, 0, 0},
        {"nobody", {"a=m:0,n:0"}, "are 0", 0, 0, 0},
        {"a model twice", {"a=m:1,m:2"}, "names 'm' twice", 0, 0, 0},
        {"an alias twice", {"a=m", "a=n"}, "two routes 'a'", 0, 0, 0},
        {"too many models", {"a=b,c,d,e,f,g,h,i,j"}, "more than 8", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct routes routes;
        struct err err;
        enum status status = parse(&routes, rows[i].texts, &err);
        if (rows[i].error) {
            TEST_EQ(status, STATUS_INVALID_ARGUMENT);
            TEST_HAS(err.text, rows[i].error);
            continue;
        }
        TEST_EQ(status, STATUS_OK);
        TEST_EQ(routes.n, rows[i].routes);
        const struct route *last = &routes.route[routes.n - 1];
        TEST_EQ(last->n, rows[i].targets);
        TEST_EQ(last->target[last->n - 1].weight, rows[i].weight);
        TEST_TRUE(routes_find(&routes, view_of(last->alias)) == last);
        char text[ROUTE_TEXT_BYTES];
        struct routes again;
        route_text(last, text);
        TEST_EQ(parse(&again, (const char *const[]){text, NULL}, &err), STATUS_OK);
        TEST_MEM_EQ(&again.route[0], last, sizeof *last);
    }
}

static void test_too_many(void **state) {
    (void)state;
    struct routes routes = {.n = 0};
    struct err err;
    char text[32];
    for (int i = 0; i < ROUTES_MAX; i++) {
        snprintf(text, sizeof text, "alias%d=m", i);
        TEST_EQ(routes_add(&routes, text, &err), STATUS_OK);
    }
    TEST_EQ(routes_add(&routes, "another=m", &err), STATUS_INVALID_ARGUMENT);
    TEST_TRUE(!routes_find(&routes, view_of("another")));
}

static struct route one(const char *text) {
    struct routes routes = {.n = 0};
    TEST_EQ(routes_add(&routes, text, NULL), STATUS_OK);
    return routes.route[0];
}

static const char *first_choice(const struct route *route, uint64_t who) {
    uint8_t order[ROUTES_TARGETS];
    route_order(route, who, order);
    bool seen[ROUTES_TARGETS] = {false};
    for (uint32_t i = 0; i < route->n; i++) { /* a permutation, whatever the weights */
        TEST_TRUE(order[i] < route->n && !seen[order[i]]);
        seen[order[i]] = true;
    }
    return route->target[order[0]].model;
}

enum { CLIENTS = 20000 };

static void test_shares(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double share[3]; /* of m, n, k */
    } rows[] = {
        {"a=m:90,n:10", {0.9, 0.1, 0}},           {"a=n:10,m:90", {0.9, 0.1, 0}},
        {"a=m,n,k", {1.0 / 3, 1.0 / 3, 1.0 / 3}}, {"a=m:1,n:0", {1, 0, 0}},
        {"a=m:1000000,n:1", {1, 0, 0}},           {"a=m:5,n:3,k:2", {0.5, 0.3, 0.2}},
    };
    static const char *const models[] = {"m", "n", "k"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].text);
        struct route route = one(rows[i].text);
        double n[3] = {0};
        for (uint64_t who = 1; who <= CLIENTS; who++)
            for (int k = 0; k < 3; k++)
                n[k] += strcmp(first_choice(&route, hash_mix(who)), models[k]) == 0;
        for (int k = 0; k < 3; k++)
            TEST_NEAR(n[k] / CLIENTS, rows[i].share[k], 0.015); /* four deviations */
    }
}

/* When shares change, only as many clients move as must; and a client's choice does not depend on
 * the order in which the models are written. */
static void test_who_moves(void **state) {
    (void)state;
    struct route before = one("a=m:90,n:10"), after = one("a=m:80,n:20"),
                 more = one("a=n:10,k:50,m:90"), other = one("b=m:90,n:10");
    double moved = 0, taken = 0, astray = 0, differ = 0;
    for (uint64_t i = 1; i <= CLIENTS; i++) {
        uint64_t who = hash_mix(i);
        const char *was = first_choice(&before, who), *is = first_choice(&after, who);
        moved += strcmp(was, is) != 0;
        astray += strcmp(was, "n") == 0 && strcmp(is, "n") != 0; /* n only grew */
        const char *third = first_choice(&more, who);
        taken += strcmp(third, "k") == 0;
        astray += strcmp(third, "k") != 0 && strcmp(third, was) != 0;
        differ += strcmp(was, first_choice(&other, who)) != 0;
    }
    TEST_EQ(astray, 0);
    TEST_NEAR(moved / CLIENTS, 0.1, 0.015);
    TEST_NEAR(taken / CLIENTS, 50.0 / 150, 0.015);
    TEST_NEAR(differ / CLIENTS, 2 * 0.9 * 0.1, 0.015); /* another alias, another draw */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_who_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
