/* What is known of a port, in OVS's own structures. */

#include <config.h>

#include "lib/netdev-netvsc-info.h"

#include <errno.h>

#include "lib/netdev-netvsc-class.h"
#include "lib/netdev-netvsc-pool.h"
#include "lib/netvsc-abi.h"

#include "hash.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/shash.h"
#include "packets.h"
#include "smap.h"
#include "unixctl.h"
#include "util.h"

static struct netvsc_port_info
netvsc_info(const struct netdev *netdev)
{
    struct netvsc_port_info info;

    netvsc_port_get_info(netdev_netvsc_cast(netdev)->port, &info);
    return info;
}

int
netdev_netvsc_get_etheraddr(const struct netdev *netdev, struct eth_addr *mac)
{
    struct netvsc_port_info info = netvsc_info(netdev);

    if (!info.has_mac) {
        return ENODEV;
    }
    memcpy(mac->ea, info.mac, sizeof mac->ea);
    return 0;
}

int
netdev_netvsc_get_mtu(const struct netdev *netdev, int *mtu)
{
    *mtu = netvsc_info(netdev).mtu;
    return 0;
}

int
netdev_netvsc_get_numa_id(const struct netdev *netdev)
{
    int node = netvsc_info(netdev).numa_node;

    return node < 0 ? NETDEV_NUMA_UNSPEC : node;
}

/* As netdev-dpdk: RFC 2863 wants a positive number, sFlow uses it. */
int
netdev_netvsc_get_ifindex(const struct netdev *netdev)
{
    return hash_string(netdev_get_name(netdev), 0) >> 8;
}

int
netdev_netvsc_get_carrier(const struct netdev *netdev, bool *carrier)
{
    *carrier = netvsc_info(netdev).carrier;
    return 0;
}

long long int
netdev_netvsc_get_carrier_resets(const struct netdev *netdev)
{
    return netvsc_info(netdev).carrier_resets;
}

/* The name that OpenFlow has for a speed in bit/s, as full duplex;
 * NETDEV_F_OTHER if it has none, 0 if the speed is not known. */
static enum netdev_features
netvsc_speed_to_feature(uint64_t link_speed)
{
    static const struct {
        uint64_t mbps;
        enum netdev_features feature;
    } speeds[] = {
        {10, NETDEV_F_10MB_FD},     {100, NETDEV_F_100MB_FD},
        {1000, NETDEV_F_1GB_FD},    {10000, NETDEV_F_10GB_FD},
        {40000, NETDEV_F_40GB_FD},  {100000, NETDEV_F_100GB_FD},
        {1000000, NETDEV_F_1TB_FD},
    };
    uint64_t mbps = link_speed / 1000000;

    for (size_t i = 0; i < ARRAY_SIZE(speeds); i++) {
        if (speeds[i].mbps == mbps) {
            return speeds[i].feature;
        }
    }
    return mbps ? NETDEV_F_OTHER : 0;
}

int
netdev_netvsc_get_features(const struct netdev *netdev,
                           enum netdev_features *current,
                           enum netdev_features *advertised,
                           enum netdev_features *supported,
                           enum netdev_features *peer)
{
    *current = netvsc_speed_to_feature(netvsc_info(netdev).link_speed);
    *advertised = *supported = *peer = 0;
    return 0;
}

int
netdev_netvsc_get_speed(const struct netdev *netdev, uint32_t *current,
                        uint32_t *max)
{
    *current = *max = netvsc_info(netdev).link_speed / 1000000;
    return 0;
}

int
netdev_netvsc_get_duplex(const struct netdev *netdev OVS_UNUSED,
                         bool *full_duplex)
{
    *full_duplex = true;
    return 0;
}
int
netdev_netvsc_get_stats(const struct netdev *netdev, struct netdev_stats *s)
{
    struct netvsc_port_stats stats;

    netvsc_port_get_stats(netdev_netvsc_cast(netdev)->port, &stats);
    memset(s, 0xff, sizeof *s);
    s->rx_packets = stats.rx_packets;
    s->rx_bytes = stats.rx_bytes;
    s->rx_dropped = stats.rx_dropped;
    s->rx_errors = stats.rx_errors;
    s->multicast = stats.rx_multicast;
    s->tx_packets = stats.tx_packets;
    s->tx_bytes = stats.tx_bytes;
    s->tx_dropped = stats.tx_dropped;
    s->tx_errors = stats.tx_errors;

    s->rx_1_to_64_packets = stats.rx_bins[0];
    s->rx_65_to_127_packets = stats.rx_bins[1];
    s->rx_128_to_255_packets = stats.rx_bins[2];
    s->rx_256_to_511_packets = stats.rx_bins[3];
    s->rx_512_to_1023_packets = stats.rx_bins[4];
    s->rx_1024_to_1522_packets = stats.rx_bins[5];
    s->rx_1523_to_max_packets = stats.rx_bins[6];
    s->tx_1_to_64_packets = stats.tx_bins[0];
    s->tx_65_to_127_packets = stats.tx_bins[1];
    s->tx_128_to_255_packets = stats.tx_bins[2];
    s->tx_256_to_511_packets = stats.tx_bins[3];
    s->tx_512_to_1023_packets = stats.tx_bins[4];
    s->tx_1024_to_1522_packets = stats.tx_bins[5];
    s->tx_1523_to_max_packets = stats.tx_bins[6];
    return 0;
}

