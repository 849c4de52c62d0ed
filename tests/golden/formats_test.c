/* formats_test.c - every way to write a model that must load does, with the numbers of the
 * original; every damaged or booby-trapped one is refused for the stated reason, by a message
 * that names the file, in 1 s and 64 MiB. What the tokenizer refuses (voc-, tok-) is tested
 * with it; vectors are compared with the engine. */
#include "base/clock.h"
#include "model/dir.h"
#include "support/golden.h"

#include <sys/resource.h>

static struct golden_dir work;
static weights_t *base; /* formats/base */

#ifdef EMBER_SANITIZED
enum { MEASURES_MEMORY = 0 }; /* the sanitizer's own memory would be measured */
#else
enum { MEASURES_MEMORY = 1 };
#endif

/* ---- what a loader of this network does with the tensors ------------------------------------- */

struct want {
    char name[128];
    uint64_t rows, cols;
};

static uint32_t list_tensors(const struct model_shape *s, const char *prefix, struct want *out) {
    static const struct {
        const char *name;
        char rows, cols; /* sizes by letter */
    } table[] = {
        {"embeddings.word_embeddings.weight", 'V', 'H'},
        {"embeddings.position_embeddings.weight", 'P', 'H'},
        {"embeddings.token_type_embeddings.weight", 'T', 'H'},
        {"embeddings.LayerNorm.weight", '1', 'H'},
        {"embeddings.LayerNorm.bias", '1', 'H'},
        {"encoder.layer.%u.attention.self.query.weight", 'H', 'H'},
        {"encoder.layer.%u.attention.self.query.bias", '1', 'H'},
        {"encoder.layer.%u.attention.self.key.weight", 'H', 'H'},
        {"encoder.layer.%u.attention.self.key.bias", '1', 'H'},
        {"encoder.layer.%u.attention.self.value.weight", 'H', 'H'},
        {"encoder.layer.%u.attention.self.value.bias", '1', 'H'},
        {"encoder.layer.%u.attention.output.dense.weight", 'H', 'H'},
        {"encoder.layer.%u.attention.output.dense.bias", '1', 'H'},
        {"encoder.layer.%u.attention.output.LayerNorm.weight", '1', 'H'},
        {"encoder.layer.%u.attention.output.LayerNorm.bias", '1', 'H'},
        {"encoder.layer.%u.intermediate.dense.weight", 'I', 'H'},
        {"encoder.layer.%u.intermediate.dense.bias", '1', 'I'},
        {"encoder.layer.%u.output.dense.weight", 'H', 'I'},
        {"encoder.layer.%u.output.dense.bias", '1', 'H'},
        {"encoder.layer.%u.output.LayerNorm.weight", '1', 'H'},
        {"encoder.layer.%u.output.LayerNorm.bias", '1', 'H'},
    };
    uint32_t n = 0, plain = 5, rows = sizeof table / sizeof *table;
    for (uint32_t l = 0; l <= s->layers; l++)
        for (uint32_t i = l ? plain : 0; i < (l ? rows : plain); i++) {
            const char letters[] = {table[i].rows, table[i].cols};
            uint64_t sizes[2];
            for (int k = 0; k < 2; k++)
                sizes[k] = letters[k] == 'V'   ? s->vocab_rows
                           : letters[k] == 'P' ? s->positions
                           : letters[k] == 'T' ? s->types
                           : letters[k] == 'H' ? s->hidden
                           : letters[k] == 'I' ? s->inner
                                               : 1;
            struct want *w = &out[n++];
            const char *layer = strstr(table[i].name, "%u");
            if (layer)
                snprintf(w->name, sizeof w->name, "%s%.*s%u%s", prefix,
                         (int)(layer - table[i].name), table[i].name, l - 1, layer + 2);
            else
                snprintf(w->name, sizeof w->name, "%s%s", prefix, table[i].name);
            w->rows = sizes[0];
            w->cols = sizes[1];
        }
    return n;
}

/* Old names of the same thing. */
static void old_name(const char *name, char *out, size_t out_bytes) {
    const char *norm = strstr(name, "LayerNorm.");
    if (norm && strcmp(norm, "LayerNorm.weight") == 0)
        snprintf(out, out_bytes, "%.*sLayerNorm.gamma", (int)(norm - name), name);
    else if (norm && strcmp(norm, "LayerNorm.bias") == 0)
        snprintf(out, out_bytes, "%.*sLayerNorm.beta", (int)(norm - name), name);
    else
        snprintf(out, out_bytes, "%.150s", name);
}

/* Largest part of a number that rounding to its type may cost. */
static double rounding(enum weights_type type) {
    return type == WEIGHTS_F16 ? 0x1p-11 : type == WEIGHTS_BF16 ? 0x1p-8 : 0;
}

/* Read one tensor, shape first, then values; compare with the original when `compare`. */
static enum status read_one(const weights_t *weights, const struct want *w, const char *plain,
                            bool compare, struct err *err) {
    char name[160];
    snprintf(name, sizeof name, "%.150s", w->name);
    if (!weights_find(weights, name))
        old_name(w->name, name, sizeof name);
    if (!weights_find(weights, name))
        snprintf(name, sizeof name, "%.150s", w->name); /* the message shall name the usual one */
    enum status st = weights_read(weights, name, w->rows, w->cols, NULL, err);
    if (st != STATUS_OK)
        return st;
    size_t n = (size_t)(w->rows * w->cols);
    float *got = malloc(n * sizeof *got), *want = malloc(n * sizeof *want);
    TEST_TRUE(got && want);
    st = weights_read(weights, name, w->rows, w->cols, got, err);
    if (st == STATUS_OK && compare) {
        TEST_EQ(weights_read(base, plain, w->rows, w->cols, want, NULL), STATUS_OK);
        double part = rounding(weights_find(weights, name)->type);
        for (size_t i = 0; i < n; i++)
            if (fabs((double)got[i] - (double)want[i]) > part * fabs((double)want[i]) + part * 1e-4)
                TEST_FAIL("%s[%zu]: %.9g, want %.9g", name, i, (double)got[i], (double)want[i]);
    }
    free(got);
    free(want);
    return st;
}

