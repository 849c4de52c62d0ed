/* chart_test.c - round numbers, escapes, and drawings that stay within their box. */
#include "chart.h"
#include "support/test.h"

static char text[65536];

static FILE *begin(void) {
    memset(text, 0, sizeof text);
    return fmemopen(text, sizeof text - 1, "w");
}

static void test_step(void **state) {
    (void)state;
    static const struct {
        double max, want;
    } rows[] = {{0, 1},   {-1, 1}, {NAN, 1}, {INFINITY, 1}, {1, 0.2},  {4, 1},       {5, 1},
                {5.1, 2}, {10, 2}, {11, 5},  {26, 10},      {150, 50}, {0.03, 0.01}, {1e6, 2e5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[32];
        snprintf(name, sizeof name, "%g", rows[i].max);
        TEST_ROW(name);
        TEST_NEAR(chart_step(rows[i].max), rows[i].want, 1e-9 * rows[i].want);
    }
}

static void test_text(void **state) {
    (void)state;
    static const struct {
        const char *in, *want;
    } rows[] = {{"投诉 p95", "投诉 p95"},
                {"<b a=\"1\">&'", "&lt;b a=&quot;1&quot;&gt;&amp;&#39;"},
                {"a\n\x01\x7f", "a   "},
                {"\xff", "\xef\xbf\xbd"},
                {"", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].in);
        FILE *f = begin();
        chart_text(f, rows[i].in);
        fclose(f);
        TEST_STR_EQ(text, rows[i].want);
    }
}

static uint32_t count(const char *part) {
    uint32_t n = 0;
    for (const char *p = text; (p = strstr(p, part)); p++)
        n++;
    return n;
}

/* Every point of every line. */
static void within_box(void) {
    for (const char *p = text; (p = strstr(p, "points=\"")); p++) {
        const char *at = p + 8;
        while (*at != '"') {
            char *end;
            double x = strtod(at, &end), y = strtod(end + 1, &end);
            TEST_TRUE(x >= 0 && x <= CHART_WIDTH && y >= 0 && y <= CHART_HEIGHT);
            at = end + (*end == ' ');
        }
    }
}

static void test_chart(void **state) {
    (void)state;
    static const double x[] = {0, 1, 2, 3}, whole[] = {1, 2, 30, 4}, gap[] = {1, NAN, 3, 4},
                        none[] = {NAN, NAN, NAN, NAN};
    static const struct {
        const char *name;
        const double *y;
        uint32_t n, lines, dots;
        double limit;
    } rows[] = {{"a line", whole, 4, 1, 4, 0},       {"with a gap", gap, 4, 2, 3, 0},
                {"nothing known", none, 4, 0, 0, 0}, {"no points", whole, 0, 0, 0, 0},
                {"one point", whole, 1, 1, 1, 0},    {"a limit above all", whole, 4, 1, 4, 900}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        FILE *f = begin();
        chart_put(f, &(struct chart){.title = "a < b",
                                     .x_name = "x",
                                     .y_name = "y",
                                     .x = x,
                                     .n = rows[i].n,
                                     .lines = {{"p95", rows[i].y}},
                                     .n_lines = 1,
                                     .limit = rows[i].limit});
        fclose(f);
        TEST_EQ(count("<polyline"), rows[i].lines);
        TEST_EQ(count("<circle"), rows[i].dots);
        TEST_EQ(count("class=\"limit\""), rows[i].limit > 0);
        TEST_EQ(count("nan") + count("inf"), 0);
        TEST_EQ(count("a &lt; b"), 2);
        within_box();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_step), cmocka_unit_test(test_text),
                                       cmocka_unit_test(test_chart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
