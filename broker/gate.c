/* gate.c - see gate.h. A seat keeps the key and the role it came with; whether they still hold is
 * always asked of the guard, so there is one truth. */
#include "gate.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

bool gate_init(struct gate *self, guard_t *guard, uint32_t max_clients, uint32_t max_workers) {
    *self = (struct gate){.guard = guard, .n = {max_clients, max_workers}};
    if (!guard)
        return true;
    self->version = guard_version(guard);
    for (int i = 0; i < GATE_SIDES; i++)
        self->seats[i] = calloc(self->n[i], sizeof *self->seats[i]);
    return self->seats[GATE_CLIENTS] && self->seats[GATE_WORKERS];
}

void gate_done(struct gate *self) {
    for (int i = 0; i < GATE_SIDES; i++)
        free(self->seats[i]);
    *self = (struct gate){0};
}

static bool may_be(enum gate_side side, enum cert_role role) {
    return side == GATE_WORKERS ? role == CERT_WORKER
                                : role == CERT_CLIENT || role == CERT_OPERATOR;
}

static enum status let_in(struct gate *self, enum gate_side side, uint32_t number, const char *user,
                          struct keyring_entry *out, struct err *err) {
    if (!guard_find(self->guard, user, out) || !may_be(side, out->role))
        return err_set(err, STATUS_UNAUTHENTICATED, "this key is not admitted");
    const struct gate_seat *seat = number == GATE_NONE ? NULL : &self->seats[side][number];
    if (seat && seat->role != CERT_ANY && memcmp(seat->key, out->key, sizeof seat->key) != 0)
        return err_set(err, STATUS_UNAUTHENTICATED, "this session is of another key");
    self->next.role = out->role;
    memcpy(self->next.key, out->key, sizeof self->next.key);
    return STATUS_OK;
}

enum status gate_client(struct gate *self, uint32_t client, const char *user, struct core_who *who,
                        struct err *err) {
    struct keyring_entry e;
    if (!self->guard)
        return STATUS_OK;
    enum status st = let_in(self, GATE_CLIENTS, client, user, &e, err);
    if (st == STATUS_OK) {
        who->account = e.who.account;
        who->sticky = hash_bytes(e.key, sizeof e.key, 0); /* the same at every broker */
        who->max_requests = e.who.max_requests;
        who->max_bytes = e.who.max_bytes;
        who->max_cost = e.who.max_cost;
        who->weight = e.who.weight;
    }
    return st;
}

enum status gate_worker(struct gate *self, uint32_t worker, const char *user, struct err *err) {
    struct keyring_entry e;
    return self->guard ? let_in(self, GATE_WORKERS, worker, user, &e, err) : STATUS_OK;
}

void gate_seat(struct gate *self, enum gate_side side, uint32_t number) {
    if (self->guard)
        self->seats[side][number] = self->next;
}

void gate_leave(struct gate *self, enum gate_side side, uint32_t number) {
    if (self->guard)
        self->seats[side][number] = (struct gate_seat){0};
}

enum status gate_status(const struct gate *self, uint32_t client, struct err *err) {
    if (!self->guard || self->seats[GATE_CLIENTS][client].role == CERT_OPERATOR)
        return STATUS_OK;
    return err_set(err, STATUS_PERMISSION_DENIED, "the status is for keys of operators");
}

bool gate_changed(struct gate *self) {
    uint64_t version = self->guard ? guard_version(self->guard) : self->version;
    bool changed = version != self->version;
    self->version = version; /* asked before the walk: what changes meanwhile is seen next time */
    return changed;
}

uint32_t gate_revoked(struct gate *self, enum gate_side side, uint32_t from) {
    struct keyring_entry e;
    for (uint32_t i = from; i < self->n[side]; i++) {
        const struct gate_seat *seat = &self->seats[side][i];
        if (seat->role != CERT_ANY &&
            (!guard_find_key(self->guard, seat->key, &e) || e.role != seat->role))
            return i;
    }
    return GATE_NONE;
}
