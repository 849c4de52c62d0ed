/* room.c - may a request wait: limits of its account and of all, and whether it has the time.
 *
 *     account's requests, bytes, work ─► what waits in all ─► time left ─► let in
 *            │ over                           │ over             │ too short
 *            ▼                                ▼                  ▼
 *         refused            somebody's newest is pushed out    refused: come again when it fits
 *
 * When everything is full the account with the largest backlog pays, not whoever comes next: its
 * newest waiting request of its lowest lane is answered RESOURCE_EXHAUSTED and makes room. The one
 * who comes is refused only if its own account is that account.
 *
 * What cannot be answered in time is refused at once. The wait is what is in flight, what waits
 * in higher lanes, and what its account's turns let pass before it in its own lane, at the rate
 * of late; or what its account waits for itself, at the rate at which the account got on of late,
 * if that is longer. Nothing is refused on that ground while workers have runners without a
 * request, for nothing could be faster than that; and before anything is known of the rate a
 * worker is taken to work off its window in WINDOW_GUESS_US, so that the first seconds of an
 * overload with short deadlines are not lost on requests that nobody can answer. */
#include "core_state.h"

#include <math.h>

enum { RETRY_MIN_MS = 10, RETRY_MAX_MS = 30000, RETRY_UNKNOWN_MS = 1000 };
enum { PUSHED_MAX = 64, WINDOW_GUESS_US = 100 * 1000 };

#define TIME_SHARE 0.7 /* of its budget a request may be expected to take */

static uint32_t clamp_ms(double ms) {
    return ms < RETRY_MIN_MS ? RETRY_MIN_MS : ms > RETRY_MAX_MS ? RETRY_MAX_MS : (uint32_t)ms;
}

/* What waits, at the pace of the last seconds. */
static uint32_t retry_after_ms(uint32_t waiting, double rate) {
    return rate < 0.1 ? RETRY_UNKNOWN_MS : clamp_ms(1000.0 * waiting / rate);
}

uint32_t room_retry_ms(const core_t *self, double cost, double rate) {
    return rate > 0 ? clamp_ms(cost / rate / 1e3) : retry_after_ms(self->queued, self->rate);
}

/* Counted, and what the refusal says; its text is the caller's. */
static struct refusal count_refusal(core_t *self, uint32_t service, enum core_reason reason,
                                    uint32_t retry_ms) {
    self->services[service].refused++;
    self->stats.refused++;
    return (struct refusal){STATUS_RESOURCE_EXHAUSTED, reason, service, retry_ms};
}

/* ---------------------------------------------------------------- the account's limits */

/* An account that holds nothing may ask for anything that is sane: else it could never run. */
static bool account_has_room(core_t *self, const struct room_wish *wish,
                             const struct header *header) {
    const struct account *a = &self->accounts.items[self->clients[wish->client].account];
    const char *what = NULL;
    if (a->requests >= a->max_requests)
        what = "";
    else if (a->requests && a->bytes + wish->bytes > a->max_bytes)
        what = ", and so are as many bytes as it may send";
    else if (a->requests && a->work + wish->work > a->max_work)
        what = ", and so is as much cost as it may ask for";
    if (!what)
        return true;
    struct refusal refusal = count_refusal(self, wish->service, CORE_REASON_CLIENT_LIMIT,
                                           retry_after_ms(a->requests, self->rate));
    admit_refuse(self, wish->client, header, &refusal, "%u requests of this client are in flight%s",
                 a->requests, what);
    return false;
}

/* ---------------------------------------------------------------- what waits in all */

static bool is_full(const core_t *self, const struct room_wish *wish) {
    const struct core_cfg *cfg = &self->cfg;
    return self->queued >= cfg->max_queued ||
           self->queued_bytes + wish->bytes > cfg->max_queued_bytes ||
           (cfg->max_queued_cost && self->queued &&
            self->queued_work + wish->work > cfg->max_queued_cost) ||
           (!self->n_free_tickets && self->high_tickets == cfg->max_tickets);
}

