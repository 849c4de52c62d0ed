/* net.c - namespaces held by descriptors, configured with ip(8) from inside.
 *
 *      host 0          host 1             hub
 *    +--------+      +--------+      +-------------+
 *    | eth0 --+------+--------+------+- p0 \        |
 *    |        |      | eth0 --+------+- p1 -- hub0  |
 *    +--------+      +--------+      +-------------+
 *
 * ip(8) takes a path where it takes the name of a namespace, and /proc/PID/fd/N is a path. */
#include "support/net.h"

#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/types.h>
#include <unistd.h>

static void go(int space) {
    if (setns(space, CLONE_NEWNET) != 0)
        TEST_FAIL("setns: %s", strerror(errno));
}

/* Runs a command in the namespace this thread is in. */
static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool run(const char *format, ...) {
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    int rc = system(line);
    if (rc != 0)
        fprintf(stderr, "net: '%s' ended with %d\n", line, rc);
    return rc == 0;
}

static void must(const struct net *self, int space, const char *line) {
    go(space);
    bool good = run("%s", line);
    go(self->own);
    TEST_TRUE(good);
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = write(fd, text, strlen(text));
        (void)n; /* what is missing then shows when the namespace is used */
        close(fd);
    }
}

/* As root of a namespace of our own where we are not root here. */
static bool first_space(void) {
    if (unshare(CLONE_NEWNET) == 0)
        return true;
    char uid[32], gid[32];
    snprintf(uid, sizeof uid, "0 %u 1", (unsigned)getuid());
    snprintf(gid, sizeof gid, "0 %u 1", (unsigned)getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    write_file("/proc/self/uid_map", uid);
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/gid_map", gid);
    return true;
}

static int this_space(void) {
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static bool add_host(struct net *self, uint32_t i) {
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    self->host[i] = this_space();
    self->n_hosts++;
    snprintf(self->address[i], sizeof self->address[i], "10.77.0.%u", (i + 1) % 256);
    return self->host[i] >= 0 &&
           run("ip link set lo up && "
               "ip link add eth0 address 02:77:00:00:00:%02x type veth peer name p%u "
               "netns /proc/%d/fd/%d && ip addr add %s/24 dev eth0 && ip link set eth0 up",
               i + 1, i, (int)getpid(), self->hub, self->address[i]) &&
           setns(self->hub, CLONE_NEWNET) == 0 &&
           run("ip link set p%u master hub0 && ip link set p%u up", i, i);
}

bool net_open(struct net *self, uint32_t n_hosts) {
    TEST_TRUE(n_hosts <= NET_HOSTS);
    *self = (struct net){.own = this_space(), .hub = -1};
    for (uint32_t i = 0; i < NET_HOSTS; i++)
        self->host[i] = -1;
    if (system("ip -V >/dev/null 2>&1") != 0 || !first_space()) {
        fprintf(stderr, "net: no ip(8), or no network namespaces for us\n");
        net_close(self);
        return false;
    }
    self->hub = this_space();
    bool good = self->hub >= 0 && run("ip link set lo up && ip link add hub0 type bridge && "
                                      "ip link set hub0 type bridge mcast_snooping 0 && "
                                      "ip link set hub0 up");
    for (uint32_t i = 0; i < n_hosts && good; i++)
        good = add_host(self, i);
    /* In a user namespace of our own the one we came from is closed to us: stay in the hub. */
    if (setns(self->own, CLONE_NEWNET) != 0) {
        close(self->own);
        self->own = dup(self->hub);
        good = good && setns(self->own, CLONE_NEWNET) == 0;
    }
    if (!good)
        net_close(self);
    return good;
}

void net_close(struct net *self) {
    for (uint32_t i = 0; i < self->n_hosts; i++)
        if (self->host[i] >= 0)
            close(self->host[i]);
    if (self->hub >= 0)
        close(self->hub);
    if (self->own >= 0)
        close(self->own);
    *self = (struct net){.own = -1, .hub = -1};
}

const char *net_address(const struct net *self, uint32_t host) {
    TEST_TRUE(host < self->n_hosts);
    return self->address[host];
}

void net_enter(const struct net *self, uint32_t host) {
    TEST_TRUE(host < self->n_hosts);
    go(self->host[host]);
}

void net_leave(const struct net *self) {
    go(self->own);
}

void net_cut_way(const struct net *self, uint32_t from, uint32_t to) {
    char line[160];
    snprintf(line, sizeof line,
             "ip neigh replace %s lladdr 02:77:00:00:ff:ff nud permanent dev eth0",
             self->address[to]);
    must(self, self->host[from], line);
}

void net_cut(const struct net *self, uint32_t a, uint32_t b) {
    net_cut_way(self, a, b);
    net_cut_way(self, b, a);
}

void net_heal(const struct net *self, uint32_t a, uint32_t b) {
    char line[160];
    uint32_t ends[3] = {a, b, a};
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line,
                 "ip neigh replace %s lladdr 02:77:00:00:00:%02x nud reachable dev eth0",
                 self->address[ends[i + 1]], ends[i + 1] + 1);
        must(self, self->host[ends[i]], line);
    }
}

void net_unplug(const struct net *self, uint32_t host) {
    char line[64];
    snprintf(line, sizeof line, "ip link set p%u nomaster", host);
    must(self, self->hub, line);
}

void net_plug(const struct net *self, uint32_t host) {
    char line[64];
    snprintf(line, sizeof line, "ip link set p%u master hub0", host);
    must(self, self->hub, line);
}
