/* Frames over real sockets: a ROUTER and a DEALER in one process, on loopback. */
#include "support/test.h"

#include "base/clock.h"
#include "wire/frame.h"

#include <unistd.h>

struct pair {
    void *context, *router, *dealer;
    char endpoint[64];
    uint32_t in_a_row;
};

static void pair_open(struct pair *self) {
    struct err err = {0};
    self->in_a_row = 0;
    self->context = frame_context();
    self->router = frame_socket(self->context, FRAME_CLIENT_SIDE, 100, NULL, &err);
    self->dealer = frame_socket(self->context, FRAME_CLIENT, 100, NULL, &err);
    assert_non_null(self->router);
    assert_non_null(self->dealer);
    assert_int_equal(zmq_bind(self->router, "tcp://127.0.0.1:*"), 0);
    size_t bytes = sizeof self->endpoint;
    zmq_getsockopt(self->router, ZMQ_LAST_ENDPOINT, self->endpoint, &bytes);
    assert_int_equal(zmq_connect(self->dealer, self->endpoint), 0);
}

static void pair_close(struct pair *self) {
    zmq_close(self->dealer);
    zmq_close(self->router);
    zmq_ctx_term(self->context);
}

static bool readable(void *socket) {
    zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN, 0};
    return zmq_poll(&item, 1, 2000) == 1;
}

static void send_when_connected(struct pair *self, const struct header *header, const char *text) {
    for (int i = 0; i < 2000; i++) {
        zmq_msg_t body;
        assert_true(frame_body(&body, view_of(text)));
        if (frame_send_dealer(self->dealer, header, &body) == FRAME_OK)
            return;
        usleep(1000); /* IMMEDIATE: nothing is queued before the connection stands */
    }
    fail_msg("never connected");
}

static void test_there_and_back(void **state) {
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct header header = {.type = WIRE_REQUEST,
                            .id = 5,
                            .epoch = 6,
                            .budget_us = 7,
                            .service = 8},
                  got;
    send_when_connected(&pair, &header, "text");
    assert_true(readable(pair.router));
    struct frame_peer peer;
    zmq_msg_t body;
    enum header_verdict verdict;
    TEST_EQ(frame_recv_router(pair.router, &peer, &got, &body, &verdict), FRAME_OK);
    TEST_EQ(got.id, 5);
    TEST_TRUE(view_equal(frame_view(&body), view_of("text")));
    TEST_EQ(frame_recv_router(pair.router, &peer, &got, &body, &verdict), FRAME_NONE);

    header.type = WIRE_REPLY;
    TEST_EQ(frame_send_router(pair.router, &peer, &header, &body), FRAME_OK);
    assert_true(readable(pair.dealer));
    TEST_EQ(frame_recv_dealer(pair.dealer, &pair.in_a_row, &got, &body, &verdict), FRAME_OK);
    TEST_EQ(got.type, WIRE_REPLY);
    TEST_TRUE(view_equal(frame_view(&body), view_of("text")));
    zmq_msg_close(&body);

    TEST_EQ(frame_send_router(pair.router, &peer, &header, NULL), FRAME_OK);
    assert_true(readable(pair.dealer));
    TEST_EQ(frame_recv_dealer(pair.dealer, &pair.in_a_row, &got, &body, &verdict), FRAME_OK);
    TEST_EQ(zmq_msg_size(&body), 0);
    zmq_msg_close(&body);
    TEST_EQ(frame_recv_dealer(pair.dealer, &pair.in_a_row, &got, &body, &verdict), FRAME_NONE);
    pair_close(&pair);
}

static void test_unknown_peer(void **state) { /* a routing id nobody has: told at once */
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct frame_peer nobody = {{0, 1, 2, 3, 4}};
    struct header header = {.type = WIRE_PING};
    zmq_msg_t body;
    assert_true(frame_body(&body, view_of("x")));
    TEST_EQ(frame_send_router(pair.router, &nobody, &header, &body), FRAME_GONE);
    pair_close(&pair);
}

