/* terminal_test.c - `ember` as a person or a script uses it: against the real programs, every
 * subcommand, what it prints, where, and with which exit status. One clear line on standard error
 * for each mistake. */
#include "support/golden.h"
#include "support/rig.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

enum { ARGS_MAX = 16, OUT_MAX = 1024 * 1024 };

#define MEAN "--model=mean"
#define ZH   "--model=zh"

static struct rig rig;

/* ------------------------------------------------------------------------------------- one
 * command run */

static struct {
    int exit; /* status; minus the signal that ended it */
    char *out, *err;
    size_t out_bytes;
} ran;

static void path_of(const char *name, char out[128]) {
    snprintf(out, 128, "%s/%s", proc_dir(), name);
}

static void read_back(const char *name, char **text, size_t *bytes) {
    char path[128];
    path_of(name, path);
    free(*text);
    *text = golden_read(path, bytes);
    TEST_TRUE(*bytes < OUT_MAX);
}

static void spawn_and_wait(const char *const *argv) {
    extern char **environ;
    char in[128], out[128], err[128];
    path_of("stdin", in);
    path_of("stdout", out);
    path_of("stderr", err);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, in, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_addopen(&actions, 2, err, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    pid_t pid;
    int status,
        rc = posix_spawn(&pid, PROC_CLI, &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        TEST_FAIL("%s: %s", PROC_CLI, strerror(rc));
    TEST_EQ(waitpid(pid, &status, 0), pid);
    ran.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* `ember` with these words, up to NULL, and `input` to read. EMBER_BROKER and EMBER_REDIS say
 * where. */
static void ember_reads(const char *input, size_t bytes, const char *const *words) {
    const char *argv[ARGS_MAX + 2] = {PROC_CLI};
    char in[128];
    size_t n = 1, err_bytes;
    for (; *words; words++) {
        TEST_TRUE(n <= ARGS_MAX);
        argv[n++] = *words;
    }
    path_of("stdin", in);
    FILE *f = fopen(in, "we");
    TEST_TRUE(f && fwrite(input, 1, bytes, f) == bytes && fclose(f) == 0);
    spawn_and_wait(argv);
    read_back("stdout", &ran.out, &ran.out_bytes);
    read_back("stderr", &ran.err, &err_bytes);
}

#define EMBER(...) ember_reads("", 0, (const char *const[]){__VA_ARGS__, NULL})

static void must_exit(int status) {
    if (ran.exit != status)
        TEST_FAIL("exit status %d, want %d\nstdout: %.1000s\nstderr: %.1000s", ran.exit, status,
                  ran.out, ran.err);
    if (status == 0 && ran.err[0])
        TEST_FAIL("stderr: %s", ran.err);
}

static size_t lines_in(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Line i of what was printed, as JSON; the caller destroys. */
static json_t *json_line(size_t i) {
    const char *line = ran.out;
    for (; i > 0; i--) {
        line = strchr(line, '\n');
        TEST_TRUE(line != NULL);
        line++;
    }
    json_t *root = NULL;
    struct err err;
    size_t bytes = strcspn(line, "\n");
    if (json_parse(view_make(line, bytes), OUT_MAX, "output", &root, &err) != STATUS_OK)
        TEST_FAIL("%s: %.*s", err.text, (int)bytes, line);
    return root;
}

static uint64_t number(const json_t *object, const char *key) {
    uint64_t value = UINT64_MAX;
    if (!json_u64(json_get(object, key), &value))
        TEST_FAIL("no whole number '%s'", key);
    return value;
}

static const char *word(const json_t *object, const char *key) {
    const char *text = json_text(json_get(object, key));
    if (!text)
        TEST_FAIL("no text '%s'", key);
    return text;
}

/* -------------------------------------------------------------------------------------------
 * mistakes */

static void test_mistakes(void **state) {
    (void)state;
    static char too_long[4096];
    for (size_t n = 0; n + 6 < sizeof too_long; n += 5)
        memcpy(too_long + n, "word ", 6);
    const struct {
        int exit;
        const char *says, *words[ARGS_MAX];
    } rows[] = {
        {2, "no command is called 'frobnicate'", {"frobnicate"}},
        {2, "--nope", {"embed", "--nope"}},
        {2, "--timeout: '0'", {"embed", "--timeout", "0", "x"}},
        {2, "'foo'", {"embed", "--broker", "foo", "x"}},
        {2, "table|json|raw", {"embed", MEAN, "--output", "xml", "x"}},
        {2, "name a model", {"embed", "x"}}, /* there are two */
        {5, "no-such-model", {"embed", "--model", "no-such-model", "x"}},
        {2, "dimensions", {"embed", MEAN, "--dimensions", "97", "x"}},
        {2, "prompt", {"embed", MEAN, "--prompt", "nope", "x"}},
        {2, "tokens", {"embed", MEAN, "--truncate", "off", "x", too_long}},
        {2, "/nonexistent", {"embed", MEAN, "--file", "/nonexistent"}},
        {2, "UTF-8", {"embed", MEAN, "fine", "\xff\xfe"}},
        {2, "labels", {"classify", ZH, "--labels", "a,a", "x"}},
        {2, "labels", {"classify", ZH, "--labels", ",", "x"}},
        {2, "{}", {"classify", ZH, "--labels", "a,b", "--template", "no place", "x"}},
        {2, "labels", {"classify", ZH, "x"}},
        {2, "two or more", {"similarity", ZH, "x"}},
        {2, "--all", {"cache", "purge"}},
        {2, "redis://", {"cache", "stat", "--redis", "foo"}},
        {3, "redis", {"cache", "stat", "--redis", "redis://127.0.0.1:1"}},
        {5, "no entry", {"cache", "get", MEAN, "never asked for"}},
        {3,
         "tcp://127.0.0.1:1",
         {"embed", "--broker", "tcp://127.0.0.1:1", "--timeout", "200ms", "x"}},
        {3, "tcp://127.0.0.1:1", {"status", "--broker", "tcp://127.0.0.1:1", "--timeout", "200ms"}},
        {3, "tcp://127.0.0.1:1", {"ping", "--broker", "tcp://127.0.0.1:1", "--timeout", "200ms"}},
        {2, "/nonexistent", {"bench", MEAN, "--trace", "/nonexistent"}},
        {2, "--task goes without", {"bench", MEAN, "--trace", "/x", "--task", "rerank"}},
        {2, "lengths", {"bench", MEAN, "--lengths", "foo"}},
        {2, "policy", {"ping", "--policy", "foo"}},
        {2, "behind #", {"ping", "--broker", "tcp://127.0.0.1:1#price=1"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].says);
        ember_reads("", 0, rows[i].words);
        must_exit(rows[i].exit);
        TEST_HAS(ran.err, rows[i].says);
        TEST_EQ(strncmp(ran.err, "ember: ", 7), 0);
        if (lines_in(ran.err) != 1 || ran.out[0])
            TEST_FAIL("more than one line: %s%s", ran.out, ran.err);
        if (strstr(ran.err, "word word"))
            TEST_FAIL("it repeats the text: %s", ran.err);
    }
    ember_reads("ok\n\xff\xfe\nx\n", 8, (const char *const[]){"embed", MEAN, NULL});
    must_exit(2);
    TEST_HAS(ran.err, "2"); /* the line at fault */
}

static void test_help(void **state) {
    (void)state;
    const char *commands[] = {"embed",  "classify", "similarity", "tokenize",
                              "status", "ping",     "cache",      "bench"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        TEST_ROW(commands[i]);
        EMBER("help", commands[i]);
        must_exit(0);
        TEST_HAS(ran.out, "Usage: ember ");
        TEST_HAS(ran.out, commands[i]);
        char first[64];
        snprintf(first, sizeof first, "%.60s", ran.out);
        EMBER(commands[i], "--help");
        must_exit(0);
        TEST_TRUE(strncmp(first, ran.out, strlen(first)) == 0);
    }
    EMBER("--version");
    must_exit(0);
    TEST_HAS(ran.out, ember_version());
    ember_reads("", 0, (const char *const[]){NULL});
    must_exit(2);
    TEST_HAS(ran.err, "Usage: ember ");
}

/* --------------------------------------------------------------------------------------------
 * answers */

static void test_embed(void **state) {
    (void)state;
    EMBER("embed", MEAN, "where is my parcel?", "我的包裹在哪里");
    must_exit(0);
    TEST_HAS(ran.out, "where is my parcel?");
    TEST_HAS(ran.out, "我的包裹在哪里");
    TEST_HAS(ran.out, "96 numbers");
    TEST_HAS(ran.out, "worker1");

    /* The same texts, a line each; the last without a line feed; an empty one is a text, too. */
    static const char input[] = "where is my parcel?\n\n我的包裹在哪里";
    ember_reads(input, sizeof input - 1,
                (const char *const[]){"embed", MEAN, "--output", "json", NULL});
    must_exit(0);
    TEST_EQ(lines_in(ran.out), 3);
    const char *texts[] = {"where is my parcel?", "", "我的包裹在哪里"};
    for (size_t i = 0; i < 3; i++) {
        json_t *line = json_line(i);
        double sum = 0, x = 0;
        TEST_EQ(number(line, "i"), i);
        TEST_STR_EQ(word(line, "text"), texts[i]);
        TEST_STR_EQ(word(line, "source"), i == 1 ? "model" : "memory");
        TEST_EQ(number(line, "dim"), 96);
        TEST_EQ(json_size(json_get(line, "vector")), 96);
        for (const json_t *m = json_first(json_get(line, "vector")); m; m = json_next(m))
            sum += json_f64(m, &x) ? x * x : 1e9;
        TEST_NEAR(sum, 1, 1e-5);
        json_destroy(&line);
    }
    ember_reads(input, sizeof input - 1,
                (const char *const[]){"embed", MEAN, "--output", "raw", "--file", "-", NULL});
    must_exit(0);
    TEST_EQ(ran.out_bytes, 3 * 96 * sizeof(float));
    EMBER("embed", MEAN, "--output", "raw", "--encoding", "bit", "--dimensions", "32", "x");
    must_exit(0);
    TEST_EQ(ran.out_bytes, 4);
    EMBER("embed", MEAN); /* standard input is empty: nothing to do is done */
    must_exit(0);
    TEST_EQ(ran.out_bytes, 0);
}

static void test_many_lines(void **state) {
    (void)state;
    enum { LINES = 1500 };
    static char input[LINES * 24];
    size_t n = 0;
    for (int i = 0; i < LINES; i++)
        n += (size_t)snprintf(input + n, sizeof input - n, "line number %d\n", i);
    char path[128];
    path_of("lines", path);
    FILE *f = fopen(path, "we");
    TEST_TRUE(f && fwrite(input, 1, n, f) == n && fclose(f) == 0);
    EMBER("tokenize", MEAN, "--output", "json", "--file", path);
    must_exit(0);
    TEST_EQ(lines_in(ran.out), LINES);
    for (size_t i = 0; i < LINES; i += 499) {
        char want[32];
        snprintf(want, sizeof want, "line number %zu", i);
        json_t *line = json_line(i);
        TEST_EQ(number(line, "i"), i);
        TEST_STR_EQ(word(line, "text"), want);
        json_destroy(&line);
    }
}

static void test_classify(void **state) {
    (void)state;
    static const char text[] = "你们的快递太慢了";
    EMBER("classify", ZH, "--labels", "投诉,咨询,建议", text);
    must_exit(0);
    TEST_HAS(ran.out, text);
    /* Chinese labels are two columns a character: numbers stand under each other. */
    TEST_HAS(ran.out, "  投诉    0.");
    TEST_HAS(ran.out, "  咨询    0.");
    TEST_HAS(ran.out, "  建议    0.");
    EMBER("classify", ZH, "--labels", "投诉,咨询,建议", "--output", "json", text);
    must_exit(0);
    json_t *line = json_line(0);
    double sum = 0, x = 0, best = 2;
    for (const json_t *m = json_first(json_get(line, "scores")); m; m = json_next(m)) {
        TEST_TRUE(json_f64(m, &x) && x <= best);
        best = x;
        sum += x;
    }
    TEST_NEAR(sum, 1, 1e-5);
    TEST_EQ(json_size(json_get(line, "labels")), 3);
    char first[32];
    snprintf(first, sizeof first, "%s\t0.", json_text(json_first(json_get(line, "labels"))));
    json_destroy(&line);
    EMBER("classify", ZH, "--labels", "投诉,咨询,建议", "--output", "raw", text);
    must_exit(0);
    TEST_EQ(strncmp(ran.out, first, strlen(first)), 0);
    TEST_EQ(lines_in(ran.out), 1);
}

static void test_similarity_and_tokenize(void **state) {
    (void)state;
    EMBER("similarity", ZH, "--output", "raw", "退款", "退款", "天气");
    must_exit(0);
    char *end;
    double same = strtod(ran.out, &end), other = strtod(end, NULL);
    TEST_NEAR(same, 1, 1e-5);
    TEST_TRUE(other < 0.9999 && other > -1);
    EMBER("similarity", ZH, "退款", "天气");
    must_exit(0);
    TEST_HAS(ran.out, "天气");
    EMBER("tokenize", ZH, "--output", "json", "我");
    must_exit(0);
    json_t *line = json_line(0);
    const json_t *ids = json_get(line, "ids");
    uint64_t id = 0;
    TEST_EQ(json_size(ids), 3); /* 2 631 3: bert-cls-zh-s002 of the golden cases */
    TEST_TRUE(json_u64(json_next(json_first(ids)), &id) && id == 631);
    TEST_STR_EQ(json_text(json_next(json_first(json_get(line, "pieces")))), "我");
    json_destroy(&line);
    EMBER("tokenize", ZH, "--output", "raw", "我");
    must_exit(0);
    TEST_STR_EQ(ran.out, "2 631 3\n");
}

static void test_status(void **state) {
    (void)state;
    EMBER("status");
    must_exit(0);
    TEST_HAS(ran.out, "serving");
    TEST_HAS(ran.out, "worker1");
    TEST_HAS(ran.out, "mean@");
    TEST_HAS(ran.out, " s, "); /* up for seconds */
    EMBER("status", "--output", "json");
    must_exit(0);
    json_t *root = json_line(0);
    TEST_STR_EQ(word(json_get(root, "broker"), "endpoint"), rig.clients[0]);
    TEST_STR_EQ(word(json_first(json_get(root, "workers")), "name"), "worker1");
    TEST_EQ(json_size(json_get(json_first(json_get(root, "workers")), "models")), 2);
    TEST_TRUE(number(json_get(root, "counters"), "received") > 0);
    json_destroy(&root);
    EMBER("status", "--output", "raw");
    must_exit(0);
    TEST_HAS(ran.out, "received ");
    EMBER("ping");
    must_exit(0);
    TEST_HAS(ran.out, rig.clients[0]);
}

/* The second of two brokers is not there: all is told, and what answers is used. */
static void test_two_brokers(void **state) {
    (void)state;
    char both[200];
    snprintf(both, sizeof both, "tcp://127.0.0.1:1#cost=3,%s", rig.clients[0]);
    EMBER("ping", "--broker", both);
    must_exit(0);
    char line[100];
    snprintf(line, sizeof line, "answer from %s in", rig.clients[0]);
    TEST_HAS(ran.out, line);
    TEST_HAS(ran.out, "known broker");
    TEST_HAS(ran.out, "nobody listens there");
    EMBER("ping", "--broker", both, "--policy", "cheapest", "--output", "json");
    must_exit(0);
    json_t *root = json_line(0);
    const json_t *first = json_first(json_get(root, "known"));
    TEST_EQ(json_size(json_get(root, "known")), 2);
    TEST_STR_EQ(word(first, "endpoint"), "tcp://127.0.0.1:1");
    TEST_EQ(number(first, "cost"), 3);
    TEST_STR_EQ(word(json_next(first), "state"), "up");
    json_destroy(&root);
    TEST_ROW("status of all: one cannot be asked, the other is shown");
    EMBER("status", "--broker", both, "--all", "--timeout", "500ms");
    must_exit(3);
    TEST_HAS(ran.out, "worker1");
    TEST_HAS(ran.err, "tcp://127.0.0.1:1 (nobody listens there)");
}

/* ----------------------------------------------------------------------------------------------
 * cache */

static void test_cache(void **state) {
    (void)state;
    static const char text[] = "退款什么时候到账?";
    EMBER("cache", "purge", "--all");
    must_exit(0);
    EMBER("embed", ZH, "--cache", "refresh", text);
    must_exit(0);
    EMBER("classify", ZH, "--labels", "投诉,咨询", "--cache", "refresh", text);
    must_exit(0);

    EMBER("cache", "key", ZH, text);
    must_exit(0);
    TEST_HAS(ran.out, "ember:zh@");
    TEST_HAS(ran.out, "printf '%s' '退款什么时候到账?' | md5sum");
    EMBER("cache", "key", ZH, "--output", "raw", text);
    must_exit(0);
    char key[256], head[128];
    snprintf(key, sizeof key, "%.*s", (int)strcspn(ran.out, "\n"), ran.out);
    for (int i = 0; i < 500; i++) { /* it is written behind the answer's back */
        redis_ask(&rig.redis, head, sizeof head, "EXISTS", key, NULL);
        if (strcmp(head, ":1") == 0)
            break;
        usleep(10000);
    }
    TEST_EQ(redis_ask(&rig.redis, head, sizeof head, "GETRANGE", key, "0", "95", NULL), 96);
    TEST_HAS(head, "ember1 emb dim=64");

    EMBER("cache", "get", ZH, text);
    must_exit(0);
    TEST_HAS(ran.out, key);
    EMBER("cache", "get", "--output", "json", key);
    must_exit(0);
    json_t *entry = json_line(0);
    TEST_STR_EQ(word(entry, "key"), key);
    TEST_EQ(json_size(json_get(entry, "vector")), 64);
    TEST_TRUE(number(entry, "ttl_s") > 1000);
    json_destroy(&entry);
    EMBER("cache", "get", ZH, "--labels", "咨询,投诉", text);
    must_exit(0);
    TEST_HAS(ran.out, "\"投诉\":0.");

    EMBER("cache", "stat", "--output", "json");
    must_exit(0);
    json_t *stat = json_line(0);
    TEST_EQ(number(stat, "keys"), 4); /* the text, two labels, the scores */
    TEST_EQ(json_size(json_get(stat, "groups")), 2);
    json_destroy(&stat);
    EMBER("cache", "purge", ZH);
    must_exit(0);
    TEST_HAS(ran.out, "4 entries removed");
    EMBER("cache", "get", ZH, text);
    must_exit(5);
}

/* ----------------------------------------------------------------------------------------------
 * bench */

static void test_bench(void **state) {
    (void)state;
    char path[128];
    path_of("run.json", path);
    EMBER("bench", MEAN, "--duration", "400ms", "--warm-up", "100ms", "--concurrency", "2",
          "--report-json", path);
    must_exit(0);
    TEST_HAS(ran.out, "closed loop");
    TEST_HAS(ran.out, "p95");
    json_t *report = NULL;
    struct err err;
    if (json_load(path, OUT_MAX, &report, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    uint64_t calls = number(report, "calls");
    const json_t *latency = json_get(report, "latency");
    TEST_TRUE(calls > 0);
    TEST_EQ(number(report, "failed"), 0);
    TEST_EQ(number(latency, "n"), calls);
    TEST_EQ(number(json_get(report, "statuses"), "OK"), calls);
    TEST_TRUE(number(latency, "p50_us") > 0);
    TEST_TRUE(number(latency, "p99_us") >= number(latency, "p50_us"));
    TEST_TRUE(number(latency, "max_us") >= number(latency, "p99_us"));
    json_destroy(&report);
    EMBER("bench", ZH, "--task", "classify", "--labels", "投诉,咨询", "--rate", "100", "--duration",
          "400ms", "--warm-up", "0s", "--output", "json");
    must_exit(0);
    report = json_line(0);
    calls = number(report, "calls");
    TEST_TRUE(calls >= 5 && calls <= 400); /* about 40 */
    TEST_EQ(number(json_get(report, "statuses"), "OK"), calls);
    json_destroy(&report);
    EMBER("bench", "--model", "no-such-model", "--requests", "5", "--warm-up", "0s");
    must_exit(1);
    TEST_HAS(ran.out, "NOT_FOUND");
}

/* -------------------------------------------------------------------------------------------
 * set-up */

static int start_all(void **state) {
    (void)state;
    rig_init(&rig, &(struct rig_cfg){.brokers = 1,
                                     .workers = 1,
                                     .real = true,
                                     .redis = true,
                                     .models = {"mean=" GOLDEN_DIR "/bert-mean/f32",
                                                "zh=" GOLDEN_DIR "/bert-cls-zh/hf"},
                                     .broker_extra = {"--no-worker-grace", "200ms"}});
    if (!rig_start(&rig))
        exit(TEST_SKIPPED);
    usleep(300000); /* until the broker is old enough to say that a model does not exist */
    setenv("EMBER_BROKER", rig.clients[0], 1);
    setenv("EMBER_REDIS", rig.redis.url, 1);
    if (PROC_SLOW > 1)
        setenv("EMBER_TIMEOUT", "40s", 1);
    return 0;
}

static int stop_all(void **state) {
    rig_stop(&rig);
    free(ran.out);
    free(ran.err);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes), cmocka_unit_test(test_help),
        cmocka_unit_test(test_embed),    cmocka_unit_test(test_many_lines),
        cmocka_unit_test(test_classify), cmocka_unit_test(test_similarity_and_tokenize),
        cmocka_unit_test(test_status),   cmocka_unit_test(test_two_brokers),
        cmocka_unit_test(test_cache),    cmocka_unit_test(test_bench),
    };
    return proc_report(cmocka_run_group_tests(tests, start_all, stop_all));
}
