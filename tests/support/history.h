/* history.h - what callers asked and what they were told, and whether that keeps the promises.
 *
 *     call = history_invoke(h, 10000)          noted: now, due in 10 s
 *     history_texts(h, call, &texts)           its texts: from its number alone
 *     history_end(h, call, status, ...)        noted: now, how; the vectors compared
 *     history_check(h, &sums)                  over all: ended once, in time, with its own answer
 *
 * The fake engine's vector of a text follows from the text, so an answer that belongs to another
 * call is seen at once. A call that got no outcome, or two, is a finding whatever its status is.
 * `late` is beyond its deadline + 50 ms + twice the longest time by which the machine itself woke a
 * thread too late: two threads stand between a deadline and its caller, the library's and the
 * caller's own.
 *
 * Threads: all functions but new, check and destroy from any thread; a call's texts and end by
 * who has it. */
#ifndef EMBER_TEST_HISTORY_H
#define EMBER_TEST_HISTORY_H

#include <ember/ember.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    HISTORY_TEXTS = 8,
    HISTORY_TEXT_BYTES = 160,
    HISTORY_GRACE_US = 50000,
    HISTORY_STATUSES = 17
};

struct history_texts {
    size_t n;
    const char *list[HISTORY_TEXTS];
    char text[HISTORY_TEXTS][HISTORY_TEXT_BYTES];
};

struct history_sums {
    uint32_t calls;
    uint32_t status[HISTORY_STATUSES]; /* how many ended so */
    uint32_t lost;                     /* no outcome */
    uint32_t twice;                    /* more than one */
    uint32_t foreign;                  /* OK with numbers that are not its texts' */
    uint32_t late;
    uint32_t no_advice;              /* RESOURCE_EXHAUSTED without retry_after_ms */
    uint32_t resent, cached, shared; /* calls; texts; texts */
    uint32_t worst_us, median_us;    /* of those that ended OK */
    uint32_t stall_us;               /* the machine's own delay, see above */
};

/* Of the calls that ended OK among those begun within a span of time. */
struct history_span {
    uint32_t n, median_us, p95_us, p99_us, worst_us;
};

typedef struct history history_t;

/* For `capacity` calls of 1 to texts_max texts each, 24 bytes a call. dim: of the fake model.
 * pool 0: no text comes twice; else texts are drawn from so many. Fails the test when it cannot. */
history_t *history_new(uint32_t capacity, uint32_t texts_max, uint32_t dim, uint32_t pool);
void history_destroy(history_t **self); /* after the last call of it has ended */

uint32_t history_invoke(history_t *self, uint32_t timeout_ms);
bool history_full(history_t *self); /* no room for further calls */
void history_texts(const history_t *self, uint32_t call, struct history_texts *out);
/* `result` when status is OK, else NULL and `error`; both are borrowed. */
void history_end(history_t *self, uint32_t call, enum ember_status status,
                 const ember_result_t *result, const struct ember_error *error);
uint32_t history_open(history_t *self); /* calls without an outcome so far */

/* When all callers have stopped. The first findings of each kind are printed to stderr. */
void history_check(history_t *self, struct history_sums *out);
/* Times as clock_us(). Callers may still run: calls that have not ended are left out. */
void history_span(const history_t *self, uint64_t from_us, uint64_t to_us,
                  struct history_span *out);
/* How many ended OK in [from, to). */
uint32_t history_ended_ok(const history_t *self, uint64_t from_us, uint64_t to_us);
/* When the last of the calls begun in [from, to) that took longer than slow_us ended; from_us when
 * none did. */
uint64_t history_settled_us(const history_t *self, uint64_t from_us, uint64_t to_us,
                            uint32_t slow_us);
uint32_t history_stall_us(history_t *self); /* the machine's own delay so far */
/* Of the first calls that did not end OK: when, how long, and what they were told. */
void history_print_errors(const history_t *self, FILE *to);
void history_print(const struct history_sums *sums, const char *name, FILE *to); /* one line */

#endif
