/* engine_weights_test.c - an engine over weights from the cache gives the same bits as one that
 * prepared its own, in every precision; nothing that fails on the way to the cache fails the
 * engine, and running it allocates nothing. */
#include "engine/engine_weights.h"

#include "support/allocations.h"
#include "support/golden.h"

static struct golden_dir cache;

static int setup(void **state) {
    (void)state;
    golden_make(&cache);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_remove(&cache);
    return 0;
}

enum { ITEMS = 3, OUT_MAX = 128 };

struct asked {
    unsigned preparations;
    size_t bytes;
};

static void on_preparing(void *arg, const char *dir, size_t bytes) {
    struct asked *asked = arg;
    TEST_HAS(dir, GOLDEN_DIR);
    asked->preparations++;
    asked->bytes = bytes;
}

static void run(const engine_t *engine, engine_seat_t *seat, float out[ITEMS][OUT_MAX]) {
    static const char *const texts[ITEMS] = {"hello", "", "the weather is fine today"};
    struct engine_item items[ITEMS];
    for (uint32_t i = 0; i < ITEMS; i++)
        items[i] = (struct engine_item){.text = view_of(texts[i]), .out = out[i]};
    allocations = 0;
    counting = true;
    engine_run(engine, seat, items, ITEMS, NULL);
    counting = false;
    TEST_EQ(allocations, 0);
    for (uint32_t i = 0; i < ITEMS; i++)
        TEST_EQ(items[i].status, STATUS_OK);
}

