/* client.c - the loop. It decides nothing that pending.c, pool.c and services.c can decide: it
 * carries.
 *
 *     inbox --> begin calls, cancel calls
 *     pool  --> open and close sockets, HELLO, PING
 *     pending, services --> REQUEST
 *     sockets --> REPLY: to its part; WELCOME, PONG, WHO_ARE_YOU, GOAWAY: to the pool
 *     monitors --> "connection refused, dropped": to the pool, without waiting for silence
 *     clock --> deadlines */
#include "client_state.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "wire/wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- time */

/* "tcp://a:1" or "tcp://a:1 and tcp://b:2": who was asked. */
static const char *asked_text(const struct client *self, const struct pending_item *item, char *out,
                              size_t bytes) {
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < item->n_copies && used < bytes; i++) {
        int n = snprintf(out + used, bytes - used, "%s%s", i ? " and " : " from ",
                         self->pool.brokers[item->copies[i].broker].endpoint);
        used += n > 0 ? (size_t)n : 0;
    }
    return out;
}

/* Time is over: says what stood in the way. */
static void finish_late(struct client *self, ember_call_t *call, const struct pending_item *item,
                        uint64_t now_us) {
    char text[ERR_TEXT_MAX];
    uint64_t waited_ms = (now_us - call->started_us) / 1000;
    struct ember_error error;
    bool sent = client_may_have_run(call);
    enum status status = sent ? STATUS_DEADLINE_EXCEEDED : STATUS_UNAVAILABLE;
    if (call->refusal.status != EMBER_OK) {
        error = call->refusal;
    } else if (self->again_us && !sent) {
        error_set(&error, STATUS_RESOURCE_EXHAUSTED, -1, "no memory to send the request");
    } else if (!pool_any_up(&self->pool)) {
        pool_trouble(&self->pool, text, sizeof text);
        error_set(&error, status, -1, "no broker answers at %s", text);
    } else if (!pool_elsewhere(&self->pool, 0) && !item->n_copies) {
        pool_trouble(&self->pool, text, sizeof text);
        error_set(&error, status, -1, "no broker takes requests: %s", text);
    } else {
        error_set(&error, STATUS_DEADLINE_EXCEEDED, -1, "no answer within %llu ms%s",
                  (unsigned long long)waited_ms, asked_text(self, item, text, sizeof text));
    }
    error.may_have_run |= sent;
    client_finish(self, call, &error);
}

