/* type=netvsc for Open vSwitch: the netdev class.
 *
 * Only the C files of this folder include OVS's private headers, and what
 * differs between OVS 3.1 and 4.0 is in ovs-compat.h alone.
 * Policy is in netdev-netvsc.h and below, the device in driver/.
 *
 * Who calls what: netdev_mutex is held around construct, destruct and their
 * like, so nothing here may open or close netdevs then.  The control state
 * has its lock in the policy.  What the data path reads (sessions, queues,
 * locks) changes only in reconfigure, while no thread is in it. */

#include <config.h>

#include <errno.h>
#include <limits.h>

#include "lib/netdev-netvsc-class.h"
#include "lib/netdev-netvsc-info.h"
#include "lib/netdev-netvsc-packets.h"
#include "lib/netdev-netvsc-pool.h"
#include "lib/netdev-netvsc-qos.h"
#include "lib/netvsc-abi.h"
#include "lib/ovs-compat.h"

#include "coverage.h"
#include "dirs.h"
#include "dp-packet.h"
#include "if-notifier.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "seq.h"
#include "smap.h"
#include "timeval.h"
#include "unixctl.h"
#include "userspace-tso.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(netdev_netvsc);

COVERAGE_DEFINE(netvsc_tx_contended);

/* How often the memory of ports that are gone is looked after, in ms. */
#define SWEEP_INTERVAL 1000

/* A transmit queue's lock, for queues that several threads share. */
struct netvsc_txq_lock {
    PADDED_MEMBERS(CACHE_LINE_SIZE, struct ovs_mutex mutex;);
};
BUILD_ASSERT_DECL(sizeof(struct netvsc_txq_lock) % CACHE_LINE_SIZE == 0);

struct netdev_rxq_netvsc {
    struct netdev_rxq up;
    struct netvsc_rx_queue *queue; /* NULL: no session. */
    struct netvsc_pool *pool;
    const struct netvsc_limits *limits; /* The port's. */
};

/* Changes when netvsc_run() has something to do. */
static struct seq *netvsc_seq;
static uint64_t netvsc_last_seq;

static struct netdev_rxq_netvsc *
netdev_rxq_netvsc_cast(const struct netdev_rxq *rxq)
{
    return CONTAINER_OF(rxq, struct netdev_rxq_netvsc, up);
}

/* --- What the policy asks of OVS ------------------------------------------
 */

static void
netvsc_glue_wake(void)
{
    seq_change(netvsc_seq);
}

static void
netvsc_glue_request_reconfigure(void *netdev)
{
    netdev_request_reconfigure(netdev);
}

static void
netvsc_glue_status_changed(void *netdev)
{
    netdev_change_seq_changed(netdev);
}

static bool
netvsc_glue_is_removed(void *netdev_)
{
    struct netdev *netdev = netdev_;

    return !netdev->node;
}

static void
netvsc_glue_log(void *netdev, enum netvsc_log_level level, const char *port,
                const char *message)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);

    if (level == NETVSC_LOG_WARN) {
        VLOG_WARN_RL(&dev->warn_rl, "%s: %s", port, message);
    } else {
        VLOG_INFO_RL(&dev->info_rl, "%s: %s", port, message);
    }
}

static void
netdev_netvsc_run(const struct netdev_class *class OVS_UNUSED)
{
    static long long int next_sweep = LLONG_MIN;
    long long int now = time_msec();

    netvsc_last_seq = seq_read(netvsc_seq);
    if (netvsc_run(now)) {
        if_notifier_manual_report();
    }
    if (now >= next_sweep) {
        netvsc_pool_sweep();
        next_sweep = now + SWEEP_INTERVAL;
    }
}

static void
netdev_netvsc_wait(const struct netdev_class *class OVS_UNUSED)
{
    long long int next_run = netvsc_next_run();

    seq_wait(netvsc_seq, netvsc_last_seq);
    if (next_run != LLONG_MAX) {
        poll_timer_wait_until(next_run);
    }
}

/* --- Life -----------------------------------------------------------------
 */

/* What PMD threads read for each burst shares no cache line with whatever
 * comes next on the heap.  free_cacheline() frees it. */
static void *
netvsc_zalloc_lines(size_t size)
{
    return xzalloc_cacheline(ROUND_UP(size, CACHE_LINE_SIZE));
}

static void
netvsc_set_n_txq_locks(struct netdev_netvsc *dev, int n)
{
    for (int i = 0; i < dev->up.n_txq && dev->txq_locks; i++) {
        ovs_mutex_destroy(&dev->txq_locks[i].mutex);
    }
    free_cacheline(dev->txq_locks);
    dev->txq_locks = xzalloc_cacheline(MAX(n, 1) * sizeof *dev->txq_locks);
    for (int i = 0; i < n; i++) {
        ovs_mutex_init(&dev->txq_locks[i].mutex);
    }
    dev->up.n_txq = n;
}

