/* zero_shot_test.c - what ember_zero_shot.json may say, and how it is refused: by key and value. */
#include "model/zero_shot.h"

#include "support/test.h"

static void test_settings(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        struct zero_shot want;
    } rows[] = {
        {"nothing", "{}", {.temperature = 0}},
        {"null is absent",
         "{\"template\":null,\"template_han\":null,\"temperature\":null,\"multi_label\":null}",
         {.temperature = 0}},
        {"all of it",
         "{\"template\": \"This text is about {}.\", \"template_han\": \"这段话的内容是{}。\", "
         "\"temperature\": 0.05, \"multi_label\": {\"midpoint\": 0.3, \"temperature\": 0.08}}",
         {"This text is about {}.", "这段话的内容是{}。", 0.05f, true, 0.3f, 0.08f}},
        {"least",
         "{\"template\":\"{}\",\"temperature\":0.001}",
         {.template_text = "{}", .temperature = 0.001f}},
        {"most",
         "{\"temperature\":10,\"multi_label\":{\"temperature\":10,\"midpoint\":-1}}",
         {.temperature = 10, .multi = true, .midpoint = -1, .multi_temperature = 10}},
        {"braces that are no slot",
         "{\"template\":\"{ {} } {x}\"}",
         {.template_text = "{ {} } {x}"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct zero_shot got;
        struct err err;
        if (zero_shot_parse(view_of(rows[i].text), "file", &got, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        TEST_STR_EQ(got.template_text, rows[i].want.template_text);
        TEST_STR_EQ(got.template_han, rows[i].want.template_han);
        TEST_NEAR(got.temperature, rows[i].want.temperature, 0);
        TEST_EQ(got.multi, rows[i].want.multi);
        TEST_NEAR(got.midpoint, rows[i].want.midpoint, 0);
        TEST_NEAR(got.multi_temperature, rows[i].want.multi_temperature, 0);
    }
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *want;
    } rows[] = {
        {"not JSON", "{\"template\":", "file: not JSON"},
        {"a list", "[]", "file: no JSON object"},
        {"twice", "{\"temperature\":1,\"temperature\":1}", "temperature"},
        {"a misspelt key", "{\"temprature\":1}",
         "file: there is no 'temprature'; there are template, template_han, temperature, "
         "multi_label"},
        {"another case", "{\"Template\":\"{}\"}", "there is no 'Template'"},
        {"a key of the inner one", "{\"midpoint\":0}", "there is no 'midpoint'"},
        {"a misspelt inner key", "{\"multi_label\":{\"middle\":0}}",
         "there is no 'multi_label.middle'; there are midpoint, temperature"},
        {"template of no text", "{\"template\":1}", "file: template is no text"},
        {"no slot", "{\"template\":\"about it\"}",
         "file: template 'about it' must hold {} once, it has 0"},
        {"two slots", "{\"template_han\":\"{}{}\"}",
         "file: template_han '{}{}' must hold {} once, it has 2"},
        {"empty", "{\"template\":\"\"}", "must hold {} once"},
        {"bytes that are no UTF-8", "{\"template\":\"\xff{}\"}", "file: "},
        {"temperature in quotes", "{\"temperature\":\"0.05\"}", "file: temperature is no number"},
        {"too cold", "{\"temperature\":0.0009}", "file: temperature is 0.0009, want 0.001 to 10"},
        {"zero", "{\"temperature\":0}", "temperature is 0, want 0.001 to 10"},
        {"too hot", "{\"temperature\":10.5}", "temperature is 10.5, want 0.001 to 10"},
        {"infinite", "{\"temperature\":1e999}", "file: "},
        {"multi_label of no object", "{\"multi_label\":true}", "file: multi_label is no object"},
        {"half a curve", "{\"multi_label\":{\"midpoint\":0}}",
         "file: multi_label.temperature is missing"},
        {"the other half", "{\"multi_label\":{\"temperature\":1,\"midpoint\":null}}",
         "file: multi_label.midpoint is missing"},
        {"a midpoint that is no cosine", "{\"multi_label\":{\"midpoint\":1.5,\"temperature\":1}}",
         "file: multi_label.midpoint is 1.5, want -1 to 1"},
        {"a curve upside down", "{\"multi_label\":{\"midpoint\":0,\"temperature\":-1}}",
         "file: multi_label.temperature is -1, want 0.001 to 10"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct zero_shot got;
        struct err err;
        TEST_EQ(zero_shot_parse(view_of(rows[i].text), "file", &got, &err), STATUS_DATA_LOSS);
        TEST_HAS(err.text, rows[i].want);
    }
}

static void test_long(void **state) {
    (void)state;
    struct zero_shot got;
    struct err err;
    char text[LIMIT_ZERO_SHOT_BYTES + 2];
    for (int more = 0; more < 2; more++) {
        const int n = LIMIT_TEMPLATE_BYTES - 2 + more;
        TEST_ROW("template");
        snprintf(text, sizeof text, "{\"template\":\"{}%0*d\"}", n, 0);
        TEST_EQ(zero_shot_parse(view_of(text), "file", &got, &err),
                more ? STATUS_DATA_LOSS : STATUS_OK);
        if (more)
            TEST_HAS(err.text, "has 1025 bytes, at most 1024");
        else
            TEST_EQ(strlen(got.template_text), LIMIT_TEMPLATE_BYTES);
        TEST_ROW("file");
        snprintf(text, sizeof text, "%-*s", LIMIT_ZERO_SHOT_BYTES + more, "{}");
        TEST_EQ(zero_shot_parse(view_of(text), "file", &got, &err),
                more ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
