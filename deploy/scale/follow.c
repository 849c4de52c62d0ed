/* follow.c - see follow.h.
 *
 *        start            listed active            stop           listed inactive
 *     OFF ────► STARTING ───────────────► ACTIVE ────► STOPPING ─────────────────► OFF
 *                  │ not running after start_us,           FAILED: not before retry_us
 *                  └─► FAILED ◄── listed failed, or a start that could not be done
 *
 * The list decides: it alone survives this program and knows what others did. */
#include "follow.h"

#include <stdlib.h>
#include <string.h>

struct unit {
    enum unit_state state;
    uint64_t since_us;   /* STARTING, ACTIVE: the start; else the state */
    uint64_t refused_us; /* it could not be stopped then; 0: it could */
};

struct host {
    struct follow_host is;
    bool silent;
    /* Of is.units, see count(): */
    uint32_t busy;  /* running */
    uint32_t taken; /* not to be started */
    uint32_t loose; /* to be stopped, if need be */
    bool ill;       /* one has failed of late */
    struct unit units[FOLLOW_HOST_UNITS_MAX];
};

struct follow {
    struct follow_cfg cfg;
    struct host *hosts;
    uint32_t n_hosts;
    uint64_t changed_us;
    int64_t others; /* see follow.h */
};

const char *unit_state_name(enum unit_state state) {
    static const char *const names[UNIT_STATES] = {"off", "starting", "active", "stopping",
                                                   "failed"};
    return names[state];
}

follow_t *follow_new(const struct follow_cfg *cfg, uint64_t now_us) {
    follow_t *self = calloc(1, sizeof *self);
    if (self)
        *self = (struct follow){.cfg = *cfg, .changed_us = now_us};
    return self;
}

void follow_destroy(follow_t **self) {
    if (*self)
        free((*self)->hosts);
    free(*self);
    *self = NULL;
}

static const struct host *find(const follow_t *self, const char *name) {
    for (uint32_t i = 0; i < self->n_hosts; i++)
        if (strcmp(self->hosts[i].is.name, name) == 0)
            return &self->hosts[i];
    return NULL;
}

bool follow_set_hosts(follow_t *self, const struct follow_host *hosts, uint32_t n) {
    struct host *list = calloc(n + 1u, sizeof *list);
    if (!list)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const struct host *old = find(self, hosts[i].name);
        if (old)
            list[i] = *old;
        list[i].is = hosts[i];
        list[i].silent = old ? old->silent : true; /* until it was listed */
    }
    free(self->hosts);
    self->hosts = list;
    self->n_hosts = n;
    return true;
}

uint32_t follow_hosts(const follow_t *self) {
    return self->n_hosts;
}

const struct follow_host *follow_host(const follow_t *self, uint32_t host) {
    return &self->hosts[host].is;
}

/* ---- what a list says */

static bool runs(enum unit_state state) {
    return state == UNIT_STARTING || state == UNIT_ACTIVE;
}

static void set(struct unit *unit, enum unit_state state, uint64_t now_us) {
    if (!(runs(unit->state) && runs(state)))
        unit->since_us = now_us;
    unit->state = state;
}

static void listed(const follow_t *self, struct unit *unit, enum unit_state state,
                   uint64_t now_us) {
    uint64_t age_us = now_us - unit->since_us;
    bool denied = (unit->state == UNIT_STARTING && !runs(state)) ||
                  (unit->state == UNIT_STOPPING && runs(state));
    if (denied && age_us < FOLLOW_BELIEVE_US)
        return;
    if (unit->state == UNIT_STARTING && state == UNIT_OFF)
        state = age_us < self->cfg.start_us ? UNIT_STARTING : UNIT_FAILED;
    else if (unit->state == UNIT_FAILED && state == UNIT_OFF)
        state = age_us < self->cfg.retry_us ? UNIT_FAILED : UNIT_OFF;
    if (state != unit->state)
        set(unit, state, now_us);
}

void follow_listed(follow_t *self, uint32_t host, const enum unit_state *states, uint64_t now_us) {
    struct host *h = &self->hosts[host];
    uint32_t gone = 0; /* while it was silent: they served nobody, if that was noticed */
    for (uint32_t i = 0; states && i < FOLLOW_HOST_UNITS_MAX; i++) {
        bool ran = runs(h->units[i].state);
        listed(self, &h->units[i], states[i], now_us);
        gone += h->silent && ran && !runs(h->units[i].state);
    }
    if (self->others < 0)
        self->others = self->others + gone > 0 ? 0 : self->others + gone;
    h->silent = !states;
}

