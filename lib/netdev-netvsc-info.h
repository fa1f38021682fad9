/* What OVS asks of a port: callbacks of the netdev class that only read, and
 * `ovs-appctl netdev-netvsc/show`.  Any thread. */

#ifndef NETDEV_NETVSC_INFO_H
#define NETDEV_NETVSC_INFO_H 1

#include "netdev-provider.h"

struct unixctl_conn;

int netdev_netvsc_get_etheraddr(const struct netdev *netdev,
                                struct eth_addr *mac);
int netdev_netvsc_get_mtu(const struct netdev *netdev, int *mtu);
int netdev_netvsc_get_numa_id(const struct netdev *netdev);
int netdev_netvsc_get_ifindex(const struct netdev *netdev);
int netdev_netvsc_get_carrier(const struct netdev *netdev, bool *carrier);
long long int netdev_netvsc_get_carrier_resets(const struct netdev *netdev);
int netdev_netvsc_get_features(const struct netdev *netdev,
                               enum netdev_features *current,
                               enum netdev_features *advertised,
                               enum netdev_features *supported,
                               enum netdev_features *peer);
int netdev_netvsc_get_speed(const struct netdev *netdev, uint32_t *current,
                            uint32_t *max);
int netdev_netvsc_get_duplex(const struct netdev *netdev, bool *full_duplex);
int netdev_netvsc_get_config(const struct netdev *netdev, struct smap *args);
int netdev_netvsc_get_status(const struct netdev *netdev, struct smap *args);
void netdev_netvsc_show(struct unixctl_conn *conn, int argc,
                        const char *argv[], void *aux);
int netdev_netvsc_get_stats(const struct netdev *netdev,
                            struct netdev_stats *s);
int netdev_netvsc_get_custom_stats(const struct netdev *netdev,
                                   struct netdev_custom_stats *stats);

#endif /* netdev-netvsc-info.h */
