/* link.h - the bounded rings between the loop and its runners.
 *
 *     loop --link_push()--> [ work ] --link_take()--> runner 0..n
 *     loop <--link_pop()--- [ done ] <-link_give()--- runner 0..n     link_fd() wakes the loop
 *
 * All runners take from one ring, so a batch never waits behind a long one while another runner
 * idles. Each ring has room for every batch there is: a push never blocks and never fails.
 *
 * Threads: locked inside; link_push() and link_pop() are the loop's, link_take() and link_give()
 * the runners'. Memory: link_new() allocates, nothing else. */
#ifndef EMBER_WORKER_LINK_H
#define EMBER_WORKER_LINK_H

#include "base/err.h"
#include "batch.h"

typedef struct link_rings link_t;

enum status link_new(uint32_t n_batches, link_t **out, struct err *err);
/* When no runner uses it any more. NULL is fine. */
void link_destroy(link_t **self);

void link_push(link_t *self, struct batch *batch);
/* NULL: nothing is done. */
struct batch *link_pop(link_t *self);
/* Readable while link_pop() may have something; link_pop() returning NULL clears it. */
int link_fd(const link_t *self);

/* Waits for a batch; NULL after link_close(). */
struct batch *link_take(link_t *self);
void link_give(link_t *self, struct batch *batch);

/* Runners finish what they have; what waits is left alone. */
void link_close(link_t *self);

#endif
