/* client.c - the loop. It decides nothing that pending.c, dial.c and services.c can decide: it
 * carries.
 *
 *     inbox --> begin calls, cancel calls
 *     dial  --> open a socket, HELLO, PING
 *     pending, services --> REQUEST
 *     sockets --> REPLY: to its part; WELCOME, PONG, WHO_ARE_YOU, GOAWAY: to dial
 *     monitor --> "connection refused, dropped": to dial, without waiting for silence
 *     clock --> deadlines
 *
 * Two connections: `now` for everything new, and `old`, a broker that said GOAWAY and still owes
 * answers, which lives until they are there or OLD_US are over. Each request knows the session it
 * was sent in, so an answer is taken only from the session that was asked. */
#include "client_state.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- time */
static const char *endpoints_text(const struct client *self, char *out, size_t bytes) {
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < self->cfg.n_endpoints && used < bytes; i++) {
        int n = snprintf(out + used, bytes - used, "%s%s", i ? ", " : "", self->cfg.endpoints[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return out;
}

/* Time is over: says what stood in the way. */
static void finish_late(struct client *self, ember_call_t *call, uint64_t now_us) {
    char where[ERR_TEXT_MAX];
    uint64_t waited_ms = (now_us - call->started_us) / 1000;
    struct ember_error error;
    bool sent = client_may_have_run(call);
    if (call->refusal.status != EMBER_OK) {
        error = call->refusal;
    } else if (self->again_us && !sent) {
        error_set(&error, STATUS_RESOURCE_EXHAUSTED, -1, "no memory to send the request");
    } else if (self->dial.state != DIAL_UP) {
        error_set(&error, sent ? STATUS_DEADLINE_EXCEEDED : STATUS_UNAVAILABLE, -1,
                  "no broker answers at %s%s%s", endpoints_text(self, where, sizeof where),
                  self->trouble[0] ? ": " : "", self->trouble);
    } else if (self->dial.leaving) {
        error_set(&error, STATUS_UNAVAILABLE, -1, "the broker at %s is shutting down",
                  self->cfg.endpoints[self->dial.at]);
    } else {
        error_set(&error, STATUS_DEADLINE_EXCEEDED, -1, "no answer within %llu ms from %s",
                  (unsigned long long)waited_ms, self->cfg.endpoints[self->dial.at]);
    }
    error.may_have_run |= sent;
    client_finish(self, call, &error);
}

static void watch(struct client *self, uint64_t now_us) {
    enum conn_event event;
    while ((event = conn_event(&self->now)) != CONN_NOTHING) {
        /* With one endpoint libzmq's own dialling is as good as ours. */
        if (event == CONN_REFUSED && self->cfg.n_endpoints == 1)
            continue;
        dial_fail(&self->dial, now_us);
        client_now_close(self);
    }
    while ((event = conn_event(&self->old)) != CONN_NOTHING)
        if (event == CONN_DROPPED)
            client_old_close(self);
}

static void expire(struct client *self, uint64_t now_us) {
    struct pending_item *item;
    while ((item = pending_expired(&self->pending, now_us)))
        finish_late(self, ((struct part *)(void *)item)->call, now_us);
    struct link *head;
    while (self->cfg.give_up_us && self->dial.state != DIAL_UP &&
           (head = queue_head(&self->active))) {
        ember_call_t *call = QUEUE_ITEM(head, ember_call_t, active);
        if (now_us < call->started_us + self->cfg.give_up_us ||
            now_us < self->dial.up_us + self->cfg.give_up_us)
            break;
        finish_late(self, call, now_us);
    }
    if (self->old.socket) {
        struct link *first = queue_head(&self->pending.in_flight);
        bool owes =
            first && QUEUE_ITEM(first, struct pending_item, link)->session == self->old.session;
        if (!owes || now_us >= self->old.until_us)
            client_old_close(self);
    }
    if (queue_empty(&self->pending.in_flight))
        dial_idle(&self->dial);
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static long sleep_ms(const struct client *self, uint64_t now_us) {
    uint64_t wake = sooner(pending_wake_us(&self->pending), dial_wake_us(&self->dial));
    if (self->again_us > now_us)
        wake = sooner(wake, self->again_us);
    if (self->old.socket)
        wake = sooner(wake, self->old.until_us);
    struct link *head = queue_head(&self->active);
    if (self->cfg.give_up_us && self->dial.state != DIAL_UP && head) {
        uint64_t started = QUEUE_ITEM(head, ember_call_t, active)->started_us;
        uint64_t base = started > self->dial.up_us ? started : self->dial.up_us;
        wake = sooner(wake, base + self->cfg.give_up_us);
    }
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
        client_begin(self, QUEUE_ITEM(link, ember_call_t, starting));
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

static void wait_for_events(struct client *self, bool greeting, uint64_t now_us) {
    zmq_pollitem_t items[5] = {{.fd = self->wake_fd, .events = ZMQ_POLLIN}};
    int n = 1;
    const struct conn *conns[] = {&self->now, &self->old};
    for (int i = 0; i < 2; i++) {
        if (conns[i]->socket)
            items[n++] = (zmq_pollitem_t){
                .socket = conns[i]->socket,
                .events = (short)(ZMQ_POLLIN | (i == 0 && greeting ? ZMQ_POLLOUT : 0))};
        if (conns[i]->monitor)
            items[n++] = (zmq_pollitem_t){.socket = conns[i]->monitor, .events = ZMQ_POLLIN};
    }
    zmq_poll(items, n, sleep_ms(self, now_us));
}

static void *run(void *arg) {
    struct client *self = arg;
    uint64_t now_us = clock_us();
    dial_init(&self->dial, self->cfg.n_endpoints, hash_entropy64(), now_us);
    while (take_inbox(self)) {
        now_us = clock_us();
        watch(self, now_us);
        client_receive(self, &self->now, now_us);
        client_receive(self, &self->old, now_us);
        expire(self, now_us);
        bool greeting = client_follow_dial(self, now_us);
        client_send_ready(self, now_us);
        wait_for_events(self, greeting, now_us);
    }
    end_all(self);
    conn_close(&self->now);
    conn_close(&self->old);
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
    pending_init(&self->pending, IN_FLIGHT_MAX, hash_entropy64());
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
    pthread_mutex_destroy(&self->lock);
    free(self);
}
