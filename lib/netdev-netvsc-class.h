/* A netdev of type=netvsc, for the C files of this folder. */

#ifndef NETDEV_NETVSC_CLASS_H
#define NETDEV_NETVSC_CLASS_H 1

#include "lib/netdev-netvsc-qos.h"

#include "netdev-provider.h"
#include "openvswitch/vlog.h"
#include "util.h"

struct netvsc_pool;
struct netvsc_port;
struct netvsc_txq_lock;

struct netdev_netvsc {
    struct netdev up;
    struct netvsc_port *port;
    struct netvsc_limits limits;

    /* Main thread only. */
    unsigned int requested_n_txq;
    bool configured;  /* Options were accepted. */
    bool in_datapath; /* A userspace datapath has asked for queues. */
    bool told_of_tso;
    /* A link that flaps must not silence the reason for it, nor one port the
     * others: a message a second is nothing to a log, and what a port says is
     * said once for each change. */
    struct vlog_rate_limit warn_rl, info_rl;

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
