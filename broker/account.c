/* account.c - see account.h.
 *
 * Invariants:
 *   - an account is in ranks[] exactly while its backlog is above 0, and in the rank of it;
 *   - it is free when its last session has left, which is after all of its requests ended. */
#include "account.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>

enum { STEPS = 8, STEP_BITS = 3 };

bool accounts_init(struct accounts *self, uint32_t max, uint64_t seed) {
    uint32_t buckets = 1;
    while (buckets < max)
        buckets *= 2;
    *self = (struct accounts){.max = max, .mask = buckets - 1, .seed = seed};
    self->items = calloc(max, sizeof *self->items);
    self->free = calloc(max, sizeof *self->free);
    self->buckets = malloc(buckets * sizeof *self->buckets);
    if (!self->items || !self->free || !self->buckets) {
        accounts_done(self);
        return false;
    }
    for (uint32_t i = 0; i < buckets; i++)
        self->buckets[i] = ACCOUNT_NONE;
    for (uint32_t i = 0; i < ACCOUNT_RANKS; i++)
        queue_init(&self->ranks[i]);
    return true;
}

void accounts_done(struct accounts *self) {
    free(self->items);
    free(self->free);
    free(self->buckets);
    *self = (struct accounts){0};
}

static uint32_t *bucket_of(struct accounts *self, uint64_t key) {
    return &self->buckets[hash_mix(key ^ self->seed) & self->mask];
}

static uint32_t find(struct accounts *self, uint64_t key) {
    uint32_t at = key ? *bucket_of(self, key) : ACCOUNT_NONE;
    while (at != ACCOUNT_NONE && self->items[at].key != key)
        at = self->items[at].same_bucket;
    return at;
}

static uint32_t take(struct accounts *self, uint64_t key) {
    CHECK(self->n_free || self->high < self->max);
    uint32_t index = self->n_free ? self->free[--self->n_free] : self->high++;
    struct account *a = &self->items[index];
    *a = (struct account){.key = key, .same_bucket = ACCOUNT_NONE};
    for (int lane = 0; lane < WIRE_LANES; lane++)
        queue_init(&a->flows[lane]);
    if (key) {
        uint32_t *bucket = bucket_of(self, key);
        a->same_bucket = *bucket;
        *bucket = index;
    }
    self->n++;
    return index;
}

uint32_t account_join(struct accounts *self, uint64_t key, const struct account_limits *limits) {
    uint32_t index = find(self, key);
    if (index == ACCOUNT_NONE)
        index = take(self, key);
    struct account *a = &self->items[index];
    uint32_t weight = limits->weight ? limits->weight : 1;
    a->sessions++;
    a->max_requests = limits->max_requests ? limits->max_requests : UINT32_MAX;
    a->max_bytes = limits->max_bytes ? limits->max_bytes : UINT64_MAX;
    a->max_work = limits->max_work ? limits->max_work : UINT64_MAX;
    uint64_t backlog = a->backlog; /* its rank goes by the weight */
    if (backlog)
        account_waits_no_more(self, index, backlog);
    a->weight = weight < ACCOUNT_WEIGHT_MAX ? weight : ACCOUNT_WEIGHT_MAX;
    if (backlog)
        account_waits(self, index, backlog);
    return index;
}

void account_leave(struct accounts *self, uint32_t account) {
    struct account *a = &self->items[account];
    CHECK(a->sessions);
    if (--a->sessions)
        return;
    CHECK(!a->requests && !a->backlog);
    if (a->key) {
        uint32_t *at = bucket_of(self, a->key);
        while (*at != account)
            at = &self->items[*at].same_bucket;
        *at = a->same_bucket;
    }
    self->free[self->n_free++] = account;
    self->n--;
}

uint32_t account_sessions(struct accounts *self, uint64_t key) {
    uint32_t index = find(self, key);
    return index == ACCOUNT_NONE ? 0 : self->items[index].sessions;
}

/* 0, 1, ... 7, then eight steps for each power of two. */
static uint16_t rank_of(uint64_t backlog) {
    if (backlog < STEPS)
        return (uint16_t)backlog;
    int top = 63 - __builtin_clzll(backlog);
    return (uint16_t)((top - STEP_BITS + 1) * STEPS +
                      (int)(backlog >> (top - STEP_BITS) & (STEPS - 1)));
}

static void move(struct accounts *self, struct account *a, bool was_ranked) {
    uint16_t rank = rank_of((a->backlog + a->weight - 1) / a->weight);
    if (was_ranked && a->backlog && rank == a->rank)
        return;
    if (was_ranked) {
        struct queue *old = &self->ranks[a->rank];
        queue_remove(old, &a->place);
        if (queue_empty(old))
            self->ranked[a->rank / 64] &= ~(UINT64_C(1) << a->rank % 64);
    }
    if (!a->backlog)
        return;
    a->rank = rank;
    queue_push(&self->ranks[rank], &a->place);
    self->ranked[rank / 64] |= UINT64_C(1) << rank % 64;
}

void account_waits(struct accounts *self, uint32_t account, uint64_t work) {
    struct account *a = &self->items[account];
    bool was_ranked = a->backlog > 0;
    a->backlog += work;
    move(self, a, was_ranked);
}

void account_waits_no_more(struct accounts *self, uint32_t account, uint64_t work) {
    struct account *a = &self->items[account];
    a->backlog -= work;
    move(self, a, true);
}

uint32_t accounts_largest(const struct accounts *self) {
    for (int word = ACCOUNT_RANKS / 64 - 1; word >= 0; word--) {
        if (!self->ranked[word])
            continue;
        int rank = word * 64 + 63 - __builtin_clzll(self->ranked[word]);
        const struct link *head = queue_head(&self->ranks[rank]);
        return (uint32_t)(QUEUE_ITEM(head, const struct account, place) - self->items);
    }
    return ACCOUNT_NONE;
}

bool account_is_larger(const struct accounts *self, uint32_t a, uint64_t more, uint32_t b) {
    const struct account *x = &self->items[a], *y = &self->items[b];
    return (x->backlog + more) * y->weight >= y->backlog * x->weight;
}
