/* broker_bench.c - what a request costs the broker, and how long a broker hop takes.
 *
 *     broker_bench [--clients 16] [--workers 16] [--in-flight 64] [--seconds 2] [--rounds 3]
 *
 * One thread plays all clients and workers over plain TCP, speaking ZMTP 3.0 with the NULL
 * mechanism (https://rfc.zeromq.org/spec/23): the broker under test is then the only user of
 * libzmq, and its share of the machine the only one that differs. ember-broker and minimal_broker
 * take turns in every round; compare ratios, since absolute figures drift with the machine. Workers
 * answer at once: 200 bytes up, 1,600 down. Broker CPU is the run time of all its threads from
 * /proc/PID/task. */
#include "base/check.h"
#include "base/clock.h"
#include "wire/header.h"
#include "wire/session.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    UP_BYTES = 200,
    DOWN_BYTES = 1600,
    CONNS_MAX = 2048,
    BUFFER = 1 << 20,
    GREETING = 64,
    SAMPLES = 1 << 21,
    ROUNDS_MAX = 15,
    SLOTS = 4, /* requests at one worker */
};

enum stage { STAGE_GREETING, STAGE_COMMAND, STAGE_SESSION, STAGE_OPEN };

struct conn {
    int fd;
    bool worker, wants_out, dirty;
    enum stage stage;
    uint64_t epoch;
    uint16_t service;
    uint8_t *in, *out;
    size_t n_in, n_out, sent;
    struct header header; /* of the message whose body comes next */
    bool has_header;
};

static struct bench {
    int epoll;
    bool sessions; /* false: the minimal broker, which knows none */
    struct conn conns[CONNS_MAX];
    uint32_t n_conns, n_clients, n_open;
    uint32_t dirty[CONNS_MAX], n_dirty;
    uint64_t answered, next_id;
    uint32_t *sample_ns;
    uint32_t n_samples;
    bool running, sampling;
} b;

struct figures {
    double per_second, p50_us, p99_us, cpu_us;
};

/* ---------------------------------------------------------------- ZMTP, as much as is needed */

static void put(struct conn *c, const void *data, size_t bytes) {
    CHECK(c->n_out + bytes <= BUFFER);
    memcpy(c->out + c->n_out, data, bytes);
    c->n_out += bytes;
    if (!c->dirty) {
        c->dirty = true;
        b.dirty[b.n_dirty++] = (uint32_t)(c - b.conns);
    }
}

static void put_frame(struct conn *c, uint8_t flags, const void *data, size_t bytes) {
    if (bytes < 256) {
        put(c, (uint8_t[]){flags, (uint8_t)bytes}, 2);
    } else {
        uint8_t head[9] = {flags | 2};
        for (int i = 0; i < 8; i++)
            head[1 + i] = (uint8_t)((uint64_t)bytes >> (56 - 8 * i));
        put(c, head, 9);
    }
    put(c, data, bytes);
}

static void put_message(struct conn *c, const struct header *header, const void *body,
                        size_t bytes) {
    uint8_t packed[HEADER_BYTES];
    header_pack(header, packed);
    put_frame(c, 1, packed, sizeof packed);
    put_frame(c, 0, body, bytes);
}

static void flush(struct conn *c) {
    c->dirty = false;
    while (c->sent < c->n_out) {
        ssize_t n = send(c->fd, c->out + c->sent, c->n_out - c->sent, MSG_NOSIGNAL);
        if (n < 0)
            break;
        c->sent += (size_t)n;
    }
    if (c->sent == c->n_out)
        c->sent = c->n_out = 0;
    bool wants = c->n_out > 0;
    if (wants != c->wants_out) {
        struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0),
                                    .data.u32 = (uint32_t)(c - b.conns)};
        epoll_ctl(b.epoll, EPOLL_CTL_MOD, c->fd, &event);
        c->wants_out = wants;
    }
}

/* ---------------------------------------------------------------- clients and workers */

