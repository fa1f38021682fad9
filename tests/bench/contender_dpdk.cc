#include "tests/bench/contender_dpdk.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

namespace netvsc::bench {

namespace {

/* Descriptors of a receive queue: a software ring that the PMD goes through
 * in turn, so no more than stay in the first-level cache; far more than the
 * frames that wait at any time. */
constexpr uint16_t kRxDescriptors = 512;

/* Messages under way; the PMD's own default. */
constexpr uint16_t kTxDescriptors = 512;

/* Packets, and how many of them a thread keeps for itself: DPDK's most, so
 * that every burst comes from there. */
constexpr unsigned kPackets = 8191;
constexpr unsigned kCached = RTE_MEMPOOL_CACHE_MAX_SIZE;

[[noreturn]] void
fail(const std::string &what)
{
    throw std::runtime_error("DPDK: " + what);
}

/* Makes the host's devices the only ones below /sys/bus, for this process:
 * DPDK must not find, let alone take, one of the machine's. */
void
show_vmbus(const std::string &root)
{
    std::string devices = root + "/sys/bus/vmbus";
    std::filesystem::path at = "/sys/bus/vmbus";
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", "/sys/bus", "tmpfs", 0, nullptr) != 0 ||
        !std::filesystem::create_directory(at) ||
        mount(devices.c_str(), at.c_str(), nullptr, MS_BIND, nullptr) != 0) {
        fail("cannot show " + devices + " as " + at.string() + " (" +
             std::strerror(errno) +
             "); mounts need root: run this with sudo.");
    }
}

class Port final : public PollingContender {
public:
    Port(uint16_t port, rte_mempool *pool) : port_(port), pool_(pool)
    {
        rte_eth_conf conf = {};
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rxmode.offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM |
                               RTE_ETH_RX_OFFLOAD_RSS_HASH |
                               RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
        check(rte_eth_dev_configure(port, 1, 1, &conf), "configure");
        check(rte_eth_rx_queue_setup(port, 0, kRxDescriptors, SOCKET_ID_ANY,
                                     nullptr, pool),
              "set up the receive queue");
        check(rte_eth_tx_queue_setup(port, 0, kTxDescriptors, SOCKET_ID_ANY,
                                     nullptr),
              "set up the transmit queue");
        check(rte_eth_dev_start(port), "start");
    }
    ~Port() override
    {
        rte_eth_dev_stop(port_);
        rte_eth_dev_close(port_);
    }

    /* Without a thread id of its own, the packet pool has no cache. */
    void
    enter_thread() override
    {
        if (rte_thread_register() != 0) {
            fail("cannot register the thread that measures");
        }
    }
    void
    leave_thread() override
    {
        rte_thread_unregister();
    }

    unsigned
    receive() override
    {
        std::array<rte_mbuf *, kBurst> packets;
        unsigned n = rte_eth_rx_burst(port_, 0, packets.data(), kBurst);
        rte_pktmbuf_free_bulk(packets.data(), n);
        return n;
    }
    unsigned
    receive(const ShowFrame &show) override
    {
        std::array<rte_mbuf *, kBurst> packets;
        unsigned n = rte_eth_rx_burst(port_, 0, packets.data(), kBurst);
        for (unsigned i = 0; i < n; i++) {
            show({rte_pktmbuf_mtod(packets[i], const uint8_t *),
                  rte_pktmbuf_data_len(packets[i])});
        }
        rte_pktmbuf_free_bulk(packets.data(), n);
        return n;
    }
    void
    prepare(std::span<const netvsc_tx_frame> frames) override
    {
        n_prepared_ = static_cast<unsigned>(frames.size());
        if (rte_pktmbuf_alloc_bulk(pool_, prepared_.data(), n_prepared_)) {
            fail("no packets are left in the pool");
        }
        for (unsigned i = 0; i < n_prepared_; i++) {
            std::memcpy(rte_pktmbuf_append(prepared_[i], static_cast<uint16_t>(
                                                             frames[i].size)),
                        frames[i].data, frames[i].size);
        }
    }
    unsigned
    send() override
    {
        auto n = static_cast<uint16_t>(n_prepared_);
        unsigned sent = rte_eth_tx_burst(port_, 0, prepared_.data(), n);
        rte_pktmbuf_free_bulk(prepared_.data() + sent, n - sent);
        std::array<rte_mbuf *, kBurst> packets;
        unsigned none = rte_eth_rx_burst(port_, 0, packets.data(), kBurst);
        rte_pktmbuf_free_bulk(packets.data(), none);
        return sent;
    }

    unsigned
    forward() override
    {
        std::array<rte_mbuf *, kBurst> packets;
        unsigned n = rte_eth_rx_burst(port_, 0, packets.data(), kBurst);
        unsigned sent = n ? rte_eth_tx_burst(port_, 0, packets.data(),
                                             static_cast<uint16_t>(n))
                          : 0;
        rte_pktmbuf_free_bulk(packets.data() + sent, n - sent);
        return n;
    }
    Books
    books() const override
    {
        rte_eth_stats stats;
        check(rte_eth_stats_get(port_, &stats), "read the counters of");
        return {stats.imissed + stats.rx_nombuf, stats.opackets};
    }

private:
    static void
    check(int result, const char *what)
    {
        if (result < 0) {
            fail(std::string("cannot ") + what +
                 " a port: " + rte_strerror(-result));
        }
    }

    uint16_t port_;
    rte_mempool *pool_;
    std::array<rte_mbuf *, kBurst> prepared_{};
    unsigned n_prepared_ = 0;
};

rte_mempool *packets;

} // namespace

Dpdk::Dpdk(const std::string &root, const std::vector<Device> &devices,
           bool huge_pages)
{
    show_vmbus(root);
    setenv("PEER_ROOT", root.c_str(), 1);
    std::vector<std::string> words = {
        "cost_bench", "--no-pci", "--no-telemetry",
        /* Page numbers on the wire are virtual addresses. */
        "--iova-mode=va",
        /* Errors; what it says of a machine without huge pages is known. */
        "--log-level=4", "-m", "128",
        /* One thread, wherever the caller may run. */
        "--lcores=0@" + std::to_string(sched_getcpu())};
    if (huge_pages) {
        words.push_back("--in-memory");
    } else {
        words.insert(words.end(), {"--no-huge", "--no-shconf"});
    }
    for (const Device &device : devices) {
        words.push_back("--allow=vmbus:" + device.guid +
                        (device.arguments.empty() ? "" : ",") +
                        device.arguments);
    }
    std::vector<char *> arguments;
    for (std::string &word : words) {
        arguments.push_back(word.data());
    }
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) <
        0) {
        fail(std::string("the environment does not start: ") +
             rte_strerror(rte_errno));
    }
    sched_setaffinity(0, sizeof cpus, &cpus);
    packets =
        rte_pktmbuf_pool_create("packets", kPackets, kCached, 0,
                                RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!packets) {
        fail(std::string("no memory for packets: ") + rte_strerror(rte_errno));
    }
}

Dpdk::~Dpdk()
{
    rte_eal_cleanup();
}

std::unique_ptr<PollingContender>
Dpdk::make(const std::string &guid)
{
    uint16_t port;
    if (rte_eth_dev_get_port_by_name(guid.c_str(), &port) != 0) {
        fail("the PMD did not take the NIC " + guid);
    }
    return std::make_unique<Port>(port, packets);
}

} // namespace netvsc::bench
