/* greeting_test.c - a worker that its broker refuses: it says why, once, and goes on asking. */
#include "support/proc.h"

#include "base/clock.h"
#include "wire/frame.h"
#include "wire/session.h"

enum { SOON_MS = 5000, REFUSALS = 8 };

static void *context, *router;
static struct frame_peer worker;

static void expect_ready(void) {
    uint64_t end_us = clock_us() + SOON_MS * 1000ull * PROC_SLOW;
    while (clock_us() < end_us) {
        struct header header;
        enum header_verdict verdict;
        zmq_msg_t body;
        zmq_pollitem_t item = {.socket = router, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 20);
        if (frame_recv_router(router, &worker, &header, &body, &verdict) != FRAME_OK)
            continue;
        zmq_msg_close(&body);
        if (header.type == WIRE_READY)
            return;
    }
    TEST_FAIL("no READY came");
}

static void answer(uint8_t status, const struct wire_out *body) {
    struct header header = {.type = WIRE_READY_OK, .status = status, .epoch = 7};
    zmq_msg_t msg;
    TEST_TRUE(frame_body(&msg, wire_out_view(body)));
    TEST_EQ(frame_send_router(router, &worker, &header, &msg), FRAME_OK);
}

static uint32_t count_in_log(const struct proc *proc, const char *text) {
    char line[1024];
    uint32_t n = 0;
    FILE *f = fopen(proc->log, "re");
    TEST_TRUE(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, text) != NULL;
    fclose(f);
    return n;
}

static void test_refused(void **state) {
    (void)state;
    struct err err;
    struct wire_out out = {0};
    char endpoint[64];
    static struct proc proc;
    router = frame_socket(context, FRAME_WORKER_SIDE, 100, NULL, &err);
    TEST_TRUE(router);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", port_free());
    TEST_EQ(zmq_bind(router, endpoint), 0);
    proc_start(&proc, "worker",
               (const char *[]){PROC_WORKER_FAKE, "--model=m=fake:dim=8", "--redis=off",
                                "--http=off", "--broker", endpoint, NULL});
    struct wire_error why = {.message = view_of("there are \"4096\" workers already")};
    TEST_EQ(codec_error_encode(&why, &out), STATUS_OK);
    for (int i = 0; i < REFUSALS; i++) {
        expect_ready();
        answer(STATUS_RESOURCE_EXHAUSTED, &out);
    }
    TEST_TRUE(
        proc_wait_log(&proc, "event=broker-refused broker=tcp://127.0.0.1:", SOON_MS * PROC_SLOW));
    TEST_TRUE(proc_wait_log(&proc,
                            "status=RESOURCE_EXHAUSTED msg=\"there are \\\"4096\\\" workers "
                            "already\" more=0",
                            SOON_MS * PROC_SLOW));
    struct wire_service_number number = {1, view_of("m"), WIRE_TASK_EMBED};
    struct wire_ready_ok ok = {.protocol = WIRE_PROTOCOL,
                               .broker = 7,
                               .heartbeat_ms = 500,
                               .silence_ms = 1500,
                               .services = &number,
                               .n_services = 1};
    expect_ready();
    TEST_EQ(session_ready_ok_encode(&ok, &out), STATUS_OK);
    answer(STATUS_OK, &out);
    TEST_TRUE(proc_wait_log(&proc, "event=broker-serving", SOON_MS * PROC_SLOW));
    TEST_EQ(count_in_log(&proc, "event=broker-refused"), 1);
    wire_out_done(&out);
    proc_kill(&proc);
    zmq_close(router);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_refused, proc_stop_all)};
    context = frame_context();
    return context ? proc_report(cmocka_run_group_tests(tests, NULL, NULL)) : 1;
}
