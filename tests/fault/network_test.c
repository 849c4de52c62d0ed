/* network_test.c - every process on a host of its own, and the network between them fails without a
 * word: frames vanish, nobody gets an error. What must hold in each row stands in matrix.h.
 *
 *     fault_network_test [--long] [--rounds N] [ROW...]
 *
 * Skipped where network namespaces cannot be made (net.h). */
#include "support/matrix.h"

#include "base/clock.h"

static struct net net;

static void pause_ms(uint32_t ms) {
    usleep(ms * 1000);
}

enum { BROKER = 0, WORKER = RIG_HOST_WORKER, CLIENT = RIG_HOST_CLIENT };

/* Longer than silence that passes for death (1.5 s), so that the worker is given up and comes back
 * with tickets of its first life in hand. */
static void part_worker_for(struct rig *rig, uint32_t ms) {
    net_cut(&net, WORKER, BROKER);
    pause_ms(ms);
    net_heal(&net, WORKER, BROKER);
    uint64_t start_us = clock_us();
    rig_wait_workers(rig, MATRIX_WORKERS, MATRIX_BACK_MS * PROC_SLOW);
    matrix_note("worker back in %.0f ms", (double)(clock_us() - start_us) / 1e3);
}

static void part_worker_shortly(struct rig *rig) {
    part_worker_for(rig, 1000);
}

static void part_worker_long(struct rig *rig) {
    part_worker_for(rig, matrix_ms(3000, 30000));
}

/* What it says is heard, what it is told is not; then the other way round. */
static void part_one_way(struct rig *rig) {
    for (int way = 0; way < 2; way++) {
        net_cut_way(&net, way ? WORKER : BROKER, way ? BROKER : WORKER);
        pause_ms(matrix_ms(2000, 5000));
        net_heal(&net, WORKER, BROKER);
        rig_wait_workers(rig, MATRIX_WORKERS, MATRIX_BACK_MS * PROC_SLOW);
    }
}

/* Each client reaches one broker of the two; the others reach both. */
static void part_client(struct rig *rig) {
    (void)rig;
    net_cut(&net, CLIENT, BROKER);
    pause_ms(matrix_ms(2500, 10000));
    net_heal(&net, CLIENT, BROKER);
}

static void part_brokers_host(struct rig *rig) {
    (void)rig;
    net_unplug(&net, BROKER);
    pause_ms(matrix_ms(2500, 10000));
    net_plug(&net, BROKER);
}

/* Gone and back faster than any timer: TCP alone mends it. */
static void flap(struct rig *rig) {
    (void)rig;
    for (int i = 0; i < 10; i++) {
        net_unplug(&net, WORKER);
        pause_ms(30);
        net_plug(&net, WORKER);
        pause_ms(100);
    }
}

/* The host is gone for good, without a FIN: only silence tells. */
static void lose_worker_host(struct rig *rig) {
    net_unplug(&net, WORKER);
    proc_kill(&rig->worker[0]);
    pause_ms(2500);
    net_plug(&net, WORKER);
    rig_start_worker(rig, 0);
}

static const struct matrix_row rows[] = {
    MATRIX_ROW("hosts, nothing", "the measure of the others", NULL, 1, 300, .net = true,
               .by_hand = true),
    MATRIX_ROW("part worker for a second", "0 lost", part_worker_shortly, 1, 4000, .net = true),
    MATRIX_ROW("part worker for long", "0 lost, back with its credit", part_worker_long, 1, 4000,
               .net = true),
    MATRIX_ROW("part worker one way", "0 lost", part_one_way, 1, 6000, .net = true,
               .by_hand = true),
    MATRIX_ROW("lose worker's host", "0 lost", lose_worker_host, 1, 4000, .net = true,
               .by_hand = true),
    MATRIX_ROW("part client of one broker", "0 lost, the other broker", part_client, 2, 6000,
               .net = true),
    MATRIX_ROW("lose one broker of two", "0 lost, the other broker", part_brokers_host, 2, 6000,
               .net = true),
    MATRIX_ROW("flapping link", "0 lost", flap, 1, 4000, .net = true, .by_hand = true),
};

static void test_network(void **state) {
    (void)state;
    matrix_run(rows, sizeof rows / sizeof *rows, &net);
}

static int stop(void **state) {
    matrix_stop();
    return proc_stop_all(state);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_network, stop),
    };
    if (!matrix_args(argc, argv)) {
        fprintf(stderr, "usage: %s [--long] [--rounds N] [ROW...]\n", argv[0]);
        return 2;
    }
    if (!net_open(&net, RIG_HOSTS))
        return TEST_SKIPPED;
    int failed = proc_report(cmocka_run_group_tests(tests, NULL, NULL));
    net_close(&net);
    return failed;
}
