/* load.c - see load.h.
 *
 *     free slots --take--> start a call --(library's thread)--> count, give the slot back
 *
 * A slot is a call that may be under way; closed loop has `concurrency` of them, open loop as many
 * as can be outstanding at most. */
#include "load.h"

#include "base/clock.h"
#include "base/hash.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LATE_US = 1000, PROGRESS_US = 1000 * 1000, STOP_STEP_US = 200 * 1000 };

struct run;

struct slot {
    struct run *run;
    uint64_t due_us; /* intended start */
    uint32_t class, n_texts;
    bool counted;
};

struct run {
    ember_t *ember;
    texts_t *texts;
    const struct load_cfg *cfg;
    struct load_report *report;
    uint64_t start_us, measure_us, end_us;
    uint64_t sent, random;
    atomic_ulong answered;
    uint64_t told_us, told;
    atomic_uint_fast64_t last_us; /* the latest end of a counted call */

    pthread_mutex_t lock; /* guards the free slots and what is counted of answers */
    pthread_cond_t freed;
    struct slot *slots;
    uint32_t *free, n_free, n_slots;
};

static void give_back(struct slot *slot) {
    struct run *run = slot->run;
    pthread_mutex_lock(&run->lock);
    run->free[run->n_free++] = (uint32_t)(slot - run->slots);
    pthread_cond_signal(&run->freed);
    pthread_mutex_unlock(&run->lock);
}

static void count_error(struct load_report *report, const struct ember_error *error) {
    if (report->failed++ == 0)
        snprintf(report->first_error, sizeof report->first_error, "%s", error->message);
    if ((unsigned)error->status < LOAD_STATUSES)
        report->by_status[error->status]++;
}

static void count_answer(struct run *run, const struct slot *slot, const ember_result_t *result,
                         uint64_t now_us) {
    struct load_report *report = run->report;
    report->calls++;
    report->texts += slot->n_texts;
    report->by_status[EMBER_OK]++;
    latency_add(&report->all, now_us - slot->due_us);
    latency_add(&report->by_class[slot->class], now_us - slot->due_us);
    for (size_t i = 0; i < slot->n_texts; i++) {
        report->by_source[ember_result_source(result, i) & 3]++;
        report->tokens += ember_result_tokens(result, i);
    }
    atomic_store(&run->last_us, now_us);
}

/* On the library's thread, or on the generator's for a call that could not start. */
static void on_done(void *arg, enum ember_status status, ember_result_t *result,
                    const struct ember_error *error) {
    struct slot *slot = arg;
    struct run *run = slot->run;
    uint64_t now_us = clock_us();
    atomic_fetch_add(&run->answered, 1);
    if (slot->counted) {
        pthread_mutex_lock(&run->lock);
        if (status == EMBER_OK)
            count_answer(run, slot, result, now_us);
        else
            count_error(run->report, error);
        if (run->cfg->series) {
            uint64_t due_us = run->cfg->series_at_us + slot->due_us - run->measure_us;
            series_add(run->cfg->series, due_us, due_us + (now_us - slot->due_us),
                       status == EMBER_OK);
        }
        pthread_mutex_unlock(&run->lock);
    }
    ember_result_destroy(&result);
    give_back(slot);
}

/* A free slot; waits until `until_us` for one, NULL when there is none. */
static struct slot *take_slot(struct run *run, uint64_t until_us) {
    struct timespec at = {.tv_sec = (time_t)(until_us / 1000000),
                          .tv_nsec = (long)(until_us % 1000000) * 1000};
    struct slot *slot = NULL;
    pthread_mutex_lock(&run->lock);
    while (run->n_free == 0)
        if (pthread_cond_timedwait(&run->freed, &run->lock, &at) != 0)
            break;
    if (run->n_free > 0)
        slot = &run->slots[run->free[--run->n_free]];
    pthread_mutex_unlock(&run->lock);
    return slot;
}

