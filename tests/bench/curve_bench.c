/* curve_bench.c - what encryption costs: the same load on ember-broker without keys and with them.
 *
 *     clients, workers: DEALERs of one thread here ──► ember-broker ──► the same thread
 *
 * A request has 85 bytes, a result 1,600. Plain and encrypted runs take turns, so that a busy
 * machine harms both; medians are printed. The other ends' own encryption runs in this process: the
 * figure that carries over to other machines is the broker's CPU per request.
 *
 *     curve_bench [--seconds S] [--rounds N] [--clients N] [--workers N] [--in-flight N] */
#include "base/check.h"
#include "base/clock.h"
#include "support/keys.h"
#include "support/port.h"
#include "wire/session.h"

#include <dirent.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

enum {
    PEERS_MAX = 64,
    ROUNDS_MAX = 32,
    SAMPLES = 1 << 20,
    REQUEST_BYTES = 85,
    RESULT_BYTES = 1600,
    BEAT_US = 200 * 1000,
};

struct peer {
    void *socket;
    uint32_t in_a_row; /* see frame_recv_dealer() */
    bool worker, open;
    uint64_t epoch, beat_us, next_id;
    uint16_t service;
};

struct figures {
    double per_second, p50_us, p99_us, cpu_us;
};

static struct {
    struct peer peers[PEERS_MAX];
    uint32_t n_clients, n, n_open;
    uint64_t answered;
    bool running, sampling;
    uint32_t *sample_us, n_samples;
} b;

static void say(struct peer *p, struct header *header, const void *body, size_t bytes) {
    zmq_msg_t msg;
    CHECK(frame_body(&msg, view_make(body, bytes)));
    header->epoch = p->epoch;
    header->credit = p->worker ? 4096 : header->credit;
    frame_send_dealer(p->socket, header, &msg);
}

static void greet(struct peer *p, uint64_t uuid) {
    struct wire_out out = {0};
    struct wire_service_name want = {.model = view_of("m"), .task = WIRE_TASK_EMBED};
    struct wire_hello hello = {.protocol_min = 1,
                               .protocol_max = 1,
                               .name = view_of("bench"),
                               .version = view_of("0"),
                               .want = &want,
                               .n_want = 1};
    struct wire_model model = {.name = view_of("m"),
                               .fingerprint = view_of("00"),
                               .precision = view_of("f32"),
                               .kernel = view_of("none"),
                               .dim = 384,
                               .max_tokens = 512,
                               .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.protocol_min = 1,
                               .protocol_max = 1,
                               .uuid = uuid,
                               .name = view_of("bench"),
                               .host = view_of("h"),
                               .version = view_of("0"),
                               .tier = view_of("standard"),
                               .models = &model,
                               .n_models = 1};
    CHECK((p->worker ? session_ready_encode(&ready, &out) : session_hello_encode(&hello, &out)) ==
          STATUS_OK);
    struct header header = {.type = p->worker ? WIRE_READY : WIRE_HELLO};
    say(p, &header, out.data, out.bytes);
    wire_out_done(&out);
}

static void request(struct peer *p) {
    static char body[REQUEST_BYTES];
    uint64_t now = clock_us(), id = now << 8 | (p->next_id++ & 0xff); /* the time is in the id */
    memcpy(body, &id, sizeof id);
    struct header header = {.type = WIRE_REQUEST,
                            .lane = WIRE_LANE_NORMAL,
                            .attempt = 1,
                            .flags = WIRE_FLAG_ALONE,
                            .id = id,
                            .budget_us = 10 * 1000 * 1000,
                            .service = p->service};
    say(p, &header, body, sizeof body);
}

static void on_client(struct peer *p, const struct header *header, zmq_msg_t *body) {
    if (header->type == WIRE_WELCOME) {
        struct wire_welcome welcome;
        struct arena arena;
        CHECK(header->status == 0 && arena_init(&arena, session_arena_bytes(zmq_msg_size(body))));
        CHECK(session_welcome_decode(frame_view(body), &arena, &welcome, NULL) == STATUS_OK);
        p->epoch = welcome.session;
        p->service = (uint16_t)welcome.services[0].number;
        arena_done(&arena);
        b.n_open += !p->open;
        p->open = true;
    } else if (header->type == WIRE_PING) {
        struct header pong = {.type = WIRE_PONG, .id = header->id};
        say(p, &pong, NULL, 0);
    } else if (header->type == WIRE_REPLY) {
        CHECK(header->status == 0);
        b.answered++;
        if (b.sampling && b.n_samples < SAMPLES)
            b.sample_us[b.n_samples++] = (uint32_t)(clock_us() - (header->id >> 8));
        if (b.running)
            request(p);
    }
}

