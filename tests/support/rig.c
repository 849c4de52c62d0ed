/* rig.c - command lines, and asking brokers what they see. */
#include "support/rig.h"

#include "base/clock.h"

enum { UP_MS = 10000, ARGS_MAX = 80, STEP_US = 10000, PORT_CLIENTS = 5555, PORT_WORKERS = 5556 };

static void address(char *out, size_t out_bytes, const struct rig_cfg *cfg, uint32_t broker,
                    unsigned port) {
    if (cfg->net)
        snprintf(out, out_bytes, "tcp://%s:%u", net_address(cfg->net, broker), port);
    else
        snprintf(out, out_bytes, "tcp://127.0.0.1:%u", port_free());
}

/* What is started between the two belongs to that host. */
static void enter(const struct rig *self, uint32_t host) {
    if (self->cfg.net)
        net_enter(self->cfg.net, host);
}

static void leave(const struct rig *self) {
    if (self->cfg.net)
        net_leave(self->cfg.net);
}

static size_t add_all(const char **argv, size_t n, const char *const *list) {
    for (uint32_t k = 0; k < RIG_EXTRA && list[k]; k++)
        argv[n++] = list[k];
    return n;
}

void rig_init(struct rig *self, const struct rig_cfg *cfg) {
    *self = (struct rig){.cfg = *cfg};
    TEST_TRUE(cfg->brokers <= RIG_BROKERS && cfg->workers <= RIG_WORKERS);
    size_t n = 0;
    for (uint32_t i = 0; i < cfg->brokers; i++) {
        address(self->clients[i], sizeof self->clients[i], cfg, i, PORT_CLIENTS);
        address(self->workers[i], sizeof self->workers[i], cfg, i, PORT_WORKERS);
        n += (size_t)snprintf(self->endpoints + n, sizeof self->endpoints - n, "%s%s", i ? "," : "",
                              self->clients[i]);
    }
}

void rig_start_broker(struct rig *self, uint32_t i) {
    const char *const program[] = {
        PROC_BROKER, "--clients", self->clients[i], "--workers", self->workers[i], "--http",
        "off",       NULL};
    const char *argv[ARGS_MAX] = {0};
    size_t n = add_all(argv, 0, self->cfg.broker_before);
    n = add_all(argv, n, program);
    add_all(argv, n, self->cfg.broker_extra);
    char name[PROC_NAME_MAX];
    snprintf(name, sizeof name, "broker%u", i + 1);
    enter(self, i);
    proc_start(&self->broker[i], name, argv);
    leave(self);
}

static void start_worker(struct rig *self, uint32_t i, const char *const *models) {
    const struct rig_cfg *cfg = &self->cfg;
    char name[PROC_NAME_MAX], threads[16];
    snprintf(name, sizeof name, "worker%u", i + 1);
    snprintf(threads, sizeof threads, "%u", cfg->threads ? cfg->threads : 1);
    const char *argv[ARGS_MAX] = {0};
    size_t n = add_all(argv, 0, cfg->worker_before);
    const char *const program[] = {cfg->real ? PROC_WORKER : PROC_WORKER_FAKE,
                                   "--name",
                                   name,
                                   "--threads",
                                   threads,
                                   "--http",
                                   "off",
                                   "--redis",
                                   cfg->redis ? self->redis.url : "off",
                                   "--weights-cache",
                                   "off"}; /* nothing of tests in the home of who runs them */
    for (size_t k = 0; k < sizeof program / sizeof *program; k++)
        argv[n++] = program[k];
    for (uint32_t k = 0; k < RIG_MODELS && models[k]; k++) {
        argv[n++] = "--model";
        argv[n++] = models[k];
    }
    for (uint32_t k = 0; k < cfg->brokers; k++) {
        argv[n++] = "--broker";
        argv[n++] = self->workers[k];
    }
    add_all(argv, n, cfg->worker_extra);
    enter(self, RIG_HOST_WORKER + i);
    proc_start(&self->worker[i], name, argv);
    leave(self);
}

void rig_start_worker(struct rig *self, uint32_t i) {
    start_worker(self, i, self->cfg.models);
}

void rig_start_worker_as(struct rig *self, uint32_t i, const char *model) {
    start_worker(self, i, (const char *const[RIG_MODELS]){model});
}

