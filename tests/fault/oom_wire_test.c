/* oom_wire_test.c - every message, written and read with each allocation failing in turn: the
 * status says so, nothing is kept, and the same buffer takes the message afterwards. */
#include "support/oom.h"
#include "support/test.h"

#include "wire/frame.h"
#include "wire/session.h"

static struct wire_out out; /* keeps its room from one try to the next */
static struct view texts[LIMIT_REQUEST_TEXTS];
static struct wire_facts facts;

static void fill(void) {
    static uint32_t tokens[LIMIT_REQUEST_TEXTS];
    static uint8_t zeros[LIMIT_REQUEST_TEXTS];
    for (uint32_t i = 0; i < LIMIT_REQUEST_TEXTS; i++)
        texts[i] = view_of("a text");
    facts = (struct wire_facts){.n = 2,
                                .tokens = tokens,
                                .truncated = zeros,
                                .source = zeros,
                                .model = view_of("m"),
                                .fingerprint = view_of("f"),
                                .worker = view_of("w")};
}

/* ------------------------------------------------------------------------------ writing */

static enum status error_out(void) {
    return codec_error_encode(&(struct wire_error){.message = view_of("told")}, &out);
}

static enum status embed_out(void) {
    return codec_embed_request_encode(
        &(struct wire_embed_request){.texts = texts, .n_texts = LIMIT_REQUEST_TEXTS}, &out);
}

static enum status embed_reply_out(void) {
    static const float rows[4];
    return codec_embed_reply_encode(
        &(struct wire_embed_reply){
            .dim = 2, .vectors = view_make(rows, sizeof rows), .facts = facts},
        &out);
}

static enum status classify_out(void) {
    return codec_classify_request_encode(
        &(struct wire_classify_request){.texts = texts, .n_texts = 2, .seconds = texts, .top_k = 1},
        &out);
}

static enum status classify_reply_out(void) {
    static const uint32_t label[] = {0};
    static const float score[] = {1};
    const struct wire_scores results[] = {{label, score, 1}, {label, score, 1}};
    return codec_classify_reply_encode(
        &(struct wire_classify_reply){
            .labels = texts, .n_labels = 3, .results = results, .n_results = 2, .facts = facts},
        &out);
}

static enum status rerank_out(void) {
    return codec_rerank_request_encode(
        &(struct wire_rerank_request){.query = view_of("q"), .documents = texts, .n_documents = 9},
        &out);
}

static enum status rerank_reply_out(void) {
    static const uint32_t index[] = {1, 0};
    static const float score[] = {1, 0.5f};
    return codec_rerank_reply_encode(
        &(struct wire_rerank_reply){
            .index = index, .score = score, .logit = score, .n = 2, .facts = facts},
        &out);
}

static enum status tokenize_out(void) {
    return codec_tokenize_request_encode(
        &(struct wire_tokenize_request){.texts = texts, .n_texts = 2, .pieces = true}, &out);
}

static enum status tokenize_reply_out(void) {
    static const uint32_t ids[] = {1, 2};
    const struct wire_tokens results[] = {{ids, 2, texts, 2}, {ids, 2, texts, 2}};
    return codec_tokenize_reply_encode(
        &(struct wire_tokenize_reply){.results = results, .n_results = 2, .facts = facts}, &out);
}

static enum status hello_out(void) {
    static struct wire_service_name want[2] = {{.task = WIRE_TASK_EMBED},
                                               {.task = WIRE_TASK_RERANK}};
    return session_hello_encode(&(struct wire_hello){.protocol_min = 1,
                                                     .protocol_max = 1,
                                                     .name = view_of("n"),
                                                     .version = view_of("1"),
                                                     .want = want,
                                                     .n_want = 2},
                                &out);
}

static enum status welcome_out(void) {
    const struct wire_service service = {
        .number = 1, .model = view_of("m"), .task = WIRE_TASK_EMBED, .serves = view_of("m")};
    return session_welcome_encode(&(struct wire_welcome){.protocol = 1,
                                                         .session = 2,
                                                         .broker = 3,
                                                         .broker_name = view_of("b"),
                                                         .services = &service,
                                                         .n_services = 1,
                                                         .brokers = texts,
                                                         .n_brokers = 2},
                                  &out);
}

