/* loop.c - carries frames, answers, batches and time between the world and serve. (What goes over
 * each connection: brokers.c.)
 *
 * One turn: poll; take what runners finished; read each broker's frames, a bounded number; ask
 * Redis once for all that came (one MGET); hand batches to free runners; send what timers want.
 * Results go out from within, as soon as serve has them. */
#include "loop.h"

#include "brokers.h"
#include "budget.h"
#include "trace_text.h"
#include "watch.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "wire/wait.h"

#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    TEXT_BYTES =
        4 * LIMIT_TEXT_BYTES, /* of one batch: two texts, or a pair, of the greatest length, prompts
 included */
    ITEMS_MAX = 8192,         /* texts, or pairs, in hand */
    REQUEST_MEMORY_BYTES = 256 * 1024 * 1024,
    POLL_FIXED = 4,
    TURN_US_MAX = 1000 * 1000,
    PUBLISH_US = 100 * 1000,
    MEMORY_US = 1000 * 1000,
    LOG_SLOW_US = 100 * 1000,       /* between two lines about slow requests */
    RUN_OUT_US = 1000 * 1000,       /* after the drain time-out: to end what runs */
    GIVE_BACK_US = 2 * 1000 * 1000, /* then, to say BYE: it and all until the process ends */
};

struct loop {
    struct loop_cfg cfg;
    struct brokers brokers;
    serve_t *serve;
    cache_t *cache;
    struct batch *batches; /* [n_batches] */
    struct batch **spare;  /* [n_batches] those nobody has */
    uint32_t n_spare, n_out;
    int timer_fd;             /* for waits below poll's millisecond; -1: not needed */
    uint64_t now_us, stop_us; /* stop_us: when patience with draining ends; 0: not draining */
    bool gave_back;           /* it has ended */
    uint64_t rss_bytes, rss_next_us;
    struct memory memory;
    struct budget budget;
    uint64_t memory_bytes, memory_next_us; /* used when last looked; when to look again */
    uint32_t trims;                        /* times that it was short */
    struct watch watch;
    struct log_limit log_slow;
    bool killed, hopeless;
    pthread_mutex_t report_lock;
    struct loop_report report; /* under report_lock */
};

/* ---------------------------------------------------------------- what brokers ask for */

static void on_reply(void *arg, const struct serve_reply *reply) {
    brokers_reply(&((loop_t *)arg)->brokers, reply);
}

/* Of the trace context what is one is told, and nothing else a client may have written there. */
static void on_slow(void *arg, const struct serve_slow *slow) {
    loop_t *self = arg;
    uint32_t held;
    if (!log_allow(&self->log_slow, self->now_us, LOG_SLOW_US, &held))
        return;
    const struct wire_times *t = &slow->times;
    char trace[LIMIT_TRACEPARENT_BYTES + 1];
    log_warn("slow-request",
             "execution=%016llx broker=%s model=%s task=%s lane=%s status=%s texts=%u "
             "cache_ms=%.1f queue_ms=%.1f tokenize_ms=%.1f infer_ms=%.1f total_ms=%.1f trace=%s "
             "held=%u",
             (unsigned long long)slow->origin.ticket,
             self->brokers.broker[slow->origin.broker].endpoint,
             self->cfg.models->model[slow->model].name, wire_task_name(slow->task),
             wire_lane_name(slow->lane), status_name(slow->status), slow->n_texts,
             t->cache_us / 1e3, t->queue_us / 1e3, t->tokenize_us / 1e3, t->infer_us / 1e3,
             t->total_us / 1e3, trace_text(slow->trace, trace), held);
}

