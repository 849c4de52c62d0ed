/* queue.h - intrusive doubly linked list; nothing is allocated, an item is in one list at a time.
 *
 *     struct ticket { struct link queued; ... };
 *     queue_push(&q, &t->queued);   struct ticket *t = QUEUE_ITEM(queue_head(&q), struct ticket,
 * queued); */
#ifndef EMBER_BASE_QUEUE_H
#define EMBER_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link {
    struct link *next, *prev; /* both NULL: in no list */
};

struct queue {
    struct link ends; /* ends.next is the head, ends.prev the tail */
    uint32_t n;
};

#define QUEUE_ITEM(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void queue_init(struct queue *self) {
    self->ends.next = self->ends.prev = &self->ends;
    self->n = 0;
}

static inline bool queue_empty(const struct queue *self) {
    return self->n == 0;
}

static inline bool queue_has(const struct link *item) {
    return item->next != NULL;
}

static inline void queue_insert_after(struct queue *self, struct link *at, struct link *item) {
    item->prev = at;
    item->next = at->next;
    at->next->prev = item;
    at->next = item;
    self->n++;
}

static inline void queue_push(struct queue *self, struct link *item) { /* at the tail */
    queue_insert_after(self, self->ends.prev, item);
}

static inline void queue_push_front(struct queue *self, struct link *item) {
    queue_insert_after(self, &self->ends, item);
}

static inline void queue_remove(struct queue *self, struct link *item) {
    item->prev->next = item->next;
    item->next->prev = item->prev;
    item->next = item->prev = NULL;
    self->n--;
}

static inline struct link *queue_head(const struct queue *self) { /* NULL when empty */
    return self->n ? self->ends.next : NULL;
}

static inline struct link *queue_next(const struct queue *self, const struct link *item) {
    return item->next == &self->ends ? NULL : item->next;
}

static inline struct link *queue_pop(struct queue *self) { /* from the head; NULL when empty */
    struct link *item = queue_head(self);
    if (item)
        queue_remove(self, item);
    return item;
}

#endif
