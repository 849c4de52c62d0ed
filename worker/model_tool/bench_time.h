/* bench_time.h - times of forward passes on this machine.
 *
 * Threads: owner only; bench_turns() and bench_shared() start threads of their own. */
#ifndef EMBER_MODEL_TOOL_BENCH_TIME_H
#define EMBER_MODEL_TOOL_BENCH_TIME_H

#include "bench_batch.h"
#include "model/encoder_parts.h"

/* Passes of one batch on one thread over about `seconds`, seven at least. Times are the
 * processor's: what other programs took in between does not count. */
struct bench_passes {
    uint32_t n;
    double median_ns, min_ns;
    double floor_ns;    /* by the peaks of the median pass; NaN where they are not known */
    double ratio;       /* median over all passes of time over floor, peaks measured around each */
    double ratio_least; /* the same of the tenth part that was least disturbed */
    struct encoder_profile profile; /* each part in the pass where it was fastest */
};

struct bench_job {
    const encoder_t *encoder;
    const struct bench_floor *floor; /* of the encoder's precision */
    const struct bench_batch *batch;
    double seconds;
    bool profiled; /* fill in `profile` */
    float *vector; /* [model_outputs] gets the first text's output; NULL for none */
};

enum status bench_passes(const struct bench_job *job, struct bench_passes *out, struct err *err);

/* Tokens per second of one thread, and of n together, each on passes of its own; in turns, best
 * turn of each. */
struct bench_turns {
    double one, all;
};
enum status bench_turns(const struct bench_job *job, uint32_t n, struct bench_turns *out,
                        struct err *err);

/* Passes of one thread alone, and of n threads that share each pass (base/team.h), in turn. */
struct bench_shared {
    double alone_ns, shared_ns;             /* medians */
    double alone_least_ns, shared_least_ns; /* of the least disturbed pass */
};
enum status bench_shared(const struct bench_job *job, uint32_t n, struct bench_shared *out,
                         struct err *err);

#endif
