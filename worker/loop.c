/* loop.c - carries frames, answers, batches and time between the world and serve.
 *
 * One turn: poll; take what runners finished; read each broker's frames, a bounded number; ask
 * Redis once for all that came (one MGET); hand batches to free runners; send what timers want.
 * Results go out from within, as soon as serve has them.
 *
 * The credit window is absolute and in every header we send: the whole credit, divided by the
 * brokers that serve now, so a lost broker's share goes to the others with their next message. */
#include "loop.h"

#include "budget.h"
#include "upstream.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "wire/frame.h"

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
    BAD_LOG_US = 10 * 1000 * 1000, /* of what a broker says wrong */
    GIVE_BACK_US =
        2 * 1000 * 1000, /* after the drain time-out: to say BYE and end a running batch */
};

struct broker {
    struct upstream upstream;
    void *socket;
    const char *endpoint;
    struct log_limit bad;
};

struct loop {
    struct loop_cfg cfg;
    void *context;
    struct broker broker[LIMIT_BROKERS];
    uint32_t n_brokers;
    uint64_t uuid;
    char host[LIMIT_NAME_BYTES + 1];
    serve_t *serve;
    cache_t *cache;
    struct batch *batches; /* [n_batches] */
    struct batch **spare;  /* [n_batches] those nobody has */
    uint32_t n_spare, n_out;
    int timer_fd; /* for waits below poll's millisecond; -1: not needed */
    struct arena arena;
    struct wire_out out;
    uint64_t now_us, stop_us; /* stop_us: when patience with draining ends; 0: not draining */
    bool gave_back;           /* it has ended */
    uint64_t rss_bytes, rss_next_us;
    struct memory memory;
    struct budget budget;
    uint64_t memory_bytes, memory_next_us; /* used when last looked; when to look again */
    uint32_t trims;                        /* times that it was short */
    bool killed;
    pthread_mutex_t report_lock;
    struct loop_report report; /* under report_lock */
    uint64_t results_lost;
};

/* ---------------------------------------------------------------- sending */

static uint16_t credit_each(const loop_t *self) {
    uint32_t live = 0;
    for (uint32_t i = 0; i < self->n_brokers; i++)
        live += upstream_live(&self->broker[i].upstream);
    uint32_t each = self->cfg.settings->credit / (live ? live : self->n_brokers);
    return (uint16_t)(each ? each : 1);
}

static bool send_frame(loop_t *self, struct broker *broker, struct header *header,
                       struct view body) {
    zmq_msg_t msg;
    if (!frame_body(&msg, body)) { /* no memory */
        if (header->type != WIRE_RESULT)
            return false;
        if (header->status == STATUS_OK)
            header->type = WIRE_NACK; /* another worker may have some */
    }
    header->epoch = broker->upstream.epoch;
    header->credit = self->stop_us ? 0 : credit_each(self);
    return frame_send_dealer(broker->socket, header, &msg) == FRAME_OK;
}

static void on_reply(void *arg, const struct serve_reply *reply) {
    loop_t *self = arg;
    struct header header = {.type = reply->nack ? WIRE_NACK : WIRE_RESULT,
                            .status = (uint8_t)reply->status,
                            .id = reply->origin.ticket,
                            .service = reply->origin.service};
    if (!send_frame(self, &self->broker[reply->origin.broker], &header, reply->body))
        self->results_lost++; /* its broker is gone, and the client asks again elsewhere */
}

/* False when there is no connection. */
static bool send_ready(loop_t *self, struct broker *broker) {
    struct wire_model models[LIMIT_MODELS];
    for (uint32_t i = 0; i < self->cfg.models->n; i++) {
        const struct model *model = &self->cfg.models->model[i];
        models[i] = (struct wire_model){.name = view_of(model->name),
                                        .fingerprint = view_of(model->info->fingerprint),
                                        .precision = view_of(model->info->precision),
                                        .kernel = view_of(model->info->kernel),
                                        .dim = model->info->dim,
                                        .max_tokens = model->info->max_tokens,
                                        .tasks = model->tasks,
                                        .head = models_head(model->info),
                                        .labels = model->info->n_labels};
    }
    const struct settings *settings = self->cfg.settings;
    struct wire_ready ready = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .uuid = self->uuid,
                               .name = view_of(settings->name),
                               .host = view_of(self->host),
                               .version = view_of(EMBER_VERSION),
                               .tier = view_of(settings_tier(settings)),
                               .hourly_cost = settings->hourly_cost,
                               .threads = settings->threads,
                               .pid = (uint32_t)getpid(),
                               .models = models,
                               .n_models = self->cfg.models->n};
    if (session_ready_encode(&ready, &self->out) != STATUS_OK)
        return true; /* no memory: the next greeting may have some */
    struct header header = {.type = WIRE_READY};
    return send_frame(self, broker, &header, wire_out_view(&self->out));
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

