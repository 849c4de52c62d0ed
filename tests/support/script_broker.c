/* script_broker.c - see script_broker.h. */
#include "support/script_broker.h"

#ifdef __SANITIZE_THREAD__
/* libzmq passes messages between its threads with atomics that ThreadSanitizer, which did not build
 * it, cannot see. Races of our own have a frame of ours on both sides and are still found. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "called_from_lib:libzmq.so\nrace:libzmq.so\n";
}
#endif

static const char model_name[] = "test-model", fingerprint[] = "0123456789abcdef";

void script_init(struct script *self, const char *endpoint, uint32_t number) {
    memset(self, 0, sizeof *self);
    snprintf(self->endpoint, sizeof self->endpoint, "%s", endpoint);
    self->number = number;
    self->heartbeat_ms = 100;
    self->in_flight = 1000;
}

static void send_body(struct script *self, const struct frame_peer *to, const struct header *header,
                      struct wire_out *out) {
    zmq_msg_t body;
    frame_body(&body, wire_out_view(out));
    frame_send_router(self->socket, to, header, &body);
}

static void welcome(struct script *self, const struct frame_peer *to, struct view body,
                    struct arena *arena, struct wire_out *out) {
    struct wire_hello hello;
    struct err err;
    if (session_hello_decode(body, arena, &hello, &err) != STATUS_OK) {
        fprintf(stderr, "script broker: bad HELLO: %s\n", err.text);
        abort();
    }
    struct wire_service services[WIRE_HELLO_WANT_MAX];
    for (uint32_t i = 0; i < hello.n_want; i++) {
        self->tasks[i] = hello.want[i].task;
        services[i] = (struct wire_service){.number = 10 + i,
                                            .model = hello.want[i].model,
                                            .task = hello.want[i].task,
                                            .workers = 1,
                                            .serves = view_of(model_name),
                                            .fingerprint = view_of(fingerprint),
                                            .dim = 2,
                                            .max_tokens = 128};
    }
    struct view lists = self->lists ? view_of(self->lists) : view_make(NULL, 0);
    struct wire_welcome m = {.protocol = WIRE_PROTOCOL,
                             .session = self->session,
                             .broker = 700 + self->number,
                             .broker_name = view_of("script"),
                             .version = view_of("0"),
                             .heartbeat_ms = (uint32_t)self->heartbeat_ms,
                             .limits = {.in_flight = (uint32_t)self->in_flight},
                             .services = services,
                             .n_services = self->no_service ? 0 : hello.n_want,
                             .brokers = &lists,
                             .n_brokers = self->lists ? 1 : 0};
    session_welcome_encode(&m, out);
    struct header header = {.type = WIRE_WELCOME, .epoch = self->session};
    send_body(self, to, &header, out);
    self->n_hellos++;
}

static void answer(struct script *self, const struct script_held *what, bool wrong, uint64_t epoch,
                   struct wire_out *out) {
    float vectors[LIMIT_REQUEST_TEXTS * 2];
    uint32_t tokens[LIMIT_REQUEST_TEXTS];
    uint8_t zeros[LIMIT_REQUEST_TEXTS] = {0};
    for (uint32_t i = 0; i < what->n; i++) {
        vectors[2 * i] = wrong ? -1 : what->first[i];
        vectors[2 * i + 1] = (float)self->number;
        tokens[i] = 3;
    }
    bool other = self->other_model && self->n_answers % 2;
    struct wire_embed_reply m = {.dim = 2,
                                 .vectors = view_make(vectors, what->n * 2 * sizeof(float)),
                                 .facts = {.n = what->n,
                                           .tokens = tokens,
                                           .truncated = zeros,
                                           .source = zeros,
                                           .model = view_of(model_name),
                                           .fingerprint = view_of(other ? "fedcba" : fingerprint),
                                           .worker = view_of("w1"),
                                           .times = {.total_us = 5}}};
    codec_embed_reply_encode(&m, out);
    if (self->garbage)
        memset(out->data, 0xff, out->bytes);
    struct header header = {.type = WIRE_REPLY, .id = what->header.id, .epoch = epoch};
    send_body(self, &what->peer, &header, out);
}

static void answer_as_told(struct script *self, const struct script_held *what,
                           struct wire_out *out) {
    if (self->foreign)
        answer(self, what, true, self->session + 1, out);
    answer(self, what, false, self->session, out);
    self->n_answers++;
    if (self->twice)
        answer(self, what, true, self->session, out);
}

static void refuse(struct script *self, const struct script_held *what, uint32_t item,
                   struct wire_out *out) {
    struct wire_error m = {.message = view_of("told to refuse"),
                           .item = item,
                           .retry_after_ms = (uint32_t)self->refuse_after_ms};
    codec_error_encode(&m, out);
    struct header header = {.type = WIRE_REPLY, .id = what->header.id, .epoch = self->session};
    header.status = (uint8_t)self->refuse_status;
    send_body(self, &what->peer, &header, out);
}

static void report(struct script *self, const struct script_held *what, struct wire_out *out) {
    struct wire_model model = {.name = view_of(model_name), .dim = 2};
    struct wire_worker_status worker = {.name = view_of("w1"), .models = &model, .n_models = 1};
    struct wire_status_reply m = {.broker_name = view_of("script"),
                                  .version = view_of("0"),
                                  .state = view_of("serving"),
                                  .workers = &worker,
                                  .n_workers = 1,
                                  .clients = 3};
    session_status_encode(&m, out);
    struct header header = {.type = WIRE_REPLY, .id = what->header.id, .epoch = self->session};
    send_body(self, &what->peer, &header, out);
}

static bool read_texts(struct script_held *what, struct view body, struct arena *arena,
                       bool *has_100) {
    struct wire_embed_request m;
    uint32_t item;
    if (codec_embed_request_decode(body, arena, &m, &item, NULL) != STATUS_OK)
        return false;
    what->n = m.n_texts;
    *has_100 = false;
    for (uint32_t i = 0; i < m.n_texts; i++) {
        char text[32] = "";
        size_t n = m.texts[i].bytes < 31 ? m.texts[i].bytes : 31;
        memcpy(text, m.texts[i].data, n);
        what->first[i] = strtof(text, NULL);
        *has_100 |= what->first[i] == 100;
    }
    return true;
}

static struct wire_facts facts_of(uint32_t n) {
    static const uint32_t tokens[LIMIT_REQUEST_TEXTS];
    static const uint8_t zeros[LIMIT_REQUEST_TEXTS];
    return (struct wire_facts){.n = n,
                               .tokens = tokens,
                               .truncated = zeros,
                               .source = zeros,
                               .model = view_of(model_name),
                               .fingerprint = view_of(fingerprint),
                               .worker = view_of("w1")};
}

/* Label 0 for each text. */
static enum status classified(struct view body, struct arena *arena, struct wire_out *out) {
    static const uint32_t label[1];
    static const float score[] = {1};
    struct wire_scores results[LIMIT_REQUEST_TEXTS];
    struct wire_classify_request m;
    uint32_t item;
    enum status st = codec_classify_request_decode(body, arena, &m, &item, NULL);
    if (st != STATUS_OK)
        return st;
    for (uint32_t i = 0; i < m.n_texts; i++)
        results[i] = (struct wire_scores){label, score, 1};
    struct wire_classify_reply reply = {.labels = m.labels,
                                        .n_labels = m.n_labels,
                                        .results = results,
                                        .n_results = m.n_texts,
                                        .facts = facts_of(m.n_texts)};
    return codec_classify_reply_encode(&reply, out);
}

