/* test.h - what every test includes: cmocka, and comparisons that print the row and both values.
 *
 *     for (size_t i = 0; i < N; i++) {
 *         TEST_ROW(rows[i].name);
 *         TEST_EQ(f(rows[i].in), rows[i].want);
 * } */
#ifndef EMBER_TEST_H
#define EMBER_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEST_SKIPPED = 77 }; /* exit status that ctest reports as skipped */

static const char *test_row __attribute__((unused)) = "";

#define TEST_ROW(name) (test_row = (name))

#define TEST_FAIL(...)                                                                             \
    do {                                                                                           \
        fprintf(stderr, "%s:%d: [%s] ", __FILE__, __LINE__, test_row);                             \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        fail();                                                                                    \
    } while (0)

#define TEST_TRUE(cond)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            TEST_FAIL("not true: %s", #cond);                                                      \
    } while (0)

#define TEST_EQ(got, want)                                                                         \
    do {                                                                                           \
        long long got_ = (long long)(got), want_ = (long long)(want);                              \
        if (got_ != want_)                                                                         \
            TEST_FAIL("%s: %lld, want %lld", #got, got_, want_);                                   \
    } while (0)

#define TEST_STR_EQ(got, want)                                                                     \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        if (!got_ || strcmp(got_, want_) != 0)                                                     \
            TEST_FAIL("%s: \"%s\", want \"%s\"", #got, got_ ? got_ : "(null)", want_);             \
    } while (0)

#define TEST_MEM_EQ(got, want, bytes)                                                              \
    do {                                                                                           \
        if (memcmp((got), (want), (bytes)) != 0)                                                   \
            TEST_FAIL("%s differs from %s", #got, #want);                                          \
    } while (0)

#define TEST_NEAR(got, want, tolerance)                                                            \
    do {                                                                                           \
        double got_ = (double)(got), want_ = (double)(want);                                       \
        if (!(fabs(got_ - want_) <= (tolerance)))                                                  \
            TEST_FAIL("%s: %.9g, want %.9g", #got, got_, want_);                                   \
    } while (0)

#define TEST_HAS(text, part)                                                                       \
    do {                                                                                           \
        const char *text_ = (text), *part_ = (part);                                               \
        if (!strstr(text_, part_))                                                                 \
            TEST_FAIL("\"%s\" does not contain \"%s\"", text_, part_);                             \
    } while (0)

/* Folder with reference data of others, or NULL: the test then returns TEST_SKIPPED from main(). */
static inline const char *test_reference_dir(void) {
    const char *dir = getenv("EMBER_REFERENCE_DIR");
    if (!dir)
        dir = EMBER_REFERENCE_DEFAULT;
    FILE *f = NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/SOURCES.md", dir);
    f = fopen(path, "re");
    if (!f)
        return NULL;
    fclose(f);
    return dir;
}

#endif
