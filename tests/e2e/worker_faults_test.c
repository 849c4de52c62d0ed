/* worker_faults_test.c - ember-worker-fake between two brokers, both of which this test is: who
 * gets how much of its credit, what happens when one goes or comes back, and when a runner
 * hangs. */
#include "support/as_broker.h"
#include "support/proc.h"

enum { CREDIT = 128, WAIT = 5000 * PROC_SLOW, BEAT = 100 };

static struct as_broker a, b;
static struct proc worker;

static void start_worker(const char *model, const char *extra) {
    char brokers[2][96];
    snprintf(brokers[0], sizeof brokers[0], "--broker=%s", a.endpoint);
    snprintf(brokers[1], sizeof brokers[1], "--broker=%s", b.endpoint);
    proc_start(&worker, "worker",
               (const char *[]){PROC_WORKER_FAKE, model, brokers[0], brokers[1], "--redis=off",
                                "--http=off", "--threads=2", "--name=w1", "--credit=128",
                                "--cache-memory=0", "--drain-timeout=5s", extra, NULL});
    as_broker_wait(&a, WIRE_READY, WAIT);
    as_broker_welcome(&a, BEAT);
    as_broker_wait(&b, WIRE_READY, WAIT);
    as_broker_welcome(&b, BEAT);
    as_broker_wait(&a, WIRE_HEARTBEAT, WAIT);
    as_broker_wait(&b, WIRE_HEARTBEAT, WAIT);
}

static void read_both(uint32_t ms) {
    for (uint64_t end_us = clock_us() + ms * UINT64_C(1000); clock_us() < end_us;) {
        as_broker_take(&a, 2);
        if (b.sock)
            as_broker_take(&b, 2);
    }
}

/* Until both windows are these. */
static void windows(uint16_t want_a, uint16_t want_b) {
    for (uint64_t end_us = clock_us() + WAIT * UINT64_C(1000);
         a.window != want_a || (b.sock && b.window != want_b);) {
        if (clock_us() > end_us)
            TEST_FAIL("windows %u and %u, want %u and %u", a.window, b.window, want_a, want_b);
        read_both(5);
    }
}

static int exit_status(void) {
    TEST_TRUE(proc_wait(&worker, WAIT));
    return worker.status;
}

static void test_shares(void **state) {
    (void)state;
    start_worker("--model=m=fake:dim=8,slow=slow:400000", "--log-level=warn");
    TEST_ROW("nobody has demand");
    windows(64, 64);
    TEST_ROW("one has");
    a.demand = 1000;
    windows(112, 16);
    TEST_ROW("the other has three times as much");
    b.demand = 3000;
    for (int i = 0; i < 20; i++)
        read_both(BEAT / 2);
    TEST_NEAR(a.window, 16 + 24, 2);
    TEST_NEAR(b.window, 16 + 72, 2);
    TEST_ROW("in no order of messages are they told more than there is");
    TEST_TRUE(a.window + b.window <= CREDIT);
    TEST_ROW("one is lost: its share is the other's at once");
    as_broker_crash(&b);
    windows(CREDIT, 0);
    TEST_ROW("it comes back, and has to be greeted soon");
    read_both(700);
    b.epoch++;
    b.demand = 0;
    as_broker_bind(&b);
    uint64_t bound_us = clock_us();
    as_broker_wait(&b, WIRE_READY, WAIT);
    print_message("a broker that is back is greeted after %.0f ms\n",
                  (double)(clock_us() - bound_us) / 1e3);
    TEST_TRUE(clock_us() - bound_us < 1000 * 1000 * PROC_SLOW);
    TEST_TRUE(b.last[WIRE_READY].credit >= 1 && b.last[WIRE_READY].credit <= CREDIT);
    as_broker_welcome(&b, BEAT);
    windows(112, 16);
    TEST_ROW("a connection that breaks: what it had sent is forgotten, the rest is not");
    as_broker_embed(&b, 1, "slow one");
    as_broker_embed(&a, 2, "slow two");
    read_both(50);
    as_broker_crash(&b);
    as_broker_bind(&b);
    as_broker_wait(&b, WIRE_READY, WAIT);
    as_broker_welcome(&b, BEAT);
    as_broker_answered(&a, 2, WAIT);
    read_both(300);
    TEST_EQ(b.results[1] + b.nacks[1], 0);
    TEST_EQ(a.results[2], 1);
    TEST_TRUE(a.work_us[2] >= 400000);
    proc_kill(&worker);
}

