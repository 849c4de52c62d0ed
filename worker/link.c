/* link.c - two rings of pointers under one lock each.
 *
 * Why locks: a batch takes a millisecond or more, a lock that is nearly always free takes 20 ns,
 * and a runner without work should sleep. Why an eventfd written only when the ring was empty: the
 * loop takes all that is done at each wake-up, so one write announces any number. */
#include "link.h"

#include "base/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct ring {
    struct batch **slot;
    uint32_t size, first, n;
};

struct link_rings {
    pthread_mutex_t work_lock, done_lock;
    pthread_cond_t work_there, guest_left;
    struct ring work, done; /* each under its lock */
    bool closed;            /* under work_lock, as all that follows */
    uint32_t waiting;       /* runners in link_take() */
    struct link_help *help; /* the invitation that stands, with places left */
    atomic_bool calls;      /* written under the lock, read anywhere */
    int fd;
};

static void ring_put(struct ring *ring, struct batch *batch) {
    CHECK(ring->n < ring->size);
    ring->slot[(ring->first + ring->n++) % ring->size] = batch;
}

static struct batch *ring_get(struct ring *ring) {
    if (ring->n == 0)
        return NULL;
    struct batch *batch = ring->slot[ring->first];
    ring->first = (ring->first + 1) % ring->size;
    ring->n--;
    return batch;
}

enum status link_new(uint32_t n_batches, link_t **out, struct err *err) {
    link_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the link");
    self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&self->work_lock, NULL);
    pthread_mutex_init(&self->done_lock, NULL);
    pthread_cond_init(&self->work_there, NULL);
    pthread_cond_init(&self->guest_left, NULL);
    self->work.size = self->done.size = n_batches;
    self->work.slot = calloc(n_batches, sizeof *self->work.slot);
    self->done.slot = calloc(n_batches, sizeof *self->done.slot);
    if (self->fd < 0 || !self->work.slot || !self->done.slot) {
        link_destroy(&self);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory or descriptor for the link");
    }
    *out = self;
    return STATUS_OK;
}

void link_destroy(link_t **self_p) {
    link_t *self = *self_p;
    if (!self)
        return;
    if (self->fd >= 0)
        close(self->fd);
    pthread_cond_destroy(&self->work_there);
    pthread_cond_destroy(&self->guest_left);
    pthread_mutex_destroy(&self->work_lock);
    pthread_mutex_destroy(&self->done_lock);
    free(self->work.slot);
    free(self->done.slot);
    free(self);
    *self_p = NULL;
}

/* With the lock held, after any change of what it tells. */
static void note_calls(link_t *self) {
    atomic_store_explicit(&self->calls, self->closed || self->work.n > 0, memory_order_relaxed);
}

void link_push(link_t *self, struct batch *batch) {
    pthread_mutex_lock(&self->work_lock);
    ring_put(&self->work, batch);
    note_calls(self);
    pthread_mutex_unlock(&self->work_lock);
    pthread_cond_signal(&self->work_there);
}

struct batch *link_recall(link_t *self) {
    pthread_mutex_lock(&self->work_lock);
    struct batch *batch = ring_get(&self->work);
    note_calls(self);
    pthread_mutex_unlock(&self->work_lock);
    return batch;
}

bool link_withdraw(link_t *self, const struct batch *batch) {
    pthread_mutex_lock(&self->work_lock);
    struct ring *ring = &self->work;
    uint32_t found = 0;
    for (uint32_t i = 0; i < ring->n; i++) {
        struct batch *at = ring->slot[(ring->first + i) % ring->size];
        if (at == batch)
            found = 1;
        else
            ring->slot[(ring->first + i - found) % ring->size] = at;
    }
    ring->n -= found;
    note_calls(self);
    pthread_mutex_unlock(&self->work_lock);
    return found > 0;
}

struct batch *link_take(link_t *self, struct link_help **help) {
    struct batch *batch = NULL;
    *help = NULL;
    pthread_mutex_lock(&self->work_lock);
    self->waiting++;
    while (!self->closed && self->work.n == 0 && !self->help)
        pthread_cond_wait(&self->work_there, &self->work_lock);
    self->waiting--;
    if (!self->closed && self->work.n > 0) {
        batch = ring_get(&self->work);
        note_calls(self);
    } else if (!self->closed) {
        *help = self->help;
        self->help->guests++;
        if (--self->help->places == 0)
            self->help = NULL;
    }
    pthread_mutex_unlock(&self->work_lock);
    return batch;
}

void link_leave(link_t *self, struct link_help *help) {
    pthread_mutex_lock(&self->work_lock);
    bool last = --help->guests == 0;
    pthread_mutex_unlock(&self->work_lock);
    if (last)
        pthread_cond_broadcast(&self->guest_left);
}

bool link_calls(link_t *self) {
    return atomic_load_explicit(&self->calls, memory_order_relaxed);
}

bool link_invite(link_t *self, struct link_help *help, uint32_t places) {
    pthread_mutex_lock(&self->work_lock);
    uint32_t n = self->waiting < places ? self->waiting : places;
    bool stands = n > 0 && !self->help && self->work.n == 0 && !self->closed;
    if (stands) {
        help->places = n;
        help->guests = 0;
        self->help = help;
    }
    pthread_mutex_unlock(&self->work_lock);
    if (stands)
        pthread_cond_broadcast(&self->work_there);
    return stands;
}

void link_dismiss(link_t *self, struct link_help *help) {
    pthread_mutex_lock(&self->work_lock);
    if (self->help == help)
        self->help = NULL;
    while (help->guests > 0)
        pthread_cond_wait(&self->guest_left, &self->work_lock);
    pthread_mutex_unlock(&self->work_lock);
}

void link_give(link_t *self, struct batch *batch) {
    pthread_mutex_lock(&self->done_lock);
    ring_put(&self->done, batch);
    bool first = self->done.n == 1;
    pthread_mutex_unlock(&self->done_lock);
    uint64_t one = 1;
    if (first && write(self->fd, &one, sizeof one) != sizeof one)
        abort(); /* the counter of an eventfd cannot be full: the loop clears it */
}

struct batch *link_pop(link_t *self) {
    pthread_mutex_lock(&self->done_lock);
    struct batch *batch = ring_get(&self->done);
    if (!batch) { /* under the lock: a runner that gives next sees an empty ring and writes again */
        uint64_t count;
        ssize_t got = read(self->fd, &count, sizeof count);
        (void)got; /* nothing to read: no runner wrote since */
    }
    pthread_mutex_unlock(&self->done_lock);
    return batch;
}

int link_fd(const link_t *self) {
    return self->fd;
}

void link_close(link_t *self) {
    pthread_mutex_lock(&self->work_lock);
    self->closed = true;
    note_calls(self);
    pthread_mutex_unlock(&self->work_lock);
    pthread_cond_broadcast(&self->work_there);
}
