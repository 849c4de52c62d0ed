/* stamp_test.c - a stamp read back says what was written; every altered bit is noticed; files that
 * changed, came or went are; files too young are not believed. */
#include "model/stamp.h"

#include "base/hash.h"
#include "support/golden.h"

#include <fcntl.h>
#include <time.h>

static struct golden_dir work;

static int setup(void **state) {
    (void)state;
    golden_make(&work);
    golden_write(&work, "config.json", "{}", 2);
    golden_write(&work, "model.safetensors", "weights", 7);
    golden_write(&work, "1_Pooling/config.json", "{}", 2);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_remove(&work);
    return 0;
}

static const char *const names[] = {"config.json", "vocab.txt", "1_Pooling/config.json",
                                    "model.safetensors"};
enum { N_FILES = sizeof names / sizeof *names };

static void make(struct stamp *out, struct stamp_file files[N_FILES]) {
    *out = (struct stamp){.scheme = 0x0123456789abcdef, .files = files, .n_files = N_FILES};
    snprintf(out->dir, sizeof out->dir, "%s", work.path);
    for (size_t i = 0; i < sizeof out->fingerprint; i++)
        out->fingerprint[i] = (uint8_t)(7 * i);
    for (size_t i = 0; i < N_FILES; i++)
        TEST_TRUE(stamp_look(work.path, names[i], &files[i]));
}

static weights_t *make_tensors(void) {
    weights_t *tensors = weights_new();
    const struct tensor table = {.type = WEIGHTS_BF16, .rank = 2, .shape = {30522, 384}};
    const struct tensor scalar = {.type = WEIGHTS_I64};
    TEST_TRUE(tensors != NULL);
    TEST_EQ(weights_add(tensors, view_of("words of a table"), &table, NULL), STATUS_OK);
    TEST_EQ(weights_add(tensors, view_of("a"), &scalar, NULL), STATUS_OK);
    TEST_EQ(weights_seal(tensors, NULL), STATUS_OK);
    return tensors;
}

