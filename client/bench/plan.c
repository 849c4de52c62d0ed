/* plan.c - see plan.h. */
#include "plan.h"

#include <math.h>

struct plan plan_workers(double found, uint32_t workers, double wanted, double hourly) {
    struct plan out = {NAN, NAN, NAN, NAN};
    if (workers == 0 || !(found > 0))
        return out;
    out.per_worker = found / workers;
    out.workers = fmax(1, ceil(wanted / out.per_worker * (1 - 1e-9)));
    if (hourly > 0 && wanted > 0) {
        out.per_hour = out.workers * hourly;
        out.per_million = out.per_hour / (wanted * 3600) * 1e6;
    }
    return out;
}
