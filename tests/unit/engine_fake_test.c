/* engine_fake_test.c - the fake engine's heads: what a model of each kind says it can do, and
 * logits that follow from the tokens of both texts as they are cut; and its faults.
 * (Vectors: engine_test.c.) */
#include "base/clock.h"
#include "engine/engine_fake.h"
#include "support/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIM_MAX = 8 };

static engine_t *engine;
static engine_seat_t *seat;

static void open_fake(const char *spec) {
    struct err err = {.text = ""};
    if (engine_fake_open(spec, &engine, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    TEST_EQ(engine_seat_new(engine, 64, 4, &seat, NULL), STATUS_OK);
}

static void close_fake(void) {
    engine_seat_destroy(&seat);
    engine_destroy(&engine);
}

static struct engine_item run_pair(const char *text, const char *second, enum engine_pair pair,
                                   enum engine_side side, float *out) {
    struct engine_item item = {
        .text = view_of(text), .second = view_of(second), .pair = pair, .side = side, .out = out};
    engine_run(engine, seat, &item, 1, NULL);
    return item;
}

static void test_heads(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        enum engine_head head;
        uint32_t dim, n_labels, tasks;
        bool sigmoid;
        const char *last;
    } rows[] = {
        {"dim=7", ENGINE_HEAD_NONE, 7, 0, ENGINE_TASK_EMBED | ENGINE_TASK_CLASSIFY, false, NULL},
        {"dim=7,zero_shot=1", ENGINE_HEAD_NONE, 7, 0, ENGINE_TASK_EMBED | ENGINE_TASK_CLASSIFY,
         false, NULL},
        {"head=labels,labels=3", ENGINE_HEAD_LABELS, 3, 3, ENGINE_TASK_CLASSIFY, false, "label 2"},
        {"head=labels,sigmoid=1", ENGINE_HEAD_LABELS, 4, 4, ENGINE_TASK_CLASSIFY, true, "label 3"},
        {"head=nli", ENGINE_HEAD_NLI, 3, 3, ENGINE_TASK_CLASSIFY, false, "entailment"},
        {"head=score,tokens=9", ENGINE_HEAD_SCORE, 1, 1, ENGINE_TASK_RERANK, true, "label 0"},
    };
    char seen[6][9] = {{0}};
    for (size_t i = 0; i < 6; i++) {
        TEST_ROW(rows[i].spec);
        open_fake(rows[i].spec);
        const struct engine_info *info = engine_info(engine);
        TEST_EQ(info->head, rows[i].head);
        TEST_EQ(info->dim, rows[i].dim);
        TEST_EQ(info->n_labels, rows[i].n_labels);
        TEST_EQ(info->tasks, rows[i].tasks | ENGINE_TASK_TOKENIZE);
        TEST_EQ(info->sigmoid, rows[i].sigmoid);
        TEST_TRUE(engine_zero_shot(engine) ==
                  (strstr(rows[i].spec, "zero_shot") ? &engine_fake_zero_shot : NULL));
        if (rows[i].last)
            TEST_TRUE(view_equal(engine_label(engine, info->n_labels - 1), view_of(rows[i].last)));
        if (info->head == ENGINE_HEAD_NLI) {
            TEST_TRUE(view_equal(engine_label(engine, info->entailment), view_of("entailment")));
            TEST_TRUE(
                view_equal(engine_label(engine, info->contradiction), view_of("contradiction")));
        }
        memcpy(seen[i], info->fingerprint8, 9);
        for (size_t k = 0; k < i; k++)
            TEST_TRUE(strcmp(seen[i], seen[k]) != 0); /* another model, another fingerprint */
        close_fake();
    }
    struct err err;
    const char *const bad[] = {"head", "head=", "head=nl", "head=nlii", "labels=1025", "labels=0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ROW(bad[i]);
        TEST_EQ(engine_fake_open(bad[i], &engine, &err), STATUS_INVALID_ARGUMENT);
    }
}

/* Which pairs are the same for the model: those whose tokens are the same after the cut. */
static void test_pairs(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *second, *as_text, *as_second;
        enum engine_pair pair;
        uint32_t tokens, full;
    } rows[] = {
        {"whole", "ab", "cd", "ab", "cd", ENGINE_PAIR_ONLY_FIRST, 7, 7},
        {"nothing in the second", "ab", "", "ab", "", ENGINE_PAIR_LONGEST_FIRST, 5, 5},
        {"first alone is cut", "abcdef", "xyz", "abc", "xyz", ENGINE_PAIR_ONLY_FIRST, 9, 12},
        {"second when the first is gone", "ab", "0123456789", "", "012345", ENGINE_PAIR_ONLY_FIRST,
         9, 15},
        {"the longer one is cut", "ab", "0123456789", "ab", "0123", ENGINE_PAIR_LONGEST_FIRST, 9,
         15},
        {"both in turn", "abcdef", "012345", "abc", "012", ENGINE_PAIR_LONGEST_FIRST, 9, 15},
    };
    open_fake("head=score,tokens=9");
    float got, want, other;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct engine_item item =
            run_pair(rows[i].text, rows[i].second, rows[i].pair, ENGINE_CUT_RIGHT, &got);
        TEST_EQ(item.status, STATUS_OK);
        TEST_EQ(item.tokens, rows[i].tokens);
        TEST_EQ(item.tokens_full, rows[i].full);
        run_pair(rows[i].as_text, rows[i].as_second, rows[i].pair, ENGINE_CUT_OFF, &want);
        TEST_MEM_EQ(&got, &want, sizeof got);
        run_pair(rows[i].as_second, rows[i].as_text, rows[i].pair, ENGINE_CUT_OFF, &other);
        TEST_TRUE(memcmp(&got, &other, sizeof got) != 0); /* their order counts */
        item = run_pair(rows[i].text, rows[i].second, rows[i].pair, ENGINE_CUT_OFF, &got);
        TEST_EQ(item.status, rows[i].full > 9 ? STATUS_OUT_OF_RANGE : STATUS_OK);
    }
    TEST_ROW("a text alone is no pair with nothing");
    run_pair("ab", "", ENGINE_PAIR_LONGEST_FIRST, ENGINE_CUT_RIGHT, &want);
    run_pair("ab", "ignored", ENGINE_SINGLE, ENGINE_CUT_RIGHT, &got);
    TEST_TRUE(memcmp(&got, &want, sizeof got) != 0);
    close_fake();
}

