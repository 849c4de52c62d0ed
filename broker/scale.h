/* scale.h - how many workers are wanted: a figure for whoever starts and stops them.
 *
 *     load   = (engine work asked for per second + engine work that waits / 30 s) / runners
 *     wanted = live x load / target                       target 0.7: runners busy 7/10 of the time
 *
 * The engine work of a request is not known before it ran: it is cost x what a unit of its
 * service's cost took of late, requests that the cache answered included (core_load()). What was
 * refused for want of room or time was asked for, too.
 *
 * Up at once, but at most to twice what is there, since more says little about a crowd that a
 * saturated fleet sends away again and again; down to the highest wish of the last window, as the
 * Kubernetes HPA does, so that a wave does not stop workers that the next one needs. In the first
 * window after the start nobody is told to go, because what was asked for before is not known: at
 * least the workers that were there when the figure began are wished for. Those that came since do
 * not count, or brokers with unequal parts of the requests would drive each other up.
 *
 * Several brokers of the same workers each see their part of the requests and all of the workers:
 * their loads and wishes are to be added. For that the least number is parted among them.
 *
 * Threads: owner only. Memory: the struct. */
#ifndef EMBER_BROKER_SCALE_H
#define EMBER_BROKER_SCALE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SCALE_EVERY_US = 1000 * 1000,        /* between looks, or longer */
    SCALE_SMOOTH_US = 15 * 1000 * 1000,  /* what is asked for, averaged over about so long */
    SCALE_BACKLOG_US = 30 * 1000 * 1000, /* what waits is to be done in so long, beside the rest */
    SCALE_QUIET_US = 15 * 1000 * 1000,   /* no wish so soon: workers are still coming back; a
                                            shorter window is all there is to wait for */
    SCALE_SLOTS = 61,                    /* of the window: sixty and the one that has begun */
};

struct scale_cfg {
    double target;             /* of load; 0: 1 */
    uint32_t min, max;         /* workers, all brokers together */
    uint32_t brokers;          /* that share the workers, this one included; 0: 1 */
    uint64_t stabilization_us; /* the window; 0: down at once, too */
};

struct scale_sample {
    uint32_t live, suspect; /* workers: those that work, those that get nothing new */
    uint32_t runners;       /* of the live */
    double offered_us;      /* engine work asked for, ever */
    double waiting_us;      /* engine work that waits now */
    uint64_t received;      /* requests, ever */
};

struct scale {
    struct scale_cfg cfg;
    uint64_t start_us, looked_us, slot_us, slot; /* slot: number of the latest, rising */
    double offered_us;                           /* at the last look */
    uint64_t received;
    double rate; /* engine work asked for, us per us: runners that it keeps busy */
    double load;
    uint32_t highest[SCALE_SLOTS]; /* wish of each slot, by its number */
    uint32_t wish;
    uint32_t found; /* workers that were there when the wish began to mean something, or fewer */
    bool known;     /* the quiet time is over: the wish means something */
};

void scale_init(struct scale *self, const struct scale_cfg *cfg, uint64_t now_us);

/* A look; returns the wish. Load and wish of all looks so far are in *self. */
uint32_t scale_look(struct scale *self, const struct scale_sample *sample, uint64_t now_us);

#endif
