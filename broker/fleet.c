/* fleet.c - tables of workers and services, and who serves what. See fleet.h.
 *
 * Services are found by walking the table: that happens at HELLO and READY, never per request. */
#include "fleet.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

bool fleet_init(struct fleet *self, uint32_t max_workers, uint32_t max_services, uint64_t seed) {
    CHECK(max_workers <= LIMIT_WORKERS && max_services <= LIMIT_SERVICES && max_services > 1);
    *self = (struct fleet){
        .max_workers = max_workers, .max_services = max_services, .n_services = 1, .random = seed};
    self->workers = calloc(max_workers, sizeof *self->workers);
    self->loads = calloc(max_workers, sizeof *self->loads);
    self->free = calloc(max_workers, sizeof *self->free);
    self->services = calloc(max_services, sizeof *self->services);
    if (self->workers && self->loads && self->free && self->services)
        return true;
    fleet_done(self);
    return false;
}

void fleet_done(struct fleet *self) {
    for (uint32_t i = 0; self->services && i < self->n_services; i++)
        free(self->services[i].members);
    free(self->workers);
    free(self->loads);
    free(self->free);
    free(self->services);
    *self = (struct fleet){0};
}

/* What a peer calls itself ends up in logs, on terminals and in reports: cut between characters, so
 * that a report stays UTF-8, and without control characters, so that a line stays one. */
static void copy(char *out, size_t room, struct view text) {
    size_t n = text.bytes < room - 1 ? text.bytes : room - 1;
    n = n ? utf8_valid_prefix(view_make(text.data, n)) : 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text.data[i];
        out[i] = c < 0x20 || c == 0x7f ? '?' : text.data[i];
    }
    out[n] = '\0';
}

uint32_t fleet_find(const struct fleet *self, struct view model, enum wire_task task) {
    for (uint32_t i = 1; i < self->n_services; i++)
        if (self->services[i].task == task && view_equal(view_of(self->services[i].model), model))
            return i;
    return 0;
}

uint32_t fleet_number(struct fleet *self, struct view model, enum wire_task task, bool by_worker) {
    uint32_t number = fleet_find(self, model, task);
    if (number)
        return number;
    /* The unnamed model of each task is no stranger's invention: there are only so many tasks. */
    uint32_t max = by_worker || !model.bytes ? self->max_services : self->max_services / 2;
    if (self->n_services >= max || model.bytes > LIMIT_NAME_BYTES || task <= WIRE_TASK_NONE ||
        task >= WIRE_TASKS)
        return 0;
    number = self->n_services++;
    struct fleet_service *service = &self->services[number];
    copy(service->model, sizeof service->model, model);
    service->task = task;
    return number;
}

static uint32_t threads_of(const struct fleet_worker *w) {
    return w->threads < LIMIT_THREADS ? w->threads : LIMIT_THREADS;
}

/* The fast ones stand first. */
static bool add_member(struct fleet_service *service, uint32_t worker, bool fast) {
    if (service->n_members == service->room) {
        uint32_t room = service->room ? 2 * service->room : 8;
        uint16_t *members = realloc(service->members, room * sizeof *members);
        if (!members)
            return false;
        service->members = members;
        service->room = room;
    }
    uint32_t at = service->n_members++;
    if (fast) {
        service->members[at] = service->members[service->n_fast];
        at = service->n_fast++;
    }
    service->members[at] = (uint16_t)worker;
    service->seen = true;
    return true;
}

static void remove_member(struct fleet_service *service, uint32_t worker, uint64_t now_us) {
    for (uint32_t i = 0; i < service->n_members; i++)
        if (service->members[i] == worker) {
            if (i < service->n_fast) { /* the last fast one takes its place */
                service->members[i] = service->members[--service->n_fast];
                i = service->n_fast;
            }
            service->members[i] = service->members[--service->n_members];
            service->last_us = now_us;
            return;
        }
}

static void copy_model(struct fleet_model *out, const struct wire_model *in) {
    copy(out->name, sizeof out->name, in->name);
    copy(out->fingerprint, sizeof out->fingerprint, in->fingerprint);
    copy(out->precision, sizeof out->precision, in->precision);
    copy(out->kernel, sizeof out->kernel, in->kernel);
    out->dim = in->dim;
    out->max_tokens = in->max_tokens;
    out->tasks = in->tasks;
    out->head = in->head;
    out->labels = in->labels;
}

static bool serves(const struct fleet_worker *w, uint32_t service) {
    for (uint32_t i = 0; i < w->n_services; i++)
        if (w->services[i] == service)
            return true;
    return false;
}

