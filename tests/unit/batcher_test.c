/* batcher_test.c - queues written as words: what is picked, in which order, for whom. */
#include "batcher.h"
#include "support/test.h"

enum { ENTRIES = 128, LINES = 128 };

static struct batcher batcher;
static struct batcher_entry entries[ENTRIES];
static struct batcher_line lines[LINES];
static struct batcher_kind kind; /* of what was picked last */
static uint32_t n_entries, n_lines;

static void fresh(uint32_t tokens, uint32_t items, uint64_t wait_us) {
    batcher_init(&batcher, &(struct batcher_cfg){.tokens_max = tokens,
                                                 .items_max = items,
                                                 .bytes_max = 1000,
                                                 .wait_us = wait_us});
    memset(entries, 0, sizeof entries);
    n_entries = n_lines = 0;
}

static struct batcher_line *ask(uint32_t model, uint32_t lane) {
    TEST_TRUE(n_lines < LINES);
    batcher_line_init(&lines[n_lines], model, (uint8_t)lane);
    return &lines[n_lines++];
}

static void add(struct batcher_line *line, uint64_t at_us, uint32_t tokens) {
    TEST_TRUE(n_entries < ENTRIES);
    struct batcher_entry *entry = &entries[n_entries++];
    *entry = (struct batcher_entry){.queued_us = at_us, .tokens = tokens, .bytes = 4 * tokens};
    batcher_add(&batcher, line, entry);
}

/* The picked entries as letters: 'a' is the first that was added. */
static const char *pick(uint32_t free_runners, uint64_t now_us) {
    static char letters[ENTRIES + 1];
    struct batcher_entry *out[ENTRIES];
    uint32_t n = batcher_pick(&batcher, free_runners, now_us, out, &kind);
    for (uint32_t i = 0; i < n; i++)
        letters[i] = (char)('a' + (out[i] - entries));
    letters[n] = 0;
    return letters;
}

/* "H5" is a request for one text of 5 tokens in lane HIGH, "N" normal, "B" bulk; in model 1 when
 * lower case. "N5x3": three such texts. Each arrives 1 us after the one before, from time 1 on. */
static void add_all(const char *queue) {
    for (const char *p = queue; *p; p += *p == ' ') {
        static const char lanes[] = "HNBhnb";
        uint32_t lane = (uint32_t)(strchr(lanes, *p) - lanes), times = 1;
        char *end;
        uint32_t tokens = (uint32_t)strtoul(p + 1, &end, 10);
        if (*end == 'x')
            times = (uint32_t)strtoul(end + 1, &end, 10);
        struct batcher_line *line = ask(lane / 3, lane % 3);
        for (uint32_t i = 0; i < times; i++)
            add(line, n_entries + 1, tokens);
        p = end;
    }
}

