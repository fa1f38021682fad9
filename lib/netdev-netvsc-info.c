#include <config.h>

#include "lib/netdev-netvsc-info.h"

#include "lib/netvsc-abi.h"

#include "util.h"

enum netdev_features
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

void
netvsc_fill_stats(const struct netvsc_port *port, struct netdev_stats *s)
{
    struct netvsc_port_stats stats;

    netvsc_port_get_stats(port, &stats);
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

void
netvsc_fill_custom_stats(const struct netvsc_port *port,
                         struct netdev_custom_stats *stats)
{
    struct netvsc_counter_list list = {.stats = stats, .allocated = 0};

    memset(stats, 0, sizeof *stats);
    netvsc_port_get_counters(port, netvsc_put_counter, &list);
}
