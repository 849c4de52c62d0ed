/* hostile_test.c - peers that mean harm, or are broken enough, against the real programs on both
 * ports, while ordinary callers call. What must hold in each row: every ordinary call ends once,
 * with OK and its own vectors; broker and worker live on, their memory within a cap; afterwards all
 * is as before.
 *
 * Whoever reaches the worker port may pose as a worker (SECURITY.md), so the rows at that port lie
 * about a model of their own and about other people's tickets, not about a model in use. */
#include "support/callers.h"
#include "support/rig.h"

#include "base/clock.h"
#include "wire/frame.h"
#include "wire/session.h"

enum {
    DIM = 32,
    TEXTS_MAX = 3,
    CALLS_MAX = 20000,
    DEADLINE_MS = 10000,
    SOON_MS = 5000,
    BROKER_MB = 256,
    WORKER_MB = 512,
    WORKER_TICKETS = 64,
    QUEUE = 64, /* messages in the socket of a peer: what was said is on its way */
};

#define CALLS_PER_S 100.0

static struct rig rig;
static void *context;
static uint64_t chance = 20260101; /* fixed: a failure comes again */

static void pause_ms(uint32_t ms) {
    usleep(ms * 1000);
}

/* ----------------------------------------------------------------------------------------------
 * peers played by hand */

struct peer {
    void *socket;
    uint32_t in_a_row; /* see frame_recv_dealer() */
    uint64_t epoch;
    uint16_t service;
    struct header header; /* of the last message heard */
    struct view body;     /* its body, until the next */
    zmq_msg_t msg;
    bool has_msg;
};

static void peer_dial(struct peer *self, const char *endpoint) {
    struct err err;
    memset(self, 0, sizeof *self);
    self->socket = frame_socket(context, FRAME_CLIENT, QUEUE, NULL, &err);
    TEST_TRUE(self->socket);
    int linger = 1000; /* what was said shall arrive */
    zmq_setsockopt(self->socket, ZMQ_LINGER, &linger, sizeof linger);
    TEST_EQ(zmq_connect(self->socket, endpoint), 0);
}

static void peer_close(struct peer *self) {
    if (self->has_msg)
        zmq_msg_close(&self->msg);
    zmq_close(self->socket);
    memset(self, 0, sizeof *self);
}

/* One frame, as it is; waits for the connection and for room. */
static bool peer_frame(struct peer *self, const void *data, size_t bytes, bool more) {
    uint64_t end_us = clock_us() + SOON_MS * 1000ull;
    while (zmq_send(self->socket, data, bytes, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0) {
        if (clock_us() > end_us)
            return false;
        pause_ms(1);
    }
    return true;
}

static void peer_say(struct peer *self, struct header header, struct view body) {
    uint8_t bytes[HEADER_BYTES];
    header_pack(&header, bytes);
    TEST_TRUE(peer_frame(self, bytes, sizeof bytes, true));
    TEST_TRUE(peer_frame(self, body.data, body.bytes, false));
}

/* The next message within ms that is no PING; false when there is none. */
static bool peer_hear(struct peer *self, uint32_t ms) {
    uint64_t end_us = clock_us() + ms * 1000ull;
    for (;;) {
        enum header_verdict verdict;
        if (self->has_msg)
            zmq_msg_close(&self->msg);
        self->has_msg = frame_recv_dealer(self->socket, &self->in_a_row, &self->header, &self->msg,
                                          &verdict) == FRAME_OK;
        if (self->has_msg && self->header.type != WIRE_PING) {
            self->body = frame_view(&self->msg);
            return true;
        }
        if (clock_us() > end_us)
            return false;
        zmq_pollitem_t item = {.socket = self->socket, .events = ZMQ_POLLIN};
        if (!self->has_msg)
            zmq_poll(&item, 1, 10);
    }
}

static bool peer_hear_type(struct peer *self, uint8_t type, uint32_t ms) {
    uint64_t end_us = clock_us() + ms * 1000ull;
    do
        if (peer_hear(self, 10) && self->header.type == type)
            return true;
    while (clock_us() < end_us);
    return false;
}

/* A client with a session and the number of a service. */
static void peer_hello(struct peer *self, enum wire_task task) {
    struct wire_service_name want = {.model = view_of("m"), .task = task};
    struct wire_hello hello = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .name = view_of("hostile"),
                               .version = view_of("0"),
                               .want = &want,
                               .n_want = 1};
    struct wire_out out = {0};
    struct wire_welcome welcome;
    struct arena arena;
    TEST_EQ(session_hello_encode(&hello, &out), STATUS_OK);
    peer_say(self, (struct header){.type = WIRE_HELLO}, wire_out_view(&out));
    wire_out_done(&out);
    TEST_TRUE(peer_hear_type(self, WIRE_WELCOME, SOON_MS * PROC_SLOW));
    TEST_TRUE(arena_init(&arena, session_arena_bytes(self->body.bytes)));
    TEST_EQ(session_welcome_decode(self->body, &arena, &welcome, NULL), STATUS_OK);
    self->epoch = welcome.session;
    self->service = (uint16_t)welcome.services[0].number;
    arena_done(&arena);
}

