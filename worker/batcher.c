/* batcher.c - two queues a model, in the order of arrival.
 *
 * Invariants: queue[m][0] holds HIGH entries and no others; tokens[m] is the sum over both queues
 * of m; n is the number of entries in all queues.
 *
 * Why a batch stops at the first text that does not fit instead of looking further back for a
 * shorter one: overtaking saves a few tokens of room and costs the overtaken their place, and since
 * nothing is padded a batch that is not quite full wastes nothing. */
#include "batcher.h"

#include "base/check.h"

#include <string.h>

static uint32_t class_of(const struct batcher_entry *entry) {
    return entry->lane == WIRE_LANE_HIGH ? 0 : 1;
}

static struct batcher_entry *head(const struct batcher *self, uint32_t model,
                                  uint32_t class_index) {
    struct link *link = queue_head(&self->queue[model][class_index]);
    return link ? QUEUE_ITEM(link, struct batcher_entry, link) : NULL;
}

void batcher_init(struct batcher *self, const struct batcher_cfg *cfg) {
    CHECK(cfg->tokens_max > 0 && cfg->items_max > 0);
    memset(self, 0, sizeof *self);
    self->cfg = *cfg;
    for (uint32_t m = 0; m < LIMIT_MODELS; m++)
        for (uint32_t c = 0; c < BATCHER_CLASSES; c++)
            queue_init(&self->queue[m][c]);
}

void batcher_set_tokens(struct batcher *self, uint32_t tokens_max) {
    CHECK(tokens_max > 0);
    self->cfg.tokens_max = tokens_max;
}

void batcher_add(struct batcher *self, struct batcher_entry *entry) {
    CHECK(entry->model < LIMIT_MODELS && entry->tokens > 0);
    queue_push(&self->queue[entry->model][class_of(entry)], &entry->link);
    self->tokens[entry->model] += entry->tokens;
    self->n++;
}

void batcher_remove(struct batcher *self, struct batcher_entry *entry) {
    queue_remove(&self->queue[entry->model][class_of(entry)], &entry->link);
    self->tokens[entry->model] -= entry->tokens;
    self->n--;
}

void batcher_promote(struct batcher *self, struct batcher_entry *entry) {
    if (entry->lane == WIRE_LANE_HIGH)
        return;
    batcher_remove(self, entry);
    entry->lane = WIRE_LANE_HIGH;
    struct queue *queue = &self->queue[entry->model][0];
    struct link *at = queue->ends.prev; /* from the tail: few are younger than it */
    while (at != &queue->ends &&
           QUEUE_ITEM(at, struct batcher_entry, link)->queued_us > entry->queued_us)
        at = at->prev;
    queue_insert_after(queue, at, &entry->link);
    self->tokens[entry->model] += entry->tokens;
    self->n++;
}

/* 0: goes first (HIGH, or old enough); 1: the rest. */
static uint32_t rank(const struct batcher_entry *entry, uint64_t now_us) {
    return entry->lane == WIRE_LANE_HIGH || now_us - entry->queued_us >= BATCHER_AGE_US ? 0 : 1;
}

static bool goes_before(const struct batcher_entry *a, const struct batcher_entry *b,
                        uint64_t now_us) {
    uint32_t rank_a = rank(a, now_us), rank_b = rank(b, now_us);
    return rank_a != rank_b ? rank_a < rank_b : a->queued_us < b->queued_us;
}

/* The entry of `model` that goes next; NULL when none waits. */
static struct batcher_entry *next_of(const struct batcher *self, uint32_t model, uint64_t now_us) {
    struct batcher_entry *high = head(self, model, 0), *rest = head(self, model, 1);
    if (!high || !rest)
        return high ? high : rest;
    return goes_before(rest, high, now_us) ? rest : high;
}

static bool model_full(const struct batcher *self, uint32_t model) {
    return self->tokens[model] >= self->cfg.tokens_max ||
           self->queue[model][0].n + self->queue[model][1].n >= self->cfg.items_max;
}

/* When a batch of `model`, which has entries, may go. */
static uint64_t due_us(const struct batcher *self, uint32_t model) {
    if (self->cfg.wait_us == 0 || head(self, model, 0) || model_full(self, model))
        return 0;
    return head(self, model, 1)->queued_us + self->cfg.wait_us;
}

bool batcher_full(const struct batcher *self) {
    for (uint32_t m = 0; m < LIMIT_MODELS; m++)
        if (model_full(self, m))
            return true;
    return false;
}

uint64_t batcher_deadline_us(const struct batcher *self, uint64_t now_us) {
    uint64_t best = UINT64_MAX;
    for (uint32_t m = 0; m < LIMIT_MODELS && self->n; m++) {
        if (!head(self, m, 0) && !head(self, m, 1))
            continue;
        uint64_t due = due_us(self, m);
        if (due < best)
            best = due;
    }
    return best <= now_us ? 0 : best;
}

/* Tokens this batch may take: the budget, or a fair share of a short queue. */
static uint64_t share(const struct batcher *self, uint32_t model, uint32_t free_runners) {
    uint64_t part = (self->tokens[model] + free_runners - 1) / free_runners;
    if (part < BATCHER_SPLIT_TOKENS)
        part = BATCHER_SPLIT_TOKENS;
    return part < self->cfg.tokens_max ? part : self->cfg.tokens_max;
}

uint32_t batcher_pick(struct batcher *self, uint32_t free_runners, uint64_t now_us,
                      struct batcher_entry **out) {
    struct batcher_entry *best = NULL;
    for (uint32_t m = 0; m < LIMIT_MODELS && self->n; m++) {
        struct batcher_entry *entry = next_of(self, m, now_us);
        if (entry && due_us(self, m) <= now_us && (!best || goes_before(entry, best, now_us)))
            best = entry;
    }
    if (!best)
        return 0;
    uint32_t model = best->model, n = 0;
    uint64_t tokens = 0, tokens_max = share(self, model, free_runners);
    size_t bytes = 0;
    for (struct batcher_entry *entry = best; entry; entry = next_of(self, model, now_us)) {
        bool fits =
            tokens + entry->tokens <= tokens_max && bytes + entry->bytes <= self->cfg.bytes_max;
        if (n == self->cfg.items_max || (n > 0 && !fits))
            break;
        batcher_remove(self, entry);
        out[n++] = entry;
        tokens += entry->tokens;
        bytes += entry->bytes;
    }
    return n;
}
