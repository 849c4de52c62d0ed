#include "support/test.h"

#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

/* Runs one log call with stderr in a pipe and returns the line. */
static const char *line_of(enum log_level level, const char *text) {
    static char line[8192];
    int pipe_fd[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipe_fd), 0);
    fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
    dup2(pipe_fd[1], STDERR_FILENO);
    log_line(level, "some-event", "id=7 text=%s", text);
    dup2(kept, STDERR_FILENO);
    ssize_t n = read(pipe_fd[0], line, sizeof line - 1);
    line[n > 0 ? n : 0] = '\0';
    close(kept);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    return line;
}

static void test_lines(void **state) {
    (void)state;
    const char *line = line_of(LOG_WARN, "a\nb");
    TEST_EQ(line[4], '-'); /* 2026-01-31T12:00:00.123Z */
    TEST_EQ(line[23], 'Z');
    TEST_STR_EQ(line + 24, " warn event=some-event id=7 text=a?b\n");
    TEST_STR_EQ(line_of(LOG_DEBUG, "x"), ""); /* below the threshold */
    log_set_level(LOG_DEBUG);
    TEST_HAS(line_of(LOG_DEBUG, "x"), "debug event=some-event");
    log_set_level(LOG_ERROR);
    TEST_STR_EQ(line_of(LOG_WARN, "x"), "");
    static char long_text[4000];
    memset(long_text, 'y', sizeof long_text - 1);
    line = line_of(LOG_ERROR, long_text);
    TEST_EQ(line[strlen(line) - 1], '\n'); /* cut, still one line */
    log_set_level(LOG_INFO);
}

static void test_json(void **state) {
    (void)state;
    log_set_format(LOG_JSON);
    const char *line = line_of(LOG_WARN, "\"a \\\"b\nc\"");
    TEST_HAS(line, "{\"time\":\"2");
    TEST_EQ(line[32], 'Z');
    TEST_STR_EQ(line + 33, "\",\"level\":\"warn\",\"event\":\"some-event\",\"id\":7,"
                           "\"text\":\"a \\\"b?c\"}\n");
    static char long_text[4000];
    memset(long_text, '\xff', sizeof long_text - 1);
    line = line_of(LOG_ERROR, long_text);
    TEST_STR_EQ(line + strlen(line) - 3, "\"}\n"); /* cut, still one object */
    log_set_format(LOG_LOGFMT);
}

static void test_level_names(void **state) {
    (void)state;
    enum log_level level = LOG_INFO;
    TEST_TRUE(log_level_from("error", &level));
    TEST_EQ(level, LOG_ERROR);
    TEST_TRUE(!log_level_from("loud", &level));
}

static void test_limit(void **state) {
    (void)state;
    struct log_limit limit = {0};
    uint32_t held = 9;
    TEST_TRUE(log_allow(&limit, 100, 1000, &held));
    TEST_EQ(held, 0);
    TEST_TRUE(!log_allow(&limit, 500, 1000, &held));
    TEST_TRUE(!log_allow(&limit, 1099, 1000, &held));
    TEST_TRUE(log_allow(&limit, 1100, 1000, &held));
    TEST_EQ(held, 2);
}

static void test_quoted(void **state) {
    (void)state;
    char out[16];
    TEST_STR_EQ(log_quoted("a \"b\"\n", out, sizeof out), "\"a \\\"b\\\"?\"");
    TEST_STR_EQ(log_quoted("0123456789abcdef", out, 8), "\"0123\"");
    TEST_STR_EQ(log_quoted("x", out, 2), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_level_names),
                                       cmocka_unit_test(test_limit), cmocka_unit_test(test_quoted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