/* Patient: on a slow machine a broker expects huge bodies to take long, and would refuse them
 * before a worker can say what is wrong with them. */
static struct header request(const struct peer *peer, uint64_t id) {
    return (struct header){.type = WIRE_REQUEST,
                           .lane = WIRE_LANE_NORMAL,
                           .attempt = 1,
                           .id = id,
                           .epoch = peer->epoch,
                           .budget_us = 100 * 1000 * 1000,
                           .service = peer->service};
}

/* A worker of a model that nobody asks for. */
static void peer_ready(struct peer *self, uint64_t uuid) {
    struct wire_model model = {.name = view_of("evil"),
                               .fingerprint = view_of("00"),
                               .precision = view_of("f32"),
                               .kernel = view_of("none"),
                               .dim = 4,
                               .max_tokens = 4,
                               .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .uuid = uuid,
                               .name = view_of("evil"),
                               .host = view_of("h"),
                               .version = view_of("0"),
                               .tier = view_of("standard"),
                               .models = &model,
                               .n_models = 1};
    struct wire_out out = {0};
    TEST_EQ(session_ready_encode(&ready, &out), STATUS_OK);
    peer_say(self, (struct header){.type = WIRE_READY, .credit = 100}, wire_out_view(&out));
    wire_out_done(&out);
}

/* ----------------------------------------------------------------------------------------------
 * what they do */

static const char *ports[2]; /* clients', workers' */

static void garbage(void) {
    static uint8_t bytes[4096];
    for (int port = 0; port < 2; port++) {
        struct peer peer;
        peer_dial(&peer, ports[port]);
        for (int i = 0; i < 2000; i++) {
            int n_frames = 1 + (int)hash_below(&chance, 5);
            for (int k = 0; k < n_frames; k++) {
                size_t n = hash_below(&chance, 8) ? hash_below(&chance, 80) : sizeof bytes;
                for (size_t b = 0; b < n; b++)
                    bytes[b] = (uint8_t)hash_next(&chance);
                TEST_TRUE(peer_frame(&peer, bytes, n, k + 1 < n_frames));
            }
        }
        peer_close(&peer);
    }
}

/* A sound header in which one bit is wrong, in one, two and three frames. */
static void bad_headers(void) {
    for (int port = 0; port < 2; port++) {
        struct peer peer;
        peer_dial(&peer, ports[port]);
        for (int bit = 0; bit < 8 * HEADER_BYTES; bit++) {
            uint8_t bytes[HEADER_BYTES];
            struct header header = {.type = port ? WIRE_READY : WIRE_REQUEST, .budget_us = 1000};
            header_pack(&header, bytes);
            for (int n_frames = 1; n_frames <= 3; n_frames++) {
                uint8_t wrong[HEADER_BYTES];
                memcpy(wrong, bytes, sizeof wrong);
                if (n_frames == 2)
                    wrong[bit / 8] ^= (uint8_t)(1 << bit % 8);
                for (int k = 0; k < n_frames; k++)
                    TEST_TRUE(peer_frame(&peer, wrong, sizeof wrong, k + 1 < n_frames));
            }
        }
        peer_close(&peer);
    }
}

