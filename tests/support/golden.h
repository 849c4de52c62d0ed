/* golden.h - lay a row of tests/data/golden/{formats,corrupt}/index.jsonl out as a model directory.
 *
 *     struct golden_dir dir;
 *     golden_make(&dir);
 *     golden_each("formats/index.jsonl", row_fn, arg);   -> golden_lay_out(&dir, "formats", row)
 *     golden_remove(&dir); */
#ifndef EMBER_GOLDEN_H
#define EMBER_GOLDEN_H

#include "support/test.h"
#include "json/json.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOLDEN_DIR EMBER_SOURCE_DIR "/tests/data/golden"

struct golden_dir {
    char path[128];
};

static inline void golden_make(struct golden_dir *dir) {
    snprintf(dir->path, sizeof dir->path, "/tmp/ember-golden-XXXXXX");
    TEST_TRUE(mkdtemp(dir->path) != NULL);
}

/* Removes what is in the folder, folders included; the folder itself when `also_itself`. */
static inline void golden_empty(const char *path, bool also_itself) {
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char name[4096 + 256];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof name, "%.4000s/%s", path, entry->d_name);
        if (unlink(name) != 0)
            golden_empty(name, true);
    }
    closedir(dir);
    if (also_itself)
        rmdir(path);
}

static inline void golden_remove(struct golden_dir *dir) {
    golden_empty(dir->path, true);
}

/* The folder that the tests of a program share, made before the first and removed after the last:
 * cmocka_run_group_tests(tests, golden_set_up, golden_tear_down). */
static struct golden_dir golden_work __attribute__((unused));

static inline int golden_set_up(void **state) {
    (void)state;
    golden_make(&golden_work);
    return 0;
}

static inline int golden_tear_down(void **state) {
    (void)state;
    golden_remove(&golden_work);
    return 0;
}

/* A whole file and a NUL behind it; the caller frees. */
static inline char *golden_read(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "re");
    if (!f)
        TEST_FAIL("cannot open %s", path);
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(n + 1);
    TEST_TRUE(data && fread(data, 1, n, f) == n);
    data[n] = '\0';
    fclose(f);
    *bytes = n;
    return data;
}

static inline void golden_write(const struct golden_dir *dir, const char *name, const char *data,
                                size_t bytes) {
    char path[4096];
    const char *slash = strchr(name, '/');
    if (slash) {
        snprintf(path, sizeof path, "%s/%.*s", dir->path, (int)(slash - name), name);
        mkdir(path, 0755);
    }
    snprintf(path, sizeof path, "%s/%s", dir->path, name);
    FILE *f = fopen(path, "we");
    if (!f)
        TEST_FAIL("cannot write %s", path);
    TEST_TRUE(fwrite(data, 1, bytes, f) == bytes);
    fclose(f);
}

static inline void golden_copy(const struct golden_dir *dir, const char *from, const char *name) {
    size_t bytes;
    char *data = golden_read(from, &bytes);
    golden_write(dir, name, data, bytes);
    free(data);
}

/* Every file of <GOLDEN_DIR>/<folder>, one level of folders below it included. */
static inline void golden_copy_tree(const struct golden_dir *dir, const char *folder,
                                    const char *below) {
    char path[4096], name[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/%s/%s", folder, below);
    DIR *from = opendir(path);
    if (!from)
        TEST_FAIL("cannot open %s", path);
    for (struct dirent *entry; (entry = readdir(from)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s%s%s", below, below[0] ? "/" : "", entry->d_name);
        snprintf(path, sizeof path, GOLDEN_DIR "/%s/%s", folder, name);
        struct stat info;
        TEST_TRUE(stat(path, &info) == 0);
        if (S_ISDIR(info.st_mode))
            golden_copy_tree(dir, folder, name);
        else
            golden_copy(dir, path, name);
    }
    closedir(from);
}

/* Decodes in place; returns the bytes. */
static inline size_t golden_base64(char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    uint32_t bits = 0, held = 0;
    for (const char *p = text; *p && *p != '='; p++) {
        const char *digit = strchr(digits, *p);
        TEST_TRUE(digit != NULL);
        bits = bits << 6 | (uint32_t)(digit - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            text[n++] = (char)(bits >> held & 0xff);
        }
    }
    return n;
}

/* formats/base with the changes of `row`, a line of <set>/index.jsonl. What was in `dir` goes. */
static inline void golden_lay_out(const struct golden_dir *dir, const char *set,
                                  const json_t *row) {
    golden_empty(dir->path, false);
    golden_copy_tree(dir, "formats/base", "");
    for (const json_t *m = json_first(json_get(row, "put")); m; m = json_next(m)) {
        char path[4096];
        snprintf(path, sizeof path, GOLDEN_DIR "/%s/%s", set, json_text(m));
        golden_copy(dir, path, json_key(m));
    }
    for (const json_t *m = json_first(json_get(row, "text")); m; m = json_next(m))
        golden_write(dir, json_key(m), json_text(m), strlen(json_text(m)));
    for (const json_t *m = json_first(json_get(row, "base64")); m; m = json_next(m)) {
        char *text = strdup(json_text(m));
        TEST_TRUE(text != NULL);
        golden_write(dir, json_key(m), text, golden_base64(text));
        free(text);
    }
    for (const json_t *m = json_first(json_get(row, "remove")); m; m = json_next(m)) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", dir->path, json_text(m));
        TEST_TRUE(unlink(path) == 0);
    }
}

/* Calls `fn` with each line of a .jsonl file under GOLDEN_DIR; returns their number. */
static inline uint32_t golden_each(const char *name, void (*fn)(const json_t *row, void *arg),
                                   void *arg) {
    char path[4096];
    snprintf(path, sizeof path, GOLDEN_DIR "/%s", name);
    size_t bytes;
    char *data = golden_read(path, &bytes);
    uint32_t n = 0;
    for (char *line = data; line < data + bytes; n++) {
        char *lf = strchr(line, '\n');
        size_t length = lf ? (size_t)(lf - line) : strlen(line);
        json_t *row = NULL;
        struct err err;
        if (json_parse(view_make(line, length), length, name, &row, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        fn(row, arg);
        json_destroy(&row);
        line += length + 1;
    }
    free(data);
    return n;
}

#endif
