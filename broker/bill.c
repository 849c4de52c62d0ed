/* bill.c - see bill.h. A mark every five seconds; between two looks the cost is held to be as it
 * was at the first. */
#include "bill.h"

void bill_init(struct bill *self, uint64_t now_us) {
    *self = (struct bill){.looked_us = now_us, .start_us = now_us};
}

void bill_look(struct bill *self, double hourly, uint64_t answered, uint64_t now_us) {
    self->spent += self->hourly * (double)(now_us - self->looked_us) / 3600e6;
    self->looked_us = now_us;
    self->hourly = hourly;
    self->answered = answered;
    uint64_t slot = (now_us - self->start_us) / BILL_SLOT_US;
    for (uint32_t i = 0; self->slot < slot && i < BILL_SLOTS; i++, slot--)
        self->marks[slot % BILL_SLOTS] = (struct bill_mark){self->spent, answered};
    self->slot = (now_us - self->start_us) / BILL_SLOT_US;
}

bool bill_per_1000(const struct bill *self, double *out) {
    struct bill_mark from = {0};
    if (self->slot >= BILL_SLOTS)
        from = self->marks[(self->slot + 1) % BILL_SLOTS]; /* the oldest there is */
    uint64_t answered = self->answered - from.answered;
    if (!answered)
        return false;
    *out = (self->spent - from.spent) / (double)answered * 1000;
    return true;
}
