/* wish.h - the brokers' wish, from their status reports.
 *
 * A broker that does not answer, or does not know its wish yet (the first seconds after its start),
 * makes the sum too small, so nothing is stopped meanwhile; one that has been silent for forget_us
 * is taken to be gone: clients have long been at the others, whose wish says so.
 *
 * Threads: owner only; wish_look() blocks for up to a second a broker. */
#ifndef EMBER_SCALE_WISH_H
#define EMBER_SCALE_WISH_H

#include "follow.h"

#include "base/cfg.h"

struct wish_cfg {
    const struct cfg_list *brokers; /* endpoints; borrowed */
    const char *key_file, *server_key_file;
    uint64_t forget_us;
};

typedef struct wish wish_t;

/* STATUS_INVALID_ARGUMENT: an endpoint, a key. Nobody has to answer yet. */
enum status wish_new(const struct wish_cfg *cfg, uint64_t now_us, wish_t **out, struct err *err);
void wish_destroy(wish_t **self);

void wish_look(wish_t *self, struct follow_sight *out);

#endif