static void send_request(struct conn *c) {
    static uint8_t body[UP_BYTES];
    static uint64_t serial; /* no two bodies are equal: equal ones would share an execution */
    memcpy(body, &(uint64_t){++serial}, sizeof serial);
    struct header header = {.type = WIRE_REQUEST,
                            .lane = WIRE_LANE_NORMAL,
                            .id = clock_ns(), /* tells us when it was sent, and rises */
                            .epoch = c->epoch,
                            .budget_us = 10 * 1000 * 1000,
                            .service = c->service};
    put_message(c, &header, body, sizeof body);
}

static uint16_t window(void) { /* in the units of each broker */
    return b.sessions ? SLOTS * (1 + UP_BYTES / 64) : SLOTS;
}

static void introduce(struct conn *c) {
    struct wire_out out = {0};
    if (c->worker) {
        struct wire_model model = {.name = view_of("m"),
                                   .fingerprint = view_of("0"),
                                   .dim = 384,
                                   .max_tokens = 256,
                                   .tasks = 1U << WIRE_TASK_EMBED};
        struct wire_ready ready = {.protocol_min = 1,
                                   .protocol_max = 1,
                                   .uuid = (uint64_t)(c - b.conns) + 1,
                                   .name = view_of("w"),
                                   .host = view_of("h"),
                                   .version = view_of("0"),
                                   .tier = view_of("standard"),
                                   .models = &model,
                                   .n_models = 1};
        CHECK(session_ready_encode(&ready, &out) == STATUS_OK);
    } else {
        struct wire_service_name want = {view_of("m"), WIRE_TASK_EMBED};
        struct wire_hello hello = {.protocol_min = 1,
                                   .protocol_max = 1,
                                   .name = view_of("bench"),
                                   .version = view_of("0"),
                                   .want = &want,
                                   .n_want = 1};
        CHECK(session_hello_encode(&hello, &out) == STATUS_OK);
    }
    struct header header = {.type = c->worker ? WIRE_READY : WIRE_HELLO,
                            .credit = c->worker ? window() : 0};
    put_message(c, &header, out.data, out.bytes);
    wire_out_done(&out);
    c->stage = b.sessions ? STAGE_SESSION : STAGE_OPEN;
    c->service = 1;
    b.n_open += !b.sessions;
}

static void on_message(struct conn *c, const struct header *header) {
    static const uint8_t body[DOWN_BYTES];
    struct header answer = {.credit = c->worker ? window() : 0, .epoch = c->epoch};
    switch (header->type) {
    case WIRE_WELCOME:
    case WIRE_READY_OK:
        CHECK(header->status == STATUS_OK);
        c->epoch = header->epoch;
        c->stage = STAGE_OPEN; /* the only service there is has number 1 */
        b.n_open++;
        break;
    case WIRE_DISPATCH:
        answer.type = WIRE_RESULT;
        answer.id = header->id;
        put_message(c, &answer, body, sizeof body);
        break;
    case WIRE_PING:
        answer.type = WIRE_PONG;
        answer.id = header->id;
        put_message(c, &answer, body, 0);
        break;
    case WIRE_REPLY:
        CHECK(header->status == STATUS_OK);
        b.answered++;
        if (b.sampling && b.n_samples < SAMPLES)
            b.sample_ns[b.n_samples++] = (uint32_t)(clock_ns() - header->id);
        if (b.running)
            send_request(c);
        break;
    default:
        break;
    }
}

/* One frame from data[0..bytes); returns its length, 0 when it is not complete. */
static size_t take_frame(struct conn *c, const uint8_t *data, size_t bytes) {
    if (bytes < 2)
        return 0;
    size_t head = data[0] & 2 ? 9 : 2, size = data[1];
    if (bytes < head)
        return 0;
    if (head == 9) {
        size = 0;
        for (int i = 1; i < 9; i++)
            size = size << 8 | data[i];
    }
    if (bytes - head < size)
        return 0;
    if (data[0] & 4) { /* a command: READY opens the connection, others are not for us */
        if (c->stage == STAGE_COMMAND)
            introduce(c);
    } else if (data[0] & 1) {
        CHECK(header_parse(data + head, size, &c->header) == HEADER_OK);
        c->has_header = true;
    } else if (c->has_header) {
        c->has_header = false;
        on_message(c, &c->header);
    }
    return head + size;
}

