/* What OVS asks of a port, in OVS's own structures. */

#ifndef NETDEV_NETVSC_INFO_H
#define NETDEV_NETVSC_INFO_H 1

#include <stdint.h>

#include "openvswitch/netdev.h"

struct netvsc_port;

/* The name that OpenFlow has for a speed in bit/s, as full duplex;
 * NETDEV_F_OTHER if it has none, 0 if the speed is not known. */
enum netdev_features netvsc_speed_to_feature(uint64_t link_speed);

void netvsc_fill_stats(const struct netvsc_port *, struct netdev_stats *);

/* The counters are the caller's to free. */
void netvsc_fill_custom_stats(const struct netvsc_port *,
                              struct netdev_custom_stats *);

#endif /* netdev-netvsc-info.h */
