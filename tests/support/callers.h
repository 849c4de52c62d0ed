/* callers.h - threads of services that call for vectors while the test breaks things.
 *
 *     callers_t *callers = callers_start(&cfg, history);
 *     ... faults ...
 *     callers_stop(&callers);            stops calling, waits until every call has ended
 *     history_check(history, &sums);
 *
 * Unless open_loop is set, even threads wait for each answer (ember_embed), odd ones do not and
 * keep their rate whatever happens (ember_embed_start). Gaps are exponential, as of callers who
 * know nothing of each other. */
#ifndef EMBER_TEST_CALLERS_H
#define EMBER_TEST_CALLERS_H

#include "support/history.h"
#include "support/net.h"

struct callers_cfg {
    const char *endpoints, *model;
    uint32_t clients; /* ember_t, shared by the threads */
    uint32_t threads;
    double calls_per_s; /* of all threads together */
    uint32_t timeout_ms;
    uint32_t flags; /* EMBER_NO_RETRY */
    bool no_cache;
    bool open_loop;  /* no thread waits: the rate is kept whatever happens */
    struct net *net; /* its hosts host and host + 1 are where clients live, in turn; NULL: here */
    uint32_t host;
};

typedef struct callers callers_t;

callers_t *callers_start(const struct callers_cfg *cfg, history_t *history);
/* Calls that have not ended by their deadline and 5 s are given up on: the history shows them as
 * lost. */
void callers_stop(callers_t **self);

#endif