static void on_worker(struct peer *p, const struct header *header) {
    static const char result[RESULT_BYTES];
    if (header->type == WIRE_READY_OK) {
        CHECK(header->status == 0);
        p->epoch = header->epoch;
        b.n_open += !p->open;
        p->open = true;
    } else if (header->type == WIRE_PING) {
        struct header pong = {.type = WIRE_PONG, .id = header->id};
        say(p, &pong, NULL, 0);
    } else if (header->type == WIRE_DISPATCH) {
        struct header answer = {
            .type = WIRE_RESULT, .id = header->id, .service = header->service, .budget_us = 1};
        say(p, &answer, result, sizeof result);
    }
}

static void turn(void) {
    zmq_pollitem_t items[PEERS_MAX];
    uint64_t now = clock_us();
    for (uint32_t i = 0; i < b.n; i++) {
        struct peer *p = &b.peers[i];
        items[i] = (zmq_pollitem_t){.socket = p->socket, .events = ZMQ_POLLIN};
        if (p->worker && p->open && now - p->beat_us >= BEAT_US) {
            struct header beat = {.type = WIRE_HEARTBEAT};
            say(p, &beat, NULL, 0);
            p->beat_us = now;
        }
    }
    zmq_poll(items, (int)b.n, 10);
    for (uint32_t i = 0; i < b.n; i++) {
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        struct peer *p = &b.peers[i];
        if (!items[i].revents)
            continue;
        while (frame_recv_dealer(p->socket, &p->in_a_row, &header, &body, &verdict) == FRAME_OK) {
            if (p->worker)
                on_worker(p, &header);
            else
                on_client(p, &header, &body);
            zmq_msg_close(&body);
        }
    }
}

static double cpu_us(pid_t pid) {
    char path[512];
    double sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    CHECK(tasks);
    for (struct dirent *e; (e = readdir(tasks));) {
        double ns = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", pid, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (f && fscanf(f, "%lf", &ns) == 1)
            sum += ns / 1e3;
        if (f)
            fclose(f);
    }
    closedir(tasks);
    return sum;
}

static pid_t start_broker(const char *front, const char *back, const char *curve_dir) {
    const char *argv[] = {BENCH_BROKER, "--clients",   front,   "--workers",   back,      "--http",
                          "off",        "--log-level", "error", "--curve-dir", curve_dir, NULL};
    pid_t pid;
    CHECK(posix_spawn(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ) == 0);
    return pid;
}

static void open_peers(void *context, uint32_t clients, uint32_t workers, const char *front,
                       const char *back, const struct frame_curve *client,
                       const struct frame_curve *worker) {
    struct err err;
    b.n_clients = clients;
    b.n = clients + workers;
    for (uint32_t i = 0; i < b.n; i++) {
        struct peer *p = &b.peers[i];
        *p = (struct peer){.worker = i >= clients};
        p->socket = frame_socket(context, p->worker ? FRAME_WORKER : FRAME_CLIENT, 4096,
                                 p->worker ? worker : client, &err);
        CHECK(p->socket && zmq_connect(p->socket, p->worker ? back : front) == 0);
    }
    uint64_t until = clock_us() + 10 * 1000 * 1000, again = 0;
    while (b.n_open < b.n && clock_us() < until) {
        if (clock_us() >= again) {
            for (uint32_t i = 0; i < b.n; i++)
                if (!b.peers[i].open)
                    greet(&b.peers[i], i + 1);
            again = clock_us() + 100 * 1000;
        }
        turn();
    }
    CHECK(b.n_open == b.n);
}

static void run_for(double seconds) {
    for (uint64_t until = clock_us() + (uint64_t)(seconds * 1e6); clock_us() < until;)
        turn();
}

static int compare(const void *a, const void *c) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)c;
    return (x > y) - (x < y);
}

