/* prepared_test.c - prepared weights are found again, by others too; whatever is wrong with file or
 * directory costs the file and never the weights. */
#include "model/prepared.h"

#include "model/store.h"
#include "support/golden.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

enum { IMAGE_BYTES = 300 * 1000 + 7 }; /* more than a chunk, and no multiple of anything */

static struct golden_dir work;
static struct model_shape shape;
static struct prepared_key key;
static char name[STORE_NAME_MAX];

static int setup(void **state) {
    (void)state;
    golden_make(&work);
    shape = (struct model_shape){.layers = 2, .hidden = 32, .heads = 4, .eps = 1e-12f};
    key = (struct prepared_key){.fingerprint = {1, 2, 3},
                                .shape = &shape,
                                .kernel = gemm_by_name(GEMM_F32, "portable"),
                                .layout = 1,
                                .bytes = IMAGE_BYTES};
    prepared_name(&key, name, sizeof name);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_remove(&work);
    return 0;
}

struct maker {
    unsigned calls, delay_us;
    enum status fails;
};

static char byte_at(size_t i) {
    return (char)(i * 31 + (i >> 8));
}

static enum status make(void *arg, void *image, struct err *err) {
    struct maker *maker = arg;
    char *out = image;
    maker->calls++;
    usleep(maker->delay_us);
    if (maker->fails != STATUS_OK)
        return err_set(err, maker->fails, "no weights");
    for (size_t i = 0; i < key.bytes; i++) {
        TEST_EQ(out[i], 0);
        out[i] = byte_at(i);
    }
    return STATUS_OK;
}