static enum ember_status start_call(struct run *run, struct slot *slot,
                                    const struct texts_item *first, const char *const *texts,
                                    struct ember_error *error) {
    const struct load_cfg *cfg = run->cfg;
    uint32_t flags = cfg->retry ? 0 : EMBER_NO_RETRY;
    if (cfg->task == EMBER_TASK_RERANK && !first->classify) { /* the first text is the query */
        struct ember_rerank_options o = EMBER_RERANK_OPTIONS_INIT;
        o.flags = flags;
        o.cache = cfg->cache;
        o.lane = cfg->lane;
        return ember_rerank_start(run->ember, texts[0], texts + 1, slot->n_texts, &o, on_done, slot,
                                  NULL, error);
    }
    if (first->classify || cfg->task == EMBER_TASK_CLASSIFY) {
        struct ember_classify_options o = EMBER_CLASSIFY_OPTIONS_INIT;
        o.flags = flags;
        o.cache = cfg->cache;
        o.lane = cfg->lane;
        o.hypothesis_template = first->template_text;
        o.multi_label = first->multi_label;
        const char *const *labels = first->classify ? first->labels : cfg->labels;
        uint32_t n_labels = first->classify ? first->n_labels : cfg->n_labels;
        return ember_classify_start(run->ember, texts, slot->n_texts, labels, n_labels, &o, on_done,
                                    slot, NULL, error);
    }
    struct ember_embed_options o = EMBER_EMBED_OPTIONS_INIT;
    o.flags = flags;
    o.cache = cfg->cache;
    o.lane = cfg->lane;
    return ember_embed_start(run->ember, texts, slot->n_texts, &o, on_done, slot, NULL, error);
}

/* Fills the slot with the next texts and starts it; false at the end of the texts. */
static bool send_next(struct run *run, struct slot *slot, const struct texts_item *first,
                      uint64_t due_us) {
    const char *texts[LOAD_TEXTS_MAX + 1];
    uint32_t n = 0, query = run->cfg->task == EMBER_TASK_RERANK;
    struct texts_item item = *first;
    do
        texts[n++] = item.text;
    while (n < run->cfg->texts_per_call + query && texts_more(run->texts, first, &item));
    slot->due_us = due_us;
    slot->class = first->class;
    slot->n_texts = n - query;
    slot->counted = due_us >= run->measure_us;
    struct ember_error error;
    run->sent++;
    if (start_call(run, slot, first, texts, &error) != EMBER_OK)
        on_done(slot, error.status, NULL, &error);
    return true;
}

static void tell(struct run *run) {
    uint64_t now_us = clock_us();
    if (!run->cfg->progress || now_us < run->told_us + PROGRESS_US)
        return;
    uint64_t answered = atomic_load(&run->answered);
    fprintf(stderr, "\r%5.0f s  %8.1f calls/s  %llu outstanding   ",
            (double)(now_us - run->start_us) / 1e6,
            (double)(answered - run->told) * 1e6 / (double)(now_us - run->told_us),
            (unsigned long long)(run->sent - answered));
    run->told = answered;
    run->told_us = now_us;
}

static bool stops(const struct run *run) {
    return run->cfg->stop && *run->cfg->stop;
}

static bool more(const struct run *run, uint64_t at_us) {
    return !stops(run) && at_us < run->end_us &&
           (!run->cfg->requests || run->sent < run->cfg->requests);
}

static void run_closed(struct run *run) {
    struct texts_item item;
    while (more(run, clock_us())) {
        struct slot *slot = take_slot(run, clock_us() + 100 * 1000);
        tell(run);
        if (!slot)
            continue;
        if (!texts_next(run->texts, &item)) {
            give_back(slot);
            return;
        }
        send_next(run, slot, &item, clock_us());
    }
}

