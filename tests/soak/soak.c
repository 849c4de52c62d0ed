/* soak.c - hours of ordinary life, and whether anything grows. A program, not a test: scripts/soak
 * builds it for release and runs it.
 *
 *     soak [--minutes N] [--csv FILE]
 *
 * Two brokers; two workers with the fake engine (so that each vector can be checked), one real
 * worker with small models; a Redis where there is one. At about 70 % of what the fake workers can
 * do: embed calls with a history that is judged each minute, by clients that come and go with it;
 * and beside them a visitor that opens a client, makes a call of each kind and closes it.
 *
 * Each ten seconds (more often in runs of minutes) a line per process goes to the CSV: seconds,
 * name, resident kB, descriptors, threads. The verdict at the end:
 *   - every call ended once, in time, with OK and its own vector;
 *   - resident memory behind the first third (caches fill, malloc finds its size): a straight line
 *     through the samples rises by less than 1 MiB + 2 % from its begin to its end;
 *   - descriptors and threads at the end are at most 4 above what they were after that third. */
#include "support/callers.h"
#include "support/rig.h"
#include "support/usage.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    PROCS = 7, /* two brokers, three workers, Redis, ourselves */
    SAMPLES_MAX = 20000,
    SEGMENT_S = 60,
    TEXTS_MAX = 3,
    DIM = 48,
    TIMEOUT_MS = 10000,
    POOL = 20000,
    GROWTH_KB = 1024,
    GROWTH_PERCENT = 2,
    SPARE_DESCRIPTORS = 4
};

#define CALLS_PER_S 450.0 /* of two texts; two workers of two threads and 3 ms a text: 1,280/s */

struct sample {
    double s;
    struct usage usage[PROCS];
};

static const char *const names[PROCS] = {"broker1", "broker2", "worker1", "worker2",
                                         "worker3", "redis",   "callers"};

static struct rig rig;
static struct proc real;
static struct sample *samples;
static uint32_t n_samples;
static struct {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint visits, failed;
    char why[300];
} visitor;

/* ----------------------------------------------------------------------------------------------
 * the visitor */

static bool visit_calls(ember_t *e, struct ember_error *error) {
    static const char *const texts[] = {"where is my parcel?", "the refund has not come"};
    static const char *const labels[] = {"delivery", "money"};
    ember_result_t *result = NULL;
    struct ember_embed_options embed = EMBER_EMBED_OPTIONS_INIT;
    struct ember_classify_options classify = EMBER_CLASSIFY_OPTIONS_INIT;
    struct ember_rerank_options rerank = EMBER_RERANK_OPTIONS_INIT;
    struct ember_tokenize_options tokenize = EMBER_TOKENIZE_OPTIONS_INIT;
    embed.model = classify.model = tokenize.model = "mean";
    rerank.model = "rank";
    embed.cache = EMBER_CACHE_BYPASS;
    bool good = ember_embed(e, texts, 2, &embed, &result, error) == EMBER_OK;
    ember_result_destroy(&result);
    good = good && ember_classify(e, texts, 2, labels, 2, &classify, &result, error) == EMBER_OK;
    ember_result_destroy(&result);
    good = good && ember_rerank(e, texts[0], texts, 2, &rerank, &result, error) == EMBER_OK;
    ember_result_destroy(&result);
    good = good && ember_tokenize(e, texts, 2, &tokenize, &result, error) == EMBER_OK;
    ember_result_destroy(&result);
    ember_report_t *report = NULL;
    good = good && ember_report(e, 0, &report, error) == EMBER_OK;
    ember_report_destroy(&report);
    return good;
}

static void *visitor_run(void *arg) {
    (void)arg;
    while (!atomic_load(&visitor.stop)) {
        ember_t *e = NULL;
        struct ember_error error;
        if (ember_open(rig.endpoints, NULL, &e, &error) != EMBER_OK || !visit_calls(e, &error)) {
            if (atomic_fetch_add(&visitor.failed, 1) == 0)
                snprintf(visitor.why, sizeof visitor.why, "%s: %.200s",
                         ember_status_name(error.status), error.message);
        }
        ember_close(&e);
        atomic_fetch_add(&visitor.visits, 1);
        usleep(300 * 1000);
    }
    return NULL;
}

/* ----------------------------------------------------------------------------------------------
 * samples */

static pid_t pid_of(uint32_t i) {
    const pid_t pids[PROCS] = {rig.broker[0].pid, rig.broker[1].pid, rig.worker[0].pid,
                               rig.worker[1].pid, real.pid,          rig.redis.pid,
                               getpid()};
    return pids[i];
}

