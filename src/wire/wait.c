/* wait.c - see wait.h. */
#include "wire/wait.h"

#include "base/check.h"

#include <limits.h>
#include <poll.h>

static short to_poll(short events) {
    return (short)((events & ZMQ_POLLIN ? POLLIN : 0) | (events & ZMQ_POLLOUT ? POLLOUT : 0));
}

static short from_poll(short revents) {
    short known = POLLIN | POLLOUT;
    return (short)((revents & POLLIN ? ZMQ_POLLIN : 0) | (revents & POLLOUT ? ZMQ_POLLOUT : 0) |
                   (revents & ~known ? ZMQ_POLLERR : 0));
}

/* What the socket has, and the descriptor that tells of more. */
static int ask(zmq_pollitem_t *item, struct pollfd *fd) {
    int events = 0;
    size_t events_bytes = sizeof events, fd_bytes = sizeof fd->fd;
    if (zmq_getsockopt(item->socket, ZMQ_EVENTS, &events, &events_bytes) != 0 ||
        zmq_getsockopt(item->socket, ZMQ_FD, &fd->fd, &fd_bytes) != 0)
        return -1;
    fd->events = POLLIN;
    item->revents = (short)(events & item->events);
    return 0;
}

int wait_for(zmq_pollitem_t *items, int n, long timeout_ms) {
    struct pollfd fds[WAIT_ITEMS_MAX];
    CHECK(n <= WAIT_ITEMS_MAX);
    for (int i = 0; i < n; i++) {
        items[i].revents = 0;
        if (!items[i].socket)
            fds[i] = (struct pollfd){.fd = items[i].fd, .events = to_poll(items[i].events)};
        else if (ask(&items[i], &fds[i]) != 0)
            return -1;
        if (items[i].revents)
            timeout_ms = 0;
    }
    if (poll(fds, (nfds_t)n, timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms) < 0)
        return -1;
    int ready = 0;
    for (int i = 0; i < n; i++) {
        if (fds[i].revents)
            items[i].revents = items[i].socket ? items[i].events : from_poll(fds[i].revents);
        ready += items[i].revents != 0;
    }
    return ready;
}