/* Open the directory and read all that an engine would. */
static enum status load(bool compare, struct err *err) {
    struct model_dir *dir = NULL;
    enum status st = model_dir_open(work.path, &dir, err);
    if (st != STATUS_OK)
        return st;
    static struct want wants[4096];
    bool prefixed = weights_find(dir->weights, "bert.embeddings.word_embeddings.weight") != NULL;
    uint32_t n = list_tensors(&dir->shape, prefixed ? "bert." : "", wants);
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++)
        st = read_one(dir->weights, &wants[i], wants[i].name + (prefixed ? 5 : 0), compare, err);
    if (st == STATUS_OK && compare) {
        TEST_EQ(dir->shape.max_tokens, 32);
        TEST_EQ(dir->shape.pooling, MODEL_POOL_MEAN);
        TEST_EQ(dir->shape.act, MODEL_GELU);
        TEST_NEAR(dir->shape.eps, 1e-12, 1e-18);
    }
    model_dir_close(&dir);
    return st;
}

/* ---- formats --------------------------------------------------------------------------------- */

static void check_format(const json_t *row, void *arg) {
    uint32_t *loaded = arg;
    const char *level = json_text(json_get(row, "level"));
    TEST_ROW(json_text(json_get(row, "id")));
    golden_lay_out(&work, "formats", row);
    struct err err = {0};
    enum status st = load(true, &err);
    *loaded += st == STATUS_OK;
    if (st != STATUS_OK && (strcmp(level, "may") != 0 || st != STATUS_UNIMPLEMENTED))
        TEST_FAIL("%s: %s", status_name(st), err.text);
    if (st != STATUS_OK)
        TEST_HAS(err.text, work.path);
}

static void test_formats(void **state) {
    (void)state;
    uint32_t loaded = 0;
    uint32_t n = golden_each("formats/index.jsonl", check_format, &loaded);
    TEST_ROW("all");
    TEST_EQ(n, 27);
    TEST_TRUE(loaded >= 25);
}

/* ---- corrupt --------------------------------------------------------------------------------- */

static bool class_allows(const char *class, enum status st) {
    if (strcmp(class, "ok") == 0)
        return st == STATUS_OK;
    if (strcmp(class, "io") == 0)
        return st == STATUS_NOT_FOUND || st == STATUS_UNAVAILABLE;
    if (strcmp(class, "missing") == 0)
        return st == STATUS_NOT_FOUND || st == STATUS_DATA_LOSS;
    if (strcmp(class, "limit") == 0)
        return st == STATUS_RESOURCE_EXHAUSTED;
    if (strcmp(class, "unsupported") == 0)
        return st == STATUS_UNIMPLEMENTED;
    if (strcmp(class, "unsafe") == 0)
        return st == STATUS_PERMISSION_DENIED;
    return st == STATUS_DATA_LOSS; /* truncated, format, range, shape, value */
}

static bool row_allows(const json_t *row, enum status st) {
    bool ok = class_allows(json_text(json_get(row, "class")), st);
    for (const json_t *m = json_first(json_get(row, "also")); m; m = json_next(m))
        ok |= class_allows(json_text(m), st);
    return ok;
}

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void check_corrupt(const json_t *row, void *arg) {
    uint32_t *refused = arg;
    const char *id = json_text(json_get(row, "id"));
    TEST_ROW(id);
    if (strncmp(id, "voc-", 4) == 0 || strncmp(id, "tok-", 4) == 0)
        return;
    golden_lay_out(&work, "corrupt", row);
    const char *trap = json_text(json_get(row, "must_not_create"));
    if (trap)
        unlink(trap);
    struct err err = {0};
    uint64_t begin_us = clock_us();
    enum status st = load(false, &err);
    uint64_t took_us = clock_us() - begin_us;
    if (!row_allows(row, st))
        TEST_FAIL("%s: %s", status_name(st), err.text);
    if (st != STATUS_OK)
        TEST_HAS(err.text, work.path);
    TEST_TRUE(took_us < 1000000);
    TEST_TRUE(!trap || access(trap, F_OK) != 0);
    *refused += st != STATUS_OK;
}

static void test_corrupt(void **state) {
    (void)state;
    uint32_t refused = 0;
    long before = peak_kib();
    uint32_t n = golden_each("corrupt/index.jsonl", check_corrupt, &refused);
    TEST_ROW("all");
    TEST_TRUE(n > 100);
    TEST_TRUE(refused >= 95);
    if (MEASURES_MEMORY)
        TEST_TRUE(peak_kib() - before < 64 * 1024);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_corrupt),
    };
    if (weights_open(GOLDEN_DIR "/formats/base", &base, NULL) != STATUS_OK)
        return 1;
    golden_make(&work);
    if (chdir(work.path) != 0) /* where an attack would leave its file */
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    golden_remove(&work);
    weights_destroy(&base);
    return failed;
}
