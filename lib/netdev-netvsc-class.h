/* A netdev of type=netvsc, for the C files of this folder. */

#ifndef NETDEV_NETVSC_CLASS_H
#define NETDEV_NETVSC_CLASS_H 1

#include "netdev-provider.h"
#include "util.h"

struct netvsc_pool;
struct netvsc_port;
struct netvsc_txq_lock;

struct netdev_netvsc {
    struct netdev up;
    struct netvsc_port *port;

    /* Main thread only. */
    unsigned int requested_n_txq;

    /* Change only in reconfigure. */
    struct netvsc_txq_lock *txq_locks; /* netdev_n_txq() of them. */
    struct netvsc_pool **pools;        /* By receive queue; lazily made. */
    int n_pools;
};

extern const struct netdev_class netdev_netvsc_class;

static inline bool
is_netvsc_class(const struct netdev_class *class)
{
    return class == &netdev_netvsc_class;
}

static inline struct netdev_netvsc *
netdev_netvsc_cast(const struct netdev *netdev)
{
    ovs_assert(is_netvsc_class(netdev_get_class(netdev)));
    return CONTAINER_OF(netdev, struct netdev_netvsc, up);
}

#endif /* netdev-netvsc-class.h */
