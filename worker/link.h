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
/* Takes back the oldest batch that no runner has begun; NULL: there is none. The loop's. */
struct batch *link_recall(link_t *self);
/* Takes back this one; false: a runner has begun it. The loop's. */
bool link_withdraw(link_t *self, const struct batch *batch);
/* NULL: nothing is done. */
struct batch *link_pop(link_t *self);
/* Readable while link_pop() may have something; link_pop() returning NULL clears it. */
int link_fd(const link_t *self);

/* What a runner with a long batch offers to those that wait: to help. */
struct link_help {
    struct team team;
    uint32_t model;
    uint32_t places, guests; /* under the link's lock: how many may still come, are there */
};

/* Waits for a batch, or for an invitation to help, which goes to *help; neither: link_close() was
 * called. A batch comes first. *help is NULL unless there is one; then link_leave() must follow. */
struct batch *link_take(link_t *self, struct link_help **help);
void link_leave(link_t *self, struct link_help *help);
/* Whether a helper is wanted elsewhere: a batch waits, or the link is closed. */
bool link_calls(link_t *self);

/* Invites up to `places` of the runners that wait now; false when none does, or when somebody
 * else's invitation stands. A true must be followed by link_dismiss(), which waits until all
 * guests have left: the team's end must have been told them before. */
bool link_invite(link_t *self, struct link_help *help, uint32_t places);
void link_dismiss(link_t *self, struct link_help *help);

void link_give(link_t *self, struct batch *batch);

/* Runners finish what they have; what waits is left alone. */
void link_close(link_t *self);

#endif
