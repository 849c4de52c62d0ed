/* services.c - see services.h. */
#include "services.h"

#include <string.h>

uint32_t services_index(struct services *self, const char *model, enum wire_task task) {
    for (uint32_t i = 0; i < self->n; i++)
        if (self->list[i].task == task && strcmp(self->list[i].model, model) == 0)
            return i;
    size_t bytes = strlen(model);
    if (self->n == SERVICES_MAX || bytes > LIMIT_NAME_BYTES)
        return SERVICE_NONE;
    struct service *s = &self->list[self->n];
    *s = (struct service){.task = task};
    memcpy(s->model, model, bytes + 1);
    return self->n++;
}

bool services_follow(struct services *self, const struct services *names) {
    bool more = self->n < names->n;
    while (self->n < names->n) {
        const struct service *from = &names->list[self->n];
        struct service *to = &self->list[self->n++];
        *to = (struct service){.task = from->task};
        memcpy(to->model, from->model, sizeof to->model);
    }
    return more;
}

void services_forget(struct services *self) {
    self->hellos = self->welcomes = 0;
    for (uint32_t i = 0; i < self->n; i++) {
        self->list[i].asked = 0;
        self->list[i].number = 0;
    }
}

uint32_t services_want(const struct services *self, struct wire_service_name *want) {
    for (uint32_t i = 0; i < self->n; i++)
        want[i] = (struct wire_service_name){view_of(self->list[i].model), self->list[i].task};
    return self->n;
}

void services_asked(struct services *self) {
    self->hellos++;
    for (uint32_t i = 0; i < self->n; i++)
        if (!self->list[i].asked)
            self->list[i].asked = self->hellos;
}

static void copy(char out[LIMIT_NAME_BYTES + 1], struct view text) {
    size_t n = text.bytes < LIMIT_NAME_BYTES ? text.bytes : LIMIT_NAME_BYTES;
    if (n)
        memcpy(out, text.data, n);
    out[n] = '\0';
}

static void learn(struct service *s, const struct wire_service *told) {
    s->number = (uint16_t)told->number;
    copy(s->serves, told->serves);
    copy(s->fingerprint, told->fingerprint);
    s->dim = told->dim;
    s->max_tokens = told->max_tokens;
    s->workers = told->workers;
    s->head = told->head;
    s->labels = told->labels;
}

void services_welcome(struct services *self, const struct wire_welcome *welcome) {
    if (self->welcomes < self->hellos)
        self->welcomes++;
    for (uint32_t i = 0; i < self->n; i++)
        for (uint32_t k = 0; k < welcome->n_services; k++) {
            const struct wire_service *told = &welcome->services[k];
            if (told->task == self->list[i].task &&
                view_equal(told->model, view_of(self->list[i].model)))
                learn(&self->list[i], told);
        }
}