static void
netvsc_set_n_pools(struct netdev_netvsc *dev, int n)
{
    for (int i = n; i < dev->n_pools; i++) {
        netvsc_pool_retire(dev->pools[i]);
    }
    dev->pools = xrealloc(dev->pools, MAX(n, 1) * sizeof *dev->pools);
    for (int i = dev->n_pools; i < n; i++) {
        dev->pools[i] = NULL;
    }
    dev->n_pools = n;
}

static struct netdev *
netdev_netvsc_alloc(void)
{
    struct netdev_netvsc *dev = netvsc_zalloc_lines(sizeof *dev);

    return &dev->up;
}

static int
netdev_netvsc_construct(struct netdev *netdev)
{
    static const struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 200);
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);

    dev->warn_rl = dev->info_rl = rl;
    dev->port = netvsc_port_create(netdev_get_name(netdev), netdev);
    dev->requested_n_txq = 1;
    netvsc_set_n_txq_locks(dev, 1);
    netvsc_set_n_pools(dev, 1);
    return 0;
}

static void
netdev_netvsc_destruct(struct netdev *netdev)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);

    if (dev->configured && !dev->in_datapath) {
        /* The kernel's datapath asks nothing of a port before it refuses
         * it, and its reason speaks of types. */
        VLOG_WARN("%s: The port was part of no userspace datapath.  If its "
                  "bridge is of the kernel's kind, as 'ovs-vsctl add-br' "
                  "makes it, change that: ovs-vsctl set Bridge BRIDGE "
                  "datapath_type=netdev",
                  netdev_get_name(netdev));
    }
    netvsc_port_destroy(dev->port);
    netvsc_limits_destroy(&dev->limits);
    netvsc_set_n_txq_locks(dev, 0);
    free_cacheline(dev->txq_locks);
    netvsc_set_n_pools(dev, 0);
    free(dev->pools);
}

static void
netdev_netvsc_dealloc(struct netdev *netdev)
{
    free_cacheline(netdev_netvsc_cast(netdev));
}

/* --- Configuration --------------------------------------------------------
 */

/* Before the first packet is lost: Open vSwitch drops what nobody segments,
 * or does it itself, without a word about the port. */
static void
netvsc_warn_of_tso(struct netdev_netvsc *dev)
{
    if (userspace_tso_enabled() && !dev->told_of_tso) {
        VLOG_WARN("%s: other_config:userspace-tso-enable is true, but ports "
                  "of type netvsc offload neither checksums nor "
                  "segmentation: %s",
                  netdev_get_name(&dev->up),
                  OVS_COMPAT_HAS_GSO
                      ? "Open vSwitch does both itself for what it sends "
                        "here, at the cost of CPU time."
                      : "Open vSwitch drops TCP that it would send here from "
                        "bridge and tap ports.  Turn it off and restart "
                        "ovs-vswitchd: ovs-vsctl remove Open_vSwitch . "
                        "other_config userspace-tso-enable");
        dev->told_of_tso = true;
    }
}

static int
netdev_netvsc_set_config(struct netdev *netdev, const struct smap *args,
                         char **errp)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);
    const struct smap_node **nodes = smap_sort(args);
    size_t n = smap_count(args);
    struct netvsc_option *options = xcalloc(n, sizeof *options);
    int error;

    for (size_t i = 0; i < n; i++) {
        options[i].key = nodes[i]->key;
        options[i].value = nodes[i]->value;
    }
    error = netvsc_port_set_options(dev->port, options, n, errp);
    free(options);
    free(nodes);
    if (!error) {
        dev->configured = true;
        netvsc_warn_of_tso(dev);
    }
    return error;
}

static int
netdev_netvsc_set_tx_multiq(struct netdev *netdev, unsigned int n_txq)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);

    dev->in_datapath = true;
    if (dev->requested_n_txq != n_txq) {
        dev->requested_n_txq = n_txq;
        netdev_request_reconfigure(netdev);
    }
    return 0;
}

static int
netdev_netvsc_set_mtu(struct netdev *netdev, int mtu)
{
    return netvsc_port_set_mtu(netdev_netvsc_cast(netdev)->port, mtu);
}

/* No thread is in the data path of the port. */
static int
netdev_netvsc_reconfigure(struct netdev *netdev)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);

    unsigned int n_txq =
        netvsc_port_reconfigure(dev->port, dev->requested_n_txq);
    netdev->n_rxq = netvsc_port_n_rxq(dev->port);
    netvsc_set_n_txq_locks(dev, n_txq);
    netvsc_set_n_pools(dev, netdev->n_rxq);
    netdev_change_seq_changed(netdev);
    return 0;
}

