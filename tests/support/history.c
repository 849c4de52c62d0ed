/* history.c - one record a call, written by two hands: who began it and who ended it.
 *
 *   record: begun_us, timeout_ms | outcomes (atomic), took_us, status, foreign ...
 *
 * Records are small and kept to the end, so that a run of millions of calls can be judged as a
 * whole; the words of what went wrong are kept for the first few only. A second outcome only
 * raises the count: the first one's fields stay, so that the check can tell both. Threads that do
 * nothing but sleep a little, again and again, measure how late this machine wakes threads: on a
 * busy one that is part of every measured time and nobody's fault. */
#include "support/history.h"

#include "base/clock.h"
#include "base/hash.h"
#include "engine/engine_fake.h"
#include "engine/vector.h"
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

/* SPARE: history_full() is asked before, so each thread may be one beyond. */
enum { DIM_MAX = 512, PROBE_US = 2000, PROBES_MAX = 8, SHOWN = 5, SPARE = 64, WHYS = 64 };

struct record {
    uint64_t begun_us;
    uint32_t timeout_ms, took_us;
    _Atomic uint16_t outcomes;
    _Atomic bool ended; /* took_us and all below are there */
    uint8_t status;
    uint8_t foreign : 1, resent : 1, no_advice : 1;
    uint8_t cached : 4, shared : 4; /* texts: at most HISTORY_TEXTS */
};

struct why {
    uint32_t call;
    char text[80];
};

struct probe {
    history_t *history;
    pthread_t thread;
    uint32_t cpu;
    _Atomic uint32_t stall_us;
};

struct history {
    uint32_t capacity, texts_max, dim, pool;
    _Atomic uint32_t n, ended;
    pthread_mutex_t lock; /* guards the seat: one thread at a time asks the engine */
    engine_t *engine;
    engine_seat_t *seat;
    struct why why[WHYS];
    _Atomic uint32_t n_whys;
    struct probe probe[PROBES_MAX];
    uint32_t n_probes;
    atomic_bool stop;
    struct record record[];
};

static void *probe_run(void *arg) {
    struct probe *probe = arg;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(probe->cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one); /* best effort */
    while (!atomic_load(&probe->history->stop)) {
        uint64_t start_us = clock_us();
        nanosleep(&(struct timespec){0, PROBE_US * 1000}, NULL);
        uint32_t over_us = (uint32_t)(clock_us() - start_us - PROBE_US);
        if (over_us > atomic_load(&probe->stall_us))
            atomic_store(&probe->stall_us, over_us);
    }
    return NULL;
}

/* One a CPU, as a thread that is due waits for its own CPU while another idles. */
static void start_probes(history_t *self) {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    sched_getaffinity(0, sizeof mine, &mine);
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE && self->n_probes < PROBES_MAX; cpu++) {
        struct probe *probe = &self->probe[self->n_probes];
        if (!CPU_ISSET(cpu, &mine))
            continue;
        *probe = (struct probe){.history = self, .cpu = cpu};
        TEST_EQ(pthread_create(&probe->thread, NULL, probe_run, probe), 0);
        self->n_probes++;
    }
}

uint32_t history_stall_us(history_t *self) {
    uint32_t worst = 0;
    for (uint32_t i = 0; i < self->n_probes; i++) {
        uint32_t us = atomic_load(&self->probe[i].stall_us);
        worst = us > worst ? us : worst;
    }
    return worst;
}

history_t *history_new(uint32_t capacity, uint32_t texts_max, uint32_t dim, uint32_t pool) {
    TEST_TRUE(texts_max >= 1 && texts_max <= HISTORY_TEXTS && dim <= DIM_MAX);
    history_t *self = calloc(1, sizeof *self + (capacity + SPARE) * sizeof self->record[0]);
    TEST_TRUE(self != NULL);
    self->capacity = capacity;
    self->texts_max = texts_max;
    self->dim = dim;
    self->pool = pool;
    char spec[32];
    snprintf(spec, sizeof spec, "dim=%u", dim);
    TEST_EQ(engine_fake_open(spec, &self->engine, NULL), STATUS_OK);
    TEST_EQ(engine_seat_new(self->engine, 1, 1, &self->seat, NULL), STATUS_OK);
    pthread_mutex_init(&self->lock, NULL);
    start_probes(self);
    return self;
}

void history_destroy(history_t **self) {
    history_t *h = *self;
    if (!h)
        return;
    atomic_store(&h->stop, true);
    for (uint32_t i = 0; i < h->n_probes; i++)
        pthread_join(h->probe[i].thread, NULL);
    pthread_mutex_destroy(&h->lock);
    engine_seat_destroy(&h->seat);
    engine_destroy(&h->engine);
    free(h);
    *self = NULL;
}

