/* script_broker.h - a broker that does what a test tells it: the client's side of the protocol over
 * a real ROUTER socket, with every misbehaviour a knob. Answers are easy to check: the vector of
 * the text "17" is [17, number of the broker]. Requests for scores and tokens are answered, too,
 * with as little as is right, and without misbehaving.
 *
 * Threads: the broker runs on its own; knobs are set before script_start() or with script_set(),
 * and what it saw is read with script_get(). */
#ifndef EMBER_TEST_SCRIPT_BROKER_H
#define EMBER_TEST_SCRIPT_BROKER_H

#include "base/clock.h"
#include "base/limits.h"
#include "wire/codec.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SCRIPT_SEEN_MAX = 8192, SCRIPT_HELD_MAX = 64 };

struct script_seen {
    uint64_t id;
    uint8_t flags;
    uint16_t service;
    uint32_t budget_us;
};

struct script_held { /* an answer that waits */
    struct frame_peer peer;
    struct header header;
    float first[LIMIT_REQUEST_TEXTS];
    uint32_t n;
};

struct script {
    char endpoint[128];
    uint32_t number; /* of this broker, in every vector */

    /* knobs; `left` ones count down */
    atomic_int mute_left;   /* requests that are swallowed */
    atomic_int frozen;      /* 1: be so, 2: it reads nothing at all */
    atomic_int twice;       /* each answer comes twice, the second one wrong */
    atomic_int foreign;     /* before each answer one of another epoch, wrong */
    atomic_int refuse_left; /* requests answered with refuse_status */
    atomic_int refuse_status;
    atomic_int refuse_after_ms;
    atomic_int refuse_item; /* only the request that holds the text "100", at this item */
    atomic_int hold;        /* so many answers are kept, then sent in reverse */
    atomic_int forget;      /* the next frame but HELLO meets WHO_ARE_YOU */
    atomic_int goaway;      /* said once, now; the answer held longest follows it */
    atomic_int garbage;     /* OK replies with a broken body */
    atomic_int other_model; /* every second answer is of another model */
    atomic_int hello_left;  /* HELLOs that are refused */
    atomic_int no_service;  /* WELCOME numbers nothing */
    atomic_int heartbeat_ms;
    atomic_int in_flight;
    atomic_int delay_ms; /* everything it says is late by so much */
    const char *lists;   /* another broker, told in WELCOME; set before the start */

    /* what it saw */
    atomic_uint n_hellos, n_requests, n_cancels, n_pings, n_answers, n_byes;
    struct script_seen seen[SCRIPT_SEEN_MAX]; /* [n_requests], readable after script_stop() */

    /* inside */
    void *context, *socket;
    pthread_t thread;
    atomic_int stopping;
    uint64_t session;
    enum wire_task tasks[WIRE_HELLO_WANT_MAX]; /* of the services it numbered last */
    struct script_held held[SCRIPT_HELD_MAX];
    uint32_t n_held;
    struct frame_peer last_peer;
};

void script_init(struct script *self, const char *endpoint, uint32_t number);
void script_start(struct script *self); /* bound when it returns */
void script_stop(struct script *self);  /* unbound when it returns; may be started again */

#endif
