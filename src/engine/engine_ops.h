/* engine_ops.h - what a backend of the engine provides. For src/engine alone: users see
 * engine.h.
 *
 *     struct cpu { struct engine base; ... };          base.ops = &cpu_ops; open fills base.info
 *     struct cpu_seat { struct engine_seat base; ... };
 *
 * engine.c forwards each call of engine.h to the operation of the same name, whose contract is
 * the one told there; it checks arguments first and sets seat->max_items. */
#ifndef EMBER_ENGINE_OPS_H
#define EMBER_ENGINE_OPS_H

#include "engine/engine.h"

struct engine_ops {
    void (*destroy)(engine_t *self); /* frees self too */
    bool (*prompt)(const engine_t *self, const char *name, struct view *out);
    void (*prompt_at)(const engine_t *self, uint32_t i, struct view *name, struct view *text);
    enum status (*seat_new)(const engine_t *self, uint32_t max_tokens, uint32_t max_items,
                            engine_seat_t **out, struct err *err);
    void (*seat_destroy)(engine_seat_t *seat); /* frees seat too */
    void (*seat_trim)(engine_seat_t *seat);    /* NULL where there is nothing to give back */
    void (*run)(const engine_t *self, engine_seat_t *seat, struct engine_item *items, uint32_t n,
                struct engine_times *times); /* times is never NULL here */
    /* NULL: it shares nothing. */
    void (*help)(engine_seat_t *seat, struct team *team, bool (*leave)(void *arg), void *leave_arg);
    /* max_ids is at least 2 and side RIGHT or LEFT; n_full is never NULL. */
    uint32_t (*tokenize)(const engine_t *self, struct view text, enum engine_side side,
                         int32_t *ids, uint32_t max_ids, uint32_t *n_full);
    struct view (*label)(const engine_t *self,
                         uint32_t i); /* i < info.n_labels; NULL without a head */
    const struct zero_shot *(*zero_shot)(const engine_t *self); /* NULL: it has no settings */
    struct view (*piece)(const engine_t *self, int32_t id);
    uint32_t (*estimate)(const engine_t *self, struct view text);
};

struct engine {
    const struct engine_ops *ops;
    struct engine_info info;
};

struct engine_seat {
    const struct engine *engine; /* whose seat it is */
    uint32_t max_items;
    struct team *team; /* to share batches with, or NULL */
};

/* The limit that holds for an item: the published one, or its own within its special tokens and
 * what the model can take. */
static inline uint32_t engine_item_limit(const engine_t *self, const struct engine_item *item) {
    uint32_t wanted = item->max_tokens ? item->max_tokens : self->info.max_tokens;
    uint32_t least = item->pair == ENGINE_SINGLE ? 2 : 3, most = self->info.max_positions;
    return wanted < least ? least : wanted < most ? wanted : most;
}

#endif
