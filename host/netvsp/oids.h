/* The objects that a guest queries and sets over RNDIS (F). */

#pragma once

#include <optional>
#include <vector>

#include "host/base/checksum.h"
#include "host/config.h"
#include "host/netvsp/receive_scaling.h"
#include "wire/oid.h"

namespace netvsc::host {

/* What NVSP agreed on before RNDIS begins (D.4). */
struct Agreement {
    uint32_t version = 0; /* NVSP, 0 before INIT. */
    uint32_t mtu = 0;     /* Of L3, what both sides can do. */
    uint64_t capabilities = 0;
};

/* Checksum offloads by direction, as SET 0xFC01020C leaves them (F.4). */
struct ChecksumOffloads {
    bool ipv4_header = true;
    bool tcp_ipv4 = true;
    bool udp_ipv4 = true;
    bool tcp_ipv6 = true;
    bool udp_ipv6 = true;
};

class Oids {
public:
    Oids(const NicConfig &nic, const Agreement &agreement, bool link_up);

    struct Answer {
        uint32_t status;
        std::vector<std::byte> data;
    };
    /* `input` is the object that came with the query, often empty. */
    [[nodiscard]] Answer query(uint32_t oid, Bytes input) const;
    /* Returns the RNDIS status. */
    [[nodiscard]] uint32_t set(uint32_t oid, Bytes input);

    /* The object of TASK_OFFLOAD_CURRENT_CONFIG and its query. */
    [[nodiscard]] std::vector<std::byte> current_offloads() const;

    /* The packet filter of F.6; 0 delivers nothing. */
    [[nodiscard]] uint32_t
    filter() const
    {
        return filter_;
    }
    void
    close_filter()
    {
        filter_ = 0;
    }
    /* Does the filter let a frame (at least an Ethernet header) through? */
    [[nodiscard]] bool wants(Bytes frame) const;

    /* Which channel a frame takes. */
    [[nodiscard]] const ReceiveScaling &
    scaling() const
    {
        return scaling_;
    }

    /* What of `verdict` the guest agreed to be told. */
    [[nodiscard]] ChecksumVerdict reportable(ChecksumVerdict verdict,
                                             bool ipv4) const;

    [[nodiscard]] bool
    link_up() const
    {
        return link_up_;
    }
    void
    set_link(bool up)
    {
        link_up_ = up;
    }

private:
    [[nodiscard]] Answer query_offloads(const ChecksumOffloads &tx,
                                        const ChecksumOffloads &rx,
                                        Bytes input) const;
    [[nodiscard]] uint32_t set_offloads(Bytes input);
    [[nodiscard]] uint32_t set_parameter(Bytes input);

    const NicConfig &nic_;
    const Agreement &agreement_;
    MacAddress mac_; /* Current; the permanent one is the NIC's. */
    bool link_up_;
    uint32_t filter_ = 0;
    uint32_t lookahead_;
    ChecksumOffloads tx_;
    ChecksumOffloads rx_;
    ReceiveScaling scaling_;
};

} // namespace netvsc::host