/* The one who hangs is told from the rest, which goes on; then the process ends by itself. */
static void test_stuck(void **state) {
    (void)state;
    TEST_ROW("one runner");
    start_worker("--model=m=fake:dim=8,hang=hang", "--stuck-ms=2000");
    as_broker_embed(&a, 10, "hang forever");
    for (uint64_t end_us = clock_us() + WAIT * UINT64_C(1000); a.beat.stuck != 1;) {
        TEST_TRUE(clock_us() < end_us);
        read_both(5);
    }
    TEST_TRUE(a.beat.running_us >= 2000000);
    TEST_TRUE(a.beat.oldest_us >= 2000000);
    TEST_TRUE(proc_wait_log(&worker, "event=batch-stuck", WAIT));
    as_broker_embed(&b, 11, "another"); /* by the other runner */
    as_broker_answered(&b, 11, WAIT);
    TEST_EQ(b.results[11], 1);
    read_both(BEAT);
    TEST_TRUE(a.window + b.window <= CREDIT / 2); /* one runner's */
    TEST_EQ(exit_status(), 3);
    TEST_TRUE(proc_wait_log(&worker, "event=worker-stuck", WAIT));
    TEST_TRUE(proc_wait_log(&worker, "twice --stuck-ms", WAIT));
    read_both(100);
    TEST_EQ(a.results[10] + a.nacks[10], 0); /* nobody can say what became of it */
}

/* All runners hang: what has not been started goes to others at once, and nothing more is taken. */
static void test_all_stuck(void **state) {
    (void)state;
    TEST_ROW("all runners");
    start_worker("--model=m=fake:dim=8,hang=hang", "--stuck-ms=2000");
    as_broker_embed(&a, 20, "hang one");
    read_both(300); /* batches of their own */
    as_broker_embed(&b, 21, "hang two");
    read_both(300);
    as_broker_embed(&b, 22, "waits");
    as_broker_answered(&b, 22, WAIT);
    TEST_EQ(b.nacks[22], 1);
    read_both(BEAT);
    TEST_EQ(a.beat.stuck, 2);
    as_broker_embed(&a, 23, "comes too late");
    as_broker_answered(&a, 23, WAIT);
    TEST_EQ(a.nacks[23], 1);
    TEST_EQ(a.window, 0);
    TEST_EQ(exit_status(), 3);
    TEST_EQ(a.results[20] + a.nacks[20] + b.results[21] + b.nacks[21], 0);
}

/* A frozen process has not been computing: it goes on where it was. */
static void test_frozen(void **state) {
    (void)state;
    TEST_ROW("frozen");
    start_worker("--model=m=fake:dim=8,slow=slow:300000", "--stuck-ms=5000");
    as_broker_embed(&a, 30, "slow");
    read_both(50);
    proc_signal(&worker, SIGSTOP);
    read_both(1000);
    proc_signal(&worker, SIGCONT);
    as_broker_answered(&a, 30, WAIT);
    TEST_EQ(a.results[30], 1);
    TEST_EQ(a.status[30], STATUS_OK);
    TEST_EQ(a.beat.stuck, 0);
    proc_kill(&worker);
}

static int setup(void **state) {
    (void)state;
    as_broker_open(&a, 1001);
    as_broker_open(&b, 2001);
    return 0;
}

static int teardown(void **state) {
    proc_stop_all(state);
    as_broker_close(&a);
    as_broker_close(&b);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_shares),
        TEST(test_stuck),
        TEST(test_all_stuck),
        TEST(test_frozen),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
