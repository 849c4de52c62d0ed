/* start_bench.c - how long a worker takes from its start to the first answer, and what memory it
 * and a second one of the same model take.
 *
 *     start_bench [--rounds N] [--precision f32|bf16|i8] [--no-cache] BIN MODEL_DIR
 *
 * BIN is the build folder. One broker; a worker with one runner is started, and a client asks for a
 * vector, again and again without a pause, until it gets one. cold: with an empty weights cache
 * (the model's files are in the page cache); warm: with what that start left. Milliseconds from
 * fork() to the answer in the client's hands, least and median. Memory is read when a worker has
 * answered once: resident set; its proportional share while it is alone; what the shares of two
 * workers together are more than that. */
#include <ember/ember.h>

#include "base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_MAX = 100, PATH_BYTES = 4096 };

struct bench {
    const char *bin, *model, *precision;
    uint32_t rounds;
    bool no_cache;
    char cache[64];
    char front[64], back[64];
    ember_t *client;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static pid_t start(const char *const *argv) {
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (!getenv("START_BENCH_LOG"))
        dup2(null, 2);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void stop(pid_t pid) {
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static pid_t start_broker(const struct bench *self) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/broker/ember-broker", self->bin);
    return start((const char *const[]){path, "--clients", self->front, "--workers", self->back,
                                       "--http", "off", NULL});
}

static pid_t start_worker(const struct bench *self, const char *name) {
    char path[PATH_BYTES], model[PATH_BYTES];
    snprintf(path, sizeof path, "%s/worker/ember-worker", self->bin);
    snprintf(model, sizeof model, "m=%s", self->model);
    return start((const char *const[]){path, "--name", name, "--model", model, "--broker",
                                       self->back, "--redis", "off", "--http", "off", "--threads",
                                       "1", "--precision", self->precision, "--weights-cache",
                                       self->no_cache ? "off" : self->cache, NULL});
}

/* Asks until there is an answer. */
static void wait_answer(const struct bench *self, pid_t worker) {
    static const char *const text[] = {"how long does it take until somebody answers?"};
    for (;;) {
        ember_result_t *result = NULL;
        if (ember_embed(self->client, text, 1, NULL, &result, NULL) == EMBER_OK) {
            ember_result_destroy(&result);
            return;
        }
        int status;
        if (waitpid(worker, &status, WNOHANG) == worker) {
            fprintf(stderr, "start_bench: the worker ended with status %d\n", status);
            exit(1);
        }
        usleep(300);
    }
}

/* A line of smaps_rollup, in bytes. */
static double smaps(pid_t pid, const char *key) {
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        die(path);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            kb = strtod(line + strlen(key), NULL);
    fclose(f);
    return kb * 1024;
}

static void empty_cache(const struct bench *self) {
    DIR *dir = opendir(self->cache);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

static int by_time(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const struct bench *self, bool cold) {
    double ms[ROUNDS_MAX];
    for (uint32_t i = 0; i < self->rounds; i++) {
        if (cold)
            empty_cache(self);
        const uint64_t begin_us = clock_us();
        pid_t worker = start_worker(self, "one");
        wait_answer(self, worker);
        ms[i] = (double)(clock_us() - begin_us) / 1e3;
        stop(worker);
    }
    qsort(ms, self->rounds, sizeof *ms, by_time);
    printf("%-4s  least %6.1f ms  median %6.1f ms\n", cold ? "cold" : "warm", ms[0],
           ms[self->rounds / 2]);
}

/* Until the broker has two workers that serve. */
static void wait_two(const struct bench *self) {
    for (size_t n = 0; n < 2; usleep(20 * 1000)) {
        ember_report_t *report = NULL;
        const struct ember_worker_info *worker;
        if (ember_report(self->client, 1000, &report, NULL) != EMBER_OK)
            continue;
        for (n = 0; (worker = ember_report_worker(report, n)) != NULL;)
            n++;
        ember_report_destroy(&report);
    }
}

static void measure_memory(const struct bench *self) {
    pid_t one = start_worker(self, "one");
    wait_answer(self, one);
    usleep(300 * 1000);
    const double rss = smaps(one, "Rss:"), pss = smaps(one, "Pss:"),
                 anon = smaps(one, "Anonymous:");
    const double huge = smaps(one, "FilePmdMapped:") + smaps(one, "AnonHugePages:");
    pid_t two = start_worker(self, "two");
    wait_two(self);
    usleep(300 * 1000);
    const double both = smaps(one, "Pss:") + smaps(two, "Pss:");
    printf("rss %.1f MB, alone pss %.1f (private anonymous %.1f, in huge pages %.1f), second adds "
           "%.1f\n",
           rss / 1e6, pss / 1e6, anon / 1e6, huge / 1e6, (both - pss) / 1e6);
    stop(two);
    stop(one);
}

int main(int argc, char **argv) {
    struct bench self = {.rounds = 11, .precision = "f32"};
    const char *words[2] = {0};
    int n_words = 0;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            self.rounds = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--precision") == 0 && i + 1 < argc)
            self.precision = argv[++i];
        else if (strcmp(argv[i], "--no-cache") == 0)
            self.no_cache = true;
        else if (n_words < 2)
            words[n_words++] = argv[i];
    if (n_words < 2 || self.rounds < 1 || self.rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: start_bench [--rounds N] [--precision P] [--no-cache] BIN MODEL\n");
        return 2;
    }
    self.bin = words[0];
    self.model = words[1];
    const unsigned port = 20000 + (unsigned)getpid() % 20000;
    snprintf(self.front, sizeof self.front, "tcp://127.0.0.1:%u", port);
    snprintf(self.back, sizeof self.back, "tcp://127.0.0.1:%u", port + 1);
    snprintf(self.cache, sizeof self.cache, "/var/tmp/ember-start-XXXXXX");
    if (!mkdtemp(self.cache))
        die(self.cache);
    struct ember_error error;
    pid_t broker = start_broker(&self);
    if (ember_open(self.front, NULL, &self.client, &error) != EMBER_OK)
        return 1;
    printf("# %s, %s%s, %u rounds\n", self.model, self.precision,
           self.no_cache ? ", no weights cache" : "", self.rounds);
    pid_t first = start_worker(&self, "one"); /* brings the files into the page cache */
    wait_answer(&self, first);
    stop(first);
    if (!self.no_cache)
        measure(&self, true);
    usleep(100 * 1000); /* the model's files have settled: stamp.h */
    measure(&self, false);
    measure_memory(&self);
    stop(broker);
    ember_close(&self.client);
    empty_cache(&self);
    rmdir(self.cache);
    return 0;
}
