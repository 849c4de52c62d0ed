/* services.h - models and tasks in use, and the numbers a broker gave them for this session. Pure.
 *
 * A service is added when a call first names it and is never forgotten: a program uses few. Its
 * number is the session's and is asked for with HELLO, again in each new session. A client has one
 * list of names, and one of numbers for each broker that follows it.
 *
 * Threads: owner only. */
#ifndef EMBER_CLIENT_SERVICES_H
#define EMBER_CLIENT_SERVICES_H

#include "base/limits.h"
#include "wire/session.h"

enum { SERVICES_MAX = WIRE_HELLO_WANT_MAX, SERVICE_NONE = SERVICES_MAX };

struct service {
    char model[LIMIT_NAME_BYTES + 1];
    enum wire_task task;
    uint32_t asked;  /* number of the HELLO of this session that first named it; 0: none did */
    uint16_t number; /* 0 though answered: the broker has no room for it */
    char serves[LIMIT_NAME_BYTES + 1];
    char fingerprint[LIMIT_NAME_BYTES + 1];
    uint32_t dim, max_tokens, workers;
    enum wire_head head;
    uint32_t labels;
};

struct services {
    struct service list[SERVICES_MAX];
    uint32_t n;
    uint32_t hellos, welcomes; /* of this session; a WELCOME answers one HELLO, in their order */
};

/* The broker has spoken about it in this session. */
static inline bool services_answered(const struct services *self, const struct service *service) {
    return service->asked && service->asked <= self->welcomes;
}

/* The service's index, added if need be; SERVICE_NONE when there are too many. */
uint32_t services_index(struct services *self, const char *model, enum wire_task task);

/* Names that `names` has and self has not are added, so that both have the same indices. True: some
 * were. */
bool services_follow(struct services *self, const struct services *names);

void services_forget(struct services *self); /* a new session begins */

/* All of them for a HELLO; views point into self. want[SERVICES_MAX]. Returns how many. Then, when
 * it is sent: */
uint32_t services_want(const struct services *self, struct wire_service_name *want);
void services_asked(struct services *self);

void services_welcome(struct services *self, const struct wire_welcome *welcome);

#endif