static void send_heartbeat(loop_t *self, struct broker *broker) {
    if (self->now_us >= self->rss_next_us) {
        self->rss_bytes = rss_bytes();
        self->rss_next_us = self->now_us + 1000 * 1000;
    }
    serve_publish(self->serve);
    const struct serve_stats *s = serve_stats(self->serve);
    struct cache_stats cache;
    cache_stats(self->cache, &cache);
    struct wire_heartbeat beat = {.queued = (uint32_t)counter_get(&s->queued),
                                  .running = (uint32_t)counter_get(&s->running),
                                  .oldest_us = (uint32_t)counter_get(&s->oldest_us),
                                  .service_us = (uint32_t)counter_get(&s->service_us),
                                  .completed = counter_get(&s->answered) + counter_get(&s->errors),
                                  .texts = counter_get(&s->texts),
                                  .tokens = counter_get(&s->tokens),
                                  .hits_memory = counter_get(&s->hits_memory),
                                  .hits_redis = counter_get(&s->hits_redis),
                                  .misses = counter_get(&s->misses),
                                  .shared = counter_get(&s->shared),
                                  .errors = counter_get(&s->errors),
                                  .rss_bytes = self->rss_bytes,
                                  .redis = view_of(redis_word(cache.redis))};
    if (session_heartbeat_encode(&beat, &self->out) != STATUS_OK)
        return;
    struct header header = {.type = WIRE_HEARTBEAT};
    send_frame(self, broker, &header, wire_out_view(&self->out));
}

static void send_plain(loop_t *self, struct broker *broker, uint8_t type, uint64_t id) {
    struct header header = {.type = type, .id = id};
    send_frame(self, broker, &header, view_make(NULL, 0));
}

/* ---------------------------------------------------------------- receiving */

static int model_index(void *arg, struct view name) {
    const struct models *models = ((loop_t *)arg)->cfg.models;
    for (uint32_t i = 0; i < models->n; i++)
        if (view_equal(view_of(models->model[i].name), name))
            return (int)i;
    return -1;
}

/* READY_OK with a status is none: the broker has no room, or speaks another protocol. The greeting
 * goes on, so this may come four times a second. */
