/* suspect.c - workers that are not trusted for a while.
 *
 *              stuck (hedge.c), five failures in a row, its queue full
 *        ┌──────────────────────────────────────────────────────────────┐
 *        │                                                              ▼
 *      LIVE ◄── three good results ── half its window ◄─ one ── SUSPECT: nothing new;
 *        ▲                                 │      good result    what it has is sent elsewhere, too
 *        │                                 └── stuck again ──►     │   ▲
 *        │                                                         │   │ a probe, one request at a
 *        └── nobody else serves what it serves ────────────────────┘   └── time, after ten seconds
 *
 * At most a third of the workers, but one always, may be suspect, and none that is the only one
 * for some service: a rule that would stop the service is wrong about what is wrong (cf. Envoy's
 * outlier detection, which ejects a share of the hosts at most). */
#include "core_state.h"

enum {
    FAILURES_MAX = 5,
    GOOD_ENOUGH = 3,
    SHARE_MAX = 3, /* one in so many may be suspect */
    PROBE_US = 10 * 1000 * 1000,
};

bool suspect_is_open(const core_t *self, uint32_t worker) {
    const struct fleet_worker *w = &self->fleet.workers[worker];
    if (w->doomed || w->kept)
        return false;
    return w->state == FLEET_LIVE || (w->state == FLEET_SUSPECT && !w->stuffed &&
                                      (w->good || (w->probed && self->fleet.loads[worker].n == 0)));
}

void suspect_open(core_t *self, uint32_t worker) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    struct fleet_load *load = &self->fleet.loads[worker];
    uint16_t before = load->open ? load->credit : 0;
    load->credit = w->window;
    if (w->state == FLEET_SUSPECT && w->good)
        load->credit = (uint16_t)((w->window + 1) / 2);
    load->open = suspect_is_open(self, worker);
    if (load->open && load->credit > before)
        dispatch_opened(self, worker);
}

/* Does somebody else serve all that it serves, and are not too many suspect already? */
static bool may_be(const core_t *self, uint32_t worker) {
    const struct fleet *fleet = &self->fleet;
    const struct fleet_worker *w = &fleet->workers[worker];
    for (uint32_t i = 0; i < w->n_services; i++) {
        const struct fleet_service *s = &fleet->services[w->services[i]];
        uint32_t k = 0;
        while (k < s->n_members &&
               (s->members[k] == worker || fleet->workers[s->members[k]].state != FLEET_LIVE))
            k++;
        if (k == s->n_members)
            return false;
    }
    uint32_t others = 0;
    for (uint32_t i = 0; i < fleet->high_workers; i++)
        others += i != worker && fleet->workers[i].state == FLEET_SUSPECT;
    return others == 0 || (others + 1) * SHARE_MAX <= fleet->n_workers;
}

static void clear(struct fleet_worker *w) {
    w->failures = w->good = 0;
    w->probed = w->stuffed = false;
    w->doubt_us = 0;
}

static void trust(core_t *self, uint32_t worker) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    clear(w);
    w->state = FLEET_LIVE;
    suspect_open(self, worker);
    if (self->ops.suspected)
        self->ops.suspected(self->ops.arg, worker, NULL);
}

void suspect_begin(core_t *self, uint32_t worker, const char *why, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    bool again = w->state == FLEET_SUSPECT;
    if (w->doomed || !(again || (w->state == FLEET_LIVE && may_be(self, worker))))
        return;
    bool stuffed = w->stuffed;
    clear(w);
    w->stuffed = stuffed;
    w->state = FLEET_SUSPECT;
    w->suspect_us = now_us;
    suspect_open(self, worker);
    if (again)
        return;
    self->stats.suspected++;
    if (self->ops.suspected)
        self->ops.suspected(self->ops.arg, worker, why);
}

/* Credit should have kept us from this: the worker is stuck, or its line is. Until it is heard
 * again it gets nothing, even if there is nobody else. */
void suspect_stuffed(core_t *self, uint32_t worker, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    w->stuffed = true;
    if (w->state == FLEET_LIVE) {
        w->state = FLEET_SUSPECT;
        self->stats.suspected++;
    }
    w->suspect_us = now_us;
    suspect_open(self, worker);
}

void suspect_failed(core_t *self, uint32_t worker, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    if (w->failures < FAILURES_MAX)
        w->failures++;
    if (w->failures == FAILURES_MAX || w->state == FLEET_SUSPECT)
        suspect_begin(self, worker, "five failures in a row", now_us);
}

void suspect_answered(core_t *self, uint32_t worker, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    w->answered_us = now_us;
    w->failures = 0;
    if (w->state != FLEET_SUSPECT)
        return;
    if (++w->good >= GOOD_ENOUGH)
        trust(self, worker);
    else
        suspect_open(self, worker);
}

void suspect_late(core_t *self, uint32_t worker) {
    self->fleet.workers[worker].suspect_us = 0; /* it does something: look soon */
}

void suspect_heard(core_t *self, uint32_t worker, uint16_t window) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    w->window = window;
    if (w->stuffed && w->state == FLEET_SUSPECT)
        trust(self, worker);
    else
        suspect_open(self, worker);
}

/* Several times a second: may it be suspect still, and is it time to try it? */
void suspect_look(core_t *self, uint32_t worker, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    if (w->state != FLEET_SUSPECT || w->doomed || w->stuffed)
        return;
    if (!may_be(self, worker)) {
        trust(self, worker);
    } else if (!suspect_is_open(self, worker) && now_us - w->suspect_us >= PROBE_US &&
               self->fleet.loads[worker].n == 0) {
        w->probed = true;
        w->suspect_us = now_us;
        suspect_open(self, worker);
    }
}