/* The request that has to go for this one, or NULL: this one has. */
static struct ticket *to_push_out(core_t *self, const struct room_wish *wish, uint8_t lane) {
    uint32_t own = self->clients[wish->client].account;
    uint32_t largest = accounts_largest(&self->accounts);
    if (largest == ACCOUNT_NONE)
        return NULL;
    struct ticket *newest = flows_newest(&self->flows, largest);
    if (account_is_larger(&self->accounts, own, wish->work, largest)) {
        newest = flows_newest(&self->flows, own); /* of its own only for a higher lane */
        return newest && newest->lane > lane ? newest : NULL;
    }
    return newest;
}

static bool all_have_room(core_t *self, const struct room_wish *wish, const struct header *header,
                          uint64_t now_us) {
    if (is_full(self, wish) && self->queued)
        dispatch_all(self, now_us); /* some of it may only wait for the end of this burst */
    for (int i = 0; i < PUSHED_MAX && is_full(self, wish); i++) {
        struct ticket *t = to_push_out(self, wish, header->lane);
        if (!t)
            break;
        const struct line *line = &self->services[t->service].lines[t->lane];
        ticket_shed(self, t, CORE_REASON_PUSHED_OUT,
                    room_retry_ms(self, (double)line->cost, learn_rate(self, t->service)),
                    "too much waits, and most of it for this client");
    }
    if (!is_full(self, wish))
        return true;
    struct refusal refusal = count_refusal(self, wish->service, CORE_REASON_QUEUE_FULL,
                                           retry_after_ms(self->queued, self->rate));
    workload_offered(self, wish->service, wish->cost);
    admit_refuse(self, wish->client, header, &refusal, "%u requests (%llu bytes) wait already",
                 self->queued, (unsigned long long)self->queued_bytes);
    return false;
}

/* ---------------------------------------------------------------- time */

/* Cost that will be done up to and with this request. */
static double cost_ahead(const core_t *self, const struct room_wish *wish, uint8_t lane) {
    const struct service_state *state = &self->services[wish->service];
    uint64_t ahead = state->cost_in_flight;
    for (int higher = 0; higher < lane; higher++)
        ahead += state->lines[higher].cost;
    ahead += line_ahead(&self->flows, &state->lines[lane], self->clients[wish->client].account,
                        wish->cost);
    return (double)ahead;
}

static bool has_time(core_t *self, const struct room_wish *wish, const struct header *header,
                     uint64_t now_us) {
    struct service_state *state = &self->services[wish->service];
    const struct fleet_service *s = &self->fleet.services[wish->service];
    if (state->queued + state->in_flight < s->n_members + s->threads || !s->n_members)
        return true; /* without a worker it waits for one to come */
    double rate = learn_rate(self, wish->service);
    if (rate <= 0)
        rate = (double)s->window / WINDOW_GUESS_US;
    if (rate <= 0)
        return true;
    double wait_us = cost_ahead(self, wish, header->lane) / rate;
    double share_us = line_share_us(&self->flows, &state->lines[header->lane],
                                    self->clients[wish->client].account, wish->cost, now_us) +
                      (double)state->cost_in_flight / rate;
    wait_us = share_us > wait_us ? share_us : wait_us;
    double room_us = TIME_SHARE * header->budget_us;
    if (wait_us <= room_us)
        return true;
    state->pace.was_refused = true;
    workload_offered(self, wish->service, wish->cost);
    /* When it would fit, if nobody came in between; not sooner than some of the queue has gone, or
     * all who were refused would be back at once. */
    double later_us = fmax(wait_us - room_us, wait_us / 8);
    struct refusal refusal =
        count_refusal(self, wish->service, CORE_REASON_NO_TIME, clamp_ms(later_us / 1e3));
    admit_refuse(self, wish->client, header, &refusal,
                 "an answer would take about %.0f ms, the request has %u", wait_us / 1e3,
                 header->budget_us / 1000);
    return false;
}

bool room_for(core_t *self, const struct room_wish *wish, const struct header *header,
              uint64_t now_us) {
    return account_has_room(self, wish, header) && has_time(self, wish, header, now_us) &&
           all_have_room(self, wish, header, now_us);
}