/* Enter the worker into every service of one model; of a model it names twice, once. */
static bool serve(struct fleet *self, uint32_t worker, const struct fleet_model *model) {
    struct fleet_worker *w = &self->workers[worker];
    for (enum wire_task task = WIRE_TASK_NONE + 1; task < WIRE_TASKS; task++) {
        if (!(model->tasks & 1U << task))
            continue;
        uint32_t number = fleet_number(self, view_of(model->name), task, true);
        if (number && serves(w, number))
            continue;
        if (!number || w->n_services == FLEET_WORKER_SERVICES ||
            !add_member(&self->services[number], worker, self->loads[worker].fast))
            return false;
        struct fleet_service *service = &self->services[number];
        service->threads += threads_of(w);
        service->window += self->loads[worker].credit;
        memcpy(service->fingerprint, model->fingerprint, sizeof service->fingerprint);
        service->dim = model->dim;
        service->max_tokens = model->max_tokens;
        service->head = model->head;
        service->labels = model->labels;
        w->services[w->n_services++] = (uint16_t)number;
    }
    return true;
}

enum status fleet_join(struct fleet *self, const struct wire_ready *ready, uint16_t credit,
                       uint64_t now_us, uint32_t *out, struct err *err) {
    if (!self->n_free && self->high_workers == self->max_workers)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "there are %u workers already",
                       self->max_workers);
    uint32_t index = self->n_free ? self->free[--self->n_free] : self->high_workers++;
    struct fleet_worker *w = &self->workers[index];
    *w = (struct fleet_worker){.state = FLEET_LIVE,
                               .uuid = ready->uuid,
                               .heard_us = now_us,
                               .joined_us = now_us,
                               .hourly_cost = ready->hourly_cost,
                               .threads = ready->threads,
                               .pid = ready->pid};
    queue_init(&w->in_flight);
    copy(w->name, sizeof w->name, ready->name);
    copy(w->host, sizeof w->host, ready->host);
    copy(w->version, sizeof w->version, ready->version);
    copy(w->tier, sizeof w->tier, ready->tier);
    self->loads[index] = (struct fleet_load){.credit = credit,
                                             .open = true,
                                             .used = self->turn++,
                                             .barred = WIRE_LANES,
                                             .fast = strcmp(w->tier, "fast") == 0};
    self->n_workers++;
    for (uint32_t i = 0; i < ready->n_models && i < LIMIT_MODELS; i++) {
        copy_model(&w->models[w->n_models++], &ready->models[i]);
        if (!serve(self, index, &w->models[i])) {
            fleet_leave(self, index, now_us);
            return err_set(err, STATUS_RESOURCE_EXHAUSTED, "there are %u services already",
                           self->n_services);
        }
    }
    *out = index;
    return STATUS_OK;
}

void fleet_close(struct fleet *self, uint32_t worker, uint64_t now_us) {
    struct fleet_worker *w = &self->workers[worker];
    for (uint32_t i = 0; i < w->n_services; i++) {
        struct fleet_service *service = &self->services[w->services[i]];
        remove_member(service, worker, now_us);
        service->threads -= threads_of(w);
        uint32_t credit = self->loads[worker].credit; /* as it is now, not as it was summed up */
        service->window -= credit < service->window ? credit : service->window;
    }
    w->n_services = 0;
    self->loads[worker].open = false;
    self->loads[worker].keeper = 0;
    self->loads[worker].barred = WIRE_LANES;
}

void fleet_leave(struct fleet *self, uint32_t worker, uint64_t now_us) {
    CHECK(self->workers[worker].state != FLEET_FREE);
    CHECK(queue_empty(&self->workers[worker].in_flight));
    fleet_close(self, worker, now_us);
    self->workers[worker].state = FLEET_FREE;
    self->free[self->n_free++] = worker;
    self->n_workers--;
}

uint32_t fleet_by_uuid(const struct fleet *self, uint64_t uuid) {
    for (uint32_t i = 0; i < self->high_workers; i++)
        if (self->workers[i].state != FLEET_FREE && self->workers[i].uuid == uuid)
            return i;
    return FLEET_NONE;
}

/* ---------------------------------------------------------------- choice */

static bool may_use(const struct fleet_load *load, uint32_t service, uint8_t lane) {
    return load->open && load->credit &&
           (lane < load->barred || (load->keeper == service && load->keeper_lane == lane));
}

/* Time until the worker is done with `cost` more. */
static inline float done_in(const struct fleet_load *load, uint32_t cost, float per_credit) {
    float ahead = (float)(load->cost + cost);
    return load->pace > 0 ? ahead * load->us_per_cost : ahead / (per_credit * (float)load->credit);
}

