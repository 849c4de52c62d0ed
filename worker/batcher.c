/* batcher.c - lines of requests, by lane, age and size.
 *
 * Invariants: a line with entries is in by_age and in one by_size of its model and lane, one
 * without is in neither; bit i of `sizes` is set when by_size[i] has a line; n_small counts the
 * small ones of by_age; line->tokens, model->tokens, n are the sums over the entries; a lane that
 * is empty has earned nothing.
 *
 * Why a batch stops at the first text that does not fit instead of looking further for a shorter
 * one: overtaking saves a few tokens of room and costs the overtaken their place, and since nothing
 * is padded a batch that is not quite full wastes nothing.
 *
 * Why least left first and not a text of each line in turn: in turn, all that wait end together,
 * each as late as the last, and the broker sees no room for a long time and then room for all. */
#include "batcher.h"

#include "base/check.h"

#include <string.h>

static struct batcher_lane *lane_of(struct batcher *self, const struct batcher_line *line) {
    return &self->models[line->model].lanes[line->lane];
}

static struct batcher_line *oldest(const struct batcher_lane *lane) {
    return QUEUE_ITEM(queue_head(&lane->by_age), struct batcher_line, by_age);
}

static struct batcher_entry *first_of(const struct batcher_line *line) {
    return QUEUE_ITEM(queue_head(&line->entries), struct batcher_entry, link);
}

void batcher_init(struct batcher *self, const struct batcher_cfg *cfg) {
    CHECK(cfg->tokens_max > 0 && cfg->items_max > 0);
    memset(self, 0, sizeof *self);
    self->cfg = *cfg;
    for (uint32_t m = 0; m < LIMIT_MODELS; m++)
        for (uint32_t l = 0; l < WIRE_LANES; l++) {
            struct batcher_lane *lane = &self->models[m].lanes[l];
            queue_init(&lane->by_age);
            for (uint32_t i = 0; i < BATCHER_SIZES; i++)
                queue_init(&lane->by_size[i]);
        }
}

void batcher_set_tokens(struct batcher *self, uint32_t tokens_max) {
    CHECK(tokens_max > 0);
    self->cfg.tokens_max = tokens_max;
}

void batcher_line_init(struct batcher_line *line, uint32_t model, uint8_t lane) {
    CHECK(model < LIMIT_MODELS && lane < WIRE_LANES);
    *line = (struct batcher_line){.model = (uint8_t)model, .lane = lane};
    queue_init(&line->entries);
}

/* ---------------------------------------------------------------- lines */

/* 0: small ones, in their order. */
static uint8_t size_of(const struct batcher_line *line) {
    uint32_t size = 32 - (uint32_t)__builtin_clz(line->tokens);
    return (uint8_t)(line->small ? 0 : size < BATCHER_SIZES ? size : BATCHER_SIZES - 1);
}

static void leave_size(struct batcher_lane *lane, struct batcher_line *line) {
    queue_remove(&lane->by_size[line->size], &line->by_size);
    if (queue_empty(&lane->by_size[line->size]))
        lane->sizes &= ~(1U << line->size);
}

/* One that was begun goes before others that have as much left. */
static void join_size(struct batcher_lane *lane, struct batcher_line *line, bool begun) {
    line->size = size_of(line);
    if (begun)
        queue_push_front(&lane->by_size[line->size], &line->by_size);
    else
        queue_push(&lane->by_size[line->size], &line->by_size);
    lane->sizes |= 1U << line->size;
}

/* After an entry was added. */
static void grown(struct batcher *self, struct batcher_line *line,
                  const struct batcher_entry *entry, bool again) {
    struct batcher_lane *lane = lane_of(self, line);
    struct batcher_model *model = &self->models[line->model];
    const bool first = line->entries.n == 1;
    line->tokens += entry->tokens;
    model->tokens += entry->tokens;
    model->n++;
    self->n++;
    if (first) {
        line->since_us = entry->queued_us;
        if (again)
            queue_push_front(&lane->by_age, &line->by_age);
        else
            queue_push(&lane->by_age, &line->by_age);
    } else {
        lane->n_small -= line->small;
    }
    line->small = line->asked == entry->tokens || /* a single text, however long */
                  line->asked <= self->cfg.tokens_max / BATCHER_SMALL_PART;
    lane->n_small += line->small;
    if (first || size_of(line) != line->size) {
        if (!first)
            leave_size(lane, line);
        join_size(lane, line, again);
    }
}