static enum status goaway_out(void) {
    return session_goaway_encode(view_of("stopping"), &out);
}

static enum status ready_out(void) {
    const struct wire_model models[] = {{.name = view_of("m"), .dim = 2, .tasks = 2},
                                        {.name = view_of("n"), .dim = 2, .tasks = 2}};
    return session_ready_encode(&(struct wire_ready){.protocol_min = 1,
                                                     .protocol_max = 1,
                                                     .uuid = 5,
                                                     .name = view_of("w"),
                                                     .host = view_of("h"),
                                                     .models = models,
                                                     .n_models = 2},
                                &out);
}

static enum status ready_ok_out(void) {
    const struct wire_service_number number = {1, view_of("m"), WIRE_TASK_EMBED};
    return session_ready_ok_encode(
        &(struct wire_ready_ok){.protocol = 1, .broker = 3, .services = &number, .n_services = 1},
        &out);
}

static enum status heartbeat_out(void) {
    return session_heartbeat_encode(&(struct wire_heartbeat){.queued = 1, .redis = view_of("up")},
                                    &out);
}

static enum status status_out(void) {
    const struct wire_model model = {.name = view_of("m"), .dim = 2, .tasks = 2};
    const struct wire_worker_status worker = {
        .name = view_of("w"), .state = view_of("live"), .models = &model, .n_models = 1};
    const struct wire_service_status service = {.model = view_of("m"), .task = WIRE_TASK_EMBED};
    const struct wire_counter counter = {view_of("received"), 7};
    return session_status_encode(&(struct wire_status_reply){.broker_name = view_of("b"),
                                                             .state = view_of("serving"),
                                                             .workers = &worker,
                                                             .n_workers = 1,
                                                             .services = &service,
                                                             .n_services = 1,
                                                             .counters = &counter,
                                                             .n_counters = 1},
                                 &out);
}

/* ------------------------------------------------------------------------------ reading */

#define DECODE(name, type, call)                                                                   \
    static enum status name(struct view body, struct arena *arena) {                               \
        struct type m;                                                                             \
        uint32_t item = 0;                                                                         \
        (void)item;                                                                                \
        return call;                                                                               \
    }
DECODE(error_in, wire_error, codec_error_decode(body, arena, &m, NULL))
DECODE(embed_in, wire_embed_request, codec_embed_request_decode(body, arena, &m, &item, NULL))
DECODE(embed_reply_in, wire_embed_reply, codec_embed_reply_decode(body, arena, &m, NULL))
DECODE(classify_in, wire_classify_request,
       codec_classify_request_decode(body, arena, &m, &item, NULL))
DECODE(classify_reply_in, wire_classify_reply, codec_classify_reply_decode(body, arena, &m, NULL))
DECODE(rerank_in, wire_rerank_request, codec_rerank_request_decode(body, arena, &m, &item, NULL))
DECODE(rerank_reply_in, wire_rerank_reply, codec_rerank_reply_decode(body, arena, &m, NULL))
DECODE(tokenize_in, wire_tokenize_request,
       codec_tokenize_request_decode(body, arena, &m, &item, NULL))
DECODE(tokenize_reply_in, wire_tokenize_reply, codec_tokenize_reply_decode(body, arena, &m, NULL))
DECODE(hello_in, wire_hello, session_hello_decode(body, arena, &m, NULL))
DECODE(welcome_in, wire_welcome, session_welcome_decode(body, arena, &m, NULL))
DECODE(goaway_in, view, session_goaway_decode(body, arena, &m, NULL))
DECODE(ready_in, wire_ready, session_ready_decode(body, arena, &m, NULL))
DECODE(ready_ok_in, wire_ready_ok, session_ready_ok_decode(body, arena, &m, NULL))
DECODE(heartbeat_in, wire_heartbeat, session_heartbeat_decode(body, arena, &m, NULL))
DECODE(status_in, wire_status_reply, session_status_decode(body, arena, &m, NULL))