/* In steps, as a signal may come just before one. */
static void sleep_until(const struct run *run, uint64_t us) {
    for (uint64_t now_us; !stops(run) && (now_us = clock_us()) < us;) {
        uint64_t to_us = us - now_us < STOP_STEP_US ? us : now_us + STOP_STEP_US;
        struct timespec at = {.tv_sec = (time_t)(to_us / 1000000),
                              .tv_nsec = (long)(to_us % 1000000) * 1000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
}

/* The time of the next arrival. */
static uint64_t next_due(struct run *run, const struct texts_item *item, double *poisson_s) {
    double at_s = item->at_s;
    if (run->cfg->rate > 0) {
        double u = ((double)(hash_next(&run->random) >> 11) + 1) / 9007199254740992.0;
        *poisson_s += -log(u) / run->cfg->rate;
        at_s = *poisson_s;
    }
    return run->start_us + (uint64_t)(at_s * 1e6);
}

/* Only the generator's thread writes these. */
static void note_lag(struct load_report *report, uint64_t lag_us) {
    report->lag_us += (double)lag_us;
    report->late += lag_us > LATE_US;
}

static void run_open(struct run *run) {
    struct texts_item item;
    double poisson_s = 0;
    while (texts_next(run->texts, &item)) {
        uint64_t due_us = next_due(run, &item, &poisson_s);
        if (!more(run, due_us))
            return;
        uint64_t now_us = clock_us();
        if (due_us > now_us)
            sleep_until(run, due_us);
        else if (due_us >= run->measure_us)
            note_lag(run->report, now_us - due_us);
        if (stops(run))
            return;
        struct slot *slot = take_slot(run, run->end_us + 600 * UINT64_C(1000000));
        if (!slot)
            return;
        send_next(run, slot, &item, due_us);
        tell(run);
    }
}

static bool make_slots(struct run *run) {
    run->n_slots = run->cfg->open ? LOAD_OUTSTANDING_MAX : run->cfg->concurrency;
    run->slots = calloc(run->n_slots, sizeof *run->slots);
    run->free = calloc(run->n_slots, sizeof *run->free);
    if (!run->slots || !run->free)
        return false;
    for (uint32_t i = 0; i < run->n_slots; i++) {
        run->slots[i].run = run;
        run->free[run->n_free++] = i;
    }
    return true;
}

/* Every call ends by its deadline, so this ends, too. */
static void wait_for_all(struct run *run) {
    pthread_mutex_lock(&run->lock);
    while (run->n_free < run->n_slots)
        pthread_cond_wait(&run->freed, &run->lock);
    pthread_mutex_unlock(&run->lock);
}

enum status load_run(ember_t *ember, texts_t *texts, const struct load_cfg *cfg,
                     struct load_report *out, struct err *err) {
    struct run run = {
        .ember = ember, .texts = texts, .cfg = cfg, .report = out, .random = cfg->seed};
    memset(out, 0, sizeof *out);
    pthread_mutex_init(&run.lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&run.freed, &attr);
    enum status st = STATUS_OK;
    if (!make_slots(&run)) {
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the calls");
    } else {
        run.start_us = run.told_us = clock_us();
        run.measure_us = run.start_us + cfg->warm_up_us;
        run.end_us = run.measure_us + cfg->duration_us;
        if (cfg->open)
            run_open(&run);
        else
            run_closed(&run);
        uint64_t stop_us = clock_us();
        wait_for_all(&run);
        /* Answers that came after the last start count for closed loop as far as they were sent in
         * time; the rate is over the time in which calls were made and answered. */
        uint64_t last_us = atomic_load(&run.last_us);
        uint64_t until_us = last_us > stop_us ? last_us : stop_us;
        out->seconds = until_us > run.measure_us ? (double)(until_us - run.measure_us) / 1e6 : 0;
        if (cfg->progress)
            fputs("\r                                                  \r", stderr);
    }
    free(run.slots);
    free(run.free);
    pthread_cond_destroy(&run.freed);
    pthread_condattr_destroy(&attr);
    pthread_mutex_destroy(&run.lock);
    return st;
}

void load_merge(struct load_report *self, const struct load_report *other) {
    if (self->failed == 0)
        memcpy(self->first_error, other->first_error, sizeof self->first_error);
    self->calls += other->calls;
    self->texts += other->texts;
    self->failed += other->failed;
    self->tokens += other->tokens;
    self->late += other->late;
    self->lag_us += other->lag_us;
    self->seconds += other->seconds;
    for (int i = 0; i < LOAD_STATUSES; i++)
        self->by_status[i] += other->by_status[i];
    for (int i = 0; i < LOAD_SOURCES; i++)
        self->by_source[i] += other->by_source[i];
    latency_merge(&self->all, &other->all);
    for (int i = 0; i < TEXTS_CLASSES_MAX; i++)
        latency_merge(&self->by_class[i], &other->by_class[i]);
}