/* Three messages of a type: without a body, with random bytes, with zeros. */
static void say_type(struct peer *peer, int type) {
    static uint8_t bytes[2][2048];
    for (size_t b = 0; b < sizeof bytes[0]; b++)
        bytes[0][b] = (uint8_t)hash_next(&chance);
    for (size_t k = 0; k < 3; k++) {
        struct header header = request(peer, (uint64_t)type << 8 | k);
        header.type = (uint8_t)type;
        peer_say(peer, header, view_make((char *)bytes[k / 2], k ? sizeof bytes[0] : 0));
    }
}

/* Every type at both ports: all of them from a stranger (REQUEST before any HELLO is among them),
 * and each that exists, with some that do not, in a session of its own. */
static void all_types(void) {
    for (int port = 0; port < 2; port++) {
        struct peer peer;
        peer_dial(&peer, ports[port]);
        for (int type = 0; type < 256; type++)
            say_type(&peer, type);
        peer_close(&peer);
        for (int type = 0; type <= WIRE_BYE_OK + 1; type++) {
            peer_dial(&peer, ports[port]);
            if (port == 0)
                peer_hello(&peer, WIRE_TASK_EMBED);
            else
                peer_ready(&peer, 5);
            if (port == 1) {
                TEST_TRUE(peer_hear_type(&peer, WIRE_READY_OK, SOON_MS * PROC_SLOW));
                peer.epoch = peer.header.epoch;
            }
            say_type(&peer, type);
            peer_close(&peer);
        }
    }
}

/* Within a session, headers that are sound and nonsense: foreign epochs, services that were never
 * given, lanes and budgets beyond all limits. All that carry the right epoch are answered. */
static void nonsense(void) {
    struct peer peer;
    peer_dial(&peer, ports[0]);
    peer_hello(&peer, WIRE_TASK_EMBED);
    struct header good = request(&peer, 0), rows[] = {good, good, good, good, good, good};
    rows[0].epoch = peer.epoch + 1;
    rows[1].epoch = 0;
    rows[2].service = 65535;
    rows[3].lane = 255;
    rows[4].budget_us = 0;
    rows[5].budget_us = UINT32_MAX;
    for (uint64_t id = 1; id <= 600; id++) {
        rows[id % 6].id = id;
        peer_say(&peer, rows[id % 6], view_of("nonsense"));
    }
    uint32_t refused = 0, unknown = 0;
    while (refused + unknown < 600 && peer_hear(&peer, SOON_MS * PROC_SLOW)) {
        refused += peer.header.type == WIRE_REPLY && peer.header.status == STATUS_INVALID_ARGUMENT;
        unknown += peer.header.type == WIRE_WHO_ARE_YOU;
    }
    TEST_EQ(refused, 400);
    TEST_EQ(unknown, 200);
    peer_close(&peer);
}

/* One connection that says HELLO without end, each time with names it makes up, and reads nothing;
 * afterwards the default model must still have a number for everybody. */
static void hello_flood(void) {
    struct wire_service_name want[WIRE_HELLO_WANT_MAX];
    static char names[WIRE_HELLO_WANT_MAX][32];
    struct peer peer;
    struct wire_out out = {0};
    peer_dial(&peer, ports[0]);
    for (uint32_t i = 0; i < 300; i++) {
        for (uint32_t k = 0; k < WIRE_HELLO_WANT_MAX; k++) {
            snprintf(names[k], sizeof names[k], "made-up-%u", i * WIRE_HELLO_WANT_MAX + k);
            want[k] = (struct wire_service_name){view_of(names[k]), WIRE_TASK_EMBED};
        }
        struct wire_hello hello = {.protocol_min = 0,
                                   .protocol_max = UINT32_MAX,
                                   .name = view_of("flood"),
                                   .version = view_of("0"),
                                   .want = want,
                                   .n_want = WIRE_HELLO_WANT_MAX};
        TEST_EQ(session_hello_encode(&hello, &out), STATUS_OK);
        peer_say(&peer, (struct header){.type = WIRE_HELLO}, wire_out_view(&out));
    }
    wire_out_done(&out);
    peer_close(&peer);
    ember_t *client = NULL;
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    struct ember_error error;
    ember_result_t *result = NULL;
    options.timeout_ms = DEADLINE_MS * PROC_SLOW;
    TEST_EQ(ember_open(rig.endpoints, NULL, &client, NULL), EMBER_OK);
    if (ember_embed(client, (const char *[]){"text"}, 1, &options, &result, &error) != EMBER_OK)
        TEST_FAIL("the default model: %s", error.message);
    ember_result_destroy(&result);
    ember_close(&client);
}

