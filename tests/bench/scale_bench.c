/* scale_bench.c - a broker with many peers: its core alone, and the program over loopback.
 *
 *     scale_bench [--workers 1000] [--clients 10000] [--in-flight 1024] [--seconds 3]
 *
 * Alone: no sockets; what a decision costs, and what tables take. Real: ember-broker, all
 * peers played by one thread (players.h); requests of 200 bytes from clients in turn, answers of
 * 1,600 at once. Both tell the time from the loss of a worker to the moment all it had is with
 * others: alone that of the calls, real from close() to the last DISPATCH. */
#include "scale_core.h"

#include "base/check.h"
#include "base/clock.h"
#include "players.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    UP_BYTES = 200,
    DOWN_BYTES = 1600,
    SLOTS = 8, /* requests at one worker */
    CREDIT = SLOTS * (1 + UP_BYTES / 64),
    LOSSES = 9,
    SCRAPES = 100,
    SECOND = 1000 * 1000,
    IDLE_US = 10 * 1000 * 1000, /* pings of all kinds included */
    IDS = 1 << 16,
};

#define NOBODY UINT32_MAX

static struct real {
    struct players players;
    uint32_t n_clients, next_client;
    uint64_t answered, next_id;
    uint32_t n_got;        /* dispatches since the last hold() */
    bool running, holding; /* holding: workers keep what they get */
    struct {
        uint32_t worker[2];
        uint64_t ticket[2];
    } held[IDS]; /* by request: who has it now, two when it looked stuck */
    uint32_t waiting_of, n_waiting;
} r;

/* ---------------------------------------------------------------- peers */

static void ask(void) {
    uint8_t body[UP_BYTES] = {0};
    struct player *p = &r.players.list[r.next_client++ % r.n_clients];
    uint32_t number = (uint32_t)(++r.next_id % IDS);
    memcpy(body, &number, sizeof number);
    memcpy(body + 8, &r.next_id, sizeof r.next_id); /* no two alike */
    struct header header = {.type = WIRE_REQUEST,
                            .lane = WIRE_LANE_NORMAL,
                            .id = r.next_id,
                            .epoch = p->epoch,
                            .budget_us = 60 * 1000 * 1000,
                            .service = p->service};
    players_send(&r.players, p, &header, body, sizeof body);
}

static void give(struct player *p, uint64_t ticket) {
    static const uint8_t answer[DOWN_BYTES];
    struct header result = {
        .type = WIRE_RESULT, .credit = CREDIT, .epoch = p->epoch, .id = ticket, .budget_us = 1000};
    players_send(&r.players, p, &result, answer, sizeof answer);
}

static void on_message(struct player *p, const struct header *header, const uint8_t *body,
                       size_t bytes) {
    if (header->type == WIRE_DISPATCH) {
        uint32_t number;
        CHECK(bytes == UP_BYTES);
        memcpy(&number, body, sizeof number);
        uint32_t place =
            r.held[number].worker[0] != NOBODY && r.held[number].worker[0] != p->number;
        if (r.n_waiting && r.held[number].worker[0] == r.waiting_of &&
            r.held[number].worker[1] == NOBODY)
            r.n_waiting--;
        if (!r.holding)
            place = 0;
        r.held[number].worker[place] = p->number;
        r.held[number].ticket[place] = header->id;
        r.n_got++;
        if (!r.holding)
            give(p, header->id);
    } else if (header->type == WIRE_CANCEL && r.holding) { /* answered by a second execution */
        for (uint32_t i = 0; i < 2 * IDS; i++)
            if (r.held[i / 2].worker[i % 2] == p->number &&
                r.held[i / 2].ticket[i % 2] == header->id)
                r.held[i / 2].worker[i % 2] = NOBODY;
    } else if (header->type == WIRE_REPLY) {
        r.answered++;
        if (r.running)
            ask();
    }
}

/* ---------------------------------------------------------------- the program */

