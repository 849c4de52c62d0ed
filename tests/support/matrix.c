/* matrix.c - rows in turn: quiet, fault, settle, judge. */
#include "support/matrix.h"

#include "base/clock.h"

#include <stdarg.h>

enum {
    QUIET_MS = 500,
    SETTLE_MS = 500,
    DEADLINE_MS = 10000,
    DEADLINE_LONG_MS = 60000,
    TEXTS_MAX = 3,
    CALLS_MAX = 200000,
    PICKS = 16,
    SLOW_FLOOR_US = 20000,
    SUPERVISED_US = 20000
};

#define CALLS_PER_S 330.0 /* of two texts: 70 % of 950 texts/s */

static struct {
    bool is_long;
    uint32_t rounds, ran, n_picks;
    const char *pick[PICKS];
    struct rig rig;
    char note[256], endpoints[256];
} matrix = {.rounds = 1};

bool matrix_args(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--long") == 0)
            matrix.is_long = true;
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            matrix.rounds = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (argv[i][0] != '-' && matrix.n_picks < PICKS)
            matrix.pick[matrix.n_picks++] = argv[i];
        else
            return false;
    }
    return true;
}

bool matrix_long(void) {
    return matrix.is_long;
}

uint32_t matrix_ms(uint32_t usual_ms, uint32_t long_ms) {
    return matrix.is_long ? long_ms : usual_ms;
}

uint32_t matrix_ran(void) {
    return matrix.ran;
}

static bool broker_has(const char *option) {
    static char help[32768];
    FILE *f = help[0] ? NULL : popen(PROC_BROKER " --help", "r");
    if (f) {
        size_t n = fread(help, 1, sizeof help - 1, f);
        help[n] = '\0';
        pclose(f);
    }
    return strstr(help, option) != NULL;
}

static bool picked(const struct matrix_row *row) {
    for (uint32_t i = 0; i < matrix.n_picks; i++)
        if (strstr(row->name, matrix.pick[i]))
            return true;
    return matrix.n_picks == 0 && (matrix.is_long || !row->by_hand);
}

void matrix_note(const char *format, ...) {
    va_list list;
    size_t n = strlen(matrix.note);
    va_start(list, format);
    vsnprintf(matrix.note + n, sizeof matrix.note - n, format, list);
    va_end(list);
}

void matrix_supervise(struct rig *rig, uint32_t ms) {
    for (uint64_t end_us = clock_us() + ms * 1000ull; clock_us() < end_us; usleep(SUPERVISED_US)) {
        for (uint32_t i = 0; i < rig->cfg.brokers; i++)
            if (!proc_running(&rig->broker[i]))
                rig_start_broker(rig, i);
        for (uint32_t i = 0; i < rig->cfg.workers; i++)
            if (!proc_running(&rig->worker[i]))
                rig_start_worker(rig, i);
    }
}

static void start(const struct matrix_row *row, struct net *net) {
    struct rig_cfg cfg = {
        .brokers = row->brokers,
        .workers = MATRIX_WORKERS,
        .redis = row->redis,
        .models = {MATRIX_MODEL},
        /* Texts of the Redis rows come again and again and must be looked up there. */
        .worker_extra = {"--cache-memory", "0"},
        .net = row->net ? net : NULL,
    };
    memcpy(cfg.broker_extra, row->broker_extra, sizeof cfg.broker_extra);
    memcpy(cfg.broker_before, row->broker_before, sizeof cfg.broker_before);
    memcpy(cfg.worker_before, row->worker_before, sizeof cfg.worker_before);
    rig_init(&matrix.rig, &cfg);
    if (!rig_start(&matrix.rig))
        skip();
    if (row->prepare)
        row->prepare(&matrix.rig);
    snprintf(matrix.endpoints, sizeof matrix.endpoints, "%s%s%s", row->end ? row->end : "",
             row->end ? "," : "", matrix.rig.endpoints);
}