static void on_refused(loop_t *self, struct broker *broker, uint8_t code, struct view body) {
    struct wire_error told = {0};
    enum status status;
    uint32_t held;
    char quoted[ERR_TEXT_MAX];
    struct err why = {.status = STATUS_OK};
    if (!log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
        return;
    if (!status_from_code(code, &status))
        status = STATUS_INTERNAL;
    if (codec_error_decode(body, &self->arena, &told, &why) == STATUS_OK)
        err_set(&why, status, "%.*s", (int)told.message.bytes,
                told.message.bytes ? told.message.data : "");
    log_warn("broker-refused", "broker=%s status=%s msg=%s more=%u", broker->endpoint,
             status_name(status), log_quoted(why.text, quoted, sizeof quoted), held);
}

static void on_ready_ok(loop_t *self, uint32_t index, uint8_t code, struct view body) {
    struct broker *broker = &self->broker[index];
    struct wire_ready_ok ok;
    struct err err;
    uint32_t held;
    arena_reset(&self->arena);
    if (code != 0) {
        on_refused(self, broker, code, body);
        return;
    }
    if (session_ready_ok_decode(body, &self->arena, &ok, &err) != STATUS_OK) {
        if (log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
            log_warn("broker-bad-ready-ok", "broker=%s msg=\"%s\" more=%u", broker->endpoint,
                     err.text, held);
        return;
    }
    bool was_live = upstream_live(&broker->upstream);
    if (upstream_ready_ok(&broker->upstream, &ok, model_index, self, self->now_us))
        serve_forget(self->serve,
                     index); /* a broker that knows nothing of what its predecessor sent */
    if (!was_live)
        log_info("broker-serving", "broker=%s services=%u credit=%u", broker->endpoint,
                 broker->upstream.n_services, credit_each(self));
}

static void on_dispatch(loop_t *self, uint32_t index, const struct header *header,
                        struct view body) {
    struct broker *broker = &self->broker[index];
    if (header->epoch != broker->upstream.epoch)
        return; /* of a former broker: its ticket means nothing now */
    const struct upstream_service *service = upstream_service(&broker->upstream, header->service);
    if (!service) {
        struct header answer = {.type = WIRE_NACK, .id = header->id, .service = header->service};
        send_frame(self, broker, &answer, view_make(NULL, 0));
        return;
    }
    struct serve_origin origin = {
        .ticket = header->id, .broker = index, .service = header->service};
    serve_dispatch(self->serve, &origin, service->model, (enum wire_task)service->task,
                   header->lane, header->budget_us, body);
}

static void on_frame(loop_t *self, uint32_t index, const struct header *header, struct view body) {
    struct broker *broker = &self->broker[index];
    upstream_heard(&broker->upstream, self->now_us);
    switch (header->type) {
    case WIRE_DISPATCH:
        on_dispatch(self, index, header, body);
        break;
    case WIRE_CANCEL:
        if (header->epoch == broker->upstream.epoch)
            serve_cancel(self->serve, index, header->id);
        break;
    case WIRE_READY_OK:
        on_ready_ok(self, index, header->status, body);
        break;
    case WIRE_WHO_ARE_YOU:
        upstream_who_are_you(&broker->upstream, self->now_us);
        break;
    case WIRE_PING:
        send_plain(self, broker, WIRE_PONG, header->id);
        break;
    case WIRE_BYE_OK:
        upstream_bye_ok(&broker->upstream);
        break;
    default: /* PONG: that it came is all it says; others are not for workers */
        break;
    }
}

static void drain_socket(loop_t *self, uint32_t index) {
    struct broker *broker = &self->broker[index];
    for (uint32_t i = 0; i < LIMIT_DRAIN; i++) {
        struct header header;
        enum header_verdict verdict;
        zmq_msg_t body;
        enum frame_result got = frame_recv_dealer(broker->socket, &header, &body, &verdict);
        if (got == FRAME_NONE || got == FRAME_GONE)
            return;
        if (got == FRAME_BAD) {
            uint32_t held;
            if (log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
                log_warn("broker-bad-frame", "broker=%s why=%s more=%u", broker->endpoint,
                         header_verdict_name(verdict), held);
            continue;
        }
        on_frame(self, index, &header, frame_view(&body));
        zmq_msg_close(&body);
    }
}

/* ---------------------------------------------------------------- batches */

/* Hands batches to runners that are free, and prepares some more when full ones are waiting anyway,
 * so that a runner that gets free needs not wait for us. */
static void pump(loop_t *self) {
    uint32_t threads = self->cfg.settings->threads;
    while (self->n_spare > 0) {
        uint32_t n_free = threads > self->n_out ? threads - self->n_out : 0;
        if (n_free == 0 && !serve_saturated(self->serve))
            return;
        struct batch *batch = self->spare[self->n_spare - 1];
        if (!serve_fill(self->serve, batch, n_free ? n_free : 1))
            return;
        batch->trims = self->trims;
        self->n_spare--;
        self->n_out++;
        link_push(self->cfg.link, batch);
    }
}

static void collect(loop_t *self) {
    for (struct batch *batch; (batch = link_pop(self->cfg.link));) {
        serve_done(self->serve, batch);
        self->spare[self->n_spare++] = batch;
        self->n_out--;
    }
}

/* ---------------------------------------------------------------- time */

static void lost_broker(loop_t *self, uint32_t index) {
    log_warn("broker-silent", "broker=%s silence_ms=%llu", self->broker[index].endpoint,
             (unsigned long long)(self->broker[index].upstream.silence_us / 1000));
}

static void tick_broker(loop_t *self, uint32_t index) {
    struct broker *broker = &self->broker[index];
    bool draining = self->stop_us != 0, idle = serve_idle(self->serve) || self->gave_back, lost;
    uint8_t type;
    while ((type = upstream_tick(&broker->upstream, self->now_us, draining, idle, &lost))) {
        if (lost)
            lost_broker(self, index);
        if (type == WIRE_READY && !send_ready(self, broker))
            upstream_unsent(&broker->upstream, self->now_us);
        else if (type == WIRE_READY)
            continue;
        else if (type == WIRE_HEARTBEAT)
            send_heartbeat(self, broker);
        else
            send_plain(self, broker, type, 0);
    }
}

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

static void publish(loop_t *self) {
    serve_publish(self->serve);
    pthread_mutex_lock(&self->report_lock);
    self->report.serve = serve_stats(self->serve);
    cache_stats(self->cache, &self->report.cache);
    self->report.brokers = self->n_brokers;
    self->report.brokers_live = 0;
    for (uint32_t i = 0; i < self->n_brokers; i++)
        self->report.brokers_live += upstream_live(&self->broker[i].upstream);
    self->report.results_lost = self->results_lost;
    self->report.beat_us = self->now_us;
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
    uint64_t due = self->now_us + TURN_US_MAX;
    for (uint32_t i = 0; i < self->n_brokers; i++)
        due = earlier(due, upstream_deadline_us(&self->broker[i].upstream));
    due = earlier(due, serve_deadline_us(self->serve));
    due = earlier(due, cache_deadline_us(self->cache));
    if (self->stop_us)
        due = earlier(due, self->gave_back ? self->stop_us + GIVE_BACK_US : self->stop_us);
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
        serve_publish(self->serve);
        log_info("worker-draining", "signal=%d active=%llu", number,
                 (unsigned long long)counter_get(&serve_stats(self->serve)->active));
    }
}

/* Patience is over: what has not been answered goes to other workers. */
static void give_back(loop_t *self) {
    if (!self->stop_us || self->gave_back || self->now_us < self->stop_us)
        return;
    self->gave_back = true;
    uint32_t n = serve_give_back(self->serve);
    if (n)
        log_warn("drain-timeout", "given_back=%u", n);
}

static bool all_gone(const loop_t *self) {
    for (uint32_t i = 0; i < self->n_brokers; i++)
        if (self->broker[i].upstream.state != UPSTREAM_GONE)
            return false;
    return true;
}

/* Brokers, then the link, signals, and what is not always there. */
static uint32_t poll_set(loop_t *self, zmq_pollitem_t *items) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < self->n_brokers; i++)
        items[n++] = (zmq_pollitem_t){.socket = self->broker[i].socket, .events = ZMQ_POLLIN};
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
    if (items[self->n_brokers + 1].revents)
        on_signal(self);
    if (items[self->n_brokers].revents)
        collect(self);
    give_back(self);
    if (cache_ready)
        cache_on_events(self->cache,
                        (short)((cache_ready & ZMQ_POLLIN ? POLLIN : 0) |
                                (cache_ready & ZMQ_POLLOUT ? POLLOUT : 0) |
                                (cache_ready & ZMQ_POLLERR ? POLLERR | POLLIN : 0)),
                        self->now_us);
    for (uint32_t i = 0; i < self->n_brokers; i++)
        if (items[i].revents & ZMQ_POLLIN)
            drain_socket(self, i);
    cache_tick(self->cache, self->now_us);
    cache_flush(self->cache, self->now_us);
    serve_tick(self->serve);
    pump(self);
    for (uint32_t i = 0; i < self->n_brokers; i++)
        tick_broker(self, i);
}