static enum netvsc_flags
netvsc_flags_from_netdev(enum netdev_flags flags)
{
    return (flags & NETDEV_UP ? NETVSC_UP : 0) |
           (flags & NETDEV_PROMISC ? NETVSC_PROMISC : 0);
}

/* Also called while a signal ends the process: no lock, no log. */
static int
netdev_netvsc_update_flags(struct netdev *netdev, enum netdev_flags off,
                           enum netdev_flags on, enum netdev_flags *old_flagsp)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);
    unsigned int old;

    if ((off | on) & ~(NETDEV_UP | NETDEV_PROMISC)) {
        return EINVAL;
    }
    old = netvsc_port_update_flags(dev->port, netvsc_flags_from_netdev(off),
                                   netvsc_flags_from_netdev(on));
    *old_flagsp = (old & NETVSC_UP ? NETDEV_UP : 0) |
                  (old & NETVSC_PROMISC ? NETDEV_PROMISC : 0);
    return 0;
}

/* --- Receive --------------------------------------------------------------
 */

static struct netdev_rxq *
netdev_netvsc_rxq_alloc(void)
{
    struct netdev_rxq_netvsc *rxq = netvsc_zalloc_lines(sizeof *rxq);

    return &rxq->up;
}

static int
netdev_netvsc_rxq_construct(struct netdev_rxq *rxq_)
{
    struct netdev_rxq_netvsc *rxq = netdev_rxq_netvsc_cast(rxq_);
    struct netdev_netvsc *dev = netdev_netvsc_cast(rxq_->netdev);
    int i = rxq_->queue_id;

    rxq->queue = netvsc_port_open_rxq(dev->port, i);
    if (rxq->queue && !dev->pools[i]) {
        dev->pools[i] = netvsc_pool_create();
    }
    rxq->pool = dev->pools[i];
    rxq->limits = &dev->limits;
    return 0;
}

static void
netdev_netvsc_rxq_destruct(struct netdev_rxq *rxq)
{
    netvsc_port_close_rxq(netdev_netvsc_cast(rxq->netdev)->port);
}

static void
netdev_netvsc_rxq_dealloc(struct netdev_rxq *rxq)
{
    free_cacheline(netdev_rxq_netvsc_cast(rxq));
}

static int
netvsc_police_received(struct netvsc_policer *policer,
                       const struct netdev *netdev,
                       struct dp_packet_batch *batch)
{
    uint64_t n_packets, n_bytes;

    netvsc_police(policer, batch, &n_packets, &n_bytes);
    if (n_packets) {
        netvsc_port_count_rx_policed(netdev_netvsc_cast(netdev)->port,
                                     n_packets, n_bytes);
    }
    return dp_packet_batch_is_empty(batch) ? EAGAIN : 0;
}

static int
netdev_netvsc_rxq_recv(struct netdev_rxq *rxq_, struct dp_packet_batch *batch,
                       int *qfill)
{
    struct netdev_rxq_netvsc *rxq = netdev_rxq_netvsc_cast(rxq_);
    struct netvsc_policer *policer;
    int error;

    if (qfill) {
        /* The ring tells bytes, not frames. */
        *qfill = -ENOTSUP;
    }
    if (OVS_UNLIKELY(!rxq->queue)) {
        return EAGAIN;
    }
    error = netvsc_receive(rxq->queue, rxq->pool, batch);
    policer = netvsc_ingress_policer(rxq->limits);
    if (OVS_UNLIKELY(policer) && !error) {
        return netvsc_police_received(policer, rxq_->netdev, batch);
    }
    return error;
}

/* --- Transmit -------------------------------------------------------------
 */

static void
netvsc_police_to_send(struct netvsc_policer *policer,
                      struct netdev_netvsc *dev, struct dp_packet_batch *batch)
{
    uint64_t n_packets, n_bytes;

    netvsc_police(policer, batch, &n_packets, &n_bytes);
    if (n_packets) {
        netvsc_port_count_tx_policed(dev->port, n_packets);
    }
}

static int
netdev_netvsc_send(struct netdev *netdev, int qid,
                   struct dp_packet_batch *batch, bool concurrent_txq)
{
    struct netdev_netvsc *dev = netdev_netvsc_cast(netdev);
    struct netvsc_policer *policer = netvsc_egress_policer(&dev->limits);
    int error;

    if (OVS_UNLIKELY(policer)) {
        netvsc_police_to_send(policer, dev, batch);
    }
    qid %= netdev->n_txq;
    if (OVS_UNLIKELY(concurrent_txq)) {
        struct ovs_mutex *mutex = &dev->txq_locks[qid].mutex;

        if (ovs_mutex_trylock(mutex)) {
            COVERAGE_INC(netvsc_tx_contended);
            ovs_mutex_lock(mutex);
        }
        error = netvsc_send(dev->port, qid, batch);
        ovs_mutex_unlock(mutex);
    } else {
        error = netvsc_send(dev->port, qid, batch);
    }
    netvsc_packets_delete(batch);
    return error;
}