static pid_t start_broker(uint16_t clients, uint16_t workers, uint16_t http) {
    char front[64], back[64], page[64];
    snprintf(page, sizeof page, "127.0.0.1:%u", http);
    snprintf(front, sizeof front, "tcp://127.0.0.1:%u", clients);
    snprintf(back, sizeof back, "tcp://127.0.0.1:%u", workers);
    const char *argv[] = {BENCH_BROKER, "--clients", front,         "--workers", back,
                          "--http",     page,        "--log-level", "error",     NULL};
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive us */
        execv(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    CHECK(pid > 0);
    return pid;
}

/* Run time of all its threads. */
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

static double rss_kb(pid_t pid) {
    char path[64];
    double pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *f = fopen(path, "re");
    CHECK(f && fscanf(f, "%*s %lf", &pages) == 1);
    fclose(f);
    return pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* From connect() to the end of the page; its bytes. */
static size_t scrape(uint16_t port) {
    static const char get[] = "GET /metrics HTTP/1.0\r\n\r\n";
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char page[65536];
    size_t bytes = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    CHECK(send(fd, get, sizeof get - 1, 0) == sizeof get - 1);
    for (ssize_t n; (n = recv(fd, page, sizeof page, 0)) > 0;)
        bytes += (size_t)n;
    close(fd);
    CHECK(bytes > 1000);
    return bytes;
}

static void scrape_often(uint16_t port, const char *when) {
    double took_us[SCRAPES];
    size_t bytes = 0;
    for (uint32_t i = 0; i < SCRAPES; i++) {
        uint64_t from_us = clock_us();
        bytes = scrape(port);
        took_us[i] = (double)(clock_us() - from_us);
        usleep(10 * 1000);
    }
    qsort(took_us, SCRAPES, sizeof *took_us, compare);
    printf("  scrape of %6zu bytes, %-22s %10.2f ms (P95 %.2f, worst %.2f)\n", bytes, when,
           took_us[SCRAPES / 2] / 1e3, took_us[SCRAPES * 95 / 100] / 1e3,
           took_us[SCRAPES - 1] / 1e3);
}

/* By another process, while this one plays: workers that are silent are given up. */
static void measure_scrapes(uint16_t port, const char *when) {
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        scrape_often(port, when);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0)
        players_run(&r.players, 20 * 1000);
    CHECK(status == 0);
}

static void measure_cpu(pid_t pid, uint32_t in_flight, double seconds, uint16_t http) {
    r.running = true;
    for (uint32_t i = 0; i < in_flight; i++)
        ask();
    players_run(&r.players, 500 * 1000); /* warm */
    uint64_t answered = r.answered, from_us = clock_us();
    double cpu = cpu_us(pid);
    players_run(&r.players, (uint64_t)(seconds * 1e6));
    double n = (double)(r.answered - answered), took = (double)(clock_us() - from_us) / 1e6;
    CHECK(n > 0);
    printf("  %-44s %10.2f us, %.0f requests/s\n", "broker CPU per request",
           (cpu_us(pid) - cpu) / n, n / took);
    measure_scrapes(http, "under load");
    r.running = false;
    players_run(&r.players, 500 * 1000);
}

/* Every worker gets half of its window and keeps it. */
static void hold(uint32_t n) {
    r.holding = true;
    r.n_got = 0;
    for (uint32_t i = 0; i < n; i++) {
        ask();
        if (i % 64 == 0)
            players_turn(&r.players, 0);
    }
    for (uint64_t until = clock_us() + SECOND; r.n_got < n && clock_us() < until;)
        players_turn(&r.players, 1); /* no longer than that takes, or they would look stuck */
}

/* Then all is answered: a request that two workers in a row die of would be refused as poison. */
static void let_go(void) {
    r.holding = false;
    for (uint32_t i = 0; i < 2 * IDS; i++) {
        uint32_t worker = r.held[i / 2].worker[i % 2];
        r.held[i / 2].worker[i % 2] = NOBODY;
        if (worker != NOBODY && r.players.list[worker].fd >= 0)
            give(&r.players.list[worker], r.held[i / 2].ticket[i % 2]);
    }
    players_run(&r.players, 200 * 1000);
}

static void measure_losses(uint32_t workers) {
    double took_us[LOSSES];
    uint32_t n_held = workers * SLOTS / 2 < IDS / 4 ? workers * SLOTS / 2 : IDS / 4, lost = 0;
    let_go();
    for (uint32_t i = 0; i < LOSSES; i++) {
        hold(n_held);
        struct player *p = &r.players.list[r.n_clients + i];
        r.waiting_of = p->number;
        r.n_waiting = 0;
        for (uint32_t k = 0; k < IDS; k++)
            r.n_waiting += r.held[k].worker[0] == p->number && r.held[k].worker[1] == NOBODY;
        uint32_t had = r.n_waiting;
        lost += had;
        uint64_t from_us = clock_us();
        players_close(&r.players, p);
        while (r.n_waiting && clock_us() < from_us + 5 * 1000 * 1000)
            players_turn(&r.players, 1);
        if (r.n_waiting)
            fprintf(stderr, "%u of %u still wait, loss %u\n", r.n_waiting, had, i);
        took_us[i] = (double)(clock_us() - from_us);
        let_go();
    }
    qsort(took_us, LOSSES, sizeof *took_us, compare);
    printf("  %-44s %10.2f ms (%.2f to %.2f; %u requests each)\n",
           "worker closed to all it had with others", took_us[LOSSES / 2] / 1e3, took_us[0] / 1e3,
           took_us[LOSSES - 1] / 1e3, lost / LOSSES);
}

static void real(uint32_t workers, uint32_t clients, uint32_t in_flight, double seconds) {
    memset(&r, 0, sizeof r);
    for (uint32_t i = 0; i < IDS; i++)
        r.held[i].worker[0] = r.held[i].worker[1] = NOBODY;
    r.n_clients = clients;
    players_init(&r.players, clients + workers, CREDIT);
    r.players.on_message = on_message;
    uint16_t front = players_free_port(), back = players_free_port(), http = players_free_port();
    pid_t pid = start_broker(front, back, http);
    printf("the program, %u workers, %u clients, %u in flight\n", workers, clients, in_flight);
    players_add(&r.players, 1, false, front);
    double before = rss_kb(pid);
    players_add(&r.players, clients - 1, false, front);
    double with_clients = rss_kb(pid);
    players_add(&r.players, workers, true, back);
    double with_all = rss_kb(pid);
    printf("  %-44s %10.1f KB (of %.0f KB in all)\n", "RSS per client connection",
           (with_clients - before) / (clients - 1), with_all);
    printf("  %-44s %10.1f KB\n", "RSS per worker connection", (with_all - with_clients) / workers);
    double cpu = cpu_us(pid);
    players_run(&r.players, IDLE_US);
    printf("  %-44s %10.2f %% of a CPU\n", "broker with nothing to do",
           (cpu_us(pid) - cpu) / IDLE_US * 100);
    measure_scrapes(http, "idle");
    measure_cpu(pid, in_flight, seconds, http);
    measure_losses(workers);
    printf("  %-44s %10.0f KB\n", "RSS at the end", rss_kb(pid));
    fflush(stdout);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    players_done(&r.players);
}

static double argument(int argc, char **argv, const char *name, double fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtod(argv[i + 1], NULL);
    return fallback;
}

int main(int argc, char **argv) {
    uint32_t workers = (uint32_t)argument(argc, argv, "--workers", 1000);
    uint32_t clients = (uint32_t)argument(argc, argv, "--clients", 10000);
    uint32_t in_flight = (uint32_t)argument(argc, argv, "--in-flight", 1024);
    double seconds = argument(argc, argv, "--seconds", 3);
    if (workers < LOSSES + 1 || clients < 2 || !in_flight || in_flight > IDS / 2)
        return 2;
    scale_core(workers, clients, in_flight);
    if (seconds > 0)
        real(workers, clients, in_flight, seconds);
    return 0;
}
