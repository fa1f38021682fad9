/* DPDK's netvsc PMD, unmodified, in this process.
 *
 * tests/peer/uio_shim.cc is linked into the program and lets the PMD open the
 * NICs of the emulated host. */

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/bench/contender.h"

namespace netvsc::bench {

/* The environment: once in a process, when the NICs for DPDK are there and no
 * other NIC is, because the PMD takes every NIC that it sees. */
class Dpdk {
public:
    struct Device {
        std::string guid;
        /* For the PMD, for instance "tx_copybreak=2048"; empty for its
         * defaults. */
        std::string arguments;
    };

    /* `root` is the host's; `huge_pages` are used if there are any.  Throws
     * std::runtime_error. */
    Dpdk(const std::string &root, const std::vector<Device> &devices,
         bool huge_pages);
    ~Dpdk();
    Dpdk(const Dpdk &) = delete;
    Dpdk &operator=(const Dpdk &) = delete;

    /* Starts the port of this NIC. */
    [[nodiscard]] std::unique_ptr<PollingContender>
    make(const std::string &guid);
};

} // namespace netvsc::bench
