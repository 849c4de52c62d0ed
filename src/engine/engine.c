/* engine.c - the calls of engine.h, forwarded to the backend that opened the engine; and the
 * self-check, which sees a backend only through them. engine_open() itself is in engine_cpu.c,
 * so that a program with another backend does not link this one. */
#include "engine/engine.h"

#include "base/check.h"
#include "engine/engine_ops.h"
#include "engine/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Answers alone and in company may differ by float32 rounding; anything wrong differs far more.
 * With narrower numbers a difference in the last digit can tip a rounding. */
#define SELF_CHECK_COSINE        0.99999f
#define SELF_CHECK_COSINE_NARROW 0.999f
#define SELF_CHECK_LOGIT         1e-3f /* of the largest logit, or of 1 */
#define SELF_CHECK_LOGIT_NARROW  5e-2f

static const char *const precisions[] = {
    [ENGINE_F32] = "f32", [ENGINE_BF16] = "bf16", [ENGINE_I8] = "i8"};

const char *engine_precision_name(enum engine_precision precision) {
    return precisions[precision];
}

bool engine_precision_parse(const char *name, enum engine_precision *out) {
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++)
        if (strcmp(precisions[i], name) == 0) {
            *out = (enum engine_precision)i;
            return true;
        }
    return false;
}

void engine_destroy(engine_t **self) {
    if (*self)
        (*self)->ops->destroy(*self);
    *self = NULL;
}

const struct engine_info *engine_info(const engine_t *self) {
    return &self->info;
}

bool engine_prompt(const engine_t *self, const char *name, struct view *out) {
    return self->ops->prompt(self, name, out);
}

void engine_prompt_at(const engine_t *self, uint32_t i, struct view *name, struct view *text) {
    CHECK(i < self->info.n_prompts);
    self->ops->prompt_at(self, i, name, text);
}

enum status engine_seat_new(const engine_t *self, uint32_t max_tokens, uint32_t max_items,
                            engine_seat_t **out, struct err *err) {
    CHECK(max_tokens >= 1 && max_items >= 1);
    if (max_tokens < self->info.max_positions)
        max_tokens = self->info.max_positions;
    engine_seat_t *seat;
    enum status st = self->ops->seat_new(self, max_tokens, max_items, &seat, err);
    if (st != STATUS_OK)
        return st;
    seat->engine = self;
    seat->max_items = max_items;
    seat->team = NULL;
    *out = seat;
    return STATUS_OK;
}

void engine_seat_destroy(engine_seat_t **self) {
    if (*self)
        (*self)->engine->ops->seat_destroy(*self);
    *self = NULL;
}

void engine_seat_trim(engine_seat_t *self) {
    if (self->engine->ops->seat_trim)
        self->engine->ops->seat_trim(self);
}

void engine_run(const engine_t *self, engine_seat_t *seat, struct engine_item *items, uint32_t n,
                struct engine_times *times) {
    CHECK(seat->engine == self && n <= seat->max_items);
    struct engine_times unasked = {0};
    self->ops->run(self, seat, items, n, times ? times : &unasked);
}

void engine_seat_lead(engine_seat_t *seat, struct team *team) {
    seat->team = team;
}

void engine_help(engine_seat_t *seat, struct team *team, bool (*leave)(void *arg),
                 void *leave_arg) {
    if (seat->engine->ops->help)
        seat->engine->ops->help(seat, team, leave, leave_arg);
}

uint32_t engine_tokenize(const engine_t *self, struct view text, enum engine_side side,
                         int32_t *ids, uint32_t max_ids, uint32_t *tokens_full) {
    CHECK(max_ids >= 2);
    uint32_t full = 0;
    enum engine_side cut = side == ENGINE_CUT_LEFT ? ENGINE_CUT_LEFT : ENGINE_CUT_RIGHT;
    uint32_t n = self->ops->tokenize(self, text, cut, ids, max_ids, &full);
    if (tokens_full)
        *tokens_full = full;
    return side == ENGINE_CUT_OFF && full > n ? 0 : n;
}

const struct zero_shot *engine_zero_shot(const engine_t *self) {
    return self->ops->zero_shot ? self->ops->zero_shot(self) : NULL;
}

struct view engine_label(const engine_t *self, uint32_t i) {
    CHECK(i < self->info.n_labels);
    return self->ops->label(self, i);
}

struct view engine_piece(const engine_t *self, int32_t id) {
    return self->ops->piece(self, id);
}

uint32_t engine_estimate_upto(const engine_t *self, struct view text, uint32_t limit) {
    uint32_t n = self->ops->estimate(self, text);
    n = n < limit ? n : limit;
    return n < 2 ? 2 : n;
}

uint32_t engine_estimate(const engine_t *self, struct view text) {
    return engine_estimate_upto(self, text, self->info.max_tokens);
}