static const struct message {
    const char *name;
    enum status (*encode)(void);
    enum status (*decode)(struct view body, struct arena *arena);
} messages[] = {
    {"Error", error_out, error_in},
    {"EmbedRequest", embed_out, embed_in},
    {"EmbedReply", embed_reply_out, embed_reply_in},
    {"ClassifyRequest", classify_out, classify_in},
    {"ClassifyReply", classify_reply_out, classify_reply_in},
    {"RerankRequest", rerank_out, rerank_in},
    {"RerankReply", rerank_reply_out, rerank_reply_in},
    {"TokenizeRequest", tokenize_out, tokenize_in},
    {"TokenizeReply", tokenize_reply_out, tokenize_reply_in},
    {"Hello", hello_out, hello_in},
    {"Welcome", welcome_out, welcome_in},
    {"Goaway", goaway_out, goaway_in},
    {"Ready", ready_out, ready_in},
    {"ReadyOk", ready_ok_out, ready_ok_in},
    {"Heartbeat", heartbeat_out, heartbeat_in},
    {"StatusReply", status_out, status_in},
};

/* There and back, with a buffer and an arena of its own. */
static enum status there_and_back(void *arg) {
    const struct message *m = arg;
    struct arena arena = {0};
    enum status st = m->encode();
    if (st == STATUS_OK && !arena_init(&arena, session_arena_bytes(out.bytes)))
        st = STATUS_RESOURCE_EXHAUSTED;
    if (st == STATUS_OK)
        st = m->decode(wire_out_view(&out), &arena);
    arena_done(&arena);
    wire_out_done(&out);
    return st;
}

static void test_every_message(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        struct message m = messages[i];
        unsigned n = oom_each(m.name, there_and_back, &m);
        TEST_TRUE(n >= 2 && n <= 16); /* decoding takes all it needs from the arena */
        TEST_EQ(m.encode(), STATUS_OK);
        wire_out_done(&out);
    }
}

/* A message that does not fit any more leaves the last one as it was. */
static void test_buffer_survives(void **state) {
    (void)state;
    static char large[8000];
    memset(large, 'x', sizeof large);
    TEST_EQ(error_out(), STATUS_OK);
    size_t bytes = out.bytes;
    texts[0] = view_make(large, sizeof large);
    oom_arm(1, 1);
    TEST_EQ(embed_out(), STATUS_RESOURCE_EXHAUSTED);
    TEST_EQ(oom_disarm(), 1);
    TEST_EQ(out.bytes, bytes);
    TEST_EQ(embed_out(), STATUS_OK);
    TEST_TRUE(out.bytes > sizeof large);
    wire_out_done(&out);
    fill();
}

/* Without an arena, as after an arena_init() that failed, every body is refused. */
static void test_no_arena(void **state) {
    (void)state;
    struct arena none = {0};
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        TEST_ROW(messages[i].name);
        TEST_EQ(messages[i].encode(), STATUS_OK);
        TEST_EQ(messages[i].decode(wire_out_view(&out), &none), STATUS_INVALID_ARGUMENT);
    }
    wire_out_done(&out);
}

static enum status one_frame(void *arg) {
    (void)arg;
    zmq_msg_t msg;
    bool made = frame_body(&msg, view_make("a body that is too long to be kept inline in it", 47));
    bool right = zmq_msg_size(&msg) == (made ? 47 : 0);
    zmq_msg_close(&msg);
    return !right ? STATUS_INTERNAL : made ? STATUS_OK : STATUS_RESOURCE_EXHAUSTED;
}

static void test_frames(void **state) {
    (void)state;
    TEST_EQ(oom_each("frame_body", one_frame, NULL), 1);
}

int main(void) {
    fill();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message),
        cmocka_unit_test(test_buffer_survives),
        cmocka_unit_test(test_no_arena),
        cmocka_unit_test(test_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