/* In the order they came. */
static enum status ranked(struct view body, struct arena *arena, struct wire_out *out) {
    uint32_t index[LIMIT_REQUEST_TEXTS];
    float score[LIMIT_REQUEST_TEXTS];
    struct wire_rerank_request m;
    uint32_t item;
    enum status st = codec_rerank_request_decode(body, arena, &m, &item, NULL);
    if (st != STATUS_OK)
        return st;
    for (uint32_t i = 0; i < m.n_documents; i++) {
        index[i] = i;
        score[i] = 1 / (float)(i + 1);
    }
    struct wire_rerank_reply reply = {
        .index = index, .score = score, .n = m.n_documents, .facts = facts_of(m.n_documents)};
    return codec_rerank_reply_encode(&reply, out);
}

/* Each text is one token, itself. */
static enum status tokenized(struct view body, struct arena *arena, struct wire_out *out) {
    static const uint32_t id[] = {7};
    struct wire_tokens results[LIMIT_REQUEST_TEXTS];
    struct wire_tokenize_request m;
    uint32_t item;
    enum status st = codec_tokenize_request_decode(body, arena, &m, &item, NULL);
    if (st != STATUS_OK)
        return st;
    for (uint32_t i = 0; i < m.n_texts; i++)
        results[i] = (struct wire_tokens){id, 1, m.pieces ? &m.texts[i] : NULL, 1};
    struct wire_tokenize_reply reply = {
        .results = results, .n_results = m.n_texts, .facts = facts_of(m.n_texts)};
    return codec_tokenize_reply_encode(&reply, out);
}

