/* overview.h - the broker as a Status request sees it: workers, services, counters.
 * Built on demand, on the loop's thread; large fleets are cut to what a reply may carry. */
#ifndef EMBER_BROKER_OVERVIEW_H
#define EMBER_BROKER_OVERVIEW_H

#include "core.h"

struct overview { /* what the core does not know */
    const char *broker_name;
    uint64_t started_us;
    bool known; /* desired and load mean something */
    uint32_t desired;
    double load, cost;
};

/* The body of a StatusReply into *out. STATUS_RESOURCE_EXHAUSTED without memory. */
enum status overview_encode(const core_t *core, const struct overview *about, uint64_t now_us,
                            struct wire_out *out);

#endif