/* Bodies at the limit are answered, beyond it the connection is cut before they are read. */
static void huge_bodies(void) {
    char *bytes = calloc(1, 4 * LIMIT_REPLY_BYTES);
    TEST_TRUE(bytes);
    struct peer peer;
    peer_dial(&peer, ports[0]);
    peer_hello(&peer, WIRE_TASK_EMBED);
    for (uint64_t id = 1; id <= 50; id++) {
        peer_say(&peer, request(&peer, id), view_make(bytes, LIMIT_REQUEST_BYTES));
        TEST_TRUE(peer_hear_type(&peer, WIRE_REPLY, SOON_MS * PROC_SLOW));
        TEST_EQ(peer.header.status, STATUS_INVALID_ARGUMENT);
    }
    peer_say(&peer, request(&peer, 99), view_make(bytes, LIMIT_REQUEST_BYTES + 1));
    TEST_TRUE(!peer_hear_type(&peer, WIRE_REPLY, 300));
    peer_close(&peer);
    for (int port = 0; port < 2; port++)
        for (int i = 0; i < 20; i++) {
            peer_dial(&peer, ports[port]);
            peer_say(&peer, request(&peer, 1), view_make(bytes, 4 * LIMIT_REPLY_BYTES));
            pause_ms(2);
            peer_close(&peer);
        }
    free(bytes);
}

/* Two connections of one uuid, in turn; then answers, refusals and farewells for every ticket that
 * anybody may hold, in the broker's right epoch. None may reach a caller. */
static void false_worker(void) {
    struct peer twin[2];
    for (int i = 0; i < 2; i++)
        peer_dial(&twin[i], ports[1]);
    for (int i = 0; i < 200; i++)
        peer_ready(&twin[i % 2], 66);
    for (int i = 0; i < 2; i++) /* whose READY came last nobody knows: make it this one's */
        while (peer_hear(&twin[i], 200 * PROC_SLOW))
            ;
    peer_ready(&twin[1], 66);
    TEST_TRUE(peer_hear_type(&twin[1], WIRE_READY_OK, SOON_MS * PROC_SLOW));
    uint64_t epoch = twin[1].header.epoch;
    static const uint8_t types[] = {WIRE_RESULT, WIRE_NACK, WIRE_CANCEL};
    for (uint64_t generation = 0; generation < 400; generation++)
        for (uint64_t slot = 0; slot < WORKER_TICKETS; slot++)
            peer_say(&twin[1],
                     (struct header){.type = types[(slot + generation) % 3],
                                     .status = STATUS_OK,
                                     .credit = UINT16_MAX,
                                     .id = generation << 32 | slot,
                                     .epoch = epoch},
                     view_of("not yours"));
    peer_say(&twin[1], (struct header){.type = WIRE_DRAIN, .epoch = epoch}, view_of(""));
    peer_say(&twin[1], (struct header){.type = WIRE_BYE, .epoch = epoch}, view_of(""));
    TEST_TRUE(peer_hear_type(&twin[1], WIRE_BYE_OK, SOON_MS * PROC_SLOW));
    for (int i = 0; i < 2; i++)
        peer_close(&twin[i]);
}

