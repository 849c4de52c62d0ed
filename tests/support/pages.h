/* pages.h - a broker and a worker with their HTTP pages, and what those say.
 *
 *     pages_start();
 *     TEST_HAS(pages_get(PAGES_BROKER, "/metrics"), "ember_workers_desired 1\n");
 *     pages_stop(); */
#ifndef EMBER_TEST_PAGES_H
#define EMBER_TEST_PAGES_H

#include "support/rig.h"

#include "base/clock.h"

enum pages_of { PAGES_BROKER, PAGES_WORKER };

static struct rig pages_rig;
static char pages_listen[2][32];

static inline void pages_start(void) {
    for (int i = 0; i < 2; i++)
        snprintf(pages_listen[i], sizeof pages_listen[i], "127.0.0.1:%u", port_free());
    const struct rig_cfg cfg = {
        .brokers = 1,
        .workers = 1,
        .models = {"m=fake:dim=8,sleep_us=2000"},
        .broker_extra = {"--http", pages_listen[0], "--slow-ms", "1", "--scale-stabilization", "0",
                         "--log-format", "json"},
        .worker_extra = {"--http", pages_listen[1], "--slow-ms", "1", "--hourly-cost", "3600"}};
    rig_init(&pages_rig, &cfg);
    TEST_TRUE(rig_start(&pages_rig));
}

static inline void pages_stop(void) {
    rig_stop(&pages_rig);
}

/* The whole answer to GET path, valid until the next call for the same program. */
static inline const char *pages_get(enum pages_of whose, const char *path) {
    static char answers[2][512 * 1024];
    char *answer = answers[whose], request[128];
    const char *port = strrchr(pages_listen[whose], ':') + 1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TEST_TRUE(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    TEST_EQ(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    size_t n = 0;
    for (ssize_t got;
         n < sizeof answers[0] - 1 && (got = read(fd, answer + n, sizeof answers[0] - 1 - n)) > 0;)
        n += (size_t)got;
    answer[n] = '\0';
    close(fd);
    return answer;
}

/* Until `line` stands in a page, or does no longer; 5 s at most: what is told is up to a second
 * old. */
static inline void pages_until(enum pages_of whose, bool there, const char *line) {
    for (uint64_t end_us = clock_us() + 5000 * 1000; clock_us() < end_us; usleep(50 * 1000))
        if ((strstr(pages_get(whose, "/metrics"), line) != NULL) == there)
            return;
    TEST_FAIL("%s: %s\n%s", there ? "missing" : "still there", line, pages_get(whose, "/metrics"));
}

static inline void pages_wait(enum pages_of whose, const char *line) {
    pages_until(whose, true, line);
}

#endif