static void test_pick(void **state) {
    (void)state;
    const struct {
        const char *name, *queue;
        uint32_t tokens_max, items_max, free_runners;
        uint64_t now_us;
        const char *first, *second;
    } rows[] = {
        {"nothing", "", 512, 9, 1, 10, "", ""},
        {"oldest first", "N5 N5 N5", 512, 9, 1, 10, "abc", ""},
        {"until the budget is full", "N5 N5 N5", 10, 9, 1, 10, "ab", "c"},
        {"single texts keep their order, long or short", "N9 N5 N1", 14, 9, 1, 10, "ab", "c"},
        {"no overtaking for a gap", "N5 N9 N5", 10, 9, 1, 10, "a", "b"},
        {"one that is longer than the budget goes alone", "N50 N5", 10, 9, 1, 10, "a", "b"},
        {"no more than so many texts", "N1 N1 N1", 512, 2, 1, 10, "ab", "c"},
        {"no more than so many bytes", "N200 N200", 512, 9, 1, 10, "a", "b"},
        {"lanes in their order", "N5 B5 H5 N5 H5", 512, 9, 1, 10, "ceadb", ""},
        {"BULK after NORMAL", "B5 N5 B5", 10, 9, 1, 10, "ba", "c"},
        {"one model a batch, then the other", "N5 n5 N5", 512, 9, 1, 10, "ac", "b"},
        {"HIGH of another model goes before", "N5 h5 N5", 512, 9, 1, 10, "b", "ac"},
        {"but not before what is old", "N5 h5", 512, 9, 1, 1 + BATCHER_AGE_US, "a", "b"},
        {"a short queue is shared out", "N30 N30 N30 N30", 512, 9, 2, 10, "ab", "cd"},
        {"a long queue gives full batches", "N30 N30 N30 N30 N30 N30", 60, 9, 2, 10, "ab", "cd"},
        {"tiny texts are not worth it", "N8 N8 N8 N8", 512, 9, 4, 10, "abcd", ""},
        {"a large request fills batches", "N10x6", 40, 9, 1, 10, "abcd", "ef"},
        {"small ones pass it, with little company", "N10x6 N5 N5", 80, 9, 1, 10, "gha", "bcdef"},
        {"few texts are small, too", "N10x6 N5x2", 40, 9, 1, 10, "gh", "abcd"},
        {"least left first, every fourth the oldest", "N10x12 N10x5", 40, 9, 1, 10, "mnoa", "pqbc"},
        {"as much left: the one that came first", "N10x6 N10x6", 40, 9, 1, 10, "abcd", "efgh"},
        {"a large one of a higher lane", "B10x6 N10x6", 40, 9, 1, 10, "ghij", "klab"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        fresh(rows[i].tokens_max, rows[i].items_max, 0);
        add_all(rows[i].queue);
        TEST_STR_EQ(pick(rows[i].free_runners, rows[i].now_us), rows[i].first);
        TEST_STR_EQ(pick(rows[i].free_runners > 1 ? rows[i].free_runners - 1 : 1, rows[i].now_us),
                    rows[i].second);
    }
}

static void test_wait(void **state) {
    (void)state;
    fresh(10, 4, 100);
    TEST_TRUE(batcher_deadline_us(&batcher, 0) == UINT64_MAX);
    TEST_ROW("waits for company");
    add(ask(0, WIRE_LANE_NORMAL), 1000, 4);
    TEST_STR_EQ(pick(1, 1099), "");
    TEST_EQ(batcher_deadline_us(&batcher, 1099), 1100);
    TEST_EQ(batcher_deadline_us(&batcher, 1100), 0);
    TEST_STR_EQ(pick(1, 1100), "a");
    TEST_ROW("a full batch does not wait");
    add(ask(0, WIRE_LANE_NORMAL), 2000, 6);
    TEST_STR_EQ(pick(1, 2000), "");
    add(ask(0, WIRE_LANE_NORMAL), 2001, 4);
    TEST_TRUE(batcher_full(&batcher));
    TEST_EQ(batcher_deadline_us(&batcher, 2001), 0);
    TEST_STR_EQ(pick(1, 2001), "bc");
    TEST_ROW("nor does HIGH");
    add(ask(0, WIRE_LANE_HIGH), 3000, 4);
    TEST_STR_EQ(pick(1, 3000), "d");
    TEST_ROW("one model that waits does not hold up another that may go");
    add(ask(0, WIRE_LANE_NORMAL), 4000, 4);
    add(ask(1, WIRE_LANE_HIGH), 4001, 4);
    TEST_STR_EQ(pick(1, 4001), "f");
    TEST_STR_EQ(pick(1, 4001), "");
}

static void test_remove_and_move(void **state) {
    (void)state;
    fresh(512, 9, 0);
    add_all("N5 H5 N5 H5 N5"); /* a b c d e */
    batcher_move(&batcher, &lines[1], &entries[2]);
    batcher_move(&batcher, &lines[1], &entries[4]);
    batcher_remove(&batcher, &entries[3]);
    TEST_EQ(batcher.n, 4);
    TEST_EQ(batcher.models[0].tokens, 20);
    TEST_STR_EQ(pick(1, 10), "bcea");
    TEST_EQ(batcher.n, 0);
    TEST_EQ(batcher.models[0].tokens, 0);
}

/* Fewer tokens from now on, and more again. */
static void test_set_tokens(void **state) {
    (void)state;
    fresh(20, 9, 0);
    add_all("N10 N5 N5 N10 N10 N30 N10 N10");
    batcher_set_tokens(&batcher, 10);
    TEST_STR_EQ(pick(1, 100), "a");
    TEST_STR_EQ(pick(1, 100), "bc");
    batcher_set_tokens(&batcher, 20);
    TEST_STR_EQ(pick(1, 100), "de");
    batcher_set_tokens(&batcher, 1);
    TEST_STR_EQ(pick(1, 100), "f"); /* a longer text still goes alone */
    batcher_set_tokens(&batcher, 20);
    TEST_STR_EQ(pick(1, 100), "gh");
}

/* Which batches are taken back when what comes waits behind them, and that they come out as they
 * were. */
static void test_presses(void **state) {
    (void)state;
    const struct {
        const char *name, *first, *then;
        bool presses;
    } rows[] = {
        {"nothing came", "N10x6", "", false},
        {"a single text", "N10x4", "N5", true},
        {"of another model", "N10x4", "n5", true},
        {"a large request as the others", "N10x4", "N10x4", false},
        {"a large one of a higher lane", "B10x4", "N10x4", true},
        {"a single text of a lower lane", "N10x4", "B5", false},
        {"what is small already waits for nobody", "N10 N10", "H5", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        fresh(40, 9, 0);
        add_all(rows[i].first);
        char got[ENTRIES + 1];
        snprintf(got, sizeof got, "%s", pick(1, 10));
        struct batcher_kind prepared = kind;
        add_all(rows[i].then);
        TEST_EQ(batcher_presses(&batcher, &prepared), rows[i].presses);
        for (uint32_t at = (uint32_t)strlen(got); at-- > 0;) {
            uint32_t line = 0; /* of the entry: those of `first` have one or two */
            if (strcmp(rows[i].first, "N10 N10") == 0)
                line = at;
            batcher_put_back(&batcher, &lines[line], &entries[got[at] - 'a']);
        }
        if (!rows[i].presses)
            TEST_TRUE(strncmp(pick(1, 10), got, strlen(got)) == 0 || kind.lane < prepared.lane);
        else
            TEST_TRUE(pick(1, 10)[0] > got[strlen(got) - 1]); /* what came is in front now */
    }
}

/* Singles come as fast as they are served, for ever: how many tokens pass until a large request
 * that waits, of 4 texts of 10 tokens, has been served. */
static uint32_t passed_until_done(uint32_t lane_single, uint32_t lane_large) {
    fresh(100, 9, 0);
    struct batcher_line *large = ask(0, lane_large);
    static struct batcher_line single[64];
    static struct batcher_entry one[64];
    for (uint32_t i = 0; i < 8; i++) /* 80 tokens: not small */
        add(large, 1, 10);
    for (uint32_t i = 0; i < 64; i++) {
        batcher_line_init(&single[i], 0, (uint8_t)lane_single);
        one[i] = (struct batcher_entry){.queued_us = 1, .tokens = 10, .bytes = 10};
        batcher_add(&batcher, &single[i], &one[i]);
    }
    uint32_t passed = 0, left = 8;
    for (uint32_t round = 0; left > 0 && round < 1000; round++) {
        struct batcher_entry *out[ENTRIES];
        uint32_t n = batcher_pick(&batcher, 1, 2, out, &kind);
        for (uint32_t i = 0; i < n; i++) {
            if (out[i] >= entries && out[i] < entries + ENTRIES) {
                left--;
                continue;
            }
            passed += out[i]->tokens;
            uint32_t at = (uint32_t)(out[i] - one);
            batcher_line_init(&single[at], 0, (uint8_t)lane_single);
            batcher_add(&batcher, &single[at], &one[at]);
        }
    }
    return left ? UINT32_MAX : passed;
}

static void test_nobody_starves(void **state) {
    (void)state;
    TEST_ROW("in the same lane: a third of what passes, and the rest of a batch");
    uint32_t passed = passed_until_done(WIRE_LANE_NORMAL, WIRE_LANE_NORMAL);
    TEST_TRUE(passed >= 160 && passed <= 80 * BATCHER_OLDEST_PART + 100);
    TEST_ROW("in a lower lane: an eighth");
    passed = passed_until_done(WIRE_LANE_HIGH, WIRE_LANE_BULK);
    TEST_TRUE(passed >= 480 && passed <= 80 * BATCHER_LANE_PART + 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pick),    cmocka_unit_test(test_set_tokens),
        cmocka_unit_test(test_wait),    cmocka_unit_test(test_remove_and_move),
        cmocka_unit_test(test_presses), cmocka_unit_test(test_nobody_starves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