bool history_full(history_t *self) {
    return atomic_load(&self->n) >= self->capacity;
}

uint32_t history_invoke(history_t *self, uint32_t timeout_ms) {
    uint32_t call = atomic_fetch_add(&self->n, 1);
    if (call >= self->capacity + SPARE) {
        fprintf(stderr, "history: more than %u calls\n", self->capacity);
        abort();
    }
    struct record *r = &self->record[call];
    r->begun_us = clock_us();
    r->timeout_ms = timeout_ms;
    return call;
}

void history_texts(const history_t *self, uint32_t call, struct history_texts *out) {
    uint64_t seed = call + 1;
    out->n = 1 + hash_below(&seed, self->texts_max);
    for (size_t i = 0; i < out->n; i++) {
        uint32_t id =
            self->pool ? hash_below(&seed, self->pool) : call * HISTORY_TEXTS + (uint32_t)i;
        uint64_t length = 8 + hash_mix(id) % 100;
        int n = snprintf(out->text[i], HISTORY_TEXT_BYTES, "text %u ", id);
        for (; n < (int)length; n++)
            out->text[i][n] = (char)('a' + (id + (uint32_t)n) % 26);
        out->text[i][n] = '\0';
        out->list[i] = out->text[i];
    }
}

/* Is row i what the fake engine gives for this text, to the last bit? */
static bool right(history_t *self, const char *text, const float *row) {
    float full[DIM_MAX], want[DIM_MAX];
    struct engine_item item = {.text = view_of(text), .out = full};
    struct engine_times times = {0};
    pthread_mutex_lock(&self->lock);
    engine_run(self->engine, self->seat, &item, 1, &times);
    pthread_mutex_unlock(&self->lock);
    vector_finish(full, self->dim, 0, true, want);
    return row && memcmp(row, want, self->dim * sizeof *want) == 0;
}

static void judge_result(history_t *self, struct record *r, uint32_t call,
                         const ember_result_t *result) {
    struct history_texts texts;
    struct ember_times times;
    history_texts(self, call, &texts);
    r->foreign = ember_result_count(result) != texts.n || ember_result_dim(result) != self->dim;
    for (size_t i = 0; i < texts.n && !r->foreign; i++) {
        enum ember_source source = ember_result_source(result, i);
        r->foreign = !right(self, texts.list[i], ember_result_floats(result, i));
        if (source == EMBER_SOURCE_MEMORY || source == EMBER_SOURCE_REDIS)
            r->cached++;
        if (source == EMBER_SOURCE_SHARED)
            r->shared++;
    }
    ember_result_times(result, &times);
    r->resent = times.resent > 0;
}

static void keep_why(history_t *self, uint32_t call, const char *message) {
    if (atomic_load(&self->n_whys) >= WHYS)
        return;
    uint32_t i = atomic_fetch_add(&self->n_whys, 1);
    if (i >= WHYS)
        return;
    self->why[i].call = call;
    snprintf(self->why[i].text, sizeof self->why[i].text, "%.79s", message);
}

static const char *why_of(const history_t *self, uint32_t call) {
    uint32_t n = atomic_load(&self->n_whys);
    for (uint32_t i = 0; i < n && i < WHYS; i++)
        if (self->why[i].call == call)
            return self->why[i].text;
    return "";
}

void history_end(history_t *self, uint32_t call, enum ember_status status,
                 const ember_result_t *result, const struct ember_error *error) {
    struct record *r = &self->record[call];
    uint64_t now_us = clock_us();
    if (atomic_fetch_add(&r->outcomes, 1) != 0)
        return;
    r->took_us = (uint32_t)(now_us - r->begun_us);
    r->status = (uint8_t)status;
    if (status == EMBER_OK)
        judge_result(self, r, call, result);
    else
        keep_why(self, call, error->message);
    r->no_advice = status == EMBER_RESOURCE_EXHAUSTED && error->retry_after_ms == 0;
    atomic_store(&r->ended, true);
    atomic_fetch_add(&self->ended, 1);
}

uint32_t history_open(history_t *self) {
    return atomic_load(&self->n) - atomic_load(&self->ended);
}

static void finding(const history_t *self, uint32_t *count, uint32_t call, const char *what) {
    const struct record *r = &self->record[call];
    if ((*count)++ < SHOWN)
        fprintf(stderr, "history: call %u: %s; begun at %.3f s, took %.3f s, %s %s\n", call, what,
                (double)(r->begun_us - self->record[0].begun_us) / 1e6,
                r->ended ? (double)r->took_us / 1e6 : -1,
                ember_status_name((enum ember_status)r->status), why_of(self, call));
}

