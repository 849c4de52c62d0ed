/* matrix.h - one fault after the other against the real programs under load, and what callers saw
 * of it.
 *
 *     static void fault(struct rig *rig) { proc_kill(&rig->worker[0]); ... }
 *     static const struct matrix_row rows[] = {{.name = "kill worker", .fault = fault, ...}};
 *     int main(int argc, char **argv) { ... matrix_args(argc, argv); ... matrix_run(rows, n); }
 *
 * A row: start, calls at 70 % of capacity; a quiet time, the fault, a time to settle; stop. In
 * every row each call must end once, in time, with its own vectors and OK, and afterwards all
 * workers are back and nothing is left in the brokers. Printed besides, as "added": the worst
 * call from the fault on less the quiet 99th percentile; as "settled": how long after the fault
 * began the last slow call ended (slow: beyond twice the quiet 99th percentile and 20 ms). "may
 * add" is a bound far above what is measured: a test says that something is broken, benchmarks
 * say how fast it is.
 *
 * Capacity is that of four workers of one thread and 4 ms a text, asleep: about 950 texts/s on any
 * machine, so that three of them still keep up. */
#ifndef EMBER_TEST_MATRIX_H
#define EMBER_TEST_MATRIX_H

#include "support/callers.h"
#include "support/rig.h"

enum { MATRIX_DIM = 48, MATRIX_WORKERS = 4, MATRIX_BACK_MS = 10000, MATRIX_NO_BOUND = 0 };

#define MATRIX_MODEL "m=fake:dim=48,sleep_us=4000"

struct matrix_row {
    const char *name;
    const char *pass; /* what is promised, for people */
    void (*fault)(struct rig *rig);
    uint32_t brokers;
    uint32_t may_add_ms; /* longer than quiet calls; MATRIX_NO_BOUND: as long as it takes */
    bool redis;
    bool net;                         /* each process on a host of its own */
    const char *end;                  /* one more endpoint, in front of the brokers', or NULL */
    void (*prepare)(struct rig *rig); /* before calls begin, or NULL */
    const char *broker_extra[RIG_EXTRA], *broker_before[RIG_EXTRA], *worker_before[RIG_EXTRA];
    const char *needs; /* an option of the broker: without it the row is left out; or NULL */
    bool by_hand;      /* only with --long, or when it is named */
    bool replaced;     /* the fault puts workers in and out itself: their number is not looked at */
};

/* MATRIX_ROW(name, pass, fault, brokers, may_add_ms, .further = ...) */
#define MATRIX_ROW(name_, pass_, fault_, brokers_, may_add_ms_, ...)                               \
    {                                                                                              \
        .name = name_, .pass = pass_, .fault = fault_, .brokers = brokers_,                        \
        .may_add_ms = may_add_ms_, __VA_ARGS__                                                     \
    }

/* --long: faults last as long as the table in docs/TESTING.md says, not as long as a test suite
 * has time for; --rounds N; the rest are parts of names of rows to run. False: not understood. */
bool matrix_args(int argc, char **argv);
void matrix_run(const struct matrix_row *rows, size_t n, struct net *net);
bool matrix_long(void);
uint32_t matrix_ms(uint32_t usual_ms, uint32_t long_ms); /* one of the two */
uint32_t matrix_ran(void);                               /* rows so far */

/* Waits, as a supervisor: a broker or worker that has ended is started again at once. */
void matrix_supervise(struct rig *rig, uint32_t ms);
/* The load is over soon: what a row found besides, printed behind its line. */
void matrix_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void matrix_stop(void); /* of a row that was left in the middle: for teardown */

#endif