static char *print(const struct stamp *stamp, size_t *bytes) {
    weights_t *tensors = make_tensors();
    char *text = NULL;
    struct err err;
    if (stamp_print(stamp, tensors, &text, bytes, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    weights_destroy(&tensors);
    return text;
}

static void test_round_trip(void **state) {
    (void)state;
    struct stamp_file files[N_FILES];
    struct stamp before, after;
    size_t bytes;
    make(&before, files);
    files[0].modified_ns = -5; /* before 1970 */
    char *text = print(&before, &bytes);
    TEST_EQ(stamp_parse(view_make(text, bytes), &after, NULL), STATUS_OK);
    TEST_TRUE(after.scheme == before.scheme);
    TEST_STR_EQ(after.dir, work.path);
    TEST_MEM_EQ(after.fingerprint, before.fingerprint, sizeof before.fingerprint);
    TEST_EQ(after.n_files, N_FILES);
    for (size_t i = 0; i < N_FILES; i++) {
        TEST_ROW(names[i]);
        TEST_STR_EQ(after.files[i].name, names[i]);
        TEST_EQ(after.files[i].there, strcmp(names[i], "vocab.txt") != 0);
        TEST_EQ(after.files[i].inode, files[i].inode);
        TEST_EQ(after.files[i].bytes, files[i].bytes);
        TEST_EQ(after.files[i].modified_ns, files[i].modified_ns);
        TEST_EQ(after.files[i].changed_ns, files[i].changed_ns);
    }
    TEST_EQ(weights_count(after.tensors), 2);
    const struct tensor *t = weights_find(after.tensors, "words of a table");
    TEST_TRUE(t && t->type == WEIGHTS_BF16 && t->rank == 2 && !t->data);
    TEST_EQ(t->shape[1], 384);
    TEST_TRUE(!weights_have_values(after.tensors));
    stamp_done(&after);
    stamp_done(&after);
    free(text);
}

static void test_damage(void **state) { /* every byte counts, every length too */
    (void)state;
    struct stamp_file files[N_FILES];
    struct stamp stamp;
    size_t bytes;
    make(&stamp, files);
    char *text = print(&stamp, &bytes);
    for (size_t i = 0; i < bytes; i++) {
        struct stamp out;
        TEST_EQ(stamp_parse(view_make(text, i), &out, NULL), STATUS_DATA_LOSS);
        text[i] ^= 4;
        TEST_EQ(stamp_parse(view_make(text, bytes), &out, NULL), STATUS_DATA_LOSS);
        text[i] ^= 4;
    }
    free(text);
}

/* The sum is right, but the lines are not. */
static void test_wrong_lines(void **state) {
    (void)state;
    static const char head[] = "ember-stamp 1\nscheme 0123456789abcdef\ndir /d\nfingerprint "
                               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    static const struct {
        const char *name, *lines;
        bool with_head, good;
    } rows[] = {
        {"nothing more", "", true, true},
        {"a file", "file 1 2 3 4 5 name with blanks\n", true, true},
        {"no head", "file 1 2 3 4 5 name\n", false, false},
        {"another version", "ember-stamp 2\nscheme 0123456789abcdef\ndir /d\n", false, false},
        {"a word we do not know", "link 1 2\n", true, false},
        {"no name", "file 1 2 3 4 5 \n", true, false},
        {"a number too few", "file 1 2 3 4 name\n", true, false},
        {"a number beyond 64 bits", "file 18446744073709551616 2 3 4 5 a\n", true, false},
        {"a name out of the directory", "none ../../etc/passwd\n", true, false},
        {"a name from the root", "none /etc/passwd\n", true, false},
        {"a name that goes back", "none a/../../b\n", true, false},
        {"a tensor", "tensor f32 1 384 a.bias\n", true, true},
        {"a tensor of many dimensions", "tensor f32 9 1 1 1 1 1 1 1 1 1 a\n", true, false},
        {"a tensor of no type", "tensor f31 1 384 a\n", true, false},
        {"a tensor twice", "tensor f32 1 384 a\ntensor f32 1 384 a\n", true, false},
        {"an empty line", "\n", true, false},
        {"no end of line", "none a", true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char text[1024];
        struct stamp out;
        int n = snprintf(text, sizeof text, "%s%s", rows[i].with_head ? head : "", rows[i].lines);
        n += snprintf(text + n, sizeof text - (size_t)n, "sum %016llx\n",
                      (unsigned long long)hash_bytes(text, (size_t)n, 0));
        enum status st = stamp_parse(view_make(text, (size_t)n), &out, NULL);
        TEST_EQ(st, rows[i].good ? STATUS_OK : STATUS_DATA_LOSS);
        stamp_done(&out);
    }
}

static void touch(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", work.path, name);
    const struct timespec t = {.tv_sec = 1000000000, .tv_nsec = 1};
    TEST_EQ(utimensat(AT_FDCWD, path, (const struct timespec[]){t, t}, 0), 0);
}

static void change_size(void) {
    golden_write(&work, "model.safetensors", "weights!", 8);
}

static void change_time(void) {
    touch("model.safetensors");
}

static void replace_alike(void) { /* same size, same time: another inode */
    char from[256], to[256];
    golden_write(&work, "other", "WEIGHTS", 7);
    snprintf(from, sizeof from, "%s/other", work.path);
    snprintf(to, sizeof to, "%s/model.safetensors", work.path);
    struct stat info;
    TEST_EQ(stat(to, &info), 0);
    TEST_EQ(utimensat(AT_FDCWD, from, (const struct timespec[]){info.st_atim, info.st_mtim}, 0), 0);
    TEST_EQ(rename(from, to), 0);
}

static void add_file(void) {
    golden_write(&work, "vocab.txt", "a\n", 2);
}

static void remove_file(void) {
    char path[256];
    snprintf(path, sizeof path, "%s/1_Pooling/config.json", work.path);
    TEST_EQ(unlink(path), 0);
}

static void change_nothing(void) {
}

static void test_holds(void **state) {
    (void)state;
    static const struct {
        const char *name;
        void (*change)(void);
        bool holds;
    } rows[] = {
        {"nothing changed", change_nothing, true},
        {"another size", change_size, false},
        {"another time", change_time, false},
        {"another file of the same size and time", replace_alike, false},
        {"a file more", add_file, false},
        {"a file less", remove_file, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        teardown(NULL);
        setup(NULL);
        struct stamp_file files[N_FILES];
        struct stamp stamp;
        make(&stamp, files);
        rows[i].change();
        TEST_EQ(stamp_holds(&stamp), rows[i].holds);
    }
    struct stamp_file files[N_FILES]; /* each field alone */
    struct stamp stamp;
    make(&stamp, files);
    struct stamp_file *file = &files[3];
    const struct stamp_file before = *file;
    for (int i = 0; i < 6; i++) {
        static const char *const fields[] = {"there", "device", "inode", "bytes", "mtime", "ctime"};
        TEST_ROW(fields[i]);
        *file = before;
        file->there ^= i == 0;
        file->device += i == 1;
        file->inode += i == 2;
        file->bytes += i == 3;
        file->modified_ns += i == 4;
        file->changed_ns += i == 5;
        TEST_TRUE(!stamp_holds(&stamp));
    }
    TEST_TRUE(!stamp_holds(&(struct stamp){0})); /* knowing nothing is no knowledge */
}

static void test_settled(void **state) {
    (void)state;
    enum { MS = 1000 * 1000 };
    const int64_t now = INT64_C(1763655437) * 1000 * MS;
    const struct {
        const char *name;
        int64_t changed_ns;
        bool there, settled;
    } rows[] = {
        {"a minute old", now - INT64_C(60) * 1000 * MS + 1, true, true},
        {"100 ms old", now - 100 * MS + 1, true, true},
        {"40 ms old", now - 40 * MS + 1, true, false},
        {"just now", now, true, false},
        {"of the future", now + 5, true, false},
        {"whole seconds, one old", now - INT64_C(1000) * MS, true, false},
        {"whole seconds, three old", now - INT64_C(3000) * MS, true, true},
        {"absent", 0, false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct stamp_file files[2] = {
            {.there = true, .changed_ns = 1},
            {.there = rows[i].there, .changed_ns = rows[i].changed_ns}};
        TEST_EQ(stamp_settled(files, 2, now), rows[i].settled);
    }
}

static void test_print_refuses(void **state) {
    (void)state;
    struct stamp_file file = {.name = "a\nb"};
    struct stamp stamp = {.files = &file, .n_files = 1, .dir = "/d"};
    weights_t *none = weights_new();
    char *text = NULL;
    size_t bytes;
    TEST_EQ(stamp_print(&stamp, none, &text, &bytes, NULL), STATUS_OUT_OF_RANGE);
    TEST_TRUE(!text);
    weights_destroy(&none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test_setup_teardown(test_holds, setup, teardown),
        cmocka_unit_test(test_settled),
        cmocka_unit_test(test_print_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
