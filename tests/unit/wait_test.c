/* wait_for() over real sockets: nothing that comes is slept over, whatever was done with the socket
 * before. */
#include "support/test.h"

#include "wire/wait.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LONG_MS = 20000, ROUNDS = 2000 };

struct pair {
    void *context, *a, *b;
};

static void pair_open(struct pair *self) {
    self->context = zmq_ctx_new();
    self->a = zmq_socket(self->context, ZMQ_PAIR);
    self->b = zmq_socket(self->context, ZMQ_PAIR);
    TEST_EQ(zmq_bind(self->a, "inproc://pair"), 0);
    TEST_EQ(zmq_connect(self->b, "inproc://pair"), 0);
}

static void pair_close(struct pair *self) {
    zmq_close(self->a);
    zmq_close(self->b);
    zmq_ctx_term(self->context);
}

static void say(void *socket, char what) {
    TEST_EQ(zmq_send(socket, &what, 1, 0), 1);
}

static bool hears(void *socket, char what) {
    char got = 0;
    return zmq_recv(socket, &got, 1, ZMQ_DONTWAIT) == 1 && got == what;
}

static void test_kinds(void **state) {
    (void)state;
    struct pair pair;
    pair_open(&pair);
    int fd = eventfd(0, EFD_NONBLOCK);
    zmq_pollitem_t items[] = {{pair.a, 0, ZMQ_POLLIN, 0}, {NULL, fd, ZMQ_POLLIN, 0}};
    while (wait_for(items, 2, 0) > 0) /* of connecting */
        TEST_TRUE(!hears(pair.a, 'x'));
    TEST_EQ(items[0].revents, 0);
    TEST_EQ(items[1].revents, 0);

    say(pair.b, 'x');
    TEST_EQ(wait_for(items, 2, LONG_MS), 1);
    TEST_EQ(items[0].revents, ZMQ_POLLIN);
    TEST_EQ(wait_for(items, 2, LONG_MS), 1); /* as long as it is there */
    TEST_TRUE(hears(pair.a, 'x'));

    uint64_t one = 1;
    TEST_EQ(write(fd, &one, sizeof one), (ssize_t)sizeof one);
    say(pair.b, 'y');
    TEST_EQ(wait_for(items, 2, LONG_MS), 2);
    TEST_EQ(items[1].revents, ZMQ_POLLIN);
    TEST_TRUE(hears(pair.a, 'y'));

    items[0].events = ZMQ_POLLIN | ZMQ_POLLOUT; /* room is an event, too */
    items[1].events = ZMQ_POLLOUT;
    TEST_EQ(wait_for(items, 2, LONG_MS), 2);
    TEST_EQ(items[0].revents, ZMQ_POLLOUT);
    TEST_EQ(items[1].revents, ZMQ_POLLOUT);

    close(fd);
    items[0].events = ZMQ_POLLIN;
    TEST_EQ(wait_for(items, 2, LONG_MS), 1); /* a descriptor that is none */
    TEST_EQ(items[1].revents, ZMQ_POLLERR);
    pair_close(&pair);
}

/* As many messages as there are must come, one by one, to somebody who sleeps between them and
 * sends from the same socket: a send may swallow what the descriptor has to tell. */
static void *echo(void *socket) {
    for (uint32_t i = 0; i < ROUNDS; i++) {
        char got;
        if (zmq_recv(socket, &got, 1, 0) == 1)
            zmq_send(socket, &got, 1, 0);
    }
    return NULL;
}

static void test_nothing_is_slept_over(void **state) {
    (void)state;
    struct pair pair;
    pthread_t other;
    pair_open(&pair);
    TEST_EQ(pthread_create(&other, NULL, echo, pair.b), 0);
    uint32_t sent = 0, heard = 0;
    while (heard < ROUNDS) {
        for (uint32_t i = 0; i < 3 && sent < ROUNDS; i++)
            say(pair.a, (char)sent++);
        zmq_pollitem_t item = {pair.a, 0, ZMQ_POLLIN, 0};
        TEST_EQ(wait_for(&item, 1, LONG_MS), 1);
        while (heard < ROUNDS && hears(pair.a, (char)heard))
            heard++;
    }
    pthread_join(other, NULL);
    pair_close(&pair);
}

static void test_end(void **state) { /* of the context: told, not slept over */
    (void)state;
    struct pair pair;
    pair_open(&pair);
    zmq_pollitem_t item = {pair.a, 0, ZMQ_POLLIN, 0};
    TEST_EQ(zmq_ctx_shutdown(pair.context), 0);
    int got = 1;
    while (got > 0)
        got = wait_for(&item, 1, LONG_MS);
    TEST_EQ(got, -1);
    TEST_EQ(errno, ETERM);
    pair_close(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_nothing_is_slept_over),
        cmocka_unit_test(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