bool rig_start(struct rig *self) {
    if (self->cfg.redis && !redis_start(&self->redis, false))
        return false;
    for (uint32_t i = 0; i < self->cfg.brokers; i++)
        rig_start_broker(self, i);
    for (uint32_t i = 0; i < self->cfg.workers; i++)
        rig_start_worker(self, i);
    rig_wait_workers(self, self->cfg.workers, UP_MS * PROC_SLOW);
    return true;
}

/* UINT32_MAX: one is neither live nor, where that counts, suspect. */
static uint32_t known_workers(const ember_report_t *report, bool suspect_too) {
    uint32_t n = 0;
    const struct ember_worker_info *worker;
    for (size_t i = 0; (worker = ember_report_worker(report, i)) != NULL; i++, n++)
        if (strcmp(worker->state, "live") != 0 &&
            !(suspect_too && strcmp(worker->state, "suspect") == 0))
            return UINT32_MAX;
    return n;
}

static bool has_workers(const ember_report_t *report, uint32_t n) {
    return known_workers(report, true) == n;
}

static bool has_trusted(const ember_report_t *report, uint32_t n) {
    return known_workers(report, false) == n;
}

static bool is_idle(const ember_report_t *report, uint32_t n) {
    (void)n;
    const struct ember_broker_info *broker = ember_report_broker(report);
    return broker->queued == 0 && broker->in_flight == 0;
}

static void open_client(struct rig *self, uint32_t i, ember_t **out) {
    struct ember_error error;
    enter(self, RIG_HOST_TEST);
    enum ember_status st = ember_open(self->clients[i], NULL, out, &error);
    leave(self);
    if (st != EMBER_OK)
        TEST_FAIL("open: %s", error.message);
}

/* One broker, asked again and again. */
static void wait_until(struct rig *self, uint32_t i, const char *what,
                       bool (*good)(const ember_report_t *report, uint32_t n), uint32_t n,
                       uint32_t ms) {
    ember_t *e = NULL;
    struct ember_error error = {.message = "no report"};
    uint64_t end_us = clock_us() + ms * 1000ull;
    open_client(self, i, &e);
    for (bool done = false; !done; usleep(STEP_US)) {
        ember_report_t *report = NULL;
        if (!proc_running(&self->broker[i]))
            TEST_FAIL("broker%u has ended with status %d", i + 1, self->broker[i].status);
        if (ember_report(e, 1000, &report, &error) == EMBER_OK)
            done = good(report, n);
        if (!done && clock_us() > end_us)
            TEST_FAIL("broker%u: not within %u ms: %s %u (live: %d, %s)", i + 1, ms, what, n,
                      report ? (int)known_workers(report, false) : -2, report ? "" : error.message);
        ember_report_destroy(&report);
    }
    ember_close(&e);
}

static void wait_each(struct rig *self, const char *what,
                      bool (*good)(const ember_report_t *report, uint32_t n), uint32_t n,
                      uint32_t ms) {
    for (uint32_t i = 0; i < self->cfg.brokers; i++)
        if (proc_running(&self->broker[i]))
            wait_until(self, i, what, good, n, ms);
}

void rig_wait_workers(struct rig *self, uint32_t n, uint32_t ms) {
    wait_each(self, "live workers:", has_workers, n, ms);
}

void rig_wait_trusted(struct rig *self, uint32_t n, uint32_t ms) {
    wait_each(self, "trusted workers:", has_trusted, n, ms);
}

void rig_wait_idle(struct rig *self, uint32_t ms) {
    wait_each(self, "requests left:", is_idle, 0, ms);
}

uint64_t rig_counter(struct rig *self, uint32_t i, const char *name) {
    ember_t *e = NULL;
    ember_report_t *report = NULL;
    struct ember_error error;
    open_client(self, i, &e);
    if (ember_report(e, 5000, &report, &error) != EMBER_OK)
        TEST_FAIL("report: %s", error.message);
    const struct ember_counter_info *counter;
    size_t k = 0;
    while ((counter = ember_report_counter(report, k)) != NULL && strcmp(counter->name, name) != 0)
        k++;
    if (!counter)
        TEST_FAIL("no counter '%s'", name);
    uint64_t value = counter->value;
    ember_report_destroy(&report);
    ember_close(&e);
    return value;
}

void rig_stop(struct rig *self) {
    for (uint32_t i = 0; i < RIG_WORKERS; i++)
        proc_kill(&self->worker[i]);
    for (uint32_t i = 0; i < RIG_BROKERS; i++)
        proc_kill(&self->broker[i]);
    if (self->redis.dir[0])
        redis_stop(&self->redis);
    self->redis = (struct redis_proc){0};
}