static void watch(struct client *self, uint64_t now_us) {
    for (uint32_t i = 0; i < self->pool.n; i++) {
        enum conn_event event;
        const char *why = "";
        struct client_broker *broker = &self->brokers[i];
        while (broker->has_news && (event = conn_event(&broker->conn, &why)) != CONN_NOTHING)
            if (event == CONN_DENIED)
                pool_denied(&self->pool, i, why, now_us);
            else
                pool_failed(&self->pool, i, why, now_us);
    }
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* When the oldest call is given up because no broker answers; UINT64_MAX: not. */
static uint64_t give_up_at_us(const struct client *self) {
    const struct link *head = queue_head(&self->active);
    if (!self->cfg.give_up_us || !head || pool_any_up(&self->pool))
        return UINT64_MAX;
    uint64_t started_us = QUEUE_ITEM(head, ember_call_t, active)->started_us;
    return later(started_us, self->pool.up_us) + self->cfg.give_up_us;
}

/* No broker takes us as we are: no use in waiting. Calls that began since wait for one more try. */
static void expire_denied(struct client *self) {
    struct link *head;
    while (pool_all_denied(&self->pool) && (head = queue_head(&self->active))) {
        char text[ERR_TEXT_MAX];
        ember_call_t *call = QUEUE_ITEM(head, ember_call_t, active);
        struct ember_error error;
        if (call->started_us > self->pool.denied_us)
            break;
        pool_trouble(&self->pool, text, sizeof text);
        error_set(&error, STATUS_UNAUTHENTICATED, -1, "not admitted at %s", text);
        error.may_have_run = client_may_have_run(call);
        client_finish(self, call, &error);
    }
}

static void expire(struct client *self, uint64_t now_us) {
    struct pending_item *item;
    expire_denied(self);
    while ((item = pending_expired(&self->pending, now_us)))
        finish_late(self, ((struct part *)(void *)item)->call, item, now_us);
    while (now_us >= give_up_at_us(self)) {
        ember_call_t *call = QUEUE_ITEM(queue_head(&self->active), ember_call_t, active);
        finish_late(self, call, &call->parts[0].item, now_us);
    }
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static long sleep_ms(const struct client *self, uint64_t now_us) {
    uint64_t wake =
        sooner(pending_wake_us(&self->pending, now_us), pool_wake_us(&self->pool, now_us));
    wake = sooner(wake, give_up_at_us(self));
    if (self->again_us > now_us)
        wake = sooner(wake, self->again_us);
    if (wake <= now_us)
        return 0;
    uint64_t ms = (wake - now_us + 999) / 1000;
    return ms < 60000 ? (long)ms : 60000;
}

/* ---- inbox */

static void cancel_call(struct client *self, ember_call_t *call) {
    if (queue_has(&call->active)) {
        struct ember_error error;
        error_set(&error, STATUS_CANCELLED, -1, "the caller took it back");
        error.may_have_run = client_may_have_run(call);
        client_finish(self, call, &error);
    }
    call_unref(call); /* the cancelling's own */
}

/* Moves everything in; false when the client is to stop. */
static bool take_inbox(struct client *self) {
    uint64_t count;
    if (self->woken)
        (void)!read(self->wake_fd, &count, sizeof count);
    struct queue starting, cancelling;
    queue_init(&starting);
    queue_init(&cancelling);
    pthread_mutex_lock(&self->lock);
    struct link *link;
    while ((link = queue_pop(&self->starting)))
        queue_push(&starting, link);
    while ((link = queue_pop(&self->cancelling)))
        queue_push(&cancelling, link);
    bool stopping = self->stopping;
    pthread_mutex_unlock(&self->lock);
    while ((link = queue_pop(&starting)))
        client_begin(self, QUEUE_ITEM(link, ember_call_t, starting), clock_us());
    while ((link = queue_pop(&cancelling)))
        cancel_call(self, QUEUE_ITEM(link, ember_call_t, cancelling));
    return !stopping;
}

static void wake(struct client *self) {
    uint64_t one = 1;
    (void)!write(self->wake_fd, &one, sizeof one);
}

enum status client_start(struct client *self, ember_call_t *call, struct err *err) {
    if (atomic_fetch_add(&self->n_calls, 1) >= CLIENT_CALLS_MAX) {
        atomic_fetch_sub(&self->n_calls, 1);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%d calls are unfinished", CLIENT_CALLS_MAX);
    }
    size_t before = atomic_fetch_add(&self->bytes, call->bytes);
    if (before > 0 && before + call->bytes > self->cfg.memory_max) {
        atomic_fetch_sub(&self->bytes, call->bytes);
        atomic_fetch_sub(&self->n_calls, 1);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "unfinished calls hold %zu bytes of texts, the limit is %llu", before,
                       (unsigned long long)self->cfg.memory_max);
    }
    call->client = self;
    atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
    call_ref(call);
    pthread_mutex_lock(&self->lock);
    bool first = queue_empty(&self->starting) && queue_empty(&self->cancelling);
    queue_push(&self->starting, &call->starting);
    pthread_mutex_unlock(&self->lock);
    if (first)
        wake(self);
    return STATUS_OK;
}

void client_cancel(ember_call_t *call) {
    struct client *self = call->client;
    pthread_mutex_lock(&self->lock);
    bool first = false;
    if (!self->stopping && !queue_has(&call->cancelling)) {
        first = queue_empty(&self->starting) && queue_empty(&self->cancelling);
        call_ref(call);
        queue_push(&self->cancelling, &call->cancelling);
    }
    pthread_mutex_unlock(&self->lock);
    if (first)
        wake(self);
}

/* ---- loop */

static void end_all(struct client *self) {
    struct link *head;
    while ((head = queue_head(&self->active))) {
        ember_call_t *call = QUEUE_ITEM(head, ember_call_t, active);
        struct ember_error error;
        error_set(&error, STATUS_CANCELLED, -1, "the client was closed");
        error.may_have_run = client_may_have_run(call);
        client_finish(self, call, &error);
    }
}

static void wait_for_events(struct client *self, uint64_t now_us) {
    zmq_pollitem_t items[1 + 2 * POOL_MAX] = {{.fd = self->wake_fd, .events = ZMQ_POLLIN}};
    bool *is_ready[1 + 2 * POOL_MAX] = {&self->woken};
    int n = 1;
    for (uint32_t i = 0; i < self->pool.n; i++) {
        struct client_broker *broker = &self->brokers[i];
        bool stuck = self->stuck & 1u << i && self->again_us <= now_us;
        broker->is_readable = broker->has_news = false;
        is_ready[n] = &broker->is_readable;
        if (broker->conn.socket)
            items[n++] =
                (zmq_pollitem_t){.socket = broker->conn.socket,
                                 .events = (short)(ZMQ_POLLIN | (stuck ? ZMQ_POLLOUT : 0))};
        is_ready[n] = &broker->has_news;
        if (broker->conn.monitor)
            items[n++] = (zmq_pollitem_t){.fd = broker->conn.monitor_fd, .events = ZMQ_POLLIN};
    }
    if (wait_for(items, n, sleep_ms(self, now_us)) < 0)
        return; /* EINTR: flags of before, at most */
    for (int i = 0; i < n; i++)
        *is_ready[i] = items[i].revents != 0;
}

static void *run(void *arg) {
    struct client *self = arg;
    while (take_inbox(self)) {
        uint64_t now_us = clock_us();
        watch(self, now_us);
        for (uint32_t i = 0; i < self->pool.n; i++)
            if (self->brokers[i].is_readable)
                client_receive(self, i, now_us);
        expire(self, now_us);
        do
            client_follow_pool(self, now_us);
        while (!client_send_ready(self, now_us));
        wait_for_events(self, now_us);
    }
    end_all(self);
    client_leave(self);
    zmq_ctx_term(self->context);
    return NULL;
}

enum status client_new(const struct client_cfg *cfg, struct client **out, struct err *err) {
    struct client *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a client");
    self->cfg = *cfg;
    self->uuid = hash_entropy64();
    atomic_init(&self->refs, 1);
    pthread_mutex_init(&self->lock, NULL);
    queue_init(&self->starting);
    queue_init(&self->cancelling);
    queue_init(&self->active);
    pool_init(&self->pool, &cfg->pool, hash_entropy64(), clock_us());
    for (uint32_t i = 0; i < cfg->n_endpoints; i++)
        pool_give(&self->pool, cfg->endpoints[i].text, cfg->endpoints[i].cost);
    pending_init(&self->pending, &self->pool, hash_entropy64());
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->context = frame_context();
    enum status st = STATUS_OK;
    if (self->wake_fd < 0 || !self->context)
        st = err_errno(err, STATUS_RESOURCE_EXHAUSTED, "open a client");
    if (st == STATUS_OK)
        st = thread_start(&self->thread, "ember-client", run, self, err);
    if (st != STATUS_OK) {
        if (self->context)
            zmq_ctx_term(self->context);
        client_unref(self);
        return st;
    }
    *out = self;
    return STATUS_OK;
}

void client_stop(struct client *self) {
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    wake(self);
    pthread_join(self->thread, NULL);
}

void client_unref(struct client *self) {
    if (atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) != 1)
        return;
    pending_done(&self->pending);
    arena_done(&self->arena);
    wire_out_done(&self->out);
    if (self->wake_fd >= 0)
        close(self->wake_fd);
    explicit_bzero(&self->cfg.keys, sizeof self->cfg.keys);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
