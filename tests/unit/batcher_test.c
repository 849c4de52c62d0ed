/* batcher_test.c - queues written as words: what is picked, in which order, for whom. */
#include "batcher.h"
#include "support/test.h"

enum { ENTRIES = 64 };

static struct batcher batcher;
static struct batcher_entry entries[ENTRIES];
static uint32_t n_entries;

static void fresh(uint32_t tokens, uint32_t items, uint64_t wait_us) {
    batcher_init(&batcher, &(struct batcher_cfg){.tokens_max = tokens,
                                                 .items_max = items,
                                                 .bytes_max = 1000,
                                                 .wait_us = wait_us});
    memset(entries, 0, sizeof entries);
    n_entries = 0;
}

static struct batcher_entry *add(uint8_t model, uint8_t lane, uint64_t at_us, uint32_t tokens) {
    struct batcher_entry *entry = &entries[n_entries++];
    *entry = (struct batcher_entry){
        .queued_us = at_us, .tokens = tokens, .bytes = 4 * tokens, .model = model, .lane = lane};
    batcher_add(&batcher, entry);
    return entry;
}

/* The picked entries as letters: 'a' is the first that was added. */
static const char *pick(uint32_t free_runners, uint64_t now_us) {
    static char letters[ENTRIES + 1];
    struct batcher_entry *out[ENTRIES];
    uint32_t n = batcher_pick(&batcher, free_runners, now_us, out);
    for (uint32_t i = 0; i < n; i++)
        letters[i] = (char)('a' + (out[i] - entries));
    letters[n] = 0;
    return letters;
}

/* "H5" is a HIGH text of 5 tokens, "N" normal, "B" bulk; in model 1 when lower case. Each arrives 1
 * us after the one before, from time 1 on. */
static void add_all(const char *queue) {
    for (const char *p = queue; *p;) {
        static const char lanes[] = "HNBhnb";
        uint32_t lane = (uint32_t)(strchr(lanes, *p) - lanes);
        char *end;
        uint32_t tokens = (uint32_t)strtoul(p + 1, &end, 10);
        add((uint8_t)(lane / 3), (uint8_t)(lane % 3), n_entries + 1, tokens);
        p = end + (*end == ' ');
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
        {"no overtaking for a gap", "N5 N9 N5", 10, 9, 1, 10, "a", "b"},
        {"one that is longer than the budget goes alone", "N50 N5", 10, 9, 1, 10, "a", "b"},
        {"no more than so many texts", "N1 N1 N1", 512, 2, 1, 10, "ab", "c"},
        {"no more than so many bytes", "N200 N200", 512, 9, 1, 10, "a", "b"},
        {"HIGH first", "N5 B5 H5 N5 H5", 512, 9, 1, 10, "ceabd", ""},
        {"bulk and normal in their order", "B5 N5 B5", 10, 9, 1, 10, "ab", "c"},
        {"old ones are not starved", "N5 H5", 5, 9, 1, 1 + BATCHER_AGE_US, "a", "b"},
        {"one model a batch, the oldest's first", "N5 n5 N5", 512, 9, 1, 10, "ac", "b"},
        {"HIGH of another model goes before", "N5 h5 N5", 512, 9, 1, 10, "b", "ac"},
        {"a short queue is shared out", "N30 N30 N30 N30", 512, 9, 2, 10, "ab", "cd"},
        {"a long queue gives full batches", "N30 N30 N30 N30 N30 N30", 60, 9, 2, 10, "ab", "cd"},
        {"tiny texts are not worth it", "N8 N8 N8 N8", 512, 9, 4, 10, "abcd", ""},
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
    add(0, WIRE_LANE_NORMAL, 1000, 4);
    TEST_STR_EQ(pick(1, 1099), "");
    TEST_EQ(batcher_deadline_us(&batcher, 1099), 1100);
    TEST_EQ(batcher_deadline_us(&batcher, 1100), 0);
    TEST_STR_EQ(pick(1, 1100), "a");
    TEST_ROW("a full batch does not wait");
    add(0, WIRE_LANE_NORMAL, 2000, 6);
    TEST_STR_EQ(pick(1, 2000), "");
    add(0, WIRE_LANE_NORMAL, 2001, 4);
    TEST_TRUE(batcher_full(&batcher));
    TEST_EQ(batcher_deadline_us(&batcher, 2001), 0);
    TEST_STR_EQ(pick(1, 2001), "bc");
    TEST_ROW("nor does HIGH");
    add(0, WIRE_LANE_HIGH, 3000, 4);
    TEST_STR_EQ(pick(1, 3000), "d");
    TEST_ROW("one model that waits does not hold up another that may go");
    add(0, WIRE_LANE_NORMAL, 4000, 4);
    add(1, WIRE_LANE_HIGH, 4001, 4);
    TEST_STR_EQ(pick(1, 4001), "f");
    TEST_STR_EQ(pick(1, 4001), "");
}

static void test_remove_and_promote(void **state) {
    (void)state;
    fresh(512, 9, 0);
    add_all("N5 H5 N5 H5 N5"); /* a b c d e */
    batcher_promote(&batcher, &entries[2]);
    batcher_promote(&batcher, &entries[2]); /* twice is once */
    batcher_promote(&batcher, &entries[4]);
    batcher_remove(&batcher, &entries[3]);
    TEST_EQ(batcher.n, 4);
    TEST_EQ(batcher.tokens[0], 20);
    TEST_STR_EQ(pick(1, 10), "bcea");
    TEST_EQ(batcher.n, 0);
    TEST_EQ(batcher.tokens[0], 0);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pick),
        cmocka_unit_test(test_set_tokens),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_remove_and_promote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