/* ---- what there is */

struct census {
    uint32_t running;  /* units that run, surplus included */
    uint32_t surplus;  /* of them: beyond what their host may run */
    uint32_t believed; /* they, and those that ran when their host fell silent */
    uint32_t young;    /* of those: too lately started to be missed */
};

static bool is_free(const follow_t *self, const struct unit *unit, uint64_t now_us) {
    return unit->state == UNIT_OFF ||
           (unit->state == UNIT_FAILED && now_us - unit->since_us >= self->cfg.retry_us);
}

static bool is_loose(const follow_t *self, const struct unit *unit, uint64_t now_us) {
    return runs(unit->state) &&
           (!unit->refused_us || now_us - unit->refused_us >= self->cfg.retry_us);
}

static void count_unit(const follow_t *self, struct host *h, uint32_t k, uint64_t now_us,
                       struct census *all) {
    const struct unit *unit = &h->units[k];
    bool inside = k < h->is.units;
    bool is_taken = inside && !is_free(self, unit, now_us);
    h->taken += is_taken;
    h->ill |= is_taken && unit->state == UNIT_FAILED;
    h->loose += inside && is_loose(self, unit, now_us);
    h->busy += inside && runs(unit->state);
    all->running += runs(unit->state);
    all->surplus += !inside && runs(unit->state);
}

static struct census count(follow_t *self, uint64_t now_us) {
    struct census all = {0};
    for (uint32_t i = 0; i < self->n_hosts; i++) {
        struct host *h = &self->hosts[i];
        h->busy = h->taken = h->loose = 0;
        h->ill = false;
        for (uint32_t k = 0; k < FOLLOW_HOST_UNITS_MAX; k++) {
            const struct unit *unit = &h->units[k];
            if (!h->silent)
                count_unit(self, h, k, now_us, &all);
            all.believed += runs(unit->state);
            all.young += runs(unit->state) && now_us - unit->since_us < self->cfg.start_us;
        }
    }
    return all;
}