static void take_sample(uint64_t start_us, FILE *csv) {
    if (n_samples == SAMPLES_MAX) /* every second one is dropped: a run may last for weeks */
        for (n_samples = 0; n_samples < SAMPLES_MAX / 2; n_samples++)
            samples[n_samples] = samples[2 * n_samples];
    struct sample *sample = &samples[n_samples++];
    sample->s = (double)(clock_us() - start_us) / 1e6;
    for (uint32_t i = 0; i < PROCS; i++) {
        if (!pid_of(i))
            continue;
        sample->usage[i] = usage_of(pid_of(i));
        fprintf(csv, "%.1f,%s,%u,%u,%u\n", sample->s, names[i], sample->usage[i].rss_kb,
                sample->usage[i].descriptors, sample->usage[i].threads);
    }
    fflush(csv);
}

/* How far a least-squares line through the samples from `first` on rises from its begin to its
 * end, in kB. */
static double rise_kb(uint32_t proc, uint32_t first, double *slope_per_h) {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (uint32_t i = first; i < n_samples; i++, n++) {
        double s = samples[i].s - samples[first].s, kb = samples[i].usage[proc].rss_kb;
        x += s, y += kb, xx += s * s, xy += s * kb;
    }
    double under = n * xx - x * x, slope = under > 0 ? (n * xy - x * y) / under : 0;
    *slope_per_h = slope * 3600;
    return slope * (samples[n_samples - 1].s - samples[first].s);
}

/* The least of the last five samples: clients that come and go are not a leak. */
static uint32_t least_late(uint32_t proc, uint32_t first, bool threads) {
    uint32_t least = UINT32_MAX, last = first + 5 < n_samples ? n_samples - 5 : first;
    for (uint32_t i = last; i < n_samples; i++) {
        const struct usage *usage = &samples[i].usage[proc];
        uint32_t n = threads ? usage->threads : usage->descriptors;
        least = n < least ? n : least;
    }
    return least;
}

static bool judge_growth(void) {
    uint32_t first = n_samples / 3;
    bool good = true;
    printf("%-8s %10s %10s %12s %12s %16s %14s\n", "process", "kB then", "kB now", "risen kB",
           "kB an hour", "descriptors", "threads");
    for (uint32_t i = 0; i < PROCS; i++) {
        if (!pid_of(i))
            continue;
        const struct usage *then = &samples[first].usage[i];
        const struct usage *now = &samples[n_samples - 1].usage[i];
        double slope, rise = rise_kb(i, first, &slope);
        uint32_t descriptors = least_late(i, first, false), threads = least_late(i, first, true);
        bool flat = rise < GROWTH_KB + then->rss_kb * (GROWTH_PERCENT / 100.0) &&
                    descriptors <= then->descriptors + SPARE_DESCRIPTORS &&
                    threads <= then->threads + SPARE_DESCRIPTORS;
        printf("%-8s %10u %10u %12.0f %12.0f %8u to %-5u %6u to %-5u %s\n", names[i], then->rss_kb,
               now->rss_kb, rise, slope, then->descriptors, descriptors, then->threads, threads,
               flat ? "flat" : "GROWS");
        good = good && (flat || strcmp(names[i], "redis") == 0); /* shown, but not ours */
    }
    return good;
}

/* ----------------------------------------------------------------------------------------------
 * the run */

static void start_all(void) {
    static const char *const bounded[] = {"--maxmemory", "32mb", "--maxmemory-policy",
                                          "allkeys-lru", NULL};
    struct rig_cfg cfg = {.brokers = 2,
                          .workers = 2,
                          .threads = 2,
                          .redis = true,
                          .models = {"m=fake:dim=48,sleep_us=3000"},
                          .worker_extra = {"--cache-memory", "4M", "--log-level", "warn"},
                          .broker_extra = {"--log-level", "warn"}};
    rig_init(&rig, &cfg);
    if (!rig_start(&rig)) {
        fprintf(stderr, "soak: no redis-server here: without it\n");
        cfg.redis = false;
        rig_init(&rig, &cfg);
        TEST_TRUE(rig_start(&rig));
    } else {
        redis_kill(&rig.redis, SIGKILL);
        TEST_TRUE(redis_start_again(&rig.redis, bounded));
    }
    proc_start(&real, "worker3",
               (const char *[]){PROC_WORKER,
                                "--name",
                                "worker3",
                                "--threads",
                                "1",
                                "--http",
                                "off",
                                "--redis",
                                cfg.redis ? rig.redis.url : "off",
                                "--weights-cache",
                                "off",
                                "--log-level",
                                "warn",
                                "--model",
                                "mean=" EMBER_SOURCE_DIR "/tests/data/golden/bert-mean/f32",
                                "--model",
                                "rank=" EMBER_SOURCE_DIR "/tests/data/golden/reranker/hf",
                                "--broker",
                                rig.workers[0],
                                "--broker",
                                rig.workers[1],
                                NULL});
    rig_wait_workers(&rig, 3, 20000);
}

