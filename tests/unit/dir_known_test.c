/* dir_known_test.c - a directory that was read before is not read again, and one in which anything
 * changed is. */
#include "model/dir.h"

#include "base/clock.h"
#include "base/hash.h"
#include "model/dir_parts.h"
#include "support/golden.h"

#include <time.h>

static struct golden_dir work, cache;

static int setup(void **state) {
    (void)state;
    golden_make(&work);
    golden_make(&cache);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_remove(&work);
    golden_remove(&cache);
    return 0;
}

enum { SETTLED_US = 120 * 1000 }; /* files younger than 50 ms are not remembered */

static void lay_out(const char *model) {
    golden_empty(work.path, false);
    golden_empty(cache.path, false);
    golden_copy_tree(&work, model, "");
    usleep(SETTLED_US);
}

static struct model_dir *open_known(const char *with) {
    struct model_dir *dir = NULL;
    struct err err = {0};
    if (model_dir_open_known(work.path, with, &dir, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return dir;
}

/* Opens it; looks at whether it was known, and that nothing but that differs. */
static void expect(bool known) {
    struct model_dir *dir = open_known(cache.path), *fresh = open_known(NULL);
    TEST_EQ(dir->known, known);
    TEST_EQ(weights_have_values(dir->weights), !known);
    TEST_MEM_EQ(dir->fingerprint, fresh->fingerprint, sizeof fresh->fingerprint);
    TEST_MEM_EQ(dir->files_sha256, fresh->files_sha256, sizeof fresh->files_sha256);
    TEST_STR_EQ(dir->fingerprint8, fresh->fingerprint8);
    TEST_EQ(dir->shape.head, fresh->shape.head);
    TEST_EQ(dir->shape.classes, fresh->shape.classes);
    TEST_EQ(dir->shape.inner, fresh->shape.inner);
    TEST_EQ(dir->shape.vocab_rows, fresh->shape.vocab_rows);
    for (uint32_t i = 0; i < fresh->shape.classes; i++)
        TEST_STR_EQ(dir->labels[i], fresh->labels[i]);
    TEST_EQ(weights_count(dir->weights), weights_count(fresh->weights));
    for (uint32_t i = 0; i < weights_count(fresh->weights); i++) {
        const struct tensor *a = weights_at(dir->weights, i), *b = weights_at(fresh->weights, i);
        TEST_STR_EQ(a->name, b->name);
        TEST_EQ(a->type, b->type);
        TEST_EQ(a->rank, b->rank);
        TEST_MEM_EQ(a->shape, b->shape, a->rank * sizeof *a->shape);
    }
    model_dir_close(&dir);
    model_dir_close(&fresh);
}

static void test_known(void **state) {
    (void)state;
    static const char *const models[] = {"formats/base", "bert-mean/f32", "cls-head/softmax",
                                         "distilbert/hf"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        TEST_ROW(models[i]);
        lay_out(models[i]);
        expect(false);
        expect(true);
        expect(true);
    }
}

/* The rows of dir_test.c's fingerprint, and files that would be read instead. */
static void test_changes(void **state) {
    (void)state;
    static const struct {
        const char *file;
        bool known; /* still */
    } rows[] = {
        {"config.json", false},
        {"modules.json", false},
        {"1_Pooling/config.json", false},
        {"sentence_bert_config.json", false},
        {"tokenizer_config.json", false},
        {"vocab.txt", false},
        {"tokenizer.json", false}, /* these are not in the base: to be there is a change */
        {"special_tokens_map.json", false},
        {"label_mapping.json", false},
        {"ember_zero_shot.json", false},
        {"pytorch_model.bin", false}, /* not read, but nobody would know */
        {"README.md", true},
        {"config_sentence_transformers.json", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].file);
        lay_out("formats/base");
        expect(false);
        expect(true);
        char path[256], *text;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/%s", work.path, rows[i].file);
        text = access(path, F_OK) == 0 ? golden_read(path, &bytes) : strdup("{}");
        bytes = strlen(text);
        text[bytes] = '\n'; /* in place of the NUL */
        golden_write(&work, rows[i].file, text, bytes + 1);
        free(text);
        expect(rows[i].known);
        usleep(SETTLED_US);
        struct model_dir *dir = open_known(cache.path); /* too young before, or known already */
        model_dir_close(&dir);
        expect(true);
    }
}

/* What was written a moment ago may be written again in the same tick of the clock: it is not
 * remembered. Tried until the machine is quick enough to be judged. */
static void test_young(void **state) {
    (void)state;
    enum { TRIES = 50, YOUNG_US = 40 * 1000 };
    for (int i = 0; i < TRIES; i++) {
        lay_out("formats/base");
        const uint64_t from_us = clock_us();
        golden_copy(&work, GOLDEN_DIR "/formats/base/vocab.txt", "vocab.txt");
        struct model_dir *dir = open_known(cache.path);
        const bool quick = clock_us() - from_us < YOUNG_US;
        model_dir_close(&dir);
        dir = open_known(cache.path);
        const bool known = dir->known;
        model_dir_close(&dir);
        if (!quick)
            continue;
        TEST_TRUE(!known);
        return;
    }
    skip();
}

/* Writes over what stands behind `key` in a stamp, and makes its sum right again. */
static void forge(const char *stamp, const char *key, const char *with) {
    size_t bytes;
    char *text = golden_read(stamp, &bytes), *at = strstr(text, key);
    TEST_TRUE(at != NULL);
    memcpy(at + strlen(key), with, strlen(with));
    const size_t n = bytes - 21; /* "sum ", 16 digits, end of line */
    snprintf(text + n, 22, "sum %016llx\n", (unsigned long long)hash_bytes(text, n, 0));
    FILE *f = fopen(stamp, "we");
    TEST_TRUE(f && fwrite(text, 1, bytes, f) == bytes);
    fclose(f);
    free(text);
}

/* Damaged, of another place, or not to be trusted: as if there were none. */
static void test_bad_stamps(void **state) {
    (void)state;
    lay_out("formats/base");
    expect(false);
    expect(true);
    DIR *dir = opendir(cache.path);
    char stamp[512] = "";
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strstr(entry->d_name, ".stamp"))
            snprintf(stamp, sizeof stamp, "%s/%s", cache.path, entry->d_name);
    closedir(dir);
    TEST_ROW("others may write it");
    TEST_EQ(chmod(stamp, 0666), 0);
    expect(false);
    expect(true); /* a new one took its place */
    TEST_ROW("what a fingerprint covers was another");
    forge(stamp, "scheme ", "0123");
    expect(false);
    expect(true);
    TEST_ROW("of another directory");
    forge(stamp, "dir /tmp/ember-golden-", "!");
    expect(false);
    expect(true);
    TEST_ROW("cut");
    TEST_EQ(truncate(stamp, 100), 0);
    expect(false);
    expect(true);
    TEST_ROW("empty");
    TEST_EQ(truncate(stamp, 0), 0);
    expect(false);
    TEST_ROW("the directory is not ours alone");
    TEST_EQ(chmod(cache.path, 0777), 0);
    expect(false);
    TEST_EQ(chmod(cache.path, 0700), 0);
    expect(true);
}

