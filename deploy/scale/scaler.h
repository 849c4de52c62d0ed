/* scaler.h - one look after the other: list units, ask brokers, decide, start and stop.
 *
 * Threads: owner only but scaler_page(), _alive() and _ready(), which the HTTP server calls. */
#ifndef EMBER_SCALE_SCALER_H
#define EMBER_SCALE_SCALER_H

#include "follow.h"
#include "wish.h"

#include "metrics/expose.h"

struct scaler_cfg {
    struct follow_cfg follow;
    struct wish_cfg wish;
    const char *hosts_file, *systemctl, *unit;
    uint64_t interval_us, timeout_us; /* between looks; of a command */
    bool dry_run;                     /* nothing is started or stopped */
};

typedef struct scaler scaler_t;

/* Errors of the hosts file, the brokers' addresses or keys: STATUS_INVALID_ARGUMENT or
 * STATUS_UNAVAILABLE. `cfg` and what it points to are borrowed. */
enum status scaler_new(const struct scaler_cfg *cfg, scaler_t **out, struct err *err);
void scaler_destroy(scaler_t **self);

/* The hosts file anew; with an error the old hosts stay. */
enum status scaler_reload(scaler_t *self, struct err *err);

void scaler_look(scaler_t *self);

void scaler_page(scaler_t *self, struct expose_text *out);
bool scaler_alive(scaler_t *self, struct expose_text *why); /* the last look is not long ago */
bool scaler_ready(scaler_t *self, struct expose_text *why); /* and it saw what it needs */

#endif
