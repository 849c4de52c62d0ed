/* worker_test.c - settings and models: what a person may type, and the one line they get back. */
#include "models.h"
#include "settings.h"
#include "support/test.h"
#include "worker.h"

#include "engine/engine_fake.h"

static void test_split(void **state) {
    (void)state;
    char long_name[LIMIT_NAME_BYTES + 8];
    memset(long_name, 'n', sizeof long_name);
    memcpy(long_name + LIMIT_NAME_BYTES + 1, "=/d", 4);
    const struct {
        const char *value, *name, *dir; /* name NULL: refused */
    } rows[] = {
        {"minilm=/models/x", "minilm", "/models/x"},
        {"/models/all-MiniLM-L6-v2", "all-MiniLM-L6-v2", "/models/all-MiniLM-L6-v2"},
        {"/models/a.b_c///", "a.b_c", "/models/a.b_c///"},
        {"model", "model", "model"},
        {"/odd=place/m", "m", "/odd=place/m"},
        {"m=fake:dim=8,us=2", "m", "fake:dim=8,us=2"},
        {"m=", NULL, NULL},
        {"", NULL, NULL},
        {"/", NULL, NULL},
        {"bad name=/x y", NULL, NULL},
        {"=/x!", NULL, NULL},
        {long_name, "d", long_name}, /* no name: the '=' is part of the path */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].value);
        char name[LIMIT_NAME_BYTES + 1];
        const char *dir;
        struct err err;
        enum status st = models_split(rows[i].value, name, &dir, &err);
        TEST_EQ(st, rows[i].name ? STATUS_OK : STATUS_INVALID_ARGUMENT);
        if (!rows[i].name) {
            TEST_HAS(err.text, "NAME=DIR");
            continue;
        }
        TEST_STR_EQ(name, rows[i].name);
        TEST_STR_EQ(dir, rows[i].dir);
    }
}

static enum status open_fake(const char *dir, const struct engine_options *options, engine_t **out,
                             struct err *err) {
    (void)options;
    return engine_fake_open(dir, out, err);
}

static void test_open(void **state) {
    (void)state;
    const struct {
        const char *name, *models[3], *part;
        enum status status;
    } rows[] = {
        {"two", {"a=dim=8", "b=dim=32"}, NULL, STATUS_OK},
        {"one name twice", {"a=dim=8", "a=dim=32"}, "'a' is there twice", STATUS_INVALID_ARGUMENT},
        {"none", {NULL}, "none given", STATUS_INVALID_ARGUMENT},
        {"the second is broken", {"a=dim=8", "b=dim=x"}, "model 'b'", STATUS_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct cfg_list list = {0};
        for (uint32_t m = 0; rows[i].models[m]; m++)
            snprintf(list.item[list.n++], CFG_TEXT_MAX, "%s", rows[i].models[m]);
        struct models models;
        struct engine_options options = {0};
        struct err err;
        TEST_EQ(models_open(&list, &options, open_fake, &models, &err), rows[i].status);
        if (rows[i].part)
            TEST_HAS(err.text, rows[i].part);
        TEST_EQ(models.n, rows[i].part ? 0 : 2);
        if (!rows[i].part)
            TEST_EQ(models.dim_max, 32);
        models_done(&models);
    }
}

static enum status load(const char *const *words, struct settings *settings, struct err *err) {
    char *argv[16] = {(char *)(uintptr_t) "ember-worker"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    enum cfg_action action;
    return settings_load(argc, argv, settings, &action, err);
}

static void test_settings(void **state) {
    (void)state;
    static struct settings settings;
    struct err err;
    TEST_EQ(load((const char *const[]){"--model", "m=/m", "--threads", "3", NULL}, &settings, &err),
            STATUS_OK);
    TEST_EQ(settings.threads, 3);
    TEST_EQ(settings.credit, 192);
    TEST_TRUE(models_name_ok(settings.name, strlen(settings.name)));
    TEST_STR_EQ(settings.brokers.item[0], "tcp://127.0.0.1:5556");
    TEST_STR_EQ(settings_tier(&settings), "standard");
    const struct {
        const char *name, *words[6], *part;
    } rows[] = {
        {"no model", {NULL}, "model: none given"},
        {"a bad name", {"--model=m=/m", "--name=a b"}, "name: 'a b'"},
        {"too little memory", {"--model=m=/m", "--cache-memory=100K"}, "cache-memory"},
        {"no such tier", {"--model=m=/m", "--tier=slow"}, "tier"},
        {"a model without a name", {"--model=/"}, "NAME=DIR"},
        {"a word", {"--model=m=/m", "word"}, "word"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(load(rows[i].words, &settings, &err), STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, rows[i].part);
        TEST_TRUE(strchr(err.text, '\n') == NULL);
    }
}

/* What cannot start says why and does not start. */
static void test_exit_status(void **state) {
    (void)state;
    const struct {
        const char *name, *words[8];
        int status;
    } rows[] = {
        {"wrong settings", {"--tier=slow"}, 2},
        {"a broken model", {"--model=m=dim=x", "--http=off"}, 1},
        {"a broker that is no address",
         {"--model=m=dim=8", "--http=off", "--redis=off", "--broker=nowhere", "--log-level=error"},
         2},
        {"a Redis that is no address",
         {"--model=m=dim=8", "--http=off", "--redis=nowhere", "--log-level=error"},
         2},
        {"help", {"--help"}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char *argv[16] = {(char *)(uintptr_t) "ember-worker"};
        int argc = 1;
        for (; rows[i].words[argc - 1]; argc++)
            argv[argc] = (char *)(uintptr_t)rows[i].words[argc - 1];
        TEST_EQ(worker_main(argc, argv, open_fake), rows[i].status);
    }
}

/* What a model may be asked, and the names of its own labels. */
static void test_tasks_and_labels(void **state) {
    (void)state;
    static const struct {
        const char *spec, *tasks;
        enum wire_head head;
        uint32_t own;
    } rows[] = {
        {"dim=8", "embed, classify, tokenize", WIRE_HEAD_NONE, 0},
        {"head=labels,labels=1024", "classify, tokenize", WIRE_HEAD_LABELS, 1024},
        {"head=nli", "classify, tokenize", WIRE_HEAD_NLI, 0},
        {"head=score", "rerank, tokenize", WIRE_HEAD_SCORE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].spec);
        struct models models = {.n = 1};
        struct model *model = &models.model[0];
        char tasks[64];
        snprintf(model->name, sizeof model->name, "m");
        TEST_EQ(engine_fake_open(rows[i].spec, &model->engine, NULL), STATUS_OK);
        TEST_EQ(models_fill(model, NULL), STATUS_OK);
        models_list_tasks(model->tasks, tasks, sizeof tasks);
        TEST_STR_EQ(tasks, rows[i].tasks);
        TEST_EQ(models_head(model->info), rows[i].head);
        TEST_EQ(model->names != NULL, rows[i].own > 0);
        TEST_EQ(model->labels.n, rows[i].own);
        if (rows[i].own) {
            TEST_TRUE(model->labels.own_head);
            TEST_TRUE(view_equal(model->names[1023], view_of("label 1023")));
        }
        models_done(&models);
    }
    char nothing[64];
    models_list_tasks(0, nothing, sizeof nothing);
    TEST_STR_EQ(nothing, "do nothing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_and_labels),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