static void test_need_weights(void **state) {
    (void)state;
    lay_out("formats/base");
    expect(false);
    struct model_dir *dir = open_known(cache.path);
    struct err err = {0};
    float out[16];
    static const char name[] = "embeddings.LayerNorm.weight";
    TEST_TRUE(dir->known);
    TEST_EQ(weights_read(dir->weights, name, 1, 16, NULL, NULL), STATUS_OK);
    TEST_EQ(weights_read(dir->weights, name, 1, 16, out, NULL), STATUS_FAILED_PRECONDITION);
    TEST_EQ(model_dir_need_weights(dir, cache.path, &err), STATUS_OK);
    TEST_EQ(weights_read(dir->weights, name, 1, 16, out, &err), STATUS_OK);
    TEST_EQ(model_dir_need_weights(dir, cache.path, &err), STATUS_OK); /* nothing more to do */
    model_dir_close(&dir);

    TEST_ROW("changed between what was remembered and what is read");
    dir = open_known(cache.path);
    TEST_TRUE(dir->known);
    golden_copy(&work, GOLDEN_DIR "/formats/base/model.safetensors", "model.safetensors");
    TEST_EQ(model_dir_need_weights(dir, cache.path, &err), STATUS_ABORTED);
    TEST_HAS(err.text, work.path);
    model_dir_close(&dir);
}