/* --- Rate limits ----------------------------------------------------------
 */

static int
netdev_netvsc_set_policing(struct netdev *netdev, unsigned int kbits_rate,
                           unsigned int kbits_burst, unsigned int kpkts_rate,
                           unsigned int kpkts_burst)
{
    netvsc_set_policing(&netdev_netvsc_cast(netdev)->limits,
                        netdev_get_name(netdev), kbits_rate, kbits_burst,
                        kpkts_rate, kpkts_burst);
    return 0;
}

static int
netdev_netvsc_get_qos_types(const struct netdev *netdev OVS_UNUSED,
                            struct sset *types)
{
    return netvsc_get_qos_types(types);
}

static int
netdev_netvsc_get_qos(const struct netdev *netdev, const char **typep,
                      struct smap *details)
{
    return netvsc_get_qos(&netdev_netvsc_cast(netdev)->limits, typep, details);
}

static int
netdev_netvsc_set_qos(struct netdev *netdev, const char *type,
                      const struct smap *details)
{
    return netvsc_set_qos(&netdev_netvsc_cast(netdev)->limits,
                          netdev_get_name(netdev), type, details);
}

static int
netdev_netvsc_set_queue(struct netdev *netdev, unsigned int queue_id,
                        const struct smap *details)
{
    return netvsc_set_queue(&netdev_netvsc_cast(netdev)->limits,
                            netdev_get_name(netdev), queue_id, details);
}

/* --- The class ------------------------------------------------------------
 */

const struct netdev_class netdev_netvsc_class = {
    .type = "netvsc",
    .is_pmd = true,
    .run = netdev_netvsc_run,
    .wait = netdev_netvsc_wait,
    .alloc = netdev_netvsc_alloc,
    .construct = netdev_netvsc_construct,
    .destruct = netdev_netvsc_destruct,
    .dealloc = netdev_netvsc_dealloc,
    .get_config = netdev_netvsc_get_config,
    .set_config = netdev_netvsc_set_config,
    .get_numa_id = netdev_netvsc_get_numa_id,
    .set_tx_multiq = netdev_netvsc_set_tx_multiq,
    .send = netdev_netvsc_send,
    .get_etheraddr = netdev_netvsc_get_etheraddr,
    .get_mtu = netdev_netvsc_get_mtu,
    .set_mtu = netdev_netvsc_set_mtu,
    .get_ifindex = netdev_netvsc_get_ifindex,
    .get_carrier = netdev_netvsc_get_carrier,
    .get_carrier_resets = netdev_netvsc_get_carrier_resets,
    .get_stats = netdev_netvsc_get_stats,
    .get_custom_stats = netdev_netvsc_get_custom_stats,
    .get_features = netdev_netvsc_get_features,
    OVS_COMPAT_GET_SPEED(netdev_netvsc_get_speed)
        OVS_COMPAT_GET_DUPLEX(netdev_netvsc_get_duplex)
            .set_policing = netdev_netvsc_set_policing,
    .get_qos_types = netdev_netvsc_get_qos_types,
    .get_qos = netdev_netvsc_get_qos,
    .set_qos = netdev_netvsc_set_qos,
    .set_queue = netdev_netvsc_set_queue,
    .get_status = netdev_netvsc_get_status,
    .update_flags = netdev_netvsc_update_flags,
    .reconfigure = netdev_netvsc_reconfigure,
    .rxq_alloc = netdev_netvsc_rxq_alloc,
    .rxq_construct = netdev_netvsc_rxq_construct,
    .rxq_destruct = netdev_netvsc_rxq_destruct,
    .rxq_dealloc = netdev_netvsc_rxq_dealloc,
    .rxq_recv = netdev_netvsc_rxq_recv,
};

/* Before main(): OVS has no other place for a class that it does not know.
 * Nothing here may log or start a thread: the daemon forks later. */
__attribute__((constructor)) static void
netdev_netvsc_register(void)
{
    static const struct netvsc_glue glue = {
        .wake = netvsc_glue_wake,
        .request_reconfigure = netvsc_glue_request_reconfigure,
        .status_changed = netvsc_glue_status_changed,
        .is_removed = netvsc_glue_is_removed,
        .log = netvsc_glue_log,
        .state_directory = ovs_dbdir,
    };

    netvsc_seq = seq_create();
    netvsc_set_glue(&glue);
    netdev_register_provider(&netdev_netvsc_class);
    unixctl_command_register("netdev-netvsc/show", "[port]", 0, 1,
                             netdev_netvsc_show, NULL);
}
