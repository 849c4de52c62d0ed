/* expose_test.c - Prometheus text, and the pages over a real connection. */
#include "support/test.h"

#include "metrics/expose.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_text(void **state) {
    (void)state;
    struct expose_text page = {0};
    char label[EXPOSE_LABEL_BYTES], labels[EXPOSE_LABEL_BYTES + 16];
    snprintf(labels, sizeof labels, "model=\"%s\"", expose_label(view_of("a\"b\\c\nd"), label));
    expose_family(&page, "ember_x_total", "counter", "Things.");
    expose_u64(&page, "ember_x_total", labels, 7);
    expose_f64(&page, "ember_y", NULL, 0.5);
    struct histogram h = {0};
    histogram_add(&h, 150000);
    expose_histogram(&page, "ember_d_seconds", "lane=\"high\"", &h);
    struct sizes sizes = {0};
    sizes_add(&sizes, 3);
    expose_sizes(&page, "ember_n_texts", NULL, &sizes);
    TEST_HAS(page.data, "\nember_n_texts_bucket{le=\"2\"} 0\n");
    TEST_HAS(page.data, "\nember_n_texts_bucket{le=\"4\"} 1\n");
    TEST_HAS(page.data, "\nember_n_texts_bucket{le=\"8192\"} 1\n");
    TEST_HAS(page.data, "\nember_n_texts_sum 3\n");
    TEST_HAS(page.data, "# HELP ember_x_total Things.\n# TYPE ember_x_total counter\n");
    TEST_HAS(page.data, "ember_x_total{model=\"a\\\"b\\\\c\\nd\"} 7\n");
    TEST_HAS(page.data, "\nember_y 0.5\n");
    TEST_HAS(page.data, "ember_d_seconds_bucket{lane=\"high\",le=\"0.1\"} 0\n");
    TEST_HAS(page.data, "ember_d_seconds_bucket{lane=\"high\",le=\"0.15\"} 1\n");
    TEST_HAS(page.data, "ember_d_seconds_bucket{lane=\"high\",le=\"+Inf\"} 1\n");
    TEST_HAS(page.data, "ember_d_seconds_sum{lane=\"high\"} 0.15\n");
    TEST_HAS(page.data, "ember_d_seconds_count{lane=\"high\"} 1\n");
    expose_text_done(&page);
}

static void test_long_label_is_cut(void **state) {
    (void)state;
    char label[EXPOSE_LABEL_BYTES], text[1000];
    memset(text, '"', sizeof text);
    TEST_EQ(strlen(expose_label(view_make(text, sizeof text), label)), EXPOSE_LABEL_BYTES - 2);
    TEST_EQ(label[EXPOSE_LABEL_BYTES - 3], '"'); /* an escape is never left half */
}

static void test_page_has_a_limit(void **state) {
    (void)state;
    struct expose_text page = {0};
    for (int i = 0; i < 60000; i++)
        expose_printf(&page, "%0100d\n", i);
    TEST_TRUE(page.cut);
    TEST_TRUE(page.bytes <= EXPOSE_PAGE_BYTES);
    TEST_EQ(page.data[page.bytes - 1], '\n');
    expose_text_done(&page);
}

static void metrics(void *arg, struct expose_text *out) {
    (void)arg;
    for (int i = 0; i < 2000; i++) /* more than one buffer */
        expose_u64(out, "ember_n", NULL, (uint64_t)i);
}

static bool ready(void *arg, struct expose_text *why) {
    const bool *is = arg;
    if (!*is)
        expose_printf(why, "no worker\n");
    return *is;
}

static bool is_alive = true;

static bool alive(void *arg, struct expose_text *why) {
    (void)arg;
    if (!is_alive)
        expose_printf(why, "the loop stands still\n");
    return is_alive;
}

/* The whole answer to one request, as text. */
static const char *ask(uint16_t port, const char *method, const char *path) {
    static char reply[256 * 1024];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    TEST_EQ(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    char request[256];
    int n = snprintf(request, sizeof request,
                     "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
    TEST_EQ(write(fd, request, (size_t)n), n);
    size_t got = 0;
    ssize_t part;
    while (got + 1 < sizeof reply && (part = read(fd, reply + got, sizeof reply - 1 - got)) > 0)
        got += (size_t)part;
    reply[got] = '\0';
    close(fd);
    return reply;
}

static void test_pages(void **state) {
    (void)state;
    bool is_ready = false;
    expose_t *server = NULL;
    struct err err;
    struct expose_cfg cfg = {.listen = "127.0.0.1:0",
                             .metrics = metrics,
                             .health = alive,
                             .ready = ready,
                             .arg = &is_ready};
    TEST_EQ(expose_start(&cfg, &server, &err), STATUS_OK);
    uint16_t port = expose_port(server);
    TEST_TRUE(port != 0);
    const char *page = ask(port, "GET", "/metrics");
    TEST_HAS(page, "200 OK");
    TEST_HAS(page, "version=0.0.4");
    TEST_HAS(page, "ember_n 1999\n");
    TEST_HAS(ask(port, "GET", "/healthz"), "200 OK");
    page = ask(port, "GET", "/readyz");
    TEST_HAS(page, "503 ");
    TEST_HAS(page, "no worker");
    is_ready = true;
    TEST_HAS(ask(port, "GET", "/readyz"), "200 OK");
    TEST_HAS(ask(port, "HEAD", "/readyz"), "200 OK");
    TEST_HAS(ask(port, "GET", "/healthz"), "200 OK");
    TEST_HAS(ask(port, "GET", "/livez"), "200 OK");
    is_alive = false;
    TEST_HAS(ask(port, "GET", "/healthz"), "503 ");
    page = ask(port, "GET", "/livez");
    TEST_HAS(page, "503 ");
    TEST_HAS(page, "stands still");
    TEST_HAS(ask(port, "GET", "/"), "404 ");
    TEST_HAS(ask(port, "POST", "/metrics"), "405 ");

    expose_t *second = NULL;
    char taken[64];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", port);
    cfg.listen = taken;
    TEST_EQ(expose_start(&cfg, &second, &err), STATUS_UNAVAILABLE);
    TEST_HAS(err.text, taken);
    TEST_TRUE(!second);
    expose_stop(&server);
    TEST_TRUE(!server);
    expose_stop(&server);
}

static void test_bad_address(void **state) {
    (void)state;
    static const char *const rows[] = {
        "",           "9464",          "127.0.0.1", "127.0.0.1:",  "host:1",    "1.2.3.4:x1",
        "1.2.3.4:1x", "1.2.3.4:65536", "[::1:1",    "1.2.3.4: 80", "1.2.3.4:-1"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i]);
        expose_t *server = NULL;
        struct err err;
        struct expose_cfg cfg = {.listen = rows[i], .metrics = metrics};
        TEST_EQ(expose_start(&cfg, &server, &err), STATUS_INVALID_ARGUMENT);
        TEST_TRUE(!server);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_long_label_is_cut),
        cmocka_unit_test(test_page_has_a_limit),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_bad_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