/* The texts of the self-check: short and long, two scripts, and the empty one. */
static const char *const known[] = {
    "",
    "ok",
    "The quick brown fox jumps over the lazy dog, and then it sleeps until the evening comes.",
    "今天的天气很好，我们一起去公园散步吧。",
};
enum { N_KNOWN = sizeof known / sizeof *known };

static enum status judge_vector(const struct engine_info *info, const float *alone,
                                const float *together, uint32_t tokens, const char *text,
                                struct err *err) {
    double squares = 0;
    for (uint32_t i = 0; i < info->dim; i++)
        squares += (double)alone[i] * (double)alone[i];
    if (squares == 0 && tokens == 0 && info->layers == 0) /* a mean of nothing */
        return STATUS_OK;
    if (!(squares > 0) || !isfinite(squares))
        return err_set(err, STATUS_INTERNAL, "self-check: the vector of \"%.20s\" has length %g",
                       text, sqrt(squares));
    const bool narrow = strcmp(info->precision, precisions[ENGINE_F32]) != 0;
    float cosine = vector_cosine(alone, together, info->dim);
    if (!(cosine >= (narrow ? SELF_CHECK_COSINE_NARROW : SELF_CHECK_COSINE)))
        return err_set(err, STATUS_INTERNAL,
                       "self-check: \"%.20s\" alone and in a batch have cosine %g", text,
                       (double)cosine);
    return STATUS_OK;
}

static enum status judge_logits(const struct engine_info *info, const float *alone,
                                const float *together, const char *text, struct err *err) {
    const bool narrow = strcmp(info->precision, precisions[ENGINE_F32]) != 0;
    float largest = 1, apart = 0;
    for (uint32_t i = 0; i < info->dim; i++) {
        if (!isfinite(alone[i]) || !isfinite(together[i]))
            return err_set(err, STATUS_INTERNAL, "self-check: logit %u of \"%.20s\" is %g, %g", i,
                           text, (double)alone[i], (double)together[i]);
        largest = fmaxf(largest, fabsf(alone[i]));
        apart = fmaxf(apart, fabsf(alone[i] - together[i]));
    }
    if (!(apart <= largest * (narrow ? SELF_CHECK_LOGIT_NARROW : SELF_CHECK_LOGIT)))
        return err_set(err, STATUS_INTERNAL,
                       "self-check: a logit of \"%.20s\" alone and in a batch differs by %g", text,
                       (double)apart);
    return STATUS_OK;
}

static enum status run_known(const engine_t *self, engine_seat_t *seat, uint32_t first, uint32_t n,
                             float *out, uint32_t *tokens, struct err *err) {
    struct engine_item items[N_KNOWN] = {0};
    const bool pairs = self->info.head == ENGINE_HEAD_NLI || self->info.head == ENGINE_HEAD_SCORE;
    for (uint32_t i = 0; i < n; i++) {
        items[i].text = view_of(known[first + i]);
        if (pairs) {
            items[i].pair = ENGINE_PAIR_LONGEST_FIRST;
            items[i].second = view_of(known[(first + i + 1) % N_KNOWN]);
        }
        items[i].out = out + (size_t)(first + i) * self->info.dim;
    }
    engine_run(self, seat, items, n, NULL);
    for (uint32_t i = 0; i < n; i++) {
        tokens[first + i] = items[i].tokens;
        if (items[i].status != STATUS_OK)
            return err_set(err, STATUS_INTERNAL, "self-check: \"%.20s\" gives %s", known[first + i],
                           status_name(items[i].status));
    }
    return STATUS_OK;
}

enum status engine_self_check(const engine_t *self, engine_seat_t *seat, struct err *err) {
    uint32_t dim = self->info.dim, tokens[N_KNOWN];
    uint32_t company = seat->max_items < N_KNOWN ? seat->max_items : N_KNOWN;
    float *alone = calloc((size_t)N_KNOWN * dim, sizeof *alone);
    float *together = calloc((size_t)N_KNOWN * dim, sizeof *together);
    enum status st = STATUS_OK;
    if (!alone || !together)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "self-check: no memory");
    for (uint32_t i = 0; i < N_KNOWN && st == STATUS_OK; i++)
        st = run_known(self, seat, i, 1, alone, tokens, err);
    for (uint32_t i = 0; i < N_KNOWN && st == STATUS_OK; i += company)
        st = run_known(self, seat, i, company < N_KNOWN - i ? company : N_KNOWN - i, together,
                       tokens, err);
    for (uint32_t i = 0; i < N_KNOWN && st == STATUS_OK; i++) {
        const float *a = alone + (size_t)i * dim, *b = together + (size_t)i * dim;
        st = self->info.head == ENGINE_HEAD_NONE
                 ? judge_vector(&self->info, a, b, tokens[i], known[i], err)
                 : judge_logits(&self->info, a, b, known[i], err);
    }
    free(alone);
    free(together);
    return st;
}
