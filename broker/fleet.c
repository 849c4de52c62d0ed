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

static bool add_member(struct fleet_service *service, uint32_t worker) {
    if (service->n_members == service->room) {
        uint32_t room = service->room ? 2 * service->room : 8;
        uint16_t *members = realloc(service->members, room * sizeof *members);
        if (!members)
            return false;
        service->members = members;
        service->room = room;
    }
    service->members[service->n_members++] = (uint16_t)worker;
    service->seen = true;
    return true;
}

static void remove_member(struct fleet_service *service, uint32_t worker, uint64_t now_us) {
    for (uint32_t i = 0; i < service->n_members; i++)
        if (service->members[i] == worker) {
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

/* Enter the worker into every service of one model. */
static bool serve(struct fleet *self, uint32_t worker, const struct fleet_model *model) {
    struct fleet_worker *w = &self->workers[worker];
    for (enum wire_task task = WIRE_TASK_NONE + 1; task < WIRE_TASKS; task++) {
        if (!(model->tasks & 1U << task))
            continue;
        uint32_t number = fleet_number(self, view_of(model->name), task, true);
        if (!number || w->n_services == FLEET_WORKER_SERVICES ||
            !add_member(&self->services[number], worker))
            return false;
        struct fleet_service *service = &self->services[number];
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
    self->loads[index] = (struct fleet_load){.credit = credit, .open = true, .used = self->turn++};
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
    for (uint32_t i = 0; i < w->n_services; i++)
        remove_member(&self->services[w->services[i]], worker, now_us);
    w->n_services = 0;
    self->loads[worker].open = false;
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

static bool has_room(const struct fleet_load *load, uint32_t cost) {
    return load->open && load->credit && (!load->n || load->cost + cost <= load->credit);
}

static bool lighter(const struct fleet_load *a, const struct fleet_load *b) {
    uint64_t left = (uint64_t)a->cost * b->credit, right = (uint64_t)b->cost * a->credit;
    return left != right ? left < right : (int32_t)(a->used - b->used) < 0;
}

uint32_t fleet_choose(struct fleet *self, uint32_t service, uint32_t cost) {
    const struct fleet_service *s = &self->services[service];
    uint32_t n = s->n_members, seen = 0, best = FLEET_NONE;
    uint32_t at = n > FLEET_SCAN ? hash_below(&self->random, n) : 0;
    for (uint32_t i = 0; i < n; i++, at = at + 1 == n ? 0 : at + 1) {
        uint32_t worker = s->members[at];
        const struct fleet_load *load = &self->loads[worker];
        if (!has_room(load, cost))
            continue;
        if (best == FLEET_NONE || lighter(load, &self->loads[best]))
            best = worker;
        if (n > FLEET_SCAN && ++seen == FLEET_ENOUGH)
            break;
    }
    if (best != FLEET_NONE)
        self->loads[best].used = self->turn++;
    return best;
}

const char *fleet_state_name(enum fleet_state state) {
    static const char *const names[] = {"free", "live", "suspect", "draining"};
    return names[state];
}
