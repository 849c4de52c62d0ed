#include "support/test.h"

#include "base/cfg.h"

#include <unistd.h>

struct settings {
    char listen[32];
    struct cfg_list models;
    uint32_t threads;
    double cost;
    uint64_t ttl, memory;
    bool quiet;
    uint32_t precision;
};

static const struct cfg_row rows[] = {
    CFG_HEADING("Network"),
    CFG_TEXT("listen", struct settings, listen, "tcp://*:1", "ENDPOINT", "where"),
    CFG_LIST("model", struct settings, models, NULL, "NAME=DIR", "a model"),
    CFG_U32("threads", struct settings, threads, "2", 0, 256, "N", "runner threads"),
    CFG_F64("cost", struct settings, cost, "0.5", 0, 100, "C", "per hour"),
    CFG_DURATION("cache-ttl", struct settings, ttl, "1h", 1e6, 86400e6, "how long"),
    CFG_SIZE("cache-memory", struct settings, memory, "64M", 0, 1e12, "how much"),
    CFG_BOOL("quiet", struct settings, quiet, "say less"),
    CFG_CHOICE("precision", struct settings, precision, "f32", "f32|bf16|int8", "of products"),
};

static const struct cfg cfg = {"prog", "[OPTION]...", "does things",
                               NULL,   rows,          sizeof rows / sizeof *rows};

static struct settings s;
static struct err err;
static enum cfg_action action;
static int words;
static char *word[8];

/* Loads a command line given as one string with blanks. */
static enum status load(const char *line) {
    static char copy[512];
    static char *argv[16];
    snprintf(copy, sizeof copy, "prog %s", line);
    int argc = 0;
    char *save = NULL;
    for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
        argv[argc++] = p;
    err.text[0] = '\0';
    enum status st = cfg_load(&cfg, argc, argv, &words, &s, &action, &err);
    for (int i = 0; i < words && i < 8 && st == STATUS_OK; i++)
        word[i] = argv[i + 1];
    return st;
}

static void test_defaults_and_flags(void **state) {
    (void)state;
    TEST_EQ(load(""), STATUS_OK);
    TEST_STR_EQ(s.listen, "tcp://*:1");
    TEST_EQ(s.models.n, 0);
    TEST_EQ(s.threads, 2);
    TEST_NEAR(s.cost, 0.5, 0);
    TEST_EQ(s.ttl, 3600000000);
    TEST_EQ(s.memory, 64 << 20);
    TEST_TRUE(!s.quiet && s.precision == 0);
    TEST_EQ(
        load("--model a=b --threads=8 x --model c --quiet --cache-ttl 90s --precision int8 -- --y"),
        STATUS_OK);
    TEST_EQ(s.models.n, 2);
    TEST_STR_EQ(s.models.item[1], "c");
    TEST_EQ(s.threads, 8);
    TEST_TRUE(s.quiet);
    TEST_EQ(s.ttl, 90000000);
    TEST_EQ(s.precision, 2);
    TEST_EQ(words, 2);
    TEST_STR_EQ(word[0], "x");
    TEST_STR_EQ(word[1], "--y");
    TEST_EQ(action, CFG_RUN);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } bad[] = {
        {"--threads 300", "--threads: '300' is not a number from 0 to 256"},
        {"--threads 1.5", "is not a number"},
        {"--threads two", "is not a number"},
        {"--cache-ttl 5", NULL},
        {"--cache-ttl 5parsec", "is not a time"},
        {"--cache-ttl 1ms", "is not a time"},
        {"--cache-memory 64Q", "is not a size"},
        {"--precision f64", "'f64' is not f32|bf16|int8"},
        {"--quiet=perhaps", "is not yes or no"},
        {"--thread 3", "no option is called '--thread'"},
        {"--threads", "--threads needs a value (N)"},
        {"--listen 0123456789012345678901234567890123456789", "longer than 31 bytes"},
        {"--config /nonexistent/file", "/nonexistent/file"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ROW(bad[i].line);
        TEST_EQ(load(bad[i].line), bad[i].message ? STATUS_INVALID_ARGUMENT : STATUS_OK);
        if (bad[i].message)
            TEST_HAS(err.text, bad[i].message);
    }
    char *argv[] = {(char *)"prog", (char *)"stray", NULL};
    TEST_EQ(cfg_load(&cfg, 2, argv, NULL, &s, &action, &err), STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "unexpected word 'stray'");
}

static void test_order_of_sources(void **state) {
    (void)state;
    char path[] = "/tmp/ember-cfg-test-XXXXXX";
    int fd = mkstemp(path);
    const char *text = "# comment\n\nthreads = 3\nmodel = file1\nmodel = file2\ncache-ttl = 2m\n";
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    char line[128];
    snprintf(line, sizeof line, "--config %s", path);
    TEST_EQ(load(line), STATUS_OK);
    TEST_EQ(s.threads, 3);
    TEST_EQ(s.models.n, 2);
    setenv("EMBER_MODEL", "env1,env2,env3", 1);
    setenv("EMBER_CACHE_TTL", "3m", 1);
    TEST_EQ(load(line), STATUS_OK);
    TEST_EQ(s.models.n, 3); /* one source replaces the lower ones */
    TEST_STR_EQ(s.models.item[2], "env3");
    TEST_EQ(s.ttl, 180000000);
    TEST_EQ(s.threads, 3);
    snprintf(line, sizeof line, "--config %s --model flag --cache-ttl 4m", path);
    TEST_EQ(load(line), STATUS_OK);
    TEST_EQ(s.models.n, 1);
    TEST_EQ(s.ttl, 240000000);
    setenv("EMBER_CACHE_TTL", "nonsense", 1);
    TEST_EQ(load(""), STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "environment EMBER_");
    unsetenv("EMBER_MODEL");
    unsetenv("EMBER_CACHE_TTL");
    FILE *f = fopen(path, "we");
    fputs("threads = 1\nno equals sign\n", f);
    fclose(f);
    snprintf(line, sizeof line, "--config %s", path);
    TEST_EQ(load(line), STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, ":2: not 'name = value'");
    unlink(path);
}

static void
test_print_is_a_config_file(void **state) { /* what is printed loads to the same settings */
    (void)state;
    TEST_EQ(load("--model a=b --threads 8 --cache-ttl 90s --cache-memory 3M --precision bf16 "
                 "--cost 1.25"),
            STATUS_OK);
    char path[] = "/tmp/ember-cfg-print-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    cfg_print(&cfg, &s, f);
    fclose(f);
    struct settings want = s;
    char line[128];
    snprintf(line, sizeof line, "--config %s", path);
    TEST_EQ(load(line), STATUS_OK);
    TEST_EQ(s.threads, want.threads);
    TEST_EQ(s.ttl, want.ttl);
    TEST_EQ(s.memory, want.memory);
    TEST_EQ(s.precision, want.precision);
    TEST_EQ(s.models.n, 1);
    TEST_NEAR(s.cost, 1.25, 0);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_and_flags), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_order_of_sources), cmocka_unit_test(test_print_is_a_config_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