/* Who is met by a fault, and what it does to the others: nothing. */
static void test_faults(void **state) {
    (void)state;
    static const struct {
        const char *name, *spec, *text, *second; /* second NULL: no pair */
        enum status status;
        uint64_t at_least_us;
    } rows[] = {
        {"nan", "dim=8,nan=bad", "bad text", NULL, STATUS_INTERNAL, 0},
        {"nan, another text", "dim=8,nan=bad", "a bad text", NULL, STATUS_OK, 0},
        {"nan, too short", "dim=8,nan=bad", "ba", NULL, STATUS_OK, 0},
        {"nan=1 is the old one", "dim=8,nan=1", "1", NULL, STATUS_OK, 0},
        {"nan=1x is a prefix alone", "dim=8,nan=1x", "NaN", NULL, STATUS_OK, 0},
        {"nan, colon in the prefix", "dim=8,nan=a:1", "a:1", NULL, STATUS_INTERNAL, 0},
        {"slow", "dim=8,slow=sl:20000", "slug", NULL, STATUS_OK, 20000},
        {"slow, another text", "dim=8,slow=sl:10000000", "plug", NULL, STATUS_OK, 0},
        {"hang for a time", "dim=8,hang=h:20000", "hang", NULL, STATUS_OK, 20000},
        {"hang, another text", "dim=8,hang=h", "bang", NULL, STATUS_OK, 0},
        {"crash, another text", "dim=8,crash=boom", "boo", NULL, STATUS_OK, 0},
        {"second of a pair", "head=score,nan=bad", "good", "bad", STATUS_INTERNAL, 0},
        {"no second of a single", "dim=8,hang=bad", "good", NULL, STATUS_OK, 0},
        {"all at once", "dim=8,nan=n,slow=s:10000,hang=h,crash=c", "s", NULL, STATUS_OK, 10000},
    };
    float out[DIM_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        open_fake(rows[i].spec);
        uint64_t start_us = clock_us();
        struct engine_item item = run_pair(
            rows[i].text, rows[i].second ? rows[i].second : "bad",
            rows[i].second ? ENGINE_PAIR_LONGEST_FIRST : ENGINE_SINGLE, ENGINE_CUT_RIGHT, out);
        TEST_EQ(item.status, rows[i].status);
        TEST_TRUE(clock_us() - start_us >= rows[i].at_least_us);
        close_fake();
    }
    struct err err;
    const char *const bad[] = {"slow=x",      "slow=x:",
                               "slow=:5",     "slow=x:10000001",
                               "slow=x:-1",   "slow=x:5s",
                               "hang",        "hang=",
                               "hang=:5",     "hang=x:0",
                               "hang=x:y",    "crash=",
                               "hang=x:4e12", "crash=0123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ROW(bad[i]);
        TEST_EQ(engine_fake_open(bad[i], &engine, &err), STATUS_INVALID_ARGUMENT);
    }
}

/* What cannot be watched from within: a crash, and a hang without end. */
static void test_fatal(void **state) {
    (void)state;
    static const struct {
        const char *name, *spec;
        int signal_number;
    } rows[] = {{"crash", "dim=8,crash=boom", SIGABRT}, {"hang", "dim=8,hang=boom", SIGALRM}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        pid_t pid = fork();
        if (pid == 0) {
            float out[DIM_MAX];
            signal(SIGABRT, SIG_DFL);
            fclose(stderr);
            alarm(1);
            open_fake(rows[i].spec);
            run_pair("boom!", "", ENGINE_SINGLE, ENGINE_CUT_RIGHT, out);
            _exit(0);
        }
        int status = 0;
        TEST_EQ(waitpid(pid, &status, 0), pid);
        TEST_TRUE(WIFSIGNALED(status));
        TEST_EQ(WTERMSIG(status), rows[i].signal_number);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads), cmocka_unit_test(test_pairs),
                                       cmocka_unit_test(test_faults), cmocka_unit_test(test_fatal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