bool loop_run(loop_t *self) {
    uint64_t publish_us = 0;
    self->now_us = clock_us();
    serve_at(self->serve, self->now_us);
    for (;;) {
        watch_memory(self);
        if (self->now_us >= publish_us) {
            publish(self);
            publish_us = self->now_us + PUBLISH_US;
        }
        arm_timer(self);
        zmq_pollitem_t items[LIMIT_BROKERS + POLL_FIXED];
        uint32_t n = poll_set(self, items);
        bool has_cache = items[n - 1].socket == NULL && items[n - 1].fd == cache_fd(self->cache);
        if (zmq_poll(items, (int)n, poll_ms(self)) < 0)
            continue; /* EINTR: signals come by descriptor, so at most a debugger */
        if (self->timer_fd >= 0) {
            uint64_t count;
            ssize_t got = read(self->timer_fd, &count, sizeof count);
            (void)got; /* it only wakes */
        }
        turn(self, items, has_cache ? items[n - 1].revents : 0);
        if (self->killed || (self->stop_us && self->now_us >= self->stop_us + GIVE_BACK_US))
            return false;
        if (self->stop_us && all_gone(self))
            return true;
    }
}

/* ---------------------------------------------------------------- life */

static enum status connect_brokers(loop_t *self, struct err *err) {
    const struct settings *settings = self->cfg.settings;
    self->context = frame_context();
    if (!self->context)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for sockets");
    for (uint32_t i = 0; i < settings->brokers.n; i++) {
        struct broker *broker = &self->broker[i];
        broker->endpoint = settings->brokers.item[i];
        broker->socket =
            frame_socket(self->context, FRAME_WORKER, 2 * (int)settings->credit + 64, NULL, err);
        if (!broker->socket)
            return STATUS_RESOURCE_EXHAUSTED;
        self->n_brokers++;
        if (zmq_connect(broker->socket, broker->endpoint) != 0)
            return err_set(err, STATUS_INVALID_ARGUMENT, "broker: cannot connect to '%s': %s",
                           broker->endpoint, zmq_strerror(zmq_errno()));
        upstream_init(&broker->upstream, clock_us());
    }
    return STATUS_OK;
}

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
        .bytes_max = REQUEST_MEMORY_BYTES,
        .limits = {.labels = settings->labels_max, .tokens = settings->request_tokens},
        .worker = settings->name,
        .clock = clock_us,
        .reply = on_reply,
        .reply_arg = self};
    return serve_new(&cfg, &self->serve, err);
}