void batcher_add(struct batcher *self, struct batcher_line *line, struct batcher_entry *entry) {
    CHECK(entry->tokens > 0);
    entry->line = line;
    line->asked += entry->tokens;
    queue_push(&line->entries, &entry->link);
    grown(self, line, entry, false);
}

void batcher_put_back(struct batcher *self, struct batcher_line *line,
                      struct batcher_entry *entry) {
    entry->line = line;
    queue_push_front(&line->entries, &entry->link);
    grown(self, line, entry, true);
}

void batcher_remove(struct batcher *self, struct batcher_entry *entry) {
    struct batcher_line *line = entry->line;
    struct batcher_lane *lane = lane_of(self, line);
    struct batcher_model *model = &self->models[line->model];
    queue_remove(&line->entries, &entry->link);
    entry->line = NULL;
    line->tokens -= entry->tokens;
    model->tokens -= entry->tokens;
    model->n--;
    self->n--;
    if (queue_empty(&line->entries)) {
        leave_size(lane, line);
        lane->n_small -= line->small;
        if (queue_head(&lane->by_age) == &line->by_age)
            lane->earned_next = 0;
        queue_remove(&lane->by_age, &line->by_age);
        if (queue_empty(&lane->by_age))
            lane->earned = 0;
    } else if (size_of(line) != line->size) {
        leave_size(lane, line);
        join_size(lane, line, true);
    }
}

void batcher_move(struct batcher *self, struct batcher_line *line, struct batcher_entry *entry) {
    CHECK(line->model == entry->line->model);
    batcher_remove(self, entry);
    batcher_add(self, line, entry);
}

/* ---------------------------------------------------------------- whose turn */

struct turn {
    struct batcher_lane *lane;
    struct batcher_line *line;
    struct batcher_entry *entry;
    uint32_t lane_index;
    bool earned; /* it passes others in a hurry because they passed it */
};

/* The line of a lane that goes next. */
static struct batcher_line *line_next(const struct batcher_lane *lane, bool *earned) {
    struct batcher_line *old = oldest(lane);
    if (lane->earned_next >= (uint64_t)BATCHER_OLDEST_PART * first_of(old)->tokens) {
        *earned = lane->n_small > 0;
        return old;
    }
    const struct queue *least = &lane->by_size[__builtin_ctz(lane->sizes)];
    return QUEUE_ITEM(queue_head(least), struct batcher_line, by_size);
}

/* What of the model goes next; false: nothing waits. */
static bool turn_next(struct batcher_model *model, struct turn *out) {
    *out = (struct turn){.lane = NULL};
    for (uint32_t l = 0; l < WIRE_LANES; l++) {
        struct batcher_lane *lane = &model->lanes[l];
        if (!lane->sizes)
            continue;
        bool earned = false;
        struct batcher_line *line = line_next(lane, &earned);
        if (out->lane) { /* a higher one waits */
            if (lane->earned < (uint64_t)BATCHER_LANE_PART * first_of(line)->tokens)
                continue;
            earned = true;
        }
        *out = (struct turn){lane, line, first_of(line), l, earned};
    }
    return out->lane != NULL;
}

static void pay(uint64_t *earned, uint64_t tokens) {
    *earned -= *earned < tokens ? *earned : tokens;
}

static void take(struct batcher *self, struct batcher_model *model, const struct turn *turn) {
    uint32_t tokens = turn->entry->tokens;
    if (turn->line == oldest(turn->lane))
        pay(&turn->lane->earned_next, (uint64_t)BATCHER_OLDEST_PART * tokens);
    else
        turn->lane->earned_next += tokens;
    pay(&turn->lane->earned, (uint64_t)BATCHER_LANE_PART * tokens);
    for (uint32_t l = turn->lane_index + 1; l < WIRE_LANES; l++)
        if (model->lanes[l].sizes)
            model->lanes[l].earned += tokens;
    batcher_remove(self, turn->entry);
}

/* ---------------------------------------------------------------- models */

static bool model_full(const struct batcher *self, const struct batcher_model *model) {
    return model->tokens >= self->cfg.tokens_max || model->n >= self->cfg.items_max;
}

/* Since when the oldest line waits; UINT64_MAX: none does. */
static uint64_t since_us(const struct batcher_model *model) {
    uint64_t best = UINT64_MAX;
    for (uint32_t l = 0; l < WIRE_LANES; l++)
        if (model->lanes[l].sizes && oldest(&model->lanes[l])->since_us < best)
            best = oldest(&model->lanes[l])->since_us;
    return best;
}

