/* net.h - several hosts on this machine: a network namespace each, joined by a bridge in one more.
 *
 *     struct net net;
 *     if (!net_open(&net, 3)) return TEST_SKIPPED;     needs root or user namespaces, and ip(8)
 *     net_enter(&net, 0);                              what this thread starts now lives on host 0:
 *     proc_start(...); ember_open(...);                processes, threads, sockets
 *     net_leave(&net);
 *     net_cut(&net, 0, 1);                             frames between the two vanish, silently
 *     net_heal(&net, 0, 1);
 *
 * Host i is 10.77.0.(i + 1). Namespaces are held by descriptors alone: nothing is mounted, nothing
 * outlives the process, and a bare chroot will do.
 *
 * A cut is a wrong hardware address for the other in each of the two: frames leave and are
 * nobody's, as with a firewall that drops. Neither side gets an error, and TCP tries again after
 * the heal.
 *
 * Threads: the one that opened it. */
#ifndef EMBER_TEST_NET_H
#define EMBER_TEST_NET_H

#include <stdbool.h>
#include <stdint.h>

enum { NET_HOSTS = 16 };

struct net {
    int own, hub, host[NET_HOSTS]; /* namespaces */
    uint32_t n_hosts;
    char address[NET_HOSTS][16];
};

/* False, with the reason on stderr, where it cannot be done. Before any thread is started. */
bool net_open(struct net *self, uint32_t n_hosts);
void net_close(struct net *self);

const char *net_address(const struct net *self, uint32_t host);
void net_enter(const struct net *self, uint32_t host);
void net_leave(const struct net *self);

void net_cut(const struct net *self, uint32_t a, uint32_t b);         /* both ways */
void net_cut_way(const struct net *self, uint32_t from, uint32_t to); /* one way */
void net_heal(const struct net *self, uint32_t a, uint32_t b);
void net_unplug(const struct net *self, uint32_t host); /* from the bridge: from all, silently */
void net_plug(const struct net *self, uint32_t host);

#endif