static unsigned open_files(void) {
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* Gets the weights and looks at every byte of them. */
static void get(const char *cache, bool shared, bool made, const char *note) {
    struct maker maker = {0};
    struct prepared prepared;
    struct err err;
    const unsigned files = open_files();
    if (prepared_get(cache, &key, make, &maker, &prepared, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    TEST_EQ(open_files(), files); /* the lock, too, is given back */
    TEST_EQ(maker.calls, made);
    TEST_EQ(prepared.made, made);
    TEST_EQ(prepared.shared, shared);
    TEST_EQ(prepared.bytes, IMAGE_BYTES);
    TEST_EQ((uintptr_t)prepared.image % 64, 0);
    for (size_t i = 0; i < IMAGE_BYTES; i++)
        if (((const char *)prepared.image)[i] != byte_at(i))
            TEST_FAIL("byte %zu is another", i);
    if (note)
        TEST_HAS(prepared.note, note);
    else
        TEST_STR_EQ(prepared.note, "");
    prepared_done(&prepared);
    prepared_done(&prepared);
}

static void path_of(const char *file, char out[256]) {
    snprintf(out, 256, "%s/%s", work.path, file);
}

static void test_found_again(void **state) {
    (void)state;
    get(NULL, false, true, NULL);
    get(work.path, true, true, NULL);
    get(work.path, true, false, NULL);
    char path[256];
    path_of(name, path);
    struct stat info;
    TEST_EQ(stat(path, &info), 0);
    TEST_EQ(info.st_size, PREPARED_HEADER_BYTES + IMAGE_BYTES);
}

/* Anything else in the key is another file, or refuses the one that is there. */
static void test_key(void **state) {
    (void)state;
    get(work.path, true, true, NULL);
    static const struct gemm_kernel *kernel;
    struct gemm_kernel newer;
    kernel = key.kernel;
    newer = *kernel;
    newer.layout++;
    const char *row[] = {"fingerprint, the part in the name",
                         "fingerprint, the rest",
                         "layout of the kernel",
                         "layout of the image",
                         "a size of the shape",
                         "a number of the shape",
                         "bytes",
                         "layout of the head's kernel"};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        TEST_ROW(row[i]);
        struct maker maker = {0};
        struct prepared prepared;
        const struct prepared_key before = key;
        const struct model_shape shape_before = shape;
        key.fingerprint[0] ^= i == 0;
        key.fingerprint[31] ^= i == 1;
        key.kernel = i == 2 ? &newer : kernel;
        key.layout += i == 3;
        shape.inner += i == 4;
        shape.eps = i == 5 ? 1e-5f : shape.eps;
        key.bytes -= i == 6;
        key.head_layout += i == 7;
        TEST_EQ(prepared_get(work.path, &key, make, &maker, &prepared, NULL), STATUS_OK);
        TEST_EQ(maker.calls, 1);
        TEST_TRUE(prepared.shared);
        TEST_EQ(prepared.note[0] != 0, i > 0); /* something was in its place */
        prepared_done(&prepared);
        key = before;
        shape = shape_before;
        get(work.path, true, i > 0, i > 0 ? "made for another" : NULL);
    }
}

static void damage(const char *file, long at, const char *with) {
    char path[256];
    path_of(file, path);
    FILE *f = fopen(path, "r+e");
    TEST_TRUE(f && fseek(f, at, at < 0 ? SEEK_END : SEEK_SET) == 0);
    TEST_TRUE(fwrite(with, 1, strlen(with), f) == strlen(with));
    fclose(f);
}

static void test_damage(void **state) {
    (void)state;
    char path[256];
    path_of(name, path);
    static const struct {
        const char *name;
        long at;          /* where to write over; negative: from the end */
        long cut;         /* or bytes to leave; -1 */
        const char *note; /* what is said of it */
    } rows[] = {
        {"magic", 0, -1, "header is damaged"},
        {"version", 16, -1, "header is damaged"},
        {"sum of the image", 32, -1, "header is damaged"},
        {"fingerprint", 50, -1, "header is damaged"},
        {"reserved", 4000, -1, "header is damaged"},
        {"first byte", 4096, -1, "weights are damaged"},
        {"last byte", -1, -1, "weights are damaged"},
        {"empty", 0, 0, "header is cut"},
        {"half a header", 0, 2000, "header is cut"},
        {"half an image", 0, 100000, "wanted are"},
        {"a byte less", 0, PREPARED_HEADER_BYTES + IMAGE_BYTES - 1, "wanted are"},
        {"a byte more", 0, PREPARED_HEADER_BYTES + IMAGE_BYTES + 1, "wanted are"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        unlink(path);
        get(work.path, true, true, NULL);
        if (rows[i].cut >= 0)
            TEST_EQ(truncate(path, rows[i].cut), 0);
        else
            damage(name, rows[i].at, "!");
        get(work.path, true, true, rows[i].note);
        get(work.path, true, false, NULL); /* and so it was mended */
    }
}

static void test_places(void **state) {
    (void)state;
    char path[256], other[256];
    TEST_ROW("a directory that cannot be made");
    get("/proc/ember", false, true, "/proc/ember");
    TEST_ROW("a file in place of the directory");
    get("/dev/null", false, true, "/dev/null");
    TEST_ROW("the world may write");
    TEST_EQ(chmod(work.path, 0777), 0);
    get(work.path, false, true, "nobody else may write");
    TEST_EQ(chmod(work.path, 0700), 0);

    TEST_ROW("a link in place of the file"); /* made anew, and what it led to is left alone */
    get(work.path, true, true, NULL);
    path_of(name, path);
    path_of("elsewhere", other);
    TEST_EQ(rename(path, other), 0);
    TEST_EQ(symlink("elsewhere", path), 0);
    get(work.path, true, true, name);
    struct stat info;
    TEST_EQ(lstat(path, &info), 0);
    TEST_TRUE(S_ISREG(info.st_mode));
    TEST_EQ(access(other, F_OK), 0);

    TEST_ROW("a file that others may write");
    TEST_EQ(chmod(path, 0666), 0);
    get(work.path, true, true, "others could have written");

    TEST_ROW("a folder in place of the file");
    TEST_EQ(unlink(path), 0);
    TEST_EQ(mkdir(path, 0700), 0);
    get(work.path, false, true, name);
    TEST_EQ(rmdir(path), 0);

    TEST_ROW("a folder in place of the lock");
    path_of("lock", other);
    TEST_EQ(unlink(other), 0);
    TEST_EQ(mkdir(other, 0700), 0);
    get(work.path, false, true, "lock");
}

/* Errors of whoever makes the weights are errors, and leave nothing behind. */
static void test_make_fails(void **state) {
    (void)state;
    const char *const caches[] = {NULL, work.path};
    for (size_t i = 0; i < 2; i++) {
        struct maker maker = {.fails = STATUS_DATA_LOSS};
        struct prepared prepared;
        struct err err;
        TEST_EQ(prepared_get(caches[i], &key, make, &maker, &prepared, &err), STATUS_DATA_LOSS);
        TEST_HAS(err.text, "no weights");
        prepared_done(&prepared);
    }
    get(work.path, true, true, NULL); /* and the lock is free */
}

static void test_made_once(void **state) {
    (void)state;
    enum { N = 6 };
    pid_t child[N];
    fflush(NULL);
    for (int i = 0; i < N; i++) {
        child[i] = fork();
        TEST_TRUE(child[i] >= 0);
        if (child[i] == 0) {
            struct maker maker = {.delay_us = 100 * 1000};
            struct prepared prepared;
            const unsigned files = open_files();
            enum status st = prepared_get(work.path, &key, make, &maker, &prepared, NULL);
            bool right = st == STATUS_OK && prepared.shared && open_files() == files;
            prepared_done(&prepared);
            _exit(!right ? 100 : (int)maker.calls);
        }
    }
    int made = 0;
    for (int i = 0; i < N; i++) {
        int status;
        TEST_EQ(waitpid(child[i], &status, 0), child[i]);
        TEST_TRUE(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        made += WEXITSTATUS(status);
    }
    TEST_EQ(made, 1);
}

/* The file may go while it is mapped. */
static void test_unlinked(void **state) {
    (void)state;
    struct maker maker = {0};
    struct prepared prepared;
    char path[256];
    path_of(name, path);
    TEST_EQ(prepared_get(work.path, &key, make, &maker, &prepared, NULL), STATUS_OK);
    TEST_EQ(unlink(path), 0);
    get(work.path, true, true, NULL);
    for (size_t i = 0; i < IMAGE_BYTES; i += 100)
        TEST_EQ(((const char *)prepared.image)[i], byte_at(i));
    prepared_done(&prepared);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_make_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unlinked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