/* Peers that name themselves are not served, however right the rest is. */
static void chosen_identity(void) {
    static const char *const names[] = {"x", "five5", "a name of its own", "\x01\x02\x03\x04\x05"};
    for (int port = 0; port < 2; port++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            struct peer peer;
            struct err err;
            memset(&peer, 0, sizeof peer);
            peer.socket = frame_socket(context, FRAME_CLIENT, 100, NULL, &err);
            TEST_TRUE(peer.socket);
            zmq_setsockopt(peer.socket, ZMQ_ROUTING_ID, names[i], strlen(names[i]));
            TEST_EQ(zmq_connect(peer.socket, ports[port]), 0);
            if (port)
                peer_ready(&peer, 7);
            else
                peer_say(&peer, (struct header){.type = WIRE_PING}, view_of(""));
            TEST_TRUE(!peer_hear(&peer, 50));
            peer_close(&peer);
        }
}

static int tcp_dial(const char *endpoint) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(strrchr(endpoint, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TEST_TRUE(fd >= 0);
    TEST_EQ(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Connections that come and go by the thousand: silent ones, ones that speak HTTP, ones that stop
 * in the middle of a handshake, and whole sessions. */
static void connections(void) {
    static const char *const says[] = {"", "GET / HTTP/1.1\r\n\r\n", "\xff\0\0\0\0\0\0\0\1\x7f\3"};
    static const size_t bytes[] = {0, 18, 11};
    enum { OPEN = 100, TURNS = 20 };
    for (int port = 0; port < 2; port++)
        for (int turn = 0; turn < TURNS; turn++) {
            int fds[OPEN];
            for (int i = 0; i < OPEN; i++) {
                fds[i] = tcp_dial(ports[port]);
                ssize_t sent = send(fds[i], says[i % 3], bytes[i % 3], MSG_NOSIGNAL);
                (void)sent; /* it may be cut already */
            }
            for (int i = 0; i < OPEN; i++)
                close(fds[i]);
        }
    for (int i = 0; i < 300; i++) {
        struct peer peer;
        peer_dial(&peer, ports[0]);
        peer_hello(&peer, WIRE_TASK_EMBED);
        peer_close(&peer);
    }
}

/* A client that asks and never reads: its answers are dropped at its queue's end, nobody waits. */
static void never_reads(void) {
    struct peer peer;
    peer_dial(&peer, ports[0]);
    int small = 4096, few = 1;
    zmq_close(peer.socket);
    struct err err;
    peer.socket = frame_socket(context, FRAME_CLIENT, QUEUE, NULL, &err);
    TEST_TRUE(peer.socket);
    zmq_setsockopt(peer.socket, ZMQ_RCVHWM, &few, sizeof few);
    zmq_setsockopt(peer.socket, ZMQ_RCVBUF, &small, sizeof small);
    TEST_EQ(zmq_connect(peer.socket, ports[0]), 0);
    peer_hello(&peer, WIRE_TASK_EMBED);
    struct wire_embed_request ask = {.n_texts = 8, .cache = WIRE_CACHE_USE};
    struct view texts[8];
    for (int i = 0; i < 8; i++)
        texts[i] = view_of("the same text each time");
    ask.texts = texts;
    struct wire_out out = {0};
    TEST_EQ(codec_embed_request_encode(&ask, &out), STATUS_OK);
    uint64_t end_us = clock_us() + 2000 * 1000 * PROC_SLOW;
    for (uint64_t id = 1; id <= 30000 && clock_us() < end_us; id++) {
        struct header header = request(&peer, id);
        if (id % 3 == 0)
            header.service = 0; /* the broker's own status report */
        peer_say(&peer, header, wire_out_view(&out));
    }
    wire_out_done(&out);
    pause_ms(200);
    peer_close(&peer);
}

/* A body to each task, through a session as good as any; each must be answered. */
static void ask_all(struct peer *peers, struct view body) {
    static uint64_t id;
    id++;
    for (int t = 0; t < 3; t++)
        peer_say(&peers[t], request(&peers[t], id), body);
    for (int t = 0; t < 3; t++) {
        TEST_TRUE(peer_hear_type(&peers[t], WIRE_REPLY, SOON_MS * PROC_SLOW));
        TEST_EQ(peers[t].header.id, id);
        bool told = peers[t].header.status == STATUS_OK ||
                    peers[t].header.status == STATUS_INVALID_ARGUMENT ||
                    peers[t].header.status == STATUS_UNIMPLEMENTED;
        if (!told)
            TEST_FAIL("status %u: %.*s", peers[t].header.status, (int)peers[t].body.bytes,
                      peers[t].body.data);
    }
}

/* Bodies made to cost much or to confuse: what protobuf multiplies, what is cut, what is not
 * UTF-8, and the largest that is allowed. */
static void bombs(void) {
    static const enum wire_task tasks[] = {WIRE_TASK_EMBED, WIRE_TASK_CLASSIFY, WIRE_TASK_TOKENIZE};
    struct peer peers[3];
    size_t room = LIMIT_REQUEST_BYTES;
    char *body = malloc(room);
    TEST_TRUE(body);
    for (int t = 0; t < 3; t++) {
        peer_dial(&peers[t], ports[0]);
        peer_hello(&peers[t], tasks[t]);
    }
    static const char *const units[] = {
        "\x0a\x00",                             /* empty texts */
        "\x0a\x01x",                            /* texts of one byte */
        "\x12\x00",                             /* a field of another kind in some tasks */
        "\xfa\x7f\x00",                         /* unknown fields */
        "\xf8\x7f\x01",                         /* unknown numbers */
        "\x0b",                                 /* groups that never end */
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff", /* a number that never ends */
        "\x0a\xff\xff\xff\xff\x0f",             /* a text of four gigabytes */
        "\x0a\x02\xc3\x28",                     /* not UTF-8 */
        "\x0a\x04\xf4\x90\x80\x80",             /* beyond Unicode */
        "\x0a\x03\xed\xa0\x80",                 /* half a surrogate pair */
    };
    static const size_t unit_bytes[] = {2, 3, 2, 3, 3, 1, 9, 6, 4, 6, 5};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        for (size_t n = 1; n <= room / unit_bytes[u]; n = n < 64 ? n + 63 : n * 64) {
            size_t used = 0;
            for (size_t k = 0; k < n; k++, used += unit_bytes[u])
                memcpy(body + used, units[u], unit_bytes[u]);
            ask_all(peers, view_make(body, used));
        }
    for (int i = 0; i < 300; i++) {
        size_t n = hash_below(&chance, 200);
        for (size_t b = 0; b < n; b++)
            body[b] = (char)hash_next(&chance);
        ask_all(peers, view_make(body, n));
    }
    size_t used = 0; /* three texts of 64 KiB, and one that fills the rest */
    memset(body, 'a', room);
    for (int k = 0; k < 4; k++) {
        size_t n = k < 3 ? LIMIT_TEXT_BYTES : room - used - 4;
        body[used++] = 0x0a;
        body[used++] = (char)(n % 128 | 128);
        body[used++] = (char)(n / 128 % 128 | 128);
        body[used++] = (char)(n / 16384);
        used += n;
    }
    for (int i = 0; i < 20; i++)
        ask_all(peers, view_make(body, used));
    for (int t = 0; t < 3; t++)
        peer_close(&peers[t]);
    free(body);
}

/* ----------------------------------------------------------------------------------------------
 * the frame around them */

static const struct {
    const char *name;
    void (*attack)(void);
    const char *counter; /* of the broker: grows by `least`, or the attack did not arrive */
    uint64_t least;
} rows[] = {
    {"garbage", garbage, NULL, 0},
    {"headers with a wrong bit", bad_headers, NULL, 0},
    {"every type", all_types, "unexpected", 30},
    {"nonsense in a session", nonsense, "strangers", 200},
    {"hello without end", hello_flood, NULL, 0},
    {"huge bodies", huge_bodies, "replied_INVALID_ARGUMENT", 50},
    {"false worker", false_worker, "late", 17000},
    {"chosen identity", chosen_identity, NULL, 0},
    {"connections by the thousand", connections, NULL, 0},
    {"never reads", never_reads, "replies_cut", 64},
    {"protobuf bombs", bombs, "replied_INVALID_ARGUMENT", 900},
};

static void check_sums(const struct history_sums *sums, const char *name) {
    bool good = sums->status[EMBER_OK] == sums->calls && sums->calls > 5 &&
                sums->lost + sums->twice + sums->foreign + sums->late == 0;
    history_print(sums, name, good ? stdout : stderr);
    TEST_TRUE(good);
}

static void check_alive(void) {
    TEST_TRUE(proc_running(&rig.broker[0]) && proc_running(&rig.worker[0]));
    size_t broker = proc_peak_bytes(&rig.broker[0]) >> 20;
    size_t worker = proc_peak_bytes(&rig.worker[0]) >> 20;
    if (broker > BROKER_MB * PROC_SLOW || worker > WORKER_MB * PROC_SLOW)
        TEST_FAIL("peak memory: broker %zu MB, worker %zu MB", broker, worker);
    printf("    peak memory: broker %zu MB, worker %zu MB\n", broker, worker);
}

/* Callers that keep calling while `attack` runs, or for a while. */
static void call_during(const char *name, void (*attack)(void)) {
    struct history_sums sums;
    history_t *history = history_new(CALLS_MAX, TEXTS_MAX, DIM, 0);
    callers_t *callers = callers_start(&(struct callers_cfg){.endpoints = rig.endpoints,
                                                             .model = "m",
                                                             .clients = 2,
                                                             .threads = 4,
                                                             .calls_per_s = CALLS_PER_S,
                                                             .timeout_ms = DEADLINE_MS * PROC_SLOW},
                                       history);
    if (attack)
        attack();
    else
        pause_ms(300);
    pause_ms(100);
    callers_stop(&callers);
    history_check(history, &sums);
    check_sums(&sums, name);
    history_destroy(&history);
}

static void test_hostile(void **state) {
    (void)state;
    rig_init(&rig, &(struct rig_cfg){.brokers = 1, .workers = 1, .models = {"m=fake:dim=32"}});
    TEST_TRUE(rig_start(&rig));
    ports[0] = rig.clients[0];
    ports[1] = rig.workers[0];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const char *counter = rows[i].counter;
        uint64_t before = counter ? rig_counter(&rig, 0, counter) : 0;
        call_during(rows[i].name, rows[i].attack);
        check_alive();
        uint64_t grown = counter ? rig_counter(&rig, 0, counter) - before : 0;
        if (grown < rows[i].least)
            TEST_FAIL("%s: %s grew by %llu only", rows[i].name, counter, (unsigned long long)grown);
    }
    TEST_ROW("afterwards");
    rig_wait_workers(&rig, 1, SOON_MS * PROC_SLOW);
    rig_wait_idle(&rig, SOON_MS * PROC_SLOW);
    call_during("afterwards", NULL);
    proc_drain(&rig.worker[0], SOON_MS * PROC_SLOW);
    proc_drain(&rig.broker[0], SOON_MS * PROC_SLOW);
}

/* The same bodies through the real tokenizer and model. */
static void test_real_worker(void **state) {
    (void)state;
    TEST_ROW("real worker");
    rig_init(&rig, &(struct rig_cfg){
                       .brokers = 1,
                       .workers = 1,
                       .real = true,
                       .models = {"m=" EMBER_SOURCE_DIR "/tests/data/golden/bert-mean/f32"}});
    TEST_TRUE(rig_start(&rig));
    ports[0] = rig.clients[0];
    ports[1] = rig.workers[0];
    bombs();
    check_alive();
    proc_drain(&rig.worker[0], SOON_MS * PROC_SLOW);
    proc_drain(&rig.broker[0], SOON_MS * PROC_SLOW);
}

static int stop(void **state) {
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_hostile, stop),
        cmocka_unit_test_teardown(test_real_worker, stop),
    };
    context = frame_context();
    if (!context)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed)
        zmq_ctx_term(context);
    return proc_report(failed);
}