void history_print_errors(const history_t *self, FILE *to) {
    uint32_t n = atomic_load(&self->n_whys);
    for (uint32_t i = 0; i < n && i < WHYS; i++) {
        const struct record *r = &self->record[self->why[i].call];
        fprintf(to, "    call %u begun at %.3f s: %s after %.3f s: %s\n", self->why[i].call,
                (double)(r->begun_us - self->record[0].begun_us) / 1e6,
                ember_status_name((enum ember_status)r->status), (double)r->took_us / 1e6,
                self->why[i].text);
    }
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void history_check(history_t *self, struct history_sums *out) {
    *out =
        (struct history_sums){.calls = atomic_load(&self->n), .stall_us = history_stall_us(self)};
    uint32_t *took_us = calloc(out->calls + 1, sizeof *took_us), n_ok = 0;
    TEST_TRUE(took_us != NULL);
    for (uint32_t i = 0; i < out->calls; i++) {
        const struct record *r = &self->record[i];
        uint32_t outcomes = atomic_load(&self->record[i].outcomes);
        if (outcomes == 0) {
            finding(self, &out->lost, i, "no outcome");
            continue;
        }
        if (outcomes > 1)
            finding(self, &out->twice, i, "more than one outcome");
        if (r->took_us > r->timeout_ms * 1000ull + HISTORY_GRACE_US + 2 * out->stall_us)
            finding(self, &out->late, i, "late");
        if (r->foreign)
            finding(self, &out->foreign, i, "another's answer");
        if (r->no_advice)
            finding(self, &out->no_advice, i, "refused without advice");
        if (r->status == EMBER_OK)
            took_us[n_ok++] = r->took_us;
        TEST_TRUE(r->status < HISTORY_STATUSES);
        out->status[r->status]++;
        out->resent += r->resent;
        out->cached += r->cached;
        out->shared += r->shared;
    }
    qsort(took_us, n_ok, sizeof *took_us, compare_u32);
    if (n_ok) {
        out->median_us = took_us[n_ok / 2];
        out->worst_us = took_us[n_ok - 1];
    }
    free(took_us);
}

void history_span(const history_t *self, uint64_t from_us, uint64_t to_us,
                  struct history_span *out) {
    uint32_t n = atomic_load(&self->n);
    uint32_t *took_us = calloc(n + 1, sizeof *took_us);
    TEST_TRUE(took_us != NULL);
    *out = (struct history_span){0};
    for (uint32_t i = 0; i < n; i++) {
        const struct record *r = &self->record[i];
        if (atomic_load(&r->ended) && r->status == EMBER_OK && r->begun_us >= from_us &&
            r->begun_us < to_us)
            took_us[out->n++] = r->took_us;
    }
    qsort(took_us, out->n, sizeof *took_us, compare_u32);
    if (out->n) {
        out->median_us = took_us[out->n / 2];
        out->p95_us = took_us[(uint64_t)out->n * 95 / 100];
        out->p99_us = took_us[(uint64_t)out->n * 99 / 100];
        out->worst_us = took_us[out->n - 1];
    }
    free(took_us);
}

uint32_t history_ended_ok(const history_t *self, uint64_t from_us, uint64_t to_us) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < atomic_load(&self->n); i++) {
        const struct record *r = &self->record[i];
        if (!atomic_load(&r->ended) || r->status != EMBER_OK)
            continue; /* what is not ended is still being written */
        uint64_t ended_us = r->begun_us + r->took_us;
        n += ended_us >= from_us && ended_us < to_us;
    }
    return n;
}

uint64_t history_settled_us(const history_t *self, uint64_t from_us, uint64_t to_us,
                            uint32_t slow_us) {
    uint64_t last_us = from_us;
    for (uint32_t i = 0; i < atomic_load(&self->n); i++) {
        const struct record *r = &self->record[i];
        if (!atomic_load(&r->ended) || r->begun_us < from_us || r->begun_us >= to_us)
            continue;
        uint64_t ended_us = r->begun_us + r->took_us;
        if (r->took_us > slow_us && ended_us > last_us)
            last_us = ended_us;
    }
    return last_us;
}

void history_print(const struct history_sums *s, const char *name, FILE *to) {
    fprintf(to, "%-28s calls=%u", name, s->calls);
    for (uint32_t i = 0; i < HISTORY_STATUSES; i++)
        if (s->status[i])
            fprintf(to, " %s=%u", ember_status_name((enum ember_status)i), s->status[i]);
    fprintf(to,
            " lost=%u twice=%u foreign=%u late=%u resent=%u cached=%u median_ms=%.1f "
            "worst_ms=%.1f stall_ms=%.1f\n",
            s->lost, s->twice, s->foreign, s->late, s->resent, s->cached, s->median_us / 1e3,
            s->worst_us / 1e3, s->stall_us / 1e3);
}