enum status loop_new(const struct loop_cfg *cfg, loop_t **out, struct err *err) {
    loop_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    self->cfg = *cfg;
    self->uuid = hash_entropy64();
    self->timer_fd = -1;
    pthread_mutex_init(&self->report_lock, NULL);
    if (gethostname(self->host, sizeof self->host - 1) != 0 ||
        !models_name_ok(self->host, strlen(self->host)))
        snprintf(self->host, sizeof self->host, "unknown");
    enum status st = STATUS_OK;
    if (!arena_init(&self->arena, codec_arena_bytes(LIMIT_REQUEST_BYTES)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (st == STATUS_OK)
        st = make_batches(self, cfg->items_max, err);
    if (st == STATUS_OK)
        st = make_cache(self, err);
    if (st == STATUS_OK)
        st = make_serve(self, cfg->items_max, err);
    if (st == STATUS_OK && cfg->settings->batch_wait_us) {
        self->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (self->timer_fd < 0)
            st = err_errno(err, STATUS_RESOURCE_EXHAUSTED, "make a timer");
    }
    if (st == STATUS_OK)
        st = connect_brokers(self, err);
    if (st != STATUS_OK) {
        loop_destroy(&self);
        return st;
    }
    memory_init(&self->memory, cfg->settings->memory_limit, "");
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
    for (uint32_t i = 0; i < self->n_brokers; i++)
        zmq_close(self->broker[i].socket);
    if (self->context)
        zmq_ctx_term(self->context); /* waits for what was sent, at most LINGER */
    if (self->timer_fd >= 0)
        close(self->timer_fd);
    for (uint32_t i = 0; self->batches && i < self->cfg.n_batches; i++)
        batch_done(&self->batches[i]);
    free(self->batches);
    free(self->spare);
    arena_done(&self->arena);
    wire_out_done(&self->out);
    pthread_mutex_destroy(&self->report_lock);
    free(self);
    *self_p = NULL;
}
