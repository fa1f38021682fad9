#include "driver/statistics.h"

#include <algorithm>
#include <cstddef>

namespace netvsc {

const char *
malformed_name(Malformed cause)
{
    switch (cause) {
    case Malformed::kPacketType:
        return "rx_malformed_packet_type";
    case Malformed::kPacketHeader:
        return "rx_malformed_packet_header";
    case Malformed::kSetId:
        return "rx_malformed_set_id";
    case Malformed::kRange:
        return "rx_malformed_range";
    case Malformed::kNvspType:
        return "rx_malformed_nvsp_type";
    case Malformed::kRndisHeader:
        return "rx_malformed_rndis_header";
    case Malformed::kRndisData:
        return "rx_malformed_rndis_data";
    case Malformed::kRndisPpi:
        return "rx_malformed_rndis_ppi";
    case Malformed::kTransactionId:
        return "rx_malformed_transaction_id";
    case Malformed::kReply:
        return "rx_malformed_reply";
    case Malformed::kCount:
        break;
    }
    return "rx_malformed";
}

namespace {

template <std::size_t N>
void
add(std::array<uint64_t, N> &to, const std::array<uint64_t, N> &from)
{
    for (std::size_t i = 0; i < N; i++) {
        to[i] += from[i];
    }
}

} // namespace

Statistics &
Statistics::operator+=(const Statistics &other)
{
    rx_packets += other.rx_packets;
    rx_bytes += other.rx_bytes;
    rx_multicast += other.rx_multicast;
    add(rx_size_bins, other.rx_size_bins);
    rx_discarded += other.rx_discarded;
    rx_control += other.rx_control;
    rx_ring_packets += other.rx_ring_packets;
    add(malformed, other.malformed);
    tx_packets += other.tx_packets;
    tx_bytes += other.tx_bytes;
    add(tx_size_bins, other.tx_size_bins);
    tx_ring_packets += other.tx_ring_packets;
    tx_no_section += other.tx_no_section;
    tx_ring_full += other.tx_ring_full;
    tx_too_big += other.tx_too_big;
    tx_biggest_refused =
        std::max(tx_biggest_refused, other.tx_biggest_refused);
    tx_too_small += other.tx_too_small;
    tx_failed += other.tx_failed;
    signals += other.signals;
    return *this;
}

} // namespace netvsc
