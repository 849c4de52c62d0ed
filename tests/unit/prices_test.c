/* prices_test.c - price tables: what is read, and what is refused with which words. */
#include "prices.h"
#include "support/test.h"

static struct prices prices;

static void test_reads(void **state) {
    (void)state;
    static const char text[] = "# instance hourly model precision rate\n"
                               "\n"
                               "  amber-4\t0.17 minilm i8 412   # of a search\r\n"
                               "amber-4 0.17 * f32 95.5\n"
                               "birch-8 0 minilm bf16 1e3 #";
    TEST_EQ(prices_parse(view_of(text), "t", &prices, NULL), STATUS_OK);
    TEST_EQ(prices.n, 3);
    TEST_STR_EQ(prices.row[0].instance, "amber-4");
    TEST_STR_EQ(prices.row[0].model, "minilm");
    TEST_STR_EQ(prices.row[0].precision, "i8");
    TEST_NEAR(prices.row[0].hourly, 0.17, 0);
    TEST_NEAR(prices.row[0].rate, 412, 0);
    TEST_EQ(prices.row[0].line, 3);
    TEST_NEAR(prices.row[2].rate, 1000, 0);
    TEST_EQ(prices.row[2].line, 5);
    TEST_TRUE(prices_find(&prices, "amber-4", "minilm", "i8") == &prices.row[0]);
    TEST_TRUE(prices_find(&prices, "amber-4", "minilm", "f32") == &prices.row[1]);
    TEST_TRUE(!prices_find(&prices, "amber-4", "other", "i8"));
    TEST_TRUE(!prices_find(&prices, "birch-8", "minilm", "f32"));
    TEST_TRUE(prices_instance(&prices, "birch-8") == &prices.row[2]);
    TEST_TRUE(!prices_instance(&prices, "amber"));
    TEST_TRUE(!prices_only(&prices));
    char list[64], few[8];
    TEST_STR_EQ(prices_list(&prices, list, sizeof list), "amber-4, birch-8");
    TEST_STR_EQ(prices_list(&prices, few, sizeof few), "amber-4");
    TEST_EQ(prices_parse(view_of("a 1 * f32 2\na 1 m f32 4\n"), "t", &prices, NULL), STATUS_OK);
    TEST_STR_EQ(prices_only(&prices), "a");
    TEST_TRUE(prices_find(&prices, "a", "m", "f32") == &prices.row[1]); /* before * */
}

#define NAME_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_refuses(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *want; /* NULL: fine */
    } rows[] = {
        {"nothing", "", "t: no row"},
        {"comments alone", "# a 1 m f32 2\n\n", "t: no row"},
        {"a word too few", "a 1 m f32\n", "t, line 1: 4 words instead of `instance hourly"},
        {"a word too many", "a 1 m f32 2 3", "t, line 1: 6 words"},
        {"the comment is no word", "a 1 m f32 # 2", "4 words"},
        {"cost in words", "# x\na cheap m f32 2", "t, line 2: 'cheap' is no hourly cost"},
        {"a negative cost", "a -1 m f32 2", "'-1' is no hourly cost"},
        {"a cost without end", "a inf m f32 2", "'inf' is no hourly cost"},
        {"a cost that is none", "a nan m f32 2", "'nan' is no hourly cost"},
        {"hexadecimal", "a 0x10 m f32 2", "'0x10' is no hourly cost"},
        {"a comma", "a 0,17 m f32 2", "'0,17' is no hourly cost"},
        {"a currency", "a $1 m f32 2", "'$1' is no hourly cost"},
        {"too dear", "a 1000001 m f32 2", "is no hourly cost"},
        {"the dearest", "a 1000000 m f32 2", NULL},
        {"half a number", "a 1e m f32 2", "'1e' is no hourly cost"},
        {"two points", "a 1.2.3 m f32 2", "is no hourly cost"},
        {"digits without end", "a 1 m f32 1111111111111111111111111111111111111111111",
         "is no rate"},
        {"no rate", "a 1 m f32 0", "'0' is no rate"},
        {"the least rate", "a 1 m f32 0.000001", NULL},
        {"too fast", "a 1 m f32 1e10", "is no rate"},
        {"overflow", "a 1 m f32 1e999", "is no rate"},
        {"another precision", "a 1 m int8 2", "'int8' is no precision (f32, bf16, i8)"},
        {"half a precision", "a 1 m f 2", "'f' is no precision"},
        {"long name", NAME_64 " 1 m f32 2", NULL},
        {"too long a name", NAME_64 "a 1 m f32 2",
         "t, line 1: the instance has more than 64 bytes"},
        {"too long a model", "a 1 " NAME_64 "b f32 2", "the model has more than 64 bytes"},
        {"a name beyond ASCII", "\xe6\xa8\xa1 1 m f32 2", "the instance has a character beyond"},
        {"an escape sequence", "a 1 \x1b[2Jm f32 2", "the model has a character beyond"},
        {"the same row", "a 1 m f32 2\n\na 1 m f32 3",
         "t, line 3: 'a' with model 'm' in f32 stands in line 1 already"},
        {"two costs", "a 1 m f32 2\na 2 n f32 2", "t, line 2: 'a' costs 2 here and 1 in line 1"},
        {"two instances", "a 1 m f32 2\nb 2 m f32 2", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct err err = {.text = ""};
        enum status st = prices_parse(view_of(rows[i].text), "t", &prices, &err);
        TEST_EQ(st, rows[i].want ? STATUS_INVALID_ARGUMENT : STATUS_OK);
        TEST_HAS(err.text, rows[i].want ? rows[i].want : "");
    }
    struct err err;
    TEST_ROW("a NUL");
    TEST_EQ(prices_parse(view_make("a 1 m\0x f32 2", 13), "t", &prices, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "the model has a character beyond");
}

static void test_limits(void **state) {
    (void)state;
    static char text[LIMIT_PRICES_BYTES + 2];
    struct err err;
    size_t n = 0;
    for (int i = 0; i < LIMIT_PRICES_ROWS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "i%d 1 m f32 2\n", i);
    TEST_EQ(prices_parse(view_make(text, n), "t", &prices, &err), STATUS_OK);
    TEST_EQ(prices.n, LIMIT_PRICES_ROWS);
    n += (size_t)snprintf(text + n, sizeof text - n, "more 1 m f32 2\n");
    TEST_EQ(prices_parse(view_make(text, n), "t", &prices, &err), STATUS_RESOURCE_EXHAUSTED);
    TEST_HAS(err.text, "t, line 257: more than 256 rows");
    memset(text, '#', sizeof text);
    TEST_EQ(prices_parse(view_make(text, LIMIT_PRICES_BYTES), "t", &prices, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_EQ(prices_parse(view_make(text, LIMIT_PRICES_BYTES + 1), "t", &prices, &err),
            STATUS_RESOURCE_EXHAUSTED);
    TEST_HAS(err.text, "t: more than 65536 bytes");
}

/* The sample that operators begin with. */
static void test_sample(void **state) {
    (void)state;
    static char text[LIMIT_PRICES_BYTES];
    FILE *f = fopen(EMBER_SOURCE_DIR "/deploy/prices.txt", "re");
    TEST_TRUE(f != NULL);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    struct err err = {.text = ""};
    prices_parse(view_make(text, n), "prices.txt", &prices, &err);
    TEST_STR_EQ(err.text, "");
    TEST_TRUE(prices_find(&prices, "amber-4", "minilm", "f32") != NULL);
    TEST_TRUE(prices_find(&prices, "cedar-2", "minilm", "i8") != NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reads), cmocka_unit_test(test_refuses),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_sample)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