/* Opens, looks at where the weights are, and gives the answers. */
static void answers(const char *dir, enum engine_precision precision, const char *kernel,
                    const char *with, bool made, float out[ITEMS][OUT_MAX]) {
    struct asked asked = {0};
    const struct engine_options options = {.precision = precision,
                                           .kernel = kernel,
                                           .weights_cache = with,
                                           .preparing = on_preparing,
                                           .preparing_arg = &asked};
    engine_t *engine = NULL;
    engine_seat_t *seat = NULL;
    struct err err;
    if (engine_open(dir, &options, &engine, &err) != STATUS_OK ||
        engine_seat_new(engine, 64, ITEMS, &seat, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    const struct engine_info *info = engine_info(engine);
    TEST_TRUE(info->dim <= OUT_MAX);
    TEST_EQ(info->weights_shared, with != NULL);
    TEST_EQ(info->weights_made, made);
    TEST_STR_EQ(info->weights_note, "");
    TEST_EQ(asked.preparations, made);
    if (made)
        TEST_EQ(asked.bytes, info->weight_bytes);
    memset(out, 0, sizeof(float[ITEMS][OUT_MAX]));
    run(engine, seat, out);
    float again[ITEMS][OUT_MAX] = {0};
    engine_seat_trim(seat); /* what it gave back comes again */
    run(engine, seat, again);
    TEST_MEM_EQ(again, out, sizeof again);
    engine_seat_destroy(&seat);
    engine_destroy(&engine);
}

static void test_same_bits(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* one thread does it, and takes a minute */
#endif
    static const char *const models[] = {GOLDEN_DIR "/bert-mean/f32", GOLDEN_DIR "/nomic/hf",
                                         GOLDEN_DIR "/cls-head/softmax"};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (int p = 0; p < GEMM_PRECISIONS; p++)
            for (const struct gemm_kernel *const *k = gemm_list((enum gemm_precision)p); *k; k++) {
                if (!(*k)->usable())
                    continue;
                char row[300];
                float own[ITEMS][OUT_MAX], first[ITEMS][OUT_MAX], second[ITEMS][OUT_MAX];
                const enum engine_precision precision = (enum engine_precision)p;
                snprintf(row, sizeof row, "%s %s %s", models[m] + strlen(GOLDEN_DIR),
                         engine_precision_name(precision), (*k)->name);
                TEST_ROW(row);
                answers(models[m], precision, (*k)->name, NULL, true, own);
                answers(models[m], precision, (*k)->name, cache.path, true, first);
                answers(models[m], precision, (*k)->name, cache.path, false, second);
                TEST_MEM_EQ(first, own, sizeof own);
                TEST_MEM_EQ(second, own, sizeof own);
            }
}

/* With the cache every allocation is tried too: what fails there costs the sharing at most, what
 * fails elsewhere is an error, and nothing is left half open. */
static void test_no_memory(void **state) {
    (void)state;
    unsigned refusals = 0, private_ones = 0;
    for (int round = 0; round < 2; round++) { /* to be made, and there already */
        for (unsigned n = 1; n == 1 || allocations >= n - 1; n++) { /* until it is not reached */
            TEST_TRUE(n < 2000);
            engine_t *engine = NULL;
            struct err err = {0};
            if (round == 0)
                golden_empty(cache.path, false);
            allocations = 0;
            fail_at = n;
            counting = true;
            enum status st =
                engine_open(GOLDEN_DIR "/formats/base",
                            &(struct engine_options){.weights_cache = cache.path}, &engine, &err);
            counting = false;
            if (st != STATUS_OK && st != STATUS_RESOURCE_EXHAUSTED)
                TEST_FAIL("allocation %u: %s: %s", n, status_name(st), err.text);
            refusals += st != STATUS_OK;
            private_ones += st == STATUS_OK && !engine_info(engine)->weights_shared;
            engine_destroy(&engine);
        }
        fail_at = 0;
    }
    TEST_TRUE(refusals > 20);
    TEST_TRUE(private_ones > 0);
}

static void test_trouble(void **state) {
    (void)state;
    static const char *const places[] = {"/proc/ember", "/dev/null", "/tmp"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        TEST_ROW(places[i]);
        engine_t *engine = NULL;
        struct err err = {0};
        TEST_EQ(engine_open(GOLDEN_DIR "/formats/base",
                            &(struct engine_options){.weights_cache = places[i]}, &engine, &err),
                STATUS_OK);
        TEST_TRUE(!engine_info(engine)->weights_shared);
        TEST_HAS(engine_info(engine)->weights_note, places[i]);
        engine_destroy(&engine);
    }
}

enum { SETTLED_US = 120 * 1000 }; /* files younger than 50 ms are not remembered */

struct meddler {
    const struct golden_dir *model;
    unsigned calls, meddles;
    bool takes_stamp; /* else the weights are written over */
};

/* Runs when the directory was read and its weights were not prepared yet. */
static void meddle(void *arg, const char *dir, size_t bytes) {
    (void)dir, (void)bytes;
    struct meddler *self = arg;
    if (self->calls++ >= self->meddles)
        return;
    if (self->takes_stamp)
        golden_empty(cache.path, false);
    else
        golden_copy(self->model, GOLDEN_DIR "/formats/base/model.safetensors", "model.safetensors");
}

static enum status open_meddled(struct meddler *with, const char *where, struct err *err) {
    engine_t *engine = NULL;
    enum status st =
        engine_open(with->model->path,
                    &(struct engine_options){
                        .weights_cache = where, .preparing = meddle, .preparing_arg = with},
                    &engine, err);
    engine_destroy(&engine);
    return st;
}

static void take_images(void) {
    DIR *dir = opendir(cache.path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strstr(entry->d_name, ".weights"))
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

/* What changes while it is read is read once more, and only then an error. */
static void test_changing(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool known, takes_stamp;
        unsigned meddles, calls;
        enum status want;
    } rows[] = {
        {"quiet", false, false, 0, 1, STATUS_OK},
        {"written over once", false, false, 1, 2, STATUS_OK},
        {"written over again and again", false, false, 9, 2, STATUS_ABORTED},
        {"known and quiet", true, false, 0, 1, STATUS_OK},
        {"known, written over once", true, false, 1, 2, STATUS_OK},
        {"known, again and again", true, false, 9, 2, STATUS_ABORTED},
        {"known, its stamp is taken", true, true, 9, 2, STATUS_OK},
    };
    struct golden_dir model;
    golden_make(&model);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct err err = {0};
        struct meddler quiet = {.model = &model},
                       with = {&model, 0, rows[i].meddles, rows[i].takes_stamp};
        golden_empty(model.path, false);
        golden_empty(cache.path, false);
        golden_copy_tree(&model, "formats/base", "");
        usleep(SETTLED_US);
        if (rows[i].known)
            TEST_EQ(open_meddled(&quiet, cache.path, &err), STATUS_OK);
        take_images();
        TEST_EQ(open_meddled(&with, cache.path, &err), rows[i].want);
        TEST_EQ(with.calls, rows[i].calls);
        if (rows[i].want != STATUS_OK)
            TEST_HAS(err.text, model.path);
    }
    golden_remove(&model);
}

/* The message names the directory, once. */
static void test_names_directory(void **state) {
    (void)state;
    struct golden_dir model;
    golden_make(&model);
    golden_copy_tree(&model, "formats/base", "");
    golden_copy(&model, GOLDEN_DIR "/nomic/hf/model.safetensors", "model.safetensors");
    struct err err = {0};
    struct meddler quiet = {.model = &model};
    TEST_TRUE(open_meddled(&quiet, NULL, &err) != STATUS_OK);
    TEST_HAS(err.text, model.path);
    TEST_TRUE(!strstr(strstr(err.text, model.path) + 1, model.path));
    golden_remove(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trouble, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changing, setup, teardown),
        cmocka_unit_test(test_names_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
