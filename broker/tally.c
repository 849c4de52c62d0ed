/* tally.c - answers counted: by service, lane and status; refusals by reason; and against the
 * service level.
 *
 * The service level counts what a client may hold against the service: an OK answer is within it or
 * late, and what was refused, ran out of time or failed is not within. What is the request's own
 * fault (malformed, no such model, taken back, beyond the client's own limits) is not counted. */
#include "core_state.h"

static const char *const names[CORE_REASONS] = {
    [CORE_REASON_STOPPING] = "stopping",     [CORE_REASON_INVALID] = "invalid",
    [CORE_REASON_TOO_LARGE] = "too_large",   [CORE_REASON_NO_WORKER] = "no_worker",
    [CORE_REASON_POISONED] = "poisoned",     [CORE_REASON_CLIENT_LIMIT] = "client_limit",
    [CORE_REASON_UNREAD] = "unread",         [CORE_REASON_MEMORY] = "memory",
    [CORE_REASON_QUEUE_FULL] = "queue_full", [CORE_REASON_NO_TIME] = "no_time",
    [CORE_REASON_PUSHED_OUT] = "pushed_out", [CORE_REASON_TOO_LATE] = "too_late",
};

const char *core_reason_name(enum core_reason reason) {
    return names[reason];
}

static bool is_of_the_service(enum status status) {
    switch (status) {
    case STATUS_OK:
    case STATUS_UNKNOWN_OUTCOME:
    case STATUS_DEADLINE_EXCEEDED:
    case STATUS_RESOURCE_EXHAUSTED:
    case STATUS_ABORTED:
    case STATUS_INTERNAL:
    case STATUS_UNAVAILABLE:
    case STATUS_DATA_LOSS:
        return true;
    default:
        return false;
    }
}

static void count_level(core_t *self, uint8_t lane, enum status status, uint64_t took_us) {
    bool within = status == STATUS_OK && took_us <= self->cfg.slo_us;
    if (self->cfg.slo_us && is_of_the_service(status))
        self->stats.slo[lane][within]++;
}

static void count(core_t *self, uint32_t client, uint32_t service, uint8_t lane,
                  enum status status) {
    self->stats.replied[status]++;
    self->replied++;
    self->clients[client].replied++;
    if (lane < WIRE_LANES && service < self->fleet.n_services)
        self->services[service].replies.n[lane][status]++;
}

void tally_answer(core_t *self, const struct ticket *t, enum status status, uint64_t took_us) {
    count(self, t->client, t->service, t->lane, status);
    count_level(self, t->lane, status, took_us);
}

void tally_slow(core_t *self, const struct ticket *t, enum status status, uint64_t now_us) {
    uint64_t total_us = now_us - t->admitted_us;
    if (!self->cfg.slow_us || total_us < self->cfg.slow_us)
        return;
    self->stats.slow++;
    if (!self->ops.slow)
        return;
    bool there = t->execution && self->fleet.workers[t->worker].uuid == t->uuid;
    struct core_slow slow = {.client = t->client,
                             .session = self->clients[t->client].session,
                             .id = t->id,
                             .service = t->service,
                             .lane = t->lane,
                             .status = status,
                             .attempts = t->attempts,
                             .execution = t->execution,
                             .worker = there ? t->worker : CORE_NONE,
                             .waited_us = t->sent_us ? t->sent_us - t->admitted_us : total_us,
                             .total_us = total_us};
    self->ops.slow(self->ops.arg, &slow);
}

void tally_refusal(core_t *self, uint32_t client, uint8_t lane, const struct refusal *refusal) {
    enum core_reason reason = refusal->reason;
    count(self, client, refusal->service, lane, refusal->status);
    self->stats.refusals[reason]++;
    if (lane < WIRE_LANES && reason != CORE_REASON_CLIENT_LIMIT &&
        reason != CORE_REASON_TOO_LARGE && reason != CORE_REASON_UNREAD)
        count_level(self, lane, refusal->status, UINT64_MAX);
}

const struct core_replies *core_replies(const core_t *self, uint32_t service) {
    return &self->services[service].replies;
}
