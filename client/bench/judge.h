/* judge.h - limits that a load must keep, for scripts that stop when it does not.
 *
 * Threads: any; all functions are pure. */
#ifndef EMBER_BENCH_JUDGE_H
#define EMBER_BENCH_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

enum { JUDGE_P95 = 1, JUDGE_ERRORS = 2 };

struct judge_limits {
    uint64_t p95_us; /* 0: not judged */
    double errors;   /* share of all calls, 0 and more; < 0: not judged */
};

/* "0.1%" or "0"; "" is -1, not judged. */
bool judge_share(const char *text, double *out);

/* Which limits are missed, or-ed. A load without an answer has no P95 and misses that. */
unsigned judge_missed(const struct judge_limits *limits, uint64_t calls, uint64_t failed,
                      uint64_t p95_us);

#endif
