/* strangers_test.c - peers that mean harm below the protocol, that lie in it, or that are not
 * there, and limits of the machine that a broker runs into, while others call; what must hold in
 * each row stands in matrix.h. Hostile peers that speak the protocol: e2e/hostile_test.c.
 *
 *     fault_strangers_test [--long] [--rounds N] [ROW...]
 *
 * A raw peer speaks ZMTP 3.0 (RFC 23) by hand, because libzmq would not say what these say. */
#include "support/clock_step.h"
#include "support/matrix.h"
#include "support/script_broker.h"
#include "support/usage.h"

#include "base/clock.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <arpa/inet.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

static void *context;

static void pause_ms(uint32_t ms) {
    usleep(ms * 1000);
}

/* ----------------------------------------------------------------------------------------------
 * raw peers */

static int tcp_dial(const char *endpoint) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(strrchr(endpoint, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {1, 0};
    TEST_TRUE(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool say(int fd, const void *data, size_t bytes) {
    return send(fd, data, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

/* Greeting and READY as a DEALER; `identity` may be "". False when we were cut off. */
static bool zmtp_open(int fd, const char *identity) {
    uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    uint8_t ready[128] = {4, 0, 5, 'R', 'E', 'A', 'D', 'Y', 11};
    uint8_t sink[256];
    size_t n = 9;
    n += (size_t)snprintf((char *)ready + n, 40, "Socket-Type");
    ready[n + 3] = 6;
    n += 4;
    n += (size_t)snprintf((char *)ready + n, 40, "DEALER");
    ready[n++] = 8;
    n += (size_t)snprintf((char *)ready + n, 40, "Identity");
    ready[n + 3] = (uint8_t)strlen(identity);
    n += 4;
    n += (size_t)snprintf((char *)ready + n, 40, "%s", identity);
    ready[1] = (uint8_t)(n - 2);
    return fd >= 0 && say(fd, greeting, sizeof greeting) && recv(fd, sink, 64, MSG_WAITALL) == 64 &&
           say(fd, ready, n) && recv(fd, sink, sizeof sink, 0) > 0;
}

static void peak_note(struct rig *rig) {
    if (proc_running(&rig->broker[0]))
        matrix_note("broker peak %zu MB", proc_peak_bytes(&rig->broker[0]) >> 20);
}

/* What MemoryMax= and Restart= of the unit do. */
static bool over_memory(struct rig *rig) {
    enum { CAP_MB = 400 };
    if (proc_running(&rig->broker[0]) && usage_of(rig->broker[0].pid).rss_kb >> 10 < CAP_MB)
        return false;
    proc_kill(&rig->broker[0]);
    rig_start_broker(rig, 0);
    return true;
}

/* Parts of a message without an end, as fast as they are taken. HWMs count whole messages, so that
 * only the limit of the process holds: it may be killed for it, and is back at once. */
static void endless_more(struct rig *rig) {
    enum { PART = 60000 };
    uint32_t killed = 0;
    static uint8_t part[PART + 9];
    part[0] = 3; /* more, long */
    for (int i = 0; i < 8; i++)
        part[1 + i] = (uint8_t)((uint64_t)PART >> (56 - 8 * i));
    uint64_t end_us = clock_us() + matrix_ms(1000, 5000) * 1000ull, sent = 0;
    int fd = -1;
    while (clock_us() < end_us) {
        if (fd < 0) {
            fd = tcp_dial(rig->clients[0]);
            if (!zmtp_open(fd, ""))
                pause_ms(10);
        }
        if (fd >= 0 && say(fd, part, sizeof part)) {
            sent++;
        } else if (fd >= 0) {
            close(fd);
            fd = -1;
        }
        killed += sent % 64 == 0 && over_memory(rig);
    }
    if (fd >= 0)
        close(fd);
    pause_ms(500);
    killed += !proc_running(&rig->broker[0]) && over_memory(rig);
    matrix_note("%llu MB sent, killed %u times", (unsigned long long)(sent * PART >> 20), killed);
}

/* Messages of eight gigabytes, announced and not sent. */
static void announcements(struct rig *rig) {
    static const uint8_t frame[9] = {2, 0, 0, 0, 2, 0, 0, 0, 0};
    uint32_t cut = 0;
    for (int i = 0; i < 200; i++) {
        const char *const ports[2] = {rig->clients[0], rig->workers[0]};
        uint8_t byte;
        int fd = tcp_dial(ports[i % 2]);
        TEST_TRUE(zmtp_open(fd, ""));
        TEST_TRUE(say(fd, frame, sizeof frame));
        cut += recv(fd, &byte, 1, 0) <= 0;
        close(fd);
    }
    TEST_EQ(cut, 200); /* none was taken at its word */
    peak_note(rig);
}

/* A name of one's own, twice at the same time, and again while the first is still there. */
static void same_identity(struct rig *rig) {
    int fds[2][20];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 20; i++) {
            fds[round][i] = tcp_dial(i % 2 ? rig->clients[0] : rig->workers[0]);
            zmtp_open(fds[round][i], "same name");
        }
    pause_ms(300);
    for (int i = 0; i < 40; i++)
        close(fds[i % 2][i / 2]);
}

/* More connections than the broker has descriptors, idle, for a while. Those who had one keep it;
 * nothing is lost, and with the flood the trouble is gone. */
static void no_descriptors(struct rig *rig) {
    enum { FLOOD = 300 };
    int fds[FLOOD];
    for (int i = 0; i < FLOOD; i++)
        fds[i] = tcp_dial(rig->clients[0]);
    pause_ms(matrix_ms(1500, 5000));
    for (int i = 0; i < FLOOD; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    TEST_TRUE(proc_running(&rig->broker[0]));
}

/* Handshakes as fast as they go, one after the other and many at a time. */
static void flood(struct rig *rig) {
    uint64_t end_us = clock_us() + matrix_ms(1000, 5000) * 1000ull;
    uint32_t n = 0;
    while (clock_us() < end_us) {
        enum { AT_ONCE = 50 };
        int fds[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++)
            fds[i] = tcp_dial(i % 2 ? rig->workers[0] : rig->clients[0]);
        for (int i = 0; i < AT_ONCE; i++) {
            n += zmtp_open(fds[i], "");
            if (fds[i] >= 0)
                close(fds[i]);
        }
    }
    matrix_note("%u handshakes, ", n);
    peak_note(rig);
}

/* ----------------------------------------------------------------------------------------------
 * a worker that lies */

/* Serves the model in use and answers each ticket with results for others: another slot, the next
 * generation, another epoch, twice each; then says that it has not begun, which is true. What it
 * says of tickets of its own nobody can judge: the broker opens no body. */
static void liar(struct rig *rig) {
    struct err err;
    struct wire_model model = {.name = view_of("m"),
                               .fingerprint = view_of("00"),
                               .precision = view_of("f32"),
                               .kernel = view_of("none"),
                               .dim = MATRIX_DIM,
                               .max_tokens = 512,
                               .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .uuid = 4711,
                               .name = view_of("liar"),
                               .host = view_of("h"),
                               .version = view_of("0"),
                               .tier = view_of("standard"),
                               .models = &model,
                               .n_models = 1};
    struct wire_out out = {0};
    zmq_msg_t body;
    void *socket = frame_socket(context, FRAME_WORKER, 1000, NULL, &err);
    TEST_TRUE(socket && zmq_connect(socket, rig->workers[0]) == 0);
    TEST_EQ(session_ready_encode(&ready, &out), STATUS_OK);
    uint64_t end_us = clock_us() + matrix_ms(1500, 10000) * 1000ull, said_us = 0, epoch = 0;
    uint32_t lies = 0, in_a_row = 0;
    while (clock_us() < end_us) {
        struct header header;
        enum header_verdict verdict;
        if (!epoch || clock_us() - said_us > 200000) {
            struct header hello = {
                .type = epoch ? WIRE_HEARTBEAT : WIRE_READY, .credit = 200, .epoch = epoch};
            TEST_TRUE(frame_body(&body, epoch ? view_of("") : wire_out_view(&out)));
            frame_send_dealer(socket, &hello, &body);
            said_us = clock_us();
            pause_ms(epoch ? 0 : 50);
        }
        if (frame_recv_dealer(socket, &in_a_row, &header, &body, &verdict) != FRAME_OK) {
            pause_ms(1);
            continue;
        }
        zmq_msg_close(&body);
        if (header.type == WIRE_READY_OK)
            epoch = header.epoch;
        for (int k = 0; header.type == WIRE_DISPATCH && k < 7; k++, lies++) {
            struct header lie = {.type = k < 6 ? WIRE_RESULT : WIRE_NACK,
                                 .status = k < 6 ? STATUS_OK : STATUS_UNAVAILABLE,
                                 .credit = 200,
                                 .id = header.id,
                                 .epoch = epoch};
            lie.id += k / 2 == 0 ? (1000ull << 32) + 1 : k / 2 == 1 ? 1ull << 32 : 0;
            lie.epoch += k / 2 == 2;
            TEST_TRUE(frame_body(&body, view_of("not yours")));
            frame_send_dealer(socket, &lie, &body);
        }
    }
    wire_out_done(&out);
    zmq_close(socket);
    matrix_note("%u lies", lies);
    TEST_TRUE(lies > 0);
}

/* ----------------------------------------------------------------------------------------------
 * a broker that greets and does nothing more, a clock that jumps */

static struct script lame;
static char lame_endpoint[64], step_file[128], step_env[160];

static void start_lame(struct rig *rig) {
    (void)rig;
    atomic_store(&lame.mute_left, INT_MAX);
    script_start(&lame);
}

static void meet_lame(struct rig *rig) {
    (void)rig;
    pause_ms(1500);
    matrix_note("%u requests met it", atomic_load(&lame.n_requests));
}

#if defined(CLOCK_STEP_LIBRARY)
static void step_clock(struct rig *rig) {
    (void)rig;
    clock_step(step_file, 3600);
    pause_ms(700);
    clock_step(step_file, -3600);
    pause_ms(700);
    clock_step(step_file, 0);
    pause_ms(300);
}

#define STEPPED                                                                                    \
    { "env", "LD_PRELOAD=" CLOCK_STEP_LIBRARY, step_env }
#endif

static const struct matrix_row rows[] = {
    MATRIX_ROW("endless MORE", "broker alive, or back in < 1 s", endless_more, 2, 4000),
    MATRIX_ROW("8 GB announced", "cut at once", announcements, 1, 500),
    MATRIX_ROW("same identity", "not served, nobody notices", same_identity, 1, 500),
    MATRIX_ROW("flood of connections", "others served", flood, 1, 1000),
    MATRIX_ROW("no descriptors left", "others served", no_descriptors, 1, 1000,
               .broker_before = {"prlimit", "--nofile=120"}),
    MATRIX_ROW("lying worker", "nobody gets another's answer", liar, 1, 2000),
    MATRIX_ROW("broker that only greets", "added < attempt timer + one execution", meet_lame, 1,
               MATRIX_NO_BOUND, .end = lame_endpoint, .prepare = start_lame, .by_hand = true),
#if defined(CLOCK_STEP_LIBRARY)
    MATRIX_ROW("wall clock steps by an hour", "nothing", step_clock, 1, 500,
               .broker_before = STEPPED, .worker_before = STEPPED),
#endif
};

static void test_strangers(void **state) {
    (void)state;
    matrix_run(rows, sizeof rows / sizeof *rows, NULL);
}

static int stop(void **state) {
    matrix_stop();
    return proc_stop_all(state);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_strangers, stop),
    };
    context = frame_context();
    if (!context || !matrix_args(argc, argv)) {
        fprintf(stderr, "usage: %s [--long] [--rounds N] [ROW...]\n", argv[0]);
        return 2;
    }
    snprintf(lame_endpoint, sizeof lame_endpoint, "tcp://127.0.0.1:%u", port_free());
    script_init(&lame, lame_endpoint, 1);
    snprintf(step_file, sizeof step_file, "%s/clock_step", proc_dir());
    snprintf(step_env, sizeof step_env, "CLOCK_STEP_FILE=%s", step_file);
    clock_step(step_file, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed)
        zmq_ctx_term(context);
    return proc_report(failed);
}