static void greet(struct conn *c) {
    uint8_t greeting[GREETING] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    static const char ready[] = "\5READY\13Socket-Type\0\0\0\6DEALER";
    put(c, greeting, sizeof greeting);
    put_frame(c, 4, ready, sizeof ready - 1);
}

static void on_input(struct conn *c) {
    for (;;) {
        ssize_t n = recv(c->fd, c->in + c->n_in, BUFFER - c->n_in, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        CHECK(n > 0); /* the broker must not hang up */
        c->n_in += (size_t)n;
        size_t at = 0, took;
        if (c->stage == STAGE_GREETING && c->n_in >= GREETING) {
            at = GREETING;
            c->stage = STAGE_COMMAND;
        }
        while (c->stage != STAGE_GREETING && (took = take_frame(c, c->in + at, c->n_in - at)))
            at += took;
        memmove(c->in, c->in + at, c->n_in - at);
        c->n_in -= at;
    }
}

static void turn(int timeout_ms) {
    struct epoll_event events[256];
    int n = epoll_wait(b.epoll, events, 256, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct conn *c = &b.conns[events[i].data.u32];
        if (events[i].events & EPOLLOUT)
            flush(c);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            on_input(c);
    }
    for (uint32_t i = 0; i < b.n_dirty; i++)
        flush(&b.conns[b.dirty[i]]);
    b.n_dirty = 0;
}

/* ---------------------------------------------------------------- the broker under test */

static double cpu_us(pid_t pid) {
    char path[512];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    CHECK(tasks);
    double sum = 0;
    for (struct dirent *e; (e = readdir(tasks));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
        FILE *f = fopen(path, "re");
        double ns = 0;
        if (f && fscanf(f, "%lf", &ns) == 1)
            sum += ns / 1e3;
        if (f)
            fclose(f);
    }
    closedir(tasks);
    return sum;
}

static uint16_t free_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, bytes) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &bytes) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

static pid_t start_broker(bool ours, uint16_t clients, uint16_t workers) {
    char front[64], back[64];
    snprintf(front, sizeof front, "tcp://127.0.0.1:%u", clients);
    snprintf(back, sizeof back, "tcp://127.0.0.1:%u", workers);
    const char *own[] = {BENCH_BROKER, "--clients", front,         "--workers", back,
                         "--http",     "off",       "--log-level", "error",     NULL};
    const char *minimal[] = {BENCH_MINIMAL, front, back, NULL};
    const char **argv = ours ? own : minimal;
    pid_t pid;
    CHECK(posix_spawn(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ) == 0);
    return pid;
}

static int dial(uint16_t port) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 2000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
            int one = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            fcntl(fd, F_SETFL, O_NONBLOCK);
            return fd;
        }
        close(fd);
        usleep(1000);
    }
    fprintf(stderr, "the broker does not listen on port %u\n", port);
    exit(1);
}

static void open_conns(uint32_t clients, uint32_t workers, uint16_t front, uint16_t back) {
    CHECK(clients + workers <= CONNS_MAX);
    b.epoll = epoll_create1(EPOLL_CLOEXEC);
    b.n_clients = clients;
    b.n_conns = clients + workers;
    for (uint32_t i = 0; i < b.n_conns; i++) {
        struct conn *c = &b.conns[i];
        *c = (struct conn){.worker = i >= clients, .fd = dial(i < clients ? front : back)};
        c->in = malloc(BUFFER);
        c->out = malloc(BUFFER);
        CHECK(c->in && c->out);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(b.epoll, EPOLL_CTL_ADD, c->fd, &event);
        greet(c);
    }
    uint64_t until = clock_us() + 5000000;
    while (b.n_open < b.n_conns && clock_us() < until)
        turn(10);
    CHECK(b.n_open == b.n_conns);
}

static void close_conns(void) {
    for (uint32_t i = 0; i < b.n_conns; i++) {
        close(b.conns[i].fd);
        free(b.conns[i].in);
        free(b.conns[i].out);
    }
    close(b.epoll);
}

static void run_for(uint64_t us) {
    for (uint64_t until = clock_us() + us; clock_us() < until;)
        turn(10);
}

static int compare(const void *a, const void *c) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)c;
    return (x > y) - (x < y);
}

