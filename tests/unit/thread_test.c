/* thread_test.c - signals reach the descriptor, also past a thread that never heard of us. */
#include "base/thread.h"
#include "support/test.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

static void *sleep_on(void *arg) {
    int *end = arg;
    char byte;
    while (read(*end, &byte, 1) < 0)
        ;
    return NULL;
}

/* A descriptor that was readable may have nothing to read: the stranger took the signal meanwhile,
 * and is about to hand it on. */
static int wait_signal(int fd) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    int number = 0;
    while (number == 0 && poll(&item, 1, 5000) == 1)
        number = thread_signal_read(fd);
    return number;
}

/* The stranger blocks nothing, so the kernel gives it what is sent to the process (OpenBLAS has
 * such threads before main() begins): by default that would end the program. */
static void test_signals_past_a_stranger(void **state) {
    (void)state;
    int ends[2];
    pthread_t stranger, ours;
    TEST_EQ(pipe(ends), 0);
    TEST_EQ(pthread_create(&stranger, NULL, sleep_on, &ends[0]), 0);
    int fd = thread_signals_fd();
    TEST_TRUE(fd >= 0);
    TEST_EQ(thread_start(&ours, "ours", sleep_on, &ends[0], NULL), STATUS_OK);
    const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGTERM};
    for (int i = 0; i < 4; i++) {
        TEST_EQ(kill(getpid(), numbers[i]), 0);
        TEST_EQ(wait_signal(fd), numbers[i]);
        TEST_EQ(thread_signal_read(fd), 0);
    }
    close(ends[1]);
    pthread_join(stranger, NULL);
    pthread_join(ours, NULL);
    close(fd);
    close(ends[0]);
}

static void test_cpus(void **state) {
    (void)state;
    unsigned n = thread_cpus();
    TEST_TRUE(n >= 1 && n <= 4096);
}

int main(void) {
#ifdef __SANITIZE_THREAD__ /* its runtime takes signals itself and passes them on as it sees fit */
    puts("skipped: ThreadSanitizer handles signals in its own way");
    return TEST_SKIPPED;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_past_a_stranger),
        cmocka_unit_test(test_cpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