static void answer_task(struct script *self, const struct script_held *what, enum wire_task task,
                        struct view body, struct arena *arena, struct wire_out *out) {
    enum status st = task == WIRE_TASK_CLASSIFY ? classified(body, arena, out)
                     : task == WIRE_TASK_RERANK ? ranked(body, arena, out)
                                                : tokenized(body, arena, out);
    if (st != STATUS_OK) {
        fprintf(stderr, "script broker: a request cannot be read\n");
        abort();
    }
    struct header header = {.type = WIRE_REPLY, .id = what->header.id, .epoch = self->session};
    send_body(self, &what->peer, &header, out);
}

static enum wire_task task_of(const struct script *self, uint16_t service) {
    unsigned at = service - 10U;
    return at < WIRE_HELLO_WANT_MAX ? self->tasks[at] : WIRE_TASK_NONE;
}

static void request(struct script *self, const struct frame_peer *from, const struct header *header,
                    struct view body, struct arena *arena, struct wire_out *out) {
    struct script_held what = {.peer = *from, .header = *header};
    uint32_t at = self->n_requests;
    if (at < SCRIPT_SEEN_MAX)
        self->seen[at] =
            (struct script_seen){header->id, header->flags, header->service, header->budget_us};
    self->n_requests++;
    bool has_100;
    if (header->service == 0) {
        report(self, &what, out);
    } else if (task_of(self, header->service) > WIRE_TASK_EMBED) {
        answer_task(self, &what, task_of(self, header->service), body, arena, out);
    } else if (self->mute_left > 0) {
        self->mute_left--;
    } else if (!read_texts(&what, body, arena, &has_100)) {
        fprintf(stderr, "script broker: a request cannot be read\n");
        abort();
    } else if (self->refuse_item && has_100) {
        refuse(self, &what, (uint32_t)self->refuse_item, out);
    } else if (!self->refuse_item && self->refuse_left > 0) {
        self->refuse_left--;
        refuse(self, &what, 0, out);
    } else if (self->hold) {
        self->held[self->n_held++] = what;
        if ((int)self->n_held == self->hold)
            while (self->n_held > 0)
                answer_as_told(self, &self->held[--self->n_held], out);
    } else {
        answer_as_told(self, &what, out);
    }
}