/* One line a row, then what fails it: a row that fails is a line, too. */
static void judge(const struct matrix_row *row, history_t *history, struct history_span quiet,
                  uint64_t fault_us) {
    struct history_sums sums;
    struct history_span after;
    uint64_t now_us = clock_us();
    history_check(history, &sums);
    history_span(history, fault_us - quiet.median_us, now_us, &after);
    uint32_t slow_us = 2 * quiet.p99_us + SLOW_FLOOR_US;
    uint32_t added_us = after.worst_us > quiet.p99_us ? after.worst_us - quiet.p99_us : 0;
    uint64_t settled_us = history_settled_us(history, fault_us - slow_us, now_us, slow_us);
    settled_us = settled_us > fault_us ? settled_us - fault_us : 0;
    uint32_t bound_us = row->may_add_ms * 1000 * PROC_SLOW + 4 * sums.stall_us;
    bool failed = sums.lost || sums.twice || sums.foreign || sums.late || sums.calls < 100 ||
                  sums.status[EMBER_OK] != sums.calls || (row->may_add_ms && added_us > bound_us);
    printf("%-34s calls=%-5u ok=%-5u lost=%u twice=%u foreign=%u late=%u resent=%-4u quiet_ms="
           "%.1f/%.1f added_ms=%-7.1f settled_ms=%-7.1f stall_ms=%-5.1f %s%s%s\n",
           row->name, sums.calls, sums.status[EMBER_OK], sums.lost, sums.twice, sums.foreign,
           sums.late, sums.resent, quiet.median_us / 1e3, quiet.p99_us / 1e3, added_us / 1e3,
           (double)settled_us / 1e3, sums.stall_us / 1e3, failed ? "FAILED" : "passed",
           matrix.note[0] ? " " : "", matrix.note);
    fflush(stdout);
    if (failed) {
        history_print(&sums, row->name, stderr);
        history_print_errors(history, stderr);
        TEST_FAIL("promised: %s; at most %u ms added", row->pass, row->may_add_ms);
    }
}

static void run_row(const struct matrix_row *row, struct net *net) {
    TEST_ROW(row->name);
    if (row->needs && !broker_has(row->needs)) {
        printf("%-34s left out: this broker has no %s\n", row->name, row->needs);
        return;
    }
    matrix.note[0] = '\0';
    start(row, net);
    history_t *history = history_new(CALLS_MAX, TEXTS_MAX, MATRIX_DIM, row->redis ? 300 : 0);
    struct callers_cfg cfg = {.endpoints = matrix.endpoints,
                              .model = "m",
                              .clients = 4,
                              .threads = 10,
                              .calls_per_s = CALLS_PER_S,
                              .timeout_ms = PROC_SLOW * matrix_ms(DEADLINE_MS, DEADLINE_LONG_MS),
                              .no_cache = !row->redis,
                              .net = row->net ? net : NULL,
                              .host = RIG_HOST_CLIENT};
    callers_t *callers = callers_start(&cfg, history);
    usleep(100 * 1000); /* the first calls wait for connections */
    uint64_t zero_us = clock_us();
    usleep(QUIET_MS * 1000);
    struct history_span quiet; /* of what has ended: the fault delays what is under way */
    uint64_t fault_us = clock_us();
    history_span(history, zero_us, fault_us, &quiet);
    if (row->fault)
        row->fault(&matrix.rig);
    usleep(SETTLE_MS * 1000);
    callers_stop(&callers);
    judge(row, history, quiet, fault_us);
    history_destroy(&history);
    if (!row->replaced)
        rig_wait_workers(&matrix.rig, MATRIX_WORKERS, MATRIX_BACK_MS * PROC_SLOW);
    rig_wait_idle(&matrix.rig, MATRIX_BACK_MS * PROC_SLOW);
    rig_stop(&matrix.rig);
    matrix.ran++;
}

void matrix_run(const struct matrix_row *rows, size_t n, struct net *net) {
    for (uint32_t round = 0; round < matrix.rounds; round++)
        for (size_t i = 0; i < n; i++)
            if (picked(&rows[i]))
                run_row(&rows[i], net);
}

void matrix_stop(void) {
    rig_stop(&matrix.rig);
}