static struct figures measure(bool ours, uint32_t clients, uint32_t workers, uint32_t in_flight,
                              double seconds) {
    uint32_t *samples = b.sample_ns;
    memset(&b, 0, sizeof b);
    b.sample_ns = samples;
    b.sessions = ours;
    uint16_t front = free_port(), back = free_port();
    pid_t pid = start_broker(ours, front, back);
    open_conns(clients, workers, front, back);
    usleep(100000);
    b.running = true;
    for (uint32_t i = 0; i < in_flight; i++)
        send_request(&b.conns[i % clients]);
    run_for(300000); /* warm */
    b.sampling = true;
    uint64_t answered = b.answered, from_us = clock_us();
    double cpu = cpu_us(pid);
    run_for((uint64_t)(seconds * 1e6));
    cpu = cpu_us(pid) - cpu;
    double n = (double)(b.answered - answered), took = (double)(clock_us() - from_us) / 1e6;
    b.running = b.sampling = false;
    close_conns();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    CHECK(n > 0 && b.n_samples > 0);
    qsort(b.sample_ns, b.n_samples, sizeof *b.sample_ns, compare);
    return (struct figures){.per_second = n / took,
                            .p50_us = b.sample_ns[b.n_samples / 2] / 1e3,
                            .p99_us = b.sample_ns[b.n_samples - 1 - b.n_samples / 100] / 1e3,
                            .cpu_us = cpu / n};
}

static int compare_double(const void *a, const void *c) {
    double x = *(const double *)a, y = *(const double *)c;
    return (x > y) - (x < y);
}

static double median(const struct figures *runs, uint32_t n, size_t offset) {
    double values[ROUNDS_MAX];
    for (uint32_t i = 0; i < n; i++)
        memcpy(&values[i], (const char *)&runs[i] + offset, sizeof values[i]);
    qsort(values, n, sizeof *values, compare_double);
    return values[n / 2];
}

static void compare_brokers(const char *what, uint32_t clients, uint32_t workers,
                            uint32_t in_flight, double seconds, uint32_t rounds) {
    static struct figures runs[2][ROUNDS_MAX];
    for (uint32_t i = 0; i < 2 * rounds; i++) /* ours first in even rounds, second in odd ones */
        runs[(i ^ i >> 1) & 1][i / 2] =
            measure(!((i ^ i >> 1) & 1), clients, workers, in_flight, seconds);
    printf("%s: %u clients, %u workers, %u in flight, medians of %u x %.1f s\n", what, clients,
           workers, in_flight, rounds, seconds);
    static const struct {
        const char *name;
        size_t offset;
    } rows[] = {{"requests/s", offsetof(struct figures, per_second)},
                {"p50 us", offsetof(struct figures, p50_us)},
                {"p99 us", offsetof(struct figures, p99_us)},
                {"broker CPU us/request", offsetof(struct figures, cpu_us)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double own = median(runs[0], rounds, rows[i].offset);
        double minimal = median(runs[1], rounds, rows[i].offset);
        printf("  %-22s ember-broker %10.2f   minimal %10.2f   ratio %.2f\n", rows[i].name, own,
               minimal, own / minimal);
    }
    fflush(stdout);
}

static double argument(int argc, char **argv, const char *name, double fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtod(argv[i + 1], NULL);
    return fallback;
}

int main(int argc, char **argv) {
    double seconds = argument(argc, argv, "--seconds", 2);
    uint32_t rounds = (uint32_t)argument(argc, argv, "--rounds", 3);
    uint32_t clients = (uint32_t)argument(argc, argv, "--clients", 16);
    uint32_t workers = (uint32_t)argument(argc, argv, "--workers", 16);
    uint32_t in_flight = (uint32_t)argument(argc, argv, "--in-flight", 64);
    if (rounds < 1 || rounds > ROUNDS_MAX || !clients || !workers || !in_flight)
        return 2;
    b.sample_ns = malloc(SAMPLES * sizeof *b.sample_ns);
    CHECK(b.sample_ns);
    compare_brokers("busy", clients, workers, in_flight, seconds, rounds);
    compare_brokers("lone", 1, workers, 1, seconds, rounds);
    free(b.sample_ns);
    return 0;
}