static bool add_sums(struct history_sums *all, const struct history_sums *one) {
    all->calls += one->calls;
    all->lost += one->lost;
    all->twice += one->twice;
    all->foreign += one->foreign;
    all->late += one->late;
    all->cached += one->cached;
    all->resent += one->resent;
    for (uint32_t i = 0; i < HISTORY_STATUSES; i++)
        all->status[i] += one->status[i];
    all->worst_us = one->worst_us > all->worst_us ? one->worst_us : all->worst_us;
    all->stall_us = one->stall_us > all->stall_us ? one->stall_us : all->stall_us;
    all->median_us = one->median_us;
    return one->lost + one->twice + one->foreign + one->late == 0 &&
           one->status[EMBER_OK] == one->calls;
}

/* A minute of calls; every second one with texts that were never seen. */
static bool segment(uint32_t number, uint64_t end_us, struct history_sums *all, uint64_t start_us,
                    uint64_t every_us, FILE *csv) {
    struct history_sums sums;
    uint32_t capacity = (uint32_t)(2 * SEGMENT_S * CALLS_PER_S);
    history_t *history = history_new(capacity, TEXTS_MAX, DIM, number % 2 ? POOL : 0);
    struct callers_cfg cfg = {.endpoints = rig.endpoints,
                              .model = "m",
                              .clients = 4,
                              .threads = 12,
                              .calls_per_s = CALLS_PER_S,
                              .timeout_ms = TIMEOUT_MS};
    callers_t *callers = callers_start(&cfg, history);
    uint64_t now_us = clock_us(), until_us = now_us + SEGMENT_S * 1000000ull;
    until_us = until_us < end_us ? until_us : end_us;
    while ((now_us = clock_us()) < until_us) {
        take_sample(start_us, csv);
        uint64_t left_us = until_us - now_us;
        usleep((useconds_t)(left_us < every_us ? left_us : every_us));
    }
    callers_stop(&callers);
    history_check(history, &sums);
    history_destroy(&history);
    return add_sums(all, &sums);
}

static int soak(double minutes, const char *csv_path) {
    struct history_sums all = {0};
    FILE *csv = fopen(csv_path, "we");
    samples = calloc(SAMPLES_MAX, sizeof *samples);
    if (!csv || !samples) {
        fprintf(stderr, "soak: cannot write '%s'\n", csv_path);
        return 1;
    }
    fprintf(csv, "seconds,process,rss_kb,descriptors,threads\n");
    start_all();
    TEST_EQ(pthread_create(&visitor.thread, NULL, visitor_run, NULL), 0);
    uint64_t start_us = clock_us(), end_us = start_us + (uint64_t)(minutes * 60e6);
    uint64_t every_us = (uint64_t)(minutes * 60e6 / 60);
    every_us = every_us > 10000000 ? 10000000 : every_us;
    bool good = true;
    for (uint32_t i = 0; clock_us() < end_us; i++)
        good = segment(i, end_us, &all, start_us, every_us, csv) && good;
    take_sample(start_us, csv);
    atomic_store(&visitor.stop, true);
    pthread_join(visitor.thread, NULL);
    history_print(&all, "soak", stdout);
    printf("visits=%u failed=%u %s\n", visitor.visits, visitor.failed, visitor.why);
    good = good && visitor.failed == 0;
    good = judge_growth() && good;
    for (uint32_t i = 0; i < 2; i++) {
        proc_drain(&rig.worker[i], 30000);
        good = good && rig.worker[i].status == 0;
    }
    proc_drain(&real, 30000);
    for (uint32_t i = 0; i < 2; i++)
        proc_drain(&rig.broker[i], 30000);
    rig_stop(&rig);
    fclose(csv);
    free(samples);
    printf("soak: %s, %.1f minutes, samples in %s\n", good ? "passed" : "FAILED", minutes,
           csv_path);
    return proc_report(!good);
}

int main(int argc, char **argv) {
    double minutes = 30;
    const char *csv = "soak.csv";
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--minutes") == 0)
            minutes = strtod(argv[i + 1], NULL);
        else if (strcmp(argv[i], "--csv") == 0)
            csv = argv[i + 1];
        else
            argc = 0;
    if (argc % 2 == 0 || minutes <= 0) {
        fprintf(stderr, "usage: soak [--minutes N] [--csv FILE]\n");
        return 2;
    }
    return soak(minutes, csv);
}