static struct figures measure(const struct keys *keys, const struct cert *client,
                              const struct cert *worker, uint32_t clients, uint32_t workers,
                              uint32_t in_flight, double seconds) {
    uint32_t *samples = b.sample_us;
    char front[64], back[64];
    memset(&b, 0, sizeof b);
    b.sample_us = samples;
    snprintf(front, sizeof front, "tcp://127.0.0.1:%u", port_free());
    snprintf(back, sizeof back, "tcp://127.0.0.1:%u", port_free());
    pid_t pid = start_broker(front, back, client ? keys->dir : "");
    struct frame_curve client_keys, worker_keys;
    if (client) {
        client_keys = keys_curve(client, &keys->server);
        worker_keys = keys_curve(worker, &keys->server);
    }
    void *context = frame_context();
    open_peers(context, clients, workers, front, back, client ? &client_keys : NULL,
               client ? &worker_keys : NULL);
    b.running = true;
    for (uint32_t i = 0; i < in_flight; i++)
        request(&b.peers[i % clients]);
    run_for(0.3);
    b.sampling = true;
    uint64_t answered = b.answered, from_us = clock_us();
    double cpu = cpu_us(pid);
    run_for(seconds);
    cpu = cpu_us(pid) - cpu;
    double n = (double)(b.answered - answered), took = (double)(clock_us() - from_us) / 1e6;
    for (uint32_t i = 0; i < b.n; i++) {
        int zero = 0;
        zmq_setsockopt(b.peers[i].socket, ZMQ_LINGER, &zero, sizeof zero);
        zmq_close(b.peers[i].socket);
    }
    zmq_ctx_term(context);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    CHECK(n > 0 && b.n_samples > 0);
    qsort(b.sample_us, b.n_samples, sizeof *b.sample_us, compare);
    return (struct figures){.per_second = n / took,
                            .p50_us = b.sample_us[b.n_samples / 2],
                            .p99_us = b.sample_us[b.n_samples - 1 - b.n_samples / 100],
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

static double argument(int argc, char **argv, const char *name, double fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtod(argv[i + 1], NULL);
    return fallback;
}

static void compare_both(const char *what, const struct keys *keys, const struct cert *client,
                         const struct cert *worker, uint32_t clients, uint32_t workers,
                         uint32_t in_flight, double seconds, uint32_t rounds) {
    static struct figures runs[2][ROUNDS_MAX];
    static const struct {
        const char *name;
        size_t offset;
    } rows[] = {{"requests/s", offsetof(struct figures, per_second)},
                {"p50 us", offsetof(struct figures, p50_us)},
                {"p99 us", offsetof(struct figures, p99_us)},
                {"broker CPU us/request", offsetof(struct figures, cpu_us)}};
    for (uint32_t i = 0; i < 2 * rounds; i++) {
        uint32_t with = (i ^ i >> 1) & 1;
        runs[with][i / 2] =
            measure(keys, with ? client : NULL, worker, clients, workers, in_flight, seconds);
    }
    printf("%s: %u clients, %u workers, %u in flight, medians of %u x %.1f s\n", what, clients,
           workers, in_flight, rounds, seconds);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double plain = median(runs[0], rounds, rows[i].offset);
        double curve = median(runs[1], rounds, rows[i].offset);
        printf("  %-22s plain %10.2f   keys %10.2f   ratio %.2f\n", rows[i].name, plain, curve,
               curve / plain);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    double seconds = argument(argc, argv, "--seconds", 2);
    uint32_t rounds = (uint32_t)argument(argc, argv, "--rounds", 3);
    uint32_t clients = (uint32_t)argument(argc, argv, "--clients", 8);
    uint32_t workers = (uint32_t)argument(argc, argv, "--workers", 4);
    uint32_t in_flight = (uint32_t)argument(argc, argv, "--in-flight", 64);
    if (rounds < 1 || rounds > ROUNDS_MAX || !clients || !workers || !in_flight ||
        clients + workers > PEERS_MAX)
        return 2;
    struct keys keys;
    struct cert client = {.role = CERT_CLIENT}, worker = {.role = CERT_WORKER};
    keys_make(&keys);
    keys_add(&keys, "clients", "bench", &client);
    keys_add(&keys, "workers", "bench", &worker);
    b.sample_us = malloc(SAMPLES * sizeof *b.sample_us);
    CHECK(b.sample_us);
    compare_both("busy", &keys, &client, &worker, clients, workers, in_flight, seconds, rounds);
    compare_both("lone", &keys, &client, &worker, 1, 1, 1, seconds, rounds);
    free(b.sample_us);
    keys_remove(&keys);
    return 0;
}