/* Sooner by more than a sixteenth, or as soon and used longer ago. */
static inline bool goes_before(float a_us, const struct fleet_load *a, float b_us,
                               const struct fleet_load *b) {
    float left = 16 * a_us, right = 16 * b_us;
    if (left + a_us < right)
        return true;
    return left <= right + b_us && (int32_t)(a->used - b->used) < 0;
}

/* The best of members[from..to). Where there are many, a random few of those with room will do. */
static uint32_t choose_among(struct fleet *self, uint32_t service, uint32_t from, uint32_t to,
                             struct fleet_wish *wish) {
    const struct fleet_service *s = &self->services[service];
    const float per_credit = s->per_credit > 0 ? s->per_credit : 1;
    const uint32_t cost = wish->cost, n = to - from;
    uint32_t seen = 0, best = FLEET_NONE;
    float best_us = 0, almost_us = 0;
    uint32_t at = n > FLEET_SCAN ? from + hash_below(&self->random, n) : from;
    for (uint32_t i = 0; i < n; i++, at = at + 1 == to ? from : at + 1) {
        uint32_t worker = s->members[at];
        const struct fleet_load *load = &self->loads[worker];
        if (!may_use(load, service, wish->lane) || worker == wish->avoid)
            continue;
        if (load->n && load->cost + cost > load->credit) {
            float us = load->cost < load->credit ? done_in(load, cost, per_credit) : 0;
            if (us > 0 && (wish->almost == FLEET_NONE || us < almost_us)) {
                wish->almost = worker;
                almost_us = us;
            }
            continue;
        }
        float us = done_in(load, cost, per_credit);
        if (best == FLEET_NONE || goes_before(us, load, best_us, &self->loads[best])) {
            best = worker;
            best_us = us;
        }
        if (n > FLEET_SCAN && ++seen == FLEET_ENOUGH)
            break;
    }
    return best;
}

uint32_t fleet_choose(struct fleet *self, uint32_t service, struct fleet_wish *wish) {
    const struct fleet_service *s = &self->services[service];
    uint32_t fast = s->n_fast, all = s->n_members, best;
    wish->almost = FLEET_NONE;
    if (wish->lane == WIRE_LANE_HIGH) {
        best = choose_among(self, service, 0, fast, wish);
        if (best == FLEET_NONE)
            best = choose_among(self, service, fast, all, wish);
    } else {
        best = choose_among(self, service, fast, all, wish);
        if (best == FLEET_NONE)
            best = choose_among(self, service, 0, fast, wish);
    }
    if (best != FLEET_NONE)
        self->loads[best].used = self->turn++;
    return best;
}

/* ---------------------------------------------------------------- paces */

#define HELD_KEEP 0.9375 /* what a result leaves of the sums before it */
#define DRIFT     0.01F  /* to the mean, each look: some ten seconds */

static void set_pace(struct fleet_load *load, float pace) {
    load->pace = pace;
    load->us_per_cost = 1 / pace;
}

void fleet_learn(struct fleet *self, uint32_t worker, uint32_t cost, uint32_t load, uint64_t us) {
    struct fleet_worker *w = &self->workers[worker];
    struct fleet_load *l = &self->loads[worker];
    if (!us || 2 * load < l->credit)
        return;
    w->held_cost = w->held_cost * HELD_KEEP + (double)cost * load;
    w->held_us = w->held_us * HELD_KEEP + (double)cost * (double)us;
    set_pace(l, (float)(w->held_cost / w->held_us));
}

void fleet_measure(struct fleet *self) {
    for (uint32_t i = 1; i < self->n_services; i++) {
        struct fleet_service *s = &self->services[i];
        float pace = 0;
        uint32_t known = 0, all = 0;
        for (uint32_t k = 0; k < s->n_members; k++) {
            const struct fleet_load *load = &self->loads[s->members[k]];
            all += load->credit;
            known += load->pace > 0 ? load->credit : 0;
            pace += load->pace;
        }
        s->per_credit = known ? pace / (float)known : 0;
        s->pace = s->per_credit * (float)all;
        s->window = all;
    }
    for (uint32_t i = 0; i < self->high_workers; i++) {
        struct fleet_load *load = &self->loads[i];
        const struct fleet_worker *w = &self->workers[i];
        if (w->state == FLEET_FREE || load->pace <= 0 || !w->n_services || load->n)
            continue;
        float mean = self->services[w->services[0]].per_credit * (float)load->credit;
        set_pace(load, load->pace + DRIFT * (mean - load->pace));
    }
}

const char *fleet_state_name(enum fleet_state state) {
    static const char *const names[] = {"free", "live", "suspect", "draining"};
    return names[state];
}
