/* minimal_broker.c - the least that can be called a broker: two ROUTER sockets, credits, a queue.
 * No sessions, deadlines, checks, retries or accounts. broker_bench measures ember-broker against
 * it, so that the price of everything else has a number. Usage: minimal_broker CLIENTS-ENDPOINT
 * WORKERS-ENDPOINT */
#include "wire/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 65536, WORKERS = 1024, BURST = 256 };

struct waiting {
    struct frame_peer client;
    struct header header;
    zmq_msg_t body;
};

static struct slot {
    struct frame_peer client;
    uint64_t id;
    uint32_t worker;
} slots[SLOTS];
static uint32_t free_slots[SLOTS], n_free;
static struct waiting queue[SLOTS];
static uint32_t queue_head, queue_tail;
static struct worker {
    struct frame_peer id;
    uint32_t credit;
} workers[WORKERS];
static uint32_t n_workers;
static uint32_t turns[WORKERS * 2], turn_head, turn_tail; /* workers with credit, each once */
static void *front, *back;

/* The worker that was used longest ago comes first: the usual fair order. Taking all credits of one
 * worker in a row would save system calls and make its requests wait for each other. */
static void stand_in_line(uint32_t worker) {
    turns[turn_tail++ % (WORKERS * 2)] = worker;
}

static void dispatch(void) {
    while (queue_head != queue_tail && turn_head != turn_tail && n_free) {
        struct waiting *w = &queue[queue_head++ % SLOTS];
        uint32_t worker = turns[turn_head++ % (WORKERS * 2)];
        if (--workers[worker].credit)
            stand_in_line(worker);
        uint32_t slot = free_slots[--n_free];
        slots[slot] = (struct slot){w->client, w->header.id, worker};
        w->header.type = WIRE_DISPATCH;
        w->header.id = slot;
        frame_send_router(back, &workers[worker].id, &w->header, &w->body);
    }
}

static void from_client(struct frame_peer *from, struct header *header, zmq_msg_t *body) {
    if (header->type != WIRE_REQUEST || queue_tail - queue_head == SLOTS)
        return;
    struct waiting *w = &queue[queue_tail++ % SLOTS];
    w->client = *from;
    w->header = *header;
    zmq_msg_init(&w->body);
    zmq_msg_move(&w->body, body);
}

static void from_worker(struct frame_peer *from, struct header *header, zmq_msg_t *body) {
    if (header->type == WIRE_READY && n_workers < WORKERS) {
        workers[n_workers].id = *from;
        workers[n_workers].credit = header->credit;
        if (header->credit)
            stand_in_line(n_workers);
        n_workers++;
    } else if (header->type == WIRE_RESULT && header->id < SLOTS) {
        struct slot *s = &slots[header->id];
        if (workers[s->worker].credit++ == 0)
            stand_in_line(s->worker);
        free_slots[n_free++] = (uint32_t)header->id;
        header->type = WIRE_REPLY;
        header->id = s->id;
        frame_send_router(front, &s->client, header, body);
    }
}

static void drain(void *socket) {
    for (int i = 0; i < BURST; i++) {
        struct frame_peer from;
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        enum frame_result got = frame_recv_router(socket, &from, &header, &body, &verdict);
        if (got == FRAME_BAD)
            continue;
        if (got != FRAME_OK)
            return;
        if (socket == front)
            from_client(&from, &header, &body);
        else
            from_worker(&from, &header, &body);
        zmq_msg_close(&body);
    }
}

int main(int argc, char **argv) {
    void *context = frame_context();
    struct err err;
    if (argc != 3 || !(front = frame_socket(context, FRAME_CLIENT_SIDE, 4096, NULL, &err)) ||
        !(back = frame_socket(context, FRAME_WORKER_SIDE, 4096, NULL, &err)) ||
        zmq_bind(front, argv[1]) != 0 || zmq_bind(back, argv[2]) != 0) {
        fprintf(stderr, "usage: minimal_broker CLIENTS-ENDPOINT WORKERS-ENDPOINT\n");
        return 1;
    }
    for (n_free = 0; n_free < SLOTS; n_free++)
        free_slots[n_free] = SLOTS - 1 - n_free;
    for (;;) {
        zmq_pollitem_t items[] = {{back, 0, ZMQ_POLLIN, 0}, {front, 0, ZMQ_POLLIN, 0}};
        zmq_poll(items, 2, -1);
        if (items[0].revents)
            drain(back);
        if (items[1].revents)
            drain(front);
        dispatch();
    }
}
