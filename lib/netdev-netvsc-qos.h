/* Rate limits of a port: the Interface's ingress policing and the QoS type
 * "egress-policer", with the meaning that they have for type=dpdk.
 *
 * Both drop what exceeds a rate in bytes of IP packets, that is without the
 * Ethernet header; ingress policing also what exceeds a rate in packets.  A
 * limit belongs to the whole port, whatever its number of queues. */

#ifndef NETDEV_NETVSC_QOS_H
#define NETDEV_NETVSC_QOS_H 1

#include <stdint.h>

#include "ovs-rcu.h"

struct dp_packet_batch;
struct netvsc_policer;
struct netvsc_port;
struct smap;
struct sset;

typedef OVSRCU_TYPE(struct netvsc_policer *) netvsc_policer_slot;

/* Part of each port, all zeros at first.  PMD threads read the slots for each
 * burst; all else is the main thread's. */
struct netvsc_limits {
    netvsc_policer_slot ingress, egress;
    /* What the log was told last of a burst, of QoS, of its queues: the
     * bridge applies an unchanged configuration again and again. */
    char *told_of_ingress, *told_of_qos, *told_of_queues;
};

/* No thread is in the data path of the port. */
void netvsc_limits_destroy(struct netvsc_limits *);

/* --- Data path --- */

/* What a port without limits pays for them. */
static inline struct netvsc_policer *
netvsc_ingress_policer(const struct netvsc_limits *limits)
{
    return ovsrcu_get(struct netvsc_policer *, &limits->ingress);
}

static inline struct netvsc_policer *
netvsc_egress_policer(const struct netvsc_limits *limits)
{
    return ovsrcu_get(struct netvsc_policer *, &limits->egress);
}

/* Deletes the packets of the batch that exceed the limit, and reports how
 * many and how many bytes they had, Ethernet header included.  Any thread. */
void netvsc_police(struct netvsc_policer *, struct dp_packet_batch *,
                   uint64_t *n_packets, uint64_t *n_bytes);

/* --- Configuration; main thread.  `name` is the port's, for the log. --- */

/* As netdev_set_policing(); a rate of 0 is no limit, a burst of 0 the default
 * that ovs-vswitchd.conf.db(5) gives. */
void netvsc_set_policing(struct netvsc_limits *, const char *name,
                         uint32_t kbits_rate, uint32_t kbits_burst,
                         uint32_t kpkts_rate, uint32_t kpkts_burst);

/* As their namesakes in netdev-provider.h. */
int netvsc_get_qos_types(struct sset *types);
int netvsc_get_qos(const struct netvsc_limits *, const char **typep,
                   struct smap *details);
int netvsc_set_qos(struct netvsc_limits *, const char *name, const char *type,
                   const struct smap *details);
int netvsc_set_queue(struct netvsc_limits *, const char *name,
                     uint32_t queue_id, const struct smap *details);

#endif /* netdev-netvsc-qos.h */