static void handle(struct script *self, const struct frame_peer *from, const struct header *header,
                   struct view body, struct arena *arena, struct wire_out *out) {
    arena_reset(arena);
    self->last_peer = *from;
    if (self->delay_ms)
        usleep((useconds_t)self->delay_ms * 1000);
    struct header reply = {.id = header->id, .epoch = self->session};
    if (header->type == WIRE_HELLO && self->hello_left > 0) {
        self->hello_left--;
        struct wire_error full = {.message = view_of("told to be full")};
        codec_error_encode(&full, out);
        reply.type = WIRE_WELCOME;
        reply.epoch = 0;
        reply.status = STATUS_RESOURCE_EXHAUSTED;
        send_body(self, from, &reply, out);
    } else if (header->type == WIRE_HELLO) {
        welcome(self, from, body, arena, out);
    } else if (self->forget || header->epoch != self->session) {
        if (self->forget) { /* a new start of the broker, on the same connection */
            self->forget = 0;
            self->session++;
        }
        reply.type = WIRE_WHO_ARE_YOU;
        reply.epoch = 0;
        frame_send_router(self->socket, from, &reply, NULL);
    } else if (header->type == WIRE_PING) {
        self->n_pings++;
        reply.type = WIRE_PONG;
        reply.id = 0; /* a PONG answers no one in particular */
        frame_send_router(self->socket, from, &reply, NULL);
    } else if (header->type == WIRE_BYE) {
        self->n_byes++;
    } else if (header->type == WIRE_CANCEL) {
        self->n_cancels++;
    } else if (header->type == WIRE_REQUEST) {
        request(self, from, header, body, arena, out);
    }
}

/* Whoever has the answer that follows it has heard it: one connection keeps the order. */
static void say_goaway(struct script *self, struct wire_out *out) {
    session_goaway_encode(view_of("told to go"), out);
    struct header header = {.type = WIRE_GOAWAY, .epoch = self->session};
    send_body(self, &self->last_peer, &header, out);
    if (self->n_held > 0) {
        answer_as_told(self, &self->held[0], out);
        memmove(self->held, self->held + 1, --self->n_held * sizeof self->held[0]);
    }
    self->goaway = 0;
}

static void *run(void *arg) {
    struct script *self = arg;
    struct arena arena;
    struct wire_out out = {0};
    arena_init(&arena, codec_arena_bytes(LIMIT_REQUEST_BYTES));
    while (!self->stopping) {
        zmq_pollitem_t item = {.socket = self->socket, .events = ZMQ_POLLIN};
        int asked = 1;
        if (atomic_compare_exchange_strong(&self->frozen, &asked, 2) || asked == 2) {
            usleep(1000);
            continue;
        }
        zmq_poll(&item, 1, 2);
        while (!self->hold && self->n_held > 0)
            answer_as_told(self, &self->held[--self->n_held], &out);
        if (self->goaway)
            say_goaway(self, &out);
        struct frame_peer from;
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        while (frame_recv_router(self->socket, &from, &header, &body, &verdict) == FRAME_OK) {
            handle(self, &from, &header, frame_view(&body), &arena, &out);
            zmq_msg_close(&body);
        }
    }
    arena_done(&arena);
    wire_out_done(&out);
    return NULL;
}

void script_start(struct script *self) {
    struct err err;
    self->stopping = 0;
    self->n_held = 0;
    self->session = clock_us() * 16 + self->number;
    self->context = frame_context();
    self->socket = frame_socket(self->context, FRAME_CLIENT_SIDE, 1000, NULL, &err);
    int linger = 0;
    zmq_setsockopt(self->socket, ZMQ_LINGER, &linger, sizeof linger);
    for (int tries = 0; zmq_bind(self->socket, self->endpoint) != 0; tries++) {
        if (tries == 200) {
            fprintf(stderr, "bind %s: %s\n", self->endpoint, zmq_strerror(zmq_errno()));
            abort();
        }
        usleep(10000); /* the former owner of the name is still closing */
    }
    if (pthread_create(&self->thread, NULL, run, self) != 0)
        abort();
}

void script_stop(struct script *self) {
    self->stopping = 1;
    pthread_join(self->thread, NULL);
    zmq_close(self->socket);
    zmq_ctx_term(self->context);
}
