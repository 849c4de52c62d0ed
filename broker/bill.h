/* bill.h - what the workers have cost: the integral of their hourly cost over time, in whatever
 * currency they state it, and the part of it that a thousand answers of late took.
 *
 * Threads: owner only. Memory: the struct. */
#ifndef EMBER_BROKER_BILL_H
#define EMBER_BROKER_BILL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BILL_SLOT_US = 5 * 1000 * 1000,
    BILL_SLOTS = 61, /* five minutes, and where they begin */
};

struct bill {
    uint64_t looked_us, slot, start_us;
    double hourly; /* since the last look */
    double spent;  /* since the start */
    uint64_t answered;
    struct bill_mark {
        double spent;
        uint64_t answered;
    } marks[BILL_SLOTS]; /* as it was when a slot began, by the slot's number */
};

void bill_init(struct bill *self, uint64_t now_us);

/* From now on workers cost `hourly`; `answered` requests have had a result, ever. */
void bill_look(struct bill *self, double hourly, uint64_t answered, uint64_t now_us);

/* Of the last five minutes, or since the start; false: nothing was answered. */
bool bill_per_1000(const struct bill *self, double *out);

#endif