static void test_not_ours(void **state) { /* each is dropped whole; the next good message arrives */
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct header header = {.type = WIRE_PING, .id = 1}, got;
    send_when_connected(&pair, &header, "");
    uint8_t bytes[HEADER_BYTES];
    header_pack(&header, bytes);
    zmq_send(pair.dealer, "garbage", 7, 0);                  /* one frame, no header */
    zmq_send(pair.dealer, bytes, sizeof bytes, 0);           /* a header without a body */
    zmq_send(pair.dealer, bytes, sizeof bytes, ZMQ_SNDMORE); /* three frames */
    zmq_send(pair.dealer, "a", 1, ZMQ_SNDMORE);
    zmq_send(pair.dealer, "b", 1, 0);
    bytes[8] ^= 1; /* a damaged header */
    zmq_send(pair.dealer, bytes, sizeof bytes, ZMQ_SNDMORE);
    zmq_send(pair.dealer, "a", 1, 0);
    header.id = 2;
    send_when_connected(&pair, &header, "");
    struct frame_peer peer;
    zmq_msg_t body;
    enum header_verdict verdict;
    int bad = 0;
    uint64_t ids = 0, until = clock_us() + 3000000;
    while (ids != 3 && clock_us() < until) {
        if (!readable(pair.router))
            break;
        enum frame_result result = frame_recv_router(pair.router, &peer, &got, &body, &verdict);
        if (result == FRAME_OK) {
            ids += got.id;
            zmq_msg_close(&body);
        }
        bad += result == FRAME_BAD;
    }
    TEST_EQ(ids, 3);
    TEST_EQ(bad, 4);
    pair_close(&pair);
}

static enum frame_result take(struct pair *self) {
    struct header header;
    zmq_msg_t body;
    enum header_verdict verdict;
    enum frame_result got =
        frame_recv_dealer(self->dealer, &self->in_a_row, &header, &body, &verdict);
    if (got == FRAME_OK)
        zmq_msg_close(&body);
    return got;
}

/* Receives in a row are counted from the last that found nothing; a message of any number of frames
 * makes the count useless. */
static void test_in_a_row(void **state) {
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct header header = {.type = WIRE_PING, .id = 1};
    send_when_connected(&pair, &header, "");
    struct frame_peer peer;
    zmq_msg_t body;
    enum header_verdict verdict;
    assert_true(readable(pair.router));
    TEST_EQ(frame_recv_router(pair.router, &peer, &header, &body, &verdict), FRAME_OK);
    zmq_msg_close(&body);
    TEST_EQ(take(&pair), FRAME_NONE);
    for (int i = 0; i < 90; i++)
        TEST_EQ(frame_send_router(pair.router, &peer, &header, NULL), FRAME_OK);
    for (uint32_t i = 0; i < 90;) {
        assert_true(readable(pair.dealer));
        uint32_t before = pair.in_a_row;
        enum frame_result got = take(&pair);
        i += got == FRAME_OK;
        TEST_EQ(pair.in_a_row, got == FRAME_OK ? before + 1 : 0);
    }
    TEST_EQ(take(&pair), FRAME_NONE);
    TEST_EQ(pair.in_a_row, 0);
    zmq_send(pair.router, peer.id, sizeof peer.id, ZMQ_SNDMORE);
    zmq_send(pair.router, "garbage", 7, 0);
    assert_true(readable(pair.dealer));
    TEST_EQ(take(&pair), FRAME_BAD);
    TEST_TRUE(pair.in_a_row >= 48);
    TEST_EQ(take(&pair), FRAME_NONE);
    TEST_EQ(pair.in_a_row, 0);
    pair_close(&pair);
}

static void test_chosen_identity(void **state) { /* a peer that names itself is not served */
    (void)state;
    struct pair pair;
    pair_open(&pair);
    void *stranger = zmq_socket(pair.context, ZMQ_DEALER);
    zmq_setsockopt(stranger, ZMQ_ROUTING_ID, "worker-1", 8);
    int linger = 0;
    zmq_setsockopt(stranger, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_connect(stranger, pair.endpoint), 0);
    struct header header = {.type = WIRE_HELLO}, got;
    uint8_t bytes[HEADER_BYTES];
    header_pack(&header, bytes);
    zmq_send(stranger, bytes, sizeof bytes, ZMQ_SNDMORE);
    zmq_send(stranger, "", 0, 0);
    assert_true(readable(pair.router));
    struct frame_peer peer;
    zmq_msg_t body;
    enum header_verdict verdict;
    TEST_EQ(frame_recv_router(pair.router, &peer, &got, &body, &verdict), FRAME_BAD);
    zmq_close(stranger);
    pair_close(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),  cmocka_unit_test(test_unknown_peer),
        cmocka_unit_test(test_not_ours),        cmocka_unit_test(test_in_a_row),
        cmocka_unit_test(test_chosen_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
