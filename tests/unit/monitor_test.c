/* monitor_test.c - what a peer learns when it dials: nobody, a plain broker, one that wants keys,
 * one with another key, one that does not know ours, one that does. The broker's side answers ZAP
 * by hand. */
#include "wire/monitor.h"

#include "base/clock.h"
#include "support/keys.h"

#include <pthread.h>

enum { SOON_MS = 10000, DOMAIN_FRAMES = 7 };

static void *context, *zap;
static struct cert server, known, unknown;

/* Answers as ZAP wants it: 200 to `known`, 400 to others, until the context ends. */
static void *answer(void *arg) {
    (void)arg;
    for (;;) {
        char frames[DOMAIN_FRAMES][64];
        int sizes[DOMAIN_FRAMES], n = 0, more = 1;
        for (size_t bytes = sizeof more; more && n < DOMAIN_FRAMES; n++) {
            sizes[n] = zmq_recv(zap, frames[n], sizeof frames[n], 0);
            if (sizes[n] < 0) {
                zmq_close(zap);
                return NULL;
            }
            zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &bytes);
        }
        bool ok = n == DOMAIN_FRAMES && memcmp(frames[6], known.public_key, 32) == 0;
        zmq_send(zap, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(zap, frames[1], (size_t)sizes[1], ZMQ_SNDMORE);
        zmq_send(zap, ok ? "200" : "400", 3, ZMQ_SNDMORE);
        zmq_send(zap, "", 0, ZMQ_SNDMORE);
        zmq_send(zap, ok ? "me" : "", ok ? 2 : 0, ZMQ_SNDMORE);
        zmq_send(zap, "", 0, 0);
    }
}

static void *listen_on(const struct frame_curve *curve, char *at, size_t bytes) {
    struct err err;
    void *router = frame_socket(context, FRAME_CLIENT_SIDE, 10, curve, &err);
    TEST_TRUE(router);
    TEST_EQ(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
    TEST_EQ(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, at, &bytes), 0);
    return router;
}

/* The first event of a fresh connection. */
static enum monitor_event first_event(const char *at, const struct frame_curve *curve, int number) {
    struct err err;
    char name[32];
    snprintf(name, sizeof name, "inproc://test-%d", number);
    void *dealer = frame_socket(context, FRAME_CLIENT, 10, curve, &err);
    int fd = -1;
    void *monitor = monitor_open(context, dealer, name, &fd);
    TEST_TRUE(dealer && monitor && fd >= 0);
    TEST_EQ(monitor_next(monitor, curve != NULL), MONITOR_NOTHING);
    TEST_EQ(zmq_connect(dealer, at), 0);
    enum monitor_event event = MONITOR_NOTHING;
    for (uint64_t end_us = clock_us() + SOON_MS * 1000ull; !event && clock_us() < end_us;) {
        event = monitor_next(monitor, curve != NULL);
        usleep(1000);
    }
    zmq_socket_monitor(dealer, NULL, 0);
    zmq_close(monitor);
    zmq_close(dealer);
    return event;
}

static void test_events(void **state) {
    (void)state;
    context = frame_context();
    server = known = unknown = (struct cert){.role = CERT_ANY};
    TEST_TRUE(cert_make_keys(&server) && cert_make_keys(&known) && cert_make_keys(&unknown));
    zap = zmq_socket(context, ZMQ_REP);
    TEST_EQ(zmq_bind(zap, "inproc://zeromq.zap.01"), 0);
    pthread_t thread;
    TEST_EQ(pthread_create(&thread, NULL, answer, NULL), 0);
    struct frame_curve ours = keys_curve(&server, &server);
    ours.domain = "test";
    char plain_at[64], curve_at[64];
    void *plain = listen_on(NULL, plain_at, sizeof plain_at);
    void *curve = listen_on(&ours, curve_at, sizeof curve_at);
    const struct {
        const char *row, *at;
        const struct cert *who, *server;
        enum monitor_event want;
    } rows[] = {
        {"nobody listens", "tcp://127.0.0.1:1", NULL, NULL, MONITOR_REFUSED},
        {"plain to plain", plain_at, NULL, NULL, MONITOR_UP},
        {"plain to one with keys", curve_at, NULL, NULL, MONITOR_MISMATCH},
        {"keys to a plain one", plain_at, &known, &server, MONITOR_MISMATCH},
        {"known", curve_at, &known, &server, MONITOR_UP},
        {"unknown", curve_at, &unknown, &server, MONITOR_DENIED},
        {"another broker's key", curve_at, &known, &unknown, MONITOR_UNTRUSTED},
    };
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        TEST_ROW(rows[i].row);
        struct frame_curve own;
        if (rows[i].who)
            own = keys_curve(rows[i].who, rows[i].server);
        enum monitor_event event = first_event(rows[i].at, rows[i].who ? &own : NULL, i);
        TEST_EQ(event, rows[i].want);
        TEST_EQ(monitor_why(event, rows[i].who)[0] != '\0', event >= MONITOR_DENIED);
    }
    zmq_close(plain);
    zmq_close(curve);
    zmq_ctx_shutdown(context);
    pthread_join(thread, NULL);
    zmq_ctx_term(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