static uint64_t rss_bytes(void) {
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    fclose(f);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const char *redis_word(enum cache_redis_state state) {
    return state == CACHE_REDIS_OFF ? "off" : state == CACHE_REDIS_UP ? "up" : "down";
}

static uint32_t saturated(uint64_t us) {
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* What a heartbeat tells. */
static void on_beat(void *arg, struct wire_heartbeat *out) {
    loop_t *self = arg;
    if (self->now_us >= self->rss_next_us) {
        self->rss_bytes = rss_bytes();
        self->rss_next_us = self->now_us + 1000 * 1000;
    }
    serve_publish(self->serve);
    const struct serve_stats *s = serve_stats(self->serve);
    struct cache_stats cache;
    cache_stats(self->cache, &cache);
    *out = (struct wire_heartbeat){.queued = (uint32_t)counter_get(&s->queued),
                                   .running = (uint32_t)counter_get(&s->running),
                                   .oldest_us = saturated(counter_get(&s->oldest_us)),
                                   .service_us = saturated(counter_get(&s->service_us)),
                                   .completed = counter_get(&s->answered) + counter_get(&s->errors),
                                   .texts = counter_get(&s->texts),
                                   .tokens = counter_get(&s->tokens),
                                   .hits_memory = counter_get(&s->hits_memory),
                                   .hits_redis = counter_get(&s->hits_redis),
                                   .misses = counter_get(&s->misses),
                                   .shared = counter_get(&s->shared),
                                   .errors = counter_get(&s->errors),
                                   .rss_bytes = self->rss_bytes,
                                   .redis = view_of(redis_word(cache.redis)),
                                   .running_us = saturated(self->watch.longest_us),
                                   .stuck = self->watch.n_stuck};
}

/* ---------------------------------------------------------------- batches */

static void recalled(loop_t *self, struct batch *batch) {
    batch->out = false;
    serve_recall(self->serve, batch);
    self->spare[self->n_spare++] = batch;
    self->n_out--;
}

/* Takes back what was prepared and should not stand before what came since. */
static void make_way(loop_t *self) {
    for (uint32_t i = 0; i < self->cfg.n_batches; i++) {
        struct batch *batch = &self->batches[i];
        if (batch->out && !atomic_load_explicit(&batch->started_us, memory_order_relaxed) &&
            serve_presses(self->serve, batch) && link_withdraw(self->cfg.link, batch))
            recalled(self, batch);
    }
}

/* Hands batches to runners that are free, and prepares some more, one for two runners, when full
 * ones are waiting anyway, so that a runner that gets free needs not wait for us. */
static void pump(loop_t *self) {
    uint32_t threads = self->cfg.settings->threads;
    if (self->n_out > threads)
        make_way(self);
    while (self->n_spare > 0) {
        uint32_t n_free = threads > self->n_out ? threads - self->n_out : 0;
        if (n_free == 0 && !serve_saturated(self->serve))
            return;
        struct batch *batch = self->spare[self->n_spare - 1];
        if (!serve_fill(self->serve, batch, n_free ? n_free : 1))
            return;
        batch->trims = self->trims;
        batch->out = true;
        self->n_spare--;
        self->n_out++;
        link_push(self->cfg.link, batch);
    }
}

static void collect(loop_t *self) {
    for (struct batch *batch; (batch = link_pop(self->cfg.link));) {
        batch->out = false;
        serve_done(self->serve, batch);
        self->spare[self->n_spare++] = batch;
        self->n_out--;
    }
}

/* ---------------------------------------------------------------- time */

/* Once a second: is memory short, or no longer? Runners hear of it with their next batch. */
static void watch_memory(loop_t *self) {
    if (self->now_us < self->memory_next_us)
        return;
    self->memory_next_us = self->now_us + MEMORY_US;
    self->memory_bytes = memory_used(&self->memory);
    const uint32_t before = self->budget.tokens;
    if (!budget_sample(&self->budget, self->memory_bytes, self->memory.limit))
        return;
    const bool shrunk = self->budget.tokens < before;
    serve_set_tokens(self->serve, self->budget.tokens);
    if (shrunk) {
        self->trims++;
#ifdef __GLIBC__
        malloc_trim(0);
#endif
    }
    log_line(shrunk ? LOG_WARN : LOG_INFO, shrunk ? "memory-short" : "memory-eased",
             "used_mb=%.1f limit_mb=%.1f source=%s batch_tokens=%u was=%u",
             (double)self->memory_bytes / 1e6, (double)self->memory.limit / 1e6,
             memory_source_name(self->memory.source), self->budget.tokens, before);
}

/* Takes back what no runner has begun, and gives that and all else that waits to other workers. */
static uint32_t give_back_waiting(loop_t *self) {
    for (struct batch *batch; (batch = link_recall(self->cfg.link));)
        recalled(self, batch);
    return serve_give_back(self->serve);
}

/* What of the credit runners can use that are not stuck. With none of them, what no runner has
 * goes to other workers. */
static void share_stuck(loop_t *self) {
    const struct settings *settings = self->cfg.settings;
    uint32_t n = self->watch.n_stuck, threads = settings->threads, given = 0;
    uint32_t left = n < threads ? threads - n : 0;
    brokers_credit(&self->brokers, (uint32_t)((uint64_t)settings->credit * left / threads));
    if (left == 0 && (given = give_back_waiting(self)))
        log_warn("stuck-give-back", "given_back=%u", given);
}

/* Is a runner lost in its batch? */
static void watch_runners(loop_t *self) {
    enum watch_news news =
        watch_look(&self->watch, self->batches, self->cfg.n_batches, self->now_us);
    const struct batch *worst = self->watch.worst;
    if (news == WATCH_NONE)
        return;
    log_line(news == WATCH_EASED ? LOG_WARN : LOG_ERROR,
             news == WATCH_HOPELESS ? "worker-stuck"
             : news == WATCH_STUCK  ? "batch-stuck"
                                    : "batch-unstuck",
             "stuck=%u of=%u running_ms=%llu model=%s texts=%u", self->watch.n_stuck,
             self->cfg.settings->threads, (unsigned long long)(self->watch.longest_us / 1000),
             worst ? self->cfg.models->model[worst->model].name : "-", worst ? worst->n : 0);
    share_stuck(self);
    self->hopeless = news == WATCH_HOPELESS;
}

static void publish(loop_t *self) {
    serve_publish(self->serve);
    pthread_mutex_lock(&self->report_lock);
    self->report.serve = serve_stats(self->serve);
    cache_stats(self->cache, &self->report.cache);
    self->report.brokers = self->brokers.n;
    self->report.brokers_live = brokers_live(&self->brokers);
    self->report.credit = self->brokers.draining ? 0 : self->brokers.shares.credit;
    self->report.credit_used = brokers_held(&self->brokers);
    self->report.results_lost = self->brokers.results_lost;
    self->report.refused = self->brokers.refused;
    self->report.beat_us = self->now_us;
    self->report.running_us = self->watch.longest_us;
    self->report.stuck = self->watch.n_stuck;
    self->report.draining = self->stop_us != 0;
    self->report.batch_tokens = self->budget.tokens;
    self->report.memory_used = self->memory_bytes;
    self->report.memory_limit = self->memory.limit;
    pthread_mutex_unlock(&self->report_lock);
}

void loop_report(loop_t *self, struct loop_report *out) {
    pthread_mutex_lock(&self->report_lock);
    *out = self->report;
    pthread_mutex_unlock(&self->report_lock);
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Milliseconds for poll, rounded up so that a deadline has passed when it wakes. */
static long poll_ms(loop_t *self) {
    uint64_t due = earlier(self->now_us + TURN_US_MAX, brokers_deadline_us(&self->brokers));
    due = earlier(due, serve_deadline_us(self->serve));
    due = earlier(due, cache_deadline_us(self->cache));
    if (self->stop_us)
        due = earlier(due, !self->gave_back ? self->stop_us
                           : self->now_us < self->stop_us + RUN_OUT_US
                               ? self->stop_us + RUN_OUT_US
                               : self->stop_us + GIVE_BACK_US);
    return due <= self->now_us ? 0 : (long)((due - self->now_us + 999) / 1000);
}

/* A batch that waits for company needs better than poll's millisecond. */
static void arm_timer(loop_t *self) {
    if (self->timer_fd < 0 || self->n_out >= self->cfg.settings->threads)
        return;
    uint64_t due = serve_batch_deadline_us(self->serve);
    if (due == UINT64_MAX)
        return;
    uint64_t wait_us = due > self->now_us ? due - self->now_us : 1;
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(wait_us / 1000000),
                                           .tv_nsec = (long)(wait_us % 1000000) * 1000}};
    timerfd_settime(self->timer_fd, 0, &spec, NULL);
}

static void on_signal(loop_t *self) {
    int number;
    while ((number = thread_signal_read(self->cfg.signals_fd)) != 0) {
        if (number == SIGHUP)
            continue;
        if (self->stop_us) {
            log_warn("worker-killed", "signal=%d", number);
            self->killed = true;
            continue;
        }
        const struct settings *settings = self->cfg.settings;
        self->stop_us = self->now_us + settings->drain_timeout_us;
        serve_drain(self->serve);
        brokers_drain(&self->brokers);
        serve_publish(self->serve);
        log_info("worker-draining", "signal=%d active=%llu", number,
                 (unsigned long long)counter_get(&serve_stats(self->serve)->active));
    }
}

/* Patience is over: what has not been started goes to other workers. What runs has RUN_OUT_US. */
static void give_back(loop_t *self) {
    if (!self->stop_us || self->gave_back || self->now_us < self->stop_us)
        return;
    self->gave_back = true;
    uint32_t n = give_back_waiting(self);
    if (n)
        log_warn("drain-timeout", "given_back=%u", n);
}

/* Brokers, then the link, signals, and what is not always there. */
static uint32_t poll_set(loop_t *self, zmq_pollitem_t *items) {
    uint32_t n = brokers_poll(&self->brokers, items);
    items[n++] = (zmq_pollitem_t){.fd = link_fd(self->cfg.link), .events = ZMQ_POLLIN};
    items[n++] = (zmq_pollitem_t){.fd = self->cfg.signals_fd, .events = ZMQ_POLLIN};
    if (self->timer_fd >= 0)
        items[n++] = (zmq_pollitem_t){.fd = self->timer_fd, .events = ZMQ_POLLIN};
    int fd = cache_fd(self->cache);
    short want = cache_events(self->cache);
    if (fd >= 0 && want)
        items[n++] = (zmq_pollitem_t){.fd = fd,
                                      .events = (short)((want & POLLIN ? ZMQ_POLLIN : 0) |
                                                        (want & POLLOUT ? ZMQ_POLLOUT : 0))};
    return n;
}

/* One turn behind a poll. `cache_ready`: what poll said of the cache's descriptor. */
static void turn(loop_t *self, const zmq_pollitem_t *items, short cache_ready) {
    self->now_us = clock_us();
    serve_at(self->serve, self->now_us);
    const zmq_pollitem_t *ours = items + 2 * self->brokers.n; /* as poll_set() has them */
    if (ours[1].revents)
        on_signal(self);
    if (ours[0].revents)
        collect(self);
    give_back(self);
    if (cache_ready)
        cache_on_events(self->cache,
                        (short)((cache_ready & ZMQ_POLLIN ? POLLIN : 0) |
                                (cache_ready & ZMQ_POLLOUT ? POLLOUT : 0) |
                                (cache_ready & ZMQ_POLLERR ? POLLERR | POLLIN : 0)),
                        self->now_us);
    brokers_read(&self->brokers, items, self->now_us);
    cache_tick(self->cache, self->now_us);
    cache_flush(self->cache, self->now_us);
    serve_tick(self->serve);
    pump(self);
    bool run_out = self->gave_back && self->now_us >= self->stop_us + RUN_OUT_US;
    brokers_tick(&self->brokers, serve_idle(self->serve) || run_out, self->now_us);
}

enum loop_end loop_run(loop_t *self) {
    uint64_t publish_us = 0;
    self->now_us = clock_us();
    serve_at(self->serve, self->now_us);
    for (;;) {
        watch_memory(self);
        if (self->now_us >= publish_us) {
            watch_runners(self);
            publish(self);
            publish_us = self->now_us + PUBLISH_US;
        }
        arm_timer(self);
        zmq_pollitem_t items[BROKERS_POLL + POLL_FIXED];
        uint32_t n = poll_set(self, items);
        bool has_cache = items[n - 1].socket == NULL && items[n - 1].fd == cache_fd(self->cache);
        if (wait_for(items, (int)n, poll_ms(self)) < 0)
            continue; /* EINTR: signals come by descriptor, so at most a debugger */
        if (self->timer_fd >= 0) {
            uint64_t count;
            ssize_t got = read(self->timer_fd, &count, sizeof count);
            (void)got; /* it only wakes */
        }
        turn(self, items, has_cache ? items[n - 1].revents : 0);
        if (self->killed || (self->stop_us && self->now_us >= self->stop_us + GIVE_BACK_US))
            return LOOP_CUT;
        if (self->hopeless)
            return LOOP_STUCK;
        if (self->stop_us && brokers_gone(&self->brokers))
            return LOOP_DRAINED;
    }
}

void loop_hang_up(loop_t *self) {
    brokers_done(&self->brokers);
}

/* ---------------------------------------------------------------- life */

static enum status make_batches(loop_t *self, uint32_t items_max, struct err *err) {
    uint32_t n = self->cfg.n_batches;
    self->batches = calloc(n, sizeof *self->batches);
    self->spare = calloc(n, sizeof *self->spare);
    bool ok = self->batches && self->spare;
    for (uint32_t i = 0; ok && i < n; i++) {
        ok = batch_init(&self->batches[i], items_max, TEXT_BYTES, self->cfg.models->dim_max);
        self->spare[self->n_spare++] = &self->batches[i];
    }
    return ok ? STATUS_OK : err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u batches", n);
}

static void on_cache_answer(void *arg, uint64_t token, const struct cache_entry *entry,
                            enum cache_source source) {
    serve_cache_answer(((loop_t *)arg)->serve, token, entry, source);
}

static enum status make_cache(loop_t *self, struct err *err) {
    const struct settings *settings = self->cfg.settings;
    bool off = settings->redis[0] == 0 || strcmp(settings->redis, "off") == 0;
    struct cache_cfg cfg = {.memory_bytes = settings->cache_memory,
                            .redis_url = off ? NULL : settings->redis,
                            .ttl_s = (uint32_t)(settings->cache_ttl_us / 1000000)};
    enum status st = cache_new(&cfg, on_cache_answer, self, &self->cache, err);
    return st == STATUS_OK ? st : err_prefix(err, st, "redis");
}

static enum status make_serve(loop_t *self, uint32_t items_max, struct err *err) {
    const struct settings *settings = self->cfg.settings;
    uint32_t requests_max = 2 * settings->credit + 64;
    struct serve_cfg cfg = {
        .models = self->cfg.models,
        .cache = {.self = self->cache,
                  .get_now = cache_get_now,
                  .want = cache_want,
                  .put = cache_put},
        .batcher = {.tokens_max = settings->batch_tokens,
                    .items_max = items_max,
                    .bytes_max = TEXT_BYTES,
                    .wait_us = settings->batch_wait_us},
        .requests_max = requests_max < 65536 ? requests_max : 65536,
        .items_max = ITEMS_MAX,
        .brokers = settings->brokers.n,
        .bytes_max = REQUEST_MEMORY_BYTES,
        .limits = {.labels = settings->labels_max, .tokens = settings->request_tokens},
        .worker = settings->name,
        .clock = clock_us,
        .reply = on_reply,
        .slow = on_slow,
        .slow_us = (uint64_t)settings->slow_ms * 1000,
        .reply_arg = self};
    return serve_new(&cfg, &self->serve, err);
}

enum status loop_new(const struct loop_cfg *cfg, loop_t **out, struct err *err) {
    loop_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    self->cfg = *cfg;
    self->timer_fd = -1;
    pthread_mutex_init(&self->report_lock, NULL);
    enum status st = make_batches(self, cfg->items_max, err);
    if (st == STATUS_OK)
        st = make_cache(self, err);
    if (st == STATUS_OK)
        st = make_serve(self, cfg->items_max, err);
    if (st == STATUS_OK && cfg->settings->batch_wait_us) {
        self->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (self->timer_fd < 0)
            st = err_errno(err, STATUS_RESOURCE_EXHAUSTED, "make a timer");
    }
    struct brokers_cfg brokers = {.settings = cfg->settings,
                                  .models = cfg->models,
                                  .serve = self->serve,
                                  .beat = on_beat,
                                  .beat_arg = self};
    if (st == STATUS_OK)
        st = brokers_init(&self->brokers, &brokers, clock_us(), err);
    if (st != STATUS_OK) {
        loop_destroy(&self);
        return st;
    }
    memory_init(&self->memory, cfg->settings->memory_limit, "");
    watch_init(&self->watch, (uint64_t)cfg->settings->stuck_ms * 1000, clock_us());
    budget_init(&self->budget, cfg->settings->batch_tokens);
    self->now_us = clock_us();
    publish(self);
    *out = self;
    return STATUS_OK;
}

void loop_destroy(loop_t **self_p) {
    loop_t *self = *self_p;
    if (!self)
        return;
    cache_destroy(&self->cache); /* answers what it was asked: serve is still there */
    serve_destroy(&self->serve);
    brokers_done(&self->brokers);
    if (self->timer_fd >= 0)
        close(self->timer_fd);
    for (uint32_t i = 0; self->batches && i < self->cfg.n_batches; i++)
        batch_done(&self->batches[i]);
    free(self->batches);
    free(self->spare);
    pthread_mutex_destroy(&self->report_lock);
    free(self);
    *self_p = NULL;
}