struct netvsc_counter_list {
    struct netdev_custom_stats *stats;
    size_t allocated;
};

static void
netvsc_put_counter(void *list_, const char *name, uint64_t value)
{
    struct netvsc_counter_list *list = list_;
    struct netdev_custom_stats *stats = list->stats;
    struct netdev_custom_counter *counter;

    if (stats->size == list->allocated) {
        stats->counters = x2nrealloc(stats->counters, &list->allocated,
                                     sizeof *stats->counters);
    }
    counter = &stats->counters[stats->size++];
    ovs_strlcpy(counter->name, name, sizeof counter->name);
    counter->value = value;
}

int
netdev_netvsc_get_custom_stats(const struct netdev *netdev,
                               struct netdev_custom_stats *stats)
{
    struct netvsc_counter_list list = {.stats = stats, .allocated = 0};

    memset(stats, 0, sizeof *stats);
    netvsc_port_get_counters(netdev_netvsc_cast(netdev)->port,
                             netvsc_put_counter, &list);
    return 0;
}

static void
netvsc_put_pair(void *smap, const char *key, const char *value)
{
    smap_add(smap, key, value);
}

int
netdev_netvsc_get_config(const struct netdev *netdev, struct smap *args)
{
    netvsc_port_get_options(netdev_netvsc_cast(netdev)->port, netvsc_put_pair,
                            args);
    return 0;
}

int
netdev_netvsc_get_status(const struct netdev *netdev, struct smap *args)
{
    netvsc_port_get_status(netdev_netvsc_cast(netdev)->port, netvsc_put_pair,
                           args);
    return 0;
}

/* --- ovs-appctl netdev-netvsc/show ----------------------------------------
 */

static void
netvsc_show(const struct netdev *netdev, struct ds *s)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);
    char *text = netvsc_port_show(dev->port);

    ds_put_cstr(s, text);
    free(text);
    for (int i = 0; i < dev->n_pools; i++) {
        ds_put_format(s, "    %-13s queue %d: ", i ? "" : "packets", i);
        netvsc_pool_format(dev->pools[i], s);
        ds_put_char(s, '\n');
    }
}

static void
netvsc_show_all(struct ds *s)
{
    const struct shash_node **nodes;
    struct shash netdevs = SHASH_INITIALIZER(&netdevs);
    size_t n_retired;

    netdev_get_devices(&netdev_netvsc_class, &netdevs);
    nodes = shash_sort(&netdevs);
    for (size_t i = 0; i < shash_count(&netdevs); i++) {
        struct netdev *netdev = nodes[i]->data;

        netvsc_show(netdev, s);
        netdev_close(netdev);
    }
    free(nodes);
    shash_destroy(&netdevs);

    n_retired = netvsc_pool_sweep();
    if (n_retired) {
        ds_put_format(s,
                      "packets of %" PRIuSIZE " deleted queues are still in "
                      "use\n",
                      n_retired);
    }
}

void
netdev_netvsc_show(struct unixctl_conn *conn, int argc, const char *argv[],
                   void *aux OVS_UNUSED)
{
    struct ds s = DS_EMPTY_INITIALIZER;

    if (argc > 1) {
        struct netdev *netdev = netdev_from_name(argv[1]);

        if (!netdev || !is_netvsc_class(netdev_get_class(netdev))) {
            char *error = xasprintf("%s is no open port of type netvsc; if "
                                    "it should be one, ask for the reason: "
                                    "ovs-vsctl get Interface %s error",
                                    argv[1], argv[1]);

            unixctl_command_reply_error(conn, error);
            free(error);
            netdev_close(netdev);
            return;
        }
        netvsc_show(netdev, &s);
        netdev_close(netdev);
    } else {
        netvsc_show_all(&s);
    }
    unixctl_command_reply(conn, ds_cstr(&s));
    ds_destroy(&s);
}
