/* The C side of the policy: lib/netvsc-abi.h in terms of class Port. */

#include "lib/netvsc-abi.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "lib/netdev-netvsc.h"

using namespace netvsc;
using namespace netvsc::provider;

static_assert(NETVSC_MAX_BURST == kMaxBurst);

struct netvsc_port {
    Port port;
};

namespace {

/* How long the end of the process waits for the host: a goodbye takes it
 * milliseconds, and systemd's patience is 90 s. */
constexpr std::chrono::seconds kExitPatience{5};

/* Never destroyed: ovs-vswitchd ends by exit() while devices' threads run. */
PortTable *table;

RxQueue &
rx_queue(netvsc_rx_queue *queue)
{
    return *reinterpret_cast<RxQueue *>(queue);
}

void
put_pairs(const Pairs &pairs, netvsc_pair_func *put, void *aux)
{
    for (const auto &[key, value] : pairs) {
        put(aux, key.c_str(), value.c_str());
    }
}

} // namespace

void
netvsc_set_glue(const netvsc_glue *glue) noexcept
{
    table = new PortTable(*glue, Device::claim);
    /* A switch that deleted its ports and ends leaves the goodbyes to the
     * host half said, unless it waits for them. */
    (void) std::atexit([] { (void) Device::wait_closed(kExitPatience); });
}

bool
netvsc_run(long long int now) noexcept
{
    return table->run(now);
}

long long int
netvsc_next_run(void) noexcept
{
    return table->next_run();
}

netvsc_port *
netvsc_port_create(const char *name, void *netdev) noexcept
{
    return new netvsc_port{Port(table, name, netdev)};
}

void
netvsc_port_destroy(netvsc_port *port) noexcept
{
    delete port;
}

int
netvsc_port_set_options(netvsc_port *port, const netvsc_option *options,
                        size_t n, char **error) noexcept
{
    std::vector<Option> list;
    for (size_t i = 0; i < n; i++) {
        list.push_back({options[i].key, options[i].value});
    }
    Status status = port->port.set_options(list);
    if (status) {
        return 0;
    }
    /* OVS's own errors have no full stop: ovs-vsctl adds one. */
    std::string sentence = status.error().message;
    if (sentence.ends_with('.')) {
        sentence.pop_back();
    }
    *error = strdup(sentence.c_str());
    return status.error().code;
}

void
netvsc_port_get_options(const netvsc_port *port, netvsc_pair_func *put,
                        void *aux) noexcept
{
    put_pairs(port->port.options(), put, aux);
}

int
netvsc_port_set_mtu(netvsc_port *port, int mtu) noexcept
{
    Status status = port->port.set_mtu(mtu);
    return status ? 0 : status.error().code;
}

unsigned int
netvsc_port_reconfigure(netvsc_port *port, unsigned int n_txq) noexcept
{
    return port->port.reconfigure(n_txq);
}

unsigned int
netvsc_port_n_rxq(const netvsc_port *port) noexcept
{
    return port->port.n_rxq();
}

netvsc_rx_queue *
netvsc_port_open_rxq(netvsc_port *port, unsigned int queue) noexcept
{
    return reinterpret_cast<netvsc_rx_queue *>(port->port.open_rxq(queue));
}

void
netvsc_port_close_rxq(netvsc_port *port) noexcept
{
    port->port.close_rxq();
}

unsigned int
netvsc_rx_queue_poll(netvsc_rx_queue *queue, netvsc_rx_frame *frames) noexcept
{
    return rx_queue(queue).poll({frames, NETVSC_MAX_BURST});
}

void
netvsc_rx_queue_release(netvsc_rx_queue *queue) noexcept
{
    rx_queue(queue).release();
}

int
netvsc_port_send(netvsc_port *port, unsigned int queue,
                 const netvsc_tx_frame *frames, unsigned int n) noexcept
{
    return port->port.send(queue, {frames, n});
}

void
netvsc_port_count_not_ethernet(netvsc_port *port, unsigned int n) noexcept
{
    port->port.count_not_ethernet(n);
}

void
netvsc_port_count_rx_policed(netvsc_port *port, uint64_t n_packets,
                             uint64_t n_bytes) noexcept
{
    port->port.count_rx_policed(n_packets, n_bytes);
}

void
netvsc_port_count_tx_policed(netvsc_port *port, uint64_t n_packets) noexcept
{
    port->port.count_tx_policed(n_packets);
}

unsigned int
netvsc_port_update_flags(netvsc_port *port, unsigned int off,
                         unsigned int on) noexcept
{
    return port->port.update_flags(off, on);
}

void
netvsc_port_get_info(const netvsc_port *port, netvsc_port_info *info) noexcept
{
    *info = port->port.info();
}

void
netvsc_port_get_stats(netvsc_port *port, netvsc_port_stats *stats) noexcept
{
    auto view = port->port.view();
    *stats = view ? standard_statistics(*view) : netvsc_port_stats{};
    if (view) {
        port->port.log_drops(*view);
    }
}

void
netvsc_port_get_counters(const netvsc_port *port, netvsc_counter_func *put,
                         void *aux) noexcept
{
    if (auto view = port->port.view()) {
        for (const auto &[name, value] : custom_statistics(*view)) {
            put(aux, name.c_str(), value);
        }
    }
}

void
netvsc_port_get_status(const netvsc_port *port, netvsc_pair_func *put,
                       void *aux) noexcept
{
    if (auto view = port->port.view()) {
        put_pairs(status_pairs(*view), put, aux);
    }
}

char *
netvsc_port_show(const netvsc_port *port) noexcept
{
    auto view = port->port.view();
    return strdup(view ? describe(*view).c_str() : "");
}
