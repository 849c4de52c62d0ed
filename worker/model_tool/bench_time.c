/* bench_time.c - one thread's passes, and several threads in turns with one.
 *
 * The clock of a shared machine moves, so the floor moves with it: registers are measured before
 * and after each pass, and the pass is judged by the mean of both. Times of one thread are the
 * processor's, those of several threads a watch's. */
#include "bench_time.h"

#include "base/clock.h"
#include "base/thread.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 20000, RUNS_MIN = 7, TURNS = 4 };

/* What a thread needs to run a batch. */
struct desk {
    struct arena arena;
    float *out; /* [texts, outputs] */
};

static enum status desk_init(struct desk *self, const encoder_t *encoder,
                             const struct bench_batch *batch, struct err *err) {
    const size_t outputs = model_outputs(encoder_shape(encoder));
    *self = (struct desk){.out = calloc(batch->texts * outputs, sizeof *self->out)};
    if (self->out &&
        arena_init(&self->arena, encoder_scratch_bytes(encoder, batch->tokens, batch->texts)))
        return STATUS_OK;
    free(self->out);
    self->out = NULL;
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a pass of %u tokens",
                   batch->tokens);
}

static void desk_done(struct desk *self) {
    arena_done(&self->arena);
    free(self->out);
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct samples {
    uint32_t n;
    double ns[RUNS_MAX], ratio[RUNS_MAX];
};

static void take_samples(struct samples *self, struct desk *desk, const struct bench_job *job,
                         struct encoder_profile *best) {
    const encoder_t *encoder = job->encoder;
    const struct bench_batch *batch = job->batch;
    const enum gemm_precision precision = encoder->gemm->precision;
    const uint64_t begin_ns = clock_ns(), most_ns = (uint64_t)(job->seconds * 1e9);
    struct bench_floor now = *job->floor;
    for (int i = 0; i < ENCODER_PARTS; i++)
        best->spent_ns[i] = UINT64_MAX;
    bench_floor_measure(&now);
    for (; self->n < RUNS_MAX; self->n++) {
        if (self->n >= RUNS_MIN && clock_ns() - begin_ns >= most_ns)
            break;
        struct encoder_profile profile = {0};
        const uint64_t from_ns = clock_thread_ns();
        encoder_forward_profiled(encoder, batch->ids, batch->types, batch->start, batch->texts,
                                 &desk->arena, desk->out, job->profiled ? &profile : NULL);
        const double ns = (double)(clock_thread_ns() - from_ns);
        struct bench_floor around = now;
        bench_floor_measure(&now);
        around.f32_gflops = (around.f32_gflops + now.f32_gflops) / 2;
        around.products_gflops = (around.products_gflops + now.products_gflops) / 2;
        self->ns[self->n] = ns;
        self->ratio[self->n] = ns / bench_floor_ns(&around, precision, &encoder->shape, batch);
        for (int i = 0; i < ENCODER_PARTS; i++)
            if (profile.spent_ns[i] < best->spent_ns[i])
                best->spent_ns[i] = profile.spent_ns[i];
    }
}

enum status bench_passes(const struct bench_job *job, struct bench_passes *out, struct err *err) {
    const encoder_t *encoder = job->encoder;
    const struct bench_batch *batch = job->batch;
    struct desk desk;
    struct samples *samples = calloc(1, sizeof *samples);
    if (!samples)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for times");
    enum status st = desk_init(&desk, encoder, batch, err);
    if (st != STATUS_OK) {
        free(samples);
        return st;
    }
    *out = (struct bench_passes){0};
    encoder_forward(encoder, batch->ids, batch->types, batch->start, batch->texts, &desk.arena,
                    desk.out); /* warm */
    take_samples(samples, &desk, job, &out->profile);
    const uint32_t n = out->n = samples->n;
    qsort(samples->ns, n, sizeof *samples->ns, by_size);
    qsort(samples->ratio, n, sizeof *samples->ratio, by_size); /* NaN: all of them are */
    out->median_ns = samples->ns[n / 2];
    out->min_ns = samples->ns[0];
    out->ratio = samples->ratio[n / 2];
    out->ratio_least = samples->ratio[n / 10];
    out->floor_ns = out->median_ns / out->ratio;
    if (job->vector)
        memcpy(job->vector, desk.out, model_outputs(encoder_shape(encoder)) * sizeof *desk.out);
    desk_done(&desk);
    free(samples);
    return STATUS_OK;
}

/* ---- several threads, a pass each */

struct turn {
    const encoder_t *encoder;
    const struct bench_batch *batch;
    uint64_t until_ns;
    atomic_uint passes;
};

struct seat {
    struct turn *turn;
    struct desk desk;
    pthread_t thread;
};

static void *run(void *arg) {
    struct seat *seat = arg;
    struct turn *turn = seat->turn;
    const struct bench_batch *batch = turn->batch;
    uint32_t passes = 0;
    do {
        encoder_forward(turn->encoder, batch->ids, batch->types, batch->start, batch->texts,
                        &seat->desk.arena, seat->desk.out);
        passes++;
    } while (clock_ns() < turn->until_ns);
    turn->passes += passes;
    return NULL;
}

/* Passes per second of n threads together, into *rate when it is more. */
static enum status take_turn(const struct bench_job *job, struct seat *seats, uint32_t n,
                             double *rate, struct err *err) {
    const uint64_t from_ns = clock_ns();
    struct turn turn = {.encoder = job->encoder,
                        .batch = job->batch,
                        .until_ns = from_ns + (uint64_t)(job->seconds / TURNS / 2 * 1e9)};
    enum status st = STATUS_OK;
    uint32_t started = 0;
    while (started < n && st == STATUS_OK) {
        seats[started].turn = &turn;
        st = thread_start(&seats[started].thread, "bench", run, &seats[started], err);
        started += st == STATUS_OK;
    }
    for (uint32_t i = 0; i < started; i++)
        pthread_join(seats[i].thread, NULL);
    const double now = turn.passes / ((double)(clock_ns() - from_ns) * 1e-9);
    if (now > *rate)
        *rate = now;
    return st;
}

enum status bench_turns(const struct bench_job *job, uint32_t n, struct bench_turns *out,
                        struct err *err) {
    struct seat *seats = calloc(n, sizeof *seats);
    if (!seats)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u threads", n);
    enum status st = STATUS_OK;
    uint32_t ready = 0;
    while (ready < n && st == STATUS_OK) {
        st = desk_init(&seats[ready].desk, job->encoder, job->batch, err);
        ready += st == STATUS_OK;
    }
    double one = 0, all = 0;
    for (int i = 0; i < TURNS && st == STATUS_OK; i++) {
        st = take_turn(job, seats, 1, &one, err);
        if (st == STATUS_OK)
            st = take_turn(job, seats, n, &all, err);
    }
    for (uint32_t i = 0; i < ready; i++)
        desk_done(&seats[i].desk);
    free(seats);
    *out = (struct bench_turns){one * job->batch->tokens, all * job->batch->tokens};
    return st;
}

/* ---- several threads, one pass */

enum { SHARED_MAX = 400, SHARED_MIN = 5 };

struct helper {
    const struct bench_job *job;
    struct team *team;
    atomic_bool *stop;
    struct desk desk;
    pthread_t thread;
};

static void *help(void *arg) {
    struct helper *self = arg;
    while (!*self->stop) /* between two passes too: an idle runner of a worker would sleep there */
        encoder_help(self->job->encoder, self->job->batch->tokens, &self->desk.arena, self->team,
                     NULL, NULL);
    return NULL;
}

static double pass_ns(const struct bench_job *job, struct desk *desk, struct team *team) {
    const struct bench_batch *batch = job->batch;
    const uint64_t from_ns = clock_ns();
    encoder_forward_team(job->encoder, batch->ids, batch->types, batch->start, batch->texts,
                         &desk->arena, desk->out, team);
    return (double)(clock_ns() - from_ns);
}

/* With n - 1 helpers on their way. */
static void share(const struct bench_job *job, struct desk *desk, struct team *team, uint32_t n,
                  struct bench_shared *out) {
    double alone[SHARED_MAX], shared[SHARED_MAX];
    const uint64_t until_ns = clock_ns() + (uint64_t)(job->seconds * 1e9);
    uint32_t passes = 0;
    while (passes < SHARED_MIN || (passes < SHARED_MAX && clock_ns() < until_ns)) {
        alone[passes] = pass_ns(job, desk, NULL);
        team_begin(team);
        while (team_helpers(team) + 1 < n)
            ;
        shared[passes++] = pass_ns(job, desk, team);
        team_end(team);
    }
    qsort(alone, passes, sizeof *alone, by_size);
    qsort(shared, passes, sizeof *shared, by_size);
    *out = (struct bench_shared){alone[passes / 2], shared[passes / 2], alone[0], shared[0]};
}

enum status bench_shared(const struct bench_job *job, uint32_t n, struct bench_shared *out,
                         struct err *err) {
    struct team team = {0};
    atomic_bool stop = false;
    struct desk desk = {0};
    struct helper *helpers = calloc(n, sizeof *helpers);
    uint32_t ready = 0;
    if (!helpers)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u threads", n);
    enum status st = desk_init(&desk, job->encoder, job->batch, err);
    while (st == STATUS_OK && ready + 1 < n) {
        struct helper *helper = &helpers[ready];
        *helper = (struct helper){.job = job, .team = &team, .stop = &stop};
        st = desk_init(&helper->desk, job->encoder, job->batch, err);
        if (st == STATUS_OK)
            st = thread_start(&helper->thread, "bench", help, helper, err);
        if (st == STATUS_OK)
            ready++;
        else
            desk_done(&helper->desk);
    }
    if (st == STATUS_OK)
        share(job, &desk, &team, n, out);
    stop = true;
    for (uint32_t i = 0; i < ready; i++) {
        pthread_join(helpers[i].thread, NULL);
        desk_done(&helpers[i].desk);
    }
    desk_done(&desk);
    free(helpers);
    return st;
}