/* When a batch of the model, which has entries, may go. */
static uint64_t due_us(const struct batcher *self, const struct batcher_model *model) {
    if (self->cfg.wait_us == 0 || model->lanes[WIRE_LANE_HIGH].sizes || model_full(self, model))
        return 0;
    return since_us(model) + self->cfg.wait_us;
}

bool batcher_full(const struct batcher *self) {
    for (uint32_t m = 0; m < LIMIT_MODELS && self->n; m++)
        if (model_full(self, &self->models[m]))
            return true;
    return false;
}

uint64_t batcher_deadline_us(const struct batcher *self, uint64_t now_us) {
    uint64_t best = UINT64_MAX;
    for (uint32_t m = 0; m < LIMIT_MODELS && self->n; m++) {
        if (!self->models[m].n)
            continue;
        uint64_t due = due_us(self, &self->models[m]);
        if (due < best)
            best = due;
    }
    return best <= now_us ? 0 : best;
}

/* The lane a model stands for among the others. */
static uint32_t rank(const struct batcher_model *model, uint64_t since, uint64_t now_us) {
    if (now_us > since && now_us - since >= BATCHER_AGE_US)
        return WIRE_LANE_HIGH;
    uint32_t l = 0;
    while (!model->lanes[l].sizes)
        l++;
    return l;
}

/* The model whose turn it is; NULL: none may go. */
static struct batcher_model *model_next(struct batcher *self, uint64_t now_us) {
    struct batcher_model *best = NULL;
    uint32_t best_rank = 0;
    for (uint32_t m = 0; m < LIMIT_MODELS && self->n; m++) {
        struct batcher_model *model = &self->models[m];
        if (!model->n || due_us(self, model) > now_us)
            continue;
        uint32_t r = rank(model, since_us(model), now_us);
        if (!best || r < best_rank || (r == best_rank && model->picked < best->picked)) {
            best = model;
            best_rank = r;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- batches */

/* Tokens this batch may take: the budget, or a fair share of a short queue. */
static uint64_t share(const struct batcher *self, const struct batcher_model *model,
                      uint32_t free_runners) {
    uint64_t part = (model->tokens + free_runners - 1) / free_runners;
    if (part < BATCHER_SPLIT_TOKENS)
        part = BATCHER_SPLIT_TOKENS;
    return part < self->cfg.tokens_max ? part : self->cfg.tokens_max;
}

uint32_t batcher_pick(struct batcher *self, uint32_t free_runners, uint64_t now_us,
                      struct batcher_entry **out, struct batcher_kind *kind) {
    *kind = (struct batcher_kind){.lane = WIRE_LANES - 1, .loose = true};
    struct batcher_model *model = model_next(self, now_us);
    if (!model)
        return 0;
    model->picked = ++self->n_picks;
    const uint64_t most = share(self, model, free_runners);
    const uint64_t company = self->cfg.tokens_max / BATCHER_SMALL_PART;
    uint64_t tokens = 0;
    size_t bytes = 0;
    uint32_t n = 0;
    bool hurry = false;
    struct turn turn;
    while (n < self->cfg.items_max && turn_next(model, &turn)) {
        const struct batcher_entry *entry = turn.entry;
        const bool small = turn.line->small;
        const uint64_t room = hurry && !small && company < most ? company : most;
        if (n > 0 && (tokens + entry->tokens > room || bytes + entry->bytes > self->cfg.bytes_max))
            break;
        hurry |= small;
        kind->loose &= !small && !turn.earned;
        if (turn.lane_index < kind->lane)
            kind->lane = (uint8_t)turn.lane_index;
        tokens += entry->tokens;
        bytes += entry->bytes;
        out[n++] = turn.entry;
        take(self, model, &turn);
    }
    return n;
}

bool batcher_presses(const struct batcher *self, const struct batcher_kind *kind) {
    if (!kind->loose)
        return false;
    for (uint32_t m = 0; m < LIMIT_MODELS && self->n; m++)
        for (uint32_t l = 0; self->models[m].n && l <= kind->lane; l++) {
            const struct batcher_lane *lane = &self->models[m].lanes[l];
            if (lane->sizes && (l < kind->lane || lane->n_small))
                return true;
        }
    return false;
}