static uint32_t min_of(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Units that may still come. What is seen beyond those believed to run is others' at any time; how
 * many there are in all, or how many units serve nobody, shows while none is young. */
static uint32_t coming(follow_t *self, const struct census *all, uint32_t seen) {
    int64_t beyond = (int64_t)seen - all->believed;
    if (!all->young || beyond > self->others)
        self->others = beyond;
    int64_t missing = self->others - beyond;
    return missing > all->young ? all->young : (uint32_t)missing;
}

/* ---- which */

static bool is_emptier(const struct host *a, const struct host *b) {
    if (a->ill != b->ill)
        return b->ill;
    return (uint64_t)a->busy * b->is.units < (uint64_t)b->busy * a->is.units;
}

/* The host with the least share of its units in use that has a free one; NULL: none has. */
static struct host *emptiest(follow_t *self) {
    struct host *best = NULL;
    for (uint32_t i = 0; i < self->n_hosts; i++) {
        struct host *h = &self->hosts[i];
        if (h->silent || h->taken >= h->is.units)
            continue;
        if (!best || is_emptier(h, best))
            best = h;
    }
    return best;
}

static struct host *fullest(follow_t *self) {
    struct host *best = NULL;
    for (uint32_t i = 0; i < self->n_hosts; i++) {
        struct host *h = &self->hosts[i];
        if (h->silent || !h->loose)
            continue;
        if (!best || (uint64_t)h->busy * best->is.units >= (uint64_t)best->busy * h->is.units)
            best = h;
    }
    return best;
}

static bool is_planned(const struct follow_step *steps, uint32_t n, struct follow_step step) {
    for (uint32_t i = 0; i < n; i++)
        if (steps[i].host == step.host && steps[i].unit == step.unit)
            return true;
    return false;
}

static void plan_starts(follow_t *self, uint32_t n, uint64_t now_us, struct follow_plan *out) {
    struct host *h;
    while (out->n_start < min_of(n, FOLLOW_STEP_MAX) && (h = emptiest(self))) {
        struct follow_step step = {.host = (uint32_t)(h - self->hosts), .unit = 1};
        while (!is_free(self, &h->units[step.unit - 1], now_us) ||
               is_planned(out->start, out->n_start, step))
            step.unit++; /* taken < units: there is one */
        out->start[out->n_start++] = step;
        h->busy++;
        h->taken++;
    }
    if (out->n_start < min_of(n, FOLLOW_STEP_MAX))
        out->hold = FOLLOW_SHORT;
}

/* The last unit of the fullest host, again and again. */
static void plan_stops(follow_t *self, uint32_t n, uint64_t now_us, struct follow_plan *out) {
    struct host *h;
    while (out->n_stop < min_of(n, FOLLOW_STEP_MAX) && (h = fullest(self))) {
        struct follow_step step = {.host = (uint32_t)(h - self->hosts), .unit = h->is.units};
        while (!is_loose(self, &h->units[step.unit - 1], now_us) ||
               is_planned(out->stop, out->n_stop, step))
            step.unit--; /* loose > 0: there is one */
        out->stop[out->n_stop++] = step;
        h->busy--;
        h->loose--;
    }
}

static void plan_surplus(follow_t *self, uint32_t n, uint64_t now_us, struct follow_plan *out) {
    for (uint32_t i = 0; i < self->n_hosts; i++) {
        const struct host *h = &self->hosts[i];
        for (uint32_t k = h->is.units; !h->silent && k < FOLLOW_HOST_UNITS_MAX; k++)
            if (is_loose(self, &h->units[k], now_us) && out->n_stop < min_of(n, FOLLOW_STEP_MAX))
                out->stop[out->n_stop++] = (struct follow_step){i, k + 1};
    }
}

static void grow(follow_t *self, const struct census *all, uint32_t n, uint64_t now_us,
                 struct follow_plan *out) {
    uint32_t most = min_of(2 * out->target, self->cfg.max + all->surplus);
    uint32_t room = most > all->running ? most - all->running : 0;
    plan_starts(self, min_of(n, room), now_us, out);
    if (room < n && out->hold == FOLLOW_GOES)
        out->hold = FOLLOW_UNSEEN;
}

static void shrink(follow_t *self, uint32_t n, uint64_t now_us, struct follow_plan *out) {
    uint32_t step = out->have / 4 ? out->have / 4 : 1;
    plan_surplus(self, min_of(step, out->surplus), now_us, out);
    if (!out->n_stop)
        plan_stops(self, min_of(step, n), now_us, out);
}

void follow_decide(follow_t *self, const struct follow_sight *sight, uint64_t now_us,
                   struct follow_plan *out) {
    const struct follow_cfg *cfg = &self->cfg;
    struct census all = count(self, now_us);
    uint32_t on_their_way = coming(self, &all, sight->seen), have = sight->seen + on_their_way;
    *out = (struct follow_plan){.have = have, .surplus = min_of(all.surplus, have)};
    have -= out->surplus;
    if (!sight->any) {
        out->hold = FOLLOW_BLIND;
        out->target = have;
        return;
    }
    out->target = sight->wish > cfg->min ? sight->wish : cfg->min;
    out->target = min_of(out->target, cfg->max);
    if (have < out->target)
        grow(self, &all, out->target - have, now_us, out);
    else if (have == out->target && !out->surplus)
        return;
    else if (!sight->all)
        out->hold = FOLLOW_PARTIAL;
    else if (!on_their_way && now_us - self->changed_us >= cfg->cool_us)
        shrink(self, have - out->target, now_us, out);
}

void follow_started(follow_t *self, struct follow_step step, bool ok, uint64_t now_us) {
    struct unit *unit = &self->hosts[step.host].units[step.unit - 1];
    unit->state = ok ? UNIT_STARTING : UNIT_FAILED;
    unit->since_us = now_us;
    self->changed_us = now_us;
}

void follow_stopped(follow_t *self, struct follow_step step, bool ok, uint64_t now_us) {
    struct unit *unit = &self->hosts[step.host].units[step.unit - 1];
    unit->refused_us = ok ? 0 : now_us;
    if (ok)
        set(unit, UNIT_STOPPING, now_us);
    self->changed_us = now_us;
}

void follow_count(const follow_t *self, uint32_t out[UNIT_STATES]) {
    memset(out, 0, UNIT_STATES * sizeof *out);
    for (uint32_t i = 0; i < self->n_hosts; i++) {
        const struct host *h = &self->hosts[i];
        for (uint32_t k = 0; !h->silent && k < FOLLOW_HOST_UNITS_MAX; k++)
            out[h->units[k].state]++;
    }
    out[UNIT_OFF] = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < self->n_hosts; i++) {
        const struct host *h = &self->hosts[i];
        for (uint32_t k = 0; !h->silent && k < h->is.units; k++)
            used += h->units[k].state == UNIT_OFF;
    }
    out[UNIT_OFF] = used;
}

uint32_t follow_silent(const follow_t *self) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < self->n_hosts; i++)
        n += self->hosts[i].silent;
    return n;
}