/* A link on the path is followed once: what it is turned to later is another directory. */
static void test_link(void **state) {
    (void)state;
    golden_empty(work.path, false);
    golden_empty(cache.path, false);
    struct golden_dir one, two;
    snprintf(one.path, sizeof one.path, "%.100s/one", work.path);
    snprintf(two.path, sizeof two.path, "%.100s/two", work.path);
    TEST_EQ(mkdir(one.path, 0700), 0);
    TEST_EQ(mkdir(two.path, 0700), 0);
    golden_copy_tree(&one, "formats/base", "");
    golden_copy_tree(&two, "bert-mean/f32", "");
    char link[256];
    struct err err = {0};
    struct model_dir *dir = NULL;
    snprintf(link, sizeof link, "%s/current", work.path);
    usleep(SETTLED_US);
    for (int known = 0; known < 2; known++) {
        TEST_EQ(symlink("one", link), 0);
        TEST_EQ(model_dir_open_known(link, cache.path, &dir, &err), STATUS_OK);
        TEST_EQ(dir->known, known == 1);
        TEST_STR_EQ(dir->path, one.path);
        TEST_EQ(unlink(link), 0);
        TEST_EQ(symlink("two", link), 0);
        TEST_EQ(model_dir_need_weights(dir, cache.path, &err), STATUS_OK);
        TEST_TRUE(weights_have_values(dir->weights));
        model_dir_close(&dir);
        TEST_EQ(unlink(link), 0);
    }
}

static enum status hash_nothing(struct dir_reading *r, struct err *err) {
    (void)r, (void)err;
    return STATUS_OK;
}

/* Weights that were replaced after they were opened: what was hashed is no longer what the name
 * stands for, however old and quiet the new file is. */
static void test_replaced(void **state) {
    (void)state;
    static struct dir_reading r = {.pooling = "1_Pooling"};
    for (int replaced = 1; replaced >= 0; replaced--) {
        lay_out("formats/base");
        golden_copy(&work, GOLDEN_DIR "/formats/base/model.safetensors", "new");
        struct store store = {-1};
        struct err err = {0};
        struct timespec now;
        char from[256], to[256];
        TEST_EQ(model_dir_open(work.path, &r.dir, &err), STATUS_OK);
        snprintf(from, sizeof from, "%s/new", work.path);
        snprintf(to, sizeof to, "%s/model.safetensors", work.path);
        if (replaced)
            TEST_EQ(rename(from, to), 0);
        usleep(SETTLED_US);
        clock_gettime(CLOCK_REALTIME, &now);
        TEST_EQ(store_open(cache.path, &store, &err), STATUS_OK);
        TEST_EQ(dir_hash_and_remember(&r, &store, hash_nothing,
                                      (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, &err),
                STATUS_OK);
        store_close(&store);
        model_dir_close(&r.dir);
        expect(!replaced);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_young),        cmocka_unit_test(test_bad_stamps),
        cmocka_unit_test(test_need_weights), cmocka_unit_test(test_link),
        cmocka_unit_test(test_replaced)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
